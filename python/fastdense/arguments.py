"""Checks of arguments, and messages that suggest the nearest name for a misspelt one."""

from __future__ import annotations

import functools
import inspect
import math
import numbers
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

import numpy as np

F = TypeVar("F", bound=Callable[..., Any])
LARGEST = 2**62  # of integers that the compiled engines get


def spelling_key(name: str) -> str:
    """Spelling reduced to what matters, so that mean_squared_error and MeanSquaredError are one name."""
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")


def quoted(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)


def shorten(value: object) -> str:
    """Return the repr of a value that is given back in a message, cut to a readable length."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no integer of more than 4300 digits, in a list or alone
        text = f"<{type(value).__name__} of more digits than Python writes>"
    text = " ".join(text.split())  # NumPy writes arrays in several lines
    return text if len(text) <= 80 else text[:77] + "..."


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the name that a misspelt or abbreviated one most likely means, or None if none is near."""
    if name.startswith("__"):
        return None  # Python and its tools look such names up, as `copy.deepcopy` does
    import difflib  # for messages only, so not worth its time at every import

    names, wanted = list(names), spelling_key(name)
    for candidate in names:
        words = candidate.split("_")
        if len(words) > 1 and wanted == "".join(word[:1] for word in words):
            return candidate  # lr for learning_rate
    by_key = {spelling_key(candidate): candidate for candidate in reversed(names)}  # of several spellings the first
    found = difflib.get_close_matches(wanted, by_key, n=3, cutoff=0.6)
    found.sort(key=lambda candidate: sorted(candidate) != sorted(wanted))  # swapped letters first
    return by_key[found[0]] if found else None


def suggestion(name: str, names: Iterable[str]) -> str:
    """Return the sentence " Did you mean 'x'?" for the nearest name, or an empty string."""
    near = nearest(name, names)
    return f" Did you mean {near!r}?" if near else ""


def check_keywords(where: str, given: Iterable[str], signature: inspect.Signature) -> None:
    """Raise TypeError, with the nearest name, for a keyword that a signature does not take."""
    known = signature.parameters
    if any(p.kind is p.VAR_KEYWORD for p in known.values()):
        return
    for name in given:
        if name not in known:
            takes = f"takes {', '.join(known)}" if known else "takes no arguments"
            raise TypeError(f"{where}: unknown argument {name!r}.{suggestion(name, known)} It {takes}.")


def keywords_checked(method: F) -> F:
    """Make a method answer to a misspelt keyword with `check_keywords`, and likewise to one that is missing."""
    signature = inspect.signature(method)
    own = signature.replace(parameters=list(signature.parameters.values())[1:])
    needed = {p.name for p in own.parameters.values() if p.kind is p.KEYWORD_ONLY and p.default is p.empty}
    where = method.__name__

    @functools.wraps(method)
    def checked(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not own.parameters.keys() >= kwargs.keys() >= needed:
            here = type(self).__name__ if where == "__init__" else where
            check_keywords(here, kwargs, own)
            for name in needed - kwargs.keys():
                raise TypeError(f"{here}: the argument {name!r} is missing. Give {name}=....")
        return method(self, *args, **kwargs)

    return cast("F", checked)


def _wrong_type(where: str, value: object, need: str) -> TypeError:
    return TypeError(f"{where}={shorten(value)} is of type {type(value).__name__}. Give {need}.")


def number(
    where: str,
    value: object,
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
) -> float:
    """Return a finite float inside the bounds; `where` names the argument, as in "Dropout: rate".

    Raises
    ------
    TypeError
        If the value is not a number.
    ValueError
        If it is not finite or out of bounds.
    """
    bounds = [
        text
        for text, bound in (
            (f"above {above:g}" if above is not None else "", above),
            (f"at least {least:g}" if least is not None else "", least),
            (f"below {below:g}" if below is not None else "", below),
            (f"at most {most:g}" if most is not None else "", most),
        )
        if bound is not None
    ]
    need = " ".join(["a finite number", " and ".join(bounds)]).strip()
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise _wrong_type(where, value, need)
    try:
        x = float(value)
    except OverflowError:  # an integer or a fraction beyond the largest float
        x = math.inf
    if (
        not math.isfinite(x)
        or (above is not None and not x > above)
        or (least is not None and not x >= least)
        or (below is not None and not x < below)
        or (most is not None and not x <= most)
    ):
        raise ValueError(f"{where}={shorten(value)} is out of range. Give {need}.")
    return x


def one_or_more(where: str, value: Any, above: float | None = None) -> float | list[float]:
    """Return a finite float, or a list of them where a sequence or an array was given."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        return number(where, value, above=above)
    if not value:
        raise ValueError(f"{where} is empty. Give one number, or one per column.")
    return [number(f"{where}[{i}]", item, above=above) for i, item in enumerate(value)]


def integer(where: str, value: object, *, least: int, most: int | None = None) -> int:
    """Return an int inside the bounds; a float that is whole is refused, so that 12.0 is never taken for a count.

    Without `most`, the largest is what the compiled engines can count.

    Raises
    ------
    TypeError
        If the value is not an integer.
    ValueError
        If it is out of bounds.
    """
    need = f"a whole number, at least {least}" + (f" and at most {most}" if most is not None else "")
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise _wrong_type(where, value, need)
    n = int(value)
    if n < least or n > (LARGEST if most is None else most):
        need += f" and at most {LARGEST}" if most is None and n > LARGEST else ""
        raise ValueError(f"{where}={shorten(value)} is out of range. Give {need}.")
    return n


def flag(where: str, value: object) -> bool:
    """Return a bool; TypeError for anything that is not True or False (NumPy's too)."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise _wrong_type(where, value, "True or False")


def choice(
    where: str, value: object, names: Sequence[str], *, other: str = "", meant: Mapping[str, str] | None = None
) -> str:
    """Return one of a few names.

    For messages, `other` says what the caller takes besides, and `meant` has other words for the names.

    Raises
    ------
    TypeError
        If the value is not a string.
    ValueError
        If it is another one.
    """
    one_of = " or ".join(filter(None, (quoted(names[:-1]), repr(names[-1])))) + (f", or {other}" if other else "")
    if not isinstance(value, str):
        raise _wrong_type(where, value, one_of)
    if value not in names:
        near = suggestion((meant or {}).get(value, value), names)
        raise ValueError(f"{where}={shorten(value)} is not known.{near} Use {one_of}.")
    return str(value)


def items(where: str, value: object, need: str) -> list[Any]:
    """Return what a list, a tuple, an array or another iterable holds; text and dicts are none.

    Raises
    ------
    TypeError
        If the value is not iterable.
    """
    if not isinstance(value, (str, bytes, Mapping)):
        try:
            return list(cast("Iterable[Any]", value))
        except TypeError as error:  # an array without axes too
            raise _wrong_type(where, value, need) from error
    raise _wrong_type(where, value, need)


def file_path(where: str, value: object) -> str:
    """Return the path of a file as a string.

    Raises
    ------
    TypeError
        If the value is neither a string nor a path; the number of an open file is none.
    ValueError
        If no file can have this name.
    """
    if not isinstance(value, (str, bytes, os.PathLike)):
        raise _wrong_type(where, value, "a path, as a string or a pathlib.Path")
    try:
        path = os.fsdecode(value)
        os.fsencode(path)
    except UnicodeError as error:
        raise ValueError(f"{where}={ascii(value)} cannot be the name of a file. Give a path without it.") from error
    if "\0" in path:
        raise ValueError(f"{where}={ascii(path)} cannot be the name of a file. Give a path without the NUL character.")
    return path


def optional_text(where: str, value: object) -> str | None:
    """Return a non-empty string or None; it can be shown anywhere, on a terminal and in a file.

    Raises
    ------
    TypeError
        If the value is neither, or an empty string.
    ValueError
        If the string has characters that cannot be printed: control characters, line ends, half surrogate pairs.
    """
    if value is None or (isinstance(value, str) and value):
        if value is not None and not value.isprintable():
            raise ValueError(f"{where}={ascii(value)} has characters that cannot be printed. Give a name without them.")
        return value
    raise _wrong_type(where, value, "a non-empty string, or None for a default")
