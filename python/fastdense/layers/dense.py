"""`Dense`, and the layers that act on what it gives: `Activation`, `Dropout`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import constraints, initializers, regularizers
from ..activations import ALPHA, NAMES
from ..arguments import flag, integer, number, optional_text, shorten
from ..specs import Config, resolve
from .base import Layer, TensorSpec

__all__ = ["Activation", "Dense", "Dropout"]


class Activation(Layer, names=("activation",)):
    """Applies an activation function.

    Parameters
    ----------
    activation : str
        One of `fastdense.activations.ACTIVATIONS`. prelu learns one slope per unit, from 0; softmax only ends a net.
    alpha : float, optional
        Slope of leaky_relu below 0 (0.2 unless given), or scale of elu and celu (1 unless given); the others take none.
    name : str, optional
        Name of the layer in tables and files; None lets the model number it.
    trainable : bool, default True
        Whether the slopes of prelu are trained.

    Raises
    ------
    ValueError
        If the name is unknown, or `alpha` is given to an activation that has none.

    Examples
    --------
    >>> from fastdense.layers import Activation
    >>> Activation("leaky_relu", alpha=0.1)
    Activation('leaky_relu', alpha=0.1)
    """

    def __init__(
        self, activation: str, alpha: float | None = None, name: str | None = None, trainable: bool = True
    ) -> None:
        if not isinstance(activation, str):
            raise TypeError(
                f"Activation: activation={shorten(activation)} is of type {type(activation).__name__}. "
                "Give a name such as 'relu'."
            )
        self.activation = NAMES.find(activation, "Activation: activation")
        self.alpha: float | None = None
        if self.activation in ALPHA:
            self.alpha = ALPHA[self.activation] if alpha is None else number("Activation: alpha", alpha, above=0)
        elif alpha is not None:
            raise ValueError(
                f"Activation: {self.activation} takes no alpha, got {shorten(alpha)}. "
                f"Leave it out; {', '.join(ALPHA)} have one."
            )
        self.name = optional_text("Activation: name", name)
        self.trainable = trainable

    def _is_default(self, name: str, value: Any) -> bool:
        return value == ALPHA.get(self.activation) if name == "alpha" else super()._is_default(name, value)

    def lower(self, inputs: int) -> list[Config]:
        return [{"kind": "activation", "activation": self.activation, "alpha": self.alpha or 0.0}]

    def tensors(self, inputs: int) -> list[TensorSpec]:
        return [TensorSpec("slope", (inputs,), True)] if self.activation == "prelu" else []


class Dense(Layer, names=("dense",)):
    """``activation(x @ kernel + bias)``.

    Parameters
    ----------
    units : int
        Number of outputs.
    activation : str or Activation, optional
        None is linear. Give ``Activation("leaky_relu", alpha=0.1)`` to choose a slope. After construction
        ``layer.activation`` is the name and ``layer.alpha`` the slope or None.
    use_bias : bool, default True
        Whether a bias is added.
    kernel_initializer : str or Initializer, default "auto"
        "auto" suits the activation (`fastdense.initializers.Auto`); Keras's default is "glorot_uniform"; "data" places
        the units on the data of the first fit, biases too (`fastdense.initializers.Data`).
    bias_initializer : str or Initializer, default "zeros"
        First values of the bias.
    kernel_regularizer : str, Regularizer or list, optional
    bias_regularizer, activity_regularizer : str, Regularizer or list, optional
        l1 and l2 only.
    kernel_constraint, bias_constraint : str or Constraint, optional
        What kernel and bias are replaced by after each update; see `fastdense.constraints`.
    name : str, optional
        The model numbers layers without one, as in "dense_1".
    trainable : bool, default True
        Whether training changes the layer's tensors; see `Layer`.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, of the wrong type, or an unknown name.

    Examples
    --------
    >>> from fastdense.layers import Dense
    >>> Dense(8, activation="relu")
    Dense(8, activation='relu')
    """

    def __init__(
        self,
        units: int,
        activation: str | Activation | None = None,
        use_bias: bool = True,
        kernel_initializer: str | initializers.Initializer = "auto",
        bias_initializer: str | initializers.Initializer = "zeros",
        kernel_regularizer: str | regularizers.Regularizer | Sequence[Any] | None = None,
        bias_regularizer: str | regularizers.Regularizer | Sequence[Any] | None = None,
        activity_regularizer: str | regularizers.Regularizer | Sequence[Any] | None = None,
        kernel_constraint: str | constraints.Constraint | None = None,
        bias_constraint: str | constraints.Constraint | None = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        self.units = integer("Dense: units", units, least=1)
        chosen = _activation(activation)
        self.activation = chosen.activation
        self.alpha = chosen.alpha
        self.use_bias = flag("Dense: use_bias", use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer, "Dense: kernel_initializer")
        self.bias_initializer = initializers.get(bias_initializer, "Dense: bias_initializer")
        if isinstance(self.bias_initializer, initializers.Data):
            raise ValueError("Dense: bias_initializer='data'. Give kernel_initializer='data': it places biases too.")
        self.kernel_regularizer = (
            None if kernel_regularizer is None else regularizers.get(kernel_regularizer, "Dense: kernel_regularizer")
        )
        self.bias_regularizer = regularizers.for_weights_or_outputs(bias_regularizer, "Dense: bias_regularizer")
        self.activity_regularizer = regularizers.for_weights_or_outputs(
            activity_regularizer, "Dense: activity_regularizer"
        )
        self.kernel_constraint = constraints.optional(kernel_constraint, "Dense: kernel_constraint", 2)
        self.bias_constraint = constraints.optional(bias_constraint, "Dense: bias_constraint", 1)
        self.name = optional_text("Dense: name", name)
        self.trainable = trainable

    def _params(self) -> dict[str, Any]:
        chosen = Activation(self.activation, self.alpha)
        plain: Any = None if self.activation == "linear" else self.activation
        return {**super()._params(), "activation": plain if self.alpha == ALPHA.get(self.activation) else chosen}

    def output_width(self, inputs: int) -> int:
        return self.units

    def lower(self, inputs: int) -> list[Config]:
        return [
            {
                "kind": "dense",
                "units": self.units,
                "use_bias": self.use_bias,
                "activation": self.activation,
                "alpha": self.alpha or 0.0,
                **regularizers.lower("kernel", self.kernel_regularizer),
                **regularizers.lower("bias", self.bias_regularizer),
                **regularizers.lower("activity", self.activity_regularizer),
                **constraints.lower_constraint("kernel", self.kernel_constraint, 2),
                **constraints.lower_constraint("bias", self.bias_constraint, 1),
            }
        ]

    def tensors(self, inputs: int) -> list[TensorSpec]:
        specs = [TensorSpec("kernel", (inputs, self.units), True)]
        if self.use_bias:
            specs.append(TensorSpec("bias", (self.units,), True))
        if self.activation == "prelu":
            specs.append(TensorSpec("slope", (self.units,), True))
        return specs

    def _initializer(self, tensor: str) -> initializers.Initializer:
        if tensor == "kernel":
            return self.kernel_initializer.for_activation(self.activation)
        return self.bias_initializer if tensor == "bias" else initializers.Zeros()


def _activation(value: Any) -> Activation:
    """Return the activation that a name, an `Activation`, its config dict or None stands for."""
    if value is None:
        return Activation("linear")
    if isinstance(value, str):
        return Activation(NAMES.find(value, "Dense: activation"))
    if isinstance(value, Activation):
        return value
    if isinstance(value, dict):
        made = resolve(Layer, value, "Dense: activation")
        if isinstance(made, Activation):
            return made
    raise TypeError(
        f"Dense: activation={shorten(value)} is of type {type(value).__name__}. "
        "Give a name such as 'relu', an Activation(...), or None for none."
    )


class Dropout(Layer, names=("dropout",)):
    """In training sets a random fraction of the units to 0 and scales the others by ``1 / (1 - rate)``.

    Parameters
    ----------
    rate : float
        The fraction that is dropped, from 0 to below 1.
    name : str, optional
        Name of the layer in tables and files; None lets the model number it.

    Examples
    --------
    >>> from fastdense.layers import Dropout
    >>> Dropout(0.2)
    Dropout(0.2)
    """

    operations = 14

    def __init__(self, rate: float, name: str | None = None) -> None:
        self.rate = number("Dropout: rate", rate, least=0, below=1)
        self.name = optional_text("Dropout: name", name)

    def lower(self, inputs: int) -> list[Config]:
        return [{"kind": "dropout", "rate": self.rate}]
