"""`fit(comm=)` over torch.distributed with Gloo: the adapter of docs/cluster.md, on two processes."""

from __future__ import annotations

import multiprocessing
import socket
from pathlib import Path

import numpy as np

import fastdense as fd
from benchmarks.ranks import Gloo

X = np.random.default_rng(0).normal(size=(200, 5))
Y = np.tanh(X[:, :1] - X[:, 1:2])


def model() -> fd.Model:
    made = fd.Model([fd.Dense(16, "tanh"), fd.Dense(1)], inputs=5, seed=2, dtype="float64")
    made.compile("lbfgs", "mse")
    return made


def train(rank: int, port: int, folder: str) -> None:
    comm, made = Gloo(rank, f"127.0.0.1:{port}"), model()
    made.fit(X[rank::2], Y[rank::2], epochs=10, comm=fd.DataParallel(comm, force=True), verbose=0)
    np.savez(Path(folder) / f"{rank}.npz", *made.get_weights(), loss=made.history.history["loss"])
    comm.close()


def test_gloo(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    ranks = [context.Process(target=train, args=(rank, port, str(tmp_path))) for rank in range(2)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(timeout=120)
        assert rank.exitcode == 0
    first, second = (np.load(tmp_path / f"{rank}.npz") for rank in range(2))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
    alone = model()
    alone.fit(X, Y, epochs=10, verbose=0)
    np.testing.assert_allclose(first["loss"], alone.history.history["loss"], rtol=1e-9)  # float64: see test_ranks.py
