"""Names of columns: remembered by `fit`, put in order later, and an error where they are others."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import fastdense as fd
from fastdense import keras
from fastdense.data.names import names_of

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 3))
Y = X @ [1.0, 2.0, 3.0]
NAMES = ("age", "height", "weight")
Make = Callable[[dict[str, Any]], Any]
FRAMES: dict[str, Make] = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "pyarrow": pa.table,
    "batch": pa.RecordBatch.from_pydict,
}


def frame(make: Make, names: tuple[str, ...] = NAMES, known: tuple[str, ...] = NAMES) -> Any:
    return make({name: X[:, known.index(name) if name in known else 0] for name in names})


def fitted(make: Make) -> fd.Model:
    model = fd.Model([fd.Dense(1)], inputs=3)
    model.compile("adam", "mse")
    model.fit(frame(make), Y, epochs=1, verbose=0)
    return model


@pytest.mark.parametrize("kind", FRAMES)
def test_names_of(kind: str) -> None:
    assert names_of(frame(FRAMES[kind])) == NAMES


@pytest.mark.parametrize(
    "x", [X, X.tolist(), pd.DataFrame(X), pd.Series(Y), pl.Series(Y), pd.DataFrame(), None, "text"]
)
def test_no_names(x: Any) -> None:
    assert names_of(x) is None


@pytest.mark.parametrize("kind", FRAMES)
def test_reordered_columns_are_put_in_order(kind: str) -> None:
    make = FRAMES[kind]
    model, other = fitted(make), frame(make, ("weight", "age", "height"))
    assert model.feature_names == NAMES
    assert np.array_equal(model.predict(other), model.predict(X))
    assert np.array_equal(model.predict(frame(make)), model.predict(X))
    assert model.evaluate(other, Y) == model.evaluate(X, Y)
    assert np.array_equal(model.activations(other)[0], model.activations(X)[0])
    assert model.train_on_batch(other, Y) == fitted(make).train_on_batch(X, Y)


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize("method", ["predict", "evaluate", "fit", "train_on_batch", "loss_and_grad"])
def test_other_names_are_an_error(kind: str, method: str) -> None:
    model = fitted(FRAMES[kind])
    targets = () if method == "predict" else (Y,)
    for names, message in (
        (("age", "height", "mass"), "lacks 'weight' and has 'mass' besides"),
        (("age", "height"), "lacks 'weight'; the columns"),
        ((*NAMES, "name"), "has 'name' besides; the columns"),
    ):
        text = f"{method}: x {message}"
        with pytest.raises(ValueError, match=re.escape(text)) as error:
            getattr(model, method)(frame(FRAMES[kind], names), *targets)
        assert str(error.value).endswith(
            "the columns that the model was fitted on are needed: 'age', 'height', 'weight': rename or select them, or "
            "pass x as a NumPy array to go by their positions"
        )


def test_validation_data() -> None:
    model = fd.Model([fd.Dense(1)], inputs=3)
    model.compile("adam", "mse")
    other = frame(pd.DataFrame, ("height", "age", "weight"))
    history = model.fit(frame(pd.DataFrame), Y, verbose=0, validation_data=(other, Y)).history
    assert history["val_loss"][0] == model.evaluate(X, Y)
    unnamed = fd.Model([fd.Dense(1)], inputs=3)
    unnamed.compile("adam", "mse")
    with pytest.raises(ValueError, match="^fit: validation x lacks 'weight' and has 'mass' besides"):
        unnamed.fit(
            frame(pd.DataFrame), Y, verbose=0, validation_data=(frame(pd.DataFrame, ("age", "height", "mass")), Y)
        )
    assert unnamed.feature_names is None


def test_batches() -> None:
    table = frame(pa.table)
    model = fd.Model([fd.Dense(1)], inputs=3)
    model.compile("adam", "mse")
    batches = table.to_batches(max_chunksize=7)
    parts = np.array_split(Y, range(7, 40, 7))
    other = frame(pd.DataFrame, ("height", "age", "weight"))
    history = model.fit(zip(batches, parts, strict=True), verbose=0, validation_data=(other, Y)).history
    assert model.feature_names == NAMES
    assert history["val_loss"][0] == model.evaluate(X, Y)
    assert np.array_equal(model.predict(iter([other])), model.predict(X))
    with pytest.raises(ValueError, match="^predict: item 1: x lacks 'weight'; the columns"):
        model.predict(iter([other, frame(pd.DataFrame, ("height", "age"))]))
    with pytest.raises(ValueError, match="^fit: validation_data: item 0: x lacks 'weight' and has 'mass' besides"):
        model.fit(X, Y, verbose=0, validation_data=iter([(frame(pd.DataFrame, ("height", "age", "mass")), Y)]))


def test_files_and_copies_keep_names(tmp_path: Path) -> None:
    model = fitted(pd.DataFrame)
    model.save(tmp_path / "model")
    for copied in (fd.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
        assert copied.feature_names == NAMES
        assert np.array_equal(copied.predict(frame(pl.DataFrame, ("weight", "age", "height"))), model.predict(X))
    assert model.clone().feature_names is None


def test_populations() -> None:
    model = fd.Model([fd.Dense(1)], inputs=3)
    model.compile("adam", "mse")
    other = frame(pd.DataFrame, ("height", "age", "weight"))
    population = fd.fit_many(model, frame(pd.DataFrame), Y, starts=3, verbose=0, validation_data=(other, Y))
    assert np.array_equal(population.predict(other), population.predict(X))
    assert population.best.feature_names == NAMES
    ensemble = population.ensemble(other, Y)
    assert np.array_equal(ensemble.predict(other), ensemble.predict(X))
    with pytest.raises(ValueError, match="^predict: x lacks 'weight'"):
        population.predict(frame(pd.DataFrame, ("height", "age")))
    assert model.feature_names is None


def test_names_may_be_given_up() -> None:
    model = fitted(pd.DataFrame)
    model.feature_names = None
    model.fit(frame(pd.DataFrame, ("a", "b", "c"), ("a", "b", "c")), Y, verbose=0)
    assert model.feature_names == ("a", "b", "c")


def test_duplicates_have_no_order() -> None:
    model = fitted(pd.DataFrame)
    twice = frame(pd.DataFrame)
    twice.columns = ["age", "age", "weight"]
    with pytest.raises(ValueError, match="^predict: x lacks 'height'; the columns"):
        model.predict(twice)


@pytest.mark.parametrize("y", [pd.Series(Y), pd.DataFrame({"y": Y}), pl.Series(Y), pl.DataFrame({"y": Y}), pa.array(Y)])
def test_targets_may_have_a_name(y: Any) -> None:
    model = fitted(pd.DataFrame)
    assert model.evaluate(X, y) == model.evaluate(X, Y)


def test_names_in_scripts_for_keras(tmp_path: Path) -> None:
    model = keras.Sequential([keras.layers.Dense(4, "relu"), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    other = frame(pd.DataFrame, ("height", "age", "weight"))
    model.fit(frame(pd.DataFrame), pd.Series(Y), epochs=2, verbose=0, validation_data=(other, Y))
    assert np.array_equal(model.predict(other, verbose=0), model.predict(X, verbose=0))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert np.array_equal(again.predict(other, verbose=0), model.predict(X, verbose=0))
    with pytest.raises(ValueError, match="^predict: x lacks 'weight'"):
        again.predict(other[["height", "age"]], verbose=0)
