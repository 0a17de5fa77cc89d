"""Layers that encode the columns of the data in front of a net: `Log1p`, `OneHot` and `Periodic`.

They have no tensors and engines never see them. For each call of a model its rows are encoded once, block by block, in
float64; what that gives is float32 where x is so, or of small integers, and else float64. It takes rows * outputs * 4
or 8 bytes during the call (`predict` needs no more than a block of it).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arguments import flag, integer, one_or_more, optional_text
from ..arrays import check_memory, namespace_of, to_host
from ..specs import Config
from .adapting import check_columns
from .base import Layer, check_adapted_part, data_to_adapt

__all__ = ["Log1p", "OneHot", "Periodic"]

BLOCK_ELEMENTS = 1 << 20  # float64 numbers that are encoded at a time
MOST_CODES = 10_000  # of a column; more are no codes, or another layer is needed for them
Array = NDArray[Any]
C = TypeVar("C", bound="Codes")


class Preprocessing(Layer):
    """Base of the layers that encode columns; they stand in front of all other layers, Normalization included.

    Attributes
    ----------
    columns : list of int or None
        The columns that the layer encodes, in order; None for all. The others pass unchanged. What is made from a
        column takes its place, so that columns after it move where it becomes several.
    rising : bool
        Whether what is made from a column rises with it.

    Examples
    --------
    >>> from fastdense.layers import Log1p, Preprocessing
    >>> isinstance(Log1p(), Preprocessing)
    True
    """

    columns: list[int] | None
    rising: ClassVar[bool] = False

    def lower(self, inputs: int) -> list[Config]:
        """No op: engines get rows that are encoded already."""
        return []

    def fixed_width(self, inputs: int) -> int:
        return self.output_width(inputs)

    def output_width(self, inputs: int) -> int:
        chosen = self._chosen(inputs)
        if self._given():
            return inputs - len(chosen) + sum(map(self._width, range(len(chosen))))
        return inputs + len(chosen) * (self._width(0) - 1)  # no list: a damaged file may ask for any number of inputs

    def encode(self, x: Array) -> Array:
        """Encode rows; this is all that the layer does.

        Parameters
        ----------
        x : float64 array of shape (rows, columns)
            In the host's memory or on a GPU.

        Returns
        -------
        float64 array of shape (rows, output_width(columns))
        """
        xp, chosen = namespace_of(x), self._chosen(x.shape[1])
        if len(chosen) == x.shape[1]:
            return self._features(x)
        features = self._features(x[:, xp.asarray(chosen)])
        parts, passed, used = [], 0, 0
        for i, column in enumerate(chosen):
            width = self._width(i)
            parts += [x[:, passed:column], features[:, used : used + width]]
            passed, used = column + 1, used + width
        made: Array = xp.concatenate([*parts, x[:, passed:]], axis=1)
        return made

    def pulled_back(self, x: Array, grad: Array) -> Array:
        """The gradient of rows from that of what `encode` makes of them.

        Parameters
        ----------
        x : float64 array of shape (rows, columns)
            What was encoded.
        grad : float64 array of shape (rows, output_width(columns))

        Returns
        -------
        float64 array of shape (rows, columns)
            0 for columns of codes: what becomes of them is constant between two codes.
        """
        chosen = list(self._chosen(x.shape[1]))
        passing = np.setdiff1d(np.arange(x.shape[1]), chosen)
        widths = np.ones(x.shape[1], dtype=np.int64)
        widths[chosen] = [self._width(i) for i in range(len(chosen))]
        begin = np.cumsum(widths) - widths
        features = np.concatenate([np.arange(begin[c], begin[c] + widths[c]) for c in chosen])
        made = np.empty_like(x)
        made[:, passing] = grad[:, begin[passing]]
        made[:, chosen] = self._pulled_features(x[:, chosen], grad[:, features])
        return made

    def _chosen(self, inputs: int) -> Sequence[int]:
        """The columns that are encoded, of so many."""
        name, chosen = type(self).__name__, range(inputs) if self.columns is None else self.columns
        if chosen[-1] >= inputs:
            raise ValueError(
                f"{name}: columns holds {chosen[-1]}, but its input has {inputs} columns. "
                f"Give numbers from 0 to {inputs - 1}."
            )
        for given, count in self._given().items():
            if count != len(chosen):
                raise ValueError(
                    f"{name}: {given} is given for {count} columns, but the layer encodes {len(chosen)}. "
                    "Give it for each of them, or once for all."
                )
        return chosen

    def _given(self) -> dict[str, int]:
        """For how many columns each parameter is given; without those that are given once for all."""
        raise NotImplementedError

    def _width(self, i: int) -> int:
        """Outputs of the i-th chosen column."""
        raise NotImplementedError

    def _features(self, values: Array) -> Array:
        """What the chosen columns, (rows, columns), become: (rows, outputs), one column's after the other's."""
        raise NotImplementedError

    def _pulled_features(self, values: Array, grad: Array) -> Array:
        """The gradient of the chosen columns, from that of `_features`; here of features that are constant."""
        return np.zeros_like(values)


def encoded(layers: Sequence[Preprocessing], x: Array) -> Array:
    """Rows after several layers, where x lies; x itself if there are none.

    Parameters
    ----------
    layers : sequence of Preprocessing
    x : array of shape (rows, columns)
        Checked: finite bools, integers or floats.

    Returns
    -------
    float32 or float64 array of shape (rows, outputs)
        float64 unless float32 holds all numbers that x's dtype can hold, so that columns that pass lose no digit.
    """
    if not layers:
        return x
    width = x.shape[1]
    for layer in layers:
        width = layer.output_width(width)
    dtype = np.result_type(x.dtype, np.float32)
    if isinstance(x, np.ndarray):
        size = len(x) * width * dtype.itemsize
        check_memory("preprocessing", size, f"x after encoding, {len(x)} rows of {width}", "use fewer rows or codes")
    made: Array = namespace_of(x).empty((len(x), width), dtype=dtype)
    for part in blocks(len(x), max(width, x.shape[1])):
        block = x[part].astype(np.float64)
        for layer in layers:
            block = layer.encode(block)
        made[part] = block
    return made


def blocks(rows: int, width: int) -> list[slice]:
    """Slices of rows, about `BLOCK_ELEMENTS` numbers each."""
    step = max(1, BLOCK_ELEMENTS // width)
    return [slice(first, min(rows, first + step)) for first in range(0, rows, step)]


def pulled_back(layers: Sequence[Preprocessing], x: Array, grad: Array) -> Array:
    """The gradient of rows before several layers from that behind them; both on the host, the result in grad's dtype.

    Parameters
    ----------
    layers : sequence of Preprocessing
    x : array of shape (rows, columns)
    grad : array of shape (rows, outputs)
    """
    if not layers:
        return grad
    made = np.empty(x.shape, grad.dtype)
    for part in blocks(len(x), max(grad.shape[1], x.shape[1])):
        each = [x[part].astype(np.float64)]
        for layer in layers[:-1]:
            each.append(layer.encode(each[-1]))
        block = grad[part].astype(np.float64)
        for layer, before in zip(reversed(layers), reversed(each), strict=True):
            block = layer.pulled_back(before, block)
        made[part] = block
    return made


# ---- the layers ------------------------------------------------------------------------------------------------------


class Log1p(Preprocessing, names=("log1p",)):
    """``sign(x - offset) * log(1 + |x - offset| / scale)`` of columns: for amounts and others whose tails reach far.

    Nearly linear up to `scale` from `offset`, a logarithm beyond; it keeps the sign and has no trouble with 0.

    Parameters
    ----------
    scale : float or sequence of float, default 1.0
        Where the logarithm begins, above 0: one for all columns, or one for each of `columns`.
    columns : int or sequence of int, optional
        The columns that are replaced, all by default; the others pass unchanged.
    offset : float or sequence of float, default 0.0
        What counts as 0, e.g. the least value of a column that was standardized before; as `scale` for several columns.
    name : str, optional
        Name of the layer in tables and files; None lets the model number it.

    Raises
    ------
    ValueError, TypeError
        If a scale is not above 0, a column is given twice, or (in a net) there is no such column.

    Examples
    --------
    >>> import fastdense as fd
    >>> fd.Log1p(columns=0)
    Log1p(columns=[0])
    >>> model = fd.Model([fd.Log1p(columns=[0, 2]), fd.Normalization(), fd.Dense(1)], inputs=3)
    """

    rising = True

    def __init__(
        self,
        scale: ArrayLike = 1.0,
        columns: int | Sequence[int] | None = None,
        offset: ArrayLike = 0.0,
        name: str | None = None,
    ) -> None:
        self.scale = one_or_more("Log1p: scale", scale, above=0.0)
        self.columns = columns_argument("Log1p: columns", columns)
        self.offset = one_or_more("Log1p: offset", offset)
        self.name = optional_text("Log1p: name", name)

    def _given(self) -> dict[str, int]:
        given = {"scale": self.scale, "offset": self.offset}
        return {name: len(one) for name, one in given.items() if isinstance(one, list)}

    def _width(self, i: int) -> int:
        return 1

    def _features(self, values: Array) -> Array:
        xp = namespace_of(values)
        with np.errstate(over="ignore"):
            away = values - xp.asarray(self.offset)
            size = xp.minimum(xp.abs(away) / xp.asarray(self.scale), np.finfo(np.float64).max)
        made: Array = xp.copysign(xp.log1p(size), away)
        return made

    def _pulled_features(self, values: Array, grad: Array) -> Array:
        return np.asarray(grad / (np.asarray(self.scale) + np.abs(values - np.asarray(self.offset))))


class Codes:
    """What layers for columns of codes have in common; `adapt` takes the codes from data.

    Attributes
    ----------
    columns : list of int or None
    codes : list of lists of float, or None
        Those of each column, or one list for all; None before they are known.
    """

    columns: list[int] | None
    codes: list[list[float]] | None

    def _set_codes(self, columns: Any, codes: Any) -> None:
        name = type(self).__name__
        self.columns = columns_argument(f"{name}: columns", columns)
        self.codes = None if codes is None else _lists(f"{name}: codes", codes)
        for one in self.codes or ():
            if len(set(one)) < len(one):
                raise ValueError(f"{name}: codes holds a code twice. Give each once.")

    @property
    def adapted(self) -> bool:
        """Whether the codes are known."""
        return self.codes is not None

    def adapt(self: C, x: ArrayLike) -> C:
        """Take the codes from data, sorted; read piece by piece, so that a memory-mapped array may be of any size.

        Parameters
        ----------
        x : array of shape (n, columns)
            Bool, integer or float; one on a GPU is worked on there.

        Returns
        -------
        Layer
            The layer itself.

        Raises
        ------
        ValueError
            If the data is empty, not two-dimensional, not numeric, holds NaN or infinity, lacks a column, or if a
            column holds more than 10,000 values.
        """
        where = f"{type(self).__name__}.adapt"
        data = data_to_adapt(where, x)
        columns = list(range(data.shape[1])) if self.columns is None else self.columns
        check_columns(where, data, columns)
        xp, found = namespace_of(data), [np.zeros(0)] * len(columns)
        for part in blocks(len(data), data.shape[1]):
            for i, column in enumerate(columns):
                values = data[part, column].astype(np.float64)
                check_adapted_part(where, values[:, None], part.start, column)
                found[i] = np.union1d(found[i], to_host(xp.unique(values)))
                if len(found[i]) > MOST_CODES:
                    raise ValueError(
                        f"{where}: column {column} of x holds more than {MOST_CODES:,} values. "
                        "Give columns= of codes alone."
                    )
        self.codes = [(one + 0.0).tolist() for one in found]
        return self

    def _check_codes(self, columns: int) -> list[list[float]]:
        """The codes; ValueError unless they are known, and for so many columns."""
        name = type(self).__name__
        if self.codes is None:
            raise ValueError(
                f"{name}: its codes are not known. Call adapt(x) before the model is made, or give codes=."
            )
        if len(self.codes) not in (1, columns):
            raise ValueError(
                f"{name}: codes is given for {len(self.codes)} columns, but the layer encodes {columns}. "
                "Give it for each of them, or once for all."
            )
        return self.codes

    def _codes_of(self, i: int) -> list[float]:
        assert self.codes is not None
        return self.codes[i if len(self.codes) > 1 else 0]


class OneHot(Codes, Preprocessing, names=("one_hot",)):
    """One column of 0 and 1 for each code of a column: for ids and categories, whose numbers mean nothing.

    The codes must be known when a model is made, since they decide its width: give them, or call `adapt` first. A code
    that is not among them gives zeros. Codes are compared as float64.

    Parameters
    ----------
    columns : int or sequence of int, optional
        The columns that are replaced, all by default; the others pass unchanged.
    codes : sequence of float, or sequence of these, optional
        The codes in the order of their columns: the same for all columns, or a sequence for each. Part of the config.
    name : str, optional
        Name of the layer in tables and files; None lets the model number it.

    Raises
    ------
    ValueError, TypeError
        If a code or a column is given twice, or (in a net) the codes are not known, or there is no such column.

    Examples
    --------
    >>> import fastdense as fd
    >>> layer = fd.OneHot(columns=0).adapt([[7, 0.5], [2, 0.1], [7, 0.3]])
    >>> layer.codes
    [[2.0, 7.0]]
    >>> model = fd.Model([layer, fd.Dense(1)], inputs=2)  # 3 columns reach the Dense layer
    """

    def __init__(self, columns: int | Sequence[int] | None = None, codes: Any = None, name: str | None = None) -> None:
        self._set_codes(columns, codes)
        self.name = optional_text("OneHot: name", name)

    def _given(self) -> dict[str, int]:
        codes = self._check_codes(len(self.codes or []))  # _chosen compares their number
        return {"codes": len(codes)} if len(codes) > 1 else {}

    def _width(self, i: int) -> int:
        return len(self._codes_of(i))

    def _features(self, values: Array) -> Array:
        xp = namespace_of(values)
        found = [values[:, i : i + 1] == xp.asarray(self._codes_of(i)) for i in range(values.shape[1])]
        ones: Array = xp.concatenate(found, axis=1).astype(np.float64)
        return ones


class Periodic(Preprocessing, names=("periodic",)):
    """``sin(2 pi f x)`` and ``cos(2 pi f x)`` of columns: for angles, times of day, and functions that oscillate.

    With the frequency 1/24, hours 23.9 and 0.1 become neighbours. Many frequencies let a small net learn a function of
    many periods, which it would hardly learn from x itself: ``numpy.geomspace(0.5, 32, 7)`` spaces them evenly by
    ratio. The powers 1/2, 1/4, ... tell the bits of whole numbers.

    Parameters
    ----------
    frequencies : float, sequence of float, or sequence of these
        Periods per unit of the column: the same for all columns, or a sequence for each of `columns`. Above 0.
    columns : int or sequence of int, optional
        The columns that are encoded, all by default; the others pass unchanged.
    keep : bool, default True
        Whether a column itself stays, before its sines and cosines (which alternate).
    name : str, optional
        Name of the layer in tables and files; None lets the model number it.

    Raises
    ------
    ValueError, TypeError
        If a frequency is not above 0, a column is given twice, or (in a net) there is no such column.

    Examples
    --------
    >>> import fastdense as fd
    >>> fd.Periodic(1 / 24, columns=0, keep=False).output_width(3)
    4
    >>> model = fd.Model([fd.Periodic([1, 2, 4, 8]), fd.Dense(64, "relu"), fd.Dense(1)], inputs=1)
    """

    def __init__(
        self,
        frequencies: Any,
        columns: int | Sequence[int] | None = None,
        keep: bool = True,
        name: str | None = None,
    ) -> None:
        self.frequencies = _lists("Periodic: frequencies", frequencies, above=0.0)
        self.columns = columns_argument("Periodic: columns", columns)
        self.keep = flag("Periodic: keep", keep)
        self.name = optional_text("Periodic: name", name)

    def _given(self) -> dict[str, int]:
        return {"frequencies": len(self.frequencies)} if len(self.frequencies) > 1 else {}

    def _width(self, i: int) -> int:
        return self.keep + 2 * len(self._frequencies_of(i))

    def _frequencies_of(self, i: int) -> list[float]:
        return self.frequencies[i if len(self.frequencies) > 1 else 0]

    def _features(self, values: Array) -> Array:
        if len(self.frequencies) == 1:
            return self._waves(values, self.frequencies[0])
        each = [self._waves(values[:, i : i + 1], own) for i, own in enumerate(self.frequencies)]
        whole: Array = namespace_of(values).concatenate(each, axis=1)
        return whole

    def _pulled_features(self, values: Array, grad: Array) -> Array:
        made, used = np.empty_like(values), 0
        for i in range(values.shape[1]):
            width, frequencies = self._width(i), np.asarray(self._frequencies_of(i))
            features = self._waves(values[:, i : i + 1], self._frequencies_of(i))[:, self.keep :]
            own = grad[:, used : used + width]
            along = own[:, self.keep :: 2] * features[:, 1::2] - own[:, self.keep + 1 :: 2] * features[:, ::2]
            made[:, i] = 2 * np.pi * along @ frequencies + (own[:, 0] if self.keep else 0.0)
            used += width
        return made

    def _waves(self, values: Array, frequencies: list[float]) -> Array:
        """What columns with the same frequencies become."""
        xp, largest = namespace_of(values), np.finfo(np.float64).max
        with np.errstate(over="ignore"):
            periods = xp.clip(values[:, :, None] * xp.asarray(frequencies), -largest, largest)
        angle = 2 * np.pi * (periods - xp.rint(periods))  # exact, so that many periods cost no digits
        made: Array = xp.stack([xp.sin(angle), xp.cos(angle)], axis=3).reshape(*values.shape, -1)
        if self.keep:
            made = xp.concatenate([values[:, :, None], made], axis=2)
        return made.reshape(len(values), -1)


# ---- their arguments -------------------------------------------------------------------------------------------------


def columns_argument(where: str, value: Any) -> list[int] | None:
    """Return columns in ascending order; None for all."""
    if value is None:
        return None
    if isinstance(value, np.ndarray):
        value = value.tolist()
    many = value if isinstance(value, (list, tuple, range)) else [value]
    columns = [integer(f"{where}[{i}]" if many is value else where, one, least=0) for i, one in enumerate(many)]
    if not columns:
        raise ValueError(f"{where} is empty. Give at least one column, or None for all.")
    if sorted(set(columns)) != columns:
        raise ValueError(f"{where}={columns}. Give each column once, in ascending order.")
    return columns


def _lists(where: str, value: Any, above: float | None = None) -> list[list[float]]:
    """Return lists of numbers, one per column; a number or a list of numbers is one list for all columns."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    value = list(value) if isinstance(value, (list, tuple, range)) else [value]
    if not value:
        raise ValueError(f"{where} is empty. Give at least one number.")
    if not isinstance(value[0], (list, tuple, range, np.ndarray)):
        value = [value]
    made = []
    for i, one in enumerate(value):
        one = list(one) if isinstance(one, range) else one
        numbers = one_or_more(f"{where}[{i}]" if len(value) > 1 else where, one, above)
        made.append(numbers if isinstance(numbers, list) else [numbers])
    return made
