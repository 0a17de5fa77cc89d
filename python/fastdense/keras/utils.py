"""Utilities of Keras that scripts for dense nets use."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .names import not_offered

__all__ = ["normalize", "set_random_seed", "to_categorical"]

_state: dict[str, Iterator[int] | None] = {"seeds": None}


def to_categorical(x: Any, num_classes: int | None = None, dtype: str = "float32") -> NDArray[Any]:
    """One-hot rows of class numbers.

    Parameters
    ----------
    x : array of ints
        Class numbers from 0, of any shape; a last axis of length 1 is dropped.
    num_classes : int, optional
        By default the largest class number plus 1.
    dtype : str

    Returns
    -------
    ndarray of shape (..., num_classes)

    Raises
    ------
    ValueError
        If a number is negative or not below `num_classes`.
    """
    ids = np.asarray(x).astype(np.int64)
    ids = ids[..., 0] if ids.ndim > 1 and ids.shape[-1] == 1 else ids
    classes = int(ids.max(initial=-1)) + 1 if num_classes is None else int(num_classes)
    if ids.size and not 0 <= ids.min() <= ids.max() < classes:
        raise ValueError(
            f"to_categorical: class numbers from {ids.min()} to {ids.max()} and num_classes={classes}. "
            "Numbers from 0 to num_classes - 1 are needed."
        )
    return np.eye(classes, dtype=dtype)[ids]


def normalize(x: Any, axis: int = -1, order: int = 2) -> NDArray[Any]:
    """Divide by the norm along an axis; vectors of norm 0 are unchanged."""
    a = np.asarray(x)
    norm = np.linalg.norm(a, order, axis, keepdims=True)
    return np.asarray(a / np.where(norm == 0, 1.0, norm))


def set_random_seed(seed: int) -> None:
    """Give the models made from now on the seeds ``seed``, ``seed + 1``, ...: the same script gives the same results.

    Without it each model gets a random seed, as in Keras. NumPy's global generator is not touched: seed it with
    ``np.random.seed``.
    """
    _state["seeds"] = itertools.count(int(seed))


def next_seed() -> int:
    """The seed of the next model."""
    seeds = _state["seeds"]
    return secrets.randbits(32) if seeds is None else next(seeds)


__getattr__ = not_offered(
    "utils",
    __all__,
    {
        "plot_model|model_to_dot": "model.summary() prints the layers.",
        "image_dataset|text_dataset|Sequence|PyDataset|get_file": "Data are arrays here; a np.memmap may be larger "
        "than memory.",
        "multi_gpu": "Leave it out.",
    },
)
