"""Keras on JAX, in float64 throughout: import Keras from here."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_ENABLE_X64"] = "1"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import jax
    import keras
    from keras.src.backend.common import dtypes

__all__ = ["in_both", "keras", "loss_and_grad", "np_array", "twin"]
jax.config.update("jax_enable_x64", True)
keras.config.set_floatx("float64")
# Except on TensorFlow, Keras takes means and other sums of float64 in float32, which leaves seven digits.
dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"
assert dtypes.result_type("float64", "float32") == "float64"

import fastdense as fd  # noqa: E402
from fastdense import keras as ours  # noqa: E402
from tests.peers.problem import Array  # noqa: E402


def in_both(script: Callable[[ModuleType], Any]) -> tuple[Any, Any]:
    """What a script returns with Keras, its model first, and the same model here, in float64."""
    theirs = script(keras)
    ours.backend.set_floatx("float64")
    try:
        mine, *_ = script(ours)
        assert [w.shape for w in mine.get_weights()] == [w.shape for w in theirs[0].get_weights()]
    finally:
        ours.backend.set_floatx("float32")
    return theirs, mine


def twin(model: fd.Model) -> keras.Model:
    """Return the same net in Keras, with the same tensors."""
    inputs = keras.Input((model.inputs,))
    made = keras.Model(inputs, _apply(model.layers, inputs))
    made.set_weights(model.get_weights())
    return made


def _apply(layers: Sequence[Any], x: Any) -> Any:
    for layer in layers:
        if isinstance(layer, fd.Residual):
            x = keras.layers.Add()([x, _apply(layer.layers, x)])
            continue
        if isinstance(layer, fd.BatchNorm):
            made = keras.layers.BatchNormalization(momentum=layer.momentum, epsilon=layer.epsilon, **_scaling(layer))
            x = made(x)
        elif isinstance(layer, fd.LayerNorm):
            x = keras.layers.LayerNormalization(epsilon=layer.epsilon, **_scaling(layer))(x)
        elif isinstance(layer, fd.layers.UnitNormalization):
            x = keras.layers.UnitNormalization()(x)
        elif isinstance(layer, fd.layers.ActivityRegularization):
            x = keras.layers.ActivityRegularization(layer.l1, layer.l2)(x)
        elif isinstance(layer, fd.Dense):
            names = ("kernel", "bias")
            made = keras.layers.Dense(layer.units, use_bias=layer.use_bias, trainable=layer.trainable,
                                      **_of_tensors(layer, names))  # fmt: skip
            x = made(x)
        if isinstance(layer, (fd.Dense, fd.Activation)):
            x = _activation(layer, x)
        if isinstance(layer, fd.Dense) and layer.activity_regularizer is not None:
            x = keras.layers.ActivityRegularization(**layer.activity_regularizer.get_config())(x)
    return x


def _scaling(layer: Any) -> dict[str, Any]:
    flags = {"center": layer.center, "scale": layer.scale, "trainable": layer.trainable}
    return {**flags, **_of_tensors(layer, ("gamma", "beta"))}


def _of_tensors(layer: Any, tensors: Sequence[str]) -> dict[str, Any]:
    """Regularizers and constraints of a layer's tensors, as Keras's."""
    found: dict[str, Any] = {}
    for tensor in tensors:
        for kind, family in (("regularizer", keras.regularizers), ("constraint", keras.constraints)):
            given = getattr(layer, f"{tensor}_{kind}")
            if given is not None:
                found[f"{tensor}_{kind}"] = getattr(family, type(given).__name__)(**given.get_config())
    return found


def _activation(layer: Any, x: Any) -> Any:
    if layer.activation == "prelu":
        return keras.layers.PReLU()(x)
    name, alpha = layer.activation, layer.alpha
    if name == "gelu":
        return keras.layers.Activation(lambda z: keras.activations.gelu(z, approximate=False))(x)
    if alpha is None:
        return keras.layers.Activation(name)(x)
    named = {"leaky_relu": "negative_slope", "soft_shrink": "threshold", "hard_shrink": "threshold", "squareplus": "b"}
    option = named.get(name, "alpha")
    return keras.layers.Activation(lambda z: getattr(keras.activations, name)(z, **{option: alpha}))(x)


def loss_and_grad(
    model: keras.Model, loss: Any, x: Array, y: Array, w: Array | None = None, training: bool = False
) -> tuple[float, list[Array]]:
    """Return the loss of all rows as one batch, penalties included, and its gradient for the trainable tensors."""

    def total(trainable: list[Any]) -> Any:
        fixed = [variable.value for variable in model.non_trainable_variables]
        outputs, _, penalties = model.stateless_call(trainable, fixed, x, training=training, return_losses=True)
        return loss(y, outputs, sample_weight=w) + sum(penalties)

    value, gradient = jax.value_and_grad(total)([variable.value for variable in model.trainable_variables])
    return float(value), [np_array(g) for g in gradient]


def np_array(value: Any) -> Array:
    """Return a Keras or JAX array as a NumPy one."""
    array: Array = jax.device_get(value)
    return array
