"""The benchmark harness works and its gate closes; how fast anything is, is not tested here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastdense import rivals
from fastdense.rivals import NumpyNet, Task

ROOT = Path(__file__).parents[1]
TASKS = [
    Task((5, 7, 6, 3), "crossentropy", "adam", 1e-2, batch_size=4, scale=1.0),
    Task((5, 8, 5), "mse", "rmsprop", 1e-2, batch_size=4, scale=1.0),
]


def start(task: Task, rows: int = 10) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    random = np.random.RandomState(0)
    weights = []
    for n, u in zip(task.widths, task.widths[1:], strict=False):
        weights += [random.randn(n, u).astype("f") * 0.5, random.randn(u).astype("f") * 0.1 + 0.2]
    return random.rand(rows, task.widths[0]).astype("f"), random.randint(0, 3, rows), weights


@pytest.mark.parametrize("task", TASKS, ids=["adam", "rmsprop"])
def test_numpy_net_has_the_gradient_of_its_loss(task: Task) -> None:
    x, y, weights = start(task)
    net = NumpyNet(task, x, y, weights)
    target = x if task.loss == "mse" else y
    seen: list[np.ndarray] = []
    net.update = lambda gradients: seen.extend(g.copy() for g in gradients)  # type: ignore[method-assign]
    net.task = Task(**{**vars(task), "batch_size": len(x)})
    net.train(np.arange(len(x)))
    net.weights = [w.astype(np.float64) for w in weights]  # type: ignore[misc]
    net.x = x.astype(np.float64)  # type: ignore[assignment]
    for w, g in zip(net.weights, seen, strict=True):
        for index in np.ndindex(*w.shape):
            value, h, losses = w[index], 1e-5, []
            for w[index] in (value + h, value - h):
                losses.append(net.loss_and_delta(net.forward(net.x)[-1], target)[0])
            w[index] = value
            assert abs((losses[0] - losses[1]) / (2 * h) - g[index]) < 1e-5


@pytest.mark.parametrize("task", TASKS, ids=["adam", "rmsprop"])
@pytest.mark.parametrize("name", ["fastdense", "torch"])
def test_rivals_learn_the_same(name: str, task: Task, tmp_path: Path) -> None:
    if name == "torch":
        pytest.importorskip("torch")
    x, y, weights = start(task, 64)
    rivals.write_task(tmp_path / "task.npz", task, (x, y), (x, y), weights)
    losses = []
    for library in ("numpy", name):
        with rivals.Rival(library, tmp_path / "task.npz", "benchmarks.workers") as rival:
            losses.append([rival.epoch().loss for _ in range(5)])
    # PyTorch's RMSprop adds epsilon outside the root, which shows where gradients are as small as here.
    tolerance = 0.05 if (name, task.optimizer) == ("torch", "rmsprop") else 1e-3
    np.testing.assert_allclose(losses[1], losses[0], rtol=tolerance)


def test_a_rival_that_dies_is_an_error(tmp_path: Path) -> None:
    with (
        rivals.Rival("numpy", tmp_path / "missing.npz") as rival,
        pytest.raises(RuntimeError, match="the numpy process ended with exit code 1"),
    ):
        rival.epoch()


def test_harness(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks",
            "--case",
            "mnist-128",
            "--rows",
            "512",
            "--rounds",
            "2",
            "--max-rounds",
            "2",
        ]
        + ["--library", "fastdense", "numpy"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "784 → 128 → 10" in done.stdout
    path = ROOT / re.findall(r"written to (\S+)", done.stdout)[0]
    result = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    case = result["cases"][0]
    assert case["gate"]["passed"] and set(case["libraries"]) == {"fastdense", "numpy"}
    assert len(case["libraries"]["fastdense"]["seconds"]) == 2
    assert result["machine"]["processor"] and result["fastdense"]["version"]
