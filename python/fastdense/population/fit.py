"""Many starts of one net at once: `fit_many` and the loop behind it; `population.py` holds what became of them."""

from __future__ import annotations

import functools
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..arguments import integer, number
from ..arrays import Array, as_array, check_memory, fail, first_place, namespace_of
from ..callbacks import EarlyStopping, ProgressBar
from ..callbacks.progress import check_verbose
from ..data.checks import check_finite
from ..data.prepare import prepare, prepare_validation
from ..data.rows import Rows, Shape, sample
from ..initial.spread import Outputs, asks_for_data, spread_over_data
from ..layers import Normalization
from ..model.base import BaseModel
from ..runners.population import PopulationRunner
from ..training.feasible import check_rates, solver_bytes
from ..training.options import Options
from ..training.pacing import CALL_SECONDS
from ..training.search import rounds, tries_of
from .callbacks import PopulationCallback, StopEach
from .population import Population

CALL_STEPS = 1 << 17  # the most steps of a call: their learning rates are handed over
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
    check_size = functools.partial(_check_memory, where, model, options=options, rows=rows)
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
    watchers = _watchers(where, callbacks, validation is not None, count)
    tries = integer(f"{where}: tries", tries, least=1)
    if start not in ("random", "data"):
        raise ValueError(f"{where}: start is {start!r}; needed: 'random' or 'data'")
    if initial_weights is not None and (tries > 1 or start == "data"):
        fail(where, "initial_weights is given together with tries or start='data'", "only one can decide", "drop one")
    template = model.clone()
    first = None if initial_weights is None else _first_weights(where, template, initial_weights, count)
    template.runner.adapt(data.x)
    runner = _make_runner(template, model.device, data, options, tries_of(seeds, tries).ravel(), start == "data", first,
                   None if numbers["penalty"] is None else np.repeat(numbers["penalty"], tries))  # fmt: skip
    head = None
    if tries > 1:
        runner, head = _best_tries(template, runner, data, weights, options, numbers["learning_rate"], tries)
    run = PopulationFit(
        template, runner, data, weights, validation, options, numbers["learning_rate"], watchers, bar, head
    )
    return run.train(numbers["penalty"])


def best_start(
    model: BaseModel, data: Rows, options: Options, starts: int
) -> tuple[list[Array], list[list[Array]], Array, int, int]:
    """The search of ``fit(starts=...)``: tensors, optimizer slots and numbers, steps and epochs of the best of many."""
    _check_memory("fit", model, starts, replace(options, epochs=rounds(options.epochs, starts)[-1][0]), len(data))
    seeds = tries_of(np.array([model.seed], dtype=np.uint64), starts).ravel()
    runner = _make_runner(model, model.device, data, options, seeds, True, None, None)
    best, _ = _best_tries(model, runner, data, None, options, None, starts)
    epochs = rounds(options.epochs, starts)[-1][0]
    steps = epochs * math.ceil(len(data) / min(options.batch_size, len(data)))
    slots = [[array[0] for array in slot] for slot in best.nets.get_slots()]
    return [tensor[0] for tensor in best.tensors()], slots, best.nets.get_numbers()[0], steps, epochs


def _make_runner(
    template: BaseModel,
    device: str,
    data: Rows,
    options: Options,
    seeds: Array,
    on_data: bool,
    first: list[Array] | None,
    penalties: Array | None,
) -> PopulationRunner:
    """Nets with their first values, ready to be trained."""
    loss = template.loss
    training = {"loss": loss.lower(), "optimizer": template.optimizer.lower(), "metrics": []}
    runner = PopulationRunner(template.net, device, training, seeds, penalties, min(options.batch_size, len(data)))
    tensors = template.net.initial_values_of(seeds) if first is None else first
    if template.net.statistics is not None:  # those of the data, for all
        tensors[:2] = [np.broadcast_to(t, (len(runner), *t.shape)) for t in template.get_weights()[:2]]
    which = None if on_data else asks_for_data(template.net)
    if first is None and (on_data or which):
        few = Rows(sample(data.x), sample(data.y), None)
        spread_over_data(template.net, few, loss.kind, seeds, tensors, _outputs(template, runner, few), which)
    runner.set_tensors(tensors)
    return runner


def _outputs(template: BaseModel, runner: PopulationRunner, few: Rows) -> Outputs:
    """Outputs of a layer; of layers that are the same for all nets only once."""

    def of(tensors: list[Array], layer: int) -> Array:
        if all(isinstance(one, Normalization) for one in template.layers[: layer + 1]):
            return np.asarray(template.activations(few.x)[layer], dtype=np.float64)[None]
        return runner.layer_outputs(few.x, layer, tensors)

    return of


def _best_tries(
    template: BaseModel,
    runner: PopulationRunner,
    data: Rows,
    weights: Array | None,
    options: Options,
    rates: Array | None,
    tries: int,
) -> tuple[PopulationRunner, Array]:
    """Train all tries of all starts for a short time, keep the best quarter, and so on; the losses so far, too."""
    head = None
    for epochs, kept in rounds(options.epochs, tries):
        own = None if weights is None else weights.repeat(tries, axis=0)
        own_rates = None if rates is None else np.repeat(rates, tries)
        run = PopulationFit(
            template, runner, data, own, None, replace(options, epochs=epochs), own_rates, [], ProgressBar(0), head
        )
        if run.loop()[1]:
            raise KeyboardInterrupt
        losses = runner.losses(data, own, options.n_threads).reshape(-1, tries)
        best = np.argsort(np.where(np.isfinite(losses), losses, np.inf), axis=1, kind="stable")[:, :kept]
        which = (np.arange(len(losses))[:, None] * tries + np.sort(best, axis=1)).ravel()
        runner = runner.chosen(which, epochs * math.ceil(len(data) / min(options.batch_size, len(data))))
        head, tries = run.history[:, which], kept
    assert head is not None
    return runner, head


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


def _watchers(where: str, callbacks: Any, validated: bool, starts: int) -> list[PopulationCallback]:
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
            made.append(StopEach(callback, starts))
        elif hasattr(callback, "watcher"):
            made.append(callback.watcher(starts))
        else:
            raise TypeError(
                f"{where}: callbacks holds a {type(callback).__name__}, which looks at one model. "
                "EarlyStopping and ReviveDeadUnits can watch many; use fit for one start with the others."
            )
    return made


def _check_memory(where: str, model: BaseModel, starts: int, options: Options, rows: int) -> None:
    net = model.net
    size = net.itemsize * net.count() * (2 + 3) + 16 * options.epochs * (net.itemsize // 4)
    size += solver_bytes(model.optimizer, net)
    total = starts * size + 2 * net.itemsize * rows * (net.inputs + net.outputs)
    check_memory(where, total, f"training {starts:,} nets of {net.count():,} parameters for {options.epochs:,} epochs",
                 "use fewer starts at once, or fewer epochs")  # fmt: skip


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


class PopulationFit:
    """One run of `fit_many`; everything was checked before."""

    def __init__(
        self,
        model: BaseModel,
        runner: PopulationRunner,
        data: Rows,
        weights: Array | None,
        validation: Rows | None,
        options: Options,
        rates: Array | None,
        watchers: list[PopulationCallback],
        bar: ProgressBar,
        head: Array | None = None,
    ) -> None:
        self.model, self.runner, self.data, self.weights, self.validation = model, runner, data, weights, validation
        self.options, self.rates, self.watchers, self.bar = options, rates, watchers, bar
        starts = len(runner)
        self.history = np.full((options.epochs, starts), np.nan, runner.value_dtype)
        self.val_history = None if validation is None else self.history.copy()
        self.active = np.ones(starts, dtype=bool)
        self.epochs = np.zeros(starts, dtype=np.int64)
        if head is not None:  # epochs that are done already
            self.history[: len(head)] = head
            self.epochs[:] = len(head)
        self.first = int(self.epochs[0])

    def train(self, penalties: Array | None) -> Population:
        """Train to the end, or to Ctrl-C."""
        epoch, interrupted = self.loop()
        if interrupted:
            warnings.warn(
                f"fit_many: interrupted in epoch {epoch + 1} of {self.options.epochs}; the population holds what was "
                "learned by then",
                RuntimeWarning,
                stacklevel=3,
            )
        batch = min(self.options.batch_size, len(self.data))
        return Population(self, penalties, math.ceil(len(self.data) / batch), interrupted)

    def loop(self) -> tuple[int, bool]:
        """Train; returns the epoch that was reached and whether Ctrl-C ended it."""
        options, bar = self.options, self.bar
        batch = min(options.batch_size, len(self.data))
        batches = math.ceil(len(self.data) / batch)
        bar.set_params({"epochs": options.epochs, "steps": batches, "verbose": bar.verbose, "initial_epoch": 0})
        epoch, count, interrupted = self.first, 1, False
        bar.on_train_begin()
        for watcher in self.watchers:
            watcher.begin(self)
        try:
            while epoch < options.epochs and self.active.any():
                count = min([count, options.epochs - epoch, *(w.until_look(epoch) for w in self.watchers)])
                count = 1 if self.validation is not None else count
                began = time.perf_counter()
                done, interrupted = self._epochs(epoch, count, batch, batches)
                seconds = time.perf_counter() - began
                if interrupted:
                    break
                epoch += done
                count = max(1, min(int(CALL_SECONDS * done / max(seconds, 1e-9)), 16 * done, CALL_STEPS // batches))
        except KeyboardInterrupt:  # outside of the engine
            interrupted = True
        finally:
            bar.close()
        for watcher in self.watchers:
            watcher.finish(self)
        return epoch, interrupted

    def _epochs(self, epoch: int, count: int, batch: int, batches: int) -> tuple[int, bool]:
        losses = np.full((count, len(self.runner)), np.nan)
        steps = count * batches
        optimizer = self.model.optimizer

        def progress(share: float) -> None:
            self.bar.running(epoch, share * count, math.nan)

        try:
            result = self.runner.train(
                self.data,
                self.weights,
                batch_size=batch,
                shuffle=self.options.shuffle,
                order_seed=self.options.order_seed,
                epoch=epoch,
                rates=np.ones(steps) if self.rates is not None else optimizer.learning_rates(epoch * batches, steps),
                factors=self.rates,
                active=None if self.active.all() else self.active,
                losses=losses,
                progress=progress if self.bar.wants_progress else None,
                n_threads=self.options.n_threads,
            )
            self.history[epoch : epoch + count] = losses
            self.epochs += np.where(self.active, result["epochs"], 0)
            trained, self.active = self.active, self.active & np.logical_not(result["ended"])
            if result["interrupted"]:
                return count, True
            validated = None
            if self.validation is not None and self.val_history is not None:
                validated = self.runner.losses(self.validation, None, self.options.n_threads)
                self.val_history[epoch] = np.where(trained, validated, np.nan)
            for watcher in self.watchers:
                watcher.epoch_end(self, epoch + count - 1, losses[-1], validated)
        except KeyboardInterrupt:
            return count, True
        self._show(epoch, losses)
        return count, False

    def _show(self, epoch: int, losses: Array) -> None:
        if self.bar.verbose == 0:
            return
        finite = np.where(np.isfinite(losses), losses, np.inf)
        columns = {"best": finite.min(axis=1).tolist(), "median": np.median(finite, axis=1).tolist()}
        self.bar.on_epochs_end(epoch, columns)
