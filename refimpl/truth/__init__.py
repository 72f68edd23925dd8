"""Problems with exact radii, to hold attacks against the truth."""

from refimpl.truth.problem import Problem, Setting
from refimpl.truth.suite import absent, names, problem

__all__ = ["Problem", "Setting", "absent", "names", "problem"]
