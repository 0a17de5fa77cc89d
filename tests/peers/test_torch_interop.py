"""PyTorch: modules of models and models of modules give the same outputs, and BatchNorm goes on as it does there."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import nn

import fastdense as fd
from fastdense.activations import ACTIVATIONS
from tests.helpers.nets import Net, check_close, net_of_activation, nets

pytestmark = pytest.mark.usefixtures("float32")
X = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)


@settings(max_examples=300, deadline=None)
@given(nets())
def test_random_nets(net: Net) -> None:
    module = net.model.to_torch()
    assert not module.training
    check_close(module(torch.tensor(net.x)).detach().numpy(), net)
    again = fd.from_torch(module)
    check_close(again.predict(net.x), net)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str) -> None:
    net = net_of_activation(name)
    module = net.model.to_torch()
    check_close(module(torch.tensor(net.x)).detach().numpy(), net)
    assert fd.from_torch(module).layers == net.model.layers


@settings(max_examples=50, deadline=None)
@given(nets(dtype="float64"))
def test_double_precision(net: Net) -> None:
    module, x = net.model.to_torch(), net.x.astype(np.float64)
    made = module(torch.tensor(x)).detach().numpy()
    check_close(made, Net(net.model, x), 1e-9)
    assert made.dtype == np.float64 and fd.from_torch(module).dtype == "float64"


def test_modules_are_copied_and_pickled_and_scripted() -> None:
    layers = [fd.NumericEmbedding("periodic", size=2, activation="relu"), fd.Residual([fd.Dense(12)]), fd.Dense(1)]
    module = fd.Model(layers, inputs=4).to_torch()
    right = module(torch.tensor(X))
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        torch.testing.assert_close(other(torch.tensor(X)), right)
    assert all(one.requires_grad for one in module.parameters()) and len(list(module.parameters())) == 8
    right.sum().backward()
    assert all(one.grad is not None for one in module.parameters())


def test_moving_statistics_go_on_as_there() -> None:
    """The momentum is 1 minus the other; the variance of a batch counts with n - 1 in PyTorch, with n here."""
    model = fd.Model([fd.BatchNorm(momentum=0.8, epsilon=1e-4), fd.Dense(1)], inputs=4, dtype="float64")
    module = model.to_torch().train()
    assert module[0].momentum == pytest.approx(0.2) and module[0].eps == 1e-4
    module(torch.tensor(X, dtype=torch.float64))
    model.compile(fd.SGD(1e-9), "mse")
    model.fit(X, X[:, 0], batch_size=len(X), shuffle=False, verbose=0)
    mean, variance = model.get_weights()[2:4]
    np.testing.assert_allclose(module[0].running_mean.numpy(), mean, rtol=1e-6, atol=1e-9)
    n = len(X)
    unbiased = 0.8 + (variance - 0.8) * n / (n - 1)
    np.testing.assert_allclose(module[0].running_var.numpy(), unbiased, rtol=1e-6)
    again = fd.from_torch(module)
    assert again.layers[0].get_config()["momentum"] == 0.8
    np.testing.assert_array_equal(again.get_weights()[3], module[0].running_var.numpy())


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU()), nn.Dropout(0.1), nn.Identity(),
        nn.Linear(6, 5, bias=False), nn.LayerNorm(5), nn.PReLU(), nn.Linear(5, 5), nn.Hardtanh(0.0, 6.0),
        nn.Linear(5, 2), nn.LeakyReLU(0.3),
    ).eval()  # fmt: skip


def test_modules_of_ones_own() -> None:
    module = net()
    model = fd.from_torch(module, name="theirs", device="reference")
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == [
        "Dense",
        "BatchNorm",
        "Activation",
        "Dropout",
        "Dense",
        "LayerNorm",
        "Activation",
        "Dense",
        "Dense",
    ]
    assert model.name == "theirs" and model.device == "reference"
    right = module(torch.tensor(X)).detach().numpy()
    np.testing.assert_allclose(model.predict(X), right, rtol=1e-5, atol=1e-6)
    half = fd.from_torch(net().to(torch.bfloat16))
    np.testing.assert_allclose(half.predict(X), right, rtol=0.1, atol=0.05)


def test_numbers_alone() -> None:
    module = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 2), nn.Sigmoid()).eval()
    model = fd.from_torch(module.state_dict(), activation="tanh", output_activation="sigmoid")
    np.testing.assert_allclose(model.predict(X), module(torch.tensor(X)).detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Conv1d(1, 1, 1), r"module is Conv1d\(.*\), which is none that fastdense has\. Give an nn\.Sequential of"),
        (nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.GLU())), r"module\[1\]\[0\] is GLU\(.*\), which is none that"),
        (nn.Sequential(nn.Linear(2, 2), nn.GELU("tanh")), r"module\[1\] is GELU\(.*\), which has a parameter that"),
        (nn.Sequential(nn.Linear(2, 2), nn.Softmax(0)), r"module\[1\] is Softmax\(.*\), which has a parameter that"),
        (nn.Sequential(nn.Linear(2, 2), nn.Hardtanh(-2, 2)), r"module\[1\] is Hardtanh\(.*\), which has a parameter"),
        (nn.Sequential(nn.Linear(2, 2), nn.Softplus(2.0)), r"module\[1\] is Softplus\(.*\), which has a parameter"),
        (nn.Sequential(nn.Linear(2, 2), nn.LeakyReLU(0.0)), r"module\[1\] is LeakyReLU\(.*\), which has a parameter"),
        (nn.Sequential(nn.Linear(2, 3), nn.Linear(2, 2)), r"module\[1\] is Linear\(.*\), which takes 2 columns, and"),
        (nn.Sequential(nn.ReLU()), r"module\[0\] is ReLU\(\), which stands where no layer says how many columns"),
        (nn.BatchNorm1d(2, track_running_stats=False), r"module is BatchNorm1d\(.*, which keeps no moving"),
        (nn.Sequential(), "module holds no layer"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)  # fmt: skip
def test_what_cannot_come_in(module: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^from_torch: {message}"):
        fd.from_torch(module)
    with pytest.raises(ValueError, match="^from_torch: activation is given beside a module, which has its own"):
        fd.from_torch(module, activation="relu")
