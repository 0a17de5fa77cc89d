"""Files of models with losses and metrics of a user's own, and overrides that nothing would call."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastdense as fd

Array = NDArray[Any]
X, Y = np.random.default_rng(0).normal(size=(20, 3)), np.zeros((20, 1))


def squared(y: Array, p: Array) -> tuple[Array, Array]:
    return ((p - y) ** 2).mean(axis=1), 2 * (p - y) / p.shape[1]


class Count(fd.metrics.Collected):
    def reset_state(self) -> None:
        self.rows = 0

    def update_state(self, y_true: Array, y_pred: Array, sample_weight: Array | None) -> None:
        self.rows += len(y_true)

    def result(self) -> int:
        return self.rows


def made(**compiled: Any) -> fd.Model:
    model = fd.Model([fd.Dense(2), fd.Dense(1)], inputs=3, device="reference")
    model.compile("adam", **compiled)
    model.fit(X, Y, epochs=2, verbose=0)
    return model


def test_a_metric_is_asked_once_in_an_epoch() -> None:
    """Its `result` may take long, or draw numbers."""
    asked: list[int] = []

    class Asked(Count):
        def result(self) -> int:
            asked.append(self.rows)
            return len(asked)

    model = made(loss="mse", metrics=[Asked()])
    assert asked == [20, 20]
    assert model.fit(X, Y, batch_size=8, epochs=3, verbose=0).history["Asked"] == [3, 4, 5]
    assert model.evaluate(X, Y, verbose=0)[1] == 6
    assert len(asked) == 6


def test_a_file_names_the_loss(tmp_path: Path) -> None:
    path = tmp_path / "model.fd"
    model = made(loss=fd.losses.Custom(squared), metrics=[Count()])
    model.save(path)
    with pytest.warns(UserWarning, match=r"the loss 'squared' and the metric 'Count' of your own") as caught:
        bare = fd.load(path)
    assert "custom_objects" in str(caught[0].message)
    assert not bare.compiled
    np.testing.assert_array_equal(bare.predict(X), model.predict(X))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = fd.load(path, custom_objects={"squared": squared, "Count": Count})
        other = fd.Model([fd.Dense(2), fd.Dense(1)], inputs=3, device="reference", seed=9)
        other.load_weights(path)
    for one in (model, whole):
        one.fit(X, Y, epochs=3, initial_epoch=2, verbose=0)
    for ours, theirs in zip(whole.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert whole.evaluate(X, Y, verbose=0)[1] == 20
    np.testing.assert_array_equal(other.predict(X), bare.predict(X))


def test_copies() -> None:
    model = made(loss=fd.losses.Custom(squared), metrics=[Count()])
    for twin in (pickle.loads(pickle.dumps(model)), model.clone()):
        assert twin.loss == model.loss
        twin.fit(X, Y, epochs=1, verbose=0)


def test_other_things_that_know_the_loss() -> None:
    model = made(loss=fd.losses.Custom(squared))
    with pytest.raises(ValueError, match="diagnose: the loss is the function 'squared'"):
        model.diagnose(X, Y)
    model.fit(X, (Y > 0).astype(int), class_weight={0: 2.0, 1: 1.0}, epochs=1, verbose=0)
    with pytest.raises(TypeError, match=r"Custom: fn=3 is of type int\. Give a function"):
        fd.losses.Custom(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("base", "argument", "method", "remedy"),
    [
        (fd.losses.MeanSquaredError, (), "call", r"fastdense\.losses\.Custom\(fn\)"),
        (fd.losses.Huber, (), "__call__", r"fastdense\.losses\.Custom\(fn\)"),
        (fd.metrics.MeanSquaredError, (), "update_state", r"fastdense\.metrics\.Collected"),
        (fd.regularizers.L2, (0.1,), "__call__", "no way to give formulas"),
        (fd.Dense, (3,), "call", "no way to give formulas"),
        (fd.optimizers.Adam, (), "update_step", "no way to give formulas"),
    ],
)
def test_an_override_that_nothing_calls(base: Any, argument: tuple[Any, ...], method: str, remedy: str) -> None:
    harmless = type("Mine", (base,), {"__module__": __name__, "helper": lambda self: 1})
    harmless(*argument)
    own = type("Mine", (base,), {"__module__": __name__, method: lambda self, *given: 1})
    with pytest.raises(TypeError, match=rf"Mine: its {method}\(\) would never be called.*{remedy}"):
        own(*argument)


def test_an_override_that_is_called() -> None:
    class Halving(fd.schedules.Schedule):
        def __call__(self, step: Any) -> Any:
            return 0.5 ** np.asarray(step)

    Halving()
