"""`SwapEMAWeights`: evaluate with the averaged weights of an optimizer."""

from __future__ import annotations

from ..arguments import flag, keywords_checked
from ..arrays import Array
from .base import Callback, Logs, core_model


class SwapEMAWeights(Callback):
    """Evaluate and predict with the averaged weights that an optimizer with ``use_ema=True`` keeps.

    They take the place of the weights before an evaluation or a prediction, the validation of ``fit`` included, and
    the weights are put back after it. Training then returns to Python after every epoch.

    Parameters
    ----------
    swap_on_epoch : bool, default False
        Whether they also take the place of the weights at the end of each epoch, until the next one begins: for
        callbacks that come after this one, such as `ModelCheckpoint`.

    Examples
    --------
    >>> import numpy as np, fastdense as fd
    >>> model = fd.Model([fd.Dense(1)], inputs=3)
    >>> model.compile(fd.Adam(use_ema=True), "mse")
    >>> callbacks = [fd.callbacks.SwapEMAWeights()]
    >>> history = model.fit(np.ones((8, 3)), np.ones(8), validation_split=0.5, callbacks=callbacks, verbose=0)
    """

    @keywords_checked
    def __init__(self, swap_on_epoch: bool = False) -> None:
        super().__init__()
        self.swap_on_epoch = flag("SwapEMAWeights: swap_on_epoch", swap_on_epoch)
        self._weights: list[Array] | None = None  # those that the averaged ones have replaced

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Raise now if the optimizer keeps no average."""
        self._weights = None
        core_model(self.model).ema_weights()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Leave the average, which `fit` puts in place of the weights."""
        self._weights = None

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Go on from the weights."""
        self._back()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Leave the averaged weights to the callbacks that follow."""
        if self.swap_on_epoch:
            self._swap()

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Evaluate with the averaged weights."""
        self._swap()

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Put the weights back."""
        self._back()

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Predict with the averaged weights."""
        self._swap()

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Put the weights back."""
        self._back()

    def on_train_exception(self, error: BaseException) -> None:
        """Put the weights back."""
        self._back()

    def _swap(self) -> None:
        model = core_model(self.model)
        if self._weights is None:
            self._weights = model.get_weights()
            model.set_weights(model.ema_weights())

    def _back(self) -> None:
        if self._weights is not None:
            core_model(self.model).set_weights(self._weights)
            self._weights = None
