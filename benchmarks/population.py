"""Thousands of small nets: fastdense's populations against JAX's vmap and scan, alternating on the same processors.

    python -m benchmarks.population              # every case; writes benchmarks/results/local-population.json
    python -m benchmarks.population pyramid      # one

Each library runs in a process of its own and trains the same number of nets, rows, batches and epochs; JAX's whole
training is compiled (vmap over nets, scan over steps) and its compilation is not counted. Each epoch has
one order of the rows for all nets; JAX gets its orders ready-made. Rounds alternate; the table gives medians.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Case:
    """Nets of these widths; `steps` of JAX are measured and scaled to the epochs, since it takes a minute otherwise."""

    name: str
    widths: tuple[int, ...]
    activation: str
    loss: str
    starts: int
    rows: int
    batch: int
    epochs: int
    jax_epochs: int
    goal: float


CASES = (
    Case("pyramid", (2, 3, 1), "relu", "mse", 1000, 1024, 1024, 6000, 200, 60.0),
    Case("tanh", (8, 16, 16, 1), "tanh", "mse", 256, 1024, 32, 200, 20, 12.0),
    Case("digits", (64, 32, 10), "relu", "crossentropy", 64, 1797, 32, 100, 16, 6.0),
)
SIZES = (16, 160, 1600, 16000, 100_000)


def data(case: Case) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (case.rows, case.widths[0])).astype(np.float32)
    if case.loss == "crossentropy":
        return x, rng.integers(0, case.widths[-1], case.rows).astype(np.int32)
    return x, np.sqrt((x**2).sum(axis=1, keepdims=True)).astype(np.float32)


def model(case: Case) -> Any:
    import fastdense as fd

    layers = [fd.Dense(units, case.activation) for units in case.widths[1:-1]]
    layers.append(fd.Dense(case.widths[-1], "softmax" if case.loss == "crossentropy" else None))
    made = fd.Model(layers, inputs=case.widths[0])
    made.compile(fd.Adam(0.01), "sparse_categorical_crossentropy" if case.loss == "crossentropy" else "mse")
    return made


def run_fastdense(case: Case) -> float:
    """Seconds of the whole call of `fit_many`: first values, training, final losses."""
    import fastdense as fd

    x, y = data(case)
    options = {"starts": case.starts, "batch_size": case.batch, "shuffle": "same", "verbose": 0}
    fd.fit_many(model(case), x, y, epochs=1, **options)  # loads the library
    began = time.perf_counter()
    fd.fit_many(model(case), x, y, epochs=case.epochs, **options)
    return time.perf_counter() - began


def run_jax(case: Case) -> float:
    """Seconds of `epochs` epochs, from a compiled run of `jax_epochs`."""
    import jax
    import jax.numpy as jnp

    x, y = map(jnp.asarray, data(case))
    batches = -(-case.rows // case.batch)
    act = {"relu": jax.nn.relu, "tanh": jnp.tanh}[case.activation]

    def loss(net: Any, rows: Any, weight: Any) -> Any:
        h, target = x[rows], y[rows]
        for i, (w, b) in enumerate(net):
            h = h @ w + b
            h = act(h) if i + 1 < len(net) else h
        if case.loss == "crossentropy":
            each = jax.nn.logsumexp(h, axis=1) - jnp.take_along_axis(h, target[:, None], axis=1)[:, 0]
        else:
            each = ((h - target) ** 2).mean(axis=1)
        return (each * weight).sum() / weight.sum()

    def step(state: Any, given: Any) -> Any:
        net, m, v = state
        rows, weight, t = given
        value, g = jax.value_and_grad(loss)(net, rows, weight)
        m = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, m, g)
        v = jax.tree.map(lambda a, b: 0.999 * a + 0.001 * b * b, v, g)
        rate = 0.01 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        net = jax.tree.map(lambda p, a, b: p - rate * a / (jnp.sqrt(b) + 1e-7), net, m, v)
        return (net, m, v), value

    def train(net: Any, rows: Any, weight: Any, t: Any) -> Any:
        zeros = jax.tree.map(jnp.zeros_like, net)
        return jax.lax.scan(step, (net, zeros, zeros), (rows, weight, t))

    rng = np.random.default_rng(1)
    order = np.zeros((case.jax_epochs, batches * case.batch), dtype=np.int32)
    for epoch in order:
        epoch[: case.rows] = rng.permutation(case.rows)
    steps = case.jax_epochs * batches
    rows = jnp.asarray(order.reshape(steps, case.batch))
    weight = np.ones((case.jax_epochs, batches * case.batch), dtype=np.float32)
    weight[:, case.rows :] = 0
    keys = jax.random.split(jax.random.key(0), case.starts)

    def first(key: Any) -> Any:
        each = jax.random.split(key, len(case.widths) - 1)
        pairs = zip(each, case.widths, case.widths[1:], strict=False)
        return [(jax.random.normal(k, (a, b)) * np.sqrt(2 / a), jnp.zeros(b)) for k, a, b in pairs]

    nets = jax.vmap(first)(keys)
    many = jax.jit(jax.vmap(train, in_axes=(0, None, None, None)))
    given = (rows, jnp.asarray(weight.reshape(steps, case.batch)), jnp.arange(1.0, steps + 1))
    compiled = many.lower(nets, *given).compile()
    began = time.perf_counter()
    jax.block_until_ready(compiled(nets, *given))
    return (time.perf_counter() - began) * case.epochs / case.jax_epochs


def in_a_process(library: str, case: Case) -> float:
    command = [sys.executable, "-m", "benchmarks.population", "--worker", library, case.name]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def cost_per_net(starts: int) -> float:
    """Nanoseconds per net, epoch and row of the pyramid's training."""
    import fastdense as fd

    case = CASES[0]
    x, y = data(case)
    epochs = max(4, min(2000, 1_000_000 // starts))
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        fd.fit_many(model(case), x, y, starts=starts, epochs=epochs, batch_size=case.rows, verbose=0)
        best = min(best, time.perf_counter() - began)
    return best / starts / epochs / case.rows * 1e9


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.population")
    parser.add_argument("cases", nargs="*", default=[case.name for case in CASES])
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    chosen = [case for case in CASES if case.name in options.cases]
    if options.worker:
        print({"fastdense": run_fastdense, "jax": run_jax}[options.worker](chosen[0]))
        return
    result: dict[str, Any] = {"cases": []}
    for case in chosen:
        seconds: dict[str, list[float]] = {"fastdense": [], "jax": []}
        for turn in range(options.rounds):
            for library in sorted(seconds, reverse=bool(turn % 2)):
                seconds[library].append(in_a_process(library, case))
        ours, theirs = median(seconds["fastdense"]), median(seconds["jax"])
        result["cases"].append({**asdict(case), "seconds": seconds, "times": theirs / ours})
        line = f"fastdense {ours:.3g} s, JAX {theirs:.3g} s: {theirs / ours:.3g} times as fast (goal {case.goal:g})"
        print(f"{case.name:8} {case.starts} nets: {line}", flush=True)
    if len(options.cases) == len(CASES):
        result["nanoseconds_per_net_row"] = {str(n): cost_per_net(n) for n in SIZES}
        print("ns per net and row:", {n: round(ns, 3) for n, ns in result["nanoseconds_per_net_row"].items()})
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "local-population.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
