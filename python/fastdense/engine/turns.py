"""Jobs of different lengths, done in turns by a few threads, so that no thread waits while there is work."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable

from .native import asking, available_threads


class Turns:
    """Jobs that threads take on turn by turn; the job that is least far goes first.

    Compiled engines work without Python's lock, so threads are all it takes. A thread that finishes a turn chooses the
    next job itself: there are no rounds at whose end threads would wait for the slowest.

    Parameters
    ----------
    threads : int
        How many threads there are, for all jobs.
    at_once : int, optional
        Jobs that are worked on at a time, by default one for each thread; 1 does all of them in the thread that calls
        `run`. A job gets several threads where fewer jobs than threads are worked on.

    Attributes
    ----------
    stop : threading.Event
        Set when the jobs should end early; compiled calls look at it, too.
    """

    def __init__(self, threads: int, at_once: int | None = None) -> None:
        self.threads, self.at_once = threads, threads if at_once is None else at_once
        self.stop = threading.Event()
        self._lock = threading.Lock()
        self._waiting: list[tuple[float, int]] = []
        self._busy: set[int] = set()
        self._left = 0
        self._error: BaseException | None = None

    def run(self, jobs: int, turn: Callable[[int, int], float | None], look: Callable[[], object] | None) -> None:
        """Do all jobs.

        Parameters
        ----------
        jobs : int
        turn : callable
            ``turn(job, threads)`` does the next turn of a job, in which it may use so many threads, and returns how far
            the job is, or None when it is done. What it raises stops all jobs, and is raised here.
        look : callable or None
            Called about ten times a second, in the thread that called this.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C. As after any exception, no thread is at work then.
        """
        self._waiting, self._left = [(0.0, i) for i in range(jobs)], jobs
        threads = min(self.at_once, jobs)
        if threads < 2:
            while self._waiting and not self.stop.is_set():
                self._next(turn)
                if look is not None:
                    look()
        else:
            self._in_threads(threads, turn, look)
        if self._error is not None:
            raise self._error
        if self.stop.is_set():
            raise KeyboardInterrupt

    def _in_threads(
        self, threads: int, turn: Callable[[int, int], float | None], look: Callable[[], object] | None
    ) -> None:
        def end_on_stop() -> None:
            if self.stop.is_set():
                raise KeyboardInterrupt

        def work() -> None:
            with asking(end_on_stop):
                while self._waiting and not self.stop.is_set():
                    self._next(turn)

        team = [threading.Thread(target=work, name="fastdense") for _ in range(threads)]
        try:
            for thread in team:
                thread.start()
            for thread in team:
                while thread.is_alive():
                    thread.join(0.1)
                    if look is not None:
                        look()
        except BaseException:
            # an interrupt may come while a thread starts, which then looks at `stop` before it does anything
            self.stop.set()
            while self._busy:
                time.sleep(0.002)
            raise

    def _next(self, turn: Callable[[int, int], float | None]) -> None:
        """The next turn of the job that is least far."""
        with self._lock:
            if not self._waiting:
                return
            _, job = heapq.heappop(self._waiting)
            self._busy.add(job)
            threads = max(1, self.threads // min(self.at_once, self._left))
        far = None
        try:
            if not self.stop.is_set():
                far = turn(job, threads)
        except BaseException as error:  # the first one counts: the others follow from `stop`
            self._error = error if self._error is None else self._error
            self.stop.set()
        finally:
            with self._lock:
                self._busy.discard(job)
                if far is None:
                    self._left -= 1
                else:
                    heapq.heappush(self._waiting, (far, job))


def turns_on(device: str, n_threads: int) -> Turns:
    """Turns of engines on a device: several at a time on "cpu" only, since the reference holds Python's lock.

    Parameters
    ----------
    device : {"cpu", "cuda", "reference"}
    n_threads : int
        0 for as many as this process may use.
    """
    if device == "reference":
        return Turns(1)
    return Turns(n_threads or available_threads(), None if device == "cpu" else 1)
