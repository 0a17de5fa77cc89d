"""Probes: what the layers did while training, the same on every engine, and without a trace in what is trained."""

from __future__ import annotations

import itertools
import math
import re
import warnings
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense import reference
from fastdense.callbacks.probes import FEWEST_RECORDS, KINDS, MOST_RECORDS, SHORT_FIT, Probes
from fastdense.reference.probes import is_due, rows_of
from tests.helpers.devices import compiled_engine
from tests.helpers.pairs import Problem, Results, compare, inputs
from tests.helpers.programs import (
    BATCH_NORM,
    BEGIN,
    DROPOUT,
    END,
    LAYER_NORM,
    NORMALIZATION,
    RESCALING,
    Spec,
    activation,
    dense,
    loss_spec,
    metric,
    train,
)
from tests.helpers.tolerances import DTYPES

NETS: dict[str, tuple[list[Spec], Spec]] = {
    "narrow": ([dense(6, "silu", kernel_l2=0.1), activation("prelu"), RESCALING, dense(3)], loss_spec("log_cosh")),
    "wide": (
        [NORMALIZATION, dense(6, "sigmoid"), LAYER_NORM, BEGIN, dense(6, "tanh", activity_l2=0.1), END, BATCH_NORM,
         activation("elu"), DROPOUT, dense(5, kernel_repulsion=0.1), dense(2, use_bias=False)], loss_spec("huber")
    ),
    "fused": ([dense(7, "tanh"), dense(3, "softmax", activity_l1=0.1)], loss_spec("sparse_categorical_crossentropy")),
    "fused binary": ([dense(7, "softplus"), activation("sigmoid")], loss_spec("binary_crossentropy")),
    "softmax": ([dense(7, "tanh"), dense(3, "softmax")], loss_spec("mse")),
}  # fmt: skip


def probed(engine: Any, problem: Problem, noise: Any, level: int = 1, batch_size: int = 64) -> Results:
    """All numbers of the records but the fractions of rows, which jump."""
    x, y, w = inputs(problem, noise)
    found = train(engine, x, y, w, batch_size=batch_size, learning_rates=np.full(12, 0.02), n_threads=2,
                  probe_level=level, probe_first=True)["probes"]  # fmt: skip
    assert found["step"].tolist() == [1, 3, 5, 8, 10] and found["epoch"].tolist() == [0, 0, 0, 1, 1]
    assert found["rank"].tolist() == [-64, 1, 0, 1, -1] and found["nonfinite_op"].tolist() == [-1] * 5
    results = {"loss": found["loss"]}
    for op, values in enumerate(by_op(found["values"], problem)):
        for i, kind in enumerate(KINDS):
            if i > 1 and not np.isnan(values[:, i]).all():
                results[f"{kind} of op {op}"] = values[:, i]
    return results


def by_op(values: Any, problem: Problem) -> list[Any]:
    widths = list(itertools.accumulate(problem.ops, lambda n, op: op.get("units", n), initial=problem.inputs))[1:]
    cuts = np.cumsum(len(KINDS) * np.array(widths))[:-1]
    return [part.reshape(len(values), len(KINDS), -1) for part in np.split(values, cuts, axis=1)]


@pytest.mark.core
@pytest.mark.races
@pytest.mark.checked
@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("name", NETS)
def test_the_numbers_are_the_reference_s(name: str) -> None:
    ops, loss = NETS[name]
    compare(Problem(ops, loss, "momentum", {}, (metric("mse"),), rows=300, smooth=True), probed)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("last", ["relu", "sigmoid", "tanh", "linear", "softmax", "gelu"])
def test_shares_of_rows(last: str, dtype: str) -> None:
    """Counted on both engines, and by hand; no pre-activation is so close to a bound that rounding decides."""
    for seed in range(50):
        problem = Problem([dense(4, last)], loss_spec("mse"), rows=40, seed=seed)
        x, y, _ = problem.data()
        x *= 4
        kernel, bias = problem.engine(compiled_engine, dtype).get_tensors()
        z = x @ kernel + bias
        limit = {"sigmoid": 5.0, "tanh": 2.5}.get(last, math.nan)
        if min(np.abs(z).min(), np.nanmin(np.abs(np.abs(z) - limit), initial=1.0)) > 1e-3:
            break
    for kind in (compiled_engine, reference.Engine):
        engine = problem.engine(kind, dtype)
        found = train(engine, x, y, batch_size=40, learning_rates=[1e-9], probe_level=0)["probes"]["values"]
        off, saturated = by_op(found, problem)[0][0, :2]
        np.testing.assert_array_equal(off, (z <= 0).mean(axis=0))
        expected = (np.abs(z) > limit).mean(axis=0) if limit == limit else np.full(4, math.nan)
        np.testing.assert_allclose(saturated, expected, rtol=1e-15)


@pytest.mark.usefixtures("compiled")
def test_levels_are_nested_and_the_same_in_both_engines() -> None:
    for batches, level in itertools.product((1, 2, 3, 5, 8, 13), range(-3, 6)):
        problem = Problem([dense(1)], rows=batches, inputs=1)
        x, y, _ = problem.data()
        at = [engine for engine in (problem.engine(compiled_engine), problem.engine(reference.Engine))]
        rates = np.full(9 * batches, 1e-3)
        one, other = (train(e, x, y, batch_size=1, learning_rates=rates, probe_level=level)["probes"] for e in at)
        for name in ("step", "epoch", "rank"):
            np.testing.assert_array_equal(one[name], other[name])
        every = {
            (e, b): [is_due(deep, e, b, batches) for deep in range(-4, 6)] for e in range(9) for b in range(batches)
        }
        assert all(flags == sorted(flags) for flags in every.values()), "what is due at a level is due at the next"
        assert len(one["step"]) == sum(is_due(level, e, b, batches) for e, b in every)
        per_epoch = len(one["step"]) / 9
        assert per_epoch == min(2**level, batches) if level >= 0 else len(one["step"]) == 9 // 2**-level


# -- no trace in the training ------------------------------------------------------------------------------------


def program(kind: str) -> tuple[list[Spec], Spec]:
    if kind == "narrow":
        return [dense(48, "relu", kernel_l2=1e-4), DROPOUT, dense(40, "tanh"), dense(5, "softmax")], {}
    return [
        NORMALIZATION, dense(96, "gelu", kernel_repulsion=1e-3), BATCH_NORM, DROPOUT, BEGIN, dense(96, "relu"), END,
        LAYER_NORM, dense(5, "softmax", activity_l2=1e-3),
    ], {}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("options", [{}, {"clipnorm": 0.01}, {"weight_decay": 0.1}], ids=["plain", "clip", "decay"])
@pytest.mark.parametrize("kind", ["narrow", "wide"])
def test_training_is_the_same_to_the_last_bit(kind: str, options: Spec, dtype: str) -> None:
    ops, _ = program(kind)
    loss = loss_spec("sparse_categorical_crossentropy")
    problem = Problem(ops, loss, "adam", options, (metric("f1", multiclass=True), metric("mse")), inputs=20, rows=700)
    x, y, w = problem.data()
    runs, records = set(), set()
    for threads, level in itertools.product((1, 2, 3), (None, 3)):
        engine = problem.engine(compiled_engine, dtype)
        result = train(engine, x, y, w, problem.data(300, 5), batch_size=96, learning_rates=np.full(20, 0.01),
                       n_threads=threads, probe_level=level, probe_first=True)  # fmt: skip
        state = engine.get_state()["slots"]
        numbers = [
            *engine.get_tensors(),
            *itertools.chain(*state),
            *(result[n] for n in ("totals", "val_totals", "partial")),
        ]
        runs.add(b"".join(np.ascontiguousarray(a).tobytes() for a in numbers))
        if level is None:
            assert result["probes"] is None
        else:
            assert len(result["probes"]["step"]) > 15
            records.add(b"".join(a.tobytes() for a in result["probes"].values()))
    assert len(runs) == 1, "probes or threads change what is trained"
    assert len(records) == 1, "threads change what is recorded"


# -- as a user meets them ----------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 4)).astype(np.float32)
Y = np.sin(X @ RNG.normal(size=(4, 2)))


def model_of(*layers: Any, device: str = "cpu", optimizer: Any = "adam", dtype: str = "float64") -> fd.Model:
    model = fd.Model(layers or [fd.Dense(6, "relu"), fd.Dense(5, "tanh"), fd.Dense(2)], inputs=4, seed=1, dtype=dtype,
                     device=device)  # fmt: skip
    model.compile(optimizer, "mse")
    return model


def test_the_history_holds_what_happened(device: str) -> None:
    plain, model = model_of(device=device), model_of(device=device)
    expected = plain.fit(X, Y, epochs=4, initial_epoch=1, verbose=0)
    history = model.fit(X, Y, epochs=4, initial_epoch=1, verbose=0, probes=True)
    assert expected.probes is None and history.history == expected.history
    assert all((a == b).all() for a, b in zip(model.get_weights(), plain.get_weights(), strict=True))
    probes = history.probes
    assert probes is not None and len(probes) == len(probes.steps) == len(probes.epochs) >= SHORT_FIT
    assert probes.steps[0] == 1 and probes.epochs[0] == 1 and probes.epochs[-1] == 3 == history.epoch[-1]
    assert (np.diff(probes.steps) > 0).all() and probes.steps[-1] == model.runner.step
    assert (probes.nonfinite_layer == -1).all()
    few = rows_of(len(X))
    loss, gradient = model.loss_and_grad(X[few], Y[few])
    assert probes.loss[-1] == pytest.approx(loss, rel=1e-12)
    weights, outputs = model.get_weights(), model.activations(X[few])
    for i, layer in enumerate(probes.layers):
        assert layer.mean.shape == (len(probes), model.net.widths[i])
        assert layer.gradient is not None and layer.weight is not None and layer.off is not None
        np.testing.assert_allclose(layer.gradient[-1], np.linalg.norm(gradient[2 * i], axis=0), rtol=1e-9)
        np.testing.assert_allclose(layer.weight[-1], np.linalg.norm(weights[2 * i], axis=0), rtol=1e-12)
        np.testing.assert_allclose(layer.mean[-1], outputs[i].mean(axis=0), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(layer.variance[-1], outputs[i].var(axis=0), rtol=1e-9)
    assert [layer.activation for layer in probes.layers] == ["relu", "tanh", "linear"]
    assert [layer.saturated is None for layer in probes.layers] == [True, False, True]
    relu = probes.layers[0]
    assert relu.off is not None and (relu.off[-1] == (outputs[0] == 0).mean(axis=0)).all()
    update, ratio = relu.update, relu.ratio
    assert update is not None and ratio is not None and ((update > 0) & (update < 0.1)).all() and (ratio > 0).all()
    rms = probes.layer_rms("gradient")
    assert rms.shape == (len(probes), 3) and rms[0, 0] == np.sqrt((relu.gradient[0] ** 2).mean())  # type: ignore[index]
    assert repr(probes).startswith(f"<Probes: {len(probes)} records, steps 1 to ")


def test_records_do_not_depend_on_how_often_training_returns() -> None:
    """In calls of many epochs, of one, and of one batch; also where so many come that they are thinned out."""
    hooks = [{}, {"on_epoch_end": lambda epoch, logs: None}, {"on_train_batch_end": lambda batch, logs: None}]
    seen = []
    for hook in hooks:
        model = model_of(optimizer="sgd")
        callbacks = [fd.callbacks.LambdaCallback(**hook)] if hook else []
        probes = Probes(model.net, 1, 19, 40)  # after every step
        history = fd.History()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("fastdense.callbacks.probes.Probes", lambda *_, made=probes: made)
            history = model.fit(X, Y, epochs=40, verbose=0, callbacks=callbacks, probes=True)
        assert history.probes is probes
        seen.append((probes.steps.tolist(), probes.epochs.tolist(), probes.loss.tobytes()))
        assert FEWEST_RECORDS <= MOST_RECORDS // 2 <= len(probes) <= MOST_RECORDS
        assert probes.steps[0] == 1 and probes.steps[-1] == 19 * 40
    assert seen[0] == seen[1] == seen[2]


def test_later_fits_count_on() -> None:
    model = model_of()
    first = model.fit(X, Y, epochs=2, verbose=0, probes=True).probes
    second = model.fit(X, Y, epochs=2, verbose=0, probes=True).probes
    assert first is not None and second is not None
    assert second.steps[0] == 2 * 19 + 1 and second.epochs[0] == 0 and second.epochs[-1] == 1


def test_when_units_died() -> None:
    model = model_of(fd.Dense(3, "relu"), fd.Dense(4, "tanh"), fd.Dense(2), optimizer=fd.SGD(0.0))
    weights = model.get_weights()
    weights[1][:] = [-100.0, 100.0, 0.0]
    model.set_weights(weights)

    def kill(epoch: int, logs: Any) -> None:
        if epoch == 1:
            model.set_weights([weights[0], np.array([-100.0, 100.0, -100.0]), *weights[2:]])

    callback = fd.callbacks.LambdaCallback(on_epoch_end=kill)
    probes = model.fit(X, Y, epochs=8, verbose=0, probes=True, callbacks=[callback]).probes
    assert probes is not None and probes.layers[0].off is not None
    assert probes.first_death(0, 0) == (0, 1)
    assert probes.first_death(0, 1) is None
    died = probes.first_death(0, 2)
    assert died is not None and died[0] == 2 + (probes.steps[probes.epochs == 2].size == 0)
    assert probes.first_death(1, 0) is None and probes.first_death(2, 0) is None
    assert (probes.layers[0].update == 0).all()


@pytest.mark.parametrize("stop", [True, False])
def test_where_numbers_ceased_to_be_finite(device: str, stop: bool) -> None:
    model = model_of(fd.Dense(6, "relu"), fd.Dense(6, "relu"), fd.Dense(2), optimizer=fd.SGD(1e6), device=device,
                     dtype="float32")  # fmt: skip
    callbacks = [fd.callbacks.TerminateOnNaN()] if stop else []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        probes = model.fit(X, 1e3 * Y, epochs=12, verbose=0, probes=True, callbacks=callbacks).probes
    assert probes is not None and probes.nonfinite_layer[-1] in (0, 1, 2)
    assert not np.isfinite(probes.loss[-1])
    if stop:
        assert probes.steps[-1] == model.runner.step


def test_layers_of_more_than_one_op() -> None:
    layers = [
        fd.Normalization(), fd.Dense(6), fd.BatchNorm(), fd.Activation("relu"),
        fd.Residual([fd.Dense(6, "sigmoid"), fd.Residual([fd.Dropout(0.1), fd.Dense(6, "tanh")])]), fd.Dense(2),
        fd.Rescaling(2.0),
    ]  # fmt: skip
    model = model_of(*layers)
    probes = model.fit(X, Y, epochs=2, verbose=0, probes=True).probes
    assert probes is not None
    few = X[rows_of(len(X))]
    for layer, output in zip(probes.layers, model.activations(few), strict=True):
        np.testing.assert_allclose(layer.mean[-1], output.mean(axis=0), rtol=1e-9, atol=1e-12)
    shown = [(one.name, one.off is not None, one.gradient is not None) for one in probes.layers]
    assert shown == [("normalization", False, False), ("dense", True, True), ("batch_norm", False, False),
                     ("activation", True, False), ("residual", False, False), ("dense_1", True, True),
                     ("rescaling", False, False)]  # fmt: skip
    inside = probes.layers[4].layers
    assert [one.name for one in inside] == ["residual.0", "residual.1"]
    assert [one.name for one in inside[1].layers] == ["residual.1.0", "residual.1.1"]
    assert inside[0].saturated is not None and inside[1].layers[1].saturated is not None
    np.testing.assert_allclose(probes.layers[6].mean, 2 * probes.layers[5].mean, rtol=1e-12)


def recorded(losses: list[float], **columns: Any) -> Probes:
    """Probes of a small net that got these losses."""
    probes, count = Probes(model_of().net, 1, 1, len(losses)), len(losses)
    found = {"step": np.arange(count), "epoch": np.arange(count), "rank": np.zeros(count, int)}
    found |= {"loss": np.array(losses), "nonfinite_op": np.full(count, -1), "values": np.zeros((count, 91))}
    probes.add(found | columns, 0)
    return probes


def test_spikes_of_the_loss() -> None:
    rng = np.random.default_rng(1)
    losses = (1.0 + 0.01 * rng.normal(size=100)).tolist()
    losses[60], losses[80] = 2.0, math.nan
    scores = recorded(losses).loss_zscore()
    assert np.isnan(scores[:4]).all() and scores[60] > 50 and scores[80] == np.inf
    assert np.abs(np.delete(scores[4:], [56, 76])).max() < 6
    assert (recorded([1.0] * 10).loss_zscore()[4:] == 0).all()


def test_memory_is_bounded() -> None:
    """So many records as fit; each level has half of the one above it."""
    ranks = [min(6, (i & -i).bit_length() - 1) for i in range(1, 2001)]
    probes = recorded([1.0] * 2000, rank=np.array([-r for r in ranks]))
    assert MOST_RECORDS // 4 < len(probes) <= MOST_RECORDS
    assert len(set(np.diff(probes.steps))) == 1
    wide = fd.Model([fd.Dense(3000)] * 3, inputs=3000)
    assert Probes(wide.net, 100, 1000, 10)._most == max(FEWEST_RECORDS, 2**26 // (8 * 7 * 9000))


def test_full_batch_optimizers_record_nothing() -> None:
    assert model_of(optimizer="lbfgs").fit(X, Y, epochs=2, verbose=0, probes=True).probes is None


def test_errors() -> None:
    with pytest.raises(TypeError, match=r"^fit: probes=1 "):
        model_of().fit(X, Y, probes=1, verbose=0)
    kinds = "'off', 'saturated', 'mean', 'variance', 'gradient', 'weight', 'update' or 'ratio'"
    text = f"layer_rms: kind='gradiant' is not known. Did you mean 'gradient'? Use {kinds}."
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        recorded([1.0]).layer_rms("gradiant")
    with pytest.raises(ValueError, match="^probe_level must be from -30 to 30$"):
        train(Problem([dense(1)]).engine(compiled_engine), *Problem([dense(1)]).data(), probe_level=31)


def test_a_probe_is_affordable() -> None:
    """What the engine promises: probes further apart the shorter the steps, also relative to a step's own work."""
    small, large = (
        compiled_engine({"inputs": n, "seed": 0, "dtype": "float32", "ops": [dense(units, "relu"), dense(1)]})
        for n, units in ((2, 3), (784, 512))
    )
    assert small.probe_period(1024, 32) > small.probe_period(1024, 1024) > 20
    assert large.probe_period(60000, 32) > large.probe_period(60000, 128) > 50
    assert large.probe_period(64, 64) < large.probe_period(60000, 64)
