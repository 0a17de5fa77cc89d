"""Schedules: a learning rate that depends on the optimizer step, counted from 0.

Formulas, arguments and defaults are those of Keras 3. A schedule is called with one step or an array of steps:

>>> from fastdense.schedules import ExponentialDecay
>>> ExponentialDecay(0.1, decay_steps=10, decay_rate=0.5)(20)
0.025
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from .arguments import flag, integer, items, number
from .specs import Spec, resolve

__all__ = [
    "CosLog",
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "InverseTimeDecay",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "Schedule",
    "get",
]

Steps = NDArray[np.float64]


class Schedule(Spec, family="learning rate schedule"):
    """Base of the schedules; a schedule of your own overrides `rates`."""

    step: int = 0  # at which ``float(schedule)`` is taken

    def __float__(self) -> float:
        return self(self.step)

    def rates(self, steps: Steps) -> Steps:
        """Return the learning rate of each step of a float64 array."""
        raise NotImplementedError(f"{type(self).__name__} must define rates(steps)")

    @overload
    def __call__(self, steps: int | float) -> float: ...
    @overload
    def __call__(self, steps: NDArray[Any]) -> Steps: ...
    def __call__(self, steps: int | float | NDArray[Any]) -> float | Steps:
        """Return the learning rate of one step (a float) or of an array of steps (a float64 array)."""
        s = np.asarray(steps, dtype=np.float64)
        values = self.checked_rates(np.atleast_1d(s))
        return float(values[0]) if s.ndim == 0 else values

    def checked_rates(self, steps: Steps) -> Steps:
        """Return what `rates` gives, which must be one number per step."""
        values = np.asarray(self.rates(steps), dtype=np.float64)
        if values.shape != steps.shape:
            raise ValueError(
                f"{type(self).__name__}: rates gave shape {values.shape} for {steps.size} steps. "
                "Give one rate per step."
            )
        return values


class ExponentialDecay(Schedule, names=("exponential_decay",)):
    """``initial_learning_rate * decay_rate ** (step / decay_steps)``.

    Parameters
    ----------
    initial_learning_rate : float
        Learning rate at step 0.
    decay_steps : int
        Steps over which the rate is multiplied by `decay_rate` once.
    decay_rate : float
        How much it decays over `decay_steps`.
    staircase : bool, default False
        Whether the exponent is rounded down, so that the rate falls in steps.

    Examples
    --------
    >>> from fastdense.schedules import ExponentialDecay
    >>> ExponentialDecay(0.1, decay_steps=10, decay_rate=0.5)(20)
    0.025
    """

    def __init__(
        self, initial_learning_rate: float, decay_steps: int, decay_rate: float, staircase: bool = False
    ) -> None:
        self.initial_learning_rate = number("ExponentialDecay: initial_learning_rate", initial_learning_rate, least=0)
        self.decay_steps = integer("ExponentialDecay: decay_steps", decay_steps, least=1)
        self.decay_rate = number("ExponentialDecay: decay_rate", decay_rate, above=0)
        self.staircase = flag("ExponentialDecay: staircase", staircase)

    def rates(self, steps: Steps) -> Steps:
        p = steps / self.decay_steps
        if self.staircase:
            p = np.floor(p)
        return np.asarray(self.initial_learning_rate * self.decay_rate**p, dtype=np.float64)


class InverseTimeDecay(Schedule, names=("inverse_time_decay",)):
    """``initial_learning_rate / (1 + decay_rate * step / decay_steps)``.

    Parameters
    ----------
    initial_learning_rate : float
        Learning rate at step 0.
    decay_steps : int
        Number of steps over which the rate decays once.
    decay_rate : float
        How much it decays over `decay_steps`.
    staircase : bool, default False
        Whether ``step / decay_steps`` is rounded down.

    Examples
    --------
    >>> from fastdense.schedules import InverseTimeDecay
    >>> InverseTimeDecay(0.1, decay_steps=10, decay_rate=1.0)(10)
    0.05
    """

    def __init__(
        self, initial_learning_rate: float, decay_steps: int, decay_rate: float, staircase: bool = False
    ) -> None:
        self.initial_learning_rate = number("InverseTimeDecay: initial_learning_rate", initial_learning_rate, least=0)
        self.decay_steps = integer("InverseTimeDecay: decay_steps", decay_steps, least=1)
        self.decay_rate = number("InverseTimeDecay: decay_rate", decay_rate, least=0)
        self.staircase = flag("InverseTimeDecay: staircase", staircase)

    def rates(self, steps: Steps) -> Steps:
        p = steps / self.decay_steps
        if self.staircase:
            p = np.floor(p)
        return self.initial_learning_rate / (1.0 + self.decay_rate * p)


class PolynomialDecay(Schedule, names=("polynomial_decay",)):
    """``(initial - end) * (1 - step / decay_steps) ** power + end``, and `end_learning_rate` afterwards.

    Parameters
    ----------
    initial_learning_rate : float
        Learning rate at step 0.
    decay_steps : int
        Number of steps over which the rate decays once.
    end_learning_rate : float, default 0.0001
        Learning rate at the end.
    power : float, default 1.0
        1 gives a straight line.
    cycle : bool, default False
        Whether to start again, each time `decay_steps` longer in all, in place of staying at the end: ``decay_steps``
        is then multiplied by ``ceil(step / decay_steps)``.

    Examples
    --------
    >>> from fastdense.schedules import PolynomialDecay
    >>> PolynomialDecay(0.1, decay_steps=10, end_learning_rate=0.0)(5)
    0.05
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
    ) -> None:
        self.initial_learning_rate = number("PolynomialDecay: initial_learning_rate", initial_learning_rate, least=0)
        self.decay_steps = integer("PolynomialDecay: decay_steps", decay_steps, least=1)
        self.end_learning_rate = number("PolynomialDecay: end_learning_rate", end_learning_rate, least=0)
        self.power = number("PolynomialDecay: power", power, above=0)
        self.cycle = flag("PolynomialDecay: cycle", cycle)

    def rates(self, steps: Steps) -> Steps:
        if self.cycle:
            length = self.decay_steps * np.maximum(1.0, np.ceil(steps / self.decay_steps))
        else:
            length, steps = np.full(steps.shape, float(self.decay_steps)), np.minimum(steps, self.decay_steps)
        fall = (1.0 - steps / length) ** self.power
        rates = (self.initial_learning_rate - self.end_learning_rate) * fall + self.end_learning_rate
        return np.asarray(rates, dtype=np.float64)


class PiecewiseConstantDecay(Schedule, names=("piecewise_constant_decay", "piecewise_constant")):
    """``values[0]`` up to and including step ``boundaries[0]``, then ``values[1]`` up to ``boundaries[1]``, and so on.

    Parameters
    ----------
    boundaries : list of int
        Steps, strictly increasing.
    values : list of float
        One more than the boundaries.

    Examples
    --------
    >>> from fastdense.schedules import PiecewiseConstantDecay
    >>> PiecewiseConstantDecay([10], [0.1, 0.01])(20)
    0.01
    """

    def __init__(self, boundaries: Sequence[int], values: Sequence[float]) -> None:
        where = "PiecewiseConstantDecay"
        steps = items(f"{where}: boundaries", boundaries, "a list of steps")
        rates = items(f"{where}: values", values, "a list of learning rates")
        self.boundaries = [integer(f"{where}: boundaries[{i}]", b, least=0) for i, b in enumerate(steps)]
        self.values = [number(f"{where}: values[{i}]", v, least=0) for i, v in enumerate(rates)]
        if len(self.values) != len(self.boundaries) + 1:
            raise ValueError(
                f"{where}: {len(self.boundaries)} boundaries and {len(self.values)} values. "
                "Give one value more than boundaries."
            )
        if any(b >= c for b, c in zip(self.boundaries, self.boundaries[1:], strict=False)):
            raise ValueError(f"{where}: boundaries={self.boundaries} do not increase. Sort them, without repeats.")

    def rates(self, steps: Steps) -> Steps:
        piece = np.searchsorted(np.asarray(self.boundaries, dtype=np.float64), steps, side="left")
        values: Steps = np.asarray(self.values, dtype=np.float64)[piece]
        return values


class CosLog(Schedule, names=("cos_log",)):
    """``learning_rate * (1 - cos(2 pi log2(1 + (2**cycles - 1) * t))) / 2`` with ``t = step / decay_steps``.

    The rate rises from 0 to `learning_rate` and falls back to 0 `cycles` times, each time over about twice as many
    steps as before; it stays 0 after `decay_steps` (coslog_4 of Holzmüller et al., 2024, arXiv 2407.04491).

    Parameters
    ----------
    learning_rate : float
        The largest rate.
    decay_steps : int
        Number of steps of all cycles together.
    cycles : int, default 4
        Number of cycles.

    Examples
    --------
    >>> from fastdense.schedules import CosLog
    >>> schedule = CosLog(0.04, decay_steps=150)
    >>> [round(schedule(step), 6) for step in (0, 10, 30, 150)]
    [0.0, 0.0, 0.0, 0.0]
    """

    def __init__(self, learning_rate: float, decay_steps: int, cycles: int = 4) -> None:
        self.learning_rate = number("CosLog: learning_rate", learning_rate, least=0)
        self.decay_steps = integer("CosLog: decay_steps", decay_steps, least=1)
        self.cycles = integer("CosLog: cycles", cycles, least=1, most=50)

    def rates(self, steps: Steps) -> Steps:
        t = np.minimum(steps / self.decay_steps, 1.0)
        turns = np.log2(1.0 + (2.0**self.cycles - 1.0) * t)
        return np.asarray(0.5 * self.learning_rate * (1.0 - np.cos(2 * np.pi * turns)), dtype=np.float64)


class CosineDecay(Schedule, names=("cosine_decay",)):
    """Half a cosine from the initial rate down to ``alpha`` times it (Loshchilov & Hutter, 2016), after a warm-up.

    ``initial * ((1 - alpha) (1 + cos(pi step / decay_steps)) / 2 + alpha)``, constant after `decay_steps`. With a
    warm-up the rate first rises in a straight line from `initial_learning_rate` to `warmup_target` over
    `warmup_steps`, and the decay then starts from `warmup_target`.

    Parameters
    ----------
    initial_learning_rate : float
        Learning rate at step 0.
    decay_steps : int
        Steps of the decay, not counting the warm-up.
    alpha : float, default 0.0
        The last rate, as a fraction of the one that the decay starts from.
    warmup_target : float, optional
        None means no warm-up.
    warmup_steps : int, default 0
        Number of steps before the decay in which the rate rises to `warmup_target`.

    Examples
    --------
    >>> from fastdense.schedules import CosineDecay
    >>> CosineDecay(0.1, decay_steps=10)(5)
    0.05
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        alpha: float = 0.0,
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ) -> None:
        self.initial_learning_rate = number("CosineDecay: initial_learning_rate", initial_learning_rate, least=0)
        self.decay_steps = integer("CosineDecay: decay_steps", decay_steps, least=1)
        self.alpha = number("CosineDecay: alpha", alpha, least=0)
        self.warmup_target = (
            None if warmup_target is None else number("CosineDecay: warmup_target", warmup_target, least=0)
        )
        self.warmup_steps = integer("CosineDecay: warmup_steps", warmup_steps, least=0)
        if self.warmup_steps and self.warmup_target is None:
            raise ValueError(
                f"CosineDecay: warmup_steps={self.warmup_steps} without a warm-up. "
                "Give warmup_target, the rate at its end, too."
            )

    def rates(self, steps: Steps) -> Steps:
        start = self.initial_learning_rate if self.warmup_target is None else self.warmup_target
        p = np.clip((steps - self.warmup_steps) / self.decay_steps, 0.0, 1.0)
        decayed = start * ((1.0 - self.alpha) * 0.5 * (1.0 + np.cos(math.pi * p)) + self.alpha)
        if not self.warmup_steps:
            return np.asarray(decayed, dtype=np.float64)
        rise = self.initial_learning_rate + (start - self.initial_learning_rate) * steps / self.warmup_steps
        return np.where(steps < self.warmup_steps, rise, decayed)


class CosineDecayRestarts(Schedule, names=("cosine_decay_restarts",)):
    """Cosine decay that starts again and again (SGDR; Loshchilov & Hutter, 2016).

    Period ``i`` is ``first_decay_steps * t_mul**i`` steps long and its decay starts at ``m_mul**i`` times the initial
    rate: ``initial * ((1 - alpha) m_mul**i (1 + cos(pi p)) / 2 + alpha)``, with ``p`` the fraction of the period that
    is done.

    Parameters
    ----------
    initial_learning_rate : float
        Learning rate at step 0.
    first_decay_steps : int
        Number of steps of the first period.
    t_mul : float, default 2.0
        At least 1.
    m_mul : float, default 1.0
        Factor of the learning rate from one period to the next.
    alpha : float, default 0.0
        The lowest rate, as a fraction of the initial one.

    Examples
    --------
    >>> from fastdense.schedules import CosineDecayRestarts
    >>> CosineDecayRestarts(0.1, first_decay_steps=10)(5)
    0.05
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: int,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
    ) -> None:
        where = "CosineDecayRestarts"
        self.initial_learning_rate = number(f"{where}: initial_learning_rate", initial_learning_rate, least=0)
        self.first_decay_steps = integer(f"{where}: first_decay_steps", first_decay_steps, least=1)
        self.t_mul = number(f"{where}: t_mul", t_mul, least=1)
        self.m_mul = number(f"{where}: m_mul", m_mul, least=0)
        self.alpha = number(f"{where}: alpha", alpha, least=0)

    def _start(self, period: Steps) -> Steps:
        """Where a period starts, in units of the first period."""
        return np.asarray((self.t_mul**period - 1.0) / (self.t_mul - 1.0), dtype=np.float64)

    def rates(self, steps: Steps) -> Steps:
        done = steps / self.first_decay_steps
        if self.t_mul == 1.0:
            period = np.floor(done)
            p = done - period
        else:
            period = np.floor(np.log1p(done * (self.t_mul - 1.0)) / math.log(self.t_mul))
            period = period + (self._start(period + 1.0) <= done)  # a logarithm may round to either side
            period = period - (self._start(period) > done)
            p = (done - self._start(period)) / self.t_mul**period
        fall = 0.5 * self.m_mul**period * (1.0 + np.cos(math.pi * p))
        return np.asarray(self.initial_learning_rate * ((1.0 - self.alpha) * fall + self.alpha), dtype=np.float64)


def get(value: Any, where: str = "schedule") -> Schedule:
    """Return a schedule from an object or a config dict; see `fastdense.specs.resolve`."""
    return resolve(Schedule, value, where)
