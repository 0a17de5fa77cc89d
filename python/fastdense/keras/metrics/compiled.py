"""From the metrics of `compile` to those of a net: of its engine where that gives the same, else batch by batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ... import metrics as core
from ...arguments import shorten
from ...arrays import Array
from ...losses import Loss
from ..serialization import deserialize_keras_object, serialize_keras_object
from ..settings import plain_name
from . import get
from .accuracy import (
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    binary_accuracy,
    categorical_accuracy,
    sparse_categorical_accuracy,
)
from .base import MeanMetricWrapper, Metric
from .means import MeanAbsoluteError, MeanAbsolutePercentageError, MeanSquaredError

_ACCURACY = ("accuracy", "acc")


class Choice(NamedTuple):
    """A metric of `compile`: None for the accuracy that suits targets and outputs."""

    metric: Metric | None
    name: str
    weighted: bool


class KerasMetric(core.Collected, names=("keras_metric",), listed=False):
    """A metric of `fastdense.keras` for a model of `fastdense`.

    Parameters
    ----------
    metric : Metric of fastdense.keras, or its config
    name : str, optional
        Key in ``History``; that of the metric by default.

    Examples
    --------
    >>> from fastdense import keras
    >>> from fastdense.keras.metrics.compiled import KerasMetric
    >>> KerasMetric(keras.metrics.AUC(curve="PR", name="pr")).name
    'pr'
    """

    sees_outputs = True

    def __init__(self, metric: Any, name: str | None = None) -> None:
        self.metric: Metric = _restored(metric) if isinstance(metric, Mapping) else metric
        super().__init__(name or self.metric.name)
        self.reset_state()

    def get_config(self) -> dict[str, Any]:
        config = self.metric._given if isinstance(self.metric, Absent) else serialize_keras_object(self.metric)
        given = {"metric": config, "name": self.name}
        return given if self.weighted else {**given, "weighted": False}

    def reset_state(self) -> None:
        self.metric.reset_state()

    def update_state(self, y_true: Array, y_pred: Array, sample_weight: Array | None) -> None:
        self.metric.update_state(y_true, y_pred, sample_weight=sample_weight)

    def result(self) -> Any:  # type: ignore[override]
        value = self.metric.result()
        if isinstance(value, Mapping):
            raise TypeError(
                f"metric {self.name!r}: result() is a dict. A number or an array is needed; write a metric for each."
            )
        return np.asarray(value)

    def __repr__(self) -> str:
        return repr(self.metric)


class Absent(Metric):
    """A metric of a file that is a class or a function of the script that wrote it, which this process does not know.

    Parameters
    ----------
    config : dict
        As the file has it.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._given = dict(config)
        super().__init__(name=str(config["config"].get("name") or "absent"))

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Raise: it cannot be computed."""
        own = self._given["config"].get("fn") or self._given["class_name"]
        raise ValueError(
            f"metric {self.name!r} is {own!r} of the script that wrote the file. Pass "
            f"custom_objects={{{own!r}: ...}} to load_model, or compile the model again."
        )

    def reset_state(self) -> None:
        """Do nothing."""


def _restored(config: Mapping[str, Any]) -> Metric:
    try:
        made: Metric = deserialize_keras_object(config)
    except ValueError:
        return Absent(config)
    return made


def choose(metrics: Any, weighted_metrics: Any = None) -> list[Choice]:
    """Read the arguments of `compile`; names are those of Keras's histories.

    Parameters
    ----------
    metrics, weighted_metrics : list, tuple or dict of metrics, or one metric, optional
        Names, classes, metrics and functions. Sample weights count in the second alone.

    Returns
    -------
    list of Choice
        With different names: of two that are equal, a second metric is called auc_1, a weighted one weighted_auc.
    """
    chosen: list[Choice] = []
    taken: dict[str, int] = {"loss": 1}
    for weighted, given in ((False, metrics), (True, weighted_metrics)):
        for item in _flat(given):
            metric, name = _named(item)
            if weighted and name in taken:
                name = f"weighted_{name}"
            count = taken[name] = taken.get(name, 0) + 1
            chosen.append(Choice(metric, name if count == 1 else f"{name}_{count - 1}", weighted))
    return chosen


def _flat(given: Any) -> Iterator[Any]:
    if isinstance(given, (list, tuple)):
        for item in given:
            yield from _flat(item)
    elif isinstance(given, Mapping) and "class_name" not in given:
        for item in given.values():
            yield from _flat(item)
    elif given is not None:
        yield given


def _named(item: Any) -> tuple[Metric | None, str]:
    if isinstance(item, str) and item.lower() in _ACCURACY:
        return None, item
    if isinstance(item, core.Metric):
        raise TypeError(
            f"compile: metrics: {shorten(item)} is a metric of fastdense. One of keras.metrics is needed here; "
            "fastdense.metrics are those of fastdense.Model."
        )
    found = get(item)
    if isinstance(found, Metric):
        return found, item if isinstance(item, str) else found.name
    name = str(getattr(found, "name", None) or plain_name(getattr(found, "__name__", type(found).__name__)))
    return MeanMetricWrapper(found, name), name


def core_metrics(choices: Sequence[Choice | core.Metric], loss: Loss, outputs: int) -> list[core.Metric]:
    """Turn the choices into what a model of `fastdense` computes.

    Parameters
    ----------
    choices : sequence of Choice
        Metrics of `fastdense`, as a loaded model has them, stay.
    loss : Loss
        Of the model; it determines what the targets are, and whether outputs are logits.
    outputs : int
        Number of outputs of the model.
    """
    made: list[core.Metric] = []
    for choice in choices:
        if isinstance(choice, core.Metric):
            made.append(choice)
            continue
        metric = choice.metric or _accuracy(loss, outputs)
        one = _same(metric, choice.name, loss, outputs) or KerasMetric(metric, choice.name)
        one.weighted = choice.weighted
        made.append(one)
    return made


def _accuracy(loss: Loss, outputs: int) -> Metric:
    """The accuracy that "accuracy" stands for: Keras goes by the shapes of targets and outputs."""
    if loss.targets == "any":
        return MeanMetricWrapper(accuracy_by_shape, "accuracy")
    if loss.sparse:
        return SparseCategoricalAccuracy()
    return BinaryAccuracy() if outputs == 1 else CategoricalAccuracy()


def accuracy_by_shape(y_true: Any, y_pred: Any) -> Array:
    """The accuracy that suits the shapes of a batch, where the loss does not tell what the targets are."""
    if y_pred.shape[-1] == 1:
        return binary_accuracy(y_true, y_pred)
    sparse = y_true.ndim < y_pred.ndim or y_true.shape[-1] == 1
    return (sparse_categorical_accuracy if sparse else categorical_accuracy)(y_true, y_pred)


def _same(metric: Metric, name: str, loss: Loss, outputs: int) -> core.Metric | None:
    """A metric of the engine with the same values, if there is one."""
    kind, logits = type(metric), loss.crossentropy and loss.from_logits
    if loss.sparse:
        return core.SparseCategoricalAccuracy(name) if kind is SparseCategoricalAccuracy else None
    if loss.targets == "any":
        return None
    if kind is CategoricalAccuracy and outputs > 1:
        return core.CategoricalAccuracy(name)
    if isinstance(metric, BinaryAccuracy) and kind is BinaryAccuracy and not (logits and loss.over_classes):
        # the engine compares probabilities
        threshold = 1.0 / (1.0 + math.exp(-metric.threshold)) if logits else metric.threshold
        return core.BinaryAccuracy(threshold, name)
    if logits:
        return None
    if kind is MeanSquaredError:
        return core.MeanSquaredError(name)
    if kind is MeanAbsoluteError:
        return core.MeanAbsoluteError(name)
    return core.MeanAbsolutePercentageError(name) if kind is MeanAbsolutePercentageError else None
