"""Losses by Keras's names: classes, and functions to be passed to `compile` or called on arrays; losses of your own.

A loss of your own is a function of ``(y_true, y_pred)``, or a subclass of `Loss` with `call`, written with
`keras.ops`, NumPy's functions or operators. It is differentiated exactly (`fastdense.keras.ops.tape`) and called once
for each batch.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, ClassVar

import numpy as np

from .. import losses as core_losses
from ..arguments import check_keywords, shorten
from ..arrays import Array
from ..text import snake_case
from . import ops, settings
from .formulas import FORMULAS, same_rank
from .names import not_offered
from .ops.tape import Traced, gradient, plain
from .serialization import deserialize_keras_object, serialize_keras_object

REDUCTIONS = ("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none", None)
Formula = Callable[..., Any]


class Function:
    """A loss as a function: ``loss=keras.losses.mean_squared_error`` means the same as its name.

    Called as ``f(y_true, y_pred)`` it returns the loss of each row, in float64.
    """

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __call__(self, y_true: Any, y_pred: Any, **options: Any) -> Any:
        """Loss of each row, over the last axis; `options` are Keras's, such as ``from_logits=True``."""
        return FORMULAS[self.__name__](y_true, y_pred, **options)

    def __repr__(self) -> str:
        return f"<loss function {self.__name__}>"


class Loss:
    """Base of losses; a subclass of your own gives ``call(y_true, y_pred)``.

    Parameters
    ----------
    name : str, optional
    reduction : {"sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none"}
        What is made of the values that `call` gives, one for each row; "none" is not for training.
    dtype : str, optional
        Accepted; a loss is computed in the model's type.
    """

    def __init__(
        self, name: str | None = None, reduction: str | None = "sum_over_batch_size", dtype: Any = None
    ) -> None:
        if reduction not in REDUCTIONS:
            raise ValueError(
                f"{type(self).__name__}: reduction={reduction!r} is not known. Use one of {REDUCTIONS[:-1]}."
            )
        self.name = name or snake_case(type(self).__name__)
        self.reduction, self._dtype = reduction, dtype

    @property
    def dtype(self) -> str:
        """The type that a loss by itself computes in."""
        return str(self._dtype or settings.floatx())

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Values of the rows."""
        raise NotImplementedError(f"{type(self).__name__}: call(y_true, y_pred) is missing")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of a batch: `call`, weights and reduction."""
        y, p = (x if isinstance(x, Traced) else _floating(x) for x in (y_true, y_pred))
        return reduced(self.call(y, p), sample_weight, self.reduction)

    def get_config(self) -> dict[str, Any]:
        """The arguments of an equal loss."""
        return {"name": self.name, "reduction": self.reduction}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """The loss that `get_config` described."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


class LossFunctionWrapper(Loss):
    """A function of ``(y_true, y_pred)``, with further arguments, as a loss.

    Parameters
    ----------
    fn : callable
    reduction, name, dtype
        As of `Loss`.
    **kwargs
        Passed to `fn`.
    """

    def __init__(
        self,
        fn: Formula,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name or name_of(fn), reduction, dtype)
        self.fn, self._fn_kwargs = fn, kwargs

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The function's values."""
        return self.fn(*same_rank(y_true, y_pred), **self._fn_kwargs)


class _BuiltIn(LossFunctionWrapper):
    """A loss of Keras's: a formula, its options, and what computes it in an engine, if one does."""

    core: ClassVar[type[core_losses.Loss] | None] = None
    options: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" not in vars(cls) and cls.__module__ == __name__:
            names = {**cls.options, "reduction": "sum_over_batch_size", "name": None, "dtype": None}
            kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
            parameters = [inspect.Parameter(name, kind, default=value) for name, value in names.items()]
            cls.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        built_in = _built_in_class(self)
        signature: inspect.Signature = built_in.__signature__  # type: ignore[attr-defined]
        check_keywords(built_in.__name__, kwargs, signature)
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = dict(bound.arguments)
        own = {name: given.pop(name) for name in self.options}
        super().__init__(FORMULAS[snake_case(_FORMULA.get(built_in.__name__, built_in.__name__))], **given, **own)

    def get_config(self) -> dict[str, Any]:
        """The arguments of an equal loss."""
        return {**self._fn_kwargs, **super().get_config()}

    def lowered(self) -> core_losses.Loss | None:
        """The same loss of an engine, if there is one."""
        same = self.reduction in ("sum_over_batch_size", "mean") and self.core is not None
        own = dict(self._fn_kwargs)
        if not same or own.pop("axis", -1) != -1 or own.pop("ignore_class", None) is not None:
            return None
        assert self.core is not None
        return self.core(**own)


_FORMULA = {"KLDivergence": "kl_divergence"}


def _built_in_class(loss: _BuiltIn) -> type[_BuiltIn]:
    return next(cls for cls in type(loss).__mro__ if cls.__module__ == __name__ and issubclass(cls, _BuiltIn))


_LOGITS = {"from_logits": False, "label_smoothing": 0.0, "axis": -1}
_OPTIONS: dict[str, dict[str, Any]] = {
    "MeanSquaredError": {},
    "MeanAbsoluteError": {},
    "MeanAbsolutePercentageError": {},
    "MeanSquaredLogarithmicError": {},
    "Huber": {"delta": 1.0},
    "LogCosh": {},
    "Poisson": {},
    "KLDivergence": {},
    "Hinge": {},
    "SquaredHinge": {},
    "CategoricalHinge": {},
    "CosineSimilarity": {"axis": -1},
    "BinaryCrossentropy": _LOGITS,
    "CategoricalCrossentropy": _LOGITS,
    "SparseCategoricalCrossentropy": {"from_logits": False, "ignore_class": None, "axis": -1},
    "BinaryFocalCrossentropy": {"apply_class_balancing": False, "alpha": 0.25, "gamma": 2.0, **_LOGITS},
    "CategoricalFocalCrossentropy": {"alpha": 0.25, "gamma": 2.0, **_LOGITS},
    "Dice": {"axis": None},
    "Tversky": {"alpha": 0.5, "beta": 0.5, "axis": None},
}
_CLASSES: dict[str, type[_BuiltIn]] = {}
for _name, _own in _OPTIONS.items():
    _formula = FORMULAS[snake_case(_FORMULA.get(_name, _name))]
    _CLASSES[_name] = type(
        _name,
        (_BuiltIn,),
        {"__module__": __name__, "__doc__": _formula.__doc__, "options": _own,
         "core": getattr(core_losses, _name, None)},
    )  # fmt: skip
globals().update(_CLASSES)
__all__ = [*_CLASSES, "Function", "Loss", "LossFunctionWrapper"]

globals().update({name: Function(name) for name in FORMULAS})
mse = MSE = globals()["mean_squared_error"]
mae = MAE = globals()["mean_absolute_error"]
mape = MAPE = globals()["mean_absolute_percentage_error"]
msle = MSLE = globals()["mean_squared_logarithmic_error"]
kld = KLD = kullback_leibler_divergence = globals()["kl_divergence"]
bce = BCE = globals()["binary_crossentropy"]
logcosh = globals()["log_cosh"]
_BY_FUNCTION = {snake_case(_FORMULA.get(name, name)): cls for name, cls in _CLASSES.items()}


# ---- losses of a user's own ------------------------------------------------------------------------------------------


def name_of(fn: Any) -> str:
    """The name of a function, also of one that `functools.partial` wraps."""
    if isinstance(fn, functools.partial):
        return name_of(fn.func)
    return str(getattr(fn, "__name__", snake_case(type(fn).__name__)))


def _floating(x: Any) -> Array:
    array = np.asarray(x)
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def reduced(values: Any, weights: Any, reduction: str | None) -> Any:
    """What Keras makes of the values of rows and their weights.

    Raises
    ------
    ValueError
        If there are weights of rows and several values a row.
    """
    if weights is not None:
        values, w = same_rank(values, _floating(weights))
        if np.ndim(plain(values)) > w.ndim:
            raise ValueError(
                f"the loss gave values of shape {values.shape}, and there is one weight for each row. One value for "
                "each row is needed: end with ops.mean(..., axis=-1)."
            )
        weights, values = w, ops.multiply(values, w)
    if reduction in (None, "none") or not np.ndim(plain(values)):
        return values
    total = ops.sum(values)
    if reduction == "sum":
        return total
    if reduction == "mean_with_sample_weight" and weights is not None:
        return ops.divide_no_nan(total, float(np.sum(weights)))
    return ops.divide(total, float(np.size(plain(values))))


class Differentiated(core_losses.Custom):
    """A loss of Keras's interface for a model of `fastdense`: differentiated, and called once for each batch.

    Parameters
    ----------
    loss : Loss

    Attributes
    ----------
    flat_targets : bool
        Whether `fit` was given targets of one dimension, which the loss then gets.
    """

    def __init__(self, loss: Loss) -> None:
        super().__init__(loss, loss.name, check=False)
        self.flat_targets = False

    def of_batch(self, y: Array, p: Array, weights: Array | None, with_gradient: bool) -> tuple[Array, Array | None]:
        prediction = Traced(p)
        loss: Any = self.fn
        value = loss(y[:, 0] if self.flat_targets and y.shape[1] == 1 else y, prediction, sample_weight=weights)
        if np.ndim(plain(value)):
            raise ValueError(
                f"loss {self.name!r}: it gave values of shape {np.shape(plain(value))}; one number for a batch is "
                "needed. Use another reduction than 'none'."
            )
        return np.full(len(p), float(plain(value))), gradient(value, prediction) if with_gradient else None


def is_loss(value: Any) -> bool:
    """Whether it is a loss: an object, a class or a function of the user's."""
    own_class = isinstance(value, type) and issubclass(value, Loss)
    return own_class or isinstance(value, (Loss, FunctionType))


def lowered(identifier: Any) -> core_losses.Loss:
    """The loss of `compile` as one that a model of `fastdense` takes: an engine's, or a user's own, differentiated."""
    if isinstance(identifier, core_losses.Loss):
        return identifier
    if isinstance(identifier, str) and core_losses.Loss.family.has(identifier):
        return core_losses.get(identifier)
    loss = _object(identifier)
    if isinstance(loss, _BuiltIn) and not _overridden(loss):
        made = loss.lowered()
        if made is not None:
            return made
    if loss.reduction in (None, "none"):
        raise ValueError(
            f"compile: loss {loss.name!r} has reduction={loss.reduction!r}, and training needs one number for a batch. "
            "Use reduction='sum_over_batch_size'."
        )
    return Differentiated(loss)


def _object(identifier: Any) -> Loss:
    if isinstance(identifier, Loss):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, Loss):
        return identifier()
    if isinstance(identifier, Function):
        return _BY_FUNCTION[identifier.__name__]()
    if isinstance(identifier, str):
        found = globals().get(identifier)
        if isinstance(found, Function) or identifier in _CLASSES:
            return _object(found)
        core_losses.get(identifier, "compile: loss")  # raises, with the nearest name
    if isinstance(identifier, Mapping):
        name = identifier.get("class_name")
        if name in _CLASSES and isinstance(identifier.get("config"), Mapping):
            return _CLASSES[str(name)](**identifier["config"])
    if not callable(identifier):
        raise TypeError(
            f"compile: loss={shorten(identifier)} is of type {type(identifier).__name__}. Give a name, a loss of "
            "keras.losses, or a function of (y_true, y_pred)."
        )
    return LossFunctionWrapper(identifier)


def _overridden(loss: _BuiltIn) -> bool:
    """Whether a subclass of a user's own computes something else."""
    return type(loss).call is not LossFunctionWrapper.call or type(loss).__call__ is not Loss.__call__


def get(identifier: Any) -> Any:
    """The function or the loss of a name; others as they are."""
    if isinstance(identifier, (str, Mapping)):
        found = globals().get(identifier) if isinstance(identifier, str) else None
        return found if isinstance(found, Function) else _object(identifier)
    return identifier


def serialize(loss: Any) -> Any:
    """The class and the config of a loss, as JSON types."""
    return serialize_keras_object(loss)


def deserialize(name: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The loss that `serialize` described; `custom_objects` are classes and functions of your own, by name."""
    plain = name["config"] if isinstance(name, Mapping) and name.get("class_name") == "function" else name
    if isinstance(plain, str) and plain not in (custom_objects or {}):
        found = globals().get(plain)
        if isinstance(name, str) or isinstance(found, Function):
            return get(plain)
    return deserialize_keras_object(name, custom_objects)


__all__ += ["deserialize", "get", "serialize"]
__getattr__ = not_offered("losses", [*__all__, *(n for n, v in list(globals().items()) if isinstance(v, Function))])
