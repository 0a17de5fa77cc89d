"""What the system may refuse: memory, threads. The process goes on, and so does the model."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import fastdense as fd
from fastdense import _core
from fastdense.calls import TrainCall
from fastdense.model import files
from tests.helpers.pairs import Problem
from tests.helpers.programs import NORMALIZATION, dense, loss_spec, train

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
    # loaded as a user who may read it
    program = f"import numpy, fastdense; fastdense.Model, fastdense.fit_many; from fastdense import _core\n{THREADS}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-1000:]


def test_labels_that_change_after_they_were_checked() -> None:
    """A class id indexes the outputs of its row in top_k alone, which looks once more."""
    ids = np.zeros(20_000, np.int64)
    model = fd.Model([fd.Dense(3, "softmax")], inputs=2)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=[fd.metrics.TopKAccuracy(2)])
    x, stop = np.ones((len(ids), 2), np.float32), threading.Event()

    def spoil() -> None:
        while not stop.wait(0.0002):  # good for most of the time, so that most calls find nothing at first
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


SPARSE = loss_spec("sparse_categorical_crossentropy", from_logits=True)


@pytest.mark.parametrize("columns", [0, 2])
def test_class_ids_in_no_column_or_two(columns: int) -> None:
    """They were read before their shape was looked at."""
    engine = Problem([dense(2)], SPARSE, inputs=3).engine(_core.Engine, "float32")
    x, y = np.ones((4, 3), np.float32), np.zeros((4, columns), np.int64)
    for call in (
        lambda: engine.evaluate(x, y, None, n_threads=1),
        lambda: engine.loss_and_grad(x, y, None, training=True, n_threads=1),
        lambda: train(engine, x, y),
        lambda: train(engine, x, np.zeros(4, np.int64), val=(x, y, None)),
    ):
        with pytest.raises(ValueError, match="class ids for the sparse loss"):
            call()


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"epoch": 2**62}, "epoch must be from 0"),
        ({"epoch": -1}, "epoch must be from 0"),
        ({"first_batch": 2**62}, "first_batch must name an existing batch"),
        ({"first_batch": 2}, "first_batch must name an existing batch"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
    ],
)
def test_numbers_with_which_a_core_would_count_beyond_int64(wanted: dict[str, int], message: str) -> None:
    engine = Problem([dense(2)], inputs=3).engine(_core.Engine, "float32")
    x, y = np.ones((4, 3), np.float32), np.ones((4, 2), np.float32)
    options = {"batch_size": 2, "step_rates": np.full(3, 0.1)} | wanted
    with pytest.raises(ValueError, match=message):
        engine.train(TrainCall(x, y, None, **options))
    for step in (-1, 2**62):
        with pytest.raises(ValueError, match="step must be from 0"):
            engine.set_state({**engine.get_state(), "step": step})
    with pytest.raises(ValueError, match="must be at least 1"):
        engine.probe_period(-5, 2)
    train(engine, x, y, batch_size=2**62)


def test_nets_that_no_memory_holds() -> None:
    """Their sizes went around the end of an int64, to nets of a few numbers."""
    for ops, inputs in (([dense(2**62)], 4), ([NORMALIZATION], 2**63 - 1), ([dense(2**31 - 1)], 2**31 - 1)):
        program = {"inputs": inputs, "seed": 0, "dtype": "float32", "ops": ops}
        with pytest.raises(ValueError, match="2\\*\\*31|memory"):
            _core.Engine(program)
    with pytest.raises(ValueError, match="rate"):
        _core.Engine({"inputs": 3, "seed": 0, "dtype": "float32", "ops": [dense(2, rate=-1.0)]})


@pytest.mark.parametrize(
    ("ops", "loss"), [([dense(2)], "mae"), ([dense(2, "softmax")], "mse"), ([dense(2, "prelu"), dense(2)], "mse")]
)
def test_levenberg_marquardt_of_what_has_no_jacobian(ops: list[dict[str, object]], loss: str) -> None:
    options = {"kind": "levenberg_marquardt", "damping": 1e-3}
    with pytest.raises(ValueError, match="levenberg_marquardt: (the loss|no Jacobian)"):
        Problem(ops, loss_spec(loss), options=options, inputs=3).engine(_core.Engine, "float64")


def test_a_file_with_a_step_that_cannot_be_counted_on_from(tmp_path: Path) -> None:
    model = fd.Model([fd.Dense(2)], inputs=3)
    model.compile("adam", "mse")
    path = tmp_path / "model"
    for changed in ({"step": 2**60}, {"epochs_trained": 2**60}):
        model.save(path)
        config, tensors = files.read(path)
        files.write(path, {**config, **changed}, tensors)
        with pytest.raises(ValueError, match="at most"):
            fd.load(path)


def test_levenberg_marquardt_of_a_net_without_parameters(capfd: pytest.CaptureFixture[str]) -> None:
    """LAPACK writes to the terminal when it is asked for a matrix of no rows."""
    model = fd.Model([fd.Rescaling(2.0)], inputs=2)
    model.compile(fd.optimizers.LevenbergMarquardt(), "mse")
    model.fit(np.ones((4, 2)), np.ones((4, 2)), batch_size=None, epochs=2, verbose=0)
    assert "DPOTRF" not in "".join(capfd.readouterr())
