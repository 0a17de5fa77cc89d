"""A small net with its data, and a member of a population compared with a fit of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense.callbacks import History

Array = Any


# float64 rounds at 1e-16; twenty steps of these small, smooth nets make that 1e-12 at most, another seed or another
# order of the rows makes 1e-3
CLOSE = {"rtol": 1e-9, "atol": 1e-10}


def data(rows: int = 50, inputs: int = 3, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, inputs))
    return x, np.tanh(x.sum(axis=1, keepdims=True)) + 0.1 * rng.normal(size=(rows, 1))


def interrupt(patch: pytest.MonkeyPatch, cls: type[Any], method: str, at: int) -> None:
    """KeyboardInterrupt in place of one call of a method, counted from 0."""
    calls, original = [], getattr(cls, method)

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        if len(calls) == at + 1:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    patch.setattr(cls, method, counted)


def net(*layers: Any, inputs: int = 3, optimizer: Any = None, loss: Any = "mse", **options: Any) -> fd.Model:
    model = fd.Model(list(layers) or [fd.Dense(5, "tanh"), fd.Dense(1)], inputs=inputs, dtype="float64", **options)
    model.compile(fd.Adam(0.01) if optimizer is None else optimizer, loss)
    return model


def same(population: fd.Population, i: int, model: fd.Model, history: History) -> None:
    """Start i is what its own fit gave, also when both go on."""
    for ours, theirs in zip(population[i].get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, **CLOSE)
    np.testing.assert_allclose(population.history[:, i], history.history["loss"], **CLOSE)
    x, y = data()
    np.testing.assert_allclose(population.predict(x)[i], model.predict(x), **CLOSE)
