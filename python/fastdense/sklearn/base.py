"""What the two estimators share: tables, training, attributes, prediction."""

from __future__ import annotations

import copy
import inspect
import threading
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_array, check_is_fitted, validate_data

from .._model import Model
from ..arguments import choice, flag, integer, number, shorten
from ..arrays import Array, fail
from ..callbacks import ProgressBar
from ..callbacks.base import check_callbacks
from ..callbacks.progress import check_verbose
from ..layers import Dense
from ..optimizers import Optimizer
from ..population.ensemble import Ensemble
from ..population.spread import Workers, dealt
from ..tabular.frames import Columns, is_frame
from ..training.options import check_threads
from . import rows, settings
from .preset import check_preset, fit_preset
from .rows import Table
from .stopping import Curves, StopOnNaN, Stopping

BATCH = 200  # scikit-learn's


def keep(estimator: Any, given: Mapping[str, Any]) -> None:
    """Store the arguments of ``__init__`` as they are, which is all that scikit-learn lets it do."""
    for name, value in given.items():
        if name != "self":
            setattr(estimator, name, value)


class DenseEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Base of `DenseClassifier` and `DenseRegressor`."""

    models_: list[Model]
    _curves: list[Curves]
    _made_by: dict[str, Any]  # the optimizer of the last fit, as its parameters made it

    # ---- scikit-learn's side -----------------------------------------------------------------------------------------

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        tags.input_tags.allow_nan = True
        return tags

    def _settings(self) -> dict[str, Any]:
        """The parameters, and the name of the estimator for messages."""
        return {**self.get_params(deep=False), "name": type(self).__name__}

    def _matrix(self, X: Any, reset: bool) -> Array:
        """X as a matrix: numbers, NaN where one is missing, and the codes of categories."""
        checks = {"dtype": (np.float64, np.float32), "ensure_all_finite": "allow-nan"}
        if is_frame(X):
            validate_data(self, X, skip_check_array=True, reset=reset)
            if reset:
                self._columns = Columns(self.categorical_features).fit(X)
            matrix = check_array(self._columns.transform(X), **checks, estimator=self, input_name="X")
        else:
            matrix = validate_data(self, X, **checks, reset=reset)
            if reset:
                self._columns = Columns(self.categorical_features).fit(matrix)
            matrix = self._columns.transform(matrix)
        known = reset or self._columns.missing or "tabular_" in vars(self)
        if not known and np.isnan(matrix.sum()):
            fail(type(self).__name__, "X holds missing numbers (NaN), and held none in the first fit",
                 "none are known", "fill them, or fit with rows that hold some")  # fmt: skip
        return np.asarray(matrix)

    def _targets(self, y: Any, reset: bool, classes: Any = None) -> Array:
        """Targets as the loss takes them; `reset`: those of a first fit, which decide what there is to predict."""
        raise NotImplementedError

    def _class_weight(self, y: Array, w: Array | None, partial: bool) -> Array | None:
        """Weights of rows by their classes."""
        return None

    def _head(self, params: settings.Params, y: Array) -> settings.OutputLayer:
        """What the net is to predict, for checked targets."""
        raise NotImplementedError

    def _score_of(self, table: Table, outputs: Array) -> float:
        """The score of outputs, larger is better."""
        raise NotImplementedError

    def _strata(self, y: Array) -> Array | None:
        """Classes that a split keeps in proportion."""
        return None

    # ---- training ----------------------------------------------------------------------------------------------------

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, partial: bool = False, classes: Any = None, executor: Any = None
    ) -> Any:
        params = self._settings()
        name = settings.where(params)
        if self.preset is not None:
            return self._fit_preset(params, X, y, sample_weight, partial, executor)
        if self.__dict__.pop("tabular_", None) is not None:
            del self.models_  # another fit than that of the preset begins anew
        optimizer = settings.make_optimizer(params)
        rate = settings.check_rate(params, optimizer)
        watched = self._watched(name)
        goes_on = (partial or flag(f"{name}: warm_start", self.warm_start)) and hasattr(self, "models_")
        if y is None:
            validate_data(self, X, y, skip_check_array=True)  # raises, in scikit-learn's words
        matrix = self._matrix(X, reset=not goes_on)
        targets = self._targets(y, not goes_on, classes)
        if len(targets) != len(matrix):
            fail(name, f"X has {len(matrix)} rows and y {len(targets)}", "y needs one for each row of X")
        head = self._head(params, targets)
        self.n_outputs_, self.out_activation_ = head.outputs, settings.OUT[head.activation]
        table = rows.weighted_table(name, matrix, targets, self._weights(sample_weight, targets, partial))
        if not goes_on:
            numeric = [j for j in range(self._columns.count) if j not in self._columns.categorical]
            self._fill = rows.medians(table, numeric if self._columns.missing else ())
        batch = self._batch(name, optimizer, len(table))
        if batch >= len(table):
            table = rows.merged(table)
        validation = None
        seed = int(check_random_state(self.random_state).randint(2**31))
        if watched != "training":
            fraction = number(f"{name}: validation_fraction", self.validation_fraction, above=0, below=1)
            table, validation = rows.split(name, table, fraction, self._strata(table.y), seed)
        members = integer(f"{name}: n_ensemble", 1 if self.n_ensemble is None else self.n_ensemble, least=1)
        if goes_on and len(self.models_) != members:
            fail(
                name, f"n_ensemble is {members} and {len(self.models_)} nets are fitted", "it cannot change", "fit anew"
            )
        before = self.models_ if goes_on else [None] * members
        curves = self._curves if goes_on else [Curves() for _ in range(members)]
        if not partial:
            for one in curves:
                one.best, one.waited, one.rate = [], 0, None
        models: list[Model] = []
        self.n_iter_ = 0
        penalty = self._penalty(params, optimizer, table, min(batch, len(table)))
        how = (params, optimizer, batch, rate, watched, partial, goes_on)
        for i, (old, curve) in enumerate(zip(before, curves, strict=True)):
            model = self._model_for(params, head, optimizer, penalty, matrix, (seed + i) % 2**31, old, partial)
            models.append(model)
            if i == 0:
                self.models_, self._curves = models, curves
            if goes_on and self._made_by != optimizer.to_dict():
                curve.rate = None  # a rate that was reached from another one
            if executor is None and not self._train(model, curve, table, validation, *how):
                warnings.warn(self._unconverged(name), ConvergenceWarning, stacklevel=3)
        if executor is not None and not self._train_elsewhere(executor, table, validation, how):
            warnings.warn(self._unconverged(name), ConvergenceWarning, stacklevel=3)
        self._made_by = optimizer.to_dict()
        return self

    def _train_elsewhere(self, executor: Any, table: Table, validation: Table | None, how: tuple[Any, ...]) -> bool:
        """Train all nets with the workers of an executor, keep those that are done, and say whether all converged."""
        name, models, curves = type(self).__name__, self.models_, self._curves
        workers = Workers.of(name, executor, check_threads(name, self.n_threads))
        bar = ProgressBar(check_verbose(name, self._verbosity(name)))
        alone = copy.copy(self)
        del alone.models_, alone._curves
        alone.n_threads, alone.verbose = workers.threads or None, 0
        workers.check_sent({"the net": models[0], "the estimator": alone})
        shares = dealt([1.0] * len(models), workers.groups)
        jobs = [(alone, [(models[i], curves[i]) for i in share], how) for share in shares]
        found = workers.run(_train_nets, (table, validation), jobs, bar, _losses)
        done = {
            i: net
            for share, nets in zip(shares, found, strict=True)
            for i, net in zip(share, nets or (), strict=nets is not None)
        }
        kept = [done[i] for i in sorted(done)] or [(models[0], curves[0], 0, False)]
        self.models_, self._curves = [net[0] for net in kept], [net[1] for net in kept]
        self.n_iter_ = max(net[2] for net in kept)
        if workers.interrupted:
            raise KeyboardInterrupt(f"{name}: interrupted {workers.interrupted}, and their nets are kept")
        if workers.lost:
            lost = sorted(set(range(len(models))) - done.keys())
            raise workers.error(f"nets {shorten(lost)}", "`models_` of the estimator")
        return all(net[3] for net in done.values())

    def _unconverged(self, name: str) -> str:
        return f"{name}: training has not converged after max_iter={self.max_iter} epochs; use a larger max_iter"

    def _fit_preset(
        self, params: dict[str, Any], X: Any, y: Any, sample_weight: Any, partial: bool, executor: Any
    ) -> Any:
        """Let `fastdense.tabular` choose and train the nets."""
        name = settings.where(params)
        defaults = {key: one.default for key, one in inspect.signature(type(self)).parameters.items()}
        check_preset(params, defaults)
        if partial:
            fail(name, f"partial_fit was called and preset is {shorten(self.preset)}", "it needs all rows at once",
                 "use fit")  # fmt: skip
        if y is None:
            validate_data(self, X, y, skip_check_array=True)  # raises, in scikit-learn's words
        matrix = self._matrix(X, reset=True)
        targets = self._targets(y, True)
        if len(targets) != len(matrix):
            fail(name, f"X has {len(matrix)} rows and y {len(targets)}", "y needs one for each row of X")
        weights = self._weights(sample_weight, targets, False)
        rows.weighted_table(name, matrix, targets, weights)  # raises if all are 0
        seed = int(check_random_state(self.random_state).randint(2**31))
        kind, numbers = self._task(targets)
        source = X if is_frame(X) else matrix
        threads, verbose = self._threads(name), self._verbosity(name)
        made = fit_preset(params, source, numbers, weights, kind, seed, threads, verbose, executor)
        self.tabular_, self._columns = made, made.columns
        self.models_ = sorted(made.ensemble.members, key=lambda one: one is not made.best)
        self.n_outputs_ = made.ensemble.outputs
        self.n_iter_ = max(1, *(int(one["epochs"]) for one in made.report_["members"]))
        self.__dict__.pop("_curves", None)
        return self

    def _task(self, y: Array) -> tuple[str, Array]:
        """Kind of the task, and checked targets as `fastdense.tabular` takes them."""
        raise NotImplementedError

    def _weights(self, sample_weight: Any, y: Array, partial: bool) -> Array | None:
        """Weights of rows: those given times those of their classes."""
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, y, dtype=np.float64, ensure_non_negative=True)
        by_class = self._class_weight(y, weights, partial)
        return weights if by_class is None else by_class if weights is None else weights * by_class

    def _watched(self, name: str) -> str:
        """What decides when training ends: the training loss, the validation loss or score."""
        given = self.early_stopping
        if isinstance(given, str):
            return choice(f"{name}: early_stopping", given, ("loss", "score"), other="True or False")
        return "score" if flag(f"{name}: early_stopping", given) else "training"

    def _batch(self, name: str, optimizer: Optimizer, count: int) -> int:
        """Rows of a step."""
        given = self.batch_size
        if isinstance(given, str):
            choice(f"{name}: batch_size", given, ("auto",), other="a whole number")
            return count if optimizer.full_batch else min(BATCH, count)
        size = integer(f"{name}: batch_size", given, least=1)
        if optimizer.full_batch and size < count:
            fail(name, f"batch_size is {size} for {count} rows", f"{shorten(self.solver)} takes all rows in each step",
                 "use batch_size='auto'")  # fmt: skip
        return min(size, count)

    def _penalty(self, params: settings.Params, optimizer: Optimizer, table: Table, batch: int) -> float:
        """Factor of the sum of squares: scikit-learn's ``alpha / 2``, divided by the weights of a batch."""
        strength = settings.alpha(params)
        if not isinstance(self.solver, Optimizer) and settings.decay_arguments(type(optimizer)):
            return 0.0
        return strength / (2 * batch * table.total / len(table))

    def _model_for(
        self,
        params: settings.Params,
        head: settings.OutputLayer,
        optimizer: Optimizer,
        penalty: float,
        matrix: Array,
        seed: int,
        old: Model | None,
        partial: bool,
    ) -> Model:
        """A compiled model: new, with the weights of the last fit, or the one of the last partial fit as it is."""
        front = settings.front_layers(self._columns, self._fill, settings.needs_jacobian(optimizer))
        layers = settings.make_layers(params, head, penalty, front)
        dtype = old.dtype if old is not None else "float32" if matrix.dtype == np.float32 else "float64"
        signs = settings.monotonic(params, getattr(self, "feature_names_in_", None))
        model = Model(layers, inputs=matrix.shape[1], seed=seed if old is None else old.seed, dtype=dtype,
                      device=self.device, monotonic=signs)  # fmt: skip
        model.compile(copy.deepcopy(optimizer), head.loss, loss_weights=head.factor)
        if old is None:
            return model
        made_alike = self._made_by == optimizer.to_dict()
        if partial and made_alike and [one.to_dict() for one in model.layers] == [one.to_dict() for one in old.layers]:
            return old
        weights = old.get_weights()
        if [tensor.shape for tensor in model.net.tensors] != [one.shape for one in weights]:
            fail(settings.where(params), "the layers are others than those of the fit before",
                 "warm_start and partial_fit go on with the same ones", "fit without warm_start")  # fmt: skip
        model.set_weights(weights)
        model.runner.epochs_trained = old.runner.epochs_trained
        slots = old.runner.slots()
        if partial and type(optimizer) is type(old.optimizer) and len(slots) == len(model.runner.slots()):
            model.runner.set_slots(slots, old.runner.step, old.runner.numbers())
        return model

    def _train(
        self,
        model: Model,
        curves: Curves,
        table: Table,
        validation: Table | None,
        params: settings.Params,
        optimizer: Optimizer,
        batch: int,
        rate: str,
        watched: str,
        partial: bool,
        goes_on: bool,
    ) -> bool:
        """Train one net, read the attributes off its curves, also after Ctrl-C, and say whether it has converged."""
        name = settings.where(params)
        epochs = 1 if partial else self._most_epochs(name, model.optimizer)
        threads = self._threads(name)
        stopping = Stopping(
            curves,
            watched,
            None if validation is None else lambda made: self._score_of(validation, made.predict(validation.x)),
            tol=number(f"{name}: tol", self.tol, least=0),
            patience=self._patience(name, model.optimizer, watched, partial),
            rate=rate,
            first_rate=optimizer.learning_rate if rate != "constant" else 0.0,
            power=number(f"{name}: power_t", self.power_t),
            rows=len(table),
            noisy=bool(self.dropout),
            seconds=None if self.time_limit is None else number(f"{name}: time_limit", self.time_limit, above=0),
        )
        kept_out = None if validation is None else (validation.x, validation.y, validation.scaled)
        starts = integer(f"{name}: n_starts", self.n_starts, least=1)
        try:
            history = model.fit(
                table.x,
                table.y,
                sample_weight=table.scaled,
                batch_size=None if model.optimizer.full_batch else batch,
                epochs=epochs,
                verbose=self._verbosity(name),
                callbacks=[*check_callbacks(name, self.callbacks), stopping, StopOnNaN()],
                validation_data=kept_out,
                shuffle=self.shuffle,
                starts=1 if goes_on else starts,
                n_threads=threads,
            )
        finally:
            self.n_iter_ = max(1, self.n_iter_, stopping.epochs)
        if not all(np.isfinite(tensor).all() for tensor in model.get_weights()) or not np.isfinite(self.loss_):
            fail(name, f"the loss or a weight is not finite after epoch {stopping.epochs}", "training diverged",
                 "scale X (and y) to about 1, or use a smaller learning_rate_init")  # fmt: skip
        ended = model.stop_training or "ended" in history.params
        return bool(partial or ended or stopping.epochs < epochs)

    def _most_epochs(self, name: str, optimizer: Optimizer) -> int:
        most = integer(f"{name}: max_iter", self.max_iter, least=1)
        if self.max_fun is None:
            return most
        calls = integer(f"{name}: max_fun", self.max_fun, least=1)
        tries = getattr(optimizer, "line_search_steps", None) if optimizer.full_batch else None
        return most if tries is None else max(1, min(most, calls // tries))

    def _patience(self, name: str, optimizer: Optimizer, watched: str, partial: bool) -> int | None:
        """Epochs without improvement that end training; a full-batch solver without validation knows its own end."""
        patience = integer(f"{name}: n_iter_no_change", self.n_iter_no_change, least=1)
        return None if partial or (optimizer.full_batch and watched == "training") else patience

    def _verbosity(self, name: str) -> int | str:
        """`verbose` of `Model.fit`; larger numbers, which scikit-learn's examples give, are 2."""
        if isinstance(self.verbose, str):
            return choice(f"{name}: verbose", self.verbose, ("auto",), other="True, False, 0, 1 or 2")
        return min(2, int(self.verbose) if isinstance(self.verbose, bool) else
                   integer(f"{name}: verbose", self.verbose, least=0))  # fmt: skip

    def _threads(self, name: str) -> int | None:
        """Threads of a fit or a prediction: one in a thread of joblib's, which has started others beside it."""
        check_threads(f"{name}", self.n_threads)
        if self.n_threads is None and threading.current_thread() is not threading.main_thread():
            from joblib.parallel import get_active_backend

            if get_active_backend()[0].nesting_level:
                return 1
        return None if self.n_threads is None else int(self.n_threads)

    # ---- prediction --------------------------------------------------------------------------------------------------

    def _predictor(self) -> Any:
        """The fitted net, or the ensemble of several."""
        if "tabular_" in vars(self):
            return self.tabular_.ensemble
        return self.model_ if len(self.models_) == 1 else Ensemble(self.models_)

    def _outputs(self, X: Any) -> Array:
        """Outputs of the net, or their mean over several, (rows, outputs)."""
        check_is_fitted(self)
        matrix, threads = self._matrix(X, reset=False), self._threads(type(self).__name__)
        made: Array = self._predictor().predict(matrix, n_threads=threads)
        return made

    def diagnose(self, X: Any, y: Any, **options: Any) -> Any:
        """Explain why training has failed or stalled, if it has, and what repairs it.

        Parameters
        ----------
        X, y
            As they were given to `fit`.
        **options
            Those of `fastdense.Model.diagnose`, such as `sample_weight` and `budget`.

        Returns
        -------
        Diagnosis
        """
        check_is_fitted(self)
        return self.model_.diagnose(self._matrix(X, reset=False), self._targets(y, False), **options)

    # ---- attributes that read the model ------------------------------------------------------------------------------

    @property
    def model_(self) -> Model:
        """The `fastdense.Model`, the first of several."""
        model: Model = self._first("model_", "models_")
        return model

    @property
    def coefs_(self) -> list[Array]:
        """Kernels of the dense layers, copies."""
        return self._tensors("coefs_", "kernel")

    @property
    def intercepts_(self) -> list[Array]:
        """Biases of the dense layers, copies."""
        return self._tensors("intercepts_", "bias")

    @property
    def n_layers_(self) -> int:
        """Number of layers, the inputs counted as one, as in scikit-learn."""
        return 1 + sum(isinstance(layer, Dense) for layer in self._first("n_layers_", "models_").layers)

    @property
    def loss_curve_(self) -> list[float]:
        """Training loss of each epoch, penalties included."""
        return list(self._first("loss_curve_", "_curves").loss)

    @property
    def loss_(self) -> float:
        """Training loss of the last epoch."""
        return float(self.loss_curve_[-1])

    @property
    def best_loss_(self) -> float:
        """Smallest training loss of an epoch."""
        return min(self.loss_curve_)

    @property
    def t_(self) -> int:
        """Number of rows that were trained on, each counted in every epoch."""
        return int(self._first("t_", "_curves").rows)

    @property
    def validation_loss_curve_(self) -> list[float] | None:
        """Loss of the validation rows after each epoch, penalties included; None without `early_stopping`."""
        return list(self._first("validation_loss_curve_", "_curves").validation_loss) or None

    @property
    def validation_scores_(self) -> list[float] | None:
        """Accuracy or R2 of the validation rows after each epoch; None without `early_stopping`."""
        return list(self._first("validation_scores_", "_curves").validation_score) or None

    @property
    def best_validation_score_(self) -> float | None:
        """The largest of `validation_scores_`."""
        scores = self.validation_scores_
        return None if scores is None else max(scores)

    def _first(self, name: str, kept: str) -> Any:
        if kept not in vars(self):
            when = "with a preset" if "tabular_" in vars(self) else "before fit"
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r} {when}")
        return vars(self)[kept][0]

    def _tensors(self, name: str, ends: str) -> list[Array]:
        model = self._first(name, "models_")
        pairs = zip(model.net.tensors, model.get_weights(), strict=True)
        return [array for tensor, array in pairs if tensor.name.rsplit("/", 1)[-1] == ends]


def column_of(y: Sequence[Any] | Array) -> Array:
    """Targets as an array of one or two dimensions, checked by scikit-learn."""
    checked: Array = check_array(y, ensure_2d=False, dtype=None, input_name="y", ensure_min_samples=0)
    return checked


_Net = tuple[Model, Curves, int, bool]  # what a worker returns: a net, its curves, epochs, whether it has converged


def _train_nets(
    data: tuple[Table, Table | None],
    estimator: DenseEstimator,
    nets: Sequence[tuple[Model, Curves]],
    how: tuple[Any, ...],
) -> list[_Net]:
    """Train some nets of an estimator, in a worker."""
    found, estimator = [], copy.deepcopy(estimator)  # with an executor of threads, others use the same one
    for model, curves in nets:
        estimator.models_, estimator._curves, estimator.n_iter_ = [model], [curves], 0
        converged = estimator._train(model, curves, *data, *how)
        found.append((model, curves, estimator.n_iter_, converged))
    return found


def _losses(nets: Sequence[_Net]) -> list[Array]:
    return [np.array(curves.loss[-1:]) for _, curves, _, _ in nets]
