"""Runs the attacks that people use on the suite of `refimpl.truth`, and ours beside them.

    python tests/benchmarks/attacks.py --out attacks.jsonl
    python tests/benchmarks/attacks.py --libraries refimpl,foolbox --out attacks.jsonl
    python tests/benchmarks/attacks.py --show attacks.jsonl --figure attacks.png
    python tests/benchmarks/attacks.py --race

Each library runs in a virtual environment of its own below --environments, which sees the packages
of the Python that runs this script (PyTorch is needed there) and gets the pinned versions of
`REQUIREMENTS` besides. A library that does not install or import is named and left out. Threads: 1.

Attacks see a float64 module that takes points u in [0, 1], x = lo + (hi - lo) u with one lo and one
hi for all coordinates, since their authors set their defaults for [0, 1]. These are the box where
the problem has one, else limits that leave room: beyond the samples by four times the largest
coordinate of any way to a nearest adversarial point. One output f
becomes the logits (-f, f); groups of outputs become the largest of each. Settings are the defaults
of each version, or what its README calls with, but where a comment says otherwise. A run of an
attack on one problem ends after --limit seconds of processor time.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1"))

import numpy as np  # the number of threads is read on import

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from environments import environment  # noqa: E402

from refimpl import truth  # noqa: E402
from refimpl.decisions import GroupMax  # noqa: E402
from refimpl.truth import figure, report  # noqa: E402

# Without dependencies: PyTorch and NumPy are there, and torchattacks pins an old requests.
REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "refimpl": (),
    "foolbox": ("foolbox==3.3.4", "eagerpy", "GitPython", "numba", "llvmlite"),
    "torchattacks": ("torchattacks==3.5.1", "requests", "urllib3", "certifi", "idna", "tqdm",
                     "charset-normalizer"),
    "adv-lib": ("adv-lib==0.2.8", "tqdm"),
    "pyautoattack": ("pyautoattack==0.2.0",),
    "adversarial-robustness-toolbox": ("adversarial-robustness-toolbox==1.20.1",
                                       "scikit-learn", "six", "tqdm"),
}  # fmt: skip
TWO, MANY = "l2", "linf"
_COLUMNS = 3  # of a table
_RACES = 5  # in turn
Call = Callable[..., Any]  # (module, u, classes, epsilon) -> points in [0, 1]


class Model:
    """One problem as these libraries see it: a module of points u in [0, 1], and classes."""

    def __init__(self, each: truth.Problem) -> None:
        import torch

        from refimpl.interop import to_torch

        inner, decision = to_torch(each.net), each.setting.decision
        room = 4 * float(np.abs(each.radii.perturbation).max())
        box = each.setting.box or (float(each.x.min()) - room, float(each.x.max()) + room)
        self.each, (self.lo, self.hi) = each, box
        lo, width = self.lo, self.hi - self.lo
        positive = torch.tensor(decision.labels > 0) if isinstance(decision, GroupMax) else None

        class Module(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = inner

            def forward(self, u: Any) -> Any:
                out = self.inner(lo + width * u)
                if positive is not None:
                    return torch.stack(
                        [out[:, ~positive].amax(dim=1), out[:, positive].amax(dim=1)], dim=1
                    )
                return torch.cat([-out, out], dim=1) if out.shape[1] == 1 else out

        self.module = Module().eval()
        for parameter in self.module.parameters():
            parameter.requires_grad_(False)
        classes = each.y if decision == "argmax" else (each.y > 0).astype(np.int64)
        self.classes = torch.tensor(classes)
        self.n_classes = each.net.n_outputs if decision == "argmax" else 2
        self.u = torch.tensor((each.x - lo) / width)

    def points(self, found: Any) -> Any:
        """Points of the problem; those that did not move are the samples themselves."""
        found = np.asarray(getattr(found, "detach", lambda: found)(), dtype=np.float64)
        x = np.clip(self.lo + (self.hi - self.lo) * found, self.lo, self.hi)
        return np.where(found == self.u.numpy(), self.each.x, x)


def foolbox_attacks() -> dict[str, tuple[dict[str, Call], bool]]:
    import foolbox as fb

    def run(make: Call, model: Model, epsilon: float | None) -> Any:
        wrapped = fb.PyTorchModel(model.module, bounds=(0, 1), device="cpu")
        _, found, success = make()(wrapped, model.u, model.classes, epsilons=epsilon)
        return np.where(success.numpy()[:, None], found.numpy(), model.u.numpy())

    attacks = fb.attacks
    return {
        "DDN": ({TWO: partial(run, attacks.DDNAttack)}, False),
        # 9 searches of 10,000 steps by default, which takes minutes: 1000 here
        "CW": ({TWO: partial(run, partial(attacks.L2CarliniWagnerAttack, steps=1000))}, False),
        "DeepFool": ({TWO: partial(run, attacks.L2DeepFoolAttack),
                      MANY: partial(run, attacks.LinfDeepFoolAttack)}, False),
        "FMN": ({TWO: partial(run, attacks.L2FMNAttack),
                 MANY: partial(run, attacks.LInfFMNAttack)}, False),
        "BrendelBethge": ({TWO: partial(run, attacks.L2BrendelBethgeAttack),
                           MANY: partial(run, attacks.LinfinityBrendelBethgeAttack)}, False),
        "PGD": ({TWO: partial(run, attacks.L2PGD), MANY: partial(run, attacks.LinfPGD)}, True),
    }  # fmt: skip


def torchattacks_attacks() -> dict[str, tuple[dict[str, Call], bool]]:
    _stand_in("torchvision")
    import torch
    import torchattacks as ta

    def run(make: Call, model: Model, epsilon: float | None) -> Any:
        module = torch.nn.Sequential(torch.nn.Flatten(), model.module)  # it takes images
        for parameter in module.parameters():  # one of which it asks for its device
            parameter.requires_grad_(False)
        attack = make(module) if epsilon is None else make(module, epsilon)
        return attack(model.u[:, None, None, :], model.classes).flatten(1)

    def steps(kind: Any, model: Any, eps: float) -> Any:
        return kind(model, eps=eps, alpha=eps / 4, steps=10)  # the README's 8/255 and 2/255

    return {
        "CW": ({TWO: partial(run, ta.CW)}, False),
        "DeepFool": ({TWO: partial(run, ta.DeepFool)}, False),
        "PGD": ({TWO: partial(run, partial(steps, ta.PGDL2)),
                 MANY: partial(run, partial(steps, ta.PGD))}, True),
    }  # fmt: skip


def adv_lib_attacks() -> dict[str, tuple[dict[str, Call], bool]]:
    _stand_in("torchvision")  # for LPIPS, which none of these uses
    _stand_in("visdom")
    from adv_lib import attacks as al

    def run(attack: Call, model: Model, epsilon: None) -> Any:
        return attack(model=model.module, inputs=model.u, labels=model.classes)

    def alma(model: Model, u: Any, epsilon: None) -> Any:
        return al.alma(model=model.module, inputs=u, labels=model.classes, distance="l2")

    return {
        "DDN": ({TWO: partial(run, partial(al.ddn, steps=100))}, False),
        "ALMA": ({TWO: partial(in_single, alma)}, False),  # it mixes float32 with float64
        "PDGD": ({TWO: partial(run, al.pdgd)}, False),
        "PDPGD": ({MANY: partial(run, partial(al.pdpgd, norm=float("inf")))}, False),
        "FMN": ({TWO: partial(run, partial(al.fmn, norm=2, steps=100)),
                 MANY: partial(run, partial(al.fmn, norm=float("inf"), steps=100))}, False),
    }  # fmt: skip


def pyautoattack_attacks() -> dict[str, tuple[dict[str, Call], bool]]:
    import torch
    from pyautoattack import AutoAttack

    def run(kind: str, norm: str, model: Model, epsilon: float) -> Any:
        return in_single(partial(evaluate, kind, norm), model, epsilon)

    def evaluate(kind: str, norm: str, model: Model, u: Any, epsilon: float) -> Any:
        options = {} if kind == "standard" else {"version": "custom", "attacks": [kind]}
        module = torch.nn.Sequential(torch.nn.Flatten(), model.module)  # it takes images
        attack = AutoAttack(module, norm=norm, eps=epsilon, seed=0, **options)
        # Its README: with fewer than 10 classes there are fewer targets than its 9.
        for targeted in (attack.apgd_targeted, attack.fab):
            targeted.n_target_classes = min(targeted.n_target_classes, model.n_classes - 1)
        images = u.reshape(len(u), 1, *as_image(u.shape[1]))  # Square needs them
        found = attack.run_standard_evaluation(images, model.classes, batch_size=len(u))
        found = found[0] if isinstance(found, tuple) else found
        return found.flatten(1)

    names = {"standard": "standard", "APGD-CE": "apgd-ce", "FAB": "fab", "Square": "square"}
    return {
        name: ({TWO: partial(run, kind, "L2"), MANY: partial(run, kind, "Linf")}, True)
        for name, kind in names.items()
    }


def art_attacks() -> dict[str, tuple[dict[str, Call], bool]]:
    import torch
    from art.attacks import evasion
    from art.estimators.classification import PyTorchClassifier

    def run(make: Call, model: Model, epsilon: float | None) -> Any:
        return in_single(partial(generate, make), model, epsilon)

    def generate(make: Call, model: Model, u: Any, epsilon: float | None) -> Any:
        classifier = PyTorchClassifier(
            model=model.module,
            loss=torch.nn.CrossEntropyLoss(),
            input_shape=(model.u.shape[1],),
            nb_classes=model.n_classes,
            clip_values=(0.0, 1.0),
            device_type="cpu",
        )
        attack = make(classifier) if epsilon is None else make(classifier, epsilon)
        return torch.tensor(attack.generate(u.numpy(), y=model.classes.numpy()))

    def steps(norm: float, classifier: Any, eps: float) -> Any:
        kind = evasion.ProjectedGradientDescent
        return kind(classifier, norm=norm, eps=eps, eps_step=eps / 3, verbose=False)

    quiet = {"verbose": False, "batch_size": 32}
    return {
        "CW": ({TWO: partial(run, partial(evasion.CarliniL2Method, **quiet))}, False),
        "DeepFool": ({TWO: partial(run, partial(evasion.DeepFool, **quiet))}, False),
        "PGD": ({TWO: partial(run, partial(steps, 2)),
                 MANY: partial(run, partial(steps, np.inf))}, True),
    }  # fmt: skip


LIBRARIES: dict[str, Call] = {
    "foolbox": foolbox_attacks,
    "torchattacks": torchattacks_attacks,
    "adv-lib": adv_lib_attacks,
    "pyautoattack": pyautoattack_attacks,
    "adversarial-robustness-toolbox": art_attacks,
}


def as_image(d: int) -> tuple[int, int]:
    """Sides of the square image of d pixels, or of one row of them."""
    side = math.isqrt(d)
    return (side, side) if side * side == d else (1, d)


def in_single(attack: Call, model: Model, epsilon: float | None) -> Any:
    """Run an attack that computes in float32, and carry its perturbations over to float64.

    The coordinates of u and of the point are each rounded by at most 2^-25: budgets are smaller by
    twice that, and by what the float32 norm may be off.
    """
    if epsilon is not None:
        width = 1.0 if model.each.setting.norm == np.inf else model.u.shape[1] ** 0.5
        epsilon = epsilon * (1 - 1e-6) - width * 2.0**-23
    u = model.u.float()
    model.module.float()
    try:
        found = attack(model, u, epsilon)
    finally:
        model.module.double()
    return model.u + (found - u).double()


def _stand_in(name: str) -> None:
    """Let a library import what its attacks do not use."""
    from unittest.mock import MagicMock

    sys.modules.setdefault(name, MagicMock())


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in what takes longer."""

    def late(*_: object) -> None:
        raise TimeoutError(f"took more than {seconds:g} s of processor time")

    old = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, old)


def wrapped(calls: dict[str, Call], model: Model, limit: float) -> Call:
    """Attack of the form that `judge` takes."""

    def attack(net: Any, x: Any, y: Any, *, norm: float, box: Any, epsilon: Any, decision: Any):  # type: ignore[no-untyped-def]
        import torch

        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002  # what these libraries draw from
        # The way back to x rounds: budgets are smaller by more than that.
        inner = epsilon if epsilon is None else epsilon * (1 - 1e-9) / (model.hi - model.lo)
        with limited(limit):
            return model.points(calls[MANY if norm == np.inf else TWO](model, inner))

    return attack


def work(
    library: str,
    limit: float,
    problems: list[str],
    chosen: list[str] | None,
    write: Callable[[Any], None],
) -> None:
    """Judge all attacks of one library, in its environment."""
    if library == "refimpl":
        from refimpl.truth import ours

        names = ("minimum_norm", "pgd", "closed_form")
        for name in [name for name in names if not chosen or name in chosen]:
            for problem in problems:
                if name == "closed_form" and truth.problem(problem).net.n_outputs > 1:
                    continue
                (verdict,) = truth.judge(getattr(ours, name), [problem], budget=name == "pgd")
                write({"attack": f"refimpl {name}", "version": version_of("refimpl"),
                       **report.as_json([verdict])[0]})  # fmt: skip
        return
    import torch

    torch.set_num_threads(1)
    attacks = LIBRARIES[library]()
    short = {"adversarial-robustness-toolbox": "ART", "pyautoattack": "AutoAttack"}
    for problem in problems:
        each = truth.problem(problem)
        model = Model(each)
        for name, (calls, budget) in attacks.items():
            norm = MANY if each.setting.norm == np.inf else TWO
            if norm not in calls or (chosen and name not in chosen):
                continue
            runs = 10 if budget else 1
            call = wrapped(calls, model, limit / runs)
            (verdict,) = truth.judge(call, [problem], budget=budget)
            label = f"{short.get(library, library)} {name}"
            write({"attack": label, "version": version_of(library),
                   **report.as_json([verdict])[0]})  # fmt: skip


def race(problems: list[str]) -> None:
    """Print the processor time of minimum_norm_attack over that of foolbox's DDN, 100 steps.

    On all samples of a problem at once, run alternately, from the network on; medians. DDN is for
    l2. Each run of ours has another seed: the largest median and the largest of all ratios to the
    exact radii.
    """
    import torch

    from refimpl import attack_gap, minimum_norm_attack

    torch.set_num_threads(1)
    print("| problem | minimum_norm, ms | DDN, ms | quotient | median ratio | largest ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in problems:
        each = truth.problem(name)
        other = ddn(Model(each)) if each.setting.norm == 2 else None
        times, ratios = np.full((_RACES + 1, 2), np.nan), []
        for k in range(len(times)):
            start = time.process_time()
            x_adv = minimum_norm_attack(each.net, each.x, each.y, **each.options, rng=k)
            times[k, 0] = time.process_time() - start
            if other is not None:
                start = time.process_time()
                other()
                times[k, 1] = time.process_time() - start
            gap = attack_gap(each.radii, each.net, each.x, each.y, x_adv, **each.options)
            ratios.append(np.where(gap.flips, gap.ratio, np.inf))
        times = 1e3 * times[1:] / len(each.x)  # the first run imports and warms up
        ours, theirs = np.median(times, axis=0)
        quotient = np.median(times[:, 0] / times[:, 1])
        told = f"{theirs:.2f} | {quotient:.2f}" if other is not None else " | "
        worst = f"{np.median(ratios, axis=1).max():.3f} | {np.max(ratios):.3f}"
        print(f"| {name} | {ours:.2f} | {told} | {worst} |", flush=True)


def ddn(model: Model) -> Callable[[], Any]:
    """Foolbox's DDN with 100 steps, on all samples of a problem."""
    import foolbox as fb

    wrapped = fb.PyTorchModel(model.module, bounds=(0, 1), device="cpu")
    attack = fb.attacks.DDNAttack(steps=100)
    return lambda: attack(wrapped, model.u, model.classes, epsilons=None)


def version_of(library: str) -> str:
    if library == "refimpl":
        import refimpl

        return refimpl.__version__
    return version(library)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--libraries", default=",".join(REQUIREMENTS))
    parser.add_argument("--problems", default=",".join(truth.names()))
    parser.add_argument("--environments", type=Path, default=Path(tempfile.gettempdir(), "attacks"))
    parser.add_argument("--limit", type=float, default=60.0, help="processor seconds of a run")
    parser.add_argument("--out", type=Path, help="results, a JSON object a line, appended")
    parser.add_argument("--show", type=Path, nargs="*", help="print the tables of such files")
    parser.add_argument("--attacks", help="names of these alone, such as DDN,CW")
    parser.add_argument("--figure", type=Path)
    text = "time minimum_norm_attack and foolbox's DDN in turn, and run nothing else"
    parser.add_argument("--race", action="store_true", help=text)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.show:
        show(args.show, args.figure)
        return

    def write(row: Any) -> None:
        line = json.dumps(row)
        print(f"{row['attack']:<24} {row['problem']:<14} {summary(row)}", flush=True)
        if args.out:
            with args.out.open("a") as file:
                file.write(f"{line}\n")

    if args.race:
        if args.worker:
            race(args.problems.split(","))
            return
        args.libraries = "foolbox"
    if args.worker:
        chosen = args.attacks.split(",") if args.attacks else None
        work(args.worker, args.limit, args.problems.split(","), chosen, write)
        return
    for library in args.libraries.split(","):
        try:
            python = Path(sys.executable)
            if REQUIREMENTS[library]:
                python = environment(args.environments / library, REQUIREMENTS[library])
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"{library}: not installed, left out ({error})")
            continue
        command = [str(python), __file__, "--worker", library, "--problems", args.problems]
        command += ["--race"] if args.race else []
        command += ["--attacks", args.attacks] if args.attacks else []
        command += ["--limit", str(args.limit), *(["--out", str(args.out)] if args.out else [])]
        if subprocess.run(command, check=False).returncode:
            print(f"{library}: stopped, what is missing is left out")


def summary(row: Any) -> str:
    """Flips, median and largest ratio, or the complaint."""
    if row["complaint"]:
        return str(row["complaint"])[:90]
    ratios = [np.inf if value is None else value for value in row["ratios"]]
    told = f"{np.mean(row['flips']):4.0%} {np.median(ratios):.3f} {np.max(ratios):.3f} "
    told += f"{row['above']:.0f} {1e3 * row['seconds']:.2f} ms"
    return told + (f" ({len(row['complaints'])} complaints)" if row["complaints"] else "")


def show(paths: list[Path], image: Path | None) -> None:
    """Print the tables of the README, and draw its figure."""
    rows = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    latest = {(row["attack"], row["problem"]): row for row in rows}
    attacks = list(dict.fromkeys(row["attack"] for row in rows))
    problems = [name for name in truth.names() if any(key[1] == name for key in latest)]
    for start in range(0, len(problems), _COLUMNS):
        columns = problems[start : start + _COLUMNS]
        print(
            f"\n| median, largest, ms | {' | '.join(columns)} |\n|{' --- |' * (1 + len(columns))}"
        )
        for attack in attacks:
            if any((attack, p) in latest for p in columns):
                cells = [_cell(latest.get((attack, p))) for p in columns]
                print(f"| {attack} | {' | '.join(cells)} |")
    print()
    failures: dict[tuple[str, str], list[str]] = {}
    for row in latest.values():
        if row["complaint"]:
            failures.setdefault((row["attack"], row["complaint"]), []).append(row["problem"])
    for (attack, complaint), where in failures.items():
        print(textwrap.fill(f"- {attack}: {complaint[:160]} ({', '.join(where)})", 96,
                            subsequent_indent="  "))  # fmt: skip
    versions = {row["attack"].split()[0]: row["version"] for row in latest.values()}
    told = ", ".join(f"{name} {number}" for name, number in versions.items())
    print("\n" + textwrap.fill(f"Versions: {told}.", 100))
    if image:
        values = [[_value(latest.get((a, p)), np.median) for p in problems] for a in attacks]
        figure.draw_ratios(image, attacks, problems, np.array(values))


def _value(row: Any, cell: Call) -> float:
    if row is None or row["complaint"]:
        return np.nan
    return float(cell([np.inf if value is None else value for value in row["ratios"]]))


def _cell(row: Any) -> str:
    if row is None:
        return ""
    if row["complaint"]:
        return "fails"
    ratios = ", ".join(report.ratio(_value(row, cell)) for cell in (np.median, np.max))
    return f"{ratios}, {1e3 * row['seconds']:.3g}"


if __name__ == "__main__":
    main()
