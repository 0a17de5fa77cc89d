"""Every tolerance of the compiled engine's tests, the reason beside each number. u: the unit roundoff of the dtype."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

UNIT = {"float32": 2.0**-24, "float64": 2.0**-53}  # u: half the distance from 1 to the next number
DTYPES = tuple(UNIT)

# -- two engines on the same problem (pairs.py) ------------------------------------------------------------------

# An engine that rounds gives the exact answer to a problem that is off by a few u in every number it reads, so rounding
# moves a result by u times what a relative change of 1 would do. That factor is measured, not guessed: the float64
# reference runs again with every input, weight, activation, gradient and slot off by +-NOISE: small enough to stay
# linear, seven digits above the reference's own rounding.
NOISE = 1e-9
NOISY_RUNS = 2
# This noise stands for one rounding of each number. A sum of n terms rounds n times: its errors add up like a random
# walk, sqrt(n). What is left is the tail of that walk, of few draws of noise, and the handful of roundings inside an
# activation or an update rule: 16 u. Worst seen over all cases: 0.4 of what is allowed, 0.1 in nearly all.
ROUNDINGS = 16.0
# Where a formula has a kink or a jump (relu'(0), sign(0), a threshold), rounding may fall on either side and no
# tolerance is right. Problems are drawn until every such number keeps this distance, relative to the largest beside it:
# 512 u of float32, more than its rounding adds up to in 50 steps of the small nets.
CLEARANCE = 2.0**9 * UNIT["float32"]


def allowed(dtype: str, terms: int, clean: Array, noisy: list[Array]) -> float:
    """How far rounding may move the numbers of one array, given the exact ones and those of the noisy runs.

    Parameters
    ----------
    dtype : of the engine under test
    terms : of the longest sum behind the numbers
    """
    size = max(float(np.max(np.abs(clean), initial=0.0)), np.finfo(dtype).tiny)
    moved = max(float(np.max(np.abs(other - clean), initial=0.0)) for other in noisy)
    return ROUNDINGS * math.sqrt(terms) * UNIT[dtype] * (size + moved / NOISE)


# |m|/sqrt(v) of adam is at most (1 - b1)/sqrt(1 - b2) times the root of the sum of (b1^2/b2)^i over the past steps, by
# Cauchy and Schwarz; with 0.9 and 0.999 that is 7.3. The bias correction sqrt(1 - b2^t)/(1 - b1^t) is below 1.
ADAM_STRIDE = 7.3

# -- gradients against central differences -----------------------------------------------------------------------

# Of (f(w + h) - f(w - h))/2h the truncation error is h^2/6 times the third derivative and the rounding error u |f|/h:
# alike at h = u^(1/3), then both about 4e-11 of f's size. Asked for is 1e-6, which leaves room for curvature; a wrong
# formula is off by far more.
DIFFERENCE = 6e-6
DIFFERENCE_FLOOR = 1e-9

# -- single kernels (test_kernels.py), in units in the last place of the exact result ------------------------------

# In brackets what was measured on 36 000 points, every instruction set, both dtypes; the rest is room for other points.
# The building blocks exp and expm1 are good to [1.0, 1.7]. tanh of float32, log1p and the normal distribution are
# rational functions p/q whose own error is below a third of a unit (csrc/cpu/simd/elementary.h); of each step of p
# and q the error is up to a unit just below a power of two, and the last two or three count: up to 3 for each of p
# and q, 1 for the quotient, 1 for the product by x; log1p takes half of such a quotient from x. Each operation on top
# adds half a unit, a division by a rounded number one. A result below the smallest normal number is measured in units
# of the latter.
ULP = {
    "linear": 0.0,
    "relu": 0.0,
    "relu6": 0.0,
    "leaky_relu": 0.5,  # one product
    "exponential": 2.0,  # [1.0]
    "elu": 3.0,  # [1.7]
    "selu": 3.0,  # [1.6]
    "celu": 4.0,  # [2.1], and a division by alpha inside
    "sigmoid": 4.0,  # [2.4]
    "softplus": 6.0,  # [float32 2.7, float64 5.2]
    "log_sigmoid": 6.0,  # the same
    "softsign": 2.0,  # [1.5]
    "tanh": 7.0,  # [float32 5.5, float64 2.6]
    "silu": 5.0,  # [3.1]
    "mish": 7.0,  # [4.5]: n/(n + 2) of a rounded n = e (e + 2), twice exp's error below 0
}
# Differences with the exact result of which a part cancels: in units of eps·max(1, |x|) instead.
# hard_sigmoid adds x/6 and 1/2, tanh_shrink takes tanh from x. gelu is x times the normal distribution function, whose
# factor exp(-x^2/2) has the rounding of x^2 in its exponent: x^2/2 units of itself, at most 1/e of those of 1 below.
CANCELLING = {"gelu": 2.0, "hard_sigmoid": 1.0, "tanh_shrink": 4.0}  # [0.9, 0.4, 1.5]
GELU_TAIL = 6.0  # units of gelu itself below 0, beside x^2: exp, a quotient as in tanh, two products
# Slopes are taken from the stored output where that is enough, a·(1 - a) or 1 - a^2: what 1 - a loses is gone. So they
# are good to a few eps of 1, not of themselves; silu's and mish's multiply such a difference by x.
# Those of tanh and tanh_shrink double its error, which near 1 is in half eps.
SLOPE = 7.0  # [tanh_shrink 4.7, others 2.7]
SLOPE_PER_X = 3.0  # [silu 0.6, mish 2.2]
# A sum of n terms of one sign is off by at most n u of itself; the kernels add in several strands: n/4.
SUM = 0.25
# Acklam's start and two Newton steps against the standard library's Wichura AS241: both are good to a few ulp of the
# quantile or, in the middle, where that goes to 0, of 1.
QUANTILE = 16 * 2.0**-52
# An estimate to 2^-14 and one Newton step leave an error of its square, 0.03 u, beside the roundings of the step, of
# its correction and of the product that follows. The exact instructions need less.
QUICK = 2.0  # [1.3]

# -- rounded operands (test_rounding.py) --------------------------------------------------------------------------

# An operand that float32's rounding has moved across the middle between two bfloat16 numbers is rounded the other way,
# a jump of up to 2^-7 of itself. Where a test needs float32's accuracy, draws keep this distance, over the largest.
ROUNDING_EDGE = 2.0**3 * UNIT["float32"]
# Elsewhere such flips are part of what is measured. Rounding errs by a step over sqrt(12); an operand flips if it lies
# within its float32 error e of a middle, with chance 2 e/step, and then errs by a whole step: sqrt(24 e/step) of what
# rounding itself does. With e = 16 u and a step of 2^-8 or 2^-11: 0.08 and 0.22; the rest is room for few numbers.
FLIPS = {"bfloat16": 0.25, "tf32": 0.7}
# Over many steps one flip brings on others, until two runs round independently of one another: sqrt(2) of what rounding
# does. That holds for most arrays of a run. In single ones, of a few numbers each, chance makes more, and optimizers
# that divide by small differences make more of it still: over 18 optimizers and 40 draws of bfloat16 the median of the
# arrays was at most 0.33, the worst one 9.5 (a single number). A weight form that an update had not refreshed would be
# off by a hundred times what rounding does, in most arrays. TF32 does so little that chance makes more of it.
INDEPENDENT = {"bfloat16": 1.5, "tf32": 4.0}
CHANCE = 10.0  # times as much in single arrays
