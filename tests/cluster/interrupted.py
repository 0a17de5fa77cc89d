"""Trains a small and a large net in two processes until Ctrl-C, and prints what is left; see `test_engines`."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np

import fastdense as fd


def net(width: int) -> fd.Model:
    model = fd.Model([fd.Dense(width, "tanh"), fd.Dense(width, "tanh"), fd.Dense(1)], inputs=64)
    model.compile("adam", "mse")
    return model


if __name__ == "__main__":
    x = np.random.default_rng(0).normal(size=(4000, 64)).astype(np.float32)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        try:
            fd.fit_many([net(4), net(2048)], x, x[:, :1], epochs=20, verbose=2, executor=pool)
        except fd.PopulationInterrupt as stopped:
            print(stopped, flush=True)
            print("epochs", stopped.population.epochs.tolist(), flush=True)
