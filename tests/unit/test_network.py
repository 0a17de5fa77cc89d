"""The network: names of layers, and layers in one another."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense.network import Net

X = np.random.RandomState(0).rand(12, 4).astype(np.float32)


@pytest.mark.parametrize("name", ["a\ud800", "\x1b[31mred", "two\nlines", "a\x00"])
@pytest.mark.parametrize("make", [
    lambda name: fd.Dense(1, name=name),
    lambda name: fd.Activation("relu", name=name),
    lambda name: fd.Residual([fd.Dense(4)], name=name),
    lambda name: fd.Normalization(name=name),
    lambda name: fd.Model([fd.Dense(1)], inputs=4, name=name),
    lambda name: fd.metrics.R2Score(name=name),
])  # fmt: skip
def test_names_can_be_printed(make: Callable[[str], Any], name: str) -> None:
    message = f"name={ascii(name)} has characters that cannot be printed. Give a name without them."
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        make(name)
    assert str(caught.value).isprintable() and str(caught.value).isascii()


def test_names_in_any_language(device: str, capsys: pytest.CaptureFixture[str]) -> None:
    fd.Model([fd.Dense(1, name="Größe 層")], inputs=4, device=device, name="модель").summary()
    assert "Größe 層" in capsys.readouterr().out


def test_many_layers_without_names() -> None:
    layers = [fd.Dense(1), fd.Dense(1, name="dense_2"), *[fd.Dense(1) for _ in range(20_000)]]
    names = Net(layers, 1, 0, "float32").names
    assert names[:5] == ["dense", "dense_2", "dense_1", "dense_3", "dense_4"] and names[-1] == "dense_20001"
    assert len(set(names)) == len(names)


def nested(depth: int) -> fd.Residual:
    layer: Any = fd.Dense(4)
    for _ in range(depth):
        layer = fd.Residual([layer])
    return layer  # type: ignore[no-any-return]


def test_residuals_in_one_another(device: str) -> None:
    model = fd.Model([nested(64)], inputs=4, device=device)
    assert [tensor.shape for tensor in model.net.tensors] == [(4, 4), (4,)]
    np.testing.assert_allclose(model.predict(X), X @ model.get_weights()[0] + 64 * X, rtol=1e-5)
    with pytest.raises(ValueError, match=r"Residual: 65 of them are nested. Give at most 64, one in another\."):
        nested(65)
    config = fd.Dense(4).to_dict()
    for _ in range(5000):
        config = {"class_name": "Residual", "config": {"layers": [config]}}
    with pytest.raises(ValueError, match="layers are nested too deeply. Give at most 64 in one another"):
        fd.Model([config], inputs=4, device=device)


def test_one_layer_in_two_places_of_a_residual(device: str) -> None:
    twice = fd.Dense(4)
    model = fd.Model([fd.Residual([fd.Dense(8), twice, fd.Dense(6), twice])], inputs=4, device=device)
    assert [t.shape for t in model.net.tensors if len(t.shape) == 2] == [(4, 8), (8, 4), (4, 6), (6, 4)]
    assert model.predict(X).shape == (12, 4)
