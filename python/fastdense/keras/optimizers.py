"""Optimizers by Keras's names. They are those of `fastdense.optimizers`, and take the arguments of older Keras too.

``lr=`` is ``learning_rate=``; ``decay=d`` is the schedule ``InverseTimeDecay(learning_rate, 1, d)``, which is what it
meant; ``epsilon=None`` is the default.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from .. import optimizers as ours
from .. import schedules
from ..schedules import InverseTimeDecay
from .names import not_offered

_IGNORED = ("name", "jit_compile")
_OFF: dict[str, Any] = {  # accepted while they are switched off
    "use_ema": False,
    "ema_momentum": 0.99,
    "ema_overwrite_frequency": None,
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
    "schedule_decay": 0.004,
}


def _as_in_keras(cls: type[ours.Optimizer]) -> Callable[..., Any]:
    @functools.wraps(cls, assigned=("__name__", "__qualname__", "__doc__"), updated=())
    def make(*args: Any, **kwargs: Any) -> ours.Optimizer:
        if "lr" in kwargs:
            if args or "learning_rate" in kwargs:
                raise TypeError(f"{cls.__name__}: lr and learning_rate are one thing. Write learning_rate=... once.")
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
                raise TypeError(f"{cls.__name__}: decay beside a schedule. Leave decay out, the schedule decides.")
            made.learning_rate = InverseTimeDecay(made.learning_rate, decay_steps=1, decay_rate=decay)
        return made

    make.__signature__ = inspect.signature(cls)  # type: ignore[attr-defined]
    return make


SGD = _as_in_keras(ours.SGD)
RMSprop = _as_in_keras(ours.RMSprop)
Adagrad = _as_in_keras(ours.Adagrad)
Adadelta = _as_in_keras(ours.Adadelta)
Adam = _as_in_keras(ours.Adam)
AdamW = _as_in_keras(ours.AdamW)
Nadam = _as_in_keras(ours.Nadam)
Lion = _as_in_keras(ours.Lion)
Muon = _as_in_keras(ours.Muon)
# Not in Keras, and wanted there: they take all rows a step.
LBFGS, NewtonCG, LevenbergMarquardt = ours.LBFGS, ours.NewtonCG, ours.LevenbergMarquardt
Optimizer = ours.Optimizer

__all__ = [
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "LevenbergMarquardt",
    "Lion",
    "Muon",
    "Nadam",
    "NewtonCG",
    "Optimizer",
    "RMSprop",
    "get",
    "schedules",
]


def get(identifier: Any) -> ours.Optimizer:
    """The optimizer of a name, a class, a config dict or an object."""
    return ours.get(getattr(identifier, "__wrapped__", identifier))


_adam = "Adam(amsgrad=True) and Nadam are the nearest."
__getattr__ = not_offered(
    "optimizers",
    __all__,
    {
        "Adamax": _adam,
        "Ftrl": "Adagrad is the nearest.",
        "Adafactor|Lamb": "Adam and Muon are the nearest.",
        "legacy": "There is one form of each optimizer: use keras.optimizers.Adam and so on.",
    },
)
