"""Data of the zoo: small, seeded, the same on every call. x is (rows, columns); y is (rows, outputs) or class ids."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastdense as fd

Array = NDArray[Any]
Pair = tuple[Array, Array]


_draws = [0]


@contextmanager
def drawn_again(number: int) -> Iterator[None]:
    """Within it the cases have other data and other first weights, drawn from other seeds; 0 is the zoo as it is."""
    _draws.append(number)
    try:
        yield
    finally:
        _draws.pop()


def net_seed(seed: int) -> int:
    """The seed of a net in the present draw."""
    return seed + _draws[-1]


def rng(seed: int = 0) -> np.random.Generator:
    """A generator of its own, for the present draw."""
    return np.random.default_rng([seed, _draws[-1]] if _draws[-1] else seed)


# ---- values --------------------------------------------------------------------------------------------------------


def sine(rows: int = 400, low: float = -np.pi, high: float = np.pi, seed: int = 0) -> Pair:
    """One period of a sine unless the range says otherwise."""
    x = rng(seed).uniform(low, high, (rows, 1))
    return x, np.sin(x)


def surface(rows: int = 600, seed: int = 0) -> Pair:
    """Three standard columns; a smooth, clearly non-linear target with mean about 0 and standard deviation about 1."""
    x = rng(seed).standard_normal((rows, 3))
    y = np.sin(1.5 * x[:, :1]) + 0.6 * x[:, 1:2] * x[:, 2:3] + 0.3 * x[:, 2:3]
    return x, (y - y.mean()) / y.std()


def plane(rows: int = 500, width: int = 5, noise: float = 0.0, seed: int = 0) -> Pair:
    """A linear target of standard deviation 1, plus noise of standard deviation `noise`."""
    random = rng(seed)
    x = random.standard_normal((rows, width))
    w = random.standard_normal((width, 1))
    return x, x @ (w / np.linalg.norm(w)) + noise * random.standard_normal((rows, 1))


def friedman(rows: int = 600, seed: int = 0) -> Pair:
    """Five columns in 0..1 and Friedman's first function (1991): mean about 14, standard deviation about 5."""
    x = rng(seed).uniform(0, 1, (rows, 5))
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    return x, y[:, None]


def cone(rows: int = 1024, seed: int = 0) -> Pair:
    """The distance from the origin within the square -1..1."""
    x = rng(seed).uniform(-1, 1, (rows, 2))
    return x, np.hypot(x[:, :1], x[:, 1:])


def houses(rows: int = 500, seed: int = 0) -> Pair:
    """Area, rooms, year and distance in everyday units; price in currency, about 100 000 to 900 000."""
    random = rng(seed)
    area, rooms = random.uniform(40, 260, rows), random.integers(1, 8, rows)
    year, distance = random.integers(1930, 2021, rows), random.uniform(0, 40, rows)
    price = 1800 * area + 9000 * rooms + 250000 * np.exp(-distance / 10) * (area / 150) + 1200 * (year - 1930)
    return np.column_stack([area, rooms, year, distance]), price[:, None]


def standard(x: Array) -> Array:
    """Columns with mean 0 and standard deviation 1; constant ones become 0."""
    spread = x.std(axis=0)
    scaled: Array = (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return scaled


# ---- classes -------------------------------------------------------------------------------------------------------


def moons(rows: int = 500, noise: float = 0.1, seed: int = 0) -> Pair:
    """Two interleaved half circles, classes 0 and 1 in one column; no line separates them."""
    random = rng(seed)
    label = np.arange(rows) % 2
    angle = random.uniform(0, np.pi, rows)
    x = np.column_stack([np.cos(angle) + label - 0.5, np.where(label, -np.sin(angle) + 0.5, np.sin(angle)) - 0.25])
    return x + noise * random.standard_normal((rows, 2)), label[:, None].astype(np.float64)


def ring(rows: int = 500, seed: int = 0) -> Pair:
    """A disc (1) inside a ring (0), in one column."""
    random = rng(seed)
    label = np.arange(rows) % 2
    radius, angle = (
        np.where(label, random.uniform(0, 0.8, rows), random.uniform(1.2, 2, rows)),
        random.uniform(0, 2 * np.pi, rows),
    )
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)]), label[:, None].astype(np.float64)


def xor(copies: int = 1) -> Pair:
    """The four rows of exclusive or."""
    x = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    return np.tile(x, (copies, 1)), np.tile(np.array([[0.0], [1], [1], [0]]), (copies, 1))


def blobs(rows: int = 600, classes: int = 4, width: int = 4, spread: float = 0.6, seed: int = 0) -> Pair:
    """Gaussian clouds around random centres; class ids (rows,)."""
    random = rng(seed)
    centres = 2.0 * random.standard_normal((classes, width))
    ids = np.arange(rows) % classes
    return centres[ids] + spread * random.standard_normal((rows, width)), ids


def spiral(rows: int = 600, turns: float = 1.25, seed: int = 0) -> Pair:
    """Two spirals wound into one another, classes 0 and 1 in one column."""
    random = rng(seed)
    label = np.arange(rows) % 2
    t = np.sqrt(random.uniform(0.02, 1, rows))
    angle = 2 * np.pi * turns * t + np.pi * label
    x = np.column_stack([t * np.cos(angle), t * np.sin(angle)]) * 2
    return x + 0.03 * random.standard_normal((rows, 2)), label[:, None].astype(np.float64)


def one_hot(ids: Array, classes: int | None = None) -> Array:
    """Class ids as rows of an identity matrix."""
    return np.eye(int(ids.max()) + 1 if classes is None else classes)[ids]


def digits(rows: int = 1000) -> Pair:
    """Small handwritten digits: (rows, 64) whole numbers in 0..16, class ids."""
    return _images("digits", rows, 64, np.float32)


def mnist(rows: int = 2000) -> Pair:
    """MNIST as it comes: (rows, 784) uint8 in 0..255, class ids."""
    return _images("mnist", rows, 784, np.uint8)


def fashion(rows: int = 2000) -> Pair:
    """Fashion-MNIST as it comes, in the same form."""
    return _images("fashion_mnist", rows, 784, np.uint8)


@cache
def _loaded(name: str) -> Pair:
    """The first 2000 training images; reading the whole file takes longer than most cases."""
    load = {"mnist": fd.datasets.load_mnist, "fashion_mnist": fd.datasets.load_fashion_mnist}
    (x, y), _ = fd.datasets.load_digits("synthetic") if name == "digits" else load[name](download=False)
    return x[:2000].copy(), y[:2000].copy()


def _images(name: str, rows: int, width: int, dtype: Any) -> Pair:
    x, y = _loaded(name)
    return x[:rows].reshape(-1, width).astype(dtype), y[:rows].astype(np.intp)
