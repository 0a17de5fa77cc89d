"""What every metric of `fastdense.keras` is: an object that adds up numbers, and tells its value at any time."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...arguments import shorten
from ..formulas import FORMULAS, as_float64, same_rank
from ..serialization import get_registered_object
from ..settings import floatx, plain_name, unique_name
from ..tensor import Tensor, tensor
from ..variables import Variable

__all__ = ["Mean", "MeanMetricWrapper", "Metric", "Sum"]

Array = NDArray[Any]
M = TypeVar("M", bound="Metric")


def as_value(number: Any) -> Tensor:
    """Return numbers as results of metrics are: in float64."""
    return tensor(as_float64(number))


def _first_value(initializer: Any, shape: tuple[int, ...]) -> Array:
    """Zeros or ones, by their names in Keras, or what a function of the shape returns."""
    name = initializer if isinstance(initializer, str) else plain_name(type(initializer).__name__)
    if initializer is None or name.lower() == "zeros":
        return np.zeros(shape)
    if name.lower() == "ones":
        return np.ones(shape)
    if isinstance(initializer, type):
        return _first_value(initializer(), shape)
    if callable(initializer):
        return np.asarray(initializer(shape))
    raise ValueError(
        f"add_variable: initializer={shorten(initializer)} is not offered for metrics. "
        "'zeros', 'ones' or a function of the shape is needed."
    )


class Metric:
    """Base of all metrics, and of a user's own: `update_state` and `result` are to be written.

    Sums are kept in float64, whatever `dtype` says.

    Parameters
    ----------
    dtype : str, optional
        Kept for `get_config`.
    name : str, optional
        The key in ``History``; by default that of the class: auc, auc_1, ...

    Examples
    --------
    >>> from fastdense.keras.metrics import Metric
    >>> class Rows(Metric):
    ...     def __init__(self, name="rows", **options):
    ...         super().__init__(name=name, **options)
    ...         self.count = self.add_weight(name="count", initializer="zeros")
    ...
    ...     def update_state(self, y_true, y_pred, sample_weight=None):
    ...         self.count.assign_add(len(y_true))
    ...
    ...     def result(self):
    ...         return self.count
    >>> float(Rows()([0.0, 1.0], [0.5, 0.5]))
    2.0
    """

    _started = False

    def __init__(self, dtype: Any = None, name: str | None = None) -> None:
        self._started = True
        self.name = str(name) if name else unique_name(type(self).__name__)
        self._dtype = getattr(dtype, "name", dtype)
        self._variables: list[Variable] = []

    @property
    def dtype(self) -> str:
        """The data type that was given, or that of new models."""
        return str(self._dtype or floatx())

    def add_variable(
        self,
        shape: Any = (),
        initializer: Any = None,
        dtype: Any = None,
        aggregation: str = "sum",
        name: str | None = None,
    ) -> Variable:
        """Make an array that `reset_state` sets to zero.

        Parameters
        ----------
        shape : int or tuple of int
        initializer : str or callable, optional
            "zeros" unless given, "ones", or a function of the shape.
        dtype : str, optional
            Floats are float64 whatever it says.
        aggregation : str
            Accepted, without effect: there is one process.
        name : str, optional

        Returns
        -------
        Variable
        """
        self._need_started()
        sizes = tuple(int(size) for size in np.atleast_1d(np.asarray(shape, dtype=np.int64)))
        kind = "float64" if dtype is None or "float" in str(dtype) else str(dtype)
        made = Variable(_first_value(initializer, sizes), dtype=kind, trainable=False, name=name)
        self._variables.append(made)
        return made

    def add_weight(
        self, shape: Any = (), initializer: Any = None, dtype: Any = None, name: str | None = None
    ) -> Variable:
        """As `add_variable`."""
        return self.add_variable(shape, initializer, dtype, name=name)

    @property
    def variables(self) -> list[Variable]:
        """The arrays of this metric, and of metrics that are attributes of it."""
        inner = [value for value in vars(self).values() if isinstance(value, Metric)]
        return [*self._variables, *(variable for metric in inner for variable in metric.variables)]

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Take account of a batch: ``update_state(y_true, y_pred, sample_weight=None)``."""
        raise NotImplementedError(
            f"{type(self).__name__}: update_state(y_true, y_pred, sample_weight=None) is to be written."
        )

    def result(self) -> Any:
        """Return the value so far: a number, an array or a dict of numbers."""
        raise NotImplementedError(f"{type(self).__name__}: result() is to be written.")

    def reset_state(self) -> None:
        """Forget all batches."""
        for variable in self.variables:
            variable.assign(np.zeros(variable.shape))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Take account of a batch and return the value so far."""
        self._need_started()
        self.update_state(*args, **kwargs)
        return self.result()

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal metric."""
        taken = inspect.signature(type(self).__init__).parameters
        own = {name: getattr(self, name) for name in taken if name != "self" and hasattr(self, name)}
        return {"name": self.name, "dtype": self.dtype, **own}

    @classmethod
    def from_config(cls: type[M], config: Mapping[str, Any]) -> M:
        """Return the metric that `get_config` described."""
        return cls(**config)

    def _need_started(self) -> None:
        if not self._started:
            raise RuntimeError(f"{type(self).__name__}: super().__init__() was not called. Call it first in __init__.")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


Reduction = Callable[..., Any]


def _of_rows(values: Any, sample_weight: Any, reduce: Reduction) -> tuple[Array, Array | None]:
    """One number per row, times the weight of the row; and the weights, one per row."""
    values = as_float64(values)
    if sample_weight is None:
        return (reduce(values, axis=tuple(range(1, values.ndim))) if values.ndim > 1 else values), None
    values, weight = same_rank(values, as_float64(sample_weight))
    axes = weight.ndim
    if values.ndim > axes:
        values = reduce(values, axis=tuple(range(axes, values.ndim)))
    try:
        weight = np.broadcast_to(weight, np.shape(values))
    except ValueError as error:
        raise ValueError(
            f"sample_weight has shape {np.shape(sample_weight)}, and the metric's values have shape "
            f"{np.shape(values)}. One weight for each value is needed: a function that returns one number per batch "
            "cannot be weighted."
        ) from error
    values = np.asarray(values * weight)
    if axes > 1:
        weight = reduce(weight, axis=tuple(range(1, axes)))
    return (reduce(values, axis=tuple(range(1, values.ndim))) if values.ndim > 1 else values), np.asarray(weight)


class Sum(Metric):
    """Sum of values, each times its weight.

    Parameters
    ----------
    name : str
    dtype : str, optional

    Examples
    --------
    >>> from fastdense.keras.metrics import Sum
    >>> float(Sum()([1, 3, 5, 7], sample_weight=[1, 1, 0, 0]))
    4.0
    """

    def __init__(self, name: str | None = "sum", dtype: Any = None) -> None:
        super().__init__(dtype, name)
        self.total = self.add_variable(name="total")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Add values."""
        self.total.assign_add(_of_rows(values, sample_weight, np.sum)[0].sum())

    def result(self) -> Any:
        return as_value(self.total)


class Mean(Metric):
    """Mean of values, weighted if there are weights.

    Parameters
    ----------
    name : str
    dtype : str, optional

    Examples
    --------
    >>> from fastdense.keras.metrics import Mean
    >>> float(Mean()([1, 3, 5, 7], sample_weight=[1, 1, 0, 0]))
    2.0
    """

    def __init__(self, name: str | None = "mean", dtype: Any = None) -> None:
        super().__init__(dtype, name)
        self.total = self.add_variable(name="total")
        self.count = self.add_variable(name="count")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Add values."""
        values, weights = _of_rows(values, sample_weight, np.mean)
        self.total.assign_add(values.sum())
        self.count.assign_add((len(values) if values.ndim else 1) if weights is None else weights.sum())

    def result(self) -> Any:
        return as_value(ratio(self.total, self.count))


class MeanMetricWrapper(Mean):
    """Mean of what a function returns for each row, ``fn(y_true, y_pred)``, or over batches if it returns one number.

    Parameters
    ----------
    fn : callable
    name : str, optional
    dtype : str, optional
    **kwargs
        Further arguments of `fn`.

    Examples
    --------
    >>> from fastdense.keras.metrics import MeanMetricWrapper
    >>> float(MeanMetricWrapper(lambda y, p: (p - y) ** 2, name="mse")([[1.0], [2.0]], [[1.0], [4.0]]))
    2.0
    """

    def __init__(self, fn: Callable[..., Any], name: str | None = None, dtype: Any = None, **kwargs: Any) -> None:
        super().__init__(name, dtype)
        self._fn, self._fn_kwargs = fn, kwargs

    def update_state(  # type: ignore[override]  # of Mean, as in Keras
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        """Take account of a batch."""
        y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
        super().update_state(self._fn(y_true, y_pred, **self._fn_kwargs), sample_weight)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal metric; the function as its name."""
        made = super().get_config()
        return {**made, "fn": self._fn.__name__, **self._fn_kwargs} if type(self) is MeanMetricWrapper else made

    @classmethod
    def from_config(cls: type[M], config: Mapping[str, Any]) -> M:
        """Return the metric that `get_config` described; the name of a function of your own must be registered."""
        given = dict(config)
        if isinstance(given.get("fn"), str):
            name = given["fn"]
            given["fn"] = get_registered_object(name) or FORMULAS.get(name)
            if given["fn"] is None:
                raise ValueError(
                    f"{cls.__name__}: there is no function {name!r}. Pass custom_objects={{{name!r}: ...}}."
                )
        return cls(**given)


def ratio(above: Any, below: Any) -> Array:
    """Quotients; 0 where the divisor is 0."""
    below = as_float64(below)
    return np.asarray(np.where(below == 0, 0.0, as_float64(above) / np.where(below == 0, 1.0, below)))
