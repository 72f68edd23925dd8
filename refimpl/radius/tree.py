"""Trees of branch and bound, one for each target, and the certificates in them (E33)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refimpl._validation import Array, IntArray
from refimpl.certificate import Certificate
from refimpl.radius.geometry import Target
from refimpl.radius.leaf import Multipliers


@dataclass(eq=False)
class Node:
    """A part of one target's set, where neurons with signs (M,) are on, 1, or off, -1.

    `lower` bounds its distance, and the multipliers prove that. A node is a leaf, or split at
    `neuron` into `children`, on and off, or it has `excluded` halves, leaves that neurons split
    off one after the other, and a `rest`. A leaf with `pieces` stands for the full tree over these
    neurons, all leaves with its multipliers.
    """

    target: int
    signs: IntArray
    lower: float
    multipliers: Multipliers
    cuts: IntArray
    neuron: int = -1  # -1 where nothing is left to split
    children: tuple[Node, Node] | None = None
    excluded: tuple[Node, ...] = ()
    rest: Node | None = None
    pieces: tuple[int, ...] = ()

    @property
    def end(self) -> Node:
        """What is left of the node to search."""
        node = self
        while node.rest is not None:
            node = node.rest
        return node

    def inherit(self, parent: Node) -> None:
        """Take the bound of a node that this is a part of, where it is better."""
        if self.lower < parent.lower:
            self.lower, self.multipliers = parent.lower, parent.multipliers


def leaves(trees: list[Node]) -> tuple[list[int], list[Node]]:
    """Preorder splits of the trees as in a certificate, and a node for each leaf."""
    splits: list[int] = []
    found: list[Node] = []
    pending = [(tree, 0) for tree in reversed(trees)]  # a node, and how many halves it is without
    while pending:
        node, position = pending.pop()
        if position < len(node.excluded):
            leaf = node.excluded[position]
            splits.append(leaf.neuron)
            halves = [(leaf, 0), (node, position + 1)]
            pending += halves if leaf.signs[leaf.neuron] < 0 else reversed(halves)
        elif node.rest is not None:
            pending.append((node.rest, 0))
        elif node.children is not None:
            splits.append(node.neuron)
            pending += [(half, 0) for half in reversed(node.children)]
        else:
            splits += full_tree(node.pieces)
            found += [node] * 2 ** len(node.pieces)
    return splits, found


def full_tree(neurons: tuple[int, ...]) -> list[int]:
    """Preorder splits of the tree that splits every neuron on every path.

    >>> full_tree((4, 7))
    [4, 7, -1, -1, 7, -1, -1]
    """
    tree = [-1]
    for neuron in reversed(neurons):
        tree = [neuron, *tree, *tree]
    return tree


def certificate(trees: list[Node]) -> Certificate:
    """Certificate of one sample, from its targets' trees."""
    splits, found = leaves(trees)
    columns = zip(*(leaf.multipliers for leaf in found), strict=True)
    return Certificate(np.array(splits), *(np.array(column) for column in columns))


def certificates_of_pieces(
    targets: list[Target], rows: list[IntArray], z: Array
) -> list[Certificate]:
    """Certificates of samples that `fast.bound` has settled, from its `rows` and z (n,M)."""
    splits = np.concatenate([full_tree(tuple(target.branching.tolist())) for target in targets])
    row = np.concatenate(rows, axis=1)
    weights = np.eye(len(targets[0].beta))[row]
    tau = np.broadcast_to((z > 0)[:, None] * 1.0, (*row.shape, z.shape[1]))
    nu = np.broadcast_to(0.0, tau.shape[1:])
    return [Certificate(splits, weights[i], tau[i], nu) for i in range(len(z))]
