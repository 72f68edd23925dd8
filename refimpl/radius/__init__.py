"""Exact robust radius of any one-hidden-layer ReLU network (E29 to E32, E37 to E39).

`solve` has `robust_radius`. Under it, `geometry` reduces a network to min(M, d) coordinates, and
`fast` bounds all pieces of all samples at once. What it leaves, `search` settles sample by sample,
by branch and bound over a `tree` of nodes: `ball` has what a ball does to the ReLUs, `leaf` what
multipliers prove, `relaxation` the convex problem of a node. `answer` turns a search into bounds
and a point that the network itself finds adversarial (`points`), with `ties` where nothing but
ties is, and `empty` where nothing is at all. `curves` has robust accuracy and attack gaps.

All of these are about the l2 ball, `ball`, or about another norm and a box, `region`, which has the
same methods: `support` bounds linear functions there, and `nearest` finds nearest points under a
few constraints, for p = 1 and inf by the `simplex` method.

`refimpl.certificate` checks the proofs and knows nothing of this package.
"""

from refimpl.radius.curves import AttackGap, attack_gap, robust_accuracy
from refimpl.radius.solve import RobustRadius, robust_radius

__all__ = ["AttackGap", "RobustRadius", "attack_gap", "robust_accuracy", "robust_radius"]
