"""Wild cases that were reported against the diagnosis: ten as their owners had them, then the smallest inputs."""

from __future__ import annotations

import numpy as np

import fastdense as fd
from fastdense.regularizers import L2

from . import data
from .case import net as built
from .case import stack
from .goal import Goal, accuracy, fit_of
from .wild_case import Owned, Pair, Register, cut, mended, net, plain, rng

register = Register()
CASES = register.cases
RANK = Goal("rank", 0.9)


def digits_in_order() -> tuple[np.ndarray, np.ndarray, Pair]:
    """Digits with a little noise on the pixels, the training rows sorted by class; the kept ones are mixed."""
    x, y = data.digits(1700)
    x = x / 16 + 0.1 * rng(61).standard_normal(x.shape)
    x, y, kept = cut(x, y, 1300)
    order = np.argsort(y, kind="stable")
    return x[order], y[order], kept


# ---- as their owners had them --------------------------------------------------------------------------------------


@register.sick("NORM_LAYER", goal=fit_of(0.95))
def layernorm_of_one_feature() -> Owned:
    """LayerNorm in front of a net of one input: the loss never moves. The norm of a single number is 0."""
    x = rng(1).uniform(-1, 1, (700, 1))
    x, y, kept = cut(x, np.sin(3 * x), 400)
    layers = [fd.LayerNorm(), fd.Dense(32, "tanh"), fd.Dense(1)]
    return Owned(
        built(layers, x, fd.Adam(0.01), "mse"), x, y, kept, {"epochs": 100},
        lambda: mended(layers[1:], x, y, fd.Adam(0.01), "mse", epochs=100).predict(kept[0]),
    )  # fmt: skip


@register.sick("NORM_LAYER", goal=accuracy(0.9))
def batchnorm_not_settled() -> Owned:
    """BatchNorm with its usual momentum and 40 steps: 1.0 while training, a coin toss in `evaluate`."""
    random = rng(2)
    ids = np.arange(1280) % 2
    w = random.standard_normal(20)
    x = 20 + random.standard_normal((1280, 20)) + 2.5 * np.outer(2 * ids - 1, w / np.linalg.norm(w))
    x, y, kept = cut(x, ids.astype(float)[:, None], 640)

    def model(momentum: float) -> list[fd.layers.Layer]:
        return [fd.Dense(64, "relu"), fd.BatchNorm(momentum), fd.Dense(1, "sigmoid")]

    return Owned(
        built(model(0.99), x, fd.Adam(0.01), "bce"), x, y, kept, {"epochs": 2},
        lambda: mended(model(0.8), x, y, fd.Adam(0.01), "bce", epochs=20).predict(kept[0]),
    )  # fmt: skip


@register.sick("REPRESENTATION", goal=accuracy(0.95))
def odd_or_even() -> Owned:
    """Whether an integer below 1024 is odd, the integer as one scaled number: half of the answers are right."""
    n = rng(3).permutation(1024)
    x, y, kept = cut((n / 1023)[:, None], (n % 2).astype(float)[:, None], 700)

    def bits(x: np.ndarray) -> np.ndarray:
        return (np.rint(x * 1023).astype(int) >> np.arange(10) & 1).astype(float)

    return Owned(
        net([64, 64, 1], x, "adam", "bce", out="sigmoid"), x, y, kept, {"epochs": 100},
        lambda: plain(bits(x), y, loss="bce", epochs=20).predict(bits(kept[0])),
    )  # fmt: skip


@register.sick("REPRESENTATION", goal=fit_of(0.9))
def shop_ids_as_numbers() -> Owned:
    """Sales by the number of the shop, 150 shops in one column, the effect of each its own: R2 0.2."""
    random = rng(4)
    shop = np.r_[np.tile(np.arange(150), 12), random.integers(0, 150, 600)]
    y = (random.standard_normal(150)[shop] + 0.15 * random.standard_normal(len(shop)))[:, None]
    x, y, kept = cut(((shop - 74.5) / 43.3)[:, None], y, 1800)

    def each(x: np.ndarray) -> np.ndarray:
        return np.eye(150)[np.rint(x[:, 0] * 43.3 + 74.5).astype(int)]

    return Owned(
        net([64, 64, 1], x, "adam", "mse"), x, y, kept, {"epochs": 60},
        lambda: mended([fd.Dense(1)], each(x), y, fd.Adam(0.02), "mse", epochs=40).predict(each(kept[0])),
    )  # fmt: skip


@register.sick("REPRESENTATION", goal=fit_of(0.9))
def inputs_with_a_long_tail() -> Owned:
    """Incomes and populations up to 40 standard deviations from the mean; the Normalization in front is not enough."""
    random = rng(5)
    logs = 2.5 * random.standard_normal((2000, 6))
    y = logs @ np.array([0.3, -0.25, 0.2, 0.15, -0.1, 0.1])[:, None] + 0.1 * random.standard_normal((2000, 1))
    x, y, kept = cut(np.exp(logs), y, 1400)
    layers = [fd.Normalization(), *stack(2, 32, "relu"), fd.Dense(1)]
    return Owned(
        built(layers, x, "adam", "mse"), x, y, kept, {"epochs": 60},
        lambda: plain(np.log(x), y).predict(np.log(kept[0])),
    )  # fmt: skip


@register.sick("NOISE", goal=fit_of(0.2), named=True)
def change_of_price() -> Owned:
    """The next change of a random walk from the last ten: R2 0.2 and rising on the training rows. Nothing is there."""
    steps = rng(6).standard_normal(510)
    x = np.lib.stride_tricks.sliding_window_view(steps[:-1], 10).copy()
    x, y, kept = cut(x, steps[10:, None], 300)
    return Owned(net([32, 32, 1], x, "adam", "mse"), x, y, kept, {"epochs": 60})


@register.sick("SPLIT", goal=accuracy(0.93))
def last_fifth_of_sorted_rows() -> Owned:
    """Digits sorted by class and validation_split: 8 and 9 are never trained on, val_accuracy is 0.02."""
    x, y, kept = digits_in_order()
    layers = [fd.Dense(64, "relu"), fd.Dense(10, "softmax")]
    model = built(layers, x, "adam", "sparse_categorical_crossentropy")
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    mixed = rng(62).permutation(len(x))
    return Owned(
        model, x, y, kept, {"epochs": 30, "validation_split": 0.2},
        lambda: mended(layers, x[mixed], y[mixed], "adam", model.loss, epochs=30, validation_split=0.2)
        .predict(kept[0]),
    )  # fmt: skip


@register.sick("OUTLIERS", "REPRESENTATION", goal=RANK)
def nearly_all_targets_near_zero() -> Owned:
    """Reach of posts: most have a few readers, four have millions, and those are nearly all of the variance."""
    random = rng(7)
    x = random.standard_normal((900, 4))
    y = np.exp(4 * (x @ np.array([0.9, -0.7, 0.5, 0.3])) + 0.3 * random.standard_normal(900))[:, None]
    y /= y.std()
    x, y, kept = cut(x, y, 600)
    return Owned(
        net([32, 32, 1], x, "adam", "mse"), x, y, kept, {"epochs": 60},
        lambda: plain(x, np.log(y)).predict(kept[0]),
    )  # fmt: skip


@register.sick("REPRESENTATION", goal=fit_of(0.9))
def thirteen_periods() -> Owned:
    """A sine of thirteen periods: the net stays at 0. Smooth activations find slow waves first."""
    x = rng(8).uniform(-1, 1, (1500, 1))
    x, y, kept = cut(x, np.sin(13 * np.pi * x), 1000)

    def waves(x: np.ndarray) -> np.ndarray:
        angles = np.pi * x * np.arange(1, 21)
        return np.hstack([x, np.sin(angles), np.cos(angles)])

    return Owned(
        net([64, 64, 1], x, "adam", "mse", act="tanh"), x, y, kept, {"epochs": 100},
        lambda: plain(waves(x), y, epochs=30).predict(waves(kept[0])),
    )  # fmt: skip


@register.sick("OVERFIT", goal=accuracy(0.85))
def four_hundred_rows_two_thousand_columns() -> Owned:
    """Expression of 2000 genes for 400 patients, 20 of which matter: 1.0 in training, 0.77 on new patients."""
    random = rng(9)
    ids = random.integers(0, 2, 900)
    x = random.standard_normal((900, 2000))
    x[:, random.permutation(2000)[:20]] += 0.45 * (2 * ids[:, None] - 1)
    x, y, kept = cut(x, ids.astype(float)[:, None], 400)

    def repaired() -> np.ndarray:
        """Only the twenty columns that the training rows single out."""
        score = np.abs((x * (y - y.mean())).mean(axis=0))
        best = np.argsort(score)[-20:]
        layers = [fd.Dense(1, "sigmoid", kernel_regularizer=L2(1e-3))]
        return mended(layers, x[:, best], y, fd.Adam(0.01), "bce", epochs=60).predict(kept[0][:, best])

    model = net([64, 1], x, "adam", "bce", out="sigmoid")
    return Owned(model, x, y, kept, {"epochs": 30, "validation_split": 0.2}, repaired)


# ---- the smallest inputs -------------------------------------------------------------------------------------------


@register.sick("NOISE", "OVERFIT", goal=fit_of(0.2), named=True)
def small_noise_memorised() -> Owned:
    """Normal columns, a normal target that has nothing to do with them, 32-32 ReLU: R2 0.84 on the training rows."""
    random = rng(20)
    x, y, kept = cut(random.standard_normal((500, 5)), random.standard_normal((500, 1)), 300)
    return Owned(net([32, 32, 1], x, fd.Adam(0.005), "mse"), x, y, kept, {"epochs": 100})


@register.sick("NOISE", "OVERFIT", goal=fit_of(0.2), named=True)
def small_noise_with_val_loss() -> Owned:
    """The same, with validation_split: the history holds loss 0.08 and val_loss 1.9."""
    random = rng(21)
    x, y, kept = cut(random.standard_normal((900, 10)), random.standard_normal((900, 1)), 600)
    return Owned(
        net([64, 64, 1], x, fd.Adam(0.005), "mse"), x, y, kept, {"epochs": 100, "validation_split": 0.25}
    )  # fmt: skip


@register.sick("TOO_SLOW", goal=fit_of(0.4))
def small_labels_that_are_columns() -> Owned:
    """600 labels, each a copy of one of 600 sparse columns, SGD at 0.01: every label is answered with no."""
    random = rng(22)
    x = (random.random((3400, 600)) < 0.04).astype(float)
    x, y, kept = cut(x, x[:, random.integers(0, 600, 600)], 3000)
    return Owned(
        net([128, 600], x, fd.SGD(0.01), "bce", out="sigmoid"), x, y, kept, {"epochs": 3},
        lambda: mended([fd.Dense(600, "sigmoid")], x, y, fd.Adam(0.1), "bce", epochs=20).predict(kept[0]),
    )  # fmt: skip


def _one_odd_row(value: float, seed: int) -> Owned:
    random = rng(seed)
    x = random.standard_normal((500, 3))
    x, y, kept = cut(x, x[:, :1].copy(), 300)
    y[150] = value
    good = np.arange(300) != 150
    return Owned(
        net([32, 1], x, "adam", "mse"), x, y, kept, {"epochs": 30},
        lambda: plain(x[good], y[good]).predict(kept[0]),
    )  # fmt: skip


@register.sick("OUTLIERS", goal=fit_of(0.9))
def small_one_target_of_1000() -> Owned:
    """The target is the first column, but for one row of 300, where it is 1000."""
    return _one_odd_row(1000.0, 23)


@register.sick("OUTLIERS", goal=fit_of(0.9))
def small_one_target_of_100() -> Owned:
    """The target is the first column, but for one row of 300, where it is 100."""
    return _one_odd_row(100.0, 24)


@register.sick("REPRESENTATION", goal=fit_of(0.9))
def small_fifty_codes() -> Owned:
    """Fifty codes as one number, forty equal rows each, which agree to 99 %: R2 0.2."""
    random = rng(25)
    ids = np.r_[np.repeat(np.arange(50), 40), np.repeat(np.arange(50), 8)]
    y = (random.standard_normal(50)[ids] + 0.1 * random.standard_normal(len(ids)))[:, None]
    x, y, kept = cut(((ids - 24.5) / 14.4)[:, None], y, 2000)

    def each(x: np.ndarray) -> np.ndarray:
        return np.eye(50)[np.rint(x[:, 0] * 14.4 + 24.5).astype(int)]

    return Owned(
        net([32, 32, 1], x, "adam", "mse"), x, y, kept, {"epochs": 40},
        lambda: mended([fd.Dense(1)], each(x), y, fd.Adam(0.02), "mse", epochs=40).predict(each(kept[0])),
    )  # fmt: skip


@register.sick("NORM_LAYER", goal=fit_of(0.95))
def small_layernorm_on_raw_columns() -> Owned:
    """LayerNorm in front of three columns removes their sum and scale, which the target depends on."""
    x = rng(26).uniform(-1, 1, (1200, 3))
    y = x[:, :1] - x[:, 1:2] + 3 * x.sum(axis=1, keepdims=True)
    x, y, kept = cut(x, y, 800)
    layers = [fd.LayerNorm(), fd.Dense(32, "relu"), fd.Dense(1)]
    return Owned(
        built(layers, x, "adam", "mse"), x, y, kept, {"epochs": 20},
        lambda: mended(layers[1:], x, y, fd.Adam(0.01), "mse", epochs=20).predict(kept[0]),
    )  # fmt: skip


@register.sick("SPLIT", goal=accuracy(0.93))
def small_sorted_digits() -> Owned:
    """Sorted digits and validation_split without any metric; a class weight was advised for the missing class 8."""
    x, y, kept = digits_in_order()
    layers = [*stack(1, 64, "relu"), fd.Dense(10, "softmax")]
    loss = "sparse_categorical_crossentropy"
    mixed = rng(63).permutation(len(x))
    return Owned(
        built(layers, x, "adam", loss), x, y, kept, {"epochs": 30, "validation_split": 0.2},
        lambda: mended(layers, x[mixed], y[mixed], "adam", loss, epochs=30).predict(kept[0]),
    )  # fmt: skip


@register.sick("TRAIN_TEST_MISMATCH", goal=accuracy(0.9), named=True)
def small_other_rows() -> Owned:
    """Trained on standardised columns, diagnosed on the columns as they come: 1000 times larger, around 3000."""
    x = rng(27).standard_normal((800, 5))
    x, y, kept = cut(x, (x[:, 0] + x[:, 1] > 0).astype(float)[:, None], 500)
    raw = (1000 * kept[0] + 3000, kept[1])
    return Owned(
        net([16, 1], x, fd.Adam(0.01), "bce", out="sigmoid"), x, y, raw, {"epochs": 40},
        asked=(1000 * x + 3000, y),
    )  # fmt: skip


@register.sick("NORM_LAYER", goal=fit_of(0.95))
def small_layernorm_of_one() -> Owned:
    """LayerNorm in front of one column, evenly spaced."""
    x = np.linspace(-1, 1, 400)[:, None]
    new = rng(28).uniform(-1, 1, (200, 1))
    layers = [fd.LayerNorm(), fd.Dense(32, "tanh"), fd.Dense(1)]
    return Owned(
        built(layers, x, fd.Adam(0.01), "mse"), x, np.sin(3 * x), (new, np.sin(3 * new)), {"epochs": 100},
        lambda: mended(layers[1:], x, np.sin(3 * x), fd.Adam(0.01), "mse", epochs=100).predict(new),
    )  # fmt: skip


@register.sick("LOSS_CHOICE", goal=fit_of(0.03))
def small_zeros_and_mae() -> Owned:
    """85 % of the targets are 0, and the loss is mae: its best constant is their median, and 0 is what comes out."""
    random = rng(29)
    x = random.standard_normal((24000, 4))
    x, y, kept = cut(x, np.where(random.random(24000) < 0.15, np.exp(x[:, 0]), 0)[:, None], 4000)
    return Owned(
        net([32, 32, 1], x, fd.Adam(0.003), "mae"), x, y, kept, {"epochs": 40},
        lambda: mended(
            [*stack(2, 32, "relu", kernel_regularizer=L2(1e-3)), fd.Dense(1)], x, y, fd.Adam(0.001), "mse", epochs=6
        ).predict(kept[0]),
    )  # fmt: skip
