"""Optimizers by Keras's names. They are those of `fastdense.optimizers`, and accept the arguments of older Keras too.

``lr=`` is ``learning_rate=``; ``decay=d`` is the schedule ``InverseTimeDecay(learning_rate, 1, d)``, which is what it
meant; ``epsilon=None`` is the default.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from .. import optimizers as core_optimizers
from .. import schedules
from ..schedules import InverseTimeDecay
from .names import not_offered

_IGNORED = ("name", "jit_compile")
_OFF: dict[str, Any] = {  # accepted with the values that switch them off
    "use_ema": False,
    "ema_momentum": 0.99,
    "ema_overwrite_frequency": None,
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
    "schedule_decay": 0.004,
}


def _as_in_keras(cls: type[core_optimizers.Optimizer]) -> Callable[..., Any]:
    @functools.wraps(cls, assigned=("__name__", "__qualname__", "__doc__"), updated=())
    def make(*args: Any, **kwargs: Any) -> core_optimizers.Optimizer:
        if "lr" in kwargs:
            if args or "learning_rate" in kwargs:
                raise TypeError(f"{cls.__name__}: lr is another name of learning_rate. Pass learning_rate only.")
            kwargs["learning_rate"] = kwargs.pop("lr")
        for name in _IGNORED:
            kwargs.pop(name, None)
        for name, off in _OFF.items():
            value = kwargs.pop(name, off)
            if value != off:
                raise TypeError(f"{cls.__name__}: {name}={value!r} is not offered. Leave it out.")
        if kwargs.get("epsilon", 1) is None:
            del kwargs["epsilon"]
        decay = kwargs.pop("decay", 0.0)
        made = cls(*args, **kwargs)
        if decay:
            if isinstance(made.learning_rate, schedules.Schedule):
                raise TypeError(f"{cls.__name__}: decay is given together with a schedule. Leave decay out.")
            made.learning_rate = InverseTimeDecay(made.learning_rate, decay_steps=1, decay_rate=decay)
        return made

    make.__signature__ = inspect.signature(cls)  # type: ignore[attr-defined]
    return make


def _offered() -> dict[str, Any]:
    """Those of `fastdense.optimizers`: first-order ones with Keras's arguments, full-batch ones unchanged."""
    offered: dict[str, Any] = {"Optimizer": core_optimizers.Optimizer}
    for name in core_optimizers.__all__:
        value = getattr(core_optimizers, name)
        if isinstance(value, type) and issubclass(value, core_optimizers.Optimizer) and name not in _LEFT_OUT:
            offered[name] = value if value.full_batch else _as_in_keras(value)
    return offered


_LEFT_OUT = ("KFAC", "Optimizer", "Solver")  # classes of `fastdense.optimizers` that are not here
globals().update(_offered())
__all__ = [*_offered(), "get", "schedules"]


def get(identifier: Any) -> core_optimizers.Optimizer:
    """The optimizer of a name, a class, a config dict or an object."""
    return core_optimizers.get(getattr(identifier, "__wrapped__", identifier))


_adam = "Adam(amsgrad=True) and Nadam are the nearest alternatives."
__getattr__ = not_offered(
    "optimizers",
    __all__,
    {
        "Adamax": _adam,
        "Ftrl": "Adagrad is the nearest alternative.",
        "Adafactor|Lamb": "Adam and Muon are the nearest alternatives.",
        "legacy": "There is one version of each optimizer: use keras.optimizers.Adam etc.",
    },
)
