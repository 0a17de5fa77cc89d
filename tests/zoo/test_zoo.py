"""The zoo of sick and healthy nets is what it says: every code is there, sick nets fail, healthy ones learn."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from tests.zoo import CODES, HEALTHY, SICK, Case, data
from tests.zoo.case import WHEN, healthy, net
from tests.zoo.check import available, behaves, owners_result
from tests.zoo.goal import Goal, accuracy, fit_of
from tests.zoo.recipe import repaired
from tests.zoo.score import judge, totals

EVERY = {**SICK, **HEALTHY}
# One curable case of each code, for the recipe; `python -m tests.zoo.check` does all.
CURABLE = {case.causes[0]: case for case in SICK.values() if not case.hopeless and not case.mnist}


def test_every_code_has_sick_nets_and_a_healthy_twin() -> None:
    first = Counter(case.causes[0] for case in SICK.values())
    assert {code: first[code] for code in CODES if first[code] < 3} == {}
    twins = {SICK[case.twin].causes[0] for case in HEALTHY.values() if case.twin}
    assert set(CODES) - twins == set()


def test_size_of_the_zoo() -> None:
    assert len(SICK) >= 80
    assert len(HEALTHY) >= 40
    assert sum(case.trap for case in HEALTHY.values()) >= 15
    assert {case.when for case in SICK.values()} == {case.when for case in HEALTHY.values()} == set(WHEN)


@pytest.mark.parametrize("name", EVERY)
def test_case_is_complete_and_builds_the_same_twice(name: str) -> None:
    case = EVERY[name]
    assert case.source.endswith(".")
    assert (case.kind == "sick") == (name in SICK)
    if not available(case):
        pytest.skip("needs MNIST and Fashion-MNIST; set FASTDENSE_DATA")
    (model, x, y), (again, x2, y2) = case.build(), case.build()
    assert model.compiled
    np.testing.assert_array_equal(x, x2)
    np.testing.assert_array_equal(y, y2)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", EVERY)
def test_sick_nets_fail_and_healthy_nets_learn(name: str) -> None:
    if not available(EVERY[name]):
        pytest.skip("needs MNIST and Fashion-MNIST; set FASTDENSE_DATA")
    result = owners_result(EVERY[name])
    assert behaves(EVERY[name], result), f"{result} with the goal {EVERY[name].goal}"


@pytest.mark.parametrize("code", sorted(CURABLE))
def test_data_of_a_sick_net_can_be_learnt(code: str) -> None:
    assert repaired(CURABLE[code]) >= CURABLE[code].goal.at_least


def test_another_draw_has_other_data_and_weights() -> None:
    case = SICK["relu_for_a_sine"]
    model, x, _ = case.build()
    with data.drawn_again(1):
        other, x2, _ = case.build()
    again, x3, _ = case.build()
    assert (x != x2).mean() > 0.9
    assert (model.get_weights()[0] != other.get_weights()[0]).all()
    np.testing.assert_array_equal(x, x3)
    np.testing.assert_array_equal(model.get_weights()[0], again.get_weights()[0])


# ---- goals: one task, many forms of output -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "output", "threshold"),
    [
        ([0, 1, 1, 0], [[0.2], [0.9], [0.7], [0.4]], 0.5),
        ([-1, 1, 1, -1], [[0.2], [0.9], [0.7], [0.4]], 0.5),
        ([0, 1, 1, 0], [[-2.0], [3.0], [0.1], [-0.1]], 0.0),
        ([0, 1, 1, 0], [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]], 0.5),
        ([[1, 0], [0, 1], [0, 1], [1, 0]], [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]], 0.5),
        ([1, 2, 2, 1], [[0.0, 0.9, 0.1], [0.0, 0.2, 0.8], [0.0, 0.4, 0.6], [0.0, 0.7, 0.3]], 0.5),
        ([1, 2, 2, 1], [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]], 0.5),
        ([3, 7, 7, 3], [[3.4], [6.0], [9.0], [0.0]], 5.0),
        ([0, 5, 9, 5], [[1.0], [4.4], [20.0], [6.0]], 0.5),
    ],
)
def test_accuracy_reads_every_form_of_output(labels: Any, output: Any, threshold: float) -> None:
    labels, output = np.array(labels), np.array(output)
    assert accuracy().of(output, labels, threshold) == 1.0
    assert accuracy().of(output[::-1][[1, 0, 2, 3]], labels, threshold) < 1.0


def test_goals_of_unreadable_predictions_are_not_reached() -> None:
    y = np.array([[0.0], [1.0], [2.0]])
    assert fit_of().of(np.full((3, 1), np.nan), y) == -np.inf
    assert fit_of().of(np.zeros((3, 2)), y) == -np.inf
    assert fit_of().of(y, np.ones((3, 1))) == -np.inf  # a constant cannot be learnt
    assert accuracy().of(np.zeros((3, 5)), data.one_hot(np.array([0, 1, 2]))) == 0.0
    assert accuracy().of(np.eye(4)[[3, 3, 3]], np.array([0, 1, 2])) == 0.0  # an output that stands for no label


def test_recall_and_labels_take_the_worst() -> None:
    y = np.array([0, 0, 0, 0, 0, 0, 0, 0, 1, 1])
    assert Goal("recall", 0.5).of(np.zeros((10, 1)), y) == 0.0
    many = np.array([[0, 1], [1, 1], [0, 0], [1, 0]])
    assert Goal("labels", 0.5).of(many * [1, 0], many) == 0.5


@pytest.mark.parametrize(
    ("activation", "loss", "labels"),
    [("sigmoid", "bce", (0, 1)), (None, "hinge", (-1, 1)), (None, "mse", (0, 1)), (None, "mse", (3, 7))]
    + [(None, fd.losses.BinaryCrossentropy(from_logits=True), (0, 1))],
)
def test_goal_of_a_trained_model(activation: str | None, loss: Any, labels: tuple[int, int]) -> None:
    x, y = data.ring(200)
    y = np.where(y > 0, labels[1], labels[0])
    model = net([fd.Dense(16, "tanh"), fd.Dense(1, activation)], x, fd.Adam(0.05), loss)
    model.fit(x, y, epochs=80, verbose=0)
    assert accuracy(0.95)(model, x, y)


# ---- the score, by a diagnosis that is a stub ------------------------------------------------------------------------


def _stub(codes: list[str], severity: str, treated: Any = None, fit_options: Any = None) -> Any:
    findings = [SimpleNamespace(code=code, severity=severity) for code in codes]

    def diagnose(self: fd.Model, x: Any, y: Any, *, history: Any = None, budget: float = 5.0) -> Any:
        treatment = SimpleNamespace(model=treated or self.clone(), fit_options=fit_options or {}, changes=[])
        return SimpleNamespace(findings=findings, treat=lambda: treatment)

    return diagnose


def test_score_of_a_sick_net(monkeypatch: pytest.MonkeyPatch) -> None:
    case = SICK["relu_for_a_sine"]
    _, x, _ = case.build()
    good = net([fd.Dense(32, "tanh"), fd.Dense(1)], x, fd.Adam(0.01), "mse")
    monkeypatch.setattr(
        fd.Model, "diagnose", _stub(["BASELINE", "OUTPUT_RELU"], "error", good, case.fit), raising=False
    )
    verdict = judge(case)
    assert (verdict.hit, verdict.repaired, verdict.codes, verdict.trouble) == (True, True, ("OUTPUT_RELU",), "")
    monkeypatch.setattr(fd.Model, "diagnose", _stub(["A", "B", "OUTPUT_RELU"], "error"), raising=False)
    verdict = judge(case)
    assert (verdict.hit, verdict.repaired) == (False, False)
    assert any("in 0 of 1" in line for line in totals([verdict]))


def test_score_of_a_healthy_net(monkeypatch: pytest.MonkeyPatch) -> None:
    case = HEALTHY["linear_for_a_sine"]
    monkeypatch.setattr(fd.Model, "diagnose", _stub(["TOO_SLOW"], "info"), raising=False)
    assert judge(case).hit
    monkeypatch.setattr(fd.Model, "diagnose", _stub(["TOO_SLOW"], "error"), raising=False)
    assert not judge(case, budget=1.0).hit
    assert any("1 of 1 called broken" in line for line in totals([judge(case)]))


def test_score_survives_a_diagnosis_that_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: fd.Model, x: Any, y: Any) -> Any:
        raise RuntimeError("not this one")

    monkeypatch.setattr(fd.Model, "diagnose", broken, raising=False)
    verdict = judge(SICK["constant_target"])
    assert not verdict.hit
    assert "not this one" in verdict.trouble
    assert "not this one" in verdict.line()


def test_a_name_is_given_once() -> None:
    def constant_target() -> Any:
        """Another."""

    with pytest.raises(ValueError, match="constant_target is there already"):
        healthy(goal=fit_of(), fit={})(constant_target)
    assert isinstance(SICK["constant_target"], Case)
