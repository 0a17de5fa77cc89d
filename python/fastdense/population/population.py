"""Result of training a population: weights, losses and history of every member."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import numpy as np

from ..arguments import integer, number
from ..arrays import Array, beside, check_memory, empty_beside, fail, to_host
from ..data.checks import check_x
from ..data.prepare import prepare
from ..data.rows import Rows
from ..engine.turns import turns_on
from ..model.base import BaseModel
from ..reference.losses import predictions
from ..runners.population import PopulationRunner
from ..training.options import check_threads
from ..training.population import Validation
from .arguments import Starts
from .callbacks import Snapshot
from .ensemble import Ensemble, check_candidates, check_together, select
from .outcomes import Outcomes, classify
from .parts import Part, PartResult, member_of
from .rows import training_rows, weighted
from .selection import Measure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


class Population(Generic[M]):
    """Result of training a population; `fit_many` returns it, and a `PopulationInterrupt` holds it.

    Attributes
    ----------
    losses : ndarray of shape (starts,)
        Final loss of each member on the data of `fit_many`, penalties included: what `Model.evaluate` returns. After
        Ctrl-C that of the last epoch in `history`, NaN before the first; it is not computed then.
    history : ndarray of shape (epochs, starts)
        Mean training loss of each epoch, as `fit` reports it; NaN where a member was no longer trained.
    val_history : ndarray of shape (epochs, starts), or None
        Loss on the validation data after each epoch.
    val_metrics : dict of ndarray of shape (epochs, starts)
        Metrics on the validation data after each epoch, by name; NaN where a member is not compiled with that metric.
    epochs : ndarray of shape (starts,)
        Epochs that each member was trained.
    seeds : ndarray of uint64, shape (starts,)
    interrupted : bool
        Whether Ctrl-C ended the training.
    why_one_by_one : str
        Why members were trained one per thread; empty if all of them shared vector lanes.
    revived : ndarray of shape (starts,)
        Number of units that `ReviveDeadUnits` reinitialized in each member.
    snapshots : list of list of (int, float, list of ndarray)
        Of each member the best epochs that ``fit_many(snapshots=k)`` kept, the best first: epoch (from 0), value of
        what was monitored, and weights as of `Model.get_weights`.
    """

    def __init__(
        self,
        models: Sequence[M],
        model_of: Array,
        starts: Starts,
        parts: Sequence[Part],
        results: Sequence[PartResult],
        *,
        why_one_by_one: str,
        interrupted: bool,
    ) -> None:
        self._models, self._model_of, self._starts, self._parts = list(models), model_of, starts, list(parts)
        self.why_one_by_one, self.interrupted = why_one_by_one, interrupted
        self.seeds = self._gathered([part.runner.seeds for part in parts])
        self.losses = self._gathered([one.losses for one in results])
        self.epochs = self._gathered([one.epochs for one in results])
        self.revived = self._gathered([one.revived for one in results])
        # Of these members the optimizer's state is not that of their weights.
        self._without_state = self._gathered([one.without_state for one in results])
        self.snapshots: list[list[Snapshot]] = [[] for _ in range(len(self))]
        for part, one in zip(parts, results, strict=True):
            for i, kept in zip(part.which, one.snapshots, strict=True):
                self.snapshots[i] = kept
        ended = int(self.epochs.max(initial=0)) if any(one.cut_short for one in results) or interrupted else None
        self.history = self._gathered([one.history for one in results], axis=1)[:ended]
        names = list(dict.fromkeys(name for one in results for name in one.val_history))
        found = {}
        for name in names:
            missing = [np.full_like(one.history, np.nan) for one in results]
            each = [one.val_history.get(name, none) for one, none in zip(results, missing, strict=True)]
            found[name] = self._gathered(each, axis=1)[:ended]
        self.val_history: Array | None = found.pop("loss", None)
        self.val_metrics: dict[str, Array] = found

    def __len__(self) -> int:
        return self._starts.count

    def __getstate__(self) -> dict[str, Any]:
        """What pickle and copy keep: everything, the data too, with arrays in place of what an engine holds."""
        parts = [
            {**vars(part), "runner": part.runner.state(), "data": part.data.on_host(), "validation": None,
             "weights": None if part.weights is None else to_host(part.weights)}
            for part in self._parts
        ]  # fmt: skip
        return {**vars(self), "_parts": parts}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _parts=[])
        for given in state["_parts"]:
            part = Part(**given)
            steps = int(self.epochs[part.which].max(initial=0)) * part.batches
            part.runner = PopulationRunner.from_state(part.group.model.net, given["runner"], steps)
            self._parts.append(part)

    def __repr__(self) -> str:
        best = self.losses[self.best_index]
        shapes = {" -> ".join(map(str, (model.inputs, *model.net.widths))) for model in self._models}
        of = shapes.pop() if len(shapes) == 1 else f"{len(shapes)} shapes"
        success = self.success_rate()
        return (
            f"<Population of {len(self):,} starts of {of}, {int(self.epochs.max(initial=0))} epochs: "
            f"best loss {best:.4g}, median {np.median(self.losses):.4g}, {success:.0%} within 10 % of the best>"
        )

    def _gathered(self, each: Sequence[Array], axis: int = 0) -> Array:
        """What the parts have for their members, in the order of the members along an axis."""
        if len(each) == 1:
            return each[0]
        joined = np.concatenate(each, axis=axis)
        order = np.argsort(np.concatenate([part.which for part in self._parts]))
        return np.take(joined, order, axis=axis)

    def _each_part(self, task: Callable[[Part, int], T], n_threads: int) -> list[T]:
        """``task(part, threads)`` for all parts, several at a time."""
        found: dict[int, T] = {}

        def turn(number: int, threads: int) -> None:
            found[number] = task(self._parts[number], threads)

        turns_on(self._models[0].device, n_threads).run(len(self._parts), turn, None)
        return [found[number] for number in range(len(self._parts))]

    # ---- members ---------------------------------------------------------------------------------------------------

    @property
    def best_index(self) -> int:
        """Index of the member with the smallest loss; where losses differ in kind, `val_metrics` compare better."""
        return int(np.argmin(np.where(np.isfinite(self.losses), self.losses, np.inf)))

    @property
    def best(self) -> M:
        """The member with the smallest loss, as a model."""
        return self[self.best_index]

    @property
    def weights(self) -> list[Array]:
        """All tensors, in the order of `Model.get_weights`, each (starts, ...).

        Raises
        ------
        ValueError
            If members have tensors of different shapes; ``population[i].get_weights()`` has those of one.
        """
        shapes = {tuple(tensor.shape for tensor in part.group.model.net.tensors) for part in self._parts}
        if len(shapes) > 1:
            fail("weights", f"the members have {len(shapes)} different shapes", "equal ones can be stacked",
                 "use population[i].get_weights()")  # fmt: skip
        return [
            self._gathered(tensors) for tensors in zip(*(part.runner.tensors() for part in self._parts), strict=True)
        ]

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
        i %= len(self)
        part = next(part for part in self._parts if i in part.which)
        return self._member(part, int(np.flatnonzero(part.which == i)[0]), _State.of(part))

    def __iter__(self) -> Iterator[M]:
        place = {int(i): (part, k) for part in self._parts for k, i in enumerate(part.which)}
        states: dict[int, _State] = {}  # of the parts with members left
        for i in range(len(self)):
            part, k = place[i]
            state = states.get(id(part)) or _State.of(part)
            states[id(part)] = state
            if i == part.which.max():
                del states[id(part)]
            yield self._member(part, k, state)

    def _member(self, part: Part, k: int, state: _State) -> M:
        i = int(part.which[k])
        member: Any = member_of(self._models[self._model_of[i]], int(self.seeds[i]), self._starts.one(i))
        member.set_weights([tensor[k] for tensor in state.tensors])
        if not self._without_state[i]:
            slots = [[array[k] for array in slot] for slot in state.slots]
            member.runner.set_slots(slots, int(self.epochs[i]) * part.batches, state.numbers[k])
            member.runner.epochs_trained = int(self.epochs[i])
        made: M = member
        return made

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
        threads, model = check_threads("predict", n_threads), self._models[0]
        rows, dtype = check_x("predict", x, model._shape), self._parts[0].runner.value_dtype
        size = len(self) * len(rows) * model.outputs * dtype.itemsize
        if isinstance(rows, np.ndarray):
            check_memory("predict", size, f"the outputs of {len(self):,} nets for {len(rows):,} rows", "use fewer rows")
        if len(self._parts) == 1:
            return self._parts[0].runner.predict(rows, threads)
        out = empty_beside(rows, (len(self), len(rows), model.outputs), dtype)

        def fill(part: Part, n: int) -> None:
            out[beside(part.which, out)] = part.runner.predict(rows, n)

        self._each_part(fill, threads)
        return out

    def evaluate(self, x: Any, y: Any, *, sample_weight: Any = None, n_threads: int | None = None) -> Array:
        """Loss of every member on other data, penalties included: (starts,).

        Parameters
        ----------
        x, y, sample_weight, n_threads
            As in `Model.evaluate`.
        """
        threads = check_threads("evaluate", n_threads)
        rows = training_rows("evaluate", self._models, x, y, sample_weight)
        return self._evaluated("evaluate", rows, threads)["loss"]

    def _evaluated(self, where: str, rows: Sequence[Rows], n_threads: int, metrics: bool = False) -> dict[str, Array]:
        """Loss, and metrics if asked for, of every member on rows as `training_rows` gives them for each model."""

        def task(part: Part, threads: int) -> dict[str, Array]:
            model, factors = self._model_of[part.which[0]], self._starts.of(part.which).loss_weights
            if factors is None:
                factors = np.full(len(part.which), self._models[model].loss_weights)
            own = part.group.model.metrics if metrics else []
            lowered = part.group.lowered_metrics if metrics else []
            alike = "loss_weight" not in part.group.own
            held = Validation(*weighted(where, rows[model], None, factors, alike), own, lowered)
            return held.of(part.runner, threads)

        found = self._each_part(task, n_threads)
        return {name: self._gathered([one[name] for one in found]) for name in found[0]}

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

        `Ensemble.select` says how. Candidates are the members and their `snapshots`, whose outputs are computed at
        once.

        Parameters
        ----------
        x_val, y_val, sample_weight
            Data that the members were not trained on, as for `Model.evaluate`.
        size : int
            Number of steps, in each of which a member is chosen, perhaps once more.
        metric : str, Metric or Loss, optional
            What is optimised, in the direction that is better; by default the loss of the first model,
            without label smoothing.
        n_threads : int, optional
            As in `Model.predict`; the choice is the same at any number.

        Returns
        -------
        Ensemble
            Of the members and snapshots that were chosen, as models.

        Raises
        ------
        ValueError, TypeError
            If the data or an argument is wrong, members give outputs of different kinds, or none has a finite value.

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
        where, first = "ensemble", self._models[0]
        threads, size = check_threads(where, n_threads), integer(f"{where}: size", size, least=1)
        check_together(where, self._models)
        measure = Measure.of(where, metric, first.loss, first.outputs)
        names = ("x_val", "y_val", "sample_weight")
        data = prepare(where, x_val, y_val, sample_weight, first._shape, first.loss, names=names)
        kept = [(i, rank) for i, own in enumerate(self.snapshots) for rank in range(len(own))]
        check_candidates(where, len(self) + len(kept), data, first.outputs)
        outputs = self._outputs_of_candidates(data.x, kept, threads)
        chosen, weights = select(where, measure, outputs, data, size)
        candidates = [*((i, None) for i in range(len(self))), *kept]
        return Ensemble(self._candidates([candidates[c] for c in chosen]), weights)

    def _outputs_of_candidates(self, x: Array, kept: Sequence[tuple[int, int]], n_threads: int) -> Array:
        """Outputs of all members, and then of these snapshots (member, rank), as an ensemble averages them."""
        place = {snapshot: len(self) + c for c, snapshot in enumerate(kept)}
        out = np.empty((len(self) + len(kept), len(x), self._models[0].outputs))

        def fill(part: Part, threads: int) -> None:
            loss, runner = part.group.model.loss.lower(), part.runner
            out[part.which] = predictions(loss, to_host(runner.predict(x, threads)))
            tensors, last = runner.tensors(), len(runner.net.layers) - 1
            for rank in range(max(len(self.snapshots[i]) for i in part.which)):
                having = [k for k, i in enumerate(part.which) if len(self.snapshots[i]) > rank]
                for k in having:
                    for tensor, own in zip(tensors, self.snapshots[part.which[k]][rank][2], strict=True):
                        tensor[k] = own
                made = to_host(runner.layer_outputs(x, last, tensors, threads))
                out[[place[part.which[k], rank] for k in having]] = predictions(loss, made[having])

        self._each_part(fill, n_threads)
        return out

    def _candidates(self, chosen: Sequence[tuple[int, int | None]]) -> Iterator[M]:
        """Members as models, and where a rank is given their snapshots of that rank."""
        place = {int(i): (part, k) for part in self._parts for k, i in enumerate(part.which)}
        states: dict[int, _State] = {}
        for i, rank in chosen:
            part, k = place[i]
            if rank is None:
                states[id(part)] = states.get(id(part)) or _State.of(part)
                yield self._member(part, k, states[id(part)])
            else:
                member: Any = member_of(self._models[self._model_of[i]], int(self.seeds[i]), self._starts.one(i))
                member.set_weights(self.snapshots[i][rank][2])
                yield member

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
            [(part.which, part.runner) for part in self._parts], self._parts[0].data, self._models[0].loss,
            self.losses, self.history, rtol, reference, self.__getitem__,
        )  # fmt: skip

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


class WorkerLost(RuntimeError):
    """Workers of an executor ended before they were done, and so did those that took over. What was done is kept:

    >>> try:
    ...     population = fd.fit_many(model, x, y, executor=client)  # doctest: +SKIP
    ... except fd.WorkerLost as lost:
    ...     population = lost.population

    Attributes
    ----------
    population : Population or None
        Of `fit_many`: members that were not trained have their initial weights, 0 `epochs` and NaN in `losses`.
    cross_validation : CrossValidation or None
        Of `cross_validate`: NaN where a score is missing.
    """

    population: Population[Any] | None = None
    cross_validation: Any = None


@dataclass(frozen=True)
class _State:
    """Copies of what the engine of a part holds: tensors and the optimizer's state, with the members in front."""

    tensors: list[Array]
    slots: list[list[Array]]
    numbers: Array

    @classmethod
    def of(cls, part: Part) -> _State:
        nets = part.runner.nets
        return cls(part.runner.tensors(), nets.get_slots(), nets.get_numbers())
