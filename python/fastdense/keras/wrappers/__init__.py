"""Models of `fastdense.keras` as estimators of scikit-learn, by the names of Keras 3 and of scikeras."""

from ..names import not_offered
from .estimators import SKLearnClassifier, SKLearnRegressor, SKLearnTransformer
from .scikit_learn import KerasClassifier, KerasRegressor

__all__ = ["KerasClassifier", "KerasRegressor", "SKLearnClassifier", "SKLearnRegressor", "SKLearnTransformer"]

__getattr__ = not_offered("wrappers", __all__)
