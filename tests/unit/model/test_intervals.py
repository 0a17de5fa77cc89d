"""Several quantiles in one net, and prediction intervals: what they promise, checked by simulation."""

from __future__ import annotations

import copy
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastdense as fd
from fastdense.arrays import Array
from fastdense.model.intervals import check_coverage, interval, pairs_of, scores_of

LEVELS = [0.05, 0.25, 0.5, 0.75, 0.95]


def rows(count: int, seed: int = 0) -> tuple[Array, Array]:
    """Targets whose noise grows with x."""
    random = np.random.default_rng(seed)
    x = random.uniform(-1, 1, (count, 2))
    return x, np.sin(3 * x[:, 0]) + (0.1 + 0.4 * (x[:, 1] > 0)) * random.normal(size=count)


def net(levels: Any = LEVELS, device: str = "cpu", dtype: str = "float32", **options: Any) -> fd.Model:
    end = fd.Ascending(len(levels)) if levels else fd.Dense(1)
    layers = [fd.Dense(32, "tanh"), fd.Dense(32, "tanh"), end]
    model = fd.Model(layers, inputs=2, seed=1, device=device, dtype=dtype, **options)
    model.compile(fd.Adam(0.01), fd.losses.Quantile(levels) if levels else "mse")
    return model


def covered(model: Any, x: Array, y: Array, coverage: float) -> float:
    lower, upper = model.predict_interval(x, coverage=coverage)
    return float(np.mean((lower[:, 0] <= y) & (y <= upper[:, 0])))


# ---- the loss --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_loss_is_the_mean_over_the_levels(device: str, dtype: str) -> None:
    x, y = rows(50)
    targets = np.stack([y, 2 * y], axis=1)
    model = fd.Model([fd.Dense(8, "tanh"), fd.Ascending(3, 2)], inputs=2, device=device, dtype=dtype)
    model.compile("adam", fd.losses.Quantile([0.1, 0.5, 0.9]))
    p = model.predict(x).astype(np.float64).reshape(50, 2, 3)
    e = targets[:, :, None] - p
    q = np.array([0.1, 0.5, 0.9])
    expected = np.maximum(q * e, (q - 1) * e).mean()
    rounding = 2.0 ** (-23 if dtype == "float32" and device != "reference" else -52)
    assert model.evaluate(x, targets, verbose=0) == pytest.approx(expected, rel=8 * rounding)  # products of 3 numbers
    # the gradient, by differences: the loss is piecewise linear in the outputs, and no error is 0 here
    if dtype == "float64" or device == "reference":
        loss, gradient = model.loss_and_grad(x, targets)
        weights = model.get_weights()
        step = 1e-7
        for i in (0, 1, 2, 3):
            moved = [w + step * (k == i) for k, w in enumerate(weights)]
            model.set_weights(moved)
            slope = (model.loss_and_grad(x, targets)[0] - loss) / step
            assert slope == pytest.approx(gradient[i].sum(), abs=1e-5)  # second derivatives of order 10 times the step


def test_a_level_is_what_it_was_alone(device: str) -> None:
    x, y = rows(100)
    made = []
    for q in (0.3, [0.3]):
        model = fd.Model([fd.Dense(8, "tanh"), fd.Dense(1)], inputs=2, device=device)
        model.compile("adam", fd.losses.Quantile(q))
        model.fit(x, y, epochs=3, verbose=0)
        made.append(model.predict(x))
    np.testing.assert_array_equal(*made)


def test_names_and_errors() -> None:
    loss = fd.losses.Quantile([0.1, 0.9])
    assert fd.losses.get(loss.to_dict()) == loss and loss.outputs_each == 2 and repr(loss) == "Quantile(q=[0.1, 0.9])"
    assert fd.losses.Quantile(0.9).levels == [0.9]
    for q, words in (([0.9, 0.1], "ascending"), ([], "at least one"), ([0.5, 0.5], "each once")):
        with pytest.raises(ValueError, match=f"Quantile: q=.*{words}"):
            fd.losses.Quantile(q)
    with pytest.raises(
        TypeError, match=r"^Quantile: q=array\(0\.3\) is of type ndarray\. Give a finite number above 0"
    ):
        fd.losses.Quantile(np.array(0.3))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"Quantile: q\[1\]"):
        fd.losses.Quantile([0.5, 1.0])
    model = fd.Model([fd.Dense(4)], inputs=2)
    with pytest.raises(ValueError, match=r"compile: the loss is Quantile.* the net has 4 outputs.*fd.Ascending\(3\)"):
        model.compile("adam", fd.losses.Quantile([0.1, 0.5, 0.9]))
    model.compile("adam", loss)
    with pytest.raises(ValueError, match=r"y has shape \(3, 4\); 4 outputs of 2 quantiles each are for 2 targets"):
        model.fit(np.ones((3, 2)), np.ones((3, 4)))
    with pytest.raises(ValueError, match="Head 'a': loss=.* has several quantiles, and a head one"):
        fd.losses.Head("a", 2, loss)


@settings(max_examples=25, deadline=None)
@given(
    units=st.integers(2, 9), groups=st.integers(1, 3), seed=st.integers(0, 1000), scale=st.floats(0.01, 100),
    device=st.sampled_from(["cpu", "reference"]), dtype=st.sampled_from(["float32", "float64"]),
)  # fmt: skip
def test_outputs_ascend_whatever_the_weights(
    units: int, groups: int, seed: int, scale: float, device: str, dtype: str
) -> None:
    random = np.random.default_rng(seed)
    model = fd.Model([fd.Dense(5, "tanh"), fd.Ascending(units, groups)], inputs=3, device=device, dtype=dtype)
    weights = model.get_weights()
    model.set_weights([*(scale * random.normal(size=w.shape) for w in weights[:-1]), weights[-1]])
    outputs = model.predict(random.normal(size=(64, 3))).reshape(64, groups, units)
    # sums of units + 1 numbers, none larger than the largest: each rounding is half a unit of that
    largest = float(np.abs(model.activations(random.normal(size=(64, 3)))[0]).max()) * scale * 40 + 1
    rounding = (units + 1) * groups * largest * np.finfo(outputs.dtype).eps
    assert np.diff(outputs, axis=2).min() >= -rounding


def test_it_is_trained_as_two_layers_of_which_one_is_fixed(device: str) -> None:
    x, y = rows(200)
    model = net(device=device)
    before = model.get_weights()
    model.fit(x, y, epochs=2, verbose=0)
    changed = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert changed == [True] * 6 + [False]
    assert model.count_params() - model.net.count(True) == before[-1].size
    for optimizer in ("lbfgs", "kfac"):
        with pytest.raises(ValueError, match="not trainable"):
            model.compile(optimizer, fd.losses.Quantile(LEVELS))


def test_many_nets_equal_one() -> None:
    x, y = rows(200)
    model = net()
    population = fd.fit_many(model, x, y, starts=3, seed=1, epochs=3, verbose=0)
    alone = model.clone(seed=3)
    alone.fit(x, y, epochs=3, verbose=0)
    np.testing.assert_array_equal(population[2].predict(x), alone.predict(x))
    lanes = fd.Model([fd.Dense(4, "tanh"), fd.Dense(3)], inputs=2, seed=5)
    lanes.compile(fd.Adam(0.01), fd.losses.Quantile([0.1, 0.5, 0.9]))
    population = fd.fit_many(lanes, x, y, starts=20, seed=5, epochs=3, verbose=0)
    assert population.why_one_by_one == ""
    alone = lanes.clone(seed=12)
    alone.fit(x, y, epochs=3, verbose=0)
    # 21 steps of 0.01, each right within some roundings of a gradient near 1
    np.testing.assert_allclose(population[7].predict(x), alone.predict(x), atol=1e-4)


def test_the_best_constant_is_the_quantiles() -> None:
    from fastdense.data.baseline import constant_predictor

    y = np.repeat(np.arange(100.0)[:, None], 3, axis=1)
    constant, _ = constant_predictor(fd.losses.Quantile([0.1, 0.5, 0.9]), y, None, 3)
    np.testing.assert_array_equal(constant, [9, 49, 89])


# ---- intervals -------------------------------------------------------------------------------------------------------


def test_conformal_coverage_of_any_net() -> None:
    """Over draws of calibration and test rows: never less than promised, by more than chance allows.

    A target of m new rows is covered with probability k / (n + 1), k = ceil((n + 1) coverage). The mean over r draws of
    n calibration rows has the variance c (1 - c) / r (1 / (n + 2) + 1 / m), of Beta and binomial; five times its root
    is exceeded once in 3 million times.
    """
    n, m, draws = 49, 50, 200
    random = np.random.default_rng(0)
    for levels in (LEVELS, None):
        model = net(levels)
        model.fit(*rows(500), epochs=5, verbose=0)
        x, y = rows((n + m) * draws, seed=1)
        outputs = model.predict(x)
        expanded = np.repeat(y[:, None], outputs.shape[1], axis=1)
        for coverage in (0.5, 0.9, 0.98):
            share = []
            for draw in random.permutation(len(x)).reshape(draws, n + m):
                scores = scores_of(model.loss, outputs[draw[:n]], expanded[draw[:n]])
                pair, moved = check_coverage("", coverage, model.loss, scores)
                lower, upper = interval(model.loss, outputs[draw[n:]], pair, moved)
                share.append(np.mean((lower[:, 0] <= y[draw[n:]]) & (y[draw[n:]] <= upper[:, 0])))
            exact = math.ceil((n + 1) * coverage) / (n + 1)
            chance = 5 * math.sqrt(exact * (1 - exact) / draws * (1 / (n + 2) + 1 / m))
            assert abs(np.mean(share) - exact) <= chance, (levels, coverage)


def test_quantiles_adapt_the_width() -> None:
    x, y = rows(4000)
    model = net()
    model.fit(x[:3000], y[:3000], epochs=40, verbose=0)
    raw = covered(model, x[3000:], y[3000:], 0.9)
    assert 0.8 < raw < 0.95  # of training rows it is nearly 0.9; a net of 1300 weights fits their noise a little
    model.calibrate(x[3000:], y[3000:])
    lower, upper = model.predict_interval(x)
    noisy = x[:, 1] > 0
    assert np.median((upper - lower)[noisy]) > 2 * np.median((upper - lower)[~noisy])  # the noise is 5 times as large
    assert lower.dtype == np.float32 and lower.shape == (4000, 1)


def test_ends_are_rounded_outwards() -> None:
    """All of the rows that were calibrated on which are to be inside are, also the one that lies on an end."""
    x, y = rows(199)
    model = net(None)
    model.calibrate(x, y)
    for coverage in (0.5, 0.9, 0.95):
        assert covered(model, x, y, coverage) == math.ceil(200 * coverage) / 199


def test_outputs_that_cross_are_sorted() -> None:
    model = fd.Model([fd.Dense(2)], inputs=1, device="reference")
    model.compile("adam", fd.losses.Quantile([0.1, 0.9]))
    model.set_weights([np.array([[1.0, -1.0]]), np.zeros(2)])
    lower, upper = model.predict_interval([[2.0], [-3.0]], coverage=0.8)
    np.testing.assert_array_equal([lower[:, 0], upper[:, 0]], [[-2, -3], [2, 3]])
    assert pairs_of(fd.losses.Quantile(LEVELS)) == [(0, 4, pytest.approx(0.9)), (1, 3, 0.5)]
    assert pairs_of(fd.losses.Quantile([0.2, 0.5])) == [(0, 1, pytest.approx(0.3))]


def test_several_targets(device: str) -> None:
    x, y = rows(300)
    targets = np.stack([y, 10 * y + 5], axis=1)
    model = fd.Model([fd.Dense(8, "tanh"), fd.Ascending(3, 2)], inputs=2, device=device)
    model.compile(fd.Adam(0.01), fd.losses.Quantile([0.1, 0.5, 0.9]))
    model.fit(x[:100], targets[:100], epochs=2, verbose=0)
    model.calibrate(x[100:], targets[100:])
    lower, upper = model.predict_interval(x[100:], coverage=0.9)
    inside = ((lower <= targets[100:]) & (targets[100:] <= upper)).mean(axis=0)
    assert lower.shape == (200, 2) and (inside >= 0.9).all() and (inside < 0.93).all()  # of the same rows: 181 of 200


def test_files_copies_and_changes(tmp_path: Path) -> None:
    x, y = rows(300)
    for levels in (LEVELS, None):
        model = net(levels)
        model.fit(x[:200], y[:200], epochs=2, verbose=0)
        assert model.calibrate(x[200:], y[200:]) is None
        expected = model.predict_interval(x, coverage=0.8)
        model.save(tmp_path / "net.safetensors")
        for copied in (fd.load(tmp_path / "net.safetensors"), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            np.testing.assert_array_equal(copied.predict_interval(x, coverage=0.8), expected)
        for change in (
            lambda one: one.fit(x, y, epochs=1, verbose=0),
            lambda one: one.train_on_batch(x, y),
            lambda one: one.set_weights(one.get_weights()),
            lambda one: one.apply_gradients(one.loss_and_grad(x, y)[1]),
            lambda one: one.compile("adam", one.loss),
            lambda one: one.load_weights(tmp_path / "net.safetensors"),
        ):
            changed = copy.deepcopy(model)
            change(changed)
            with pytest.raises(ValueError, match=r"predict_interval: .*call calibrate\(x_val, y_val\)"):
                changed.predict_interval(x, coverage=0.8)
        moved = copy.deepcopy(model).to("reference")
        np.testing.assert_allclose(moved.predict_interval(x, coverage=0.8), expected, atol=1e-5)  # outputs near 1
        with pytest.raises(ValueError, match=r"predict_interval: .*calibrate"):
            model.clone().predict_interval(x, coverage=0.8)


def test_an_ensemble(tmp_path: Path) -> None:
    x, y = rows(600)
    models = [net().clone(seed=seed) for seed in range(3)]
    for model in models:
        model.fit(x[:300], y[:300], epochs=5, verbose=0)
    ensemble = fd.Ensemble(models)
    lower, upper = ensemble.predict_interval(x, coverage=0.9)
    mean = ensemble.predict(x)
    np.testing.assert_array_equal(np.stack([lower[:, 0], upper[:, 0]]), mean[:, [0, 4]].T)
    ensemble.calibrate(x[300:], y[300:])
    expected = ensemble.predict_interval(x, coverage=0.7)
    assert 0.7 <= covered(ensemble, x[300:], y[300:], 0.7) <= 0.72
    ensemble.save(tmp_path / "all.safetensors")
    for copied in (fd.load(tmp_path / "all.safetensors"), pickle.loads(pickle.dumps(ensemble))):
        np.testing.assert_array_equal(copied.predict_interval(x, coverage=0.7), expected)
    models[1].fit(x, y, epochs=1, verbose=0)
    with pytest.raises(ValueError, match="predict_interval: coverage is 0.7; the quantiles of the loss give 0.5, 0.9"):
        ensemble.predict_interval(x, coverage=0.7)
    other = fd.Model([fd.Ascending(5)], inputs=2)
    other.compile("adam", fd.losses.Quantile([0.1, 0.2, 0.3, 0.4, 0.5]))
    with pytest.raises(ValueError, match="a mean needs the same quantiles"):
        fd.Ensemble([*models, other])


def test_what_is_refused() -> None:
    x, y = rows(20)
    model = net(None)
    with pytest.raises(ValueError, match="the loss is 'mean_squared_error' and nothing was calibrated; rows kept out"):
        model.predict_interval(x)
    with pytest.raises(ValueError, match="calibrate: sample_weight is given; all rows count alike in an interval"):
        model.calibrate(x, y, sample_weight=np.ones(20))
    model.calibrate(x, y)
    with pytest.raises(ValueError, match="coverage is 0.99 and 20 rows were calibrated on; 99 are needed for it"):
        model.predict_interval(x, coverage=0.99)
    with pytest.raises(ValueError, match="predict_interval: coverage"):
        model.predict_interval(x, coverage=1.0)
    model.predict_interval(x, coverage=20 / 21)  # the largest score of all
    model.compile("adam", "hinge")
    with pytest.raises(ValueError, match="predict_interval: the loss is 'hinge'; a loss of numbers is needed"):
        model.predict_interval(x)
    classifier = fd.Model([fd.Dense(1, "sigmoid")], inputs=2)
    classifier.compile("adam", "binary_crossentropy")
    with pytest.raises(
        ValueError, match="calibrate: the loss is 'binary_.*: members that classify are calibrated one by"
    ):
        fd.Ensemble([classifier]).calibrate(x, y > 0)
    with pytest.raises(ValueError, match=r"diagnose: the loss is Quantile\(q=\[0.05.*one output for each target"):
        net().diagnose(x, y)


def test_streams_validation_and_cross_validation() -> None:
    x, y = rows(256)

    def batches() -> Any:
        for first in range(0, 256, 64):
            yield x[first : first + 64], y[first : first + 64]

    streamed, whole = net(), net()
    history = streamed.fit(batches(), steps_per_epoch=4, epochs=1, verbose=0, validation_data=(x, y))
    whole.fit(x, y, epochs=1, batch_size=64, shuffle=False, verbose=0)
    np.testing.assert_array_equal(streamed.predict(x), whole.predict(x))
    assert history.history["val_loss"] == [pytest.approx(whole.evaluate(x, y, verbose=0))]
    found = fd.cross_validate(net(), x, y, folds=2, epochs=2, verbose=0)
    assert found.scores["loss"].shape == (1, 2) and np.isfinite(found.scores["loss"]).all()
