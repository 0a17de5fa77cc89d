"""A net that only some restarts train: a pyramid over the plane, by few ReLU units."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastdense as fd

Array = Any


def pyramid(rows: int = 512, seed: int = 0) -> tuple[Array, Array]:
    x = np.random.default_rng(seed).uniform(-1, 1, (rows, 2)).astype(np.float32)
    return x, np.sqrt((x**2).sum(axis=1, keepdims=True))


def pyramid_net(**options: Any) -> fd.Model:
    model = fd.Model([fd.Dense(3, "relu"), fd.Dense(1)], inputs=2, **options)
    model.compile(fd.Adam(0.01), "mse")
    return model
