"""How good is an attack? Problems with exact radii, and a judge that holds attacks against them.

`problem` makes one of the `names` of the suite, from a seed (`drawn`) or from images (`images`).
`judge` runs an attack on them, `report` prints the verdicts with likely causes, `figure` draws
them, and `ours` has the attacks of refimpl in the form that `judge` takes.
"""

from refimpl.truth.problem import Problem, Setting
from refimpl.truth.suite import absent, names, problem
from refimpl.truth.verdict import Verdict, judge

__all__ = ["Problem", "Setting", "Verdict", "absent", "judge", "names", "problem"]
