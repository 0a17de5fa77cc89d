"""Population.plot."""

from __future__ import annotations

from typing import Any

import pytest

import fastdense as fd
from tests.helpers.populations import data, net

Array = Any


@pytest.mark.parametrize("inputs", [1, 2, 3])
def test_plot(inputs: int) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    x, y = data(inputs=inputs)
    population = fd.fit_many(net(inputs=inputs), x, y, starts=10, epochs=3, verbose=0)
    figure = population.plot()
    assert len(figure.axes) == 1 + (len(population.outcomes().counts) if inputs < 3 else 0)
    from matplotlib import pyplot

    pyplot.close(figure)
