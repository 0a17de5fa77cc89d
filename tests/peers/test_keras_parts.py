"""Losses, activations, layers, regularizers and metrics beside Keras's."""

from __future__ import annotations

from typing import Any

import pytest

import fastdense as fd
from fastdense.activations import ACTIVATIONS
from tests.peers.keras64 import keras, loss_and_grad, np_array, twin
from tests.peers.problem import BATCH, OUTPUTS, TOLERANCE, Agree, model, rows, targets, train, weights_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's __array__

# Class and arguments, the same in both, and the last activation.
LOSSES: dict[str, tuple[str, dict[str, Any], str]] = {
    "mse": ("MeanSquaredError", {}, "linear"),
    "mae": ("MeanAbsoluteError", {}, "linear"),
    "huber": ("Huber", {"delta": 0.4}, "linear"),
    "log_cosh": ("LogCosh", {}, "linear"),
    "mape": ("MeanAbsolutePercentageError", {}, "linear"),
    "poisson": ("Poisson", {}, "softplus"),
    "hinge": ("Hinge", {}, "linear"),
    "binary": ("BinaryCrossentropy", {}, "sigmoid"),
    "binary_smooth": ("BinaryCrossentropy", {"label_smoothing": 0.2}, "sigmoid"),
    "binary_logits": ("BinaryCrossentropy", {"from_logits": True}, "linear"),
    "binary_clipped": ("BinaryCrossentropy", {}, "linear"),
    "categorical": ("CategoricalCrossentropy", {}, "softmax"),
    "categorical_smooth": ("CategoricalCrossentropy", {"label_smoothing": 0.2}, "softmax"),
    "categorical_logits": ("CategoricalCrossentropy", {"from_logits": True}, "linear"),
    "categorical_of_sigmoid": ("CategoricalCrossentropy", {}, "sigmoid"),
    "categorical_of_relu6": ("CategoricalCrossentropy", {}, "relu6"),
    "sparse": ("SparseCategoricalCrossentropy", {}, "softmax"),
    "sparse_logits": ("SparseCategoricalCrossentropy", {"from_logits": True}, "tanh"),
}


def gradient_agrees(
    agree: Agree, layers: list[Any], ours: Any = "mse", theirs: Any = None, weights: Any = None, training: bool = False
) -> None:
    """Compare loss and gradient of all rows as one batch."""
    made = model(layers)
    x, y = rows()[0], targets(fd.losses.get(ours).kind)
    made.compile("sgd", ours)
    value, gradient = made.loss_and_grad(x, y, sample_weight=weights, training=training)
    loss = theirs or keras.losses.MeanSquaredError()
    their_value, their_gradient = loss_and_grad(twin(made), loss, x, y, weights, training)
    agree([value], [their_value])
    agree(gradient, their_gradient)


@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
@pytest.mark.parametrize("name", LOSSES)
def test_loss(name: str, weighted: bool, agree: Agree) -> None:
    cls, options, last = LOSSES[name]
    layers = [fd.Dense(8, activation="tanh"), fd.Dense(OUTPUTS, activation=last)]
    ours, theirs = (getattr(family, cls)(**options) for family in (fd.losses, keras.losses))
    gradient_agrees(agree, layers, ours, theirs, weights_of() if weighted else None)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name: str, agree: Agree) -> None:
    """Default slopes and scales included: Keras's own are used here."""
    hidden = [] if name == "softmax" else [fd.Dense(8, activation=name)]
    gradient_agrees(agree, [*hidden, fd.Dense(OUTPUTS), fd.Activation(name)])
    if name != "prelu":
        z = rows()[0]
        made = fd.Model([fd.Activation(name)], inputs=z.shape[1], dtype="float64")
        agree([made.predict(z)], [np_array(keras.activations.get(name)(z))])


LAYERS: dict[str, list[Any]] = {
    "batch_norm": [
        fd.Dense(8, use_bias=False),  # a bias would have a gradient of nothing but rounding
        fd.BatchNorm(momentum=0.9, epsilon=1e-2),
        fd.Activation("tanh"),
        fd.Dense(OUTPUTS),
    ],
    "layer_norm": [fd.Dense(8), fd.LayerNorm(epsilon=1e-2), fd.Activation("tanh"), fd.Dense(OUTPUTS)],
    "residual": [
        fd.Dense(8),
        fd.Residual([fd.LayerNorm(), fd.Dense(5, activation="gelu"), fd.Residual([fd.Dense(5)]), fd.Dense(8)]),
        fd.Dense(OUTPUTS, use_bias=False),
    ],
}


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("name", LAYERS)
def test_layer(name: str, training: bool, agree: Agree) -> None:
    gradient_agrees(agree, LAYERS[name], training=training)


@pytest.mark.parametrize("name", LAYERS)
def test_training_with_layer(name: str, agree: Agree) -> None:
    made = model(LAYERS[name])
    other = twin(made)
    train(made, fd.SGD(0.02, momentum=0.9))
    other.compile(keras.optimizers.SGD(0.02, momentum=0.9), "mse")
    x, y = rows()
    other.fit(x, y, batch_size=BATCH, epochs=10, shuffle=False, verbose=0)
    agree(made.get_weights(), other.get_weights())
    agree([made.predict(x), made.evaluate(x, y)], [other.predict(x, verbose=0), other.evaluate(x, y, verbose=0)])


def test_normalization(agree: Agree) -> None:
    """Also of a column that never changes: Keras divides by max(sd, 1e-7), fastdense by 1, and both give 0."""
    x = rows()[0] * 50.0 + 7.0
    x[:, 2] = 3.0
    made = fd.Model([fd.Normalization().adapt(x)], inputs=x.shape[1], dtype="float64")
    theirs = keras.layers.Normalization()
    theirs.adapt(x)
    agree([made.predict(x)], [np_array(theirs(x))])


R = fd.regularizers
REGULARIZED: dict[str, dict[str, Any]] = {
    "l1": {"kernel_regularizer": R.l1(0.02), "bias_regularizer": R.l1(0.03)},
    "l2": {"kernel_regularizer": R.l2(0.02), "bias_regularizer": R.l2(0.03)},
    "l1_l2": {"kernel_regularizer": R.l1_l2(0.02, 0.03), "bias_regularizer": R.l1_l2(0.01, 0.05)},
    "rows": {"kernel_regularizer": R.orthogonal(0.1)},
    "columns": {"kernel_regularizer": R.orthogonal(0.1, mode="columns")},
    "activity": {"activity_regularizer": R.l1_l2(0.02, 0.03)},
}


@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
@pytest.mark.parametrize("name", REGULARIZED)
def test_regularizer(name: str, weighted: bool, agree: Agree) -> None:
    layers = [fd.Dense(8, activation="tanh", **REGULARIZED[name]), fd.Dense(OUTPUTS)]
    gradient_agrees(agree, layers, weights=weights_of() if weighted else None)


@pytest.mark.parametrize(
    ("name", "arguments"), [("l1", {}), ("l2", {}), ("l1_l2", {"l1": 0.3}), ("l1_l2", {"l2": 0.3})]
)
def test_regularizer_defaults(name: str, arguments: dict[str, float]) -> None:
    ours, theirs = (getattr(family, name)(**arguments) for family in (R, keras.regularizers))
    assert ours.get_config() == pytest.approx({key: float(value) for key, value in theirs.get_config().items()})


METRICS: dict[str, tuple[str, Any, Any]] = {
    "mse": ("mse", fd.metrics.MeanSquaredError(), keras.metrics.MeanSquaredError()),
    "mae": ("mse", fd.metrics.MeanAbsoluteError(), keras.metrics.MeanAbsoluteError()),
    "mape": ("mse", fd.metrics.MeanAbsolutePercentageError(), keras.metrics.MeanAbsolutePercentageError()),
    "r2": ("mse", fd.metrics.R2Score(), keras.metrics.R2Score()),
    "binary": ("binary_crossentropy", fd.metrics.BinaryAccuracy(0.4), keras.metrics.BinaryAccuracy(threshold=0.4)),
    "categorical": (
        "categorical_crossentropy",
        fd.metrics.CategoricalAccuracy(),
        keras.metrics.CategoricalAccuracy(),
    ),
    "sparse": (
        "sparse_categorical_crossentropy",
        fd.metrics.SparseCategoricalAccuracy(),
        keras.metrics.SparseCategoricalAccuracy(),
    ),
    "top_k": (
        "categorical_crossentropy",
        fd.metrics.TopKCategoricalAccuracy(2),
        keras.metrics.TopKCategoricalAccuracy(2),
    ),
    "sparse_top_k": (
        "sparse_categorical_crossentropy",
        fd.metrics.SparseTopKCategoricalAccuracy(2),
        keras.metrics.SparseTopKCategoricalAccuracy(2),
    ),
    "f1": (
        "categorical_crossentropy",
        fd.metrics.F1Score(),
        keras.metrics.F1Score(average="macro"),
    ),
    "f1_threshold": (
        "binary_crossentropy",
        fd.metrics.F1Score(0.4),
        keras.metrics.F1Score(average="macro", threshold=0.4),
    ),
}
LAST = {"mse": "linear", "binary_crossentropy": "sigmoid"}


@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
@pytest.mark.parametrize("name", METRICS)
def test_metric(name: str, weighted: bool, agree: Agree) -> None:
    """fastdense's metrics always take sample weights, as Keras's `weighted_metrics` do."""
    loss, ours, theirs = METRICS[name]
    made = model([fd.Dense(8, activation="tanh"), fd.Dense(OUTPUTS, activation=LAST.get(loss, "softmax"))])
    x, y = rows()[0], targets(loss)
    weights = weights_of() if weighted else None
    made.compile("sgd", loss, metrics=[ours])
    value = made.evaluate(x, y, sample_weight=weights, verbose=0)[1]
    theirs.reset_state()
    theirs.update_state(y, made.predict(x), sample_weight=weights)
    # Keras adds 1e-7 to the denominators of f1
    agree([value], [float(theirs.result())], tolerance=1e-6 if "f1" in name else TOLERANCE)


@pytest.mark.parametrize("name", ["Precision", "Recall"])
def test_metric_of_one_output(name: str, agree: Agree) -> None:
    """With several outputs, Keras counts all of them together and fastdense takes the mean over outputs."""
    made = model([fd.Dense(1, activation="sigmoid")])
    x, y = rows()[0], targets("binary_crossentropy")[:, :1]
    made.compile("sgd", "binary_crossentropy", metrics=[getattr(fd.metrics, name)()])
    theirs = getattr(keras.metrics, name)()
    theirs.update_state(y, made.predict(x), sample_weight=weights_of())
    agree([made.evaluate(x, y, sample_weight=weights_of(), verbose=0)[1]], [float(theirs.result())])


def test_metrics_of_an_epoch(agree: Agree) -> None:
    """In `fit` they are those of the rows as each batch saw them, before its step."""
    made = model([fd.Dense(8, activation="tanh"), fd.Dense(OUTPUTS, activation="softmax")])
    other = twin(made)
    x, y = rows(n=150)[0], targets("sparse_categorical_crossentropy", n=150)
    options: dict[str, Any] = {
        "batch_size": BATCH,
        "epochs": 3,
        "shuffle": False,
        "verbose": 0,
        "validation_data": (x[:50], y[:50]),
    }
    made.compile(fd.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    other.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    ours, theirs = made.fit(x, y, **options).history, other.fit(x, y, **options).history
    assert set(ours) == set(theirs) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    agree([ours[key] for key in theirs], list(theirs.values()))
