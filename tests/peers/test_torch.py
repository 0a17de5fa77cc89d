"""100 steps of every optimizer, clipping, weight decay and schedule beside PyTorch; docs/peers.md lists differences."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from tests.peers.problem import BATCH, STEPS, Agree, model, rows, train
from tests.peers.torch_twin import Twin, torch

optim = torch.optim
BeforeStep = Callable[[Any, int], None]
TINY = 1e-200  # an epsilon that changes nothing: for formulas that put it in different places


def nothing(optimizer: Any, step: int) -> None:
    """What most optimizers need before a step."""


def epsilon_hat(epsilon: float, beta_2: float) -> BeforeStep:
    """Keras adds epsilon to sqrt(v), PyTorch to sqrt(v / (1 - beta_2**t)), so the ratio of the two changes by step."""

    def before(optimizer: Any, step: int) -> None:
        optimizer.param_groups[0]["eps"] = epsilon / math.sqrt(1.0 - beta_2 ** (step + 1))

    return before


# fastdense's optimizer, PyTorch's, and what is done before each step of the latter.
OPTIMIZERS: dict[str, tuple[fd.optimizers.Optimizer, Callable[..., Any], BeforeStep]] = {
    "sgd": (fd.SGD(0.05), lambda p: optim.SGD(p, lr=0.05), nothing),
    "momentum": (fd.SGD(0.02, momentum=0.9), lambda p: optim.SGD(p, lr=0.02, momentum=0.9), nothing),
    "nesterov": (
        fd.SGD(0.02, momentum=0.9, nesterov=True),
        lambda p: optim.SGD(p, lr=0.02, momentum=0.9, nesterov=True),
        nothing,
    ),
    "rmsprop": (
        fd.RMSprop(0.003, rho=0.95, epsilon=TINY),
        lambda p: optim.RMSprop(p, lr=0.003, alpha=0.95, eps=0.0),
        nothing,
    ),
    "rmsprop_momentum": (
        fd.RMSprop(0.001, momentum=0.9, epsilon=TINY),
        lambda p: optim.RMSprop(p, lr=0.001, alpha=0.9, momentum=0.9, eps=0.0),
        nothing,
    ),
    "rmsprop_centered": (
        fd.RMSprop(0.001, rho=0.5, epsilon=1e-20, centered=True),
        lambda p: optim.RMSprop(p, lr=0.001, alpha=0.5, eps=0.0, centered=True),
        nothing,
    ),
    "adagrad": (
        fd.Adagrad(0.05, initial_accumulator_value=0.1, epsilon=TINY),
        lambda p: optim.Adagrad(p, lr=0.05, initial_accumulator_value=0.1, eps=0.0),
        nothing,
    ),
    "adagrad_lr_decay": (
        fd.Adagrad(fd.schedules.InverseTimeDecay(0.1, decay_steps=1, decay_rate=0.1), epsilon=TINY),
        lambda p: optim.Adagrad(p, lr=0.1, lr_decay=0.1, initial_accumulator_value=0.1, eps=0.0),
        nothing,
    ),
    "adadelta": (
        fd.Adadelta(1.0, rho=0.9, epsilon=1e-6),
        lambda p: optim.Adadelta(p, lr=1.0, rho=0.9, eps=1e-6),
        nothing,
    ),
    "adam": (fd.Adam(0.01), lambda p: optim.Adam(p, lr=0.01), epsilon_hat(1e-7, 0.999)),
    "adam_epsilon": (
        fd.Adam(0.01, 0.8, 0.95, 1e-2),
        lambda p: optim.Adam(p, lr=0.01, betas=(0.8, 0.95)),
        epsilon_hat(1e-2, 0.95),
    ),
    "amsgrad": (
        fd.Adam(0.01, 0.9, 0.7, 1e-3, amsgrad=True),
        lambda p: optim.Adam(p, lr=0.01, betas=(0.9, 0.7), amsgrad=True),
        epsilon_hat(1e-3, 0.7),
    ),
    "adamw": (
        fd.AdamW(0.01, weight_decay=0.1),
        lambda p: optim.AdamW(p, lr=0.01, weight_decay=0.1),
        epsilon_hat(1e-7, 0.999),
    ),
    "nadam": (
        fd.Nadam(0.002, epsilon=1e-8),
        lambda p: optim.NAdam(p, lr=0.002, momentum_decay=1.0),
        nothing,
    ),
    "nadam_decay": (
        fd.Nadam(0.01, 0.8, 0.95, 1e-2, weight_decay=0.1),
        lambda p: optim.NAdam(
            p,
            lr=0.01,
            betas=(0.8, 0.95),
            eps=1e-2,
            momentum_decay=1.0,
            weight_decay=0.1,
            decoupled_weight_decay=True,
        ),
        nothing,
    ),
}


def beside(agree: Agree, ours: Any, theirs: Callable[..., Any], before: BeforeStep = nothing, net: Any = None) -> None:
    """Make the same 100 steps in both; all tensors must agree, and training must do much."""
    made = model(net)
    twin, start = Twin(made), made.get_weights()
    train(made, ours)
    optimizer = theirs(twin.net.parameters())
    twin.train(optimizer, *rows(), STEPS, BATCH, lambda step: before(optimizer, step))
    agree(made.get_weights(), twin.weights())
    assert max(np.abs(a - b).max() for a, b in zip(made.get_weights(), start, strict=True)) > 0.01


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer(name: str, agree: Agree) -> None:
    beside(agree, *OPTIMIZERS[name])


@pytest.mark.parametrize("name", ["sgd", "adam", "rmsprop"])
def test_coupled_weight_decay(name: str, agree: Agree) -> None:
    """PyTorch's `weight_decay` of SGD, RMSprop and Adam adds to the gradient, as an l2 penalty of half of it does."""
    ours, theirs, before = OPTIMIZERS[name]
    half: dict[str, Any] = {
        "kernel_regularizer": fd.regularizers.l2(0.05),
        "bias_regularizer": fd.regularizers.l2(0.05),
    }
    net = [fd.Dense(8, activation="tanh", **half), fd.Dense(3, **half)]

    def decayed(parameters: Any) -> Any:
        optimizer = theirs(parameters)
        optimizer.param_groups[0]["weight_decay"] = 0.1
        return optimizer

    beside(agree, ours, decayed, before, net)


@pytest.mark.parametrize("kind", ["clipvalue", "clipnorm", "global_clipnorm"])
def test_clipping(kind: str, agree: Agree) -> None:
    limit = 0.03 if kind == "clipvalue" else 0.1
    cut = []

    def clip_norm(parameters: list[Any]) -> None:
        norm = float(torch.nn.utils.get_total_norm([p.grad for p in parameters]))
        cut.append(norm > limit)
        # PyTorch scales by limit / (norm + 1e-6), Keras by limit / norm.
        torch.nn.utils.clip_grad_norm_(parameters, limit * (norm + 1e-6) / norm if norm > limit else math.inf)

    def before(optimizer: Any, step: int) -> None:
        parameters = optimizer.param_groups[0]["params"]
        if kind == "clipvalue":
            cut.append(any(bool((p.grad.abs() > limit).any()) for p in parameters))
            torch.nn.utils.clip_grad_value_(parameters, limit)
        elif kind == "clipnorm":
            for parameter in parameters:
                clip_norm([parameter])
        else:
            clip_norm(parameters)

    options: dict[str, Any] = {kind: limit}
    ours = fd.SGD(0.05, momentum=0.9, **options)
    beside(agree, ours, lambda p: optim.SGD(p, lr=0.05, momentum=0.9), before)
    assert sum(cut) >= 10


RATE = 0.05
SCHEDULES: dict[str, tuple[fd.schedules.Schedule, Callable[[Any], Any]]] = {
    "exponential": (
        fd.schedules.ExponentialDecay(RATE, decay_steps=1, decay_rate=0.98),
        lambda o: optim.lr_scheduler.ExponentialLR(o, 0.98),
    ),
    "steps": (
        fd.schedules.ExponentialDecay(RATE, decay_steps=30, decay_rate=0.5, staircase=True),
        lambda o: optim.lr_scheduler.StepLR(o, 30, 0.5),
    ),
    "polynomial": (
        fd.schedules.PolynomialDecay(RATE, decay_steps=60, end_learning_rate=0.0, power=2.0),
        lambda o: optim.lr_scheduler.PolynomialLR(o, 60, 2.0),
    ),
    "piecewise": (  # the last step at the old rate here, the first one at the new rate there
        fd.schedules.PiecewiseConstantDecay([29, 69], [RATE, RATE / 2, RATE / 4]),
        lambda o: optim.lr_scheduler.MultiStepLR(o, [30, 70], 0.5),
    ),
    "cosine": (
        fd.schedules.CosineDecay(RATE, decay_steps=STEPS, alpha=0.1),
        lambda o: optim.lr_scheduler.CosineAnnealingLR(o, STEPS, eta_min=0.1 * RATE),
    ),
    "restarts": (
        fd.schedules.CosineDecayRestarts(RATE, first_decay_steps=15, t_mul=2.0, alpha=0.1),
        lambda o: optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 15, 2, eta_min=0.1 * RATE),
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule(name: str, agree: Agree) -> None:
    """Momentum with a changing rate: PyTorch's buffer holds gradients and Keras's steps, so that one is rescaled."""
    schedule, scheduler = SCHEDULES[name]
    made = model()
    twin = Twin(made)
    train(made, fd.SGD(schedule, momentum=0.9), epochs=6)
    optimizer = optim.SGD(twin.net.parameters(), lr=RATE, momentum=0.9)
    rates, follow = [RATE], scheduler(optimizer)

    def before(step: int) -> None:
        rates.append(optimizer.param_groups[0]["lr"])
        for state in optimizer.state.values():
            state["momentum_buffer"] *= rates[-2] / rates[-1]

    twin.train(optimizer, *rows(), 60, BATCH, before, follow.step)
    agree([schedule(np.arange(60.0))], [rates[1:]])
    agree(made.get_weights(), twin.weights())


def test_muon(agree: Agree) -> None:
    """PyTorch's Muon makes the gradient orthogonal in bfloat16, so that only two or three digits can agree."""
    made = model([fd.Dense(8, activation="tanh", use_bias=False), fd.Dense(3, use_bias=False)])
    twin, start = Twin(made), made.get_weights()
    train(made, fd.Muon(0.01, weight_decay=0.1), epochs=1)
    optimizer = optim.Muon(twin.net.parameters(), lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    twin.train(optimizer, *rows(), 10, BATCH)
    ours = [a - b for a, b in zip(made.get_weights(), start, strict=True)]
    agree(ours, [a - b for a, b in zip(twin.weights(), start, strict=True)], tolerance=0.05)


@pytest.mark.parametrize(
    ("cls", "defaults"),
    [
        (optim.SGD, {"lr": 0.001, "momentum": 0}),
        (optim.RMSprop, {"lr": 0.01, "alpha": 0.99, "eps": 1e-8, "momentum": 0, "centered": False}),
        (optim.Adagrad, {"lr": 0.01, "initial_accumulator_value": 0, "eps": 1e-10, "lr_decay": 0}),
        (optim.Adadelta, {"lr": 1.0, "rho": 0.9, "eps": 1e-6}),
        (optim.Adam, {"lr": 0.001, "betas": (0.9, 0.999), "eps": 1e-8, "amsgrad": False}),
        (optim.AdamW, {"lr": 0.001, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}),
        (optim.NAdam, {"lr": 0.002, "betas": (0.9, 0.999), "eps": 1e-8, "momentum_decay": 0.004}),
        (optim.Muon, {"lr": 0.001, "weight_decay": 0.1, "momentum": 0.95, "nesterov": True, "ns_steps": 5}),
        (torch.nn.BatchNorm1d, {"eps": 1e-5, "momentum": 0.1}),
        (torch.nn.LayerNorm, {"eps": 1e-5}),
        (torch.nn.LeakyReLU, {"negative_slope": 0.01}),
        (torch.nn.PReLU, {"num_parameters": 1, "init": 0.25}),
        (torch.nn.PoissonNLLLoss, {"log_input": True, "full": False, "eps": 1e-8}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_defaults_in_the_table(cls: Any, defaults: dict[str, Any]) -> None:
    """docs/peers.md says so."""
    parameters = inspect.signature(cls).parameters
    assert {key: parameters[key].default for key in defaults} == defaults
