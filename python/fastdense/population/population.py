"""Result of training a population: weights, losses and history of every member."""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import numpy as np

from ..arguments import integer, number
from ..arrays import Array, check_memory, to_host
from ..data.checks import check_x
from ..data.prepare import prepare
from ..data.rows import Rows
from ..model.base import BaseModel
from ..reference.losses import predictions
from ..runners.population import PopulationRunner
from ..training.options import check_threads
from .ensemble import Ensemble, check_candidates, select
from .outcomes import Outcomes, classify
from .selection import Measure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

M = TypeVar("M", bound=BaseModel)


class Population(Generic[M]):
    """Result of training a population; `fit_many` returns it, and a `PopulationInterrupt` holds it.

    Attributes
    ----------
    losses : ndarray of shape (starts,)
        Final loss of each member on the data of `fit_many`, penalties included: what `Model.evaluate` returns. Where
        Ctrl-C came while it was computed, that of the last epoch in `history`.
    history : ndarray of shape (epochs, starts)
        Mean training loss of each epoch, as `fit` reports it; NaN where a member was no longer trained.
    val_history : ndarray of shape (epochs, starts), or None
    epochs : ndarray of shape (starts,)
        Epochs that each member was trained.
    seeds : ndarray of uint64, shape (starts,)
    interrupted : bool
        Whether Ctrl-C ended the training.
    why_one_by_one : str
        Why the members were trained one per thread; empty if they shared vector lanes.
    revived : ndarray of shape (starts,)
        Number of units that `ReviveDeadUnits` reinitialized in each member.
    """

    def __init__(
        self,
        model: M,
        runner: PopulationRunner,
        data: Rows,
        *,
        losses: Array,
        history: Array,
        val_history: Array | None,
        epochs: Array,
        batches: int,
        learning_rates: Array | None,
        penalties: Array | None,
        revived: Array,
        stopped: Array,
        interrupted: bool,
    ) -> None:
        self._model, self._runner, self._data, self._batches = model, runner, data, batches
        self._learning_rates, self._penalties = learning_rates, penalties
        # Of these members the optimizer's state is not that of their weights.
        self._without_state = stopped
        self.losses, self.val_history, self.epochs = losses, val_history, epochs
        self.history = history[: int(epochs.max(initial=0))] if interrupted else history
        self.seeds, self.interrupted, self.why_one_by_one = runner.seeds, interrupted, runner.reason
        self.revived = revived

    def __len__(self) -> int:
        return len(self.seeds)

    def __getstate__(self) -> dict[str, Any]:
        """What pickle and copy keep: everything, the data too, with arrays in place of what an engine holds."""
        return {**vars(self), "_data": self._data.on_host(), "_runner": self._runner.state()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        steps = int(state["epochs"].max(initial=0)) * state["_batches"]
        runner = PopulationRunner.from_state(state["_model"].net, state["_runner"], steps)
        self.__dict__.update(state, _runner=runner)

    def __repr__(self) -> str:
        best = self.losses[self.best_index]
        widths = " -> ".join(map(str, (self._model.inputs, *self._model.net.widths)))
        success = self.success_rate()
        return (
            f"<Population of {len(self):,} starts of {widths}, {int(self.epochs.max(initial=0))} epochs: "
            f"best loss {best:.4g}, median {np.median(self.losses):.4g}, {success:.0%} within 10 % of the best>"
        )

    # ---- members ---------------------------------------------------------------------------------------------------

    @property
    def best_index(self) -> int:
        """Index of the member with the smallest loss."""
        return int(np.argmin(np.where(np.isfinite(self.losses), self.losses, np.inf)))

    @property
    def best(self) -> M:
        """The member with the smallest loss, as a model."""
        return self[self.best_index]

    @property
    def weights(self) -> list[Array]:
        """All tensors, in the order of `Model.get_weights`, each (starts, ...)."""
        return self._runner.tensors()

    @overload
    def __getitem__(self, index: int) -> M: ...

    @overload
    def __getitem__(self, index: slice) -> list[M]: ...

    def __getitem__(self, index: int | slice) -> M | list[M]:
        """Member `index` as a compiled model, which can be trained further; a slice gives a list."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        i = operator.index(index)
        if not -len(self) <= i < len(self):
            raise IndexError(f"Population: index {i} is out of range for {len(self)} starts")
        return next(self._members([i % len(self)]))

    def __iter__(self) -> Iterator[M]:
        return self._members(range(len(self)))

    def _members(self, indices: Iterable[int]) -> Iterator[M]:
        nets = self._runner.nets
        tensors, slots, numbers = self._runner.tensors(), nets.get_slots(), nets.get_numbers()
        return (self._member(i, tensors, slots, numbers) for i in indices)

    def _member(self, i: int, tensors: list[Array], slots: list[list[Array]], numbers: Array) -> M:
        config = {**self._model.get_config(), "seed": int(self.seeds[i])}
        if self._penalties is not None:
            config["layers"] = [_scaled_penalties(layer, float(self._penalties[i])) for layer in config["layers"]]
        member = type(self._model).from_config(config)
        optimizer = copy.deepcopy(self._model.optimizer)
        if self._learning_rates is not None:
            optimizer.learning_rate = float(self._learning_rates[i])
        member.compile(
            optimizer,
            copy.deepcopy(self._model.loss),
            metrics=copy.deepcopy(self._model.metrics),
            loss_weights=self._model.loss_weights,
        )
        member.set_weights([tensor[i] for tensor in tensors])
        if not self._without_state[i]:
            member.runner.set_slots(
                [[array[i] for array in slot] for slot in slots], int(self.epochs[i]) * self._batches, numbers[i]
            )
            member.runner.epochs_trained = int(self.epochs[i])
        return member

    # ---- predictions and results -------------------------------------------------------------------------------------

    def predict(self, x: Any, *, n_threads: int | None = None) -> Array:
        """Outputs of every member.

        Parameters
        ----------
        x : array of shape (rows, inputs)
        n_threads : int, optional

        Returns
        -------
        ndarray of shape (starts, rows, outputs)
            A CuPy array if x is on a GPU.
        """
        threads = check_threads("predict", n_threads)
        rows = check_x("predict", x, self._model._shape)
        size = len(self) * len(rows) * self._model.outputs * self._runner.value_dtype.itemsize
        if isinstance(rows, np.ndarray):
            check_memory("predict", size, f"the outputs of {len(self):,} nets for {len(rows):,} rows", "use fewer rows")
        return self._runner.predict(rows, threads)

    def evaluate(self, x: Any, y: Any, *, sample_weight: Any = None, n_threads: int | None = None) -> Array:
        """Loss of every member on other data, penalties included: (starts,).

        Parameters
        ----------
        x, y, sample_weight, n_threads
            As in `Model.evaluate`.
        """
        threads = check_threads("evaluate", n_threads)
        data = prepare("evaluate", x, y, sample_weight, self._model._shape, self._model.loss)
        return self._runner.losses(data, None, threads)

    def ensemble(
        self,
        x_val: Any,
        y_val: Any,
        *,
        size: int = 32,
        metric: Any = None,
        sample_weight: Any = None,
        n_threads: int | None = None,
    ) -> Ensemble[M]:
        """Choose members, and how much each counts, by validation data: greedy selection with replacement.

        `Ensemble.select` says how; the outputs of all members are computed at once here.

        Parameters
        ----------
        x_val, y_val, sample_weight
            Data that the members were not trained on, as for `Model.evaluate`.
        size : int
            Number of steps, in each of which a member is chosen, perhaps once more.
        metric : str, Metric or Loss, optional
            What is optimised, in the direction that is better; by default the loss.
        n_threads : int, optional
            As in `Model.predict`; the choice is the same at any number.

        Returns
        -------
        Ensemble
            Of the members that were chosen, as models.

        Raises
        ------
        ValueError, TypeError
            If the data or an argument is wrong, or no member has a finite value.

        Examples
        --------
        >>> import numpy as np
        >>> import fastdense as fd
        >>> x = np.random.default_rng(0).normal(size=(96, 2)).astype("float32")
        >>> y = x[:, :1] * x[:, 1:]
        >>> model = fd.Model([fd.Dense(4, "tanh"), fd.Dense(1)], inputs=2, device="reference")
        >>> model.compile("adam", "mse")
        >>> population = fd.fit_many(model, x[:64], y[:64], starts=4, epochs=2, verbose=0)
        >>> ensemble = population.ensemble(x[64:], y[64:], size=8)
        >>> bool(ensemble.evaluate(x[64:], y[64:]) <= population.evaluate(x[64:], y[64:]).min() + 1e-6)
        True
        """
        where, loss, outputs = "ensemble", self._model.loss, self._model.outputs
        threads, size = check_threads(where, n_threads), integer(f"{where}: size", size, least=1)
        measure = Measure.of(where, metric, loss, outputs)
        names = ("x_val", "y_val", "sample_weight")
        data = prepare(where, x_val, y_val, sample_weight, self._model._shape, loss, names=names)
        check_candidates(where, len(self), data, outputs)
        made = predictions(loss.lower(), to_host(self._runner.predict(data.x, threads)))
        chosen, weights = select(where, measure, made, data, size)
        return Ensemble(self._members(chosen), weights)

    def success_rate(self, rtol: float = 0.1, *, reference: float | None = None) -> float:
        """Fraction of the members whose loss is at most ``(1 + rtol)`` times the best.

        Parameters
        ----------
        rtol : float
        reference : float, optional
            Loss to compare with instead of the best of this population.
        """
        given = None if reference is None else number("success_rate: reference", reference)
        best = float(self.losses[self.best_index]) if given is None else given
        limit = best + number("success_rate: rtol", rtol, least=0) * abs(best)
        return float(np.mean(self.losses <= limit))

    def outcomes(self, *, rtol: float = 0.1, reference: float | None = None) -> Outcomes:
        """Outcome of each member: converged, diverged, still moving, or which fault its net has.

        Parameters
        ----------
        rtol : float
            A member within this relative distance of the best loss has converged.
        reference : float, optional
            The best loss, if known, instead of the best of this population.

        Returns
        -------
        Outcomes
        """
        rtol = number("outcomes: rtol", rtol, least=0)
        reference = None if reference is None else number("outcomes: reference", reference)
        return classify(
            self._runner, self._data, self._model.loss, self.losses, self.history, rtol, reference, self.__getitem__
        )

    def plot(self, *, reference: float | None = None) -> Figure:
        """Draw the distribution of the losses and the functions that were learned; see `Outcomes.plot`."""
        return self.outcomes(reference=reference).plot()


class PopulationInterrupt(KeyboardInterrupt):
    """Ctrl-C during `fit_many`. Nothing that was trained is lost:

    >>> try:
    ...     population = fd.fit_many(model, x, y, epochs=10_000)  # doctest: +SKIP
    ... except fd.PopulationInterrupt as stopped:
    ...     population = stopped.population

    Attributes
    ----------
    population : Population
        The members as trained by then; its `interrupted` is True.
    """

    def __init__(self, message: str, population: Population[Any]) -> None:
        super().__init__(message, population)
        self.population = population

    def __str__(self) -> str:
        return str(self.args[0])


def _scaled_penalties(config: Any, factor: float, inside: bool = False) -> Any:
    """A layer's config with the factors of all its regularizers multiplied by `factor`."""
    if isinstance(config, dict):
        return {key: _scaled_penalties(value, factor, inside or str(key).endswith("_regularizer"))
                for key, value in config.items()}  # fmt: skip
    if isinstance(config, list):
        return [_scaled_penalties(value, factor, inside) for value in config]
    return config * factor if inside and isinstance(config, float) else config
