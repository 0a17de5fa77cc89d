"""That it learns: small digits, a curve, MNIST where it is to be had, and the first of the origin cases in short."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastdense as fd

Array = NDArray[Any]
Digits = tuple[tuple[Array, Array], tuple[Array, Array]]

OPTIMIZERS: dict[str, fd.optimizers.Optimizer] = {
    "sgd": fd.SGD(0.3),
    "nesterov": fd.SGD(0.05, momentum=0.9, nesterov=True),
    "rmsprop": fd.RMSprop(),
    "adagrad": fd.Adagrad(0.1),
    "adadelta": fd.Adadelta(1.0),
    "adam": fd.Adam(0.005),
    "adamw": fd.AdamW(0.005),
    "nadam": fd.Nadam(0.005),
    "lion": fd.Lion(0.001),
    "muon": fd.Muon(0.01),
    "kfac": fd.KFAC(0.005),
    "adam_clipped": fd.Adam(0.005, global_clipnorm=1.0),
    "sgd_cosine": fd.SGD(fd.schedules.CosineDecay(0.5, decay_steps=900), momentum=0.5),
}


@pytest.fixture(scope="module")
def digits() -> Digits:
    """Images of 64 pixels within 0..16, drawn on the spot."""
    (x, y), (x_test, y_test) = fd.datasets.load_digits("synthetic")
    return (x.reshape(-1, 64), y), (x_test.reshape(-1, 64), y_test)


@pytest.fixture(scope="module")
def mnist() -> Digits:
    """Images of 784 pixels within 0..255."""
    if not fd.datasets.has_local("mnist"):
        pytest.skip("mnist.npz is not there; set FASTDENSE_DATA to the folder that holds it")
    (x, y), (x_test, y_test) = fd.datasets.load_mnist(download=False)
    return (x.reshape(-1, 784), y), (x_test.reshape(-1, 784), y_test)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_learns_digits(name: str, digits: Digits) -> None:
    (x, y), test = digits
    model = fd.Model(
        [fd.Normalization(), fd.Dense(32, activation="relu"), fd.Dense(10, activation="softmax")], inputs=64
    )
    model.compile(OPTIMIZERS[name], "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, y, epochs=20, verbose=0).history
    assert history["loss"][0] < 2.3  # ln 10, what knowing nothing costs
    assert history["loss"][-1] < 0.3 * history["loss"][0]
    assert model.evaluate(*test, verbose=0)[1] >= 0.95


@pytest.mark.parametrize(
    ("last", "loss"),
    [
        ("softmax", "categorical_crossentropy"),
        ("sigmoid", "binary_crossentropy"),
        ("linear", "hinge"),
        ("linear", "mse"),
        ("linear", "huber"),
        ("linear", "log_cosh"),
    ],
)
def test_every_way_to_say_one_hot_learns_digits(last: str, loss: str, digits: Digits) -> None:
    (x, y), (x_test, y_test) = digits
    layers = [fd.Normalization(), fd.Dense(32, activation="gelu"), fd.Dense(10, activation=last)]
    model = fd.Model(layers, inputs=64)
    model.compile(fd.Adam(0.005), loss)
    model.fit(x, np.eye(10)[y], epochs=20, verbose=0)
    assert np.mean(model.predict(x_test).argmax(axis=1) == y_test) >= 0.95


def test_every_layer_together_learns_digits(digits: Digits, device: str) -> None:
    (x, y), test = digits
    block = [fd.Dense(32, activation="silu"), fd.LayerNorm(), fd.Dropout(0.2), fd.Dense(32)]
    layers = [fd.Normalization(), fd.Dense(32), fd.BatchNorm(), fd.Activation("relu"), fd.Residual(block), fd.Dense(10)]
    model = fd.Model(layers, inputs=64, device=device)
    loss = fd.losses.SparseCategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    model.compile(fd.AdamW(0.005), loss, metrics=["accuracy", "top_k_accuracy", "auc"])
    model.fit(x, y, epochs=10, verbose=0)
    _, accuracy, top_5, auc = model.evaluate(*test, verbose=0)
    assert accuracy >= 0.95
    assert top_5 >= 0.99
    assert auc >= 0.99


@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu", "mish", "softplus", "prelu"])
def test_a_curve(activation: str) -> None:
    x = np.linspace(-3.0, 3.0, 400)[:, None]
    model = fd.Model([fd.Dense(32, activation=activation), fd.Dense(32, activation=activation), fd.Dense(1)], inputs=1)
    model.compile(fd.Adam(fd.schedules.CosineDecay(0.01, decay_steps=300 * 13)), "mse", metrics=["r2"])
    model.fit(x, np.sin(1.5 * x), epochs=300, verbose=0)
    assert model.evaluate(x, np.sin(1.5 * x), verbose=0)[1] >= 0.99


def test_quantiles_lie_where_they_should() -> None:
    """A net of one bias learns the quantile of its targets, and of rows by weight."""
    y = np.random.default_rng(0).exponential(size=(2000, 1))
    for q in (0.1, 0.5, 0.9):
        model = fd.Model([fd.Dense(1, kernel_initializer="zeros")], inputs=1, dtype="float64")
        model.compile(fd.SGD(fd.schedules.CosineDecay(0.5, decay_steps=1200)), fd.losses.Quantile(q))
        model.fit(np.zeros_like(y), y, batch_size=500, epochs=300, verbose=0)
        assert model.predict([[0.0]])[0, 0] == pytest.approx(np.quantile(y, q), rel=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_mnist(seed: int, mnist: Digits) -> None:
    (x, y), (x_test, y_test) = mnist
    model = fd.Model([fd.Dense(128, activation="relu"), fd.Dense(10, activation="softmax")], inputs=784, seed=seed)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x.astype(np.float32) / 255, y, batch_size=128, epochs=10, verbose=0)
    assert model.evaluate(x_test.astype(np.float32) / 255, y_test, verbose=0)[1] >= 0.975


# ---- the first origin case: a net of ReLUs that is to give back what it is given, raw pixels and all ----------------


def origin(width: int, **options: Any) -> fd.Model:
    model = fd.Model([fd.Dense(width, activation="relu") for _ in range(4)], inputs=width, **options)
    model.compile(fd.RMSprop(), "mean_squared_error", metrics=["mean_absolute_percentage_error"])
    return model


@pytest.fixture(params=["digits", "mnist"])
def pixels(request: pytest.FixtureRequest) -> tuple[Array, Array]:
    """Raw pixels within 0..255 to train and to test on, as unsigned bytes."""
    (x, _), (x_test, _) = request.getfixturevalue(request.param)
    return (x * 15, x_test * 15) if request.param == "digits" else (x[:3000], x_test[:500])


def test_origin_case_runs_and_learns(pixels: tuple[Array, Array]) -> None:
    """As in the thread, the loss falls and stays far from 0, and the percentage is astronomic: most targets are 0."""
    x, x_test = pixels
    assert x.dtype == np.uint8
    model = origin(x.shape[1])
    history = model.fit(x, x, batch_size=128, epochs=2, verbose=0, validation_data=(x_test, x_test)).history
    names = ["loss", "mean_absolute_percentage_error"]
    assert list(history) == [*names, *(f"val_{name}" for name in names)]
    assert np.isfinite(list(history.values())).all()
    for name in ("loss", "val_loss"):
        assert history[name][1] < history[name][0]
    assert history["val_loss"][-1] < np.mean(x_test.astype(float) ** 2)  # what a net that is always 0 has
    assert history["mean_absolute_percentage_error"][-1] > 1e7
    score = model.evaluate(x_test, x_test, verbose=0)
    assert score == pytest.approx([history["val_loss"][-1], history[f"val_{names[1]}"][-1]], rel=1e-4)


def test_origin_case_is_the_same_on_the_reference_engine(pixels: tuple[Array, Array]) -> None:
    x = pixels[0][:80]
    ours, truth = (origin(x.shape[1], dtype="float64", device=device) for device in ("cpu", "reference"))
    histories = [model.fit(x, x, batch_size=32, epochs=1, verbose=0).history for model in (ours, truth)]
    for name, value in histories[1].items():
        assert histories[0][name] == pytest.approx(value, rel=1e-9)
    for a, b in zip(ours.get_weights(), truth.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
