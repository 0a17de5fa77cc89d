"""Learning rate schedules by Keras's names: those of `fastdense.schedules`, and the base of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import schedules as core_schedules
from ..arguments import check_keywords
from ..schedules import Schedule, Steps
from .names import not_offered
from .overrides import overridden
from .serialization import deserialize_keras_object, serialize_keras_object
from .tensor import tensor


class LearningRateSchedule(Schedule):
    """Base of schedules of your own, which define ``__call__(step)``; it is called with the number of each step."""

    def __call__(self, steps: Any) -> Any:
        """Return the learning rate of one step, counted from 0."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(step), which returns a learning rate")

    def __float__(self) -> float:
        return float(self.rates(np.array([float(self.step)]))[0])

    def rates(self, steps: Steps) -> Steps:
        with np.errstate(divide="ignore"):  # 1 / sqrt(step) at step 0
            return np.array([float(np.asarray(self(tensor(np.int64(step))))) for step in steps], dtype=np.float64)

    def _params(self) -> dict[str, Any]:  # a schedule of the user's may keep its arguments by other names
        return {name: getattr(self, name) for name in self.__signature__.parameters if hasattr(self, name)}


class OfSteps(LearningRateSchedule):
    """A schedule of another class whose ``__call__`` is the user's own, for one step."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def __call__(self, steps: Any) -> Any:
        return self.schedule(steps)


class Called(Schedule):
    """A function without arguments that returns the learning rate; it is called before each step."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function

    def rates(self, steps: Steps) -> Steps:
        return np.array([float(np.asarray(self.function())) for _ in steps], dtype=np.float64)


def by_steps(schedule: Schedule) -> Schedule:
    """A schedule for all steps at once; it is the same unless its ``__call__`` is the user's own."""
    own = overridden(schedule, ("__call__",)) and not isinstance(schedule, LearningRateSchedule)
    return OfSteps(schedule) if own else schedule


def _as_in_keras(cls: Any) -> Any:
    """The class with Keras's argument `name`."""

    def __new__(made: Any, *args: Any, **kwargs: Any) -> Any:
        return object.__new__(made)

    def __init__(self: Any, *args: Any, name: str | None = None, **kwargs: Any) -> None:
        check_keywords(type(self).__name__, kwargs, cls.__signature__)
        cls.__init__(self, *args, **kwargs)
        self.name = name or cls.__name__

    def __eq__(self: Any, other: object) -> bool:
        return isinstance(other, cls) and self.to_dict() == other.to_dict()

    own = {"__new__": __new__, "__init__": __init__, "__eq__": __eq__, "__hash__": None}
    made: Any = type(cls.__name__, (cls,), {**own, "__doc__": cls.__doc__, "__module__": __name__})
    made.__signature__ = cls.__signature__
    return made


_NAMES = [name for name in core_schedules.__all__ if name not in ("CosLog", "Schedule", "get")]  # Keras has no CosLog
globals().update({name: _as_in_keras(getattr(core_schedules, name)) for name in _NAMES})
__all__ = [*_NAMES, "LearningRateSchedule", "deserialize", "serialize"]


def serialize(learning_rate_schedule: Schedule) -> dict[str, Any]:
    """The class and the config of a schedule, as JSON types."""
    made: dict[str, Any] = serialize_keras_object(learning_rate_schedule)
    return made


def deserialize(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The schedule that `serialize` described."""
    return deserialize_keras_object(config, custom_objects)


__getattr__ = not_offered("optimizers.schedules", __all__)
