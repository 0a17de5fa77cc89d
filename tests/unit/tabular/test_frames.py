"""`Columns`: tables of every library as numbers and codes."""

from __future__ import annotations

import datetime
import doctest
import pickle
import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastdense.tabular import frames
from fastdense.tabular.frames import Columns

pd = pytest.importorskip("pandas")
pytest.importorskip("narwhals")

NAN = float("nan")
DAY = datetime.datetime(1970, 1, 2)
GIVEN: dict[str, list[Any]] = {
    "number": [1.5, None, 3.0],
    "text": ["y", "x", None],
    "bool": [True, False, True],
    "when": [DAY, None, DAY + datetime.timedelta(days=1.5)],
    "whole": [3, 1, 2],
    "span": [datetime.timedelta(days=2), None, datetime.timedelta(hours=12)],
}
WANTED = [[1.5, 1, 1, 1, 3, 2], [NAN, 0, 0, NAN, 1, NAN], [3, 2, 1, 2.5, 2, 0.5]]


def polars(given: Any) -> Any:
    return pytest.importorskip("polars").DataFrame(given)


def arrow(given: Any) -> Any:
    return pytest.importorskip("pyarrow").table(given)


KINDS: dict[str, Callable[[Any], Any]] = {"pandas": pd.DataFrame, "polars": polars, "pyarrow": arrow}


@pytest.mark.parametrize("kind", KINDS)
def test_tables_of_every_library(kind: str) -> None:
    table = KINDS[kind](GIVEN)
    columns = pickle.loads(pickle.dumps(Columns().fit(table)))
    assert columns.names == list(GIVEN)
    assert columns.categorical == [1, 2]
    assert columns.categories == [["x", "y", None], [False, True]]
    assert columns.missing == [0, 3, 5]
    np.testing.assert_array_equal(columns.transform(table), WANTED)
    order = ["when", "text", "number", "span", "bool", "whole"]
    np.testing.assert_array_equal(columns.transform(KINDS[kind]({name: GIVEN[name] for name in order})), WANTED)


def test_dtypes_of_pandas() -> None:
    table = pd.DataFrame({
        "category": pd.Categorical(["b", "a", None], categories=["b", "a", "never"]),
        "nullable": pd.array([1, None, 3], dtype="Int64"),
        "boolean": pd.array([True, None, False], dtype="boolean"),
        "mixed": pd.Series(["z", None, 1], dtype=object),
        "numbers": pd.Series([1, None, 2.5], dtype=object),
    })  # fmt: skip
    columns = Columns().fit(table)
    assert columns.categories == [["a", "b", None], [False, True, None], [1, "z", None]]
    assert columns.missing == [1, 4]
    wanted = [[1, 1, 1, 1, 1], [0, NAN, 2, 2, NAN], [2, 3, 0, 0, 2.5]]
    np.testing.assert_array_equal(columns.transform(table), wanted)


def test_categories_of_polars() -> None:
    pl = pytest.importorskip("polars")
    table = pl.DataFrame({
        "enum": pl.Series(["b", "a"], dtype=pl.Enum(["a", "b", "never"])),
        "category": pl.Series(["b", "a"], dtype=pl.Categorical),
    })  # fmt: skip
    assert Columns().fit(table).transform(table).tolist() == [[1, 1], [0, 0]]


def test_new_categories_and_missing_ones() -> None:
    columns = Columns().fit(pd.DataFrame({"a": ["x", "y"], "b": ["x", None]}))
    made = columns.transform(pd.DataFrame({"a": ["new", None], "b": ["new", None]}))
    assert made.tolist() == [[-1, -1], [-1, 1]]


def test_arrays() -> None:
    x = np.array([[1.0, NAN, 5.0], [2.0, 4.0, NAN]])
    columns = Columns().fit(x)
    assert (columns.names, columns.categorical, columns.missing) == (None, [], [1, 2])
    assert columns.transform(x) is x
    columns = Columns([-1]).fit(x)
    assert (columns.categorical, columns.categories, columns.missing) == ([2], [[5.0, None]], [1])
    np.testing.assert_array_equal(columns.transform(x), [[1, NAN, 0], [2, 4, 1]])
    assert Columns().fit(np.ones((2, 2), dtype=np.int8)).transform(np.ones((2, 2), dtype=np.int8)).dtype == np.float64
    assert Columns().fit(np.array([[1e308, np.inf], [1e308, 1]])).missing == []


def test_float32_stays() -> None:
    table = pd.DataFrame({"a": np.float32([1, 2]), "k": ["x", "y"]})
    assert Columns().fit(table).transform(table).dtype == np.float32
    assert Columns().fit(table).transform(table.astype({"a": float})).dtype == np.float64


def test_an_array_after_a_frame_of_numbers() -> None:
    columns = Columns().fit(pd.DataFrame({"a": [1.0], "b": [2.0]}))
    assert columns.transform(np.array([[3.0, 4.0]])).tolist() == [[3, 4]]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (pd.DataFrame(), "Columns.fit: the table has 0 rows and 0 columns; at least one of each"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "Columns.fit: two columns are named 'a'; each needs a name"),
        (pd.DataFrame({"a": [[1], [2]]}), "Columns.fit: column 'a' holds objects that are no categories (unhashable"),
        (pd.DataFrame({"a": [1 + 2j]}), "Columns.fit: column 'a' is no column of numbers"),
        (np.array([["a"]]), "Columns.fit: the table is an array of shape (1, 1) and dtype <U1; a data frame, or a"),
        (np.zeros(3), "Columns.fit: the table is an array of shape (3,) and dtype float64"),
        (pd.DataFrame({"a": map(str, range(10_001))}), "Columns.fit: column 'a' holds 10,001 different values; of a"),
    ],
    ids=range(7),
)
def test_tables_that_are_none(table: Any, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        Columns().fit(table)


def test_lazy_frames() -> None:
    with pytest.raises(TypeError, match=re.escape("a LazyFrame; a data frame in memory is needed: collect() a lazy")):
        Columns().fit(polars(GIVEN).lazy())


@pytest.mark.parametrize(
    ("which", "words"),
    [
        ("number", "categorical_features is 'number'; 'from_dtype', None or a list is needed: give ['number']"),
        (["no"], "categorical_features names a column 'no'; the table has 6 columns and not this one: give names"),
        ([6], "categorical_features names a column 6; the table has 6 columns and not this one"),
        ([True], "the mask categorical_features has 1 entries; 6 are needed"),
        (3, "categorical_features=3 is of type int. Give 'from_dtype', None or a list of columns."),
        (["text", "when"], "column 'when' has the dtype Datetime"),
        (None, "column 'text' is no column of numbers"),
    ],
)
def test_columns_that_are_not_there(which: Any, words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=re.escape(words)):
        Columns(which).fit(pd.DataFrame(GIVEN))


def test_other_tables_than_that_of_fit() -> None:
    table = pd.DataFrame(GIVEN)
    columns = Columns().fit(table)
    for other, words in (
        (
            table[["number"]].assign(new=1),
            "the table lacks 'text', 'bool', 'when', 'whole', 'span' and the table has the",
        ),
        (table.assign(whole=["a", "b", "c"]), "column 'whole' is no column of numbers (its dtype is String)"),
        (np.zeros((1, 6)), "an array was given; after fit with a data frame that has categories, one is needed"),
    ):
        with pytest.raises(ValueError, match=re.escape(f"Columns.transform: {words}")):
            columns.transform(other)
    with pytest.raises(ValueError, match="Columns.transform: the table has 2 columns; 1 are needed"):
        Columns().fit(np.zeros((1, 1))).transform(np.zeros((1, 2)))


def test_without_narwhals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "narwhals", None)
    assert Columns().fit(np.zeros((1, 1))).count == 1
    with pytest.raises(ImportError, match="data frames are read through narwhals, which is not installed; pip install"):
        Columns().fit(pd.DataFrame({"a": [1]}))


def test_examples_run() -> None:
    assert doctest.testmod(frames).failed == 0
