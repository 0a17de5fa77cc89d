"""Activation functions: their names, the parameter that some of them have, and what is known of each.

The formulas are in the engines; `TABLE` holds what the rest of the package asks: ranges, saturation, where a function
passes on what it gets, which initializer suits it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from .specs import Names

__all__ = ["ACTIVATIONS", "ALPHA", "NAMES", "TABLE", "Traits"]

INF = math.inf


class Traits(NamedTuple):
    """What is known of an activation.

    Attributes
    ----------
    low, high : float
        Bounds of its values, for the default alpha.
    initializer : {"he_normal", "lecun_normal", "glorot_uniform"}
        Kernel initializer that suits it, which `fastdense.initializers.Auto` takes.
    passes : (float, float) or None
        Interval of the input in which it passes on what it gets, for `Model.place`; infinity: no end. None if there is
        no need to keep inputs anywhere.
    saturation : float or None
        Magnitude of the input beyond which it is flat on both sides, so that a unit there counts as saturated.
    dead_below_zero : bool
        Whether it is constant for every input below 0, so that a unit can be dead.
    alpha : float or None
        Default of its parameter, as in Keras 3: the slope of leaky_relu below 0, the scale of elu and celu, the
        threshold of the shrinks, the b of squareplus.
    aliases : tuple of str
        Other names.
    rising : bool
        Whether it never falls as its input rises.
    """

    low: float
    high: float
    initializer: str
    passes: tuple[float, float] | None
    saturation: float | None
    dead_below_zero: bool = False
    alpha: float | None = None
    aliases: tuple[str, ...] = ()
    rising: bool = True

    @property
    def bounded(self) -> bool:
        """Whether its values have a lower and an upper bound."""
        return self.low > -INF and self.high < INF

    @property
    def half_bounded(self) -> bool:
        """Whether its values have a lower or an upper bound, or both."""
        return self.low > -INF or self.high < INF


HE, LECUN, GLOROT = "he_normal", "lecun_normal", "glorot_uniform"

# The one list. `saturation` is also in csrc/ops/activations.h and in the reference engine; a test compares the three.
TABLE: dict[str, Traits] = {
    "linear": Traits(-INF, INF, GLOROT, None, None, aliases=("identity",)),
    "relu": Traits(0.0, INF, HE, (0.0, INF), None, dead_below_zero=True),
    "leaky_relu": Traits(-INF, INF, HE, (0.0, INF), None, alpha=0.2),
    "prelu": Traits(-INF, INF, HE, (0.0, INF), None, rising=False),
    "relu6": Traits(0.0, 6.0, HE, (0.0, 6.0), None, dead_below_zero=True),
    "elu": Traits(-1.0, INF, HE, (0.0, INF), None, alpha=1.0),
    "selu": Traits(-1.7581, INF, LECUN, (0.0, INF), None),
    "celu": Traits(-1.0, INF, HE, (0.0, INF), None, alpha=1.0),
    "gelu": Traits(-0.17, INF, HE, (3.0, INF), None, rising=False),
    "silu": Traits(-0.2785, INF, HE, (3.0, INF), None, aliases=("swish",), rising=False),
    "mish": Traits(-0.3089, INF, HE, (3.0, INF), None, rising=False),
    "softplus": Traits(0.0, INF, GLOROT, (3.0, INF), None),
    "softsign": Traits(-1.0, 1.0, GLOROT, (-1.0, 1.0), 10.0),
    "tanh": Traits(-1.0, 1.0, GLOROT, (-1.0, 1.0), 2.5),
    "sigmoid": Traits(0.0, 1.0, GLOROT, (-2.0, 2.0), 5.0, aliases=("logistic",)),
    "hard_sigmoid": Traits(0.0, 1.0, GLOROT, (-3.0, 3.0), 3.0),
    "exponential": Traits(0.0, INF, GLOROT, (-1.0, 1.0), None),
    "log_sigmoid": Traits(-INF, 0.0, GLOROT, (-INF, -3.0), None),
    "hard_silu": Traits(-0.375, INF, HE, (3.0, INF), None, aliases=("hard_swish",), rising=False),
    "hard_tanh": Traits(-1.0, 1.0, GLOROT, (-1.0, 1.0), 1.0),
    "tanh_shrink": Traits(-INF, INF, GLOROT, None, None),
    "soft_shrink": Traits(-INF, INF, GLOROT, None, None, alpha=0.5),
    "hard_shrink": Traits(-INF, INF, GLOROT, None, None, alpha=0.5),
    "squareplus": Traits(0.0, INF, HE, (3.0, INF), None, alpha=4.0),
    "sparse_plus": Traits(0.0, INF, HE, (1.0, INF), None, dead_below_zero=False),
    "sparse_sigmoid": Traits(0.0, 1.0, GLOROT, (-1.0, 1.0), 1.0),
    "softmax": Traits(0.0, 1.0, GLOROT, None, None, rising=False),
}

NAMES = Names("activation")
for _name, _traits in TABLE.items():
    NAMES.add(_name, *_traits.aliases)

ALPHA = {name: traits.alpha for name, traits in TABLE.items() if traits.alpha is not None}
ACTIVATIONS = tuple(TABLE)
