"""Files to go on from: what `ModelCheckpoint` writes when, and `BackupAndRestore`."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense.callbacks import BackupAndRestore, Callback, EarlyStopping, ModelCheckpoint, TerminateOnNaN

RNG = np.random.RandomState(0)
X = RNG.rand(20, 3).astype(np.float32)
Y = X.sum(axis=1, keepdims=True)


def make(device: str, optimizer: Any = "adam", metrics: Any = None) -> fd.Model:
    model = fd.Model([fd.Normalization(), fd.Dense(4, "tanh"), fd.Dropout(0.2), fd.Dense(1)], inputs=3, device=device)
    model.compile(optimizer, "mse", metrics=metrics)
    return model


class Interrupt(Callback):
    """Raises at the end of an epoch, or of a batch of it."""

    def __init__(self, epoch: int, batch: int | None = None) -> None:
        super().__init__()
        self.epoch, self.batch, self.running = epoch, batch, 0
        if batch is not None:
            self.__dict__["on_train_batch_end"] = self._end

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.running = epoch
        if self.batch is None and epoch == self.epoch:
            raise KeyboardInterrupt

    def _end(self, batch: int, logs: Any = None) -> None:
        if (self.running, batch) == (self.epoch, self.batch):
            raise KeyboardInterrupt


@pytest.mark.parametrize("batch", [None, 1])
@pytest.mark.parametrize("optimizer", ["adam", fd.SGD(0.1, momentum=0.9), fd.Nadam(0.01)])
def test_an_interrupted_training_goes_on(device: str, optimizer: Any, batch: int | None, tmp_path: Path) -> None:
    """The next process has the bits of a training that was not interrupted."""
    options: dict[str, Any] = {"epochs": 5, "batch_size": 8, "verbose": 0, "validation_split": 0.2}
    whole = make(device, optimizer)
    history = whole.fit(X, Y, **options).history
    with pytest.raises(KeyboardInterrupt):
        make(device, optimizer).fit(X, Y, callbacks=[BackupAndRestore(tmp_path / "b"), Interrupt(3, batch)], **options)
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["epoch-3.safetensors"]
    again = make(device, optimizer)
    rest = again.fit(X, Y, callbacks=[BackupAndRestore(tmp_path / "b")], **options)
    assert rest.epoch == [3, 4] and rest.history["val_loss"] == history["val_loss"][3:]
    for one, other in zip(again.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not (tmp_path / "b").exists()
    assert again.fit(X, Y, callbacks=[BackupAndRestore(tmp_path / "b")], **options).epoch == [0, 1, 2, 3, 4]


def test_backups_by_batches_keep_the_last_weights(tmp_path: Path) -> None:
    model = make("cpu")
    backup = BackupAndRestore(tmp_path / "b", save_freq=1)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, epochs=3, batch_size=8, verbose=0, callbacks=[backup, Interrupt(1, 1)])
    last = model.get_weights()
    again = make("cpu")
    seen: list[Any] = []
    begin = fd.callbacks.LambdaCallback(on_epoch_begin=lambda e, logs: seen.append((e, again.get_weights())))
    again.fit(X, Y, epochs=3, batch_size=8, verbose=0, callbacks=[BackupAndRestore(tmp_path / "b"), begin])
    assert [epoch for epoch, _ in seen] == [1, 2]
    for one, other in zip(seen[0][1], last, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_damaged_backup(tmp_path: Path) -> None:
    folder = tmp_path / "b"
    with pytest.raises(KeyboardInterrupt):
        make("cpu").fit(
            X, Y, epochs=9, verbose=0, callbacks=[BackupAndRestore(folder, double_checkpoint=True), Interrupt(3)]
        )
    assert sorted(path.name for path in folder.iterdir()) == ["epoch-2.safetensors", "epoch-3.safetensors"]
    (folder / "epoch-3.safetensors").write_bytes(b"damaged")
    again = make("cpu").fit(X, Y, epochs=4, verbose=0, callbacks=[BackupAndRestore(folder, delete_checkpoint=False)])
    assert again.epoch == [2, 3] and [path.name for path in folder.iterdir()] == ["epoch-4.safetensors"]
    (folder / "epoch-4.safetensors").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"epoch-4.safetensors' cannot be loaded: it is not a safetensors file"):
        make("cpu").fit(X, Y, epochs=5, verbose=0, callbacks=[BackupAndRestore(folder)])


def test_a_backup_of_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        make("cpu").fit(X, Y, epochs=9, verbose=0, callbacks=[BackupAndRestore(tmp_path), Interrupt(1)])
    with pytest.raises(ValueError, match="its optimizer is Adam, and that of this model is SGD"):
        make("cpu", "sgd").fit(X, Y, verbose=0, callbacks=[BackupAndRestore(tmp_path)])
    other = fd.Model([fd.Dense(1)], inputs=3)
    other.compile("adam", "mse")
    before = other.get_weights()
    with pytest.raises(ValueError, match=r"tensor 'weights.0' has shape \(3,\); dense/kernel needs \(3, 1\)"):
        other.fit(X, Y, verbose=0, callbacks=[BackupAndRestore(tmp_path)])
    np.testing.assert_array_equal(other.get_weights()[0], before[0])
    for options, says in (
        ({"save_freq": 0}, "save_freq=0 is out of range"),
        ({"save_freq": "batch"}, "save_freq='batch' is not known"),
        ({"delete_checkpoint": 1}, "delete_checkpoint=1 is of type int"),
    ):
        with pytest.raises((TypeError, ValueError), match=f"BackupAndRestore: {re.escape(says)}"):
            BackupAndRestore("b", **options)  # type: ignore[arg-type]


def test_the_learning_rate_is_backed_up(tmp_path: Path) -> None:
    halve = fd.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    with pytest.raises(KeyboardInterrupt):
        make("cpu", fd.SGD(0.8)).fit(X, Y, epochs=9, verbose=0,
                                     callbacks=[BackupAndRestore(tmp_path), halve, Interrupt(2)])  # fmt: skip
    again = make("cpu", fd.SGD(0.8))
    history = again.fit(X, Y, epochs=4, verbose=0, callbacks=[BackupAndRestore(tmp_path), halve]).history
    assert history["learning_rate"] == [0.1, 0.05]


def test_checkpoints_by_batches_have_a_number(tmp_path: Path) -> None:
    path = str(tmp_path / "{epoch}-{batch:02d}-{loss:.1f}")
    make("cpu").fit(X, Y, epochs=2, batch_size=5, callbacks=[ModelCheckpoint(path, save_freq=3)], verbose=0)
    assert sorted(path.name[:4] for path in tmp_path.iterdir()) == ["1-03", "2-02"]


def test_without_its_monitor_a_checkpoint_saves_every_epoch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save = ModelCheckpoint(tmp_path / "{epoch}", save_best_only=True, verbose=1)
    with pytest.warns(RuntimeWarning, match="'val_loss' is not in the logs, which hold loss; every model is saved."):
        make("cpu").fit(X, Y, epochs=2, callbacks=[save], verbose=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]
    assert capsys.readouterr().out.count("finished saving model to") == 2


@pytest.mark.parametrize(("metric", "growing"), [("accuracy", True), ("mae", False)])
def test_what_is_better_follows_from_the_metric(metric: str, growing: bool) -> None:
    """Whatever name the user gives it: acc_error is no accuracy."""
    named = fd.metrics.BinaryAccuracy(name="hits") if growing else fd.metrics.MeanAbsoluteError(name="acc_error")
    model = fd.Model([fd.Dense(1, "sigmoid")], inputs=3)
    model.compile("sgd", "binary_crossentropy", metrics=[named])
    stop = EarlyStopping(named.name, patience=9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        history = model.fit(X, (Y > 1.5) * 1.0, epochs=4, callbacks=[stop], verbose=0).history[named.name]
    assert stop.best == (max(history) if growing else min(history))


@pytest.mark.parametrize("by_batch", [False, True])
def test_terminate_on_nan_may_raise(device: str, by_batch: bool) -> None:
    model, ends = make(device, fd.SGD(1e30)), []
    end = fd.callbacks.LambdaCallback(on_train_end=lambda logs: ends.append(logs))
    if by_batch:
        end.__dict__["on_train_batch_end"] = lambda batch, logs: None
    with pytest.raises(RuntimeError, match=r"TerminateOnNaN: the loss became (nan|inf) in batch \d; a finite loss is"):
        model.fit(X, Y, epochs=9, batch_size=5, callbacks=[TerminateOnNaN(raise_error=True), end], verbose=0)
    assert not ends and model.runner.step < 8


def test_lambda_callback_takes_batch_hooks_in_order() -> None:
    seen: list[Any] = []
    callback = fd.callbacks.LambdaCallback(
        None, None, None, None, lambda batch, logs: seen.append(batch), lambda batch, logs: seen.append(sorted(logs))
    )
    make("cpu").fit(X, Y, batch_size=10, callbacks=[callback], verbose=0)
    assert seen == [0, ["loss"], 1, ["loss"]]


def test_state_of_a_model_with_classes_of_the_users(tmp_path: Path) -> None:
    """save_state describes no layers, so it works where save cannot."""

    class Mine(fd.schedules.ExponentialDecay):
        pass

    model = make("cpu", fd.SGD(Mine(0.1, 5, 0.5)))
    with pytest.raises(ValueError, match="holds an object of a class of your own"):
        model.save(tmp_path / "model")
    model.fit(X, Y, verbose=0)
    model.save_state(tmp_path / "state")
    weights, step = model.get_weights(), model.step
    model.fit(X, Y, verbose=0)
    model.load_state(tmp_path / "state")
    assert model.step == step == 1
    for one, other in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)
