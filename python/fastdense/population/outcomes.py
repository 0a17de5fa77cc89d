"""Outcomes of the members of a population: converged, or which fault their nets ended with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import Array, to_host
from ..data.rows import Rows, evenly_spaced_rows
from ..initial.revival import constant_units
from ..losses import Loss
from ..model.base import BaseModel
from ..plots.outcomes import draw_outcomes
from ..runners.population import PopulationRunner

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# In the order of the table. If several apply, a member gets the first.
KINDS = {
    "diverged": "the loss is not finite, or much larger than at the beginning",
    "converged": "within the tolerance of the best loss",
    "constant": "the same output for every input",
    "moving": "the loss was still falling",
    "dead units": "not converged; hidden units have the same output for every row",
    "duplicate units": "not converged; hidden units have perfectly correlated outputs",
    "plateau": "converged to a worse local minimum; no dead or duplicate units",
}
ROWS = 256  # for which outputs are compared
CHUNK = 1 << 26  # elements of a temporary array, at most
CORRELATED = 0.999  # correlation of two units' outputs above which they are duplicates
MOVING = 0.02  # relative decrease of the loss over the last tenth of the epochs


@dataclass(frozen=True)
class Outcomes:
    """Outcome of each member of a population.

    Attributes
    ----------
    labels : ndarray of str, shape (starts,)
        One of "diverged", "converged", "constant", "moving", "dead units", "duplicate units", "plateau".
    dead, duplicates : ndarray of int, shape (starts,)
        Numbers of hidden units of each member that are dead, and that duplicate another unit.
    losses : ndarray of shape (starts,)
    reference : float
        The loss that converged members are compared with.
    counts : dict
        Number of members by outcome, for those that occur.
    representatives : dict
        Index of a typical member by outcome: the one with the median loss.
    """

    labels: Array
    dead: Array
    duplicates: Array
    losses: Array
    reference: float
    _x: Array = field(repr=False, compare=False)
    _member: Callable[[int], BaseModel] = field(repr=False, compare=False)

    @property
    def counts(self) -> dict[str, int]:
        """Number of members by outcome."""
        return {kind: n for kind in KINDS if (n := int(np.count_nonzero(self.labels == kind)))}

    @property
    def representatives(self) -> dict[str, int]:
        """Index of a typical member by outcome."""
        found = {}
        for kind in self.counts:
            members = np.flatnonzero(self.labels == kind)
            order = np.argsort(np.where(np.isfinite(self.losses[members]), self.losses[members], np.inf), kind="stable")
            found[kind] = int(members[order[(len(members) - 1) // 2]])
        return found

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        lines = [f"{len(self):,} starts, best loss {self.reference:.4g}",
                 f"{'outcome':<16}{'starts':>8}{'fraction':>10}{'median loss':>14}{'e.g. start':>12}"]  # fmt: skip
        typical = self.representatives
        for kind, n in self.counts.items():
            loss = float(self.losses[typical[kind]])
            lines.append(f"{kind:<16}{n:>8,}{n / len(self):>10.1%}{loss:>14.4g}{typical[kind]:>12}")
        return "\n".join(lines)

    def plot(self) -> Figure:
        """Draw the distribution of the losses by outcome, and the function learned by a typical member of each.

        Functions of one input are drawn as curves, of two as surfaces; for more inputs only the losses are drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        x = to_host(self._x).astype(np.float64)
        return draw_outcomes(self.losses, self.labels, self.representatives, x, self._member)


def classify(
    runners: Sequence[tuple[Array, PopulationRunner]],
    data: Rows,
    loss: Loss,
    losses: Array,
    history: Array,
    rtol: float,
    reference: float | None,
    member: Callable[[int], BaseModel],
) -> Outcomes:
    """Classify each member by its losses, its outputs and its hidden units.

    Parameters
    ----------
    runners : sequence of (ndarray of int, PopulationRunner)
        Numbers of some members, and their runner.
    data : Rows
    loss : Loss
    losses : ndarray of shape (starts,)
    history : ndarray of shape (epochs, starts)
    rtol, reference
        As in `Population.outcomes`.
    member : callable
        Index to model, for figures.
    """
    finite = np.isfinite(losses)
    best = float(losses[finite].min()) if finite.any() else float("nan")
    best = best if reference is None else float(reference)
    rows = evenly_spaced_rows(data.x, ROWS)
    deviation = np.zeros(len(losses))
    dead, duplicates = np.zeros(len(losses), dtype=np.int64), np.zeros(len(losses), dtype=np.int64)
    for which, runner in runners:
        deviation[which] = _deviation(runner.predict(rows)).max(axis=1)
        dead[which], duplicates[which] = _count_units(runner, rows)
    target_deviation = 1.0 if loss.sparse else float(data.y.std(axis=0, dtype=np.float64).max())
    labels = np.full(len(losses), "plateau", dtype="<U16")
    labels[duplicates > 0] = "duplicate units"
    labels[dead > 0] = "dead units"
    labels[_moving(history)] = "moving"
    labels[deviation < 1e-3 * max(target_deviation, 1e-300)] = "constant"
    labels[losses <= best + rtol * abs(best)] = "converged"
    first = history[0] if len(history) else losses
    with np.errstate(invalid="ignore"):
        labels[~finite | (losses > 10 * first)] = "diverged"
    return Outcomes(labels, dead, duplicates, losses, best, data.x, member)


def _deviation(values: Array) -> Array:
    """Standard deviation over the rows of (starts, rows, units)."""
    with np.errstate(all="ignore"):
        deviation: Array = np.asarray(values, dtype=np.float64).std(axis=1)
        return np.nan_to_num(deviation, nan=0.0, posinf=np.inf)


def _moving(history: Array) -> Array:
    """Whether each loss was still falling over the last tenth of the epochs."""
    epochs = len(history)
    tail = max(2, epochs // 10)
    if epochs < 2 * tail:
        return np.zeros(history.shape[1], dtype=bool)
    with np.errstate(invalid="ignore"):
        return np.asarray(history[-1] < (1 - MOVING) * history[-tail])


def _count_units(runner: PopulationRunner, rows: Array) -> tuple[Array, Array]:
    """Dead and duplicate units of each member, over all hidden layers that are dense or an activation."""
    net, starts = runner.net, len(runner)
    dead, duplicates = np.zeros(starts, dtype=np.int64), np.zeros(starts, dtype=np.int64)
    for number, layer in enumerate(net.layers[: net.output_layer]):
        following = type(net.layers[number + 1]).__name__
        if type(layer).__name__ not in ("Dense", "Activation") or following == "Activation":
            continue
        width = net.widths[number]
        part = rows[: max(16, CHUNK // (starts * width))]
        values = runner.layer_outputs(part, number)
        step = max(1, CHUNK // (len(part) * width * 8))
        for first in range(0, starts, step):
            members = slice(first, first + step)
            more_dead, more_duplicates = _count_in_layer(values[members])
            dead[members] += more_dead
            duplicates[members] += more_duplicates
    return dead, duplicates


def _count_in_layer(values: Array) -> tuple[Array, Array]:
    """Dead and duplicate units of each member in the outputs (starts, rows, units) of a layer."""
    with np.errstate(all="ignore"):
        a = np.asarray(values, dtype=np.float64)
        mean = a.mean(axis=1, keepdims=True)
        a = a - mean
        deviation = np.sqrt((a * a).mean(axis=1))
        dead = constant_units(mean[:, 0], deviation)
        standardized = a / np.where(dead, np.inf, deviation)[:, None]
        correlation: Any = np.matmul(standardized.transpose(0, 2, 1), standardized) / a.shape[1]
        duplicate = np.tril(np.abs(correlation) > CORRELATED, k=-1).any(axis=2)
    return dead.sum(axis=1), duplicate.sum(axis=1)
