"""What the README says holds: its example, its commands, its files."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_example_runs_as_printed():
    results = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert results.attempted > 10
    assert results.failed == 0


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
