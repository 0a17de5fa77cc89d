"""Numbers that no engine holds get an error that names the argument, wherever they are given."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import fastdense as fd

N = 12
X = np.random.RandomState(0).rand(N, 4).astype(np.float32)
IDS = np.arange(N) % 3
ONE_HOT = np.eye(3, dtype=np.float32)[IDS]

HUGE = 10**400  # more than the largest float64
SHOWN = "1" + 76 * "0" + "..."
TABLE = [[1, 2, 3, 4]] * (N - 1) + [[1, 2, 3, HUGE]]
OUT_OF_RANGE = f"={SHOWN} is out of range. Give "
BEYOND = " is beyond the largest float64; numbers that float64 holds are needed: use another unit, or drop such rows"


def sparse(device: str) -> fd.Model:
    model = fd.Model([fd.Dense(3, "softmax")], inputs=4, device=device)
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: fd.SGD(HUGE), "SGD: learning_rate" + OUT_OF_RANGE),
        (lambda m: setattr(m.optimizer, "learning_rate", HUGE), "SGD: learning_rate" + OUT_OF_RANGE),
        (lambda m: fd.Adam(weight_decay=HUGE), "Adam: weight_decay" + OUT_OF_RANGE),
        (lambda m: fd.schedules.CosineDecay(0.1, HUGE), "CosineDecay: decay_steps" + OUT_OF_RANGE),
        (lambda m: fd.Dropout(HUGE), "Dropout: rate" + OUT_OF_RANGE),
        (lambda m: fd.Dense(HUGE), "Dense: units" + OUT_OF_RANGE),
        (lambda m: fd.regularizers.L2(HUGE), "L2: l2" + OUT_OF_RANGE),
        (lambda m: fd.Model([fd.Dense(1)], inputs=HUGE), "Model: inputs" + OUT_OF_RANGE),
        (lambda m: m.clone(HUGE), "Model: seed" + OUT_OF_RANGE),
        (lambda m: m.compile("sgd", "mse", loss_weights=HUGE), "compile: loss_weights" + OUT_OF_RANGE),
        (lambda m: m.fit(X, IDS, epochs=10**5000), "fit: epochs=<int of more digits than Python writes> is out of"),
        (lambda m: m.fit(X, IDS, batch_size=HUGE), "fit: batch_size" + OUT_OF_RANGE),
        (lambda m: m.fit(X, IDS, validation_split=HUGE), "fit: validation_split" + OUT_OF_RANGE),
        (lambda m: m.fit(X, IDS, class_weight={0: HUGE}), f"fit: class_weight[0] is {SHOWN}; weights must be finite"),
        (lambda m: m.fit(X, IDS, class_weight={HUGE: 1}), f"fit: class_weight names class {SHOWN}; the classes are"),
        (lambda m: m.fit(X, IDS, sample_weight=[HUGE] * N), "fit: sample_weight has dtype object: sample_weight[0]"),
        (lambda m: m.fit(TABLE, IDS), "fit: x has dtype object: x[11, 3]" + BEYOND),
        (lambda m: m.fit(X, [*IDS[1:].tolist(), HUGE]), "fit: y has dtype object: y[11]" + BEYOND),
        (lambda m: m.predict([[0.5, 1, 2, Fraction(HUGE)]]), "predict: x has dtype object: x[0, 3]" + BEYOND),
        (lambda m: m.set_weights([np.zeros((4, 3)), [HUGE] * 3]), "set_weights: weights[1] has dtype object: weights"),
        (lambda m: m.solve_output(X, ONE_HOT, ridge=HUGE), "solve_output: ridge" + OUT_OF_RANGE),
        (lambda m: m.diagnose(X, IDS, budget=HUGE), "diagnose: budget" + OUT_OF_RANGE),
        (lambda m: m.diagnose(X, IDS, history={"loss": [HUGE]}), "diagnose: history holds something else than lists"),
        (lambda m: fd.fit_many(m, X, IDS, starts=2, learning_rate=[HUGE, 1]), "fit_many: learning_rate has dtype obj"),
        (lambda m: fd.fit_many(m, X, IDS, starts=HUGE), "fit_many: starts" + OUT_OF_RANGE),
        (lambda m: fd.cross_validate(m, X, IDS, seed=HUGE), "cross_validate: seed" + OUT_OF_RANGE),
        (lambda m: fd.cross_validate(m, X, IDS, seed=-1), "cross_validate: seed=-1 is out of range"),
        (lambda m: fd.learning_rate_test(m, X, IDS, seed=HUGE), "learning_rate_test: seed" + OUT_OF_RANGE),
    ],
)  # fmt: skip
def test_numbers_beyond_float64(device: str, call: Callable[[fd.Model], Any], message: str) -> None:
    model = sparse(device)
    before = [w.tobytes() for w in model.get_weights()]
    with pytest.raises(ValueError, match="^" + re.escape(message)) as caught:
        call(model)
    assert len(str(caught.value)) < 400 and [w.tobytes() for w in model.get_weights()] == before


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fd.KFAC(interval=2**63), "KFAC: interval=9223372036854775808 is out of range. Give a whole number, at "
         "least 1 and at most 4611686018427387904."),
        (lambda: fd.LBFGS(line_search_steps=2**63), "LBFGS: line_search_steps=9223372036854775808 is out of range."),
        (lambda: fd.NewtonCG(cg_steps=2**63), "NewtonCG: cg_steps=9223372036854775808 is out of range."),
        (lambda: fd.Muon(ns_steps=2**31), "Muon: ns_steps=2147483648 is out of range. Give a whole number, at least 0 "
         "and at most 1000."),
    ],
)  # fmt: skip
def test_integers_beyond_what_engines_hold(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_the_largest_integers_train(device: str) -> None:
    for optimizer in (fd.KFAC(interval=2**62), fd.LBFGS(line_search_steps=10**6), fd.NewtonCG(cg_steps=10**6)):
        model = fd.Model([fd.Dense(3)], inputs=4, device=device)
        model.compile(optimizer, "mse")
        model.fit(X, ONE_HOT, verbose=0)
        assert model.runner.step == 1
