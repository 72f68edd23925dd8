"""``refimpl check`` and ``refimpl vectors``."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from refimpl.cli import check as check_command
from refimpl.cli import main
from refimpl.conformance import claims

MINE = """
import sys
from builtins import int
from refimpl.conformance import Adapter

class Right(Adapter):
    name = "right"
    def robust_accuracy(self, radius, epsilons):
        return [sum(r > e for r in radius) / len(radius) for e in epsilons]

class Misspelt(Right):
    def outptus(self, W, b, A, c, x):
        return x

    def helper(self):
        return 0

class Empty(Adapter):
    def output(self, W, b, A, c, x):
        return x

class Interrupted(Right):
    def project(self, delta, epsilon, norm=2):
        raise NotImplementedError if norm == 2 else KeyboardInterrupt

class Failing(Adapter):
    def __init__(self):
        raise RuntimeError("not today")

class Wrong(Right):
    name = "wrong"
    def robust_accuracy(self, radius, epsilons):
        return [sum(r >= e for r in radius) / len(radius) for e in epsilons]

instance = Right()
number = 3
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module in the current directory."""
    (tmp_path / "users_adapter.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.delitem(sys.modules, "users_adapter", raising=False)
    return tmp_path


def test_claims_are_left_out_by_name(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["check", "users_adapter:Wrong", "--examples", "10"]
    assert main(words) == 1
    assert main([*words, "--exclude", "E29-robust-at-the-radius"]) == 1  # there are others
    out = capsys.readouterr().out
    assert "E29-robust-at-the-radius" not in out.split("seed 0\n\n")[2]
    assert main([*words, "--exclude", "E29-nothing"]) == 2
    assert "--exclude: expected conventions, or a name" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["Right", "instance"])
def test_a_right_adapter_passes(mine: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", f"users_adapter:{name}", "--seed", "3", "--examples", "10"]) == 0
    out = capsys.readouterr().out
    assert "4 passed, " in out
    assert "not implemented; repeat with --seed 3 --examples 10\n" in out
    assert "no claim asks for" not in out


def test_methods_that_no_claim_asks_for_are_named(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--claim", "PGD-projection", "--dtype", "float32"]
    assert main(["check", "users_adapter:Misspelt", *words]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[-5:] == [
        "not implemented, 1 claim: right has no project",
        "no claim asks for the method helper",
        "no claim asks for the method outptus: is it outputs, misspelt?",
        "",
        "1 not implemented; repeat with --seed 0 --dtype float32",
    ]


def test_a_wrong_adapter_fails_with_the_claim(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "users_adapter:Wrong", "--json", "out.json", "--examples", "10"]) == 1
    out = capsys.readouterr().out
    assert "FAILED E29-robust-at-the-radius" in out
    assert "from users_adapter import Wrong" in out
    results = json.loads((mine / "out.json").read_text())["results"]
    assert {it["status"] for it in results} == {"passed", "failed", "not_implemented"}


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["Empty"], "users_adapter:Empty: expected at least one claim that can be checked, got "),
        (["Right", "--claim", "PGD-projection"], "can be checked, got 1 not implemented"),
        (
            ["Right", "--claim", "E4-outputs", "--exclude", "E4-outputs"],
            "--exclude: expected at least one claim to be left, got ['E4-outputs']",
        ),
    ],
)
def test_a_check_that_checks_nothing_is_refused(
    mine: Path, words: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", f"users_adapter:{words[0]}", *words[1:]]) == 2
    err = capsys.readouterr().err
    assert error in err
    assert err.startswith("refimpl: error: ")
    assert err.count("\n") == 1


def test_claims_that_were_finished_before_an_interrupt_are_told(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["check", "users_adapter:Interrupted", "--examples", "10", "--json", "out.json"]
    assert main(words) == 130
    printed = capsys.readouterr()
    assert printed.err == "refimpl: interrupted\n"
    record = json.loads((mine / "out.json").read_text())
    assert record["interrupted"] is True
    names = [it["claim"] for it in record["results"]]
    assert "E29-robust-at-the-radius" in printed.out
    assert 1 < len(names) < len(claims())
    assert f"Interrupted after {names[-1]}: later claims were not checked." in printed.out
    (mine / "out.json").unlink()
    assert main([*words, "--claim", "PGD-projection-linf"]) == 130  # nothing was finished
    assert capsys.readouterr().out == ""
    assert not (mine / "out.json").exists()


def test_without_argument_refimpl_is_checked(capsys: pytest.CaptureFixture[str]) -> None:
    claims = ["--claim", "PGD-projection", "--claim", "E4-outputs", "--dtype", "float32"]
    assert main(["check", *claims, "--examples", "5", "--subnormals"]) == 0
    assert capsys.readouterr().out.startswith("refimpl (float32) against refimpl")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("users_adapter", "expected PACKAGE.MODULE:ADAPTER, as in mine:Mine"),
        ("users_adapter.py:Right", "expected PACKAGE.MODULE:ADAPTER, as in mine:Mine, got a path"),
        ("./users_adapter:Right", "expected PACKAGE.MODULE:ADAPTER, as in mine:Mine, got a path"),
        ("users_raising:Mine", "/users_raising.py, line 2)"),
        ("users_syntax:Mine", "SyntaxError: '(' was never closed (users_syntax.py, line 1)"),
        ("users_adapter:Failing", "RuntimeError: not today ("),
        ("users_adapter:Failing", "/users_adapter.py, line "),
        ("no_such_module:Adapter", "ModuleNotFoundError"),
        ("users_adapter:Missing", "AttributeError"),
        ("users_leaving:Mine", "SystemExit: 0"),
        ("users_adapter:number", "or an instance of one, got an object of type int"),
        ("users_adapter:int", "or an instance of one, got an object of type type"),
        ("users_adapter:sys", "or an instance of one, got an object of type module"),
    ],
)
def test_what_cannot_be_imported_is_bad_usage(
    mine: Path, name: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (mine / "users_raising.py").write_text("import numpy as np\nnp.linalg.inv(np.zeros((2, 3)))")
    (mine / "users_syntax.py").write_text("x = (1,")
    (mine / "users_leaving.py").write_text("import sys; sys.exit(0)")
    assert main(["check", name]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"refimpl: error: {name}: expected ")
    assert reason in error
    assert error.count("\n") == 1


def test_without_hypothesis_one_line_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    claims.cache_clear()
    module = sys.modules["refimpl.conformance.claims"]  # its name is that of a function too
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert main(["check"]) == 2
    error = capsys.readouterr().err
    assert error == (
        "refimpl: error: checks need Hypothesis: pip install '.[check]' in a checkout\n"
    )


def test_unknown_claims_are_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--claim", "E99-nothing"]) == 2
    error = capsys.readouterr().err
    assert error == (
        "refimpl: error: --claim: expected a name from refimpl check --list, got 'E99-nothing'\n"
    )


def test_list_says_every_claim_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    from refimpl.conformance import claims

    assert main(["check", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(claims())
    (line,) = (line for line in lines if line.startswith("E29-robust-at-the-radius "))
    assert " E29: " in line
    assert line.endswith(" | " + claims()["E29-robust-at-the-radius"].statement)


def test_power_prints_the_matrix(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from refimpl.conformance import claims, power
    from refimpl.conformance.defects import defects

    few = [defect for defect in defects() if defect.name == "RobustAtTheRadius"]
    monkeypatch.setattr(power, "defects", lambda: few)
    names = ("E29-robust-accuracy", "E29-robust-at-the-radius", "PGD-projection")
    chosen = {name: claims()[name] for name in names}
    monkeypatch.setattr(power, "claims", lambda: chosen)
    arguments = ["check", "--power", "--examples", "20", "--json", str(tmp_path / "power.json")]
    assert main(arguments) == 0
    assert "RobustAtTheRadius" in capsys.readouterr().out
    assert json.loads((tmp_path / "power.json").read_text()) == {"RobustAtTheRadius": [*names[:2]]}
    monkeypatch.setattr(power, "claims", lambda: {"PGD-projection": claims()["PGD-projection"]})
    assert main(["check", "--power", "--examples", "5"]) == 1
    assert "RobustAtTheRadius passes E29-robust-accuracy" in capsys.readouterr().out


def test_an_interrupted_power_keeps_the_rows_that_were_finished(
    mine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from refimpl.conformance import power
    from refimpl.conformance.defects import Plain, defects

    class Interrupted(Plain):
        def robust_accuracy(self, radius: Any, epsilons: Any) -> Any:
            raise KeyboardInterrupt

    (first,) = (it for it in defects() if it.name == "RobustAtTheRadius")
    monkeypatch.setattr(power, "defects", lambda: [first, first._replace(adapter=Interrupted)])
    name = "E29-robust-at-the-radius"
    monkeypatch.setattr(power, "claims", lambda: {name: claims()[name]})
    assert main(["check", "--power", "--examples", "20", "--json", "out.json"]) == 130
    assert json.loads((mine / "out.json").read_text()) == {"RobustAtTheRadius": [name]}
    printed = capsys.readouterr()
    assert printed.out.endswith("  RobustAtTheRadius\n")
    assert printed.err == "refimpl: interrupted\n"


@pytest.mark.slow
def test_vectors_are_written_and_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["vectors", "write", str(tmp_path)]) == 0
    assert main(["vectors", "check", str(tmp_path)]) == 0
    assert "all values agree" in capsys.readouterr().out
    (tmp_path / "outputs.npz").unlink()
    assert main(["vectors", "check", str(tmp_path)]) == 2


@pytest.mark.slow
def test_vectors_that_differ_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from refimpl.conformance import vectors

    vectors.write_vectors(tmp_path, count=1)
    old = vectors.VECTORS["cosines"]
    wrong = old._replace(outputs=lambda **case: {"cosine": 2 * old.outputs(**case)["cosine"]})
    monkeypatch.setitem(vectors.VECTORS, "cosines", wrong)
    assert main(["vectors", "check", str(tmp_path)]) == 1
    assert "1 values differ" in capsys.readouterr().out


def test_ctrl_c_is_heard_where_python_drops_the_first_exception(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dropped: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda it: dropped.append(it.exc_type))

    class Deaf:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)  # Python drops what a finaliser raises

    def work() -> None:
        with check_command._heard_interrupts():
            Deaf()
            time.sleep(5)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert dropped == []  # nor is it printed
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
