"""The several outputs of a model: their names, losses, targets and predictions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import quoted, shorten
from ..losses import PerHead
from . import heads, losses
from .layer import KerasTensor
from .serialization import library_class


class Ends:
    """Several outputs, in a list, a tuple or a dict.

    Parameters
    ----------
    outputs : list, tuple or dict of KerasTensor

    Attributes
    ----------
    tensors : list of KerasTensor
        In Keras's order, which is that of the sorted keys of a dict.
    """

    def __init__(self, outputs: Any) -> None:
        self.kind: type = dict if isinstance(outputs, Mapping) else tuple if isinstance(outputs, tuple) else list
        self.keys: list[str] = sorted(outputs) if isinstance(outputs, Mapping) else []
        self._given_keys = list(outputs) if self.keys else []
        self.tensors: list[KerasTensor] = [outputs[key] for key in self.keys] if self.keys else list(outputs)

    @property
    def names(self) -> list[str]:
        """The keys of a dict of outputs, else the names of the layers that they come from."""
        return list(self.keys) or [one.name for one in self.tensors]

    def as_given(self, values: list[Any]) -> Any:
        """One value for each output, as the outputs were given: in a list, a tuple or a dict."""
        if not self.keys:
            return self.kind(values)
        found = dict(zip(self.keys, values, strict=True))
        return {key: found[key] for key in self._given_keys}

    def split(self, out: NDArray[Any]) -> Any:
        """Rows of all outputs side by side, as they were given."""
        shapes: list[Any] = [one.shape[1:] for one in self.tensors]
        ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
        parts = np.split(np.asarray(out).reshape(len(out), -1), ends, axis=1)
        return self.as_given([np.ascontiguousarray(part).reshape(len(part), *shape)
                               for part, shape in zip(parts, shapes, strict=True)])  # fmt: skip

    def of(self, inputs: list[KerasTensor], x: Any) -> Any:
        """The symbolic tensors that the same layers give for other ones in place of the inputs."""
        kind = library_class("keras", "Model")
        return self.as_given([kind(inputs if len(inputs) > 1 else inputs[0], one)(x) for one in self.tensors])

    # ---- training --------------------------------------------------------------------------------------------------

    def _heads(self) -> list[heads.Output]:
        names = self.names
        twice = [name for i, name in enumerate(names) if name in names[:i]]
        if twice:
            raise ValueError(
                f"compile: two outputs are called {twice[0]!r}. Give the layers that they come from names of their own."
            )
        made = []
        for name, end in zip(names, self.tensors, strict=True):
            spec = end.layers[-1].spec if end.layers else None
            made.append(heads.Output(name, math.prod(end.shape[1:]), getattr(spec, "activation", "")))  # type: ignore[arg-type]
        return made

    def compiled_as(self, loss: Any, loss_weights: Any, metrics: Any, weighted_metrics: Any) -> dict[str, Any]:
        """What `compile` was given, checked."""
        outputs = self._heads()
        found = heads.loss_of(loss, loss_weights, outputs)
        chosen = heads.metrics_of(metrics, weighted_metrics, outputs)
        if found is not None:
            heads.core_metrics_of(found, chosen)
        return {"loss": found, "metrics": chosen, "loss_weights": None}

    def targets(self, model: Any, y: Any) -> Any:
        """Targets of a model with these outputs, by their names, each flat."""
        names = self.names
        loss = None if model._compiled is None else model._compiled["loss"]
        if not isinstance(loss, PerHead):
            return y
        if not isinstance(y, Mapping):
            if not isinstance(y, (list, tuple)):
                given = f"an array of shape {y.shape}" if hasattr(y, "shape") else shorten(y)
                raise ValueError(
                    f"{model.name}: y is {given}, and there are {len(names)} outputs. Pass a list of arrays for "
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
        _adapt_to(model, loss, made)
        return {name: one for name, one in made.items() if one is not None}


def _adapt_to(model: Any, loss: PerHead, y: Mapping[str, Any]) -> None:
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
        if model._built is not None and model._built.step:
            raise ValueError(
                f"{model.name}: the targets of output {head.name!r} have {columns} columns, and had {head.targets} "
                "before. Its loss needs as many in all calls, or compile it again."
            )
        changed, head.targets = True, columns
    if changed and model._built is not None:
        model._compile()
