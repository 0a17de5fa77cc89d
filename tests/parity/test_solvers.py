"""Full-batch solvers: against the reference engine step by step, against closed forms, and as optimizers of a model."""

from __future__ import annotations

import os
import re
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense import _core, reference
from fastdense.calls import TrainCall
from fastdense.optimizers import Solver
from fastdense.optimizers.full_batch import ENDINGS
from tests.helpers.pairs import Problem, Results, compare, inputs
from tests.helpers.programs import (
    BEGIN,
    END,
    LAYER_NORM,
    NORMALIZATION,
    OFF,
    OPTIMIZERS,
    RESCALING,
    activation,
    dense,
    loss_spec,
    metric,
)
from tests.helpers.tolerances import DIFFERENCE, DTYPES, UNIT

Array = Any
LBFGS = {"kind": "lbfgs", "history_size": 3, "line_search_steps": 25, "gtol": 0.0, "ftol": -1.0}
LM = {"kind": "levenberg_marquardt", "damping": 1e-2, "gtol": 0.0, "ftol": -1.0}
NEWTON = {"kind": "newton_cg", "radius": 0.5, "cg_steps": 20, "gtol": 0.0, "ftol": -1.0}
STEPS = 4  # few enough that rounding has not yet grown by the curvature's condition number


def run(steps: int = STEPS) -> Any:
    def ask(engine: Any, problem: Problem, noise: Any) -> Results:
        x, y, w = inputs(problem, noise)
        done = engine.train(TrainCall(x, y, w, np.ones(steps), len(x), shuffle=False, n_threads=1))
        assert (done["steps"], done["ended"]) == (steps, "")
        state = engine.get_state()
        found = {f"tensor {i}": tensor for i, tensor in enumerate(engine.get_tensors())}
        return found | {"totals": np.asarray(done["totals"]), "numbers": np.asarray(state["numbers"])}

    return ask


NETS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "tanh": ([dense(5, "tanh"), dense(3)], loss_spec("mse")),
    "deep": ([dense(6, "gelu"), BEGIN, dense(6, "silu", use_bias=False), END, activation("tanh"), dense(2)], {}),
    "penalties": ([dense(5, "sigmoid", kernel_l2=0.01, bias_l2=0.02), dense(2, kernel_l2=0.003)], {}),
    "rescaled": ([RESCALING, dense(5, "tanh"), RESCALING, dense(2), RESCALING], {}),
    "scaled": ([NORMALIZATION, dense(5, "softplus"), dense(1)], {}),
}
MORE: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "classes": ([dense(8, "tanh"), dense(3, "softmax")], loss_spec("categorical_crossentropy")),
    "labels": ([dense(8, "relu"), dense(3, "softmax")], loss_spec("sparse_categorical_crossentropy")),
    "binary": ([dense(8, "silu"), dense(2, "sigmoid")], loss_spec("binary_crossentropy")),
    "all penalties": (
        [dense(6, "elu", kernel_l1=1e-3, activity_l2=1e-2, kernel_repulsion=0.1), LAYER_NORM, dense(2)],
        loss_spec("log_cosh"),
    ),
}


WIDE = [dense(66, "tanh"), dense(64, "sigmoid"), dense(2)]  # products of our own, packed operands


CURVED: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "classes": MORE["classes"],
    "labels": MORE["labels"],
    "binary": MORE["binary"],
    "smoothed": (MORE["classes"][0], loss_spec("categorical_crossentropy", label_smoothing=0.1)),
    "logits": ([dense(6, "elu"), dense(3)], loss_spec("categorical_crossentropy", from_logits=True)),
    "softmax, mse": ([dense(6, "tanh"), dense(3, "softmax")], loss_spec("mse")),
    "huber": ([dense(6, "tanh"), dense(2)], loss_spec("huber")),
    "log_cosh": ([BEGIN, dense(4, "tanh"), END, dense(2)], loss_spec("log_cosh")),
    "poisson": ([dense(6, "tanh"), dense(2, "softplus")], loss_spec("poisson")),
}


@pytest.mark.parametrize("name", [*NETS, *MORE])
def test_lbfgs_step_by_step(name: str) -> None:
    ops, loss = (NETS | MORE)[name]
    compare(Problem(ops, loss or loss_spec("mse"), options=LBFGS, metrics=(metric("mae"),), rows=30), run())


@pytest.mark.parametrize("name", NETS)
def test_levenberg_marquardt_step_by_step(name: str) -> None:
    ops, loss = NETS[name]
    compare(Problem(ops, loss or loss_spec("mse"), options=LM, metrics=(metric("mae"),), rows=30), run())


@pytest.mark.parametrize("name", [*NETS, *CURVED])
def test_newton_cg_step_by_step(name: str) -> None:
    ops, loss = (NETS | CURVED)[name]
    compare(Problem(ops, loss or loss_spec("mse"), options=NEWTON, metrics=(metric("mae"),), rows=70), run())


@pytest.mark.parametrize("spec", [LBFGS, NEWTON, LM], ids=lambda spec: str(spec["kind"]))
def test_wide_layers(spec: Any) -> None:
    ops = WIDE if spec is not LM else [dense(80, "tanh"), dense(2)]
    compare(Problem(ops, options=spec, rows=70, inputs=6), run(2))


def test_jacobian_of_the_reference_by_differences() -> None:
    problem = Problem(NETS["deep"][0], rows=5)
    engine, (x, _, _) = problem.engine(reference.Engine), problem.data()
    tensors = engine.get_tensors()
    own = engine._live.tensors
    found = reference.engine.jacobian(engine._ops, own, engine._forward(x, False), x.astype(np.float64))
    flat = np.concatenate([tensor.ravel() for tensor in tensors])
    for place in range(0, len(flat), 7):
        sides = []
        for sign in (-1.0, 1.0):
            moved = flat.copy()
            moved[place] += sign * DIFFERENCE
            engine.set_tensors(reference.arrays.split(moved, [tensor.shape for tensor in tensors]))
            out = np.empty((len(x), 2))
            engine.predict(x, out)
            sides.append(out)
        np.testing.assert_allclose(found[:, :, place], (sides[1] - sides[0]) / (2 * DIFFERENCE), rtol=1e-6, atol=1e-8)


# -- same bits, whatever the team ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spec", [LBFGS, LM, NEWTON], ids=lambda spec: str(spec["kind"]))
def test_same_bits_at_any_thread_count(spec: Any, dtype: str) -> None:
    ops = [dense(16, "tanh", kernel_l2=1e-4), dense(8, "sigmoid"), dense(2)]
    problem = Problem(ops, options=spec, metrics=(metric("mae"),), inputs=20, rows=6000)
    x, y, w = problem.data()
    seen = set()
    for threads in (1, 2, 4):
        engine = problem.engine(_core.Engine, dtype)
        done = engine.train(TrainCall(x, y, w, np.ones(3), len(x), shuffle=False, n_threads=threads))
        seen.add(b"".join(tensor.tobytes() for tensor in engine.get_tensors()) + done["totals"].tobytes())
    assert len(seen) == 1


# -- what a solver finds ---------------------------------------------------------------------------------------------


def data(rows: int = 200, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 4))
    return x, np.sin(x @ rng.normal(size=(4, 2)))


def model_of(optimizer: Any, device: str = "cpu", dtype: str = "float64", **options: Any) -> fd.Model:
    model = fd.Model([fd.Dense(8, "tanh"), fd.Dense(2)], inputs=4, seed=3, device=device, dtype=dtype)
    model.compile(optimizer, "mse", **options)
    return model


@pytest.mark.parametrize("optimizer", ["lbfgs", "lm", "newton_cg"])
def test_a_linear_net_ends_at_the_ridge_solution(optimizer: str) -> None:
    x, y = data()
    model = fd.Model(
        [fd.Dense(2, use_bias=False, kernel_regularizer=fd.regularizers.l2(0.1))], inputs=4, dtype="float64"
    )
    model.compile(optimizer, "mse")
    history = model.fit(x, y, epochs=100, verbose=0)
    assert history.params["ended"] in (ENDINGS["gradient"], ENDINGS["loss"], ENDINGS["stuck"])
    size = x.shape[0] * y.shape[1]
    best = np.linalg.solve(x.T @ x / size + 0.1 * np.eye(4), x.T @ y / size)
    # the gradient is at most gtol = 1e-5 and the least curvature at least twice the penalty, 0.2
    np.testing.assert_allclose(model.get_weights()[0], best, atol=1e-5 / 0.2 * 2)


def test_levenberg_marquardt_learns_the_sine() -> None:
    x = np.linspace(-3, 3, 400)[:, None]
    layers = [fd.Dense(10, "tanh"), fd.Dense(10, "tanh"), fd.Dense(1)]
    model = fd.Model(layers, inputs=1, seed=1, dtype="float64")
    model.compile("lm", "mse")
    history = model.fit(x, np.sin(x), epochs=400, verbose=0)
    assert min(history.history["loss"]) <= 1e-10
    assert np.all(np.diff(history.history["loss"]) < 0)


@pytest.mark.parametrize("seed", range(4))
def test_lbfgs_never_becomes_nan(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(50):
        units, rows = int(rng.integers(1, 9)), int(rng.integers(1, 30))
        kind = str(rng.choice(["relu", "exponential", "softplus", "tanh", "selu", "gelu"]))
        model = fd.Model([fd.Dense(units, kind), fd.Dense(1)], inputs=3, seed=int(rng.integers(1000)))
        model.compile("lbfgs", str(rng.choice(["mse", "mae", "huber", "log_cosh"])))
        x = rng.normal(size=(rows, 3)) * 10.0 ** rng.uniform(-3, 1)
        history = model.fit(x, 10.0 ** rng.uniform(-3, 4) * rng.normal(size=rows), epochs=30, verbose=0)
        if history.params.get("ended") == ENDINGS["nonfinite"]:
            continue  # where it began
        assert all(np.isfinite(tensor).all() for tensor in model.get_weights())
        assert np.isfinite(history.history["loss"]).all()


# -- as an optimizer of a model --------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["lbfgs", "lm", "newton_cg"])
def test_history_is_of_the_parameters_after_the_iteration(device: str, optimizer: str) -> None:
    x, y = data()
    model = model_of(optimizer, device, metrics=["mae"])
    seen = []
    watch = fd.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(model.evaluate(x, y, verbose=0)))
    history = model.fit(x, y, epochs=5, validation_data=(x[:50], y[:50]), callbacks=[watch], verbose=0).history
    recorded = np.array(
        [history["loss"], history["mean_absolute_error" if "mean_absolute_error" in history else "mae"]]
    )
    np.testing.assert_allclose(recorded.T, seen, rtol=200 * UNIT["float64"])
    np.testing.assert_allclose(history["val_loss"][-1], model.evaluate(x[:50], y[:50], verbose=0)[0], rtol=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", [fd.LBFGS(history_size=2), "lm", "newton_cg"])
def test_goes_on_exactly(optimizer: Any, dtype: str, tmp_path: Path) -> None:
    x, y = data()
    whole, parts = model_of(optimizer, dtype=dtype), model_of(optimizer, dtype=dtype)
    expected = whole.fit(x, y, epochs=8, verbose=0).history["loss"]
    found = parts.fit(x, y, epochs=3, verbose=0).history["loss"]
    parts.save(tmp_path / "model.safetensors")
    parts = fd.load(tmp_path / "model.safetensors")
    found += parts.fit(x, y, epochs=8, initial_epoch=3, verbose=0).history["loss"]
    assert found == expected
    assert [tensor.tobytes() for tensor in parts.get_weights()] == [t.tobytes() for t in whole.get_weights()]
    assert whole.runner.step == parts.runner.step == 8


def test_state_moves_between_devices() -> None:
    x, y = data()
    here, there = model_of("lbfgs"), model_of("lbfgs")
    here.fit(x, y, epochs=6, verbose=0)
    there.fit(x, y, epochs=3, verbose=0)
    there.to("reference").fit(x, y, epochs=3, verbose=0)
    for a, b in zip(here.get_weights(), there.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


def test_ctrl_c_leaves_the_last_iteration() -> None:
    x = np.random.default_rng(0).normal(size=(4000, 4))
    model, other = model_of("lbfgs"), model_of("lbfgs")
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        model.compile(fd.LBFGS(gtol=0, ftol=0), "mse")
        model.fit(x, np.sin(3 * x[:, :2]), epochs=10**6, verbose=0)
    timer.join()
    assert model.history is not None
    steps = len(model.history.epoch)
    assert steps == model.runner.step > 0
    other.compile(fd.LBFGS(gtol=0, ftol=0), "mse")
    other.fit(x, np.sin(3 * x[:, :2]), epochs=steps, verbose=0)
    assert [t.tobytes() for t in model.get_weights()] == [t.tobytes() for t in other.get_weights()]


def test_ends_early_and_says_why(device: str, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = data(30)
    model = model_of(fd.LBFGS(gtol=1e-2), device)
    history = model.fit(x, y, epochs=10**4, verbose=2)
    assert len(history.epoch) < 100 and history.params["ended"] == ENDINGS["gradient"]
    last = f"LBFGS ends after epoch {len(history.epoch)}: every element of the gradient is at most gtol\n"
    assert capsys.readouterr().out.endswith(last)
    assert len(model.fit(x, y, epochs=5, verbose=0).epoch) == 1  # one look, and nothing to do
    model = model_of(fd.LBFGS(gtol=1e-2), device)
    by_batches = fd.callbacks.LambdaCallback(on_train_batch_end=lambda *_: None)
    again = model.fit(x, y, epochs=10**4, verbose=2, callbacks=[by_batches])
    assert again.history == history.history and again.params["ended"] == history.params["ended"]
    assert capsys.readouterr().out.endswith(last)


def test_batch_hooks_see_iterations() -> None:
    x, y = data(30)
    losses: list[float] = []
    watch = fd.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: losses.append(logs["loss"]))
    history = model_of("lbfgs").fit(x, y, epochs=4, callbacks=[watch], verbose=0)
    assert losses == history.history["loss"] and len(losses) == 4


def test_what_is_known_of_the_data_is_not_mistaken_for_others() -> None:
    """Calls of the engine inside one fit build on one another; anything in between starts them afresh."""
    x, y = data()
    whole, watched, disturbed = (model_of("lbfgs") for _ in range(3))
    expected = whole.fit(x, y, epochs=6, verbose=0).history["loss"]
    each = fd.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)  # returns to Python every epoch
    assert watched.fit(x, y, epochs=6, callbacks=[each], verbose=0).history["loss"] == expected

    def disturb(epoch: int, logs: Any) -> None:
        weights = disturbed.get_weights()
        disturbed.set_weights([2 * tensor for tensor in weights])
        disturbed.set_weights(weights)

    again = fd.callbacks.LambdaCallback(on_epoch_end=disturb)
    assert disturbed.fit(x, y, epochs=6, callbacks=[again], verbose=0).history["loss"] == expected
    before = whole.evaluate(x, -y, verbose=0)
    y *= -1  # in the same memory
    assert whole.fit(x, y, epochs=1, verbose=0).history["loss"][0] < before


# -- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "optimizer", "loss", "message"),
    [
        (
            [fd.Dense(3), fd.Dropout(0.2), fd.Dense(2)],
            "lbfgs",
            "mse",
            "compile: LBFGS was given for a net with Dropout, which makes the loss another function in every step; a "
            "full-batch optimizer needs one and the same function: remove the Dropout (an l2 penalty does its work), "
            "or use e.g. Adam",
        ),
        (
            [fd.Residual([fd.BatchNorm()]), fd.Dense(2)],
            "lm",
            "mse",
            "compile: LevenbergMarquardt was given for a net with BatchNorm, which ties all rows of a batch together; "
            "a full-batch optimizer takes rows in parts: use LayerNorm or Normalization, or e.g. Adam",
        ),
        (
            [fd.Dense(2)],
            "lm",
            "mae",
            "compile: the loss is mae; LevenbergMarquardt is for least squares: loss='mse': or use optimizer='lbfgs'",
        ),
        (
            [fd.Dense(2, "prelu")],
            "lm",
            "mse",
            "compile: LevenbergMarquardt was given for a net with activation='prelu'; it knows no Jacobian of that: "
            "use optimizer='lbfgs'",
        ),
        (
            [fd.Dense(2)],
            "newton_cg",
            "hinge",
            "compile: the loss is hinge; NewtonCG needs one that is curved; this one has no curvature (it is piecewise "
            "linear): use optimizer='lbfgs'",
        ),
        (
            [fd.Dense(2)],
            "newton_cg",
            "categorical_crossentropy",
            "compile: the loss is categorical_crossentropy of an output that does not come from softmax; NewtonCG "
            "knows it with softmax or from_logits=True: end with activation='softmax'",
        ),
        (
            [fd.Dense(2, kernel_regularizer="l1")],
            "lm",
            "mse",
            "compile: LevenbergMarquardt was given for a net with the penalty kernel_l1; it knows no Jacobian of that: "
            "use optimizer='lbfgs'",
        ),
    ],
)
def test_nets_that_are_refused(layers: list[Any], optimizer: str, loss: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        fd.Model(layers, inputs=3).compile(optimizer, loss)


def test_levenberg_marquardt_states_its_memory() -> None:
    with pytest.raises(MemoryError, match=r"^compile: LevenbergMarquardt for 9,001,000 parameters \(two matrices"):
        fd.Model([fd.Dense(1000)], inputs=9000).compile("lm", "mse")


def test_batch_size_is_all_rows() -> None:
    x, y = data(100)
    model = model_of("lbfgs")
    for size in (None, 32, 100, 1000):
        model.fit(x, y, batch_size=size, verbose=0)
    message = (
        "fit: batch_size is 50 for 100 rows; LBFGS is a full-batch optimizer: each step takes all rows: leave "
        "batch_size out; memory does not grow with the rows"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        model.fit(x, y, batch_size=50)


def test_noise_of_nothing_is_none() -> None:
    """Layers that change nothing leave the loss one and the same function."""
    x, y = data(30)
    ends = []
    for extra in ([], [fd.Dropout(0.0), fd.layers.GaussianNoise(0.0)]):
        model = fd.Model([fd.Dense(3, "tanh"), *extra, fd.Dense(2)], inputs=x.shape[1], seed=1)
        model.compile("lbfgs", "mse")
        model.fit(x, y, epochs=3, verbose=0)
        ends.append(model.get_weights())
    for one, other in zip(*ends, strict=True):
        np.testing.assert_array_equal(one, other)


def test_there_is_no_learning_rate() -> None:
    x, y = data(30)
    model = model_of("lbfgs")
    with pytest.raises(
        AttributeError, match="^LBFGS: a full-batch optimizer has no learning rate; remove what sets one"
    ):
        model.optimizer.learning_rate = 0.1
    with pytest.raises(AttributeError, match="^LBFGS: a full-batch optimizer has no learning rate"):
        model.fit(x, y, callbacks=[fd.callbacks.ReduceLROnPlateau()], verbose=0)
    assert not hasattr(model.optimizer, "clipnorm")
    assert set(OPTIMIZERS["sgd"] | OFF) - set(model.optimizer.lower()) and isinstance(model.optimizer, Solver)


def test_kfac_says_when_layers_are_too_wide() -> None:
    with pytest.raises(
        MemoryError,
        match=r"^compile: KFAC for layers so wide takes .*: use narrower layers, or e\.g\. optimizer='adam'$",
    ):
        fd.Model([fd.Dense(1)], inputs=2_000_000).compile("kfac", "mse")


def test_newton_cg_where_the_last_chunk_is_cut_into_fewer_slices() -> None:
    """Chunks of 64 rows in two slices, and a last one of 54 in one, which needs more room (the sanitizers see it)."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1270, 2048)) / 45.0
    y = x @ rng.normal(size=(2048, 2))
    model = fd.Model([fd.Dense(2)], inputs=2048, dtype="float64")
    model.compile(fd.NewtonCG(gtol=0.0, ftol=0.0), "mse")
    assert model.fit(x, y, epochs=1, verbose=0).history["loss"][0] < np.mean(y**2)
