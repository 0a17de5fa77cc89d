"""The benchmarks measure the same work everywhere and say so when they do not; how fast anything is, is not tested."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import curves, kernels, memory, pictures, report, run
from benchmarks.cases import CASES, load
from benchmarks.run import LIBRARIES, Plan, gate, run_case
from benchmarks.workers import Worker
from fastdense.cli import baselines, bench
from fastdense.cli.baselines import NumpyNet, Task

ROOT = Path(__file__).parents[2]
TASKS = {
    "adam": Task((5, 7, 6, 3), "crossentropy", "adam", 1e-2, batch_size=5, scale=1.0),
    "rmsprop": Task((5, 8, 5), "mse", "rmsprop", 1e-2, batch_size=4, scale=1.0, output="relu", target="x"),
    "sgd": Task((5, 6, 3), "crossentropy", "sgd", 0.5, batch_size=64, scale=1.0, hidden="sigmoid"),
    "regression": Task((5, 6, 2), "mse", "adam", 1e-2, batch_size=8, scale=1.0),
}
each_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


def start(task: Task, rows: int = 10) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    random = np.random.RandomState(0)
    weights = []
    for n, u in zip(task.widths, task.widths[1:], strict=False):
        weights += [random.randn(n, u).astype("f") * 0.5, random.randn(u).astype("f") * 0.1 + 0.2]
    y = random.randint(0, 3, rows) if task.loss == "crossentropy" else random.rand(rows, task.widths[-1]).astype("f")
    return random.rand(rows, task.widths[0]).astype("f"), y, weights


@each_task
def test_numpy_net_has_the_gradient_of_its_loss(task: Task) -> None:
    x, y, weights = start(task)
    net = NumpyNet(task, x, y, weights)
    target = x if task.target == "x" else y
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


def losses_of(library: str, task: Task, folder: Path) -> list[float]:
    x, y, weights = start(task, 64)
    baselines.write_task(folder / "task.npz", task, (x, y), (x, y), weights)
    with Worker(library, folder / "task.npz") as worker:
        assert worker.start() is None
        first, again = worker.train(5), worker.train(3)
    if library != "fastdense":  # whose next turn takes the rows in the next orders
        assert again["losses"] == pytest.approx(first["losses"][:3], rel=1e-5)
    assert first["seconds"] > 0
    losses: list[float] = first["losses"]
    return losses


def need(*packages: str) -> None:
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


PAIRS = [(library, task) for library in ("fastdense", "torch", "jax", "keras") for task in TASKS] + [
    ("sklearn", "adam")
]


@pytest.mark.peers
@pytest.mark.parametrize(("library", "name"), PAIRS)
def test_libraries_learn_the_same(library: str, name: str, tmp_path: Path) -> None:
    need(library, *(["jax"] if library == "keras" else []))
    task = TASKS[name]
    ours, theirs = (losses_of(each, task, tmp_path) for each in ("numpy", library))
    # PyTorch's RMSprop adds epsilon outside the root, which shows where gradients are as small as here.
    tolerance = 0.05 if (library, task.optimizer) == ("torch", "rmsprop") else 1e-3
    np.testing.assert_allclose(theirs, ours, rtol=tolerance)


@pytest.mark.peers
@pytest.mark.parametrize("library", ["fastdense", "torch", "jax", "onnxruntime"])
def test_libraries_predict_the_same(library: str, tmp_path: Path) -> None:
    need(library, *(["onnx"] if library == "onnxruntime" else []))
    task = TASKS["adam"]
    x, y, weights = start(task, 16)
    baselines.write_task(tmp_path / "task.npz", task, (x, y), (x, y), weights)
    losses = []
    for name in ("numpy", library):
        with Worker(name, tmp_path / "task.npz", "predict") as worker:
            assert worker.start() is None
            losses += worker.train(20)["losses"]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_a_waiting_library_is_stopped(tmp_path: Path) -> None:
    task = TASKS["adam"]
    x, y, weights = start(task)
    baselines.write_task(tmp_path / "task.npz", task, (x, y), (x, y), weights)
    with Worker("numpy", tmp_path / "task.npz") as worker:
        worker.start()
        for _ in range(2):
            stat = Path(f"/proc/{worker.process.pid}/stat").read_text(encoding="ascii")
            assert stat.rpartition(")")[2].split()[0] == "T"
            worker.train(1)


def test_a_baseline_that_dies_is_an_error(tmp_path: Path) -> None:
    with (
        baselines.Baseline("numpy", tmp_path / "missing.npz") as baseline,
        pytest.raises(RuntimeError, match="the numpy process ended with exit code 1"),
    ):
        baseline.epoch()


def test_the_gate_closes() -> None:
    case = CASES[0]
    assert gate(case, {"a": [1.0, 2.0], "b": [1.0, 2.0 + case.tolerance]})["passed"]
    assert not gate(case, {"a": [1.0, 2.0], "b": [1.0, 2.0 + 3 * case.tolerance]})["passed"]
    assert not gate(case, {"a": [1.0], "b": [float("nan")]})["passed"]


QUICK = Plan(rounds=2, most=2, spread=1.0, turn=0.01)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each case runs; a data type that this build or machine lacks is left out with its reason, not passed over."""
    monkeypatch.setattr(run, "sgemm_gflops", lambda: 100.0)
    small = replace(case, rows=min(case.rows, 256))
    assert small.flops > 0 and len(load(small.data, small.rows)[1][0]) == small.rows
    result = run_case(small, ["fastdense", "numpy"], QUICK)
    if "fastdense" in result["unavailable"]:
        assert case.task.dtype != "float32" and case.task.dtype in result["unavailable"]["fastdense"]
        return
    # After two steps the loss of the nets on raw pixels is as wild as at the start: no gate then.
    assert result["gate"]["passed"] or case.name.startswith("identity-4")
    for library in result["libraries"].values():
        assert len(library["seconds"]) == 2 and library["median"] > 0
    assert len(result["sgemm_by_round"]) == 2


def fake(name: str, mine: float, theirs: float, goals: dict[str, Any], **more: Any) -> dict[str, Any]:
    libraries = {
        library: {"median": seconds, "mad": 0.0, "seconds": [seconds]}
        for library, seconds in (("fastdense", mine), ("torch", theirs))
    }
    training = {"loss": "mse", "optimizer": "adam", "learning_rate": 1e-3, "batch_size": 128, "dtype": "float32"}
    return {
        "name": name,
        "net": [10, 20],
        "training": training,
        "rows": 12800,
        "goals": goals,
        "gflop_per_epoch": 1.0,
        "sgemm_gflops": 100.0,
        "sgemm_by_round": [100.0, 100.0, 60.0],
        "unavailable": {},
        "gate": {"passed": True, "difference": 0.0, "tolerance": 0.01, "epochs": 1},
        "libraries": libraries,
        **more,
    }


def fake_result() -> dict[str, Any]:
    missing = fake("c", 1.0, 1.0, {}, unavailable={"fastdense": "ValueError: no such dtype"})
    del missing["libraries"], missing["gate"]
    return {
        "date": "2026-01-01T00:00",
        "commit": "abc",
        "machine": {"processor": "P", "processors": 2, "load_before": 3.0},
        "versions": {"torch": "2.0+cpu", "jax": None, "numpy": "2"},
        "cases": [
            fake("a", 0.02, 0.05, {"torch": 2, "limit": "rising"}),
            fake("b", 0.04, 0.05, {"torch": 2, "limit": "rising"}),
            missing,
        ],
    }


def test_report_tells_goals_and_noise() -> None:
    result = fake_result()
    shown = report.terminal(result)
    assert "2.5 (≥ 2)" in shown and "1.25 (missed 2)" in shown and "25 % (missed 50 %)" in shown
    assert "c: fastdense left out: ValueError: no such dtype" in shown
    assert "a: rounds 3 were disturbed (sgemm 60 to 100 GFLOP/s)" in shown
    assert "1 of 3 goals reached" in shown and "do not trust" in shown
    assert "PyTorch 2.0" in report.caption(result) and "JAX" not in report.caption(result)
    assert report.markdown(result).count("\n| ") == 5


def test_report_of_limits() -> None:
    result = fake_result()
    assert "of the limit" not in report.terminal(result)  # results of old versions
    result["cases"][0]["limit"] = {"seconds": 0.01, "goal": 0.4}
    result["cases"][1]["limit"] = {"seconds": 0.01, "goal": 0.9}
    shown = report.terminal(result)
    assert "50 % (≥ 40 %)" in shown and "25 % (missed 90 %)" in shown and "2 of 5 goals reached" in shown


def test_durations_have_units() -> None:
    assert [report.duration(s) for s in (2.5, 0.9996, 0.0123, 4.56e-6)] == ["2.5 s", "1 s", "12.3 ms", "4.56 µs"]


def test_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pictures.draw_cases(fake_result(), tmp_path / "cases.png")
    points = [{"value": v, "seconds": 1.0, "seconds_per_flop": 1e-11 / v} for v in (1, 2)]
    line = {"library": "fastdense", "threads": 1, "points": points}
    pictures.draw_curves({"curves": [{"name": "width", "net": "w", "lines": [line]}]}, tmp_path / "curves.png")
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in ("cases.png", "curves.png"))


def test_curves() -> None:
    assert {1024, 4096} < set(curves.CURVES["width"][1]) and curves.CURVES["batch"][1][-1] == 8192
    result = curves.run(["width"], ["fastdense"], turn=0.001, most=11)
    shown = curves.text(result)
    assert "width: 10 → w → w → 10" in shown and "time per FLOP rises by at most" in shown
    points = [{"value": v, "seconds_per_flop": s} for v, s in ((8, 4.0), (11, 2.0), (16, 3.0))]
    assert curves.rise({"points": points}) == (1.5, 16)


def test_kernels() -> None:
    result = kernels.run(least=1e-4)
    assert all(row["rate"] > 0 and row["share"] > 0 for row in result["kernels"])
    assert "% of sgemm" in kernels.text(result) and "% of cache copy" in kernels.text(result)


def test_memory() -> None:
    images, mapped = memory.images(256), memory.mapped(20000)
    assert images["above_data_mb"] > 10  # an interpreter at least
    assert mapped["many_mb"] > 5 and abs(mapped["growth_mb"]) < 100
    assert "above the data" in memory.text({"images": images, "mapped": mapped})


def test_harness() -> None:
    command = "--case mnist-128 --rows 512 --rounds 2 --max-rounds 2 --turn 0.01 --library fastdense numpy"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *command.split()], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "784 → 128 → 10" in done.stdout
    written = [ROOT / name for name in re.findall(r"written to (\S+)", done.stdout)]
    result = json.loads(written[0].read_text(encoding="utf-8"))
    for path in written:
        path.unlink()
    case = result["cases"][0]
    assert case["gate"]["passed"] and set(case["libraries"]) == {"fastdense", "numpy"}
    assert len(case["libraries"]["fastdense"]["seconds"]) == 2
    assert result["machine"]["processor"] and result["fastdense"]["version"]


def test_bench_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """The suite in a checkout, elsewhere a short comparison."""
    assert set(baselines.BASELINES) < set(LIBRARIES)
    monkeypatch.chdir(ROOT / "docs")
    assert bench.main(["--help"]) == 0
    assert "python -m benchmarks" in capfd.readouterr().out
    monkeypatch.chdir(tmp_path)
    assert bench.main(["--help"]) == 2
    assert "in a checkout of the repository" in capfd.readouterr().err
    monkeypatch.setattr(bench, "ROWS", 256)
    monkeypatch.setattr(bench, "ROUNDS", 1)
    monkeypatch.setattr(bench, "BASELINES", ["numpy"])
    assert bench.main([]) == 0
    shown = capfd.readouterr().out
    assert len(re.findall(r"numpy +[\d.]+ ms   fastdense is [\d.]+ x as fast", shown)) == 2
