"""Learning-rate range test."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import integer, number
from ..arrays import Array, check_memory
from ..model.base import BaseModel
from ..plots.base import pyplot
from .arguments import MAX_SEED
from .fit import fit_many

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class LearningRateTest:
    """Result of `learning_rate_test`.

    Attributes
    ----------
    learning_rates : ndarray of shape (rates,)
    losses : ndarray of shape (rates,)
        Median over the starts of the loss after training with each rate.
    diverged : ndarray of shape (rates,)
        Fraction of the starts whose loss is not finite, or more than twice the initial one.
    suggestion : float
        The rate with the smallest loss among those for which no start diverged.
    """

    learning_rates: Array
    losses: Array
    diverged: Array
    suggestion: float

    def __repr__(self) -> str:
        low, high = self.learning_rates[0], self.learning_rates[-1]
        return f"<LearningRateTest of {len(self.losses)} rates from {low:.3g} to {high:.3g}: {self.suggestion:.3g}>"

    def plot(self) -> Figure:
        """Draw the loss over the learning rate; needs matplotlib."""
        figure, axis = pyplot("plot").subplots(figsize=(5.2, 3.6))
        finite = np.isfinite(self.losses)
        axis.plot(self.learning_rates[finite], self.losses[finite], marker=".")
        axis.axvline(self.suggestion, linestyle=":", color="gray")
        axis.set(xscale="log", xlabel="learning rate", ylabel="loss", title=f"suggested: {self.suggestion:.3g}")
        drawn: Figure = figure
        return drawn


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
    """Train a few starts with each of many learning rates at once, and suggest the rate that learns fastest.

    Parameters
    ----------
    model : Model
        Compiled; it is not changed.
    x, y, epochs, batch_size, n_threads
        As in `Model.fit`.
    low, high : float
        The smallest and the largest rate; the rates are spaced evenly on a logarithmic scale.
    rates, starts : int
        Number of rates, and of nets for each.
    seed : int
        Seed of the first net of each rate.

    Returns
    -------
    LearningRateTest
    """
    where = "learning_rate_test"
    low = number(f"{where}: low", low, above=0)
    high = number(f"{where}: high", high, above=low)
    rates, starts = integer(f"{where}: rates", rates, least=2), integer(f"{where}: starts", starts, least=1)
    seed, epochs = integer(f"{where}: seed", seed, least=0, most=MAX_SEED), integer(f"{where}: epochs", epochs, least=1)
    check_memory(where, 8 * rates * starts, f"training {rates} rates with {starts} starts", "use fewer")
    each = np.exp(np.linspace(math.log(low), math.log(high), rates))
    seeds = np.tile(np.arange(starts, dtype=np.uint64) + np.uint64(seed), rates)
    population = fit_many(
        model, x, y, epochs=epochs, batch_size=batch_size, learning_rate=np.repeat(each, starts), seed=seeds, verbose=0,
        n_threads=n_threads,
    )  # fmt: skip
    ended = population.losses.reshape(rates, starts)
    first = population.history[0].reshape(rates, starts)[0]  # with the smallest rate: almost the initial loss
    with np.errstate(invalid="ignore"):
        bad = ~(np.isfinite(ended) & (ended <= 2 * first))
    losses = np.median(np.where(np.isfinite(ended), ended, np.inf), axis=1)
    diverged = bad.mean(axis=1)
    usable = np.where(diverged == 0, losses, np.inf)
    best = int(np.argmin(usable if np.isfinite(usable).any() else losses))
    return LearningRateTest(each, losses, diverged, float(each[best]))
