"""The search for a good start: many nets are trained for a short time, and the best are kept (successive halving)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ..arrays import Array
from ..callbacks import ProgressBar
from ..data.rows import Rows, evenly_spaced_rows
from ..initial.spread import LayerOutputs, data_layers, spread_over_data
from ..layers import Normalization
from ..losses import Loss
from ..optimizers import Optimizer
from ..runners.population import PopulationRunner
from ..runners.single import Runner
from .feasible import check_population_memory
from .options import Options
from .population_loop import PopulationLoop

SEED_STEP = 0x9E3779B97F4A7C15  # between the seeds of two tries


def tries_of(seeds: Array, tries: int) -> Array:
    """Seeds of every try of every start, (starts, tries); the first is the start's own."""
    with np.errstate(over="ignore"):
        steps = np.arange(tries, dtype=np.uint64) * np.uint64(SEED_STEP)
        made: Array = np.asarray(seeds, dtype=np.uint64)[:, None] + steps
    return made


def rounds(epochs: int, tries: int) -> list[tuple[int, int]]:
    """The rounds of the search: (epoch to train to, tries to keep then), until one is left.

    The first round lasts a twentieth of the epochs, at least ten, and keeps the best quarter; each further round ends
    at twice the epoch, because the better the tries that are left, the longer it takes for them to differ.
    """
    schedule = []
    until = min(max(10, math.ceil(epochs / 20)), max(1, epochs))
    while tries > 1:
        tries = -(-tries // 4)
        schedule.append((until, tries))
        until = min(2 * until, max(1, epochs))
    return schedule


@dataclass(frozen=True)
class TrainedNet:
    """What a search returns: the state of one net, and how long it was trained."""

    tensors: list[Array]
    slots: list[list[Array]]
    numbers: Array
    step: int
    epochs: int


def best_of_many(
    runner: Runner, loss: Loss, optimizer: Optimizer, data: Rows, options: Options, tries: int
) -> TrainedNet:
    """The search of ``fit(starts=...)``: many nets like that of `runner`, with units spread over the data.

    Parameters
    ----------
    runner : Runner
        Holds one such net, adapted to the data; it is not changed.
    loss : Loss
    optimizer : Optimizer
    data : Rows
    options : Options
        Those of `fit`.
    tries : int
        More than one.
    """
    net, epochs = runner.net, rounds(options.epochs, tries)[-1][0]
    check_population_memory("fit", net, optimizer, tries, epochs, len(data))
    seeds = tries_of(np.array([net.seed], dtype=np.uint64), tries).ravel()
    population = make_population(runner, loss, optimizer, data, options, seeds, on_data=True)
    best, _ = best_tries(population, optimizer, data, None, options, None, tries)
    steps = epochs * math.ceil(len(data) / min(options.batch_size, len(data)))
    slots = [[array[0] for array in slot] for slot in best.nets.get_slots()]
    return TrainedNet([tensor[0] for tensor in best.tensors()], slots, best.nets.get_numbers()[0], steps, epochs)


def make_population(
    runner: Runner,
    loss: Loss,
    optimizer: Optimizer,
    data: Rows,
    options: Options,
    seeds: Array,
    *,
    on_data: bool,
    first: list[Array] | None = None,
    penalties: Array | None = None,
) -> PopulationRunner:
    """A population of nets like that of `runner`, with their first values, ready to be trained.

    Parameters
    ----------
    runner : Runner
        Holds one such net, adapted to the data; it is not changed.
    loss : Loss
    optimizer : Optimizer
    data : Rows
    options : Options
    seeds : ndarray of uint64, shape (starts,)
    on_data : bool
        Whether to spread all hidden units over the data, not only those of layers that ask for it.
    first : list of ndarray, optional
        First values (starts, ...), in place of those of the seeds.
    penalties : ndarray of shape (starts,), optional
        Factor of every penalty of each net.
    """
    net = runner.net
    training = {"loss": loss.lower(), "optimizer": optimizer.lower(), "metrics": []}
    made = PopulationRunner(net, runner.device, training, seeds, penalties, min(options.batch_size, len(data)))
    tensors = net.initial_values_of(seeds) if first is None else first
    if net.statistics is not None:  # of the data: the same for all nets
        tensors[:2] = [np.broadcast_to(t, (len(made), *t.shape)) for t in runner.tensors()[:2]]
    layers = None if on_data else data_layers(net)
    if first is None and (on_data or layers):
        sample = Rows(evenly_spaced_rows(data.x), evenly_spaced_rows(data.y), None)
        spread_over_data(net, sample, loss.kind, seeds, tensors, _layer_outputs(runner, made, sample.x), layers)
    made.set_tensors(tensors)
    return made


def _layer_outputs(runner: Runner, population: PopulationRunner, x: Array) -> LayerOutputs:
    """Outputs of a layer for the rows x; of layers that are the same for all nets only once."""

    def layer_outputs(tensors: list[Array], layer: int) -> Array:
        if all(isinstance(one, Normalization) for one in runner.net.layers[: layer + 1]):
            return np.asarray(runner.activations(x, 0)[layer], dtype=np.float64)[None]
        return population.layer_outputs(x, layer, tensors)

    return layer_outputs


def best_tries(
    runner: PopulationRunner,
    optimizer: Optimizer,
    data: Rows,
    weights: Array | None,
    options: Options,
    learning_rates: Array | None,
    tries: int,
) -> tuple[PopulationRunner, Array]:
    """Train all tries of all starts for a short time, keep the best quarter, and so on.

    Parameters
    ----------
    runner : PopulationRunner
        All tries, those of a start one after another.
    optimizer : Optimizer
    data : Rows
    weights : ndarray of shape (starts, rows) or None
    options : Options
    learning_rates : ndarray of shape (starts,) or None
    tries : int
        More than one.

    Returns
    -------
    runner : PopulationRunner
        The best try of each start.
    losses : ndarray of shape (epochs, starts)
        Their training losses so far.
    """
    previous_losses = None
    for epochs, kept in rounds(options.epochs, tries):
        own_weights = None if weights is None else weights.repeat(tries, axis=0)
        own_rates = None if learning_rates is None else np.repeat(learning_rates, tries)
        until = replace(options, epochs=epochs)
        loop = PopulationLoop(
            runner, optimizer, data, own_weights, None, until, own_rates, [], ProgressBar(0), previous_losses
        )
        if loop.run()[1]:
            raise KeyboardInterrupt
        losses = runner.losses(data, own_weights, options.n_threads).reshape(-1, tries)
        best = np.argsort(np.where(np.isfinite(losses), losses, np.inf), axis=1, kind="stable")[:, :kept]
        chosen = (np.arange(len(losses))[:, None] * tries + np.sort(best, axis=1)).ravel()
        runner = runner.chosen(chosen, epochs * loop.steps)
        previous_losses, tries = loop.history[:, chosen], kept
    assert previous_losses is not None
    return runner, previous_losses
