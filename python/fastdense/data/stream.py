"""Iterables of batches as data: `Batches`, which draws items epoch by epoch, and `Blocks`, which puts them together.

An engine that is called for every item would wait for Python most of the time. So items are copied into blocks of many
rows, which an engine trains on in one call, with the items as its batches: memory is bounded by one block and one item.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arguments import shorten
from ..arrays import Array, as_array, beside, empty_beside, fail
from .names import Names, in_order, names_of
from .rows import Rows, Shape

BLOCK_ROWS = 1 << 16  # of one call of an engine: enough that the call itself costs nothing
BLOCK_BYTES = 1 << 26  # at most, unless one item has more
Check = Callable[..., Rows]  # (where, x, y, w) -> checked rows
Joined = Callable[..., tuple[object, object]]  # (where, rows, y, w) -> arrays
_ARRAYS = ("__array__", "__array_interface__", "__cuda_array_interface__", "__dlpack__", "shape", "toarray")


def is_stream(x: object) -> bool:
    """Whether `x` is an iterable of batches, and no data itself: lists, tuples and all that become arrays are data."""
    if isinstance(x, Batches):
        return True
    if isinstance(x, (Sequence, Mapping, Set, str, bytes, type)) or any(hasattr(x, name) for name in _ARRAYS):
        return False
    return isinstance(x, Iterable) or (hasattr(x, "__getitem__") and (hasattr(x, "__len__") or _says(x)))


def _says(x: object) -> bool:
    return hasattr(x, "num_batches")


class Batches:
    """An iterable of batches, drawn epoch by epoch.

    An epoch has `steps` items, and the next one goes on behind them; without `steps` an epoch is one pass, of as many
    items as the iterable has. What can be iterated several times begins anew after each pass.

    Parameters
    ----------
    where : str
        For messages, as in "fit".
    given : iterable
        Of (x, y) or (x, y, sample_weight); or an object with ``[i]`` and ``len()``. Its methods `on_epoch_begin` and
        `on_epoch_end` are called, if it has them.
    steps : int, optional
        Items of an epoch.

    Attributes
    ----------
    count : int or None
        Items of a pass, if that is known.
    exhausted : bool
        Whether no further item can come.
    short : bool
        Whether the last epoch had fewer items than `steps`.
    made : int
        Items of the last epoch.
    """

    def __init__(self, where: str, given: Any, steps: int | None = None) -> None:
        self.where, self.given, self.steps = where, given, steps
        self.count = _length(given)
        self.exhausted = self.short = False
        self._pass: Iterator[Any] | None = None
        self._drawn = self.made = 0

    @property
    def once(self) -> bool:
        """Whether it can be iterated only once: a generator or another iterator."""
        return hasattr(self.given, "__next__")

    @property
    def per_epoch(self) -> int | None:
        """Items of an epoch, if that is known."""
        return self.steps or self.count

    def order(self, count: int) -> Iterable[int]:
        """The order in which a pass takes the items of an object with ``[i]``."""
        return range(count)

    def items(self) -> Iterator[Any]:
        """The items of a new pass."""
        given = self.given
        if hasattr(given, "__getitem__"):
            indices = itertools.count() if self.count is None else self.order(self.count)
            return (given[i] for i in indices)
        if hasattr(given, "as_numpy_iterator"):
            return iter(given.as_numpy_iterator())
        return iter(given)

    def restart(self) -> None:
        """Let the next epoch begin with a new pass."""
        self._pass, self._drawn = None, 0

    def epoch(self) -> Iterator[Any]:
        """The items of the next epoch; warns if there are fewer than `steps`."""
        self._tell("on_epoch_begin")
        if self._pass is None or self.steps is None:
            self._pass, self._drawn = self.items(), 0
        self.made, needed = 0, self.per_epoch
        while (needed is None or self.made < needed) and (self.count is None or self._drawn < self.count):
            try:
                item = next(self._pass)
            except StopIteration:
                self._pass, self.exhausted = None, self.once
                break
            self._drawn, self.made = self._drawn + 1, self.made + 1
            yield item
        if self.count is not None and self._drawn >= self.count:
            self._pass = None
        self.short = needed is not None and self.made < needed
        if self.short:
            self.warn()
        self._tell("on_epoch_end")

    def warn(self) -> None:
        """Say that the items did not suffice."""
        of = f" of {self.per_epoch}" if self.per_epoch else ""
        warnings.warn(
            f"{self.where}: your input ran out of data after {self.made}{of} batches of an epoch; as many as steps "
            "times epochs are needed: give more of them (a generator may begin again with `while True`), or fewer "
            "steps or epochs",
            UserWarning,
            stacklevel=2,
        )

    def _tell(self, hook: str) -> None:
        method = getattr(self.given, hook, None)
        if callable(method):
            method()


class ArrayBatches(Batches):
    """Checked rows as batches, for epochs that are no pass over all rows.

    Parameters
    ----------
    where, steps
        As in `Batches`.
    rows : Rows
    batch_size : int
    shuffle : callable or None
        Gives the order of the rows for a pass.
    """

    def __init__(
        self, where: str, rows: Rows, batch_size: int, steps: int, shuffle: Callable[[int], Array] | None
    ) -> None:
        self.rows, self.batch_size, self.shuffle = rows, batch_size, shuffle
        super().__init__(where, (), steps)
        self.count = -(-len(rows) // batch_size)

    def items(self) -> Iterator[Any]:
        """The rows in a new order, batch by batch."""
        rows, size = self.rows, self.batch_size
        order = None if self.shuffle is None else beside(self.shuffle(len(rows)), rows.x)
        for start in range(0, len(rows), size):
            chosen: Any = slice(start, start + size) if order is None else order[start : start + size]
            x, y = rows.x[chosen], rows.y[chosen]
            yield (x, y) if rows.w is None else (x, y, rows.w[chosen])


def _length(given: object) -> int | None:
    """Items of a pass, if that is known."""
    if hasattr(given, "__getitem__") and _says(given):
        known: int | None = getattr(given, "num_batches")  # noqa: B009
        return known
    try:
        return len(given)  # type: ignore[arg-type]
    except (TypeError, NotImplementedError):  # no len(), or one that is unknown or infinite
        return None


@dataclass(frozen=True, eq=False, repr=False)
class Block:
    """Rows of several items, for one call of an engine: all items but the last have `batch_size` rows."""

    rows: Rows
    batch_size: int
    items: int


class Blocks:
    """Puts the items of an epoch together to blocks.

    Parameters
    ----------
    batches : Batches
    shape : Shape
    check : callable
        ``check(where, x, y, w)`` returns checked rows; with `targets` False ``check(where, x)``.
    targets : bool
        Whether items need targets.
    joined : callable, optional
        ``joined(where, rows, y, w)`` makes arrays of targets and weights that are given for several heads.

    Attributes
    ----------
    names : tuple of str or None
        Names of the columns; those of the first item if the model knows none.
    """

    def __init__(
        self, batches: Batches, shape: Shape, check: Check, *, targets: bool = True, joined: Joined | None = None
    ) -> None:
        self.joined = joined
        self.batches, self.device, self.check, self.targets = batches, shape.device, check, targets
        self.names: Names | None = shape.names

    def epoch(self, most_items: int | None = None) -> Iterator[Block]:
        """The blocks of the next epoch, of at most so many items; a block is valid until the next one is asked for."""
        held: _Held | None = None
        for number, item in enumerate(self.batches.epoch()):
            parts = self._parts(number, item)
            if held is not None and not held.takes(parts):
                yield held.block(self.check, self.batches.where)
                held = held.emptied()
            if held is None or not held.begun:
                held = _Held(parts, number, most_items, held)
            held.add(parts)
            if held.full:
                yield held.block(self.check, self.batches.where)
                held = held.emptied()
        if held is not None and held.begun:
            yield held.block(self.check, self.batches.where)

    def _parts(self, number: int, item: Any) -> tuple[Array, ...]:
        """The arrays of an item, of which only the numbers of rows are checked."""
        where = f"{self.batches.where}: item {number}"
        several = isinstance(item, (tuple, list))
        if not self.targets:
            x, *others = item if several and 1 <= len(item) <= 3 else (item,)
            others = []
        else:
            if not several or len(item) not in (2, 3):
                given = f"it has {len(item)} parts" if several else f"it is {_described(item)}"
                fail(where, given, "(x, y) or (x, y, sample_weight) is needed", "yield a tuple")
            x, *others = item
        if len(others) == 2 and others[1] is None:
            others.pop()
        if self.names is None:
            self.names = names_of(x)
        x = in_order(where, "x", x, self.names, self.device)
        first = as_array(where, "x", x, self.device)
        if self.joined is not None and first.shape[:1] not in ((), (0,)):
            others = [part for part in self.joined(where, len(first), *others) if part is not None]
        named = zip(("y", "sample_weight"), others, strict=False)
        parts = (first, *(as_array(where, name, part, self.device) for name, part in named))
        rows = first.shape[:1]
        if rows in ((), (0,)) or any(part.shape[:1] != rows for part in parts):
            self.check(where, *parts)
            fail(
                where, f"its parts have shapes {', '.join(str(part.shape) for part in parts)}", "one row each is needed"
            )
        return parts


def _described(item: object) -> str:
    shape = getattr(item, "shape", None)
    return f"an array of shape {shape}" if shape is not None else f"{shorten(item)}, of type {type(item).__name__}"


class _Held:
    """A block that is being filled."""

    def __init__(self, parts: tuple[Array, ...], number: int, most_items: int | None, before: _Held | None) -> None:
        self.first, self.items, self.rows, self.batch_size = number, 0, 0, len(parts[0])
        size = max(1, sum(part.nbytes for part in parts))
        room = max(1, min(BLOCK_ROWS // self.batch_size, BLOCK_BYTES // size))
        self.room = room if most_items is None else min(room, most_items)
        self.kinds = [(type(part), part.dtype, part.shape[1:]) for part in parts]
        again = before is not None and (before.kinds, before.batch_size) == (self.kinds, self.batch_size)
        self.buffers: list[Array] = before.buffers if before is not None and again and before.room == self.room else []

    @property
    def begun(self) -> bool:
        """Whether it holds an item."""
        return self.items > 0

    @property
    def full(self) -> bool:
        """Whether no item can follow: all room is taken, or the last item was short."""
        return self.items == self.room or self.rows < self.items * self.batch_size

    def takes(self, parts: tuple[Array, ...]) -> bool:
        """Whether an item can be the next batch of this block."""
        same = self.kinds == [(type(part), part.dtype, part.shape[1:]) for part in parts]
        return not self.begun or (same and len(parts[0]) <= self.batch_size)

    def add(self, parts: tuple[Array, ...]) -> None:
        """Copy an item: an iterable may fill the same arrays again and again. One that stays alone is not copied."""
        if self.room == 1:
            self.buffers = list(parts)
        elif not self.buffers:
            rows = self.room * self.batch_size
            self.buffers = [empty_beside(part, (rows, *part.shape[1:]), part.dtype) for part in parts]
        end = self.rows + len(parts[0])
        if self.room > 1:
            for buffer, part in zip(self.buffers, parts, strict=True):
                buffer[self.rows : end] = part
        self.rows, self.items = end, self.items + 1

    def block(self, check: Check, where: str) -> Block:
        """What was added, checked; an error names the item."""
        parts = [buffer[: self.rows] for buffer in self.buffers]
        try:
            rows = check(where, *parts)
        except ValueError:
            for i in range(self.items):
                own = slice(i * self.batch_size, (i + 1) * self.batch_size)
                check(f"{where}: item {self.first + i}", *(part[own] for part in parts))
            raise
        return Block(rows, self.batch_size, self.items)

    def emptied(self) -> _Held:
        """The same, without items: its buffers may serve the next block."""
        self.items = self.rows = 0
        return self


def shuffled(seed: int, epoch: int) -> Callable[[int], Array]:
    """Orders of rows, a new one for each pass, that follow from a net's seed and its age."""
    random = np.random.default_rng([seed % (1 << 63), epoch])
    return random.permutation
