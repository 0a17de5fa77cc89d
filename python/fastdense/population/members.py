"""The members of a population, checked, and how all or some of them are trained in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arrays import Array, beside
from ..callbacks import Callback, ProgressBar
from ..data.rows import Rows
from ..model.base import BaseModel
from ..runners.population import PopulationRunner
from ..training.options import Options
from ..training.population import PopulationFit, Trained, Validation, make_population
from ..training.search import best_of_tries, tries_of
from ..training.together import Together
from .arguments import Starts
from .callbacks import KeepBest, monitored, population_callbacks
from .parts import MemberGroup, Part, PartResult, own_rates
from .rows import training_rows, validation_rows, weighted

Found = list[tuple[dict[str, Any], PartResult]]  # of parts: the state of the runner, and what training made of it


@dataclass(frozen=True)
class Training:
    """Parts of a population that were trained, and what came of them.

    Attributes
    ----------
    parts : list of Part
    results : list of PartResult
        Of each part.
    interrupted : str
        When Ctrl-C ended the training; empty if it did not.
    """

    parts: list[Part]
    results: list[PartResult]
    interrupted: str = ""

    def found(self) -> Found:
        """What another process needs of it."""
        return [(part.runner.state(), result) for part, result in zip(self.parts, self.results, strict=True)]


@dataclass(frozen=True)
class Members:
    """All that was asked for, checked: from it come the parts of the population, and what trains each."""

    where: str
    options: Options
    starts: Starts
    models: Sequence[BaseModel]
    model_of: Array
    data: Sequence[Rows]  # of each model, as `held`
    held: Sequence[Rows] | None
    own_weights: Array | None
    initial_weights: list[Array] | None
    tries: int
    on_data: bool
    deadline: float
    callbacks: Sequence[Callback]
    snapshots: int

    def some(self, groups: Sequence[MemberGroup], n_threads: int) -> tuple[Members, list[MemberGroup]]:
        """The members of these groups only, numbered anew, and the groups, for so many threads; without the data."""
        which = np.sort(np.concatenate([group.which for group in groups]))
        own, initial, used = self.own_weights, self.initial_weights, np.unique(self.model_of[which])
        members = replace(
            self, options=replace(self.options, n_threads=n_threads), starts=self.starts.of(which),
            models=[self.models[i] for i in used], model_of=np.searchsorted(used, self.model_of[which]),
            data=(), held=None,
            own_weights=None if own is None else own[beside(which, own)],
            initial_weights=None if initial is None else [tensor[which] for tensor in initial],
        )  # fmt: skip
        return members, [replace(group, which=np.searchsorted(which, group.which)) for group in groups]

    def part(self, group: MemberGroup, trained: dict[str, Any] | None = None) -> Part:
        """Members with their initial weights, ready to be trained, or with what `PopulationRunner.state` gave."""
        which, own, alike = group.which, self.own_weights, "loss_weight" not in group.own
        starts, model = self.starts.of(which), self.model_of[which[0]]
        factors = starts.loss_weights
        if factors is None:
            factors = np.full(len(which), self.models[model].loss_weights)
        own = own if own is None or len(own) == len(which) else own[beside(which, own)]
        rows, weights = weighted(self.where, self.data[model], own, factors, alike)
        rows.encoded(group.model.net)  # here, once, and not in several threads
        orders = starts.order_seeds
        order = orders if orders is None or "order_seed" in group.own else int(orders[0])
        options = replace(self.options, batch_size=group.batch_size, order_seed=order)
        validation = None
        if self.held is not None:
            held = weighted(self.where, self.held[model], None, factors, alike)
            held[0].encoded(group.model.net)
            validation = Validation(*held, group.model.metrics, group.lowered_metrics)
        if trained is not None:
            runner = PopulationRunner.from_state(group.model.net, trained, 0)  # the step counts for training only
        else:
            runner = make_population(
                group.model.runner, group.model.optimizer, group.model.loss, rows, options,
                tries_of(starts.seeds, self.tries).ravel(),
                on_data=self.on_data,
                initial_weights=None if self.initial_weights is None else [t[which] for t in self.initial_weights],
                numbers={name: np.repeat(values, self.tries, axis=0) for name, values in group.numbers.items()},
                metrics=() if validation is None else validation.lowered, reason=group.reason,
            )  # fmt: skip
        rates = own_rates(group, self.models, self.model_of, self.starts)
        return Part(group, runner, rows, weights, options, rates, validation)

    def trained(self, groups: Sequence[MemberGroup], together: Together) -> Training:
        """Train what was divided into these groups; if `together` is already interrupted, no epoch."""
        parts = [self.part(group) for group in groups]
        fits = self._fits(parts, self._begun(parts, together))
        among_tries = together.interrupted
        together.train(fits, self.options.epochs)
        reached = [fit.epoch for fit in fits if fit.cut_short]
        when = "in the evaluation after the last epoch"
        if together.interrupted and reached:
            when = f"in epoch {min(reached) + 1} of {self.options.epochs}"
        when += " of the tries" if among_tries else ""
        results = [PartResult.of(fit, losses) for fit, losses in zip(fits, together.losses(fits), strict=True)]
        return Training(parts, results, when if together.interrupted else "")

    def _begun(self, parts: Sequence[Part], together: Together) -> list[Trained]:
        """The members of each part, after the search among several tries."""
        if self.tries == 1:
            return [Trained.not_yet(part.runner) for part in parts]

        def search(number: int, threads: int, look: Callable[[], object]) -> Trained:
            part = parts[number]
            return best_of_tries(
                part.group.model.optimizer, part.runner, part.data, part.weights,
                replace(part.options, n_threads=threads), part.learning_rates, self.tries,
                deadline=self.deadline, look=look,
            )  # fmt: skip

        def without(number: int) -> Trained:
            runner = parts[number].runner
            return Trained.not_yet(runner.chosen(np.arange(0, len(runner), self.tries), 0))

        return together.begin(len(parts), search, without)

    def _fits(self, parts: Sequence[Part], begun: Sequence[Trained]) -> list[PopulationFit]:
        """What trains each part."""
        made = []
        for part, trained in zip(parts, begun, strict=True):
            part.runner, count = trained.runner, len(part.which)
            own = population_callbacks(self.callbacks, count)
            if self.snapshots:
                own.insert(0, KeepBest(self.snapshots, *monitored(self.callbacks, self.held is not None), count))
            made.append(
                PopulationFit(trained, part.group.model.optimizer, part.data, part.weights, part.options,
                              part.learning_rates, own, part.validation, self.deadline)
            )  # fmt: skip
        return made


def train(data: Any, members: Members, groups: Sequence[MemberGroup], seconds: float) -> Found:
    """Train what `Members.some` gave, in any process.

    Parameters
    ----------
    data : tuple
        x, y, sample_weight, validation_data as given to `fit_many`, and the names of the columns.
    members, groups
    seconds : float
        After which no epoch begins.
    """
    x, y, sample_weight, validation_data, names = data
    where, models = members.where, members.models
    members = replace(
        members,
        data=training_rows(where, models, x, y, sample_weight, names),
        held=None if validation_data is None else validation_rows(where, models, validation_data, names),
        deadline=time.monotonic() + seconds,
    )
    training = members.trained(groups, Together(models[0].device, members.options.n_threads, ProgressBar(0)))
    if training.interrupted:
        raise KeyboardInterrupt
    return training.found()
