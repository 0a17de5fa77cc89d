"""Iterables of batches in scripts for Keras. The numbers are those of Keras 3.15 on JAX, in float32."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense import keras
from fastdense.arrays import Array

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(100, 4)).astype(np.float32)
Y = (X[:, :1] > 0).astype(np.float32)
V = RANDOM.normal(size=(60, 4)).astype(np.float32)
VY = (V[:, :1] > 0).astype(np.float32)
FIRST = [RANDOM.normal(size=(4, 3)).astype(np.float32), np.zeros(3, np.float32),
         RANDOM.normal(size=(3, 1)).astype(np.float32), np.zeros(1, np.float32)]  # fmt: skip


def model() -> keras.Sequential:
    made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "tanh"), keras.layers.Dense(1, "sigmoid")])
    made.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    made.set_weights(FIRST)
    return made


def items(x: Array, y: Array, passes: int = 100, size: int = 16) -> Iterator[Any]:
    for _ in range(passes):
        for i in range(0, len(x), size):
            yield x[i : i + size], y[i : i + size]


class Rows(keras.utils.PyDataset):
    def __init__(self) -> None:
        super().__init__(workers=2)
        self.log: list[Any] = []

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> Any:
        self.log.append(index)
        return X[index * 20 : index * 20 + 20], Y[index * 20 : index * 20 + 20]

    def on_epoch_end(self) -> None:
        self.log.append("end")


def agrees(history: dict[str, list[float]], expected: dict[str, list[float]]) -> None:
    assert list(history) == list(expected)
    for key, values in expected.items():
        np.testing.assert_allclose(history[key], values, rtol=2e-5, err_msg=key)


def test_generators() -> None:
    fit = model().fit(items(X, Y), steps_per_epoch=5, epochs=3, verbose=0, validation_data=items(V, VY),
                      validation_steps=4)  # fmt: skip
    agrees(fit.history, {
        "accuracy": [0.4125, 0.411765, 0.352941],
        "loss": [1.152611, 1.086707, 1.137093],
        "val_accuracy": [0.35, 0.3125, 0.35],
        "val_loss": [1.116855, 1.128913, 1.104658],
    })  # fmt: skip


def test_a_generator_that_ends_gives_its_first_items_again() -> None:
    with pytest.warns(UserWarning, match="^fit: your input ran out of data after 2 batches") as seen:
        history = model().fit(items(X, Y, 1), epochs=3, verbose=0).history
    assert len([one for one in seen if "ran out of data" in str(one.message)]) == 2
    agrees(history, {"accuracy": [0.39, 0.5, 0.5], "loss": [1.132937, 1.082541, 1.07989]})
    with pytest.warns(UserWarning, match="after 2 of 5 batches"):
        history = model().fit(items(X, Y, 1), steps_per_epoch=5, epochs=3, verbose=0).history
    agrees(history, {"accuracy": [0.4125, 0.3, 0.5], "loss": [1.152611, 1.054243, 1.082541]})


def test_steps_of_arrays() -> None:
    with pytest.warns(UserWarning, match="^fit: your input ran out of data after 1 of 3 batches"):
        history = model().fit(X, Y, steps_per_epoch=3, batch_size=16, epochs=4, shuffle=False, verbose=0,
                              validation_data=(V, VY), validation_steps=2, validation_freq=2).history  # fmt: skip
    agrees(history, {
        "accuracy": [0.458333, 0.3125, 0.5, 0.458333],
        "loss": [1.109224, 1.178976, 0.865035, 1.100234],
        "val_accuracy": [0.3125, 0.3125],
        "val_loss": [1.133197, 1.128913],
    })  # fmt: skip
    history = model().fit(X, Y, steps_per_epoch=3, epochs=2, shuffle=False, verbose=0).history
    agrees(history, {"accuracy": [0.39, 0.39], "loss": [1.135211, 1.13036]})
    history = model().fit(X, Y, epochs=4, shuffle=False, verbose=0, validation_data=[V, VY],
                          validation_freq=[1, 3]).history  # fmt: skip
    agrees(history, {
        "accuracy": [0.39] * 4,
        "loss": [1.135024, 1.129009, 1.123296, 1.117659],
        "val_accuracy": [0.35, 0.35],
        "val_loss": [1.117818, 1.107821],
    })  # fmt: skip


def test_validation_batch_size() -> None:
    history = model().fit(X, Y, 16, 2, False, shuffle=False, validation_data=(V, VY, np.arange(60) / 30.0),
                          validation_batch_size=7, validation_steps=3).history  # fmt: skip
    np.testing.assert_allclose(history["loss"], [1.132937, 1.122962], rtol=2e-5)
    np.testing.assert_allclose(history["val_loss"], [0.442319, 0.43915], rtol=2e-5)


def test_evaluate_and_predict() -> None:
    found = model().evaluate(items(V, VY), steps=4, verbose=0, return_dict=True)
    assert list(found) == ["accuracy", "loss"]
    np.testing.assert_allclose(list(found.values()), [0.35, 1.123131], rtol=2e-5)
    np.testing.assert_allclose(model().evaluate(V, VY, batch_size=16, steps=2, verbose=0), [1.14019, 0.3125], rtol=2e-5)
    np.testing.assert_allclose(model().evaluate(V, VY, steps=2, verbose=0), [1.123131, 0.35], rtol=2e-5)
    out = model().predict(V, verbose=0)
    assert np.array_equal(model().predict(items(V, VY), steps=3, verbose=0), out[:48])
    assert np.array_equal(model().predict(V, steps=2, batch_size=16, verbose=0), out[:32])
    assert np.array_equal(model().predict(V, steps=2, verbose=0), out)


def test_a_data_set() -> None:
    """An item is drawn to look at it, then the batches come in the order that Python's generator gives."""
    random.seed(3)
    data = Rows()
    history = model().fit(data, epochs=2, verbose=0).history
    agrees(history, {"accuracy": [0.39, 0.39], "loss": [1.134412, 1.126613]})
    assert data.log == [0, "end", 1, 3, 2, 0, 4, "end", 1, 0, 4, 2, 3, "end"]
    data, made = Rows(), model()
    with pytest.warns(UserWarning, match="after 2 of 3 batches"):
        history = made.fit(data, epochs=2, verbose=0, shuffle=False, steps_per_epoch=3,
                           class_weight={0: 1.0, 1: 3.0}).history  # fmt: skip
    np.testing.assert_allclose(history["loss"], [2.16878, 1.894279], rtol=2e-5)
    assert data.log == [0, "end", 0, 1, 2, "end", 3, 4, "end"]
    data.log.clear()
    assert len(made.predict(data, verbose=0)) == 100
    assert data.log == [0, 1, 2, 3, 4, "end"]
    assert keras.utils.Sequence is keras.utils.PyDataset
    with pytest.raises(NotImplementedError, match="__len__ is missing"):
        iter(keras.utils.PyDataset())


def test_the_shape_of_the_input_is_that_of_the_first_item() -> None:
    images = RANDOM.normal(size=(64, 3, 2)).astype(np.float32)
    made = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(1)])
    made.compile("adam", "mse")
    made.fit(items(images, images[:, 0, :1], 2), steps_per_epoch=4, epochs=2, verbose=0)
    assert made.input_shape == (None, 3, 2)
    assert np.array_equal(made.predict(items(images, images[:, 0, :1], 1), verbose=0), made.predict(images, verbose=0))
    with pytest.raises(ValueError, match=r"^evaluate: item 0: x has shape \(16, 2, 2\), and"):
        made.evaluate(items(images[:, :2], images[:, 0, :1], 1), verbose=0)


def test_hooks_see_the_items() -> None:
    log: list[Any] = []

    class Log(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            log.append((batch, sorted(logs)))

        def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
            log.append(("test", batch))

    fit = model().fit(items(X, Y), steps_per_epoch=2, verbose=0, callbacks=[Log()], validation_data=items(V, VY),
                      validation_steps=2)  # fmt: skip
    assert log == [(0, ["accuracy", "loss"]), (1, ["accuracy", "loss"]), ("test", 0), ("test", 1)]
    np.testing.assert_allclose(fit.history["val_loss"], [1.138022], rtol=2e-5)
    assert fit.params["steps"] == 2


def test_batch_by_batch() -> None:
    made = model()
    np.testing.assert_allclose(made.train_on_batch(X[:10], Y[:10]), [1.101112, 0.4], rtol=2e-5)
    second = made.train_on_batch(X[10:20], Y[10:20], return_dict=True)
    assert second == {"loss": pytest.approx(0.95948, rel=2e-5), "accuracy": pytest.approx(0.6)}
    weighted = made.train_on_batch(X[:10], Y[:10], sample_weight=np.arange(10) / 5)
    assert weighted[0] == pytest.approx(0.877452, rel=2e-5)
    weighted = made.train_on_batch(X[:10], Y[:10], class_weight={0: 1.0, 1: 2.0})
    assert weighted[0] == pytest.approx(1.291522, rel=2e-5)
    assert made.test_on_batch(X[:10], Y[:10]) == pytest.approx([1.093212, 0.4], rel=2e-5)
    tested = made.test_on_batch(X[:10], Y[:10], sample_weight=np.arange(10) / 5, return_dict=True)
    assert tested["loss"] == pytest.approx(0.873673, rel=2e-5)
    assert made.predict_on_batch(X[:2]).shape == (2, 1)
    made.reset_metrics()


@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
def test_a_batch_size_changes_nothing_and_says_so(method: str) -> None:
    steps = {"fit": "steps_per_epoch"}.get(method, "steps")
    with pytest.warns(UserWarning, match=f"^{method}: batch_size=8 changes nothing, since the items of x are the"):
        getattr(model(), method)(items(X, Y), batch_size=8, verbose=0, **{steps: 2})


def test_printed_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """The numbers of steps, the order of the metrics and their digits are Keras's."""
    made = model()
    made.fit(X, Y, epochs=2, shuffle=False, validation_data=(V, VY))
    made.fit(items(X, Y, 1), verbose=2)
    made.fit(items(X, Y), steps_per_epoch=12, verbose=2)
    made.evaluate(items(V, VY, 1), verbose=1)
    made.predict(V, verbose=1)
    number, each, bar = r"\d\.\d{4}", r"\d+s \d+[mu]s/step", "━" * 20
    lines = [
        "Epoch 1/2",
        rf"4/4 {bar} {each} - accuracy: {number} - loss: {number} - val_accuracy: {number} - val_loss: {number}",
        "Epoch 2/2",
        rf"4/4 {bar} {each} - accuracy: {number} - loss: {number} - val_accuracy: {number} - val_loss: {number}",
        rf"7/7 - \d+s - \d+[mu]s/step - accuracy: {number} - loss: {number}",
        rf"12/12 - \d+s - \d+[mu]s/step - accuracy: {number} - loss: {number}",
        rf"4/4 {bar} {each} - accuracy: {number} - loss: {number}",
        rf"2/2 {bar} {each}",
    ]
    assert re.fullmatch("\n".join(lines) + "\n", capsys.readouterr().out)


def test_numbers_have_the_digits_of_keras() -> None:
    from fastdense.keras.progress import line, numbers

    assert numbers({"a": 0.0, "b": 1e-4, "c": -0.5, "d": 0.54125, "e": [0.25, 0.75], "f": 0.001}) == (
        " - a: 0.0000e+00 - b: 1.0000e-04 - c: -0.5000 - d: 0.5412 - e: 0.5000 - f: 0.0010"
    )
    assert numbers({"c": -0.5}, 2) == " - c: -5.0000e-01"
    assert line(1, 4, 0.02, {}, colors=True) == (
        f"\033[1m4/4\033[0m \033[32m{'━' * 20}\033[0m\033[37m\033[0m \033[1m0s\033[0m 5ms/step\n"
    )


def test_the_line_of_a_running_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal: how far it is, or how many batches there were where their number is not known before."""
    from fastdense.keras import progress

    written: list[str] = []
    clock = iter(float(i) for i in range(100))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(progress, "is_interactive", lambda stream: True)
    for steps, expected in (
        (40, "\033[1m10/40\033[0m \033[32m"),
        (None, "     10/Unknown \033[1m2s\033[0m 200ms/step"),
    ):
        lines = progress.Lines(1)
        lines.set_params({"epochs": 1, "steps": steps})
        lines.on_train_begin()
        lines._write = written.append  # type: ignore[method-assign]
        next(clock)
        lines.running_batches(0, 10, steps, 0.25)
        assert expected in written[-1]
        assert written[-1].endswith(" - loss: 0.2500")


def test_own_fit_of_the_net_inside_goes_on_with_the_next_item() -> None:
    """`fastdense.Model` gives no item twice."""
    drawn = 0

    def counted() -> Iterator[Any]:
        nonlocal drawn
        for item in items(X, Y):
            drawn += 1
            yield item

    made, source = model(), counted()
    inner: fd.Model = made.fastdense
    inner.fit(source, steps_per_epoch=3, verbose=0, validation_data=source, validation_steps=2)
    assert drawn == 5
