"""Modules import downward only: no circle, and nothing below the command line knows of it."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import refimpl

ROOT = Path(refimpl.__file__).parents[1]
NAMES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("refimpl", "proofs_numeric")
    for path in (ROOT / package).rglob("*.py")
}
# A package gathers what its modules hold; a module that takes a name from it depends on the name's
# module, which the import in the package says.
GATHERING = ("refimpl", "proofs_numeric")
ENTRANCES = ("refimpl.__main__", "proofs_numeric.__main__")


def _imports(path):
    """Modules of ours that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in NAMES else node.module


GRAPH = {
    name: {each for each in _imports(path) if each in NAMES and each not in GATHERING} - {name}
    for name, path in NAMES.items()
    if name not in GATHERING
}


def test_no_module_imports_one_that_imports_it():
    TopologicalSorter(GRAPH).prepare()  # raises CycleError, which names them


def test_the_graph_has_the_arrows_that_one_knows_of():
    assert "refimpl.network" in GRAPH["refimpl.gradients"]
    assert "refimpl.experiments.synthetic" in GRAPH["refimpl.cli.reproduce"]  # in a function
    assert {"proofs_numeric.sweep_results", "proofs_numeric.sweep_figures"} <= GRAPH[
        "proofs_numeric.sweeps"
    ]


def test_nothing_below_the_command_line_imports_it():
    below = [name for name in GRAPH if not name.startswith("refimpl.cli") and name not in ENTRANCES]
    assert "proofs_numeric.sweeps" in below
    for name in below:
        assert not any(each.startswith("refimpl.cli") for each in GRAPH[name]), name


def test_the_checker_of_certificates_knows_nothing_of_the_solver():
    seen, left = set(), ["refimpl.certificate"]
    while left:
        left += (new := GRAPH[left.pop()] - seen)
        seen |= new
    assert not any(each.startswith("refimpl.radius") for each in seen)
