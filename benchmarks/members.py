"""Wide members of a population, with validation and early stopping, against as many single fits.

    python -m benchmarks.members                      # 16 and 64 members of width 256 and 512
    python -m benchmarks.members --members 16 --width 256 --rows 5000 --rounds 3

Both train the same members in one process, in turns; the fits may use all threads, too. The number of epochs is that at
which each member stops. The table gives medians of the wall time and of their ratio.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import Any

import numpy as np

import fastdense as fd

INPUTS = 30


def data(rows: int, seed: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, INPUTS)).astype(np.float32)
    noise = 0.3 * rng.normal(size=(rows, 1))
    return x, (np.sin(2 * x[:, :1]) + x[:, 1:2] * x[:, 2:3] + noise).astype(np.float32)


def models(members: int, width: int) -> list[fd.Model]:
    """Nets of three hidden layers with different rates, weight decays and dropouts."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(members):
        rate, decay, dropout = 10 ** rng.uniform(-3.5, -2.5), 10 ** rng.uniform(-3, -1), rng.uniform(0, 0.3)
        hidden = [layer for _ in range(3) for layer in (fd.Dense(width, "relu"), fd.Dropout(dropout))]
        model = fd.Model([*hidden, fd.Dense(1)], inputs=INPUTS, seed=i)
        model.compile(fd.AdamW(rate, weight_decay=decay), "mse", metrics=["r2"])
        made.append(model)
    return made


def measure(members: int, width: int, rows: int, epochs: int, rounds: int) -> list[tuple[float, float]]:
    """Wall seconds of the population and of the fits, for each round."""
    x, y = data(rows, 1)
    found = []
    for _ in range(rounds):
        made = models(members, width)
        options: dict[str, Any] = {
            "epochs": epochs,
            "batch_size": 256,
            "validation_data": data(rows // 4, 2),
            "verbose": 0,
        }
        rule = {"monitor": "val_r2", "patience": 3, "restore_best_weights": True}
        began = time.perf_counter()
        population = fd.fit_many(made, x, y, callbacks=[fd.callbacks.EarlyStopping(**rule)], **options)
        between = time.perf_counter()
        single = [model.fit(x, y, callbacks=[fd.callbacks.EarlyStopping(**rule)], **options) for model in made]
        ended = time.perf_counter()
        assert population.epochs.tolist() == [len(history.epoch) for history in single]
        found.append((between - began, ended - between))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, nargs="*", default=[16, 64])
    parser.add_argument("--width", type=int, nargs="*", default=[256, 512])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    for width in asked.width:
        for members in asked.members:
            found = measure(members, width, asked.rows, asked.epochs, asked.rounds)
            together, alone = (median(times) for times in zip(*found, strict=True))
            ratio = median(a / b for a, b in found)
            print(f"{members:3} members of width {width}: {together:7.1f} s, fits {alone:7.1f} s, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
