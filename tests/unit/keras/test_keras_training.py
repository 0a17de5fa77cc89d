"""The face's frozen layers, constraints, schedules and optimizers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastdense import keras

X = np.random.default_rng(0).normal(size=(64, 3))
Y = X.sum(axis=1, keepdims=True)


def model(**options: Any) -> Any:
    layers = keras.layers
    return keras.Sequential([layers.Dense(4, activation="tanh", input_shape=(3,), **options), layers.Dense(1)])


def test_trainable() -> None:
    made = model(trainable=False)
    made.compile("adam", "mse")
    before = made.get_weights()
    made.fit(X, Y, epochs=1, verbose=0)
    changed = [not np.array_equal(a, b) for a, b in zip(before, made.get_weights(), strict=True)]
    assert changed == [False, False, True, True]
    made.trainable = False
    assert [layer.trainable for layer in made.layers] == [False, False] and not made.trainable
    made.compile("adam", "mse")
    before = made.get_weights()
    made.fit(X, Y, epochs=1, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, made.get_weights(), strict=True))
    assert "Trainable params: 0" in "".join(_lines(made))


def flags(made: Any) -> tuple[bool, list[bool], list[bool], int]:
    """Whether the model says that it is trained, each layer, each weight; and the number of trained weights."""
    return (
        made.trainable,
        [layer.trainable for layer in made.layers],
        [weight.trainable for weight in made.weights],
        len(made.trainable_weights),
    )


def moved(made: Any) -> list[bool]:
    """Compile and train, and tell which weights that has changed."""
    made.compile("sgd", "mse")
    before = made.get_weights()
    made.fit(X, Y, epochs=1, verbose=0)
    return [not np.array_equal(a, b) for a, b in zip(before, made.get_weights(), strict=True)]


# The expected values of the next tests are Keras 3's.


def test_a_model_has_a_flag_of_its_own() -> None:
    made = model()
    made.trainable = False
    assert flags(made) == (False, [False] * 2, [False] * 4, 0)
    made.layers[1].trainable = True
    assert flags(made) == (False, [False, True], [False, False, True, True], 0) and not any(moved(made))
    made.trainable = True
    assert flags(made) == (True, [True] * 2, [True] * 4, 4) and all(moved(made))
    for layer in made.layers:
        layer.trainable = False
    assert flags(made) == (True, [False] * 2, [False] * 4, 0) and not any(moved(made))
    only_flag = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)], trainable=False)
    assert flags(only_flag) == (False, [True], [True] * 2, 0) and not any(moved(only_flag))


def test_frozen_parts_of_a_model() -> None:
    layers = keras.layers
    base = keras.Sequential([keras.Input((3,)), layers.Dense(4), layers.Dense(5)], name="base")
    base.trainable = False
    base.layers[1].trainable = True
    assert flags(base) == (False, [False, True], [False, False, True, True], 0)
    made = keras.Sequential([keras.Input((3,)), base, layers.Dense(1)])
    assert flags(made) == (True, [False, True], [False] * 2 + [True] * 4, 4)
    assert moved(made) == [False] * 2 + [True] * 4
    assert "Trainable params: 31" in "".join(_lines(made))


def test_frozen_layers_in_branches(tmp_path: Path) -> None:
    layers = keras.layers
    start = keras.Input((3,))
    joined = layers.Add()([start, layers.Dense(3, name="a")(start)])
    made = keras.Model(start, layers.Dense(1)(layers.Concatenate()([layers.Dense(2)(joined), joined])))
    made.get_layer("a").trainable = False
    assert moved(made) == [False] * 2 + [True] * 4
    for other in (keras.Model.from_config(made.get_config()), keras.models.clone_model(made)):
        assert flags(other) == flags(made)
    made.save(tmp_path / "a.keras")
    loaded = keras.models.load_model(tmp_path / "a.keras")
    assert flags(loaded) == flags(made) and moved(loaded) == [False] * 2 + [True] * 4
    loaded.get_layer("a").trainable = True
    assert all(moved(loaded))
    loaded.trainable = False
    assert not any(moved(loaded))
    assert not keras.Model.from_config(loaded.get_config()).trainable


def test_frozen_normalization_of_an_array() -> None:
    layer = keras.layers.BatchNormalization(trainable=False)
    np.testing.assert_allclose(layer(X, training=True), X / np.sqrt(1.001), rtol=1e-5)
    assert len(layer.trainable_weights) == 0 and len(layer.non_trainable_weights) == 4


def test_a_weight_is_frozen_by_its_layer() -> None:
    made = model()
    with pytest.raises(AttributeError, match=r"dense.*/kernel: .* layer\.trainable = False"):
        made.layers[0].kernel.trainable = False


def _lines(made: Any) -> list[str]:
    found: list[str] = []
    made.summary(print_fn=found.append)
    return found


def test_constraints() -> None:
    constraints = keras.constraints
    made = model(kernel_constraint=constraints.MaxNorm(0.3), bias_constraint="non_neg")
    made.compile("adam", "mse")
    made.fit(X, Y, epochs=3, verbose=0)
    kernel, bias = made.layers[0].get_weights()
    assert np.linalg.norm(kernel, axis=0).max() <= 0.3 and bias.min() >= 0
    assert constraints.max_norm(3) == constraints.maxnorm(3) == constraints.MaxNorm(3)
    assert constraints.get("unit_norm") == constraints.UnitNorm()


class Warmup(keras.optimizers.schedules.LearningRateSchedule):
    """As users write them: one step at a time, branches, arguments kept by other names."""

    def __init__(self, width: int, warmup: int = 3) -> None:
        self.d, self.warmup_steps = float(width), warmup

    def __call__(self, step: Any) -> Any:
        if step < self.warmup_steps:
            return 0.01 * (step + 1)
        return min(self.d**-0.5, 0.1 * step**-0.5)


def test_a_schedule_of_the_users() -> None:
    rates = keras.optimizers.SGD(Warmup(4)).learning_rates(1, 4)
    np.testing.assert_allclose(rates, [0.02, 0.03, 0.1 * 3**-0.5, 0.05])
    made = model()
    made.compile(keras.optimizers.SGD(learning_rate=Warmup(4)), "mse")
    made.fit(X, Y, epochs=1, verbose=0)
    with pytest.raises(NotImplementedError, match=r"must define __call__\(step\)"):
        keras.optimizers.SGD(keras.optimizers.schedules.LearningRateSchedule()).learning_rates(0, 1)


def test_a_function_as_learning_rate() -> None:
    given = iter([0.1, 0.2, 0.3])
    assert keras.optimizers.Adam(lambda: next(given)).learning_rates(0, 3).tolist() == [0.1, 0.2, 0.3]
    assert keras.optimizers.Adam(learning_rate=lambda: 0.5).learning_rates(0, 1).tolist() == [0.5]


def test_schedules_take_a_name() -> None:
    schedules = keras.optimizers.schedules
    assert schedules.ExponentialDecay(0.1, 10, 0.5, name="decay")(20) == pytest.approx(0.025)
    assert schedules.PiecewiseConstantDecay([1], [0.1, 0.2])(2) == 0.2


def test_optimizers() -> None:
    optimizers = keras.optimizers
    for optimizer in (
        optimizers.Adamax(0.01),
        optimizers.Ftrl(0.5),
        optimizers.Adam(use_ema=True, name="mean"),
        "adamax",
    ):
        made = model()
        made.compile(optimizer, "mse")
        loss = made.fit(X, Y, epochs=3, verbose=0).history["loss"]
        assert loss[-1] < loss[0]
    with pytest.raises(TypeError, match=r"gradient_accumulation_steps=4 is not offered. .* Multiply batch_size by it"):
        optimizers.Adam(gradient_accumulation_steps=4)


def test_layers() -> None:
    layers = keras.layers
    made = keras.Sequential(
        [
            layers.Dense(8, input_shape=(3,)),
            layers.BatchNormalization(center=False, gamma_initializer="uniform", moving_mean_initializer="ones"),
            layers.GaussianNoise(0.1),
            layers.GaussianDropout(0.1),
            layers.AlphaDropout(0.1, seed=3),
            layers.LayerNormalization(scale=False, beta_regularizer="l2"),
            layers.UnitNormalization(),
            layers.ActivityRegularization(l2=0.01),
            layers.Activation("hard_swish"),
            layers.Dense(1),
        ]
    )
    made.compile("adam", "mse")
    made.fit(X, Y, epochs=2, verbose=0)
    gamma, mean, variance = made.layers[1].get_weights()
    assert gamma.shape == mean.shape == variance.shape == (8,) and len(made.layers[5].get_weights()) == 1
