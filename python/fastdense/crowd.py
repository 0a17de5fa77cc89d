"""Many nets of one shape on engines: in the lanes of the compiled population, or one net to an engine.

What `machine.py` is to one model, this is to a population: the only file that calls these engines. Data was checked
before it comes here. Arrays have one entry per start in front.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, Protocol

import numpy as np

from . import cuda, cuda_engine
from .arrays import Array, empty_beside
from .data import Rows
from .engine import Engine, make_engine, value_dtype
from .net import Net

PENALTIES = ("kernel_l1", "kernel_l2", "kernel_orthogonal", "kernel_repulsion", "bias_l1", "bias_l2", "activity_l1",
             "activity_l2")  # fmt: skip
Share = Callable[[float], None]


class Nets(Protocol):
    """The methods of both kinds of engine; docs/architecture.md, "Population", gives their meaning."""

    def configure(self, training: dict[str, Any], /) -> None: ...

    def get_tensors(self) -> list[Array]: ...

    def set_tensors(self, tensors: list[Array], /) -> None: ...

    def get_slots(self) -> list[list[Array]]: ...

    def get_numbers(self) -> Array: ...

    def set_slots(self, slots: list[list[Array]], step: int, numbers: Array, /) -> None: ...

    def train(
        self,
        x: Array,
        y: Array,
        w: Array | None,
        *,
        batch_size: int,
        shuffle: bool,
        order_seed: int | None,
        epoch: int,
        epochs: int,
        learning_rates: Array,
        factors: Array | None,
        active: Array | None,
        losses: Array,
        progress: Share | None,
        n_threads: int,
    ) -> dict[str, Any]: ...

    def evaluate(self, x: Array, y: Array, w: Array | None, *, n_threads: int) -> Array: ...

    def predict(self, x: Array, out: Array, *, n_threads: int) -> None: ...

    def keep(self, which: Array, /) -> None: ...

    def restore(self, which: Array, /) -> None: ...


class Loop:
    """One engine per net, several at a time in threads: for nets too large for lanes, and for the reference.

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
        # mean and variance of raw data are the same for all nets, and handed over once
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

    def train(
        self,
        x: Array,
        y: Array,
        w: Array | None,
        *,
        batch_size: int,
        shuffle: bool,
        order_seed: int | None,
        epoch: int,
        epochs: int,
        learning_rates: Array,
        factors: Array | None,
        active: Array | None,
        losses: Array,
        progress: Share | None,
        n_threads: int,
    ) -> dict[str, Any]:
        done = np.zeros(len(self._engines), dtype=np.int64)
        ended = np.zeros(len(self._engines), dtype=bool)
        if order_seed is not None:
            raise ValueError(
                "fit_many: shuffle='same' was asked for, and these nets are trained one at a time "
                "(they are too large to share lanes or a GPU, or the device is the reference); use shuffle=True"
            )

        def one(i: int) -> bool:
            def look(steps: int, loss: float, rows: float) -> None:
                if self._stop.is_set():
                    raise KeyboardInterrupt

            result = self._engines[i].train(
                x, y, w if w is None or w.ndim == 1 else w[i], None, batch_size=batch_size, shuffle=shuffle,
                epoch=epoch, first_batch=0, stop_on_nan=False, progress=look, n_threads=1,
                learning_rates=learning_rates if factors is None else learning_rates * factors[i],
            )  # fmt: skip
            totals = result["totals"]
            done[i], ended[i] = len(totals), bool(result["ended"])
            losses[: len(totals), i] = totals[:, 0] / totals[:, 1]
            return not result["interrupted"]

        chosen = range(len(self._engines)) if active is None else np.flatnonzero(active)
        whole = self._each(one, map(int, chosen), n_threads, progress)
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
        progress: Share | None,
        raises: bool = False,
    ) -> bool:
        """Do a task for each net; False if Ctrl-C came first, or, with `raises`, KeyboardInterrupt."""
        from ._core import available_threads

        # an interrupt may come while the pool starts a thread, which it then does not know: each call has its own stop,
        # and waits until nobody is at work
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
    return {key: value * float(factor) if key in PENALTIES else value for key, value in op.items()}


class Crowd:
    """Nets of one shape, and which kind of engine trains them.

    Parameters
    ----------
    net : Net
        What they have in common.
    device : {"cpu", "cuda", "reference"}
    training : dict
        What is optimised, as engines take it.
    seeds : ndarray of uint64, shape (starts,)
    penalties : ndarray of shape (starts,), optional
    batch_rows : int
        Rows of the largest batch.

    Attributes
    ----------
    reason : str
        Why the nets are trained one by one, or empty if they share lanes or a launch.
    """

    def __init__(
        self, net: Net, device: str, training: dict[str, Any], seeds: Array, penalties: Array | None, batch_rows: int
    ) -> None:
        self.net, self.device, self.training, self.seeds, self.penalties = net, device, training, seeds, penalties
        self.reason = "the reference trains one net at a time"
        if device == "cpu":
            from ._core import why_not_lanes

            self.reason = why_not_lanes(net.program, training, batch_rows)
        elif device == "cuda":
            self.reason = cuda.require().why_not_fused(net.program, training, batch_rows)
        self.nets = self._make(net.program, penalties)
        self.nets.configure(training)

    def _make(self, program: dict[str, Any], penalties: Array | None) -> Nets:
        nets: Nets
        if self.reason:
            nets = Loop(self.device, program, self.seeds, penalties)
        elif self.device == "cuda":
            nets = cuda_engine.PopulationEngine(program, self.seeds, penalties)
        else:
            from ._core import Population

            nets = Population(program, self.seeds, penalties)
        return nets

    def __len__(self) -> int:
        return len(self.seeds)

    def chosen(self, which: Array, step: int) -> Crowd:
        """Some of the nets as a crowd of their own, with what their optimizers remember."""
        penalties = None if self.penalties is None else self.penalties[which]
        made = Crowd.__new__(Crowd)
        made.net, made.device, made.training, made.reason = self.net, self.device, self.training, self.reason
        made.seeds, made.penalties = self.seeds[which], penalties
        made.nets = made._make(self.net.program, penalties)
        made.nets.configure(self.training)
        made.set_tensors([tensor[which] for tensor in self.tensors()])
        slots = [[np.ascontiguousarray(array[which]) for array in slot] for slot in self.nets.get_slots()]
        made.nets.set_slots(slots, step, self.nets.get_numbers()[which])
        return made

    @property
    def value_dtype(self) -> np.dtype[Any]:
        """Data type of tensors and results."""
        return value_dtype(self.device, self.net.dtype)

    def tensors(self) -> list[Array]:
        """Copies of all tensors, (starts, ...)."""
        return self.nets.get_tensors()

    def set_tensors(self, tensors: list[Array]) -> None:
        """Replace all tensors."""
        self._write(self.nets, tensors)

    def _write(self, nets: Nets, tensors: list[Array]) -> None:
        made = [np.ascontiguousarray(tensor, self.value_dtype) for tensor in tensors]
        if self.net.statistics is not None:  # of raw data: float64, the same for all nets
            made[:2] = [np.ascontiguousarray(tensor[0], np.float64) for tensor in tensors[:2]]
        nets.set_tensors(made)

    def train(
        self,
        data: Rows,
        weights: Array | None,
        *,
        batch_size: int,
        shuffle: bool,
        order_seed: int | None,
        epoch: int,
        rates: Array,
        factors: Array | None,
        active: Array | None,
        losses: Array,
        progress: Share | None,
        n_threads: int,
    ) -> dict[str, Any]:
        """Train whole epochs, one for each row of `losses`; see docs/architecture.md."""
        return self.nets.train(
            data.x,
            data.y,
            data.w if weights is None else weights,
            batch_size=batch_size,
            shuffle=shuffle,
            order_seed=order_seed,
            epoch=epoch,
            epochs=len(losses),
            learning_rates=rates,
            factors=factors,
            active=active,
            losses=losses,
            progress=progress,
            n_threads=n_threads,
        )

    def losses(self, data: Rows, weights: Array | None, n_threads: int = 0) -> Array:
        """Mean loss of each net in inference mode, penalties included: (starts,)."""
        return self.nets.evaluate(data.x, data.y, data.w if weights is None else weights, n_threads=n_threads)

    def predict(self, x: Array, n_threads: int = 0) -> Array:
        """Outputs: (starts, rows, outputs)."""
        out = empty_beside(x, (len(self), len(x), self.net.outputs), self.value_dtype)
        self.nets.predict(x, out, n_threads=n_threads)
        return out

    def layer_outputs(self, x: Array, layer: int, tensors: list[Array] | None = None) -> Array:
        """Outputs of one layer: (starts, rows, units), with other tensors if given.

        It is a population of shorter nets that computes them.
        """
        end, ops = self.net.ends[layer] + 1, self.net.program["ops"]
        count = sum(len(one.tensors(width)) for one, width in self._layers()[: layer + 1])
        nets = self._make({**self.net.program, "ops": ops[:end]}, None)
        self._write(nets, (self.tensors() if tensors is None else tensors)[:count])
        out = empty_beside(x, (len(self), len(x), self.net.widths[layer]), self.value_dtype)
        nets.predict(x, out, n_threads=0)
        return out

    def _layers(self) -> list[tuple[Any, int]]:
        return list(zip(self.net.layers, [self.net.inputs, *self.net.widths], strict=False))
