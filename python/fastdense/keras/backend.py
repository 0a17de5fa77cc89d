"""The part of Keras's backend that scripts for dense nets use: settings for the models made from now on."""

from __future__ import annotations

from typing import Any

from ..network import DTYPES
from .layer import forget_names
from .names import not_offered

_state: dict[str, Any] = {"floatx": "float32", "epsilon": 1e-7}

__all__ = ["backend", "clear_session", "epsilon", "floatx", "image_data_format", "set_floatx"]


def floatx() -> str:
    """The dtype of new models."""
    return str(_state["floatx"])


def set_floatx(value: str) -> None:
    """Set the dtype of new models: "float32", "float64" or "bfloat16" (mixed precision)."""
    if value not in DTYPES:
        raise ValueError(f"set_floatx: {value!r} is not offered. Use one of {', '.join(map(repr, DTYPES))}.")
    _state["floatx"] = value


def epsilon() -> float:
    """The fuzz factor of losses: 1e-7."""
    return float(_state["epsilon"])


def image_data_format() -> str:
    """Always "channels_last"; images are flattened in memory order."""
    return "channels_last"


def backend() -> str:
    """Name of the backend: "fastdense"."""
    return "fastdense"


def clear_session() -> None:
    """Reset the numbers in layers' names; there is no other state."""
    forget_names()


__getattr__ = not_offered(
    "backend",
    __all__,
    {
        "set_value|get_value": "Use the attribute: model.optimizer.learning_rate = value.",
        "^(mean|sum|square|sqrt|abs|exp|log|max|min|dot|clip|cast|variable|constant|function|gradients)$": "There are "
        "no operations for custom losses or layers: the losses are those of keras.losses; for arrays use NumPy, for "
        "gradients model.fastdense.loss_and_grad(x, y).",
        "session|Session": "There is no session; leave the line out.",
    },
)
