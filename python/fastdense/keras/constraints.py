"""Constraints by Keras's names: those of `fastdense.constraints`."""

from .. import constraints as core_constraints
from ..constraints import *  # noqa: F403  (all of them, so that a new one needs no line here)
from ..text import snake_case
from .names import not_offered

__all__ = list(core_constraints.__all__)

# Keras's functions are the classes by other names: MaxNorm is max_norm too; maxnorm and the like are of Keras 1.
for _name in core_constraints.__all__:
    if _name not in ("Constraint", "get"):
        globals()[snake_case(_name)] = globals()[_name.lower()] = globals()[_name]

__getattr__ = not_offered("constraints", __all__)
