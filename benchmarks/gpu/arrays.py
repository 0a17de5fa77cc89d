"""Arrays of CuPy, PyTorch and JAX as data and as results: `python -m benchmarks.gpu.arrays DEVICE` tries them.

One line of JSON: by case "ok", why it is not here, or what is wrong. Every case trains the same small net on the same
numbers, as some library holds them; weights and outputs must be those of NumPy's arrays, to the bit. "late" arrays are
full of NaN until work that is queued on their stream, behind some milliseconds of other work, has filled them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np

import fastdense as fd
from benchmarks.gpu.setting import first_line

ROWS, INPUTS, BUSY = 96, 6, 4096  # BUSY: side of the products that keep a stream busy, on a GPU
Case = Callable[[Any, Any, str], AbstractContextManager[tuple[Any, Any]]]


class NotHere(Exception):
    """A case that this machine or device has no library or no streams for."""


def trained(device: str, x: Any, y: Any) -> tuple[list[Any], Any]:
    """Weights after two epochs, and the outputs for x."""
    model = fd.Model([fd.Dense(8, "tanh"), fd.Dense(3, "softmax")], inputs=INPUTS, seed=3, device=device)
    model.compile(fd.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(x, y, batch_size=32, epochs=2, verbose=0)
    return model.get_weights(), model.predict(x)


def library(name: str) -> Any:
    """The module, if it is installed."""
    try:
        return __import__(name)
    except ImportError as error:
        raise NotHere(f"{name} is not installed") from error


def cupy_for(device: str) -> Any:
    if device == "cpu":
        raise NotHere("CuPy's arrays are on GPUs")
    return library("cupy")


@contextmanager
def numpy_lists(x: Any, y: Any, device: str) -> Iterator[tuple[Any, Any]]:
    yield x.tolist(), y.tolist()


@contextmanager
def cupy_plain(x: Any, y: Any, device: str) -> Iterator[tuple[Any, Any]]:
    cupy = cupy_for(device)
    yield cupy.asarray(x), cupy.asarray(y)


@contextmanager
def cupy_strided(x: Any, y: Any, device: str) -> Iterator[tuple[Any, Any]]:
    cupy = cupy_for(device)
    wide = cupy.zeros((2 * ROWS, 3 * INPUTS), cupy.float64)
    wide[::2, ::3] = cupy.asarray(x)
    yield wide[::2, ::3], cupy.asarray(y.astype(np.int64))[::1]


@contextmanager
def cupy_late(x: Any, y: Any, device: str) -> Iterator[tuple[Any, Any]]:
    cupy = cupy_for(device)
    source, target = cupy.asarray(x), cupy.full(x.shape, np.nan, np.float32)
    big = cupy.ones((BUSY, BUSY), np.float32)
    cupy.cuda.Device().synchronize()
    with cupy.cuda.Stream(non_blocking=True):
        for _ in range(8):
            big = big @ big
        target[...] = source
        yield target, cupy.asarray(y)


def torch_tensors(x: Any, y: Any, device: str) -> tuple[Any, Any, Any]:
    torch = library("torch")
    return torch, torch.from_numpy(x.copy()).to(device), torch.from_numpy(y.copy()).to(device)


@contextmanager
def torch_plain(x: Any, y: Any, device: str) -> Iterator[tuple[Any, Any]]:
    yield torch_tensors(x, y, device)[1:]


@contextmanager
def torch_strided(x: Any, y: Any, device: str) -> Iterator[tuple[Any, Any]]:
    _, a, b = torch_tensors(x, y, device)
    yield a.double().T.contiguous().T, b.long()


@contextmanager
def torch_late(x: Any, y: Any, device: str, side: bool = False) -> Iterator[tuple[Any, Any]]:
    torch, source, target = torch_tensors(x, y, device)
    if device == "cpu":
        raise NotHere("there are no streams")
    late, big = torch.full_like(source, torch.nan), torch.ones((BUSY, BUSY), device=device)
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()) if side else contextlib.nullcontext():
        for _ in range(8):
            big = big @ big
        late.copy_(source)
        yield late, target


def torch_late_aside(x: Any, y: Any, device: str) -> AbstractContextManager[tuple[Any, Any]]:
    return torch_late(x, y, device, side=True)


@contextmanager
def torch_with_gradient(x: Any, y: Any, device: str) -> Iterator[tuple[Any, Any]]:
    """Refused, with the remedy; then as the message says."""
    _, a, b = torch_tensors(x, y, device)
    a.requires_grad_()
    try:
        trained(device, a, b)
    except ValueError as error:
        assert "detach()" in str(error), f"the message does not say detach(): {error}"
    else:
        raise AssertionError("a tensor that requires its gradient was taken")
    yield a.detach(), b


@contextmanager
def jax_late(x: Any, y: Any, device: str) -> Iterator[tuple[Any, Any]]:
    jax = library("jax")
    if jax.default_backend() != ("gpu" if device == "cuda" else "cpu"):
        raise NotHere(f"JAX's arrays are on {jax.default_backend()}")
    side = BUSY if device == "cuda" else 64
    big = jax.numpy.ones((side, side))
    for _ in range(8):
        big = big @ big / side
    yield jax.numpy.asarray(x) + 0 * big[0, 0], jax.numpy.asarray(y)


CASES: dict[str, Case] = {
    "lists": numpy_lists,
    "cupy": cupy_plain,
    "cupy, strided float64": cupy_strided,
    "cupy, late, its own stream": cupy_late,
    "torch": torch_plain,
    "torch, strided float64": torch_strided,
    "torch, late": torch_late,
    "torch, late, its own stream": torch_late_aside,
    "torch, requires_grad": torch_with_gradient,
    "jax, late": jax_late,
}


def host(array: Any) -> Any:
    """The numbers of a result; on a GPU they must be in a CuPy array that PyTorch can take over."""
    if isinstance(array, np.ndarray):
        return array
    with contextlib.suppress(NotHere):
        assert tuple(library("torch").from_dlpack(array).shape) == tuple(array.shape)
    return array.get()


def attempt(case: Case, device: str, expected: tuple[list[Any], Any], x: Any, y: Any) -> str:
    """The result of one case."""
    try:
        with case(x, y, device) as (a, b):
            weights, outputs = trained(device, a, b)
            on_gpu = not isinstance(outputs, np.ndarray)
            assert on_gpu == fd.arrays.on_gpu(a), f"outputs are a {type(outputs).__name__} for a {type(a).__name__}"
            outputs = host(outputs)
    except NotHere as reason:
        return f"not here: {reason}"
    except Exception as error:
        return first_line(error)
    for one, other in zip([*weights, outputs], [*expected[0], expected[1]], strict=True):
        if not np.array_equal(one, other):
            return f"other numbers than NumPy's: {np.abs(one - other).max():.3g} at most"
    return "ok"


def run(device: str) -> dict[str, str]:
    """All cases."""
    random = np.random.RandomState(0)
    x, y = random.rand(ROWS, INPUTS).astype(np.float32), random.randint(0, 3, ROWS).astype(np.int32)
    expected = trained(device, x, y)
    return {name: attempt(case, device, expected, x, y) for name, case in CASES.items()}


def main(arguments: list[str]) -> int:
    """Print everything; exit code 1 if something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.arrays")
    parser.add_argument("device", choices=("cuda", "cpu"))
    options = parser.parse_args(arguments)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # JAX would take most of the memory
    found = run(options.device)
    print(json.dumps(found))
    return int(any(said != "ok" and not said.startswith("not here") for said in found.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
