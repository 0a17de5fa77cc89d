"""Memory that ends in the middle of a training: the model is that of the last finished step, and says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

LBFGS = """
import json, resource
import numpy as np
import fastdense as fd

rng = np.random.default_rng(0)
x = rng.normal(size=(500, 50)).astype(np.float32)
y = np.sin(x[:, :1])
EPOCHS = 14

def make():
    model = fd.Model([fd.Dense(300, "tanh"), fd.Dense(300, "tanh"), fd.Dense(1)], inputs=50)
    model.compile(fd.LBFGS(history_size=12), "mse")
    return model

def fit(model, epochs):
    model.fit(x, y, epochs=epochs, verbose=0, n_threads=1)

def same(a, b):
    return all(np.array_equal(one, other) for one, other in zip(a, b))

model = make()
at_step = [model.get_weights()]
for _ in range(EPOCHS):
    fit(model, 1)
    at_step.append(model.get_weights())

hard = resource.getrlimit(resource.RLIMIT_AS)[1]
for mib in range(0, 32, 2):
    model, error = make(), ""
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (mib << 20), hard))
    try:
        fit(model, EPOCHS)
    except MemoryError as raised:
        error = type(raised).__name__
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    step, epochs = model.runner.step, len(model.history.epoch) if model.history else 0
    agree = same(model.get_weights(), at_step[step]) and model.runner.epochs_trained == epochs <= step
    fit(model, EPOCHS - step)
    print(json.dumps([error, step, agree, same(model.get_weights(), at_step[EPOCHS])]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the memory of a process")
def test_lbfgs_without_memory() -> None:
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed goes back to the system
    done = subprocess.run([sys.executable, "-c", LBFGS], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    cases = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(agree and goes_on for *_, agree, goes_on in cases), cases
    assert any(error and 0 < step < 14 for error, step, *_ in cases), cases  # else the limits are no test
