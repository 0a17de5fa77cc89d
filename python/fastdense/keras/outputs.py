"""Models with several outputs; `keras.Model(inputs, [a, b])` makes one.

`MultiOutput` is one net whose outputs are side by side, each a head with a loss of its own. `Outputs` is several models
that share layers, for predictions: of nets that cannot be one, since a layer is called on several tensors.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from ..arguments import quoted
from ..arrays import Array
from .ends import Ends
from .functional import Functional, side_by_side
from .layer import KerasTensor
from .layers import Flatten, Reshape
from .models import Model
from .tensor import tensor
from .variables import Weight


def _listed(value: Any) -> list[Any]:
    """Tensors of a list, of a dict, or one."""
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, (list, tuple)) else [value]


class MultiOutput(Functional):
    """A model with several outputs, each with a loss of its own: see `keras.Model`."""

    _ends: Ends

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None, trainable: bool = True) -> None:
        self._subclassed = False
        self._ends, tensors = Ends(outputs), _listed(inputs)
        layers, source = side_by_side(tensors, self._ends.tensors)
        super(Model, self).__init__(layers, source, name)
        intermediate = len(tensors) == 1 and bool(tensors[0].layers)
        self._given = [source] if intermediate else [one.source for one in tensors if one.source is not None]
        self._trainable = bool(trainable)

    @property
    def output(self) -> Any:
        """Its outputs, as they were given: in a list, a tuple or a dict."""
        return self._ends.as_given(self.outputs)

    @property
    def output_names(self) -> list[str]:
        """The keys of a dict of outputs, else the names of the layers that they come from."""
        return self._ends.names

    def __call__(self, x: Any, training: bool | None = None, mask: Any = None) -> Any:
        """The outputs for arrays, or symbolic tensors for one."""
        if any(isinstance(one, KerasTensor) for one in _listed(x)):
            return self._ends.of(self.inputs, x)
        return super().__call__(x, training, mask)

    def predict(self, x: Any, *arguments: Any, **options: Any) -> Any:
        """Arrays, one for each output, as the outputs were given: in a list, a tuple or a dict."""
        return super().predict(x, *arguments, **options)


class Outputs(Model):
    """A model with several outputs: a model for each of them, which share their layers. It cannot be trained.

    Each output is computed from the inputs anew.
    """

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None, trainable: bool = True) -> None:
        self._subclassed = False
        self.names = list(outputs) if isinstance(outputs, Mapping) else None
        ends = list(outputs.values()) if isinstance(outputs, Mapping) else list(outputs)
        self._starts = starts = _listed(inputs)
        self.parts: list[Any] = [None if any(_same(one, start) for start in starts) else Model(inputs, one)
                                 for one in ends]  # fmt: skip
        made = [part for part in self.parts if part is not None]
        layers = list(dict.fromkeys(layer for part in made for layer in part.all_layers))
        super(Model, self).__init__([], made[0].source if made else starts[0].source, name)
        self.all_layers, self._tensors, self._trainable = layers, ends, bool(trainable)

    @property
    def layers(self) -> list[Any]:
        """The layers, the inputs included."""
        return list(dict.fromkeys(layer for part in self.parts if part is not None for layer in part.layers))

    @property
    def outputs(self) -> list[KerasTensor]:
        """Its outputs."""
        return list(self._tensors)

    @property
    def output(self) -> Any:
        """A list of its outputs."""
        return self.outputs

    @property
    def output_shape(self) -> Any:
        """A list of their shapes."""
        return [one.shape for one in self._tensors]

    def _each(self, x: Any, compute: Any) -> Any:
        found = [np.asarray(x) if part is None else compute(part) for part in self.parts]
        return found if self.names is None else dict(zip(self.names, found, strict=True))

    def __call__(self, x: Any, training: bool | None = None, mask: Any = None) -> Any:
        """The outputs for arrays, or symbolic tensors for one."""
        if isinstance(x, KerasTensor):
            return [x if part is None else part(x) for part in self.parts]
        return self._each(tensor(x), lambda part: _on_array(part, x, training))

    def predict(self, x: Any, *arguments: Any, **options: Any) -> Any:
        """A list of arrays, one for each output; a dict if the outputs were a dict."""
        return self._each(x, lambda part: np.asarray(_on_array(part, x, None)))

    def compile(self, *arguments: Any, **options: Any) -> NoReturn:
        """Refuse: it is no single net."""
        try:
            side_by_side(self._starts, self._tensors)
        except ValueError as error:
            raise ValueError(
                f"compile: {self.name} has {len(self._tensors)} outputs, "
                f"{quoted([one.name for one in self._tensors])}, and is no single net that could be trained. {error}"
            ) from None
        raise AssertionError  # it would not be of this class

    def _build(self) -> None:
        for part in self.parts:
            if part is not None and not all(isinstance(layer, (Flatten, Reshape)) for layer in part.all_layers):
                part.build()

    def get_weights(self) -> list[Array]:
        """Copies of all weights."""
        self._build()
        return [array for layer in self.all_layers for array in layer.get_weights()]

    @property
    def weights(self) -> list[Weight]:
        """All weights as variables."""
        self._build()
        return [weight for layer in self.all_layers for weight in layer.weights]


def _same(one: KerasTensor, other: Any) -> bool:
    return isinstance(other, KerasTensor) and one.source is other.source and one.layers == other.layers


def _on_array(part: Model, x: Any, training: bool | None) -> Any:
    """Outputs of a model, which may only reshape."""
    if not all(isinstance(layer, (Flatten, Reshape)) for layer in part.all_layers):
        return part(x, training=training)
    rows = tensor(x)
    for layer in part.all_layers:
        rows = layer(rows)
    return rows


def kind_of(inputs: Any, outputs: Any) -> type[Model]:
    """The class of the model with these outputs."""
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        side_by_side(_listed(inputs), _listed(outputs))
        return MultiOutput
    return Outputs


Model.several = staticmethod(kind_of)
