"""Data sets for experiments: MNIST, Fashion-MNIST and small handwritten digits.

MNIST and Fashion-MNIST are searched for in this order:

1. the folder named by the environment variable ``FASTDENSE_DATA`` (``mnist.npz``, ``fashion_mnist.npz``);
2. fastdense's download cache (``cache_folder()``);
3. the set's public address, through pooch (``pip install 'fastdense[data]'``).

Every file is verified against a known checksum before it is read.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .arguments import choice

__all__ = ["DatasetError", "cache_folder", "has_local", "load_digits", "load_fashion_mnist", "load_mnist"]

Images = NDArray[np.uint8]
Split = tuple[Images, Images]
DigitsSource = Literal["auto", "sklearn", "synthetic"]


class DatasetError(RuntimeError):
    """A data set is missing, cannot be downloaded, or is damaged."""


@dataclass(frozen=True)
class _Remote:
    """One file to download: its name in the cache, its address and its checksum as ``algorithm:hex``."""

    name: str
    url: str
    checksum: str


@dataclass(frozen=True)
class _Source:
    """Sources of a data set: a file of `FASTDENSE_DATA` or of Keras's cache, with known checksums, or downloads."""

    title: str
    npz: str
    npz_checksums: tuple[str, ...]
    remote: tuple[_Remote, ...]
    contents: str = "arrays x_train, y_train, x_test, y_test"


_FASHION_URL = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"
_KERAS_MNIST = "sha256:731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"

_SOURCES = {
    "mnist": _Source(
        title="MNIST",
        npz="mnist.npz",
        npz_checksums=(
            _KERAS_MNIST,
            "sha256:06af5dfe73b70e3bc1c36439982b18a8d76803db9b544f6fdf838a37fbb01b64",  # rebuilt, with the same arrays
        ),
        remote=(
            _Remote("mnist.npz", "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz", _KERAS_MNIST),
        ),
    ),
    "fashion_mnist": _Source(
        title="Fashion-MNIST",
        npz="fashion_mnist.npz",
        npz_checksums=("sha256:5b6d2c4c694a91887af8ab7d039c04f80af3c29378d731c93a538d2e831aa469",),
        remote=tuple(
            _Remote(f"fashion-{name}", _FASHION_URL + name, f"md5:{digest}")  # its authors publish MD5 only
            for name, digest in (
                ("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
                ("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
                ("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
                ("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
            )
        ),
    ),
}

_KEYS = ("x_train", "y_train", "x_test", "y_test")
_SHAPES = ((60000, 28, 28), (60000,), (10000, 28, 28), (10000,))


def load_mnist(
    *, download: bool = True, verify: bool = True, fallback: Literal["digits"] | None = None
) -> tuple[Split, Split]:
    """The 70 000 handwritten digits, ``((x_train, y_train), (x_test, y_test))``, as Keras returns them.

    Images are (n, 28, 28) uint8, labels (n,) uint8. ``download=False`` never touches the network. ``verify=False``
    accepts a file from ``FASTDENSE_DATA`` with an unknown checksum; keys, shapes and types are checked anyway.
    With ``fallback="digits"`` a data set that is not available is replaced by the small digits of :func:`load_digits`,
    with a warning.
    """
    return _load_or("mnist", download, verify, fallback)


def load_fashion_mnist(
    *, download: bool = True, verify: bool = True, fallback: Literal["digits"] | None = None
) -> tuple[Split, Split]:
    """The 70 000 Fashion-MNIST images, in the same form and with the same options as :func:`load_mnist`."""
    return _load_or("fashion_mnist", download, verify, fallback)


def load_digits(source: DigitsSource = "auto") -> tuple[Split, Split]:
    """1797 small handwritten digits, ``((x_train, y_train), (x_test, y_test))``: (n, 8, 8) uint8 in 0..16.

    ``source`` is "sklearn" (the real digits of scikit-learn), "synthetic" (generated from a small font,
    deterministic; easier than the real ones) or "auto": the real ones if scikit-learn is installed, else the synthetic
    ones, with a warning. 1437 images are for training, 360 for testing.
    """
    choice("load_digits: source", source, ("auto", "sklearn", "synthetic"))
    installed = find_spec("sklearn") is not None
    if source == "sklearn" and not installed:
        raise DatasetError(
            "load_digits: the real digits come with scikit-learn, which is not installed; "
            "run: pip install scikit-learn, or use source='synthetic'"
        )
    if source == "auto" and not installed:
        warnings.warn(
            "scikit-learn is not installed, so load_digits() made synthetic digits (not the real data set); "
            "for the real ones: pip install scikit-learn; for no warning: source='synthetic'",
            stacklevel=2,
        )
    x, y = _sklearn_digits() if installed and source != "synthetic" else _synthetic_digits(1797)
    order = np.random.RandomState(0).permutation(len(x))  # RandomState: its stream never changes between releases
    x, y = x[order], y[order]
    return (x[:1437], y[:1437]), (x[1437:], y[1437:])


def has_local(name: str) -> bool:
    """Whether "mnist" or "fashion_mnist" can be loaded without the network."""
    source = _source(name)
    return _in_data_folder(source) is not None or all(path.is_file() for path in _cached(source))


def cache_folder() -> Path:
    """Folder of downloads: ``$XDG_CACHE_HOME/fastdense``, or ``~/.cache/fastdense``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastdense"


def _source(name: str) -> _Source:
    if name not in _SOURCES:
        raise ValueError(f"unknown data set {name!r}; known: {', '.join(_SOURCES)}")
    return _SOURCES[name]


def _load_or(name: str, download: bool, verify: bool, fallback: str | None) -> tuple[Split, Split]:
    if fallback is not None:
        choice(f"load_{name}: fallback", fallback, ("digits",), other="None")
    try:
        return _load(name, download, verify)
    except DatasetError as error:
        if fallback is None:
            raise
        reason = str(error).partition("\n")[0].rstrip(".")
        warnings.warn(f"{reason}. Small digits (8 x 8 pixels) are used instead.", stacklevel=3)
        return load_digits()


def _load(name: str, download: bool, verify: bool) -> tuple[Split, Split]:
    source = _source(name)
    own = _in_data_folder(source)
    if own is not None:
        if verify:
            _check_file(own, source.npz_checksums, f"replace the file, or use load_{name}(verify=False) to accept it")
        return _read([own])
    cached = _cached(source)
    if not all(path.is_file() for path in cached):
        if not download:
            raise DatasetError(f"{source.title} is not on this machine.{_remedies(source)}")
        _download(source)
    for path, remote in zip(cached, source.remote, strict=True):
        _check_file(path, (remote.checksum,), "delete it, and it will be downloaded again")
    return _read(cached)


def _in_data_folder(source: _Source) -> Path | None:
    folder = os.environ.get("FASTDENSE_DATA")
    path = Path(folder) / source.npz if folder else None
    return path if path is not None and path.is_file() else None


def _cached(source: _Source) -> list[Path]:
    return [cache_folder() / remote.name for remote in source.remote]


def _remedies(source: _Source) -> str:
    folder = os.environ.get("FASTDENSE_DATA")
    looked = f" (it is {folder!r} now, which has no {source.npz})" if folder else ""
    return (
        "\nDo one of the following:"
        "\n- with network access: pip install 'fastdense[data]', and try again;"
        f"\n- put {source.npz} ({source.contents}) into a folder and set FASTDENSE_DATA to that folder{looked};"
        f"\n- do the first on another machine and copy its cache folder to {cache_folder()} on this one."
    )


def _download(source: _Source) -> None:
    for remote in source.remote:
        try:
            download(source.title, remote.url, remote.checksum, cache_folder() / remote.name)
        except DatasetError as error:
            raise DatasetError(str(error) + _remedies(source)) from error.__cause__


def download(title: str, url: str, checksum: str | None, path: Path) -> None:
    """Download a file through pooch, unless it is there; None for `checksum` does not check it."""
    try:
        import pooch
    except ImportError:
        if path.is_file() and checksum is None:
            return
        raise DatasetError(
            f"{title} is not on this machine, and pooch, which is needed to download it, is not installed."
        ) from None
    try:
        pooch.retrieve(
            url,
            known_hash=checksum,
            fname=path.name,
            path=path.parent,
            downloader=_copy if url.startswith("file:") else pooch.HTTPDownloader(timeout=30),
        )
    except (OSError, ValueError) as error:  # no network, access denied, or a wrong checksum
        reason = str(error) if isinstance(error, ValueError) else type(error).__name__
        raise DatasetError(f"{title} is not on this machine, and {url} could not be downloaded: {reason}.") from error


def _copy(url: str, output: str, _: Any) -> None:
    """A downloader for pooch, of files on this machine."""
    from urllib.parse import urlparse  # slow to import
    from urllib.request import url2pathname

    shutil.copyfile(url2pathname(urlparse(url).path), output)


def fetch(title: str, name: str, url: str, checksum: str, contents: str) -> Path:
    """The path of a file of a data set, which is searched for and checked as those of `load_mnist`.

    A file that Keras has downloaded, in ``~/.keras/datasets``, is used too.

    Parameters
    ----------
    title, contents : str
        What it is and what it holds, for messages.
    name : str
        Its name in those folders; an absolute path is looked at first.
    url, checksum : str
        Its address, and its checksum as ``algorithm:hex``.
    """
    remote = _Remote(Path(name).name, url, checksum)
    source = _Source(title, remote.name, (checksum,), (remote,), contents)
    keras = Path.home() / ".keras" / "datasets" / remote.name
    for own in (Path(name) if os.path.isabs(name) else None, _in_data_folder(source), keras):
        if own is not None and own.is_file():
            _check_file(own, (checksum,), "replace the file")
            return own
    [cached] = _cached(source)
    if not cached.is_file():
        _download(source)
    _check_file(cached, (checksum,), "delete it, and it will be downloaded again")
    return cached


def _check_file(path: Path, known: Sequence[str], remedy: str) -> None:
    algorithm = known[0].split(":")[0]
    digest = hashlib.new(algorithm, path.read_bytes(), usedforsecurity=False).hexdigest()
    if f"{algorithm}:{digest}" not in known:
        expected = " or ".join(known)
        raise DatasetError(
            f"{path} is damaged or a different file: {algorithm}:{digest}, expected {expected}; {remedy}"
        )


def _read(files: Sequence[Path]) -> tuple[Split, Split]:
    try:
        arrays = _read_npz(files[0]) if len(files) == 1 else [_read_idx(path) for path in files]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DatasetError(
            f"{files[0]} cannot be read ({error}); it must hold the arrays {', '.join(_KEYS)}"
        ) from error
    for key, array, shape in zip(_KEYS, arrays, _SHAPES, strict=True):
        if array.shape != shape or array.dtype != np.uint8:
            raise DatasetError(
                f"{files[0]}: {key} is {array.dtype} of shape {array.shape}; it must be uint8 of shape {shape}"
            )
    x_train, y_train, x_test, y_test = arrays
    return (x_train, y_train), (x_test, y_test)


def _read_npz(path: Path) -> list[NDArray[Any]]:
    with path.open("rb") as file:
        archive = np.load(file, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise ValueError("one array, not an npz archive")
        return [archive[key] for key in _KEYS]


def _read_idx(path: Path) -> NDArray[Any]:
    """The idx format: two zero bytes, the element type, the number of axes, big-endian sizes, the elements."""
    raw = gzip.decompress(path.read_bytes())
    shape = [int(n) for n in np.frombuffer(raw, ">u4", count=raw[3], offset=4)]
    return np.array(np.frombuffer(raw, np.uint8, offset=4 + 4 * len(shape)).reshape(shape))


def _sklearn_digits() -> Split:
    from sklearn.datasets import load_digits as load

    data = load()
    return np.asarray(data.images, np.uint8), np.asarray(data.target, np.uint8)


# Ten digits, 5 rows of 3 cells each.
_FONT = (
    "###|#.#|#.#|#.#|###",
    ".#.|##.|.#.|.#.|###",
    "##.|..#|.#.|#..|###",
    "##.|..#|.#.|..#|##.",
    "#.#|#.#|###|..#|..#",
    "###|#..|##.|..#|##.",
    ".##|#..|###|#.#|###",
    "###|..#|.#.|.#.|.#.",
    "###|#.#|.#.|#.#|###",
    "###|#.#|###|..#|##.",
)


def _synthetic_digits(count: int) -> Split:
    """Draw `count` digits of 8×8 pixels: the font's cells, shifted, stretched, slanted, blurred and with noise."""
    random = np.random.RandomState(20)
    font = np.array([[[cell == "#" for cell in row] for row in glyph.split("|")] for glyph in _FONT], np.float64)
    labels = np.arange(count) % 10
    row, column = np.mgrid[0:8, 0:8]
    height = random.uniform(1.2, 1.6, (count, 1, 1))
    width = random.uniform(1.2, 2.2, (count, 1, 1))
    slant = random.uniform(-0.25, 0.25, (count, 1, 1))
    v = (row - 3.5 - random.uniform(-0.7, 0.7, (count, 1, 1))) / height + 2.0
    u = (column - 3.5 - random.uniform(-0.7, 0.7, (count, 1, 1)) - slant * (row - 3.5)) / width + 1.0
    ink = np.zeros((count, 8, 8))
    for i in range(5):
        for j in range(3):  # a cell spreads its ink over about one pixel around its center
            ink += font[labels, i, j][:, None, None] * np.exp(-2.0 * ((v - i) ** 2 + (u - j) ** 2))
    ink = 16.0 * np.minimum(ink, 1.0) + random.normal(0.0, 1.0, ink.shape)
    return np.clip(np.rint(ink), 0, 16).astype(np.uint8), labels.astype(np.uint8)
