"""What the system may refuse: memory, threads. The process goes on, and so does the model."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import fastdense as fd
from fastdense import _core
from tests.helpers.pairs import Problem
from tests.helpers.programs import dense, train

pytest.importorskip("resource", reason="only Unix limits a process")

MEMORY = """
import resource, sys
import numpy as np
import fastdense as fd

call, room = sys.argv[1], int(sys.argv[2])
x, y = np.ones((2000, 300), np.float32), np.ones((2000, 4), np.float32)
model = fd.Model([fd.Dense(300, "relu"), fd.Dense(4)], inputs=300)
model.compile(fd.optimizers.LBFGS() if call == "solver" else "adam", "mse")
before = model.get_weights()
calls = {
    "predict": lambda: model.predict(x),
    "evaluate": lambda: model.evaluate(x, y, verbose=0),
    "fit": lambda: model.fit(x, y, batch_size=500, verbose=0),
    "solver": lambda: model.fit(x, y, batch_size=None, epochs=3, verbose=0),
    "gradient": lambda: model.loss_and_grad(x, y),
}
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + room, resource.RLIM_INFINITY))
try:
    calls[call]()
    print("done")
except MemoryError as error:
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    steps = len(model.history.epoch) if call == "solver" and model.history else 0
    assert model.runner.step == steps, (model.runner.step, steps)
    assert steps or all(np.array_equal(a, b) for a, b in zip(before, model.get_weights()))
    calls[call]()
    print("no memory:", str(error)[:60])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and needs a limit of the address space that holds")
@pytest.mark.parametrize("call", ["predict", "evaluate", "fit", "solver", "gradient"])
def test_no_memory(call: str) -> None:
    """From nothing to enough for all: each is a MemoryError or a result, and the model can be used afterwards."""
    found = []
    for megabytes in (1, 4, 8, 16, 24, 32, 36, 48, 64, 72, 96, 144, 400):
        command = [sys.executable, "-c", MEMORY, call, str(megabytes << 20)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, (megabytes, done.returncode, done.stderr[-1000:])
        found.append(done.stdout.split(":")[0].strip())
    assert found[0] == "no memory" and found[-1] == "done"


THREADS = """
import os, resource
import numpy as np
import fastdense as fd

os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
x, y = np.ones((2000, 300), np.float32), np.ones((2000, 4), np.float32)
model = fd.Model([fd.Dense(300, "relu"), fd.Dense(4)], inputs=300)
model.compile("adam", "mse")
model.fit(x, y, verbose=0, n_threads=4)
model.predict(x, n_threads=4)
small = fd.Model([fd.Dense(8, "relu"), fd.Dense(4)], inputs=300)
small.compile("adam", "mse")
fd.fit_many(small, x, y, starts=8, epochs=2, verbose=0, n_threads=4)
"""


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can become a user of no processes")
def test_no_threads() -> None:
    """The system has no more threads for this user: everything runs on the one there is."""
    program = f"import numpy, fastdense; from fastdense import _core\n{THREADS}"  # loaded as a user who may read it
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-1000:]


def test_labels_that_change_after_they_were_checked() -> None:
    """A class id indexes the outputs of its row in top_k alone, which looks once more."""
    ids = np.zeros(20_000, np.int64)
    model = fd.Model([fd.Dense(3, "softmax")], inputs=2)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=[fd.metrics.TopKAccuracy(2)])
    x, stop = np.ones((len(ids), 2), np.float32), threading.Event()

    def spoil() -> None:
        while not stop.is_set():
            ids[:] = 2**40 + 12345
            ids[:] = 0

    thread = threading.Thread(target=spoil)
    thread.start()
    refused = 0
    try:
        for _ in range(200):
            try:
                model.evaluate(x, ids, verbose=0)
            except ValueError:  # seen in time
                refused += 1
    finally:
        stop.set()
        thread.join()
    assert refused < 200


def test_an_object_that_was_never_made() -> None:
    for kind, method in ((_core.Engine, "get_tensors"), (_core.Population, "get_slots")):
        with pytest.raises(TypeError, match="the object was not made by __init__"):
            getattr(kind.__new__(kind), method)()


def test_validation_rows_of_another_width() -> None:
    engine = Problem([dense(2)], inputs=3).engine(_core.Engine, "float32")
    x, y = np.ones((4, 3), np.float32), np.ones((4, 2), np.float32)
    with pytest.raises(ValueError, match="inputs"):
        train(engine, x, y, val=(x[:, :2].copy(), y, None))


def test_levenberg_marquardt_of_a_net_without_parameters(capfd: pytest.CaptureFixture[str]) -> None:
    """LAPACK writes to the terminal when it is asked for a matrix of no rows."""
    model = fd.Model([fd.Rescaling(2.0)], inputs=2)
    model.compile(fd.optimizers.LevenbergMarquardt(), "mse")
    model.fit(np.ones((4, 2)), np.ones((4, 2)), batch_size=None, epochs=2, verbose=0)
    assert "DPOTRF" not in "".join(capfd.readouterr())
