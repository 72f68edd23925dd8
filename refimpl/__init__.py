"""Reference implementation of feature averaging in two-layer ReLU networks, in NumPy.

Start with `ClusterDistribution`, `TwoLayerReLU`, `gradient_descent` and `robust_radius`; the
equations behind them are listed in `refimpl.equations`. The submodules `theory`, `interop`,
`datasets`, `strategies` and `conformance` are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from refimpl.adversarial_training import AdversarialTrajectory, adversarial_training
from refimpl.attacks import closed_form_attack, closed_form_direction, linear_region_attack
from refimpl.certificate import Certificate, CertificateError, verify_certificate
from refimpl.certificate_files import CertificateFile, load_certificates, save_certificates
from refimpl.decisions import GroupMax, GroupSum
from refimpl.decomposition import Decomposition, cosine_matrix, decompose
from refimpl.distribution import ClusterDistribution, Sample
from refimpl.gradients import Gradients, input_gradient, loss_and_gradients
from refimpl.minimum_norm import minimum_norm_attack
from refimpl.network import TwoLayerReLU
from refimpl.pgd import pgd_attack
from refimpl.radius import AttackGap, RobustRadius, attack_gap, robust_accuracy, robust_radius
from refimpl.smallest_step import smallest_step
from refimpl.training import Trajectory, gradient_descent

__version__ = "0.2.0"

__all__ = [
    "AdversarialTrajectory",
    "AttackGap",
    "Certificate",
    "CertificateError",
    "CertificateFile",
    "ClusterDistribution",
    "Decomposition",
    "Gradients",
    "GroupMax",
    "GroupSum",
    "RobustRadius",
    "Sample",
    "Trajectory",
    "TwoLayerReLU",
    "adversarial_training",
    "attack_gap",
    "closed_form_attack",
    "closed_form_direction",
    "cosine_matrix",
    "decompose",
    "gradient_descent",
    "input_gradient",
    "linear_region_attack",
    "load_certificates",
    "loss_and_gradients",
    "minimum_norm_attack",
    "pgd_attack",
    "robust_accuracy",
    "robust_radius",
    "save_certificates",
    "smallest_step",
    "verify_certificate",
]

_SUBMODULES = (
    "conformance",
    "datasets",
    "equations",
    "interop",
    "strategies",
    "theory",
    "truth",
)


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return import_module(f"refimpl.{name}")
    raise AttributeError(f"module 'refimpl' has no attribute {name!r}")


def __dir__() -> list[str]:
    # Tools that get what they list (help, tab completion) would fail at a module that cannot load.
    missing = set() if find_spec("hypothesis") else {"strategies"}
    return sorted({*__all__, *_SUBMODULES, "__version__"} - missing)
