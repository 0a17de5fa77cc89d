"""Estimators of scikit-learn: `DenseClassifier` and `DenseRegressor`.

They have the parameters, attributes and methods of `sklearn.neural_network.MLPClassifier` and `MLPRegressor`, and more
of each. scikit-learn 1.6 or newer is needed; `import fastdense` does not import it.

>>> from fastdense.sklearn import DenseClassifier
>>> DenseClassifier(hidden_layer_sizes=(64, 64), early_stopping="loss", dropout=0.1)
DenseClassifier(dropout=0.1, early_stopping='loss', hidden_layer_sizes=(64, 64))
"""

from __future__ import annotations

try:
    from sklearn.utils.validation import validate_data  # new in 1.6
except ImportError as error:
    raise ImportError("fastdense.sklearn needs scikit-learn 1.6 or newer; pip install 'fastdense[sklearn]'") from error

from .classifier import DenseClassifier
from .regressor import DenseRegressor

del validate_data
DenseClassifier.__module__ = DenseRegressor.__module__ = __name__  # their public path, which files of pickle name

__all__ = ["DenseClassifier", "DenseRegressor"]
