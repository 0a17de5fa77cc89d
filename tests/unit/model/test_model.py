"""The public face: names, arguments, results and what they mean."""

from __future__ import annotations

import ast
import copy
import gc
import inspect
import pickle
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastdense as fd

Array = NDArray[Any]

RNG = np.random.RandomState(0)
X = RNG.rand(50, 4).astype(np.float32)
Y = (X @ np.array([[1.0, -1.0], [2.0, 0.5], [0.0, 1.0], [-1.0, 1.0]], np.float32) + 0.3).astype(np.float32)
IDS = (X[:, 0] * 3).astype(int)


def make(
    device: str, *layers: Any, loss: str = "mse", metrics: Any = None, optimizer: Any = "adam", **kw: Any
) -> fd.Model:
    model = fd.Model(list(layers) or [fd.Dense(6, "tanh"), fd.Dense(2)], inputs=4, device=device, **kw)
    model.compile(optimizer, loss, metrics=metrics)
    return model


def same(a: list[Array], b: list[Array]) -> bool:
    return len(a) == len(b) and all(x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


# ---- names ---------------------------------------------------------------------------------------------------------


def test_public_names() -> None:
    for name in fd.__all__:
        assert getattr(fd, name) is not None, name
    assert dir(fd) == sorted(fd.__all__)
    for name in ("Model", "Dense", "BatchNorm", "LayerNorm", "Dropout", "Activation", "Normalization", "Rescaling",
                 "Residual"):  # fmt: skip
        assert name in fd.__all__
    for name in ("SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "AdamW", "Nadam", "Lion", "Muon", "KFAC"):
        assert getattr(fd, name) is getattr(fd.optimizers, name)
    with pytest.raises(AttributeError, match="module 'fastdense' has no attribute 'Dence'"):
        fd.Dence  # type: ignore[attr-defined]  # noqa: B018


def test_type_checkers_know_the_lazy_names() -> None:
    tree = ast.parse(Path(fd.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    assert {alias.name: node.module or "" for node in imports for alias in node.names} == fd._LAZY


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("fit", "self x y=None * batch_size=None epochs=1 verbose='auto' callbacks=None validation_split=0.0 "
            "validation_data=None "
            "shuffle=True class_weight=None sample_weight=None initial_epoch=0 "
            "steps_per_epoch=None validation_steps=None validation_batch_size=None validation_freq=1 "
            "starts=1 probes=False dy=None dy_weight=1.0 n_threads=None comm=None"),
        ("evaluate", "self x y=None * batch_size=None sample_weight=None steps=None verbose='auto' return_dict=False"),
        ("predict", "self x * batch_size=None steps=None verbose=0"),
    ],
)  # fmt: skip
def test_signatures(method: str, expected: str) -> None:
    parts: list[str] = []
    for p in inspect.signature(getattr(fd.Model, method)).parameters.values():
        if p.kind is p.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        parts.append(p.name if p.default is p.empty else f"{p.name}={p.default!r}")
    assert " ".join(parts).startswith(expected)


@pytest.mark.parametrize(
    "use",
    [
        "assert sorted(dir(fd)) == sorted(fd.__all__)",
        "assert all(getattr(fd, name) is not None for name in dir(fd))",
        "assert set(fd.optimizers.__all__) - {'get', 'Optimizer', 'Rate', 'Solver'} <= set(fd.__all__)",
        "from fastdense import *\nassert Dense and Model and SGD and keras.layers.Dense and fit_many and callbacks",
        "from fastdense import Model, fit_many\nassert fd.Model is Model and 'Model' in vars(fd)",
        "fd.callbacks.EarlyStopping, fd.datasets.load_digits, fd.keras.random.normal",
        "import pickle\nassert pickle.loads(b'cfastdense\\nModel\\n.') is fd.Model",
        "from fastdense import reference\nassert reference.Engine.__module__ == 'fastdense.reference.engine'",
    ],
)
def test_names_that_are_imported_when_they_are_used(use: str) -> None:
    script = f"import os\nbefore = dict(os.environ)\nimport fastdense as fd\n{use}\nassert dict(os.environ) == before\n"
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=60)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="^module 'fastdense' has no attribute 'Modle'$"):
        fd.Modle  # noqa: B018


# ---- the model -----------------------------------------------------------------------------------------------------


def test_parts(device: str) -> None:
    layers = [fd.Dense(6, "relu"), fd.BatchNorm(), fd.Dense(2, name="out")]
    model = fd.Model(layers, inputs=4, seed=3, device=device, name="net")
    assert (model.name, model.inputs, model.outputs, model.seed, model.device) == ("net", 4, 2, 3, device)
    assert model.layers == layers and model.metrics_names == ["loss"] and model.history is None
    assert model.count_params() == 24 + 6 + 24 + 12 + 2
    shapes = [(4, 6), (6,), (6,), (6,), (6,), (6,), (6, 2), (2,)]
    assert [w.shape for w in model.get_weights()] == [w.shape for w in model.weights] == shapes
    model.compile("adam", "mse", metrics=["mae", fd.metrics.R2Score(name="fit")])
    assert model.metrics_names == ["loss", "mae", "fit"] and isinstance(model.optimizer, fd.Adam)
    assert model.loss.name == "mean_squared_error" and [m.name for m in model.metrics] == ["mae", "fit"]
    assert repr(model) == f"<Model 'net' 4 -> 6 -> 6 -> 2, 68 parameters, float32 on {device}>"


def test_summary(device: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = fd.Model(
        [fd.Dense(6, "relu"), fd.Dense(6), fd.BatchNorm(), fd.Dense(2, name="out")], inputs=4, device=device
    )
    assert model.summary() is None  # type: ignore[func-returns-value]
    printed = capsys.readouterr().out
    assert "dense (Dense)" in printed
    assert "dense_1 (Dense)" in printed and "batch_norm (BatchNorm)" in printed and "out (Dense)" in printed
    assert "Total params: 110 (440 B)" in printed and "Non-trainable params: 12 (48 B)" in printed
    lines: list[str] = []
    model.summary(print_fn=lines.append)
    assert "\n".join(lines) + "\n" == printed
    assert capsys.readouterr().out == ""


def test_seed_decides_the_first_values(device: str) -> None:
    assert same(make(device, seed=1).get_weights(), make(device, seed=1).get_weights())
    assert not same(make(device, seed=1).get_weights(), make(device, seed=2).get_weights())


def test_both_engines_start_and_train_alike() -> None:
    pytest.importorskip("fastdense._core")
    layers = [fd.Dense(8, "relu"), fd.Dropout(0.2), fd.Residual([fd.Dense(8, "tanh")]), fd.BatchNorm(), fd.Dense(2)]
    runs = []
    for device in ("reference", "cpu"):
        model = make(device, fd.Normalization(), *layers, metrics=["mae"], dtype="float64")
        history = model.fit(X, Y, epochs=4, batch_size=8, validation_split=0.2, verbose=0).history
        runs.append([*history.values(), *model.get_weights(), model.predict(X)])
    for a, b in zip(*runs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def test_dtype_of_results(device: str) -> None:
    for dtype in ("float32", "float64"):
        model = make(device, dtype=dtype)
        expected = np.float64 if device == "reference" else np.dtype(dtype)
        assert model.predict(X).dtype == model.get_weights()[0].dtype == expected
        assert model.loss_and_grad(X, Y)[1][0].dtype == expected


def test_weights_are_copies(device: str) -> None:
    model = make(device)
    before = model.get_weights()
    for weight in model.get_weights():
        weight[...] = 7
    assert same(model.get_weights(), before)
    model.set_weights([np.asfortranarray(w, np.float64) * 2 for w in before])
    assert same(model.get_weights(), [w * 2 for w in before])
    model.set_weights([w.tolist() for w in before])
    assert same(model.get_weights(), before)


def test_to_moves_everything() -> None:
    pytest.importorskip("fastdense._core")
    model, stayed = make("cpu", dtype="float64"), make("cpu", dtype="float64")
    for m in (model, stayed):
        m.fit(X, Y, epochs=2, verbose=0)
    assert model.to("reference") is model and model.device == "reference"
    assert same(model.get_weights(), stayed.get_weights())
    moved, here = (m.fit(X, Y, epochs=2, verbose=0).history["loss"] for m in (model, stayed))
    np.testing.assert_allclose(moved, here, rtol=1e-10)
    np.testing.assert_allclose(model.to("cpu").predict(X), stayed.predict(X), rtol=1e-9)


# ---- numbers -------------------------------------------------------------------------------------------------------


def test_the_loss_reported_is_the_loss_optimised(device: str) -> None:
    layers = [fd.Dense(6, "tanh", kernel_regularizer="l2", activity_regularizer="l1"), fd.Dense(2)]
    model = make(device, *layers, optimizer=fd.SGD(0.1), dtype="float64")
    loss, gradient = model.loss_and_grad(X, Y)
    predicted = model.predict(X)
    hidden = model.activations(X)[0]
    weights = model.get_weights()
    penalty = 0.01 * (weights[0] ** 2).sum() + 0.01 * np.abs(hidden).sum() / len(X)
    assert loss == pytest.approx(np.mean((predicted - Y) ** 2) + penalty, rel=1e-12)
    assert model.evaluate(X, Y) == pytest.approx(loss, rel=1e-12)
    history = model.fit(X, Y, batch_size=len(X), shuffle=False, verbose=0)
    assert history.history["loss"] == [pytest.approx(loss, rel=1e-12)]
    for before, after, g in zip(weights, model.get_weights(), gradient, strict=True):
        np.testing.assert_allclose(after, before - 0.1 * g, rtol=1e-10, atol=1e-14)


def test_gradient_is_that_of_the_loss(device: str) -> None:
    model = make(device, fd.Dense(5, "softplus"), fd.LayerNorm(), fd.Dense(2), dtype="float64")
    w = RNG.rand(len(X))
    _, gradient = model.loss_and_grad(X, Y, sample_weight=w)
    weights = model.get_weights()
    for k, g in enumerate(gradient):
        place = tuple(int(RNG.randint(n)) for n in g.shape)
        numeric = []
        for step in (1e-5, -1e-5):
            moved = [v.copy() for v in weights]
            moved[k][place] += step
            model.set_weights(moved)
            numeric.append(model.loss_and_grad(X, Y, sample_weight=w)[0])
        assert (numeric[0] - numeric[1]) / 2e-5 == pytest.approx(g[place], rel=1e-6, abs=1e-9)


def test_activations_are_those_of_the_layers(device: str) -> None:
    model = make(device, fd.Dense(6, "relu"), fd.Residual([fd.Dense(6), fd.Dropout(0.5)]), fd.BatchNorm(), fd.Dense(2))
    found = model.activations(X)
    w = model.get_weights()
    first = np.maximum(X @ w[0] + w[1], 0)
    np.testing.assert_allclose(found[0], first, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found[1], first + first @ w[2] + w[3], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[-1], model.predict(X), rtol=1e-5, atol=1e-6)
    assert [a.shape for a in found] == [(50, 6), (50, 6), (50, 6), (50, 2)]


def test_evaluate_forms(device: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(make(device).evaluate(X, Y), float)
    model = make(device, metrics=["mae", "mse"])
    values = model.evaluate(X, Y, batch_size=7)
    named = model.evaluate(X, Y, return_dict=True, verbose=0)
    assert isinstance(values, list) and dict(zip(model.metrics_names, values, strict=True)) == named
    assert named["mse"] == pytest.approx(named["loss"], rel=1e-6)
    assert capsys.readouterr().out == ""
    model.evaluate(X, Y, verbose=2)
    model.predict(X, verbose=1)
    printed = capsys.readouterr().out
    assert printed.startswith(f"evaluate: loss {named['loss']:.4g} - mae") and "predict: 50 rows" in printed


def test_train_on_batch(device: str) -> None:
    one, fitted = make(device, metrics=["mae"]), make(device, metrics=["mae"])
    got = one.train_on_batch(X, Y, return_dict=True)
    history = fitted.fit(X, Y, batch_size=50, shuffle=False, verbose=0).history
    assert got == {key: values[0] for key, values in history.items()}
    assert same(one.get_weights(), fitted.get_weights())
    assert one.runner.step == 1 and one.runner.epochs_trained == 0 and fitted.runner.epochs_trained == 1
    loss, mae = one.train_on_batch(X, Y, np.ones(50))
    assert loss < got["loss"] and mae > 0
    classifier = make(device, fd.Dense(3, "softmax"), loss="sparse_categorical_crossentropy")
    before = classifier.loss_and_grad(X, IDS, sample_weight=np.where(IDS == 1, 3.0, 1.0))[0]
    assert classifier.train_on_batch(X, IDS, class_weight={1: 3.0}) == pytest.approx(before, rel=1e-6)


# ---- fit -----------------------------------------------------------------------------------------------------------


def test_history(device: str) -> None:
    model = make(device, metrics=["mae"])
    history = model.fit(X, Y, epochs=5, batch_size=20, initial_epoch=2, validation_data=(X, Y), verbose=0)
    assert model.history is history and history.epoch == [2, 3, 4]
    assert list(history.history) == ["loss", "mae", "val_loss", "val_mae"]
    assert all(len(v) == 3 and all(type(n) is float for n in v) for v in history.history.values())
    assert {"epochs": 5, "steps": 3, "verbose": 0}.items() <= history.params.items()
    assert history.history["val_loss"][-1] == model.evaluate(X, Y)[0]
    assert model.fit(X, Y, epochs=0, verbose=0).history == {}
    assert repr(history).startswith("<History of 3 epochs: loss=")


def test_fit_goes_on_where_it_was(device: str) -> None:
    together, apart = make(device), make(device)
    whole = together.fit(X, Y, epochs=6, batch_size=8, verbose=0).history["loss"]
    parts: list[float] = []
    for _ in range(3):
        parts += apart.fit(X, Y, epochs=2, batch_size=8, verbose=0).history["loss"]
    assert parts == whole and same(apart.get_weights(), together.get_weights())
    assert apart.runner.epochs_trained == 6 and apart.runner.step == 6 * 7


def test_the_way_of_calling_changes_no_bit(device: str) -> None:
    """Many epochs, one epoch or one batch per call of the engine: the same training."""
    runs = []
    for callbacks in (
        [],
        [fd.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)],
        [fd.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)],
        [fd.callbacks.LambdaCallback(on_test_end=lambda logs: None)],
    ):
        model = make(device, fd.Dense(6, "relu"), fd.Dropout(0.3), fd.BatchNorm(), fd.Dense(2), metrics=["mae"])
        schedule = fd.schedules.ExponentialDecay(0.01, decay_steps=5, decay_rate=0.9)
        model.compile(fd.Adam(schedule), "mse", metrics=["mae"])
        history = model.fit(X, Y, epochs=7, batch_size=16, validation_split=0.2, callbacks=callbacks, verbose=0)
        runs.append((history.history, model.get_weights(), model.runner.step, model.runner.epochs_trained))
    for run in runs[1:]:
        assert run[0] == runs[0][0] and same(run[1], runs[0][1]) and run[2:] == runs[0][2:]


def test_tiny_nets_train_many_epochs_per_call(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastdense.training.loop.time.perf_counter", lambda: 0.0)  # however busy the machine is
    model = make(device, fd.Dense(1), loss="mse")
    calls: list[int] = []
    original = model.runner.train

    def counting(*args: Any, **kwargs: Any) -> Any:
        calls.append(kwargs["steps"])
        return original(*args, **kwargs)

    model.runner.train = counting  # type: ignore[method-assign]
    x, y = X[:8], Y[:8, 0]
    history = model.fit(x, y, epochs=120, batch_size=4, verbose=0)
    assert len(history.epoch) == 120 and sum(calls) == 240
    assert len(calls) < 60 and calls[0] == 2 < max(calls)


def test_same_bits_at_any_number_of_threads(device: str) -> None:
    runs = []
    for threads in (1, 2, 3, None):
        model = make(device, fd.Dense(40, "relu"), fd.Dense(2))
        runs.append((model.fit(X, Y, epochs=3, n_threads=threads, verbose=0).history, model.get_weights()))
    assert all(run[0] == runs[0][0] and same(run[1], runs[0][1]) for run in runs)


def test_shuffling(device: str) -> None:
    def losses(**kwargs: Any) -> list[float]:
        return make(device).fit(X, Y, epochs=2, batch_size=8, verbose=0, **kwargs).history["loss"]

    assert losses() == losses(shuffle=True) != losses(shuffle=False)


def test_compile_starts_the_optimizer_afresh(device: str) -> None:
    model = make(device)
    model.fit(X, Y, epochs=2, verbose=0)
    weights = model.get_weights()
    model.compile("adam", "mse")
    assert same(model.get_weights(), weights) and model.runner.step == 0
    assert all(not array.any() for slot in model.runner.slots() for array in slot)
    model.compile("sgd", "mae", metrics="mse")
    assert model.metrics_names == ["loss", "mse"] and model.runner.slots() == []


def test_the_learning_rate_may_be_assigned(device: str) -> None:
    model = make(device)
    weights = model.get_weights()
    model.optimizer.learning_rate = 0.0
    model.fit(X, Y, verbose=0)
    assert same(model.get_weights(), weights)
    model.optimizer.learning_rate = 0.1
    model.fit(X, Y, verbose=0)
    assert not same(model.get_weights(), weights)


def test_nonfinite_loss_warns(device: str) -> None:
    model = make(device, fd.Dense(2), optimizer=fd.SGD(1e30))
    with pytest.warns(RuntimeWarning, match=r"fit: the loss became (nan|inf) in epoch \d; .*TerminateOnNaN") as warned:
        history = model.fit(X, Y, epochs=20, batch_size=10, verbose=0)
    assert len(warned) == 1 and warned[0].filename == __file__ and len(history.epoch) == 20


# ---- normalization -------------------------------------------------------------------------------------------------


def statistics(model: fd.Model) -> tuple[Array, Array]:
    return model.get_weights()[0], model.get_weights()[1]


def test_normalization_takes_the_first_fit(device: str) -> None:
    x = X * [1, 10, 100, 1000] + [5, 6, 7, 8]
    model = make(device, fd.Normalization(), fd.Dense(2))
    np.testing.assert_array_equal(statistics(model), [[0] * 4, [1] * 4])
    model.fit(x, Y, epochs=1, validation_split=0.2, verbose=0)
    np.testing.assert_allclose(statistics(model)[0], x[:40].mean(0), rtol=1e-5)
    np.testing.assert_allclose(statistics(model)[1], x[:40].var(0), rtol=1e-4)
    normalized = model.activations(x[:40])[0]
    np.testing.assert_allclose(normalized.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(normalized.std(0), 1, rtol=1e-4)
    before = statistics(model)
    model.fit(2 * x, Y, verbose=0)
    np.testing.assert_array_equal(statistics(model), before)


def test_adapted_normalization_is_kept(device: str) -> None:
    layer = fd.Normalization().adapt(10 * X)
    model = make(device, layer, fd.Dense(2))
    np.testing.assert_allclose(statistics(model)[0], 10 * X.mean(0), rtol=1e-5)
    model.fit(X, Y, verbose=0)
    np.testing.assert_allclose(statistics(model)[0], 10 * X.mean(0), rtol=1e-5)
    for adapt in (layer.adapt, model.layers[0].adapt):  # type: ignore[attr-defined]
        adapt(20 * X)
        np.testing.assert_allclose(statistics(model)[0], 20 * X.mean(0), rtol=1e-5)
        adapt(30 * X)
        assert abs(model.activations(30 * X)[0].mean()) < 1e-4


def test_models_of_the_same_layers_stay_apart(device: str) -> None:
    layers = [fd.Normalization(), fd.Dense(2)]
    one, two = make(device, *layers), make(device, *layers)
    one.fit(X, Y, verbose=0)
    two.fit(100 * X, Y, verbose=0)
    np.testing.assert_allclose(100 * statistics(one)[0], statistics(two)[0], rtol=1e-5)


def test_statistics_set_as_weights_count_as_known(device: str) -> None:
    one, two = make(device, fd.Normalization(), fd.Dense(2)), make(device, fd.Normalization(), fd.Dense(2))
    one.fit(X, Y, verbose=0)
    two.set_weights(one.get_weights())
    two.fit(100 * X, Y, verbose=0)
    np.testing.assert_array_equal(statistics(one), statistics(two))


# ---- copies --------------------------------------------------------------------------------------------------------


def test_clone_learns_like_a_new_model(device: str) -> None:
    layers = [fd.Normalization(), fd.Dense(6, "relu"), fd.Dense(2)]
    model = make(device, *layers, metrics=["mae"], seed=1)
    first = model.fit(X, Y, epochs=2, verbose=0).history
    twin = model.clone()
    assert twin.compiled and twin.metrics_names == ["loss", "mae"] and twin.runner.epochs_trained == 0
    assert twin.fit(X, Y, epochs=2, verbose=0).history == first
    fresh = make(device, *layers, metrics=["mae"], seed=5)
    assert model.clone(seed=5).fit(X, Y, verbose=0).history == fresh.fit(X, Y, verbose=0).history
    twin.optimizer.learning_rate = 7.0
    assert model.optimizer.learning_rate == 0.001


def test_clone_keeps_statistics_that_were_given(device: str) -> None:
    model = make(device, fd.Normalization().adapt(10 * X), fd.Dense(2))
    np.testing.assert_allclose(statistics(model.clone(seed=2))[0], 10 * X.mean(0), rtol=1e-5)


def test_config_makes_an_equal_model(device: str) -> None:
    layers = [
        fd.Dense(6, fd.Activation("leaky_relu", 0.1), kernel_regularizer="l2"),
        fd.Residual([fd.Dense(6)]),
        fd.Dense(2),
    ]
    model = make(device, *layers, seed=4, name="net")
    twin = fd.Model.from_config(model.get_config())
    assert twin.get_config() == model.get_config() and same(twin.get_weights(), model.get_weights())
    assert not twin.compiled and twin.get_compile_config() is None


@pytest.mark.parametrize("way", ["pickle", "copy"])
def test_pickle_and_copy(device: str, way: str) -> None:
    model = make(device, fd.Normalization(), fd.Dense(6, "relu"), fd.Dense(2), metrics=["mae"])
    model.fit(X, Y, epochs=2, verbose=0)
    twin = pickle.loads(pickle.dumps(model)) if way == "pickle" else copy.deepcopy(model)
    assert twin.device == device and same(twin.get_weights(), model.get_weights())
    a, b = (m.fit(X, Y, epochs=2, verbose=0).history for m in (model, twin))
    assert a == b and same(twin.get_weights(), model.get_weights())


def test_a_model_is_freed_when_dropped(device: str) -> None:
    model = make(device)
    history = model.fit(X, Y, verbose=0)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None and history.epoch == [0]
