"""Refusals: the operating system gives no memory, no threads, no room on the disk, no descriptors."""

from __future__ import annotations

import contextlib
import copy
import os
import pickle
import resource
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import fastdense as fd

from .core import Skipped, Tries, attack, in_child
from .subjects import IDS, X, Y, after_steps, goes_on, import_all, make, state

BIG, BIG_Y = np.tile(X, (200, 1)), np.tile(Y, (200, 1))
BIG_IDS = np.tile(IDS, 200)


@contextmanager
def limit(kind: int, value: int) -> Iterator[None]:
    """A lower limit of the process, until the end of the block."""
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (value if before[1] < 0 else min(value, before[1]), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


def bytes_mapped() -> int:
    """The size of this process's address space."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def wide() -> fd.Model:
    model = fd.Model([fd.Dense(300, "tanh"), fd.Dense(300, "relu"), fd.Dense(3)], inputs=4)
    model.compile("adam", "mse")
    return model


Call = tuple[Callable[[], fd.Model], Callable[[fd.Model], object], int]  # its batches: 0 if it makes no steps


def calls() -> dict[str, Call]:
    """What is called without memory: a model, the call, and the rows of a batch if it makes steps."""

    def trained(optimizer: str) -> Call:
        return (lambda: make("plain", optimizer)), (lambda m: m.fit(BIG, BIG_Y, epochs=2, verbose=0)), len(BIG)

    return {
        "predict": (wide, lambda m: m.predict(BIG), 0),
        "predict, one row": (wide, lambda m: m.predict(X[:1]), 0),
        "fit": (wide, lambda m: m.fit(BIG, BIG_Y, batch_size=64, verbose=0, n_threads=1), 64),
        "fit, 2 threads": (wide, lambda m: m.fit(BIG, BIG_Y, batch_size=2000, verbose=0, n_threads=2), 2000),
        "fit, small": (make, lambda m: m.fit(BIG, BIG_Y, batch_size=64, verbose=0), 64),
        "fit, classes": (
            lambda: make("classes", metrics=["accuracy"]),
            lambda m: m.fit(BIG, BIG_IDS, batch_size=64, verbose=0), 64,
        ),
        "fit, kfac": (lambda: make("plain", "kfac"), lambda m: m.fit(BIG, BIG_Y, batch_size=64, verbose=0), 64),
        "fit, muon": (lambda: make("plain", "muon"), lambda m: m.fit(BIG, BIG_Y, batch_size=64, verbose=0), 64),
        "fit, lbfgs": trained("lbfgs"),
        "fit, newton_cg": trained("newton_cg"),
        "fit, levenberg_marquardt": trained("levenberg_marquardt"),
        "fit, probes": (wide, lambda m: m.fit(BIG, BIG_Y, batch_size=64, probes=True, verbose=0), 64),
        "evaluate": (wide, lambda m: m.evaluate(BIG, BIG_Y, verbose=0), 0),
        "loss_and_grad": (wide, lambda m: m.loss_and_grad(BIG, BIG_Y), 0),
        "activations": (wide, lambda m: m.activations(BIG), 0),
        "solve_output": (wide, lambda m: copy.deepcopy(m).solve_output(BIG, BIG_Y), 0),
        "place": (wide, lambda m: copy.deepcopy(m).place(BIG), 0),
        "save": (wide, lambda m: m.save("net.safetensors"), 0),
        "save and load": (wide, lambda m: (m.save("net.safetensors"), fd.load("net.safetensors")), 0),
        "pickle": (wide, lambda m: pickle.loads(pickle.dumps(m)), 0),
        "clone": (wide, lambda m: m.clone(), 0),
        "Model": (make, lambda m: wide(), 0),
        "fit_many": (make, lambda m: fd.fit_many(m, BIG, BIG_Y, starts=64, verbose=0), 0),
        "cross_validate": (make, lambda m: fd.cross_validate(m, BIG, BIG_Y, folds=2), 0),
        "diagnose": (make, lambda m: m.diagnose(BIG, BIG_Y, budget=0.2, verbose=0), 0),
    }  # fmt: skip


LEVELS = [0, 1 << 16, 1 << 18, 1 << 20, 1 << 21, 1 << 22, 1 << 23, 1 << 24, 3 << 23, 1 << 25, 5 << 23, 3 << 24, 1 << 26,
          3 << 25, 1 << 27, 1 << 28]  # fmt: skip


def without_memory(name: str, extra: int, warm: bool) -> str:
    """In a child: make a call with so many bytes more than there are now; what is wrong afterwards."""
    make_model, call, batch_size = calls()[name]
    model, twin = make_model(), make_model()
    if warm:
        call(make_model())
    before, raised = state(model), "completed"
    with limit(resource.RLIMIT_AS, bytes_mapped() + extra):
        try:
            call(model)
        except MemoryError:
            raised = "MemoryError"
        except Exception as error:
            # the limit may hit Python's or NumPy's own code, which says it in other words
            raised = f"{type(error).__name__}: {error}"
    if raised not in ("completed", "MemoryError"):
        return raised
    after = state(model)
    y = BIG_IDS if model.loss.sparse else BIG_Y
    expected = after_steps(twin, after[0], BIG, y, batch_size) if batch_size else before
    if after != expected:
        return f"{raised}: the weights are not those of step {after[0]}"
    return "" if name in ("diagnose",) else goes_on(model)


@attack("limits", short=200, long=25 * len(LEVELS) * 4, seconds=(25, 400))
def memory(tries: Tries) -> None:
    """Memory limits at every level: MemoryError or completion, weights of a whole step"""
    import_all()
    names = list(calls())
    for i in tries:
        rng = tries.rng()
        name, warm = names[i % len(names)], bool(rng.integers(2))
        extra = (
            LEVELS[int(rng.integers(len(LEVELS)))] if i >= len(names) * len(LEVELS) else LEVELS[(7 * i) % len(LEVELS)]
        )
        tries.given(f"{name}, {extra / 2**20:.2f} MB more{', not its first call' if warm else ''}")
        ended = in_child(without_memory, name, extra, warm, seconds=30)
        if ended.how == "returned" and not ended.value:
            continue
        if ended.how == "returned" and "failed to map segment" in ended.value:
            continue  # a library that Python loads only now
        tries.fail(str(ended.value if ended.how == "returned" else ended))


def no_more_threads() -> bool:
    """In a child: give up the right to start threads; whether that worked."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    try:
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
    except RuntimeError:
        return True
    return False


def without_threads(name: str, threads: int, warm: bool) -> str:
    """In a child: make a call that wants more threads than there can be; what is wrong afterwards."""
    make_model, call, _ = calls()[name]
    model = make_model()
    if warm:
        call(make_model())
    # after a fork NumPy's OpenBLAS starts its threads anew, and presses Ctrl-C if it cannot
    np.ones((300, 300)) @ np.ones((300, 300))
    if not no_more_threads():
        return "skipped"
    model.fit(BIG, BIG_Y if not model.loss.sparse else BIG_IDS, verbose=0,
              **({} if model.optimizer.full_batch else {"batch_size": 2000}), n_threads=threads)  # fmt: skip
    call(model)
    return goes_on(model)


@attack("calls", short=30, long=400, seconds=(12, 100))
def threads(tries: Tries) -> None:
    """Threads that the system refuses: calls go on with fewer, or raise"""
    os.chmod(".", 0o777)
    import_all()
    if in_child(no_more_threads).value is not True:
        raise Skipped("threads cannot be refused here (no RLIMIT_NPROC, or no right to become another user)")
    names = list(calls())
    for i in tries:
        name, count, warm = names[i % len(names)], (2, 8, 64)[i % 3], bool(i // 3 % 2)
        tries.given(f"{name}, n_threads={count}{', after the first calls' if warm else ''}")
        ended = in_child(without_threads, name, count, warm, seconds=30)
        if ended.how != "returned" or ended.value:
            tries.fail(str(ended.value if ended.how == "returned" else ended))


def save_without_room(model: fd.Model, path: Path) -> str:
    """What is wrong with a save that may fail; the old file must stay, whole, and alone."""
    old = path.read_bytes()
    try:
        model.save(path)
    except OSError as error:
        if path.name not in str(error):
            return f"the message does not name the file: {error}"
        if path.read_bytes() != old:
            return "the old file is changed"
    else:
        if state(fd.load(path)) != state(model):
            return "save has returned, but the file is not the model"
    left = sorted(set(os.listdir(path.parent)) - {path.name})
    return f"left in the folder: {left}" if left else ""


def with_largest_file(size: int, in_fit: bool) -> str:
    """In a child: save where no file may be longer than so many bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    folder = Path(f"size{size}")
    folder.mkdir(exist_ok=True)
    path, model, other = folder / "net.safetensors", make("relu", seed=1), make("plain")
    other.save(path)
    with limit(resource.RLIMIT_FSIZE, size):
        if not in_fit:
            return save_without_room(model, path)
        with contextlib.suppress(OSError):
            model.fit(X, Y, verbose=0, epochs=3, callbacks=[fd.callbacks.ModelCheckpoint(path)])
    if sorted(os.listdir(folder)) != [path.name]:
        return f"left in the folder: {sorted(os.listdir(folder))}"
    fd.load(path)
    twin = make("relu", seed=1)
    return goes_on(model) if after_steps(twin, state(model)[0], X, Y, 32) == state(model) else "not a whole step"


@attack("saves", short=120, long=4000, seconds=(10, 60))
def largest_files(tries: Tries) -> None:
    """Saves where files may not grow beyond so many bytes, also inside of fit"""
    make("relu").save("whole.safetensors")
    whole = os.path.getsize("whole.safetensors")
    for i in tries:
        size = int(tries.rng().integers(0, whole + 200)) if i > 2 else (0, 1, whole - 1)[i]
        tries.given(f"{size} bytes, {'in fit' if i % 2 else 'save'}")
        ended = in_child(with_largest_file, size, bool(i % 2))
        if ended.how != "returned" or ended.value:
            tries.fail(str(ended.value if ended.how == "returned" else ended))


@attack("saves", short=40, long=1000, seconds=(10, 60))
def full_disk(tries: Tries) -> None:
    """Saves on a disk of 128 kB that is nearly full"""
    disk = Path("disk")
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=131072", "tmpfs", str(disk)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise Skipped(f"no disk can be mounted here ({error.strerror})") from error
    if done.returncode:
        raise Skipped(f"no disk can be mounted here ({done.stderr.strip() or done.returncode})")
    try:
        model, path = fd.Model([fd.Dense(60), fd.Dense(60)], inputs=60), disk / "net" / "net.safetensors"
        for _ in tries:
            size = int(tries.rng().integers(0, 110_000))
            tries.given(f"{size} bytes are in use")
            (disk / "net").mkdir(exist_ok=True)
            make().save(path)
            (disk / "filler").write_bytes(b"x" * size)
            if problem := save_without_room(model, path):
                tries.fail(problem)
            (disk / "filler").unlink()
    finally:
        subprocess.run(["umount", str(disk)], capture_output=True)


def without_descriptors(free: int) -> str:
    """In a child: save, load and fit with so many free descriptors."""
    model = make()
    goes_on(model)
    folder = Path("few")
    folder.mkdir(exist_ok=True)
    path = folder / "net.safetensors"
    model.save(path)
    used = len(os.listdir("/proc/self/fd")) - 1
    uses: list[Callable[[], Any]] = [lambda: model.save(path), lambda: fd.load(path), lambda: goes_on(model)]
    for use in uses:
        with limit(resource.RLIMIT_NOFILE, used + free), contextlib.suppress(OSError):
            use()
    if len(os.listdir("/proc/self/fd")) - 1 != used:
        return "descriptors are left open"
    left = sorted(set(os.listdir(folder)) - {path.name})
    return f"left in the folder: {left}" if left else goes_on(fd.load(path))


@attack("limits", short=8, long=8, seconds=(5, 30))
def descriptors(tries: Tries) -> None:
    """Saves, loads and fits with few free file descriptors"""
    for i in tries:
        tries.given(f"{i} free descriptors")
        ended = in_child(without_descriptors, i)
        if ended.how != "returned" or ended.value:
            tries.fail(str(ended.value if ended.how == "returned" else ended))
