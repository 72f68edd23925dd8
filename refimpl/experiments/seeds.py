"""The experiment on real data over several seeds: measured, printed, drawn, written.

summary.json holds, for each seed and over the seeds, in ``robust_accuracy`` the share of samples
that are right at every epsilon: ``exact`` and ``exact_upper``, proven bounds for perturbations in
all of R^d (the same where no search gave up); ``closed_form`` and ``pgd``, what withstands these
attacks, also in R^d; ``box``, what withstands the attacks that stay in [0, 1]^d. The robust
accuracy within [0, 1]^d is unknown: it lies between ``exact`` and ``box``. In ``radius``,
``median_box`` goes with ``box``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from refimpl._files import output_directory
from refimpl._validation import Array, IntArray
from refimpl._workers import one_thread
from refimpl.experiments import figures, image_figures, saved, seeds_report
from refimpl.experiments.comparison import Comparison
from refimpl.experiments.images import check_features, train
from refimpl.experiments.robustness import Robustness, finite
from refimpl.experiments.summary import robustness_summary, summary_file
from refimpl.experiments.tasks import Split, Task, shuffled
from refimpl.radius import robust_radius
from refimpl.setting import ImageSettings

_N_RADII = 25
_FEW = 30  # test samples of which one is more than 3 points of a share
_PILOT = 50  # samples whose radii say where the curves end


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

    Prints medians over the seeds; writes summary.json, cosines.png and strip.png of the first seed,
    robustness.png of all; with `save` the samples, and in a folder for each seed its networks and
    radii. The executor runs searches for exact radii, as in `robust_radius`.
    """
    settings.width(len(task.labels))
    check_features(task)
    out = output_directory(out)
    if len(task.test[0]) < _FEW:
        print(
            f"refimpl: warning: few test samples, {len(task.test[0])}: shares and medians of so few"
            " say little",
            file=sys.stderr,
        )
    with one_thread():  # small products: more threads only wait for each other
        return _run(task, settings, out, progress, executor, save)


def _run(
    task: Task,
    settings: ImageSettings,
    out: Path,
    progress: bool,
    executor: Executor | None,
    save: bool,
) -> dict[str, Any]:
    """Do what `run` says."""
    chosen, held_out = _samples(task, settings)
    x, classes = held_out[0][: settings.radii], held_out[1][: settings.radii]
    draw = figures.available()
    if save:
        saved.save_samples(out / "samples.npz", x, task.labels[classes], classes)
    measured: list[dict[str, Robustness]] = []
    entries: list[dict[str, Any]] = []
    with summary_file(out / "summary.json", partial(_kept, settings.seeds)) as summary:
        summary["data"] = task.data
        summary["settings"] = _said(task, settings, len(chosen[0]), len(held_out[0]))
        summary["seeds"] = []
        for seed in range(settings.seed, settings.seed + settings.seeds):
            rng = np.random.default_rng(seed)
            comparison = train(task, chosen, settings, rng, progress=progress)
            if not measured:
                epsilons = _epsilons(task, comparison, x, classes, settings)
            robustness = comparison.robustness(
                x,
                classes,
                epsilons=epsilons,
                pgd_steps=settings.pgd_steps,
                max_nodes=settings.max_nodes,
                rng=rng,
                progress=progress,
                box=task.image_shape is not None,
                executor=executor,
            )
            if save:
                saved.save_run(out / f"seed-{seed}", comparison, robustness)
            entry = comparison.summary(*held_out)
            entries.append({**entry, **robustness_summary(robustness, {})})
            summary["seeds"].append({"seed": seed, **entries[-1]})
            summary["over_seeds"] = over_seeds(entries)
            if draw and not measured:
                _draw_cosines(out / "cosines.png", task, comparison, entry, seed)
                _draw_strip(out / "strip.png", task, x, classes, robustness)
            measured.append(robustness)
    if draw:
        image_figures.draw_curves(out / "robustness.png", measured, unit=task.unit)
    print(seeds_report.text(summary))
    print(f"\nwritten to {out}")
    return summary


def _kept(seeds: int, summary: Mapping[str, Any]) -> str:
    """Say what an interrupted experiment of so many seeds has."""
    done = len(summary.get("seeds", []))
    return f"{done} of {seeds} seeds" if done else ""


def _draw_cosines(
    path: Path, task: Task, comparison: Comparison, entry: dict[str, Any], seed: int
) -> None:
    names = task.class_names
    panels = figures.cosine_panels(comparison, entry, names, feature="class mean", seed=seed)
    figures.draw_cosines(path, panels)


def _draw_strip(
    path: Path, task: Task, x: Array, classes: IntArray, measured: Mapping[str, Robustness]
) -> None:
    """Draw images next to adversarial ones; features that are no images have none."""
    if task.image_shape is not None:
        image_figures.draw_strip(path, task, x, classes, measured)


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
        "unit": task.unit,
        "labels": task.labels.tolist(),
    }


def _epsilons(
    task: Task, comparison: Comparison, x: Array, classes: IntArray, settings: ImageSettings
) -> Array:
    """Radii in round steps: up to the task's largest, or to those of the first samples."""
    last = task.largest_radius
    if last is None:
        y = task.labels[classes[:_PILOT]]
        effort = settings.max_nodes
        radii = [
            robust_radius(each.net, x[:_PILOT], y, decision=each.decision, max_nodes=effort)
            for each in comparison.classifiers().values()
        ]
        uppers = np.concatenate([radius.upper for radius in radii])
        last = 1.1 * float(uppers[uppers < np.inf].max(initial=0.0)) or 1.0
    return float(f"{last / (_N_RADII - 1):.2g}") * np.arange(_N_RADII, dtype=np.float64)


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
    rows = {
        "min": values.min(axis=0),
        "median": np.median(values, axis=0),
        "max": values.max(axis=0),
    }
    if values.ndim > 1:
        return {name: row.tolist() for name, row in rows.items()}
    return {name: finite(float(row)) for name, row in rows.items()}
