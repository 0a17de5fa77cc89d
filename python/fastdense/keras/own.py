"""Layers whose formula is the user's: ``call()`` of a subclass, the function of a `Lambda`, arithmetic on tensors."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from .. import layers as core_layers
from ..arrays import Array
from . import initializers
from .formula import Formula, OwnWeight, running
from .ops.neural import float_type
from .ops.tape import plain
from .settings import floatx, next_seed
from .variables import Variable

Shape = tuple[int, ...]


class Own:
    """What a layer computes itself, and the weights that it has added.

    Parameters
    ----------
    layer : Layer
    function : callable
        Of a tensor, or of several in a list; with `training` if it has such an argument.
    """

    def __init__(self, layer: Any, function: Callable[..., Any]) -> None:
        self.layer, self.function = layer, function
        self.added: list[OwnWeight] = []
        self.built = False
        self.shapes: list[Shape] | None = None  # of the tensors, if it was called on a list
        self._takes_training = _takes_training(function)
        self._made: dict[Shape, tuple[Formula, core_layers.Function]] = {}

    @property
    def weights(self) -> list[OwnWeight]:
        """Those that are trained first, as in Keras."""
        return sorted(self.added, key=lambda one: not one._trains)

    def __call__(self, x: Any, training: bool) -> Any:
        """The function's value."""
        return self.function(x, training=training) if self._takes_training else self.function(x)

    # ---- weights ---------------------------------------------------------------------------------------------------

    def add(
        self, shape: Any, initializer: Any, dtype: Any, trainable: bool, regularizer: Any, constraint: Any, name: Any
    ) -> OwnWeight:
        """Add a weight."""
        layer = self.layer
        where = f"{layer.name}: add_weight"
        if isinstance(shape, str):
            raise TypeError(
                f"{where}: shape={shape!r}. Since Keras 3 the shape comes first: add_weight(shape, name=...)."
            )
        if dtype not in (None, floatx(), "float32"):
            raise TypeError(f"{where}: dtype={dtype!r}. All weights have the dtype of the model, {floatx()!r}.")
        given = () if shape is None else (shape,) if isinstance(shape, int) else tuple(int(n) for n in shape)
        names = [one.name for one in self.added]
        base = str(name or "variable")
        plain_name = next(n for n in (base, *(f"{base}_{i}" for i in range(1, len(names) + 2))) if n not in names)
        if layer.owner is not None:
            raise ValueError(f"{where}: the layer has its weights already. Add them in __init__() or build().")
        chosen = initializers.get("glorot_uniform" if initializer is None else initializer)
        options = {"initializer": chosen, "trainable": bool(trainable), "regularizer": regularizer,
                   "constraint": constraint}  # fmt: skip
        core_layers.Weight(plain_name, given, **options)  # checks the arguments
        values = np.asarray(chosen.values(given, chosen.seed if chosen.seed is not None else next_seed(), 0))
        made = OwnWeight(layer, plain_name, values.reshape(given), options)
        self.added.append(made)
        self._made.clear()
        return made

    def build(self, shape: Any) -> None:
        """Call the layer's own ``build()``, once, for rows of this shape or of several."""
        if self.built or self.layer.owner is not None:
            return
        self.built = True
        several = self.shapes is not None
        try:
            self.layer.build([(None, *one) for one in self.shapes or ()] if several else (None, *shape))
        except BaseException:
            self.built, self.added = False, []
            raise
        for attribute, value in vars(self.layer).items():
            if isinstance(value, Variable) and not isinstance(value, OwnWeight):
                raise TypeError(
                    f"{self.layer.name}: its attribute {attribute!r} is a keras.Variable, which training would not "
                    "change. Use self.add_weight(shape=..., initializer=...)."
                )

    def take(self, shapes: list[Shape] | None) -> None:
        """Note the shapes of the tensors of a list on which the layer is called; None: it is called on one tensor."""
        if self.built and shapes != self.shapes:
            raise ValueError(
                f"{self.layer.name}: called on tensors of rows {shapes}, after it was called on {self.shapes}. Create "
                "a layer for each."
            )
        self.shapes = shapes

    def values(self) -> list[Array]:
        """Values of the weights of a layer that no model holds yet."""
        given = self.layer.first_weights
        return [np.array(one) for one in given] if given is not None else [one.first.copy() for one in self.weights]

    # ---- the formula -----------------------------------------------------------------------------------------------

    def made(self, shape: Shape) -> tuple[Formula, core_layers.Function]:
        """The formula and the inner layer, for rows of this shape."""
        self.build(shape)
        shapes = [shape] if self.shapes is None else self.shapes
        shape = shape if self.shapes is None else (sum(map(math.prod, shapes)),)
        if shape not in self._made:
            weights = self.weights
            formula = Formula(self, self.layer.name, shapes, self.shapes is not None, weights)
            specs = [core_layers.Weight(w.name, w.first.shape, **w.options) for w in weights]
            function = core_layers.Function(formula, weights=specs)
            function.output_width(math.prod(shape))  # a trial, which finds the shape of the outputs
            self._made[shape] = formula, function
            self._check_shape(shape, formula.output_shape)
        return self._made[shape]

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of a row of the outputs."""
        return self.made(shape)[0].output_shape

    def _check_shape(self, shape: Shape, found: Shape) -> None:
        given = (None, *shape) if self.shapes is None else [(None, *one) for one in self.shapes]
        said = self.layer.said_shape(given)
        if said is not None and tuple(said)[1:] != found:
            raise ValueError(
                f"{self.layer.name}: its compute_output_shape() or output_shape says {tuple(said)}, and a row of its "
                f"outputs has shape {found}. Make them agree, or leave it out."
            )

    def on_arrays(self, x: Any, training: bool) -> Array:
        """Outputs for arrays with rows."""
        listed = isinstance(x, (list, tuple))
        arrays = [_in_type(np.asarray(one)) for one in (x if listed else [x])]
        if listed and self.shapes is None:
            self.shapes = [one.shape[1:] for one in arrays]
        self.build(arrays[0].shape[1:])
        every = self.layer.get_weights()
        with running({id(one): np.asarray(v) for one, v in zip(self.weights, every, strict=True)}):
            return np.asarray(plain(self(arrays if listed else arrays[0], training)))


def refused(layer: Any, what: str) -> NoReturn:
    """Raise for a method of Keras's layers that is not offered."""
    remedies = {
        "add_loss": "Give regularizer= to add_weight, activity_regularizer= to Dense, or a loss of your own to compile",
        "add_metric": "Compute it in a callback, or from model.predict(x)",
    }
    raise TypeError(f"{layer.name}: {what}() is not offered. {remedies[what]}.")


def _takes_training(function: Callable[..., Any]) -> bool:
    try:
        return "training" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # a function of NumPy's, which has no signature
        return False


def _in_type(array: NDArray[Any]) -> NDArray[Any]:
    """Floating-point numbers in the type of the layers."""
    return array.astype(float_type(), copy=False) if array.dtype.kind == "f" else array
