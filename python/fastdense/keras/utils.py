"""Utilities of Keras that scripts for dense nets use."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import choice, integer, items
from .batches import PyDataset
from .layer import KerasTensor
from .names import not_offered
from .plotting import plot_model
from .progbar import Progbar
from .serialization import (
    custom_object_scope,
    deserialize_keras_object,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
    serialize_keras_object,
)
from .settings import (
    clear_session,
    disable_interactive_logging,
    enable_interactive_logging,
    is_interactive_logging_enabled,
    set_random_seed,
)

__all__ = [
    "CustomObjectScope",
    "Progbar",
    "PyDataset",
    "Sequence",
    "clear_session",
    "custom_object_scope",
    "deserialize_keras_object",
    "disable_interactive_logging",
    "enable_interactive_logging",
    "get_custom_objects",
    "get_file",
    "get_registered_name",
    "get_registered_object",
    "is_interactive_logging_enabled",
    "is_keras_tensor",
    "normalize",
    "pack_x_y_sample_weight",
    "pad_sequences",
    "plot_model",
    "register_keras_serializable",
    "serialize_keras_object",
    "set_random_seed",
    "to_categorical",
    "unpack_x_y_sample_weight",
]

CustomObjectScope = custom_object_scope
Sequence = PyDataset  # its name up to Keras 2


def to_categorical(x: Any, num_classes: int | None = None, dtype: str = "float32") -> NDArray[Any]:
    """One-hot rows of class numbers.

    Parameters
    ----------
    x : array of ints
        Class numbers from 0, of any shape; a last axis of length 1 is dropped.
    num_classes : int, optional
        By default the largest class number plus 1.
    dtype : str

    Returns
    -------
    ndarray of shape (..., num_classes)

    Raises
    ------
    ValueError
        If a number is negative or not below `num_classes`.
    """
    ids = np.asarray(x).astype(np.int64)
    ids = ids[..., 0] if ids.ndim > 1 and ids.shape[-1] == 1 else ids
    classes = int(ids.max(initial=-1)) + 1 if num_classes is None else int(num_classes)
    if ids.size and not 0 <= ids.min() <= ids.max() < classes:
        raise ValueError(
            f"to_categorical: class numbers from {ids.min()} to {ids.max()} and num_classes={classes}. "
            "Numbers from 0 to num_classes - 1 are needed."
        )
    return np.eye(classes, dtype=dtype)[ids]


def normalize(x: Any, axis: int = -1, order: int = 2) -> NDArray[Any]:
    """Divide by the norm along an axis; vectors of norm 0 are unchanged."""
    a = np.asarray(x)
    norm = np.linalg.norm(a, order, axis, keepdims=True)
    return np.asarray(a / np.where(norm == 0, 1.0, norm))


def is_keras_tensor(x: Any) -> bool:
    """Whether it is a symbolic tensor: a result of `keras.Input`, or of calling a layer on one."""
    return isinstance(x, KerasTensor)


def pack_x_y_sample_weight(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """The item of an iterable of batches: x alone, ``(x, y)`` or ``(x, y, sample_weight)``."""
    if y is None:
        return (x,) if isinstance(x, (list, tuple)) else x
    return (x, y) if sample_weight is None else (x, y, sample_weight)


def unpack_x_y_sample_weight(data: Any) -> tuple[Any, Any, Any]:
    """``(x, y, sample_weight)`` of such an item, with None for what it lacks."""
    parts = tuple(data) if isinstance(data, (list, tuple)) else (data,)
    if not 1 <= len(parts) <= 3:
        raise ValueError(
            f"unpack_x_y_sample_weight: data holds {len(parts)} parts. Give x, (x,), (x, y) or (x, y, sample_weight)."
        )
    return (*parts, *[None] * (3 - len(parts)))


def pad_sequences(
    sequences: Any,
    maxlen: int | None = None,
    dtype: Any = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> NDArray[Any]:
    """Make rows of one length of sequences of any lengths.

    Parameters
    ----------
    sequences : list of sequences
    maxlen : int, optional
        Length of the rows, by default that of the longest sequence.
    dtype : str
    padding : {"pre", "post"}
        Where `value` is put in, to make a short sequence longer.
    truncating : {"pre", "post"}
        Where a long sequence is cut.
    value : number
        What is put in.

    Returns
    -------
    ndarray of shape (sequences, maxlen)

    Examples
    --------
    >>> from fastdense.keras.utils import pad_sequences
    >>> pad_sequences([[1], [1, 2, 3]], maxlen=2)
    array([[0, 1],
           [2, 3]], dtype=int32)
    """
    choice("pad_sequences: padding", padding, ("pre", "post"))
    choice("pad_sequences: truncating", truncating, ("pre", "post"))
    lists = items("pad_sequences: sequences", sequences, "a list of sequences")
    lists = [np.asarray(items(f"pad_sequences: sequences[{i}]", one, "a sequence")) for i, one in enumerate(lists)]
    length = max((len(one) for one in lists), default=0) if maxlen is None else maxlen
    length = integer("pad_sequences: maxlen", int(length), least=0)
    inner = next((one.shape[1:] for one in lists if len(one)), ())
    rows = np.full((len(lists), length, *inner), value, dtype=dtype)
    for i, one in enumerate(lists):
        kept = one[max(0, len(one) - length) :] if truncating == "pre" else one[:length]
        if len(one) and one.shape[1:] != inner:
            raise ValueError(f"pad_sequences: elements of sequences[{i}] have shape {one.shape[1:]}, not {inner}.")
        if len(kept):
            rows[i, slice(0, len(kept)) if padding == "post" else slice(length - len(kept), length)] = kept
    return rows


def get_file(
    fname: str | os.PathLike[str] | None = None,
    origin: str | None = None,
    untar: bool = False,
    md5_hash: str | None = None,
    file_hash: str | None = None,
    cache_subdir: str = "datasets",
    hash_algorithm: str = "auto",
    extract: bool = False,
    archive_format: str = "auto",
    cache_dir: str | os.PathLike[str] | None = None,
    force_download: bool = False,
) -> str:
    """Download a file, unless it is in the cache; return its path, or that of the folder that its archive made.

    Needs pooch (``pip install 'fastdense[data]'``).

    Parameters
    ----------
    fname : str or path, optional
        Name in the cache, by default that of the address; a path outside the cache if it is an absolute one.
    origin : str
        Address.
    md5_hash, file_hash : str, optional
        Checksum; without one the file is not checked.
    cache_subdir, cache_dir
        The cache is ``cache_dir/cache_subdir``, ``~/.keras/datasets`` by default.
    hash_algorithm : {"auto", "md5", "sha256"}
        "auto" goes by the length.
    untar, extract : bool
        Whether to unpack an archive into the folder of its name without suffix.
    archive_format : str
        Accepted; the file says what it is.
    force_download : bool
        Whether to replace a file that is in the cache.
    """
    from .fetch import get_file as download  # seldom needed

    return download(fname, origin, untar, md5_hash, file_hash, cache_subdir, hash_algorithm, extract, archive_format,
                    cache_dir, force_download)  # fmt: skip


__getattr__ = not_offered("utils", __all__)
