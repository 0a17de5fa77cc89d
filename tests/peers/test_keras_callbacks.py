"""Callbacks print and record in `fastdense.keras` what they print and record in Keras, from the same weights."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from fastdense import keras as ours
from tests.peers.keras64 import keras
from tests.peers.problem import Agree

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's __array__

X = np.random.default_rng(0).uniform(-1, 1, (60, 3))
Y = (X.sum(axis=1) > 0) * 1.0


class Script:
    """Adds a number to the logs of every epoch."""

    def __new__(cls, k: ModuleType, values: list[float]) -> Any:
        class Adds(k.callbacks.Callback):  # type: ignore[name-defined, misc]
            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                logs["number"] = values[epoch]

        return Adds()


def plateau(options: dict[str, Any]) -> Any:
    values = [5, 6, 4, 4, 4.1, 4, 3.99995, 4, 4, 4, 1, 2, 2, 2, 2]
    settings = {"monitor": "number", "mode": "min", "verbose": 1, **options}
    return lambda k: [Script(k, values), k.callbacks.ReduceLROnPlateau(**settings)]


def stopping(options: dict[str, Any]) -> Any:
    values = [5, 4, 4.5, 3, 3.5, 3.4, 3.2, 2.9, 3, 3, 3, 3, 3, 3, 3]
    settings = {"monitor": "number", "mode": "min", "verbose": 1, **options}
    return lambda k: [Script(k, values), k.callbacks.EarlyStopping(**settings)]


def checkpoint(options: dict[str, Any]) -> Any:
    values = [5, 4, 4.5, 3, 3.5]
    settings = {"filepath": "{epoch:02d}-{number:.2f}.keras", "monitor": "number", "mode": "min", **options}
    return lambda k: [Script(k, values), k.callbacks.ModelCheckpoint(**settings)]


CASES: dict[str, tuple[int, Any]] = {
    "plateau": (15, plateau({"patience": 2, "factor": 0.1})),
    "plateau_patience_1": (15, plateau({"patience": 1, "factor": 0.5, "min_lr": 0.01})),
    "plateau_cooldown": (15, plateau({"patience": 1, "cooldown": 2, "factor": 0.5})),
    "plateau_cooldown_patience": (15, plateau({"patience": 2, "cooldown": 3, "min_delta": 0.5})),
    "plateau_min_lr": (15, plateau({"patience": 1, "factor": 0.1, "min_lr": 1e-4})),
    "plateau_max": (15, plateau({"patience": 3, "mode": "max"})),
    "plateau_patience_0": (15, plateau({"patience": 0, "factor": 0.9})),
    "stopping": (15, stopping({})),
    "stopping_patience": (15, stopping({"patience": 3, "restore_best_weights": True})),
    "stopping_start": (15, stopping({"patience": 1, "start_from_epoch": 5, "restore_best_weights": True})),
    "stopping_baseline": (15, stopping({"patience": 4, "baseline": 2.0, "restore_best_weights": True})),
    "stopping_baseline_met": (15, stopping({"patience": 4, "baseline": 4.2})),
    "stopping_delta": (15, stopping({"patience": 2, "min_delta": 0.6, "restore_best_weights": True})),
    "stopping_max": (15, stopping({"patience": 2, "mode": "max"})),
    "stopping_accuracy": (8, lambda k: [k.callbacks.EarlyStopping("accuracy", patience=1, verbose=1)]),
    "stopping_val_loss": (8, lambda k: [k.callbacks.EarlyStopping(patience=0, min_delta=0.1, verbose=1)]),
    "checkpoint": (5, checkpoint({"verbose": 1})),
    "checkpoint_best": (5, checkpoint({"verbose": 1, "save_best_only": True})),
    "checkpoint_threshold": (5, checkpoint({"verbose": 1, "save_best_only": True, "initial_value_threshold": 3.4})),
    "checkpoint_max": (5, checkpoint({"verbose": 1, "save_best_only": True, "mode": "max"})),
    "checkpoint_quiet": (5, checkpoint({"save_best_only": True, "filepath": "best.keras"})),
    "checkpoint_batches": (
        3,
        checkpoint({"verbose": 1, "save_freq": 5, "filepath": "{epoch}-{batch}.keras", "monitor": "loss"}),
    ),
    "scheduler": (
        4,
        lambda k: [k.callbacks.LearningRateScheduler(lambda e, rate: rate if e < 2 else rate * 0.5, verbose=1)],
    ),
    "csv": (3, lambda k: [k.callbacks.CSVLogger("log.csv")]),
    "csv_separator": (3, lambda k: [Script(k, [1, 2, 3]), k.callbacks.CSVLogger("log.csv", separator=";")]),
    "lambda": (
        2,
        lambda k: [
            k.callbacks.LambdaCallback(
                on_epoch_begin=lambda epoch, logs: print("begin", epoch, sorted(logs)),
                on_epoch_end=lambda epoch, logs: print("end", epoch, sorted(logs)),
                on_train_begin=lambda logs: print("train", sorted(logs)),
                on_train_end=lambda logs: print("trained", sorted(logs)),
                on_train_batch_begin=lambda batch, logs: print("batch", batch, sorted(logs or {})),
                on_train_batch_end=lambda batch, logs: print("batch done", batch, sorted(logs)),
            )
        ],
    ),
}


def run(k: ModuleType, name: str, weights: list[Any] | None, folder: Path, capsys: Any) -> tuple[Any, Any, str]:
    epochs, make = CASES[name]
    model = k.Sequential([k.Input((3,)), k.layers.Dense(4, "tanh"), k.layers.Dense(1, "sigmoid")])
    rate = 0.01 if name.startswith("plateau") else 0.05
    model.compile(k.optimizers.SGD(rate), "binary_crossentropy", metrics=["accuracy"])
    if weights is not None:
        model.set_weights(weights)
    folder.mkdir()
    before = os.getcwd()
    os.chdir(folder)
    try:
        capsys.readouterr()
        first = model.get_weights()
        history = model.fit(X, Y, epochs=epochs, batch_size=16, shuffle=False, verbose=0, validation_split=0.2,
                            callbacks=make(k))  # fmt: skip
        return (first, model.get_weights()), history.history, capsys.readouterr().out
    finally:
        os.chdir(before)


@pytest.mark.parametrize("name", CASES)
def test_same_prints_same_numbers(name: str, tmp_path: Path, agree: Agree, capsys: pytest.CaptureFixture[str]) -> None:
    (first, last), history, shown = run(keras, name, None, tmp_path / "theirs", capsys)
    ours.backend.set_floatx("float64")
    try:
        (_, mine), my_history, my_shown = run(ours, name, first, tmp_path / "ours", capsys)
    finally:
        ours.backend.set_floatx("float32")
    assert my_shown == shown
    assert sorted(my_history) == sorted(history)
    for key, values in history.items():
        agree([my_history[key]], [values])
    agree(mine, last)
    files = [sorted(path.name for path in (tmp_path / side).iterdir()) for side in ("ours", "theirs")]
    assert files[0] == files[1]
    if name.startswith("csv"):
        rows, my_rows = (
            [re.split("[,;]", row) for row in (tmp_path / side / "log.csv").read_text().splitlines()]
            for side in ("theirs", "ours")
        )
        assert my_rows[0] == rows[0]
        for mine_row, row in zip(my_rows[1:], rows[1:], strict=True):
            for one, other in zip(mine_row, row, strict=True):
                assert one == other or float(one) == pytest.approx(float(other), rel=1e-12)
