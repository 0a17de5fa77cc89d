"""The choice of an engine by the name of a device."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arguments import choice
from . import cuda, native
from .gpu import CudaUnavailable
from .protocol import Engine

DEVICES = ("cpu", "cuda", "reference")


def check_device(device: object) -> str:
    """Return `device` if it names a device, else raise and suggest the nearest name."""
    return choice("device", device, DEVICES, meant={"gpu": "cuda"})


def value_dtype(device: str, dtype: str) -> np.dtype[Any]:
    """The dtype in which the engine of `device` holds its tensors: the reference engine always works in float64.

    A bfloat16 net keeps float32 tensors and rounds what it multiplies.
    """
    return np.dtype(np.float64 if device == "reference" else np.float32 if dtype == "bfloat16" else dtype)


def make_engine(device: str, program: dict[str, Any]) -> Engine:
    """Make the engine that computes `program` on `device`.

    Parameters
    ----------
    device : {"cpu", "cuda", "reference"}
    program : dict
        What the net is, as docs/design/interface.md describes it.

    Raises
    ------
    ValueError
        If `device` is not a device.
    RuntimeError
        If this build has no engine for the device, or there is no GPU: then it is `fastdense.cuda.CudaUnavailable`.
    """
    check_device(device)
    engine: Engine
    if device == "reference":
        from .. import reference

        engine = reference.Engine(program)
        return engine
    if device == "cuda":
        try:
            engine = cuda.Engine(program)
        except CudaUnavailable as error:
            raise CudaUnavailable(f"device: 'cuda' was asked for, but {error}") from error
        return engine
    try:
        engine = native.engine(program)
    except ImportError as error:
        if "FASTDENSE_ISA" in str(error):
            raise RuntimeError(f"device: 'cpu' cannot be used: {error}; or unset FASTDENSE_ISA") from error
        raise RuntimeError(
            f"device: 'cpu' needs the compiled part of fastdense, which cannot be loaded ({error}); "
            "reinstall with pip install --force-reinstall fastdense, or use device='reference' (slow, NumPy only)"
        ) from error
    return engine
