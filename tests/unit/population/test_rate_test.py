"""learning_rate_test: losses over rising learning rates, and the rate that it suggests."""

from __future__ import annotations

from typing import Any

import pytest

import fastdense as fd
from tests.helpers.pyramid import pyramid, pyramid_net

Array = Any


def test_learning_rate_test() -> None:
    x, y = pyramid()
    found = fd.learning_rate_test(pyramid_net(), x, y, low=1e-5, high=1e3, rates=16, epochs=3)
    assert found.learning_rates[0] == pytest.approx(1e-5) and found.learning_rates[-1] == pytest.approx(1e3)
    assert 1e-4 < found.suggestion < 1 and found.diverged[-1] > 0.5 and found.diverged[0] == 0
    assert "16 rates" in repr(found)
    with pytest.raises(ValueError, match="learning_rate_test: high=1e-06 is out of range"):
        fd.learning_rate_test(pyramid_net(), x, y, high=1e-6)
