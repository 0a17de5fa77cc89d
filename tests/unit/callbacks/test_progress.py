"""What is shown while a model trains: bars, lines, nothing."""

from __future__ import annotations

import io
import os
import sys
import warnings
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense.callbacks import LambdaCallback, ProgressBar, progress

RNG = np.random.RandomState(0)
X = RNG.rand(20, 3).astype(np.float32)
Y = X.sum(axis=1, keepdims=True)


def make(device: str, metrics: Any = None) -> fd.Model:
    model = fd.Model([fd.Dense(4, "tanh"), fd.Dense(1)], inputs=3, device=device)
    model.compile("adam", "mse", metrics=metrics)
    return model


def lines(model: fd.Model, capsys: pytest.CaptureFixture[str], **kwargs: Any) -> list[str]:
    capsys.readouterr()
    model.fit(X, Y, **kwargs)
    return capsys.readouterr().out.splitlines()


def test_a_log_gets_lines(device: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = make(device, metrics=["mae"])
    assert lines(model, capsys, epochs=5, verbose=0) == []
    printed = lines(model, capsys, epochs=3, validation_data=(X, Y))
    assert [line.split(" - ")[0] for line in printed] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    history = model.history
    assert history is not None
    shown = " - ".join(f"{key} {values[-1]:.4g}" for key, values in history.history.items())
    assert printed[-1].endswith(" - " + shown) and "val_mae" in shown
    for verbose in (1, 2, True):
        assert len(lines(model, capsys, epochs=50, verbose=verbose)) == 50
    printed = lines(model, capsys, epochs=200)
    assert printed[0] == "200 epochs, one line for every 10 (verbose=2: for each one)"
    assert [line.split("/")[0] for line in printed[1:]] == [f"epoch {k:3}" for k in range(10, 201, 10)]
    assert len(lines(model, capsys, epochs=30, initial_epoch=9)) == 1 + 11
    assert lines(model, capsys, epochs=0) == []


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("library", ["_Tqdm", "_Rich"])
def test_a_terminal_gets_a_bar(device: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(library.strip("_").lower())
    terminal = Terminal()
    drawn: list[tuple[float, str, str]] = []
    real = getattr(progress, library)

    class Watched(real):  # type: ignore[misc,valid-type]
        def draw(self, epochs_done: float, title: str, text: str) -> None:
            drawn.append((epochs_done, title, text))
            super().draw(epochs_done, title, text)

    monkeypatch.setattr(progress, "BARS", (Watched,))
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    monkeypatch.setattr(sys, "stdout", terminal)
    model = make(device)
    history = model.fit(X, Y, epochs=4, callbacks=[LambdaCallback(on_epoch_end=lambda epoch, logs: None)])
    assert [(done, title) for done, title, _ in drawn if done == int(done)] == [
        (k, f"epoch {k}/4") for k in (1, 2, 3, 4)
    ]
    assert drawn[-1][2] == f"loss {history.history['loss'][-1]:.4g}"
    assert "epoch 4/4" in terminal.getvalue()


def test_a_terminal_without_size_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tqdm")
    terminal = Terminal()
    monkeypatch.setattr(terminal, "fileno", lambda: 1, raising=False)
    monkeypatch.setattr(os, "get_terminal_size", lambda descriptor: os.terminal_size((0, 0)))
    monkeypatch.setattr(sys, "stdout", terminal)
    make("reference").fit(X, Y, epochs=3)
    assert [line.split(" - ")[0] for line in terminal.getvalue().splitlines()] == [
        "epoch 1/3",
        "epoch 2/3",
        "epoch 3/3",
    ]


def test_a_bar_moves_within_an_epoch_and_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []

    class Bar:
        drawn: list[tuple[float, str]] = []

        def __init__(self, *arguments: Any) -> None:
            pass

        def draw(self, epochs_done: float, title: str, text: str) -> None:
            self.drawn.append((epochs_done, text))

        def close(self) -> None:
            closed.append(True)

    monkeypatch.setattr(progress, "BARS", (Bar,))
    monkeypatch.setattr(sys, "stdout", Terminal())
    model = make("reference")
    x, y = np.tile(X, (400, 1)), np.tile(Y, (400, 1))
    model.fit(x, y, batch_size=4, verbose=1)
    shares = [done for done, _ in Bar.drawn]
    assert len(shares) > 1 and shares == sorted(shares) and 0 < shares[0] < 1 == shares[-1] and closed == [True]
    assert Bar.drawn[0][1].startswith("loss ")
    with pytest.raises(ZeroDivisionError):
        model.fit(X, Y, callbacks=[LambdaCallback(on_epoch_end=lambda epoch, logs: 1 / 0)], verbose=1)
    assert closed == [True, True]


def test_a_terminal_without_a_library_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    for name in ("tqdm", "rich.progress", "rich.console"):
        monkeypatch.setitem(sys.modules, name, None)
    make("reference").fit(X, Y, epochs=2)
    assert terminal.getvalue().count("\n") == 2


def test_no_stdout_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert len(make("reference").fit(X, Y, epochs=2).epoch) == 2


def test_progress_bar_by_hand(device: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="ProgressBar: verbose is 7"):
        ProgressBar(7)
    printed = lines(make(device), capsys, epochs=2, verbose=0, callbacks=[ProgressBar(2)])
    assert len(printed) == 2


def test_bars_leave_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Terminal())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make("reference").fit(X, Y, epochs=30)
