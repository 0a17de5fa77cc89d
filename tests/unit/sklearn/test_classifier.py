"""`DenseClassifier`: labels of all kinds, weights, calls one after another, early stopping, attributes."""

from __future__ import annotations

import io
import pickle
import re
import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("sklearn")

import joblib
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neural_network import MLPClassifier

import fastdense as fd
from fastdense.runners.single import Runner
from fastdense.sklearn import DenseClassifier

Array = NDArray[Any]


def quadrant(x: Array) -> Array:
    return np.where(x[:, 0] * x[:, 1] > 0, "same", "other")


def small(**parameters: Any) -> DenseClassifier:
    return DenseClassifier(**{"hidden_layer_sizes": (16,), "max_iter": 20, "random_state": 0, **parameters})


def quick(**parameters: Any) -> DenseClassifier:
    """One that learns what the tests ask of it."""
    return small(**{"solver": "lbfgs", "max_iter": 200, **parameters})


# ---- labels ----------------------------------------------------------------------------------------------------------

LABELS = {
    "strings": ["b", "a"],
    "bytes as objects": np.array(["b", "a"], dtype=object),
    "negative": [5, -3],
    "bools": [False, True],
    "floats": [0.5, 1.5],
    "three strings": ["x", "z", "y"],
    "four numbers": [30, 10, 20, 40],
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
@pytest.mark.filterwarnings("ignore:The number of unique classes")
def test_labels_of_all_kinds(x: Array, labels: Any) -> None:
    labels = np.asarray(labels)
    y = labels[np.digitize(x[:, 0], np.linspace(-1, 1, len(labels) - 1) if len(labels) > 2 else [0.0])]
    if labels.dtype.kind == "f":
        y = np.where(y == 0.5, "half", "more")  # scikit-learn takes fractions for numbers to be predicted
    net = quick().fit(x, y)
    assert net.classes_.tolist() == sorted(set(y.tolist()))
    assert net.score(x, y) > 0.95
    p = net.predict_proba(x)
    assert p.shape == (len(x), len(net.classes_))
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    assert (net.predict(x) == net.classes_[p.argmax(axis=1)]).all()
    np.testing.assert_array_equal(net.predict_log_proba(x), np.log(p))


def test_several_labels(x: Array) -> None:
    y = (x[:, :3] > 0).astype(int)
    net = quick(early_stopping=True).fit(x, y)
    assert (net.n_outputs_, net.out_activation_, net.classes_.tolist()) == (3, "logistic", [0, 1, 2])
    assert net.predict_proba(x).shape == y.shape
    assert (net.predict(x) == y).mean() > 0.95


def test_fractions_are_refused(x: Array) -> None:
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        small().fit(x, x[:, 0])


def test_several_columns_of_classes_are_refused(x: Array) -> None:
    with pytest.raises(ValueError, match="y has several columns of more than two classes; one column, or 0 and 1"):
        small().fit(x, np.digitize(x[:, :2], [-0.5, 0.5]))


def test_one_class(x: Array) -> None:
    net = small().fit(x, ["only"] * len(x))
    assert net.predict(x[:3]).tolist() == ["only"] * 3
    assert net.predict_proba(x[:3]).tolist() == [[1.0]] * 3


# ---- weights ---------------------------------------------------------------------------------------------------------

EXACT = {
    "adam": {},
    "sgd": {"solver": "sgd"},
    "lbfgs": {"solver": "lbfgs"},
    "dropout": {"dropout": 0.3},
    "loss": {"early_stopping": "loss"},
    "score": {"early_stopping": True},
    "batch_norm": {"batch_norm": True},
    "balanced": {"class_weight": "balanced"},
}


@pytest.mark.parametrize("parameters", EXACT.values(), ids=EXACT)
def test_a_weight_is_a_number_of_copies(x: Array, parameters: dict[str, Any]) -> None:
    """To the last bit where a step takes all rows, in whatever order they come."""
    x, random = x[:60], np.random.default_rng(1)
    y, copies = quadrant(x), random.integers(0, 4, len(x))
    weighted = small(**parameters).fit(x, y, sample_weight=copies)
    order = random.permutation(copies.sum())
    repeated = small(**parameters).fit(np.repeat(x, copies, axis=0)[order], np.repeat(y, copies)[order])
    np.testing.assert_array_equal(weighted.predict_proba(x), repeated.predict_proba(x))


def test_batches_divide_by_the_weights_of_all_rows(x: Array) -> None:
    """Weights multiplied by a number are the same weights, but for the penalty, which is divided by their sum."""
    w = np.random.default_rng(2).uniform(0.5, 2.0, len(x))
    y, parameters = quadrant(x), {"batch_size": 50, "alpha": 0.0}
    one, other = (small(**parameters).fit(x, y, sample_weight=w * factor) for factor in (1.0, 8.0))
    np.testing.assert_array_equal(one.predict_proba(x), other.predict_proba(x))  # a power of 2 rounds nothing


def test_class_weights_multiply_sample_weights(x: Array) -> None:
    y, w = quadrant(x), np.random.default_rng(2).uniform(0.5, 2.0, len(x))
    one = small(class_weight={"same": 3.0}).fit(x, y, sample_weight=w)
    other = small().fit(x, y, sample_weight=w * np.where(y == "same", 3.0, 1.0))
    np.testing.assert_array_equal(one.predict_proba(x), other.predict_proba(x))


def test_balanced_gives_classes_the_same_total(x: Array) -> None:
    y = np.where(x[:, 0] > 1, "rare", "often")
    sums = {"rare": (y == "rare").sum(), "often": (y == "often").sum()}
    one = small(class_weight="balanced").fit(x, y)
    other = small(class_weight={name: len(y) / (2 * count) for name, count in sums.items()}).fit(x, y)
    np.testing.assert_allclose(one.predict_proba(x), other.predict_proba(x), rtol=1e-12)


def test_no_weight_at_all(x: Array) -> None:
    words = "sample_weight, times class_weight, is zero for every row; some weight above zero is needed"
    with pytest.raises(ValueError, match=words):
        small(class_weight={"same": 0, "other": 0}).fit(x, quadrant(x))


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        ({"no": 1}, "class_weight names the class 'no'; the classes are ['other', 'same']"),
        ({"same": -1}, "class_weight['same']=-1 is out of range. Give a finite number at least 0."),
        ("equal", "class_weight='equal' is not known. Use 'balanced', or a dict from class to weight."),
        ([1, 2], "class_weight=[1, 2]. Give a dict from class to weight, or 'balanced'."),
    ],
)
def test_class_weights_that_are_none(x: Array, weight: Any, words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=re.escape(f"DenseClassifier: {words}")):
        small(class_weight=weight).fit(x, quadrant(x))


# ---- several calls ---------------------------------------------------------------------------------------------------


def test_partial_fit_goes_on_with_the_optimizer(x: Array) -> None:
    """Passes over all rows, one at a time, are the epochs of one fit."""
    y = quadrant(x)
    once, pieces = small(max_iter=5, batch_size=60).fit(x, y), small(batch_size=60)
    for _ in range(5):
        pieces.partial_fit(x, y)
    np.testing.assert_array_equal(once.predict_proba(x), pieces.predict_proba(x))
    assert pieces.loss_curve_ == once.loss_curve_
    assert (pieces.n_iter_, pieces.t_, once.n_iter_, once.t_) == (1, 5 * len(x), 5, 5 * len(x))


def test_partial_fit_of_parts_with_all_classes(x: Array) -> None:
    y = quadrant(x)
    net = small()
    net.partial_fit(x[y == "same"][:50], y[y == "same"][:50], classes=["same", "other"])
    assert net.classes_.tolist() == ["other", "same"]
    net.partial_fit(x[100:], y[100:])  # another number of rows: the penalty is that of this batch
    assert net.t_ == 50 + 140
    with pytest.raises(ValueError, match=r"classes is \['a'\] and was \['other', 'same'\]; it cannot change"):
        net.partial_fit(x, y, classes=["a"])
    with pytest.raises(ValueError, match=r"y holds 'new', which is not in classes_, \['other', 'same'\]"):
        net.partial_fit(x, np.where(y == "same", "new", y))


def test_partial_fit_with_another_penalty_keeps_the_optimizer(x: Array) -> None:
    """The penalty is divided by the weights of a batch, and parts have different ones; one of 1e-300 changes no bit."""
    y = quadrant(x)
    none, some = small(alpha=0.0), small(alpha=1e-300)
    for part in (slice(0, 60), slice(60, 180), slice(180, 210)):
        none.partial_fit(x[part], y[part])
        some.partial_fit(x[part], y[part])
    np.testing.assert_array_equal(none.predict_proba(x), some.predict_proba(x))
    assert some.model_.layers[0].kernel_regularizer == fd.regularizers.L2(1e-300 / (2 * 30))


def test_partial_fit_with_other_parameters(x: Array) -> None:
    """They hold from then on; without an optimizer's state of the same kind, it begins anew."""
    y = quadrant(x)
    net = small().partial_fit(x, y)
    before = net.coefs_[0]
    net.set_params(learning_rate_init=1e-12).partial_fit(x, y)
    np.testing.assert_allclose(net.coefs_[0], before, atol=1e-10)
    assert net.model_.runner.step == 4  # of 2 epochs of 2 batches
    net.set_params(solver="sgd", learning_rate_init=0.1).partial_fit(x, y)
    assert isinstance(net.model_.optimizer, fd.SGD) and net.model_.runner.step == 2
    assert len(net.loss_curve_) == 3


@pytest.mark.parametrize("ensemble", [1, 2])
def test_rates_of_partial_fit_and_of_several_nets(x: Array, ensemble: int) -> None:
    """Each net begins with learning_rate_init, and its rate falls with its own rows."""
    settings = {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1, "n_ensemble": ensemble}
    pieces, once = small(**settings), small(**settings, max_iter=3).fit(x, quadrant(x))
    for _ in range(3):
        pieces.partial_fit(x, quadrant(x))
    for one, other in zip(pieces.models_, once.models_, strict=True):
        assert one.optimizer.learning_rate == other.optimizer.learning_rate == 0.1 / (3 * len(x) + 1) ** 0.5
    np.testing.assert_array_equal(pieces.predict_proba(x), once.predict_proba(x))


def test_no_partial_fit_where_rows_must_be_known() -> None:
    assert not hasattr(small(solver="lbfgs"), "partial_fit")
    assert not hasattr(small(early_stopping="loss"), "partial_fit")
    with pytest.raises(AttributeError) as error:
        _ = small(solver="lbfgs").partial_fit
    assert "the solver 'lbfgs' takes all of them in each step; use e.g. solver='adam'" in str(error.value.__cause__)
    with pytest.raises(AttributeError) as error:
        _ = small(early_stopping=True).partial_fit
    assert "partial_fit cannot keep rows out; use early_stopping=False" in str(error.value.__cause__)


def test_balanced_needs_all_rows(x: Array) -> None:
    with pytest.raises(ValueError, match="class_weight is 'balanced' in partial_fit; all rows would have to be known"):
        small(class_weight="balanced").partial_fit(x, quadrant(x))


def test_warm_start_goes_on_with_the_weights(x: Array) -> None:
    y = quadrant(x)
    net = small(warm_start=True).fit(x, y)
    first, coefs = net.loss_, net.coefs_
    net.set_params(max_iter=1, learning_rate_init=1e-12).fit(x, y)
    assert len(net.loss_curve_) == 21
    np.testing.assert_allclose(net.coefs_[0], coefs[0], atol=1e-9)
    net.set_params(max_iter=20, learning_rate_init=None).fit(x, y)
    assert net.loss_ < first
    assert small().fit(x, y).fit(x, y).loss_ == first  # without it, from the beginning


def test_warm_start_with_other_layers(x: Array) -> None:
    net = small(warm_start=True).fit(x, quadrant(x))
    with pytest.raises(ValueError, match="the layers are others than those of the fit before; warm_start and partial"):
        net.set_params(hidden_layer_sizes=(8,)).fit(x, quadrant(x))
    with pytest.raises(ValueError, match="n_ensemble is 2 and 1 nets are fitted; it cannot change"):
        net.set_params(hidden_layer_sizes=(16,), n_ensemble=2).fit(x, quadrant(x))


# ---- when training ends ----------------------------------------------------------------------------------------------


def test_it_ends_when_the_loss_does_not_fall(x: Array) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        net = small(max_iter=100_000, tol=1e-2, n_iter_no_change=3).fit(x, quadrant(x))
    assert 4 < net.n_iter_ < 100
    best = np.minimum.accumulate(net.loss_curve_)
    assert (np.diff(best)[-4:] >= -1e-2).all()
    assert net.best_loss_ == best[-1]


def test_it_warns_that_it_has_not_converged(x: Array) -> None:
    words = "training has not converged after max_iter=3 epochs; use a larger max_iter"
    with pytest.warns(ConvergenceWarning, match=words):
        small(max_iter=3).fit(x, quadrant(x))


@pytest.mark.parametrize("watched", ["loss", "score"])
def test_early_stopping_keeps_the_best_weights(x: Array, watched: str) -> None:
    random = np.random.default_rng(3)
    y = np.where(random.uniform(size=len(x)) < 0.3, "noise", quadrant(x))
    net = small(early_stopping=watched, learning_rate_init=0.05, max_iter=300, hidden_layer_sizes=(64,)).fit(x, y)
    assert net.n_iter_ < 300
    losses, scores = net.validation_loss_curve_, net.validation_scores_
    assert losses is not None and scores is not None and len(losses) == len(scores) == net.n_iter_
    assert net.best_validation_score_ == max(scores)
    best = np.argmin(losses) if watched == "loss" else min(range(len(scores)), key=lambda i: (-scores[i], losses[i]))
    same = small(learning_rate_init=0.05, hidden_layer_sizes=(64,), early_stopping=watched, max_iter=int(best) + 1)
    np.testing.assert_array_equal(net.predict_proba(x), same.fit(x, y).predict_proba(x))


def test_rows_kept_out_are_in_proportion() -> None:
    from fastdense.sklearn.rows import Table, split

    y = np.repeat([0, 1, 2], [100, 30, 10])
    train, kept = split("fit", Table(np.arange(140.0)[:, None], y, None), 0.1, y, 0)
    assert np.bincount(kept.y).tolist() == [10, 3, 1]
    assert sorted([*train.x[:, 0], *kept.x[:, 0]]) == list(range(140))


def test_too_few_rows_to_keep_out(x: Array) -> None:
    words = "n_samples=1: the data has 1 sample that differ.*validation_fraction=0.1 leaves a part without rows"
    with pytest.raises(ValueError, match=words):
        small(early_stopping=True).fit(x[:1], ["a"])


def test_adaptive_learning_rate(x: Array) -> None:
    net = small(solver="sgd", learning_rate="adaptive", learning_rate_init=0.1, tol=1e-2, max_iter=500,
                n_iter_no_change=2).fit(x, quadrant(x))  # fmt: skip
    assert net.n_iter_ < 500
    assert 1e-7 < net.model_.optimizer.learning_rate <= 1e-6


def test_invscaling_learning_rate(x: Array) -> None:
    net = small(solver="sgd", learning_rate="invscaling", learning_rate_init=0.1, max_iter=3).fit(x, quadrant(x))
    assert net.model_.optimizer.learning_rate == pytest.approx(0.1 / (3 * len(x) + 1) ** 0.5)


@pytest.mark.parametrize("parameters", [{}, {"solver": "sgd", "learning_rate": "adaptive"}, {"solver": "lbfgs"}],
                         ids=["adam", "adaptive", "lbfgs"])  # fmt: skip
def test_epochs_that_cannot_end_training_are_one_call(
    x: Array, parameters: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what comes out is what comes out of one epoch at a time, to which a callback leads."""
    calls, train = [], Runner.train
    monkeypatch.setattr(Runner, "train", lambda *args, **kwargs: calls.append(1) or train(*args, **kwargs))
    y, settings = quadrant(x), {"max_iter": 300, "n_iter_no_change": 5, "tol": 5e-3, **parameters}
    many = small(**settings).fit(x, y)
    assert len(calls) < many.n_iter_ / 2 and many.n_iter_ < 300
    calls.clear()
    single = small(**settings, callbacks=fd.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)).fit(x, y)
    assert len(calls) == single.n_iter_
    assert single.loss_curve_ == many.loss_curve_
    np.testing.assert_array_equal(single.predict_proba(x), many.predict_proba(x))


def test_time_limit(x: Array) -> None:
    net = small(max_iter=10**6, tol=0, n_iter_no_change=10**6, time_limit=1e-9).fit(x, quadrant(x))
    assert net.n_iter_ == 1


def test_most_evaluations_of_lbfgs(x: Array) -> None:
    assert quick(max_fun=100, tol=0).fit(x, quadrant(x)).n_iter_ <= 4


def test_a_callback_ends_training(x: Array) -> None:
    def stop(epoch: int, logs: Any) -> None:
        net.model_.stop_training = epoch == 2

    net = small(callbacks=[fd.callbacks.LambdaCallback(on_epoch_end=stop)])
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        assert net.fit(x, quadrant(x)).n_iter_ == 3


def test_ctrl_c_leaves_a_fitted_estimator(x: Array) -> None:
    def interrupt(epoch: int, logs: Any) -> None:
        if epoch == 4:
            raise KeyboardInterrupt

    net = small(callbacks=fd.callbacks.LambdaCallback(on_epoch_end=interrupt))
    with pytest.raises(KeyboardInterrupt):
        net.fit(x, quadrant(x))
    assert net.predict(x[:2]).shape == (2,)
    assert len(net.loss_curve_) in (4, 5)


# ---- beside scikit-learn ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
@pytest.mark.parametrize("labels", [2, 3, "several"])
def test_objective_and_gradient_are_those_of_scikit_learn(x: Array, labels: Any, weighted: bool) -> None:
    """The same weights give the same loss, and one step of plain gradient descent the same weights."""
    pytest.importorskip("sklearn", "1.7")  # has sample weights
    y = (
        (x[:, :3] > 0).astype(int)
        if labels == "several"
        else np.digitize(x[:, 0], [0.0] if labels == 2 else [-0.5, 0.5])
    )
    w = np.random.default_rng(1).uniform(0.5, 2.0, len(x)) if weighted else None
    both = {"hidden_layer_sizes": (5,), "activation": "tanh", "solver": "sgd", "momentum": 0.0, "max_iter": 1,
            "alpha": 3.0, "batch_size": len(x), "learning_rate_init": 0.1, "random_state": 0}  # fmt: skip
    theirs = MLPClassifier(**both, nesterovs_momentum=False).fit(x, y, sample_weight=w)
    ours = DenseClassifier(**both, nesterovs_momentum=False, warm_start=True)
    ours.set_params(learning_rate_init=1e-300).fit(x, y, sample_weight=w)
    start = MLPClassifier(**{**both, "learning_rate_init": 1e-300}).fit(x, y, sample_weight=w)
    tensors = [array for pair in zip(start.coefs_, start.intercepts_, strict=True) for array in pair]
    ours.model_.set_weights(tensors)
    ours.set_params(learning_rate_init=0.1).fit(x, y, sample_weight=w)
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-12)
    for mine, other in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-10, atol=1e-13)  # sums of 240 rows in another order


def test_every_parameter_of_scikit_learn_is_taken(x: Array) -> None:
    """An estimator of scikit-learn's parameters, whatever the solver."""
    given = MLPClassifier(max_iter=2).get_params()
    for solver in ("adam", "sgd", "lbfgs"):
        DenseClassifier(**{**given, "solver": solver}).fit(x, quadrant(x))
    assert given.keys() <= DenseClassifier().get_params().keys()


def test_attributes(x: Array) -> None:
    net = quick(alpha=0).fit(x, quadrant(x))
    assert [array.shape for array in net.coefs_ + net.intercepts_] == [(4, 16), (16, 1), (16,), (1,)]
    assert (net.n_layers_, net.n_outputs_, net.out_activation_) == (3, 1, "logistic")
    assert isinstance(net.model_, fd.Model) and net.models_ == [net.model_]
    assert net.loss_ == pytest.approx(log_loss(quadrant(x), net.predict_proba(x)), rel=1e-6)
    assert net.validation_scores_ is net.validation_loss_curve_ is net.best_validation_score_ is None
    for name in ("coefs_", "model_", "loss_curve_", "t_", "n_layers_", "validation_scores_"):
        assert not hasattr(small(), name)
    with pytest.raises(NotFittedError):
        small().predict(x)


def test_float32_stays_float32(x: Array) -> None:
    assert small().fit(x.astype(np.float32), quadrant(x)).predict_proba(x).dtype == np.float32
    assert small().fit((x * 10).astype(int), quadrant(x)).model_.dtype == "float64"


# ---- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", [name for name in fd.activations.ACTIVATIONS if name != "softmax"])
def test_activations(x: Array, activation: str) -> None:
    assert small(activation=activation, max_iter=2).fit(x, quadrant(x)).n_iter_ == 2


@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd", "rmsprop", "nadam", "lion", "muon", "kfac", fd.Muon(0.02)])
def test_solvers_of_batches(x: Array, solver: Any) -> None:
    net = small(solver=solver, max_iter=30).fit(x, quadrant(x))
    assert net.loss_curve_[-1] < net.loss_curve_[0]
    assert net.get_params()["solver"] is solver


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg"])
def test_solvers_of_all_rows(x: Array, solver: str) -> None:
    assert small(solver=solver, max_iter=100).fit(x, quadrant(x)).score(x, quadrant(x)) > 0.98


def test_the_parameters_of_a_solver() -> None:
    from fastdense.sklearn.settings import make_optimizer

    def made(**parameters: Any) -> Any:
        return make_optimizer(small(**parameters)._settings())

    assert made() == fd.Adam(0.001, epsilon=1e-8)
    assert made(solver="sgd") == fd.SGD(0.001, momentum=0.9, nesterov=True)
    assert made(solver="rmsprop") == fd.RMSprop()
    assert made(solver="lion", beta_2=0.95) == fd.Lion(beta_2=0.95)
    assert made(solver="adamw", alpha=0.1) == fd.AdamW(0.001, 0.1, epsilon=1e-8)
    assert made(solver="lbfgs", tol=1e-3) == fd.LBFGS(gtol=1e-3)


def test_alpha_decays_weights_once(x: Array) -> None:
    """Of an optimizer with a decay of its own there is no penalty beside it."""
    assert "l2" not in str(small(solver="adamw", alpha=0.1).fit(x, quadrant(x)).model_.get_config())
    assert "l2" in str(small(alpha=0.1).fit(x, quadrant(x)).model_.get_config())


def test_layers(x: Array) -> None:
    net = small(hidden_layer_sizes=(8, 4), batch_norm=True, dropout=0.1, alpha=0).fit(x, quadrant(x))
    assert [type(layer).__name__ for layer in net.model_.layers] == [
        *["Dense", "BatchNorm", "Activation", "Dropout"] * 2, "Dense"]  # fmt: skip
    assert len(small(hidden_layer_sizes=()).fit(x, quadrant(x)).coefs_) == 1
    assert small(hidden_layer_sizes=7).fit(x, quadrant(x)).coefs_[0].shape == (4, 7)


def test_several_starts_and_several_nets(x: Array) -> None:
    y = quadrant(x)
    assert quick(n_starts=4).fit(x, y).score(x, y) > 0.95
    net = small(n_ensemble=3).fit(x, y)
    outputs = [model.predict(x) for model in net.models_]
    assert not np.array_equal(outputs[0], outputs[1])
    np.testing.assert_allclose(net.predict_proba(x)[:, 1], np.mean(outputs, axis=0)[:, 0], rtol=1e-12)
    np.testing.assert_array_equal(outputs[0][:, 0], small().fit(x, y).predict_proba(x)[:, 1])


WRONG = [
    ({"solver": "adamm"}, "solver='adamm' is not a known optimizer. Did you mean 'adam'?"),
    ({"momentum": 0.5}, "momentum is 0.5 and the solver 'adam'; it has no momentum: leave it out"),
    ({"solver": fd.Adam(), "beta_1": 0.5}, "beta_1 is 0.5 and the solver Adam(); it has no beta_1: leave it out"),
    ({"solver": "lbfgs", "batch_size": 10}, "batch_size is 10 for 240 rows; 'lbfgs' takes all rows in each step"),
    ({"solver": "lbfgs", "learning_rate": "adaptive"}, "learning_rate is 'adaptive' and the solver 'lbfgs'"),
    ({"learning_rate": "falling"}, "learning_rate='falling' is not known"),
    ({"learning_rate": "adaptive", "learning_rate_init": fd.schedules.CosineDecay(0.1, 10)},
     "learning_rate is 'adaptive' and learning_rate_init a schedule; they are alternatives: drop one"),
    ({"learning_rate_init": 0}, "learning_rate_init=0 is out of range. Give a finite number above 0."),
    ({"activation": "rel"}, "activation='rel' is not a known activation. Did you mean 'relu'?"),
    ({"activation": None}, "activation=None. Give a name such as 'relu'."),
    ({"hidden_layer_sizes": (4, 0)}, "hidden_layer_sizes[1]=0 is out of range. Give a whole number, at least 1."),
    ({"hidden_layer_sizes": "wide"}, "hidden_layer_sizes='wide' is of type str. Give a list of whole numbers."),
    ({"alpha": -1}, "alpha=-1 is out of range. Give a finite number at least 0."),
    ({"batch_size": 0}, "batch_size=0 is out of range. Give a whole number, at least 1."),
    ({"batch_size": "all"}, "batch_size='all' is not known. Use 'auto', or a whole number."),
    ({"max_iter": 0}, "max_iter=0 is out of range. Give a whole number, at least 1."),
    ({"early_stopping": "f1"}, "early_stopping='f1' is not known. Use 'loss' or 'score', or True or False."),
    ({"early_stopping": True, "validation_fraction": 1}, "validation_fraction=1 is out of range."),
    ({"loss": "hinge"}, "loss='hinge' is not known. Use 'log_loss'."),
    ({"dropout": 1}, "dropout=1 is out of range. Give a finite number at least 0 and below 1."),
    ({"n_starts": 0}, "n_starts=0 is out of range. Give a whole number, at least 1."),
    ({"n_ensemble": 0}, "n_ensemble=0 is out of range. Give a whole number, at least 1."),
    ({"time_limit": 0}, "time_limit=0 is out of range. Give a finite number above 0."),
    ({"n_threads": 0}, "n_threads=0 is out of range. Give a whole number, at least 1."),
    ({"verbose": "all"}, "verbose='all' is not known. Use 'auto', or True, False, 0, 1 or 2."),
]  # fmt: skip


@pytest.mark.parametrize(("parameters", "words"), WRONG, ids=[str(one)[:60] for one, _ in WRONG])
def test_wrong_parameters(x: Array, parameters: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=re.escape(f"DenseClassifier: {words}")):
        small(**parameters).fit(x, quadrant(x))


def test_training_that_diverges() -> None:
    x = np.array([[1e150], [-1e150], [2e150]])
    words = "the loss or a weight is not finite after epoch .*; training diverged: scale X"
    with pytest.raises(ValueError, match=words):
        small(solver="sgd", activation="identity", hidden_layer_sizes=(4, 4), learning_rate_init=1e300).fit(
            x, [0, 1, 0]
        )


# ---- copies and processes --------------------------------------------------------------------------------------------


def test_pickles_go_on_where_they_were(x: Array) -> None:
    y = quadrant(x)
    net = small().partial_fit(x, y)
    again = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(net.predict_proba(x), again.predict_proba(x))
    np.testing.assert_array_equal(net.partial_fit(x, y).predict_proba(x), again.partial_fit(x, y).predict_proba(x))
    file = io.BytesIO()
    joblib.dump(net, file)
    file.seek(0)
    assert joblib.load(file).loss_curve_ == net.loss_curve_


def test_clone_and_search(x: Array) -> None:
    y = quadrant(x)
    assert clone(small(alpha=0.5)).get_params() == small(alpha=0.5).get_params()
    grid = {"alpha": [1e-4, 1e2], "hidden_layer_sizes": [(2,), (16,)]}
    search = GridSearchCV(quick(), grid, cv=3).fit(x, y)
    assert search.best_params_ == {"alpha": 1e-4, "hidden_layer_sizes": (16,)}


@pytest.mark.parametrize("backend", ["threading", "loky"])
@pytest.mark.filterwarnings("ignore:.*fork")
def test_the_same_scores_in_threads_and_processes(x: Array, backend: str) -> None:
    y = quadrant(x)
    alone = cross_val_score(small(), x, y, cv=3)
    with joblib.parallel_config(backend, n_jobs=2):
        np.testing.assert_array_equal(cross_val_score(small(), x, y, cv=3), alone)


def test_one_thread_in_a_thread_of_joblib() -> None:
    def threads(**parameters: Any) -> int | None:
        return small(**parameters)._threads("fit")

    assert threads() is None
    call = joblib.delayed(threads)
    assert joblib.Parallel(2, "threading")([call(), call(n_threads=3)]) == [1, 3]


def test_diagnose(x: Array) -> None:
    y = quadrant(x)
    net = small(activation="relu", learning_rate_init=1e-12).fit(x, y)
    report = net.diagnose(x, y, verify=False)
    assert report.findings
