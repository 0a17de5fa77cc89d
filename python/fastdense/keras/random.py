"""Random numbers by Keras's names, as NumPy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import settings
from .names import not_offered

__all__ = ["SeedGenerator", "normal", "randint", "shuffle", "truncated_normal", "uniform"]


class SeedGenerator:
    """A sequence of seeds: each call that is passed this object gets other random numbers.

    Parameters
    ----------
    seed : int, optional
        Random unless given, or ``keras.utils.set_random_seed`` was called.

    Examples
    --------
    >>> from fastdense.keras import random
    >>> seeds = random.SeedGenerator(0)
    >>> bool(random.normal((), seed=seeds) == random.normal((), seed=seeds))
    False
    """

    def __init__(self, seed: int | None = None, name: str | None = None) -> None:
        self.seed = settings.next_seed() if seed is None else int(seed)
        self._count = 0

    def next(self) -> NDArray[np.uint32]:
        """The next seed, two numbers."""
        self._count += 1
        return np.array([self.seed % 2**32, self._count], dtype=np.uint32)


def _generator(seed: Any) -> np.random.Generator:
    """An int gives the same numbers every time, None others every time."""
    return np.random.default_rng(seed.next() if isinstance(seed, SeedGenerator) else
                                 settings.next_seed() if seed is None else seed)  # fmt: skip


def _dtype(dtype: str | None) -> str:
    return dtype or {"bfloat16": "float32"}.get(settings.floatx(), settings.floatx())


def normal(
    shape: Sequence[int], mean: float = 0.0, stddev: float = 1.0, dtype: str | None = None, seed: Any = None
) -> NDArray[Any]:
    """Normal numbers."""
    return np.asarray(_generator(seed).normal(mean, stddev, tuple(shape)), dtype=_dtype(dtype))


def truncated_normal(
    shape: Sequence[int], mean: float = 0.0, stddev: float = 1.0, dtype: str | None = None, seed: Any = None
) -> NDArray[Any]:
    """Normal numbers, those further than two standard deviations from the mean drawn again."""
    generator = _generator(seed)
    drawn = np.asarray(generator.normal(size=tuple(shape)))
    while (far := np.abs(drawn) > 2).any():
        drawn[far] = generator.normal(size=int(far.sum()))
    return np.asarray(mean + stddev * drawn, dtype=_dtype(dtype))


def uniform(
    shape: Sequence[int], minval: float = 0.0, maxval: float = 1.0, dtype: str | None = None, seed: Any = None
) -> NDArray[Any]:
    """Uniform numbers from `minval` to below `maxval`."""
    if dtype is not None and np.issubdtype(np.dtype(dtype), np.integer):
        return randint(shape, int(minval), int(maxval), dtype, seed)
    return np.asarray(_generator(seed).uniform(minval, maxval, tuple(shape)), dtype=_dtype(dtype))


def randint(shape: Sequence[int], minval: int, maxval: int, dtype: str = "int32", seed: Any = None) -> NDArray[Any]:
    """Whole numbers from `minval` to below `maxval`."""
    return np.asarray(_generator(seed).integers(minval, maxval, tuple(shape)), dtype=dtype)


def shuffle(x: Any, axis: int = 0, seed: Any = None) -> NDArray[Any]:
    """A copy in a random order along one axis."""
    return np.asarray(_generator(seed).permutation(np.asarray(x), axis=axis))


__getattr__ = not_offered("random", __all__)
