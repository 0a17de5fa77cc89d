"""`Function`: layers whose formula is the user's, on each engine; what they may do wrong; stopping, threads, files."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import pickle
import re
import signal
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastdense as fd
from fastdense.layers import Weight

Array = NDArray[Any]
RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(70, 4)), RANDOM.normal(size=(70, 2))
DEVICES = ["cpu", "reference"]


def cosine(x: Array, dy: Array) -> Array:
    return np.cos(x) * dy


def affine(x: Array, w: Array, b: Array) -> Array:
    return x @ w + b


def affine_back(x: Array, w: Array, b: Array, dy: Array) -> tuple[Array, Array, Array]:
    return dy @ w.T, x.T @ dy, dy.sum(axis=0)


def scaled(x: Array, a: Array, shift: Array) -> Array:
    return np.tanh(a * x) + shift


def scaled_back(x: Array, a: Array, shift: Array, dy: Array) -> tuple[Array, Array]:
    through = dy * (1 - np.tanh(a * x) ** 2)
    return through * a, np.asarray((through * x).sum())


def sine(**options: Any) -> fd.Function:
    return fd.Function(np.sin, cosine, **options)


def dense(inputs: int, units: int, **options: Any) -> fd.Function:
    kernel = Weight("kernel", (inputs, units), **options)
    return fd.Function(affine, affine_back, weights=[kernel, Weight("bias", (units,), "zeros")])


def net(device: str = "cpu", **options: Any) -> fd.Model:
    layers = [
        fd.Dense(6, "tanh"),
        sine(),
        dense(6, 5, regularizer="l2", constraint="max_norm"),
        fd.Residual([fd.Function(scaled, scaled_back, weights=[Weight("a", (), "ones"), SHIFT])]),
        fd.Dense(2),
    ]
    made = fd.Model(layers, inputs=4, device=device, seed=3, **{"dtype": "float64", **options})
    made.compile("adam", "mse", metrics=["mae"])
    return made


SHIFT = Weight("shift", (1, 5), "random_normal", trainable=False)


def same(a: list[Array], b: list[Array]) -> bool:
    return all(x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


# ---- numbers ---------------------------------------------------------------------------------------------------------


def test_as_the_layers_of_the_library() -> None:
    """The same formulas, once by a Function and once by a Dense."""
    own = fd.Model([dense(4, 6), fd.Function(np.tanh, lambda x, dy: dy * (1 - np.tanh(x) ** 2)), dense(6, 2)],
                   inputs=4, dtype="float64", seed=1)  # fmt: skip
    theirs = fd.Model([fd.Dense(6, "tanh"), fd.Dense(2)], inputs=4, dtype="float64", seed=1)
    theirs.set_weights(own.get_weights())
    for optimizer in ("adam", fd.SGD(0.1, momentum=0.9, clipnorm=0.5), "lbfgs"):
        losses = []
        for model in (own, theirs):
            model.compile(optimizer, "mse")
            losses.append(model.fit(X, Y, epochs=3, validation_split=0.2, verbose=0).history)
        for key, values in losses[0].items():
            np.testing.assert_allclose(values, losses[1][key], rtol=1e-9)
        for a, b in zip(own.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9)


def test_gradients_are_those_of_finite_differences() -> None:
    model = net()
    loss, gradients = model.loss_and_grad(X, Y)
    values = model.get_weights()
    trained = [i for i, tensor in enumerate(model.net.tensors) if tensor.trainable]
    for i, gradient in zip(trained, gradients, strict=True):
        step = 1e-6 * RANDOM.normal(size=values[i].shape)
        found = []
        for sign in (1, -1):
            moved = [one + sign * step if k == i else one for k, one in enumerate(values)]
            model.set_weights(moved)
            found.append(model.loss_and_grad(X, Y)[0])
        # central differences of a loss of about 1, rounded to 1e-16, over a step of about 1e-6
        assert (found[0] - found[1]) / 2 == pytest.approx(float((gradient * step).sum()), rel=1e-5, abs=1e-14)
    assert model.loss_and_grad(X, Y)[0] != loss  # the last change is still there


def test_engines_agree() -> None:
    found = []
    for device in DEVICES:
        model = net(device)
        history = model.fit(X, Y, epochs=3, batch_size=16, validation_split=0.2, verbose=0).history
        found.append([*model.get_weights(), *history.values(), model.predict(X), *model.activations(X)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_same_bits_at_any_number_of_threads(dtype: str) -> None:
    found = []
    wide = [fd.Dense(256, "relu"), sine(), dense(256, 200), fd.Dense(2)]
    x, y = RANDOM.normal(size=(500, 4)), RANDOM.normal(size=(500, 2))
    for threads in (1, 2, 3):
        model = fd.Model(wide, inputs=4, seed=3, dtype=dtype)
        model.compile("adam", "mse")
        model.fit(x, y, epochs=2, batch_size=250, verbose=0, n_threads=threads)
        found.append([*model.get_weights(), model.predict(x, n_threads=threads)])
    assert same(found[0], found[1]) and same(found[0], found[2])


@pytest.mark.parametrize("device", DEVICES)
def test_training_sees_batches_and_says_so(device: str) -> None:
    seen: list[tuple[int, str]] = []

    def forward(x: Array) -> Array:
        seen.append((len(x), x.dtype.name))
        return x + 0.0

    layer = fd.Function(forward, lambda x, dy: dy, units=6, check=False)
    model = fd.Model([fd.Dense(6), layer, fd.Dense(2)], inputs=4, device=device)
    assert not seen  # nothing is tried
    model.compile("sgd", "mse")
    model.fit(X, Y, batch_size=32, verbose=0)
    assert [rows for rows, _ in seen] == [32, 32, 6]
    assert {dtype for _, dtype in seen} == {"float32" if device == "cpu" else "float64"}


@pytest.mark.parametrize("device", DEVICES)
def test_frozen_layers_and_limits(device: str) -> None:
    model = net(device)
    model.layers[2].trainable = False
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(X, Y, epochs=2, verbose=0)
    after = model.get_weights()
    names = [tensor.name for tensor in model.net.tensors]
    changed = {name for name, a, b in zip(names, before, after, strict=True) if not np.array_equal(a, b)}
    assert changed == {"dense/kernel", "dense/bias", "residual/0.a", "dense_1/kernel", "dense_1/bias"}
    model.layers[2].trainable = True
    model.compile(fd.SGD(1.0), "mse")
    model.fit(X, 10 * Y, epochs=1, verbose=0)
    assert np.sqrt((model.get_weights()[2] ** 2).sum(axis=0)).max() == pytest.approx(2.0, rel=1e-6)  # MaxNorm's limit


def test_optimizers_and_populations() -> None:
    for optimizer in ("lbfgs", "kfac", "muon"):
        model = net()
        for layer in model.layers:
            assert layer == copy.deepcopy(layer)
        made = fd.Model([fd.Dense(6, "tanh"), sine(), fd.Dense(2)], inputs=4, seed=1)
        made.compile(optimizer, "mse")
        losses = made.fit(X, Y, epochs=10, verbose=0).history["loss"]
        assert losses[-1] < losses[0]
    for optimizer in ("newton_cg", "levenberg_marquardt"):
        with pytest.raises(ValueError, match=r"was given for a net with a Function; it knows no Jacobian of that"):
            net().compile(optimizer, "mse")
    population = fd.fit_many(net(), X, Y, starts=3, epochs=2, verbose=0)
    for i in range(3):
        alone = net().clone(seed=i)
        alone.fit(X, Y, epochs=2, verbose=0)
        for a, b in zip(alone.get_weights(), population[i].get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
    heavy = fd.fit_many(net(), X, Y, starts=2, epochs=2, penalty=np.array([1.0, 100.0]), verbose=0)
    norms = [float(np.abs(heavy[i].get_weights()[2]).sum()) for i in range(2)]
    assert norms[1] < 0.99 * norms[0]


def test_closed_forms_and_diagnosis() -> None:
    model = net()
    model.place(X).solve_output(X, Y)
    before = model.evaluate(X, Y, verbose=0)[0]
    model.fit(X, Y, epochs=20, probes=True, verbose=0)
    assert model.evaluate(X, Y, verbose=0)[0] < before + 0.1
    assert "function" in str(model.summary.__self__.net.names)
    model.diagnose(X, Y, verify=False)


# ---- what may be wrong -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: fd.Function(np.sin), "Function: backward=None is of type NoneType. Give two functions: "),
        (lambda: fd.Function("sin", cosine), "Function: forward='sin' is of type str."),
        (lambda: sine(units=0), "Function: units=0"),
        (lambda: sine(weights=[3]), "Function: weights[0]=3 is of type int. Give the weight"),
        (lambda: sine(weights=[SHIFT, Weight("a", ())]), "has 'shift', which is not trained, before one that is"),
        (lambda: sine(weights=[Weight("a", ()), Weight("a", (2,))]), "Function: weights has a name twice."),
        (lambda: Weight("a", (0,)), "Weight: shape[0]=0"),
        (lambda: Weight("a", (2, 2, 2), constraint="max_norm"), "for a tensor of 3 dimensions. Leave it out"),
        (lambda: Weight("a", (2, 2), regularizer="orthogonal"), "Use l1, l2 or l1_l2 here"),
        (lambda: Weight("a", (2,), "data"), "Weight: initializer='data' places the units of a Dense."),
    ],
)  # fmt: skip
def test_refused_arguments(make: Callable[[], Any], says: str) -> None:
    with pytest.raises((ValueError, TypeError), match=re.escape(says)):
        make()


def centred(x: Array) -> Array:
    return x - x.mean(axis=0)


def divided(x: Array) -> Array:
    raise ZeroDivisionError("division by zero")


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        (fd.Function(centred, lambda x, dy: dy - dy.mean(axis=0)),
         "Function 'centred': a row of its outputs depends on other rows; rows must be independent of one another, as "
         "training and prediction take different numbers of them at a time: use axis=-1 or axis=1 in sums and means"),
        (fd.Function(np.sin, lambda x, dy: dy), "Function 'sin': dx that backward returned is not the derivative: "),
        (fd.Function(np.sin, lambda x, dy: dy[:, :1]),
         "Function 'sin': dx that backward returned has shape (3, 1); (3, 4) is needed"),
        (fd.Function(lambda x: x.sum(axis=1), cosine, name="sums"),
         "Function 'sums': forward returned an array of shape (3,) and dtype float64 for 3 rows; real numbers of shape "
         "(3, units) are needed"),
        (fd.Function(divided, cosine), "Function 'divided': forward raised ZeroDivisionError for 3 rows of 4 random "
         "numbers (division by zero); it must take any (with units= and check=False it is not tried)"),
        (fd.Function(np.sin, lambda dy: dy), "Function 'sin': backward raised TypeError ("),
        (fd.Function(affine, lambda x, w, b, dy: dy @ w.T, weights=[Weight("w", (4, 3)), Weight("b", (3,))]),
         "Function 'affine': backward returned 1 arrays; 3 are needed: dx, and one for each weight that is trained"),
        (fd.Function(affine, lambda x, w, b, dy: (dy @ w.T, 2 * x.T @ dy, dy.sum(axis=0)),
                     weights=[Weight("w", (4, 3)), Weight("b", (3,))]),
         "Function 'affine': the gradient of 'w' that backward returned is not the derivative: "),
        (sine(units=3), "Function 'sin': forward returned 4 columns; units=3 was given"),
    ],
)  # fmt: skip
def test_functions_are_tried_when_a_model_is_made(layer: fd.Function, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        fd.Model([layer, fd.Dense(2)], inputs=4)


def test_what_has_no_unique_derivative_is_not_tried() -> None:
    """A straight-through estimator: the derivative is chosen."""
    layer = fd.Function(np.sign, lambda x, dy: dy, check=False)
    model = fd.Model([fd.Dense(6), layer, fd.Dense(2)], inputs=4)
    model.compile("adam", "mse")
    before = model.get_weights()[0]
    model.fit(X, Y, verbose=0)
    assert not np.array_equal(model.get_weights()[0], before)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("made", "says"),
    [
        (lambda x: x[:, :1], "a function returned an array of shape (32, 1); (32, 6) is needed"),
        (lambda x: None, "Function 'turns': forward returned None for 32 rows; real numbers of shape (32, units)"),
    ],
)
def test_wrong_outputs_later(device: str, made: Callable[[Array], Any], says: str) -> None:
    turned = [False]
    layer = fd.Function(lambda x: made(x) if turned[0] else x, lambda x, dy: dy, units=6, check=False, name="turns")
    model = fd.Model([fd.Dense(6), layer, fd.Dense(2)], inputs=4, device=device)
    model.compile("sgd", "mse")
    turned[0] = True
    with pytest.raises(ValueError, match=re.escape(says)):
        model.fit(X, Y, verbose=0)
    turned[0] = False
    model.fit(X, Y, verbose=0)


def test_not_on_a_gpu(tmp_path: Path) -> None:
    says = re.escape("device: 'cuda' was asked for, and the net has a layer that computes a function of your own")
    with pytest.raises(ValueError, match=says):
        fd.Model([sine(), fd.Dense(2)], inputs=4, device="cuda")
    model = net()
    with pytest.raises(ValueError, match=says):
        model.to("cuda")
    assert model.device == "cpu"


# ---- stopping --------------------------------------------------------------------------------------------------------


class Broken(Exception):
    pass


@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
@pytest.mark.parametrize("device", DEVICES)
def test_an_exception_leaves_the_last_finished_step(device: str, optimizer: str, where: str) -> None:
    calls = {"forward": 0, "backward": 0}
    limit = {"forward": 10**9, "backward": 10**9}

    def counted(which: str) -> None:
        calls[which] += 1
        if calls[which] == limit[which]:
            raise Broken(which)

    def forward(x: Array) -> Array:
        counted("forward")
        return np.sin(x)

    def backward(x: Array, dy: Array) -> Array:
        counted("backward")
        return np.cos(x) * dy

    def made() -> fd.Model:
        layers = [fd.BatchNorm(), fd.Dense(6, "tanh"), fd.Function(forward, backward), fd.BatchNorm(), fd.Dense(2)]
        layers = [one for one in layers if optimizer == "adam" or not isinstance(one, fd.BatchNorm)]
        model = fd.Model(layers, inputs=4, device=device, seed=1)
        model.compile(optimizer, "mse")
        return model

    model, other = made(), made()
    calls.update(forward=0, backward=0)
    limit[where] = 7 if optimizer == "adam" else 3
    with pytest.raises(Broken, match=where):
        model.fit(X, Y, epochs=5, batch_size=32 if optimizer == "lbfgs" else 16, verbose=0)
    limit[where] = 10**9
    if optimizer == "adam":
        assert model.step == 6
        for _ in range(6):
            other.runner.train(other.optimizer, rows(other), None, batch_size=16, shuffle=True, steps=1,
                               first_batch=other.step % 5, whole_epochs=True)  # fmt: skip
        assert same(model.get_weights(), other.get_weights())
    calls.update(forward=0, backward=0)
    limit["forward"] = 1
    before = model.get_weights()
    for use in (model.predict, model.activations, lambda x: model.evaluate(x, Y, verbose=0),
                lambda x: model.loss_and_grad(x, Y)):  # fmt: skip
        calls["forward"] = 0
        with pytest.raises(Broken):
            use(X)
    assert same(before, model.get_weights())
    limit["forward"] = 10**9
    assert model.predict(X).shape == (70, 2)


def rows(model: fd.Model) -> Any:
    from fastdense.data.prepare import prepare

    return prepare("test", X, Y, None, model._shape, model.loss)


@pytest.mark.parametrize("device", DEVICES)
def test_ctrl_c_in_a_function(device: str) -> None:
    calls = [0]

    def forward(x: Array) -> Array:
        calls[0] += 1
        if calls[0] == 12:
            signal.raise_signal(signal.SIGINT)
        return np.sin(x)

    layers = [fd.Dense(6, "tanh"), fd.Function(forward, cosine, units=6, check=False), fd.Dense(2)]
    model = fd.Model(layers, inputs=4, device=device, seed=1)
    model.compile("adam", "mse")
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, epochs=10**6, batch_size=16, verbose=0)
    assert model.step == 11 and model.history is not None and len(model.history.epoch) == 2
    assert len(model.fit(X, Y, epochs=2, verbose=0).epoch) == 2


def test_a_function_cannot_use_its_own_model() -> None:
    models: list[fd.Model] = []

    def forward(x: Array) -> Array:
        if models:
            models[0].predict(X)
        return np.sin(x)

    models.append(fd.Model([fd.Function(forward, cosine), fd.Dense(2)], inputs=4))
    with pytest.raises(RuntimeError, match="this model is busy in another call"):
        models[0].predict(X)


def test_a_function_may_use_another_model() -> None:
    inner = fd.Model([sine(), fd.Dense(4)], inputs=4, dtype="float64")
    layer = fd.Function(inner.predict, lambda x, dy: dy, check=False)
    outer = fd.Model([layer, fd.Dense(2)], inputs=4, dtype="float64")
    kernel, bias = outer.get_weights()
    np.testing.assert_allclose(outer.predict(X), inner.predict(X) @ kernel + bias, rtol=1e-12)
    outer.compile("sgd", "mse")
    outer.fit(X, Y, verbose=0)


# ---- threads, processes, copies --------------------------------------------------------------------------------------


def test_predictions_from_several_threads() -> None:
    model = net()
    expected, found = model.predict(X), []

    def use() -> None:
        found.extend(model.predict(X) for _ in range(20))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(found) == 80 and all(np.array_equal(one, expected) for one in found)


def test_training_in_several_threads() -> None:
    models = [net() for _ in range(3)]
    threads = [threading.Thread(target=model.fit, args=(X, Y), kwargs={"epochs": 5, "verbose": 0}) for model in models]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    alone = net()
    alone.fit(X, Y, epochs=5, verbose=0)
    assert all(same(model.get_weights(), alone.get_weights()) for model in models)


def _in_child(model: fd.Model, pipe: Any) -> None:
    pipe.send(model.fit(X, Y, epochs=1, verbose=0).history["loss"])
    pipe.send(model.predict(X))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes(method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    model = net()
    here, there = context.Pipe()
    process = context.Process(target=_in_child, args=(model, there))
    process.start()
    there.close()
    loss, out = here.recv(), here.recv()
    process.join()
    assert process.exitcode == 0
    assert model.fit(X, Y, epochs=1, verbose=0).history["loss"] == loss
    np.testing.assert_array_equal(model.predict(X), out)


def test_copies() -> None:
    model = net()
    model.fit(X, Y, epochs=1, verbose=0)
    for made in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert same(made.get_weights(), model.get_weights())
        loss = [one.fit(X, Y, epochs=1, verbose=0).history["loss"] for one in (made, copy.deepcopy(model))]
        assert loss[0] == loss[1]
    own = fd.Model([fd.Function(lambda x: x, lambda x, dy: dy), fd.Dense(2)], inputs=4)
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(own)
    assert copy.deepcopy(own).predict(X).shape == (70, 2)


def test_a_model_that_its_function_knows_is_collected() -> None:
    def made() -> weakref.ref[Any]:
        known: dict[str, Any] = {}

        def forward(x: Array) -> Array:
            known.setdefault("calls", 0)
            return np.sin(x)

        model = fd.Model([fd.Function(forward, cosine), fd.Dense(2)], inputs=4)
        model.compile("adam", "mse")
        model.fit(X, Y, verbose=0)
        known["model"] = model
        return weakref.ref(model)

    found = made()
    gc.collect()
    assert found() is None


# ---- files -----------------------------------------------------------------------------------------------------------


FUNCTIONS = {"sin": (np.sin, cosine), "affine": (affine, affine_back), "scaled": (scaled, scaled_back)}


def test_files(tmp_path: Path) -> None:
    model = net()
    model.fit(X, Y, epochs=1, verbose=0)
    path = tmp_path / "net"
    model.save(path)
    with pytest.raises(ValueError, match=re.escape(
        f"load: {str(path)!r} cannot be loaded: it has a layer that computes the function 'sin' of your own; give it: "
        "custom_objects={'sin': (forward, backward)}"
    )):  # fmt: skip
        fd.load(path)
    loaded = fd.load(path, custom_objects=FUNCTIONS)
    assert same(loaded.get_weights(), model.get_weights()) and loaded.layers == model.layers
    assert [one.fit(X, Y, epochs=2, verbose=0).history["loss"] for one in (loaded, model)][0] == model.history.history[
        "loss"
    ]
    as_layers = fd.load(path, custom_objects={**FUNCTIONS, "sin": sine()})
    assert as_layers.predict(X).shape == (70, 2)
    other = net()
    other.load_weights(path)
    assert same(other.get_weights(), as_layers.get_weights())
    plain = fd.Model([fd.Dense(2)], inputs=4)
    with pytest.raises(ValueError, match="computes the function 'sin' of your own"):
        plain.load_weights(path)
    population = fd.fit_many(net(), X, Y, starts=3, epochs=1, verbose=0)
    ensemble = population.ensemble(X, Y, size=2)
    ensemble.save(tmp_path / "ensemble")
    again = fd.load(tmp_path / "ensemble", custom_objects=FUNCTIONS)
    np.testing.assert_array_equal(again.predict(X), ensemble.predict(X))
    with pytest.raises(ValueError, match="computes the function 'sin' of your own"):
        fd.load(tmp_path / "ensemble")


def test_two_functions_of_one_name(tmp_path: Path) -> None:
    layers = [fd.Function(lambda x: x, lambda x, dy: dy), fd.Function(lambda x: 2 * x, lambda x, dy: 2 * dy)]
    model = fd.Model([*layers, fd.Dense(2)], inputs=4)
    with pytest.raises(ValueError, match=re.escape("two Function layers compute different functions of the same name")):
        model.save(tmp_path / "net")
    named = [fd.Function(*layer.computation.functions, name=f"times_{i}") for i, layer in enumerate(layers)]
    model = fd.Model([*named, fd.Dense(2)], inputs=4)
    model.save(tmp_path / "net")
    pairs = {f"times_{i}": layer.computation.functions for i, layer in enumerate(layers)}
    np.testing.assert_array_equal(fd.load(tmp_path / "net", custom_objects=pairs).predict(X), model.predict(X))


def test_config() -> None:
    layer = dense(4, 3, regularizer="l1")
    assert repr(layer) == "Function(affine)" and repr(sine(units=3)) == "Function(sin, units=3)"
    config = layer.get_config()
    assert config["forward"] == "affine" and config["weights"][0]["config"]["shape"] == [4, 3]
    assert layer != sine() and layer == dense(4, 3, regularizer="l1") and layer != dense(4, 3)


def test_two_functions_of_one_name_are_no_members_of_one_shape() -> None:
    """A population keeps nets of one shape together: functions count, not their names."""
    layers = [fd.Function(lambda x: x, lambda x, dy: dy), fd.Function(lambda x: 2 * x, lambda x, dy: 2 * dy)]
    models = [fd.Model([fd.Dense(3), layer, fd.Dense(2)], inputs=4, seed=1) for layer in layers]
    for model in models:
        model.compile("sgd", "mse")
    found = fd.fit_many(models, X, Y, epochs=1, verbose=0).predict(X)
    for model, out in zip(models, found, strict=True):
        model.fit(X, Y, epochs=1, verbose=0)
        np.testing.assert_allclose(model.predict(X), out, rtol=1e-5, atol=1e-6)


def test_a_config_does_not_hold_the_function() -> None:
    with pytest.raises(ValueError, match="the function 'sin' is not known, which a config only names"):
        fd.Model.from_config(net().get_config())


def test_the_diagnosis_does_not_take_it_for_nothing() -> None:
    """A dense layer that has its activation in a Function is not linear."""
    model = fd.Model([fd.Dense(8), sine(), fd.Dense(1)], inputs=4)
    model.compile(fd.SGD(1e-6), "mse")
    report = model.diagnose(X, Y[:, :1], verify=False)
    assert "NO_CAPACITY" not in [finding.code for finding in report.findings]
    plain = fd.Model([fd.Dense(8), fd.Dense(1)], inputs=4)
    plain.compile(fd.SGD(1e-6), "mse")
    assert "NO_CAPACITY" in [finding.code for finding in plain.diagnose(X, Y[:, :1], verify=False).findings]
