"""population.rate_test."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..arguments import integer, number
from ..model.base import BaseModel
from .cross_validation import LearningRateTest
from .fit import fit_many


def learning_rate_test(
    model: BaseModel,
    x: Any,
    y: Any,
    *,
    low: float = 1e-5,
    high: float = 1.0,
    rates: int = 32,
    starts: int = 4,
    epochs: int = 3,
    batch_size: int | None = 32,
    seed: int = 0,
    n_threads: int | None = None,
) -> LearningRateTest:
    """Train a few starts with each of many learning rates, all at once, and say which rate learns fastest.

    Parameters
    ----------
    model : Model
        Compiled; it is not changed.
    x, y, epochs, batch_size, n_threads
        As in `Model.fit`.
    low, high : float
        The smallest and the largest rate; the others lie evenly between their logarithms.
    rates, starts : int
        How many rates, and nets for each.
    seed : int
        Of the first net of each rate.

    Returns
    -------
    LearningRateTest
    """
    where = "learning_rate_test"
    low = number(f"{where}: low", low, above=0)
    high = number(f"{where}: high", high, above=low)
    rates, starts = integer(f"{where}: rates", rates, least=2), integer(f"{where}: starts", starts, least=1)
    each = np.exp(np.linspace(math.log(low), math.log(high), rates))
    seeds = np.tile(np.arange(starts, dtype=np.uint64) + np.uint64(seed), rates)
    population = fit_many(
        model, x, y, epochs=epochs, batch_size=batch_size, learning_rate=np.repeat(each, starts), seed=seeds, verbose=0,
        n_threads=n_threads,
    )  # fmt: skip
    if population.interrupted:
        raise KeyboardInterrupt
    ended = population.losses.reshape(rates, starts)
    first = population.history[0].reshape(rates, starts)[0]  # with the smallest rate: as good as before any step
    with np.errstate(invalid="ignore"):
        bad = ~(np.isfinite(ended) & (ended <= 2 * first))
    losses = np.median(np.where(np.isfinite(ended), ended, np.inf), axis=1)
    share = bad.mean(axis=1)
    usable = np.where(share == 0, losses, np.inf)
    best = int(np.argmin(usable if np.isfinite(usable).any() else losses))
    return LearningRateTest(each, losses, share, float(each[best]))
