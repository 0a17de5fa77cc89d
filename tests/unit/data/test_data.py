"""What data is accepted, and that it is taken as it is: no copies, no changes to the user's arrays."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastdense as fd
from fastdense.arrays import as_array
from fastdense.data import checks as data
from fastdense.data.checks import check_x, check_y
from fastdense.data.prepare import rows_to_train_on
from fastdense.data.rows import Shape
from fastdense.data.weights import check_weights, class_weights

Array = NDArray[Any]

NET = Shape(inputs=4, outputs=3, dtype="float32")
ONE = Shape(inputs=1, outputs=1, dtype="float32")
MSE = fd.losses.get("mse")
SPARSE = fd.losses.get("sparse_categorical_crossentropy")
CATEGORICAL = fd.losses.get("categorical_crossentropy")
BINARY = fd.losses.get("binary_crossentropy")
HINGE = fd.losses.get("hinge")


def table(dtype: Any = np.float32) -> Array:
    return (np.arange(40).reshape(10, 4) % 7).astype(dtype)


# ---- x ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.bool_, np.uint8, np.int8, np.int16, np.uint32, np.int64])
@pytest.mark.parametrize("layout", ["C", "F", "strided", "read-only", "reversed"])
def test_what_an_engine_reads_is_not_copied(dtype: Any, layout: str) -> None:
    x = table(dtype)
    if layout == "F":
        x = np.asfortranarray(x)
    elif layout == "strided":
        x = np.repeat(np.repeat(x, 2, axis=0), 3, axis=1)[::2, ::3]
    elif layout == "reversed":
        x = x[::-1, ::-1]
    elif layout == "read-only":
        x.flags.writeable = False
    checked = check_x("fit", x, NET)
    assert np.shares_memory(checked, x) and checked.dtype == x.dtype and checked.strides == x.strides
    np.testing.assert_array_equal(checked, x)


def test_a_memory_map_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.dat"
    table().tofile(path)
    x = np.memmap(path, np.float32, "r", shape=(10, 4))
    checked = check_x("fit", x, NET)
    assert np.shares_memory(checked, x)
    assert type(checked) is np.ndarray


@pytest.mark.parametrize(
    ("given", "becomes"), [(np.float16, np.float32), (np.longdouble, np.float64), (">f4", "f4"), (">i2", "i2")]
)
def test_other_dtypes_are_promoted(given: Any, becomes: Any) -> None:
    checked = check_x("fit", table(given), NET)
    assert checked.dtype == np.dtype(becomes) and checked.dtype.isnative
    np.testing.assert_array_equal(checked, table())


class OnlyDlpack:
    """An array that offers DLPack and nothing else."""

    def __init__(self, array: Array) -> None:
        self.array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()


class OnlyArray:
    """An array that offers __array__ and nothing else, as a tensor or a data frame does."""

    def __init__(self, array: Array) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return self.array


def test_lists_data_frames_and_tensors() -> None:
    x = table()
    np.testing.assert_array_equal(check_x("fit", x.tolist(), NET), x)
    assert np.shares_memory(check_x("fit", OnlyArray(x), NET), x)
    assert np.shares_memory(check_x("fit", OnlyDlpack(x), NET), x)


def test_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    x = table()
    frame = pandas.DataFrame(x, columns=list("abcd"))
    np.testing.assert_array_equal(check_x("fit", frame, NET), x)
    mixed = frame.assign(a=frame.a > 2, b=frame.b.astype("int64"), c=frame.c.astype("Int64"))
    np.testing.assert_array_equal(check_x("fit", mixed, NET), np.c_[x[:, :1] > 2, x[:, 1:]])
    assert check_y("fit", frame.a, 10, ONE, MSE).shape == (10, 1)
    with pytest.raises(ValueError, match=r"x\[3, 1\] \(column 'b'\) is 'red' \(str\); numbers are needed"):
        check_x("fit", frame.assign(b=["1", "2", "3", "red"] + ["4"] * 6).astype({"b": object}).replace("1", 1)
                .replace("2", 2).replace("3", 3), NET)  # fmt: skip
    with pytest.raises(ValueError, match=r"x\[2, 2\] \(column 'c'\) is <NA>"):
        check_x("fit", mixed.assign(c=mixed.c.where(mixed.index != 2)), NET)


def test_one_dimension_is_one_column_only_for_one_input() -> None:
    x = np.arange(5, dtype=np.float32)
    checked = check_x("fit", x, ONE)
    assert checked.shape == (5, 1) and np.shares_memory(checked, x)
    with pytest.raises(
        ValueError, match=r"x has 1 dimension, shape \(4,\); a dense net needs \(rows, 4\): for one row"
    ):
        check_x("fit", x[:4], NET)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_first_bad_value_is_named(value: float, dtype: Any, order: Any) -> None:
    x = table(dtype)
    x[7, 2] = x[8, 0] = value
    with pytest.raises(ValueError, match=rf"^fit: x\[7, 2\] is {value}; finite numbers are needed"):
        check_x("fit", np.asarray(x, order=order), NET)


@pytest.mark.parametrize("scan", [data.first_nonfinite, data._first_nonfinite])
def test_the_scan_looks_everywhere(scan: Any) -> None:
    rows = data.BLOCK // 8 + 3  # more than one block
    x = np.zeros((rows, 16), np.float32)
    assert scan(x) == -1 == scan(x[:0]) == scan(x[:, :0])
    for row, column in ((0, 0), (1, 15), (data.BLOCK // 16, 0), (rows - 1, 15), (rows - 1, 3)):
        for value in (np.nan, np.inf, -np.inf):
            x[row, column] = value
            assert scan(x) == row * 16 + column
            assert scan(x[:, ::-1]) == row * 16 + 15 - column
            x[row, column] = 3e38
            assert scan(x) == -1
        x[row, column] = 0


def test_values_beyond_float32() -> None:
    x = table(np.float64)
    x[6, 1] = -1e39
    with pytest.raises(ValueError, match=r"x\[6, 1\] is -1e\+39, too large for float32.*dtype='float64'"):
        check_x("fit", x, NET)
    assert check_x("fit", x, Shape(4, 3, "float64")) is x


# ---- y ---------------------------------------------------------------------------------------------------------------


def test_targets_of_one_output() -> None:
    y = np.arange(5, dtype=np.float32)
    for given in (y, y[:, None]):
        checked = check_y("fit", given, 5, ONE, MSE)
        assert checked.shape == (5, 1) and np.shares_memory(checked, y)


def test_nothing_is_broadcast() -> None:
    y = np.arange(5, dtype=np.float32)
    for given in (y, y[:, None]):
        with pytest.raises(
            ValueError, match=r"loss='mse' with 3 outputs needs \(rows, 3\): give the last layer 1 unit,"
        ):
            check_y("fit", given, 5, NET, MSE)
    with pytest.raises(ValueError, match=r"y has shape \(5, 3\); .* needs \(rows, 1\): give the last layer 3 units"):
        check_y("fit", np.zeros((5, 3)), 5, ONE, MSE)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("column", [False, True])
def test_class_ids(dtype: Any, column: bool) -> None:
    y = np.array([0, 2, 1, 2], dtype)
    checked = check_y("fit", y[:, None] if column else y, 4, NET, SPARSE)
    assert checked.shape == (4,) and checked.dtype.kind in "iu"
    np.testing.assert_array_equal(checked, [0, 2, 1, 2])
    assert np.shares_memory(checked, y) == (np.dtype(dtype).kind != "f")


def test_bool_class_ids() -> None:
    y = np.array([True, False])
    checked = check_y("fit", y, 2, NET, SPARSE)
    assert checked.dtype == np.uint8 and np.shares_memory(checked, y)


def test_hinge_targets_become_signs_in_a_new_array() -> None:
    y = np.array([0, 1, 1, 0], np.float64)
    kept = y.copy()
    np.testing.assert_array_equal(check_y("fit", y, 4, ONE, HINGE)[:, 0], [-1, 1, 1, -1])
    np.testing.assert_array_equal(y, kept)
    np.testing.assert_array_equal(check_y("fit", y > 0, 4, ONE, HINGE)[:, 0], [-1, 1, 1, -1])
    signs = np.array([-1.0, 1.0])
    assert np.shares_memory(check_y("fit", signs, 2, ONE, HINGE), signs)


# ---- weights ---------------------------------------------------------------------------------------------------------


def test_sample_weights() -> None:
    w = np.arange(3.0)
    assert check_weights("fit", None, 3) is None
    checked = check_weights("fit", w, 3)
    assert checked is not None and np.shares_memory(checked, w)
    for given in (w.astype(np.float16)[:, None], [0, 1, 2], np.repeat(w, 2)[::2]):
        checked = check_weights("fit", given, 3)
        assert checked is not None and checked.dtype == np.float64 and checked.flags.c_contiguous
        np.testing.assert_array_equal(checked, w)


def test_class_weights() -> None:
    ids = np.array([0, 2, 2, 1, 2])
    one_hot = np.eye(3)[ids]
    expected = [1, 5, 5, 0.5, 5]
    own = fd.losses.Custom(lambda y, p: (p, p))  # of any targets: one for each output is taken for one-hot
    cases = (ids, NET, SPARSE), (one_hot, NET, CATEGORICAL), (one_hot, NET, own), (ids[:, None], NET, own)
    for y, net, loss in (*cases, (ids[:, None], ONE, own)):
        np.testing.assert_array_equal(class_weights("fit", {2: 5, np.int64(1): 0.5}, y, net, loss), expected)
    np.testing.assert_allclose(class_weights("fit", "balanced", ids, NET, SPARSE), [5 / 3, 5 / 9, 5 / 9, 5 / 3, 5 / 9])
    np.testing.assert_allclose(class_weights("fit", "balanced", ids[:3], NET, SPARSE), [3 / 2, 3 / 4, 3 / 4])
    binary = np.array([[0], [1], [1]])
    np.testing.assert_array_equal(class_weights("fit", {0: 3.0}, binary, ONE, BINARY), [3, 1, 1])
    for weights in ({-1: 3.0}, {0: 3.0}):
        np.testing.assert_array_equal(class_weights("fit", weights, 2 * binary - 1, ONE, HINGE), [3, 1, 1])


def test_a_row_of_weight_two_counts_twice(device: str) -> None:
    rng = np.random.RandomState(0)
    x, y = rng.rand(6, 4), rng.randint(0, 3, 6)
    model = fd.Model([fd.Dense(3, "softmax")], inputs=4, device=device, dtype="float64")
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    weighted = model.loss_and_grad(x, y, sample_weight=[2, 1, 1, 1, 1, 1])
    double = model.loss_and_grad(np.r_[x, x[:1]], np.r_[y, y[:1]])
    assert weighted[0] * 6 == pytest.approx(double[0] * 7, rel=1e-12)
    for a, b in zip(weighted[1], double[1], strict=True):
        np.testing.assert_allclose(6 * a, 7 * b, rtol=1e-10, atol=1e-13)


def test_both_weights_multiply(device: str) -> None:
    rng = np.random.RandomState(1)
    x, y, w = rng.rand(8, 4), rng.randint(0, 3, 8), rng.rand(8)
    losses = []
    for kwargs in ({"class_weight": {1: 4.0}, "sample_weight": w}, {"sample_weight": w * np.where(y == 1, 4.0, 1.0)}):
        model = fd.Model([fd.Dense(3, "softmax")], inputs=4, device=device)
        model.compile("sgd", "sparse_categorical_crossentropy")
        losses.append(model.fit(x, y, epochs=3, batch_size=3, verbose=0, **kwargs).history["loss"])
    assert losses[0] == losses[1]


# ---- validation ------------------------------------------------------------------------------------------------------


def test_validation_split_takes_the_last_rows_before_shuffling(device: str) -> None:
    assert [rows_to_train_on("fit", 10, share) for share in (0.0, 0.1, 0.25, 0.5)] == [10, 9, 7, 5]
    assert rows_to_train_on("fit", 90, 0.3) == 62  # as in Keras, where 90 (1 - 0.3) is a little less than 63
    rng = np.random.RandomState(2)
    x, y, w = rng.rand(20, 4).astype(np.float32), rng.rand(20, 1).astype(np.float32), rng.rand(20)

    def run(*data: Any, **kwargs: Any) -> dict[str, list[float]]:
        model = fd.Model([fd.Dense(1)], inputs=4, device=device)
        model.compile("sgd", "mse", metrics=["mae"])
        return model.fit(*data, epochs=2, batch_size=4, verbose=0, **kwargs).history

    split = run(x, y, sample_weight=w, validation_split=0.25)
    assert split == run(x[:15], y[:15], sample_weight=w[:15], validation_data=(x[15:], y[15:], w[15:]))
    assert set(split) == {"loss", "mae", "val_loss", "val_mae"}


def test_class_weights_do_not_touch_the_validation_rows(device: str) -> None:
    rng = np.random.RandomState(3)
    x, y = rng.rand(20, 4), rng.randint(0, 2, 20)
    model = fd.Model([fd.Dense(1, "sigmoid")], inputs=4, device=device)
    model.compile(fd.SGD(0.0), "binary_crossentropy")
    history = model.fit(x, y, class_weight={0: 100.0}, validation_split=0.5, verbose=0).history
    assert history["val_loss"][0] == pytest.approx(model.evaluate(x[10:], y[10:]), rel=1e-6)


# ---- all of it through the engines -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.uint8, np.int64, np.bool_])
def test_every_dtype_and_layout_gives_the_same_training(device: str, dtype: Any) -> None:
    x = (table() > 3).astype(dtype)
    y = np.asfortranarray(np.arange(20, dtype=np.float64).reshape(10, 2)[::-1] / 20)

    def run(x: Any, y: Any) -> tuple[list[float], Array]:
        model = fd.Model([fd.Dense(5, "tanh"), fd.Dense(2)], inputs=4, device=device)
        model.compile("adam", "mse")
        losses = model.fit(x, y, epochs=2, batch_size=4, verbose=0).history["loss"]
        return losses, model.predict(x)

    plain = run(np.ascontiguousarray(x, np.float32), np.ascontiguousarray(y, np.float32))
    wide = np.repeat(x, 2, axis=1)[:, ::2]
    for given in (x, np.asfortranarray(x), wide, x[::-1][::-1]):
        losses, predicted = run(given, y)
        np.testing.assert_allclose(losses, plain[0], rtol=1e-6)
        np.testing.assert_allclose(predicted, plain[1], rtol=1e-5, atol=1e-6)


def test_the_users_arrays_stay_as_they_are(device: str) -> None:
    x, y, w = table(), np.array([0, 1] * 5), np.ones(10)
    kept = x.copy(), y.copy(), w.copy()
    for array in (x, y, w):
        array.flags.writeable = False
    model = fd.Model([fd.Normalization(), fd.Dense(1)], inputs=4, device=device)
    model.compile("sgd", "hinge")
    model.fit(x, y, sample_weight=w, epochs=2, verbose=0, class_weight={0: 2.0}, validation_split=0.2)
    for array, before in zip((x, y, w), kept, strict=True):
        np.testing.assert_array_equal(array, before)


def test_no_warning_for_good_data() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        as_array("fit", "x", [[1, 2], [3, 4]])
        check_x("fit", table(np.float16), NET)


def test_normalization_of_numbers_with_a_large_offset() -> None:
    """Identifiers and time stamps: an offset far beyond float32's digits, as float64 and int64, in a float32 net."""
    steps = np.arange(100)
    x = np.column_stack([np.full(100, 4_915_112_345_678), 1_700_000_000_000 + steps]).astype(np.int64)
    for given in (x, x.astype(np.float64)):
        net = fd.Model([fd.Normalization(), fd.Activation("linear")], inputs=2)
        net.compile("sgd", "mse")
        net.fit(given, np.zeros((100, 2), np.float32), epochs=1, verbose=0)
        seen = net.activations(given)[0]
        assert (seen[:, 0] == 0).all()
        np.testing.assert_allclose(seen[:, 1], (steps - steps.mean()) / steps.std(), rtol=1e-6)
