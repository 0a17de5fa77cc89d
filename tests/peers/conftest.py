"""The comparison with PyTorch, Keras and scikit-learn: `pytest tests/peers`, with the extra `peers` installed.

A plain `pytest` does not collect this folder. After a run, the largest difference of every test is printed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.peers.problem import TOLERANCE, Agree, difference

_FOUND = pytest.StashKey[dict[str, float]]()


@pytest.fixture
def agree(request: pytest.FixtureRequest) -> Agree:
    """A function that compares two lists of arrays (or numbers), and keeps the difference for the table."""
    found = request.config.stash.setdefault(_FOUND, {})

    def check(ours: Sequence[Any], theirs: Sequence[Any], tolerance: float = TOLERANCE) -> None:
        worst = difference(ours, theirs)
        name = request.node.nodeid.rpartition("/")[2]
        found[name] = max(worst, found.get(name, 0.0))
        assert worst <= tolerance, f"apart by {worst:.2e} of the largest element, more than {tolerance:.0e}"

    return check


@pytest.fixture
def float32() -> Iterator[None]:
    """Give PyTorch and Keras their own default again for a test: comparing formulas sets float64 for the process."""
    set_defaults("float32")
    yield
    set_defaults("float64")


def set_defaults(dtype: str) -> None:
    """Set the default dtype of PyTorch and of Keras, where they are imported."""
    if torch := sys.modules.get("torch"):
        torch.set_default_dtype(getattr(torch, dtype))
    if keras := sys.modules.get("keras"):
        keras.config.set_floatx(dtype)
        keras.config.set_dtype_policy(dtype)  # which keeps what it was when first asked for


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    found = config.stash.get(_FOUND, {})
    if found:
        terminalreporter.section("largest relative difference from the peer")
        for name, worst in found.items():
            terminalreporter.write_line(f"{worst:9.1e}  {name}")
