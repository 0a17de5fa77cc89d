"""Reports of a diagnosis: text, JSON, page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fastdense.diagnose.report import Diagnosis
from tests.helpers.diagnosed import stuck

BUDGET = 60.0  # seconds that no case comes near: what is found must not depend on how busy the machine is


@pytest.fixture(scope="module")
def report() -> Diagnosis:
    model, x, y = stuck()
    return model.diagnose(x, y, budget=BUDGET)


def test_text_fits_a_screen_and_has_no_colours_in_a_file(report: Diagnosis) -> None:
    text = str(report)
    lines = text.splitlines()
    assert "\033" not in text
    assert max(map(len, lines)) <= 120
    assert len(lines) <= 40
    assert lines[0] == report.headline
    assert "error OUTPUT_RELU in dense_1" in text
    assert "report.treat() makes a new, compiled model with:" in text
    assert repr(report).startswith("<Diagnosis: OUTPUT_RELU (error)")


def test_to_dict_is_json(report: Diagnosis) -> None:
    found = json.loads(json.dumps(report.to_dict()))
    assert found["findings"][0]["code"] == "OUTPUT_RELU"
    assert found["trials"]["error_before"] > 0.3 > found["trials"]["error_after"]


def test_page_is_whole_and_needs_nothing_from_elsewhere(report: Diagnosis, tmp_path: Path) -> None:
    report.save(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert page.count("<svg") >= 3
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "<script" not in page
    assert "OUTPUT_RELU" in page
    assert "<svg" in report._repr_html_()
