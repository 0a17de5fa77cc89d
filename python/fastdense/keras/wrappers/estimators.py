"""`SKLearnClassifier`, `SKLearnRegressor` and `SKLearnTransformer` of Keras 3."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..network import Network
from .rows import (
    Array,
    BaseEstimator,
    ClassifierMixin,
    RegressorMixin,
    TransformerMixin,
    class_numbers,
    new_model_like,
    rows_of,
    training_rows,
)


class _Wrapper(BaseEstimator):  # type: ignore[misc]
    """Base of the estimators around a model.

    Parameters
    ----------
    model : function or model
        ``model(X, y, **model_kwargs)`` returns a compiled model; or a compiled model, of which a new one with other
        first values is made for every fit.
    warm_start : bool
        Whether to go on with the model that is given, or of the last fit.
    model_kwargs, fit_kwargs : dict, optional
        Passed to the function, and to ``model.fit``.

    Attributes
    ----------
    model_ : Sequential or Model
        The fitted model.
    history_ : History
        What ``model.fit`` returned.
    """

    def __init__(
        self,
        model: Any,
        warm_start: bool = False,
        model_kwargs: Mapping[str, Any] | None = None,
        fit_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self.model, self.warm_start = model, warm_start
        self.model_kwargs, self.fit_kwargs = model_kwargs, fit_kwargs

    def __sklearn_clone__(self) -> Any:
        given = self.get_params(deep=False)
        model = given.pop("model")
        model = copy.deepcopy(model) if isinstance(model, Network) else model
        return type(self)(model, **copy.deepcopy(given))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.non_deterministic = True
        return tags

    def fit(self, X: Any, y: Any, **fit_kwargs: Any) -> Any:
        """Train a new model; `fit_kwargs` come before those of the constructor."""
        x, targets = training_rows(self, X, y)
        targets = self._encoded(targets)
        model = self._new_model(x, targets)
        self.history_ = model.fit(x, targets, **{**(self.fit_kwargs or {}), **fit_kwargs})
        self.model_ = model
        return self

    def _new_model(self, x: Array, y: Array) -> Any:
        name = type(self).__name__
        if self.warm_start and hasattr(self, "model_"):
            return self.model_
        if isinstance(self.model, Network):
            model = self.model if self.warm_start else new_model_like(self.model)
        elif callable(self.model):
            model = self.model(X=x, y=y, **(self.model_kwargs or {}))
        else:
            raise TypeError(f"{name}: model={self.model!r}. Give a function of X and y that makes a model, or a model.")
        if not isinstance(model, Network) or model._compiled is None:
            raise RuntimeError(f"{name}: the model is not compiled. Call model.compile(...) in the function.")
        return model

    def _encoded(self, y: Array) -> Array:
        self._flat = y.ndim == 1
        return y.reshape(len(y), -1)

    def _outputs(self, X: Any) -> Array:
        x = rows_of(self, X)
        return np.asarray(self.model_.predict(x))

    def predict(self, X: Any) -> Array:
        """The outputs of the model."""
        out = self._outputs(X)
        return out[:, 0] if self._flat and out.shape[1:] == (1,) else out


class SKLearnClassifier(ClassifierMixin, _Wrapper):  # type: ignore[misc]
    """A classifier of scikit-learn around a model; it is trained on one-hot rows, as Keras's is.

    Parameters
    ----------
    model : function or model
        ``model(X, y, **model_kwargs)`` returns a compiled model with one output per class; or a compiled model, of
        which a new one is made for every fit.
    warm_start : bool
        Whether to go on with the model of the last fit.
    model_kwargs, fit_kwargs : dict, optional
        Passed to the function, and to ``model.fit``.

    Attributes
    ----------
    classes_ : ndarray
    model_ : Sequential or Model
    history_ : History

    Examples
    --------
    >>> from fastdense import keras
    >>> def small(X, y):
    ...     model = keras.Sequential([keras.layers.Dense(y.shape[1], activation="softmax")])
    ...     model.compile("adam", "categorical_crossentropy")
    ...     return model
    >>> classifier = keras.wrappers.SKLearnClassifier(small, fit_kwargs={"verbose": 0})
    >>> classifier.fit([[0.0], [1.0]], ["a", "b"]).classes_.tolist()
    ['a', 'b']
    """

    def _encoded(self, y: Array) -> Array:
        self.classes_, numbers = class_numbers(type(self).__name__, y)
        return np.eye(len(self.classes_))[numbers]

    def decision_function(self, X: Any) -> Array:
        """The outputs of the model."""
        return self._outputs(X)

    def predict(self, X: Any) -> Array:
        """The label of the largest output."""
        return np.asarray(self.classes_[self._outputs(X).argmax(axis=1)])


class SKLearnRegressor(RegressorMixin, _Wrapper):  # type: ignore[misc]
    """A regressor of scikit-learn around a model.

    Parameters
    ----------
    model : function or model
        ``model(X, y, **model_kwargs)`` returns a compiled model; or a compiled model, of which a new one is made for
        every fit.
    warm_start : bool
        Whether to go on with the model of the last fit.
    model_kwargs, fit_kwargs : dict, optional
        Passed to the function, and to ``model.fit``.

    Attributes
    ----------
    model_ : Sequential or Model
    history_ : History

    Examples
    --------
    >>> from fastdense import keras
    >>> def small(X, y):
    ...     model = keras.Sequential([keras.layers.Dense(1)])
    ...     model.compile("adam", "mse")
    ...     return model
    >>> regressor = keras.wrappers.SKLearnRegressor(small, fit_kwargs={"verbose": 0})
    >>> regressor.fit([[0.0], [1.0]], [0.0, 1.0]).predict([[2.0]]).shape
    (1,)
    """


class SKLearnTransformer(TransformerMixin, _Wrapper):  # type: ignore[misc]
    """A transformer of scikit-learn around a model: ``transform`` gives the outputs.

    Parameters
    ----------
    model : function or model
        ``model(X, y, **model_kwargs)`` returns a compiled model; or a compiled model, of which a new one is made for
        every fit.
    warm_start : bool
        Whether to go on with the model of the last fit.
    model_kwargs, fit_kwargs : dict, optional
        Passed to the function, and to ``model.fit``.

    Attributes
    ----------
    model_ : Sequential or Model
    history_ : History

    Examples
    --------
    >>> from fastdense import keras
    >>> def small(X, y):
    ...     model = keras.Sequential([keras.layers.Dense(2)])
    ...     model.compile("adam", "mse")
    ...     return model
    >>> transformer = keras.wrappers.SKLearnTransformer(small, fit_kwargs={"verbose": 0})
    >>> transformer.fit([[0.0], [1.0]], [[0.0, 1.0], [1.0, 0.0]]).transform([[2.0]]).shape
    (1, 2)
    """

    def transform(self, X: Any) -> Array:
        """The outputs of the model."""
        return self._outputs(X)
