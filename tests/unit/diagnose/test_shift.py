"""Rows that lie elsewhere than those trained on: which columns moved, how, and what undoes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense.diagnose.shift import Shift
from fastdense.diagnose.subject import Given, Subject

BUDGET = 60.0


def rows(count: int = 600, seed: int = 0) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    x = np.column_stack([random.uniform(1, 3, count), random.standard_normal((count, 2))])
    return x, x[:, :1] - np.sin(x[:, 1:2]) + 0.05 * random.standard_normal((count, 1))


def trained(x: Any, y: Any, **fit: Any) -> fd.Model:
    model = fd.Model([fd.Dense(24, "tanh"), fd.Dense(1)], inputs=x.shape[1])
    model.compile(fd.Adam(0.01), "mse")
    model.fit(x, y, verbose=0, epochs=40, **fit)
    return model


def shift_of(x: Any, other: Any) -> Shift:
    model = fd.Model([fd.Dense(1)], inputs=x.shape[1])
    model.compile("adam", "mse")
    found = Shift.of(Subject(model, Given(x, x[:, :1], validation_data=(other, other[:, :1]))))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("factor", "offset", "advice"),
    [
        (1000.0, 0.0, "divide column 0 by 1000"),
        (0.01, 0.0, "multiply column 0 by 100"),
        (1.0, -273.15, "add 27"),
        (1.0, 40.0, "subtract 39.8"),
        (50.0, -900.0, "column 0 = (column 0 + "),
    ],
)
def test_a_column_in_another_unit_is_found_and_undone(factor: float, offset: float, advice: str) -> None:
    x, _ = rows()
    other, _ = rows(seed=1)
    moved = other.copy()
    moved[:, 0] = moved[:, 0] * factor + offset
    shift = shift_of(x, moved)
    assert shift.moved.tolist() == [True, False, False]
    assert shift.most == 0
    assert shift.advice().startswith(advice)
    undone = shift.undone(moved)
    np.testing.assert_array_equal(undone[:, 1:], other[:, 1:])
    # Quartiles of 600 rows of a uniform distribution of width 2 have standard errors of about 0.04.
    assert np.abs(undone[:, 0] - other[:, 0]).max() < 0.3


@pytest.mark.parametrize(("factor", "offset", "advice"), [(255.0, 0.0, "divide x by 25"), (4.0, 8.0, "x = (x - "),
                                                          (0.001, 0.0, "multiply x by 1000")])  # fmt: skip
def test_a_change_that_all_columns_have_in_common_is_said_once(factor: float, offset: float, advice: str) -> None:
    x, other = np.random.default_rng(0).uniform(0, 1, (2, 600, 20))
    x, other = x * np.linspace(0.1, 1, 20), other * np.linspace(0.1, 1, 20)
    shift = shift_of(x, factor * other + offset)
    assert shift.advice().startswith(advice)
    assert np.abs(shift.undone(factor * other + offset) - other).max() < 0.1


def test_a_column_that_varies_no_more_cannot_be_undone() -> None:
    x, _ = rows()
    other, _ = rows(seed=1)
    other[:, 2] = 7.0
    shift = shift_of(x, other)
    assert shift.moved.tolist() == shift.blank.tolist() == [False, False, True]
    assert shift.advice() == ""
    np.testing.assert_array_equal(shift.undone(other), other)


def test_rows_of_the_same_kind_have_not_moved() -> None:
    assert not shift_of(rows()[0], rows(seed=1)[0]).moved.any()


def test_what_undoes_a_shift_is_proved_by_the_error_there() -> None:
    x, y = rows()
    new, new_y = rows(300, seed=1)
    model = trained(x, y)
    report = model.diagnose(new * [1000.0, 1, 1], new_y, budget=BUDGET)
    assert report.findings[0].code == "TRAIN_TEST_MISMATCH"
    assert "Remedy: divide column 0 by 1000, as in training; the net as it is then reaches R2 0.9" in report.headline
    assert report.treat().changes == []


def test_a_column_that_is_known_only_afterwards_is_left_out() -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((900, 4))
    y = x[:, :1] + 0.5 * x[:, 1:2] + 0.6 * random.standard_normal((900, 1))
    x[:, 3:] = y + 0.02 * random.standard_normal((900, 1))
    held = x[600:].copy()
    held[:, 3] = 0
    model = trained(x[:600], y[:600], validation_data=(held, y[600:]))
    report = model.diagnose(x[:600], y[:600], validation_data=(held, y[600:]), budget=BUDGET)
    assert report.findings[0].code == "TRAIN_TEST_MISMATCH"
    assert "train without column 3" in report.headline
    cure = report.treat()
    cure.model.fit(x[:600], y[:600], verbose=0, **cure.fit_options)
    before, after = (float(np.mean((net.predict(held) - y[600:]) ** 2)) for net in (model, cure.model))
    assert after < 0.5 < before  # the variance of y is about 1.6, of which 0.36 is noise
    held[:, 3] = 1e6
    np.testing.assert_allclose(cure.model.predict(held), cure.model.predict(held * [1, 1, 1, 0]), atol=1e-6)


def test_validation_rows_of_another_kind_are_no_overfitting() -> None:
    x, y = rows()
    new, new_y = rows(300, seed=1)
    model = trained(x, y, validation_data=(new, -new_y))
    report = model.diagnose(x, y, validation_data=(new, -new_y), budget=BUDGET)
    assert (report.findings[0].code, report.healthy) == ("TRAIN_TEST_MISMATCH", False)
    assert report.findings[0].evidence["error_on_rows_of_x_kept_out"] < 0.1
    assert "OVERFIT" not in {found.code for found in report.findings}


def test_a_val_loss_of_other_rows_is_noticed_without_these_rows() -> None:
    x, y = rows()
    new, new_y = rows(300, seed=1)
    report = trained(x, y, validation_data=(new, -new_y)).diagnose(x, y, budget=BUDGET)
    assert (report.findings[0].code, report.healthy) == ("TRAIN_TEST_MISMATCH", False)
    assert "pass validation_data to diagnose as well" in report.headline
    assert trained(x, y, validation_data=(new, new_y)).diagnose(x, y, budget=BUDGET).healthy


def test_files_that_were_each_standardised_by_themselves_are_named() -> None:
    x, _ = rows()
    new, _ = rows(300, seed=1)
    new = new + 2 * np.sin(new)  # another distribution
    x, new = ((part - part.mean(axis=0)) / part.std(axis=0) for part in (x, new))
    y = x[:, :1] ** 3
    model = trained(x, y)
    report = model.diagnose(x, y, validation_data=(new, new[:, :1]), verify=False)
    found = next(one for one in report.findings if one.code == "TRAIN_TEST_MISMATCH")
    assert "its own statistics" in found.message
    assert "TRAIN_TEST_MISMATCH" not in {
        one.code for one in model.diagnose(x, y, validation_data=(x[:50], y[:50]), verify=False).findings
    }
