"""Expressions of tensors: functions one after another, as JSON types and back.

An `Expression` has the values of its inputs and then those of its steps; `Ref` says which of them an argument is.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..arguments import shorten
from ..text import snake_case
from . import ops
from .ops.tape import dispatched
from .serialization import deserialize_keras_object, serialize_keras_object
from .tree import flatten, map_structure


@dataclasses.dataclass(frozen=True)
class Ref:
    """The value of an input or of a step."""

    index: int


@dataclasses.dataclass(frozen=True)
class Step:
    """A function of the values before it."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def name(self) -> str:
        """The name of the function in `keras.ops`; "getitem" for an index."""
        return getattr(self.function, "__name__", "operation").strip("_")


class Expression:
    """Functions of inputs and of one another; the last one gives the value.

    Parameters
    ----------
    inputs : int
        How many there are.
    steps : sequence of Step
    """

    def __init__(self, inputs: int, steps: Sequence[Step]) -> None:
        self.inputs, self.steps = inputs, tuple(steps)

    def __call__(self, inputs: Sequence[Any]) -> Any:
        """The value."""
        values = list(inputs)
        for step in self.steps:
            args, kwargs = map_structure(
                lambda one: values[one.index] if isinstance(one, Ref) else one, (step.args, step.kwargs)
            )
            values.append(step.function(*args, **kwargs))
        return values[-1]

    def depths(self) -> list[int]:
        """How many functions are between each input and the value; the longest way counts."""
        found = [0] * (self.inputs + len(self.steps) - 1) + [1]
        for i in range(len(found) - 1, self.inputs - 1, -1):
            step = self.steps[i - self.inputs]
            for one in flatten((step.args, step.kwargs)):
                if isinstance(one, Ref):
                    found[one.index] = max(found[one.index], found[i] + (one.index >= self.inputs))
        return found[: self.inputs]

    # ---- config ----------------------------------------------------------------------------------------------------

    def get_config(self, where: str) -> dict[str, Any]:
        """Its functions by their names in `keras.ops`, with their arguments, as JSON types."""
        return {"inputs": self.inputs, "operations": [
            {"name": _name(step), "args": [_plain(where, step, one) for one in step.args],
             "kwargs": {key: _plain(where, step, one) for key, one in step.kwargs.items()}}
            for step in self.steps
        ]}  # fmt: skip

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Expression:
        """The expression that `get_config` described."""
        steps = [
            Step(function_of(one["name"]), tuple(read(one["args"], _ref)), read(one["kwargs"], _ref))
            for one in config["operations"]
        ]
        return cls(config["inputs"], steps)


def _ref(config: Mapping[str, Any]) -> Ref:
    return Ref(config["index"])


def function_of(name: str) -> Callable[..., Any]:
    """The function with this name: of arrays, traced or not."""
    if name in ("getitem", "get_item"):
        return operator.getitem
    found = getattr(ops, name) if name in ops.__all__ else None
    if not hasattr(found, "__wrapped__"):
        raise ValueError(
            f"from_config: there is no operation {name!r}. One of keras.ops that has a derivative is needed."
        )
    return found.__wrapped__  # type: ignore[no-any-return, union-attr]


def _name(step: Step) -> str:
    assert function_of(step.name) is getattr(step.function, "__wrapped__", step.function)
    return step.name


def _plain(where: str, step: Step, value: Any) -> Any:
    """An argument as JSON types."""
    if isinstance(value, Ref):
        return {"class_name": "__keras_tensor__", "config": {"index": value.index}}
    if isinstance(value, slice):
        ends = {name: _plain(where, step, getattr(value, name)) for name in ("start", "stop", "step")}
        return {"class_name": "__slice__", "config": ends}
    if value is Ellipsis:
        return {"class_name": "__ellipsis__", "config": {}}
    if isinstance(value, (list, tuple)):
        parts = [_plain(where, step, one) for one in value]
        return parts if isinstance(value, list) else {"class_name": "__tuple__", "config": {"value": parts}}
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "fiub":
        return serialize_keras_object(np.asarray(value))
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ValueError(
        f"{where}: get_config: {step.name} has the argument {shorten(value)} of type {type(value).__name__}, and a "
        "config holds numbers, slices, names and NumPy arrays. Put the operations into a Lambda, or into a layer with "
        "a call() and a get_config() of its own; save_weights keeps the weights."
    )


def read(value: Any, tensor: Callable[[Any], Any]) -> Any:
    """An argument of a config; `tensor` gives what the config of a tensor stands for."""
    if isinstance(value, list):
        return [read(one, tensor) for one in value]
    if not isinstance(value, Mapping):
        return value
    kind, config = value.get("class_name"), value.get("config", {})
    if kind == "__keras_tensor__":
        return tensor(config)
    if kind == "__slice__":
        return slice(*(read(config[name], tensor) for name in ("start", "stop", "step")))
    if kind == "__ellipsis__":
        return Ellipsis
    if kind == "__tuple__":
        return tuple(read(config["value"], tensor))
    if kind == "__numpy__":
        return deserialize_keras_object(value)
    return {key: read(one, tensor) for key, one in value.items()}


def keras_operation(config: Mapping[str, Any], tensor: Callable[[Any], Any]) -> Any:
    """What an operation of a config that Keras wrote gives for the tensors that it was called on."""
    name = snake_case(config["class_name"])
    function = dispatched(function_of(name))
    (call,) = config["inbound_nodes"]
    args = read(list(call["args"]), tensor)
    if name == "get_item" and isinstance(args[1], list):
        args[1] = tuple(args[1])  # Keras writes tuples as lists
    options = {key: value for key, value in config["config"].items() if key != "name"}
    return function(*args, **read({**options, **call["kwargs"]}, tensor))
