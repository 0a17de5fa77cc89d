"""The training loop of a population: how many epochs each engine call runs, and which callbacks run between calls."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import Array, check_memory
from ..calls import PopulationCall
from ..data.rows import Rows, evenly_spaced_rows
from ..initial.spread import LayerOutputs, data_layers, spread_over_data
from ..layers import Normalization, Preprocessing
from ..losses import Loss
from ..metrics import Metric
from ..network import Net
from ..optimizers import Optimizer
from ..runners.hook import Hook
from ..runners.population import PopulationRunner
from ..runners.single import Runner
from .feasible import solver_bytes
from .logs import columns
from .options import Options
from .pacing import Pacing

CALL_STEPS = 1 << 17  # the most steps of a call, or those of one epoch: the learning rates of all of them are passed
STEP_BYTES = 64  # for each of these steps: its learning rate, and what an engine makes of that


class PopulationCallback:
    """Base of population callbacks: a callback's work, done for every member separately.

    Attributes
    ----------
    every : int
        Epochs between two checks.
    revived : ndarray of shape (starts,)
        Units that were reinitialized in each member.
    """

    every = 1

    def __init__(self, starts: int) -> None:
        self.revived = np.zeros(starts, dtype=np.int64)

    def begin(self, fit: PopulationFit) -> None:
        """Called before the first epoch."""

    def epoch_end(self, fit: PopulationFit, epoch: int, logs: dict[str, Array]) -> None:
        """Called after each epoch with the numbers (starts,) by name; may change `fit.active` and the tensors."""

    def finish(self, fit: PopulationFit) -> None:
        """Called after the last epoch."""

    def epochs_to_check(self, epoch: int) -> int:
        """Epochs from `epoch` to the next check."""
        return self.every - epoch % self.every


@dataclass(frozen=True)
class Validation:
    """What members are validated on after each epoch.

    Attributes
    ----------
    data : Rows
    weights : ndarray of shape (starts, rows), optional
        Sample weights of each member.
    metrics : sequence of Metric
    lowered : list of dict
        The metrics, as engines take them.
    """

    data: Rows
    weights: Array | None
    metrics: Sequence[Metric]
    lowered: list[dict[str, Any]]

    def of(self, runner: PopulationRunner, n_threads: int, which: Array | None = None) -> dict[str, Array]:
        """Loss and metrics of each member, or of some, by name: (starts,) each."""
        totals = runner.totals(self.data, self.weights, self.lowered, n_threads, which)
        if not self.metrics:
            return {"loss": totals[:, 0] / totals[:, 1]}
        collected = runner.collected(self.data, self.weights, self.metrics, n_threads)
        made = columns(totals, self.metrics, runner.net.outputs, collected=collected)
        return {name: np.array(values) for name, values in made.items()}


@dataclass(frozen=True)
class Trained:
    """Members that were trained for some epochs, or not yet.

    Attributes
    ----------
    runner : PopulationRunner
    losses : ndarray of shape (epochs, starts)
        Of each epoch so far.
    epochs : ndarray of int, shape (starts,)
        Epochs that each member was trained.
    interrupted : bool
        Whether Ctrl-C ended the training.
    """

    runner: PopulationRunner
    losses: Array
    epochs: Array
    interrupted: bool

    @classmethod
    def not_yet(cls, runner: PopulationRunner) -> Trained:
        """Members before their first epoch."""
        return cls(runner, np.zeros((0, len(runner))), np.zeros(len(runner), dtype=np.int64), False)


class PopulationFit:
    """One training of members that one runner holds; all arguments were checked before.

    Parameters
    ----------
    members : Trained
    optimizer : Optimizer
    data : Rows
    weights : ndarray of shape (starts, rows), optional
        Sample weights of each member.
    options : Options
    learning_rates : ndarray of shape (starts,), optional
        Learning rate of each member, instead of the optimizer's.
    callbacks : list of PopulationCallback
    validation : Validation, optional
    deadline : float
        No epoch begins after this moment of `time.monotonic`.

    Attributes
    ----------
    history : ndarray of shape (epochs, starts)
    val_history : dict of ndarray of shape (epochs, starts)
        By name: "loss" and the metrics; empty without validation.
    active, trained : ndarray of bool, shape (starts,)
        Members that are still being trained, and those that the last call trained.
    epoch : int
        Number of the next epoch.
    epochs : ndarray of int, shape (starts,)
        Epochs that each member was trained.
    interrupted : bool
        Whether Ctrl-C ended the training.
    cut_short : bool
        Whether Ctrl-C or the deadline left members without some of their epochs; known after `finish`.
    fraction : float
        How much of the next epochs a running call has done, in epochs.
    look : callable
        Called a few times a second inside of a call; a KeyboardInterrupt from it ends the call, as Ctrl-C does.
    """

    def __init__(
        self,
        members: Trained,
        optimizer: Optimizer,
        data: Rows,
        weights: Array | None,
        options: Options,
        learning_rates: Array | None,
        callbacks: list[PopulationCallback],
        validation: Validation | None = None,
        deadline: float = math.inf,
    ) -> None:
        self.runner, self.interrupted = members.runner, members.interrupted
        self.optimizer, self.options, self.deadline = optimizer, options, deadline
        self.data, self.weights, self.validation = data, weights, validation
        self.learning_rates, self.callbacks = learning_rates, callbacks
        starts = len(self.runner)
        self.history = np.full((options.epochs, starts), np.nan, self.runner.value_dtype)
        self.history[: len(members.losses)] = members.losses
        names = () if validation is None else ("loss", *(metric.name for metric in validation.metrics))
        self.val_history = {name: np.full((options.epochs, starts), np.nan, self.runner.value_dtype) for name in names}
        self.active = self.trained = np.ones(starts, dtype=bool)
        self.epochs = members.epochs.copy()
        self.epoch = int(self.epochs.max(initial=0))
        self.fraction = 0.0
        self.look: Callable[[], object] = lambda: None
        self.batch_size = min(options.batch_size, len(data))
        self.batches = math.ceil(len(data) / self.batch_size)
        self.pacing = Pacing(self.batches, CALL_STEPS)
        self.begun = self.cut_short = False

    @property
    def unfinished(self) -> bool:
        """Whether members have epochs left, and nothing but Ctrl-C or the deadline keeps them from those."""
        return self.epoch < self.options.epochs and bool(self.active.any())

    @property
    def going(self) -> bool:
        """Whether there is something to do for `advance`."""
        return self.unfinished and not self.interrupted and time.monotonic() < self.deadline

    def run(self) -> None:
        """Train to the end, or to Ctrl-C."""
        while self.going:
            self.advance(self.options.n_threads)
        self.finish()

    def finish(self) -> None:
        """What follows the last epoch, however training ended."""
        self.cut_short = self.unfinished
        if self.optimizer.use_ema and self.epoch and not self.interrupted:
            self.runner.take_average()
        for callback in self.callbacks:
            callback.finish(self)

    def advance(self, n_threads: int) -> None:
        """Train for some epochs: one, if members are validated or a callback looks at each."""
        try:
            if not self.begun:
                self.begun = True
                for callback in self.callbacks:
                    callback.begin(self)
            checks = [callback.epochs_to_check(self.epoch) for callback in self.callbacks]
            count = 1 if self.validation is not None else self.pacing.next(self.options.epochs - self.epoch, *checks)
            began = time.monotonic()
            if math.isfinite(self.deadline):
                count = self.pacing.within(count, self.deadline - began)
            self._train_epochs(count, n_threads)
            if not self.interrupted:
                self.pacing.learn(count, time.monotonic() - began)
                self.epoch += count
        except KeyboardInterrupt:  # outside of the engine
            self.interrupted = True
        self.fraction = 0.0

    def _train_epochs(self, count: int, n_threads: int) -> None:
        epoch, losses = self.epoch, np.full((count, len(self.runner)), np.nan)
        steps = count * self.batches

        def progress(fraction: float) -> None:
            self.fraction = fraction * count
            self.look()

        if self.learning_rates is None:
            step_rates, member_scale = self.optimizer.learning_rates(epoch * self.batches, steps), None
        else:
            step_rates, member_scale = np.ones(steps), self.learning_rates
        call = PopulationCall(
            self.data.encoded(self.runner.net),
            self.data.y,
            self.data.w if self.weights is None else self.weights,
            step_rates,
            losses,
            self.batch_size,
            member_scale,
            self.options.shuffle,
            self.options.order_seed,
            epoch,
            active=None if self.active.all() else self.active,
            progress=progress,
            n_threads=n_threads,
        )
        result = self.runner.train(call)
        self.history[epoch : epoch + count] = losses
        self.epochs += np.where(self.active, result["epochs"], 0)
        self.trained, self.active = self.active, self.active & np.logical_not(result["ended"])
        if result["interrupted"]:
            self.interrupted = True
            return
        logs = {"loss": losses[-1]}
        if self.validation is not None:
            found = self.validation.of(self.runner, n_threads, None if self.trained.all() else self.trained)
            for name, values in found.items():
                self.val_history[name][epoch] = np.where(self.trained, values, np.nan)
            logs |= {f"val_{name}": values for name, values in found.items()}
        for callback in self.callbacks:
            callback.epoch_end(self, epoch + count - 1, logs)

    def losses(self, n_threads: int) -> Array:
        """Loss of each member on all rows."""
        return self.runner.losses(self.data, self.weights, n_threads)

    def final_losses(self, n_threads: int) -> Array:
        """Loss of each member on all rows; if Ctrl-C interrupts that, `last_losses`."""
        try:
            return self.losses(n_threads)
        except KeyboardInterrupt:
            self.interrupted = True
            return self.last_losses()

    def last_losses(self) -> Array:
        """Loss of each member in its last epoch, NaN before the first."""
        before = np.full((1, len(self.runner)), np.nan)
        losses: Array = np.vstack([before, self.history])[self.epochs, np.arange(len(self.runner))]
        return losses


def make_population(
    single: Runner,
    optimizer: Optimizer,
    loss: Loss,
    data: Rows,
    options: Options,
    seeds: Array,
    *,
    on_data: bool = False,
    keep_frozen: bool = False,
    initial_weights: list[Array] | None = None,
    numbers: dict[str, Array] | None = None,
    metrics: Sequence[dict[str, Any]] = (),
    reason: str = "",
) -> PopulationRunner:
    """Members with their initial weights, ready to be trained.

    Parameters
    ----------
    single : Runner
        One net of the same shape on the same device, whose input statistics are known.
    optimizer, loss, data, options
        How the members will be trained.
    seeds : ndarray of uint64, shape (starts,)
    on_data : bool
        Whether all units are spread over the data; otherwise only those of layers that ask for it.
    keep_frozen : bool
        Whether layers that are not trainable have the weights of `single`.
    initial_weights : list of ndarray, optional
        Instead of those of the seeds.
    numbers : dict, optional
        As of `fastdense.engine.population.make_population_engine`.
    metrics : sequence of dict
        For validation, as engines take them.
    reason : str
        As in `PopulationRunner`.
    """
    net = single.net
    lowered = {**optimizer.lower(), **optimizer.factors("fit_many", net.trained_names)}
    hook = Hook(loss, [])
    training = {
        "loss": loss.lower_for(net.outputs),
        "optimizer": lowered,
        "metrics": list(metrics),
        "hook": hook if hook.needed else None,
        "frozen": net.frozen(),
    }
    batch_rows = min(options.batch_size, len(data))
    runner = PopulationRunner(net, single.device, training, seeds, numbers or {}, batch_rows, reason)
    tensors = net.initial_values_of(seeds) if initial_weights is None else initial_weights
    known = single.tensors()
    for one in net.statistics:  # those of the data, the same for all members
        tensors[one.tensors] = [np.broadcast_to(t, (len(runner), *t.shape)) for t in known[one.tensors]]
    for i in net.kept() if keep_frozen else []:
        tensors[i] = np.broadcast_to(known[i], (len(runner), *known[i].shape))
    layers = None if on_data else data_layers(net)
    if initial_weights is None and (on_data or layers):
        part = Rows(evenly_spaced_rows(data.x), evenly_spaced_rows(data.y), None)
        outputs = _layer_outputs(single, runner, part.x, options.n_threads)
        spread_over_data(net, part, loss.kind, seeds, tensors, outputs, layers)
    runner.set_tensors(tensors)
    return runner


def _layer_outputs(single: Runner, runner: PopulationRunner, x: Array, n_threads: int) -> LayerOutputs:
    """A function for the outputs of a layer; layers that are the same for all members are computed once."""

    def outputs(tensors: list[Array], layer: int) -> Array:
        if all(isinstance(one, (Normalization, Preprocessing)) for one in single.net.layers[: layer + 1]):
            return np.asarray(single.activations(x, n_threads)[layer], dtype=np.float64)[None]
        return runner.layer_outputs(x, layer, tensors, n_threads)

    return outputs


def check_population_memory(
    where: str, members: Sequence[tuple[Net, Optimizer, int]], options: Options, rows: int, snapshots: int = 0
) -> None:
    """Raise if a population cannot fit in memory.

    Parameters
    ----------
    where : str
    members : sequence of (Net, Optimizer, int)
        What there is, and how many of each.
    options : Options
    rows : int
    snapshots : int
        Copies of its weights that each member keeps.
    """
    total, first = 0, members[0][0]
    for net, optimizer, starts in members:
        size = net.itemsize * net.count() * (2 + 3 + snapshots) + 16 * options.epochs * (net.itemsize // 4)
        total += starts * (size + solver_bytes(optimizer, net))
    total += 2 * first.itemsize * rows * (max(net.program["inputs"] for net, _, _ in members) + first.outputs)
    total += STEP_BYTES * math.ceil(rows / options.batch_size)  # of an epoch, or of few steps
    starts, most = sum(count for _, _, count in members), max(net.count() for net, _, _ in members)
    upto = "up to " if len({net.count() for net, _, _ in members}) > 1 else ""
    check_memory(where, total, f"training {starts:,} nets of {upto}{most:,} parameters for {options.epochs:,} epochs",
                 "use fewer starts at once, fewer epochs or larger batches")  # fmt: skip
