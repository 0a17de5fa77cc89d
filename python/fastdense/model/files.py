"""Model files: the safetensors format, with everything that is not a tensor as JSON in its metadata.

A file is 8 bytes (length of the header, little-endian), the header (JSON: dtype, shape and place of every tensor) and
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
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from .. import layers, losses, metrics, optimizers
from ..arguments import integer
from ..arrays import Array
from ..engine.factory import check_device
from ..engine.gpu import is_available
from ..specs import resolve

if TYPE_CHECKING:
    from .base import BaseModel
    from .model import Model

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


# ---- models --------------------------------------------------------------------------------------------------------


def save(model: BaseModel, path: Path, include_optimizer: bool = True) -> None:
    """Write a model; see `Model.save`."""
    config, tensors = describe(model, include_optimizer)
    _check_own(model)
    text = json.dumps(config)
    sums = {name: zlib.crc32(_bytes(tensor)) for name, tensor in tensors.items()}
    sums["config"] = zlib.crc32(text.encode())
    write_tensors(path, tensors, {"fastdense": text, "crc32": json.dumps(sums)})


def describe(model: BaseModel, include_optimizer: bool = True) -> tuple[dict[str, Any], dict[str, Array]]:
    """Everything a model is, as JSON data and named tensors."""
    from ..versions import package_version  # importlib.metadata is slow to import

    tensors = dict(zip(_weight_names(model), model.get_weights(), strict=True))
    slots = model.runner.slots() if include_optimizer else []
    numbers = model.runner.numbers()
    if include_optimizer and len(numbers):
        tensors[_NUMBERS] = numbers
    tensors.update({_slot_name(s, i): array for s, slot in enumerate(slots) for i, array in enumerate(slot)})
    config = {
        "format": FORMAT,
        "version": package_version("fastdense"),
        "model": model.get_config(),
        "compile": model.get_compile_config(),
        "step": model.runner.step if include_optimizer else 0,
        "slots": len(slots) if include_optimizer else None,
        "epochs_trained": model.runner.epochs_trained,
        "statistics": model.net.statistics.origin if model.net.statistics else None,
    }
    return config, tensors


def restore(config: Mapping[str, Any], tensors: Mapping[str, Array], device: str | None) -> Model:
    """Make the model that `describe` described."""
    from .model import Model

    given = {**config["model"], **({} if device is None else {"device": device})}
    if device is None and given.get("device") == "cuda" and not is_available():
        given["device"] = "cpu"
    model = Model.from_config(given)
    model.set_weights([tensors[name] for name in _weight_names(model)])
    if model.net.statistics is not None:
        mean, variance = model.get_weights()[:2]
        model.net.statistics.take(mean, variance, config["statistics"])
    if config["compile"] is not None:
        model.compile(**config["compile"])
        if config["slots"] is not None:
            trainable = sum(tensor.trainable for tensor in model.net.tensors)
            slots = [[tensors[_slot_name(s, i)] for i in range(trainable)] for s in range(config["slots"])]
            model.runner.set_slots(slots, _count(config, "step"), tensors.get(_NUMBERS))
    model.runner.epochs_trained = _count(config, "epochs_trained")
    return model


def _count(config: Mapping[str, Any], key: str) -> int:
    return integer(key, config[key], least=0, most=2**62)


def snapshot(model: BaseModel) -> dict[str, Any]:
    """What pickle and copy keep of a model: `describe` with the objects themselves, also those of your own classes."""
    config, tensors = describe(model)
    config["model"]["layers"] = model.layers
    if model.compiled:
        parts = {"optimizer": model.optimizer, "loss": model.loss, "metrics": model.metrics}
        config["compile"] = {**parts, "loss_weights": model.loss_weights}
    return {"config": config, "tensors": tensors}


def revive(state: Mapping[str, Any]) -> Model:
    """Make the model of a `snapshot`."""
    return restore(state["config"], state["tensors"], None)


def load(path: Path, *, device: str | None = None) -> Model:
    """Read a model that `Model.save` wrote.

    The model goes on exactly where it was saved: the same bits as if it had never been away, optimizer included.
    Nothing in the file is run, so files of unknown origin are safe to load.

    Parameters
    ----------
    path : str or path
    device : {"cpu", "cuda", "reference"}, optional
        By default the device the model was on; for one that was on a GPU the CPU, where there is none.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        If the file is damaged, cut short, no fastdense model, or written by a newer version.
    FileNotFoundError
        If there is no such file.
    """
    if device is not None:
        check_device(device)
    try:
        tensors, metadata = read_tensors(path)
        config = _checked_config(tensors, metadata)
    except _Damaged as problem:
        _fail(path, problem)
    try:
        return restore(config, tensors, device)
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, RecursionError) as error:
        _fail(path, _Damaged(f"it does not describe a model ({error})"), error)


def _checked_config(tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> dict[str, Any]:
    """The description of the model, once every checksum agrees."""
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


def _fail(path: Path, problem: _Damaged, cause: BaseException | None = None) -> NoReturn:
    remedy = problem.args[1] if len(problem.args) > 1 else "give a file that model.save wrote, or save it again"
    raise ValueError(f"load: {os.fspath(path)!r} cannot be loaded: {problem.args[0]}; {remedy}") from cause


def _weight_names(model: BaseModel) -> list[str]:
    return [f"weights.{i}.{tensor.name.replace('/', '.')}" for i, tensor in enumerate(model.net.tensors)]


_NUMBERS = "optimizer.numbers"


def _slot_name(slot: int, tensor: int) -> str:
    return f"optimizer.{slot}.{tensor}"


def _check_own(model: BaseModel) -> None:
    """Raise if the model holds an object that a file cannot bring back."""
    parts: list[tuple[type[Any], Any]] = [(layers.Layer, layer) for layer in model.net.layers]
    if model.compiled:
        parts += [(optimizers.Optimizer, model.optimizer), (losses.Loss, model.loss)]
        parts += [(metrics.Metric, metric) for metric in model.metrics]
    for base, part in parts:
        try:
            resolve(base, part.to_dict(), "save")
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"save: {part!r} holds an object of a class of your own ({error}), which a file cannot bring back; "
                "fastdense's own classes are needed: keep the weights alone with np.savez(path, *model.get_weights())"
            ) from error
