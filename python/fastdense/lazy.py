"""Packages whose modules are imported when a name of theirs is first used (PEP 562)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy(
    package: dict[str, Any], modules: Mapping[str, str], otherwise: Callable[[str], Any] | None = None
) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a package; it keeps what it has found in the package.

    This is for what few programs need, or need before they train: in the middle of a training there may be no memory
    and no file descriptor for an import. Type checkers read the same names from imports under ``TYPE_CHECKING``.

    Parameters
    ----------
    package : dict
        Its ``globals()``.
    modules : mapping of str to str
        The module of each name, as in ``{"fit_many": "population.fit"}``; "" for a module of the package itself.
    otherwise : callable, optional
        What is asked for all other names.
    """

    def __getattr__(name: str) -> Any:
        if name not in modules:
            if otherwise is not None:
                return otherwise(name)
            raise AttributeError(f"module {package['__name__']!r} has no attribute {name!r}")
        module = import_module(f"{package['__name__']}.{modules[name] or name}")
        value = package[name] = getattr(module, name) if modules[name] else module
        return value

    return __getattr__
