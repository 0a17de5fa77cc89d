"""`fit_many` and `cross_validate` over executors that exist: the bits of one process, also when workers are killed.

`pytest tests/cluster`, with the extra `cluster` installed; a plain `pytest` does not collect this folder.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from tests.cluster.problem import OPTIONS, STARTS, X, Y, model, models
from tests.helpers.executors import assert_same

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def pool(workers: int = 2) -> Iterator[Any]:
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as executor:
        yield executor


@contextmanager
def loky(workers: int = 2) -> Iterator[Any]:
    module = pytest.importorskip("loky")
    executor = module.get_reusable_executor(workers)
    yield executor
    module.get_reusable_executor(workers).shutdown(kill_workers=True)


@contextmanager
def dask(workers: int = 2, **settings: Any) -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    with (
        pytest.importorskip("dask").config.set(settings),
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@contextmanager
def dask_executor() -> Iterator[Any]:
    with dask() as client:
        yield client.get_executor()


@contextmanager
def submitit(folder: Path) -> Iterator[Any]:
    executor = pytest.importorskip("submitit").AutoExecutor(folder, cluster="local")
    executor.update_parameters(timeout_min=2)
    yield executor, 2


ENGINES: dict[str, Callable[[Path], Any]] = {
    "concurrent.futures": lambda folder: pool(),
    "loky": lambda folder: loky(),
    "dask": lambda folder: dask(),
    "dask, as an executor": lambda folder: dask_executor(),
    "submitit": submitit,
}


@pytest.fixture(scope="module")
def alone() -> fd.Population[fd.Model]:
    return fd.fit_many(model(), X, Y, **STARTS, **OPTIONS)


@pytest.mark.parametrize("engine", ENGINES)
def test_same_bits(engine: str, tmp_path: Path, alone: fd.Population[fd.Model]) -> None:
    np.save(tmp_path / "x.npy", X)
    with ENGINES[engine](tmp_path / "jobs") as executor:
        assert_same(fd.fit_many(model(), X, Y, executor=executor, **STARTS, **OPTIONS), alone, X, Y)
        mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
        assert_same(fd.fit_many(model(), mapped, Y, executor=executor, **STARTS, **OPTIONS), alone, X, Y)


def test_functions_of_a_notebook_on_dask(alone: fd.Population[fd.Model]) -> None:
    """What is defined inside of a function cannot be sent by pickle, but by Dask's cloudpickle."""
    one = fd.Model([fd.Function(lambda x: x * 2, lambda x, dy: dy * 2), fd.Dense(1)], inputs=4)
    one.compile("adam", "mse")
    with dask() as client:
        joined = fd.fit_many(one, X, Y, starts=4, verbose=0, executor=client)
    assert_same(joined, fd.fit_many(one, X, Y, starts=4, verbose=0), X, Y)


def environment() -> dict[str, str]:
    """For processes that import what this one does."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in (str(ROOT), *sys.path) if path)}


def test_mpi(tmp_path: Path, alone: fd.Population[fd.Model]) -> None:
    """`mpiexec -n 3 python -m mpi4py.futures`: one rank hands out, two train."""
    pytest.importorskip("mpi4py")
    mpiexec = Path(sys.executable).with_name("mpiexec")
    if not mpiexec.exists():
        pytest.skip("mpiexec is not installed: pip install 'fastdense[cluster]'")
    script = ROOT / "tests" / "cluster" / "over_mpi.py"
    command = [mpiexec, "-n", "3", sys.executable, "-m", "mpi4py.futures", script, tmp_path / "population.pickle"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120)
    assert not done.returncode, done.stderr
    with open(tmp_path / "population.pickle", "rb") as file:
        assert_same(pickle.load(file), alone, X, Y)


def test_ctrl_c_in_a_terminal() -> None:
    """It goes to the workers of a pool, too: what was done is kept, and the pool ends at once."""
    script = ROOT / "tests" / "cluster" / "interrupted.py"
    with subprocess.Popen(
        [sys.executable, script], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline().startswith("group 1/2")
        os.killpg(process.pid, signal.SIGINT)
        out, error = process.communicate(timeout=60)
    assert process.returncode == 0, error
    assert out.startswith("fit_many: interrupted when 1 of 2 groups were done; the population as trained by then")
    assert out.endswith("epochs [20, 0]\n")


# ---- workers that die ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["loky", "dask"])
def test_a_killed_worker_loses_nothing(engine: str, tmp_path: Path) -> None:
    both = models(tmp_path, times=1)
    alone = fd.fit_many(both, X, Y, **OPTIONS)
    with ENGINES[engine](tmp_path) as executor:
        joined = fd.fit_many(both, X, Y, executor=executor, **OPTIONS)
    assert not list(tmp_path.iterdir()), "no worker was killed"
    assert_same(joined, alone, X, Y)


def check_what_is_kept(lost: fd.WorkerLost, alone: fd.Population[fd.Model]) -> None:
    population: Any = lost.population
    np.testing.assert_array_equal(population.epochs, [4, 0])
    np.testing.assert_array_equal(population.losses, [alone.losses[0], np.nan])
    for ours, theirs in zip(population[0].get_weights(), alone[0].get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_pool_of_processes_keeps_what_is_done(tmp_path: Path) -> None:
    """It takes no more work once a worker has died."""
    both = models(tmp_path, times=9)
    message = (
        r"^fit_many: members \[1\] were lost .*\(BrokenProcessPool: .*a pool of concurrent.futures takes no more work"
    )
    with pool(1) as executor, pytest.raises(fd.WorkerLost, match=message) as lost:
        fd.fit_many(both, X, Y, executor=(executor, 2), **OPTIONS)
    check_what_is_kept(lost.value, fd.fit_many(both, X, Y, **OPTIONS))
    assert len(list(tmp_path.iterdir())) == 8


def test_a_group_that_ends_every_worker_is_named(tmp_path: Path) -> None:
    both = models(tmp_path, times=9)
    settings = {"distributed.scheduler.allowed-failures": 0}
    with (
        dask(2, **settings) as client,
        pytest.raises(fd.WorkerLost, match=r"members \[1\] .* \(KilledWorker: ") as lost,
    ):
        fd.fit_many(both, X, Y, executor=client, **OPTIONS)
    check_what_is_kept(lost.value, fd.fit_many(both, X, Y, **OPTIONS))
    assert len(list(tmp_path.iterdir())) == 7
