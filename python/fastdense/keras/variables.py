"""`Variable`: an array with a name that can be assigned; the weights of layers are variables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

from ..arrays import Array
from .ops.tape import Symbolic
from .tensor import Tensor, tensor


class Variable(NDArrayOperatorsMixin):
    """An array with a name.

    Parameters
    ----------
    initializer : array or callable
        The first values, or a function of the shape that returns them.
    shape : tuple of int, optional
        Only with a function.
    dtype : str, optional
        "float32" unless the values have another floating-point or integer type.
    trainable : bool, default True
    name : str, optional

    Examples
    --------
    >>> from fastdense.keras import Variable
    >>> v = Variable([1.0, 2.0], name="v")
    >>> (2 * v).tolist(), v.assign([3.0, 4.0]).tolist()
    ([2.0, 4.0], [3.0, 4.0])
    """

    def __init__(
        self,
        initializer: Any,
        shape: tuple[int, ...] | None = None,
        dtype: str | None = None,
        trainable: bool = True,
        name: str | None = None,
    ) -> None:
        values = np.asarray(initializer(shape) if callable(initializer) and shape is not None else initializer)
        if values.dtype == object:
            raise TypeError("Variable: initializer is a function; pass shape=, too.")
        wide = {"float64": "float32", "int64": "int32"}
        self._values = values.astype(dtype or wide.get(values.dtype.name, values.dtype.name))
        self.name, self.trainable = name or "variable", trainable

    def _read(self) -> NDArray[Any]:
        return self._values

    def _write(self, values: NDArray[Any]) -> None:
        self._values = np.array(values, dtype=self._values.dtype)

    @property
    def path(self) -> str:
        """The name, after those of the model and the layer that it belongs to."""
        return self.name

    @property
    def value(self) -> Tensor:
        """Its values."""
        return tensor(self._read())

    def numpy(self) -> NDArray[Any]:
        """A copy of its values."""
        return np.array(self._read())

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return tuple(self._read().shape)

    @property
    def dtype(self) -> str:
        """Name of the data type."""
        return str(self._read().dtype.name)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(self._read().size)

    def assign(self, value: Any) -> Tensor:
        """Replace its values by others of the same shape."""
        new = np.asarray(value)
        if new.shape != self.shape:
            raise ValueError(f"{self.path}: assign got an array of shape {new.shape}; shape {self.shape} is needed.")
        self._write(new)
        return self.value

    def assign_add(self, value: Any) -> Tensor:
        """Add to its values."""
        return self.assign(self._read() + np.asarray(value))

    def assign_sub(self, value: Any) -> Tensor:
        """Subtract from its values."""
        return self.assign(self._read() - np.asarray(value))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self._read(), dtype=dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        for one in inputs:
            if isinstance(one, Symbolic):
                return one.__array_ufunc__(ufunc, method, *inputs, **options)
        plain = [one._read() if isinstance(one, Variable) else one for one in inputs]
        return tensor(getattr(ufunc, method)(*plain, **options))

    def __getitem__(self, key: Any) -> Any:
        return self.value[key]

    def __len__(self) -> int:
        return len(self._read())

    def __float__(self) -> float:
        return float(self._read())

    def __int__(self) -> int:
        return int(self._read())

    __hash__ = object.__hash__  # operators compare values

    def __repr__(self) -> str:
        return f"<Variable path={self.path}, shape={self.shape}, dtype={self.dtype}, value={self._read()}>"


class Holder(Protocol):
    """What a weight needs of its layer."""

    name: str
    trainable: Any

    def get_weights(self) -> list[Array]: ...

    def set_weights(self, weights: Any) -> None: ...

    @property
    def place(self) -> str: ...


class Weight(Variable):
    """A weight of a layer: it reads from the model that holds the layer, and writes to it.

    Parameters
    ----------
    layer : Layer
    index : int
        Its place in ``layer.get_weights()``.
    name : str
    trainable : bool
        Whether training changes it while its layer is trained.
    """

    def __init__(self, layer: Holder, index: int, name: str, trainable: bool) -> None:
        self.layer, self.index, self.name, self._trains = layer, index, name, trainable

    @property
    def trainable(self) -> bool:
        """Whether training changes it."""
        return self._trains and bool(self.layer.trainable)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        raise AttributeError(f"{self.path}: whether it is trained is said of its layer: layer.trainable = {value}.")

    @property
    def path(self) -> str:
        return f"{self.layer.place}/{self.name}"

    def _read(self) -> NDArray[Any]:
        return np.asarray(self.layer.get_weights()[self.index])

    def _write(self, values: NDArray[Any]) -> None:
        weights: list[Any] = self.layer.get_weights()
        weights[self.index] = values
        self.layer.set_weights(weights)


class Trainable:
    """Base of what has weights, layers and models: lists of them, and whether training changes them."""

    _trainable: bool

    @property
    def weights(self) -> list[Weight]:
        """All weights as variables."""
        raise NotImplementedError

    def _trained_parts(self) -> Iterable[Any]:
        """What `trainable` is assigned to, too."""
        raise NotImplementedError

    @property
    def variables(self) -> list[Weight]:
        """As `weights`."""
        return self.weights

    @property
    def trainable_weights(self) -> list[Weight]:
        """The weights that training changes."""
        return [one for one in self.weights if one.trainable] if self.trainable else []

    @property
    def non_trainable_weights(self) -> list[Weight]:
        """The other ones."""
        return [one for one in self.weights if not (self.trainable and one.trainable)]

    trainable_variables, non_trainable_variables = trainable_weights, non_trainable_weights

    @property
    def trainable(self) -> bool:
        """Whether training changes its weights; assigning sets that of its layers, too. `compile` takes notice."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: Any) -> None:
        self._trainable = bool(value)
        for part in self._trained_parts():
            part.trainable = self._trainable
