"""`DenseClassifier`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from .. import losses
from ..arguments import choice, number, shorten
from ..arrays import Array, fail
from . import rows, settings
from .base import DenseEstimator, column_of, keep
from .partial import has_partial_fit
from .rows import Table


class DenseClassifier(ClassifierMixin, DenseEstimator):  # type: ignore[misc]
    """A dense net as a classifier of scikit-learn, with the parameters of its `MLPClassifier` and more.

    Two classes are one sigmoid output, more a softmax, and several labels (y of shape (n, labels), 0 and 1) a sigmoid
    for each. float32 rows are computed in float32, others in float64. Rows of weight 2 count as rows that are there
    twice, rows of weight 0 as rows that are not; where a step takes all rows, to the last bit.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default (100,)
        Units of each hidden layer; () is logistic regression.
    activation : str, default "relu"
        Of the hidden layers: any of `fastdense.activations.ACTIVATIONS`, or a name of scikit-learn's.
    solver : str or Optimizer, default "adam"
        "sgd", "adam", "adamw", "rmsprop", "lion", "muon", "kfac" and whatever else `fastdense.optimizers` has, which
        take the rows in batches; "lbfgs" and "newton-cg", which take all of them in each step. An object, such as
        ``fastdense.Muon(0.02)``, has its own parameters, and those below must be left out.
    alpha : float, default 0.0001
        Strength of the l2 penalty: half of it, divided by the weights of a batch, times the sum of the squared
        kernels. For optimizers that decay weights by default ("adamw", "muon") it is that decay instead.
    batch_size : int or "auto", default "auto"
        "auto" is 200 rows, or all if there are fewer; all for a full-batch solver.
    learning_rate : {"constant", "invscaling", "adaptive"}, default "constant"
        "invscaling" divides the rate by ``(t_ + 1) ** power_t`` after each epoch; "adaptive" divides it by 5 where
        training would stop, until it is 1e-6. For every solver that has a rate.
    learning_rate_init : float or Schedule, optional
        The learning rate; 0.001 for "adam" and "sgd", else the optimizer's own default.
    power_t : float, default 0.5
        Exponent of "invscaling".
    max_iter : int, default 200
        Most epochs; of a full-batch solver, most iterations.
    shuffle : bool, default True
        Whether each epoch takes the rows in a new order.
    random_state : int, RandomState instance or None, default None
        Decides the first weights, the order of the rows, the split for validation and dropout.
    tol : float, default 1e-4
        What counts as an improvement. A full-batch solver ends once no element of the gradient is larger.
    verbose : bool, int or "auto", default False
        As in `fastdense.Model.fit`: 1 or True shows a bar, 2 and more a line for each epoch.
    warm_start : bool, default False
        Whether `fit` goes on with the weights of the fit before.
    momentum, nesterovs_momentum, beta_1, beta_2, epsilon : optional
        Of the solvers that have them; 0.9, True, 0.9, 0.999 and 1e-8 for "sgd" and "adam", else the optimizer's
        defaults. One that the solver has not is an error (scikit-learn's default value is not).
    early_stopping : {False, True, "score", "loss"}, default False
        Whether rows are kept out, and the weights of the best epoch are restored. "loss" goes by their loss; "score",
        which True means, by their accuracy, and training goes on as long as accuracy or loss improves. False goes by
        the training loss and keeps the last weights.
    validation_fraction : float, default 0.1
        Of the rows, for early stopping; every class in proportion.
    n_iter_no_change : int, default 10
        More epochs than this without improvement end training. With dropout, whose losses are random, the training
        loss is averaged over so many epochs.
    max_fun : int, optional
        Most evaluations of the loss by "lbfgs": iterations are limited to a number that cannot exceed it.
    loss : {"log_loss"}, default "log_loss"
    class_weight : dict or "balanced", optional
        Weight of each class, 1 for those not named, times `sample_weight`; "balanced" gives each class the same total.
    dropout : float, default 0.0
        Fraction of the units of each hidden layer that is set to 0 in training.
    batch_norm : bool, default False
        Whether the input of each hidden activation is normalized over the batch.
    callbacks : list of fastdense.callbacks.Callback, optional
        Run during `fit`; used as they are, not copied.
    device : {"cpu", "cuda", "reference"}, default "cpu"
        As in `fastdense.Model`.
    n_starts : int, default 1
        More than 1: so many first weights are trained for a short time, and the best are trained to the end.
    n_threads : int, optional
        By default as many as this process may use (joblib's worker processes limit that), and one in a thread of
        joblib's.
    n_ensemble : int, optional
        More than 1: so many nets with seeds of their own, whose outputs are averaged.
    preset : {None, "tabular"}, default None
        "tabular" is the recipe of `fastdense.tabular.fit`, which chooses net and training by itself.
    time_limit : float, optional
        Seconds after which training ends, at the end of an epoch; the result then depends on the machine.
    categorical_features : "from_dtype", None or sequence, default "from_dtype"
        Columns that hold categories, each of which becomes a column of 0 and 1: those of a data frame whose dtype is
        category, enum, string, bool or object; none; or those listed, by name, number or mask.
    monotonic_cst : array-like of int, or dict, optional
        As scikit-learn's `HistGradientBoostingClassifier` takes it: -1, 0 or 1 for each column, or a dict by the names
        of a data frame's columns, 0 where it has none. What is predicted (of a classifier: the probability of the
        second of two classes) never rises with a column of -1 and never falls with one of 1; see ``monotonic`` of
        `fastdense.Model`, which also says what is refused. Give two hidden layers or more.

    Attributes
    ----------
    classes_ : ndarray of shape (classes,)
        Sorted; of several labels, their numbers.
    model_, models_ : fastdense.Model, and list of these
        The net, and with `n_ensemble` all of them. It takes what `X` is after categories have become codes.
    loss_curve_, loss_, best_loss_ : list of float, float, float
        Training loss of each epoch, penalties included; the last and the smallest.
    validation_loss_curve_, validation_scores_, best_validation_score_ : list of float, list of float, float, or None
        Of the rows kept out, after each epoch.
    n_iter_, t_ : int
        Epochs of the last `fit`; rows trained on in all, each counted in every epoch.
    coefs_, intercepts_ : list of ndarray
        Copies of the kernels and biases; `model_.set_weights` changes them.
    n_layers_, n_outputs_, out_activation_
        As in scikit-learn.
    n_features_in_, feature_names_in_
        Number of columns, and their names if X was a data frame.
    tabular_ : fastdense.tabular.TabularModel
        With ``preset="tabular"`` only; its `report_` says what was tried. There are no curves then.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdense.sklearn import DenseClassifier
    >>> x = np.random.default_rng(0).normal(size=(500, 2))
    >>> y = np.where(x[:, 0] * x[:, 1] > 0, "same", "other")
    >>> net = DenseClassifier(hidden_layer_sizes=(32,), solver="lbfgs", random_state=0).fit(x, y)
    >>> net.predict([[1.0, 1.0], [1.0, -1.0]])
    array(['same', 'other'], dtype='<U5')
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
        loss: str = "log_loss",
        class_weight: Any = None,
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
        tags.classifier_tags.multi_label = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, executor: Any = None) -> DenseClassifier:
        """Train the net.

        Parameters
        ----------
        X : array or data frame of shape (n, columns)
        y : array of shape (n,), or (n, labels) of 0 and 1
            Labels of any kind: numbers, strings, bools.
        sample_weight : array of shape (n,), optional
            At least 0.
        executor : executor, or tuple of an executor and an int, optional
            What trains the nets of `n_ensemble`, or of the preset, in other processes; see `fastdense.fit_many`. It is
            no parameter of the estimator, because it cannot be cloned or pickled. Callbacks run where the nets are
            trained.

        Returns
        -------
        DenseClassifier
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
        self._fit(X, y, sample_weight, executor=executor)
        return self

    @available_if(has_partial_fit)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> DenseClassifier:
        """Train for one epoch on some rows, going on with the optimizer's state.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        classes : array, optional
            All labels that will come; needed in the first call unless all are in y.

        Returns
        -------
        DenseClassifier
            The estimator itself.

        Raises
        ------
        AttributeError
            With a full-batch solver, or early stopping.
        """
        self._fit(X, y, sample_weight, partial=True, classes=classes)
        return self

    def predict(self, X: Any) -> Array:
        """The most probable class of each row, (n,); of several labels 0 or 1 for each, (n, labels)."""
        outputs = self._outputs(X)
        if self._multilabel:
            return np.asarray(outputs > 0.5, dtype=int)
        if len(self.classes_) <= 2:
            chosen = (outputs[:, 0] > 0.5).astype(int) if len(self.classes_) == 2 else np.zeros(len(outputs), dtype=int)
        else:
            chosen = outputs.argmax(axis=1)
        return np.asarray(self.classes_[chosen])

    def predict_proba(self, X: Any) -> Array:
        """Probabilities of the classes, in the order of `classes_`, or of each label, (n, classes); never 0 or 1."""
        outputs = self._outputs(X)
        limits = np.finfo(outputs.dtype)
        outputs = np.clip(outputs, limits.tiny, 1 - limits.epsneg)
        if self._multilabel or len(self.classes_) > 2:
            return outputs
        if len(self.classes_) == 1:
            return np.ones_like(outputs)
        return np.hstack([1 - outputs, outputs])

    def predict_log_proba(self, X: Any) -> Array:
        """Logarithms of `predict_proba`."""
        made: Array = np.log(self.predict_proba(X))
        return made

    # ---- how the base asks -------------------------------------------------------------------------------------------

    def _targets(self, y: Any, reset: bool, classes: Any = None) -> Array:
        name = type(self).__name__
        y = column_of(y)
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y")
        multilabel = kind == "multilabel-indicator"
        if kind == "multiclass-multioutput":
            fail(name, "y has several columns of more than two classes", "one column, or 0 and 1 for each label",
                 "fit a classifier for each column (sklearn.multioutput.MultiOutputClassifier)")  # fmt: skip
        if not multilabel:
            y = column_or_1d(y, warn=True)
        if reset:
            self._set_classes(y, classes, multilabel)
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            fail(name, f"classes is {shorten(classes)} and was {shorten(self.classes_.tolist())}", "it cannot change")
        if multilabel != self._multilabel:
            fail(name, f"y is {kind}", "targets of the kind of the first fit are needed", "fit anew")
        if multilabel:
            if y.shape[1] != len(self.classes_):
                fail(name, f"y has {y.shape[1]} columns", f"{len(self.classes_)} are needed, as in the first fit")
            return np.asarray(y, dtype=np.float32)
        place = np.searchsorted(self.classes_, y)
        strange = self.classes_[np.minimum(place, len(self.classes_) - 1)] != y
        if strange.any():
            known = shorten(self.classes_.tolist())
            fail(name, f"y holds {shorten(y[strange].tolist()[0])}, which is not in classes_, {known}",
                 "warm_start and partial_fit go on with the same classes",
                 "pass all to the first partial_fit (classes=...), or fit anew")  # fmt: skip
        if len(self.classes_) > 2:
            return np.asarray(place)
        return np.asarray(place[:, None], dtype=np.float32)

    def _set_classes(self, y: Array, classes: Any, multilabel: bool) -> None:
        self._multilabel = multilabel
        if multilabel:
            self.classes_ = np.arange(y.shape[1])
        else:
            self.classes_ = np.unique(y if classes is None else np.asarray(classes))

    def _class_weight(self, y: Array, w: Array | None, partial: bool) -> Array | None:
        given, name = self.class_weight, type(self).__name__
        if given is None:
            return None
        if self._multilabel:
            fail(name, "class_weight is given and y has several labels", "one class per row is needed",
                 "pass sample_weight")  # fmt: skip
        ids, count = y.reshape(-1).astype(np.intp), len(self.classes_)
        if isinstance(given, str):
            choice(f"{name}: class_weight", given, ("balanced",), other="a dict from class to weight")
            if partial:
                fail(name, "class_weight is 'balanced' in partial_fit", "all rows would have to be known",
                     "pass a dict from class to weight")  # fmt: skip
            sums = np.bincount(ids, weights=w, minlength=count)
            present = sums > 0
            table = np.where(present, sums.sum() / (present.sum() * np.where(present, sums, 1)), 1.0)
            return np.asarray(table[ids])
        if not isinstance(given, Mapping):
            raise TypeError(f"{name}: class_weight={shorten(given)}. Give a dict from class to weight, or 'balanced'.")
        known = self.classes_.tolist()
        strange = [label for label in given if label not in known]
        if strange:
            fail(name, f"class_weight names the class {shorten(strange[0])}", f"the classes are {shorten(known)}")
        table = np.array(
            [number(f"{name}: class_weight[{label!r}]", given.get(label, 1.0), least=0) for label in known]
        )
        return np.asarray(table[ids])

    def _head(self, params: settings.Params, y: Array) -> settings.OutputLayer:
        choice(f"{settings.where(params)}: loss", params["loss"], ("log_loss",))
        count = len(self.classes_)
        if self._multilabel:
            return settings.OutputLayer(losses.BinaryCrossentropy(), "sigmoid", count)
        if count > 2:
            return settings.OutputLayer(losses.SparseCategoricalCrossentropy(), "softmax", count)
        return settings.OutputLayer(losses.BinaryCrossentropy(), "sigmoid", 1)

    def _task(self, y: Array) -> tuple[str, Array]:
        if self._multilabel:
            fail(type(self).__name__, "y has several labels and preset is 'tabular'", "one class per row is needed",
                 "fit a classifier for each label (sklearn.multioutput.MultiOutputClassifier)")  # fmt: skip
        return "classification", y.reshape(-1).astype(np.intp)

    def _score_of(self, table: Table, outputs: Array) -> float:
        return rows.accuracy(table, outputs)

    def _strata(self, y: Array) -> Array | None:
        return None if self._multilabel else y.reshape(-1)
