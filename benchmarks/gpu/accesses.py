"""`python -m benchmarks gpu-accesses --emulated FILE`: how well the lanes of a warp read and write together.

It needs no GPU. FILE is the emulated module that announces its accesses, `emulated/races` of a build with
`FASTDENSE_EMULATOR=ON`. One epoch of a few nets runs on it; for each line of the kernels, the sectors of device memory
or the passes over banks of shared memory that its requests would take, beside the least for the same bytes. It knows
addresses, not caches, nor what nvcc makes of a line: numbers that the host's compiler moves one by one count as such.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

import fastdense as fd
from benchmarks.gpu.setting import use_emulated
from fastdense.engine import gpu

__all__ = ["NETS", "Net", "Place", "main", "places"]


@dataclass(frozen=True)
class Net:
    """A net, its data and its path through the engine."""

    widths: tuple[int, ...]
    rows: int
    batch: int
    path: str = "layers"
    precision: str | None = None
    norms: bool = False


NETS = {
    "dense": Net((200, 128, 64, 10), 128, 128),
    "odd": Net((33, 50, 7), 60, 60),
    "norms": Net((64, 96, 64, 10), 128, 128, norms=True),
    "bfloat16": Net((100, 128, 64, 10), 128, 128, precision="bfloat16"),
    "3xtf32": Net((100, 128, 64, 10), 128, 128, precision="3xtf32"),
    "small": Net((20, 32, 10), 128, 32, path="fused"),
    "a warp": Net((2, 3, 2), 128, 32, path="fused"),
    "a block": Net((100, 128, 10), 256, 64, path="fused"),
    "fused-bfloat16": Net((64, 64, 64, 10), 1024, 1024, precision="bfloat16"),
    "fused-tf32": Net((48, 48, 48, 10), 1024, 1024, precision="tf32"),
    "fused-rows-bfloat16": Net((128, 128, 128, 10), 1024, 1024, precision="bfloat16"),
    "fused-rows-tf32": Net((96, 96, 96, 10), 1024, 1024, precision="tf32"),
}


@dataclass(frozen=True)
class Place:
    """What a line of the kernels cost: sectors of device memory, or passes over the banks of shared memory."""

    line: str
    shared: bool
    requests: int
    cost: int
    least: int

    @property
    def too_many(self) -> int:
        return self.cost - self.least


def _model(net: Net) -> fd.Model:
    layers: list[Any] = []
    for units in net.widths[1:-1]:
        layers += [fd.Dense(units, activation="relu")]
        layers += [fd.BatchNorm(), fd.Dropout(0.1), fd.LayerNorm()] if net.norms else []
    layers.append(fd.Dense(net.widths[-1], activation="softmax"))
    return fd.Model(layers, inputs=net.widths[0], seed=0, device="cuda", precision=net.precision)


def places(module: Any, net: Net) -> list[Place]:
    """One epoch of the net; its lines, those that cost most beyond the least first."""
    random = np.random.RandomState(0)
    x, y = random.rand(net.rows, net.widths[0]).astype("f"), random.randint(0, net.widths[-1], net.rows)
    model = _model(net)
    model.compile("adam", "sparse_categorical_crossentropy")
    module.set_path(net.path)
    module.set_fused_mlp(1)
    module.record_accesses(True)
    try:
        model.fit(x, y, batch_size=net.batch, epochs=1, verbose=0)
    finally:
        module.record_accesses(False)
        module.set_path("auto")
        module.set_fused_mlp()
    sums: dict[tuple[str, bool], list[int]] = defaultdict(lambda: [0, 0, 0])
    for line, shared, *numbers in module.accesses():  # the compiler may have made several of one line
        key = line.partition(" (")[0], shared
        sums[key] = [a + b for a, b in zip(sums[key], numbers, strict=True)]
    return sorted((Place(*key, *value) for key, value in sums.items()), key=lambda place: -place.too_many)


def main(arguments: list[str]) -> int:
    """Print a table for every net."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu-accesses", description=__doc__.partition("\n")[0])
    parser.add_argument("--emulated", metavar="FILE", required=True, help="the emulated module of emulated/races")
    parser.add_argument("--only", metavar="TEXT", default="", help="nets whose name has this in it")
    parser.add_argument("--lines", type=int, metavar="N", default=8, help="lines shown for each net (default 8)")
    options = parser.parse_args(arguments)
    use_emulated(options.emulated)
    module = gpu.require()
    for name, net in NETS.items():
        if options.only not in name:
            continue
        found = places(module, net)
        if not found:
            parser.error(f"{options.emulated} announces no accesses; it must be the module of emulated/races")
        print(f"{name}: {'-'.join(map(str, net.widths))}, batch {net.batch}, {net.precision or 'float32'}")
        for shared, unit in ((True, "passes over banks"), (False, "sectors")):
            of_kind = [place for place in found if place.shared == shared]
            cost, least = sum(place.cost for place in of_kind), sum(place.least for place in of_kind)
            print(f"  {cost:>10} {unit}, {cost / max(least, 1):.2f} times the least")
        for place in [place for place in found if place.too_many][: options.lines]:
            kind = "banks" if place.shared else "sectors"
            print(f"  {place.cost:>10} {kind:<8} {place.cost / max(place.least, 1):5.2f}x  {place.line}")
    return 0
