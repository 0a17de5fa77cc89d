"""Reports of a diagnosis: text, JSON, page."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastdense.diagnose.report import Diagnosis
from tests.helpers.diagnosed import stuck

BUDGET = 60.0  # work that no case comes near


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
    assert " ".join(lines[: lines.index("")]) == report.headline
    assert "error OUTPUT_RELU in dense_1" in text
    assert "report.treat() makes a new, compiled model with:" in text
    assert repr(report).startswith("<Diagnosis: OUTPUT_RELU (error)")


def test_to_dict_is_json(report: Diagnosis) -> None:
    found = json.loads(json.dumps(report.to_dict()))
    assert found["findings"][0]["code"] == "OUTPUT_RELU"
    assert found["trials"]["error_before"] > 0.3 > found["trials"]["error_after"]


@pytest.mark.parametrize("twin", [lambda value: pickle.loads(pickle.dumps(value)), copy.deepcopy])
@pytest.mark.parametrize("verify", [True, False])
def test_a_copy_is_the_same_report(
    report: Diagnosis, verify: bool, twin: Callable[[Any], Diagnosis], tmp_path: Path
) -> None:
    if not verify:
        model, x, y = stuck()
        report = model.diagnose(x, y, verify=False)
    copied = twin(report)
    assert str(copied) == str(report) and copied.to_dict() == report.to_dict() and copied.findings == report.findings
    for name, one in (("a", report), ("b", copied)):
        one.save(tmp_path / name)
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text()
    treated, ours = copied.treat(), report.treat()
    assert treated.changes == ours.changes != [] and treated.fit_options == ours.fit_options
    for now, then in zip(treated.model.get_weights(), ours.model.get_weights(), strict=True):
        np.testing.assert_array_equal(now, then)
    remedy = next(remedy for finding in copied.findings for remedy in finding.remedies)
    with pytest.raises(RuntimeError, match=r"^diagnose: this remedy was pickled or copied, .*; report.treat\(\) still"):
        remedy.apply(report._result.plan)


@pytest.mark.parametrize("path", [1, True, 2.5, None])
def test_save_needs_a_path(report: Diagnosis, path: Any) -> None:
    """The number of an open file is none."""
    with pytest.raises(TypeError, match=r"^save: path=.* is of type .*\. Give a path, as a string or a pathlib\.Path"):
        report.save(path)


def test_page_is_whole_and_needs_nothing_from_elsewhere(report: Diagnosis, tmp_path: Path) -> None:
    report.save(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert page.count("<svg") >= 3
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "<script" not in page
    assert "OUTPUT_RELU" in page
    assert "<svg" in report._repr_html_()
