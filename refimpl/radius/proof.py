"""Certificates (E33) of what the fast path and the search have found."""

from __future__ import annotations

import numpy as np

from refimpl._validation import Array, IntArray
from refimpl.certificate import Certificate
from refimpl.radius.geometry import Target
from refimpl.radius.search import Node


def full_tree(neurons: list[int]) -> list[int]:
    """Preorder splits of the tree that splits every neuron on every path.

    >>> full_tree([4, 7])
    [4, 7, -1, -1, 7, -1, -1]
    """
    tree = [-1]
    for neuron in reversed(neurons):
        tree = [neuron, *tree, *tree]
    return tree


def of_pieces(targets: list[Target], rows: list[IntArray], z: Array) -> list[Certificate]:
    """Certificates of samples that `fast.bound` has settled, from its `rows` and z (n,M)."""
    splits = np.concatenate([full_tree(target.branching.tolist()) for target in targets])
    row = np.concatenate(rows, axis=1)
    weights = np.eye(len(targets[0].beta))[row]
    tau = np.broadcast_to((z > 0)[:, None] * 1.0, (*row.shape, z.shape[1]))
    nu = np.broadcast_to(0.0, tau.shape[1:])
    return [Certificate(splits, weights[i], tau[i], nu) for i in range(len(z))]


def of_trees(trees: list[Node]) -> Certificate:
    """Certificate of one sample from the search's trees, one for each target."""
    splits: list[int] = []
    leaves: list[Node] = []
    pending = list(reversed(trees))
    while pending:
        node = pending.pop()
        if node.children:
            splits.append(node.neuron)
            pending += reversed(node.children)
        else:
            splits += full_tree(list(node.pieces))
            leaves += [node] * 2 ** len(node.pieces)
    columns = zip(*(leaf.multipliers for leaf in leaves), strict=True)
    return Certificate(np.array(splits), *(np.array(column) for column in columns))
