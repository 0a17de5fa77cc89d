"""Prediction intervals: of several quantiles as they are, and of any net for numbers by rows kept out (conformal).

A net's interval for a row and a target goes from one of its outputs to another: two of its quantiles, or one and the
same output. The score of a row that was kept out is how far its target lies outside of that, below 0 if inside:
``max(low - y, y - high)``. Of n such rows the ``ceil((n + 1) coverage)``-th smallest score moves both ends outwards.
If these rows and a new one are exchangeable, the moved interval holds the new target with at least the probability
`coverage` (Vovk et al., 2005; of quantiles: Romano, Patterson and Candès, 2019).
"""

from __future__ import annotations

import math

import numpy as np

from ..arguments import number
from ..arrays import Array, fail
from ..losses import Loss, Quantile

SCORES = "calibration.scores"  # name of the scores in a file
SAME = 1e-9  # difference of levels and coverages that are meant to be equal


def pairs_of(loss: Loss) -> list[tuple[int, int, float]]:
    """Outputs between which intervals lie, of those of one target, and the coverage that they are trained for.

    Pairs of levels that lie symmetrically about 1/2, the widest first; the outermost ones if there are no such pairs.
    """
    levels = loss.levels if isinstance(loss, Quantile) else [0.5]
    last = len(levels) - 1
    ways = [(i, j) for i in range(len(levels)) for j in range(last, i, -1) if abs(levels[i] + levels[j] - 1) < SAME]
    return [(i, j, levels[j] - levels[i]) for i, j in ways or [(0, last)]]


def check_loss(where: str, loss: Loss, more: str = "") -> None:
    """Raise unless a net's outputs are numbers, one for each target and quantile; `more`: what else there is."""
    if loss.targets not in ("values", "counts"):
        needed = "a loss of numbers is needed, such as mse or several quantiles"
        fail(where, f"the loss is {loss.name!r}", needed, more)


def check_kept_out(where: str, loss: Loss, sample_weight: object) -> None:
    """Raise unless rows can be calibrated on: of a loss of numbers, and without weights."""
    check_loss(where, loss, "or, for probabilities, a cross-entropy")
    if sample_weight is not None:
        fail(where, "sample_weight is given", "all rows count alike in an interval", "leave it out")


def _of_targets(loss: Loss, outputs: Array) -> Array:
    """Outputs (rows, targets, outputs of each), in ascending order: sorting quantiles never makes their loss larger.

    (Chernozhukov, Fernández-Val and Galichon, 2010)
    """
    made: Array = np.sort(np.asarray(outputs, np.float64).reshape(len(outputs), -1, loss.outputs_each), axis=2)
    return made


def scores_of(loss: Loss, outputs: Array, y: Array) -> Array:
    """Sorted scores of rows that were kept out: (pairs, targets, rows).

    Parameters
    ----------
    loss : Loss
    outputs, y : ndarray of shape (rows, outputs)
        As a net gives them, and as `fastdense.data` prepares targets.
    """
    each = _of_targets(loss, outputs)
    targets = np.asarray(y, np.float64)[:, :: loss.outputs_each]
    made = [np.maximum(each[:, :, i] - targets, targets - each[:, :, j]).T for i, j, _ in pairs_of(loss)]
    return np.sort(np.stack(made), axis=2)


def checked_scores(scores: Array, loss: Loss, outputs: int) -> Array:
    """Scores of a file; ValueError unless they are those of a net with this loss and so many outputs."""
    pairs, targets = len(pairs_of(loss)), outputs // loss.outputs_each
    if scores.ndim != 3 or scores.shape[:2] != (pairs, targets) or not scores.shape[2]:
        raise ValueError(
            f"the scores of its calibration have shape {scores.shape}; ({pairs}, {targets}, rows) is needed"
        )
    if not (scores[:, :, :-1] <= scores[:, :, 1:]).all():
        raise ValueError("the scores of its calibration are not sorted")
    return np.asarray(scores, np.float64)


def check_coverage(where: str, coverage: float, loss: Loss, scores: Array | None) -> tuple[int, Array]:
    """The pair that suits a coverage best, and by how much its ends move for each target.

    Raises
    ------
    ValueError
        If there are no scores and the net has no quantiles of this coverage, or too few scores.
    """
    check_loss(where, loss)
    wanted = number(f"{where}: coverage", coverage, above=0, below=1)
    pairs = pairs_of(loss)
    best = min(range(len(pairs)), key=lambda k: abs(pairs[k][2] - wanted))
    if scores is None:
        known = sorted(pair[2] for pair in pairs if pair[2] > 0)
        if not known:
            fail(where, f"the loss is {loss.name!r} and nothing was calibrated", "rows kept out of fit are needed",
                 "call calibrate(x_val, y_val) first, or train losses.Quantile([0.05, 0.5, 0.95])")  # fmt: skip
        if abs(pairs[best][2] - wanted) > SAME:
            shown = ", ".join(f"{one:g}" for one in known)
            fail(where, f"coverage is {wanted:g}", f"the quantiles of the loss give {shown}",
                 "call calibrate(x_val, y_val) for others, or train other quantiles")  # fmt: skip
        return best, np.zeros(1)
    rows = scores.shape[2]
    place = math.ceil((rows + 1) * wanted - SAME)
    if place > rows:
        least = math.ceil(wanted / (1 - wanted) - SAME)
        fail(where, f"coverage is {wanted:g} and {rows} rows were calibrated on", f"{least} are needed for it",
             "calibrate on more rows, or ask for less")  # fmt: skip
    moved: Array = scores[best, :, place - 1]
    return best, moved


def interval(loss: Loss, outputs: Array, pair: int, moved: Array) -> tuple[Array, Array]:
    """Lower and upper ends, (rows, targets), in the type of the outputs; `pair` and `moved` as of `check_coverage`."""
    each = _of_targets(loss, outputs)
    i, j, _ = pairs_of(loss)[pair]
    low, high = each[:, :, i] - moved, each[:, :, j] + moved
    middle = 0.5 * (low + high)  # where rows shrink to nothing
    low, high = np.minimum(low, middle), np.maximum(high, middle)
    lower, upper = low.astype(outputs.dtype), high.astype(outputs.dtype)
    infinity = outputs.dtype.type(np.inf)
    lower = np.where(lower > low, np.nextafter(lower, -infinity), lower)  # rounded outwards: no target falls out
    return lower, np.where(upper < high, np.nextafter(upper, infinity), upper)
