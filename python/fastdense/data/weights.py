"""Weights of rows: sample weights as given, and those that class weights mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..arguments import shorten
from ..arrays import Array, as_array, beside, fail, first_place, namespace_of, to_host
from ..losses import Loss
from .checks import check_finite
from .rows import Shape

# ---- weights -------------------------------------------------------------------------------------------------------


def check_weights(
    where: str,
    weights: object,
    rows: int,
    *,
    name: str = "sample_weight",
    dtype: str = "float64",
    device: str | None = None,
) -> Array | None:
    """Return per-row weights as float64 (rows,), or None."""
    if weights is None:
        return None
    array = as_array(where, name, weights, device)
    needed = f"one weight per row, shape ({rows},), is needed"
    if array.ndim == 2 and array.shape[1] == 1:
        array = array.reshape(-1)
    if array.ndim != 1 or len(array) != rows:
        remedy = "weights per output are not supported" if array.ndim == 2 else f"pass {name} of the same length as x"
        fail(where, f"{name} has shape {array.shape}", needed, remedy)
    check_finite(where, name, array, dtype)
    if (array < 0).any():
        (row,) = first_place(array < 0)
        fail(where, f"{name}[{row}] is {array[row].item():g}", "weights must be 0 or more", "use 0 to leave a row out")
    contiguous: Array = namespace_of(array).ascontiguousarray(array, dtype=np.float64)
    return contiguous


def class_weights(
    where: str,
    class_weight: object,
    y: Array,
    net: Shape,
    loss: Loss,
    counted: Callable[[Array], Array] = lambda own: own,
) -> Array | None:
    """Return the row weights that `class_weight` (a dict from class to weight, or 'balanced') means for targets `y`.

    Classes that the dict does not name weigh 1. 'balanced' gives every class that occurs the same total weight;
    `counted` adds the counts of rows elsewhere.
    """
    if class_weight is None:
        return None
    if not isinstance(class_weight, Mapping) and not (isinstance(class_weight, str) and class_weight == "balanced"):
        fail(
            where,
            f"class_weight is {shorten(class_weight)}",
            "a dict from class id to weight, or 'balanced', is needed",
            "e.g. class_weight={0: 1.0, 1: 5.0}",
        )
    if loss.targets == "heads":
        fail(where, "class_weight was given for a net with several heads", "classes are those of one head",
             "pass sample_weight, an array for each head")  # fmt: skip
    ids, classes = _classes_of(where, y, net, loss)
    table = np.ones(classes)
    if isinstance(class_weight, Mapping):
        for key, weight in class_weight.items():
            number = _class_key(key, loss)
            if number is None or not 0 <= number < classes:
                known = "-1 and 1, or 0 and 1" if loss.targets == "signs" else f"0..{classes - 1}"
                fail(where, f"class_weight names class {shorten(key)}", f"the classes are {known}", "leave it out")
            try:
                table[number] = float(weight)
            except (TypeError, ValueError, OverflowError):
                table[number] = np.nan
            if not (np.isfinite(table[number]) and table[number] >= 0):
                fail(
                    where, f"class_weight[{shorten(key)}] is {shorten(weight)}", "weights must be finite and 0 or more"
                )
    else:
        counts = counted(to_host(namespace_of(ids).bincount(ids, minlength=classes)))
        present = counts > 0
        table[present] = counts.sum() / (present.sum() * counts[present])
    result: Array = beside(table, ids)[ids]
    return result


def _class_key(key: object, loss: Loss) -> int | None:
    whole = isinstance(key, (int, np.integer)) or (isinstance(key, (float, np.floating)) and float(key).is_integer())
    if not isinstance(key, (int, float, np.integer, np.floating)) or not whole:
        return None
    return 0 if loss.targets == "signs" and key == -1 else int(key)


def _classes_of(where: str, y: Array, net: Shape, loss: Loss) -> tuple[Array, int]:
    """Class id of every row, and the number of classes."""
    if loss.sparse:
        return y.astype(np.intp), net.outputs
    if loss.targets == "distribution" and net.outputs > 1:
        return y.argmax(axis=1), net.outputs
    if loss.targets == "any" and y.shape[1] == net.outputs > 1:  # taken for one-hot
        return y.argmax(axis=1), net.outputs
    if loss.targets == "any" and y.shape[1] == 1 and bool((y == y.round()).all()) and y.min() >= 0:
        return y[:, 0].astype(np.intp), max(2, int(y.max()) + 1)
    if net.outputs == 1 and loss.targets in ("probabilities", "signs"):
        if loss.targets == "probabilities" and not bool(((y == 0) | (y == 1)).all()):
            fail(
                where,
                "class_weight was given and y holds probabilities",
                "class_weight needs labels 0 and 1",
                "pass sample_weight, one number per row, instead",
            )
        return (y[:, 0] > 0).astype(np.intp), 2
    fail(
        where,
        f"class_weight was given with loss='{loss.kind}' and {net.outputs} outputs",
        "class_weight needs one class per row",
        "pass sample_weight, one number per row, instead",
    )
