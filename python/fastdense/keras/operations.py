"""Functions of symbolic tensors: ``2 * x + layer(x)``, ``ops.sin(x)``.

What is computed is remembered until its layers are asked for: when it is given to a layer or to a model. Then all
operations since the last layers are one layer, an `Operation`, on the tensors that these gave side by side. The sum,
difference, product, maximum or minimum of two outputs of layers is a layer of `keras.layers`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .expressions import Expression, Ref, Step
from .graph import merged
from .layer import KerasTensor, Layer
from .layers import Add, Maximum, Minimum, Multiply, Subtract
from .ops import arrays, elementwise
from .own import Own
from .settings import unique_name
from .tree import flatten, map_structure
from .variables import Weight

__all__ = ["Operation"]
_MERGES: dict[Any, Any] = {
    elementwise.add: Add, elementwise.subtract: Subtract, elementwise.multiply: Multiply, elementwise.maximum: Maximum,
    elementwise.minimum: Minimum,
}  # fmt: skip
_OF_SHAPES: dict[Any, Callable[[KerasTensor], Any]] = {
    arrays.shape: lambda x: x.shape, arrays.ndim: lambda x: x.ndim, arrays.size: lambda x: math.prod(x.shape[1:]),
}  # fmt: skip


class Combined(KerasTensor):
    """The result of a function of symbolic tensors."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs
        for one in flatten((args, kwargs)):
            if isinstance(one, Weight):
                raise TypeError(
                    f"{one.path} is a weight that operations between layers use, where it would not be trained. Put "
                    "both into a layer of its own, with add_weight() and a call() that calls no layers."
                )

    @functools.cached_property
    def _tensor(self) -> KerasTensor:
        """The same as a tensor that layers give."""
        merger = _MERGES.get(getattr(self.function, "__wrapped__", self.function))
        if merger is not None and len(self.args) == 2 and all(map(_is_layer_output, self.args)):
            first, second = self.args
            if None not in (first.source, second.source) and first.shape == second.shape:
                made: KerasTensor = merger()(list(self.args))
                return made
        expression, given = _expression(self)
        return Operation(expression)(given if len(given) > 1 else given[0])  # type: ignore[no-any-return]

    @property
    def source(self) -> Any:  # type: ignore[override]
        """As of any tensor; so are `layers` and `members`."""
        return self._tensor.source

    @property
    def layers(self) -> Any:  # type: ignore[override]
        return self._tensor.layers

    @property
    def members(self) -> Any:  # type: ignore[override]
        return self._tensor.members


def _is_layer_output(x: Any) -> bool:
    """Whether it is a tensor that comes from a layer, or has become one's output."""
    return isinstance(x, KerasTensor) and (not isinstance(x, Combined) or "_tensor" in vars(x))


def _expression(x: Combined) -> tuple[Expression, list[KerasTensor]]:
    """What it is computed by, and the tensors of which, which layers give, in the order in which they are reached."""
    given: dict[int, KerasTensor] = {}
    order: dict[int, Combined] = {}

    def look(one: KerasTensor) -> None:
        if _is_layer_output(one) and one is not x:
            given[id(one)] = one
        elif id(one) not in order:
            assert isinstance(one, Combined)
            for arg in flatten((one.args, tuple(one.kwargs.values()))):  # in the order in which they are given
                if isinstance(arg, KerasTensor):
                    look(arg)
            order[id(one)] = one

    look(x)
    index = {key: i for i, key in enumerate((*given, *order))}

    def ref(arg: Any) -> Any:
        return Ref(index[id(arg)]) if isinstance(arg, KerasTensor) else arg

    steps = [Step(one.function, *map_structure(ref, (one.args, one.kwargs))) for one in order.values()]
    return Expression(len(given), steps), list(given.values())


class Operation(Layer):
    """The operations between layers, as a layer.

    Parameters
    ----------
    expression : Expression
        Of the tensor, or the list of tensors, that it is called on.
    name : str, optional
    trainable : bool
        Changes nothing: it has no weights.
    """

    weightless = True
    flat = False

    def __init__(self, expression: Expression, name: str | None = None, trainable: bool = True) -> None:
        self.trace = expression.steps[-1].name
        super().__init__(None, {"name": name or unique_name(self.trace), "trainable": trainable})
        self._own = Own(self, self._computed)
        self.expression, self.operations_before = expression, expression.depths()

    def _computed(self, x: Any) -> Any:
        return self.expression(x if self.expression.inputs > 1 else [x])

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "trainable": bool(self.trainable), **self.expression.get_config(self.name)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Operation:
        return cls(Expression.from_config(config), config["name"], config["trainable"])


def combined(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of a function of tensors of which some are symbolic."""
    of_shape = _OF_SHAPES.get(getattr(function, "__wrapped__", function))
    if of_shape is not None:
        return of_shape(args[0])
    return Combined(function, args, kwargs)


def beside(tensors: Sequence[Any]) -> KerasTensor:
    """Tensors as columns of one."""
    if not all(isinstance(one, KerasTensor) for one in tensors):
        raise TypeError("a layer was called on tensors of keras.Input and on arrays. Give one kind.")
    if len(tensors) == 1:
        return tensors[0]  # type: ignore[no-any-return]
    return merged(None, "concatenate", tensors)


KerasTensor.combined, KerasTensor.beside = staticmethod(combined), staticmethod(beside)
