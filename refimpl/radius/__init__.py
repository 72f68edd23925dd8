"""Exact l2 robust radius of any one-hidden-layer ReLU network (E29 to E32).

`solve` has `robust_radius`; under it, `geometry` reduces a network to min(M, d) coordinates, `fast`
bounds all pieces of all samples at once, `search` branches and bounds on what is left with the
convex problems of `relaxation`, `answer` turns a search into bounds and a point that the network
itself finds adversarial (`points`), and `proof` into a certificate. `refimpl.certificate` checks these
and knows nothing of this package. `curves` has robust accuracy and attack gaps.
"""

from refimpl.radius.curves import AttackGap, attack_gap, robust_accuracy
from refimpl.radius.solve import RobustRadius, robust_radius

__all__ = ["AttackGap", "RobustRadius", "attack_gap", "robust_accuracy", "robust_radius"]
