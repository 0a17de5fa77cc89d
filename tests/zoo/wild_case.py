"""What a wild case is: all that an owner ran, `fit` and its options included, and rows kept out to judge a repair by.

Cases of the zoo hold a net and its data; those here also hold how `fit` was called, because the fault is often there:
in the split, the weights, the callbacks, the rows that were diagnosed. `wild.py` judges the diagnosis by them.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from numpy.typing import NDArray

import fastdense as fd

from . import case, data
from .goal import Goal

Array = NDArray[Any]
Pair = tuple[Array, Array]

# Causes that lie outside the net; beside those of `case.CODES`, which may hold them already.
OUTSIDE = (
    "OVERFIT", "NOISE", "OUTLIERS", "SPLIT", "TRAIN_TEST_MISMATCH", "NORM_LAYER", "CLASS_WEIGHT", "STOPPED_EARLY",
    "REPRESENTATION", "LOSS_CHOICE",
)  # fmt: skip
CODES = tuple(dict.fromkeys((*case.CODES, *OUTSIDE)))


class Owned(NamedTuple):
    """What an owner had and ran.

    Attributes
    ----------
    model : Model
        Compiled, not trained.
    x, y : array
        The rows given to `fit`.
    kept : (x, y)
        Rows kept out of everything, in the form in which the owner would predict them.
    fit : dict
        All options of `fit` beside ``verbose``: validation, weights, callbacks, shuffle.
    repaired : callable or None
        Trains a repair made by hand and returns its predictions for the kept rows; of a class, for a threshold of 0.5.
    asked : (x, y) or None
        The rows given to `diagnose`, where they are not those of `fit`.
    shown : dict or None
        Further arguments of `diagnose`: what the owner passes again, such as validation data.
    """

    model: fd.Model
    x: Array
    y: Array
    kept: Pair
    fit: dict[str, Any]
    repaired: Callable[[], Array] | None = None
    asked: Pair | None = None
    shown: dict[str, Any] | None = None


@dataclass(frozen=True)
class Wild:
    """A wild case.

    Attributes
    ----------
    name : str
    build : callable
        Returns an `Owned`, the same on every call within one draw.
    goal : Goal
        What a net must reach on the kept rows: a healthy one, or a treated one.
    source : str
        What its owner did and saw.
    causes : tuple of str
        Codes that name the cause, the best one first; none for a healthy net.
    named : bool
        Whether there is nothing to repair: it is enough that the cause is named.
    trap : bool
        Whether a healthy net looks sick.
    """

    name: str
    build: Callable[[], Owned]
    goal: Goal
    source: str
    causes: tuple[str, ...] = ()
    named: bool = False
    trap: bool = False

    @property
    def kind(self) -> str:
        """ "sick", "healthy" or "trap"."""
        return "sick" if self.causes else "trap" if self.trap else "healthy"

    def train(self) -> Owned:
        """Build it and train it as its owner did."""
        owned = self.build()
        train(owned.model, owned.x, owned.y, owned.fit)
        return owned

    def by_hand(self) -> float:
        """The measure of the repair made by hand, on the kept rows; minus infinity if there is none."""
        owned = self.build()
        return -float("inf") if owned.repaired is None else self.goal.of(owned.repaired(), owned.kept[1])

    def behaves(self, before: float) -> bool:
        """Whether the owner's net misses the goal, or a healthy one reaches it, with this measure on the kept rows."""
        return (before < self.goal.at_least) == bool(self.causes)


@dataclass(frozen=True)
class Register:
    """The cases of one file, in the order in which they stand there."""

    cases: dict[str, Wild] = field(default_factory=dict)

    def sick(self, *causes: str, goal: Goal, named: bool = False) -> Callable[[Callable[[], Owned]], None]:
        """Put a sick net into the register; see `Wild`."""
        for code in causes:
            if code not in CODES:
                raise ValueError(f"zoo: {code} is no code; take one of {', '.join(CODES)}")
        return lambda build: self._add(build, goal=goal, causes=causes, named=named)

    def healthy(self, *, goal: Goal, trap: bool = False) -> Callable[[Callable[[], Owned]], None]:
        """Put a healthy net into the register; see `Wild`."""
        return lambda build: self._add(build, goal=goal, trap=trap)

    def _add(self, build: Callable[[], Owned], **options: Any) -> None:
        if build.__name__ in self.cases:
            raise ValueError(f"zoo: {build.__name__} is there already; give the case a name of its own")
        self.cases[build.__name__] = Wild(build.__name__, build, source=inspect.getdoc(build) or "", **options)


def train(model: Any, x: Array, y: Array, options: dict[str, Any]) -> None:
    """Fit without output; a loss that becomes NaN is a result here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="fit: the loss became", category=RuntimeWarning)
        model.fit(x, y, verbose=0, **options)


def net(widths: list[int], x: Array, optimizer: Any, loss: Any, *, act: str = "relu", out: str | None = None) -> Any:
    """Return a compiled model: hidden layers of these widths, the last one the output."""
    return case.net([*(fd.Dense(w, act) for w in widths[:-1]), fd.Dense(widths[-1], out)], x, optimizer, loss)


def mended(layers: list[Any], x: Array, y: Array, optimizer: Any, loss: Any, **fit: Any) -> Any:
    """Return a trained model, for a repair made by hand."""
    model = case.net(layers, x, optimizer, loss, seed=1)
    train(model, x, y, fit)
    return model


def plain(x: Array, y: Array, *, loss: str = "mse", outputs: int = 1, **fit: Any) -> Any:
    """Return what most repairs come to: standardised columns, two layers of 32 tanh units, Adam."""
    out = {"bce": "sigmoid", "sparse_categorical_crossentropy": "softmax"}.get(loss)
    layers = [fd.Normalization(), fd.Dense(32, "tanh"), fd.Dense(32, "tanh"), fd.Dense(outputs, out)]
    return mended(layers, x, y, fd.Adam(0.005), loss, **{"epochs": 60, **fit})


def cut(x: Array, y: Array, rows: int) -> tuple[Array, Array, Pair]:
    """The first `rows` rows, and the others as those kept out."""
    return x[:rows], y[:rows], (x[rows:], y[rows:])


rng = data.rng
