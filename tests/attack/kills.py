"""Kills: a process that trains and saves is ended at a random moment."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import fastdense as fd

from .core import Child, Tries, attack, in_child
from .subjects import X, make, state, targets

PATH = Path("net.safetensors")


def options(epoch: int) -> dict[str, Any]:
    """How each of the processes trains, so that all of them together are one run."""
    return {"batch_size": 16, "initial_epoch": epoch, "verbose": 0, "n_threads": 1}


def train_on() -> None:
    """In a child: go on from the file, for ever, and save after each epoch."""
    model = fd.load(PATH) if PATH.exists() else make("relu")
    checkpoint = fd.callbacks.ModelCheckpoint(PATH)
    model.fit(X, targets(model), epochs=10**9, callbacks=[checkpoint], **options(model.runner.epochs_trained))


def seen() -> tuple[int, str] | None:
    """In a child: the state that the file holds."""
    return state(fd.load(PATH)) if PATH.exists() else None


def recorded(last: int) -> dict[int, str]:
    """In a child: the states after each epoch of a run that nothing disturbs."""
    model = make("relu")
    found = dict([state(model)])
    epochs = last // 3  # steps of 16 among 48 rows
    note = fd.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: found.update([state(model)]))
    model.fit(X, targets(model), epochs=epochs, callbacks=[note], **options(0))
    return found


def left_over() -> list[str]:
    """In a child: what lies beside the file after it was saved once more."""
    fd.load(PATH).save(PATH)
    return sorted(set(os.listdir(".")) - {PATH.name})


@attack("kills", short=100, long=1500, seconds=(20, 400))
def checkpoints(tries: Tries) -> None:
    """Kills during fit with ModelCheckpoint: the file loads, and is a state of the run that nothing disturbs"""
    states: dict[int, tuple[int, str]] = {}
    last = 0
    for i in tries:
        moment = float(tries.rng().uniform(0, 0.25))
        tries.given(f"killed after {moment * 1000:.1f} ms")
        child = Child(train_on, seconds=60)
        time.sleep(moment)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        ended = in_child(seen)
        if ended.how != "returned":
            tries.fail(f"the file cannot be loaded: {ended}")
            PATH.unlink()
        elif ended.value is not None:
            states[i] = ended.value
            if ended.value[0] < last:
                tries.fail(f"the file is of step {ended.value[0]}, an earlier one was of step {last}")
            last = ended.value[0]
        if i % 10 == 9 and PATH.exists():
            ended = in_child(left_over)
            if ended.how != "returned" or ended.value:
                tries.fail(f"left beside the file after a save: {ended}")
    tries.note(f"{last} steps in {len(states)} files")
    whole = in_child(recorded, last, seconds=120)
    for i, (step, sums) in states.items():
        if whole.how != "returned" or whole.value.get(step) != sums:
            tries.begin(i, f"step {step}")
            tries.count(tries.size)
            tries.fail(f"the file holds no state of the run that nothing disturbs ({str(whole)[:100]})")


def save_for_ever() -> None:
    """In a child: save two models by turns."""
    models = [make("plain", seed=seed) for seed in (1, 2)]
    while True:
        for model in models:
            model.save(PATH)


@attack("loads", short=300, long=5000, seconds=(5, 60))
def readers(tries: Tries) -> None:
    """Loads while another process saves: one of its models, whole"""
    good = in_child(lambda: [state(make("plain", seed=seed)) for seed in (1, 2)]).value
    child = Child(save_for_ever, seconds=600)
    try:
        while not PATH.exists():
            time.sleep(0.001)
        for _ in tries:
            try:
                if state(fd.load(PATH)) not in good:
                    tries.fail("what is loaded was never saved")
            except Exception as error:
                tries.fail(f"{type(error).__name__}: {error}")
    finally:
        child.kill()
