"""Weights and data whose rows are 2 or 8 KiB apart: products gather what they read of them; tiles of few rows, of long
strips too.

A net with two more inputs and two more units a layer, none of them used, has such rows and the same sums.
"""

from __future__ import annotations

import numpy as np
import pytest

import fastdense as fd
from fastdense.arrays import Array

# Panels enough for gathering to pay, on every instruction set; no product is left to BLAS. Strips of 100 inputs or
# rows of the narrow nets are too short to be gathered but for the distance.
ROWS, INPUTS, OUTPUTS = 100, 100, 64
FORMATS = {
    "float32": (2046, "float32", None),
    "float64": (1022, "float64", None),
    "bfloat16": (2046, "float32", "bfloat16"),
    "float32, narrow": (510, "float32", None),
    "float64, narrow": (254, "float64", None),
    "bfloat16, narrow": (510, "float32", "bfloat16"),
}


def padded(values: Array, shape: tuple[int, ...]) -> Array:
    return np.pad(values, [(0, after - before) for before, after in zip(values.shape, shape, strict=True)])


def trained(name: str, unused: int) -> list[Array]:
    """All weights after three steps, those of unused inputs and units cut off."""
    width, dtype, precision = FORMATS[name]
    random = np.random.default_rng(0)
    x, y = random.normal(size=(ROWS, INPUTS)), random.normal(size=(ROWS, OUTPUTS))
    sizes = [INPUTS, width, width, OUTPUTS]
    values = [random.normal(0, 0.05, size) for ends in zip(sizes, sizes[1:], strict=False) for size in (ends, ends[1:])]
    layers = [fd.Dense(width + unused, "tanh"), fd.Dense(width + unused, "relu"), fd.Dense(OUTPUTS)]
    model = fd.Model(layers, inputs=INPUTS + unused, dtype=dtype, device="cpu", seed=0, precision=precision)
    model.set_weights([padded(value, like.shape) for value, like in zip(values, model.get_weights(), strict=True)])
    model.compile(fd.Adam(0.01), "mse")
    model.fit(padded(x, (ROWS, INPUTS + unused)), y, batch_size=ROWS, epochs=3, verbose=0)
    cut = [tuple(slice(n) for n in value.shape) for value in values]
    return [tensor[at] for tensor, at in zip(model.get_weights(), cut, strict=True)]


@pytest.mark.core
@pytest.mark.parametrize("name", FORMATS)
def test_gathering_moves_no_bit(name: str) -> None:
    for in_place, gathered in zip(trained(name, 0), trained(name, 2), strict=True):
        assert np.array_equal(gathered, in_place)
