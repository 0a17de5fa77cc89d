"""Nets with several outputs: the same script in Keras and in `fastdense.keras`, the same numbers, names and lines."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from fastdense import keras as ours
from tests.peers.keras64 import in_both, keras
from tests.peers.problem import Agree

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's __array__

RANDOM = np.random.default_rng(3)
A, B = RANDOM.normal(size=(120, 5)), RANDOM.normal(size=(120, 4))
Y = np.sin(A[:, :1]) + B[:, :1] * B[:, 1:2]
KIND = np.argmax(np.stack([A[:, 0], A[:, 1] + B[:, 0], B[:, 2]], axis=1), axis=1)
BINARY = (Y[:, 0] > 0.2).astype(float)
Script = tuple[Any, Any, Any, dict[str, Any]]  # model, x, y, further arguments of fit and evaluate


def wide_and_deep(k: ModuleType) -> Script:
    """The deep part ends in an output of its own, and is part of the main one, too."""
    wide, deep = k.Input(shape=(5,), name="wide"), k.Input(shape=(4,), name="deep")
    hidden = k.layers.Dense(12, activation="tanh")(k.layers.Dense(12, activation="tanh")(deep))
    output = k.layers.Dense(1, name="main")(k.layers.concatenate([wide, hidden]))
    aux = k.layers.Dense(1, name="aux")(hidden)
    model = k.Model(inputs=[wide, deep], outputs=[output, aux])
    model.compile("adam", loss=["mse", "mse"], loss_weights=[0.9, 0.1], metrics=[["mae"], ["mae", "mse"]])
    return model, [A, B], (Y, Y), {}


def kinds(k: ModuleType) -> Script:
    """Heads of different kinds, everything by name."""
    inputs = k.Input((5,))
    h = k.layers.Dense(8, activation="gelu")(inputs)
    price = k.layers.Dense(1, name="price")(h)
    kind = k.layers.Dense(3, activation="softmax", name="kind")(k.layers.Dense(6, activation="elu")(h))
    sold = k.layers.Dense(1, activation="sigmoid", name="sold")(h)
    model = k.Model(inputs, [price, kind, sold])
    model.compile(
        k.optimizers.RMSprop(0.01),
        loss={"price": "huber", "kind": "sparse_categorical_crossentropy", "sold": "binary_crossentropy"},
        loss_weights={"price": 2.0, "kind": 0.5, "sold": 1.0},
        metrics={"kind": ["accuracy", k.metrics.SparseTopKCategoricalAccuracy(2)], "sold": k.metrics.AUC(name="auc")},
        weighted_metrics={"kind": "accuracy", "price": ["mse"]},
    )
    weights = [RANDOM.uniform(0, 2, 120) for _ in range(3)]
    return model, A, [Y, KIND, BINARY], {"sample_weight": weights}


def one_loss(k: ModuleType) -> Script:
    """One loss for all outputs, an output with users behind it, normalizations and penalties."""
    inputs = k.Input((5,))
    h = k.layers.BatchNormalization()(k.layers.Dense(6, activation="tanh", kernel_regularizer="l2")(inputs))
    first = k.layers.Dense(2, name="first")(h)
    second = k.layers.Dense(2, name="second", activity_regularizer=k.regularizers.L2(0.01))(
        k.layers.add([first, first])
    )
    model = k.Model(inputs, [second, first])
    model.compile(k.optimizers.SGD(0.005, momentum=0.9), "mse")
    return model, A, [np.hstack([Y, BINARY[:, None]])] * 2, {"sample_weight": RANDOM.uniform(0, 2, 120)}


def only_predicts(k: ModuleType) -> Script:
    """An output without a loss: that of the other one is reported once."""
    inputs = k.Input((5,))
    h = k.layers.Dense(6, activation="tanh")(inputs)
    model = k.Model(inputs, [k.layers.Dense(1, name="score")(h), k.layers.Dense(2, name="code")(h)])
    model.compile("adam", loss=["mse", None], metrics=[["mae"], []])
    return model, A, [Y, np.hstack([Y, Y])], {}


def own_losses(k: ModuleType) -> Script:
    """A loss and a metric of the user's for one head, logits for another."""

    def twice(y_true: Any, y_pred: Any) -> Any:
        return k.ops.mean(2.0 * k.ops.square(y_true - y_pred), axis=-1)

    inputs = k.Input((5,))
    h = k.layers.Dense(6, activation="tanh")(inputs)
    model = k.Model(inputs, [k.layers.Dense(1, name="score")(h), k.layers.Dense(3, name="kind")(h)])
    logits = k.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    model.compile("adam", loss=[twice, logits], metrics=[[twice], ["accuracy"]], loss_weights=[0.3, 1.0])
    return model, A, [Y, np.eye(3)[KIND]], {}


def dict_of_outputs(k: ModuleType) -> Script:
    """Outputs by names of their own."""
    inputs = k.Input((5,))
    h = k.layers.Dense(6, activation="tanh")(inputs)
    model = k.Model(inputs, {"z": k.layers.Dense(1)(h), "b": k.layers.Dense(2)(h)})
    model.compile("adam", loss={"b": "mae", "z": "mse"}, metrics={"z": ["mae"], "b": ["mse"]})
    return model, A, {"z": Y, "b": np.hstack([Y, Y])}, {}


SCRIPTS = [wide_and_deep, kinds, one_loss, only_predicts, own_losses, dict_of_outputs]


def flat(value: Any) -> list[Any]:
    return [value[key] for key in sorted(value)] if isinstance(value, dict) else list(value)


def words(table: str) -> str:
    """A summary without lines, sizes in bytes, and the numbers of names that a process has given before."""
    table = re.sub(r"\([\d,.]+ [KM]?B\)|_\d+", "", table)
    return " ".join(re.findall(r"[\w()\[\],.:-]+", table))


@pytest.mark.parametrize("script", SCRIPTS)
def test_same_script_same_numbers(script: Any, agree: Agree, capsys: pytest.CaptureFixture[str]) -> None:
    def with_random_numbers(k: ModuleType) -> Any:
        global RANDOM
        RANDOM = np.random.default_rng(4)
        return script(k)

    keras.utils.set_random_seed(0)  # from other first values a net may diverge, in both
    (theirs, x, y, further), mine = in_both(with_random_numbers)
    assert [type(one).__name__ for one in mine.layers] == [type(one).__name__ for one in theirs.layers]
    assert type(mine.output_shape) is type(theirs.output_shape)
    assert mine.output_shape == theirs.output_shape
    mine.set_weights(theirs.get_weights())
    agree(flat(mine.predict(x, verbose=0)), flat(theirs.predict(x, verbose=0)))
    both = (mine, theirs)
    options: dict[str, Any] = {"epochs": 4, "batch_size": 25, "shuffle": False, "validation_data": (x, y), "verbose": 0}
    histories = [model.fit(x, y, **options, **further).history for model in both]
    assert list(histories[0]) == list(histories[1])
    for key, values in histories[1].items():
        agree([histories[0][key]], [values])
    agree([mine.evaluate(x, y, verbose=0, **further)], [theirs.evaluate(x, y, verbose=0, **further)])
    found = [model.evaluate(x, y, verbose=0, return_dict=True) for model in both]
    assert list(found[0]) == list(found[1])
    agree([list(found[0].values())], [list(found[1].values())])
    agree([mine.train_on_batch(x, y)], [theirs.train_on_batch(x, y)])
    agree(flat(mine.predict(x, verbose=0)), flat(theirs.predict(x, verbose=0)))
    agree(mine.get_weights(), theirs.get_weights())
    capsys.readouterr()
    lines = []
    for model in both:
        model.fit(x, y, epochs=2, batch_size=60, shuffle=False, verbose=2)
        lines.append(re.sub(r"- \d+s - \S+/step", "", capsys.readouterr().out))
    assert lines[0] == lines[1]
    summaries: list[str] = []
    for model in both:
        model.summary(print_fn=lambda text, **_: summaries.append(words(text)))
    assert summaries[0] == summaries[1]


@pytest.mark.parametrize("script", [wide_and_deep, kinds, dict_of_outputs])
def test_configs_are_those_of_keras(script: Any) -> None:
    """A model made again from its own config, and from Keras's."""
    theirs, x, *_ = script(keras)
    ours.backend.set_floatx("float64")
    try:
        mine, *_ = script(ours)
        given, own = theirs.get_config(), mine.get_config()
        ends = [[one[0] for one in flat(config["output_layers"])] for config in (given, own)]
        names = [{one["name"]: i for i, one in enumerate(config["layers"])} for config in (given, own)]
        assert [names[0][one] for one in ends[0]] == [names[1][one] for one in ends[1]]
        again = [
            ours.Model.from_config(given),
            ours.models.clone_model(mine),
            ours.models.model_from_json(mine.to_json()),
        ]
        expected = flat(mine.predict(x, verbose=0))
        for made in again:
            made.set_weights(mine.get_weights())
            for a, b in zip(flat(made.predict(x, verbose=0)), expected, strict=True):
                np.testing.assert_array_equal(a, b)
    finally:
        ours.backend.set_floatx("float32")


@pytest.mark.parametrize("kind", [list, tuple, dict])
def test_subclasses(kind: Any, agree: Agree) -> None:
    """A subclass whose ``call()`` returns several outputs: names are Keras's for a dict."""

    def make(k: ModuleType) -> Any:
        class Two(k.Model):  # type: ignore[name-defined, misc]
            def __init__(self) -> None:
                super().__init__()
                self.hidden, self.kind = k.layers.Dense(6, activation="tanh"), k.layers.Dense(3, activation="softmax")
                self.price = k.layers.Dense(1, name="price")

            def call(self, x: Any) -> Any:
                h = self.hidden(x)
                kinds, price = self.kind(h), self.price(k.ops.sin(h))
                return {"kind": kinds, "price": price} if kind is dict else kind([kinds, price])

        model = Two()
        given: Any = ["sparse_categorical_crossentropy", "mse"], [1.0, 0.5], [["accuracy"], ["mae"]]
        if kind is dict:
            given = [dict(zip(("kind", "price"), one, strict=True)) for one in given]
        model.compile(k.optimizers.Adam(0.01), given[0], loss_weights=given[1], metrics=given[2])
        model(A[:1])
        return model

    y: Any = {"kind": KIND, "price": Y} if kind is dict else kind([KIND, Y])
    ours.backend.set_floatx("float64")
    try:
        mine, theirs = make(ours), make(keras)
        mine.set_weights([np.asarray(one) for one in theirs.get_weights()])
        histories = [one.fit(A, y, batch_size=30, epochs=3, shuffle=False, verbose=0).history for one in (mine, theirs)]
        found, want = (one.predict(A, verbose=0) for one in (mine, theirs))
        scores = [one.evaluate(A, y, batch_size=120, verbose=0) for one in (mine, theirs)]
    finally:
        ours.backend.set_floatx("float32")
    assert type(found) is type(want)
    agree(*([one[key] for key in one] if kind is dict else list(one) for one in (found, want)), tolerance=1e-9)  # type: ignore[call-arg]
    if kind is dict:
        assert list(histories[0]) == list(histories[1])
        agree(list(histories[0].values()), list(histories[1].values()), tolerance=1e-9)
        agree([scores[0]], [scores[1]], tolerance=1e-9)
    agree([histories[0]["loss"]], [histories[1]["loss"]], tolerance=1e-9)
    agree([sorted(scores[0])], [sorted(scores[1])], tolerance=1e-9)
