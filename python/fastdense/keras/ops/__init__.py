"""`keras.ops` on NumPy arrays, on predictions inside a loss and inputs of layers, which are differentiated.

Names, arguments and results are those of Keras on its NumPy backend; ``docs/keras.md`` says how losses use them.

>>> from fastdense.keras import ops
>>> float(ops.mean(ops.square([1.0, 2.0, 3.0])))
4.666666666666667
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..names import not_offered
from ..tree import flatten
from . import arrays, elementwise, neural, tape
from .tape import NoDerivative, Traced, dispatched, gradient, no_derivative

_MODULES = (elementwise, arrays, neural)
_OPERATIONS = {
    name: value
    for module in _MODULES
    for name, value in vars(module).items()
    if not name.startswith("_") and callable(value) and getattr(value, "__module__", "").startswith(__name__)
}
for _hidden in (
    "array",
    "cast",
    "float_type",
    "node",
    "plain",
    "registered",
    "to_shape",
    "Traced",
    "no_derivative",
    "now",
):
    _OPERATIONS.pop(_hidden, None)
_OPERATIONS["cast"] = tape.cast
_OPERATIONS = {name: dispatched(one) for name, one in _OPERATIONS.items()}
globals().update(_OPERATIONS)


def convert_to_numpy(x: Any) -> Any:
    """`x` as a NumPy array; of a prediction in a loss it would have no derivative, which is an error."""
    if isinstance(x, Traced):
        raise no_derivative("convert_to_numpy")
    return np.asarray(x)


def _made(name: str) -> Any:
    function = getattr(np, name)

    def operation(*args: Any, **kwargs: Any) -> Any:
        if kwargs.get("dtype", 0) is None or (name in ("zeros", "ones", "eye") and "dtype" not in kwargs):
            kwargs["dtype"] = neural.float_type()
        return function(*args, **kwargs)

    operation.__name__ = operation.__qualname__ = name
    operation.__doc__ = f"``numpy.{name}``; in `floatx` unless a dtype is given."
    return operation


zeros, ones, eye = _made("zeros"), _made("ones"), _made("eye")
full, arange, linspace, identity = np.full, np.arange, np.linspace, np.identity
array = _OPERATIONS["convert_to_tensor"]

# For arrays alone, such as data and targets: there is no derivative, so that predictions in a loss are refused.
_ARRAYS = (
    "allclose", "append", "bincount", "cbrt", "copy", "corrcoef", "cross", "cumprod", "deg2rad", "diag", "diagflat",
    "diff", "digitize", "dstack", "empty", "empty_like", "geomspace", "heaviside", "histogram", "hstack", "inner",
    "isin", "kron", "logspace", "median", "meshgrid", "nan_to_num", "nanmax", "nanmean", "nanmedian", "nanmin",
    "nanstd", "nansum", "nanvar", "nonzero", "pad", "percentile", "ptp", "quantile", "rad2deg", "rot90", "signbit",
    "tensordot", "trace", "tri", "vdot", "vstack",
)  # fmt: skip


def _of_arrays(name: str) -> Any:
    function = getattr(np, name)

    def operation(*args: Any, **kwargs: Any) -> Any:
        if [one for one in flatten([args, kwargs]) if isinstance(one, Traced)]:
            raise no_derivative(name)
        return function(*args, **kwargs)

    operation.__name__ = operation.__qualname__ = name
    operation.__doc__ = f"``numpy.{name}``, which has no derivative here."
    return operation


globals().update({name: _of_arrays(name) for name in _ARRAYS})

__all__ = [
    *sorted(_OPERATIONS),
    *_ARRAYS,
    "NoDerivative",
    "Traced",
    "arange",
    "array",
    "convert_to_numpy",
    "eye",
    "full",
    "gradient",
    "identity",
    "linspace",
    "ones",
    "zeros",
]

__getattr__ = not_offered(
    "ops",
    __all__,
    {
        "conv|pool|depthwise|ctc|fft|rfft|image|segment|scatter": "fastdense trains dense nets; for arrays use NumPy.",
        "while_loop|fori_loop|scan|^map$|vectorized_map|cond|switch": "Use Python's own loops and conditions.",
    },
)
