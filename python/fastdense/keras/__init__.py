"""What a dense-net script imports from Keras: such a script runs with only its import lines changed.

>>> from fastdense.keras.models import Sequential
>>> from fastdense.keras.layers import Dense
>>> model = Sequential([Dense(10, activation="softmax", input_shape=(4,))])

Names, arguments and their order, defaults and printed lines are Keras's; ``docs/keras.md`` tells what differs. What is
not there raises an error that names the nearest thing there is.
"""

from __future__ import annotations

import sys

from ..versions import package_version
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

__version__ = package_version("fastdense") or "0+unknown"  # scripts print it
config = backend  # Keras 3 has set_floatx and the like here

# Modules of older Keras, so that `from fastdense.keras.layers.core import Dense` finds its way.
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
        "applications": "fastdense trains dense nets only, so there are no ready convolutional nets.",
        "wrappers": "fastdense.sklearn has estimators of its own: DenseClassifier and DenseRegressor.",
        "constraints": "keras.regularizers keeps weights small.",
        "^ops$|random": "Use NumPy on arrays; losses and layers of your own are not offered.",
        "engine|engine.training": "Import from keras.models and keras.layers.",
    },
)
