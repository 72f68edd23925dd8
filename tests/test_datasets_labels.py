"""Labels of classes, and the paper's two binary tasks."""

from __future__ import annotations

import numpy as np
import pytest
from dataset_files import refused

from refimpl import datasets
from refimpl.datasets.labels import check_range


def test_odd_even_and_first_half_of_every_class() -> None:
    classes = np.arange(10, dtype=np.uint8)
    odd, half = datasets.odd_even(classes), datasets.first_half(classes)
    assert odd.tolist() == [-1, 1] * 5
    assert half.tolist() == [1] * 5 + [-1] * 5
    assert (odd.dtype, half.dtype) == (np.int64, np.int64)
    assert classes.tolist() == list(range(10))


@pytest.mark.parametrize("task", [datasets.odd_even, datasets.first_half])
@pytest.mark.parametrize("labels", [[10], [-1], [0.5], [], [[1]], 3, ["1"], [np.nan], [1j], None])
def test_bad_labels(task, labels: object) -> None:
    with pytest.raises(ValueError, match=r"^labels: expected "):
        task(labels)


@pytest.mark.parametrize("bad", [-1, 10])
def test_labels_of_a_file(tmp_path, bad: int) -> None:
    check_range(tmp_path, np.arange(10))
    with refused(tmp_path, expected="labels from 0 to 9", got=f"{bad} at index 1"):
        check_range(tmp_path, np.array([0, bad, 12]))
