"""Diagnosis: every code on sick nets and their healthy twins, repairs that hold, reports, hints, the command line."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense.diagnose import CODES, Finding
from fastdense.diagnose.plan import Plan
from fastdense.diagnose.report import Diagnosis
from fastdense.diagnose.subject import Given, Subject
from fastdense.diagnose.task import read_task
from tests.helpers.diagnosed import stuck, wave
from tests.zoo import HEALTHY, SICK, Case
from tests.zoo.check import available
from tests.zoo.score import judge

BUDGET = 60.0  # work that no case comes near


def skip_without_data(case: Case) -> None:
    if not available(case):
        pytest.skip("needs MNIST and Fashion-MNIST; set FASTDENSE_DATA")


@pytest.mark.parametrize("name", SICK)
def test_cause_is_among_the_first_two_and_the_treatment_repairs(name: str) -> None:
    case = SICK[name]
    skip_without_data(case)
    result = judge(case, budget=BUDGET)
    assert result.trouble == ""
    assert result.hit, f"{result.codes}, not {case.causes}"
    if not case.hopeless:
        assert result.repaired


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_nets_are_not_called_broken(name: str) -> None:
    case = HEALTHY[name]
    skip_without_data(case)
    result = judge(case, budget=BUDGET)
    assert result.trouble == ""
    assert result.errors == ()


@pytest.mark.parametrize("name", [name for name, case in HEALTHY.items() if case.twin])
def test_healthy_twin_does_not_trigger_the_code_of_its_sick_twin(name: str) -> None:
    case = HEALTHY[name]
    skip_without_data(case)
    model, x, y = case.train()
    code, given = SICK[case.twin].causes[0], {} if case.given is None else case.given()
    assert code not in [f.code for f in model.diagnose(x, y, budget=BUDGET, **given).findings if f.severity != "info"]


def test_every_code_is_found_in_the_zoo() -> None:
    assert {case.causes[0] for case in SICK.values()} | {"BASELINE"} == set(CODES)
    x, y = wave()
    zeros = {"kernel_initializer": "zeros"}
    model = fd.Model([fd.Dense(8, "tanh", **zeros), fd.Dense(1, **zeros)], inputs=1)
    model.compile("adam", "mse")
    model.fit(x, y, epochs=20, verbose=0)
    found = model.diagnose(x, y).findings
    assert found[-1].code == "BASELINE"
    assert found[-1].severity == "info"


def test_docs_list_every_code_in_the_order_of_the_rules() -> None:
    docs = (Path(__file__).parents[3] / "docs" / "diagnosis.md").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^\| ([A-Z][A-Z0-9_]+) \|", docs, re.MULTILINE)) == CODES


def test_model_and_data_are_left_as_they_were() -> None:
    model, x, y = stuck()
    before, step, x0, y0 = model.get_weights(), model.runner.step, x.copy(), y.copy()
    history = model.history
    model.diagnose(x, y)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert model.runner.step == step
    assert model.history is history
    np.testing.assert_array_equal(x, x0)
    np.testing.assert_array_equal(y, y0)


def test_treatment_is_a_new_compiled_model_that_does_what_the_trial_did() -> None:
    model, x, y = stuck()
    report = model.diagnose(x, y, budget=BUDGET)
    assert report.findings[0].code == "OUTPUT_RELU"
    assert report.healthy is False
    first, second = report.treat(), report.treat()
    assert first.model is not model
    assert first.model.compiled
    assert first.model.runner.step == 0
    assert first.changes and "linear" in first.changes[0]
    assert str(first).startswith("1. OUTPUT_RELU")
    for treatment in (first, second):
        treatment.model.fit(x, y, verbose=0, **treatment.fit_options)
    for a, b in zip(first.model.get_weights(), second.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    left = np.mean((first.model.predict(x) - y) ** 2) / np.var(y)
    assert left < 0.05
    assert report.to_dict()["trials"]["error_after"] == pytest.approx(left, rel=1e-4)


def test_healthy_net_is_called_healthy_and_nothing_is_changed() -> None:
    x, y = wave()
    model = fd.Model([fd.Dense(16, "tanh"), fd.Dense(1)], inputs=1)
    model.compile(fd.Adam(0.01), "mse")
    model.fit(x, y, epochs=200, verbose=0)
    report = model.diagnose(x, y)
    assert report.healthy is True
    assert report.causes == []
    assert report.headline.startswith("Healthy: the net learns (R2 0.99")
    assert report.treat().changes == []
    assert str(report.treat()) == "nothing was changed"


def test_noise_is_said_to_be_noise() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((600, 3)), generator.standard_normal((600, 1))
    model = fd.Model([fd.Dense(8, "relu"), fd.Dense(1)], inputs=3)
    model.compile("adam", "mse")
    model.fit(x, y, epochs=20, verbose=0)
    report = model.diagnose(x, y, budget=BUDGET)
    assert report.headline.startswith("Nothing tried predicts y from x (NOISE): on 600 rows kept out")
    assert [f.code for f in report.findings[:2]] == ["NOISE", "BAD_DATA"]
    assert report.healthy is False
    assert report.treat().changes == []


def test_without_trials_nothing_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, y = stuck()

    def no(*arguments: Any, **options: Any) -> None:
        raise AssertionError("fit was called")

    monkeypatch.setattr(fd.Model, "fit", no)
    report = model.diagnose(x, y, verify=False)
    assert report.healthy is None
    assert report.findings[0].code == "OUTPUT_RELU"
    assert any("linear" in change for change in report.treat().changes)
    assert "no trials were made" in report.headline


def test_history_may_be_given_in_every_form() -> None:
    x, y = wave()
    model = fd.Model([fd.Dense(16, "tanh"), fd.Dense(1)], inputs=1)
    model.compile(fd.SGD(10.0), "mse")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        history = model.fit(x, y, epochs=5, verbose=0)
    for record in (None, history, history.history):
        assert model.diagnose(x, y, history=record).findings[0].code == "DIVERGED"
    with pytest.raises(ValueError, match=r"diagnose: history is a int; what fit returned is needed"):
        model.diagnose(x, y, history=3)


def test_data_that_fit_refuses() -> None:
    x, y = wave()
    model = fd.Model([fd.Dense(16, "tanh"), fd.Dense(1)], inputs=1)
    model.compile("adam", "mse")
    bad = x.copy()
    bad[7] = np.nan
    report = model.diagnose(bad, y)
    assert report.findings[0].code == "BAD_DATA"
    assert "the first (nan) in row 7, column 0" in report.findings[0].message
    assert report.findings[0].evidence["row"] == 7


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [1e39, -1e200, 1e308, np.nan, np.inf])
@pytest.mark.parametrize(
    ("name", "where"), [("x", (5, 1)), ("x", (..., 1)), ("x", ...), ("y", (5, 0)), ("y", ...), ("weights", 3)]
)
def test_unusable_numbers_are_bad_data(name: str, where: Any, value: float, dtype: str, verify: bool) -> None:
    """Also where all rows have one, and whatever statistics would overflow: neither an error nor a NumPy warning."""
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(60, 3)), np.ones(60)
    y = x.sum(axis=1, keepdims=True)
    data = {"x": x, "y": y, "weights": weights}
    data[name][where] = value
    model = fd.Model([fd.Dense(8, "relu"), fd.Dense(1)], inputs=3, dtype=dtype)
    model.compile("adam", "mse")
    accepted = np.isfinite(value) and dtype == "float64" and (abs(value) < 1e150 or name == "weights")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = model.diagnose(x, y, sample_weight=weights, verify=verify, budget=0.2)
        assert str(report) and report._repr_html_() and report.to_dict() and report.treat().model.compiled
    codes = [finding.code for finding in report.causes]
    assert (codes[:1] == ["BAD_DATA"]) or accepted
    if not accepted:
        message = report.causes[0].message
        if name == "weights":
            assert message.startswith("fit rejects the sample weights: sample_weight[3] is ")
        elif np.isfinite(value):
            count = data[name][where].size
            largest = "1e+150" if dtype == "float64" else "3.4e+38"
            assert f"holds {count} values that {dtype} cannot compute with, the first ({value:g}) in row" in message
            assert message.endswith(f": numbers beyond {largest} overflow.")
        else:
            assert f"NaN or infinite values, the first ({value})" in message


@pytest.mark.parametrize("value", [1e39, -1e200, 1e308])
def test_statistics_that_overflow_are_bad_data(value: float) -> None:
    """A net that begins with a Normalization takes them of x itself."""
    x = np.random.default_rng(0).normal(size=(60, 3))
    y = x.sum(axis=1, keepdims=True)
    x[5, 1] = value
    model = fd.Model([fd.Normalization(), fd.Dense(8, "relu"), fd.Dense(1)], inputs=3)
    model.compile("adam", "mse")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = model.diagnose(x, y, budget=0.2)
    assert report.causes[0].code == "BAD_DATA" and f"the first ({value:g}) in row 5" in report.causes[0].message


def test_errors_of_the_call_itself() -> None:
    x, y = wave()
    model = fd.Model([fd.Dense(1)], inputs=1)
    with pytest.raises(ValueError, match="diagnose: the model is not compiled"):
        model.diagnose(x, y)
    model.compile("adam", "mse")
    with pytest.raises(ValueError, match=r"diagnose: x has shape \(200, 2\); the model takes \(rows, 1\)"):
        model.diagnose(np.hstack([x, x]), y)
    with pytest.raises(ValueError, match=r"diagnose: x has 200 rows and y has shape \(3, 1\)"):
        model.diagnose(x, y[:3])
    with pytest.raises(ValueError, match="diagnose: budget"):
        model.diagnose(x, y, budget=0)
    with pytest.raises(TypeError, match="unknown argument 'buget'. Did you mean 'budget'"):
        model.diagnose(x, y, buget=1)


def test_findings_name_layer_units_evidence_and_remedy() -> None:
    x, y = wave()
    model = fd.Model([fd.Dense(3, "relu", name="bends"), fd.Dense(1)], inputs=1)
    model.compile(fd.Adam(0.01), "mse")
    weights = model.get_weights()
    weights[0][:, 1], weights[1][1] = 0.1, -5.0  # a unit that is off for every x up to 3
    model.set_weights(weights)
    model.fit(x, y, epochs=300, batch_size=200, verbose=0)
    found = {f.code: f for f in model.diagnose(x, y, budget=BUDGET).findings}
    dead = found["DEAD_RELU"]
    assert isinstance(dead, Finding)
    assert (dead.layer, dead.units) == ("bends", [1])
    assert dead.evidence["dead_share"] == pytest.approx(1 / 3)
    assert dead.remedy


@pytest.fixture(scope="module")
def report() -> Diagnosis:
    model, x, y = stuck()
    return model.diagnose(x, y, budget=BUDGET)


@pytest.mark.parametrize(
    ("y", "loss", "activation", "kind", "encoding", "width"),
    [
        ([0, 1, 1], "mse", "linear", "binary", "zero_one", 1),
        ([-1, 1, 1], "mse", "tanh", "binary", "signs", 1),
        ([0.5, 1, 2], "mse", "linear", "regression", "values", 1),
        ([0, 1, 2, 0, 1, 2], "sparse_categorical_crossentropy", "softmax", "classes", "ids", 3),
        ([1, 2, 3, 1, 2, 3], "sparse_categorical_crossentropy", "softmax", "classes", "ids", 4),
        ([[1, 0], [0, 1]], "categorical_crossentropy", "softmax", "classes", "one_hot", 2),
        ([[1, 0], [1, 1]], "binary_crossentropy", "sigmoid", "multilabel", "columns", 2),
        ([[1.5, 0], [1, 1]], "mse", "linear", "regression", "values", 2),
        ([[0.2, 0.8], [0.5, 0.5]], "categorical_crossentropy", "softmax", "classes", "one_hot", 2),
    ],
)
def test_task_is_read_off_targets_and_loss(
    y: Any, loss: str, activation: str, kind: str, encoding: str, width: int
) -> None:
    targets = np.asarray(y, dtype=float)
    targets = targets.reshape(len(targets), -1)
    task = read_task(targets, fd.losses.get(loss), activation, max(2, targets.shape[1]), [])
    assert (task.kind, task.encoding, task.width) == (kind, encoding, width)
    assert task.errors(targets, targets if task.encoding != "ids" else np.eye(task.width)[targets[:, 0].astype(int)],
                       float(targets.mean())) == 0  # fmt: skip


def test_first_values_that_a_user_gave_are_part_of_the_plan() -> None:
    x, y = wave()
    model = fd.Model([fd.Dense(4, "tanh"), fd.Dense(1)], inputs=1)
    model.compile("adam", "mse")
    model.set_weights([np.full_like(w, 0.5) for w in model.get_weights()])
    subject = Subject(model, Given(x, y))
    made = Plan.of(model, 32, 1, True, subject.given_weights).build()
    for a, b in zip(made.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_number_that_stands_for_missing_values_is_named() -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((300, 5))
    x[:, 2] = random.random(300) < 0.1  # a flag
    x[:, 3] = np.where(random.random(300) < 0.5, 0, np.exp(3 * x[:, 3]))  # many zeros and a long tail
    model = fd.Model([fd.Dense(8, "relu"), fd.Dense(1)], inputs=5)
    model.compile("adam", "mse")
    y = random.standard_normal((300, 1))
    assert "BAD_DATA" not in {found.code for found in model.diagnose(x, y, verify=False).findings}
    x[::10, 1] = -9999
    found = next(one for one in model.diagnose(x, y, verify=False).findings if one.code == "BAD_DATA")
    assert (found.severity, found.evidence["columns"], found.evidence["value"]) == ("warning", [1], -9999.0)
    assert "replace -9999 by the median" in found.remedy
