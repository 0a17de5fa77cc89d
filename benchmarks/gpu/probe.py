"""Small nets on every path of an engine: `python -m benchmarks.gpu.probe DEVICE` prints their results.

One line of JSON: by net, a hash of all its bits, its loss, and how far from the CPU's that is. Small enough for
compute-sanitizer; two runs must print the same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import fastdense as fd
from benchmarks.gpu.setting import use_emulated

ROWS = 512
Made = tuple[list[Any], float]  # all tensors and the last epoch's loss


def train(device: str, layers: list[Any], inputs: int, batch: int, rows: int = ROWS, **options: Any) -> Made:
    """Two epochs on random rows and classes."""
    random = np.random.RandomState(0)
    x, y = random.standard_normal((rows, inputs)).astype(np.float32), random.randint(0, 10, rows)
    model = fd.Model([*layers, fd.Dense(10, "softmax")], inputs=inputs, seed=1, device=device, **options)
    model.compile(fd.Adam(0.01), "sparse_categorical_crossentropy")
    history = model.fit(x, y, epochs=2, batch_size=batch, verbose=0)
    return model.get_weights(), history.history["loss"][-1]


def many(device: str) -> Made:
    """A population."""
    random = np.random.RandomState(0)
    x = random.standard_normal((ROWS, 4)).astype(np.float32)
    model = fd.Model([fd.Dense(8, "tanh"), fd.Dense(1)], inputs=4, seed=1, device=device)
    model.compile(fd.Adam(0.01), "mse")
    nets = fd.fit_many(model, x, x[:, :1] * x[:, 1:2], starts=64, epochs=2, batch_size=32, verbose=0)
    return nets.weights, float(nets.history[-1].mean())


NETS: dict[str, Callable[[str], Made]] = {
    "small": lambda device: train(device, [fd.Dense(32, "relu"), fd.Dense(32, "tanh")], 20, 32),
    "ragged": lambda device: train(device, [fd.Dense(33, "relu"), fd.Dense(17, "gelu")], 19, 37, rows=501),
    "large": lambda device: train(device, [fd.Dense(256, "relu"), fd.Dense(256, "relu")], 64, 128),
    "all_rows": lambda device: train(device, [fd.Dense(64, "sigmoid")], 20, ROWS),
    "normalised": lambda device: train(
        device, [fd.Dense(64, "relu"), fd.BatchNorm(), fd.Dropout(0.25), fd.Dense(64), fd.LayerNorm()], 20, 64
    ),
    "bfloat16": lambda device: train(device, [fd.Dense(64, "relu"), fd.Dense(64, "relu")], 64, 256, dtype="bfloat16"),
    "fused": lambda device: train(
        device, [fd.Dense(64, "relu"), fd.Dense(64, "gelu")], 64, 2048, rows=4100, dtype="bfloat16"
    ),
    "fused_wide": lambda device: train(device, [fd.Dense(100, "tanh")], 20, 2048, rows=2048, precision="tf32"),
    "3xtf32": lambda device: train(device, [fd.Dense(256, "relu"), fd.Dense(70, "tanh")], 64, 128, precision="3xtf32"),
    "many": many,
}


def describe(tensors: list[Any], loss: float) -> dict[str, Any]:
    """A hash of every bit, and the loss."""
    bits = hashlib.sha256(np.float64(loss).tobytes())
    for tensor in tensors:
        bits.update(np.ascontiguousarray(tensor).tobytes())
    return {"hash": bits.hexdigest(), "loss": float(loss)}


def run(device: str, compare: bool = True, names: Sequence[str] = tuple(NETS)) -> dict[str, Any]:
    """Every net; one that fails says why and lets the others go on."""
    found: dict[str, Any] = {}
    for name in names:
        make = NETS[name]
        try:
            found[name] = describe(*make(device))
            if compare and device != "cpu":
                found[name]["beside_cpu"] = found[name]["loss"] / make("cpu")[1] - 1
        except Exception as error:
            found[name] = {"error": f"{type(error).__name__}: {error}"}
    return found


def main(arguments: list[str]) -> int:
    """Print everything; exit code 1 if a net failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.probe")
    parser.add_argument("device", choices=("cuda", "cpu"))
    parser.add_argument("--alone", action="store_true", help="do not compare with the CPU")
    parser.add_argument("--only", nargs="+", choices=NETS, default=list(NETS), help="these nets")
    parser.add_argument("--emulated", metavar="FILE", help="cuda is this emulated module of the tests")
    options = parser.parse_args(arguments)
    if options.emulated:
        use_emulated(options.emulated)
    shown = run(options.device, not options.alone, options.only)
    print(json.dumps(shown))
    return int(any("error" in one for one in shown.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
