"""A study on a cluster, with the bits of one process.

Nets of one shape, each with its own learning rate and first values, in this process and on a cluster: here two worker
processes of Dask on this machine. On Slurm or Kubernetes, only the lines that make the cluster are others. The table
says how long each took, and that all weights are the same. This process uses all its cores, so that time is won with
more machines.

    python examples/cluster.py
"""

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

import numpy as np

import fastdense as fd


@contextmanager
def workers():
    """What trains: anything with ``submit(function, *arguments)``."""
    try:
        from dask.distributed import Client, LocalCluster
    except ImportError:
        print("Dask is not installed (pip install 'dask[distributed]'): a pool of two processes instead")
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            yield "2 processes", pool
        return
    # Slurm:       from dask_jobqueue import SLURMCluster
    #              cluster = SLURMCluster(cores=8, memory="16GB", walltime="01:00:00"); cluster.scale(jobs=20)
    # Kubernetes:  from dask_kubernetes.operator import KubeCluster
    #              cluster = KubeCluster(name="nets", image="an image with fastdense", n_workers=20)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield "2 Dask workers", client


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer and shorter trainings, for a test")
    options = parser.parse_args()
    starts, epochs = (96, 20) if options.quick else (960, 200)

    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, (400, 2)).astype(np.float32)
    y = np.sin(4 * x[:, :1]) * x[:, 1:] + 0.05 * random.normal(size=(400, 1)).astype(np.float32)
    model = fd.Model([fd.Dense(12, "tanh"), fd.Dense(12, "tanh"), fd.Dense(1)], inputs=2)
    model.compile("adam", "mse")
    rates = np.geomspace(1e-4, 0.3, starts)
    study = {"learning_rate": rates, "epochs": epochs, "validation_data": (x[:100], y[:100]), "verbose": 0}

    print(f"{f'{starts} nets, {epochs} epochs':24}seconds   best loss   median")
    found = {}
    with workers() as (name, executor):
        for kind, given in (("this process", None), (name, executor)):
            began = time.perf_counter()
            found[kind] = fd.fit_many(model, x[100:], y[100:], **study, executor=given)
            seconds, losses = time.perf_counter() - began, found[kind].losses
            print(f"{kind:24}{seconds:7.2f}   {losses.min():9.5f}   {np.median(losses):.5f}", flush=True)
    one, other = found.values()
    equal = all(np.array_equal(a, b) for a, b in zip(one.weights, other.weights, strict=True))
    print(f"{'the same weights':24}{'yes, bit for bit' if equal else 'NO'}")

    try:
        from matplotlib import pyplot as plt
    except ImportError:
        print("no picture: matplotlib is not installed (pip install matplotlib)")
        return
    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    axes.loglog(rates, other.losses, ".", markersize=3, label="training rows")
    axes.loglog(rates, other.val_history[-1], "x", markersize=3, label="validation rows")
    axes.set(xlabel="learning rate", ylabel="loss at the end", title=f"{starts} nets, a dot and a cross for each")
    axes.legend()
    figure.savefig("cluster.png", dpi=120)
    print("picture: cluster.png")


if __name__ == "__main__":
    main()
