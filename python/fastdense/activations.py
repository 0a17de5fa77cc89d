"""Names of the activation functions, and the slopes that some of them take."""

from __future__ import annotations

from .specs import Names

__all__ = ["ACTIVATIONS", "ALPHA", "NAMES"]

# Slope of leaky_relu below 0, scale of elu and celu, as in Keras 3; the other activations have no alpha.
ALPHA = {"leaky_relu": 0.2, "elu": 1.0, "celu": 1.0}

NAMES = Names("activation")
for _name, *_aliases in (
    ("linear", "identity"),
    ("relu",),
    ("leaky_relu",),
    ("prelu",),
    ("relu6",),
    ("elu",),
    ("selu",),
    ("celu",),
    ("gelu",),
    ("silu", "swish"),
    ("mish",),
    ("softplus",),
    ("softsign",),
    ("tanh",),
    ("sigmoid", "logistic"),
    ("hard_sigmoid",),
    ("exponential",),
    ("softmax",),
):
    NAMES.add(_name, *_aliases)

ACTIVATIONS = tuple(NAMES.shown)
