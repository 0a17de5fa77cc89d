"""The benchmark of estimators: its examples are complete, and what it writes is what it measured."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

pytest.importorskip("sklearn")

from benchmarks import estimators
from fastdense.sklearn import DenseClassifier


def test_the_examples() -> None:
    assert len(list(estimators.alpha())) == 15
    assert len(list(estimators.curves())) == 28
    assert all(fit.parameters.keys() <= DenseClassifier().get_params().keys() for fit in estimators.curves())


@pytest.mark.filterwarnings("ignore")
def test_what_is_written(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(estimators, "save", lambda result, name, what: found.append(result))
    first = list(itertools.islice(estimators.alpha(), 1))
    monkeypatch.setitem(estimators.EXAMPLES, "alpha", lambda: iter(first))
    assert estimators.main(["--rounds", "2", "--only", "alpha"]) == 0
    (case,) = found[0]["cases"]
    assert case["fits"] == 1 and {name: len(runs) for name, runs in case["runs"].items()} == {
        "MLPClassifier": 2, "DenseClassifier": 2}  # fmt: skip
    for runs in case["runs"].values():
        assert all(run["seconds"] > 0 and 0.5 < run["scores"][0] <= 1 for run in runs)
    assert "times as fast" in capsys.readouterr().out
