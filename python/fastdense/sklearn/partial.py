"""Whether an estimator has `partial_fit`."""

from __future__ import annotations

from typing import Any

from ..arguments import shorten
from .settings import make_optimizer


def has_partial_fit(estimator: Any) -> bool:
    """Whether rows may come piece by piece; AttributeError, as scikit-learn wants it, says why not.

    Raises
    ------
    AttributeError
        If the solver needs all rows at once, or rows would have to be kept out for validation.
    """
    name = type(estimator).__name__
    if estimator.early_stopping is not False:
        raise AttributeError(f"{name}: partial_fit cannot keep rows out; use early_stopping=False")
    try:
        full_batch = make_optimizer(estimator._settings()).full_batch
    except (TypeError, ValueError):
        return True  # fit and partial_fit raise it
    if full_batch:
        raise AttributeError(
            f"{name}: partial_fit gets rows piece by piece, and the solver {shorten(estimator.solver)} takes all of "
            "them in each step; use e.g. solver='adam'"
        )
    return True
