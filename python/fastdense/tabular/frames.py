"""`Columns`: which columns of a table hold categories, and the table as a matrix of numbers.

Data frames are read through narwhals (pandas, polars, pyarrow and others), which need not be installed for arrays.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..arguments import items, quoted, shorten
from ..arrays import Array, fail

__all__ = ["Columns", "is_frame"]

UNKNOWN = -1.0  # the code of a category that `fit` has not seen
MOST_CATEGORIES = 10_000  # of a column, as of `fastdense.OneHot`
DAY = 86_400_000.0  # in milliseconds


def is_frame(x: object) -> bool:
    """Whether something is a data frame: a table with names of columns, of pandas, polars, pyarrow or another library.

    Without importing anything: what is no array and has columns with names counts.
    """
    return not isinstance(x, np.ndarray) and hasattr(type(x), "columns")


class Columns:
    """What the columns of a table are, and the table as a matrix of numbers.

    Numbers stay numbers, NaN where one is missing (NaN, None, NaT, NA). Dates and times become days since 1970,
    durations days. Of a column of categories each value becomes its code: its place among the sorted values that `fit`
    saw. A missing value is a category of its own, the last, if `fit` saw one. A value that `fit` did not see, and a
    missing one if there was none, has the code -1.

    Parameters
    ----------
    categorical : "from_dtype", None or sequence, default "from_dtype"
        Which columns hold categories: those of a data frame whose dtype is category, enum, string, bool or object (an
        object column of nothing but numbers holds numbers); none; or those listed, by names or numbers, or by a mask
        with a bool for every column. An array has numbers only, of which some may be listed as codes of categories.

    Attributes
    ----------
    names : list of str or None
        Names of the columns; None for an array.
    count : int
        Number of columns.
    categorical : list of int
        Numbers of the columns that hold categories, ascending.
    categories : list of list
        For each column of `categorical`, its values in the order of their codes; None stands for a missing one.
    missing : list of int
        Numbers of the other columns in which `fit` saw a missing value.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdense.tabular.frames import Columns
    >>> table = Columns([1]).fit(np.array([[0.5, 7.0], [np.nan, 3.0]]))
    >>> table.categories, table.missing
    ([[3.0, 7.0]], [0])
    >>> table.transform(np.array([[1.5, 7.0], [2.5, 4.0]]))
    array([[ 1.5,  1. ],
           [ 2.5, -1. ]])
    """

    names: list[Any] | None
    count: int
    categorical: list[int]
    categories: list[list[Any]]
    missing: list[int]

    def __init__(self, categorical: Any = "from_dtype") -> None:
        if isinstance(categorical, str) and categorical != "from_dtype":
            fail("Columns", f"categorical_features is {shorten(categorical)}", "'from_dtype', None or a list is needed",
                 f"give [{shorten(categorical)}] for one column")  # fmt: skip
        self._which = categorical

    def fit(self, table: Any) -> Columns:
        """Find out what the columns are.

        Parameters
        ----------
        table : data frame or array of shape (rows, columns)

        Returns
        -------
        Columns
            The object itself.

        Raises
        ------
        ValueError, TypeError
            If the table has no row or column, or two columns of one name; a column is listed as categorical that is
            not there; a column holds what is neither number nor category; or more than 10,000 categories.
        """
        read = _reader("Columns.fit", table)
        self.names, self.count = read.names, len(read.columns)
        if not self.count or not read.rows:
            fail("Columns.fit", f"the table has {read.rows} rows and {self.count} columns", "at least one of each")
        self.categorical = self._chosen(read)
        self.categories, self.missing = [], read.missing(set(range(self.count)) - set(self.categorical))
        for j in self.categorical:
            found = set(read.values(j))
            if len(found) > MOST_CATEGORIES:
                fail("Columns.fit", f"{read.title(j)} holds {len(found):,} different values",
                     f"of a column of categories at most {MOST_CATEGORIES:,}",
                     "leave it out, or make numbers or fewer categories of it")  # fmt: skip
            self.categories.append(sorted(found - {None}, key=_order) + [None] * (None in found))
        return self

    def transform(self, table: Any) -> Array:
        """Return a table as a matrix of numbers.

        Parameters
        ----------
        table : data frame or array of shape (rows, columns)
            Columns of a data frame are found by their names, in any order. After `fit` with a data frame without
            categories, an array will do.

        Returns
        -------
        ndarray of shape (rows, columns)
            float32 if all numbers of the table are float32, else float64; an array without categories itself, if it
            has such a dtype.

        Raises
        ------
        ValueError, TypeError
            If the table has other columns than that of `fit`, or a column of numbers holds something else.
        """
        where = "Columns.transform"
        read = _reader(where, table)
        places = self._places(where, read)
        of_numbers = [places[j] for j in range(self.count) if j not in self.categorical]
        if read.names is None and not self.categorical:
            array = np.asarray(table)
            return array if array.dtype.kind == "f" and array.itemsize in (4, 8) else array.astype(np.float64)
        single = bool(of_numbers) and all(read.is_single(place) for place in of_numbers)
        made = np.empty((read.rows, self.count), dtype=np.float32 if single else np.float64)
        codes = dict(zip(self.categorical, self.categories, strict=True))
        for j, place in enumerate(places):
            if j in codes:
                code = {value: float(i) for i, value in enumerate(codes[j])}
                made[:, j] = [code.get(value, UNKNOWN) for value in read.values(place)]
            else:
                made[:, j] = read.numbers(place)
        return made

    def fit_transform(self, table: Any) -> Array:
        """`fit`, then `transform` of the same table."""
        return self.fit(table).transform(table)

    def _places(self, where: str, read: _Table) -> list[int]:
        """Where in a table the columns of `fit` are."""
        if self.names is None or read.names is None:
            if len(read.columns) != self.count:
                fail(where, f"the table has {len(read.columns)} columns", f"{self.count} are needed")
            if self.names is not None and self.categorical:
                fail(where, "an array was given", "after fit with a data frame that has categories, one is needed")
            return list(range(self.count))
        lacking = [name for name in self.names if name not in read.names]
        new = [name for name in read.names if name not in self.names]
        if lacking or new:
            parts = [f"the table {text} {quoted(map(str, found[:5]))}{', ...' if len(found) > 5 else ''}"
                     for text, found in (("lacks", lacking), ("has the new columns", new)) if found]  # fmt: skip
            fail(where, " and ".join(parts), "the columns of fit are needed")
        return [read.names.index(name) for name in self.names]

    def _chosen(self, read: _Table) -> list[int]:
        """Numbers of the columns that hold categories."""
        where, count = "Columns.fit", len(read.columns)
        if self._which is None:
            return []
        if isinstance(self._which, str):
            return [j for j in range(count) if read.looks_categorical(j)]
        given = items("categorical_features", self._which, "'from_dtype', None or a list of columns")
        if given and all(isinstance(one, (bool, np.bool_)) for one in given):
            if len(given) != count:
                fail(where, f"the mask categorical_features has {len(given)} entries", f"{count} are needed")
            return [j for j, chosen in enumerate(given) if chosen]
        found = set()
        for one in given:
            if isinstance(one, numbers.Integral) and -count <= int(one) < count:
                found.add(int(one) % count)
            elif read.names is not None and one in read.names:
                found.add(read.names.index(one))
            else:
                known = "its columns are numbered from 0" if read.names is None else "give names or numbers"
                given_name = f"categorical_features names a column {shorten(one)}"
                fail(where, given_name, f"the table has {count} columns and not this one", known)
        return sorted(found)


# ---- reading tables --------------------------------------------------------------------------------------------------


class _Table:
    """Columns of an array, read as numbers or as values of categories."""

    names: list[Any] | None = None
    columns: Sequence[Any]
    rows: int

    def __init__(self, where: str, array: Array) -> None:
        if array.ndim != 2 or array.dtype.kind not in "biuf":
            fail(where, f"the table is an array of shape {array.shape} and dtype {array.dtype}",
                 "a data frame, or a two-dimensional array of numbers, is needed")  # fmt: skip
        self.where, self.columns, self.rows, self._array = where, array.T, len(array), array

    def title(self, j: int) -> str:
        """How messages name a column."""
        return f"column {j}" if self.names is None else f"column {self.names[j]!r}"

    def looks_categorical(self, j: int) -> bool:
        """Whether the dtype of a column says that it holds categories."""
        return False

    def is_single(self, j: int) -> bool:
        """Whether a column is float32."""
        return bool(self.columns[j].dtype == np.float32)

    def missing(self, chosen: set[int]) -> list[int]:
        """Those of some columns of numbers in which one is missing."""
        with np.errstate(over="ignore", invalid="ignore"):
            if self._array.dtype.kind != "f" or np.isfinite(self._array.sum()):
                return []
        return [j for j in np.flatnonzero(np.isnan(self._array).any(axis=0)).tolist() if j in chosen]

    def numbers(self, j: int) -> Array:
        """A column as numbers, NaN for missing ones."""
        column: Array = self.columns[j]
        return column

    def values(self, j: int) -> Iterable[Any]:
        """A column as values of categories, None for missing ones."""
        return [None if value != value else value for value in self.columns[j].tolist()]


class _Frame(_Table):
    """Columns of a data frame."""

    def __init__(self, where: str, frame: Any, narwhals: Any) -> None:
        self.where, self.rows, self.names, self._nw = where, len(frame), list(frame.columns), narwhals
        self.columns = [frame[:, j] for j in range(len(self.names))]

    def looks_categorical(self, j: int) -> bool:
        dtype, nw = self.columns[j].dtype, self._nw
        if dtype == nw.Object:
            return not all(value is None or _is_number(value) for value in self.values(j))
        return any(dtype == kind for kind in (nw.Categorical, nw.Enum, nw.String, nw.Boolean))

    def is_single(self, j: int) -> bool:
        return bool(self.columns[j].dtype == self._nw.Float32)

    def missing(self, chosen: set[int]) -> list[int]:
        return [j for j in sorted(chosen) if np.isnan(self.numbers(j)).any()]

    def numbers(self, j: int) -> Array:
        column, nw = self.columns[j], self._nw
        dtype = column.dtype
        try:
            if dtype.is_numeric() or dtype == nw.Boolean:
                made: Array = column.cast(nw.Float64).to_numpy()
            elif dtype == nw.Datetime or dtype == nw.Date:
                made = column.dt.timestamp("ms").cast(nw.Float64).to_numpy() / DAY
            elif dtype == nw.Duration:
                made = np.where(column.is_null().to_numpy(), np.nan, column.dt.total_milliseconds().to_numpy()) / DAY
            elif dtype == nw.Object:
                made = np.array([np.nan if value is None else float(value) for value in self.values(j)])
            else:
                raise TypeError(f"its dtype is {dtype}")
        except (TypeError, ValueError) as error:
            fail(self.where, f"{self.title(j)} is no column of numbers ({error})", "numbers are needed there",
                 "convert it, leave it out, or let it be categorical when fitting")  # fmt: skip
        return np.asarray(made, dtype=np.float64)

    def values(self, j: int) -> Iterable[Any]:
        column = self.columns[j]
        if column.dtype.is_temporal() or column.dtype.is_nested():
            fail(self.where, f"{self.title(j)} has the dtype {column.dtype}", "strings or numbers are needed",
                 "convert it to strings, or leave it out")  # fmt: skip
        absent = column.is_null().to_numpy()
        made = [None if gone or value != value else value
                for value, gone in zip(column.to_list(), absent, strict=True)]  # fmt: skip
        try:
            set(made)
        except TypeError as error:
            fail(self.where, f"{self.title(j)} holds objects that are no categories ({error})",
                 "strings or numbers are needed", "convert them to strings, or leave the column out")  # fmt: skip
        return made


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))


def _order(value: Any) -> tuple[str, Any]:
    """Key that sorts values, also of several types: numbers before strings."""
    return ("", value) if isinstance(value, numbers.Real) else (type(value).__name__, value)


def _reader(where: str, table: Any) -> _Table:
    if not is_frame(table):
        return _Table(where, np.asarray(table))
    nw = _narwhals()
    try:
        return _Frame(where, nw.from_native(table, eager_only=True), nw)
    except nw.exceptions.DuplicateError:
        names = list(table.columns)
        twice = next(name for name in names if names.count(name) > 1)
        fail(where, f"two columns are named {twice!r}", "each needs a name of its own", "rename one")
    except TypeError as error:
        remedy = "collect() a lazy frame first" if hasattr(table, "collect") else "use pandas, polars or pyarrow"
        raise TypeError(
            f"{where}: the table is a {type(table).__name__}; a data frame in memory is needed: {remedy}"
        ) from error


def _narwhals() -> Any:
    """The module narwhals, or an error that says how to install it."""
    try:
        import narwhals
    except ImportError as error:
        raise ImportError(
            "data frames are read through narwhals, which is not installed; pip install 'fastdense[sklearn]', or pass "
            "an array of numbers"
        ) from error
    return narwhals
