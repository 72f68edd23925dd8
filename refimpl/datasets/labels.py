"""Class labels from 0 to 9: checked as files hold them, and made binary as the paper does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from refimpl import _validation as check
from refimpl._arrays import IntArray
from refimpl.datasets.errors import DatasetFormatError

N_CLASSES = 10


def check_range(path: Path, labels: NDArray[np.integer[Any]]) -> None:
    """Raise `DatasetFormatError` unless all are from 0 to 9."""
    bad = np.flatnonzero((labels < 0) | (labels >= N_CLASSES))
    if len(bad):
        raise DatasetFormatError(path, "labels from 0 to 9", f"{labels[bad[0]]} at index {bad[0]}")


def odd_even(labels: ArrayLike) -> IntArray:
    """Parity of digits: +1 for odd, -1 for even ones.

    Parameters
    ----------
    labels : (n,) integers from 0 to 9

    Returns
    -------
    (n,) int64 array in {-1, +1}

    Raises
    ------
    ValueError
        Anything but class integers from 0 to 9, at least one.

    Notes
    -----
    Source: the paper's task on MNIST.

    Examples
    --------
    >>> odd_even([0, 1, 2, 9])
    array([-1,  1, -1,  1])
    """
    return np.where(_digits(labels) % 2 == 1, 1, -1)


def first_half(labels: ArrayLike) -> IntArray:
    """Classes 0 to 4 against 5 to 9: +1 and -1.

    Parameters
    ----------
    labels : (n,) integers from 0 to 9

    Returns
    -------
    (n,) int64 array in {-1, +1}

    Raises
    ------
    ValueError
        Anything but class integers from 0 to 9, at least one.

    Notes
    -----
    Source: the paper's task on CIFAR-10.

    Examples
    --------
    >>> first_half([0, 4, 5, 9])
    array([ 1,  1, -1, -1])
    """
    return np.where(_digits(labels) < 5, 1, -1)


def _digits(labels: ArrayLike) -> IntArray:
    return check.classes(
        "labels", labels, len(check.real_array("labels", labels, ("n",))), N_CLASSES
    )
