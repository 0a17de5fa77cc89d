"""Progress lines in the format of Keras."""

from __future__ import annotations

import sys
import time
from typing import Any

from ..callbacks import ProgressBar
from ..callbacks.base import Columns, Logs
from ..callbacks.progress import SECONDS, is_interactive

WIDTH = 20


def per_step(seconds: float) -> str:
    """The time of a step, in the format of Keras."""
    if seconds >= 1:
        return f"{seconds:.0f}s"
    return f"{1e3 * seconds:.0f}ms" if seconds >= 1e-3 else f"{1e6 * seconds:.0f}us"


def numbers(logs: Logs | dict[str, Any]) -> str:
    """Loss and metrics, in the format of Keras."""
    return "".join(
        f" - {key}: {value:.4f}" if abs(value) > 1e-3 or value == 0 else f" - {key}: {value:.4e}"
        for key, value in logs.items()
    )


def line(verbose: int, steps: int, seconds: float, logs: Logs | dict[str, Any]) -> str:
    """The line printed at the end of an epoch, an evaluation or a prediction."""
    if verbose == 2:
        return f"{steps}/{steps} - {seconds:.0f}s - {per_step(seconds / steps)}/step{numbers(logs)}\n"
    return f"{steps}/{steps} {bar(1.0)} {seconds:.0f}s {per_step(seconds / steps)}/step{numbers(logs)}\n"


def bar(fraction: float) -> str:
    """A bar of WIDTH characters."""
    full, empty = ("━", "─") if _can_print("━─") else ("=", ".")
    done = round(fraction * WIDTH)
    return full * done + empty * (WIDTH - done)


def _can_print(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeError, LookupError, AttributeError):
        return False
    return True


class Lines(ProgressBar):
    """Keras's progress: "Epoch 1/20", then steps, time and numbers; on a terminal the line is updated meanwhile."""

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Reset for a new run."""
        self._epochs, self._steps = int(self.params["epochs"]), int(self.params["steps"])
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
        now = time.monotonic()
        if now - self._drawn < 0.9 * SECONDS:
            return
        self._drawn = now
        step = max(1, round(share * self._steps))
        left = (now - self._time) * (1 - share) / max(share, 1e-9)
        eta = f"{left / 60:.0f}:{left % 60:02.0f}" if left >= 60 else f"{left:.0f}s"
        text = f"{step}/{self._steps} {bar(share)} ETA {eta}{numbers({'loss': loss})}"
        self._write(f"{self._heading(epoch)}\r\033[K{text}")

    def on_epochs_end(self, first_epoch: int, logs: Columns) -> None:
        """Print finished epochs."""
        count = len(next(iter(logs.values()), ()))
        if self._stream is None or not count:
            return
        now = time.monotonic()
        seconds, self._time = (now - self._time) / count, now
        text = ""
        for i in range(count):
            text += self._heading(first_epoch + i) + ("\r\033[K" if self._live else "")
            text += line(int(self.verbose), self._steps, seconds, {key: values[i] for key, values in logs.items()})
        self._write(text)

    def _heading(self, epoch: int) -> str:
        if epoch <= self._headed:
            return ""
        self._headed = epoch
        return f"Epoch {epoch + 1}/{self._epochs}\n"
