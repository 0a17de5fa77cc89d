"""Wild cases of kinds that stand in no other list, each with a healthy twin; not looked at while the rules are written.

What they are about: places on the globe, a column that is known only afterwards, rows that were copied before they were
split, two units in one column, statistics of the wrong rows, growth, and log-odds.
"""

from __future__ import annotations

import numpy as np

import fastdense as fd
from fastdense.regularizers import L1

from .case import net as built
from .case import stack
from .goal import Goal, accuracy, fit_of
from .wild_case import Array, Owned, Register, cut, mended, net, plain, rng

register = Register()
CASES = register.cases
RANK = Goal("rank", 0.95)


# ---- places ----------------------------------------------------------------------------------------------------------


def _places(rows: int, seed: int) -> tuple[Array, Array]:
    """Latitude and longitude within one town, and the noise of traffic there in decibel, standardised."""
    random = rng(seed)
    place = np.array([48.137, 11.575]) + random.uniform(-0.05, 0.05, (rows, 2))
    east, north = (place - [48.137, 11.575]).T * 25
    y = np.exp(-((east - 0.4) ** 2) * 4) + 0.7 * np.sin(3 * north) - 0.4 * east * north
    return place, (y - y.mean())[:, None] / y.std() + 0.1 * random.standard_normal((rows, 1))


@register.sick("INPUT_SCALE", goal=fit_of(0.85))
def degrees_of_one_town() -> Owned:
    """Latitude near 48.1 and longitude near 11.6, as the receiver gives them: all places of a town are one number."""
    x, y = _places(1600, 301)
    x, y, kept = cut(x, y, 1200)
    return Owned(  # by hand: standardised, 0.97
        net([64, 64, 1], x, "adam", "mse"), x, y, kept, {"epochs": 40, "validation_split": 0.2},
        lambda: plain(x, y, epochs=80).predict(kept[0]),
    )  # fmt: skip


@register.healthy(goal=fit_of(0.85))
def kilometres_from_the_town_hall() -> Owned:
    """The same places as kilometres east and north of the centre."""
    x, y = _places(1600, 302)
    x = (x - [48.137, 11.575]) * [111.0, 74.0]
    x, y, kept = cut(x, y, 1200)
    return Owned(net([64, 64, 1], x, fd.Adam(0.005), "mse"), x, y, kept, {"epochs": 80, "validation_split": 0.2})


# ---- a column that is known only afterwards --------------------------------------------------------------------------


def _orders(rows: int, seed: int) -> tuple[Array, Array]:
    random = rng(seed)
    x = random.standard_normal((rows, 5))
    late = (x[:, 0] + 0.8 * x[:, 1] - 0.6 * x[:, 2] + 0.5 * random.standard_normal(rows) > 0).astype(float)
    return np.column_stack([x, np.where(late > 0, random.gamma(3, 1.0, rows), 0)]), late[:, None]


@register.sick("TRAIN_TEST_MISMATCH", goal=accuracy(0.82))
def days_of_delay_are_not_known_yet() -> Owned:
    """Will an order be late? "Days of delay" is filled in for old orders, 0 for the new ones: 1.0, then 0.5."""
    x, y = _orders(1700, 303)
    x, y, kept = cut(x, y, 1000)
    kept[0][:, 5] = 0
    shown = (kept[0][:300].copy(), kept[1][:300].copy())
    without = [0, 1, 2, 3, 4]
    return Owned(  # by hand: without that column, 0.88
        net([32, 32, 1], x, fd.Adam(0.003), "bce", out="sigmoid"), x, y, (kept[0][300:], kept[1][300:]),
        {"epochs": 30, "validation_data": shown},
        lambda: mended([fd.Dense(16, "tanh"), fd.Dense(1, "sigmoid")], x[:, without], y, fd.Adam(0.003), "bce",
                       epochs=15).predict(kept[0][300:, without]),
        shown={"validation_data": shown},
    )  # fmt: skip


@register.healthy(goal=accuracy(0.9), trap=True)
def a_column_that_nearly_says_it() -> Owned:
    """One column nearly is the answer, in new rows as well: a probe of the same laboratory."""
    random = rng(304)
    x = random.standard_normal((1700, 5))
    ill = (x[:, 0] + 0.5 * random.standard_normal(1700) > 0.8).astype(float)
    x = np.column_stack([x, np.where(ill > 0, random.gamma(3, 1.0, 1700), 0) + 0.05 * random.standard_normal(1700)])
    x, y, kept = cut(x, ill[:, None], 1000)
    model = net([32, 32, 1], x, fd.Adam(0.003), "bce", out="sigmoid")
    held = {"validation_data": (kept[0][:300], kept[1][:300])}
    return Owned(model, x, y, kept, {"epochs": 30, **held}, shown=held)


# ---- rows that were copied -------------------------------------------------------------------------------------------


def _patients(rows: int, seed: int, columns: int = 20) -> tuple[Array, Array]:
    random = rng(seed)
    x = random.standard_normal((rows, columns))
    truth = x[:, 0] - 0.8 * x[:, 1] + 0.6 * x[:, 2]
    return x, (truth + 0.9 * random.standard_normal(rows) > 0).astype(float)[:, None]


@register.sick("SPLIT", "OVERFIT", goal=accuracy(0.71))
def copied_before_the_split() -> Owned:
    """160 patients, "augmented" to 800 rows by copies and mixed, then validation_split=0.25: 1.0, new ones 0.65."""
    random = rng(305)
    x, y = _patients(960, 306, 100)
    x, y, kept = cut(x, y, 160)
    copies = random.permutation(np.tile(np.arange(160), 5))
    return Owned(  # by hand: no copies, a linear net with an L1 penalty, 0.79
        net([64, 64, 1], x, fd.Adam(0.003), "bce", out="sigmoid"), x[copies], y[copies], kept,
        {"epochs": 60, "validation_split": 0.25},
        lambda: mended([fd.Dense(1, "sigmoid", kernel_regularizer=L1(0.03))], x, y, fd.Adam(0.01), "bce", epochs=80)
        .predict(kept[0]),
    )  # fmt: skip


@register.healthy(goal=accuracy(0.74), trap=True)
def rare_rows_copied_after_the_split() -> Owned:
    """1 row in 5 is of class 1 and stands in the training rows three times; the validation rows are apart from them."""
    x, y = _patients(4000, 307)
    keep = (y[:, 0] == 0) | (rng(308).random(4000) < 0.4)
    x, y = x[keep], y[keep]
    x, y, kept = cut(x, y, 2000)
    again = np.flatnonzero(y[:, 0] == 1)
    order = rng(309).permutation(np.r_[np.arange(2000), again])
    model = net([8, 1], x, fd.Adam(0.002), "bce", out="sigmoid", act="tanh")
    return Owned(model, x[order], y[order], kept, {"epochs": 10, "validation_data": (kept[0][:300], kept[1][:300])})


# ---- units -----------------------------------------------------------------------------------------------------------


def _beams(rows: int, seed: int) -> tuple[Array, Array]:
    """Length of a beam in metres, its load and its height; how far it bends, standardised."""
    random = rng(seed)
    length, load, height = random.uniform(1, 3, rows), random.uniform(0.5, 1.5, rows), random.uniform(0.8, 1.2, rows)
    y = load * length**3 / height**3
    return np.column_stack([length, load, height]), ((y - 10) / 9)[:, None]


@register.sick("REPRESENTATION", "INPUT_SCALE", goal=fit_of(0.9))
def metres_and_millimetres_in_one_column() -> Owned:
    """Two plants wrote the length of a beam, one in metres and one in millimetres, into one column."""
    x, y = _beams(1800, 310)
    x[:, 0] *= np.where(rng(311).random(1800) < 0.4, 1000.0, 1.0)
    x, y, kept = cut(x, y, 1300)

    def same(x: Array) -> Array:
        return np.column_stack([np.where(x[:, 0] > 100, x[:, 0] / 1000, x[:, 0]), x[:, 1:]])

    layers = [fd.Normalization(), *stack(2, 32, "relu"), fd.Dense(1)]
    return Owned(  # by hand: all in metres, 1.00
        built(layers, x, fd.Adam(0.003), "mse"), x, y, kept, {"epochs": 60, "validation_split": 0.2},
        lambda: plain(same(x), y).predict(same(kept[0])),
    )  # fmt: skip


@register.healthy(goal=fit_of(0.9))
def all_lengths_in_metres() -> Owned:
    """The same law with all lengths in metres: it grows with the third power and is monotone in each column."""
    x, y = _beams(1800, 312)
    x, y, kept = cut(x, y, 1300)
    layers = [fd.Normalization(), *stack(2, 32, "relu"), fd.Dense(1)]
    return Owned(built(layers, x, fd.Adam(0.003), "mse"), x, y, kept, {"epochs": 60, "validation_split": 0.2})


# ---- statistics of which rows ----------------------------------------------------------------------------------------


def _batches(seed: int) -> tuple[Array, Array, Array, Array]:
    """Two production batches, the second one warmer in all columns."""
    random = rng(seed)
    old, new = random.standard_normal((1000, 4)), 0.6 * random.standard_normal((600, 4)) + np.array([1.5, -1, 1, 0.5])

    def quality(x: Array) -> Array:
        return (x[:, :1] + 0.6 * x[:, 1:2] + 0.3 * x[:, 2:3] * x[:, 3:]) + 0.1 * random.standard_normal((len(x), 1))

    return old, quality(old), new, quality(new)


@register.sick("TRAIN_TEST_MISMATCH", goal=fit_of(0.9), named=True)
def each_file_standardised_by_itself() -> Owned:
    """The new batch was standardised by its own mean and deviation, so that what sets it apart is gone."""
    x, y, new, new_y = _batches(313)
    x, new = ((part - part.mean(axis=0)) / part.std(axis=0) for part in (x, new))
    model, held = net([32, 32, 1], x, fd.Adam(0.003), "mse"), {"validation_data": (new[:300], new_y[:300])}
    return Owned(model, x, y, (new[300:], new_y[300:]), {"epochs": 60, **held}, shown=held)


@register.healthy(goal=fit_of(0.7), trap=True)
def a_new_batch_standardised_as_the_old() -> Owned:
    """The new batch with the mean and deviation of the old one: its columns are elsewhere, and the net knows them."""
    x, y, new, new_y = _batches(314)
    mean, sd = x.mean(axis=0), x.std(axis=0)
    x, new = (x - mean) / sd, (new - mean) / sd
    model, held = net([16, 1], x, fd.Adam(0.003), "mse", act="tanh"), {"validation_data": (new[:300], new_y[:300])}
    return Owned(model, x, y, (new[300:], new_y[300:]), {"epochs": 60, **held}, shown=held)


# ---- growth and log-odds ---------------------------------------------------------------------------------------------


def _cases(rows: int, seed: int) -> tuple[Array, Array]:
    """Day of an outbreak, how many people meet, fraction of vaccinated people; cases, which grow from 1 to millions."""
    random = rng(seed)
    day, meet, immune = random.uniform(0, 90, rows), random.uniform(0.5, 1.5, rows), random.uniform(0, 0.5, rows)
    growth = 0.16 * meet * (1 - immune)
    return np.column_stack([day, meet, immune]), np.exp(growth * day + 0.05 * random.standard_normal(rows))[:, None]


@register.sick("REPRESENTATION", "TARGET_SCALE", goal=RANK)
def cases_that_grow_from_day_to_day() -> Owned:
    """Cases of an outbreak by day and place: the last weeks hold all of the squared error, the others are guessed."""
    x, y = _cases(1600, 315)
    x, y, kept = cut(x, y, 1100)
    layers = [fd.Normalization(), *stack(2, 32, "relu"), fd.Dense(1)]
    return Owned(  # by hand: the logarithm of the target, 1.00
        built(layers, x, fd.Adam(0.003), "mse"), x, y, kept, {"epochs": 60, "validation_split": 0.2},
        lambda: plain(x, np.log(y)).predict(kept[0]),
    )  # fmt: skip


@register.healthy(goal=fit_of(0.95))
def logarithm_of_the_cases() -> Owned:
    """The same outbreak with the logarithm of the cases as target."""
    x, y = _cases(1600, 316)
    x, y, kept = cut(x, np.log(y), 1100)
    layers = [fd.Normalization(), *stack(2, 32, "relu"), fd.Dense(1)]
    return Owned(built(layers, x, fd.Adam(0.003), "mse"), x, y, kept, {"epochs": 60, "validation_split": 0.2})


def _odds(rows: int, seed: int) -> tuple[Array, Array]:
    """Four answers of a survey, and the log-odds that a model of an agency gives for a party."""
    x = rng(seed).standard_normal((rows, 4))
    return x, 1.5 * x[:, :1] - np.abs(x[:, 1:2]) + 0.8 * x[:, 2:3] * x[:, 3:]


@register.sick("OUTPUT_RANGE", goal=fit_of(0.9))
def log_odds_and_a_sigmoid() -> Owned:
    """Log-odds from -6 to 5 as targets of a sigmoid, since "it is a probability": negative ones are out of reach."""
    x, y = _odds(1600, 317)
    x, y, kept = cut(x, y, 1100)
    return Owned(  # by hand: a linear output, 0.99
        net([32, 32, 1], x, fd.Adam(0.003), "mse", out="sigmoid"), x, y, kept,
        {"epochs": 60, "validation_split": 0.2},
        lambda: plain(x, y).predict(kept[0]),
    )  # fmt: skip


@register.healthy(goal=accuracy(0.85), trap=True)
def one_sigmoid_per_class() -> Owned:
    """One-hot classes with one sigmoid each and binary cross-entropy: unusual, and the largest output is right."""
    random = rng(318)
    ids = random.integers(0, 4, 1600)
    x = 1.5 * random.standard_normal((4, 8))[ids] + 0.9 * random.standard_normal((1600, 8))
    x, y, kept = cut(x, np.eye(4)[ids], 1100)
    model = net([24, 4], x, fd.Adam(0.003), "bce", out="sigmoid", act="tanh")
    return Owned(model, x, y, kept, {"epochs": 30, "validation_split": 0.2})
