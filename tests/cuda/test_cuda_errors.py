"""The engine for GPUs when something goes wrong: refused launches, other threads' nets, other devices, forks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cuda.test_cuda_engine import emulated, same, state_of
from tests.helpers import devices
from tests.helpers.pairs import Problem
from tests.helpers.programs import Spec, dense, train

pytestmark = pytest.mark.usefixtures("gpu")

PROBLEM = Problem([dense(9, "relu"), dense(7, "gelu"), dense(3)], optimizer="adam", rows=150, weighted=False)
STEPS = 60
CALL: Spec = {"batch_size": 8, "shuffle": False}


def made(problem: Problem = PROBLEM) -> Any:
    return problem.engine(devices.compiled_engine, "float32")


def steps(engine: Any, count: int, first: int = 0) -> None:
    x, y, _ = PROBLEM.data()
    epoch, batch = divmod(first, 19)
    train(engine, x, y, epoch=epoch, first_batch=batch, learning_rates=np.full(count, 0.01), **CALL)


def predict(engine: Any, x: Any) -> np.ndarray:
    rows = (x.array if isinstance(x, OnGpu) else x).shape[0]
    out = np.zeros((rows, 3), "float32")
    engine.predict(x, out, n_threads=1)
    return out


def gradient(engine: Any, x: Any, y: Any) -> Any:
    return engine.loss_and_grad(x, y, None, training=True, n_threads=1)


class OnGpu:
    """An array that says that it lies on a GPU: the emulator's memory is NumPy's too."""

    def __init__(self, array: Any, shift: int = 0) -> None:
        self.array = array
        self.address = array.ctypes.data + shift
        self.__cuda_array_interface__ = {
            "shape": array.shape, "typestr": array.dtype.str, "data": (self.address, False), "version": 3,
            "strides": array.strides, "stream": None,
        }  # fmt: skip


@pytest.mark.parametrize("path", ["layers", "fused"])
@pytest.mark.parametrize("number", [1, 2, 3, 5, 8, 13, 21])
def test_a_refused_launch_is_an_error_that_names_the_kernel(path: str, number: int, gpu: Any) -> None:
    """And the net is that of its step, from which training goes on."""
    emulated(gpu).set_path(path)
    engine, twin = made(), made()
    for each in (engine, twin):
        steps(each, 2)
    gpu.refuse_launch(number)
    try:
        steps(engine, STEPS - 2, 2)
    except gpu.CudaError as error:
        text = str(error)
        assert "cudaErrorInvalidValue (as a test wants it) on device 0, from the launch of " in text
        assert "kernel" in text and " bytes of shared memory) at csrc/cuda/" in text
    else:
        assert path == "fused" and number > 2  # all steps are a launch or two
    gpu.refuse_launch(0)
    done = int(engine.get_state()["step"])
    assert 2 <= done <= STEPS
    if done > 2:
        steps(twin, done - 2, 2)
    assert same(state_of(engine), state_of(twin))
    if done < STEPS:
        for each in (engine, twin):
            steps(each, STEPS - done, done)
    assert same(state_of(engine), state_of(twin))


def test_a_refused_launch_of_an_evaluation_leaves_the_net_alone(gpu: Any) -> None:
    emulated(gpu)
    engine = made()
    x, y, _ = PROBLEM.data()
    before = state_of(engine)
    for call in (
        lambda: engine.evaluate(x, y, None, n_threads=1),
        lambda: predict(engine, x),
        lambda: gradient(engine, x, y),
    ):
        gpu.refuse_launch(3)
        with pytest.raises(gpu.CudaError, match="as a test wants it"):
            call()
        gpu.refuse_launch(0)
        assert same(before, state_of(engine))
        call()


def test_threads_with_different_nets_ask_for_different_shared_memory(gpu: Any) -> None:
    """The limit belongs to the kernel, which both use: each must be able to launch after the other has prepared."""
    emulated(gpu).set_path("fused")
    nets = [Problem([dense(n, "relu"), dense(n, "relu"), dense(1)], inputs=8, rows=60, weighted=False)
            for n in (64, 40, 64, 24)]  # fmt: skip
    found: list[Any] = [None] * len(nets)

    def work(i: int) -> list[np.ndarray]:
        engine = made(nets[i])
        x, y, _ = nets[i].data()
        for _ in range(6):
            train(engine, x, y, learning_rates=np.full(3, 0.01), **CALL)
        return state_of(engine)

    def keep(i: int) -> None:
        found[i] = work(i)

    alone = [work(i) for i in range(len(nets))]
    threads = [threading.Thread(target=keep, args=(i,)) for i in range(len(nets))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for ours, theirs in zip(alone, found, strict=True):
        assert theirs is not None and same(ours, theirs)


def test_a_net_stays_on_the_device_that_it_was_made_on(gpu: Any) -> None:
    """Whatever device a thread has chosen since; afterwards it is that one again."""
    emulated(gpu).set_devices(2)
    try:
        engine, expected = made(), made()
        steps(expected, 5)
        gpu.set_device(1)
        steps(engine, 5)
        assert same(state_of(engine), state_of(expected))
        assert gpu.current_device() == 1
        other = made()
        steps(other, 5)
        assert same(state_of(other), state_of(expected))
        del engine
        assert gpu.current_device() == 1, "a net that ends leaves the thread's device alone"
    finally:
        gpu.set_device(0)
        gpu.set_devices(1)


def test_arrays_are_checked_before_the_gpu_reads_them(gpu: Any) -> None:
    emulated(gpu)
    engine = made()
    x, y, _ = PROBLEM.data()
    x, y = np.ascontiguousarray(x, np.float32), np.ascontiguousarray(y, np.float32)
    expected = predict(engine, OnGpu(x))
    away, lost = OnGpu(x.copy()), OnGpu(x.copy())
    gpu.set_devices(2)
    gpu.place_array(away.address, 1), gpu.place_array(lost.address, -1)
    with pytest.raises(ValueError, match=r"^x: the array lies on GPU 1 and the model on GPU 0; copy it there, or"):
        predict(engine, away)
    with pytest.raises(ValueError, match=r"^x: the array says that it lies on a GPU, and the driver does not know its"):
        predict(engine, lost)
    with pytest.raises(
        ValueError, match=r"^x: the array's numbers do not lie on multiples of their size, 4 bytes; make"
    ):
        predict(engine, OnGpu(x[:-1], shift=2))
    gpu.place_array(OnGpu(y).address, 1)
    with pytest.raises(ValueError, match="^y: the array lies on GPU 1"):
        train(engine, OnGpu(x), OnGpu(y), learning_rates=[0.01], **CALL)
    gpu.place_array(OnGpu(y).address, 0)
    gpu.set_devices(1)
    np.testing.assert_array_equal(predict(engine, OnGpu(x)), expected)


SCRIPT = """
import os, sys
sys.path.insert(0, {root!r})
from tests.helpers import devices
devices.load_emulated({module!r})
from tests.cuda import test_cuda_errors as t
with devices.testing("cuda"):
    {work}
"""


def run(gpu: Any, work: str, **environment: str) -> str:
    """What a new process prints, which has this emulated module."""
    script = SCRIPT.format(root=str(Path(__file__).parents[2]), module=gpu.__file__, work=work)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300,
                          env=os.environ | environment)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_a_forked_process_says_that_it_cannot_use_the_gpu(gpu: Any) -> None:
    emulated(gpu)
    work = """
    import fastdense as fd
    engine = t.made()
    read, write = os.pipe()
    if not os.fork():
        for call in (lambda: engine.get_tensors(), t.made):
            try:
                call()
            except RuntimeError as error:
                os.write(write, (type(error).__name__ + ": " + str(error) + "\\n").encode())
        os._exit(0)
    os.wait()
    os.close(write)
    print(os.fdopen(read).read())
    t.steps(engine, 3)
"""
    lines = run(gpu, work).strip().splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("CudaError: CUDA: this process was forked from one that had used the GPU")
        assert '"spawn" or "forkserver"' in line and "device='cpu'" in line


def test_waiting_for_every_kernel_changes_no_bit(gpu: Any) -> None:
    """FASTDENSE_CUDA_SYNC=1 finds the kernel that fails; steps are not captured then."""
    emulated(gpu)
    work = """
    import hashlib
    engine = t.made()
    t.steps(engine, 60)
    print(hashlib.sha1(b"".join(array.tobytes() for array in t.state_of(engine))).hexdigest())
"""
    assert run(gpu, work) == run(gpu, work, FASTDENSE_CUDA_SYNC="1")
