"""Base class of the optimizers: common arguments, and the learning rate of each step."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..arguments import flag, integer, items, number, shorten, suggestion
from ..schedules import Schedule
from ..schedules import get as get_schedule
from ..specs import Config, Spec, resolve

Own = TypeVar("Own", bound="Optimizer")
Rate = float | Schedule
Multipliers = Mapping[str, float]
Shapes = Sequence[tuple[int, ...]]  # of the trainable tensors
_CLIPS = ("clipvalue", "clipnorm", "global_clipnorm")


class Optimizer(Spec, family="optimizer"):
    """Base of the optimizers.

    Attributes
    ----------
    full_batch : bool
        Whether a step takes all rows; see `fastdense.optimizers.full_batch`.
    gradients : int
        How many gradients a step costs about, for estimates of work.
    """

    kind: ClassVar[str]
    _hyperparameters: ClassVar[tuple[str, ...]]
    learning_rate: Rate
    use_ema: bool = False
    full_batch: ClassVar[bool] = False
    gradients: ClassVar[int] = 1

    def __init__(
        self,
        learning_rate: Rate,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
    ) -> None:
        self.learning_rate = learning_rate
        self.weight_decay = self._optional("weight_decay", weight_decay, least=0)
        self.clipnorm = self._optional("clipnorm", clipnorm, above=0)
        self.clipvalue = self._optional("clipvalue", clipvalue, above=0)
        self.global_clipnorm = self._optional("global_clipnorm", global_clipnorm, above=0)
        given = [f"{name}={getattr(self, name)}" for name in _CLIPS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{type(self).__name__}: {' and '.join(given)}. Give at most one kind of clipping.")

    def __setattr__(self, name: str, value: object) -> None:
        if name == "learning_rate":
            value = self._rate(value)
        elif name not in self.__signature__.parameters:
            near = suggestion(name, self.__signature__.parameters)
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}.{near}")
        elif name in self.__dict__:
            raise AttributeError(
                f"{type(self).__name__}: {name} is fixed; only learning_rate may be assigned. "
                f"Make a new {type(self).__name__}({name}=...) and compile again."
            )
        super().__setattr__(name, value)

    def _rate(self, value: object) -> Rate:
        where = f"{type(self).__name__}: learning_rate"
        if isinstance(value, (Schedule, dict)):
            return get_schedule(value, where)
        return number(where, value, least=0)

    def _number(self, name: str, value: object, **bounds: float) -> float:
        return number(f"{type(self).__name__}: {name}", value, **bounds)

    def _optional(self, name: str, value: object, **bounds: float) -> float | None:
        return None if value is None else self._number(name, value, **bounds)

    def _fraction(self, name: str, value: object) -> float:
        return number(f"{type(self).__name__}: {name}", value, least=0, below=1)

    def _set_average(self, use_ema: object, momentum: object, frequency: object) -> None:
        """Store whether and how an average of the weights is kept; of optimizers that have these arguments."""
        name = type(self).__name__
        self.use_ema = flag(f"{name}: use_ema", use_ema)
        self.ema_momentum = self._number("ema_momentum", momentum, least=0, most=1)
        self.ema_overwrite_frequency = (
            None if frequency is None else integer(f"{name}: ema_overwrite_frequency", frequency, least=1)
        )

    def exclude_from_weight_decay(self, var_list: object = None, var_names: object = None) -> None:
        """Let `weight_decay` have no effect on some tensors; before `Model.compile`.

        Parameters
        ----------
        var_list : list, optional
            Tensors, as objects with a `path`, or by their names "layer/tensor".
        var_names : list of str, optional
            Regular expressions, sought in the last part of the names: ``["bias"]`` stands for the bias of every layer.
            A name that no tensor has is no error, as in Keras.

        Raises
        ------
        ValueError
            If the optimizer has no weight decay, or works on whole tensors.
        """
        where = f"{type(self).__name__}.exclude_from_weight_decay"
        if not self.weight_decay:
            raise ValueError(f"{where}: the optimizer has no weight decay. Give weight_decay=..., or use AdamW.")
        if "weight_decay_multipliers" not in self.__signature__.parameters:
            raise ValueError(f"{where}: {type(self).__name__} decays all tensors. Use e.g. AdamW.")
        paths = [
            str(getattr(one, "path", one))
            for one in items(f"{where}: var_list", var_list or [], "a list of tensors or of their names")
        ]
        names = items(f"{where}: var_names", var_names or [], "a list of names, such as ['bias']")
        patterns = [f"(^|/){re.escape(path)}$" for path in paths]
        for name in names:
            if not isinstance(name, str):
                raise TypeError(f"{where}: var_names holds {shorten(name)}. Give names, such as ['bias'].")
            patterns.append(f"[^/]*({name})[^/]*$")
        self.__dict__["_undecayed"] = patterns

    def get_config(self) -> Config:
        config = super().get_config()
        patterns = self.__dict__.get("_undecayed")
        return {**config, "undecayed": list(patterns)} if patterns else config

    @classmethod
    def from_config(cls: type[Own], config: Mapping[str, Any]) -> Own:
        given = dict(config)
        patterns = given.pop("undecayed", None)
        made = super().from_config(given)
        if patterns:
            made.__dict__["_undecayed"] = list(patterns)
        return made

    def _set_multipliers(self, learning_rate: object, weight_decay: object) -> None:
        """Store factors for tensors of their own; of optimizers that have these arguments."""
        self.learning_rate_multipliers = self._multipliers("learning_rate_multipliers", learning_rate)
        self.weight_decay_multipliers = self._multipliers("weight_decay_multipliers", weight_decay)
        if self.weight_decay_multipliers and not self.weight_decay:
            raise ValueError(
                f"{type(self).__name__}: weight_decay_multipliers is given without weight_decay. "
                "Give what they multiply."
            )

    def _multipliers(self, name: str, value: object) -> dict[str, float] | None:
        where = f"{type(self).__name__}: {name}"
        if value is None:
            return None
        if not isinstance(value, Mapping) or not all(isinstance(pattern, str) for pattern in value):
            raise TypeError(
                f"{where}={shorten(value)} is of type {type(value).__name__}. "
                "Give a dict of patterns and factors, such as {'*/bias': 0.1}."
            )
        return {pattern: number(f"{where}[{pattern!r}]", factor, least=0) for pattern, factor in value.items()}

    def factors(self, where: str, names: Sequence[str]) -> Config:
        """Return what `lower` leaves out, since it depends on the model: the factors of its trainable tensors.

        Parameters
        ----------
        where : str
            Who asks, for messages.
        names : sequence of str
            Of the tensors, in order.

        Raises
        ------
        ValueError
            If a pattern matches none of them.
        """
        found: Config = {}
        for name, key in (("learning_rate_multipliers", "rate_factors"), ("weight_decay_multipliers", "decay_factors")):
            multipliers: dict[str, float] | None = getattr(self, name, None)
            if not multipliers:
                continue
            factors = np.ones(len(names))
            for pattern, factor in multipliers.items():
                chosen = [fnmatchcase(one, pattern) for one in names]
                if not any(chosen):
                    raise ValueError(
                        f"{where}: {type(self).__name__}: {name} holds the pattern {pattern!r}, which matches no "
                        f"trained tensor. Give patterns of these names: {', '.join(names)}."
                    )
                factors[chosen] = factor
            found[key] = factors.tolist()
        patterns = self.__dict__.get("_undecayed", [])
        undecayed = [any(re.search(pattern, name) for pattern in patterns) for name in names]
        if any(undecayed):
            factors = np.array(found.get("decay_factors", np.ones(len(names))))
            factors[undecayed] = 0.0
            found["decay_factors"] = factors.tolist()
        return found

    def learning_rates(self, first_step: int, n: int) -> NDArray[np.float64]:
        """Return the learning rates of `n` steps; `first_step` counts the steps done before them.

        Raises
        ------
        ValueError
            If a schedule gives a rate that is negative or not finite.
        """
        if not isinstance(self.learning_rate, Schedule):
            return np.full(n, self.learning_rate, dtype=np.float64)
        rates = self.learning_rate.checked_rates(np.arange(first_step, first_step + n, dtype=np.float64))
        bad = np.flatnonzero(~(np.isfinite(rates) & (rates >= 0)))
        if bad.size:
            raise ValueError(
                f"{type(self).__name__}: {self.learning_rate!r} gives {rates[bad[0]]} at step {first_step + bad[0]}. "
                "Learning rates must be finite and at least 0; check the arguments of the schedule."
            )
        return rates

    def working_bytes(self, shapes: Shapes, itemsize: int) -> int:
        """Return the bytes of memory that training takes besides slots; of a full-batch optimizer, all of its state.

        Parameters
        ----------
        shapes : sequence of tuple of int
            Of the trainable tensors.
        itemsize : int
            Bytes of a parameter.
        """
        return 0

    def operations(self, shapes: Shapes, rows: int) -> float:
        """Return about how many floating-point operations of matrix products a step makes besides its gradients.

        Parameters
        ----------
        shapes : sequence of tuple of int
            Of the trainable tensors.
        rows : int
            Of the batch.
        """
        return 0.0

    def lower(self) -> Config:
        """Return the optimizer in the form that engines accept; learning rates go separately, step by step."""
        return {
            "kind": self.kind,
            **{name: getattr(self, name) for name in self._hyperparameters},
            "weight_decay": self.weight_decay or 0.0,
            **{name: getattr(self, name) or 0.0 for name in _CLIPS},
            **self._lowered_average(),
        }

    def _lowered_average(self) -> Config:
        if not self.use_ema:
            return {}
        average: Any = self
        frequency = average.ema_overwrite_frequency or 0
        return {"use_ema": True, "ema_momentum": average.ema_momentum, "ema_overwrite_frequency": frequency}


def parameters(shapes: Shapes) -> int:
    """Return the number of parameters in tensors of these shapes."""
    return sum(math.prod(shape) for shape in shapes)


def get(value: Any, where: str = "optimizer") -> Optimizer:
    """Return an optimizer from a name, an object, a class or a config dict; see `fastdense.specs.resolve`."""
    return resolve(Optimizer, value, where)
