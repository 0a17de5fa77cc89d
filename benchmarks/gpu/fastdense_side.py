"""fastdense's side of a case: `fit` or `fit_many` as a user calls them, with the data on the device if it can be."""

from __future__ import annotations

from typing import Any

import fastdense as fd
from benchmarks.gpu.setting import Setting, first_line
from fastdense.cli.model import compile_model, make_model
from fastdense.engine import gpu


def on_device(x: Any) -> Any:
    """A copy on the GPU: CuPy's if it is installed, else PyTorch's."""
    try:
        import cupy
    except ImportError:
        import torch

        return torch.from_numpy(x).cuda()
    return cupy.asarray(x)


class Base:
    """The model, and the data where the device wants it: on it, if `fit` takes it there."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.notes, self.one_off = setting, list[str](), False
        options = {} if setting.precision == "float32" else {"precision": setting.precision}
        self.model = make_model(setting.task, setting.device, **options)
        self.x = setting.x
        self.y = self.x if setting.task.target == "x" else setting.y
        if setting.device == "cuda":
            self.place()

    def place(self) -> None:
        """Try the device's arrays with the first rows."""
        few = min(len(self.x), self.setting.task.batch_size)
        try:
            x = on_device(self.x)
            y = x if self.y is self.x else on_device(self.y)
            self.call(x[:few], y[:few], 1)
        except (TypeError, ValueError, ImportError, NotImplementedError, AssertionError) as error:
            self.one_off = True
            self.notes.append(f"data from the host, a call of one epoch subtracted ({first_line(error)})")
        else:
            self.x, self.y = x, y

    def call(self, x: Any, y: Any, epochs: int) -> list[float]:
        """Train; returns the losses of the epochs."""
        raise NotImplementedError

    def restart(self) -> None:
        """Reset to the initial weights."""
        self.model.set_weights(self.setting.weights)
        compile_model(self.model, self.setting.task)

    def train(self, epochs: int) -> list[float]:
        return self.call(self.x, self.y, epochs)

    def launches(self) -> float | None:
        """What a second epoch adds to the engine's count: a call has launches of its own, too."""
        if self.setting.device != "cuda":
            return None
        module, counts = gpu.require(), []
        self.train(2)  # its first step is in no graph, where the library's kernels are not counted
        for epochs in (2, 3):
            before = module.launches()
            self.train(epochs)
            counts.append(module.launches() - before)
        return float(counts[1] - counts[0]) / self.setting.steps


class Fit(Base):
    """One `fit` of as many epochs as asked for."""

    def call(self, x: Any, y: Any, epochs: int) -> list[float]:
        size, shuffle = self.setting.task.batch_size, not self.setting.whole
        history = self.model.fit(x, y, batch_size=size, epochs=epochs, shuffle=shuffle, verbose=0)
        losses: list[float] = history.history["loss"]
        return losses


class FitMany(Base):
    """One `fit_many` of all nets. Every call makes them anew, which is no part of a step."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.one_off = True
        self.notes = self.notes or ["a call of one epoch subtracted, as every call makes its nets anew"]

    def restart(self) -> None:
        """Nothing to do."""

    def call(self, x: Any, y: Any, epochs: int) -> list[float]:
        nets = fd.fit_many(
            self.model,
            x,
            y,
            starts=self.setting.starts,
            epochs=epochs,
            batch_size=self.setting.task.batch_size,
            shuffle=False if self.setting.whole else "same",
            seed=self.setting.task.seed,
            initial_weights=list(self.setting.weights),
            verbose=0,
        )
        if nets.why_one_by_one and len(self.notes) < 2:
            self.notes.append(f"one by one: {nets.why_one_by_one}")
        return nets.history.mean(axis=1).tolist()  # type: ignore[no-any-return]


def make(setting: Setting) -> Base:
    """Ready for its first turn."""
    return FitMany(setting) if setting.starts > 1 else Fit(setting)
