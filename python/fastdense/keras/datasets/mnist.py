"""MNIST: 70 000 handwritten digits."""

from __future__ import annotations

from typing import Any

from ...datasets import Split, load_mnist


def load_data(path: Any = "mnist.npz") -> tuple[Split, Split]:
    """``(x_train, y_train), (x_test, y_test)``: images (n, 28, 28) and labels (n,), uint8.

    `path` is accepted as in Keras and not used; see `fastdense.datasets.load_mnist`.
    """
    return load_mnist()
