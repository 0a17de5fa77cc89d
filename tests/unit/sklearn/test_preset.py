"""``preset="tabular"`` of the estimators: labels, weights, attributes, and what it refuses."""

from __future__ import annotations

import pickle
import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("sklearn")

from fastdense.sklearn import DenseClassifier, DenseRegressor

Array = NDArray[Any]


def preset(kind: Any = DenseClassifier, **parameters: Any) -> Any:
    return kind(**{"preset": "tabular", "n_ensemble": 2, "random_state": 0, "n_threads": 1, **parameters})


@pytest.mark.parametrize("classes", [2, 3])
def test_classes(x: Array, classes: int) -> None:
    y = np.array(["c", "a", "b"])[np.digitize(x[:, 0], [-0.5, 0.5][: classes - 1])]
    net = preset().fit(x, y)
    assert net.classes_.tolist() == sorted(set(y))
    assert net.score(x, y) > 0.9
    np.testing.assert_allclose(net.predict_proba(x).sum(axis=1), 1, rtol=1e-6)
    made = net.tabular_.predict_proba(x)
    np.testing.assert_allclose(net.predict_proba(x), made, atol=1e-6)
    assert net.model_ is net.tabular_.best
    assert net.n_iter_ == max(member["epochs"] for member in net.tabular_.report_["members"])
    again = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(again.predict_proba(x), net.predict_proba(x))


def test_numbers(x: Array) -> None:
    y = 1000 + 50 * x[:, 0]
    net = preset(DenseRegressor).fit(x, y)
    assert net.predict(x).shape == y.shape
    assert net.score(x, y) > 0.9
    both = preset(DenseRegressor).fit(x, np.stack([y, -y], axis=1))
    assert both.predict(x).shape == (len(x), 2)


def test_weights_of_classes(x: Array) -> None:
    y = np.where(x[:, 0] + np.random.default_rng(1).normal(size=len(x)) > 0, "a", "b")
    plain, one = (np.mean(preset(class_weight=w).fit(x, y).predict(x) == "a") for w in (None, {"a": 20}))
    assert one > plain


def test_attributes_that_it_has_not(x: Array) -> None:
    net = preset().fit(x, x[:, 0] > 0)
    with pytest.raises(AttributeError, match="has no attribute 'loss_curve_' with a preset"):
        _ = net.loss_curve_
    net.set_params(preset=None, n_ensemble=None, max_iter=3).fit(x, x[:, 0] > 0)
    assert not hasattr(net, "tabular_") and len(net.models_) == 1 and len(net.loss_curve_) == 3


WRONG = [
    ({"preset": "table"}, "preset='table' is not known. Did you mean 'tabular'? Use 'tabular', or None."),
    ({"alpha": 0.1}, "alpha is 0.1 and preset 'tabular'; the preset chooses alpha by itself: drop one"),
    ({"early_stopping": True}, "early_stopping is True and preset 'tabular'; the preset chooses early_stopping by"),
    ({"device": "cuda"}, "device is 'cuda' and preset 'tabular'; it trains on the CPU: drop one"),
]


@pytest.mark.parametrize(("parameters", "words"), WRONG, ids=[str(one) for one, _ in WRONG])
def test_wrong_parameters(x: Array, parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"DenseClassifier: {words}")):
        preset(**parameters).fit(x, x[:, 0] > 0)


def test_what_it_refuses(x: Array) -> None:
    with pytest.raises(ValueError, match="partial_fit was called and preset is 'tabular'; it needs all rows at once"):
        preset().partial_fit(x, x[:, 0] > 0)
    with pytest.raises(ValueError, match="y has several labels and preset is 'tabular'; one class per row is needed"):
        preset().fit(x, (x > 0).astype(int))
