"""bfloat16 nets: float32 everywhere but in the operands of matrix products, which are rounded to 8 significant bits."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense import _core
from fastdense.reference.arrays import to_bfloat16
from tests.helpers.tolerances import UNIT
from tests.runs import test_determinism

kernels = _core.kernels
ISAS = _core.build_info()["isa_available"].split(", ")
Array = Any
every_isa = pytest.mark.parametrize("isa", ISAS)


# -- kernels -----------------------------------------------------------------------------------------------------


def upper_half(x: Array) -> Array:
    """Round float32 numbers to bfloat16; its 16 bits."""
    return (to_bfloat16(x.astype(np.float64)).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


@pytest.mark.core
def test_the_references_rounding() -> None:
    """To nearest, ties to even, over the whole range of float32; NaN and infinity stay what they are."""
    one, step = 1.0, 2.0**-7
    given = [one + 0.5 * step, one + 1.5 * step, one + 0.5001 * step, one + 0.4999 * step, -one - 1.5 * step, 0.0]
    wanted = [one, one + 2 * step, one + step, one, -one - 2 * step, 0.0]
    assert to_bfloat16(np.array(given)).tolist() == wanted
    ends = to_bfloat16(np.array([np.inf, -np.inf, np.nan, 3.4e38, -3.4e38, 3.38e38]))
    assert ends[:2].tolist() == [np.inf, -np.inf] and np.isnan(ends[2]) and ends[3:5].tolist() == [np.inf, -np.inf]
    assert np.isfinite(ends[5])
    x = np.random.default_rng(0).normal(size=1000)
    assert (np.abs(to_bfloat16(x) - x) <= 2.0**-8 * np.abs(x)).all()


@every_isa
def test_packing(isa: str) -> None:
    """Every form holds the rounded numbers in its order; what is missing at an odd end is 0."""
    rng, tiny = np.random.default_rng(1), np.finfo(np.float32).tiny
    special = np.array([0, -0.0, np.inf, -np.inf, np.nan, 3.4e38, -3.4e38, tiny, 1 + 2**-8, 1 + 3 * 2**-8], np.float32)
    for rows in (1, 2, 3, 5, 8):
        for cols in (1, 2, 3, 15, 16, 17, 31, 32, 33, 50):
            a = (rng.normal(size=(rows, cols)) * 10.0 ** rng.integers(-30, 30, (rows, cols))).astype(np.float32)
            a.ravel()[rng.integers(0, a.size, 8)] = rng.choice(special, 8)
            by_row, pairs, panel = kernels.pairs_bf16(isa, a)
            padded = np.zeros((rows + rows % 2, cols + cols % 2), np.uint16)
            padded[:rows, :cols] = upper_half(a)
            nan = np.isnan(a)

            def same(got: Array, wanted: Array, where: Array) -> bool:
                ours, theirs = got[where], wanted[where]  # NaN: any of its bits
                return bool(((ours == theirs) | ((theirs & 0x7FFF > 0x7F80) & (ours & 0x7FFF > 0x7F80))).all())

            everywhere = np.ones_like(padded, bool)
            assert nan.sum() == (padded & 0x7FFF > 0x7F80).sum()
            assert same(by_row.view(np.uint16), padded[:rows], everywhere[:rows])
            halves = np.stack([pairs & 0xFFFF, pairs >> 16], axis=1).reshape(-1, cols).astype(np.uint16)
            assert same(halves, padded[:, :cols], everywhere[:, :cols])
            lanes = np.stack([panel & 0xFFFF, panel >> 16], axis=1).reshape(-1, panel.shape[1]).astype(np.uint16).T
            assert same(lanes[:rows], padded[:rows], everywhere[:rows]) and not lanes[rows:].any()


@every_isa
def test_product(isa: str) -> None:
    """Around the edges of tiles, panels and pairs; each number is one chain of sums, however the work is cut."""
    rng = np.random.default_rng(6)
    for rows in (1, 2, 5, 6, 7, 12, 13, 14, 15, 28, 29):
        for cols in (1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 65):
            length = (rows * cols) % 50 + 1
            s, b = (rng.normal(size=shape).astype(np.float32) for shape in ((rows, length), (length, cols)))
            whole, turned = kernels.product_bf16(isa, s, b, False), kernels.product_bf16(isa, s, b.T.copy(), True)
            assert np.array_equal(whole, turned.T)
            s64, b64 = to_bfloat16(s), to_bfloat16(b)  # products of 8 bits by 8 are exact: only sums are rounded
            assert (np.abs(whole - s64 @ b64) <= (length + 1) * UNIT["float32"] * (np.abs(s64) @ np.abs(b64))).all()
            assert np.array_equal(whole[-1:], kernels.product_bf16(isa, s[-1:], b, False))
            assert np.array_equal(whole[:, -1:], kernels.product_bf16(isa, s, b[:, -1:], False))
            s[rows // 2, length // 2] = np.nan
            assert np.isnan(kernels.product_bf16(isa, s, b, False)).sum() == cols  # its own row, no other


def rms(x: Array) -> float:
    return float(np.sqrt(np.mean(np.square(np.asarray(x, np.float64)))))


# -- same seed, same bits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["adam", "rmsprop", "muon", "adam-norm", "adam-decay"])
def test_threads_change_no_bit(case: str) -> None:
    runs = []
    for threads in (1, 2, 4):
        engine = test_determinism.make(case, dtype="bfloat16")
        result = test_determinism.steps(engine, threads=threads)
        answers = test_determinism.answers(engine, threads)
        runs.append(test_determinism.bits(result) + test_determinism.state(engine) + answers)
    assert runs[0] == runs[1] == runs[2]


def test_a_new_engine_continues() -> None:
    whole, first, second = (test_determinism.make(dtype="bfloat16") for _ in range(3))
    test_determinism.steps(whole, 9)
    test_determinism.steps(first, 3)
    test_determinism.upset(second, 20, 1e30)
    second.set_tensors(first.get_tensors())
    second.set_state(first.get_state())
    test_determinism.steps(second, 6, 3)
    assert test_determinism.state(second) == test_determinism.state(whole)


# -- as a user meets it ------------------------------------------------------------------------------------------


def digits(dtype: str, seed: int, epochs: int = 15) -> tuple[Any, float]:
    (x, y), (xt, yt) = fd.datasets.load_digits()
    net = [fd.Dense(128, activation="relu"), fd.Dropout(0.2), fd.Dense(64, activation="relu")]
    model = fd.Model([*net, fd.Dense(10, activation="softmax")], inputs=64, seed=seed, dtype=dtype)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x.reshape(-1, 64) / 16, y, epochs=epochs, verbose=0)
    return model, model.evaluate(xt.reshape(-1, 64) / 16, yt, verbose=0)[1]


def test_it_learns_as_well() -> None:
    """Test accuracy over seeds: the mean within three standard errors of float32's."""
    accuracy = {dtype: np.array([digits(dtype, seed)[1] for seed in range(5)]) for dtype in ("float32", "bfloat16")}
    spread = np.sqrt(sum(values.var(ddof=1) / len(values) for values in accuracy.values()))
    means = {dtype: values.mean() for dtype, values in accuracy.items()}
    assert means["bfloat16"] >= means["float32"] - 3 * spread - 0.002, accuracy


def test_model(tmp_path: Path, capsys: Any) -> None:
    model, _ = digits("bfloat16", 0, epochs=2)
    assert model.dtype == "bfloat16" and "bfloat16" in repr(model)
    assert all(weights.dtype == np.float32 for weights in model.get_weights())
    model.summary()
    assert f"{model.count_params():,}" in capsys.readouterr().out
    x = np.random.default_rng(0).random((70, 64))
    outputs = model.predict(x)
    assert outputs.dtype == np.float32
    model.save(tmp_path / "net.safetensors")
    again, clone = fd.load(tmp_path / "net.safetensors"), fd.Model.from_config(model.get_config())
    assert again.dtype == clone.dtype == "bfloat16" and np.array_equal(again.predict(x), outputs)
    y = np.arange(70) % 10
    for both in (model, again):
        both.fit(x, y, verbose=0)
    assert np.array_equal(model.predict(x), again.predict(x))
    loss, gradient = model.loss_and_grad(x, y)
    assert np.isfinite(loss) and all(g.dtype == np.float32 for g in gradient)
    loss_there, gradient_there = model.to("reference").loss_and_grad(x, y)
    assert abs(loss - loss_there) < 1e-3 and all(
        rms(a - b) < 0.01 * rms(b) for a, b in zip(gradient, gradient_there, strict=True)
    )


@pytest.mark.parametrize("isa", [isa for isa in ISAS if isa != _core.build_info()["isa"]])
def test_every_instruction_set(isa: str) -> None:
    """It is chosen once per process; those that lack the instructions make the same roundings without them."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "core", "-p", "no:cacheprovider", __file__]
    command.append(str(Path(__file__).with_name("test_rounding.py")))
    environment = os.environ | {"FASTDENSE_ISA": isa}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed[1]) > 30
