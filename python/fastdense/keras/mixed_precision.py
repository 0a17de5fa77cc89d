"""Policies: in which dtype the models made from now on keep their weights and compute."""

from __future__ import annotations

from typing import Any

from . import settings
from .names import not_offered

__all__ = ["DTypePolicy", "Policy", "dtype_policy", "global_policy", "set_dtype_policy", "set_global_policy"]


class DTypePolicy:
    """A policy: "float32", "float64" or "mixed_bfloat16".

    With "mixed_bfloat16" the layers' matrix products multiply numbers rounded to bfloat16; parameters, inputs, outputs
    and sums are float32. See ``precision="bfloat16"`` of `fastdense.Model`.

    Attributes
    ----------
    name, compute_dtype, variable_dtype : str

    Examples
    --------
    >>> from fastdense.keras.mixed_precision import Policy
    >>> Policy("mixed_bfloat16").variable_dtype
    'float32'
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.compute_dtype = name.removeprefix("mixed_")
        self.variable_dtype = "float32" if name.startswith("mixed_") else name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DTypePolicy) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f'<DTypePolicy "{self.name}">'


Policy = DTypePolicy


def dtype_policy() -> DTypePolicy:
    """The policy of new models."""
    return DTypePolicy(settings.dtype_policy())


def set_dtype_policy(policy: Any) -> None:
    """Set the policy of new models, by name or as an object; other ones than those of `DTypePolicy` are refused."""
    settings.set_dtype_policy(policy.name if isinstance(policy, DTypePolicy) else policy)


global_policy, set_global_policy = dtype_policy, set_dtype_policy

__getattr__ = not_offered("mixed_precision", __all__)
