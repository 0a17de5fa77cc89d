"""Every tolerance of the compiled engine's tests, the reason beside each number. u is the unit roundoff of the dtype."""

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
# moves a result by about (how far a relative change of 1 moves it) * u. That factor is measured, not guessed: the float64
# reference runs again with every input, weight, gradient and slot off by +-NOISE. Small enough to stay linear, and eight
# digits above the reference's own rounding.
NOISE = 1e-9
NOISY_RUNS = 2
# The noise above stands for one rounding a number. A sum of n terms rounds n times: its errors add up like a random
# walk, sqrt(n). What is left is the tail of that walk, of few draws of noise, and the handful of roundings inside an
# activation or an update rule: 16 u. Worst seen: 0.4 of what is allowed.
ROUNDINGS = 16.0
# Where a formula has a kink or a jump (relu'(0), sign(0), a threshold), rounding may fall on either side and no tolerance
# is right. Problems are drawn until every such number keeps this distance, relative to the largest beside it: 512 u of
# float32, more than its rounding adds up to in 50 steps of the small nets.
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

# -- gradients against central differences -----------------------------------------------------------------------

# Of (f(w + h) - f(w - h))/2h the truncation error is h^2/6 times the third derivative and the rounding error u |f|/h:
# alike at h = u^(1/3), then both about 4e-11 of f's size. Asked for is 1e-6, which leaves room for curvature; a wrong
# formula is off by far more.
DIFFERENCE = 6e-6
DIFFERENCE_FLOOR = 1e-9

# -- adam ----------------------------------------------------------------------------------------------------------

# |m|/sqrt(v) is at most (1 - b1)/sqrt(1 - b2) * (sum over past steps of (b1^2/b2)^i)^(1/2), by Cauchy and Schwarz; with
# 0.9 and 0.999 that is 7.3. The bias correction sqrt(1 - b2^t)/(1 - b1^t) is below 1 from step 6 on and makes the
# product smaller than 1 before.
ADAM_STRIDE = 7.3
