"""`BaseModel`: layers, weights, training, evaluation, prediction, copies and files of a model."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from .. import losses, metrics, optimizers
from ..arguments import file_path, flag, integer, items, keywords_checked, number, optional_text
from ..arrays import Array, as_array, check_memory, fail
from ..callbacks import CallbackList, History, ProgressBar, ReviveDeadUnits
from ..callbacks.base import check_callbacks
from ..callbacks.fitted import Fitted
from ..callbacks.probes import Probes
from ..callbacks.progress import check_verbose, say, text_of
from ..data.checks import check_x
from ..data.prepare import prepare, prepare_validation, rows_to_train_on
from ..data.rows import Rows, Shape, evenly_spaced_rows
from ..data.weights import class_weights
from ..engine.factory import check_device
from ..engine.gpu import is_available
from ..initial import closed_form, placement
from ..initial.spread import spread_one, untouched_data_layers
from ..layers import Layer
from ..network import Net
from ..runners.lock import CallLock
from ..runners.single import Runner
from ..specs import resolve
from ..training.feasible import check_batch_memory, check_solver
from ..training.hints import hint
from ..training.logs import columns
from ..training.loop import Fit
from ..training.options import Options, check_batch_size, check_threads
from ..training.search import start_from_best
from . import files

M = TypeVar("M", bound="BaseModel")
_NUMBERS = "optimizer.numbers"  # name in a file of the few numbers that an optimizer keeps


class BaseModel:
    """A net, the runner that computes it, and how it is trained; see `fastdense.Model`."""

    @keywords_checked
    def __init__(
        self,
        layers: Sequence[Any],
        *,
        inputs: int,
        seed: int = 0,
        dtype: str = "float32",
        precision: str | None = None,
        device: str = "cpu",
        name: str | None = None,
    ) -> None:
        check_device(device)
        self._begin(Net(layers, inputs, seed, dtype, precision), device, name)

    def _begin(self, net: Net, device: str, name: str | None, values: Sequence[Array] | None = None) -> None:
        """Become the model of a net, with its first values or with those given, and not compiled."""
        self.name = optional_text("Model: name", name) or "model"
        self.net, self.runner = net, Runner(net, device, values)
        self._optimizer: optimizers.Optimizer | None = None
        self._loss: losses.Loss | None = None
        self._metrics: list[metrics.Metric] = []
        self._loss_weight = 1.0
        self.stop_training = False
        self.history: History | None = None
        self.hinted = False  # whether `fit` has printed its hint
        self._fitting = CallLock()  # what a running fit relies on, `compile` and `to` change only before or after it

    # ---- what it is ------------------------------------------------------------------------------------------------

    @property
    def layers(self) -> list[Layer]:
        """The layers."""
        return list(self.net.layers)

    @property
    def inputs(self) -> int:
        """Number of columns of the data."""
        return self.net.inputs

    @property
    def outputs(self) -> int:
        """Number of outputs per row."""
        return self.net.outputs

    @property
    def seed(self) -> int:
        """The seed."""
        return self.net.seed

    @property
    def dtype(self) -> str:
        """Data type of the parameters; the reference engine works in float64 whatever this says."""
        return self.net.dtype

    @property
    def precision(self) -> str | None:
        """The precision of matrix products' operands: "tf32", "bfloat16", or None for that of `dtype`."""
        return self.net.precision

    @property
    def device(self) -> str:
        """The device that computes the model; `to` changes it."""
        return self.runner.device

    @property
    def compiled(self) -> bool:
        """Whether `compile` was called."""
        return self._loss is not None

    @property
    def optimizer(self) -> optimizers.Optimizer:
        """The optimizer; its `learning_rate` may be assigned at any time."""
        self._compiled_loss("optimizer")
        assert self._optimizer is not None
        return self._optimizer

    @property
    def loss(self) -> losses.Loss:
        """The loss."""
        return self._compiled_loss("loss")

    @property
    def loss_weights(self) -> float:
        """Factor of the loss, 1 unless `compile` was given another."""
        return self._loss_weight

    @property
    def _shape(self) -> Shape:
        """What the checks of data need to know."""
        return Shape(self.net.inputs, self.net.outputs, self.net.dtype, self._loss_weight, self.device)

    @property
    def metrics(self) -> list[metrics.Metric]:
        """The metrics, empty before `compile`."""
        return list(self._metrics)

    @property
    def metrics_names(self) -> list[str]:
        """Names of what `evaluate` returns: "loss", then the metrics."""
        return ["loss", *(metric.name for metric in self._metrics)]

    @property
    def weights(self) -> list[Array]:
        """Same as `get_weights`."""
        return self.get_weights()

    def count_params(self) -> int:
        """Number of parameters, those that training does not change included."""
        return self.net.count()

    def summary(self, *, print_fn: Callable[[str], object] | None = None) -> None:
        """Print a table of the layers with their output shapes and parameters.

        Parameters
        ----------
        print_fn : callable, optional
            Called with the table as one string; `print` by default.
        """
        (print if print_fn is None else print_fn)(self.net.summary(self.name))

    def __repr__(self) -> str:
        widths = " -> ".join(map(str, (self.inputs, *self.net.widths)))
        dtype = f"{self.dtype}, {self.precision}" if self.precision not in (None, self.dtype) else self.dtype
        return f"<Model {self.name!r} {widths}, {self.count_params():,} parameters, {dtype} on {self.device}>"

    # ---- compile ---------------------------------------------------------------------------------------------------

    @keywords_checked
    def compile(
        self, optimizer: Any = "rmsprop", loss: Any = None, *, metrics: Any = None, loss_weights: float | None = None
    ) -> None:
        """Configure the model for training. The optimizer's state is reset; the parameters stay.

        While another thread is inside of `fit`, this waits for its end; so does `to`.

        Parameters
        ----------
        optimizer : str or Optimizer, default "rmsprop"
        loss : str or Loss
        metrics : str, Metric or list of these, optional
            What `fit` and `evaluate` report besides the loss.
        loss_weights : float, default 1
            Factor of the loss, not of penalties and metrics; above 0. The reciprocal of the targets' variance scales
            the mse, and its gradient, to about 1.

        Raises
        ------
        ValueError, TypeError
            If a name is unknown, a metric has no meaning for this loss and this number of outputs, or a callback of
            `fit` calls this.
        """
        if loss is None:
            fail(
                "compile",
                "loss is missing",
                "a loss is needed",
                "e.g. loss='mse', or 'sparse_categorical_crossentropy'",
            )
        chosen_optimizer = optimizers.get(optimizer, "compile: optimizer")
        chosen_loss = losses.get(loss, "compile: loss")
        chosen_metrics = _metric_list(metrics)
        weight = 1.0 if loss_weights is None else number("compile: loss_weights", loss_weights, above=0)
        check_solver("compile", chosen_optimizer, chosen_loss, self.net)
        if self._fitting.mine:
            fail("compile", "a callback of fit called it", "it cannot change a training that runs",
                 "set model.optimizer.learning_rate there, or call compile after fit")  # fmt: skip
        with self._fitting, self.runner.lock:
            self.runner.configure(chosen_optimizer, chosen_loss, chosen_metrics)
            self._optimizer, self._loss, self._metrics = chosen_optimizer, chosen_loss, chosen_metrics
            self._loss_weight = weight

    def _compiled_loss(self, where: str) -> losses.Loss:
        if self._loss is None:
            fail(where, "the model is not compiled", "an optimizer and a loss are needed",
                 "call model.compile(optimizer='adam', loss='mse') first")  # fmt: skip
        return self._loss

    # ---- training --------------------------------------------------------------------------------------------------

    @keywords_checked
    def fit(
        self,
        x: Any,
        y: Any,
        *,
        batch_size: int | None = 32,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        starts: int = 1,
        probes: bool = False,
        n_threads: int | None = None,
    ) -> History:
        """Train the model. Called again, it continues with the optimizer's state and a new order of the rows.

        Parameters
        ----------
        x : array of shape (rows, inputs)
            NumPy of any real dtype (also read-only, in Fortran order, or memory-mapped and larger than memory), lists,
            data frames, tensors. float32, float64, integers and bools are used in place, never copied as a whole.
            A model on "cuda" also accepts arrays on the GPU: CuPy's and whatever offers DLPack or
            ``__cuda_array_interface__``; so for y and weights, each where it is (docs/cuda.md).
        y : array of shape (rows, outputs), or class ids (rows,) for a sparse loss
            (rows,) also means one column if the net has one output; nothing else is broadcast.
        batch_size : int
            Rows per step, 32 if None. The last batch of an epoch may be short. Full-batch optimizers (`LBFGS`) take all
            rows: leave it out for them.
        epochs : int
            Number of the epoch to stop before; trains `epochs - initial_epoch` epochs.
        verbose : {"auto", 0, 1, 2}
            0 is silent, 1 a progress bar, 2 one line per epoch; "auto" a bar on a terminal, else at most 20 lines.
        callbacks : list of Callback, optional
        validation_split : float
            Fraction of the rows, from 0 to below 1, to validate on: the *last* ones, before any shuffling, as in Keras.
        validation_data : (x, y) or (x, y, sample_weight), optional
            Evaluated after each epoch; replaces `validation_split`.
        shuffle : bool
            Whether each epoch uses a new random order of the rows, the same at any number of threads.
        class_weight : dict or "balanced", optional
            Weight of each class id, 1 for those not named; "balanced" gives all classes the same total weight.
            Multiplies `sample_weight`; validation is not weighted.
        sample_weight : array of shape (rows,), optional
            Weight of each row in the loss, at least 0; rows of weight 2 count as if they were there twice.
        initial_epoch : int
            Number of the first epoch.
        starts : int
            More than 1: first try so many starts at once for a short time, units spread over the data, as
            ``fit_many(..., start="data", tries=starts)`` does; take over weights and optimizer state of the best, then
            train it for all epochs. Later calls of ``fit`` should leave it out: it forgets what was learned.
        probes : bool
            Record statistics of every unit (off, saturated, mean and variance, norms of gradient, weights and steps)
            in ``history.probes``, a `fastdense.callbacks.probes.Probes`. It costs a few per cent and changes no bit of
            the training. Full-batch optimizers (`LBFGS`) record nothing.
        n_threads : int, optional
            By default as many as this process may use.

        Returns
        -------
        History
            `history.history["loss"]` and so on, one number per epoch.

        Raises
        ------
        ValueError, TypeError
            If the data or an argument are invalid; the model is unchanged then.
        KeyboardInterrupt
            On Ctrl-C, within 0.2 s: the model is that of the last finished step, or of the best epoch with
            ``EarlyStopping(restore_best_weights=True)``; `model.history` holds the finished epochs, and `fit` can go
            on. While it tries several `starts`, the model becomes the best of them by then, with an optimizer's state
            as after `compile`; before their first epoch has ended, it is unchanged. The message says which.
        """
        with self._fitting:
            # check
            loss = self._compiled_loss("fit")
            options = Options.checked("fit", batch_size, epochs, initial_epoch, shuffle, n_threads)
            bar = ProgressBar(check_verbose("fit", verbose))
            users = check_callbacks("fit", callbacks)
            data = prepare("fit", x, y, sample_weight, self._shape, loss)
            validation = None
            cut = rows_to_train_on("fit", len(data), validation_split)
            if validation_data is not None:
                validation = prepare_validation("fit", validation_data, self._shape, loss)
            elif cut < len(data):
                data, validation = data.part(slice(0, cut)), data.part(slice(cut, None))
            split = 0.0 if validation_data is not None else float(validation_split)
            data = data.weighted(class_weights("fit", class_weight, data.y, self._shape, loss))
            options = options.for_rows(self.optimizer, len(data))
            if not self.optimizer.full_batch:
                check_batch_memory("fit", self.net, min(options.batch_size, len(data)), self.device)
            starts = integer("fit: starts", starts, least=1)
            probed = flag("fit: probes", probes) and not self.optimizer.full_batch
            # prepare first values
            self.runner.adapt(data.x)
            self._place_untouched_layers(data, options.n_threads)
            if starts > 1:
                start_from_best(self.runner, self.optimizer, loss, self._metrics, data, options, starts)
            # train
            history = self._new_history(data, options, probed)
            weighted, validated = sample_weight is not None, 0 if validation is None else len(validation)
            fitted = Fitted.of(data.x, data.y, data.w, validated, split, class_weight, weighted, users, self.optimizer)
            history.fitted = fitted
            params = {
                "epochs": options.epochs,
                "steps": math.ceil(len(data) / options.batch_size),
                "verbose": bar.verbose,
                "initial_epoch": options.initial_epoch,
                "batch_size": options.batch_size,
                "shuffle": options.shuffle,
            }
            for callback in users:
                if isinstance(callback, ReviveDeadUnits):
                    callback.rows, callback.n_threads = evenly_spaced_rows(data.x), n_threads
            self.history = history
            listeners = CallbackList([*users, history, bar], self, params)
            began = time.perf_counter()
            try:
                run = Fit(self.runner, self.optimizer, self._metrics, data, validation, options, listeners)
                run.run()
                self._hint(data, history, run.bars, options.n_threads)
            finally:
                history.params["seconds"] = time.perf_counter() - began
                fitted.ended_by(listeners.stopper, len(history.epoch))
            return history

    def _place_untouched_layers(self, data: Rows, n_threads: int) -> None:
        """Before the first fit: place the units of layers with ``kernel_initializer="data"`` over the data."""
        layers = untouched_data_layers(self.runner)
        if layers:
            tensors = [np.asarray(tensor, dtype=np.float64)[None] for tensor in self.get_weights()]
            spread_one(self.runner, data, self.loss.kind, tensors, layers, n_threads)

    def _new_history(self, data: Rows, options: Options, probed: bool) -> History:
        history = History()
        if probed:
            period = self.runner.probe_period(len(data), options.batch_size)
            steps = math.ceil(len(data) / options.batch_size)
            history.probes = Probes(self.net, period, steps, options.epochs - options.initial_epoch)
        return history

    def _hint(self, data: Rows, history: History, bars: list[ProgressBar], n_threads: int) -> None:
        """Print one line if the training plainly failed, once for a model."""
        if self.hinted or all(bar.verbose == 0 for bar in bars):
            return
        line = hint(self.runner, self.loss, data, history.history.get("loss", []), n_threads)
        if line is not None:
            self.hinted = True
            print(line)

    @keywords_checked
    def train_on_batch(
        self, x: Any, y: Any, sample_weight: Any = None, class_weight: Any = None, *, return_dict: bool = False
    ) -> Any:
        """Make one optimizer step with all rows as one batch.

        Parameters
        ----------
        x, y, sample_weight, class_weight
            As in `fit`.
        return_dict : bool

        Returns
        -------
        float, list of float or dict
            Loss and metrics of this batch, before the step, in the form of `evaluate`.
        """
        return_dict = flag("train_on_batch: return_dict", return_dict)
        with self.runner.lock:
            loss = self._compiled_loss("train_on_batch")
            data = prepare("train_on_batch", x, y, sample_weight, self._shape, loss)
            data = data.weighted(class_weights("train_on_batch", class_weight, data.y, self._shape, loss))
            check_batch_memory("train_on_batch", self.net, len(data), self.device)
            result = self.runner.train(
                self.optimizer, data, None, batch_size=len(data), shuffle=False, steps=1, whole_epochs=False
            )
            if result["interrupted"]:
                raise KeyboardInterrupt
            logs = self._results(result["partial"])
        return logs if return_dict else _in_a_list(logs)

    # ---- use -------------------------------------------------------------------------------------------------------

    @keywords_checked
    def evaluate(
        self,
        x: Any,
        y: Any,
        *,
        batch_size: int | None = None,
        sample_weight: Any = None,
        verbose: int | str = "auto",
        return_dict: bool = False,
        callbacks: Any = None,
        n_threads: int | None = None,
    ) -> Any:
        """Loss, penalties included, and metrics over all rows, without dropout and with moving statistics.

        Parameters
        ----------
        x, y, sample_weight, callbacks, n_threads
            As in `fit`.
        batch_size : int, optional
            Accepted as in Keras; the engine chooses its own, which changes no result.
        verbose : {"auto", 0, 1, 2}
            1 and 2 print one line, "auto" does so on a terminal.
        return_dict : bool
            Whether to return a dict by name.

        Returns
        -------
        float, list of float or dict
            The loss if there are no metrics, else the loss and the metrics in the order of `metrics_names`.
        """
        loss, shape, began = self._compiled_loss("evaluate"), self._shape, time.perf_counter()
        check_batch_size("evaluate", batch_size)
        verbose, threads = check_verbose("evaluate", verbose), check_threads("evaluate", n_threads)
        return_dict = flag("evaluate: return_dict", return_dict)
        listeners = CallbackList(check_callbacks("evaluate", callbacks), self, {"steps": 1, "verbose": verbose})
        data = prepare("evaluate", x, y, sample_weight, shape, loss)
        listeners.call("on_test_begin", {})
        listeners.call("on_test_batch_begin", 0, {})
        with self.runner.lock:
            if (self._loss, self._shape) != (loss, shape):  # another thread has changed it meanwhile
                data = prepare("evaluate", x, y, sample_weight, self._shape, self._compiled_loss("evaluate"))
            totals = self.runner.totals(data, threads)
            logs = self._results(totals)
        listeners.call("on_test_batch_end", 0, logs)
        listeners.call("on_test_end", logs)
        say(verbose, f"evaluate: {text_of(logs)} ({len(data)} rows, {time.perf_counter() - began:.2g} s)")
        return logs if return_dict else _in_a_list(logs)

    @keywords_checked
    def predict(
        self,
        x: Any,
        *,
        batch_size: int | None = None,
        verbose: int | str = 0,
        callbacks: Any = None,
        n_threads: int | None = None,
    ) -> Array:
        """Outputs for rows, without dropout and with moving statistics.

        Parameters
        ----------
        x, callbacks, n_threads
            As in `fit`.
        batch_size : int, optional
            Accepted as in Keras; the engine chooses its own, which changes no result.
        verbose : {"auto", 0, 1, 2}
            1 and 2 print one line, "auto" does so on a terminal.

        Returns
        -------
        ndarray of shape (rows, outputs)
            In the model's dtype (float64 on the reference engine); a CuPy array if x is on a GPU.
        """
        if batch_size is None and callbacks is None and n_threads is None and type(verbose) is int and verbose == 0:
            row = self.runner.predict_row(x)
            if row is not None:
                return row
        began = time.perf_counter()
        check_batch_size("predict", batch_size)
        verbose, threads = check_verbose("predict", verbose), check_threads("predict", n_threads)
        listeners = CallbackList(check_callbacks("predict", callbacks), self, {"steps": 1, "verbose": verbose})
        rows = check_x("predict", x, self._shape)
        if isinstance(rows, np.ndarray):
            size = len(rows) * self.outputs * self.runner.value_dtype.itemsize
            remedy = "predict fewer rows at a time"
            check_memory("predict", size, f"the result, {len(rows)} rows of {self.outputs}", remedy)
        listeners.call("on_predict_begin", {})
        listeners.call("on_predict_batch_begin", 0, {})
        out = self.runner.predict(rows, threads)
        listeners.call("on_predict_batch_end", 0, {"outputs": out})
        listeners.call("on_predict_end", {})
        say(verbose, f"predict: {len(rows)} rows, {time.perf_counter() - began:.2g} s")
        return out

    @keywords_checked
    def loss_and_grad(
        self, x: Any, y: Any, *, sample_weight: Any = None, training: bool = False, n_threads: int | None = None
    ) -> tuple[float, list[Array]]:
        """The training objective, with all rows as one batch, and its exact gradient.

        Parameters
        ----------
        x, y, sample_weight, n_threads
            As in `fit`.
        training : bool
            Whether to use the statistics of this batch and the dropout of the next step.

        Returns
        -------
        loss : float
            Mean loss of the rows, penalties included.
        gradient : list of ndarray
            One per trainable tensor, in the order of `get_weights`; CuPy arrays if x is on a GPU.
        """
        training, threads = flag("loss_and_grad: training", training), check_threads("loss_and_grad", n_threads)
        with self.runner.lock:
            loss = self._compiled_loss("loss_and_grad")
            data = prepare("loss_and_grad", x, y, sample_weight, self._shape, loss)
            check_batch_memory("loss_and_grad", self.net, len(data), self.device)
            return self.runner.loss_and_grad(data, training, threads)

    def activations(self, x: Any, *, n_threads: int | None = None) -> list[Array]:
        """Output of every layer, one array of shape (rows, width) each, as `predict` computes and returns them."""
        rows, threads = check_x("activations", x, self._shape), check_threads("activations", n_threads)
        check_batch_memory("activations", self.net, len(rows), self.device)
        return self.runner.activations(rows, threads)

    # ---- closed forms ----------------------------------------------------------------------------------------------

    @keywords_checked
    def place(self: M, x: Any, y: Any = None) -> M:
        """Initialize the hidden units from the data: none is off or saturated, all directions are different.

        Every hidden `Dense` gets an orthogonal kernel (from the model's seed), scaled as a whole, and biases with which
        the rows of `x` keep each unit in the part where its activation passes on what it gets: a ReLU always on, a tanh
        between -1 and 1. Nothing is lost on the way where a layer is as wide as the one below. The last layer stays as
        it is, or, with `y`, gives outputs with the mean and the spread of the targets; `solve_output` fits it.

        Parameters
        ----------
        x : array of shape (rows, inputs)
            As in `fit`; at most 2048 rows, spread evenly, decide, with half their range as margin for the others.
        y : array of shape (rows, outputs), optional
            Targets, for a last layer that is linear and has a bias: its kernel is scaled as a whole.

        Returns
        -------
        Model
            The model itself.

        Raises
        ------
        ValueError, TypeError
            If the data are invalid, or the last layer where `y` is given; the model is unchanged then.
        """
        rows, targets = check_x("place", x, self._shape), None
        if y is not None:
            placement.check_last_layer(self.net)
            targets = prepare("place", x, y, None, self._shape, losses.MeanSquaredError()).y
        with self.runner.lock:
            before = self.runner.tensors()
            try:
                placement.place(self.runner, rows, targets)
            except BaseException:  # it goes layer by layer
                self.runner.set_tensors(before)
                raise
        return self

    @keywords_checked
    def solve_output(
        self: M, x: Any, y: Any, *, ridge: float = 1e-6, sample_weight: Any = None, n_threads: int | None = None
    ) -> M:
        """Give the last layer the weights that fit the targets best, in one pass over the data (ridge regression).

        With h the input of the last layer they minimise ``sum w |h W + b - y|**2 + ridge * d * |W|**2``, where d is the
        mean over the columns of ``sum w (h - mean)**2``. Sums are in float64; memory does not grow with the rows. The
        model need not be compiled; an optimizer's state stays. A `Rescaling` at the end is undone: the layer before it
        is the last one, and its targets are ``(y - offset) / scale``.

        Parameters
        ----------
        x : array of shape (rows, inputs)
            As in `fit`.
        y : array of shape (rows, outputs)
            Targets, whatever the loss.
        ridge : float
            0 is plain least squares, which has one solution only if no column of h follows from the others.
        sample_weight, n_threads
            As in `fit`.

        Returns
        -------
        Model
            The model itself.

        Raises
        ------
        ValueError
            If the last layer is no `Dense` with activation linear or relu (whose linear part is fitted, so targets must
            not be negative), or there is no single solution.
        """
        where = "solve_output"
        ridge, threads = number(f"{where}: ridge", ridge, least=0), check_threads(where, n_threads)
        closed_form.check_output_layer(where, self.net)
        data = prepare(where, x, y, sample_weight, self._shape, losses.MeanSquaredError())
        with self.runner.lock:
            closed_form.solve_output(where, self.runner, data, ridge, threads)
        return self

    # ---- weights, copies, files ------------------------------------------------------------------------------------

    def get_weights(self) -> list[Array]:
        """Copies of all tensors, layer by layer in Keras's order; kernels are (inputs, outputs)."""
        return self.runner.tensors()

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Replace all tensors.

        Parameters
        ----------
        weights : list of arrays
            As `get_weights` gives them.

        Raises
        ------
        ValueError
            If their number or a shape is wrong; nothing is changed then.
        """
        needed = self.net.tensors
        weights = items("set_weights: weights", weights, "a list of arrays, as get_weights() gives them")
        if len(weights) != len(needed):
            names = ", ".join(f"{tensor.name} {tensor.shape}" for tensor in needed)
            fail("set_weights", f"weights holds {len(weights)} arrays", f"{len(needed)} are needed", names or "none")
        checked = [as_array("set_weights", f"weights[{i}]", weight) for i, weight in enumerate(weights)]
        for i, (array, tensor) in enumerate(zip(checked, needed, strict=True)):
            if array.shape != tensor.shape:
                given = f"weights[{i}] has shape {array.shape}"
                fail("set_weights", given, f"{tensor.name} needs {tensor.shape}", "see model.summary()")
        self.runner.set_tensors(checked)

    def to(self: M, device: str) -> M:
        """Move the model to another device, in place.

        Parameters
        ----------
        device : {"cpu", "cuda", "reference"}
            See `fastdense.Model`.

        Returns
        -------
        Model
            The model itself.
        """
        check_device(device)
        with self._fitting:
            self.runner.move(device)
        return self

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal model, as JSON types; see `from_config`. Weights are not part of it."""
        return {
            "layers": self.net.config_layers(),
            "inputs": self.inputs,
            "seed": self.seed,
            "dtype": self.dtype,
            "precision": self.precision,
            "device": self.device,
            "name": self.name,
        }

    @classmethod
    def from_config(cls: type[M], config: Mapping[str, Any]) -> M:
        """Make the model that `get_config` described, not compiled and with its first values."""
        return cls(**config)

    def get_compile_config(self) -> dict[str, Any] | None:
        """The arguments of `compile` as JSON types; None before `compile`."""
        with self.runner.lock:
            if self._optimizer is None or self._loss is None:
                return None
            config = {
                "optimizer": self._optimizer.to_dict(),
                "loss": self._loss.to_dict(),
                "metrics": [metric.to_dict() for metric in self._metrics],
            }
            return config if self.loss_weights == 1 else {**config, "loss_weights": self.loss_weights}

    def clone(self: M, seed: int | None = None) -> M:
        """A new model like this one, compiled likewise, with first values of its own: nothing that was learned.

        Parameters
        ----------
        seed : int, optional
            That of this model by default.
        """
        with self.runner.lock:
            config = {**self.get_config(), "layers": self.net.fresh_layers()}
            optimizer, loss, chosen = copy.deepcopy((self._optimizer, self._loss, self._metrics))
            weight = self._loss_weight
        made = type(self).from_config({**config, "seed": self.seed if seed is None else seed})
        if loss is not None:
            made.compile(optimizer, loss, metrics=chosen, loss_weights=weight)
        return made

    def save(self, path: str | os.PathLike[str], *, include_optimizer: bool = True) -> None:
        """Write the model to a file that `fastdense.load` reads.

        The file appears whole or not at all. It is in the safetensors format, whatever its name ends with.

        Parameters
        ----------
        path : str or path
        include_optimizer : bool
            Whether to keep the optimizer's state, so that training continues exactly where it was.

        Raises
        ------
        ValueError
            If the model holds an object of a class of your own.
        """
        path = file_path("save: path", path)
        include_optimizer = flag("save: include_optimizer", include_optimizer)
        with self.runner.lock:
            self._check_saveable()
            config, tensors = self._describe(include_optimizer)
        files.write(path, config, tensors)

    @classmethod
    def from_file(cls: type[M], path: str | os.PathLike[str], *, device: str | None = None) -> M:
        """Make the model that `save` wrote; see `fastdense.load`."""
        if device is not None:
            check_device(device)
        path = file_path("load: path", path)
        config, tensors = files.read(path)
        try:
            return cls._restore(config, tensors, device)
        except (KeyError, IndexError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise files.unreadable(path, f"it does not describe a model ({error})") from error

    def load_weights(self, path: str | os.PathLike[str]) -> None:
        """Load only the weights from a file that `save` wrote; the shapes must be those of this model."""
        self.set_weights(type(self).from_file(path, device="reference").get_weights())

    def __getstate__(self) -> dict[str, Any]:
        """What pickle and copy keep: what a file holds, with the objects themselves."""
        with self.runner.lock:
            config, tensors = self._describe()
            config["model"]["layers"] = self.layers
            if self.compiled:
                parts = {"optimizer": self.optimizer, "loss": self.loss, "metrics": self.metrics}
                config["compile"] = {**parts, "loss_weights": self.loss_weights}
        return {"config": config, "tensors": tensors}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(self._restore(state["config"], state["tensors"], None).__dict__)

    def _describe(self, include_optimizer: bool = True) -> tuple[dict[str, Any], dict[str, Array]]:
        """Everything the model is, as JSON types and named tensors: at one moment, since the caller holds the lock."""
        from ..versions import package_version  # importlib.metadata is slow to import

        tensors = dict(zip(_weight_names(self.net), self.get_weights(), strict=True))
        slots = self.runner.slots() if include_optimizer else []
        numbers = self.runner.numbers()
        if include_optimizer and len(numbers):
            tensors[_NUMBERS] = numbers
        tensors.update({_slot_name(s, i): array for s, slot in enumerate(slots) for i, array in enumerate(slot)})
        config = {
            "format": files.FORMAT,
            "version": package_version("fastdense"),
            "model": self.get_config(),
            "compile": self.get_compile_config(),
            "step": self.runner.step if include_optimizer else 0,
            "slots": len(slots) if include_optimizer else None,
            "epochs_trained": self.runner.epochs_trained,
            "statistics": self.net.statistics.origin if self.net.statistics else None,
        }
        return config, tensors

    @classmethod
    def _restore(cls: type[M], config: Mapping[str, Any], tensors: Mapping[str, Array], device: str | None) -> M:
        """Make the model that `_describe` described, on its own device if `device` is None."""
        given = dict(config["model"])
        name, own = given.pop("name"), given.pop("device")
        net = Net(**given)  # makes no values: however large it says it is, the tensors must have its shapes
        values = [files.tensor(tensors, *needed) for needed in zip(_weight_names(net), net.tensors, strict=True)]
        model = cls.__new__(cls)
        model._begin(net, device or ("cpu" if own == "cuda" and not is_available() else own), name, values)
        if net.statistics is not None:
            net.statistics.take(values[0], values[1], config["statistics"])
        if config["compile"] is not None:
            model.compile(**config["compile"])
            if config["slots"] is not None:
                trainable = [spec for spec in net.tensors if spec.trainable]
                slots = [
                    [files.tensor(tensors, _slot_name(s, i), spec) for i, spec in enumerate(trainable)]
                    for s in range(files.count(config, "slots", most=10_000))
                ]
                model.runner.set_slots(slots, files.count(config, "step"), tensors.get(_NUMBERS))
        model.runner.epochs_trained = files.count(config, "epochs_trained")
        return model

    def _check_saveable(self) -> None:
        """Raise if the model holds an object that a file cannot bring back."""
        parts: list[tuple[type[Any], Any]] = [(Layer, layer) for layer in self.net.layers]
        if self.compiled:
            parts += [(optimizers.Optimizer, self.optimizer), (losses.Loss, self.loss)]
            parts += [(metrics.Metric, metric) for metric in self._metrics]
        for base, part in parts:
            try:
                resolve(base, part.to_dict(), "save")
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"save: {part!r} holds an object of a class of your own ({error}), which a file cannot bring back; "
                    "fastdense's own classes are needed: keep the weights alone with "
                    "np.savez(path, *model.get_weights())"
                ) from error

    def _results(self, totals: Array) -> dict[str, float]:
        return {key: values[0] for key, values in columns(totals[None], self._metrics, self.outputs).items()}


def _in_a_list(logs: dict[str, float]) -> float | list[float]:
    """As `evaluate` returns them: the loss alone, or a list if there are metrics too."""
    return logs["loss"] if len(logs) == 1 else list(logs.values())


def _metric_list(values: Any) -> list[metrics.Metric]:
    return metrics.get_list(values, "compile: metrics")


def _weight_names(net: Net) -> list[str]:
    return [f"weights.{i}.{tensor.name.replace('/', '.')}" for i, tensor in enumerate(net.tensors)]


def _slot_name(slot: int, tensor: int) -> str:
    return f"optimizer.{slot}.{tensor}"
