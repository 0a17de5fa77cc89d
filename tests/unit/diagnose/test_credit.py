"""What is called a cause, in what order, and what treatments in closed form do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense.diagnose import remedies
from fastdense.diagnose.finding import Finding, finding
from fastdense.diagnose.plan import Plan
from fastdense.diagnose.ranking import order, refuted, without_contradictions
from fastdense.diagnose.subject import Given, Subject
from fastdense.diagnose.trials import Run
from fastdense.diagnose.verify import Verdict
from fastdense.diagnose.words import SHOWN, text
from tests.helpers.diagnosed import stuck, wave

pytestmark = pytest.mark.filterwarnings("ignore:fit. the loss became:RuntimeWarning")


def trained(layers: list[Any], x: Any, y: Any, optimizer: Any, **fit: Any) -> fd.Model:
    model = fd.Model(layers, inputs=x.shape[1], seed=0)
    model.compile(optimizer, "mse")
    model.fit(x, y, verbose=0, **fit)
    return model


def run(error: float) -> Run:
    model, x, y = stuck()
    return Run(Plan.of(model, 32, 1, True, None), model, [], error, 0.0, Subject(model, Given(x, y)))


# ---- credit ----------------------------------------------------------------------------------------------------------


def test_a_new_net_earns_nothing_for_other_changes() -> None:
    x = np.random.default_rng(1).uniform(-1, 1, (800, 3))
    y = x[:, :1] - x[:, 1:2] + 3 * x.sum(axis=1, keepdims=True)  # LayerNorm takes the sum away
    model = trained([fd.LayerNorm(), fd.Dense(32, "relu"), fd.Dense(1)], x, y, "adam", epochs=20)
    report = model.diagnose(x, y)
    wrong = {"TARGET_SCALE", "NO_CAPACITY", "TOO_SLOW"}
    assert not wrong & {f.code for f in report.causes}
    if not report.causes:
        assert "a plain new net learns it" in report.headline
        assert "was not isolated in the budget" in report.headline
    cure = report.treat()
    cure.model.fit(x, y, verbose=0, **cure.fit_options)
    assert np.mean((cure.model.predict(x) - y) ** 2) < 0.05 * np.var(y)


def test_worth_is_what_a_trial_earned_alone_or_left_out() -> None:
    verdict = Verdict(run(0.8), after=run(0.1), singles={"INPUT_SCALE": 0.3}, without={"TOO_SLOW": 0.4})
    assert verdict.worth("INPUT_SCALE") == pytest.approx(0.5)
    assert verdict.worth("TOO_SLOW") == pytest.approx(0.3)
    assert verdict.worth("VANISHING") == 0.0
    again = replace(verdict, again_error=0.35)  # the same training again is better than the user's net by itself
    assert again.worth("INPUT_SCALE") == pytest.approx(0.05)
    assert replace(again, singles={"SYMMETRIC": 0.3}).worth("SYMMETRIC") == pytest.approx(0.5)  # again is its remedy


def test_a_fault_that_the_repaired_net_still_has_is_no_cause() -> None:
    fact = finding("OUTPUT_RELU", "error", "", remedies.matched_output(run(1.0).subject.task), exact=True)
    verdict = Verdict(run(0.8), after=run(0.01), best_error=0.01)  # the plan of `after` ends with relu
    assert refuted(fact, verdict)
    assert order([fact], verdict)[0].severity == "warning"
    fixed = replace(run(0.01), plan=fact.remedies[0].apply(run(0.01).plan))
    assert not refuted(fact, replace(verdict, after=fixed))


# ---- contradictions and order ----------------------------------------------------------------------------------------


def suspected(code: str, severity: Any = "warning") -> Finding:
    return finding(code, severity, "", remedies.clipping())


def test_larger_and_smaller_steps_are_not_both_asked_for() -> None:
    both = [suspected("DIVERGED"), suspected("TOO_SLOW")]
    assert without_contradictions(both) == both  # nothing is known yet
    assert without_contradictions([suspected("DIVERGED", "error"), both[1]])[0].code == "DIVERGED"
    earned = Verdict(run(0.8), singles={"DIVERGED": 0.6, "TOO_SLOW": 0.2})
    assert [f.code for f in without_contradictions(both, earned)] == ["TOO_SLOW"]
    neither = Verdict(run(0.8))
    assert [f.code for f in without_contradictions(both, neither)] == ["DIVERGED"]


@pytest.mark.parametrize("rate", [5.0, 0.5])
def test_a_rate_far_too_large_is_never_called_slow(rate: float) -> None:
    x, y = wave()
    model = trained([fd.Dense(16, "tanh"), fd.Dense(1)], x, y, fd.Adam(rate), epochs=40)
    codes = {f.code for f in model.diagnose(x, y).findings if f.severity != "info"}
    assert not {"DIVERGED", "TOO_SLOW"} <= codes
    assert "TOO_SLOW" not in codes


def test_text_shows_three_errors_and_names_the_others() -> None:
    model, x, y = stuck()
    report = model.diagnose(x, y)
    codes = ["OUTPUT_RELU", "INPUT_SCALE", "SATURATED", "VANISHING", "TARGET_SCALE"]
    errors = [finding(code, "error", f"what {code} means") for code in codes]
    made = text(replace(report._result, findings=errors), False)
    assert [f"what {code} means" in made for code in codes] == [True] * SHOWN + [False] * 2
    assert "Less important: VANISHING and TARGET_SCALE; see report.findings." in made


# ---- closed forms and units ------------------------------------------------------------------------------------------


def correlated(rows: int = 1500, columns: int = 30) -> Any:
    """Neighbouring columns that hardly differ, in grey levels."""
    rng = np.random.default_rng(0)
    signal = np.cumsum(rng.normal(size=(rows, columns)), axis=1) + 0.02 * rng.normal(size=(rows, columns))
    smooth = np.apply_along_axis(lambda row: np.convolve(row, np.ones(9) / 9, "same"), 1, signal)
    return np.clip(127 + 20 * smooth + 0.2 * rng.normal(size=(rows, columns)), 0, 255)


@pytest.mark.parametrize("output", ["relu", "linear"])
def test_an_autoencoder_of_correlated_columns_is_solved(output: str) -> None:
    x = correlated()
    layers = [*(fd.Dense(30, "relu") for _ in range(3)), fd.Dense(30, output)]
    model = trained(layers, x, x, "rmsprop", epochs=5 if output == "relu" else 1)
    before = np.mean((model.predict(x) - x) ** 2)
    report = model.diagnose(x, x)
    slow = next(f for f in report.findings if f.code == "TOO_SLOW")
    assert "TOO_SLOW" in [f.code for f in report.findings[:2]]
    assert "(TOO_SLOW). Remedy: hidden units placed on the data" in report.headline
    assert "strongly correlated" in slow.message
    cure = report.treat()
    assert "solve_output" in cure.changes[0]
    assert cure.fit_options["epochs"] == 0
    cure.model.fit(x, x, verbose=0, **cure.fit_options)
    after = np.mean((cure.model.predict(x) - x) ** 2)
    assert after < 1 < before / 100
    said = report.to_dict()["trials"]  # both in the user's units
    assert said["loss_before"] == pytest.approx(before, rel=1e-3)
    assert said["loss_after"] < 1
    assert f"goes from {said['loss_before']:.4g} to {said['loss_after']:.4g}" in str(report)


def test_a_closed_form_must_hold_on_other_rows() -> None:
    x = correlated()
    y = np.random.default_rng(5).uniform(0, 1, (len(x), 2))  # noise
    model = trained([fd.Dense(400, "relu"), fd.Dense(2)], x, y, "rmsprop", epochs=5)
    assert not any("solve_output" in change for change in model.diagnose(x, y).treat().changes)


def test_independent_columns_need_no_closed_form() -> None:
    x = np.random.default_rng(0).normal(size=(600, 5))
    y = x @ np.ones((5, 1))
    model = trained([fd.Dense(16, "relu"), fd.Dense(1)], x, y, fd.SGD(1e-5), epochs=20)
    report = model.diagnose(x, y)
    assert report._result.subject.conditioning < 10
    assert not any("solve_output" in change for change in report.treat().changes)


@pytest.mark.parametrize("loss", ["mse", "mae"])
def test_history_of_scaled_targets_shows_the_error_in_their_units(loss: str) -> None:
    x, y = wave()
    y = 1000 * y
    model = fd.Model([fd.Dense(16, "tanh"), fd.Dense(1)], inputs=1)
    model.compile(fd.Adam(0.01), loss)
    subject = Subject(model, Given(x, y))
    plan = remedies.scale_targets(subject).apply(Plan.of(model, 32, 20, True, None))
    treated = plan.build()
    history = treated.fit(x, y, verbose=0, **plan.fit_options()).history
    assert history["loss"][-1] < 10  # weighted
    e = treated.predict(x) - y
    shown = np.mean(e**2) if loss == "mse" else np.mean(np.abs(e))
    assert treated.evaluate(x, y, verbose=0)[1] == pytest.approx(shown, rel=1e-3)
    assert history[loss][-1] > 10


def test_a_silent_watch_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    x, y = wave()
    model = trained([fd.Dense(16, "tanh"), fd.Dense(1)], x, y, fd.SGD(1e6), epochs=5)
    model.diagnose(x, y)
    assert capsys.readouterr().out == ""
