"""Penalties on weights: value and gradient. Each is added to the batch loss once per step, not divided by the rows."""

from __future__ import annotations

import numpy as np

from .arrays import Array, Spec, as_float

NORM_FLOOR = 1e-12  # floor of a squared length, so that a zero vector has a direction of length 0 and not NaN

Penalty = tuple[float, Array]


def l1_l2(w: Array, l1: float, l2: float) -> Penalty:
    """l1 * sum |w| + l2 * sum w^2."""
    value, gradient = 0.0, np.zeros_like(w)
    if l1:
        value, gradient = l1 * float(np.abs(w).sum()), l1 * np.sign(w)
    if l2:  # skipped when off: 0 * inf would be NaN
        value, gradient = value + l2 * float((w * w).sum()), gradient + 2.0 * l2 * w
    return value, gradient


def _similarity(v: Array, kind: str) -> Penalty:
    """Mean over all pairs of rows of v of |cos| ("orthogonal") or of max(0, cos)^2 ("repulsion")."""
    k = len(v)
    if k < 2:
        return 0.0, np.zeros_like(v)
    squared = (v * v).sum(axis=1, keepdims=True)
    length = np.sqrt(np.maximum(squared, NORM_FLOOR))
    unit = v / length
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, 0.0)
    pairs = k * (k - 1) / 2.0
    if kind == "orthogonal":
        value, derivative = np.abs(cosine), np.sign(cosine)
    else:
        value, derivative = np.maximum(cosine, 0.0) ** 2, 2.0 * np.maximum(cosine, 0.0)
    grad_unit = derivative @ unit / pairs
    # Moving v along itself does not turn it: that part of the gradient drops out, unless the length is the floor.
    along = as_float(squared > NORM_FLOOR) * (grad_unit * unit).sum(axis=1, keepdims=True)
    return 0.5 * float(value.sum()) / pairs, (grad_unit - along * unit) / length


def orthogonal(w: Array, factor: float, columns: bool) -> Penalty:
    """Keras's OrthogonalRegularizer: factor * mean over pairs of rows (or columns) of |cosine|."""
    value, gradient = _similarity(w.T if columns else w, "orthogonal")
    return factor * value, factor * (gradient.T if columns else gradient)


def repulsion(w: Array, factor: float) -> Penalty:
    """Return factor * mean over pairs of columns (units) of max(0, cosine)^2: 0 once no two units point alike."""
    value, gradient = _similarity(w.T, "repulsion")
    return factor * value, factor * gradient.T


def weight_penalties(op: Spec, tensors: list[Array]) -> tuple[float, list[Array]]:
    """Sum the penalties of one dense op.

    Parameters
    ----------
    op : a dense op of the program
    tensors : its tensors: kernel (n, u), then bias (u,) if it has one, ...

    Returns
    -------
    value : float
    gradients : one array per tensor
    """
    kernel = tensors[0]
    gradients = [np.zeros_like(tensor) for tensor in tensors]
    terms = [l1_l2(kernel, op["kernel_l1"], op["kernel_l2"])]
    if op["kernel_orthogonal"]:
        terms.append(orthogonal(kernel, op["kernel_orthogonal"], op["kernel_orthogonal_columns"]))
    if op["kernel_repulsion"]:
        terms.append(repulsion(kernel, op["kernel_repulsion"]))
    for _, gradient in terms:
        gradients[0] = gradients[0] + gradient
    value = sum(term[0] for term in terms)
    if op["use_bias"]:
        bias_value, gradients[1] = l1_l2(tensors[1], op["bias_l1"], op["bias_l2"])
        value += bias_value
    return value, gradients
