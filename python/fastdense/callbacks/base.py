"""The base class of callbacks, and the list of callbacks of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from ..arguments import items
from ..arrays import Array
from ..layers import Layer
from ..losses import Loss
from ..metrics import Metric
from ..network import Net
from ..optimizers import Optimizer

Logs = dict[str, Any]
Columns = Mapping[str, Sequence[float]]
_BATCH_HOOKS = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")
_TEST_HOOKS = ("on_test_begin", "on_test_end", "on_test_batch_begin", "on_test_batch_end")


class TrainedModel(Protocol):
    """What callbacks may rely on of the model that is being trained; see `fastdense.Model`."""

    net: Net
    stop_training: bool

    @property
    def layers(self) -> list[Layer]: ...

    @property
    def seed(self) -> int: ...

    @property
    def optimizer(self) -> Optimizer: ...

    @property
    def loss(self) -> Loss: ...

    @property
    def metrics(self) -> list[Metric]: ...

    @property
    def metrics_names(self) -> list[str]: ...

    def get_weights(self) -> list[Array]: ...

    def set_weights(self, weights: Sequence[Any]) -> None: ...

    def evaluate(self, x: Any, y: Any) -> Any: ...

    def predict(self, x: Any) -> Array: ...

    def activations(self, x: Any, *, n_threads: int | None = None) -> list[Array]: ...

    def save(self, path: str, *, include_optimizer: bool = True) -> None: ...

    def ema_weights(self) -> list[Array]: ...

    def save_state(self, path: str) -> None: ...

    def load_state(self, path: str) -> None: ...

    @property
    def step(self) -> int: ...


def core_model(model: TrainedModel) -> TrainedModel:
    """The `fastdense.Model` that trains: the model itself, or the one inside of a model of `fastdense.keras`."""
    return getattr(model, "fastdense", model)


class Callback:
    """Base of the callbacks: override the hooks you need, with Keras's names and meaning.

    Which hooks are overridden decides how often training returns to Python: with a batch hook after every batch, with
    an epoch hook after every epoch (or after as many as `epochs_ahead` allows), and otherwise about ten times a second,
    however many epochs that is.

    Attributes
    ----------
    model : Model
        The model that is being trained.
    params : dict
        "epochs", "steps" (batches per epoch), "verbose"; with `comm` also "rank".
    deferred : bool
        Of the class, or set by ``__init__``. True promises that the epoch hooks only read `logs` and leave the model
        alone. Epochs are then not held up for them: `on_epoch_end` is called for each epoch in order, but possibly some
        epochs later.

    first_rank_only : bool
        Of the class: where several processes train one net together (`comm`), only the first one calls it. For what
        writes files or shows something.

    Notes
    -----
    Evaluation and prediction of arrays are one call each, so their batch hooks are called once, for batch 0; those of
    an iterable are called for each of its items.
    """

    deferred: ClassVar[bool] = False
    first_rank_only: ClassVar[bool] = False
    model: TrainedModel
    params: dict[str, Any]

    def __init__(self) -> None:
        self.params = {}

    def set_model(self, model: TrainedModel) -> None:
        """Receive the model; called before training begins."""
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        """Receive the parameters of the run; called before training begins."""
        self.params = params

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Called once, before the first epoch."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Called once, after the last epoch; `logs` are those of the last epoch."""

    def on_train_exception(self, error: BaseException) -> None:
        """Called once, in place of `on_train_end`, if an exception ends training: Ctrl-C or any other.

        The history has all finished epochs then; the exception is raised again afterwards.
        """

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Called before each epoch, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Called after each epoch; what is added to `logs` goes into the history."""

    def on_epochs_end(self, first_epoch: int, logs: Columns) -> None:
        """Called in place of `on_epoch_end` for `deferred` callbacks, with one value per finished epoch and key."""
        count = len(next(iter(logs.values()), ()))
        for i in range(count):
            self.on_epoch_end(first_epoch + i, {key: values[i] for key, values in logs.items()})

    def epochs_ahead(self) -> int:
        """Return how many epochs may be trained before the next call of `on_epoch_end`: 1 unless a class knows better.

        Asked before epochs of callbacks that are not deferred. More than 1 promises that the callback only reads the
        `logs` of all of these epochs but the last, whatever they hold; the epochs are then one call of the engine.
        """
        return 1

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before each training batch."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after each training batch; `logs` are the running loss and metrics of the epoch."""
        self.on_batch_end(batch, logs)

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Older name of `on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Older name of `on_train_batch_end`."""

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Called before an evaluation, also that of validation data in `fit`."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Called after an evaluation; `logs` are its loss and metrics."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before the rows, or an iterable's item, are evaluated."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after the rows, or an iterable's item, are evaluated."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Called before a prediction."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Called after a prediction."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before the rows, or an iterable's item, are predicted."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after the rows, or an iterable's item, are predicted; `logs` holds their "outputs"."""


def overrides(callback: Callback, hook: str) -> bool:
    """Whether a callback has a hook of its own, by class or by assignment to the object."""
    return hook in vars(callback) or getattr(type(callback), hook) is not getattr(Callback, hook)


def sees_batches(callbacks: Sequence[Callback]) -> bool:
    """Whether one of them has a hook for training batches."""
    return any(overrides(callback, hook) for callback in callbacks for hook in _BATCH_HOOKS)


class CallbackList:
    """The callbacks of one run, and how often training must return to Python for them.

    Parameters
    ----------
    callbacks : list of Callback
    model : Model
    params : dict

    Attributes
    ----------
    stopper : Callback or None
        The callback that ended the training, if one did.
    """

    def __init__(self, callbacks: list[Callback], model: TrainedModel, params: dict[str, Any]) -> None:
        self.callbacks, self.model, self.params = callbacks, model, params
        self.stopper: Callback | None = None
        self.by_batch = sees_batches(callbacks)
        self.sees_tests = any(overrides(c, hook) for c in callbacks for hook in _TEST_HOOKS)
        self.by_epoch = self.by_batch or self.sees_tests or any(map(_needs_each_epoch, callbacks))
        for callback in callbacks:
            callback.set_params(params)
            callback.set_model(model)

    @property
    def stop_training(self) -> bool:
        """The model's flag that ends training, which callbacks set."""
        return self.model.stop_training

    @stop_training.setter
    def stop_training(self, stop: bool) -> None:
        self.model.stop_training = stop

    def epochs_ahead(self) -> int | None:
        """How many epochs may be trained before callbacks must see them; None for any number."""
        if not self.by_epoch:
            return None
        if self.by_batch or self.sees_tests or any(overrides(c, "on_epoch_begin") for c in self.callbacks):
            return 1
        return max(1, min(c.epochs_ahead() for c in self.callbacks if _needs_each_epoch(c)))

    def call(self, hook: str, *arguments: Any) -> None:
        """Call a hook of every callback, in order."""
        for callback in self.callbacks:
            stopped = self.model.stop_training
            getattr(callback, hook)(*arguments)
            self._note(callback, stopped)

    def epochs_end(self, first_epoch: int, columns: dict[str, list[float]]) -> Logs:
        """Call the hooks for finished epochs, one at a time only if a callback needs that; return the last logs."""
        count = len(next(iter(columns.values()), ()))
        if not count:
            return {}
        if self.by_epoch and count == 1:
            logs: Logs = {key: values[0] for key, values in columns.items()}
            self.call("on_epoch_end", first_epoch, logs)
            return logs
        for callback in self.callbacks:
            if overrides(callback, "on_epochs_end") or overrides(callback, "on_epoch_end"):
                stopped = self.model.stop_training
                callback.on_epochs_end(first_epoch, columns)
                self._note(callback, stopped)
        return {key: values[-1] for key, values in columns.items()}

    def _note(self, callback: Callback, stopped_before: bool) -> None:
        if self.model.stop_training and not stopped_before:
            self.stopper = callback


def _needs_each_epoch(callback: Callback) -> bool:
    return overrides(callback, "on_epoch_begin") or (overrides(callback, "on_epoch_end") and not callback.deferred)


def check_callbacks(where: str, callbacks: object) -> list[Callback]:
    """Return the callbacks as a list: None, one, or several; anything else is an error."""
    if callbacks is None:
        return []
    if isinstance(callbacks, CallbackList):
        return list(callbacks.callbacks)
    if isinstance(callbacks, Callback):
        return [callbacks]
    checked: list[Callback] = []
    for i, callback in enumerate(
        items(f"{where}: callbacks", callbacks, "a list of callbacks, e.g. [EarlyStopping()]")
    ):
        if isinstance(callback, type) and issubclass(callback, Callback):
            raise TypeError(
                f"{where}: callbacks[{i}] is the class {callback.__name__}; an object is needed: {callback.__name__}()"
            )
        if not isinstance(callback, Callback):
            raise TypeError(
                f"{where}: callbacks[{i}] is a {type(callback).__name__}; a fastdense.callbacks.Callback is needed: "
                "derive your class from it, or wrap functions in LambdaCallback"
            )
        checked.append(callback)
    return checked
