"""Layers that apply a function of the user's: `Lambda`, and what is behind a layer with such an activation."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..arguments import shorten
from .graph import Step
from .layer import Layer
from .own import Own


class Applied(Step):
    """A function of the user's behind a layer that has it as its activation."""

    def __init__(self, function: Any, name: str) -> None:
        super().__init__(name)
        self._own = Own(self, function)

    made, output_shape_of, computed = Layer.made, Layer.output_shape_of, Layer.computed


class Lambda(Layer):
    """Applies a function of a tensor, or of a list of tensors, written with `keras.ops`, NumPy or operators.

    Rows must not depend on one another. `arguments` are further arguments of the function by name; `output_shape`,
    without the rows, or a function of the input's shape, may be given, and must be right.
    """

    def __init__(
        self, function: Any, output_shape: Any = None, mask: Any = None, arguments: Any = None, **options: Any
    ) -> None:
        if mask is not None:
            raise ValueError(f"Lambda: mask={shorten(mask)} is not offered, only None. Leave it out.")
        if not callable(function):
            raise TypeError(f"Lambda: function={shorten(function)}. Give a function of a tensor.")
        super().__init__(None, options)
        self.function, self.arguments, self._said = function, dict(arguments or {}), output_shape
        self._own = Own(self, functools.partial(function, **self.arguments) if self.arguments else function)

    def said_shape(self, input_shape: Any) -> Any:
        if callable(self._said):
            return self._said(input_shape)
        return None if self._said is None else (None, *np.atleast_1d(self._said).tolist())
