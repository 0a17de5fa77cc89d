"""Budgets in work: what a diagnosis finds depends on the model, the data and the budget, not on the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense.diagnose import trials, work
from fastdense.diagnose.plan import Plan
from fastdense.diagnose.report import Diagnosis
from tests.helpers.diagnosed import stuck, wave

pytestmark = pytest.mark.filterwarnings("ignore:fit. the loss became:RuntimeWarning")

REPORTS = """
import json, sys
from tests.unit.diagnose.test_work import found, nets
print(json.dumps([found(model.diagnose(x, y)) for model, x, y in nets()]))
"""


def net(layers: list[Any], x: Any, y: Any, optimizer: Any, loss: str = "mse", **fit: Any) -> tuple[fd.Model, Any, Any]:
    model = fd.Model(layers, inputs=x.shape[1], seed=0)
    model.compile(optimizer, loss)
    model.fit(x, y, verbose=0, **fit)
    return model, x, y


def nets() -> list[tuple[fd.Model, Any, Any]]:
    """Nets that need many trials, more than the budget allows, diverge, and are healthy."""
    rng = np.random.default_rng(0)
    x, y = wave()
    rows = rng.normal(size=(600, 40)) * 50 + 300
    classes = np.argmax(rows[:, :3], axis=1)
    return [
        net([fd.Dense(16, "relu"), fd.Dense(16, "relu"), fd.Dense(1, "relu")], 100 * x, 30 * y, "sgd", epochs=30),
        net([fd.Dense(256, "relu"), fd.Dense(256, "relu"), fd.Dense(3, "softmax")], rows, classes, fd.SGD(0.1),
            "sparse_categorical_crossentropy", epochs=3),
        net([fd.Dense(16, "tanh"), fd.Dense(1)], x, y, fd.SGD(100.0), epochs=20),
        net([fd.Dense(16, "tanh"), fd.Dense(1)], x, y, fd.Adam(0.01), epochs=200),
    ]  # fmt: skip


def found(report: Diagnosis[Any]) -> tuple[str, str, str]:
    """All that a report says but for the seconds that it took."""
    said = {key: value for key, value in report.to_dict().items() if key != "seconds"}
    return json.dumps(said), str(report), report._repr_html_()


def test_reports_are_the_same_with_one_thread_with_two_and_beside_busy_threads() -> None:
    here = os.pathsep.join(sys.path)
    runs = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", REPORTS],
            env={**os.environ, "OMP_NUM_THREADS": threads, "PYTHONPATH": here},
            capture_output=True, text=True, check=True,
        ).stdout
        for threads in ("1", "2")
    ]  # fmt: skip
    assert runs[0] == runs[1]
    done = threading.Event()

    def busy() -> None:
        a = np.ones((200, 200))
        while not done.is_set():
            a = a @ a / 200

    others = [threading.Thread(target=busy) for _ in range(4)]
    for thread in others:
        thread.start()
    try:
        beside = [found(model.diagnose(x, y)) for model, x, y in nets()]
    finally:
        done.set()
        for thread in others:
            thread.join()
    assert [list(one) for one in beside] == json.loads(runs[0])


def test_no_trial_reads_the_clock_but_for_the_last_resort(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, y = stuck()
    said = found(model.diagnose(x, y))
    ticks = iter(range(10**9))
    monkeypatch.setattr(trials.time, "perf_counter", lambda: next(ticks) * 1e-6)
    assert found(model.diagnose(x, y)) == said


def test_a_report_says_that_the_clock_stopped_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "CLOCK_SECONDS", -1e9)
    model, x, y = stuck()
    report = model.diagnose(x, y)
    made = report.to_dict()["trials"]
    assert (made["stopped_by_the_clock"], made["complete"]) == (True, False)
    assert "the clock stopped the trials" in report.headline


@pytest.mark.parametrize("budget", [0.05, 0.5])
def test_work_stays_within_the_budget(budget: float) -> None:
    for model, x, y in nets():
        report = model.diagnose(x, y, budget=budget)
        fixed = 2 * work.sizes_of(model).gradient(1024) + 0.05  # what rules and the last measurements take
        assert report.to_dict()["work"] <= budget + fixed


def test_large_net_takes_no_longer_than_its_training() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2000, 784)).astype(np.float32), rng.integers(0, 10, 2000)
    layers = [fd.Dense(2048, "relu"), fd.Dense(2048, "relu"), fd.Dense(10, "softmax")]
    model, x, y = net(layers, x, y, fd.SGD(0.01), "sparse_categorical_crossentropy", epochs=1)
    plan = Plan.of(model, 32, 1, True, None)
    assert model.diagnose(x, y, verify=False).to_dict()["work"] <= work.training_seconds(plan, 2000)
    report = model.diagnose(x, y)
    assert report._result.subject.work.budget == max(work.SHORTEST, work.training_seconds(plan, 2000))
    assert report.to_dict()["work"] <= 1.15 * report._result.subject.work.budget


def test_default_budget_is_the_work_of_the_training_that_is_explained() -> None:
    model, x, _ = stuck()
    plan = Plan.of(model, 32, 60, True, None)
    assert work.default_budget(plan, len(x)) == work.SHORTEST
    long = replace(plan, epochs=10**7)
    assert work.default_budget(long, len(x)) == work.LONGEST
    middle = replace(plan, epochs=400_000)
    assert work.SHORTEST < work.default_budget(middle, len(x)) == work.training_seconds(middle, len(x)) < work.LONGEST


def test_work_of_a_net_counts_its_products() -> None:
    layers = [fd.Dense(5, "relu"), fd.Residual([fd.Dense(5, "relu")]), fd.BatchNorm(), fd.Dense(2)]
    sizes = work.Sizes.of(layers, 3, "float32", "cpu")
    assert sizes.products == 3 * 5 + 5 * 5 + 5 * 2
    assert sizes.parameters == fd.Model(layers, inputs=3).count_params()
    assert work.Sizes.of(layers, 3, "float64", "cpu").gradient(10) == 2 * sizes.gradient(10)
    assert sizes.forward(30) < sizes.gradient(30)


@pytest.mark.parametrize(
    "optimizer",
    ["sgd", "adam", "muon", fd.KFAC(0.01), "lbfgs", "newton_cg", "levenberg_marquardt"],
)
def test_epochs_of_every_optimizer_have_a_price(optimizer: Any) -> None:
    model = fd.Model([fd.Dense(8, "tanh"), fd.Dense(1)], inputs=2)
    model.compile(optimizer, "mse")
    plan = Plan.of(model, 32, 10, True, None)
    assert 0 < work.epoch_seconds(plan, 100) < work.epoch_seconds(plan, 1000)
    assert work.training_seconds(plan, 100) > 10 * work.epoch_seconds(plan, 100)


def test_a_budget_too_small_says_which_one_may_do() -> None:
    model, x, y = nets()[1]
    report = model.diagnose(x, y, budget=1e-4)
    assert report.to_dict()["trials"]["complete"] is False
    assert "the budget did not suffice to prove why; pass a larger one, e.g. budget=0.001" in report.headline


def test_rows_of_large_data_are_sampled_and_the_sampling_error_is_stated() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40_000, 6))
    y = (x[:, :1] > 0) * 1.0 + 0.3 * rng.normal(size=(40_000, 1))
    model, x, y = net([fd.Dense(16, "tanh"), fd.Dense(1, "relu")], x, y, fd.SGD(1e-5), epochs=1)
    report = model.diagnose(x, y)
    said = report.to_dict()["trials"]
    assert said["rows"] <= 40_000
    verdict = report._result.verdict
    assert verdict is not None
    shown = verdict.after or verdict.before
    assert shown is not None
    left = np.mean((shown.model.predict(x) - y) ** 2) / np.var(y)  # on all rows
    assert 0 < said["sampling_error"] < 0.05
    assert abs(left - (said["error_after"] or said["error_before"])) < 4 * said["sampling_error"]
    assert "Errors are measured on a sample of the rows" in str(report)
