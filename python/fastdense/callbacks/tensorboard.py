"""`TensorBoard`: write losses, metrics and weights to files that TensorBoard shows."""

from __future__ import annotations

import importlib
import os
import time
from typing import Any, ClassVar

from ..arguments import choice, file_path, flag, integer, keywords_checked, shorten
from .base import Callback, Logs, core_model


class TensorBoard(Callback):
    """Write the numbers of a training to files that ``tensorboard --logdir logs`` shows.

    The names are Keras's: ``epoch_loss``, ``epoch_accuracy`` and ``epoch_learning_rate`` in the folder "train",
    ``epoch_loss`` and ``evaluation_loss_vs_iterations`` in the folder "validation". Needs the package tensorboard
    (``pip install 'fastdense[tensorboard]'``); TensorFlow is not needed.

    Parameters
    ----------
    log_dir : str or path, default "logs"
        Folder of this run.
    histogram_freq : int, default 0
        Write histograms of all tensors every so many epochs; 0 writes none. With 1, training returns to Python after
        every epoch.
    write_graph : bool, default True
        Accepted; no graph is written.
    update_freq : "epoch", "batch" or int, default "epoch"
        Write ``batch_loss`` and the like, too, after every batch or after so many of them. Training then returns to
        Python after every batch.
    write_images, write_steps_per_second, profile_batch, embeddings_freq, embeddings_metadata
        Not offered but for their defaults.

    Notes
    -----
    Evaluations by ``model.evaluate`` are not written.
    """

    first_rank_only: ClassVar[bool] = True

    @keywords_checked
    def __init__(
        self,
        log_dir: str | os.PathLike[str] = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: str | int = "epoch",
        profile_batch: Any = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: Any = None,
    ) -> None:
        super().__init__()
        where = "TensorBoard"
        self.log_dir = file_path(f"{where}: log_dir", log_dir)
        self.histogram_freq = integer(f"{where}: histogram_freq", histogram_freq, least=0)
        self.write_graph = flag(f"{where}: write_graph", write_graph)
        off: dict[str, Any] = {
            "write_images": flag(f"{where}: write_images", write_images),
            "write_steps_per_second": flag(f"{where}: write_steps_per_second", write_steps_per_second),
            "profile_batch": profile_batch,
            "embeddings_freq": integer(f"{where}: embeddings_freq", embeddings_freq, least=0),
            "embeddings_metadata": embeddings_metadata,
        }
        for name, value in off.items():
            if value is not None and not (isinstance(value, (int, str)) and not value):
                raise ValueError(
                    f"{where}: {name}={shorten(value)} is not offered; scalars and histograms are written. Leave it out"
                )
        self.update_freq: str | int
        if isinstance(update_freq, str):
            chosen = choice(f"{where}: update_freq", update_freq, ("epoch", "batch"), other="a number of batches")
            self.update_freq = 1 if chosen == "batch" else chosen
        else:
            self.update_freq = integer(f"{where}: update_freq", update_freq, least=1)
        if self.update_freq != "epoch":
            self.__dict__["on_train_batch_end"] = self._write_batch  # a batch hook only where one is needed
        self.deferred = not self.histogram_freq  # type: ignore[misc]  # histograms are those of the epoch's end
        self._module = _package("tensorboard.summary")
        self._writers: dict[str, Any] = {}
        self._batches = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Begin new files."""
        self._close()
        self._batches = 0
        self._first_epoch, self._first_step = int(self.params.get("initial_epoch", 0)), core_model(self.model).step

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write the numbers of one epoch."""
        logs = logs or {}
        step = self._first_step + (epoch + 1 - self._first_epoch) * int(self.params["steps"])
        training = {name: value for name, value in logs.items() if not name.startswith("val_")}
        optimizer = core_model(self.model).optimizer
        if not optimizer.full_batch:
            training["learning_rate"] = optimizer.learning_rates(step, 1)[0]
        self._write("train", "epoch_", training, epoch)
        validation = {name[4:]: value for name, value in logs.items() if name.startswith("val_")}
        self._write("validation", "epoch_", validation, epoch)
        self._write("validation", "evaluation_", validation, step, "_vs_iterations")
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            self._write_histograms(epoch)
        for writer in self._writers.values():
            writer.flush()

    def _write_batch(self, batch: int, logs: Logs | None = None) -> None:
        self._batches += 1
        if self._batches % int(self.update_freq) == 0:
            self._write("train", "batch_", logs or {}, self._batches)

    def _write(self, folder: str, prefix: str, values: Logs, step: int, suffix: str = "") -> None:
        for name, value in values.items():
            if folder not in self._writers:
                self._writers[folder] = self._module.Writer(os.path.join(self.log_dir, folder))
            self._writers[folder].add_scalar(f"{prefix}{name}{suffix}", value, step)

    def _write_histograms(self, epoch: int) -> None:
        if "histograms" not in self._writers:
            files = _package("tensorboard.summary.writer.event_file_writer")
            self._writers["histograms"] = files.EventFileWriter(os.path.join(self.log_dir, "train"))
        event = _package("tensorboard.compat.proto.event_pb2").Event
        summary = _package("tensorboard.plugins.histogram.summary_v2").histogram_pb
        model = core_model(self.model)
        for tensor, values in zip(model.net.tensors, model.get_weights(), strict=True):
            written = event(wall_time=time.time(), step=epoch, summary=summary(f"{tensor.name}/histogram", values))
            self._writers["histograms"].add_event(written)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Close the files."""
        self._close()

    def on_train_exception(self, error: BaseException) -> None:
        """Close the files."""
        self._close()

    def _close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"TensorBoard: the package tensorboard, which writes its files, cannot be imported ({error}). "
            "Run: pip install 'fastdense[tensorboard]'; or use CSVLogger('log.csv')"
        ) from None
