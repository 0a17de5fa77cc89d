"""Nets with branches: how calls of layers on symbolic tensors become chains with blocks of branches in them.

A tensor knows its history, the layers from an input to it. Where tensors are merged, the layers that they have in
common come first, and what is left of each history is a branch of a `Join`, a block that is one layer of the chain.
Several inputs are columns of one wide x, and each branch begins with its `Part` of them.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .. import layers as core_layers
from ..arguments import shorten
from ..arrays import Array
from ..layers import TensorSpec
from .layer import InputLayer, KerasTensor, Layer, Shape, output_shape
from .tensor import tensor
from .variables import Weight

ANY_ORDER = ("concatenate", "add", "multiply", "maximum", "minimum")  # some may be merged before the others
_FUNCTIONS = {"add": np.add, "subtract": np.subtract, "multiply": np.multiply, "average": np.add,
              "maximum": np.maximum, "minimum": np.minimum}  # fmt: skip


class Several(InputLayer):
    """Several inputs side by side, as the columns of one x."""

    def __init__(self, sources: Sequence[InputLayer]) -> None:
        self.sources = tuple(sources)
        super().__init__((sum(math.prod(one.input_shape) for one in sources),), name="+".join(o.name for o in sources))


def inputs_of(source: InputLayer) -> tuple[InputLayer, ...]:
    """The inputs that a source stands for."""
    return source.sources if isinstance(source, Several) else (source,)


class Step(Layer):
    """A layer of the chain that the user has not made, and which has no weights of its own."""

    flat = False
    weightless = True
    pick: int | None = None  # which of several tensors side by side it takes; None: all

    def __init__(self, name: str) -> None:
        super().__init__(None, {"name": name})

    def made(self, shape: Shape) -> core_layers.Layer | None:
        made: core_layers.Layer | None = self.spec
        return made

    def computed(self, rows: NDArray[Any]) -> Array:
        assert isinstance(self.spec, core_layers.SelectColumns)
        chosen = rows.reshape(len(rows), -1)[:, self.spec.columns]
        return np.asarray(chosen.reshape(len(rows), *self.output_shape_of(rows.shape[1:])))


class Part(Step):
    """Takes one of several inputs out of the wide x; `first` is its first column there, once a model has an order."""

    def __init__(self, source: InputLayer, first: int | None = None) -> None:
        super().__init__(source.name)
        self.source = source
        if first is not None:
            self.spec = core_layers.SelectColumns(range(first, first + math.prod(source.input_shape)))

    def output_shape_of(self, shape: Shape) -> Shape:
        return self.source.input_shape


class Columns(Step):
    """Puts columns into another order."""

    def __init__(self, columns: Sequence[int]) -> None:
        super().__init__("columns")
        self.spec = core_layers.SelectColumns(columns)

    def output_shape_of(self, shape: Shape) -> Shape:
        return (len(self.spec.columns),)

    def get_config(self) -> dict[str, Any]:
        raise ValueError(f"{self.name}: a Sequential with selected columns has no config. Save model.fastdense.")


class _First(list[Any]):
    """Initial weights of the layers in a block, None for those that have none."""


class Place:
    """Where the tensors of a layer are among those of a model or a block, and whether they are those of a Rescaling."""

    def __init__(self, own: slice, scaled: bool = False) -> None:
        self.own, self.scaled = own, scaled

    def read(self, tensors: Sequence[Any]) -> list[Any]:
        """The tensors, as the layer knows them."""
        own = list(tensors[self.own])
        return _statistics(*own) if self.scaled else own

    def write(self, tensors: list[Any], values: Sequence[Any]) -> None:
        """Replace them."""
        tensors[self.own] = _scale_and_offset(*values) if self.scaled and len(values) else list(values)

    def inside(self, join: Join) -> dict[Layer, Place]:
        """The same for the layers of a block that has this place."""
        first = self.own.start
        return {
            layer: Place(slice(first + place.own.start, first + place.own.stop), place.scaled)
            for layer, place in join.places().items()
        }


class Join(Layer):
    """A block of branches; its weights are those of the layers in it, whose owner it is.

    Parameters
    ----------
    merge : str
    merger : Merge or None
        The layer that merges; None for some of its tensors, which are merged before the others.
    branches : sequence of tuples of Layer
    order : sequence of int, optional
        Where the tensors stood that are merged, if not in this order.
    """

    flat = False

    def __init__(
        self,
        merge: str,
        merger: Layer | None,
        branches: Sequence[tuple[Layer, ...]],
        order: Sequence[int] | None = None,
    ) -> None:
        self.merge, self.merger, self.branches = merge, merger, [tuple(branch) for branch in branches]
        self.order = order
        self._slices: dict[Layer, slice] = {}
        self._scaled: set[Layer] = set()  # the Normalization layers, which are Rescaling layers inside
        self._owner: Any = None
        self._chain: Any = None
        self._before: list[tuple[Layer, Any]] = []  # the owners that they had before
        super().__init__(None, {"name": merge if merger is None else merger.name})

    def with_branches(self, branches: Sequence[tuple[Layer, ...]]) -> Join:
        """The same block with other branches."""
        return Join(self.merge, self.merger, branches, self.order)

    # ---- shapes and the inner layer --------------------------------------------------------------------------------

    def output_shape_of(self, shape: Shape) -> Shape:
        return self.merged_shape([output_shape(branch, shape) for branch in self.branches])

    def merged_shape(self, shapes: Sequence[Shape]) -> Shape:
        """Shape of what is merged of rows of these shapes."""
        return merged_shape(self.name, self.merge, shapes)

    def merged(self, outputs: Sequence[NDArray[Any]]) -> Array:
        """What is merged of arrays."""
        return tensor(merged_arrays(self.merge, outputs))

    def made(self, shape: Shape) -> core_layers.Layer | None:
        self._slices, self._scaled, first = {}, set(), _First()
        chains, count = [], 0
        for branch in self.branches:
            chain, width = [], shape
            for layer in branch:
                spec = layer.made(width)
                if isinstance(spec, core_layers.Normalization):
                    self._scaled.add(layer)
                    spec = _rescaling(spec, math.prod(width), layer.name)
                if spec is not None:
                    if layer in self._slices:  # one without tensors
                        spec = copy.copy(spec)
                    else:
                        first.append(layer.first_weights if layer.owner is None else layer.owner.tensors_of(layer)[1])
                    chain.append(spec)
                    own = slice(count, count + len(spec.tensors(math.prod(width))))
                    self._slices[layer], count = own, own.stop
                width = layer.output_shape_of(width)
            chains.append(chain)
        self.first_weights = first if any(one is not None for one in first) else None
        name = None if self.merger is None else self.name
        made: core_layers.Layer
        if self.merge == "add" and len(chains) == 2 and bool(chains[0]) != bool(chains[1]):
            made = core_layers.Residual(chains[0] or chains[1], name)
        else:
            made = core_layers.Branches(chains, self.merge, name)
        self.spec = made
        return made

    def _trained_parts(self) -> Iterable[Any]:
        return self._held()  # not of the block itself: what the layers say themselves counts

    def adopt(self, spec: core_layers.Layer) -> None:
        assert isinstance(spec, core_layers.Composite)
        super().adopt(spec)
        branches = [[layer for layer in branch if layer.spec is not None] for branch in self.branches]
        computing = [branch for branch in branches if branch or not isinstance(spec, core_layers.Residual)]
        for branch, chain in zip(computing, spec.chains, strict=True):
            for layer, own in zip(branch, chain, strict=True):
                if layer not in self._scaled:
                    layer.adopt(own)

    # ---- the model that it is part of, and the layers in it ---------------------------------------------------------

    @property
    def inner(self) -> list[Layer]:
        """The layers in it, in the order in which they are computed."""
        return [layer for branch in self.branches for layer in branch]

    @property
    def owner(self) -> Any:
        """The model that holds its weights."""
        return self._owner

    @owner.setter
    def owner(self, value: Any) -> None:
        if value is None:
            for layer, before in self._before:
                layer.owner = before
            self._before = []
        elif self._owner is None:
            self._before = [(layer, layer.owner) for layer in self._held()]
        self._owner = value
        for layer in self._held() if value is not None else ():
            layer.owner = layer.chain = self

    def _held(self) -> list[Layer]:
        return [*self.inner, *filter(None, [self.merger])]

    @property
    def chain(self) -> Any:
        """The model that makes the weights when they are needed."""
        return self._chain

    @chain.setter
    def chain(self, value: Any) -> None:
        self._chain = value
        for layer in self._held() if value is not None else ():
            layer.chain = layer.chain or self

    @property
    def root(self) -> Any:
        """The model at the top."""
        above = self._owner or self._chain
        return None if above is None else above.root

    @property
    def shape_known(self) -> bool:
        """Whether the shape of the data is known."""
        return bool(self.root is not None and self.root.shape_known)

    def build(self, input_shape: Any = None) -> None:
        """Create the weights."""
        self.root.build()

    def path_to(self, layer: Layer) -> list[str]:
        """As `Chain.path_to`."""
        return [*self.root.path_to(self)[:-1], layer.name]

    def tensor_before(self, layer: Layer) -> Any:
        """The symbolic tensor that one of its layers is called on, or a list of those that are merged."""
        x = (self._owner or self._chain).tensor_before(self)
        if layer is self.merger:
            return [after(x, branch) for branch in self.branches]
        branch = next(branch for branch in self.branches if layer in branch)
        return after(x, branch[: branch.index(layer)])

    def tensor_after(self, layer: Layer) -> KerasTensor:
        """The symbolic tensor that one of its layers gives."""
        if layer is self.merger:
            return after((self._owner or self._chain).tensor_before(self), [self])
        return after(self.tensor_before(layer), [layer])

    def tensors_of(self, layer: Layer) -> tuple[list[TensorSpec], list[Array]]:
        """As `Chain.tensors_of`."""
        names, tensors = self._owner.tensors_of(self)
        own = self._slices.get(layer, slice(0, 0))
        if layer in self._scaled:
            names = [*names[: own.start], *(TensorSpec(n, s.shape, False) for n, s in
                                            zip(("mean", "variance"), names[own], strict=True))]  # fmt: skip
            return names[own.start :], _statistics(*tensors[own])
        return names[own], tensors[own]

    def set_tensors_of(self, layer: Layer, tensors: Sequence[Any]) -> None:
        """As `Chain.set_tensors_of`."""
        every: list[Any] = list(self._owner.tensors_of(self)[1])
        every[self._slices.get(layer, slice(0, 0))] = self._inside(layer, tensors)
        self._owner.set_tensors_of(self, every)

    def _inside(self, layer: Layer, tensors: Sequence[Any]) -> list[Any]:
        return _scale_and_offset(*tensors) if layer in self._scaled and tensors else list(tensors)

    # ---- weights, as Keras has them --------------------------------------------------------------------------------

    def places(self) -> dict[Layer, Place]:
        """The tensors of each layer in it and in blocks in it, among its own."""
        found: dict[Layer, Place] = {}
        for layer, own in self._slices.items():
            place = Place(own, layer in self._scaled)
            found.update(place.inside(layer) if isinstance(layer, Join) else {layer: place})
        return found

    def shown_weights(self, tensors: list[Array]) -> list[Array]:
        return [array for layer, own in self.places().items() for array in layer.shown_weights(own.read(tensors))]

    def inner_tensors(self, weights: Sequence[Any], tensors: list[Array]) -> list[Any]:
        made: list[Any] = list(tensors)
        if isinstance(weights, _First):
            for (layer, own), values in zip(self._slices.items(), weights, strict=True):
                if values is not None:
                    place = Place(own, layer in self._scaled)
                    shown, new = place.read(made), values
                    given = layer.first_weights is values
                    if given:
                        layer.check_count(values, shown)
                        new = layer.inner_tensors(values, shown)
                    place.write(made, new)
            return made
        left = list(weights)
        for layer, place in self.places().items():
            count = len(layer.shown_weights(place.read(made)))
            place.write(made, layer.inner_tensors(left[:count], place.read(made)))
            del left[:count]
        return made

    def check_count(self, weights: Sequence[Any], tensors: list[Array]) -> None:
        if not isinstance(weights, _First):
            super().check_count(weights, tensors)

    @property
    def weights(self) -> list[Weight]:
        return [weight for layer in self.places() for weight in layer.weights]

    def get_config(self) -> dict[str, Any]:
        raise ValueError(
            f"{self.name}: a Sequential with branches of its own has no config. Make the model by keras.Model(inputs, "
            "outputs), or save model.fastdense."
        )

    # ---- calls -----------------------------------------------------------------------------------------------------

    def __call__(self, x: Any, training: bool | None = None, mask: Any = None) -> Any:
        if isinstance(x, KerasTensor):
            return KerasTensor(x.source, (*x.layers, self), (*x.members, self))
        outputs = []
        for branch in self.branches:
            rows = x
            for layer in branch:
                rows = layer(rows, training=training)
            outputs.append(np.asarray(rows))
        return self.merged(outputs)


class Merge(Layer):
    """Base of the layers that merge tensors: called on a list of them."""

    flat = False
    weightless = True
    merge: ClassVar[str]

    def __init__(self, **options: Any) -> None:
        super().__init__(None, options)

    def __call__(self, x: Any, training: bool | None = None, mask: Any = None) -> Any:
        kind = type(self).__name__
        if not isinstance(x, (list, tuple)) or len(x) < 2:
            raise ValueError(
                f"{self.name}: called on {shorten(x)}. Give a list of at least two tensors: {kind}()([a, b])."
            )
        if self.merge == "subtract" and len(x) != 2:
            raise ValueError(f"{self.name}: called on a list of {len(x)} tensors. {kind} takes two.")
        symbolic = [isinstance(one, KerasTensor) for one in x]
        if all(symbolic):
            return merged(self, self.merge, x)
        if any(symbolic):
            raise TypeError(f"{self.name}: called on tensors of keras.Input and on arrays. Give one kind.")
        return tensor(merged_arrays(self.merge, [np.asarray(one) for one in x]))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Shape of its output, for a list of shapes."""
        return (input_shape[0][0], *merged_shape(self.name, self.merge, [tuple(one[1:]) for one in input_shape]))


def merged_shape(name: str, merge: str, shapes: Sequence[Shape]) -> Shape:
    """Shape of a row of what is merged."""
    given = ", ".join(map(str, shapes))
    if merge == "concatenate":
        if any(len(one) != 1 for one in shapes):
            raise ValueError(
                f"{name}: rows have the shapes {given}, and only flat ones are concatenated. Insert "
                "keras.layers.Flatten() before it."
            )
        return (sum(one[0] for one in shapes),)
    if any(one != shapes[0] for one in shapes):
        raise ValueError(
            f"{name}: rows have the shapes {given}. All must have the same shape; Concatenate takes rows of different "
            "widths."
        )
    return shapes[0]


def merged_arrays(merge: str, arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Arrays with rows, merged."""
    if merge == "concatenate":
        return np.concatenate(arrays, axis=-1)
    made = np.asarray(reduce(_FUNCTIONS[merge], arrays))
    return made / len(arrays) if merge == "average" else made


def _rescaling(spec: core_layers.Normalization, width: int, name: str) -> core_layers.Rescaling:
    """What a Normalization is inside of a net: a Rescaling by its statistics, or by 1 if there are none yet."""
    mean, variance = spec.statistics or (np.zeros(width), np.ones(width))
    scale, offset = _scale_and_offset(mean, variance)
    return core_layers.Rescaling(scale.tolist(), offset.tolist(), name=name)


def _scale_and_offset(mean: Any, variance: Any) -> list[Any]:
    scale = 1.0 / np.where(np.asarray(variance) == 0, 1.0, np.sqrt(variance))
    return [scale, -np.asarray(mean) * scale]


def _statistics(scale: Array, offset: Array) -> list[Array]:
    return [-offset / scale, 1.0 / np.square(scale)]


# ---- making ----------------------------------------------------------------------------------------------------------


def after(x: KerasTensor, layers: Sequence[Layer]) -> KerasTensor:
    """The tensor after these layers of a chain."""
    if layers and isinstance(layers[0], Part):
        x, layers = layers[0].source.output, layers[1:]
    return KerasTensor(x.source, (*x.layers, *layers))


def merged(merger: Layer | None, merge: str, tensors: Sequence[KerasTensor]) -> KerasTensor:
    """The tensor that a layer makes of several; None: they are merged for a layer that takes a list of them."""
    unknown = [one for one in tensors if one.source is None]
    if unknown:
        name = merge if merger is None else merger.name
        raise ValueError(f"{name}: the shape of the data is not known yet; begin with keras.Input(shape=...)")
    sources = list(dict.fromkeys(one for x in tensors if x.source is not None for one in inputs_of(x.source)))
    histories = [whole_history(x) if len(sources) > 1 else x.layers for x in tensors]
    source = Several(sources) if len(sources) > 1 else sources[0]
    return KerasTensor(source, _reduced(merger, merge, histories, source.input_shape))


def whole_history(x: KerasTensor) -> tuple[Layer, ...]:
    """The history of a tensor from the wide x of several inputs on."""
    source = x.source
    if source is None or isinstance(source, Several):
        return x.layers
    if "part" not in source.__dict__:  # one for all tensors, as layers are compared by identity
        source.part = Part(source)  # type: ignore[attr-defined]
    return (source.part, *x.layers)


def _reduced(
    merger: Layer | None, merge: str, histories: Sequence[tuple[Layer, ...]], shape: Shape
) -> tuple[Layer, ...]:
    """The history of what is merged. Tensors that share more layers than all do are merged before the others."""
    common = 0
    while all(len(layers) > common and layers[common] is histories[0][common] for layers in histories):
        common += 1
    first = histories[0][:common]
    shape = output_shape(first, shape)
    tails = [layers[common:] for layers in histories]
    groups: dict[Any, list[int]] = {}
    for i, tail in enumerate(tails):
        part = bool(tail) and isinstance(tail[0], Part)
        groups.setdefault(tail[: 1 + part] if len(tail) > part else i, []).append(i)
    if len(groups) == len(tails) or merge not in ANY_ORDER:
        join = Join(merge, merger, tails)
        join.output_shape_of(shape)
        return (*first, join)
    branches = [
        tails[group[0]] if len(group) == 1 else _reduced(None, merge, [tails[i] for i in group], shape)
        for group in groups.values()
    ]
    order = [i for group in groups.values() for i in group]
    join = Join(merge, merger, branches, order)
    join.output_shape_of(shape)
    if merge != "concatenate" or order == sorted(order):
        return (*first, join)
    widths = [math.prod(output_shape(tail, shape)) for tail in tails]
    starts = dict(zip(order, np.cumsum([0, *(widths[i] for i in order)]).tolist(), strict=False))
    return (*first, join, Columns([c for i, n in enumerate(widths) for c in range(starts[i], starts[i] + n)]))


def resolved(layers: Iterable[Layer], sources: Sequence[InputLayer]) -> tuple[Layer, ...]:
    """The layers of a chain whose wide x holds these inputs in this order: parts become their columns."""
    made: list[Layer] = []
    starts = np.cumsum([0, *(math.prod(one.input_shape) for one in sources)]).tolist()
    for layer in layers:
        if isinstance(layer, Part):
            made.append(Part(layer.source, starts[sources.index(layer.source)]))
        elif isinstance(layer, Join) and any(isinstance(one, Part) for one in leaves([layer], True)):
            made.append(layer.with_branches([resolved(branch, sources) for branch in layer.branches]))
        else:
            made.append(layer)
    return tuple(made)


# ---- reading ---------------------------------------------------------------------------------------------------------


def leaves(layers: Iterable[Layer], steps: bool = False) -> Iterator[Layer]:
    """The layers, with those in blocks in the place of these; `steps`: those too that the user has not made."""
    for layer in layers:
        if isinstance(layer, Join):
            yield from leaves(layer.inner, steps)
            if layer.merger is not None:
                yield layer.merger
        elif steps or not isinstance(layer, Step):
            yield layer


def held_tensors(layers: Iterable[Layer]) -> list[Array]:
    """The tensors of the layers, from the models that hold them."""
    found: list[Array] = []
    for layer in layers:
        if isinstance(layer, Join):
            for branch in layer.branches:
                for inner in branch:
                    found += layer._inside(inner, held_tensors([inner]))
        elif layer.owner is not None:
            found += layer.owner.tensors_of(layer)[1]
    return found


def check_used_once(where: str, layers: Iterable[Layer]) -> None:
    """Raise if a layer would be computed in several places, which share its weights."""
    seen: set[Layer] = set()
    for layer in leaves(layers):
        spec = layer.spec
        stateless = spec is None or (isinstance(spec, core_layers.Activation) and spec.activation != "prelu")
        if layer._formula is not None:
            stateless = not layer._formula.weights
        if layer in seen and not stateless:
            raise ValueError(
                f"{where}: the layer {layer.name!r} is needed in several places, and layers that share weights are not "
                "offered. Create a layer for each call, and let one layer merge all tensors that come from the same "
                "one, e.g. Concatenate()([a, b, c])."
            )
        seen.add(layer)


class Node:
    """A layer in its place, or an input, with the nodes whose outputs it gets, and the shape of a row of its output."""

    def __init__(self, layer: Layer, parents: list[Node], shape: Shape) -> None:
        self.layer, self.parents, self.shape = layer, parents, shape
        self.applied: list[Layer] = []  # steps behind the layer that are part of it
        self.steps: Sequence[int] = layer.operations_before or [1] * len(parents)  # in Keras each operation is a node


def nodes(layers: Sequence[Layer], source: InputLayer, whole: Callable[[Layer], bool] = lambda _: True) -> list[Node]:
    """The nodes of a net in Keras's order.

    `whole` says of a layer that calls others whether it is one node, instead of these.
    """
    inputs = {one: Node(one, [], one.input_shape) for one in inputs_of(source)}
    return _in_order(read(layers, [next(iter(inputs.values()))], inputs, {}, whole))


def takes_list(layer: Layer) -> bool:
    """Whether a layer is called on a list of tensors."""
    return isinstance(layer, Merge) or (layer._formula is not None and layer._formula.shapes is not None)


def _folded(layers: Iterable[Layer], whole: Callable[[Layer], bool]) -> Iterator[Layer]:
    """The layers, with one that calls others in the place of these."""
    left = list(layers)
    while left:
        outer = left[0].part_of
        inner = [] if outer is None else outer.all_layers
        if outer is not None and inner == left[: len(inner)] and whole(outer):
            yield outer
            del left[: len(inner)]
        else:
            yield left.pop(0)


def read(
    layers: Iterable[Layer],
    x: list[Node],
    inputs: Mapping[InputLayer, Node],
    known: dict[Any, Node],
    whole: Callable[[Layer], bool],
) -> list[Node]:
    """The nodes whose outputs these layers give: one, or several that another layer merges.

    Parameters
    ----------
    layers : iterable of Layer
    x : list of Node
        What they begin with.
    inputs : dict
        The nodes of the inputs.
    known : dict
        The nodes that were read before, by their layers and what these get; those that are new are added.
    whole : callable
        As in `nodes`.
    """

    def node(layer: Layer, parents: list[Node], shape: Shape) -> Node:
        return known.setdefault((layer, *parents), Node(layer, parents, shape))

    for layer in _folded(layers, whole):
        if isinstance(layer, Join):
            found = [one for branch in layer.branches for one in read(branch, x, inputs, known, whole)]
            x = found if layer.order is None else [found[layer.order.index(i)] for i in range(len(found))]
            if layer.merger is not None:
                x = [node(layer.merger, x, merged_shape(layer.name, layer.merge, [one.shape for one in x]))]
        elif isinstance(layer, Part):
            x = [inputs[layer.source]] if layer.source in inputs else x
        elif isinstance(layer, Step):
            if layer.pick is not None:
                x = [x[layer.pick]]
            elif not isinstance(layer, Columns) and layer not in x[0].applied:
                x[0].applied.append(layer)
        else:
            x = [node(layer, x, output_shape(layer.all_layers, x[0].shape))]
    return x


def replayed(layers: Sequence[Layer], given: Mapping[InputLayer, KerasTensor]) -> KerasTensor:
    """The tensor that the layers of a net with several inputs give for other tensors in place of its inputs."""
    inputs = {one: Node(one, [], one.input_shape) for one in given}
    (last,) = read(layers, [next(iter(inputs.values()))], inputs, {}, lambda _: True)
    made = {inputs[one]: x for one, x in given.items()}
    for node in _in_order([last]):
        if node.parents:
            x = [made[one] for one in node.parents]
            made[node] = node.layer(x if takes_list(node.layer) else x[0])
    return made[last]


def _in_order(last: list[Node]) -> list[Node]:
    """All nodes that these depend on: the farthest from the output first."""
    number: dict[Node, int] = {}
    depth: dict[Node, int] = {}
    ready: list[Node] = []
    done: set[Node] = set()
    stack = last[::-1]
    while stack:  # parents before children; numbers in the order in which nodes are reached from the output
        node = stack[-1]
        number.setdefault(node, len(number))
        left = next((one for one in node.parents if one not in done), None)
        if left is not None:
            stack.append(left)
            continue
        stack.pop()
        if node not in done:
            done.add(node)
            ready.append(node)
    for node in reversed(ready):
        for parent, steps in zip(node.parents, node.steps, strict=True):
            depth[parent] = max(depth.get(parent, 0), depth.get(node, 0) + steps)
    return sorted(ready, key=lambda node: (-depth.get(node, 0), number[node]))
