"""Full-batch solvers, from the formulas: one iteration computes the next point and memory, and changes neither.

All vectors are flat: every trainable tensor of the net, one after another, (n,). The memory is what a file holds:
vectors and a few numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .arrays import Array, Spec

UNIT = 2.0**-53  # of float64, in which this engine works
ARMIJO, WOLFE = 1e-4, 0.9  # the constants of sufficient decrease and of the derivative
MOST_REGIONS, LEAST_GAIN, LARGEST_RADIUS = 30, 1e-4, 1e6  # of the trust region: tries, gain of a step that is taken
MOST_DAMPINGS = 40  # tried in one iteration
FLOOR = 1e-16  # of the damping, relative to the largest diagonal element
EDGE, GROWTH = 0.1, 4.0  # how near trial steps come to the ends of their interval; their growth while there is none


class Point(NamedTuple):
    """Parameters, (n,), and what was found there: the loss, its gradient (n,), the totals of the metrics."""

    w: Array
    loss: float
    gradient: Array
    totals: Array

    @property
    def finite(self) -> bool:
        """Whether one can go on from here."""
        return bool(np.isfinite(self.loss) and np.isfinite(self.gradient).all())


@dataclass(frozen=True)
class Memory:
    """What an iteration leaves for the next."""

    vectors: list[Array]
    numbers: Array


class Problem(NamedTuple):
    """What a solver may ask about a net and its data."""

    evaluate: Callable[[Array], Point]
    gauss_newton: Callable[[Array], Array]  # w -> (n, n)


Step = Callable[[Spec, Point, Memory, Problem], "tuple[Point, Memory] | None"]  # None: no step makes the loss smaller


# -- LBFGS: Nocedal & Wright, Numerical Optimization (2006) --------------------------------------------------------


class _Trial(NamedTuple):
    step: float
    loss: float
    derivative: float
    point: Point | None

    @property
    def finite(self) -> bool:
        return math.isfinite(self.loss) and math.isfinite(self.derivative)


def _between(lo: _Trial, hi: _Trial) -> float:
    """Minimum of the cubic through both ends and their derivatives (3.59), kept away from the ends."""
    fraction = 0.5
    if not hi.finite:
        fraction = EDGE
    else:
        width = hi.step - lo.step
        d1 = lo.derivative + hi.derivative - 3.0 * (lo.loss - hi.loss) / (lo.step - hi.step)
        square = d1 * d1 - lo.derivative * hi.derivative
        if square >= 0.0:
            d2 = math.copysign(math.sqrt(square), width)
            below = hi.derivative - lo.derivative + 2.0 * d2
            found = 1.0 - (hi.derivative + d2 - d1) / below if below else math.nan
            fraction = min(max(found, EDGE), 1.0 - EDGE) if math.isfinite(found) else 0.5
    return lo.step + fraction * (hi.step - lo.step)


def line_search(at: Point, p: Array, first: float, most: int, problem: Problem) -> Point | None:
    """Find a point along p that fulfils the strong Wolfe conditions, or at least lowers the loss enough.

    `lo` always has sufficient decrease and the lowest loss so far, and the wanted step lies between it and `hi`.
    """
    derivative = float(at.gradient @ p)
    noise = 2.0 * UNIT * abs(at.loss)
    lo, hi = _Trial(0.0, at.loss, derivative, None), None
    step = first
    for _ in range(most):
        point = problem.evaluate(at.w + step * p)
        now = _Trial(step, point.loss, float(point.gradient @ p), point)
        too_far = (
            not now.finite
            or now.loss > at.loss + ARMIJO * step * derivative + noise
            or (lo.step > 0.0 and now.loss >= lo.loss)
        )
        if not too_far and abs(now.derivative) <= -WOLFE * derivative:
            return point
        if too_far:
            hi = now
        else:
            if now.derivative * (1.0 if hi is None else hi.step - lo.step) >= 0.0:
                hi = lo
            lo = now
        step = GROWTH * step if hi is None else _between(lo, hi)
    return lo.point


def _direction(g: Array, pairs: list[tuple[Array, Array]]) -> Array:
    """-H g by the two-loop recursion (algorithm 7.4); `pairs` (s, y), the newest first."""
    p = -g
    if not pairs:
        return p
    alphas = []
    for s, y in pairs:
        alphas.append(float(s @ p) / float(s @ y))
        p = p - alphas[-1] * y
    s, y = pairs[0]
    p = p * float(s @ y) / float(y @ y)
    for (s, y), alpha in zip(reversed(pairs), reversed(alphas), strict=True):
        p = p + (alpha - float(y @ p) / float(s @ y)) * s
    return p


def lbfgs(spec: Spec, at: Point, memory: Memory, problem: Problem) -> tuple[Point, Memory] | None:
    """Make one iteration. numbers: how many pairs are known, and the place of the next in their ring."""
    size = int(spec["history_size"])
    count, place = (int(v) for v in memory.numbers)
    vectors = memory.vectors
    while True:
        ages = [(place - 1 - age) % size for age in range(count)]
        p = _direction(at.gradient, [(vectors[2 * i], vectors[2 * i + 1]) for i in ages])
        found = None
        if at.gradient @ p < 0.0:
            first = 1.0 if count else min(1.0, 1.0 / float(np.sqrt(at.gradient @ at.gradient)))
            found = line_search(at, p, first, int(spec["line_search_steps"]), problem)
        if found is not None:
            break
        if count == 0:
            return None
        count = 0  # what was learned misleads: begin again with the gradient
    s, y = found.w - at.w, found.gradient - at.gradient
    if size and s @ y > UNIT * math.sqrt(float(s @ s) * float(y @ y)):
        vectors = list(vectors)
        vectors[2 * place : 2 * place + 2] = [s, y]
        place, count = (place + 1) % size, min(count + 1, size)
    return found, Memory(vectors, np.array([count, place], dtype=np.float64))


# -- Levenberg-Marquardt: Madsen, Nielsen & Tingleff, Methods for Non-Linear Least Squares Problems (2004) ------


def levenberg_marquardt(spec: Spec, at: Point, memory: Memory, problem: Problem) -> tuple[Point, Memory] | None:
    """Make one iteration (algorithm 3.16). numbers: the damping mu (0 before it is chosen) and nu, its next rise."""
    mu, nu = (float(v) for v in memory.numbers)
    matrix = problem.gauss_newton(at.w)
    largest = float(np.diagonal(matrix).max(initial=0.0))
    if mu == 0.0:
        mu, nu = spec["damping"] * largest, 2.0
    for _ in range(MOST_DAMPINGS):
        if not mu <= 1e12 * largest:
            return None
        h = _solve(matrix, mu, -at.gradient)
        point = None if h is None else problem.evaluate(at.w + h)
        if h is not None and point is not None and point.finite:
            expected = 0.5 * float(h @ (mu * h - at.gradient))  # fall of the damped model's loss
            gain = (at.loss - point.loss) / expected if expected > 0.0 else -1.0
            if gain > 0.0:
                mu *= max(1.0 / 3.0, 1.0 - (2.0 * gain - 1.0) ** 3)
                return point, Memory([], np.array([max(mu, FLOOR * largest), 2.0]))
        mu, nu = mu * nu, 2.0 * nu
    return None


def _solve(matrix: Array, mu: float, right: Array) -> Array | None:
    """Solve (matrix + mu I) h = right by Cholesky; None if it is not positive definite."""
    try:
        lower = np.linalg.cholesky(matrix + mu * np.eye(len(matrix)))
    except np.linalg.LinAlgError:
        return None
    return np.asarray(np.linalg.solve(lower.T, np.linalg.solve(lower, right)), dtype=np.float64)


# -- truncated Newton: Steihaug (1983); Nocedal & Wright (2006), algorithms 4.1 and 7.2 ----------------------------


def newton_cg(spec: Spec, at: Point, memory: Memory, problem: Problem) -> tuple[Point, Memory] | None:
    """Make one iteration. numbers: the radius of the trust region, 0 before it is chosen."""
    matrix, region = problem.gauss_newton(at.w), float(memory.numbers[0]) or float(spec["radius"])
    for _ in range(MOST_REGIONS):
        p, on_boundary = steihaug(matrix, at.gradient, region, int(spec["cg_steps"]))
        expected = -float(at.gradient @ p + 0.5 * p @ matrix @ p)
        point = problem.evaluate(at.w + p)
        noise, fall = 2.0 * UNIT * abs(at.loss), at.loss - point.loss
        # where rounding hides the fall, the gradient decides
        flatter = float(point.gradient @ point.gradient) < float(at.gradient @ at.gradient)
        hidden = expected <= noise and fall >= -noise and flatter
        gain = -1.0 if not expected > 0.0 else 1.0 if hidden else fall / expected
        if not gain >= 0.1:
            region = 0.25 * float(np.sqrt(p @ p))
        elif gain > 0.5 and on_boundary:
            region = min(2.0 * region, LARGEST_RADIUS)
        if gain > LEAST_GAIN and np.isfinite(point.gradient).all():
            return point, Memory([], np.array([region]))
    return None


def steihaug(matrix: Array, g: Array, region: float, most: int) -> tuple[Array, bool]:
    """Minimise g p + p' matrix p / 2 over |p| <= region by conjugate gradients; the flag: p ends on the boundary."""
    p, r, d = np.zeros_like(g), g, -g
    norm = float(np.sqrt(g @ g))
    enough = min(0.5, math.sqrt(norm)) * norm
    for _ in range(most):
        squared = float(r @ r)
        if math.sqrt(squared) <= enough:
            break
        hd = matrix @ d
        curvature = float(d @ hd)
        further = p + (squared / curvature) * d if curvature > 0.0 else p
        if not curvature > 0.0 or further @ further >= region * region:
            a, b, c = float(d @ d), float(p @ d), float(p @ p) - region * region
            return p + (-b + math.sqrt(max(b * b - a * c, 0.0))) / a * d, True
        p, r = further, r + (squared / curvature) * hd
        d = float(r @ r) / squared * d - r
    return p, False


# -- the list ------------------------------------------------------------------------------------------------------


class _Kind(NamedTuple):
    step: Step
    vectors: Callable[[Spec], int]
    numbers: Callable[[Spec], list[float]]  # their first values


KINDS: Mapping[str, _Kind] = {
    "lbfgs": _Kind(lbfgs, lambda spec: 2 * int(spec["history_size"]), lambda spec: [0.0, 0.0]),
    "levenberg_marquardt": _Kind(levenberg_marquardt, lambda spec: 0, lambda spec: [0.0, 2.0]),
    "newton_cg": _Kind(newton_cg, lambda spec: 0, lambda spec: [0.0]),
}


def first_memory(spec: Spec, n: int) -> Memory:
    """Return the memory before the first iteration, for n parameters."""
    kind = KINDS[spec["kind"]]
    return Memory([np.zeros(n) for _ in range(kind.vectors(spec))], np.array(kind.numbers(spec)))


def iterate(spec: Spec, at: Point, memory: Memory, problem: Problem) -> tuple[Point, Memory, str]:
    """Make one iteration; the third value says why there is nothing more to do, or is empty."""
    if not at.finite:
        return at, memory, "nonfinite"
    done = KINDS[spec["kind"]].step(spec, at, memory, problem)
    if done is None:
        return at, memory, "gradient" if np.abs(at.gradient).max(initial=0.0) <= spec["gtol"] else "stuck"
    point, memory = done
    if np.abs(point.gradient).max(initial=0.0) <= spec["gtol"]:
        return point, memory, "gradient"
    small = at.loss - point.loss <= spec["ftol"] * max(abs(at.loss), abs(point.loss))
    return point, memory, "loss" if small else ""
