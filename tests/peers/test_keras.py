"""100 steps of every optimizer, clipping, weight decay and schedule beside Keras, which fastdense follows."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from tests.peers.keras64 import keras, twin
from tests.peers.problem import BATCH, EPOCHS, STEPS, Agree, model, rows, targets, train, weights_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's __array__

# Class and arguments, the same in both. Where an epsilon is given it is large, so that its place in the formula shows.
OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("SGD", {"learning_rate": 0.05}),
    "momentum": ("SGD", {"learning_rate": 0.02, "momentum": 0.9}),
    "nesterov": ("SGD", {"learning_rate": 0.02, "momentum": 0.9, "nesterov": True}),
    "rmsprop": ("RMSprop", {}),
    "rmsprop_epsilon": ("RMSprop", {"learning_rate": 0.01, "rho": 0.8, "epsilon": 1e-2}),
    "rmsprop_momentum": ("RMSprop", {"momentum": 0.5, "epsilon": 1e-3}),
    "rmsprop_centered": ("RMSprop", {"momentum": 0.5, "epsilon": 1e-3, "centered": True}),
    "adagrad": ("Adagrad", {"learning_rate": 0.05}),
    "adagrad_epsilon": ("Adagrad", {"learning_rate": 0.05, "initial_accumulator_value": 0.0, "epsilon": 1e-2}),
    "adadelta": ("Adadelta", {"learning_rate": 1.0}),
    "adadelta_epsilon": ("Adadelta", {"learning_rate": 0.5, "rho": 0.8, "epsilon": 1e-3}),
    "adam": ("Adam", {}),
    "adam_epsilon": ("Adam", {"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-2}),
    "amsgrad": ("Adam", {"learning_rate": 0.01, "beta_2": 0.7, "amsgrad": True}),  # so low that v falls
    "adamw": ("AdamW", {"learning_rate": 0.01, "weight_decay": 0.1}),
    "nadam": ("Nadam", {}),
    "nadam_epsilon": ("Nadam", {"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-2}),
    "adamax": ("Adamax", {"learning_rate": 0.01}),
    "adamax_epsilon": ("Adamax", {"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.7, "epsilon": 1e-2}),
    "ftrl": ("Ftrl", {"learning_rate": 0.1}),
    "ftrl_l1": ("Ftrl", {"learning_rate": 0.1, "l1_regularization_strength": 0.05, "beta": 0.3}),
    "ftrl_l2": ("Ftrl", {"learning_rate": 0.1, "l2_regularization_strength": 0.1, "learning_rate_power": -0.3}),
    "ftrl_shrinkage": (
        "Ftrl",
        {"learning_rate": 0.1, "l2_shrinkage_regularization_strength": 0.1, "initial_accumulator_value": 0.5},
    ),
    "sgd_average": ("SGD", {"learning_rate": 0.05, "use_ema": True}),
    "adam_average": ("Adam", {"learning_rate": 0.01, "use_ema": True, "ema_momentum": 0.8}),
    "amsgrad_average": (
        "Adam",
        {"learning_rate": 0.01, "amsgrad": True, "use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 7},
    ),
    "lion": ("Lion", {"learning_rate": 0.003}),
    "lion_betas": ("Lion", {"learning_rate": 0.003, "beta_1": 0.7, "beta_2": 0.9}),
    "muon": ("Muon", {"learning_rate": 0.01}),
    "muon_plain": ("Muon", {"learning_rate": 0.01, "nesterov": False, "rms_rate": None, "ns_steps": 3}),
    "muon_adam": ("Muon", {"adam_lr_ratio": 3.0, "adam_beta_1": 0.8, "adam_weight_decay": 0.1, "epsilon": 1e-2}),
    "clipvalue": ("SGD", {"learning_rate": 0.05, "momentum": 0.9, "clipvalue": 0.03}),
    "clipnorm": ("SGD", {"learning_rate": 0.05, "momentum": 0.9, "clipnorm": 0.1}),
    "global_clipnorm": ("SGD", {"learning_rate": 0.05, "momentum": 0.9, "global_clipnorm": 0.2}),
    "adam_clipvalue": ("Adam", {"learning_rate": 0.01, "clipvalue": 0.03, "weight_decay": 0.1}),
    "muon_clipnorm": ("Muon", {"learning_rate": 0.01, "clipnorm": 0.1}),
    "lion_global_clipnorm": ("Lion", {"learning_rate": 0.003, "global_clipnorm": 0.2}),
    **{
        f"{name.lower()}_decay": (name, {"learning_rate": 0.01, "weight_decay": 0.1})
        for name in ("SGD", "RMSprop", "Adagrad", "Adadelta", "Nadam", "Adamax", "Ftrl", "Lion", "Muon")
    },
}
SCHEDULES: dict[str, tuple[str, dict[str, Any]]] = {
    "exponential": ("ExponentialDecay", {"decay_steps": 30, "decay_rate": 0.5}),
    "exponential_staircase": ("ExponentialDecay", {"decay_steps": 30, "decay_rate": 0.5, "staircase": True}),
    "inverse_time": ("InverseTimeDecay", {"decay_steps": 20, "decay_rate": 2.0}),
    "inverse_time_staircase": ("InverseTimeDecay", {"decay_steps": 20, "decay_rate": 2.0, "staircase": True}),
    "polynomial": ("PolynomialDecay", {"decay_steps": 60, "end_learning_rate": 0.002, "power": 2.0}),
    "polynomial_cycle": ("PolynomialDecay", {"decay_steps": 30, "cycle": True}),
    "cosine": ("CosineDecay", {"decay_steps": 70, "alpha": 0.1}),
    "cosine_warmup": ("CosineDecay", {"decay_steps": 60, "warmup_target": 0.1, "warmup_steps": 20}),
    "restarts": ("CosineDecayRestarts", {"first_decay_steps": 15, "m_mul": 0.8, "alpha": 0.05}),
    "restarts_equal": ("CosineDecayRestarts", {"first_decay_steps": 25, "t_mul": 1.0}),
}


def beside(agree: Agree, ours: Any, theirs: Any, loss: str = "mse", **options: Any) -> None:
    """Make the same 100 steps in both; tensors and the loss of every epoch must agree, and training must do much."""
    made = model()
    other, before = twin(made), made.get_weights()
    history = train(made, ours, loss, **options)
    other.compile(theirs, loss)
    x, y = rows()
    fit = {"batch_size": BATCH, "epochs": EPOCHS, "shuffle": False, "verbose": 0} | options
    theirs_history = other.fit(x, y, **fit)
    agree(made.get_weights(), other.get_weights())
    agree([history.history["loss"]], [theirs_history.history["loss"]])
    assert max(np.abs(a - b).max() for a, b in zip(made.get_weights(), before, strict=True)) > 0.01


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer(name: str, agree: Agree) -> None:
    cls, arguments = OPTIMIZERS[name]
    beside(agree, getattr(fd, cls)(**arguments), getattr(keras.optimizers, cls)(**arguments))


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_rates(name: str, agree: Agree) -> None:
    cls, arguments = SCHEDULES[name]
    ours = getattr(fd.schedules, cls)(0.05, **arguments)
    theirs = getattr(keras.optimizers.schedules, cls)(0.05, **arguments)
    # Keras takes long for each: every seventh step, and those around the ends of warmups and periods
    edges = [edge + k for edge in (5, 25, 50, 75, 100, 150, 175) for k in (-1, 0, 1)]
    steps = sorted({*range(0, 2 * STEPS, 7), *edges, 2 * STEPS - 1})
    agree([ours(np.array(steps, np.float64))], [[float(theirs(step)) for step in steps]])


def test_piecewise_rates(agree: Agree) -> None:
    arguments: dict[str, Any] = {"boundaries": [10, 60], "values": [0.05, 0.02, 0.03]}
    ours = fd.schedules.PiecewiseConstantDecay(**arguments)
    theirs = keras.optimizers.schedules.PiecewiseConstantDecay(**arguments)
    agree([ours(np.arange(float(STEPS)))], [[float(theirs(step)) for step in range(STEPS)]])


@pytest.mark.parametrize("optimizer", [("SGD", {"momentum": 0.9}), ("Adam", {}), ("Muon", {})], ids=lambda o: o[0])
def test_schedule_in_training(optimizer: tuple[str, dict[str, Any]], agree: Agree) -> None:
    """The rate of step t takes the optimizer's step counter, and with momentum scales the newest gradient only."""
    (cls, arguments), (schedule, decay) = optimizer, SCHEDULES["exponential"]
    ours = getattr(fd.schedules, schedule)(0.05, **decay)
    theirs = getattr(keras.optimizers.schedules, schedule)(0.05, **decay)
    arguments = arguments | {"weight_decay": 0.1}
    beside(agree, getattr(fd, cls)(ours, **arguments), getattr(keras.optimizers, cls)(theirs, **arguments))


NAMED = ("sgd", "rmsprop", "adagrad", "adadelta", "adam", "adamw", "nadam", "adamax", "ftrl", "lion", "muon")


@pytest.mark.parametrize("name", NAMED)
def test_defaults(name: str) -> None:
    """A name stands for the same optimizer with the same numbers."""
    ours, theirs = fd.optimizers.get(name), keras.optimizers.get(name)
    assert type(ours).__name__ == type(theirs).__name__
    config, own = theirs.get_config(), ours.get_config()
    for key in ("learning_rate_multipliers", "weight_decay_multipliers"):  # Keras has none
        assert own.pop(key, None) is None
    for key, value in own.items():
        expected = config[key]
        assert value == (pytest.approx(expected) if isinstance(expected, float) else expected), key


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        *((getattr(fd.schedules, cls), getattr(keras.optimizers.schedules, cls)) for cls, _ in SCHEDULES.values()),
        (fd.losses.Huber, keras.losses.Huber),
        (fd.losses.BinaryCrossentropy, keras.losses.BinaryCrossentropy),
        (fd.losses.CategoricalCrossentropy, keras.losses.CategoricalCrossentropy),
        (fd.losses.SparseCategoricalCrossentropy, keras.losses.SparseCategoricalCrossentropy),
        (fd.BatchNorm, keras.layers.BatchNormalization),
        (fd.LayerNorm, keras.layers.LayerNormalization),
        (fd.Dropout, keras.layers.Dropout),
        (fd.Dense, keras.layers.Dense),
        (fd.metrics.TopKCategoricalAccuracy, keras.metrics.TopKCategoricalAccuracy),
        (fd.constraints.MaxNorm, keras.constraints.MaxNorm),
        (fd.constraints.MinMaxNorm, keras.constraints.MinMaxNorm),
        (fd.constraints.UnitNorm, keras.constraints.UnitNorm),
        (fd.layers.ActivityRegularization, keras.layers.ActivityRegularization),
        (fd.layers.AlphaDropout, keras.layers.AlphaDropout),
        (fd.layers.GaussianDropout, keras.layers.GaussianDropout),
        (fd.layers.GaussianNoise, keras.layers.GaussianNoise),
        (fd.regularizers.L1, keras.regularizers.L1),
        (fd.regularizers.L2, keras.regularizers.L2),
        (fd.regularizers.L1L2, keras.regularizers.L1L2),
        (fd.regularizers.OrthogonalRegularizer, keras.regularizers.OrthogonalRegularizer),
    ],
    ids=lambda cls: cls.__name__,
)
def test_arguments(ours: Any, theirs: Any) -> None:
    """What fastdense takes in place, Keras takes in the same place, with the same default."""
    # see docs/peers.md
    known = {"kernel_initializer": "auto", "label_smoothing": 0.0, "name": None, "trainable": True}
    theirs_of = inspect.signature(theirs).parameters
    for name, parameter in inspect.signature(ours).parameters.items():
        if name not in theirs_of or parameter.default != theirs_of[name].default:
            assert known.get(name, "the same") == parameter.default, name


def test_short_last_batch_weights_and_validation(agree: Agree) -> None:
    """150 rows in batches of 16: the last one has 6; the loss of an epoch is that of its rows, not of its batches."""
    x, y = rows(n=150)
    made = model()
    other = twin(made)
    options: dict[str, Any] = {
        "batch_size": BATCH,
        "epochs": 5,
        "shuffle": False,
        "verbose": 0,
        "validation_split": 0.2,
    }
    options["sample_weight"] = weights_of(150)
    made.compile(fd.Adam(0.01), "huber")
    other.compile(keras.optimizers.Adam(0.01), "huber")
    ours, theirs = made.fit(x, y, **options).history, other.fit(x, y, **options).history
    agree(made.get_weights(), other.get_weights())
    agree([ours["loss"], ours["val_loss"]], [theirs["loss"], theirs["val_loss"]])


def test_class_weight(agree: Agree) -> None:
    x, y = rows()[0], targets("sparse_categorical_crossentropy")
    layers = [fd.Dense(8, activation="tanh"), fd.Dense(3, activation="softmax")]
    made = model(layers)
    other = twin(made)
    options: dict[str, Any] = {"batch_size": BATCH, "epochs": 3, "shuffle": False, "verbose": 0}
    options["class_weight"] = {0: 1.0, 1: 4.0, 2: 0.5}
    made.compile(fd.SGD(0.1), "sparse_categorical_crossentropy")
    other.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    ours, theirs = made.fit(x, y, **options).history, other.fit(x, y, **options).history
    agree(made.get_weights(), other.get_weights())
    agree([ours["loss"]], [theirs["loss"]])
