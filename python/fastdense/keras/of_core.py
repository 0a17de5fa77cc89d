"""The layers here for those of `fastdense.layers`, of a model that was read from a file."""

from __future__ import annotations

import inspect
from typing import Any

from .. import layers as core_layers
from . import layers
from .graph import Columns, Join, Merge
from .lambdas import Lambda
from .layer import Layer

_CLASSES: dict[type[core_layers.Layer], type[Layer]] = {
    core_layers.Dense: layers.Dense,
    core_layers.Activation: layers.Activation,
    core_layers.Dropout: layers.Dropout,
    core_layers.BatchNorm: layers.BatchNormalization,
    core_layers.LayerNorm: layers.LayerNormalization,
    core_layers.Normalization: layers.Normalization,
    core_layers.Rescaling: layers.Rescaling,
    core_layers.UnitNormalization: layers.UnitNormalization,
    core_layers.GaussianNoise: layers.GaussianNoise,
    core_layers.GaussianDropout: layers.GaussianDropout,
    core_layers.AlphaDropout: layers.AlphaDropout,
    core_layers.ActivityRegularization: layers.ActivityRegularization,
}
_BY_ACTIVATION: dict[str, type[Layer]] = {
    "leaky_relu": layers.LeakyReLU,
    "elu": layers.ELU,
    "prelu": layers.PReLU,
}  # those with a parameter


def layer_of(spec: Any) -> Layer:
    """The layer around one of `fastdense.layers`, for models read from a file."""
    if isinstance(spec, core_layers.Composite):
        merge = spec.merge if isinstance(spec, core_layers.Branches) else "add"
        chains = spec.chains if isinstance(spec, core_layers.Branches) else [[], *spec.chains]
        merger = next(cls for cls in Merge.__subclasses__() if cls.merge == merge)
        join = Join(merge, merger(name=spec.name), [tuple(map(layer_of, chain)) for chain in chains])
        if not spec.trainable:
            join.trainable = False
        return join
    if isinstance(spec, core_layers.SelectColumns):
        return Columns(spec.columns)
    options = {"name": spec.name, "trainable": spec.trainable}
    if isinstance(spec, core_layers.Function):  # its functions are no arguments of Lambda
        layer = object.__new__(Lambda)
        Layer.__init__(layer, spec, options)
        return layer
    cls = _BY_ACTIVATION.get(spec.activation) if isinstance(spec, core_layers.Activation) else None
    cls = cls or _CLASSES.get(type(spec))
    if cls is None:
        raise ValueError(
            f"load_model: the model holds a {type(spec).__name__} layer, which has no counterpart here. Read the file "
            "with fastdense.load."
        )
    arguments = {name: getattr(spec, name) for name in inspect.signature(cls).parameters if hasattr(spec, name)}
    if isinstance(spec, core_layers.Activation) and cls is layers.LeakyReLU:
        arguments["negative_slope"] = spec.alpha
    if isinstance(spec, core_layers.Dense):
        arguments["kernel_initializer"] = spec.kernel_initializer.for_activation(spec.activation)
    made: Layer = cls(**{**arguments, **options})
    made.spec = spec
    if isinstance(made, layers.Normalization):
        made._adapted = spec.statistics
    return made
