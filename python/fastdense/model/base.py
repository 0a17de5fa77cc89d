"""`BaseModel`: what a model computes: training, evaluation, prediction, first values."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from .. import losses
from ..arguments import flag, integer, keywords_checked, number, shorten
from ..arrays import Array, fail, to_host
from ..callbacks import CallbackList, History, ProgressBar, ReviveDeadUnits
from ..callbacks.base import check_callbacks, sees_batches
from ..callbacks.fitted import Fitted
from ..callbacks.progress import check_verbose, say, text_of
from ..data.checks import check_x
from ..data.names import names_of
from ..data.prepare import prepare, rows_to_train_on
from ..data.rows import Rows, evenly_spaced_rows
from ..data.stream import ArrayBatches, Blocks, is_stream, shuffled
from ..data.weights import class_weights
from ..initial import closed_form, placement
from ..initial.spread import check_trainable, spread_one, untouched_data_layers
from ..training.blocks import batches_of, blocks_of, check_alone, check_steps, stream_name
from ..training.feasible import check_batch_memory, check_one_loss
from ..training.hints import hint
from ..training.logs import columns
from ..training.loop import ArrayFit, Fit
from ..training.options import Options, check_batch_size, check_threads, in_steps
from ..training.stream import StreamFit, adapt, begun, check_streamed, predicted
from ..training.validation import Validations, check_frequency, data_of, first_batches, tested
from . import intervals
from .derivatives import Differentiable

M = TypeVar("M", bound="BaseModel")


class BaseModel(Differentiable):
    """A net that can be trained and evaluated; see `fastdense.Model`."""

    # ---- training --------------------------------------------------------------------------------------------------

    @keywords_checked
    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
        starts: int = 1,
        probes: bool = False,
        dy: Any = None,
        dy_weight: float = 1.0,
        n_threads: int | None = None,
        comm: Any = None,
    ) -> History:
        """Train the model. Called again, it continues with the optimizer's state and a new order of the rows.

        Parameters
        ----------
        x : array of shape (rows, inputs)
            NumPy of any real dtype (also read-only, in Fortran order, or memory-mapped and larger than memory), lists,
            data frames, tensors. float32, float64, integers and bools are used in place, never copied as a whole.
            A model on "cuda" also accepts arrays on the GPU: CuPy's and whatever offers DLPack or
            ``__cuda_array_interface__``; so for y and weights, each where it is (docs/cuda.md).
            Names of a data frame's columns are remembered (`feature_names`): later frames are put in that order, and
            one that lacks a name or has another is an error.
            Or an iterable of batches (x, y) or (x, y, sample_weight): a generator, a `keras.utils.PyDataset`, a
            `torch.utils.data.DataLoader`, or any other (docs/data.md). Its order and its batches are what the net is
            trained on, one block of rows at a time in memory.
        y : array of shape (rows, outputs), or class ids (rows,) for a sparse loss
            (rows,) also means one column if the net has one output; nothing else is broadcast.
        batch_size : int, optional
            Rows per step, 32 by default. The last batch of an epoch may be short. Full-batch optimizers (`LBFGS`) take
            all rows: leave it out for them.
        epochs : int
            Number of the epoch to stop before; trains `epochs - initial_epoch` epochs.
        verbose : {"auto", 0, 1, 2}
            0 is silent, 1 a progress bar, 2 one line per epoch; "auto" a bar on a terminal, else at most 20 lines.
        callbacks : list of Callback, optional
        validation_split : float
            Fraction of the rows, from 0 to below 1, to validate on: the *last* ones, before any shuffling, as in Keras.
        validation_data : (x, y), (x, y, sample_weight) or an iterable of such batches, optional
            Evaluated after each epoch; replaces `validation_split`.
        shuffle : bool
            Whether each epoch uses a new random order of the rows, the same at any number of threads; an iterable's
            order is its own.
        class_weight : dict or "balanced", optional
            Weight of each class id, 1 for those not named; "balanced" gives all classes the same total weight.
            Multiplies `sample_weight`; validation is not weighted.
        sample_weight : array of shape (rows,), optional
            Weight of each row in the loss, at least 0; rows of weight 2 count as if they were there twice.
        initial_epoch : int
            Number of the first epoch.
        steps_per_epoch : int, optional
            Batches of an epoch; by default those of a pass over all rows or items. The next epoch goes on behind them.
            Without `batch_size`, arrays are divided into so many batches.
        validation_steps, validation_batch_size : int, optional
            Validate on so many batches only, of an iterable or of so many rows each.
        validation_freq : int or list of int
            Validate after every so many epochs, or after the epochs of these numbers, counted from 1.
        starts : int
            More than 1: first try so many starts at once for a short time, units spread over the data, as
            ``fit_many(..., start="data", tries=starts)`` does; take over weights and optimizer state of the best, then
            train it for all epochs. Later calls of ``fit`` should leave it out: it forgets what was learned.
        probes : bool
            Record statistics of every unit (off, saturated, mean and variance, norms of gradient, weights and steps)
            in ``history.probes``, a `fastdense.callbacks.probes.Probes`. It costs a few per cent and changes no bit of
            the training. Full-batch optimizers (`LBFGS`) record nothing.
        dy : array of shape (rows, outputs, inputs), or (rows, inputs) for one output, optional
            Known derivatives of the targets by the inputs, in their units (Sobolev training): the loss gets the term
            ``dy_weight * mean((jacobian(x) - dy)**2)``, each row with its sample weight. Validation losses are without
            it. For the nets that `vjp` names under `d_jacobian`, without dropout; each step comes back to Python.
        dy_weight : float
            Weight of that term, at least 0.
        n_threads : int, optional
            By default as many as this process may use; with `comm`, its share of them.
        comm : communicator or DataParallel, optional
            Train together with other processes (data-parallel training), each with rows of its own: all call `fit` with
            the same model and arguments, and their part of x, y and validation data. `MPI.COMM_WORLD` of mpi4py, or
            what `fastdense.DataParallel` describes. `batch_size` is that of each process, so that a step takes the rows
            of all of them; losses and metrics are those of all rows, and so are the numbers that `Normalization` and
            "balanced" class weights take from the data. All processes end with the same weights, bit by bit
            (docs/cluster.md).

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
        RankError
            With `comm`: another process has failed or was interrupted, or does something else.
        """
        ranks = None
        if comm is not None:
            from ..training.ranks import Ranks  # few programs need it

            ranks = Ranks("fit", comm)
        with self._fitting, nullcontext() if ranks is None else ranks.together():
            # check
            loss = self._trained_loss("fit")
            options = Options.checked("fit", batch_size, epochs, initial_epoch, shuffle, n_threads)
            bar = ProgressBar(check_verbose("fit", 0 if ranks and ranks.rank and verbose == "auto" else verbose))
            users = check_callbacks("fit", callbacks)
            revives = any(isinstance(one, ReviveDeadUnits) for one in users)
            if revives:
                self.net.check_not_monotonic("fit", "a callback is ReviveDeadUnits")
            frequency = check_frequency("fit", validation_freq)
            steps = check_steps("fit: steps_per_epoch", steps_per_epoch)
            validation_steps = check_steps("fit: validation_steps", validation_steps)
            size = check_batch_size("fit: validation", validation_batch_size)
            shape = replace(self._shape, names=self.feature_names or names_of(x))
            if ranks is not None:
                others = {"x is an iterable": is_stream(x), "steps_per_epoch": steps is not None, "dy": dy is not None,
                          f"starts={shorten(starts)}": starts != 1, "probes": flag("fit: probes", probes),
                          "a callback is ReviveDeadUnits": revives,
                          "a layer is placed on the data": bool(untouched_data_layers(self.runner))}  # fmt: skip
                ranks.check_possible(self.net, self.device, self.optimizer, self._metrics, others)
                users = [one for one in users if ranks.rank == 0 or not one.first_rank_only]
            rows: Rows | None = None
            blocks: Blocks | None = None
            held_out: Rows | Blocks | None = None
            if dy is None and number("fit: dy_weight", dy_weight, least=0) != 1:
                fail("fit", f"dy_weight is {shorten(dy_weight)}, and dy is not given", "it is the weight of dy's error",
                     "leave it out")  # fmt: skip
            if is_stream(x):
                check_alone("fit", x, y=y, sample_weight=sample_weight, batch_size=batch_size,
                            validation_split=validation_split, dy=dy)  # fmt: skip
                check_streamed("fit", f"x is {stream_name(x)}", self.optimizer, starts, probes, "pass arrays")
                blocks = blocks_of(batches_of("fit", x, steps), shape, loss, class_weight)
            else:
                rows = prepare("fit", x, y, sample_weight, shape, loss)
                if dy is not None:
                    from ..training.derivatives import with_derivatives  # seldom needed

                    own = loss.targets in ("any", "heads") or any(metric.collected for metric in self._metrics)
                    others = {"probes": probes, "starts": starts != 1, "steps_per_epoch": steps is not None,
                              "a loss or metric of your own": own}  # fmt: skip
                    rows = with_derivatives("fit", rows, dy, dy_weight, self.net, self.device, self.optimizer, others)
                cut = rows_to_train_on("fit", len(rows), validation_split)
                if cut < len(rows) and validation_data is None:
                    rows, held_out = rows.part(slice(0, cut)), rows.part(slice(cut, None))
                counted = {} if ranks is None else {"counted": ranks.counts}
                rows = rows.weighted(class_weights("fit", class_weight, rows.y, shape, loss, **counted))
                if steps is not None:
                    check_streamed("fit", f"steps_per_epoch is {steps}", self.optimizer, 1, probes, "leave it out")
                options, steps = in_steps("fit", options, steps, batch_size, len(rows))
                options = options.for_rows(self.optimizer, len(rows))
                if steps is not None:
                    order = shuffled(self.seed, self.runner.epochs_trained) if options.shuffle else None
                    batches = ArrayBatches("fit", rows, options.batch_size, steps, order)
                    blocks = blocks_of(batches, shape, loss, checked=True)
            if validation_data is not None:
                held_out = data_of("fit", validation_data, shape, loss, validation_steps, size, batch_size)
            elif isinstance(held_out, Rows):
                held_out = first_batches("fit: validation_steps", held_out, validation_steps, size or batch_size)
            starts = integer("fit: starts", starts, least=1)
            if starts > 1:
                from ..training.search import start_from_best  # few programs need populations

                check_one_loss(f"fit: starts={starts}", loss)
                self.net.check_not_monotonic("fit", f"starts is {starts}")
            probed = flag("fit: probes", probes) and not self.optimizer.full_batch
            # prepare first values
            if blocks is None:
                assert rows is not None
                sample = rows
            else:
                if rows is None:
                    adapt(self.runner, blocks)
                first = begun(blocks, one_by_one=sees_batches(users))
                sample = rows or first.sample
                if rows is None and blocks.names != shape.names:  # those of its first item
                    shape = replace(shape, names=blocks.names)
                    if validation_data is not None and not is_stream(validation_data):
                        held_out = data_of("fit", validation_data, shape, loss, validation_steps, size, batch_size)
            if isinstance(held_out, Blocks):
                held_out.names = shape.names
            if not self.optimizer.full_batch:
                check_batch_memory("fit", self.net, min(options.batch_size, len(sample)), self.device)
            if ranks is None:
                self.runner.adapt(sample.x)
            else:
                options = ranks.begin(
                    self.net, self.optimizer, [loss, self._metrics], options, len(sample), held_out is not None
                )
                ranks.adapt(self.runner, sample.x)
            self.feature_names = shape.names
            self._place_untouched_layers(sample, options.n_threads)
            if rows is not None and starts > 1:
                start_from_best(self.runner, self.optimizer, loss, self._metrics, rows, options, starts)
            # train
            history = self._new_history(sample, options, probed)
            if rows is not None:
                given = 0 if held_out is None or isinstance(held_out, Blocks) else len(held_out)
                split = 0.0 if validation_data is not None else float(validation_split)
                history.fitted = Fitted.of(rows.x, rows.y, rows.w, given, split, class_weight,
                                           sample_weight is not None, users, self.optimizer)  # fmt: skip
            params: dict[str, Any] = {
                "epochs": options.epochs,
                "steps": math.ceil(len(sample) / options.batch_size) if blocks is None else blocks.batches.per_epoch,
                "verbose": bar.verbose,
                "initial_epoch": options.initial_epoch,
                "batch_size": options.batch_size if rows is not None else None,
                "shuffle": options.shuffle,
            }
            if ranks is not None:
                params["rank"] = ranks.rank
            for callback in users:
                if isinstance(callback, ReviveDeadUnits):
                    callback.rows, callback.n_threads = evenly_spaced_rows(sample.x), n_threads
            self.history = history
            listeners = CallbackList([*users, history, bar], *self._shown(params))
            history.params = params
            began = time.perf_counter()
            validation = None if held_out is None else Validations(held_out, frequency)
            common = self.runner, self.optimizer, self._metrics, validation, options, listeners, ranks
            run: Fit = ArrayFit(sample, *common) if blocks is None else StreamFit(blocks, first.blocks, *common)
            try:
                run.run()
                self._hint(sample, history, run.bars, options.n_threads)
            finally:
                history.params["seconds"] = time.perf_counter() - began
                if history.fitted is not None:
                    history.fitted.ended_by(listeners.stopper, len(history.epoch))
            return history

    def _shown(self, params: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """What callbacks get: this model, or the one of `fastdense.keras` around it, and the parameters of the run."""
        outer = None if self.outer is None else self.outer()
        return (self, params) if outer is None else (outer, outer.callback_params(params))

    def _place_untouched_layers(self, data: Rows, n_threads: int) -> None:
        """Before the first fit: place the units of layers with ``kernel_initializer="data"`` over the data."""
        layers = untouched_data_layers(self.runner)
        if layers:
            tensors = [np.asarray(tensor, dtype=np.float64)[None] for tensor in self.get_weights()]
            spread_one(self.runner, data, self.loss.kind, tensors, layers, n_threads)

    def _new_history(self, data: Rows, options: Options, probed: bool) -> History:
        history = History()
        if probed:
            from ..callbacks.probes import Probes  # few programs need them

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
            loss = self._trained_loss("train_on_batch")
            data = prepare("train_on_batch", x, y, sample_weight, self._shape, loss)
            data = data.weighted(class_weights("train_on_batch", class_weight, data.y, self._shape, loss))
            check_batch_memory("train_on_batch", self.net, len(data), self.device)
            result = self.runner.train(
                self.optimizer, data, None, batch_size=len(data), shuffle=False, steps=1, whole_epochs=False
            )
            if result["interrupted"]:
                raise KeyboardInterrupt
            logs = self._results(result["partial"], result.get("partial_collected", {}))
        return logs if return_dict else _in_a_list(logs)

    # ---- use -------------------------------------------------------------------------------------------------------

    @keywords_checked
    def evaluate(
        self,
        x: Any,
        y: Any = None,
        *,
        batch_size: int | None = None,
        sample_weight: Any = None,
        steps: int | None = None,
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
            Rows of the batches that a custom loss and collected metrics see. Otherwise the engine chooses its own,
            which changes no result.
        steps : int, optional
            Evaluate so many batches only: of an iterable, or of `batch_size` rows each.
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
        size, steps = check_batch_size("evaluate", batch_size), check_steps("evaluate: steps", steps)
        verbose, threads = check_verbose("evaluate", verbose), check_threads("evaluate", n_threads)
        return_dict = flag("evaluate: return_dict", return_dict)
        listeners = CallbackList(check_callbacks("evaluate", callbacks), *self._shown({"steps": 1, "verbose": verbose}))
        if is_stream(x):
            check_alone("evaluate", x, y=y, sample_weight=sample_weight, batch_size=batch_size)
            x = batches_of("evaluate", x, steps)

        def prepared() -> Rows | Blocks:
            if is_stream(x):
                return blocks_of(x, self._shape, self._compiled_loss("evaluate"))
            rows = prepare("evaluate", x, y, sample_weight, self._shape, self._compiled_loss("evaluate"))
            return first_batches("evaluate", rows, steps, size)

        data = prepared()
        listeners.call("on_test_begin", {})
        with self.runner.lock:
            if (self._loss, self._shape) != (loss, shape):  # a callback, or another thread, has changed it meanwhile
                data = prepared()
            totals, collected = tested(self.runner, data, threads, listeners, self._results, size or 0)
            logs = self._results(totals, collected)
        say(verbose, f"evaluate: {text_of(logs)} ({totals[1]:.0f} rows, {time.perf_counter() - began:.2g} s)")
        return logs if return_dict else _in_a_list(logs)

    @keywords_checked
    def predict(
        self,
        x: Any,
        *,
        batch_size: int | None = None,
        steps: int | None = None,
        verbose: int | str = 0,
        callbacks: Any = None,
        n_threads: int | None = None,
    ) -> Array:
        """Outputs for rows, without dropout and with moving statistics.

        Parameters
        ----------
        x, callbacks, n_threads
            As in `fit`; items of an iterable may have no targets.
        batch_size : int, optional
            Accepted as in Keras; the engine chooses its own, which changes no result.
        steps : int, optional
            Predict so many batches only: of an iterable, or of `batch_size` rows each.
        verbose : {"auto", 0, 1, 2}
            1 and 2 print one line, "auto" does so on a terminal.

        Returns
        -------
        ndarray of shape (rows, outputs)
            In the model's dtype (float64 on the reference engine); a CuPy array if x is on a GPU.
        """
        if batch_size is steps is callbacks is n_threads is None and type(verbose) is int and verbose == 0:
            row = self.runner.predict_row(x)
            if row is not None:
                return row
        began = time.perf_counter()
        size, steps = check_batch_size("predict", batch_size), check_steps("predict: steps", steps)
        verbose, threads = check_verbose("predict", verbose), check_threads("predict", n_threads)
        listeners = CallbackList(check_callbacks("predict", callbacks), *self._shown({"steps": 1, "verbose": verbose}))
        data: Rows | Blocks
        if is_stream(x):
            check_alone("predict", x, batch_size=batch_size)
            data = blocks_of(batches_of("predict", x, steps), self._shape, None)
        else:
            rows = check_x("predict", x, self._shape)
            data = first_batches("predict", Rows(rows, rows, None), steps, size)
        out = predicted(self.runner, data, threads, listeners)
        say(verbose, f"predict: {len(out)} rows, {time.perf_counter() - began:.2g} s")
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
        it is, or, with `y`, gives outputs with the mean and the spread of the targets; `solve_output` fits it. Layers
        that are not trainable keep their weights.

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
            If the data are invalid, or the last layer where `y` is given, or no hidden layer is trainable; the model is
            unchanged then.
        """
        self.net.check_not_monotonic("place", "units are to be placed on the data")
        check_trainable("place", placement.hidden_layers(self.net))
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
            not be negative), or is not trainable, or there is no single solution.
        """
        where = "solve_output"
        ridge, threads = number(f"{where}: ridge", ridge, least=0), check_threads(where, n_threads)
        self.net.check_not_monotonic(where, "the last layer is to be solved for")
        closed_form.check_output_layer(where, self.net)
        data = prepare(where, x, y, sample_weight, self._shape, losses.MeanSquaredError())
        with self.runner.lock:
            closed_form.solve_output(where, self.runner, data, ridge, threads)
        return self

    @keywords_checked
    def calibrate(self, x: Any, y: Any, *, sample_weight: Any = None, n_threads: int | None = None) -> float | None:
        """Make what the model says of its own certainty hold, by rows that it was not trained on.

        A classifier: its logits are scaled so that its probabilities hold (temperature scaling; Guo et al. 2017). The
        last layer's weights are divided by the temperature that minimises the cross-entropy of these rows. The order of
        the classes in `predict` stays; files, copies and exports have it.

        A net for numbers: its errors on these rows are kept, from which `predict_interval` makes intervals of any
        coverage; `predict` stays as it is. Files and copies have them, until the weights change.

        Parameters
        ----------
        x, y, sample_weight, n_threads
            As in `fit`: rows that it was not trained on, e.g. those of the validation. Intervals take no weights.

        Returns
        -------
        float or None
            The temperature of a classifier: above 1 if it was too sure.

        Raises
        ------
        ValueError, TypeError
            If the data are invalid, a classifier does not end with a `Dense`, no temperature from 0.01 to 100 is best,
            or the loss is neither a cross-entropy nor one of numbers; the model is unchanged then.

        Examples
        --------
        >>> import numpy as np, fastdense as fd
        >>> model = fd.Model([fd.Dense(1, "sigmoid", kernel_initializer="ones")], inputs=1)
        >>> model.compile("adam", "binary_crossentropy")
        >>> x, y = np.full((4, 1), 3.0), np.array([[1], [1], [1], [0]])  # sigmoid(3) is 0.95, and 3/4 are right
        >>> round(model.calibrate(x, y), 2), round(float(model.predict(x)[0, 0]), 2)
        (2.73, 0.75)
        """
        from ..initial import temperature  # seldom needed

        where = "calibrate"
        threads = check_threads(where, n_threads)
        with self.runner.lock:
            loss = self._compiled_loss(where)
            if loss.crossentropy:
                temperature.check_classifier(where, self.net, loss)
            else:
                intervals.check_kept_out(where, loss, sample_weight)
            data = prepare(where, x, y, sample_weight, self._shape, loss)
            if loss.crossentropy:
                check_batch_memory(where, self.net, len(data), self.device)
                return temperature.calibrate(where, self.runner, data, loss, threads)
            outputs = self.runner.predict(data.x, threads)
            self._scores = intervals.scores_of(loss, to_host(outputs), to_host(data.y)), self.runner.changes
            return None

    @keywords_checked
    def predict_interval(self, x: Any, *, coverage: float = 0.9, n_threads: int | None = None) -> tuple[Array, Array]:
        """Intervals in which targets lie with a given probability.

        Of a net that was trained on several quantiles (`fastdense.losses.Quantile`) the interval goes from the
        ``(1 - coverage) / 2`` quantile to that of ``(1 + coverage) / 2``; if outputs cross, they are sorted. After
        `calibrate` any loss of numbers will do, and both ends are moved by what n rows kept out need: if these rows and
        a new one are exchangeable, a target lies in its interval with at least the probability `coverage`, and, unless
        errors are equal, at most ``1 / (n + 1)`` more, whatever the net has learned (conformal prediction; of quantiles
        Romano, Patterson and Candès 2019). That holds on average over rows, not in each region of x: quantiles adapt
        the width of the intervals to x, other losses give the same width everywhere.

        Parameters
        ----------
        x, n_threads
            As in `predict`.
        coverage : float, default 0.9
            Between 0 and 1.

        Returns
        -------
        lower, upper : ndarray of shape (rows, targets)
            In the type of `predict`, on the host.

        Raises
        ------
        ValueError, TypeError
            If the data are invalid, the loss is not one of numbers, or, without `calibrate`, has no quantiles of this
            coverage, or there are too few rows of `calibrate` for it.

        Examples
        --------
        >>> import numpy as np, fastdense as fd
        >>> x = np.random.default_rng(0).uniform(-1, 1, (400, 1))
        >>> y = x + 0.3 * np.random.default_rng(1).normal(size=(400, 1))
        >>> model = fd.Model([fd.Dense(8, "tanh"), fd.Dense(1)], inputs=1)
        >>> model.compile(fd.Adam(0.02), "mse")
        >>> _ = model.fit(x[:200], y[:200], epochs=20, verbose=0)
        >>> model.calibrate(x[200:], y[200:])
        >>> lower, upper = model.predict_interval(x[200:], coverage=0.8)
        >>> bool(np.mean((lower <= y[200:]) & (y[200:] <= upper)) >= 0.8)
        True
        """
        where = "predict_interval"
        with self.runner.lock:
            loss, scores = self._compiled_loss(where), self._known_scores
            pair, moved = intervals.check_coverage(where, coverage, loss, scores)
            outputs = to_host(self.predict(x, n_threads=n_threads))
        return intervals.interval(loss, outputs, pair, moved)

    def _results(self, totals: Array, collected: dict[str, Any]) -> dict[str, Any]:
        made = columns(totals[None], self._metrics, self.outputs, collected=[collected])
        return {key: values[0] for key, values in made.items()}


def _in_a_list(logs: dict[str, float]) -> float | list[float]:
    """As `evaluate` returns them: the loss alone, or a list if there are metrics too."""
    return logs["loss"] if len(logs) == 1 else list(logs.values())
