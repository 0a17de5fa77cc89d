"""Small sets of rows for the tests of estimators."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

Array = NDArray[np.float64]


@pytest.fixture(autouse=True)
def no_convergence_warning() -> Iterator[None]:
    """Few epochs suffice for most tests; those of the warning turn it on."""
    exceptions = pytest.importorskip("sklearn.exceptions")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", exceptions.ConvergenceWarning)
        yield


@pytest.fixture
def x() -> Array:
    return np.random.default_rng(0).normal(size=(240, 4))
