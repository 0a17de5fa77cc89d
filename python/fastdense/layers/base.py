"""Base class of the layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import initializers
from ..arguments import flag
from ..arrays import as_array, first_place, namespace_of
from ..initializers import Draw
from ..specs import Config, Spec, resolve


def get(value: Any, where: str = "layer") -> Layer:
    """Return a layer from an object, a name, a class or a config dict; see `fastdense.specs.resolve`."""
    try:
        return resolve(Layer, value, where)
    except RecursionError:
        raise ValueError(f"{where}: layers are nested too deeply. Give at most 64 in one another.") from None


Array = NDArray[np.float64]
DrawFor = Callable[[tuple[int, ...]], Draw]


def data_to_adapt(where: str, x: object) -> NDArray[Any]:
    """Data from which a layer's `adapt` takes what it must know: (rows, columns), where it lies."""
    data = as_array(where, "x", x, "cuda")
    if data.ndim != 2 or 0 in data.shape:
        raise ValueError(f"{where}: x has shape {data.shape}. Give an array of shape (rows, columns), not empty.")
    return data


def check_adapted_part(where: str, part: NDArray[Any], row: int, column: int = 0) -> None:
    """Raise if a part of such data, float64, holds NaN or infinity; it begins at this row and column."""
    bad = ~namespace_of(part).isfinite(part)
    if bad.any():
        i, j = first_place(bad)
        raise ValueError(
            f"{where}: x holds {part[i, j].item()} at row {row + i}, column {column + j}. "
            "Remove or fill such values first."
        )


class TensorSpec(NamedTuple):
    """A tensor of a layer: its name within the layer, its shape, and whether training changes it by its gradient."""

    name: str
    shape: tuple[int, ...]
    trainable: bool


class Layer(Spec, family="layer"):
    """Base of the layers.

    Attributes
    ----------
    name : str or None
    trainable : bool
        Whether training changes its tensors; may be assigned, and counts from the next `compile` on. A `BatchNorm` that
        is not trainable normalizes by its moving statistics in training, too, as in Keras. What is not trained has no
        penalty either.
    operations : int
        Element-wise ones per row and output in a training step, for estimates of work.
    """

    name: str | None = None
    operations: ClassVar[int] = 2
    _trainable: bool = True

    @property
    def trainable(self) -> bool:
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = flag(f"{type(self).__name__}: trainable", value)

    def trained_tensors(self, inputs: int) -> list[bool]:
        """Return whether training changes each tensor by its gradient."""
        return [spec.trainable and self.trainable for spec in self.tensors(inputs)]

    def kept_tensors(self, inputs: int) -> list[bool]:
        """Return whether each tensor keeps its values because its layer is not trainable."""
        return [not self.trainable] * len(self.tensors(inputs))

    def frozen_ops(self, inputs: int) -> list[bool]:
        """Return for each op whether it has tensors that would be trained if the layer was trainable."""
        frozen = not self.trainable and any(spec.trainable for spec in self.tensors(inputs))
        return [frozen] * len(self.lower(inputs))

    def output_width(self, inputs: int) -> int:
        """Return the number of outputs for this number of inputs."""
        return inputs

    def lower(self, inputs: int) -> list[Config]:
        """Return the ops of the layer, for an input of so many columns, in the form that engines accept."""
        raise NotImplementedError

    def tensors(self, inputs: int) -> list[TensorSpec]:
        """Return the layer's tensors, in the order in which the engines keep them."""
        return []

    def check_dtype(self, dtype: str) -> None:
        """Raise if the layer's numbers are not good ones in the dtype of a model."""

    def fixed_width(self, inputs: int) -> int:
        """Number of leading outputs that training cannot change, if that is so of all inputs."""
        return 0

    def fixed_outputs(self, x: Array, tensors: Sequence[Array]) -> Array:
        """These outputs for float64 rows (rows, inputs), where x lies; `tensors` are the layer's."""
        raise NotImplementedError

    def initial_values(self, inputs: int, draw: DrawFor) -> list[Array]:
        """Return the first values of the tensors.

        Parameters
        ----------
        inputs : int
            Width of the layer's input.
        draw : callable
            Called once for every tensor, in order, with its shape; returns the tensor's random source
            (`fastdense.initializers.Draws` is one).
        """
        return [self._initializer(spec.name)(spec.shape, *draw(spec.shape)) for spec in self.tensors(inputs)]

    def many_initial_values(self, inputs: int, seeds: Any, index: int) -> list[Array]:
        """Return the first values for many models: each of shape (seeds, ...).

        Parameters
        ----------
        inputs : int
        seeds : ndarray of uint64
        index : int
            Number of the layer's first tensor in the model.
        """
        specs = self.tensors(inputs)
        if type(self).initial_values is Layer.initial_values:
            return [self._initializer(s.name).many(s.shape, seeds, index + i) for i, s in enumerate(specs)]
        each = []
        for seed in seeds:
            draws = initializers.Draws(int(seed))
            draws.index = index
            each.append(self.initial_values(inputs, draws))
        return [np.stack(values) for values in zip(*each, strict=True)]

    def _initializer(self, tensor: str) -> initializers.Initializer:
        return initializers.Ones() if tensor in ("gamma", "moving_variance", "variance") else initializers.Zeros()
