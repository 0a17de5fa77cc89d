"""The compiled and the reference engine on one problem, and how far rounding alone may drive them apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from fastdense import reference
from fastdense.reference import layers, losses, metrics, optimizers, penalties
from fastdense.reference.activations import Activation
from tests.helpers.devices import compiled_engine
from tests.helpers.programs import OFF, OPTIMIZERS, Spec, code_columns, in_order, loss_spec
from tests.helpers.tolerances import CLEARANCE, DTYPES, NOISE, NOISY_RUNS, allowed

Array = NDArray[Any]
Results = dict[str, Array]  # name -> numbers that are judged together, against the largest of them


@dataclass(frozen=True)
class Problem:
    """A net, what it is trained for, and data. Everything follows from the fields."""

    ops: list[Spec]
    loss: Spec = field(default_factory=lambda: loss_spec("mse"))
    optimizer: str = "sgd"
    options: Spec = field(default_factory=dict)
    metrics: tuple[Spec, ...] = ()
    inputs: int = 4
    rows: int = 20
    weighted: bool = True
    seed: int = 0
    smooth: bool = False  # has no kinks, so clearances are not checked
    frozen: tuple[int, ...] = ()  # numbers of ops

    @property
    def training(self) -> Spec:
        optimizer = OPTIMIZERS[self.optimizer] | OFF | self.options
        frozen = [i in self.frozen for i in range(len(self.ops))] if self.frozen else []
        return {"loss": self.loss, "optimizer": optimizer, "metrics": list(self.metrics), "frozen": frozen}

    @property
    def widths(self) -> list[int]:
        return [self.inputs] + [op["units"] for op in self.ops if op["kind"] == "dense"]

    def engine(self, kind: Any, dtype: str = "float64") -> Any:
        """Make a configured engine. Numbers are float32 throughout, so that every engine starts from the same ones."""
        engine = kind({"inputs": self.inputs, "seed": 7, "dtype": dtype, "ops": self.ops})
        engine.set_tensors(self.tensors([tensor.shape for tensor in engine.get_tensors()]))
        engine.configure(self.training)
        return engine

    def tensors(self, shapes: list[tuple[int, ...]]) -> list[Array]:
        """Kernels of the size that keeps the signal, the rest in (0.2, 1): it may be a bias, a gamma or a variance."""
        rng = np.random.default_rng([self.seed, 1])
        drawn = [
            (rng.normal(size=s) / np.sqrt(s[0]) if len(s) > 1 else rng.uniform(0.2, 1.0, s)).astype(np.float32)
            for s in shapes
        ]
        return in_order(self.inputs, self.ops, drawn)

    def data(self, rows: int | None = None, part: int = 2) -> tuple[Array, Array, Array | None]:
        """Inputs, targets that suit the loss, weights."""
        rng, rows = np.random.default_rng([self.seed, part]), rows or self.rows
        x = rng.normal(size=(rows, self.inputs)).astype(np.float32)
        for column, codes in code_columns(self.ops).items():
            x[:, column] = rng.integers(0, codes + 1, rows)  # the last one is not known
        w = rng.uniform(0.5, 2.0, rows) if self.weighted else None
        outputs, kind = self.widths[-1], self.loss["kind"]
        if kind == "sparse_categorical_crossentropy":
            return x, rng.integers(0, outputs, rows), w
        y: Array = rng.normal(size=(rows, outputs)) + 0.3
        if kind == "hinge":
            y = np.sign(y)
        elif kind == "binary_crossentropy":
            y = rng.uniform(0.0, 1.0, (rows, outputs))
            y = np.where(rng.uniform(size=y.shape) < 0.7, np.round(y), y)  # metrics ask whether it is 0 or 1
        elif kind == "categorical_crossentropy":
            y = rng.dirichlet(np.ones(outputs), rows)
        elif kind == "poisson":
            y = np.abs(y)
        elif kind == "mape":
            y = np.sign(y) * (np.abs(y) + 0.5)  # 100/|y| stays moderate
        return x, y.astype(np.float32), w


@cache
def _order(n: int, seed: int, epoch: int) -> Array:
    return reference.shuffle_indices(n, seed, epoch)


@contextmanager
def remembered_orders() -> Iterator[None]:
    """Let reference engines look up the orders of epochs: working them out takes most of a small run's time."""

    def rows_of(n: int, seed: int, epoch: int, positions: Array) -> Array:
        return _order(n, seed, epoch)[positions]

    with patch("fastdense.reference.engine.shuffle_indices", rows_of):
        yield


# -- noise -------------------------------------------------------------------------------------------------------


def _shaken(rng: np.random.Generator, values: Any) -> Array:
    """The same numbers, each off by one part in 1/NOISE."""
    values = np.asarray(values, dtype=np.float64)
    signs = 2.0 * rng.integers(0, 2, values.shape, dtype=np.int8) - 1.0
    return values * (1.0 + NOISE * signs)


@contextmanager
def noise_everywhere(rng: np.random.Generator) -> Iterator[None]:
    """Let what reference engines work out be off: outputs of activations, gradients, new weights, new slots."""
    value, exact = Activation.value, optimizers.apply_updates

    def activation(self: Activation, z: Array, slope: Any) -> Array:
        return _shaken(rng, value(self, z, slope))

    def updates(spec: Spec, t: int, lr: float, w: list[Array], g: list[Array], *rest: Any) -> Any:
        new, kept = exact(spec, t, lr, w, [_shaken(rng, a) for a in g], *rest)
        return [_shaken(rng, a) for a in new], [[_shaken(rng, a) for a in slot] for slot in kept]

    with patch.object(Activation, "value", activation), patch("fastdense.reference.engine.apply_updates", updates):
        yield


# -- kinks and jumps ---------------------------------------------------------------------------------------------

KINKS: dict[str, tuple[float, ...]] = {"relu6": (0.0, 6.0)}
KINKS |= dict.fromkeys(("hard_sigmoid", "hard_silu"), (-3.0, 3.0))
KINKS |= dict.fromkeys(("hard_tanh", "sparse_sigmoid"), (-1.0, 1.0))
KINKS |= dict.fromkeys(("soft_shrink", "hard_shrink"), (-0.3, 0.3))  # the alpha of tests.helpers.programs
KINKS |= dict.fromkeys(("relu", "leaky_relu", "prelu", "elu", "selu"), (0.0,))


@contextmanager
def closest_call() -> Iterator[list[float]]:
    """Watch reference engines: how close any number came to a kink or jump, relative to the largest beside it.

    A number right on the kink is there by construction (a dropped input, a dead unit), in every engine.
    """
    closest = [np.inf]

    def near(values: Array, at: float = 0.0) -> None:
        size, gap = np.abs(values).max(initial=1e-300), np.abs(values - at)
        closest[0] = min(closest[0], float(np.where(gap, gap, np.inf).min(initial=np.inf) / size))

    def watched(function: Any, look: Callable[..., None]) -> Any:
        def call(*args: Any) -> Any:
            look(*args)
            return function(*args)

        return call

    def activation(self: Activation, z: Array, slope: Any) -> None:
        for kink in KINKS.get(self.name, ()):
            near(z, kink)

    def edges(self: layers.PiecewiseLinear, tensors: list[Array], x: Array) -> None:
        for column, own in zip(x.T, tensors[0], strict=True):
            near(column[:, None] - own)

    def l1(w: Array, l1: float, l2: float) -> None:
        if l1:
            near(w)

    def similarity(v: Array, kind: str) -> None:
        if kind != "orthogonal":
            return  # max(0, .)^2 has no kink
        unit = v / np.sqrt(np.maximum((v * v).sum(axis=1, keepdims=True), penalties.NORM_FLOOR))
        near((unit @ unit.T)[np.triu_indices(len(v), 1)])

    def probabilities(q: Array) -> None:
        near(np.log(np.maximum(q, 1e-300)), np.log(losses.EPSILON))
        near(np.log(np.maximum(1 - q, 1e-300)), np.log(losses.EPSILON))

    def first_step(spec: Spec, t: int, lr: float, w: list[Array], g: list[Array], *rest: Any) -> None:
        if t == 1 and spec["kind"] != "sgd":  # it is g/(|g| + epsilon) in nearly all of them: a jump but for epsilon
            for gradient in g:
                near(gradient)

    with ExitStack() as stack:
        on = stack.enter_context
        on(patch.object(Activation, "value", watched(Activation.value, activation)))
        on(patch.object(layers.PiecewiseLinear, "encode", watched(layers.PiecewiseLinear.encode, edges)))
        on(patch.object(layers, "l1_l2", watched(layers.l1_l2, l1)))
        on(patch.object(penalties, "l1_l2", watched(penalties.l1_l2, l1)))
        on(patch.object(penalties, "_similarity", watched(penalties._similarity, similarity)))
        on(patch.object(losses, "_clip", watched(losses._clip, probabilities)))
        on(patch.object(metrics, "state", watched(metrics.state, lambda spec, y, p, w: near(*_decision(spec, y, p)))))
        for kind in ("mae", "mape", "quantile"):
            loss = watched(losses.ELEMENTWISE[kind], lambda y, p, c: near(y - p))
            on(patch.dict(losses.ELEMENTWISE, {kind: loss}))
        on(patch.dict(losses.ELEMENTWISE, hinge=watched(losses.ELEMENTWISE["hinge"], lambda y, p, c: near(y * p, 1.0))))
        on(patch("fastdense.reference.engine.apply_updates", watched(optimizers.apply_updates, first_step)))
        lion = watched(optimizers.UPDATES["lion"], lambda step, w, g, s: near(step.spec["beta_1"] * (s[0] - g) + g))
        on(patch.dict(optimizers.UPDATES, lion=lion))
        yield closest


def _decision(spec: Spec, y: Array, p: Array) -> tuple[Array, float]:
    """The numbers whose sign a metric looks at."""
    kind, nothing = spec["kind"], np.ones(1)
    if kind == "top_k":
        true = metrics.true_classes(y, p.shape[1])[:, None]
        gap = p - np.take_along_axis(p, true, axis=1)
        return np.append(gap[np.arange(p.shape[1]) != true], 1.0), 0.0
    if "categorical" in kind or (spec["multiclass"] and kind in ("precision", "recall", "f1")):
        ordered = np.sort(p, axis=1)
        return (np.append(ordered[:, -1] - ordered[:, -2], 1.0) if p.shape[1] > 1 else nothing), 0.0
    if kind in ("binary_accuracy", "precision", "recall", "f1"):
        return np.append(p - spec["threshold"], 1.0), 0.0
    return nothing, 0.0


# -- the comparison ----------------------------------------------------------------------------------------------

Question = Callable[[Any, Problem, Any], Results]  # (engine, problem, noise or None) -> numbers


def settle(problem: Problem, ask: Question) -> tuple[Problem, Results]:
    """Draw the problem anew until rounding cannot fall on the wrong side of a kink; return it and its numbers."""
    for seed in range(200):
        drawn = replace(problem, seed=problem.seed + 1000 * seed)
        with closest_call() as closest:
            clean = ask(drawn.engine(reference.Engine), drawn, None)
        if problem.smooth or closest[0] > CLEARANCE:
            return drawn, clean
    raise AssertionError(f"no draw keeps clear of every kink: {problem}")


def noisy_results(problem: Problem, ask: Question) -> list[Results]:
    """The numbers of reference runs whose inputs, weights and steps are off by NOISE."""
    results = []
    for draw in range(NOISY_RUNS):
        rng = np.random.default_rng([problem.seed, 3, draw])
        engine = problem.engine(reference.Engine)
        engine.set_tensors([_shaken(rng, tensor) for tensor in engine.get_tensors()])
        with noise_everywhere(rng):
            results.append(ask(engine, problem, rng))
    return results


def inputs(problem: Problem, noise: Any, rows: int | None = None, part: int = 2) -> tuple[Array, Array, Array | None]:
    """The problem's data, with noise on x and w if asked."""
    x, y, w = problem.data(rows, part)
    if noise is None:
        return x, y, w
    shaken, codes = _shaken(noise, x), list(code_columns(problem.ops))
    shaken[:, codes] = x[:, codes]
    return shaken, y, _shaken(noise, np.ones(len(x)) if w is None else w)


def compare(
    problem: Problem,
    ask: Question,
    free: Callable[[str], bool] = lambda name: False,
    dtypes: Sequence[str] = DTYPES,
) -> float:
    """Ask the compiled engine in these dtypes and the reference; returns the worst difference over the allowed one.

    Names for which `free` is true are not judged. "3xtf32" is held to float32's tolerances.
    """
    with remembered_orders():
        problem, clean = settle(problem, ask)
        noisy = noisy_results(problem, ask)
    terms, worst = max(*problem.widths, problem.rows), 0.0
    for dtype in dtypes:
        found = ask(problem.engine(compiled_engine, dtype), problem, None)
        assert found.keys() == clean.keys()
        for name, exact in clean.items():
            if free(name):
                continue
            got = np.asarray(found[name], dtype=np.float64)
            assert got.shape == exact.shape, f"{dtype} {name}"
            assert np.isfinite(exact).all(), f"the problem is no good: {name} is not finite"
            limit = allowed("float32" if dtype == "3xtf32" else dtype, terms, exact, [other[name] for other in noisy])
            off = float(np.max(np.abs(got - exact), initial=0.0))
            assert off <= limit, (
                f"{dtype} {name}: off by {off:.3g}, allowed {limit:.3g}, size {np.max(np.abs(exact)):.3g}"
            )
            worst = max(worst, off / limit)
    return worst
