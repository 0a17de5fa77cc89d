"""The fastdense model of a `Task`, for the demo and the benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._model import Model
from ..layers import Dense
from ..optimizers import SGD, Adam, RMSprop
from .baselines import Task


def make_model(task: Task, device: str = "cpu", metrics: Sequence[str] = (), **options: Any) -> Model:
    """The net of a task, compiled; `options` are further arguments of `Model`."""
    layers = [Dense(units, activation=task.hidden) for units in task.widths[1:-1]]
    layers.append(Dense(task.widths[-1], activation=task.output if task.loss == "mse" else "softmax"))
    model = Model(layers, inputs=task.widths[0], seed=task.seed, dtype=task.dtype, device=device, **options)
    compile_model(model, task, metrics)
    return model


def compile_model(model: Model, task: Task, metrics: Sequence[str] = ()) -> None:
    """Set loss and optimizer; the optimizer's state is reset."""
    optimizer = {"adam": Adam, "rmsprop": RMSprop, "sgd": SGD}[task.optimizer](task.learning_rate)
    loss = "mse" if task.loss == "mse" else "sparse_categorical_crossentropy"
    model.compile(optimizer, loss, metrics=list(metrics))
