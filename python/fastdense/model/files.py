"""The codec of model files: the safetensors format, with everything that is not a tensor as JSON in its metadata.

A file is 8 bytes (length of the header, little-endian), the header (JSON: dtype, shape and offset of every tensor) and
the tensors one after another. Reading parses JSON and copies numbers; nothing in a file is ever run. The format is
simple enough to be written here, so that NumPy suffices; the `safetensors` library reads and writes the same files.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..arrays import Array

Path = str | os.PathLike[str]
FORMAT = 1
_MOST_HEADER = 100_000_000  # bytes, the limit of the safetensors library
_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}


class _Damaged(Exception):
    """What is wrong with a file, in words."""


# ---- safetensors ---------------------------------------------------------------------------------------------------


def write_tensors(path: Path, tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, first under another name, so that `path` is the old file or the new one, whole."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    blocks, end = [], 0
    for name, tensor in tensors.items():
        block = np.ascontiguousarray(tensor, dtype=tensor.dtype.newbyteorder("<"))
        begin, end = end, end + block.nbytes
        header[name] = {"dtype": _CODES[block.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
        blocks.append(block)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path = os.path.realpath(path)
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.urandom(8).hex()}.tmp")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for block in blocks:
                file.write(_bytes(block))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            os.chmod(temporary, os.stat(path).st_mode & 0o777)
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.errno is not None:  # name the file that was asked for
            raise OSError(error.errno, f"save: {error.strerror}", path) from error
        raise
    _sync_folder(folder)


def _bytes(array: Array) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _sync_folder(folder: str) -> None:
    with contextlib.suppress(OSError, AttributeError):  # not every system has folders that can be synced
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_tensors(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """Read a safetensors file of float32 and float64 tensors; raises _Damaged unless every byte is where it must be."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(8)
        length = int.from_bytes(head, "little")
        if len(head) < 8 or not 2 <= length <= min(_MOST_HEADER, size - 8):
            raise _Damaged("it is not a safetensors file, or it is cut short")
        try:
            header = json.loads(file.read(length).decode("utf-8"))
            if not isinstance(header, dict):
                raise ValueError
            metadata = header.pop("__metadata__", {})
            entries = [_entry(name, entry) for name, entry in header.items()]
        except (TypeError, ValueError, RecursionError) as error:
            raise _Damaged("its header is not that of a safetensors file") from error
        entries.sort(key=lambda entry: (entry[3], entry[4]))
        tensors: dict[str, Array] = {}
        end = 0
        for name, dtype, shape, begin, stop in entries:
            if begin != end or stop - begin != dtype.itemsize * math.prod(shape) or stop > size - 8 - length:
                raise _Damaged(f"tensor {name!r} is not where its header says")
            values = np.fromfile(file, dtype, math.prod(shape)) if math.prod(shape) else np.empty(0, dtype)
            tensors[name] = values.reshape(shape).astype(dtype.newbyteorder("="), copy=False)
            end = stop
        if end != size - 8 - length:
            raise _Damaged("it is longer or shorter than its header says")
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _Damaged("its metadata is not text")
    return tensors, metadata


def _entry(name: str, entry: Any) -> tuple[str, np.dtype[Any], tuple[int, ...], int, int]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(name)
    shape, offsets = entry["shape"], entry["data_offsets"]
    numbers = [*shape, *offsets]
    if len(offsets) != 2 or not all(type(n) is int and 0 <= n < 2**62 for n in numbers):
        raise ValueError(name)
    if entry["dtype"] not in _DTYPES:
        raise _Damaged(f"tensor {name!r} has dtype {entry['dtype']!r}, not F32 or F64")
    return name, _DTYPES[str(entry["dtype"])], tuple(shape), int(offsets[0]), int(offsets[1])


# ---- what fastdense keeps in one -----------------------------------------------------------------------------------


def write(path: Path, config: Mapping[str, Any], tensors: Mapping[str, Array]) -> None:
    """Write the description of a model (JSON types) and its tensors, with a checksum of each."""
    text = json.dumps(config)
    sums = {name: zlib.crc32(_bytes(tensor)) for name, tensor in tensors.items()}
    sums["config"] = zlib.crc32(text.encode())
    write_tensors(path, tensors, {"fastdense": text, "crc32": json.dumps(sums)})


def read(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """Read what `write` wrote; ValueError if a byte of it is wrong, or a newer version wrote it."""
    try:
        tensors, metadata = read_tensors(path)
        return _checked_config(tensors, metadata), tensors
    except _Damaged as problem:
        raise unreadable(path, *problem.args) from None


def unreadable(
    path: Path, problem: str, remedy: str = "give a file that model.save wrote, or save it again"
) -> ValueError:
    """The error to raise for a file that holds no model that can be made."""
    return ValueError(f"load: {os.fspath(path)!r} cannot be loaded: {problem}; {remedy}")


def _checked_config(tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> dict[str, Any]:
    """The description of the model, after every checksum was verified."""
    if "fastdense" not in metadata:
        raise _Damaged("it holds tensors, but no fastdense model")
    sums = {name: zlib.crc32(_bytes(tensor)) for name, tensor in tensors.items()}
    sums["config"] = zlib.crc32(metadata["fastdense"].encode())
    try:
        config = json.loads(metadata["fastdense"])
        good = json.loads(metadata["crc32"]) == sums
        version, number = config["version"], int(config["format"])
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise _Damaged("its metadata is damaged") from error
    if not good:
        raise _Damaged("its contents do not agree with their checksums")
    if number > FORMAT:
        raise _Damaged(
            f"fastdense {version} wrote it in format {number}; this version reads up to format {FORMAT}",
            "update fastdense",
        )
    checked: dict[str, Any] = config
    return checked
