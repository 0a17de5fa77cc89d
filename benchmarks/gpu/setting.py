"""What every library's side of a GPU case is given, and what it must offer. Free of PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from fastdense.cli.baselines import Floats, Task


@dataclass(frozen=True)
class Setting:
    """A case's task with its data and initial weights (of a population: stacked), and its device."""

    task: Task
    x: Floats
    y: NDArray[Any]
    weights: Sequence[Floats]
    device: str = "cpu"
    starts: int = 1
    precision: str = "float32"

    @property
    def steps(self) -> int:
        """Of an epoch. What does not fill a batch would be left out; the cases have none of it."""
        return max(1, len(self.x) // self.task.batch_size)

    @property
    def whole(self) -> bool:
        """Whether a batch is all rows, as they lie."""
        return self.task.batch_size >= len(self.x)


class Trainer(Protocol):
    """What the process of a library drives: turns of so many epochs, each from the initial weights."""

    notes: list[str]  # what a reader of its times should know
    one_off: bool  # whether every turn has one-off costs, measured by a turn of one epoch

    def restart(self) -> None: ...

    def train(self, epochs: int) -> list[float]:
        """Train, wait for the device, and return mean losses of epochs."""

    def launches(self) -> float | None:
        """Kernels, copies and fills of a step, None if it cannot be known. Nothing is timed in this call."""


def first_line(error: BaseException) -> str:
    """The type of an error and the first line that says something."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].strip()[:300]}" if lines else type(error).__name__


def use_emulated(file: str) -> None:
    """Let "cuda" be the emulated module of the tests, from here on in this process."""
    from tests.helpers.devices import load_emulated

    load_emulated(file)
