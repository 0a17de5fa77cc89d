"""Many starts of one net at once: `fit_many` trains them, a `Population` holds what became of them."""

from __future__ import annotations

import copy
import math
import operator
import time
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from .arrays import Array, as_array, check_memory, fail
from .callbacks import EarlyStopping
from .crowd import Crowd
from .data import Rows, check_finite, check_x, prepare, prepare_validation
from .model import Model
from .progress import ProgressBar, check_verbose
from .specs import integer, number
from .training import CALL_SECONDS, Options
from .watchers import Stopping, Watcher

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .outcomes import Outcomes

CALL_STEPS = 1 << 17  # the most steps of a call: their learning rates are handed over
STARTS = 100
MAX_SEED = 2**64 - 1


def fit_many(
    model: Model,
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
    shuffle: bool = True,
    validation_data: Any = None,
    callbacks: Any = None,
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
    x, y, shuffle, n_threads
        As in `Model.fit`; every net sees the same rows.
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
    if not isinstance(model, Model):
        raise TypeError(f"{where}: model is of type {type(model).__name__}. Give a compiled fastdense.Model.")
    loss = model._compiled_loss(where)
    options = Options.checked(batch_size, epochs, 0, shuffle, n_threads)
    bar = ProgressBar(check_verbose(where, verbose))
    per_start = {"learning_rate": learning_rate, "penalty": penalty}
    count, seeds, numbers = _starts(where, starts, seed, sample_weight, per_start, initial_weights)
    weights = None
    shape = model._shape
    if sample_weight is not None and np.ndim(sample_weight) == 2 and np.shape(sample_weight)[1:] != (1,):
        weights, sample_weight = sample_weight, None
    data = prepare(where, x, y, sample_weight, shape, loss)
    if weights is not None:
        weights = _own_weights(where, weights, count, len(data), shape.dtype)
    validation = None if validation_data is None else prepare_validation(where, validation_data, shape, loss)
    watchers = _watchers(where, callbacks, validation is not None, count)
    template = model.clone()
    _check_memory(where, template, count, options, len(data), weights)
    first = None if initial_weights is None else _first_weights(where, template, initial_weights, count)
    template.machine.adapt(data.x)
    training = {"loss": loss.lower(), "optimizer": template.optimizer.lower(), "metrics": []}
    crowd = Crowd(template.net, model.device, training, seeds, numbers["penalty"],
                  min(options.batch_size, len(data)))  # fmt: skip
    if first is None:
        first = template.net.initial_values_of(seeds)
    if template.net.statistics is not None:  # those of the data, for all
        first[:2] = [np.broadcast_to(t, (count, *t.shape)) for t in template.get_weights()[:2]]
    crowd.set_tensors(first)
    run = _Run(template, crowd, data, weights, validation, options, numbers["learning_rate"], watchers, bar)
    return run.train(numbers["penalty"])


def _starts(
    where: str, starts: Any, seed: Any, sample_weight: Any, per_start: dict[str, Any], initial_weights: Any
) -> tuple[int, Array, dict[str, Array | None]]:
    """How many starts, their seeds, and the numbers that each start has of its own."""
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
            i = int(np.argmax(array < 0))
            fail(where, f"{name}[{i}] is {array[i]:g}", f"{name} must be 0 or more")
        numbers[name], sizes[name] = array, len(array)
    if np.ndim(seed) > 0:
        sizes["seed"] = len(seed)
    if sample_weight is not None and np.ndim(sample_weight) == 2 and np.shape(sample_weight)[1:] != (1,):
        sizes["sample_weight"] = len(sample_weight)
    if initial_weights is not None and len(initial_weights):
        sizes["initial_weights"] = len(initial_weights[0])
    if len(set(sizes.values())) > 1:
        said = ", ".join(f"{name} says {size}" for name, size in sizes.items())
        fail(where, f"the number of starts is not clear: {said}", "all must agree", "leave out starts, or fix the array")
    count = next(iter(sizes.values()), STARTS)
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


def _own_weights(where: str, weights: Any, starts: int, rows: int, dtype: str) -> Array:
    array = as_array(where, "sample_weight", weights)
    if array.shape != (starts, rows):
        fail(where, f"sample_weight has shape {array.shape}", f"({rows},) or ({starts}, {rows}) is needed")
    check_finite(where, "sample_weight", array, dtype)
    if (array < 0).any():
        i, j = np.argwhere(array < 0)[0]
        fail(where, f"sample_weight[{i}, {j}] is {array[i, j]:g}", "weights must be 0 or more")
    return np.ascontiguousarray(array, dtype=np.float64)


def _watchers(where: str, callbacks: Any, validated: bool, starts: int) -> list[Watcher]:
    given = [] if callbacks is None else list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
    made: list[Watcher] = []
    for callback in given:
        if isinstance(callback, EarlyStopping):
            if callback.monitor not in ("loss", "val_loss"):
                fail(where, f"EarlyStopping monitors {callback.monitor!r}", "'loss' or 'val_loss' is needed",
                     "metrics are not computed here")  # fmt: skip
            if callback.monitor == "val_loss" and not validated:
                fail(where, "EarlyStopping monitors 'val_loss' and there is no validation data",
                     "pass validation_data, or monitor='loss'")  # fmt: skip
            made.append(Stopping(callback, starts))
        elif hasattr(callback, "watcher"):
            made.append(callback.watcher(starts))
        else:
            raise TypeError(
                f"{where}: callbacks holds a {type(callback).__name__}, which looks at one model. "
                "EarlyStopping and ReviveDeadUnits can watch many; use fit for one start with the others."
            )
    return made


def _check_memory(
    where: str, model: Model, starts: int, options: Options, rows: int, weights: Array | None
) -> None:
    net = model.net
    size = net.itemsize * net.count() * (2 + 3) + 16 * options.epochs * (net.itemsize // 4)
    total = starts * size + 2 * net.itemsize * rows * (net.inputs + net.outputs)
    check_memory(where, total, f"training {starts:,} nets of {net.count():,} parameters for {options.epochs:,} epochs",
                 "use fewer starts at once, or fewer epochs")  # fmt: skip


def _first_weights(where: str, model: Model, given: Any, starts: int) -> list[Array]:
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


class _Run:
    """One run of `fit_many`; everything was checked before."""

    def __init__(
        self,
        model: Model,
        crowd: Crowd,
        data: Rows,
        weights: Array | None,
        validation: Rows | None,
        options: Options,
        rates: Array | None,
        watchers: list[Watcher],
        bar: ProgressBar,
    ) -> None:
        self.model, self.crowd, self.data, self.weights, self.validation = model, crowd, data, weights, validation
        self.options, self.rates, self.watchers, self.bar = options, rates, watchers, bar
        starts = len(crowd)
        self.history = np.full((options.epochs, starts), np.nan, crowd.value_dtype)
        self.val_history = None if validation is None else self.history.copy()
        self.active = np.ones(starts, dtype=bool)
        self.epochs = np.zeros(starts, dtype=np.int64)

    def train(self, penalties: Array | None) -> Population:
        """Train to the end, or to Ctrl-C."""
        options, bar = self.options, self.bar
        batch = min(options.batch_size, len(self.data))
        batches = math.ceil(len(self.data) / batch)
        bar.set_params({"epochs": options.epochs, "steps": batches, "verbose": bar.verbose, "initial_epoch": 0})
        by_epoch = bool(self.watchers) or self.validation is not None
        epoch, count, interrupted = 0, 1, False
        bar.on_train_begin()
        for watcher in self.watchers:
            watcher.begin(self)
        try:
            while epoch < options.epochs and self.active.any():
                count = 1 if by_epoch else min(count, options.epochs - epoch)
                began = time.perf_counter()
                done, interrupted = self._epochs(epoch, count, batch, batches)
                seconds = time.perf_counter() - began
                if interrupted:
                    break
                epoch += done
                count = max(1, min(int(CALL_SECONDS * done / max(seconds, 1e-9)), 16 * done, CALL_STEPS // batches))
        finally:
            bar.close()
        for watcher in self.watchers:
            watcher.finish(self)
        if interrupted:
            warnings.warn(
                f"fit_many: interrupted in epoch {epoch + 1} of {options.epochs}; the population holds what was "
                "learned by then",
                RuntimeWarning,
                stacklevel=3,
            )
        return Population(self, penalties, batches, interrupted)

    def _epochs(self, epoch: int, count: int, batch: int, batches: int) -> tuple[int, bool]:
        losses = np.full((count, len(self.crowd)), np.nan)
        steps = count * batches
        optimizer = self.model.optimizer

        def progress(share: float) -> None:
            self.bar.running(epoch, share * count, math.nan)

        try:
            result = self.crowd.train(
                self.data,
                self.weights,
                batch_size=batch,
                shuffle=self.options.shuffle,
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
            if result["interrupted"]:
                return count, True
            validated = None
            if self.validation is not None and self.val_history is not None:
                validated = self.crowd.losses(self.validation, None, self.options.n_threads)
                self.val_history[epoch] = np.where(self.active, validated, np.nan)
            for watcher in self.watchers:
                watcher.epoch_end(self, epoch, losses[-1], validated)
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


class Population:
    """What became of many starts of one net; made by `fit_many`.

    Attributes
    ----------
    losses : ndarray of shape (starts,)
        Loss of each net as it is now on the data of `fit_many`, penalties included: what `Model.evaluate` gives.
    history : ndarray of shape (epochs, starts)
        Mean training loss of each epoch, as `fit` reports it; NaN where a net was not trained any more.
    val_history : ndarray of shape (epochs, starts), or None
    epochs : ndarray of shape (starts,)
        Epochs that each net was trained.
    seeds : ndarray of uint64, shape (starts,)
    interrupted : bool
        Whether Ctrl-C ended the training.
    why_one_by_one : str
        Why the nets were trained one to a thread; empty if they shared the lanes of vectors.
    revived : ndarray of shape (starts,)
        How many units `ReviveDeadUnits` has revived in each net.
    """

    def __init__(self, run: _Run, penalties: Array | None, batches: int, interrupted: bool) -> None:
        self._model, self._crowd, self._data, self._weights = run.model, run.crowd, run.data, run.weights
        self._rates, self._penalties, self._batches = run.rates, penalties, batches
        self._changed = ~run.active  # their optimizers' state is not that of their weights
        self.history, self.val_history, self.epochs = run.history, run.val_history, run.epochs
        self.seeds, self.interrupted, self.why_one_by_one = run.crowd.seeds, interrupted, run.crowd.reason
        self.revived = sum((w.revived for w in run.watchers), np.zeros(len(self.seeds), dtype=np.int64))
        if interrupted:
            self._changed = np.ones(len(self), dtype=bool)
            self.history = self.history[: int(self.epochs.max(initial=0))]
        self.losses = run.crowd.losses(run.data, run.weights)

    def __len__(self) -> int:
        return len(self.seeds)

    def __repr__(self) -> str:
        best = self.losses[self.best_index]
        widths = " -> ".join(map(str, (self._model.inputs, *self._model.net.widths)))
        share = self.success_rate()
        return (
            f"<Population of {len(self):,} starts of {widths}, {int(self.epochs.max(initial=0))} epochs: "
            f"best loss {best:.4g}, median {np.median(self.losses):.4g}, {share:.0%} within 10 % of the best>"
        )

    # ---- members ---------------------------------------------------------------------------------------------------

    @property
    def best_index(self) -> int:
        """Number of the net with the smallest loss."""
        return int(np.argmin(np.where(np.isfinite(self.losses), self.losses, np.inf)))

    @property
    def best(self) -> Model:
        """The net with the smallest loss, as a model of its own."""
        return self[self.best_index]

    @property
    def weights(self) -> list[Array]:
        """All tensors, in the order of `Model.get_weights`, each (starts, ...)."""
        return self._crowd.tensors()

    @overload
    def __getitem__(self, index: int) -> Model: ...

    @overload
    def __getitem__(self, index: slice) -> list[Model]: ...

    def __getitem__(self, index: int | slice) -> Model | list[Model]:
        """Net number `index` as a compiled model of its own, which can be trained on; a slice gives a list."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        i = operator.index(index)
        if not -len(self) <= i < len(self):
            raise IndexError(f"Population: start {i} was asked for, and there are {len(self)} starts")
        i %= len(self)
        return self._member(i, self._crowd.tensors(), self._crowd.nets.get_slots())

    def __iter__(self) -> Iterator[Model]:
        tensors, slots = self._crowd.tensors(), self._crowd.nets.get_slots()
        return (self._member(i, tensors, slots) for i in range(len(self)))

    def _member(self, i: int, tensors: list[Array], slots: list[list[Array]]) -> Model:
        config = {**self._model.get_config(), "seed": int(self.seeds[i])}
        if self._penalties is not None:
            config["layers"] = [_scaled_penalties(layer, float(self._penalties[i])) for layer in config["layers"]]
        made = Model.from_config(config)
        optimizer = copy.deepcopy(self._model.optimizer)
        if self._rates is not None:
            optimizer.learning_rate = float(self._rates[i])
        made.compile(optimizer, copy.deepcopy(self._model.loss), metrics=copy.deepcopy(self._model.metrics))
        made.set_weights([tensor[i] for tensor in tensors])
        if not self._changed[i]:
            made.machine.set_slots([[array[i] for array in slot] for slot in slots], int(self.epochs[i]) * self._batches)
            made.machine.epochs_trained = int(self.epochs[i])
        return made

    # ---- what they learned -----------------------------------------------------------------------------------------

    def predict(self, x: Any, *, n_threads: int | None = None) -> Array:
        """Outputs of every net.

        Parameters
        ----------
        x : array of shape (rows, inputs)
        n_threads : int, optional

        Returns
        -------
        ndarray of shape (starts, rows, outputs)
        """
        rows = check_x("predict", x, self._model._shape)
        size = len(self) * len(rows) * self._model.outputs * self._crowd.value_dtype.itemsize
        check_memory("predict", size, f"the outputs of {len(self):,} nets for {len(rows):,} rows", "use fewer rows")
        return self._crowd.predict(rows, n_threads or 0)

    def evaluate(self, x: Any, y: Any, *, sample_weight: Any = None, n_threads: int | None = None) -> Array:
        """Loss of every net on other data, penalties included: (starts,).

        Parameters
        ----------
        x, y, sample_weight, n_threads
            As in `Model.evaluate`.
        """
        data = prepare("evaluate", x, y, sample_weight, self._model._shape, self._model.loss)
        return self._crowd.losses(data, None, n_threads or 0)

    def success_rate(self, rtol: float = 0.1, *, reference: float | None = None) -> float:
        """Share of the nets whose loss is at most ``(1 + rtol)`` times the best.

        Parameters
        ----------
        rtol : float
        reference : float, optional
            What to compare with in place of the best loss of this population.
        """
        best = float(self.losses[self.best_index]) if reference is None else reference
        limit = best + number("success_rate: rtol", rtol, least=0) * abs(best)
        return float(np.mean(self.losses <= limit))

    def outcomes(self, *, rtol: float = 0.1, reference: float | None = None) -> Outcomes:
        """How each start ended: converged, stuck (and on what), diverged, or still moving.

        Parameters
        ----------
        rtol : float
            A net within this share of the best loss has converged.
        reference : float, optional
            The best loss, if it is known better than from this population.

        Returns
        -------
        Outcomes
        """
        from .outcomes import classify

        return classify(self, number("outcomes: rtol", rtol, least=0), reference)

    def plot(self, *, reference: float | None = None) -> Figure:
        """Draw the distribution of the losses and the functions that were learned; see `Outcomes.plot`."""
        return self.outcomes(reference=reference).plot()


def _scaled_penalties(config: Any, factor: float, inside: bool = False) -> Any:
    """A layer's config with the factors of all its regularizers multiplied."""
    if isinstance(config, dict):
        return {key: _scaled_penalties(value, factor, inside or str(key).endswith("_regularizer"))
                for key, value in config.items()}  # fmt: skip
    if isinstance(config, list):
        return [_scaled_penalties(value, factor, inside) for value in config]
    return config * factor if inside and isinstance(config, float) else config


__all__ = ["Population", "fit_many"]
