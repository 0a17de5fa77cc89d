"""Models with several outputs; `keras.Model(inputs, [a, b])` makes one.

`MultiOutput` is one net whose outputs are side by side, each a head with a loss of its own. `Outputs` is several models
that share layers, for predictions: of nets that cannot be one, since a layer is called on several tensors.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..arguments import quoted, shorten
from ..arrays import Array
from ..losses import PerHead
from . import heads, losses
from .configs import graph_config
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


def _keys(outputs: Any) -> list[str] | None:
    """The names that a dict of outputs gives them, in Keras's order."""
    return sorted(outputs) if isinstance(outputs, Mapping) else None


class MultiOutput(Functional):
    """A model with several outputs, each with a loss of its own: see `keras.Model`."""

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None, trainable: bool = True) -> None:
        self._subclassed = False
        self.keys, self._given_keys = _keys(outputs), list(outputs) if isinstance(outputs, Mapping) else []
        tensors = _listed(inputs)
        self._ends: list[KerasTensor] = _listed(outputs) if self.keys is None else [outputs[key] for key in self.keys]
        layers, source = side_by_side(tensors, self._ends)
        super(Model, self).__init__(layers, source, name)
        intermediate = len(tensors) == 1 and bool(tensors[0].layers)
        self._given = [source] if intermediate else [one.source for one in tensors if one.source is not None]
        self._trainable = bool(trainable)

    # ---- outputs ---------------------------------------------------------------------------------------------------

    @property
    def outputs(self) -> list[KerasTensor]:
        """Its outputs."""
        return list(self._ends)

    @property
    def output(self) -> Any:
        """Its outputs, as they were given: a list or a dict."""
        return self.as_given(self.outputs)

    @property
    def output_names(self) -> list[str]:
        """The keys of a dict of outputs, else the names of the layers that they come from."""
        return [one.name for one in self._ends] if self.keys is None else list(self.keys)

    @property
    def output_shape(self) -> Any:
        """A list of their shapes."""
        return [one.shape for one in self._ends]

    def as_given(self, values: list[Any]) -> Any:
        """One value for each output, as the outputs were given: in a list or a dict."""
        if self.keys is None:
            return values
        found = dict(zip(self.keys, values, strict=True))
        return {key: found[key] for key in self._given_keys}

    def _split(self, out: NDArray[Any]) -> Any:
        """Rows of all outputs side by side, as they were given."""
        shapes: list[Any] = [one.shape[1:] for one in self._ends]
        ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
        parts = np.split(np.asarray(out).reshape(len(out), -1), ends, axis=1)
        return self.as_given([np.ascontiguousarray(part).reshape(len(part), *shape)
                               for part, shape in zip(parts, shapes, strict=True)])  # fmt: skip

    def __call__(self, x: Any, training: bool | None = None, mask: Any = None) -> Any:
        """The outputs for arrays, or symbolic tensors for one."""
        if any(isinstance(one, KerasTensor) for one in _listed(x)):
            return self.as_given([self._part(i)(x) for i in range(len(self._ends))])
        out = self._split(np.asarray(super().__call__(x, training, mask)) if training else self._predicted(x))
        return {key: tensor(one) for key, one in out.items()} if self.keys else [tensor(one) for one in out]

    def _predicted(self, x: Any) -> Array:
        return self.fastdense.predict(self._rows("call", x))

    def _part(self, i: int) -> Any:
        """The model of one output, which shares its layers."""
        inputs = self.inputs if len(self.inputs) > 1 else self.inputs[0]
        return Model(inputs, self._ends[i])

    def predict(self, x: Any, *arguments: Any, **options: Any) -> Any:
        """A list of arrays, one for each output; a dict if the outputs were a dict."""
        return super().predict(x, *arguments, **options)

    # ---- training --------------------------------------------------------------------------------------------------

    def _heads(self) -> list[heads.Output]:
        names = self.output_names
        twice = [name for i, name in enumerate(names) if name in names[:i]]
        if twice:
            raise ValueError(
                f"compile: two outputs are called {twice[0]!r}. Give the layers that they come from names of their own."
            )
        made = []
        for name, end in zip(names, self._ends, strict=True):
            spec = end.layers[-1].spec if end.layers else None
            made.append(heads.Output(name, math.prod(end.shape[1:]), getattr(spec, "activation", "")))  # type: ignore[arg-type]
        return made

    def _compiled_as(self, loss: Any, loss_weights: Any, metrics: Any, weighted_metrics: Any) -> dict[str, Any]:
        outputs = self._heads()
        found = heads.loss_of(loss, loss_weights, outputs)
        chosen = heads.metrics_of(metrics, weighted_metrics, outputs)
        if found is not None:
            heads.core_metrics_of(found, chosen)
        return {"loss": found, "metrics": chosen, "loss_weights": None}

    def _core_metrics(self, loss: Any) -> list[Any]:
        assert self._compiled is not None
        chosen = self._compiled["metrics"]
        return heads.core_metrics_of(loss, chosen) if isinstance(chosen, Mapping) else list(chosen)

    def _targets(self, y: Any) -> Any:
        """Targets by the names of the outputs, each flat."""
        names = self.output_names
        loss = None if self._compiled is None else self._compiled["loss"]
        if not isinstance(loss, PerHead):
            return y
        if not isinstance(y, Mapping):
            if not isinstance(y, (list, tuple)):
                given = f"an array of shape {y.shape}" if hasattr(y, "shape") else shorten(y)
                raise ValueError(
                    f"{self.name}: y is {given}, and there are {len(names)} outputs. Pass a list of arrays for "
                    f"{quoted(names)}, in this order, or a dict by these names."
                )
            trained = [head.name for head in loss.heads if head.loss is not None]
            chosen = names if len(y) == len(names) else trained
            if len(y) != len(chosen):
                return y  # the check of targets says so
            y = dict(zip(chosen, y, strict=True))
        made = {}
        for name, given in y.items():
            array = given if hasattr(given, "ndim") or given is None else np.asarray(given)
            made[name] = array.reshape(len(array), -1) if getattr(array, "ndim", 0) > 2 else array
        self._adapt_to(loss, made)
        return {name: one for name, one in made.items() if one is not None}

    def _adapt_to(self, loss: PerHead, y: Mapping[str, Any]) -> None:
        """Let losses of the user's own get targets of as many columns and dimensions as are given."""
        changed = False
        for head in loss.heads:
            one = y.get(head.name)
            if not isinstance(head.loss, losses.Differentiated) or not getattr(one, "ndim", 0):
                continue
            head.loss.flat_targets = one.ndim == 1 and head.columns > 1  # type: ignore[union-attr]
            columns = 1 if one.ndim == 1 else int(one.shape[1])  # type: ignore[union-attr]
            if head.targets == columns:
                continue
            if self._built is not None and self._built.step:
                raise ValueError(
                    f"{self.name}: the targets of output {head.name!r} have {columns} columns, and had {head.targets} "
                    "before. Its loss needs as many in all calls, or compile it again."
                )
            changed, head.targets = True, columns
        if changed and self._built is not None:
            self._compile()

    # ---- config ----------------------------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        config = graph_config(self)
        ends: Any = [[one.name, 0, 0] for one in self._ends]
        return {**config, "output_layers": self.as_given(ends)}


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
        """Refuse: it is no single net."""
        try:
            side_by_side(self._starts, self._ends)
        except ValueError as error:
            raise ValueError(
                f"compile: {self.name} has {len(self._ends)} outputs, {quoted([one.name for one in self._ends])}, and "
                f"is no single net that could be trained. {error}"
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
