"""Mutate refimpl's own modules, and count the mutants that the conformance checks kill.

A mutated copy of the package is the candidate, the package as it is the oracle. Mutants are made in
lines that some claim executes; argument checks are left out, since the kit gives valid input only.
A mutant is run on the claims that execute its line, in a process of its own, and counts as killed
when a claim fails or the time is over. Survivors are printed with their line and a reason:

- "surplus": the line only decides how fast the exact radius comes, or guards against a few
  roundings. This is tested and not believed: the mutant's bounds are as sound and as tight as the
  package's own on `OTHERS` further networks, larger and stranger than those of the claims.
  Where they are not, the claims on bounds get `LONG` inputs, ten times as many, to see it too.
- one of `EXPLAINED`, by a part of the line: nothing that an adapter is asked for can show it.
- none: the claims should have seen it.

    python tests/benchmarks/conformance_mutation.py [--count 300] [--seed 0] [--module NAME]
"""

from __future__ import annotations

import argparse
import ast
import importlib.abc
import importlib.util
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import refimpl
from refimpl._progress import track
from refimpl.conformance import Reference, claims
from refimpl.conformance.runner import draw, run_claim

ROOT = Path(refimpl.__file__).parent
SOURCES = {path: path.read_text() for path in ROOT.rglob("*.py")}  # as they are at the start
MODULES = [
    *("distribution", "network", "decisions", "losses", "gradients", "training", "decomposition"),
    *("attacks", "pgd", "smallest_step", "radius/geometry", "radius/fast", "radius/ball"),
    *("radius/leaf", "radius/relaxation", "radius/tree", "radius/search", "radius/points"),
    *("radius/ties", "radius/empty", "radius/answer", "radius/solve", "radius/curves"),
]
OTHERS = 400  # networks on which a survivor in the exact radius is compared with the package
BOUNDS = ("E31-many-neurons", "E32-tight", "E32-tight-many-neurons", "E32-tight-oddities")
BOUNDS += ("E29-oddities",)
LONG = 400  # inputs for these where a survivor is known to differ
CRASH = 255
SECONDS = 60  # for one mutant: the pristine package needs less for all claims together
NAMES = {"max": "min", "min": "max", "maximum": "minimum", "minimum": "maximum", "any": "all"}
NAMES |= {"all": "any", "sum": "mean", "argmax": "argmin", "argmin": "argmax", "expit": "exp"}
SWAPS: dict[type[ast.AST], tuple[type[Any], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div,),
    ast.Div: (ast.Mult,),
    ast.Pow: (ast.Mult,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
}


# Why survivors on these lines change nothing that an adapter can show.
EXPLAINED = {
    "2.5 / steps": "adapters are given the step size",
    'check.choice("objective"': "both objectives give the same steps for one output",
    "shrunk = radius": "a guard of a few roundings, below the tolerance",
    "np.nextafter": "a guard of one rounding, below the tolerance",
    "rng.random((n, 1))": "an attack may start anywhere in the ball",
    "rng.chisquare": "an attack may start anywhere in the ball",
    "if d > p": "an attack may start anywhere in the ball",
    "q[:, -1": "an attack may start anywhere in the ball, also where no neuron looks",
    "for _ in range(2):": "an attack may start anywhere in the ball, also where no neuron looks",
    "better = margin < self.lowest": "of equal iterates either is the best",
    "np.where(norm > epsilon": "on the sphere both branches are the same",
    "np.ldexp(vectors": "scaling against overflow, at lengths that no claim has",
    "rows / largest": "scaling against overflow, at lengths that no claim has",
    "where=norms > 0": "a zero gradient: the iterate is lost, the best one stays",
    "-1.0, 1.0)": "a cosine beyond 1 by one rounding is within the tolerance",
    'if method == "auto"': "both methods give the same iterates",
    '_Gram if method == "gram"': "both methods give the same iterates",
    "work = batch": "both methods give the same iterates",
    'return "gram" if': "both methods give the same iterates",
    "next(batches)": "mini-batches are not an argument of adapters",
    "rows is not ALL": "mini-batches are not an argument of adapters",
    "is_pair = ": "adapters pass one array",
    "net.dim * _EPS": "a guard against rounding",
    "np.where(moves": "a further breakpoint changes nothing",
    "np.where(kinks > 0": "a further breakpoint changes nothing",
    "bound = np.einsum": "a guard against rounding",
    "terms = net.dim": "a guard against rounding",
    "terms * _EPS": "a guard against rounding",
    "low = np.where": "one constraint: the largest and the smallest are the same",
    "high = np.where": "one constraint: it holds from its crossing on",
    "meet = low": "one constraint meets itself",
    "np.where(meet": "one target: the largest and the smallest are the same",
    "value < 0 if ties": "a tie at the start is found again where it is walked from",
    "nodes = np.concatenate": "a further unbounded piece is not reached",
    "holds, ends_so": "a node belongs to two pieces: what one of them misses the other sees",
    "(lower > upper)": "an argument check",
    "np.full((1, 1, 1)": "a positive factor of a constraint",
}


class Mutant(NamedTuple):
    """The `index`-th change in a module, at a line, in words."""

    module: str
    index: int
    line: int
    change: str


class Mutator(ast.NodeTransformer):
    """Lists every change of a module in `found`, or makes the one with number `index`."""

    def __init__(self, index: int = -1) -> None:
        self.index, self.found = index, list[tuple[int, str]]()
        self.inside = 0

    def make(self, node: Any, change: str) -> bool:
        self.found.append((node.lineno, change))
        return len(self.found) - 1 == self.index

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.inside += 1
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            node.body[1:] = [self.visit(it) for it in node.body[1:]]
        else:
            node.body = [self.visit(it) for it in node.body]
        self.inside -= 1
        return node

    def visit_If(self, node: ast.If) -> ast.AST:
        first = ast.unparse(node.body[0])
        if isinstance(node.body[0], ast.Raise) or first.startswith("check.fail("):
            return node
        return self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        if "'robust'" in ast.unparse(node.test):  # ties are not an argument of adapters
            node.orelse = self.visit(node.orelse)
            return node
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name = ast.unparse(node.func)
        if name.startswith("check.") or name in ("check_decision", "isinstance"):
            return node
        self.generic_visit(node)
        last = name.rsplit(".", 1)[-1]
        if self.inside and last in NAMES and self.make(node, f"{last} -> {NAMES[last]}"):
            if isinstance(node.func, ast.Attribute):
                node.func.attr = NAMES[last]
            else:
                node.func = ast.Name(NAMES[last], ast.Load())
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        self.swap(node, node.ops, 0)
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        holder = [node.op]
        self.swap(node, holder, 0)
        node.op = holder[0]
        return node

    visit_BoolOp = visit_AugAssign = visit_BinOp  # noqa: N815

    def swap(self, node: Any, holder: list[Any], at: int) -> None:
        for other in SWAPS.get(type(holder[at]), ()) if self.inside else ():
            if self.make(node, f"{type(holder[at]).__name__} -> {other.__name__}"):
                holder[at] = other()

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Any:
        self.generic_visit(node)
        kind = type(node.op).__name__
        return node.operand if self.inside and self.make(node, f"without {kind}") else node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        number = type(node.value) in (int, float)
        if self.inside and number and self.make(node, f"{node.value} -> {node.value + 1}"):
            return ast.copy_location(ast.Constant(node.value + 1), node)
        return node


class Copy(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports `mutant` from the sources of refimpl, one module with a change."""

    def __init__(self, mutant: Mutant | None) -> None:
        self.mutant = mutant

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.split(".")[0] != "mutant":
            return None
        source = ROOT.joinpath(*name.split(".")[1:])
        package = source.is_dir()
        file = source / "__init__.py" if package else source.with_suffix(".py")
        return importlib.util.spec_from_loader(name, self, origin=str(file), is_package=package)

    def exec_module(self, module: Any) -> None:
        file = Path(module.__spec__.origin)
        tree = ast.parse(SOURCES[file])
        name = str(file.relative_to(ROOT).with_suffix(""))
        if self.mutant is not None and self.mutant.module == name:
            tree = ast.fix_missing_locations(Mutator(self.mutant.index).visit(tree))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "refimpl":
                node.module = "mutant" + (node.module or "")[len("refimpl") :]
        exec(compile(tree, f"mutant:{name}", "exec"), module.__dict__)


def others() -> list[tuple[Any, ...]]:
    """W, b, A, c, x, y of networks with one output, the samples classified correctly."""
    found: list[tuple[Any, ...]] = []
    for index in range(OTHERS):
        rng = np.random.default_rng([7, index])
        M, d = int(rng.integers(1, 15)), int(rng.integers(1, 7))
        W, b, A, x = (rng.normal(size=size) for size in ((M, d), M, (1, M), (3, d)))
        c = rng.normal(size=1)
        match index % 6:
            case 0:  # small integers: ties, copies of neurons, kinks at the samples
                W, b, A, c, x = (np.round(2 * array) for array in (W, b, A, c, x))
            case 1:  # every neuron at its kink at the first sample, or just beside it
                b = -(W @ x[0]) * (1 + rng.choice([0, 1e-12, 1e-3], size=M))
            case 2:  # both layers out of scale
                W, b, A = W * 2.0**20, b * 2.0**20, A * 2.0 ** rng.choice([-20, 20])
            case 3:  # hardly any margin at the first sample
                c -= (A @ np.maximum(W @ x[0] + b, 0)) * (1 - rng.choice([1e-9, 1e-3]))
            case 4:  # nothing to reach for one of the labels
                A, c = np.abs(A), np.abs(c)
        net = refimpl.TwoLayerReLU(W, b, A, c)
        y = np.where(net.outputs(x)[:, 0] > 0, 1, -1)
        found.append((net.W, net.bias, net.A, net.c, x, y))
    return found


def as_good(adapter: Any, problems: list[tuple[Any, ...]], truth: list[Any]) -> bool:
    """Whether an adapter's bounds are as sound and as tight as the true ones."""
    for problem, (lowest, highest) in zip(problems, truth, strict=True):
        lower, upper = adapter.radius_bounds(*problem)
        with np.errstate(invalid="ignore"):
            gap, least = (
                np.where(a == b, 0, a - b) for a, b in ((upper, lower), (highest, lowest))
            )
        sound = (lower <= highest * (1 + 1e-9)) & (upper >= lowest * (1 - 1e-9))
        tight = (gap <= 1e-6 * highest) | (gap <= 1.01 * least)
        if not (sound & tight).all():
            return False
    return True


class Candidate(Reference):
    """The mutated copy."""

    name = "mutant"

    @property
    def package(self) -> Any:
        """The copy, imported when it is first asked for."""
        return importlib.import_module("mutant")


def executed(examples: int) -> dict[str, set[tuple[str, int]]]:
    """Lines of each module, by the claims that execute them."""
    sys.meta_path.insert(0, Copy(None))
    lines: dict[str, set[tuple[str, int]]] = {}
    Candidate().outputs(*[[[1.0]], [1.0], [[1.0]], [1.0], [[1.0]]])
    for name, claim in claims().items():
        seen = lines.setdefault(name, set())

        def local(frame: Any, event: str, _: Any, seen: Any = seen) -> Any:
            seen.add((frame.f_code.co_filename[len("mutant:") :], frame.f_lineno))
            return local

        def trace(frame: Any, event: str, _: Any, local: Any = local) -> Any:
            return (
                local(frame, event, _) if frame.f_code.co_filename.startswith("mutant:") else None
            )

        sys.settrace(trace)
        result = run_claim(Candidate(), claim, examples=examples, shrink=0)
        sys.settrace(None)
        assert result.status == "passed", (name, result.status, result.detail)
    sys.meta_path.pop(0)
    for module in [it for it in sys.modules if it.split(".")[0] == "mutant"]:
        del sys.modules[module]
    return lines


def mutants(modules: list[str], lines: set[tuple[str, int]]) -> Iterator[Mutant]:
    """Yield every change on a line that is executed."""
    for module in modules:
        finder = Mutator()
        finder.visit(ast.parse(SOURCES[ROOT / f"{module}.py"]))
        for index, (line, change) in enumerate(finder.found):
            if (module, line) in lines:
                yield Mutant(module, index, line, change)


def killer(mutant: Mutant, names: list[str], examples: int, problems: list[Any]) -> str:
    """Run a mutant in a process of its own: the first claim that fails, "surplus", or ""."""
    child = os.fork()
    if not child:
        try:
            os._exit(_outcome(mutant, names, examples, problems))
        finally:
            os._exit(CRASH)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0 or code == CRASH:
        return "time or crash"
    return ["", "surplus", *names][code]


def _outcome(mutant: Mutant, names: list[str], examples: int, problems: list[Any]) -> int:
    """Exit status of a mutant's process: 0 survives, 1 surplus, 2 + i the claim number i."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of processor time; the signal ends the process
    sys.meta_path.insert(0, Copy(mutant))
    if failed := _first_failure(names, names, examples):
        return failed
    if not mutant.module.startswith("radius/"):
        return 0
    with np.errstate(all="ignore"), suppress(Exception):
        if as_good(Candidate(), *problems):
            return 1
    signal.setitimer(signal.ITIMER_PROF, LONG)
    return _first_failure([name for name in names if name in BOUNDS], names, LONG)


def _first_failure(chosen: list[str], names: list[str], examples: int) -> int:
    """Exit status for the first of the chosen claims that fails, 0 if none does."""
    for name in chosen:
        if run_claim(Candidate(), claims()[name], examples=examples, shrink=0).status == "failed":
            return 2 + names.index(name)
    return 0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--examples", type=int, default=40)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--module", action="append")
    args = parser.parse_args()
    start = time.monotonic()
    lines = executed(min(args.examples, 12))
    for claim in claims().values():
        draw(claim, 0, args.examples)
    for name in BOUNDS:
        draw(claims()[name], 0, LONG)
    problems = others()
    truth = [Reference().radius_bounds(*problem) for problem in problems]
    modules = args.module or MODULES
    every = list(mutants(modules, set().union(*lines.values())))
    chosen = random.Random(args.seed).sample(every, min(args.count, len(every)))
    print(f"{len(every)} mutants in {len(modules)} modules, {len(chosen)} drawn, seed {args.seed}")
    tasks = [
        (it, [name for name, seen in lines.items() if it[0:3:2] in seen], args.examples)
        for it in chosen
    ]
    with ThreadPoolExecutor(args.jobs) as pool:  # each thread waits for a process
        futures = [pool.submit(killer, *task, [problems, truth]) for task in tasks]
        verdicts = [it.result() for it in track(futures, "mutants", len(futures))]
    by: Counter[str] = Counter()
    for mutant, verdict in zip(chosen, verdicts, strict=True):
        text = SOURCES[ROOT / f"{mutant.module}.py"].splitlines()[mutant.line - 1].strip()
        reason = (
            "" if verdict else next((why for part, why in EXPLAINED.items() if part in text), "")
        )
        by[verdict or ("explained" if reason else "survives")] += 1
        if verdict in ("", "surplus"):
            where = f"{mutant.module}:{mutant.line} [{mutant.change}]"
            print(f"{verdict or reason or 'survives'}: {where}  {text}")
    other = len(chosen) - by["surplus"] - by["explained"]
    killed = other - by["survives"]
    print(f"killed {killed} of {len(chosen)} in {time.monotonic() - start:.0f} s")
    print(f"{killed} of {other} that are neither surplus nor explained: {killed / other:.1%}")
    print(", ".join(f"{name} {count}" for name, count in by.most_common()))


if __name__ == "__main__":
    main()
