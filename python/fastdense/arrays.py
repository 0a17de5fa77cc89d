"""From anything that holds numbers to a plain array where they lie, without a copy wherever that is possible.

In the host's memory that is a NumPy array, in a GPU's a CuPy array (and `Array` stands for both): `namespace_of` gives
the library that works on one, so that checks are written once. CuPy is imported when the first such array comes.

Messages of all checks are made by `fail`: where, what was given, what is needed, what to do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from numbers import Real
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_PLAIN = frozenset(map(np.dtype, "?bBhHiIlLqQfd"))  # what is taken as it is
_DLPACK_CUDA = (2, 13)  # device types of DLPack: memory of a GPU, and memory that it shares with the host


class TooLargeError(ValueError, MemoryError):
    """Something was asked for that cannot fit in this machine's memory."""


def fail(where: str, given: str, needed: str, remedy: str = "") -> NoReturn:
    """Raise ValueError in the one form that all messages have."""
    raise ValueError(f"{where}: {given}; {needed}" + (f": {remedy}" if remedy else ""))


def as_array(where: str, name: str, value: object, device: str | None = None) -> Array:
    """Turn `value` into a plain array of bools, integers, float32 or float64, without a copy wherever that is possible.

    float16 becomes float32, wider floats become float64, foreign byte order becomes native: only these are copied.
    `device` is that of the model the numbers are for: a "cuda" model takes them on a GPU too, where they stay. None:
    they are no data, and needed in the host's memory whatever the model.
    """
    if type(value) is np.ndarray and value.dtype in _PLAIN:
        return value
    if value is None:
        fail(
            where, f"{name} is None", f"{name} must be an array", "pass a NumPy array, a list, a data frame or a tensor"
        )
    if np.ma.isMaskedArray(value) and np.ma.is_masked(value):
        hidden = int(np.ma.getmaskarray(value).sum())
        fail(
            where,
            f"{name} is a masked array with {hidden} masked values",
            "every value is needed",
            f"fill them, e.g. {name}.filled(0), or drop those rows",
        )
    if hasattr(value, "toarray") and not hasattr(value, "__array__"):
        fail(
            where,
            f"{name} is a sparse matrix ({type(value).__name__})",
            "dense arrays are needed",
            f"pass {name}.toarray()",
        )
    if on_gpu(value):
        return _as_numbers(where, name, value, _gpu_array(where, name, value, device))
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            array: Array = np.from_dlpack(value)
        else:
            array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError, BufferError, OverflowError) as error:
        fail(
            where,
            f"{name} ({type(value).__name__}) cannot be read as an array ({_reason(error)})",
            "rows of equal length in this machine's memory are needed",
            f"pass {name} as a NumPy array; for a tensor {name}.detach().cpu().numpy()",
        )
    return _as_numbers(where, name, value, array)


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


# ---- arrays on a GPU -----------------------------------------------------------------------------------------------


def on_gpu(value: object) -> bool:
    """Whether the numbers of `value` lie in the memory of an NVIDIA GPU: CuPy arrays, torch tensors and others."""
    if isinstance(value, np.ndarray):
        return False
    try:
        if hasattr(value, "__dlpack_device__"):
            return int(value.__dlpack_device__()[0]) in _DLPACK_CUDA
        return hasattr(value, "__cuda_array_interface__")
    except (RuntimeError, TypeError, ValueError, BufferError):  # what exports nothing is read in other ways
        return False


def _gpu_array(where: str, name: str, value: Any, device: str | None) -> Array:
    """A CuPy array of the same memory; work queued on it comes before what CuPy's current stream does next."""
    given = f"{name} is in the memory of a GPU ({type(value).__module__.split('.')[0]}.{type(value).__name__})"
    calls = {"get": ".get()", "cpu": ".detach().cpu()", "copy_to_host": ".copy_to_host()"}
    copied = next((name + call for method, call in calls.items() if hasattr(value, method)), f"np.asarray({name})")
    if device is None:
        fail(where, given, f"{name} is needed in the host's memory", f"pass {copied}")
    if device != "cuda":
        remedy = f"pass {copied}, or move the model with model.to('cuda')"
        fail(where, given, f"this model is on device='{device}', which reads the host's memory", remedy)
    try:
        cupy = import_module("cupy")
    except ImportError as error:
        raise ImportError(
            f"{where}: {given}; CuPy is needed to look at it there, and cannot be imported ({error}): "
            f"pip install 'fastdense[cuda]', or pass {copied}"
        ) from error
    try:
        if isinstance(value, cupy.ndarray):
            array: Array = value
        elif hasattr(value, "__dlpack__"):  # its owner then makes CuPy's current stream wait for its own
            array = cupy.from_dlpack(value)
        else:  # CuPy waits for the stream that the interface names
            array = cupy.asarray(value)
    except (ValueError, TypeError, RuntimeError, BufferError) as error:
        fail(
            where,
            f"{name} ({type(value).__name__}) cannot be read as an array on a GPU ({_reason(error)})",
            "bool, integer or floating numbers are needed",
            f"pass {name} as a CuPy array; for a tensor {name}.detach()",
        )
    return array


def namespace_of(array: Array) -> Any:
    """The library that works on an array where it lies: NumPy or CuPy."""
    return np if isinstance(array, np.ndarray) else import_module("cupy")


def to_host(array: Array) -> Array:
    """The same numbers in the host's memory; those of a CuPy array are copied, so that this is for few of them."""
    host: Array = array if isinstance(array, np.ndarray) else namespace_of(array).asnumpy(array)
    return host


def beside(array: Array, other: Array) -> Array:
    """`array`, copied to the GPU if only `other` is there."""
    there: Array = array if isinstance(other, np.ndarray) else namespace_of(other).asarray(array)
    return there


def empty_beside(other: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    """An array to be filled, where `other` lies."""
    made: Array = namespace_of(other).empty(shape, dtype)
    return made


# ---- numbers -------------------------------------------------------------------------------------------------------


def _as_numbers(where: str, name: str, value: object, array: Array) -> Array:
    kind, given = array.dtype.kind, f"{name} has dtype {array.dtype}"
    given_dtype = getattr(value, "dtype", None)
    if kind == "c":
        fail(
            where,
            given,
            "real numbers are needed",
            f"pass np.abs({name}), or both parts as columns: np.hstack([{name}.real, {name}.imag])",
        )
    if kind in "SU" or (kind == "O" and array.ndim == 0):
        _fail_not_numbers(where, name, value, array)
    if kind == "O":
        place = _first_not_a_number(array)
        if place is not None:
            item, position, column = array[place], position_of(name, place), _column_name(value, place)
            if isinstance(item, Real):  # an integer or a fraction
                text = f"{given}: {position}{column} is beyond the largest float64"
                fail(where, text, "numbers that float64 holds are needed", "use another unit, or drop such rows")
            remedy = "turn categories into numbers (one column each) and fill what is missing"
            if isinstance(item, str) and array.ndim == 1:
                remedy = _label_remedy(name)
            fail(
                where, f"{given}: {position}{column} is {item!r} ({type(item).__name__})", "numbers are needed", remedy
            )
        if isinstance(given_dtype, np.dtype) and given_dtype.hasobject:
            fail(where, given, "a numeric dtype is needed", f"pass np.asarray({name}, dtype='float32')")
        return array.astype(np.float64)  # a table whose columns have different dtypes, or a list of odd numbers
    if kind in "mM":
        fail(where, given, "numbers are needed", f"pass differences in a fixed unit, e.g. {name}.astype('int64')")
    if kind not in "biuf":
        fail(where, given, "bool, integer or floating numbers are needed", f"pass {name}.astype('float32')")
    if kind == "f" and array.dtype.itemsize == 2:
        if isinstance(array, np.ndarray):
            check_memory(where, 4 * array.size, f"{name} in float32", "store it as float32")
        return array.astype(np.float32)
    if kind == "f" and array.dtype.itemsize > 8:
        check_memory(where, 8 * array.size, f"{name} in float64", "store it as float64")
        return array.astype(np.float64)
    if not array.dtype.isnative:
        check_memory(where, array.nbytes, f"{name} in native byte order", "store it in native byte order")
        return array.astype(array.dtype.newbyteorder("="))
    return array


def _fail_not_numbers(where: str, name: str, value: object, array: Array) -> NoReturn:
    if array.ndim == 0 and array.dtype.kind == "O":
        what = f"{name} is a {type(value).__name__}"
        if isinstance(value, Iterator):
            fail(where, what, "the whole array is needed", f"collect it first, e.g. np.stack(list({name}))")
        fail(where, what, "an array of numbers is needed", f"pass {name} as a NumPy array, a list or a data frame")
    first = array.reshape(-1)[0].item() if array.size else ""
    fail(
        where,
        f"{name} has dtype {array.dtype} (text, e.g. {first!r})",
        "numbers are needed",
        _text_remedy(name, array),
    )


def _text_remedy(name: str, array: Array) -> str:
    if array.ndim > 1 or name.endswith(("x", "sample_weight", "]")):
        return "turn text into numbers, e.g. one column of 0 and 1 per category"
    return _label_remedy(name)


def _label_remedy(name: str) -> str:
    return f"turn labels into class ids with classes, {name} = np.unique({name}, return_inverse=True)"


def _first_not_a_number(array: Array) -> tuple[int, ...] | None:
    for i, item in enumerate(array.flat):
        try:
            if not isinstance(item, str):
                float(item)
                continue
        except (TypeError, ValueError, OverflowError):
            pass
        return tuple(int(k) for k in np.unravel_index(i, array.shape))
    return None


def _column_name(value: object, place: tuple[int, ...]) -> str:
    names = list(getattr(value, "columns", ()))
    return f" (column {names[place[1]]!r})" if len(place) == 2 and len(names) > place[1] else ""


def position_of(name: str, place: tuple[int, ...]) -> str:
    return f"{name}[{', '.join(map(str, place))}]"


def first_place(bad: Array) -> tuple[int, ...]:
    """Where the first True is, row by row; raveled first, since in Fortran order CuPy may count otherwise."""
    return tuple(int(i) for i in np.unravel_index(int(bad.ravel().argmax()), bad.shape))


@cache
def memory_limit() -> int:
    """Bytes of memory this process can hope for: the machine's, or less inside a container; 0 if unknown. Read once."""
    try:
        limit = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
    try:
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as file:
            limit = min(limit, int(file.read()))
    except (OSError, ValueError):
        pass
    return limit


def check_memory(where: str, needed: int, what: str, remedy: str) -> None:
    """Raise TooLargeError if `needed` bytes cannot fit."""
    limit = memory_limit()
    if limit and needed > limit:
        raise TooLargeError(
            f"{where}: {what} takes {needed / 2**30:.3g} GiB; this machine has {limit / 2**30:.3g} GiB: {remedy}"
        )
