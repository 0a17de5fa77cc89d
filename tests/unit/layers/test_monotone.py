"""Nets that are monotone by the signs of their weights."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastdense as fd
from fastdense.activations import ACTIVATIONS, ALPHA
from fastdense.arrays import Array
from fastdense.layers.monotone import RISING
from fastdense.reference.activations import ELEMENTWISE


def pairs(random: np.random.Generator, signs: list[int], count: int = 200) -> tuple[Array, Array]:
    """Rows, and others that differ from them in monotone columns alone, each moved in its direction or not at all."""
    low = random.uniform(-3, 3, (count, len(signs)))
    step = random.exponential(10.0 ** random.integers(-3, 1, (count, 1)), low.shape)
    return low, low + np.asarray(signs) * step * random.integers(0, 2, low.shape)


def rounding(model: fd.Model, x: Array) -> float:
    """By how much outputs that are equal may differ: each sum of n terms by n units of the sum of their sizes.

    Sums of a chain of multiply-adds in one order are monotone in each term to the last bit; engines may take other
    orders for rows that lie elsewhere in a batch. Activations pass errors on with a slope of at most 1.1 here (selu).
    """
    size, error, eps = np.abs(x).max(), 0.0, 2.0 ** (-23 if model.dtype == "float32" else -52)
    for kernel in (w for w in model.get_weights() if w.ndim == 2):
        gain = float(np.abs(kernel).sum(axis=0).max())
        error = 1.1 * gain * error + (len(kernel) + 8) * eps * gain * size  # 8: of the activation
        size = 1.1 * gain * size + 2
    return error


# One that jumps turns a rounding into a step, and sums of exponentials leave the range of numbers.
SMOOTH = [name for name in RISING if name not in ("exponential", "hard_shrink")]


def body(draw: Any) -> list[Any]:
    """Hidden layers of all kinds that are certified."""
    layers: list[Any] = []
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(SMOOTH))
        units = draw(st.integers(2, 8))
        kind = draw(st.sampled_from(["dense", "dense", "norm", "residual", "branches", "dropout"]))
        if kind == "norm":
            layers += [fd.Dense(units), fd.BatchNorm(), fd.Activation(name)]
        elif kind == "residual":
            layers += [fd.Dense(units), fd.Residual([fd.Dense(5, name), fd.Dense(units)])]
        elif kind == "branches":
            merge = draw(st.sampled_from(["concatenate", "add", "average", "maximum", "minimum"]))
            layers.append(fd.Branches([[fd.Dense(4, name), fd.Dense(units)], [fd.Dense(units, name)]], merge=merge))
        else:
            layers.append(fd.Dense(units, name))
            layers += [fd.Dropout(0.2)] if kind == "dropout" else []
    return layers


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), seed=st.integers(0, 10_000), dtype=st.sampled_from(["float32", "float64"]),
       optimizer=st.sampled_from(["adam", "sgd", "rmsprop", "lion", "muon", "adamw"]))  # fmt: skip
def test_monotone_whatever_it_learns(device: str, data: Any, seed: int, dtype: str, optimizer: str) -> None:
    random = np.random.default_rng(seed)
    signs = data.draw(st.lists(st.sampled_from([-1, 0, 1]), min_size=1, max_size=4).filter(any))
    front = data.draw(st.sampled_from([[], [fd.Normalization()], [fd.Log1p()], [fd.RobustScale()]]))
    layers = [*copy.deepcopy(front), *body(data.draw), fd.Dense(2)]
    model = fd.Model(layers, inputs=len(signs), seed=seed, dtype=dtype, device=device, monotonic=signs)
    x = random.normal(size=(60, len(signs)))
    y = random.normal(size=(60, 2)) - 3 * np.asarray(signs, float).dot(x.T)[:, None]  # the opposite
    model.compile(optimizer, "mse")
    low, high = pairs(random, signs)
    for epochs in (0, 3):
        if epochs:
            model.fit(x, y, epochs=epochs, batch_size=16, verbose=0)
        change = model.predict(high) - model.predict(low)
        assert change.min() >= -rounding(model, np.concatenate([low, high]))


@pytest.mark.parametrize("activation", ["relu", "elu", "tanh"])
def test_what_is_neither_convex_nor_concave_is_learned(activation: str) -> None:
    """Of tanh(4 x) on (-2, 2) the best convex function leaves more than 0.1: with units of one kind that is the end."""
    random = np.random.default_rng(0)
    x = random.uniform(-2, 2, (2000, 2))
    y = np.tanh(4 * x[:, 0]) - np.tanh(4 * x[:, 1])
    layers = [fd.Dense(32, activation), fd.Dense(32, activation), fd.Dense(1)]
    model = fd.Model(layers, inputs=2, monotonic=[1, -1])
    model.compile(fd.Adam(fd.schedules.CosineDecay(0.005, 63 * 30)), "mse")
    model.fit(x, y, epochs=30, verbose=0)
    assert model.evaluate(x, y, verbose=0) < 0.01


def test_activations_that_count_as_rising_do() -> None:
    z = np.sort(np.concatenate([np.linspace(-30, 30, 20_001), np.random.default_rng(0).normal(size=10_000)]))
    for name in ACTIVATIONS:
        if name in ("softmax", "prelu"):
            continue
        alpha = ALPHA.get(name) or 0.0
        values = ELEMENTWISE[name][0](z, alpha)
        falls = np.diff(values).min() < -1e-13 * np.abs(values).max()  # rounding of the formulas in float64
        assert falls != (name in RISING), name


def test_populations_and_several_engines() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(100, 2))
    y = x[:, 0] - x[:, 1]
    model = fd.Model([fd.Dense(8, "relu"), fd.Dense(8, "relu"), fd.Dense(1)], inputs=2, monotonic=[1, -1])
    model.compile("adam", "mse")
    population = fd.fit_many(model, x, y, starts=3, seed=4, epochs=2, verbose=0)
    assert population.why_one_by_one == "there are constraints"
    low, high = pairs(random, [1, -1])
    for i, member in enumerate(population):
        assert member.monotonic == [1, -1]
        alone = model.clone(seed=4 + i)
        alone.fit(x, y, epochs=2, verbose=0)
        np.testing.assert_array_equal(alone.predict(x), member.predict(x))
        assert (member.predict(high) - member.predict(low)).min() >= -rounding(member, high)
    reference = fd.Model.from_config({**model.get_config(), "device": "reference", "seed": 4})
    reference.compile("adam", "mse")
    reference.fit(x, y, epochs=2, verbose=0)
    np.testing.assert_allclose(reference.predict(x), population[0].predict(x), atol=1e-4)  # 14 steps of 0.001


def test_files_and_copies_keep_it(tmp_path: Path) -> None:
    model = fd.Model([fd.Dense(4, "tanh"), fd.BatchNorm(), fd.Dense(1)], inputs=2, monotonic=np.array([1, 0]))
    model.compile("adam", "mse")
    x = np.random.default_rng(0).normal(size=(40, 2))
    model.fit(x, -x[:, 0], epochs=2, verbose=0)
    model.save(tmp_path / "net.safetensors")
    for made in (fd.load(tmp_path / "net.safetensors"), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert made.monotonic == [1, 0]
        made.fit(x, -x[:, 0], epochs=3, verbose=0)
        made.set_weights(made.get_weights())  # their signs are right still
    assert "monotonic" not in fd.Model([fd.Dense(1)], inputs=2, monotonic=[0, 0]).get_config()
    plain = fd.Model([fd.Dense(4, "tanh"), fd.BatchNorm(), fd.Dense(1)], inputs=2, seed=3)
    plain.save(tmp_path / "plain.safetensors")
    with pytest.raises(ValueError, match=r"set_weights: dense/kernel\[\d, \d\] is -.*not the sign by which"):
        model.load_weights(tmp_path / "plain.safetensors")


def test_other_formats_compute_the_same(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed")
    model = fd.Model([fd.Normalization(), fd.Dense(8, "relu"), fd.Dense(1)], inputs=2, monotonic=[1, -1])
    model.compile("adam", "mse")
    x = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    model.fit(x, x[:, :1], epochs=2, verbose=0)
    quantiles = fd.Model([fd.Dense(8, "relu"), fd.Ascending(3, 2)], inputs=2)
    for one in (model, quantiles):
        one.to_onnx(tmp_path / "net.onnx")
        # two products of at most 10 terms near 1
        np.testing.assert_allclose(fd.from_onnx(tmp_path / "net.onnx").predict(x), one.predict(x), atol=1e-5)


REFUSED: dict[str, tuple[list[Any], str]] = {
    "gelu": ([fd.Dense(3, "gelu"), fd.Dense(1)], r"layers\[0\] is a Dense; its activation 'gelu' may fall"),
    "prelu": ([fd.Dense(3), fd.Activation("prelu"), fd.Dense(1)], "is a Activation; its activation 'prelu' may fall"),
    "softmax": ([fd.Dense(3, "softmax")], "its activation 'softmax' may fall"),
    "layer norm": ([fd.Dense(3), fd.LayerNorm(), fd.Dense(1)], r"layers\[1\] is a LayerNorm; .* depends on the others"),
    "scale": ([fd.Scale(), fd.Dense(1)], r"layers\[0\] is a Scale; its factors may become negative"),
    "periodic": ([fd.Periodic(1.0), fd.Dense(1)], "is a Periodic; what it makes of column 0 need not rise with it"),
    "one hot": ([fd.OneHot(0, [1.0, 2.0]), fd.Dense(1)], "is a OneHot; what it makes of column 0"),
    "embedding": (
        [fd.NumericEmbedding(columns=[0], size=3), fd.Dense(1)],
        "is a NumericEmbedding; its kernels may become",
    ),
    "ascending": ([fd.Dense(3, "relu"), fd.Ascending(3)], "is a Ascending; its outputs could then only spread"),
    "constraint": ([fd.Dense(3, kernel_constraint="max_norm"), fd.Dense(1)], "it has a constraint of its own"),
    "product": (
        [fd.Branches([[fd.Dense(2)], [fd.Dense(2)]], "multiply"), fd.Dense(1)],
        "a product of monotone columns",
    ),
    "difference": ([fd.Branches([[fd.Dense(2)], [fd.Dense(2)]], "subtract"), fd.Dense(1)], "merges columns that rise"),
    "negative": ([fd.Rescaling(-1.0), fd.Dense(1)], r"Model: rescaling/scale\[0\] is -1"),
    "data": ([fd.Dense(3, "relu", kernel_initializer="data"), fd.Dense(1)], "kernel_initializer='data'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_certified(name: str) -> None:
    layers, words = REFUSED[name]
    fd.Model(layers, inputs=2, monotonic=[0, 0])
    with pytest.raises(ValueError, match=words):
        fd.Model(layers, inputs=2, monotonic=[1, 0])


def test_free_columns_may_be_anything(device: str) -> None:
    free = [fd.SelectColumns([1]), fd.Dense(6, "gelu"), fd.LayerNorm(), fd.Dense(3, "mish")]
    layers = [
        fd.Periodic(0.5, columns=1),
        fd.Branches([[fd.SelectColumns([0])], free]),
        fd.Dense(8, "relu"),
        fd.Dense(1),
    ]
    model = fd.Model(layers, inputs=2, monotonic=[1, 0], device=device)
    model.compile("adam", "mse")
    random = np.random.default_rng(0)
    x = random.normal(size=(50, 2))
    model.fit(x, -x[:, 0], epochs=3, verbose=0)
    low, high = pairs(random, [1, 0])
    assert (model.predict(high) - model.predict(low)).min() >= -rounding(model, high)


def test_what_would_give_weights_of_any_sign_is_refused() -> None:
    x = np.random.default_rng(0).normal(size=(40, 2))
    y = x[:, :1]
    model = fd.Model([fd.Dense(4, "relu"), fd.Dense(1)], inputs=2, monotonic=[1, 0])
    model.compile("adam", "mse")
    for call in (
        lambda: model.place(x),
        lambda: model.solve_output(x, y),
        lambda: model.fit(x, y, starts=3, verbose=0),
        lambda: model.fit(x, y, callbacks=[fd.callbacks.ReviveDeadUnits()], verbose=0),
        lambda: fd.fit_many(model, x, y, starts=2, start="data", verbose=0),
        lambda: fd.start_on_data(model, x, y),
        lambda: model.diagnose(x, y),
    ):
        with pytest.raises(ValueError, match=r"the model is monotonic=\[1, 0\]; weights need their signs"):
            call()
    with pytest.raises(ValueError, match="LBFGS was given for a net with constraints"):
        model.compile("lbfgs", "mse")


def test_odd_arguments() -> None:
    for monotonic, words in (
        ([1], "has 1 numbers for 2 inputs"),
        ([1, 2], r"monotonic\[1\]=2"),
        ([True, 0], r"\[0\]=True"),
    ):
        with pytest.raises(ValueError, match=words):
            fd.Model([fd.Dense(1)], inputs=2, monotonic=monotonic)
    with pytest.raises(TypeError, match="Model: monotonic='up' is of type str"):
        fd.Model([fd.Dense(1)], inputs=2, monotonic="up")
