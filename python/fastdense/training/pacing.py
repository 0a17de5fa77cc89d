"""How many epochs one call of an engine runs, where no callback needs to see every epoch."""

from __future__ import annotations

CALL_SECONDS = 0.1  # how long a call should last: often enough for progress, rarely enough to cost nothing


class Pacing:
    """Chooses the number of epochs per call so that a call lasts about CALL_SECONDS.

    Parameters
    ----------
    steps_per_epoch : int
    most_steps : int
        Steps of the longest call: a learning rate for each of them is passed to the engine.
    """

    def __init__(self, steps_per_epoch: int, most_steps: int) -> None:
        self._most = max(1, most_steps // steps_per_epoch)
        self._count = 1
        self._seconds = 0.0  # of an epoch

    def next(self, *limits: int) -> int:
        """Epochs of the next call, no more than any of the limits."""
        return min(self._count, *limits)

    def within(self, count: int, seconds: float) -> int:
        """So many epochs, or fewer if the last of them would begin after that time; at least one."""
        if self._seconds * (count - 1) <= seconds:
            return count
        return max(1, int(seconds / self._seconds))

    def learn(self, count: int, seconds: float) -> None:
        """Take into account how long a call took for `count` epochs."""
        if count:
            self._seconds = seconds / count
            fitting = int(CALL_SECONDS * count / max(seconds, 1e-9))
            self._count = min(max(1, fitting), 16 * self._count, self._most)
