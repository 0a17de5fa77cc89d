"""`LivePlot`: learning curves that grow while a model trains."""

from __future__ import annotations

import importlib
import io
import os
import sys
import time
from collections.abc import Sequence
from typing import Any, ClassVar

from ..arguments import file_path, items, keywords_checked, number
from .base import Callback, Columns, Logs, TrainedModel

DRAWN = 0.05  # the most of the time that pictures take


class LivePlot(Callback):
    """Draw the learning curves again and again during training: in a notebook in place, or into a file.

    Training is not held up for it: it goes on in compiled code, and at most every `every` seconds the epochs finished
    by then are drawn, which takes some tenths of a second. A picture that takes long makes the pauses longer: besides
    the first and the last, pictures take a twentieth of the time at most. The last has all epochs, also after Ctrl-C.

    Parameters
    ----------
    keys : list of str, optional
        What to draw, e.g. ["loss", "accuracy"]; everything by default. Validation is drawn beside the training.
    path : str or path, optional
        Where to write the picture, as PNG. Needed outside of a notebook, where nothing can be drawn in place.
    every : float, default 1.0
        Seconds from one picture to the next, at least.

    Raises
    ------
    ValueError
        By `fit`: before any training if there is no path and Python does not run in a notebook; after the first epochs
        if there is no such key.
    ImportError
        By `fit`: if matplotlib is not installed.

    Examples
    --------
    >>> import fastdense as fd
    >>> live = fd.callbacks.LivePlot(["loss"], path="loss.png")
    >>> model.fit(x, y, epochs=1000, validation_split=0.2, callbacks=[live])  # doctest: +SKIP
    """

    deferred: ClassVar[bool] = True

    first_rank_only: ClassVar[bool] = True

    @keywords_checked
    def __init__(
        self,
        keys: Sequence[str] | None = None,
        path: str | os.PathLike[str] | None = None,
        every: float = 1.0,
    ) -> None:
        super().__init__()
        self.keys = None if keys is None else items("LivePlot: keys", keys, "a list of names, e.g. ['loss']")
        self.path = None if path is None else file_path("LivePlot: path", path)
        self.every = number("LivePlot: every", every, least=0)
        self._display: Any = None

    def set_model(self, model: TrainedModel) -> None:
        """Do nothing: a picture keeps no model alive."""

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Check that there is something to draw on."""
        from ..plots.base import pyplot  # seldom needed
        from ..plots.curves import panels_of

        pyplot("LivePlot")  # says what to install
        if self.path is None and not in_notebook():
            raise ValueError(
                "LivePlot: this is no notebook, where a picture can be drawn in place; give it a path: "
                "LivePlot(path='loss.png')"
            )
        self._columns: dict[str, list[Any]] = {}
        self._panels_of = panels_of
        self._first = 1
        self._display, self._drawn, self._next = None, 0, time.monotonic() + self.every

    def on_epochs_end(self, first_epoch: int, logs: Columns) -> None:
        """Record the epochs, and draw if it is time."""
        if not self._columns:
            self._first = first_epoch + 1
        for key, values in logs.items():
            self._columns.setdefault(key, []).extend(values)
        if time.monotonic() >= self._next:
            self._draw()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """As `on_epochs_end`, for one epoch."""
        self.on_epochs_end(epoch, {key: [value] for key, value in (logs or {}).items()})

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Draw all epochs."""
        self._draw()

    def on_train_exception(self, error: BaseException) -> None:
        """Draw all finished epochs."""
        self._draw()

    def _draw(self) -> None:
        from ..plots.curves import chosen_keys, draw_panel

        panels = self._panels_of(self._columns, self._first)
        shown = {key: panels[key] for key in chosen_keys("LivePlot", panels, self.keys)} if panels else {}
        last = max((int(curve.epochs[-1]) for curves in panels.values() for curve in curves), default=0)
        if not shown or last == self._drawn:
            return
        began = time.monotonic()
        from matplotlib.figure import Figure  # no pyplot: no window, no global state

        figure = Figure(figsize=(4.8 * len(shown), 3.6), layout="constrained")
        for axis, (key, curves) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown.items(), strict=True):
            draw_panel(axis, key, curves)
        self._show(figure)
        ended = time.monotonic()
        self._drawn, self._next = last, ended + max(self.every, (ended - began) * (1 / DRAWN - 1))

    def _show(self, figure: Any) -> None:
        if self.path is not None:
            partial = f"{self.path}.part"  # a viewer never sees half a picture
            figure.savefig(partial, format="png", dpi=100)
            os.replace(partial, self.path)
        if in_notebook():
            image = io.BytesIO()
            figure.savefig(image, format="png", dpi=100)
            ipython: Any = importlib.import_module("IPython.display")
            picture = ipython.Image(data=image.getvalue(), format="png")
            if self._display is None:
                self._display = ipython.display(picture, display_id=True)
            else:
                self._display.update(picture)


def in_notebook() -> bool:
    """Whether Python runs in a notebook: in an IPython shell that has a kernel."""
    module = sys.modules.get("IPython")
    shell = None if module is None else module.get_ipython()
    return getattr(shell, "kernel", None) is not None
