"""Chains of operations: what they compute, and models made of them again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

import fastdense as fd
from fastdense import layers
from fastdense.activations import ACTIVATIONS
from fastdense.interop.build import model_of
from fastdense.interop.chain import LAYERS, ChainStep, chain_of, steps_of
from fastdense.interop.compute import computed
from tests.helpers.nets import Net, check_close, net_of_activation, nets

UNCARRIED = {"Function"}  # the user's own formula
BASES = {"Adapting", "Composite", "Layer", "Preprocessing"}
BLOCKS = {"Branches", "Residual"}


def test_every_layer_has_its_row() -> None:
    classes = {name for name in layers.__all__ if isinstance(getattr(layers, name), type)} - {"TensorSpec", "Weight"}
    assert classes - BASES - BLOCKS - UNCARRIED == {cls.__name__ for cls in LAYERS}


@settings(max_examples=300, deadline=None)
@given(nets())
def test_a_chain_computes_what_its_model_does(net: Net) -> None:
    chain = chain_of(net.model, "test")
    check_close(computed(chain, net.x.astype(np.float64)), net)
    again = model_of(chain, net.model.inputs, "test")
    check_close(again.predict(net.x), net)
    assert again.count_params() == net.model.count_params()  # the same layers, not others that compute the same


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str) -> None:
    net = net_of_activation(name)
    chain = chain_of(net.model, "test")
    check_close(computed(chain, net.x.astype(np.float64)), net)
    assert model_of(chain, 1, "test").layers == net.model.layers


@pytest.mark.parametrize(
    "layer",
    [
        fd.Impute([1], indicator=[1], fill=0.5),
        fd.OneHot([0, 2], codes=[[0.0, 1.0], [2.0, 1.0]]),
        fd.Periodic([0.5, 1.0], [1], keep=True),
        fd.Periodic([[0.5], [1.0, 2.0]], [0, 2], keep=False),
        fd.RobustScale([2], clip=None, center=[0.5], scale=[0.0]),
        fd.Log1p([1.0, 2.0], [1, 2], offset=[0.0, 1.0]),
        fd.CategoryEmbedding([0, 2], 2, codes=[[0.0, 1.0], [2.0]]),
        fd.NumericEmbedding("periodic", [0, 2], frequencies=2, size=3, activation="relu"),
        fd.NumericEmbedding("periodic", frequencies=2, keep=False),
    ],
    ids=repr,
)
def test_layers_of_columns_come_back(layer: layers.Layer) -> None:
    model = fd.Model([layer, fd.Dense(2)], inputs=3)
    assert model_of(chain_of(model, "test"), 3, "test").layers == model.layers


def test_branches_come_back() -> None:
    made = [
        fd.Branches([[fd.Dense(3)], [fd.Residual([fd.LayerNorm(), fd.Dense(2)]), fd.Dense(3)]], "multiply"),
        fd.Branches([[], [fd.SelectColumns([2, 0]), fd.Dense(1)]]),
        fd.Branches([[fd.Dense(2, "softmax")], [fd.Dense(1)]]),
    ]
    model = fd.Model(made, inputs=2)
    assert model_of(chain_of(model, "test"), 2, "test").layers == model.layers


def test_what_a_step_says_of_itself() -> None:
    model = fd.Model([fd.Branches([[], [fd.Dense(3, name="inner")]]), fd.Dense(1, name="last")], inputs=2)
    chain = chain_of(model, "test")
    assert [step.place for step in steps_of(chain)] == [
        "layers[0] (Branches), its layers[1.0] (Dense)",
        "layers[1] 'last' (Dense)",
    ]
    assert all(isinstance(step, ChainStep) for step in steps_of(chain))


def test_a_formula_of_the_users_is_refused() -> None:
    double = fd.Function(lambda x: 2 * x, lambda x, dy: 2 * dy)
    model = fd.Model([fd.Dense(2), double], inputs=2)
    with pytest.raises(ValueError, match=r"^to_c: layers\[1\] \(Function\) computes a formula of your own, which only"):
        model.to_c("net.h")


def test_preprocessing_inside_of_a_net_is_refused() -> None:
    inner = ChainStep("log1p", {"scale": [1.0], "offset": [0.0]}, 1, 1, "node 3")
    dense = chain_of(fd.Model([fd.Dense(1)], inputs=1), "test")
    with pytest.raises(
        ValueError, match="^test: node 3 is what Log1p computes, which fastdense knows for the data only"
    ):
        model_of([*dense, inner], 1, "test")
