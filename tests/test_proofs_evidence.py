"""Results, bounds that the proofs share, the table, the figures, and the command."""

from __future__ import annotations

import json
import math
import sys
from statistics import NormalDist

import pytest

import proofs_numeric
from proofs_numeric import CLAIMS, Check, Evidence, canonical, drawing, evidence, report
from refimpl import cli
from tests import drawn_figures

GOOD = Check.at_most("a", 1.0, 2.0)
BAD = Check.at_least("b", 1.0, 2.0)


def test_checks_hold_on_their_side_only_and_nan_never_does():
    assert GOOD.holds
    assert not BAD.holds
    assert Check.at_least("c", 2.0, 2.0).holds
    assert not Check.at_most("d", math.nan, 2.0).holds
    assert Check.reported("e", math.nan).holds


def test_a_result_fails_with_any_of_its_checks_and_names_it():
    result = Evidence("x", "statement", "derived", [GOOD, BAD, Check.reported("c", math.inf)])
    assert (result.verdict, result.decisive) == ("fails", BAD)
    held = Evidence("x", "statement", "derived", [GOOD])
    assert (held.verdict, held.decisive) == ("holds", GOOD)
    plain = json.loads(json.dumps(result.as_json(), allow_nan=False))
    assert plain["figure"] == 1.0
    assert plain["bound"] == 2.0
    assert plain["checks"][2]["figure"] is None


def test_every_claim_has_a_module_of_its_name_that_says_its_status():
    for claim in CLAIMS:
        module = __import__(f"proofs_numeric.{claim.replace('-', '_')}", fromlist=["prove"])
        assert "Status:" in module.__doc__
        assert callable(module.prove)


@pytest.mark.parametrize(
    "text", ["near-optimal attack", "Near_Optimal_Attack", "near-optimal-attack"]
)
def test_claims_are_found_by_any_spelling(text):
    assert canonical(text) == "near-optimal-attack"


def test_an_unknown_claim_lists_all():
    with pytest.raises(ValueError, match=r"CLAIM: expected one of data, decomposition.*got 'x'"):
        canonical("x")


def test_largest_normal_is_the_quantile_of_the_union_bound():
    bound = evidence.largest_normal(100)
    assert 100 * (1 - NormalDist().cdf(bound)) == pytest.approx(evidence.FALSE_ALARM, rel=1e-3)


def test_largest_count_is_a_poisson_quantile():
    count, mean = evidence.largest_count(0.5), 0.5
    tails = [
        sum(math.exp(-mean) * mean**i / math.factorial(i) for i in range(start + 1, 60))
        for start in (count - 1, count)
    ]
    assert tails[0] > evidence.FALSE_ALARM >= tails[1]


def test_the_table_judges_checks_with_a_bound_only():
    lines = report.rows(Evidence("x", "s", "derived", [GOOD, BAD, Check.reported("c", 3.0)])).split(
        "\n"
    )
    assert [each.split()[-1] for each in lines] == ["holds", "FAILS", "3"]
    assert lines[0].startswith("x ")
    assert report.summary([Evidence("x", "s", "d", [BAD])]) == "0 of 1 claims hold; failed: x"
    assert report.summary([Evidence("x", "s", "d", [GOOD])]) == "1 of 1 claims hold"


def test_the_column_of_claims_is_as_wide_as_the_longest_name():
    starts = {report.line(claim, "what", "1", "", "").index("what") for claim in CLAIMS}
    assert len(starts) == 1


NUMBERS = {
    "adversarial-training": {
        f"{attack}, {share:g}": {"features": 3.0 - share, "radius": 1.0 + share}
        for attack in ("pgd", "closed_form", "exact")
        for share in (0.0, 0.5)
    },
    "balance": {"ratios": [{"0": 1.0, "5": 1.1}], "longer": {"0": 1.0, "200": 1.9}},
    "readout": {
        "bias_over_d, group_max, group_sum, E20, E21": [
            [0.0, 4.0, 2.0, 4.0, 2.0],
            [-0.5, 3, 3, 3, 3],
        ]
    },
    "scaling": {
        "slopes": {
            f"{kind}, log {name}": [0.5, 0.5]
            for kind in ("averaging", "group_max", "group_sum")
            for name in ("k", "d")
        },
        "medians": [
            {"k": k, "d": d, "averaging": 1.0, "group_max": 2.0, "group_sum": 1.5}
            for k, d in ((4, 10), (4, 20), (4, 20), (6, 20))
        ],
    },
}


@pytest.mark.parametrize("claim", NUMBERS)
def test_figures_are_drawn_where_the_evidence_is_a_curve(tmp_path, claim):
    pytest.importorskip("matplotlib", reason="figures need the extra plot")
    path = drawing.draw(claim, NUMBERS[claim], tmp_path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert drawing.draw("data", {}, tmp_path) is None


@pytest.mark.parametrize("claim", NUMBERS)
def test_figures_say_in_words_what_they_show(tmp_path, monkeypatch, claim):
    pytest.importorskip("matplotlib", reason="figures need the extra plot")
    seen = []
    monkeypatch.setattr(drawing, "save", lambda figure, path: seen.append(figure))
    drawing.draw(claim, NUMBERS[claim], tmp_path)
    labels = [text for ax in seen[0].axes for text in ax.get_legend_handles_labels()[1]]
    assert labels
    assert not [text for text in labels if "_" in text or "-0.00" in text or text.startswith("E")]
    assert drawn_figures.is_whole(seen[0])


def test_marks_of_scaling_are_inside_the_frame_and_no_zero_is_negative(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="figures need the extra plot")
    seen = []
    monkeypatch.setattr(drawing, "save", lambda figure, path: seen.append(figure))
    numbers = NUMBERS["scaling"]
    medians = [{**point, "group_max": 40.0} for point in numbers["medians"]]
    slopes = {name: [-0.001, -1e-17] for name in numbers["slopes"]}
    drawing.draw("scaling", {"slopes": slopes, "medians": medians}, tmp_path)
    for ax in seen[0].axes:
        assert ax.get_ylim()[1] > 1.05 * 40
        labels = ax.get_legend_handles_labels()[1]
        assert all(label.endswith("slope +0.00, theory +0.00") for label in labels)


def _prove(monkeypatch, capsys, *words, checks=(GOOD,)):
    def stand_in(claim, size):
        if claim == "symmetry":
            raise KeyboardInterrupt
        return Evidence(claim, "statement", "derived", checks, NUMBERS.get(claim, {}))

    monkeypatch.setattr(proofs_numeric, "prove", stand_in)
    status = cli.main(["prove", *map(str, words)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_prove_prints_writes_and_draws(monkeypatch, capsys, tmp_path):
    words = ("balance", "data", "data", "--json", tmp_path / "r.json", "--out", tmp_path / "o")
    status, out, _ = _prove(monkeypatch, capsys, *words)
    assert status == 0
    figure = tmp_path / "o" / "balance.png"
    drawn = f"; drawn: {figure}" if figure.exists() else ""  # where matplotlib is installed
    assert out.endswith(f"\n2 of 2 claims hold{drawn}\n")
    written = json.loads((tmp_path / "r.json").read_text())
    assert [each["claim"] for each in written] == ["balance", "data"]
    assert {"claim", "status", "figure", "bound", "verdict"} <= written[0].keys()
    assert [*tmp_path.glob("o/*")] == [figure] * bool(drawn)


def test_prove_makes_no_folder_for_nothing(monkeypatch, capsys, tmp_path):
    status, out, _ = _prove(monkeypatch, capsys, "data", "--out", tmp_path / "o")
    assert status == 0
    assert out.endswith("\n1 of 1 claims hold\n")
    assert not (tmp_path / "o").exists()


def test_prove_fails_with_a_claim(monkeypatch, capsys, tmp_path):
    status, out, _ = _prove(monkeypatch, capsys, "data", "--out", tmp_path, checks=(GOOD, BAD))
    assert status == 1
    assert "failed: data" in out


def test_prove_knows_its_claims(monkeypatch, capsys, tmp_path):
    status, out, err = _prove(monkeypatch, capsys, "nonsense", "--out", tmp_path)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert "supervision-alone" in err


def test_interrupted_prove_writes_what_was_finished(monkeypatch, capsys, tmp_path):
    words = ("data", "symmetry", "--json", tmp_path / "r.json", "--out", tmp_path)
    status, _, _ = _prove(monkeypatch, capsys, *words)
    assert status == 130
    assert [each["claim"] for each in json.loads((tmp_path / "r.json").read_text())] == ["data"]


def test_prove_without_matplotlib_says_so_in_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("refimpl.experiments.figures.find_spec", lambda _: None)
    status, _, err = _prove(monkeypatch, capsys, "balance", "--out", tmp_path)
    assert status == 0
    assert err.count("\n") == 1
    assert "matplotlib" in err


def test_the_package_runs_as_a_module(monkeypatch, tmp_path, capsys):
    import runpy

    monkeypatch.setattr(sys, "argv", ["proofs_numeric", "data", "--quick", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as leaving:
        runpy.run_module("proofs_numeric", run_name="__main__")
    assert leaving.value.code == 0
    assert "1 of 1 claims hold" in capsys.readouterr().out


def test_interrupted_before_the_first_claim_an_older_file_stays(monkeypatch, capsys, tmp_path):
    (tmp_path / "r.json").write_text("older")
    words = ("symmetry", "--json", tmp_path / "r.json", "--out", tmp_path)
    assert _prove(monkeypatch, capsys, *words)[0] == 130
    assert (tmp_path / "r.json").read_text() == "older"
