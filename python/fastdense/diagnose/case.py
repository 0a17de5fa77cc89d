"""What the rules check: a model, its data, and the training to explain."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..model.base import BaseModel
from .plan import Plan
from .subject import State, Subject
from .trials import Run


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
    def sd_y(self) -> float:
        """Root mean variance of the targets' columns."""
        return float(np.sqrt(self.subject.sample_y.var(axis=0).mean()))
