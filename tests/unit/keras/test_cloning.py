"""`keras.models.clone_model`: what a clone takes over, and what it begins anew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastdense import keras

layers = keras.layers
X = np.random.RandomState(0).uniform(-1, 1, (24, 3)).astype(np.float32)
Y = X[:, :1] - X[:, 1:2]


def compiled(loss: Any = "mse") -> Any:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, "tanh", name="a"), layers.Dense(1)], name="m")
    model.compile(keras.optimizers.Adam(0.3), loss, metrics=["mae"], weighted_metrics=["mse"])
    return model


def branching() -> Any:
    a, b = keras.Input((3,), name="left"), keras.Input((2,), name="right")
    first = layers.Dense(4, name="first")(a)
    joined = layers.Concatenate()([first, b, layers.Dense(2)(first)])
    model = keras.Model([a, b], layers.Dense(1)(layers.Activation("relu")(joined)), name="net")
    model.compile("sgd", "mse")
    return model


def test_a_clone_is_compiled_with_an_optimizer_that_begins_anew() -> None:
    model = compiled()
    model.fit(X, Y, epochs=3, verbose=0)
    model.optimizer.learning_rate = 0.05
    made = keras.models.clone_model(model)
    assert made.compiled and made.name == "m" and [layer.name for layer in made.layers][0] == "a"
    assert made.optimizer is not model.optimizer and made.optimizer.learning_rate == 0.05
    assert int(made.optimizer.iterations) == 0 and int(model.optimizer.iterations) == 3
    assert not any(
        np.array_equal(a, b) for a, b in zip(made.get_weights(), model.get_weights(), strict=True) if a.ndim > 1
    )
    made.set_weights(model.get_weights())
    given = made.evaluate(X, Y, verbose=0, return_dict=True)
    assert given == model.evaluate(X, Y, verbose=0, return_dict=True) and set(given) == {"loss", "mae", "mse"}
    before = model.get_weights()
    made.fit(X, Y, epochs=2, verbose=0)
    np.testing.assert_equal(model.get_weights(), before)
    assert int(made.optimizer.iterations) == 2 and int(model.optimizer.iterations) == 3


def test_a_clone_trains_as_a_new_model_with_the_same_weights() -> None:
    weights = compiled().get_weights()
    fresh, model = compiled(), compiled()
    model.fit(X, Y, epochs=3, verbose=0)
    made = keras.models.clone_model(model)
    for one in (fresh, made):
        one.set_weights(weights)
        one.fit(X, Y, epochs=2, batch_size=8, shuffle=False, verbose=0)
    np.testing.assert_equal(made.get_weights(), fresh.get_weights())


def test_not_compiled_stays_not_compiled() -> None:
    for model in (keras.Sequential([layers.Dense(1)]), keras.Sequential([keras.Input((3,)), layers.Dense(1)])):
        made = keras.models.clone_model(model)
        assert not made.compiled and made.built == model.built


@pytest.mark.parametrize("loss", [lambda t, p: keras.ops.mean((t - p) ** 4, axis=-1), keras.losses.Huber(0.5)])
def test_losses_and_metrics_that_are_not_registered(loss: Any) -> None:
    model = compiled(loss)
    made = keras.models.clone_model(model)
    made.set_weights(model.get_weights())
    assert made.evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)


def test_frozen() -> None:
    model = compiled()
    model.get_layer("a").trainable = False
    assert [one.trainable for one in keras.models.clone_model(model).layers] == [False, True]
    model.trainable = False
    made = keras.models.clone_model(model)
    assert not made.trainable and not made.trainable_weights


def test_clone_function() -> None:
    def wider(layer: Any) -> Any:
        return layers.Dense(layer.units + (layer.name == "a"), name=f"{layer.name}_new")

    made = keras.models.clone_model(compiled(), clone_function=wider)
    assert [layer.name[-4:] for layer in made.layers] == ["_new"] * 2 and made.layers[0].units == 3 and made.compiled
    made = keras.models.clone_model(branching(), clone_function=lambda one: type(one).from_config(one.get_config()))
    assert [type(one).__name__ for one in made.layers] == [type(one).__name__ for one in branching().layers]


def test_call_function() -> None:
    def with_dropout(layer: Any, x: Any) -> Any:
        out = layer(x)
        return layers.Dropout(0.5)(out) if isinstance(layer, layers.Dense) else out

    made = keras.models.clone_model(branching(), call_function=with_dropout)
    kinds = [type(one).__name__ for one in made.layers]
    assert kinds == ["InputLayer", "Dense", "Dropout", "Dense", "InputLayer", "Dropout", "Concatenate", "Activation",
                     "Dense", "Dropout"]  # fmt: skip
    with pytest.raises(ValueError, match="clone_model: call_function is for models of inputs and outputs"):
        keras.models.clone_model(compiled(), call_function=with_dropout)


def test_branches_and_input_tensors() -> None:
    model = branching()
    data = [X, X[:, :2]]
    for tensors in (None, [keras.Input((3,), name="u"), keras.Input((2,), name="v")]):
        made = keras.models.clone_model(model, tensors)
        made.set_weights(model.get_weights())
        np.testing.assert_array_equal(made.predict(data, verbose=0), model.predict(data, verbose=0))
        assert (
            made.compiled
            and made.name == "net"
            and made.input_names == (["left", "right"] if tensors is None else ["u", "v"])
        )
    with pytest.raises(ValueError, match="and net has 2 inputs. Give a result of keras.Input for each"):
        keras.models.clone_model(model, keras.Input((3,)))
    made = keras.models.clone_model(compiled(), keras.Input((3,), name="u"))
    assert made.input_names == ["u"] if hasattr(made, "input_names") else made.source.name == "u"


def test_a_layer_that_is_called_twice() -> None:
    start, relu = keras.Input((3,)), layers.Activation("relu")
    left = relu(layers.Dense(2)(start))
    model = keras.Model(start, layers.Add()([left, relu(layers.Dense(2)(start))]))
    made = keras.models.clone_model(model)
    made.set_weights(model.get_weights())
    np.testing.assert_array_equal(made.predict(X, verbose=0), model.predict(X, verbose=0))


@pytest.mark.parametrize("recursive", [False, True])
def test_models_in_models(recursive: bool) -> None:
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="deep")], name="inner")
    seen: list[str] = []

    def note(layer: Any) -> Any:
        seen.append(layer.name)
        return type(layer).from_config(layer.get_config())

    made = keras.models.clone_model(
        keras.Sequential([inner, layers.Dense(1, name="last")]), None, note, None, recursive
    )
    assert seen == [*(["deep"] if recursive else ["inner"]), "last"]
    assert made.layers[0] is not inner and made.layers[0].name == "inner"


def test_classes_of_clones() -> None:
    class Named(keras.Model):
        pass

    class Stack(keras.Sequential):
        pass

    start = keras.Input((3,))
    assert type(keras.models.clone_model(Named(start, layers.Dense(1)(start)))) is Named
    assert type(keras.models.clone_model(Stack([start, layers.Dense(1)]))) is keras.Sequential


def test_a_model_with_a_call_of_its_own() -> None:
    class Own(keras.Model):
        def __init__(self, units: int) -> None:
            super().__init__()
            self.units, self.hidden, self.last = units, layers.Dense(units), layers.Dense(1)

        def call(self, x: Any) -> Any:
            return self.last(self.hidden(x))

        def get_config(self) -> dict[str, Any]:
            return {"units": self.units}

        @classmethod
        def from_config(cls, config: Any, custom_objects: Any = None) -> Any:
            return cls(**config)

    model = Own(4)
    model.compile("adam", "mse")
    made = keras.models.clone_model(model)
    assert made.compiled and made.hidden is not model.hidden and made.hidden.units == 4
    with pytest.raises(ValueError, match=r"clone_model: clone_function is for models without a call\(\)"):
        keras.models.clone_model(model, clone_function=lambda layer: layer)
    with pytest.raises(TypeError, match="clone_model: model is 3. A model of fastdense.keras is needed"):
        keras.models.clone_model(3)
