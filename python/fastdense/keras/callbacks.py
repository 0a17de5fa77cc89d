"""Callbacks by Keras's names: those of `fastdense.callbacks`. ``self.model`` is the `fastdense.Model` inside."""

from ..callbacks import (
    Callback,
    CallbackList,
    CSVLogger,
    EarlyStopping,
    History,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    ReviveDeadUnits,
    TerminateOnNaN,
)
from .names import not_offered

__all__ = [
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
    "ReviveDeadUnits",
    "TerminateOnNaN",
]

__getattr__ = not_offered(
    "callbacks",
    __all__,
    {
        "TensorBoard|RemoteMonitor": "CSVLogger('log.csv') writes the numbers to a file, History.plot() draws them.",
        "BackupAndRestore": "ModelCheckpoint(path) saves every epoch; load_model(path) goes on from there.",
        "ProgbarLogger": "fit(verbose=1) prints the progress lines.",
    },
)
