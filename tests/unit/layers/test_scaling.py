"""Rescaling as a user meets it: raw targets at the end of a net, pixels at its front."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdense as fd
from tests.helpers.tolerances import UNIT

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 4)).astype(np.float32)
Y = np.sin(X @ RNG.normal(size=(4, 2)))
SCALE, OFFSET = 64.0, [4096.0, -512.0]  # powers of 2: the scaling itself rounds nothing but the sums


def model_of(*ends: Any, device: str = "cpu", dtype: str = "float64", **options: Any) -> fd.Model:
    layers = [fd.Dense(8, "tanh"), fd.Dense(2), *ends]
    return fd.Model(layers, inputs=4, seed=3, device=device, dtype=dtype, **options)


def test_raw_targets_train_as_scaled_ones_do(device: str) -> None:
    """Of the mse every gradient is SCALE**2 times as large, which Adam without an epsilon does not see."""
    plain, raw = model_of(device=device), model_of(fd.Rescaling(SCALE, OFFSET), device=device)
    losses = []
    for model, y in ((plain, Y), (raw, Y * SCALE + OFFSET)):
        model.compile(fd.Adam(0.01, epsilon=1e-300), "mse")
        losses.append(model.fit(X, y, epochs=5, batch_size=40, verbose=0).history["loss"])
    np.testing.assert_allclose(np.multiply(losses[0], SCALE**2), losses[1], rtol=1e-8)
    np.testing.assert_allclose(plain.predict(X) * SCALE + OFFSET, raw.predict(X), rtol=1e-8)
    assert all((a == b).all() for a, b in zip(raw.get_weights()[-2:], ([SCALE] * 2, OFFSET), strict=True))
    assert raw.count_params() == plain.count_params() + 4


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_row_takes_the_fast_way_and_has_the_bits_of_many(dtype: str) -> None:
    front, end = fd.Rescaling([1.0, 2.0, 3.0, 4.0], 0.5), fd.Rescaling(3.0, 1.0)
    model = fd.Model([front, fd.Dense(7, "relu"), fd.Dense(2), end], inputs=4, dtype=dtype)
    x = X.astype(dtype)
    every = model.predict(x)
    for row in range(5):
        one = model.runner.predict_row(x[row : row + 1])
        assert one is not None and one.tobytes() == every[row].tobytes()
    outputs = model.activations(x)
    assert [a.shape for a in outputs] == [(200, 4), (200, 7), (200, 2), (200, 2)]
    assert outputs[-1].tobytes() == every.tobytes()
    atol = 2 * UNIT[dtype] * 4 * np.abs(x).max()  # the product and the sum are rounded, and may cancel
    np.testing.assert_allclose(outputs[0], x * np.array([1, 2, 3, 4], dtype) + np.array(0.5, dtype), rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("given", [np.float32, np.float64])
@pytest.mark.parametrize("normalized", [False, True])
def test_one_row_of_either_float_dtype(dtype: str, given: Any, normalized: bool) -> None:
    """The bits of many rows: doubles are centred before they are rounded, as 1e6 needs that they be."""
    x = (X.astype(np.float64) + 1e6 * normalized).astype(given)
    layers = [fd.Normalization().adapt(x)] if normalized else []
    model = fd.Model([*layers, fd.Dense(7, "relu"), fd.Dense(2)], inputs=4, dtype=dtype)
    every = model.predict(x)
    for row in range(5):
        one = model.runner.predict_row(x[row : row + 1])
        assert one is not None and one.dtype == dtype and one.tobytes() == every[row].tobytes()
    others = [np.nan, np.inf, -np.inf, *([1e39, -1e39] if dtype == "float32" and given == np.float64 else [])]
    for value in others:
        bad = x[:1].copy()
        bad[0, 2] = value
        assert model.runner.predict_row(bad) is None
        with pytest.raises(ValueError, match=r"^predict: x\[0, 2\] is "):
            model.predict(bad)
    assert model.runner.predict_row(np.asfortranarray(x)[:1, ::-1]) is None
    assert model.runner.predict_row(x[:1].astype(np.int64)) is None


def test_starts_know_that_a_rescaling_is_no_layer_of_its_own() -> None:
    """The dense layer before it makes the outputs: it is solved for, and counts as no hidden one."""
    plain, raw = model_of(), model_of(fd.Rescaling(SCALE, OFFSET))
    for model, y in ((plain, Y), (raw, Y * SCALE + OFFSET)):
        model.compile("adam", "mse")
        fd.start_on_data(model, X, y)
    np.testing.assert_allclose(plain.predict(X) * SCALE + OFFSET, raw.predict(X), rtol=1e-6)
    before = raw.get_weights()[2:]
    raw.place(X)
    assert all((a == b).all() for a, b in zip(before, raw.get_weights()[2:], strict=True))
    many = fd.fit_many(raw, X, Y * SCALE + OFFSET, starts=3, epochs=2, verbose=0)
    np.testing.assert_array_equal(many[2].get_weights()[-1], OFFSET)
    assert (many.outcomes().dead == 0).all()


def test_pixels(device: str) -> None:
    pixels = RNG.integers(0, 256, (50, 6), dtype=np.uint8)
    front = fd.Model(
        [fd.Rescaling(1 / 255), fd.Dense(3, "relu"), fd.Dense(1)], inputs=6, device=device, dtype="float64"
    )
    plain = fd.Model([fd.Dense(3, "relu"), fd.Dense(1)], inputs=6, dtype="float64")
    plain.set_weights(front.get_weights()[2:])
    np.testing.assert_allclose(front.predict(pixels), plain.predict(pixels / 255), rtol=1e-12)
    again = fd.Model.from_config(front.get_config())
    again.set_weights(front.get_weights())
    np.testing.assert_allclose(again.predict(pixels), front.predict(pixels), rtol=1e-12)
