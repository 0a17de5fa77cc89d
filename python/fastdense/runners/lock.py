"""`CallLock`: the lock that makes calls of several threads wait for one another."""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import threading
import weakref
from collections.abc import Callable
from typing import Any

PAUSE = 0.1  # seconds: Ctrl-C that comes just before a thread begins to wait is heard when it has waited so long
_locks: weakref.WeakSet[CallLock] = weakref.WeakSet()


class _QueuePlace:
    """A place in the queue for a lock: it lasts until its thread has released the lock, or has given up before.

    A place keeps the next one: who is behind a thread that gave up does not come before those in front of it.
    """

    __slots__ = ("__weakref__", "behind")

    def __init__(self) -> None:
        self.behind: _QueuePlace | None = None


Found = Callable[[], "_QueuePlace | None"]


def _no_place() -> _QueuePlace | None:
    return None


class _Own(threading.local):
    """The place of each thread."""

    place: Found = staticmethod(_no_place)


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
        self._last: Found = _no_place  # the place at the end of the queue

    def _entry(self) -> Callable[[], bool]:
        """Wait until no thread is in front, and return what takes the lock and holds the place of this thread."""
        lock, own = self._lock, self._own
        if lock._is_owned() or own.place() is not None:  # again, or in a signal handler while this thread waits
            return lock.__enter__  # type: ignore[no-any-return]
        take: Any = functools.partial(lock.__enter__)
        place: _QueuePlace | None = _QueuePlace()
        front: _QueuePlace | None = None
        try:
            mine = own.place = weakref.ref(place)
            with self._arrival:
                front, self._last = self._last(), mine
                if front is not None:
                    front.behind = place
            if front is not None:
                ends = queue.SimpleQueue[Any]()
                ahead = weakref.ref(front, ends.put)
                front = None
                while ahead() is not None:
                    with contextlib.suppress(queue.Empty):
                        ends.get(timeout=PAUSE)
            take.place = place
        except BaseException:
            take = place = front = None  # the traceback keeps this frame
            raise
        return take  # type: ignore[no-any-return]

    def _exit(self) -> Callable[..., None]:
        """Return what releases the lock, and holds the place of this thread until then."""
        lock, place = self._lock, self._own.place()
        if lock._is_owned() or place is None:
            return lock.__exit__  # type: ignore[no-any-return]
        release: Any = functools.partial(lock.__exit__)
        release.place = place
        return release  # type: ignore[no-any-return]

    # `with` gets both before it calls the first, and both are written in C: Ctrl-C can neither come between taking the
    # lock and the block that it guards, nor keep it from being released. They alone keep the place, which ends with the
    # second one.
    __enter__: Any = property(_entry)
    __exit__: Any = property(_exit)

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
