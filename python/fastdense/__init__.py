"""fastdense: fast training of dense neural nets.

>>> import fastdense as fd
>>> model = fd.Model([fd.Dense(64, activation="relu"), fd.Dense(10, activation="softmax")], inputs=784)
>>> model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
>>> model.fit(x, y, epochs=5)  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import constraints, cuda, initializers, layers, losses, metrics, optimizers, regularizers, schedules
from .layers import (
    Activation,
    Ascending,
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
from .lazy import lazy, register_converters
from .optimizers import *  # noqa: F403  (every optimizer, so that a new one needs no line here)
from .versions import VERSION as __version__
from .versions import build_config, show_versions

del get, Optimizer, Rate, Solver  # noqa: F821  (they stay in fastdense.optimizers)

if TYPE_CHECKING:
    from . import callbacks, datasets, keras, plots, tabular
    from ._model import Model, load
    from .callbacks import History
    from .interop.keras import from_keras
    from .interop.onnx.read import from_onnx
    from .interop.sklearn import from_sklearn
    from .interop.torch.read import from_torch
    from .model.start import start_on_data
    from .population.cross_validation import cross_validate
    from .population.ensemble import Ensemble
    from .population.fit import fit_many
    from .population.population import Population, PopulationInterrupt, WorkerLost
    from .population.rate_test import learning_rate_test
    from .training.ranks import DataParallel, RankError

# What computes is imported when it is used. A script that writes down a net, and nothing more, needs none of it.
_LAZY = {
    "History": "callbacks",
    "Model": "_model",
    "DataParallel": "training.ranks",
    "Ensemble": "population.ensemble",
    "Population": "population.population",
    "PopulationInterrupt": "population.population",
    "RankError": "training.ranks",
    "WorkerLost": "population.population",
    "callbacks": "",
    "cross_validate": "population.cross_validation",
    "datasets": "",
    "fit_many": "population.fit",
    "from_keras": "interop.keras",
    "from_onnx": "interop.onnx.read",
    "from_sklearn": "interop.sklearn",
    "from_torch": "interop.torch.read",
    "keras": "",
    "load": "_model",
    "learning_rate_test": "population.rate_test",
    "plots": "",
    "start_on_data": "model.start",
    "tabular": "",
}
__getattr__ = lazy(globals(), _LAZY)
register_converters(
    __name__,
    {
        "keras_model": "interop.keras",
        "load_keras": "interop.keras",
        "save_keras": "interop.keras",
        "save_keras_model": "interop.keras",
        "to_c": "interop.c.write",
        "to_onnx": "interop.onnx.write",
        "to_sklearn": "interop.sklearn",
        "to_torch": "interop.torch.write",
    },
)

__all__ = [
    "Activation",
    "Ascending",
    "BatchNorm",
    "Branches",
    "CategoryEmbedding",
    "DataParallel",
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
    "RankError",
    "Rescaling",
    "Residual",
    "RobustScale",
    "Scale",
    "SelectColumns",
    "WorkerLost",
    "__version__",
    "build_config",
    "callbacks",
    "constraints",
    "cross_validate",
    "cuda",
    "datasets",
    "fit_many",
    "from_keras",
    "from_onnx",
    "from_sklearn",
    "from_torch",
    "initializers",
    "keras",
    "layers",
    "learning_rate_test",
    "load",
    "losses",
    "metrics",
    "optimizers",
    "plots",
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


def __dir__() -> list[str]:
    return sorted(__all__)
