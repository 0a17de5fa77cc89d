"""The words of a report: what is wrong and what to do come first, and nothing is offered that the net has."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import fastdense as fd
from fastdense.diagnose import remedies
from fastdense.diagnose.plan import Plan
from fastdense.diagnose.report import Diagnosis
from fastdense.diagnose.subject import Given, Subject
from fastdense.diagnose.words import score
from tests.helpers.diagnosed import stuck

BUDGET = 60.0  # work that no case comes near


def plan(**options: object) -> Plan:
    model = fd.Model([fd.Dense(16, "relu", **options), fd.Dense(1)], inputs=2)
    model.compile(fd.Adam(0.01), "mse")
    return Plan.of(model, 32, 100, True, None)


@pytest.mark.parametrize(
    ("remedy", "words"),
    [
        (remedies.reinitialize(), ""),
        (remedies.batches(None), ""),
        (remedies.penalties(0.01), ""),
        (remedies.learning_rate(10), "learning_rate=0.1 instead of 0.01"),
        (remedies.optimizer(fd.Adam(0.001)), "learning_rate=0.001 instead of 0.01"),
        (remedies.optimizer(fd.SGD(0.1)), "optimizer=fd.SGD(learning_rate=0.1)"),
        (remedies.epochs(20), "2000 epochs instead of 100"),
        (remedies.capacity(), "at least 32 units in every hidden layer"),
        (remedies.capacity(16), ""),
        (
            remedies.together(remedies.hidden_activation("leaky_relu"), remedies.reinitialize()),
            "leaky_relu in the hidden layers",
        ),
    ],
)
def test_a_remedy_says_what_it_changes(remedy: remedies.Remedy, words: str) -> None:
    assert remedy.says(plan()) == words


def test_a_remedy_says_the_numbers_of_penalties_and_which_weights_are_new() -> None:
    penalized = plan(kernel_regularizer=fd.regularizers.L2(1.0))
    assert remedies.penalties(0.01).says(penalized) == "L2(0.01) instead of L2(1)"
    assert remedies.penalties(0.0).says(plan(activity_regularizer=fd.regularizers.L1(0.1))) == "no activity penalty"
    constant = plan(kernel_initializer="zeros")
    assert (
        remedies.reinitialize().says(constant)
        == "random initial kernels of the right scale (kernel_initializer='auto')"
    )
    own = replace(
        plan(), initial_weights=Plan.of(plan().build(), 32, 1, True, plan().build().get_weights()).initial_weights
    )
    assert remedies.reinitialize().says(own) == "train again from new random initial weights"


def test_scores_have_two_places_and_no_negative_zero() -> None:
    model = fd.Model([fd.Dense(1)], inputs=2)
    model.compile("adam", "mse")
    x = np.random.default_rng(0).standard_normal((100, 2))
    subject = Subject(model, Given(x, x[:, :1] * 0.37))
    said = [score(subject, error) for error in (0.0021, 0.5041, 1.0001, 1.013, 4.6, 300.0, np.inf)]
    assert said == [
        "R2 0.998", "R2 0.50", "R2 0.00", "R2 -0.01", "R2 < 0", "far worse than a constant prediction", "it diverges",
    ]  # fmt: skip


def test_the_headline_says_what_is_wrong_and_what_to_do() -> None:
    model, x, y = stuck()
    report: Diagnosis[fd.Model] = model.diagnose(x, y, budget=BUDGET)
    words = report.headline
    assert words.endswith(" in a trial.") and "Remedy: end with 1 linear unit; it reached R2 0." in words
    assert "targets are negative, and a relu output never is (OUTPUT_RELU)" in words
    assert "-> see the causes above" not in str(report)


def test_what_fit_rejects_was_not_trained() -> None:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((300, 2))
    model = fd.Model([fd.Dense(8, "relu"), fd.Dense(3, "softmax")], inputs=2)
    model.compile(fd.Adam(0.01), "sparse_categorical_crossentropy")
    report = model.diagnose(x, 1 + np.digitize(x[:, 0], [-0.5, 0.5]), budget=BUDGET)
    assert (
        report.headline.startswith("fit rejects these targets: ") and "(TARGET_ENCODING). Remedy: " in report.headline
    )
    remedy = "end with softmax over 4 units (or over 3, and pass y - 1, so that labels start at 0)"
    assert report.causes[0].remedy == remedy
    assert "rejected by fit" in next(line for line in str(report).splitlines() if line.startswith("  unchanged"))


def test_a_healthy_report_offers_nothing() -> None:
    x = np.random.default_rng(0).standard_normal((300, 2))
    model = fd.Model([fd.Dense(32, "tanh"), fd.Dense(1)], inputs=2)
    model.compile(fd.Adam(0.01), "mse")
    model.fit(x, np.sin(x[:, :1]), epochs=60, verbose=0)
    report = model.diagnose(x, np.sin(x[:, :1]), budget=BUDGET)
    assert report.healthy and not [f for f in report.findings if f.remedies and f.remedy]
