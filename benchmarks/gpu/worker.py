"""A process that trains GPU cases, `python -m benchmarks.gpu.worker DEVICE EMULATED LIBRARY FOLDER`.

One process is fastdense's and one PyTorch's, with all its ways to train: both stay for all cases, since to start them
takes longer than most cases, and a kernel of one that fails cannot take the other's device away.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from benchmarks.gpu.setting import Setting, Trainer, first_line, use_emulated
from benchmarks.workers import KEPT, Worker
from fastdense.cli import baselines


class GpuWorker(Worker):
    """The process of a library, stopped while the other runs. One that does not answer in time is terminated."""

    def __init__(self, library: str, device: str, folder: Path, emulated: str = "") -> None:
        baselines.Baseline.__init__(self, library, folder, ("benchmarks.gpu.worker", device, emulated))
        self.seconds = 300.0

    def answer(self) -> dict[str, Any]:
        """Wait for the answer.

        Raises
        ------
        RuntimeError
            If the process ended, did not answer in time, or answered that it failed.
        """
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], self.seconds)
        if not ready:
            self.process.kill()
            raise RuntimeError(f"the {self.name} process did not answer within {self.seconds:g} s")
        answer = super().answer()
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer


class Server:
    """The process's side: one case at a time, with any number of trainers."""

    def __init__(self, device: str, library: str, folder: Path) -> None:
        self.device, self.library, self.folder = device, library, folder
        self.case: str | None = None
        self.trainers: dict[str, Trainer] = {}

    def hello(self) -> dict[str, Any]:
        """Report that it has started, and on which device."""
        from benchmarks.gpu.machine import properties

        return {"gpu": properties() if self.library == "torch" else {}}

    def make(self, case: str, baseline: str, starts: int, precision: str) -> dict[str, Any]:
        """Read the task, if the case is a new one, and make a trainer for it."""
        if case != self.case:
            self.trainers.clear()
            if self.library == "torch":
                from benchmarks.gpu.torch_side import forget

                forget()
            self.case = case
            task, (x, y), _, weights = baselines.read_task(self.folder / f"{case}.npz")
            self.setting = Setting(task, x, y, weights, self.device, starts, precision)
        try:
            if self.library == "torch":
                from benchmarks.gpu import torch_side

                made: Trainer = torch_side.make(baseline, self.setting)
            else:
                from benchmarks.gpu import fastdense_side

                made = fastdense_side.make(self.setting)
        except NotImplementedError as error:  # a plain "not here"
            return {"unavailable": str(error)}
        except Exception as error:
            traceback.print_exc()
            if not self.healthy():
                raise
            return {"unavailable": first_line(error)}
        self.trainers[baseline] = made
        return {"notes": made.notes}

    def healthy(self) -> bool:
        """Whether the process is still good for others. After an error in a kernel it is not."""
        if self.library != "torch":
            return False
        from benchmarks.gpu.torch_side import synchronise

        try:
            synchronise(self.device)
        except RuntimeError:
            return False
        return True

    def train(self, baseline: str, epochs: int) -> dict[str, Any]:
        """Seconds of so many epochs from the initial weights, less the one-off costs of a turn."""
        trainer = self.trainers[baseline]
        seconds, losses = timed(trainer, epochs)
        answer = {"seconds": seconds, "losses": losses[:KEPT]}
        if trainer.one_off and epochs > 1:
            one = min(timed(trainer, 1)[0], seconds)
            answer |= {"seconds": (seconds - one) * epochs / (epochs - 1), "whole": seconds}
        return answer

    def launches(self, baseline: str) -> dict[str, Any]:
        """Kernels, copies and fills of a step."""
        return {"launches": self.trainers[baseline].launches()}

    def reach(self) -> dict[str, Any]:
        """The device's peaks."""
        from benchmarks.gpu import machine

        return machine.reach(self.device)

    def rate(self) -> dict[str, Any]:
        """How fast it is at the moment."""
        from benchmarks.gpu import machine

        return {"gflops": machine.float32_rate(self.device)}

    def serve(self) -> None:
        """Answer requests. What libraries print goes to standard error: standard output is for answers."""
        with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
            os.dup2(2, 1)
            for line in sys.stdin:
                request = json.loads(line)
                try:
                    answer = getattr(self, request.pop("do"))(**request)
                except Exception as error:
                    traceback.print_exc()
                    answer = {"error": first_line(error)}
                print(json.dumps(answer), file=answers, flush=True)


def timed(trainer: Trainer, epochs: int) -> tuple[float, list[float]]:
    """Seconds of so many epochs from the initial weights, and their losses."""
    trainer.restart()
    begin = time.perf_counter()
    losses = trainer.train(epochs)
    return time.perf_counter() - begin, losses


if __name__ == "__main__":
    device, emulated, library, folder = sys.argv[1:]
    if emulated:
        use_emulated(emulated)
    Server(device, library, Path(folder)).serve()
