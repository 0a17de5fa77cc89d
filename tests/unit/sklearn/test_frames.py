"""Estimators on data frames: names, categories, predictions for rows with new ones."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pandas")

import pandas as pd
import sklearn

from fastdense.sklearn import DenseClassifier, DenseRegressor


def frame(rows: int = 200) -> Any:
    random = np.random.default_rng(0)
    return pd.DataFrame({
        "size": random.normal(size=rows),
        "kind": random.choice(["u", "v", "w"], rows),
        "old": random.uniform(size=rows) < 0.5,
        "count": random.integers(0, 5, rows),
    })  # fmt: skip


def labels(table: Any) -> Any:
    return np.where((table["kind"] == "u") ^ table["old"], "yes", "no")


def polars(table: Any) -> Any:
    return pytest.importorskip("polars").from_pandas(table)


def arrow(table: Any) -> Any:
    return pytest.importorskip("pyarrow").Table.from_pandas(table, preserve_index=False)


KINDS: dict[str, Callable[[Any], Any]] = {"pandas": lambda table: table, "polars": polars, "pyarrow": arrow}


def small(**parameters: Any) -> DenseClassifier:
    return DenseClassifier(**{"hidden_layer_sizes": (16,), "solver": "lbfgs", "random_state": 0, **parameters})


@pytest.mark.parametrize("kind", KINDS)
def test_frames_of_every_kind(kind: str) -> None:
    """All of them give the very same net as one-hot columns made by hand."""
    table, y = frame(), labels(frame())
    net = small().fit(KINDS[kind](table), y)
    assert net.score(KINDS[kind](table), y) == 1.0
    assert net.n_features_in_ == 4
    if kind != "polars" or sklearn.__version__ >= "1.9":  # older ones do not see the names of a polars frame
        assert net.feature_names_in_.tolist() == ["size", "kind", "old", "count"]
    codes = [np.asarray(table["kind"] == value, dtype=float) for value in "uvw"]
    bools = [np.asarray(~table["old"], dtype=float), np.asarray(table["old"], dtype=float)]
    by_hand = np.column_stack([table["size"], *codes, *bools, table["count"]])
    # the order of the merged rows differs, so sums do by rounding
    p = small(max_iter=5).fit(KINDS[kind](table), y).predict_proba(KINDS[kind](table))
    np.testing.assert_allclose(p, small(max_iter=5).fit(by_hand, y).predict_proba(by_hand), rtol=1e-6)
    again = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(again.predict_proba(KINDS[kind](table)), net.predict_proba(KINDS[kind](table)))


def test_a_new_category_is_no_category() -> None:
    table = frame()
    net = small().fit(table, labels(table))
    new = table.assign(kind="new")
    h = net.model_.predict(net._columns.transform(new))
    assert np.array_equal(net.predict_proba(new)[:, 1], h[:, 0])
    assert net.model_.layers[0].encode(net._columns.transform(new))[:, 1:4].max() == 0


def test_columns_that_are_listed() -> None:
    table = frame()
    for which in (["kind", "old", "count"], [1, 2, 3], [False, True, True, True]):
        net = small(categorical_features=which).fit(table, labels(table))
        assert net.model_.net.widths[0] == 1 + 3 + 2 + 5
    numbers = table[["size", "count"]].to_numpy()
    assert small(categorical_features=[1]).fit(numbers, labels(table)).model_.net.widths[0] == 1 + 5
    with pytest.raises(ValueError, match="column 'kind' is no column of numbers"):
        small(categorical_features=None).fit(table, labels(table))


def test_other_columns() -> None:
    table = frame()
    net = small().fit(table, labels(table))
    with pytest.raises(ValueError, match="The feature names should match those that were passed during fit"):
        net.predict(table.drop(columns="old"))
    with (
        pytest.warns(UserWarning, match="X does not have valid feature names"),
        pytest.raises(ValueError, match="after fit with a data frame that has categories, one is needed"),
    ):
        net.predict(np.zeros((2, 4)))


def test_partial_fit_keeps_the_categories_of_the_first() -> None:
    table, y = frame(), labels(frame())
    net = small(solver="adam").partial_fit(table[:100], y[:100], classes=["no", "yes"])
    net.partial_fit(table[100:].assign(kind="new"), y[100:])
    assert net._columns.categories == [["u", "v", "w"], [False, True]]


def test_float32_frames_are_computed_in_float32() -> None:
    table = frame()[["size", "count"]].astype(np.float32)
    assert DenseRegressor(max_iter=1, solver="lbfgs").fit(table, table["size"]).model_.dtype == "float32"


def test_targets_of_frames() -> None:
    table = frame()
    series = pd.Series(labels(table), dtype="category")
    assert small().fit(table, series).classes_.tolist() == ["no", "yes"]
    assert small().fit(table, polars(pd.DataFrame({"y": series.astype(str)}))["y"]).score(table, series) == 1.0


def with_gaps() -> Any:
    """A quarter of the sizes and of the kinds are missing, and what is missing matters."""
    table = frame()
    table.loc[::4, "size"] = np.nan
    return table.assign(kind=table["kind"].where(np.arange(len(table)) % 4 != 1))


@pytest.mark.parametrize("kind", KINDS)
def test_missing_values(kind: str) -> None:
    table = with_gaps()
    y = np.where(table["size"].isna(), "gap", np.where(table["kind"].isna(), "no kind", "whole"))
    net = small().fit(KINDS[kind](table), y)
    assert net.score(KINDS[kind](table), y) > 0.99
    impute, one_hot = net.model_.layers[:2]
    assert impute.indicator == [0] and impute.fill[0] == pytest.approx(table["size"].median())
    assert one_hot.codes[0] == [0, 1, 2, 3]  # u, v, w and missing
    more = table.assign(count=np.nan)  # where some number is missing in fit, any may be later
    assert net.predict(KINDS[kind](more)).shape == y.shape


def test_missing_numbers_of_an_array() -> None:
    x = with_gaps()[["size", "count"]].to_numpy(dtype=np.float32)
    y = np.isnan(x[:, 0])
    net = small().fit(x, y)
    assert net.score(x, y) == 1.0
    assert net.model_.dtype == "float32"
    whole = small().fit(np.nan_to_num(x), y)
    with pytest.raises(
        ValueError, match="X holds missing numbers .NaN., and held none in the first fit; none are known"
    ):
        whole.predict(x)
    with pytest.raises(ValueError, match="Input X contains infinity"):
        net.predict(np.where(y[:, None], np.inf, x))


def test_the_median_goes_by_weights() -> None:
    """As that of rows that are there several times; so does all else, to the last bit."""
    random = np.random.default_rng(0)
    x, copies = random.normal(size=(60, 2)), random.integers(0, 4, 60)
    x[::3, 0] = np.nan
    y = np.where(x[:, 1] > 0, "a", "b")
    net = small().fit(x, y, sample_weight=copies)
    again = small().fit(np.repeat(x, copies, axis=0), np.repeat(y, copies))
    assert net.model_.layers[0].fill[0] == np.nanmedian(np.repeat(x[:, 0], copies))
    np.testing.assert_array_equal(net.predict_proba(x), again.predict_proba(x))


def test_the_median_of_nothing() -> None:
    from fastdense.sklearn.rows import Table, medians

    x = np.array([[np.nan, 1.0], [np.nan, 2.0], [np.nan, np.nan]])
    assert medians(Table(x, x, None), [0, 1]) == [0.0, 1.5]
    assert medians(Table(x, x, np.array([1.0, 2.0, 5.0])), [1]) == [2.0]


def test_many_categories_are_embedded() -> None:
    random = np.random.default_rng(0)
    table = pd.DataFrame({"few": random.choice(list("abc"), 400), "many": random.integers(0, 40, 400).astype(str),
                          "x": random.normal(size=400)})  # fmt: skip
    y = np.asarray(table["many"].astype(int) % 7, dtype=float)
    net = DenseRegressor(hidden_layer_sizes=(16,), solver="lbfgs", random_state=0).fit(table, y)
    assert [type(layer).__name__ for layer in net.model_.layers[:2]] == ["OneHot", "CategoryEmbedding"]
    assert net.score(table, y) > 0.95
    again = DenseRegressor(hidden_layer_sizes=(4,), solver="lm", max_iter=2, random_state=0).fit(table, y)
    assert [type(layer).__name__ for layer in again.model_.layers[:2]] == ["OneHot", "Dense"]
