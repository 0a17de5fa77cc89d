"""Callbacks: objects whose hooks are called during training, with Keras's names, arguments and meaning.

A callback with a batch hook makes training return to Python after every batch, one with an epoch hook after every
epoch; without either it stays in compiled code.
"""

from __future__ import annotations

from . import checkpoints, functions, logs, monitors
from .averages import SwapEMAWeights
from .base import Callback, CallbackList
from .checkpoints import *  # noqa: F403
from .functions import *  # noqa: F403
from .history import History
from .live import LivePlot
from .logs import *  # noqa: F403
from .monitors import *  # noqa: F403
from .progress import ProgressBar
from .revive import ReviveDeadUnits
from .tensorboard import TensorBoard

__all__ = [
    "Callback",
    "CallbackList",
    "History",
    "LivePlot",
    "ProgressBar",
    "ReviveDeadUnits",
    "SwapEMAWeights",
    "TensorBoard",
]
__all__ += checkpoints.__all__
__all__ += functions.__all__
__all__ += logs.__all__
__all__ += monitors.__all__
