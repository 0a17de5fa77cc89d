"""A population as one engine per net, several of them at a time in threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..arrays import Array
from ..calls import Fraction, PopulationCall, TrainCall
from .factory import make_engine
from .native import available_threads
from .protocol import Engine

PENALISED = ("kernel_", "bias_", "activity_")  # how the names of an op's penalties begin


class SerialPopulation:
    """One engine per net, several at a time in threads: for nets too large to share lanes, and for the reference.

    Parameters
    ----------
    device : {"cpu", "reference"}
    program : dict
    seeds : ndarray of uint64, shape (starts,)
    penalties : ndarray of shape (starts,), optional
        Factor of every penalty of each net.
    """

    def __init__(self, device: str, program: dict[str, Any], seeds: Array, penalties: Array | None) -> None:
        factors = np.ones(len(seeds)) if penalties is None else penalties
        self._engines: list[Engine] = [
            make_engine(device, {**program, "seed": int(seed), "ops": [_scaled(op, factor) for op in program["ops"]]})
            for seed, factor in zip(seeds, factors, strict=True)
        ]
        # input mean and variance are the same for all nets, and passed once
        self._shared = 2 if program["ops"][0]["kind"] == "normalization" else 0
        self._parallel = device == "cpu"  # the reference holds Python's lock
        self._kept: list[list[Array]] = [[] for _ in self._engines]
        self._stop = threading.Event()

    def configure(self, training: dict[str, Any]) -> None:
        for engine in self._engines:
            engine.configure(training)

    def get_tensors(self) -> list[Array]:
        return [np.stack(tensors) for tensors in zip(*(e.get_tensors() for e in self._engines), strict=True)]

    def set_tensors(self, tensors: list[Array]) -> None:
        for i, engine in enumerate(self._engines):
            shared = [len(t) != len(self._engines) or t.ndim < 2 for t in tensors]
            engine.set_tensors(
                [t if one else np.ascontiguousarray(t[i]) for t, one in zip(tensors, shared, strict=True)]
            )

    def get_slots(self) -> list[list[Array]]:
        states = [engine.get_state()["slots"] for engine in self._engines]
        return [[np.stack(t) for t in zip(*slot, strict=True)] for slot in zip(*states, strict=True)]

    def get_numbers(self) -> Array:
        return np.stack([engine.get_state()["numbers"] for engine in self._engines])

    def set_slots(self, slots: list[list[Array]], step: int, numbers: Array) -> None:
        for i, engine in enumerate(self._engines):
            own = [[np.ascontiguousarray(array[i]) for array in slot] for slot in slots]
            engine.set_state({"step": step, "slots": own, "numbers": numbers[i]})

    def train(self, call: PopulationCall) -> dict[str, Any]:
        done = np.zeros(len(self._engines), dtype=np.int64)
        ended = np.zeros(len(self._engines), dtype=bool)
        if call.order_seed is not None:
            raise ValueError(
                "fit_many: shuffle='same' was asked for, and these nets are trained one at a time "
                "(they are too large to share lanes or a GPU, or the device is the reference); use shuffle=True"
            )

        def one(i: int) -> bool:
            def check(steps: int, loss: float, rows: float) -> None:
                if self._stop.is_set():
                    raise KeyboardInterrupt

            w, rates = call.w, call.step_rates
            own = TrainCall(
                call.x, call.y, w if w is None or w.ndim == 1 else w[i],
                rates if call.member_scale is None else rates * call.member_scale[i],
                call.batch_size, call.shuffle, call.epoch, progress=check, n_threads=1,
            )  # fmt: skip
            result = self._engines[i].train(own)
            totals = result["totals"]
            done[i], ended[i] = len(totals), bool(result["ended"])
            call.losses[: len(totals), i] = totals[:, 0] / totals[:, 1]
            return not result["interrupted"]

        chosen = range(len(self._engines)) if call.active is None else np.flatnonzero(call.active)
        whole = self._each(one, map(int, chosen), call.n_threads, call.progress)
        return {"epochs": done, "interrupted": not whole, "ended": ended}

    def evaluate(self, x: Array, y: Array, w: Array | None, *, n_threads: int) -> Array:
        losses = np.empty(len(self._engines))

        def one(i: int) -> bool:
            totals = self._engines[i].evaluate(x, y, w if w is None or w.ndim == 1 else w[i], n_threads=1)
            losses[i] = totals[0] / totals[1]
            return True

        self._each(one, range(len(self._engines)), n_threads, None, raises=True)
        return losses

    def predict(self, x: Array, out: Array, *, n_threads: int) -> None:
        def one(i: int) -> bool:
            self._engines[i].predict(x, out[i], n_threads=1)
            return True

        self._each(one, range(len(self._engines)), n_threads, None, raises=True)

    def keep(self, which: Array) -> None:
        for i in np.flatnonzero(which):
            self._kept[i] = self._engines[i].get_tensors()

    def restore(self, which: Array) -> None:
        for i in np.flatnonzero(which):
            self._engines[i].set_tensors(self._kept[i])

    def _each(
        self,
        task: Callable[[int], bool],
        items: Iterable[int],
        n_threads: int,
        progress: Fraction | None,
        raises: bool = False,
    ) -> bool:
        """Do a task for each net; False if Ctrl-C came first, or, with `raises`, KeyboardInterrupt."""
        # an interrupt may come while the pool starts a thread, which it then does not know: each call has its own stop,
        # and waits until no thread is at work
        stop = self._stop = threading.Event()
        busy: set[int] = set()
        todo = list(items)
        threads = min(n_threads or available_threads(), len(todo)) if self._parallel else 1
        finished = 0

        def unless_stopped(i: int) -> bool:
            busy.add(i)
            try:
                return not stop.is_set() and task(i)
            finally:
                busy.discard(i)

        try:
            if threads < 2:
                for i in todo:
                    if not task(i):
                        raise KeyboardInterrupt
                    finished += 1
                    if progress is not None:
                        progress(finished / len(todo))
                return True
            from concurrent.futures import ThreadPoolExecutor, wait  # slow to import, and seldom needed

            with ThreadPoolExecutor(threads) as pool:
                try:
                    futures = [pool.submit(unless_stopped, i) for i in todo]
                    pending = set(futures)
                    while pending:
                        done, pending = wait(pending, timeout=0.1)
                        if progress is not None:
                            progress(1 - len(pending) / len(todo))
                except BaseException:
                    stop.set()
                    raise
            if not all(future.result() for future in futures):
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            stop.set()
            while busy:
                time.sleep(0.002)
            if raises:
                raise
            return False
        return True


def _scaled(op: dict[str, Any], factor: float) -> dict[str, Any]:
    return {
        key: value * float(factor) if key.startswith(PENALISED) and not isinstance(value, bool) else value
        for key, value in op.items()
    }
