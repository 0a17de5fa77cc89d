"""Layers and models as objects, in Keras and in `fastdense.keras`: weights, configs, tables, calls on arrays."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from fastdense import keras as ours
from tests.peers.keras64 import keras

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Keras's __array__
    pytest.mark.filterwarnings("ignore:Do not pass an `input_shape`:UserWarning"),
]

X = np.random.default_rng(0).uniform(-1, 1, (12, 4))


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    for k in (keras, ours):
        k.backend.clear_session()
    ours.backend.set_floatx("float64")
    yield
    ours.backend.set_floatx("float32")


def nested(k: ModuleType) -> Any:
    inner = k.Sequential([k.layers.Dense(3, activation="relu", name="first"), k.layers.Dropout(0.2)], name="inner")
    return k.Sequential([k.Input((4,)), inner, k.layers.BatchNormalization(), k.layers.Dense(2)], name="outer")


def functional(k: ModuleType) -> Any:
    x = k.Input((4,), name="x")
    y = k.layers.LeakyReLU()(k.layers.Dense(30, name="a_layer_with_a_name_that_is_too_long_for_its_column")(x))
    return k.Model(x, k.layers.Dense(2, use_bias=False)(k.layers.LayerNormalization()(y)), name="f")


def images(k: ModuleType) -> Any:
    return k.Sequential([k.Input((2, 2)), k.layers.Rescaling(1 / 255), k.layers.Flatten(), k.layers.Dense(4, "elu"),
                         k.layers.PReLU(), k.layers.Reshape((2, 2))], name="images")  # fmt: skip


def unbuilt(k: ModuleType) -> Any:
    return k.Sequential([k.layers.Dense(3), k.layers.Dropout(0.1), k.layers.Flatten(), k.layers.Activation("relu"),
                         k.layers.Reshape((3,)), k.layers.BatchNormalization(), k.layers.Rescaling(2.0)],
                        name="unbuilt")  # fmt: skip


def normalized(k: ModuleType) -> Any:
    layer = k.layers.Normalization()
    layer.adapt(X)
    return k.Sequential([k.Input((4,)), layer, k.layers.Dense(1)], name="normalized")


MODELS = [nested, functional, images, unbuilt, normalized]


def table(model: Any, **options: Any) -> str:
    shown: list[str] = []
    model.summary(print_fn=lambda text, **_: shown.append(text), **options)
    return "".join(shown)


@pytest.mark.parametrize(
    "options",
    [{}, {"line_length": 80, "expand_nested": True, "show_trainable": True}, {"positions": [0.5, 0.7, 1.0]}],
)
@pytest.mark.parametrize("make", MODELS)
def test_summary(make: Callable[[ModuleType], Any], options: dict[str, Any]) -> None:
    assert table(make(ours), **options) == table(make(keras), **options)


def test_summary_after_training() -> None:
    tables = []
    for k in (keras, ours):
        model = nested(k)
        model.compile("adam", "mse")
        model.fit(X, X[:, :2], verbose=0)
        tables.append(table(model).split("Optimizer")[0].split(" Total")[0])
        assert "Optimizer params: 60" in table(model) and "Total params: 95" in table(model)
    assert tables[0] == tables[1]


@pytest.mark.parametrize("make", MODELS)
def test_weights(make: Callable[[ModuleType], Any]) -> None:
    mine, theirs = make(ours), make(keras)
    for kind in ("weights", "trainable_weights", "non_trainable_weights", "trainable_variables"):
        found = [[(w.name, tuple(w.shape), w.trainable) for w in getattr(m, kind)] for m in (mine, theirs)]
        assert found[0] == found[1]
    if make is not normalized:  # there, `adapt` has made weights before the model was there
        assert [w.path for w in mine.weights] == [w.path for w in theirs.weights]
    assert [w.shape for w in mine.get_weights()] == [w.shape for w in theirs.get_weights()]
    assert [type(one).__name__ for one in mine.layers] == [type(one).__name__ for one in theirs.layers]
    assert [repr(one) for one in mine.layers] == [repr(one) for one in theirs.layers]


@pytest.mark.parametrize("make", [nested, functional, images, normalized])
def test_calls_on_arrays(make: Callable[[ModuleType], Any]) -> None:
    mine, theirs = make(ours), make(keras)
    mine.set_weights(theirs.get_weights())
    x = X.reshape(-1, *mine.input_shape[1:])
    np.testing.assert_allclose(mine(x).numpy(), np.asarray(theirs(x)), atol=1e-6)
    assert mine.compute_output_shape((None, *x.shape[1:])) == theirs.compute_output_shape((None, *x.shape[1:]))
    for one, other in zip(mine.layers, theirs.layers, strict=True):
        if type(one).__name__ != "InputLayer":
            np.testing.assert_allclose(one(x), other(x), atol=1e-6)
            assert one.output.shape == other.output.shape
            x = np.asarray(other(x))


def test_batch_normalization_in_training() -> None:
    mine, theirs = ours.layers.BatchNormalization(momentum=0.9), keras.layers.BatchNormalization(momentum=0.9)
    for _ in range(2):
        np.testing.assert_allclose(mine(X, training=True), theirs(X, training=True), atol=1e-9)
    for one, other in zip(mine.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)


LAYERS: list[Callable[[ModuleType], Any]] = [
    lambda k: k.layers.Dense(3, "relu", kernel_regularizer="l2", bias_initializer="ones"),
    lambda k: k.layers.Activation("relu"),
    lambda k: k.layers.ReLU(6.0),
    lambda k: k.layers.LeakyReLU(0.1),
    lambda k: k.layers.PReLU(),
    lambda k: k.layers.ELU(),
    lambda k: k.layers.Softmax(),
    lambda k: k.layers.Dropout(0.1),
    lambda k: k.layers.BatchNormalization(momentum=0.9),
    lambda k: k.layers.LayerNormalization(),
    lambda k: k.layers.Rescaling(0.1, 2.0),
    lambda k: k.layers.Normalization(axis=None),
    lambda k: k.layers.Flatten(),
    lambda k: k.layers.Reshape((2, 3)),
    lambda k: k.layers.Add(),
    lambda k: k.layers.InputLayer((3,)),
]
# What Keras has in configs besides, and is not offered here.
NOT_HERE = {
    "quantization_config", "input_axes", "output_axes", "alpha_constraint", "shared_axes", "renorm", "renorm_clipping",
    "renorm_momentum", "rms_scaling",
}  # fmt: skip


def known(config: Any) -> Any:
    """A config without what is not offered, as JSON has it."""
    if isinstance(config, dict):
        return {key: known(value) for key, value in config.items() if key not in NOT_HERE}
    return [known(one) for one in config] if isinstance(config, list) else config


@pytest.mark.parametrize("make", LAYERS)
def test_configs_of_layers(make: Callable[[ModuleType], Any]) -> None:
    mine, theirs = make(ours), make(keras)
    config = json.loads(json.dumps(mine.get_config()))
    expected = known(json.loads(json.dumps(theirs.get_config())))
    if "axis" in config:
        config["axis"], expected["axis"] = (np.ravel(c["axis"]).tolist() for c in (config, expected))
    assert config == expected
    again = type(mine).from_config(json.loads(json.dumps(theirs.get_config())))
    assert again.get_config() == mine.get_config()


@pytest.mark.parametrize("make", MODELS)
def test_configs_of_models(make: Callable[[ModuleType], Any]) -> None:
    mine, theirs = make(ours), make(keras)
    again = ours.models.model_from_json(theirs.to_json())
    assert table(again) == table(theirs)
    assert [one.name for one in again.layers] == [one.name for one in theirs.layers]
    assert json.loads(mine.to_json()).keys() - {"compile_config"} == json.loads(theirs.to_json()).keys() - {
        "compile_config"
    }
    back = keras.models.model_from_json(again.to_json())
    assert table(back) == table(theirs)


@pytest.mark.parametrize("make", [nested, functional, images, unbuilt])
def test_clones(make: Callable[[ModuleType], Any]) -> None:
    def seen(k: ModuleType, is_compiled: bool, **options: Any) -> Any:
        model = make(k)
        if is_compiled:
            model.compile(k.optimizers.SGD(0.5, momentum=0.5), "mse", metrics=["mae"])
            model.optimizer.learning_rate = 0.25
        made = k.models.clone_model(model, **{name: option(k) for name, option in options.items()})
        optimizer = made.optimizer if made.compiled else None
        ends = None if optimizer is None else (float(optimizer.learning_rate), int(optimizer.iterations))
        return made.name, made.built, made.compiled, ends, [one.name for one in made.layers]

    def again(_: ModuleType) -> Callable[[Any], Any]:
        return lambda layer: type(layer).from_config({**layer.get_config(), "name": f"{layer.name}_2"})

    for is_compiled in (False, True):
        assert seen(ours, is_compiled) == seen(keras, is_compiled)
        assert seen(ours, is_compiled, clone_function=again) == seen(keras, is_compiled, clone_function=again)


@pytest.mark.parametrize("name", ["SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "AdamW", "Nadam", "Lion"])
def test_configs_of_optimizers(name: str) -> None:
    mine, theirs = (getattr(k.optimizers, name)(0.5, clipnorm=1.0) for k in (ours, keras))
    assert mine.get_config() == theirs.get_config()
    assert mine.name == theirs.name and float(mine.learning_rate) == float(theirs.learning_rate)
    assert ours.optimizers.deserialize(keras.optimizers.serialize(theirs)) == mine


@pytest.mark.parametrize("axis", [-1, None, 1, (1, 2), 2])
def test_normalization(axis: Any) -> None:
    data = X[:, :2] if axis in (-1, 1) else X.reshape(-1, 2, 2)
    layers = [k.layers.Normalization(axis=axis) for k in (ours, keras)]
    for layer in layers:
        layer.adapt(data)
    mine, theirs = layers
    np.testing.assert_allclose(mine(data), theirs(data), atol=1e-6)
    assert mine.mean.shape == tuple(theirs.mean.shape)
    for one, other in zip(mine.get_weights(), theirs.get_weights(), strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_normalization_of_one_column() -> None:
    column = X[:, 0]
    results = []
    for k in (ours, keras):
        layer = k.layers.Normalization(input_shape=[1], axis=None)
        layer.adapt(column)
        model = k.Sequential([layer, k.layers.Dense(1, kernel_initializer="ones")])
        results.append(np.asarray(model.predict(column, verbose=0)))
    np.testing.assert_allclose(*results, atol=1e-6)


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
@pytest.mark.parametrize("distribution", ["truncated_normal", "untruncated_normal", "uniform"])
def test_variance_scaling(mode: str, distribution: str) -> None:
    drawn = [np.asarray(k.initializers.VarianceScaling(2.0, mode, distribution, seed=1)((300, 100)))
             for k in (ours, keras)]  # fmt: skip
    np.testing.assert_allclose(drawn[0].std(), drawn[1].std(), rtol=0.02)
    np.testing.assert_allclose(np.abs(drawn[0]).max(), np.abs(drawn[1]).max(), rtol=0.15)


ARRAYS = [
    "allclose(A, A)", "append(A, A)", "append(A, A, axis=1)", "bincount(I)", "cbrt(A)", "copy(A)", "corrcoef(A)",
    "cross(A[:, :3], A[:, 1:])", "cumprod(A, axis=1)", "deg2rad(A)", "diag(A[0])", "diagflat(A[0])", "diff(A)",
    "diff(A, n=2, axis=0)", "digitize(A, [0.0, 0.5])", "dstack([A, A])", "geomspace(1.0, 8.0, 4)", "heaviside(A, 0.5)",
    "hstack([A, A])", "inner(A, A)", "isin(I, [1, 2])", "kron(A, A)", "logspace(0.0, 1.0, 3)", "median(A, axis=1)",
    "meshgrid(I, I)", "nan_to_num(N)", "nanmax(N, axis=0)", "nanmean(N)", "nanmedian(N)", "nanmin(N, axis=0)",
    "nanstd(N)", "nansum(N, axis=1)", "nanvar(N)", "nonzero(A > 0)", "pad(A, ((1, 0), (0, 2)))", "percentile(A, 30.0)",
    "ptp(A, axis=0)", "quantile(A, 0.3, axis=1)", "quantile(A, [0.1, 0.9])", "rad2deg(A)", "rot90(A)", "signbit(A)",
    "tensordot(A, A, axes=2)", "trace(A)", "tri(3)", "vdot(A[0], A[1])", "vstack([A, A])", "histogram(A[0], bins=3)",
    "empty((2, 3)).shape", "empty_like(A).shape",
]  # fmt: skip


@pytest.mark.parametrize("call", ARRAYS)
def test_operations_on_arrays_alone(call: str) -> None:
    given = {"A": X[:4], "I": np.array([0, 2, 2, 5]), "N": np.where(X[:4] > 0.5, np.nan, X[:4])}
    mine, theirs = (eval(f"ops.{call}", {**given, "ops": k.ops}) for k in (ours, keras))
    pairs = zip(mine, theirs, strict=True) if isinstance(mine, (tuple, list)) else [(mine, theirs)]
    for one, other in pairs:
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-6, atol=1e-7)  # Keras: some in float32


TREES: list[Any] = [3, None, [], [1, (2, 3), {"b": 4, "a": [5]}], {"z": 1, "y": {"x": (2,), "w": None}}, ({}, [()])]


@pytest.mark.parametrize("structure", TREES)
def test_trees(structure: Any) -> None:
    def seen(tree: Any) -> Any:
        leaves = tree.flatten(structure)
        return (leaves, tree.flatten_with_path(structure), tree.is_nested(structure), tree.lists_to_tuples(structure),
                tree.map_structure(lambda x: [x], structure), tree.pack_sequence_as(structure, range(len(leaves))),
                tree.map_structure(lambda x, y: (x, y), structure, structure))  # fmt: skip

    assert seen(ours.tree) == seen(keras.tree)


@pytest.mark.parametrize("data", [X, [X], (X, X), [X, X, X]])
def test_items_of_iterables(data: Any) -> None:
    mine, theirs = (k.utils.unpack_x_y_sample_weight(data) for k in (ours, keras))
    assert [one is other for one, other in zip(mine, theirs, strict=True)] == [True] * 3
    packed = [k.utils.pack_x_y_sample_weight(*mine) for k in (ours, keras)]
    assert type(packed[0]) is type(packed[1]) and len(packed[0]) == len(packed[1])


@pytest.mark.parametrize("name", ["regularizers", "constraints", "losses"])
def test_serialize_and_deserialize(name: str) -> None:
    make = {"regularizers": lambda m: m.L1L2(0.1, 0.2), "constraints": lambda m: m.MaxNorm(3.0, axis=0),
            "losses": lambda m: m.CategoricalCrossentropy(label_smoothing=0.1)}[name]  # fmt: skip
    mine, theirs = getattr(ours, name), getattr(keras, name)
    config = mine.serialize(make(mine))
    assert config["class_name"] == theirs.serialize(make(theirs))["class_name"]
    for one in (config, json.loads(json.dumps(theirs.serialize(make(theirs))))):
        assert mine.deserialize(one).get_config() == make(mine).get_config()
    if name == "losses":
        assert mine.serialize(mine.mean_squared_error) == theirs.serialize(theirs.mean_squared_error)
        for one in ("mean_squared_error", theirs.serialize(theirs.mean_squared_error)):
            assert mine.deserialize(one) is mine.mean_squared_error


COMPILED: dict[str, Callable[[ModuleType], dict[str, Any]]] = {
    "names": lambda k: {"optimizer": "adam", "loss": "mse", "metrics": ["mae"], "loss_weights": 0.5},
    "objects": lambda k: {
        "optimizer": k.optimizers.SGD(k.optimizers.schedules.CosineDecay(0.1, 20), momentum=0.9),
        "loss": k.losses.MeanAbsoluteError(reduction="sum"), "metrics": [k.metrics.RootMeanSquaredError(name="rmse")],
    },
    "functions": lambda k: {"loss": k.losses.mean_squared_error, "weighted_metrics": [k.metrics.mean_absolute_error]},
}  # fmt: skip


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_models(name: str) -> None:
    """Each reads what the other one wrote of `compile`, and trains by it."""
    random = np.random.default_rng(0)
    x, y = random.normal(size=(40, 4)), random.normal(size=(40, 2))
    histories = []
    ours.backend.set_floatx("float64")
    try:
        for k, other in ((ours, keras), (keras, ours)):
            inputs = k.Input((4,), name="inputs")
            model = k.Model(inputs, k.layers.Dense(2, name="outputs")(inputs))
            model.compile(**COMPILED[name](k))
            read = other.models.model_from_json(model.to_json())
            read.set_weights([np.linspace(-1, 1, 8).reshape(4, 2), np.zeros(2)])
            histories.append(read.fit(x, y, epochs=3, batch_size=10, shuffle=False, verbose=0).history)
    finally:
        ours.backend.set_floatx("float32")
    assert histories[0].keys() == histories[1].keys()
    for key, values in histories[0].items():  # Keras writes learning rates as numbers of float32
        np.testing.assert_allclose(histories[1][key], values, rtol=1e-6)
