"""Data sets with Keras's ``load_data()``; see `fastdense.datasets` for where the files come from."""

from ..names import not_offered
from . import fashion_mnist, mnist

__all__ = ["fashion_mnist", "mnist"]

__getattr__ = not_offered(
    "datasets",
    __all__,
    {
        "cifar|imdb|reuters": "mnist and fashion_mnist are there; other data come as arrays, e.g. from "
        "sklearn.datasets or np.load.",
        "boston_housing|california_housing": "sklearn.datasets.fetch_california_housing() is the usual one.",
    },
)
