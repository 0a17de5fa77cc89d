"""Fixtures of the unit tests."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fastdense import reference
from fastdense.engine import native

NUMBERS = SimpleNamespace(
    random_uniform=reference.uniform,
    random_normal=lambda seed, index, n, truncated: (reference.truncated_normal if truncated else reference.normal)(
        seed, index, n
    ),
)


@pytest.fixture
def numbers_of_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random numbers without the compiled module: the same streams in NumPy."""
    monkeypatch.setattr(native, "_core", lambda: NUMBERS)
