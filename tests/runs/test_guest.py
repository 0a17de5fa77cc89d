"""The host's process: nothing in it is changed, and fastdense works beside others, in threads and after fork."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from numpy.typing import NDArray

import fastdense as fd
from fastdense.engine import blas

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

TRAIN = """
    import numpy as np
    import fastdense as fd

    def train(seed=0, **options):
        x = np.random.RandomState(seed).rand(512, 64).astype("f")
        model = fd.Model([fd.Dense(128, activation="relu"), fd.Dense(64)], inputs=64, seed=seed)
        model.compile("adam", "mse")
        model.fit(x, x, epochs=2, verbose=0, **options)
        return b"".join(w.tobytes() for w in model.get_weights())
"""


def python(script: str, timeout: float = 120, **environment: str) -> str:
    """Run a script in a fresh interpreter and return what it printed; a hang is an error."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def train(seed: int) -> list[NDArray[np.float32]]:
    x = np.random.RandomState(seed).rand(2000, 64).astype("f")
    model = fd.Model([fd.Dense(128, activation="relu"), fd.Dropout(0.1), fd.Dense(64)], inputs=64, seed=seed)
    model.compile("adam", "mse")
    model.fit(x, x, epochs=5, verbose=0)
    return model.get_weights()


def test_environment_is_untouched() -> None:
    """Also as C sees it, which is what a child process inherits: OpenBLAS reads its thread count from there."""
    python(
        TRAIN.replace("import fastdense as fd", "")
        + """
    import os, subprocess
    def environment():
        return dict(os.environ), sorted(subprocess.run(["env"], capture_output=True, text=True).stdout.splitlines())
    before = environment()
    import fastdense as fd
    assert environment() == before
    train()
    assert environment() == before
    """
    )


HEAVY = {
    *("matplotlib", "pandas", "scipy", "sklearn", "torch", "jax", "keras", "pooch", "requests", "urllib3"),
    *("tqdm", "rich", "safetensors"),
}
SLOW = {  # of Python's own
    *("asyncio", "concurrent", "multiprocessing", "email", "http", "unittest", "xml", "sqlite3", "doctest", "ssl"),
    *("pathlib", "statistics", "fractions", "decimal", "hashlib", "secrets", "hmac", "shutil", "tempfile", "platform"),
    *("importlib.metadata", "signal", "subprocess", "logging", "urllib"),
}


@pytest.mark.parametrize(
    ("module", "most", "absent"),
    [
        # what a net is written down with, and nothing that computes
        (
            "fastdense", 45,
            "_core _model callbacks calls data diagnose initial keras model network population runners training",
        ),
        # all that trains a net
        ("fastdense.keras", 172, "_core diagnose population tabular reference.engine training.search datasets cli"),
    ],
)  # fmt: skip
def test_import_is_light(module: str, most: int, absent: str) -> None:
    """Few modules, nothing heavy and no thread; the time itself is measured by benchmarks.import_time.

    `most` leaves room for a few new modules; where it is reached, look at what the package imports before it is needed.
    """
    loaded = python(
        f"""
        import sys, os, numpy
        tasks = lambda: len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0
        before, threads = set(sys.modules), tasks()
        import {module}
        assert tasks() == threads
        print(*sorted(set(sys.modules) - before))
        """
    ).split()
    ours = {name for name in loaded if name.split(".")[0] == "fastdense"}
    assert module in ours and len(ours) <= most
    assert not {name for name in loaded for heavy in HEAVY | SLOW if name == heavy or name.startswith(f"{heavy}.")}
    assert not ours & {f"fastdense.{name}" for name in absent.split()}


@pytest.mark.parametrize("package", ["fd", "keras"])
def test_a_model_that_is_there_imports_nothing(package: str) -> None:
    """An import may fail where memory, threads or file descriptors have run out, or after a change of the user."""
    make = {
        "fd": 'fd.Model([fd.Normalization(), fd.Dense(8, "tanh"), fd.Dropout(0.1), fd.Dense(2)], inputs=4)',
        "keras": 'keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(2)])',
    }[package]
    python(
        f"""
        import copy, os, pickle, sys, tempfile, numpy as np
        import fastdense as fd
        from fastdense import callbacks, keras
        np.random, np.ma
        model, x = {make}, np.random.RandomState(0).rand(64, 4).astype("f")
        with tempfile.TemporaryDirectory() as folder:
            names = [os.path.join(folder, name) for name in ("log", "best.model", "backup", "model.model")]
            kept = [callbacks.CSVLogger(names[0]), callbacks.ModelCheckpoint(names[1]),
                    callbacks.BackupAndRestore(names[2]), callbacks.EarlyStopping("loss")]
            model.compile("adam", "mse")
            model.get_weights()
            before = set(sys.modules)
            model.compile("adam", "mse", metrics=["mae"])
            model.fit(x, x[:, :2], epochs=2, batch_size=8, callbacks=kept, validation_split=0.2)
            model.evaluate(x, x[:, :2])
            model.predict(x)
            model.save(names[3])
            (fd.load if {package!r} == "fd" else keras.models.load_model)(names[3])
            pickle.loads(pickle.dumps(copy.deepcopy(model)))
            late = set(sys.modules) - before
        assert not late, late
        """
    )


def test_numpy_random_state_is_untouched() -> None:
    np.random.seed(3)
    before = np.random.get_state(legacy=False)
    train(0)
    np.testing.assert_equal(np.random.get_state(legacy=False), before)


def test_floating_point_errors_and_print_options_are_untouched() -> None:
    before = np.geterr(), np.get_printoptions()
    train(0)
    assert (np.geterr(), np.get_printoptions()) == before


def test_threads_give_the_same_bits_as_one_after_another() -> None:
    expected = [train(seed) for seed in range(2)]
    results: dict[int, list[NDArray[np.float32]]] = {}
    workers = [threading.Thread(target=lambda s=seed: results.update({s: train(s)})) for seed in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    for seed in range(2):
        for result, wanted in zip(results[seed], expected[seed], strict=True):
            np.testing.assert_array_equal(result, wanted)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@linux
@pytest.mark.parametrize("where", ["main", "another", "deeper"])
def test_fork_after_fit_trains_and_does_not_hang(where: str) -> None:
    """Threads do not survive a fork: the pool starts its own anew, and libgomp, which would wait for them, has one."""
    python(
        TRAIN
        + f"""
    import os, signal, sys, threading, warnings
    from fastdense import _core
    warnings.simplefilter("ignore", DeprecationWarning)  # "this process is multi-threaded", which is the point
    alone = len(os.listdir("/proc/self/task"))
    expected = train(n_threads=2, batch_size=256)

    assert len(os.listdir("/proc/self/task")) == alone + 1  # the steps are large enough for two

    def in_child():
        signal.alarm(60)
        same = train(n_threads=2, batch_size=256) == expected
        return same and len(os.listdir("/proc/self/task")) == (2 if _core.build_info()["openmp"] == "off" else 1)

    def forked(run):
        child = os.fork()
        if child == 0:
            os._exit(0 if run() else 1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    found = []
    if {where!r} == "main":
        found.append(forked(in_child))
    elif {where!r} == "deeper":
        found.append(forked(lambda: in_child() and forked(in_child)))
    else:
        thread = threading.Thread(target=lambda: found.append(forked(in_child)))
        thread.start()
        thread.join()
    assert found == [True]
    assert train(n_threads=2, batch_size=256) == expected  # and the parent is as it was
    """
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_population_in_a_forked_process() -> None:
    """Whatever the number of threads that are left there."""
    python(
        TRAIN
        + """
    import os, signal, warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    train(n_threads=2)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        model = fd.Model([fd.Dense(4, "tanh"), fd.Dense(1)], inputs=3)
        model.compile("adam", "mse")
        x = np.random.RandomState(0).rand(64, 3)
        nets = fd.fit_many(model, x, x[:, :1], starts=64, epochs=2, verbose=0, n_threads=4)
        os._exit(0 if not nets.why_one_by_one and len(nets.predict(x)) == 64 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    """
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_fork_before_the_first_fit() -> None:
    python(
        TRAIN
        + """
    import os, signal
    child = os.fork()
    signal.alarm(60)
    expected = train()
    if child == 0:
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    """
    )


@linux
@pytest.mark.parametrize("how", ["OMP_NUM_THREADS", "affinity", "n_threads"])
def test_thread_limits_are_kept(how: str) -> None:
    python(
        TRAIN
        + f"""
    import os
    if {how!r} == "affinity":
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    before = len(os.listdir("/proc/self/task"))
    train(n_threads=1 if {how!r} == "n_threads" else None)
    assert len(os.listdir("/proc/self/task")) == before
    """,
        **({"OMP_NUM_THREADS": "1"} if how == "OMP_NUM_THREADS" else {}),
    )


def test_blas_of_others_keeps_its_threads() -> None:
    pytest.importorskip("threadpoolctl")
    python(
        TRAIN
        + """
    from threadpoolctl import threadpool_info
    def others():
        return sorted((i["filepath"], i["num_threads"]) for i in threadpool_info() if "fastdense" not in i["filepath"])
    np.ones((64, 64)) @ np.ones((64, 64))
    before = others()
    assert before
    train()
    assert [i for i in others() if i in before] == before
    """
    )


SKLEARN = "from sklearn.linear_model import Ridge; Ridge().fit(np.eye(200), np.arange(200.0))"
TORCH = "import torch; a = torch.rand(300, 300, requires_grad=True); (a @ a).sum().backward()"


@pytest.mark.parametrize(
    ("module", "other"),
    [
        pytest.param("sklearn", SKLEARN, id="sklearn"),
        pytest.param("torch", TORCH, id="torch", marks=pytest.mark.peers),
    ],
)
@pytest.mark.parametrize("order", ["before", "after", "both"])
def test_works_beside(module: str, other: str, order: str) -> None:
    pytest.importorskip(module)
    alone = python(TRAIN + "\n    import hashlib; print(hashlib.sha256(train()).hexdigest())")
    first = other if order != "after" else "pass"
    last = other if order != "before" else "pass"
    beside = python(
        f"import numpy as np; {first}"
        + textwrap.dedent(TRAIN)
        + f"import hashlib; train(); {last}; print(hashlib.sha256(train()).hexdigest())"
    )
    assert beside == alone


def test_a_wrong_instruction_set_is_named() -> None:
    pytest.importorskip("fastdense._core")
    code = "import fastdense as fd; fd.Model([fd.Dense(1)], inputs=1)"
    environment = os.environ | {"FASTDENSE_ISA": "sse9"}
    stderr = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True).stderr
    assert "device: 'cpu' cannot be used: FASTDENSE_ISA='sse9' is not available here; choose one of" in stderr
    assert "reinstall" not in stderr.splitlines()[-1]


numpy_threads = pytest.mark.skipif(blas._thread_functions() is None, reason="NumPy has another BLAS")


@numpy_threads
def test_one_numpy_thread_inside() -> None:
    """Nested, beside another thread and after an exception: outside, NumPy has as many threads as before."""
    get, set_to = blas._thread_functions() or (None, None)
    assert get is not None and set_to is not None
    before, inside, leave = get(), threading.Event(), threading.Event()

    def other() -> None:
        with blas.one_numpy_thread():
            inside.set()
            leave.wait(60)

    set_to(2)
    try:
        thread = threading.Thread(target=other)
        with pytest.raises(KeyError), blas.one_numpy_thread(), blas.one_numpy_thread():
            assert get() == 1
            thread.start()
            assert inside.wait(60)
            raise KeyError
        assert get() == 1  # the other one is inside
        leave.set()
        thread.join()
        assert get() == 2
    finally:
        leave.set()
        set_to(before)


MANY = """
    import sys, time
    import numpy as np
    import fastdense as fd

    x = np.random.RandomState(0).normal(size=(512, 300))
    def net(initializer, units=500):
        layers = [fd.Dense(units, "relu", kernel_initializer=initializer) for _ in range(2)]
        model = fd.Model([*layers, fd.Dense(1)], inputs=300, dtype="float64")
        model.compile("adam", "mse")
        return model
"""


@numpy_threads
def test_one_thread_is_one_thread_of_numpy_too() -> None:
    """Before: half of the time was that of other threads."""
    found = python(
        MANY
        + """
    options = dict(epochs=1, batch_size=512, verbose=0, n_threads=1)
    calls = [
        lambda: fd.fit_many(net("orthogonal"), x, x[:, :1], starts=2, **options),
        lambda: fd.fit_many(net("glorot_uniform"), x, x[:, :1], starts=2, start="data", **options),
        lambda: net("data").fit(x, x[:, :1], **options),
        lambda: net("glorot_uniform", 200).fit(x, x[:, :1], starts=4, **options),
    ]
    for call in calls:
        all_threads, this_thread = time.process_time(), time.thread_time()
        call()
        all_threads, this_thread = time.process_time() - all_threads, time.thread_time() - this_thread
        print((all_threads - this_thread) / all_threads)
"""
    )
    assert max(map(float, found.split())) < 0.3, found


@numpy_threads
def test_initial_values_do_not_depend_on_numpys_threads() -> None:
    script = (
        MANY
        + """
    import hashlib
    orthogonal, spread = net("orthogonal"), fd.start_on_data(net("glorot_uniform"), x, x[:, :1])
    placed = net("glorot_uniform").place(x, x[:, :1])
    for model in (orthogonal, spread, placed):
        print(hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest())
"""
    )
    assert python(script, OPENBLAS_NUM_THREADS="1") == python(script, OPENBLAS_NUM_THREADS="2")
