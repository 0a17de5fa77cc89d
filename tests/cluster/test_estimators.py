"""Estimators over processes: their own nets by `executor`, and searches of scikit-learn's by joblib's backends."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

import fastdense as fd
from fastdense.sklearn import DenseClassifier
from tests.cluster.problem import X, Y, model
from tests.cluster.test_engines import dask, loky, pool

IDS = np.where(Y[:, 0] > 0, "yes", "no")


def classifier(**options: Any) -> DenseClassifier:
    return DenseClassifier(
        hidden_layer_sizes=(8,), early_stopping="loss", tol=0.02, max_iter=500, random_state=0, **options
    )


def test_nets_of_an_estimator() -> None:
    alone, elsewhere = classifier(n_ensemble=4).fit(X, IDS), classifier(n_ensemble=4)
    with pool() as executor:
        elsewhere.fit(X, IDS, executor=executor)
    np.testing.assert_array_equal(elsewhere.predict_proba(X), alone.predict_proba(X))


@pytest.mark.parametrize("engine", [pool, loky, dask])
def test_cross_validation(engine: Any) -> None:
    options: dict[str, Any] = {"folds": 3, "learning_rate": [0.001, 0.01, 0.03, 0.1], "epochs": 3}
    alone = fd.cross_validate(model(), X, Y, **options)
    with engine() as executor:
        elsewhere = fd.cross_validate(model(), X, Y, executor=executor, **options)
    np.testing.assert_array_equal(elsewhere.train_loss, alone.train_loss)
    for name, values in alone.scores.items():
        np.testing.assert_array_equal(elsewhere.scores[name], values)


@pytest.mark.parametrize("backend", ["loky", "dask"])
def test_grid_search_under_joblib(backend: str) -> None:
    """Nothing of ours is needed but pickling; each worker trains one net, with the bits of one process."""
    grid = {"hidden_layer_sizes": [(4,), (8,)], "alpha": [1e-4, 1e-2]}
    alone = GridSearchCV(classifier(), grid, cv=2).fit(X, IDS)
    with dask() if backend == "dask" else nullcontext(), joblib.parallel_config(backend, n_jobs=2):
        found = GridSearchCV(classifier(), grid, cv=2).fit(X, IDS)
    assert found.best_params_ == alone.best_params_
    np.testing.assert_array_equal(found.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(found.predict_proba(X), alone.predict_proba(X))
