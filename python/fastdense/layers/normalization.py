"""Layers that normalize over the batch or over the units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import constraints, initializers, regularizers
from ..arguments import flag, number, optional_text
from ..specs import Config
from .base import Layer, TensorSpec

__all__ = ["BatchNorm", "LayerNorm", "UnitNormalization"]

Initializer = str | initializers.Initializer
Regularizer = str | regularizers.Regularizer | Sequence[Any] | None
Constraint = str | constraints.Constraint | None


class _ScaledUnits(Layer):
    """What comes after a normalization: a factor gamma and a shift beta for each unit, or only one of them, or none."""

    center: bool
    scale: bool

    def _set_scaling(
        self,
        center: bool,
        scale: bool,
        initializer: dict[str, Initializer],
        regularizer: dict[str, Regularizer],
        constraint: dict[str, Constraint],
    ) -> None:
        where = type(self).__name__
        self.center = flag(f"{where}: center", center)
        self.scale = flag(f"{where}: scale", scale)
        for tensor, value in initializer.items():
            name = f"{tensor}_initializer"
            made = initializers.get(value, f"{where}: {name}")
            if isinstance(made, initializers.Data):
                raise ValueError(f"{where}: {name}='data' is for the kernel of a Dense layer. Give another one.")
            setattr(self, name, made)
        for tensor in ("gamma", "beta"):
            penalty, limit = f"{where}: {tensor}_regularizer", f"{where}: {tensor}_constraint"
            setattr(self, f"{tensor}_regularizer", regularizers.for_weights_or_outputs(regularizer[tensor], penalty))
            setattr(self, f"{tensor}_constraint", constraints.optional(constraint[tensor], limit, 1))

    def _lower_scaling(self) -> Config:
        """The keys of an op that are not as they usually are."""
        op: Config = {}
        for tensor, name, flag_of, present in (
            ("gamma", "kernel", "scales", self.scale),
            ("beta", "bias", "centers", self.center),
        ):
            if not present:
                op[flag_of] = False
                continue
            regularizer = getattr(self, f"{tensor}_regularizer")
            penalties = regularizers.lower("bias", regularizer) if regularizer is not None else {}
            op |= {f"{name}_{key.removeprefix('bias_')}": value for key, value in penalties.items()}
            op |= constraints.lower_constraint(name, getattr(self, f"{tensor}_constraint"), 1)
        return op

    def tensors(self, inputs: int) -> list[TensorSpec]:
        used = (("gamma", self.scale), ("beta", self.center))
        return [TensorSpec(name, (inputs,), True) for name, present in used if present]

    def _initializer(self, tensor: str) -> initializers.Initializer:
        made: initializers.Initializer = getattr(self, f"{tensor}_initializer")
        return made


class BatchNorm(_ScaledUnits, names=("batch_norm", "BatchNormalization")):
    """Scales each unit to mean 0, variance 1 over the batch, then by a learned gamma and beta (Ioffe & Szegedy, 2015).

    In training the mean and (biased) variance are those of the batch; otherwise, and if the layer is not trainable,
    their moving averages are used.

    Parameters
    ----------
    momentum : float, default 0.99
        ``moving = momentum * moving + (1 - momentum) * batch``; 0.99 is PyTorch's 0.01.
    epsilon : float, default 0.001
        Added to the variance; PyTorch's default is 1e-5.
    center, scale : bool, default True
        Whether there are beta and gamma.
    beta_initializer, gamma_initializer : str or Initializer, default "zeros" and "ones"
        First values of beta and gamma.
    moving_mean_initializer, moving_variance_initializer : str or Initializer, default "zeros" and "ones"
        First values of the moving averages.
    beta_regularizer, gamma_regularizer : str, Regularizer or list, optional
        l1 and l2 only.
    beta_constraint, gamma_constraint : str or Constraint, optional
        See `fastdense.constraints`.
    name : str, optional
        Name of the layer in tables and files; None lets the model number it.
    trainable : bool, default True
        Whether training changes the layer's tensors; see `Layer`.

    Examples
    --------
    >>> from fastdense.layers import BatchNorm
    >>> BatchNorm(momentum=0.9)
    BatchNorm(momentum=0.9)
    """

    operations = 6

    def __init__(
        self,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        name: str | None = None,
        *,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Initializer = "zeros",
        gamma_initializer: Initializer = "ones",
        moving_mean_initializer: Initializer = "zeros",
        moving_variance_initializer: Initializer = "ones",
        beta_regularizer: Regularizer = None,
        gamma_regularizer: Regularizer = None,
        beta_constraint: Constraint = None,
        gamma_constraint: Constraint = None,
        trainable: bool = True,
    ) -> None:
        self.momentum = number("BatchNorm: momentum", momentum, least=0, most=1)
        self.epsilon = number("BatchNorm: epsilon", epsilon, above=0)
        self._set_scaling(
            center,
            scale,
            {
                "beta": beta_initializer,
                "gamma": gamma_initializer,
                "moving_mean": moving_mean_initializer,
                "moving_variance": moving_variance_initializer,
            },
            {"beta": beta_regularizer, "gamma": gamma_regularizer},
            {"beta": beta_constraint, "gamma": gamma_constraint},
        )
        self.name = optional_text("BatchNorm: name", name)
        self.trainable = trainable

    def lower(self, inputs: int) -> list[Config]:
        return [{"kind": "batch_norm", "momentum": self.momentum, "epsilon": self.epsilon, **self._lower_scaling()}]

    def frozen_ops(self, inputs: int) -> list[bool]:
        return [not self.trainable]  # also without gamma and beta: it has moving statistics

    def tensors(self, inputs: int) -> list[TensorSpec]:
        moving = [TensorSpec(name, (inputs,), False) for name in ("moving_mean", "moving_variance")]
        return [*super().tensors(inputs), *moving]


class LayerNorm(_ScaledUnits, names=("layer_norm", "LayerNormalization")):
    """Scales each row to mean 0 and variance 1 over its units, then by a learned gamma and beta (Ba et al., 2016).

    Parameters
    ----------
    epsilon : float, default 0.001
        Added to the variance.
    center, scale : bool, default True
        Whether there are beta and gamma.
    beta_initializer, gamma_initializer : str or Initializer, default "zeros" and "ones"
        First values of beta and gamma.
    beta_regularizer, gamma_regularizer : str, Regularizer or list, optional
        l1 and l2 only.
    beta_constraint, gamma_constraint : str or Constraint, optional
        See `fastdense.constraints`.
    name : str, optional
        Name of the layer in tables and files; None lets the model number it.
    trainable : bool, default True
        Whether training changes the layer's tensors; see `Layer`.

    Examples
    --------
    >>> from fastdense.layers import LayerNorm
    >>> LayerNorm()
    LayerNorm()
    """

    operations = 6

    def __init__(
        self,
        epsilon: float = 1e-3,
        name: str | None = None,
        *,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Initializer = "zeros",
        gamma_initializer: Initializer = "ones",
        beta_regularizer: Regularizer = None,
        gamma_regularizer: Regularizer = None,
        beta_constraint: Constraint = None,
        gamma_constraint: Constraint = None,
        trainable: bool = True,
    ) -> None:
        self.epsilon = number("LayerNorm: epsilon", epsilon, above=0)
        self._set_scaling(
            center,
            scale,
            {"beta": beta_initializer, "gamma": gamma_initializer},
            {"beta": beta_regularizer, "gamma": gamma_regularizer},
            {"beta": beta_constraint, "gamma": gamma_constraint},
        )
        self.name = optional_text("LayerNorm: name", name)
        self.trainable = trainable

    def lower(self, inputs: int) -> list[Config]:
        return [{"kind": "layer_norm", "epsilon": self.epsilon, **self._lower_scaling()}]


class UnitNormalization(Layer, names=("unit_normalization",)):
    """Divides each row by its Euclidean norm: ``x / max(|x|, 1e-12)``.

    Parameters
    ----------
    name : str, optional
        Name of the layer in tables and files; None lets the model number it.

    Examples
    --------
    >>> import fastdense as fd
    >>> fd.Model([fd.layers.UnitNormalization()], inputs=2, dtype="float64").predict([[3.0, 4.0]])
    array([[0.6, 0.8]])
    """

    operations = 4

    def __init__(self, name: str | None = None) -> None:
        self.name = optional_text("UnitNormalization: name", name)

    def lower(self, inputs: int) -> list[Config]:
        return [{"kind": "unit_norm"}]
