"""What a model is before anything is computed: its layers, their names and tensors, and the program for an engine."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .arrays import Array, check_memory
from .initializers import Draws
from .layers import Layer, Normalization, Residual, TensorSpec
from .layers import get as get_layer
from .specs import integer

DTYPES = ("float32", "float64")


@dataclass
class Statistics:
    """A `Normalization` of a net and where its mean and variance come from.

    `op` is the number of its op, `tensor` that of its mean. `given` is the object that the user handed over, `layer`
    the net's own copy, so that models built from the same objects stay apart. `origin` is None before anything is
    known, "adapt" if `adapt` or a file gave the statistics, "fit" if the first fit took them.
    """

    given: Normalization
    layer: Normalization
    op: int
    tensor: int
    origin: str | None = None
    seen_given: Array | None = None
    seen: Array | None = None

    def changed(self) -> bool:
        """Whether `adapt` was called on either object since the last look; the net's copy then has the new values."""
        if self.given.mean is not self.seen_given and self.given.mean is not None and self.given.variance is not None:
            self.seen_given = self.given.mean
            self.layer.set_statistics(self.given.mean, self.given.variance)
        if self.layer.mean is self.seen:
            return False
        self.seen, self.origin = self.layer.mean, "adapt"
        return True

    def take(self, mean: Array, variance: Array, origin: str | None) -> None:
        """Take over statistics that are in the tensors already."""
        if origin is not None:
            self.layer.set_statistics(mean, variance)
        self.seen, self.origin = self.layer.mean, origin


class Net:
    """Layers put together.

    Parameters
    ----------
    layers : list
        Layers, names of layers or their config dicts.
    inputs : int
    seed : int
    dtype : {"float32", "float64"}

    Attributes
    ----------
    layers : list of Layer
    names : list of str
        One name per layer, all different.
    widths : list of int
        Outputs of each layer.
    ends : list of int
        Number of the last op of each layer.
    tensors : list of TensorSpec
        All tensors in the engines' order, named "layer/tensor".
    statistics : list of Statistics
    program : dict
        The net as the engines take it.
    """

    def __init__(self, layers: Sequence[Any], inputs: int, seed: int, dtype: str) -> None:
        if isinstance(layers, (str, Layer)) or not isinstance(layers, Sequence):
            raise TypeError(f"Model: layers is {layers!r}; a list of layers is needed: e.g. [fd.Dense(10)]")
        if not layers:
            raise ValueError("Model: layers is empty; a net needs at least one layer: e.g. [fd.Dense(10)]")
        self.inputs = integer("Model: inputs", inputs, least=1)
        self.seed = integer("Model: seed", seed, least=0, most=2**64 - 1)
        if dtype not in DTYPES:
            raise ValueError(f"Model: dtype is {dtype!r}; needed: 'float32' or 'float64'")
        self.dtype = str(dtype)
        given = [get_layer(layer, f"Model: layers[{i}]") for i, layer in enumerate(layers)]
        self.layers = [copy.deepcopy(layer) if any(_normalizations(layer)) else layer for layer in given]
        self.names = _unique_names(self.layers)
        self.widths: list[int] = []
        self.ends: list[int] = []
        self.tensors: list[TensorSpec] = []
        self.statistics: list[Statistics] = []
        ops: list[dict[str, Any]] = []
        width = self.inputs
        for user, layer, name in zip(given, self.layers, self.names, strict=True):
            self._add_statistics(user, layer, width, len(ops), len(self.tensors))
            ops += layer.lower()
            self.tensors += [TensorSpec(f"{name}/{t.name}", t.shape, t.trainable) for t in layer.tensors(width)]
            width = layer.output_width(width)
            self.widths.append(width)
            self.ends.append(len(ops) - 1)
        self.outputs = width
        for op in ops[:-1]:
            if op.get("activation") == "softmax":
                raise ValueError(
                    "Model: softmax is used before the last layer; softmax must end a net: "
                    "use another activation there, e.g. 'relu'"
                )
        self.program = {"inputs": self.inputs, "seed": self.seed, "dtype": self.dtype, "ops": ops}
        self.itemsize = np.dtype(self.dtype).itemsize
        check_memory(
            "Model",
            3 * self.itemsize * self.count(),
            f"a net of {self.count():,} parameters (with gradients and the first values)",
            "use smaller layers",
        )

    def _add_statistics(self, user: Layer, layer: Layer, width: int, op: int, tensor: int) -> None:
        for (given, _, _, _), (own, w, o, t) in zip(_leaves(user, width), _leaves(layer, width), strict=True):
            if isinstance(own, Normalization) and isinstance(given, Normalization):
                entry = Statistics(given, own, op + o, tensor + t, seen_given=given.mean, seen=own.mean)
                entry.origin = None if own.mean is None else "adapt"
                own.tensors(w)  # raises if the layer was adapted to another width
                self.statistics.append(entry)

    def count(self, trainable: bool | None = None) -> int:
        """Number of parameters: all, or only those that training changes by their gradient (or the others)."""
        return _count(t for t in self.tensors if trainable is None or t.trainable == trainable)

    def initial_values(self) -> list[Array]:
        """First values of all tensors, float64."""
        draws, width = Draws(self.seed), self.inputs
        values: list[Array] = []
        for layer, outputs in zip(self.layers, self.widths, strict=True):
            values += layer.initial_values(width, draws)
            width = outputs
        return values

    def config_layers(self) -> list[dict[str, Any]]:
        """The layers as config dicts."""
        return [layer.to_dict() for layer in self.layers]

    def fresh_layers(self) -> list[Layer]:
        """Layers for a clone: statistics that the user gave stay, those of the first fit are forgotten."""
        layers = copy.deepcopy(self.layers)
        copies = [layer for top in layers for layer in _normalizations(top)]
        for entry, layer in zip(self.statistics, copies, strict=True):
            if entry.origin != "adapt":
                layer.mean = layer.variance = None
        return layers

    def summary(self, title: str) -> str:
        """The table that `Model.summary` prints."""
        rows, inputs = [], self.inputs
        for layer, name, width in zip(self.layers, self.names, self.widths, strict=True):
            rows.append((f"{name} ({type(layer).__name__})", f"(rows, {width})", f"{_count(layer.tensors(inputs)):,}"))
            inputs = width
        heads = ("Layer (type)", "Output shape", "Param #")
        sizes = [max(len(row[i]) for row in (heads, *rows)) + 3 for i in range(3)]
        line = "-" * sum(sizes)

        def text(row: tuple[str, str, str]) -> str:
            return f"{row[0]:<{sizes[0]}}{row[1]:<{sizes[1]}}{row[2]:>{sizes[2]}}"

        totals = [
            f"{label}: {count:,} ({_bytes(count * self.itemsize)})"
            for label, count in (
                ("Total params", self.count()),
                ("Trainable params", self.count(True)),
                ("Non-trainable params", self.count(False)),
            )
        ]
        body = [f'Model: "{title}" ({self.inputs} inputs)', line, text(heads), line, *map(text, rows), line, *totals]
        return "\n".join(body)


def _count(tensors: Iterable[TensorSpec]) -> int:
    return sum(math.prod(tensor.shape) for tensor in tensors)


def _leaves(layer: Layer, width: int, op: int = 0, tensor: int = 0) -> Iterator[tuple[Layer, int, int, int]]:
    """The layers inside a layer: each with the width of its input, its first op and its first tensor."""
    if not isinstance(layer, Residual):
        yield layer, width, op, tensor
        return
    op += 1
    for inner in layer.layers:
        yield from _leaves(inner, width, op, tensor)
        op, tensor = op + len(inner.lower()), tensor + len(inner.tensors(width))
        width = inner.output_width(width)


def _normalizations(layer: Layer) -> Iterator[Normalization]:
    if isinstance(layer, Normalization):
        yield layer
    for inner in layer.layers if isinstance(layer, Residual) else ():
        yield from _normalizations(inner)


def _unique_names(layers: Sequence[Layer]) -> list[str]:
    """The name of each layer: its own, else that of its class with a number from the second on."""
    taken: dict[str, int] = {}
    for i, layer in enumerate(layers):
        if layer.name is not None:
            if layer.name in taken:
                raise ValueError(
                    f"Model: layers[{taken[layer.name]}] and layers[{i}] are both named {layer.name!r}; "
                    "names must differ: give one of them another name="
                )
            taken[layer.name] = i
    names: list[str] = []
    for layer in layers:
        plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(layer).__name__).lower()
        number, name = 0, layer.name or plain
        while layer.name is None and (name in taken or name in names):
            number += 1
            name = f"{plain}_{number}"
        names.append(name)
    return names


def _bytes(count: int) -> str:
    power = 0 if count < 1024 else min(3, int(math.log2(count)) // 10)
    return f"{count} B" if power == 0 else f"{count / 1024**power:.2f} {('KiB', 'MiB', 'GiB')[power - 1]}"
