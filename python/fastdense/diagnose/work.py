"""Work of a diagnosis, counted in seconds of a reference machine: what is done never depends on a clock.

The reference is one core of a server processor of 2023 (Zen 4 with AVX-512), from whose rates the constants were
rounded, to the slow side. Only their ratios matter for what a budget buys: on another machine, or on a busy one, a
diagnosis takes longer or shorter, and finds the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..layers import Layer
from ..model.base import BaseModel
from ..training.search import rounds
from .plan import Plan, flat

PRODUCTS = 70e9  # floating-point operations of matrix products per second, float32; half of it in float64
NUMBERS = 1.5e9  # numbers that an element-wise operation reads or writes per second
DRAWS = 9e6  # initial weights drawn per second
STEP, CALL, TRIAL = 1e-6, 1e-4, 2e-3  # of a step of an optimizer, a call of the engine, a model made and fitted
DEVICES = {"reference": 30.0}  # how much slower than the engine of the CPU
SHORTEST, LONGEST = 2.0, 20.0  # default budget


@dataclass
class Work:
    """The budget of a diagnosis and what has been used of it, in seconds of the reference machine."""

    budget: float = math.inf
    spent: float = field(default=0.0)

    @property
    def left(self) -> float:
        """What remains of the budget; below 0 if more was done than allowed."""
        return self.budget - self.spent

    def charge(self, seconds: float) -> None:
        """Count work as done."""
        self.spent += seconds


@dataclass(frozen=True)
class Sizes:
    """What one row costs in a net.

    Attributes
    ----------
    products : int
        Multiplications of one forward pass.
    numbers : int
        Element-wise operations of one row in training.
    parameters : int
    shapes : tuple of tuples of int
        Of the trainable tensors.
    slower : float
        Factor of the data type and the device.
    """

    products: int
    numbers: int
    parameters: int
    shapes: tuple[tuple[int, ...], ...]
    slower: float

    @classmethod
    def of(cls, layers: Sequence[Layer], inputs: int, dtype: str, device: str) -> Sizes:
        """The sizes of a net of these layers."""
        shapes: list[tuple[int, ...]] = []
        numbers, parameters, width = inputs, 0, inputs
        for layer in layers:
            tensors = layer.tensors(width)
            parameters += sum(math.prod(one.shape) for one in tensors)
            shapes += [one.shape for one in tensors if one.trainable]
            width = layer.output_width(width)
            numbers += width * sum(one.operations for one in flat([layer]))
        slower = (2.0 if dtype == "float64" else 1.0) * DEVICES.get(device, 1.0)
        products = sum(math.prod(shape) for shape in shapes if len(shape) == 2)
        return cls(products, numbers, parameters, tuple(shapes), slower)

    @property
    def matrices(self) -> list[tuple[int, int]]:
        """Shapes of the kernels, first to last."""
        return [(shape[0], shape[1]) for shape in self.shapes if len(shape) == 2] or [(1, 1)]

    def gradient(self, rows: int) -> float:
        """Seconds of a forward and a backward pass."""
        return self.slower * (6 * self.products * rows / PRODUCTS + self.numbers * rows / NUMBERS)

    def forward(self, rows: int) -> float:
        """Seconds of a prediction."""
        return self.slower * (2 * self.products * rows / PRODUCTS + 0.5 * self.numbers * rows / NUMBERS)

    @property
    def made(self) -> float:
        """Seconds in which a net is made and its initial weights are drawn."""
        return TRIAL + self.parameters / DRAWS


def sizes_of(what: Plan | BaseModel) -> Sizes:
    """The sizes of a plan's or a model's net."""
    return Sizes.of(what.layers, what.inputs, what.dtype, what.device)


def products(flops: float, float64: bool = True) -> float:
    """Seconds of matrix products."""
    return CALL + (2.0 if float64 else 1.0) * flops / PRODUCTS


def numbers(count: float) -> float:
    """Seconds of element-wise operations."""
    return count / NUMBERS


def epoch_seconds(plan: Plan, rows: int) -> float:
    """Seconds of one epoch of a plan, without its search for a start."""
    net, optimizer = sizes_of(plan), plan.optimizer
    size = rows if optimizer.full_batch else max(1, min(plan.batch_size, rows))
    extra = optimizer.operations(net.shapes, size) / PRODUCTS
    each = STEP + net.slower * net.parameters / NUMBERS + extra
    return math.ceil(rows / size) * each + optimizer.gradients * net.gradient(rows)


def start_seconds(plan: Plan, rows: int) -> float:
    """Seconds before the first epoch: the model is made, and the best of many starts found."""
    seconds = sizes_of(plan).made
    members, before = plan.starts, 0
    for until, kept in rounds(plan.epochs, plan.starts):
        seconds += members * (until - before) * epoch_seconds(plan, rows)
        members, before = kept, until
    return seconds


def training_seconds(plan: Plan, rows: int) -> float:
    """Seconds of the whole training."""
    return start_seconds(plan, rows) + plan.epochs * epoch_seconds(plan, rows)


def solving_seconds(plan: Plan, rows: int) -> float:
    """Seconds in which hidden units are placed and the last layer is solved for."""
    net = sizes_of(plan)
    factors = 20 * sum(max(a, b) * min(a, b) ** 2 for a, b in net.matrices)
    factors += 20 * net.matrices[0][0] ** 3
    width, outputs = net.matrices[-1]
    sums = 2 * rows * width * (width + outputs) + width**3
    return net.made + products(factors + sums) + net.forward(rows) + len(net.matrices) * net.forward(2048)


def default_budget(plan: Plan, rows: int) -> float:
    """As long as the training that is explained, at least 2 and at most 20 seconds."""
    return min(LONGEST, max(SHORTEST, training_seconds(plan, rows)))


def affordable_rows(seconds: float, each: float, least: int, most: int) -> int:
    """Rows that a measurement may take in so many seconds at `each` seconds per row."""
    return max(least, min(most, int(seconds / max(each, 1e-12))))
