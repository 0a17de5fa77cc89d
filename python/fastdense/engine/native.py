"""What the compiled module for CPUs offers besides its engine: populations, random numbers, a scan of data.

Importing this loads nothing compiled; each function does when it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np

from ..arrays import Array
from .blas import one_numpy_thread
from .loading import compiled_module
from .protocol import Engine, PopulationEngine


def _core() -> Any:
    """The compiled module; ImportError if this installation has none."""
    return compiled_module("fastdense._core")


def calls_functions(program: dict[str, Any]) -> bool:
    """Whether a layer of a net is computed by functions of Python's."""
    return any(op["kind"] == "function" for op in program["ops"])


def engine(program: dict[str, Any]) -> Engine:
    """The engine of a net on the CPU."""
    made: Any = _core().Engine(program)
    if calls_functions(program):
        made = _CallsNumPy(made)
    return cast("Engine", made)


class _CallsNumPy:
    """An engine that calls functions of Python's, during whose calls NumPy computes with one thread.

    The engine's own threads wait meanwhile, and the bits do not depend on how many cores there are.
    """

    def __init__(self, made: Any) -> None:
        self._engine = made
        for name in ("train", "evaluate", "predict", "loss_and_grad", "vjp", "solve_output", "activations"):
            setattr(self, name, self._bounded(getattr(made, name)))

    @staticmethod
    def _bounded(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            with one_numpy_thread():
                return method(*args, **kwargs)

        return call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


def first_nonfinite(x: Array) -> int:
    """Offset of the first NaN or infinity in C order, -1 if there is none."""
    return int(_core().first_nonfinite(x))


def random_many(seeds: Array, index: int, n: int, kind: str) -> Array:
    """Random numbers (seeds, n), float64, of stream `index` of each seed.

    Parameters
    ----------
    seeds : ndarray of uint64
    index : int
    n : int
    kind : {"uniform", "normal", "truncated"}
    """
    return np.asarray(_core().random_many(seeds, index, n, kind))


def random_uniform(seed: int, index: int, n: int) -> Array:
    """Numbers from 0 to 1, float64, of stream `index`."""
    return np.asarray(_core().random_uniform(seed, index, n))


def random_normal(seed: int, index: int, n: int, truncated: bool) -> Array:
    """Normal numbers, float64, of stream `index`; `truncated`: none beyond two standard deviations."""
    return np.asarray(_core().random_normal(seed, index, n, truncated))


def shuffle_indices(n: int, seed: int, epoch: int) -> Array:
    """The order of n rows in an epoch, int64."""
    return np.asarray(_core().shuffle_indices(n, seed, epoch))


def available_threads() -> int:
    """How many threads this process may use."""
    return int(_core().available_threads())


@contextmanager
def asking(check: Callable[[], object]) -> Iterator[None]:
    """Let the compiled calls of this thread ask `check` about every 50 ms; what it raises ends the call.

    Python gives signals to its main thread only, so this is how calls in other threads end on Ctrl-C.
    """
    _core().ask_too(check)
    try:
        yield
    finally:
        _core().ask_too(None)


def single_kernels() -> Any:
    """The kernels of every instruction set one by one, for tests and measurements."""
    return _core().kernels


def build_info() -> dict[str, str]:
    """How the compiled module was built, and the instruction set in use."""
    return dict(_core().build_info())


def cpu_optimizers() -> list[str]:
    """Kinds of the optimizers that only the CPU's engine has: full-batch ones and K-FAC."""
    return list(_core().CPU_OPTIMIZERS)


def why_not_lanes(program: dict[str, Any], training: dict[str, Any], batch_rows: int) -> str:
    """Why these nets cannot share the lanes of vectors; empty if they can."""
    return str(_core().why_not_lanes(program, training, batch_rows))


def population(program: dict[str, Any], seeds: Array, numbers: dict[str, Array]) -> PopulationEngine:
    """A population whose nets share the lanes of vectors."""
    made: PopulationEngine = _core().Population(program, seeds, numbers)
    return made
