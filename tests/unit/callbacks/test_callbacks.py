"""Callbacks: which hooks are called when, and what each callback does."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TerminateOnNaN,
)
from fastdense.runners.single import Runner

RNG = np.random.RandomState(0)
X = RNG.rand(20, 3).astype(np.float32)
Y = X.sum(axis=1, keepdims=True)


def make(device: str, optimizer: Any = "adam", metrics: Any = None) -> fd.Model:
    model = fd.Model([fd.Dense(4, "tanh"), fd.Dense(1)], inputs=3, device=device)
    model.compile(optimizer, "mse", metrics=metrics)
    return model


class Recorder(Callback):
    """Notes every hook that is called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, Any, list[str]]] = []


def _noting(hook: str) -> Callable[..., None]:
    def note(self: Recorder, *arguments: Any) -> None:
        *number, logs = arguments
        self.calls.append((hook.removeprefix("on_"), number[0] if number else None, sorted(logs or {})))

    return note


HOOKS = [name for name in vars(Callback) if name.startswith("on_") and name != "on_epochs_end"]


def recorder(*hooks: str) -> Recorder:
    """A callback that overrides just these hooks."""
    return type("Chosen", (Recorder,), {hook: _noting(hook) for hook in hooks})()  # type: ignore[no-any-return]


def test_every_hook_in_order(device: str) -> None:
    callback = recorder(*(hook for hook in HOOKS if hook not in ("on_batch_begin", "on_batch_end")))
    model = make(device, metrics=["mae"])
    model.fit(X, Y, epochs=2, batch_size=10, validation_data=(X, Y), callbacks=[callback], verbose=0)
    names, val = ["loss", "mae"], ["loss", "mae", "val_loss", "val_mae"]
    epoch = [
        ("train_batch_begin", 0, []), ("train_batch_end", 0, names),
        ("train_batch_begin", 1, []), ("train_batch_end", 1, names),
        ("test_begin", None, []), ("test_batch_begin", 0, []), ("test_batch_end", 0, names), ("test_end", None, names),
    ]  # fmt: skip
    assert callback.calls == [
        ("train_begin", None, []),
        ("epoch_begin", 0, []), *epoch, ("epoch_end", 0, val),
        ("epoch_begin", 1, []), *epoch, ("epoch_end", 1, val),
        ("train_end", None, val),
    ]  # fmt: skip
    assert callback.model is model
    assert callback.params.pop("seconds") > 0
    assert callback.params == {
        "epochs": 2, "steps": 2, "verbose": 0, "initial_epoch": 0, "batch_size": 10, "shuffle": True,
    }  # fmt: skip


def test_hooks_of_evaluate_and_predict(device: str) -> None:
    callback = recorder(*HOOKS)
    model = make(device)
    model.evaluate(X, Y, callbacks=[callback])
    model.predict(X, callbacks=callback)
    assert [call[0] for call in callback.calls] == [
        "test_begin", "test_batch_begin", "test_batch_end", "test_end",
        "predict_begin", "predict_batch_begin", "predict_batch_end", "predict_end",
    ]  # fmt: skip
    assert callback.calls[6][2] == ["outputs"]


@pytest.mark.parametrize(
    ("hooks", "calls"),
    [
        ((), "many"),
        (("on_train_begin", "on_train_end"), "many"),
        (("on_epoch_begin",), "epoch"),
        (("on_epoch_end",), "epoch"),
        (("on_test_begin",), "epoch"),
        (("on_train_batch_end",), "batch"),
        (("on_batch_begin",), "batch"),
    ],
)
def test_hooks_decide_how_often_training_returns(
    device: str, hooks: tuple[str, ...], calls: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastdense.training.loop.time.perf_counter", lambda: 0.0)  # however busy the machine is
    model, steps = make(device), []
    original = model.runner.train

    def counting(*args: Any, **kwargs: Any) -> Any:
        steps.append(kwargs["steps"])
        return original(*args, **kwargs)

    model.runner.train = counting  # type: ignore[method-assign]
    model.fit(X, Y, epochs=8, batch_size=5, verbose=0, callbacks=[recorder(*hooks)])
    assert sum(steps) == 32
    if calls == "many":
        assert len(steps) < 8
    else:
        assert steps == ([4] * 8 if calls == "epoch" else [1] * 32)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("mine")])
def test_the_hook_of_an_exception(device: str, error: BaseException) -> None:
    """It comes in place of on_train_end, when the history is whole, and only if training had begun."""
    model, seen = make(device), []

    def fail(*_: Any) -> None:
        raise error

    def note(given: BaseException) -> None:
        assert model.history is not None
        seen.append((given, list(model.history.epoch)))

    ends = LambdaCallback(on_train_end=lambda *_: seen.append("end"), on_train_exception=note)
    with pytest.raises(type(error)):
        model.fit(X, Y, epochs=3, verbose=0, callbacks=[ends, LambdaCallback(on_epoch_end=fail)])
    assert seen == [(error, [0])]
    with pytest.raises(type(error)):
        model.fit(X, Y, verbose=0, callbacks=[ends, LambdaCallback(on_train_begin=fail)])
    assert len(seen) == 1


@pytest.mark.parametrize("verbose", [0, 1])
def test_best_weights_are_restored_after_an_exception(
    device: str, verbose: int, capsys: pytest.CaptureFixture[str]
) -> None:
    model, best = make(device), []
    stop = EarlyStopping("loss", patience=9, restore_best_weights=True, verbose=verbose)

    def interrupt(epoch: int, logs: Any) -> None:
        if epoch == 1:
            best.extend(model.get_weights())
            model.optimizer.learning_rate = 1e3  # worse from here on
        if epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, epochs=9, verbose=0, callbacks=[stop, LambdaCallback(on_epoch_end=interrupt)])
    assert stop.best_epoch < 3 and model.history is not None and len(model.history.epoch) == 4
    assert stop.best_weights is not None
    for now, kept in zip(model.get_weights(), stop.best_weights, strict=True):
        np.testing.assert_array_equal(now, kept)
    assert ("Restoring model weights from the end of the best epoch" in capsys.readouterr().out) == bool(verbose)


def test_older_names_of_the_batch_hooks(device: str) -> None:
    callback = recorder("on_batch_begin", "on_batch_end")
    make(device).fit(X, Y, batch_size=10, callbacks=callback, verbose=0)
    assert [call[:2] for call in callback.calls] == [(f"batch_{n}", k) for k in (0, 1) for n in ("begin", "end")]


def test_batch_logs_are_running_means(device: str) -> None:
    seen: list[dict[str, float]] = []
    model = make(device, fd.SGD(0.0), metrics=["mae"])
    callback = LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(dict(logs)))
    history = model.fit(X, Y, batch_size=8, shuffle=False, callbacks=[callback], verbose=0).history
    for end, logs in zip((8, 16, 20), seen, strict=True):
        expected = model.evaluate(X[:end], Y[:end], return_dict=True)
        assert logs == pytest.approx(expected, rel=1e-5)
    assert seen[-1] == {key: values[0] for key, values in history.items()}


def test_deferred_callbacks_hear_of_every_epoch(device: str) -> None:
    class Deferred(Callback):
        deferred = True

        def __init__(self) -> None:
            super().__init__()
            self.losses: list[float] = []
            self.epochs: list[int] = []

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.epochs.append(epoch)
            self.losses.append(logs["loss"])

    callback, model, calls = Deferred(), make(device), []
    original = model.runner.train
    model.runner.train = lambda *a, **k: calls.append(k["steps"]) or original(*a, **k)  # type: ignore[method-assign,func-returns-value]
    history = model.fit(X, Y, epochs=30, callbacks=[callback], verbose=0)
    assert callback.epochs == history.epoch == list(range(30)) and callback.losses == history.history["loss"]
    assert len(calls) < 30


def test_stop_training(device: str) -> None:
    model = make(device)
    stop = LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(model, "stop_training", epoch == 2))
    assert len(model.fit(X, Y, epochs=9, callbacks=[stop], verbose=0).epoch) == 3
    stop = LambdaCallback(on_train_batch_end=lambda batch, logs: setattr(model, "stop_training", batch == 1))
    history = model.fit(X, Y, epochs=9, batch_size=5, callbacks=[stop], verbose=0, validation_data=(X, Y))
    assert history.epoch == [0] and list(history.history) == ["loss", "val_loss"]
    assert len(model.fit(X, Y, epochs=2, verbose=0).epoch) == 2


def test_what_a_callback_adds_goes_into_the_history(device: str) -> None:
    class Adds(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["answer"] = 42.0 + epoch

    history = make(device).fit(X, Y, epochs=3, callbacks=[Adds()], verbose=0)
    assert history.history["answer"] == [42, 43, 44]


def test_a_callback_without_super_init(device: str) -> None:
    class Bare(Callback):
        def __init__(self) -> None:
            pass

    make(device).fit(X, Y, callbacks=[Bare()], verbose=0)


def test_lambda_callback() -> None:
    with pytest.raises(TypeError, match="LambdaCallback: 'on_epoch_ende' is not a hook. Did you mean 'on_epoch_end'?"):
        LambdaCallback(on_epoch_ende=print)
    with pytest.raises(TypeError, match="on_epoch_end is 3; a function is needed"):
        LambdaCallback(on_epoch_end=3)  # type: ignore[arg-type]


class Script(Callback):
    """Puts given numbers into the logs, one per epoch."""

    def __init__(self, key: str, values: list[float]) -> None:
        super().__init__()
        self.key, self.values = key, values

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs[self.key] = self.values[epoch]


@pytest.mark.parametrize(
    ("values", "options", "epochs", "best"),
    [
        ([5, 4, 3, 2, 1], {}, 5, 4),
        ([5, 4, 4.5, 1, 1], {}, 3, 1),
        ([5, 6, 1, 1, 1], {}, 2, 0),
        ([5, 4, 4.5, 4.2, 4.1, 1], {"patience": 3}, 5, 1),
        ([5, 4, 4.5, 4.2, 3, 3.5, 3.4], {"patience": 3}, 7, 4),
        ([5, 4.9, 4.85, 4.8], {"min_delta": 0.2, "patience": 2}, 3, 0),
        ([1, 2, 3, 2.5], {"mode": "max"}, 4, 2),
        ([5, 4, 3, 3.5, 3.4], {"baseline": 1, "patience": 2}, 4, 2),
        ([5, 0.5, 0.6, 0.7], {"baseline": 1, "patience": 2}, 4, 1),
        ([1, 9, 8, 7, 7.5], {"start_from_epoch": 1}, 5, 3),
        ([5, math.nan, 4, 3], {"patience": 1}, 2, 0),
    ],
)
def test_early_stopping(values: list[float], options: dict[str, Any], epochs: int, best: int) -> None:
    model = make("reference")
    kept: list[Any] = []
    stopper = EarlyStopping("number", restore_best_weights=True, **options)
    keep = LambdaCallback(on_epoch_end=lambda epoch, logs: kept.append(model.get_weights()))
    history = model.fit(X, Y, epochs=len(values), callbacks=[Script("number", values), keep, stopper], verbose=0)
    assert len(history.epoch) == epochs
    assert stopper.best_epoch == best
    for a, b in zip(model.get_weights(), kept[best], strict=True):
        np.testing.assert_array_equal(a, b)


def test_early_stopping_defaults(device: str, capsys: pytest.CaptureFixture[str]) -> None:
    stopper = EarlyStopping(monitor="loss", patience=1, min_delta=1e9, verbose=1)
    model = make(device)
    for _ in range(2):  # the same object may be used again
        assert len(model.fit(X, Y, epochs=9, callbacks=[stopper], verbose=0).epoch) == 2
        assert stopper.stopped_epoch == 1 and stopper.best_weights is None
    assert capsys.readouterr().out == "Epoch 2: early stopping\n" * 2


@pytest.mark.parametrize("name", ["accuracy", "val_auc", "val_precision", "recall", "f1", "val_r2", "top_k_accuracy"])
def test_auto_mode(name: str) -> None:
    assert EarlyStopping(name).best == -math.inf
    assert EarlyStopping("val_loss").best == EarlyStopping("mae").best == math.inf
    with pytest.raises(ValueError, match="EarlyStopping: mode='most' is not known. Use 'auto', 'min' or 'max'."):
        EarlyStopping(mode="most")


@pytest.mark.parametrize(
    ("monitor", "data", "message"),
    [
        (
            "val_loss",
            {},
            "'val_loss' is not in the logs, which hold loss, mae; it does nothing. Pass validation_data or",
        ),
        (
            "val_lost",
            {"validation_split": 0.5},
            "hold loss, mae, val_loss, val_mae; it does nothing. Did you mean 'val_loss'",
        ),
        ("zzz", {}, "Choose one of these as monitor"),
    ],
)
@pytest.mark.parametrize("kind", [EarlyStopping, ReduceLROnPlateau])
def test_missing_monitor_warns_once(kind: Any, monitor: str, data: dict[str, Any], message: str) -> None:
    model = make("reference", metrics=["mae"])
    with pytest.warns(RuntimeWarning) as warned:
        model.fit(X, Y, epochs=3, callbacks=[kind(monitor)], verbose=0, **data)
    assert len(warned) == 1 and f"{kind.__name__}: monitor" in str(warned[0].message)
    assert message in str(warned[0].message)


@pytest.mark.parametrize(
    ("values", "options", "rates"),
    [
        ([5, 5, 5, 5, 5], {"patience": 2}, [1, 1, 1, 0.1, 0.1]),
        ([5, 4, 3, 2, 1], {"patience": 1}, [1, 1, 1, 1, 1]),
        ([5, 5, 5, 5, 5, 5], {"patience": 1, "factor": 0.5, "cooldown": 2}, [1, 1, 0.5, 0.5, 0.25, 0.25]),
        ([5, 5, 5, 5], {"patience": 1, "min_lr": 0.05}, [1, 1, 0.1, 0.05]),
        ([5, 6, 7, 8, 8, 8], {"patience": 1, "factor": 0.5, "cooldown": 1}, [1, 1, 0.5, 0.25, 0.125, 0.0625]),
        ([5, 6, 7, 8, 8, 8], {"patience": 2, "factor": 0.5, "cooldown": 1}, [1, 1, 1, 0.5, 0.5, 0.25]),
        ([5, 4.99995, 4.9999], {"patience": 1}, [1, 1, 0.1]),
        ([5, 6, 7], {"patience": 1, "mode": "max"}, [1, 1, 1]),
    ],
)
def test_reduce_lr_on_plateau(values: list[float], options: dict[str, Any], rates: list[float]) -> None:
    model = make("reference", fd.SGD(1.0))
    callback = ReduceLROnPlateau("number", **options)
    model.fit(X, Y, epochs=len(values), callbacks=[Script("number", values), callback], verbose=0)
    history = model.history
    assert history is not None and history.history["learning_rate"] == pytest.approx(rates)


def test_reduce_lr_changes_the_steps(device: str) -> None:
    model = make(device, fd.SGD(0.1))
    model.fit(X, Y, epochs=2, callbacks=[ReduceLROnPlateau("loss", factor=0.0, patience=1, min_delta=1e9)], verbose=0)
    assert model.optimizer.learning_rate == 0.0
    weights = model.get_weights()
    model.fit(X, Y, verbose=0)
    for a, b in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="factor=1.0 is out of range. Give a finite number at least 0 and below 1"):
        ReduceLROnPlateau(factor=1.0)


@pytest.mark.parametrize(
    "schedule", [lambda epoch: 0.1 / (epoch + 1), lambda epoch, rate: rate if epoch == 0 else rate / 2]
)
def test_learning_rate_scheduler(device: str, schedule: Any) -> None:
    model = make(device, fd.SGD(0.1))
    history = model.fit(X, Y, epochs=2, callbacks=[LearningRateScheduler(schedule)], verbose=0).history
    assert history["learning_rate"] == [0.1, 0.05]
    other = make(device, fd.SGD(fd.schedules.PiecewiseConstantDecay([0], [0.1, 0.05])))
    assert other.fit(X, Y, epochs=2, verbose=0).history["loss"] == history["loss"]
    with pytest.raises(TypeError, match="schedule is 3; a function of the epoch is needed"):
        LearningRateScheduler(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("callback", [ReduceLROnPlateau("loss"), LearningRateScheduler(lambda epoch: 0.1)])
def test_a_schedule_and_a_callback_do_not_mix(callback: Callback) -> None:
    model = make("reference", fd.SGD(fd.schedules.ExponentialDecay(0.1, 10, 0.9)))
    with pytest.raises(ValueError, match=r"the learning rate is the schedule .*; make the optimizer with a number"):
        model.fit(X, Y, callbacks=[callback], verbose=0)
    assert model.runner.step == 0


def test_csv_logger(device: str, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    model = make(device, metrics=["mae"])
    history = model.fit(X, Y, epochs=3, callbacks=[CSVLogger(path)], verbose=0).history
    model.fit(X, Y, epochs=5, initial_epoch=3, callbacks=[CSVLogger(path, append=True)], verbose=0)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == list("01234")
    assert (
        list(rows[0]) == ["epoch", "loss", "mae", "val_loss", "val_mae"] and rows[0]["val_mae"] == "NA"
    )  # as in Keras
    assert [float(row["loss"]) for row in rows[:3]] == history["loss"]
    model.fit(X, Y, callbacks=[CSVLogger(path, separator=";")], verbose=0)
    assert path.read_text(encoding="utf-8").startswith("epoch;loss;mae;val_loss;val_mae\n0;")


def test_model_checkpoint(device: str, tmp_path: Path) -> None:
    model = make(device)
    name = tmp_path / "new" / "net-{epoch:02d}-{loss:.3f}.safetensors"
    history = model.fit(X, Y, epochs=3, callbacks=[ModelCheckpoint(name, save_weights_only=True)], verbose=0).history
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == [f"net-{i + 1:02d}-{loss:.3f}.safetensors" for i, loss in enumerate(history["loss"])]
    loaded = fd.load(tmp_path / "new" / names[-1])
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert loaded.runner.step == 0 and loaded.compiled
    with pytest.raises(ValueError, match=r"names 'val_loss', which is not in the logs; they hold epoch, loss"):
        model.fit(X, Y, callbacks=[ModelCheckpoint(tmp_path / "{val_loss}")], verbose=0)


def test_model_checkpoint_of_the_best(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = make("reference")
    path = tmp_path / "best.keras"  # a Keras script's name does no harm
    callbacks = [
        Script("number", [3, 2, 4, 1.5, 2]),
        ModelCheckpoint(path, "number", save_best_only=True, verbose=1, initial_value_threshold=2.5),
    ]
    model.fit(X, Y, epochs=5, callbacks=callbacks, verbose=0)
    assert capsys.readouterr().out == (
        f"\nEpoch 1: number did not improve from 2.50000\n"
        f"\nEpoch 2: number improved from 2.50000 to 2.00000, saving model to {path}\n"
        f"\nEpoch 2: finished saving model to {path}\n"
        f"\nEpoch 3: number did not improve from 2.00000\n"
        f"\nEpoch 4: number improved from 2.00000 to 1.50000, saving model to {path}\n"
        f"\nEpoch 4: finished saving model to {path}\n"
        f"\nEpoch 5: number did not improve from 1.50000\n"
    )
    assert fd.load(path).runner.epochs_trained == 4


def test_model_checkpoint_by_batches(device: str, tmp_path: Path) -> None:
    model = make(device)
    checkpoint = ModelCheckpoint(tmp_path / "{epoch}", save_freq=3)
    model.fit(X, Y, epochs=2, batch_size=5, callbacks=[checkpoint], verbose=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]
    assert fd.load(tmp_path / "2").runner.step == 6
    with pytest.raises(ValueError, match="save_freq=0 is out of range. Give a whole number, at least 1"):
        ModelCheckpoint("x", save_freq=0)


@pytest.mark.parametrize("others", [(), ("on_epoch_end",), ("on_train_batch_end",)])
def test_terminate_on_nan(device: str, others: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    model = make(device, fd.SGD(1e30))
    callbacks = [TerminateOnNaN(), recorder(*others)]
    history = model.fit(X, Y, epochs=10**6, batch_size=5, validation_data=(X, Y), callbacks=callbacks, verbose=0)
    steps = model.runner.step
    assert 1 < steps < 8 and len(history.epoch) == -(-steps // 4)
    assert not math.isfinite(history.history["loss"][-1]) and len(history.history["val_loss"]) == len(history.epoch)
    assert capsys.readouterr().out == f"Batch {(steps - 1) % 4}: Invalid loss, terminating training\n"


def test_terminate_on_nan_lets_good_training_go_on(device: str) -> None:
    runs = [make(device).fit(X, Y, epochs=20, callbacks=c, verbose=0).history for c in ([], [TerminateOnNaN()])]
    assert runs[0] == runs[1]


def test_csv_goes_on_in_the_columns_of_the_file(tmp_path: Path) -> None:
    path, model = tmp_path / "log.csv", make("reference", metrics=["mae"])
    model.fit(X, Y, epochs=1, validation_split=0.2, callbacks=[CSVLogger(path)], verbose=0)
    again = model.fit(X, Y, epochs=2, initial_epoch=1, callbacks=[CSVLogger(path, append=True)], verbose=0)
    first, second = csv.DictReader(path.read_text().splitlines())
    assert list(first) == ["epoch", "loss", "mae", "val_loss", "val_mae"] and "NA" not in first.values()
    assert float(second["mae"]) == again.history["mae"][0] and second["val_loss"] == second["val_mae"] == "NA"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EarlyStopping(patience="3"), "EarlyStopping: patience='3' is of type str. Give a whole number"),
        (lambda: EarlyStopping(patience=-1), "EarlyStopping: patience=-1 is out of range"),
        (lambda: EarlyStopping(baseline="x"), "EarlyStopping: baseline='x' is of type str"),
        (lambda: EarlyStopping(monitor=5), "EarlyStopping: monitor is 5; a name from the logs is needed"),
        (
            lambda: EarlyStopping(restore_best_weights="yes"),
            "restore_best_weights='yes' is of type str. Give True",
        ),
        (lambda: EarlyStopping(patienc=3), "EarlyStopping: unknown argument 'patienc'. Did you mean 'patience'?"),
        (lambda: ReduceLROnPlateau(factor="x"), "ReduceLROnPlateau: factor='x' is of type str"),
        (lambda: ReduceLROnPlateau(cooldown=0.5), "ReduceLROnPlateau: cooldown=0.5 is of type float"),
        (lambda: ReduceLROnPlateau(min_lr=-1), "ReduceLROnPlateau: min_lr=-1 is out of range"),
    ],
)
def test_arguments_are_checked_before_training(make, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        make()


@pytest.mark.parametrize("ahead", [1, 4])
def test_epochs_that_a_callback_need_not_see(device: str, ahead: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are one call of the engine, after the first, which shows how long an epoch takes; all are reported."""
    steps: list[int] = []
    train = Runner.train
    monkeypatch.setattr(
        Runner, "train", lambda *args, **kwargs: steps.append(kwargs["steps"]) or train(*args, **kwargs)
    )
    monkeypatch.setattr("fastdense.training.pacing.CALL_SECONDS", 1e6)  # a slow machine changes nothing

    class Patient(recorder("on_epoch_end").__class__):  # type: ignore[misc]
        def epochs_ahead(self) -> int:
            return ahead

    patient = Patient()
    make(device).fit(X, Y, batch_size=20, epochs=10, callbacks=[patient], verbose=0)
    assert steps == ([1] * 10 if ahead == 1 else [1, 4, 4, 1])
    assert [epoch for _, epoch, _ in patient.calls] == list(range(10))
    steps.clear()
    also = recorder("on_epoch_begin")
    make(device).fit(X, Y, batch_size=20, epochs=3, callbacks=[patient, also], verbose=0)
    assert steps == [1, 1, 1] and len(also.calls) == 3
