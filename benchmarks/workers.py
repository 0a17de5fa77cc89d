"""One library in a process of its own, `python -m benchmarks.workers KIND LIBRARY TASK`, and the handle on it.

The process says on its first line whether it can do the task. Then it answers each request {"epochs": k} with the
seconds that k epochs took from the initial weights (of the kind "predict": k calls), and the first losses.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdense.cli import baselines
from fastdense.reference.rng import shuffle_indices

KEPT = 10  # losses per answer


class Worker(baselines.Baseline):
    """A library's process, stopped (SIGSTOP) while other libraries run.

    Waiting threads of OpenMP, OpenBLAS and XLA spin for a while, some for longer than a turn takes, and would use the
    cores that the timed library needs.
    """

    def __init__(self, name: str, task: Path, kind: str = "train") -> None:
        super().__init__(name, task, ("benchmarks.workers", kind))

    def start(self) -> str | None:
        """Wait until it is ready; if it cannot do this task, say why."""
        unavailable: str | None = self.answer().get("unavailable")
        self._stop()
        return unavailable

    def _stop(self) -> None:
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)  # until its threads stand still

    def ask(self, **request: Any) -> dict[str, Any]:
        """Let it go on until it has answered a request."""
        self.process.send_signal(signal.SIGCONT)
        self.say(json.dumps(request))
        answer = self.answer()
        self._stop()
        return answer

    def train(self, epochs: int) -> dict[str, Any]:
        """Train from the initial weights; returns the seconds of all epochs, and the losses of the first ones."""
        return self.ask(epochs=epochs)


def cross_entropy(probabilities: NDArray[Any], labels: NDArray[Any]) -> float:
    """Mean loss of rows, so that the gate of a prediction is that of a training."""
    return float(-np.log(probabilities[np.arange(len(labels)), labels]).mean())


def serve(kind: str, name: str, path: Path) -> None:
    """Be the process of a library."""
    os.environ.setdefault("KERAS_BACKEND", "jax")  # Keras's fastest on a CPU
    task, (x, y), _, weights = baselines.read_task(path)
    try:
        if kind == "predict":
            from benchmarks.predictors import PREDICTORS

            subject: Any = PREDICTORS[name](task, x, weights)
        else:
            from benchmarks.libraries import TRAINERS

            subject = TRAINERS[name](task, x, y, weights)
    except (ImportError, NotImplementedError, ValueError) as error:  # what it cannot express or does not have yet
        print(json.dumps({"unavailable": f"{type(error).__name__}: {error}"}), flush=True)
        return
    print(json.dumps({"ready": name}), flush=True)
    orders: list[NDArray[np.intp]] = []
    for request in map(json.loads, sys.stdin):
        epochs = request["epochs"]
        while len(orders) < epochs and kind == "train":
            orders.append(np.asarray(shuffle_indices(len(x), task.seed, len(orders)), np.intp))
        subject.restart()
        prepared = subject.prepare(orders[:epochs] if kind == "train" else range(epochs))
        start = time.perf_counter()
        losses = subject.train(prepared)
        seconds = time.perf_counter() - start
        if kind == "predict":
            losses = [cross_entropy(subject.answers(), y)]
        print(json.dumps({"seconds": seconds, "losses": list(losses[:KEPT])}), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
