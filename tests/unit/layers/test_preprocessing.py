"""Layers that encode columns of the data in front of a net: values, places, adapt, and what a model does with them."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastdense as fd
from fastdense.arrays import TooLargeError
from fastdense.layers import Preprocessing, preprocessing
from fastdense.layers.preprocessing import encoded

Array = Any


# ---- values ----------------------------------------------------------------------------------------------------------


def test_log1p() -> None:
    x = np.array([[0.0, -3.0, 5.0], [7.0, 1e3, -1.0]])
    np.testing.assert_allclose(fd.Log1p().encode(x), np.sign(x) * np.log1p(np.abs(x)), rtol=1e-15)
    made = fd.Log1p([2.0, 0.5], columns=[0, 2], offset=[0.0, 1.0]).encode(x)
    np.testing.assert_allclose(made, [[0, -3, np.log(9)], [np.log(4.5), 1e3, -np.log(5)]], rtol=1e-15)


def test_one_hot() -> None:
    x = np.array([[7.0, 0.5, -1.0], [2.0, 0.1, 0.0], [5.0, 0.2, -1.0]])
    layer = fd.OneHot(columns=[0, 2]).adapt(x[:2])
    assert layer.adapted and layer.codes == [[2.0, 7.0], [-1.0, 0.0]]
    wanted = [[0, 1, 0.5, 1, 0], [1, 0, 0.1, 0, 1], [0, 0, 0.2, 1, 0]]  # 5 was not among the rows of adapt
    np.testing.assert_array_equal(layer.encode(x), wanted)
    same = fd.OneHot(columns=[0, 1], codes=[5, 0.5])  # the same codes for both, in this order
    np.testing.assert_array_equal(same.encode(x), [[0, 0, 0, 1, -1], [0, 0, 0, 0, 0], [1, 0, 0, 0, -1]])
    assert fd.OneHot().adapt(np.array([[True], [False]])).codes == [[0.0, 1.0]]


def test_periodic() -> None:
    x = np.array([[0.0, 1.0], [6.0, 2.0], [23.0, 3.0]])
    angle = 2 * np.pi * x[:, 0] / 24
    made = fd.Periodic(1 / 24, columns=0, keep=False).encode(x)
    np.testing.assert_allclose(made, np.column_stack([np.sin(angle), np.cos(angle), x[:, 1]]), atol=1e-15)
    both = fd.Periodic([[0.5], [0.25, 0.125]], columns=[0, 1]).encode(x)
    assert both.shape == (3, 3 + 5)
    np.testing.assert_array_equal(both[:, [0, 3]], x)
    np.testing.assert_allclose(both[:, 2], [1, 1, -1], atol=1e-15)  # even or odd
    np.testing.assert_allclose(both[:, 6], np.sin(np.pi * x[:, 1] / 4), rtol=1e-15)


def test_many_periods_cost_no_digits() -> None:
    x = np.array([[2.0**40], [2.0**40 + 1]])
    np.testing.assert_array_equal(fd.Periodic(0.5, keep=False).encode(x)[:, 1], [1, -1])


@pytest.mark.parametrize("layer", [fd.Log1p(1e-300), fd.Periodic(1e300), fd.OneHot(codes=[0.0])])
def test_numbers_of_any_size_stay_finite(layer: Preprocessing) -> None:
    x = np.array([[1e308], [-1e308], [5e-324], [0.0]])
    assert np.isfinite(layer.encode(x)).all()


@pytest.mark.parametrize(
    ("given", "wanted"), [("bool", "f4"), ("int16", "f4"), ("float32", "f4"), ("int32", "f8"), ("float64", "f8")]
)
def test_columns_that_pass_lose_no_digit(given: str, wanted: str) -> None:
    x = np.array([[1, 1], [0, 1]]).astype(given)
    if given in ("int32", "float64"):
        x[0, 0] = 16_777_217  # more digits than float32 has
    made = encoded([fd.Log1p(columns=1)], x)
    assert made.dtype == wanted
    np.testing.assert_array_equal(made[:, 0], x[:, 0])
    assert encoded([], x) is x


def test_blocks_give_the_same_bits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(101, 3)).round(1)
    layers = [fd.Log1p(columns=2), fd.Periodic([1.0, 3.0], columns=1), fd.OneHot(columns=0).adapt(x)]
    whole = encoded(layers, x)
    monkeypatch.setattr(preprocessing, "BLOCK_ELEMENTS", 64)
    np.testing.assert_array_equal(encoded(layers, np.asfortranarray(x)), whole)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert fd.OneHot(columns=0).adapt(mapped) == layers[2]
    np.testing.assert_array_equal(encoded(layers, mapped), whole)


# ---- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fd.Log1p(0.0), "Log1p: scale=0.0 is out of range. Give a finite number above 0."),
        (lambda: fd.Log1p([1.0, -1.0]), "Log1p: scale[1]=-1.0 is out of range. Give a finite number above 0."),
        (lambda: fd.Log1p(columns=[]), "Log1p: columns is empty. Give at least one column, or None for all."),
        (lambda: fd.Log1p(columns=[1, 0]), "Log1p: columns=[1, 0]. Give each column once, in ascending order."),
        (lambda: fd.Log1p(columns=-1), "Log1p: columns=-1 is out of range. Give a whole number, at least 0."),
        (lambda: fd.OneHot(codes=[]), "OneHot: codes is empty. Give at least one number."),
        (lambda: fd.OneHot(codes=[[1, 2], [1, 1]]), "OneHot: codes holds a code twice. Give each once."),
        (lambda: fd.Periodic(0), "Periodic: frequencies[0]=0 is out of range. Give a finite number above 0."),
        (
            lambda: fd.OneHot().adapt(np.zeros(3)),
            "OneHot.adapt: x has shape (3,). Give an array of shape (rows, columns), not empty.",
        ),
        (lambda: fd.OneHot(2).adapt([[1, 2]]), "OneHot.adapt: x has 2 columns, and there is no column 2."),
        (
            lambda: fd.OneHot(1).adapt([[np.nan, 2], [3, np.inf]]),
            "OneHot.adapt: x holds inf at row 1, column 1. Remove or fill such values first.",
        ),
        (
            lambda: fd.OneHot(1).adapt(np.arange(30_000).reshape(-1, 2)),
            "OneHot.adapt: column 1 of x holds more than 10,000 values. Give columns= of codes alone.",
        ),
        (
            lambda: fd.Model([fd.OneHot(), fd.Dense(1)], inputs=2),
            "OneHot: its codes are not known. Call adapt(x) before the model is made, or give codes=.",
        ),
        (
            lambda: fd.Model([fd.Log1p(columns=4), fd.Dense(1)], inputs=4),
            "Log1p: columns holds 4, but its input has 4 columns. Give numbers from 0 to 3.",
        ),
        (
            lambda: fd.Model([fd.Log1p([1, 2, 3]), fd.Dense(1)], inputs=2),
            "Log1p: scale is given for 3 columns, but the layer encodes 2. Give it for each of them, or once for all.",
        ),
        (
            lambda: fd.Model([fd.Dense(2), fd.Log1p(), fd.Dense(1)], inputs=2),
            "Model: layers[1] is a Log1p; it encodes columns of the data, so it must stand before all other layers",
        ),
        (
            lambda: fd.Model([fd.Residual([fd.Log1p()]), fd.Dense(1)], inputs=2),
            "Model: layers[0].layers[0] is a Log1p; it encodes columns of the data, so it must stand before all other "
            "layers",
        ),
        (
            lambda: fd.Model([fd.Normalization(), fd.Log1p(), fd.Dense(1)], inputs=2),
            "Model: layers[1] is a Log1p; it encodes columns of the data, so it must stand before all other layers",
        ),
        (
            lambda: fd.Model([fd.Log1p()], inputs=2),
            "Model: layers holds no layer after its Log1p; a net needs at least one, e.g. [..., fd.Dense(10)]",
        ),
    ],
)
def test_messages(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()


def test_any_number_of_inputs_costs_no_list() -> None:
    assert fd.Log1p().output_width(10**15) == 10**15
    assert fd.Periodic(1.0).output_width(10**15) == 3 * 10**15


def test_more_than_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastdense.arrays.memory_limit", lambda: 10**6)
    with pytest.raises(TooLargeError, match=r"x after encoding, 1000 rows of 600 takes 0\.00\d+ GiB"):
        encoded([fd.OneHot(codes=range(600))], np.zeros((1000, 1)))


# ---- in a model ------------------------------------------------------------------------------------------------------


def data(rows: int = 200) -> tuple[Array, Array]:
    random = np.random.default_rng(1)
    x = np.column_stack(
        [random.integers(0, 9, rows) * 5, random.normal(size=rows), np.exp(2 * random.normal(size=rows))]
    )
    return x, np.sin(x[:, :1]) + np.cos(2 * np.pi * x[:, 1:2]) + np.log(x[:, 2:])


def layers(x: Array) -> list[Any]:
    front = [fd.Log1p(columns=2), fd.Periodic(1.0, columns=1, keep=False), fd.OneHot(columns=0).adapt(x)]
    return [*front, fd.Normalization(), fd.Dense(8, "tanh"), fd.Dense(1)]


def made(x: Array, front: bool = True, **options: Any) -> fd.Model:
    """A net with layers in front, or the same net for rows that are encoded already."""
    every = layers(x)
    chosen = every if front else every[3:]
    model = fd.Model(chosen, inputs=x.shape[1] if front else 12, seed=3, **options)
    model.compile(fd.Adam(0.01), "mse", metrics=["mae"])
    return model


@pytest.mark.parametrize("device", ["cpu", "reference"])
def test_a_model_computes_what_it_does_for_encoded_rows(device: str) -> None:
    """All calls, bit by bit: a net behind layers in front is the net for the encoded rows."""
    x, y = data()
    z = encoded(layers(x)[:3], x)  # type: ignore[arg-type]
    raw, plain = made(x, device=device), made(x, front=False, device=device)
    options: Any = {"epochs": 2, "validation_split": 0.2, "verbose": 0}
    assert raw.fit(x, y, **options, n_threads=1).history == plain.fit(z, y, **options, n_threads=2).history
    assert raw.fit(x, y, validation_data=(x, y), verbose=0).history == plain.fit(
        z, y, validation_data=(z, y), verbose=0
    ).history  # fmt: skip
    assert raw.evaluate(x, y) == plain.evaluate(z, y)
    assert raw.train_on_batch(x, y) == plain.train_on_batch(z, y)
    for rows in (len(x), 1):
        np.testing.assert_array_equal(raw.predict(x[:rows]), plain.predict(z[:rows]))
    (loss, gradient), (wanted, parts) = raw.loss_and_grad(x, y), plain.loss_and_grad(z, y)
    assert loss == wanted and all(map(np.array_equal, gradient, parts))
    raw.place(x).solve_output(x, y)
    plain.place(z).solve_output(z, y)
    assert all(map(np.array_equal, raw.get_weights(), plain.get_weights()))
    outputs = raw.activations(x)
    assert [out.shape[1] for out in outputs] == raw.net.widths == [3, 4, 12, 12, 8, 1]
    for out, same in zip(outputs[3:], plain.activations(z), strict=True):
        np.testing.assert_array_equal(out, same)
    np.testing.assert_array_equal(outputs[2], z.astype(outputs[2].dtype))


def test_a_population_has_the_members_that_fit_gives() -> None:
    x, y = data()
    model = made(x)
    nets = fd.fit_many(model, x, y, starts=3, epochs=3, seed=3, validation_data=(x, y), verbose=0)
    single = model.clone(seed=4)
    single.fit(x, y, epochs=3, verbose=0)
    np.testing.assert_allclose(nets.predict(x)[1], single.predict(x), rtol=1e-4, atol=1e-5)
    assert nets.evaluate(x, y)[1] == pytest.approx(single.evaluate(x, y)[0], rel=1e-4)
    np.testing.assert_array_equal(nets[1].predict(x[:5]), nets[1].predict(x)[:5])
    assert len(nets.outcomes().labels) == 3
    fd.fit_many(model, x, y, starts=2, epochs=2, tries=4, start="data", verbose=0)
    fd.fit_many(model, x, y, starts=2, epochs=2, callbacks=[fd.callbacks.ReviveDeadUnits()], verbose=0)
    model.fit(x, y, epochs=2, starts=3, verbose=0)
    assert np.isfinite(fd.cross_validate(made(x), x, y, epochs=1, folds=2, verbose=0).scores["loss"]).all()


def test_summary_probes_and_config() -> None:
    x, y = data()
    model = made(x)
    lines: list[str] = []
    model.summary(print_fn=lines.append)
    assert re.search(r"one_hot \(OneHot\) +\(rows, 12\) +0\n", lines[0])
    assert len(model.get_weights()) == 6 and model.inputs == 3
    probes = model.fit(x, y, epochs=2, probes=True, verbose=0).probes
    assert probes is not None and [layer.name for layer in probes.layers] == ["normalization", "dense", "dense_1"]
    again = fd.Model.from_config(model.get_config())
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(again.predict(x), model.predict(x))


def test_the_model_has_its_own_copy() -> None:
    x, _ = data()
    layer = fd.OneHot(columns=0).adapt(x)
    model = fd.Model([layer, fd.Dense(1)], inputs=3)
    before = model.predict(x)
    layer.adapt(x[:1])
    np.testing.assert_array_equal(model.predict(x), before)


def test_a_large_prediction_is_encoded_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    x, _ = data()
    model = made(x)
    whole, sizes = model.predict(x), []
    plain = model.net.encoded
    monkeypatch.setattr(model.net, "encoded", lambda rows: (sizes.append(len(rows)), plain(rows))[1])
    monkeypatch.setattr(preprocessing, "BLOCK_ELEMENTS", 12 * 64)
    np.testing.assert_allclose(model.predict(x), whole, rtol=1e-6)
    assert sizes == [64, 64, 64, 8]


def test_rows_are_encoded_once_for_a_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = data()
    model = fd.Model([fd.Log1p(), fd.Dense(1)], inputs=3)
    model.compile("sgd", "mse")
    calls: list[int] = []
    plain = fd.Log1p.encode
    monkeypatch.setattr(fd.Log1p, "encode", lambda self, rows: (calls.append(len(rows)), plain(self, rows))[1])
    counted = fd.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)  # one call of the engine per epoch
    model.fit(x, y, epochs=5, validation_split=0.25, callbacks=[counted], verbose=0)
    assert calls == [150, 50]


_columns = st.sampled_from([None, 0, [1], [0, 2]])
_number = st.floats(1e-6, 1e6)
_front = st.lists(
    st.one_of(
        st.builds(fd.Log1p, _number, _columns, st.floats(-10, 10)),
        st.builds(fd.Periodic, _number | st.lists(_number, min_size=1, max_size=3), _columns, st.booleans()),
        st.builds(fd.OneHot, _columns, st.lists(st.floats(-3, 3), min_size=1, max_size=4, unique=True)),
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(_front, st.sampled_from(["float32", "float64"]))
def test_files_pickles_and_copies_predict_the_same_bits(
    tmp_path_factory: pytest.TempPathFactory, front: list[Any], dtype: str
) -> None:
    x, y = data(40)
    model = fd.Model([*front, fd.Normalization(), fd.Dense(4, "tanh"), fd.Dense(1)], inputs=3, dtype=dtype)
    model.compile("adam", "mse")
    model.fit(x, y, verbose=0)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    model.save(path)
    wanted = model.predict(x)
    for other in (fd.load(path), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert other.layers == model.layers
        np.testing.assert_array_equal(other.predict(x), wanted)
    loaded = fd.load(path)
    assert loaded.fit(x, y, verbose=0).history == model.fit(x, y, verbose=0).history


def test_no_counterpart_in_keras(tmp_path: Path) -> None:
    from fastdense import keras

    x, _ = data()
    with pytest.raises(ValueError, match=r"^save: layers\[0\] \(Log1p\) is no layer that Keras has\. Save to"):
        made(x).save(tmp_path / "model.keras")
    made(x).save(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="the model holds a Log1p layer, which has no counterpart here"):
        keras.models.load_model(tmp_path / "model.safetensors")
    with pytest.raises(keras.NotOffered, match=r"fastdense\.OneHot does this"):
        keras.layers.CategoryEncoding  # noqa: B018
