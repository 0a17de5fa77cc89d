"""Data sets with Keras's ``load_data()``; see `fastdense.datasets` for the sources of the files."""

from ..names import not_offered
from . import fashion_mnist, mnist

__all__ = ["fashion_mnist", "mnist"]

__getattr__ = not_offered(
    "datasets",
    __all__,
    {
        "cifar|imdb|reuters": "Only mnist and fashion_mnist are offered; load other data as arrays, e.g. from "
        "sklearn.datasets or np.load.",
        "boston_housing|california_housing": "Use sklearn.datasets.fetch_california_housing().",
    },
)
