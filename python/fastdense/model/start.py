"""model.start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import Array
from ..data.prepare import prepare
from ..data.rows import Rows, sample
from ..initial.spread import asks_for_data, spread_over_data

if TYPE_CHECKING:
    from .base import BaseModel


def start_on_data(model: BaseModel, x: Any, y: Any) -> BaseModel:
    """Give a model first values that suit the data; the optimizer starts afresh.

    Each hidden unit gets a direction as different as possible from its neighbours', varies by 1 over the data, and its
    hyperplane (where a ReLU bends) cuts the data, each unit's at another place: no unit starts dead, no two start
    alike. A linear last layer starts as the least-squares fit of its inputs to the targets, if the loss is a distance.
    Everything follows from the model's seed.

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
    data = prepare("start_on_data", x, y, None, model._shape, loss)
    model.runner.adapt(data.x)
    tensors = [tensor[None] for tensor in model.net.initial_values()]
    _spread(model, data, tensors, None)
    model.runner.configure(model.optimizer, loss, model.metrics)
    return model


def place_untouched(model: BaseModel, data: Rows) -> None:
    """Before the first fit: place the layers with ``kernel_initializer="data"`` whose tensors are still the first."""
    asking = asks_for_data(model.net) if model.runner.step == 0 and model.runner.epochs_trained == 0 else []
    if not asking:
        return
    first, now, place, which = model.net.initial_values(), model.get_weights(), 0, []
    for i, layer in enumerate(model.layers):
        end = place + len(layer.tensors(model.net.widths[i - 1] if i else model.inputs))
        pairs = zip(now[place:end], first[place:end], strict=True)
        if i in asking and all(np.array_equal(new, old.astype(new.dtype)) for new, old in pairs):
            which.append(i)
        place = end
    if which:
        _spread(model, data, [np.asarray(tensor, dtype=np.float64)[None] for tensor in now], which)


def _spread(model: BaseModel, data: Rows, tensors: list[Array], which: Sequence[int] | None) -> None:
    few = Rows(sample(data.x), sample(data.y), None)
    if model.net.statistics is not None:
        tensors[:2] = [tensor[None] for tensor in model.get_weights()[:2]]

    def of(given: list[Array], layer: int) -> Array:
        model.set_weights([tensor[0] for tensor in given])
        return np.asarray(model.activations(few.x)[layer], dtype=np.float64)[None]

    kind = model._compiled_loss("start_on_data").kind
    spread_over_data(model.net, few, kind, np.array([model.seed], dtype=np.uint64), tensors, of, which)
    model.set_weights([tensor[0] for tensor in tensors])
