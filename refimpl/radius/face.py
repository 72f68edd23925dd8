"""Faces of a box, on one of which a quadratic has its least point (E40).

With the sides' multipliers sigma in R^d, positive above and negative below, Q(delta) + <sigma,
delta> - sum sigma_j^+ b_j - sum sigma_j^- a_j is no more than Q where -a <= delta <= b. The best
sigma is that of Q's least point in the box: minus its gradient in the coordinates that the box
holds there, 0 in all others. Q is then what it is on the face where these are held, as a function
of the others, and that is once more a quadratic of E35: with the Gram matrix of the weights that
are left, with z and the affine term at the held coordinates, and with R^2 less their squares.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from refimpl._arrays import Array
from refimpl.radius.geometry import Flags


class Face(NamedTuple):
    """What a part is on a face: its Gram matrix (m,m), z (m,), affine term and R^2.

    The affine term is `value` + <u, delta>, u = W^T q, with `q_square` = ||u||^2 and `q_gram` = W u
    (m,). In a box `held` (d,) tells which coordinates are, at the sides `place` (d,), 0 elsewhere.
    """

    gram: Array
    z: Array
    value: float
    q_square: float
    q_gram: Array
    square: float
    held: Flags | None = None
    place: Array | None = None


class Box:
    """The faces of one part in -a <= delta <= b, with W (d,m) and u = W^T q (d,)."""

    def __init__(self, W: Array, u: Array, a: Array, b: Array, whole: Face) -> None:
        self.W, self.u, self.a, self.b, self.whole = W, u, a, b, whole

    def clip(self, delta: Array) -> Array:
        """Nearest point of the box."""
        return np.clip(delta, -self.a, self.b)

    def move(self, face: Face, pull: Array) -> Face:
        """Face where all is held that lies on or beyond a side; the same one if it is."""
        low, high = pull <= -self.a, pull >= self.b
        held: Flags = low | high
        before = np.zeros_like(held) if face.held is None else face.held
        place = np.where(low, -self.a, np.where(high, self.b, 0.0))
        changed = np.flatnonzero(held != before)
        if len(changed) == 0 and (face.place is None or np.array_equal(place, face.place)):
            return face
        rows, whole = self.W[changed], self.whole
        gram = face.gram + rows.T @ (np.where(held[changed], -1.0, 1.0)[:, None] * rows)
        u = np.where(held, 0.0, self.u)  # (E40)
        return Face(
            *(gram, whole.z + place @ self.W, whole.value + float(self.u @ place)),
            *(float(u @ u), u @ self.W, whole.square - float(place @ place)),
            *(held, place),
        )
