"""Scripts written for Keras: names, forms, defaults, printed lines, and what the missing ones say."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense import keras
from fastdense.keras.layer import Input
from fastdense.keras.layers import (
    ELU,
    Activation,
    BatchNormalization,
    Dense,
    Dropout,
    Flatten,
    LayerNormalization,
    LeakyReLU,
    Normalization,
    PReLU,
    ReLU,
    Rescaling,
    Reshape,
    Softmax,
)
from fastdense.keras.models import Model, Sequential, load_model

X = np.random.default_rng(0).uniform(-1, 1, (64, 2))
Y = np.hypot(X[:, 0], X[:, 1])
IMAGES = np.random.default_rng(1).integers(0, 256, (40, 6, 5)).astype(np.uint8)
LABELS = np.arange(40) % 3


def simple(**options: Any) -> Sequential:
    model = Sequential([Dense(3, activation="relu", input_shape=(2,)), Dense(1)], **options)
    model.compile(loss="mse", optimizer="adam")
    return model


# ---- imports ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("", "Sequential"),
        ("models", "Sequential"),
        ("models", "load_model"),
        ("layers", "Dense"),
        ("layers.core", "Dense"),
        ("layers.normalization", "BatchNormalization"),
        ("layers.advanced_activations", "LeakyReLU"),
        ("optimizers", "RMSprop"),
        ("optimizers.schedules", "ExponentialDecay"),
        ("losses", "mean_squared_error"),
        ("metrics", "categorical_accuracy"),
        ("callbacks", "EarlyStopping"),
        ("regularizers", "l2"),
        ("initializers", "he_normal"),
        ("activations", "relu"),
        ("datasets", "mnist"),
        ("datasets.mnist", "load_data"),
        ("datasets.fashion_mnist", "load_data"),
        ("utils", "to_categorical"),
        ("utils", "np_utils"),
        ("utils.np_utils", "to_categorical"),
        ("backend", "clear_session"),
    ],
)
def test_imports(module: str, name: str) -> None:
    assert getattr(importlib.import_module(f"fastdense.keras.{module}".rstrip(".")), name)


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("from fastdense.keras.layers import Conv2D", "use Flatten() and Dense"),
        ("from fastdense.keras.layers import LSTM", "give rows of one length to Dense"),
        ("from fastdense.keras.layers import Dens", "Did you mean 'Dense'?"),
        ("from fastdense.keras.optimizers import Adafactor", "Muon"),
        ("from fastdense.keras.models import model_from_yaml", "model_from_json"),
        ("from fastdense.keras.backend import gradients", "loss_and_grad"),
        ("from fastdense.keras.initializers import glorot_unifrom", "Did you mean 'GlorotUniform'?"),
    ],
)
def test_missing_names_say_what_there_is(statement: str, says: str) -> None:
    with pytest.raises(keras.NotOffered, match=re.escape(says)):
        exec(statement)


# ---- the scripts of the origin cases ---------------------------------------------------------------------------------


def test_identity_script(capsys: pytest.CaptureFixture[str]) -> None:
    """Case 1: add form, input_shape, long names, validation data, evaluate's list; images of few pixels."""
    x = IMAGES.reshape(40, 30)
    model = Sequential()
    model.add(Dense(30, activation="relu", input_shape=(30,)))
    model.add(Dense(30, activation="relu"))
    model.summary()
    model.compile(
        loss="mean_squared_error", optimizer=keras.optimizers.RMSprop(), metrics=["mean_absolute_percentage_error"]
    )
    history = model.fit(x, x, batch_size=16, epochs=2, verbose=1, validation_data=(x, x))
    score = model.evaluate(x, x, verbose=0)
    assert isinstance(score, list) and score[0] == pytest.approx(history.history["val_loss"][-1])
    assert list(history.history) == [
        "loss",
        "mean_absolute_percentage_error",
        "val_loss",
        "val_mean_absolute_percentage_error",
    ]
    shown = capsys.readouterr().out
    assert "Total params: 1,860 (7.27 KB)" in shown and re.search(r"\(Dense\) +│ \(None, 30\) +│ +930 │\n", shown)
    lines = re.findall(
        r"^(?:Epoch (\d)/2|3/3 \S{20} \d+s \d+[mu]?s/step - loss: [\d.]+ - mean_absolute_percentage_error: [\d.]+"
        r" - val_loss: [\d.]+ - val_mean_absolute_percentage_error: [\d.]+)$",
        shown,
        re.MULTILINE,
    )
    assert lines == ["1", "", "2", ""]


@pytest.mark.parametrize(
    "variant", [ReLU, lambda: LeakyReLU(0.1), PReLU, ELU, lambda: Activation("selu"), lambda: ReLU(max_value=6.0)]
)
@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adagrad", "adadelta", "adam", "nadam"])
def test_pyramid_script(variant: Callable[[], Any], optimizer: str) -> None:
    """Case 3: 2 → 3 → 1 with every optimizer and every variant of ReLU, and a look at the hidden layer."""
    model = Sequential([Dense(3, input_dim=2), variant(), Dense(1)])
    model.compile(optimizer, "mse")
    assert np.isfinite(model.fit(X, Y, epochs=2, verbose=0).history["loss"]).all()
    hidden = Model(inputs=model.input, outputs=model.layers[1].output).predict(X, verbose=0)
    kernel, bias = model.layers[-1].get_weights()
    np.testing.assert_allclose(hidden @ kernel + bias, model.predict(X, verbose=0), rtol=1e-5, atol=1e-6)


def test_exercise_script() -> None:
    """Case 6: given weights, penalties, full batch, cross-entropy of sigmoid outputs."""
    x, y = X[:, :2], keras.utils.to_categorical(LABELS[:3].repeat(22)[:64], 3)
    model = Sequential()
    l2 = keras.regularizers.l2(1)
    model.add(Dense(5, input_shape=(2,), use_bias=True, kernel_regularizer=l2, activation="sigmoid",
                    kernel_initializer="glorot_uniform"))  # fmt: skip
    model.add(Dense(3, kernel_regularizer=l2, activation="sigmoid", weights=[np.ones((5, 3)), np.zeros(3)]))
    model.layers[0].set_weights([np.full((2, 5), 0.5), np.zeros(5)])
    assert model.layers[0].get_weights()[0][0, 0] == 0.5 and model.layers[1].get_weights()[0].sum() == 15
    model.compile(loss="categorical_crossentropy", optimizer="sgd", metrics=["accuracy"])
    loss, accuracy = model.evaluate(x, y, verbose=0)
    assert loss == pytest.approx(np.log(3) + 10 * 0.25 + 15, rel=1e-5) and accuracy == pytest.approx(1 / 3, abs=0.02)
    assert set(model.fit(x, y, batch_size=64, epochs=3, verbose=0).history) == {"loss", "accuracy"}


# ---- shapes, building, sharing ---------------------------------------------------------------------------------------


def test_shape_is_that_of_the_first_data() -> None:
    model = Sequential([Flatten(), Dense(4, "relu"), BatchNormalization(), Dropout(0.2), Dense(3, "softmax")])
    with pytest.raises(ValueError, match="the shape of its input is not known yet"):
        model.build()
    model.summary(print_fn=(shown := []).append)
    assert "0 (unbuilt)" in shown[0] and " Total params: 0 (0.00 B)" in shown[0]
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["acc"])
    model.fit(IMAGES, LABELS.reshape(-1, 1), verbose=0)
    assert model.input_shape == (None, 6, 5) and model.output_shape == (None, 3)
    assert model.metrics_names == ["loss", "acc"] and model.count_params() == 30 * 4 + 4 + 16 + 15
    assert (model.predict_classes(IMAGES) == model.predict(IMAGES, verbose=0).argmax(axis=1)).all()


def test_images_without_flatten() -> None:
    with pytest.raises(ValueError, match=r"a row has shape \(6, 5\) here, and Dense needs flat rows.*Flatten"):
        Sequential([Dense(3, input_shape=(6, 5))]).summary()
    with pytest.raises(ValueError, match=r"x has shape \(40, 6, 5\), and \S+ expects rows of shape \(4,\)"):
        Sequential([Dense(3, input_shape=(4,))]).predict(IMAGES)


def test_reshape_at_both_ends() -> None:
    model = Sequential([Input(shape=(6, 5)), Rescaling(1 / 255), Reshape((-1,)), Dense(30), Reshape((6, 5))])
    model.compile("adam", "mse")
    model.fit(IMAGES, IMAGES / 255, verbose=0)
    assert model.predict(IMAGES, verbose=0).shape == IMAGES.shape
    kernel, bias = model.get_weights()
    expected = (IMAGES.reshape(40, 30) / 255 @ kernel + bias).reshape(40, 6, 5)
    np.testing.assert_allclose(model.predict(IMAGES, verbose=0), expected, rtol=1e-5, atol=1e-5)


def test_normalization_given_or_adapted() -> None:
    given = Sequential([Normalization(mean=[1.0, 2.0], variance=[4.0, 9.0], input_shape=(2,)), Dense(1)])
    kernel, bias = given.get_weights()
    np.testing.assert_allclose(given.predict(X, verbose=0), (X - [1, 2]) / [2, 3] @ kernel + bias, atol=1e-6)
    layer = Normalization()
    layer.adapt(X)
    assert Sequential([layer, Dense(1)]).predict(X, verbose=0).shape == (64, 1)
    np.testing.assert_allclose(layer.get_weights()[0], X.mean(axis=0))


def test_add_and_pop_keep_what_was_learned() -> None:
    model = simple()
    model.fit(X, Y, verbose=0)
    first = model.get_weights()
    model.add(Dense(2))
    for ours, before in zip(model.get_weights(), first, strict=False):
        np.testing.assert_array_equal(ours, before)
    model.pop()
    np.testing.assert_array_equal(model.get_weights()[2], first[2])
    assert len(model.layers) == 2


def test_autoencoder_shares_its_layers() -> None:
    x = np.random.default_rng(0).normal(size=(50, 8))
    data = Input(shape=(8,))
    code = Dense(3, activation="tanh")(data)
    auto, encoder = Model(data, Dense(8)(code)), Model(data, code)
    before = encoder.predict(x, verbose=0)
    auto.compile("adam", "mse")
    auto.fit(x, x, epochs=3, verbose=0)
    assert not np.allclose(encoder.predict(x, verbose=0), before)
    inside = Input(shape=(3,))
    decoder = Model(inside, auto.layers[-1](inside))
    np.testing.assert_array_equal(decoder(encoder(x)), auto(x))
    encoder.compile("adam", "mse")
    encoder.fit(x, x[:, :3], epochs=3, verbose=0)
    np.testing.assert_array_equal(decoder(encoder(x)), auto(x))
    auto.fit(x, x, verbose=0)
    np.testing.assert_array_equal(decoder(encoder(x)), auto(x))
    head = Sequential([encoder, Dense(1)])
    head.compile("adam", "mse")
    head.fit(x, x[:, 0], verbose=0)
    np.testing.assert_array_equal(decoder(encoder(x)), auto(x))


def test_residual() -> None:
    data = Input((4,))
    both = keras.layers.add([data, Dense(4, "relu")(data)])
    model = Model(data, Dense(1)(both))
    kernel, bias, last, _ = model.get_weights()
    x = np.ones((2, 4))
    np.testing.assert_allclose(model(x), (x + np.maximum(x @ kernel + bias, 0)) @ last, rtol=1e-5)


# ---- defaults and forms ----------------------------------------------------------------------------------------------


def test_defaults_are_those_of_keras() -> None:
    assert type(Dense(3, "relu").kernel_initializer).__name__ == "GlorotUniform"
    assert LeakyReLU().alpha == pytest.approx(0.3)
    model = simple()
    model.fit(X, Y, verbose=0)
    assert model.history is not None and model.history.params["steps"] == 2  # batches of 32


def test_every_model_has_a_start_of_its_own_unless_seeded() -> None:
    assert not np.array_equal(simple().get_weights()[0], simple().get_weights()[0])
    starts = []
    for _ in range(2):
        keras.utils.set_random_seed(7)
        starts.append([simple().get_weights()[0] for _ in range(2)])
    keras.settings._state["seeds"] = None
    np.testing.assert_array_equal(starts[0], starts[1])
    assert not np.array_equal(starts[0][0], starts[0][1])


def test_old_arguments_of_optimizers() -> None:
    made = keras.optimizers.SGD(lr=0.1, decay=0.5, momentum=0.9, nesterov=True)
    rates = made.learning_rates(0, 3)
    np.testing.assert_allclose(rates, [0.1, 0.1 / 1.5, 0.1 / 2])
    assert keras.optimizers.Adam(lr=0.1, epsilon=None) == fd.Adam(0.1)
    assert keras.optimizers.get(keras.optimizers.Adam) == fd.Adam()
    with pytest.raises(TypeError, match="lr is another name of learning_rate"):
        keras.optimizers.Adam(0.1, lr=0.1)
    with pytest.raises(TypeError, match="loss_scale_factor=8 is not offered"):
        keras.optimizers.Adam(loss_scale_factor=8)


def test_functions_in_place_of_names() -> None:
    model = Sequential([Dense(4, keras.activations.tanh), Dense(3, activation=Softmax())])
    model.compile(
        keras.optimizers.Adam(), keras.losses.categorical_crossentropy, metrics=[keras.metrics.mse, "accuracy"]
    )
    y = keras.utils.to_categorical(LABELS)
    logs = model.fit(IMAGES.reshape(40, -1), y, verbose=0).history
    assert list(logs) == ["accuracy", "loss", "mean_squared_error"]
    np.testing.assert_allclose(keras.activations.relu([-1.0, 2.0]), [0, 2])
    np.testing.assert_allclose(keras.losses.mse([[1.0, 2.0]], [[0.0, 0.0]]), [2.5])
    np.testing.assert_allclose(keras.losses.sparse_categorical_crossentropy([0], [[0.25, 0.75]]), [np.log(4)])


def test_accuracy_of_binary_crossentropy_goes_by_shapes() -> None:
    """As in Keras: one-hot targets of several sigmoid outputs are compared by their largest."""
    model = Sequential([Dense(3, "sigmoid", input_dim=2, weights=[np.zeros((2, 3)), np.array([1.0, 2.0, 3.0])])])
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
    assert model.evaluate(X[:4], np.eye(3)[[2, 2, 2, 0]], verbose=0)[1] == 0.75


def test_loss_weights_and_the_place_of_metrics() -> None:
    model = simple()
    once = model.evaluate(X, Y, verbose=0)
    model.compile("adam", "mse", loss_weights=2.0)
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(2 * once, rel=1e-5)
    model.compile("adam", "mse", ["mae"])  # Keras 2 had metrics in third place
    assert model.metrics_names[1:] == ["mae"]


def test_to_categorical() -> None:
    np.testing.assert_array_equal(keras.utils.to_categorical([[0], [2]]), np.eye(3, dtype=np.float32)[[0, 2]])
    with pytest.raises(ValueError, match="class numbers from 0 to 3 and num_classes=3"):
        keras.utils.to_categorical([0, 3], 3)


def test_floatx() -> None:
    keras.backend.set_floatx("float64")
    try:
        assert simple().get_weights()[0].dtype == np.float64
    finally:
        keras.backend.set_floatx("float32")


def test_names_count_on_until_the_session_is_cleared() -> None:
    keras.backend.clear_session()
    assert [Dense(1).name, Dense(1).name, LayerNormalization().name] == ["dense", "dense_1", "layer_normalization"]
    keras.backend.clear_session()
    assert Dense(1).name == "dense"


# ---- printed lines, callbacks, files ---------------------------------------------------------------------------------


def test_printed_lines(capsys: pytest.CaptureFixture[str]) -> None:
    model = simple()
    model.fit(X, Y, epochs=2, verbose=2)
    model.evaluate(X, Y)
    model.predict(X)
    number = r"\d\.\d{4}(?:e-\d\d)?"
    step = r"0s \d+[mu]s/step"
    assert re.fullmatch(
        rf"(?:Epoch [12]/2\n2/2 - 0s - \d+[mu]s/step - loss: {number}\n){{2}}"
        rf"2/2 \S{{20}} {step} - loss: {number}\n2/2 \S{{20}} {step}\n",
        capsys.readouterr().out,
    )
    model.fit(X, Y, epochs=2, verbose=0)
    assert not capsys.readouterr().out


def test_callbacks() -> None:
    seen: list[int] = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.append(epoch)
            self.model.stop_training = epoch == 2

    model = simple()
    model.fit(X, Y, epochs=9, verbose=0, callbacks=[Watch()])
    assert seen == [0, 1, 2]


def test_file(tmp_path: Path) -> None:
    model = Sequential([Flatten(), Dense(4, LeakyReLU(0.1)), BatchNormalization(), Dense(3, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(IMAGES, LABELS, verbose=0)
    model.save(tmp_path / "model.h5")
    again = load_model(tmp_path / "model.h5")
    np.testing.assert_array_equal(again.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0))
    np.testing.assert_array_equal(fd.load(tmp_path / "model.h5").predict(IMAGES.reshape(40, -1)), again(IMAGES))
    for one in (model, again):
        one.fit(IMAGES, LABELS, epochs=2, verbose=0)
    np.testing.assert_array_equal(again.get_weights()[0], model.get_weights()[0])
    again.summary(print_fn=lambda text: None)
    model.save_weights(tmp_path / "weights")
    again.load_weights(tmp_path / "weights")


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("do", "says"),
    [
        (lambda: Dense(3, actvation="relu"), "unknown argument 'actvation'. Did you mean 'activation'?"),
        (
            lambda: Dense(3, W_regularizer="l2"),
            "W_regularizer belongs to an older version of Keras. Use kernel_regularizer=...",
        ),
        (lambda: Dense(3, activation="rleu"), "Did you mean 'relu'?"),
        (
            lambda: Dense(3, activation=3),
            "Dense: activation=3. Pass a name such as 'relu', one of keras.activations, or a function of a tensor.",
        ),
        (lambda: Dense(3, kernel_constraint="max_nrm"), "Did you mean 'max_norm'?"),
        (lambda: Dense(3, input_shape=(None, 3)), "The shape of one row is needed, without None"),
        (lambda: Dense(3)(np.ones(3)), "called on an array of shape (3,)"),
        (lambda: Dense(3)("x"), "Give keras.Input(shape=...) or an array with rows"),
        (lambda: BatchNormalization(axis=0), "axis=0 is not offered"),
        (lambda: ReLU(max_value=4), "max_value may be 6 or None"),
        (lambda: Sequential([Dense]), "Pass Dense(...)"),
        (lambda: Sequential([3]), "A layer is needed"),
        (lambda: Sequential([]).build((None, 3)), "it has no layer with computations"),
        (lambda: Model(Input((2,)), Dense(1)(Input((2,)))), "outputs is not computed from inputs"),
        (lambda: type("Mine", (Model,), {"train_step": None})(), "its train_step() would never be called"),
        (lambda: Sequential([Dense(1, input_dim=2)]).fit(X, Y), "is not compiled"),
        (lambda: simple().fit(X), "y is missing"),
        (lambda: simple().fit(iter([1])), "(x, y) or (x, y, sample_weight) is needed"),
        (lambda: simple().fit([X, X], Y), "has one input. Pass one array, or make the"),
        (lambda: simple().fit(X, Y, nb_epoch=3), "Use epochs=..."),
        (lambda: simple().fit(X, Y, epoch=3), "Did you mean 'epochs'?"),
        (lambda: simple().fit(X, Y, steps_per_epoch=0), "Give a whole number, at least 1"),
        (lambda: simple().compile("adm", "mse"), "Did you mean 'adam'?"),
        (lambda: simple().compile("adam", 3), "Give a name, a loss of"),
        (lambda: simple().compile("adam", "mse", metrics=["acuracy"]), "Did you mean 'accuracy'?"),
        (lambda: simple().predct(X), "Did you mean 'predict'?"),
        (lambda: simple().place(X), "model.fastdense.place"),
        (lambda: simple().to_yaml(), "to_json() does the same"),
        (lambda: simple().get_layer("dens"), "no layer is named 'dens'"),
        (lambda: simple().layers[0].set_weights([np.ones((2, 3))]), "1 arrays of weights were given, and it has 2"),
    ],
)
def test_refused(do: Callable[[], Any], says: str) -> None:
    with pytest.raises((TypeError, ValueError, AttributeError, RuntimeError), match=re.escape(says)):
        do()


def test_a_failed_build_leaves_no_trace() -> None:
    model = Sequential([Dense(3, weights=[np.ones((5, 3)), np.zeros(3)])])
    with pytest.raises(ValueError, match=r"weights\[0\] has shape"):
        model.predict(X)
    assert model._built is None and model.layers[0].owner is None
