"""Several processes (the ranks of MPI) that train one net together, each on rows of its own."""

from __future__ import annotations

import hashlib
import math
import os
import platform
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np

from ..arguments import flag, shorten
from ..arrays import Array, fail
from ..calls import RanksCall
from ..engine import native
from ..layers.scaling import Moments
from ..metrics import Metric
from ..network import Net
from ..optimizers import KFAC, LevenbergMarquardt, Optimizer
from ..runners.single import Runner
from ..versions import build_config
from .feasible import check_moments
from .options import Options

__all__ = ["DataParallel", "RankError"]

# What the model of docs/scaling.md assumes where nothing was measured.
FLOPS = 4e10  # of a thread, a second
LATENCY = {True: 2e-5, False: 1e-4}  # seconds of a message between two ranks on one host, and on two
BANDWIDTH = {True: 3e9, False: 1.1e9}  # bytes a second

_FAILED, _INTERRUPTED = -1.0, -2.0  # a rank's entry where it has left the training; else what it sums


class RankError(RuntimeError):
    """Another rank has left the training, or cannot be reached; the model is that of the last finished step."""


class DataParallel:
    """How ``fit(..., comm=...)`` exchanges numbers; a communicator alone stands for ``DataParallel(communicator)``.

    Parameters
    ----------
    comm : object
        With ``Get_rank()``, ``Get_size()`` and ``Allreduce(send, receive)``, which puts the sum over all ranks of the
        NumPy array `send` into `receive`: `MPI.COMM_WORLD` of mpi4py, or an adapter of ten lines (docs/cluster.md).
    force : bool, default False
        Whether to train also where exchanging numbers takes longer than several processes save, which is an error
        otherwise. The prediction is that of docs/scaling.md.
    overlap : bool, optional
        Whether gradients are sent by a thread of their own while a step computes others. By default if MPI allows it
        (MPI_THREAD_MULTIPLE) and the hosts have cores to spare. It must be the same on all ranks.

    Examples
    --------
    >>> import fastdense as fd
    >>> class Alone:  # a communicator of one rank
    ...     def Get_rank(self):
    ...         return 0
    ...
    ...     def Get_size(self):
    ...         return 1
    ...
    ...     def Allreduce(self, send, receive):
    ...         receive[...] = send
    >>> fd.DataParallel(Alone(), force=True).force
    True
    """

    def __init__(self, comm: Any, *, force: bool = False, overlap: bool | None = None) -> None:
        missing = [name for name in ("Get_rank", "Get_size", "Allreduce") if not callable(getattr(comm, name, None))]
        if missing:
            raise TypeError(
                f"DataParallel: comm is of type {type(comm).__name__} and has no {' and no '.join(missing)}. "
                "Give a communicator of mpi4py, such as MPI.COMM_WORLD, or an adapter (docs/cluster.md)."
            )
        self.comm, self.force = comm, flag("DataParallel: force", force)
        self.overlap = None if overlap is None else flag("DataParallel: overlap", overlap)


class Ranks:
    """The ranks of one `fit`, from its first check to its end.

    Every exchange begins with one number of each rank, which says that it takes part, and in what; a rank that fails
    says so instead, and the others leave the training with a `RankError`.
    """

    def __init__(self, where: str, comm: Any) -> None:
        self.settings = comm if isinstance(comm, DataParallel) else DataParallel(comm)
        self.where, self.comm = where, self.settings.comm
        self.rank, self.size = int(self.comm.Get_rank()), int(self.comm.Get_size())
        self.interrupted = self.left = False
        self.call: RanksCall | None = None
        self._room: dict[Any, tuple[Array, Array]] = {}

    # ---- exchanges -------------------------------------------------------------------------------------------------

    @contextmanager
    def together(self) -> Iterator[None]:
        """Tell the others if this rank fails inside. Ctrl-C counts at the next exchange, which it must not tear."""
        mine = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGINT, self._interrupt) if mine else None
        try:
            yield
            if self.interrupted:
                raise KeyboardInterrupt
        except BaseException as error:
            if not self.left:
                with suppress(RankError):  # the others may be gone: what this rank raises matters more
                    self._states(_INTERRUPTED if isinstance(error, KeyboardInterrupt) else _FAILED, 0.0)
            raise
        finally:
            if mine:
                signal.signal(signal.SIGINT, before)

    def _interrupt(self, *_: object) -> None:
        self.interrupted = True

    def _states(self, mine: float, loss: float) -> Array:
        """What each rank is about, and the sum of `loss`."""
        states, made = np.zeros(self.size + 1), np.empty(self.size + 1)
        states[self.rank], states[-1] = mine, loss
        self._exchange(states, made)
        return made

    def _exchange(self, send: Array, receive: Array) -> None:
        try:
            self.comm.Allreduce(send, receive)
        except Exception as error:
            raise self._leaving(f"the ranks cannot be reached ({shorten(error)})") from error

    def _leaving(self, why: str) -> RankError:
        self.left = True
        return RankError(f"{self.where}: {why}")

    def _begin(self, what: int, loss: float = 0.0) -> float:
        """Before an exchange of so many numbers: all ranks take part in it. Return the sum of `loss`."""
        interrupted = self.interrupted  # a signal may come at any moment
        states = self._states(_INTERRUPTED if interrupted else what + 1.0, loss)
        if interrupted:
            self.left = True
            raise KeyboardInterrupt
        left = [rank for rank in range(self.size) if states[rank] < 0]
        if left:
            how = "was interrupted" if states[left[0]] == _INTERRUPTED else "has failed: its own message says why"
            raise self._leaving(f"rank {left[0]} of {self.size} {how}; the model is that of the last finished step")
        other = next((rank for rank in range(self.size) if states[rank] != states[0]), None)
        if other is not None:
            raise self._leaving(
                f"rank {other} exchanges {states[other] - 1:.0f} numbers and rank 0 {states[0] - 1:.0f}; all ranks "
                "must call fit alike: same model, same arguments, callbacks that change the training alike"
            )
        return float(states[-1])

    def sum(self, numbers: Array, factor: float = 1.0, loss: float = 0.0) -> float:
        """Put the sum over all ranks of ``factor * numbers`` in their place; return that of ``factor * loss``."""
        total = self._begin(numbers.size, factor * loss)
        if numbers.size:
            key = numbers.dtype.char, numbers.size
            if key not in self._room:
                self._room[key] = np.empty(numbers.size, numbers.dtype), np.empty(numbers.size, numbers.dtype)
            send, receive = self._room[key]
            np.multiply(numbers.ravel(), numbers.dtype.type(factor), out=send)
            self._exchange(send, receive)
            numbers[...] = receive.reshape(numbers.shape)
        return total

    def gather(self, numbers: Sequence[float] | Array) -> Array:
        """The numbers of each rank, float64 of shape (ranks, numbers)."""
        table = np.zeros((self.size, len(numbers)))
        table[self.rank] = numbers
        self.sum(table)
        return table

    def any(self, mine: bool) -> bool:
        """Whether some rank says so."""
        return bool(self.gather([float(mine)]).any())

    def check_alike(self, given: Mapping[str, object], remedy: str) -> None:
        """Raise, on all ranks, for the first of these in which one differs from rank 0."""
        table = self.gather([_hash(value) for value in given.values()])
        for column, name in enumerate(given):
            other = np.flatnonzero(table[:, column] != table[0, column])
            if len(other):
                self.left = True  # all of them
                raise ValueError(f"{self.where}: rank {other[0]} has {name} other than rank 0's; {remedy}")

    # ---- before the training ---------------------------------------------------------------------------------------

    def check_possible(
        self, net: Net, device: str, optimizer: Optimizer, metrics: Sequence[Metric], others: Mapping[str, bool]
    ) -> None:
        """Raise for what several ranks cannot do together. `others`: what else was given, and whether."""
        collected = [metric.name for metric in metrics if metric.collected]
        norm = any(op["kind"] == "batch_norm" for op in net.program["ops"]) and not optimizer.full_batch
        refused = {
            f"device is {device!r}": (device != "cpu", 'device="cpu" is needed', "move the model"),
            f"the metric {', '.join(collected)} sees batches": (
                bool(collected), "metrics that are sums over rows are needed", "evaluate it afterwards"),
            f"optimizer is {type(optimizer).__name__}": (
                isinstance(optimizer, KFAC), "it takes more from each batch than gradients", "use another one"),
            "the net has a BatchNorm": (
                norm, "it would need the statistics of the batches of all ranks", "use LayerNorm"),
            **{name: (given, "it needs the rows of all ranks in one place", "leave it out")
               for name, given in others.items()},
        }  # fmt: skip
        for given, (bad, needed, remedy) in refused.items():
            if bad:
                fail(self.where, f"comm was given, and {given}", needed, remedy)

    def begin(
        self, net: Net, optimizer: Optimizer, judged_by: object, options: Options, rows: int, validated: bool
    ) -> Options:
        """Agree on rows and steps; return the options with this rank's number of threads.

        `judged_by`: loss and metrics.

        Raises
        ------
        ValueError
            If the ranks differ in what must be alike, or several of them cannot pay.
        """
        full_batch = optimizer.full_batch
        self.check_alike(
            {
                "a version or an instruction set": [build_config()[key] for key in ("version", "isa")],
                "layers, or a seed,": _plain(net.program),
                "a loss, an optimizer or metrics": [judged_by, optimizer],
                "epochs": [options.epochs, options.initial_epoch],
                "a batch_size": 0 if full_batch else options.batch_size,
                "shuffle": options.shuffle,
                "validation data where that has none, or none": validated,
                "overlap": self.settings.overlap,
            },
            "all must be alike: call fit with the same model and arguments on all ranks (FASTDENSE_ISA sets the "
            "instruction set)",
        )
        cores, given = native.available_threads(), options.n_threads
        host = _hash(platform.node())
        size = rows if full_batch else min(options.batch_size, rows)
        table = self.gather([rows, size, math.ceil(rows / size), host, cores, given, os.cpu_count() or 1,
                             float(self._may_overlap())])  # fmt: skip
        every, sizes, steps = (table[:, k].astype(int) for k in range(3))
        self.left = True  # what is wrong below is so on all ranks
        if not full_batch and len(set(steps)) > 1:
            counts = ", ".join(f"{n} rows, {k} steps" for n, k in zip(every, steps, strict=True))
            fail(self.where, f"the ranks have {counts}", "an epoch must have the same number of steps everywhere",
                 "give each rank about the same number of rows")  # fmt: skip
        threads = [_threads(table, rank) for rank in range(self.size)]
        last = every - (steps - 1) * sizes
        spare = all(
            row[6] > sum(n for n, other in zip(threads, table, strict=True) if other[3] == row[3]) for row in table
        )
        self.call = RanksCall(
            rows=int(every.sum()), batch_rows=int(sizes.sum()), last_batch_rows=int(last.sum()),
            first_row=int(sizes[: self.rank].sum()), last_first_row=int(last[: self.rank].sum()),
            overlaps=bool(table[:, 7].all() and (spare or self.settings.overlap is not None)), sum=self.sum,
        )  # fmt: skip
        parameters = sum(math.prod(spec.shape) for spec in net.tensors if spec.trainable)
        if not self.settings.force and self.size > 1:
            numbers, flops = parameters, 6.0 * parameters  # forward, backward and gradients: multiply and add
            if isinstance(optimizer, LevenbergMarquardt):
                numbers, flops = (parameters + 1) ** 2, 2.0 * net.outputs * parameters**2
            size = numbers * (8 if full_batch or net.dtype == "float64" else 4)
            gain = speedup(sizes.tolist(), threads, flops, size, len(set(table[:, 3])) == 1)
            if gain <= 1:
                fail(self.where,
                     f"{self.size} ranks of {sizes.min()} rows a step would take {1 / gain:.1f} times as long as one "
                     "with all rows, by the model of docs/scaling.md",
                     "the net is too small, or the batch, for what its gradients cost to exchange",
                     "use larger batches or one process, or comm=DataParallel(comm, force=True)")  # fmt: skip
        self.left = False
        return replace(options, n_threads=threads[self.rank])

    def _may_overlap(self) -> bool:
        if self.settings.overlap is not None:
            return self.settings.overlap
        if not type(self.comm).__module__.startswith("mpi4py"):
            return False
        mpi = import_module("mpi4py.MPI")
        return bool(mpi.Query_thread() == mpi.THREAD_MULTIPLE)

    def adapt(self, runner: Runner, x: Array) -> None:
        """Give a `Normalization` that has no statistics yet those of the rows of all ranks."""
        unknown = runner.not_adapted()
        if not unknown:
            return
        check_moments(self.where, unknown, "each rank has rows of its own", "rows of all ranks are",
                      "call the layer's adapt before, with the same rows on all ranks")  # fmt: skip
        runner.adapt_by_parts([x], self._moments)

    def _moments(self, own: Moments) -> Moments:
        columns = len(own.mean)
        merged = Moments(own.where)
        for row in self.gather([own.rows, *own.origin, *own.mean, *own.squares]):
            merged.merge(int(row[0]), *(row[1 + k * columns : 1 + (k + 1) * columns] for k in range(3)))
        return merged

    def counts(self, own: Array) -> Array:
        """Counts of this rank's rows, summed."""
        made = own.astype(np.float64)
        self.sum(made)
        return made.astype(own.dtype)

    def check_state(self, runner: Runner, epoch: int, stops: bool) -> None:
        """Raise unless the model is the same on all ranks, bit for bit."""
        numbers = [runner.numbers(), *(array for slot in runner.slots() for array in slot)]
        self.check_alike(
            {
                "weights": b"".join(np.ascontiguousarray(tensor).tobytes() for tensor in runner.tensors()),
                "an optimizer's state": b"".join(np.ascontiguousarray(array).tobytes() for array in numbers),
                "steps made or a first epoch": [runner.step, epoch],
                "TerminateOnNaN where that has none, or none": stops,
            },
            "all must be the same, bit for bit: make the model with the same seed on all ranks, or load the same file",
        )


def exchange_seconds(ranks: int, size: float, latency: float, bandwidth: float) -> float:
    """Seconds that a sum over all ranks takes: a ring's bytes, and a round trip for each doubling of the ranks.

    Parameters
    ----------
    ranks : int
    size : float
        Bytes that are summed.
    latency, bandwidth : float
        Seconds of a message between two ranks, and bytes a second.
    """
    return 2 * math.ceil(math.log2(max(ranks, 1))) * latency + 2 * (ranks - 1) / ranks * size / bandwidth


def speedup(rows: Sequence[int], threads: Sequence[int], flops: float, size: float, one_host: bool) -> float:
    """How many times as fast several ranks make a step as one of them with all rows: the model of docs/scaling.md.

    Parameters
    ----------
    rows, threads : sequence of int
        Of a step (or an iteration), of each rank.
    flops : float
        For each row.
    size : float
        Bytes that are summed in a step.
    one_host : bool
        Whether all ranks are on one.
    """
    each = max(flops * n / (FLOPS * t) for n, t in zip(rows, threads, strict=True))
    exchange = exchange_seconds(len(rows), size, LATENCY[one_host], BANDWIDTH[one_host])
    return flops * sum(rows) / (FLOPS * max(threads)) / (each + exchange)


def _threads(table: Array, rank: int) -> int:
    """Of a rank: as many as it was given, or its share of the host's cores, unless it is bound to its own already."""
    cores, given, on_host = int(table[rank, 4]), int(table[rank, 5]), table[:, 3] == table[rank, 3]
    if given:
        return given
    shared = table[on_host, 4].sum() > table[rank, 6]
    return max(1, cores // int(on_host.sum())) if shared else cores


def _plain(value: object) -> object:
    """A description as names and numbers; of functions only that they are there."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in sorted(value.items())}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return "function" if callable(value) else value


def _hash(value: object) -> float:
    """48 bits of a value's hash, which float64 holds exactly."""
    data = value if isinstance(value, bytes) else repr(value).encode()
    return float(int.from_bytes(hashlib.blake2b(data, digest_size=6).digest(), "big"))
