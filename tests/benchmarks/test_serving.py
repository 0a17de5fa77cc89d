"""The benchmark of predictions times what is right, and stops where it is not."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import serving

SMALL = ["--rounds", "1", "--rows", "1", "20", "--width", "8", "--members", "2"]


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would be written; LightGBM is left out, and turns are short."""
    found: list[Any] = []
    monkeypatch.setattr(serving, "booster", lambda: None)
    monkeypatch.setattr(serving, "save", lambda result, name, what: found.append(result))
    monkeypatch.setattr(serving, "SECONDS", 1e-6)
    return found


def test_all_cases_are_timed(saved: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert serving.main(SMALL) == 0
    (result,) = saved
    assert [(case["front"], case["rows"]) for case in result["cases"]] == [
        (front, rows) for front in serving.FRONTS for rows in (1, 20)
    ]
    for case in result["cases"]:
        assert set(case["microseconds_per_row"]) == {"ensemble", "members"}
        assert case["difference"] <= serving.TOLERANCE
    assert capsys.readouterr().out.count("µs per row") == 4


def test_wrong_answers_are_not_timed(
    saved: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = serving.expected
    monkeypatch.setattr(serving, "expected", lambda model, x: right(model, x) + 1e-3)
    assert serving.main(SMALL) == 1
    assert not saved and "differ from NumPy's by 0.001" in capsys.readouterr().err
