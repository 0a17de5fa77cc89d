"""Data sets with Keras's ``load_data()``, from Keras's addresses; see `fastdense.datasets` for where they are kept."""

from ..names import not_offered
from . import boston_housing, california_housing, cifar10, cifar100, fashion_mnist, imdb, mnist, reuters

__all__ = [
    "boston_housing",
    "california_housing",
    "cifar10",
    "cifar100",
    "fashion_mnist",
    "imdb",
    "mnist",
    "reuters",
]

__getattr__ = not_offered("datasets", __all__)
