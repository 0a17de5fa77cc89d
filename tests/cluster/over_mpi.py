"""Trains the population of `problem` on the ranks of MPI, and writes it to a file; see `test_engines`."""

from __future__ import annotations

import pickle
import sys

from mpi4py.futures import MPIPoolExecutor

import fastdense as fd
from tests.cluster.problem import OPTIONS, STARTS, X, Y, model

if __name__ == "__main__":
    with MPIPoolExecutor() as executor:
        assert executor.num_workers == 2
        population = fd.fit_many(model(), X, Y, executor=executor, **STARTS, **OPTIONS)
    with open(sys.argv[1], "wb") as file:
        pickle.dump(population, file)
