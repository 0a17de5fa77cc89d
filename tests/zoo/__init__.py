"""The zoo: nets that did not learn, and nets that learn, for the diagnosis to be judged by.

`SICK` and `HEALTHY` map names to `Case`; ``python -m tests.zoo.score`` runs the diagnosis over all of them,
``python -m tests.zoo.check`` shows that the sick ones fail, the healthy ones learn, and the sick ones can be repaired.
A case is one decorated function: see `case.py`. Wild cases, which hold how `fit` was called and rows kept out, have a
score of their own: ``python -m tests.zoo.wild``.
"""

from . import (
    healthy,
    healthy_representation,
    healthy_rows,
    healthy_traps,
    sick_capacity,
    sick_data,
    sick_dynamics,
    sick_fit,
    sick_loss,
    sick_output,
    sick_pairs,
    sick_representation,
    sick_rows,
    sick_scale,
    sick_start,
    sick_units,
)
from .case import CODES, HEALTHY, SICK, Case

__all__ = [
    "CODES",
    "HEALTHY",
    "SICK",
    "Case",
    "healthy",
    "healthy_representation",
    "healthy_rows",
    "healthy_traps",
    "sick_capacity",
    "sick_data",
    "sick_dynamics",
    "sick_fit",
    "sick_loss",
    "sick_output",
    "sick_pairs",
    "sick_representation",
    "sick_rows",
    "sick_scale",
    "sick_start",
    "sick_units",
]
