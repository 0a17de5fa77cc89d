"""The benchmark of C code times what is right."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from benchmarks import native_call


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler here")
def test_all_cases_are_timed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found: list[Any] = []
    monkeypatch.setattr(native_call, "save", lambda result, name, what: found.append(result))
    monkeypatch.setattr(native_call, "SECONDS", 1e-6)
    assert native_call.main(["--rounds", "1"]) == 0
    (result,) = found
    named = {(case["net"], case["by"]) for case in result["cases"]}
    for net in native_call.NETS:
        assert {(net, "C, float32"), (net, "C, int8"), (net, "predict")} <= named
    assert all(case["seconds"] > 0 for case in result["cases"])
    assert "µs a row" in capsys.readouterr().out


def test_wrong_outputs_stop_it(monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler here")
    monkeypatch.setattr(native_call, "TOLERANCE", -1.0)
    with pytest.raises(SystemExit, match="float32: outputs differ by"):
        native_call.measure("10-32-1", 1)
