"""The judge: what attacks are told, in rows, tables, figures, and on the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from refimpl import GroupMax, TwoLayerReLU, cli, robust_radius, truth
from refimpl.truth import figure, report
from refimpl.truth.ours import closed_form, minimum_norm, pgd

ATTACKS = """
import numpy as np
def corner(net, x, y, *, norm, box, epsilon):
    return np.ones_like(x)
def broken(net, x, y, *, norm, box, epsilon):
    raise RuntimeError("no way")
number = 3
"""
INTERRUPTED = """
import numpy as np
def attack(net, x, y, *, norm, box, epsilon):
    if box is None:
        raise KeyboardInterrupt
    return np.ones_like(x)
"""


def judged(attack, name="corner", **options):
    (verdict,) = truth.judge(attack, [name], **options)
    return verdict


def corner(net, x, y, *, norm, box, epsilon):
    return np.ones_like(x)


def test_the_optimum_has_the_ratio_1():
    verdict = judged(corner)
    assert verdict.flips.all()
    np.testing.assert_allclose(verdict.ratio, 1.0, rtol=1e-8)
    assert (verdict.excess, verdict.complaint, verdict.complaints) == (0.0, "", {})
    assert not verdict.failed


@pytest.mark.parametrize(
    ("returned", "complaint"),
    [
        (lambda x: x.astype(np.float32), "returned float32, expected float64"),
        (lambda x: x[:, 1:], "returned shape (20, 9), expected (20, 10)"),
        (lambda x: x.tolist(), "returned list, expected a NumPy array"),
        (lambda x: 1 / 0, "raised ZeroDivisionError: division by zero"),
        (lambda x: x.astype(np.int64), "returned int64, expected float64"),
        (lambda x: None, "returned NoneType, expected a NumPy array"),
    ],
)
def test_what_are_no_points_is_told_and_does_not_end_the_run(returned, complaint):
    def attack(net, x, y, *, norm, box, epsilon):
        return returned(x)

    first, second = truth.judge(attack, ["corner", "kink"])
    assert first.complaint == complaint
    assert not first.flips.any()
    assert second.problem.name == "kink"
    assert complaint in "\n".join(report.lines([first]))


def test_rows_are_told_what_rule_they_break():
    def attack(net, x, y, *, norm, box, epsilon):
        x_adv = np.ones_like(x)
        x_adv[0] += 0.5
        x_adv[1, 2] = np.nan
        x_adv[2] = 0.5
        x_adv[3] = x[3]
        return x_adv

    verdict = judged(attack)
    assert verdict.complaints[0] == "outside the box, by 0.5"
    assert verdict.complaints[1] == "NaN or infinite"
    assert verdict.complaints[2].startswith("not adversarial, at a distance of ")
    assert sorted(verdict.complaints) == [0, 1, 2]  # row 3 says that nothing was found
    np.testing.assert_array_equal(np.flatnonzero(~verdict.flips), [0, 1, 2, 3])
    assert verdict.excess == pytest.approx(20.0)
    text = "\n".join(report.lines([verdict]))
    assert "row 0: outside the box, by 0.5" in text
    assert "Returned as they were: 1 of 20 samples. Likely cause: Every other" in text


def test_points_beyond_the_budget_do_not_count():
    verdict = judged(corner, budget=True)
    assert any(text.startswith("beyond its budget, by ") for text in verdict.complaints.values())
    # The corner is the nearest point: only budgets above a radius admit it.
    np.testing.assert_allclose(verdict.norm, verdict.problem.radii.lower, rtol=1e-8)


def test_the_excess_is_that_of_the_two_curves():
    def attack(net, x, y, *, norm, box, epsilon):
        x_adv = np.ones_like(x)
        x_adv[:5] = x[:5]
        return x_adv

    verdict = judged(attack)
    # Five samples withstand the attack at every radius, and none the truth at the largest one.
    assert verdict.excess == pytest.approx(25.0)
    assert np.isinf(verdict.ratio[:5]).all()
    assert verdict.failed


def test_a_longer_way_has_its_ratio():
    def attack(net, x, y, *, norm, box, epsilon):
        return x + 2 * truth.problem("averaging").radii.perturbation

    verdict = judged(attack, "averaging")
    np.testing.assert_allclose(verdict.ratio, 2.0, rtol=1e-6)
    radii = verdict.problem.radii.upper
    by_hand = max(np.mean(2 * radii > r * 1.000001) - np.mean(radii > r) for r in radii)
    assert verdict.excess == pytest.approx(100 * by_hand, abs=1e-9)


def test_a_point_below_the_radius_accuses_refimpl(monkeypatch):
    each = truth.problem("corner")
    radii = robust_radius(each.net, each.x, each.y, **each.options)
    false = type(radii)(2 * radii.lower, 2 * radii.upper, *list(vars(radii).values())[2:])
    monkeypatch.setitem(each.__dict__, "radii", false)
    assert "refimpl is wrong" in judged(corner).complaints[0]


def test_decision_and_seed_are_given_to_those_who_take_them():
    seen = {}

    def attack(net, x, y, *, norm, box, epsilon, decision, rng):
        seen.update(decision=decision, rng=rng, epsilon=epsilon, norm=norm, box=box)
        return x

    judged(attack, "group_max", rng=5)
    assert isinstance(seen["decision"], GroupMax)
    assert (seen["rng"], seen["epsilon"], seen["norm"], seen["box"]) == (5, None, 2, None)
    assert judged(corner, "group_max").complaint.startswith("not run: it takes no decision")


def test_pgd_fails_where_the_network_is_flat_near_the_samples_and_the_cause_is_told():
    verdict = judged(pgd, "slivers", budget=True)
    assert verdict.failed
    assert "Likely cause: Outside a slab its neurons cancel" in "\n".join(report.explain(verdict))


@pytest.mark.slow
def test_the_closed_form_is_the_optimum_where_features_are_averaged_and_there_alone():
    verdict = judged(closed_form, "averaging")
    np.testing.assert_allclose(verdict.ratio, 1.0, rtol=1e-3)
    assert verdict.complaints == {}
    assert judged(closed_form, "flat").failed
    still = judged(closed_form, "corner")  # the ray leaves the box before the corner
    assert not still.moved.any()


def test_figures_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    verdicts = truth.judge(corner, ["corner", "kink"])
    figure.draw(tmp_path / "judge.png", {"corner": verdicts})
    ratios = np.array([[1.0, np.inf], [12.0, np.nan]])
    figure.draw_ratios(tmp_path / "ratios.png", ["a", "b"], ["p", "q"], ratios)
    for name in ("judge.png", "ratios.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="attack: expected a callable, got int"):
        truth.judge(3)

    def never(net, x, y, *, norm, box, epsilon):
        raise AssertionError

    with pytest.raises(ValueError, match="problem: expected one of"):
        truth.judge(never, ["corner", "nothing"], finished=(done := []))
    assert done == []  # refused before the work
    with pytest.raises(ValueError, match="rng: expected an integer of at least 0, got -1"):
        truth.judge(never, rng=-1)


def test_an_attack_that_leaves_python_fails():
    def leaves(net, x, y, *, norm, box, epsilon):
        raise SystemExit(0)

    assert judged(leaves).complaint == "raised SystemExit: 0"


def test_what_an_attack_prints_on_import_is_not_in_the_json(tmp_path, monkeypatch, capsys):
    (tmp_path / "loud_attacks.py").write_text(f"{ATTACKS}\nprint('hello')")
    monkeypatch.chdir(tmp_path)
    words = ["judge", "loud_attacks:corner", "--problem", "corner", "--json", "-"]
    assert cli.main(words) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)[0]["problem"] == "corner"
    assert "hello" in captured.err


@pytest.mark.slow
def test_the_command_judges_an_attack_of_the_user(tmp_path, monkeypatch, capsys):
    (tmp_path / "judged_attacks.py").write_text(ATTACKS)
    monkeypatch.chdir(tmp_path)
    words = ["judge", "judged_attacks:corner", "--problem", "corner", "--out", "out"]
    assert cli.main(words) == 0
    assert "corner   2 box  100 %   1.000" in capsys.readouterr().out
    (row,) = json.loads((tmp_path / "out" / "judge.json").read_text())
    assert row["flips"] == [True] * 20
    words[1] = "judged_attacks:broken"
    assert cli.main(words) == 1
    assert "raised RuntimeError: no way" in capsys.readouterr().out
    for name, said in (("number", "expected a callable"), ("absent", "expected an attack")):
        assert cli.main(["judge", f"judged_attacks:{name}"]) == 2
        assert said in capsys.readouterr().err
    assert cli.main(["judge", "--list"]) == 0
    assert "corner         One tie in a corner" in capsys.readouterr().out


def test_verdicts_that_were_finished_before_an_interrupt_are_told(tmp_path, monkeypatch, capsys):
    (tmp_path / "interrupted_attacks.py").write_text(INTERRUPTED)
    monkeypatch.chdir(tmp_path)
    words = ["judge", "interrupted_attacks:attack", "--problem", "corner", "--problem", "kink"]
    assert cli.main(words) == 130
    out = capsys.readouterr().out
    assert "corner   2 box  100 %   1.000" in out
    assert out.endswith("\nInterrupted: judged on corner alone.\n")
    (row,) = json.loads((tmp_path / "refimpl-judge" / "judge.json").read_text())
    assert row["problem"] == "corner"
    assert cli.main([*words[:2], "--problem", "kink", "--json", "none.json"]) == 130
    assert capsys.readouterr().out == ""  # nothing was finished
    assert not (tmp_path / "none.json").exists()


def test_the_command_says_in_one_block_what_it_wrote(tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="figures need matplotlib")
    assert cli.main(["judge", "--problem", "corner", "--out", str(tmp_path)]) == 0
    written = "".join(f"written to {tmp_path / name}\n" for name in ("judge.json", "judge.png"))
    assert capsys.readouterr().out.endswith(f"\n\n{written}")


def test_the_command_judges_the_minimum_norm_attack_by_default(tmp_path):
    words = ["judge", "--problem", "kink", "--out", str(tmp_path)]
    assert cli.main(words) == 0
    assert minimum_norm.__doc__ == "`minimum_norm_attack`."


def test_the_command_gap_holds_points_of_a_file_against_the_truth(tmp_path, capsys):
    net = TwoLayerReLU([[1.0]], [0.0], [[1.0]], [-1.0])  # f(x) = ReLU(x) - 1
    net.save(tmp_path / "net.npz")
    x = np.array([[2.0], [3.0], [4.0]])
    np.savez(tmp_path / "data.npz", x=x, y=[1, 1, 1])
    np.savez(tmp_path / "adv.npz", x_adv=[[0.5], [1.0], [2.0]])
    words = ["gap", *(str(tmp_path / f"{name}.npz") for name in ("net", "data", "adv"))]
    assert cli.main([*words, "--json", str(tmp_path / "gap.json")]) == 0
    out = capsys.readouterr().out
    assert "flips: 2 of 3 samples" in out
    assert "median 1.250, largest 1.500; 1 is the optimum" in out  # 1.5 / 1 and 2 / 2
    # At radius 1 the truth is 2 of 3, the attack leaves 3 of 3; at 3 it is 0 against 1 of 3.
    assert "above the truth: 33.3 %" in out
    assert "not adversarial, or outside the box: 1 of 3 samples (2)" in out
    rows = json.loads((tmp_path / "gap.json").read_text())
    assert [row["flips"] for row in rows] == [True, True, False]
    assert cli.main([*words, "--norm", "inf", "--box", "0.75,4"]) == 0
    assert "flips: 1 of 3 samples" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("x", "arrays", "said"),
    [
        ([[2.0], [3.0]], {"points": [[0.5]]}, "expected an array x_adv, got points"),
        ([[2.0], [3.0]], {"x_adv": [[0.5]]}, "x_adv: "),
        (3.0, {"x_adv": [[0.5]]}, "x: expected real numbers of shape (n, 1)"),
    ],
)
def test_the_command_gap_refuses_other_files(tmp_path, capsys, x, arrays, said):
    TwoLayerReLU([[1.0]], [0.0], [[1.0]], [-1.0]).save(tmp_path / "net.npz")
    np.savez(tmp_path / "data.npz", x=x, y=[1, 1])
    np.savez(tmp_path / "adv.npz", **arrays)
    words = ["gap", *(str(tmp_path / f"{name}.npz") for name in ("net", "data", "adv"))]
    assert cli.main(words) == 2
    assert said in capsys.readouterr().err
