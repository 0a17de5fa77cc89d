"""precision="tf32": float32 nets whose matrix products may round their operands to 11 significant bits; and "3xtf32".

The reference rounds them, a CPU computes in plain float32; what a GPU does is compared with the reference elsewhere.
With "3xtf32" neither differs from float32.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense import _core, reference
from fastdense.reference.arrays import to_bfloat16, to_tf32
from tests.helpers.pairs import Problem, inputs
from tests.helpers.programs import OPTIMIZERS, dense, loss_spec, train
from tests.parity.test_parity import gradients

Array = Any
NET = [dense(23, "tanh", kernel_l2=1e-3), {"kind": "layer_norm", "epsilon": 1e-3}, dense(17, "silu"), dense(3)]


def test_rounding() -> None:
    """To nearest, ties to even, over the whole range of float32; NaN and infinity stay what they are."""
    one, step = 1.0, 2.0**-10
    given = [one + 0.5 * step, one + 1.5 * step, one + 0.5001 * step, one + 0.4999 * step, -one - 1.5 * step, 0.0]
    wanted = [one, one + 2 * step, one + step, one, -one - 2 * step, 0.0]
    assert to_tf32(np.array(given)).tolist() == wanted
    largest = (2 - step) * 2.0**127
    ends = to_tf32(np.array([np.inf, -np.inf, np.nan, largest, largest + 0.6 * step * 2.0**127]))
    assert ends[:2].tolist() == [np.inf, -np.inf] and np.isnan(ends[2]) and ends[3:].tolist() == [largest, np.inf]
    x = np.random.default_rng(0).normal(size=1000)
    assert (np.abs(to_tf32(x) - x) <= 2.0**-11 * np.abs(x)).all()
    assert np.array_equal(to_tf32(to_bfloat16(x)), to_bfloat16(x))


def test_operands_are_rounded_and_nothing_else() -> None:
    x, w = 1 + 2.0**-13, 3 - 2.0**-12
    engine = reference.Engine({"inputs": 1, "seed": 0, "dtype": "tf32", "ops": [dense(1)]})
    engine.set_tensors([np.array([[w]]), np.array([x])])
    out = np.zeros((1, 1))
    engine.predict(np.array([[x]]), out, n_threads=1)
    assert out[0, 0] == 1.0 * 3.0 + x  # the bias keeps its bits
    assert engine.get_tensors()[0][0, 0] == w  # and so do the weights


def test_all_three_products_are_rounded() -> None:
    """Forward, through and down to the kernel: against the formula of a net of two layers."""
    problem = Problem([dense(5), dense(2)], inputs=4, rows=7, weighted=False)
    engine = problem.engine(reference.Engine, "tf32")
    x, y, _ = problem.data()
    _, found = engine.loss_and_grad(x, y, None, training=False, n_threads=1)
    w1, b1, w2, b2 = engine.get_tensors()
    h = to_tf32(x) @ to_tf32(w1) + b1
    g2 = 2 * (to_tf32(h) @ to_tf32(w2) + b2 - y) / y.size
    g1 = to_tf32(g2) @ to_tf32(w2).T
    wanted = [to_tf32(x).T @ to_tf32(g1), g1.sum(axis=0), to_tf32(h).T @ to_tf32(g2), g2.sum(axis=0)]
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def rms(x: Array) -> float:
    return float(np.sqrt(np.mean(np.square(np.asarray(x, np.float64)))))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_effect_is_an_eighth_of_bfloat16s(optimizer: str) -> None:
    """Three bits more in each operand; over five steps of every optimizer, for outputs and gradients."""
    problem = Problem(NET, loss_spec("log_cosh"), optimizer, {"epsilon": 1e-3}, inputs=9, rows=20, smooth=True)

    def ask(dtype: str) -> dict[str, Array]:
        engine = problem.engine(reference.Engine, dtype)
        x, y, w = inputs(problem, None)
        train(engine, x, y, w, batch_size=20, learning_rates=[1e-3] * 5)
        return gradients(engine, problem, None)

    exact, tf32, bfloat16 = map(ask, ("float64", "tf32", "bfloat16"))
    ratios = [rms(tf32[name] - exact[name]) / rms(bfloat16[name] - exact[name]) for name in exact]
    assert 1 / 32 < np.median(ratios) < 1 / 3  # 1/8; single numbers, such as the loss, may be off by luck


@pytest.mark.parametrize("dtype", ["tf32", "3xtf32"])
def test_a_cpu_computes_in_float32(dtype: str) -> None:
    """The same bits, in an engine and in the lanes of a population."""
    problem = Problem(NET, inputs=9, rows=20)
    float32, own = (gradients(problem.engine(_core.Engine, name), problem, None) for name in ("float32", dtype))
    assert all(np.array_equal(float32[name], own[name]) for name in float32)
    x, y, _ = problem.data()
    losses = []
    for precision in (None, dtype):
        model = fd.Model([fd.Dense(5, "tanh"), fd.Dense(3)], inputs=9, precision=precision)
        model.compile("adam", "mse")
        nets = fd.fit_many(model, x, y, starts=3, epochs=2, verbose=0)
        assert not nets.why_one_by_one
        losses.append(nets.losses)
    assert np.array_equal(*losses)


def test_the_reference_takes_3xtf32_for_float32() -> None:
    problem = Problem(NET, inputs=9, rows=20)
    exact, split = (
        gradients(problem.engine(reference.Engine, dtype), problem, None) for dtype in ("float32", "3xtf32")
    )
    assert all(np.array_equal(exact[name], split[name]) for name in exact)


# -- as a user meets it ------------------------------------------------------------------------------------------------


def make(**options: Any) -> fd.Model:
    model = fd.Model([fd.Dense(16, "relu"), fd.Dense(3, "softmax")], inputs=4, **options)
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def test_model(tmp_path: Path) -> None:
    """It stays what it is in files, copies and on other devices."""
    model = make(precision="tf32")
    assert (model.dtype, model.precision) == ("float32", "tf32") and "float32, tf32 on cpu" in repr(model)
    x, y = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32), np.arange(50) % 3
    model.fit(x, y, verbose=0)
    outputs = model.predict(x)
    assert outputs.dtype == np.float32
    model.save(tmp_path / "net.safetensors")
    same = [fd.load(tmp_path / "net.safetensors"), pickle.loads(pickle.dumps(model))]
    for other in (*same, fd.Model.from_config(model.get_config()), model.clone()):
        assert (other.dtype, other.precision) == ("float32", "tf32")
    assert all(np.array_equal(other.predict(x), outputs) for other in same)
    rounded = model.to("reference").predict(x)
    assert model.precision == "tf32" and 0 < np.abs(rounded - outputs).max() < 0.01
    exact = make(device="reference")
    exact.set_weights(model.get_weights())
    assert not np.array_equal(exact.predict(x), rounded)


def test_model_of_3xtf32(tmp_path: Path) -> None:
    """It stays what it is too, loses no digits anywhere, and may be trained by what compares losses."""
    model = make(precision="3xtf32")
    assert (model.dtype, model.precision) == ("float32", "3xtf32") and "float32, 3xtf32 on cpu" in repr(model)
    x, y = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32), np.arange(50) % 3
    model.save(tmp_path / "net.safetensors")
    for other in (fd.load(tmp_path / "net.safetensors"), pickle.loads(pickle.dumps(model)), model.clone()):
        assert (other.dtype, other.precision) == ("float32", "3xtf32")
    plain = make()
    plain.set_weights(model.get_weights())
    assert np.array_equal(model.predict(x), plain.predict(x))
    assert np.array_equal(model.to("reference").predict(x), plain.to("reference").predict(x))
    assert model.to("cpu").get_config() == plain.to("cpu").get_config() | {"precision": "3xtf32"}
    for optimizer in ("kfac", "lbfgs"):
        losses = []
        for one in (model, plain):
            one.compile(optimizer, "sparse_categorical_crossentropy")
            losses.append(one.fit(x, y, epochs=2, verbose=0).history["loss"])
        assert losses[0] == losses[1]


def test_bfloat16_has_two_names(tmp_path: Path) -> None:
    for options in ({"dtype": "bfloat16"}, {"precision": "bfloat16"}, {"dtype": "bfloat16", "precision": "bfloat16"}):
        model = make(**options)
        assert model.dtype == model.precision == "bfloat16" and ", bfloat16 on cpu" in repr(model)
        assert model.net.program == make(dtype="bfloat16").net.program
        model.save(tmp_path / "net.safetensors")
        assert fd.load(tmp_path / "net.safetensors").precision == "bfloat16"
    assert make().precision is None and make(dtype="float64").precision is None
    config = make(dtype="bfloat16").get_config()
    del config["precision"]  # as in files from before there was one
    assert fd.Model.from_config(config).precision == "bfloat16"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "tf16"}, "Model: precision='tf16' is not known. Use 'tf32', '3xtf32' or 'bfloat16', or None."),
        ({"precision": 32}, "Model: precision=32 is of type int. Give"),
        ({"precision": "tf32", "dtype": "float64"}, "dtype 'float64'; it is for float32 operands: use"),
        ({"precision": "3xtf32", "dtype": "float64"}, "Model: precision is '3xtf32' and dtype 'float64'"),
        ({"precision": "tf32", "dtype": "bfloat16"}, "Model: precision is 'tf32' and dtype 'bfloat16'"),
        ({"precision": "bfloat16", "dtype": "float64"}, "use dtype='float32', or leave out precision"),
    ],
)  # fmt: skip
def test_what_does_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        make(**options)
    assert message in str(caught.value)


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_solvers_need_the_differences(precision: str) -> None:
    message = f"compile: LBFGS was given for a net of precision '{precision}'; it compares losses, whose differences"
    with pytest.raises(ValueError, match=message):
        make(precision=precision).compile("lbfgs", "mse")
