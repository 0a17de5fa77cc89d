"""Metrics of `fastdense.keras`: numbers of Keras, in models and alone; names, files, a user's own, errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense import keras
from fastdense.keras import metrics as M
from fastdense.keras.layers import Dense

Array = Any
RNG = np.random.default_rng(11)
X = RNG.normal(size=(50, 4))
CLASSES = RNG.integers(0, 3, 50)
ONE_HOT = np.eye(3)[CLASSES]
LABELS = (X[:, :3] + RNG.normal(size=(50, 3)) > 0.3) * 1.0
VALUES = X[:, :1] * 2 + RNG.normal(size=(50, 1))
W = np.round(RNG.random(50) * 2, 2)


def model(loss: Any, metrics: Any, weighted: Any = None, units: int = 3, activation: Any = None) -> Any:
    keras.utils.set_random_seed(3)
    keras.backend.set_floatx("float64")
    try:
        made = keras.Sequential([keras.Input((4,)), Dense(units, activation=activation)])
        made.compile(keras.optimizers.SGD(0.0), loss, metrics=metrics, weighted_metrics=weighted)
        made.predict(X, verbose=0)
    finally:
        keras.backend.set_floatx("float32")
    return made


# ---- numbers that Keras 3.15 gives -----------------------------------------------------------------------------------

Y3, P3 = (
    [[0, 1, 0], [1, 0, 1], [0, 0, 1], [1, 1, 0]],
    [[0.1, 0.9, 0.4], [0.6, 0.2, 0.6], [0.5, 0.5, 0.3], [0.7, 0.3, 0.2]],
)
KERAS: list[tuple[Any, Any, Any, Any, Any]] = [
    (M.Precision(), [0, 1, 1, 1], [1, 0, 1, 1], None, 2 / 3),
    (M.Precision(), [0, 1, 1, 1], [1, 0, 1, 1], [0, 0, 1, 0], 1.0),
    (M.Precision(top_k=2), [0, 0, 1, 1], [1, 1, 1, 1], None, 0.0),
    (M.Precision(top_k=4), [0, 0, 1, 1], [1, 1, 1, 1], None, 0.5),
    (M.Precision(), Y3, P3, None, 1.0),  # all outputs together
    (M.Recall(), Y3, P3, None, 4 / 6),
    (M.Recall(class_id=1), Y3, P3, None, 1 / 2),
    (M.Precision(thresholds=[0.25, 0.5]), Y3, P3, None, [2 / 3, 1.0]),
    (M.TruePositives([0.25, 0.5]), Y3, P3, [1, 2, 3, 4], [16.0, 9.0]),
    (M.AUC(num_thresholds=3), [0, 0, 1, 1], [0, 0.5, 0.3, 0.9], None, 0.75),
    (M.AUC(num_thresholds=3), [0, 0, 1, 1], [0, 0.5, 0.3, 0.9], [1, 0, 0, 1], 1.0),
    (M.SensitivityAtSpecificity(0.5), [0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8], [1, 1, 2, 2, 1], 1 / 3),
    (M.F1Score(threshold=0.5), [[1, 1, 1], [1, 0, 0], [1, 1, 0]], [[0.2, 0.6, 0.7], [0.2, 0.6, 0.6], [0.6, 0.8, 0.0]],
     None, [0.5, 0.8, 2 / 3]),
    (M.FBetaScore(beta=2.0, threshold=0.5), [[1, 1, 1], [1, 0, 0], [1, 1, 0]],
     [[0.2, 0.6, 0.7], [0.2, 0.6, 0.6], [0.6, 0.8, 0.0]], None, [0.3846154, 0.9090909, 0.8333334]),
    (M.TopKCategoricalAccuracy(1), np.eye(10), np.full((10, 10), 0.1), None, 1.0),  # a tie is a hit
    (M.TopKCategoricalAccuracy(1), [[0, 0, 1], [0, 1, 0]], [[0.1, 0.9, 0.8], [0.05, 0.95, 0]], [0.7, 0.3], 0.3),
    (M.BinaryAccuracy(), [1, 1, 0, 0], [0.98, 1, 0, 0.6], [1, 0, 0, 1], 0.5),
    (M.R2Score(), [[1.0], [4.0], [3.0]], [[2.0], [4.0], [4.0]], None, 4 / 7),
    (M.BinaryCrossentropy(), [[0, 1], [0, 0]], [[0.6, 0.4], [0.4, 0.6]], [1, 0], 0.9162905),
    (M.CategoricalCrossentropy(), [[0, 1, 0], [0, 0, 1]], [[0.05, 0.95, 0], [0.1, 0.8, 0.1]], [0.3, 0.7], 1.6271976),
    (M.KLDivergence(), [[0, 1], [0, 0]], [[0.6, 0.4], [0.4, 0.6]], [1, 0], 0.9162892),
    (M.MeanSquaredLogarithmicError(), [[0, 1], [0, 0]], [[1, 1], [0, 0]], [1, 0], 0.24022643),
    (M.Poisson(), [[0, 1], [0, 0]], [[1, 1], [0, 0]], [1, 0], 1.0),
    (M.CategoricalHinge(), [[0, 1], [0, 0]], [[0.6, 0.4], [0.4, 0.6]], [1, 0], 1.2),
    (M.MeanIoU(num_classes=2), [0, 0, 1, 1], [0, 1, 0, 1], [0.3, 0.3, 0.3, 0.1], 0.23809524),
]  # fmt: skip


@pytest.mark.parametrize(("metric", "y", "p", "w", "value"), KERAS)
def test_numbers_of_keras(metric: Any, y: Any, p: Any, w: Any, value: Any) -> None:
    for _ in range(2):
        metric.reset_state()
        metric.update_state(y, p, sample_weight=w)
        np.testing.assert_allclose(metric.result().numpy(), value, rtol=1e-6)
    assert f"{metric.result().sum():.3f}" == f"{np.sum(value):.3f}"


def data() -> tuple[Array, Array, Array, Array, Array, Array]:
    """Rows, kernel, bias, classes, labels and weights of `EVALUATED`."""
    rng = np.random.default_rng(11)
    x, kernel, bias = rng.normal(size=(50, 4)), rng.normal(size=(4, 3)), np.array([0.3, -0.2, 0.1])
    classes = (x @ kernel + rng.normal(size=(50, 3))).argmax(axis=1)
    labels = (x @ kernel + rng.normal(size=(50, 3)) > 0.5) * 1.0
    return x, kernel, bias, classes, labels, np.round(rng.random(50) * 2, 2)


def own(y_true: Array, y_pred: Array) -> Array:
    return keras.ops.abs(y_true - y_pred)


def one(y_true: Array, y_pred: Array) -> Array:
    return keras.ops.max(keras.ops.abs(y_true - y_pred))


# What Keras's evaluate(sample_weight=w, batch_size=16) gives for metrics and weighted_metrics.
EVALUATED: dict[str, tuple[Any, Any, int, Any, Any, dict[str, Any]]] = {
    "one-hot": ("softmax", "categorical_crossentropy", 3, lambda: [
        "accuracy", M.Precision(), M.Recall(), M.F1Score(), "AUC", M.AUC(multi_label=True, name="areas"),
        M.TopKCategoricalAccuracy(2), "mse", M.CategoricalCrossentropy()],
        lambda: ["accuracy", M.Precision(), "auc"], {
        "loss": 0.716896819145255, "accuracy": 0.74, "precision": 0.8205128205128205, "recall": 0.64,
        "f1_score": [0.7222221706790155, 0.7567567035792582, 0.7407406858710596], "AUC": 0.8831,
        "areas": 0.9043044152526911, "top_k_categorical_accuracy": 0.82, "mse": 0.12841947715384155,
        "categorical_crossentropy": 0.6873055369744786, "weighted_accuracy": 0.7515220700152208,
        "precision_1": 0.8273869346733669, "auc": 0.8854785206701508}),
    "sparse": ("softmax", "sparse_categorical_crossentropy", 3, lambda: [
        "acc", "sparse_top_k_categorical_accuracy", M.SparseCategoricalCrossentropy()], lambda: ["acc"], {
        "loss": 0.716896819145255, "acc": 0.74, "sparse_top_k_categorical_accuracy": 1.0,
        "sparse_categorical_crossentropy": 0.6873055369744786, "weighted_acc": 0.7515220700152208}),
    "labels": ("sigmoid", "binary_crossentropy", 3, lambda: [
        "accuracy", "binary_accuracy", M.Precision(class_id=1), M.Recall(top_k=2), M.AUC(curve="PR", multi_label=True),
        M.F1Score(average="micro", threshold=0.5), M.TruePositives([0.3, 0.7]), "FalseNegatives"],
        lambda: [M.TrueNegatives()], {
        "loss": 0.5064932391855664, "accuracy": 0.7, "binary_accuracy": 0.7866666666666666,
        "precision": 0.6363636363636364, "recall": 0.9107142857142857, "auc": 0.8736350462994761,
        "f1_score": 0.7681158926906143, "true_positives": [55.0, 33.0], "FalseNegatives": 3.0, "true_negatives": 65.5}),
    "logits": (None, keras.losses.BinaryCrossentropy(from_logits=True), 1, lambda: [
        "accuracy", M.BinaryAccuracy(threshold=0.0), "Precision", "mae", M.AUC(from_logits=True), "AUC",
        M.BinaryCrossentropy(from_logits=True)], lambda: ["accuracy"], {
        "loss": 0.44437253592228976, "accuracy": 0.9, "binary_accuracy": 0.86, "Precision": 0.9047619047619048,
        "mae": 0.8648004156251612, "auc": 0.9626623376623377, "AUC": 0.9545454545454546,
        "binary_crossentropy": 0.41087740389723926, "weighted_accuracy": 0.8654870624048707}),
    "logits of classes": (None, keras.losses.CategoricalCrossentropy(from_logits=True), 3, lambda: [
        "accuracy", "binary_accuracy", "mse", M.Recall()], lambda: ["mse"], {
        "loss": 0.716896819145255, "accuracy": 0.74, "binary_accuracy": 0.7066666666666666, "mse": 1.5231927837057273,
        "recall": 0.54, "weighted_mse": 1.6603773640152784}),
    "values": (None, "mse", 1, lambda: [
        "RootMeanSquaredError", M.R2Score(), own, one, Within(), keras.losses.MeanAbsoluteError(),
        keras.losses.mean_squared_error, "mae", "mae", "LogCoshError", "msle"], lambda: [own, "mae"], {
        "loss": 4.002154366887473, "RootMeanSquaredError": 1.8756264069161084, "r2_score": -0.12481220414795846,
        "own": 1.5414451704244496, "one": 3.4569797992196794, "within": 0.42,
        "mean_absolute_error": 1.8078697063084106, "mean_squared_error": 3.5179744183210313, "mae": 1.5414451704244496,
        "mae_1": 1.5414451704244496, "LogCoshError": 1.005775660242831, "msle": 0.4285612480336776,
        "weighted_own": 1.6341599160359244, "weighted_mae": 1.6341599160359244}),
}  # fmt: skip


@pytest.mark.parametrize("case", EVALUATED)
def test_evaluate_as_keras(case: str) -> None:
    activation, loss, units, metrics, weighted, expected = EVALUATED[case]
    x, kernel, bias, classes, labels, w = data()
    one_hot = np.eye(3)[classes]
    y = {"one-hot": one_hot, "sparse": classes, "values": x[:, :1] * 2 + 1, "logits of classes": one_hot}.get(
        case, labels[:, :units]
    )
    keras.backend.clear_session()
    net = model(loss, metrics(), weighted(), units, activation)
    net.layers[-1].set_weights([kernel[:, :units], bias[:units]])
    found = net.evaluate(x, y, 16, sample_weight=w, verbose=0, return_dict=True)
    history = net.fit(x, y, 16, sample_weight=w, shuffle=False, verbose=0).history
    assert net.fastdense.metrics_names == list(expected)
    assert list(found) == list(history) == sorted(expected)  # the order of Keras's logs
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-9, err_msg=name)
        np.testing.assert_allclose(history[name][0], value, rtol=1e-9, err_msg=name)


# ---- in models -------------------------------------------------------------------------------------------------------

BCE, CCE = keras.losses.BinaryCrossentropy, keras.losses.CategoricalCrossentropy
IN_MODELS: dict[str, tuple[Any, Any, Array, int, Callable[[], list[Any]]]] = {
    "one-hot": ("categorical_crossentropy", "softmax", ONE_HOT, 3, lambda: [
        M.CategoricalAccuracy(), M.Precision(), M.Recall(), M.F1Score(), M.AUC(), M.AUC(multi_label=True, name="areas"),
        M.TopKCategoricalAccuracy(2), M.MeanSquaredError(), M.CategoricalCrossentropy()]),
    "sparse": ("sparse_categorical_crossentropy", "softmax", CLASSES, 3, lambda: [
        M.SparseCategoricalAccuracy(), M.SparseTopKCategoricalAccuracy(2), M.SparseCategoricalCrossentropy()]),
    "labels": ("binary_crossentropy", "sigmoid", LABELS, 3, lambda: [
        M.BinaryAccuracy(), M.CategoricalAccuracy(), M.Precision(class_id=1), M.Recall(top_k=2), M.TruePositives(),
        M.AUC(curve="PR", multi_label=True), M.F1Score(average="micro", threshold=0.5), M.FalseNegatives([0.3, 0.7])]),
    "logits": (BCE(from_logits=True), None, LABELS[:, :1], 1, lambda: [
        M.BinaryAccuracy(), M.BinaryAccuracy("at 0", threshold=0.0), M.MeanSquaredError(), M.Precision(),
        M.AUC(from_logits=True), M.BinaryCrossentropy(from_logits=True)]),
    "logits of classes": (CCE(from_logits=True), None, ONE_HOT, 3, lambda: [
        M.CategoricalAccuracy(), M.BinaryAccuracy(), M.MeanAbsoluteError(), M.Recall()]),
    "values": ("mse", None, VALUES, 1, lambda: [
        M.RootMeanSquaredError(), M.R2Score(), M.MeanAbsoluteError(), M.MeanAbsolutePercentageError(),
        M.LogCoshError(), M.MeanSquaredLogarithmicError(), M.CosineSimilarity()]),
}  # fmt: skip


@pytest.mark.parametrize("case", IN_MODELS)
def test_in_models(case: str) -> None:
    """As alone for what `predict` gives, logits included; weights count in weighted_metrics only."""
    loss, activation, y, units, made = IN_MODELS[case]
    net = model(loss, made(), made(), units, activation)
    p = net.predict(X, verbose=0)
    expected = {}
    for w in (None, W):
        for metric in made():
            metric.update_state(y, p, sample_weight=w)
            expected[f"{metric.name}, {w is None}"] = metric.result()
    found = net.evaluate(X, y, sample_weight=W, verbose=0, return_dict=True)
    history = net.fit(X, y, sample_weight=W, validation_data=(X, y, W), verbose=0, batch_size=16).history
    names = net.fastdense.metrics_names[1:]
    for name, value in zip(names, expected.values(), strict=True):
        np.testing.assert_allclose(found[name], value, rtol=1e-9, err_msg=name)
        np.testing.assert_allclose(history[name][0], value, rtol=1e-9, err_msg=name)
        np.testing.assert_allclose(history[f"val_{name}"][0], value, rtol=1e-9, err_msg=name)


def test_names_in_the_history() -> None:
    keras.backend.clear_session()

    def close(y_true: Array, y_pred: Array) -> Array:
        return np.abs(y_true - y_pred) < 1

    given = ["acc", "AUC", M.AUC(), M.AUC, "Precision", close, keras.losses.mean_squared_error, "mse", "mse",
             ["RootMeanSquaredError"], M.LogCoshError()]  # fmt: skip
    net = model("binary_crossentropy", given, ["acc", "acc", "mae"], 1, "sigmoid")
    assert net.fastdense.metrics_names == [
        "loss", "acc", "AUC", "auc", "auc_2", "Precision", "close", "mean_squared_error", "mse", "mse_1",
        "RootMeanSquaredError", "logcosh", "weighted_acc", "weighted_acc_1", "mae",
    ]  # fmt: skip
    found = net.evaluate(X, LABELS[:, :1], verbose=0, return_dict=True)
    assert found["AUC"] == found["auc"] == found["auc_2"] and found["mse"] == pytest.approx(found["mean_squared_error"])
    assert found["RootMeanSquaredError"] == pytest.approx(found["mse"] ** 0.5)


@pytest.mark.parametrize(
    ("loss", "units", "kind"),
    [("binary_crossentropy", 1, M.BinaryAccuracy), ("binary_crossentropy", 3, M.CategoricalAccuracy),
     ("mse", 3, M.CategoricalAccuracy), ("sparse_categorical_crossentropy", 3, M.SparseCategoricalAccuracy)],
)  # fmt: skip
def test_accuracy_goes_by_the_shapes(loss: str, units: int, kind: type[Any]) -> None:
    y = {"sparse_categorical_crossentropy": CLASSES}.get(loss, LABELS[:, :units])
    net = model(loss, ["accuracy"], units=units, activation="sigmoid")
    alone = kind()
    alone.update_state(y, net.predict(X, verbose=0))
    assert net.evaluate(X, y, verbose=0)[1] == pytest.approx(float(alone.result()))


# ---- a user's own ----------------------------------------------------------------------------------------------------


class Within(keras.metrics.Metric):
    """Fraction of errors below a size."""

    def __init__(self, size: float = 1.0, name: str = "within", **options: Any) -> None:
        super().__init__(name=name, **options)
        self.size = size
        self.hits = self.add_weight(name="hits", initializer="zeros")
        self.rows = self.add_variable(shape=(), initializer="zeros", name="rows")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.hits.assign_add(np.sum(np.abs(y_true - y_pred) < self.size))
        self.rows.assign_add(len(y_true))

    def result(self) -> Any:
        return self.hits / self.rows


class Doubled(M.MeanSquaredError):
    def result(self) -> Any:
        return 2 * super().result()


def largest(y_true: Array, y_pred: Array) -> Array:
    """One number for a batch."""
    return np.max(np.abs(y_true - y_pred))


def test_metrics_of_ones_own() -> None:
    net = model("mse", [Within(0.5), Doubled(), largest], units=1)
    error = np.abs(VALUES - net.predict(X, verbose=0))
    batches = [error[i : i + 16].max() for i in range(0, 50, 16)]
    expected = [np.mean(error < 0.5), 2 * np.mean(error**2), np.mean(batches)]
    history = net.fit(X, VALUES, batch_size=16, shuffle=False, epochs=2, verbose=0).history
    assert [history[name] for name in ("within", "mean_squared_error", "largest")] == [
        [pytest.approx(value)] * 2 for value in expected
    ]
    assert net.evaluate(X, VALUES, batch_size=16, verbose=0)[1:] == pytest.approx(expected)
    assert net.test_on_batch(X, VALUES)[1:] == pytest.approx([*expected[:2], error.max()])


def test_files_keep_metrics(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    net = model("mse", [Within(0.5), M.AUC(curve="PR", name="pr"), "mae", largest], ["mae"], units=1)
    net.save(path)
    known = keras.models.load_model(path, custom_objects={"Within": Within, "largest": largest})
    names = ["loss", "within", "pr", "mae", "largest", "weighted_mae"]
    assert known.fastdense.metrics_names == net.fastdense.metrics_names == names
    y = (VALUES > 0) * 1.0
    assert known.evaluate(X, y, sample_weight=W, verbose=0) == pytest.approx(
        net.evaluate(X, y, sample_weight=W, verbose=0)
    )
    unknown = keras.models.load_model(path)
    with pytest.raises(
        ValueError, match=r"metric 'within' is 'Within' of the script that wrote the file. Pass custom_ob"
    ):
        unknown.evaluate(X, y, verbose=0)


def test_configs() -> None:
    for made in (M.AUC(curve="PR", thresholds=[0.2, 0.4]), M.Precision(thresholds=0.3, class_id=1), M.F1Score("macro")):
        again = type(made).from_config(made.get_config())
        assert again.get_config() == made.get_config()
        assert M.deserialize(M.serialize(made)).get_config() == made.get_config()


# ---- errors ----------------------------------------------------------------------------------------------------------


class Forgetful(keras.metrics.Metric):
    def __init__(self) -> None:
        self.total = 0.0


@pytest.mark.parametrize(
    ("use", "says"),
    [
        (lambda: model("mse", ["f1"]), "metrics: 'f1' is not a known metric."),
        (lambda: model("mse", [fd.metrics.AUC()]), "is a metric of fastdense. One of keras.metrics is needed here"),
        (lambda: model("mse", [M.MeanIoU]), "metrics: MeanIoU needs arguments"),
        (lambda: model("mse", [3]), "metrics: 3 is of type int. A name, a class, a metric or a function"),
        (lambda: Forgetful()([1], [1]), "Forgetful: super().__init__() was not called"),
        (lambda: M.Precision()([0, 1], [[0.1, 0.9], [0.8, 0.2]]), "class numbers as one-hot rows"),
        (lambda: M.F1Score(threshold=2), "F1Score: threshold=2. A float above 0 and up to 1 is needed."),
        (lambda: M.AUC(curve="PRC"), "AUC: curve='PRC'. One of 'ROC', 'PR', 'PRGAIN' is needed."),
        (lambda: M.AUC(num_labels=3), "AUC: num_labels=3 without multi_label=True."),
        (lambda: M.Recall(thresholds=[0.2, 1.5]), "Recall: thresholds=[0.2, 1.5]. Numbers from 0 to 1 are needed."),
        (lambda: model("mse", [], [largest], 1).evaluate(X, VALUES, sample_weight=W, verbose=0),
         "a function that returns one number per batch cannot be weighted"),
        (lambda: model("mse", [], units=1, activation="softmax"), "compile: the net ends with softmax over one unit"),
        (lambda: model("categorical_crossentropy", [], units=1), "compile: the net ends with categorical_crossentropy"),
    ],
)  # fmt: skip
def test_errors(use: Callable[[], Any], says: str) -> None:
    with pytest.raises((TypeError, ValueError, RuntimeError)) as error:
        use()
    assert says in str(error.value)


# ---- of fastdense.Model ----------------------------------------------------------------------------------------------


def test_fit_refuses_a_constant_output() -> None:
    made = fd.Model([fd.Dense(1, "softmax")], inputs=4)
    made.compile("adam", "binary_crossentropy")
    says = (
        "the net ends with softmax over one unit, which is the same whatever the weights are; an output that can "
        "change is needed: for two classes use Dense(1, 'sigmoid') and loss='binary_crossentropy', for more one unit "
        "per class"
    )
    for use in (made.fit, made.train_on_batch, fd.fit_many, fd.cross_validate):
        with pytest.raises(ValueError) as error:
            use(X, LABELS[:, :1]) if use in (made.fit, made.train_on_batch) else use(made, X, LABELS[:, :1])
        assert str(error.value).endswith(says)


def test_a_constant_net_has_no_top_k_accuracy_to_speak_of() -> None:
    made = fd.Model([fd.Dense(10, "softmax", kernel_initializer="zeros")], inputs=4)
    made.compile("sgd", "sparse_categorical_crossentropy", metrics=[fd.metrics.TopKAccuracy(k) for k in (1,)])
    assert made.evaluate(X, CLASSES, verbose=0)[1] == pytest.approx(0.1)
