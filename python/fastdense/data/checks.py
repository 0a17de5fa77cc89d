"""Checks and conversions of user data, before any work is done.

What passes goes to the engines as it is: no array that an engine can read (bool, integer, float32, float64, any
strides, read-only, memory-mapped) is copied. Messages say where, what was given, what is needed and what to do.

Arrays on a GPU are looked at there, by the same lines: what works on a whole array is called as a method or from
`namespace_of` it, and only single numbers come back to the host.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NoReturn

import numpy as np

from ..arrays import Array, as_array, fail, first_place, namespace_of, position_of
from ..engine import native
from ..losses import Loss
from .names import in_order
from .rows import Shape

BLOCK = 1 << 18  # elements looked at in one go: small enough for the cache, and no large temporaries
GPU_BLOCK = 1 << 24  # on a GPU: many enough for all of it
FLOAT32_MAX = float(np.finfo(np.float32).max)
# ---- x -------------------------------------------------------------------------------------------------------------


def check_x(where: str, x: object, net: Shape, *, name: str = "x") -> Array:
    """Return `x` as a checked (rows, inputs) array; one dimension means one column, only if the net has one input.

    Columns with names come in the order in which the model knows them.
    """
    array = as_array(where, name, in_order(where, name, x, net.names, net.device), net.device)
    needed = f"a dense net needs (rows, {net.inputs})"
    if array.ndim == 0:
        fail(where, f"{name} is a single number, {array.item()!r}", needed, f"pass [[{array.item()!r}]]")
    if array.ndim == 1:
        if net.inputs != 1:
            remedy = (
                f"for one row pass {name}[None, :]"
                if len(array) == net.inputs
                else f"for {net.inputs} columns pass {name}.reshape(-1, {net.inputs})"
                if len(array) and len(array) % net.inputs == 0
                else ""
            )
            fail(where, f"{name} has 1 dimension, shape {array.shape}", needed, remedy)
        array = array.reshape(-1, 1)
    if array.ndim > 2:
        width = math.prod(array.shape[1:])
        remedy = (
            f"pass {name}.reshape(len({name}), -1)"
            if width == net.inputs
            else f"{name}.reshape(len({name}), -1) would have {width} columns"
        )
        fail(where, f"{name} has {array.ndim} dimensions, shape {array.shape}", needed, remedy)
    if array.shape[1] != net.inputs:
        remedy = (
            f"pass {name}.T if rows and columns are swapped"
            if array.shape[0] == net.inputs
            else f"give the model inputs={array.shape[1]}, or pass {net.inputs} columns"
        )
        fail(where, f"{name} has {array.shape[1]} columns, shape {array.shape}", needed, remedy)
    if not len(array):
        fail(where, f"{name} is empty, shape {array.shape}", "at least one row is needed")
    check_finite(where, name, array, net.dtype, net.missing)
    return array


def first_nonfinite(x: Array) -> int:
    """Flat index (row-major) of the first NaN or infinity in a 2-D array of floats, or -1."""
    if not isinstance(x, np.ndarray):
        return _first_nonfinite(x)
    try:
        return native.first_nonfinite(x)
    except ImportError:  # only the reference engine is there
        return _first_nonfinite(x)


def _first_nonfinite(x: Array, missing: Sequence[int] = ()) -> int:
    xp = namespace_of(x)
    may_be_missing = np.zeros(x.shape[1], dtype=bool)
    may_be_missing[list(missing)] = True
    for start, block in _blocks(x):
        good = xp.isfinite(block)
        if missing:
            good |= xp.isnan(block) & xp.asarray(may_be_missing)
        if not good.all():
            row, column = first_place(~good)
            return (start + row) * int(x.shape[1]) + column
    return -1


def _blocks(x: Array) -> Iterator[tuple[int, Array]]:
    """The rows, in parts of a size that is quickly looked at, with the number of the first of each."""
    rows = max(1, (BLOCK if isinstance(x, np.ndarray) else GPU_BLOCK) // max(1, x.shape[1]))
    return ((start, x[start : start + rows]) for start in range(0, len(x), rows))


def check_finite(where: str, name: str, array: Array, dtype: str = "float64", missing: Sequence[int] = ()) -> None:
    """Raise if a value is NaN or infinite, or would become so in the net's `dtype`; names its row and column.

    NaN is no error in the columns `missing`.
    """
    if array.dtype.kind != "f":
        return
    flat = array if array.ndim == 2 else array.reshape(-1, 1)
    index = first_nonfinite(flat)
    if index >= 0 and missing:
        index = _first_nonfinite(flat, missing)
    if index >= 0:
        place = divmod(index, flat.shape[1])[: array.ndim]
        axis = ".all(axis=1)" if array.ndim == 2 and array.shape[1] > 1 else ""
        fail(
            where,
            f"{position_of(name, place)} is {array[place].item()}",
            "finite numbers are needed",
            f"drop or fill such rows; np.isfinite({name}){axis} marks the good ones",
        )
    if array.dtype.itemsize == 8 and dtype != "float64":
        _check_float32_range(where, name, array, flat)


def _check_float32_range(where: str, name: str, array: Array, flat: Array) -> None:
    for start, block in _blocks(flat):
        low, high = (block.min(), block.max()) if block.size else (0.0, 0.0)
        if low < -FLOAT32_MAX or high > FLOAT32_MAX or (low != low and (abs(block) > FLOAT32_MAX).any()):
            row, column = first_place(abs(block) > FLOAT32_MAX)
            place = (start + row, column)[: array.ndim]
            fail(
                where,
                f"{position_of(name, place)} is {array[place].item():g}, too large for float32 (3.4e38)",
                "numbers of moderate size are needed",
                f"scale {name}, or make the Model with dtype='float64'",
            )


# ---- y -------------------------------------------------------------------------------------------------------------


def check_y(where: str, y: object, rows: int, net: Shape, loss: Loss, *, name: str = "y", x_name: str = "x") -> Array:
    """Return targets as `loss` needs them: (rows, outputs), or class ids (rows,) for a sparse loss.

    The rule for one dimension: (n,) is the same as (n, 1) for a net of width 1, and an error for every other width;
    nothing is ever broadcast.
    """
    array = as_array(where, name, y, net.device)
    if array.ndim == 0 or len(array) != rows:
        given = f"{name} has {len(array)} rows" if array.ndim else f"{name} is a single number"
        fail(
            where,
            f"{x_name} has {rows} rows and {given}",
            "one target per row is needed",
            f"{x_name} and {name} must be cut from the same table",
        )
    if loss.sparse:
        return _class_ids(where, name, array, net, loss)
    if loss.outputs_each > 1:
        array = _for_each_output(where, name, array, net, loss)
    elif loss.targets == "any":
        array = _any_targets(where, name, array, net, loss)
    elif array.ndim == 1 and net.outputs == 1:
        array = array.reshape(-1, 1)
    elif array.ndim != 2 or array.shape[1] != net.outputs:
        _fail_target_shape(where, name, array, net, loss)
    check_finite(where, name, array, net.dtype)
    if loss.targets == "probabilities":
        _check_probabilities(where, name, array, loss)
    if loss.targets == "signs":
        return _signs(where, name, array, loss)
    return array


def _for_each_output(where: str, name: str, array: Array, net: Shape, loss: Loss) -> Array:
    """Targets of a loss with several outputs for each of them: once for each output; one column is not copied."""
    each, xp = loss.outputs_each, namespace_of(array)
    wanted = net.outputs // each
    made = array.reshape(-1, 1) if array.ndim == 1 else array
    if made.ndim != 2 or made.shape[1] != wanted:
        needed = f"{net.outputs} outputs of {each} quantiles each are for {wanted} target{'s' * (wanted > 1)}"
        fail(where, f"{name} has shape {array.shape}", needed, f"pass (rows, {wanted}): each target once")
    if wanted == 1 and isinstance(made, np.ndarray):
        return np.broadcast_to(made, (len(made), each))
    repeated: Array = made[:, xp.asarray(np.repeat(np.arange(wanted), each))]
    return repeated


def _any_targets(where: str, name: str, array: Array, net: Shape, loss: Loss) -> Array:
    """Targets of a loss that takes any number of columns, unless a metric needs one for each output."""
    made = array.reshape(-1, 1) if array.ndim == 1 else array
    if made.ndim != 2 or not made.shape[1]:
        remedy = f"pass {name}.reshape(len({name}), -1)" if array.size else "pass one target per row at least"
        fail(where, f"{name} has shape {array.shape}", f"the loss {loss.name!r} needs (rows, columns)", remedy)
    if made.shape[1] != net.outputs and not net.any_targets:
        fail(
            where,
            f"{name} has shape {array.shape}",
            f"metrics that engines compute need one target per output, (rows, {net.outputs})",
            "leave the metrics out of compile, or give subclasses of fastdense.metrics.Collected",
        )
    return made


def _fail_target_shape(where: str, name: str, array: Array, net: Shape, loss: Loss) -> NoReturn:
    given, needed = (
        f"{name} has shape {array.shape}",
        f"loss='{loss.kind}' with {net.outputs} outputs needs (rows, {net.outputs})",
    )
    single = array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)
    if loss.targets == "distribution" and single and _whole(array):
        fail(where, f"{given}, class ids", needed, "use loss='sparse_categorical_crossentropy' for class ids")
    if array.ndim > 2 and math.prod(array.shape[1:]) == net.outputs:
        fail(where, given, needed, f"pass {name}.reshape(len({name}), -1)")
    width = array.shape[1] if array.ndim == 2 else 1
    remedy = f"give the last layer {width} unit{'s' * (width != 1)}, or pass {net.outputs} columns"
    if single and net.outputs > 1 and array.dtype.kind in "biu" and array.max() < net.outputs and array.min() >= 0:
        remedy += "; for class ids use loss='sparse_categorical_crossentropy'"
    fail(where, given, needed, remedy)


def _class_ids(where: str, name: str, array: Array, net: Shape, loss: Loss) -> Array:
    needed = f"loss='{loss.kind}' with {net.outputs} outputs needs class ids 0..{net.outputs - 1}, shape (rows,)"
    if array.ndim == 2 and array.shape[1] == 1:
        array = array.reshape(-1)
    if array.ndim != 1:
        same = array.ndim == 2 and array.shape[1] == net.outputs
        remedy = (
            "use loss='categorical_crossentropy' for one-hot rows"
            if same
            else f"for one-hot rows pass {name}.argmax(axis=1)"
            if array.ndim == 2
            else ""
        )
        fail(where, f"{name} has shape {array.shape}" + (", one-hot rows" if same else ""), needed, remedy)
    if array.dtype.kind == "f":
        check_finite(where, name, array)
        if not _whole(array):
            (row,) = first_place(array != namespace_of(array).rint(array))
            fail(
                where,
                f"{name}[{row}] is {array[row].item():g}, not a whole number",
                needed,
                "for measured values use loss='mse'",
            )
        low, high = float(array.min()), float(array.max())
    else:
        low, high = int(array.min()), int(array.max())
    if low < 0 or high >= net.outputs:
        bad = array < 0
        if high >= net.outputs:  # else the number may be beyond what the ids' dtype holds
            bad |= array >= net.outputs
        (row,) = first_place(bad)
        if net.outputs == 1:
            remedy = "for two classes and one output use loss='binary_crossentropy'"
        elif low >= 0:
            remedy = f"give the last layer {int(high) + 1} units" + (
                f", or pass {name} - 1 if they count from 1" if low >= 1 and high == net.outputs else ""
            )
        else:
            remedy = f"number the classes from 0, e.g. with np.unique({name}, return_inverse=True)"
        fail(where, f"{name}[{row}] is {array[row].item():g}, labels run from {low:g} to {high:g}", needed, remedy)
    if array.dtype.kind == "f":
        array = array.astype(np.int64)
    elif array.dtype.kind == "b":
        array = array.view(np.uint8)
    return array


def _whole(array: Array) -> bool:
    xp = namespace_of(array)
    return array.dtype.kind in "biu" or bool(xp.isfinite(array).all() and (array == xp.rint(array)).all())


def _check_probabilities(where: str, name: str, array: Array, loss: Loss) -> None:
    low, high = array.min().item(), array.max().item()
    if low < 0 or high > 1:
        place = first_place((array < 0) | (array > 1))
        remedy = (
            "for labels -1 and 1 pass (y + 1) / 2"
            if low == -1 and high <= 1
            else "for class ids or measured values choose another loss"
        )
        fail(
            where,
            f"{position_of(name, place)} is {array[place].item():g}",
            f"loss='{loss.kind}' needs targets in [0, 1]",
            remedy,
        )


def _signs(where: str, name: str, array: Array, loss: Loss) -> Array:
    """Targets in {-1, 1} as they are, {0, 1} turned into them in a new array."""
    if array.dtype.kind == "b":
        array = array.view(np.uint8)
    ones = abs(array) == 1
    if ones.all():
        return array
    if ((array == 0) | (array == 1)).all():
        signs: Array = (array == 1).astype(np.float32) * 2 - 1
        return signs
    place = first_place(~(ones | (array == 0)))
    if array[place].item() in (-1, 0, 1):
        fail(
            where, f"{name} holds -1, 0 and 1", f"loss='{loss.kind}' needs either -1 and 1 or 0 and 1", "choose one way"
        )
    fail(
        where,
        f"{position_of(name, place)} is {array[place].item():g}",
        f"loss='{loss.kind}' needs targets -1 and 1, or 0 and 1",
        "for measured values use loss='mse'",
    )
