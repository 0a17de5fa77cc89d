"""The choice of an engine for a population: all nets in one call of a compiled engine, or one engine per net."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ..arrays import Array
from . import cuda, native
from .gpu import require
from .protocol import PopulationEngine
from .serial import SerialPopulation


def why_one_by_one(
    device: str, program: dict[str, Any], training: dict[str, Any], batch_rows: int, own: Collection[str] = ()
) -> str:
    """Why the nets of a population have to be trained one by one on `device`; empty if they need not.

    Parameters
    ----------
    device : {"cpu", "cuda", "reference"}
    program, training : dict
        What the nets are and what is optimised, as engines take it.
    batch_rows : int
        Rows of the largest batch.
    own : collection of str
        What nets have for themselves: names as of `make_population_engine`, and "order_seed".
    """
    if device == "cpu":
        return native.why_not_lanes(program, training, batch_rows)
    if device == "cuda":
        unknown = sorted(set(own) - {"penalty"})
        if unknown:
            return f"each has its own {' and '.join(unknown)}, which the GPU's kernel for many nets does not know"
        return str(require().why_not_fused(program, training, batch_rows))
    return "the reference trains one net at a time"


def make_population_engine(
    device: str, program: dict[str, Any], seeds: Array, numbers: dict[str, Array], *, one_by_one: bool
) -> PopulationEngine:
    """Make the engine of a population.

    Parameters
    ----------
    device : {"cpu", "cuda", "reference"}
    program : dict
    seeds : ndarray of uint64, shape (starts,)
    numbers : dict of ndarray of float64
        What the nets have for themselves, by name, (starts,) each: "penalty" (factor of every penalty),
        "weight_decay", "label_smoothing", and "dropout", which is (starts, dropout ops). What is missing is as in
        program and training.
    one_by_one : bool
        Whether each net gets an engine of its own.
    """
    if one_by_one:
        return SerialPopulation(device, program, seeds, numbers)
    if device == "cuda":
        return cuda.PopulationEngine(program, seeds, numbers)
    return native.population(program, seeds, numbers)
