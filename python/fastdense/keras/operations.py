"""Functions of symbolic tensors: ``2 * x + layer(x)``, ``ops.sin(x)``.

What is computed is remembered until its layers are asked for: when it is given to a layer or to a model. Then all
operations since the last layers are one layer, an `Operation`, on the tensors that these gave side by side. The sum,
difference, product, maximum or minimum of two outputs of layers is a layer of `keras.layers`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from .graph import merged
from .layer import KerasTensor, Layer
from .layers import Add, Maximum, Minimum, Multiply, Subtract
from .ops import arrays, elementwise
from .own import Own
from .settings import unique_name
from .variables import Weight

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
        for one in _leaves((args, kwargs)):
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
        found = _boundary(self).values()
        given = [one for one, _ in found]
        made = Operation(self, given, [steps - 1 for _, steps in found])(given if len(given) > 1 else given[0])
        return made

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


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for one in value:
            yield from _leaves(one)
    elif isinstance(value, dict):
        yield from _leaves(list(value.values()))
    else:
        yield value


def _is_layer_output(x: Any) -> bool:
    """Whether it is a tensor that comes from a layer, or has become one's output."""
    return isinstance(x, KerasTensor) and (not isinstance(x, Combined) or "_tensor" in vars(x))


def _boundary(x: Combined) -> dict[int, tuple[KerasTensor, int]]:
    """The tensors that come from layers, of which another one is computed, and how many operations are on the way.

    They come in the order in which they are reached from it, by their identity; the longest way counts.
    """
    found: dict[int, tuple[KerasTensor, int]] = {}
    longest: dict[int, int] = {}

    def look(one: KerasTensor, steps: int) -> None:
        if longest.get(id(one), 0) >= steps:
            return
        longest[id(one)] = steps
        if _is_layer_output(one) and one is not x:
            found[id(one)] = one, steps
            return
        assert isinstance(one, Combined)
        for arg in _leaves((one.args, one.kwargs)):
            if isinstance(arg, KerasTensor):
                look(arg, steps + 1)

    look(x, 1)
    return found


class Operation(Layer):
    """The operations between layers, as a layer.

    Parameters
    ----------
    result : Combined
    given : sequence of KerasTensor
        Those of which it is computed, which layers give.
    steps : sequence of int
        How many operations are between each of them and the result.
    """

    weightless = True
    flat = False

    def __init__(self, result: Combined, given: Sequence[KerasTensor], steps: Sequence[int]) -> None:
        self.trace = getattr(result.function, "__name__", "operation").strip("_")
        super().__init__(None, {"name": unique_name(self.trace)})
        self._own = Own(self, self._computed)
        self._result, self._given, self.operations_before = result, list(given), list(steps)

    def _computed(self, x: Any) -> Any:
        known: dict[int, Any] = {id(one): part for one, part in
                                 zip(self._given, x if len(self._given) > 1 else [x], strict=True)}  # fmt: skip

        def value(one: Any) -> Any:
            if isinstance(one, KerasTensor):
                if id(one) not in known:
                    assert isinstance(one, Combined)
                    known[id(one)] = one.function(*map(value, one.args), **{k: value(v) for k, v in one.kwargs.items()})
                return known[id(one)]
            if isinstance(one, (list, tuple)):
                return type(one)(map(value, one))
            return one

        return value(self._result)

    def get_config(self) -> NoReturn:
        raise ValueError(
            f"{self.name}: operations on tensors have no config. Put them into a Lambda, or into a layer with a call() "
            "and a get_config() of its own; save_weights keeps the weights."
        )


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
