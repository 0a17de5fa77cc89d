"""What is imported when it is first used: modules of packages (PEP 562), optional libraries, models' ways out."""

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


def needed(where: str, module: str, package: str, extra: str | None = None) -> Any:
    """An optional library; ImportError that says how to install it, if it is not there.

    Parameters
    ----------
    where : str
        What the user called.
    module, package : str
        Its names in imports and in the package index.
    extra : str, optional
        The extra of fastdense that installs it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        command = package if extra is None else f"'fastdense[{extra}]'"
        raise ImportError(f"{where}: it needs {package}, which is not installed; run: pip install {command}") from error


_converters: dict[str, str] = {}


def register_converters(package: str, modules: Mapping[str, str]) -> None:
    """Say in which modules of a package the functions are that models call and that need models themselves."""
    _converters.update({name: f"{package}.{module}" for name, module in modules.items()})


def converter(name: str) -> Callable[..., Any]:
    """Such a function, which reads or writes another format, as in ``converter("to_onnx")(model, path)``."""
    found: Callable[..., Any] = getattr(import_module(_converters[name]), name)
    return found
