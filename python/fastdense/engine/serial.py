"""A population as one engine per net, several of them at a time in threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..arrays import Array
from ..calls import Fraction, PopulationCall, TrainCall
from .factory import make_engine
from .protocol import Engine
from .turns import turns_on

PENALISED = ("kernel_", "bias_", "activity_")  # how the names of an op's penalties begin


class SerialPopulation:
    """One engine per net, several at a time in threads: for nets too large to share lanes, and for the reference.

    Parameters
    ----------
    device : {"cpu", "reference"}
    program : dict
    seeds : ndarray of uint64, shape (starts,)
    numbers : dict
        As of `fastdense.engine.population.make_population_engine`.
    """

    def __init__(self, device: str, program: dict[str, Any], seeds: Array, numbers: dict[str, Array]) -> None:
        self._numbers = numbers
        self._engines: list[Engine] = [
            make_engine(device, {**program, "seed": int(seed), "ops": _own_ops(program["ops"], numbers, i)})
            for i, seed in enumerate(seeds)
        ]
        # input mean and variance are the same for all nets, and passed once
        self._shared = 2 if program["ops"][0]["kind"] == "normalization" else 0
        self._device = device
        self._kept: list[list[Array]] = [[] for _ in self._engines]

    def configure(self, training: dict[str, Any]) -> None:
        for i, engine in enumerate(self._engines):
            own = {name: float(values[i]) for name, values in self._numbers.items() if name != "dropout"}
            loss = {key: own.get(key, value) for key, value in training["loss"].items()}
            optimizer = {key: own.get(key, value) for key, value in training["optimizer"].items()}
            engine.configure({**training, "loss": loss, "optimizer": optimizer})

    def get_tensors(self) -> list[Array]:
        return [np.stack(tensors) for tensors in zip(*(e.get_tensors() for e in self._engines), strict=True)]

    def set_tensors(self, tensors: list[Array]) -> None:
        for i, engine in enumerate(self._engines):
            engine.set_tensors([t if k < self._shared else np.asarray(t[i], order="C") for k, t in enumerate(tensors)])

    def get_slots(self) -> list[list[Array]]:
        states = [engine.get_state()["slots"] for engine in self._engines]
        return [[np.stack(t) for t in zip(*slot, strict=True)] for slot in zip(*states, strict=True)]

    def get_numbers(self) -> Array:
        return np.stack([engine.get_state()["numbers"] for engine in self._engines])

    def set_slots(self, slots: list[list[Array]], step: int, numbers: Array) -> None:
        for i, engine in enumerate(self._engines):
            own = [[np.asarray(array[i], order="C") for array in slot] for slot in slots]
            engine.set_state({"step": step, "slots": own, "numbers": numbers[i]})

    def train(self, call: PopulationCall) -> dict[str, Any]:
        done = np.zeros(len(self._engines), dtype=np.int64)
        ended = np.zeros(len(self._engines), dtype=bool)

        def one(i: int, threads: int) -> None:
            def advance(steps: int, loss: float, rows: float) -> None:
                if call.progress is not None:
                    call.progress(steps / len(own.step_rates))

            w, rates, order = call.w, call.step_rates, call.order_seed
            own = TrainCall(
                call.x, call.y, w if w is None or w.ndim == 1 else w[i],
                rates if call.member_scale is None else rates * call.member_scale[i],
                call.batch_size, call.shuffle, call.epoch,
                order_seed=int(order[i]) if isinstance(order, np.ndarray) else order,
                progress=advance if alone else None, n_threads=threads,
            )  # fmt: skip
            result = self._engines[i].train(own)
            totals = result["totals"]
            done[i], ended[i] = len(totals), bool(result["ended"])
            call.losses[: len(totals), i] = totals[:, 0] / totals[:, 1]
            if result["interrupted"]:
                raise KeyboardInterrupt

        chosen = range(len(self._engines)) if call.active is None else np.flatnonzero(call.active).tolist()
        alone, whole = len(chosen) == 1, True
        try:
            self._each(one, chosen, call.n_threads, None if alone else call.progress)
        except KeyboardInterrupt:
            whole = False
        return {"epochs": done, "interrupted": not whole, "ended": ended}

    def evaluate(self, x: Array, y: Array, w: Array | None, *, n_threads: int, which: Array | None = None) -> Array:
        totals: dict[int, Array] = {}

        def one(i: int, threads: int) -> None:
            totals[i] = self._engines[i].evaluate(x, y, w if w is None or w.ndim == 1 else w[i], n_threads=threads)

        chosen = range(len(self._engines)) if which is None else np.flatnonzero(which).tolist()
        self._each(one, chosen, n_threads, None)
        missing = np.full_like(next(iter(totals.values()), np.empty(2)), np.nan)
        return np.stack([totals.get(i, missing) for i in range(len(self._engines))])

    def predict(self, x: Array, out: Array, *, n_threads: int) -> None:
        def one(i: int, threads: int) -> None:
            self._engines[i].predict(x, out[i], n_threads=threads)

        self._each(one, range(len(self._engines)), n_threads, None)

    def keep(self, which: Array) -> None:
        for i in np.flatnonzero(which):
            self._kept[i] = self._engines[i].get_tensors()

    def restore(self, which: Array) -> None:
        for i in np.flatnonzero(which):
            self._engines[i].set_tensors(self._kept[i])

    def _each(
        self, task: Callable[[int, int], None], items: Iterable[int], n_threads: int, progress: Fraction | None
    ) -> None:
        """Do a task for each net: ``task(net, threads)``."""
        todo = list(items)
        turns = turns_on(self._device, n_threads)
        finished = 0

        def turn(job: int, threads: int) -> None:
            nonlocal finished
            task(todo[job], threads)
            finished += 1

        turns.run(len(todo), turn, None if progress is None else lambda: progress(finished / len(todo)))


def _own_ops(ops: list[dict[str, Any]], numbers: dict[str, Array], i: int) -> list[dict[str, Any]]:
    """The ops of net i, with the factors of its penalties and the rates of its dropouts."""
    if "penalty" in numbers:
        ops = [_scaled(op, float(numbers["penalty"][i])) for op in ops]
    if "dropout" in numbers:
        rates = iter(numbers["dropout"][i].tolist())
        ops = [{**op, "rate": next(rates)} if op["kind"] == "dropout" else op for op in ops]
    return ops


def _scaled(op: dict[str, Any], factor: float) -> dict[str, Any]:
    if op["kind"] == "function":
        return {**op, "weights": [{**w, "l1": w["l1"] * factor, "l2": w["l2"] * factor} for w in op["weights"]]}
    return {
        key: value * factor if key.startswith(PENALISED) and isinstance(value, float) else value
        for key, value in op.items()
    }
