"""CIFAR-10: 60 000 coloured pictures in 10 classes."""

from __future__ import annotations

from pathlib import Path

from ...datasets import fetch
from ..names import not_offered
from .reading import Split, images, read_pickles

__all__ = ["load_data"]
_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
_SHA256 = "sha256:6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"


def load_data() -> tuple[Split, Split]:
    """``(x_train, y_train), (x_test, y_test)``: images (n, 32, 32, 3), uint8, and labels (n, 1)."""
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    *train, test = read_pickles(_file(), [f"cifar-10-batches-py/{name}" for name in names])
    return images(train, b"labels"), images([test], b"labels")


def _file() -> Path:
    return fetch("CIFAR-10", "cifar-10-python.tar.gz", _URL, _SHA256, "the archive of its authors")


__getattr__ = not_offered("datasets.cifar10", __all__)
