"""Keras-compatible modules: a script for dense nets runs with only its import lines changed.

>>> from fastdense.keras.models import Sequential
>>> from fastdense.keras.layers import Dense
>>> model = Sequential([Dense(10, activation="softmax", input_shape=(4,))])

Names, arguments and their order, defaults and printed lines are Keras's; ``docs/keras.md`` lists the differences. A
name that is not offered raises an error that suggests the nearest alternative.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ..lazy import lazy
from ..versions import VERSION as __version__
from . import (
    activations,
    backend,
    callbacks,
    config,
    constraints,
    initializers,
    layers,
    losses,
    metrics,
    mixed_precision,
    models,
    ops,
    optimizers,
    regularizers,
    saving,
    utils,
)
from .functional import Functional  # noqa: F401  (what Model makes of nets with branches)
from .initializers import Initializer
from .layer import Input, KerasTensor, Layer
from .losses import Loss
from .metrics import Metric
from .mixed_precision import DTypePolicy
from .models import Model, Sequential
from .names import Finder, NotOffered, not_offered
from .operations import combined  # noqa: F401  (what symbolic tensors do with functions)
from .optimizers import Optimizer
from .outputs import Outputs  # noqa: F401  (what Model makes of several outputs)
from .regularizers import Regularizer
from .variables import Variable

if TYPE_CHECKING:
    from . import datasets, preprocessing, random, tree, wrappers

__all__ = [
    "DTypePolicy",
    "Initializer",
    "Input",
    "KerasTensor",
    "Layer",
    "Loss",
    "Metric",
    "Model",
    "NotOffered",
    "Optimizer",
    "Regularizer",
    "Sequential",
    "Variable",
    "activations",
    "backend",
    "callbacks",
    "config",
    "constraints",
    "datasets",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "mixed_precision",
    "models",
    "ops",
    "optimizers",
    "preprocessing",
    "random",
    "regularizers",
    "saving",
    "tree",
    "utils",
    "version",
    "wrappers",
]


def version() -> str:
    """The version of fastdense, as `__version__`; names, defaults and formulas are those of Keras 3."""
    return __version__


# Modules of older versions of Keras: `from fastdense.keras.layers.core import Dense`.
for _old, _module in {
    "layers.core": layers,
    "layers.normalization": layers,
    "layers.advanced_activations": layers,
    "optimizers.schedules": optimizers.schedules,
    "utils.np_utils": utils,
}.items():
    sys.modules[f"{__name__}.{_old}"] = _module
setattr(utils, "np_utils", utils)  # noqa: B010

# Modules that are missing are refused with a reason, also below these, which are packages in Keras.
sys.meta_path.append(Finder)
for _module in (activations, backend, callbacks, initializers, layers, losses, metrics, optimizers, utils):
    _module.__dict__.setdefault("__path__", [])
__getattr__ = lazy(
    globals(), dict.fromkeys(("datasets", "preprocessing", "random", "tree", "wrappers"), ""), not_offered("", __all__)
)
