"""`Outputs`: models with several outputs, for predictions; `keras.Model(inputs, [a, b])` makes one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from ..arguments import quoted
from ..arrays import Array
from .layer import KerasTensor
from .layers import Flatten, Reshape
from .models import Model
from .tensor import tensor
from .variables import Weight


class Outputs(Model):
    """A model with several outputs: a model for each of them, which share their layers. It cannot be trained.

    Each output is computed from the inputs anew.
    """

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None, trainable: bool = True) -> None:
        self._subclassed = False
        self.names = list(outputs) if isinstance(outputs, Mapping) else None
        ends = list(outputs.values()) if isinstance(outputs, Mapping) else list(outputs)
        starts = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        self.parts: list[Any] = [None if any(_same(one, start) for start in starts) else Model(inputs, one)
                                 for one in ends]  # fmt: skip
        made = [part for part in self.parts if part is not None]
        layers = list(dict.fromkeys(layer for part in made for layer in part.all_layers))
        super(Model, self).__init__([], made[0].source if made else starts[0].source, name)
        self.all_layers, self._ends, self._trainable = layers, ends, bool(trainable)

    @property
    def layers(self) -> list[Any]:
        """The layers, the inputs included."""
        return list(dict.fromkeys(layer for part in self.parts if part is not None for layer in part.layers))

    @property
    def outputs(self) -> list[KerasTensor]:
        """Its outputs."""
        return list(self._ends)

    @property
    def output(self) -> Any:
        """A list of its outputs."""
        return self.outputs

    @property
    def output_shape(self) -> Any:
        """A list of their shapes."""
        return [one.shape for one in self._ends]

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
        """Refuse: a net is trained by one output."""
        raise ValueError(
            f"compile: {self.name} has {len(self._ends)} outputs, {quoted([one.name for one in self._ends])}. A net "
            "that is trained has one: make a model for each, or concatenate them to one that one loss is for."
        )

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


Model.several = Outputs
