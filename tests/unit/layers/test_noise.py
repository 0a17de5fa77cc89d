"""Noise layers: mean and variance of what they give, in training only, the same at any number of threads."""

from __future__ import annotations

import numpy as np
import pytest

import fastdense as fd
from fastdense.calls import TrainCall
from fastdense.engine.factory import make_engine

ROWS = 4000


def passed_on(layer: fd.layers.Layer, value: float, device: str, n_threads: int = 1) -> np.ndarray:  # type: ignore[type-arg]
    """What the layer gives of a constant in the first step: a gradient of a linear loss shows it."""
    ops = [*layer.lower(1), *fd.Dense(1, use_bias=False).lower(1)]
    engine = make_engine(device, {"inputs": 1, "seed": 3, "dtype": "float64", "ops": ops})
    optimizer = fd.SGD(1.0).lower()
    found = []
    for row in range(4):  # mse of one row in ROWS with weight 1, kernel 0: d = -2 · target · what passed on / ROWS
        engine.set_tensors([np.zeros((1, 1))])
        engine.configure({"loss": fd.losses.get("mse").lower(), "optimizer": optimizer, "metrics": []})
        w = np.zeros(ROWS)
        w[row] = 1.0
        x, y = np.full((ROWS, 1), value), np.ones((ROWS, 1))
        call = TrainCall(x, y, w, np.ones(1), ROWS, False, n_threads=n_threads)
        engine.train(call)
        found.append(engine.get_tensors()[0][0, 0] * ROWS / 2)
    return np.array(found)


@pytest.mark.parametrize(
    "layer", [fd.layers.GaussianNoise(0.5), fd.layers.GaussianDropout(0.2), fd.layers.AlphaDropout(0.3)]
)
def test_engines_draw_the_same_numbers(layer: fd.layers.Layer) -> None:
    expected = passed_on(layer, 1.5, "reference")
    np.testing.assert_allclose(passed_on(layer, 1.5, "cpu"), expected, rtol=1e-12)
    assert len(set(expected.round(6))) > 1


def outputs(layer: fd.layers.Layer, x: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """In training, by the reference engine's forward pass."""
    from fastdense.reference.layers import Context, build_ops

    op = build_ops(x.shape[1], layer.lower(x.shape[1]), "float64")[0]
    return op.forward([], x, Context(True, 5, 9)).output


def test_mean_and_variance() -> None:
    x = np.full((ROWS, 25), 2.0)
    noisy = outputs(fd.layers.GaussianNoise(0.5), x)
    assert noisy.mean() == pytest.approx(2.0, abs=0.01) and noisy.std() == pytest.approx(0.5, abs=0.01)
    factor = outputs(fd.layers.GaussianDropout(0.2), x) / 2.0
    assert factor.mean() == pytest.approx(1.0, abs=0.01) and factor.var() == pytest.approx(0.25, abs=0.01)
    normal = np.random.default_rng(0).normal(size=(ROWS, 25))
    kept = outputs(fd.layers.AlphaDropout(0.3), normal)
    assert kept.mean() == pytest.approx(0.0, abs=0.02) and kept.var() == pytest.approx(1.0, abs=0.02)
    limit = -1.0507009873554805 * 1.6732632423543772
    a = (0.7 * (1 + 0.3 * limit**2)) ** -0.5
    dropped = a * limit - a * limit * 0.3
    assert np.isclose(kept, dropped).mean() == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize(
    "layer", [fd.layers.GaussianNoise(0.5), fd.layers.GaussianDropout(0.2), fd.layers.AlphaDropout(0.3)]
)
def test_not_outside_of_training_and_same_bits_at_any_number_of_threads(layer: fd.layers.Layer) -> None:
    x = np.random.default_rng(0).normal(size=(300, 40))
    made = fd.Model([layer, fd.Dense(200, activation="tanh"), layer, fd.Dense(1)], inputs=40)
    plain = fd.Model([fd.Dense(200, activation="tanh"), fd.Dense(1)], inputs=40)
    plain.set_weights(made.get_weights())
    np.testing.assert_allclose(made.predict(x), plain.predict(x), rtol=1e-5, atol=1e-5)
    found = []
    for n_threads in (1, 4):
        one = made.clone()
        one.compile("adam", "mse")
        one.fit(x, x[:, :1], epochs=2, batch_size=100, verbose=0, n_threads=n_threads)
        found.append(one.get_weights())
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))
