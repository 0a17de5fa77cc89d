"""The tables: rows with fixed parts train, val and test, read from $FASTDENSE_DATA/tabular."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
VARIABLE = "FASTDENSE_DATA"
PARTS = ("train", "val", "test")
GREATER = ("auc", "accuracy")  # the other metrics are errors


@dataclass(frozen=True)
class Table:
    """A table in its three parts.

    Attributes
    ----------
    name, task, metric : str
        `task` is "regression", "binary" or "multiclass"; `metric` is "rmse", "auc" or "accuracy".
    categorical : list of str
        Columns of text; all others are numbers, NaN where one is missing.
    x : dict of pandas.DataFrame
        By part.
    y : dict of ndarray
        By part: numbers, or class numbers from 0.
    """

    name: str
    task: str
    metric: str
    categorical: list[str]
    x: dict[str, Any]
    y: dict[str, Array]

    @property
    def numeric(self) -> list[str]:
        """The columns of numbers."""
        return [name for name in self.x["train"].columns if name not in self.categorical]


def folder() -> Path:
    """Where the tables are.

    Raises
    ------
    SystemExit
        If FASTDENSE_DATA does not name a folder that has them.
    """
    place = Path(os.environ.get(VARIABLE, "")) / "tabular"
    if not (place / "tables.json").is_file():
        raise SystemExit(f"there is no {place / 'tables.json'}: set {VARIABLE} to the folder that holds tabular/")
    return place


def names() -> list[str]:
    """The tables there are, the smallest first."""
    entries = json.loads((folder() / "tables.json").read_text(encoding="utf-8"))
    there = [name for name in entries if (folder() / f"{name}.csv.gz").is_file()]
    return sorted(there, key=lambda name: int(entries[name]["rows"]))


def load(name: str) -> Table:
    """Read a table. Columns that hold text are categories; what is a number in the file is a number here."""
    import pandas as pd

    entry = json.loads((folder() / "tables.json").read_text(encoding="utf-8"))[name]
    frame = pd.read_csv(folder() / f"{name}.csv.gz")
    part, target = frame.pop("part"), frame.pop("target")
    categorical = [column for column in frame.columns if not pd.api.types.is_numeric_dtype(frame[column])]
    # Values that are missing become a category of their own, which every library here can take.
    frame[categorical] = frame[categorical].astype("object").fillna("missing").astype(str).astype("category")
    numeric = [column for column in frame.columns if column not in categorical]
    frame[numeric] = frame[numeric].astype(np.float64)
    if entry["task"] == "regression":
        y = target.to_numpy(np.float64)
    else:
        y = np.unique(target.to_numpy(), return_inverse=True)[1].astype(np.int64)
    rows = {key: (part == key).to_numpy() for key in PARTS}
    x = {key: frame[mask].reset_index(drop=True) for key, mask in rows.items()}
    return Table(name, entry["task"], entry["metric"], categorical, x, {key: y[mask] for key, mask in rows.items()})


def _auc(y: Array, score: Array) -> float:
    """How often a positive row scores higher than a negative one, ties counting half: from ranks."""
    values, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[inverse]
    positive = y == 1
    n = int(positive.sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(y) - n)))


SCORES: dict[str, Callable[[Array, Array], float]] = {
    "rmse": lambda y, p: float(np.sqrt(np.mean((y - p) ** 2))),
    "auc": lambda y, p: _auc(y, p[:, 1]),
    "accuracy": lambda y, p: float(np.mean(p.argmax(axis=1) == y)),
}


def score(metric: str, y: Array, prediction: Array) -> float:
    """The metric of predictions: numbers (rows,) of a regression, else probabilities (rows, classes)."""
    return SCORES[metric](y, np.asarray(prediction, dtype=np.float64))
