"""History: its plot."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import fastdense as fd

RNG = np.random.RandomState(0)
X = RNG.rand(20, 3).astype(np.float32)
Y = X.sum(axis=1, keepdims=True)


def make(device: str, optimizer: Any = "adam", metrics: Any = None) -> fd.Model:
    model = fd.Model([fd.Dense(4, "tanh"), fd.Dense(1)], inputs=3, device=device)
    model.compile(optimizer, "mse", metrics=metrics)
    return model


def test_plot(monkeypatch: pytest.MonkeyPatch) -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    history = make("reference", metrics=["mae"]).fit(X, Y, epochs=3, validation_split=0.2, verbose=0)
    figure = history.plot()
    assert [axis.get_title() for axis in figure.axes] == ["loss", "mae"]
    for axis, key in zip(figure.axes, ("loss", "mae"), strict=True):
        for line, name in zip(axis.lines, (key, f"val_{key}"), strict=True):
            assert list(line.get_ydata()) == history.history[name] and list(line.get_xdata()) == [1, 2, 3]
    assert history.plot(["mae"], log=True).axes[0].get_yscale() == "log"
    assert all(tick == int(tick) for tick in figure.axes[0].get_xticks())  # there is no epoch 1.5
    pyplot.close("all")
    with pytest.raises(ValueError, match="plot: 'val_mae' is drawn beside its training values; ask for one of loss, m"):
        history.plot(["val_mae"])
    with pytest.raises(ValueError, match="plot: keys is empty; name what to draw"):
        history.plot([])
    with pytest.raises(ValueError, match=r"plot: 'mea' is not in the history; it holds loss, mae\. Did you mean 'mae'"):
        history.plot(["mea"])
    with pytest.raises(ValueError, match="plot: 'acc' is not in the history; it holds loss, mae"):
        history.plot(["acc"])
    with pytest.raises(ValueError, match="plot: no epoch was recorded"):
        fd.History().plot()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"plot: it needs matplotlib, .* pip install 'fastdense\[plot\]'"):
        history.plot()
