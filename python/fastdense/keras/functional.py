"""`Functional`: models with branches or several inputs; `keras.Model(inputs, outputs)` makes one where it is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..arguments import quoted, shorten
from .configs import graph_config
from .graph import Join, Several, check_used_once, inputs_of, leaves, nodes, replayed, resolved, whole_history
from .inputs import one_array
from .layer import InputLayer, KerasTensor, Layer
from .levels import levels
from .models import Model
from .tracing import held_layers


def has_branches(inputs: Any, outputs: Any) -> bool:
    """Whether a model of these tensors is no mere chain of layers."""
    many = isinstance(inputs, (list, tuple, dict)) and len(inputs) > 1
    several = isinstance(outputs, (list, tuple, dict)) and len(outputs) > 1
    ends = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    joins = any(isinstance(one, KerasTensor) and any(isinstance(x, Join) for x in one.layers) for one in ends)
    return many or several or joins


class Functional(Model):
    """A model with branches: see `keras.Model`. Its chain has blocks of branches as layers, and its x all inputs."""

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None, trainable: bool = True) -> None:
        self._subclassed = False
        given = list(inputs.values()) if isinstance(inputs, dict) else inputs
        tensors = list(given) if isinstance(given, (list, tuple)) else [given]
        ends = list(outputs.values()) if isinstance(outputs, dict) else outputs
        outs = list(ends) if isinstance(ends, (list, tuple)) else [ends]
        if not all(isinstance(one, KerasTensor) for one in (*tensors, *outs)):
            raise TypeError(
                f"Model: inputs={shorten(inputs)}, outputs={shorten(outputs)}. Results of keras.Input(...) and of "
                "calling layers on them are needed."
            )
        layers, source = _chain(tensors, outs[0])
        try:
            check_used_once("Model", layers)
        except ValueError:  # tensors are used at several places, which are no blocks in one another
            layers, source = side_by_side(tensors, outs[:1])
        super(Model, self).__init__(layers, source, name)
        self._given = [source] if len(tensors) == 1 else [one.source for one in tensors if one.source is not None]
        self._output: KerasTensor = outs[0]
        self._trainable = bool(trainable)

    # ---- layers, inputs, outputs -----------------------------------------------------------------------------------

    @property
    def layers(self) -> list[Any]:
        """The layers, the inputs included, in Keras's order: the farthest from the output first."""
        found = [node.layer for node in nodes(self.all_layers, self.source)]
        return list(dict.fromkeys([*(one for one in self._given if one not in found), *found]))

    @property
    def connections(self) -> dict[Layer, list[Layer]]:
        """The layers whose outputs each layer gets."""
        found = nodes(self.all_layers, self.source)
        return {node.layer: [parent.layer for parent in node.parents] for node in found}

    @property
    def inputs(self) -> list[KerasTensor]:
        """Its inputs."""
        return [one.output for one in self._given]

    @property
    def input(self) -> Any:
        """Its input, or a list of them."""
        return self.inputs if len(self.inputs) > 1 else self.inputs[0]

    @property
    def input_shape(self) -> Any:
        """Shape of the data, with None for the number of rows; a list for several inputs."""
        shapes = [(None, *one.input_shape) for one in self._given]
        return shapes if len(shapes) > 1 else shapes[0]

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs."""
        return [one.name for one in self._given]

    @property
    def output(self) -> KerasTensor:
        """Its output, for a model with further layers."""
        return self._output

    def _in_order(self) -> list[Layer]:
        every = list(dict.fromkeys(leaves(self.all_layers)))
        found = [one for node in nodes(self.all_layers, self.source) for one in held_layers(node.layer)]
        return list(dict.fromkeys([*(one for one in found if one in every), *every]))

    # ---- calls -----------------------------------------------------------------------------------------------------

    def __call__(self, x: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Apply its layers to symbolic tensors, or compute its outputs for arrays."""
        sources = self._given
        if isinstance(x, dict) and any(isinstance(one, KerasTensor) for one in x.values()):
            x = [x[one.name] for one in sources]
        if isinstance(x, (list, tuple)) and any(isinstance(one, KerasTensor) for one in x):
            if len(x) != len(sources):
                raise ValueError(f"{self.name}: called on {len(x)} tensors, and it has {len(sources)} inputs.")
            given = dict(zip(sources, x, strict=True))
            if isinstance(self.source, Several):
                return replayed(self.all_layers, given)
            x = given[self.source]
        return super().__call__(x, training, mask)

    def _rows(self, where: str, x: Any) -> Any:
        if len(self._given) > 1:
            x = one_array(where, self.name, x, self._given, inputs_of(self.source))
        return super()._rows(where, x)

    # ---- config ----------------------------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        return graph_config(self)


def _chain(inputs: list[KerasTensor], output: KerasTensor) -> tuple[tuple[Layer, ...], InputLayer]:
    """The layers from these inputs to the output, and what they begin with."""
    if len(inputs) == 1 and output.source is inputs[0].source:
        first = inputs[0]
        count = len(first.layers)
        if output.layers[:count] == first.layers and len(output.layers) > count:
            source = InputLayer(first.shape[1:]) if first.layers else first.source
            assert source is not None
            return output.layers[count:], source
    elif output.source is not None and not any(one.layers or isinstance(one.source, Several) for one in inputs):
        sources = [one.source for one in inputs if one.source is not None]
        missing = [one.name for one in inputs_of(output.source) if one not in sources]
        if missing:
            raise ValueError(f"Model: outputs is computed from {quoted(missing)}, too. Put it into inputs.")
        if len(set(sources)) < len(sources):
            raise ValueError("Model: an input is given twice. Give each one once.")
        needed = [one for one in sources if one in inputs_of(output.source)]
        if len(needed) == 1:
            return output.layers, needed[0]
        return resolved(whole_history(output), needed), Several(needed)
    raise ValueError(
        "Model: outputs is not computed from inputs. Give results of keras.Input(...) as inputs, and call layers on "
        "them."
    )


def side_by_side(inputs: Sequence[KerasTensor], ends: Sequence[KerasTensor]) -> tuple[tuple[Layer, ...], InputLayer]:
    """The layers that give all outputs side by side, and what they begin with."""
    sources = [one.source for one in inputs if one.source is not None]
    histories = [one.layers for one in ends]
    if len(inputs) == 1 and inputs[0].layers:
        first = inputs[0].layers
        if any(one.source is not inputs[0].source or one.layers[: len(first)] != first for one in ends):
            raise ValueError("Model: outputs is not computed from inputs. Call layers on inputs: Dense(10)(inputs).")
        sources, histories = [InputLayer(inputs[0].shape[1:])], [layers[len(first) :] for layers in histories]
    else:
        needed = dict.fromkeys(one for end in ends if end.source is not None for one in inputs_of(end.source))
        missing = [one.name for one in needed if one not in sources]
        if missing:
            raise ValueError(f"Model: outputs is computed from {quoted(missing)}, too. Put it into inputs.")
        sources = [one for one in sources if one in needed]
        histories = [whole_history(one) if len(sources) > 1 else one.layers for one in ends]
    layers, source = levels(sources, histories)
    check_used_once("Model", layers)
    return layers, source


def chain_of(inputs: list[KerasTensor], ends: list[KerasTensor]) -> tuple[tuple[Layer, ...], InputLayer]:
    """The layers from these inputs to the outputs, and what they begin with."""
    return _chain(inputs, ends[0]) if len(ends) == 1 else side_by_side(inputs, ends)


Model.branching, Model.has_branches, Model.chain_of = Functional, staticmethod(has_branches), staticmethod(chain_of)
