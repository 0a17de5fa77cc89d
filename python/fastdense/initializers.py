"""Initializers: the first values of a layer's tensors.

Formulas and defaults are those of Keras 3; ``fan_in`` and ``fan_out`` are the rows and columns of a kernel, and both
are the length of a vector. Random numbers are counter-based: element ``e`` of the model's tensor number ``index``
depends on the seed, ``index`` and ``e`` only, so a net starts with the same values on every engine.

Every random initializer takes ``seed=None``: None means the seed of the model, a number is used instead of it for this
tensor. Two layers never get the same values from one seed, since their tensors have different numbers.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .activations import TABLE
from .arguments import choice, integer, number
from .engine import native
from .engine.blas import one_numpy_thread, qr
from .specs import Spec, resolve

__all__ = [
    "Auto",
    "Constant",
    "Data",
    "Draw",
    "Draws",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "get",
]

Array = NDArray[np.float64]
Seeds = NDArray[np.uint64]
Shape = tuple[int, ...]

MAX_SEED = 2**64 - 1

# Standard deviation of a standard normal cut off at two standard deviations.
_TRUNCATED_SD = 0.87962566103423978


class Draw(NamedTuple):
    """The random source of one tensor: the model's seed and the tensor's number."""

    seed: int
    tensor: int


class Draws:
    """Gives the random source of each tensor of a model in order.

    Parameters
    ----------
    seed : int
        The model's seed, from 0 to 2**64 - 1.
    """

    def __init__(self, seed: int) -> None:
        self.seed = integer("seed", seed, least=0, most=MAX_SEED)
        self.index = 0

    def __call__(self, shape: Shape) -> Draw:
        """Return the source of the next tensor, which will have this shape."""
        draw = Draw(self.seed, self.index)
        self.index += 1
        return draw


def _stack(seeds: Seeds, index: int, shape: Shape, kind: str) -> Array:
    return native.random_many(seeds, index, math.prod(shape), kind).reshape(len(seeds), *shape)


def _uniform(seed: int | Seeds, index: int, shape: Shape) -> Array:
    if not isinstance(seed, int):
        return _stack(seed, index, shape, "uniform")
    return native.random_uniform(seed, index, math.prod(shape)).reshape(shape)


def _normal(seed: int | Seeds, index: int, shape: Shape, truncated: bool) -> Array:
    if not isinstance(seed, int):
        return _stack(seed, index, shape, "truncated" if truncated else "normal")
    return native.random_normal(seed, index, math.prod(shape), truncated).reshape(shape)


def _matrix(shape: Shape, name: str) -> tuple[int, int]:
    if len(shape) != 2:
        raise ValueError(
            f"{name}: a tensor of shape {shape} is not a matrix. Use it for kernels only, and 'zeros' for a bias."
        )
    return shape[0], shape[1]


class Initializer(Spec, family="initializer"):
    """Base of the initializers; one of your own overrides `values`."""

    seed: int | None = None
    # how values depend on the seed: "elementwise" lets `values` take an array of seeds, for `many`
    _random: ClassVar[str] = "any"

    def _set_seed(self, seed: int | None) -> None:
        if seed is not None:
            seed = integer(f"{type(self).__name__}: seed", seed, least=0, most=MAX_SEED)
        self.seed = seed

    def for_activation(self, activation: str) -> Initializer:
        """Return the initializer to use before this activation: itself, except for `Auto`."""
        return self

    def values(self, shape: Shape, seed: int, index: int) -> Array:
        """Return the float64 values of a tensor; `seed` is this initializer's own if it has one."""
        raise NotImplementedError(f"{type(self).__name__} must define values(shape, seed, index)")

    def many(self, shape: Shape, seeds: Seeds, index: int) -> Array:
        """Return the first values of a tensor for many models at once.

        Parameters
        ----------
        shape, index
            As for a call.
        seeds : ndarray of uint64, shape (starts,)
            The models' seeds.

        Returns
        -------
        ndarray of shape (starts, ...)
        """
        if self.seed is not None or self._random == "no":
            return np.broadcast_to(self(shape, 0, index), (len(seeds), *shape))
        if self._random == "elementwise":
            values: Any = self.values
            return np.asarray(values(shape, np.ascontiguousarray(seeds, dtype=np.uint64), index))
        return np.stack([self(shape, int(seed), index) for seed in seeds])

    def __call__(self, shape: Shape, seed: int = 0, index: int = 0) -> Array:
        """Return the first values of a tensor.

        Parameters
        ----------
        shape : tuple of int
            ``(fan_in, fan_out)`` of a kernel, ``(units,)`` of a bias.
        seed : int
            The model's seed; the initializer's own takes its place.
        index : int
            Number of the tensor in the model, counting every tensor from 0.

        Returns
        -------
        ndarray
            float64, C order.
        """
        values = np.asarray(self.values(shape, seed if self.seed is None else self.seed, index), dtype=np.float64)
        if values.shape != tuple(shape):
            raise ValueError(
                f"{type(self).__name__}: values has shape {values.shape}. Return the asked shape {tuple(shape)}."
            )
        return np.asarray(values, order="C")


class Zeros(Initializer, names=("zeros", "zero")):
    """All 0.

    Examples
    --------
    >>> from fastdense.initializers import Zeros
    >>> Zeros()((2,)).tolist()
    [0.0, 0.0]
    """

    _random = "no"

    def values(self, shape: Shape, seed: int, index: int) -> Array:
        return np.zeros(shape)


class Ones(Initializer, names=("ones", "one")):
    """All 1.

    Examples
    --------
    >>> from fastdense.initializers import Ones
    >>> Ones()((2,)).tolist()
    [1.0, 1.0]
    """

    _random = "no"

    def values(self, shape: Shape, seed: int, index: int) -> Array:
        return np.ones(shape)


class Constant(Initializer, names=("constant",)):
    """One number everywhere.

    Parameters
    ----------
    value : float, default 0.0
        The number.

    Examples
    --------
    >>> from fastdense.initializers import Constant
    >>> Constant(0.5)((2,)).tolist()
    [0.5, 0.5]
    """

    _random = "no"

    def __init__(self, value: float = 0.0) -> None:
        self.value = number("Constant: value", value)

    def values(self, shape: Shape, seed: int, index: int) -> Array:
        return np.full(shape, self.value)


class Identity(Initializer, names=("identity",)):
    """`gain` on the diagonal, 0 elsewhere; kernels only, square or not.

    Parameters
    ----------
    gain : float, default 1.0
        Factor of all values.

    Examples
    --------
    >>> from fastdense.initializers import Identity
    >>> Identity()((2, 2)).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """

    _random = "no"

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = number("Identity: gain", gain)

    def values(self, shape: Shape, seed: int, index: int) -> Array:
        return self.gain * np.eye(*_matrix(shape, "Identity"))


class Orthogonal(Initializer, names=("orthogonal",)):
    """`gain` times a uniformly random matrix with orthonormal columns (rows, if it is wider than high); kernels only.

    Q of the QR decomposition of a normal matrix, with the signs that make R's diagonal positive (Saxe et al., 2014).
    NumPy's LAPACK does the decomposition: its last bits may change with the number of threads of NumPy's BLAS.

    Parameters
    ----------
    gain : float, default 1.0
        Factor of all values.
    seed : int, optional
        Seed of this tensor alone, from 0 to 2**64 - 1; None uses the model's.

    Examples
    --------
    >>> from fastdense.initializers import Orthogonal
    >>> Orthogonal(seed=1)((4, 3)).shape
    (4, 3)
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        self.gain = number("Orthogonal: gain", gain)
        self._set_seed(seed)

    @one_numpy_thread()
    def values(self, shape: Shape, seed: int, index: int) -> Array:
        rows, columns = _matrix(shape, "Orthogonal")
        q, diagonal = qr(_normal(seed, index, (max(rows, columns), min(rows, columns)), truncated=False))
        q = q * np.where(diagonal < 0, -1.0, 1.0)
        return self.gain * (q if rows >= columns else q.T)


class RandomUniform(Initializer, names=("random_uniform", "uniform")):
    """Uniform between `minval` and `maxval`.

    Parameters
    ----------
    minval, maxval : float, default -0.05 and 0.05
        Bounds of the values.
    seed : int, optional
        Seed of this tensor alone, from 0 to 2**64 - 1; None uses the model's.

    Examples
    --------
    >>> from fastdense.initializers import RandomUniform
    >>> RandomUniform(-1.0, 1.0, seed=1)((4, 3)).shape
    (4, 3)
    """

    _random = "elementwise"

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None) -> None:
        self.minval = number("RandomUniform: minval", minval)
        self.maxval = number("RandomUniform: maxval", maxval, least=self.minval)
        self._set_seed(seed)

    def values(self, shape: Shape, seed: int, index: int) -> Array:
        return self.minval + (self.maxval - self.minval) * _uniform(seed, index, shape)


class RandomNormal(Initializer, names=("random_normal", "normal")):
    """Normal with this mean and standard deviation.

    Parameters
    ----------
    mean, stddev : float, default 0.0 and 0.05
        Mean and standard deviation of the values.
    seed : int, optional
        Seed of this tensor alone, from 0 to 2**64 - 1; None uses the model's.

    Examples
    --------
    >>> from fastdense.initializers import RandomNormal
    >>> RandomNormal(stddev=0.1, seed=1)((4, 3)).shape
    (4, 3)
    """

    _truncated: ClassVar[bool] = False
    _random = "elementwise"

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        self.mean = number(f"{type(self).__name__}: mean", mean)
        self.stddev = number(f"{type(self).__name__}: stddev", stddev, least=0)
        self._set_seed(seed)

    def values(self, shape: Shape, seed: int, index: int) -> Array:
        return self.mean + self.stddev * _normal(seed, index, shape, self._truncated)


class TruncatedNormal(RandomNormal, names=("truncated_normal",)):
    """As `RandomNormal`, with values further than 2 `stddev` from the mean left out; the resulting sd is 0.88 `stddev`.

    Parameters
    ----------
    mean, stddev : float, default 0.0 and 0.05
        Mean and standard deviation of the values.
    seed : int, optional
        Seed of this tensor alone, from 0 to 2**64 - 1; None uses the model's.

    Examples
    --------
    >>> from fastdense.initializers import TruncatedNormal
    >>> TruncatedNormal(stddev=0.1, seed=1)((4, 3)).shape
    (4, 3)
    """

    _truncated = True


class _Scaled(Initializer):
    """Variance ``gain / fan``."""

    gain: ClassVar[float]
    fan: ClassVar[str]
    normal: ClassVar[bool]
    _random = "elementwise"

    def __init__(self, seed: int | None = None) -> None:
        self._set_seed(seed)

    def values(self, shape: Shape, seed: int, index: int) -> Array:
        fan_in, fan_out = (shape[0], shape[-1]) if shape else (1, 1)
        variance = self.gain / max(1.0, fan_in if self.fan == "in" else (fan_in + fan_out) / 2.0)
        if self.normal:
            return math.sqrt(variance) / _TRUNCATED_SD * _normal(seed, index, shape, truncated=True)
        return math.sqrt(3.0 * variance) * (2.0 * _uniform(seed, index, shape) - 1.0)


class GlorotUniform(_Scaled, names=("glorot_uniform", "xavier_uniform")):
    """Uniform with variance ``2 / (fan_in + fan_out)`` (Glorot & Bengio, 2010).

    Parameters
    ----------
    seed : int, optional
        Seed of this tensor alone, from 0 to 2**64 - 1; None uses the model's.

    Examples
    --------
    >>> from fastdense.initializers import GlorotUniform
    >>> GlorotUniform(seed=1)((4, 3)).shape
    (4, 3)
    """

    gain, fan, normal = 1.0, "average", False


class GlorotNormal(_Scaled, names=("glorot_normal", "xavier_normal")):
    """Normal, cut off at 2 sd, with variance ``2 / (fan_in + fan_out)`` (Glorot & Bengio, 2010).

    Parameters
    ----------
    seed : int, optional
        Seed of this tensor alone, from 0 to 2**64 - 1; None uses the model's.

    Examples
    --------
    >>> from fastdense.initializers import GlorotNormal
    >>> GlorotNormal(seed=1)((4, 3)).shape
    (4, 3)
    """

    gain, fan, normal = 1.0, "average", True


class HeUniform(_Scaled, names=("he_uniform", "kaiming_uniform")):
    """Uniform with variance ``2 / fan_in`` (He et al., 2015).

    Parameters
    ----------
    seed : int, optional
        Seed of this tensor alone, from 0 to 2**64 - 1; None uses the model's.

    Examples
    --------
    >>> from fastdense.initializers import HeUniform
    >>> HeUniform(seed=1)((4, 3)).shape
    (4, 3)
    """

    gain, fan, normal = 2.0, "in", False


class HeNormal(_Scaled, names=("he_normal", "kaiming_normal")):
    """Normal, cut off at 2 sd, with variance ``2 / fan_in`` (He et al., 2015).

    Parameters
    ----------
    seed : int, optional
        Seed of this tensor alone, from 0 to 2**64 - 1; None uses the model's.

    Examples
    --------
    >>> from fastdense.initializers import HeNormal
    >>> HeNormal(seed=1)((4, 3)).shape
    (4, 3)
    """

    gain, fan, normal = 2.0, "in", True


class LecunUniform(_Scaled, names=("lecun_uniform",)):
    """Uniform with variance ``1 / fan_in`` (LeCun et al., 1998).

    Parameters
    ----------
    seed : int, optional
        Seed of this tensor alone, from 0 to 2**64 - 1; None uses the model's.

    Examples
    --------
    >>> from fastdense.initializers import LecunUniform
    >>> LecunUniform(seed=1)((4, 3)).shape
    (4, 3)
    """

    gain, fan, normal = 1.0, "in", False


class LecunNormal(_Scaled, names=("lecun_normal",)):
    """Normal, cut off at 2 sd, with variance ``1 / fan_in`` (LeCun et al., 1998; Klambauer et al., 2017, for selu).

    Parameters
    ----------
    seed : int, optional
        Seed of this tensor alone, from 0 to 2**64 - 1; None uses the model's.

    Examples
    --------
    >>> from fastdense.initializers import LecunNormal
    >>> LecunNormal(seed=1)((4, 3)).shape
    (4, 3)
    """

    gain, fan, normal = 1.0, "in", True


class VarianceScaling(Initializer, names=("variance_scaling",)):
    """Variance ``scale / fan``: what the initializers of Glorot, He and LeCun are cases of.

    Parameters
    ----------
    scale : float, default 1.0
        Above 0.
    mode : {"fan_in", "fan_out", "fan_avg"}, default "fan_in"
        What `fan` is: rows or columns of the kernel, or their mean.
    distribution : {"truncated_normal", "untruncated_normal", "uniform"}, default "truncated_normal"
        A truncated one is cut off at 2 sd.
    seed : int, optional
        Seed of this tensor alone, from 0 to 2**64 - 1; None uses the model's.

    Examples
    --------
    >>> from fastdense.initializers import VarianceScaling
    >>> VarianceScaling(2.0, "fan_avg", seed=1)((4, 3)).shape
    (4, 3)
    """

    _random = "elementwise"

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ) -> None:
        where = "VarianceScaling"
        self.scale = number(f"{where}: scale", scale, above=0)
        self.mode = choice(f"{where}: mode", mode, ("fan_in", "fan_out", "fan_avg"))
        self.distribution = choice(
            f"{where}: distribution", distribution, ("truncated_normal", "untruncated_normal", "uniform")
        )
        self._set_seed(seed)

    def values(self, shape: Shape, seed: int, index: int) -> Array:
        fan_in, fan_out = (shape[0], shape[-1]) if shape else (1, 1)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2.0}[self.mode]
        sd = math.sqrt(self.scale / max(1.0, fan))
        if self.distribution == "uniform":
            return math.sqrt(3.0) * sd * (2.0 * _uniform(seed, index, shape) - 1.0)
        truncated = self.distribution == "truncated_normal"
        return sd / (_TRUNCATED_SD if truncated else 1.0) * _normal(seed, index, shape, truncated)


class Auto(Initializer, names=("auto",)):
    """The initializer that suits the activation of the layer, the default of `Dense`; Keras always takes Glorot.

    `HeNormal` before relu and the activations that are close to it, `LecunNormal` before selu, `GlorotUniform`
    otherwise; `fastdense.activations.TABLE` has the list. Only the layer's own ``activation`` counts, not an
    `Activation` layer after it.

    Parameters
    ----------
    seed : int, optional
        Seed of this tensor alone, from 0 to 2**64 - 1; None uses the model's.

    Examples
    --------
    >>> from fastdense.initializers import Auto
    >>> Auto().for_activation("relu")
    HeNormal()
    """

    def __init__(self, seed: int | None = None) -> None:
        self._set_seed(seed)

    def for_activation(self, activation: str) -> Initializer:
        return resolve(
            Initializer, {"class_name": TABLE[activation].initializer, "config": {"seed": self.seed}}, "activation"
        )

    _random = "elementwise"

    def values(self, shape: Shape, seed: int, index: int) -> Array:
        return GlorotUniform().values(shape, seed, index)


class Data(Auto, names=("data",)):
    """Kernels of `Dense` that wait for the data: at the first `Model.fit` their units are spread over it.

    Kernel and bias then become those of `fastdense.start_on_data` (and of ``fit_many(start="data")``, for the layers
    that ask for it): directions as different as possible, each unit varying by 1 over the rows and bending between two
    of them; a linear last layer becomes the least-squares fit. Until then values are those of `Auto`. Weights that were
    set, loaded or placed (`Model.place`) before the first fit stay as they are.

    Parameters
    ----------
    seed : int, optional
        Of the values until then; where units go follows from the model's seed.

    Examples
    --------
    >>> from fastdense.initializers import Data
    >>> Data()
    Data()
    """


def get(value: Any, where: str = "initializer") -> Initializer:
    """Return an initializer from a name, an object, a class or a config dict; see `fastdense.specs.resolve`."""
    return resolve(Initializer, value, where)
