"""What this machine could do at best, from measured rates of single kernels: the limit that nets are compared with.

The limit of an epoch is the time of its matrix products at the rate of a large product (sgemm), plus every element-wise
function, the loss, the updates and the gathering of rows, each at the cost of one kernel call. Nothing that a net needs
besides (barriers, packing, small layers, memory) is in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..engine import native
from .baselines import Task

__all__ = ["Rates", "limit_of_epoch", "measure_rates", "row_flops", "weights_and_biases"]
ELEMENTS = 4096  # of an element-wise call: in the first-level cache
SLOTS = {"adam": 2, "rmsprop": 1, "sgd": 0}
WORK_PER_THREAD = 4e6  # flops of a step for each thread that fastdense uses


@dataclass
class Rates:
    """What was measured of one machine: GFLOP/s by number of threads, and nanoseconds of one thread.

    `value` and `slope` are of an element, beyond reading and writing it; `update` of a parameter, by the optimizer and
    the number of parameters; `gather` of a number of x, by its type.
    """

    isa: str
    products: dict[int, float] = field(default_factory=dict)
    value: dict[str, float] = field(default_factory=dict)
    slope: dict[str, float] = field(default_factory=dict)
    update: dict[tuple[str, int], float] = field(default_factory=dict)
    gather: dict[str, float] = field(default_factory=dict)


def _best(call: Callable[[], object], seconds: float) -> float:
    """Seconds of a call: the least of all that fit into `seconds`, three at least."""
    call()
    end, least, count = time.perf_counter() + seconds, float("inf"), 0
    while count < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        least = min(least, time.perf_counter() - start)
        count += 1
    return least


def _numbers(*shape: int) -> NDArray[np.float32]:
    return np.random.RandomState(0).standard_normal(shape).astype(np.float32)


def measure_rates(tasks: Sequence[Task], kinds: Iterable[str], threads: int, seconds: float = 0.1) -> Rates:
    """The rates that the limits of these tasks need, with x of these types, each in `seconds`."""
    isa = native.build_info()["isa"].replace("bf16", "")
    rates, k = Rates(isa), native.single_kernels()
    a, b, out = _numbers(1024, 1024), _numbers(1024, 1024), _numbers(1024, 1024)
    for team in {1, threads}:
        rates.products[team] = 2 * 1024**3 / _best(partial(k.sgemm, a, b, out, team), 4 * seconds) / 1e9
    z = _numbers(ELEMENTS // 256, 256)
    plain, pass_back = (_best(partial(call, isa, "linear", z), seconds) for call in (k.activation, k.activation_slope))
    for name in sorted({name for task in tasks for name in (*task.activations, "softmax") if name != "linear"}):
        columns = next((task.widths[-1] for task in tasks if task.loss == "crossentropy"), 10)
        inputs = _numbers(ELEMENTS // columns, columns) if name == "softmax" else z
        took = _best(partial(k.activation, isa, name, inputs), seconds)
        rates.value[name] = max(0.0, took - plain * inputs.size / z.size) * 1e9 / inputs.size
        if name != "softmax":
            back = _best(partial(k.activation_slope, isa, name, z), seconds) - took - (pass_back - plain)
            rates.slope[name] = max(0.0, back) * 1e9 / z.size
    for task in tasks:
        n = max(weights_and_biases(task), ELEMENTS)  # of fewer, the call itself is what takes time
        slots = [np.ones(n, np.float32) for _ in range(SLOTS[task.optimizer] + 1)]
        step = partial(k.update, isa, task.optimizer, (0.0, 0.9, 0.1, 0.9, 0.1, 1e-7), slots[0], np.ones(n, np.float32))
        rates.update[task.optimizer, weights_and_biases(task)] = _best(partial(step, slots[1:]), seconds) * 1e9 / n
    target, none = np.empty((128, 784), np.float32), np.zeros((0, 0))
    for kind in kinds:
        took = _best(partial(k.gather, isa, np.ones((128, 784), kind), none, none, target), seconds)
        rates.gather[kind] = took * 1e9 / target.size
    return rates


def weights_and_biases(task: Task) -> int:
    """Weights and biases of a net."""
    return sum((n + 1) * units for n, units in zip(task.widths, task.widths[1:], strict=False))


def row_flops(task: Task) -> int:
    """Multiply-adds times two of a row's three matrix products; the gradient of x is not needed."""
    products = [n * units for n, units in zip(task.widths, task.widths[1:], strict=False)]
    return 2 * (3 * sum(products) - products[0])


def _threads_for(task: Task, threads: int) -> int:
    """How many threads have enough work in a step."""
    return int(min(threads, max(1, row_flops(task) * task.batch_size // WORK_PER_THREAD)))


def limit_of_epoch(task: Task, rows: int, kind: str, rates: Rates, threads: int) -> float:
    """Seconds of an epoch at best.

    Parameters
    ----------
    task : Task
    rows : int
    kind : str
        The type of x, which `rates` must know, as it must know the task's functions and updates.
    rates : Rates
        From `measure_rates`.
    threads : int
        At most so many are used, those that have work.
    """
    team = _threads_for(task, threads)
    steps = -(-rows // task.batch_size)
    elements = task.widths[0] * rates.gather[kind]
    for units, name in zip(task.widths[1:], task.activations, strict=True):
        elements += units * (rates.value.get(name, 0.0) + rates.slope.get(name, 0.0))
    if task.loss == "crossentropy":
        elements += task.widths[-1] * rates.value["softmax"]
    updates = weights_and_biases(task) * rates.update[task.optimizer, weights_and_biases(task)]
    return rows * row_flops(task) / rates.products[team] / 1e9 + (rows * elements + steps * updates) / team / 1e9
