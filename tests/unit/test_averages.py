"""The average of the weights that optimizers keep, and weight decay that leaves tensors out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fastdense as fd

X = np.random.default_rng(0).normal(size=(12, 3))
Y = X.sum(axis=1, keepdims=True)


def model(device: str = "cpu", optimizer: fd.optimizers.Optimizer | None = None) -> fd.Model:
    made = fd.Model(
        [fd.Dense(4, activation="tanh"), fd.BatchNorm(), fd.Dense(1)], inputs=3, dtype="float64", device=device
    )
    made.compile(optimizer or fd.SGD(0.1, use_ema=True, ema_momentum=0.5), "mse")
    return made


@pytest.mark.parametrize("device", ["cpu", "reference"])
def test_average(device: str) -> None:
    """(((w1 + w2) / 2) + w3) / 2 after three steps, but of moving statistics; fit ends with it in place."""
    made = model(device)
    seen = []
    for _ in range(3):
        made.train_on_batch(X, Y)
        seen.append(made.get_weights())
    one, two, three = seen
    for i, mean in enumerate(made.ema_weights()):
        moving = made.net.tensors[i].name in ("batch_norm/moving_mean", "batch_norm/moving_variance")
        np.testing.assert_allclose(mean, three[i] if moving else one[i] / 4 + two[i] / 4 + three[i] / 2, rtol=1e-12)
    other = model(device)
    other.fit(X, Y, epochs=3, batch_size=12, shuffle=False, verbose=0)
    for ours, its in zip(other.get_weights(), made.ema_weights(), strict=True):
        np.testing.assert_allclose(ours, its, rtol=1e-12)


def test_nets_of_a_population_end_with_theirs() -> None:
    population = fd.fit_many(model(), X, Y, starts=2, epochs=3, batch_size=4, seed=5, verbose=0)
    for i, its in enumerate(population):
        alone = model().clone(seed=5 + i)
        alone.fit(X, Y, epochs=3, batch_size=4, verbose=0)
        for ours, theirs in zip(its.get_weights(), alone.get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_overwriting() -> None:
    made = model(optimizer=fd.Adam(0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2))
    for step in range(4):
        made.train_on_batch(X, Y)
        same = [np.array_equal(a, b) for a, b in zip(made.get_weights(), made.ema_weights(), strict=True)]
        assert all(same) == (step != 2)  # the first average is the weights themselves


def test_files_keep_it(tmp_path: Path) -> None:
    made = model()
    made.train_on_batch(X, Y)
    made.train_on_batch(X, Y)
    made.save(tmp_path / "net")
    for ours, its in zip(fd.load(tmp_path / "net").ema_weights(), made.ema_weights(), strict=True):
        assert np.array_equal(ours, its)


def test_there_must_be_one() -> None:
    with pytest.raises(ValueError, match=r"ema_weights: the optimizer is SGD\(\); it keeps no average.*use_ema=True"):
        model(optimizer=fd.SGD()).ema_weights()
    before = model()
    assert all(np.array_equal(a, b) for a, b in zip(before.ema_weights(), before.get_weights(), strict=True))


def test_excluded_from_weight_decay(tmp_path: Path) -> None:
    """With a learning rate that only decays: biases stay, and so they do after a file."""
    optimizer = fd.AdamW(0.0, 0.1)
    optimizer.exclude_from_weight_decay(var_list=["dense_1/kernel"], var_names=["bias", "gamma"])
    names = [f"dense/{name}" for name in ("kernel", "bias")] + ["dense_1/kernel", "norm/gamma", "norm/beta"]
    assert optimizer.factors("here", names) == {"decay_factors": [1.0, 0.0, 0.0, 0.0, 1.0]}
    assert fd.optimizers.get(optimizer.to_dict()).factors("here", names) == {"decay_factors": [1.0, 0.0, 0.0, 0.0, 1.0]}
    with pytest.raises(ValueError, match=r"Adam.exclude_from_weight_decay: the optimizer has no weight decay"):
        fd.Adam().exclude_from_weight_decay(var_names=["bias"])
    with pytest.raises(ValueError, match=r"Muon.exclude_from_weight_decay: Muon decays all tensors"):
        fd.Muon().exclude_from_weight_decay(var_names=["bias"])


class Seen(fd.callbacks.Callback):
    """What comes behind sees at the end of each epoch."""

    def on_train_begin(self, logs: object = None) -> None:
        self.equal: list[bool] = []

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        pairs = zip(self.model.get_weights(), self.model.ema_weights(), strict=True)
        self.equal.append(all(np.array_equal(a, b) for a, b in pairs))


@pytest.mark.parametrize("swap_on_epoch", [False, True])
def test_swapping_changes_what_is_seen_and_not_the_training(swap_on_epoch: bool) -> None:
    plain, swapped, seen = model(), model(), Seen()
    options = {"epochs": 3, "batch_size": 4, "shuffle": False, "verbose": 0, "validation_data": (X, Y)}
    plain.fit(X, Y, **options)  # type: ignore[arg-type]
    swap = fd.callbacks.SwapEMAWeights(swap_on_epoch)
    history = swapped.fit(X, Y, callbacks=[swap, seen], **options).history  # type: ignore[arg-type]
    assert seen.equal == [swap_on_epoch] * 3
    for ours, its in zip(swapped.get_weights(), plain.get_weights(), strict=True):
        assert np.array_equal(ours, its)
    assert history["val_loss"][-1] == pytest.approx(swapped.evaluate(X, Y, verbose=0))  # that of the average
    with pytest.raises(ValueError, match="ema_weights: the optimizer is SGD"):
        model(optimizer=fd.SGD(0.1)).fit(X, Y, callbacks=[swap])
