"""The one door to computing: what an engine must offer, and the choice of one by device name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .specs import suggestion

Array = NDArray[Any]
Progress = Callable[[int, float, float], None]
Validation = tuple[Array, Array, "Array | None"]

DEVICES = ("cpu", "cuda", "reference")


class Engine(Protocol):
    """The methods every engine has; docs/architecture.md gives their meaning.

    Arrays handed over were checked by `fastdense.data`; arrays handed back are copies. `n_threads` 0 leaves the number
    to the engine. Data for the engine of "cuda" may be CuPy arrays, each on its own: it reads them when the stream that
    their interface names has done its work, is done with them when it returns, and its answers lie where x does.
    """

    def get_tensors(self) -> list[Array]: ...

    def set_tensors(self, tensors: list[Array], /) -> None: ...

    def configure(self, training: dict[str, Any], /) -> None: ...

    def get_state(self) -> dict[str, Any]: ...

    def set_state(self, state: dict[str, Any], /) -> None: ...

    def train(
        self,
        x: Array,
        y: Array,
        w: Array | None,
        val: Validation | None,
        *,
        batch_size: int,
        shuffle: bool,
        epoch: int,
        first_batch: int,
        learning_rates: Array,
        stop_on_nan: bool,
        progress: Progress | None,
        n_threads: int,
        goes_on: bool = False,
        probe_level: int | None = None,
        probe_first: bool = False,
    ) -> dict[str, Any]: ...

    def probe_period(self, rows: int, batch_size: int) -> int: ...

    def evaluate(self, x: Array, y: Array, w: Array | None, *, n_threads: int) -> Array: ...

    def predict_row(self, x: object, /) -> Array | None: ...

    def predict(self, x: Array, out: Array, *, n_threads: int) -> None: ...

    def loss_and_grad(
        self, x: Array, y: Array, w: Array | None, *, training: bool, n_threads: int
    ) -> tuple[float, list[Array]]: ...

    def solve_output(
        self, x: Array, y: Array, w: Array | None, *, ridge: float, n_threads: int
    ) -> tuple[Array, Array | None] | None: ...

    def activations(self, x: Array, *, n_threads: int) -> list[Array]: ...


def check_device(device: object) -> str:
    """Return `device` if it names a device, else raise with the nearest name."""
    if isinstance(device, str) and device in DEVICES:
        return device
    near = suggestion("cuda" if device == "gpu" else str(device), DEVICES)
    raise ValueError(f"device: {device!r} is not a device; needed: one of {', '.join(map(repr, DEVICES))}.{near}")


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
        What the net is, as docs/architecture.md describes it.

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
        from . import reference

        engine = reference.Engine(program)
        return engine
    if device == "cuda":
        from . import cuda, cuda_engine

        try:
            engine = cuda_engine.Engine(program)
        except cuda.CudaUnavailable as error:
            raise cuda.CudaUnavailable(f"device: 'cuda' was asked for, but {error}") from error
        return engine
    try:
        from . import _core
    except ImportError as error:
        if "FASTDENSE_ISA" in str(error):
            raise RuntimeError(f"device: 'cpu' cannot be used: {error}; or unset FASTDENSE_ISA") from error
        raise RuntimeError(
            f"device: 'cpu' needs the compiled part of fastdense, which cannot be loaded ({error}); "
            "reinstall with pip install --force-reinstall fastdense, or use device='reference' (slow, NumPy only)"
        ) from error
    engine = _core.Engine(program)
    return engine
