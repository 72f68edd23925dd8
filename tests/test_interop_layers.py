"""Foldings of a normalisation into an affine layer, against the two run one after the other."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tolerances import gamma

from refimpl import strategies
from refimpl.interop.layers import FOLD_ROUNDINGS, Layer, Normalisation


@st.composite
def normalisations(draw, n):
    shape = draw(st.sampled_from([(), (n,)]))
    mean, gain, offset = (draw(strategies.arrays(shape)) for _ in range(3))
    std = draw(st.lists(st.sampled_from([0.25, -1.0, 3.0]), min_size=n, max_size=n))
    return Normalisation(mean, np.array(std), gain, offset)


def exactly(normalisation, v):
    """(v - mean) / std * gain + offset in rationals."""
    fields = [np.broadcast_to(it, len(v)).tolist() for it in vars(normalisation).values()]
    return [
        (v_i - Fraction(m)) / Fraction(s) * Fraction(g) + Fraction(o)
        for v_i, m, s, g, o in zip(v, *fields, strict=True)
    ]


def applied(layer, v):
    """Exact weight v + bias, for weights of floats and v of rationals."""
    bias = np.zeros(len(layer.weight)) if layer.bias is None else layer.bias
    return [
        sum((Fraction(w) * v_i for w, v_i in zip(row, v, strict=True)), Fraction(b))
        for row, b in zip(layer.weight.tolist(), bias.tolist(), strict=True)
    ]


def within(layer, v, expected, n):
    bound = layer.weight_size @ np.abs(v) + layer.bias_size
    computed = applied(layer, [Fraction(value) for value in v.tolist()])
    for a, e, size in zip(computed, expected, bound, strict=True):
        assert abs(float(a - e)) <= gamma(n) * size * (1 + 2.0**-40) + 1e-300


@given(st.data())
def test_a_normalisation_before_a_layer(data):
    weight, bias, v = (data.draw(strategies.arrays(shape)) for shape in ((2, 3), (2,), (3,)))
    first = data.draw(normalisations(3))
    layer = Layer.of("fc", weight, data.draw(st.sampled_from([None, bias])))
    folded = layer.after(first)
    expected = applied(layer, exactly(first, [Fraction(value) for value in v.tolist()]))
    assert folded.roundings == 3 + FOLD_ROUNDINGS
    within(folded, v, expected, folded.roundings)


@given(st.data())
def test_a_normalisation_after_a_layer(data):
    weight, bias, v = (data.draw(strategies.arrays(shape)) for shape in ((2, 3), (2,), (3,)))
    last = data.draw(normalisations(2))
    layer = Layer.of("fc", weight, data.draw(st.sampled_from([None, bias])))
    folded = layer.then(last)
    expected = exactly(last, applied(layer, [Fraction(value) for value in v.tolist()]))
    assert folded.roundings == FOLD_ROUNDINGS
    within(folded, v, expected, FOLD_ROUNDINGS)


def test_sizes_are_of_what_was_added_before_it_cancelled():
    layer = Layer.of("fc", [[1.0]], [1e8]).after(Normalisation(mean=1e8))
    assert layer.bias.tolist() == [0.0]
    assert layer.bias_size.tolist() == [2e8]


@pytest.mark.parametrize(
    ("weight", "bias", "message"),
    [
        ([1.0], None, r"fc\.weight: expected real numbers of shape \(m, n\)"),
        ([[np.nan]], None, r"fc\.weight: expected finite numbers, got nan"),
        ([[1.0]], [1.0, 2.0], r"fc\.bias: expected real numbers of shape \(1,\)"),
        ([[1j]], None, r"fc\.weight: expected an array of real numbers, got dtype complex128"),
    ],
)
def test_what_is_no_layer_is_refused(weight, bias, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        Layer.of("fc", weight, bias)
