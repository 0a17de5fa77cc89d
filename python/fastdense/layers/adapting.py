"""`Adapting`: base of the layers that take numbers from data."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arrays import beside, to_host
from .base import Array, Layer, check_adapted_part, data_to_adapt

A = TypeVar("A", bound="Adapting")
Data = NDArray[Any]


class Adapting(Layer):
    """Base of the layers that take numbers from data: by `adapt`, or else from the data of the first ``fit``.

    These numbers are `statistics`. Where they are tensors of the model, they are the first ones of the layer, and
    saved with its weights; else they are part of the config. `adapt` may also be called on the layer of a model that is
    built already: every call makes new arrays, which the model notices and takes over before it computes the next time.

    Attributes
    ----------
    statistics : tuple of ndarray, or None
        Read-only float64 arrays; None before they are known.
    statistic_tensors : int
        Number of tensors that are statistics.
    most_rows : int or None
        If data has more rows, so many that are chosen at random (always the same ones) decide; None: all do.

    Examples
    --------
    >>> import fastdense as fd
    >>> isinstance(fd.Normalization(), fd.layers.Adapting)
    True
    """

    statistics: tuple[Array, ...] | None = None
    statistic_tensors: ClassVar[int] = 0
    most_rows: ClassVar[int | None] = None

    @property
    def adapts(self) -> bool:
        """Whether there are any; False for a layer that needs none with its arguments."""
        return True

    @property
    def adapted(self) -> bool:
        """Whether the statistics are known."""
        return self.statistics is not None

    def adapt(self: A, x: ArrayLike) -> A:
        """Take the statistics from data, as it reaches the layer.

        Parameters
        ----------
        x : array of shape (n, columns)
            Bool, integer or float; one on a GPU is worked on there.

        Returns
        -------
        Adapting
            The layer itself.

        Raises
        ------
        ValueError
            If the data is empty, not two-dimensional, not numeric, holds NaN or infinity, or lacks a column.
        """
        where = f"{type(self).__name__}.adapt"
        data = data_to_adapt(where, x)
        self.settle(where, data)
        self.set_statistics(*self.measured(where, self.chosen_rows(data)))
        return self

    def set_statistics(self, *values: ArrayLike) -> None:
        """Set the statistics, in their order; for a model that has read them from a file."""
        checked = self.checked_statistics(*(np.array(value, dtype=np.float64) for value in values))
        for array in checked:
            array.flags.writeable = False
        self.statistics = checked

    def forget(self) -> None:
        """Be as before any data was seen."""
        self.statistics = None

    def chosen_rows(self, x: Data) -> Data:
        """The rows that decide, where x lies."""
        if self.most_rows is None or len(x) <= self.most_rows:
            return x
        rows = np.sort(np.random.default_rng(0).choice(len(x), self.most_rows, replace=False))
        made: Data = x[beside(rows, x)]
        return made

    def settle(self, where: str, data: Data) -> None:
        """Check the data of `adapt`, and decide on what must not change when the layer is in a net."""

    def placed(self, inputs: int) -> None:
        """Decide likewise for a layer that is put in a net, behind so many columns."""

    def last_column(self, inputs: int) -> int:
        """The last column, of so many, of which there are statistics."""
        return inputs - 1

    def measured(self, where: str, data: Data) -> tuple[Array, ...]:
        """The statistics of data (rows, columns)."""
        raise NotImplementedError

    def checked_statistics(self, *values: Array) -> tuple[Array, ...]:
        """The same arrays; ValueError unless they are statistics of this layer."""
        raise NotImplementedError


def host_column(where: str, data: Data, column: int, missing: bool = False) -> Array:
    """A column of data as float64 in the host's memory, without NaN; with any unless `missing` is an error."""
    values: Array = to_host(data[:, column]).astype(np.float64)
    if missing:
        return values[~np.isnan(values)]
    check_adapted_part(where, values[:, None], 0, column)
    return values


def check_columns(where: str, data: Data, columns: list[int]) -> None:
    """Raise if data lacks one of the columns, which are in ascending order."""
    if columns[-1] >= data.shape[1]:
        raise ValueError(f"{where}: x has {data.shape[1]} columns, and there is no column {columns[-1]}.")
