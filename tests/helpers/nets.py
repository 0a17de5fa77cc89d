"""Random nets for tests of files and formats: every layer, every activation, first values that are not all alike."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

import fastdense as fd
from fastdense.activations import ACTIVATIONS, ALPHA
from fastdense.arrays import Array

INNER = tuple(name for name in ACTIVATIONS if name != "softmax")
MERGES = ("concatenate", "add", "subtract", "multiply", "average", "maximum", "minimum")
FRONT = ("none", "normalization", "log1p", "one_hot", "periodic", "robust_scale", "impute", "piecewise_linear",
         "cosines", "category")  # fmt: skip
BODY = ("dense", "dense", "dense", "activation", "batch_norm", "layer_norm", "unit_norm", "scale", "rescaling",
        "dropout", "noise", "residual", "branches", "select")  # fmt: skip
ROUNDING = 2e-6  # of the outputs of a random net in float32, at most


class Net(NamedTuple):
    """A model, and rows for it."""

    model: fd.Model
    x: Array


def activation(draw: Any, names: tuple[str, ...] = INNER) -> Any:
    """A name, or for some an `Activation` with a parameter of its own."""
    name = draw(st.sampled_from(names))
    if name in ALPHA and draw(st.booleans()):
        return fd.Activation(name, draw(st.sampled_from([0.1, 0.3, 0.7])))
    return name


def columns(draw: Any, width: int) -> list[int] | None:
    """Some columns, or None for all."""
    if draw(st.booleans()):
        return None
    return sorted(draw(st.sets(st.integers(0, width - 1), min_size=1)))


def front(draw: Any, kind: str, width: int, x: Array) -> list[Any]:
    """The layers that work on the data, adapted to it; x may be changed so that they have something to do."""
    some = columns(draw, width)
    chosen = list(range(width)) if some is None else some
    if kind == "normalization":
        return [fd.Normalization().adapt(x)]
    if kind == "log1p":
        return [fd.Log1p(draw(st.sampled_from([0.5, [0.5 + c for c in chosen]])), some, offset=0.25)]
    if kind == "one_hot":
        x[:, chosen] = np.rint(x[:, chosen])
        return [fd.OneHot(some).adapt(x[: len(x) // 2])]
    if kind == "periodic":
        each = draw(st.sampled_from([[0.5], [0.25, 1.5], [[0.5, 0.25 + c] for c in chosen]]))
        return [fd.Periodic(each, some, draw(st.booleans()))]
    if kind == "robust_scale":
        return [fd.RobustScale(some, draw(st.sampled_from([None, 2.0]))).adapt(x)]
    if kind == "impute":
        x[::3, chosen[0]] = np.nan
        return [fd.Impute(some, draw(st.sampled_from([True, False, chosen[:1]]))).adapt(x)]
    if kind in ("piecewise_linear", "cosines"):
        own = {"bins": draw(st.integers(1, 4))} if kind == "piecewise_linear" else {"frequencies": 3, "sigma": 0.5}
        size = draw(st.sampled_from([None, 1, 3]))
        name = draw(st.sampled_from([None, "relu", "tanh", "leaky_relu"])) if size else None
        named = kind if kind == "piecewise_linear" else "periodic"
        layer = fd.NumericEmbedding(named, some, **own, size=size, activation=name, keep=draw(st.booleans()))
        return [layer.adapt(x) if kind == "piecewise_linear" else layer]
    if kind == "category":
        x[:, chosen] = np.rint(x[:, chosen])
        return [fd.CategoryEmbedding(some, draw(st.integers(1, 3))).adapt(x[: len(x) // 2])]
    return []


def body(draw: Any, kind: str, width: int, depth: int, kinds: tuple[str, ...]) -> tuple[Any, int]:
    """A layer inside of a net and the number of its outputs."""
    if kind == "dense":
        units = draw(st.integers(1, 6))
        return fd.Dense(units, activation(draw), use_bias=draw(st.booleans())), units
    if kind == "activation":
        given = activation(draw)
        return (given if isinstance(given, fd.Activation) else fd.Activation(given)), width
    if kind in ("batch_norm", "layer_norm"):
        made = fd.BatchNorm if kind == "batch_norm" else fd.LayerNorm
        return made(center=draw(st.booleans()), scale=draw(st.booleans()), epsilon=0.01), width
    if kind == "rescaling":
        return fd.Rescaling(draw(st.sampled_from([-0.5, [0.5 + c for c in range(width)]])), 0.25), width
    if kind == "noise":
        layer = draw(st.sampled_from([fd.layers.GaussianNoise(0.1), fd.layers.GaussianDropout(0.1),
                                      fd.layers.AlphaDropout(0.1), fd.layers.ActivityRegularization(0.1)]))  # fmt: skip
        return layer, width
    if kind == "select":
        chosen = draw(st.permutations(range(width)))[: draw(st.integers(1, width))]
        return fd.SelectColumns(chosen), len(chosen)
    if kind == "residual":
        inner, _ = chain(draw, width, depth + 1, kinds=kinds)
        return fd.Residual([*inner, fd.Dense(width)]), width
    if kind == "branches":
        merge = draw(st.sampled_from(MERGES))
        made, total = [], 0
        for _ in range(2 if merge == "subtract" else draw(st.integers(2, 3))):
            inner, out = chain(draw, width, depth + 1, least=0, kinds=kinds)
            if merge != "concatenate":
                inner, out = [*inner, fd.Dense(3)], 3
            made.append(inner)
            total += out
        return fd.Branches(made, merge), total if merge == "concatenate" else 3
    named = {"scale": fd.Scale(), "dropout": fd.Dropout(0.3), "unit_norm": fd.layers.UnitNormalization()}
    return named[kind], width


def chain(
    draw: Any, width: int, depth: int = 0, least: int = 1, kinds: tuple[str, ...] = BODY
) -> tuple[list[Any], int]:
    """A few layers one after another and the number of outputs."""
    layers = []
    for _ in range(draw(st.integers(least, 3 if depth < 2 else 1))):
        allowed = kinds if depth < 2 else [kind for kind in kinds if kind not in ("residual", "branches")]
        layer, width = body(draw, draw(st.sampled_from(allowed)), width, depth, kinds)
        layers.append(layer)
    return layers, width


def randomized(model: fd.Model, seed: int) -> fd.Model:
    """The model with numbers in the tensors that begin alike, such as biases and moving statistics."""
    random, values = np.random.default_rng(seed), model.get_weights()
    for i, (value, spec) in enumerate(zip(values, model.net.tensors, strict=True)):
        name = spec.name.rpartition("/")[2].rpartition(".")[2]
        if name in ("bias", "beta", "slope", "moving_mean"):
            values[i] = random.normal(0, 0.3, value.shape)
        elif name in ("gamma", "moving_variance") or (name == "scale" and spec.trainable):
            values[i] = random.uniform(0.5, 1.5, value.shape)
    model.set_weights(values)
    return model


@st.composite
def nets(
    draw: Any,
    fronts: tuple[str, ...] = FRONT,
    kinds: tuple[str, ...] = BODY,
    last: tuple[str, ...] = ("linear", "sigmoid", "softmax"),
    names: tuple[str, ...] = INNER,
    dtype: str = "float32",
) -> Net:
    """A random net and rows for it.

    Parameters
    ----------
    fronts, kinds : tuple of str
        What may stand in front, and what inside.
    last : tuple of str
        Activations of the last layer.
    names : tuple of str
        Activations of a `Dense` that is always there.
    dtype : str
    """
    seed = draw(st.integers(0, 2**16))
    width = draw(st.integers(1, 5))
    x = np.random.default_rng(seed).normal(0, 1.5, (24, width))
    first = front(draw, draw(st.sampled_from(fronts)), width, x)
    layers = [*first, fd.Dense(draw(st.integers(1, 8)), activation(draw, names))]
    inner, _ = chain(draw, layers[-1].units, least=0, kinds=kinds)
    final = fd.Dense(draw(st.integers(1, 4)), draw(st.sampled_from(last)))
    model = fd.Model([*layers, *inner, final], inputs=width, seed=seed, dtype=dtype)
    made = Net(randomized(model, seed), x.astype(np.float32))
    largest = np.abs(made.model.predict(made.x)).max()
    assume(largest < 1e6)  # exponentials of exponentials end beyond the largest number
    if dtype == "float32":  # what divides by nearly nothing, such as a norm of nearly equal values, magnifies roundings
        exact = fd.Model([*layers, *inner, final], inputs=width, dtype="float64")
        exact.set_weights(model.get_weights())
        assume(np.abs(exact.predict(made.x) - model.predict(made.x)).max() < ROUNDING * max(1.0, largest))
    return made


def check_close(made: Array, net: Net, tolerance: float = 1e-5) -> None:
    """Outputs as the model gives them.

    Both are computed in single precision, in other orders: a few roundings (6e-8) for each of a few layers, more where
    a layer divides by a small deviation. `nets` draws none whose own outputs are further than ROUNDING from those in
    double precision; 1e-5 of the largest output, or of 1, leaves five times that.
    """
    right = net.model.predict(net.x.astype(net.model.dtype))
    np.testing.assert_allclose(made, right, rtol=tolerance, atol=tolerance * max(1.0, float(np.abs(right).max())))


def net_of_activation(name: str) -> Net:
    """A small net with this activation, and its parameter where it has one, and rows that reach all of its parts."""
    x = np.linspace(-9.0, 9.1, 61, dtype=np.float32)[:, None]  # not on the steps of activations that jump
    alpha = 0.3 if name in ALPHA else None
    model = fd.Model([fd.Dense(3, fd.Activation(name, alpha))], inputs=1, seed=1)
    kernel = np.array([[1.0, -0.5, 0.25]])
    model.set_weights([kernel, np.array([0.1, 0.0, -0.2]), *([np.full(3, 0.2)] if name == "prelu" else [])])
    return Net(model, x)
