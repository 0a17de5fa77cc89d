"""`CSVLogger`: write the logs of every epoch to a file."""

from __future__ import annotations

import csv
import os
from typing import IO, ClassVar

from ..arguments import file_path, flag, keywords_checked, shorten
from .base import Callback, Logs

__all__ = ["CSVLogger"]


class CSVLogger(Callback):
    """Write the numbers of each epoch to a text file, one row per epoch.

    As in Keras, a training without validation data has columns for it too, which hold NA.

    Parameters
    ----------
    filename : str or path
    separator : str
        One character.
    append : bool
        Whether to go on with a file that is there already, in the columns that it has.
    """

    deferred: ClassVar[bool] = True
    first_rank_only: ClassVar[bool] = True

    @keywords_checked
    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        super().__init__()
        self.filename = file_path("CSVLogger: filename", filename)
        if not isinstance(separator, str) or len(separator) != 1 or separator in "\r\n\0":
            raise ValueError(f"CSVLogger: separator={shorten(separator)} separates no columns. Give one character.")
        self.separator, self.append = separator, flag("CSVLogger: append", append)
        self._file: IO[str] | None = None
        self._writer: csv.DictWriter[str] | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Open the file."""
        self._close()
        self._titles: list[str] = []
        if self.append and os.path.exists(self.filename):
            with open(self.filename, newline="", encoding="utf-8") as file:
                self._titles = next(csv.reader(file, delimiter=self.separator), [])
        self._file = open(self.filename, "a" if self.append else "w", newline="", encoding="utf-8")  # noqa: SIM115
        self._writer = None

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write one row."""
        if self._file is None:
            return
        logs = logs or {}
        if self._writer is None:
            titles = self._titles or ["epoch", *_columns(logs)]
            self._writer = csv.DictWriter(
                self._file, titles, delimiter=self.separator, extrasaction="ignore", restval="NA"
            )
            if not self._titles:
                self._writer.writeheader()
        self._writer.writerow({"epoch": epoch, **logs})
        self._file.flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Close the file."""
        self._close()

    def on_train_exception(self, error: BaseException) -> None:
        """Close the file."""
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _columns(logs: Logs) -> list[str]:
    """Names of columns, in alphabetical order; those of a validation are there even if it has not begun."""
    names = sorted(logs)
    return names if any(name.startswith("val_") for name in names) else [*names, *(f"val_{name}" for name in names)]
