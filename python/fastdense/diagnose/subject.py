"""The subject of a diagnosis: a model with its data, and all that can be measured without training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..activations import TABLE
from ..arguments import number
from ..arrays import Array, as_array, fail, to_host
from ..callbacks.fitted import Fitted, are_class_weights
from ..data.baseline import constant_predictor
from ..data.checks import FLOAT32_MAX, first_nonfinite
from ..data.prepare import prepare, rows_to_train_on
from ..data.rows import Rows, random_rows
from ..data.weights import check_weights, class_weights
from ..layers import Activation, Dense, Normalization, Preprocessing
from ..layers.preprocessing import encoded
from ..model.base import BaseModel
from .plan import output_activation, output_index
from .task import Task, read_task
from .work import Work, affordable_rows, numbers, products, sizes_of

PROBE_ROWS, FEWEST_PROBED, PROBE_SECONDS = 1024, 128, 0.05  # at most, at least; in between as the work allows
FAR = 20.0  # from the median, in deviations of the ordinary targets: an outlier
HELD_BY_FEW = 0.3  # fraction of the variance that outliers must hold to matter
EACH_ROW = 750  # elementary operations in which a row is compared with all others
FEW_HELD = 10  # rows kept out that say anything
COPIED, APART = 0.05, 0.9  # fraction of copies that matters; of the distinct rows, that a column must tell apart
STATISTICS_ROWS, STATISTICS_NUMBERS = 20_000, 1 << 21  # for scales and repeated rows
MOST_CORRELATED = 1024  # columns
ORDERED, FITTED = 0.5, 0.05  # errors of the logarithms, and of the targets, of a net that fits both
LARGEST = 1e150  # of numbers whose squares can be summed in float64
RANGES = {name: (one.low, one.high) for name, one in TABLE.items() if one.half_bounded}


@dataclass(frozen=True)
class Stage:
    """Inputs and outputs of the activation of a layer (or the last layer) on the probe rows.

    Attributes
    ----------
    layer : int
    name, activation : str
    z, a : ndarray of shape (rows, units)
        Before and after the activation.
    kernel : ndarray of shape (inputs, units) or None
        Of the dense layer; None for an activation layer.
    last : bool
    """

    layer: int
    name: str
    activation: str
    z: Array
    a: Array
    kernel: Array | None
    bias: Array | None
    last: bool

    @cached_property
    def dead(self) -> Array:
        """Units (bool) that are off for every row, with an activation that is constant below 0: their gradient is 0.

        Unlike `initial.revival.constant_units`, which finds units of any activation by what they output.
        """
        if not TABLE[self.activation].dead_below_zero:
            return np.zeros(self.z.shape[1], bool)
        return np.asarray((self.z <= 0).all(axis=0))

    @cached_property
    def constant(self) -> Array:
        """Units (bool) whose output is the same for every row."""
        spread = self.a.max(axis=0) - self.a.min(axis=0)
        return np.asarray(spread <= 1e-6 * np.maximum(np.abs(self.a).max(axis=0), 1e-30))

    @cached_property
    def saturated(self) -> float:
        """Fraction of (row, unit) pairs beyond the saturation limit of the activation; 0 if it has none."""
        limit = TABLE[self.activation].saturation
        return float(np.mean(np.abs(self.z) > limit)) if limit else 0.0


@dataclass(frozen=True)
class State:
    """A model at one point of its training: stages, predictions and gradient on the probe rows."""

    stages: list[Stage]
    predictions: Array
    loss: float  # mean over the probe rows, penalties included; NaN if the loss does not accept the data
    gradient: dict[str, Array]  # by "layer/tensor"
    weights: dict[str, Array]

    def rms(self, tensor: str) -> float:
        """Root mean square of a tensor's gradient."""
        g = self.gradient[tensor]
        return float(np.sqrt(np.mean(np.square(g, dtype=np.float64)))) if g.size else 0.0

    @property
    def kernels(self) -> list[str]:
        """Names of the dense kernels, first to last."""
        return [name for name in self.weights if name.endswith("/kernel")]

    @property
    def hidden(self) -> list[Stage]:
        """Every stage but the last."""
        return [stage for stage in self.stages if not stage.last]

    @property
    def reachable(self) -> tuple[float, float] | None:
        """Smallest and largest output if the last hidden layer is bounded: bias -+ sum |kernel|, over all units."""
        last = self.stages[-1]
        below = [stage for stage in self.stages if stage.layer == last.layer - 1]
        if not below or not TABLE[below[0].activation].bounded or last.kernel is None or last.activation != "linear":
            return None
        low, high = RANGES[below[0].activation]
        bias = 0.0 if last.bias is None else last.bias
        up, down = np.maximum(last.kernel, 0), np.minimum(last.kernel, 0)
        return (
            float(np.min(bias + (up * low + down * high).sum(axis=0))),
            float(np.max(bias + (up * high + down * low).sum(axis=0))),
        )

    @property
    def first_nonfinite(self) -> str | None:
        """Name of the first tensor or layer with NaN or infinity."""
        for name, value in self.weights.items():
            if not np.isfinite(value).all():
                return name
        for stage in self.stages:
            if not np.isfinite(stage.a).all():
                return stage.name
        return None


@dataclass(frozen=True)
class Given:
    """What `diagnose` was given, as to `fit`; None means as in the last `fit`."""

    x: Any
    y: Any
    sample_weight: Any = None
    history: Any = None
    validation_data: Any = None
    validation_split: float | None = None
    class_weight: Any = None


@dataclass(frozen=True)
class Held:
    """Rows that the user's net was not trained on: `x` (rows, inputs) and `y` (rows, columns), float64."""

    x: Array
    y: Array
    missing: Sequence[int] = ()  # columns of x that may hold NaN

    @cached_property
    def usable(self) -> bool:
        """Whether there are at least a few rows, all of numbers that a net takes."""
        return len(self.x) >= FEW_HELD and _is_usable(self.x, LARGEST, self.missing) and _is_usable(self.y, LARGEST)


class Subject:
    """A compiled model and its data. Faults of the data raise no error here: they become findings.

    Attributes
    ----------
    model : BaseModel
        The user's, never changed.
    x, y : ndarray
        What it was trained on: of shape (rows, inputs) and (rows, columns), without the rows kept for validation.
    weights : ndarray of shape (rows,) or None
        Their sample weights.
    class_weight : dict, "balanced" or None
    held : Held or None
        Rows that it was not trained on: those of `validation_data` or `validation_split`.
    copied : float
        Fraction of the validation rows that are copies of rows trained on; `held` is without them.
    fitted : Fitted or None
        What its last `fit` was given.
    problem : str
        The error that `fit` raises for these data; "" if it accepts them.
    weights_refused : bool
        Whether `fit` would accept x and y without the sample weights.
    largest : float
        The largest number that the net's data type and the statistics of a diagnosis can hold.
    usable : bool
        Whether neither x nor y holds NaN, infinity or a larger number.
    history : dict of lists
        Of the training to explain, {} if there was none.
    weights : ndarray of shape (rows,) or None
        Sample weights.
    work : Work
        The budget of the diagnosis, and what was used of it.
    """

    def __init__(self, model: BaseModel, given: Given) -> None:
        self.model, self.given = model, given
        self.loss = model._compiled_loss("diagnose")
        self.record = given.history if given.history is not None else model.history
        self.history: dict[str, list[float]] = _history_of(self.record)
        fitted = getattr(self.record, "fitted", None)
        self.fitted: Fitted | None = fitted if isinstance(fitted, Fitted) else None
        whole = _table("x", to_host(as_array("diagnose", "x", given.x, model.device)), model.inputs)
        raw_y = to_host(as_array("diagnose", "y", given.y, model.device))
        y = _columns(raw_y, len(whole))
        self.validation_split = self._split(given, len(whole))
        cut = rows_to_train_on("diagnose", len(whole), self.validation_split)
        self.x, self.raw_y, self.y = whole[:cut], raw_y[:cut], y[:cut]
        self.class_weight = given.class_weight
        if self.class_weight is None and self.fitted is not None:
            self.class_weight = self.fitted.class_weight
        self.weights: Array | None = None
        self.problem, self.rows, self.weights_refused = "", None, False
        try:
            self.weights = _weights(given.sample_weight, len(whole), cut, model)
            self.rows = self._prepared(self.weights, self.class_weight)
        except ValueError as error:
            self.problem = str(error)
            if given.sample_weight is not None or self.class_weight is not None:
                with suppress(ValueError):
                    self._prepared(None, None)
                    self.weights_refused = True
        self.validation_data = given.validation_data
        self.held, self.copied = self._without_copies(self._kept_out(whole, y, cut))
        self.largest = LARGEST if model.dtype == "float64" else FLOAT32_MAX
        self.usable = _is_usable(self.x, self.largest, model.net.missing) and _is_usable(self.y, self.largest)
        self.work = Work()
        self.work.charge(numbers(8 * (self.x.size + self.y.size)))  # checks and statistics
        if self.held is not None:
            self.work.charge(numbers(EACH_ROW * (len(self.x) + len(self.held.x))))

    # ---- data ------------------------------------------------------------------------------------------------------

    def _prepared(self, weights: Array | None, class_weight: Any) -> Rows:
        """What `fit` would train on; it raises what `fit` would."""
        data = prepare("fit", self.x, self.raw_y, weights, self.model._shape, self.loss)
        return data.weighted(class_weights("fit", class_weight, data.y, self.model._shape, self.loss)).on_host()

    def _split(self, given: Given, rows: int) -> float:
        """The fraction of the rows given that was kept for validation."""
        if given.validation_data is not None:
            return 0.0
        if given.validation_split is not None:
            return number("diagnose: validation_split", given.validation_split, least=0, below=1)
        known = self.fitted
        same = known is not None and rows == known.rows + known.validation_rows
        return known.validation_split if known is not None and same else 0.0

    def _kept_out(self, x: Array, y: Array, cut: int) -> Held | None:
        """The rows that `fit` did not train on."""
        if self.validation_data is None:
            targets = np.asarray(y[cut:], np.float64)
            return Held(x[cut:], targets, self.model.net.missing) if cut < len(x) else None
        if not isinstance(self.validation_data, (tuple, list)) or len(self.validation_data) not in (2, 3):
            fail("diagnose", f"validation_data is a {type(self.validation_data).__name__}",
                 "a tuple (x, y) or (x, y, sample_weight) is needed", "pass it as to fit")  # fmt: skip
        name, device = "validation x", self.model.device
        other = _table(name, to_host(as_array("diagnose", name, self.validation_data[0], device)), self.model.inputs)
        targets = to_host(as_array("diagnose", "validation y", self.validation_data[1], device))
        return Held(other, np.asarray(_columns(targets, len(other)), dtype=np.float64), self.model.net.missing)

    def _without_copies(self, held: Held | None) -> tuple[Held | None, float]:
        """Rows kept out that are no copies of rows trained on, and the fraction that are."""
        if held is None or held.y.shape[1] != self.y.shape[1] or not self._few_enough(len(held.x)):
            return held, 0.0
        known = set(_as_bytes(self.x, self.y))
        copy = np.array([row in known for row in _as_bytes(held.x, held.y)])
        if not copy.any() or not _tells_rows_apart(np.concatenate([self.x, held.x])):
            return held, 0.0
        return (None if copy.all() else Held(held.x[~copy], held.y[~copy])), float(copy.mean())

    @cached_property
    def groups(self) -> Array | None:
        """For every usable row the number of the first row that it is a copy of; None if there are no copies.

        Rows of equal x and y count as copies where each of two columns of x tells all other rows apart: rows of codes
        are equal without being copies. Looked for where all rows can be looked at.
        """
        if not self._few_enough(0):
            return None
        self.work.charge(numbers(EACH_ROW * len(self.x)))
        first: dict[bytes, int] = {}
        made = np.array([first.setdefault(row, i) for i, row in enumerate(_as_bytes(self.good_x, self.good_columns))])
        return made if len(first) < (1 - COPIED) * len(made) and _tells_rows_apart(self.good_x) else None

    def _few_enough(self, more: int) -> bool:
        """Whether all rows, and so many more, may be looked at one by one."""
        return len(self.x) + more <= STATISTICS_ROWS and (len(self.x) + more) * self.x.shape[1] <= STATISTICS_NUMBERS

    @cached_property
    def good(self) -> Array:
        """Rows (bool) of usable numbers alone."""
        if self.usable:
            return np.ones(len(self.x), bool)
        return np.asarray(~(self.bad_x.any(axis=1) | self.bad_y.any(axis=1)))

    @property
    def bad_x(self) -> Array:
        """Which numbers (bool) of x are NaN, but for columns where the net takes that, infinite or too large."""
        return _bad(self.x, self.largest, self.model.net.missing)

    @property
    def bad_y(self) -> Array:
        """Which numbers (bool) of y are NaN, infinite or too large."""
        return _bad(self.y, self.largest)

    def filled(self, x: Array) -> Array:
        """The same rows with the median of a column, over the usable rows, for NaN."""
        missing = list(self.model.net.missing)
        if not missing or x.dtype.kind != "f":
            return x
        made = np.where(np.isnan(x), 0.0, x).astype(x.dtype, copy=False)
        made[:, missing] = np.where(np.isnan(x[:, missing]), self._medians.astype(x.dtype), x[:, missing])
        return made

    @cached_property
    def _medians(self) -> Array:
        columns = np.asarray(random_rows(self.good_x, self._sample_size), dtype=np.float64)[
            :, list(self.model.net.missing)
        ]
        known = [column[~np.isnan(column)] for column in columns.T]
        return np.array([np.median(one) if len(one) else 0.0 for one in known])

    @cached_property
    def good_x(self) -> Array:
        """Rows of x whose numbers, and whose targets, are usable."""
        return self._good_rows(self.x)

    @cached_property
    def good_y(self) -> Array:
        """The targets of `good_x`, as they were given."""
        return self._good_rows(self.raw_y)

    @cached_property
    def good_columns(self) -> Array:
        """The targets of `good_x`, of shape (rows, columns)."""
        return self._good_rows(self.y)

    @cached_property
    def conditioning(self) -> float:
        """Largest eigenvalue of the correlations of x over that below which a tenth of them lie.

        Gradient steps take so many times longer along some directions of the first layer's weights than along others,
        also with standardized columns. Infinite if that tenth is 0.
        """
        mean, sd = self.column_scale
        moving = np.flatnonzero(sd > 0)[:MOST_CORRELATED]
        x = random_rows(self.sample_x, max(PROBE_ROWS, 4 * len(moving)))[:, moving]
        if not len(moving):
            return 1.0
        self.work.charge(products(len(x) * len(moving) ** 2 + 10 * len(moving) ** 3))
        x = (x - mean[moving]) / sd[moving]
        values = np.linalg.eigvalsh(x.T @ x / len(x))
        tenth = float(values[len(values) // 10])
        return float(values[-1]) / tenth if tenth > 1e-12 else math.inf

    @cached_property
    def normalization(self) -> Normalization:
        """A layer that standardizes the usable rows of x."""
        return Normalization().adapt(np.ascontiguousarray(self.good_x))

    def normalization_after(self, front: Sequence[Preprocessing]) -> Normalization:
        """A layer that standardizes the usable rows of x once these layers have encoded them."""
        if not front:
            return self.normalization
        return Normalization().adapt(encoded(front, random_rows(self.good_x, self._sample_size)))

    @cached_property
    def sample_x(self) -> Array:
        """A sample of the usable rows of x, float64 and without NaN."""
        return self.filled(np.asarray(random_rows(self.good_x, self._sample_size), dtype=np.float64))

    @cached_property
    def sample_y(self) -> Array:
        """The targets of `sample_x`, float64."""
        return np.asarray(random_rows(self._good_rows(self.y), self._sample_size), dtype=np.float64)

    @cached_property
    def outliers(self) -> Array:
        """Numbers, among the usable rows, of the few whose targets are far from all others and hold much variance."""
        return self._outliers[0]

    @property
    def outliers_share(self) -> float:
        """Fraction of the variance of a column of y that they hold."""
        return self._outliers[1]

    @cached_property
    def _outliers(self) -> tuple[Array, float]:
        none = np.zeros(0, np.intp), 0.0
        if self.task.kind != "regression" or self.y.shape[1] > FEW_HELD or len(self.y) < PROBE_ROWS // 32:
            return none
        y = np.asarray(self._good_rows(self.y), dtype=np.float64)
        distance = np.abs(y - np.median(y, axis=0))
        spread = np.array([1.4826 * np.median(column[column > 0]) if column.any() else 1.0 for column in distance.T])
        odd = np.flatnonzero((distance > FAR * spread).any(axis=1))
        if not 0 < len(odd) <= max(3, len(y) // 100):
            return none
        square = np.square(y - y.mean(axis=0))
        share = float(np.max(square[odd].sum(axis=0) / np.maximum(square.sum(axis=0), 1e-300)))
        return (odd, share) if share > HELD_BY_FEW else none

    @property
    def _sample_size(self) -> int:
        columns = int(self.x.shape[1] + self.y.shape[1])
        return max(PROBE_ROWS, min(STATISTICS_ROWS, STATISTICS_NUMBERS // columns))

    def _good_rows(self, array: Array) -> Array:
        return array if self.usable else array[self.good]

    @cached_property
    def task(self) -> Task:
        """The task, inferred from the targets."""
        y = self._good_rows(self.y) if self.y.shape[1] == 1 else self.sample_y  # all rows: a class may be rare
        if self.held is not None and self.held.usable and self.held.y.shape[1] == y.shape[1]:
            y = np.concatenate([np.asarray(y, dtype=np.float64), self.held.y])
        task = read_task(
            np.asarray(y, dtype=np.float64),
            self.loss,
            self.activation,
            self.model.outputs,
            [metric.name for metric in self.model.metrics],
        )
        if task.kind in ("binary", "classes") and (self.class_weight is not None or self._by_class()):
            return replace(task, balanced=True)
        return task.unscaled() if task.scale and self.trained and self._fits_decades(task) else task

    def _by_class(self) -> bool:
        """Whether the rows were weighed by their classes, as with class weights."""
        if self.weights is None:
            return self.fitted is not None and self.fitted.by_class
        return are_class_weights(self.y, self.weights)

    def _fits_decades(self, task: Task) -> bool:
        """Whether the net fits targets over decades as they are, and not the largest alone."""
        self.work.charge(sizes_of(self.model).forward(len(self.sample_x)))
        p = self.model.predict(np.ascontiguousarray(self.sample_x))
        return task.errors(self.sample_y, p, 0.5) < ORDERED and task.unscaled().errors(self.sample_y, p, 0.5) < FITTED

    @cached_property
    def activation(self) -> str:
        """Name of the output activation."""
        return output_activation(self.model.layers)

    @cached_property
    def output_layer(self) -> str:
        """Name of the layer with the output activation."""
        return self.model.net.names[output_index(self.model.layers)]

    @property
    def from_logits(self) -> bool:
        """Whether the loss applies softmax or sigmoid itself."""
        return bool(getattr(self.loss, "from_logits", False))

    def threshold(self, activation: str, loss: Any) -> float:
        """Decision threshold of a single output."""
        if loss.kind == "hinge" or getattr(loss, "from_logits", False):
            return 0.0
        if loss.kind == "binary_crossentropy" or not len(self.task.labels):
            return 0.5
        if activation == "sigmoid":
            return max(0.5, float(self.task.labels.mean()))
        return float(self.task.labels.mean())

    @cached_property
    def baseline(self) -> tuple[Array, float] | None:
        """The best constant prediction and its loss; None if the loss does not accept the targets."""
        if self.rows is None:
            return None
        y, w = self.rows.y, self.rows.w
        y, w = random_rows(y, STATISTICS_ROWS), None if w is None else random_rows(w, STATISTICS_ROWS)
        constant, value = constant_predictor(self.loss, y, w, self.model.outputs)
        return (constant, value) if np.isfinite(value) else None

    @cached_property
    def column_scale(self) -> tuple[Array, Array]:
        """Mean and standard deviation of every column of x."""
        return self.scale_after(())

    def scale_after(self, front: Sequence[Preprocessing]) -> tuple[Array, Array]:
        """The same of the columns that these layers make of x."""
        x = encoded(front, self.sample_x)
        return x.mean(axis=0), x.std(axis=0)

    # ---- the net on the probe rows -----------------------------------------------------------------------------------

    @cached_property
    def probe_rows(self) -> int:
        """How many rows the net is examined on: fewer for a large net."""
        return affordable_rows(PROBE_SECONDS, sizes_of(self.model).gradient(1), FEWEST_PROBED, PROBE_ROWS)

    @cached_property
    def probe(self) -> Rows | None:
        """At most `probe_rows` rows; None if `fit` rejects the data."""
        if self.rows is None:
            return None
        count = self.probe_rows
        w = None if self.rows.w is None else random_rows(self.rows.w, count)
        return Rows(random_rows(self.rows.x, count), random_rows(self.rows.y, count), w)

    @property
    def trained(self) -> bool:
        """Whether the model has been trained, or was loaded with the history of its training."""
        return bool(self.model.runner.step or self.model.runner.epochs_trained or self.history)

    @cached_property
    def given_weights(self) -> list[Array] | None:
        """The weights of an untrained model; None if they are those of its seed."""
        if self.trained:
            return None
        now, then = self.model.get_weights(), self.model.clone().get_weights()
        taken = {i for one in self.model.net.statistics for i in range(len(now))[one.tensors]}
        same = all(np.array_equal(now[i], then[i]) for i in range(len(now)) if i not in taken)
        return None if same else now

    @cached_property
    def fresh(self) -> BaseModel:
        """The model with its initial weights, input statistics adapted."""
        self.work.charge(sizes_of(self.model).made)
        made = self.model.clone()
        if self.given_weights is not None:
            made.set_weights(self.given_weights)
        made.runner.adapt(np.ascontiguousarray(self.good_x))
        return made

    @cached_property
    def start(self) -> State:
        """The net with its initial weights."""
        return self.state_of(self.fresh)

    @cached_property
    def now(self) -> State:
        """The net with its current weights."""
        return self.state_of(self.model) if self.trained else self.start

    def state_of(self, model: BaseModel) -> State:
        """Measure a model on the probe rows."""
        x = random_rows(self.good_x, self.probe_rows)
        net = sizes_of(model)
        self.work.charge(2 * net.forward(len(x)) + net.gradient(len(x)) + numbers(4 * net.parameters))
        with np.errstate(all="ignore"):
            outputs = model.runner.activations(np.ascontiguousarray(x), 0)
            names = [tensor.name for tensor in model.net.tensors]
            weights = dict(zip(names, model.get_weights(), strict=True))
            loss, gradient = math.nan, {}
            if self.probe is not None:
                loss, parts = model.runner.loss_and_grad(self.probe, False, 0)
                trainable = [tensor.name for tensor in model.net.tensors if tensor.trainable]
                gradient = dict(zip(trainable, parts, strict=True))
            return State(_stages(model, x, outputs, weights), np.asarray(outputs[-1]), loss, gradient, weights)

    # ---- the training to explain -------------------------------------------------------------------------------------

    @cached_property
    def options(self) -> dict[str, Any]:
        """batch_size, epochs, shuffle and seconds of that training, as far as known."""
        params = getattr(self.record, "params", None)
        known = dict(params) if isinstance(params, Mapping) else {}
        losses = self.history.get("loss", [])
        found: dict[str, Any] = {}
        epochs = max(len(losses), self.model.runner.epochs_trained)
        if epochs:
            found["epochs"] = epochs
        if known.get("batch_size"):
            found["batch_size"] = int(known["batch_size"])
        elif known.get("steps"):
            found["batch_size"] = math.ceil(len(self.x) / max(1, int(known["steps"])))
        for name in ("shuffle", "seconds"):
            if name in known:
                found[name] = known[name]
        return found


def _table(name: str, array: Array, inputs: int) -> Array:
    if array.ndim == 1 and inputs == 1:
        array = array.reshape(-1, 1)
    if array.ndim > 2 and array.shape[0] and array[0].size == inputs:
        array = array.reshape(len(array), -1)
    if array.ndim != 2 or array.shape[1] != inputs or not len(array):
        fail("diagnose", f"{name} has shape {array.shape}", f"the model takes (rows, {inputs})",
             f"pass {name} as to fit")  # fmt: skip
    return array


def _weights(weights: Any, rows: int, cut: int, model: BaseModel) -> Array | None:
    """Sample weights of the rows before the cut, given for all rows or for those."""
    if weights is None:
        return None
    count = cut if cut < rows and getattr(weights, "shape", (len(weights),))[0] == cut else rows
    checked = check_weights("fit", weights, count, dtype=model.dtype, device=model.device)
    return None if checked is None else np.asarray(to_host(checked))[:cut]


def _as_bytes(x: Array, y: Array) -> list[bytes]:
    """Every row with its targets: equal rows have equal bytes."""
    table = np.concatenate([np.asarray(x, np.float64), np.asarray(y, np.float64)], axis=1) + 0.0  # no -0.0
    return [row.tobytes() for row in np.ascontiguousarray(table)]


def _tells_rows_apart(x: Array) -> bool:
    """Whether two columns or more have about as many values as there are distinct rows; one may hold codes."""
    rows = len({row.tobytes() for row in np.ascontiguousarray(x) + 0.0})
    return rows > 1 and sum(len(np.unique(column)) >= APART * rows for column in x.T) > 1


def _columns(array: Array, rows: int) -> Array:
    if array.ndim == 0 or len(array) != rows or not array.size:
        given = f"y has shape {array.shape}"
        fail("diagnose", f"x has {rows} rows and {given}", "one target per row is needed", "cut both from one table")
    return array.reshape(rows, -1)


def _is_usable(array: Array, largest: float, missing: Sequence[int] = ()) -> bool:
    if array.dtype.kind != "f" or not array.size:
        return True
    if first_nonfinite(array) < 0:
        return bool(array.max() <= largest and array.min() >= -largest)
    return bool(missing) and not _bad(array, largest, missing).any()


def _bad(array: Array, largest: float, missing: Sequence[int] = ()) -> Array:
    bad = np.asarray(~(np.abs(array) <= largest))
    if missing and array.dtype.kind == "f":
        columns = list(missing)
        bad[:, columns] &= ~np.isnan(array[:, columns])
    return bad


def _history_of(record: Any) -> dict[str, list[float]]:
    if record is None:
        return {}
    found = record if isinstance(record, Mapping) else getattr(record, "history", None)
    needed, remedy = "what fit returned is needed", "pass history=model.fit(...), or its .history dict"
    if not isinstance(found, Mapping):
        fail("diagnose", f"history is a {type(record).__name__}", needed, remedy)
    try:
        return {str(key): [float(value) for value in values] for key, values in found.items()}
    except (TypeError, ValueError, OverflowError) as error:
        fail("diagnose", f"history holds something else than lists of floats ({error})", needed, remedy)


def _stages(model: BaseModel, x: Array, outputs: list[Array], weights: dict[str, Array]) -> list[Stage]:
    """Every dense or activation layer with an activation, and the last one in any case."""
    layers, names = model.layers, model.net.names
    places = [i for i, layer in enumerate(layers) if isinstance(layer, (Dense, Activation))]
    stages = []
    for i in places:
        layer = layers[i]
        below = np.asarray(x if i == 0 else outputs[i - 1])
        last = i == places[-1]
        kernel = bias = None
        if isinstance(layer, Dense):
            kernel = weights[f"{names[i]}/kernel"]
            bias = weights[f"{names[i]}/bias"] if layer.use_bias else None
            z = below.astype(kernel.dtype) @ kernel  # in the net's own precision: a large kernel is not copied
            z = z if bias is None else z + bias
        else:
            z = below
        z = np.asarray(z, dtype=np.float64)
        assert isinstance(layer, (Dense, Activation))
        if last or layer.activation != "linear":
            a = np.asarray(outputs[i], dtype=np.float64)
            stages.append(Stage(i, names[i], layer.activation, z, a, kernel, bias, last))
    return stages
