"""Why a net is stuck, proved by trials, and a repaired net. `fastdense.Model.diagnose` is the way in."""

from __future__ import annotations

from .finding import Finding
from .report import Diagnosis, Treatment
from .rules import CODES

__all__ = ["CODES", "Diagnosis", "Finding", "Treatment"]
