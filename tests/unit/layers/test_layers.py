"""Layers: tensors and their initial values, adapted statistics, numbers of a rescaling."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastdense import initializers
from fastdense.initializers import Draws
from fastdense.layers import Activation, BatchNorm, Dense, Dropout, LayerNorm, Normalization, Rescaling, Residual

pytestmark = pytest.mark.usefixtures("numbers_of_the_reference")


def test_tensors_and_initial_values_agree() -> None:
    net = Residual(
        [
            Dense(4, "prelu", bias_initializer="ones"),
            BatchNorm(),
            Residual([LayerNorm(), Dropout(0.1), Activation("prelu")]),
            Normalization(),
            Dense(3, use_bias=False),
            Rescaling([1.0, 2.0, 3.0], 4.0),
        ]
    )
    assert net.output_width(3) == 3
    assert [(name, shape, trainable) for name, shape, trainable in net.tensors(3)] == [
        ("0.kernel", (3, 4), True),
        ("0.bias", (4,), True),
        ("0.slope", (4,), True),
        ("1.gamma", (4,), True),
        ("1.beta", (4,), True),
        ("1.moving_mean", (4,), False),
        ("1.moving_variance", (4,), False),
        ("2.0.gamma", (4,), True),
        ("2.0.beta", (4,), True),
        ("2.2.slope", (4,), True),
        ("3.mean", (4,), False),
        ("3.variance", (4,), False),
        ("4.kernel", (4, 3), True),
        ("5.scale", (3,), False),
        ("5.offset", (3,), False),
    ]
    draws = Draws(8)
    values = net.initial_values(3, draws)
    assert [value.shape for value in values] == [spec.shape for spec in net.tensors(3)]
    assert draws.index == len(values)
    assert np.array_equal(values[-3], initializers.GlorotUniform()((4, 3), 8, 12))
    assert np.array_equal(values[-2:], [[1, 2, 3], [4, 4, 4]])
    constant = [float(value[0]) for value in values[1:-3]]
    assert constant == [1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1]


@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8", "int16", "bool"])
def test_adapt_gives_mean_and_variance(dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastdense.layers.scaling._CHUNK_ELEMENTS", 64)
    x = (np.random.default_rng(0).normal(50, 20, (1003, 3))).astype(dtype)
    x[:, 1] = 0.1
    np.save(tmp_path / "x.npy", x)
    layer = Normalization().adapt(np.load(tmp_path / "x.npy", mmap_mode="r"))
    assert layer.mean is not None and layer.variance is not None and layer.adapted
    np.testing.assert_allclose(layer.mean, x.mean(axis=0, dtype=np.float64), rtol=1e-13)
    np.testing.assert_allclose(layer.variance[[0, 2]], x[:, [0, 2]].var(axis=0, dtype=np.float64), rtol=1e-12)
    assert layer.variance[1] == 0 and layer.mean[1] == x[0, 1]
    first = layer.mean
    assert layer.adapt(x).mean is not first
    mean, variance = layer.initial_values(3, Draws(0))
    assert np.array_equal(mean, layer.mean) and np.array_equal(variance, layer.variance)


def test_adapt_keeps_its_digits_far_from_zero() -> None:
    x = 1e8 + np.random.default_rng(0).normal(size=(5000, 1))
    layer = Normalization().adapt(x)
    assert layer.variance is not None
    np.testing.assert_allclose(layer.variance, (x - x[0]).var(axis=0), rtol=1e-12)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            np.zeros(3),
            r"^Normalization\.adapt: x has shape \(3,\)\. Give an array of shape \(rows, columns\), not empty",
        ),
        (np.zeros((0, 3)), r"x has shape \(0, 3\)"),
        ([["a", "b"]], r"x has dtype <U1 \(text"),
        ([[1.0, 2.0], [3.0, np.nan]], r"x holds nan at row 1, column 1\. Remove or fill"),
        ([[1e300], [-1e300]], r"the variance of x overflows\. Scale it down"),
    ],
)
def test_adapt_refuses(x: Any, message: str) -> None:
    layer = Normalization()
    with pytest.raises(ValueError, match=message):
        layer.adapt(x)
    assert not layer.adapted


def test_adapted_width_must_fit() -> None:
    layer = Normalization().adapt([[1.0, 2.0]])
    with pytest.raises(ValueError, match=r"adapted to 2 columns, but its input has 3\. Call adapt with data of that"):
        layer.tensors(3)
    with pytest.raises(ValueError, match=r"x has 1 columns, but the layer has 2"):
        layer.adapt([[1.0]])
    with pytest.raises(ValueError, match="Give two finite vectors of one length"):
        layer.set_statistics([0.0], [-1.0])


@pytest.mark.parametrize(
    ("scale", "offset", "message"),
    [
        (0.0, 0.0, "Rescaling: scale holds 0, which leaves nothing of a column. Give numbers other than 0."),
        ([1.0, 0.0], 0.0, "Rescaling: scale holds 0, which leaves nothing of a column. Give numbers other than 0."),
        (np.inf, 0.0, "Rescaling: scale=inf is out of range. Give a finite number."),
        (1.0, [0.0, np.nan], "Rescaling: offset[1]=nan is out of range. Give a finite number."),
        ([], 0.0, "Rescaling: scale is empty. Give one number, or one per column."),
    ],
)
def test_numbers_of_a_rescaling(scale: object, offset: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Rescaling(scale, offset)  # type: ignore[arg-type]
    assert Rescaling(np.array([1, 2]), (3,)).get_config() == {"scale": [1.0, 2.0], "offset": [3.0], "name": None}
    assert repr(Rescaling(2.0)) == "Rescaling(2.0)"
