"""The same start, data and formulas in PyTorch and Keras: after 100 steps in float64 the weights are the same.

Where the peers' formulas differ from one another, fastdense follows Keras, and the settings below make PyTorch's equal:

- PyTorch adds epsilon outside the root and, in Adam, after the bias correction; Keras elsewhere. With an epsilon that
  is negligible on both sides (1e-14 here) nothing of that is left; with the defaults the fourth digit differs.
- PyTorch's Adagrad starts from an accumulator of 0, Keras's from 0.1; PyTorch's NAdam raises 0.96 to the power 0.004 t,
  Keras's to t.
- PyTorch's RMSprop forgets with alpha = 0.99, Keras's with rho = 0.9; AdamW decays with 0.01 and 0.004.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdense as fd

pytestmark = pytest.mark.filterwarnings("ignore")  # what the peers warn of at import is not ours to mend

RATE, TINY, STEPS, BATCH, ROWS = 0.01, 1e-14, 100, 16, 160
# Rounding grows with the steps; equal formulas end up within 1e-9, wrong ones differ by 1e-3 and more.
TOLERANCE = 1e-5

# name -> fastdense's optimizer, PyTorch's, the class in Keras; Keras takes fastdense's arguments
OPTIMIZERS: dict[str, tuple[str, dict[str, Any], str | None, dict[str, Any]]] = {
    "sgd": ("SGD", {}, "SGD", {}),
    "momentum": ("SGD", {"momentum": 0.9}, "SGD", {"momentum": 0.9}),
    "nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}, "SGD", {"momentum": 0.9, "nesterov": True}),
    "rmsprop": ("RMSprop", {"rho": 0.95, "epsilon": TINY}, "RMSprop", {"alpha": 0.95, "eps": TINY}),
    "rmsprop_momentum": ("RMSprop", {"momentum": 0.5}, None, {}),
    "rmsprop_centered": ("RMSprop", {"centered": True, "rho": 0.8}, None, {}),
    "adagrad": (
        "Adagrad",
        {"initial_accumulator_value": 0.1, "epsilon": TINY},
        "Adagrad",
        {"initial_accumulator_value": 0.1, "eps": TINY},
    ),
    "adadelta": ("Adadelta", {"rho": 0.9}, "Adadelta", {"rho": 0.9, "eps": 1e-7}),
    "adam": ("Adam", {"epsilon": TINY}, "Adam", {"eps": TINY}),
    "adam_defaults": ("Adam", {}, None, {}),
    "amsgrad": ("Adam", {"amsgrad": True}, None, {}),
    "adamw": ("AdamW", {"weight_decay": 0.1, "epsilon": TINY}, "AdamW", {"weight_decay": 0.1, "eps": TINY}),
    "nadam": ("Nadam", {"epsilon": TINY}, "NAdam", {"momentum_decay": 1.0, "eps": TINY}),
    "lion": ("Lion", {}, None, {}),
    "clipnorm": ("SGD", {"clipnorm": 0.05}, None, {}),
    "clipvalue": ("SGD", {"clipvalue": 0.01}, None, {}),
    "global_clipnorm": ("SGD", {"global_clipnorm": 0.1}, None, {}),
}
LOSSES = ("mse", "sparse_categorical_crossentropy")


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def keras() -> Any:
    os.environ.setdefault("KERAS_BACKEND", "jax")
    pytest.importorskip("jax").config.update("jax_enable_x64", True)
    return pytest.importorskip("keras")


def data(loss: str) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.RandomState(1)
    x = random.randn(ROWS, 6)
    y = random.randn(ROWS, 4) if loss == "mse" else random.randint(0, 4, ROWS)
    return x, y


def start() -> list[np.ndarray]:
    random = np.random.RandomState(2)
    widths = (6, 9, 8, 4)
    weights = []
    for n, u in zip(widths, widths[1:], strict=False):
        weights += [random.randn(n, u) / n**0.5, 0.1 * random.randn(u)]
    return weights


def layers(module: Any, loss: str) -> list[Any]:
    """tanh and gelu, so that no gradient is exactly zero and no unit is at a kink."""
    last = "linear" if loss == "mse" else "softmax"
    return [module.Dense(9, activation="tanh"), module.Dense(8, activation="gelu"), module.Dense(4, activation=last)]


def fastdense_weights(optimizer: str, options: dict[str, Any], loss: str, device: str) -> list[np.ndarray]:
    model = fd.Model(layers(fd, loss), inputs=6, dtype="float64", device=device)
    model.set_weights(start())
    model.compile(getattr(fd, optimizer)(RATE, **options), loss)
    model.fit(*data(loss), batch_size=BATCH, epochs=STEPS * BATCH // ROWS, shuffle=False, verbose=0)
    return model.get_weights()


def check(ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    """Compare each tensor with its distance from the start as the measure: standing still is no agreement."""
    for mine, peer, first in zip(ours, theirs, start(), strict=True):
        moved = np.abs(peer - first).max()
        assert moved > 1e-3
        assert np.abs(mine - peer).max() <= TOLERANCE * moved


@pytest.mark.parametrize("device", ["reference", "cpu"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", [name for name, row in OPTIMIZERS.items() if row[2]])
def test_like_torch(torch: Any, name: str, loss: str, device: str) -> None:
    optimizer, options, peer, peer_options = OPTIMIZERS[name]
    assert peer is not None
    modules: list[Any] = []
    weights = start()
    for i, activation in enumerate((torch.nn.Tanh(), torch.nn.GELU(), torch.nn.Identity())):
        linear = torch.nn.Linear(*weights[2 * i].shape, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weights[2 * i].T))
            linear.bias.copy_(torch.from_numpy(weights[2 * i + 1]))
        modules += [linear, activation]
    net = torch.nn.Sequential(*modules)
    steps = getattr(torch.optim, peer)(net.parameters(), lr=RATE, **peer_options)
    criterion: Callable[[Any, Any], Any] = torch.nn.MSELoss() if loss == "mse" else torch.nn.CrossEntropyLoss()
    x, y = map(torch.from_numpy, data(loss))
    for step in range(STEPS):
        rows = slice(step * BATCH % ROWS, step * BATCH % ROWS + BATCH)
        steps.zero_grad()
        criterion(net(x[rows]), y[rows]).backward()
        steps.step()
    theirs = [p.detach().numpy().T for p in net.parameters()]
    check(fastdense_weights(optimizer, options, loss, device), theirs)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_like_keras(keras: Any, name: str, loss: str) -> None:
    optimizer, options, *_ = OPTIMIZERS[name]
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    try:
        model = keras.Sequential([keras.Input((6,)), *layers(keras.layers, loss)])
        model.set_weights(start())
        model.compile(getattr(keras.optimizers, optimizer)(RATE, **options), loss)
        model.fit(*data(loss), batch_size=BATCH, epochs=STEPS * BATCH // ROWS, shuffle=False, verbose=0)
        theirs = model.get_weights()
    finally:
        keras.config.set_floatx(before)
    for device in ("reference", "cpu"):
        check(fastdense_weights(optimizer, options, loss, device), theirs)
