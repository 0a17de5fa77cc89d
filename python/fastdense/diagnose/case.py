"""What the rules look at: a model with its data, and the training that is to be explained."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from .plan import Plan
from .subject import State, Subject
from .trials import Run

if TYPE_CHECKING:
    from ..model.base import BaseModel


@dataclass
class Case:
    """A subject, the plan of its training, and that training once more if it was made.

    Attributes
    ----------
    s : Subject
    plan : Plan
    run : Run or None
    """

    s: Subject
    plan: Plan
    run: Run | None

    @cached_property
    def losses(self) -> list[float]:
        """Losses of the training that is to be explained."""
        return self.s.history.get("loss") or (self.run.losses if self.run is not None else [])

    @property
    def trained(self) -> BaseModel | None:
        """The user's model if it was trained, else the one that was trained here."""
        return self.s.model if self.s.trained else self.run.model if self.run is not None else None

    @cached_property
    def end(self) -> State | None:
        """The net after training, if it was trained or trained again here."""
        if self.s.trained:
            return self.s.now
        return self.run.state if self.run is not None else None

    @cached_property
    def latest(self) -> State:
        """The net after training if there was any, else at its start."""
        return self.s.start if self.end is None else self.end

    @cached_property
    def sd_y(self) -> float:
        """Root mean variance of the targets' columns."""
        return float(np.sqrt(self.s.some_y.var(axis=0).mean()))
