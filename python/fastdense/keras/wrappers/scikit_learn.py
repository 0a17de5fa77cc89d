"""`KerasClassifier` and `KerasRegressor`, by the names of scikeras and of Keras 2's ``keras.wrappers.scikit_learn``."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from ...arguments import suggestion
from .. import losses, optimizers
from ..network import Network
from ..settings import seeds_from
from ..utils import to_categorical
from .rows import (
    Array,
    BaseEstimator,
    ClassifierMixin,
    RegressorMixin,
    class_numbers,
    new_model_like,
    rows_of,
    training_rows,
)

_FIT = ("batch_size", "epochs", "verbose", "callbacks", "validation_split", "validation_data", "shuffle",
        "class_weight", "initial_epoch")  # fmt: skip
_COMPILE = ("optimizer", "loss", "metrics", "loss_weights")
_PREFIXES = ("model__", "optimizer__", "fit__", "predict__", "compile__")


class _KerasEstimator(BaseEstimator):  # type: ignore[misc]
    """An estimator around a function that makes a model.

    Parameters
    ----------
    model : function or model
        Makes the model; `build_fn` is its older name. Options that it has as arguments are passed to it, and so are
        those that begin with ``model__``.
    random_state : int, optional
        Seed of the model; random unless given.
    warm_start : bool
        Whether to go on with the model of the last fit.
    **options
        Arguments of ``fit`` (epochs, batch_size, verbose, callbacks, ...); optimizer, loss and metrics, for a model
        that the function has not compiled, with arguments of the optimizer as ``optimizer__learning_rate``; and those
        of the function.
    """

    def __init__(
        self, model: Any = None, *, build_fn: Any = None, random_state: int | None = None, warm_start: bool = False,
        **options: Any,
    ) -> None:  # fmt: skip
        self.model, self.build_fn, self.random_state, self.warm_start = model, build_fn, random_state, warm_start
        self._options = sorted(options)
        self._check(options)
        self.__dict__.update(options)

    def _function(self) -> Any:
        return self.build_fn if self.model is None else self.model

    def _arguments(self) -> tuple[list[str], bool]:
        """Names of the arguments of the function, and whether it takes any other."""
        function = self._function()
        if function is None or isinstance(function, Network):
            return [], False
        parameters = inspect.signature(function).parameters.values()
        return [p.name for p in parameters], any(p.kind is p.VAR_KEYWORD for p in parameters)

    def _check(self, options: dict[str, Any]) -> None:
        names, others = self._arguments()
        known = [*_FIT, *_COMPILE, *names]
        for name in options:
            if name not in known and not others and not name.startswith(_PREFIXES):
                raise ValueError(
                    f"{type(self).__name__}: unknown parameter {name!r}.{suggestion(name, known)} Give arguments of "
                    f"fit, of the function that makes the model ({', '.join(names) or 'none'}), or model__{name}=...."
                )

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All parameters, those of the model and of fit included."""
        fixed = ("model", "build_fn", "random_state", "warm_start")
        return {name: getattr(self, name) for name in (*fixed, *self._options)}

    def set_params(self, **params: Any) -> Any:
        """Change parameters."""
        fixed = ("model", "build_fn", "random_state", "warm_start")
        self.__dict__.update({name: value for name, value in params.items() if name in fixed})
        options = {name: value for name, value in params.items() if name not in fixed}
        self._check(options)
        self._options = sorted({*self._options, *options})
        self.__dict__.update(options)
        return self

    def _given(self, prefix: str, names: tuple[str, ...] | list[str] = ()) -> dict[str, Any]:
        """Options of one kind: by their own names, or with a prefix, which comes first."""
        own = {name: getattr(self, name) for name in self._options if name in names}
        routed = {name.removeprefix(prefix): getattr(self, name) for name in self._options if name.startswith(prefix)}
        return {**own, **routed}

    def _new_model(self) -> Any:
        if self.warm_start and hasattr(self, "model_"):
            return self.model_
        name, function = type(self).__name__, self._function()
        if isinstance(function, Network):
            return new_model_like(function)
        if not callable(function):
            raise TypeError(f"{name}: model={function!r}. Give a function that returns a model.")
        names, others = self._arguments()
        taken = self._given("model__", names)
        if others:
            free = [o for o in self._options if o not in (*_FIT, *_COMPILE) and not o.startswith(_PREFIXES)]
            taken = {**self._given("model__", free), **taken}
        with seeds_from(self.random_state):
            model = function(**taken)
            if not isinstance(model, Network):
                raise TypeError(f"{name}: the function returned {model!r}. A model of fastdense.keras is needed.")
            if model._compiled is None:
                model.compile(**self._compile_options())
            if model.shape_known:
                model.build()
        return model

    def _compile_options(self) -> dict[str, Any]:
        options = {**self._given("compile__", _COMPILE)}
        arguments = self._given("optimizer__")
        chosen = options.get("optimizer", "rmsprop")
        if arguments:
            cls = type(optimizers.get(chosen))
            options["optimizer"] = getattr(optimizers, cls.__name__)(**arguments)
        if options.get("loss") is None:
            raise ValueError(f"{type(self).__name__}: the model is not compiled and there is no loss. Give loss=....")
        return options

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **options: Any) -> Any:
        """Train a new model; `options` of ``model.fit`` come before those of the constructor."""
        x, targets = training_rows(self, X, y)
        with seeds_from(self.random_state):
            model = self._new_model()
            targets = self._encoded(model, targets)
            given = {**self._given("fit__", _FIT), **options}
            self.history_ = model.fit(x, targets, sample_weight=sample_weight, **given)
        self.model_ = model
        return self

    def _encoded(self, model: Any, y: Array) -> Array:
        return y

    def _outputs(self, X: Any, **options: Any) -> Array:
        x = rows_of(self, X)
        return np.asarray(self.model_.predict(x, **{"verbose": 0, **self._given("predict__", ("verbose",)), **options}))


class KerasClassifier(ClassifierMixin, _KerasEstimator):  # type: ignore[misc]
    """A classifier of scikit-learn around a function that makes a model.

    Parameters
    ----------
    model : function or model
        Makes the model; `build_fn` is its older name. Options that it has as arguments are passed to it, and so are
        those that begin with ``model__``. Its loss decides the form of the targets.
    random_state : int, optional
        Seed of the model; random unless given.
    warm_start : bool
        Whether to go on with the model of the last fit.
    **options
        Arguments of ``fit`` (epochs, batch_size, verbose, callbacks, ...); optimizer, loss and metrics, for a model
        that the function has not compiled, with arguments of the optimizer as ``optimizer__learning_rate``; and those
        of the function.

    Attributes
    ----------
    classes_ : ndarray
    model_ : Sequential or Model
    history_ : History

    Examples
    --------
    >>> from fastdense import keras
    >>> def small(units=4):
    ...     layers = [keras.layers.Dense(units, "relu"), keras.layers.Dense(1, "sigmoid")]
    ...     model = keras.Sequential(layers)
    ...     model.compile("adam", "binary_crossentropy")
    ...     return model
    >>> classifier = keras.wrappers.KerasClassifier(model=small, epochs=2, verbose=0, units=3)
    >>> classifier.fit([[0.0], [1.0]], ["a", "b"]).predict_proba([[0.5]]).shape
    (1, 2)
    """

    def _encoded(self, model: Any, y: Array) -> Array:
        if y.ndim == 2 and y.shape[1] > 1:  # one-hot rows, as older scripts pass them
            self.classes_ = np.arange(y.shape[1])
            return y
        self.classes_, numbers = class_numbers(type(self).__name__, y)
        one_hot = losses.get(model.loss).name == "categorical_crossentropy"
        return to_categorical(numbers, len(self.classes_)) if one_hot else numbers

    def predict_proba(self, X: Any, **options: Any) -> Array:
        """Probabilities of the classes: ``(rows, classes)``."""
        out = self._outputs(X, **options)
        return np.hstack([1 - out, out]) if out.shape[1] == 1 else out

    def predict(self, X: Any, **options: Any) -> Array:
        """The most probable label of each row."""
        out = self._outputs(X, **options)
        chosen = (out[:, 0] > 0.5).astype(int) if out.shape[1] == 1 else out.argmax(axis=1)
        return np.asarray(self.classes_[chosen])

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy; y may be one-hot."""
        y = np.asarray(y)
        y = self.classes_[y.argmax(axis=1)] if y.ndim == 2 and y.shape[1] > 1 else y
        return float(super().score(X, y, sample_weight))


class KerasRegressor(RegressorMixin, _KerasEstimator):  # type: ignore[misc]
    """A regressor of scikit-learn around a function that makes a model.

    Parameters
    ----------
    model : function or model
        Makes the model; `build_fn` is its older name. Options that it has as arguments are passed to it, and so are
        those that begin with ``model__``.
    random_state : int, optional
        Seed of the model; random unless given.
    warm_start : bool
        Whether to go on with the model of the last fit.
    **options
        Arguments of ``fit`` (epochs, batch_size, verbose, callbacks, ...); optimizer, loss and metrics, for a model
        that the function has not compiled, with arguments of the optimizer as ``optimizer__learning_rate``; and those
        of the function.

    Attributes
    ----------
    model_ : Sequential or Model
    history_ : History

    Examples
    --------
    >>> from fastdense import keras
    >>> def small():
    ...     return keras.Sequential([keras.layers.Dense(1)])
    >>> regressor = keras.wrappers.KerasRegressor(small, loss="mse", optimizer="adam", verbose=0)
    >>> regressor.fit([[0.0], [1.0]], [0.0, 1.0]).predict([[2.0]]).shape
    (1,)
    """

    def predict(self, X: Any, **options: Any) -> Array:
        """Predictions: ``(rows,)``, or ``(rows, outputs)`` for several."""
        out = self._outputs(X, **options)
        return out[:, 0] if out.shape[1:] == (1,) else out
