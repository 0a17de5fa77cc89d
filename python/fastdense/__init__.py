"""fastdense: dense neural nets, trained at the speed of the machine.

>>> import fastdense as fd
>>> model = fd.Model([fd.Dense(64, activation="relu"), fd.Dense(10, activation="softmax")], inputs=784)
>>> model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
>>> model.fit(x, y, epochs=5)  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import callbacks, initializers, layers, losses, metrics, optimizers, regularizers, schedules
from ._model import Model, load
from .callbacks import History
from .engine import gpu as cuda
from .layers import Activation, BatchNorm, Dense, Dropout, LayerNorm, Normalization, Rescaling, Residual
from .optimizers import (
    KFAC,
    LBFGS,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    AdamW,
    LevenbergMarquardt,
    Lion,
    Muon,
    Nadam,
    NewtonCG,
    RMSprop,
)

if TYPE_CHECKING:
    from . import datasets, keras
    from .model.start import start_on_data
    from .population.cross_validation import cross_validate
    from .population.fit import fit_many
    from .population.population import Population
    from .population.rate_test import learning_rate_test
    from .versions import build_config, show_versions

    __version__: str

# What takes time to import, or is seldom needed: the module that holds it.
_LAZY = {
    "Population": "population.population",
    "build_config": "versions",
    "cross_validate": "population.cross_validation",
    "fit_many": "population.fit",
    "learning_rate_test": "population.rate_test",
    "show_versions": "versions",
    "start_on_data": "model.start",
}
_MODULES = ("datasets", "keras")

__all__ = [
    "KFAC",
    "LBFGS",
    "SGD",
    "Activation",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "BatchNorm",
    "Dense",
    "Dropout",
    "History",
    "LayerNorm",
    "LevenbergMarquardt",
    "Lion",
    "Model",
    "Muon",
    "Nadam",
    "NewtonCG",
    "Normalization",
    "Population",
    "RMSprop",
    "Rescaling",
    "Residual",
    "__version__",
    "build_config",
    "callbacks",
    "cross_validate",
    "cuda",
    "datasets",
    "fit_many",
    "initializers",
    "keras",
    "layers",
    "learning_rate_test",
    "load",
    "losses",
    "metrics",
    "optimizers",
    "regularizers",
    "schedules",
    "show_versions",
    "start_on_data",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    elif name in _MODULES:
        value = importlib.import_module(f".{name}", __name__)
    elif name == "__version__":
        from .versions import package_version

        value = package_version("fastdense") or "0+unknown"
    else:
        raise AttributeError(f"module 'fastdense' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
