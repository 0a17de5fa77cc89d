"""Files that models of `fastdense.keras` write: those of Keras where the suffix says so."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense import keras
from fastdense.keras import layers

h5py = pytest.importorskip("h5py")
X = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)


def trained() -> Any:
    inner = keras.Sequential([layers.Dense(5, "relu"), layers.BatchNormalization()], name="inner")
    model = keras.Sequential([keras.Input((4,)), inner, layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(X, X[:, :1], epochs=2, verbose=0)
    return model


@pytest.mark.parametrize("suffix", ["keras", "h5", "hdf5"])
@pytest.mark.parametrize("read", [keras.models.load_model, fd.load])
def test_a_file_of_keras_goes_on_where_the_model_was(suffix: str, read: Any, tmp_path: Path) -> None:
    model, path = trained(), tmp_path / f"net.{suffix}"
    model.save(path)
    assert path.read_bytes()[:4] == (b"PK\x03\x04" if suffix == "keras" else b"\x89HDF")
    again = read(path)
    np.testing.assert_array_equal(again.predict(X), model.predict(X, verbose=0))
    for one in (model, again):
        one.fit(X, X[:, :1], epochs=2, verbose=0)
    np.testing.assert_array_equal(again.predict(X), model.predict(X, verbose=0))  # the optimizer's state, too


def test_what_keras_sees(tmp_path: Path) -> None:
    model = trained()
    model.save(tmp_path / "net.keras")
    with zipfile.ZipFile(tmp_path / "net.keras") as archive:
        config = json.loads(archive.read("config.json"))
        weights = archive.read("model.weights.h5")
    assert [one["class_name"] for one in config["config"]["layers"]] == ["InputLayer", "Sequential", "Dense"]
    (tmp_path / "weights.h5").write_bytes(weights)
    with h5py.File(tmp_path / "weights.h5") as file:
        own = file["layers/sequential/layers/batch_normalization/vars"]
        np.testing.assert_array_equal(own["2"], model.get_weights()[4])
    model.save(tmp_path / "net.h5")
    with h5py.File(tmp_path / "net.h5") as file:
        assert json.loads(file.attrs["training_config"])["loss"] == "mean_squared_error"
        assert list(file["model_weights"].attrs["layer_names"]) == [b"inner", model.layers[-1].name.encode()]
        assert [name.split(b"/")[0] for name in file["model_weights/inner"].attrs["weight_names"]] == [b"inner"] * 6
        del_own = {name: file[name] for name in file}
        assert set(del_own) == {"model_weights", "fastdense.safetensors"}


def test_without_fastdenses_part(tmp_path: Path) -> None:
    """As any other file of Keras: the same outputs, an optimizer that begins anew."""
    model, path = trained(), tmp_path / "net.h5"
    model.save(path)
    with h5py.File(path, "a") as file:
        del file["fastdense.safetensors"]
    again = keras.models.load_model(path)
    np.testing.assert_allclose(again.predict(X, verbose=0), model.predict(X, verbose=0), rtol=1e-6)
    assert [one.name for one in again.layers] == [one.name for one in model.layers]


@pytest.mark.parametrize("damage", ["cut", "flip", "link", "kind", "empty"])
def test_damaged(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "net.h5"
    trained().save(path)
    with h5py.File(path, "a") as file:
        data = file["fastdense.safetensors"][()]
        if damage == "cut":
            data = data[:100]
        elif damage == "flip":
            data[-3] ^= 255
        del file["fastdense.safetensors"]
        if damage == "link":
            file["fastdense.safetensors"] = h5py.ExternalLink("/etc/passwd", "a")
        elif damage == "kind":
            file["fastdense.safetensors"] = data.astype(float)
        elif damage == "empty":
            file.create_dataset("fastdense.safetensors", shape=(10**12,), dtype=np.uint8, chunks=(1024,))
        else:
            file["fastdense.safetensors"] = data
    if damage in ("link", "kind"):  # that is no part of fastdense's: read as Keras's
        assert keras.models.load_model(path).layers
    else:
        with pytest.raises(ValueError, match=r"^load: '.*net.h5' cannot be loaded: "):
            keras.models.load_model(path)


def test_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = trained(), tmp_path / "net.keras"
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.warns(UserWarning, match=r"^save: 'net.keras' is a file of fastdense's own format, which Ker"):
        model.save(path)
    np.testing.assert_array_equal(keras.models.load_model(path).predict(X, verbose=0), model.predict(X, verbose=0))


CORE = {
    "dense": fd.Dense(3, "relu", kernel_regularizer=fd.regularizers.l2(0.1), bias_initializer="ones"),
    "prelu": fd.Dense(3, "prelu", use_bias=False),
    "repulsion": fd.Dense(3, kernel_regularizer=fd.regularizers.repulsion(0.1)),
    "data": fd.Dense(3, "relu", kernel_initializer="data"),
    "elu": fd.Activation("elu", 0.5),
    "leaky_relu": fd.Activation("leaky_relu", 0.1),
    "activation": fd.Activation("gelu"),
    "prelu alone": fd.Activation("prelu"),
    "dropout": fd.Dropout(0.3),
    "batch_norm": fd.BatchNorm(momentum=0.8, epsilon=1e-4),
    "layer_norm": fd.LayerNorm(epsilon=1e-4),
    "normalization": fd.Normalization(),
    "rescaling": fd.Rescaling([1, 2, 3, 4], 0.5),
    "unit_norm": fd.layers.UnitNormalization(),
    "noise": fd.layers.GaussianNoise(0.1),
    "gaussian_dropout": fd.layers.GaussianDropout(0.2),
    "alpha_dropout": fd.layers.AlphaDropout(0.2),
    "activity": fd.layers.ActivityRegularization(l2=0.1),
}


@pytest.mark.parametrize("name", CORE)
def test_layers_of_a_plain_model_have_whole_configs(name: str, tmp_path: Path) -> None:
    """A model that `fastdense.Model` wrote, read here, described as JSON, and made again."""
    model = fd.Model([CORE[name], fd.Dense(2, trainable=False)], inputs=4)
    model.save(tmp_path / "net.safetensors")
    made = keras.models.load_model(tmp_path / "net.safetensors")
    again = keras.models.model_from_json(made.to_json())
    again.set_weights(made.get_weights())
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X))
    ours, theirs = (one.fastdense.layers for one in (made, again))
    for a, b in zip(ours, theirs, strict=True):
        left, right = a.get_config(), b.get_config()
        assert {k: v for k, v in left.items() if k != "kernel_initializer"} == {
            k: v for k, v in right.items() if k != "kernel_initializer"}  # fmt: skip


@pytest.mark.parametrize("layer", [fd.Scale(), fd.NumericEmbedding(), fd.Log1p()])
def test_layers_without_a_counterpart(layer: Any, tmp_path: Path) -> None:
    model = fd.Model([layer, fd.Dense(1)], inputs=4)
    model.save(tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match=f"^load.*the model holds a {type(layer).__name__} layer, which has no c"):
        keras.models.load_model(tmp_path / "net.safetensors")


def test_columns_have_no_config(tmp_path: Path) -> None:
    fd.Model([fd.SelectColumns([1, 0]), fd.Dense(1)], inputs=4).save(tmp_path / "net.safetensors")
    made = keras.models.load_model(tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match="a Sequential with selected columns has no config. Save model.fastdense."):
        made.to_json()
