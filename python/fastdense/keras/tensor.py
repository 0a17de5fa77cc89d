"""`Tensor`: what layers and models give when they are called on arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Tensor(np.ndarray):
    """A NumPy array that also has the method `numpy`; its elements and sums have it, too.

    >>> from fastdense.keras.tensor import tensor
    >>> tensor([[1.0, 2.0]])[0, 1].numpy().item()
    2.0
    """

    def numpy(self) -> NDArray[Any]:
        """The plain array."""
        return np.asarray(self)

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return tensor(array)

    def __getitem__(self, key: Any) -> Any:
        return tensor(super().__getitem__(key))

    def __hash__(self) -> int:  # type: ignore[override]  # of a single number, which may be in a set
        if self.ndim:
            raise TypeError("unhashable type: 'Tensor'")
        return hash(self.item())

    def __round__(self, digits: int = 0) -> Any:
        return round(self.item(), digits)


def tensor(value: Any) -> Tensor:
    """An array as a `Tensor`, without a copy."""
    return np.asarray(value).view(Tensor)
