"""Models and layers as objects: weights, configs, calls on arrays, tables, callbacks, files, optimizers."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense import keras
from fastdense.keras import layers
from fastdense.keras.models import Model, Sequential, load_model

X = np.random.default_rng(0).uniform(-1, 1, (64, 4))
Y = X[:, :1] ** 2


def net(**options: Any) -> Sequential:
    model = Sequential([keras.Input((4,)), layers.Dense(3, "relu", name="first"), layers.BatchNormalization(),
                        layers.Dense(1, name="last")], **options)  # fmt: skip
    model.compile("adam", "mse")
    return model


def square(**options: Any) -> Sequential:
    """A net that gives squares for squares."""
    model = Sequential([keras.Input((2, 2)), layers.Flatten(), layers.Dense(4), layers.Reshape((2, 2))], **options)
    model.compile("adam", "mse")
    return model


# ---- weights ---------------------------------------------------------------------------------------------------------


def test_weights_are_those_of_the_model() -> None:
    model = net(name="net")
    names = ["kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance", "kernel", "bias"]
    assert [w.name for w in model.weights] == names
    assert model.weights[0].path == "net/first/kernel" and model.layers[2].bias.path == "net/last/bias"
    assert [w.name for w in model.non_trainable_variables] == ["moving_mean", "moving_variance"]
    kernel = model.get_layer("first").kernel
    assert kernel is model.trainable_weights[0] and kernel.shape == (4, 3) and kernel.dtype == "float32"
    kernel.assign(np.ones((4, 3)))
    np.testing.assert_array_equal(model.get_weights()[0], np.ones((4, 3)))
    model.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(kernel.numpy(), model.get_weights()[0])
    np.testing.assert_array_equal(2 * kernel + 1, 2 * model.get_weights()[0] + 1)
    kernel.assign_sub(kernel)
    assert not np.asarray(kernel).any() and float(np.sum(kernel)) == 0
    with pytest.raises(ValueError, match=r"net/first/kernel: assign got an array of shape \(3,\); shape \(4, 3\)"):
        kernel.assign(np.ones(3))


def test_a_variable_of_its_own() -> None:
    variable = keras.Variable(np.arange(3), name="v")
    variable.assign_add(np.ones(3))
    assert variable.dtype == "int32" and variable[1] == 2 and len(variable) == 3 and variable.value.numpy().sum() == 6
    assert repr(keras.Variable(2.5)) == "<Variable path=variable, shape=(), dtype=float32, value=2.5>"
    assert float(keras.Variable(2.5)) == 2.5 and keras.Variable(np.ones, (2,)).shape == (2,)


def test_before_the_shape_is_known_there_are_no_weights() -> None:
    model = Sequential([layers.Dense(3)])
    assert not model.built and model.weights == [] and model.get_weights() == [] and model.layers[0].weights == []
    with pytest.raises(ValueError, match="count_params: it is not built yet"):
        model.count_params()
    with pytest.raises(AttributeError, match="no attribute 'kernel'"):
        _ = model.layers[0].kernel
    model.build((None, 4))
    assert model.built and model.count_params() == 15


def test_layers_without_weights_in_keras_have_none() -> None:
    model = Sequential([layers.Rescaling(0.5, input_shape=(4,)), layers.Dense(1, use_bias=False)])
    assert len(model.get_weights()) == 1 and model.count_params() == 4 and model.layers[1].bias is None
    model.set_weights([np.ones((4, 1))])
    np.testing.assert_allclose(model.predict(X, verbose=0), X.sum(axis=1, keepdims=True) / 2, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="set_weights got 2 arrays, and it has 1 weights"):
        model.set_weights([np.ones((4, 1)), np.ones(1)])


# ---- calls on arrays -------------------------------------------------------------------------------------------------


def test_layers_and_models_on_arrays() -> None:
    layer = layers.Dense(3, "relu", kernel_initializer="ones")
    out = layer(X)
    np.testing.assert_allclose(out.numpy(), np.maximum(X.sum(axis=1, keepdims=True), 0) @ np.ones((1, 3)), atol=1e-6)
    assert type(out.numpy()) is np.ndarray and type(out[0, 0].numpy()) is np.ndarray and out.shape == (64, 3)
    layer.kernel.assign(2 * layer.kernel)
    model = Sequential([layer, layers.Dense(1)])
    assert type(model(X)[:2] + 1).__name__ == "Tensor" and type(model.predict(X, verbose=0)) is np.ndarray
    np.testing.assert_allclose(layer.get_weights()[0], 2)  # which the model has taken over
    np.testing.assert_allclose(model.layers[1](layer(X)), model(X, training=False), rtol=1e-5, atol=1e-6)
    assert layers.Flatten()(X.reshape(64, 2, 2)).shape == (64, 4) and layers.Reshape((2, 2))(X).shape == (64, 2, 2)
    assert layers.Softmax()(X).sum().numpy() == pytest.approx(64)


def test_outputs_of_inner_layers() -> None:
    model = Sequential([keras.Input((2, 2)), layers.Flatten(), layers.Dense(3, "relu"), layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(X.reshape(-1, 2, 2), Y, verbose=0)
    every = Model(inputs=model.inputs, outputs=[layer.output for layer in model.layers])
    found = every.predict(X.reshape(-1, 2, 2), verbose=0)
    assert [one.shape for one in found] == [(64, 4), (64, 3), (64, 1)] and isinstance(every, Model)
    expected = model.predict(X.reshape(-1, 2, 2), verbose=0)  # which another path of the engine adds up
    np.testing.assert_allclose(found[2], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(every(X.reshape(-1, 2, 2))[1].numpy(), found[1])
    named = Model(model.input, {"x": model.input, "hidden": model.layers[1].output})
    assert list(named.predict(X.reshape(-1, 2, 2), verbose=0)) == ["x", "hidden"]
    assert [w.shape for w in every.get_weights()] == [w.shape for w in model.get_weights()]
    every.summary(print_fn=lambda text: None)


def test_dropout_is_active_in_training_only() -> None:
    ones = np.ones((1000, 10))
    dropped = layers.Dropout(0.25)(ones, training=True)
    assert set(np.unique(dropped)) == {0, np.float32(1 / 0.75)} and abs(dropped.mean() - 1) < 0.05
    np.testing.assert_array_equal(layers.Dropout(0.25)(ones), ones)
    model = Sequential([layers.Dropout(0.5), layers.Dense(1)])
    assert not np.array_equal(model(X, training=True), model(X, training=True))
    np.testing.assert_array_equal(model(X), model(X))


# ---- configs and copies ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "again",
    [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],
)
def test_copies_go_on_as_the_model_does(again: Callable[[Any], Any]) -> None:
    model = net()
    model.fit(X, Y, verbose=0)
    other = again(model)
    for one in (model, other):
        one.fit(X, Y, epochs=2, verbose=0)
    np.testing.assert_array_equal(other.get_weights()[0], model.get_weights()[0])
    other.optimizer.learning_rate = 0.0
    assert float(model.optimizer.learning_rate) == 0.001 and other.layers[0] is not model.layers[0]


def test_made_again_from_its_config() -> None:
    model = Sequential([keras.Input((4,)), Sequential([layers.Dense(3, layers.LeakyReLU(0.1), name="a")], name="in"),
                        layers.Dense(1, kernel_regularizer=keras.regularizers.L2(0.1))])  # fmt: skip
    model.summary(print_fn=lambda text: None)
    for other in (
        Sequential.from_config(model.get_config()),
        keras.models.model_from_json(model.to_json()),
        keras.models.clone_model(model),
        keras.models.clone_model(model, clone_function=lambda layer: type(layer).from_config(layer.get_config())),
    ):
        other.set_weights(model.get_weights())
        assert other.get_config() == model.get_config() and other.get_layer("in").layers[0].name == "a"
        np.testing.assert_array_equal(other.predict(X, verbose=0), model.predict(X, verbose=0))
    with pytest.raises(ValueError, match="there is no keras.layers.Conv9"):
        layers.deserialize({"module": "keras.layers", "class_name": "Conv9", "config": {}})


def test_registered_classes() -> None:
    @keras.saving.register_keras_serializable(package="mine")
    class Wide(layers.Dense):
        def __init__(self, factor: int, **options: Any) -> None:
            super().__init__(10 * factor, **options)
            self.factor = factor

        def get_config(self) -> dict[str, Any]:
            config = super().get_config()
            del config["units"]
            return {**config, "factor": self.factor}

    made = layers.deserialize(layers.serialize(Wide(2, activation="relu")))
    assert type(made) is Wide and made.units == 20 and made.activation is keras.activations.relu
    assert keras.saving.get_registered_name(Wide) == "mine>Wide"
    with keras.saving.custom_object_scope({"twice": Wide}):
        assert keras.saving.get_registered_object("twice") is Wide
    assert keras.saving.get_registered_object("twice") is None


def test_initializers_of_the_users_own(tmp_path: Path) -> None:
    def quarter(shape: tuple[int, ...], dtype: Any = None) -> Any:
        return np.full(shape, 0.25, dtype=dtype)

    class Half(keras.initializers.Initializer):
        def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:  # type: ignore[override]
            return np.full(shape, 0.5)

    model = Sequential([layers.Dense(2, kernel_initializer=quarter, bias_initializer=Half(), input_dim=3)])
    np.testing.assert_array_equal(model.get_weights()[0], np.full((3, 2), 0.25))
    np.testing.assert_array_equal(model.get_weights()[1], [0.5, 0.5])
    model.save(tmp_path / "net.keras")
    again = load_model(tmp_path / "net.keras", custom_objects={"quarter": quarter, "Half": Half})
    np.testing.assert_array_equal(again.get_weights()[0], model.get_weights()[0])
    with pytest.raises(ValueError, match=r"pass custom_objects=\{'quarter': ...\}"):
        load_model(tmp_path / "net.keras")


# ---- subclasses ------------------------------------------------------------------------------------------------------


class Autoencoder(Model):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.encoder = Sequential([layers.Flatten(), layers.Dense(width, activation="relu")])
        self.noise = layers.Dropout(0.5)
        self.decoder = Sequential([layers.Dense(4), layers.Reshape((2, 2))])

    def call(self, x: Any, training: bool = False) -> Any:
        x = self.encoder(x)
        if training:
            x = self.noise(x)
        return self.decoder(x)


def test_a_model_with_a_call(tmp_path: Path) -> None:
    images = X.reshape(-1, 2, 2)
    model = Autoencoder(3)
    model.compile("adam", "mse")
    model.fit(images, images, epochs=2, verbose=0)
    assert [one.name for one in model.layers] == [model.encoder.name, model.noise.name, model.decoder.name]
    assert model.fastdense.layers[1].rate == 0.5  # dropped in training, as call() says
    codes = model.encoder(images).numpy()
    np.testing.assert_allclose(model.decoder(codes), model.predict(images, verbose=0), rtol=1e-5, atol=1e-6)
    model.save(tmp_path / "net.keras")
    again = load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(again.predict(images, verbose=0), model.predict(images, verbose=0))


def test_a_layer_with_a_call() -> None:
    class Block(layers.Layer):
        def __init__(self, units: int, **options: Any) -> None:
            super().__init__(**options)
            self.hidden, self.out = layers.Dense(units, "tanh"), layers.Dense(units)

        def call(self, x: Any) -> Any:
            return self.out(self.hidden(x))

    block = Block(5, name="block")
    model = Sequential([keras.Input((4,)), block, layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    assert len(model.layers) == 2 and [w.shape for w in block.get_weights()] == [(4, 5), (5,), (5, 5), (5,)]
    np.testing.assert_allclose(model.layers[1](block(X)), model(X), rtol=1e-5, atol=1e-6)
    block.set_weights([np.zeros_like(w) for w in block.get_weights()])
    assert not block(X).any() and block.count_params() == 55
    block.trainable = False
    assert [w.trainable for w in block.weights] == [False] * 4 and model.layers[1].trainable


class Double(layers.Layer):
    def call(self, x: Any) -> Any:
        return 2 * x


class Sneaky(layers.Dense):
    def call(self, x: Any) -> Any:
        return x


class Built(layers.Dense):
    def build(self, input_shape: Any) -> None: ...


class Fickle(Model):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = layers.Dense(1), layers.Dense(1)

    def call(self, x: Any, training: bool = False) -> Any:
        return self.a(x) if training else self.b(x)


class Thousand(keras.regularizers.L2):
    def __call__(self, x: Any) -> float:
        return 1000.0


class Steps(keras.optimizers.SGD):
    def update_step(self, *_: Any) -> None: ...


class OwnSteps(keras.optimizers.Optimizer):
    def update_step(self, *_: Any) -> None: ...


class OwnTraining(Sequential):
    def train_step(self, data: Any) -> Any: ...


@pytest.mark.parametrize(
    ("use", "says"),
    [
        (lambda: Sneaky(3), "Sneaky: its call() would take the place of the formula of its parent"),
        (lambda: Built(3), "Built: its build() would never be called. Write a call() with layers or a formula."),
        (lambda: Fickle().predict(X), "another net with training=True than without"),
        (lambda: layers.Dense(1, kernel_regularizer=Thousand()), "Thousand: its __call__() would never be called"),
        (lambda: Steps(0.1), "Steps: its update_step() would never be called"),
        (lambda: net().compile(OwnSteps(0.1), "mse"), "OwnSteps: its update_step() would never be called"),
        (lambda: OwnTraining(), "OwnTraining: its train_step() would never be called"),
    ],
)  # fmt: skip
def test_an_override_that_is_not_honoured_is_an_error(use: Callable[[], Any], says: str) -> None:
    with pytest.raises(TypeError, match=re.escape(says)):
        use()


def test_what_is_no_net_may_be_called_on_arrays() -> None:
    np.testing.assert_allclose(Double()(X), 2 * X, rtol=1e-6)  # in float32, as in Keras


# ---- callbacks -------------------------------------------------------------------------------------------------------


def test_callbacks_see_the_model_that_is_fitted(tmp_path: Path) -> None:
    images = X.reshape(-1, 2, 2)

    class Peek(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            model: Any = self.model
            self.seen = (model, model.layers[1].get_weights()[0].shape, model.predict(images, verbose=0).shape)
            model.my_mark = epoch
            logs["mine"] = 1.5

        def on_test_begin(self, logs: Any = None) -> None:
            self.tested = self.model

    peek, model = Peek(), square()
    file = str(tmp_path / "net.keras")
    history = model.fit(images, images, epochs=2, verbose=0, callbacks=[peek, keras.callbacks.ModelCheckpoint(file)])
    assert peek.seen == (model, (4, 4), (64, 2, 2)) and peek.seen[0] is model and model.my_mark == 1
    assert peek.params == {"verbose": 0, "epochs": 2, "steps": 2} and history.history["mine"] == [1.5, 1.5]
    model.evaluate(images, images, verbose=0, callbacks=peek)
    assert peek.tested is model
    assert load_model(file).predict(images, verbose=0).shape == (64, 2, 2)


def test_dead_units_are_revived_in_the_net_inside() -> None:
    model = net()
    history = model.fit(X, Y, epochs=3, verbose=0, callbacks=[keras.callbacks.ReviveDeadUnits(every=1)])
    assert len(history.history["revived"]) == 3


# ---- files -----------------------------------------------------------------------------------------------------------


def test_files_keep_shapes(tmp_path: Path) -> None:
    images, model = X.reshape(-1, 2, 2), square(name="square")
    model.fit(images, images, verbose=0)
    model.save(tmp_path / "net.keras")
    again = load_model(tmp_path / "net.keras", custom_objects={}, safe_mode=True)
    assert again.predict(images[:3], verbose=0).shape == (3, 2, 2) and again.name == "square"
    assert [type(one).__name__ for one in again.layers] == ["Flatten", "Dense", "Reshape"]
    for one in (model, again):
        one.fit(images, images, epochs=2, verbose=0)
    np.testing.assert_array_equal(again.get_weights()[0], model.get_weights()[0])
    assert int(again.optimizer.iterations) == int(model.optimizer.iterations) == 6
    again.optimizer.learning_rate.assign(0.5)
    assert again.fastdense.optimizer.learning_rate == 0.5
    plain = fd.load(tmp_path / "net.keras")
    assert type(plain) is fd.Model and plain.predict(X).shape == (64, 4)
    loaded = load_model(tmp_path / "net.keras", compile=False)
    assert not loaded.compiled
    plain.save(tmp_path / "again.keras")
    assert load_model(tmp_path / "again.keras").predict(images, verbose=0).shape == (64, 2, 2)


def test_files_of_plain_models_can_be_read(tmp_path: Path) -> None:
    plain = fd.Model([fd.Normalization(), fd.Dense(3, "relu"), fd.BatchNorm(), fd.Dense(1)], inputs=4)
    plain.compile("adam", "mse")
    plain.fit(X, Y, verbose=0)
    plain.save(tmp_path / "net")
    again = load_model(tmp_path / "net")
    np.testing.assert_array_equal(again.predict(X, verbose=0), plain.predict(X))
    np.testing.assert_allclose(again.layers[0].mean[0], X.mean(axis=0), rtol=1e-5)


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    model = net()
    for save in (model.save, model.save_weights, lambda path, **o: keras.models.save_model(model, path, **o)):
        path = tmp_path / "net.keras"
        save(path)
        before = path.read_bytes()
        with pytest.raises(FileExistsError, match="exists already, and overwrite is False. Give another path"):
            save(path, overwrite=False)
        assert path.read_bytes() == before
        save(tmp_path / "new", overwrite=False)
        (tmp_path / "new").unlink()


# ---- optimizers ------------------------------------------------------------------------------------------------------


def test_the_learning_rate_is_like_a_variable() -> None:
    model = net()
    optimizer = model.optimizer
    optimizer.learning_rate.assign(0.25)
    assert float(optimizer.learning_rate) == optimizer.lr == optimizer.learning_rate.numpy() == 0.25
    optimizer.lr = keras.Variable(0.5)
    assert model.fastdense.optimizer.learning_rate == 0.5 and optimizer.name == "adam"
    model.fit(X, Y, epochs=2, verbose=0)
    assert int(optimizer.iterations) == 4
    assert keras.optimizers.get({"class_name": "SGD", "config": {"momentum": 0.9}}) == fd.SGD(momentum=0.9)
    assert isinstance(keras.optimizers.Adam(name="mine"), keras.optimizers.Optimizer)
    assert keras.optimizers.Adam(name="mine", gradient_accumulation_steps=None).name == "mine"
    with pytest.raises(
        TypeError, match="gradient_accumulation_steps=2 is not offered. Leave it out. Multiply batch_size"
    ):
        keras.optimizers.Adam(gradient_accumulation_steps=2)


def test_schedules_of_the_users_own() -> None:
    class Warm(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step: Any) -> Any:
            return 0.01 * min(1.0, float(step) / 4)

    model = net()
    model.compile(keras.optimizers.SGD(Warm()), "mse")
    np.testing.assert_allclose(model.optimizer.learning_rates(0, 6), [0, 0.0025, 0.005, 0.0075, 0.01, 0.01])
    model.fit(X, Y, verbose=0)
    assert float(model.optimizer.learning_rate) == 0.005
    model.compile(keras.optimizers.SGD(lambda: 0.25), "mse")
    np.testing.assert_array_equal(model.optimizer.learning_rates(0, 3), 0.25)
    decay = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5, name="slower")
    assert isinstance(decay, fd.schedules.ExponentialDecay) and decay == fd.schedules.ExponentialDecay(0.1, 2, 0.5)
    with pytest.raises(TypeError, match="unknown argument 'decay_step'. Did you mean 'decay_steps'"):
        keras.optimizers.schedules.ExponentialDecay(0.1, decay_step=2)
    model.compile(keras.optimizers.SGD(decay), "mse")
    model.fit(X, Y, verbose=0)
    assert float(model.optimizer.learning_rate) == 0.05


def test_regularizers_can_be_called() -> None:
    assert keras.regularizers.L1L2(0.1, 0.2)([[1.0, -2.0]]) == pytest.approx(0.3 + 1.0)
    assert keras.regularizers.OrthogonalRegularizer(0.1)([[1.0, 0.0], [1.0, 0.0]]) == pytest.approx(0.1, rel=1e-3)


# ---- pictures and arguments ------------------------------------------------------------------------------------------


def test_plot_model(tmp_path: Path) -> None:
    keras.utils.plot_model(net(), tmp_path / "net.png", show_shapes=True, show_layer_names=True, rankdir="LR")
    assert (tmp_path / "net.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="is not built yet"):
        keras.utils.plot_model(Sequential([layers.Dense(1)]), tmp_path / "no.png")


def test_arguments_with_their_defaults_are_accepted() -> None:
    x = keras.Input(batch_shape=(None, 4), dtype="float32", name="x", sparse=False)
    out = layers.Dense(1, bias_initializer=None, dtype="float32", name="out")(x)
    model = Model(inputs=[x], outputs=[out], name="m", trainable=True)
    model.compile("adam", "mse", metrics=[["mae"]], weighted_metrics=[], steps_per_execution=1, jit_compile=False)
    model.fit(X, Y, verbose=False)
    assert model.name == "m" and model.layers[0].name == "x" and model.inputs[0].shape == (None, 4)
    assert repr(x) == "<KerasTensor shape=(None, 4), dtype=float32, sparse=False, ragged=False, name=x>"
    gone = Sequential([layers.Dense(1), layers.Dense(2)]).pop()
    assert gone.units == 2 and gone.built is False


def test_load_weights_that_fit(tmp_path: Path) -> None:
    def net(outputs: int, *more: Any) -> Any:
        parts = [layers.Dense(8, "relu"), layers.BatchNormalization(), layers.Dense(outputs, name="head"), *more]
        return Sequential([keras.Input((4,)), *parts])

    given = net(3)
    given.set_weights([w + 0.5 for w in given.get_weights()])
    given.save_weights(tmp_path / "a.weights.h5")
    other = net(5)
    head = other.get_weights()[-2:]
    with pytest.warns(UserWarning, match="load_weights: .* has no weights of the same shapes for 'head'; it keeps"):
        other.load_weights(tmp_path / "a.weights.h5", skip_mismatch=True)
    np.testing.assert_equal(other.get_weights(), [*given.get_weights()[:-2], *head])
    with pytest.warns(UserWarning, match="for 'last'; it keeps its own"):
        keras.saving.load_weights(net(3, layers.Dense(1, name="last")), tmp_path / "a.weights.h5", skip_mismatch=True)
    with pytest.raises(ValueError, match="set_weights"):
        other.load_weights(tmp_path / "a.weights.h5")
