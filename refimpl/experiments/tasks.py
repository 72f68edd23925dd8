"""What the experiments on real data train on: MNIST, CIFAR-10, or features in a file.

A task is labelled rows, and which of the classes are +1: for MNIST the odd digits, for CIFAR-10 the
first five classes, for features the groups that the user names.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from refimpl import _validation as check
from refimpl._arrays import Array, IntArray
from refimpl._files import read_npz
from refimpl.datasets import first_half, load_cifar10, load_mnist, odd_even
from refimpl.decisions import GroupMax

Split = tuple[Array, IntArray]  # rows x (n,d) and their classes (n,)
_IMAGES: dict[str, Any] = {"unit": "pixel units of [0, 1]", "largest_radius": 2.4}  # a grid of 0.1
_CLASSES = np.arange(10)
_CIFAR10_NAMES = "airplane automobile bird cat deer dog frog horse ship truck"
_HELD_OUT = 5  # every fifth row, in a random order, where the file has no test samples


@dataclass(frozen=True, eq=False)
class Task:
    """Labelled rows, and a partition of their classes.

    Parameters
    ----------
    train, test : pairs of x (n,d) and classes (n,)
    labels : (k,) array in {-1, +1}
        Binary label of each class.
    class_names : tuple of k str
    unit : str
        The space of x.
    largest_radius : float, optional
        Where the curves end; by default where the samples' radii do.
    image_shape : tuple of int, optional
        Shape of the image in a row whose entries are pixels in [0, 1]; None where x is no image.
    data : str
        What the rows are: a report says it.
    name : str
        The same in a word or two, in the titles of figures.
    centre : bool
        Whether the networks are trained on rows less their mean, and features are class means less
        that mean. They take the rows as they are all the same: the biases make up for it.

    Raises
    ------
    ValueError
        Labels of one class only, or training samples that lack a class.
    """

    train: Split
    test: Split
    labels: IntArray
    class_names: tuple[str, ...]
    unit: str
    largest_radius: float | None = None
    image_shape: tuple[int, ...] | None = None
    data: str = ""
    name: str = ""
    centre: bool = False

    @property
    def threats(self) -> tuple[str, ...]:
        """Norms and boxes that are tried beside l2 in all of R^d: images have a range."""
        return ("linf",) if self.image_shape is None else ("l2_box", "linf_box")

    def __post_init__(self) -> None:
        GroupMax(self.labels)
        class_means(self.train, len(self.labels))


def class_means(split: Split, k: int) -> Array:
    """Mean (k,d) of the samples of each class.

    >>> class_means((np.array([[0.0], [2.0], [5.0]]), np.array([0, 0, 1])), 2).tolist()
    [[1.0], [5.0]]
    """
    x, classes = split
    missing = sorted(set(range(k)) - set(classes.tolist()))
    if missing:
        check.fail("train", f"samples of all {k} classes", f"none of class {missing[0]}")
    return np.stack([x[classes == j].mean(axis=0) for j in range(k)])


def shuffled(split: Split, rng: np.random.Generator) -> Split:
    """Rows and classes in a random order."""
    order = rng.permutation(len(split[0]))
    return split[0][order], split[1][order]


def mnist(directory: str | os.PathLike[str] | None, *, verify: bool = True) -> Task:
    """MNIST as rows of 784 pixels in [0, 1]; the directory is None for $REFIMPL_DATA."""
    splits = load_mnist(directory, verify=verify, layout="flat", scale=True)
    names, labels = tuple(map(str, _CLASSES)), odd_even(_CLASSES)
    data = _described("MNIST", (60_000, 10_000), splits, verify)
    return Task(*splits, labels, names, **_IMAGES, image_shape=(28, 28), data=data, name="MNIST")


def cifar10(directory: str | os.PathLike[str] | None, *, verify: bool = True) -> Task:
    """CIFAR-10 as rows of 3072 values in [0, 1]; the directory is None for $REFIMPL_DATA."""
    splits = load_cifar10(directory, verify=verify, scale=True)
    train, test = ((x.reshape(len(x), -1), y) for x, y in splits)
    names, labels = tuple(_CIFAR10_NAMES.split()), first_half(_CLASSES)
    data = _described("CIFAR-10", (50_000, 10_000), splits, verify)
    more: dict[str, Any] = {
        "image_shape": (32, 32, 3),
        "data": data,
        "name": "CIFAR-10",
        "centre": True,
    }
    return Task(train, test, labels, names, **_IMAGES, **more)


def features(path: Path, groups: Sequence[int] | None, *, seed: int) -> Task:
    """Features of the user's own, as of a frozen network, from a file.

    It holds x (n,d), classes y (n,) from 0, and where they are there x_test, y_test.

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
    with check.about(path):
        task = _task(arrays, seed)
    n_train, n_test = len(task.train[0]), len(task.test[0])
    data = f"{path.name}, {n_train} training and {n_test} test samples"
    labels = _labels(groups, len(task.labels))
    return replace(task, labels=labels, data=data, name=f"features of {path.name}")


def _described(name: str, whole: tuple[int, int], splits: tuple[Split, Split], verify: bool) -> str:
    """Say how many of all training and test images there are, and whether they were verified.

    >>> few = (np.zeros((3, 1)), np.zeros(3, dtype=np.int64))
    >>> _described("MNIST", (60000, 10000), (few, few), False)
    'MNIST, 3 of 60000 training images and 3 of 10000 test images, not verified'
    """
    train, test = (f"{len(x)} of {n}" for (x, _), n in zip(splits, whole, strict=True))
    known = "verified" if verify else "not verified"
    return f"{name}, {train} training images and {test} test images, {known}"


def _task(arrays: Mapping[str, NDArray[Any]], seed: int) -> Task:
    x = check.real_array("x", arrays["x"], ("n", "d"))
    y, k = _classes(arrays["y"], len(x))
    if "x_test" in arrays:
        x_test = check.real_array("x_test", arrays["x_test"], ("n", x.shape[1]))
        train, test = (x, y), (x_test, check.classes("y_test", arrays["y_test"], len(x_test), k))
    else:
        train, test = _held_out(x, y, seed)
    return Task(train, test, _labels(None, k), tuple(map(str, range(k))), unit="feature units")


def _classes(y: ArrayLike, n: int) -> tuple[IntArray, int]:
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
