"""The files that `TensorBoard` writes, read by tensorboard itself where it is installed."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense.callbacks import TensorBoard
from fastdense.runners.single import Runner

X = np.random.RandomState(0).rand(20, 3).astype(np.float32)
Y = X.sum(axis=1, keepdims=True)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of protobuf


def make(optimizer: Any = "adam") -> fd.Model:
    model = fd.Model([fd.Dense(4, "tanh"), fd.Dense(1)], inputs=3)
    model.compile(optimizer, "mse", metrics=["mae"])
    return model


def read(folder: Path, kind: str = "tensors") -> dict[str, list[tuple[int, Any]]]:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder), size_guidance={kind: 0})
    events.Reload()
    tensor_util = importlib.import_module("tensorboard.util.tensor_util")
    return {
        tag: [(event.step, tensor_util.make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)]
        for tag in events.Tags()[kind]
    }


@pytest.fixture
def installed() -> None:
    pytest.importorskip("tensorboard")


@pytest.mark.usefixtures("installed")
def test_scalars_have_the_names_of_keras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    train = Runner.train
    monkeypatch.setattr(Runner, "train", lambda *a, **k: steps.append(k["steps"]) or train(*a, **k))
    monkeypatch.setattr("fastdense.training.pacing.CALL_SECONDS", 1e6)  # a slow machine changes nothing
    model = make(fd.Adam(fd.schedules.InverseTimeDecay(0.01, 1, 1.0)))
    model.fit(X, Y, batch_size=10, epochs=1, verbose=0)
    steps.clear()
    board = TensorBoard(tmp_path)
    history = model.fit(X, Y, batch_size=10, validation_split=0.5, epochs=5, initial_epoch=1, callbacks=[board],
                        verbose=0).history  # fmt: skip
    assert len(steps) < 4  # epochs stay in one call
    training, validation = read(tmp_path / "train"), read(tmp_path / "validation")
    assert sorted(training) == ["epoch_learning_rate", "epoch_loss", "epoch_mae"]
    assert sorted(validation) == [
        "epoch_loss", "epoch_mae", "evaluation_loss_vs_iterations", "evaluation_mae_vs_iterations"]  # fmt: skip
    for tag, name, found in (("epoch_loss", "loss", training), ("epoch_mae", "val_mae", validation)):
        assert [step for step, _ in found[tag]] == [1, 2, 3, 4]
        np.testing.assert_allclose([value for _, value in found[tag]], history[name], rtol=1e-6)
    assert [step for step, _ in validation["evaluation_loss_vs_iterations"]] == [3, 4, 5, 6]
    rates = [value for _, value in training["epoch_learning_rate"]]
    np.testing.assert_allclose(rates, [0.01 / (1 + step) for step in (3, 4, 5, 6)], rtol=1e-6)


@pytest.mark.usefixtures("installed")
def test_batches_and_histograms(tmp_path: Path) -> None:
    model = make()
    model.fit(X, Y, batch_size=5, epochs=3, callbacks=[TensorBoard(tmp_path, 2, update_freq=3)], verbose=0)
    found = read(tmp_path / "train")
    assert [step for step, _ in found["batch_loss"]] == [3, 6, 9, 12]
    histogram = found["dense/kernel/histogram"]
    assert [step for step, _ in histogram] == [0, 2]
    kernel = model.get_weights()[0]
    left, right = histogram[-1][1][0, 0], histogram[-1][1][-1, 1]  # of the last epoch, whose weights the model has
    np.testing.assert_allclose([left, right], [kernel.min(), kernel.max()], rtol=1e-5)
    assert histogram[-1][1][:, 2].sum() == kernel.size


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"write_images": True}, "write_images=True is not offered"),
        ({"profile_batch": 2}, "profile_batch=2 is not offered"),
        ({"embeddings_freq": 1}, "embeddings_freq=1 is not offered"),
        ({"write_steps_per_second": True}, "write_steps_per_second=True is not offered"),
        ({"update_freq": 0}, "update_freq=0 is out of range"),
        ({"update_freq": "step"}, "update_freq='step' is not known"),
        ({"histogram_freq": -1}, "histogram_freq=-1 is out of range"),
        ({"histogram": 1}, "unknown argument 'histogram'. Did you mean 'histogram_freq'"),
        ({"histogram_freq": None}, "histogram_freq=None is of type NoneType. Give a whole number"),
        ({"embeddings_freq": False}, "embeddings_freq=False is of type bool. Give a whole number"),
        ({"write_images": 0}, "write_images=0 is of type int. Give True or False"),
        ({"write_steps_per_second": ()}, r"write_steps_per_second=\(\) is of type tuple. Give True or False"),
        ({"profile_batch": np.zeros(2)}, r"profile_batch=array\(\[0., 0.\]\) is not offered"),
        ({"embeddings_metadata": [1]}, r"embeddings_metadata=\[1\] is not offered"),
        ({"log_dir": 10**400}, "log_dir=1000.* is of type int. Give a path"),
    ],
)
def test_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"TensorBoard: {says}"):
        TensorBoard(**options)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("profile", [0, None, "", False])
def test_no_profile(profile: object) -> None:
    assert TensorBoard("logs", profile_batch=profile).log_dir == "logs"


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "tensorboard.summary", raising=False)
    with pytest.raises(ImportError, match=r"TensorBoard: the package tensorboard, .*pip install 'fastdense\[tensor"):
        TensorBoard("logs")
