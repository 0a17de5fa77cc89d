"""The nets of an estimator, trained by an executor: the bits of one process, and what is kept when it fails."""

from __future__ import annotations

import inspect
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import fastdense as fd
from fastdense import tabular
from fastdense.sklearn import DenseClassifier, DenseRegressor
from tests.helpers.executors import Inline

RANDOM = np.random.default_rng(5)
X = RANDOM.normal(size=(200, 3))
Y = X[:, 0] * X[:, 1] + 0.1 * RANDOM.normal(size=200)
IDS = np.where(Y > 0, "yes", "no")


def regressor(**options: Any) -> DenseRegressor:
    return DenseRegressor(**{"n_ensemble": 4, "max_iter": 5, "random_state": 0, **options})


def fails_at(*calls: int, error: type[BaseException] = ConnectionError) -> Any:
    def fails(call: int) -> None:
        if call in calls:
            raise error

    return fails


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"early_stopping": True, "max_iter": 30},
        {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 1, "max_iter": 30},
        {"solver": "lbfgs"},
        {"n_ensemble": None},
        {"dropout": 0.1, "batch_norm": True},
    ],
)
def test_same_bits(options: dict[str, Any]) -> None:
    alone, elsewhere = regressor(**options).fit(X, Y), regressor(**options)
    for executor in ((Inline(), 3), (ThreadPoolExecutor(2), 2)):
        assert elsewhere.fit(X, Y, executor=executor) is elsewhere
        np.testing.assert_array_equal(elsewhere.predict(X), alone.predict(X))
        assert (elsewhere.n_iter_, elsewhere.loss_curve_) == (alone.n_iter_, alone.loss_curve_)
        assert elsewhere.validation_scores_ == alone.validation_scores_
        assert (len(elsewhere.models_), elsewhere.t_) == (len(alone.models_), alone.t_)


def test_training_goes_on_as_if_nothing_had_been() -> None:
    alone, elsewhere = (
        regressor(warm_start=True).fit(X, Y),
        regressor(warm_start=True).fit(X, Y, executor=(Inline(), 2)),
    )
    np.testing.assert_array_equal(elsewhere.fit(X, Y, executor=(Inline(), 3)).predict(X), alone.fit(X, Y).predict(X))
    np.testing.assert_array_equal(elsewhere.partial_fit(X, Y).predict(X), alone.partial_fit(X, Y).predict(X))


def test_classifier_with_the_preset() -> None:
    options: dict[str, Any] = {"preset": "tabular", "n_ensemble": 3, "random_state": 0}
    executor = Inline()
    alone, elsewhere = DenseClassifier(**options).fit(X, IDS), DenseClassifier(**options)
    elsewhere.fit(X, IDS, executor=(executor, 2))
    np.testing.assert_array_equal(elsewhere.predict_proba(X), alone.predict_proba(X))
    assert len(executor.sent) == 2


def test_search_and_a_time_limit_of_a_table() -> None:
    space = {"width": [16, 32], "learning_rate": (1e-3, 1e-2, "log")}
    options: dict[str, Any] = {"task": "regression", "n_trials": 3}
    alone, executor = tabular.search(space, X, Y, **options), Inline()
    elsewhere = tabular.search(space, X, Y, **options, executor=(executor, 3))
    np.testing.assert_array_equal(elsewhere.predict(X), alone.predict(X))
    assert len(executor.sent) == 3
    limited = Inline()
    tabular.fit(X, Y, task="regression", n_ensemble=2, time_limit=0.5, executor=(limited, 2))
    assert len(limited.sent) >= 2


def test_an_executor_is_no_parameter() -> None:
    """What cannot be cloned or pickled is not stored in the estimator."""
    net = regressor().fit(X, Y, executor=(Inline(), 2))
    assert "executor" not in net.get_params() and "executor" not in vars(net)
    assert clone(net).get_params() == net.get_params()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(net)).predict(X), net.predict(X))
    for kind in (DenseClassifier, DenseRegressor):
        assert inspect.signature(kind.fit).parameters["executor"].kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.filterwarnings("error")
def test_warns_here_of_what_has_not_converged() -> None:
    with pytest.warns(
        ConvergenceWarning, match="^DenseRegressor: training has not converged after max_iter=2"
    ) as caught:
        regressor(max_iter=2).fit(X, Y, executor=(Inline(), 2))
    assert caught[0].filename == __file__ and len(caught) == 1


def test_shows_groups(capsys: pytest.CaptureFixture[str]) -> None:
    net = regressor(verbose=2).fit(X, Y, executor=(Inline(), 2))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" - ")[0] for line in lines] == ["group 1/2", "group 2/2"]
    assert f"best {min(curve.loss[-1] for curve in net._curves):.4g}" in lines[-1]


def test_keeps_the_nets_that_are_done() -> None:
    alone, net = regressor().fit(X, Y), regressor()
    message = r"^DenseRegressor: nets \[1, 3\] were lost .*what was done is `models_` of the estimator$"
    with pytest.raises(fd.WorkerLost, match=message):
        net.fit(X, Y, executor=(Inline(fails_at(1, 2)), 2))
    for ours, theirs in zip(net.models_, alone.models_[::2], strict=True):
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    with pytest.raises(KeyboardInterrupt, match="^DenseRegressor: interrupted when 1 of 2 groups were done"):
        net.fit(X, Y, executor=(Inline(fails_at(1, error=KeyboardInterrupt)), 2))
    assert len(net.models_) == 2 and net.predict(X).shape == (200,)
    other = regressor()
    with pytest.raises(KeyboardInterrupt):
        other.fit(X, Y, executor=(Inline(fails_at(0, error=KeyboardInterrupt)), 2))
    assert len(other.models_) == 1 and other.n_iter_ == 0


def test_errors() -> None:
    fitted = regressor().fit(X, Y)
    with pytest.raises(ValueError, match="^DenseRegressor: the loss or a weight is not finite after epoch"):
        fitted.set_params(solver="sgd", learning_rate_init=1e30).fit(X, Y, executor=(Inline(), 2))
    assert len(fitted.models_) == 4 and fitted.predict(X).shape == (200,)
    with pytest.raises(TypeError, match="^DenseRegressor: executor is of type int, without a method submit"):
        regressor().fit(X, Y, executor=4)
    with pytest.raises(ValueError, match="^DenseRegressor: tol=-1"):
        regressor(tol=-1).fit(X, Y, executor=(Inline(), 2))
