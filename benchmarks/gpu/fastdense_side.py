"""fastdense's side of a case: `fit` or `fit_many` as a user calls them, with the data on the device if it can be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import fastdense as fd
from benchmarks.gpu.setting import Setting, first_line
from benchmarks.libraries import compile_model, make_model


@dataclass
class Data:
    """Arrays to be handed to `fit`. Where they lie on the host, each `fit` uploads them, which `uploads` tells."""

    x: Any
    y: Any
    uploads: bool = False


def on_device(x: Any) -> Any:
    """A copy on the GPU: CuPy's if it is installed, else PyTorch's."""
    try:
        import cupy
    except ImportError:
        import torch

        return torch.from_numpy(x).cuda()
    return cupy.asarray(x)


def place(setting: Setting, notes: list[str], try_out: Callable[[Any, Any], object]) -> Data:
    """The data where the device wants it: tried with the first rows."""
    x = setting.x
    y = x if setting.task.target == "x" else setting.y
    if setting.device == "cpu":
        return Data(x, y)
    few = min(len(x), setting.task.batch_size)
    try:
        there = on_device(x)
        target = there if y is x else on_device(y)
        try_out(there[:few], target[:few])
    except (TypeError, ValueError, ImportError, NotImplementedError) as error:
        notes.append(f"data from the host, a fit of one epoch subtracted ({first_line(error)})")
        return Data(x, y, uploads=True)
    return Data(there, target)


class Fit:
    """One `fit` of as many epochs as asked for."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.notes = setting, list[str]()
        self.model = make_model(setting.task, setting.device, **options(setting))
        self.data = place(setting, self.notes, lambda x, y: self.fit(x, y, 1))

    def fit(self, x: Any, y: Any, epochs: int) -> list[float]:
        size, shuffle = self.setting.task.batch_size, not self.setting.whole
        history = self.model.fit(x, y, batch_size=size, epochs=epochs, shuffle=shuffle, verbose=0)
        losses: list[float] = history.history["loss"]
        return losses

    def restart(self) -> None:
        self.model.set_weights(self.setting.weights)
        compile_model(self.model, self.setting.task)

    def train(self, epochs: int) -> list[float]:
        return self.fit(self.data.x, self.data.y, epochs)


class FitMany:
    """One `fit_many` of all nets; every call starts them anew."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.notes = setting, list[str]()
        self.model = make_model(setting.task, setting.device, **options(setting))
        self.data = place(setting, self.notes, lambda x, y: self.fit(x, y, 1))

    def fit(self, x: Any, y: Any, epochs: int) -> Any:
        return fd.fit_many(
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

    def restart(self) -> None:
        """Nothing to do."""

    def train(self, epochs: int) -> list[float]:
        nets = self.fit(self.data.x, self.data.y, epochs)
        if nets.why_one_by_one and not self.notes:
            self.notes.append(f"one by one: {nets.why_one_by_one}")
        return nets.history.mean(axis=1).tolist()  # type: ignore[no-any-return]


def options(setting: Setting) -> dict[str, Any]:
    """More arguments of the model."""
    return {} if setting.precision == "float32" else {"precision": setting.precision}


def make(setting: Setting) -> Fit | FitMany:
    """Ready for its first turn."""
    return FitMany(setting) if setting.starts > 1 else Fit(setting)
