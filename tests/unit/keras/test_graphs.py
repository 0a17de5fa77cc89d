"""Models with branches and several inputs in `fastdense.keras`; tests/peers compares them with Keras's own."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastdense import keras
from fastdense.keras import Input, Model, Sequential, layers
from fastdense.keras.layers import Add, Concatenate, Dense

RNG = np.random.default_rng(1)
A, B = RNG.normal(size=(40, 3)), RNG.normal(size=(40, 2, 2))
Y = A[:, :1] + B[:, 0, :1]
COLUMN = RNG.normal(size=40)


def two_inputs() -> Model:
    a, b = Input((3,), name="a"), Input((2, 2), name="b")
    hidden = Dense(4, activation="tanh", name="hidden")(layers.Flatten(name="flat")(b))
    model = Model([a, b], Dense(1, name="out")(Concatenate(name="both")([a, hidden])))
    model.compile("adam", "mse")
    return model


def test_branches_are_columns_of_one_x() -> None:
    model = two_inputs()
    assert isinstance(model, Model) and repr(model.fastdense.layers[0]).startswith("Branches([[SelectColumns([0, 1, 2]")
    kernel, bias, last, end = model.get_weights()
    hidden = np.tanh(B.reshape(40, 4) @ kernel + bias)
    np.testing.assert_allclose(
        model.predict([A, B], verbose=0), np.hstack([A, hidden]) @ last + end, rtol=1e-4, atol=1e-6
    )
    assert [one.name for one in model.layers] == ["b", "flat", "a", "hidden", "both", "out"]
    assert model.input_shape == [(None, 3), (None, 2, 2)] and model.output_shape == (None, 1)
    assert model.get_layer("hidden").output.shape == (None, 4) and model.get_layer("both").output.shape == (None, 7)
    assert [one.shape for one in model.get_layer("both").input] == [(None, 3), (None, 4)]


def test_data_by_order_and_by_name() -> None:
    model = two_inputs()
    validation = ([A[:5], B[:5].reshape(5, 4)], Y[:5])
    history = model.fit({"b": B, "a": A}, Y, validation_data=validation, epochs=2, verbose=0).history
    assert len(history["val_loss"]) == 2
    np.testing.assert_array_equal(model.predict((A, B), verbose=0), model.predict({"a": A, "b": B}, verbose=0))
    assert model.evaluate([A, B], Y, verbose=0) == model.evaluate({"a": A, "b": B}, Y, verbose=0)
    np.testing.assert_array_equal(np.asarray(model([A, B])), model.predict([A, B], verbose=0))
    assert isinstance(model.train_on_batch([A, B], Y), float)
    one = Input((1,), name="one")
    single = Model(one, Dense(1)(one))
    np.testing.assert_array_equal(
        single.predict([COLUMN[:, None]], verbose=0), single.predict({"one": COLUMN}, verbose=0)
    )


def test_weights_of_layers_in_branches() -> None:
    model = two_inputs()
    hidden = model.get_layer("hidden")
    hidden.set_weights([np.ones((4, 4)), np.zeros(4)])
    hidden.bias.assign(np.full(4, 2.0))
    assert model.get_weights()[0].sum() == 16 and model.get_weights()[1].sum() == 8
    model.fit([A, B], Y, epochs=1, verbose=0)
    inside = Model(model.inputs, hidden.output)
    kernel, bias = hidden.get_weights()
    np.testing.assert_allclose(
        inside.predict([A, B], verbose=0), np.tanh(B.reshape(40, 4) @ kernel + bias), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(np.asarray(hidden(B.reshape(40, 4))), inside.predict([A, B], verbose=0), rtol=1e-5)
    given = [np.full((4, 2), 0.5), np.ones(2)]
    x = Input((4,))
    started = Model(x, Add()([Dense(2, weights=given)(x), Dense(2)(x)]))
    assert started.get_weights()[0].sum() == 4 and started.get_weights()[2].std() > 0


def test_a_larger_model_takes_over_the_weights() -> None:
    model = two_inputs()
    model.fit([A, B], Y, epochs=1, verbose=0)
    before = model.predict([A, B], verbose=0)
    larger = Model(model.inputs, Dense(2)(model.output))
    larger.compile("sgd", "mse")
    kernel, bias = larger.layers[-1].get_weights()
    np.testing.assert_allclose(larger.predict([A, B], verbose=0), before @ kernel + bias, rtol=1e-4)
    larger.fit([A, B], np.hstack([Y, Y]), epochs=3, verbose=0)
    assert not np.allclose(model.predict([A, B], verbose=0), before)
    model.fit([A, B], Y, verbose=0)  # holds the weights again
    kernel, bias = larger.layers[-1].get_weights()
    after = model.predict([A, B], verbose=0)
    np.testing.assert_allclose(larger.predict([A, B], verbose=0), after @ kernel + bias, rtol=1e-4)


def test_normalization_in_a_branch() -> None:
    a, b = Input((3,)), Input((4,))
    scale = layers.Normalization()
    model = Model([a, b], Concatenate()([scale(a), b]))
    np.testing.assert_allclose(model.predict([A, B.reshape(40, 4)], verbose=0)[:, :3], A, rtol=1e-6)
    scale.adapt(3 * A + 2)
    found = model.predict([3 * A + 2, B.reshape(40, 4)], verbose=0)[:, :3]
    np.testing.assert_allclose(found, (A - A.mean(axis=0)) / A.std(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scale.get_weights()[0], (3 * A + 2).mean(axis=0), rtol=1e-5)


def test_files_and_configs(tmp_path: Path) -> None:
    model = two_inputs()
    model.fit([A, B], Y, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert [one.name for one in loaded.layers] == [one.name for one in model.layers]
    np.testing.assert_array_equal(loaded.predict({"a": A, "b": B}, verbose=0), model.predict([A, B], verbose=0))
    losses = [one.fit([A, B], Y, epochs=1, shuffle=False, verbose=0).history["loss"] for one in (model, loaded)]
    assert losses[0] == losses[1]
    for made in (keras.models.clone_model(model), keras.models.model_from_json(model.to_json())):
        made.set_weights(model.get_weights())
        np.testing.assert_array_equal(made.predict([A, B], verbose=0), model.predict([A, B], verbose=0))


def test_layers_of_the_same_tensors_are_merged_first() -> None:
    x = Input((3,))
    middle = Dense(4, activation="relu")(x)
    parts = [Dense(2)(middle), x, Dense(3)(middle)]
    model = Model(x, Concatenate()(parts))
    ends = [Model(x, part) for part in (parts[0], parts[2])]
    first, last = (one.predict(A, verbose=0) for one in ends)
    np.testing.assert_allclose(model.predict(A, verbose=0), np.hstack([first, A, last]), rtol=1e-5, atol=1e-6)
    again = keras.models.clone_model(model)
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(again.predict(A, verbose=0), model.predict(A, verbose=0))


def test_a_model_with_two_inputs_as_a_layer() -> None:
    inner = two_inputs()
    a, b = Input((3,)), Input((2, 2))
    outer = Model([b, a], Dense(1)(inner([Dense(3)(a), b])))
    kernel, bias = next(one for one in outer.layers if one.name.startswith("dense")).get_weights()
    middle = np.asarray(inner([A @ kernel + bias, B]))
    last, end = outer.layers[-1].get_weights()
    np.testing.assert_allclose(outer.predict([B, A], verbose=0), middle @ last + end, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("merge", "function"),
    [
        (layers.concatenate, lambda a, b: np.hstack([a, b])),
        (layers.add, np.add),
        (layers.subtract, np.subtract),
        (layers.multiply, np.multiply),
        (layers.average, lambda a, b: (a + b) / 2),
        (layers.maximum, np.maximum),
        (layers.minimum, np.minimum),
    ],
)
def test_merges_of_tensors_and_arrays(merge: Any, function: Any) -> None:
    a, b = Input((3,)), Input((3,))
    model = Model([a, b], merge([a, b]))
    expected = function(A, A[::-1])
    np.testing.assert_allclose(model.predict([A, A[::-1]], verbose=0), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.asarray(merge([A, A[::-1]])), expected)


def shared() -> Any:
    a, b, layer = Input((3,)), Input((3,)), Dense(2, name="tower")
    return Model([a, b], Concatenate()([layer(a), layer(b)]))


def shared_outputs() -> Any:
    a, b, tower = Input((3,)), Input((3,)), Dense(2, name="tower")
    return Model([a, b], [tower(a), tower(b)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            shared,
            "Model: the layer 'tower' is needed in several places, and layers that share weights are not offered.",
        ),
        (
            lambda: shared_outputs().compile("adam", "mse"),
            "has 2 outputs, 'tower', 'tower', and is no single net that could be trained. Model: the layer 'tower' is",
        ),
        (
            lambda: Add(name="sum")([Input((3,)), Input((2,))]),
            "sum: rows have the shapes (3,), (2,). All must have the",
        ),
        (lambda: Concatenate(name="c")([Input((3,)), Input((2, 2))]), "c: rows have the shapes (3,), (2, 2), and only"),
        (lambda: Concatenate(axis=0), "Concatenate: axis=0 is not offered, only -1."),
        (lambda: Add(name="sum")(Input((3,))), "sum: called on <KerasTensor"),
        (
            lambda: layers.subtract([Input((3,))] * 3, name="less"),
            "less: called on a list of 3 tensors. Subtract takes two",
        ),
        (
            lambda: two_inputs().fit([A], Y),
            "fit: x is 1 arrays, and functional has 2 inputs. Pass a list of 2 arrays, in",
        ),
        (lambda: two_inputs().predict(A), "predict: x is a ndarray, and functional has 2 inputs."),
        (
            lambda: two_inputs().fit({"a": A, "c": B}, Y),
            "fit: x has the key 'c'. The inputs of functional are 'a', 'b'",
        ),
        (lambda: two_inputs().fit({"a": A}, Y), "fit: x lacks 'b'. The inputs of functional are 'a', 'b'"),
        (lambda: two_inputs().fit([A, A], Y), "fit: the input 'b' has shape (40, 3). Rows of shape (2, 2) are needed."),
        (lambda: two_inputs().predict([A, B[:9]]), "predict: the inputs have 40, 9 rows. All must have as many"),
        (
            lambda: Model([Input((3,))], Concatenate()([Input((3,), name="q"), Input((2,), name="r")])),
            "from 'q', 'r', too",
        ),
    ],
)
def test_messages(make: Callable[[], Any], message: str) -> None:
    keras.backend.clear_session()
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        make()


def test_summary(capsys: pytest.CaptureFixture[str]) -> None:
    two_inputs().summary()
    text = capsys.readouterr().out
    assert "both (Concatenate)" in text and "hidden (Dense)" in text and " Total params: 28" in text


def test_sequential_of_a_model_with_branches() -> None:
    x = Input((3,))
    model = Sequential([Model(x, Add()([x, Dense(3)(x)])), Dense(1)])
    model.compile("sgd", "mse")
    model.fit(A, Y, epochs=1, verbose=0)
    kernel, bias, last, end = model.get_weights()
    np.testing.assert_allclose(model.predict(A, verbose=0), (A + A @ kernel + bias) @ last + end, rtol=1e-4, atol=1e-6)


class WideAndDeep(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.deep, self.both, self.out = Dense(4, activation="relu"), Concatenate(), Dense(1)

    def call(self, x: Any) -> Any:
        return self.out(self.both([x, self.deep(x)]))


def test_a_call_with_branches() -> None:
    model = WideAndDeep()
    model.compile("adam", "mse")
    model.fit(A, Y, epochs=1, verbose=0)
    kernel, bias, last, end = model.get_weights()
    expected = np.hstack([A, np.maximum(A @ kernel + bias, 0)]) @ last + end
    np.testing.assert_allclose(model.predict(A, verbose=0), expected, rtol=1e-4, atol=1e-6)
    says = r"WideAndDeep: its call\(\) cannot be made .*: called on a list of 2 tensors. It takes"
    with pytest.raises(TypeError, match=says):
        WideAndDeep().predict((A, B), verbose=0)
    with pytest.raises(ValueError, match=r"x is a tuple of arrays; .* has one input. Pass one array, or make"):
        model.predict((A, B), verbose=0)


# ---- a call() of the user's own with several inputs ------------------------------------------------------------------


class TwoInputs(keras.Model):
    """`kind` says what call() is given; `training` goes to a Dropout that is missing without."""

    def __init__(self, kind: str, rate: float = 0.0) -> None:
        super().__init__(name="two")
        self.kind, self.deep, self.join = kind, Dense(4, "tanh"), Concatenate()
        self.drop, self.last = keras.layers.Dropout(rate), Dense(1, name="last")

    def call(self, x: Any, training: bool | None = None) -> Any:
        wide, deep = (x["wide"], x["deep"]) if self.kind == "dict" else x
        joined = self.join([wide, self.deep(deep)])
        return self.last(self.drop(joined, training=training) if training else joined)


WIDE, DEEP = A, B.reshape(len(B), -1)
STRUCTURES: dict[str, Any] = {"list": [WIDE, DEEP], "tuple": (WIDE, DEEP), "dict": {"wide": WIDE, "deep": DEEP}}


def same_net() -> Any:
    wide, deep = Input((WIDE.shape[1],)), Input((DEEP.shape[1],))
    return Model([wide, deep], Dense(1)(Concatenate()([wide, Dense(4, activation="tanh")(deep)])))


@pytest.mark.parametrize("kind", STRUCTURES)
def test_a_call_with_several_inputs(kind: str, tmp_path: Path) -> None:
    x, y = STRUCTURES[kind], np.ravel(Y)[: len(WIDE)].reshape(len(WIDE), -1)
    model, other = TwoInputs(kind), same_net()
    model.build({"wide": (None, *WIDE.shape[1:]), "deep": (None, *DEEP.shape[1:])} if kind == "dict" else
                [(None, *WIDE.shape[1:]), (None, *DEEP.shape[1:])])  # fmt: skip
    weights = other.get_weights()
    assert [w.shape for w in model.get_weights()] == [w.shape for w in weights]
    model.set_weights(weights)
    for one, data in ((model, x), (other, [WIDE, DEEP])):
        one.compile(keras.optimizers.SGD(0.1), "mse")
        one.fit(data, y, epochs=3, shuffle=False, verbose=0, validation_data=(data, y))
    for one, its in zip(model.get_weights(), other.get_weights(), strict=True):  # columns in another order for a dict
        np.testing.assert_allclose(one, its, rtol=1e-5, atol=1e-6)
    expected = other.predict([WIDE, DEEP], verbose=0)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-6)
    assert model.evaluate(x, y, verbose=0) == pytest.approx(other.evaluate([WIDE, DEEP], y, verbose=0), rel=1e-4)
    assert {type(one).__name__ for one in model.layers} == {"Dense", "Concatenate", "Dropout"}
    model.save(tmp_path / "two.keras")
    loaded = keras.models.load_model(tmp_path / "two.keras")
    data = x if kind == "dict" else [WIDE, DEEP]
    np.testing.assert_array_equal(loaded.predict(data, verbose=0), model.predict(x, verbose=0))


def test_such_a_model_is_made_from_the_first_data() -> None:
    y = np.ravel(Y)[: len(WIDE)].reshape(len(WIDE), -1)
    model = TwoInputs("tuple", rate=0.5)
    assert not model.built
    model.compile("adam", "mse")
    model.fit((((WIDE, DEEP), y) for _ in range(3)), steps_per_epoch=1, epochs=2, verbose=0)
    assert model.built and model.count_params() == 4 * (DEEP.shape[1] + 1) + WIDE.shape[1] + 4 + 1
    assert not np.array_equal(model((WIDE, DEEP), training=True), model((WIDE, DEEP)))  # units are dropped
    with pytest.raises(ValueError, match="x is a ndarray, and two has 2 inputs. Pass a list of 2 arrays"):
        model.predict(WIDE, verbose=0)
    with pytest.raises(ValueError, match="x is 3 arrays, and two has 2 inputs"):
        model.predict([WIDE] * 3, verbose=0)
    with pytest.raises(ValueError, match="predict: x is .* Give a list, a tuple or a dict of arrays"):
        TwoInputs("dict").predict({"wide": [WIDE, WIDE]}, verbose=0)


def test_such_a_model_in_a_net() -> None:
    wide, deep = Input((WIDE.shape[1],)), Input((DEEP.shape[1],))
    inner = TwoInputs("list")
    outer = Model([wide, deep], Dense(2)(inner([wide, deep])))
    kernel, bias = outer.get_weights()[-2:]
    expected = inner.predict([WIDE, DEEP], verbose=0) @ kernel + bias
    np.testing.assert_allclose(outer.predict([WIDE, DEEP], verbose=0), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="two: called on 3 tensors, and it has 2 inputs"):
        inner([wide, deep, deep])


def test_branches_that_depend_on_training(tmp_path: Path) -> None:
    class Skip(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.drop, self.add, self.last = Dense(3), keras.layers.Dropout(0.5), Add(), Dense(1)

        def call(self, x: Any, training: bool = False) -> Any:
            made = self.inner(x)
            return self.last(self.add([x, self.drop(made) if training else made]))

    class Other(Skip):
        def call(self, x: Any, training: bool = False) -> Any:
            return self.last(self.add([x, self.inner(x)]) if training else x)

    model = Skip()
    model.compile("adam", "mse")
    model.fit(A, np.ravel(Y)[: len(A)], verbose=0)
    model.save(tmp_path / "skip.keras")
    loaded = keras.models.load_model(tmp_path / "skip.keras")
    np.testing.assert_array_equal(loaded.predict(A, verbose=0), model.predict(A, verbose=0))
    with pytest.raises(TypeError, match=r"call\(\) gives another net with training=True"):
        Other().predict(A, verbose=0)
