"""Ctrl-C, exceptions and threads: the model is always that of a finished step."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastdense as fd
from fastdense.calls import TrainCall
from fastdense.data.prepare import prepare
from fastdense.engine import loading, native
from fastdense.engine.serial import SerialPopulation
from tests.helpers.populations import interrupt

Array = NDArray[Any]

RNG = np.random.RandomState(0)
X = RNG.rand(50, 4).astype(np.float32)
Y = RNG.rand(50, 2).astype(np.float32)


def make(device: str, *layers: Any) -> fd.Model:
    model = fd.Model(list(layers) or [fd.Dense(6, "tanh"), fd.Dense(2)], inputs=4, device=device)
    model.compile("adam", "mse")
    return model


def same(a: list[Array], b: list[Array]) -> bool:
    return len(a) == len(b) and all(x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("verbose", [0, 2])
def test_ctrl_c(device: str, verbose: int, capsys: pytest.CaptureFixture[str]) -> None:
    model, other = make(device), make(device)
    pressed: list[float] = []

    def press() -> None:
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.3, press)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, epochs=10**8, batch_size=8, verbose=verbose)
    assert time.monotonic() - pressed[0] < 1.0  # 0.2 s and some patience for a busy machine
    timer.join()
    assert model.history is not None
    step, finished = model.runner.step, len(model.history.epoch)
    assert step > 0 and finished == step // 7 == model.runner.epochs_trained == len(model.history.history["loss"])
    data = prepare("test", X, Y, None, model._shape, model.loss)
    other.runner.train(other.optimizer, data, None, batch_size=8, shuffle=True, steps=step)
    assert same(model.get_weights(), other.get_weights())
    assert same(*(sum(m.runner.slots(), []) for m in (model, other)))
    assert len(model.fit(X, Y, epochs=2, verbose=0).epoch) == 2


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_an_engine_that_raises_keeps_the_epochs_that_it_has_finished(device: str, optimizer: str) -> None:
    """One call makes many epochs; what a signal's handler raises there is what want of memory would be."""
    rows = 20_000 if optimizer == "lbfgs" else 1000  # LBFGS ends by itself: with these after seconds
    x = np.random.default_rng(0).normal(size=(rows, 4))
    y = np.sin(3 * x[:, :2])
    models = make(device), make(device)
    for model in models:
        model.compile(fd.LBFGS(gtol=0, ftol=0) if optimizer == "lbfgs" else optimizer, "mse", metrics=["mae"])
    options: dict[str, Any] = {"verbose": 0, "validation_data": (x[:20], y[:20])}

    def no_memory(*_: Any) -> None:
        raise MemoryError("there is none")

    before = signal.signal(signal.SIGALRM, no_memory)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.4)
        with pytest.raises(MemoryError, match="there is none"):
            models[0].fit(x, y, epochs=10**8, **options)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    kept = models[0].history
    assert kept is not None and len(kept.epoch) == models[0].runner.epochs_trained > 0
    steps = models[0].runner.step // (1 if optimizer == "lbfgs" else 32)  # the last epoch's validation may not be
    assert len(kept.epoch) in (steps, steps - 1)
    assert kept.history == models[1].fit(x, y, epochs=len(kept.epoch), **options).history
    models[0].fit(x, y, **options)


def test_totals_where_an_engine_raises() -> None:
    """They are in the caller's result, without those of an epoch whose validation was not finished."""
    raised: list[int] = []

    def progress(steps: int, *_: Any) -> None:
        if steps > 2:
            raised.append(steps)
            raise MemoryError

    for device in ("cpu", "reference"):
        model, twin = make(device), make(device)
        call = TrainCall(X, Y, None, np.full(10**6, 1e-3), 50, val=(X[:9], Y[:9], None), progress=progress)
        with pytest.raises(MemoryError):
            model.runner._engine.train(call)
        steps = model.runner._engine.get_state()["step"]
        finished = len(call.result["totals"])
        assert finished in (steps, steps - 1) and finished > 1 and "steps" not in call.result
        other = TrainCall(X, Y, None, np.full(finished, 1e-3), 50, val=(X[:9], Y[:9], None))
        made = twin.runner._engine.train(other)
        assert made is other.result
        for name in ("totals", "val_totals"):
            np.testing.assert_array_equal(call.result[name], made[name])
    assert len(raised) == 2


class Pressed:
    """An engine, with Ctrl-C just before or just after its training."""

    def __init__(self, engine: Any, before: bool) -> None:
        self.engine, self.before = engine, before

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def train(self, call: TrainCall) -> Any:
        if not self.before:
            self.engine.train(call)
        raise KeyboardInterrupt


@pytest.mark.parametrize("before", [False, True])
def test_ctrl_c_around_the_engine(device: str, before: bool) -> None:
    model = make(device)
    model.runner._own_engine = Pressed(model.runner._own_engine, before)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, batch_size=25, verbose=0)
    assert model.history is not None
    epochs = 0 if before else 1
    assert len(model.history.epoch) == model.runner.epochs_trained == epochs and model.runner.step == 2 * epochs
    with pytest.raises(KeyboardInterrupt):
        model.train_on_batch(X, Y)
    assert model.runner.step == 3 * epochs


def test_what_fails_half_way_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """`place` goes layer by layer; `to` writes tensors and then the optimizer's state."""
    model = make("cpu", fd.Dense(6, "relu"), fd.Dense(5, "relu"), fd.Dense(2))
    model.fit(X, Y, verbose=0)
    before, slots, step = model.get_weights(), model.runner.slots(), model.runner.step

    def no_memory(*_: Any, **__: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("fastdense.runners.single.Runner.activations", no_memory)
        with pytest.raises(MemoryError):
            model.place(X)
    with monkeypatch.context() as patch:
        patch.setattr("fastdense.reference.engine.Engine.set_state", no_memory)
        with pytest.raises(MemoryError):
            model.to("reference")
    assert model.device == "cpu" and model.runner.step == step > 0 and same(model.get_weights(), before)
    assert same(sum(model.runner.slots(), []), sum(slots, []))
    hidden = model.clone().place(X).get_weights()[:4]  # the last layer stays as it is
    assert not same(hidden, before[:4]) and same(model.place(X).get_weights()[:4], hidden)


@pytest.mark.parametrize("hook", ["on_epoch_end", "on_train_batch_end", "on_epoch_begin"])
def test_an_exception_in_a_callback(device: str, hook: str) -> None:
    model = make(device)
    calls: list[int] = []

    def stop(number: int, logs: Any) -> None:
        calls.append(number)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, epochs=5, batch_size=25, verbose=0, callbacks=[fd.callbacks.LambdaCallback(**{hook: stop})])
    steps, epochs, recorded = {"on_epoch_end": (6, 3, 3), "on_train_batch_end": (3, 1, 1), "on_epoch_begin": (4, 2, 2)}[
        hook
    ]
    assert (model.runner.step, model.runner.epochs_trained) == (steps, epochs)
    assert model.history is not None and len(model.history.epoch) == recorded
    model.fit(X, Y, verbose=0)


def raise_interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """KeyboardInterrupt after so many seconds."""
    handler = signal.signal(signal.SIGALRM, raise_interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)


@pytest.mark.parametrize("hook", ["on_test_end", "on_train_batch_end"])
def test_ctrl_c_in_validation(device: str, hook: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The epoch is not finished, neither for the history nor for the order of the next epoch's rows."""
    model, passes = make(device), []
    totals = model.runner.totals

    def interrupted(*args: Any, **options: Any) -> Any:
        passes.append(args)
        if len(passes) == 2:
            raise KeyboardInterrupt
        return totals(*args, **options)

    monkeypatch.setattr(model.runner, "totals", interrupted)
    callback = fd.callbacks.LambdaCallback(**{hook: lambda *_: None})
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, epochs=5, batch_size=25, validation_data=(X, Y), verbose=0, callbacks=[callback])
    assert model.history is not None and model.runner.step == 4
    assert model.runner.epochs_trained == len(model.history.epoch) == 1
    assert {key: len(values) for key, values in model.history.history.items()} == {"loss": 1, "val_loss": 1}


def test_ctrl_c_in_a_validation_that_the_engine_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 20_000_000  # a pass of seconds out of no memory, as below
    x, y = np.broadcast_to(X[:1], (rows, 4)), np.broadcast_to(Y[:1], (rows, 2))
    model = make("cpu", fd.Dense(512, "tanh"), fd.Dense(2))
    model.fit(X, Y, verbose=0)
    train = model.runner.train

    def train_and_press(*args: Any, **options: Any) -> Any:
        signal.setitimer(signal.ITIMER_REAL, 0.3)  # only now: on a busy machine it takes long to check so many rows
        return train(*args, **options)

    monkeypatch.setattr(model.runner, "train", train_and_press)
    with alarm(0), pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, epochs=5, batch_size=25, validation_data=(x, y), verbose=0)
    assert model.history is not None and model.runner.step == 2 + 2
    assert model.runner.epochs_trained == 1 and len(model.history.epoch) == 0


def test_threads_share_a_model(device: str) -> None:
    model = make(device, fd.Dense(16, "tanh"), fd.Dense(2))
    expected = model.predict(X)
    # NumPy's own product may round a row differently when it stands among fewer others
    near = 1e-12 if device == "reference" else 0.0
    wrong: list[int] = []

    def work(k: int) -> None:
        for _ in range(20):
            if not np.allclose(model.predict(X[k:]), expected[k:], rtol=near, atol=near):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(wrong, [])


@pytest.mark.parametrize("call", ["predict", "evaluate", "validation"])
def test_ctrl_c_inside_a_long_pass(call: str) -> None:
    """The engine looks between chunks of rows. A stride of 0 makes a pass of seconds out of no memory."""
    rows = 20_000_000
    x = np.broadcast_to(np.ones((1, 4), np.float32), (rows, 4))
    y = np.broadcast_to(np.ones((1, 2), np.float32), (rows, 2))
    model = make("cpu", fd.Dense(512, "tanh"), fd.Dense(2))
    model.fit(X, Y, verbose=0)
    engine, before = model.runner._engine, model.get_weights()
    out = np.full((rows, 2), np.nan, np.float32)
    with alarm(0.15):
        if call == "validation":
            result = engine.train(TrainCall(X, Y, None, np.full(2, 0.1), 50, epoch=1, val=(x, y, None)))
            assert result["interrupted"] and result["steps"] == 1  # the step counts, its validation does not
            assert result["totals"].shape[0] == result["val_totals"].shape[0] == 0
        else:
            with pytest.raises(KeyboardInterrupt):
                if call == "predict":
                    engine.predict(x, out, n_threads=0)
                else:
                    engine.evaluate(x, y, None, n_threads=0)
            assert same(model.get_weights(), before)
            assert call != "predict" or np.isnan(out[-1]).all()  # it did not go on to the end


def test_ctrl_c_inside_a_step() -> None:
    """A step that takes long is left before anything is updated, moving statistics included."""
    rows = 30_000
    x = np.broadcast_to(X[:1, :1], (rows, 256))
    y = np.broadcast_to(Y[:1], (rows, 2))
    model = fd.Model([fd.Dense(64), fd.BatchNorm(), *[fd.Dense(64) for _ in range(8)], fd.Dense(2)], inputs=256)
    model.compile("adam", "mse")
    model.fit(np.ones((1, 256), np.float32), Y[:1], verbose=0)
    whole = model.clone()
    began = time.perf_counter()
    whole.fit(x, y, batch_size=rows, epochs=1, verbose=0)
    took = time.perf_counter() - began
    for share in (0.1, 0.4, 0.6, 0.8):  # while rows are checked, and in the forward and the backward pass
        before, step = model.get_weights(), model.runner.step
        with alarm(share * took), contextlib.suppress(KeyboardInterrupt):
            model.fit(x, y, batch_size=rows, epochs=1, verbose=0)
        assert model.runner.step > step or same(model.get_weights(), before)  # where it was quicker, it is whole


LOADS = """
import itertools, os, signal, sys
from _lsprof import Profiler
from functools import partial
import fastdense as fd

def make():
    return fd.Model([fd.Dense(2)], inputs=2).predict([[1.0, 2.0]])

if sys.argv[1] == "count":  # the calls before the compiled module's own code runs
    events = []
    sys.setprofile(lambda _, event, arg: events.append(getattr(arg, "__name__", "") if event == "c_call" else event))
    make()
    sys.setprofile(None)
    print(events.index("exec_dynamic"))
else:  # a clock in C sends the signal, so that no Python code runs between it and the next call, which then sees it
    press = map(os.killpg, [os.getpgid(0)], [signal.SIGINT])
    ticks = itertools.chain(itertools.repeat(1.0, int(sys.argv[1])), press, itertools.repeat(1.0))
    profiler = Profiler(partial(next, filter(None, ticks)), 0.0, True, True)
    try:
        profiler.enable()
        make()
    except KeyboardInterrupt:
        profiler.disable()
        make()
        print("good")
"""


@pytest.mark.skipif(os.name != "posix", reason="needs groups of processes")
def test_a_call_in_another_thread_asks_the_given_callable() -> None:
    # Python gives signals to its main thread only: the other threads of fit_many learn of Ctrl-C in this way
    model, seen = make("cpu"), []
    x, y = np.broadcast_to(X[:1], (2**28, 4)), np.broadcast_to(Y[:1], (2**28, 2))  # more than 50 ms of work

    def stop() -> None:
        raise RuntimeError("stop")

    def work() -> None:
        try:
            with native.asking(stop):
                model.evaluate(x, y, verbose=0)
        except RuntimeError as error:
            seen.append(str(error))
        model.evaluate(x[: 2**24], y[: 2**24], verbose=0)  # is asked nothing
        seen.append("evaluated")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == ["stop", "evaluated"]


def test_ctrl_c_in_the_training_of_many_wide_nets_skips_the_final_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(monkeypatch, SerialPopulation, "train", at=1)
    monkeypatch.setattr(SerialPopulation, "evaluate", None)
    model = make("cpu", fd.Dense(8000, "tanh"), fd.Dense(2))
    with pytest.raises(fd.PopulationInterrupt) as raised:
        fd.fit_many(model, X, Y, starts=3, epochs=10**5, verbose=0)
    population = raised.value.population
    assert population.why_one_by_one, "too narrow for this instruction set: no engine of its own was interrupted"
    last = [population.history[epochs - 1, i] if epochs else np.nan for i, epochs in enumerate(population.epochs)]
    assert np.array_equal(population.losses, np.array(last), equal_nan=True)
    assert population.epochs.max() > 0


def test_ctrl_c_while_the_compiled_module_is_loaded() -> None:
    def child(argument: object) -> str:
        command = [sys.executable, "-c", LOADS, str(argument)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, start_new_session=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    calls = int(child("count"))
    assert [child(calls + offset) for offset in (-1, 0, 1)] == ["good"] * 3


def test_ctrl_c_waits_for_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Ctrl-C does, it does once, when the module is whole; a thread that is not the main one sees none."""
    done: list[str] = []

    def load(name: str) -> str:
        if threading.current_thread() is threading.main_thread():
            signal.raise_signal(signal.SIGINT)
        done.append("loaded")
        return name

    monkeypatch.setattr(loading, "import_module", load)
    for handler in (signal.default_int_handler, lambda *_: done.append("handled"), signal.SIG_IGN):
        before = signal.signal(signal.SIGINT, handler)
        try:
            if handler is signal.default_int_handler:
                with pytest.raises(KeyboardInterrupt):
                    loading.compiled_module("fastdense.a")
            else:
                assert loading.compiled_module("fastdense.a") == "fastdense.a"
            assert signal.getsignal(signal.SIGINT) is handler
        finally:
            signal.signal(signal.SIGINT, before)
    thread = threading.Thread(target=loading.compiled_module, args=("fastdense.a",))
    thread.start()
    thread.join()
    assert done == ["loaded", "loaded", "handled", "loaded", "loaded"]


DAEMON = """
import sys, threading, time
import numpy as np
import fastdense as fd

model = fd.Model([fd.Dense(64, "relu"), fd.Dense(2)], inputs=8)
model.compile("adam", "mse")
x, y = np.ones((1000, 8), np.float32), np.ones((1000, 2), np.float32)
threading.Thread(target=lambda: model.fit(x, y, epochs=10**9, verbose=0), daemon=True).start()
while model.history is None or not model.history.epoch:
    time.sleep(0.01)

class Slow:
    def __del__(self):
        time.sleep(0.5)  # long enough for the thread to look for signals while Python shuts down

sys.kept = Slow()
"""


def test_exit_while_a_daemon_thread_trains() -> None:
    done = subprocess.run([sys.executable, "-c", DAEMON], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


EXIT = """
import sys, threading, time
import numpy as np
import fastdense as fd

call, width, delay = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
model = fd.Model([fd.Dense(width, "relu"), fd.Dense(4)], inputs=width)
model.compile("adam", "mse")
x, y = np.ones((500, width), np.float32), np.ones((500, 4), np.float32)
calls = {
    "predict": lambda: model.predict(x),
    "evaluate": lambda: model.evaluate(x, y, verbose=0),
    "fit": lambda: model.fit(x, y, verbose=0),
    "fit_many": lambda: fd.fit_many(model, x[:64], y[:64], starts=4, verbose=0),
}
begun = threading.Event()

def work():
    while True:
        calls[call]()
        begun.set()

threading.Thread(target=work, daemon=True).start()
begun.wait()
time.sleep(delay)
"""


@pytest.mark.parametrize("width", [8, 256], ids=["small", "wide"])
@pytest.mark.parametrize("call", ["predict", "evaluate", "fit", "fit_many"])
def test_exit_while_a_daemon_thread_is_inside_a_call(call: str, width: int) -> None:
    """Python takes the thread away while it waits for the GIL, which is most of its time in calls as short as these."""
    for moment in range(4):
        command = [sys.executable, "-c", EXIT, call, str(width), str(0.003 * moment)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("call", ["first values", "scan", "large product", "jacobian", "d_jacobian"])
def test_ctrl_c_inside_one_operation(call: str) -> None:
    """Draws, scans of data and single products are left half-way too: each would go on for many seconds."""
    wide = np.broadcast_to(np.ones((1, 1), np.float32), (1 << 40, 1))
    model = fd.Model([fd.Dense(1)], inputs=1)
    model.compile("sgd", "mse")
    rows = np.broadcast_to(np.ones((1, 1000), np.float32), (12_000, 1000))
    large = fd.Model([fd.Dense(8000, "relu"), fd.Dense(1)], inputs=1000)
    large.compile("sgd", "mse")
    wide_outputs = fd.Model([*[fd.Dense(2000, "tanh") for _ in range(4)], fd.Dense(64)], inputs=64)
    x = np.ones((200, 64), np.float32)
    d_jacobian = np.broadcast_to(x[:, :1, None], (200, 64, 64))
    calls = {
        "first values": lambda: fd.Model([fd.Dense(20_000)], inputs=20_000),
        "scan": lambda: model.evaluate(wide, wide, verbose=0),
        "large product": lambda: large.loss_and_grad(rows, rows[:, :1]),
        "jacobian": lambda: wide_outputs.jacobian(np.broadcast_to(x[:1], (20_000, 64))),
        "d_jacobian": lambda: wide_outputs.vjp(x, x, d_jacobian),
    }
    raised: list[float] = []

    def press(*_: object) -> None:
        raised.append(time.monotonic())
        raise KeyboardInterrupt

    handler = signal.signal(signal.SIGALRM, press)
    sent = time.monotonic() + 0.3
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            calls[call]()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    assert raised[0] - sent < 3  # 0.2 s on an idle machine; the whole operation takes many seconds
