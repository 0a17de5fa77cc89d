"""Reading the files of Keras's data sets."""

from __future__ import annotations

import json
import pickle
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ...arguments import integer, number
from ...datasets import DatasetError, fetch

FOLDER = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
Split = tuple[NDArray[Any], NDArray[Any]]


class ArrayUnpickler(pickle.Unpickler):
    """Reads arrays, lists and numbers only: a file can run nothing."""

    def find_class(self, module: str, name: str) -> Any:
        """The classes of arrays; an error for all others."""
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            function: Any = np.zeros(0).__reduce__()[0]
            return function
        raise pickle.UnpicklingError(f"it names {module}.{name}, which no array needs")


def read_npz(path: Path, keys: Sequence[str]) -> list[NDArray[Any]]:
    """Arrays of an npz file; those of Python objects, which hold lists of numbers, without running anything."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = []
            for key in keys:
                with archive.open(f"{key}.npy") as file:
                    found.append(_array(file))
            return found
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        raise DatasetError(f"{path} cannot be read ({error}); it must hold the arrays {', '.join(keys)}") from error


def _array(file: IO[bytes]) -> NDArray[Any]:
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read_header(file)
    if dtype.hasobject:
        return np.asarray(ArrayUnpickler(file).load(), dtype=object)
    values = np.frombuffer(file.read(), dtype=dtype)
    return np.array(values.reshape(shape, order="F" if fortran else "C"))


def read_words(title: str, path: str, name: str, checksum: str) -> dict[str, int]:
    """The number of each word of a data set of texts."""
    file = fetch_keras(f"The words of {title}", path, name, checksum, "a dict of numbers by word")
    index: dict[str, int] = json.loads(file.read_text(encoding="utf-8"))
    return index


def read_pickles(path: Path, names: Sequence[str]) -> list[dict[bytes, Any]]:
    """Dicts of arrays from files inside of a tar file, which is not unpacked."""
    try:
        with tarfile.open(path) as archive:
            found = []
            for name in names:
                file = archive.extractfile(name)
                assert file is not None
                found.append(ArrayUnpickler(file, encoding="bytes").load())
            return found
    except (OSError, KeyError, EOFError, tarfile.TarError, pickle.UnpicklingError) as error:
        raise DatasetError(f"{path} cannot be read ({error}); it must hold {', '.join(names)}") from error


def images(batches: Sequence[dict[bytes, Any]], labels: bytes) -> Split:
    """Pictures (n, 32, 32, 3) and labels (n, 1) of CIFAR."""
    x = np.concatenate([batch[b"data"] for batch in batches]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    y = np.concatenate([np.asarray(batch[labels], dtype=np.uint8) for batch in batches])
    return np.ascontiguousarray(x, dtype=np.uint8), y.reshape(-1, 1)


def cut(where: str, x: NDArray[Any], y: NDArray[Any], test_split: float, seed: int) -> tuple[Split, Split]:
    """The rows in a random order, the last ones for testing, as Keras draws them."""
    train = int(len(x) * (1 - number(f"{where}: test_split", test_split, least=0, below=1)))
    order = _order(len(x), seed)
    x, y = x[order], y[order]
    return (x[:train].copy(), y[:train].copy()), (x[train:].copy(), y[train:].copy())


def _order(rows: int, seed: int) -> NDArray[np.int64]:
    order = np.arange(rows)
    np.random.RandomState(seed).shuffle(order)
    return order


class Words:
    """What Keras's options make of lists of word numbers.

    Parameters
    ----------
    where : str
        For messages.
    num_words : int, optional
        Words from this number on are left out.
    skip_top : int
        Words before this number are left out.
    maxlen : int, optional
        Only texts shorter than this are kept.
    seed : int
        Of the order.
    start_char : int or None
        Put before every text.
    oov_char : int or None
        What stands for a word that is left out; None leaves no trace.
    index_from : int
        Added to every number.
    """

    def __init__(
        self,
        where: str,
        num_words: int | None,
        skip_top: int,
        maxlen: int | None,
        seed: int,
        start_char: int | None,
        oov_char: int | None,
        index_from: int,
    ) -> None:
        self.where, self.seed = where, seed
        self.num_words = None if num_words is None else integer(f"{where}: num_words", num_words, least=1)
        self.skip_top = integer(f"{where}: skip_top", skip_top, least=0)
        self.maxlen = None if not maxlen else integer(f"{where}: maxlen", maxlen, least=1)
        self.start_char, self.oov_char, self.index_from = start_char, oov_char, index_from

    def shuffled(self, texts: NDArray[Any], labels: NDArray[Any]) -> tuple[list[list[int]], NDArray[Any]]:
        """The texts in a random order, with their beginnings, short enough."""
        order = _order(len(texts), self.seed)
        first = [] if self.start_char is None else [self.start_char]
        made = [[*first, *(int(word) + self.index_from for word in texts[i])] for i in order]
        kept = [i for i, text in enumerate(made) if self.maxlen is None or len(text) < self.maxlen]
        if not kept:
            raise ValueError(f"{self.where}: maxlen={self.maxlen} leaves no text. Give a larger one.")
        return [made[i] for i in kept], labels[order][kept]

    def limited(self, texts: list[list[int]]) -> NDArray[Any]:
        """The texts without the words that are left out, as an array of lists."""
        most = self.num_words or max(max(text) for text in texts)
        found = np.empty(len(texts), dtype=object)
        for i, text in enumerate(texts):
            if self.oov_char is None:
                found[i] = [word for word in text if self.skip_top <= word < most]
            else:
                found[i] = [word if self.skip_top <= word < most else self.oov_char for word in text]
        return found


def fetch_keras(title: str, name: str, file: str, checksum: str, contents: str) -> Path:
    """The path of a file of Keras's; `name` is the name or the absolute path that the caller was given."""
    return fetch(title, name, FOLDER + file, checksum, contents)
