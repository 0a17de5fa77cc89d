"""Progress lines in the format of Keras."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..callbacks import ProgressBar
from ..callbacks.base import Columns, Logs
from ..callbacks.progress import SECONDS, check_verbose, is_interactive
from ..training.feasible import DEFAULT_BATCH
from .batches import KerasBatches
from .settings import is_interactive_logging_enabled

WIDTH = 20
BOLD, GREEN, WHITE, PLAIN = "\033[1m", "\033[32m", "\033[37m", "\033[0m"


def per_step(seconds: float) -> str:
    """The time of a step, in the format of Keras."""
    if seconds >= 1 or seconds == 0:
        return f"{seconds:.0f}s"
    return f"{1e3 * seconds:.0f}ms" if seconds >= 1e-3 else f"{1e6 * seconds:.0f}us"


def numbers(logs: Logs | dict[str, Any], verbose: int = 1) -> str:
    """Loss and metrics, in the format of Keras: small ones with an exponent, and in mode 2 all that are negative."""
    text = ""
    for key, values in logs.items():
        value = float(np.float32(np.mean(values)))  # as Keras rounds it
        text += f" - {key}: {value:.4f}" if (abs(value) if verbose == 1 else value) > 1e-3 else f" - {key}: {value:.4e}"
    return text


def verbosity(where: str, verbose: int | str) -> int:
    """What `verbose` means at present: 0, 1 or 2."""
    checked = check_verbose(where, verbose)
    return 0 if not is_interactive_logging_enabled() else 1 if isinstance(checked, str) else checked


def steps_of(x: Any, batch_size: int | None, steps: int | None) -> int:
    """Batches of an evaluation or prediction, as Keras counts them."""
    if isinstance(x, KerasBatches):
        return x.made
    every = math.ceil(len(x) / (batch_size or (DEFAULT_BATCH if steps is None else math.ceil(len(x) / steps))))
    return every if steps is None else min(every, steps)


def say(verbose: int, steps: int, began: float, logs: dict[str, float]) -> None:
    """Print the line of an evaluation or a prediction that has ended, unless `verbose` is 0."""
    if verbose:
        print(line(verbose, steps, time.perf_counter() - began, logs), end="")


def sorted_logs(logs: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Logs in Keras's order: loss and metrics, whose names these are, and those of validation in alphabetical order.

    What callbacks have added comes last.
    """
    order = sorted([*names, *(f"val_{name}" for name in names)])
    first = {key: logs[key] for key in order if key in logs}
    return first | {key: value for key, value in logs.items() if key not in first}


def line(verbose: int, steps: int, seconds: float, logs: Logs | dict[str, Any], colors: bool | None = None) -> str:
    """The line printed at the end of an epoch, an evaluation or a prediction; `colors` None: on a terminal."""
    each = f"{per_step(seconds / max(steps, 1))}/step"
    if verbose == 2:
        return f"{steps}/{steps} - {seconds:.0f}s - {each}{numbers(logs, 2)}\n"
    return f"{counted(steps, steps, f'{seconds:.0f}s', colors)} {each}{numbers(logs)}\n"


def counted(step: int, steps: int | None, text: str, colors: bool | None = None) -> str:
    """The number of steps with a bar of WIDTH characters, if it is known how many there will be, and a time."""
    colors = is_interactive(sys.stdout) if colors is None else colors
    count = f"{step:7d}/Unknown" if not steps else f"{step:{len(str(steps))}d}/{steps}"
    if not steps:
        return f"{count} {BOLD}{text}{PLAIN}" if colors else f"{count} {text}"
    if not colors:
        return f"{count} {bar(step / steps)} {text}"
    done = int(WIDTH * step / steps)
    mark = "━" if can_print("━") else "="
    drawn = f"{GREEN}{mark * done}{PLAIN}" if done else ""
    return f"{BOLD}{count}{PLAIN} {drawn}{WHITE}{mark * (WIDTH - done)}{PLAIN} {BOLD}{text}{PLAIN}"


def bar(fraction: float) -> str:
    """A bar of WIDTH characters, without colors."""
    full, empty = ("━", "─") if can_print("━─") else ("=", ".")
    done = int(fraction * WIDTH)
    return full * done + empty * (WIDTH - done)


def can_print(text: str) -> bool:
    """Whether standard output has these characters."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeError, LookupError, AttributeError):
        return False
    return True


class Lines(ProgressBar):
    """Keras's progress: "Epoch 1/20", then steps, time and numbers; on a terminal the line is updated meanwhile."""

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Reset for a new run."""
        steps = self.params["steps"]
        self._epochs, self._steps = int(self.params["epochs"]), None if steps is None else int(steps)
        self._stream = None if self.verbose == 0 else sys.stdout
        self._live = self._stream is not None and self.verbose == 1 and is_interactive(self._stream)
        self._headed = -1  # the last epoch whose heading was printed
        self._time = self._drawn = time.monotonic()

    @property
    def wants_progress(self) -> bool:
        """Whether `running` shows anything."""
        return self._live

    def running(self, epoch: int, share: float, loss: float) -> None:
        """Draw the progress of the running epoch."""
        self.running_batches(epoch, round(share * (self._steps or 1)), self._steps, loss)

    def running_batches(self, epoch: int, batch: int, batches: int | None, loss: float) -> None:
        """Draw the progress of the running epoch."""
        now, batch, batches = time.monotonic(), max(1, batch), batches or self._steps
        if now - self._drawn < 0.9 * SECONDS:
            return
        self._drawn = now
        spent = now - self._time
        shown = f"{spent:.0f}s" if batches is None else _remaining(spent * (batches - batch) / batch)
        text = f"{counted(batch, batches, shown, True)} {per_step(spent / batch)}/step{numbers({'loss': loss})}"
        self._write(f"{self._heading(epoch)}\r\033[K{text}")

    def on_epochs_end(self, first_epoch: int, logs: Columns) -> None:
        """Print finished epochs."""
        count = len(next(iter(logs.values()), ()))
        if self._stream is None or not count:
            return
        now = time.monotonic()
        seconds, self._time = (now - self._time) / count, now
        self._steps = self._steps or self.batches
        text, names = "", self.model.metrics_names
        for i in range(count):
            text += self._heading(first_epoch + i) + ("\r\033[K" if self._live else "")
            own = sorted_logs({key: values[i] for key, values in logs.items()}, names)
            text += line(int(self.verbose), self._steps or 0, seconds, own, self._live)
        self._write(text)

    def _heading(self, epoch: int) -> str:
        if epoch <= self._headed or self._epochs == 1:
            return ""
        self._headed = epoch
        return f"Epoch {epoch + 1}/{self._epochs}\n"


def _remaining(seconds: float) -> str:
    if seconds > 3600:
        return f"{seconds // 3600:.0f}:{seconds % 3600 // 60:02.0f}:{int(seconds % 60):02d}"
    return f"{seconds // 60:.0f}:{int(seconds % 60):02d}" if seconds > 60 else f"{int(seconds)}s"
