"""What the README says holds: its example, its commands, its files."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

from refimpl import conformance
from refimpl.conformance import report

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_example_runs_as_printed():
    results = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert results.attempted > 10
    assert results.failed == 0


def test_the_adapter_and_its_failing_variant_print_what_the_readme_prints(tmp_path, monkeypatch):
    (source,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    passing, failing = re.findall(r"```\n((?:claim +status|FAILED).*?)```", README, flags=re.DOTALL)
    monkeypatch.syspath_prepend(tmp_path)
    for name, code, printed in (
        ("readme_right", source, passing),
        ("readme_wrong", source.replace("> 0)", ">= 0)"), failing),
    ):
        (tmp_path / f"{name}.py").write_text(code)
        adapter = importlib.import_module(name).Mine()
        results = conformance.check(adapter)
        failures = [conformance.explain(it, adapter) for it in results if it.status == "failed"]
        text = "\n".join([report.table(results), *failures, report.summary(results)])
        text += "; repeat with --seed 0"
        missing = [line for line in printed.splitlines() if line not in text.splitlines()]
        assert missing == []


@pytest.mark.parametrize(
    "command",
    [
        "    pip install '.[plot]' && refimpl reproduce synthetic\n",
        "    pip install '.[test]' && pytest\n",
    ],
)
def test_the_two_commands_stand_on_lines_of_their_own(command):
    assert README.count(f"\n{command}") == 1


def test_the_readme_is_short():
    assert len(README.splitlines()) < 250


def test_the_figures_that_it_shows_are_there():
    shown = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)
    assert shown
    for name in shown:
        assert (ROOT / name).read_bytes().startswith(b"\x89PNG")


def test_the_map_names_files_that_exist_and_leaves_none_out():
    lines = [line for line in README.splitlines() if line.startswith("| `refimpl/")]
    names = [name for line in lines for name in re.findall(r"`([\w/.]+)`", line.split("|")[1])]
    named = {name if name.startswith("refimpl/") else f"refimpl/{name}" for name in names}
    for name in named:
        assert (ROOT / name).exists()
    there = {
        f"refimpl/{path.name}{'/' if path.is_dir() else ''}"
        for path in (ROOT / "refimpl").iterdir()
        if not path.name.startswith("_") and (path.is_dir() or path.suffix == ".py")
    }
    assert there - named == {"refimpl/equations.py"}  # named below the map
