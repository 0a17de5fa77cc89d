"""The GPU of ``device="cuda"``: whether there is one, and what it is. Importing this loads nothing of CUDA.

>>> import fastdense as fd
>>> device = "cuda" if fd.cuda.is_available() else "cpu"
"""

from __future__ import annotations

import functools
import os
from importlib.util import find_spec
from typing import Any

from .loading import compiled_module

NOT_BUILT = (
    "this build of fastdense has no CUDA engine; use device='cpu' (the default), or install one that has: a wheel for "
    "Linux holds it, and a build does where there are a GPU and nvcc (FASTDENSE_CUDA=ON asks for nvcc alone)"
)


class CudaUnavailable(RuntimeError):
    """``device="cuda"`` cannot be used here; the message says what is missing: the engine, the driver or a device."""


def is_available() -> bool:
    """Whether models can go to ``device="cuda"``: this build has the engine, and there are a driver and a device.

    Returns
    -------
    bool
    """
    try:
        return bool(_module().device_count(False) > 0)
    except CudaUnavailable:
        return False


def device_info() -> dict[str, Any]:
    """What the GPU is that ``device="cuda"`` computes on.

    Returns
    -------
    dict
        "name" (str), "compute_capability" (str, e.g. "9.0"), "processors" (int), "memory_total" and "memory_free"
        (bytes), "driver_version" and "runtime_version" (str, e.g. "13.0": the newest CUDA that the driver knows, and
        that of this build).

    Raises
    ------
    CudaUnavailable
        If there is none.
    """
    info: dict[str, Any] = require().device_info()
    return info


def require() -> Any:
    """The compiled module, for an engine.

    Raises
    ------
    CudaUnavailable
        If this build has none, it cannot be loaded, or there is no driver or no device; the message says which.
    ValueError
        If the environment variable ``FASTDENSE_CUDA_TABLE`` names no table of GPUs.
    """
    module = _module()
    try:
        module.device_count(True)
    except module.CudaUnavailable as error:
        raise CudaUnavailable(f"{error}; use device='cpu' (the default)") from error
    from .tuning import set_tables  # only who uses a GPU needs it

    set_tables(module)
    return module


def _module() -> Any:
    """The compiled module, whether there is a device or not."""
    try:
        module = compiled_module("fastdense._cuda")
    except ModuleNotFoundError as error:
        raise CudaUnavailable(NOT_BUILT) from error
    except ImportError as error:
        raise CudaUnavailable(
            f"the CUDA engine of fastdense cannot be loaded ({error}); use device='cpu' (the default), or "
            "pip install --force-reinstall fastdense"
        ) from error
    _set_library_folders(module)
    return module


@functools.cache
def _set_library_folders(module: Any) -> None:
    module.set_library_folders(library_folders())


def library_folders() -> list[str]:
    """Folders in which packages of the ``nvidia`` namespace keep cuBLAS, first those that Python would take first.

    Returns
    -------
    list of str
        Absolute paths of folders that exist. cuBLASLt is opened from the first that has it, unless it is loaded.
    """
    spec = find_spec("nvidia")
    roots = [] if spec is None else list(spec.submodule_search_locations or [])
    folders = [os.path.join(os.path.abspath(p), *part) for p in roots for part in (("cu13", "lib"), ("cublas", "lib"))]
    return [folder for folder in folders if os.path.isdir(folder)]
