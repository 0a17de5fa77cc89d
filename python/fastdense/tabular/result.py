"""What `fastdense.tabular.fit` and `search` return: an ensemble of nets that takes rows of the table."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from .._model import Model
from ..arguments import file_path
from ..arrays import Array, fail
from ..model import files
from ..population.ensemble import Ensemble
from .frames import Columns
from .task import Task

__all__ = ["TabularModel", "load"]


class TabularModel:
    """An ensemble of nets that takes rows of a table as they are: numbers, categories, missing values.

    Attributes
    ----------
    ensemble : Ensemble
        The nets that were chosen, and their weights. It takes the table as the matrix that `columns` makes.
    columns : Columns
    classes_ : ndarray or None
        The labels, in the order of the columns of `predict_proba`; None for a regression.
    report_ : dict
        What was tried: "metric", "validation" (the metric of the ensemble on the rows that chose it, which is
        optimistic), "cross_fitted" (the same where half of the rows chose and the other half judged, both ways round),
        "best_member" (the metric of the best single net), "seconds", and "members", a list with a dict for each net:
        its settings, "score" on the validation rows, "epochs", and "weight" in the ensemble, 0 where it is not in it.
    """

    def __init__(self, ensemble: Ensemble[Model], columns: Columns, task: Task, report: dict[str, Any]) -> None:
        self.ensemble, self.columns, self.task, self.report_ = ensemble, columns, task, report

    @property
    def classes_(self) -> Array | None:
        """The labels, in the order of the columns of `predict_proba`; None for a regression."""
        return self.task.classes

    def __repr__(self) -> str:
        metric, value = self.report_["metric"], self.report_["cross_fitted"]
        return f"<TabularModel of {len(self.ensemble)} nets, {metric} {value:.5g} on validation rows>"

    @property
    def best(self) -> Model:
        """The net with the largest weight in the ensemble."""
        return self.ensemble.members[int(self.ensemble.weights.argmax())]

    def predict(self, x: Any, *, n_threads: int | None = None) -> Array:
        """Numbers of a regression, or the most probable labels.

        Parameters
        ----------
        x : data frame or array
            With the columns of the table of `fit`.
        n_threads : int, optional
            By default as many as this process may use.

        Returns
        -------
        ndarray of shape (rows,), or (rows, targets) of several targets
        """
        if self.task.classes is None:
            made = self._outputs(x, n_threads)
            return made[:, 0] if made.shape[1] == 1 else made
        labels: Array = self.task.classes[self.predict_proba(x, n_threads=n_threads).argmax(axis=1)]
        return labels

    def predict_proba(self, x: Any, *, n_threads: int | None = None) -> Array:
        """Probabilities of the classes.

        Parameters
        ----------
        x, n_threads
            As in `predict`.

        Returns
        -------
        ndarray of shape (rows, classes)

        Raises
        ------
        ValueError
            If the task is a regression.
        """
        if self.task.classes is None:
            fail("predict_proba", "the task is a regression", "classes are needed", "use predict")
        made = self._outputs(x, n_threads)
        return np.concatenate([1 - made, made], axis=1) if made.shape[1] == 1 else made

    def _outputs(self, x: Any, n_threads: int | None) -> Array:
        outputs: Array = self.ensemble.predict(self.columns.transform(x), n_threads=n_threads)
        return outputs

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one file that `load` reads; `fastdense.load` reads its ensemble.

        Parameters
        ----------
        path : str or path

        Raises
        ------
        ValueError
            If the names of columns, categories or labels are of types that a file cannot bring back.
        """
        path = file_path("save: path", path)
        config, tensors = self.ensemble._describe()
        table = {
            "columns": {name: getattr(self.columns, name) for name in _OF_COLUMNS},
            "task": {**vars(self.task), **{name: None if (one := getattr(self.task, name)) is None else one.tolist()
                                           for name in ("classes", "mean", "scale")}},
            "report": self.report_,
        }  # fmt: skip
        if _plain(table) != table:
            fail("save", "a name of a column, a category or a label is of a type that a file cannot bring back",
                 "strings, numbers and bools are needed", "rename them, or use pickle")  # fmt: skip
        files.write(path, {**config, "tabular": table}, tensors)


_OF_COLUMNS = ("names", "count", "categorical", "categories", "missing")


def _plain(value: Any) -> Any:
    """What JSON makes of a value."""
    try:
        return json.loads(json.dumps(value))
    except TypeError:
        return None


def load(path: str | os.PathLike[str]) -> TabularModel:
    """Read what `TabularModel.save` wrote. Nothing in the file is run, so files of unknown origin are safe to load.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    TabularModel

    Raises
    ------
    ValueError
        If the file is damaged, a newer version wrote it, or it holds something else.
    FileNotFoundError
        If there is no such file.
    """
    path = file_path("load: path", path)
    config, tensors = files.read(path)
    if "tabular" not in config:
        raise files.unreadable(path, "it holds no model of a table", "use fastdense.load for models and ensembles")
    with files.described(path):
        table = config["tabular"]
        columns = Columns.__new__(Columns)
        columns._which = None
        for name in _OF_COLUMNS:
            setattr(columns, name, table["columns"][name])
        task = dict(table["task"])
        classes = None if task["classes"] is None else np.array(task["classes"])
        known = Task(task["kind"], task["metric"], classes, np.array(task["mean"]), np.array(task["scale"]))
        return TabularModel(Ensemble._restore(Model, config, tensors, None), columns, known, table["report"])
