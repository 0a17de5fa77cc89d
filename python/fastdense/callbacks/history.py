"""`History`: the record of a training run, which `fit` returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

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
        """Draw the loss and each metric over the epochs, training and validation in one panel; as `plots.history`.

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
        from ..plots.curves import draw_history  # seldom needed

        figure: Figure = draw_history("plot", self, keys, log)
        return figure


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, (int, float)) else " ".join(f"{one:.6g}" for one in value.flat)
