"""Best of many random restarts by successive halving: train many briefly, keep the best quarter, and so on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..arrays import Array
from ..data.rows import Rows
from ..losses import Loss
from ..metrics import Metric
from ..optimizers import Optimizer
from ..runners.population import PopulationRunner
from ..runners.single import Runner
from .options import Options
from .population import PopulationFit, Trained, check_population_memory, make_population

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
    at twice the epoch, because the tries that are left differ less, and later.
    """
    schedule = []
    until = min(max(10, math.ceil(epochs / 20)), max(1, epochs))
    while tries > 1:
        tries = -(-tries // 4)
        schedule.append((until, tries))
        until = min(2 * until, max(1, epochs))
    return schedule


def best_of_tries(
    optimizer: Optimizer,
    runner: PopulationRunner,
    data: Rows,
    weights: Array | None,
    options: Options,
    learning_rates: Array | None,
    tries: int,
    *,
    deadline: float = math.inf,
    look: Callable[[], object] | None = None,
) -> Trained:
    """Train all tries of all starts by successive halving, until one try per start is left.

    Parameters
    ----------
    optimizer, data, options
    runner : PopulationRunner
        All tries, those of one start next to each other.
    weights, learning_rates : ndarray, optional
        Of each start, as in `PopulationFit`.
    tries : int
    deadline, look
        As in `PopulationFit`.

    Returns
    -------
    Trained
        The best try of every start; where Ctrl-C ended the search, the best by then.
    """
    members = Trained.not_yet(runner)
    for epochs, kept in rounds(options.epochs, tries):
        if members.interrupted:
            break
        own_weights = None if weights is None else weights.repeat(tries, axis=0)
        own_rates = None if learning_rates is None else np.repeat(learning_rates, tries)
        order = options.order_seed
        own_order = np.repeat(order, tries) if isinstance(order, np.ndarray) else order
        until = replace(options, epochs=epochs, order_seed=own_order)
        fit = PopulationFit(members, optimizer, data, own_weights, until, own_rates, [], deadline=deadline)
        fit.look = look or fit.look
        fit.run()
        losses = (fit.last_losses() if fit.interrupted else fit.final_losses(until.n_threads)).reshape(-1, tries)
        tries_left = 1 if fit.interrupted else kept
        best = np.argsort(np.where(np.isfinite(losses), losses, np.inf), axis=1, kind="stable")[:, :tries_left]
        chosen = (np.arange(len(losses))[:, None] * tries + np.sort(best, axis=1)).ravel()
        runner = fit.runner.chosen(chosen, fit.epoch * fit.batches)
        members = Trained(runner, fit.history[:, chosen], fit.epochs[chosen], fit.interrupted)
        tries = tries_left
    return members


def start_from_best(
    single: Runner,
    optimizer: Optimizer,
    loss: Loss,
    metrics: Sequence[Metric],
    data: Rows,
    options: Options,
    starts: int,
) -> None:
    """The search of ``fit(starts=...)``, from units spread over the data: the net becomes the best of many starts.

    Raises
    ------
    KeyboardInterrupt
        The message says what the net is then: unchanged before the first epoch has ended; after it the best start by
        then, whose optimizer begins anew, since its state may be that of a later step than the tensors.
    """
    most = rounds(options.epochs, starts)[-1][0]
    until = replace(options, epochs=most)
    check_population_memory("fit", [(single.net, optimizer, starts)], until, len(data))
    seeds = tries_of(np.array([single.net.seed], dtype=np.uint64), starts).ravel()
    runner = make_population(single, optimizer, loss, data, options, seeds, on_data=True, keep_frozen=True)
    kept = best_of_tries(optimizer, runner, data, None, options, None, starts)
    nets, epochs = kept.runner.nets, int(kept.epochs[0])
    tensors = [tensor[0] for tensor in kept.runner.tensors()]
    if not kept.interrupted:
        slots = [[array[0] for array in slot] for slot in nets.get_slots()]
        steps = epochs * math.ceil(len(data) / min(options.batch_size, len(data)))
        single.set_tensors(tensors)
        single.set_slots(slots, steps, nets.get_numbers()[0])
        single.epochs_trained = epochs
        return
    now = "unchanged"
    if epochs:
        single.configure(optimizer, loss, metrics, single.loss_weight)
        single.set_tensors(tensors)
        single.epochs_trained = 0
        now = f"the best of them after {epochs} epoch{'s' * (epochs > 1)}"
    raise KeyboardInterrupt(f"fit: interrupted while it tried {starts} starts; the model is {now}")
