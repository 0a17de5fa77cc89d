"""The search for a representation: what it finds, what it leaves alone, and that the treated net holds it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense.diagnose import representations, rules, work
from fastdense.diagnose.representations import Choice, Representation, Sample, heavy_tails, search, two_sizes
from fastdense.diagnose.task import read_task

Array = Any


def found(x: Array, y: Array, loss: str = "mse") -> Representation:
    y = y.reshape(len(y), -1)
    sample = Sample.of(read_task(y, fd.losses.get(loss), "linear", y.shape[1], []), x, y)
    assert sample is not None
    made = search(sample)
    assert made is not None
    return made


def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def test_codes() -> None:
    at = rng().integers(0, 80, 1600)
    y = rng().normal(size=80)[at] + 0.1 * rng().normal(size=1600)
    x = np.column_stack([rng().normal(size=1600), 1000.0 * at])
    made = found(x, y)
    assert list(made.choice.codes) == [1] and not made.choice.tails and not made.choice.periods
    assert made.as_given > 0.8 and made.error < 0.05
    (layer,) = made.choice.layers()
    assert layer.encode(x).shape == (1600, 81)


def test_codes_of_classes() -> None:
    at = rng().integers(0, 50, 2000)
    made = found(at[:, None].astype(float), rng().integers(0, 4, 50)[at], "sparse_categorical_crossentropy")
    assert list(made.choice.codes) == [0] and made.error < 0.01


@pytest.mark.parametrize("scale", [1.0, 1 / 1023])
def test_the_lowest_bit(scale: float) -> None:
    n = rng().permutation(1024)[:800]
    made = found(n[:, None] * scale, (n % 2).astype(float), "binary_crossentropy")
    ((column, frequencies),) = made.choice.periods.items()
    assert column == 0 and frequencies == pytest.approx([0.5 / scale])
    assert made.error == 0 and made.as_given > 0.9


def test_every_third_number() -> None:
    n = rng().permutation(900)[:700].astype(float)
    made = found(n[:, None], (n % 3 == 0).astype(float), "binary_crossentropy")
    assert made.choice.periods[0][0] == pytest.approx(1 / 3, rel=1e-4) and made.error < 0.01


def test_two_waves_of_one_column() -> None:
    x = rng().uniform(-50, 50, (1500, 2))
    y = np.sin(2 * np.pi * 0.13 * x[:, 1]) + 0.6 * np.cos(2 * np.pi * 0.31 * x[:, 1]) + 0.01 * x[:, 0]
    made = found(x, y)
    assert list(made.choice.periods) == [1]
    assert sorted(made.choice.periods[1]) == pytest.approx([0.13, 0.31], rel=1e-2)
    assert made.error < 0.02


@pytest.mark.parametrize("given", ["raw", "standardized", "negative"])
def test_logarithms(given: str) -> None:
    z = rng().normal(size=(1500, 3))
    y = z @ [1.0, -0.5, 0.2]
    x = np.exp(3 * z)
    if given == "standardized":
        x = (x - x.mean(axis=0)) / x.std(axis=0)
    made = found(-x if given == "negative" else x, y)
    assert list(made.choice.tails) == [0, 1, 2]
    assert made.error < 0.05 < 0.3 < made.as_given
    offsets = np.array([offset for offset, _ in made.choice.tails.values()])
    assert (offsets == 0).all() if given != "standardized" else (np.abs(offsets - x.min(axis=0)) < 1e-3).all()


def test_columns_over_decades_without_outliers() -> None:
    x = 10 ** rng().uniform(-8, 0, (1000, 2))
    assert heavy_tails(x) == [0, 1]
    assert found(x, np.tanh(np.log10(x[:, 0]) + 4)).error < 0.02


def test_several_kinds_at_once() -> None:
    random = rng()
    at, z, t = random.integers(0, 30, 3000), random.normal(size=3000), random.uniform(0, 40, 3000)
    y = random.normal(size=30)[at] + z + np.sin(2 * np.pi * t / 3)
    x = np.column_stack([t, at, np.exp(3 * z)])
    made = found(x, y)
    assert (list(made.choice.tails), list(made.choice.codes), list(made.choice.periods)) == ([2], [1], [0])
    assert made.error < 0.05
    layers = made.choice.layers()
    assert [type(layer).__name__ for layer in layers] == ["Log1p", "Periodic", "OneHot"]
    assert layers[-1].columns == [3]  # column 1, behind the sine and the cosine of column 0


def test_a_wave_times_another_column() -> None:
    turn, load = rng().uniform(0, 24, 2000), rng().uniform(-1, 1, (2000, 2))
    made = found(np.column_stack([load[:, 0], turn, load[:, 1]]), load[:, 0] * np.sin(2 * np.pi * turn))
    ((column, frequencies),) = made.choice.periods.items()
    assert column == 1 and frequencies == pytest.approx([1.0], rel=1e-3)
    assert made.as_given > 0.9 and made.error < 0.02


def test_two_units_in_one_column() -> None:
    metres = rng().uniform(1, 3, 1500)
    x = np.column_stack([np.where(rng().random(1500) < 0.4, 1000 * metres, metres), rng().normal(size=1500)])
    assert two_sizes(x).tolist() == [True, False]
    assert not two_sizes(np.column_stack([metres, np.exp(3 * x[:, 1])])).any()
    assert not two_sizes(np.where(x[:, :1] > 100, 5000.0, x[:, :1])).any()  # one number for all that is missing
    assert list(found(x, np.log(metres) + 0.2 * x[:, 1]).choice.columns) == [0]


def test_what_a_search_does_is_charged() -> None:
    x = rng().normal(size=(2000, 6))
    y = x[:, :1] + rng().normal(size=(2000, 1))
    sample = Sample.of(read_task(y, fd.losses.get("mse"), "linear", 1, []), x, y)
    assert sample is not None
    spent = work.Work()
    search(sample, spent)
    once = representations.fitting_seconds(2000, 6, 1)
    assert once < spent.spent < representations.FITS * once


def test_a_number_for_missing_values_is_no_tail() -> None:
    x = rng().normal(size=(600, 2))
    x[:60, 0] = -9999
    assert heavy_tails(x) == []
    x[0, 1] = -9999  # a single one may be a tail
    assert heavy_tails(x) == [1]


@pytest.mark.parametrize("kind", ["noise", "smooth", "ordered", "tail beside", "few rows per code", "wide"])
def test_nothing_where_nothing_is_gained(kind: str) -> None:
    random = rng()
    x = random.normal(size=(1200, 3))
    y = np.sin(x[:, 0]) + x[:, 1]
    if kind == "noise":
        y = random.normal(size=1200)
    elif kind == "ordered":
        x[:, 0] = np.rint(10 * x[:, 0])
        y = np.sin(x[:, 0] / 10) + x[:, 1]
    elif kind == "tail beside":
        x[:, 2] = np.exp(3 * x[:, 2])
    elif kind == "few rows per code":
        x[:, 0] = random.permutation(np.repeat(np.arange(600), 2))
        y = random.normal(size=600)[x[:, 0].astype(int)]
    elif kind == "wide":
        x = np.column_stack([random.normal(size=(1200, 150)), np.exp(3 * random.normal(size=1200))])
        y = x[:, :50].sum(axis=1) + random.normal(size=1200)
    made = found(x, y)
    assert made.choice == Choice() and made.error == made.as_given


def test_pixels_are_not_searched() -> None:
    x = np.where(rng().random((800, 200)) < 0.4, rng().integers(0, 256, (800, 200)), 0).astype(float)
    sample = Sample.of(read_task(x[:, :1] / 7, fd.losses.MeanSquaredError(), "linear", 1, []), x, x[:, :1] / 7)
    assert sample is not None and search(sample) is None


def test_few_rows_are_not_judged() -> None:
    y = np.arange(20.0)[:, None]
    assert Sample.of(read_task(y + 0.5, fd.losses.MeanSquaredError(), "linear", 1, []), y, y) is None


def test_the_search_is_a_function_of_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    x = rng().uniform(-1, 1, (4000, 2))
    y = np.sin(40 * x[:, 0])
    first = found(x, y)
    np.random.seed(5)  # which nothing reads
    assert found(x, y) == first
    sizes: list[int] = []
    plain = representations._kernel_ridge
    monkeypatch.setattr(representations, "_kernel_ridge", lambda z, *rest: (sizes.append(len(z)), plain(z, *rest))[1])
    found(np.tile(x, (10, 1)), np.tile(y, 10))
    assert max(sizes) == representations.ROWS


# ---- targets over decades --------------------------------------------------------------------------------------------


def test_targets_over_decades_are_compared_by_their_logarithms() -> None:
    y = np.exp(3 * rng().normal(size=(500, 1)))
    for sign in (1.0, -1.0):
        task = read_task(sign * y, fd.losses.MeanSquaredError(), "linear", 1, [])
        assert task.scale == pytest.approx(sign * np.median(y))
        logs = np.log1p(y / np.median(y))
        guess = np.median(y) * np.expm1(0.5 * logs)
        wanted = np.square(0.5 * logs).sum() / np.square(logs - logs.mean()).sum()
        assert task.errors(sign * y, sign * guess, 0.5) == pytest.approx(wanted)
        assert task.errors(sign * y, sign * y, 0.5) == 0
    for other in (rng().normal(size=(500, 1)), rng().exponential(size=(500, 1)), np.exp(rng().normal(size=(500, 1)))):
        assert read_task(other, fd.losses.MeanSquaredError(), "linear", 1, []).scale == 0
    rare = np.where(np.arange(500)[:, None] % 20, 0.0, y)  # a twentieth is not 0
    assert read_task(rare, fd.losses.MeanSquaredError(), "linear", 1, []).scale == 0


# ---- in a report -----------------------------------------------------------------------------------------------------


def test_the_treated_net_takes_raw_rows_and_codes_of_all_rows(tmp_path: Any) -> None:
    at = rng().permutation(np.repeat(np.arange(40), 50))
    x, y = at[:, None] * 7.0, (rng().normal(size=40)[at] + 0.1 * rng().normal(size=2000))[:, None]
    model = fd.Model([fd.Normalization(), fd.Dense(32, "relu"), fd.Dense(1)], inputs=1)
    model.compile("adam", "mse")
    model.fit(x, y, epochs=40, verbose=0)
    report = model.diagnose(x, y, budget=30)
    cause = report.findings[0]
    assert (cause.code, cause.severity) == ("REPRESENTATION", "error")
    assert cause.evidence["columns_of_codes"] == [0] and cause.evidence["held_out_error"] < 0.05
    assert cause.message.startswith("Column 0 has codes (40) whose order as numbers means little")
    cure = report.treat()
    front = cure.model.layers[:2]
    assert isinstance(front[0], fd.OneHot) and front[0].codes == [[7.0 * i for i in range(40)]]
    assert [type(layer) for layer in cure.model.layers].count(fd.Normalization) == 1
    cure.model.fit(x, y, verbose=0, **cure.fit_options)
    assert np.mean((cure.model.predict(x) - y) ** 2) < 0.1 * np.var(y)
    again = cure.model.diagnose(x, y)
    assert again.healthy and again.causes == []


def test_a_net_that_learns_is_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules.representation, "search", lambda sample: pytest.fail("it was searched"))
    x = rng().normal(size=(500, 2))
    model = fd.Model([fd.Dense(16, "tanh"), fd.Dense(1)], inputs=2)
    model.compile(fd.Adam(0.01), "mse")
    model.fit(x, x[:, :1], epochs=60, verbose=0)
    assert model.diagnose(x, x[:, :1]).healthy
