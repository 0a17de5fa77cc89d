"""California housing: 20 640 districts of 8 numbers and the median price of a house, in dollars."""

from __future__ import annotations

from ...arguments import choice
from ..names import not_offered
from .reading import Split, cut, fetch_keras, read_npz

__all__ = ["load_data"]
_SHA256 = "sha256:1a2e3a52e0398de6463aebe6f4a8da34fb21fbb6b934cf88c3425e766f2a1a6f"


def load_data(
    version: str = "large", path: str = "california_housing.npz", test_split: float = 0.2, seed: int = 113
) -> tuple[Split, Split]:
    """``(x_train, y_train), (x_test, y_test)``: (n, 8) and (n,), the rows that Keras gives.

    Parameters
    ----------
    version : {"large", "small"}
        All 20 640 rows, or 600.
    path : str
        Name of the file, or an absolute path of it.
    test_split : float
        Fraction of the rows for testing.
    seed : int
        Of their order.
    """
    rows = 600 if choice("load_data: version", version, ("large", "small")) == "small" else None
    file = fetch_keras("California housing", path, "california_housing.npz", _SHA256, "arrays x, y")
    x, y = read_npz(file, ("x", "y"))
    return cut("load_data", x[:rows], y[:rows], test_split, seed)


__getattr__ = not_offered("datasets.california_housing", __all__)
