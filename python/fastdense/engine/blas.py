"""The BLAS of NumPy, bounded to one thread while it computes initial values.

`n_threads` of fastdense's functions holds for its own engines; NumPy's products and factorizations use all cores of
their own accord. Initial values need few of these, so that one thread does, whatever `n_threads` is: the values then do
not depend on the number of cores either.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

FOLDERS = ("../numpy.libs", ".dylibs")  # where NumPy's wheels keep their libraries
NAMES = ("scipy_openblas_{}_num_threads64_", "scipy_openblas_{}_num_threads", "openblas_{}_num_threads64_",
         "openblas_{}_num_threads")  # fmt: skip
BUFFER = 64 << 20  # bytes, twice what OpenBLAS takes for each thread
FLOPS = 1e9  # of one call of NumPy's BLAS, which cannot be left: 30 ms or so
BLOCK = 128  # columns that are decomposed at once


class _Users:
    """How many callers need one thread now, and how many threads there were before the first of them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count = self.threads_before = 0


_users = _Users()


@contextlib.contextmanager
def one_numpy_thread() -> Iterator[None]:
    """NumPy's OpenBLAS computes with one thread inside; a NumPy that was built with another BLAS is left as it is.

    Raises
    ------
    MemoryError
        If there is no memory for the buffer of a product: OpenBLAS would end the process.
    """
    functions, entered = _thread_functions(), False
    if functions is None:
        yield
        return
    get, set_to = functions
    np.empty(BUFFER, np.uint8)  # only reserved, and given back
    try:
        with _users.lock:
            if not _users.count:
                _users.threads_before = get()
                set_to(1)
            _users.count += 1
            entered = True
        yield
    finally:
        if entered:
            with _users.lock:
                _users.count -= 1
                if not _users.count:
                    set_to(_users.threads_before)


@functools.cache
def _thread_functions() -> tuple[Any, Any] | None:
    """The functions of NumPy's OpenBLAS that get and set its number of threads."""
    for folder in FOLDERS:
        folder = os.path.join(os.path.dirname(np.__file__), folder)
        for file in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            if "openblas" not in file:
                continue
            with contextlib.suppress(OSError):
                library = ctypes.CDLL(os.path.join(folder, file))  # NumPy has loaded it
                for name in NAMES:
                    if hasattr(library, name.format("set")) and hasattr(library, name.format("get")):
                        return library[name.format("get")], library[name.format("set")]
    return None


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``a @ b`` by parts of its columns, between which Ctrl-C is noticed."""
    columns = max(1, int(FLOPS / max(1, 2 * a.shape[0] * a.shape[1])))
    if columns >= b.shape[1]:
        return np.asarray(a @ b)
    out = np.empty((a.shape[0], b.shape[1]), np.result_type(a, b))
    for first in range(0, b.shape[1], columns):
        np.matmul(a, b[:, first : first + columns], out=out[:, first : first + columns])
    return out


def qr(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Q (rows, columns) and the diagonal of R of a float64 matrix that has no fewer rows than columns.

    Large matrices are decomposed by block columns, between which Ctrl-C is noticed: a block's reflections are
    I - V T V^T (Schreiber and Van Loan, 1989), with LAPACK's V and scales.
    """
    rows, columns = a.shape
    if rows * columns * columns < FLOPS:
        q, r = np.linalg.qr(a)
        return q, np.diagonal(r)
    rest, diagonal, blocks = a.copy(), np.empty(columns), []
    for first in range(0, columns, BLOCK):
        last = min(first + BLOCK, columns)
        packed, scales = np.linalg.qr(rest[first:, first:last], mode="raw")
        packed = packed.T
        diagonal[first:last] = np.diagonal(packed)
        v = np.tril(packed, -1)
        np.fill_diagonal(v, 1.0)
        t = np.zeros((last - first, last - first))
        for i, scale in enumerate(scales):
            t[i, i] = scale
            t[:i, i] = -scale * (t[:i, :i] @ (v[:, :i].T @ v[:, i]))
        blocks.append((first, v, t))
        if last < columns:
            below = rest[first:, last:]
            below -= product(v, t.T @ product(v.T, below))
    q = np.eye(rows, columns)
    for first, v, t in reversed(blocks):
        below = q[first:, first:]
        below -= product(v, t @ product(v.T, below))
    return q, diagonal
