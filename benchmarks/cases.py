"""The nets that are timed, one a row. A new case is a new row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdense import datasets
from fastdense.rivals import Task

Arrays = tuple[NDArray[Any], NDArray[Any]]


@dataclass(frozen=True)
class Case:
    """One row: its name, the net and its training, how many rows, and how far the libraries' losses may differ.

    `tolerance` is relative, on the mean training loss of the first epoch. Equal formulas in another order of sums stay
    within 1 %: measured differences between NumPy and PyTorch are 0.1 %.
    """

    name: str
    task: Task
    rows: int = 60000
    tolerance: float = 0.01

    @property
    def flops(self) -> int:
        """Multiply-adds times two of one epoch's matrix products; the first layer needs no gradient of its input."""
        products = [n * u for n, u in zip(self.task.widths, self.task.widths[1:], strict=False)]
        return 2 * self.rows * (3 * sum(products) - products[0])


CASES = (
    Case("identity-1", Task((784, 784), "mse", "rmsprop", 1e-3, batch_size=128, scale=1.0)),
    Case("identity-4", Task((784,) * 5, "mse", "rmsprop", 1e-3, batch_size=128, scale=1.0), tolerance=0.1),
    Case("mnist-128", Task((784, 128, 10), "crossentropy", "adam", 1e-3, batch_size=128, scale=1 / 255)),
    Case("mnist-512-256", Task((784, 512, 256, 10), "crossentropy", "adam", 1e-3, batch_size=128, scale=1 / 255)),
)


def load(rows: int) -> tuple[str, Arrays, Arrays]:
    """MNIST if it is on this machine, else random images of the same shape (the timings do not depend on which)."""
    if datasets.has_local("mnist"):
        (x, y), test = datasets.load_mnist()
        return "MNIST", (x[:rows], y[:rows]), test
    random = np.random.RandomState(0)
    x = np.maximum(random.randint(-600, 256, (rows, 28, 28)), 0).astype(np.uint8)  # mostly black, as MNIST is
    y = random.randint(0, 10, rows).astype(np.uint8)
    return "random images", (x, y), (x[:1000], y[:1000])
