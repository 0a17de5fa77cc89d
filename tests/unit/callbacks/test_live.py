"""LivePlot: in a notebook in place, elsewhere in a file, and no more often than asked for."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense.callbacks import live

pytest.importorskip("matplotlib")
X = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)


def model() -> fd.Model:
    made = fd.Model([fd.Dense(3, "tanh"), fd.Dense(1)], inputs=2)
    made.compile("adam", "mse", metrics=["mae"])
    return made


class Notebook:
    """An IPython with a kernel, which keeps what is displayed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shown: list[bytes] = []
        self.handles = 0
        shell = types.SimpleNamespace(kernel=object())
        module = types.SimpleNamespace(get_ipython=lambda: shell, version_info=(9, 0))
        display = types.SimpleNamespace(Image=lambda data, format: data, display=self.display)
        monkeypatch.setitem(sys.modules, "IPython", module)
        monkeypatch.setitem(sys.modules, "IPython.display", display)

    def display(self, picture: bytes, display_id: bool) -> Any:
        assert display_id
        self.handles += 1
        self.shown.append(picture)
        return types.SimpleNamespace(update=self.shown.append)


def test_one_display_is_updated(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = Notebook(monkeypatch)
    monkeypatch.setattr(live, "DRAWN", 1.0)
    show = fd.callbacks.LivePlot(every=0)
    other = fd.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)  # makes each epoch a call
    model().fit(X, X[:, :1], epochs=4, verbose=0, callbacks=[show, other])
    assert notebook.handles == 1 and len(notebook.shown) == 4
    assert all(picture.startswith(b"\x89PNG") for picture in notebook.shown) and len(set(notebook.shown)) == 4
    model().fit(X, X[:, :1], epochs=1, verbose=0, callbacks=[show])
    assert notebook.handles == 2  # a new training, a new picture


def test_no_more_often_than_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = Notebook(monkeypatch)
    other = fd.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)
    model().fit(X, X[:, :1], epochs=50, verbose=0, callbacks=[fd.callbacks.LivePlot(every=1e6), other])
    assert len(notebook.shown) == 1  # the end


def test_a_slow_picture_makes_longer_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 5.0, 5.0, 8.0])  # train begin; asked, begin and end of a drawing of three seconds
    show = live.LivePlot(path="unused.png", every=1)
    monkeypatch.setattr(live.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(show, "_show", lambda figure: None)
    show.on_train_begin()
    show.on_epochs_end(0, {"loss": [1.0, 0.5]})
    assert show._next == pytest.approx(8 + 3 * 19)  # a twentieth of the time is drawing


def test_file_and_what_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(live.LivePlot, "_show", lambda self, figure: drawn.append(figure))
    show = fd.callbacks.LivePlot(["mae"], path=tmp_path / "a.png")
    trained = model()
    history = trained.fit(X, X[:, :1], epochs=5, validation_split=0.2, verbose=0, callbacks=[show])
    (axis,) = drawn[-1].axes
    assert axis.get_title() == "mae" and axis.get_xlabel() == "epoch"
    np.testing.assert_allclose(axis.lines[0].get_ydata(), history.history["mae"])
    np.testing.assert_allclose(axis.lines[1].get_ydata(), history.history["val_mae"])
    trained.fit(X, X[:, :1], initial_epoch=5, epochs=7, verbose=0, callbacks=[show])
    np.testing.assert_array_equal(drawn[-1].axes[0].lines[0].get_xdata(), [6, 7])


def test_file_is_whole_also_after_an_interrupt(tmp_path: Path) -> None:
    def stop(epoch: int, logs: Any) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    path = tmp_path / "loss.png"
    with pytest.raises(KeyboardInterrupt):
        model().fit(X, X[:, :1], epochs=9, verbose=0, callbacks=[
            fd.callbacks.LivePlot(path=path), fd.callbacks.LambdaCallback(on_epoch_end=stop)])  # fmt: skip
    assert path.read_bytes().startswith(b"\x89PNG") and [one.name for one in tmp_path.iterdir()] == ["loss.png"]


def test_refusals(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    trained = model()
    before = [one.copy() for one in trained.get_weights()]
    with pytest.raises(ValueError, match=r"^LivePlot: this is no notebook, .* LivePlot\(path='loss.png'\)"):
        trained.fit(X, X[:, :1], verbose=0, callbacks=[fd.callbacks.LivePlot()])
    for one, other in zip(before, trained.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="LivePlot: 'mea' is not in the history; it holds loss, mae. Did you mean"):
        trained.fit(X, X[:, :1], verbose=0, callbacks=[fd.callbacks.LivePlot(["mea"], path=tmp_path / "a.png")])
    with pytest.raises(ValueError, match="LivePlot: every=-1 is out of range"):
        fd.callbacks.LivePlot(every=-1)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="LivePlot: it needs matplotlib"):
        trained.fit(X, X[:, :1], verbose=0, callbacks=[fd.callbacks.LivePlot(path=tmp_path / "a.png")])
