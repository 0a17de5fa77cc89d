"""Arrays on a GPU: looked at where they are, by the checks and with the messages of all others, and never copied whole.

Behind ``device="cuda"`` is an engine that reads arrays through their interface and lets the CPU compute, or the real
one over the emulated runtime.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense import _core
from fastdense.arrays import beside
from fastdense.calls import TrainCall
from fastdense.data import checks as data
from fastdense.data.checks import check_x, check_y
from fastdense.data.prepare import prepare
from fastdense.data.rows import Rows, Shape
from fastdense.data.weights import check_weights, class_weights
from fastdense.layers.preprocessing import encoded
from tests.helpers import fake_cupy
from tests.helpers.fake_cupy import Foreign, Tensor

Array = Any
GPU = Shape(inputs=4, outputs=3, dtype="float32", device="cuda")
ONE = Shape(inputs=1, outputs=1, dtype="float32", device="cuda")
LOSSES = {name: fd.losses.get(name) for name in ("mse", "sparse_categorical_crossentropy", "categorical_crossentropy",
                                                  "binary_crossentropy", "hinge")}  # fmt: skip
FEW = 16  # more numbers than that are a copy of the data


@pytest.fixture(autouse=True)
def cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The stand-in as CuPy. At the end: nothing but single numbers has come back from it, if a test says no more."""
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy)
    fake_cupy.copies.clear()
    fake_cupy.waited.clear()
    yield fake_cupy
    assert max(fake_cupy.copies, default=0) <= FEW


def on_host(array: Any) -> Any:
    """What a test itself looks at: no copy that counts."""
    return array._array if isinstance(array, fake_cupy.ndarray) else array


def on_gpu(array: Any) -> Any:
    return fake_cupy.ndarray(np.array(array))


def same_memory(a: Any, b: Any) -> bool:
    return bool(np.shares_memory(on_host(a), on_host(b)))


# ---- what is taken ---------------------------------------------------------------------------------------------------


def test_the_stand_in_is_as_strict_as_cupy() -> None:
    a, host = on_gpu([1.0, 2.0]), np.ones(2)
    for mix in (lambda: np.asarray(a), lambda: a + host, lambda: host + a, lambda: fake_cupy.where(a > 1, host, a),
                lambda: np.ascontiguousarray(a), lambda: np.float64(host) * a):  # fmt: skip
        with pytest.raises(TypeError, match="Implicit conversion|Unsupported type"):
            mix()
    with pytest.raises(OverflowError):
        _ = on_gpu(np.uint8([1])) == -1
    assert isinstance(np.isfinite(a), fake_cupy.ndarray) and isinstance(np.sum(a), fake_cupy.ndarray)
    assert not fake_cupy.copies
    assert float(a[1]) == 2 and fake_cupy.copies == [1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.bool_, np.uint8, np.int8, np.int64])
def test_nothing_is_copied(dtype: Any) -> None:
    x = (np.arange(40).reshape(10, 4) % 7).astype(dtype)
    for given in (on_gpu(x), on_gpu(x)[::-1, ::-1], on_gpu(np.asfortranarray(x)), Tensor(x), Foreign(x)):
        checked = check_x("fit", given, GPU)
        assert isinstance(checked, fake_cupy.ndarray) and checked.dtype == dtype
        assert same_memory(checked, getattr(given, "array", given))
    half = check_x("fit", on_gpu(x.astype(np.float16)), GPU)
    assert half.dtype == np.float32 and isinstance(half, fake_cupy.ndarray)


def test_the_owners_stream_comes_first() -> None:
    """DLPack: the owner gets CuPy's current stream; the array interface: CuPy waits for the stream it names."""
    x = np.ones((2, 4), np.float32)
    tensor, foreign = Tensor(x), Foreign(x, stream=7)
    check_x("fit", tensor, GPU)
    with fake_cupy.Stream(0xABC):
        checked = check_x("fit", tensor, GPU)
        assert checked.__cuda_array_interface__["stream"] == 0xABC
    check_x("fit", foreign, GPU)
    assert tensor.streams == [1, 0xABC] and fake_cupy.waited == [7]


def test_what_cannot_be_taken() -> None:
    class NeedsGradient(Tensor):
        def __dlpack__(self, stream: Any = None, **options: Any) -> Any:
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")

    with pytest.raises(ValueError, match=re.escape("cannot be read as an array on a GPU (Can't export")):
        check_x("fit", NeedsGradient(np.ones((2, 4))), GPU)
    with pytest.raises(ValueError, match=r"x has dtype complex128; real numbers are needed"):
        check_x("fit", on_gpu(np.ones((2, 4), complex)), GPU)


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        (on_gpu(np.ones((2, 4))), "(cupy.ndarray); this model is on device='cpu', which reads the host's memory: "
                                  "pass x.get(), or move the model with model.to('cuda')"),
        (Tensor(np.ones((2, 4))), "(fake_cupy.Tensor); this model is on device='cpu', which reads the host's memory: "
                                  "pass x.detach().cpu(), or"),
        (Foreign(np.ones((2, 4))), "pass x.copy_to_host(), or"),
    ],
)  # fmt: skip
def test_a_model_on_the_cpu_takes_no_array_on_a_gpu(given: Any, remedy: str) -> None:
    model = fd.Model([fd.Dense(3)], inputs=4)
    model.compile("sgd", "mse")
    calls = (lambda: model.predict(given), lambda: model.fit(given, given), lambda: model.activations(given),
             lambda: model.fit(np.ones((2, 4)), np.ones((2, 3)), sample_weight=given))  # fmt: skip
    for call, name in zip(calls, ("x", "x", "x", "sample_weight"), strict=True):
        with pytest.raises(ValueError) as caught:
            call()
        assert f": {name} is in the memory of a GPU " in str(caught.value)
        assert remedy.replace("x.", f"{name}.") in str(caught.value)


def test_what_is_no_data_is_needed_on_the_host(model: Any) -> None:
    with pytest.raises(
        ValueError, match=r"weights\[0\] is in the memory of a GPU \(cupy.ndarray\); .* pass weights\[0\].get"
    ):
        model.set_weights([on_gpu(w) for w in model.get_weights()])


def test_without_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ImportError, match=r"fit: x is in the memory of a GPU \(fake_cupy.Tensor\); CuPy is needed .*"
                       r"pip install 'fastdense\[cuda\]', or pass x.detach\(\).cpu\(\)$"):  # fmt: skip
        check_x("fit", Tensor(np.ones((2, 4))), GPU)


# ---- the same checks, the same words ---------------------------------------------------------------------------------


def broken(kind: str) -> Iterator[tuple[str, Any]]:
    """Data that some check refuses, by the argument they are."""
    good = np.arange(40.0).reshape(10, 4)
    if kind == "x":
        for place, value in (((7, 2), np.nan), ((0, 0), np.inf), ((9, 3), -np.inf), ((3, 1), 1e39), ((3, 1), -1e300)):
            bad = good.copy()
            bad[place] = value
            yield "mse", bad
            yield "mse", np.asfortranarray(bad)
            if abs(value) == np.inf or value != value:
                yield "mse", bad.astype(np.float32)
        yield from (("mse", bad) for bad in (good[0], good[0, 0], good[:0], good[:, :3], good.T, good[None], good > 1j))
        yield "mse", good.astype(complex)
    elif kind == "w":
        bad = [np.ones(9), np.ones((10, 2)), -np.ones(10), np.r_[np.ones(9), np.nan], np.r_[np.ones(9), -0.5]]
        yield from (("mse", b) for b in bad)
        yield "mse", np.int8([1, 1, 1, -3, 1, 1, 1, 1, 1, 1])
    else:
        ids = np.arange(10) % 3
        yield from (("mse", bad) for bad in (good, good[:9, :3], ids, np.float64(3), good[:, :3] * np.nan))
        sparse = "sparse_categorical_crossentropy"
        for bad in (ids + 1, ids - 1, ids * 1.5, ids * 1e9, ids[:, None] + np.zeros(3, int), ids + np.inf):
            yield sparse, bad
        yield sparse, (ids * 100).astype(np.uint8)
        yield sparse, (ids - 7).astype(np.int8)
        yield sparse, ids[:9]
        yield "categorical_crossentropy", ids
        yield "binary_crossentropy", np.where(good[:, :3] == 5, 1.5, 0.0)
        yield "binary_crossentropy", np.where(good[:, :3] == 5, 1.0, -1.0)
        yield "hinge", good[:, :3]
        yield "hinge", np.where(good[:, :3] == 5, 0, np.where(good[:, :3] == 6, -1, 1))
        yield "hinge", (good[:, :3] % 3).astype(np.uint8)


def refused(x: Any, y: Any, w: Any, net: Shape, loss: str) -> str | None:
    try:
        prepare("fit", x, y, w, net, LOSSES[loss])
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.parametrize("kind", ["x", "y", "w"])
def test_messages_are_the_same(kind: str) -> None:
    host, cases = Shape(inputs=4, outputs=3, dtype="float32"), 0
    fine = {"x": np.ones((10, 4)), "y": np.ones((10, 3)), "w": np.ones(10)}
    for loss, bad in broken(kind):
        if kind != "y":
            fine["y"] = np.ones((10, 3))
        given = {**fine, kind: bad}
        expected = refused(given["x"], given["y"], given["w"], host, loss)
        fake_cupy.copies.clear()
        found = refused(*(on_gpu(given[name]) for name in "xyw"), GPU, loss)  # type: ignore[arg-type]
        assert found == expected, (loss, bad)
        assert max(fake_cupy.copies, default=0) <= 1
        cases += expected is not None
    assert cases >= 6


def test_what_passes_is_the_same_data() -> None:
    """Targets of every kind become what an engine reads, without leaving the GPU."""
    rng, host = np.random.default_rng(0), Shape(inputs=4, outputs=3, dtype="float32")
    ids, table = rng.integers(0, 3, 10), rng.random((10, 3))
    signs = np.sign(table - 0.5)
    for loss, y in (("mse", table), ("binary_crossentropy", table > 0.5), ("binary_crossentropy", table),
                    ("hinge", signs), ("hinge", table > 0.5), ("hinge", (table > 0.5).astype(np.uint8)),
                    ("sparse_categorical_crossentropy", ids), ("sparse_categorical_crossentropy", ids[:, None] * 1.0),
                    ("sparse_categorical_crossentropy", ids.astype(np.uint8))):  # fmt: skip
        wanted = check_y("fit", y, 10, host, LOSSES[loss])
        found = check_y("fit", on_gpu(y), 10, GPU, LOSSES[loss])
        assert isinstance(found, fake_cupy.ndarray) and found.dtype == wanted.dtype
        np.testing.assert_array_equal(on_host(found), wanted)
    weights = check_weights("fit", on_gpu(np.arange(10)), 10, device="cuda")
    assert isinstance(weights, fake_cupy.ndarray) and weights.dtype == np.float64


def test_the_scan_looks_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "GPU_BLOCK", 64)  # more than one block
    x = np.zeros((100, 16))
    for index in (0, 15, 63, 64, 1599):
        for value in (np.nan, np.inf, 1e300):
            x.flat[index] = value
            with pytest.raises(ValueError, match=re.escape(f"x[{index // 16}, {index % 16}] is {value}")):
                check_x("fit", on_gpu(x), Shape(16, 1, "float32", device="cuda"))
        x.flat[index] = 0


def test_weights_of_classes() -> None:
    y, sparse = np.array([0, 2, 2, 1, 2]), LOSSES["sparse_categorical_crossentropy"]
    for given in ("balanced", {0: 2.0, 2: 0.5}):
        wanted = class_weights("fit", given, y, GPU, sparse)
        found = class_weights("fit", given, on_gpu(y), GPU, sparse)
        assert isinstance(found, fake_cupy.ndarray)
        np.testing.assert_array_equal(on_host(found), wanted)
    one_hot = on_gpu(np.eye(3)[y])
    np.testing.assert_array_equal(
        on_host(class_weights("fit", "balanced", one_hot, GPU, LOSSES["categorical_crossentropy"])),
        class_weights("fit", "balanced", y, GPU, sparse),
    )
    rows = Rows(on_gpu(np.ones((5, 4))), on_gpu(y), np.arange(5.0))  # weights may be anywhere
    product = rows.weighted(class_weights("fit", {0: 2.0}, on_gpu(y), GPU, sparse)).w
    np.testing.assert_array_equal(on_host(product), [0, 1, 2, 3, 4])
    assert isinstance(product, fake_cupy.ndarray)


def test_statistics_are_taken_on_the_gpu() -> None:
    x = np.random.default_rng(0).normal(3, 2, (400, 4))
    wanted = fd.Normalization().adapt(x)
    for given in (on_gpu(x), Tensor(x), Foreign(x)):
        found = fd.Normalization().adapt(given)
        assert type(found.mean) is np.ndarray
        np.testing.assert_allclose(found.mean, wanted.mean, rtol=1e-14)
        np.testing.assert_allclose(found.variance, wanted.variance, rtol=1e-14)
    x[17, 3] = np.inf
    with pytest.raises(ValueError, match=r"Normalization.adapt: x holds inf at row 17, column 3"):
        fd.Normalization().adapt(on_gpu(x))


def test_rows_are_encoded_on_the_gpu() -> None:
    x = np.random.default_rng(0).normal(size=(30, 3)).round()
    layers = [fd.Log1p(columns=2), fd.Periodic([1.0, 3.0], columns=1), fd.OneHot(columns=0).adapt(on_gpu(x))]
    made = encoded(layers, on_gpu(x))
    assert isinstance(made, fake_cupy.ndarray)
    np.testing.assert_array_equal(on_host(made), encoded(layers, x))
    x[17, 0] = np.inf
    with pytest.raises(ValueError, match=r"OneHot.adapt: x holds inf at row 17, column 0"):
        fd.OneHot(columns=0).adapt(on_gpu(x))


# ---- a model ---------------------------------------------------------------------------------------------------------


class Passing:
    """An engine for "cuda" that reads arrays through their interface and lets the CPU compute."""

    def __init__(self, program: dict[str, Any]) -> None:
        self.engine, self.seen = _core.Engine(program), list[Any]()

    def _read(self, array: Any) -> Any:
        if array is None or isinstance(array, np.ndarray):
            return array
        self.seen.append(array)
        interface = array.__cuda_array_interface__
        assert interface["stream"] == (fake_cupy.cuda.get_current_stream().ptr or 1)
        del interface["stream"]

        class View:
            __array_interface__ = interface

        return np.asarray(View())

    def train(self, call: TrainCall) -> Any:
        x, y, w, *val = map(self._read, (call.x, call.y, call.w, *(call.val or ())))
        return self.engine.train(replace(call, x=x, y=y, w=w, val=tuple(val) or None))

    def evaluate(self, x: Any, y: Any, w: Any, **options: Any) -> Any:
        return self.engine.evaluate(self._read(x), self._read(y), self._read(w), **options)

    def predict(self, x: Any, out: Any, **options: Any) -> None:
        self.engine.predict(self._read(x), self._read(out), **options)

    def predict_row(self, x: Any) -> Any:
        return self.engine.predict_row(x) if isinstance(x, np.ndarray) else None

    def loss_and_grad(self, x: Any, y: Any, w: Any, **options: Any) -> Any:
        value, parts = self.engine.loss_and_grad(self._read(x), self._read(y), self._read(w), **options)
        return value, [beside(part, x) for part in parts]

    def activations(self, x: Any, **options: Any) -> Any:
        return [beside(part, x) for part in self.engine.activations(self._read(x), **options)]

    def solve_output(self, x: Any, y: Any, w: Any, **options: Any) -> Any:
        return self.engine.solve_output(self._read(x), self._read(y), self._read(w), **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)


@pytest.fixture(params=["passing", pytest.param("cuda", marks=pytest.mark.cuda)])
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes equal models, on the GPU or not: with the engine above, and with the real one where it can be had."""
    from fastdense.engine import population, serial
    from fastdense.engine.factory import make_engine
    from fastdense.runners import single

    def engine(device: str, program: dict[str, Any]) -> Any:
        return Passing(program) if device == "cuda" else make_engine(device, program)

    if request.param == "passing":
        monkeypatch.setattr(single, "make_engine", engine)
        monkeypatch.setattr(serial, "make_engine", engine)
        one_by_one = SimpleNamespace(why_not_fused=lambda *_: "this engine takes one net at a time")
        monkeypatch.setattr(population, "require", lambda: one_by_one)
    elif not getattr(sys.modules.get("fastdense._cuda"), "EMULATED", False):
        pytest.skip("the emulated engine, whose memory is NumPy's too, is not in use")

    def model(device: str = "cuda", layers: Any = None) -> Any:
        layers = layers or [fd.Normalization(), fd.Dense(8, "tanh"), fd.Dense(3)]
        made = fd.Model(layers, inputs=4, seed=3, device=device)
        made.compile("adam", "mse", metrics=["mae"])
        return made

    return model


@pytest.fixture
def model(make: Any) -> Any:
    return make()


def test_a_model_with_layers_in_front(make: Any) -> None:
    x, y, _ = problem()
    front = [fd.Log1p(columns=0), fd.Periodic(1.0, columns=1), fd.Normalization(), fd.Dense(8, "tanh"), fd.Dense(3)]
    there, here = make(layers=front), make("cpu", layers=front)
    assert there.fit(on_gpu(x), on_gpu(y), epochs=2, verbose=0).history["loss"] == pytest.approx(
        here.fit(x, y, epochs=2, verbose=0).history["loss"], rel=1e-6
    )
    outputs = there.predict(on_gpu(x))
    assert isinstance(outputs, fake_cupy.ndarray)
    np.testing.assert_allclose(on_host(outputs), here.predict(x), rtol=1e-5, atol=1e-6)
    assert all(isinstance(out, fake_cupy.ndarray) for out in there.activations(on_gpu(x)))


def test_an_ensemble(make: Any) -> None:
    x, y, _ = problem()
    front = [fd.OneHot(0, [0, 1]), fd.Log1p(columns=2), fd.Dense(8, "tanh"), fd.Dense(3)]
    there, here = (fd.Ensemble([make(device), make(device, layers=front)], [1, 3]) for device in ("cuda", "cpu"))
    for rows in (x, x[:1]):
        for ours, theirs in zip(there.predict(on_gpu(rows), return_std=True), here.predict(rows, return_std=True),
                                strict=True):  # fmt: skip
            assert isinstance(ours, fake_cupy.ndarray)
            np.testing.assert_allclose(on_host(ours), theirs, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(there.predict(rows), here.predict(rows), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        on_host(there.quantiles(on_gpu(x), [0.2, 0.8])), here.quantiles(x, [0.2, 0.8]), rtol=1e-5, atol=1e-6
    )
    assert max(fake_cupy.copies, default=0) <= FEW, "predictions stay on the GPU"
    gx, gy = on_gpu(x), on_gpu(y)
    np.testing.assert_allclose(there.evaluate(gx, gy), here.evaluate(x, y), rtol=1e-5)
    chosen = [fd.Ensemble.select(made, *data).weights for made, data in ((there, (gx, gy)), (here, (x, y)))]
    np.testing.assert_array_equal(chosen[0], chosen[1])
    fake_cupy.copies.clear()  # targets and outputs, for what is computed in NumPy


def problem(rows: int = 40) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(rows, 4)).astype(np.float32)
    return x, np.tanh(x[:, :3] + 0.3 * x[:, 1:]), rng.uniform(0.5, 2.0, rows)


def test_a_model_from_end_to_end(make: Any) -> None:
    """All on the GPU: the numbers are those of NumPy arrays, results lie on the GPU, nothing is copied."""
    x, y, w = problem()
    there, here = make(), make("cpu")
    gx, gy, gw = map(on_gpu, (x, y, w))
    histories = [
        model.fit(*data, sample_weight=weights, epochs=3, validation_split=0.25, verbose=0).history
        for model, data, weights in ((there, (gx, gy), gw), (here, (x, y), w))
    ]
    for name, values in histories[1].items():
        np.testing.assert_allclose(histories[0][name], values, rtol=1e-6)
    if isinstance(there.runner._engine, Passing):
        assert any(same_memory(seen, gx) for seen in there.runner._engine.seen)
    found, expected = there.evaluate(gx, gy, sample_weight=gw), here.evaluate(x, y, sample_weight=w)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert np.allclose(there.train_on_batch(gx, gy, gw), here.train_on_batch(x, y, w))
    with fake_cupy.Stream(2):  # one that the emulated runtime knows as well
        outputs = there.predict(gx)
    assert isinstance(outputs, fake_cupy.ndarray) and outputs.dtype == np.float32
    np.testing.assert_allclose(on_host(outputs), here.predict(x), rtol=1e-5, atol=1e-6)
    assert isinstance(there.predict(x), np.ndarray) and isinstance(there.predict(gx[:1]), fake_cupy.ndarray)
    value, gradient = there.loss_and_grad(gx, gy, sample_weight=gw)
    expected, parts = here.loss_and_grad(x, y, sample_weight=w)
    assert value == pytest.approx(expected, rel=1e-5)
    for found, part in zip(gradient, parts, strict=True):
        assert isinstance(found, fake_cupy.ndarray)
        np.testing.assert_allclose(on_host(found), part, rtol=1e-4, atol=1e-6)
    for found, part in zip(there.activations(gx), here.activations(x), strict=True):
        np.testing.assert_allclose(on_host(found), part, rtol=1e-5, atol=1e-6)


def test_the_engine_waits_for_the_current_stream(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (x, y, w), model = problem(), make()
    gx, gy, gw = map(on_gpu, (x, y, w))
    if isinstance(model.runner._engine, Passing):
        return  # it looks itself
    streams: list[int] = []
    monkeypatch.setattr(sys.modules["fastdense._cuda"], "wait_for_stream", streams.append)
    calls = (lambda: model.predict(gx), lambda: model.loss_and_grad(gx, y), lambda: model.activations(gx),
             lambda: model.fit(x, gy, verbose=0), lambda: model.evaluate(x, y, sample_weight=gw),
             lambda: model.fit(x, y, validation_data=(gx, y), verbose=0))  # fmt: skip
    for call in calls:
        streams.clear()
        with fake_cupy.Stream(2):
            call()
        assert set(streams) == {2}
    streams.clear()
    model.predict(x)
    assert not streams


@pytest.mark.parametrize("optimizer", ["lbfgs", "kfac", "levenberg_marquardt"])
def test_what_the_cpu_does_in_place_of_the_gpu(make: Any, optimizer: str) -> None:
    x, y, w = problem()
    histories = []
    for model, (gx, gy, gw) in ((make(), map(on_gpu, (x, y, w))), (make("cpu"), (x, y, w))):
        model.compile(optimizer, "mse")
        batch = None if model.optimizer.full_batch else 20
        history = model.fit(gx, gy, sample_weight=gw, batch_size=batch, epochs=3, verbose=0).history
        histories.append([*history["loss"], model.evaluate(gx, gy, sample_weight=gw)])
    np.testing.assert_allclose(*histories, rtol=1e-5)
    fake_cupy.copies.clear()


def test_each_array_is_where_it_is(make: Any) -> None:
    """x on the GPU and targets on the host, or the other way: none is moved, results lie where x does."""
    x, y, w = problem()
    expected = make("cpu").fit(x, y, sample_weight=w, verbose=0).history["loss"]
    for given in ((on_gpu(x), y, w), (x, on_gpu(y), w), (x, y, on_gpu(w)), (Tensor(x), Foreign(y), w)):
        model = make()
        found = model.fit(*given[:2], sample_weight=given[2], verbose=0).history["loss"]
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        assert type(model.predict(given[0])) is (np.ndarray if given[0] is x else fake_cupy.ndarray)


def test_other_starts(make: Any) -> None:
    """Where units are placed on data a few rows are looked at on the host, never all."""
    x, y, _ = problem(3000)
    gx, gy = on_gpu(x), on_gpu(y)
    layers = [fd.Dense(8, "relu", kernel_initializer="data"), fd.Dense(3)]
    pairs = [(make(layers=layers), make("cpu", layers=layers)) for _ in range(4)]
    for there, here in pairs[:1]:
        there.fit(gx, gy, verbose=0), here.fit(x, y, verbose=0)
    fd.start_on_data(pairs[1][0], gx, gy), fd.start_on_data(pairs[1][1], x, y)
    pairs[2][0].place(gx, gy), pairs[2][1].place(x, y)
    assert max(fake_cupy.copies) <= 2048 * 4
    pairs[3][0].solve_output(gx, gy), pairs[3][1].solve_output(x, y)  # by the CPU's engine: all rows go there
    for there, here in pairs:
        for a, b in zip(there.get_weights(), here.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    fake_cupy.copies.clear()


def test_dead_units_and_hints(make: Any, capsys: pytest.CaptureFixture[str]) -> None:
    x, y, _ = problem(1000)
    model = make(layers=[fd.Dense(8, "relu", bias_initializer=fd.initializers.Constant(-100)), fd.Dense(3)])
    model.fit(on_gpu(x), on_gpu(y), verbose=2)
    assert "is 0 for every row" in capsys.readouterr().out
    revival = fd.callbacks.ReviveDeadUnits(every=1)
    model.fit(on_gpu(x), on_gpu(y), epochs=4, callbacks=[revival], verbose=0)
    assert sum(model.history.history["revived"]) == 8
    assert max(fake_cupy.copies) <= 1000 * 3  # 16 * 256 targets for the best constant
    fake_cupy.copies.clear()


def test_diagnosis_copies_to_the_host(make: Any) -> None:
    x, y, _ = problem(200)
    model = make(layers=[fd.Dense(8, "relu"), fd.Dense(3)])
    model.fit(on_gpu(x), on_gpu(y), epochs=2, verbose=0)
    found = model.diagnose(on_gpu(x), on_gpu(y), sample_weight=on_gpu(np.ones(200)), verify=False, verbose=0)
    assert str(found)
    fake_cupy.copies.clear()


def test_many_starts(make: Any) -> None:
    x, y, w = problem(30)
    layers = [fd.Dense(4, "tanh"), fd.Dense(3)]
    there, here = make(layers=layers), make("cpu", layers=layers)
    gx, gy, gw = map(on_gpu, (x, y, w))
    each = np.random.default_rng(0).uniform(0.5, 2, (4, 30))
    for own in ((gw, w), (on_gpu(each), each)):
        nets = fd.fit_many(there, gx, gy, starts=4, epochs=3, sample_weight=own[0], validation_data=(gx, gy), verbose=0)
        wanted = fd.fit_many(here, x, y, starts=4, epochs=3, sample_weight=own[1], verbose=0)
        np.testing.assert_allclose(nets.losses, wanted.losses, rtol=1e-4)
        outputs = nets.predict(gx)
        assert isinstance(outputs, fake_cupy.ndarray)
        np.testing.assert_allclose(on_host(outputs), wanted.predict(x), rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(nets.evaluate(gx, gy), wanted.evaluate(x, y), rtol=1e-4)
    with pytest.raises(ValueError, match=r"sample_weight\[2, 7\] is -1; weights must be 0 or more"):
        each[2, 7] = -1
        fd.fit_many(there, gx, gy, sample_weight=on_gpu(each), verbose=0)
    assert max(fake_cupy.copies) <= 4 * 30 * 3  # outputs for the validation rows: metrics are computed on the host
    assert nets.outcomes().counts
    assert fd.cross_validate(there, gx, gy, folds=2).scores["mae"].shape == (1, 2)
    fake_cupy.copies.clear()


@pytest.mark.parametrize("targets", [1, 2])
def test_several_quantiles(make: Any, targets: int) -> None:
    """Targets are repeated for their outputs where they lie; intervals are made on the host."""
    x, y, _ = problem()
    y = y[:, :targets]
    found = []
    for device, arrays in (("cuda", (on_gpu(x), on_gpu(y))), ("cpu", (x, y))):
        model = fd.Model([fd.Dense(5, "tanh"), fd.Ascending(3, targets)], inputs=4, device=device)
        model.compile("adam", fd.losses.Quantile([0.1, 0.5, 0.9]))
        history = model.fit(*arrays, epochs=2, verbose=0)
        model.calibrate(*arrays)
        ends = model.predict_interval(arrays[0], coverage=0.7)
        assert all(isinstance(end, np.ndarray) and end.shape == (40, targets) for end in ends)
        found.append(np.concatenate([history.history["loss"], *(end.ravel() for end in ends)]))
    # 4 steps of 0.001, and sums of a few terms near 1
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-5)
    fake_cupy.copies.clear()  # targets and outputs, for intervals, which are computed in NumPy
