"""The training loop: an epoch that is longer than a call of the engine is the same epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense.optimizers import Optimizer
from fastdense.training import loop

RNG = np.random.RandomState(0)
X = RNG.rand(53, 4).astype(np.float32)
Y = RNG.rand(53, 2).astype(np.float32)
OPTIONS: list[dict[str, Any]] = [
    {},
    {"validation_split": 0.2},
    {"validation_data": (X[:9], Y[:9]), "probes": True},
    {"probes": True, "shuffle": False, "callbacks": [fd.callbacks.TerminateOnNaN()]},
    {"callbacks": [fd.callbacks.EarlyStopping(monitor="loss", patience=1, restore_best_weights=True)]},
    {"callbacks": [fd.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)]},
    {"starts": 5},
]


def trained(device: str, optimizer: Any, **options: Any) -> tuple[Any, ...]:
    """Everything that two fits leave behind."""
    layers = [fd.Dense(6, "tanh"), fd.BatchNorm(), fd.Dropout(0.2), fd.Dense(2)]
    model = fd.Model(layers, inputs=4, seed=3, device=device)
    model.compile(optimizer, "mse", metrics=["mae"])
    histories = [model.fit(X, Y, batch_size=4, epochs=3, verbose=0, **options) for _ in range(2)]
    return (
        [array.tobytes() for array in model.get_weights()],
        [array.tobytes() for slot in model.runner.slots() for array in slot],
        (model.runner.step, model.runner.epochs_trained),
        [history.history for history in histories],
        [None if h.probes is None else (h.probes.steps.tolist(), h.probes.epochs.tolist()) for h in histories],
        [None if h.probes is None else [v.mean.tobytes() for v in h.probes.layers] for h in histories],
    )


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "+".join(o) or "plain")
@pytest.mark.parametrize("steps", [1, 3, 5])
def test_an_epoch_in_several_calls_is_the_same(
    device: str, options: dict[str, Any], steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate = fd.schedules.CosineDecay(0.01, 60)
    asked: list[int] = []
    rates = Optimizer.learning_rates

    def counted(self: Optimizer, first_step: int, n: int) -> Any:
        asked.append(n)
        return rates(self, first_step, n)

    whole = trained(device, fd.Adam(rate), **options)
    monkeypatch.setattr(Optimizer, "learning_rates", counted)
    monkeypatch.setattr(loop, "CALL_STEPS", steps)
    assert trained(device, fd.Adam(rate), **options) == whole
    single = asked if "starts" not in options else [n for n in asked if n <= steps]
    assert single and max(single) <= steps


def test_the_batch_that_is_not_finite_is_counted_from_the_start_of_the_epoch(
    device: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    y = Y.astype(np.float64)
    y[22] = 1e200  # its square is infinite
    ends = []
    for steps in (loop.CALL_STEPS, 4, 5, 1):  # of one call: it is the second step of one, or the first
        monkeypatch.setattr(loop, "CALL_STEPS", steps)
        model = fd.Model([fd.Dense(2)], inputs=4, device=device, dtype="float64")
        model.compile("sgd", "mse")
        history = model.fit(X, y, batch_size=4, epochs=3, verbose=0, shuffle=False,
                            callbacks=[fd.callbacks.TerminateOnNaN()])  # fmt: skip
        ends.append((capsys.readouterr().out, model.runner.step, history.history))
    assert ends[0][:2] == ("Batch 5: Invalid loss, terminating training\n", 6)
    assert all(end == ends[0] for end in ends)


def test_memory_does_not_grow_with_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fastdense._core")
    x, y = np.broadcast_to(np.uint8(3), (2**34, 1)), np.broadcast_to(np.uint8(1), (2**34, 1))
    asked: list[int] = []
    rates = Optimizer.learning_rates

    def interrupted(self: Optimizer, first_step: int, n: int) -> Any:
        asked.append(n)
        assert n <= loop.CALL_STEPS
        if len(asked) == 3:
            raise KeyboardInterrupt
        return rates(self, first_step, n)

    monkeypatch.setattr(Optimizer, "learning_rates", interrupted)
    monkeypatch.setattr(loop, "CALL_STEPS", 1 << 12)
    model = fd.Model([fd.Dense(1)], inputs=1)
    model.compile("sgd", "mse")
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, verbose=0)
    assert asked == [1 << 12] * 3 and model.runner.step == 2 << 12 and model.runner.epochs_trained == 0
    assert loop.CALL_STEPS * 8 <= 1 << 25  # bytes
