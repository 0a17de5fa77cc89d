"""Training on iterables of batches: an epoch is a few calls of the engine, each for a block of many items."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arguments import flag, shorten
from ..arrays import Array, check_memory, fail, namespace_of
from ..callbacks import CallbackList
from ..callbacks.base import Logs, overrides
from ..data.rows import Rows, random_rows
from ..data.stream import Block, Blocks
from ..optimizers import Optimizer
from ..runners.hook import Values
from ..runners.single import Runner
from .blocks import stream_name
from .feasible import check_moments
from .loop import Fit
from .pacing import Pacing
from .validation import fail_empty, parts_of

_PREDICT_HOOKS = ("on_predict_batch_begin", "on_predict_batch_end")
SAMPLE_ROWS = 4096  # of the first block, for first values and for the hint


class StreamFit(Fit):
    """A training on an iterable of batches, of which one block at a time is in memory.

    Parameters
    ----------
    blocks : Blocks
    first : iterator of Block
        The blocks of the first epoch.
    runner, optimizer, metrics, validation, options, callbacks
        As in `Fit`.
    """

    def __init__(self, blocks: Blocks, first: Iterator[Block], *rest: Any) -> None:
        super().__init__(*rest)
        self.blocks = blocks
        self._first: Iterator[Block] | None = first

    def _pacing(self) -> Pacing:
        return Pacing(1, 1)

    def _next_epoch(self, most_items: int | None) -> Iterator[Block]:
        first, self._first = self._first, None
        return self.blocks.epoch(most_items) if first is None else first

    def _epochs(self, epoch: int, count: int) -> tuple[int, Logs]:
        totals, made, collected = None, 0, {}
        for block in self._next_epoch(None):
            result = self._train(epoch, block, made, totals)
            totals, collected = self._added(totals, result), result.get("partial_collected", {})
            if self._broken(result):
                self._terminate(made + result["nonfinite_step"], totals)
                break
            made += block.items
        return self._done(epoch, totals, collected)

    def _epochs_by_batches(self, epoch: int) -> tuple[int, Logs]:
        callbacks, totals, collected = self.callbacks, None, {}
        for batch, block in enumerate(self._next_epoch(1)):
            callbacks.call("on_train_batch_begin", batch, {})
            result = self._train(epoch, block, batch, totals)
            totals, collected = self._added(totals, result), result.get("partial_collected", {})
            if self._broken(result):
                self._terminate(batch, totals)
            callbacks.call("on_train_batch_end", batch, self._logs(totals, collected))
            if callbacks.stop_training:
                break
        return self._done(epoch, totals, collected)

    def _train(self, epoch: int, block: Block, made: int, totals: Array | None) -> dict[str, Any]:
        """Train on a block, the items before which have made so many steps of the epoch, with these totals."""
        bars = [bar for bar in self.bars if bar.wants_progress]
        of, (before, rows_before) = self.blocks.batches.per_epoch, (0.0, 0.0) if totals is None else totals[:2]

        def progress(steps: int, loss_sum: float, rows: float) -> None:
            rows += rows_before
            loss = (before + loss_sum) / rows if rows else math.nan
            for bar in bars:
                bar.running_batches(epoch, made + steps, of, loss)

        result = self.runner.train(
            self.optimizer,
            block.rows,
            None,
            batch_size=block.batch_size,
            shuffle=False,
            steps=block.items,
            stop_on_nan=self.stop_on_nan,
            progress=progress if bars else None,
            n_threads=self.options.n_threads,
            whole_epochs=False,
            anew=totals is None,
        )
        if result["interrupted"]:
            raise KeyboardInterrupt
        return result

    def _broken(self, result: dict[str, Any]) -> bool:
        return self.stop_on_nan and result["nonfinite_step"] >= 0

    def _added(self, totals: Array | None, result: dict[str, Any]) -> Array:
        own: Array = result["totals"][0] if len(result["totals"]) else result["partial"]
        return own if totals is None else totals + own

    def _done(self, epoch: int, totals: Array | None, collected: Values) -> tuple[int, Logs]:
        """Count an epoch and validate after it; end the training if no item is left."""
        batches, last = self.blocks.batches, epoch + 1 >= self.options.epochs
        if batches.exhausted and (totals is None or not last):
            if not batches.short:
                batches.warn()
            self.callbacks.stop_training = True
        elif totals is None:  # a pass without items
            self.callbacks.stop_training = True
        if totals is None:
            return 0, {}
        self.runner.epochs_trained += 1
        self.counted += 1
        for bar in self.bars:
            bar.batches = batches.made
        return 1, self._finish(epoch, totals, collected)


# ---- what comes before -----------------------------------------------------------------------------------------------


def check_streamed(where: str, given: str, optimizer: Optimizer, starts: object, probes: object, remedy: str) -> None:
    """Raise for what needs all rows in each epoch, where `given` says that an epoch has others."""
    wanted = ""
    if optimizer.full_batch:
        wanted = f"{type(optimizer).__name__} is a full-batch optimizer: each step takes all rows"
    elif starts != 1:
        wanted = f"starts={shorten(starts)} tries many nets on the same rows"
    elif flag(f"{where}: probes", probes):
        wanted = "probes=True takes the same rows again and again"
    if wanted:
        fail(where, given, wanted, f"{remedy}; a np.memmap may be larger than memory")


def adapt(runner: Runner, blocks: Blocks) -> None:
    """Give a `Normalization` that has no statistics yet those of a pass over the items."""
    unknown = runner.not_adapted()
    if not unknown:
        return
    batches, remedy = blocks.batches, "call the layer's adapt with an array of rows before"
    check_moments(batches.where, unknown, f"x is {stream_name(batches.given)}", "rows in an array are", remedy)
    if batches.once:
        given = "Normalization must still adapt to data, and x can be iterated only once"
        fail(batches.where, given, "a first pass over all rows is needed for that", remedy)
    runner.adapt_by_parts(block.rows.x for block in _pass(blocks))
    batches.restart()


def _pass(blocks: Blocks) -> Iterator[Block]:
    """All items of an iterable, if it says how many they are; else those of an epoch."""
    batches = blocks.batches
    steps = batches.steps
    batches.steps = batches.count or steps
    try:
        yield from blocks.epoch()
    finally:
        batches.steps = steps


@dataclass(frozen=True, eq=False, repr=False)
class Begun:
    """An epoch whose first block is there: all its blocks, and some rows of the first one, copied."""

    blocks: Iterator[Block]
    sample: Rows


def begun(blocks: Blocks, *, one_by_one: bool) -> Begun:
    """Draw the first block of an epoch: what is wrong with its items is an error before anything was changed."""
    epoch = blocks.epoch(1 if one_by_one else None)
    block = next(epoch, None)
    if block is None:
        fail_empty(blocks)
    rows = block.rows
    sample = Rows(random_rows(rows.x, SAMPLE_ROWS), random_rows(rows.y, SAMPLE_ROWS),
                  None if rows.w is None else random_rows(rows.w, SAMPLE_ROWS))  # fmt: skip
    return Begun(itertools.chain([block], epoch), sample)


def predicted(runner: Runner, data: Rows | Blocks, n_threads: int, callbacks: CallbackList) -> Array:
    """Outputs for all rows or items, with the hooks around them."""
    call = callbacks.call
    parts: list[Array] = []
    hooked = any(overrides(callback, hook) for callback in callbacks.callbacks for hook in _PREDICT_HOOKS)
    call("on_predict_begin", {})
    for batch, (rows, _) in enumerate(parts_of(data, hooked)):
        if isinstance(rows.x, np.ndarray):
            size = (sum(map(len, parts)) + len(rows)) * runner.net.outputs * runner.value_dtype.itemsize
            what = f"the result, {len(rows)} rows of {runner.net.outputs}"
            check_memory("predict", size, what, "predict fewer rows at a time")
        call("on_predict_batch_begin", batch, {})
        out = runner.predict(rows.x, n_threads)
        parts.append(out)
        call("on_predict_batch_end", batch, {"outputs": out})
    if not parts:
        fail_empty(data)
    call("on_predict_end", {})
    made: Array = parts[0] if len(parts) == 1 else namespace_of(parts[0]).concatenate(parts)
    return made
