"""What the READMEs in the folders hold: lines of at most 100 characters, links, modules."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
READMES = [
    path
    for folder in ("refimpl", "proofs_numeric", "tests")
    for path in sorted((ROOT / folder).rglob("README.md"))
]
NAMES = [str(path.parent.relative_to(ROOT)) for path in READMES]


@pytest.mark.parametrize("path", READMES, ids=NAMES)
def test_lines_are_short_and_links_lead_somewhere(path):
    text = path.read_text()
    assert max(map(len, text.splitlines())) <= 100
    targets = re.findall(r"\]\(([^)]+)\)", text) + re.findall(
        r"^\[[^]]+\]: (\S+)$", text, re.MULTILINE
    )
    for target in targets:
        if not target.startswith(("http", "#")):
            assert (path.parent / target.split("#")[0]).exists(), target


@pytest.mark.parametrize("path", READMES, ids=NAMES)
def test_blocks_of_python_compile(path):
    for block in re.findall(r"```python\n(.*?)```", path.read_text(), flags=re.DOTALL):
        compile(block, str(path), "exec")


@pytest.mark.parametrize("folder", ["refimpl/datasets", "refimpl/experiments"])
def test_the_table_of_modules_leaves_none_out(folder):
    table = (ROOT / folder / "README.md").read_text().partition("## Modules")[2]
    named = re.findall(r"`(\w+\.py)`", table)
    there = {path.name for path in (ROOT / folder).glob("[!_]*.py")}
    assert sorted(named) == sorted(there)
