"""What the rules check: a model, its data, and the training to explain."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..data.rows import random_rows
from ..model.base import BaseModel
from .plan import Plan
from .subject import State, Subject
from .trials import Run
from .witnesses import FOLDS, ROWS, Bounds, bounds, bounds_seconds

PART = 0.1  # of the work left, for witnesses
FEWEST = 40  # rows of which a quarter says anything about the others


@dataclass
class Case:
    """A subject, the plan of its training, and a repetition of that training if there is one.

    Attributes
    ----------
    subject : Subject
    plan : Plan
    run : Run or None
    """

    subject: Subject
    plan: Plan
    run: Run | None

    @cached_property
    def losses(self) -> list[float]:
        """Losses of the training to explain."""
        return self.subject.history.get("loss") or (self.run.losses if self.run is not None else [])

    @property
    def trained(self) -> BaseModel | None:
        """The user's model if it was trained, else the one that was trained here."""
        return self.subject.model if self.subject.trained else self.run.model if self.run is not None else None

    @cached_property
    def end(self) -> State | None:
        """The net after training, if it was trained or trained again here."""
        if self.subject.trained:
            return self.subject.now
        return self.run.state if self.run is not None else None

    @cached_property
    def latest(self) -> State:
        """The net after training if there was any, else with its initial weights."""
        return self.subject.start if self.end is None else self.end

    @cached_property
    def bounds(self) -> Bounds | None:
        """What witnesses learn from x, on rows kept out; None where there are too few rows or the data are refused."""
        subject = self.subject
        if not subject.usable or len(subject.x) < FEWEST:
            return None
        keep = np.setdiff1d(np.arange(len(subject.x)) if subject.groups is None else subject.groups, subject.outliers)
        rows, count, columns = min(ROWS, len(keep)), FOLDS, (subject.x.shape[1], subject.y.shape[1])
        while (price := bounds_seconds(rows, *columns, count)) > PART * subject.work.left:
            rows, count = (rows, 1) if count > 1 else (rows // 2, 1)
            if rows < FEWEST:
                return None
        x, y = (np.asarray(random_rows(array[keep], rows), dtype=np.float64) for array in (subject.x, subject.y))
        x = subject.filled(x)
        if bool((y == y[0]).all()):
            return None
        subject.work.charge(price)
        return bounds(subject.task, x, y, count=count)

    @cached_property
    def sd_y(self) -> float:
        """Root mean variance of the targets' columns."""
        return float(np.sqrt(self.subject.sample_y.var(axis=0).mean()))
