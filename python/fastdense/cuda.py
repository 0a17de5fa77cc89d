"""GPU support: whether ``device="cuda"`` can be used, and on which GPU. Importing this module loads nothing of CUDA.

>>> import fastdense as fd
>>> device = "cuda" if fd.cuda.is_available() else "cpu"
"""

from __future__ import annotations

from .engine.gpu import CudaUnavailable, device_info, is_available

__all__ = ["CudaUnavailable", "device_info", "is_available"]
