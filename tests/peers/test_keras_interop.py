"""Keras's files and live models: Keras reads what is written here, and what Keras writes is read here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import fastdense as fd
from tests.helpers.nets import Net, check_close, nets
from tests.peers.keras64 import keras

pytest.importorskip("h5py", reason="Keras's files are read and written by h5py")
# Keras warns of the optimizer's state, which is not in our files, and of its own use of NumPy and softmax.
pytestmark = [pytest.mark.usefixtures("float32"), pytest.mark.filterwarnings("ignore")]
layers = keras.layers
KINDS = ("dense", "dense", "activation", "batch_norm", "layer_norm", "unit_norm", "rescaling", "dropout", "noise",
         "residual", "branches")  # fmt: skip
X = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(nets(("none", "normalization"), KINDS))
def test_keras_reads_ours(tmp_path_factory: pytest.TempPathFactory, net: Net) -> None:
    path = tmp_path_factory.mktemp("keras") / "net.keras"
    try:
        net.model.save(path)
    except ValueError as error:  # a parameter that Keras does not have
        assert "Keras's" in str(error)
        return
    theirs = keras.saving.load_model(path)
    check_close(np.asarray(theirs(net.x)), net)


def test_compiled_as_here(tmp_path: Path) -> None:
    model = fd.Model([fd.Dense(3, "relu", kernel_regularizer=fd.regularizers.l2(0.1)), fd.Dense(2)], inputs=4)
    model.compile(fd.RMSprop(0.01, rho=0.8), "huber", metrics=["mae"])
    model.save(tmp_path / "net.keras", include_optimizer=False)
    theirs = keras.saving.load_model(tmp_path / "net.keras")
    assert type(theirs.optimizer).__name__ == "RMSprop" and theirs.optimizer.rho == 0.8
    assert theirs.layers[0].kernel_regularizer.get_config() == {"l2": pytest.approx(0.1)}
    ours, there = model.evaluate(X, X[:, :2], verbose=0), theirs.evaluate(X, X[:, :2], verbose=0)
    np.testing.assert_allclose(ours, there, rtol=1e-5)


def sequential() -> Any:
    inner = keras.Sequential([layers.Dense(5, "selu", name="x"), layers.BatchNormalization()])
    model = keras.Sequential([keras.Input((4,)), layers.Normalization(), layers.Dense(6), layers.LeakyReLU(), inner,
                              layers.PReLU(), layers.LayerNormalization(), layers.Dropout(0.1),
                              layers.Dense(3, activation="softmax")])  # fmt: skip
    model.layers[0].adapt(X)
    return model


def functional() -> Any:
    x = keras.Input((4,), name="data")
    a = layers.Dense(6, "gelu")(x)
    b = layers.Dense(6, use_bias=False)(x)
    c = layers.Add()([a, layers.BatchNormalization()(b)])
    d = layers.Concatenate()([x, layers.Concatenate()([c, layers.Dense(2, "tanh", name="tail")(c)])])
    return keras.Model(x, layers.Dense(1)(layers.UnitNormalization()(d)))


def randomized(model: Any) -> Any:
    """With moving statistics and weights that are not those of the beginning."""
    random = np.random.default_rng(3)
    model.set_weights([random.uniform(0.2, 1.2, one.shape) for one in model.get_weights()])
    for layer in model.layers:
        if isinstance(layer, layers.Normalization):
            layer.finalize_state()  # takes its variables into account
    model.compile("adam", "mse", metrics=["mae"])
    return model


@pytest.mark.parametrize("make", [sequential, functional])
@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_files_of_keras(make: Any, suffix: str, tmp_path: Path) -> None:
    model = randomized(make())
    path = tmp_path / f"net.{suffix}"
    model.save(path)
    right = np.asarray(model(X))
    made = fd.load(path)
    np.testing.assert_allclose(made.predict(X), right, rtol=1e-5, atol=1e-5)
    assert made.compiled and type(made.optimizer).__name__ == "Adam" and made.step == 0
    again = fd.keras.models.load_model(path)
    np.testing.assert_allclose(again.predict(X, verbose=0), right, rtol=1e-5, atol=1e-5)
    made.save(tmp_path / "back.keras")
    theirs = keras.saving.load_model(tmp_path / "back.keras")
    np.testing.assert_allclose(np.asarray(theirs(X)), right, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make", [sequential, functional])
def test_live_models(make: Any) -> None:
    model = randomized(make())
    made = fd.from_keras(model, device="reference")
    assert made.device == "reference" and made.compiled
    np.testing.assert_allclose(made.predict(X), np.asarray(model(X)), rtol=1e-5, atol=1e-5)


def test_what_is_refused(tmp_path: Path) -> None:
    x = keras.Input((4,))
    lambdas = keras.Model(x, layers.Lambda(lambda t: t * 2, output_shape=(4,))(x))
    with pytest.raises(ValueError, match=r"^from_keras: its layer 'lambda.*' is a Lambda, whose code would"):
        fd.from_keras(lambdas)
    lambdas.save(tmp_path / "net.keras")
    with pytest.raises(ValueError, match=r"^load: .* its layer 'lambda.*' is a Lambda, whose code would"):
        fd.load(tmp_path / "net.keras")
    images = keras.Sequential([keras.Input((4, 4, 1)), layers.Conv2D(2, 2), layers.Flatten(), layers.Dense(1)])
    with pytest.raises(ValueError, match="Conv2D"):
        fd.from_keras(images)
    with pytest.raises(TypeError, match="^from_keras: model is 3; a Sequential or a Model of Keras is needed"):
        fd.from_keras(3)
    from keras.src.saving import saving_lib

    saving_lib.save_model(sequential(), str(tmp_path / "numbers.keras"), weights_format="npz")
    with pytest.raises(ValueError, match=r"its weights are in 'model\.weights\.npz', as pickled objects, which"):
        fd.load(tmp_path / "numbers.keras")
