"""Which compiled engine is under test: the CPU's, or the one for GPUs on a GPU or emulated."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fastdense
from fastdense import _core
from fastdense.engine import gpu as cuda

_under_test = "cpu"


def load_emulated(path: str) -> None:
    """Put the emulated module in place of the one for GPUs."""
    spec = importlib.util.spec_from_file_location("fastdense._cuda", path)
    assert spec is not None and spec.loader is not None, f"no module at {path}"
    module = importlib.util.module_from_spec(spec)
    sys.modules["fastdense._cuda"] = module
    spec.loader.exec_module(module)
    fastdense._cuda = module  # type: ignore[attr-defined]


CUDA = ["cuda", "cuda fused"]  # layer by layer; the fused kernel wherever it can
PATHS = {"cuda": "layers", "cuda fused": "fused", "cuda blocks": "blocks"}  # the last: all processors share a net


def available() -> list[str]:
    return ["cpu", *CUDA] if cuda.is_available() else ["cpu"]


def under_test() -> str:
    return _under_test


@contextmanager
def testing(device: str) -> Iterator[None]:
    global _under_test
    before, _under_test = _under_test, device
    _choose_path(device)
    yield
    _under_test = before
    _choose_path(before)


def _choose_path(device: str) -> None:
    if cuda.is_available():
        cuda.require().set_path(PATHS.get(device, "auto"))


def compiled_engine(program: dict[str, Any]) -> Any:
    """An engine of the device under test."""
    if _under_test == "cpu":
        return _core.Engine(program)
    from fastdense.engine import cuda as cuda_engine

    return cuda_engine.Engine(program)


def compiled_population(program: dict[str, Any], seeds: Any, numbers: Any = None) -> Any:
    """Many nets of the device under test."""
    if _under_test == "cpu":
        return _core.Population(program, seeds, numbers or {})
    from fastdense.engine import cuda as cuda_engine

    return cuda_engine.PopulationEngine(program, seeds, numbers or {})
