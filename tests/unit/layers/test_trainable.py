"""Layers that are not trainable."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fastdense as fd

X = np.random.default_rng(0).normal(size=(40, 3))
Y = X.sum(axis=1, keepdims=True)
FIT: dict[str, Any] = {"epochs": 2, "verbose": 0, "batch_size": 16}


def model(device: str = "cpu", **options: Any) -> fd.Model:
    first = fd.Dense(4, activation="tanh", kernel_regularizer="l2", name="first", **options)
    layers = [first, fd.BatchNorm(name="norm", **options), fd.Dense(1, name="last")]
    return fd.Model(layers, inputs=3, dtype="float64", device=device)


def changed(made: fd.Model) -> list[bool]:
    """Fit, and tell which tensors that has changed."""
    before = made.get_weights()
    made.fit(X, Y, **FIT)
    return [not np.array_equal(a, b) for a, b in zip(before, made.get_weights(), strict=True)]


@pytest.mark.parametrize("device", ["cpu", "reference"])
@pytest.mark.parametrize(
    "optimizer", [fd.Adam(0.1, weight_decay=0.1), fd.SGD(0.1, 0.9, global_clipnorm=0.1), fd.Muon(0.1, use_ema=True)]
)
def test_frozen_tensors_stay(device: str, optimizer: fd.optimizers.Optimizer) -> None:
    made = model(device, trainable=False)
    made.compile(optimizer, "mse")
    assert changed(made) == [False] * 6 + [True] * 2
    assert made.net.count(True) == 5 and made.net.count(False) == 16 + 16


def test_it_counts_from_the_next_compile_on() -> None:
    made = model()
    made.compile("adam", "mse")
    made.layers[0].trainable = made.layers[1].trainable = False
    assert changed(made) == [True] * 8
    made.compile("adam", "mse")
    assert changed(made) == [False] * 6 + [True] * 2
    made.layers[0].trainable = True
    made.compile("adam", "mse")
    assert changed(made) == [True] * 2 + [False] * 4 + [True] * 2


def test_penalties_of_frozen_tensors_are_no_part_of_the_loss() -> None:
    free, frozen = model(), model(trainable=False)
    for made in (free, frozen):
        made.compile("sgd", "mse")
    penalty = 0.01 * float(np.square(free.get_weights()[0]).sum())
    assert free.evaluate(X, Y) - frozen.evaluate(X, Y) == pytest.approx(penalty)


def test_gradients_of_frozen_tensors_are_0() -> None:
    made = model(trainable=False)
    made.compile("sgd", "mse")
    made.fit(X, Y, **FIT)
    gradient = made.loss_and_grad(X, Y, training=True)[1]
    assert [bool(np.any(part)) for part in gradient] == [False] * 4 + [True] * 2


def test_a_net_of_frozen_layers_does_not_change() -> None:
    made = fd.Model([fd.Dense(2, trainable=False), fd.BatchNorm(center=False, scale=False, trainable=False)], inputs=3)
    made.compile("adam", "mse")
    before = made.get_weights()
    made.fit(X, np.hstack([Y, Y]), **FIT)
    assert all(np.array_equal(a, b) for a, b in zip(before, made.get_weights(), strict=True))


def test_files_and_clones_keep_it(tmp_path: Path) -> None:
    made = model(trainable=False)
    made.compile("adam", "mse")
    made.fit(X, Y, **FIT)
    made.save(tmp_path / "net")
    for other in (fd.load(tmp_path / "net"), made.clone()):
        assert [layer.trainable for layer in other.layers] == [False, False, True]
        assert changed(other) == [False] * 6 + [True] * 2


def test_a_residual_freezes_its_layers() -> None:
    inner = [fd.BatchNorm(), fd.Dense(3, activation="tanh")]
    made = fd.Model([fd.Residual(inner, trainable=False), fd.Dense(1)], inputs=3)
    made.compile("adam", "mse")
    assert changed(made) == [False] * 6 + [True] * 2
    assert [layer.trainable for layer in inner] == [True, True]  # what they say themselves stays


def test_members_of_a_population_are_like_single_models() -> None:
    made = model(trainable=False)
    made.compile(fd.Adam(0.01, use_ema=True, ema_momentum=0.5), "mse")
    population = fd.fit_many(made, X, Y, starts=2, epochs=2, batch_size=16)
    single = made.clone(seed=1)
    single.fit(X, Y, **FIT)
    for ours, its in zip(population.weights, single.get_weights(), strict=True):
        assert ours[1] == pytest.approx(its, rel=1e-9)


@pytest.mark.parametrize("optimizer", ["lbfgs", "kfac"])
def test_optimizers_that_train_all_tensors(optimizer: str) -> None:
    with pytest.raises(ValueError, match=r"not trainable.*all tensors.*use e.g. Adam"):
        model(trainable=False).compile(optimizer, "mse")
    limited = fd.Model([fd.Dense(1, kernel_constraint="max_norm")], inputs=3)
    if optimizer == "lbfgs":
        with pytest.raises(ValueError, match=r"with constraints.*keeps none.*or use e.g. Adam"):
            limited.compile(optimizer, "mse")


def test_it_is_a_bool() -> None:
    with pytest.raises(TypeError, match="Dense: trainable='no' is of type str. Give True or False"):
        fd.Dense(2, trainable="no")  # type: ignore[arg-type]


@pytest.mark.parametrize("device", ["cpu", "reference"])
def test_layers_in_branches(device: str) -> None:
    """A block that is not trainable freezes its layers; one that is leaves them as they say."""
    inner = [[fd.Dense(4, activation="tanh", trainable=False), fd.BatchNorm()], [fd.Residual([fd.Dense(3)])], []]
    made = fd.Model([fd.Branches(inner), fd.Dense(1)], inputs=3, dtype="float64", device=device)
    made.compile("adam", "mse")
    assert changed(made) == [False] * 2 + [True] * 4 + [True] * 2 + [True] * 2
    made.layers[0].trainable = False
    made.compile("adam", "mse")
    assert changed(made) == [False] * 8 + [True] * 2
    assert made.layers[0].with_chains(inner).trainable is False
    assert made.net.count(True) == 11 and not any(layer.trainable for layer in (inner[0][0], made.layers[0]))
    assert inner[0][1].trainable and inner[1][0].trainable


# ---- what writes weights besides the steps of a training -------------------------------------------------------------


def relu_net(**frozen: bool) -> fd.Model:
    """Three dense layers and a block with dense layers, by the names of those that are not trainable."""

    def dense(name: str, units: int, activation: str = "linear") -> fd.Dense:
        return fd.Dense(units, activation, name=name, trainable=not frozen.get(name, False))

    block = fd.Residual([dense("inner", 4, "tanh"), fd.BatchNorm()], name="block")
    layers = [dense("a", 5, "relu"), dense("b", 4, "relu"), block, dense("out", 1)]
    made = fd.Model(layers, inputs=3, dtype="float64", seed=4)
    made.set_weights([np.round(w + 0.25, 2) for w in made.get_weights()])  # none is what the seed gives
    made.compile("adam", "mse")
    return made


def kept(made: fd.Model, change: Any) -> list[str]:
    """Kernels that are what they were, with their biases."""
    before = made.get_weights()
    change(made)
    pairs = zip(made.net.tensors, before, made.get_weights(), strict=True)
    same = {tensor.name: np.array_equal(a, b) for tensor, a, b in pairs}
    kernels = [name for name in same if name.endswith("kernel")]
    return [name for name in kernels if same[name] and same[name.replace("kernel", "bias")]]


def test_place_leaves_frozen_layers_out() -> None:
    assert kept(relu_net(), lambda m: m.place(X)) == ["block/0.kernel", "out/kernel"]
    assert kept(relu_net(a=True), lambda m: m.place(X)) == ["a/kernel", "block/0.kernel", "out/kernel"]
    made = relu_net(a=True)
    made.place(X)
    below = np.maximum(made.activations(X)[0], 0.0)
    assert (below @ made.get_weights()[2] + made.get_weights()[3] > 0).all()  # no unit is off, for what it gets now
    assert "a/kernel" in kept(relu_net(a=True), lambda m: m.place(X, Y))


def test_place_without_a_layer_that_may_change() -> None:
    made = relu_net(a=True, b=True)
    with pytest.raises(ValueError, match="place: no dense layer that it would change is trainable; one must be: set"):
        made.place(X)
    made = relu_net(out=True)
    with pytest.raises(
        ValueError, match="place: y is given; a last layer that is trainable is needed, since it is scaled"
    ):
        made.place(X, Y)
    assert kept(made, lambda m: m.place(X)) == ["block/0.kernel", "out/kernel"]


def test_solve_output_needs_a_trainable_last_layer() -> None:
    made = relu_net(out=True)
    before = made.get_weights()
    with pytest.raises(
        ValueError, match="solve_output: the last layer is not trainable; its weights would change: set"
    ):
        made.solve_output(X, Y)
    assert all(np.array_equal(a, b) for a, b in zip(before, made.get_weights(), strict=True))
    assert kept(relu_net(a=True), lambda m: m.solve_output(X, Y)) == ["a/kernel", "b/kernel", "block/0.kernel"]


@pytest.mark.parametrize("change", [lambda m: fd.start_on_data(m, X, Y), lambda m: m.fit(X, Y, starts=8, **FIT)])
def test_first_values_from_the_data_leave_frozen_layers_out(change: Any) -> None:
    assert kept(relu_net(), change) == []
    assert kept(relu_net(a=True), change) == ["a/kernel"]
    assert kept(relu_net(inner=True, b=True), change) == ["b/kernel", "block/0.kernel"]
    assert "out/kernel" in kept(relu_net(out=True), change)


def test_start_on_data_keeps_moving_statistics_of_a_frozen_layer() -> None:
    made = fd.Model([fd.Dense(3), fd.BatchNorm(trainable=False), fd.Dense(1)], inputs=3)
    made.compile("adam", "mse")
    weights = [w + 1 for w in made.get_weights()]
    made.set_weights(weights)
    fd.start_on_data(made, X, Y)
    np.testing.assert_equal(made.get_weights()[2:6], weights[2:6])
    made = fd.Model([fd.Dense(2, trainable=False), fd.Dense(1, trainable=False)], inputs=3)
    made.compile("adam", "mse")
    with pytest.raises(ValueError, match="start_on_data: no dense layer that it would change is trainable"):
        fd.start_on_data(made, X, Y)


def test_members_of_a_population_begin_with_first_values() -> None:
    """Also in frozen layers, as `clone` has them; `start="data"` leaves these out."""
    made = relu_net(a=True)
    single = made.clone(seed=1)
    first = single.get_weights()[0]
    for start in ("random", "data"):
        population = fd.fit_many(made, X, Y, starts=2, epochs=1, start=start, verbose=0)
        np.testing.assert_allclose(population.weights[0][1], first, rtol=1e-12)


@pytest.mark.parametrize(
    ("frozen", "revived"), [({}, 5), ({"a": True}, 0), ({"b": True}, 0), ({"out": True, "inner": True}, 5)]
)
def test_revival_leaves_frozen_layers_out(frozen: dict[str, bool], revived: int) -> None:
    """A revived unit changes its own layer, and the rows of the next one's kernel."""
    made = relu_net(**frozen)
    weights = made.get_weights()
    weights[1][:] = -100.0  # all units of the first layer are dead
    made.set_weights(weights)
    callback = fd.callbacks.ReviveDeadUnits(every=1, until=1.0)
    found: list[Any] = []
    left = kept(made, lambda m: found.append(m.fit(X, Y, callbacks=[callback], **{**FIT, "epochs": 1})))
    assert found[0].history["revived"] == [revived]
    names = {"inner": "block/0.kernel"}
    assert {names.get(name, f"{name}/kernel") for name in frozen} <= set(left)
    first = [np.stack([w, w]) for w in weights]
    population = fd.fit_many(made, X, Y, starts=2, epochs=1, initial_weights=first, callbacks=[callback], verbose=0)
    assert population.revived.tolist() == [revived] * 2


def test_the_diagnosis_offers_no_closed_form_for_frozen_layers() -> None:
    from fastdense.diagnose.plan import Plan
    from fastdense.diagnose.remedies import closed_form

    subject: Any = SimpleNamespace(sample_y=Y)
    for frozen, offered in (({}, True), ({"a": True}, False), ({"out": True}, False)):
        plan = Plan.of(relu_net(**frozen), 16, 2, True, None)
        assert closed_form(subject).apply(plan).closed_form is offered
