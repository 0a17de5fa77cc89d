"""How a population is divided into parts: the members that one engine trains, and what they have for themselves."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from ..arrays import Array, fail
from ..data.rows import Rows
from ..engine.population import why_one_by_one
from ..layers import Composite, Dropout, Layer
from ..layers import get as get_layer
from ..layers.function import functions_in_order, functions_of, known_functions
from ..model.base import BaseModel
from ..network import Net
from ..runners.population import PopulationRunner
from ..runners.single import lowered
from ..schedules import Schedule
from ..training.feasible import check_batch
from ..training.options import Options
from ..training.population import PopulationFit, Validation
from .arguments import Starts
from .callbacks import KeepBest, Snapshot

M = TypeVar("M", bound=BaseModel)
TOGETHER = 16  # members of a part, where there are several: the lanes of the widest vector
FEWEST = {4: 8, 8: 4}  # by the bytes of a number: members, half a vector of them, for which lanes are worth it
TOO_FEW = "too few members are of one shape to fill vector lanes"


@dataclass(frozen=True)
class MemberGroup:
    """Members that one engine could train.

    Attributes
    ----------
    which : ndarray of int
        Their numbers in the population.
    model : BaseModel
        What they are like, but for seeds and `numbers`.
    numbers : dict of ndarray
        What they have for themselves, as of `fastdense.engine.population.make_population_engine`.
    batch_size : int
    reason : str
        Why each of them has an engine of its own; empty if they share one.
    own : frozenset of str
        In which of "learning_rate", "loss_weight" and "order_seed" they differ. Some of them, trained elsewhere, take
        the same way through an engine, and get the same bits, though they may agree in it.
    """

    which: Array
    model: BaseModel
    numbers: dict[str, Array]
    batch_size: int
    reason: str = ""
    own: frozenset[str] = frozenset()

    @property
    def lowered_metrics(self) -> list[dict[str, Any]]:
        """The metrics, as engines take them."""
        return lowered(self.model.metrics, self.model.loss, self.model.outputs)

    def parts(self, size: int) -> list[MemberGroup]:
        """The same members, at most so many at a time."""
        return [self.some(slice(first, first + size)) for first in range(0, len(self.which), size)]

    def some(self, part: slice) -> MemberGroup:
        """Some of the members."""
        numbers = {name: values[part] for name, values in self.numbers.items()}
        return replace(self, which=self.which[part], numbers=numbers)


@dataclass
class Part:
    """Members that one engine trains, and what with.

    Attributes
    ----------
    group : MemberGroup
    runner : PopulationRunner
    data : Rows
    weights : ndarray of shape (members, rows), or None
    options : Options
    learning_rates : ndarray of shape (members,), or None
    validation : Validation or None
    """

    group: MemberGroup
    runner: PopulationRunner
    data: Rows
    weights: Array | None
    options: Options
    learning_rates: Array | None
    validation: Validation | None

    @property
    def which(self) -> Array:
        """Numbers of the members in the population."""
        return self.group.which

    @property
    def batches(self) -> int:
        """Steps of an epoch."""
        return math.ceil(len(self.data) / min(self.options.batch_size, len(self.data)))


@dataclass(frozen=True)
class PartResult:
    """What training made of the members of a part, beside their nets: attributes of `Population`, for these members.

    Attributes
    ----------
    without_state : ndarray of bool, shape (members,)
        Whether the optimizer's state is not that of their weights.
    cut_short : bool
        Whether Ctrl-C or the deadline left members without some of their epochs.
    """

    losses: Array
    epochs: Array
    history: Array
    val_history: dict[str, Array]
    revived: Array
    snapshots: list[list[Snapshot]]
    without_state: Array
    cut_short: bool

    @classmethod
    def of(cls, fit: PopulationFit, losses: Array) -> PartResult:
        """The result of a fit that has finished."""
        kept = [callback.kept for callback in fit.callbacks if isinstance(callback, KeepBest)]
        return cls(
            losses, fit.epochs, fit.history, fit.val_history,
            sum((callback.revived for callback in fit.callbacks), np.zeros_like(fit.epochs)),
            kept[0] if kept else [[] for _ in losses], ~fit.active | fit.interrupted, fit.cut_short,
        )  # fmt: skip

    @classmethod
    def joined(cls, results: Sequence[PartResult]) -> PartResult:
        """The result of the members of several, in this order."""

        def all_of(name: str) -> Array:
            return np.concatenate([getattr(one, name) for one in results])

        return cls(
            all_of("losses"), all_of("epochs"), np.concatenate([one.history for one in results], axis=1),
            {name: np.concatenate([one.val_history[name] for one in results], axis=1)
             for name in results[0].val_history},
            all_of("revived"), [kept for one in results for kept in one.snapshots], all_of("without_state"),
            any(one.cut_short for one in results),
        )  # fmt: skip


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
        if starts.dropouts is None:
            continue
        if not _dropouts(model.layers):
            fail(where, f"dropout is given and {of} has no Dropout layer", "it is the rate of all Dropout layers",
                 "leave it out, or add Dropout layers")  # fmt: skip
        if optimizer.full_batch and starts.dropouts.any():
            fail(where, f"dropout is given and the optimizer of {of} is {type(optimizer).__name__}",
                 "a full-batch optimizer needs one and the same function",
                 "leave it out, or use e.g. Adam")  # fmt: skip


def member_of(model: BaseModel, seed: int, numbers: dict[str, float]) -> BaseModel:
    """A compiled model like `model` with this seed and the numbers of one member (`Starts.one`) in place of its own."""
    layers: list[Layer] = copy.deepcopy(model.layers)
    for layer in _dropouts(layers) if "dropouts" in numbers else []:
        layer.rate = numbers["dropouts"]
    if "penalties" in numbers:
        layers = [_with_penalties(layer, numbers["penalties"]) for layer in layers]
    optimizer, loss = copy.deepcopy((model.optimizer, model.loss))
    if "weight_decays" in numbers:
        config = {**optimizer.get_config(), "weight_decay": numbers["weight_decays"]}
        optimizer = type(optimizer).from_config(config)
    if "learning_rates" in numbers:
        optimizer.learning_rate = numbers["learning_rates"]
    if "label_smoothings" in numbers:
        loss = type(loss).from_config({**loss.get_config(), "label_smoothing": numbers["label_smoothings"]})
    member = type(model).from_config({**model.get_config(), "layers": layers, "seed": seed})
    metrics, weight = copy.deepcopy(model.metrics), numbers.get("loss_weights", model.loss_weights)
    member.compile(optimizer, loss, metrics=metrics, loss_weights=weight)
    member.feature_names = model.feature_names
    return member


def _with_penalties(layer: Layer, factor: float) -> Layer:
    with known_functions(functions_of([layer])):
        return get_layer(_scaled_penalties(layer.to_dict(), factor))


def template_of(model: M) -> M:
    """A model like `model`, compiled likewise, whose tensors are all 0: first values of wide layers take time."""
    with model.runner.lock:
        net = model.net
        net = Net(net.fresh_layers(), net.inputs, net.seed, net.dtype, net.precision, net.monotonic)
        optimizer, loss, metrics = copy.deepcopy((model.optimizer, model.loss, model.metrics))
        weight = model.loss_weights
    made = type(model).__new__(type(model))
    zeros = [np.zeros(spec.shape) for spec in net.tensors]
    for one in net.statistics:
        if one.origin is not None:
            zeros[one.tensors] = one.values()
    made._begin(net, model.device, model.name, zeros)
    made.compile(optimizer, loss, metrics=metrics, loss_weights=weight)
    return made


def grouped(where: str, models: Sequence[BaseModel], model_of: Array, starts: Starts, rows: int) -> list[MemberGroup]:
    """The members, in groups each of which is trained by one engine, or by an engine for each member.

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
    groups, alike = [], _alike(models, model_of, np.minimum(starts.batch_sizes, rows))
    for which in alike:
        model = models[model_of[which[0]]]
        batch_size = check_batch(where, model.optimizer, int(starts.batch_sizes[which[0]]), rows)
        numbers = _own_numbers(models, model_of, starts, which)
        lowered = {**model.optimizer.lower(), **model.optimizer.factors(where, model.net.trained_names)}
        training = {
            "loss": model.loss.lower_for(model.outputs),
            "optimizer": lowered,
            "metrics": [],
            "frozen": model.net.frozen(),
        }
        own = [*numbers, *([] if one_order(starts.of(which)) else ["order_seed"])]
        reason = why_one_by_one(model.device, model.net.program, training, min(batch_size, rows), own)
        if not reason and model.device == "cpu" and len(which) < FEWEST[model.net.itemsize] and len(alike) > 1:
            reason = TOO_FEW
        groups.append(MemberGroup(which, model, numbers, batch_size, reason))
    return groups


def _alike(models: Sequence[BaseModel], model_of: Array, batch_sizes: Array) -> list[Array]:
    """Numbers of the members that are alike, in the order of the first of each."""
    if len(models) == 1 and (batch_sizes == batch_sizes[0]).all():
        return [np.arange(len(model_of))]
    known: dict[str, int] = {}
    kinds = np.array([known.setdefault(_likeness(model), len(known)) for model in models])[model_of]
    _, first, kind = np.unique(np.stack([kinds, batch_sizes]), axis=1, return_index=True, return_inverse=True)
    return [np.flatnonzero(kind.ravel() == number) for number in np.argsort(first)]


def divided(
    groups: Sequence[MemberGroup], models: Sequence[BaseModel], model_of: Array, starts: Starts
) -> list[MemberGroup]:
    """The groups, divided into what one engine trains."""
    found: list[MemberGroup] = []
    for group in groups:
        if group.reason:
            found += group.parts(1)
        elif len(groups) == 1 or group.model.device != "cpu":
            found.append(group)
        else:
            *most, last = group.parts(TOGETHER)
            alone = len(last.which) < FEWEST[group.model.net.itemsize]
            found += [*most, *(replace(last, reason=TOO_FEW).parts(1) if alone else [last])]
    return [replace(group, own=_differing(group, models, model_of, starts.of(group.which))) for group in found]


def _differing(group: MemberGroup, models: Sequence[BaseModel], model_of: Array, starts: Starts) -> frozenset[str]:
    """In which of "learning_rate", "loss_weight" and "order_seed" members differ; `starts`: theirs."""
    common = getattr(group.model.optimizer, "learning_rate", None)
    rates = [getattr(models[i].optimizer, "learning_rate", None) for i in set(model_of[group.which].tolist())]
    factors = starts.loss_weights
    differ = {
        "learning_rate": starts.learning_rates is not None or not all(rate == common for rate in rates),
        "loss_weight": factors is not None and bool((factors != factors[0]).any()),
        "order_seed": not one_order(starts),
    }
    return frozenset(name for name, yes in differ.items() if yes)


def why(groups: Sequence[MemberGroup]) -> str:
    """The reasons of the groups in one text; empty if there is none."""
    count: dict[str, int] = {}
    for group in groups:
        if group.reason:
            count[group.reason] = count.get(group.reason, 0) + len(group.which)
    if len(count) == 1 and all(group.reason for group in groups):
        return next(iter(count))
    total = sum(len(group.which) for group in groups)
    return "; ".join(f"{n:,} of {total:,} members: {reason}" for reason, n in count.items())


def one_order(starts: Starts) -> bool:
    """Whether the rows have the order of each member's own seed, or one for all."""
    return starts.order_seeds is None or bool((starts.order_seeds == starts.order_seeds[0]).all())


def own_rates(group: MemberGroup, models: Sequence[BaseModel], model_of: Array, starts: Starts) -> Array | None:
    """Learning rates of the members, where they are given or not that of the group's model."""
    if "learning_rate" not in group.own:
        return None
    if starts.learning_rates is not None:
        return np.asarray(starts.learning_rates[group.which])
    return np.array([models[i].optimizer.learning_rate for i in model_of[group.which]], dtype=np.float64)


def _own_numbers(models: Sequence[BaseModel], model_of: Array, starts: Starts, which: Array) -> dict[str, Array]:
    """What these members have for themselves, beside the model of the first one."""
    mine = [models[i] for i in model_of[which]] if len(models) > 1 else [models[0]]
    layers = [_dropouts(model.layers) for model in mine]
    if starts.dropouts is not None:
        rates = np.repeat(starts.dropouts[which][:, None], len(layers[0]), axis=1)
    else:
        rates = np.array([[layer.rate for layer in each] for each in layers], dtype=np.float64).reshape(len(mine), -1)
    decays, smoothings = starts.weight_decays, starts.label_smoothings
    given = {
        "dropout": rates,
        "weight_decay": [_decay(one) for one in mine] if decays is None else decays[which],
        "label_smoothing": [_smoothing(one) for one in mine] if smoothings is None else smoothings[which],
        "penalty": 1.0 if starts.penalties is None else starts.penalties[which],
    }
    first = {
        "dropout": [layer.rate for layer in layers[0]],
        "weight_decay": _decay(mine[0]),
        "label_smoothing": _smoothing(mine[0]),
        "penalty": 1.0,
    }
    arrays = {name: np.ascontiguousarray(values, dtype=np.float64) for name, values in given.items()}
    return {name: values for name, values in arrays.items() if (values != first[name]).any()}


def _decay(model: BaseModel) -> float:
    return getattr(model.optimizer, "weight_decay", None) or 0.0


def _smoothing(model: BaseModel) -> float:
    return float(model.loss.lower()["label_smoothing"])


def _likeness(model: BaseModel) -> str:
    """Equal for models that differ in seeds, names, constant learning rates and what `_own_numbers` finds only."""
    config = model.get_config()
    del config["seed"], config["name"], config["layers"]
    layers = copy.deepcopy(model.layers)
    for layer in _dropouts(layers):
        layer.rate = 0.0
    optimizer, loss = model.optimizer.to_dict(), model.loss.to_dict()
    if not isinstance(getattr(model.optimizer, "learning_rate", None), Schedule):
        optimizer["config"].pop("learning_rate", None)
    optimizer["config"].pop("weight_decay", None)
    loss["config"].pop("label_smoothing", None)
    own = [id(getattr(model.loss, "fn", None)), *(id(type(metric)) for metric in model.metrics)]  # names may be alike
    rest = [
        [one.computation.functions for one in functions_in_order(layers)],
        own,
        [layer.to_dict() for layer in layers],
        optimizer,
        loss,
        [metric.to_dict() for metric in model.metrics],
    ]
    return json.dumps([type(model).__qualname__, config, rest], default=repr, sort_keys=True)


def _dropouts(layers: Sequence[Layer]) -> list[Any]:
    """The dropout layers, in the order of their ops."""
    found: list[Any] = []
    for layer in layers:
        if isinstance(layer, Dropout):
            found.append(layer)
        if isinstance(layer, Composite):
            for chain in layer.chains:
                found += _dropouts(chain)
    return found


def _scaled_penalties(config: Any, factor: float, inside: bool = False) -> Any:
    """A layer's config with the factors of all its regularizers multiplied by `factor`."""
    if isinstance(config, dict):
        return {key: _scaled_penalties(value, factor, inside or str(key).endswith("_regularizer"))
                for key, value in config.items()}  # fmt: skip
    if isinstance(config, list):
        return [_scaled_penalties(value, factor, inside) for value in config]
    return config * factor if inside and isinstance(config, float) else config
