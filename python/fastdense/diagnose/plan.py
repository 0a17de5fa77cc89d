"""A plan: a net and its training as an immutable description, which remedies change."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from ..arrays import Array
from ..layers import (
    Activation,
    CategoryEmbedding,
    Composite,
    Dense,
    Dropout,
    Function,
    Layer,
    Normalization,
    NumericEmbedding,
    Preprocessing,
)
from ..losses import Loss
from ..metrics import Metric
from ..model.base import BaseModel
from ..optimizers import Optimizer
from ..specs import Spec

S = TypeVar("S", bound=Spec)
Change = Callable[[Dense], Layer]


@dataclass(frozen=True, eq=False)
class InitialWeights:
    """Initial weights set by the user; two are equal only if they are the same object."""

    tensors: tuple[Array, ...]

    def set_on(self, model: BaseModel) -> None:
        """Set them, from the last tensor backwards, as far as their shapes match the model."""
        weights = model.get_weights()
        for i in range(1, min(len(weights), len(self.tensors)) + 1):
            if weights[-i].shape != self.tensors[-i].shape:
                break
            weights[-i] = self.tensors[-i]
        model.set_weights(weights)


@dataclass(frozen=True)
class Plan:
    """Everything that determines a net and its training; immutable, so that trials cannot affect each other.

    Attributes
    ----------
    factory : type
        Class of the model.
    layers : tuple of Layer
    optimizer : Optimizer
    loss : Loss
    metrics : tuple of Metric
    inputs, seed : int
    dtype, device : str
    batch_size, epochs : int
    shuffle : bool
    starts : int
        As in `Model.fit`.
    initial_weights : InitialWeights or None
        Initial weights, if they are not those of the seed.
    loss_weights : float
        As in `Model.compile`.
    closed_form : bool
        Whether hidden units are placed on the data and the last layer is solved for, before the first epoch.
    class_weight : dict, "balanced" or None
        As in `Model.fit`; without effect on a loss that has no classes.
    weighted : bool
        Whether the subject's sample weights are used.
    validation_split : float
        Of the user's `fit`; trials have the rows of either side apart.
    """

    factory: type[BaseModel] = field(repr=False)
    layers: tuple[Layer, ...]
    optimizer: Optimizer
    loss: Loss
    metrics: tuple[Metric, ...] = ()
    inputs: int = 1
    seed: int = 0
    dtype: str = "float32"
    device: str = "cpu"
    name: str = "model"
    batch_size: int = 32
    epochs: int = 1
    shuffle: bool = True
    starts: int = 1
    initial_weights: InitialWeights | None = None
    loss_weights: float = 1.0
    closed_form: bool = False
    class_weight: Any = None
    weighted: bool = True
    validation_split: float = 0.0

    @classmethod
    def of(
        cls, model: BaseModel, batch_size: int, epochs: int, shuffle: bool, initial_weights: list[Array] | None
    ) -> Plan:
        """The plan of a compiled model; `initial_weights` None for those of the seed."""
        return cls(
            type(model),
            tuple(model.net.fresh_layers()),
            model.optimizer,
            model.loss,
            tuple(model.metrics),
            model.inputs,
            model.seed,
            model.dtype,
            model.device,
            model.name,
            batch_size,
            epochs,
            shuffle,
            1,
            None if initial_weights is None else InitialWeights(tuple(initial_weights)),
            model.loss_weights,
        )

    def build(self) -> BaseModel:
        """Make the model, compiled, not trained."""
        model = self.factory(
            copy.deepcopy(list(self.layers)),
            inputs=self.inputs,
            seed=self.seed,
            dtype=self.dtype,
            device=self.device,
            name=self.name,
        )
        fitting = [m for m in copy.deepcopy(self.metrics) if _fits(m, self.loss, model.outputs)]
        optimizer, loss = copy.deepcopy((self.optimizer, self.loss))
        model.compile(optimizer, loss, metrics=fitting, loss_weights=self.loss_weights)
        model._may_be_constant = True  # trials of sick nets train such nets, too
        if self.initial_weights is not None:
            self.initial_weights.set_on(model)
        return model

    def solve(self, model: BaseModel, x: Array, y: Array, weights: Array | None) -> BaseModel:
        """Give a model built from this plan what it has before the first epoch."""
        if self.closed_form:
            model.place(x)
            model.solve_output(x, y, sample_weight=weights)
        return model

    def fit_options(self) -> dict[str, Any]:
        """Keyword arguments for `Model.fit`."""
        options: dict[str, Any] = {"epochs": self.epochs, "shuffle": self.shuffle}
        if not self.optimizer.full_batch:
            options["batch_size"] = self.batch_size
        if self.starts > 1:
            options["starts"] = self.starts
        one = len(self.dense()) > 0 and self.dense()[-1].units == 1
        if self.class_weight is not None and (self.loss.over_classes or (self.loss.classifies and one)):
            options["class_weight"] = self.class_weight
        return options

    # ---- reading ---------------------------------------------------------------------------------------------------

    def dense(self) -> list[Dense]:
        """All dense layers, those inside blocks included."""
        return [layer for layer in flat(self.layers) if isinstance(layer, Dense)]

    def last_dense(self) -> int:
        """Index of the last dense layer, -1 if there is none at the top level or a block comes after it."""
        return _last(self.layers, Dense)

    def output_activation(self) -> str:
        """Name of the output activation; a rescaling after it does not count."""
        return output_activation(self.layers)

    def hidden_activations(self) -> list[str]:
        """Names of the activations of everything but the output, "linear" left out."""
        names = [layer.activation for layer in flat(self.layers) if isinstance(layer, (Dense, Activation))]
        if self.layers and isinstance(self.layers[-1], Activation) and len(names) >= 2:
            names.pop(-2)  # the dense layer before the output activation
        return [name for name in names[:-1] if name != "linear"]

    def computes_functions(self) -> bool:
        """Whether a layer computes a function of the user's own, of which nothing is known here."""
        return any(isinstance(layer, Function) for layer in flat(self.layers))

    def hidden_widths(self) -> list[int]:
        """Units of every hidden dense layer."""
        return [layer.units for layer in self.dense()[:-1]]

    # ---- changing --------------------------------------------------------------------------------------------------

    def with_layers(self, layers: list[Layer]) -> Plan:
        """The same plan for other layers."""
        return replace(self, layers=tuple(layers))

    def each(self, change: Change, *, last: bool = True, hidden: bool = True) -> Plan:
        """Change every dense layer: hidden ones, the last, or both."""
        end = self.last_dense()

        def walk(layers: tuple[Layer, ...] | list[Layer], top: bool) -> list[Layer]:
            made: list[Layer] = []
            for i, layer in enumerate(layers):
                if isinstance(layer, Composite):
                    made.append(layer.with_chains([walk(chain, False) for chain in layer.chains]))
                elif isinstance(layer, Dense):
                    wanted = last if top and i == end else hidden
                    made.append(change(layer) if wanted else layer)
                else:
                    made.append(layer)
            return made

        return self.with_layers(walk(self.layers, True))

    def with_output(self, units: int, activation: str, loss: Loss) -> Plan:
        """Replace the last layer's width and activation and the loss; layers after the last dense layer are removed."""
        end = self.last_dense()
        if end < 0:
            return replace(self, layers=(*self.layers, Dense(units, activation)), loss=loss, loss_weights=1.0)
        layers = [*self.layers[:end], changed(self.layers[end], units=units, activation=activation)]
        return replace(self, layers=tuple(layers), loss=loss, loss_weights=1.0)

    def with_activation(self, activation: str) -> Plan:
        """Replace the hidden activations, with initial kernels that suit the new one."""
        end = self.last_dense() if self.last_dense() >= 0 else len(self.layers)

        def change(layer: Layer) -> Layer:
            if isinstance(layer, Composite):
                return layer.with_chains([[change(inner) for inner in chain] for chain in layer.chains])
            if isinstance(layer, (Dense, Activation)):
                new: dict[str, Any] = {"activation": activation}
                if isinstance(layer, Dense):
                    if layer.activation == "linear" and _followed(self.layers, layer):
                        return layer
                    new |= {"kernel_initializer": "auto", "bias_initializer": "zeros"}
                elif isinstance(layer, Activation):
                    new["alpha"] = None
                return changed(layer, **new)
            return layer

        return self.with_layers([*map(change, self.layers[:end]), *self.layers[end:]])

    def with_dropout(self, change: Callable[[float], float]) -> Plan:
        """Change the rate of every dropout layer; those of rate 0 are removed."""

        def inside(layer: Layer) -> Layer:
            if isinstance(layer, Composite):
                return layer.with_chains([[inside(inner) for inner in chain] for chain in layer.chains])
            return Dropout(change(layer.rate), layer.name) if isinstance(layer, Dropout) else layer

        gone = [isinstance(layer, Dropout) and change(layer.rate) <= 0 for layer in self.layers]
        return self.with_layers([inside(layer) for layer, off in zip(self.layers, gone, strict=True) if not off])

    @property
    def front(self) -> tuple[Preprocessing, ...]:
        """The layers in front that encode columns of the data."""
        return tuple(itertools.takewhile(lambda layer: isinstance(layer, Preprocessing), self.layers))  # type: ignore[arg-type]

    def reads_columns(self) -> bool:
        """Whether layers work on chosen columns of the data, whose numbers and meaning must stay."""
        return any(isinstance(layer, (CategoryEmbedding, NumericEmbedding)) for layer in flat(self.layers))

    def normalized(self) -> bool:
        """Whether the first layer, after those that encode columns, standardizes the data."""
        return isinstance(next(iter(self.layers[len(self.front) :]), None), Normalization)


def output_index(layers: Sequence[Layer]) -> int:
    """Index of the layer with the output activation, -1 if there is none."""
    return _last(layers, Dense, Activation)


def _last(layers: Sequence[Layer], *kinds: type[Layer]) -> int:
    """Index of the last layer of these kinds, -1 if there is none or a block comes after it."""
    last = max((i for i, layer in enumerate(layers) if isinstance(layer, (*kinds, Composite))), default=-1)
    return last if last >= 0 and isinstance(layers[last], kinds) else -1


def output_activation(layers: Sequence[Layer]) -> str:
    """Name of that activation, "linear" if there is none."""
    last = layers[output_index(layers)]
    return last.activation if isinstance(last, (Dense, Activation)) else "linear"


def flat(layers: Iterable[Layer]) -> list[Layer]:
    """All layers, with those that blocks are made of in their place."""
    found: list[Layer] = []
    for layer in layers:
        found += flat(itertools.chain.from_iterable(layer.chains)) if isinstance(layer, Composite) else [layer]
    return found


def _followed(layers: tuple[Layer, ...], layer: Layer) -> bool:
    """Whether a linear dense layer has its activation in a layer after it."""
    place = next((i for i, other in enumerate(layers) if other is layer), -1)
    for after in layers[place + 1 :] if place >= 0 else ():
        if isinstance(after, (Activation, Function)):
            return True
        if isinstance(after, (Dense, Composite)):
            return False
    return False


def changed(spec: S, **new: Any) -> S:
    """A layer, loss or optimizer like `spec` with other arguments."""
    config = {**spec.get_config(), **new}
    if "activation" in new and isinstance(spec, Activation):
        config.setdefault("alpha", None)
    return type(spec).from_config(config)


def _fits(metric: Metric, loss: Loss, outputs: int) -> bool:
    try:
        metric.lower(loss, outputs)
    except (ValueError, TypeError):
        return False
    return True
