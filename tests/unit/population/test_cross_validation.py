"""cross_validate: folds, and each fold is its own fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdense as fd

Array = Any


def classes(rows: int = 90) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, rows)
    return rng.normal(size=(rows, 4)) + np.eye(3, 4)[y] * 2, y


def classifier(rate: float = 0.01, l2: float = 1e-2) -> fd.Model:
    layers = [fd.Dense(6, "tanh", kernel_regularizer=fd.regularizers.l2(l2)), fd.Dense(3, "softmax")]
    model = fd.Model(layers, inputs=4, dtype="float64")
    model.compile(fd.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_cross_validation_is_a_loop_of_fits() -> None:
    x, y = classes()
    rates, penalties = np.repeat([0.003, 0.03], 2), np.tile([0.1, 2.0], 2)
    folds = [np.arange(k, 90, 4) for k in range(4)]
    found = fd.cross_validate(classifier(), x, y, folds=folds, learning_rate=rates, penalty=penalties, epochs=4)
    assert found.scores["loss"].shape == found.scores["accuracy"].shape == (4, 4)
    for i, k in ((0, 0), (3, 1), (2, 3)):
        rest = np.setdiff1d(np.arange(90), folds[k])
        alone = classifier(rates[i], 1e-2 * penalties[i])
        alone.fit(x[rest], y[rest], epochs=4, verbose=0)
        loss, accuracy = alone.evaluate(x[folds[k]], y[folds[k]], verbose=0)
        assert found.scores["loss"][i, k] == pytest.approx(loss, rel=1e-9)
        assert found.scores["accuracy"][i, k] == pytest.approx(accuracy)
    assert found.best == np.argmax(found.scores["accuracy"].mean(axis=1))
    assert found.best_setting == {"learning_rate": rates[found.best], "penalty": penalties[found.best]}
    assert "4 settings, 4 folds" in repr(found)


def test_factor_of_the_loss_counts_once() -> None:
    x, y = classes()
    fold, alone = np.arange(0, 90, 3), classifier()
    alone.compile(fd.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"], loss_weights=3.0)
    found = fd.cross_validate(alone, x, y, folds=[fold], epochs=2)
    rest = np.setdiff1d(np.arange(90), fold)
    alone.fit(x[rest], y[rest], epochs=2, verbose=0)
    assert found.scores["loss"][0, 0] == pytest.approx(alone.evaluate(x[fold], y[fold], verbose=0)[0], rel=1e-9)
    assert found.train_loss[0, 0] == pytest.approx(alone.evaluate(x[rest], y[rest], verbose=0)[0], rel=1e-9)


def test_folds_hold_every_row_once_and_classes_evenly() -> None:
    x, y = classes()
    found = fd.cross_validate(classifier(), x, y, folds=5, epochs=1)
    assert found.train_loss.shape == (1, 5) and found.settings == {}
    from fastdense.population.cross_validation import folds_of

    parts = folds_of(y, 5, 0, True)
    assert sorted(np.concatenate(parts).tolist()) == list(range(90))
    for part in parts:
        assert np.ptp(np.bincount(y[part], minlength=3) - np.bincount(y, minlength=3) / 5) < 2


@pytest.mark.parametrize(("options", "message"), [
    ({"folds": 1}, "cross_validate: folds=1 is out of range"),
    ({"folds": 91}, "cross_validate: there are 90 rows for 91 folds; each fold needs a row: use fewer folds"),
    ({"folds": [[0, 90]]}, r"cross_validate: folds\[0\] is empty, holds all rows, or has row numbers out of range"),
    ({"learning_rate": [0.1, 0.2], "penalty": [1.0, 2.0, 3.0]},
     r"cross_validate: learning_rate has shape \(2,\); one number or 3, one per setting, are needed"),
])  # fmt: skip
def test_cross_validation_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fd.cross_validate(classifier(), *classes(), **options)
