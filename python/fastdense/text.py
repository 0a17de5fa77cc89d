"""Forms of names and numbers in text."""

from __future__ import annotations

import re
from collections.abc import Sequence


def snake_case(name: str) -> str:
    """A class name in lower case with underscores: "BatchNorm" is "batch_norm"."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def bytes_text(count: int, units: Sequence[str] = ("B", "KiB", "MiB", "GiB"), *, whole: bool = True) -> str:
    """A number of bytes in the largest unit that it reaches, each 1024 times the one before; two decimals.

    With `whole`, a number in the first unit has no decimals.
    """
    size, power = float(count), 0
    while size >= 1024 and power < len(units) - 1:
        size, power = size / 1024, power + 1
    return f"{size:.2f} {units[power]}" if power or not whole else f"{count} {units[0]}"
