"""RobustScale and Impute: values, where their numbers come from, NaN in every call of a model, files."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense.layers.preprocessing import encoded

Array = Any
NAN = float("nan")


def model(*layers: Any, inputs: int, device: str = "reference", **options: Any) -> fd.Model:
    made = fd.Model([*layers, fd.Dense(3, "tanh"), fd.Dense(1)], inputs=inputs, device=device, **options)
    made.compile("adam", "mse")
    return made


def holes(rows: int = 40, columns: int = 3) -> tuple[Array, Array]:
    """A table with NaN in its columns 0 and 2, and targets."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(rows, columns)) * [1.0, 10.0, 0.1] + [5.0, 0.0, 2.0]
    y = x[:, :1] - x[:, 2:]
    x[rng.random(rows) < 0.3, 0] = NAN
    x[rng.random(rows) < 0.2, 2] = NAN
    return x, y


# ---- values ----------------------------------------------------------------------------------------------------------


def test_robust_scale() -> None:
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(3, 2, 101), np.full(101, 7.0), np.where(np.arange(101) < 99, 4.0, -6.0)])
    layer = fd.RobustScale(clip=None).adapt(x)
    low, middle, high = np.quantile(x[:, 0], [0.25, 0.5, 0.75])
    assert layer.center == [middle, 7.0, 4.0] and layer.scale == [high - low, 0.0, 5.0]
    wanted = np.column_stack([(x[:, 0] - middle) / (high - low), np.zeros(101), (x[:, 2] - 4.0) / 5.0])
    np.testing.assert_allclose(layer.encode(x), wanted, rtol=1e-14)
    clipped = fd.RobustScale(clip=2.0).adapt(x).encode(x)
    np.testing.assert_allclose(clipped, wanted / np.sqrt(1 + (wanted / 2) ** 2), rtol=1e-14)
    some = fd.RobustScale(columns=2, center=[1.0], scale=[2.0], clip=None)
    np.testing.assert_allclose(some.encode(x), np.column_stack([x[:, :2], (x[:, 2] - 1) / 2]), rtol=1e-14)


def test_robust_scale_stays_within_its_limit() -> None:
    layer = fd.RobustScale(center=[0.0], scale=[1e-300])
    made = layer.encode(np.array([[-1e308], [0.0], [1e308]]))
    np.testing.assert_allclose(made, [[-3.0], [0.0], [3.0]], rtol=1e-15)
    assert np.isfinite(fd.RobustScale(clip=None, center=[0.0], scale=[1e-300]).encode(np.array([[1e308]]))).all()


def test_impute() -> None:
    x = np.array([[1.0, NAN, 4.0], [NAN, NAN, 5.0], [3.0, NAN, 6.0], [8.0, NAN, 7.0]])
    layer = fd.Impute().adapt(x)
    assert layer.fill == [3.0, 0.0, 5.5] and layer.indicator == [0, 1]
    wanted = [[1, 0, 4, 0, 1], [3, 0, 5, 1, 1], [3, 0, 6, 0, 1], [8, 0, 7, 0, 1]]
    np.testing.assert_array_equal(layer.encode(x), wanted)
    assert layer.output_width(3) == 5
    none = fd.Impute(indicator=False, fill=-1.0)
    np.testing.assert_array_equal(none.encode(x), np.where(np.isnan(x), -1.0, x))
    chosen = fd.Impute(columns=[0, 1], indicator=[1], fill=[2.0, 9.0])
    np.testing.assert_array_equal(chosen.encode(x)[:, [0, 3]], [[1, 1], [2, 1], [3, 1], [8, 1]])
    assert fd.Impute(columns=[0, 1]).adapt(x).indicator == [0, 1]
    again = layer.adapt(np.array([[0.0, 1.0, NAN]]))  # what a net may rely on stays
    assert again.indicator == [0, 1] and again.fill == [0.0, 1.0, 0.0]


def test_unknown_numbers_change_nothing_but_nan() -> None:
    x = np.array([[1.0, NAN]])
    np.testing.assert_array_equal(fd.Impute(indicator=False).encode(x), [[1.0, 0.0]])
    np.testing.assert_array_equal(fd.RobustScale(clip=None).encode(np.array([[1.0, -2.0]])), [[1.0, -2.0]])


# ---- where the numbers come from -------------------------------------------------------------------------------------


def test_first_fit_gives_the_numbers() -> None:
    x, y = holes()
    made = model(fd.Impute(), fd.RobustScale(), fd.Normalization(), inputs=3)
    impute, robust, normalization = made.layers[:3]
    assert isinstance(impute, fd.Impute) and isinstance(robust, fd.RobustScale)
    assert made.net.widths[0] == 6 and not impute.adapted
    made.fit(x, y, verbose=0)
    assert impute.fill == np.nanmedian(x, axis=0).tolist()
    filled = encoded([impute], x)
    assert robust.center == np.median(filled, axis=0).tolist()
    np.testing.assert_allclose(made.get_weights()[0], encoded([impute, robust], x).mean(axis=0), atol=1e-13)
    assert isinstance(normalization, fd.Normalization) and normalization.adapted
    known = impute.fill
    made.fit(x[:10], y[:10], verbose=0)  # only the first one does
    assert impute.fill == known


def test_adapt_before_and_after_the_model_is_made() -> None:
    x, y = holes()
    given = fd.Impute().adapt(x)
    made = model(given, inputs=3)
    assert made.net.widths[0] == 5
    made.fit(x, y, verbose=0)
    before = made.predict(x)
    given.adapt(x + 1.0)  # the model notices; its width stays
    assert made.net.widths[0] == 5
    after = made.predict(x)
    own = made.layers[0]
    assert isinstance(own, fd.Impute) and own.fill == given.fill
    assert (before != after)[np.isnan(x).any(axis=1)].all()
    np.testing.assert_array_equal(before[~np.isnan(x).any(axis=1)], after[~np.isnan(x).any(axis=1)])


def test_clones_forget_what_the_first_fit_gave() -> None:
    x, y = holes()
    made = model(fd.Impute(), fd.RobustScale(center=[1.0] * 6, scale=[2.0] * 6), inputs=3)
    made.fit(x, y, verbose=0)
    impute, robust = made.clone().layers[:2]
    assert isinstance(impute, fd.Impute) and not impute.adapted
    assert isinstance(robust, fd.RobustScale) and robust.center == [1.0] * 6


def test_a_failed_first_fit_leaves_nothing_behind() -> None:
    x, y = holes()
    x[:20, 1], x[20:, 1] = -1.7e308, 1.7e308
    made = model(fd.Impute(), fd.RobustScale(), inputs=3, dtype="float64")
    with pytest.raises(ValueError, match=r"RobustScale\.adapt: the range of column 1 of x overflows"):
        made.fit(x, y, verbose=0)
    assert not any(layer.adapted for layer in made.layers[:2])  # type: ignore[attr-defined]


def test_files_copies_and_pickles_keep_the_numbers(tmp_path: Path) -> None:
    x, y = holes()
    made = model(fd.Impute(), fd.RobustScale(columns=[0, 1]), inputs=3)
    made.fit(x, y, verbose=0)
    made.save(tmp_path / "net")
    for other in (fd.load(tmp_path / "net"), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        np.testing.assert_array_equal(other.predict(x), made.predict(x))
        assert [one.origin for one in other.net.statistics] == ["fit", "fit"]
        impute = other.clone().layers[0]
        assert isinstance(impute, fd.Impute) and not impute.adapted
    assert fd.layers.get(made.layers[0].to_dict()) == made.layers[0]


# ---- NaN in calls ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cpu", "reference"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_call_takes_nan(device: str, dtype: Any) -> None:
    x, y = (array.astype(dtype) for array in holes())
    made = model(fd.Impute(columns=[0, 2]), inputs=3, device=device)
    made.fit(x, y, epochs=2, validation_data=(x, y), verbose=0)
    made.fit(x, y, epochs=2, validation_split=0.2, starts=2, verbose=0)
    assert made.train_on_batch(x, y) > 0 and made.evaluate(x, y, verbose=0) > 0
    assert np.isfinite(made.predict(x)).all() and np.isfinite(made.predict(x[:1])).all()
    assert np.isfinite(made.loss_and_grad(x, y)[0])
    assert np.isnan(made.activations(x)[0]).sum() == 0
    made.solve_output(x, y)
    made.place(x, y)
    fd.start_on_data(made, x, y)
    population = fd.fit_many(made, x, y, starts=2, epochs=1, start="data", verbose=0)
    assert np.isfinite(population.predict(x)).all()
    assert np.isfinite(fd.cross_validate(made, x, y, folds=2, epochs=1, verbose=0).train_loss).all()


def test_the_diagnosis_takes_nan() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3)).astype(np.float32)
    y = x[:, :1] - x[:, 1:2]
    x[:, 2] = rng.integers(0, 3, 300)
    x[rng.random(300) < 0.2, 0] = NAN
    layers = (fd.Impute(columns=[0, 1]), fd.CategoryEmbedding(2, 2, [0, 1, 2]), fd.NumericEmbedding(columns=[0, 1]))
    made = model(*layers, inputs=3, device="cpu")
    made.fit(x, y, epochs=2, validation_split=0.2, verbose=0)
    report = made.diagnose(x, y, validation_split=0.2)
    assert "BAD_DATA" not in [finding.code for finding in report.findings]
    treated = report.treat().model
    assert [type(layer) for layer in treated.layers[:3]] == [type(layer) for layer in layers]
    bad = x.copy()
    bad[5, 2] = NAN
    assert made.diagnose(bad, y).findings[0].code == "BAD_DATA"


def test_what_is_refused_still() -> None:
    x, y = holes()
    made = model(fd.Impute(columns=[0, 2]), inputs=3)
    bad = x.copy()
    bad[7, 1] = NAN
    with pytest.raises(ValueError, match=r"fit: x\[7, 1\] is nan; finite numbers are needed"):
        made.fit(bad, y, verbose=0)
    bad[7, 1], bad[9, 2] = 0.0, np.inf
    with pytest.raises(ValueError, match=r"predict: x\[9, 2\] is inf; finite numbers are needed"):
        made.predict(bad)
    bad[9, 2] = 1e39
    with pytest.raises(ValueError, match=r"predict: x\[9, 2\] is 1e\+39, too large for float32"):
        made.predict(bad)
    with pytest.raises(ValueError, match=r"Impute\.adapt: x holds nan at row 7, column 1"):
        bad[7, 1] = NAN
        fd.Impute(columns=[0, 2]).adapt(bad)
    with pytest.raises(ValueError, match=r"RobustScale\.adapt: x holds nan at row \d+, column 0"):
        fd.RobustScale().adapt(x)


# ---- messages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: fd.RobustScale(clip=0), "RobustScale: clip=0 is out of range. Give a finite number above 0."),
        (
            lambda: fd.RobustScale(center=[1.0]),
            "RobustScale: center and scale belong together. Give both, or neither.",
        ),
        (
            lambda: fd.RobustScale(center=[1.0, 2.0], scale=[1.0]),
            "RobustScale: center of shape (2,) and scale of shape (1,). "
            "Give one finite number per column each, the scale at least 0.",
        ),
        (
            lambda: fd.Impute(indicator=[3], columns=[1, 2]),
            "Impute: indicator=[3] and columns=[1, 2]. Give columns that are filled.",
        ),
        (
            lambda: model(fd.Impute(indicator=[3]), inputs=2),
            "Impute: indicator holds 3, but its input has 2 columns. Give numbers from 0 to 1.",
        ),
        (
            lambda: model(fd.RobustScale(), fd.Impute(), inputs=2),
            "Model: layers[1] is Impute; it must be the first layer, since no other one takes NaN",
        ),
        (
            lambda: model(fd.RobustScale(center=[1.0], scale=[1.0]), inputs=2),
            "RobustScale: center is given for 1 columns, but the layer encodes 2. "
            "Give it for each of them, or once for all.",
        ),
        (
            lambda: fd.RobustScale(columns=4).adapt([[1.0, 2.0]]),
            "RobustScale.adapt: x has 2 columns, and there is no column 4.",
        ),
    ],
)
def test_messages(make: Any, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        make()
