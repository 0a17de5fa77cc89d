"""Tables: `fit` trains an ensemble of nets on a table as it is, `search` tries hyperparameters, `load` reads a file.

>>> from fastdense import tabular
>>> model = tabular.fit(frame, y, task="classification", metric="auc")  # doctest: +SKIP
>>> model.predict_proba(new_frame)  # doctest: +SKIP
"""

from __future__ import annotations

from .fitting import fit, search
from .frames import Columns
from .recipe import Settings
from .result import TabularModel, load

__all__ = ["Columns", "Settings", "TabularModel", "fit", "load", "search"]
