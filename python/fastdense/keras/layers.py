"""Layers with Keras's arguments and defaults. A layer here holds one of `fastdense.layers`, or only shapes the data.

Beside their own arguments all take ``input_shape=``, ``input_dim=`` and ``batch_input_shape=`` (where a net begins),
``name=``, ``weights=`` (first values, as ``get_weights`` gives them) and ``dtype=``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import layers as ours
from ..arguments import shorten
from . import activations
from .layer import Input, InputLayer, KerasTensor, Layer, Shape, through
from .names import not_offered

__all__ = [
    "ELU",
    "Activation",
    "Add",
    "BatchNormalization",
    "Dense",
    "Dropout",
    "Flatten",
    "Input",
    "InputLayer",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "Normalization",
    "PReLU",
    "ReLU",
    "Rescaling",
    "Reshape",
    "Softmax",
    "add",
]


def _off(kind: str, **switched: tuple[Any, Any]) -> None:
    """Raise for an option of Keras's that is not offered, unless it has its default."""
    for name, (value, default) in switched.items():
        if value != default:
            raise ValueError(f"{kind}: {name}={shorten(value)} is not offered, only {default!r}. Leave it out.")


def activation_of(where: str, value: Any) -> str | ours.Activation | None:
    """What `fastdense` takes as activation, from a name, a function of `keras.activations` or a layer."""
    if value is None or isinstance(value, (str, ours.Activation)):
        return value
    if isinstance(value, activations.Function):
        return value.__name__
    if isinstance(value, Layer) and isinstance(value.spec, ours.Activation):
        return value.spec
    raise TypeError(
        f"{where}: activation={shorten(value)}. Functions of your own are not offered: give a name such as 'relu', "
        f"or one of keras.activations. Names are {', '.join(sorted(_functions()))}."
    )


def _functions() -> list[str]:
    return [name for name, value in vars(activations).items() if isinstance(value, activations.Function)]


class Dense(Layer):
    """``activation(x @ kernel + bias)``; the kernel starts as Glorot's uniform distribution whatever the activation."""

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **options: Any,
    ) -> None:
        if kernel_constraint is not None or bias_constraint is not None:
            raise ValueError("Dense: constraints are not offered. kernel_regularizer keeps weights small.")
        spec = ours.Dense(
            units,
            activation_of("Dense", activation),
            use_bias,
            kernel_initializer,
            bias_initializer,
            kernel_regularizer,
            bias_regularizer,
            activity_regularizer,
        )
        super().__init__(spec, options)


class Activation(Layer):
    """Applies an activation function, given by name or as one of `keras.activations`."""

    def __init__(self, activation: Any, **options: Any) -> None:
        given = activation_of("Activation", activation)
        super().__init__(given if isinstance(given, ours.Activation) else ours.Activation(given or "linear"), options)


class ReLU(Layer):
    """``max(0, x)``, or with a slope below 0, or cut off at 6."""

    def __init__(
        self, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0, **options: Any
    ) -> None:
        _off("ReLU", threshold=(threshold, 0.0))
        if max_value is not None and (max_value != 6 or negative_slope):
            raise ValueError(
                f"ReLU: max_value={max_value:g} with negative_slope={negative_slope:g} is not offered; "
                "max_value may be 6 or None, without a slope if it is 6."
            )
        alpha = negative_slope or None
        super().__init__(ours.Activation("relu6" if max_value else "leaky_relu" if alpha else "relu", alpha), options)


class LeakyReLU(Layer):
    """``max(x, negative_slope * x)``; the slope is 0.3 unless given (and 0.2 for ``activation="leaky_relu"``)."""

    def __init__(self, negative_slope: float = 0.3, **options: Any) -> None:
        super().__init__(ours.Activation("leaky_relu", options.pop("alpha", negative_slope)), options)


class PReLU(Layer):
    """A leaky ReLU that learns the slope of each unit, from 0."""

    def __init__(self, alpha_initializer: Any = "zeros", alpha_regularizer: Any = None, **options: Any) -> None:
        _off("PReLU", alpha_initializer=(alpha_initializer, "zeros"), alpha_regularizer=(alpha_regularizer, None))
        super().__init__(ours.Activation("prelu"), options)


class ELU(Layer):
    """``x`` above 0, ``alpha * (exp(x) - 1)`` below."""

    def __init__(self, alpha: float = 1.0, **options: Any) -> None:
        super().__init__(ours.Activation("elu", alpha), options)


class Softmax(Layer):
    """Shares that sum to 1; it can only end a net."""

    def __init__(self, axis: int = -1, **options: Any) -> None:
        _off("Softmax", axis=(axis, -1))
        super().__init__(ours.Activation("softmax"), options)


class Dropout(Layer):
    """In training sets a random share `rate` of the units to 0; the random numbers are those of the model's seed."""

    def __init__(self, rate: float, noise_shape: Any = None, seed: Any = None, **options: Any) -> None:
        _off("Dropout", noise_shape=(noise_shape, None))
        super().__init__(ours.Dropout(rate), options)


class BatchNormalization(Layer):
    """Scales each unit to mean 0 and variance 1 over the batch, then by a learned gamma and beta."""

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        **options: Any,
    ) -> None:
        _off("BatchNormalization", axis=(1 if axis in (-1, 1) else axis, 1), center=(center, True), scale=(scale, True))
        super().__init__(ours.BatchNorm(momentum, epsilon), options)


class LayerNormalization(Layer):
    """Scales each row to mean 0 and variance 1 over its units, then by a learned gamma and beta."""

    def __init__(
        self, axis: int = -1, epsilon: float = 1e-3, center: bool = True, scale: bool = True, **options: Any
    ) -> None:
        _off("LayerNormalization", axis=(1 if axis in (-1, 1) else axis, 1), center=(center, True), scale=(scale, True))
        super().__init__(ours.LayerNorm(epsilon), options)


class Normalization(Layer):
    """Scales each column by a mean and variance: those given, those of `adapt`, or else those of the first ``fit``."""

    spec: ours.Normalization

    def __init__(self, axis: int = -1, mean: Any = None, variance: Any = None, **options: Any) -> None:
        _off("Normalization", axis=(1 if axis in (-1, 1) else axis, 1))
        super().__init__(ours.Normalization(), options)
        if (mean is None) != (variance is None):
            raise ValueError("Normalization: mean and variance go together. Give both, or neither.")
        self._given = None if mean is None else (np.asarray(mean), np.asarray(variance))

    def adapt(self, data: Any) -> None:
        """Take mean and variance of each column from data of shape (rows, columns)."""
        self.spec.adapt(data)

    def made(self, shape: Shape) -> ours.Layer | None:
        if self._given is not None:
            self.spec.set_statistics(*(np.broadcast_to(value, shape) for value in self._given))
        return super().made(shape)


class Rescaling(Layer):
    """``scale * x + offset`` with fixed numbers, also of images before a `Flatten`: ``Rescaling(1 / 255)``."""

    flat = False

    def __init__(self, scale: Any, offset: Any = 0.0, **options: Any) -> None:
        super().__init__(ours.Rescaling(scale, offset), options)


class Flatten(Layer):
    """Turns each image into a row of numbers; they lie in memory that way already."""

    def __init__(self, data_format: Any = None, **options: Any) -> None:
        super().__init__(None, options)

    def output_shape_of(self, shape: Shape) -> Shape:
        return (math.prod(shape),)


class Reshape(Layer):
    """Gives each row another shape; one -1 stands for what is left."""

    def __init__(self, target_shape: Sequence[int], **options: Any) -> None:
        super().__init__(None, options)
        self.target_shape = tuple(int(n) for n in target_shape)

    def output_shape_of(self, shape: Shape) -> Shape:
        size, known = math.prod(shape), math.prod(n for n in self.target_shape if n != -1)
        made = tuple(size // known if n == -1 else n for n in self.target_shape)
        if self.target_shape.count(-1) > 1 or math.prod(made) != size:
            raise ValueError(f"{self.name}: a row of shape {shape} cannot have shape {self.target_shape}.")
        return made


class Add(Layer):
    """Adds what a branch gives to what it got: ``Add()([x, Dense(64)(x)])``, a residual connection."""

    def __init__(self, **options: Any) -> None:
        super().__init__(None, options)

    def __call__(self, x: Any) -> KerasTensor:
        if isinstance(x, (list, tuple)) and len(x) == 2 and all(isinstance(one, KerasTensor) for one in x):
            short, long = sorted(x, key=lambda one: len(one.layers))
            branch = long.layers[len(short.layers) :]
            if short.source is long.source and branch and long.layers[: len(short.layers)] == short.layers:
                width = through(short.layers, short.source.input_shape)
                inner, shape = [], width
                for layer in branch:
                    made = layer.made(shape)
                    inner += [] if made is None else [made]
                    shape = layer.output_shape_of(shape)
                self.spec = ours.Residual(inner)
                self.output_shape_of(width)
                return KerasTensor(short.source, (*short.layers, self))
        raise ValueError(
            f"{self.name}: it adds the two ends of one branch, Add()([x, layers(x)]). "
            "Other sums, and nets that are no chain, are not offered."
        )


def add(inputs: Sequence[KerasTensor], **options: Any) -> KerasTensor:
    """``Add()(inputs)``."""
    return Add(**options)(inputs)


_CLASSES: dict[type[ours.Layer], type[Layer]] = {
    ours.Dense: Dense,
    ours.Activation: Activation,
    ours.Dropout: Dropout,
    ours.BatchNorm: BatchNormalization,
    ours.LayerNorm: LayerNormalization,
    ours.Normalization: Normalization,
    ours.Rescaling: Rescaling,
    ours.Residual: Add,
}


def layer_of(spec: ours.Layer) -> Layer:
    """The layer around one of `fastdense.layers`, as a model has it that was read from a file."""
    cls = _CLASSES[type(spec)]
    layer = object.__new__(cls)
    Layer.__init__(layer, spec, {"name": spec.name})
    if isinstance(layer, Normalization):
        layer._given = None
    return layer


_DENSE_ONLY = "fastdense trains dense nets only"
_HINTS = {
    "Conv|Pool|UpSampling|ZeroPadding|Cropping": f"{_DENSE_ONLY}, without convolutions: Flatten() and Dense.",
    "LSTM|GRU|RNN|Attention|Embedding|TimeDistributed|Bidirectional|Masking|StringLookup|TextVector": f"{_DENSE_ONLY}"
    ", without sequences: give rows of one length to Dense.",
    "Concatenate|concatenate|Multiply|multiply|Subtract|subtract|Average|average|Dot|dot|Maximum|maximum": "A net is "
    "one chain of layers; only Add()([x, layers(x)]) joins.",
    "Lambda": "Apply the function to the data before fit, or use Activation with a name.",
    "GaussianNoise|GaussianDropout|AlphaDropout|SpatialDropout": "Dropout is the nearest.",
    "ActivityRegularization": "Dense(activity_regularizer=...) is the same.",
    "ThresholdedReLU": "ReLU is the nearest.",
    "Random|Resizing|CenterCrop": "Change the images before fit.",
    "^experimental$": "Rescaling and Normalization are in keras.layers itself.",
}
__getattr__ = not_offered("layers", __all__, _HINTS)
