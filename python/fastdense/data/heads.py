"""Targets and weights of nets with several heads, as one array with all columns side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..arguments import quoted, suggestion
from ..arrays import Array, as_array, fail
from ..losses import Head, PerHead
from .checks import check_y
from .rows import Shape
from .weights import check_weights


def side_by_side(
    where: str,
    y: Any,
    sample_weight: Any,
    rows: int,
    net: Shape,
    loss: PerHead,
    names: tuple[str, str, str] = ("x", "y", "sample_weight"),
) -> tuple[Array, Any]:
    """Check the targets of all heads, and their weights if each has its own.

    Parameters
    ----------
    where, rows, net, names
        As in `check_y` and `prepare`.
    y : dict by the names of heads, list in their order, or array with all columns
        Those of heads without a loss may be left out.
    sample_weight : dict, list of arrays, array or None
    loss : PerHead

    Returns
    -------
    targets : ndarray of shape (rows, columns)
        Behind the targets of all heads a column of weights for each, if `sample_weight` gives one for each.
    sample_weight : object
        Weights of rows for all heads, not checked; or None.
    """
    x_name, y_name, w_name = names
    heads = loss.heads
    trained = [head for head in heads if head.loss is not None]
    if isinstance(y, Mapping) or _is_list(y):
        given = _by_head(where, y_name, y, heads, trained)
    else:
        given = _cut(where, y_name, y, net, loss)
    parts = [_targets(where, name, given[head.name][1], rows, net, head, x_name)
             for head in trained for name in [given[head.name][0]]]  # fmt: skip
    weights = None
    if isinstance(sample_weight, Mapping) or _is_list(sample_weight):
        own = _by_head(where, w_name, sample_weight, heads, trained, optional=True)
        checked = []
        for head in heads:
            name, one = own.get(head.name, (w_name, None))
            found = None if head.loss is None else check_weights(where, one, rows, name=name, dtype=net.dtype)
            checked.append(np.ones(rows) if found is None else found)
        weights, sample_weight = np.stack(checked, axis=1), None
    dtype = np.float64 if net.dtype == "float64" or net.device == "reference" else np.float32
    every = [*parts, *([] if weights is None else [weights])]
    return np.concatenate([one.astype(dtype, copy=False) for one in every], axis=1), sample_weight


def _is_list(value: Any) -> bool:
    """Whether it is a list of arrays, and not of numbers."""
    return isinstance(value, (list, tuple)) and any(
        getattr(one, "ndim", 0) or isinstance(one, (list, tuple)) for one in value
    )


def _by_head(
    where: str, name: str, given: Any, heads: Sequence[Head], trained: Sequence[Head], optional: bool = False
) -> dict[str, tuple[str, Any]]:
    """What was given for each head, and what messages call it."""
    names = [head.name for head in heads]
    if not isinstance(given, Mapping):
        chosen = heads if len(given) == len(heads) else trained
        if len(given) != len(chosen):
            fail(where, f"{name} is a list of {len(given)}", f"there are {len(heads)} heads, {quoted(names)}",
                 "pass one array for each, in this order, or a dict by these names")  # fmt: skip
        return {head.name: (f"{name}[{i}]", one) for i, (head, one) in enumerate(zip(chosen, given, strict=True))}
    for key in given:
        if key not in names:
            near = suggestion(str(key), names).strip()
            fail(
                where,
                f"{name} has the key {key!r}",
                f"the heads are {quoted(names)}",
                near.rstrip(".") or "leave it out",
            )
    missing = [head.name for head in trained if head.name not in given]
    if missing and not optional:
        fail(where, f"{name} lacks {quoted(missing)}", "each head with a loss needs targets", "pass one array for each")
    return {key: (f"{name}[{key!r}]", one) for key, one in given.items()}


def _cut(where: str, name: str, y: Any, net: Shape, loss: PerHead) -> dict[str, tuple[str, Any]]:
    """The columns of each head of one array."""
    array = as_array(where, name, y, net.device)
    if array.ndim == 1 and loss.target_columns == 1:
        array = array.reshape(-1, 1)
    targets = loss.target_columns
    if array.ndim != 2 or array.shape[1] != targets:
        listed = ", ".join(f"{head.name!r} ({head.targets})" for head in loss.heads if head.loss is not None)
        fail(where, f"{name} has shape {array.shape}", f"the heads need (rows, {targets}), the columns of {listed}",
             "pass a dict with an array for each")  # fmt: skip
    found, first = {}, 0
    for head in loss.heads:
        found[head.name] = (f"{name}[:, {first}:{first + head.targets}]", array[:, first : first + head.targets])
        first += head.targets
    return found


def _targets(where: str, name: str, y: Any, rows: int, net: Shape, head: Head, x_name: str) -> Array:
    assert head.loss is not None
    made = check_y(
        where, y, rows, replace(net, outputs=head.columns, any_targets=True), head.loss, name=name, x_name=x_name
    )
    made = made.reshape(rows, -1)
    if made.shape[1] != head.targets:
        needed = f"the head {head.name!r} takes {head.targets} columns"
        fail(where, f"{name} has shape {made.shape}", needed, f"give the Head targets={made.shape[1]}")
    return made
