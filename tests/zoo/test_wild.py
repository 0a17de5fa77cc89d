"""The wild cases are what they say: sick nets miss their goal on the rows kept out, and a repair by hand reaches it."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from tests.zoo import data, wild, wild_develop, wild_further, wild_reported, wild_untouched
from tests.zoo.goal import Goal
from tests.zoo.wild_case import Register, Wild

FILES = (wild_reported, wild_develop, wild_untouched, wild_further)
CASES = {case.name: case for file in FILES for case in file.CASES.values()}


@pytest.mark.parametrize("name", CASES)
def test_owners_nets_fail_or_learn_as_they_should(name: str) -> None:
    case = CASES[name]
    owned, again = case.train(), case.build()
    np.testing.assert_array_equal(owned.x, again.x)
    np.testing.assert_array_equal(owned.kept[1], again.kept[1])
    before = case.goal.value(owned.model, *owned.kept)
    assert case.behaves(before), f"{before} with the goal {case.goal}"
    assert case.source.endswith(".")


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.causes and not case.named])
def test_repairs_by_hand_reach_the_goal(name: str) -> None:
    assert CASES[name].by_hand() >= CASES[name].goal.at_least


def test_what_is_only_named_and_what_is_healthy_has_no_repair() -> None:
    for case in CASES.values():
        assert (case.build().repaired is None) == (case.named or not case.causes), case.name


def test_both_halves_have_the_same_causes() -> None:
    halves = (wild_develop, wild_untouched)
    kinds = [Counter((case.causes[:1], case.named) for case in half.CASES.values()) for half in halves]
    assert kinds[0] == kinds[1]
    assert [len(half.CASES) for half in halves] == [20, 20]


def test_half_of_the_further_cases_are_healthy() -> None:
    assert Counter(bool(case.causes) for case in wild_further.CASES.values()) == {True: 7, False: 7}


def test_another_draw_has_other_data_and_weights() -> None:
    case = wild_develop.CASES["calibration_of_sixty_samples"]
    first = case.build()
    with data.drawn_again(1):
        second = case.build()
    assert (first.x != second.x).all()
    assert (first.model.get_weights()[0] != second.model.get_weights()[0]).all()


def test_names_and_codes_are_checked() -> None:
    register = Register()
    with pytest.raises(ValueError, match="SPLIT"):
        register.sick("SPILT", goal=Goal("r2", 0.9))

    def one() -> Any:
        """A case."""

    register.healthy(goal=Goal("r2", 0.9))(one)
    with pytest.raises(ValueError, match="one is there already"):
        register.healthy(goal=Goal("r2", 0.9))(one)


def test_rank_correlation() -> None:
    y = np.array([1.0, 2.0, 3.0, 400.0])
    rank = Goal("rank", 0.9)
    assert rank.of(np.exp(-y / 100)[:, None], y) == pytest.approx(-1.0)
    assert rank.of(np.log(y), y) == pytest.approx(1.0)
    assert rank.of(np.zeros(4), y) == 0.0
    assert rank.of(np.array([1.0, 1.0, 2.0, 2.0]), y) == pytest.approx(2 / np.sqrt(5))
    assert rank.of(np.zeros((4, 2)), y) == -np.inf


def _judged(case: Wild, codes: list[str], severity: str, healthy: bool, monkeypatch: pytest.MonkeyPatch) -> Any:
    findings = [SimpleNamespace(code=code, severity=severity) for code in codes]

    def diagnose(self: fd.Model, x: Any, y: Any) -> Any:
        treatment = SimpleNamespace(model=self.clone(), fit_options={"epochs": 1})
        return SimpleNamespace(findings=findings, healthy=healthy, treat=lambda: treatment)

    monkeypatch.setattr(fd.Model, "diagnose", diagnose)
    return wild.judge(case)


def test_score_of_a_sick_net(monkeypatch: pytest.MonkeyPatch) -> None:
    case = wild_develop.CASES["calibration_of_sixty_samples"]
    verdict = _judged(case, ["BASELINE", "TOO_SLOW", "OVERFIT"], "error", False, monkeypatch)
    assert (verdict.hit, verdict.repaired, verdict.healthy, verdict.trouble) == (True, False, False, "")
    assert not wild.totals([verdict], 0.85)[1]
    verdict = _judged(case, ["TOO_SLOW"], "warning", True, monkeypatch)
    assert not verdict.hit
    assert "CALLED HEALTHY" in verdict.line()


def test_score_of_healthy_nets_and_of_those_that_can_only_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    healthy = wild_develop.CASES["thirty_per_cent_is_all_there_is"]
    noise = wild_develop.CASES["up_or_down_tomorrow"]
    named = _judged(noise, ["NOISE"], "warning", False, monkeypatch)
    assert wild.totals([_judged(healthy, [], "", True, monkeypatch), named], 0.85)[1]
    broken = _judged(healthy, ["TOO_SLOW"], "error", False, monkeypatch)
    assert not wild.totals([broken, named], 0.85)[1]
    assert not wild.totals([_judged(noise, ["NOISE"], "warning", True, monkeypatch)], 0.85)[1]


def test_score_survives_a_diagnosis_that_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: fd.Model, x: Any, y: Any) -> Any:
        raise RuntimeError("not this one")

    monkeypatch.setattr(fd.Model, "diagnose", broken)
    verdict = wild.judge(wild_develop.CASES["thirty_per_cent_is_all_there_is"])
    assert verdict is not None
    assert not verdict.hit
    assert "not this one" in verdict.line()
