"""Constraints: what a tensor is replaced by after each update."""

from __future__ import annotations

import numpy as np

from .arrays import Array, Spec, as_float

EPSILON = 1e-7
AXES = {"columns": 0, "rows": 1, "all": None}


def project(spec: Spec, w: Array) -> Array:
    """Apply one constraint to a tensor; a vector is one column.

    Parameters
    ----------
    spec : {"kind": "non_negative"}, {"kind": "signs", "rows", "columns"} or
        {"kind": "norm", "over", "low", "high", "rate"}
    w : the tensor
    """
    if spec["kind"] == "non_negative":
        return np.maximum(w, 0.0)
    if spec["kind"] == "signs":
        return np.where(w * np.outer(spec["rows"], spec["columns"]) < 0.0, 0.0, w)
    norms = np.sqrt(np.sum(w * w, axis=AXES[spec["over"]] if w.ndim == 2 else 0, keepdims=True))
    rate = spec["rate"]
    wanted = rate * np.clip(norms, spec["low"], spec["high"]) + (1.0 - rate) * norms
    return as_float(w * (wanted / (EPSILON + norms)))
