"""Targets, weights and losses of several heads: in what forms they are given, and what is wrong with others."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastdense as fd
from fastdense.losses import Head, PerHead
from fastdense.metrics import OfHead
from fastdense.training.feasible import check_heads

RANDOM = np.random.default_rng(0)
X, SIZE, KIND = RANDOM.normal(size=(30, 4)), RANDOM.normal(size=(30, 2)), RANDOM.integers(0, 3, 30)
W = RANDOM.uniform(0, 2, 30)
HEADS = [Head("size", 2, "mse"), Head("code", 2, None), Head("kind", 3, "sparse_categorical_crossentropy", weight=0.5)]
MATRIX = np.hstack([SIZE, KIND[:, None]])


def model(loss: Any = None, metrics: Any = (), optimizer: Any = "adam") -> fd.Model:
    heads = [[fd.Dense(2)], [fd.Dense(2)], [fd.Dense(3, "softmax")]]
    made = fd.Model([fd.Dense(5, "tanh"), fd.Branches(heads)], inputs=4, dtype="float64")
    made.compile(optimizer, PerHead(HEADS) if loss is None else loss, metrics=list(metrics))
    return made


@pytest.mark.parametrize(
    "y",
    [
        {"size": SIZE, "kind": KIND},
        {"kind": KIND[:, None], "code": None, "size": SIZE.tolist()},
        [SIZE, KIND],
        (SIZE, None, KIND.astype(float)),
        MATRIX,
    ],
)
def test_forms_of_targets(y: Any) -> None:
    assert model().loss_and_grad(X, y)[0] == model().loss_and_grad(X, [SIZE, KIND])[0]


def test_forms_of_weights() -> None:
    made, y = model(), [SIZE, KIND]
    expected = made.loss_and_grad(X, y, sample_weight=W)[0]
    for weights in (W.tolist(), {"size": W, "kind": W}, [W, W], (W, None, W.tolist()), [W, W, W]):
        assert made.loss_and_grad(X, y, sample_weight=weights)[0] == pytest.approx(expected, rel=1e-14)
    one = made.loss_and_grad(X, y, sample_weight={"kind": W})[0]
    assert one == pytest.approx(made.loss_and_grad(X, y, sample_weight=[W * 0 + 1, W])[0], rel=1e-14) != expected


def test_batches_of_an_iterable() -> None:
    class Batches:
        def __init__(self, weights: Any) -> None:
            self.weights = weights

        def __len__(self) -> int:
            return 3

        def __iter__(self) -> Any:
            for i in range(0, 30, 10):
                own = slice(i, i + 10)
                weights = {name: one[own] for name, one in self.weights.items()}
                yield X[own], {"size": SIZE[own], "kind": KIND[own]}, weights or None

    for weights in ({}, {"size": W, "kind": W[::-1]}):
        streamed, whole = model(), model()
        streamed.fit(Batches(weights), epochs=2, verbose=0, validation_data=Batches({}))
        whole.fit(X, [SIZE, KIND], sample_weight=weights or None, batch_size=10, epochs=2, shuffle=False, verbose=0)
        for one, other in zip(streamed.get_weights(), whole.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
        assert streamed.predict(Batches({})).shape == (30, 7)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: model().fit(X, [SIZE]),
            "fit: y is a list of 1; there are 3 heads, 'size', 'code', 'kind': pass one array",
        ),
        (lambda: model().fit(X, {"size": SIZE}), "fit: y lacks 'kind'; each head with a loss needs targets"),
        (
            lambda: model().fit(X, {"size": SIZE, "kind": KIND, "knd": KIND}),
            "fit: y has the key 'knd'; the heads are 'size', 'code', 'kind': Did you mean 'kind'?",
        ),
        (
            lambda: model().fit(X, SIZE),
            "fit: y has shape (30, 2); the heads need (rows, 3), the columns of 'size' (2), 'kind' (1): pass a dict",
        ),
        (
            lambda: model().fit(X, [SIZE, KIND + 1]),
            "fit: y[1][1] is 3, labels run from 1 to 3; loss='sparse_categorical_crossentropy' with 3 outputs",
        ),
        (lambda: model().fit(X, MATRIX + 0.5), "fit: y[:, 2:3][0] is"),
        (lambda: model().fit(X, np.hstack([MATRIX, MATRIX])), "fit: y has shape (30, 6); the heads need (rows, 3)"),
        (lambda: model().fit(X, {"size": SIZE[:, 0], "kind": KIND}), "y['size'] has shape (30,); loss='mse' with 2"),
        (lambda: model().fit(X, [SIZE, KIND[:9]]), "fit: x has 30 rows and y[1] has 9 rows"),
        (
            lambda: model().fit(X, [SIZE, KIND], sample_weight={"kind": -W}),
            "fit: sample_weight['kind'][0] is -1.95653; weights must be 0 or more",
        ),
        (
            lambda: model().fit(X, [SIZE, KIND], sample_weight=[W]),
            "fit: sample_weight is a list of 1; there are 3 heads",
        ),
        (
            lambda: model().fit(X, [SIZE, KIND], class_weight={0: 2.0}),
            "fit: class_weight was given for a net with several heads; classes are those of one head: pass",
        ),
        (lambda: model().fit(X, [SIZE, KIND], starts=4), "fit: starts=4: the loss is PerHead; nets with several heads"),
        (
            lambda: fd.fit_many(model(), X, MATRIX),
            "fit_many: the loss is PerHead; nets with several heads are trained one",
        ),
        (lambda: fd.cross_validate(model(), X, MATRIX), "cross_validate: the loss is PerHead"),
        (
            lambda: model().diagnose(X, MATRIX),
            "diagnose: the loss is PerHead; its rules must know what the loss measures",
        ),
        (lambda: model(PerHead(HEADS[:2])), "compile: the heads have 4 columns, 'size' (2), 'code' (2); the net has 7"),
        (lambda: model(optimizer="newton_cg"), "NewtonCG needs one that is curved; this one has no curvature here"),
        (lambda: model(optimizer="levenberg_marquardt"), "the loss is heads; LevenbergMarquardt is for least squares"),
        (
            lambda: model(metrics=["mae"]),
            "compile: metric 'mae' is of no head, and the net has 3. Name one: metrics.OfHead(",
        ),
        (
            lambda: model(metrics=[OfHead("kinds", "accuracy")]),
            "compile: metric 'kinds_accuracy': no head is called 'kinds'. Did you mean 'kind'? There are 'size'",
        ),
        (lambda: model(metrics=[OfHead("code", "mae")]), "is of head 'code', which has no loss and so no targets"),
        (
            lambda: model("mse", [OfHead("kind", "mae")]),
            "is of a head, and the loss is MeanSquaredError(). Give losses.",
        ),
        (
            lambda: model(metrics=[OfHead("kind", "mse")]),
            "needs one target per output, but this loss takes class numbers",
        ),
        (
            lambda: fd.Model([fd.Dense(1)], inputs=4).compile(
                "adam", PerHead([Head("a", 1, fd.losses.Custom(print), targets=2)]), metrics=[OfHead("a", "mse")]
            ),
            "head 'a' has 1 outputs and 2 columns of targets. Give a subclass of metrics.Collected.",
        ),
        (lambda: Head("", 1, "mse"), "Head: name=''"),
        (lambda: Head("a", 0, "mse"), "Head: columns=0"),
        (lambda: Head("a", 1, "mse", weight=-1), "Head 'a': weight=-1"),
        (lambda: Head("a", 1, "mse", targets=2), "Head 'a': targets=2, and its loss takes 1 columns. Leave it out."),
        (lambda: Head("a", 1, PerHead(HEADS)), "has heads itself. Give all heads in one list."),
        (lambda: PerHead([]), "PerHead: heads=[]. Give a list of losses.Head(name, columns, loss)."),
        (lambda: PerHead([Head("a", 1, None)]), "PerHead: no head has a loss. Give at least one."),
        (lambda: PerHead([Head("a", 1, "mse")] * 2), "PerHead: two heads are called 'a'. Give each a name of its own."),
        (
            lambda: check_heads("compile", PerHead(HEADS), 7, "cuda"),
            "compile: the loss is PerHead and the device 'cuda'; nets with several heads are trained on 'cpu'",
        ),
    ],
)
def test_messages(call: Callable[[], Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        call()


def test_the_factor_of_a_loss_is_that_of_a_head() -> None:
    made = model()
    with pytest.raises(ValueError, match="loss_weights is 2 and the loss PerHead; each head has a weight of its own"):
        made.compile("adam", PerHead(HEADS), loss_weights=2.0)


def test_columns_of_targets_of_a_loss_of_ones_own() -> None:
    """Two columns of targets for one output: where, and how much it matters."""

    def weighted(y: NDArray[Any], p: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        return y[:, 1] * (p[:, 0] - y[:, 0]) ** 2, 2 * y[:, 1:] * (p - y[:, :1])

    made = fd.Model([fd.Dense(3)], inputs=4, dtype="float64")
    own = fd.losses.Custom(weighted)
    made.compile("adam", PerHead([Head("a", 1, own, targets=2), Head("b", 2, "mse")]), metrics=[OfHead("a", "loss")])
    found = made.evaluate(X, {"a": np.abs(SIZE), "b": SIZE}, verbose=0, return_dict=True)
    p = made.predict(X)[:, 0]
    assert found["a_loss"] == pytest.approx((np.abs(SIZE[:, 1]) * (p - np.abs(SIZE[:, 0])) ** 2).mean(), rel=1e-12)
    with pytest.raises(ValueError, match=re.escape("y['a'] has shape (30, 3); the head 'a' takes 2 columns: give the")):
        made.evaluate(X, {"a": X[:, :3], "b": SIZE}, verbose=0)


def test_files_name_losses_of_ones_own(tmp_path: Any) -> None:
    def squares(y: NDArray[Any], p: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        return ((p - y) ** 2).mean(axis=1), (p - y) * 2 / p.shape[1]

    class Largest(fd.metrics.Collected):
        def reset_state(self) -> None:
            self.largest = 0.0

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any) -> None:
            self.largest = max(self.largest, float(np.abs(y_true - y_pred).max()))

        def result(self) -> float:
            return self.largest

    heads = [Head("size", 2, fd.losses.Custom(squares)), *HEADS[1:]]
    made = model(PerHead(heads), [OfHead("size", Largest()), OfHead("size", "loss")])
    made.fit(X, [SIZE, KIND], epochs=2, verbose=0)
    made.save(tmp_path / "net")
    with pytest.warns(UserWarning, match="compiled with the loss 'squares' and the metric 'Largest' of your own"):
        assert not fd.load(tmp_path / "net").compiled
    again = fd.load(tmp_path / "net", custom_objects={"squares": squares, "Largest": Largest})
    assert again.evaluate(X, [SIZE, KIND], verbose=0) == made.evaluate(X, [SIZE, KIND], verbose=0)


def engine_program() -> dict[str, Any]:
    return fd.Model([fd.Dense(3)], inputs=2).net.program


@pytest.mark.parametrize(
    ("heads", "metrics", "message"),
    [
        ([], [], "at least one head is needed"),
        ([{"columns": 2}], [], "the heads must have all outputs"),
        ([{"columns": 3, "targets": 1}], [], "wrong columns of a head"),
        ([{"columns": 3, "loss": None, "targets": 0}], [], "a head with a loss is needed"),
        ([{}], [{"kind": "loss"}], "metrics must be of a head if there are heads"),
        ([{}], [{"kind": "loss", "head": 1}], "metrics must be of a head if there are heads"),
        ([{"loss": {"kind": "custom"}}], [], "a custom loss needs a hook"),
        (
            [{"loss": None, "targets": 0, "columns": 1}, {"columns": 2}],
            [{"kind": "mse", "head": 0}],
            "need a target for",
        ),
    ],
)
def test_the_engine_checks_heads(heads: list[Any], metrics: list[Any], message: str) -> None:
    """What comes past Python's checks."""
    from fastdense import _core

    given = [{"loss": {"kind": "mse"}, "weight": 1.0, "columns": 3, "targets": one.get("columns", 3), **one}
             for one in heads]  # fmt: skip
    optimizer = fd.optimizers.get("sgd").lower()
    engine = _core.Engine(engine_program())
    with pytest.raises(ValueError, match=message):
        engine.configure({"loss": {"kind": "heads", "heads": given}, "optimizer": optimizer, "metrics": metrics})


@pytest.mark.parametrize(("y", "message"), [
    (np.zeros((4, 3)), "y must be"),
    (np.array([[0.0], [3.0], [0.0], [0.0]]), "class id out of range in row 1"),
    (np.array([[0.0], [1.0], [np.nan], [0.0]]), "class id out of range in row 2"),
    (np.array([[0.5], [1.0], [0.0], [0.0]]), "class id out of range in row 0"),
])  # fmt: skip
def test_the_engine_checks_targets_of_heads(y: NDArray[Any], message: str) -> None:
    from fastdense import _core

    head = {"loss": {"kind": "sparse_categorical_crossentropy"}, "weight": 1.0, "columns": 3, "targets": 1}
    engine = _core.Engine(engine_program())
    optimizer = fd.optimizers.get("sgd").lower()
    engine.configure({"loss": {"kind": "heads", "heads": [head]}, "optimizer": optimizer, "metrics": []})
    with pytest.raises(ValueError, match=message):
        engine.evaluate(np.zeros((4, 2)), y, None, n_threads=1)
