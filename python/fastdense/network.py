"""The network of a model, without values: layers, names, tensors, and the program that engines run."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .arguments import choice, integer, shorten
from .arrays import Array, check_memory, to_host
from .initializers import Draws
from .layers import (
    Adapting,
    CategoryEmbedding,
    Composite,
    Impute,
    Layer,
    Normalization,
    Preprocessing,
    Rescaling,
    TensorSpec,
)
from .layers import get as get_layer
from .layers.monotone import check_monotonic, first_values, signs_of
from .layers.preprocessing import encoded, pulled_back
from .text import bytes_text, snake_case

DTYPES = ("float32", "float64", "bfloat16")
PRECISIONS = {"tf32": ("float32",), "3xtf32": ("float32",), "bfloat16": ("float32", "bfloat16")}  # and their dtypes
ROUNDING = ("tf32", "bfloat16")  # the precisions whose products have fewer digits than the dtype


@dataclass
class Statistics:
    """A layer of a net that takes numbers from data, and where they come from.

    `given` is the object that the user passed, `layer` the net's own copy, so that models built from the same
    objects stay apart; it is layer number `index`, and its statistics are the net's tensors `tensors` (none of a layer
    in front, which has no tensors). `origin` is None before anything is known, "adapt" if `adapt`, `set_weights` or a
    file gave them, "fit" if the first fit took them.
    """

    given: Adapting
    layer: Adapting
    index: int
    tensors: slice
    origin: str | None = None
    seen_given: tuple[Array, ...] | None = None
    seen: tuple[Array, ...] | None = None

    @classmethod
    def of(cls, given: Adapting, layer: Adapting, index: int, tensors: slice) -> Statistics:
        """As both objects are when the net is made."""
        origin = "adapt" if layer.adapted else None
        return cls(given, layer, index, tensors, origin, given.statistics, layer.statistics)

    def changed(self) -> bool:
        """Whether `adapt` was called on either object since the last check; the net's copy then has the new values."""
        if self.given.statistics is not self.seen_given and self.given.statistics is not None:
            self.seen_given = self.given.statistics
            self.layer.set_statistics(*self.given.statistics)
        if self.layer.statistics is self.seen:
            return False
        self.seen, self.origin = self.layer.statistics, "adapt"
        return True

    def values(self) -> list[Array]:
        """Those of the net's tensors that they are."""
        assert self.layer.statistics is not None
        return list(self.layer.statistics) if self.layer.statistic_tensors else []

    def take(self, values: Sequence[Array], origin: str | None) -> None:
        """Take over statistics, which are in the tensors already."""
        if origin is not None:
            self.layer.set_statistics(*values)
        self.seen, self.origin = self.layer.statistics, origin

    def forget(self) -> None:
        """Be as before the first fit."""
        self.layer.forget()
        self.seen, self.origin = None, None


class Net:
    """Layers put together.

    Parameters
    ----------
    layers : list
        Layers, names of layers or their config dicts.
    inputs : int
    seed : int
    dtype : {"float32", "float64", "bfloat16"}
    monotonic : list of int, optional
        -1, 0 or 1 for each input; see `fastdense.layers.monotone`.
    precision : {None, "tf32", "3xtf32", "bfloat16"}
        To what matrix products round their operands: None is what `dtype` says; "bfloat16" makes that the dtype;
        "3xtf32" keeps float32's digits.

    Attributes
    ----------
    layers : list of Layer
    names : list of str
        One name per layer, all different.
    widths : list of int
        Outputs of each layer.
    ends : list of int
        Number of the last op of each layer; -1 for those of `front`, which have none.
    front : list of Preprocessing
        The layers before all others that encode the rows, which engines get encoded.
    output_layer : int
        Number of the layer that makes the outputs: the last one that is no `Rescaling`.
    tensors : list of TensorSpec
        All tensors in the engines' order, named "layer/tensor".
    slices : list of slice
        Where the tensors of each layer are in `tensors`.
    statistics : list of Statistics
        Of each layer that takes numbers from data, in their order.
    input_statistics : int
        Number of the first tensors that are those of a `Normalization`: float64 whatever the dtype, and the same for
        all members of a population.
    missing : list of int
        The columns of x that may hold NaN.
    encoding : object
        Another one whenever the layers of `front` have changed.
    ops : list of dict
        The program's ops.
    signs : dict
        Of each tensor that must not have other signs, by its number: int8, 0 where any is right.
    program : dict
        The net in the form that engines accept.
    """

    def __init__(
        self,
        layers: Sequence[Any],
        inputs: int,
        seed: int,
        dtype: str,
        precision: str | None = None,
        monotonic: Any = None,
    ) -> None:
        if isinstance(layers, (str, Layer)) or not isinstance(layers, Sequence):
            raise TypeError(f"Model: layers is {shorten(layers)}; a list of layers is needed: e.g. [fd.Dense(10)]")
        if not layers:
            raise ValueError("Model: layers is empty; a net needs at least one layer: e.g. [fd.Dense(10)]")
        self.inputs = integer("Model: inputs", inputs, least=1)
        self.seed = integer("Model: seed", seed, least=0, most=2**64 - 1)
        self.dtype, self.precision = _checked_precision(choice("Model: dtype", dtype, DTYPES), precision)
        given = [get_layer(layer, f"Model: layers[{i}]") for i, layer in enumerate(layers)]
        own_copy = (Adapting, CategoryEmbedding, Preprocessing)  # `adapt` may be called on the user's object later
        self.layers = [copy.deepcopy(layer) if isinstance(layer, own_copy) else layer for layer in given]
        self.front = _front(self.layers)
        _check_places(self.layers, len(self.front))
        self.names = _unique_names(self.layers)
        self.widths: list[int] = []
        self.ends: list[int] = []
        self.tensors: list[TensorSpec] = []
        self.slices: list[slice] = []
        ops: list[dict[str, Any]] = []
        width = self.inputs
        self.statistics: list[Statistics] = []
        fixed = width
        for i, (layer, name) in enumerate(zip(self.layers, self.names, strict=True)):
            if isinstance(layer, Adapting) and layer.adapts:
                layer.placed(width)
                _check_fixed(i, layer, layer.last_column(width), fixed)
            layer.check_dtype(self.dtype)
            ops += layer.lower(width)
            first = len(self.tensors)
            self.tensors += [TensorSpec(f"{name}/{t.name}", t.shape, t.trainable) for t in layer.tensors(width)]
            self.slices.append(slice(first, len(self.tensors)))
            if isinstance(layer, Adapting) and layer.adapts:
                part = slice(first, first + layer.statistic_tensors)
                self.statistics.append(Statistics.of(cast("Adapting", given[i]), layer, i, part))
            fixed = layer.fixed_width(fixed)
            width = layer.output_width(width)
            self.widths.append(width)
            self.ends.append(len(ops) - 1)
        self.outputs = width
        made = [i for i, layer in enumerate(self.layers) if not isinstance(layer, Rescaling)]
        self.output_layer = max(made, default=0)
        self.input_statistics = 2 if isinstance(self.layers[len(self.front)], Normalization) else 0
        first_layer = self.layers[0]
        self.missing: list[int] = first_layer.missing(self.inputs) if isinstance(first_layer, Impute) else []
        self.encoding = object()
        for op, after in pairwise(ops):
            if op.get("activation") == "softmax" and after["kind"] not in ("branch_next", "branches_end"):
                raise ValueError(
                    "Model: softmax is used before the last layer; softmax must end a net, or a branch: "
                    "use another activation there, e.g. 'relu'"
                )
        self.monotonic = check_monotonic(monotonic, self.inputs)
        self.signs: dict[int, NDArray[np.int8]] = {}
        self._bends: list[int] = []  # biases of units that `monotonic` concerns
        if self.monotonic is not None:
            self.signs, self._bends = signs_of(self.monotonic, self.layers, ops, self.ends, list(self.leaves()))
        self.ops = ops
        lowered = self.precision or self.dtype
        engine_inputs = self.widths[len(self.front) - 1] if self.front else self.inputs
        self.program: dict[str, Any] = {"inputs": engine_inputs, "seed": self.seed, "dtype": lowered, "ops": ops}
        self.itemsize = 8 if self.dtype == "float64" else 4
        check_memory(
            "Model",
            3 * self.itemsize * self.count(),
            f"a net of {self.count():,} parameters (with gradients and the first values)",
            "use smaller layers",
        )

    def count(self, trainable: bool | None = None) -> int:
        """Number of parameters: all, or only those that training changes by their gradient (or the others)."""
        pairs = zip(self.tensors, self.trained(), strict=True)
        return _count(tensor for tensor, own in pairs if trainable is None or own == trainable)

    def _widths_before(self) -> Iterable[tuple[Layer, int]]:
        """Each layer with the width of its input."""
        return zip(self.layers, [self.inputs, *self.widths[:-1]], strict=True)

    def leaves(self) -> Iterator[tuple[Layer, slice]]:
        """Each layer with tensors, those in blocks in the place of these, with where its tensors are."""
        first = 0
        for layer, inputs in self._widths_before():
            for leaf, width in layer.leaves(inputs) if isinstance(layer, Composite) else [(layer, inputs)]:
                count = len(leaf.tensors(width))
                if count:
                    yield leaf, slice(first, first + count)
                first += count

    def trained(self) -> list[bool]:
        """For each tensor whether training changes it by its gradient, as the layers say now."""
        return [one for layer, width in self._widths_before() for one in layer.trained_tensors(width)]

    def kept(self) -> list[int]:
        """Numbers of the tensors of layers that are not trainable, moving statistics too, as the layers say now."""
        flags = [one for layer, width in self._widths_before() for one in layer.kept_tensors(width)]
        return [i for i, flag in enumerate(flags) if flag]

    def frozen(self) -> list[bool]:
        """For each op whether training leaves its tensors as they are, as the layers say now; empty if none stays."""
        flags = [one for layer, width in self._widths_before() for one in layer.frozen_ops(width)]
        return flags if any(flags) else []

    @property
    def trained_names(self) -> list[str]:
        """Names of the tensors that have gradients, frozen or not."""
        return [tensor.name for tensor in self.tensors if tensor.trainable]

    def initial_values(self) -> list[Array]:
        """First values of all tensors, float64."""
        draws, width = Draws(self.seed), self.inputs
        values: list[Array] = []
        for layer, outputs in zip(self.layers, self.widths, strict=True):
            values += layer.initial_values(width, draws)
            width = outputs
        return first_values(values, self.signs, self._bends)

    def initial_values_of(self, seeds: Array) -> list[Array]:
        """First values of all tensors for nets like this one with other seeds, float64, one entry per seed in front."""
        values: list[Array] = []
        for layer, inputs in zip(self.layers, [self.inputs, *self.widths], strict=False):
            made = layer.many_initial_values(inputs, seeds, len(values))
            values += made
        return first_values(values, self.signs, self._bends)

    def check_signs(self, where: str, values: Sequence[Any]) -> None:
        """Raise if tensors, of one net or many, do not have the signs by which `monotonic` holds."""
        for i, signs in self.signs.items():
            bad = np.argwhere(to_host(values[i]) * signs < 0)
            if len(bad):
                *_, element = (tuple(map(int, place)) for place in bad[:1])
                raise ValueError(
                    f"{where}: {self.tensors[i].name}{list(element)} is {float(to_host(values[i])[element]):g}, which "
                    "has not the sign by which the net is monotonic; give weights of a net with the same monotonic"
                )

    def check_not_monotonic(self, where: str, what: str) -> None:
        """Raise if weights are to be chosen without regard to their signs, and these matter."""
        if self.signs:
            raise ValueError(
                f"{where}: {what}, and the model is monotonic={self.monotonic}; weights need their signs there: "
                "use a model without monotonic"
            )

    def encoded(self, x: Array) -> Array:
        """Rows as engines get them: after the layers of `front`, and x itself if there are none."""
        return encoded(self.front, x)

    def pulled_back(self, x: Array, grad: Array) -> Array:
        """Gradient of rows x from that of the same rows as engines get them."""
        return pulled_back(self.front, x, grad)

    def reaching(self, index: int, x: Array, tensors: Sequence[Array]) -> Array:
        """Rows as they reach a layer, as far as training cannot change them; `tensors` are the net's."""
        x = encoded(self.front[:index], x)
        for layer, part in zip(self.layers[len(self.front) : index], self.slices[len(self.front) :], strict=False):
            x = layer.fixed_outputs(x.astype(np.float64), tensors[part])
        return x

    def changed_statistics(self) -> list[Statistics]:
        """Those of layers that were adapted since the last check."""
        changed = [one for one in self.statistics if one.changed()]
        if any(one.index < len(self.front) for one in changed):
            self.encoding = object()
        return changed

    def front_outputs(self, x: Array) -> list[Array]:
        """Outputs of every layer of `front`."""
        return [encoded(self.front[: i + 1], x) for i in range(len(self.front))]

    def before_rescaling(self, y: Array, tensors: Sequence[Array]) -> Array:
        """Targets (rows, outputs) taken back through the rescalings that end the net: those of `output_layer`."""
        for layer in range(len(self.layers) - 1, self.output_layer, -1):
            first = 2 * (layer - len(self.layers))
            y = (y - tensors[first + 1]) / tensors[first]
        return y

    def statistics_origins(self) -> list[str | None]:
        """Where the statistics of each layer that has some come from, for a file."""
        return [one.origin for one in self.statistics]

    def restore_statistics(self, values: Sequence[Array], origins: Any) -> None:
        """Take over statistics from a file: those that are tensors, of `values`; the others are in the config."""
        if not isinstance(origins, list):  # version 0.1: that of the Normalization, the only such layer
            origins = [origins] * len(self.statistics)
        for one, origin in zip(self.statistics, origins, strict=True):
            one.take(values[one.tensors] or one.layer.statistics or (), origin)

    def config_layers(self) -> list[dict[str, Any]]:
        """The layers as config dicts."""
        return [layer.to_dict() for layer in self.layers]

    def fresh_layers(self) -> list[Layer]:
        """Layers for a clone: statistics that the user gave stay, those of the first fit are forgotten."""
        layers = copy.deepcopy(self.layers)
        for one in self.statistics:
            layer = layers[one.index]
            if isinstance(layer, Adapting) and one.origin != "adapt":
                layer.forget()
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
            f"{label}: {count:,} ({bytes_text(count * self.itemsize)})"
            for label, count in (
                ("Total params", self.count()),
                ("Trainable params", self.count(True)),
                ("Non-trainable params", self.count(False)),
            )
        ]
        body = [f'Model: "{title}" ({self.inputs} inputs)', line, text(heads), line, *map(text, rows), line, *totals]
        return "\n".join(body)


def _checked_precision(dtype: str, precision: object) -> tuple[str, str | None]:
    """Both names of one and the same thing, as they fit together."""
    if precision is None:
        return dtype, "bfloat16" if dtype == "bfloat16" else None
    precision = choice("Model: precision", precision, tuple(PRECISIONS), other="None")
    if dtype not in PRECISIONS[precision]:
        raise ValueError(
            f"Model: precision is {precision!r} and dtype {dtype!r}; it is for float32 operands: "
            "use dtype='float32', or leave out precision"
        )
    return "bfloat16" if precision == "bfloat16" else dtype, precision


def _count(tensors: Iterable[TensorSpec]) -> int:
    return sum(math.prod(tensor.shape) for tensor in tensors)


def _front(layers: Sequence[Layer]) -> list[Preprocessing]:
    """The preprocessing layers that a net begins with."""
    front: list[Preprocessing] = []
    for layer in layers:
        if not isinstance(layer, Preprocessing):
            return front
        front.append(layer)
    kind = type(front[-1]).__name__
    raise ValueError(
        f"Model: layers holds no layer after its {kind}; a net needs at least one, e.g. [..., fd.Dense(10)]"
    )


def _check_places(layers: Sequence[Layer], front: int, where: str = "layers") -> None:
    """Raise if a layer that works on the data is anywhere but in front: preprocessing first, then a Normalization."""
    for i, layer in enumerate(layers):
        name = f"Model: {where}[{i}] is a {type(layer).__name__}"
        if isinstance(layer, Normalization) and (i != front or where != "layers"):
            raise ValueError(
                f"{name}; it must be the first layer, since it scales the data: use BatchNorm or LayerNorm inside a net"
            )
        if isinstance(layer, Preprocessing) and (i >= front or where != "layers"):
            raise ValueError(f"{name}; it encodes columns of the data, so it must stand before all other layers")
        if isinstance(layer, Impute) and i > 0:
            raise ValueError(f"Model: layers[{i}] is Impute; it must be the first layer, since no other one takes NaN")
        if isinstance(layer, Adapting) and layer.adapts and where != "layers":
            raise ValueError(f"{name}; it takes numbers from the data, so it cannot stand inside of another layer")
        if isinstance(layer, Composite):
            for c, chain in enumerate(layer.chains):
                inside = "layers" if len(layer.chains) == 1 else f"branches[{c}]"
                _check_places(chain, front, f"{where}[{i}].{inside}")


def _check_fixed(i: int, layer: Adapting, last: int, fixed: int) -> None:
    """Raise if a layer takes numbers from columns that training changes: others than the first `fixed` ones."""
    if last >= fixed:
        raise ValueError(
            f"Model: layers[{i}] is a {type(layer).__name__} for column {last}, which training changes; it takes "
            "numbers from the data of the first fit, so it must stand before the layers that are trained"
        )


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
    next_number: dict[str, int] = {}  # for each class, so that many layers cost no search
    for i, layer in enumerate(layers):
        plain = snake_case(type(layer).__name__)
        name = layer.name or plain
        while layer.name is None and name in taken:
            next_number[plain] = next_number.get(plain, 0) + 1
            name = f"{plain}_{next_number[plain]}"
        taken[name] = i
        names.append(name)
    return names
