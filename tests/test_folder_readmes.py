"""What every Markdown file holds: short lines, links, blocks that run, commands that exist."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import numpy as np
import pytest

import refimpl
from proofs_numeric import CLAIMS, prove
from proofs_numeric.evidence import Size
from refimpl.cli import main

ROOT = Path(__file__).resolve().parent.parent
FILES = [
    *sorted(ROOT.glob("*.md")),
    *(
        path
        for folder in ("refimpl", "proofs_numeric", "tests")
        for path in sorted((ROOT / folder).rglob("*.md"))
    ),
]
EVERY = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
HAVE = {  # commands with commands of their own
    "reproduce": ("reproduce", "synthetic", "mnist", "cifar10", "features"),
    "data": ("data", "verify", "fetch"),
    "vectors": ("vectors", "write", "check"),
}
PROOFS = (ROOT / "proofs_numeric" / "README.md").read_text()


def headings(path):
    """Fragments of links to the headings of a file, as hosts of repositories make them."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in titles}


@EVERY
def test_lines_are_short(path):
    assert max(map(len, path.read_text().splitlines())) <= 100


@EVERY
def test_links_lead_somewhere(path):
    text = path.read_text()
    defined = dict(re.findall(r"^\[([^]]+)\]: (\S+)$", text, re.MULTILINE))
    used = {*re.findall(r"\]\[([^]]+)\]", text), *re.findall(r"\| \[([\w/]+)\] \|", text)}
    assert used <= set(defined)
    for target in [*re.findall(r"\]\(([^)]+)\)", text), *defined.values()]:
        if target.startswith("https://"):
            continue
        name, _, fragment = target.partition("#")
        file = path.parent / name if name else path
        assert file.exists(), target
        assert not fragment or fragment in headings(file), target


@EVERY
def test_blocks_of_python_compile(path):
    for block in re.findall(r"```python\n(.*?)```", path.read_text(), flags=re.DOTALL):
        compile(block, str(path), "exec")


@EVERY
def test_examples_run_as_printed(path):
    assert doctest.testfile(str(path), module_relative=False).failed == 0


def test_the_first_lines_of_the_guide_to_the_radius_run():
    text = (ROOT / "refimpl" / "radius" / "README.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    names = {"refimpl": refimpl, "W": np.eye(2), "b": None, "A": np.eye(2), "c": None}
    exec(block, {**names, "x": [[3.0, 1.0]], "y": [0]})


@EVERY
def test_commands_and_their_options_exist(path, capsys):
    lines = re.findall(r"(?:^    |&& |`)refimpl ([a-z][^`#\n]*)", path.read_text(), re.MULTILINE)
    for words in map(str.split, lines):
        name = [word for word in words[:2] if word in HAVE.get(words[0], words[:1])]
        assert main([*name, "--help"]) == 0
        text = capsys.readouterr().out
        for option in (word for word in words if word.startswith("--")):
            assert option in text, words


@EVERY
def test_scripts_and_modules_that_are_named_exist(path):
    text = path.read_text()
    for name in re.findall(r"\bpython (\S+\.py)", text):
        assert (ROOT / name).is_file(), name
    for name in re.findall(r"\bpython -m (refimpl|proofs_numeric)([\w.]*)", text):
        folder = ROOT / "".join(name).replace(".", "/")
        assert folder.with_suffix(".py").is_file() or (folder / "__main__.py").is_file(), name


@pytest.mark.parametrize(
    "folder",
    [
        "refimpl/datasets",
        "refimpl/experiments",
        "refimpl/radius",
        "refimpl/truth",
        "proofs_numeric",
    ],
)
def test_the_table_of_modules_leaves_none_out(folder):
    table = (ROOT / folder / "README.md").read_text().partition("## Modules")[2]
    rows = re.findall(r"^\|.*", re.sub("<!--.*?-->", "", table, flags=re.DOTALL), re.MULTILINE)
    named = re.findall(r"`(\w+\.py)`", "\n".join(rows))
    there = {path.name for path in (ROOT / folder).glob("[!_]*.py")}
    assert sorted(named) == sorted(there)


def test_the_tables_of_claims_have_all_of_them():
    assert re.findall(r"^\| `([\w-]+)` \|", PROOFS, re.MULTILINE) == [*CLAIMS, *CLAIMS]


@pytest.mark.slow
def test_the_figures_of_the_claims_are_those_that_prove_prints():
    row = re.compile(r"^\| `([\w-]+)` \|.*\| (\S+) \| ([<>]=) (\S+) \|$", re.MULTILINE)
    rows = row.findall(PROOFS)
    assert [claim for claim, *_ in rows] == [*CLAIMS]
    for claim, figure, relation, bound in rows:
        first = prove(claim, Size()).checks[0]
        assert (relation, bound) == (first.relation, f"{first.bound:.4g}")
        if first.bound > 1e-7 or first.bound == 0:  # else rounding, which processors differ in
            assert figure == f"{first.figure:.4g}", claim
