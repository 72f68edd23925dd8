"""What ``refimpl reproduce --save`` keeps: networks, samples and radii, each file written whole.

======================== ===========================================================================
samples.npz              test samples whose radii are found: x (n,d), y (n,) in {-1, +1}, and their
                         classes, cluster (n,)
train.npz                the same of the training samples; of `synthetic` only
two_class.npz            the 2-class network, as `TwoLayerReLU.save` writes it; takes the rows of x
ten_class.npz            the multi-class network
radii-NAME.npz           for each classifier NAME of summary.json: the fields of `RobustRadius` that
                         are arrays, lower (n,), upper (n,), perturbation (n,d), status (n,) and
                         nodes (n,), and steps (n,), the smallest closed-form steps (E27)
radii-THREAT-NAME.npz    the same, without steps, of the first samples in other norms and in the box
======================== ===========================================================================

So ``refimpl radius two_class.npz samples.npz`` finds the same radii again. On real data networks
and radii are in a folder for each seed, ``seed-0`` and so on.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from refimpl._arrays import Array, IntArray
from refimpl._files import output_directory, write_npz
from refimpl.experiments.comparison import JSON_NAMES, Comparison
from refimpl.experiments.robustness import Robustness

FILES = ("samples.npz", "train.npz", "two_class.npz", "ten_class.npz", "radii-*.npz", "*.png")
RADII = ("lower", "upper", "perturbation", "status", "nodes")


def tell_of_older(folder: Path) -> None:
    """Name on standard error what an earlier run has left in a folder."""
    places = (folder, *folder.glob("seed-*"))
    older = sorted(
        str(path.relative_to(folder))
        for place in places
        for kind in FILES
        for path in place.glob(kind)
    )
    if older:
        text = f"{folder} has files of an earlier run, which stay unless this one writes them"
        print(f"refimpl: {text}: {', '.join(older)}", file=sys.stderr)


def save_samples(path: Path, x: Array, y: IntArray, cluster: IntArray) -> None:
    """Write samples, their labels and their classes."""
    write_npz(path, x=x, y=y, cluster=cluster)


def save_networks(folder: Path, comparison: Comparison) -> None:
    """Write the two networks to a folder, which is made if it is missing."""
    output_directory(folder)
    comparison.binary.save(folder / "two_class.npz")
    comparison.multiclass.save(folder / "ten_class.npz")


def save_radii(folder: Path, measured: Mapping[str, Robustness], threat: str = "l2") -> None:
    """Write what was found of each classifier."""
    middle = "" if threat == "l2" else f"{threat}-"
    for name, each in measured.items():
        radii = {field: getattr(each.radius, field) for field in RADII}
        steps = {} if each.steps is None else {"steps": each.steps}
        write_npz(folder / f"radii-{middle}{JSON_NAMES[name]}.npz", **radii, **steps)


def save_run(
    folder: Path, comparison: Comparison, measured: Mapping[str, Mapping[str, Robustness]]
) -> None:
    """Write networks and what was found of them, by threat."""
    save_networks(folder, comparison)
    for threat, found in measured.items():
        save_radii(folder, found, threat)
