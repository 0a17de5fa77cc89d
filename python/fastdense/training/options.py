"""The arguments of `fit` that say how to train, checked."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace

from ..arguments import flag, integer
from ..arrays import Array
from ..optimizers import Optimizer
from .feasible import DEFAULT_BATCH, check_batch

MOST_THREADS = 1 << 16  # larger numbers are reduced to this; an engine uses fewer


@dataclass(frozen=True)
class Options:
    """The arguments of `fit` that say how to train, checked."""

    batch_size: int
    epochs: int
    initial_epoch: int
    shuffle: bool
    n_threads: int
    order_seed: int | Array | None = None  # of a population: decides the order of the rows, for all nets or for each

    @classmethod
    def checked(
        cls, where: str, batch_size: object, epochs: object, initial_epoch: object, shuffle: object, n_threads: object
    ) -> Options:
        """Return the options, or raise for the first that is no number of its kind."""
        return cls(
            check_batch_size(where, batch_size) or DEFAULT_BATCH,
            integer(f"{where}: epochs", epochs, least=0),
            integer(f"{where}: initial_epoch", initial_epoch, least=0),
            flag(f"{where}: shuffle", shuffle),
            check_threads(where, n_threads),
        )

    def for_rows(self, optimizer: Optimizer, rows: int, where: str = "fit") -> Options:
        """The options for this optimizer and so many rows."""
        return replace(self, batch_size=check_batch(where, optimizer, self.batch_size, rows))


def in_steps(
    where: str, options: Options, steps: int | None, batch_size: int | None, rows: int
) -> tuple[Options, int | None]:
    """Options for arrays whose epochs have so many batches; no number of steps if such an epoch takes all rows.

    Without a batch size the rows are divided into `steps` batches.
    """
    if steps is None:
        return options, None
    if batch_size is None:
        options = replace(options, batch_size=math.ceil(rows / steps))
    batches = math.ceil(rows / options.batch_size)
    if steps > batches:
        warnings.warn(
            f"{where}: steps_per_epoch={steps} was given, and your input ran out of data after {batches} batches of "
            f"{options.batch_size} rows: an epoch has no more",
            UserWarning,
            stacklevel=3,
        )
    return options, steps if steps < batches else None


def check_batch_size(where: str, batch_size: object) -> int | None:
    """Return a batch size of at least 1, or None."""
    return None if batch_size is None else integer(f"{where}: batch_size", batch_size, least=1)


def check_threads(where: str, n_threads: object) -> int:
    """Return a number of threads, 0 for None: the engine then uses all that the process may."""
    if n_threads is None:
        return 0
    return min(integer(f"{where}: n_threads", n_threads, least=1), MOST_THREADS)
