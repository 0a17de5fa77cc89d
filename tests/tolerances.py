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
# walk, sqrt(n). What is left is the tail of that walk, of two draws of noise, and the handful of roundings inside an
# activation or an update rule: 32 u. Worst seen: 0.4 of what is allowed.
ROUNDINGS = 32.0
# Where a formula has a kink or a jump (relu'(0), sign(0), a threshold), rounding may fall on either side and no tolerance
# is right. Problems are drawn until every such number keeps this distance, relative to the largest beside it. It is more
# than rounding can do: 2**9 roundings at once, or, in 50 steps of training, 2**10.
CLEARANCE = {"float32": 2.0**9 * UNIT["float32"], "float64": 2.0**9 * UNIT["float64"]}


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
