"""Reference engine: NumPy, float64, written from the formulas; the truth every other engine is checked against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy

if TYPE_CHECKING:
    from .engine import Engine
    from .rng import normal, philox, shuffle_indices, truncated_normal, uniform

__all__ = ["Engine", "normal", "philox", "shuffle_indices", "truncated_normal", "uniform"]

__getattr__ = lazy(globals(), {name: "engine" if name == "Engine" else "rng" for name in __all__})
