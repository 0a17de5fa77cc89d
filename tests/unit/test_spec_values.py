"""The numbers that specifications compute themselves: initial values, learning rates, statistics, metric results."""

from __future__ import annotations

import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fastdense import initializers, losses, metrics, reference, schedules
from fastdense.engine import native
from fastdense.initializers import Draws
from fastdense.layers import Activation, BatchNorm, Dense, Dropout, LayerNorm, Normalization, Rescaling, Residual

NUMBERS = SimpleNamespace(
    random_uniform=reference.uniform,
    random_normal=lambda seed, index, n, truncated: (reference.truncated_normal if truncated else reference.normal)(
        seed, index, n
    ),
)


@pytest.fixture(autouse=True)
def _numbers_of_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_core", lambda: NUMBERS)


# --- initializers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("glorot_uniform", 2 / 120),
        ("glorot_normal", 2 / 120),
        ("he_uniform", 2 / 80),
        ("he_normal", 2 / 80),
        ("lecun_uniform", 1 / 80),
        ("lecun_normal", 1 / 80),
        ("random_uniform", 0.1**2 / 12),
        ("random_normal", 0.05**2),
        ("truncated_normal", (0.05 * 0.87962566103423978) ** 2),
    ],
)
def test_random_initializers_have_the_stated_variance(name: str, variance: float) -> None:
    values = initializers.get(name)((80, 40), seed=1, index=2)
    assert values.shape == (80, 40) and values.dtype == np.float64
    # 3200 values: the mean is off by 1/57 sd, the variance by at most 1/40, one standard error each; 4.5 are allowed.
    assert abs(values.mean()) < 0.08 * math.sqrt(variance)
    assert values.var() == pytest.approx(variance, rel=0.12)
    if "uniform" in name:
        assert np.abs(values).max() < math.sqrt(3 * variance)
    elif name != "random_normal":
        assert np.abs(values).max() < 2 * math.sqrt(variance) / 0.87962566103423978


def test_exact_initializers() -> None:
    assert initializers.get("zeros")((2,)).tolist() == [0, 0]
    assert initializers.get("ones")((2,)).tolist() == [1, 1]
    assert initializers.Constant(0.5)((1, 2)).tolist() == [[0.5, 0.5]]
    assert initializers.Identity(2)((2, 3)).tolist() == [[2, 0, 0], [0, 2, 0]]


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7)])
def test_orthogonal(shape: tuple[int, int]) -> None:
    w = initializers.Orthogonal(gain=2)(shape, seed=3)
    small = w.T @ w if shape[0] >= shape[1] else w @ w.T
    np.testing.assert_allclose(small, 4 * np.eye(min(shape)), atol=1e-13)
    assert w.flags.c_contiguous


def test_values_depend_on_seed_and_tensor_only() -> None:
    he = initializers.HeNormal()
    assert np.array_equal(he((4, 5), 1, 2), he((4, 5), 1, 2))
    assert not np.array_equal(he((4, 5), 1, 2), he((4, 5), 1, 3))
    assert not np.array_equal(he((4, 5), 1, 2), he((4, 5), 2, 2))
    assert np.array_equal(initializers.HeNormal(seed=1)((4, 5), 99, 2), he((4, 5), 1, 2))
    lecun = initializers.LecunNormal()
    np.testing.assert_allclose(he((4, 5), 1, 2), math.sqrt(2) * lecun((4, 5), 1, 2), rtol=1e-15)


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        *(
            (name, "HeNormal")
            for name in ["relu", "leaky_relu", "prelu", "relu6", "elu", "celu", "gelu", "silu", "mish"]
        ),
        ("selu", "LecunNormal"),
        *((name, "GlorotUniform") for name in ["linear", "tanh", "sigmoid", "softplus", "softmax"]),
    ],
)
def test_auto_suits_the_activation(activation: str, expected: str) -> None:
    chosen = initializers.Auto(seed=5).for_activation(activation)
    assert type(chosen).__name__ == expected and chosen.seed == 5
    dense = Dense(6, activation)
    assert np.array_equal(dense.initial_values(9, Draws(4))[0], initializers.get(expected)((9, 6), 4, 0))


def test_an_own_initializer_must_keep_the_shape() -> None:
    class Flat(initializers.Initializer):
        def values(self, shape: tuple[int, ...], seed: int, index: int) -> initializers.Array:
            return np.zeros(3)

    with pytest.raises(ValueError, match=r"^Flat: values has shape \(3,\)\. Return the asked shape \(2, 3\)\.$"):
        Flat()((2, 3))


# --- tensors of layers ------------------------------------------------------------------------------------------------


def test_tensors_and_initial_values_agree() -> None:
    net = Residual(
        [
            Dense(4, "prelu", bias_initializer="ones"),
            BatchNorm(),
            Residual([LayerNorm(), Dropout(0.1), Activation("prelu")]),
            Normalization(),
            Dense(3, use_bias=False),
            Rescaling([1.0, 2.0, 3.0], 4.0),
        ]
    )
    assert net.output_width(3) == 3
    assert [(name, shape, trainable) for name, shape, trainable in net.tensors(3)] == [
        ("0.kernel", (3, 4), True),
        ("0.bias", (4,), True),
        ("0.slope", (4,), True),
        ("1.gamma", (4,), True),
        ("1.beta", (4,), True),
        ("1.moving_mean", (4,), False),
        ("1.moving_variance", (4,), False),
        ("2.0.gamma", (4,), True),
        ("2.0.beta", (4,), True),
        ("2.2.slope", (4,), True),
        ("3.mean", (4,), False),
        ("3.variance", (4,), False),
        ("4.kernel", (4, 3), True),
        ("5.scale", (3,), False),
        ("5.offset", (3,), False),
    ]
    draws = Draws(8)
    values = net.initial_values(3, draws)
    assert [value.shape for value in values] == [spec.shape for spec in net.tensors(3)]
    assert draws.index == len(values)
    assert np.array_equal(values[-3], initializers.GlorotUniform()((4, 3), 8, 12))
    assert np.array_equal(values[-2:], [[1, 2, 3], [4, 4, 4]])
    constant = [float(value[0]) for value in values[1:-3]]
    assert constant == [1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1]


@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8", "int16", "bool"])
def test_adapt_gives_mean_and_variance(dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastdense.layers.scaling._CHUNK_ELEMENTS", 64)
    x = (np.random.default_rng(0).normal(50, 20, (1003, 3))).astype(dtype)
    x[:, 1] = 0.1
    np.save(tmp_path / "x.npy", x)
    layer = Normalization().adapt(np.load(tmp_path / "x.npy", mmap_mode="r"))
    assert layer.mean is not None and layer.variance is not None and layer.adapted
    np.testing.assert_allclose(layer.mean, x.mean(axis=0, dtype=np.float64), rtol=1e-13)
    np.testing.assert_allclose(layer.variance[[0, 2]], x[:, [0, 2]].var(axis=0, dtype=np.float64), rtol=1e-12)
    assert layer.variance[1] == 0 and layer.mean[1] == x[0, 1]
    first = layer.mean
    assert layer.adapt(x).mean is not first
    mean, variance = layer.initial_values(3, Draws(0))
    assert np.array_equal(mean, layer.mean) and np.array_equal(variance, layer.variance)


def test_adapt_keeps_its_digits_far_from_zero() -> None:
    x = 1e8 + np.random.default_rng(0).normal(size=(5000, 1))
    layer = Normalization().adapt(x)
    assert layer.variance is not None
    np.testing.assert_allclose(layer.variance, (x - x[0]).var(axis=0), rtol=1e-12)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            np.zeros(3),
            r"^Normalization\.adapt: data of shape \(3,\)\. Give an array of shape \(rows, columns\), not empty",
        ),
        (np.zeros((0, 3)), r"data of shape \(0, 3\)"),
        ([["a", "b"]], r"data of dtype <U1\. Convert it to numbers"),
        ([[1.0, 2.0], [3.0, np.nan]], r"data holds nan at row 1, column 1\. Remove or fill"),
        ([[1e300], [-1e300]], r"the variance of the data overflows\. Scale it down"),
    ],
)
def test_adapt_refuses(x: Any, message: str) -> None:
    layer = Normalization()
    with pytest.raises(ValueError, match=message):
        layer.adapt(x)
    assert not layer.adapted


def test_adapted_width_must_fit() -> None:
    layer = Normalization().adapt([[1.0, 2.0]])
    with pytest.raises(ValueError, match=r"adapted to 2 columns, but its input has 3\. Call adapt with data of that"):
        layer.tensors(3)
    with pytest.raises(ValueError, match=r"data with 1 columns, but the layer has 2"):
        layer.adapt([[1.0]])
    with pytest.raises(ValueError, match="Give two finite vectors of one length"):
        layer.set_statistics([0.0], [-1.0])


# --- learning rates ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (schedules.ExponentialDecay(0.8, 10, 0.5), {0: 0.8, 5: 0.8 * math.sqrt(0.5), 10: 0.4, 30: 0.1}),
        (schedules.ExponentialDecay(0.8, 10, 0.5, staircase=True), {0: 0.8, 9: 0.8, 10: 0.4, 19: 0.4}),
        (schedules.InverseTimeDecay(1.0, 10, 2.0), {0: 1.0, 5: 0.5, 10: 1 / 3}),
        (schedules.InverseTimeDecay(1.0, 10, 2.0, staircase=True), {9: 1.0, 10: 1 / 3, 19: 1 / 3}),
        (schedules.PolynomialDecay(1.0, 10, 0.2), {0: 1.0, 5: 0.6, 10: 0.2, 99: 0.2}),
        (schedules.PolynomialDecay(1.0, 10, 0.0, power=2), {5: 0.25}),
        (schedules.PolynomialDecay(1.0, 10, 0.0, cycle=True), {0: 1.0, 10: 0.0, 15: 0.25, 20: 0.0, 21: 0.3}),
        (schedules.PiecewiseConstantDecay([3, 6], [1.0, 0.5, 0.1]), {0: 1.0, 3: 1.0, 4: 0.5, 6: 0.5, 7: 0.1}),
        (schedules.PiecewiseConstantDecay([], [0.3]), {0: 0.3, 9: 0.3}),
        (schedules.CosineDecay(1.0, 10), {0: 1.0, 5: 0.5, 10: 0.0, 11: 0.0}),
        (schedules.CosineDecay(1.0, 12, alpha=0.2), {4: 0.8, 12: 0.2}),
        (schedules.CosineDecay(0.1, 10, 0.0, 0.5, 4), {0: 0.1, 2: 0.3, 4: 0.5, 9: 0.25, 14: 0.0, 20: 0.0}),
        (schedules.CosineDecayRestarts(1.0, 4), {0: 1.0, 2: 0.5, 4: 1.0, 8: 0.5, 12: 1.0, 20: 0.5, 28: 1.0}),
        (schedules.CosineDecayRestarts(1.0, 4, 1.0, 0.5), {0: 1.0, 2: 0.5, 4: 0.5, 6: 0.25, 8: 0.25}),
        (schedules.CosineDecayRestarts(1.0, 4, 3.0, 0.5, 0.1), {4: 0.55, 10: 0.325, 16: 0.325}),
    ],
)
def test_schedules(schedule: schedules.Schedule, expected: dict[int, float]) -> None:
    rates = schedule(np.array(list(expected)))
    assert rates.dtype == np.float64
    np.testing.assert_allclose(rates, list(expected.values()), rtol=1e-14, atol=1e-16)
    assert [schedule(step) for step in expected] == rates.tolist()


def test_restarts_fall_on_their_step_however_late() -> None:
    schedule = schedules.CosineDecayRestarts(1.0, 1, t_mul=3.0)
    starts = np.cumsum(3.0 ** np.arange(20))
    assert (schedule(starts) == 1.0).all() and (schedule(starts - 1.0)[1:] < 0.3).all()


def test_a_schedule_must_give_usable_rates() -> None:
    class Falling(schedules.Schedule):
        def rates(self, steps: schedules.Steps) -> schedules.Steps:
            return 1.0 - steps

    from fastdense.optimizers import SGD

    with pytest.raises(ValueError, match=r"^SGD: Falling\(\) gives -1\.0 at step 2\. Learning rates must be finite"):
        SGD(Falling()).learning_rates(0, 3)


# --- metrics ----------------------------------------------------------------------------------------------------------

MSE, HINGE = losses.get("mse"), losses.get("hinge")
BINARY, CATEGORICAL = losses.get("binary_crossentropy"), losses.get("categorical_crossentropy")
SPARSE = losses.get("sparse_categorical_crossentropy")


@pytest.mark.parametrize(
    ("name", "loss", "outputs", "expected"),
    [
        ("accuracy", MSE, 1, {"kind": "binary_accuracy"}),
        ("accuracy", MSE, 3, {"kind": "categorical_accuracy"}),
        ("accuracy", BINARY, 3, {"kind": "binary_accuracy"}),
        ("accuracy", CATEGORICAL, 3, {"kind": "categorical_accuracy"}),
        ("accuracy", SPARSE, 3, {"kind": "sparse_categorical_accuracy"}),
        ("top_k_accuracy", SPARSE, 9, {"kind": "top_k", "k": 5}),
        ("mean_absolute_error", MSE, 1, {"kind": "mae"}),
        ("f1", BINARY, 3, {"kind": "f1"}),
        ("f1", CATEGORICAL, 3, {"kind": "f1", "multiclass": True}),
        ("precision", SPARSE, 3, {"kind": "precision", "multiclass": True}),
        ("recall", MSE, 1, {"kind": "recall"}),
        ("auc", SPARSE, 3, {"kind": "auc"}),
        ("r2", MSE, 2, {"kind": "r2"}),
    ],
)
def test_metrics_lower(name: str, loss: losses.Loss, outputs: int, expected: dict[str, Any]) -> None:
    metric = metrics.get(name)
    assert metric.name == name
    assert metric.lower(loss, outputs) == {"k": 0, "threshold": 0.5, "multiclass": False, **expected}


@pytest.mark.parametrize(
    ("name", "loss", "outputs", "message"),
    [
        (
            "mse",
            SPARSE,
            3,
            r"^compile: metric 'mse' needs one target per output, but this loss takes class numbers \(los",
        ),
        ("binary_accuracy", SPARSE, 3, r"Use 'accuracy' instead"),
        ("sparse_categorical_accuracy", CATEGORICAL, 3, r"needs class numbers as targets.*Use 'accuracy' instead"),
        ("categorical_accuracy", MSE, 1, r"needs one output per class, but the model has 1.*Use 'binary_accuracy'"),
        ("accuracy", HINGE, 1, r"needs targets 0 and 1, but this loss takes -1 and 1 \(loss 'hinge'\)"),
    ],
)
def test_metrics_refuse_what_has_no_meaning(name: str, loss: losses.Loss, outputs: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.get(name).lower(loss, outputs)


def test_names_in_the_history() -> None:
    made = metrics.get_list(["mape", "acc", metrics.TopKAccuracy(3), metrics.F1Score(), metrics.AUC(name="area")])
    assert [metric.name for metric in made] == ["mape", "acc", "top_k_accuracy", "f1_score", "area"]
    assert metrics.get_list(None) == [] and metrics.get_list("mae") == [metrics.get("mae")]


def _result(name: str, y: Any, p: Any, loss: losses.Loss = BINARY, w: Any = None) -> float:
    """The metric by way of the reference engine's sums."""
    from fastdense.reference import metrics as sums

    metric, y, p = metrics.get(name), np.asarray(y), np.asarray(p, dtype=float)
    w = np.ones(len(y)) if w is None else np.asarray(w, dtype=float)
    state = sums.state(metric.lower(loss, p.shape[1]), y, p, w)
    assert state.size == metric.state_size(p.shape[1])
    return metric.result(state, p.shape[1])


def test_row_means_are_weighted() -> None:
    y, p = np.array([[0.0], [0.0]]), np.array([[1.0], [3.0]])
    assert _result("mae", y, p, MSE) == 2 and _result("mae", y, p, MSE, [3, 1]) == 1.5
    assert math.isnan(_result("mae", y, p, MSE, [0, 0]))


def test_counts_of_one_output() -> None:
    y, p = [[1.0], [1.0], [1.0], [0.0], [0.0]], [[0.9], [0.8], [0.1], [0.7], [0.2]]
    assert _result("precision", y, p) == pytest.approx(2 / 3)
    assert _result("recall", y, p) == pytest.approx(2 / 3)
    assert _result("f1", y, p, w=[1, 1, 4, 1, 1]) == pytest.approx(4 / 9)
    assert _result("precision", [[1.0]], [[0.1]]) == 0.0


def test_counts_are_averaged_over_the_classes_that_occur() -> None:
    p = np.eye(4)[[0, 0, 1, 1]]  # class 2 is never predicted, class 3 does not occur at all
    assert _result("precision", np.array([0, 1, 1, 2]), p, SPARSE) == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)
    assert _result("recall", np.array([0, 1, 1, 2]), p, SPARSE) == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert _result("f1", np.array([0, 1, 1, 2]), p, SPARSE) == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert _result("f1", np.eye(4)[[0, 1, 1, 2]], p, CATEGORICAL) == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)


def test_r2() -> None:
    y = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])
    assert _result("r2", y, y, MSE) == 1.0
    assert _result("r2", y, np.array([[2.0, 5.0]] * 3), MSE) == pytest.approx(0.5)
    assert _result("r2", y, np.array([[1.0, 5.1], [2.0, 5.0], [3.0, 5.0]]), MSE) == pytest.approx(0.5)
    assert _result("r2", y[:, :1], [[1.0], [2.0], [4.0]], MSE) == pytest.approx(1 - 1 / 2)
    assert _result("r2", np.full((1000, 1), 0.1), np.full((1000, 1), 0.1), MSE) == 1.0


def test_auc() -> None:
    # Keras's own example: thresholds 0, 0.5, 1 there, but these scores are ranked the same at 200.
    assert _result("auc", [[0.0], [0.0], [1.0], [1.0]], [[0.0], [0.5], [0.3], [0.9]]) == pytest.approx(0.75)
    assert _result("auc", [[0.0], [1.0]], [[0.4], [0.4]]) == pytest.approx(0.5)
    rng = np.random.default_rng(0)
    y = (rng.random((400, 1)) < 0.4).astype(float)
    p = np.clip(0.3 * y + 0.7 * rng.random((400, 1)), 0, 1)
    wins = (p[y == 1][:, None] > p[y == 0]).mean()  # the area is how often a positive scores higher
    assert _result("auc", y, p) == pytest.approx(wins, abs=2e-3)
    assert math.isnan(_result("auc", [[1.0]], [[0.5]]))
    one_sided = np.hstack([y, np.zeros_like(y)])
    assert _result("auc", one_sided, np.hstack([p, p])) == pytest.approx(_result("auc", y, p))


# --- rescaling --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scale", "offset", "message"),
    [
        (0.0, 0.0, "Rescaling: scale holds 0, which leaves nothing of a column. Give numbers other than 0."),
        ([1.0, 0.0], 0.0, "Rescaling: scale holds 0, which leaves nothing of a column. Give numbers other than 0."),
        (np.inf, 0.0, "Rescaling: scale=inf is out of range. Give a finite number."),
        (1.0, [0.0, np.nan], "Rescaling: offset[1]=nan is out of range. Give a finite number."),
        ([], 0.0, "Rescaling: scale is empty. Give one number, or one per column."),
    ],
)
def test_numbers_of_a_rescaling(scale: object, offset: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Rescaling(scale, offset)  # type: ignore[arg-type]
    assert Rescaling(np.array([1, 2]), (3,)).get_config() == {"scale": [1.0, 2.0], "offset": [3.0], "name": None}
    assert repr(Rescaling(2.0)) == "Rescaling(2.0)"
