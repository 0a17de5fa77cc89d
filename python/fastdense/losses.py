"""Losses: the training objective, without the penalties of regularizers.

The loss of a batch is ``sum_i w_i v_i / rows`` plus the penalties of the regularizers, with ``w_i`` the sample weight
and ``v_i`` the loss of row ``i``, which each class states. ``y`` is the target, ``p`` the output of the net. Means and
sums run over the outputs of a row. Formulas and defaults are those of Keras 3 unless a class says otherwise.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from .arguments import flag, number
from .specs import Config, Spec, members, resolve

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


Targets = Literal["values", "counts", "signs", "probabilities", "distribution", "classes"]


class Loss(Spec, family="loss"):
    """Base of the losses. A member states the four attributes below; one that does not is refused when it is defined.

    Attributes
    ----------
    kind, name : str
        The engines' name, and Keras's.
    targets : {"values", "counts", "signs", "probabilities", "distribution", "classes"}
        What the targets are: any numbers, whose distance from the output is measured; counts; -1 or 1 for each output;
        a probability for each output; probabilities of one class each that sum to 1; class numbers, one for each row.
    curved : bool
        Whether there is a second derivative, which NewtonCG needs; the other losses are piecewise linear.
    from_logits : bool
        Whether the outputs become probabilities only in the loss; of the cross-entropies alone.
    """

    kind: ClassVar[str]
    name: ClassVar[str]
    targets: ClassVar[Targets]
    curved: ClassVar[bool]
    from_logits: bool = False

    def __init_subclass__(cls, *, names: tuple[str, ...] = (), **kwargs: Any) -> None:
        for attribute in ("kind", "name", "targets", "curved") if names else ():
            if not hasattr(cls, attribute):
                raise TypeError(f"{cls.__name__}: a loss must state its {attribute}; see fastdense.losses.Loss")
        super().__init_subclass__(names=names, **kwargs)

    @property
    def sparse(self) -> bool:
        """Whether targets are class numbers, one per row, in place of one value per output."""
        return self.targets == "classes"

    @property
    def over_classes(self) -> bool:
        """Whether the outputs of a row stand for one class out of many."""
        return self.targets in ("distribution", "classes")

    @property
    def crossentropy(self) -> bool:
        """Whether the output stands for probabilities, which metrics then see."""
        return self.targets == "probabilities" or self.over_classes

    @property
    def classifies(self) -> bool:
        """Whether targets are classes, in whatever form."""
        return self.crossentropy or self.targets == "signs"

    @property
    def measures_distance(self) -> bool:
        """Whether it grows with the distance of the output from the target, so that least squares nearly solve it."""
        return self.targets == "values"

    def lower(self) -> Config:
        """Return the loss in the form that engines accept."""
        return {"kind": self.kind, "from_logits": False, "label_smoothing": 0.0, "param": 0.0}


class MeanSquaredError(Loss, names=("mse", "mean_squared_error", "squared_error")):
    """Mean of ``(y - p)**2``.

    Examples
    --------
    >>> from fastdense.losses import MeanSquaredError
    >>> MeanSquaredError().curved
    True
    """

    kind, name = "mse", "mean_squared_error"
    targets, curved = "values", True


class MeanAbsoluteError(Loss, names=("mae", "mean_absolute_error", "absolute_error")):
    """Mean of ``|y - p|``; its derivative at 0 is 0.

    Examples
    --------
    >>> from fastdense.losses import MeanAbsoluteError
    >>> MeanAbsoluteError().curved
    False
    """

    kind, name = "mae", "mean_absolute_error"
    targets, curved = "values", False


class Huber(Loss, names=("huber", "huber_loss")):
    """Mean of ``e**2 / 2`` where ``|e| <= delta``, else ``delta |e| - delta**2 / 2``, with ``e = y - p``.

    Parameters
    ----------
    delta : float, default 1.0
        Where the loss turns from quadratic to linear; above 0.

    Examples
    --------
    >>> from fastdense.losses import Huber
    >>> Huber(delta=2.0)
    Huber(delta=2.0)
    """

    kind, name = "huber", "huber_loss"
    targets, curved = "values", True

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = number("Huber: delta", delta, above=0)

    def lower(self) -> Config:
        return {**super().lower(), "param": self.delta}


class LogCosh(Loss, names=("log_cosh",)):
    """Mean of ``log(cosh(y - p))``: quadratic near 0, linear far away, smooth everywhere.

    Examples
    --------
    >>> from fastdense.losses import LogCosh
    >>> LogCosh()
    LogCosh()
    """

    kind, name = "log_cosh", "log_cosh"
    targets, curved = "values", True


class MeanAbsolutePercentageError(Loss, names=("mape", "mean_absolute_percentage_error")):
    """Mean of ``100 |y - p| / max(|y|, 1e-7)``.

    Examples
    --------
    >>> from fastdense.losses import MeanAbsolutePercentageError
    >>> MeanAbsolutePercentageError()
    MeanAbsolutePercentageError()
    """

    kind, name = "mape", "mean_absolute_percentage_error"
    targets, curved = "values", False


class Poisson(Loss, names=("poisson",)):
    """Mean of ``p - y log(p + 1e-7)``, for counts; the outputs must be positive, as softplus or exponential give.

    Examples
    --------
    >>> from fastdense.losses import Poisson
    >>> Poisson().targets
    'counts'
    """

    kind, name = "poisson", "poisson"
    targets, curved = "counts", True


class Quantile(Loss, names=("quantile", "pinball")):
    """Mean of ``max(q e, (q - 1) e)`` with ``e = y - p``; its minimum is the ``q``-quantile of y (Koenker, 1978).

    Parameters
    ----------
    q : float, default 0.5
        The quantile to learn, between 0 and 1; 0.5 is the median.

    Examples
    --------
    >>> from fastdense.losses import Quantile
    >>> Quantile(q=0.9)
    Quantile(q=0.9)
    """

    kind, name = "quantile", "quantile"
    targets, curved = "values", False

    def __init__(self, q: float = 0.5) -> None:
        self.q = number("Quantile: q", q, above=0, below=1)

    def lower(self) -> Config:
        return {**super().lower(), "param": self.q}


class Hinge(Loss, names=("hinge",)):
    """Mean of ``max(0, 1 - y p)``, with targets -1 and 1 (not 0 and 1).

    Examples
    --------
    >>> from fastdense.losses import Hinge
    >>> Hinge().targets
    'signs'
    """

    kind, name = "hinge", "hinge"
    targets, curved = "signs", False


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
    from_logits : bool, default False
        Whether the output is the value before a sigmoid.
    label_smoothing : float, default 0.0
        Moves each target towards 1/2: ``y (1 - s) + s / 2``; from 0 to 1.

    Examples
    --------
    >>> from fastdense.losses import BinaryCrossentropy
    >>> BinaryCrossentropy(label_smoothing=0.1)
    BinaryCrossentropy(label_smoothing=0.1)
    """

    kind, name = "binary_crossentropy", "binary_crossentropy"
    targets, curved = "probabilities", True


class CategoricalCrossentropy(_Crossentropy, names=("categorical_crossentropy",)):
    """``-sum y log p``, with one-hot targets (or any probabilities) of one class out of many.

    After a softmax, and with ``from_logits=True``, it is computed from the values before the softmax, which loses no
    digits. Any other output is divided by its sum and clipped to [1e-7, 1 - 1e-7].

    Parameters
    ----------
    from_logits : bool, default False
        Whether the outputs are the values before a softmax.
    label_smoothing : float, default 0.0
        Spreads this part of each target evenly over the classes: ``y (1 - s) + s / classes``; from 0 to 1.

    Examples
    --------
    >>> from fastdense.losses import CategoricalCrossentropy
    >>> CategoricalCrossentropy(from_logits=True)
    CategoricalCrossentropy(from_logits=True)
    """

    kind, name = "categorical_crossentropy", "categorical_crossentropy"
    targets, curved = "distribution", True


class SparseCategoricalCrossentropy(_Crossentropy, names=("sparse_categorical_crossentropy",)):
    """As `CategoricalCrossentropy`, with class numbers 0, 1, ... as targets, one integer per row.

    Parameters
    ----------
    from_logits : bool, default False
        Whether the outputs are the values before a softmax.
    label_smoothing : float, default 0.0
        As in `CategoricalCrossentropy`; Keras offers it there only.

    Examples
    --------
    >>> from fastdense.losses import SparseCategoricalCrossentropy
    >>> SparseCategoricalCrossentropy().targets
    'classes'
    """

    kind, name = "sparse_categorical_crossentropy", "sparse_categorical_crossentropy"
    targets, curved = "classes", True


DISTANCES = tuple(member.kind for member in members(Loss) if member.targets == "values")  # see `measures_distance`


def get(value: Any, where: str = "loss") -> Loss:
    """Return a loss from a name, an object, a class or a config dict; see `fastdense.specs.resolve`."""
    return resolve(Loss, value, where)
