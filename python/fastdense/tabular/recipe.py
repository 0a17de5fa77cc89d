"""The recipe: the space that settings are drawn from, and the net that settings stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from .._model import Model
from ..layers import (
    CategoryEmbedding,
    Dense,
    Dropout,
    Impute,
    Layer,
    NumericEmbedding,
    OneHot,
    Rescaling,
    RobustScale,
)
from ..optimizers import AdamW
from ..schedules import CosineDecay
from .frames import Columns
from .task import Task

__all__ = ["EPOCHS", "NETS", "PATIENCE", "SPACE", "Settings", "build", "finished"]

NETS = 24  # that are trained unless the user says otherwise
EPOCHS = 40  # over which the learning rate falls to 0
PATIENCE = 12  # epochs without improvement after which a net stops
ONE_HOT = 16  # a column of more categories gets trained numbers in place of columns of 0 and 1


@dataclass(frozen=True)
class Settings:
    """The hyperparameters of a net and its training.

    Attributes
    ----------
    embedding : {"piecewise_linear", "periodic", "none"}
        What is made of each number; see `fastdense.NumericEmbedding`.
    bins : int
        Of a piecewise-linear embedding.
    sigma : float
        Of a periodic embedding: standard deviation of the first frequencies.
    activation : str
    width, depth : int
        Units of a hidden layer, and number of these.
    dropout : float
    learning_rate, weight_decay : float
        Of AdamW; the rate falls to 0 by half a cosine.
    batch_size : int
    label_smoothing : float
        Of classes.
    """

    embedding: str = "piecewise_linear"
    bins: int = 16
    sigma: float = 0.1
    activation: str = "relu"
    width: int = 256
    depth: int = 3
    dropout: float = 0.15
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    batch_size: int = 256
    label_smoothing: float = 0.0

    @classmethod
    def names(cls) -> list[str]:
        """The hyperparameters."""
        return [field.name for field in fields(cls)]


SPACE: Mapping[str, list[Any] | tuple[Any, ...]] = {
    "embedding": ["piecewise_linear", "periodic", "none", "piecewise_linear", "periodic"],
    "bins": (8, 48, "log"),
    "sigma": (0.1, 1.0, "log"),
    "activation": ["relu", "mish", "silu"],
    "width": [64, 128],
    "depth": [2, 3, 4],
    "dropout": [0.0, 0.0, 0.1, 0.2],
    "learning_rate": (2e-3, 2e-2, "log"),
    "weight_decay": (3e-3, 0.3, "log"),
    "batch_size": [64, 128],
}


def _front(settings: Settings, columns: Columns) -> list[Layer]:
    """The layers that turn rows, as `Columns` makes them, into what a dense layer takes."""
    numeric = [j for j in range(columns.count) if j not in columns.categorical]
    made: list[Layer] = []
    if numeric:
        made += [Impute(numeric, indicator=columns.missing), RobustScale(numeric)]
    codes = {j: [float(code) for code in range(len(values))]
             for j, values in zip(columns.categorical, columns.categories, strict=True)}  # fmt: skip
    small = [j for j, found in codes.items() if len(found) <= ONE_HOT]
    large = [j for j in codes if j not in small]
    if small:
        made.append(OneHot(small, [codes[j] for j in small]))
    # Where the other columns are behind the columns of 0 and 1.
    widths = [len(codes[j]) if j in small else 1 for j in range(columns.count)]
    place = {j: sum(widths[:j]) for j in range(columns.count)}
    if large:
        made.append(CategoryEmbedding([place[j] for j in large], codes=[codes[j] for j in large]))
        place = {j: place[j] - sum(other < j for other in large) for j in numeric}
    if numeric and settings.embedding == "piecewise_linear":
        made.append(NumericEmbedding(columns=[place[j] for j in numeric], bins=settings.bins, keep=True))
    elif numeric and settings.embedding == "periodic":
        chosen = [place[j] for j in numeric]
        made.append(NumericEmbedding("periodic", chosen, sigma=settings.sigma, size=4))
    return made


def build(settings: Settings, columns: Columns, task: Task, seed: int, steps: int) -> Model:
    """The compiled net of these settings, for `steps` steps of training, on targets that are standardised."""
    layers = _front(settings, columns)
    for _ in range(settings.depth):
        layers.append(Dense(settings.width, settings.activation))
        if settings.dropout:
            layers.append(Dropout(settings.dropout))
    ends = {"mse": None, "binary_crossentropy": "sigmoid"}
    layers.append(Dense(task.outputs, ends.get(task.loss, "softmax")))
    model = Model(layers, inputs=columns.count, seed=seed)
    rate = CosineDecay(settings.learning_rate, steps)
    model.compile(AdamW(rate, weight_decay=settings.weight_decay), task.loss, metrics=task.measure)
    return model


def finished(model: Model, task: Task) -> Model:
    """A trained net whose outputs are in the units of the targets."""
    if task.classes is not None:
        return model
    layers = [*model.layers, Rescaling(task.scale.tolist(), task.mean.tolist())]
    made = Model(layers, inputs=model.inputs, seed=model.seed)
    made.set_weights([*model.get_weights(), task.scale, task.mean])
    made.compile("adamw", "mse")
    return made
