"""`start_on_data`: first values that suit the data, for one model."""

from __future__ import annotations

from typing import Any

from ..data.prepare import prepare
from ..initial.spread import check_trainable, spread_one
from ..layers import Dense
from .base import M


def start_on_data(model: M, x: Any, y: Any) -> M:
    """Give a model first values that suit the data; the optimizer's state is reset.

    Each hidden unit gets a direction as different as possible from its neighbours', varies by 1 over the data, and its
    hyperplane (where a ReLU bends) cuts the data, each unit's at another quantile: no unit starts dead, no two start
    alike. A linear last layer starts as the least-squares fit of its inputs to the targets, if the loss is a distance.
    Everything follows from the model's seed. Layers that are not trainable keep their weights.

    Parameters
    ----------
    model : Model
        Compiled.
    x, y
        As in `Model.fit`; 256 rows decide.

    Returns
    -------
    Model
        The model itself.
    """
    loss = model._compiled_loss("start_on_data")
    model.net.check_not_monotonic("start_on_data", "units are to be spread over the data")
    check_trainable("start_on_data", [layer for layer in model.layers if isinstance(layer, Dense)])
    data = prepare("start_on_data", x, y, None, model._shape, loss)
    model.runner.adapt(data.x)
    spread_one(model.runner, data, loss.kind, [tensor[None] for tensor in model.net.initial_values()])
    model.runner.configure(model.optimizer, loss, model.metrics, model.loss_weights)
    return model
