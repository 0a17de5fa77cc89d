"""Layers that are not trainable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdense as fd

X = np.random.default_rng(0).normal(size=(40, 3))
Y = X.sum(axis=1, keepdims=True)
FIT: dict[str, Any] = {"epochs": 2, "verbose": 0, "batch_size": 16}


def model(device: str = "cpu", **options: Any) -> fd.Model:
    first = fd.Dense(4, activation="tanh", kernel_regularizer="l2", name="first", **options)
    layers = [first, fd.BatchNorm(name="norm", **options), fd.Dense(1, name="last")]
    return fd.Model(layers, inputs=3, dtype="float64", device=device)


def changed(made: fd.Model) -> list[bool]:
    """Fit, and tell which tensors that has changed."""
    before = made.get_weights()
    made.fit(X, Y, **FIT)
    return [not np.array_equal(a, b) for a, b in zip(before, made.get_weights(), strict=True)]


@pytest.mark.parametrize("device", ["cpu", "reference"])
@pytest.mark.parametrize(
    "optimizer", [fd.Adam(0.1, weight_decay=0.1), fd.SGD(0.1, 0.9, global_clipnorm=0.1), fd.Muon(0.1, use_ema=True)]
)
def test_frozen_tensors_stay(device: str, optimizer: fd.optimizers.Optimizer) -> None:
    made = model(device, trainable=False)
    made.compile(optimizer, "mse")
    assert changed(made) == [False] * 6 + [True] * 2
    assert made.net.count(True) == 5 and made.net.count(False) == 16 + 16


def test_it_counts_from_the_next_compile_on() -> None:
    made = model()
    made.compile("adam", "mse")
    made.layers[0].trainable = made.layers[1].trainable = False
    assert changed(made) == [True] * 8
    made.compile("adam", "mse")
    assert changed(made) == [False] * 6 + [True] * 2
    made.layers[0].trainable = True
    made.compile("adam", "mse")
    assert changed(made) == [True] * 2 + [False] * 4 + [True] * 2


def test_penalties_of_frozen_tensors_are_no_part_of_the_loss() -> None:
    free, frozen = model(), model(trainable=False)
    for made in (free, frozen):
        made.compile("sgd", "mse")
    penalty = 0.01 * float(np.square(free.get_weights()[0]).sum())
    assert free.evaluate(X, Y) - frozen.evaluate(X, Y) == pytest.approx(penalty)


def test_gradients_of_frozen_tensors_are_0() -> None:
    made = model(trainable=False)
    made.compile("sgd", "mse")
    made.fit(X, Y, **FIT)
    gradient = made.loss_and_grad(X, Y, training=True)[1]
    assert [bool(np.any(part)) for part in gradient] == [False] * 4 + [True] * 2


def test_a_net_of_frozen_layers_does_not_change() -> None:
    made = fd.Model([fd.Dense(2, trainable=False), fd.BatchNorm(center=False, scale=False, trainable=False)], inputs=3)
    made.compile("adam", "mse")
    before = made.get_weights()
    made.fit(X, np.hstack([Y, Y]), **FIT)
    assert all(np.array_equal(a, b) for a, b in zip(before, made.get_weights(), strict=True))


def test_files_and_clones_keep_it(tmp_path: Path) -> None:
    made = model(trainable=False)
    made.compile("adam", "mse")
    made.fit(X, Y, **FIT)
    made.save(tmp_path / "net")
    for other in (fd.load(tmp_path / "net"), made.clone()):
        assert [layer.trainable for layer in other.layers] == [False, False, True]
        assert changed(other) == [False] * 6 + [True] * 2


def test_a_residual_freezes_its_layers() -> None:
    inner = [fd.BatchNorm(), fd.Dense(3, activation="tanh")]
    made = fd.Model([fd.Residual(inner, trainable=False), fd.Dense(1)], inputs=3)
    made.compile("adam", "mse")
    assert changed(made) == [False] * 6 + [True] * 2
    assert [layer.trainable for layer in inner] == [True, True]  # what they say themselves stays


def test_members_of_a_population_are_like_single_models() -> None:
    made = model(trainable=False)
    made.compile(fd.Adam(0.01, use_ema=True, ema_momentum=0.5), "mse")
    population = fd.fit_many(made, X, Y, starts=2, epochs=2, batch_size=16)
    single = made.clone(seed=1)
    single.fit(X, Y, **FIT)
    for ours, its in zip(population.weights, single.get_weights(), strict=True):
        assert ours[1] == pytest.approx(its, rel=1e-9)


@pytest.mark.parametrize("optimizer", ["lbfgs", "kfac"])
def test_optimizers_that_train_all_tensors(optimizer: str) -> None:
    with pytest.raises(ValueError, match=r"not trainable.*all tensors.*use e.g. Adam"):
        model(trainable=False).compile(optimizer, "mse")
    limited = fd.Model([fd.Dense(1, kernel_constraint="max_norm")], inputs=3)
    if optimizer == "lbfgs":
        with pytest.raises(ValueError, match=r"with constraints.*keeps none.*or use e.g. Adam"):
            limited.compile(optimizer, "mse")


def test_it_is_a_bool() -> None:
    with pytest.raises(TypeError, match="Dense: trainable='no' is of type str. Give True or False"):
        fd.Dense(2, trainable="no")  # type: ignore[arg-type]


@pytest.mark.parametrize("device", ["cpu", "reference"])
def test_layers_in_branches(device: str) -> None:
    """A block that is not trainable freezes its layers; one that is leaves them as they say."""
    inner = [[fd.Dense(4, activation="tanh", trainable=False), fd.BatchNorm()], [fd.Residual([fd.Dense(3)])], []]
    made = fd.Model([fd.Branches(inner), fd.Dense(1)], inputs=3, dtype="float64", device=device)
    made.compile("adam", "mse")
    assert changed(made) == [False] * 2 + [True] * 4 + [True] * 2 + [True] * 2
    made.layers[0].trainable = False
    made.compile("adam", "mse")
    assert changed(made) == [False] * 8 + [True] * 2
    assert made.layers[0].with_chains(inner).trainable is False
    assert made.net.count(True) == 11 and not any(layer.trainable for layer in (inner[0][0], made.layers[0]))
    assert inner[0][1].trainable and inner[1][0].trainable
