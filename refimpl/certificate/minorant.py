"""The minorant of sum_i w_i g_i that a row of a certificate stands for (E33, E35)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from refimpl.certificate.form import Numbers, Rows


class Lines(NamedTuple):
    """Lines slope z_r + offset above ReLU(z_r) on the intervals at hand, all (n,M).

    They hold where `bounded`; `bent`: lo_r < 0 < up_r; `empty` (n,): some cut contradicts the path,
    the region or another cut.
    """

    slope: Numbers
    offset: Numbers
    bounded: Numbers
    bent: Numbers
    empty: Numbers


class Minorant(NamedTuple):
    """l0 + <q, z(delta) - z> less parabolas, for n rows.

    With N where `parabola`: constant (n,) + <q, z(delta)> - sum_N |gamma_r| kappa_r (z_r(delta) +
    s_r)^2; the ball's term is not in it. All lines that it needs exist where `usable` (n,).
    """

    v: Numbers
    gamma: Numbers
    q: Numbers
    constant: Numbers
    parabola: Numbers
    usable: Numbers


def intervals(rows: Rows, lo: Numbers, up: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Intervals at hand (n,M), from those of the region (M,), and which rows (n,) are empty."""
    lo, up = np.maximum(lo, rows.lo), np.minimum(up, rows.up)
    off_path = rows.phase == 0
    below = np.where(off_path | (rows.phase < 0), lo, np.maximum(lo, 0))
    above = np.where(off_path | (rows.phase > 0), up, np.minimum(up, 0))
    cut = np.isfinite(rows.lo) | np.isfinite(rows.up)
    return lo, up, np.any(cut & (below > above), axis=1)


def minorant(rows: Rows, A: Numbers, c: Numbers, lines: Lines) -> Minorant:
    """Work out the one formula of both arithmetics: the arrays hold floats or fractions."""
    free = rows.phase == 0
    v = (rows.weights[:, None] @ rows.D)[:, 0]
    gamma = v @ A
    parabola = free & lines.bent & (gamma < 0) & (rows.kappa > 0)  # (E34)
    line = np.where(free, lines.slope, np.maximum(rows.phase, 0))
    q = gamma * np.where(gamma >= 0, rows.tau, line) - rows.phase * rows.nu  # (E33)
    chords = np.minimum(gamma, 0) * np.where(free & ~parabola, lines.offset, 0)
    usable = ((gamma >= 0) | ~free | lines.bounded).all(axis=1)
    return Minorant(
        v, gamma, np.where(parabola, 0, q), v @ c + chords.sum(axis=1), parabola, usable
    )
