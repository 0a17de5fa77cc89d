"""A stand-in for CuPy whose "device memory" is NumPy's, for tests without a GPU.

It is as strict as CuPy where that matters: nothing turns into a NumPy array by itself, NumPy arrays do not mix with its
own, and Python integers must fit the dtype they meet. `copies` holds the number of elements of every copy to the host,
so that a test can tell single numbers from whole arrays. Only what fastdense and its tests use is here; names and
signatures are CuPy's. `Tensor` and `Foreign` stand for arrays of other libraries.
"""

from __future__ import annotations

import functools
import operator
import sys
import types
from typing import Any

import numpy as np

copies: list[int] = []  # elements of each copy from the "device" to the host
waited: list[int] = []  # streams that `asarray` has waited for


def _inside(value: Any) -> Any:
    """The NumPy arrays behind the arguments of a call."""
    if isinstance(value, ndarray):
        return value._array
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, (tuple, list)):
        return type(value)(map(_inside, value))
    return value


def _outside(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_outside, value))
    return ndarray(np.asarray(value)) if isinstance(value, (np.ndarray, np.generic)) else value


def _fits(array: np.ndarray[Any, Any], other: Any) -> None:
    if type(other) is int and array.dtype.kind in "iu":
        limits = np.iinfo(array.dtype)
        if not limits.min <= other <= limits.max:
            raise OverflowError(f"Python integer {other} out of bounds for {array.dtype}.")


class ndarray:
    """An array that is to be taken for one in a GPU's memory."""

    __array_priority__ = 100

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self._array = array

    shape = property(lambda self: self._array.shape)
    strides = property(lambda self: self._array.strides)
    dtype = property(lambda self: self._array.dtype)
    itemsize = property(lambda self: self._array.itemsize)
    ndim = property(lambda self: self._array.ndim)
    size = property(lambda self: self._array.size)
    nbytes = property(lambda self: self._array.nbytes)
    flags = property(lambda self: self._array.flags)
    T = property(lambda self: ndarray(self._array.T))
    data = property(lambda self: types.SimpleNamespace(ptr=self._array.ctypes.data, device_id=0))
    device = property(lambda self: types.SimpleNamespace(id=0))

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        array = self._array
        return {
            "version": 3,
            "shape": array.shape,
            "typestr": array.dtype.str,
            "descr": array.dtype.descr,
            "strides": None if array.flags.c_contiguous else array.strides,
            "data": (array.ctypes.data if array.size else 0, False),
            "stream": cuda.get_current_stream().ptr or 1,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    # -- to the host -------------------------------------------------------------------------------------------------

    def get(self) -> np.ndarray[Any, Any]:
        copies.append(self.size)
        return self._array.copy()

    def item(self) -> Any:
        return self.get().item()

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def __bool__(self) -> bool:
        return bool(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __format__(self, spec: str) -> str:
        return format(self.get(), spec)

    def __repr__(self) -> str:
        return repr(self.get())

    # -- parts -------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, key: Any) -> ndarray:
        return ndarray(np.asarray(self._array[_inside(key)]))

    def __setitem__(self, key: Any, value: Any) -> None:
        self._array[_inside(key)] = _inside(value)

    # -- NumPy's functions, which call CuPy's ------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return _outside(getattr(ufunc, method)(*map(_inside, inputs), **options))

    def __array_function__(self, function: Any, kinds: Any, args: Any, options: Any) -> Any:
        mine = getattr(sys.modules[__name__], function.__name__, None)
        return NotImplemented if mine is None else mine(*args, **options)


def _method(name: str) -> Any:
    def call(self: ndarray, *args: Any, **options: Any) -> Any:
        return _outside(getattr(self._array, name)(*map(_inside, args), **options))

    return call


def _unary(self: ndarray, function: Any) -> Any:
    return _outside(function(self._array))


def _operator(name: str, function: Any) -> None:
    def forward(self: ndarray, other: Any) -> Any:
        _fits(self._array, other)
        return _outside(function(self._array, _inside(other)))

    def backward(self: ndarray, other: Any) -> Any:
        _fits(self._array, other)
        return _outside(function(_inside(other), self._array))

    def in_place(self: ndarray, other: Any) -> ndarray:
        _fits(self._array, other)
        self._array = getattr(operator, f"i{name.strip('_')}")(self._array, _inside(other))
        return self

    setattr(ndarray, f"__{name.strip('_')}__", forward)
    if name.strip("_") not in ("lt", "le", "eq", "ne", "gt", "ge"):
        setattr(ndarray, f"__r{name.strip('_')}__", backward)
        setattr(ndarray, f"__i{name.strip('_')}__", in_place)


METHODS = """
all any argsort astype copy max mean min ravel repeat reshape sort std sum transpose var view"""
BINARY = "add and_ eq floordiv ge gt le lt matmul mod mul ne or_ pow sub truediv xor"
FUNCTIONS = """
abs arange argmax argmin array_equal ascontiguousarray bincount clip concatenate copysign cos cumsum empty full isfinite
log1p max min minimum ndim ones rint searchsorted shape sin square stack sum take_along_axis unique where zeros"""

for _name in METHODS.split():
    setattr(ndarray, _name, _method(_name))


def _argument_of(name: str) -> Any:
    def call(self: ndarray, axis: int | None = None) -> Any:
        if axis is None and not self._array.flags.c_contiguous:
            raise AssertionError(f"{name} of a whole array that is not in C order: CuPy's may count in another")
        return _outside(getattr(self._array, name)(axis))

    return call


ndarray.argmax, ndarray.argmin = _argument_of("argmax"), _argument_of("argmin")  # type: ignore[attr-defined]
for _name in BINARY.split():
    _operator(_name, getattr(operator, _name))
for _name in ("abs", "invert", "neg", "pos"):
    setattr(ndarray, f"__{_name}__", functools.partialmethod(_unary, getattr(operator, _name)))
ndarray.__module__ = "cupy"


# -- functions of the module -----------------------------------------------------------------------------------------


def _from_numpy(function: Any) -> Any:
    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        return _outside(function(*map(_inside, args), **options))

    return call


for _name in FUNCTIONS.split():
    globals()[_name] = _from_numpy(getattr(np, _name))


def asarray(a: Any, dtype: Any = None) -> ndarray:
    """Host data are copied, arrays of other libraries are not, once their stream has done its work."""
    if isinstance(a, ndarray):
        return a if dtype is None else ndarray(a._array.astype(dtype, copy=False))
    if hasattr(a, "__cuda_array_interface__"):
        interface = dict(a.__cuda_array_interface__)
        if interface.pop("stream", None):
            waited.append(a.__cuda_array_interface__["stream"])
        holder = types.SimpleNamespace(__array_interface__=interface, owner=a)
        return ndarray(np.asarray(holder, dtype))
    return ndarray(np.array(a, dtype))


def from_dlpack(array: Any) -> ndarray:
    capsule = array.__dlpack__(stream=cuda.get_current_stream().ptr or 1)
    holder = types.SimpleNamespace(__dlpack__=lambda **_: capsule, __dlpack_device__=lambda: (1, 0))
    return ndarray(np.from_dlpack(holder))


def asnumpy(a: Any) -> np.ndarray[Any, Any]:
    return a.get() if isinstance(a, ndarray) else np.asarray(a)


class Stream:
    """A stream that is only a number; the emulated engine has streams of its own."""

    def __init__(self, ptr: int = 0x5EA) -> None:
        self.ptr = ptr

    def __enter__(self) -> Stream:
        _streams.append(self)
        return self

    def __exit__(self, *exception: object) -> None:
        _streams.pop()


ExternalStream = Stream
_streams = [Stream(0)]
cuda = types.SimpleNamespace(Stream=Stream, ExternalStream=Stream, get_current_stream=lambda: _streams[-1])


# -- arrays of other libraries ---------------------------------------------------------------------------------------


class Tensor:
    """An array that offers DLPack, as a torch tensor on a GPU does; it notes the streams it is asked for."""

    def __init__(self, array: Any) -> None:
        self.array, self.streams = np.ascontiguousarray(array), list[int]()

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, stream: int | None = None, **options: Any) -> Any:
        self.streams.append(-1 if stream is None else stream)
        return self.array.__dlpack__()

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")

    def cpu(self) -> Any:
        return self.array


class Foreign:
    """An array that offers ``__cuda_array_interface__`` and nothing else, as numba's do."""

    def __init__(self, array: Any, stream: int | None = None) -> None:
        self.array, self.stream = np.ascontiguousarray(array), stream

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        interface = {key: self.array.__array_interface__[key] for key in ("shape", "typestr", "data", "strides")}
        return {**interface, "version": 3, "stream": self.stream}

    def copy_to_host(self) -> Any:
        return self.array


Tensor.__module__ = "fake_cupy"  # messages name the package of an array
