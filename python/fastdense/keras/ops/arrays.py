"""Operations on whole arrays: sums and other reductions, shapes, parts, products."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import numpy as np

from .elementwise import add, divide, exp, log, multiply, sqrt, square, subtract
from .tape import Array, Traced, array, cast, node, now, plain, registered

Axis = int | tuple[int, ...] | None


# ---- reductions ------------------------------------------------------------------------------------------------------


def _axis(axis: Any) -> Any:
    return tuple(axis) if isinstance(axis, list) else axis


def _spread(g: Any, shape: tuple[int, ...], axis: Any, keepdims: bool) -> Array:
    """A gradient of a reduction in the shape of what was reduced."""
    if axis is not None and not keepdims:
        axes = {one % len(shape) for one in (axis if isinstance(axis, tuple) else (axis,))}
        g = g.reshape([1 if i in axes else n for i, n in enumerate(shape)])
    out = np.empty(shape, g.dtype)  # quicker than np.broadcast_to
    out[...] = g
    return out


@registered(np.sum)
def sum(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Any:
    """The sum over some axes."""
    given, axis = np.asarray(array(x)), _axis(axis)
    return node(
        np.sum(given, axis=axis, keepdims=keepdims, dtype=dtype), (x, lambda g: _spread(g, given.shape, axis, keepdims))
    )


@registered(np.mean)
def mean(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Any:
    """The mean over some axes."""
    given, axis = np.asarray(array(x)), _axis(axis)
    made = np.mean(given, axis=axis, keepdims=keepdims, dtype=dtype)
    count = given.size / builtins.max(1, np.size(made))
    return node(made, (x, lambda g: _spread(g / count, given.shape, axis, keepdims).astype(given.dtype)))


@registered(np.var)
def var(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The variance over some axes."""
    return mean(square(subtract(x, mean(x, axis, keepdims=True))), axis, keepdims)


@registered(np.std)
def std(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The standard deviation over some axes."""
    return sqrt(var(x, axis, keepdims))


def _extreme(reduce: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    given, axis = np.asarray(array(x)), _axis(axis)
    kept = reduce(given, axis=axis, keepdims=True)
    chosen = given == kept
    shares = chosen / np.sum(chosen, axis=axis, keepdims=True)  # equal ones share the gradient
    made = reduce(given, axis=axis, keepdims=keepdims)
    return node(made, (x, lambda g: (_spread(g, given.shape, axis, keepdims) * shares).astype(given.dtype)))


@registered(np.max)
def max(x: Any, axis: Any = None, keepdims: bool = False, initial: Any = None) -> Any:
    """The largest element over some axes."""
    return _extreme(np.max, x, axis, keepdims)


@registered(np.min)
def min(x: Any, axis: Any = None, keepdims: bool = False, initial: Any = None) -> Any:
    """The smallest element over some axes."""
    return _extreme(np.min, x, axis, keepdims)


amax, amin = max, min


@registered(np.prod)
def prod(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Any:
    """The product over some axes; it must have no more than one factor 0 to be differentiated."""
    given, axis = np.asarray(array(x)), _axis(axis)
    made = np.prod(given, axis=axis, keepdims=keepdims)

    def back(g: Array) -> Array:
        zeros = given == 0
        others = np.prod(np.where(zeros, 1, given), axis=axis, keepdims=True)
        none, one = np.sum(zeros, axis=axis, keepdims=True) == 0, np.sum(zeros, axis=axis, keepdims=True) == 1
        by = np.where(none, others / np.where(zeros, 1, given), np.where(one & zeros, others, 0))
        return (_spread(g, given.shape, axis, keepdims) * by).astype(given.dtype)

    return node(made, (x, back))


@registered(np.cumsum)
def cumsum(x: Any, axis: Any = None) -> Any:
    """The sums up to each element."""
    given = np.asarray(array(x))

    def back(g: Array) -> Array:
        if axis is None:
            return np.cumsum(g[::-1])[::-1].reshape(given.shape)
        return np.flip(np.cumsum(np.flip(g, axis), axis=axis), axis)

    return node(np.cumsum(given, axis=axis), (x, back))


@registered(np.average)
def average(x: Any, axis: Any = None, weights: Any = None) -> Any:
    """The mean, with weights of the shape of `x` or none."""
    if weights is None:
        return mean(x, axis)
    return divide(sum(multiply(x, weights), axis), sum(weights, axis))


def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The logarithm of the sum of exponentials."""
    largest = np.max(np.asarray(array(x)), axis=_axis(axis), keepdims=True)
    largest = np.where(np.isfinite(largest), largest, 0)
    made = add(log(sum(exp(subtract(x, largest)), axis, keepdims=True)), largest)
    return made if keepdims else squeeze(made, tuple(range(np.ndim(plain(x)))) if axis is None else axis)


def softmax(x: Any, axis: Any = -1) -> Any:
    """Exponentials divided by their sum."""
    return exp(log_softmax(x, axis))


def log_softmax(x: Any, axis: Any = -1) -> Any:
    """The logarithm of `softmax`."""
    return subtract(x, logsumexp(x, axis, keepdims=True))


@registered(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The Euclidean norm of vectors (`ord` None or 2), the sum of absolute values (1) or the largest (inf)."""
    if ord in (None, "fro", 2) and not (
        ord == 2 and (isinstance(axis, tuple) or (axis is None and plain(x).ndim == 2))
    ):
        return sqrt(sum(square(x), axis, keepdims))
    if ord == 1:
        return sum(np.abs(x), axis, keepdims)
    if ord == np.inf:
        return max(np.abs(x), axis, keepdims)
    if isinstance(now(x), Traced):
        raise ValueError(f"norm: ord={ord!r} has no derivative here. Use ord=None, 1, 2 or inf of vectors.")
    return np.linalg.norm(x, ord, axis, keepdims)


def normalize(x: Any, axis: Any = -1, order: Any = 2, epsilon: float = 1e-12) -> Any:
    """`x` divided by its norms."""
    return divide(x, np.maximum(norm(x, order, axis, keepdims=True), epsilon))


# ---- shapes ----------------------------------------------------------------------------------------------------------


@registered(np.reshape)
def reshape(x: Any, newshape: Any) -> Any:
    """The same elements in another shape."""
    given = np.asarray(array(x))
    return node(np.reshape(given, newshape), (x, lambda g: np.reshape(g, given.shape)))


@registered(np.ravel)
def ravel(x: Any) -> Any:
    """The same elements in one row."""
    return reshape(x, -1)


@registered(np.squeeze)
def squeeze(x: Any, axis: Any = None) -> Any:
    """Without axes of length 1."""
    return reshape(x, np.squeeze(np.asarray(array(x)), axis=_axis(axis)).shape)


@registered(np.expand_dims)
def expand_dims(x: Any, axis: Any) -> Any:
    """With a further axis of length 1."""
    return reshape(x, np.expand_dims(np.asarray(array(x)), axis=_axis(axis)).shape)


@registered(np.transpose)
def transpose(x: Any, axes: Any = None) -> Any:
    """With axes in another order, by default in reverse."""
    given = np.asarray(array(x))
    order = tuple(range(given.ndim))[::-1] if axes is None else tuple(axis % given.ndim for axis in axes)
    return node(np.transpose(given, order), (x, lambda g: np.transpose(g, np.argsort(order))))


@registered(np.swapaxes)
def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """With two axes exchanged."""
    return node(np.swapaxes(array(x), axis1, axis2), (x, lambda g: np.swapaxes(g, axis1, axis2)))


@registered(np.moveaxis)
def moveaxis(x: Any, source: Any, destination: Any) -> Any:
    """With some axes at other places."""
    return node(np.moveaxis(array(x), source, destination), (x, lambda g: np.moveaxis(g, destination, source)))


@registered(np.flip)
def flip(x: Any, axis: Any = None) -> Any:
    """With elements in reverse order."""
    return node(np.flip(array(x), axis), (x, lambda g: np.flip(g, axis)))


@registered(np.roll)
def roll(x: Any, shift: Any, axis: Any = None) -> Any:
    """With elements moved round."""
    return node(np.roll(array(x), shift, axis), (x, lambda g: np.roll(g, -np.asarray(shift), axis)))


@registered(np.broadcast_to)
def broadcast_to(x: Any, shape: Any) -> Any:
    """Repeated to a shape."""
    return multiply(x, np.ones(shape, dtype=np.asarray(plain(x)).dtype))


@registered(np.tile)
def tile(x: Any, repeats: Any) -> Any:
    """Repeated as a whole."""
    return _picked(x, lambda places: np.tile(places, repeats))


@registered(np.repeat)
def repeat(x: Any, repeats: Any, axis: Any = None) -> Any:
    """With each element repeated."""
    return _picked(x, lambda places: np.repeat(places, repeats, axis))


# ---- parts -----------------------------------------------------------------------------------------------------------


def _picked(x: Any, pick: Any) -> Any:
    """Elements of `x` at the places that `pick` makes of an array of all places."""
    given = np.asarray(array(x))
    places = pick(np.arange(given.size).reshape(given.shape))

    def back(g: Array) -> Array:
        counted = np.bincount(np.ravel(places), weights=np.ravel(g), minlength=given.size)
        return counted.reshape(given.shape).astype(given.dtype)

    return node(given.reshape(-1)[places], (x, back))


@registered(np.take)
def take(x: Any, indices: Any, axis: Any = None) -> Any:
    """Some of the elements, or of the rows or columns, by their number."""
    return _picked(x, lambda places: np.take(places, np.asarray(plain(indices)).astype(np.intp), axis))


@registered(np.take_along_axis)
def take_along_axis(x: Any, indices: Any, axis: int = -1) -> Any:
    """In each row the elements of these numbers."""
    return _picked(x, lambda places: np.take_along_axis(places, np.asarray(plain(indices)).astype(np.intp), axis))


@registered(np.sort)
def sort(x: Any, axis: int = -1) -> Any:
    """In ascending order."""
    return take_along_axis(x, np.argsort(array(x), axis=axis, kind="stable"), axis)


@registered(np.diagonal)
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The diagonal."""
    return _picked(x, lambda places: np.diagonal(places, offset, axis1, axis2))


@registered(np.triu)
def triu(x: Any, k: int = 0) -> Any:
    """With zeros below the diagonal."""
    return multiply(x, np.triu(np.ones(np.shape(plain(x))[-2:], dtype=plain(x).dtype), k))


@registered(np.tril)
def tril(x: Any, k: int = 0) -> Any:
    """With zeros above the diagonal."""
    return multiply(x, np.tril(np.ones(np.shape(plain(x))[-2:], dtype=plain(x).dtype), k))


@registered(np.concatenate)
def concatenate(xs: Sequence[Any], axis: int = 0) -> Any:
    """Arrays one after another along an axis."""
    given = [np.asarray(array(x)) for x in xs]
    ends = np.cumsum([one.shape[axis] for one in given])

    def back(k: int) -> Any:
        return lambda g: np.split(g, ends[:-1], axis)[k]

    return node(np.concatenate(given, axis), *((x, back(k)) for k, x in enumerate(xs)))


@registered(np.stack)
def stack(x: Sequence[Any], axis: int = 0) -> Any:
    """Arrays along a new axis."""
    return concatenate([expand_dims(one, axis) for one in x], axis)


@registered(np.split)
def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """Parts along an axis."""
    places = np.arange(np.shape(plain(x))[axis])
    return [take(x, part, axis) for part in np.split(places, indices_or_sections)]


def unstack(x: Any, num: int | None = None, axis: int = 0) -> list[Any]:
    """Each row or column by itself."""
    return [take(x, i, axis) for i in range(np.shape(plain(x))[axis])]


def top_k(x: Any, k: int, sorted: bool = True) -> tuple[Any, Any]:
    """The largest `k` of each row, and their numbers."""
    places = np.argsort(-np.asarray(array(x)), axis=-1, kind="stable")[..., :k]
    return take_along_axis(x, places, -1), places.astype(np.int32)


# ---- products --------------------------------------------------------------------------------------------------------


@registered(np.matmul)
def matmul(x1: Any, x2: Any) -> Any:
    """The product of matrices."""
    a, b = np.asarray(array(x1)), np.asarray(array(x2))
    if a.ndim != 2 or b.ndim != 2:
        if a.ndim in (1, 2) and b.ndim in (1, 2):
            rows, columns = a if a.ndim == 2 else a[None], b if b.ndim == 2 else b[:, None]
            made = matmul(reshape(x1, rows.shape), reshape(x2, columns.shape))
            return reshape(made, np.matmul(a, b).shape)
        return einsum("...ij,...jk->...ik", x1, x2)
    return node(np.matmul(a, b), (x1, lambda g: g @ b.T), (x2, lambda g: a.T @ g))


@registered(np.dot)
def dot(x1: Any, x2: Any) -> Any:
    """`matmul`, or the product of numbers with an array."""
    if not np.ndim(plain(x1)) or not np.ndim(plain(x2)):
        return multiply(x1, x2)
    return matmul(x1, x2)


@registered(np.outer)
def outer(x1: Any, x2: Any) -> Any:
    """The products of all pairs."""
    return multiply(reshape(x1, (-1, 1)), reshape(x2, (1, -1)))


@registered(np.einsum)
def einsum(subscripts: str, *operands: Any) -> Any:
    """A sum of products, written as in `numpy.einsum` with ``->``; of one or two arrays that have no repeated index."""
    given = [np.asarray(array(x)) for x in operands]
    made = np.einsum(subscripts, *given)
    if not builtins.any(isinstance(now(x), Traced) for x in operands):
        return made
    inputs, _, output = subscripts.replace(" ", "").partition("->")
    names = inputs.split(",")
    letters = [name.replace("...", "") for name in names]
    whole = len(operands) == 2 and "->" in subscripts and builtins.all(len(set(one)) == len(one) for one in letters)
    known = whole and builtins.all(set(letters[k]) <= set(output + letters[1 - k]) for k in (0, 1))
    if not known or ("..." in subscripts and given[0].shape[:-2] != given[1].shape[:-2]):
        raise ValueError(f"einsum: {subscripts!r} has no derivative here. Use matmul, multiply, sum and transpose.")

    def back(k: int) -> Any:
        return lambda g: np.einsum(f"{output},{names[1 - k]}->{names[k]}", g, given[1 - k])

    return node(made, (operands[0], back(0)), (operands[1], back(1)))


# ---- without a derivative --------------------------------------------------------------------------------------------


def _without(name: str, function: Any, *also: Any) -> Any:
    def operation(x: Any, *args: Any, **kwargs: Any) -> Any:
        return function(array(x), *args, **kwargs)

    operation.__name__ = operation.__qualname__ = name
    operation.__doc__ = f"``numpy.{name}``, without a derivative."
    return registered(function, *also)(operation)


argmax, argmin, argsort = _without("argmax", np.argmax), _without("argmin", np.argmin), _without("argsort", np.argsort)
any, all = _without("any", np.any), _without("all", np.all)
count_nonzero = _without("count_nonzero", np.count_nonzero)
isclose, searchsorted = _without("isclose", np.isclose), _without("searchsorted", np.searchsorted)
shape, ndim, size = _without("shape", np.shape), _without("ndim", np.ndim), _without("size", np.size)
zeros_like, ones_like = _without("zeros_like", np.zeros_like), _without("ones_like", np.ones_like)
full_like = _without("full_like", np.full_like)


def stop_gradient(x: Any) -> Any:
    """The value, whose derivative counts as 0."""
    return plain(x)


def convert_to_tensor(x: Any, dtype: Any = None, sparse: Any = None) -> Any:
    """`x` as an array, of another type if asked for."""
    x = now(x)
    if isinstance(x, (list, tuple)) and x and isinstance(now(x[0]), Traced):
        x = stack(x)
    if dtype is None:
        return x if isinstance(x, Traced) else np.asarray(x)
    return cast(x, dtype)
