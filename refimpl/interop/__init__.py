"""Networks from and for other frameworks: read right, or refused.

Every network that is read is compared with the original, evaluated by its own framework at points
of many scales (`refimpl.interop.comparison`). That decides, not the names of classes. No framework
is imported before it is needed.
"""

from __future__ import annotations

from refimpl.interop.onnx_files import from_onnx, to_onnx
from refimpl.interop.pytorch import from_torch, to_torch
from refimpl.interop.scikit_learn import from_sklearn

__all__ = ["from_onnx", "from_sklearn", "from_torch", "to_onnx", "to_torch"]
