"""`History`: the record of a training run, which `fit` returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ..arguments import suggestion
from ..plotting import pyplot
from .base import Callback, Columns, Logs, TrainedModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .fitted import Fitted
    from .probes import Probes


class History(Callback):
    """Record of a training run; every `fit` makes one, which is also `model.history`.

    Attributes
    ----------
    history : dict of lists
        One number (or array, of a metric of yours that gives arrays) per epoch under "loss", each metric's name, and
        ``"val_"`` and these if there is validation data. The loss is the training objective: the mean over the rows,
        penalties included.
    epoch : list of int
        Number of each epoch; the first is `initial_epoch`.
    params : dict
        "epochs", "steps" (batches per epoch) and "verbose"; "ended" if a full-batch optimizer stopped early: why.
    probes : Probes or None
        Statistics of every layer during training, after ``fit(..., probes=True)``; else None.
    fitted : Fitted or None
        What `fit` was given, without the data, and which callback ended it: read by `Model.diagnose`.
    """

    deferred: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []
        self.probes: Probes | None = None
        self.fitted: Fitted | None = None

    def set_model(self, model: TrainedModel) -> None:
        """Do nothing: a record keeps no model alive."""

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Start afresh."""
        self.history, self.epoch = {}, []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Record one epoch."""
        self.on_epochs_end(epoch, {key: [value] for key, value in (logs or {}).items()})

    def on_epochs_end(self, first_epoch: int, logs: Columns) -> None:
        """Record many epochs."""
        self.epoch.extend(range(first_epoch, first_epoch + len(next(iter(logs.values()), ()))))
        for key, values in logs.items():
            self.history.setdefault(key, []).extend(values)

    def __repr__(self) -> str:
        last = ", ".join(f"{key}={_text(values[-1])}" for key, values in self.history.items() if values)
        return f"<History of {len(self.epoch)} epochs{': ' + last if last else ''}>"

    def plot(self, keys: list[str] | None = None, *, log: bool | None = None) -> Figure:
        """Draw the loss and each metric over the epochs, training and validation in one panel.

        Parameters
        ----------
        keys : list of str, optional
            What to draw, e.g. ["loss"]; everything by default.
        log : bool, optional
            Logarithmic scale; by default where all values are positive and span more than a factor of 10.

        Returns
        -------
        matplotlib.figure.Figure
            Shown by `matplotlib.pyplot.show()`, kept by its `savefig("loss.png")`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there is no such key, or nothing was recorded.
        """
        known = [key for key in self.history if not key.startswith("val_")]
        for key in known if keys is None else keys:
            if key not in known:
                held = ", ".join(known) or "no epoch yet"
                if key in self.history:
                    raise ValueError(f"plot: {key!r} is drawn beside its training values; ask for one of {held}")
                near = suggestion(key, known)
                raise ValueError(f"plot: {key!r} is not in the history; it holds {held}{near and '.' + near}")
        chosen = known if keys is None else keys
        if not chosen:
            raise ValueError(
                "plot: keys is empty; name what to draw, e.g. ['loss']"
                if known
                else "plot: no epoch was recorded; train for at least one epoch first"
            )
        figure: Figure
        figure, axes = pyplot("plot").subplots(1, len(chosen), figsize=(4.8 * len(chosen), 3.6), squeeze=False)
        epochs = [epoch + 1 for epoch in self.epoch]
        for axis, key in zip(axes[0], chosen, strict=True):
            curves: dict[str, list[float]] = {"training": self.history[key]}
            if f"val_{key}" in self.history:
                curves["validation"] = self.history[f"val_{key}"]
            for label, values in curves.items():
                axis.plot(epochs[-len(values) :], values, label=label, marker="." if len(values) < 30 else "")
            axis.set(xlabel="epoch", title=key, yscale="log" if _log(curves, log) else "linear")
            axis.xaxis.get_major_locator().set_params(integer=True)
            axis.legend()
        figure.tight_layout()
        return figure


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, (int, float)) else " ".join(f"{one:.6g}" for one in value.flat)


def _log(curves: dict[str, list[float]], log: bool | None) -> bool:
    if log is not None:
        return log
    every = [value for curve in curves.values() for one in curve for value in getattr(one, "flat", [one])]
    values: list[Any] = [value for value in every if value == value]
    return bool(values) and min(values) > 0 and max(values) > 10 * min(values)
