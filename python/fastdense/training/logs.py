"""From the sums that engines return to the loss and metrics that callbacks see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arrays import Array
from ..metrics import Metric


def columns(
    totals: Array,
    metrics: Sequence[Metric],
    outputs: int,
    prefix: str = "",
    collected: Sequence[dict[str, Any]] = (),
) -> dict[str, list[Any]]:
    """Turn the engine's sums (epochs, K) into one list of numbers per name: loss, then the metrics.

    `collected`: values of the collected metrics, by name, for each epoch.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        logs: dict[str, list[Any]] = {f"{prefix}loss": (totals[:, 0] / totals[:, 1]).tolist()}
        start = 2
        for metric in metrics:
            if metric.collected:
                logs[f"{prefix}{metric.name}"] = [values[metric.name] for values in collected]
                continue
            state = totals[:, start : start + metric.state_size(outputs)]
            start += state.shape[1]
            if type(metric).result is Metric.result:  # a plain ratio: all epochs at once
                values: list[float] = (state[:, 0] / state[:, 1]).tolist()
            else:
                values = [metric.result(row, outputs) for row in state]
            logs[f"{prefix}{metric.name}"] = values
    return logs
