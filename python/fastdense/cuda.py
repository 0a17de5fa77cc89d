"""The GPU for ``device="cuda"``. Importing this module never fails and loads nothing of CUDA; calling it does.

>>> import fastdense as fd
>>> device = "cuda" if fd.cuda.is_available() else "cpu"
"""

from __future__ import annotations

from .engine.gpu import CudaUnavailable, device_info, is_available

__all__ = ["CudaUnavailable", "device_info", "is_available"]
