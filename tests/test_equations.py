"""The table of equations and the tags in the code are the same set, and importing stays cheap."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import refimpl
from refimpl.equations import EQUATIONS

SOURCE = Path(refimpl.__file__).parent


def tagged_equations() -> dict[str, list[str]]:
    """Equation -> the lines of code that carry its tag in a comment such as ``# (E12)``."""
    found: dict[str, list[str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for comment in re.findall(r"#.*", line):
                for group in re.findall(r"\((E\d+(?:[, ]+E\d+)*)\)", comment):
                    for tag in re.findall(r"E\d+", group):
                        found.setdefault(tag, []).append(f"{path.name}:{number}")
    return found


def test_every_tag_is_an_equation_of_the_table():
    unknown = {tag: at for tag, at in tagged_equations().items() if tag not in EQUATIONS}
    assert not unknown


def test_every_equation_is_computed_somewhere():
    missing = [tag for tag in EQUATIONS if tag not in tagged_equations()]
    assert not missing


def test_the_table_is_numbered_without_gaps_and_says_what_and_whence():
    assert list(EQUATIONS) == [f"E{i}" for i in range(1, len(EQUATIONS) + 1)]
    assert all(what and source for what, source in EQUATIONS.values())


def test_tags_in_docstrings_exist():
    mentioned = {
        tag for path in SOURCE.rglob("*.py") for tag in re.findall(r"\bE\d\d?\b", path.read_text())
    }
    assert mentioned <= EQUATIONS.keys()


def test_import_loads_nothing_heavy():
    heavy = (
        "matplotlib",
        "hypothesis",
        "torch",
        "jax",
        "sklearn",
        "scipy.optimize",
        "pooch",
        "dask",
    )
    code = f"import sys, refimpl; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=SOURCE.parent, capture_output=True, text=True, check=True
    )
    assert run.stdout == "[]\n"


def test_submodules_come_by_attribute_and_others_do_not():
    assert refimpl.strategies.networks
    with pytest.raises(AttributeError, match="module 'refimpl' has no attribute 'nothing'"):
        _ = refimpl.nothing


def test_everything_promised_by_all_exists():
    for name in refimpl.__all__:
        assert getattr(refimpl, name).__doc__
