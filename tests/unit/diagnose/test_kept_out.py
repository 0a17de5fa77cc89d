"""What a diagnosis knows of the last fit, what witnesses learn, and what rows kept out decide."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense.callbacks import Callback, EarlyStopping
from fastdense.callbacks.fitted import columns_of, effective_rows
from fastdense.diagnose.heldout import _not_chosen_by
from fastdense.diagnose.subject import Given, Subject
from fastdense.diagnose.task import Task
from fastdense.diagnose.witnesses import bounds, folds, known_and_asked
from fastdense.diagnose.words import headline
from tests.helpers.diagnosed import wave

BUDGET = 60.0
NUMBERS = Task("regression", "values", np.zeros(0), 1)


def plane(rows: int = 400, columns: int = 3, noise: float = 0.1, seed: int = 0) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    x = random.standard_normal((rows, columns))
    return x, x[:, :1] - 0.5 * x[:, 1:2] + noise * random.standard_normal((rows, 1))


def trained(x: Any, y: Any, *, optimizer: Any = "adam", widths: tuple[int, ...] = (16,), **fit: Any) -> fd.Model:
    model = fd.Model([*(fd.Dense(w, "relu") for w in widths), fd.Dense(1)], inputs=x.shape[1])
    model.compile(optimizer, "mse")
    model.fit(x, y, verbose=0, **fit)
    return model


# ---- what fit was given ----------------------------------------------------------------------------------------------


def test_history_keeps_what_fit_was_given_and_what_ended_it() -> None:
    x, y = plane()
    weights = np.r_[np.full(100, 3.0), np.ones(300)]
    stop = EarlyStopping("loss", min_delta=1e9, patience=2)
    model = trained(x, y, epochs=50, validation_split=0.25, sample_weight=weights, callbacks=[stop])
    fitted = model.history.fitted  # type: ignore[union-attr]
    assert fitted is not None
    assert (fitted.rows, fitted.validation_rows, fitted.validation_split) == (300, 100, 0.25)
    assert (fitted.stopped_by, fitted.stopped_epoch, fitted.monitor, fitted.patience) == ("EarlyStopping", 3, "loss", 2)
    assert fitted.callbacks == ("EarlyStopping",)
    assert fitted.weighted
    assert fitted.effective_rows == pytest.approx(500**2 / 1100)
    np.testing.assert_array_equal(fitted.columns, columns_of(x[:300]))


class Changing(np.ndarray[Any, np.dtype[Any]]):
    """Weights that another thread overwrites after their maximum was taken."""

    def max(self, *args: Any, **kwargs: Any) -> Any:
        largest = super().max()
        self[:2] = 1e300, -1e300
        return largest


def test_effective_rows_of_weights_that_change_meanwhile() -> None:
    assert effective_rows(np.ones(4).view(Changing)) == 3.0


def test_callback_that_did_not_stop_is_not_named() -> None:
    class Last(Callback):
        def on_train_end(self, logs: Any = None) -> None:
            assert self.model.stop_training

    x, y = plane()
    model = fd.Model([fd.Dense(1)], inputs=3)
    model.compile(fd.LBFGS(), "mse")
    model.fit(x, y, epochs=500, batch_size=None, verbose=0, callbacks=[Last()])  # it converges
    assert model.history is not None and model.history.fitted is not None
    assert model.history.fitted.stopped_by == ""


def test_effective_rows() -> None:
    assert effective_rows(np.ones(7)) == 7
    assert effective_rows(np.r_[1.0, np.zeros(6)]) == 1
    assert effective_rows(np.zeros(3)) == 0
    assert effective_rows(np.full(4, 1e308)) == 4


def test_rows_of_a_validation_split_are_kept_out() -> None:
    x, y = plane()
    model = trained(x, y, epochs=2, validation_split=0.25)
    subject = Subject(model, Given(x, y))
    assert len(subject.x) == 300 and subject.held is not None
    np.testing.assert_array_equal(subject.held.x, x[300:])
    assert Subject(model, Given(x[:300], y[:300])).held is None  # only the rows that were trained on
    assert Subject(model, Given(x, y, validation_split=0.0)).held is None
    given = Subject(model, Given(x, y, validation_data=plane(50, seed=1)))
    assert len(given.x) == 400 and given.held is not None and len(given.held.x) == 50
    with pytest.raises(ValueError, match=r"a tuple \(x, y\) or"):
        model.diagnose(x, y, validation_data=[x])


def test_treatment_keeps_the_options_of_fit_and_says_which_it_drops() -> None:
    x, y = wave()
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order], y[order]
    model = fd.Model([fd.Dense(16, "tanh"), fd.Dense(1, "relu")], inputs=1)
    model.compile(fd.Adam(0.01), "mse")
    weights = np.ones(len(x))
    model.fit(
        x, y, epochs=40, verbose=0, validation_split=0.2, sample_weight=weights, callbacks=[EarlyStopping(patience=40)]
    )
    kept = model.diagnose(x, y, sample_weight=weights, budget=BUDGET).treat()
    assert kept.fit_options["validation_split"] == 0.2
    assert kept.fit_options["sample_weight"] is weights
    assert kept.dropped == ["callbacks (EarlyStopping)"]
    assert str(kept).endswith("to be passed to fit again: callbacks (EarlyStopping)")
    kept.model.fit(x, y, verbose=0, **kept.fit_options)
    dropped = model.diagnose(x, y, budget=BUDGET).treat()
    assert "sample_weight" not in dropped.fit_options
    assert "sample_weight, which was not passed to diagnose" in " ".join(dropped.dropped)


# ---- witnesses -------------------------------------------------------------------------------------------------------


def test_witnesses_find_what_they_are_for() -> None:
    random = np.random.default_rng(0)
    wide = random.standard_normal((400, 600))
    sparse = wide[:, :4].sum(axis=1, keepdims=True)
    codes = np.repeat(np.arange(40), 20)
    effects = (random.standard_normal(40)[codes] + 0.1 * random.standard_normal(800))[:, None]
    x, y = plane()
    curve = random.uniform(-3, 3, (500, 1))
    for name, a, b in (
        ("ridge regression", x, y),
        ("random features with ridge regression", curve, np.sin(curve)),
        ("least squares on selected columns", wide, sparse),
        ("mean of equal rows", codes[:, None] - 20.0, effects),
    ):
        found = {one.name: one for one in bounds(NUMBERS, a, b).witnesses}
        assert found[name].error < 0.05
        assert found[name].sure > 5


def test_witnesses_find_nothing_in_noise() -> None:
    for seed in range(20):
        random = np.random.default_rng(seed)
        found = bounds(NUMBERS, random.standard_normal((300, 4)), random.standard_normal((300, 1)))
        assert not found.signal
        assert found.best.error > 0.9


def test_a_rare_class_that_is_never_answered_is_no_noise() -> None:
    random = np.random.default_rng(1)
    x = random.standard_normal((2000, 3))
    y = (x[:, :1] + 0.5 * random.standard_normal((2000, 1)) > 2.4).astype(float)
    assert 0.005 < y.mean() < 0.05
    assert bounds(Task("binary", "zero_one", np.array([0.0, 1.0]), 1), x, y).signal


def test_folds_ask_for_every_row_once() -> None:
    asked = np.concatenate([part for _, part in folds(103)])
    np.testing.assert_array_equal(np.sort(asked), np.arange(103))
    for known, part in folds(103):
        assert not set(known) & set(part) and len(known) + len(part) == 103
    np.testing.assert_array_equal(known_and_asked(103)[1], folds(103)[0][1])


# ---- verdicts --------------------------------------------------------------------------------------------------------


def test_overfitting_is_proved_on_rows_kept_out() -> None:
    x, y = plane(240, 40, 0.3)
    model = trained(x, y, widths=(128, 128), epochs=200)
    report = model.diagnose(x, y, budget=BUDGET)
    found = report.findings[0]
    assert (found.code, found.severity, report.healthy) == ("OVERFIT", "error", False)
    assert found.evidence["error_kept_out"] > 3 * found.evidence["smallest_error_kept_out"]
    cure = report.treat()
    cure.model.fit(x, y, verbose=0, **cure.fit_options)
    new_x, new_y = plane(1000, 40, 0.0, seed=1)
    before, after = (np.mean((net.predict(new_x) - new_y) ** 2) / np.var(new_y) for net in (model, cure.model))
    assert after < 0.15 < before
    assert report.to_dict()["trials"]["kept_out"]["error_after"] < 0.3


def test_loss_is_quoted_for_the_rows_that_are_given() -> None:
    x, y = plane()
    model = trained(x, y, optimizer=fd.Adam(0.01), epochs=60)
    report = model.diagnose(1000 * x + 3000, y, budget=BUDGET)
    assert report.findings[0].code == "TRAIN_TEST_MISMATCH"
    assert report.healthy is False
    assert report.treat().changes == []
    assert "were given" in report.headline or "are not like" in report.headline
    assert model.diagnose(x, y, budget=BUDGET).healthy


def test_a_few_odd_targets_are_named() -> None:
    x, y = plane()
    y[[17, 300]] = [[900.0], [-700.0]]
    report = trained(x, y, optimizer=fd.Adam(0.01), epochs=60).diagnose(x, y, budget=BUDGET)
    assert report.findings[0].code == "OUTLIERS"
    assert sorted(report.findings[0].evidence["rows"]) == [17, 300]


def test_moving_averages_are_judged_by_their_weight() -> None:
    x, y = plane()
    model = fd.Model([fd.Dense(16, "relu"), fd.BatchNorm(momentum=0.99), fd.Dense(1)], inputs=3)
    model.compile("adam", "mse")
    model.fit(x, y, epochs=2, batch_size=40, verbose=0)
    found = next(f for f in model.diagnose(x, y, verify=False).findings if f.code == "NORM_LAYER")
    assert found.evidence["weight_of_first_values"] == pytest.approx(0.99**20)


# ---- copies ----------------------------------------------------------------------------------------------------------


def test_copies_of_rows_trained_on_are_not_kept_out() -> None:
    x, y = plane(200, 3)
    order = np.random.default_rng(0).permutation(np.tile(np.arange(200), 4))
    model = trained(x[order], y[order], epochs=1, validation_split=0.25)
    subject = Subject(model, Given(x[order], y[order]))
    unique = len(set(order[600:].tolist()) - set(order[:600].tolist()))
    assert subject.copied == pytest.approx(1 - sum(i not in set(order[:600].tolist()) for i in order[600:]) / 200)
    assert subject.copied > 0.9
    assert (0 if subject.held is None else len(np.unique(subject.held.x, axis=0))) == unique
    assert subject.groups is not None
    np.testing.assert_array_equal(subject.x[subject.groups], subject.x)
    found = next(f for f in model.diagnose(x[order], y[order], verify=False).findings if f.code == "SPLIT")
    assert "copies of rows trained on" in found.message


def test_equal_rows_of_codes_are_no_copies() -> None:
    codes = np.random.default_rng(0).integers(0, 12, 800)[:, None].astype(float)
    model = trained(codes, codes % 3, epochs=1, validation_split=0.25)
    subject = Subject(model, Given(codes, codes % 3))
    assert (subject.copied, subject.groups) == (0.0, None)
    assert subject.held is not None and len(subject.held.x) == 200


def test_groups_stay_together_in_folds() -> None:
    groups = np.random.default_rng(0).integers(0, 30, 200)
    asked = [part for _, part in folds(200, groups=groups)]
    np.testing.assert_array_equal(np.sort(np.concatenate(asked)), np.arange(200))
    for known, part in folds(200, groups=groups):
        assert not set(groups[known].tolist()) & set(groups[part].tolist())


def test_a_net_that_remembers_copies_overfits() -> None:
    x, y = plane(120, 30, 0.5)
    order = np.random.default_rng(0).permutation(np.tile(np.arange(120), 4))
    model = trained(x[order], y[order], widths=(64, 64), epochs=60, validation_split=0.25)
    report = model.diagnose(x[order], y[order], budget=BUDGET)
    assert {found.code for found in report.findings[:2]} == {"OVERFIT", "SPLIT"}
    assert report.healthy is False


# ---- figures that are reported ---------------------------------------------------------------------------------------


def test_the_figure_of_a_remedy_is_of_rows_that_it_was_not_chosen_by() -> None:
    class Lab:
        """Errors of three remedies on two halves: the smallest of each half is the largest of the other."""

        def __init__(self) -> None:
            self.halves = {"a": (0.1, 0.9), "b": (0.9, 0.2), "c": (0.5, 0.5)}

    class Rows:
        def halves(self, lab: Any, plan: Any) -> tuple[float, float]:
            return lab.halves[plan]

    assert _not_chosen_by(Lab(), Rows(), ["a", "b", "c"]) == pytest.approx(0.9)  # type: ignore[arg-type]


def test_noise_is_claimed_of_what_was_tried() -> None:
    random = np.random.default_rng(0)
    x, y = random.standard_normal((300, 5)), random.standard_normal((300, 1))
    model = trained(x, y, widths=(32, 32), epochs=60)
    report = model.diagnose(x, y, budget=BUDGET)
    assert report.findings[0].code == "NOISE"
    assert report.headline.startswith("Nothing tried predicts y from x (NOISE)")
    assert "in a way that none of them finds" in report.findings[0].message
    result = report._result
    assert result.outlook is not None and result.outlook.sure
    assert "only briefly" in headline(replace(result, outlook=replace(result.outlook, sure=False)))


@pytest.mark.parametrize("seed", range(4))
def test_a_net_that_remembers_coin_tosses_is_not_healthy(seed: int) -> None:
    random = np.random.default_rng(seed)
    x, y = random.standard_normal((400, 8)), random.integers(0, 2, (400, 1)).astype(float)
    model = fd.Model([fd.Dense(64, "relu"), fd.Dense(1, "sigmoid")], inputs=8)
    model.compile(fd.Adam(0.01), "bce")
    model.fit(x, y, epochs=150, validation_split=0.2, verbose=0)
    report = model.diagnose(x, y)
    assert (report.healthy, report.findings[0].code) == (False, "NOISE")
