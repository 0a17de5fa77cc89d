"""Layers that act in training only: noise, and penalties on what passes through."""

from __future__ import annotations

from ..arguments import number, optional_text
from ..specs import Config
from .base import Layer

__all__ = ["ActivityRegularization", "AlphaDropout", "GaussianDropout", "GaussianNoise"]


class GaussianNoise(Layer, names=("gaussian_noise",)):
    """In training adds normal noise of mean 0 to each unit.

    Parameters
    ----------
    stddev : float
        Standard deviation of the noise.
    name : str, optional
        Name of the layer in tables and files; None lets the model number it.

    Examples
    --------
    >>> from fastdense.layers import GaussianNoise
    >>> GaussianNoise(0.1)
    GaussianNoise(0.1)
    """

    operations = 30

    def __init__(self, stddev: float, name: str | None = None) -> None:
        self.stddev = number("GaussianNoise: stddev", stddev, least=0)
        self.name = optional_text("GaussianNoise: name", name)

    def lower(self, inputs: int) -> list[Config]:
        return [{"kind": "gaussian_noise", "stddev": self.stddev}]


class GaussianDropout(Layer, names=("gaussian_dropout",)):
    """In training multiplies each unit by normal noise of mean 1, whose variance is that of `Dropout`.

    Parameters
    ----------
    rate : float
        From 0 to below 1; the variance is ``rate / (1 - rate)``.
    name : str, optional
        Name of the layer in tables and files; None lets the model number it.

    Examples
    --------
    >>> from fastdense.layers import GaussianDropout
    >>> GaussianDropout(0.2)
    GaussianDropout(0.2)
    """

    operations = 30

    def __init__(self, rate: float, name: str | None = None) -> None:
        self.rate = number("GaussianDropout: rate", rate, least=0, below=1)
        self.name = optional_text("GaussianDropout: name", name)

    def lower(self, inputs: int) -> list[Config]:
        return [{"kind": "gaussian_dropout", "rate": self.rate}]


class AlphaDropout(Layer, names=("alpha_dropout",)):
    """Dropout that keeps mean and variance of what selu units give (Klambauer et al., 2017).

    Parameters
    ----------
    rate : float
        The fraction that is dropped, from 0 to below 1.
    name : str, optional
        Name of the layer in tables and files; None lets the model number it.

    Examples
    --------
    >>> from fastdense.layers import AlphaDropout
    >>> AlphaDropout(0.1)
    AlphaDropout(0.1)
    """

    operations = 14

    def __init__(self, rate: float, name: str | None = None) -> None:
        self.rate = number("AlphaDropout: rate", rate, least=0, below=1)
        self.name = optional_text("AlphaDropout: name", name)

    def lower(self, inputs: int) -> list[Config]:
        return [{"kind": "alpha_dropout", "rate": self.rate}]


class ActivityRegularization(Layer, names=("activity_regularization",)):
    """Passes on what it gets, and adds a penalty on it to the loss, divided by the rows of the batch.

    Parameters
    ----------
    l1, l2 : float, default 0.0
        Factors of the sum of magnitudes and of squares.
    name : str, optional
        Name of the layer in tables and files; None lets the model number it.

    Examples
    --------
    >>> from fastdense.layers import ActivityRegularization
    >>> ActivityRegularization(l2=0.01)
    ActivityRegularization(l2=0.01)
    """

    operations = 4

    def __init__(self, l1: float = 0.0, l2: float = 0.0, name: str | None = None) -> None:
        self.l1 = number("ActivityRegularization: l1", l1, least=0)
        self.l2 = number("ActivityRegularization: l2", l2, least=0)
        self.name = optional_text("ActivityRegularization: name", name)

    def lower(self, inputs: int) -> list[Config]:
        return [{"kind": "activity", "activity_l1": self.l1, "activity_l2": self.l2}]
