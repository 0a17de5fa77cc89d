"""`CallLock`: the lock that makes calls of several threads wait for one another."""

from __future__ import annotations

import os
import threading
import weakref
from operator import attrgetter
from typing import Any

_locks: weakref.WeakSet[CallLock] = weakref.WeakSet()


class CallLock:
    """A re-entrant lock that is free in a process that was forked while another thread held it.

    That thread does not exist in the new process, where its lock would stay locked for ever.

    Attributes
    ----------
    lost : bool
        Whether that has happened: then what the lock guards is as that thread left it, in the middle of a change.
    """

    def __init__(self) -> None:
        self._lock: Any = threading.RLock()
        self.lost = False
        _locks.add(self)

    # `with` gets both before it takes the lock, and calls what is written in C: Ctrl-C can neither come between taking
    # the lock and the block that it guards, nor keep it from being released
    __enter__: Any = property(attrgetter("_lock.__enter__"))
    __exit__: Any = property(attrgetter("_lock.__exit__"))

    @property
    def mine(self) -> bool:
        """Whether the calling thread holds it."""
        return bool(self._lock._is_owned())

    def free_if_lost(self) -> None:
        """After a fork: make the lock free unless the thread that lives on holds it."""
        if self._lock.acquire(blocking=False):
            self._lock.release()
        else:
            self._lock, self.lost = threading.RLock(), True


def _free_lost_locks() -> None:
    for lock in list(_locks):
        lock.free_if_lost()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_free_lost_locks)
