"""`fit_many`: train a population, many nets of one shape at once."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from ..arguments import choice, integer, items
from ..arrays import as_array, fail
from ..callbacks import ProgressBar
from ..callbacks.progress import check_verbose
from ..data.prepare import prepare, prepare_validation
from ..model.base import BaseModel
from ..training.feasible import check_rates
from ..training.options import Options
from ..training.population import PopulationFit, check_population_memory, make_population
from ..training.search import best_of_tries, tries_of
from .arguments import check_initial_weights, check_own_weights, is_per_start, read_starts
from .callbacks import population_callbacks
from .population import Population, PopulationInterrupt

M = TypeVar("M", bound=BaseModel)


def fit_many(
    model: M,
    x: Any,
    y: Any,
    *,
    starts: int | None = None,
    epochs: int = 1,
    batch_size: int | None = 32,
    learning_rate: Any = None,
    sample_weight: Any = None,
    seed: Any = 0,
    penalty: Any = None,
    shuffle: bool | str = True,
    validation_data: Any = None,
    callbacks: Any = None,
    start: str = "random",
    tries: int = 1,
    initial_weights: Any = None,
    verbose: int | str = "auto",
    n_threads: int | None = None,
) -> Population[M]:
    """Train many nets like `model` at once, each from its own random start.

    Up to rounding, member i ends with the weights that ``model.clone(seed=seed + i)`` gets from its own `fit`. Members
    share the lanes of vector registers, so that a small net costs a hundredth of a `fit`; larger nets are trained one
    per thread. The model itself is not changed.

    Parameters
    ----------
    model : Model
        Compiled. Metrics are not computed.
    x, y, n_threads
        As in `Model.fit`; all members get the same rows.
    shuffle : bool or "same"
        Whether each epoch takes the rows in a new order: that of each member's own seed, or, with "same", that of the
        first seed for all of them. Settings are then compared on the same batches, and small nets train faster; only
        the first member equals its own `fit`.
    starts : int, optional
        Number of members: by default the length of the arrays below, else 100.
    epochs : int
    batch_size : int
        32 if None; at least the number of rows means full batches.
    learning_rate : float or array of shape (starts,), optional
        Learning rate of each member, instead of the optimizer's.
    sample_weight : array of shape (rows,) or (starts, rows), optional
        Weights of the rows, for all members or for each.
    seed : int or array of ints, shape (starts,)
        Seed of the first member (the others count up from it), or of each member.
    penalty : float or array of shape (starts,), optional
        Factor of all penalties (regularizers) of each member.
    validation_data : (x, y) or (x, y, sample_weight), optional
        Evaluated after each epoch.
    callbacks : list, optional
        `EarlyStopping` (on "loss" or "val_loss") and `ReviveDeadUnits`; applied to each member separately.
    start : {"random", "data"}
        Initial weights: those of the layers' initializers, or units spread over the data (`start_on_data`).
    tries : int
        Number of random restarts of each member (successive halving): all are trained for a twentieth of the epochs,
        the best quarter for another twentieth, a quarter of these for a tenth, and so on; the last one is trained to
        the end. Restart j of member i has the seed ``seed[i] + j * 0x9E3779B97F4A7C15`` (modulo 2**64);
        `Population.seeds` has those that were kept.
    initial_weights : list of arrays, optional
        Initial weights instead of those of the seeds: as `Model.get_weights`, with a first axis of length starts.
    verbose : {"auto", 0, 1, 2}
        As in `Model.fit`; shows the best and the median loss.

    Returns
    -------
    Population

    Raises
    ------
    ValueError, TypeError
        If the data or an argument is invalid; nothing is trained then.
    MemoryError
        If the population does not fit in memory (also a ValueError).
    PopulationInterrupt
        On Ctrl-C from the first epoch on: a KeyboardInterrupt whose `population` has the weights reached by then, and
        of several `tries` the best. Before that, it is a plain KeyboardInterrupt.
    """
    where = "fit_many"
    if not isinstance(model, BaseModel):
        raise TypeError(f"{where}: model is of type {type(model).__name__}. Give a compiled fastdense.Model.")
    loss, optimizer, net, shape = model._compiled_loss(where), model.optimizer, model.net, model._shape
    same_order = isinstance(shuffle, str)
    if isinstance(shuffle, str):
        choice(f"{where}: shuffle", shuffle, ("same",), other="True or False")
    options = Options.checked(where, batch_size, epochs, 0, same_order or shuffle, n_threads)
    bar = ProgressBar(check_verbose(where, verbose))
    if sample_weight is not None:
        sample_weight = as_array(where, "sample_weight", sample_weight, model.device)
    own_weights = None
    if is_per_start(sample_weight):
        own_weights, sample_weight = sample_weight, None
    data = prepare(where, x, y, sample_weight, shape, loss)
    if initial_weights is not None:
        initial_weights = items(f"{where}: initial_weights", initial_weights, "a list of arrays, one for each tensor")
    check_size = functools.partial(check_population_memory, where, net, optimizer, options=options, rows=len(data))
    members = read_starts(where, starts, seed, learning_rate, penalty, own_weights, initial_weights, check_size)
    check_rates(where, optimizer, learning_rate)
    if same_order:
        options = replace(options, order_seed=int(members.seeds[0]))
    if own_weights is not None:
        own_weights = shape.loss_weight * check_own_weights(where, own_weights, members.count, len(data), shape)
    options = options.for_rows(optimizer, len(data), where)
    validation = None if validation_data is None else prepare_validation(where, validation_data, shape, loss)
    checked_callbacks = population_callbacks(where, callbacks, validation is not None, members.count)
    tries = integer(f"{where}: tries", tries, least=1)
    start = choice(f"{where}: start", start, ("random", "data"))
    if initial_weights is not None and (tries > 1 or start == "data"):
        fail(where, "initial_weights is given together with tries or start='data'", "they are alternatives", "drop one")
    template = model.clone()
    first = None if initial_weights is None else check_initial_weights(where, net, initial_weights, members.count)
    template.runner.adapt(data.x)
    runner = make_population(
        template.runner, optimizer, loss, data, options, tries_of(members.seeds, tries).ravel(),
        on_data=start == "data", initial_weights=first,
        penalties=None if members.penalties is None else np.repeat(members.penalties, tries),
    )  # fmt: skip
    begun = best_of_tries(optimizer, runner, data, own_weights, options, members.learning_rates, tries)
    fit = PopulationFit(
        begun, optimizer, data, own_weights, validation, options, members.learning_rates, checked_callbacks, bar
    )  # fmt: skip
    epoch, unfinished = fit.run(), fit.interrupted
    losses = fit.final_losses()
    population = Population(
        template, fit.runner, data,
        history=fit.history, val_history=fit.val_history, epochs=fit.epochs, batches=fit.batches,
        losses=losses,
        learning_rates=members.learning_rates, penalties=members.penalties,
        revived=sum((callback.revived for callback in fit.callbacks), np.zeros(members.count, dtype=np.int64)),
        stopped=~fit.active | unfinished, interrupted=fit.interrupted,
    )  # fmt: skip
    if fit.interrupted:
        when = f"in epoch {epoch + 1} of {options.epochs}" if unfinished else "in the evaluation after the last epoch"
        when += " of the tries" if begun.interrupted else ""
        raise PopulationInterrupt(
            f"{where}: interrupted {when}; the population as trained by then is the "
            "attribute `population` of this exception (in an interactive session: sys.last_value.population)",
            population,
        )
    return population
