"""Evaluations with their hooks, of arrays and of iterables, and the validation of a training."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

from ..arguments import integer, items
from ..arrays import Array, fail
from ..callbacks import CallbackList
from ..callbacks.base import Logs
from ..data.prepare import prepare_validation
from ..data.rows import Rows, Shape
from ..data.stream import Blocks, is_stream
from ..losses import Loss
from ..runners.hook import Values
from ..runners.single import Runner
from .blocks import batches_of, blocks_of, check_alone

Data = Rows | Blocks
Frequency = int | Sequence[int]


def tested(
    runner: Runner,
    data: Data,
    n_threads: int,
    callbacks: CallbackList,
    logs_of: Callable[[Array, Values], Logs],
    batch_size: int = 0,
) -> tuple[Array, Values]:
    """Totals (K,) of an evaluation, and collected metrics, with the test hooks around it but for `on_test_begin`.

    Arrays are one batch for the hooks; of an iterable each item is one if there is a hook that sees it.

    Parameters
    ----------
    runner : Runner
    data : Rows or Blocks
    n_threads : int
    callbacks : CallbackList
    logs_of : callable
        Loss and metrics of totals (K,) and of collected metrics.
    batch_size : int
        Rows of the batches of arrays that custom losses and collected metrics see; 0: as many as are quick.
    """
    call = callbacks.call
    totals: Array | None = None
    collected: Values = {}
    if isinstance(data, Blocks):
        data.batches.restart()
    for batch, (rows, size) in enumerate(parts_of(data, callbacks.sees_tests, batch_size)):
        call("on_test_batch_begin", batch, {})
        made, collected = runner.totals(rows, n_threads, size, anew=totals is None)
        totals = made if totals is None else totals + made
        call("on_test_batch_end", batch, logs_of(totals, collected))
    if totals is None:
        fail_empty(data)
    call("on_test_end", logs_of(totals, collected))
    return totals, collected


def parts_of(data: Data, one_by_one: bool, batch_size: int = 0) -> Iterator[tuple[Rows, int]]:
    """Arrays as they are; an iterable block by block, or item by item; and how many rows a batch has."""
    if isinstance(data, Rows):
        yield data, batch_size
        return
    for block in data.epoch(1 if one_by_one else None):
        yield block.rows, block.batch_size


def fail_empty(data: Data) -> NoReturn:
    """Raise because an iterable gave nothing."""
    assert isinstance(data, Blocks)
    given = type(data.batches.given).__name__
    fail(
        data.batches.where,
        f"x is a {given} that gave no item",
        "at least one batch is needed",
        "a generator can be used up only once: make a new one for each call",
    )


class Validations:
    """The validations of a training.

    Parameters
    ----------
    data : Rows or Blocks
    frequency : int or sequence of int
        After every so many epochs, or after the epochs of these numbers, counted from 1.
    """

    def __init__(self, data: Data, frequency: Frequency = 1) -> None:
        self.data, self.frequency = data, frequency

    def due(self, epoch: int) -> bool:
        """Whether an epoch, counted from 0, is followed by a validation."""
        if isinstance(self.frequency, int):
            return (epoch + 1) % self.frequency == 0
        return epoch + 1 in self.frequency

    def alike(self, epoch: int, most: int) -> int:
        """How many epochs from this one on, at most so many, are all validated by the engine, or all not validated."""
        first = self.due(epoch)
        if first and self.rows is None:
            return 1
        return next((ahead for ahead in range(1, most) if self.due(epoch + ahead) != first), most)

    @property
    def rows(self) -> Rows | None:
        """The data if they are arrays, which an engine can evaluate between its epochs."""
        return self.data if isinstance(self.data, Rows) else None


def check_frequency(where: str, frequency: object) -> Frequency:
    """Return `validation_freq`: a number of epochs, or the numbers of those after which to validate."""
    if isinstance(frequency, (list, tuple)):
        named = items(f"{where}: validation_freq", frequency, "a whole number, or a list of them")
        return [integer(f"{where}: validation_freq[{i}]", one, least=1) for i, one in enumerate(named)]
    return integer(f"{where}: validation_freq", frequency, least=1)


def first_batches(where: str, rows: Rows, steps: int | None, batch_size: int | None) -> Rows:
    """The rows of the first `steps` batches; without a batch size so many batches are all rows."""
    if steps is None or batch_size is None:
        return rows
    batches = math.ceil(len(rows) / batch_size)
    if steps > batches:
        warnings.warn(
            f"{where}: steps={steps} was given, and your input ran out of data after {batches} batches of "
            f"{batch_size} rows",
            UserWarning,
            stacklevel=3,
        )
    return rows.part(slice(0, steps * batch_size)) if steps < batches else rows


def data_of(
    where: str,
    validation_data: object,
    shape: Shape,
    loss: Loss,
    steps: int | None = None,
    batch_size: int | None = None,
    train_batch_size: int | None = None,
) -> Data:
    """The checked data of `validation_data`: (x, y) or (x, y, sample_weight), or an iterable of such batches."""
    if is_stream(validation_data):
        check_alone(f"{where}: validation_data", validation_data, validation_batch_size=batch_size)
        return blocks_of(batches_of(f"{where}: validation_data", validation_data, steps), shape, loss)
    rows = prepare_validation(where, validation_data, shape, loss)
    return first_batches(f"{where}: validation_steps", rows, steps, batch_size or train_batch_size)
