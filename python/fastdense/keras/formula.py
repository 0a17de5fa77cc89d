"""Functions of tensors as what engines call for a layer: with the exact gradient of `fastdense.keras.ops.tape`."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..arguments import shorten
from ..layers.function import Computation, WrongFunction
from .ops.tape import Held, Traced, call, now, plain, pullback
from .variables import Weight

Values = NDArray[Any]
Shape = tuple[int, ...]


class _Running(threading.local):
    """What the weights of the layer are that this thread computes, by their identity; None outside of one."""

    values: Mapping[int, Any] | None = None


_running = _Running()


@contextlib.contextmanager
def running(values: Mapping[int, Any] | None) -> Iterator[None]:
    """Within it, these are the values of weights."""
    before, _running.values = _running.values, values
    try:
        yield
    finally:
        _running.values = before


class CallsLayers(BaseException):
    """A function of tensors called a layer, so that it is no formula but a net. (No Exception, which trials report.)"""


def check_no_layer(name: str, x: Any) -> None:
    """Raise if a layer is called inside of a formula."""
    if isinstance(x, Traced) or _running.values is not None:
        raise CallsLayers(name)


class OwnWeight(Held, Weight):
    """A weight that a layer's own code added: in its ``call()`` it is what the engine has at that moment.

    Parameters
    ----------
    layer : Layer
    name : str
    values : ndarray
        Its first values.
    options : dict
        Arguments of `fastdense.layers.Weight`.
    """

    def __init__(self, layer: Any, name: str, values: Values, options: dict[str, Any]) -> None:
        super().__init__(layer, -1, name, bool(options["trainable"]))
        self.first, self.options = values, options

    def now(self) -> Any:
        known = _running.values
        if known is None:
            return self._read()
        if id(self) not in known:
            raise WrongFunction(f"{self.path} is a weight of another layer, which a formula cannot use")
        return known[id(self)]

    def _own(self) -> list[OwnWeight]:
        return self.layer.own.weights  # type: ignore[no-any-return, attr-defined]

    def _read(self) -> Values:
        if _running.values is not None:
            return np.asarray(plain(self))
        return np.asarray(self.layer.get_weights()[self._place()])

    def _place(self) -> int:
        return next(i for i, one in enumerate(self._own()) if one is self)

    def assign(self, value: Any) -> Any:
        """Replace its values by others of the same shape; not in ``call()``."""
        self._check_outside()
        return super().assign(value)

    def assign_add(self, value: Any) -> Any:
        """Add to its values."""
        self._check_outside()
        return super().assign_add(value)

    def assign_sub(self, value: Any) -> Any:
        """Subtract from its values."""
        self._check_outside()
        return super().assign_sub(value)

    def _check_outside(self) -> None:
        if _running.values is not None:
            raise WrongFunction(f"{self.path} is assigned in call(), which would not last. Compute it in a callback.")

    def _write(self, values: Values) -> None:
        weights: list[Any] = self.layer.get_weights()
        weights[self._place()] = values
        self.layer.set_weights(weights)

    @property
    def value(self) -> Any:
        """Its values."""
        return super().value if _running.values is None else self.now()

    def numpy(self) -> Values:
        """A copy of its values."""
        return np.array(self._outside("numpy()"))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Values:
        return np.array(self._outside("conversion to a NumPy array"), dtype=dtype)

    def _outside(self, what: str) -> Values:
        x = self.now()
        if isinstance(x, Traced):
            x.__array__()  # raises
        return np.asarray(x)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if _running.values is None:
            return super().__array_ufunc__(ufunc, method, *inputs, **options)
        return getattr(ufunc, method)(*(now(one) for one in inputs), **options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        args = tuple(now(one) for one in args)
        return (call if any(isinstance(one, Traced) for one in args) else _plainly)(function, *args, **kwargs)


def _plainly(function: Any, *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


class Formula(Computation):
    """A function of a batch, or of several that are columns of one, with weights.

    Parameters
    ----------
    function : callable
        ``function(x, training)``, where `x` is an array (rows, ...), or a list of them.
    name : str
        Of the layer, for messages and in files.
    shapes : sequence of tuple of int
        Of a row of each array.
    listed : bool
        Whether the function takes a list.
    weights : sequence of OwnWeight

    Attributes
    ----------
    output_shape : tuple of int
        Of a row, once it was called.
    """

    title = "layer"

    def __init__(
        self,
        function: Callable[[Any, bool], Any],
        name: str,
        shapes: Sequence[Shape],
        listed: bool = False,
        weights: Sequence[OwnWeight] = (),
    ) -> None:
        super().__init__(function, None, name)
        self.function, self.shapes, self.listed, self.own = function, list(shapes), listed, list(weights)
        self.output_shape: Shape = ()

    def forward(self, x: Values, weights: list[Values], training: bool, keep: bool) -> tuple[Values, Any]:
        ends = np.cumsum([math.prod(one) for one in self.shapes]).tolist()
        parts = np.split(x, ends[:-1], axis=1) if len(ends) > 1 else [x]
        inputs: list[Any] = [part.reshape(len(x), *shape) for part, shape in zip(parts, self.shapes, strict=True)]
        if keep:
            inputs = [Traced(one) for one in inputs]
        traced = [Traced(one) if keep and w._trains else one for one, w in zip(weights, self.own, strict=True)]
        with np.errstate(all="ignore"), running({id(w): one for w, one in zip(self.own, traced, strict=True)}):
            y = now(self.function(inputs if self.listed else inputs[0], training))
        made = self.checked("call()", y, len(x))
        return made, (y, inputs, traced[: self.trained]) if keep else None

    def backward(self, memory: Any, dy: Values) -> tuple[Values, list[Values]]:
        y, inputs, weights = memory
        if not isinstance(y, Traced):
            found = [np.zeros_like(one.value) for one in (*inputs, *weights)]
        else:
            with np.errstate(all="ignore"):
                found = pullback(y, dy.reshape(y.shape).astype(y.dtype), [*inputs, *weights])
        parts = [one.reshape(len(dy), -1) for one in found[: len(inputs)]]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1), found[len(inputs) :]

    def checked(self, where: str, made: Any, rows: int) -> Values:
        made = plain(made)
        if made is None or isinstance(made, (list, tuple, dict)):
            self.fail(f"its function returned {shorten(made)}", "one tensor is needed")
        array = np.asarray(made)
        if array.dtype.kind not in "fiub":
            self.fail(f"its function returned an array of dtype {array.dtype}", "real numbers are needed")
        if array.ndim < 2 or len(array) != rows:
            self.fail(
                f"its function returned an array of shape {array.shape} for {rows} rows",
                f"shape ({rows}, ...) with at least two dimensions is needed: e.g. keepdims=True in sums and means",
            )
        self.output_shape = tuple(array.shape[1:])
        return array.reshape(rows, -1)

    def failed(self, error: Exception, x: Values) -> NoReturn:
        """Raise for what the function raised in a trial."""
        if isinstance(error, TypeError):
            raise TypeError(f"layer {self.name!r}: it cannot be computed: {error}") from error
        raise WrongFunction(f"layer {self.name!r}: its function raised {type(error).__name__}: {error}") from error
