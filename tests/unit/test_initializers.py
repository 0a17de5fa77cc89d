"""Initial values: variances, exact ones, orthogonality, and what they depend on."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastdense import initializers
from fastdense.initializers import Draws
from fastdense.layers import Dense

pytestmark = pytest.mark.usefixtures("numbers_of_the_reference")


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("glorot_uniform", 2 / 120),
        ("glorot_normal", 2 / 120),
        ("he_uniform", 2 / 80),
        ("he_normal", 2 / 80),
        ("lecun_uniform", 1 / 80),
        ("lecun_normal", 1 / 80),
        ("random_uniform", 0.1**2 / 12),
        ("random_normal", 0.05**2),
        ("truncated_normal", (0.05 * 0.87962566103423978) ** 2),
    ],
)
def test_random_initializers_have_the_stated_variance(name: str, variance: float) -> None:
    values = initializers.get(name)((80, 40), seed=1, index=2)
    assert values.shape == (80, 40) and values.dtype == np.float64
    # 3200 values: the mean is off by 1/57 sd, the variance by at most 1/40, one standard error each; 4.5 are allowed.
    assert abs(values.mean()) < 0.08 * math.sqrt(variance)
    assert values.var() == pytest.approx(variance, rel=0.12)
    if "uniform" in name:
        assert np.abs(values).max() < math.sqrt(3 * variance)
    elif name != "random_normal":
        assert np.abs(values).max() < 2 * math.sqrt(variance) / 0.87962566103423978


def test_exact_initializers() -> None:
    assert initializers.get("zeros")((2,)).tolist() == [0, 0]
    assert initializers.get("ones")((2,)).tolist() == [1, 1]
    assert initializers.Constant(0.5)((1, 2)).tolist() == [[0.5, 0.5]]
    assert initializers.Identity(2)((2, 3)).tolist() == [[2, 0, 0], [0, 2, 0]]


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7)])
def test_orthogonal(shape: tuple[int, int]) -> None:
    w = initializers.Orthogonal(gain=2)(shape, seed=3)
    small = w.T @ w if shape[0] >= shape[1] else w @ w.T
    np.testing.assert_allclose(small, 4 * np.eye(min(shape)), atol=1e-13)
    assert w.flags.c_contiguous


def test_values_depend_on_seed_and_tensor_only() -> None:
    he = initializers.HeNormal()
    assert np.array_equal(he((4, 5), 1, 2), he((4, 5), 1, 2))
    assert not np.array_equal(he((4, 5), 1, 2), he((4, 5), 1, 3))
    assert not np.array_equal(he((4, 5), 1, 2), he((4, 5), 2, 2))
    assert np.array_equal(initializers.HeNormal(seed=1)((4, 5), 99, 2), he((4, 5), 1, 2))
    lecun = initializers.LecunNormal()
    np.testing.assert_allclose(he((4, 5), 1, 2), math.sqrt(2) * lecun((4, 5), 1, 2), rtol=1e-15)


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        *(
            (name, "HeNormal")
            for name in ["relu", "leaky_relu", "prelu", "relu6", "elu", "celu", "gelu", "silu", "mish"]
        ),
        ("selu", "LecunNormal"),
        *((name, "GlorotUniform") for name in ["linear", "tanh", "sigmoid", "softplus", "softmax"]),
    ],
)
def test_auto_suits_the_activation(activation: str, expected: str) -> None:
    chosen = initializers.Auto(seed=5).for_activation(activation)
    assert type(chosen).__name__ == expected and chosen.seed == 5
    dense = Dense(6, activation)
    assert np.array_equal(dense.initial_values(9, Draws(4))[0], initializers.get(expected)((9, 6), 4, 0))


def test_an_own_initializer_must_keep_the_shape() -> None:
    class Flat(initializers.Initializer):
        def values(self, shape: tuple[int, ...], seed: int, index: int) -> initializers.Array:
            return np.zeros(3)

    with pytest.raises(ValueError, match=r"^Flat: values has shape \(3,\)\. Return the asked shape \(2, 3\)\.$"):
        Flat()((2, 3))
