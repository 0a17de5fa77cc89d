"""Layers of fixed numbers: `Normalization`, which takes them from the data, and `Rescaling`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arguments import one_or_more, optional_text
from ..arrays import namespace_of, to_host
from ..initializers import Initializer
from ..specs import Config
from .adapting import Adapting
from .base import Array, DrawFor, Layer, TensorSpec, check_adapted_part

__all__ = ["Normalization", "Rescaling"]

# Rows times columns that `Normalization.adapt` holds as float64 at a time.
_CHUNK_ELEMENTS = 1 << 20


class Normalization(Adapting, names=("normalization",)):
    """Scales each column of the data to mean 0 and variance 1; a constant column becomes 0.

    Mean and variance come from `adapt`, or else from the data of the first ``fit``. They are kept here as
    ``layer.mean`` and ``layer.variance`` (read-only float64 arrays, None before) and are tensors of the model, saved
    with its weights; they are no part of the config. The data is read piece by piece, so that a memory-mapped array may
    be of any size.

    Parameters
    ----------
    name : str, optional
        Name of the layer in tables and files; None lets the model number it.

    Examples
    --------
    >>> from fastdense.layers import Normalization
    >>> Normalization().adapt([[1.0], [3.0]]).mean.tolist()
    [2.0]
    """

    statistic_tensors = 2

    def __init__(self, name: str | None = None) -> None:
        self.name = optional_text("Normalization: name", name)

    @property
    def mean(self) -> Array | None:
        """Mean of each column."""
        return None if self.statistics is None else self.statistics[0]

    @property
    def variance(self) -> Array | None:
        """Biased variance of each column."""
        return None if self.statistics is None else self.statistics[1]

    def settle(self, where: str, data: NDArray[Any]) -> None:
        if self.mean is not None and self.mean.size != data.shape[1]:
            raise ValueError(
                f"{where}: x has {data.shape[1]} columns, but the layer has {self.mean.size}. Give as many columns."
            )

    def measured(self, where: str, data: NDArray[Any]) -> tuple[Array, ...]:
        moments = Moments(where)
        moments.add(data)
        return moments.result()

    def checked_statistics(self, *values: Array) -> tuple[Array, ...]:
        m, v = values
        if m.ndim != 1 or m.shape != v.shape or not np.isfinite(m).all() or not (np.isfinite(v) & (v >= 0)).all():
            raise ValueError(
                f"Normalization: mean of shape {m.shape} and variance of shape {v.shape}. "
                "Give two finite vectors of one length, the variance at least 0."
            )
        return values

    def lower(self, inputs: int) -> list[Config]:
        return [{"kind": "normalization"}]

    def tensors(self, inputs: int) -> list[TensorSpec]:
        if self.mean is not None and self.mean.size != inputs:
            raise ValueError(
                f"Normalization: adapted to {self.mean.size} columns, but its input has {inputs}. "
                "Call adapt with data of that width."
            )
        return [TensorSpec(name, (inputs,), False) for name in ("mean", "variance")]

    def initial_values(self, inputs: int, draw: DrawFor) -> list[Array]:
        values = super().initial_values(inputs, draw)
        return values if self.statistics is None else [one.copy() for one in self.statistics]

    def fixed_width(self, inputs: int) -> int:
        return inputs

    def fixed_outputs(self, x: Array, tensors: Sequence[Array]) -> Array:
        xp = namespace_of(x)
        mean, variance = map(xp.asarray, tensors)
        made: Array = (x - mean) / xp.where(variance == 0, 1.0, xp.sqrt(variance))
        return made


class Moments:
    """Mean and biased variance of each column of data that comes in parts.

    The first row is subtracted before anything is summed, so that a constant column has variance exactly 0; pieces are
    merged by the rule of Chan, Golub & LeVeque (1979).

    Parameters
    ----------
    where : str
        For messages.
    """

    def __init__(self, where: str) -> None:
        self.where, self.rows = where, 0

    def add(self, data: NDArray[Any]) -> None:
        """Take rows into account, piece by piece."""
        xp = namespace_of(data)
        step = max(1, _CHUNK_ELEMENTS // data.shape[1])
        origin = self.origin if self.rows else data[0].astype(np.float64)
        for start in range(0, len(data), step):
            piece = data[start : start + step].astype(np.float64)
            check_adapted_part(self.where, piece, self.rows)
            with np.errstate(over="ignore", invalid="ignore"):
                piece -= origin
                piece_mean = piece.mean(axis=0)
                self.merge(len(piece), origin, piece_mean, xp.square(piece - piece_mean).sum(axis=0))

    def merge(self, rows: int, origin: Array, mean: Array, squares: Array) -> None:
        """Take into account the moments of other rows: how many, and an object's attributes after them."""
        if not self.rows:
            xp = namespace_of(mean)
            self.origin, self.mean, self.squares = origin, xp.zeros(len(mean)), xp.zeros(len(mean))
        done = self.rows + rows
        gap = (origin - self.origin) + mean - self.mean
        self.squares = self.squares + (squares + gap**2 * (self.rows * rows / done))
        self.mean = self.mean + gap * (rows / done)
        self.rows = done

    def result(self) -> tuple[Array, Array]:
        """Mean and variance."""
        if not namespace_of(self.squares).isfinite(self.squares).all():
            raise ValueError(f"{self.where}: the variance of x overflows. Scale it down first.")
        return to_host(self.origin + self.mean), to_host(self.squares / self.rows)


class _Given(Initializer):
    """The numbers that a layer was given, one for all columns or one per column."""

    _random: ClassVar[str] = "no"

    def __init__(self, numbers: float | list[float]) -> None:
        self.numbers = numbers

    def values(self, shape: tuple[int, ...], seed: int, index: int) -> Array:
        made = np.empty(shape)
        made[:] = self.numbers
        return made


class Rescaling(Layer, names=("rescaling",)):
    """``x * scale + offset`` with fixed numbers, which training leaves alone. It may stand anywhere in a net.

    At the end it undoes a scaling of the targets: ``[..., Dense(1), Rescaling(y.std(), y.mean())]`` takes and gives raw
    targets while the layers before it work with numbers of about 1. ``Rescaling(1 / 255)`` at the front scales pixels.
    softmax must end a net, so it cannot come before a Rescaling.

    Scale and offset are tensors of the model, in its dtype.

    Parameters
    ----------
    scale, offset : float or sequence of float
        One number for all columns, or one per column. A scale of 0 is refused: nothing would be left of the column.
    name : str, optional
        Name of the layer in tables and files; None lets the model number it.

    Raises
    ------
    ValueError, TypeError
        If a number is not finite, a scale is 0, or (in a net) there are not as many numbers as columns.

    Examples
    --------
    >>> from fastdense.layers import Rescaling
    >>> Rescaling(1 / 255)
    Rescaling(0.00392156862745098)
    """

    def __init__(self, scale: ArrayLike, offset: ArrayLike = 0.0, name: str | None = None) -> None:
        self.scale = one_or_more("Rescaling: scale", scale)
        self.offset = one_or_more("Rescaling: offset", offset)
        if 0.0 in np.atleast_1d(self.scale):
            raise ValueError("Rescaling: scale holds 0, which leaves nothing of a column. Give numbers other than 0.")
        self.name = optional_text("Rescaling: name", name)

    def lower(self, inputs: int) -> list[Config]:
        return [{"kind": "rescaling"}]

    def tensors(self, inputs: int) -> list[TensorSpec]:
        for name, numbers in (("scale", self.scale), ("offset", self.offset)):
            if isinstance(numbers, list) and len(numbers) != inputs:
                raise ValueError(
                    f"Rescaling: {name} holds {len(numbers)} numbers, but its input has {inputs} columns. "
                    "Give one number for all, or one per column."
                )
        return [TensorSpec(name, (inputs,), False) for name in ("scale", "offset")]

    def fixed_width(self, inputs: int) -> int:
        return inputs

    def fixed_outputs(self, x: Array, tensors: Sequence[Array]) -> Array:
        scale, offset = (namespace_of(x).asarray(one[: x.shape[1]]) for one in tensors)
        made: Array = x * scale + offset
        return made

    def _initializer(self, tensor: str) -> Initializer:
        return _Given(self.scale if tensor == "scale" else self.offset)
