"""The codec of model files and ensembles: the safetensors format, with all that is no tensor as JSON in its metadata.

A file is 8 bytes (length of the header, little-endian), the header (JSON: dtype, shape and offset of every tensor) and
the tensors one after another. Reading parses JSON and copies numbers; nothing in a file is ever run. The format is
simple enough to be written here, so that NumPy suffices; the `safetensors` library reads and writes the same files.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import stat
import zlib
from collections.abc import Iterator, Mapping
from io import BufferedReader, BytesIO
from typing import IO, Any, BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

import numpy as np

from ..arguments import integer, shorten
from ..arrays import Array, check_memory
from ..layers import TensorSpec
from ..layers.function import MissingFunction
from ..lazy import needed

Path = str | os.PathLike[str]
FORMAT = 1
OF_KERAS = (b"PK\x03\x04", b"\x89HDF\r\n\x1a\n")  # how its archives and its HDF5 files begin
OWN = "fastdense.safetensors"  # the part of an archive of Keras that is such a file, which Keras leaves alone
_MOST_EXPANSION, _LARGE = 1000, 1 << 26  # times what is stored of a member of more bytes than this
_MOST_HEADER = 100_000_000  # bytes, the limit of the safetensors library
_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}


class _Damaged(Exception):
    """What is wrong with a file, in words."""


# ---- safetensors ---------------------------------------------------------------------------------------------------


def write_tensors(path: Path, tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, first under another name, so that `path` is the old file or the new one, whole."""
    path = os.path.realpath(path)
    try:
        with replacement(path) as file:
            write_tensors_to(file, tensors, metadata)
    except OSError as error:  # name the file that was asked for
        if error.errno is None:
            raise
        raise OSError(error.errno, f"save: {error.strerror}", path) from error


def write_tensors_to(file: IO[bytes], tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write the bytes of a safetensors file."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    blocks, end = [], 0
    for name, tensor in tensors.items():
        block = np.ascontiguousarray(tensor, dtype=tensor.dtype.newbyteorder("<"))
        begin, end = end, end + block.nbytes
        header[name] = {"dtype": _CODES[block.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
        blocks.append(block)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for block in blocks:
        file.write(_bytes(block))


@contextlib.contextmanager
def replacement(path: str) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` at the end of the block, or vanishes if the block raises."""
    mode = _mode_of(path)
    folder, name = os.path.split(path)
    mark = f".fastdense-{zlib.crc32(os.fsencode(name)):08x}-"  # short: `name` may be as long as a file system allows
    _remove_abandoned(folder, mark)
    descriptor, temporary = _locked_file(folder, mark, 0o666 if mode is None else 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if mode is not None and hasattr(os, "fchmod"):
                os.fchmod(file.fileno(), mode)  # before the first byte, so that a private file stays private
            yield file
            file.flush()
            os.fsync(file.fileno())
            if fcntl is not None:
                os.replace(temporary, path)
        if fcntl is None:  # Windows moves no open file
            os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def _mode_of(path: str) -> int | None:
    """Permissions of the file that is there, None if there is none; raises unless it is a regular file."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "there is a device, a pipe or a socket, which is not replaced; give another path")
    return status.st_mode & 0o777


def _locked_file(folder: str, mark: str, mode: int) -> tuple[int, str]:
    """Descriptor and path of a new file; it is locked until it is closed, or its process has ended."""
    while True:
        path = os.path.join(folder, f"{mark}{os.urandom(8).hex()}.tmp")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        if fcntl is None:
            return descriptor, path
        with contextlib.suppress(OSError):  # not every file system has locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.path.exists(path):
            return descriptor, path
        os.close(descriptor)  # another writer took it for abandoned before it was locked


def _remove_abandoned(folder: str, mark: str) -> None:
    """Delete what writers of the same file have left that were killed: theirs alone are not locked."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder or "."):
            if name.startswith(mark) and name.endswith(".tmp"):
                with contextlib.suppress(OSError), _opened(os.path.join(folder, name)) as file:
                    if fcntl is not None:
                        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises if its writer lives
                    os.unlink(file.name)  # raises on Windows if its writer lives


def begins_as(path: Path, marks: tuple[bytes, ...]) -> bool:
    """Whether a file begins with one of these bytes; False for what is no regular file."""
    with _opened(path) as file, contextlib.suppress(OSError):  # `read` tells what is wrong with it
        return stat.S_ISREG(os.fstat(file.fileno()).st_mode) and file.read(8).startswith(marks)
    return False


def _opened(path: Path) -> BufferedReader:
    """The file to be read; a pipe is not waited for."""
    return open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0)))


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
    with _opened(path) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise _Damaged("it is a device, a pipe or a socket")
        return read_tensors_of(file, status.st_size)


def read_tensors_of(file: BufferedReader | BytesIO, size: int) -> tuple[dict[str, Array], dict[str, str]]:
    """Read the bytes of a safetensors file; `size` is how many there are."""
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
        values = np.empty(shape, dtype)
        if file.readinto(_bytes(values)) != values.nbytes:
            raise _Damaged("it has become shorter while it was read")
        tensors[name] = values.astype(dtype.newbyteorder("="), copy=False)
        end = stop
    if end != size - 8 - length:
        raise _Damaged("it is longer or shorter than its header says")
    try:
        "".join(metadata.values()).encode()
    except (AttributeError, TypeError, UnicodeEncodeError) as error:  # the last for half a surrogate pair
        raise _Damaged("its metadata is not text") from error
    return tensors, metadata


def _entry(name: str, entry: Any) -> tuple[str, np.dtype[Any], tuple[int, ...], int, int]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(name)
    shape, offsets = entry["shape"], entry["data_offsets"]
    numbers = [*shape, *offsets]
    if len(offsets) != 2 or not all(type(n) is int and 0 <= n < 2**62 for n in numbers):
        raise ValueError(name)
    if len(shape) > 32 or math.prod(max(n, 1) for n in shape) >= 2**60:  # more than NumPy has, even of an empty array
        raise ValueError(name)
    if entry["dtype"] not in _DTYPES:
        raise _Damaged(f"tensor {name!r} has dtype {entry['dtype']!r}, not F32 or F64")
    return name, _DTYPES[str(entry["dtype"])], tuple(shape), int(offsets[0]), int(offsets[1])


# ---- what fastdense keeps in one -----------------------------------------------------------------------------------


def write(path: Path, config: Mapping[str, Any], tensors: Mapping[str, Array]) -> None:
    """Write the description of a model (JSON types) and its tensors, with a checksum of each."""
    write_tensors(path, tensors, _metadata(config, tensors))


def as_bytes(config: Mapping[str, Any], tensors: Mapping[str, Array]) -> bytes:
    """The bytes of the file that `write` writes."""
    memory = BytesIO()
    write_tensors_to(memory, tensors, _metadata(config, tensors))
    return memory.getvalue()


def _metadata(config: Mapping[str, Any], tensors: Mapping[str, Array]) -> dict[str, str]:
    text = json.dumps(config)
    sums = {name: zlib.crc32(_bytes(tensor)) for name, tensor in tensors.items()}
    sums["config"] = zlib.crc32(text.encode())
    return {"fastdense": text, "crc32": json.dumps(sums)}


def read(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """Read what `write` wrote; ValueError if a byte of it is wrong, or a newer version wrote it."""
    try:
        data = own_part(path)
        tensors, metadata = read_tensors(path) if data is None else read_tensors_of(BytesIO(data), len(data))
        return _checked_config(tensors, metadata), tensors
    except _Damaged as problem:
        raise unreadable(path, *problem.args) from None
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, f"load: {error.strerror}", os.fspath(path)) from error


@contextlib.contextmanager
def described(path: Path) -> Iterator[None]:
    """Around what makes an object of the description in a file: an error says that the file describes none."""
    try:
        yield
    except MissingFunction as missing:
        raise unreadable(path, missing.problem, missing.remedy) from None
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise unreadable(path, f"it does not describe a model ({error})") from error


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
        version, number = config["version"], config["format"]
        if type(number) is not int or number < 1:
            raise ValueError(number)
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


# ---- archives of Keras ----------------------------------------------------------------------------------------------


def own_part(path: Path) -> bytes | None:
    """The file that `write` wrote, as a part of an archive of Keras or of its HDF5 files; None if there is none."""
    if begins_as(path, OF_KERAS[1:]):
        return _own_part_of_h5(path)
    if not begins_as(path, OF_KERAS[:1]):
        return None
    import zipfile  # seldom needed

    try:
        with zipfile.ZipFile(path) as archive:
            if OWN not in archive.namelist():
                return None
            size = archive.getinfo(OWN).file_size
            check_memory("load", 2 * size, f"a file with {size:,} bytes of a model", "use a smaller model")
            return member(path, archive, OWN, size)
    except (OSError, RuntimeError, NotImplementedError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise unreadable(path, f"it is damaged ({type(error).__name__}: {error})") from error


def _own_part_of_h5(path: Path) -> bytes | None:
    h5py: Any = needed("load", "h5py", "h5py", "keras-files")
    try:
        with h5py.File(path, "r") as file:
            if not isinstance(file.get(OWN, getlink=True), h5py.HardLink):  # links lead elsewhere
                return None
            data = file[OWN]
            if not isinstance(data, h5py.Dataset) or data.is_virtual or data.external or data.dtype != np.uint8:
                return None
            if data.ndim != 1 or data.size > data.id.get_storage_size():
                raise unreadable(path, f"{OWN} does not hold its bytes")
            check_memory("load", 2 * data.size, f"a file with {data.size:,} bytes of a model", "use a smaller model")
            found: bytes = data[()].tobytes()
            return found
    except (OSError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise unreadable(path, f"it is damaged ({type(error).__name__}: {error})") from error


def member(path: Path, archive: Any, name: str, most: int) -> bytes:
    """A member of an archive, which must not be much larger than what is stored of it."""
    info = archive.getinfo(name)
    if info.file_size > most or (info.file_size > _LARGE and info.file_size > _MOST_EXPANSION * info.compress_size):
        raise unreadable(path, f"{name} says that it is {info.file_size:,} bytes, of which {info.compress_size:,} are "
                         "stored")  # fmt: skip
    with archive.open(info) as file:
        data: bytes = file.read(info.file_size + 1)
    if len(data) != info.file_size:
        raise unreadable(path, f"{name} is not as long as it says")
    return data


def tensor(tensors: Mapping[str, Array], name: str, needed: TensorSpec) -> Array:
    """A tensor of a file, which must have the shape that a net needs."""
    if name not in tensors:
        raise ValueError(f"there is no tensor {name!r}; {needed.name} needs {needed.shape}")
    if tensors[name].shape != needed.shape:
        raise ValueError(f"tensor {name!r} has shape {tensors[name].shape}; {needed.name} needs {needed.shape}")
    return tensors[name]


def count(config: Mapping[str, Any], key: str, most: int = 2**48) -> int:
    """An integer of a description, at least 0 and at most what engines can count on from."""
    return integer(key, config[key], least=0, most=most)


def names(config: Mapping[str, Any], key: str, number: int) -> tuple[str, ...] | None:
    """So many names of a description, or None if it has none."""
    given = config.get(key)
    if given is None:
        return None
    if not isinstance(given, list) or len(given) != number or not all(isinstance(name, str) for name in given):
        raise ValueError(f"{key} is {shorten(given)}; {number} names are needed")
    return tuple(given)
