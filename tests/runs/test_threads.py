"""Several threads on one model, and processes that are forked meanwhile: each call sees the model at one moment."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastdense as fd
from fastdense.data.prepare import prepare
from fastdense.runners.lock import CallLock

Array = NDArray[Any]

RNG = np.random.RandomState(0)
X = RNG.rand(50, 4).astype(np.float32)
Y = RNG.rand(50, 2).astype(np.float32)
PATIENCE = 60.0  # seconds for what takes a moment, on a machine that may be busy
BATCHES = 7  # of 8 rows
LambdaCallback = fd.callbacks.LambdaCallback


def make(device: str = "cpu") -> fd.Model:
    model = fd.Model([fd.Dense(6, "tanh"), fd.BatchNorm(), fd.Dense(2)], inputs=4, device=device)
    model.compile("adam", "mse")
    return model


def started(target: Callable[..., Any], *arguments: Any, **options: Any) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, kwargs=options, daemon=True)
    thread.start()
    return thread


def ended(thread: threading.Thread) -> None:
    thread.join(PATIENCE)
    assert not thread.is_alive()


class Paused:
    """A fit in a thread, which waits at the end of its first epoch until it may go on; a callback counts as inside."""

    def __init__(self, model: fd.Model, epochs: int = 3) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        self.done: list[str] = []

        def pause(epoch: int, logs: Any) -> None:
            self.reached.set()
            assert self.go_on.wait(PATIENCE)

        def fit() -> None:
            model.fit(X, Y, epochs=epochs, verbose=0, callbacks=[LambdaCallback(on_epoch_end=pause)])
            self.done.append("fit")

        self.thread = started(fit)
        assert self.reached.wait(PATIENCE)

    def finish(self) -> None:
        self.go_on.set()
        ended(self.thread)


# ---- copies --------------------------------------------------------------------------------------------------------


def saved(model: fd.Model, folder: Path) -> fd.Model:
    model.save(folder / "model")
    return fd.load(folder / "model")


@pytest.mark.parametrize(
    "twin",
    [saved, lambda model, _: pickle.loads(pickle.dumps(model)), lambda model, _: copy.deepcopy(model)],
    ids=["save", "pickle", "deepcopy"],
)
def test_a_copy_beside_a_fit_is_of_one_moment(
    device: str, twin: Callable[[fd.Model, Path], fd.Model], tmp_path: Path
) -> None:
    """Weights, moving statistics, the optimizer's state and the counters are those of one step."""
    model, other = make(device), make(device)
    # with a batch hook the lock is free after every step
    stepped = threading.Event()
    every_step = LambdaCallback(on_train_batch_end=lambda *_: stepped.set())
    # all steps are made once more, so there may not be too many
    fit = started(model.fit, X, Y, epochs=200, batch_size=8, verbose=0, callbacks=[every_step])
    assert stepped.wait(60)
    copies = [twin(model, tmp_path) for _ in range(15)]
    model.stop_training = True
    ended(fit)
    data, done = prepare("test", X, Y, None, model._shape, model.loss), 0
    for made in copies:
        step = made.runner.step
        assert step >= done and made.runner.epochs_trained == step // BATCHES
        other.runner.train(
            other.optimizer, data, None, batch_size=8, shuffle=True, steps=step - done, first_batch=done % BATCHES
        )
        done = step
        for ours, theirs in zip(made.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        for ours, theirs in zip(sum(made.runner.slots(), []), sum(other.runner.slots(), []), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert done > 0


@pytest.mark.parametrize("twin", [saved, lambda model, _: pickle.loads(pickle.dumps(model))], ids=["save", "pickle"])
def test_a_copy_beside_compile_is_of_one_moment(twin: Callable[[fd.Model, Path], fd.Model], tmp_path: Path) -> None:
    """SGD has no state, Adam has: a copy with the one's name and the other's state could not be loaded."""
    model, stop = make(), threading.Event()

    def compile_on() -> None:
        while not stop.is_set():
            for optimizer in ("sgd", "adam"):
                model.compile(optimizer, "mse")

    thread = started(compile_on)
    for _ in range(60):
        made = twin(model, tmp_path)
        assert len(made.runner.slots()) == (2 if type(made.optimizer) is fd.Adam else 0)
    stop.set()
    ended(thread)


# ---- calls beside others -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "before", "after"), [(50, "cpu", "reference"), (1, "reference", "cpu")])
def test_predict_beside_to(rows: int, before: str, after: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The result is allocated for the device that computes it."""
    from fastdense.runners import single

    model, allocated, results = make(before), threading.Event(), []
    expected, empty = copy.deepcopy(model).to(after).predict(X[:rows]), single.empty_beside

    def noting(*arguments: Any) -> Array:
        allocated.set()
        return empty(*arguments)

    monkeypatch.setattr(single, "empty_beside", noting)
    with model.runner.lock:
        thread = started(lambda: results.append(model.predict(X[:rows])))
        allocated.wait(0.3)  # which cannot be before the lock is free
        model.to(after)
    ended(thread)
    np.testing.assert_array_equal(results[0], expected)


def test_evaluate_beside_compile(device: str) -> None:
    """Data that were checked for one loss are checked again for another."""
    model, other = make(device), make(device)
    other.compile("sgd", "mae", metrics=["mse"], loss_weights=2.0)
    expected = other.evaluate(X, Y, verbose=0)

    def recompiling(*arguments: Any, **options: Any) -> LambdaCallback:
        return LambdaCallback(on_test_begin=lambda *_: model.compile(*arguments, **options))

    found = model.evaluate(
        X, Y, verbose=0, callbacks=[recompiling("sgd", "mae", metrics=["mse"], loss_weights=2.0)]
    )  # fmt: skip
    assert found == expected
    assert model.evaluate(X, Y, verbose=0, callbacks=[recompiling("sgd", "mae", loss_weights=4.0)]) == 2 * expected[0]
    with pytest.raises(ValueError, match=r"^evaluate: y has shape \(50, 2\)"):
        model.evaluate(X, Y, verbose=0, callbacks=[recompiling("sgd", "sparse_categorical_crossentropy")])


def test_loss_and_grad_beside_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss that targets are checked for is the one that is differentiated: compile waits from before the check."""
    from fastdense.model import base

    model, held, prepared = make(), [], base.prepare

    def noting(*arguments: Any) -> Any:
        held.append(model.runner.lock.mine)
        return prepared(*arguments)

    monkeypatch.setattr(base, "prepare", noting)
    model.loss_and_grad(X, Y)
    assert held == [True]


@pytest.mark.parametrize("call", ["compile", "to", "fit"])
def test_a_call_waits_for_the_fit_of_another_thread(call: str) -> None:
    model = make()
    fit = Paused(model)
    calls: dict[str, Callable[[], object]] = {
        "compile": lambda: model.compile("sgd", "mae", metrics=["mse"]),
        "to": lambda: model.to("reference"),
        "fit": lambda: model.fit(X, Y, verbose=0),
    }

    def work() -> None:
        calls[call]()
        fit.done.append(call)

    thread = started(work)
    thread.join(0.3)
    assert thread.is_alive() and fit.done == []
    assert model.predict(X).dtype == np.float32 and model.loss.kind == "mse"  # other calls need not wait
    fit.finish()
    ended(thread)
    assert sorted(fit.done) == sorted(["fit", call])
    assert (model.loss.kind == "mae") == (call == "compile") and (model.device == "reference") == (call == "to")
    model.fit(X, Y, verbose=0)


@pytest.mark.parametrize("hook", ["on_train_begin", "on_epoch_begin", "on_train_batch_end", "on_train_end"])
def test_compile_in_a_callback_of_fit(device: str, hook: str) -> None:
    model = make(device)
    callback = LambdaCallback(**{hook: lambda *_: model.compile("sgd", "mae")})
    message = (
        "^compile: a callback of fit called it; it cannot change a training that runs: set "
        "model.optimizer.learning_rate there, or call compile after fit$"
    )
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y, verbose=0, callbacks=[callback])
    assert model.loss.kind == "mse"
    model.compile("sgd", "mae")
    model.fit(X, Y, verbose=0)


# ---- the lock ------------------------------------------------------------------------------------------------------


class Line:
    """Threads that come to a lock one after another, and the order in which they get it."""

    def __init__(self) -> None:
        self.lock, self.order = CallLock(), list[str]()
        self.threads: list[threading.Thread] = []

    def come(self, name: str) -> None:
        """Start a thread that wants the lock; returns when it waits."""
        last = self.lock._last
        self.threads.append(started(self.take, name))
        self.until(lambda: self.lock._last is not last)

    def take(self, name: str) -> None:
        with self.lock:
            self.order.append(name)

    @staticmethod
    def until(true: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < end

    def finish(self) -> list[str]:
        for thread in self.threads:
            ended(thread)
        return self.order


def test_who_comes_first_is_first() -> None:
    """Also before the one that had the lock until now and wants it again at once, as in a loop of calls."""
    for _ in range(20):  # a lock that lets others pass may keep the order by chance
        line = Line()
        with line.lock:
            for name in "abc":
                line.come(name)
        line.take("again")
        assert line.finish() == ["a", "b", "c", "again"]


def test_a_thread_that_gives_up_keeps_no_other_waiting() -> None:
    """Ctrl-C while the main thread waits; who came after it does not overtake who came before, and the lock is free."""
    line, held, go_on = Line(), threading.Event(), threading.Event()

    def hold() -> None:
        with line.lock:
            held.set()
            assert go_on.wait(PATIENCE)

    def press() -> None:
        line.until(lambda: line.lock._last is not before)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    line.threads.append(started(hold))
    assert held.wait(PATIENCE)
    line.come("a")
    before = line.lock._last
    line.threads.append(started(press))
    with pytest.raises(KeyboardInterrupt) as kept:  # with its traceback, whose frames hold what they held
        line.take("main")
    assert line.lock._last() is not None  # "a" is still there, and "b" is to come after it
    line.come("b")
    go_on.set()
    assert line.finish() == ["a", "b"] and kept.value.__traceback__ is not None
    assert line.lock._last() is None
    line.take("main")
    assert line.finish()[-1] == "main" and not line.lock.mine


def test_an_exception_in_the_block_keeps_no_place() -> None:
    """Nor does its traceback, though a thread that has a place keeps others waiting."""
    lock, kept = CallLock(), list[BaseException]()
    for _ in range(2):
        try:
            with lock, lock:
                assert lock.mine and lock._last() is not None
                raise KeyError
        except KeyError as error:
            kept.append(error)
        assert lock._last() is None and not lock.mine


def give_up(*_: object) -> None:
    raise TimeoutError("the main thread still waits")


def test_a_signal_handler_that_calls_while_its_thread_waits() -> None:
    """The handler runs before the call that it interrupts goes on, and so may not wait for it."""
    line = Line()
    handlers = [(number, signal.signal(number, call)) for number, call in (
        (signal.SIGUSR1, lambda *_: line.take("handler")), (signal.SIGALRM, give_up))]  # fmt: skip

    def hold() -> None:
        with line.lock:
            line.until(lambda: line.lock._last is not before)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    try:
        with line.lock:
            last = line.lock._last
            line.threads.append(started(hold))
            line.until(lambda: line.lock._last is not last)
            before = line.lock._last
        signal.alarm(int(PATIENCE))
        line.take("main")
        assert sorted(line.finish()) == ["handler", "main"]
    finally:
        signal.alarm(0)
        for number, handler in handlers:
            signal.signal(number, handler)


def test_no_python_runs_between_a_lock_and_its_block() -> None:
    """There Ctrl-C would leave it locked."""
    lock, calls = CallLock(), []

    def note(frame: Any, event: str, _: Any) -> None:
        if event == "call":
            calls.append((frame.f_code.co_name, lock._lock._is_owned()))

    sys.setprofile(note)
    with lock:
        mine = lock._lock._is_owned()
    sys.setprofile(None)
    assert mine and calls and not any(owned for _, owned in calls) and not lock.mine


WAITING: dict[str, Callable[[fd.Model], object]] = {
    "activations": lambda model: model.activations(X),
    "evaluate": lambda model: model.evaluate(X, Y, verbose=0),
    "fit": lambda model: model.fit(X, Y, verbose=0),
    "get_weights": lambda model: model.get_weights(),
    "loss_and_grad": lambda model: model.loss_and_grad(X, Y),
    "place": lambda model: model.place(X),
    "predict": lambda model: model.predict(X),
    "set_weights": lambda model: model.set_weights([np.zeros_like(array) for array in make().get_weights()]),
    "solve_output": lambda model: model.solve_output(X, Y),
    "train_on_batch": lambda model: model.train_on_batch(X, Y),
}


@pytest.mark.parametrize("call", WAITING)
def test_a_call_waits_for_the_call_of_another_thread(call: str) -> None:
    model = make()
    with model.runner.lock:
        thread = started(WAITING[call], model)
        thread.join(0.2)
        assert thread.is_alive()
    ended(thread)


def test_a_lock_that_was_free_at_a_fork_is_free_for_other_threads() -> None:
    lock, taken = CallLock(), threading.Event()

    def take() -> None:
        with lock:
            taken.set()

    lock.free_if_lost()
    thread = started(take)
    assert taken.wait(PATIENCE) and not lock.lost
    ended(thread)


# ---- forks ---------------------------------------------------------------------------------------------------------

FORK = """
import os, signal, sys, tempfile, threading
import numpy as np
import fastdense as fd

model = fd.Model([fd.Dense(64, "relu"), fd.Dense(2)], inputs=8)
model.compile("adam", "mse")
x, y = np.ones((1000, 8), np.float32), np.ones((1000, 2), np.float32)
folder = tempfile.mkdtemp()
CALLS = {
    "get_weights": model.get_weights,
    "predict": lambda: model.predict(x),
    "a row": lambda: model.predict(x[:1]),
    "evaluate": lambda: model.evaluate(x, y, verbose=0),
    "save": lambda: model.save(os.path.join(folder, "model")),
    "fit": lambda: model.fit(x, y, verbose=0),
    "compile": lambda: model.compile("sgd", "mae"),
}

def in_a_child(call):
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # ends the child if it hangs
        try:
            CALLS[call]()
            os._exit(0)
        except RuntimeError as error:
            os._exit(7 if "this process was forked while another thread used the model" in str(error) else 8)
        except BaseException:
            os._exit(9)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

reached, go_on = threading.Event(), threading.Event()

def wait(*_):
    reached.set()
    go_on.wait()
"""

FORK_IN_A_STEP = """
threading.Thread(target=lambda: model.fit(x, y, epochs=10**9, verbose=0), daemon=True).start()
while model.history is None or not model.history.epoch:
    pass
print(*(in_a_child(call) for call in CALLS))
os._exit(0)
"""

FORK_BETWEEN_STEPS = """
callbacks = [fd.callbacks.LambdaCallback(on_epoch_end=wait)]
threading.Thread(target=lambda: model.fit(x, y, epochs=2, verbose=0, callbacks=callbacks), daemon=True).start()
reached.wait()
print(*(in_a_child(call) for call in CALLS))
os._exit(0)
"""

FORK_WHILE_ANOTHER_WAITS = """
line = model.runner.lock
with line:
    last = line._last
    threading.Thread(target=model.get_weights, daemon=True).start()
    while line._last is last:
        pass
    print(*(in_a_child(call) for call in CALLS))
"""

FORK_IN_A_CALLBACK = """
children = []

def fork(epoch, logs):
    if epoch == 1:
        children.append(os.fork())
        if children == [0]:
            signal.alarm(20)

model.fit(x, y, epochs=5, verbose=0, callbacks=[fd.callbacks.LambdaCallback(on_epoch_end=fork)])
weights = model.get_weights()
if children == [0]:
    model.compile("sgd", "mae")
    np.savez(os.path.join(folder, "child.npz"), *weights)
    os._exit(0)
code = os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1])
found = np.load(os.path.join(folder, "child.npz"))
print(code, all(np.array_equal(found[name], array) for name, array in zip(found.files, weights)))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize(
    ("script", "found"),
    [
        (FORK_IN_A_STEP, {"0", "7"}),  # values, or the error that says why there are none
        (FORK_BETWEEN_STEPS, {"0"}),
        (FORK_WHILE_ANOTHER_WAITS, {"0"}),
        (FORK_IN_A_CALLBACK, {"0", "True"}),
    ],
    ids=["in a step", "between steps", "while another waits", "in a callback"],
)
def test_fork_beside_a_fit(script: str, found: set[str]) -> None:
    done = subprocess.run([sys.executable, "-c", FORK + script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) <= found and done.stdout.split(), done.stdout
