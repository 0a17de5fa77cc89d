"""fastdense: dense neural nets, trained at the speed of the machine.

>>> import fastdense as fd
>>> model = fd.Model([fd.Dense(64, activation="relu"), fd.Dense(10, activation="softmax")], inputs=784)
>>> model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
>>> model.fit(x, y, epochs=5)  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import callbacks, cuda, initializers, layers, losses, metrics, optimizers, regularizers, schedules
from .history import History
from .layers import Activation, BatchNorm, Dense, Dropout, LayerNorm, Normalization, Rescaling, Residual
from .model import Model
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
from .saving import load

if TYPE_CHECKING:
    from . import datasets, keras
    from .many import fit_many
    from .population import Population
    from .starts import start_on_data
    from .validation import cross_validate, learning_rate_test
    from .versions import build_config, show_versions

    __version__: str

# What takes time to import, or is seldom needed: the module that holds it.
_LAZY = {
    "Population": "population",
    "build_config": "versions",
    "cross_validate": "validation",
    "fit_many": "many",
    "learning_rate_test": "validation",
    "show_versions": "versions",
    "start_on_data": "starts",
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
