"""`CallLock`: the lock that makes calls of several threads wait for one another."""

from __future__ import annotations

import os
import threading
import weakref

_locks: weakref.WeakSet[CallLock] = weakref.WeakSet()


class CallLock:
    """A re-entrant lock that is free in a process that was forked while another thread held it.

    That thread does not exist in the new process, where its lock would stay locked for ever.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _locks.add(self)

    def free_if_lost(self) -> None:
        """After a fork: make the lock free unless the thread that lives on holds it."""
        if self._lock.acquire(blocking=False):
            self._lock.release()
        else:
            self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _free_lost_locks() -> None:
    for lock in list(_locks):
        lock.free_if_lost()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_free_lost_locks)
