"""What sweeps show: how radii scale, how exact the laws are, and where averaging ends.

    python -m proofs_numeric.sweeps --out DIR --jobs 2

runs the sweeps (four minutes of processor time; again, it takes up where it stopped) and draws

- slopes.png: median exact radii against d and k, with 95 % intervals of their slopes;
- laws.png: distance of the medians from the laws (E23) to (E25), of idealised and of trained
  networks;
- phases.png: where averaging breaks: initialisation and length of training, cosine of the features
  and noise, imbalance of the classes and number of samples.

With --redraw nothing is run, and the figures are drawn from the results in DIR, of any version.

The figures in proofs_numeric/figures were made by it. Settings are those of `SCALING` and
`PHASES`. The learning rate is the paper's 0.001 times (3072/d)(k/10) everywhere, so that outputs
grow as fast.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from proofs_numeric import sweep_figures
from proofs_numeric.sweep_results import D, K, slopes
from refimpl._files import output_directory
from refimpl._workers import processes
from refimpl.experiments import figures
from refimpl.experiments.sweep import read, sweep

DIMENSIONS = (384, 768, 1536, 3072)
CLUSTERS = (4, 6, 10, 16)
SEEDS = (0, 1, 2, 3, 4)


def _grid(k: int, d: int, per_cluster: int, **axes: Sequence[Any]) -> dict[str, Sequence[Any]]:
    step = 0.001 * (3072 / d) * (k / 10)
    return {"k": [k], "d": [d], "n": [per_cluster * k], "step": [step], "test": [200], **axes}


SCALING = [
    *(_grid(K, d, 50, seed=SEEDS) for d in DIMENSIONS),
    *(_grid(k, D, 50, seed=SEEDS) for k in CLUSTERS),
]
_BASE: dict[str, Any] = {
    "k": 6,
    "d": 1024,
    "per_cluster": 50,
    "m": [3],
    "seed": [0, 1],
    "test": [100],
}
PHASES = {
    "start": _grid(**_BASE, sigma=[1e-5, 1e-3, 1e-2, 3e-2, 1e-1], steps=[30, 100, 300, 1000, 3000]),
    "data": _grid(**_BASE, cosine=[0.0, 0.1, 0.3, 0.6, 0.9], noise=[0.3, 1.0, 2.0, 4.0, 8.0]),
    "classes": _grid(**{**_BASE, "k": 10}, positive=[1, 2, 3, 4, 5], n=[30, 100, 300, 1000, 3000]),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sweeps and draw."""
    parser = argparse.ArgumentParser(prog="python -m proofs_numeric.sweeps")
    parser.add_argument("--out", type=Path, default=Path("refimpl-sweeps"), metavar="DIR")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default: 1)")
    text = "run nothing, and draw what DIR holds, of whatever version"
    parser.add_argument("--redraw", action="store_true", help=text)
    args = parser.parse_args(argv)
    out = output_directory(args.out)
    paths = {"scaling": out / "scaling.jsonl"}
    paths |= {name: out / f"phases-{name}.jsonl" for name in PHASES}
    if args.redraw:
        found = {name: read(path) for name, path in paths.items()}
    else:
        grids: dict[str, Any] = {"scaling": SCALING, **PHASES}
        with processes(args.jobs, finish=True) as executor:
            found = {
                name: sweep(grids[name], path, executor=executor, progress=True)
                for name, path in paths.items()
            }
    scaling = found.pop("scaling")
    rows = slopes(scaling)
    for (kind, axis), each in rows.items():
        measured = f"{each.mean:+.3f} ({each.low:+.3f} to {each.high:+.3f})"
        derived = f"at a centre {each.centre:+.3f}, law {each.law:+.3f}"
        print(f"slope in log {axis}, {kind}: {measured}, {derived}")
    if figures.available():
        figures.save(sweep_figures.draw_slopes(scaling, rows), out / "slopes.png")
        figures.save(sweep_figures.draw_laws(scaling), out / "laws.png")
        figures.save(sweep_figures.draw_phases(found), out / "phases.png")
    print(f"python -m proofs_numeric.sweeps --out {out} --jobs {args.jobs}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
