"""Loading of the compiled modules."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any


def compiled_module(name: str) -> Any:
    """The compiled module of this name.

    Ctrl-C while it is loaded raises KeyboardInterrupt when that is done: a module that was loaded in part is an
    ImportError, and cannot be loaded again in the same process.

    Raises
    ------
    ImportError
        If this installation has none, or it cannot be loaded.
    """
    if name in sys.modules:
        return import_module(name)
    with _ctrl_c_waits():
        return import_module(name)


@contextmanager
def _ctrl_c_waits() -> Iterator[None]:
    """Hold Ctrl-C back, and let it do afterwards what it does."""
    import signal  # slow to import

    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield  # Python handles signals in the main thread alone
        return
    pressed: list[Any] = []
    try:
        signal.signal(signal.SIGINT, lambda _, frame: pressed.append(frame))
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if pressed:
            handler(signal.SIGINT, pressed[0])
