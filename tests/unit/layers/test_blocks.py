"""Branches, Residual and SelectColumns: values, names, files, populations, diagnosis, messages."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense.initializers import Draws

Array = Any
RNG = np.random.default_rng(4)
X, Y = RNG.normal(size=(40, 5)), RNG.normal(size=(40, 2))


def wide_and_deep(**options: Any) -> fd.Model:
    deep = [fd.Dense(6, "relu"), fd.Dropout(0.1), fd.Residual([fd.Dense(6, "tanh")])]
    layers = [fd.Branches([[fd.SelectColumns([3, 1])], deep, [fd.BatchNorm()]], name="both"), fd.Dense(2)]
    model = fd.Model(layers, inputs=5, seed=3, **options)
    model.compile("adam", "mse")
    return model


def test_tensors_and_initial_values_agree() -> None:
    block = fd.Branches([[], [fd.Dense(4, "prelu"), fd.Branches([[fd.Dense(2)], [fd.LayerNorm()]])], [fd.Scale()]])
    assert block.output_width(3) == 3 + 6 + 3
    assert [(name, shape) for name, shape, _ in block.tensors(3)] == [
        ("1.0.kernel", (3, 4)),
        ("1.0.bias", (4,)),
        ("1.0.slope", (4,)),
        ("1.1.0.0.kernel", (4, 2)),
        ("1.1.0.0.bias", (2,)),
        ("1.1.1.0.gamma", (4,)),
        ("1.1.1.0.beta", (4,)),
        ("2.0.scale", (3,)),
    ]
    draws = Draws(8)
    values = block.initial_values(3, draws)
    assert [value.shape for value in values] == [spec.shape for spec in block.tensors(3)]
    assert draws.index == len(values)
    many = block.many_initial_values(3, np.array([8, 9], np.uint64), 0)
    assert all(np.array_equal(a[0], b) for a, b in zip(many, values, strict=True))


@pytest.mark.parametrize(
    ("merge", "function"),
    [
        ("concatenate", lambda a, b, c: np.concatenate([a, b, c], axis=1)),
        ("add", lambda a, b, c: a + b + c),
        ("multiply", lambda a, b, c: a * b * c),
        ("average", lambda a, b, c: (a + b + c) / 3),
        ("maximum", lambda a, b, c: np.maximum(np.maximum(a, b), c)),
        ("minimum", lambda a, b, c: np.minimum(np.minimum(a, b), c)),
    ],
)
def test_merges(device: str, merge: str, function: Callable[..., Array]) -> None:
    branches = [[fd.Dense(3)], [fd.SelectColumns([4, 0, 2])], [fd.Dense(7, "relu"), fd.Dense(3)]]
    model = fd.Model([fd.Branches(branches, merge)], inputs=5, dtype="float64", device=device)
    w0, b0, w1, b1, w2, b2 = model.get_weights()
    found = model.predict(X)
    np.testing.assert_allclose(
        found, function(X @ w0 + b0, X[:, [4, 0, 2]], np.maximum(X @ w1 + b1, 0) @ w2 + b2), rtol=1e-12
    )
    two = fd.Model([fd.Branches([[], [fd.Dense(5)]], "subtract")], inputs=5, dtype="float64", device=device)
    kernel, bias = two.get_weights()
    np.testing.assert_allclose(two.predict(X), X - (X @ kernel + bias), rtol=1e-12, atol=1e-14)


def test_a_residual_is_a_sum_of_two_branches(device: str) -> None:
    layers = [fd.Dense(5, "tanh"), fd.Dense(5)]
    found = []
    for block in (fd.Residual(layers), fd.Branches([[], layers], "add")):
        model = fd.Model([block, fd.Dense(2)], inputs=5, dtype="float64", device=device, seed=1)
        model.compile("sgd", "mse")
        model.fit(X, Y, epochs=3, verbose=0)
        found.append(model.get_weights())
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_training_and_files(device: str, dtype: str, tmp_path: Path) -> None:
    model = wide_and_deep(device=device, dtype=dtype)
    first = model.evaluate(X, Y, verbose=0)
    model.fit(X, Y, epochs=30, verbose=0)
    assert model.evaluate(X, Y, verbose=0) < 0.9 * first
    model.save(tmp_path / "both.safetensors")
    loaded = fd.load(tmp_path / "both.safetensors", device=device)
    assert loaded.layers == model.layers
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    again = [one.fit(X, Y, epochs=2, verbose=0).history["loss"] for one in (model, loaded)]
    assert again[0] == again[1]


def test_penalties_and_other_optimizers(device: str) -> None:
    for optimizer in ("muon", "kfac", "lbfgs"):
        branches = [[fd.Dense(6, "tanh", kernel_regularizer="l2")], [fd.Dense(4, "tanh", activity_regularizer="l1")]]
        model = fd.Model([fd.Branches(branches), fd.Dense(2)], inputs=5, device=device, seed=1)
        model.compile(optimizer, "mse")
        loss = model.fit(X, Y, epochs=20, verbose=0).history["loss"]
        assert loss[-1] < loss[0], optimizer
    model = fd.Model([fd.Branches([[], [fd.Dense(2)]]), fd.Dense(2)], inputs=5, device=device)
    with pytest.raises(ValueError, match="LevenbergMarquardt was given for a net with Branches; it knows no Jacobian"):
        model.compile(fd.optimizers.LevenbergMarquardt(), "mse")


def test_populations_train_such_nets_one_by_one(device: str) -> None:
    models = [wide_and_deep(device=device) for _ in range(2)]
    population = fd.fit_many(models, X, Y, epochs=3, verbose=0)
    alone = wide_and_deep(device=device)
    alone.fit(X, Y, epochs=3, verbose=0)
    for a, b in zip(population[0].get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_summary_place_and_probes(device: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = wide_and_deep(device=device)
    model.summary()
    assert "both (Branches)" in capsys.readouterr().out
    model.place(X, Y)
    model.solve_output(X, Y)
    history = model.fit(X, Y, epochs=3, verbose=0, probes=True)
    assert history.probes is not None
    both = history.probes.layers[0]
    assert [one.name for one in both.layers] == ["both.0.0", "both.1.0", "both.1.1", "both.1.2", "both.2.0"]
    assert both.mean.shape[-1] == 2 + 6 + 5 and both.layers[1].gradient.shape[-1] == 6
    assert [one.name for one in both.layers[3].layers] == ["both.1.2.0"]


@pytest.mark.parametrize("last", [True, False])
def test_diagnosis(last: bool) -> None:
    """A net whose hidden units are dead, in a branch; and one that ends with branches."""
    dead = fd.Dense(6, "relu", bias_initializer=fd.initializers.Constant(-50.0))
    layers: list[Any] = [fd.Branches([[fd.SelectColumns([0])], [dead]]), fd.Dense(2)]
    if last:
        layers = [fd.Branches([[fd.Dense(2)], [fd.Dense(6, "tanh"), fd.Dropout(0.5), fd.Dense(2)]], "add")]
    model = fd.Model(layers, inputs=5, seed=2)
    model.compile("sgd", "mse")
    model.fit(X, Y, epochs=3, verbose=0)
    result = model.diagnose(X, Y, budget=1.0)
    treated = result.treat().model
    assert treated.predict(X).shape == (40, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fd.Branches([fd.Dense(2), fd.Dense(2)]), "Give a list of at least two lists of layers, e.g. [[], ["),
        (lambda: fd.Branches([[fd.Dense(2)]]), "Give a list of at least two lists of layers"),
        (lambda: fd.Branches([[], ["dens"]]), "Branches: branches[1][0]='dens' is not a known layer. Did you mean 'd"),
        (lambda: fd.Branches([[], []], "concat"), "merge='concat' is not known. Did you mean 'concatenate'? Use "),
        (lambda: fd.Branches([[], [], []], "subtract"), "Branches: merge='subtract' takes two branches, got 3."),
        (lambda: fd.Branches([[]] * 65), "Branches: 65 branches were given. Give at most 64, and put others into"),
        (
            lambda: fd.Model([fd.Branches([[fd.Dense(3)], []], "add")], inputs=4),
            "its branches give 3, 4 outputs, which merge='add' cannot put together. Let all give as many, or",
        ),
        (
            lambda: fd.Model([fd.Branches([[], [fd.Normalization()]])], inputs=4),
            "Model: layers[0].branches[1][0] is a Normalization; it must be the first layer",
        ),
        (
            lambda: fd.Model([fd.Branches([[], [fd.Dense(2, "softmax"), fd.Dense(2)]]), fd.Dense(1)], inputs=4),
            "softmax is used before the last layer; softmax must end a net, or a branch: use another activation",
        ),
        (lambda: fd.SelectColumns([]), "SelectColumns: columns is empty. Give at least one column."),
        (lambda: fd.SelectColumns([1, 1]), "SelectColumns: columns=[1, 1]. Give each column once."),
        (lambda: fd.SelectColumns([0, -1]), "SelectColumns: columns[1]=-1 is out of range."),
        (
            lambda: fd.Model([fd.SelectColumns(4), fd.Dense(1)], inputs=4),
            "SelectColumns: columns holds 4, but its input has 4 columns. Give numbers from 0 to 3.",
        ),
    ],
)
def test_messages(make: Callable[[], Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        make()


def test_blocks_in_one_another() -> None:
    layer: Any = fd.Dense(4)
    for i in range(64):
        layer = fd.Residual([layer]) if i % 2 else fd.Branches([[layer], []], "add")
    with pytest.raises(ValueError, match=r"Branches: 65 of them are nested. Give at most 64, one in another\."):
        fd.Branches([[], [layer]])
