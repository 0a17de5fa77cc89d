"""The process that trains one library: `python -m benchmarks.workers LIBRARY TASK`; talks as fastdense.rivals does."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import fastdense as fd
from fastdense import rivals


def make_model(task: rivals.Task) -> fd.Model:
    """The net of a task in fastdense, compiled."""
    mse = task.loss == "mse"
    layers = [fd.Dense(units, activation="relu") for units in task.widths[1:-1]]
    layers.append(fd.Dense(task.widths[-1], activation="relu" if mse else "softmax"))
    model = fd.Model(layers, inputs=task.widths[0], seed=task.seed)
    optimizer = fd.Adam(task.learning_rate) if task.optimizer == "adam" else fd.RMSprop(task.learning_rate)
    model.compile(optimizer, "mse" if mse else "sparse_categorical_crossentropy")
    return model


def serve_fastdense(path: Path) -> None:
    """One `fit` of one epoch per line of standard input: what is timed is what a user calls."""
    task, (x, y), (x_test, y_test), weights = rivals.read_task(path)
    model = make_model(task)
    model.set_weights(weights)
    target = x if task.loss == "mse" else y
    for _ in sys.stdin:
        start = time.perf_counter()
        history = model.fit(x, target, batch_size=task.batch_size, epochs=1, verbose=0)
        seconds = time.perf_counter() - start
        hits = model.predict(x_test).argmax(1) == y_test if task.loss == "crossentropy" else float("nan")
        epoch = rivals.Epoch(
            seconds, float(history.history["loss"][0]), float(hits.mean() if task.loss != "mse" else hits)
        )
        print(json.dumps(asdict(epoch)), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "fastdense":
        serve_fastdense(Path(sys.argv[2]))
    else:
        rivals.serve(sys.argv[1], Path(sys.argv[2]))
