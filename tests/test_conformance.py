"""The checks accept what is right: the oracle, and a second implementation in both dtypes."""

from __future__ import annotations

import itertools
import json
import math
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refimpl import TwoLayerReLU, conformance
from refimpl.conformance import (
    Adapter,
    Mismatch,
    Probe,
    Reference,
    cases,
    check,
    claims,
    explain,
    replay,
    report,
    runner,
)
from refimpl.conformance.case import Case
from refimpl.conformance.defects import Plain, PlainSingle
from refimpl.conformance.defects.attacks import LastIterate
from refimpl.conformance.defects.gradients import DerivativeOneAtKink
from refimpl.conformance.defects.regions import BoxIgnored, NormsSwapped
from refimpl.conformance.testing import suite
from refimpl.equations import EQUATIONS

EXAMPLES = 4  # the same as for the defects: they share the inputs

ON_REQUEST = {"E4-outputs-subnormal", "E32-tight", "E32-tight-many-neurons", "E32-tight-oddities"}
ALWAYS = len(claims()) - len(ON_REQUEST)

test_oracle = suite(Reference, min_claims=ALWAYS, examples=EXAMPLES)
test_plain = pytest.mark.slow(suite(Plain, min_claims=ALWAYS))
# In float32 E8-logistic-tail decides nothing.
test_plain_in_float32 = pytest.mark.slow(
    suite(PlainSingle, min_claims=ALWAYS - 1, examples=EXAMPLES)
)


def status(adapter: Any, claim: str, **options: Any) -> conformance.Result:
    return check(adapter, only=[claim], examples=EXAMPLES, **options)[0]


@pytest.mark.parametrize("name", claims())
def test_claims_say_what_they_mean(name: str) -> None:
    claim = claims()[name]
    assert claim.name.split("-")[0] in {*EQUATIONS, "PGD", "Figure2"}
    assert claim.statement.endswith(".")
    assert claim.consequence.endswith(".")
    assert set(claim.methods) <= conformance.adapter.METHODS.keys()


def test_some_claims_are_checked_on_request() -> None:
    names = {result.claim for result in check(Adapter(), subnormals=True, tight=True)}
    assert names == claims().keys()
    usual = {result.claim for result in check(Adapter())}
    assert names - usual == ON_REQUEST


@pytest.mark.parametrize("claim", sorted(ON_REQUEST))
def test_claims_on_request_hold_for_refimpl(claim: str) -> None:
    assert status(Reference, claim).status == "passed"


def test_what_is_absent_is_not_implemented() -> None:
    assert {result.status for result in check(Adapter)} == {"not_implemented"}


class Older(Plain):
    """Projects onto balls of l2, and onto no other."""

    def project(self, delta: Any, epsilon: float) -> Any:
        return super().project(delta, epsilon)


def test_methods_without_a_norm_or_a_box_are_not_asked_about_them() -> None:
    names = ["PGD-projection", "PGD-projection-linf", "PGD-projection-box"]
    results = check(Older, only=names, examples=3)
    assert [result.status for result in results] == ["passed", *["not_implemented"] * 2]
    assert [result.asked for result in results] == [True, False, False]
    table = report.table(results)
    assert "not asked, 1 claim: project of plain takes no norm" in table
    assert "not asked, 1 claim: project of plain takes no box" in table
    assert "not implemented" not in table
    assert report.summary(results) == "1 passed, 2 not asked"


def test_functions_without_a_signature_are_not_asked_about_norms() -> None:
    class Builtin(Adapter):
        project = max  # of builtins, of which Python knows no arguments

    assert not status(Builtin, "PGD-projection-linf").asked


def test_boxes_come_as_one_array_in_the_dtype() -> None:
    seen = []

    class Seeing(PlainSingle):
        def project(self, delta: Any, epsilon: float, norm: float = 2, box: Any = None) -> Any:
            seen.append(box)
            return super().project(delta, epsilon, norm, box)

    assert status(Seeing, "PGD-projection-box").status == "passed"
    assert all(box.shape[0] == 2 and box.dtype == np.float32 for box in seen)
    assert any(np.isinf(box).any() for box in seen)


def test_what_raises_not_implemented_on_every_input_is_not_implemented() -> None:
    class Refusing(Adapter):
        def project(self, delta: Any, epsilon: float) -> Any:
            raise NotImplementedError

    result = status(Refusing, "PGD-projection")
    assert result.status == "not_implemented"
    assert result.discarded == EXAMPLES
    row = report.table([result]).splitlines()[1].split()
    assert row == ["PGD-projection", "not", "decided", "0", str(EXAMPLES), "-"]
    assert f"not decided, 1 claim: all {EXAMPLES} inputs are refused" in report.table([result])
    assert report.summary([result]) == "1 not decided"


def test_what_refusals_say_is_kept() -> None:
    class Misspelt(Adapter):
        def project(self, delta: Any, epsilon: float) -> Any:
            raise NotImplementedError("no forward")

    detail = status(Misspelt, "PGD-projection").detail
    assert detail == f"all {EXAMPLES} inputs are refused (NotImplementedError: no forward)"


def test_claims_are_tried_once_in_the_order_of_the_equations() -> None:
    results = check(Plain(), only=["PGD-projection", "E4-outputs", "PGD-projection"], examples=3)
    assert [result.claim for result in results] == ["E4-outputs", "PGD-projection"]


def test_claims_by_name_and_by_option_come_together() -> None:
    chosen = runner.select(["E4-outputs"], tight=True)
    assert {claim.name for claim in chosen} == {"E4-outputs", *ON_REQUEST} - {
        "E4-outputs-subnormal"
    }


def test_a_change_in_place_is_told_though_the_claim_passes() -> None:
    class InPlace(Plain):
        def outputs(self, W: Any, b: Any, A: Any, c: Any, x: Any) -> Any:
            found = super().outputs(W, b, A, c, x)
            x += 1
            return found

    result = status(InPlace, "E4-outputs")
    assert (result.status, result.detail) == ("passed", "outputs changed x in place")
    assert "passed, 1 claim: but outputs changed x in place" in report.table([result])


def test_a_snippet_says_that_an_adapter_with_arguments_is_the_users_to_make() -> None:
    adapter = Broken(lambda delta: delta + 1)
    code = report.snippet(status(adapter, "PGD-projection"), adapter)
    assert "# Broken() stands for the adapter as you made it" in code


class SinglePrecisionSteps(Plain):
    """Walks over the kinks in float32, and on from the last one."""

    def walk(self, W: Any, b: Any, A: Any, c: Any, x: Any, y: Any, direction: Any) -> float:
        u = direction / np.linalg.norm(direction)
        z, s = W @ x + b, W @ u
        kinks = sorted(-p / q for p, q in zip(z, s, strict=True) if p * q < 0)
        t = np.float32(0)
        for end in [*kinks, np.float32(np.inf)]:
            middle = t + 1 if np.isinf(end) else (t + end) / 2
            slope = y * (A[0] @ np.where(z + middle * s > 0, s, 0))
            f = y * (A[0] @ np.maximum(z + t * s, 0) + c[0])
            if f <= 0:
                return float(t)
            if slope < 0 and t - f / slope <= end:
                return float(t - f / slope)
            t = end
        return math.inf


def test_single_precision_walks_pass_where_nothing_is_reached() -> None:
    (result,) = check(SinglePrecisionSteps(), only=["E27-unreachable"], dtype="float32", seed=2)
    assert result.status == "passed", result.detail


class Broken(Adapter):
    """Projects in whatever way a test asks for."""

    name = "broken"

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def project(self, delta: Any, epsilon: float) -> Any:
        return self.answer(delta)


def raising(delta: Any) -> Any:
    raise ZeroDivisionError("what the user's code raised")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda delta: delta.T[:0], "shape"),
        (lambda delta: delta * np.nan, "nan"),
        (lambda delta: None, "not real numbers"),
        (lambda delta: "text", "not real numbers"),
        (lambda delta: delta * 1j, "not real numbers"),
        (raising, "ZeroDivisionError: what the user's code raised"),
        (lambda delta: exit(), "SystemExit"),
    ],
)
def test_bad_results_fail_their_claim_and_the_run_goes_on(answer: Any, message: str) -> None:
    adapter = Broken(answer)
    results = check(adapter, only=["PGD-projection", "E4-outputs"], examples=3)
    assert [result.status for result in results] == ["not_implemented", "failed"]
    text = explain(results[1], adapter)
    assert message in text
    assert "PGD-projection" in text


def test_the_traceback_of_what_the_adapter_raised_is_shown() -> None:
    adapter = Broken(raising)
    assert "in raising" in explain(status(adapter, "PGD-projection"), adapter)


@pytest.mark.slow
def test_a_wrong_number_of_results_is_a_failure() -> None:
    class Single(Plain):
        def step(self, *arguments: Any) -> Any:
            return super().step(*arguments)[0]

    assert "not 2 results" in status(Single, "E13-step-weights").detail


class SinglePrecisionLosses(Plain):
    """Trains in float64 and keeps a list of float32 losses."""

    def train(self, *arguments: Any) -> Any:
        W, b, A, losses = super().train(*arguments)
        return W, b, A, [np.float32(loss) for loss in losses]


@pytest.mark.slow
@pytest.mark.parametrize(
    "claim", ["E13-train-weights", "E13-train-losses", "E13-own-losses", "E5-output-layer-fixed"]
)
def test_results_below_the_precision_of_dtype_are_named(claim: str) -> None:
    result = status(SinglePrecisionLosses, claim)
    assert result.detail == "train returned as result 4 float32, although dtype is float64"
    assert status(SinglePrecisionLosses, claim, dtype="float32").status == "passed"


def test_results_above_the_precision_of_dtype_are_taken() -> None:
    class Double(PlainSingle):
        def cosine_matrix(self, features: Any, W: Any) -> Any:
            return super().cosine_matrix(features.astype(float), W.astype(float))

    assert status(Double, "Figure2-cosines").status == "passed"


@pytest.mark.parametrize("claim", ["PGD-row-by-row", "PGD-linear", "PGD-best-iterate"])
def test_a_finding_says_what_was_seen_and_in_which_row(claim: str) -> None:
    class Lazy(Plain):
        def pgd_attack(self, W: Any, b: Any, A: Any, c: Any, x: Any, *rest: Any) -> Any:
            moved = super().pgd_attack(W, b, A, c, x, *rest)
            return np.where((np.arange(len(x)) == 5)[:, None] & (len(x) > 1), x, moved)

    result = status(Lazy, claim, shrink=False)
    failure = result.failure
    assert failure is not None
    _, call = failure.call or ("", {})
    net = TwoLayerReLU(call["W"], call["b"], call["A"], call["c"])
    margin = call["y"][5] * net.outputs(call["x"])[5, 0]  # of the sample that stays where it is
    assert f" in row 5 is {margin}, not at most 0 (1 of {len(call['x'])} fail)" in failure.message
    assert failure.row == 5
    text = explain(result, Lazy())
    assert "got[5]" in text
    assert "input      x[5] = " in text


@pytest.mark.parametrize(
    ("got", "expected", "message"),
    [
        ([1.0, 2.0], [1.0, 3.0], "t in row 1 is 2.0, not 3.0 (1 of 2 fail)"),
        ([1.0, 2.0], 0, "t in row 0 is 1.0, not 0 (2 of 2 fail)"),
        ([[1.0], [2.0]], [[1.0], [3.0]], "t at [1, 0] is 2.0, not 3.0 (1 of 2 fail)"),
    ],
)
def test_a_demand_says_the_first_entry_that_fails(got: Any, expected: Any, message: str) -> None:
    with pytest.raises(Mismatch, match=re.escape(message)):
        Probe(Plain()).demand("t", np.equal(got, expected), expected, np.array(got))


@pytest.mark.parametrize(
    "claim", ["E4-outputs-batch", "E26-closed-form", "E27-smallest-step", "PGD-linear"]
)
def test_a_failure_shows_at_most_twenty_lines_of_data(claim: str) -> None:
    class Off(Plain):
        def outputs(self, *arguments: Any) -> Any:
            return super().outputs(*arguments) + np.pi

        def direction(self, *arguments: Any) -> Any:
            return super().direction(*arguments) * np.pi

        def walk(self, *arguments: Any) -> Any:
            return super().walk(*arguments) * np.pi + 1

        def pgd_attack(self, *arguments: Any) -> Any:
            return arguments[4]

    (result,) = check(Off, only=[claim], examples=EXAMPLES, shrink=False)
    data = explain(result, Off()).split("  reproduce")[0].split("  finding ")[1].splitlines()[1:]
    assert 2 <= len(data) - any("  error " in line for line in data) <= 20
    assert max(map(len, data)) <= 100
    assert any(line.startswith("  got") for line in data)


@pytest.mark.parametrize("dtype", ["float16", "int64", None, "torch.bfloat16"])
def test_other_dtypes_are_refused(dtype: Any) -> None:
    class Half(Adapter):
        pass

    Half.dtype = dtype
    with pytest.raises(ValueError, match="dtype: expected 'float32' or 'float64'"):
        check(Half)


def test_dtype_is_an_option() -> None:
    seen = set()

    class Seeing(Plain):
        def outputs(self, W: Any, *rest: Any) -> Any:
            seen.add(W.dtype)
            return super().outputs(W, *rest)

    assert status(Seeing, "E4-outputs", dtype="float32").status == "passed"
    assert seen == {np.dtype("float32")}


class Shifted(Plain):
    """Outputs are off by 1."""

    def outputs(self, *arguments: Any) -> Any:
        return super().outputs(*arguments) + 1


def test_failures_shrink_to_the_smallest_network() -> None:
    failure = status(Shifted, "E4-outputs").failure
    assert failure is not None
    assert {name: value.tolist() for name, value in failure.case.items()} == {
        "W": [[0.0]],
        "b": [0.0],
        "A": [[0.0]],
        "c": [0.0],
        "x": [[0.0]],
    }
    assert failure.expected.tolist() == [[0.0]]
    assert failure.got.tolist() == [[1.0]]


def test_shrinking_ends_by_a_count_and_not_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    def smallest() -> str:
        return explain(status(Shifted, "E4-outputs"), Shifted())

    expected = smallest()
    hours = itertools.count(step=3600)
    for clock in ("monotonic", "perf_counter"):
        monkeypatch.setattr(time, clock, lambda: next(hours))
    assert smallest() == expected


def test_what_was_finished_before_an_interrupt_is_there() -> None:
    def interrupting(delta: Any) -> Any:
        raise KeyboardInterrupt

    finished: list[conformance.Result] = []
    with pytest.raises(KeyboardInterrupt):
        check(Broken(interrupting), only=["E4-outputs", "PGD-projection"], finished=finished)
    assert [result.claim for result in finished] == ["E4-outputs"]


def test_as_many_inputs_are_tried_after_a_failure_as_the_limit_says() -> None:
    calls = []

    class Doubling(Plain):
        def outputs(self, *arguments: Any) -> Any:
            calls.append(arguments)
            return 2 * super().outputs(*arguments)

    def count(limit: int) -> int:
        calls.clear()
        runner.run_claim(Doubling(), claims()["E4-outputs"], examples=EXAMPLES, shrink=limit)
        return len(calls)

    first = count(0)  # inputs up to the first failure, which are drawn once more
    assert [count(limit) for limit in (1, 10)] == [2 * first + 1, 2 * first + 10]


def test_an_explanation_names_the_equation_and_what_came() -> None:
    adapter = Shifted()
    text = explain(status(adapter, "E4-outputs"), adapter)
    for part in (
        "E4: F(x) = A ReLU(W x + b) + c",
        "expected   array([[0.0]])",
        "got        array([[1.0]])",
    ):
        assert part in text


@pytest.mark.parametrize(
    "claim",
    [
        "E4-outputs",
        "E4-outputs-batch",
        "PGD-linear",
        pytest.param("E13-step-weights", marks=pytest.mark.slow),
    ],
)
def test_snippets_reproduce_the_failure(claim: str, capsys: pytest.CaptureFixture[str]) -> None:
    adapter = Sliding()
    result = status(adapter, claim)
    with pytest.raises(Mismatch, match=r"\w"):
        exec(conformance.snippet(result, adapter), {})
    assert claim.startswith(("E4-outputs-batch", "PGD")) or capsys.readouterr().out


@pytest.mark.parametrize("defect", [BoxIgnored, NormsSwapped])
@pytest.mark.parametrize("claim", [name for name in claims() if claims()[name].takes])
def test_snippets_give_norms_and_boxes_by_name(defect: type[Plain], claim: str) -> None:
    result = status(defect, claim, shrink=False)
    if result.failure is None:
        return
    printed: list[Any] = []
    with pytest.raises(Mismatch):
        exec(conformance.snippet(result, defect()), {"print": printed.append})
    assert len(printed) == (not claim.startswith("PGD-linear"))


@pytest.mark.slow
def test_what_a_call_was_given_in_place_of_the_case_is_shown() -> None:
    result = status(BoxIgnored, "E37-unreachable-in-box")
    failure = result.failure
    assert failure is not None
    assert failure.call is not None
    box = failure.call[1]["box"]
    assert not np.array_equal(box, failure.case.box)
    data = explain(result, BoxIgnored()).split("  reproduce")[0].splitlines()
    assert f"  in a call  box = {report.literal(box)}" in data
    assert not any(line.startswith("  in a call  x = ") for line in data)


@pytest.mark.parametrize("claim", ["E37-radius-box", "E27-step-box"])
def test_what_is_infinite_is_said_to_be(claim: str) -> None:
    class Fixed(Plain):
        def radius_bounds(self, *arguments: Any, box: Any = None, **named: Any) -> Any:
            return None, np.ones(len(arguments[4]))

        def smallest_step(self, *arguments: Any, box: Any = None, **named: Any) -> Any:
            return np.ones(len(arguments[4]))

    case = Case(
        W=np.ones((1, 1)), b=np.zeros(1), A=np.ones((1, 1)), c=np.zeros(1), x=np.ones((1, 1)),
        y=np.array([1]), box=np.ones((2, 1)), direction=-np.ones((1, 1)),
    )  # fmt: skip
    with pytest.raises(
        Mismatch, match=r" is 1\.0, not inf$| is 1\.0, not inf \(1 of 1 fail"
    ) as info:
        replay(Fixed, claim, **case)
    assert np.isposinf(info.value.expected).all()


@pytest.mark.slow
def test_a_bound_that_is_infinite_is_shown_as_it_came() -> None:
    class Certain(Plain):
        def radius_bounds(self, *arguments: Any, **named: Any) -> Any:
            return np.full(len(arguments[4]), np.inf), np.full(len(arguments[4]), np.inf)

    text = explain(status(Certain, "E29-radius-lower"), Certain())
    assert re.search(r"lower bound above the radius in row 0 is inf, not \d", text)
    assert "exact" not in text.split("got ")[1].split("reproduce")[0]


class Coarse(Plain):
    """Outputs in half precision: right to 3 digits; needs an argument to be made."""

    def __init__(self, precision: Any) -> None:
        self.precision = precision

    def outputs(self, *arguments: Any) -> Any:
        return super().outputs(*arguments).astype(self.precision)


coarse = Coarse("float16")


def test_snippets_repeat_the_precision_and_name_the_instance() -> None:
    (result,) = check(coarse, only=["E4-outputs"], dtype="float32", shrink=False)
    code = conformance.snippet(result, coarse)
    assert f"from {__name__} import coarse\n" in code
    assert 'replay(coarse, "E4-outputs", dtype="float32"' in code
    with pytest.raises(Mismatch):
        exec(code, {})
    assert report.as_json([result], coarse, 0)["dtype"] == "float32"


def test_snippets_of_exceptions_with_many_lines_are_still_code() -> None:
    class Raising(Plain):
        def outputs(self, *arguments: Any) -> Any:
            raise RuntimeError("first\nsecond")

    code = conformance.snippet(status(Raising, "E4-outputs", shrink=False), Raising())
    compile(code, "snippet", "exec")
    assert code.endswith("# raises: RuntimeError: first")


class NotANumber(Plain):
    def outputs(self, *arguments: Any) -> Any:
        return super().outputs(*arguments) * np.nan


def test_an_explanation_has_no_expected_value_where_there_is_none() -> None:
    text = explain(status(NotANumber, "E4-outputs"), NotANumber())
    assert "outputs returned nan" in text
    assert "got        array([[nan]])" in text
    assert "expected" not in text
    assert "exact" not in text


class Sliding(Shifted):
    """Wrong in many ways."""

    def step(self, *arguments: Any) -> Any:
        W, b = super().step(*arguments)
        return W + 1, b

    def project(self, delta: Any, epsilon: float) -> Any:
        return 0 * delta


def test_a_failure_on_a_large_input_is_repeated_from_its_recipe() -> None:
    class Remainder(Plain):
        def outputs(self, W: Any, b: Any, A: Any, c: Any, x: Any) -> Any:
            F = super().outputs(W, b, A, c, x)
            F[1000:] = 0
            return F

    result = status(Remainder, "E4-outputs-batch")
    assert "cases.batch(seed=" in conformance.snippet(result, Remainder())


def test_runs_repeat_from_their_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(seed: int) -> Any:
        monkeypatch.setattr(runner, "_pools", {})
        return [
            case["delta"].tolist() for case in runner.draw(claims()["PGD-projection"], seed, 10)
        ]

    assert run(1) == run(1)
    assert run(1) != run(2)


@pytest.mark.slow
def test_inputs_do_not_depend_on_the_numbers_in_the_users_modules(tmp_path: Path) -> None:
    """Newer versions of Hypothesis draw them: inputs would change with each repair."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import users_module\n"
        "from refimpl.conformance import claims, runner\n"
        "print([c['seed'] for c in runner.draw(claims()['PGD-linear'], 0, 60)])"
    )
    printed = []
    for number in (12345, 54321):
        (tmp_path / "users_module.py").write_text(f"x = {number}\n")
        command = [sys.executable, "-B", "-c", program, str(tmp_path)]
        printed.append(subprocess.run(command, capture_output=True, check=True).stdout)
    assert printed[0] == printed[1] != b""


CONVENTIONS = ["best-iterate", "large-outputs", "linear", "linear-box", "linear-linf", "scale"]
CONVENTIONS += ["seed", "small-budget", "zero-gradient-linf"]


def test_conventions_are_marked_and_left_out_by_name() -> None:
    marked = sorted(name for name, claim in claims().items() if claim.convention)
    assert marked == [f"PGD-{name}" for name in CONVENTIONS]
    everything = {result.claim for result in check(Adapter)}
    assert everything - {it.claim for it in check(Adapter, exclude=["conventions"])} == {*marked}
    assert everything - {it.claim for it in check(Adapter, exclude=marked[:2])} == {*marked[:2]}
    only = check(Adapter, only=["PGD-seed", "PGD-budget"], exclude=["PGD-seed"])
    assert [result.claim for result in only] == ["PGD-budget"]


def test_a_convention_that_fails_says_how_to_leave_it_out() -> None:
    result = status(LastIterate, "PGD-best-iterate")
    assert result.convention
    text = explain(result, LastIterate())
    assert "another method that is right may fail this" in text
    assert "--exclude PGD-best-iterate" in text
    assert report.table([result]).splitlines()[1].endswith("  convention")
    assert report.as_json([result], LastIterate(), 0)["results"][0]["convention"] is True


def test_the_suite_leaves_claims_out() -> None:
    (mark,) = suite(Plain, exclude=["conventions"]).pytestmark  # type: ignore[attr-defined]
    names = set(mark.args[1])
    assert "PGD-budget" in names
    assert not names & {f"PGD-{name}" for name in CONVENTIONS}


def test_expected_failures_carry_their_reason() -> None:
    known = {"E4-outputs": "known"}
    result = status(Shifted, "E4-outputs", expected_failures=known, shrink=False)
    assert (result.status, result.detail) == ("expected_failure", "known")


def test_an_expected_failure_that_passes_is_a_failure() -> None:
    result = status(Plain, "E4-outputs", expected_failures={"E4-outputs": "long gone"})
    assert result.status == "failed"
    assert "expected to fail (long gone), but it passes" in explain(result, Plain())


@pytest.mark.parametrize(
    ("adapter", "options", "message"),
    [
        (None, {}, "adapter: expected a subclass of Adapter, or an instance of one, got None"),
        (dict, {}, r"adapter: expected .*, got \{\}"),
        (Plain, {"examples": 0}, "examples: expected "),
        (Plain, {"examples": 1.5}, "examples: expected "),
        (Plain, {"seed": -1}, "seed: expected "),
        (Plain, {"only": "E4-outputs"}, "claims: expected a list of names, got E4-outputs"),
        (Plain, {"exclude": "E4-outputs"}, "claims: expected a list of names, got E4-outputs"),
        (Plain, {"only": []}, "only: expected at least one claim, got none"),
        (Plain, {"exclude": claims()}, r"exclude: expected at least one claim to be left, got \["),
        (Plain, {"exclude": ["E99-nothing"]}, r"got \['E99-nothing'\]"),
        (Plain, {"expected_failures": ["E4-outputs"]}, "expected_failures: expected reasons by"),
        (Plain, {"dtype": "float16"}, "dtype: expected "),
    ],
)
def test_bad_arguments_are_refused_before_anything_runs(
    adapter: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check(adapter, **options)


@pytest.mark.parametrize("use", [check, suite, lambda adapter, names: replay(adapter, *names)])
def test_unknown_claims_are_refused(use: Any) -> None:
    arguments = (
        {"expected_failures": {"E99-nothing": ""}}
        if use in (check, suite)
        else {"names": ["E99-nothing"]}
    )
    with pytest.raises(ValueError, match="E99-nothing"):
        use(Plain, **arguments)


def test_the_report_is_a_table_and_json() -> None:
    adapter = Shifted()
    results = check(adapter, only=["E4-outputs", "PGD-projection"], examples=5)
    text = report.table(results)
    assert "E4-outputs                        FAILED" in text
    record = json.loads(json.dumps(report.as_json(results, adapter, 0), allow_nan=False))
    assert record["results"][0]["failure"]["expected"] == "array([[0.0]])"
    assert report.summary(results) == "1 passed, 1 failed"


def test_infinite_ratios_become_text_in_json() -> None:
    adapter = Broken(raising)
    (result,) = check(adapter, only=["PGD-projection"], examples=2)
    assert report.as_json([result], adapter, 0)["results"][0]["ratio"] == "inf"


def test_the_oracle_is_asked_in_float64_and_candidates_in_their_own_dtype() -> None:
    probe = Probe(PlainSingle())
    assert probe.unit == 2.0**-24 + 2.0**-53
    with pytest.raises(NotImplementedError):
        Probe(Adapter()).outputs(*np.zeros((5, 1, 1)))
    with pytest.raises(AttributeError):
        _ = probe.no_method


def test_arguments_come_by_name_out_of_a_case() -> None:
    probe, case = Probe(Plain()), Case(epsilon=1.0, delta=np.array([[3.0, 4.0]]), unused=None)
    assert probe.project(**case).tolist() == probe.project([[3.0, 4.0]], 1.0).tolist()
    with pytest.raises(KeyError, match="delta"):
        probe.project(epsilon=1.0)
    with pytest.raises(ValueError, match="zip"):
        probe.project([[3.0, 4.0]], 1.0, 2.0)


def test_a_case_is_rounded_and_keeps_its_recipe() -> None:
    case = cases.rows(seed=1, k=2, M=3, d=4).rounded(np.float32)
    assert case.recipe == "rows(seed=1, k=2, M=3, d=4)"
    assert np.array_equal(case.W, case.W.astype(np.float32))
    assert case.replace(W=case.W).recipe == ""
    with pytest.raises(AttributeError):
        _ = case.x


README = (Path(conformance.__file__).parent / "README.md").read_text()


def test_the_guide_lists_the_methods_and_their_arguments() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (W|x|delta|features|radius)(.*?) \|", README, flags=re.MULTILINE
    )
    listed = {name: re.sub(r" \([^)]*\)", "", first + rest) for name, first, rest in rows}
    methods = conformance.adapter.METHODS.items()
    assert listed == {name: ", ".join(signature.arguments) for name, signature in methods}


def test_the_guide_sorts_every_claim_on_pgd() -> None:
    mathematics, conventions = (
        set(re.findall(r"^\| `(PGD-[\w-]+)` \|", part, flags=re.MULTILINE))
        for part in README.split("These are conventions.")
    )
    on_pgd = {name: claim for name, claim in claims().items() if name.startswith("PGD-")}
    assert mathematics | conventions == on_pgd.keys()
    assert conventions == {name for name, claim in on_pgd.items() if claim.convention}


@pytest.mark.slow
def test_the_guide_shows_a_failure_as_it_is_printed() -> None:
    (shown,) = re.findall(r"```\n(FAILED.*?)```", README, flags=re.DOTALL)
    adapter = DerivativeOneAtKink()
    (result,) = check(adapter, only=["E12-input-gradient-at-kinks"])
    assert shown.split() == explain(result, adapter).split("  reproduce")[0].split()


def test_the_guide_is_readable_in_a_terminal() -> None:
    assert max(map(len, README.splitlines())) <= 100


def test_conversions_are_the_adapters() -> None:
    class Lists(Adapter):
        def to_native(self, array: Any) -> Any:
            return array.tolist()

        def to_numpy(self, value: Any) -> Any:
            return np.array(value)

        def cosine_matrix(self, features: Any, W: Any) -> Any:
            assert isinstance(W, list)
            return [[1.0] * len(W) for _ in features]

    assert Probe(Lists()).cosine_matrix([[1.0]], [[2.0], [3.0]]).tolist() == [[1.0, 1.0]]


def test_arguments_that_the_adapter_overwrites_are_not_ours() -> None:
    class Greedy(Plain):
        def project(self, delta: Any, epsilon: float) -> Any:
            result = super().project(delta, epsilon).copy()
            delta[:] = np.nan
            return result

    assert status(Greedy, "PGD-projection-inside").status == "passed"


class Clearing(Plain):
    """Zeroes its input in place, and goes on with it; the bias is left alone."""

    def outputs(self, W: Any, b: Any, A: Any, c: Any, x: Any) -> Any:
        W[:] = x[:] = 0
        return super().outputs(W, b, A, c, x)


@pytest.mark.parametrize("claim", ["E4-outputs", "E4-outputs-at-kinks"])
def test_a_finding_says_that_a_call_changed_its_arguments(claim: str) -> None:
    told = "; outputs changed W and x in place"
    failure = status(Clearing, claim, shrink=False).failure
    assert failure is not None
    assert failure.message.endswith(told)
    with pytest.raises(Mismatch, match=told):
        replay(Clearing, claim, **failure.case)
    assert "in place" not in status(Shifted, claim).detail


def test_a_finding_says_where_a_number_that_is_not_finite_may_come_from() -> None:
    class Overflowing(PlainSingle):
        def loss(self, W: Any, b: Any, A: Any, c: Any, x: Any, targets: Any) -> Any:
            if len(A) > 1:
                raise NotImplementedError
            return np.log(1 + np.exp(-targets * self.outputs(W, b, A, c, x)[:, 0])).mean()

    found = status(Overflowing, "E8-logistic-large-margins").detail
    assert found == "loss returned inf, as after an overflow or a division by 0"


def test_without_pytest_suite_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytest", None)
    with pytest.raises(ImportError, match="suite needs pytest: pip install pytest"):
        suite(Plain())
