"""Checks of arguments: exact conversion, and one clear error for every kind of bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refimpl import _validation as check


@pytest.mark.parametrize(
    "value",
    [
        [1, 2],
        (1.0, 2.0),
        np.array([1, 2], np.uint8),
        np.array([1, 2], np.float16),
        np.array([1, 2], np.float32),
        np.array([1, 2], np.longdouble),
        np.array([1, 2], ">f8"),
        np.array([1, 0, 2, 0])[::2],
    ],
)
def test_real_array_converts_to_native_float64(value):
    result = check.real_array("x", value, (2,))
    assert result.dtype == np.float64
    assert result.dtype.isnative
    assert result.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("value", [2**62, -(2**60), 2**53, 2**53 + 2])
def test_real_array_takes_large_integers_that_float64_holds(value):
    assert int(check.real_array("x", value, ())) == value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1.0, np.nan], r"x: expected finite numbers, got nan at \(1,\)"),
        ([np.inf, 0.0], r"x: expected finite numbers, got inf at \(0,\)"),
        ([0.0, -np.inf], r"x: expected finite numbers, got -inf at \(1,\)"),
        (np.array([1.0, np.nan], np.float32), r"x: expected finite numbers, got nan at \(1,\)"),
        ([1j, 0], "x: expected an array of real numbers, got dtype complex128"),
        ([True, False], "x: expected an array of real numbers, got dtype bool"),
        (["1", "2"], "x: expected an array of real numbers, got dtype <U1"),
        ([b"1", b"2"], r"x: expected an array of real numbers, got dtype \|S1"),
        ([None, 1.0], "x: expected an array of real numbers, got dtype object"),
        ([2**70, 1], "x: expected an array of real numbers, got dtype object"),
        ([[1.0], [1.0, 2.0]], "x: expected an array of real numbers, got list"),
        (np.array(["2020-01-01"] * 2, "M8[D]"), "x: expected an array of real numbers, got dtype"),
        (np.array([2**63 - 1, 0]), "x: expected numbers that float64 holds exactly, got int64"),
        (np.array([2**64 - 1, 0], np.uint64), "x: expected numbers that float64 holds exactly"),
        (np.array([2**53 + 1, 0]), "x: expected numbers that float64 holds exactly, got int64"),
        ([1.0], r"x: expected real numbers of shape \(2,\), got shape \(1,\)"),
        (1.0, r"x: expected real numbers of shape \(2,\), got shape \(\)"),
        ([[1.0, 2.0]], r"x: expected real numbers of shape \(2,\), got shape \(1, 2\)"),
    ],
)
def test_real_array_refuses(value, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        check.real_array("x", value, (2,))


@pytest.mark.parametrize(
    ("shape", "advice"),
    [
        ((5, 28, 28), r"x\.reshape\(len\(x\), -1\) for channel, row, column as they are$"),
        ((5, 1, 28, 28), r"x\.reshape\(len\(x\), -1\) for channel, row, column as they are, "),
        ((5, 32, 32, 3), r"x\.transpose\(0, 3, 1, 2\)\.reshape\(len\(x\), -1\) for channels last$"),
    ],
)
def test_images_get_an_error_that_says_how_to_flatten_them(shape, advice):
    with pytest.raises(ValueError, match=rf"^x: expected real .* got shape .*; flatten .*{advice}"):
        check.real_array("x", np.zeros(shape), ("n", 784))


def test_the_advice_for_images_keeps_channel_row_column():
    x = np.arange(2 * 4 * 5 * 3).reshape(2, 4, 5, 3)  # channels last
    rows = x.transpose(0, 3, 1, 2).reshape(len(x), -1)
    for channel, row, column in np.ndindex(3, 4, 5):
        assert rows[1, channel * 20 + row * 5 + column] == x[1, row, column, channel]


class Tensor:
    """Raises what PyTorch raises for a tensor with a gradient."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")


def test_a_tensor_with_a_gradient_gets_the_error_that_names_the_argument():
    with pytest.raises(
        ValueError, match=r"^x: expected an array of real numbers, got Tensor \(Can"
    ):
        check.real_array("x", Tensor(), (2,))


@pytest.mark.skipif(np.finfo(np.longdouble).nmant <= 52, reason="long double is float64 here")
@pytest.mark.parametrize("value", [np.longdouble(1) / 3, np.longdouble("1e400")])
def test_real_array_refuses_long_doubles_that_would_round(value):
    with pytest.raises(ValueError, match="holds exactly"):
        check.real_array("x", value, ())


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0, 0)])
def test_real_array_refuses_empty_free_dimensions(shape):
    with pytest.raises(ValueError, match=r"shape \(n, d\), n and d at least 1, got shape"):
        check.real_array("x", np.zeros(shape), ("n", "d"))


def test_real_array_takes_numbers_whose_squares_overflow():
    assert check.real_array("x", [1e200, -1e308], ("n",)).tolist() == [1e200, -1e308]


def test_real_array_names_the_first_bad_entry_of_a_matrix():
    with pytest.raises(ValueError, match=r"got nan at \(1, 0\)"):
        check.real_array("x", [[1e300, 1.0], [np.nan, np.inf]], ("n", "d"))


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_real_array_returns_every_finite_float_unchanged(values):
    assert check.real_array("x", values, ("n",)).tolist() == values


def test_real():
    assert check.real("a", np.float32(0.5)) == 0.5
    assert check.real("a", 0, minimum=0) == 0.0
    with pytest.raises(ValueError, match=r"a: expected a positive number, got 0\.0"):
        check.real("a", 0, positive=True)
    with pytest.raises(ValueError, match=r"a: expected a number of at least 1, got 0\.5"):
        check.real("a", 0.5, minimum=1)
    for bad in (np.nan, "1", True, None, [1.0], 1j):
        with pytest.raises(ValueError, match=r"^a: expected"):
            check.real("a", bad)


def test_integer():
    assert check.integer("k", np.int8(3), minimum=3) == 3
    assert type(check.integer("k", np.uint64(3), minimum=0)) is int
    for bad in (3.0, np.float64(3), "3", None, True, np.True_, [3], np.array([3])):
        with pytest.raises(ValueError, match=r"^k: expected an integer, got"):
            check.integer("k", bad, minimum=0)
    with pytest.raises(ValueError, match="k: expected an integer of at least 1, got 0"):
        check.integer("k", 0, minimum=1)


def test_signs():
    labels = check.signs("y", np.array([1.0, -1.0], np.float32), 2)
    assert labels.tolist() == [1, -1]
    assert labels.dtype == np.int64
    for bad, got in (([0, 1], "0"), ([1, 2], "2"), ([0.5, 1], "0.5")):
        with pytest.raises(ValueError, match=rf"y: expected labels in {{-1, \+1}}, got {got}$"):
            check.signs("y", bad, 2)
    with pytest.raises(ValueError, match="y: expected an array of real numbers, got dtype bool"):
        check.signs("y", [True, False], 2)


def test_signs_of_what_is_said():
    with pytest.raises(ValueError, match=r"y: expected labels in {-1, \+1} of dogs, got 0$"):
        check.signs("y", [0], 1, of=" of dogs")


def test_instance():
    check.instance("net", 1, int)
    with pytest.raises(ValueError, match=r"^net: expected a str, got int$"):
        check.instance("net", 1, str)


def test_classes():
    labels = check.classes("y", [0.0, 2.0], 2, 3)
    assert labels.tolist() == [0, 2]
    assert labels.dtype == np.int64
    for bad, got in (([0, 3], "3"), ([-1, 0], "-1"), ([0.5, 0], "0.5")):
        with pytest.raises(ValueError, match=f"y: expected class integers from 0 to 2, got {got}$"):
            check.classes("y", bad, 2, 3)


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.longdouble, ">f8"])
def test_extended_array_takes_infinity(kind):
    result = check.extended_array("r", np.array([1, np.inf, -2], kind), ("n",))
    assert result.dtype == np.float64
    assert result.tolist() == [1.0, np.inf, -2.0]
    assert check.extended_array("r", [2**53, 1], (2,)).tolist() == [2.0**53, 1.0]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([np.inf, -np.inf], r"expected finite numbers, got -inf at \(1,\)"),
        ([np.inf, np.nan], r"expected finite numbers, got nan at \(1,\)"),
        ([[np.inf]], r"expected real numbers of shape \(n,\), got shape \(1, 1\)"),
        ([], r"expected real numbers of shape \(n,\), n at least 1, got shape \(0,\)"),
        (["inf"], "expected an array of real numbers, got dtype"),
        ([np.inf, [1]], "expected an array of real numbers, got list"),
        ([2**53 + 1], "expected numbers that float64 holds exactly, got int64"),
        (
            np.array([2**64 - 1], np.uint64),
            "expected numbers that float64 holds exactly, got uint64",
        ),
    ],
)
def test_extended_array_refuses_by_name(value, message):
    with pytest.raises(ValueError, match=f"^r: {message}"):
        check.extended_array("r", value, ("n",))


def test_choice():
    assert check.choice("ties", "robust", ("adversarial", "robust")) == "robust"
    for bad in ("Robust", None, ["robust"], b"robust"):
        with pytest.raises(ValueError, match="ties: expected 'adversarial' or 'robust', got"):
            check.choice("ties", bad, ("adversarial", "robust"))


@pytest.mark.parametrize("value", [1, 2.0, np.int64(1), np.float32(2), np.inf, math.inf])
def test_check_norm(value):
    norm = check.check_norm(value)
    assert type(norm) is float
    assert norm == value


@pytest.mark.parametrize("bad", [0, 3, -np.inf, np.nan, True, "2", "inf", None, [2], 1j])
def test_check_norm_refuses(bad):
    with pytest.raises(ValueError, match=r"^norm: expected 1, 2 or numpy\.inf, got "):
        check.check_norm(bad)


@pytest.mark.parametrize(
    ("box", "lo", "hi"),
    [
        ((0, 1), [0, 0], [1, 1]),
        ([0.0, np.float32(1)], [0, 0], [1, 1]),
        ((-np.inf, 1), [-np.inf] * 2, [1, 1]),
        (([0, -np.inf], [np.inf, 0.5]), [0, -np.inf], [np.inf, 0.5]),
        ((0.25, [0.5, 2]), [0.25, 0.25], [0.5, 2]),
        (np.array([[0, 0.25], [0.5, 1]]), [0, 0.25], [0.5, 1]),
        ((np.array(0, np.uint8), np.array([1, 1], np.uint8)), [0, 0], [1, 1]),
    ],
)
def test_check_box(box, lo, hi):
    found = check.check_box(box, np.array([[0.5, 0.5], [0.5, 0.25]]))
    assert [side.tolist() for side in found] == [lo, hi]
    assert all(side.dtype == np.float64 and side.shape == (2,) for side in found)


def test_check_box_of_none():
    assert check.check_box(None, np.zeros((1, 2))) is None


@pytest.mark.parametrize(
    ("box", "message"),
    [
        (1, r"box: expected a pair \(lo, hi\), got 1"),
        ((0, 1, 2), r"box: expected a pair \(lo, hi\), got \(0, 1, 2\)"),
        ((0, np.nan), r"box: expected finite numbers, got nan"),
        ((0, [1, 1, 1]), r"box: expected real numbers of shape \(2,\), got shape \(3,\)"),
        ((0, [[1, 1]]), r"box: expected real numbers of shape \(2,\), got shape \(1, 2\)"),
        (("0", 1), r"box: expected an array of real numbers, got dtype"),
        ((None, 1), r"box: expected an array of real numbers, got dtype object"),
        (([0, 2], 1), "box: expected no lo above its hi, got 2 above 1 in coordinate 1"),
        ((0, [1, 0.5]), r"x: expected samples in the box, got 1.0 at \(0, 1\), not in \[0.0, 0.5"),
        ((-np.inf, -np.inf), r"x: expected samples in the box, got 0.5 at \(0, 0\), not in \[-inf"),
    ],
)
def test_check_box_refuses(box, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        check.check_box(box, np.array([[0.5, 1.0]]))


@pytest.mark.parametrize(
    "value",
    [
        np.ma.masked_array([1.0, 2.0], [False, True]),
        np.ma.masked_invalid([1.0, np.nan]),
        np.ma.masked_array([1, 2], True),
        [np.ma.masked_array([1.0], [True]), np.ma.masked_array([1.0])],
        np.ma.masked,
        [1.0, np.ma.masked],
    ],
)
def test_masked_numbers_are_refused_as_nan_is(value):
    with pytest.raises(ValueError, match=r"^x: expected numbers without a mask, got a masked"):
        check.real_array("x", value, ("n",))
    with pytest.raises(ValueError, match=r"^x: expected numbers without a mask, got a masked"):
        check.extended_array("x", value, ("n",))


def test_masked_array_with_nothing_masked_is_an_array():
    assert check.real_array("x", np.ma.masked_array([1, 2], [False] * 2), (2,)).tolist() == [1, 2]


def test_generator_takes_seeds_seed_sequences_and_generators():
    rng = np.random.default_rng(7)
    assert check.generator(rng) is rng
    draws = {check.generator(seed).random() for seed in (7, np.int64(7), np.random.SeedSequence(7))}
    assert draws == {np.random.default_rng(7).random()}


@pytest.mark.parametrize("bad", [None, -1, 1.0, True, "7", [7], np.random.RandomState(7)])
def test_generator_refuses(bad):
    with pytest.raises(ValueError, match=r"^rng: expected a non-negative int seed or a numpy"):
        check.generator(bad)


def test_frozen_is_a_read_only_copy():
    original = np.array([1.0, 2.0])
    copy = check.frozen(original)
    original[0] = 5.0
    assert copy.tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="read-only"):
        copy[0] = 5.0
