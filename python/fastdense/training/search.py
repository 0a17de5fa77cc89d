"""training.search."""

from __future__ import annotations

import math

import numpy as np

from ..arrays import Array

GOLDEN = 0x9E3779B97F4A7C15  # seeds of further tries lie this far apart


def tries_of(seeds: Array, tries: int) -> Array:
    """Seeds of every try of every start, (starts, tries); the first is the start's own."""
    with np.errstate(over="ignore"):
        steps = np.arange(tries, dtype=np.uint64) * np.uint64(GOLDEN)
        made: Array = np.asarray(seeds, dtype=np.uint64)[:, None] + steps
    return made


def rounds(epochs: int, tries: int) -> list[tuple[int, int]]:
    """How the best of many tries is found: (epoch to train to, tries to keep then), until one is left.

    The first round lasts a twentieth of the epochs, at least ten, and keeps the best quarter; each further round ends
    at twice the epoch, because the fewer are left the longer it takes to tell them apart.
    """
    found = []
    until = min(max(10, math.ceil(epochs / 20)), max(1, epochs))
    while tries > 1:
        tries = -(-tries // 4)
        found.append((until, tries))
        until = min(2 * until, max(1, epochs))
    return found
