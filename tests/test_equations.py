"""The table of equations and the tags in the code are the same set, and importing stays cheap."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

import refimpl
from refimpl.equations import EQUATIONS

ROOT = Path(refimpl.__file__).parent.parent
FILES = sorted(
    path for name in ("refimpl", "proofs_numeric") for path in (ROOT / name).rglob("*.py")
)
# These packages apply equations, and the table says where equations are computed.
APPLYING = ("refimpl.cli.", "refimpl.conformance.", "refimpl.experiments.")


def tags(source: str) -> set[str]:
    """Equations whose tag, such as ``# (E12)``, ends a line of code."""
    found: set[str] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and token.line[: token.start[1]].strip():
            for group in re.findall(r"\((E\d+(?:[, ]+E\d+)*)\)", token.string):
                found.update(re.findall(r"E\d+", group))
    return found


def module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TAGS = {module(path): tags(path.read_text()) for path in FILES}


def where(tag: str) -> tuple[str, ...]:
    """Modules that compute an equation: those of `refimpl` first, then the proofs."""
    found = [it for it in TAGS if tag in TAGS[it] and not f"{it}.".startswith(APPLYING)]
    return tuple(sorted(found, key=lambda it: (it.startswith("proofs_numeric"), it)))


def test_tags_are_found_at_the_end_of_code_and_nowhere_else():
    source = (
        'f = x @ v  # (E1)\n# (E2)\ng = """\n# (E3)"""\nt = [  # see (E4), (E5, E6) and E7\n]\n'
    )
    assert tags(source) == {"E1", "E4", "E5", "E6"}
    assert module(ROOT / "refimpl" / "radius" / "__init__.py") == "refimpl.radius"


def test_every_tag_is_an_equation_of_the_table():
    assert set().union(*TAGS.values()) <= EQUATIONS.keys()


@pytest.mark.parametrize("tag", EQUATIONS)
def test_an_equation_is_computed_where_the_table_says(tag):
    assert EQUATIONS[tag].where == where(tag)


def test_every_equation_is_computed_somewhere():
    assert all(equation.where for equation in EQUATIONS.values())


def test_the_table_is_numbered_without_gaps_and_says_what_and_whence():
    assert list(EQUATIONS) == [f"E{i}" for i in range(1, len(EQUATIONS) + 1)]
    assert all(equation.formula and equation.source for equation in EQUATIONS.values())


def test_the_papers_that_published_bounds_are_cited():
    assert "MV24" in EQUATIONS["E19"].source
    assert "MV25" in EQUATIONS["E20"].source


def test_tags_in_docstrings_exist():
    mentioned = {tag for path in FILES for tag in re.findall(r"\bE\d\d?\b", path.read_text())}
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
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout == "[]\n"


def test_submodules_come_by_attribute_and_others_do_not():
    assert refimpl.strategies.networks
    with pytest.raises(AttributeError, match="module 'refimpl' has no attribute 'nothing'"):
        _ = refimpl.nothing


def test_everything_promised_by_all_exists():
    for name in refimpl.__all__:
        assert getattr(refimpl, name).__doc__
