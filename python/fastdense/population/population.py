"""What became of many starts of one net; `fit_many` (many.py) makes it."""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ..arguments import number
from ..arrays import Array, check_memory
from ..data.checks import check_x
from ..data.prepare import prepare
from ..model.base import BaseModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .fit import PopulationFit
    from .outcomes import Outcomes


class Population:
    """What became of many starts of one net; made by `fit_many`.

    Attributes
    ----------
    losses : ndarray of shape (starts,)
        Loss of each net as it is now on the data of `fit_many`, penalties included: what `Model.evaluate` gives.
    history : ndarray of shape (epochs, starts)
        Mean training loss of each epoch, as `fit` reports it; NaN where a net was not trained any more.
    val_history : ndarray of shape (epochs, starts), or None
    epochs : ndarray of shape (starts,)
        Epochs that each net was trained.
    seeds : ndarray of uint64, shape (starts,)
    interrupted : bool
        Whether Ctrl-C ended the training.
    why_one_by_one : str
        Why the nets were trained one to a thread; empty if they shared the lanes of vectors.
    revived : ndarray of shape (starts,)
        How many units `ReviveDeadUnits` has revived in each net.
    """

    def __init__(self, run: PopulationFit, penalties: Array | None, batches: int, interrupted: bool) -> None:
        self._model, self._runner, self._data, self._weights = run.model, run.runner, run.data, run.weights
        self._rates, self._penalties, self._batches = run.rates, penalties, batches
        self._changed = ~run.active  # their optimizers' state is not that of their weights
        self.history, self.val_history, self.epochs = run.history, run.val_history, run.epochs
        self.seeds, self.interrupted, self.why_one_by_one = run.runner.seeds, interrupted, run.runner.reason
        self.revived = sum((w.revived for w in run.watchers), np.zeros(len(self.seeds), dtype=np.int64))
        if interrupted:
            self._changed = np.ones(len(self), dtype=bool)
            self.history = self.history[: int(self.epochs.max(initial=0))]
        self.losses = run.runner.losses(run.data, run.weights)

    def __len__(self) -> int:
        return len(self.seeds)

    def __repr__(self) -> str:
        best = self.losses[self.best_index]
        widths = " -> ".join(map(str, (self._model.inputs, *self._model.net.widths)))
        share = self.success_rate()
        return (
            f"<Population of {len(self):,} starts of {widths}, {int(self.epochs.max(initial=0))} epochs: "
            f"best loss {best:.4g}, median {np.median(self.losses):.4g}, {share:.0%} within 10 % of the best>"
        )

    # ---- members ---------------------------------------------------------------------------------------------------

    @property
    def best_index(self) -> int:
        """Number of the net with the smallest loss."""
        return int(np.argmin(np.where(np.isfinite(self.losses), self.losses, np.inf)))

    @property
    def best(self) -> BaseModel:
        """The net with the smallest loss, as a model of its own."""
        return self[self.best_index]

    @property
    def weights(self) -> list[Array]:
        """All tensors, in the order of `Model.get_weights`, each (starts, ...)."""
        return self._runner.tensors()

    @overload
    def __getitem__(self, index: int) -> BaseModel: ...

    @overload
    def __getitem__(self, index: slice) -> list[BaseModel]: ...

    def __getitem__(self, index: int | slice) -> BaseModel | list[BaseModel]:
        """Net number `index` as a compiled model of its own, which can be trained on; a slice gives a list."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        i = operator.index(index)
        if not -len(self) <= i < len(self):
            raise IndexError(f"Population: start {i} was asked for, and there are {len(self)} starts")
        i %= len(self)
        return self._member(i, self._runner.tensors(), self._runner.nets.get_slots(), self._runner.nets.get_numbers())

    def __iter__(self) -> Iterator[BaseModel]:
        nets = self._runner.nets
        tensors, slots, numbers = self._runner.tensors(), nets.get_slots(), nets.get_numbers()
        return (self._member(i, tensors, slots, numbers) for i in range(len(self)))

    def _member(self, i: int, tensors: list[Array], slots: list[list[Array]], numbers: Array) -> BaseModel:
        config = {**self._model.get_config(), "seed": int(self.seeds[i])}
        if self._penalties is not None:
            config["layers"] = [_scaled_penalties(layer, float(self._penalties[i])) for layer in config["layers"]]
        made = type(self._model).from_config(config)
        optimizer = copy.deepcopy(self._model.optimizer)
        if self._rates is not None:
            optimizer.learning_rate = float(self._rates[i])
        made.compile(
            optimizer,
            copy.deepcopy(self._model.loss),
            metrics=copy.deepcopy(self._model.metrics),
            loss_weights=self._model.loss_weights,
        )
        made.set_weights([tensor[i] for tensor in tensors])
        if not self._changed[i]:
            made.runner.set_slots(
                [[array[i] for array in slot] for slot in slots], int(self.epochs[i]) * self._batches, numbers[i]
            )
            made.runner.epochs_trained = int(self.epochs[i])
        return made

    # ---- what they learned -----------------------------------------------------------------------------------------

    def predict(self, x: Any, *, n_threads: int | None = None) -> Array:
        """Outputs of every net.

        Parameters
        ----------
        x : array of shape (rows, inputs)
        n_threads : int, optional

        Returns
        -------
        ndarray of shape (starts, rows, outputs)
            A CuPy array if x is on a GPU.
        """
        rows = check_x("predict", x, self._model._shape)
        size = len(self) * len(rows) * self._model.outputs * self._runner.value_dtype.itemsize
        if isinstance(rows, np.ndarray):
            check_memory("predict", size, f"the outputs of {len(self):,} nets for {len(rows):,} rows", "use fewer rows")
        return self._runner.predict(rows, n_threads or 0)

    def evaluate(self, x: Any, y: Any, *, sample_weight: Any = None, n_threads: int | None = None) -> Array:
        """Loss of every net on other data, penalties included: (starts,).

        Parameters
        ----------
        x, y, sample_weight, n_threads
            As in `Model.evaluate`.
        """
        data = prepare("evaluate", x, y, sample_weight, self._model._shape, self._model.loss)
        return self._runner.losses(data, None, n_threads or 0)

    def success_rate(self, rtol: float = 0.1, *, reference: float | None = None) -> float:
        """Share of the nets whose loss is at most ``(1 + rtol)`` times the best.

        Parameters
        ----------
        rtol : float
        reference : float, optional
            What to compare with in place of the best loss of this population.
        """
        best = float(self.losses[self.best_index]) if reference is None else reference
        limit = best + number("success_rate: rtol", rtol, least=0) * abs(best)
        return float(np.mean(self.losses <= limit))

    def outcomes(self, *, rtol: float = 0.1, reference: float | None = None) -> Outcomes:
        """How each start ended: converged, stuck (and on what), diverged, or still moving.

        Parameters
        ----------
        rtol : float
            A net within this share of the best loss has converged.
        reference : float, optional
            The best loss, if it is known better than from this population.

        Returns
        -------
        Outcomes
        """
        from .outcomes import classify

        return classify(self, number("outcomes: rtol", rtol, least=0), reference)

    def plot(self, *, reference: float | None = None) -> Figure:
        """Draw the distribution of the losses and the functions that were learned; see `Outcomes.plot`."""
        return self.outcomes(reference=reference).plot()


def _scaled_penalties(config: Any, factor: float, inside: bool = False) -> Any:
    """A layer's config with the factors of all its regularizers multiplied."""
    if isinstance(config, dict):
        return {key: _scaled_penalties(value, factor, inside or str(key).endswith("_regularizer"))
                for key, value in config.items()}  # fmt: skip
    if isinstance(config, list):
        return [_scaled_penalties(value, factor, inside) for value in config]
    return config * factor if inside and isinstance(config, float) else config
