"""What the README says holds: its length, its examples, its commands, its numbers, its map."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
from pathlib import Path

import numpy as np
import pytest

import refimpl
from proofs_numeric import prove
from proofs_numeric.evidence import Size
from refimpl import conformance
from refimpl.cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
ADAPTER, MODULE = (
    next(block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if word in block)
    for word in ("class Mine", "from_torch")
)


def section(title):
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_the_readme_is_short():
    lines = re.sub("<!--.*?-->", "", README, flags=re.DOTALL).splitlines()
    prose = [line for line in lines if not line.startswith(("|", "["))]  # tables, targets of links
    assert len(" ".join(prose).split()) <= 1200


def test_the_example_runs_as_printed():
    results = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert results.attempted == 6
    assert results.failed == 0


@pytest.mark.slow
def test_the_adapter_fails_as_printed_and_passes_once_it_is_mended(tmp_path, monkeypatch):
    (printed,) = re.findall(r"```\n(FAILED.*?)```", README, flags=re.DOTALL)
    assert "finds that `>= 0` should be `> 0`" in README
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "readme_wrong.py").write_text(ADAPTER)
    (tmp_path / "readme_right.py").write_text(ADAPTER.replace(">= 0)", "> 0)"))

    wrong = importlib.import_module("readme_wrong").Mine()
    (failed,) = [it for it in conformance.check(wrong) if it.status == "failed"]
    text = conformance.explain(failed, wrong).splitlines()
    assert [line for line in printed.splitlines() if line not in text] == []

    right = conformance.check(importlib.import_module("readme_right").Mine())
    assert {it.status for it in right} == {"passed", "not_implemented"}


@pytest.mark.slow
def test_the_pytorch_module_is_read_as_shown():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    names = {
        "torch": torch,
        "nn": torch.nn,
        "refimpl": refimpl,
        "mean": 0.1,
        "std": 0.3,
        "raw_images": rng.random((2, 784)),
        "classes": [3, 4],
    }
    exec(MODULE, names)
    inputs = torch.tensor((names["raw_images"] - 0.1) / 0.3, dtype=torch.float32)
    logits = names["module"](inputs).detach().numpy()
    np.testing.assert_allclose(names["net"].outputs(names["raw_images"]), logits, atol=1e-4)
    assert ((names["radii"].upper > 0) == (logits.argmax(axis=1) == [3, 4])).all()


@pytest.mark.parametrize(
    "command",
    [
        "    pip install '.[plot]' && refimpl reproduce synthetic\n",
        "    pip install '.[test]' && pytest\n",
    ],
)
def test_the_two_commands_stand_on_lines_of_their_own(command):
    assert README.count(f"\n{command}") == 1


def test_the_extras_are_those_of_the_package():
    extras = (ROOT / "setup.cfg").read_text().partition("[options.extras_require]\n")[2]
    there = re.findall(r"^(\w+) =", extras.partition("\n\n")[0], re.MULTILINE)
    rows = re.findall(r"^\| (`.*?) \|", section("Install"), re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(there)


@pytest.mark.slow
def test_the_numbers_under_what_holds_are_those_that_prove_prints():
    text = " ".join(section("What holds, and what does not").split())
    averaging, non_robust, optimal, readout = (
        {check.what: check.figure for check in prove(claim, Size()).checks}
        for claim in ("averaging", "non-robust", "optimal-robustness", "readout")
    )
    alignment = averaging["alignment with the average of the class, smallest"]
    assert f"is {alignment:.4g}." in text
    for figures, root in ((non_robust, "sqrt(d/k)"), (optimal, "sqrt(d/2)")):
        share = figures[f"|median radius / {root} - 1|, largest over seeds"]
        assert f"within {100 * share:.3g} % of {root}" in text
    ((what, pgd),) = ((what, figure) for what, figure in readout.items() if "by PGD" in what)
    (radius,) = re.findall(r"at radius ([\d.]+)", what)
    assert f"At a radius of {radius}, where the robust accuracy is 0," in text
    assert f"reports {pgd:.0f} %." in text
    assert readout["  the truth, from exact radii, %"] == 0


@pytest.mark.slow
def test_pgd_is_above_the_truth_by_what_the_readme_says(tmp_path, capsys):
    main(["reproduce", "synthetic", "--out", str(tmp_path)])
    gaps = [float(gap) for gap in re.findall(r" \+([\d.]+)$", capsys.readouterr().out, re.M)]
    assert f"up to {max(gaps):.0f} points too high" in README
    assert {path.name for path in tmp_path.iterdir()} == {
        "summary.json",
        "coefficients.png",
        "cosines.png",
        "robustness.png",
    }


def test_the_figures_that_it_shows_are_there():
    links = dict(re.findall(r"^\[(\w+)\]: (\S+)$", README, re.MULTILINE))
    shown = re.findall(r"!\[[^]]+\]\[(\w+)\]", README)
    assert shown
    for name in shown:
        assert (ROOT / links[name]).read_bytes().startswith(b"\x89PNG")


def _named_in_the_map():
    """Names in the map's first column, those of the package with its name before them."""
    for cell in re.findall(r"^\| (`.*?) \|", section("Where things are"), re.MULTILINE):
        package = "refimpl/" if cell.startswith("`refimpl/") else ""
        for name in re.findall(r"`([\w/.]+)`", cell):
            yield package + name.removeprefix("refimpl/")


def test_the_map_names_modules_that_exist_and_leaves_none_out():
    named = {name.removesuffix(".py") for name in _named_in_the_map()}
    for name in named:
        assert (ROOT / name).is_dir() or (ROOT / f"{name}.py").is_file(), name
    there = {
        f"refimpl/{path.stem}"
        for path in (ROOT / "refimpl").iterdir()
        if not path.name.startswith("_") and (path.is_dir() or path.suffix == ".py")
    }
    assert {name for name in named if name.startswith("refimpl/")} == there


def _lines_of_code(path):
    """Lines of statements, without docstrings, comments and blank lines."""
    tree = ast.parse(path.read_text())
    lines, docs = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            docs.update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
        if isinstance(node, ast.stmt | ast.expr):
            lines.update((node.lineno, node.end_lineno))
    return len(lines - docs)


def test_the_paper_is_eleven_files_of_about_the_size_that_it_says():
    files = [name for name in _named_in_the_map() if name.endswith(".py")]
    assert len(files) == 11
    (said,) = re.findall(r"about (\d+) lines of code", README)
    lines = sum(_lines_of_code(ROOT / name) for name in files)
    assert abs(lines - int(said)) <= 0.15 * int(said), lines
