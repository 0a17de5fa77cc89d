"""Fashion-MNIST: 70 000 pictures of clothes in ten classes."""

from __future__ import annotations

from ...datasets import Split, load_fashion_mnist


def load_data() -> tuple[Split, Split]:
    """``(x_train, y_train), (x_test, y_test)``: images (n, 28, 28) and labels (n,), uint8.

    See `fastdense.datasets.load_fashion_mnist`.
    """
    return load_fashion_mnist()
