"""Callbacks: objects whose hooks are called during training, with Keras's names, arguments and meaning.

A callback with a batch hook makes training return to Python after every batch, one with an epoch hook after every
epoch; without either it stays in compiled code.
"""

from __future__ import annotations

from .base import Callback, CallbackList
from .functions import LambdaCallback, LearningRateScheduler
from .history import History
from .logs import CSVLogger
from .monitors import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, TerminateOnNaN
from .progress import ProgressBar
from .revive import ReviveDeadUnits

__all__ = [
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ProgressBar",
    "ReduceLROnPlateau",
    "ReviveDeadUnits",
    "TerminateOnNaN",
]
