"""Losses: the number that training makes small.

The loss of a batch is ``sum_i w_i v_i / rows`` plus the penalties of the regularizers, with ``w_i`` the sample weight
and ``v_i`` the loss of row ``i``, which each class states. ``y`` is the target, ``p`` the output of the net. Means and
sums run over the outputs of a row. Formulas and defaults are those of Keras 3 unless a class says otherwise.
"""

from __future__ import annotations

from typing import Any, ClassVar

from .arguments import flag, number
from .specs import Config, Spec, resolve

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "Hinge",
    "Huber",
    "LogCosh",
    "Loss",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "Poisson",
    "Quantile",
    "SparseCategoricalCrossentropy",
    "get",
]


class Loss(Spec, family="loss"):
    """Base of the losses."""

    kind: ClassVar[str]
    name: ClassVar[str]

    @property
    def sparse(self) -> bool:
        """Whether targets are class numbers, one per row, in place of one value per output."""
        return self.kind == "sparse_categorical_crossentropy"

    @property
    def crossentropy(self) -> bool:
        """Whether the output stands for probabilities, which metrics then see."""
        return self.kind.endswith("crossentropy")

    def lower(self) -> Config:
        """Return the loss as the engines take it."""
        return {"kind": self.kind, "from_logits": False, "label_smoothing": 0.0, "param": 0.0}


class MeanSquaredError(Loss, names=("mse", "mean_squared_error", "squared_error")):
    """Mean of ``(y - p)**2``."""

    kind, name = "mse", "mean_squared_error"


class MeanAbsoluteError(Loss, names=("mae", "mean_absolute_error", "absolute_error")):
    """Mean of ``|y - p|``; its derivative at 0 is 0."""

    kind, name = "mae", "mean_absolute_error"


class Huber(Loss, names=("huber", "huber_loss")):
    """Mean of ``e**2 / 2`` where ``|e| <= delta``, else ``delta |e| - delta**2 / 2``, with ``e = y - p``.

    Parameters
    ----------
    delta : float
        Where the loss turns from quadratic to linear; above 0.
    """

    kind, name = "huber", "huber_loss"

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = number("Huber: delta", delta, above=0)

    def lower(self) -> Config:
        return {**super().lower(), "param": self.delta}


class LogCosh(Loss, names=("log_cosh",)):
    """Mean of ``log(cosh(y - p))``: quadratic near 0, linear far away, smooth everywhere."""

    kind, name = "log_cosh", "log_cosh"


class MeanAbsolutePercentageError(Loss, names=("mape", "mean_absolute_percentage_error")):
    """Mean of ``100 |y - p| / max(|y|, 1e-7)``."""

    kind, name = "mape", "mean_absolute_percentage_error"


class Poisson(Loss, names=("poisson",)):
    """Mean of ``p - y log(p + 1e-7)``, for counts; the outputs must be positive, as softplus or exponential give."""

    kind, name = "poisson", "poisson"


class Quantile(Loss, names=("quantile", "pinball")):
    """Mean of ``max(q e, (q - 1) e)`` with ``e = y - p``; its minimum is the ``q``-quantile of y (Koenker, 1978).

    Parameters
    ----------
    q : float
        The quantile to learn, between 0 and 1; 0.5 is the median.
    """

    kind, name = "quantile", "quantile"

    def __init__(self, q: float = 0.5) -> None:
        self.q = number("Quantile: q", q, above=0, below=1)

    def lower(self) -> Config:
        return {**super().lower(), "param": self.q}


class Hinge(Loss, names=("hinge",)):
    """Mean of ``max(0, 1 - y p)``, with targets -1 and 1 (not 0 and 1)."""

    kind, name = "hinge", "hinge"


class _Crossentropy(Loss):
    def __init__(self, from_logits: bool = False, label_smoothing: float = 0.0) -> None:
        where = type(self).__name__
        self.from_logits = flag(f"{where}: from_logits", from_logits)
        self.label_smoothing = number(f"{where}: label_smoothing", label_smoothing, least=0, most=1)

    def lower(self) -> Config:
        return {**super().lower(), "from_logits": self.from_logits, "label_smoothing": self.label_smoothing}


class BinaryCrossentropy(_Crossentropy, names=("binary_crossentropy", "bce", "log_loss")):
    """Mean of ``-y log p - (1 - y) log(1 - p)``, one yes-or-no question per output.

    After a sigmoid, and with ``from_logits=True``, it is computed from the value before the sigmoid, which loses no
    digits however sure the net is. Any other output is taken as a probability and clipped to [1e-7, 1 - 1e-7].

    Parameters
    ----------
    from_logits : bool
        Whether the output is the value before a sigmoid.
    label_smoothing : float
        Moves each target towards 1/2: ``y (1 - s) + s / 2``; from 0 to 1.
    """

    kind, name = "binary_crossentropy", "binary_crossentropy"


class CategoricalCrossentropy(_Crossentropy, names=("categorical_crossentropy",)):
    """``-sum y log p``, with one-hot targets (or any probabilities) of one class out of many.

    After a softmax, and with ``from_logits=True``, it is computed from the values before the softmax, which loses no
    digits. Any other output is divided by its sum and clipped to [1e-7, 1 - 1e-7].

    Parameters
    ----------
    from_logits : bool
        Whether the outputs are the values before a softmax.
    label_smoothing : float
        Shares this part of each target evenly: ``y (1 - s) + s / classes``; from 0 to 1.
    """

    kind, name = "categorical_crossentropy", "categorical_crossentropy"


class SparseCategoricalCrossentropy(_Crossentropy, names=("sparse_categorical_crossentropy",)):
    """As `CategoricalCrossentropy`, with class numbers 0, 1, ... as targets, one integer per row.

    Parameters
    ----------
    from_logits : bool
        Whether the outputs are the values before a softmax.
    label_smoothing : float
        As in `CategoricalCrossentropy`; Keras offers it there only.
    """

    kind, name = "sparse_categorical_crossentropy", "sparse_categorical_crossentropy"


def get(value: Any, where: str = "loss") -> Loss:
    """Return a loss from a name, an object, a class or a config dict; see `fastdense.specs.resolve`."""
    return resolve(Loss, value, where)
