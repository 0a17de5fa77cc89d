"""Keras's utilities, random numbers, settings and data sets; expected numbers are those of Keras 3.15."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import random as python_random
import re
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense import datasets as core_datasets
from fastdense import keras
from fastdense.datasets import DatasetError
from fastdense.keras.datasets import (
    boston_housing,
    california_housing,
    cifar10,
    cifar100,
    imdb,
    reading,
    reuters,
)


def small() -> Any:
    return keras.Sequential([keras.layers.Dense(1, input_dim=2)])


# ---- utils -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ({}, [[0, 0, 1], [0, 0, 0], [2, 3, 4], [0, 5, 6]]),
        ({"maxlen": 2}, [[0, 1], [0, 0], [3, 4], [5, 6]]),
        ({"maxlen": 2, "truncating": "post", "padding": "post"}, [[1, 0], [0, 0], [2, 3], [5, 6]]),
        ({"maxlen": 4, "value": 9, "padding": "post"}, [[1, 9, 9, 9], [9, 9, 9, 9], [2, 3, 4, 9], [5, 6, 9, 9]]),
        ({"maxlen": 2, "value": -1, "dtype": "float32"}, [[-1, 1], [-1, -1], [3, 4], [5, 6]]),
    ],
)
def test_pad_sequences(options: dict[str, Any], rows: list[list[int]]) -> None:
    padded = keras.preprocessing.sequence.pad_sequences([[1], [], [2, 3, 4], (5, 6)], **options)
    np.testing.assert_array_equal(padded, rows)
    assert padded.dtype == options.get("dtype", "int32")


def test_pad_sequences_of_vectors_and_errors() -> None:
    assert keras.utils.pad_sequences([np.ones((1, 3)), np.ones((2, 3))]).shape == (2, 2, 3)
    with pytest.raises(ValueError, match="pad_sequences: padding='left' is not known. Use 'pre' or 'post'."):
        keras.utils.pad_sequences([[1]], padding="left")
    with pytest.raises(TypeError, match=re.escape("pad_sequences: sequences[0]=3 is of type int. Give a sequence.")):
        keras.utils.pad_sequences([3])


def test_a_seed_is_for_everything() -> None:
    """As in Keras: Python's and NumPy's generators too."""
    drawn = []
    for _ in range(2):
        keras.utils.set_random_seed(5)
        drawn.append((python_random.random(), np.random.rand(), small().get_weights()[0][0, 0],
                      keras.random.normal((1,))[0]))  # fmt: skip
    keras.settings._state["seeds"] = None
    assert drawn[0] == drawn[1]
    with pytest.raises(ValueError, match="set_random_seed: seed=-1 is out of range"):
        keras.utils.set_random_seed(-1)


def test_progbar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, *np.arange(1.0, 20.0, 0.5)])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    bar = keras.utils.Progbar(4, stateful_metrics=["acc"])
    for step in range(4):
        bar.update(step + 1, [("loss", 4.0 - step), ("acc", 0.1 * step)])
    lines = capsys.readouterr().out.split("\r")
    assert lines[1].startswith("1/4 ━━━━━") and " 3s 1s/step - loss: 4.0000 - acc: 0.0000e+00" in lines[1]
    assert lines[2].endswith("- loss: 3.5000 - acc: 0.1000")
    assert lines[4].endswith("2s 625ms/step - loss: 1.0000 - acc: 0.3000\n")
    quiet = keras.utils.Progbar(2, verbose=2)
    quiet.add(1, [("loss", 1.0)])
    quiet.add(1, [("loss", 3.0)])
    assert re.fullmatch(r"2/2 - \ds - \d+(?:ms|s)/step - loss: 3\.0000\n", capsys.readouterr().out)
    with pytest.raises(ValueError, match="Progbar: stateful_metrics and stateless_metrics are both given"):
        keras.utils.Progbar(1, stateful_metrics=[], stateless_metrics=[])


def test_get_file(tmp_path: Path) -> None:
    pytest.importorskip("pooch")
    source = tmp_path / "numbers.csv"
    source.write_text("1,2\n")
    with tarfile.open(tmp_path / "pack.tar.gz", "w:gz") as tar:
        tar.add(source, "numbers.csv")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    options: dict[str, Any] = {"cache_dir": tmp_path / "cache", "cache_subdir": "d"}
    path = keras.utils.get_file("n.csv", source.as_uri(), file_hash=digest, **options)
    assert path == str(tmp_path / "cache" / "d" / "n.csv") and Path(path).read_text() == "1,2\n"
    source.unlink()
    assert keras.utils.get_file("n.csv", source.as_uri(), file_hash=digest, **options) == path
    folder = keras.utils.get_file(origin=(tmp_path / "pack.tar.gz").as_uri(), extract=True, **options)
    assert (Path(folder) / "numbers.csv").read_text() == "1,2\n"
    with pytest.raises(DatasetError, match=r"gone.csv could not be downloaded"):
        keras.utils.get_file("gone.csv", (tmp_path / "gone.csv").as_uri(), **options)
    with pytest.raises(ValueError, match="get_file: origin is missing"):
        keras.utils.get_file("x")


# ---- random numbers, settings ----------------------------------------------------------------------------------------


def test_random_numbers() -> None:
    r = keras.random
    np.testing.assert_array_equal(r.normal((3,), seed=1), r.normal((3,), seed=1))
    seeds = r.SeedGenerator(1)
    assert not np.array_equal(r.uniform((3,), seed=seeds), r.uniform((3,), seed=seeds))
    assert r.normal((2, 3)).dtype == np.float32 and r.randint((4,), 0, 3).dtype == np.int32
    drawn = r.truncated_normal((4000,), 1.0, 2.0, seed=0)
    assert np.abs(drawn - 1).max() <= 4 and drawn.std() == pytest.approx(2 * 0.8796, rel=0.05)
    low, high = (f(r.uniform((1000,), -2, 3, seed=0)) for f in (np.min, np.max))
    assert -2 <= low < -1.9 and 2.9 < high < 3
    assert sorted(r.shuffle([3, 1, 2], seed=0)) == [1, 2, 3]


@pytest.mark.parametrize(
    ("policy", "dtype", "precision"),
    [("float64", "float64", None), ("mixed_bfloat16", "float32", "bfloat16"), ("float32", "float32", None)],
)
def test_policies(policy: str, dtype: str, precision: str | None) -> None:
    try:
        keras.mixed_precision.set_global_policy(policy)
        assert keras.mixed_precision.global_policy() == keras.mixed_precision.Policy(policy)
        assert keras.config.dtype_policy().name == policy
        net = small().fastdense
        assert net.get_weights()[0].dtype == dtype and net.precision == precision
    finally:
        keras.settings._state["policy"] = None


def test_settings_that_are_not_offered() -> None:
    with pytest.raises(ValueError, match="set_dtype_policy: 'mixed_float16' is not offered. Use one of 'float32', 'f"):
        keras.mixed_precision.set_global_policy("mixed_float16")
    with pytest.raises(ValueError, match=r"set_epsilon: 0.1 is not offered; the losses hold 1e-07"):
        keras.backend.set_epsilon(0.1)
    keras.config.set_epsilon(1e-7)
    assert keras.config.epsilon() == 1e-7 and keras.config.image_data_format() == "channels_last"
    assert keras.version() == keras.__version__ == fd.__version__


# ---- data sets -------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of files whose checksums count as right."""
    monkeypatch.setenv("FASTDENSE_DATA", str(tmp_path))
    monkeypatch.setattr(core_datasets, "_check_file", lambda *_: None)
    yield tmp_path


def test_housing(folder: Path) -> None:
    """The order is that of Keras's generator."""
    x, y = np.arange(50.0).reshape(10, 5), np.arange(10.0)
    np.savez(folder / "boston_housing.npz", x=x, y=y)
    np.savez(folder / "california_housing.npz", x=x, y=y)
    order = list(np.random.RandomState(113).permutation(10))
    (x_train, y_train), (x_test, y_test) = boston_housing.load_data()
    assert [*y_train, *y_test] == order and len(y_test) == 2
    np.testing.assert_array_equal(x_train[:, 0], 5 * y_train)
    (_, y_train), (_, y_test) = california_housing.load_data("small", test_split=0.5, seed=1)
    assert len(y_train) == len(y_test) == 5 and [*y_train, *y_test] == list(np.random.RandomState(1).permutation(10))
    with pytest.raises(ValueError, match="load_data: test_split=1 is out of range"):
        boston_housing.load_data(test_split=1)
    with pytest.raises(ValueError, match="load_data: version='medium' is not known"):
        california_housing.load_data("medium")


def texts(folder: Path, name: str, keys: tuple[str, ...]) -> None:
    lists = np.empty(5, dtype=object)
    lists[:] = [[1, 2], [5, 1, 7], [2], [9, 9, 9, 3], [4, 4]]
    arrays = {key: lists if key.startswith("x") else np.arange(5) for key in keys}
    np.savez(folder / name, **arrays)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [[1, 4, 5], [1, 8, 4, 10], [1, 5], [1, 2, 2, 2, 6], [1, 7, 7]]),
        ({"num_words": 8, "skip_top": 5}, [[2, 2, 5], [2, 2, 2, 2], [2, 5], [2, 2, 2, 2, 6], [2, 7, 7]]),
        ({"num_words": 8, "oov_char": None}, [[1, 4, 5], [1, 4], [1, 5], [1, 6], [1, 7, 7]]),
        ({"start_char": None, "index_from": 0, "num_words": 6}, [[1, 2], [5, 1, 2], [2], [2, 2, 2, 3], [4, 4]]),
        ({"maxlen": 4, "num_words": 99}, [[1, 4, 5], None, [1, 5], None, [1, 7, 7]]),
    ],
)
def test_texts(folder: Path, options: dict[str, Any], expected: list[list[int] | None]) -> None:
    """Without num_words the largest number itself is left out, as in Keras."""
    texts(folder, "imdb.npz", ("x_train", "y_train", "x_test", "y_test"))
    texts(folder, "reuters.npz", ("x", "y"))
    order = np.random.RandomState(113).permutation(5)
    (x, y), (x_test, y_test) = imdb.load_data(**options)
    kept = [i for i in order if expected[i] is not None]
    assert list(x) == list(x_test) == [expected[i] for i in kept] and list(y) == list(y_test) == kept
    assert x.dtype == object
    (x, y), (x_test, y_test) = reuters.load_data(test_split=0.4, **options)
    assert [*x, *x_test] == [expected[i] for i in kept] and len(x) == int(len(kept) * 0.6)
    assert [*y, *y_test] == kept


def test_words(folder: Path) -> None:
    for name in ("imdb_word_index.json", "reuters_word_index.json"):
        (folder / name).write_text(json.dumps({"the": 1}))
    assert imdb.get_word_index() == reuters.get_word_index() == {"the": 1}
    names = reuters.get_label_names()
    assert len(names) == 46 and names[3] == "earn" and names[-1] == "lead"


def tar_of(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def test_cifar(folder: Path) -> None:
    def batch(first: int, key: bytes) -> bytes:
        data = np.arange(2 * 3072).reshape(2, 3072).astype(np.uint8)
        return pickle.dumps({b"data": data, key: [first, first + 1]})

    files = {f"cifar-10-batches-py/data_batch_{i}": batch(i, b"labels") for i in range(1, 6)}
    tar_of(folder / "cifar-10-python.tar.gz", {**files, "cifar-10-batches-py/test_batch": batch(9, b"labels")})
    (x, y), (x_test, y_test) = cifar10.load_data()
    assert x.shape == (10, 32, 32, 3) and y.shape == (10, 1) and x.dtype == y.dtype == np.uint8
    assert y[:, 0].tolist() == [1, 2, 2, 3, 3, 4, 4, 5, 5, 6] and y_test.tolist() == [[9], [10]]
    assert x_test[0, 1, 2].tolist() == [34 % 256, (1024 + 34) % 256, (2048 + 34) % 256]
    both = pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"fine_labels": [7], b"coarse_labels": [3]})
    tar_of(folder / "cifar-100-python.tar.gz", {f"cifar-100-python/{name}": both for name in ("train", "test")})
    assert cifar100.load_data()[0][1].tolist() == [[7]] and cifar100.load_data("coarse")[0][1].tolist() == [[3]]


class Evil:
    def __reduce__(self) -> Any:
        return print, ("run",)


def test_files_run_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = np.empty(1, dtype=object)
    bad[0] = Evil()
    np.savez(folder / "reuters.npz", x=bad, y=np.zeros(1))
    with pytest.raises(DatasetError, match=r"reuters.npz cannot be read \(it names builtins.print, which no array"):
        reuters.load_data()
    tar_of(folder / "cifar-100-python.tar.gz", {"cifar-100-python/train": pickle.dumps(Evil())})
    with pytest.raises(DatasetError, match="it names builtins.print"):
        cifar100.load_data()
    assert not capsys.readouterr().out
    (folder / "reuters.npz").write_bytes(b"no archive")
    with pytest.raises(DatasetError, match="reuters.npz cannot be read .*it must hold the arrays x, y"):
        reuters.load_data()


def test_where_files_are_searched_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASTDENSE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "boston.npz"
    np.savez(file, x=np.zeros((5, 13)), y=np.arange(5.0))
    known = "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()
    with pytest.raises(
        DatasetError, match=r"boston.npz is damaged or a different file: sha256:\w+, expected sha256:f55"
    ):
        boston_housing.load_data(str(file))
    monkeypatch.setattr(boston_housing, "_SHA256", known)
    assert len(boston_housing.load_data(str(file))[0][1]) == 4  # an absolute path
    pytest.importorskip("pooch")
    monkeypatch.setattr(reading, "FOLDER", (tmp_path / "public").as_uri() + "/")
    with pytest.raises(DatasetError) as error:
        boston_housing.load_data()
    assert "Boston housing is not on this machine, and file://" in str(error.value)
    assert "put boston_housing.npz (arrays x, y) into a folder and set FASTDENSE_DATA" in str(error.value)
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "boston_housing.npz").write_bytes(file.read_bytes())
    assert len(boston_housing.load_data()[0][1]) == 4  # downloaded
    (tmp_path / "public" / "boston_housing.npz").unlink()
    assert len(boston_housing.load_data()[0][1]) == 4  # from the cache
    (tmp_path / "cache" / "fastdense" / "boston_housing.npz").unlink()
    own = tmp_path / ".keras" / "datasets"
    own.mkdir(parents=True)
    (own / "boston_housing.npz").write_bytes(file.read_bytes())
    assert len(boston_housing.load_data()[0][1]) == 4  # Keras has downloaded it


# ---- callbacks with the models of this package -----------------------------------------------------------------------


def test_backup_in_the_same_process(tmp_path: Path) -> None:
    """The new model's layers have other names than those of the one that was interrupted."""
    x = np.random.default_rng(0).normal(size=(40, 2))

    def net() -> Any:
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.layers.Dense(3, "relu", input_dim=2), keras.layers.Dense(1)])
        model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
        return model

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 2:
                raise KeyboardInterrupt

    options: dict[str, Any] = {"epochs": 5, "verbose": 0, "batch_size": 8}
    whole = net()
    whole.fit(x, x[:, 0], **options)
    with pytest.raises(KeyboardInterrupt):
        net().fit(x, x[:, 0], callbacks=[keras.callbacks.BackupAndRestore(tmp_path / "b"), Interrupt()], **options)
    again = net()
    history = again.fit(x, x[:, 0], callbacks=[keras.callbacks.BackupAndRestore(tmp_path / "b")], **options)
    keras.settings._state["seeds"] = None
    assert history.epoch == [3, 4]
    for one, other in zip(again.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_monitors_know_the_metrics_of_the_model(tmp_path: Path) -> None:
    model = keras.Sequential([keras.layers.Dense(1, "sigmoid", input_dim=2)])
    model.compile("sgd", "binary_crossentropy", metrics=[keras.metrics.BinaryAccuracy(name="hits")])
    x = np.random.default_rng(0).normal(size=(40, 2))
    stop = keras.callbacks.EarlyStopping("hits", patience=9)
    history = model.fit(x, (x[:, 0] > 0) * 1.0, epochs=4, callbacks=[stop], verbose=0).history
    assert stop.best == max(history["hits"])


def test_logging_can_be_switched_off(capsys: pytest.CaptureFixture[str]) -> None:
    x = np.zeros((8, 2))
    model = keras.Sequential([keras.Input((2,)), keras.layers.Identity(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    keras.utils.disable_interactive_logging()
    try:
        assert not keras.config.is_interactive_logging_enabled()
        model.fit(x, x[:, :1], verbose=2)
        model.evaluate(x, x[:, :1])
        model.predict(x, verbose=1)
        assert capsys.readouterr().out == ""
    finally:
        keras.config.enable_interactive_logging()
    model.fit(x, x[:, :1], verbose=2)
    assert "loss" in capsys.readouterr().out and keras.utils.is_interactive_logging_enabled()


def test_settings_without_a_choice() -> None:
    keras.config.disable_traceback_filtering()
    assert keras.config.is_traceback_filtering_enabled() is False
    keras.backend.set_image_data_format("channels_last")
    with pytest.raises(
        ValueError, match="set_image_data_format: 'channels_first' is not offered; images are flattened"
    ):
        keras.config.set_image_data_format("channels_first")


def test_names_at_the_top() -> None:
    x = keras.Input((3,))
    assert isinstance(x, keras.KerasTensor) and keras.utils.is_keras_tensor(x) and not keras.utils.is_keras_tensor(1)
    assert keras.Layer is keras.layers.Layer and keras.DTypePolicy is keras.mixed_precision.DTypePolicy
    assert keras.layers.Identity()(x).shape == (None, 3)
    with pytest.raises(ValueError, match="unpack_x_y_sample_weight: data holds 4 parts"):
        keras.utils.unpack_x_y_sample_weight((1, 2, 3, 4))
