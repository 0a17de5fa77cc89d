"""Exits and forks: the interpreter ends, or the process is forked, while threads are inside of calls."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable

import fastdense as fd

from .core import Ended, Tries, attack, in_child, shortened
from .subjects import OUTPUTS, ROWS, X, Y, make

SCRIPT = """
import sys, threading, time
import numpy as np
import fastdense as fd

x, y = np.ones(({rows}, 8), np.float32), np.ones(({rows}, 2), np.float32)
model = fd.Model([fd.Dense(32, "tanh"), fd.Dense(2)], inputs=8)
model.compile("adam", "mse")
model.fit(x, y, verbose=0, n_threads={threads})

def work():
    while True:
        {call}

threading.Thread(target=work, daemon=True).start()
time.sleep({delay})
{end}
"""
CALLS = {
    "predict": "model.predict(x)",
    "evaluate": "model.evaluate(x, y, verbose=0)",
    "fit": "model.fit(x, y, verbose=0)",
    "fit for long": "model.fit(x, y, epochs=10**9, verbose=0)",
    "fit_many": "fd.fit_many(model, x, y, starts=20, verbose=0)",
    "loss_and_grad": "model.loss_and_grad(x, y)",
    "save": "model.save('net.safetensors'); fd.load('net.safetensors')",
    "nothing": "time.sleep(0.001)",
}
ENDS = {
    "the end of the script": ("", 0),
    "sys.exit(0)": ("sys.exit(0)", 0),
    "an exception": ("raise ValueError('on purpose')", 1),
    "sys.exit(3)": ("sys.exit(3)", 3),
}


@attack("exits", short=32, long=1000, seconds=(25, 400))
def daemon_threads(tries: Tries) -> None:
    """The interpreter ends while a daemon thread is inside a call: the script's own exit code"""
    for i in tries:
        rng = tries.rng()
        call = list(CALLS)[i % len(CALLS)]
        end = list(ENDS)[int(rng.choice(len(ENDS), p=[0.55, 0.15, 0.15, 0.15]))]
        rows, threads, delay = int(rng.choice([10, 1000, 30_000])), int(rng.integers(1, 3)), rng.uniform(0, 0.1)
        text, code = ENDS[end]
        tries.given(f"{call} of {rows} rows, {end} after {delay:.3f} s")
        script = SCRIPT.format(call=CALLS[call], rows=rows, threads=threads, delay=delay, end=text)
        try:
            done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
        except subprocess.TimeoutExpired:
            tries.fail("the process does not end")
            continue
        if done.returncode != code or "terminate" in done.stderr or "Fatal" in done.stderr:
            tries.fail(f"exit code {done.returncode} instead of {code}: {shortened(done.stderr[-300:])}")


OTHERS = ("another model", "fit_many of 64")  # calls that need not the model that is trained


def usable(model: fd.Model) -> dict[str, Callable[[], object]]:
    """What a forked process does with a model that another thread was training."""
    return {
        "get_weights": model.get_weights,
        "predict": lambda: model.predict(X),
        "evaluate": lambda: model.evaluate(X, Y, verbose=0),
        "save": lambda: model.save("forked.safetensors"),
        "fit": lambda: model.fit(X, Y, verbose=0),
        "clone": model.clone,
        "compile": lambda: model.compile("sgd", "mse"),
        "loss_and_grad": lambda: model.loss_and_grad(X, Y),
        "fit_many": lambda: fd.fit_many(model, X, Y, starts=3, verbose=0),
        "fit_many of 64": lambda: fd.fit_many(make(), X, Y, starts=64, verbose=0),
        "another model": lambda: make().fit(X, Y, verbose=0),
        "summary": lambda: model.summary(print_fn=lambda text: None),
    }


@attack("forks", short=150, long=3000, seconds=(15, 200))
def forks(tries: Tries) -> None:
    """Forks while a thread fits: the new process can use the model, and ends"""
    model = make("relu")
    model.fit(X, Y, verbose=0)
    refused = 0
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            model.fit(X, Y, epochs=20, verbose=0, n_threads=threads)

    def child(name: str) -> bool:
        usable(model)[name]()
        return name in OTHERS or bool(model.predict(X).shape == (ROWS, OUTPUTS))

    for threads in (1, 2):
        done.clear()
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        first, size = tries.first, tries.size
        if threads == 1:
            tries.size = (first + size) // 2
        else:
            tries.first = tries.size // 2
        for i in tries:
            name = list(usable(model))[i % len(usable(model))]
            tries.given(f"{name} in a process forked while another thread fits with n_threads={threads}")
            time.sleep(float(tries.rng().uniform(0, 0.01)))
            ended: Ended = in_child(child, name, seconds=5)
            if "was forked while another thread used the model" in str(ended) and name not in OTHERS:
                refused += 1  # words instead of a net in the middle of a step
            elif ended.how != "returned" or ended.value is not True:
                tries.fail(str(ended))
        tries.first, tries.size = first, size
        done.set()
        thread.join(30)
        if thread.is_alive():
            tries.fail("the thread of the first process does not go on")
            return
    tries.note(f"{refused} new processes were refused the model that was in the middle of a step")
