"""Hints that fit() prints once when training went wrong."""

from __future__ import annotations

import numpy as np
import pytest

import fastdense as fd
from tests.helpers.diagnosed import wave

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


def test_no_hint_for_predictions_that_are_good_but_flat_beside_outliers(capsys: pytest.CaptureFixture[str]) -> None:
    x, _ = wave()
    model = fd.Model([fd.Dense(8, "tanh"), fd.Dense(1)], inputs=1)
    y = model.predict(x)
    y[::32] += 200 * np.where(np.arange(len(y[::32])) % 2, 1, -1)[:, None]
    model.compile(fd.SGD(1e-9), "mae")
    model.fit(x, y, epochs=2, verbose=2)
    assert "fit:" not in capsys.readouterr().out


def test_a_hint_is_given_if_any_bar_shows_the_training(capsys: pytest.CaptureFixture[str]) -> None:
    x, y = wave()
    zeros = {"kernel_initializer": "zeros"}
    model = fd.Model([fd.Dense(8, "tanh", **zeros), fd.Dense(1, **zeros)], inputs=1)
    model.compile("adam", "mse")
    model.fit(x, y, epochs=3, verbose=0, callbacks=[fd.callbacks.ProgressBar(2)])
    assert SAME in capsys.readouterr().out


def test_how_flat_predictions_of_classes_may_be(capsys: pytest.CaptureFixture[str]) -> None:
    """A twentieth of the standard deviation of the targets, 0.5 for two classes that are equally frequent."""
    x, _ = wave()
    for deviation, hinted in ((0.022, True), (0.03, False)):
        model = fd.Model([fd.Dense(2, "softmax")], inputs=1)
        slope = 2 * deviation / x.std()
        model.set_weights([np.array([[slope, -slope]]), np.zeros(2)])
        assert model.predict(x).std(axis=0) == pytest.approx(deviation, rel=0.05)
        model.compile(fd.SGD(1e-12), "sparse_categorical_crossentropy")
        model.fit(x, np.arange(len(x)) % 2, epochs=2, verbose=2)
        assert (SAME in capsys.readouterr().out) is hinted
