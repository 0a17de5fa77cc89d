"""Interrupts: Ctrl-C at a random moment of every public call; the model is that of a whole step and goes on."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import fastdense as fd

from .core import Tries, attack, in_child, shortened
from .subjects import IDS, Array, X, Y, after_steps, goes_on, import_all, make, state, timed

SLOWEST = 1.0  # seconds from Ctrl-C to its exception: 0.2 is promised, the rest is patience for a busy machine
BIG = np.tile(X, (400, 1))
BIG_Y, BIG_IDS = np.tile(Y, (400, 1)), np.tile(IDS, 400)


def pressed(call: Callable[[], object], delay: float) -> tuple[float | None, float]:
    """Send Ctrl-C so long after the begin of a call; seconds until its KeyboardInterrupt, None if it came back before.

    The second number is the time from the press to the end of the call, whichever it was.
    """
    moment: list[float] = []
    done = threading.Event()

    def press() -> None:
        if not done.wait(delay):
            moment.append(time.perf_counter())
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press, daemon=True)
    latency, ended = None, 0.0
    try:
        thread.start()
        try:
            call()
            ended = time.perf_counter()
        except KeyboardInterrupt:
            ended = time.perf_counter()
            latency = ended - moment[0] if moment else None
        done.set()
        thread.join()
        time.sleep(0)  # an interrupt that came too late is raised here
    except KeyboardInterrupt:
        done.set()
        if thread.ident is not None:
            thread.join()
    return latency, max(0.0, ended - moment[0]) if moment else 0.0


@dataclass(frozen=True)
class Path:
    """A public call: how its model is made, the call, and which states of the model are right after it.

    `states` is "same" (the call changes nothing), "steps" (those of any whole step) or "either" (before or after).
    """

    call: Callable[[fd.Model], object]
    states: str = "same"
    model: Callable[[], fd.Model] = make
    batch_size: int = 32
    x: Array = field(default_factory=lambda: BIG)
    y: Array = field(default_factory=lambda: BIG_Y)


def quiet(model: fd.Model, **options: Any) -> fd.Population[fd.Model]:
    """fit_many without its warning of an interrupt, which is raised instead."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        population = fd.fit_many(model, BIG, BIG_Y, verbose=0, **options)
    if population.interrupted:
        raise KeyboardInterrupt
    return population


def solver(name: str) -> Callable[[], fd.Model]:
    return lambda: make("plain", name)


PATHS: dict[str, Path] = {
    "fit": Path(lambda m: m.fit(BIG, BIG_Y, epochs=5, verbose=0), "steps"),
    "fit, 2 threads": Path(lambda m: m.fit(BIG, BIG_Y, epochs=5, verbose=0, batch_size=4000, n_threads=2), "steps",
                           batch_size=4000),
    "fit, classes": Path(lambda m: m.fit(BIG, BIG_IDS, epochs=5, verbose=0), "steps",
                         lambda: make("classes", metrics=["accuracy"]), y=BIG_IDS),
    "fit, BatchNorm": Path(lambda m: m.fit(BIG, BIG_Y, epochs=3, verbose=0), "steps", lambda: make("norm")),
    "fit, one line per epoch": Path(lambda m: m.fit(X, Y, epochs=50, verbose=2), "steps", x=X, y=Y),
    "fit, validation": Path(lambda m: m.fit(X, Y, epochs=9, validation_data=(BIG, BIG_Y), verbose=0), "steps",
                            x=X, y=Y),
    "fit, probes": Path(lambda m: m.fit(BIG, BIG_Y, epochs=3, probes=True, verbose=0), "steps"),
    "fit, checkpoints": Path(lambda m: m.fit(X, Y, epochs=20, verbose=0, callbacks=[
        fd.callbacks.ModelCheckpoint("saved.safetensors")]), "steps", x=X, y=Y),
    "fit, kfac": Path(lambda m: m.fit(BIG, BIG_Y, epochs=2, verbose=0), "steps", lambda: make("plain", "kfac")),
    "fit, lbfgs": Path(lambda m: m.fit(BIG, BIG_Y, epochs=8, verbose=0), "steps", solver("lbfgs"), len(BIG)),
    "fit, newton_cg": Path(lambda m: m.fit(BIG, BIG_Y, epochs=8, verbose=0), "steps", solver("newton_cg"), len(BIG)),
    "fit, levenberg_marquardt": Path(lambda m: m.fit(BIG, BIG_Y, epochs=4, verbose=0), "steps",
                                     solver("levenberg_marquardt"), len(BIG)),
    "fit, starts": Path(lambda m: m.fit(BIG, BIG_Y, epochs=2, starts=8, verbose=0), "any"),
    "fit, restore_best_weights": Path(lambda m: m.fit(X, Y, epochs=400, verbose=0, callbacks=[
        fd.callbacks.EarlyStopping("loss", patience=1000, restore_best_weights=True)]), "any"),
    "train_on_batch": Path(lambda m: m.train_on_batch(BIG, BIG_Y), "steps", batch_size=len(BIG)),
    "evaluate": Path(lambda m: m.evaluate(BIG, BIG_Y, verbose=0)),
    "predict": Path(lambda m: m.predict(BIG)),
    "predict, one row": Path(lambda m: [m.predict(X[:1]) for _ in range(500)]),
    "loss_and_grad": Path(lambda m: m.loss_and_grad(BIG, BIG_Y)),
    "activations": Path(lambda m: m.activations(BIG)),
    "jacobian": Path(lambda m: m.jacobian(BIG)),
    "vjp, d_jacobian": Path(lambda m: m.vjp(BIG, BIG_Y, np.ones((len(BIG), m.outputs, m.inputs)))),
    "place": Path(lambda m: m.place(BIG, BIG_Y), "either"),
    "solve_output": Path(lambda m: m.solve_output(BIG, BIG_Y), "either"),
    "set_weights": Path(lambda m: [m.set_weights([w + 1 for w in m.get_weights()]) for _ in range(1)], "either"),
    "compile": Path(lambda m: m.compile("sgd", "mae"), "any"),
    "to": Path(lambda m: m.to("reference").to("cpu")),
    "save": Path(lambda m: [m.save("saved.safetensors") for _ in range(3)]),
    "load": Path(lambda m: (m.save("saved.safetensors"), [fd.load("saved.safetensors") for _ in range(9)])),
    "load_weights": Path(lambda m: (m.save("saved.safetensors"), m.load_weights("saved.safetensors"))),
    "pickle": Path(lambda m: pickle.loads(pickle.dumps(m))),
    "copy": Path(copy.deepcopy),
    "clone": Path(lambda m: m.clone()),
    "Model": Path(lambda m: [make() for _ in range(5)]),
    "summary": Path(lambda m: [m.summary(print_fn=lambda text: None) for _ in range(5)]),
    "fit_many": Path(lambda m: quiet(m, starts=16, epochs=2)),
    "fit_many, tries": Path(lambda m: quiet(m, starts=4, epochs=3, tries=4, start="data")),
    "Population": Path(lambda m: [quiet(m, starts=4).outcomes(), quiet(m, starts=3).predict(X),
                                  quiet(m, starts=2).best]),
    "cross_validate": Path(lambda m: fd.cross_validate(m, BIG, BIG_Y, folds=3)),
    "learning_rate_test": Path(lambda m: fd.learning_rate_test(m, X, Y, rates=8, epochs=9)),
    "start_on_data": Path(lambda m: fd.start_on_data(m, BIG, BIG_Y), "any"),
    "diagnose": Path(lambda m: m.diagnose(BIG, BIG_Y, budget=0.3, verbose=0)),
    "diagnose, no trials": Path(lambda m: m.diagnose(BIG, BIG_Y, verify=False, verbose=0)),
}  # fmt: skip


def best_of(model: fd.Model, losses: list[float]) -> list[Array]:
    """The weights after the epoch of the least loss; the model is not changed."""
    twin = copy.deepcopy(model)
    twin.fit(X, Y, epochs=losses.index(min(losses)) + 1, verbose=0)
    return twin.get_weights()


def interrupt(name: str, moment: float) -> tuple[str, float | None]:
    """In a child: interrupt a call at this fraction of its duration; what is wrong afterwards, and the latency."""
    path = PATHS[name]
    model = path.model()
    twin, before = copy.deepcopy(model), state(model)
    duration = timed(lambda: path.call(path.model()))
    if duration < 0.1:  # the first call of a kind takes longer
        duration = timed(lambda: path.call(path.model()))
    latency, took = pressed(lambda: path.call(model), moment * duration)
    after = state(model)
    allowed = {"same": {before}, "any": {after}}.get(path.states, set())
    if path.states == "steps":
        allowed = {after_steps(twin, after[0], path.x, path.y, path.batch_size)}
    elif path.states == "either":
        whole = path.model()
        path.call(whole)
        allowed = {before, state(whole)}
    if after not in allowed:
        return (
            f"the weights after step {after[0]} are not those of {'a whole step' if after[0] else 'before or after'}",
            latency,
        )
    history = model.history
    if history is not None and len(history.epoch) != model.runner.epochs_trained and name != "fit, starts":
        return f"epochs_trained is {model.runner.epochs_trained}, the history has {len(history.epoch)} epochs", latency
    if "restore" in name and history is not None and latency is not None and history.epoch:
        # Ctrl-C may come between the last epoch's entry in the history and the callback that looks at its loss.
        losses, weights = history.history["loss"], model.get_weights()
        known = [losses, losses[:-1]] if len(losses) > 1 else [losses]
        if not any(all(map(np.array_equal, best_of(twin, seen), weights)) for seen in known):
            return "the best weights were not restored", latency
    problem = "" if model.device == "cpu" else f"the device is {model.device}"
    return problem or goes_on(model) or (f"Ctrl-C took {took:.2f} s" if took > SLOWEST else ""), latency


@attack("interrupts", short=246, long=3000, seconds=(40, 500))
def calls(tries: Tries) -> None:
    """Ctrl-C at a random moment of every public call: weights of a whole step, the model goes on"""
    import_all()
    slowest, inside = (0.0, ""), 0
    for i in tries:
        name = list(PATHS)[i % len(PATHS)]
        moment = float(tries.rng().uniform(0, 1))
        tries.given(f"{name} at {moment:.2f} of its duration")
        ended = in_child(interrupt, name, moment, seconds=30)
        if ended.how != "returned":
            tries.fail(f"{ended} {ended.text.strip().splitlines()[-3:] if ended.how == 'raised' else ''}")
            continue
        problem, latency = ended.value
        if latency is not None:
            inside += 1
            slowest = max(slowest, (latency, name))
        if problem:
            tries.fail(problem)
    tries.note(f"{inside} came inside of the call; the slowest took {slowest[0]:.3f} s ({slowest[1]})")


def wide(inputs: int, width: int, *, optimizer: Any = "sgd", depth: int = 1) -> fd.Model:
    model = fd.Model([*[fd.Dense(width, "tanh") for _ in range(depth)], fd.Dense(2)], inputs=inputs)
    model.compile(optimizer, "mse")
    return model


def rows(count: int, width: int) -> Array:
    """So many rows that take no memory."""
    return np.broadcast_to(np.linspace(0, 1, width, dtype=np.float32), (count, width))


HEAVY: dict[str, Callable[[], Callable[[], object]]] = {
    "fit, one step of 200 GFLOP": lambda: _bound(wide(1000, 2000), lambda m: m.fit(
        rows(30_000, 1000), rows(30_000, 2), batch_size=30_000, verbose=0)),
    "loss_and_grad of 200 GFLOP": lambda: _bound(wide(1000, 2000), lambda m: m.loss_and_grad(
        rows(30_000, 1000), rows(30_000, 2))),
    "activations of 100 GFLOP": lambda: _bound(wide(1000, 2000), lambda m: m.activations(rows(30_000, 1000))),
    "predict of 2**36 rows' check": lambda: _bound(wide(4, 8), lambda m: m.fit(
        rows(2**36, 4), rows(2**36, 2), batch_size=1024, verbose=0)),
    "evaluate of 2**36 rows": lambda: _bound(wide(4, 8), lambda m: m.evaluate(
        rows(2**36, 4), rows(2**36, 2), verbose=0)),
    "Muon with 1000 iterations": lambda: _bound(wide(1000, 1000, optimizer=fd.Muon(ns_steps=1000)), lambda m: m.fit(
        rows(64, 1000), rows(64, 2), verbose=0)),
    "Model of 12 000 x 12 000": lambda: lambda: fd.Model([fd.Dense(12_000)], inputs=12_000),
    "Model, orthogonal 3000 x 3000": lambda: lambda: fd.Model(
        [fd.Dense(3000, kernel_initializer="orthogonal")], inputs=3000),
    "solve_output of 4000 units": lambda: _bound(wide(8, 4000), lambda m: m.solve_output(
        rows(20_000, 8), rows(20_000, 2))),
    "place of 4000 units": lambda: _bound(wide(4000, 4000), lambda m: m.place(rows(2000, 4000))),
    "kfac of 3000 units": lambda: _bound(wide(3000, 3000, optimizer="kfac"), lambda m: m.fit(
        rows(256, 3000), rows(256, 2), batch_size=256, verbose=0)),
    "levenberg_marquardt of 3000 parameters": lambda: _bound(
        wide(8, 300, optimizer="levenberg_marquardt"), lambda m: m.fit(
        rows(20_000, 8), rows(20_000, 2), epochs=3, verbose=0)),
    "fit_many of wide nets": lambda: _bound(wide(1000, 1000), lambda m: quiet_rows(m)),
    "Normalization.adapt of 2**30 rows": lambda: lambda: fd.Normalization().adapt(rows(2**30, 8)),
    "diagnose of 2**26 rows": lambda: _bound(wide(8, 8), lambda m: m.diagnose(
        rows(2**26, 8), rows(2**26, 2), budget=1, verbose=0)),
}  # fmt: skip


def quiet_rows(model: fd.Model) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fd.fit_many(model, rows(8000, 1000), rows(8000, 2), starts=4, batch_size=8000, verbose=0)


def _bound(model: fd.Model, call: Callable[[fd.Model], object]) -> Callable[[], object]:
    return lambda: call(model)


def press_once(name: str, delay: float) -> tuple[bool, float]:
    """In a child: whether the call came back before, and the time from Ctrl-C to its end."""
    latency, took = pressed(HEAVY[name](), delay)
    return latency is None, took


@attack("interrupts", short=len(HEAVY), long=10 * len(HEAVY), seconds=(40, 240))
def heavy(tries: Tries) -> None:
    """Ctrl-C inside of single steps, scans and closed forms that take seconds"""
    slowest = (0.0, "")
    for i in tries:
        name = list(HEAVY)[i % len(HEAVY)]
        delay = float(tries.rng().uniform(0.1, 1.5))
        tries.given(f"{name} after {delay:.2f} s")
        ended = in_child(press_once, name, delay, seconds=4)
        if ended.how != "returned":
            tries.fail(str(ended))
            continue
        _, took = ended.value
        slowest = max(slowest, (took, name))
        if took > SLOWEST:
            tries.fail(f"Ctrl-C took {took:.2f} s")
    tries.note(f"the slowest that ended took {slowest[0]:.2f} s ({slowest[1]})")


FIRST = """
import sys
import fastdense as fd
print("ready", flush=True)

def interrupted(error):
    # Before Python 3.12, Ctrl-C while a module makes a class comes as the cause of a RuntimeError.
    return isinstance(error, KeyboardInterrupt) or isinstance(error.__cause__, KeyboardInterrupt)

try:
    fd.Model([fd.Dense(2)], inputs=2)
    print("made", flush=True)
except BaseException as error:
    if not interrupted(error):
        raise
try:
    model = fd.Model([fd.Dense(2)], inputs=2)
except BaseException as error:
    if not interrupted(error):
        raise
    model = fd.Model([fd.Dense(2)], inputs=2)
model.compile("sgd", "mse")
model.predict([[1.0, 2.0]])
print("good")
"""


@attack("interrupts", short=25, long=500, seconds=(12, 100))
def first_use(tries: Tries) -> None:
    """Ctrl-C while the compiled core is loaded: KeyboardInterrupt, and a second try works"""
    for _ in tries:
        delay = float(tries.rng().uniform(0, 0.012))
        tries.given(f"{delay * 1000:.1f} ms after the first Model was begun")
        script = subprocess.Popen(
            [sys.executable, "-c", FIRST], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert script.stdout is not None
        script.stdout.readline()
        time.sleep(delay)
        script.send_signal(signal.SIGINT)
        try:
            text, errors = script.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            script.kill()
            script.communicate()
            tries.fail("the script does not end")
            continue
        late = "KeyboardInterrupt" in errors.strip().splitlines()[-1:] and "made" in text
        if "good" not in text and not late and not errors.strip().endswith("KeyboardInterrupt"):
            last = errors.strip().splitlines()[-1:]
            tries.fail(f"{last} after {shortened(errors[-400:])}")


LOOP = """
import numpy as np
import fastdense as fd
x, y = np.ones((2000, 4), np.float32), np.ones((2000, 1), np.float32)
model = fd.Model([fd.Dense(16, "tanh"), fd.Dense(1)], inputs=4)
model.compile("adam", "mse")
fd.fit_many(model, x, y, starts=2, verbose=0)
print("ready", flush=True)
for i in range(10):
    fd.fit_many(model, x, y, starts=64, epochs=200, verbose=0)
print("went on", flush=True)
"""


@attack("loops", short=3, long=50, seconds=(20, 100))
def loops(tries: Tries) -> None:
    """A script that calls fit_many in a loop can be stopped by at most three presses of Ctrl-C"""
    for _ in tries:
        pause = float(tries.rng().uniform(0.1, 0.4))
        tries.given(f"Ctrl-C every {pause:.2f} s")
        script = subprocess.Popen([sys.executable, "-W", "ignore", "-c", LOOP], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True)  # fmt: skip
        assert script.stdout is not None
        script.stdout.readline()
        for _press in range(3):
            time.sleep(pause)
            if script.poll() is None:
                script.send_signal(signal.SIGINT)
        try:
            script.communicate(timeout=3)
        except subprocess.TimeoutExpired:
            script.kill()
            script.communicate()
            tries.fail("it goes on after three presses")


@attack("signals", short=300, long=20_000, seconds=(10, 100))
def storm(tries: Tries) -> None:
    """Ctrl-C again and again, a few milliseconds apart: nothing but KeyboardInterrupt comes out"""
    model, stop, sent = make("relu"), threading.Event(), [0]
    model.save("storm.safetensors")
    uses: list[Callable[[], object]] = [
        lambda: model.fit(X, Y, epochs=5, verbose=0), lambda: model.predict(X), lambda: model.save("storm.safetensors"),
        lambda: fd.load("storm.safetensors"), lambda: model.evaluate(X, Y, verbose=0), model.clone,
        lambda: pickle.loads(pickle.dumps(model)), lambda: model.solve_output(X, Y),
    ]  # fmt: skip

    def press() -> None:
        chance = np.random.default_rng(tries.seed)
        while not stop.wait(float(chance.uniform(0.001, 0.02))) and sent[0] < tries.size and not tries.out_of_time():
            os.kill(os.getpid(), signal.SIGINT)
            sent[0] += 1

    thread = threading.Thread(target=press, daemon=True)
    thread.start()
    number, raised = 0, 0
    while thread.is_alive():
        try:
            while thread.is_alive():
                number += 1
                uses[number % len(uses)]()
        except KeyboardInterrupt:
            raised += 1
        except Exception as error:
            tries.given(f"use {number % len(uses)}")
            tries.fail(f"{type(error).__name__}: {error}")
    tries.count(sent[0])
    tries.note(f"{raised} of {sent[0]} were raised, some of them two as one, in {number} calls")
    if problem := goes_on(model):
        tries.fail(problem)
