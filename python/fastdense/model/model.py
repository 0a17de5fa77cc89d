"""`Model`: a dense net that can be trained and used. It checks and remembers; a machine computes."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import flag, integer, keywords_checked, number
from ..arrays import Array, check_memory
from ..callbacks import CallbackList, History, ProgressBar, ReviveDeadUnits
from ..callbacks.base import check_callbacks
from ..callbacks.probes import Probes
from ..callbacks.progress import check_verbose, say, text_of
from ..data.checks import check_x
from ..data.prepare import prepare, prepare_validation, rows_to_train_on
from ..data.rows import Rows, sample
from ..data.weights import class_weights
from ..initial.closed_form import solve_output
from ..initial.placement import place
from ..training.feasible import check_batch_memory
from ..training.logs import columns
from ..training.loop import Fit
from ..training.options import Options, check_batch_size, check_threads
from .base import BaseModel
from .start import place_untouched

if TYPE_CHECKING:
    from ..diagnose.report import Diagnosis


class Model(BaseModel):
    """A dense net: layers one after another.

    The parameters exist from here on; `compile` says how to train, `fit` trains. A model may be pickled and copied; it
    may be used from several threads, which then wait for one another.

    Parameters
    ----------
    layers : list
        Layers, names of layers ("batch_norm") or their config dicts.
    inputs : int
        Columns of the data.
    seed : int
        Decides the first values, the shuffling and the dropout: same seed, same bits, at any number of threads.
    dtype : {"float32", "float64", "bfloat16"}
        In which parameters are kept and results are computed; "bfloat16" is float32 with ``precision="bfloat16"``.
    precision : {None, "tf32", "bfloat16"}
        Mixed precision for float32 nets: parameters, optimizer, inputs, outputs and sums are float32, but the layers'
        matrix products multiply numbers rounded to bfloat16 (8 significant bits) or TF32 (11 bits). bfloat16 is about
        twice as fast for wide nets on CPUs with AVX512-BF16; correct, not faster, on others. "tf32" lets GPUs use their
        tensor cores; a CPU computes in plain float32, the reference rounds. None rounds no operand.
    device : {"cpu", "cuda", "reference"}
        "cuda" is an NVIDIA GPU (docs/cuda.md); "reference" is plain NumPy in float64, slow and easy to read.
    name : str, optional

    Raises
    ------
    ValueError, TypeError
        If an argument is wrong, widths do not fit, or softmax is used before the end.
    MemoryError
        If the parameters cannot fit in memory (also a ValueError).

    Attributes
    ----------
    history : History or None
        That of the last `fit`, also of one that was interrupted.
    stop_training : bool
        Set to True in a callback to end training.
    """

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
        """Train. Called again, it goes on with the optimizer's state and a new order of the rows.

        Parameters
        ----------
        x : array of shape (rows, inputs)
            NumPy of any real dtype (also read-only, in Fortran order, or memory-mapped and larger than memory), lists,
            data frames, tensors. float32, float64, integers and bools are used in place, never copied as a whole.
            A model on "cuda" takes arrays that lie on the GPU as well: CuPy's and whatever offers DLPack or
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
            Share of the rows, from 0 to below 1, to validate on: the *last* ones, before any shuffling, as in Keras.
        validation_data : (x, y) or (x, y, sample_weight), optional
            Evaluated after each epoch; takes the place of `validation_split`.
        shuffle : bool
            Whether each epoch takes the rows in a new random order, the same at any number of threads.
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
            Record now and then what every unit does (off, saturated, mean and variance, norms of gradient, weights and
            steps) in ``history.probes``, a `fastdense.probes.Probes`. It costs a few per cent and changes no bit of the
            training. Full-batch optimizers (`LBFGS`) record nothing.
        n_threads : int, optional
            By default as many as this process may use.

        Returns
        -------
        History
            `history.history["loss"]` and so on, one number per epoch.

        Raises
        ------
        ValueError, TypeError
            If anything is wrong with the data or an argument; nothing has happened then.
        KeyboardInterrupt
            On Ctrl-C, within 0.2 s: the model is that of the last finished step, `model.history` holds the finished
            epochs, and `fit` can go on.
        """
        loss = self._compiled_loss("fit")
        options = Options.checked(batch_size, epochs, initial_epoch, shuffle, n_threads)
        bar = ProgressBar(check_verbose("fit", verbose))
        users = check_callbacks("fit", callbacks)
        data = prepare("fit", x, y, sample_weight, self._shape, loss)
        validation = None
        cut = rows_to_train_on("fit", len(data), validation_split)
        if validation_data is not None:
            validation = prepare_validation("fit", validation_data, self._shape, loss)
        elif cut < len(data):
            data, validation = data.part(slice(0, cut)), data.part(slice(cut, None))
        data = data.weighted(class_weights("fit", class_weight, data.y, self._shape, loss))
        options = options.for_rows(self.optimizer, len(data))
        if not self.optimizer.full_batch:
            check_batch_memory("fit", self.net, min(options.batch_size, len(data)), self.device)
        starts = integer("fit: starts", starts, least=1)
        probed = flag("fit: probes", probes) and not self.optimizer.full_batch
        self.runner.adapt(data.x)
        place_untouched(self, data)
        if starts > 1:
            self._take_best_start(data, options, starts)
        for callback in users:
            if isinstance(callback, ReviveDeadUnits):
                callback.rows = sample(data.x)
        history, steps = History(), math.ceil(len(data) / options.batch_size)
        params = {
            "epochs": options.epochs,
            "steps": steps,
            "verbose": bar.verbose,
            "initial_epoch": options.initial_epoch,
            "batch_size": options.batch_size,
            "shuffle": options.shuffle,
        }
        if probed:
            period = self.runner.probe_period(len(data), options.batch_size)
            history.probes = Probes(self.net, period, steps, options.epochs - options.initial_epoch)
        self.history = history
        began = time.perf_counter()
        try:
            Fit(self, data, validation, options, [*users, history, bar], params).run()
        finally:
            history.params["seconds"] = time.perf_counter() - began
        return history

    def _take_best_start(self, data: Rows, options: Options, starts: int) -> None:
        from ..population.fit import best_start

        weights, slots, numbers, step, epochs = best_start(self, data, options, starts)
        self.runner.set_tensors(weights)
        self.runner.set_slots(slots, step, numbers)
        self.runner.epochs_trained = epochs

    @keywords_checked
    def train_on_batch(
        self, x: Any, y: Any, sample_weight: Any = None, class_weight: Any = None, *, return_dict: bool = False
    ) -> Any:
        """Make one step with all rows as one batch.

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
        loss = self._compiled_loss("train_on_batch")
        data = prepare("train_on_batch", x, y, sample_weight, self._shape, loss)
        data = data.weighted(class_weights("train_on_batch", class_weight, data.y, self._shape, loss))
        check_batch_memory("train_on_batch", self.net, len(data), self.device)
        result = self.runner.train(
            self.optimizer, data, None, batch_size=len(data), shuffle=False, steps=1, whole_epochs=False
        )
        if result["interrupted"]:
            raise KeyboardInterrupt
        return self._results(result["partial"], flag("train_on_batch: return_dict", return_dict))

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
        loss, began = self._compiled_loss("evaluate"), time.perf_counter()
        check_batch_size("evaluate", batch_size)
        verbose, threads = check_verbose("evaluate", verbose), check_threads("evaluate", n_threads)
        return_dict = flag("evaluate: return_dict", return_dict)
        listeners = CallbackList(check_callbacks("evaluate", callbacks), self, {"steps": 1, "verbose": verbose})
        data = prepare("evaluate", x, y, sample_weight, self._shape, loss)
        listeners.call("on_test_begin", {})
        listeners.call("on_test_batch_begin", 0, {})
        totals = self.runner.totals(data, threads)
        logs = self._results(totals, True)
        listeners.call("on_test_batch_end", 0, logs)
        listeners.call("on_test_end", logs)
        say(verbose, f"evaluate: {text_of(logs)} ({len(data)} rows, {time.perf_counter() - began:.2g} s)")
        return self._results(totals, return_dict)

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
        """The number that training makes small, with all rows as one batch, and its exact gradient.

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
        loss = self._compiled_loss("loss_and_grad")
        training, threads = flag("loss_and_grad: training", training), check_threads("loss_and_grad", n_threads)
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
    def place(self, x: Any, y: Any = None) -> Model:
        """Place the hidden units on the data: none is off or saturated, no two look the same way.

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
            If anything is wrong with the data, or with the last layer where `y` is given; nothing has happened then.
        """
        return place(self, x, y)

    @keywords_checked
    def solve_output(
        self, x: Any, y: Any, *, ridge: float = 1e-6, sample_weight: Any = None, n_threads: int | None = None
    ) -> Model:
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
        return solve_output(self, x, y, ridge, sample_weight, n_threads)

    # ---- diagnosis -------------------------------------------------------------------------------------------------

    @keywords_checked
    def diagnose(
        self,
        x: Any,
        y: Any,
        *,
        history: Any = None,
        sample_weight: Any = None,
        verify: bool = True,
        budget: float | None = None,
        verbose: int | str = "auto",
    ) -> Diagnosis:
        """Say why the net is stuck, or that it is not, and what repairs it.

        Rules look at the data, the net before and after training, and the losses; what they suspect is then tried:
        copies of the net are trained alike with one thing changed, then several, and what made the difference is the
        cause. The model itself is not changed, and x and y may be such as `fit` refuses.

        Parameters
        ----------
        x, y, sample_weight
            What the model was, or is to be, trained on. Arrays on a GPU are copied to the host first.
        history : History or dict of lists, optional
            Of the training to be explained; `self.history` by default. How long and with what batches to train is
            read off it, else 3000 steps of 32 rows are assumed.
        verify : bool
            Whether to make trials. Without them it takes no more than about one epoch, and causes are not told from
            symptoms.
        budget : float, optional
            Seconds for the trials; by default those of the training that is explained, at least 2 and at most 20.
        verbose : {"auto", 0, 1, 2}
            "auto" and 1 show a bar on a terminal when trials take longer than 2 s.

        Returns
        -------
        Diagnosis
            `print` it; `.findings`, worst first; `.treat()` makes the repaired model.

        Raises
        ------
        ValueError, TypeError
            If the model is not compiled, x and y are no tables of numbers, x has another width than the model, or their
            numbers of rows differ.
        """
        from ..diagnose.examine import diagnose

        verify = flag("diagnose: verify", verify)
        seconds = None if budget is None else number("diagnose: budget", budget, above=0)
        shown = check_verbose("diagnose", verbose)
        return diagnose(self, x, y, history, sample_weight, verify, seconds, shown)

    def _results(self, totals: Array, return_dict: bool) -> Any:
        logs = {key: values[0] for key, values in columns(totals[None], self._metrics, self.outputs).items()}
        return logs if return_dict else logs["loss"] if len(logs) == 1 else list(logs.values())
