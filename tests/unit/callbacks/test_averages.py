"""`SwapEMAWeights`: which weights are used when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense.callbacks import LambdaCallback, ModelCheckpoint, SwapEMAWeights

X = np.random.RandomState(0).rand(24, 3).astype(np.float32)
Y = X.sum(axis=1, keepdims=True)


def make(device: str, **options: Any) -> fd.Model:
    model = fd.Model([fd.Dense(4, "tanh"), fd.BatchNorm(), fd.Dense(1)], inputs=3, device=device)
    model.compile(fd.SGD(0.1, **options), "mse")
    return model


def test_validation_is_that_of_the_averaged_weights(device: str) -> None:
    """By hand: the average of the weights after every step, and a model that has it."""
    plain, other, average, losses = make(device), make(device), [], []

    def follow(batch: int, logs: Any) -> None:
        now = plain.get_weights()
        trained = [spec.trainable for spec in plain.net.tensors]
        for i, (tensor, of_gradient) in enumerate(zip(now, trained, strict=True)):
            if len(average) <= i:
                average.append(tensor)
            else:
                average[i] = 0.9 * average[i] + 0.1 * tensor if of_gradient else tensor

    def evaluate(epoch: int, logs: Any) -> None:
        other.set_weights(average)
        losses.append(other.evaluate(X, Y))

    plain.fit(X, Y, batch_size=8, epochs=3, verbose=0,
              callbacks=[LambdaCallback(on_train_batch_end=follow, on_epoch_end=evaluate)])  # fmt: skip
    model = make(device, use_ema=True, ema_momentum=0.9)
    history = model.fit(X, Y, batch_size=8, epochs=3, verbose=0, validation_data=(X, Y), callbacks=[SwapEMAWeights()])
    np.testing.assert_allclose(history.history["val_loss"], losses, rtol=1e-4)
    for one, two in zip(model.get_weights(), average, strict=True):  # as without the callback, fit ends with them
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)


def test_training_is_not_changed(device: str) -> None:
    histories = [
        make(device, use_ema=True).fit(
            X, Y, batch_size=8, epochs=4, verbose=0, validation_split=0.5, callbacks=callbacks
        )
        for callbacks in ([], [SwapEMAWeights()], [SwapEMAWeights(swap_on_epoch=True)])
    ]
    assert histories[0].history["loss"] == histories[1].history["loss"] == histories[2].history["loss"]


def test_callbacks_after_it_see_the_averaged_weights(device: str, tmp_path: Path) -> None:
    model, seen = make(device, use_ema=True), []

    def look(epoch: int, logs: Any) -> None:
        seen.append(all(map(np.array_equal, model.get_weights(), model.ema_weights())))

    watch = LambdaCallback(on_epoch_end=look)
    model.fit(X, Y, epochs=2, batch_size=8, verbose=0, callbacks=[watch, SwapEMAWeights(swap_on_epoch=True), watch,
                                                                  ModelCheckpoint(tmp_path / "{epoch}")])  # fmt: skip
    assert seen == [False, True, False, True]
    saved = fd.load(tmp_path / "2").get_weights()
    for one, other in zip(saved, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_evaluate_and_predict(device: str) -> None:
    model = make(device, use_ema=True)
    for _ in range(3):
        model.train_on_batch(X, Y)
    weights, averaged = model.get_weights(), make(device)
    averaged.set_weights(model.ema_weights())
    assert model.evaluate(X, Y, callbacks=[SwapEMAWeights()]) == averaged.evaluate(X, Y) != model.evaluate(X, Y)
    np.testing.assert_array_equal(model.predict(X, callbacks=[SwapEMAWeights()]), averaged.predict(X))
    for one, other in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_optimizer_without_an_average_is_refused() -> None:
    model = make("cpu")
    with pytest.raises(ValueError, match="compile with use_ema=True"):
        model.fit(X, Y, callbacks=[SwapEMAWeights()], verbose=0)
    assert model.step == 0
