"""Memory-mapped arrays on their way to another process: by the name of their file."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import Array


def by_name(value: Any) -> Any:
    """Data, in tuples and lists too, with arrays that lie in a file so that pickle takes the file's name only."""
    if type(value) in (tuple, list):
        return type(value)(map(by_name, value))
    return value if _whole(value) is None else value.view(_InFile)


class _InFile(np.ndarray[Any, Any]):
    """A memory-mapped array, or a view of one."""

    def __reduce__(self) -> tuple[Any, ...]:
        whole = _whole(self)
        first, own = (array.__array_interface__["data"][0] for array in (whole, self))
        return _open, (str(whole.filename), whole.offset + own - first, self.shape, self.strides, self.dtype)


def _whole(value: Any) -> Any:
    """The memory-mapped array that `value` is or shows a part of; None if there is none whose file has its numbers."""
    while isinstance(getattr(value, "base", None), np.ndarray):
        value = value.base
    in_file = isinstance(value, np.memmap) and value.filename is not None and value.mode != "c"  # a private copy
    return value if in_file else None


def _open(file: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    array: Array = np.ndarray(shape, dtype, np.memmap(file, mode="r").data, offset, strides)
    return array
