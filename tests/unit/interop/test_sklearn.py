"""Nets of scikit-learn in and out."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from sklearn import preprocessing
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline

import fastdense as fd
from tests.helpers.nets import Net, check_close, nets

X = np.random.default_rng(0).normal(2.0, 3.0, (60, 4))
FOLDED = ("batch_norm", "scale", "rescaling", "dropout", "noise")


def fitted(estimator: Any, y: Any) -> Any:
    """The estimator after a few steps."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(X, y)


@settings(max_examples=250, deadline=None)
@given(nets(("none", "normalization"), FOLDED, names=("relu", "tanh", "linear", "sigmoid")))
def test_random_nets(net: Net) -> None:
    one_class = net.model.outputs == 1 and net.model.layers[-1].get_config()["activation"] == "softmax"
    try:
        made = net.model.to_sklearn()
    except ValueError as error:  # a scaling behind an activation, in front of nothing that it could be a part of
        assert one_class or "scikit-learn's nets do not have" in str(error)
        return
    if isinstance(made, MLPClassifier):
        y = made.predict_proba(net.x)
        check_close(y[:, 1:] if net.model.outputs == 1 else y, net)
        assert made.predict(net.x).shape[0] == len(net.x)
    else:
        check_close(made.predict(net.x).reshape(len(net.x), -1), net)
    check_close(fd.from_sklearn(made).predict(net.x), net)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("classes", [2, 3])
def test_classifiers(activation: str, classes: int) -> None:
    mlp = fitted(MLPClassifier(hidden_layer_sizes=(5, 3), activation=activation, max_iter=4), np.arange(60) % classes)
    model = fd.from_sklearn(mlp, dtype="float64")
    p = mlp.predict_proba(X)
    np.testing.assert_allclose(model.predict(X), p[:, 1:] if classes == 2 else p, rtol=1e-12)
    back = model.to_sklearn(classes=mlp.classes_.tolist())
    np.testing.assert_allclose(back.predict_proba(X), p, rtol=1e-12)
    np.testing.assert_array_equal(back.predict(X), mlp.predict(X))


@pytest.mark.parametrize(
    "scaler",
    [preprocessing.StandardScaler(), preprocessing.StandardScaler(with_mean=False), preprocessing.MinMaxScaler((1, 3)),
     preprocessing.MaxAbsScaler(), preprocessing.RobustScaler(), preprocessing.RobustScaler(with_scaling=False)],
    ids=repr,
)  # fmt: skip
def test_pipelines(scaler: Any) -> None:
    pipeline = fitted(make_pipeline(scaler, "passthrough", MLPRegressor(hidden_layer_sizes=(6,), max_iter=4)), X[:, 0])
    made = fd.from_sklearn(pipeline, dtype="float64").predict(X)
    np.testing.assert_allclose(made[:, 0], pipeline.predict(X), rtol=1e-9)


def test_labels_of_several_kinds() -> None:
    mlp = fitted(MLPClassifier(hidden_layer_sizes=(5,), max_iter=4), (X[:, :3] > 2).astype(int))
    back = fd.from_sklearn(mlp, dtype="float64").to_sklearn()
    np.testing.assert_allclose(back.predict_proba(X), mlp.predict_proba(X), rtol=1e-12)
    np.testing.assert_array_equal(back.predict(X), mlp.predict(X))


def test_what_cannot_come_in() -> None:
    with pytest.raises(ValueError, match="^from_sklearn: MLPRegressor is not fitted; a fitted one has the numbers"):
        fd.from_sklearn(MLPRegressor())
    with pytest.raises(TypeError, match="^from_sklearn: estimator holds StandardScaler.*; MLPClassifier or MLP"):
        fd.from_sklearn(preprocessing.StandardScaler())
    poly = fitted(make_pipeline(preprocessing.PolynomialFeatures(), MLPRegressor(max_iter=1)), X[:, 0])
    with pytest.raises(TypeError, match="^from_sklearn: estimator holds polynomialfeatures: PolynomialFeatures"):
        fd.from_sklearn(poly)
    clipped = fitted(make_pipeline(preprocessing.MinMaxScaler(clip=True), MLPRegressor(max_iter=1)), X[:, 0])
    with pytest.raises(ValueError, match="^from_sklearn: MinMaxScaler clips; no layer does"):
        fd.from_sklearn(clipped)


@pytest.mark.parametrize(
    ("layers", "options", "message"),
    [
        (
            [fd.Dense(3, "relu"), fd.Dense(3, "tanh"), fd.Dense(1)],
            {},
            "the hidden layers have the activations relu, ",
        ),
        ([fd.Dense(3, "gelu"), fd.Dense(1)], {}, "the hidden layers have the activations gelu"),
        ([fd.Dense(3, "tanh")], {}, "the last layer has the activation 'tanh'"),
        ([fd.LayerNorm(), fd.Dense(1)], {}, r"layers\[0\] \(LayerNorm\) is layer_norm, which scikit-learn's nets"),
        ([fd.Residual([fd.Dense(2)])], {}, r"layers\[0\] \(Residual\) is a block of branches \(add\)"),
        ([fd.Dense(1)], {"classes": [0, 1]}, "classes is given, and the last layer is linear"),
        (
            [fd.Dense(3, "softmax")],
            {"classes": [0, 1]},
            r"classes holds \[0, 1\]; 3 different labels in ascending order",
        ),
        ([fd.Dense(1, "softmax")], {}, "the last layer is a softmax of one output"),
    ],
)
def test_what_cannot_go_out(layers: list[Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^to_sklearn: {message}"):
        fd.Model(layers, inputs=2).to_sklearn(**options)
