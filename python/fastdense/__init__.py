"""fastdense: fast training of dense neural nets.

>>> import fastdense as fd
>>> model = fd.Model([fd.Dense(64, activation="relu"), fd.Dense(10, activation="softmax")], inputs=784)
>>> model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
>>> model.fit(x, y, epochs=5)  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import callbacks, constraints, cuda, initializers, layers, losses, metrics, optimizers, regularizers, schedules
from ._model import Model, load
from .callbacks import History
from .layers import (
    Activation,
    BatchNorm,
    Branches,
    CategoryEmbedding,
    Dense,
    Dropout,
    Function,
    Impute,
    LayerNorm,
    Log1p,
    Normalization,
    NumericEmbedding,
    OneHot,
    Periodic,
    Rescaling,
    Residual,
    RobustScale,
    Scale,
    SelectColumns,
)
from .model.start import start_on_data
from .optimizers import *  # noqa: F403  (every optimizer, so that a new one needs no line here)

del get, Optimizer, Rate, Solver  # noqa: F821  (they stay in fastdense.optimizers)

if TYPE_CHECKING:
    from . import datasets, keras, tabular
    from .population.cross_validation import cross_validate
    from .population.ensemble import Ensemble
    from .population.fit import fit_many
    from .population.population import Population, PopulationInterrupt
    from .population.rate_test import learning_rate_test
    from .versions import build_config, show_versions

    __version__: str

# Names that are seldom needed and take time to import, and the module of each; "" for the modules themselves.
_LAZY = {
    "Ensemble": "population.ensemble",
    "Population": "population.population",
    "PopulationInterrupt": "population.population",
    "build_config": "versions",
    "cross_validate": "population.cross_validation",
    "datasets": "",
    "fit_many": "population.fit",
    "keras": "",
    "learning_rate_test": "population.rate_test",
    "show_versions": "versions",
    "tabular": "",
}

__all__ = [
    "Activation",
    "BatchNorm",
    "Branches",
    "CategoryEmbedding",
    "Dense",
    "Dropout",
    "Ensemble",
    "Function",
    "History",
    "Impute",
    "LayerNorm",
    "Log1p",
    "Model",
    "Normalization",
    "NumericEmbedding",
    "OneHot",
    "Periodic",
    "Population",
    "PopulationInterrupt",
    "Rescaling",
    "Residual",
    "RobustScale",
    "Scale",
    "SelectColumns",
    "__version__",
    "build_config",
    "callbacks",
    "constraints",
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
    "tabular",
]
__all__ += optimizers.__all__
__all__.remove("get")
__all__.remove("Optimizer")
__all__.remove("Rate")
__all__.remove("Solver")


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from .versions import fastdense_version

        value: Any = fastdense_version()
    elif name not in _LAZY:
        raise AttributeError(f"module 'fastdense' has no attribute {name!r}")
    elif _LAZY[name]:
        value = getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    else:
        value = importlib.import_module(f".{name}", __name__)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
