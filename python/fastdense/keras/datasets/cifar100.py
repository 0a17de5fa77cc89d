"""CIFAR-100: 60 000 coloured pictures in 100 classes."""

from __future__ import annotations

from pathlib import Path

from ...arguments import choice
from ...datasets import fetch
from ..names import not_offered
from .reading import Split, images, read_pickles

__all__ = ["load_data"]
_URL = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
_SHA256 = "sha256:85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"


def load_data(label_mode: str = "fine") -> tuple[Split, Split]:
    """``(x_train, y_train), (x_test, y_test)``: images (n, 32, 32, 3), uint8, and labels (n, 1).

    Parameters
    ----------
    label_mode : {"fine", "coarse"}
        100 classes, or the 20 groups that they form.
    """
    key = f"{choice('load_data: label_mode', label_mode, ('fine', 'coarse'))}_labels".encode()
    train, test = read_pickles(_file(), [f"cifar-100-python/{name}" for name in ("train", "test")])
    return images([train], key), images([test], key)


def _file() -> Path:
    return fetch("CIFAR-100", "cifar-100-python.tar.gz", _URL, _SHA256, "the archive of its authors")


__getattr__ = not_offered("datasets.cifar100", __all__)
