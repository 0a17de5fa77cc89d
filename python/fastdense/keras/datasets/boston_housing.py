"""Boston housing: 506 districts of 13 numbers and the median price of a house, in 1000 dollars."""

from __future__ import annotations

from ..names import not_offered
from .reading import Split, cut, fetch_keras, read_npz

__all__ = ["load_data"]
_SHA256 = "sha256:f553886a1f8d56431e820c5b82552d9d95cfcb96d1e678153f8839538947dff5"


def load_data(path: str = "boston_housing.npz", test_split: float = 0.2, seed: int = 113) -> tuple[Split, Split]:
    """``(x_train, y_train), (x_test, y_test)``: (n, 13) and (n,), the rows that Keras gives.

    Parameters
    ----------
    path : str
        Name of the file, or an absolute path of it.
    test_split : float
        Fraction of the rows for testing.
    seed : int
        Of their order.
    """
    file = fetch_keras("Boston housing", path, "boston_housing.npz", _SHA256, "arrays x, y")
    x, y = read_npz(file, ("x", "y"))
    return cut("load_data", x, y, test_split, seed)


__getattr__ = not_offered("datasets.boston_housing", __all__)
