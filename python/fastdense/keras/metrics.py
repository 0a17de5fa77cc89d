"""Metrics by Keras's names; those of `fastdense.metrics`, and the losses as functions."""

from .. import metrics as core_metrics
from ..metrics import *  # noqa: F403  (all of them, so that a new one needs no line here)
from . import losses
from .names import not_offered

del TopKAccuracy, get_list  # noqa: F821  (the classes of Keras's names are there for each form of the targets)
_FUNCTIONS = ("mean_squared_error", "mse", "MSE", "mean_absolute_error", "mae", "MAE",
              "mean_absolute_percentage_error", "mape", "MAPE")  # fmt: skip
globals().update({name: getattr(losses, name) for name in _FUNCTIONS})

# As values for compile(metrics=[...]): a class without arguments stands for itself.
binary_accuracy, categorical_accuracy = core_metrics.BinaryAccuracy, core_metrics.CategoricalAccuracy
sparse_categorical_accuracy = core_metrics.SparseCategoricalAccuracy
top_k_categorical_accuracy = core_metrics.TopKCategoricalAccuracy

__all__ = [
    *(name for name in core_metrics.__all__ if name not in ("TopKAccuracy", "get_list")),
    *_FUNCTIONS,
    "binary_accuracy",
    "categorical_accuracy",
    "sparse_categorical_accuracy",
    "top_k_categorical_accuracy",
]

__getattr__ = not_offered(
    "metrics",
    __all__,
    {
        "RootMeanSquaredError": "'mse' is its square.",
        "^Mean$|^Sum$": "History.history holds every epoch's numbers; use NumPy on them.",
    },
)
