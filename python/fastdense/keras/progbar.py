"""`Progbar`, the bar of Keras for training loops of the user's."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Any

from .progress import counted, numbers, per_step


class Progbar:
    """A bar that a loop moves on.

    Parameters
    ----------
    target : int or None
        Number of steps; None if it is not known.
    width : int
        Accepted; the bar has 20 characters.
    verbose : {0, 1, 2}
        0 prints nothing, 1 a bar, 2 one line at the end.
    interval : float
        Seconds between two drawings.
    stateful_metrics : iterable of str, optional
        Names whose last value is shown, not the mean over the steps.
    stateless_metrics : iterable of str, optional
        The names whose mean is shown; the last value of all others.
    unit_name : str

    Examples
    --------
    >>> from fastdense.keras.utils import Progbar
    >>> progress = Progbar(3, verbose=0)
    >>> for step in range(3):
    ...     progress.update(step + 1, [("loss", 0.5)])
    """

    def __init__(
        self,
        target: int | None,
        width: int = 20,
        verbose: int = 1,
        interval: float = 0.05,
        stateful_metrics: Iterable[str] | None = None,
        stateless_metrics: Iterable[str] | None = None,
        unit_name: str = "step",
    ) -> None:
        if stateful_metrics is not None and stateless_metrics is not None:
            raise ValueError("Progbar: stateful_metrics and stateless_metrics are both given. Give one of them.")
        self.target, self.verbose, self.interval, self.unit_name = target, verbose, interval, unit_name
        self._last = None if stateful_metrics is None else set(stateful_metrics)
        self._mean = None if stateless_metrics is None else set(stateless_metrics)
        self._sums: dict[str, tuple[float, float]] = {}
        self._seen = 0
        self._began, self._drawn = time.monotonic(), 0.0

    def update(
        self, current: int, values: Iterable[tuple[str, Any]] | None = None, finalize: bool | None = None
    ) -> None:
        """Show that `current` steps are done; `values` are pairs of a name and its value in the last steps."""
        done = current >= self.target if finalize is None and self.target is not None else bool(finalize)
        steps = max(current - self._seen, 1)
        for name, value in values or ():
            total, count = self._sums.get(name, (0.0, 0.0))
            averaged = name in self._mean if self._mean is not None else name not in (self._last or ())
            if done or not averaged:
                self._sums[name] = (float(value), 1.0)
            else:
                self._sums[name] = (total + float(value) * steps, count + steps)
        self._seen = current
        now = time.monotonic()
        if self.verbose == 0 or (not done and (self.verbose == 2 or now - self._drawn < self.interval)):
            return
        self._drawn = now
        sys.stdout.write(self._text(current, now - self._began, done))
        sys.stdout.flush()

    def add(self, n: int, values: Iterable[tuple[str, Any]] | None = None) -> None:
        """Show that `n` further steps are done."""
        self.update(self._seen + n, values)

    def _text(self, current: int, seconds: float, done: bool) -> str:
        each = seconds / max(current, 1)
        speed = f"{per_step(each)}/{self.unit_name}"
        shown = numbers({name: total / count for name, (total, count) in self._sums.items()})
        if self.verbose == 2 and self.target is not None:
            return f"{current:{len(str(self.target))}d}/{self.target} - {seconds:.0f}s - {speed}{shown}\n"
        left = seconds if done or self.target is None else each * (self.target - current)
        return f"\r{counted(current, self.target, f'{left:.0f}s')} {speed}{shown}" + "\n" * done
