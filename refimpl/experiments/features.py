"""Frozen features of the user's own, as in the paper's Figures 2c and 2d: rows of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from refimpl import _validation as check
from refimpl._files import read_npz
from refimpl._validation import Array, IntArray
from refimpl.experiments.images import ImageTask, Split

_HELD_OUT = 5  # every fifth row, in a random order, where the file has no test samples


def load(path: Path, groups: Sequence[int] | None, *, seed: int) -> ImageTask:
    """Read x (n,d), classes y (n,) from 0, and where they are there x_test, y_test.

    Parameters
    ----------
    path : Path
        An .npz file.
    groups : sequence of k in {-1, +1}, optional
        Labels of the classes; by default the first half is +1.
    seed : int
        Without x_test and y_test a fifth of the rows, drawn at random, is held out.

    Raises
    ------
    ValueError
        Arrays that are missing or do not fit each other, a class without training samples, or
        groups that are not labels of all classes with both signs; but for groups it names the file.
    """
    arrays = read_npz(path)
    if not {"x", "y"} <= arrays.keys() or ("x_test" in arrays) != ("y_test" in arrays):
        got = ", ".join(sorted(arrays)) or "none"
        check.fail(str(path), "arrays x, y and maybe x_test, y_test", got)
    try:
        task = _task(arrays, seed)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    n_train, n_test = len(task.train[0]), len(task.test[0])
    data = f"{path.name}, {n_train} training and {n_test} test samples"
    return replace(task, labels=_labels(groups, len(task.labels)), data=data)


def _task(arrays: dict[str, Any], seed: int) -> ImageTask:
    x = check.real_array("x", arrays["x"], ("n", "d"))
    y, k = _classes(arrays["y"], len(x))
    if "x_test" in arrays:
        x_test = check.real_array("x_test", arrays["x_test"], ("n", x.shape[1]))
        train, test = (x, y), (x_test, check.classes("y_test", arrays["y_test"], len(x_test), k))
    else:
        train, test = _held_out(x, y, seed)
    return ImageTask(
        train=train,
        test=test,
        labels=_labels(None, k),
        class_names=tuple(map(str, range(k))),
        unit="feature units",
    )


def _classes(y: Any, n: int) -> tuple[IntArray, int]:
    """Read the classes (n,), and tell how many there are: the largest and those below it."""
    largest = check.real_array("y", y, (n,)).max()
    classes = check.classes("y", y, n, int(np.clip(largest + 1, 1, n)))
    k = 1 + int(classes.max())
    if k < 2:
        check.fail("y", "at least two classes", k)
    return classes, k


def _labels(groups: Sequence[int] | None, k: int) -> IntArray:
    if groups is None:
        return np.where(np.arange(k) < (k + 1) // 2, 1, -1)
    if len(groups) != k:
        check.fail("groups", f"{k} labels, one for each class", len(groups))
    labels = check.signs("groups", groups, k)
    if abs(labels.sum()) == k:
        check.fail("groups", "classes in both groups", f"only {labels[0]:+d}")
    return labels


def _held_out(x: Array, y: IntArray, seed: int) -> tuple[Split, Split]:
    """Split the rows at random, a fifth of them for the test."""
    order = np.random.default_rng(seed).permutation(len(x))
    count = len(x) // _HELD_OUT
    if not count:
        check.fail("x", f"at least {_HELD_OUT} rows, or x_test", len(x))
    test, train = order[:count], order[count:]
    return (x[train], y[train]), (x[test], y[test])
