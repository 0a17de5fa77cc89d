"""Models as estimators of scikit-learn: cross-validation, pipelines, grid searches, labels of any kind."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn")

from sklearn.base import clone  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from fastdense import keras  # noqa: E402
from fastdense.keras.wrappers import (  # noqa: E402
    KerasClassifier,
    KerasRegressor,
    SKLearnClassifier,
    SKLearnRegressor,
    SKLearnTransformer,
)

R = np.random.default_rng(0)
X = R.normal(size=(90, 4))
LABELS = np.array(["ham", "spam"])[(X[:, 0] + X[:, 1] > 0).astype(int)]
KINDS = np.array([7, 3, 5])[np.clip(np.floor(X[:, 0] + 1.5).astype(int), 0, 2)]
FIT: dict[str, Any] = {"epochs": 40, "batch_size": 15, "verbose": 0}


def dynamic(X: Any, y: Any, hidden: int = 8, loss: str = "categorical_crossentropy") -> Any:
    inputs = keras.Input((X.shape[1],))
    h = keras.layers.Dense(hidden, "relu")(inputs)
    outputs = keras.layers.Dense(y.shape[1], "softmax" if loss != "mse" else None)(h)
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.Adam(0.02), loss)
    return model


def build(units: int = 8, activation: str = "relu") -> Any:
    model = keras.Sequential([keras.layers.Dense(units, activation, input_dim=4), keras.layers.Dense(1, "sigmoid")])
    model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.parametrize("target", [LABELS, KINDS, LABELS.reshape(-1, 1)])
def test_classifier_of_keras(target: Any) -> None:
    keras.utils.set_random_seed(0)
    classifier = SKLearnClassifier(dynamic, model_kwargs={"hidden": 12}, fit_kwargs=FIT).fit(X, target)
    assert classifier.score(X, target) > 0.85
    assert classifier.classes_.tolist() == np.unique(target).tolist()
    assert classifier.predict(X).dtype == target.dtype
    assert classifier.decision_function(X).shape == (90, len(np.unique(target)))
    assert len(classifier.history_.history["loss"]) == 40
    assert len(classifier.fit(X, target, epochs=2).history_.history["loss"]) == 2  # comes before fit_kwargs
    keras.settings._state["seeds"] = None


def test_cross_validation_and_pipeline() -> None:
    keras.utils.set_random_seed(1)
    pipeline = make_pipeline(StandardScaler(), SKLearnClassifier(dynamic, fit_kwargs=FIT))
    assert cross_val_score(pipeline, X, LABELS, cv=3).mean() > 0.8
    grid = {"model_kwargs": [{"hidden": 2}, {"hidden": 9}]}
    search = GridSearchCV(SKLearnClassifier(dynamic, fit_kwargs=FIT), grid, cv=2)
    assert search.fit(X, LABELS).best_params_["model_kwargs"]["hidden"] in (2, 9)
    keras.settings._state["seeds"] = None


def test_a_model_in_place_of_a_function() -> None:
    model = dynamic(X, np.zeros((1, 2)))
    first = model.get_weights()[0]
    wrapped = SKLearnClassifier(model, fit_kwargs=FIT)
    copied = clone(wrapped)
    assert copied.model is not model and copied.fit_kwargs == FIT
    wrapped.fit(X, LABELS)
    np.testing.assert_array_equal(model.get_weights()[0], first)  # a new model was made
    assert wrapped.model_ is not model
    warm = SKLearnClassifier(model, warm_start=True, fit_kwargs=FIT).fit(X, LABELS)
    assert warm.model_ is model and not np.array_equal(model.get_weights()[0], first)
    assert cross_val_score(wrapped, X, LABELS, cv=2).mean() > 0.7


def test_regressor_and_transformer() -> None:
    options = {"model_kwargs": {"loss": "mse"}, "fit_kwargs": {**FIT, "epochs": 80}}
    regressor = SKLearnRegressor(dynamic, **options).fit(X, X[:, 0])
    assert regressor.predict(X).shape == (90,) and regressor.score(X, X[:, 0]) > 0.8
    two = SKLearnRegressor(dynamic, **options).fit(X, X[:, :2])
    assert two.predict(X).shape == (90, 2)
    assert SKLearnTransformer(dynamic, **options).fit(X, X[:, :3]).transform(X).shape == (90, 3)


def test_grid_search_over_arguments_of_the_function_and_of_fit() -> None:
    classifier = KerasClassifier(model=build, epochs=20, batch_size=15, verbose=0, random_state=0)
    grid = {"epochs": [1, 60], "model__activation": ["tanh"], "units": [6]}
    search = GridSearchCV(classifier, grid, cv=2).fit(X, LABELS)
    assert search.best_params_ == {"epochs": 60, "model__activation": "tanh", "units": 6}
    best = search.best_estimator_
    assert best.model_.layers[0].units == 6 and len(best.history_.history["loss"]) == 60
    np.testing.assert_allclose(best.predict_proba(X).sum(axis=1), 1, rtol=1e-5)
    assert best.score(X, LABELS) == np.mean(best.predict(X) == LABELS) > 0.8
    again = clone(classifier).fit(X, LABELS).predict_proba(X)
    np.testing.assert_array_equal(again, clone(classifier).fit(X, LABELS).predict_proba(X))  # random_state


def test_a_function_that_does_not_compile() -> None:
    def raw(hidden: int) -> Any:
        return keras.Sequential([keras.layers.Dense(hidden, "relu"), keras.layers.Dense(3, "softmax")])

    classifier = KerasClassifier(raw, hidden=8, loss="sparse_categorical_crossentropy", optimizer="SGD",
                                 optimizer__learning_rate=0.5, optimizer__momentum=0.5, verbose=0)  # fmt: skip
    classifier.fit(X, KINDS)
    rate, momentum = (getattr(classifier.model_.optimizer, name) for name in ("learning_rate", "momentum"))
    assert (float(rate), float(momentum)) == (0.5, 0.5)
    assert classifier.classes_.tolist() == [3, 5, 7]
    one_hot = KerasClassifier(raw, hidden=8, loss="categorical_crossentropy", optimizer="adam", verbose=0)
    assert set(one_hot.fit(X, KINDS).predict(X)) <= {3, 5, 7}
    rows = np.eye(3)[R.integers(0, 3, 90)]
    assert 0 <= one_hot.fit(X, rows).score(X, rows) <= 1  # as older scripts pass targets
    with pytest.raises(ValueError, match="KerasClassifier: the model is not compiled and there is no loss"):
        KerasClassifier(raw, hidden=3).fit(X, KINDS)


def test_keras_regressor() -> None:
    def net() -> Any:
        model = keras.Sequential([keras.layers.Dense(1, input_dim=4)])
        model.compile(keras.optimizers.Adam(0.1), "mse")
        return model

    regressor = KerasRegressor(build_fn=net, epochs=60, batch_size=15, verbose=0)  # the older name
    assert regressor.fit(X, X[:, 1] - X[:, 0], sample_weight=np.ones(90)).score(X, X[:, 1] - X[:, 0]) > 0.95


@pytest.mark.parametrize(
    ("do", "error", "says"),
    [
        (lambda: KerasClassifier(build, unit=3), ValueError, "unknown parameter 'unit'. Did you mean 'units'"),
        (lambda: KerasClassifier(build).set_params(epoch=3), ValueError, "unknown parameter 'epoch'. Did you mean 'e"),
        (lambda: KerasClassifier(3).fit(X, LABELS), TypeError, "is not a callable object|model=3"),
        (lambda: KerasClassifier(lambda: 3).fit(X, LABELS), TypeError, "the function returned 3"),
        (lambda: SKLearnClassifier(dynamic).fit(X, X[:, 0]), ValueError, "y is continuous. Class labels are"),
        (lambda: SKLearnClassifier(dynamic).fit(X, np.zeros(90)), ValueError, "y holds one class"),
        (lambda: SKLearnRegressor(lambda X, y: keras.Sequential([])).fit(X, X), RuntimeError, "is not compiled"),
        (lambda: SKLearnRegressor(3).fit(X, X), TypeError, "model=3. Give a function of X and y"),
        (lambda: SKLearnRegressor(dynamic).predict(X), ValueError, "not fitted"),
    ],
)  # fmt: skip
def test_errors(do: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        do()


def test_parameters() -> None:
    classifier = KerasClassifier(build, epochs=3, units=5)
    assert classifier.get_params() == {
        "model": build, "build_fn": None, "random_state": None, "warm_start": False, "epochs": 3, "units": 5,
    }  # fmt: skip
    assert copy.deepcopy(classifier).units == 5 and clone(classifier).get_params() == classifier.get_params()
    assert SKLearnClassifier(build).get_params(deep=False) == {
        "model": build, "warm_start": False, "model_kwargs": None, "fit_kwargs": None,
    }  # fmt: skip
