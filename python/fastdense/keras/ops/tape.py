"""Reverse-mode differentiation of NumPy expressions: what makes losses and layers of a user's trainable.

A `Traced` array holds a value and, for each array it was made of, a function that takes a gradient back. The operations
of `fastdense.keras.ops`, Python's operators and the NumPy functions that are registered here accept it and return such
arrays; one pass from the last to the first gives the exact gradient. What has no derivative (comparisons, `argmax`)
returns a plain array. Where a function has a corner, the derivative is that of JAX: 0 for ``|x|`` and ReLU at 0, equal
shares for equal arguments of a maximum.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Back = Callable[[Array], Array]  # from the gradient of a result to that of an argument
_count = itertools.count()
_functions: dict[Any, Callable[..., Any]] = {}  # NumPy's functions and ufuncs: what they do with traced arrays
WAY_OUT = (
    "write the derivative yourself: loss=fastdense.losses.Custom(fn), fn(y_true, y_pred) -> (value, gradient), or a "
    "layer fastdense.Function(forward, backward)"
)


class NoDerivative(TypeError):
    """An operation was used on a prediction, or on the input of a layer, that cannot be differentiated here."""


def no_derivative(what: str) -> NoDerivative:
    """The error for an operation without a derivative."""
    return NoDerivative(
        f"{what} of a prediction or of a layer's input has no derivative here. Use operations of keras.ops, or "
        f"{WAY_OUT}."
    )


class Held:
    """What stands for an array that is another one in each call, such as a weight in a layer's ``call()``."""

    def now(self) -> Any:
        """The array, traced or plain."""
        raise NotImplementedError


class Traced:
    """An array in an expression that is to be differentiated.

    Parameters
    ----------
    value : ndarray
    parents : sequence of (Traced, callable)
        What it was made of, with the function that takes a gradient back.
    """

    __slots__ = ("order", "parents", "value")
    __hash__ = object.__hash__

    def __init__(self, value: Array, parents: Sequence[tuple[Traced, Back]] = ()) -> None:
        self.value, self.parents, self.order = value, parents, next(_count)

    # ---- as an array ---------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """As of an array; so are `ndim`, `size` and `dtype`."""
        return self.value.shape

    @property
    def ndim(self) -> int:
        return self.value.ndim

    @property
    def size(self) -> int:
        return self.value.size

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.value.dtype

    @property
    def T(self) -> Any:
        return call(np.transpose, self)

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.value)

    def __getitem__(self, key: Any) -> Any:
        key = tuple(plain(one) for one in key) if isinstance(key, tuple) else plain(key)
        return node(self.value[key], (self, lambda g: _scattered(g, self.value, key)))

    def __getattr__(self, name: str) -> Any:
        function = getattr(np, name, None) if name in _METHODS else None
        if function is None:
            raise AttributeError(
                f"a prediction in a loss, or the input of a layer, has no attribute {name!r}. Use keras.ops, or "
                f"{WAY_OUT}."
            )
        return lambda *args, **kwargs: call(function, self, *args, **kwargs)

    def reshape(self, *shape: Any) -> Any:
        return call(np.reshape, self, shape[0] if len(shape) == 1 else shape)

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        return cast(self, dtype)

    def flatten(self) -> Any:
        return call(np.reshape, self, -1)

    def copy(self) -> Any:
        return self

    def item(self) -> Any:
        raise no_derivative("item() or float()")

    __float__ = __int__ = item

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        raise no_derivative("conversion to a NumPy array")

    def numpy(self) -> Any:
        raise no_derivative("conversion to a NumPy array")

    def __repr__(self) -> str:
        return f"<traced array, shape {self.shape}, {self.dtype}>"

    # ---- NumPy and operators -------------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method == "reduce" and ufunc in _REDUCTIONS:
            return call(_REDUCTIONS[ufunc], *inputs, **{"axis": 0, **kwargs})
        if method != "__call__" or ufunc not in _functions or kwargs.get("out") is not None:
            raise no_derivative(f"np.{ufunc.__name__}{'' if method == '__call__' else '.' + method}")
        return _functions[ufunc](*inputs, **kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return call(function, *args, **kwargs)

    def __eq__(self, other: object) -> Any:
        return plain(self) == plain(other)

    def __ne__(self, other: object) -> Any:
        return plain(self) != plain(other)


def _operator(ufunc: Any, name: str, both: bool = True) -> None:
    setattr(Traced, f"__{name}__", lambda self, *other: _functions[ufunc](self, *other))
    if both:
        setattr(Traced, f"__r{name}__", lambda self, other: _functions[ufunc](other, self))


_BOTH: dict[str, Any] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide, "pow": np.power,
    "matmul": np.matmul, "floordiv": np.floor_divide, "mod": np.remainder,
}  # fmt: skip
_LEFT: dict[str, Any] = {
    "neg": np.negative, "pos": np.positive, "abs": np.absolute, "lt": np.less, "le": np.less_equal,
    "gt": np.greater, "ge": np.greater_equal,
}  # fmt: skip
for _name, _ufunc in _BOTH.items():
    _operator(_ufunc, _name)
for _name, _ufunc in _LEFT.items():
    _operator(_ufunc, _name, both=False)

_REDUCTIONS = {np.add: np.sum, np.multiply: np.prod, np.maximum: np.max, np.minimum: np.min}
_METHODS = ("sum", "mean", "max", "min", "prod", "std", "var", "clip", "squeeze", "transpose", "cumsum", "dot", "take",
            "repeat", "ravel", "argmax", "argmin", "any", "all", "round", "swapaxes")  # fmt: skip


# ---- symbolic tensors ------------------------------------------------------------------------------------------------


class Symbolic:
    """Base of symbolic tensors: operations on them are remembered, and become part of a net.

    Its subclass defines `operation`.
    """

    def operation(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The symbolic result of a function."""
        raise NotImplementedError

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__" or ufunc not in _functions or kwargs.get("out") is not None:
            raise no_derivative(f"np.{ufunc.__name__}{'' if method == '__call__' else '.' + method}")
        return self.operation(_functions[ufunc], inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function not in _functions:
            raise no_derivative(f"np.{getattr(function, '__name__', function)}")
        return self.operation(_functions[function], args, kwargs)

    def __getitem__(self, key: Any) -> Any:
        return self.operation(operator.getitem, (self, key), {})

    def __iter__(self) -> Any:
        raise TypeError("a symbolic tensor cannot be iterated over: use slices, or ops.split and ops.unstack.")


for _name, _ufunc in {**_BOTH, **_LEFT}.items():
    setattr(Symbolic, f"__{_name}__", lambda self, *other, f=_ufunc: self.operation(_functions[f], (self, *other), {}))
    if _name in _BOTH:
        setattr(
            Symbolic, f"__r{_name}__", lambda self, other, f=_ufunc: self.operation(_functions[f], (other, self), {})
        )


def dispatched(function: Callable[..., Any]) -> Callable[..., Any]:
    """An operation that takes symbolic tensors, too."""

    @functools.wraps(function)
    def operation(*args: Any, **kwargs: Any) -> Any:
        for one in (*args, *kwargs.values()):
            if isinstance(one, Symbolic):
                return one.operation(function, args, kwargs)
            if isinstance(one, (list, tuple)):
                for inner in one:
                    if isinstance(inner, Symbolic):
                        return inner.operation(function, args, kwargs)
        return function(*args, **kwargs)

    return operation


# ---- what operations are made of -----------------------------------------------------------------------------------


def registered(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark what a NumPy function or ufunc does with traced arrays."""

    def mark(made: Callable[..., Any]) -> Callable[..., Any]:
        _functions.update(dict.fromkeys(functions, made))
        return made

    return mark


def call(function: Any, *args: Any, **kwargs: Any) -> Any:
    """A NumPy function of arguments some of which are traced."""
    if function not in _functions:
        raise no_derivative(f"np.{getattr(function, '__name__', function)}")
    return _functions[function](*args, **kwargs)


def plain(x: Any) -> Any:
    """The value of a traced array; others as they are."""
    x = now(x)
    return x.value if isinstance(x, Traced) else x


def now(x: Any) -> Any:
    """The array that something stands for; others as they are."""
    return x.now() if isinstance(x, Held) else x


def array(x: Any) -> Any:
    """The value as a number or an array: a Python number stays one, so that it does not change a dtype."""
    x = plain(x)
    return x if isinstance(x, (bool, int, float)) else np.asarray(x)


def node(value: Any, *parents: tuple[Any, Back]) -> Any:
    """A result with a way back for each argument; the plain value if no argument is traced."""
    traced = [(parent, back) for parent, back in ((now(x), back) for x, back in parents) if isinstance(parent, Traced)]
    return Traced(np.asarray(value), traced) if traced else value


def cast(x: Any, dtype: Any) -> Any:
    """An array in another type; the derivative goes through where the type is a floating one."""
    value = np.asarray(plain(x))
    made = value.astype(dtype)
    if made.dtype.kind != "f":
        return made
    return node(made, (x, lambda g: g.astype(value.dtype)))


def to_shape(g: Array, shape: tuple[int, ...]) -> Array:
    """The gradient of what was broadcast: summed over the rows and columns that it was repeated over."""
    if g.shape == shape:
        return g
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    axes = tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] != 1)
    return g.sum(axis=axes, keepdims=True) if axes else g


def _scattered(g: Array, like: Array, key: Any) -> Array:
    out = np.zeros_like(like, dtype=g.dtype)
    np.add.at(out, key, g)
    return out


def _reached(result: Any) -> dict[int, Traced]:
    """A result and all that it was made of, by their identity."""
    found: dict[int, Traced] = {}
    waiting = [result] if isinstance(result, Traced) else []
    while waiting:
        one = waiting.pop()
        if id(one) not in found:
            found[id(one)] = one
            waiting.extend(parent for parent, _ in one.parents)
    return found


def pullback(result: Any, g: Array, of: Sequence[Traced]) -> list[Array]:
    """From the gradient of a result to those of arrays that it was made of; zeros for those that have no part in it."""
    gradients: dict[int, Array] = {id(result): g}
    found: dict[int, Array] = {}
    wanted = {id(one) for one in of}
    for one in sorted(_reached(result).values(), key=lambda traced: -traced.order):
        own = gradients.pop(id(one), None)
        if own is None:
            continue
        if id(one) in wanted:
            found[id(one)] = own
        for parent, back in one.parents:
            part = back(own)
            known = gradients.get(id(parent))
            gradients[id(parent)] = part if known is None else known + part
    return [found[id(one)] if id(one) in found else np.zeros_like(one.value) for one in of]


def gradient(result: Any, of: Traced) -> Array:
    """The gradient of a result, which is a single number, by one of the arrays that it was made of.

    Raises
    ------
    NoDerivative
        If the result does not depend on it through operations that have a derivative.
    """
    if id(of) not in _reached(result):
        raise NoDerivative(
            "the loss does not depend on y_pred by operations that have a derivative: comparisons, integers, argmax "
            f"and stop_gradient have none. Use others, or {WAY_OUT}."
        )
    return pullback(result, np.ones_like(result.value), [of])[0]
