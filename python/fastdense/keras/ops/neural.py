"""Operations of losses: one-hot rows and cross-entropies."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import settings
from .arrays import log_softmax, squeeze, sum, take_along_axis
from .elementwise import add, clip, divide, log, log_sigmoid, multiply, negative, subtract
from .tape import plain


def float_type() -> str:
    """The type of arrays that are made, where none is given."""
    return "float32" if settings.floatx() == "bfloat16" else settings.floatx()


def one_hot(x: Any, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False) -> Any:
    """Rows of zeros with a 1 at the class of each number."""
    ids = np.asarray(plain(x)).astype(np.int64)
    made = (ids[..., None] == np.arange(num_classes)).astype(dtype or float_type())
    return np.moveaxis(made, -1, axis)


def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Any:
    """``-t log(o) - (1 - t) log(1 - o)`` of each element; probabilities are kept 1e-7 from 0 and 1."""
    if from_logits:
        yes, no = log_sigmoid(output), log_sigmoid(negative(output))
    else:
        output = clip(output, settings.epsilon(), 1 - settings.epsilon())
        yes, no = log(output), log(subtract(1.0, output))
    return negative(add(multiply(target, yes), multiply(subtract(1.0, target), no)))


def _log_probabilities(output: Any, from_logits: bool, axis: int) -> Any:
    if from_logits:
        return log_softmax(output, axis)
    output = divide(output, sum(output, axis, keepdims=True))
    return log(clip(output, settings.epsilon(), 1 - settings.epsilon()))


def categorical_crossentropy(target: Any, output: Any, from_logits: bool = False, axis: int = -1) -> Any:
    """``-sum t log(o)`` of each row."""
    return negative(sum(multiply(target, _log_probabilities(output, from_logits, axis)), axis))


def sparse_categorical_crossentropy(target: Any, output: Any, from_logits: bool = False, axis: int = -1) -> Any:
    """The same with the number of each row's class."""
    ids = np.asarray(plain(target)).astype(np.int64)
    if ids.ndim == np.ndim(plain(output)) and ids.shape[-1] == 1:
        ids = ids[..., 0]
    chosen = take_along_axis(_log_probabilities(output, from_logits, axis), np.expand_dims(ids, axis), axis)
    return negative(squeeze(chosen, axis))
