"""Optimizers by Keras's names. They are those of `fastdense.optimizers`, and accept the arguments of older Keras too.

``lr=`` is ``learning_rate=``; ``decay=d`` is the schedule ``InverseTimeDecay(learning_rate, 1, d)``, which is what it
meant; ``epsilon=None`` is the default.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from .. import optimizers as core_optimizers
from ..arguments import check_keywords
from ..schedules import InverseTimeDecay, Schedule
from . import schedules
from .names import not_offered
from .overrides import OPTIMIZER, check_overrides
from .serialization import argument, deserialize_keras_object, serialize_keras_object
from .settings import plain_name
from .variables import Variable

_OFF: dict[str, Any] = {  # accepted with the values that switch them off
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
    "schedule_decay": 0.004,
    "jit_compile": None,
}
_INSTEAD = {
    "loss_scale_factor": " It is for half precision, which is not used here.",
    "gradient_accumulation_steps": " Multiply batch_size by it: a larger batch needs little memory here.",
}


class Rate(float):
    """A learning rate: a number that can be assigned, as Keras's variable."""

    name, path, shape, dtype, trainable = "learning_rate", "learning_rate", (), "float32", False
    owner: Any = None

    def numpy(self) -> Any:
        """The number."""
        return np.float32(self)

    @property
    def value(self) -> float:
        """The number."""
        return float(self)

    def assign(self, value: Any) -> Rate:
        """Set the learning rate of its optimizer."""
        self.owner.learning_rate = value
        made: Rate = self.owner.learning_rate
        return made

    def __reduce__(self) -> Any:
        return float, (float(self),)


class KerasOptimizer(core_optimizers.Optimizer):
    """What optimizers have here besides what those of `fastdense.optimizers` have."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return object.__new__(cls)

    @property
    def learning_rate(self) -> Any:
        """The learning rate, or its schedule; may be assigned at any time."""
        rate = self.__dict__["learning_rate"]
        if isinstance(rate, Schedule):
            rate.step = int(self.iterations)
            return rate
        made = Rate(rate)
        made.owner = self
        return made

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.__dict__["learning_rate"] = value

    @property
    def lr(self) -> Any:
        """As `learning_rate`."""
        return self.learning_rate

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.__dict__.get("_name") or plain_name(type(self).__name__))

    @property
    def iterations(self) -> Variable:
        """The number of its steps so far."""
        model = self.__dict__.get("_model")
        built = None if model is None or model() is None else model()._built
        return Variable(np.int64(0 if built is None else built.runner.step), name="iteration")

    def belongs_to(self, model: Any) -> None:
        """Count the steps of this model."""
        self.__dict__["_model"] = weakref.ref(model)

    def _rate(self, value: Any) -> Any:
        if not isinstance(value, (Schedule, dict, str, bool, np.bool_)) and not callable(value):
            value = float(value)  # a variable or a scalar of any library
        value = deserialize_keras_object(value) if isinstance(value, dict) else value
        if callable(value) and not isinstance(value, (type, Schedule)):
            value = schedules.Called(value)
        return super()._rate(schedules.by_steps(value) if isinstance(value, Schedule) else value)

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__("learning_rate" if name == "lr" else name, value)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_model"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def get_config(self) -> dict[str, Any]:
        """Its arguments as JSON types, in Keras's format."""
        off = {name: value for name, value in _off(type(self)).items() if name not in ("schedule_decay", "jit_compile")}
        config = {"name": self.name, **self._params(), **off}
        return {key: serialize_keras_object(value) for key, value in config.items() if "multipliers" not in key}

    def to_dict(self) -> dict[str, Any]:
        config = core_optimizers.Optimizer.get_config(self)
        return {"class_name": type(self).__name__, "config": config}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, core_optimizers.Optimizer) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]


def _off(cls: type[core_optimizers.Optimizer]) -> dict[str, Any]:
    """The options of Keras's that this class does not have, with the values that switch them off."""
    return {name: value for name, value in _OFF.items() if name not in cls.__signature__.parameters}


def _as_in_keras(cls: type[core_optimizers.Optimizer]) -> type[core_optimizers.Optimizer]:
    """The class with Keras's arguments and attributes."""

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        where = type(self).__name__
        check_overrides(self, OPTIMIZER, "Its steps are those of its parent; only learning_rate may be a schedule.")
        if "lr" in kwargs:
            if args or "learning_rate" in kwargs:
                raise TypeError(f"{where}: lr is another name of learning_rate. Pass learning_rate only.")
            kwargs["learning_rate"] = kwargs.pop("lr")
        self.__dict__["_name"] = kwargs.pop("name", None)
        for name, off in _off(cls).items():
            value = kwargs.pop(name, off)
            if value != off and not (off is None and value in (False, 1, "auto")):
                instead = _INSTEAD.get(name, "")
                raise TypeError(f"{where}: {name}={value!r} is not offered. Leave it out.{instead}")
        if kwargs.get("epsilon", 1) is None:
            del kwargs["epsilon"]
        decay = kwargs.pop("decay", 0.0)
        check_keywords(where, kwargs, cls.__signature__)
        cls.__init__(self, *args, **kwargs)
        if decay:
            if isinstance(self.learning_rate, Schedule):
                raise TypeError(f"{where}: decay is given together with a schedule. Leave decay out.")
            self.learning_rate = InverseTimeDecay(float(self.learning_rate), decay_steps=1, decay_rate=decay)

    made: Any = type(cls.__name__, (KerasOptimizer, cls), {
        "__init__": __init__, "__doc__": cls.__doc__, "__module__": __name__})  # fmt: skip
    made.__signature__ = cls.__signature__
    return cast("type[core_optimizers.Optimizer]", made)


def _offered() -> dict[str, Any]:
    """Those of `fastdense.optimizers`: first-order ones with Keras's arguments, full-batch ones unchanged."""
    offered: dict[str, Any] = {"Optimizer": core_optimizers.Optimizer}
    for name in core_optimizers.__all__:
        value = getattr(core_optimizers, name)
        if isinstance(value, type) and issubclass(value, core_optimizers.Optimizer) and name not in _LEFT_OUT:
            offered[name] = value if value.full_batch else _as_in_keras(value)
    return offered


_LEFT_OUT = ("KFAC", "Optimizer", "Solver")  # classes of `fastdense.optimizers` that are not here
_CLASSES = _offered()
globals().update(_CLASSES)
__all__ = [*_CLASSES, "get", "schedules"]


def get(identifier: Any) -> Any:
    """The optimizer of a name, a class, a config dict or an object."""
    if isinstance(identifier, Mapping):
        made = _CLASSES.get(str(identifier.get("class_name")))
        config = identifier.get("config")
        if made is not None and isinstance(config, Mapping):
            return made.from_config({key: argument(value) for key, value in config.items()})
    if isinstance(identifier, type) and issubclass(identifier, core_optimizers.Optimizer):
        identifier = cast("Any", identifier)()
    made = core_optimizers.get(identifier)
    if type(made).__init__ is core_optimizers.Optimizer.__init__ or not hasattr(type(made), "kind"):
        raise TypeError(
            f"{type(made).__name__}: an optimizer with steps of its own cannot be trained with. "
            f"Use one of {', '.join(name for name in _CLASSES if name != 'Optimizer')}."
        )
    own = _CLASSES.get(type(made).__name__)
    if isinstance(made, KerasOptimizer) or own is None or made.full_batch:
        return made
    return own(**{name: getattr(made, name) for name in made.__signature__.parameters})


def serialize(optimizer: core_optimizers.Optimizer) -> dict[str, Any]:
    """The class and the config of an optimizer, as JSON types."""
    made: dict[str, Any] = serialize_keras_object(optimizer)
    return made


def deserialize(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The optimizer that `serialize` described."""
    return deserialize_keras_object(config, custom_objects)


__getattr__ = not_offered(
    "optimizers",
    __all__,
    {
        "Adafactor|Lamb": "Adam and Muon are the nearest alternatives.",
        "legacy": "There is one version of each optimizer: use keras.optimizers.Adam etc.",
    },
)
