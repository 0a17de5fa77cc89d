"""Diagnosis of nets that do not learn, verified by short trainings, with a repaired net: `fastdense.Model.diagnose`."""

from __future__ import annotations

from .finding import Finding
from .report import Diagnosis, Treatment
from .rules import CODES

__all__ = ["CODES", "Diagnosis", "Finding", "Treatment"]
