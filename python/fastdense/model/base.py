"""`BaseModel`: what a model computes: training, evaluation, prediction, first values."""

from __future__ import annotations

import math
import time
from typing import Any, TypeVar

import numpy as np

from .. import losses
from ..arguments import flag, integer, keywords_checked, number
from ..arrays import Array, check_memory
from ..callbacks import CallbackList, History, ProgressBar, ReviveDeadUnits
from ..callbacks.base import check_callbacks
from ..callbacks.fitted import Fitted
from ..callbacks.probes import Probes
from ..callbacks.progress import check_verbose, say, text_of
from ..data.checks import check_x
from ..data.prepare import prepare, prepare_validation, rows_to_train_on
from ..data.rows import Rows, evenly_spaced_rows
from ..data.weights import class_weights
from ..initial import closed_form, placement
from ..initial.spread import spread_one, untouched_data_layers
from ..training.feasible import check_batch_memory
from ..training.hints import hint
from ..training.logs import columns
from ..training.loop import Fit
from ..training.options import Options, check_batch_size, check_threads
from ..training.search import start_from_best
from .definition import Definition

M = TypeVar("M", bound="BaseModel")


class BaseModel(Definition):
    """A net that can be trained and evaluated; see `fastdense.Model`."""

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

    def _results(self, totals: Array) -> dict[str, float]:
        return {key: values[0] for key, values in columns(totals[None], self._metrics, self.outputs).items()}


def _in_a_list(logs: dict[str, float]) -> float | list[float]:
    """As `evaluate` returns them: the loss alone, or a list if there are metrics too."""
    return logs["loss"] if len(logs) == 1 else list(logs.values())
