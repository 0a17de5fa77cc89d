"""What K-FAC promises: steps that are fractions of a layer's spread, whatever the scale and mean of the inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdense as fd

Array = Any
ROWS = 60


def data() -> tuple[Array, Array]:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(ROWS, 4)) * [1.0, 5.0, 0.2, 1.0]
    return x, np.sin(x @ rng.normal(size=(4, 3)))


def model_of(device: str, **options: Any) -> fd.Model:
    layers = [fd.Dense(6, "tanh"), fd.Dense(5, "relu", use_bias=False), fd.Dense(3)]
    model = fd.Model(layers, inputs=4, seed=1, dtype="float64", device=device)
    model.compile(fd.KFAC(**{"learning_rate": 0.05} | options), "mse")
    return model


def train(model: fd.Model, x: Array, y: Array, epochs: int = 5) -> None:
    model.fit(x, y, epochs=epochs, batch_size=20, verbose=0)


def test_an_offset_of_the_inputs_makes_no_difference(device: str) -> None:
    x, y = data()
    plain, moved = model_of(device), model_of(device)
    offset = np.array([3.0, -20.0, 100.0, 7.0])
    weights = moved.get_weights()
    weights[1] = weights[1] - offset @ weights[0]
    moved.set_weights(weights)
    train(plain, x, y)
    train(moved, x + offset, y)
    # offsets of 100 spreads, squared in the covariance: 1e4 units of 1e-16, a hundredfold for 15 steps
    np.testing.assert_allclose(moved.predict(x + offset), plain.predict(x), rtol=0, atol=1e-9)


def test_the_scale_of_the_loss_makes_no_difference(device: str) -> None:
    x, y = data()
    plain, heavy = model_of(device), model_of(device)
    train(plain, x, y)
    heavy.fit(x, y, sample_weight=np.full(ROWS, 1e6), epochs=5, batch_size=20, verbose=0)
    np.testing.assert_allclose(heavy.predict(x), plain.predict(x), rtol=0, atol=1e-10)  # 15 steps, rounded elsewhere


def test_a_step_is_a_share_of_the_spread(device: str) -> None:
    x, y = data()
    model = model_of(device, momentum=0.0, learning_rate=0.01)
    kernel, bias = model.get_weights()[:2]
    model.fit(x, y, epochs=1, batch_size=ROWS, verbose=0)
    moved = model.get_weights()[:2]
    change = x @ (moved[0] - kernel) + moved[1] - bias
    covariance = 0.8 * np.eye(4) * x.var(axis=0).mean() + 0.2 * np.cov(x.T, bias=True)  # rho's share is made up
    spread = np.sqrt(np.sum(kernel * (covariance @ kernel)) / kernel.shape[1])
    np.testing.assert_allclose(np.sqrt(np.mean(change**2)), 0.01 * spread, rtol=1e-10)


def test_it_goes_on_between_two_inversions(device: str, tmp_path: Any) -> None:
    x, y = data()
    whole, half = model_of(device, interval=7), model_of(device, interval=7)
    train(whole, x, y, 6)  # 18 steps; saved after 9, two after an inversion
    train(half, x, y, 3)
    half.save(tmp_path / "net.safetensors")
    again = fd.load(tmp_path / "net.safetensors", device=device)
    train(again, x, y, 3)
    for a, b in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("argument", "value"), [("rho", 1.0), ("input_damping", 0.0), ("interval", 0)])
def test_arguments(argument: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^KFAC: {argument}[= ]"):
        fd.KFAC(**{argument: value})
