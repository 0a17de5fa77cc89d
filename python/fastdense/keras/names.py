"""Errors for names of Keras that are not offered, with the nearest alternative."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..arguments import suggestion


class NotOffered(ImportError):
    """A name of Keras that `fastdense.keras` does not have.

    It is an ImportError, so that ``from fastdense.keras.layers import Conv2D`` shows its message; Python replaces the
    message of an AttributeError.
    """


def not_offered(module: str, offered: Iterable[str], hints: Mapping[str, str] | None = None) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a module.

    Parameters
    ----------
    module : str
        Its name in Keras, such as "layers".
    offered : iterable of str
        The names that it offers.
    hints : mapping, optional
        Alternatives, by a regular expression for the missing names.
    """
    known, path = sorted(offered), ".".join(filter(None, (__package__, module)))

    def __getattr__(name: str) -> Any:
        if name.startswith("_"):  # Python and its tools look up such names to inspect a module
            raise AttributeError(f"module {path!r} has no attribute {name!r}")
        for pattern, hint in (hints or {}).items():
            if re.search(pattern, name):
                raise NotOffered(f"{path} has no {name}. {hint}")
        near = suggestion(name, known) or f" It has {', '.join(known)}."
        raise NotOffered(f"{path} has no {name}.{near}")

    return __getattr__
