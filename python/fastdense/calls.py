"""What an engine is asked for when it trains: one object for one call, the same for every engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .arrays import Array

Progress = Callable[[int, float, float], object]  # (steps done, loss sum, rows of the running epoch)
Fraction = Callable[[float], object]  # (fraction of the call that is done)
Validation = tuple[Array, Array, "Array | None"]  # x, y, w

# What a batch is that an engine shows its hook (docs/design/interface.md): flags, added up.
HOOK_TRAINING = 1  # a step; else part of an evaluation
HOOK_FIRST, HOOK_LAST = 2, 4  # of an epoch or of an evaluation
HOOK_MEASURED = 8  # metrics count it
HOOK_GRADIENT = 16  # the gradient of a custom loss is wanted


@dataclass(frozen=True, eq=False, repr=False)
class RanksCall:
    """Several processes (ranks) that train one net together, each on rows of its own, as an engine knows them.

    Attributes
    ----------
    rows : int
        Rows of the training data of all ranks.
    batch_rows, last_batch_rows : int
        Rows of a step of all ranks, and of the last step of an epoch.
    first_row, last_first_row : int
        Of this rank's among those: random layers draw by the place in it.
    overlaps : bool
        Whether a thread of its own may sum gradients while a step computes others.
    sum : callable
        ``sum(numbers, factor, loss)`` puts the sum over all ranks of ``factor * numbers`` in the place of the numbers,
        and returns that of ``factor * loss``. It raises if that failed, or if another rank has: the step is not made.
    """

    rows: int
    batch_rows: int
    last_batch_rows: int
    first_row: int
    last_first_row: int
    overlaps: bool
    sum: Callable[[Array, float, float], float]


@dataclass(frozen=True, eq=False, repr=False)
class TrainCall:
    """Training steps of one net; docs/design/interface.md says what an engine does with them.

    Attributes
    ----------
    x : array of shape (rows, inputs)
    y : array of shape (rows, outputs), or (rows,) class ids
    w : float64 array of shape (rows,) or None
        Weights of the rows.
    step_rates : float64 ndarray of shape (steps,)
        Learning rate of each step: as many steps are made.
    batch_size : int
        Rows of a step; the last batch of an epoch may be short.
    shuffle : bool
        Whether each epoch takes the rows in a new random order.
    order_seed : int or None
        Seed of that order; None: the net's.
    epoch, first_batch : int
        Where the first step is. Epochs are counted over the net's life: they are part of the key of the shuffle.
    val : (x, y, w) or None
        Data to evaluate after every finished epoch.
    stop_on_nan : bool
        Whether to stop after the first step whose loss is not finite.
    progress : callable or None
        Called a few times a second with the steps done, and the loss sum and the rows of the running epoch.
    n_threads : int
        0 leaves the number to the engine.
    goes_on : bool
        Whether the last call had the same, unchanged data, so that a full-batch solver may reuse what it computed.
    probe_level : int or None
        How often layers are probed; None: never.
    probe_first : bool
        Whether to probe after the first step, too.
    ranks : RanksCall or None
        The other processes that train this net.
    result : dict
        Filled with what the engine answers. If it raises, "totals" and "val_totals" hold the epochs that it had
        finished, or are missing if it had not begun.
    """

    x: Array
    y: Array
    w: Array | None
    step_rates: Array
    batch_size: int
    shuffle: bool = True
    epoch: int = 0
    first_batch: int = 0
    order_seed: int | None = None
    val: Validation | None = None
    stop_on_nan: bool = False
    progress: Progress | None = None
    n_threads: int = 0
    goes_on: bool = False
    probe_level: int | None = None
    probe_first: bool = False
    ranks: RanksCall | None = None
    result: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, repr=False)
class PopulationCall:
    """Whole epochs of a population; docs/design/interface.md says what an engine does with them.

    Attributes
    ----------
    x : array of shape (rows, inputs)
    y : array of shape (rows, outputs), or (rows,) class ids
    w : float64 array of shape (rows,) or (starts, rows), or None
        Weights of the rows, for all members or for each.
    step_rates : float64 ndarray of shape (epochs * steps per epoch,)
        Learning rate of each step.
    member_scale : float64 ndarray of shape (starts,) or None
        The learning rate of a member is that of the step times this factor; None: 1.
    losses : ndarray of shape (epochs, starts)
        Filled with the mean loss of each epoch; entries of members that are not trained stay.
    batch_size : int
        Rows of a step; the last batch of an epoch may be short.
    shuffle : bool
        Whether each epoch takes the rows in a new random order.
    order_seed : int, ndarray of uint64, shape (starts,), or None
        Seed of that order, one for all members or one for each; None: that of each net.
    epoch : int
        Number of the first epoch, counted over the members' life.
    active : ndarray of bool, shape (starts,) or None
        Members that are trained; None: all.
    progress : callable or None
        Called a few times a second with the fraction of the call that is done.
    n_threads : int
        0 leaves the number to the engine.
    """

    x: Array
    y: Array
    w: Array | None
    step_rates: Array
    losses: Array
    batch_size: int
    member_scale: Array | None = None
    shuffle: bool = True
    order_seed: int | Array | None = None
    epoch: int = 0
    active: Array | None = None
    progress: Fraction | None = None
    n_threads: int = 0

    @property
    def epochs(self) -> int:
        """How many epochs are trained."""
        return len(self.losses)
