"""Nets in lanes against the reference: every op, loss, optimizer and penalty, within derived tolerances."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fastdense import _core
from fastdense.calls import PopulationCall, TrainCall
from fastdense.engine import gpu as cuda
from tests.helpers import devices
from tests.helpers.pairs import Problem, inputs, noisy_results, remembered_orders, settle
from tests.helpers.programs import (
    BATCH_NORM,
    BEGIN,
    DROPOUT,
    END,
    LAYER_NORM,
    OPTIMIZERS,
    RESCALING,
    Spec,
    activation,
    dense,
    loss_spec,
)
from tests.helpers.tolerances import DTYPES, allowed

pytestmark = pytest.mark.usefixtures("together")

STARTS = 18  # more than the widest vector holds
EPOCHS = 3


class Lanes:
    """A population of equal nets that answers for one of them, as an engine does."""

    def __init__(self, program: Spec) -> None:
        seeds = np.full(STARTS, program["seed"], dtype=np.uint64)
        self.nets, self.dtype = devices.compiled_population(program, seeds), program["dtype"]
        self.which = 17

    def set_tensors(self, tensors: list[Any]) -> None:
        self.nets.set_tensors([np.ascontiguousarray(np.stack([t] * STARTS), self.dtype) for t in tensors])

    def get_tensors(self) -> list[Any]:
        found = self.nets.get_tensors()
        for tensor in found:
            assert (tensor == tensor[:1]).all(), "equal nets in different lanes end differently"
        return [tensor[self.which] for tensor in found]

    def configure(self, training: Spec) -> None:
        self.nets.configure(training)

    def train(self, call: TrainCall) -> Spec:
        losses, rows = np.zeros((EPOCHS, STARTS)), len(call.x)
        options = {key: getattr(call, key) for key in ("batch_size", "shuffle", "epoch", "n_threads")}
        self.nets.train(PopulationCall(call.x, call.y, call.w, call.step_rates, losses, **options))
        return {"totals": np.stack([losses[:, self.which] * rows, np.full(EPOCHS, rows)], axis=1)}

    def evaluate(self, x: Any, y: Any, w: Any, *, n_threads: int) -> Any:
        return self.nets.evaluate(x, y, w, n_threads=n_threads, which=None)[self.which]

    def predict(self, x: Any, out: Any, *, n_threads: int) -> None:
        every = np.zeros((STARTS, *out.shape), out.dtype)
        self.nets.predict(x, every, n_threads=n_threads)
        out[:] = every[self.which]


def ask(engine: Any, problem: Problem, noise: Any, batch: int = 7, shuffle: bool = True) -> dict[str, Any]:
    x, y, w = inputs(problem, noise)
    w = w if problem.weighted else None
    batches = -(-len(x) // batch)
    rates = np.linspace(0.02, 0.01, EPOCHS * batches)
    result = engine.train(TrainCall(x, y, w, rates, batch, shuffle, epoch=1, n_threads=2))
    found = {"losses": result["totals"][:, 0] / result["totals"][:, 1]}
    found |= {f"tensor {i}": tensor for i, tensor in enumerate(engine.get_tensors())}
    found["evaluate"] = engine.evaluate(x, y, w, n_threads=1)
    out = np.zeros((len(x), problem.widths[-1]), getattr(engine, "dtype", "float64"))
    engine.predict(x, out, n_threads=1)
    found["predict"] = out
    return found


def for_the_gpu(problem: Problem, batch: int) -> Problem:
    """The problem without what the GPU's kernel for many nets says that it lacks."""
    whole = ("kernel_orthogonal", "kernel_repulsion")
    lacks = any(op.get(key) for op in problem.ops for key in whole)
    program = {"inputs": problem.inputs, "seed": 7, "dtype": "float64", "ops": problem.ops}
    reason = cuda.require().why_not_fused(program, problem.training, batch)
    if "params" in problem.loss:
        assert reason == "the loss has a number of its own for each output"
        return replace(problem, loss={key: value for key, value in problem.loss.items() if key != "params"})
    assert reason == ("there is a penalty on whole matrices (orthogonal or repulsion)" if lacks else "")
    return replace(problem, ops=[op | {key: 0.0 for key in whole if key in op} for op in problem.ops])


def compare(problem: Problem, **options: Any) -> None:
    """Every number of a short training in lanes is that of the reference, within rounding."""

    def question(engine: Any, problem: Problem, noise: Any) -> dict[str, Any]:
        return ask(engine, problem, noise, **options)

    if devices.under_test() == "cuda":
        problem = for_the_gpu(problem, options.get("batch", 7))
    with remembered_orders():
        problem, clean = settle(problem, question)
        noisy = noisy_results(problem, question)
    terms = max(*problem.widths, problem.rows)
    for dtype in DTYPES:
        found = question(problem.engine(Lanes, dtype), problem, None)
        for name, exact in clean.items():
            off = np.max(np.abs(np.asarray(found[name], dtype=np.float64) - exact), initial=0.0)
            limit = allowed(dtype, terms, exact, [other[name] for other in noisy])
            assert off <= limit, f"{dtype} {name}: off by {off:.3g}, allowed {limit:.3g}"


HIDDEN = [name for name in _core.ACTIVATIONS if name != "softmax"]
NETS: dict[str, Problem] = {
    "batch_norm": Problem([dense(5, "tanh"), BATCH_NORM, dense(2)], optimizer="adam"),
    "batch_norm first": Problem([BATCH_NORM, dense(5, "tanh"), dense(2)]),
    "layer_norm": Problem([dense(5), LAYER_NORM, activation("softplus"), dense(2)], optimizer="adam"),
    "dropout": Problem([dense(6, "tanh"), DROPOUT, dense(5, "softplus"), DROPOUT, dense(2)]),
    "dropout first": Problem([DROPOUT, dense(5, "tanh"), dense(2)]),
    "residual": Problem(
        [dense(4, "tanh"), BEGIN, dense(5, "softplus"), BEGIN, activation("tanh"), END, dense(4), END, dense(2)]
    ),  # fmt: skip
    "rescaling": Problem([RESCALING, dense(5), RESCALING, activation("tanh"), dense(2), RESCALING], optimizer="adam"),
    "residual first": Problem([BEGIN, dense(5, "tanh"), dense(4), END, dense(2)]),
    "prelu": Problem([dense(5, "prelu"), activation("prelu"), dense(2)]),
    "no bias": Problem([dense(5, "tanh", use_bias=False), dense(2, use_bias=False)]),
    "one layer": Problem([dense(3)]),
    "wide": Problem([dense(37, "tanh"), dense(19, "tanh"), dense(5)], inputs=23, optimizer="adam"),
    "penalties": Problem(
        [
            dense(
                6,
                "tanh",
                kernel_l1=0.01,
                kernel_l2=0.02,
                kernel_repulsion=0.3,
                bias_l2=0.1,
                activity_l1=0.01,
                activity_l2=0.02,
            ),
            dense(3, "tanh", kernel_orthogonal=0.2),
            dense(4, kernel_orthogonal=0.2, kernel_orthogonal_columns=True),
        ]
    ),  # fmt: skip
    "smallest": Problem([dense(3, "relu"), dense(1)], inputs=2, weighted=False, optimizer="adam"),
    "smallest weighted": Problem([dense(3, "relu"), dense(1)], inputs=2, optimizer="adam"),
    "small, six units": Problem([dense(6, "relu", use_bias=False), dense(1)], inputs=4, weighted=False),
}
LOSSES: dict[str, Problem] = {
    **{kind: Problem([dense(5, "tanh"), dense(3)], loss_spec(kind)) for kind in
       ("mse", "mae", "huber", "log_cosh", "mape", "quantile", "hinge")},
    "quantiles": Problem([dense(5, "tanh"), dense(3)], loss_spec("quantile", params=[0.1, 0.5, 0.8])),
    "poisson": Problem([dense(5, "tanh"), dense(3, "softplus")], loss_spec("poisson")),
    "binary": Problem([dense(5, "tanh"), dense(3, "sigmoid")], loss_spec("binary_crossentropy", label_smoothing=0.1)),
    "binary logits": Problem([dense(5, "tanh"), dense(3)], loss_spec("binary_crossentropy", from_logits=True)),
    "binary apart": Problem([dense(5), dense(3), activation("sigmoid")], loss_spec("binary_crossentropy")),
    "binary probabilities": Problem([dense(5), dense(3, "hard_sigmoid")], loss_spec("binary_crossentropy")),
    "categorical": Problem([dense(5, "tanh"), dense(3, "softmax")], loss_spec("categorical_crossentropy")),
    "categorical probabilities": Problem([dense(5, "tanh"), dense(3, "softplus")],
                                         loss_spec("categorical_crossentropy", label_smoothing=0.1)),
    "sparse": Problem([dense(5, "tanh"), dense(4, "softmax")], loss_spec("sparse_categorical_crossentropy")),
    "sparse logits": Problem([dense(5, "tanh"), dense(4)],
                             loss_spec("sparse_categorical_crossentropy", from_logits=True, label_smoothing=0.2)),
    "softmax and mse": Problem([dense(5, "tanh"), dense(3, "softmax")], loss_spec("mse")),
}  # fmt: skip
CLIPS: dict[str, Spec] = {
    "clipvalue": {"clipvalue": 0.05},
    "clipnorm": {"clipnorm": 0.1},
    "global_clipnorm": {"global_clipnorm": 0.1},
    "weight_decay": {"weight_decay": 0.3},
}


@pytest.mark.parametrize("name", HIDDEN)
def test_activations(name: str) -> None:
    compare(Problem([dense(5, "tanh"), activation(name), dense(4, "tanh"), dense(4, name), dense(2)]))


@pytest.mark.parametrize("name", NETS)
def test_nets(name: str) -> None:
    compare(NETS[name])


@pytest.mark.parametrize("name", ["smallest", "dropout", "batch_norm", "penalties", "residual first"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_full_batches(name: str, shuffle: bool) -> None:
    compare(NETS[name], batch=20, shuffle=shuffle)


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str) -> None:
    compare(LOSSES[name])


NOT_IN_LANES = ("muon", "kfac", "average")


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name not in NOT_IN_LANES])
def test_optimizers(name: str) -> None:
    compare(Problem([dense(5, "tanh"), dense(2)], optimizer=name))


@pytest.mark.parametrize("name", NOT_IN_LANES)
def test_optimizers_that_lanes_lack_are_refused(name: str) -> None:
    problem = Problem([dense(5, "tanh"), dense(2)], optimizer=name)
    program = {"inputs": problem.inputs, "seed": 7, "dtype": "float64", "ops": problem.ops}
    if devices.under_test() == "cuda":
        reason = cuda.require().why_not_fused(program, problem.training, 7)
    else:
        reason = _core.why_not_lanes(program, problem.training, 7)
    assert ("an average of the weights is kept" if name == "average" else "whole matrices") in reason
    with pytest.raises(ValueError, match=f"these nets cannot be trained together.*: {reason}"):
        problem.engine(Lanes)


@pytest.mark.parametrize("name", CLIPS)
def test_clips(name: str) -> None:
    compare(Problem([dense(5, "tanh"), dense(2)], optimizer="momentum", options=CLIPS[name]))


def test_more_rows_than_a_block() -> None:
    compare(replace(NETS["smallest"], rows=300), batch=300)
    compare(replace(NETS["wide"], rows=150, optimizer="sgd"), batch=100)
