"""`Dense`, and the layers that act on what it gives: `Activation`, `Dropout`, `Residual`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import initializers, regularizers
from ..activations import ALPHA, NAMES
from ..arguments import flag, integer, number, optional_text, shorten
from ..specs import Config, resolve
from .base import Array, DrawFor, Layer, TensorSpec, get

__all__ = ["Activation", "Dense", "Dropout", "Residual"]

_DEEPEST = 64  # residuals in one another, far more than is of use: the work of nesting grows with its square


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

    def __init__(self, activation: str, alpha: float | None = None, name: str | None = None) -> None:
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
    name : str, optional
        The model numbers layers without one, as in "dense_1".

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
        name: str | None = None,
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
        self.name = optional_text("Dense: name", name)

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


class Residual(Layer, names=("residual",)):
    """Adds its input to what its layers make of it (He et al., 2016): ``x + layers(x)``; may be nested.

    Parameters
    ----------
    layers : list of Layer
        Together they must give as many outputs as they get inputs.
    name : str, optional
        Name of the layer in tables and files; None lets the model number it.

    Examples
    --------
    >>> from fastdense.layers import Residual
    >>> Residual(["batch_norm"])
    Residual([BatchNorm()])
    """

    def __init__(self, layers: Sequence[Any], name: str | None = None) -> None:
        if not isinstance(layers, (list, tuple)) or not layers:
            raise TypeError(f"Residual: layers={shorten(layers)}. Give a list of at least one layer.")
        self.layers = [get(layer, f"Residual: layers[{i}]") for i, layer in enumerate(layers)]
        self.name = optional_text("Residual: name", name)
        inner = [layer._depth for layer in self.layers if isinstance(layer, Residual)]
        self._depth: int = 1 + max(inner, default=0)
        if self._depth > _DEEPEST:
            raise ValueError(f"Residual: {self._depth} of them are nested. Give at most {_DEEPEST}, one in another.")

    def _walk(self, inputs: int) -> list[tuple[Layer, int]]:
        """Each layer with the width of its input."""
        widths = [inputs]
        for layer in self.layers[:-1]:
            widths.append(layer.output_width(widths[-1]))
        return list(zip(self.layers, widths, strict=True))

    def output_width(self, inputs: int) -> int:
        outputs = inputs
        for layer in self.layers:
            outputs = layer.output_width(outputs)
        if outputs != inputs:
            raise ValueError(
                f"Residual: its layers turn {inputs} inputs into {outputs} outputs, so they cannot be added. "
                f"Let the last layer have {inputs} units, or put a Dense({outputs}) before the Residual."
            )
        return outputs

    def lower(self, inputs: int) -> list[Config]:
        ops = [op for layer, width in self._walk(inputs) for op in layer.lower(width)]
        return [{"kind": "residual_begin"}, *ops, {"kind": "residual_end"}]

    def tensors(self, inputs: int) -> list[TensorSpec]:
        return [
            TensorSpec(f"{i}.{spec.name}", spec.shape, spec.trainable)
            for i, (layer, width) in enumerate(self._walk(inputs))
            for spec in layer.tensors(width)
        ]

    def initial_values(self, inputs: int, draw: DrawFor) -> list[Array]:
        return [value for layer, width in self._walk(inputs) for value in layer.initial_values(width, draw)]

    def many_initial_values(self, inputs: int, seeds: Any, index: int) -> list[Array]:
        values: list[Array] = []
        for layer, width in self._walk(inputs):
            values += layer.many_initial_values(width, seeds, index + len(values))
        return values
