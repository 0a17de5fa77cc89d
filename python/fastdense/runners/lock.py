"""`CallLock`: the lock that makes calls of several threads wait for one another."""

from __future__ import annotations

import functools
import os
import queue
import threading
import weakref
from collections.abc import Callable
from operator import attrgetter
from typing import Any

_locks: weakref.WeakSet[CallLock] = weakref.WeakSet()


class _Place:
    """A place in the queue before a lock: it lasts until its thread has the lock, or has given up.

    A place keeps the next one: who is behind a thread that gave up does not come before those in front of it.
    """

    __slots__ = ("__weakref__", "behind")

    def __init__(self) -> None:
        self.behind: _Place | None = None


Found = Callable[[], "_Place | None"]


def _nobody() -> _Place | None:
    return None


class _Own(threading.local):
    """The place of each thread."""

    place: Found = staticmethod(_nobody)


class CallLock:
    """A re-entrant lock for which threads wait in the order in which they came.

    It is free in a process that was forked while another thread held it: that thread does not exist in the new process,
    where its lock would stay locked for ever.

    Attributes
    ----------
    lost : bool
        Whether that has happened: then what the lock guards is as that thread left it, in the middle of a change.
    """

    def __init__(self) -> None:
        self._lock: Any = threading.RLock()
        self._free_queue()
        self.lost = False
        _locks.add(self)

    def _free_queue(self) -> None:
        self._arrival = threading.Lock()
        self._own = _Own()
        self._last: Found = _nobody  # the place at the end of the queue

    def _turn(self) -> Callable[[], bool]:
        """Wait until nobody is in front, and return what takes the lock.

        That holds the place of this thread, which so ends with it; its end lets the next thread go on.
        """
        lock, own = self._lock, self._own
        if lock._is_owned() or own.place() is not None:  # again, or in a signal handler while this thread waits
            return lock.__enter__  # type: ignore[no-any-return]
        take: Any = functools.partial(lock.__enter__)
        place = _Place()
        try:
            mine = own.place = weakref.ref(place)
            with self._arrival:
                front, self._last = self._last(), mine
                if front is not None:
                    front.behind = place
            if front is not None:
                come = queue.SimpleQueue[Any]()
                told = weakref.ref(front, come.put)  # called in C, by the thread that ends the place
                del front
                come.get()
                del told
            take.place = place
        except BaseException:
            del place  # the traceback keeps this frame
            raise
        return take  # type: ignore[no-any-return]

    # `with` gets both before it takes the lock, and then calls what is written in C: Ctrl-C can neither come between
    # taking the lock and the block that it guards, nor keep it from being released
    __enter__: Any = property(_turn)
    __exit__: Any = property(attrgetter("_lock.__exit__"))

    @property
    def mine(self) -> bool:
        """Whether the calling thread holds it."""
        return bool(self._lock._is_owned())

    def free_if_lost(self) -> None:
        """After a fork: make the lock free unless the thread that lives on holds it; no other thread is waiting."""
        self._free_queue()
        if self._lock.acquire(blocking=False):
            self._lock.release()
        else:
            self._lock, self.lost = threading.RLock(), True


def _free_lost_locks() -> None:
    for lock in list(_locks):
        lock.free_if_lost()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_free_lost_locks)
