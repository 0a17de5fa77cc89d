"""A model that does not learn, with its data, for the diagnosis to explain."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastdense as fd


def wave(rows: int = 200) -> tuple[Any, Any]:
    x = np.linspace(-3, 3, rows)[:, None]
    return x, np.sin(x)


def stuck() -> tuple[fd.Model, Any, Any]:
    x, y = wave()
    model = fd.Model([fd.Dense(16, "tanh"), fd.Dense(1, "relu")], inputs=1)
    model.compile(fd.Adam(0.01), "mse")
    model.fit(x, y, epochs=60, verbose=0)
    return model, x, y
