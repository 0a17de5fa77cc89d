"""Small data sets for the scripts, and the same first weights for a model of either library."""

from __future__ import annotations

from typing import Any

import numpy as np


def start(model: Any, seed: int = 0) -> Any:
    """Give a model weights that depend on its shapes and the seed alone; biases and statistics stay."""
    r = np.random.default_rng(seed)
    weights = [r.normal(0, np.sqrt(1 / w.shape[0]), w.shape) if w.ndim == 2 else w for w in model.get_weights()]
    model.set_weights(weights)
    return model


def digits() -> tuple[Any, Any, Any, Any]:
    """Images (n, 8, 8) of 0 to 16 and their labels, for training and testing."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return data.images[:600], data.target[:600], data.images[600:800], data.target[600:800]


def reviews(n: int = 400, vocabulary: int = 200) -> tuple[list[list[int]], Any]:
    """Lists of word numbers, and 0 or 1."""
    r = np.random.default_rng(3)
    y = r.integers(0, 2, n)
    return [r.choice(vocabulary, r.integers(5, 30), p=weights(vocabulary, label)).tolist() for label in y], y


def weights(vocabulary: int, label: int) -> Any:
    """Words of low numbers are frequent in good reviews, of high ones in bad reviews."""
    p = np.linspace(1, 3, vocabulary)[:: 1 if label else -1]
    return p / p.sum()


def newswires(n: int = 400, topics: int = 6) -> tuple[list[list[int]], Any]:
    """Lists of word numbers, and topics."""
    r = np.random.default_rng(4)
    y = r.integers(0, topics, n)
    return [
        np.unique(np.concatenate([r.integers(0, 100, 8), 10 * label + r.integers(0, 10, 6)])).tolist() for label in y
    ], y


def houses(n: int = 160) -> tuple[Any, Any]:
    """Columns of different scales, and prices."""
    r = np.random.default_rng(5)
    x = r.normal(size=(n, 8)) * [1, 5, 0.1, 20, 2, 1, 300, 9] + 3
    return x, 20 + x[:, 0] * 2 + x[:, 1] + 30 * x[:, 2] + 0.02 * x[:, 6] + r.normal(0, 1, n)


def echoes(n: int = 120, columns: int = 20) -> tuple[Any, Any]:
    """Rows, and labels "M" and "R"."""
    r = np.random.default_rng(6)
    y = r.integers(0, 2, n)
    return r.normal(size=(n, columns)) + 0.8 * y[:, None] * (np.arange(columns) < 6), np.array(["R", "M"])[y]


def customers(n: int = 400) -> Any:
    """A data frame of customers, some of whom leave."""
    import pandas as pd

    r = np.random.default_rng(7)
    age, balance = r.integers(18, 80, n), r.gamma(2, 400, n)
    country = r.choice(["France", "Spain", "Germany"], n)
    risk = (age - 45) / 15 + (country == "Germany") - balance / 1500 + r.normal(0, 0.7, n)
    return pd.DataFrame({"Age": age, "Balance": balance, "Country": country, "Products": r.integers(1, 4, n),
                         "Exited": (risk > 0.5).astype(int)})  # fmt: skip


def transactions(n: int = 1500) -> tuple[Any, Any]:
    """Rows, one in twenty of them a fraud."""
    r = np.random.default_rng(8)
    y = (r.random(n) < 0.05).astype(int)
    return r.normal(size=(n, 6)) + 1.2 * y[:, None] * (np.arange(6) < 3), y


def series(n: int = 400) -> Any:
    """A noisy wave with a trend."""
    t = np.arange(n)
    return 10 + 0.01 * t + 3 * np.sin(t / 6) + np.random.default_rng(9).normal(0, 0.3, n)


TEXTS = [
    ("the match ended after a late goal by the captain", "sport"),
    ("two goals in the second half won the cup", "sport"),
    ("the striker missed a penalty in the final match", "sport"),
    ("the coach praised the defence after the game", "sport"),
    ("shares fell after the bank raised its rate", "money"),
    ("the market rose as profits of the company grew", "money"),
    ("inflation and the interest rate worry the bank", "money"),
    ("investors sold their stocks of the company today", "money"),
    ("the new phone has a faster chip and a better screen", "tech"),
    ("the software update fixes a flaw in the chip", "tech"),
    ("a robot with new software sorts the parcels", "tech"),
    ("the laptop has a bright screen and a large battery", "tech"),
]
