"""How a population is divided into parts: the members that one engine trains, with what they are compiled with."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arrays import Array, fail
from ..data.rows import Rows
from ..engine.population import why_one_by_one
from ..layers import Dropout, Layer, Residual
from ..layers import get as get_layer
from ..losses import Loss
from ..model.base import BaseModel
from ..network import Net
from ..optimizers import Optimizer
from ..runners.population import PopulationRunner
from ..schedules import Schedule
from ..training.feasible import check_batch, check_solver
from ..training.options import Options
from ..training.population import Validation
from .arguments import Starts

TOGETHER = 16  # members of a part, where there are several: the lanes of the widest vector
FEWEST = 4  # members for which vector lanes are worth it, where others have another shape
TOO_FEW = "too few members are of one shape to fill vector lanes"


@dataclass(frozen=True)
class Compiled:
    """What members are: their layers, and how they are trained."""

    net: Net
    optimizer: Optimizer
    loss: Loss


@dataclass(frozen=True)
class Group:
    """Members that could be trained by one engine.

    Attributes
    ----------
    which : ndarray of int
        Their numbers in the population.
    model : BaseModel
        What they are like, but for seeds and numbers of their own.
    compiled : Compiled
        With the numbers that they have in common.
    batch_size : int
    reason : str
        Why each of them has an engine of its own; empty if they share one.
    """

    which: Array
    model: BaseModel
    compiled: Compiled
    batch_size: int
    reason: str = ""

    @property
    def lowered_metrics(self) -> list[dict[str, Any]]:
        """The metrics, as engines take them."""
        return [metric.lower(self.compiled.loss, self.compiled.net.outputs) for metric in self.model.metrics]


@dataclass
class Part:
    """Members that one engine trains, and what with.

    Attributes
    ----------
    which : ndarray of int
        Their numbers in the population.
    group : Group
    runner : PopulationRunner
    data : Rows
    weights : ndarray of shape (members, rows), or None
    options : Options
    learning_rates : ndarray of shape (members,), or None
    validation : Validation or None
    """

    which: Array
    group: Group
    runner: PopulationRunner
    data: Rows
    weights: Array | None
    options: Options
    learning_rates: Array | None
    validation: Validation | None

    @property
    def batches(self) -> int:
        """Steps of an epoch."""
        return math.ceil(len(self.data) / min(self.options.batch_size, len(self.data)))


def check_numbers(where: str, models: Sequence[BaseModel], starts: Starts) -> None:
    """Raise if a number is given that a model has no use for."""
    for i, model in enumerate(models):
        of = f"models[{i}]" if len(models) > 1 else "the model"
        optimizer, loss = model.optimizer, model.loss
        if starts.weight_decays is not None and "weight_decay" not in type(optimizer).__signature__.parameters:
            fail(where, f"weight_decay is given and the optimizer of {of} is {type(optimizer).__name__}",
                 "it has no weight decay", "leave it out, or use e.g. AdamW")  # fmt: skip
        if starts.label_smoothings is not None and "label_smoothing" not in type(loss).__signature__.parameters:
            fail(where, f"label_smoothing is given and the loss of {of} is {loss.name}", "it has no label smoothing",
                 "leave it out, or use a cross-entropy")  # fmt: skip
        if starts.dropouts is not None and not _dropouts(model.layers):
            fail(where, f"dropout is given and {of} has no Dropout layer", "it is the rate of all Dropout layers",
                 "leave it out, or add Dropout layers")  # fmt: skip


def compiled(model: BaseModel, numbers: dict[str, float]) -> Compiled:
    """A model's net, optimizer and loss, with the numbers of one member (`Starts.one`) in place of the model's."""
    net, optimizer, loss = model.net, model.optimizer, model.loss
    if "dropouts" in numbers:
        layers = copy.deepcopy(model.layers)
        for layer in _dropouts(layers):
            layer.rate = numbers["dropouts"]
        net = Net(layers, net.inputs, net.seed, net.dtype, net.precision)
        for mine, given in zip(net.statistics, model.net.statistics, strict=True):
            mine.origin = given.origin
    if "weight_decays" in numbers:
        config = {**optimizer.get_config(), "weight_decay": numbers["weight_decays"]}
        optimizer = type(optimizer).from_config(config)
    if "label_smoothings" in numbers:
        loss = type(loss).from_config({**loss.get_config(), "label_smoothing": numbers["label_smoothings"]})
    return Compiled(net, optimizer, loss)


def member_of(model: BaseModel, seed: int, numbers: dict[str, float]) -> BaseModel:
    """A compiled model like `model` with this seed and the numbers of one member."""
    made = compiled(model, numbers)
    layers: list[Layer] = copy.deepcopy(made.net.layers)
    if "penalties" in numbers:
        layers = [get_layer(_scaled_penalties(layer.to_dict(), numbers["penalties"])) for layer in layers]
    optimizer, loss = copy.deepcopy((made.optimizer, made.loss))
    if "learning_rates" in numbers:
        optimizer.learning_rate = numbers["learning_rates"]
    member = type(model).from_config({**model.get_config(), "layers": layers, "seed": seed})
    member.compile(
        optimizer,
        loss,
        metrics=copy.deepcopy(model.metrics),
        loss_weights=numbers.get("loss_weights", model.loss_weights),
    )
    return member


def grouped(where: str, models: Sequence[BaseModel], model_of: Array, starts: Starts, rows: int) -> list[Group]:
    """Members that could share an engine, in the order of their first.

    Parameters
    ----------
    where : str
    models : sequence of BaseModel
    model_of : ndarray of int, shape (starts,)
        Number of the model of each member.
    starts : Starts
    rows : int
        Of the data.
    """
    likeness: dict[str, int] = {}
    kinds = np.array([likeness.setdefault(_likeness(model), len(likeness)) for model in models])[model_of]
    own = [v for v in (starts.weight_decays, starts.dropouts, starts.label_smoothings) if v is not None]
    keys = np.stack([kinds.astype(np.float64), np.minimum(starts.batch_sizes, rows).astype(np.float64), *own], axis=1)
    _, first, group_of = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    group_of = group_of.ravel()
    groups = []
    for number in np.argsort(first):
        which = np.flatnonzero(group_of == number)
        i = int(which[0])
        model = models[model_of[i]]
        made = compiled(model, starts.one(i))
        check_solver(where, made.optimizer, made.loss, made.net)
        batch_size = check_batch(where, made.optimizer, int(starts.batch_sizes[i]), rows)
        lowered = {**made.optimizer.lower(), **made.optimizer.factors(where, made.net.trained_names)}
        training = {"loss": made.loss.lower(), "optimizer": lowered, "metrics": []}
        reason = why_one_by_one(model.device, made.net.program, training, min(batch_size, rows))
        groups.append(Group(which, model, made, batch_size, reason))
    if len(groups) < 2:
        return groups
    few = [not group.reason and len(group.which) < FEWEST and group.model.device == "cpu" for group in groups]
    return [replace(group, reason=TOO_FEW) if alone else group for group, alone in zip(groups, few, strict=True)]


def divided(groups: Sequence[Group]) -> list[tuple[Group, Array]]:
    """The groups, divided into what one engine trains: (group, numbers of members)."""
    found = []
    for group in groups:
        each = 1 if group.reason else TOGETHER if len(groups) > 1 and group.model.device == "cpu" else len(group.which)
        found += [(group, group.which[first : first + each]) for first in range(0, len(group.which), each)]
    return found


def why(groups: Sequence[Group]) -> str:
    """The reasons of the groups in one text; empty if there is none."""
    count: dict[str, int] = {}
    for group in groups:
        if group.reason:
            count[group.reason] = count.get(group.reason, 0) + len(group.which)
    if len(count) == 1 and all(group.reason for group in groups):
        return next(iter(count))
    total = sum(len(group.which) for group in groups)
    return "; ".join(f"{n:,} of {total:,} members: {reason}" for reason, n in count.items())


def own_rates(models: Sequence[BaseModel], model_of: Array, starts: Starts, which: Array) -> Array | None:
    """Learning rates of these members, where they are given or their models have different ones."""
    if starts.learning_rates is not None:
        return np.asarray(starts.learning_rates[which])
    rates = [getattr(models[model_of[i]].optimizer, "learning_rate", None) for i in which] if len(models) > 1 else []
    if len(set(map(repr, rates))) < 2:
        return None
    return np.array(rates, dtype=np.float64)


def _likeness(model: BaseModel) -> str:
    """Equal for models that one engine could train: they differ in seeds, names and constant learning rates only."""
    config = model.get_config()
    del config["seed"], config["name"]
    optimizer = model.optimizer.to_dict()
    if not isinstance(getattr(model.optimizer, "learning_rate", None), Schedule):
        optimizer["config"].pop("learning_rate", None)
    rest = [optimizer, model.loss.to_dict(), [metric.to_dict() for metric in model.metrics]]
    return json.dumps([type(model).__qualname__, config, rest], default=repr, sort_keys=True)


def _dropouts(layers: Sequence[Layer]) -> list[Any]:
    found: list[Any] = []
    for layer in layers:
        if isinstance(layer, Dropout):
            found.append(layer)
        if isinstance(layer, Residual):
            found += _dropouts(layer.layers)
    return found


def _scaled_penalties(config: Any, factor: float, inside: bool = False) -> Any:
    """A layer's config with the factors of all its regularizers multiplied by `factor`."""
    if isinstance(config, dict):
        return {key: _scaled_penalties(value, factor, inside or str(key).endswith("_regularizer"))
                for key, value in config.items()}  # fmt: skip
    if isinstance(config, list):
        return [_scaled_penalties(value, factor, inside) for value in config]
    return config * factor if inside and isinstance(config, float) else config
