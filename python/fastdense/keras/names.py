"""What a name of Keras that is not offered answers: the nearest thing there is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..arguments import suggestion


class NotOffered(ImportError):
    """A name of Keras that `fastdense.keras` does not have.

    It is an ImportError, so that ``from fastdense.keras.layers import Conv2D`` shows its message; an AttributeError
    would be replaced by Python's own.
    """


def not_offered(module: str, offered: Iterable[str], hints: Mapping[str, str] | None = None) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a module.

    Parameters
    ----------
    module : str
        Its name in Keras, as in "layers".
    offered : iterable of str
        The names it has.
    hints : mapping, optional
        What to do instead, by a regular expression for the names that are not there.
    """
    known = sorted(offered)

    def __getattr__(name: str) -> Any:
        if name.startswith("_"):  # Python and its tools ask for such names to find out what a module can do
            raise AttributeError(f"module 'fastdense.keras.{module}' has no attribute {name!r}")
        for pattern, hint in (hints or {}).items():
            if re.search(pattern, name):
                raise NotOffered(f"fastdense.keras{module and '.'}{module} has no {name}. {hint}")
        near = suggestion(name, known) or f" It has {', '.join(known)}."
        raise NotOffered(f"fastdense.keras{module and '.'}{module} has no {name}.{near}")

    return __getattr__
