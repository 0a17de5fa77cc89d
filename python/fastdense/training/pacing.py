"""training.pacing."""

from __future__ import annotations

CALL_SECONDS = 0.1  # how long a call lasts at least where no callback needs every epoch
CALL_STEPS = 1 << 20  # and the most steps it makes, since the learning rates of all of them are handed over


class _Budget:
    """How many epochs to ask for, so that a call lasts about CALL_SECONDS."""

    def __init__(self, steps_per_epoch: int) -> None:
        self._most = max(1, CALL_STEPS // steps_per_epoch)
        self._count = 1

    def next(self, remaining: int) -> int:
        return min(self._count, remaining)

    def learn(self, count: int, seconds: float) -> None:
        if count:
            fitting = int(CALL_SECONDS * count / max(seconds, 1e-9))
            self._count = min(max(1, fitting), 16 * self._count, self._most)
