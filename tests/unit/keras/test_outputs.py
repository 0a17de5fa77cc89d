"""Models with several outputs: `compile` and `fit`, callbacks, files, and nets whose tensors are used anywhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastdense import keras
from fastdense.keras import Input, Model, layers, ops
from fastdense.keras.layers import Dense
from fastdense.keras.outputs import MultiOutput, Outputs

RANDOM = np.random.default_rng(0)
A, B = RANDOM.normal(size=(60, 3)), RANDOM.normal(size=(60, 2))
Y, KIND = np.sin(A[:, :1]) + B[:, :1], RANDOM.integers(0, 3, 60)
QUIET: dict[str, Any] = {"verbose": 0, "batch_size": 20}


def wide_and_deep() -> Any:
    wide, deep = Input((3,), name="wide"), Input((2,), name="deep")
    hidden = Dense(6, "tanh", name="hidden")(deep)
    output = Dense(1, name="price")(layers.concatenate([wide, hidden]))
    return Model([wide, deep], [output, Dense(3, "softmax", name="kind")(hidden)])


def compiled(**options: Any) -> Any:
    model = wide_and_deep()
    losses = ["mse", "sparse_categorical_crossentropy"]
    model.compile(**{"optimizer": "adam", "loss": losses, "metrics": [["mae"], ["accuracy"]], **options})
    return model


def test_it_is_one_net() -> None:
    model = compiled()
    assert isinstance(model, MultiOutput) and model.name.startswith("functional") and model.fastdense.outputs == 4
    assert model.count_params() == 2 * 6 + 6 + 9 + 1 + 6 * 3 + 3  # the hidden layer is there once
    assert model.output_names == ["price", "kind"] and model.output_shape == [(None, 1), (None, 3)]
    assert [one.shape for one in model.outputs] == [(None, 1), (None, 3)] and len(model.output) == 2
    assert model.metrics_names == ["loss", "price_loss", "kind_loss", "kind_accuracy", "price_mae"]
    price, kind = model.predict([A, B], verbose=0)
    hidden = np.tanh(B @ model.get_layer("hidden").get_weights()[0])
    kernel, bias = model.get_layer("price").get_weights()
    np.testing.assert_allclose(price, np.hstack([A, hidden]) @ kernel + bias, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(kind.sum(axis=1), 1, rtol=1e-6)


def test_forms_of_targets_and_weights() -> None:
    w = RANDOM.uniform(0, 2, 60)
    forms: list[tuple[Any, Any]] = [
        ([Y, KIND], [w, w]), ((Y[:, 0], KIND[:, None]), w), ({"kind": KIND, "price": Y}, {"price": w, "kind": w}),
        ([Y.tolist(), KIND.tolist()], w.tolist()),
    ]  # fmt: skip
    model = compiled()
    found = [model.evaluate([A, B], y, sample_weight=weights, verbose=0) for y, weights in forms]
    for one in found[1:]:
        np.testing.assert_allclose(one, found[0], rtol=1e-6)
    assert model.test_on_batch([A, B], [Y, KIND], w) == pytest.approx(found[0])
    by_name = model.evaluate([A, B], [Y, KIND], sample_weight=w, verbose=0, return_dict=True)
    assert list(by_name) == sorted(by_name) and by_name["price_mae"] == pytest.approx(found[0][-1])


def test_one_loss_for_all_and_weights_by_name() -> None:
    x = Input((3,))
    model = Model(x, [Dense(2, name="a")(x), Dense(2, name="b")(x)])
    model.compile("sgd", "mse", loss_weights={"b": 3.0, "a": 0.5})
    targets = np.hstack([Y, Y])
    loss, a, b = model.evaluate(A, [targets, targets], verbose=0)
    assert loss == pytest.approx(0.5 * a + 3 * b)


def test_callbacks_see_every_output(tmp_path: Path) -> None:
    model = compiled()
    stop = keras.callbacks.EarlyStopping("val_kind_loss", min_delta=100, mode="min", restore_best_weights=True)
    keep = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", "val_price_mae", save_best_only=True)
    log = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    history = model.fit([A, B], [Y, KIND], epochs=20, validation_split=0.3, callbacks=[stop, keep, log], **QUIET)
    assert len(history.epoch) == 2  # no epoch improves it by 100
    assert (tmp_path / "best.keras").exists()
    assert list(history.history)[:5] == ["kind_accuracy", "kind_loss", "loss", "price_loss", "price_mae"]
    assert (tmp_path / "log.csv").read_text().startswith("epoch,kind_accuracy,kind_loss,loss,price_loss,price_mae,val_")


def test_training_goes_on_after_loading(tmp_path: Path) -> None:
    model = compiled(metrics={"kind": [keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2"), "accuracy"]})
    model.fit([A, B], [Y, KIND], epochs=2, **QUIET)
    model.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras")
    assert isinstance(again, MultiOutput) and again.output_names == model.output_names
    histories = [one.fit([A, B], [Y, KIND], epochs=2, **QUIET).history for one in (model, again)]
    assert histories[0] == histories[1] and "kind_top2" in histories[0]
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for one, other in zip(copy.predict([A, B], verbose=0), model.predict([A, B], verbose=0), strict=True):
        np.testing.assert_array_equal(one, other)
    assert '"output_layers": [["price", 0, 0], ["kind", 0, 0]]' in model.to_json()


def test_losses_of_ones_own_take_class_numbers() -> None:
    """The columns of the targets are known with the first data."""

    def nll(y_true: Any, y_pred: Any) -> Any:
        return -ops.sum(ops.one_hot(y_true, 3) * ops.log(y_pred), axis=-1)

    model, expected = compiled(loss=["mse", nll], metrics=None), compiled(metrics=None)
    expected.set_weights(model.get_weights())
    for one in (model, expected):
        one.fit([A, B], [Y, KIND], epochs=2, shuffle=False, **QUIET)
    for one, other in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
    with pytest.raises(
        ValueError, match="the targets of output 'kind' have 3 columns, and had 1 before. Its loss needs"
    ):
        model.fit([A, B], [Y, np.eye(3)[KIND]], **QUIET)


def test_data_sets_of_batches() -> None:
    class Rows(keras.utils.PyDataset):
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> Any:
            own = slice(20 * index, 20 * index + 20)
            return {"wide": A[own], "deep": B[own]}, (Y[own], KIND[own]), [np.full(20, 2.0), np.ones(20)]

    streamed, whole = compiled(), compiled()
    whole.set_weights(streamed.get_weights())
    streamed.fit(Rows(), epochs=2, shuffle=False, verbose=0, validation_data=Rows())
    whole.fit([A, B], [Y, KIND], sample_weight=[np.full(60, 2.0), np.ones(60)], epochs=2, shuffle=False, **QUIET)
    for one, other in zip(streamed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(streamed.predict(Rows(), verbose=0)[0]) == 60
    assert streamed.evaluate(Rows(), verbose=0)[0] > 0


def test_calls_on_tensors_and_arrays() -> None:
    model = compiled()
    price, kind = model([A, B])
    assert price.shape == (60, 1) and kind.shape == (60, 3) and type(price).__name__ == "Tensor"
    wide, deep = Input((3,)), Input((2,))
    outer = Model([wide, deep], layers.concatenate(model([wide, deep])))
    np.testing.assert_allclose(outer.predict([A, B], verbose=0), np.hstack([price, kind]), rtol=1e-6)


def test_outputs_that_other_layers_use_and_inputs_that_are_outputs() -> None:
    x = Input((2, 2), name="x")
    keras.utils.set_random_seed(0)  # small steps of full batches: the loss falls from any weights, if not for ever
    h = Dense(3, "tanh", name="h")(layers.Flatten()(x))
    model = Model(x, {"end": Dense(1, name="e")(h), "h": h, "same": x})
    rows = RANDOM.normal(size=(9, 2, 2)).astype(np.float32)
    found = model.predict(rows, verbose=0)
    assert list(found) == ["end", "h", "same"] and found["same"].shape == (9, 2, 2)
    np.testing.assert_array_equal(found["same"], rows)
    kernel, bias = model.get_layer("e").get_weights()
    np.testing.assert_allclose(found["end"], found["h"] @ kernel + bias, rtol=1e-5, atol=1e-6)
    model.compile("sgd", {"end": "mse", "h": "mse", "same": None})
    history = model.fit(rows, {"end": np.ones((9, 1)), "h": np.zeros((9, 3))}, epochs=30, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    np.testing.assert_allclose(history["loss"], np.add(history["end_loss"], history["h_loss"]), rtol=1e-6)


def test_tensors_may_be_used_anywhere_behind_them() -> None:
    """Of one output, too: a and b are merged, and used once more each."""
    keras.utils.set_random_seed(0)
    x = Input((3,))
    a, b = Dense(2, name="a")(x), Dense(2, name="b")(x)
    both = layers.Add()([a, b])
    model = Model(x, Dense(1, name="end")(layers.Concatenate()([both, a, layers.Subtract()([both, b]), x])))
    assert [layer.name for layer in model.layers][:3] == [model.layers[0].name, "a", "b"]
    left, right = (A @ model.get_layer(name).get_weights()[0] for name in ("a", "b"))
    kernel, bias = model.get_layer("end").get_weights()
    expected = np.hstack([left + right, left, left, A]) @ kernel + bias
    np.testing.assert_allclose(model.predict(A, verbose=0), expected, rtol=1e-4, atol=1e-5)
    model.compile("adam", "mse")
    losses = model.fit(A, Y, epochs=10, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    again = Model.from_config(model.get_config())
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(again.predict(A, verbose=0), model.predict(A, verbose=0))


def test_such_models_are_called_on_other_tensors() -> None:
    a, b = Input((3,)), Input((2,))
    h, g = Dense(2, name="h")(a), Dense(2, name="g")(b)
    both = layers.Add(name="both")([h, g])
    end = Dense(1, name="end")(layers.Concatenate()([both, h, layers.Multiply()([both, g])]))
    for inner in (Model([a, b], end), Model([a, b], [end, Dense(2, name="further")(both)])):
        wide, deep = Input((3,)), Input((2,))
        outer = Model([wide, deep], inner([wide, deep]))
        found, expected = outer.predict([A, B], verbose=0), inner.predict([A, B], verbose=0)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
        assert [one.name for one in outer.layers][2:] == [one.name for one in inner.layers][2:]
        assert outer.count_params() == inner.count_params()


def test_layers_that_are_called_twice_only_predict() -> None:
    a, b, tower = Input((3,)), Input((3,)), Dense(2, name="tower")
    model = Model([a, b], [tower(a), tower(b)])
    assert isinstance(model, Outputs)


def two(**options: Any) -> Any:
    return lambda: compiled(**options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            two(loss=["mse"]),
            "compile: loss is a list of 1, and there are 2 outputs. Give an entry for each of 'price', 'kind'",
        ),
        (
            two(loss={"price": "mse"}),
            "compile: loss lacks 'kind'. Give an entry for each of the outputs 'price', 'kind'; None",
        ),
        (two(loss={"price": "mse", "knd": "mse"}), "compile: loss has the key 'knd'. Did you mean 'kind'?"),
        (two(loss=["mse", "mze"]), "'mze' is not a known loss"),
        (
            two(loss_weights=0.5),
            "compile: loss_weights=0.5, and there are 2 outputs. Give a list with a factor for each",
        ),
        (two(loss_weights=[1.0]), "compile: loss_weights is a list of 1, and there are 2 outputs."),
        (
            two(loss_weights={"kind": 1.0}),
            "compile: loss_weights lacks 'price'. Give a factor for each output with a loss.",
        ),
        (two(loss_weights=[1.0, -1.0]), "compile: loss_weights['kind']=-1"),
        (two(metrics=["mae"]), "compile: metrics is a list of 1, and there are 2 outputs."),
        (two(metrics="mae"), "compile: metrics='mae', and there are 2 outputs. Give a list with an entry for each"),
        (
            two(weighted_metrics={"x": "mae"}),
            "compile: weighted_metrics has the key 'x'. The outputs are 'price', 'kind'.",
        ),
        (
            two(loss=["mse", None]),
            "compile: metrics are given for the output 'kind', which has no loss and so no targets",
        ),
        (
            two(loss=["sparse_categorical_crossentropy", "mse"]),
            "compile: output 'price': the net ends with sparse_categorical_crossentropy of one output",
        ),
        (lambda: compiled().fit([A, B], [Y], verbose=0), "fit: y is a list of 1; there are 2 heads, 'price', 'kind'"),
        (
            lambda: compiled().fit([A, B], np.hstack([Y, Y]), verbose=0),
            "functional: y is an array of shape (60, 2), and there are 2 outputs. Pass a list of arrays for 'price',",
        ),
        (lambda: compiled().fit([A, B], {"kind": KIND}, verbose=0), "fit: y lacks 'price'; each head with a loss"),
        (
            lambda: compiled().fit([A, B], [Y, KIND], class_weight={0: 1}, verbose=0),
            "class_weight was given for a net with",
        ),
        (
            lambda: Model(
                Input((3,), name="i"), (lambda x: [Dense(1)(x), Dense(1)(Input((2,), name="j"))])(Input((3,)))
            ),
            "outputs is not computed from inputs",
        ),
    ],
)
def test_messages(call: Callable[[], Any], message: str) -> None:
    keras.backend.clear_session()
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        call()


def test_outputs_of_one_name_need_others() -> None:
    x = Input((3,))
    model = Model(x, [Dense(1, name="a")(x), keras.Sequential([Dense(1, name="b")], name="a")(x)])
    with pytest.raises(
        ValueError, match="compile: two outputs are called 'a'. Give the layers that they come from names"
    ):
        model.compile("sgd", "mse")


def test_same_bits_from_one_seed() -> None:
    runs: list[list[NDArray[Any]]] = []
    for _ in range(2):
        keras.utils.set_random_seed(5)
        model = compiled()
        model.fit([A, B], [Y, KIND], epochs=2, **QUIET)
        runs.append(model.get_weights())
    for one, other in zip(*runs, strict=True):
        np.testing.assert_array_equal(one, other)
