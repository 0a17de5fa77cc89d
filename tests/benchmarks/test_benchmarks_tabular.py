"""The comparison on real tables: parts, scores, ranks, result files that are continued; not how good anything is."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.tabular import report, run, tables

pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two small tables in a folder of their own: classes with a text column and a hole, and a regression."""
    folder = tmp_path / "tabular"
    folder.mkdir()
    random = np.random.default_rng(0)
    n = 200
    frame = pd.DataFrame({
        "part": np.where(np.arange(n) % 5 < 3, "train", np.where(np.arange(n) % 5 == 3, "val", "test")),
        "a": random.standard_normal(n),
        "kind": random.choice(["x", "y", "z"], n),
    })  # fmt: skip
    frame.loc[2, "a"] = np.nan
    two = frame.assign(target=(frame["a"].fillna(0) + (frame["kind"] == "x") > 0.3).astype(int))
    two.to_csv(folder / "two.csv.gz", index=False)
    frame.assign(target=2.0 * frame["a"].fillna(0)).to_csv(folder / "line.csv.gz", index=False)
    entries = {
        "two": {"task": "binary", "metric": "auc", "rows": n},
        "line": {"task": "regression", "metric": "rmse", "rows": n + 1},
        "elsewhere": {"task": "regression", "metric": "rmse", "rows": 1},  # its rows are not here
    }
    (folder / "tables.json").write_text(json.dumps(entries), encoding="utf-8")
    monkeypatch.setenv(tables.VARIABLE, str(tmp_path))
    return tmp_path


def test_a_table_has_its_parts_and_kinds(data: Path) -> None:
    assert tables.names() == ["two", "line"]
    table = tables.load("two")
    assert {part: len(x) for part, x in table.x.items()} == {"train": 120, "val": 40, "test": 40}
    assert (table.categorical, table.numeric) == (["kind"], ["a"])
    assert table.x["train"]["a"].isna().sum() == 1
    assert table.y["train"].dtype == np.int64


def test_without_a_folder_it_stops(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(tables.VARIABLE, str(tmp_path))
    with pytest.raises(SystemExit, match="set FASTDENSE_DATA to the folder that holds tabular/"):
        tables.names()


def test_scores_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score, mean_squared_error, roc_auc_score

    random = np.random.default_rng(1)
    y, p = random.integers(0, 2, 300), np.round(random.random(300), 1)  # with ties
    both = np.stack([1 - p, p], axis=1)
    assert tables.score("auc", y, both) == pytest.approx(roc_auc_score(y, p), rel=1e-12)
    assert tables.score("accuracy", y, both) == accuracy_score(y, p > 0.5)
    assert tables.score("rmse", y, p) == pytest.approx(mean_squared_error(y, p) ** 0.5, rel=1e-12)


def rows(values: dict[str, dict[str, float]], metric: str) -> list[dict[str, Any]]:
    return [
        {"table": table, "model": model, "seed": 0, "metric": metric, "test": value, "val": value, "seconds": 1.0}
        for table, models in values.items()
        for model, value in models.items()
    ]


def test_ranks_wins_and_the_critical_difference() -> None:
    good = rows({"a": {"fastdense": 0.9, "lightgbm": 0.8, "sk_mlp": 0.8}, "b": {"fastdense": 0.5}}, "auc")
    errors = rows({"c": {"fastdense": 2.0, "lightgbm": 1.0, "sk_mlp": 3.0}}, "rmse")
    found, count = report.mean_ranks(good + errors, ["fastdense", "lightgbm", "sk_mlp"])
    assert (found, count) == ({"fastdense": 1.5, "lightgbm": 1.75, "sk_mlp": 2.75}, 2)  # b has one model only
    assert report.wins(good + errors, "fastdense", "lightgbm") == (1, 2)
    assert report.critical_difference(4, 24) == pytest.approx(2.569 * math.sqrt(4 * 5 / (6 * 24)))
    text = report.text(good + errors)
    assert "| a (auc) | **0.9** | 0.8 | 0.8 |" in text
    assert "| c (rmse) | 2 | **1** | 3 |" in text
    assert "fastdense is better than LightGBM on 1 of 2, scikit-learn MLP on 2 of 2." in text


def test_a_result_file_is_continued(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "RESULTS", tmp_path)
    arguments = ["--models", "sk_mlp", "--threads", "1", "--name", "made", "--tables", "two"]
    assert run.main(arguments) == 0
    assert len(run.read(tmp_path / "made.jsonl")) == 1
    assert run.main([*arguments, "line"]) == 0
    first, second = run.read(tmp_path / "made.jsonl")
    assert (first["table"], second["table"]) == ("two", "line")
    assert first["test"] > 0.6 and second["test"] < 1.0
    assert "| two (auc) |" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="no such table: three. There are two, line"):
        run.main([*arguments, "three"])


def test_a_run_that_fails_is_a_row_that_says_so(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = run.measure("sk_mlp", "two", 0, 1, timeout=0.01)
    assert row["failed"] == "took more than 0.01 s"
    assert report.text([row]) == "no results"


def test_the_plot_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    report.draw(
        rows({"a": {"fastdense": 0.9, "lightgbm": 0.8}, "b": {"fastdense": 0.5, "lightgbm": 0.6}}, "auc"),
        tmp_path / "plot.png",
    )
    assert (tmp_path / "plot.png").stat().st_size > 1000
