"""How the starts of a population ended, in words: converged, or stuck and on what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import Array
from ..data.rows import evenly_spaced_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .population import Population

# In the order of the table. Of several that fit, a start gets the first.
KINDS = {
    "diverged": "the loss is not a number any more, or larger than at the start",
    "converged": "within reach of the best loss that was found",
    "constant": "the same output for every input",
    "moving": "the loss was still falling",
    "dead units": "stuck, with hidden units that do not react to any row",
    "duplicate units": "stuck, with hidden units that do the same",
    "plateau": "stuck, with no such sign: another valley",
}
ROWS = 256  # that are looked at
CHUNK = 1 << 26  # numbers in one look
STILL = 1e-6  # of its size: a unit whose output varies less over the data is dead, an output that does is constant
ALIKE = 0.999  # correlation of two units' outputs
MOVING = 0.02  # the share by which the loss fell over the last tenth of the epochs


@dataclass(frozen=True)
class Outcomes:
    """How each start ended.

    Attributes
    ----------
    labels : ndarray of str, shape (starts,)
        One of "diverged", "converged", "constant", "moving", "dead units", "duplicate units", "plateau".
    dead, duplicates : ndarray of int, shape (starts,)
        How many hidden units of each net are dead, and how many do what another one does.
    losses : ndarray of shape (starts,)
    reference : float
        The loss that converged nets reach.
    counts : dict
        How many starts ended each way; only ways that occur.
    representatives : dict
        For each of them the number of a typical start: the one with the median loss.
    """

    population: Population
    labels: Array
    dead: Array
    duplicates: Array
    losses: Array
    reference: float

    @property
    def counts(self) -> dict[str, int]:
        """Number of starts by outcome."""
        return {kind: n for kind in KINDS if (n := int(np.count_nonzero(self.labels == kind)))}

    @property
    def representatives(self) -> dict[str, int]:
        """Number of a typical start by outcome."""
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
                 f"{'outcome':<16}{'starts':>8}{'share':>8}{'median loss':>14}{'e.g. start':>12}"]  # fmt: skip
        typical = self.representatives
        for kind, n in self.counts.items():
            loss = float(self.losses[typical[kind]])
            lines.append(f"{kind:<16}{n:>8,}{n / len(self):>8.1%}{loss:>14.4g}{typical[kind]:>12}")
        return "\n".join(lines)

    def plot(self) -> Figure:
        """Draw how the losses are distributed, by outcome, and the function that a typical start of each learned.

        Functions of one input are drawn as curves, of two as surfaces; of more, only the losses are drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        from .plots import draw_outcomes

        return draw_outcomes(self)


def classify(population: Population, rtol: float, reference: float | None) -> Outcomes:
    """Look at each net of a population: its last losses, its outputs and its hidden units."""
    losses = population.losses
    finite = np.isfinite(losses)
    best = float(losses[finite].min()) if finite.any() else float("nan")
    best = best if reference is None else float(reference)
    rows = evenly_spaced_rows(population._data.x, ROWS)
    outputs = population._runner.predict(rows)
    spread = _spread(outputs).max(axis=1)
    dead, duplicates = _hidden_units(population, rows)
    labels = np.full(len(losses), "plateau", dtype="<U16")
    labels[duplicates > 0] = "duplicate units"
    labels[dead > 0] = "dead units"
    labels[_moving(population.history)] = "moving"
    labels[spread < 1e-3 * max(float(_target_spread(population)), 1e-300)] = "constant"
    labels[losses <= best + rtol * abs(best)] = "converged"
    first = population.history[0] if len(population.history) else losses
    with np.errstate(invalid="ignore"):
        labels[~finite | (losses > 10 * first)] = "diverged"
    return Outcomes(population, labels, dead, duplicates, losses, best)


def _spread(values: Array) -> Array:
    """Standard deviation over the rows of (starts, rows, units)."""
    with np.errstate(all="ignore"):
        spread: Array = np.asarray(values, dtype=np.float64).std(axis=1)
        return np.nan_to_num(spread, nan=0.0, posinf=np.inf)


def _target_spread(population: Population) -> float:
    y = population._data.y
    return 1.0 if population._model.loss.sparse else float(y.std(axis=0, dtype=np.float64).max())


def _moving(history: Array) -> Array:
    """Whether each loss fell noticeably over the last tenth of the epochs."""
    epochs = len(history)
    tail = max(2, epochs // 10)
    if epochs < 2 * tail:
        return np.zeros(history.shape[1], dtype=bool)
    with np.errstate(invalid="ignore"):
        return np.asarray(history[-1] < (1 - MOVING) * history[-tail])


def _hidden_units(population: Population, rows: Array) -> tuple[Array, Array]:
    """Dead and duplicate units of each net, over all hidden layers that are dense or an activation."""
    runner, net = population._runner, population._model.net
    starts = len(population)
    dead, duplicates = np.zeros(starts, dtype=np.int64), np.zeros(starts, dtype=np.int64)
    for number, layer in enumerate(net.layers[: net.output_layer]):
        following = type(net.layers[number + 1]).__name__
        if type(layer).__name__ not in ("Dense", "Activation") or following == "Activation":
            continue
        width = net.widths[number]
        few = rows[: max(16, CHUNK // (starts * width))]
        values = runner.layer_outputs(few, number)
        step = max(1, CHUNK // (len(few) * width * 8))
        for start in range(0, starts, step):
            part = slice(start, start + step)
            dead[part], duplicates[part] = (
                total + found for total, found in zip((dead[part], duplicates[part]), _look(values[part]), strict=True)
            )
    return dead, duplicates


def _look(values: Array) -> tuple[Array, Array]:
    with np.errstate(all="ignore"):
        a = np.asarray(values, dtype=np.float64)
        mean = a.mean(axis=1, keepdims=True)
        a = a - mean
        spread = np.sqrt((a * a).mean(axis=1))
        size = np.abs(mean[:, 0]) + spread
        still = ~(spread > STILL * size)
        unit = a / np.where(still, np.inf, spread)[:, None]
        alike: Any = np.matmul(unit.transpose(0, 2, 1), unit) / a.shape[1]
        later = np.tril(np.abs(alike) > ALIKE, k=-1).any(axis=2)
    return still.sum(axis=1), later.sum(axis=1)
