"""The progress of `fit`: a bar on a terminal, lines in a log, or nothing."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, TextIO

from ..arguments import shorten
from .base import Callback, Columns, Logs

SECONDS = 0.1  # between two drawings of a bar
LINES = 20  # of a long run in a log


def check_verbose(where: str, verbose: object) -> int | str:
    """Return "auto", 0, 1 or 2; True and False are 1 and 0."""
    if isinstance(verbose, str) and verbose == "auto":
        return "auto"
    if isinstance(verbose, int) and verbose in (0, 1, 2):
        return int(verbose)
    needed = "'auto', 0 (silent), 1 (bar) or 2 (one line per epoch)"
    raise ValueError(f"{where}: verbose is {shorten(verbose)}; needed: {needed}")


def is_interactive(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal or a notebook."""
    if stream is None:
        return False
    return bool(getattr(stream, "isatty", lambda: False)()) or type(stream).__module__.startswith("ipykernel")


def _has_room(stream: TextIO) -> bool:
    """False for a terminal that says it has no columns or rows, as some build servers do: tqdm would draw nothing."""
    try:
        return min(os.get_terminal_size(stream.fileno())) > 0
    except (OSError, ValueError, AttributeError):
        return True


def text_of(logs: Logs | dict[str, Any]) -> str:
    """The numbers of an epoch in one line."""
    return " - ".join(f"{key} {value:.4g}" for key, value in logs.items() if isinstance(value, (int, float)))


def say(verbose: int | str, text: str) -> None:
    """Print a line, if `verbose` asks for it, or if it is "auto" and the output is interactive."""
    if verbose in (1, 2) or (verbose == "auto" and is_interactive(sys.stdout)):
        print(text)


class Bar(Protocol):
    """A bar over the epochs of a run."""

    def draw(self, epochs_done: float, title: str, text: str) -> None: ...

    def close(self) -> None: ...


class _Tqdm:
    def __init__(self, stream: TextIO, first: int, total: int) -> None:
        tqdm: Any = importlib.import_module("tqdm").tqdm
        layout = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
        self._bar = tqdm(initial=first, total=total, file=stream, bar_format=layout, dynamic_ncols=True, mininterval=0)

    def draw(self, epochs_done: float, title: str, text: str) -> None:
        self._bar.n = epochs_done
        self._bar.set_description_str(title, refresh=False)
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.refresh()

    def close(self) -> None:
        self._bar.close()


class _Rich:
    def __init__(self, stream: TextIO, first: int, total: int) -> None:
        rich: Any = importlib.import_module("rich.progress")
        console = importlib.import_module("rich.console").Console(file=stream)
        title, numbers = rich.TextColumn("{task.description}"), rich.TextColumn("{task.fields[numbers]}")
        shown = (title, rich.BarColumn(), rich.TimeElapsedColumn(), rich.TimeRemainingColumn(), numbers)
        self._bar = rich.Progress(*shown, console=console, auto_refresh=False)
        self._task = self._bar.add_task("", total=total, completed=first, numbers="")
        self._bar.start()

    def draw(self, epochs_done: float, title: str, text: str) -> None:
        self._bar.update(self._task, completed=epochs_done, description=title, numbers=text, refresh=True)

    def close(self) -> None:
        self._bar.stop()


BARS: tuple[Callable[[TextIO, int, int], Bar], ...] = (_Tqdm, _Rich)


def make_bar(stream: TextIO, first: int, total: int) -> Bar | None:
    """A bar of the first library that is installed, tqdm or rich; None without either."""
    for bar in BARS:
        try:
            return bar(stream, first, total)
        except ImportError:
            continue
    return None


class ProgressBar(Callback):
    """Shows the progress of training; `fit` adds one itself, according to `verbose`.

    On a terminal or in a notebook a bar over all epochs, redrawn at most ten times a second, if tqdm or rich is
    installed (``pip install 'fastdense[progress]'``); otherwise one line per epoch. With "auto", where the output
    is not interactive or no bar can be drawn, a run of more than 20 epochs gets 20 evenly spaced lines.

    Parameters
    ----------
    verbose : {"auto", 0, 1, 2}
        0 shows nothing, 1 a bar where possible, 2 one line per epoch.

    Attributes
    ----------
    batches : int or None
        Batches of the last epoch, where nothing says before how many there will be.
    """

    deferred: ClassVar[bool] = True

    def __init__(self, verbose: int | str = "auto") -> None:
        super().__init__()
        self.verbose = check_verbose("ProgressBar", verbose)
        self.batches: int | None = None
        self._bar: Bar | None = None
        self._stream: TextIO | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Choose between bar, lines and silence."""
        self.close()
        self._first, self._epochs = int(self.params.get("initial_epoch", 0)), int(self.params["epochs"])
        self._unit = str(self.params.get("unit", "epoch"))  # what is counted
        self._stream = sys.stdout if self.verbose != 0 and self._epochs > self._first else None
        self._time = self._drawn = time.monotonic()
        self._latest = ""
        if self._stream is None:
            return
        if self.verbose in ("auto", 1) and is_interactive(self._stream) and _has_room(self._stream):
            self._bar = make_bar(self._stream, self._first, self._epochs)
        lines = LINES if self.verbose == "auto" else self._epochs
        self._every = max(1, -(-(self._epochs - self._first) // lines))
        if self._bar is None and self._every > 1:
            count = f"{self._epochs - self._first} {self._unit}s"
            self._write(f"{count}, one line for every {self._every} (verbose=2: for each one)\n")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Show one epoch."""
        self.on_epochs_end(epoch, {key: [value] for key, value in (logs or {}).items()})

    def on_epochs_end(self, first_epoch: int, logs: Columns) -> None:
        """Show many epochs."""
        count = len(next(iter(logs.values()), ()))
        if self._stream is None or not count:
            return
        now = time.monotonic()
        done = first_epoch + count
        if self._bar is not None:
            self._latest = text_of({key: values[-1] for key, values in logs.items()})
            if now - self._drawn >= SECONDS or done == self._epochs:
                self._draw(done, done, self._latest)
        else:
            seconds = (now - self._time) / count
            width = len(str(self._epochs))
            lines = []
            for i in range(count):
                number = first_epoch + i + 1
                if (number - self._first) % self._every == 0 or number == self._epochs:
                    text = text_of({key: values[i] for key, values in logs.items()})
                    lines.append(f"{self._unit} {number:{width}}/{self._epochs} - {_duration(seconds)} - {text}\n")
            self._write("".join(lines))
        self._time = now

    def running(self, epoch: int, fraction: float, loss: float) -> None:
        """Show the fraction of the running epoch that is done, and its mean loss so far."""
        if self._bar is not None and time.monotonic() - self._drawn >= 0.9 * SECONDS:
            self._draw(epoch + fraction, epoch + 1, self._latest or f"loss {loss:.4g}")

    def running_batches(self, epoch: int, batch: int, batches: int | None, loss: float) -> None:
        """As `running`, after so many batches of the epoch, of which it may not be known how many there are."""
        self.running(epoch, batch / batches if batches else 0.0, loss)

    @property
    def wants_progress(self) -> bool:
        """Whether `running` shows anything."""
        return self._bar is not None

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Finish the bar."""
        self.close()

    def close(self) -> None:
        """Close the bar, also after an interrupt."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _draw(self, done: float, epoch: int, text: str) -> None:
        assert self._bar is not None
        self._bar.draw(min(done, self._epochs), f"{self._unit} {min(epoch, self._epochs)}/{self._epochs}", text)
        self._drawn = time.monotonic()

    def _write(self, text: str) -> None:
        if self._stream is not None and text:
            self._stream.write(text)
            self._stream.flush()


def _duration(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} us"
    return f"{seconds * 1e3:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
