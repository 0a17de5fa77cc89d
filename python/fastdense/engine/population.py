"""The choice of an engine for a population: all nets in one call of a compiled engine, or one engine per net."""

from __future__ import annotations

from typing import Any

from ..arrays import Array
from . import cuda, native
from .gpu import require
from .protocol import PopulationEngine
from .serial import SerialPopulation


def why_one_by_one(device: str, program: dict[str, Any], training: dict[str, Any], batch_rows: int) -> str:
    """Why the nets of a population have to be trained one by one on `device`; empty if they need not.

    Parameters
    ----------
    device : {"cpu", "cuda", "reference"}
    program, training : dict
        What the nets are and what is optimised, as engines take it.
    batch_rows : int
        Rows of the largest batch.
    """
    if device == "cpu":
        return native.why_not_lanes(program, training, batch_rows)
    if device == "cuda":
        return str(require().why_not_fused(program, training, batch_rows))
    return "the reference trains one net at a time"


def make_population_engine(
    device: str, program: dict[str, Any], seeds: Array, penalties: Array | None, *, one_by_one: bool
) -> PopulationEngine:
    """Make the engine of a population.

    Parameters
    ----------
    device : {"cpu", "cuda", "reference"}
    program : dict
    seeds : ndarray of uint64, shape (starts,)
    penalties : ndarray of shape (starts,), optional
        Factor of every penalty of each net.
    one_by_one : bool
        Whether each net gets an engine of its own.
    """
    if one_by_one:
        return SerialPopulation(device, program, seeds, penalties)
    if device == "cuda":
        return cuda.PopulationEngine(program, seeds, penalties)
    return native.population(program, seeds, penalties)
