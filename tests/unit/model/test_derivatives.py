"""Derivatives of a model: against central differences, against the reference, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense import layers
from fastdense.activations import ACTIVATIONS

Net = Callable[[], list[Any]]
INPUTS, ROWS, H = 5, 33, 1e-6
SMOOTH = ["tanh", "gelu", "silu", "mish", "softplus", "sigmoid", "elu", "squareplus", "log_sigmoid", "prelu"]

# Every layer that passes gradients on, in front and behind others.
NETS: dict[str, Net] = {
    "norms": lambda: [fd.Dense(70, "tanh"), fd.BatchNorm(), fd.Dense(70, "gelu"), fd.Dropout(0.3), fd.LayerNorm(),
                      fd.Dense(4, "softmax")],
    "normalization": lambda: [fd.Normalization(), fd.Dense(9, "tanh"), fd.Dense(1)],
    "branches": lambda: [layers.Branches([[fd.Dense(6, "tanh")], [fd.Dense(6), fd.Dense(6, "softmax")], []],
                                         merge="concatenate"), fd.Dense(2, "sigmoid")],
    "branches first": lambda: [layers.Branches([[], [fd.Dense(5)]], merge="multiply"), layers.UnitNormalization(),
                               fd.Dense(2, "softplus")],
    "periodic": lambda: [fd.NumericEmbedding("periodic"), fd.Dense(9, "tanh"), fd.Dense(2)],
    "piecewise": lambda: [fd.NumericEmbedding("piecewise_linear"), fd.Scale(), fd.Dense(9, "tanh"), fd.Dense(2)],
    "in front": lambda: [fd.RobustScale(clip=3.0), fd.Log1p(columns=[1, 3]), fd.Periodic([1.0, 0.3], columns=[0, 2]),
                         fd.Normalization(), fd.Dense(9, "tanh"), fd.Rescaling(2.0, 1.0), fd.Dense(2)],
    "codes in front": lambda: [fd.Impute(columns=[0, 1], indicator=True), fd.OneHot(columns=[2], codes=[0, 1, 2]),
                               fd.Periodic([[1.0, 0.3], [2.0]], columns=[0, 1], keep=False), fd.Dense(9, "tanh"),
                               fd.Dense(2)],
    "categories": lambda: [fd.CategoryEmbedding([2], codes=[0, 1, 2]), fd.Dense(9, "tanh"), fd.Dense(2)],
    "scale": lambda: [fd.Scale(), fd.Dense(3, "tanh"), fd.Scale()],
    "residual first": lambda: [fd.Residual([fd.Dense(5, "tanh")]), fd.Activation("softmax")],
    "noise": lambda: [layers.GaussianNoise(0.1), layers.ActivityRegularization(0.1, 0.1), layers.SelectColumns([0, 2]),
                      fd.Dense(3, "prelu", activity_regularizer="l2"), layers.AlphaDropout(0.5)],
}  # fmt: skip


@pytest.fixture(params=["reference", "cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> str:
    """Every engine in turn. That for GPUs leaves derivatives to the CPU's, with its own tensors."""
    if request.param == "cuda":
        request.getfixturevalue("gpu")
    return str(request.param)


def data(net: str) -> tuple[Any, Any]:
    """Rows whose third column holds codes and, where they are imputed, one that lacks a number."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, INPUTS))
    x[:, 2] = rng.integers(0, 3, 200)
    if net == "codes in front":
        x[5, 0] = np.nan
    return x, rng


def some_rows(net: str) -> Any:
    """The first rows, moved off those that decided where functions have kinks."""
    x = data(net)[0][:ROWS]
    return x + 1e-3 if net == "piecewise" else x


def fitted(net: str, device: str, dtype: str = "float64") -> fd.Model:
    """A net that knows its data."""
    x, rng = data(net)
    model = fd.Model(NETS[net](), inputs=INPUTS, seed=3, device=device, dtype=dtype)
    model.compile("sgd", "mse")
    model.fit(x, rng.random((200, model.outputs)), epochs=1, verbose=0)
    return model


@pytest.mark.parametrize("net", NETS)
def test_the_jacobian_is_that_of_central_differences(net: str, device: str) -> None:
    model = fitted(net, device)
    x = some_rows(net)
    steps = H * np.eye(INPUTS)
    numbers = np.stack([(model.predict(x + h) - model.predict(x - h)) / (2 * H) for h in steps], axis=2)
    if net in ("codes in front", "categories"):
        numbers[:, :, 2] = 0  # between two codes nothing changes
    found = model.jacobian(x)
    # rounding costs 1e-16 / H of values around 1, the third derivative H^2: the frequency 2 cubed is 2000
    np.testing.assert_allclose(found, numbers, rtol=0, atol=1e-7)
    for output in range(model.outputs):
        np.testing.assert_array_equal(model.input_gradient(x, output), found[:, output])
    weights = np.linspace(1, 2, model.outputs)
    np.testing.assert_allclose(model.input_gradient(x, weights), weights @ found, rtol=0, atol=1e-12)
    each = np.random.default_rng(1).normal(size=(ROWS, model.outputs))
    np.testing.assert_allclose(model.vjp(x, each).inputs, np.einsum("ro,roi->ri", each, found), rtol=0, atol=1e-12)
    np.testing.assert_allclose(model.input_gradient(x, each), model.vjp(x, each).inputs, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-4)])
@pytest.mark.parametrize("net", NETS)
def test_the_engine_agrees_with_the_reference(net: str, dtype: str, tolerance: float) -> None:
    pytest.importorskip("fastdense._core")
    model = fitted(net, "cpu", dtype)
    x, d_out = some_rows(net), np.random.default_rng(1).normal(size=(ROWS, model.outputs))
    found, every = model.vjp(x, d_out), model.jacobian(x)
    model.to("reference")
    wanted = model.vjp(x, d_out)
    # sums of at most 100 terms around 1; float32's statistics of preprocessing layers differ in their last digit
    for mine, right in zip([found.inputs, *found.parameters], [wanted.inputs, *wanted.parameters], strict=True):
        np.testing.assert_allclose(mine, right, rtol=0, atol=tolerance * max(1, np.abs(right).max()))
    np.testing.assert_allclose(every, model.jacobian(x), rtol=0, atol=tolerance)


def test_the_loss_s_gradient_is_that_of_loss_and_grad(device: str) -> None:
    x = np.random.default_rng(0).normal(size=(70, 6))
    y = np.random.default_rng(1).normal(size=(70, 3))
    model = fd.Model([fd.Dense(64, "relu"), fd.BatchNorm(), fd.Dense(3)], inputs=6, dtype="float64", device=device)
    model.compile("sgd", "mse")
    gradients = model.vjp(x, 2 * (model.predict(x) - y) / y.size).parameters
    for mine, right in zip(gradients, model.loss_and_grad(x, y)[1], strict=True):
        np.testing.assert_allclose(mine, right, rtol=0, atol=1e-13)


@pytest.mark.parametrize("threads", [1, 2])
def test_bits_do_not_depend_on_threads_or_other_calls(threads: int) -> None:
    pytest.importorskip("fastdense._core")
    x = np.random.default_rng(0).normal(size=(700, 300)).astype(np.float32)
    model = fd.Model([fd.Dense(256, "relu"), fd.Dense(128, "tanh"), fd.Dense(2)], inputs=300)
    first = model.jacobian(x, n_threads=1)
    model.compile("adam", "mse")
    model.loss_and_grad(x, np.ones((700, 2)))
    np.testing.assert_array_equal(model.jacobian(x, n_threads=threads), first)
    one = model.vjp(x[:90], np.ones((90, 2)), np.ones((90, 2, 300)), n_threads=1)
    two = model.vjp(x[:90], np.ones((90, 2)), np.ones((90, 2, 300)), n_threads=threads)
    for a, b in zip([one.inputs, *one.parameters], [two.inputs, *two.parameters], strict=True):
        np.testing.assert_array_equal(a, b)


def test_bfloat16_rounds_the_operands_of_both_passes() -> None:
    pytest.importorskip("fastdense._core")
    x = np.random.default_rng(0).normal(size=(64, 20))
    model = fd.Model([fd.Dense(96, "tanh"), fd.Dense(64, "tanh"), fd.Dense(3)], inputs=20, dtype="bfloat16")
    found, parameters = model.jacobian(x), model.vjp(x, np.ones((64, 3))).parameters
    model.to("reference")
    # eight digits of each product's operands, whose errors average out, and float32's sums
    np.testing.assert_allclose(found, model.jacobian(x), rtol=0, atol=2e-2 * np.abs(found).max())
    for mine, right in zip(parameters, model.vjp(x, np.ones((64, 3))).parameters, strict=True):
        np.testing.assert_allclose(mine, right, rtol=0, atol=2e-2 * np.abs(right).max())


# ---- second derivatives ----------------------------------------------------------------------------------------------


def bent(activation: str, inputs: int, outputs: int, device: str) -> fd.Model:
    """A net of all layers whose second derivatives the CPU knows."""
    net = [fd.Normalization(), fd.Dense(20, activation), fd.Residual([fd.Dense(20, activation), fd.Scale()]),
           fd.Activation(activation), fd.Dense(outputs), fd.Rescaling(2.0, 1.0)]  # fmt: skip
    model = fd.Model(net, inputs=inputs, seed=1, dtype="float64", device=device)
    rng = np.random.default_rng(0)
    model.layers[0].adapt(rng.normal(1, 2, size=(50, inputs)))  # type: ignore[attr-defined]
    for one in (weights := model.get_weights())[2:]:  # prelu starts at its kink
        one += 0.1 * rng.normal(size=one.shape)
    model.set_weights(weights)
    return model


@pytest.mark.parametrize(("inputs", "outputs"), [(3, 5), (5, 3), (4, 1)])
@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name != "softmax"])
def test_the_derivative_of_the_jacobian_agrees_with_the_reference(activation: str, inputs: int, outputs: int) -> None:
    pytest.importorskip("fastdense._core")
    rng = np.random.default_rng(0)
    x, d_out = rng.normal(size=(67, inputs)), rng.normal(size=(67, outputs))
    d_jacobian = rng.normal(size=(67, outputs, inputs))
    model = bent(activation, inputs, outputs, "cpu")
    found = model.vjp(x, d_out, d_jacobian)
    model.to("reference")
    wanted = model.vjp(x, d_out, d_jacobian)
    for mine, right in zip([found.inputs, *found.parameters], [wanted.inputs, *wanted.parameters], strict=True):
        np.testing.assert_allclose(mine, right, rtol=0, atol=1e-11 * max(1, np.abs(right).max()))


@pytest.mark.parametrize("activation", SMOOTH)
def test_the_derivative_of_the_jacobian_is_that_of_central_differences(activation: str, device: str) -> None:
    rng = np.random.default_rng(0)
    model, x = bent(activation, 3, 2, device), rng.normal(size=(9, 3))
    d_out, d_jacobian = rng.normal(size=(9, 2)), rng.normal(size=(9, 2, 3))

    def total(at: Any) -> float:
        return float((d_out * model.predict(at)).sum() + (d_jacobian * model.jacobian(at)).sum())

    found = model.vjp(x, d_out, d_jacobian)
    away = rng.normal(size=x.shape)
    numbers = (total(x + H * away) - total(x - H * away)) / (2 * H)
    assert float((found.inputs * away).sum()) == pytest.approx(numbers, abs=1e-6 * (1 + abs(numbers)))
    before = model.get_weights()
    trained = [tensor.trainable for tensor in model.net.tensors]
    away = [rng.normal(size=one.shape) * on for one, on in zip(before, trained, strict=True)]
    sides = []
    for sign in (1, -1):
        model.set_weights([one + sign * H * move for one, move in zip(before, away, strict=True)])
        sides.append(total(x))
    moved = [move for move, on in zip(away, trained, strict=True) if on]
    numbers = (sides[0] - sides[1]) / (2 * H)
    product = sum(float((g * move).sum()) for g, move in zip(found.parameters, moved, strict=True))
    assert product == pytest.approx(numbers, abs=1e-6 * (1 + abs(numbers)))


@pytest.mark.parametrize("activation", SMOOTH)
@pytest.mark.parametrize("loss", ["mse", "categorical_crossentropy", "binary_crossentropy"])
def test_a_hessian_s_product_is_that_of_central_differences(activation: str, loss: str, device: str) -> None:
    rng = np.random.default_rng(0)
    last = {"mse": None, "categorical_crossentropy": "softmax", "binary_crossentropy": "sigmoid"}[loss]
    net = [fd.Dense(6, activation, kernel_regularizer="l2"), fd.LayerNorm(), fd.BatchNorm(), fd.Dense(3, last)]
    model = fd.Model(net, inputs=4, dtype="float64", device=device)
    model.compile("sgd", loss)
    x, y, w = rng.normal(size=(20, 4)), np.eye(3)[rng.integers(0, 3, 20)], rng.random(20)
    before = model.get_weights()
    trained = [tensor.trainable for tensor in model.net.tensors]
    away = [rng.normal(size=one.shape) * on for one, on in zip(before, trained, strict=True)]
    moved = [move for move, on in zip(away, trained, strict=True) if on]
    found = model.hessian_vector(x, y, moved, sample_weight=w)
    sides = []
    for sign in (1, -1):
        model.set_weights([one + sign * H * move for one, move in zip(before, away, strict=True)])
        sides.append(model.loss_and_grad(x, y, sample_weight=w)[1])
    for mine, plus, minus in zip(found, *sides, strict=True):
        np.testing.assert_allclose(mine, (plus - minus) / (2 * H), rtol=0, atol=1e-6 * (1 + np.abs(mine).max()))


def test_second_derivatives_that_are_not_known_are_refused() -> None:
    x, ones = np.ones((2, 3)), np.ones((2, 2, 3))
    model = fd.Model([fd.LayerNorm(), fd.Dense(2)], inputs=3)
    with pytest.raises(
        ValueError, match=r"vjp: d_jacobian: the net contains LayerNorm\(.*its second derivative is not known"
    ):
        model.vjp(x, np.ones((2, 2)), ones)
    model.to("reference")
    model.vjp(x, np.ones((2, 2)), ones)
    model = fd.Model([fd.Log1p(), fd.Dense(2)], inputs=3, device="reference")
    with pytest.raises(ValueError, match=r"the net contains Log1p\(\)"):
        model.vjp(x, np.ones((2, 2)), ones)


# ---- steps -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "optimizer",
    [fd.SGD(0.1, momentum=0.9), fd.Adam(0.01, global_clipnorm=0.1), fd.RMSprop(), fd.AdamW(weight_decay=0.1), fd.Muon(),
     fd.Lion(), fd.Adam(use_ema=True)],
    ids=lambda one: type(one).__name__,
)  # fmt: skip
def test_a_step_from_gradients_is_a_step_of_training(optimizer: fd.optimizers.Optimizer, device: str) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 6)), rng.normal(size=(40, 3))
    made = []
    for by_hand in (True, False):
        net = [fd.Dense(20, "relu", kernel_regularizer="l2"), fd.Dense(20, "tanh", trainable=False), fd.Dense(3)]
        model = fd.Model(net, inputs=6, dtype="float64", device=device)
        model.compile(optimizer, "mse")
        for _ in range(4):
            if by_hand:
                model.apply_gradients(model.loss_and_grad(x, y)[1])
            else:
                model.train_on_batch(x, y)
        assert model.step == 4
        made.append(model.get_weights())
    for a, b in zip(*made, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_a_step_of_a_bfloat16_net_is_seen_by_the_next_prediction() -> None:
    pytest.importorskip("fastdense._core")
    x = np.random.default_rng(0).normal(size=(64, 40))
    model = fd.Model([fd.Dense(64, "tanh"), fd.Dense(3)], inputs=40, dtype="bfloat16")
    model.compile(fd.SGD(0.1), "mse")
    model.apply_gradients([np.ones(one.shape) for one in model.get_weights()])
    other = model.clone()
    other.set_weights(model.get_weights())
    np.testing.assert_array_equal(model.predict(x), other.predict(x))


@pytest.mark.parametrize("optimizer", ["lbfgs", "kfac"])
def test_optimizers_that_need_more_than_a_gradient_are_refused(optimizer: str) -> None:
    model = fd.Model([fd.Dense(2)], inputs=3)
    model.compile(optimizer, "mse")
    with pytest.raises(ValueError, match="apply_gradients: the optimizer is .*one that makes a step from a gradient"):
        model.apply_gradients(model.get_weights())


# ---- bad input -------------------------------------------------------------------------------------------------------


def test_messages() -> None:
    model = fd.Model([fd.Dense(2)], inputs=3)
    x = np.ones((4, 3))
    for call, message in (
        (lambda: model.input_gradient(x), "input_gradient: output is left out; the net has 2 outputs: give the number"),
        (lambda: model.input_gradient(x, 2), "input_gradient: output is 2; a whole number from 0 to 1 is needed"),
        (lambda: model.input_gradient(x, 0.5), "input_gradient: output is 0.5; a whole number from 0 to 1 is needed"),
        (lambda: model.input_gradient(x, np.ones(3)), r"output has shape \(3,\); \(2,\) or \(4, 2\) is needed"),
        (lambda: model.vjp(x, np.ones((4, 3))), r"vjp: d_out has shape \(4, 3\); \(4, 2\) is needed"),
        (lambda: model.vjp(x, np.full((4, 2), np.nan)), r"vjp: d_out\[0, 0\] is nan"),
        (
            lambda: model.vjp(x, np.ones((4, 2)), np.ones((4, 2))),
            r"d_jacobian has shape \(4, 2\); \(4, 2, 3\) is needed",
        ),
        (lambda: model.jacobian(np.ones((4, 2))), r"jacobian: x has 2 columns"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"gradients has 1 arrays; the net has 2 trainable tensors"):
        model.apply_gradients([np.ones((3, 2))])
    with pytest.raises(ValueError, match=r"gradients\[1\] has shape \(3,\); dense/bias has shape \(2,\)"):
        model.apply_gradients([np.ones((3, 2)), np.ones(3)])
    assert model.step == 0


# ---- training on derivatives -----------------------------------------------------------------------------------------


def wave(rows: int, seed: int) -> tuple[Any, Any, Any]:
    """sin(x0) cos(2 x1) and its derivatives."""
    x = np.random.default_rng(seed).uniform(-2, 2, size=(rows, 2))
    y = np.sin(x[:, :1]) * np.cos(2 * x[:, 1:])
    dy = np.stack([np.cos(x[:, 0]) * np.cos(2 * x[:, 1]), -2 * np.sin(x[:, 0]) * np.sin(2 * x[:, 1])], axis=1)
    return x, y, dy


def test_the_loss_of_training_on_derivatives_and_its_step(device: str) -> None:
    x, y, dy = wave(50, 0)
    w = np.random.default_rng(1).random(50)

    def fresh() -> fd.Model:
        model = fd.Model([fd.Normalization(), fd.Dense(8, "tanh", kernel_regularizer="l2"), fd.Dense(1)], inputs=2,
                         dtype="float64", device=device)  # fmt: skip
        model.layers[0].adapt(x)  # type: ignore[attr-defined]
        model.compile(fd.SGD(0.1), "mse", metrics=["mae"])
        return model

    model, plain = fresh(), fresh()
    away = plain.jacobian(x)[:, 0] - dy
    wanted = plain.loss_and_grad(x, y, sample_weight=w)[0] + 0.3 * np.mean(w[:, None] * away**2)
    mae = plain.evaluate(x, y, sample_weight=w, return_dict=True)["mae"]
    history = model.fit(x, y, dy=dy, dy_weight=0.3, sample_weight=w, batch_size=50, shuffle=False, verbose=0).history
    assert history["loss"][0] == pytest.approx(wanted, rel=1e-12)
    assert history["mae"][0] == pytest.approx(mae, rel=1e-12)
    first = plain.loss_and_grad(x, y, sample_weight=w)[1]
    term = plain.vjp(x, np.zeros((50, 1)), (0.6 * w[:, None] * away / away.size)[:, None]).parameters
    plain.apply_gradients([a + b for a, b in zip(first, term, strict=True)])
    for a, b in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_without_weight_it_is_training_as_always(device: str) -> None:
    x, y, dy = wave(70, 0)
    made = []
    for options in ({"dy": dy, "dy_weight": 0.0}, {}):
        model = fd.Model([fd.Dense(8, "tanh"), fd.Dense(1)], inputs=2, dtype="float64", device=device)
        model.compile("adam", "mse")
        history = model.fit(x, y, epochs=3, batch_size=16, validation_split=0.2, verbose=0, **options)  # type: ignore[arg-type]
        made.append([*model.get_weights(), *map(np.array, history.history.values())])
    for a, b in zip(*made, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_derivatives_help_where_rows_are_few() -> None:
    pytest.importorskip("fastdense._core")
    x, y, dy = wave(40, 0)
    held, right, _ = wave(500, 1)
    errors = []
    for options in ({"dy": dy}, {}):
        model = fd.Model([fd.Dense(32, "tanh"), fd.Dense(1)], inputs=2)
        model.compile(fd.Adam(0.01), "mse")
        model.fit(x, y, epochs=300, batch_size=40, verbose=0, **options)  # type: ignore[arg-type]
        errors.append(model.evaluate(held, right, verbose=0))
    assert errors[0] < 0.5 * errors[1]


@pytest.mark.parametrize(
    ("net", "optimizer", "options", "message"),
    [
        ([fd.Dense(1)], "sgd", {"dy": np.ones((50, 3))}, r"fit: dy has shape \(50, 3\); \(50, 1, 2\) or \(50, 2\)"),
        ([fd.Dense(1)], "sgd", {"dy": np.full((50, 2), np.inf)}, r"fit: dy\[0, 0\] is inf"),
        ([fd.Dense(1)], "sgd", {"dy_weight": -1}, "fit: dy_weight=-1"),
        ([fd.Dense(1)], "sgd", {"dy": None, "dy_weight": 2}, "fit: dy_weight is 2, and dy is not given"),
        ([fd.Dense(1)], "lbfgs", {}, "fit: the optimizer is LBFGS; one that makes a step from a gradient is needed"),
        ([fd.Dropout(0.5), fd.Dense(1)], "sgd", {}, "fit: dy is given, and the net contains dropout; the net must be"),
        ([fd.LayerNorm(), fd.Dense(1)], "sgd", {}, r"fit: dy: the net contains LayerNorm\(.*model.to\('reference'\)"),
        ([fd.Dense(1)], "sgd", {"probes": True}, "fit: dy and probes are both given"),
        ([fd.Dense(1)], "sgd", {"starts": 2}, "fit: dy and starts are both given"),
        ([fd.Dense(1)], "sgd", {"steps_per_epoch": 1}, "fit: dy and steps_per_epoch are both given"),
    ],
)
def test_what_training_on_derivatives_refuses(net: Any, optimizer: str, options: Any, message: str) -> None:
    x, y, dy = wave(50, 0)
    model = fd.Model(net, inputs=2)
    model.compile(optimizer, "mse")
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        model.fit(x, y, verbose=0, **{"dy": dy, **options})
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_dy_needs_arrays() -> None:
    model = fd.Model([fd.Dense(1)], inputs=2)
    model.compile("sgd", "mse")
    x, y, dy = wave(50, 0)
    with pytest.raises(
        ValueError, match="fit: dy was given and x is a list_iterator of batches; its batches hold no derivatives"
    ):
        model.fit(iter([(x, y)]), dy=dy)
