"""The experiment on real data over several seeds: measured, printed, drawn, written."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from refimpl._arrays import Array, IntArray
from refimpl._files import output_directory
from refimpl._workers import one_thread
from refimpl.experiments import figures, image_figures, saved, seeds_report
from refimpl.experiments.comparison import JSON_NAMES, Comparison, round_steps
from refimpl.experiments.images import check_features, train
from refimpl.experiments.robustness import EDGES, THREATS, Robustness, finite
from refimpl.experiments.summary import robustness_summary, summary_file
from refimpl.experiments.tasks import Split, Task, shuffled
from refimpl.setting import ImageSettings

_FEW = 30  # test samples of which one is more than 3 points of a share
Measured = dict[str, dict[str, Robustness]]  # by threat, then by classifier


@one_thread()  # small products: more threads only wait for each other
def run(
    task: Task,
    settings: ImageSettings,
    out: Path,
    *,
    progress: bool = True,
    executor: Executor | None = None,
    save: bool = False,
) -> dict[str, Any]:
    """Train and measure a pair of networks for every seed, on the same samples.

    Prints medians over the seeds; writes summary.json, cosines.png and strip.png of the first
    seed, robustness.png and the like of all; with `save` the samples, and in a folder for each seed
    its networks and radii. The executor runs searches for exact radii, as in `robust_radius`.
    """
    settings.width(len(task.labels))
    check_features(task)
    out = output_directory(out)
    saved.tell_of_older(out)
    _warn_of_few(len(task.test[0]))
    chosen, held_out = _samples(task, settings)
    x, classes = held_out[0][: settings.radii], held_out[1][: settings.radii]
    draw = figures.available()
    if save:
        saved.save_samples(out / "samples.npz", x, task.labels[classes], classes)
    measured: list[Measured] = []
    entries: list[dict[str, Any]] = []
    with summary_file(out / "summary.json", partial(_kept, settings.seeds)) as summary:
        said = _said(task, settings, len(chosen[0]), len(held_out[0]))
        summary.update(data=task.data, settings=said, seeds=[])
        for seed in range(settings.seed, settings.seed + settings.seeds):
            rng = np.random.default_rng(seed)
            comparison = train(task, chosen, settings, rng, progress=progress)
            found = _measure(
                *(task, comparison, x, classes, settings),
                known=_grids(task, measured),
                rng=rng,
                progress=progress,
                executor=executor,
            )
            if save:
                saved.save_run(out / f"seed-{seed}", comparison, found)
            entry = comparison.summary(*held_out)
            entries.append({**entry, **_entry(found)})
            summary["seeds"].append({"seed": seed, **entries[-1]})
            summary["over_seeds"] = over_seeds(entries)
            if draw and not measured:
                _draw_cosines(out / "cosines.png", task, comparison, entry, seed)
                _draw_strip(out / "strip.png", task, x, classes, found)
            measured.append(found)
    if draw:
        _draw_curves(out, task, measured)
    print(seeds_report.text(summary))
    print(f"\nwritten to {out}")
    return summary


def _warn_of_few(n: int) -> None:
    if n < _FEW:
        said = f"few test samples, {n}: shares and medians of so few say little"
        print(f"refimpl: warning: {said}", file=sys.stderr)


def _measure(
    task: Task,
    comparison: Comparison,
    x: Array,
    classes: IntArray,
    settings: ImageSettings,
    *,
    known: Mapping[str, Array],
    rng: np.random.Generator,
    progress: bool,
    executor: Executor | None,
) -> Measured:
    """Measure in l2 without a box, and at the first few samples under the task's other threats."""
    found = {}
    for name in ("l2", *task.threats):
        rows = slice(None if name == "l2" else settings.other_radii)
        found[name] = comparison.robustness(
            *(x[rows], classes[rows]),
            epsilons=known.get(name),
            pgd_steps=settings.pgd_steps,
            max_nodes=settings.max_nodes,
            rng=rng,
            progress=progress,
            threat=THREATS[name],
            executor=executor,
        )
    return found


def _grids(task: Task, measured: Sequence[Measured]) -> dict[str, Array]:
    """Radii of the curves by threat: the task's in l2, and else those of the first seed."""
    if measured:
        return {name: each["averaging"].epsilons for name, each in measured[0].items()}
    if task.largest_radius is None:
        return {}
    return dict.fromkeys(("l2", "l2_box"), round_steps(task.largest_radius))


def _entry(found: Measured) -> dict[str, Any]:
    """Entries ``robust_accuracy`` and ``radius``, and of other threats the same in ``threats``."""
    entry, *others = (robustness_summary(each, {}) for each in found.values())
    threats = dict(zip(list(found)[1:], others, strict=True))
    if boxed := threats.get("l2_box"):
        for name in JSON_NAMES.values():
            curve = boxed["robust_accuracy"][name]["exact_upper"]
            entry["robust_accuracy"][name]["box"] = curve
            entry["radius"][name]["median_box"] = boxed["radius"][name]["median"]
    few = min(len(each["averaging"].radius.upper) for each in found.values())
    gain = {name: _gain(each, few) for name, each in found.items()}
    return {**entry, "threats": threats, "gain": gain}


def _gain(measured: Mapping[str, Robustness], few: int) -> dict[str, float | None]:
    """Median radii of the first few samples over that of the 2-class network; None: no number."""
    medians = {name: float(np.median(each.radius.upper[:few])) for name, each in measured.items()}
    two = medians.pop("averaging")
    return {
        JSON_NAMES[name]: finite(median / two if two > 0 else np.inf)
        for name, median in medians.items()
    }


def _kept(seeds: int, summary: Mapping[str, Any]) -> str:
    """Say what an interrupted experiment of so many seeds has."""
    done = len(summary.get("seeds", []))
    return f"{done} of {seeds} seeds" if done else ""


def _draw_cosines(
    path: Path, task: Task, comparison: Comparison, entry: dict[str, Any], seed: int
) -> None:
    names = task.class_names
    panels = figures.cosine_panels(comparison, entry, names, feature="class mean", seed=seed)
    figures.draw_cosines(path, panels, title=task.name)


def _draw_strip(path: Path, task: Task, x: Array, classes: IntArray, measured: Measured) -> None:
    """Draw images next to adversarial ones; features that are no images have none."""
    if task.image_shape is not None:
        boxed = measured["l2_box"]
        few = len(next(iter(boxed.values())).radius.upper)
        image_figures.draw_strip(path, task, x[:few], classes[:few], boxed)


def _draw_curves(out: Path, task: Task, measured: Sequence[Measured]) -> None:
    """Draw robustness.png, and one figure more for each other threat."""
    for name in measured[0]:
        path = out / f"robustness{'' if name == 'l2' else f'-{name}'}.png"
        runs = [each[name] for each in measured]
        image_figures.draw_curves(path, runs, task=task, threat=THREATS[name])


def _samples(task: Task, settings: ImageSettings) -> tuple[Split, Split]:
    """Training samples, and all test samples with those first whose radii are found."""
    draws = np.random.default_rng(settings.seed).spawn(2)
    chosen, held_out = map(shuffled, (task.train, task.test), draws)
    return (chosen[0][: settings.train], chosen[1][: settings.train]), held_out


def _said(task: Task, settings: ImageSettings, n_train: int, n_test: int) -> dict[str, Any]:
    """Say the settings as they came to be."""
    h = settings.width(len(task.labels))
    return {
        **asdict(settings),
        "h": h,
        "hidden": h * len(task.labels),
        "train": n_train,
        "test": n_test,
        "radii": min(settings.radii, n_test),
        "other_radii": min(settings.other_radii, settings.radii, n_test),
        "unit": task.unit,
        "labels": task.labels.tolist(),
    }


def over_seeds(entries: Sequence[Any]) -> Any:
    """Minimum, median and maximum of every number in mappings and lists of the same form.

    The median of an even number of seeds is the mean of the two in the middle. None, which stands
    for an infinite number, is above all others.

    >>> over_seeds([{"a": 1.0}, {"a": 3.0}, {"a": None}])
    {'a': {'min': 1.0, 'median': 3.0, 'max': None}}
    >>> over_seeds([{"a": 1.0}, {"a": 3.0}])
    {'a': {'min': 1.0, 'median': 2.0, 'max': 3.0}}
    >>> over_seeds([{"c": [1.0, 0.5]}, {"c": [1.0, 0.25]}])["c"]["max"]
    [1.0, 0.5]
    """
    if isinstance(entries[0], Mapping):
        return {name: over_seeds([each[name] for each in entries]) for name in entries[0]}
    values = np.array(entries, dtype=np.float64)  # None becomes nan
    values = np.where(np.isnan(values), np.inf, values)
    rows = {name: np.asarray(edge(values, axis=0)) for name, edge in EDGES.items()}
    if values.ndim > 1:
        return {name: row.tolist() for name, row in rows.items()}
    return {name: finite(float(row)) for name, row in rows.items()}
