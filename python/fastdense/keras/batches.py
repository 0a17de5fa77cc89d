"""Iterables of batches with Keras's ways."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..data.stream import Batches

PEEKED = 2  # items of a generator that Keras draws to look at them


class PyDataset:
    """Base of data sets whose batches are made one by one: override `__len__` and `__getitem__`.

    Parameters
    ----------
    workers, use_multiprocessing, max_queue_size
        Kept, without effect: batches are made in the thread that trains.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdense import keras
    >>> class Squares(keras.utils.PyDataset):
    ...     def __len__(self):
    ...         return 3
    ...
    ...     def __getitem__(self, index):
    ...         x = np.full((2, 1), float(index))
    ...         return x, x**2
    >>> model = keras.Sequential([keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> len(model.fit(Squares(), epochs=2, verbose=0).history["loss"])
    2
    """

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10) -> None:
        self.workers, self.use_multiprocessing, self.max_queue_size = workers, use_multiprocessing, max_queue_size

    def __getitem__(self, index: int) -> Any:
        """The batch of this number: (x, y) or (x, y, sample_weight)."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[Any]:
        count = self.num_batches
        return (self[i] for i in (itertools.count() if count is None else range(count)))

    @property
    def num_batches(self) -> int | None:
        """Number of batches; None for a data set without end."""
        count = getattr(self, "__len__", None)
        if count is None:
            raise NotImplementedError(
                f"{type(self).__name__}: __len__ is missing. Let it return the number of batches."
            )
        return int(count())

    def on_epoch_begin(self) -> None:
        """Called before each epoch."""

    def on_epoch_end(self) -> None:
        """Called after each epoch."""


class KerasBatches(Batches):
    """An iterable of batches, drawn as Keras does it.

    A generator's first two items are drawn at once, and each new pass begins with them: the validation of each epoch,
    and an epoch after the generator was used up. The order of the batches of a `PyDataset` is shuffled by Python's
    `random`, if that is asked for.

    Parameters
    ----------
    where, given, steps
        As in `fastdense.data.stream.Batches`.
    rows : callable
        ``rows(where, x)`` gives x as the net inside takes it.
    targets : callable
        The same for y.
    shuffle : bool
    """

    def __init__(
        self,
        where: str,
        given: Any,
        steps: int | None,
        rows: Callable[[str, Any], Any],
        targets: Callable[[Any], Any],
        *,
        shuffle: bool = False,
    ) -> None:
        super().__init__(where, given, steps)
        self.rows, self.targets, self.shuffle = rows, targets, shuffle
        self._ended = False  # whether it had no number of steps, and all of them were given
        self._peeked = list(itertools.islice(given, PEEKED)) if hasattr(given, "__next__") else None

    @property
    def once(self) -> bool:
        """Never: a generator begins with its first items again."""
        return False

    def order(self, count: int) -> Iterable[int]:
        """The order in which a pass takes the items of an object with ``[i]``."""
        indices = list(range(count))
        if self.shuffle:
            random.shuffle(indices)
        return indices

    def items(self) -> Iterator[Any]:
        """The items of a new pass, as the net inside takes them."""
        given = super().items() if self._peeked is None else itertools.chain(self._peeked, self.given)
        return (self._converted(i, item) for i, item in enumerate(given))

    def epoch(self) -> Iterator[Any]:
        """The items of the next epoch; also warns if they are those that a generator without steps began with."""
        yield from super().epoch()
        if self._ended:
            self.warn()
        self._ended = self._peeked is not None and self.per_epoch is None

    def restart(self) -> None:
        """Let the next epoch begin with a new pass; Keras says so to a `PyDataset`."""
        super().restart()
        self._tell("on_epoch_end")

    def look(self) -> None:
        """Draw an item, as Keras does when a model is used for the first time: the net may learn its input's shape."""
        self._tell("on_epoch_begin")
        if self._peeked is None:
            next(self.items(), None)
        elif self._peeked:
            self._converted(0, self._peeked[0])

    def _converted(self, number: int, item: Any) -> Any:
        where = f"{self.where}: item {number}"
        if isinstance(item, (tuple, list)) and 1 <= len(item) <= 3:
            x, *others = item
            return (self.rows(where, x), *(self.targets(y) for y in others[:1]), *others[1:])
        return self.rows(where, item) if hasattr(item, "shape") or isinstance(item, dict) else item
