"""Training on given derivatives, step by step, on any engine.

The loss asks that the derivatives of the outputs by the inputs, the Jacobian J, be near given ones D (Czarnecki et al.
2017, "Sobolev training"): ``dy_weight`` times the mean over rows, outputs and inputs of (J - D)^2 is added to it.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import numpy as np

from ..arrays import Array, to_host
from ..calls import TrainCall
from ..data.rows import GivenDerivatives
from ..engine import native
from ..engine.protocol import Engine

PROGRESS_SECONDS = 0.1


class DerivativeSteps:
    """Steps of an engine whose loss has a term for given derivatives; each batch comes back to Python.

    Parameters
    ----------
    engine : Engine
        Configured.
    outputs : int
    seed : int
        Of the net: decides the order of the rows.
    """

    def __init__(self, engine: Engine, outputs: int, seed: int) -> None:
        self._engine, self._outputs, self._seed = engine, outputs, seed
        self._running = np.zeros(0)  # totals of the epoch so far
        self._order: tuple[tuple[int, int, bool], Array] | None = None

    def train(self, call: TrainCall, given: GivenDerivatives) -> dict[str, Any]:
        """Make one step per learning rate; as `Engine.train`."""
        call = replace(call, x=to_host(call.x), y=to_host(call.y), w=None if call.w is None else to_host(call.w))
        n, size = len(call.x), min(call.batch_size, len(call.x))
        batches = math.ceil(n / size)
        epoch, batch, steps, nonfinite, reported = call.epoch, call.first_batch, 0, -1, time.monotonic()
        interrupted = False
        totals: list[Array] = []
        val_totals: list[Array] = []
        try:
            for rate in call.step_rates:
                rows = self._rows(n, epoch, call)[batch * size : (batch + 1) * size]
                running = np.zeros(0) if batch == 0 else self._running
                made, loss = self._step(call, given, rows, float(rate))
                self._running = made if not running.size else running + made
                steps += 1
                if nonfinite < 0 and not math.isfinite(loss):
                    nonfinite = steps - 1
                batch += 1
                if batch == batches:
                    if call.val is not None:
                        val_totals.append(self._engine.evaluate(*call.val, n_threads=call.n_threads))
                    totals.append(self._running)
                    batch, epoch = 0, epoch + 1
                if call.progress is not None and time.monotonic() - reported >= PROGRESS_SECONDS:
                    reported = time.monotonic()
                    call.progress(steps, float(self._running[0]), float(self._running[1]))
                if call.stop_on_nan and nonfinite >= 0:
                    break
        except KeyboardInterrupt:
            interrupted = True
        finally:
            width = len(self._running)
            call.result["totals"] = np.array(totals).reshape(len(totals), width)
            call.result["val_totals"] = np.array(val_totals[: len(totals)]).reshape(-1, width)
        call.result.update(
            steps=steps, partial=self._running.copy(), nonfinite_step=nonfinite, interrupted=interrupted, ended="",
            probes=None,
        )  # fmt: skip
        return call.result

    def _rows(self, n: int, epoch: int, call: TrainCall) -> Array:
        """The rows in the order of an epoch, the same as without derivatives."""
        key = epoch, n, call.shuffle
        if self._order is None or self._order[0] != key:
            self._order = key, _shuffled(n, self._seed, epoch) if call.shuffle else np.arange(n)
        return self._order[1]

    def _step(self, call: TrainCall, given: GivenDerivatives, rows: Array, rate: float) -> tuple[Array, float]:
        """A step on some rows; their totals before it, and their loss."""
        engine, threads = self._engine, call.n_threads
        x, y, w = call.x[rows], call.y[rows], None if call.w is None else call.w[rows]
        totals = np.array(engine.evaluate(x, y, w, n_threads=threads))
        loss, gradients = engine.loss_and_grad(x, y, w, training=True, n_threads=threads)
        every = np.eye(self._outputs).reshape(1, -1)
        away = engine.vjp(x, np.broadcast_to(every, (len(x), every.size)), parameters=False, n_threads=threads)[0]
        away = away - given.values[rows]
        factor = np.full(len(x), given.weight / away.size) if w is None else w * (given.weight / away.size)
        loss += float(factor @ np.square(away, dtype=np.float64).sum(axis=1))
        d_jacobian = 2 * factor[:, None] * away
        zeros = np.broadcast_to(np.zeros((1, self._outputs)), (len(x), self._outputs))
        _, more = engine.vjp(x, zeros, d_jacobian, parameters=True, n_threads=threads)
        assert more is not None
        engine.apply_gradients([a + b for a, b in zip(gradients, more, strict=True)], rate=rate, n_threads=threads)
        totals[0] = loss * len(x)
        return totals, loss


def _shuffled(n: int, seed: int, epoch: int) -> Array:
    try:
        return native.shuffle_indices(n, seed, epoch)
    except ImportError:  # an installation that has the reference alone
        from ..reference.rng import shuffle_indices

        return shuffle_indices(n, seed, epoch)
