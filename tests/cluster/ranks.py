"""What the ranks of MPI run: ``mpiexec -n 2 python -m tests.cluster.ranks CASE FOLDER``.

Each rank writes what came of it to FOLDER/RANK.json: losses, a hash of the weights, or the error.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

import fastdense as fd

ROWS, COLUMNS = 600, 20


def data() -> tuple[Any, Any]:
    x = np.random.default_rng(0).normal(size=(ROWS, COLUMNS))
    return x, np.tanh(x[:, :3] @ np.random.default_rng(1).normal(size=(3, 3)))


def model(optimizer: Any = "adam") -> fd.Model:
    made = fd.Model([fd.Normalization(), fd.Dense(32, "tanh"), fd.Dense(3)], inputs=COLUMNS, seed=5, dtype="float64")
    made.compile(optimizer, "mse")
    return made


class At(fd.callbacks.Callback):
    """Does something to its own process at the end of an epoch."""

    def __init__(self, epoch: int, act: Any) -> None:
        super().__init__()
        self.epoch, self.act = epoch, act

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == self.epoch:
            self.act()


def fails() -> None:
    raise OSError("no space left on device")


ACTS = {
    "fails": fails,
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "interrupted": lambda: signal.raise_signal(signal.SIGINT),
}


def run(case: str, folder: Path, comm: Any) -> dict[str, Any]:
    rank, size = comm.Get_rank(), comm.Get_size()
    x, y = data()
    mine = slice(rank * ROWS // size, (rank + 1) * ROWS // size)
    optimizer = {"solver": fd.LBFGS(), "newton": fd.NewtonCG()}.get(case, "adam")
    made = model(optimizer)
    settings = comm if case == "refused" else fd.DataParallel(comm, force=True, overlap=case == "overlap" or None)
    callbacks: list[Any] = [fd.callbacks.BackupAndRestore(folder / "backup")] if "backup" in case else []
    if rank == size - 1:
        callbacks += [At(3, act) for name, act in ACTS.items() if name in case]
    batch = None if case in ("solver", "newton") else 50
    history = made.fit(x[mine], y[mine], comm=settings, epochs=8, batch_size=batch, shuffle=False, verbose=0,
                       callbacks=callbacks)  # fmt: skip
    weights = hashlib.sha256(b"".join(np.ascontiguousarray(w).tobytes() for w in made.get_weights())).hexdigest()
    return {"loss": history.history["loss"], "epochs": history.epoch, "weights": weights}


def main(case: str, folder: Path) -> None:
    try:
        outcome = run(case, folder, MPI.COMM_WORLD)
    except (Exception, KeyboardInterrupt) as error:
        outcome = {"error": type(error).__name__, "message": str(error)}
    (folder / f"{MPI.COMM_WORLD.Get_rank()}.json").write_text(json.dumps(outcome))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
