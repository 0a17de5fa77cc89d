"""Each fact about a member of a family stands once; where an engine needs it too, the two are equal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense import _core, activations, initializers, layers, losses, metrics, optimizers, regularizers
from fastdense.data.baseline import constant_predictor
from fastdense.reference import activations as formulas
from fastdense.reference import losses as loss_formulas
from fastdense.reference import metrics as metric_formulas
from fastdense.reference import optimizers as optimizer_formulas
from fastdense.specs import Spec, members


def every(base: type[Spec]) -> list[Any]:
    return members(base)


def test_activations_are_those_of_the_core_and_the_reference() -> None:
    assert list(activations.TABLE) == list(_core.ACTIVATIONS)
    assert set(activations.TABLE) == set(formulas.NAMES)


def test_saturation_is_one_number_for_probes_reference_and_diagnosis() -> None:
    table = {name: one.saturation for name, one in activations.TABLE.items() if one.saturation is not None}
    assert table == _core.SATURATION == formulas.SATURATION
    assert table["sigmoid"] == 5.0 and table["tanh"] == 2.5  # as documented


@pytest.mark.parametrize("name", formulas.ELEMENTWISE)
def test_ranges_hold_what_the_formulas_give(name: str) -> None:
    one, z = activations.TABLE[name], np.linspace(-60.0, 60.0, 24_001)
    value = formulas.ELEMENTWISE[name][0](z, one.alpha or 0.0)
    assert one.low <= value.min() and value.max() <= one.high
    if one.low > -np.inf:
        assert value.min() - one.low < 0.02
    if one.high < np.inf:
        assert one.high - value.max() < 0.02
    flat = bool((value[z < 0] == value[0]).all())
    assert one.dead_below_zero == flat


@pytest.mark.parametrize("name", activations.TABLE)
def test_initializers_of_activations(name: str) -> None:
    chosen = initializers.Auto(seed=3).for_activation(name)
    assert chosen == initializers.get({"class_name": activations.TABLE[name].initializer, "config": {"seed": 3}})


def test_losses_are_those_of_the_core_and_the_reference() -> None:
    kinds = {loss.kind for loss in every(losses.Loss)}
    assert kinds == set(loss_formulas.NAMES)
    assert kinds | {"binary_crossentropy_logits"} == set(_core.LOSSES)


@pytest.mark.parametrize("loss", every(losses.Loss), ids=lambda loss: str(loss.kind))
def test_curved_losses_are_those_of_the_core(loss: type[losses.Loss]) -> None:
    logits = {"binary_crossentropy": "binary_crossentropy_logits"}.get(loss.kind, loss.kind)
    assert loss.curved == (logits in _core.CURVED_LOSSES)


@pytest.mark.parametrize("kind", loss_formulas.ELEMENTWISE)
def test_the_second_derivative_is_that_of_the_derivative(kind: str) -> None:
    y, p, h = np.array([[0.5], [1.0], [2.0]]), np.array([[0.9], [0.7], [2.9]]), 1e-6
    spec = {"kind": kind, "from_logits": False, "label_smoothing": 0.0, "param": 0.5}
    if not losses.get(kind).curved:
        with pytest.raises(ValueError, match="no curvature"):
            loss_formulas.curvature(spec, y, p, None, "")
        return
    derivative = [loss_formulas.ELEMENTWISE[kind](y, p + step, 0.5)[1] for step in (-h, h)]
    second = loss_formulas.curvature(spec, y, p, None, "").matrices[:, :, 0]
    np.testing.assert_allclose(second, (derivative[1] - derivative[0]) / (2 * h), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", loss_formulas.ELEMENTWISE)
def test_a_loss_is_curved_if_its_derivative_is_not_piecewise_constant(kind: str) -> None:
    y, p = np.full((4001, 1), 1.0), np.linspace(0.01, 3.0, 4001)[:, None]
    derivative = loss_formulas.ELEMENTWISE[kind](y, p, 0.5)[1]
    assert losses.get(kind).curved == (len(np.unique(derivative)) > 10)


def test_a_loss_without_its_attributes_is_refused() -> None:
    with pytest.raises(TypeError, match="_Half: a loss must state its targets"):

        class _Half(losses.Loss, names=("half_a_loss",)):
            kind, name = "half", "half"


def test_the_core_has_no_newton_steps_for_a_loss_without_second_derivative() -> None:
    model = fd.Model([fd.Dense(1)], inputs=1)
    engine = _core.Engine(model.net.program)
    spec = {"loss": losses.get("mae").lower(), "optimizer": optimizers.NewtonCG().lower(), "metrics": []}
    with pytest.raises(ValueError, match="newton_cg: the loss mae has no second derivative here"):
        engine.configure(spec)


def test_metrics_are_those_of_the_core_and_the_reference() -> None:
    assert set(_core.METRIC_SUMS) == set(_core.METRICS) == set(metric_formulas.NAMES)
    for name, sums in _core.METRIC_SUMS.items():
        assert metric_formulas.state_size({"kind": name}, 3) == (3 * sums or 2)
    assert {name for name, sums in _core.METRIC_SUMS.items() if not sums} == set(metric_formulas.ROW_MEANS)
    kinds = {metric.kind for metric in every(metrics.Metric)} - {"accuracy", "collected"}
    assert kinds == set(_core.METRICS)
    for metric in every(metrics.Metric):
        if metric.kind not in ("accuracy", "collected"):
            assert metric().state_size(3) == (3 * _core.METRIC_SUMS[metric.kind] or 2)


def test_optimizers_are_those_of_the_core_and_the_reference() -> None:
    kinds = {optimizer.kind for optimizer in every(optimizers.Optimizer)}
    assert kinds == set(_core.OPTIMIZERS)
    full_batch = {optimizer.kind for optimizer in every(optimizers.Optimizer) if optimizer.full_batch}
    assert full_batch == set(_core.FULL_BATCH_OPTIMIZERS)
    assert kinds == set(optimizer_formulas.UPDATES) | full_batch


def test_penalties_are_those_of_the_core() -> None:
    op = next(op for op in fd.Model([layers.Dense(2)], inputs=2).net.ops if op["kind"] == "dense")
    names = {
        key for key, value in op.items() if key.startswith(("kernel_", "bias_", "activity_")) and value is not False
    }
    assert names == set(_core.PENALTIES)
    assert set(regularizers.Terms._fields) >= {name.removeprefix("kernel_") for name in names if "kernel" in name}


@pytest.mark.parametrize("loss", every(losses.Loss), ids=lambda loss: str(loss.kind))
def test_every_loss_has_a_best_constant(loss: type[losses.Loss]) -> None:
    y = np.array([0, 1, 1, 2]) if loss.targets == "classes" else np.array([[0.0], [1.0], [1.0], [1.0]])
    if loss.targets == "signs":
        y = 2 * y - 1
    constant, value = constant_predictor(loss(), y, None, 3 if loss.targets == "classes" else 1)
    assert np.isfinite(value) and np.isfinite(constant).all()
