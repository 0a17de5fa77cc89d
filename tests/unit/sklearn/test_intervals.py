"""Several quantiles, prediction intervals and monotone columns of the estimators."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from fastdense.arrays import Array
from fastdense.layers import Ascending, Dense
from fastdense.losses import Quantile
from fastdense.sklearn import DenseClassifier, DenseRegressor

SMALL: dict[str, Any] = {"hidden_layer_sizes": (16, 16), "max_iter": 40, "random_state": 0, "learning_rate_init": 0.01}


def rows(count: int = 600) -> tuple[Array, Array]:
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, (count, 3))
    return x, 2 * x[:, 0] + np.sin(4 * x[:, 1]) + 0.3 * random.normal(size=count)


@pytest.mark.filterwarnings("ignore:.*has not converged")
@pytest.mark.parametrize("nets", [1, 2])
def test_quantiles_and_intervals(nets: int) -> None:
    x, y = rows()
    net = DenseRegressor(loss="quantile", quantile=[0.05, 0.5, 0.95], n_ensemble=nets, early_stopping=True, **SMALL)
    net.fit(x[:300], y[:300])
    assert isinstance(net.model_.layers[-1], Ascending) and net.model_.loss == Quantile([0.05, 0.5, 0.95])
    assert net.predict(x).shape == (600,) and net.score(x[300:], y[300:]) > 0.8
    lower, upper = net.predict_interval(x)
    assert lower.shape == (600,) and (lower <= net.predict(x)).all() and (net.predict(x) <= upper).all()
    with pytest.raises(ValueError, match=r"predict_interval: coverage is 0.8; the quantiles of the loss give 0.9"):
        net.predict_interval(x, coverage=0.8)
    assert net.calibrate(x[300:], y[300:]) is net
    for one in (net, pickle.loads(pickle.dumps(net))):
        lower, upper = one.predict_interval(x[300:], coverage=0.8)
        # of the very rows: ceil(301 * 0.8) / 300 = 241 / 300
        assert np.mean((lower <= y[300:]) & (y[300:] <= upper)) == pytest.approx(241 / 300)
    net.fit(x, y)
    with pytest.raises(ValueError, match="coverage is 0.8"):
        net.predict_interval(x, coverage=0.8)
    assert clone(net).quantile == [0.05, 0.5, 0.95]


@pytest.mark.filterwarnings("ignore:.*has not converged")
def test_intervals_of_squared_errors_and_several_targets() -> None:
    x, y = rows()
    both = np.stack([y, -3 * y], axis=1)
    net = DenseRegressor(**SMALL).fit(x[:300], both[:300]).calibrate(x[300:], both[300:])
    lower, upper = net.predict_interval(x[300:], coverage=0.9)
    assert lower.shape == (300, 2)
    np.testing.assert_allclose(((lower <= both[300:]) & (both[300:] <= upper)).mean(axis=0), 271 / 300)
    quantiles = DenseRegressor(loss=Quantile([0.1, 0.5, 0.9]), **SMALL).fit(x, both)
    assert quantiles.predict(x).shape == (600, 2) and quantiles.predict_interval(x, coverage=0.8)[0].shape == (600, 2)


@pytest.mark.filterwarnings("ignore:.*has not converged")
@pytest.mark.parametrize("batch_norm", [False, True])
def test_monotone_columns(batch_norm: bool) -> None:
    x, y = rows()
    moved = x + [0.3, 0.0, -0.5]
    net = DenseRegressor(monotonic_cst=[1, 0, -1], batch_norm=batch_norm, **SMALL).fit(x, y)
    assert net.score(x, y) > (0.4 if batch_norm else 0.9)  # 120 steps are few for moving statistics
    assert (net.predict(moved) >= net.predict(x) - 1e-12).all()
    classifier = DenseClassifier(monotonic_cst=np.array([1, 0, -1]), batch_norm=batch_norm, **SMALL).fit(x, y > 0)
    assert (classifier.predict_proba(moved)[:, 1] >= classifier.predict_proba(x)[:, 1] - 1e-12).all()
    quantiles = DenseRegressor(loss="quantile", quantile=[0.1, 0.5, 0.9], monotonic_cst=[1, 0, -1], **SMALL).fit(x, y)
    assert isinstance(quantiles.model_.layers[-1], Dense)  # predict_interval sorts what crosses
    ends, other = quantiles.predict_interval(x, coverage=0.8), quantiles.predict_interval(moved, coverage=0.8)
    assert all((b >= a - 1e-12).all() for a, b in zip(ends, other, strict=True))


@pytest.mark.filterwarnings("ignore:.*has not converged")
def test_monotone_columns_by_name() -> None:
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    x, y = rows(100)
    frame = pd.DataFrame(x, columns=["size", "age", "far"])
    frame["kind"] = ["a", "b"] * 50
    net = DenseRegressor(monotonic_cst={"size": 1, "far": -1}, **{**SMALL, "max_iter": 2}).fit(frame, y)
    assert net.model_.monotonic == [1, 0, -1, 0]
    for given, data, words in (
        ({"sise": 1}, frame, "monotonic_cst holds 'sise'; its keys are names of the columns of X"),
        ({"size": 1}, x, "monotonic_cst is a dict and X has no names of columns"),
        ({"kind": 1}, frame, "is a OneHot; what it makes of column 3 need not rise with it"),
        ([1, 0], x, "monotonic has 2 numbers for 3 inputs"),
    ):
        with pytest.raises(ValueError, match=words):
            DenseRegressor(monotonic_cst=given, **SMALL).fit(data, y)
    with pytest.raises(ValueError, match="its activation 'softmax' may fall"):
        DenseClassifier(monotonic_cst=[1, 0, 0], **SMALL).fit(x, np.digitize(y, [-1, 1]))


def test_the_median_must_be_among_the_quantiles() -> None:
    x, y = rows(50)
    with pytest.raises(ValueError, match=r"the quantiles are \[0.1, 0.9\]; 0.5 must be among several"):
        DenseRegressor(loss="quantile", quantile=[0.1, 0.9]).fit(x, y)
