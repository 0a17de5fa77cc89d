"""`fit_many` of a list of models, and of one with settings for each start: each member is its own fit."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense.callbacks import EarlyStopping
from fastdense.population.parts import TOO_FEW
from fastdense.runners.population import PopulationRunner
from tests.helpers.populations import CLOSE, data, interrupt, net, same

Array = Any
X, Y = data()
HELD = data(20, seed=5)


def alike(ours: Any, theirs: Any) -> None:
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, **CLOSE)


def different() -> list[fd.Model]:
    """No two of one shape."""
    models = [
        net(fd.Dense(3, "tanh"), fd.Dense(1), seed=4),
        net(fd.Dense(6, "gelu"), fd.Dropout(0.3), fd.Dense(4, "tanh"), fd.Dense(1), optimizer=fd.AdamW(0.02), seed=9),
        net(fd.Normalization(), fd.Dense(5, "tanh", kernel_regularizer="l2"), fd.Dense(1), optimizer=fd.Muon(0.01)),
        net(fd.Dense(4, "tanh"), fd.BatchNorm(), fd.Dense(1), optimizer=fd.SGD(0.1), loss="huber", seed=1),
        net(fd.Log1p(columns=[0]), fd.Dense(4, "tanh"), fd.Dense(1), loss="mae", seed=2),
    ]
    for i, model in enumerate(models):
        model.compile(model.optimizer, model.loss, metrics=["mae", "r2"], loss_weights=1 + 0.5 * i)
    return models


def shapely(count: int, optimizer: Any = fd.AdamW) -> list[fd.Model]:
    """Of one shape, and different in numbers."""
    models = []
    for i in range(count):
        layers = [
            fd.Dense(5, "tanh"),
            fd.Dropout(0.1 * (i % 4)),
            fd.Dense(4, "tanh"),
            fd.Dropout(0.05 * i),
            fd.Dense(2),
        ]
        model = fd.Model([*layers, fd.Activation("sigmoid")], inputs=3, dtype="float64", seed=3 * i)
        loss = fd.losses.BinaryCrossentropy(label_smoothing=0.02 * i)
        model.compile(optimizer(0.01 * (1 + i), weight_decay=0.03 * i), loss, metrics=["accuracy", "auc"])
        models.append(model)
    return models


def labels(rows: int = 50, seed: int = 0) -> tuple[Array, Array]:
    x, y = data(rows, seed=seed)
    return x, np.concatenate([y > 0, y > 0.3], axis=1).astype(float)


@pytest.mark.parametrize("threads", [1, 2])
def test_members_are_the_models(threads: int) -> None:
    x, models = np.abs(X), different()
    sizes = [8, 16, 32, 50, 13]
    before = [model.get_weights() for model in models]
    population = fd.fit_many(models, x, Y, epochs=4, batch_size=sizes, validation_data=HELD_POSITIVE, verbose=0,
                             n_threads=threads)  # fmt: skip
    assert len(population) == 5 and population.seeds.tolist() == [4, 9, 0, 1, 2]
    assert "Muon works on whole matrices" in population.why_one_by_one and TOO_FEW in population.why_one_by_one
    for i, (model, size) in enumerate(zip(models, sizes, strict=True)):
        alone = model.clone()
        history = alone.fit(x, Y, epochs=4, batch_size=size, validation_data=HELD_POSITIVE, verbose=0)
        alike(population[i].get_weights(), alone.get_weights())
        np.testing.assert_allclose(population.history[:, i], history.history["loss"], **CLOSE)
        np.testing.assert_allclose(population.val_history[:, i], history.history["val_loss"], **CLOSE)
        for name in ("mean_absolute_error", "r2_score"):
            key = "mae" if name == "mean_absolute_error" else "r2"
            np.testing.assert_allclose(population.val_metrics[key][:, i], history.history[f"val_{key}"], **CLOSE)
        assert population.losses[i] == pytest.approx(alone.evaluate(x, Y, verbose=0)[0], rel=1e-9)
        member = population[i]
        assert member.get_config() == {**model.get_config(), "layers": member.get_config()["layers"]}
        assert member.get_compile_config() == model.get_compile_config()
        for each in (member, alone):
            each.fit(x, Y, epochs=1, batch_size=size, verbose=0)  # with the optimizer's state
        alike(member.get_weights(), alone.get_weights())
    alike(population.evaluate(x, Y), [model.evaluate(x, Y, verbose=0)[0] for model in population])
    alike(population.predict(x), [model.predict(x) for model in population])
    for given, model in zip(before, models, strict=True):
        np.testing.assert_array_equal(given[0], model.get_weights()[0])
    with pytest.raises(ValueError, match="^weights: the members have 5 different shapes; .*use population.i..get_weig"):
        _ = population.weights
    assert "5 starts of 5 shapes" in repr(population) or "starts of" in repr(population)
    assert len(population.outcomes()) == 5


HELD_POSITIVE = (np.abs(HELD[0]), HELD[1])


@pytest.mark.parametrize("one_by_one", [False, True])
def test_models_of_one_shape_share_lanes(one_by_one: bool) -> None:
    x, y = labels()
    held = labels(20, seed=5)
    models = shapely(9, fd.Muon if one_by_one else fd.AdamW)
    population = fd.fit_many(models, x, y, epochs=5, batch_size=16, validation_data=held, verbose=0)
    assert bool(population.why_one_by_one) == one_by_one
    for i in (0, 3, 8):
        alone = models[i].clone()
        history = alone.fit(x, y, epochs=5, batch_size=16, validation_data=held, verbose=0)
        alike(population[i].get_weights(), alone.get_weights())
        np.testing.assert_allclose(population.val_history[:, i], history.history["val_loss"], **CLOSE)
        for name, values in population.val_metrics.items():
            np.testing.assert_allclose(values[:, i], history.history[f"val_{name}"], **CLOSE)
        assert population[i].layers[3].rate == models[i].layers[3].rate
    assert set(population.val_metrics) == {"accuracy", "auc"}


def test_losses_of_ones_own_differ_though_their_names_are_alike() -> None:
    def times(factor: float) -> fd.losses.Custom:
        def loss(y: Array, p: Array) -> tuple[Array, Array]:
            return factor * ((p - y) ** 2).mean(axis=1), factor * 2 * (p - y) / p.shape[1]

        return fd.losses.Custom(loss)

    def models() -> list[fd.Model]:
        return [net(fd.Dense(3, "tanh"), fd.Dense(1), optimizer=fd.SGD(0.01), loss=times(k), seed=2) for k in (1, 10)]

    population = fd.fit_many(models(), X, Y, epochs=2, batch_size=8, verbose=0)
    for i, model in enumerate(models()):
        same(population, i, model, model.fit(X, Y, epochs=2, batch_size=8, verbose=0))


def test_same_bits_at_any_number_of_threads() -> None:
    models = [*different(), *[net(seed=i) for i in range(20)]]
    found = [fd.fit_many(models, np.abs(X), Y, epochs=3, verbose=0, n_threads=n) for n in (1, 2, 3)]
    for other in found[1:]:
        np.testing.assert_array_equal(found[0].history, other.history)
        for one, two in zip(found[0], other, strict=True):
            for ours, theirs in zip(one.get_weights(), two.get_weights(), strict=True):
                np.testing.assert_array_equal(ours, theirs)


SETTINGS: dict[str, Any] = {
    "weight_decay": [0.0, 0.1, 0.5, 0.01],
    "dropout": [0.0, 0.5, 0.2, 0.9],
    "label_smoothing": [0.0, 0.1, 0.3, 1.0],
    "loss_weight": [1.0, 2.0, 0.5, 0.1],
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("how", ["lanes", "one by one", "reference"])
def test_settings_of_each_start(name: str, how: str) -> None:
    x, y = labels()
    device = "reference" if how == "reference" else "cpu"
    (model,) = [one.clone() for one in shapely(1, fd.Muon if how == "one by one" else fd.AdamW)]
    model.to(device)
    values = SETTINGS[name]
    population = fd.fit_many(model, x, y, epochs=3, batch_size=16, seed=7, validation_data=labels(20, 5), verbose=0,
                             penalty=2.0, **{name: values})  # fmt: skip
    assert (population.why_one_by_one == "") == (how == "lanes")
    for i, value in enumerate(values):
        alone = changed(model, name, value).clone(seed=7 + i)
        history = alone.fit(x, y, epochs=3, batch_size=16, validation_data=labels(20, 5), verbose=0)
        alike(population[i].get_weights(), alone.get_weights())
        np.testing.assert_allclose(population.val_history[:, i], history.history["val_loss"], **CLOSE)
        assert population.losses[i] == pytest.approx(alone.evaluate(x, y, verbose=0)[0], rel=1e-9)
        assert population[i].get_compile_config() == alone.get_compile_config()
        assert population[i].layers == alone.layers


def changed(model: fd.Model, name: str, value: float) -> fd.Model:
    """The model with one setting changed by hand."""
    layers = copy.deepcopy(model.layers)
    if name == "dropout":
        layers[1], layers[3] = fd.Dropout(value), fd.Dropout(value)
    made = fd.Model(layers, inputs=3, dtype="float64", device=model.device)
    optimizer, loss = model.optimizer, model.loss
    if name == "weight_decay":
        optimizer = type(optimizer)(learning_rate=optimizer.learning_rate, weight_decay=value)
    if name == "label_smoothing":
        loss = fd.losses.BinaryCrossentropy(label_smoothing=value)
    made.compile(optimizer, loss, metrics=model.metrics, loss_weights=value if name == "loss_weight" else None)
    return made


@pytest.mark.parametrize("device", ["cpu", "reference"])
@pytest.mark.parametrize("optimizer", [fd.Adam, fd.Muon])
def test_order_of_each_start(device: str, optimizer: Any) -> None:
    """Two members with one order are those of any other call with that order; an order is that of a net's own seed."""
    model = net(fd.Dense(5, "tanh"), fd.Dense(1), optimizer=optimizer(0.01), device=device)
    options: dict[str, Any] = {"epochs": 3, "batch_size": 16, "seed": [5, 5, 5], "verbose": 0}
    population = fd.fit_many(model, X, Y, order_seed=[5, 8, 8], **options)
    alone = model.clone(seed=5)
    same(population, 0, alone, alone.fit(X, Y, batch_size=16, epochs=3, verbose=0))
    alike(population[1].get_weights(), population[2].get_weights())
    assert np.abs(population[0].get_weights()[0] - population[1].get_weights()[0]).max() > 1e-4
    shared = fd.fit_many(model, X, Y, order_seed=8, **options)
    for i in (0, 1):
        alike(shared[i].get_weights(), population[1].get_weights())
    first = fd.fit_many(model, X, Y, shuffle="same", **{**options, "seed": [8, 5]})
    alike(first[1].get_weights(), shared[0].get_weights())


@pytest.mark.parametrize("one_shape", [True, False])
@pytest.mark.parametrize("restore", [True, False])
def test_each_stops_by_a_metric(one_shape: bool, restore: bool) -> None:
    x, y = labels()
    held = labels(30, seed=5)
    models = shapely(7) if one_shape else [
        fd.Model([fd.Dense(3 + i, "tanh"), fd.Dense(2, "sigmoid")], inputs=3, dtype="float64", seed=i) for i in range(7)
    ]  # fmt: skip
    for model in [] if one_shape else models:
        model.compile(fd.Adam(0.03), "binary_crossentropy", metrics=["accuracy", "auc"])
    stop = EarlyStopping("val_auc", mode="max", patience=2, restore_best_weights=restore)
    options: dict[str, Any] = {"epochs": 25, "batch_size": 8, "validation_data": held, "verbose": 0}
    population = fd.fit_many(models, x, y, callbacks=[stop], **options)
    assert len(set(population.epochs)) > 2, "members should stop at different times"
    for i, model in enumerate(models):
        alone = model.clone()
        history = alone.fit(x, y, callbacks=[copy.deepcopy(stop)], **options)
        ended = len(history.epoch)
        assert population.epochs[i] == ended
        np.testing.assert_allclose(population.val_metrics["auc"][:ended, i], history.history["val_auc"], **CLOSE)
        assert np.isnan(population.val_metrics["auc"][ended:, i]).all()
        assert np.isnan(population.val_history[ended:, i]).all()
        alike(population[i].get_weights(), alone.get_weights())


def test_members_that_stop_leave_their_lanes_to_others() -> None:
    """Bits of those that go on do not change, however they are moved between lanes."""
    model = net(optimizer=fd.SGD(0.2))
    options: dict[str, Any] = {"starts": 70, "epochs": 30, "batch_size": 8, "validation_data": HELD, "verbose": 0}
    whole = fd.fit_many(model, X, Y, **options)
    stop = EarlyStopping(patience=3, restore_best_weights=True)
    early = fd.fit_many(model, X, Y, callbacks=[stop], **options)
    assert len(set(early.epochs)) > 5
    for i in range(70):
        ended = early.epochs[i]
        np.testing.assert_array_equal(early.history[:ended, i], whole.history[:ended, i])
        np.testing.assert_array_equal(early.val_history[:ended, i], whole.val_history[:ended, i])
    best = np.nanmin(early.val_history, axis=0)
    np.testing.assert_allclose(early.evaluate(*HELD), best, **CLOSE)


@pytest.mark.parametrize("one_shape", [True, False])
def test_snapshots_are_the_best_epochs(one_shape: bool) -> None:
    models = [net(fd.Dense(4 if one_shape else 3 + i, "tanh"), fd.Dense(1), seed=i) for i in range(5)]
    for model in models:
        model.compile(fd.SGD(0.3), "mse", metrics=["mae"])
    stop = EarlyStopping("val_mae", patience=4)
    options: dict[str, Any] = {"epochs": 12, "batch_size": 8, "validation_data": HELD, "verbose": 0}
    population = fd.fit_many(models, X, Y, snapshots=3, callbacks=stop, **options)
    assert len(population.snapshots) == 5
    for i, model in enumerate(models):
        alone, seen = model.clone(), []
        keep = fd.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs, m=alone, s=seen: s.append(m.get_weights()))
        history = alone.fit(X, Y, callbacks=[keep, copy.deepcopy(stop)], **options).history["val_mae"]
        best = np.argsort(history, kind="stable")[:3]
        kept = population.snapshots[i]
        assert [epoch for epoch, _, _ in kept] == best.tolist()
        for epoch, value, weights in kept:
            assert value == pytest.approx(history[epoch], rel=1e-9)
            alike(weights, seen[epoch])
    assert fd.fit_many(models, X, Y, verbose=0).snapshots == [[]] * 5


def test_a_time_limit_ends_all_at_about_one_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastdense.training import population as loop

    clock = [0.0]
    train = PopulationRunner.train

    def slow(self: PopulationRunner, call: Any) -> dict[str, Any]:
        clock[0] += 1.0
        return train(self, call)

    monkeypatch.setattr(PopulationRunner, "train", slow)
    monkeypatch.setattr(loop.time, "monotonic", lambda: clock[0])
    models = [net(fd.Dense(3 + i, "tanh"), fd.Dense(1), seed=i) for i in range(4)]
    population = fd.fit_many(models, X, Y, epochs=10, validation_data=HELD, time_limit=14, verbose=0, n_threads=1)
    assert sorted(population.epochs.tolist()) == [3, 3, 4, 4] and not population.interrupted
    assert population.history.shape == population.val_history.shape == (4, 4)
    alone = models[0].clone()
    alone.fit(X, Y, epochs=int(population.epochs[0]), verbose=0)
    alike(population[0].get_weights(), alone.get_weights())
    member = population[0]
    for each in (member, alone):
        each.fit(X, Y, verbose=0)
    alike(member.get_weights(), alone.get_weights())
    clock[0] = 0.0
    nothing = fd.fit_many(models, X, Y, epochs=10, time_limit=0, verbose=0)
    assert not nothing.epochs.any() and nothing.history.shape == (0, 4) and np.isfinite(nothing.losses).all()


def test_lists_are_pickled() -> None:
    models = [*different(), *[net(fd.Dense(4), fd.Dropout(0.1), fd.Dense(1), seed=i) for i in range(6)]]
    population = fd.fit_many(models, np.abs(X), Y, epochs=3, verbose=0, snapshots=1)
    copied: fd.Population[fd.Model] = pickle.loads(pickle.dumps(population))
    np.testing.assert_array_equal(copied.history, population.history)
    assert copied.why_one_by_one == population.why_one_by_one and repr(copied) == repr(population)
    np.testing.assert_array_equal(copied.predict(X), population.predict(X))
    np.testing.assert_array_equal(copied.evaluate(np.abs(X), Y), population.evaluate(np.abs(X), Y))
    np.testing.assert_array_equal(copied.snapshots[3][0][2][0], population.snapshots[3][0][2][0])
    for mine, its in zip(copied, population, strict=True):
        for each in (mine, its):
            each.fit(np.abs(X), Y, epochs=1, verbose=0)
        for ours, theirs in zip(mine.get_weights(), its.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_keeps_every_member(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    models = [net(fd.Dense(3 + i, "tanh"), fd.Dense(1), seed=i) for i in range(4)]
    interrupt(monkeypatch, PopulationRunner, "train", at=5)
    message = r"^fit_many: interrupted in epoch \d of 9; the population as trained by then"
    with pytest.raises(fd.PopulationInterrupt, match=message) as caught:
        fd.fit_many(models, X, Y, epochs=9, validation_data=HELD, verbose=0, n_threads=threads, snapshots=2,
                    callbacks=EarlyStopping(restore_best_weights=True))  # fmt: skip
    population = caught.value.population
    assert population.interrupted and 5 <= population.epochs.sum() <= 6
    assert len(population.history) == population.epochs.max()
    assert np.array_equal(np.isnan(population.losses), population.epochs == 0)
    validated = np.isfinite(population.val_history).sum(axis=0)  # Ctrl-C may come between an epoch and its validation
    assert (validated <= population.epochs).all() and (population.epochs <= validated + 1).all()
    assert [len(kept) for kept in population.snapshots] == np.minimum(validated, 2).tolist()
    for member in population:
        member.fit(X, Y, verbose=0)


def test_tries_of_each_model() -> None:
    models = [net(fd.Dense(3 + i, "tanh"), fd.Dense(1), seed=i) for i in range(3)]
    population = fd.fit_many(models, X, Y, epochs=30, tries=5, verbose=0, n_threads=2)
    for i, model in enumerate(models):
        alone = fd.fit_many(model, X, Y, epochs=30, tries=5, seed=[i], verbose=0)
        assert population.seeds[i] == alone.seeds[0]
        alike(population[i].get_weights(), alone[0].get_weights())


def test_progress_of_parts(capsys: pytest.CaptureFixture[str]) -> None:
    models = [net(fd.Dense(3 + i, "tanh"), fd.Dense(1), seed=i) for i in range(4)]
    for threads in (1, 2):
        fd.fit_many(models, X, Y, epochs=3, verbose=2, n_threads=threads, validation_data=HELD)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 3 and "best" in lines[0] and "median" in lines[0]


ERRORS: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    ([], {}, ValueError, "fit_many: the list of models is empty; at least one model is needed"),
    ([net(), 3], {}, TypeError, "fit_many: models[1] is of type int. Give compiled models."),
    ([fd.Model([fd.Dense(1)], inputs=3)], {}, ValueError, "fit_many: models[0]: the model is not compiled"),
    ([net(), net(inputs=4)], {}, ValueError,
     "fit_many: models[0] has inputs=3 and models[1] inputs=4; all must agree in it"),
    ([net(), net(device="reference")], {}, ValueError,
     "fit_many: models[0] has device='cpu' and models[1] device='reference'; all must agree in it"),
    ([net(), net()], {"starts": 3}, ValueError,
     "fit_many: the number of starts is ambiguous: the list of models implies 2, starts implies 3; all must agree"),
    ([net(), net(fd.Dense(1))], {"initial_weights": [np.zeros((2, 3, 5))]}, ValueError,
     "fit_many: initial_weights is given and models[1] has tensors of other shapes than models[0]"),
    (net(), {"dropout": 0.1}, ValueError, "fit_many: dropout is given and the model has no Dropout layer"),
    ([net(fd.Dropout(0.1), fd.Dense(1)), net()], {"dropout": 0.1}, ValueError,
     "fit_many: dropout is given and models[1] has no Dropout layer"),
    (net(fd.Dropout(0.1), fd.Dense(1)), {"dropout": [0.1, 1.0]}, ValueError,
     "fit_many: dropout[1] is 1; dropout must be 0 or more and below 1"),
    (net(), {"label_smoothing": [0.1]}, ValueError,
     "fit_many: label_smoothing is given and the loss of the model is mean_squared_error; it has no label smoothing"),
    (net(optimizer=fd.LBFGS()), {"weight_decay": 0.1}, ValueError,
     "fit_many: weight_decay is given and the optimizer of the model is LBFGS; it has no weight decay"),
    (net(), {"loss_weight": [1.0, 0.0]}, ValueError, "fit_many: loss_weight[1] is 0; loss_weight must be above 0"),
    (net(), {"batch_size": [8, 0]}, ValueError, "fit_many: batch_size[1]=0 is out of range."),
    (net(), {"batch_size": [8, 8], "starts": 3}, ValueError,
     "fit_many: the number of starts is ambiguous: starts implies 3, batch_size implies 2; all must agree"),
    (net(), {"batch_size": 2.5}, TypeError, "fit_many: batch_size=2.5 is of type float."),
    (net(), {"order_seed": [1, -1]}, ValueError, "fit_many: order_seed[1]=-1 is out of range."),
    (net(), {"order_seed": 1, "shuffle": False}, ValueError,
     "fit_many: order_seed is given together with shuffle=False; they are alternatives"),
    (net(), {"snapshots": -1}, ValueError, "fit_many: snapshots=-1 is out of range."),
    (net(), {"time_limit": -1}, ValueError, "fit_many: time_limit=-1 is out of range."),
    (net(), {"callbacks": EarlyStopping("val_mae"), "validation_data": HELD}, ValueError,
     "fit_many: EarlyStopping monitors 'val_mae'; the model is compiled with no metrics"),
]  # fmt: skip


@pytest.mark.parametrize(("models", "options", "kind", "message"), ERRORS, ids=[e[3][10:50] for e in ERRORS])
def test_errors(models: Any, options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        fd.fit_many(models, X, Y, verbose=0, **options)
    assert str(caught.value).startswith(message)


METRICS: dict[str, tuple[list[Any], Any, list[Any]]] = {
    "values": ([fd.Dense(2)], "mse", ["mse", "mae", "mape", "r2"]),
    "probabilities": ([fd.Dense(2, "sigmoid")], "binary_crossentropy",
                      ["binary_accuracy", "accuracy", "precision", "recall", "f1", "auc"]),
    "logits": ([fd.Dense(2)], fd.losses.BinaryCrossentropy(from_logits=True), ["accuracy", "precision", "auc"]),
    "distribution": ([fd.Dense(2, "softmax")], "categorical_crossentropy",
                     ["categorical_accuracy", fd.metrics.TopKAccuracy(1), "recall", "auc"]),
    "classes": ([fd.Dense(2)], fd.losses.SparseCategoricalCrossentropy(from_logits=True),
                ["sparse_categorical_accuracy", fd.metrics.TopKAccuracy(2), "f1"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", METRICS)
@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_of_nets_in_lanes(kind: str, weighted: bool) -> None:
    """Every metric, over several blocks of rows, for raw inputs too: what a fit reports."""
    last, loss, metrics = METRICS[kind]
    x, y = labels(150)
    y = y[:, 0].astype(np.int64) if kind == "classes" else y
    if kind == "distribution":
        y = np.eye(2)[y[:, 0].astype(int)]
    held: tuple[Array, ...] = (x[50:], y[50:], np.linspace(0.5, 2, 100))[: 2 + weighted]
    model = fd.Model([fd.Dense(5, "tanh"), *last], inputs=3, dtype="float64")
    model.compile(fd.Adam(0.02), loss, metrics=metrics)
    population = fd.fit_many(model, x[:50], y[:50], starts=11, epochs=3, validation_data=held, verbose=0)
    assert not population.why_one_by_one
    for i in (0, 10):
        history = model.clone(seed=i).fit(x[:50], y[:50], epochs=3, validation_data=held, verbose=0).history
        assert set(population.val_metrics) == {name[4:] for name in history if name[:4] == "val_"} - {"loss"}
        for name, values in population.val_metrics.items():
            np.testing.assert_allclose(values[:, i], history[f"val_{name}"], **CLOSE)
        np.testing.assert_allclose(population.val_history[:, i], history["val_loss"], **CLOSE)
