"""Nets with several heads: the sum of the losses of parts of the outputs, on every engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastdense as fd
from fastdense.losses import Head, PerHead
from fastdense.metrics import OfHead
from tests.parity.test_hooks import MeanError, by_rows

Array = NDArray[Any]
RANDOM = np.random.default_rng(0)
ROWS = 60
X = RANDOM.normal(size=(ROWS, 4))
Y = {
    "size": np.sin(X[:, :2]),
    "kind": RANDOM.integers(0, 3, ROWS),
    "sold": RANDOM.integers(0, 2, (ROWS, 1)).astype(float),
    "mix": np.abs(RANDOM.normal(size=(ROWS, 2))) + 0.1,
}
Y["mix"] /= Y["mix"].sum(axis=1, keepdims=True)
WEIGHTS = {"size": RANDOM.uniform(0, 2, ROWS), "kind": RANDOM.uniform(0, 2, ROWS)}
HEADS = [
    Head("size", 2, fd.losses.Huber(0.5), weight=2.0),
    Head("kind", 3, "sparse_categorical_crossentropy", weight=0.5),
    Head("code", 2, None),
    Head("sold", 1, "binary_crossentropy"),
    Head("mix", 2, fd.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)),
]
METRICS = [
    OfHead("size", "loss"), OfHead("kind", "loss"), OfHead("mix", "loss"), OfHead("kind", "accuracy"),
    OfHead("size", "mae"), OfHead("sold", "precision"), OfHead("kind", "f1"), OfHead("mix", "mse"),
    OfHead("size", "r2"),
]  # fmt: skip


@pytest.fixture(params=["reference", "cpu"])
def place(request: pytest.FixtureRequest) -> str:
    """The engines that train nets with heads."""
    return str(request.param)


@pytest.fixture(params=["reference", "compiled"])
def anywhere(request: pytest.FixtureRequest, compiled: str) -> str:
    """Every engine: a softmax at the end of a branch needs no heads."""
    return "reference" if request.param == "reference" else compiled.split()[0]


def layers() -> list[Any]:
    branches = [
        [fd.Dense(2)],
        [fd.Dense(5, "tanh", kernel_regularizer="l2"), fd.Dense(3, "softmax", activity_regularizer="l2")],
        [fd.Activation("relu"), fd.Dense(2)],
        [fd.Dense(1, "sigmoid")],
        [fd.Dense(2)],
    ]
    return [fd.Dense(6, "tanh"), fd.BatchNorm(), fd.Branches(branches)]


def model(
    place: str, heads: Any = None, metrics: Any = None, optimizer: Any = "adam", dtype: str = "float64"
) -> fd.Model:
    made = fd.Model(layers(), inputs=4, dtype=dtype, device=place, seed=3)
    made.compile(optimizer, PerHead(HEADS if heads is None else heads), metrics=METRICS if metrics is None else metrics)
    return made


def trained(made: fd.Model, weights: Any = WEIGHTS, **options: Any) -> tuple[dict[str, list[Any]], Any, list[Array]]:
    arguments = {"batch_size": 16, "epochs": 3, "validation_split": 0.2, "verbose": 0, **options}
    history = made.fit(X, Y, sample_weight=weights, **arguments).history
    return history, made.evaluate(X, Y, sample_weight=weights, verbose=0, return_dict=True), made.get_weights()


def same(found: Any, expected: Any, rtol: float = 1e-10) -> None:
    assert list(found[0]) == list(expected[0])
    for one, other in zip(found[:2], expected[:2], strict=True):
        for key, values in other.items():
            np.testing.assert_allclose(one[key], values, rtol=rtol, atol=1e-12, err_msg=key)
    for ours, theirs in zip(found[2], expected[2], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("weights", [None, WEIGHTS, RANDOM.uniform(0, 2, ROWS)], ids=["equal", "by head", "by row"])
@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_engines_agree(weights: Any, optimizer: str) -> None:
    options = {"batch_size": None} if optimizer == "lbfgs" else {}
    nets = [fd.Model([one for one in layers() if not isinstance(one, fd.BatchNorm)], inputs=4, dtype="float64",
                     device=place, seed=3) for place in ("cpu", "reference")]  # fmt: skip
    for made in nets:
        made.compile(optimizer, PerHead(HEADS), metrics=METRICS)
    # the line searches of a solver amplify the rounding of sums
    same(*(trained(made, weights, **options) for made in nets), rtol=1e-10 if optimizer == "adam" else 1e-6)


def test_single_precision_is_near() -> None:
    """Sums of 24 bits over 60 rows and 12 steps."""
    same(trained(model("cpu", dtype="float32")), trained(model("reference")), rtol=2e-4)


def test_gradients_are_differences(place: str) -> None:
    made = model(place)
    gradient = made.loss_and_grad(X, Y, sample_weight=WEIGHTS)[1]
    tensors, step = made.get_weights(), 1e-6
    trainable = [i for i, spec in enumerate(made.net.tensors) if spec.trainable]
    for i, exact in zip(trainable, gradient, strict=True):
        for j in range(0, tensors[i].size, 5):
            values = []
            for by in (step, -step):
                moved = [tensor.copy() for tensor in tensors]
                moved[i].flat[j] += by
                made.set_weights(moved)
                values.append(made.loss_and_grad(X, Y, sample_weight=WEIGHTS)[0])
            # the rounding of losses of about 5, 1e-15, over 2e-6
            assert (values[0] - values[1]) / (2 * step) == pytest.approx(exact.flat[j], rel=1e-6, abs=5e-9)


def test_a_head_is_trained_like_a_net_of_its_own(place: str) -> None:
    """One head of weight 1 behind one layer: the loss, the metrics and the steps of a plain model."""
    plain, headed = (fd.Model([fd.Dense(5, "tanh"), fd.Dense(2)], inputs=4, dtype="float64", device=place, seed=1)
                     for _ in range(2))  # fmt: skip
    plain.compile("adam", "mse", metrics=["mae"])
    headed.compile("adam", PerHead([Head("size", 2, "mse")]), metrics=[OfHead("size", "mae", name="mae")])
    w = WEIGHTS["size"]
    options: dict[str, Any] = {"batch_size": 16, "epochs": 3, "verbose": 0}
    expected = plain.fit(X, Y["size"], sample_weight=w, **options).history
    found = headed.fit(X, Y["size"], sample_weight={"size": w}, **options).history
    for key, values in expected.items():
        np.testing.assert_allclose(found[key], values, rtol=1e-12)
    for ours, theirs in zip(headed.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


def test_the_loss_is_the_weighted_sum(place: str) -> None:
    made = fd.Model([fd.Dense(6, "tanh"), fd.Branches([[fd.Dense(2)], [fd.Dense(3, "softmax")], [fd.Dense(2)],
                                                       [fd.Dense(1, "sigmoid")], [fd.Dense(2)]])],
                    inputs=4, dtype="float64", device=place)  # fmt: skip
    made.compile("adam", PerHead(HEADS), metrics=[OfHead(head.name, "loss") for head in HEADS if head.loss is not None])
    found = made.evaluate(X, Y, sample_weight=WEIGHTS, verbose=0, return_dict=True)
    parts = [head.weight * found[f"{head.name}_loss"] for head in HEADS if head.loss is not None]
    assert found["loss"] == pytest.approx(sum(parts), rel=1e-13)
    p = made.predict(X)
    e = p[:, :2] - Y["size"]
    huber = np.where(np.abs(e) <= 0.5, e**2 / 2, 0.5 * np.abs(e) - 0.125).mean(axis=1)
    assert found["size_loss"] == pytest.approx((WEIGHTS["size"] * huber).mean(), rel=1e-13)
    chosen = np.take_along_axis(p[:, 2:5], Y["kind"][:, None], axis=1)[:, 0]
    assert found["kind_loss"] == pytest.approx(-(WEIGHTS["kind"] * np.log(chosen)).mean(), rel=1e-13)


def test_losses_and_metrics_of_a_users_own_see_their_head(place: str) -> None:
    built_in = [Head("size", 2, "mse", weight=2.0), *HEADS[1:]]
    own = [Head("size", 2, fd.losses.Custom(by_rows), weight=2.0), *HEADS[1:]]
    expected = trained(model(place, built_in))
    found = trained(model(place, own, [*METRICS, OfHead("size", MeanError()), OfHead("mix", MeanError())]))
    assert found[1]["size_MeanError"] == pytest.approx(found[1]["size_mae"], rel=1e-12)
    assert found[0]["val_size_MeanError"] == pytest.approx(found[0]["val_size_mae"], rel=1e-12)
    made = [{key: value for key, value in one.items() if "MeanError" not in key} for one in found[:2]]
    same((*made, found[2]), expected)


def test_metrics_of_logits_see_probabilities(place: str) -> None:
    made = model(place, metrics=[OfHead("mix", "mse"), OfHead("mix", MeanError())])
    found = made.evaluate(X, Y, verbose=0, return_dict=True)
    z = made.predict(X)[:, -2:]
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    assert found["mix_mse"] == pytest.approx(((p - Y["mix"]) ** 2).mean(), rel=1e-12)
    assert found["mix_MeanError"] == pytest.approx(np.abs(p - Y["mix"]).mean(), rel=1e-12)


def test_a_head_without_a_loss_trains_nothing(place: str) -> None:
    made = model(place)
    before = dict(zip([spec.name for spec in made.net.tensors], made.get_weights(), strict=True))
    trained(made)
    after = dict(zip(before, made.get_weights(), strict=True))
    still = {name for name in before if np.array_equal(before[name], after[name])}
    assert still == {"branches/2.1.kernel", "branches/2.1.bias"}


def test_same_bits_at_any_number_of_threads() -> None:
    runs = []
    for threads in (1, 3):
        made = model("cpu", dtype="float32")
        made.fit(X, Y, batch_size=32, epochs=2, verbose=0, n_threads=threads)
        runs.append(made.get_weights())
    for one, other in zip(*runs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_probes_and_the_next_training_after_loading(place: str, tmp_path: Any) -> None:
    made = model(place)
    history = made.fit(X, Y, batch_size=16, epochs=2, probes=True, verbose=0)
    assert history.probes is not None
    made.save(tmp_path / "net")
    again = fd.load(tmp_path / "net")
    assert again.loss == made.loss and again.metrics == made.metrics
    same(trained(again), trained(made), rtol=1e-15)


def test_softmax_of_a_branch_is_differentiated(anywhere: str) -> None:
    """Behind the branches comes one more layer: the softmax is not the end of the net."""
    branches = fd.Branches([[fd.Dense(3, "softmax", activity_regularizer="l2")], [fd.Activation("softmax")]])
    made = fd.Model([branches, fd.Dense(1)], inputs=4, dtype="float64", device=anywhere)
    made.compile("sgd", "mse")
    y, tensors = Y["size"][:, :1], made.get_weights()
    gradient = made.loss_and_grad(X, y)[1]
    for i, exact in enumerate(gradient):
        for j in range(exact.size):
            values = []
            for by in (1e-6, -1e-6):
                moved = [tensor.copy() for tensor in tensors]
                moved[i].flat[j] += by
                made.set_weights(moved)
                values.append(made.loss_and_grad(X, y)[0])
            assert (values[0] - values[1]) / 2e-6 == pytest.approx(exact.flat[j], rel=1e-6, abs=1e-9)
