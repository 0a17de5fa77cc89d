"""The part of Keras's backend that scripts for dense nets use: settings for the models made from now on.

Older scripts write their losses with the operations of this module, such as ``K.mean``: they are those of `keras.ops`.
"""

from __future__ import annotations

from typing import Any

from .names import not_offered
from .settings import clear_session, epsilon, floatx, set_epsilon, set_floatx

__all__ = [
    "backend",
    "clear_session",
    "epsilon",
    "floatx",
    "image_data_format",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
]


def image_data_format() -> str:
    """Always "channels_last"; images are flattened in memory order."""
    return "channels_last"


def set_image_data_format(data_format: str) -> None:
    """Accept "channels_last"."""
    if data_format != "channels_last":
        raise ValueError(
            f"set_image_data_format: {data_format!r} is not offered; images are flattened in memory order. Leave it "
            "out, or use np.moveaxis on the images before fit."
        )


def backend() -> str:
    """Name of the backend: "fastdense"."""
    return "fastdense"


# Operations by their old names, and their names in `keras.ops`.
_OPERATIONS = {name: name for name in (
    "abs", "all", "any", "argmax", "argmin", "cast", "clip", "concatenate", "cos", "cumsum", "dot", "elu", "equal",
    "exp", "expand_dims", "eye", "greater", "greater_equal", "hard_sigmoid", "less", "less_equal", "log", "logsumexp",
    "max", "maximum", "mean", "min", "minimum", "not_equal", "one_hot", "ones", "ones_like", "prod", "relu", "repeat",
    "reshape", "round", "shape", "sigmoid", "sign", "sin", "softmax", "softplus", "softsign", "sqrt", "square",
    "squeeze", "stack", "std", "stop_gradient", "sum", "tanh", "tile", "transpose", "var", "zeros", "zeros_like",
    "binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy",
)} | {"pow": "power", "flatten": "ravel", "constant": "convert_to_tensor", "variable": "convert_to_tensor"}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _OPERATIONS:
        from . import ops  # seldom needed

        return getattr(ops, _OPERATIONS[name])
    return _missing(name)


_missing = not_offered(
    "backend",
    [*__all__, *_OPERATIONS],
    {
        "set_value|get_value": "Use the attribute: model.optimizer.learning_rate = value.",
        "^(function|gradients)$": "For gradients use model.fastdense.loss_and_grad(x, y).",
        "session|Session": "There is no session; leave the line out.",
    },
)
