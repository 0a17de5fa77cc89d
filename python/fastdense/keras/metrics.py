"""Metrics by Keras's names; those of `fastdense.metrics`, and the losses as functions."""

from ..metrics import (
    AUC,
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    F1Score,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    Metric,
    Precision,
    R2Score,
    Recall,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
    get,
)
from .losses import (
    MAE,
    MAPE,
    MSE,
    mae,
    mape,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mse,
)
from .names import not_offered

__all__ = [
    "AUC",
    "MAE",
    "MAPE",
    "MSE",
    "Accuracy",
    "BinaryAccuracy",
    "CategoricalAccuracy",
    "F1Score",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "Metric",
    "Precision",
    "R2Score",
    "Recall",
    "SparseCategoricalAccuracy",
    "SparseTopKCategoricalAccuracy",
    "TopKCategoricalAccuracy",
    "binary_accuracy",
    "categorical_accuracy",
    "get",
    "mae",
    "mape",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mse",
    "sparse_categorical_accuracy",
    "top_k_categorical_accuracy",
]

# As values for compile(metrics=[...]): a class without arguments stands for itself.
binary_accuracy, categorical_accuracy = BinaryAccuracy, CategoricalAccuracy
sparse_categorical_accuracy, top_k_categorical_accuracy = SparseCategoricalAccuracy, TopKCategoricalAccuracy

__getattr__ = not_offered(
    "metrics",
    __all__,
    {
        "RootMeanSquaredError": "'mse' is its square.",
        "^Mean$|^Sum$": "History.history holds every epoch's numbers; use NumPy on them.",
    },
)
