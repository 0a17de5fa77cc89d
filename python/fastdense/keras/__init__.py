"""Keras-compatible modules: a script for dense nets runs with only its import lines changed.

>>> from fastdense.keras.models import Sequential
>>> from fastdense.keras.layers import Dense
>>> model = Sequential([Dense(10, activation="softmax", input_shape=(4,))])

Names, arguments and their order, defaults and printed lines are Keras's; ``docs/keras.md`` lists the differences. A
name that is not offered raises an error that suggests the nearest alternative.
"""

from __future__ import annotations

import sys

from ..versions import fastdense_version
from . import (
    activations,
    backend,
    callbacks,
    datasets,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    regularizers,
    utils,
)
from .layer import Input
from .models import Model, Sequential
from .names import NotOffered, not_offered

__all__ = [
    "Input",
    "Model",
    "NotOffered",
    "Sequential",
    "activations",
    "backend",
    "callbacks",
    "datasets",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "regularizers",
    "utils",
]

__version__ = fastdense_version()  # which scripts print
config = backend  # Keras 3 has set_floatx and the like here

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

__getattr__ = not_offered(
    "",
    __all__,
    {
        "preprocessing": "Scale and split the data with NumPy or scikit-learn; keras.layers.Normalization scales them "
        "inside the net.",
        "applications": "fastdense trains dense nets only; there are no pretrained convolutional nets.",
        "wrappers": "Estimators for scikit-learn are not offered; call fit and predict of the model.",
        "constraints": "Constraints are not offered; keras.regularizers keeps weights small.",
        "^ops$|random": "Use NumPy for arrays; custom losses and layers are not offered.",
        "engine|engine.training": "Import from keras.models and keras.layers.",
    },
)
