"""`fit_many`: train a population, many nets of one shape, each from a start of its own."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..arguments import integer, number
from ..arrays import Array, as_array, fail, first_place, namespace_of
from ..callbacks import EarlyStopping, ProgressBar
from ..callbacks.progress import check_verbose
from ..data.checks import check_finite
from ..data.prepare import prepare, prepare_validation
from ..data.rows import Shape
from ..model.base import BaseModel
from ..training.feasible import check_population_memory, check_rates
from ..training.options import Options
from ..training.population_loop import PopulationCallback, PopulationLoop
from ..training.search import best_tries, make_population, tries_of
from .callbacks import population_callback
from .population import Population

STARTS = 100
MAX_SEED = 2**64 - 1


def fit_many(
    model: BaseModel,
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
) -> Population:
    """Train many nets like `model` at once, each from a start of its own.

    Start i ends where ``model.clone(seed=seed + i)`` would end by a `fit` of its own, within rounding. Nets share the
    lanes of the processor's vectors, so a small net costs a hundredth of a fit; nets too large for that are trained one
    to a thread. The model itself is not changed.

    Parameters
    ----------
    model : Model
        Compiled. Metrics are not computed.
    x, y, n_threads
        As in `Model.fit`; every net sees the same rows.
    shuffle : bool or "same"
        Whether each epoch takes the rows in a new order: that of each start's own seed, or, with "same", that of the
        first seed for all of them. Settings are then compared on the same batches, and small nets train faster; only
        the first start equals its own fit.
    starts : int, optional
        How many nets: by default as many as the arrays below say, else 100.
    epochs : int
    batch_size : int
        32 if None; at least the number of rows means full batches.
    learning_rate : float or array of shape (starts,), optional
        Takes the place of the optimizer's, for each net.
    sample_weight : array of shape (rows,) or (starts, rows), optional
        Weights of the rows, for all nets or for each.
    seed : int or array of ints, shape (starts,)
        The first net's seed, or the seed of each.
    penalty : float or array of shape (starts,), optional
        Factor of every penalty of the model (regularizers), for each net.
    validation_data : (x, y) or (x, y, sample_weight), optional
        Evaluated after each epoch.
    callbacks : list, optional
        `EarlyStopping` (on "loss" or "val_loss") and `ReviveDeadUnits`; each net is watched on its own.
    start : {"random", "data"}
        First values: those of the layers' initializers, or units spread over the data (`start_on_data`).
    tries : int
        Each start trains so many nets for a twentieth of the epochs, keeps the best quarter for another twentieth, then
        a quarter of these for a tenth, and so on: the last one is trained on to the end. Try j of start i
        has the seed ``seed[i] + j * 0x9E3779B97F4A7C15`` (modulo 2**64); `Population.seeds` tells which was kept.
    initial_weights : list of arrays, optional
        First values in place of those that the seeds give: as `Model.get_weights`, with (starts, ...) in front.
    verbose : {"auto", 0, 1, 2}
        As in `Model.fit`; shows the best and the median loss.

    Returns
    -------
    Population
        Also after Ctrl-C: then with what every net had learned by then, and a warning.

    Raises
    ------
    ValueError, TypeError
        If anything is wrong with the data or an argument; nothing has happened then.
    MemoryError
        If the nets cannot fit in memory (also a ValueError).
    """
    where = "fit_many"
    if not isinstance(model, BaseModel):
        raise TypeError(f"{where}: model is of type {type(model).__name__}. Give a compiled fastdense.Model.")
    loss = model._compiled_loss(where)
    together = isinstance(shuffle, str) and shuffle == "same"
    if isinstance(shuffle, str) and not together:
        raise ValueError(f"{where}: shuffle is {shuffle!r}; needed: True, False or 'same'")
    options = Options.checked(batch_size, epochs, 0, True if together else shuffle, n_threads)
    bar = ProgressBar(check_verbose(where, verbose))
    per_start = {"learning_rate": learning_rate, "penalty": penalty}
    if sample_weight is not None:
        sample_weight = as_array(where, "sample_weight", sample_weight, model.device)
    rows = len(x) if hasattr(x, "__len__") else 0
    check_size = functools.partial(
        check_population_memory, where, model.net, model.optimizer, epochs=options.epochs, rows=rows
    )
    count, seeds, numbers = _starts(where, starts, seed, sample_weight, per_start, initial_weights, check_size)
    check_rates(where, model.optimizer, learning_rate)
    if together:
        options = replace(options, order_seed=int(seeds[0]))
    weights = None
    shape = model._shape
    if _is_per_start(sample_weight):
        weights, sample_weight = sample_weight, None
    data = prepare(where, x, y, sample_weight, shape, loss)
    if weights is not None:
        weights = shape.loss_weight * _own_weights(where, weights, count, len(data), shape)
    options = options.for_rows(model.optimizer, len(data), where)
    validation = None if validation_data is None else prepare_validation(where, validation_data, shape, loss)
    population_callbacks = _population_callbacks(where, callbacks, validation is not None, count)
    tries = integer(f"{where}: tries", tries, least=1)
    if start not in ("random", "data"):
        raise ValueError(f"{where}: start is {start!r}; needed: 'random' or 'data'")
    if initial_weights is not None and (tries > 1 or start == "data"):
        fail(where, "initial_weights is given together with tries or start='data'", "only one can decide", "drop one")
    template = model.clone()
    first = None if initial_weights is None else _first_weights(where, template, initial_weights, count)
    template.runner.adapt(data.x)
    penalties = None if numbers["penalty"] is None else np.repeat(numbers["penalty"], tries)
    runner = make_population(
        template.runner, loss, model.optimizer, data, options, tries_of(seeds, tries).ravel(),
        on_data=start == "data", first=first, penalties=penalties,
    )  # fmt: skip
    optimizer, learning_rates, previous_losses = template.optimizer, numbers["learning_rate"], None
    if tries > 1:
        runner, previous_losses = best_tries(runner, optimizer, data, weights, options, learning_rates, tries)
    loop = PopulationLoop(
        runner, optimizer, data, weights, validation, options, learning_rates, population_callbacks, bar,
        previous_losses,
    )  # fmt: skip
    epoch, interrupted = loop.run()
    if interrupted:
        warnings.warn(
            f"fit_many: interrupted in epoch {epoch + 1} of {options.epochs}; the population holds what was "
            "learned by then",
            RuntimeWarning,
            stacklevel=2,
        )
    return Population(template, loop, numbers["penalty"], interrupted)


def _starts(
    where: str,
    starts: Any,
    seed: Any,
    sample_weight: Array | None,
    per_start: dict[str, Any],
    initial_weights: Any,
    check_size: Callable[[int], None],
) -> tuple[int, Array, dict[str, Array | None]]:
    """How many starts, their seeds, and the numbers that each start has of its own; `check_size` may refuse them."""
    sizes: dict[str, int] = {}
    if starts is not None:
        sizes["starts"] = integer(f"{where}: starts", starts, least=1)
    numbers: dict[str, Array | None] = {}
    for name, value in per_start.items():
        if value is None or np.ndim(value) == 0:
            numbers[name] = None if value is None else np.array(number(f"{where}: {name}", value, least=0))
            continue
        array = as_array(where, name, value).astype(np.float64)
        if array.ndim != 1 or not len(array):
            fail(where, f"{name} has shape {array.shape}", "one number, or one per start, is needed")
        check_finite(where, name, array)
        if (array < 0).any():
            (i,) = first_place(array < 0)
            fail(where, f"{name}[{i}] is {array[i]:g}", f"{name} must be 0 or more")
        numbers[name], sizes[name] = array, len(array)
    if np.ndim(seed) > 0:
        sizes["seed"] = len(seed)
    if sample_weight is not None and _is_per_start(sample_weight):
        sizes["sample_weight"] = len(sample_weight)
    if initial_weights is not None and len(initial_weights):
        sizes["initial_weights"] = len(initial_weights[0])
    if len(set(sizes.values())) > 1:
        said = ", ".join(f"{name} says {size}" for name, size in sizes.items())
        fail(
            where, f"the number of starts is not clear: {said}", "all must agree", "leave out starts, or fix the array"
        )
    count = next(iter(sizes.values()), STARTS)
    check_size(count)
    for name, value in numbers.items():
        if value is not None and value.ndim == 0:
            numbers[name] = np.full(count, float(value))
    if np.ndim(seed) == 0:
        begin = integer(f"{where}: seed", seed, least=0, most=MAX_SEED - count + 1)
        seeds = np.arange(count, dtype=np.uint64) + np.uint64(begin)
    else:
        seeds = np.array([integer(f"{where}: seed[{i}]", s, least=0, most=MAX_SEED) for i, s in enumerate(seed)],
                         dtype=np.uint64)  # fmt: skip
    return count, seeds, numbers


def _is_per_start(weights: Array | None) -> bool:
    """Whether there is one row of weights for each start, not one column for all."""
    return weights is not None and weights.ndim == 2 and weights.shape[1:] != (1,)


def _own_weights(where: str, array: Array, starts: int, rows: int, shape: Shape) -> Array:
    if array.shape != (starts, rows):
        fail(where, f"sample_weight has shape {array.shape}", f"({rows},) or ({starts}, {rows}) is needed")
    check_finite(where, "sample_weight", array, shape.dtype)
    if (array < 0).any():
        i, j = first_place(array < 0)
        fail(where, f"sample_weight[{i}, {j}] is {array[i, j].item():g}", "weights must be 0 or more")
    contiguous: Array = namespace_of(array).ascontiguousarray(array, dtype=np.float64)
    return contiguous


def _population_callbacks(where: str, callbacks: Any, validated: bool, starts: int) -> list[PopulationCallback]:
    given = [] if callbacks is None else list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
    made: list[PopulationCallback] = []
    for callback in given:
        if isinstance(callback, EarlyStopping):
            if callback.monitor not in ("loss", "val_loss"):
                fail(where, f"EarlyStopping monitors {callback.monitor!r}", "'loss' or 'val_loss' is needed",
                     "metrics are not computed here")  # fmt: skip
            if callback.monitor == "val_loss" and not validated:
                fail(where, "EarlyStopping monitors 'val_loss' and there is no validation data",
                     "pass validation_data, or monitor='loss'")  # fmt: skip
        counterpart = population_callback(callback, starts)
        if counterpart is None:
            raise TypeError(
                f"{where}: callbacks holds a {type(callback).__name__}, which is for one model. "
                "EarlyStopping and ReviveDeadUnits work for a population; use fit for one start with the others."
            )
        made.append(counterpart)
    return made


def _first_weights(where: str, model: BaseModel, given: Any, starts: int) -> list[Array]:
    specs = model.net.tensors
    if len(given) != len(specs):
        names = ", ".join(f"{spec.name} {(starts, *spec.shape)}" for spec in specs)
        fail(where, f"initial_weights holds {len(given)} arrays", f"{len(specs)} are needed", names)
    made = []
    for i, (value, spec) in enumerate(zip(given, specs, strict=True)):
        array = as_array(where, f"initial_weights[{i}]", value)
        if array.shape != (starts, *spec.shape):
            given_shape = f"initial_weights[{i}] has shape {array.shape}"
            fail(where, given_shape, f"{spec.name} needs {(starts, *spec.shape)}")
        made.append(array)
    return made
