"""Work spread over the workers of any executor: processes, machines of a cluster, ranks of MPI.

An executor is anything with ``submit(function, *arguments)`` whose result has ``result()``. It moves the arguments and
the results, and says which worker does what; here the work is only divided, collected, and submitted once more.
"""

from __future__ import annotations

import math
import pickle
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any
from uuid import uuid4

import numpy as np

from ..arguments import integer, shorten
from ..arrays import Array, fail
from ..callbacks import ProgressBar
from ..data.mapped import by_name
from ..engine.native import available_threads
from ..runners.population import PopulationRunner
from ..training.together import Together
from .members import Members, Training, train
from .parts import TOGETHER, MemberGroup, PartResult
from .population import WorkerLost

GROUPS = 8  # for an executor that does not say how many workers it has
POOLS = ("concurrent.futures.process", "concurrent.futures.thread", "loky", "joblib.externals.loky")  # of this machine


@dataclass
class Workers:
    """An executor, and what has become of the work.

    Attributes
    ----------
    where : str
        What was called, for messages.
    executor : object
    groups : int
        Into how many groups work is divided.
    threads : int
        Of each group; 0 leaves it to the worker.
    interrupted : str
        When Ctrl-C ended the work; empty if it did not.
    lost : dict of int to Exception
        Jobs that were lost with their workers twice, and how.
    """

    where: str
    executor: Any
    groups: int
    threads: int
    interrupted: str = ""
    lost: dict[int, Exception] = field(default_factory=dict)

    @classmethod
    def of(cls, where: str, given: Any, n_threads: int) -> Workers:
        """Check an argument `executor`: an executor, or a tuple of it and the number of groups."""
        executor, groups = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
        if not callable(getattr(executor, "submit", None)):
            given = f"executor is of type {type(executor).__name__}, without a method submit"
            raise TypeError(f"{where}: {given}. Give one such as concurrent.futures.ProcessPoolExecutor(4).")
        client: Any = getattr(executor, "_client", executor)  # of Dask's client.get_executor()
        of_each = list(client.nthreads().values()) if hasattr(client, "nthreads") else []
        workers, threads = len(of_each) or getattr(executor, "_max_workers", 0), min(of_each, default=0)
        groups = workers or GROUPS if groups is None else integer(f"{where}: executor[1]", groups, least=1)
        if any(kind.__module__.startswith(POOLS) for kind in type(executor).__mro__):
            threads = max(1, available_threads() // (workers or groups))
        return cls(where, executor, groups, n_threads or threads)

    def check_sent(self, named: dict[str, Any]) -> None:
        """Raise for the first of these that this executor cannot send to another process."""
        kind, dumps = type(self.executor).__module__, pickle.dumps
        if not kind.startswith(("concurrent.futures", "mpi4py")) and find_spec("cloudpickle"):
            dumps = import_module("cloudpickle").dumps
        for name, value in named.items() if not kind.startswith("concurrent.futures.thread") else ():
            try:
                dumps(value)
            except Exception as error:
                fail(self.where, f"{name} cannot be pickled ({type(error).__name__}: {error})",
                     "the executor sends it to other processes",
                     "define its functions and classes in a module, not as lambda or inside of functions")  # fmt: skip

    def run(
        self, task: Any, data: Any, jobs: Sequence[Any], bar: ProgressBar, losses_of: Callable[[Any], list[Array]]
    ) -> list[Any]:
        """``task(data, *job)`` for all jobs: what each returns, None for those that were not done.

        Parameters
        ----------
        task : callable
            Of a module, so that it can be sent.
        data : tuple
            What all jobs need; memory-mapped arrays are sent by the names of their files.
        jobs : list of tuple
        bar : ProgressBar
        losses_of : callable
            Losses of the members in a result, which the bar shows.
        """
        bar.set_params({"epochs": len(jobs), "verbose": bar.verbose, "initial_epoch": 0, "unit": "group"})
        bar.on_train_begin()
        data, found, known = by_name(data), list[Any]([None] * len(jobs)), list[float]()
        waiting, futures, failed = list(range(len(jobs))), dict[int, Any](), set[int]()
        try:
            # Dask's way to send data to each worker once; these may be lost with workers, so what failed gets its own
            once = self.executor.scatter(data, broadcast=True) if hasattr(self.executor, "scatter") else data
            while waiting or futures:
                i = waiting.pop(0) if waiting else _ended(futures)
                try:
                    if i not in futures:  # Dask keeps results by arguments, so that no two calls may have the same
                        given = data if i in failed else once
                        futures[i] = self.executor.submit(_work, task, given, jobs[i], uuid4().hex)
                        continue
                    found[i] = futures.pop(i).result()
                except Exception as error:  # the executor's: what the task raises comes as a value
                    if i in failed:
                        self.lost[i] = error
                    else:
                        failed.add(i)
                        waiting.append(i)
                        self._renew(error)
                    continue
                if isinstance(found[i], Exception):
                    raise found[i]
                known += [loss if math.isfinite(loss) else math.inf for loss in np.concatenate(losses_of(found[i]))]
                done = len(jobs) - found.count(None)
                bar.on_epochs_end(done - 1, {"best": [float(min(known))], "median": [float(np.median(known))]})
        except KeyboardInterrupt:
            self.interrupted = f"when {len(jobs) - found.count(None)} of {len(jobs)} groups were done"
        finally:
            bar.close()
            for future in futures.values():
                getattr(future, "cancel", bool)()
        return found

    def _renew(self, error: Exception) -> None:
        """Go on with another executor in place of a broken one, where that is how it is used."""
        if isinstance(error, BrokenExecutor) and type(self.executor).__name__ == "_ReusablePoolExecutor":
            loky = import_module(type(self.executor).__module__.rpartition(".")[0])
            self.executor = loky.get_reusable_executor(max_workers=self.executor._max_workers)

    def error(self, lost: str, kept: str) -> WorkerLost:
        """The error for work that was `lost`, in words; `kept`: where the rest is."""
        error = next(iter(self.lost.values()))
        text = f"{self.where}: {lost} were lost with their workers, and again when they were submitted once more"
        text += f" ({type(error).__name__}: {error}); what was done is {kept}"
        if isinstance(error, BrokenExecutor):
            text += "; once a worker has died, a pool of concurrent.futures takes no more work, as loky and Dask do"
        made = WorkerLost(text)
        made.__cause__ = error
        return made


def _work(task: Any, data: Any, job: Any, unique: str) -> Any:
    """What is submitted: what the task returns, or what it raises."""
    try:
        return task(data, *job)
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # an error that cannot be sent
            error = RuntimeError(f"{type(error).__name__}: {error}")
        vars(error).setdefault("__notes__", []).append(f"in a worker:\n{traceback.format_exc()}")  # of add_note
        return error


def _ended(futures: dict[int, Any]) -> int:
    """Number of a future that is done; of the first one if they do not tell."""
    while True:
        for i, future in futures.items():
            if not hasattr(future, "done") or future.done():
                return i
        time.sleep(0.02)


def dealt(costs: Sequence[float], groups: int) -> list[list[int]]:
    """Numbers of pieces of work for each group, of about equal cost: the largest first, one after the other."""
    order = sorted(range(len(costs)), key=lambda piece: -costs[piece])
    return [order[group::groups] for group in range(min(groups, len(costs)))]


# ---- populations -----------------------------------------------------------------------------------------------------


def spread(
    workers: Workers, plan: Members, division: Sequence[MemberGroup], data: Any, bar: ProgressBar
) -> tuple[Training, WorkerLost | None]:
    """Train members in groups: all parts, also those of members that no worker trained, and the error for these.

    Parameters
    ----------
    workers : Workers
    plan : Members
    division : sequence of MemberGroup
        The parts of the population, as one process would train them.
    data : tuple
        x, y, sample_weight, validation_data as given to `fit_many`, and the names of the columns.
    bar : ProgressBar
    """
    full = -(-TOGETHER // plan.tries)  # members that fill the lanes of a vector
    cut = [part.parts(full * -(-len(part.which) // (full * workers.groups))) for part in division]
    pieces = [piece for part in cut for piece in part]
    costs = [len(piece.which) * piece.model.net.count() for piece in pieces]
    given = [[pieces[i] for i in share] for share in dealt(costs, workers.groups)]
    jobs = [(*plan.some(groups, workers.threads), plan.deadline - time.monotonic()) for groups in given]
    found = workers.run(train, data, jobs, bar, lambda each: [result.losses for _, result in each])
    stopped = Together(plan.models[0].device, workers.threads, ProgressBar(0), interrupted=True)
    trained = {}  # by the first member of each piece
    for groups, result in zip(given, found, strict=True):
        result = plan.trained(groups, stopped).found() if result is None else result
        trained.update({group.which[0]: own for group, own in zip(groups, result, strict=True)})
    training = Training([], [], workers.interrupted)
    for part, own in zip(division, cut, strict=True):
        states, results = zip(*(trained[piece.which[0]] for piece in own), strict=True)
        training.parts.append(plan.part(part, PopulationRunner.joined(states)))
        training.results.append(PartResult.joined(results))
    if workers.interrupted or not workers.lost:
        return training, None
    lost = np.concatenate([piece.which for i in workers.lost for piece in given[i]])
    return training, workers.error(f"members {shorten(np.sort(lost).tolist())}", "`population` of this exception")
