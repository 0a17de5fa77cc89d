"""Settings for the models made from now on, and the numbers in names."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..arguments import integer
from ..network import DTYPES

EPSILON = 1e-7

_state: dict[str, Any] = {"floatx": "float32", "policy": None, "interactive": True, "seeds": None}
_names: dict[str, int] = {}  # number of objects made of each class, for unique names


def model_dtype() -> str:
    """The dtype that the next model is made with: that of the policy, or else of `floatx`."""
    policy = _state["policy"]
    return floatx() if policy is None else str(policy.removeprefix("mixed_"))


def dtype_policy() -> str:
    """Name of the policy of the next model."""
    return str(_state["policy"] or floatx())


def set_dtype_policy(name: str) -> None:
    """Set the policy of new models: "float32", "float64" or "mixed_bfloat16"."""
    known = ("float32", "float64", "mixed_bfloat16")
    if name not in known:
        raise ValueError(
            f"set_dtype_policy: {name!r} is not offered. Use one of {', '.join(map(repr, known))}; mixed_bfloat16 "
            "keeps parameters, inputs, outputs and sums in float32."
        )
    _state["policy"] = name


def floatx() -> str:
    """The dtype of new models."""
    return str(_state["floatx"])


def set_floatx(value: str) -> None:
    """Set the dtype of new models: "float32", "float64" or "bfloat16" (mixed precision)."""
    if value not in DTYPES:
        raise ValueError(f"set_floatx: {value!r} is not offered. Use one of {', '.join(map(repr, DTYPES))}.")
    _state["floatx"] = value


def enable_interactive_logging() -> None:
    """Let `fit`, `evaluate` and `predict` print what their argument `verbose` says: the default."""
    _state["interactive"] = True


def disable_interactive_logging() -> None:
    """Let `fit`, `evaluate` and `predict` print nothing, whatever their argument `verbose` is."""
    _state["interactive"] = False


def is_interactive_logging_enabled() -> bool:
    """Whether `fit`, `evaluate` and `predict` print."""
    return bool(_state["interactive"])


def epsilon() -> float:
    """The fuzz factor of losses: 1e-7."""
    return EPSILON


def set_epsilon(value: float) -> None:
    """Accept 1e-7, which the formulas of the engines hold."""
    if value != EPSILON:
        raise ValueError(f"set_epsilon: {value!r} is not offered; the losses hold {EPSILON}. Leave the line out.")


def plain_name(kind: str) -> str:
    """The name that Keras makes of that of a class: "leaky_re_lu" of "LeakyReLU"."""
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", kind)).lower()


def unique_name(kind: str) -> str:
    """A name that is unique in this process: dense, dense_1, ..."""
    plain = plain_name(kind)
    number = _names[plain] = _names.get(plain, -1) + 1
    return f"{plain}_{number}" if number else plain


def clear_session(free_memory: bool = True) -> None:
    """Restart the numbers in layers' names; there is no other state."""
    _names.clear()


def set_random_seed(seed: int) -> None:
    """Make what follows reproducible: new models get the seeds ``seed``, ``seed + 1``, ...

    As in Keras, the generators of Python and NumPy are seeded too. Without it each model gets a random seed.
    """
    first = integer("set_random_seed: seed", seed, least=0, most=2**32 - 1)
    random.seed(first)
    np.random.seed(first)
    _state["seeds"] = itertools.count(first)


def next_seed() -> int:
    """The seed of the next model, or of random numbers."""
    seeds = _state["seeds"]
    return int.from_bytes(os.urandom(4), "little") if seeds is None else next(seeds)


@contextlib.contextmanager
def seeds_from(seed: int | None) -> Iterator[None]:
    """Inside of the block, new models get the seeds ``seed``, ``seed + 1``, ...; None changes nothing."""
    before = _state["seeds"]
    if seed is not None:
        _state["seeds"] = itertools.count(seed)
    try:
        yield
    finally:
        _state["seeds"] = before
