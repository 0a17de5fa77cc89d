"""Several ranks in one process: a communicator whose ranks are threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from fastdense.arrays import Array

PATIENCE = 60.0  # seconds that a rank waits for the others: one that never comes is a failure, not a hang


class ThreadComm:
    """As fastdense needs it of mpi4py; sums are taken in the order of the ranks."""

    def __init__(self, rank: int, parts: list[Any], barrier: threading.Barrier) -> None:
        self._rank, self._parts, self._barrier = rank, parts, barrier

    def Get_rank(self) -> int:
        return self._rank

    def Get_size(self) -> int:
        return len(self._parts)

    def Allreduce(self, send: Array, receive: Array) -> None:
        self._parts[self._rank] = send
        self._barrier.wait(PATIENCE)
        total = np.sum(self._parts, axis=0)
        self._barrier.wait(PATIENCE)
        receive[...] = total


def on_ranks(size: int, body: Callable[[Any], Any]) -> list[Any]:
    """What ``body(comm)`` returns on each rank, or the exception that it raised."""
    parts: list[Any] = [None] * size
    barrier = threading.Barrier(size)
    outcomes: list[Any] = [None] * size

    def run(rank: int) -> None:
        try:
            outcomes[rank] = body(ThreadComm(rank, parts, barrier))
        except BaseException as error:
            outcomes[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def interleaved(sizes: list[int], batch: int) -> Array:
    """The order in which one process takes the rows of shards, one after another in memory, that ranks take in steps.

    Step k of all ranks holds the rows of the first rank's step k, then those of the second, and so on.
    """
    begins = np.cumsum([0, *sizes[:-1]])
    steps = max(-(-n // batch) for n in sizes)
    return np.concatenate([
        np.arange(begin + k * batch, begin + min((k + 1) * batch, n))
        for k in range(steps)
        for begin, n in zip(begins, sizes, strict=True)
    ])  # fmt: skip
