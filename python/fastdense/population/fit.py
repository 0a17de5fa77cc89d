"""`fit_many`: train a population, many nets at once."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..arguments import choice, integer, items, number
from ..arrays import Array, as_array, fail
from ..callbacks import ProgressBar, ReviveDeadUnits
from ..callbacks.progress import check_verbose
from ..data.names import names_of
from ..model.base import BaseModel
from ..training.feasible import check_one_loss, check_rates
from ..training.options import Options
from ..training.population import check_population_memory
from ..training.together import Together
from .arguments import check_initial_weights, check_own_weights, is_per_start, read_starts
from .callbacks import checked_callbacks
from .members import Members
from .parts import check_numbers, divided, grouped, template_of, why
from .population import Population, PopulationInterrupt, WorkerLost
from .rows import training_rows, validation_rows

if TYPE_CHECKING:
    from .spread import Workers

M = TypeVar("M", bound=BaseModel)


def fit_many(
    model: M | Sequence[M],
    x: Any,
    y: Any,
    *,
    starts: int | None = None,
    epochs: int = 1,
    batch_size: Any = 32,
    learning_rate: Any = None,
    sample_weight: Any = None,
    seed: Any = None,
    penalty: Any = None,
    weight_decay: Any = None,
    dropout: Any = None,
    label_smoothing: Any = None,
    loss_weight: Any = None,
    shuffle: bool | str = True,
    order_seed: Any = None,
    validation_data: Any = None,
    callbacks: Any = None,
    snapshots: int = 0,
    time_limit: float | None = None,
    start: str = "random",
    tries: int = 1,
    initial_weights: Any = None,
    verbose: int | str = "auto",
    n_threads: int | None = None,
    executor: Any = None,
) -> Population[M]:
    """Train many nets at once: starts of one model, or one of each of a list of models.

    Up to rounding, member i ends with the weights that ``model.clone(seed=seed + i)``, or ``models[i]``, gets from its
    own `fit` with the settings of that member. Members of one shape share the lanes of vector registers, so that a
    small net costs a hundredth of a `fit`; larger nets are trained one per thread, and a thread whose net has ended
    goes on with another. The models are not changed, and their weights play no part: layers that are not trainable
    keep the first values of each member, or what `initial_weights` gives.

    Parameters
    ----------
    model : Model or list of Model
        Compiled; of several, each is a member, with layers, optimizer, loss and metrics of its own. They must agree in
        inputs, outputs, dtype and device. Metrics are computed on `validation_data` only.
    x, y, n_threads
        As in `Model.fit`; all members get the same rows.
    starts : int, optional
        Number of members: by default the length of the list or of the arrays below, else 100.
    epochs : int
    batch_size : int or array of ints, shape (starts,)
        32 if None; at least the number of rows means full batches.
    learning_rate : float or array of shape (starts,), optional
        Learning rate of each member, instead of its optimizer's.
    sample_weight : array of shape (rows,) or (starts, rows), optional
        Weights of the rows, for all members or for each.
    seed : int or array of ints, shape (starts,)
        Seed of the first member (the others count up from it), or of each member. None is 0, and of a list each
        model's own seed.
    penalty : float or array of shape (starts,), optional
        Factor of all penalties (regularizers) of each member.
    weight_decay : float or array of shape (starts,), optional
        Weight decay of each member, instead of its optimizer's.
    dropout : float or array of shape (starts,), optional
        Rate of all `Dropout` layers of each member.
    label_smoothing : float or array of shape (starts,), optional
        Label smoothing of each member, instead of its loss's.
    loss_weight : float or array of shape (starts,), optional
        Factor of the loss of each member, but not of its penalties, instead of the model's `loss_weights`; above 0.
    shuffle : bool or "same"
        Whether each epoch takes the rows in a new order: that of each member's own seed, or, with "same", that of the
        first seed for all of them. Settings are then compared on the same batches, and small nets train faster; only
        the first member equals its own `fit`.
    order_seed : int or array of ints, shape (starts,), optional
        Seed of the order of the rows, for all members or for each, apart from the seed of initial weights and dropout.
    validation_data : (x, y) or (x, y, sample_weight), optional
        Evaluated after each epoch, with the metrics of the models.
    callbacks : list, optional
        `EarlyStopping` (on "loss", "val_loss" or ``"val_"`` and the name of a metric) and `ReviveDeadUnits`; applied to
        each member separately. A member that has stopped costs no more time.
    snapshots : int
        How many of its best epochs each member keeps the weights of (`Population.snapshots`), by what `EarlyStopping`
        monitors, or else by "val_loss", or "loss" without validation.
    time_limit : float, optional
        Seconds after which no epoch begins; members are then as trained by then, all at about the same epoch. The
        result depends on the machine.
    start : {"random", "data"}
        Initial weights: those of the layers' initializers, or units spread over the data (`start_on_data`).
    tries : int
        Number of random restarts of each member (successive halving): all are trained for a twentieth of the epochs,
        the best quarter for another twentieth, a quarter of these for a tenth, and so on; the last one is trained to
        the end. Restart j of member i has the seed ``seed[i] + j * 0x9E3779B97F4A7C15`` (modulo 2**64);
        `Population.seeds` has those that were kept.
    initial_weights : list of arrays, optional
        Initial weights instead of those of the seeds: as `Model.get_weights`, with a first axis of length starts. The
        models of a list must then have the same layers' shapes.
    verbose : {"auto", 0, 1, 2}
        As in `Model.fit`; shows the best and the median loss.
    executor : executor, or tuple of an executor and an int, optional
        What trains the members in other processes, perhaps on other machines: anything with ``submit(function,
        *arguments)`` whose result has ``result()``, such as a pool of `concurrent.futures`, loky's executor, Dask's
        `Client` or `mpi4py.futures.MPIPoolExecutor`. They are divided into as many groups as it has workers, 8 if it
        does not say, or as many as given with it; the result is the same, in every bit on processors with the same
        instruction set. `n_threads` is then that of a group, by default: of a pool on this machine, its cores divided
        by the workers; on Dask, the threads of a worker; otherwise what the worker may use. `time_limit` then holds
        for each group, from when it begins.

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
        of several `tries` the best. Before that, it is a plain KeyboardInterrupt. With an executor, groups that are
        done are kept, members of the others have their initial weights, and groups that have not begun are cancelled.
    WorkerLost
        If workers of the executor ended before they were done, and others, to which their groups were submitted once
        more, did so too. Its `population` has all that was trained.

    Examples
    --------
    >>> import fastdense as fd, numpy as np
    >>> x = np.linspace(-1, 1, 64)[:, None]
    >>> models = [fd.Model([fd.Dense(width, "tanh"), fd.Dense(1)], inputs=1, seed=width) for width in (4, 8)]
    >>> for model in models:
    ...     model.compile(fd.Adam(0.01), "mse")
    >>> population = fd.fit_many(models, x, x**2, epochs=2, verbose=0)
    >>> [member.layers[0].units for member in population]
    [4, 8]
    """
    where, began = "fit_many", time.monotonic()
    models = _checked_models(where, model)
    several = not isinstance(model, BaseModel)
    first = models[0]
    same_order = isinstance(shuffle, str)
    if isinstance(shuffle, str):
        choice(f"{where}: shuffle", shuffle, ("same",), other="True or False")
    options = Options.checked(where, None, epochs, 0, same_order or shuffle, n_threads)
    if order_seed is not None and (same_order or not options.shuffle):
        fail(where, f"order_seed is given together with shuffle={shuffle!r}", "they are alternatives", "drop one")
    snapshots = integer(f"{where}: snapshots", snapshots, least=0)
    deadline = math.inf if time_limit is None else began + number(f"{where}: time_limit", time_limit, least=0)
    bar = ProgressBar(check_verbose(where, verbose))
    workers: Workers | None = None
    if executor is not None:
        from .spread import Workers, spread  # few programs need executors

        workers = Workers.of(where, executor, options.n_threads)
    if sample_weight is not None:
        sample_weight = as_array(where, "sample_weight", sample_weight, first.device)
    own_weights = None
    if is_per_start(sample_weight):
        own_weights, sample_weight = sample_weight, None
    names = first.feature_names or names_of(x)
    data = training_rows(where, models, x, y, sample_weight, names)
    held = None if validation_data is None else validation_rows(where, models, validation_data, names)
    rows = len(data[0])
    if initial_weights is not None:
        initial_weights = items(f"{where}: initial_weights", initial_weights, "a list of arrays, one for each tensor")

    def check_size(count: int, least_batch: int) -> None:
        each = [(one.net, one.optimizer, 1 if several else count) for one in models]
        check_population_memory(where, each, replace(options, batch_size=least_batch), rows, snapshots)

    numbers = {
        "learning_rate": learning_rate,
        "penalty": penalty,
        "weight_decay": weight_decay,
        "dropout": dropout,
        "label_smoothing": label_smoothing,
        "loss_weight": loss_weight,
    }
    members = read_starts(where, starts, seed, batch_size, order_seed, numbers, own_weights, initial_weights,
                          models if several else None, check_size)  # fmt: skip
    for one in models:
        check_rates(where, one.optimizer, learning_rate)
    check_numbers(where, models, members)
    if same_order:
        members = replace(members, order_seeds=np.full(members.count, members.seeds[0]))
    if members.loss_weights is None and len({one.loss_weights for one in models}) > 1:
        members = replace(members, loss_weights=np.array([one.loss_weights for one in models]))
    if own_weights is not None:
        own_weights = check_own_weights(where, own_weights, members.count, rows, first._shape)
    given = checked_callbacks(where, callbacks, [one.metrics_names[1:] for one in models], validation_data is not None)
    tries = integer(f"{where}: tries", tries, least=1)
    start = choice(f"{where}: start", start, ("random", "data"))
    for one in models:
        if start == "data":
            one.net.check_not_monotonic(where, "start is 'data'")
        if any(isinstance(callback, ReviveDeadUnits) for callback in given):
            one.net.check_not_monotonic(where, "a callback is ReviveDeadUnits")
    if initial_weights is not None and (tries > 1 or start == "data"):
        fail(where, "initial_weights is given together with tries or start='data'", "they are alternatives", "drop one")
    if initial_weights is not None:
        initial_weights = _checked_initial_weights(where, models, initial_weights, members.count)
    templates = [template_of(one) for one in models]
    for one in templates:
        one.feature_names = names
    model_of = np.arange(len(models)) if several else np.zeros(members.count, dtype=np.int64)
    groups = grouped(where, templates, model_of, members, rows)
    for group in groups:
        group.model.runner.adapt(data[0].x)
    division = divided(groups, templates, model_of, members)
    plan = Members(where, options, members, templates, model_of, data, held, own_weights, initial_weights, tries,
                   start == "data", deadline, given, snapshots)  # fmt: skip
    lost: WorkerLost | None = None
    if workers is None:
        training = plan.trained(division, Together(first.device, options.n_threads, bar))
    else:
        workers.check_sent({"the callbacks": given} | {f"models[{i}]" if several else "the model": one
                                                       for i, one in enumerate(templates)})  # fmt: skip
        source = (x, y, sample_weight, validation_data, names)
        training, lost = spread(workers, plan, division, source, bar)
    population: Population[M] = Population(
        templates, model_of, members, training.parts, training.results,
        why_one_by_one=why(groups), interrupted=bool(training.interrupted),
    )  # fmt: skip
    if training.interrupted:
        raise PopulationInterrupt(
            f"{where}: interrupted {training.interrupted}; the population as trained by then is the "
            "attribute `population` of this exception (in an interactive session: sys.last_value.population)",
            population,
        )
    if lost is not None:
        lost.population = population
        raise lost
    return population


def _checked_models(where: str, model: Any) -> list[Any]:
    """The models of the first argument, or raise: compiled, and of one kind where there are several."""
    if isinstance(model, BaseModel):
        check_one_loss(where, model._trained_loss(where))
        return [model]
    if not isinstance(model, (list, tuple)):
        raise TypeError(
            f"{where}: model is of type {type(model).__name__}. Give a compiled fastdense.Model, or a list of them."
        )
    if not model:
        fail(where, "the list of models is empty", "at least one model is needed")
    for i, one in enumerate(model):
        if not isinstance(one, BaseModel):
            raise TypeError(f"{where}: models[{i}] is of type {type(one).__name__}. Give compiled models.")
        check_one_loss(f"{where}: models[{i}]", one._trained_loss(f"{where}: models[{i}]"))
        for name in ("inputs", "outputs", "dtype", "device"):
            mine, its = getattr(model[0], name), getattr(one, name)
            if mine != its:
                fail(where, f"models[0] has {name}={mine!r} and models[{i}] {name}={its!r}", "all must agree in it",
                     "train models of different kinds in calls of their own")  # fmt: skip
        if one.loss.sparse != model[0].loss.sparse:
            fail(where, f"models[0] has the loss {model[0].loss.name} and models[{i}] {one.loss.name}",
                 "they take the same y in different forms", "use one of the two for all")  # fmt: skip
    return list(model)


def _checked_initial_weights(where: str, models: Sequence[BaseModel], given: list[Any], starts: int) -> list[Array]:
    shapes = [[spec.shape for spec in model.net.tensors] for model in models]
    other = next((i for i, mine in enumerate(shapes) if mine != shapes[0]), None)
    if other is not None:
        fail(where, f"initial_weights is given and models[{other}] has tensors of other shapes than models[0]",
             "arrays with one entry per start need equal shapes", "leave it out")  # fmt: skip
    return check_initial_weights(where, models[0].net, given, starts)
