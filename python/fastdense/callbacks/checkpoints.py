"""Callbacks that write files to go on from: `ModelCheckpoint` and `BackupAndRestore`."""

from __future__ import annotations

import contextlib
import os
import re
from typing import ClassVar

from ..arguments import choice, file_path, flag, integer, keywords_checked, number
from .base import Callback, Logs, core_model
from .monitors import Monitor, prints

__all__ = ["BackupAndRestore", "ModelCheckpoint"]


class _Saving(Callback):
    """Base of the callbacks that save after every epoch, or after so many batches."""

    def _set_frequency(self, save_freq: str | int) -> None:
        where = f"{type(self).__name__}: save_freq"
        self._batches = self._epoch = 0
        self.save_freq: str | int
        if isinstance(save_freq, str):
            self.save_freq = choice(where, save_freq, ("epoch",), other="a number of batches")
        else:
            self.save_freq = integer(where, save_freq, least=1)
            self.__dict__["on_train_batch_end"] = self._count_batch  # a batch hook only where one is needed

    def _count_batch(self, batch: int, logs: Logs | None = None) -> None:
        self._batches += 1
        if self._batches % int(self.save_freq) == 0:
            self._save_in_epoch(batch, logs)

    def _save_in_epoch(self, batch: int, logs: Logs | None) -> None:
        raise NotImplementedError


class ModelCheckpoint(_Saving):
    """Save the model during training.

    Parameters
    ----------
    filepath : str or path
        May contain fields: ``"net-{epoch:02d}-{val_loss:.3f}.safetensors"``; epochs count from 1 here, and so does
        ``{batch}`` if `save_freq` is a number.
    monitor : str, default "val_loss"
        Name of the quantity in the logs that says which model is best.
    verbose : {0, 1}, default 0
        1 prints when it saves.
    save_best_only : bool, default False
        Whether to save only when the monitored quantity is better than ever before.
    save_weights_only : bool, default False
        Whether to leave out the optimizer's state; `fastdense.load` reads both kinds of file.
    mode : {"auto", "min", "max"}, default "auto"
        Whether smaller or larger is better; see `EarlyStopping`.
    save_freq : "epoch" or int, default "epoch"
        Save after every epoch, or after so many batches (which makes training return to Python after every batch).
    initial_value_threshold : float, optional
        The value that the first save must beat.
    """

    first_rank_only: ClassVar[bool] = True

    @keywords_checked
    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__()
        where, best = "ModelCheckpoint", initial_value_threshold
        self.filepath, self.monitor = file_path(f"{where}: filepath", filepath), monitor
        self.verbose = prints(where, verbose)
        self.save_best_only = flag(f"{where}: save_best_only", save_best_only)
        self.save_weights_only = flag(f"{where}: save_weights_only", save_weights_only)
        self._monitor = Monitor(where, monitor, mode, without="every model is saved")
        self._monitor.restart(None if best is None else number(f"{where}: initial_value_threshold", best))
        self._set_frequency(save_freq)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Take from the metrics whether larger is better."""
        self._monitor.learn(core_model(self.model).metrics)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Note the epoch for the name of the file."""
        self._epoch = epoch

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Save, if it is time."""
        if self.save_freq == "epoch":
            self._save(epoch, logs)

    def _save_in_epoch(self, batch: int, logs: Logs | None) -> None:
        self._save(self._epoch, {"batch": batch + 1, **(logs or {})})

    def _save(self, epoch: int, logs: Logs | None) -> None:
        path, say = self._path(epoch, logs or {}), f"\nEpoch {epoch + 1}: "
        value = self._monitor.read(logs) if self.save_best_only else None
        if value is not None:
            better, best = self._monitor.better(value), self._monitor.best_text
            if self.verbose:
                outcome = f"improved from {best} to {value:.5f}, saving model to {path}"
                print(f"{say}{self.monitor} {outcome if better else f'did not improve from {best}'}")
            if not better:
                return
            self._monitor.best = value
        elif self.verbose and not self.save_best_only:
            print(f"{say}saving model to {path}")
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        self.model.save(path, include_optimizer=not self.save_weights_only)
        if self.verbose:
            print(f"{say}finished saving model to {path}")

    def _path(self, epoch: int, logs: Logs) -> str:
        try:
            return self.filepath.format(epoch=epoch + 1, **logs)
        except KeyError as error:
            raise ValueError(
                f"ModelCheckpoint: filepath {self.filepath!r} names {error}, which is not in the logs; "
                f"they hold epoch, {', '.join(logs)}"
            ) from None


class BackupAndRestore(_Saving):
    """Back the training up, so that the same script, started again after an interruption, goes on where it was.

    At the end of every epoch, weights, optimizer's state and learning rate are written to a file of `backup_dir`; the
    next ``fit`` with this callback reads it and begins with the epoch after. The result is that of a training that was
    not interrupted, bit by bit. When a training ends, the backup is deleted.

    Parameters
    ----------
    backup_dir : str or path
        Folder for the backup, of this training alone.
    save_freq : "epoch" or int, default "epoch"
        Back up after every epoch, or after so many batches too; the epoch that was running is then repeated with the
        weights of the backup.
    double_checkpoint : bool, default False
        Whether to keep the backup before the last one, which is read if the last one is damaged.
    delete_checkpoint : bool, default True
        Whether to delete the backup when training ends.

    Examples
    --------
    >>> import numpy as np, fastdense as fd
    >>> model = fd.Model([fd.Dense(1)], inputs=3)
    >>> model.compile("adam", "mse")
    >>> callback = fd.callbacks.BackupAndRestore("backup")
    >>> history = model.fit(np.ones((8, 3)), np.ones(8), epochs=2, callbacks=[callback], verbose=0)
    """

    @keywords_checked
    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        save_freq: str | int = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ) -> None:
        super().__init__()
        where = "BackupAndRestore"
        self.backup_dir = file_path(f"{where}: backup_dir", backup_dir)
        self.double_checkpoint = flag(f"{where}: double_checkpoint", double_checkpoint)
        self.delete_checkpoint = flag(f"{where}: delete_checkpoint", delete_checkpoint)
        self._set_frequency(save_freq)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Go on from the backup, if there is one."""
        self._epoch, files = int(self.params.get("initial_epoch", 0)), self._files()
        while files:
            epoch, path = files.pop()
            try:
                core_model(self.model).load_state(path)
            except ValueError:
                if not files:
                    raise
                continue  # damaged: the one before
            self._epoch = self.params["initial_epoch"] = epoch
            return

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write a backup."""
        self._epoch = epoch + 1
        self._save()

    def _save_in_epoch(self, batch: int, logs: Logs | None) -> None:
        self._save()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Delete the backup."""
        if self.delete_checkpoint and self._writes:
            self._keep(0)
            with contextlib.suppress(OSError):  # it holds other files
                os.rmdir(self.backup_dir)

    @property
    def _writes(self) -> bool:
        """Of several processes that train one net together all read the backup, and the first one writes it."""
        return not self.params.get("rank")

    def _save(self) -> None:
        if not self._writes:
            return
        os.makedirs(self.backup_dir, exist_ok=True)
        core_model(self.model).save_state(os.path.join(self.backup_dir, f"epoch-{self._epoch}.safetensors"))
        self._keep(1 + self.double_checkpoint)

    def _keep(self, count: int) -> None:
        """Delete all backups but the last ones."""
        files = self._files()
        for _, path in files[: len(files) - count]:
            os.remove(path)

    def _files(self) -> list[tuple[int, str]]:
        """Number of finished epochs and path of every backup, the last at the end."""
        names = os.listdir(self.backup_dir) if os.path.isdir(self.backup_dir) else []
        found = [(match, name) for name in names if (match := re.fullmatch(r"epoch-(\d+)\.safetensors", name))]
        return sorted((int(match[1]), os.path.join(self.backup_dir, name)) for match, name in found)
