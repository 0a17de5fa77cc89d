"""Starts placed on the data, and the last layer in closed form."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from tests.helpers.tolerances import DTYPES, UNIT

Array = Any
ROWS, INPUTS = 5000, 6


def data(outputs: int = 3, offset: float = 0.0) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(ROWS, INPUTS)) + offset
    return x, np.sin(x @ rng.normal(size=(INPUTS, outputs))), rng.uniform(0.0, 2.0, ROWS)


def model_of(dtype: str = "float64", device: str = "cpu", use_bias: bool = True, **options: Any) -> fd.Model:
    layers = [fd.Normalization(), fd.Dense(20, "tanh"), fd.Dense(12, "relu"), fd.Dense(3, use_bias=use_bias, **options)]
    return fd.Model(layers, inputs=INPUTS, seed=2, dtype=dtype, device=device)


def closed_form(h: Array, y: Array, w: Array, ridge: float, use_bias: bool) -> tuple[Array, Array]:
    """By a singular value decomposition of the weighted rows, with the ridge as further rows: no squares of h."""
    mean = np.average(h, axis=0, weights=w) if use_bias else np.zeros(h.shape[1])
    level = np.average(y, axis=0, weights=w) if use_bias else np.zeros(y.shape[1])
    rows = np.sqrt(w)[:, None] * (h - mean)
    penalty = np.sqrt(ridge * (rows**2).sum(axis=0).mean()) * np.eye(h.shape[1])
    right = np.vstack([np.sqrt(w)[:, None] * (y - level), np.zeros((h.shape[1], y.shape[1]))])
    kernel = np.linalg.lstsq(np.vstack([rows, penalty]), right, rcond=None)[0]
    return kernel, level - mean @ kernel


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_solve_output_is_the_ridge_regression(device: str, dtype: str, use_bias: bool, weighted: bool) -> None:
    x, y, w = data(offset=30.0)
    model = model_of(dtype, device, use_bias)
    ridge = 1e-4
    assert model.solve_output(x, y, ridge=ridge, sample_weight=w if weighted else None) is model
    h = model.activations(x)[-2].astype(np.float64)
    kernel, bias = closed_form(h, y, w if weighted else np.ones(ROWS), ridge, use_bias)
    # The matrix is squared, so its condition number is at most 1/ridge times the number of columns; weights are then
    # rounded to the dtype.
    near = 20 * UNIT["float64"] / ridge * h.shape[1] + UNIT["float32" if model.dtype == "float32" else "float64"]
    found = model.get_weights()
    np.testing.assert_allclose(found[-2 if use_bias else -1], kernel, rtol=0, atol=near * np.abs(kernel).max())
    if use_bias:
        np.testing.assert_allclose(found[-1], bias, rtol=0, atol=2 * near * max(1.0, np.abs(kernel).sum(axis=0).max()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ends", [[fd.Rescaling(30.0, -7.0)], [fd.Rescaling([2.0, -0.5, 9.0]), fd.Rescaling(0.1, 4.0)]])
def test_solve_output_undoes_rescalings(device: str, dtype: str, ends: list[fd.Rescaling]) -> None:
    x, y, w = data()
    hidden = [fd.Normalization(), fd.Dense(20, "tanh")]
    plain, ended = (
        fd.Model([*hidden, fd.Dense(3), *more], inputs=INPUTS, seed=2, dtype=dtype, device=device).solve_output(
            x, targets, sample_weight=w
        )
        for more, targets in (([], y), (ends, _rescaled(y, ends)))
    )
    for a, b in zip(plain.get_weights(), ended.get_weights(), strict=False):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 if dtype == "float32" else 1e-9)
    seen = _rescaled(plain.predict(x).astype(np.float64), ends)
    np.testing.assert_allclose(ended.predict(x), seen, rtol=0, atol=1e-3 if dtype == "float32" else 1e-8)


def _rescaled(y: Array, ends: list[fd.Rescaling]) -> Array:
    for layer in ends:
        y = y * np.asarray(layer.scale) + layer.offset
    return y


def test_solve_output_at_any_thread_count() -> None:
    x, y, w = data()
    found = {
        b"".join(
            t.tobytes() for t in model_of("float32").solve_output(x, y, sample_weight=w, n_threads=n).get_weights()
        )
        for n in (1, 2, 4)
    }
    assert len(found) == 1


def test_solve_output_of_inputs_that_do_not_vary(device: str) -> None:
    y = data()[1]
    model = model_of(device=device).solve_output(np.ones((ROWS, INPUTS)), y)
    np.testing.assert_allclose(model.predict(np.ones((1, INPUTS)))[0], y.mean(axis=0), rtol=1e-9)


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "gelu", "relu6", "elu", "softplus", "softsign"])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_placed_units_pass_everything_on(device: str, activation: str, offset: float) -> None:
    """No unit is off or saturated for any row, so the last layer can read the input back."""
    x = data(offset=offset)[0]
    layers = [fd.Dense(8, activation), fd.Dense(9, activation), fd.Dense(INPUTS)]
    model = fd.Model(layers, inputs=INPUTS, dtype="float64", device=device)
    before = model.get_weights()
    assert model.place(x) is model
    z = np.hstack([h for h in model.activations(x)[:2]])
    if activation == "relu":
        assert z.min() > 0
    assert all((h.std(axis=0) > 0.01 * h.std()).all() for h in model.activations(x)[:2])
    after = model.get_weights()
    assert all((a == b).all() for a, b in zip(before[-2:], after[-2:], strict=True))
    model.compile("adam", "mse")
    model.solve_output(x, x, ridge=1e-10)
    share = 1e-4 if activation in ("relu", "elu", "gelu", "softplus", "relu6") else 0.02  # tanh and its like bend
    assert model.evaluate(x, x, verbose=0) < share * x.var()


def test_place_is_the_seeds_own() -> None:
    x = data()[0]
    first, same, other = (
        fd.Model([fd.Dense(5, "relu"), fd.Dense(1)], inputs=INPUTS, seed=s).place(x) for s in (1, 1, 2)
    )
    assert first.get_weights()[0].tobytes() == same.get_weights()[0].tobytes() != other.get_weights()[0].tobytes()


@pytest.mark.parametrize(
    ("last", "y", "options", "message"),
    [
        (fd.Dense(3, "tanh"), 1.0, {}, "the last layer is Dense with activation='tanh'; a Dense layer, linear or relu, "
         "has a closed form: end with fd.Dense(n)"),
        (fd.LayerNorm(), 1.0, {}, "the last layer is LayerNorm; a Dense layer, linear or relu, has a closed form: end "
         "with fd.Dense(n)"),
        (fd.Dense(3, "relu"), -2.0, {}, "y holds -2; a relu output is never negative: use a linear last "
         "layer"),
        ([fd.Dense(3, "relu"), fd.Rescaling(2.0, 5.0)], 1.0, {}, "y holds -2 before the Rescaling; a relu output is "
         "never negative: use a linear last layer"),
        (fd.Dense(3), 1.0, {"ridge": 0.0}, "ridge=0 leaves the system singular; it needs one solution: e.g. "
         "ridge=1e-6"),
        (fd.Dense(3), 1.0, {"ridge": -1.0}, "ridge=-1.0 is out of range. Give a finite number at least 0."),
    ],
)  # fmt: skip
def test_errors(last: Any, y: float, options: dict[str, float], message: str) -> None:
    x = np.repeat(np.random.default_rng(0).normal(size=(20, 1)), 3, axis=1)  # one column thrice: singular
    model = fd.Model(last if isinstance(last, list) else [last], inputs=3)
    with pytest.raises(ValueError, match=f"^solve_output: {re.escape(message)}$"):
        model.solve_output(x, np.full((20, 3), y), **options)


def test_place_with_targets_gives_outputs_their_mean_and_spread(device: str) -> None:
    x, y, _ = data()
    y = 100.0 * y + np.array([5.0, -300.0, 0.0])
    model, other = model_of("float64", device), model_of("float64", device)
    assert model.place(x[:2000], y[:2000]) is model
    found, hidden = model.predict(x[:2000]), other.place(x[:2000]).get_weights()
    np.testing.assert_allclose(found.mean(axis=0), y[:2000].mean(axis=0), rtol=0, atol=1e-9)  # a few thousand roundings
    np.testing.assert_allclose(found.var(axis=0).mean(), y[:2000].var(axis=0).mean(), rtol=1e-9)
    assert all((a == b).all() for a, b in zip(model.get_weights()[:-2], hidden[:-2], strict=True))
    message = "place: y is given; a linear last Dense layer with a bias is needed: leave y out"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        model_of("float64", device, use_bias=False).place(x, y)
