"""Keras's files without Keras: what is written comes back, and what is damaged or would be run is refused."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import fastdense as fd
from fastdense import keras
from fastdense.activations import ACTIVATIONS
from tests.helpers.nets import Net, check_close, net_of_activation, nets

h5py = pytest.importorskip("h5py", reason="Keras's files are read and written by h5py")
KINDS = ("dense", "dense", "activation", "batch_norm", "layer_norm", "unit_norm", "rescaling", "dropout", "noise",
         "residual", "branches")  # fmt: skip
X = np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)


def example() -> fd.Model:
    layers = [fd.Dense(6, "relu"), fd.BatchNorm(), fd.Branches([[], [fd.Dense(2, "tanh")]]), fd.Dense(1)]
    model = fd.Model(layers, inputs=4, name="example")
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(X, X[:, 0], verbose=0)
    return model


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(nets(("none", "normalization"), KINDS))
def test_random_nets(tmp_path_factory: pytest.TempPathFactory, net: Net) -> None:
    path = tmp_path_factory.mktemp("keras") / "net.keras"
    try:
        net.model.save(path, include_optimizer=False)
    except ValueError as error:  # a parameter that Keras does not have
        assert "Keras's" in str(error)
        return
    check_close(fd.load(path).predict(net.x), net)
    check_close(keras.models.load_model(path).predict(net.x, verbose=0), net)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str, tmp_path: Path) -> None:
    net = net_of_activation(name)
    plain = fd.Model([fd.Dense(3, name)], inputs=1)
    plain.set_weights(net.model.get_weights())
    plain.save(tmp_path / "net.keras", include_optimizer=False)
    check_close(fd.load(tmp_path / "net.keras").predict(net.x), Net(plain, net.x))


def test_training_goes_on_exactly(tmp_path: Path) -> None:
    model = example()
    model.save(tmp_path / "net.keras")
    again = fd.load(tmp_path / "net.keras")
    assert again.layers == model.layers and again.step == model.step == 1
    other = example()
    other.load_weights(tmp_path / "net.keras")
    for one in (model, again):
        one.fit(X, X[:, 0], epochs=2, verbose=0)
    for left, right in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)


def test_without_fastdenses_part(tmp_path: Path) -> None:
    """As Keras would have written it: compiled alike, with an optimizer that begins anew."""
    model = example()
    model.save(tmp_path / "net.keras", include_optimizer=False)
    with zipfile.ZipFile(tmp_path / "net.keras") as archive:
        assert archive.namelist() == ["metadata.json", "config.json", "model.weights.h5"]
    again = fd.load(tmp_path / "net.keras", device="reference")
    assert again.device == "reference" and again.step == 0 and again.loss.name == model.loss.name
    assert [one.name for one in again.metrics] == ["mae"]
    np.testing.assert_allclose(again.predict(X), model.predict(X), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (fd.Log1p(), r"layers\[0\] \(Log1p\) is no layer that Keras has\. Save to 'net\.safetensors', or export by"),
        (fd.Scale(), r"layers\[0\] \(Scale\) is no layer that Keras has"),
        (
            fd.Dense(2, fd.Activation("celu", 0.3)),
            r"layers\[0\] \(Dense\) has the activation 'celu' with a parameter",
        ),
        (fd.Branches([[], [fd.Scale()]]), r"layers\[0\] \(Branches\), its layers\[1\.0\] \(Scale\) is no layer that"),
    ],
)
def test_what_keras_does_not_have(layer: Any, message: str, tmp_path: Path) -> None:
    model = fd.Model([layer, fd.Dense(1)], inputs=4)
    with pytest.raises(ValueError, match=f"^save: {message}"):
        model.save(tmp_path / "net.keras")
    assert not (tmp_path / "net.keras").exists()


def test_selected_columns_are_a_product_with_zeros_and_ones(tmp_path: Path) -> None:
    model = fd.Model([fd.Branches([[fd.SelectColumns([3, 1])], [fd.Dense(2)]]), fd.Dense(1)], inputs=4)
    model.save(tmp_path / "net.keras", include_optimizer=False)
    again = fd.load(tmp_path / "net.keras")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    (kernel,) = (one for one in again.get_weights() if one.shape == (4, 2) and not (one % 1).any())
    np.testing.assert_array_equal(kernel, np.eye(4)[:, [3, 1]])


# ---- files that are not as they should be ------------------------------------------------------------------------


def changed(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The archive of the example with other members."""
    example().save(path, include_optimizer=False)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def of_config(change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, bytes]], None]:
    def apply(members: dict[str, bytes]) -> None:
        config = json.loads(members["config.json"])
        change(config)
        members["config.json"] = json.dumps(config).encode()

    return apply


def of_weights(change: Callable[[Any], Any]) -> Callable[[dict[str, bytes]], None]:
    def apply(members: dict[str, bytes]) -> None:
        memory = io.BytesIO(members["model.weights.h5"])
        with h5py.File(memory, "r+") as file:
            change(file)
        members["model.weights.h5"] = memory.getvalue()

    return apply


def first_dense(config: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in config["config"]["layers"] if one["class_name"] == "Dense")
    return found


def replaced(file: Any, make: Callable[[Any], Any]) -> None:
    group = file["layers/dense/vars"]
    del group["0"]
    make(group)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("config.json"), "it is a zip without config.json"),
        (lambda m: m.pop("model.weights.h5"), "it has no model.weights.h5"),
        (lambda m: m.update({"model.weights.npz": m.pop("model.weights.h5")}),
         "its weights are in 'model.weights.npz', as pickled objects, which would be run"),
        (lambda m: m.update({"config.json": b"{"}), "it is damaged (JSONDecodeError"),
        (lambda m: m.update({"config.json": b"[]"}), "it holds a 'list'"),
        (lambda m: m.update({"model.weights.h5": m["model.weights.h5"][:900]}), "it is damaged (OSError"),
        (of_config(lambda c: c.update(class_name="Mine")), "it holds a 'Mine'"),
        (of_config(lambda c: first_dense(c).update(class_name="Lambda")), "its layer 'dense' is a Lambda, whose code"),
        (of_config(lambda c: first_dense(c).update(class_name="Mine", module="mine")), "there is no mine.Mine"),
        (of_config(lambda c: first_dense(c)["config"].update(activation={"class_name": "__lambda__", "config": {}})),
         "is a Lambda, whose code would have to be run"),
        (of_config(lambda c: first_dense(c)["config"].update(units=2**40)), ""),
        (of_config(lambda c: c["config"].pop("layers")), "it is damaged (KeyError"),
        (of_weights(lambda f: replaced(f, lambda g: g.create_dataset("0", data=np.zeros((9, 9))))), "shape (9, 9)"),
        (of_weights(lambda f: replaced(f, lambda g: None)), "it has no '0' in '/layers/dense/vars'"),
        (of_weights(lambda f: replaced(f, lambda g: g.update({"0": h5py.ExternalLink("/etc/x", "/")}))), "is a link"),
        (of_weights(lambda f: replaced(f, lambda g: g.update({"0": h5py.SoftLink("/layers")}))), "is a link"),
        (of_weights(lambda f: replaced(f, lambda g: g.create_dataset("0", (1 << 20, 1 << 10), "f4", chunks=True))),
         "says that it is 4,294,967,296 bytes, of which 0 are stored"),
        (of_weights(lambda f: replaced(f, lambda g: g.create_dataset("0", data=np.array([b"x"])))),
         "which are no numbers"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_archives_that_are_not_as_they_should_be(change: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="^load: ") as info:
        fd.load(changed(tmp_path / "net.keras", change))
    assert message in str(info.value) and "cannot be loaded" in str(info.value)


def test_a_zip_bomb(tmp_path: Path) -> None:
    path = changed(tmp_path / "net.keras", lambda m: m.update({"model.weights.h5": bytes(100_000_000)}))
    with pytest.raises(ValueError, match=r"model.weights.h5 says that it is 100,000,000 bytes, of which .* are stored"):
        fd.load(path)
    path = changed(tmp_path / "net.keras", lambda m: m.update({"config.json": b" " * 100_000_001}))
    with pytest.raises(ValueError, match=r"config.json says that it is 100,000,001 bytes"):
        fd.load(path)


def test_every_byte_may_be_wrong(tmp_path: Path) -> None:
    """Damage anywhere gives the same net, another one, or one kind of error; never a crash or another exception."""
    path = tmp_path / "net.keras"
    example().save(path, include_optimizer=False)
    good, random = path.read_bytes(), np.random.default_rng(0)
    for place in random.integers(0, len(good), 150):
        damaged = bytearray(good)
        damaged[place] ^= int(random.integers(1, 256))
        path.write_bytes(damaged)
        try:
            fd.load(path)
        except ValueError as error:
            assert str(error).startswith("load: ")


def test_h5_without_a_config(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["x"] = np.zeros(3)
    with pytest.raises(ValueError, match="it holds no config of a model: weights alone, or other data; save the whole"):
        fd.load(tmp_path / "weights.h5")


def test_keras_2_files(tmp_path: Path) -> None:
    """The format of Keras 2: no modules, calls as nested lists, sizes in the first layer."""
    kernel, bias = np.arange(8.0).reshape(4, 2).astype("f4"), np.ones(2, "f4")

    def layer(name: str, kind: str, calls: Any, **config: Any) -> dict[str, Any]:
        return {"class_name": kind, "config": {"name": name, **config}, "name": name, "inbound_nodes": calls}

    config = {"class_name": "Functional", "config": {
        "name": "old",
        "layers": [layer("x", "InputLayer", [], batch_input_shape=[None, 4], dtype="float32"),
                   layer("d", "Dense", [[["x", 0, 0, {}]]], units=2, activation="linear"),
                   layer("c", "Concatenate", [[["d", 0, 0, {}], ["x", 0, 0, {}]]], axis=-1)],
        "input_layers": [["x", 0, 0]], "output_layers": [["c", 0, 0]]}}  # fmt: skip
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        group = file.create_group("model_weights/d")
        group.attrs["weight_names"] = [b"d/kernel:0", b"d/bias:0"]
        group["d/kernel:0"], group["d/bias:0"] = kernel, bias
        file.create_group("model_weights/c").attrs["weight_names"] = []
    made = fd.load(tmp_path / "old.h5")
    np.testing.assert_allclose(made.predict(X), np.concatenate([X @ kernel + bias, X], axis=1), rtol=1e-5, atol=1e-5)
