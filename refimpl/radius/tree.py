"""Trees of branch and bound, one for each target, and the certificates in them (E33)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from refimpl._arrays import Array, IntArray
from refimpl.certificate import Certificate, Cuts
from refimpl.radius.geometry import Target
from refimpl.radius.leaf import Multipliers
from refimpl.radius.narrowing import Narrowing
from refimpl.radius.problem import Problem


@dataclass(eq=False)
class Node:
    """A part of one target's set, and how it was searched.

    `signs` (M,) are the path: 1 where a neuron was split and is on, -1 where it is off, 0 else.
    lo <= z <= up (M,) wherever the part has an adversarial point within the ball. No such point is
    nearer than `lower`; the multipliers by themselves show `proved`, which may be less, since
    `lower` may be that of a node above.

    Below it there is one of three things, or nothing yet. `children`: its halves, on and off, split
    at `neuron`. Or `rest`: what is left of it after `excluded`, halves that neurons split off one
    after the other and that hold nothing within the goal, and after the `narrowing` of its
    intervals. Or `pieces`: neurons such that the full tree over them is proved, every leaf by the
    node's own multipliers.
    """

    problem: Problem
    signs: IntArray
    lo: Array
    up: Array
    lower: float
    multipliers: Multipliers
    planes: IntArray
    neuron: int = -1  # -1 where nothing is left to split
    curved: bool = False  # whether its halves are bounded by parabolas
    warm: Multipliers | None = None  # on all neurons, to start the next climb from
    proved: float = 0.0
    children: tuple[Node, Node] | None = None
    excluded: tuple[Node, ...] = ()
    narrowing: tuple[Narrowing, ...] = ()
    rest: Node | None = None
    pieces: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self.proved = self.lower

    @property
    def end(self) -> Node:
        """What is left of the node to search."""
        node = self
        while node.rest is not None:
            node = node.rest
        return node


class Rows:
    """A certificate in the making: its splits, and the multipliers and cuts of its rows."""

    def __init__(self) -> None:
        self.splits: list[int] = []
        self.leaves: list[Node] = []
        self.multipliers: list[Multipliers] = []
        self.steps: list[tuple[int, Narrowing]] = []

    def leaf(self, node: Node) -> None:
        """Add a node that nothing is below, or the full tree over its pieces."""
        self.splits += full_tree(node.pieces)
        self.leaves += [node] * 2 ** len(node.pieces)
        self.multipliers += [node.problem.multipliers(node.multipliers)] * 2 ** len(node.pieces)

    def step(self, node: Node, narrowing: Narrowing) -> None:
        """Add a narrowing step."""
        named = narrowing._replace(neuron=node.problem.name(narrowing.neuron))
        self.steps.append((len(self.multipliers), named))
        self.splits.append(-2)
        self.multipliers.append(node.problem.multipliers(narrowing.multipliers))


def rows(trees: list[Node], lower: float) -> Rows:
    """Rows of a certificate for the radius `lower`, in preorder.

    A node whose own multipliers prove that much is a leaf, whatever was searched below it.
    """
    found = Rows()
    pending = [(tree, 0) for tree in reversed(trees)]  # a node, and how many halves it is without
    while pending:
        node, position = pending.pop()
        if position == 0 and (node.proved >= lower or (node.rest or node.children) is None):
            found.leaf(node)
        elif position < len(node.excluded):
            leaf = node.excluded[position]
            found.splits.append(int(leaf.problem.name(leaf.neuron)))
            halves = [(leaf, 0), (node, position + 1)]
            pending += halves if leaf.signs[leaf.neuron] < 0 else reversed(halves)
        elif node.rest is not None:
            for narrowing in node.narrowing:
                found.step(node, narrowing)
            pending.append((node.rest, 0))
        elif node.children is not None:
            found.splits.append(int(node.problem.name(node.neuron)))
            pending += [(half, 0) for half in reversed(node.children)]
    return found


def parts(trees: list[Node]) -> list[Node]:
    """Nodes that nothing is below: they hold all of the targets' sets within the ball."""
    return rows(trees, math.inf).leaves


def full_tree(neurons: tuple[int, ...]) -> list[int]:
    """Preorder splits of the tree that splits every neuron on every path.

    >>> full_tree((4, 7))
    [4, 7, -1, -1, 7, -1, -1]
    """
    tree = [-1]
    for neuron in reversed(neurons):
        tree = [neuron, *tree, *tree]
    return tree


def certificate(trees: list[Node], lower: float) -> Certificate:
    """Certificate of one sample for the radius `lower`, from its targets' trees."""
    found = rows(trees, lower)
    w, tau, nu = (np.array([m[i] for m in found.multipliers]) for i in range(3))
    return Certificate(np.array(found.splits), w, tau, nu, *_second_version(found))


def _second_version(found: Rows) -> tuple[Any, ...]:
    """kappa, ball and cuts, where a row has any."""
    kappa = ball = cuts = None
    if any(m.kappa is not None for m in found.multipliers):
        none = np.zeros_like(found.multipliers[0].tau)
        kappa = np.array([none if m.kappa is None else m.kappa for m in found.multipliers])
        ball = np.array([m.ball for m in found.multipliers])
    if found.steps:
        row = np.repeat([row for row, _ in found.steps], [len(s.neuron) for _, s in found.steps])
        columns = zip(*(step[1:] for _, step in found.steps), strict=True)
        cuts = Cuts(row, *(np.concatenate(column) for column in columns))
    return () if kappa is None and cuts is None else (kappa, ball, cuts)


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
