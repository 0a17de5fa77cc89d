"""Initial values taken from the data: start_on_data, kernel_initializer="data"."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdense as fd
from tests.helpers.pyramid import pyramid, pyramid_net

Array = Any


@pytest.mark.parametrize("layers", [
    [fd.Dense(3, "relu"), fd.Dense(1)],
    [fd.Normalization(), fd.Dense(20, "tanh"), fd.Dropout(0.5), fd.Dense(7, "relu"), fd.Dense(1)],
    [fd.Dense(4, "relu", use_bias=False), fd.BatchNorm(), fd.Residual([fd.Dense(4)]), fd.Dense(1, use_bias=False)],
])  # fmt: skip
def test_start_on_data(layers: list[Any]) -> None:
    x, y = pyramid()
    model = fd.Model(layers, inputs=2, seed=3)
    model.compile("adam", "mse")
    before = model.evaluate(x, y, verbose=0)
    assert fd.start_on_data(model, x, y) is model
    assert model.evaluate(x, y, verbose=0) < min(before, 1.2 * y.var()), "the last layer should fit what there is"
    hidden = model.activations(x)[:-1]
    assert all((h.std(axis=0) > 0).all() for h in hidden), "no unit should start dead"
    again = model.clone()
    fd.start_on_data(again, x, y)
    assert all((a == b).all() for a, b in zip(model.get_weights(), again.get_weights(), strict=True))


def test_start_on_data_is_that_of_fit_many() -> None:
    x, y = pyramid()
    population = fd.fit_many(pyramid_net(), x, y, starts=20, epochs=0, start="data", verbose=0)
    model = fd.start_on_data(pyramid_net(seed=13), x, y)
    for ours, theirs in zip(population.weights, model.get_weights(), strict=True):
        np.testing.assert_allclose(ours[13], theirs, rtol=1e-5, atol=1e-6)  # float32 weights of a float64 computation


def test_a_classifier_keeps_its_last_layer() -> None:
    x, y = pyramid()
    model = fd.Model([fd.Dense(3, "relu"), fd.Dense(2, "softmax")], inputs=2)
    model.compile("adam", "sparse_categorical_crossentropy")
    last = model.get_weights()[2]
    fd.start_on_data(model, x, (y[:, 0] > 0.7).astype(int))
    assert (model.get_weights()[2] == last).all()


def asking(**options: Any) -> fd.Model:
    layers = [
        fd.Dense(3, "relu", kernel_initializer="data"), fd.Dense(4, "tanh"), fd.Dense(1, kernel_initializer="data"),
    ]  # fmt: skip
    model = fd.Model(layers, inputs=2, **options)
    model.compile(fd.SGD(0.0), "mse")
    return model


def test_kernel_initializer_data_waits_for_the_first_fit(device: str) -> None:
    x, y = pyramid()
    model = asking(seed=3, device=device)
    first = model.get_weights()
    model.fit(x, y, verbose=0)
    placed = model.get_weights()
    changed = [not (a == b).all() for a, b in zip(first, placed, strict=True)]
    assert changed == [True, True, False, False, True, True]
    hidden = model.activations(x)[0]
    assert (hidden.std(axis=0) > 0).all() and (hidden.min(axis=0) == 0).all(), "each unit bends within the data"
    residual = model.predict(x) - y
    assert abs(residual.mean()) < 0.05 and residual.std() < y.std(), "the last layer is a least-squares fit"
    model.fit(2 * x, y, verbose=0)
    assert all((a == b).all() for a, b in zip(placed, model.get_weights(), strict=True)), "once is enough"


def test_weights_that_were_set_are_not_placed() -> None:
    x, y = pyramid()
    model = asking()
    weights = [w + np.float32(1.0) for w in model.get_weights()]
    model.set_weights(weights)
    model.fit(x, y, verbose=0)
    assert all((a == b).all() for a, b in zip(weights, model.get_weights(), strict=True))
    placed = asking().place(x)
    before = placed.get_weights()
    placed.fit(x, y, verbose=0)
    assert all((a == b).all() for a, b in zip(before[:4], placed.get_weights(), strict=False))


def test_kernel_initializer_data_in_fit_many() -> None:
    x, y = pyramid()
    population = fd.fit_many(asking(), x, y, starts=3, epochs=1, verbose=0)
    alone = asking(seed=2)
    alone.fit(x, y, verbose=0)
    for ours, theirs in zip(population.weights, alone.get_weights(), strict=True):
        np.testing.assert_allclose(ours[2], theirs, rtol=1e-5, atol=1e-6)


def test_no_data_for_a_bias_alone() -> None:
    message = r"^Dense: bias_initializer='data'\. Give kernel_initializer='data': it places biases too\.$"
    with pytest.raises(ValueError, match=message):
        fd.Dense(3, bias_initializer="data")
