"""`plots.confusion_matrix` and `plots.calibration_curve`: what a classifier predicts against what is true."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import choice, flag, integer, items
from ..arrays import Array, as_array, fail, to_host
from .base import LINES, axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_NUMBERS = 25  # classes whose counts are written into the cells
LOOSE = 1e-3  # rows of probabilities add up to 1 within this


def confusion_matrix(
    y: Any,
    predictions: Any,
    *,
    labels: Sequence[Any] | None = None,
    normalize: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw how many rows of each class are predicted as which class.

    Parameters
    ----------
    y : array of shape (rows,), or one-hot (rows, classes)
        Class ids from 0, as in `fit`.
    predictions : array of shape (rows,), or (rows, classes)
        Class ids; or what `predict` returned: probabilities or logits of the classes, of which the largest counts, or
        one column of probabilities of class 1, which counts from 0.5 on.
    labels : sequence, optional
        What the classes are called; their numbers by default.
    normalize : bool, default False
        Fractions of each true class in place of counts.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        Its image holds the matrix: the true classes downwards, the predicted ones across, as in scikit-learn.

    Raises
    ------
    ValueError
        If the numbers of rows differ, or something is no class id.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import fastdense as fd
    >>> ax = fd.plots.confusion_matrix([0, 1, 1, 2], [0, 1, 2, 2], labels=["bird", "cat", "dog"])
    >>> ax.images[0].get_array().tolist()
    [[1, 0, 0], [0, 1, 1], [0, 0, 1]]
    """
    where = "plots.confusion_matrix"
    true = _class_ids(where, "y", y)
    predicted = _class_ids(where, "predictions", predictions)
    if len(true) != len(predicted):
        fail(where, f"y has {len(true)} rows and predictions {len(predicted)}", "as many are needed")
    fractions = flag(f"{where}: normalize", normalize)
    widths = [given.shape[1] for given in map(np.asarray, (y, predictions)) if given.ndim == 2 and given.shape[1] > 1]
    count = max([2, int(max(true.max(), predicted.max())) + 1, *widths])
    names = [str(i) for i in range(count)] if labels is None else [
        str(one) for one in items(f"{where}: labels", labels, "a list of names")]  # fmt: skip
    if len(names) < count:
        fail(where, f"labels has {len(names)} names", f"there are {count} classes")
    count = len(names)
    counts = np.bincount(true * count + predicted, minlength=count * count).reshape(count, count)
    shown = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1) if fractions else counts
    side = 2.2 + 0.42 * max(4, min(count, MOST_NUMBERS))
    axis: Axes = axes_or_new(where, ax, (side + 0.8, side))
    image = axis.imshow(shown, cmap="Greys", vmin=0, vmax=1 if fractions else max(1, int(counts.max())))
    if count <= MOST_NUMBERS:
        dark = 0.55 * (1 if fractions else int(counts.max()))
        for i, j in np.ndindex(count, count):
            text = f"{shown[i, j]:.0%}" if fractions else f"{counts[i, j]}"
            ink = "white" if shown[i, j] > dark else "black" if counts[i, j] else "0.6"
            axis.text(j, i, text, ha="center", va="center", color=ink,
                      fontsize="small" if count <= 12 else "xx-small")  # fmt: skip
        axis.set_xticks(range(count), names, rotation=90 if max(map(len, names)) > 3 else 0)
        axis.set_yticks(range(count), names)
    else:
        axis.figure.colorbar(image, ax=axis, shrink=0.8, label="fraction of the class" if fractions else "rows")
    right = float(np.trace(counts)) / len(true)
    axis.set(xlabel="predicted class", ylabel="true class", title=f"{right:.1%} of {len(true):,} rows right")
    return axis


def calibration_curve(
    y: Any, probabilities: Any, *, bins: int = 10, strategy: str = "uniform", ax: Axes | None = None
) -> Axes:
    """Draw how often what is predicted with some probability is true: a reliability diagram.

    For two classes, the fraction of class 1 against its probability; for more, the fraction of rows predicted right
    against the probability of the class that was predicted. Points on the diagonal are calibrated, below it the net is
    too sure. Bars count the rows of each bin. The title has the expected calibration error (Naeini et al. 2015), the
    mean over the rows of the distance between both in their bin. `Model.calibrate` mends a curve that is off.

    Parameters
    ----------
    y : array of shape (rows,), or one-hot (rows, classes)
        Class ids, as in `fit`.
    probabilities : array of shape (rows,), (rows, 1) or (rows, classes)
        What `predict` returned after a sigmoid or softmax.
    bins : int, default 10
    strategy : {"uniform", "quantile"}, default "uniform"
        Bins of equal width, or with equally many rows. Empty bins are left out.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        The second of its lines holds the mean probability and the fraction of each bin, as scikit-learn's
        ``calibration_curve`` has them.

    Raises
    ------
    ValueError
        If the numbers of rows differ, something is no class id, or the probabilities are none.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import fastdense as fd
    >>> ax = fd.plots.calibration_curve([0, 0, 1, 1], [0.1, 0.4, 0.6, 0.9], bins=2)
    >>> ax.lines[1].get_xydata().tolist()
    [[0.25, 0.0], [0.75, 1.0]]
    """
    where = "plots.calibration_curve"
    true = _class_ids(where, "y", y)
    count, kind = (
        integer(f"{where}: bins", bins, least=1),
        choice(f"{where}: strategy", strategy, ("uniform", "quantile")),
    )
    given = to_host(as_array(where, "probabilities", probabilities)).astype(np.float64)
    if given.ndim not in (1, 2) or len(given) != len(true):
        fail(where, f"y has {len(true)} rows, and probabilities shape {given.shape}", "as many are needed")
    if not (np.isfinite(given).all() and given.min() >= 0 and given.max() <= 1):
        fail(where, "probabilities has values that are not between 0 and 1", "those of a sigmoid or softmax are needed",
             "for logits, put an fd.Activation('softmax') behind the net")  # fmt: skip
    several = given.ndim == 2 and given.shape[1] > 2
    if given.ndim == 2 and given.shape[1] > 1 and np.abs(given.sum(axis=1) - 1).max() > LOOSE:
        fail(where, "the rows of probabilities do not add up to 1", "those of a softmax are needed")
    if int(true.max()) >= (given.shape[1] if several else 2):
        classes = given.shape[1] if several else 2
        fail(where, f"y has class {int(true.max())}", f"the probabilities are those of {classes} classes")
    if several:
        p, happened = given.max(axis=1), (given.argmax(axis=1) == true).astype(np.float64)
    else:
        p, happened = (
            (given[:, 1] if given.ndim == 2 and given.shape[1] == 2 else given.ravel()),
            true.astype(np.float64),
        )
    edges = np.linspace(0, 1, count + 1) if kind == "uniform" else np.quantile(p, np.linspace(0, 1, count + 1))
    which = np.searchsorted(edges[1:-1], p)
    rows = np.bincount(which, minlength=count)
    there = rows > 0
    mean = np.bincount(which, p, count)[there] / rows[there]
    fraction = np.bincount(which, happened, count)[there] / rows[there]
    error = float(np.sum(rows[there] * np.abs(mean - fraction)) / len(p))
    axis: Axes = axes_or_new(where, ax, (5.2, 4.4))
    axis.plot([0, 1], [0, 1], color="0.5", linestyle=":", label="calibrated")
    axis.plot(mean, fraction, marker="o", label="the net", **LINES[0])
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), title=f"expected calibration error {error:.3f}",
             xlabel="probability of the predicted class" if several else "predicted probability of class 1",
             ylabel="fraction predicted right" if several else "fraction of class 1")  # fmt: skip
    below = axis.twinx()
    widths = np.diff(edges)[there]
    below.bar(edges[:-1][there], rows[there], np.maximum(widths, 0.01), align="edge", color="0.85",
              edgecolor="0.4", label="rows")  # fmt: skip
    below.set_ylim(0, 4 * rows.max())
    below.set_yticks([0, int(rows.max())])
    below.set_ylabel("rows of the bin", loc="bottom")
    axis.set_zorder(below.get_zorder() + 1)  # lines over bars
    axis.patch.set_visible(False)
    axis.legend(loc="upper left", fontsize="small")
    return axis


def _class_ids(where: str, name: str, value: Any) -> Array:
    """Class ids of ids, one-hot rows, or predictions."""
    given = to_host(as_array(where, name, value))
    if given.ndim == 2 and given.shape[1] == 1:
        given = given[:, 0]
    if given.ndim not in (1, 2) or not len(given):
        fail(where, f"{name} has shape {given.shape}", "(rows,) or (rows, classes) is needed")
    if not np.isfinite(given).all():
        fail(where, f"{name} has values that are not finite", "class ids are needed")
    if given.ndim == 2:
        found: Array = given.argmax(axis=1)
        return found
    if name == "predictions" and given.dtype.kind == "f" and (given != np.floor(given)).any():
        if given.min() < 0 or given.max() > 1:
            fail(where, f"{name} are neither class ids nor probabilities", "round them, or give one column per class")
        return (given >= 0.5).astype(np.int64)
    if given.min() < 0 or (given != np.floor(given)).any():
        bad = given[(given < 0) | (given != np.floor(given))][0]
        fail(where, f"{name} has the value {bad.item()}", "class ids from 0 are needed")
    return given.astype(np.int64)
