"""`Ascending`: outputs that never cross, for several quantiles."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import initializers, regularizers
from ..arguments import integer, optional_text
from ..specs import Config
from .base import Array, DrawFor, Layer, TensorSpec

__all__ = ["Ascending"]


class Ascending(Layer, names=("ascending",)):
    """A dense layer whose outputs ascend, in each group of them: for several quantiles, which then never cross.

    The middle output of a group is free, ``softplus(a) - softplus(b)``, and each further one, upwards and downwards,
    is ``softplus(c)`` away from the one before; a, b, c are what ``x @ kernel + bias`` gives. A fixed matrix of
    -1, 0 and 1 adds them up, so that every engine and every format of files computes it as two dense layers. Full-batch
    optimizers and `KFAC`, which train all tensors, refuse it: end with a `Dense` of as many units for them, whose
    outputs `Model.predict_interval` sorts.

    Parameters
    ----------
    units : int
        Outputs of a group, at least 2: the number of quantiles.
    groups : int, default 1
        Groups side by side: the number of targets.
    kernel_initializer : str or Initializer, default "auto"
        As of `Dense`. The first biases put the outputs of a group two apart as a whole, which suits targets with a
        standard deviation of about 1.
    kernel_regularizer : str, Regularizer or list, optional
        As of `Dense`.
    name : str, optional
        Name of the layer in tables and files; None lets the model number it.
    trainable : bool, default True
        Whether training changes kernel and bias; see `Layer`.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong type.

    Examples
    --------
    >>> import fastdense as fd
    >>> model = fd.Model([fd.Dense(16, "relu"), fd.Ascending(3)], inputs=4)
    >>> model.compile("adam", fd.losses.Quantile([0.05, 0.5, 0.95]))
    >>> low, middle, high = model.predict([[1.0, 2.0, 3.0, 4.0]])[0]
    >>> bool(low <= middle <= high)
    True
    """

    def __init__(
        self,
        units: int,
        groups: int = 1,
        kernel_initializer: str | initializers.Initializer = "auto",
        kernel_regularizer: Any = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        self.units = integer("Ascending: units", units, least=2)
        self.groups = integer("Ascending: groups", groups, least=1)
        self.kernel_initializer = initializers.get(kernel_initializer, "Ascending: kernel_initializer")
        if isinstance(self.kernel_initializer, initializers.Data):
            raise ValueError(
                "Ascending: kernel_initializer='data' is for the kernel of a Dense layer. Give another one."
            )
        self.kernel_regularizer = (
            None
            if kernel_regularizer is None
            else regularizers.get(kernel_regularizer, "Ascending: kernel_regularizer")
        )
        self.name = optional_text("Ascending: name", name)
        self.trainable = trainable

    @property
    def _inner(self) -> int:
        """Numbers that are added up."""
        return self.groups * (self.units + 1)

    def output_width(self, inputs: int) -> int:
        return self.groups * self.units

    def lower(self, inputs: int) -> list[Config]:
        first = {"kind": "dense", "units": self._inner, "use_bias": True, "activation": "softplus", "alpha": 0.0}
        last = {"kind": "dense", "units": self.output_width(inputs), "use_bias": False, "activation": "linear"}
        none = {
            **regularizers.lower("kernel", None),
            **regularizers.lower("bias", None),
            **regularizers.lower("activity", None),
        }
        return [
            {**first, **none, **regularizers.lower("kernel", self.kernel_regularizer)},
            {**last, "alpha": 0.0, **none},
        ]

    def tensors(self, inputs: int) -> list[TensorSpec]:
        return [
            TensorSpec("kernel", (inputs, self._inner), True),
            TensorSpec("bias", (self._inner,), True),
            TensorSpec("sums", (self._inner, self.output_width(inputs)), True),
        ]

    def trained_tensors(self, inputs: int) -> list[bool]:
        return [self.trainable, self.trainable, False]

    def kept_tensors(self, inputs: int) -> list[bool]:
        return [not self.trainable, not self.trainable, True]

    def frozen_ops(self, inputs: int) -> list[bool]:
        return [not self.trainable, True]

    def initial_values(self, inputs: int, draw: DrawFor) -> list[Array]:
        kernel, bias, sums = self.tensors(inputs)
        weights = self.kernel_initializer.for_activation("softplus")(kernel.shape, *draw(kernel.shape))
        apart = np.zeros(self.units + 1)
        apart[2:] = np.log(np.expm1(2.0 / (self.units - 1)))
        draw(bias.shape), draw(sums.shape)  # each tensor has its number
        fixed: Array = np.kron(np.eye(self.groups), self._sums()).astype(np.float64)
        return [weights, np.tile(apart, self.groups), fixed]

    def _sums(self) -> Array:
        """The matrix of one group: the middle is the first row minus the second; steps up follow, then steps down."""
        middle = self.units // 2
        up = self.units - 1 - middle
        made = np.zeros((self.units + 1, self.units))
        made[0], made[1] = 1.0, -1.0
        for k in range(self.units):
            made[2 : 2 + max(0, k - middle), k] = 1.0
            made[2 + up : 2 + up + max(0, middle - k), k] = -1.0
        return made
