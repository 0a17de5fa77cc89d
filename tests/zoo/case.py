"""What a case of the zoo is, and how it gets into the zoo: a function under `sick` or `healthy`.

The function builds the net as its owner had it, compiled, and the data; its docstring tells in our words where such a
net comes from. Its name is the case's name.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

import fastdense as fd
from fastdense import diagnose

from . import data
from .goal import Goal

Array = NDArray[Any]
Built = tuple[fd.Model, Array, Array]

# Every code that is a cause; BASELINE is a symptom.
CODES = tuple(code for code in diagnose.CODES if code != "BASELINE")
WHEN = ("before", "after", "history")


@dataclass(frozen=True)
class Case:
    """A net, its data, how its owner trained it, and what is wrong with it.

    Attributes
    ----------
    name : str
    build : callable
        Returns ``(model, x, y)``, the model compiled, the same on every call.
    goal : Goal
        Whether a trained model has learnt.
    fit : mapping
        The owner's options of `Model.fit`, beside ``verbose``.
    causes : tuple of str
        Codes that name the cause, the true one first; none for a healthy net.
    also : tuple of str
        Codes that are true of the net as well, without being what stops it; naming them is no mistake.
    when : {"before", "after", "history"}
        When it is diagnosed: before any training, after the owner's, or after it with its history given.
    source : str
        Where such a net comes from.
    raises : bool
        Whether `fit` refuses the data.
    repair : callable or None
        A hand-made repair, where the fixed recipe of `recipe.py` is not enough: returns ``(model, fit options)`` for
        the owner's data.
    hopeless : bool
        Whether only other data could help.
    trap : bool
        Whether a healthy net looks sick.
    twin : str
        Of a healthy net: the sick one that it differs from by the smallest change.
    mnist : bool
        Whether the files of MNIST and Fashion-MNIST are needed.
    given : callable or None
        Returns further arguments of `diagnose`, such as validation data.
    """

    name: str
    build: Callable[[], Built]
    goal: Goal
    fit: Mapping[str, Any]
    source: str
    causes: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    when: str = "after"
    raises: bool = False
    repair: Callable[[Array, Array], tuple[fd.Model, dict[str, Any]]] | None = None
    hopeless: bool = False
    trap: bool = False
    twin: str = ""
    mnist: bool = False
    given: Callable[[], dict[str, Any]] | None = None

    @property
    def kind(self) -> str:
        """ "sick", "healthy" or "trap"."""
        return "sick" if self.causes else "trap" if self.trap else "healthy"

    def train(self) -> tuple[fd.Model, Array, Array]:
        """Build it and train it as its owner did; a `ValueError` where `raises` is set."""
        model, x, y = self.build()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="fit: the loss became", category=RuntimeWarning)
            model.fit(x, y, verbose=0, **self.fit)
        return model, x, y


SICK: dict[str, Case] = {}
HEALTHY: dict[str, Case] = {}


@dataclass(frozen=True)
class _Entry:
    """Decorator that puts a case into the zoo."""

    into: dict[str, Case]
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, build: Callable[[], Built]) -> Callable[[], Built]:
        name = build.__name__
        if name in SICK or name in HEALTHY:
            raise ValueError(f"zoo: {name} is there already; give the case a name of its own")
        self.into[name] = Case(name=name, build=build, source=inspect.getdoc(build) or "", **self.options)
        return build


def sick(*causes: str, goal: Goal, fit: Mapping[str, Any], **options: Any) -> _Entry:
    """Put a sick net into the zoo; see `Case` for the options."""
    for code in (*causes, *options.get("also", ())):
        if code not in (*CODES, "BASELINE"):
            raise ValueError(f"zoo: {code} is no code; take one of {', '.join(CODES)}")
    return _Entry(SICK, {"causes": causes, "goal": goal, "fit": fit, **options})


def healthy(*, goal: Goal, fit: Mapping[str, Any], **options: Any) -> _Entry:
    """Put a healthy net into the zoo; see `Case` for the options."""
    return _Entry(HEALTHY, {"goal": goal, "fit": fit, **options})


def net(layers: list[Any], x: Array, optimizer: Any, loss: Any, *, seed: int = 0, dtype: str = "float32") -> fd.Model:
    """Return a compiled model for the columns of `x`."""
    model = fd.Model(layers, inputs=x.shape[1], seed=data.net_seed(seed), dtype=dtype)
    model.compile(optimizer, loss)
    return model


def stack(depth: int, units: int, activation: str | None, **options: Any) -> list[fd.Dense]:
    """Return equal hidden layers."""
    return [fd.Dense(units, activation, **options) for _ in range(depth)]
