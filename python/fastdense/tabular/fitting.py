"""`fit` and `search`: many nets of different settings on a table, and an ensemble of those that help."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._model import Model
from ..arguments import integer, number
from ..arrays import Array, fail
from ..callbacks import EarlyStopping
from ..callbacks.progress import check_verbose
from ..population.ensemble import Ensemble
from ..population.fit import fit_many
from ..population.selection import Measure, greedy
from ..training.options import check_threads
from .frames import Columns
from .recipe import EPOCHS, NETS, PATIENCE, SPACE, Settings, build
from .result import TabularModel
from .space import check_space, draw
from .task import Task

__all__ = ["fit", "search"]
STEPS = 64  # of the greedy selection
MOST_NETS = 64  # that are trained where time_limit allows more than a net needs
LEAST_NETS = 4  # for which epochs are cut where time is short


def fit(
    x: Any,
    y: Any,
    *,
    task: str,
    metric: str | None = None,
    sample_weight: Any = None,
    validation: Any = 0.2,
    categorical: Any = "from_dtype",
    time_limit: float | None = None,
    n_ensemble: int | None = None,
    random_state: int = 0,
    n_threads: int | None = None,
    verbose: int = 0,
) -> TabularModel:
    """Train an ensemble of nets on a table by one fixed recipe, without tuning.

    Nets with different settings are trained side by side, each until `metric` on the validation rows has not improved
    for a while, and keep their best weights; then those that help are chosen greedily, with replacement.

    Parameters
    ----------
    x : data frame or array of shape (rows, columns)
        Numbers, categories, dates; values may be missing. Frames of pandas, polars, pyarrow and others are read through
        narwhals.
    y : array of shape (rows,), or (rows, targets) of a regression
        Numbers, or labels of any one type.
    task : {"regression", "classification"}
    metric : str, optional
        What early stopping and the choice of nets go by: "rmse" (the default of a regression), "mse", "mae", "r2", or
        "log_loss" (the default of a classification), "accuracy", "auc".
    sample_weight : array of shape (rows,), optional
    validation : (x, y) or float, default 0.2
        Rows that are not trained on but stop and choose, or the fraction of the rows that is taken for that at random;
        of each class the same fraction.
    categorical : "from_dtype", None or sequence
        Which columns hold categories; see `Columns`.
    time_limit : float, optional
        Seconds, above 0, within which to be done: fewer epochs or nets where they are few, more nets where they are
        many. It holds to about an epoch of a net; the result then depends on the machine.
    n_ensemble : int, optional
        Number of nets that are trained, of which some make the ensemble: 16 by default.
    random_state : int, default 0
        Seed of everything that is random; without `time_limit` the result is the same at any number of threads.
    n_threads : int, optional
        By default as many as this process may use.
    verbose : {0, 1, 2}
        As in `Model.fit`.

    Returns
    -------
    TabularModel

    Raises
    ------
    ValueError, TypeError
        If the data or an argument is invalid; nothing is trained then.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdense import tabular
    >>> random = np.random.default_rng(0)
    >>> x = random.normal(size=(200, 3))
    >>> model = tabular.fit(x, x[:, 0] > x[:, 1], task="classification", n_ensemble=2)
    >>> model.predict_proba(x[:5]).shape
    (5, 2)
    """
    where = "fit"
    count = None if n_ensemble is None else integer(f"{where}: n_ensemble", n_ensemble, least=1)
    data = _Data(where, x, y, task, metric, sample_weight, validation, categorical, random_state)
    return _run(where, data, SPACE, count, time_limit, n_threads, verbose)
