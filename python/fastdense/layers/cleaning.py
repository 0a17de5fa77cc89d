"""Layers that clean the columns of a table in front of a net: `Impute` and `RobustScale`.

They are `Preprocessing` layers, so that engines never see them, and take what they need to know from data (`Adapting`);
it is part of their config.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ..arguments import flag, number, one_or_more, optional_text
from ..arrays import first_place, namespace_of
from .adapting import Adapting, Data, check_columns, host_column
from .base import Array
from .preprocessing import Preprocessing, blocks, columns_argument

__all__ = ["Impute", "RobustScale"]


class _Cleaning(Preprocessing, Adapting):
    """Base of both: numbers for each of `columns`, which are arguments of the layer too."""

    most_rows = 1 << 20
    rising = True

    def _numbers(self, i: int) -> list[float] | None:
        return None if self.statistics is None else self.statistics[i].tolist()

    def _given(self) -> dict[str, int]:
        names = [name for name in ("fill", "center", "scale") if name in self.__signature__.parameters]
        return {name: len(one) for name, one in zip(names, self.statistics or (), strict=False)}

    def _width(self, i: int) -> int:
        return 1

    def _columns_of(self, inputs: int) -> list[int]:
        return list(range(inputs)) if self.columns is None else self.columns

    def settle(self, where: str, data: Data) -> None:
        check_columns(where, data, self._columns_of(data.shape[1]))


class RobustScale(_Cleaning, names=("robust_scale",)):
    """``(x - median) / range`` of columns, and beyond a few ranges a smooth limit: for columns with outliers.

    The range is that from the 25 % to the 75 % quantile, or half of that from the least to the largest value where
    these are equal; a constant column becomes 0. Then x becomes ``x / sqrt(1 + (x / clip)**2)``, which stays between
    -clip and clip (RealMLP's preprocessing: Holzmüller et al., 2024, arXiv 2407.04491).

    Median and range come from `adapt`, or else from the data of the first ``fit``. Data of more than a million rows is
    represented by as many of them.

    Parameters
    ----------
    columns : int or sequence of int, optional
        The columns that are replaced, all by default; the others pass unchanged.
    clip : float or None, default 3.0
        The limit, above 0; None for none.
    center, scale : sequence of float, optional
        Median and range of each of `columns`, if they are known; both or neither. A scale of 0 is that of a constant
        column.
    name : str, optional
        Name of the layer in tables and files; None lets the model number it.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, a column is given twice, or (in a net) there is no such column.

    Examples
    --------
    >>> import fastdense as fd
    >>> layer = fd.RobustScale().adapt([[1.0], [2.0], [3.0], [4.0], [1000.0]])
    >>> layer.center, layer.scale
    ([3.0], [2.0])
    """

    def __init__(
        self,
        columns: int | Sequence[int] | None = None,
        clip: float | None = 3.0,
        center: ArrayLike | None = None,
        scale: ArrayLike | None = None,
        name: str | None = None,
    ) -> None:
        self.columns = columns_argument("RobustScale: columns", columns)
        self.clip = None if clip is None else number("RobustScale: clip", clip, above=0)
        if (center is None) != (scale is None):
            raise ValueError("RobustScale: center and scale belong together. Give both, or neither.")
        if center is not None and scale is not None:
            numbers = [one_or_more("RobustScale: center", center), one_or_more("RobustScale: scale", scale)]
            self.set_statistics(*map(np.atleast_1d, numbers))
        self.name = optional_text("RobustScale: name", name)

    @property
    def center(self) -> list[float] | None:
        """Median of each column."""
        return self._numbers(0)

    @property
    def scale(self) -> list[float] | None:
        """Range of each column; 0 if it is constant."""
        return self._numbers(1)

    def checked_statistics(self, *values: Array) -> tuple[Array, ...]:
        center, scale = values
        fits = center.ndim == 1 and center.shape == scale.shape and np.isfinite(values).all()
        if not fits or not (scale >= 0).all():
            raise ValueError(
                f"RobustScale: center of shape {center.shape} and scale of shape {scale.shape}. "
                "Give one finite number per column each, the scale at least 0."
            )
        return values

    def measured(self, where: str, data: Data) -> tuple[Array, ...]:
        columns = self._columns_of(data.shape[1])
        center, scale = np.zeros(len(columns)), np.zeros(len(columns))
        for i, column in enumerate(columns):
            values = host_column(where, data, column)
            with np.errstate(over="ignore", invalid="ignore"):
                low, center[i], high = np.quantile(values, [0.25, 0.5, 0.75])
                scale[i] = high - low or 0.5 * values.max() - 0.5 * values.min()
            if not (np.isfinite(scale[i]) and np.isfinite(center[i])):
                raise ValueError(f"{where}: the range of column {column} of x overflows. Scale it down first.")
        return center, scale

    def _features(self, values: Array) -> Array:
        if self.statistics is None:
            center, scale = np.zeros(values.shape[1]), np.ones(values.shape[1])
        else:
            center, scale = self.statistics
        xp, largest = namespace_of(values), np.finfo(np.float64).max
        with np.errstate(over="ignore"):
            away = (values - xp.asarray(center)) / xp.asarray(np.where(scale == 0, 1.0, scale))
        made: Array = xp.clip(away, -largest, largest) * xp.asarray(scale != 0)
        return made if self.clip is None else made / xp.hypot(1.0, made / self.clip)

    def _pulled_features(self, values: Array, grad: Array) -> Array:
        center, scale = self.statistics or (np.zeros(values.shape[1]), np.ones(values.shape[1]))
        slope = np.where(scale == 0, 0.0, 1.0 / np.where(scale == 0, 1.0, scale))
        if self.clip is None:
            return np.asarray(grad * slope)
        with np.errstate(over="ignore"):
            stretched = np.hypot(1.0, (values - center) * slope / self.clip)
        return np.asarray(grad * slope / stretched / stretched / stretched)


class Impute(_Cleaning, names=("impute",)):
    """Fills NaN with the median of its column, and tells by one more column of 0 and 1 each where it was.

    A net that begins with this layer accepts NaN in these columns of x, in all calls; it must be the first layer.
    Medians come from `adapt`, or else from the data of the first ``fit``; that of a column without a number is 0. Data
    of more than a million rows is represented by as many of them.

    Parameters
    ----------
    columns : int or sequence of int, optional
        The columns that are filled, all by default; the others pass unchanged.
    indicator : bool or sequence of int, default True
        The columns that get an indicator; they follow all other columns. True: those that hold NaN in the data of
        `adapt`, which makes this a list of them; in a net that is made before `adapt`, all of `columns`. False: none.
    fill : float or sequence of float, optional
        What NaN becomes, if it is known: one number for all columns, or one for each of `columns`.
    name : str, optional
        Name of the layer in tables and files; None lets the model number it.

    Raises
    ------
    ValueError, TypeError
        If a column is given twice or (in a net) there is no such column, or `indicator` holds one that is not filled.

    Examples
    --------
    >>> import fastdense as fd
    >>> layer = fd.Impute().adapt([[1.0, 5.0], [float("nan"), 7.0], [3.0, 9.0]])
    >>> layer.fill, layer.indicator
    ([2.0, 7.0], [0])
    >>> layer.output_width(2)
    3
    """

    indicator: bool | list[int]

    def __init__(
        self,
        columns: int | Sequence[int] | None = None,
        indicator: bool | Sequence[int] = True,
        fill: ArrayLike | None = None,
        name: str | None = None,
    ) -> None:
        self.columns = columns_argument("Impute: columns", columns)
        if not isinstance(indicator, (list, tuple, range, np.ndarray)) or np.ndim(indicator) == 0:
            self.indicator = flag("Impute: indicator", indicator)
        else:
            self.indicator = (columns_argument("Impute: indicator", indicator) or []) if len(indicator) else []
            if self.columns is not None and not set(self.indicator) <= set(self.columns):
                raise ValueError(
                    f"Impute: indicator={self.indicator} and columns={self.columns}. Give columns that are filled."
                )
        if fill is not None:
            self.set_statistics(np.atleast_1d(one_or_more("Impute: fill", fill)))
        self.name = optional_text("Impute: name", name)

    @property
    def fill(self) -> list[float] | None:
        """What NaN becomes in each column."""
        return self._numbers(0)

    def _given(self) -> dict[str, int]:
        given = super()._given()
        return {} if given.get("fill") == 1 else given

    def missing(self, inputs: int) -> list[int]:
        """The columns of x that may hold NaN, of so many."""
        return list(range(inputs)) if self.columns is None else self.columns

    def checked_statistics(self, *values: Array) -> tuple[Array, ...]:
        (fill,) = values
        if fill.ndim != 1 or not np.isfinite(fill).all():
            raise ValueError(f"Impute: fill of shape {fill.shape}. Give one finite number per column.")
        return values

    def settle(self, where: str, data: Data) -> None:
        super().settle(where, data)
        self._check_infinity(where, data)
        if self.indicator is True:
            columns = self._columns_of(data.shape[1])
            self.indicator = [column for column in columns if _holds_nan(data, column)]

    def placed(self, inputs: int) -> None:
        if self.indicator is True:
            self.indicator = list(self._chosen(inputs))

    def _check_infinity(self, where: str, data: Data) -> None:
        """Raise if data holds infinity, or NaN in a column that is not filled."""
        xp, columns = namespace_of(data), self._columns_of(data.shape[1])
        if data.dtype.kind != "f":
            return
        for part in blocks(len(data), data.shape[1]):
            bad = ~xp.isfinite(data[part])
            bad[:, columns] = xp.isinf(data[part][:, columns])
            if bad.any():
                i, j = first_place(bad)
                raise ValueError(
                    f"{where}: x holds {data[part][i, j].item()} at row {part.start + i}, column {j}. "
                    "Remove or fill such values first."
                )

    def measured(self, where: str, data: Data) -> tuple[Array, ...]:
        columns = self._columns_of(data.shape[1])
        known = [host_column(where, data, column, missing=True) for column in columns]
        return (np.array([np.median(one) if len(one) else 0.0 for one in known]),)

    def output_width(self, inputs: int) -> int:
        return super().output_width(inputs) + len(self._indicated(inputs))

    def _indicated(self, inputs: int) -> Sequence[int]:
        chosen = self._chosen(inputs)
        if isinstance(self.indicator, bool):
            return chosen if self.indicator else []
        if self.indicator and self.indicator[-1] >= inputs:
            raise ValueError(
                f"Impute: indicator holds {self.indicator[-1]}, but its input has {inputs} columns. "
                f"Give numbers from 0 to {inputs - 1}."
            )
        return self.indicator

    def encode(self, x: Array) -> Array:
        xp, filled = namespace_of(x), super().encode(x)
        where = xp.asarray(np.array(self._indicated(x.shape[1]), dtype=np.int64))
        made: Array = xp.concatenate([filled, xp.isnan(x[:, where]).astype(np.float64)], axis=1)
        return made

    def pulled_back(self, x: Array, grad: Array) -> Array:
        return super().pulled_back(x, grad[:, : grad.shape[1] - len(self._indicated(x.shape[1]))])

    def _pulled_features(self, values: Array, grad: Array) -> Array:
        return np.where(np.isnan(values), 0.0, grad)

    def _features(self, values: Array) -> Array:
        xp = namespace_of(values)
        fill = np.zeros(1) if self.statistics is None else self.statistics[0]
        made: Array = xp.where(xp.isnan(values), xp.asarray(fill), values)
        return made


def _holds_nan(data: Data, column: int) -> bool:
    values = data[:, column]
    return data.dtype.kind == "f" and bool(namespace_of(data).isnan(values).any())
