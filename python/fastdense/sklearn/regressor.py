"""`DenseRegressor`."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils import column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from ..arguments import shorten
from ..arrays import Array, fail
from ..losses import Quantile
from . import rows, settings
from .base import DenseEstimator, column_of, keep
from .partial import has_partial_fit
from .rows import Table


class DenseRegressor(RegressorMixin, DenseEstimator):  # type: ignore[misc]
    """A dense net as a regressor of scikit-learn, with the parameters of its `MLPRegressor` and more.

    y may have several columns. float32 rows are computed in float32, others in float64.

    Parameters
    ----------
    loss : str or Loss, default "squared_error"
        "squared_error", "absolute_error", "huber", "quantile", "poisson" (the output is then exponential, so that
        predictions are positive), or an object such as ``fastdense.losses.Huber(2.0)``. As in scikit-learn, squared
        errors are halved; losses of several outputs are added.
    quantile : float or list of float, optional
        The quantile that loss="quantile" learns; 0.5 unless given. Or several in ascending order, 0.5 among them, which
        `predict` gives; `predict_interval` gives intervals. They do not cross.
    monotonic_cst : array-like of int, or dict, optional
        As in `DenseClassifier`.
    early_stopping : {False, True, "score", "loss"}, default False
        As in `DenseClassifier`; the score is R2.
    solver : str or Optimizer, default "adam"
        As in `DenseClassifier`; "lm" (Levenberg-Marquardt) besides, for the squared error.
    hidden_layer_sizes, activation, alpha, batch_size, learning_rate, learning_rate_init, power_t, max_iter, shuffle
        As in `DenseClassifier`, and so all that follow.
    random_state, tol, verbose, warm_start, momentum, nesterovs_momentum, validation_fraction, beta_1, beta_2
    epsilon, n_iter_no_change, max_fun, dropout, batch_norm, callbacks, device, n_starts, n_threads, n_ensemble
    preset, time_limit, categorical_features

    Attributes
    ----------
    model_, models_, loss_curve_, loss_, best_loss_, validation_loss_curve_, validation_scores_, n_iter_, t_
        As in `DenseClassifier`, and so all that follow.
    best_validation_score_, coefs_, intercepts_, n_layers_, n_outputs_, out_activation_, n_features_in_
    feature_names_in_

    Examples
    --------
    >>> import numpy as np
    >>> from fastdense.sklearn import DenseRegressor
    >>> x = np.linspace(-3, 3, 200)[:, None]
    >>> net = DenseRegressor(hidden_layer_sizes=(16,), activation="tanh", solver="lm", random_state=0)
    >>> net.fit(x, np.sin(x[:, 0])).score(x, np.sin(x[:, 0])) > 0.999
    True
    """

    def __init__(
        self,
        *,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        solver: Any = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: Any = None,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float | None = None,
        nesterovs_momentum: bool | None = None,
        early_stopping: bool | str = False,
        validation_fraction: float = 0.1,
        beta_1: float | None = None,
        beta_2: float | None = None,
        epsilon: float | None = None,
        n_iter_no_change: int = 10,
        max_fun: int | None = None,
        loss: Any = "squared_error",
        quantile: Any = None,
        dropout: float = 0.0,
        batch_norm: bool = False,
        callbacks: Any = None,
        device: str = "cpu",
        n_starts: int = 1,
        n_threads: int | None = None,
        n_ensemble: int | None = None,
        preset: str | None = None,
        time_limit: float | None = None,
        categorical_features: Any = "from_dtype",
        monotonic_cst: Any = None,
    ) -> None:
        keep(self, locals())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, executor: Any = None) -> DenseRegressor:
        """Train the net.

        Parameters
        ----------
        X : array or data frame of shape (n, columns)
        y : array of shape (n,) or (n, outputs)
        sample_weight : array of shape (n,), optional
            At least 0.
        executor : executor, or tuple of an executor and an int, optional
            What trains the nets of `n_ensemble`, or of the preset, in other processes; see `fastdense.fit_many`. It is
            no parameter of the estimator, because it cannot be cloned or pickled. Callbacks run where the nets are
            trained.

        Returns
        -------
        DenseRegressor
            The estimator itself.

        Raises
        ------
        ValueError, TypeError
            If the data or a parameter is invalid, or training diverged.
        KeyboardInterrupt
            On Ctrl-C; the estimator is that of the epochs finished by then, or with an executor has the nets that are
            done.
        WorkerLost
            If workers of the executor ended, as in `fastdense.fit_many`; the estimator has the nets that are done.
        """
        self.__dict__.pop("_calibrated", None)
        self._fit(X, y, sample_weight, executor=executor)
        return self

    @available_if(has_partial_fit)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> DenseRegressor:
        """Train for one epoch on some rows, going on with the optimizer's state; see `DenseClassifier.partial_fit`."""
        self.__dict__.pop("_calibrated", None)
        self._fit(X, y, sample_weight, partial=True)
        return self

    def predict(self, X: Any) -> Array:
        """Predictions, (n,), or (n, outputs) after a fit with y of several columns; of several quantiles the median."""
        outputs = self._middle(self._outputs(X))
        return outputs[:, 0] if self._flat else outputs

    def calibrate(self, X: Any, y: Any) -> DenseRegressor:
        """Keep the errors on rows that were not fitted on, from which `predict_interval` makes intervals.

        Parameters
        ----------
        X : array or data frame of shape (n, columns)
        y : array of shape (n,) or (n, outputs)

        Returns
        -------
        DenseRegressor
            The estimator itself; the next fit forgets them.
        """
        check_is_fitted(self)
        threads = self._threads(type(self).__name__)
        net = self._predictor()
        net.calibrate(self._matrix(X, reset=False), self._targets(y, False), n_threads=threads)
        self._calibrated = net
        return self

    def predict_interval(self, X: Any, coverage: float = 0.9) -> tuple[Array, Array]:
        """Intervals in which targets lie with a given probability; see `fastdense.Model.predict_interval`.

        Parameters
        ----------
        X : array or data frame of shape (n, columns)
        coverage : float, default 0.9
            Of several quantiles two must make it up, unless `calibrate` was called.

        Returns
        -------
        lower, upper : ndarray of shape (n,) or (n, outputs)

        Examples
        --------
        >>> import numpy as np
        >>> from fastdense.sklearn import DenseRegressor
        >>> x = np.random.default_rng(0).uniform(-1, 1, (600, 1))
        >>> y = x[:, 0] + (0.1 + 0.2 * (x[:, 0] > 0)) * np.random.default_rng(1).normal(size=600)
        >>> net = DenseRegressor(loss="quantile", quantile=[0.05, 0.5, 0.95], max_iter=300, random_state=0)
        >>> net = net.fit(x[:400], y[:400]).calibrate(x[400:], y[400:])
        >>> lower, upper = net.predict_interval(x, coverage=0.9)
        >>> bool(np.mean((lower <= y) & (y <= upper)) > 0.85)
        True
        """
        check_is_fitted(self)
        net = vars(self).get("_calibrated") or self._predictor()
        matrix, threads = self._matrix(X, reset=False), self._threads(type(self).__name__)
        lower, upper = net.predict_interval(matrix, coverage=coverage, n_threads=threads)
        return (lower[:, 0], upper[:, 0]) if self._flat else (lower, upper)

    def _middle(self, outputs: Array) -> Array:
        """What is predicted: all outputs, or the median of each target."""
        if "tabular_" in vars(self):
            return outputs
        loss = self.model_.loss
        if not isinstance(loss, Quantile) or loss.outputs_each == 1:
            return outputs
        return outputs[:, loss.levels.index(0.5) :: loss.outputs_each]

    # ---- how the base asks -------------------------------------------------------------------------------------------

    def _targets(self, y: Any, reset: bool, classes: Any = None) -> Array:
        y = column_of(y)
        if y.dtype.kind not in "fiub":
            y = y.astype(np.float64)  # as scikit-learn does: strings of numbers, objects
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if y.dtype.kind != "f":
            y = y.astype(np.float64)
        outputs = 1 if y.ndim == 1 else y.shape[1]
        if reset:
            self._flat, self._outputs_fitted = y.ndim == 1, outputs
        elif outputs != self._outputs_fitted:
            fail(
                type(self).__name__,
                f"y has {outputs} columns",
                f"{self._outputs_fitted} are needed, as in the first fit",
            )
        return np.asarray(y.reshape(len(y), outputs))

    def _head(self, params: settings.Params, y: Array) -> settings.OutputLayer:
        loss = settings.regression_loss(params)
        if loss.targets == "counts" and (y < 0).any():
            fail(settings.where(params), f"y holds {y.min():g} and loss is {shorten(params['loss'])}",
                 "it is for counts, 0 or more", "use e.g. loss='squared_error'")  # fmt: skip
        outputs = self._outputs_fitted * loss.outputs_each
        return settings.OutputLayer(loss, settings.suitable_activation(loss), outputs)

    def _task(self, y: Array) -> tuple[str, Array]:
        return "regression", y

    def _score_of(self, table: Table, outputs: Array) -> float:
        return rows.r2(table, self._middle(outputs))
