"""The reference engine's runs: optimizers, batches and epochs, state, interrupts, and the rest of its interface."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fastdense.reference.engine import Engine
from fastdense.reference.optimizers import apply_updates, nadam_product, newton_schulz
from fastdense.reference.rng import shuffle_indices
from tests.helpers.programs import (
    BATCH_NORM,
    BEGIN,
    DROPOUT,
    END,
    NORMALIZATION,
    OPTIMIZERS,
    branches,
    dense,
    loss_spec,
    make,
    metric,
    train,
)

RNG = np.random.default_rng(5)
X = RNG.normal(size=(10, 3))
Y = RNG.normal(size=(10, 2))
W = RNG.uniform(0.5, 2.0, 10)


def same(a: list[Any], b: list[Any]) -> bool:
    return len(a) == len(b) and all(np.array_equal(i, j) for i, j in zip(a, b, strict=True))


# -- optimizers --------------------------------------------------------------------------------------------------

# Each generator is an optimizer on one number w: it is sent gradients and yields how w changes, at rate LR.
LR = 0.1
FIRST = 5.0  # the first weight


def sgd(momentum: float, nesterov: bool) -> Any:
    m, g = 0.0, (yield 0.0)
    while True:
        m = momentum * m - LR * g
        g = yield (momentum * m - LR * g if nesterov else m)


def rmsprop(momentum: float, centered: bool) -> Any:
    v = a = m = 0.0
    g = yield 0.0
    while True:
        v, a = 0.9 * v + 0.1 * g * g, 0.9 * a + 0.1 * g
        m = momentum * m + LR * g / math.sqrt(v - (a * a if centered else 0.0) + 1e-7)
        g = yield -m


def adagrad() -> Any:
    v, g = 0.1, (yield 0.0)
    while True:
        v += g * g
        g = yield -LR * g / math.sqrt(v + 1e-7)


def adadelta() -> Any:
    v = d = 0.0
    g = yield 0.0
    while True:
        v = 0.95 * v + 0.05 * g * g
        u = g * math.sqrt(d + 1e-3) / math.sqrt(v + 1e-3)
        d = 0.95 * d + 0.05 * u * u
        g = yield -LR * u


def adam(b2: float, amsgrad: bool) -> Any:
    """Kingma and Ba's own form, with m and v corrected one by one; their epsilon is Keras's over sqrt(1 - b2^t)."""
    m = v = top = 0.0
    g, t = (yield 0.0), 0
    while True:
        t += 1
        m, v = 0.9 * m + 0.1 * g, b2 * v + (1 - b2) * g * g
        top = max(top, v) if amsgrad else v
        correction = 1 - b2**t
        g = yield -LR * (m / (1 - 0.9**t)) / (math.sqrt(top / correction) + 1e-7 / math.sqrt(correction))


def nadam() -> Any:
    m = v = 0.0
    product = 1.0
    g, t = (yield 0.0), 0
    while True:
        t += 1
        u, after = (0.9 * (1 - 0.5 * 0.96**s) for s in (t, t + 1))
        product *= u
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        m_hat = after * m / (1 - product * after) + (1 - u) * g / (1 - product)
        g = yield -LR * m_hat / (math.sqrt(v / (1 - 0.999**t)) + 1e-7)


def adamax() -> Any:
    m = u = 0.0
    g, t = (yield 0.0), 0
    while True:
        t += 1
        m, u = 0.9 * m + 0.1 * g, max(0.7 * u, abs(g))
        g = yield -LR / (1 - 0.9**t) * m / (u + 1e-7)


def ftrl(power: float) -> Any:
    """McMahan's form: w minimizes the penalties and the sums of gradients and of pulls to former w, times w."""
    n, z, w = 1e-6, 0.0, FIRST
    g = yield 0.0
    while True:
        old, n = n, n + g * g
        z += g + 2 * 0.02 * w - (n**power - old**power) / LR * w
        cut = 0.0 if abs(z) <= 1e-4 else z - math.copysign(1e-4, z)
        before, w = w, -cut / ((n**power + 0.005) / LR + 2 * 0.01)
        g = yield w - before


def average() -> Any:
    """Adam whose weight becomes its average after every third step."""
    rule, w, mean = adam(0.999, True), FIRST, FIRST
    next(rule)
    g, t = (yield 0.0), 0
    while True:
        t += 1
        before, w = w, w + rule.send(g)
        mean = w if t == 1 else 0.7 * mean + 0.3 * w
        w = mean if t % 3 == 0 else w
        g = yield w - before


def lion() -> Any:
    m, g = 0.0, (yield 0.0)
    while True:
        change = -LR * math.copysign(1.0, 0.9 * m + 0.1 * g)
        m = 0.99 * m + 0.01 * g
        g = yield change


def muon() -> Any:
    """Newton-Schulz of a 1 x 1 matrix is a polynomial of its sign."""
    m, g = 0.0, (yield 0.0)
    while True:
        m = 0.95 * m + g
        x = g + 0.95 * m
        x /= abs(x) + 1e-7
        for _ in range(5):
            x = 3.4445 * x - 4.775 * x**3 + 2.0315 * x**5
        g = yield -LR * 0.2 * x


def kfac() -> Any:
    """One input that is always 1 varies by nothing: then z is to change by 1, whatever the gradient's size."""
    m, g = 0.0, (yield 0.0)
    while True:
        m = 0.9 * m + g
        g = yield -LR * math.copysign(1.0, m)


SCALAR: dict[str, Callable[[], Any]] = {
    "sgd": lambda: sgd(0.0, False),
    "momentum": lambda: sgd(0.9, False),
    "nesterov": lambda: sgd(0.9, True),
    "rmsprop": lambda: rmsprop(0.0, False),
    "rmsprop_momentum": lambda: rmsprop(0.5, False),
    "rmsprop_centered": lambda: rmsprop(0.5, True),
    "adagrad": adagrad,
    "adadelta": adadelta,
    "adam": lambda: adam(0.999, False),
    "amsgrad": lambda: adam(0.7, True),
    "nadam": nadam,
    "adamax": adamax,
    "ftrl": lambda: ftrl(0.5),
    "ftrl_power": lambda: ftrl(0.7),
    "average": average,
    "lion": lion,
    "muon": muon,
    "kfac": kfac,
}


def test_every_optimizer_has_a_scalar_form() -> None:
    assert SCALAR.keys() == OPTIMIZERS.keys()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_on_a_parabola(name: str) -> None:
    """Loss (w - 2)^2 from w = 5, against the optimizer written out for one number.

    12 steps of a few roundings each, in another order of operations: 1e-11.
    """
    engine = make([dense(1, use_bias=False)], inputs=1, optimizer=name)
    engine.set_tensors([np.array([[FIRST]])])
    w, rule, path = FIRST, SCALAR[name](), []
    next(rule)
    for _ in range(12):
        w += rule.send(2.0 * (w - 2.0))
        path.append(w)
    found = []
    for _ in range(12):
        train(engine, np.ones((1, 1)), np.full((1, 1), 2.0), shuffle=False, learning_rates=[LR])
        found.append(engine.get_tensors()[0][0, 0])
    np.testing.assert_allclose(found, path, rtol=1e-11)
    assert abs(found[0] - FIRST) > 1e-3


@pytest.mark.parametrize("t", [1, 7, 999, 1000, 1001, 1500])
def test_nadam_product_late_in_training(t: int) -> None:
    """Its factors are taken as constant from step 1000 on."""
    expected = math.prod(0.999 * (1 - 0.5 * 0.96**s) for s in range(1, t + 1))
    assert nadam_product(0.999, t) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4), (1, 6)])
def test_newton_schulz_acts_on_singular_values(shape: tuple[int, int]) -> None:
    g = np.random.default_rng(1).normal(size=shape)
    u, s, vt = np.linalg.svd(g, full_matrices=False)
    s = s / (np.sqrt((s**2).sum()) + 1e-7)
    for _ in range(5):
        s = 3.4445 * s - 4.775 * s**3 + 2.0315 * s**5
    np.testing.assert_allclose(newton_schulz(g, 5, 3.4445, -4.775, 2.0315), u * s @ vt, rtol=0, atol=1e-12)
    assert s.min() > 0.3 and s.max() < 1.3  # Muon's coefficients: near 1, not converged to it


def test_muon_treats_kernels_and_the_rest_apart() -> None:
    options: dict[str, Any] = {"adam_weight_decay": 0.3, "weight_decay": 0.1, "nesterov": False, "adam_lr_ratio": 0.5}
    engine = make([dense(2, "prelu")], optimizer="muon", **options)
    kernel, bias, slope = engine.get_tensors()
    _, (grad, grad_bias, grad_slope) = engine.loss_and_grad(X, Y, None, training=True)
    train(engine, X, Y, batch_size=10, shuffle=False, learning_rates=[0.2])
    moved = engine.get_tensors()
    update = newton_schulz(grad, 5, 3.4445, -4.775, 2.0315) * 0.2 * math.sqrt(3)
    np.testing.assert_allclose(moved[0], kernel * (1 - 0.2 * 0.1) - 0.2 * update, rtol=1e-12)
    for before, after, g in ((bias, moved[1], grad_bias), (slope, moved[2], grad_slope)):
        # The first step of Adam is lr sign(g), up to epsilon.
        np.testing.assert_allclose(after, before * (1 - 0.2 * 0.3) - 0.1 * np.sign(g), rtol=1e-3)
    state = engine.get_state()
    assert not state["slots"][1][0].any() and state["slots"][1][1].all()
    plain = make([dense(2)], optimizer="muon", rms_rate=0.0)
    start = plain.get_tensors()[0]
    train(plain, X, Y, batch_size=10, shuffle=False, learning_rates=[0.2])
    scaled = make([dense(2)], optimizer="muon", rms_rate=1.0)
    train(scaled, X, Y, batch_size=10, shuffle=False, learning_rates=[0.2])
    np.testing.assert_allclose(scaled.get_tensors()[0] - start, (plain.get_tensors()[0] - start) * math.sqrt(3))


@pytest.mark.parametrize("rule", ["clipvalue", "clipnorm", "global_clipnorm", "loose"])
def test_clipping(rule: str) -> None:
    limit = 0.05 if rule != "loose" else 1e6
    options: dict[str, Any] = {"clipnorm" if rule == "loose" else rule: limit}
    engine = make([dense(4, "tanh"), dense(2)], **options)
    start = engine.get_tensors()
    grads = engine.loss_and_grad(X, Y, None, training=True)[1]
    train(engine, X, Y, batch_size=10, shuffle=False, learning_rates=[1.0])
    norms = [math.sqrt((g**2).sum()) for g in grads]
    total = math.sqrt(sum(norm**2 for norm in norms))
    assert min(norms) > 0.05
    for before, after, g, norm in zip(start, engine.get_tensors(), grads, norms, strict=True):
        expected = {
            "clipvalue": np.minimum(np.maximum(g, -limit), limit),
            "clipnorm": g * limit / norm,
            "global_clipnorm": g * limit / total,
            "loose": g,
        }[rule]
        np.testing.assert_allclose(before - after, expected, rtol=1e-9, atol=1e-15)


def test_weight_decay_shrinks_before_the_update_and_escapes_clipping() -> None:
    engine = make([dense(2)], weight_decay=0.5, clipvalue=0.01)
    start = engine.get_tensors()
    grads = engine.loss_and_grad(X, Y, None, training=True)[1]
    train(engine, X, Y, batch_size=10, shuffle=False, learning_rates=[0.1])
    for before, after, g in zip(start, engine.get_tensors(), grads, strict=True):
        np.testing.assert_allclose(after, before * (1 - 0.05) - 0.1 * np.clip(g, -0.01, 0.01), rtol=1e-12)


# -- batches, epochs and totals ----------------------------------------------------------------------------------


def test_steps_take_the_shuffled_batches() -> None:
    """Ten SGD steps over three and a third epochs, each made by hand from loss_and_grad."""
    engine, by_hand = (make([dense(4, "relu"), DROPOUT, dense(2)]) for _ in range(2))
    rates = np.linspace(0.1, 0.01, 10)
    result = train(engine, X, Y, W, epoch=3, learning_rates=rates)
    assert result["steps"] == 10 and result["nonfinite_step"] == -1 and result["interrupted"] is False
    for i, lr in enumerate(rates):
        epoch, batch = divmod(i, 3)
        rows = shuffle_indices(10, 7, 3 + epoch)[4 * batch : 4 * batch + 4]
        # The optimizer's step keys the dropout mask, so the state says how many were done.
        by_hand.set_state({"step": i, "slots": []})
        _, grads = by_hand.loss_and_grad(X[rows], Y[rows], W[rows], training=True)
        by_hand.set_tensors([t - lr * g for t, g in zip(by_hand.get_tensors(), grads, strict=True)])
    for a, b in zip(engine.get_tensors(), by_hand.get_tensors(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)


def test_bookkeeping_of_epochs() -> None:
    engine = make([dense(2)], metrics=(metric("mae"), metric("r2")))
    val = (X[:3] + 1.0, Y[:3], None)
    whole = engine.evaluate(X, Y, W)
    frozen = {"learning_rates": np.zeros(8)}  # nothing moves, so every epoch's totals are those of evaluate
    result = train(engine, X, Y, W, val, **frozen)
    assert result["totals"].shape == (2, 12) and result["val_totals"].shape == (2, 12)
    np.testing.assert_allclose(result["totals"], [whole] * 2, rtol=1e-12)
    np.testing.assert_allclose(result["val_totals"], [engine.evaluate(*val)] * 2, rtol=1e-12)
    rows = shuffle_indices(10, 7, 2)
    np.testing.assert_allclose(result["partial"], engine.evaluate(X[rows[:8]], Y[rows[:8]], W[rows[:8]]), rtol=1e-12)

    # The third batch of epoch 2, a short one, comes in another call: its totals join those of the first two.
    result = train(engine, X, Y, W, epoch=2, first_batch=2, learning_rates=[0.0])
    assert result["totals"].shape == (1, 12) and result["val_totals"].shape == (0, 12)
    np.testing.assert_allclose(result["totals"][0], whole, rtol=1e-12)
    assert same([result["partial"]], [result["totals"][0]])

    # A batch 0 begins anew.
    result = train(engine, X, Y, W, epoch=3, learning_rates=[0.0])
    assert result["partial"][1] == 4.0 and result["totals"].shape == (0, 12)


@pytest.mark.parametrize(("batch_size", "steps", "epochs"), [(10, 3, 3), (25, 2, 2), (1, 25, 2), (9, 4, 2)])
def test_batch_sizes(batch_size: int, steps: int, epochs: int) -> None:
    engine = make([dense(2)])
    result = train(engine, X, Y, batch_size=batch_size, learning_rates=np.full(steps, 0.01))
    assert result["steps"] == steps == engine.get_state()["step"]
    assert result["totals"][:, 1].tolist() == [10.0] * epochs
    assert np.all(np.diff(result["totals"][:, 0]) < 0)


def test_without_shuffling_rows_come_in_order() -> None:
    engine = make([dense(2)])
    result = train(engine, X, Y, shuffle=False, first_batch=1, learning_rates=[0.0])
    np.testing.assert_allclose(result["partial"], engine.evaluate(X[4:8], Y[4:8], None), rtol=1e-13)


def test_batch_norm_moving_statistics() -> None:
    engine = make([BATCH_NORM], inputs=3, loss="mse")
    _, _, mean, variance = engine.get_tensors()
    train(engine, X, np.zeros((10, 3)), batch_size=10, learning_rates=[0.0, 0.0])
    for _ in range(2):
        mean = 0.9 * mean + 0.1 * X.mean(axis=0)
        variance = 0.9 * variance + 0.1 * ((X - X.mean(axis=0)) ** 2).sum(axis=0) / 10
    moved = engine.get_tensors()
    np.testing.assert_allclose(moved[2:], [mean, variance], rtol=1e-13)
    expected = moved[0] * (X - mean) / np.sqrt(variance + 1e-3) + moved[1]
    np.testing.assert_allclose(engine.activations(X)[0], expected, rtol=1e-13)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_state_saved_and_set_continues_exactly(optimizer: str) -> None:
    ops = [NORMALIZATION, dense(4, "prelu"), BATCH_NORM, BEGIN, DROPOUT, dense(4, "gelu"), END, dense(2)]
    whole, first = (make(ops, optimizer=optimizer, weight_decay=0.01) for _ in range(2))
    train(whole, X, Y, W, learning_rates=np.full(11, 0.01))
    train(first, X, Y, W, learning_rates=np.full(5, 0.01))
    second = make(ops, optimizer=optimizer, weight_decay=0.01)
    second.set_tensors(first.get_tensors())
    second.set_state(first.get_state())
    train(second, X, Y, W, epoch=1, first_batch=2, learning_rates=np.full(6, 0.01))
    assert same(second.get_tensors(), whole.get_tensors())
    assert second.get_state()["step"] == 11
    for a, b in zip(second.get_state()["slots"], whole.get_state()["slots"], strict=True):
        assert same(a, b)


def test_configure_starts_the_optimizer_afresh_and_keeps_the_weights() -> None:
    engine = make([dense(2)], optimizer="adam")
    train(engine, X, Y)
    weights = engine.get_tensors()
    off = {"weight_decay": 0.0, "clipvalue": 0.0, "clipnorm": 0.0, "global_clipnorm": 0.0}
    engine.configure({"loss": loss_spec("mse"), "optimizer": OPTIMIZERS["adagrad"] | off, "metrics": []})
    assert same(engine.get_tensors(), weights)
    assert engine.get_state()["step"] == 0
    assert same(engine.get_state()["slots"][0], [np.full((3, 2), 0.1), np.full(2, 0.1)])


# -- runs that end early, progress -------------------------------------------------------------------------------


@pytest.mark.parametrize(("stop", "steps"), [(True, 3), (False, 6)])
def test_stop_on_nan(stop: bool, steps: int) -> None:
    x = X.copy()
    x[9] = 1e200  # without shuffling it comes in the third batch; its square overflows
    result = train(make([dense(2)]), x, Y, shuffle=False, stop_on_nan=stop, learning_rates=np.full(6, 0.01))
    assert result["nonfinite_step"] == 2 and result["steps"] == steps
    assert len(result["totals"]) == steps // 3 and not np.isfinite(result["totals"][0, 0])


def test_interrupt_leaves_the_last_finished_step(monkeypatch: pytest.MonkeyPatch) -> None:
    ops = [dense(4, "tanh"), BATCH_NORM, dense(2)]
    engine, expected = make(ops, optimizer="adam"), make(ops, optimizer="adam")
    train(expected, X, Y, learning_rates=[0.01] * 4)
    calls: list[Any] = []

    def interrupted(*args: Any) -> Any:
        result = apply_updates(*args)
        calls.append(args)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return result

    with monkeypatch.context() as patch:
        patch.setattr("fastdense.reference.engine.apply_updates", interrupted)
        result = train(engine, X, Y, learning_rates=[0.01] * 9)
    assert result["interrupted"] is True and result["steps"] == 4 and len(result["totals"]) == 1
    assert result["partial"][1] == 4.0
    assert same(engine.get_tensors(), expected.get_tensors())
    assert engine.get_state()["step"] == 4
    for e in (engine, expected):
        train(e, X, Y, epoch=1, first_batch=1, learning_rates=[0.01] * 5)
    assert same(engine.get_tensors(), expected.get_tensors())


def test_interrupt_during_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make([dense(2)])

    def interrupted(*args: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "evaluate", interrupted)
    result = train(engine, X, Y, None, (X, Y, None), learning_rates=[0.01] * 9)
    assert result["interrupted"] is True and result["steps"] == 3 == engine.get_state()["step"]
    assert len(result["totals"]) == len(result["val_totals"]) == 0
    assert result["partial"][1] == 10.0


def test_progress_at_most_ten_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(np.arange(1000) * 0.03)
    monkeypatch.setattr("fastdense.reference.engine.time", SimpleNamespace(monotonic=lambda: next(clock)))
    seen: list[tuple[int, float, int]] = []
    train(make([dense(2)]), X, Y, learning_rates=[0.0] * 12, progress=lambda *args: seen.append(args))
    # Steps 30 ms apart: 120 ms after the last report comes the next, with the running rows of its epoch.
    assert [(steps, rows) for steps, _, rows in seen] == [(4, 4), (8, 8), (12, 10)]
    assert all(math.isfinite(total) and total > 0 for _, total, _ in seen)


# -- the rest of the interface -----------------------------------------------------------------------------------


def test_inputs_of_any_kind_and_layout() -> None:
    engine = make([NORMALIZATION, dense(4, "tanh"), dense(2)], metrics=(metric("mae"),))
    whole = np.arange(30).reshape(10, 3) % 7
    expected = np.zeros((10, 2))
    engine.predict(whole.astype(float), expected, n_threads=1)
    read_only = whole.astype(np.uint8)
    read_only.flags.writeable = False
    for x in (whole, read_only, np.asfortranarray(whole, dtype=np.float32), np.repeat(whole, 2, axis=0)[::2]):
        out = np.zeros((10, 2))
        engine.predict(x, out, n_threads=2)
        assert np.array_equal(out, expected)
    single = np.zeros((10, 2), dtype=np.float32)
    engine.predict(whole[::-1], single)
    assert np.array_equal(single[::-1], expected.astype(np.float32))
    engine.predict(whole > 3, single)
    outputs = engine.activations(whole)
    assert [a.shape for a in outputs] == [(10, 3), (10, 4), (10, 2)]
    assert np.array_equal(outputs[-1], expected)


def test_normalization_of_a_constant_column() -> None:
    engine = make([NORMALIZATION], inputs=2)
    engine.set_tensors([np.array([1.0, 2.0]), np.array([4.0, 0.0])])
    assert np.array_equal(engine.activations(np.array([[5.0, 5.0]]))[0], [[2.0, 3.0]])


def test_asking_changes_nothing() -> None:
    engine = make([dense(4, "relu"), BATCH_NORM, DROPOUT, dense(2)], optimizer="adam")
    train(engine, X, Y)
    before, state = [tensor.copy() for tensor in engine.get_tensors()], engine.get_state()
    engine.loss_and_grad(X, Y, W, training=True)
    engine.evaluate(X, Y, W)
    given = [tensor.copy() for tensor in before]
    engine.set_tensors(given)
    for tensor in (*engine.get_tensors(), *given):
        tensor += 1.0
    state["slots"][0][0] += 1.0
    assert all(np.array_equal(a, b) for a, b in zip(before, engine.get_tensors(), strict=True))
    assert not np.array_equal(state["slots"][0][0], engine.get_state()["slots"][0][0])


@pytest.mark.parametrize(
    ("ops", "message"),
    [
        ([], "at least one op"),
        ([{"kind": "conv"}], "unknown op 'conv'"),
        ([dense(2, "rleu")], "unknown activation 'rleu'"),
        ([dense(2, "softmax"), dense(2)], "softmax may appear only in the last op"),
        ([BEGIN, dense(2), END], r"op 2: residual_end cannot merge branches of widths \[3, 2\]"),
        ([END], "op 0: residual_end needs a residual_begin of its own"),
        ([BEGIN], "residual_begin without its end"),
        ([{"kind": "branches_begin"}, END], "op 1: residual_end needs"),
        ([{"kind": "branch_next"}], "op 0: branch_next needs a branches_begin"),
        (branches([], [dense(2)], merge="add"), r"op 3: branches_end cannot merge branches of widths \[3, 2\]"),
        (branches([], [], [], merge="subtract"), r"op 3: branches_end cannot merge branches of widths \[3, 3, 3\]"),
    ],
)
def test_impossible_programs(ops: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Engine({"inputs": 3, "seed": 0, "dtype": "float64", "ops": ops})


def test_refusals_leave_the_engine_as_it_was() -> None:
    engine = make([dense(2)], optimizer="adam")
    before = engine.get_tensors()
    with pytest.raises(ValueError, match="set_tensors: got shapes"):
        engine.set_tensors([np.zeros((3, 3)), np.zeros(2)])
    with pytest.raises(ValueError, match="set_state: got slots"):
        engine.set_state({"step": 1, "slots": []})
    with pytest.raises(ValueError, match="first_batch is 3"):
        train(engine, X, Y, first_batch=3)
    for wrong in ({"loss": "mle"}, {"metrics": (metric("roc"),)}):
        with pytest.raises(ValueError, match="unknown"):
            make([dense(2)], **wrong)
    with pytest.raises(ValueError, match="call configure first"):
        Engine({"inputs": 3, "seed": 0, "dtype": "float64", "ops": [dense(2)]}).evaluate(X, Y, None)
    assert all(np.array_equal(a, b) for a, b in zip(before, engine.get_tensors(), strict=True))
