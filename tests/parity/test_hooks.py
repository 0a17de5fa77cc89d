"""Losses and metrics of a user's own: on every engine the same numbers as with the built-in ones."""

from __future__ import annotations

import signal
import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastdense as fd
from fastdense.callbacks import Callback, LambdaCallback, TerminateOnNaN

Array = NDArray[Any]
RANDOM = np.random.default_rng(0)
X, Y, W = RANDOM.normal(size=(50, 3)), RANDOM.normal(size=(50, 2)), RANDOM.uniform(0.5, 2, 50)
IDS = RANDOM.integers(0, 2, 50)


def by_rows(y: Array, p: Array) -> tuple[Array, Array]:
    return ((p - y) ** 2).mean(axis=1), 2 * (p - y) / p.shape[1]


def by_batch(y: Array, p: Array) -> tuple[float, Array]:
    return float(((p - y) ** 2).mean()), 2 * (p - y) / p.size


class MeanError(fd.metrics.Collected):
    """The weighted mean of absolute errors, as 'mae'."""

    def reset_state(self) -> None:
        self.total = self.weight = 0.0
        self.batches: list[int] = []

    def update_state(self, y_true: Array, y_pred: Array, sample_weight: Array | None) -> None:
        w = np.ones(len(y_true)) if sample_weight is None else sample_weight
        self.total += float(w @ np.abs(y_true - y_pred).mean(axis=1))
        self.weight += float(w.sum())
        self.batches.append(len(y_true))

    def result(self) -> float:
        return self.total / self.weight


class Seen(fd.metrics.Collected):
    """Mean of what is seen, by column: an array."""

    def reset_state(self) -> None:
        self.rows: list[Array] = []

    def update_state(self, y_true: Array, y_pred: Array, sample_weight: Array | None) -> None:
        self.rows.append(y_pred)

    def result(self) -> Array:
        seen: Array = np.concatenate(self.rows).mean(axis=0)
        return seen


class SeenOutputs(Seen):
    sees_outputs = True


@pytest.fixture(params=["reference", "compiled"])
def place(request: pytest.FixtureRequest, compiled: str) -> str:
    """Every engine in turn."""
    return "reference" if request.param == "reference" else compiled.split()[0]


def model(place: str, loss: Any, metrics: Any = (), optimizer: Any = "adam", weight: float = 1.0) -> fd.Model:
    layers = [fd.Dense(5, "tanh"), fd.BatchNorm(), fd.Dense(2)]
    made = fd.Model(layers, inputs=3, dtype="float64", device=place, seed=3)
    made.compile(optimizer, loss, metrics=list(metrics), loss_weights=weight)
    return made


def trained(made: fd.Model, weights: Array | None = W, **options: Any) -> tuple[dict[str, list[Any]], Any, list[Array]]:
    history = made.fit(
        X, Y, sample_weight=weights, batch_size=16, epochs=3, validation_split=0.2, verbose=0, **options
    ).history
    return history, made.evaluate(X, Y, sample_weight=weights, verbose=0, return_dict=True), made.get_weights()


@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
def test_a_custom_loss_trains_like_the_built_in_one(place: str, weighted: bool) -> None:
    weights = W if weighted else None
    expected = trained(model(place, "mse", ["mae"]), weights)
    found = trained(model(place, fd.losses.Custom(by_rows), ["mae", MeanError()]), weights)
    for ours, theirs in zip(found[2], expected[2], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)
    for key, values in expected[0].items():
        np.testing.assert_allclose(found[0][key], values, rtol=1e-10)
        if "mae" in key:
            np.testing.assert_allclose(found[0][key.replace("mae", "MeanError")], values, rtol=1e-10)
    assert found[1]["MeanError"] == pytest.approx(expected[1]["mae"], rel=1e-12)
    assert found[1]["loss"] == pytest.approx(expected[1]["loss"], rel=1e-12)


def test_a_loss_of_the_whole_batch(place: str) -> None:
    expected = trained(model(place, "mse"), None)
    found = trained(model(place, fd.losses.Custom(by_batch)), None)
    for ours, theirs in zip(found[2], expected[2], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found[0]["val_loss"], expected[0]["val_loss"], rtol=1e-12)


def test_metrics_do_not_see_the_weight_of_the_loss(place: str) -> None:
    heavy, light = (trained(model(place, "mse", [MeanError()], "sgd", weight)) for weight in (4.0, 1.0))
    assert heavy[0]["MeanError"][0] == pytest.approx(light[0]["MeanError"][0], rel=0.2)
    expected = trained(model(place, "mse", ["mae"], "sgd", 4.0))
    np.testing.assert_allclose(heavy[0]["MeanError"], expected[0]["mae"], rtol=1e-10)


def test_batches_of_a_metric(place: str) -> None:
    metric = MeanError()
    made = model(place, "mse", [metric])
    made.fit(X, Y, batch_size=16, epochs=2, verbose=0)
    assert metric.batches == [16, 16, 16, 2]
    rows: list[list[int]] = []

    class Rows(MeanError):
        def result(self) -> float:
            rows.append(self.batches)
            return super().result()

    made.compile("sgd", "mse", metrics=[Rows()])
    made.evaluate(X, Y, batch_size=20, verbose=0)
    made.evaluate(X, Y, verbose=0)
    assert rows == [[20, 20, 10], [50]]


@pytest.mark.parametrize("last", ["softmax", "linear"])
def test_what_a_metric_sees_behind_a_crossentropy(place: str, last: str) -> None:
    made = fd.Model([fd.Dense(2, last)], inputs=3, dtype="float64", device=place)
    loss = fd.losses.SparseCategoricalCrossentropy(from_logits=last == "linear")
    targets: list[Array] = []

    class Targets(Seen):
        def update_state(self, y_true: Array, y_pred: Array, sample_weight: Array | None) -> None:
            targets.append(y_true)
            super().update_state(y_true, y_pred, sample_weight)

    made.compile("sgd", loss, metrics=[Targets(name="probabilities"), SeenOutputs(name="outputs"), "accuracy"])
    found = made.evaluate(X, IDS, verbose=0, return_dict=True)
    outputs = made.predict(X)
    odds = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found["outputs"], outputs.mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(
        found["probabilities"], (outputs if last == "softmax" else odds).mean(axis=0), rtol=1e-10
    )
    assert targets[0].dtype == np.int32
    np.testing.assert_array_equal(np.concatenate(targets), IDS)


def test_call_by_call(place: str) -> None:
    """Batch callbacks, and one batch by itself."""
    made, seen = model(place, "mse", [MeanError(name="error"), "mae"]), []

    class Look(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append(logs)

    history = made.fit(X, Y, batch_size=16, epochs=2, verbose=0, validation_data=(X, Y), callbacks=[Look()]).history
    np.testing.assert_allclose([logs["error"] for logs in seen], [logs["mae"] for logs in seen], rtol=1e-10)
    np.testing.assert_allclose(history["val_error"], history["val_mae"], rtol=1e-10)
    loss, error, mae = made.train_on_batch(X[:9], Y[:9])
    assert error == pytest.approx(mae, rel=1e-12)


def test_targets_of_any_width(place: str) -> None:
    def heteroscedastic(y: Array, p: Array) -> tuple[Array, Array]:  # outputs: mean and logarithm of the variance
        e, scale = y[:, 0] - p[:, 0], np.exp(-p[:, 1])
        return p[:, 1] + e**2 * scale, np.stack([-2 * e * scale, 1 - e**2 * scale], axis=1)

    made = model(place, fd.losses.Custom(heteroscedastic))
    losses = made.fit(X, Y[:, 0], batch_size=16, epochs=30, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    wide = np.concatenate([Y, W[:, None]], axis=1)

    def weighted(y: Array, p: Array) -> tuple[Array, Array]:
        values, gradient = by_rows(y[:, :2], p)
        return values * y[:, 2], gradient * y[:, 2:]

    found, expected = model(place, fd.losses.Custom(weighted)), model(place, "mse")
    found.fit(X, wide, batch_size=16, epochs=2, verbose=0)
    expected.fit(X, Y, sample_weight=W, batch_size=16, epochs=2, verbose=0)
    for ours, theirs in zip(found.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)
    found.compile("sgd", fd.losses.Custom(weighted), metrics=["mae"])
    with pytest.raises(ValueError, match=r"metrics that engines compute need one target per output, \(rows, 2\)"):
        found.fit(X, wide, verbose=0)


def test_gradient_and_probes(place: str) -> None:
    found, expected = model(place, fd.losses.Custom(by_rows)), model(place, "mse")
    value, gradient = found.loss_and_grad(X, Y, sample_weight=W)
    right, exact = expected.loss_and_grad(X, Y, sample_weight=W)
    assert value == pytest.approx(right, rel=1e-12)
    for ours, theirs in zip(gradient, exact, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-13)
    plain = found.clone()
    found.fit(X, Y, batch_size=16, epochs=4, verbose=0, probes=True)
    plain.fit(X, Y, batch_size=16, epochs=4, verbose=0)
    for ours, theirs in zip(found.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_softmax_under_a_custom_loss(place: str) -> None:
    def crossentropy(y: Array, p: Array) -> tuple[Array, Array]:
        return -(y * np.log(p)).sum(axis=1), -y / p

    targets, weights = np.eye(2)[IDS], []
    for loss in ("categorical_crossentropy", fd.losses.Custom(crossentropy)):
        made = fd.Model([fd.Dense(4, "relu"), fd.Dense(2, "softmax")], inputs=3, dtype="float64", device=place)
        made.compile("adam", loss)
        made.fit(X, targets, batch_size=16, epochs=2, verbose=0)
        weights.append(made.get_weights())
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_lbfgs_and_what_needs_curvature(place: str) -> None:
    layers = [fd.Dense(5, "tanh"), fd.Dense(2)]
    made = [fd.Model(layers, inputs=3, dtype="float64", device=place, seed=3).clone() for _ in range(2)]
    made[0].compile("lbfgs", "mse", metrics=["mae"])
    made[1].compile("lbfgs", fd.losses.Custom(by_rows), metrics=[MeanError(name="mae")])
    found = [one.fit(X, Y, epochs=4, verbose=0, validation_data=(X, Y)).history for one in made]
    assert found[0].keys() == found[1].keys()
    for key, values in found[0].items():
        np.testing.assert_allclose(found[1][key], values, rtol=1e-8)
    for optimizer in ("newton_cg", "levenberg_marquardt"):
        with pytest.raises(ValueError, match="compile: the loss is custom"):
            made[0].compile(optimizer, fd.losses.Custom(by_rows))
    for one, loss in zip(made, ("mse", fd.losses.Custom(by_rows)), strict=True):  # K-FAC needs gradients alone
        one.compile("kfac", loss)
        one.fit(X, Y, batch_size=16, epochs=1, verbose=0)
    np.testing.assert_allclose(made[0].predict(X), made[1].predict(X), rtol=1e-6)


def test_an_exception_ends_the_call_cleanly(place: str) -> None:
    calls = 0

    def broken(y: Array, p: Array) -> tuple[Array, Array]:
        nonlocal calls
        calls += 1
        if calls == 8:
            raise ZeroDivisionError("on purpose")
        return by_rows(y, p)

    twin = model(place, fd.losses.Custom(broken, check=False))
    with pytest.raises(ZeroDivisionError, match="on purpose"):
        twin.fit(X, Y, batch_size=16, epochs=5, verbose=0)
    assert twin.history is not None and twin.history.epoch == [0]
    assert twin.runner.step == 7
    again = model(place, fd.losses.Custom(by_rows))
    again.runner.train(again.optimizer, *_rows(), batch_size=16, shuffle=True, steps=7)
    for ours, theirs in zip(twin.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ZeroDivisionError):
        calls = 7
        twin.evaluate(X, Y, verbose=0)
    twin.fit(X, Y, epochs=1, verbose=0)


def _rows() -> tuple[Any, None]:
    from fastdense.data.rows import Rows

    return Rows(X, Y, None), None


def test_ctrl_c_inside_of_a_loss(place: str) -> None:
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals come to the main thread")
    calls = 0

    def interrupted(y: Array, p: Array) -> tuple[Array, Array]:
        nonlocal calls
        calls += 1
        if calls == 7:
            signal.raise_signal(signal.SIGINT)
        return by_rows(y, p)

    made = model(place, fd.losses.Custom(interrupted, check=False))
    with pytest.raises(KeyboardInterrupt):
        made.fit(X, Y, batch_size=16, epochs=5, verbose=0)
    assert made.history is not None and made.history.epoch == [0]
    assert made.runner.step == 6
    made.fit(X, Y, batch_size=16, epochs=1, verbose=0)


def test_a_loss_may_not_train_its_own_model(place: str) -> None:
    def nosy(y: Array, p: Array) -> tuple[Array, Array]:
        made.fit(X, Y, verbose=0)
        return by_rows(y, p)

    made = model(place, fd.losses.Custom(nosy))
    with pytest.raises((RuntimeError, ValueError)):
        made.fit(X, Y, verbose=0)


def test_a_loss_that_is_not_finite(place: str) -> None:
    def nan(y: Array, p: Array) -> tuple[Array, Array]:
        values, gradient = by_rows(y, p)
        return values * np.where(calls(), np.nan, 1), gradient

    count = iter(range(1000))

    def calls() -> bool:
        return next(count) >= 5

    made = model(place, fd.losses.Custom(nan, check=False), [MeanError()])
    history = made.fit(X, Y, batch_size=16, epochs=3, verbose=0, callbacks=[TerminateOnNaN()]).history
    assert len(history["loss"]) == len(history["MeanError"]) == 2


def test_populations(place: str) -> None:
    weights = []
    for loss in ("mse", fd.losses.Custom(by_rows)):
        made = model(place, loss, ["mae", MeanError(name="error")])
        options: dict[str, Any] = {"epochs": 2, "batch_size": 16, "verbose": 0}
        population = fd.fit_many(made, X, Y, starts=3, validation_data=(X, Y), **options)
        metrics = population.val_metrics
        np.testing.assert_allclose(metrics["error"], metrics["mae"], rtol=1e-8)
        weights.append(population[1].get_weights())
        np.testing.assert_allclose(made.fit(X, Y, starts=2, epochs=1, verbose=0).history["loss"][0], 1.0, atol=5)
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-10)
    made.compile("adam", "mse", metrics=[Seen()])
    with pytest.raises(ValueError, match=r"metric 'Seen' gave an array of shape \(2,\)"):
        fd.fit_many(made, X, Y, starts=2, validation_data=(X, Y), epochs=1, verbose=0)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda y, p: by_rows(y, p)[0], r"\(value, gradient\) is needed"),
        (lambda y, p: (by_rows(y, p)[0][:-1], p), r"value has shape \(15,\); \(\) or \(16,\) is needed"),
        (lambda y, p: (by_rows(y, p)[0], p[:, :1]), r"gradient has shape \(16, 1\); \(16, 2\) is needed"),
        (lambda y, p: (by_rows(y, p)[0], p.astype(str)), r"gradient has dtype"),
        (lambda y, p: (by_rows(y, p)[0] * np.nan, p), r"value of the first batch is not finite"),
        (lambda y, p: (by_rows(y, p)[0], by_rows(y, p)[1] / 7), r"changes 7 times as much as the gradient says"),
    ],
    ids=["one thing", "values", "gradient", "dtype", "nan", "wrong"],
)
def test_answers_that_are_none(place: str, answer: Any, message: str) -> None:
    made = model(place, fd.losses.Custom(answer, name="mine"))
    with pytest.raises(ValueError, match=f"losses.Custom 'mine': .*{message}"):
        made.fit(X, Y, batch_size=16, epochs=1, verbose=0)


def test_callbacks_see_arrays(place: str) -> None:
    seen: list[Any] = []
    made = model(place, "mse", [Seen()])
    look = LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs["Seen"]))
    history = made.fit(X, Y, epochs=2, verbose=2, callbacks=[look])
    assert [one.shape for one in seen] == [(2,), (2,)]
    assert "Seen" in repr(history)
