"""`tabular.fit` and `tabular.search` on small tables: what they learn, that seeds decide all, and messages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense import tabular
from fastdense.tabular.space import BLOCK

Array = np.ndarray[Any, Any]


def numbers(rows: int = 120, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=(rows, 4))


def two_classes(x: Array) -> Array:
    return np.where(x[:, 0] * x[:, 1] + 0.5 * x[:, 2] > 0, "yes", "no")


def fit(*args: Any, **kwargs: Any) -> tabular.TabularModel:
    return tabular.fit(*args, **{"n_ensemble": 2, **kwargs})


def test_classes() -> None:
    x, fresh = numbers(400), numbers(200, seed=1)
    model = fit(x, two_classes(x), task="classification", metric="auc", n_ensemble=3)
    assert model.classes_ is not None and model.classes_.tolist() == ["no", "yes"]
    p = model.predict_proba(fresh)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-6)
    labels = model.predict(fresh)
    assert (labels == model.classes_[p.argmax(axis=1)]).all()
    assert np.mean(labels == two_classes(fresh)) > 0.8
    report = model.report_
    assert report["metric"] == "auc" and len(report["members"]) == 3
    assert report["best_member"] == max(one["score"] for one in report["members"])
    assert sum(one["weight"] for one in report["members"]) == pytest.approx(1.0)
    assert len(model.ensemble) == sum(one["weight"] > 0 for one in report["members"])
    assert 0.5 < report["cross_fitted"] <= 1.0


def test_several_classes() -> None:
    x = numbers(300)
    y = np.digitize(x[:, 0], [-0.5, 0.5]) + 5
    model = fit(x, y, task="classification", metric="accuracy")
    assert model.predict_proba(x).shape == (300, 3)
    assert np.mean(model.predict(x) == y) > 0.85


def test_a_regression_is_in_the_units_of_its_targets() -> None:
    x, fresh = numbers(300), numbers(200, seed=1)
    model = fit(x, 1e5 + 2e4 * x[:, 0], task="regression")
    error = model.predict(fresh) - (1e5 + 2e4 * fresh[:, 0])
    assert np.sqrt(np.mean(error**2)) < 6e3
    assert model.report_["validation"] < 6e3  # rmse, in the same units
    with pytest.raises(ValueError, match="predict_proba: the task is a regression; classes are needed: use predict"):
        model.predict_proba(fresh)


def test_targets_of_different_scales_count_alike() -> None:
    x = numbers(200)
    model = fit(x, np.stack([1000 * x[:, 0], 0.001 * x[:, 1]], axis=1), task="regression", metric="r2")
    made = model.predict(x)
    assert made.shape == (200, 2)
    for j, scale in enumerate((1000, 0.001)):
        assert np.corrcoef(made[:, j], scale * x[:, j])[0, 1] > 0.9


def test_categories_and_missing_values() -> None:
    pd = pytest.importorskip("pandas")
    pytest.importorskip("narwhals")
    random = np.random.default_rng(0)
    n = 300
    frame = pd.DataFrame({
        "kind": random.choice(["a", "b", "c"], n),
        "number": random.normal(size=n),
        "city": random.choice([f"city {i}" for i in range(40)], n),  # more than ONE_HOT
        "other": random.normal(size=n),
    })  # fmt: skip
    frame.loc[::7, "number"] = np.nan
    y = ((frame["kind"] == "b") | (frame["number"] > 1) | frame["number"].isna()).to_numpy()
    model = fit(frame, y, task="classification", metric="accuracy")
    assert np.mean(model.predict(frame) == y) > 0.85
    strange = frame.assign(kind="new", other=np.nan)[:5]  # what the fit did not see
    assert np.isfinite(model.predict_proba(strange[["other", "city", "number", "kind"]])).all()


def test_validation_rows_are_those_that_are_given() -> None:
    x, held = numbers(100), numbers(50, seed=1)
    model = fit(x, two_classes(x), task="classification", validation=(held, two_classes(held)), metric="accuracy")
    assert model.report_["validation"] == pytest.approx(np.mean(model.predict(held) == two_classes(held)))


def test_weights_of_rows_count() -> None:
    x = numbers(120)
    y = np.where(np.arange(120) % 3 == 0, 5.0, 0.0)
    model = fit(x, y, task="regression", sample_weight=(np.arange(120) % 3 == 0) + 1e-6)
    assert abs(model.predict(x).mean() - 5.0) < 1.0  # the rows of 0 hardly count


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_seed_decides_at_any_number_of_threads(task: str) -> None:
    x = numbers()
    y = two_classes(x) if task == "classification" else x[:, 0]
    one, two, other = (fit(x, y, task=task, random_state=s, n_threads=t) for s, t in ((1, 1), (1, 2), (2, 2)))
    outputs = [model.ensemble.predict(x) for model in (one, two, other)]
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert (outputs[0] != outputs[2]).any()
    assert [m["score"] for m in one.report_["members"]] == [m["score"] for m in two.report_["members"]]


def test_hardly_any_time_still_gives_a_model() -> None:
    x = numbers()
    model = fit(x, x[:, 0], task="regression", time_limit=1e-3, n_ensemble=None)
    assert np.isfinite(model.predict(x)).all()


def test_time_left_trains_more_nets() -> None:
    x = numbers(60)
    model = fit(x, x[:, 0], task="regression", time_limit=60.0, n_ensemble=3, n_threads=2)
    assert len(model.report_["members"]) == 2 + 3  # two tell how long an epoch takes
    assert max(one["epochs"] for one in model.report_["members"]) > 5


def test_files_hold_everything(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    pytest.importorskip("narwhals")
    frame = pd.DataFrame({"a": numbers()[:, 0], "kind": np.where(numbers()[:, 1] > 0, "x", "y")})
    for task, y in (("regression", frame["a"].to_numpy() * 3), ("classification", frame["kind"].to_numpy())):
        model = fit(frame, y, task=task, n_ensemble=2)
        model.save(tmp_path / "model")
        again = tabular.load(tmp_path / "model")
        np.testing.assert_array_equal(again.predict(frame), model.predict(frame))
        assert again.report_ == model.report_
        ensemble = fd.load(tmp_path / "model")
        np.testing.assert_array_equal(
            ensemble.predict(model.columns.transform(frame)), model.ensemble.predict(model.columns.transform(frame))
        )
    model.ensemble.save(tmp_path / "ensemble")
    with pytest.raises(ValueError, match="it holds no model of a table; use fastdense.load for models and ensembles"):
        tabular.load(tmp_path / "ensemble")


def test_a_search_tries_what_the_space_holds() -> None:
    x = numbers()
    space = {"width": [8, 16], "depth": [1], "learning_rate": (1e-3, 1e-2, "log"), "embedding": ["none"]}
    found = tabular.search(space, x, two_classes(x), task="classification", n_trials=BLOCK)
    trials = found.report_["members"]
    assert {one["width"] for one in trials} == {8, 16}
    assert {one["depth"] for one in trials} == {1}
    assert {one["dropout"] for one in trials} == {tabular.Settings().dropout}
    assert sorted(one["learning_rate"] < 10**-2.5 for one in trials) == [False] * 4 + [True] * 4
    heaviest = max(trials, key=lambda one: one["weight"])
    assert [layer.units for layer in found.best.layers if isinstance(layer, fd.Dense)] == [heaviest["width"], 1]


X, Y = numbers(20), np.arange(20.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "rank"}, "fit: task='rank' is not known. Use 'regression' or 'classification'."),
        ({"time_limit": 0}, "fit: time_limit=0 is out of range. Give a finite number above 0."),
        ({"n_ensemble": 0}, "fit: n_ensemble=0 is out of range."),
        ({"random_state": -1}, "fit: random_state=-1 is out of range."),
        ({"validation": 1.0}, "fit: validation=1.0 is out of range. Give a finite number above 0 and below 1."),
        ({"validation": [X, Y]}, "fit: validation is a list of 2; a tuple (x, y) or (x, y, sample_weight)"),
        ({"validation": (X, Y[:5])}, "fit: validation has 20 rows of x and 5 of y; as many are needed"),
        ({"sample_weight": [1.0]}, "fit: sample_weight has shape (1,); (20,) is needed"),
        ({"n_threads": 0}, "fit: n_threads=0 is out of range."),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        tabular.fit(X, Y, **{"task": "regression", **arguments})


def test_a_wrong_number_of_targets_is_refused() -> None:
    with pytest.raises(ValueError, match=re.escape("fit: x has 20 rows and y has 5; as many are needed")):
        tabular.fit(X, Y[:5], task="regression")


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"activation": ["rleu"]}, "search: space['activation'] holds 'rleu': Dense: activation='rleu' is not a known"),
        ({"dropout": (0.0, 1.0)}, "search: space['dropout'] holds 1.0: Dropout: rate=1.0 is out of range."),
        ({"lr": [1]}, "search: space: 'lr' is no hyperparameter of the recipe; the names are embedding, bins"),
    ],
)
def test_a_wrong_space_is_refused(space: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        tabular.search(space, X, Y, task="regression")
