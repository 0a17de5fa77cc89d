"""Diagnosis: every code on sick nets and their healthy twins, repairs that hold, reports, hints, the command line."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastdense as fd
from fastdense.cli.diagnose import main
from fastdense.data.baseline import constant_predictor
from fastdense.diagnose import CODES, Finding
from fastdense.diagnose.plan import Plan
from fastdense.diagnose.report import Diagnosis
from fastdense.diagnose.subject import Subject
from fastdense.diagnose.task import read_task
from fastdense.reference.losses import row_losses
from tests.zoo import HEALTHY, SICK, Case
from tests.zoo.check import available
from tests.zoo.score import judge

BUDGET = 60.0  # seconds that no case comes near: what is found must not depend on how busy the machine is


def skip_without_data(case: Case) -> None:
    if not available(case):
        pytest.skip("needs MNIST and Fashion-MNIST; set FASTDENSE_DATA")


# ---- the zoo ---------------------------------------------------------------------------------------------------------


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
    code = SICK[case.twin].causes[0]
    assert code not in [f.code for f in model.diagnose(x, y, budget=BUDGET).findings if f.severity != "info"]


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


# ---- the interface ---------------------------------------------------------------------------------------------------


def wave(rows: int = 200) -> tuple[Any, Any]:
    x = np.linspace(-3, 3, rows)[:, None]
    return x, np.sin(x)


def stuck() -> tuple[fd.Model, Any, Any]:
    x, y = wave()
    model = fd.Model([fd.Dense(16, "tanh"), fd.Dense(1, "relu")], inputs=1)
    model.compile(fd.Adam(0.01), "mse")
    model.fit(x, y, epochs=60, verbose=0)
    return model, x, y


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
    assert report.headline.startswith("No change helps")
    assert report.findings[0].code == "BAD_DATA"
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


# ---- reports ---------------------------------------------------------------------------------------------------------


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


# ---- hints -----------------------------------------------------------------------------------------------------------

SAME = "fit: the predictions are nearly the same for every row (loss "
DEAD = "fit: every unit of 'dense' is 0 for every row, so nothing below it learns; model.diagnose(x, y) says why"


def test_hint_at_the_constant_answer_is_given_once(capsys: pytest.CaptureFixture[str]) -> None:
    x, y = wave()
    zeros = {"kernel_initializer": "zeros"}
    model = fd.Model([fd.Dense(8, "tanh", **zeros), fd.Dense(1, **zeros)], inputs=1)
    model.compile("adam", "mse")
    model.fit(x, y, epochs=3, verbose=2)
    assert SAME in capsys.readouterr().out
    model.fit(x, y, epochs=3, verbose=2)
    assert SAME not in capsys.readouterr().out


def test_hint_for_a_dead_layer_and_silence(capsys: pytest.CaptureFixture[str]) -> None:
    x, y = wave()
    for verbose, expected in ((2, True), (0, False)):
        model = fd.Model([fd.Dense(8, "relu", bias_initializer=fd.initializers.Constant(-50)), fd.Dense(1)], inputs=1)
        model.compile("adam", "mse")
        model.fit(x, y, epochs=2, verbose=verbose)
        assert (DEAD in capsys.readouterr().out) is expected


def test_hint_for_a_loss_that_is_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    x, y = wave()
    model = fd.Model([fd.Dense(8, "relu"), fd.Dense(1)], inputs=1)
    model.compile(fd.SGD(1e6), "mse")
    with pytest.warns(RuntimeWarning, match="the loss became"):
        model.fit(x, y, epochs=5, verbose=2)
    assert "fit: the loss is nan; model.diagnose(x, y) says why" in capsys.readouterr().out


def test_no_hint_for_a_net_that_learns(capsys: pytest.CaptureFixture[str]) -> None:
    x, y = wave()
    model = fd.Model([fd.Dense(16, "tanh"), fd.Dense(1)], inputs=1)
    model.compile(fd.Adam(0.01), "mse")
    model.fit(x, y, epochs=20, verbose=2)
    assert "fit:" not in capsys.readouterr().out


# ---- the command line ------------------------------------------------------------------------------------------------

SCRIPT = """
import sys
import numpy as np
import fastdense as fd
x = np.linspace(-3, 3, 200)[:, None]
model = fd.Model([fd.Dense(16, "tanh"), fd.Dense(1, "relu")], inputs=1)
model.compile(fd.Adam(0.01), "mse")
model.fit(x, np.sin(x), epochs=60, verbose=0)
assert sys.argv[1:] == ["quick"]
"""


def test_command_explains_the_last_fit_of_a_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "net.py"
    script.write_text(SCRIPT)
    page = tmp_path / "report.html"
    fit = fd.Model.fit
    assert main([str(script), "quick", "--html", str(page)]) == 1
    assert fd.Model.fit is fit
    assert "error OUTPUT_RELU in dense_1" in capsys.readouterr().out
    assert page.exists()


def test_command_explains_a_saved_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, x, y = stuck()
    model.save(tmp_path / "net.safetensors")
    np.savez(tmp_path / "data.npz", x=x, y=y)
    np.savetxt(tmp_path / "data.csv", np.hstack([x, y]), delimiter=",", header="x,y", comments="")
    for name in ("data.npz", "data.csv"):
        assert main([str(tmp_path / "net.safetensors"), str(tmp_path / name), "--json", "--budget", "60"]) == 1
        assert json.loads(capsys.readouterr().out)["findings"][0]["code"] == "OUTPUT_RELU"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.py"], "none.py does not exist; pass a script or a saved model"),
        (["none.safetensors"], "none.safetensors needs one file of data: an .npz with x and y, or a .csv"),
    ],
)
def test_command_says_what_is_missing(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


# ---- the parts -------------------------------------------------------------------------------------------------------

LOSSES = ["mse", "mae", "huber", "log_cosh", "mape", "poisson", "quantile", "hinge", "binary_crossentropy",
          "categorical_crossentropy", "sparse_categorical_crossentropy"]  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_no_other_constant_has_a_smaller_loss(name: str, seed: int) -> None:
    generator = np.random.default_rng(seed)
    loss, outputs, rows = fd.losses.get(name), 3, 40
    weights = generator.uniform(0, 2, rows)
    y: Any = generator.normal(2, 1, (rows, outputs))
    if name == "hinge":
        y = np.where(generator.uniform(size=(rows, outputs)) < 0.3, -1.0, 1.0)
    elif name == "poisson":
        y = generator.poisson(3.0, (rows, outputs)).astype(float)
    elif name == "binary_crossentropy":
        y = (generator.uniform(size=(rows, outputs)) < 0.3).astype(float)
    elif "categorical" in name:
        ids = generator.integers(0, outputs, rows)
        y = ids if loss.sparse else np.eye(outputs)[ids]
    constant, value = constant_predictor(loss, y, weights, outputs)

    def of(c: Any) -> float:
        return float(
            (weights * row_losses(loss.lower(), y, np.broadcast_to(c, (rows, outputs)), None, "").values).mean()
        )

    assert value == pytest.approx(of(constant))
    for size in (1e-3, 0.03, 0.3):
        other = constant + size * generator.standard_normal(outputs)
        if "crossentropy" in name or name == "poisson":
            other = np.clip(other, 1e-3, None)
        assert of(other) >= value - 1e-9 * abs(value) - 1e-12


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
    subject = Subject(model, x, y, None, None)
    made = Plan.of(model, 32, 1, True, subject.given_weights).build()
    for a, b in zip(made.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
