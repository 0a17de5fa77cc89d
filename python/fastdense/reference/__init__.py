"""Reference engine: NumPy, float64, written from the formulas; the truth every other engine is checked against."""

from .engine import Engine
from .rng import normal, philox, shuffle_indices, truncated_normal, uniform

__all__ = ["Engine", "normal", "philox", "shuffle_indices", "truncated_normal", "uniform"]
