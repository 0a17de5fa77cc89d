"""The compiled engine against the reference: outputs, losses, gradients, metrics. Training runs: test_parity_runs.py."""

from __future__ import annotations

import itertools
import os
from typing import Any

import numpy as np
import pytest
from pairs import Array, Problem, Results, compare, inputs
from programs import (
    BATCH_NORM,
    BEGIN,
    DROPOUT,
    END,
    LAYER_NORM,
    NORMALIZATION,
    Spec,
    activation,
    dense,
    loss_spec,
    metric,
)

from fastdense import _core

# name -> (loss, activation of the last layer that suits it)
LOSSES: dict[str, tuple[Spec, str]] = {
    "mse": (loss_spec("mse"), "linear"),
    "mae": (loss_spec("mae"), "linear"),
    "huber": (loss_spec("huber"), "linear"),
    "log_cosh": (loss_spec("log_cosh"), "linear"),
    "mape": (loss_spec("mape"), "linear"),
    "poisson": (loss_spec("poisson"), "softplus"),
    "quantile": (loss_spec("quantile"), "linear"),
    "hinge": (loss_spec("hinge"), "tanh"),
    "binary": (loss_spec("binary_crossentropy", label_smoothing=0.1), "sigmoid"),
    "binary_logits": (loss_spec("binary_crossentropy", from_logits=True, label_smoothing=0.2), "linear"),
    "binary_probabilities": (loss_spec("binary_crossentropy"), "hard_sigmoid"),
    "classes": (loss_spec("categorical_crossentropy", label_smoothing=0.1), "softmax"),
    "classes_logits": (loss_spec("categorical_crossentropy", from_logits=True), "linear"),
    "classes_probabilities": (loss_spec("categorical_crossentropy", label_smoothing=0.2), "softplus"),
    "ids": (loss_spec("sparse_categorical_crossentropy", label_smoothing=0.1), "softmax"),
    "ids_logits": (loss_spec("sparse_categorical_crossentropy", from_logits=True), "linear"),
    "ids_probabilities": (loss_spec("sparse_categorical_crossentropy"), "sigmoid"),
}


# kind -> ops around a hidden activation and the last one
def nets(hidden: str, last: str) -> dict[str, list[Spec]]:
    first, top = dense(6, hidden), dense(3, last)
    return {
        "plain": [first, top],
        "no_bias": [dense(6, hidden, use_bias=False), dense(3, last, use_bias=False)],
        "activation": [dense(6), activation(hidden), dense(3), activation(last)],
        "batch_norm": [dense(6, hidden, use_bias=False), BATCH_NORM, top],
        "batch_norm_first": [BATCH_NORM, first, top],
        "batch_norm_last": [dense(6, hidden, use_bias=False), dense(3, use_bias=False), BATCH_NORM, activation(last)],
        "layer_norm": [first, LAYER_NORM, top],
        "dropout": [DROPOUT, first, DROPOUT, top],
        "normalization": [NORMALIZATION, first, top],
        "residual": [first, BEGIN, dense(5, hidden), BEGIN, LAYER_NORM, dense(5, hidden), END, dense(6), END, top],
        "residual_first": [BEGIN, dense(4, hidden), END, top],
        "penalties": [
            dense(6, hidden, kernel_l1=0.01, kernel_l2=0.02, bias_l1=0.01, bias_l2=0.02, activity_l1=0.02),
            dense(5, kernel_orthogonal=0.1, kernel_repulsion=0.2, activity_l2=0.02),
            dense(3, last, kernel_orthogonal=0.1, kernel_orthogonal_columns=True, activity_l1=0.01, activity_l2=0.02),
        ],
    }


NETS = tuple(nets("tanh", "linear"))
HIDDEN = tuple(name for name in _core.ACTIVATIONS if name != "softmax")
EVERY_METRIC = tuple(
    metric(kind, threshold=threshold, multiclass=multiclass)
    for kind in _core.METRICS
    for threshold, multiclass in ([(0.4, False), (0.5, True)] if kind in ("precision", "recall", "f1") else [(0.4, False)])
)


def gradients(engine: Any, problem: Problem, noise: Any) -> Results:
    """Outputs, outputs of every op, loss and gradients in both modes."""
    x, y, w = inputs(problem, noise)
    out = np.zeros((len(x), problem.widths[-1]), dtype=engine.get_tensors()[0].dtype)
    engine.predict(x, out, n_threads=2)
    found: Results = {"outputs": out}
    found |= {f"output of op {i}": a for i, a in enumerate(engine.activations(x, n_threads=2))}
    for training in (False, True):
        loss, grads = engine.loss_and_grad(x, y, w, training=training, n_threads=2)
        found[f"loss, training={training}"] = np.array(loss)
        found |= {f"gradient {i}, training={training}": g for i, g in enumerate(grads)}
    return found


def evaluation(engine: Any, problem: Problem, noise: Any) -> Results:
    """Every total of an evaluation by itself."""
    totals = engine.evaluate(*inputs(problem, noise), n_threads=2)
    return {f"total {i}": np.array(total) for i, total in enumerate(totals)}


def core(items: Any, *others: Any) -> list[Any]:
    """Parameters: the product of all, of which those that show every item once are named core. See test_parity_isa.py."""
    lists = [list(items), *map(list, others)]
    every = list(itertools.product(*lists))
    shown = {tuple(one[i % len(one)] for one in lists) for i in range(max(map(len, lists)))}
    return [pytest.param(*p, id="-".join(map(str, p)) + ("-core" if p in shown else "")) for p in every]


def test_the_instruction_set_is_the_one_asked_for_core() -> None:
    available = _core.build_info()["isa_available"].split(", ")
    assert _core.build_info()["isa"] == os.environ.get("FASTDENSE_ISA", available[-1])


@pytest.mark.parametrize(("loss", "net"), core(LOSSES, NETS))
def test_every_loss_and_layer(loss: str, net: str) -> None:
    spec, last = LOSSES[loss]
    hidden = HIDDEN[(list(LOSSES).index(loss) + 5 * NETS.index(net)) % len(HIDDEN)]
    compare(Problem(nets(hidden, last)[net], spec), gradients)


# A loss of probabilities or of positive numbers has no value at the others.
PROBABILITIES, POSITIVE = ("sigmoid", "hard_sigmoid", "softmax"), ("softplus", "sigmoid", "exponential", "softmax")
SUITED = {"poisson": POSITIVE, "binary_probabilities": PROBABILITIES, "binary": PROBABILITIES}
SUITED |= dict.fromkeys(("classes", "ids", "classes_probabilities", "ids_probabilities"), (*POSITIVE, "hard_sigmoid"))


@pytest.mark.parametrize(("last", "loss"), core(_core.ACTIVATIONS, LOSSES))
def test_every_activation_and_loss(last: str, loss: str) -> None:
    if last not in SUITED.get(loss, (last,)):
        last = "softmax"
    hidden = HIDDEN[(_core.ACTIVATIONS.index(last) + list(LOSSES).index(loss)) % len(HIDDEN)]
    compare(Problem([dense(7, hidden), dense(3, last)], LOSSES[loss][0]), gradients)
