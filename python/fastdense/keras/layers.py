"""Layers with Keras's arguments and defaults. Each holds one of `fastdense.layers`, or only reshapes the data.

All also accept ``input_shape=``, ``input_dim=`` and ``batch_input_shape=`` (for the first layer), ``name=``,
``weights=`` (initial weights, in the form of ``get_weights``) and ``dtype=``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import layers as core_layers
from ..arguments import shorten
from ..arrays import Array
from ..layers import TensorSpec
from . import activations, initializers, settings
from .graph import Merge
from .lambdas import Applied, Lambda
from .layer import Input, InputLayer, Layer, Shape
from .names import not_offered
from .own import Own
from .serialization import deserialize_keras_object, get_registered_object, serialize_keras_object
from .settings import floatx
from .tensor import Tensor, tensor

__all__ = [
    "ELU",
    "Activation",
    "ActivityRegularization",
    "Add",
    "AlphaDropout",
    "Average",
    "BatchNormalization",
    "Concatenate",
    "Dense",
    "Dropout",
    "Flatten",
    "GaussianDropout",
    "GaussianNoise",
    "Identity",
    "Input",
    "InputLayer",
    "Lambda",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "Maximum",
    "Minimum",
    "Multiply",
    "Normalization",
    "PReLU",
    "ReLU",
    "Rescaling",
    "Reshape",
    "Softmax",
    "Subtract",
    "UnitNormalization",
    "add",
    "average",
    "concatenate",
    "deserialize",
    "maximum",
    "minimum",
    "multiply",
    "serialize",
    "subtract",
]


def _off(kind: str, **switched: tuple[Any, Any]) -> None:
    """Raise for options of Keras that are not offered, unless they have their defaults."""
    for name, (value, default) in switched.items():
        if value != default:
            raise ValueError(f"{kind}: {name}={shorten(value)} is not offered, only {default!r}. Leave it out.")


def _one_axis(axis: Any) -> Any:
    """1 for the last axis of rows, however it is written."""
    return 1 if np.ravel(axis).tolist() in ([-1], [1]) else axis


def activation_of(where: str, value: Any) -> Any:
    """The activation for `fastdense`, from a name, a function of `keras.activations` or a layer; others as they are."""
    registered = get_registered_object(value) if isinstance(value, str) else None
    value = value if registered is None else registered
    if value is None or isinstance(value, (str, core_layers.Activation)):
        return value
    value = activations.of_operation(value)
    if isinstance(value, Activation) and value._own is not None:
        return value.activation
    if isinstance(value, activations.Function):
        return value.__name__
    if isinstance(value, Layer) and isinstance(value.spec, core_layers.Activation):
        return value.spec
    if callable(value) and not isinstance(value, (type, Layer)):
        return value
    raise TypeError(
        f"{where}: activation={shorten(value)}. Pass a name such as 'relu', one of keras.activations, or a function of "
        f"a tensor. The names are {', '.join(sorted(_functions()))}."
    )


def _functions() -> list[str]:
    return [*activations.FUNCTIONS, "swish"]


class Dense(Layer):
    """``activation(x @ kernel + bias)``; the kernel is initialized by `glorot_uniform` whatever the activation."""

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
        chosen = activation_of("Dense", activation)
        own = None if chosen is None or isinstance(chosen, (str, core_layers.Activation)) else chosen
        if own is not None and activity_regularizer is not None:
            raise ValueError(
                "Dense: activity_regularizer with a function of your own as activation is not offered. Give the layer "
                "neither, and add Activation(function) and ActivityRegularization(...) behind it."
            )
        spec = core_layers.Dense(
            units,
            None if own is not None else chosen,
            use_bias,
            initializers.get(kernel_initializer),
            initializers.get("zeros" if bias_initializer is None else bias_initializer),
            kernel_regularizer,
            bias_regularizer,
            activity_regularizer,
            kernel_constraint,
            bias_constraint,
        )
        super().__init__(spec, options)
        self._applied = None if own is None else Applied(own, f"{self.name}_activation")

    @property
    def all_layers(self) -> list[Layer]:
        """Itself, and what applies a function of the user's own behind it."""
        return [self] if self._applied is None else [self, self._applied]

    @property
    def bias(self) -> Any:
        """The bias, a variable; None without one."""
        return self.__getattr__("bias") if self.spec.use_bias else None

    @property
    def activation(self) -> Any:
        """The activation function."""
        return activations.get(self.spec.activation) if self._applied is None else self._applied.own.function


class Activation(Layer):
    """Applies an activation function, given by name or as one of `keras.activations`."""

    weightless = True

    def __init__(self, activation: Any, **options: Any) -> None:
        given = activation_of("Activation", activation)
        if given is None or isinstance(given, str):
            given = core_layers.Activation(given or "linear")
        known = isinstance(given, core_layers.Activation)
        super().__init__(given if known else None, options)
        self._own = None if known else Own(self, given)

    @property
    def activation(self) -> Any:
        """The activation function."""
        return activations.get(self.spec.activation) if self._own is None else self._own.function


class ReLU(Layer):
    """``max(0, x)``, or with a slope below 0, or cut off at 6."""

    weightless = True

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
        super().__init__(
            core_layers.Activation("relu6" if max_value else "leaky_relu" if alpha else "relu", alpha), options
        )


class LeakyReLU(Layer):
    """``max(x, negative_slope * x)``; the slope is 0.3 unless given (and 0.2 for ``activation="leaky_relu"``)."""

    weightless = True

    def __init__(self, negative_slope: float = 0.3, **options: Any) -> None:
        super().__init__(core_layers.Activation("leaky_relu", options.pop("alpha", negative_slope)), options)
        self.negative_slope = self.spec.alpha


class PReLU(Layer):
    """A leaky ReLU that learns the slope of each unit, from 0."""

    def __init__(self, alpha_initializer: Any = "zeros", alpha_regularizer: Any = None, **options: Any) -> None:
        _off(
            "PReLU",
            alpha_initializer=(initializers.get(alpha_initializer), initializers.get("zeros")),
            alpha_regularizer=(alpha_regularizer, None),
        )
        super().__init__(core_layers.Activation("prelu"), options)


class ELU(Layer):
    """``x`` above 0, ``alpha * (exp(x) - 1)`` below."""

    weightless = True

    def __init__(self, alpha: float = 1.0, **options: Any) -> None:
        super().__init__(core_layers.Activation("elu", alpha), options)


class Softmax(Layer):
    """Softmax over the units; only as the last layer."""

    weightless = True

    def __init__(self, axis: int = -1, **options: Any) -> None:
        _off("Softmax", axis=(axis, -1))
        super().__init__(core_layers.Activation("softmax"), options)


class Dropout(Layer):
    """Sets a random fraction `rate` of the units to 0 during training; the model's seed decides which."""

    weightless = True
    idle = True

    def __init__(self, rate: float, noise_shape: Any = None, seed: Any = None, **options: Any) -> None:
        _off("Dropout", noise_shape=(noise_shape, None))
        super().__init__(core_layers.Dropout(rate), options)

    def in_training(self, rows: NDArray[Any]) -> Array:
        kept = np.random.default_rng(settings.next_seed()).random(rows.shape) >= self.spec.rate
        return np.where(kept, rows / (1 - self.spec.rate), 0).astype(floatx())


class BatchNormalization(Layer):
    """Scales each unit to mean 0 and variance 1 over the batch, then by a learned gamma and beta."""

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        synchronized: bool = False,
        **options: Any,
    ) -> None:
        _off("BatchNormalization", axis=(_one_axis(axis), 1))
        spec = core_layers.BatchNorm(
            momentum,
            epsilon,
            center=center,
            scale=scale,
            beta_initializer=initializers.get(beta_initializer),
            gamma_initializer=initializers.get(gamma_initializer),
            moving_mean_initializer=initializers.get(moving_mean_initializer),
            moving_variance_initializer=initializers.get(moving_variance_initializer),
            beta_regularizer=beta_regularizer,
            gamma_regularizer=gamma_regularizer,
            beta_constraint=beta_constraint,
            gamma_constraint=gamma_constraint,
        )
        super().__init__(spec, options)

    def in_training(self, rows: NDArray[Any]) -> Array:
        """Scaled by the statistics of these rows, which the moving ones take in; by these if it is not trained."""
        if not self.trainable:
            return self.computed(rows)
        self.computed(rows[:1])  # makes the weights
        own, mean, variance = {one.name: one for one in self.weights}, rows.mean(axis=0), rows.var(axis=0)
        made = (rows - mean) / np.sqrt(variance + self.spec.epsilon)
        for name, now in (("moving_mean", mean), ("moving_variance", variance)):
            own[name].assign(self.spec.momentum * own[name].value + (1 - self.spec.momentum) * now)
        made = made * own["gamma"].value if "gamma" in own else made
        made = made + own["beta"].value if "beta" in own else made
        return np.asarray(made, dtype=floatx())


class LayerNormalization(Layer):
    """Scales each row to mean 0 and variance 1 over its units, then by a learned gamma and beta."""

    def __init__(
        self,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **options: Any,
    ) -> None:
        _off("LayerNormalization", axis=(_one_axis(axis), 1))
        spec = core_layers.LayerNorm(
            epsilon,
            center=center,
            scale=scale,
            beta_initializer=initializers.get(beta_initializer),
            gamma_initializer=initializers.get(gamma_initializer),
            beta_regularizer=beta_regularizer,
            gamma_regularizer=gamma_regularizer,
            beta_constraint=beta_constraint,
            gamma_constraint=gamma_constraint,
        )
        super().__init__(spec, options)


class UnitNormalization(Layer):
    """Divides each row by its Euclidean norm."""

    weightless = True

    def __init__(self, axis: int = -1, **options: Any) -> None:
        _off("UnitNormalization", axis=(_one_axis(axis), 1))
        super().__init__(core_layers.UnitNormalization(), options)


class GaussianNoise(Layer):
    """Adds normal noise during training; the model's seed decides."""

    weightless = True
    idle = True

    def __init__(self, stddev: float, seed: Any = None, **options: Any) -> None:
        super().__init__(core_layers.GaussianNoise(stddev), options)


class GaussianDropout(Layer):
    """Multiplies by normal noise of mean 1 during training; the model's seed decides."""

    weightless = True
    idle = True

    def __init__(self, rate: float, seed: Any = None, **options: Any) -> None:
        super().__init__(core_layers.GaussianDropout(rate), options)


class AlphaDropout(Layer):
    """Dropout for selu units; the model's seed decides."""

    weightless = True
    idle = True

    def __init__(self, rate: float, noise_shape: Any = None, seed: Any = None, **options: Any) -> None:
        _off("AlphaDropout", noise_shape=(noise_shape, None))
        super().__init__(core_layers.AlphaDropout(rate), options)


class ActivityRegularization(Layer):
    """Adds a penalty on what passes through to the loss."""

    weightless = True

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **options: Any) -> None:
        super().__init__(core_layers.ActivityRegularization(l1, l2), options)


class Normalization(Layer):
    """Scales by a mean and variance: those given, or those of `adapt`; before that by 0 and 1, as in Keras.

    With ``axis=-1`` each column has its own, with ``axis=None`` there is one of each for all numbers.
    """

    flat = False

    def __init__(
        self, axis: Any = -1, mean: Any = None, variance: Any = None, invert: bool = False, **options: Any
    ) -> None:
        _off("Normalization", invert=(invert, False))
        super().__init__(core_layers.Normalization(), options)
        if (mean is None) != (variance is None):
            raise ValueError("Normalization: mean and variance belong together. Pass both, or neither.")
        self.axis: tuple[int, ...] = () if axis is None else tuple(np.atleast_1d(np.asarray(axis, dtype=int)).tolist())
        self._given = None if mean is None else (np.asarray(mean, dtype=float), np.asarray(variance, dtype=float))
        self._adapted: tuple[Array, Array] | None = self._given
        self._shape: Shape | None = None  # of a row, once it is known

    def adapt(self, data: Any, batch_size: int | None = None, steps: int | None = None) -> None:
        """Compute mean and variance of data: an array, a data frame, or rows of one column."""
        if self._given is not None:
            raise ValueError(f"{self.name}: adapt: mean and variance were given already. Leave them out to adapt.")
        rows = np.asarray(data)
        rows = rows[:, None] if rows.ndim == 1 and (self.axis or self._shape) else rows
        where = f"{self.name}.adapt"
        if rows.dtype.kind not in "biuf" or not rows.size:
            raise ValueError(f"{where}: data has shape {rows.shape} and dtype {rows.dtype}. Numbers are needed.")
        kept = self._kept(rows.ndim)
        mixed = tuple(axis for axis in range(rows.ndim) if axis not in kept)
        rows = rows.astype(np.float64)
        if not np.isfinite(rows).all():
            raise ValueError(f"{where}: data holds NaN or infinity. Remove or fill such values first.")
        self._adapted = rows.mean(axis=mixed), rows.var(axis=mixed)
        if self._shape is None and rows.ndim > 1:
            self._shape = tuple(rows.shape[1:])
        self._set()

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": list(self.axis)}

    def _kept(self, ndim: int) -> tuple[int, ...]:
        """The axes that have statistics of their own, of data with so many dimensions."""
        kept = tuple(sorted(axis % ndim for axis in self.axis))
        if 0 in kept:
            raise ValueError(f"{self.name}: axis={self.axis} holds that of the rows. Give axes of a row, or None.")
        return kept

    def _set(self) -> None:
        """Give the inner layer the statistics, one of each for every column of a flat row."""
        if self._shape is not None:
            mean, variance = self._adapted or (np.zeros(()), np.ones(()))
            kept = self._kept(1 + len(self._shape))
            broad = [n if 1 + i in kept else 1 for i, n in enumerate(self._shape)]
            full = [np.broadcast_to(one.reshape(broad) if one.ndim and one.size > 1 else one, self._shape).ravel()
                    for one in (mean, variance)]  # fmt: skip
            self.spec.set_statistics(*full)
            if self.owner is not None and self.owner.root is not self.owner:  # in a block, which does not look at them
                self.owner.set_tensors_of(self, full)

    @property
    def mean(self) -> Tensor | None:
        """The mean, in a shape that fits the data; None before it is known."""
        return self._statistic(0)

    @property
    def variance(self) -> Tensor | None:
        """The variance likewise."""
        return self._statistic(1)

    def _statistic(self, which: int) -> Tensor | None:
        if self._shape is None:
            return None if self._adapted is None else tensor(np.atleast_1d(self._adapted[which]).astype(floatx()))
        assert self.spec.statistics is not None
        kept = self._kept(1 + len(self._shape))
        broad = [1, *(n if 1 + i in kept else 1 for i, n in enumerate(self._shape))]
        return tensor(self._reduced(self.spec.statistics[which]).reshape(broad).astype(floatx()))

    def made(self, shape: Shape) -> core_layers.Layer | None:
        self._shape = shape
        if self._adapted is not None or not self.spec.adapted:
            self._set()
        return super().made(shape)

    # Keras has weights for what `adapt` computes: mean, variance, and a count that stays 0.

    def shown_weights(self, tensors: list[Array]) -> list[Array]:
        if self._given is not None or not tensors:
            return []
        return [*(self._reduced(one) for one in tensors), np.zeros((), dtype=np.int32)]

    def _reduced(self, tensor: Array) -> Array:
        """The statistics without those that are repeated."""
        assert self._shape is not None
        kept = self._kept(1 + len(self._shape))
        row = tensor.reshape(self._shape)
        return np.asarray(row[tuple(slice(None) if 1 + i in kept else 0 for i in range(row.ndim))])

    def inner_tensors(self, weights: Sequence[Any], tensors: list[Array]) -> list[Any]:
        if self._given is not None or not tensors:
            return tensors
        self._adapted = np.asarray(weights[0], dtype=float), np.asarray(weights[1], dtype=float)
        self._set()
        assert self.spec.statistics is not None
        return list(self.spec.statistics)

    def weight_traits(self, specs: list[TensorSpec]) -> list[tuple[str, bool]]:
        names = ("mean", "variance", "count") if self._given is None and specs else ()
        return [(name, False) for name in names]


class Rescaling(Layer):
    """``scale * x + offset`` with fixed numbers, also of images before a `Flatten`: ``Rescaling(1 / 255)``."""

    flat = False

    def __init__(self, scale: Any, offset: Any = 0.0, **options: Any) -> None:
        super().__init__(core_layers.Rescaling(scale, offset), options)

    def shown_weights(self, tensors: list[Array]) -> list[Array]:
        return []

    def inner_tensors(self, weights: Sequence[Any], tensors: list[Array]) -> list[Any]:
        return tensors

    def weight_traits(self, specs: list[TensorSpec]) -> list[tuple[str, bool]]:
        return []


class Flatten(Layer):
    """Flattens each image into a row, in memory order."""

    def __init__(self, data_format: Any = "channels_last", **options: Any) -> None:
        _off("Flatten", data_format=(data_format or "channels_last", "channels_last"))
        super().__init__(None, options)

    def output_shape_of(self, shape: Shape) -> Shape:
        return (math.prod(shape),)


class Identity(Layer):
    """Gives what it gets."""

    weightless = True

    def __init__(self, **options: Any) -> None:
        super().__init__(None, options)


class Reshape(Layer):
    """Reshapes each row; one dimension may be -1, to be inferred."""

    weightless = True

    def __init__(self, target_shape: Sequence[int], **options: Any) -> None:
        super().__init__(None, options)
        self.target_shape = tuple(int(n) for n in target_shape)

    def output_shape_of(self, shape: Shape) -> Shape:
        size, known = math.prod(shape), math.prod(n for n in self.target_shape if n != -1)
        made = tuple(size // known if n == -1 else n for n in self.target_shape)
        if self.target_shape.count(-1) > 1 or math.prod(made) != size:
            raise ValueError(f"{self.name}: a row of shape {shape} cannot be reshaped to {self.target_shape}.")
        return made


class Concatenate(Merge):
    """Puts tensors side by side: ``Concatenate()([a, b])``."""

    merge = "concatenate"

    def __init__(self, axis: int = -1, **options: Any) -> None:
        _off("Concatenate", axis=(-1 if _one_axis(axis) == 1 else axis, -1))
        super().__init__(**options)


class Add(Merge):
    """Adds tensors of the same shape; ``Add()([x, Dense(64)(x)])`` is a residual connection."""

    merge = "add"


class Subtract(Merge):
    """Subtracts the second of two tensors from the first."""

    merge = "subtract"


class Multiply(Merge):
    """Multiplies tensors, element by element."""

    merge = "multiply"


class Average(Merge):
    """Takes the mean of tensors, element by element."""

    merge = "average"


class Maximum(Merge):
    """Takes the maximum of tensors, element by element."""

    merge = "maximum"


class Minimum(Merge):
    """Takes the minimum of tensors, element by element."""

    merge = "minimum"


def concatenate(inputs: Sequence[Any], axis: int = -1, **options: Any) -> Any:
    """``Concatenate(axis)(inputs)``."""
    return Concatenate(axis, **options)(inputs)


def add(inputs: Sequence[Any], **options: Any) -> Any:
    """``Add()(inputs)``."""
    return Add(**options)(inputs)


def subtract(inputs: Sequence[Any], **options: Any) -> Any:
    """``Subtract()(inputs)``."""
    return Subtract(**options)(inputs)


def multiply(inputs: Sequence[Any], **options: Any) -> Any:
    """``Multiply()(inputs)``."""
    return Multiply(**options)(inputs)


def average(inputs: Sequence[Any], **options: Any) -> Any:
    """``Average()(inputs)``."""
    return Average(**options)(inputs)


def maximum(inputs: Sequence[Any], **options: Any) -> Any:
    """``Maximum()(inputs)``."""
    return Maximum(**options)(inputs)


def minimum(inputs: Sequence[Any], **options: Any) -> Any:
    """``Minimum()(inputs)``."""
    return Minimum(**options)(inputs)


def serialize(layer: Layer) -> dict[str, Any]:
    """The class and the config of a layer, as JSON types."""
    made: dict[str, Any] = serialize_keras_object(layer)
    return made


def deserialize(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The layer that `serialize` described."""
    return deserialize_keras_object(config, custom_objects)


_DENSE_ONLY = "fastdense trains dense nets only"
_HINTS = {
    "Conv|Pool|UpSampling|ZeroPadding|Cropping": f"{_DENSE_ONLY}, without convolutions: use Flatten() and Dense.",
    "LSTM|GRU|RNN|Attention|Embedding|TimeDistributed|Bidirectional|Masking|StringLookup|TextVector": f"{_DENSE_ONLY}"
    ", without sequences: give rows of one length to Dense.",
    "Dot|dot": "Multiply()([a, b]) is its sum's terms; a Dense(1) behind it adds them up, with weights.",
    "SpatialDropout": "Dropout is the nearest alternative.",
    "ThresholdedReLU": "ReLU is the nearest alternative.",
    "Random|Resizing|CenterCrop": "Transform the images before fit.",
    "CategoryEncoding|IntegerLookup|Hashing": "fastdense.OneHot does this in a fastdense.Model; or encode the columns "
    "with NumPy before fit.",
    "Discretization": "Encode the columns with NumPy before fit.",
    "^experimental$": "Rescaling and Normalization are in keras.layers itself.",
}
__getattr__ = not_offered("layers", __all__, _HINTS)
