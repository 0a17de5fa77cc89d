"""`fastdense bench --quick` and the limits that it and the benchmarks compare with."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from fastdense.cli import bench, quick
from fastdense.cli.baselines import Task
from fastdense.cli.limits import Rates, limit_of_epoch, row_flops, weights_and_biases

NET = Task((3, 4, 2), "crossentropy", "adam", 1e-3, 10, 1.0, hidden="sigmoid")


def test_a_limit_is_products_and_each_function_once() -> None:
    rates = Rates("avx2", {1: 2.0, 2: 3.0}, {"sigmoid": 5.0, "softmax": 7.0}, {"sigmoid": 1.0})
    rates.update["adam", 26], rates.gather["float32"] = 11.0, 13.0
    assert weights_and_biases(NET) == 26 and row_flops(NET) == 2 * (3 * (12 + 8) - 12)
    nanoseconds = (
        25 * (96 / 2.0 + 4 * (5.0 + 1.0) + 2 * 7.0 + 3 * 13.0) + 3 * 26 * 11.0
    )  # three steps, the last of 5 rows
    assert math.isclose(limit_of_epoch(NET, 25, "float32", rates, 2), nanoseconds * 1e-9)  # too little for two threads
    large = replace(NET, batch_size=10**6)
    two = 10**6 * (96 / 3.0 + (4 * 6.0 + 14.0 + 39.0) / 2) + 26 * 11.0 / 2
    assert math.isclose(limit_of_epoch(large, 10**6, "float32", rates, 2), two * 1e-9)


def test_the_quick_report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    tasks = (NET, Task((3, 5), "mse", "rmsprop", 1e-3, 8, 1.0, output="relu"), Task((2, 3), "mse", "sgd", 0.1, 8, 1.0))
    tasks = (tasks[0], replace(tasks[1], widths=(5, 5)), replace(tasks[2], widths=(3, 2)))
    result = quick.measure_machine(tasks, rows=64, seconds=0.01)
    for net in result["nets"]:
        assert net["of_limit"] > 0 and 0 < net["best"] <= net["median"] and net["rows"] == 64
    rates = result["rates"]
    assert set(rates.value) == {"relu", "sigmoid", "softmax"} and all(cost >= 0 for cost in rates.value.values())
    shown = quick.as_report({**result, "load": 0.0})
    assert "3 → 4 → 2" in shown and "of the limit" in shown and quick.BUSY_NOTE not in shown
    assert quick.BUSY_NOTE in quick.as_report({**result, "load": 9.0})
    monkeypatch.setattr(quick, "measure_machine", lambda: result)
    assert bench.main(["--quick"]) == 0 and "of the limit" in capsys.readouterr().out
