"""The training loop of a population: how many epochs each engine call runs, and which callbacks run between calls."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from ..arrays import Array, check_memory
from ..callbacks import ProgressBar
from ..calls import PopulationCall
from ..data.rows import Rows, evenly_spaced_rows
from ..initial.spread import LayerOutputs, data_layers, spread_over_data
from ..layers import Normalization, Preprocessing
from ..losses import Loss
from ..network import Net
from ..optimizers import Optimizer
from ..runners.population import PopulationRunner
from ..runners.single import Runner
from .feasible import solver_bytes
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

    def epoch_end(self, fit: PopulationFit, epoch: int, losses: Array, val_losses: Array | None) -> None:
        """Called after each epoch with the losses (starts,); may change `fit.active` and the tensors."""

    def finish(self, fit: PopulationFit) -> None:
        """Called after the last epoch."""

    def epochs_to_check(self, epoch: int) -> int:
        """Epochs from `epoch` to the next check."""
        return self.every - epoch % self.every


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
    """One training of a population; all arguments were checked before.

    Parameters
    ----------
    members : Trained
    optimizer : Optimizer
    data : Rows
    weights : ndarray of shape (starts, rows), optional
        Sample weights of each member.
    validation : Rows, optional
    options : Options
    learning_rates : ndarray of shape (starts,), optional
        Learning rate of each member, instead of the optimizer's.
    callbacks : list of PopulationCallback
    bar : ProgressBar

    Attributes
    ----------
    history, val_history : ndarray of shape (epochs, starts)
    active : ndarray of bool, shape (starts,)
        Members that are still being trained.
    epochs : ndarray of int, shape (starts,)
        Epochs that each member was trained.
    interrupted : bool
        Whether Ctrl-C ended the training.
    """

    def __init__(
        self,
        members: Trained,
        optimizer: Optimizer,
        data: Rows,
        weights: Array | None,
        validation: Rows | None,
        options: Options,
        learning_rates: Array | None,
        callbacks: list[PopulationCallback],
        bar: ProgressBar,
    ) -> None:
        self.runner, self.interrupted = members.runner, members.interrupted
        self.optimizer, self.options = optimizer, options
        self.data, self.weights, self.validation = data, weights, validation
        self.learning_rates, self.callbacks, self.bar = learning_rates, callbacks, bar
        starts = len(self.runner)
        self.history = np.full((options.epochs, starts), np.nan, self.runner.value_dtype)
        self.history[: len(members.losses)] = members.losses
        self.val_history = None if validation is None else np.full_like(self.history, np.nan)
        self.active = np.ones(starts, dtype=bool)
        self.epochs = members.epochs.copy()
        self.first_epoch = int(self.epochs.max(initial=0))
        self.batch_size = min(options.batch_size, len(data))
        self.batches = math.ceil(len(data) / self.batch_size)

    def run(self) -> int:
        """Train to the end, or to Ctrl-C; returns the epoch that was reached."""
        options, bar = self.options, self.bar
        bar.set_params({"epochs": options.epochs, "steps": self.batches, "verbose": bar.verbose, "initial_epoch": 0})
        epoch, pacing = self.first_epoch, Pacing(self.batches, CALL_STEPS)
        bar.on_train_begin()
        for callback in self.callbacks:
            callback.begin(self)
        try:
            while epoch < options.epochs and self.active.any() and not self.interrupted:
                checks = (callback.epochs_to_check(epoch) for callback in self.callbacks)
                count = 1 if self.validation is not None else pacing.next(options.epochs - epoch, *checks)
                began = time.perf_counter()
                self._train_epochs(epoch, count)
                if self.interrupted:
                    break
                pacing.learn(count, time.perf_counter() - began)
                epoch += count
        except KeyboardInterrupt:  # outside of the engine
            self.interrupted = True
        finally:
            bar.close()
        for callback in self.callbacks:
            callback.finish(self)
        return epoch

    def _train_epochs(self, epoch: int, count: int) -> None:
        losses = np.full((count, len(self.runner)), np.nan)
        steps = count * self.batches

        def progress(fraction: float) -> None:
            self.bar.running(epoch, fraction * count, math.nan)

        if self.learning_rates is None:
            step_rates, member_scale = self.optimizer.learning_rates(epoch * self.batches, steps), None
        else:
            step_rates, member_scale = np.ones(steps), self.learning_rates
        try:
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
                progress=progress if self.bar.wants_progress else None,
                n_threads=self.options.n_threads,
            )
            result = self.runner.train(call)
            self.history[epoch : epoch + count] = losses
            self.epochs += np.where(self.active, result["epochs"], 0)
            trained, self.active = self.active, self.active & np.logical_not(result["ended"])
            if result["interrupted"]:
                self.interrupted = True
                return
            val_losses = None
            if self.validation is not None and self.val_history is not None:
                val_losses = self.runner.losses(self.validation, None, self.options.n_threads)
                self.val_history[epoch] = np.where(trained, val_losses, np.nan)
            for callback in self.callbacks:
                callback.epoch_end(self, epoch + count - 1, losses[-1], val_losses)
        except KeyboardInterrupt:
            self.interrupted = True
            return
        self._show(epoch, losses)

    def final_losses(self) -> Array:
        """Loss of each member on all rows; if Ctrl-C interrupts that, `last_losses`."""
        try:
            return self.runner.losses(self.data, self.weights, self.options.n_threads)
        except KeyboardInterrupt:
            self.interrupted = True
            return self.last_losses()

    def last_losses(self) -> Array:
        """Loss of each member in its last epoch, NaN before the first."""
        before = np.full((1, len(self.runner)), np.nan)
        losses: Array = np.vstack([before, self.history])[self.epochs, np.arange(len(self.runner))]
        return losses

    def _show(self, epoch: int, losses: Array) -> None:
        if self.bar.verbose == 0:
            return
        finite = np.where(np.isfinite(losses), losses, np.inf)
        columns = {"best": finite.min(axis=1).tolist(), "median": np.median(finite, axis=1).tolist()}
        self.bar.on_epochs_end(epoch, columns)


def make_population(
    single: Runner,
    optimizer: Optimizer,
    loss: Loss,
    data: Rows,
    options: Options,
    seeds: Array,
    *,
    on_data: bool = False,
    initial_weights: list[Array] | None = None,
    penalties: Array | None = None,
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
    initial_weights : list of ndarray, optional
        Instead of those of the seeds.
    penalties : ndarray of shape (starts,), optional
        Factor of the penalties of each member.
    """
    net = single.net
    lowered = {**optimizer.lower(), **optimizer.factors("fit_many", net.trained_names)}
    training = {"loss": loss.lower(), "optimizer": lowered, "metrics": []}
    runner = PopulationRunner(net, single.device, training, seeds, penalties, min(options.batch_size, len(data)))
    tensors = net.initial_values_of(seeds) if initial_weights is None else initial_weights
    known = single.tensors()
    for one in net.statistics:  # those of the data, the same for all members
        tensors[one.tensors] = [np.broadcast_to(t, (len(runner), *t.shape)) for t in known[one.tensors]]
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
    where: str, net: Net, optimizer: Optimizer, starts: int, options: Options, rows: int
) -> None:
    """Raise if a population cannot fit in memory."""
    size = net.itemsize * net.count() * (2 + 3) + 16 * options.epochs * (net.itemsize // 4)
    size += solver_bytes(optimizer, net)
    total = starts * size + 2 * net.itemsize * rows * (net.program["inputs"] + net.outputs)
    total += STEP_BYTES * math.ceil(rows / options.batch_size)  # of an epoch, or of few steps
    check_memory(where, total, f"training {starts:,} nets of {net.count():,} parameters for {options.epochs:,} epochs",
                 "use fewer starts at once, fewer epochs or larger batches")  # fmt: skip
