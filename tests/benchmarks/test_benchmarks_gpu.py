"""The GPU benchmark on a CPU: all that can be done there, the same work everywhere, and goals reported as they are."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.gpu import report, warm, worker
from benchmarks.gpu.cases import CASES, GOALS, ORDERS, GpuCase
from benchmarks.gpu.run import QUICK, Crew, chosen, main, run_case, start_weights
from benchmarks.gpu.setting import Setting
from fastdense.cli.baselines import Task

ROOT = Path(__file__).parents[2]
TASKS = {
    "adam": Task((5, 7, 6, 3), "crossentropy", "adam", 1e-2, batch_size=8, scale=1.0),
    "rmsprop": Task((5, 8, 5), "mse", "rmsprop", 1e-2, batch_size=16, scale=1.0, output="relu", target="x"),
    "sgd": Task((5, 6, 3), "crossentropy", "sgd", 0.5, batch_size=64, scale=1.0, hidden="sigmoid"),
    "bfloat16": Task((5, 16, 3), "crossentropy", "adam", 1e-2, batch_size=8, scale=1.0, dtype="bfloat16"),
}
CASE = {case.name: case for case in CASES}


def setting(task: Task, starts: int = 1) -> Setting:
    random, several = np.random.RandomState(0), () if starts == 1 else (starts,)
    weights = []
    for n, u in zip(task.widths, task.widths[1:], strict=False):
        weights += [random.randn(*several, n, u) * 0.5, random.randn(*several, u) * 0.1 + 0.2]
    y = random.randint(0, 3, 64) if task.loss == "crossentropy" else random.rand(64, task.widths[-1]).astype("f")
    return Setting(
        task, random.rand(64, task.widths[0]).astype("f"), y, [w.astype("f") for w in weights], starts=starts
    )


def trained(trainer: Any, epochs: int = 3) -> list[float]:
    """Losses from the start, which is the same every time."""
    found = []
    for _ in range(2):
        trainer.restart()
        found.append(trainer.train(epochs))
    assert found[0] == found[1] and len(found[0]) == epochs
    return found[0]


@pytest.mark.peers
@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_what_a_graph_holds_is_a_step(task: Task) -> None:
    """The step without a word from the host is that of the plain loop, and its net is fastdense's."""
    pytest.importorskip("torch")
    from benchmarks.gpu import fastdense_side, torch_side

    given = setting(task)
    eager = trained(torch_side.Eager(torch_side.Net(given)))
    assert trained(torch_side.Body(torch_side.Net(given))) == eager
    ours = fastdense_side.make(given)
    ours.restart()
    loose = task.optimizer == "rmsprop" or task.dtype == "bfloat16"  # epsilon outside the root; 8 bits of each factor
    np.testing.assert_allclose(ours.train(3), eager, rtol=0.05 if loose else 1e-3)


@pytest.mark.peers
def test_many_nets_train_as_one_by_one() -> None:
    pytest.importorskip("torch")
    from benchmarks.gpu import fastdense_side, torch_side

    many = setting(TASKS["adam"], starts=4)
    alone = [replace(many, weights=[w[i] for w in many.weights], starts=1) for i in range(4)]
    expected = np.mean([trained(torch_side.Eager(torch_side.Net(one))) for one in alone], axis=0)
    for way in (torch_side.Eager, torch_side.Body):
        np.testing.assert_allclose(trained(way(torch_side.Nets(many))), expected, rtol=1e-5)
    np.testing.assert_allclose(fastdense_side.make(many).train(3), expected, rtol=1e-3)


@pytest.mark.peers
def test_turns_longer_than_the_orders() -> None:
    pytest.importorskip("torch")
    from benchmarks.gpu import torch_side

    body = torch_side.Body(torch_side.Net(setting(TASKS["adam"])))
    body.restart()
    losses = body.train(ORDERS + 2)
    assert len(losses) == ORDERS and max(losses[:2]) < min(losses[2:])  # the latest come round to the front


class FakeGraph:
    """Remembers the calls that it captures, as a CUDA graph remembers kernels."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def replay(self) -> None:
        for call in self.calls:
            call()


@pytest.mark.peers
def test_graphs_replay_every_step_once(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    from benchmarks.gpu import torch_side

    with pytest.raises(NotImplementedError, match="a CUDA graph needs a CUDA device"):
        torch_side.make("torch-graph", setting(TASKS["adam"]))
    capturing: list[FakeGraph] = []
    step = torch_side.Body.step

    def spy(body: Any, slot: int = 0) -> None:
        if capturing:
            capturing[-1].calls.append(lambda: step(body))
        else:
            step(body)

    @contextmanager
    def capture(graph: FakeGraph) -> Iterator[None]:
        capturing.append(graph)
        yield
        capturing.pop()

    class Stream:
        def wait_stream(self, other: Any) -> None: ...

    @contextmanager
    def beside(stream: Stream) -> Iterator[None]:
        yield

    fakes = {"CUDAGraph": FakeGraph, "graph": capture, "Stream": Stream, "current_stream": Stream, "stream": beside}
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(torch_side.Body, "step", spy)
    monkeypatch.setattr(torch_side, "check_graphs", lambda device: None)
    given = setting(TASKS["adam"])  # 8 steps an epoch: 24 are one graph of 16 and 8 of one
    expected = trained(torch_side.Eager(torch_side.Net(given)))
    graphs = torch_side.Graph(torch_side.Net(given), compiled=False, steps=16)
    assert [(count, len(graph.calls)) for count, graph in graphs.graphs] == [(16, 16), (1, 1)]  # type: ignore[attr-defined]
    assert trained(graphs) == expected


# ---- the driver, with processes that are not there -------------------------------------------------------------------


class FakeCrew(Crew):
    """Answers at once. `losses` by library, `lost` are those whose making ends their process."""

    def __init__(self, folder: Path, losses: dict[str, float], lost: tuple[str, ...] = ()) -> None:
        super().__init__("cuda", folder)
        self.losses, self.lost, self.asked = losses, lost, list[tuple[str, str]]()

    def ask(self, library: str, seconds: float = 0.0, **request: Any) -> dict[str, Any]:
        if request["do"] == "rate":
            return {"gflops": 100.0}
        baseline = request["baseline"]
        self.asked.append((request["do"], baseline))
        if request["do"] == "make":
            if baseline in self.lost:
                raise RuntimeError(f"CUDA error in {baseline}")
            return {"unavailable": "not here"} if baseline not in self.losses else {"notes": ["noted"]}
        if request["do"] == "launches":
            return {"launches": 9.5 if baseline == "fastdense" else None}
        return {"seconds": 0.5, "losses": [self.losses[baseline]] * request["epochs"]}


def driven(
    tmp_path: Path, losses: dict[str, float], baselines: tuple[str, ...] | None = None, **options: Any
) -> tuple[FakeCrew, dict[str, Any]]:
    crew = FakeCrew(tmp_path, losses, **options)
    return crew, run_case(crew, CASE["2-3-1-batch-32"], QUICK, baselines)


AGREED = {"fastdense": 0.5, "torch": 0.5, "torch-graph": 0.501}


def test_the_gate_is_before_the_clock(tmp_path: Path) -> None:
    _, right = driven(tmp_path, AGREED)
    assert right["gate"]["passed"] and report.sound(right) and set(right["libraries"]) == set(AGREED)
    assert right["libraries"]["fastdense"]["launches_per_step"] == 9.5
    assert "launches_per_step" not in right["libraries"]["torch"]
    assert right["unavailable"] == {"torch-compile": "not here", "torch-graph-16": "not here"}
    crew, wrong = driven(tmp_path, {**AGREED, "fastdense": 0.51})
    assert not wrong["gate"]["passed"] and not report.sound(wrong)
    assert wrong["unavailable"]["fastdense"] == "its losses are 2 % from torch's (tolerance 0.5 %): not timed"
    assert set(wrong["libraries"]) == {"torch", "torch-graph"}
    _, wild = driven(tmp_path, {**AGREED, "fastdense": float("nan")})
    assert wild["unavailable"]["fastdense"].startswith("its losses are not finite") and not wild["gate"]["passed"]
    _, alone = driven(tmp_path, {"fastdense": 0.5})
    assert "libraries" not in alone and alone["unavailable"]["fastdense"].startswith("no baseline is there")


def test_a_process_that_dies_ends_no_other(tmp_path: Path) -> None:
    crew, result = driven(tmp_path, {**AGREED, "torch-graph-16": 0.5}, lost=("torch-graph",))
    assert result["unavailable"]["torch-graph"] == "CUDA error in torch-graph"
    assert set(result["libraries"]) == {"fastdense", "torch", "torch-graph-16"}
    made = [baseline for do, baseline in crew.asked if do == "make"]
    assert made == ["fastdense", "torch", "torch-compile", "torch-graph", "torch", "torch-graph-16"]


def test_only_the_baselines_of_goals(tmp_path: Path) -> None:
    assert CASE["2-3-1-batch-32"].goal_baselines == ("torch-graph",)
    assert CASE["784-512-512-10-batch-128"].goal_baselines == ("torch", "torch-graph")
    crew, result = driven(tmp_path, AGREED, baselines=("torch-graph",))
    assert set(result["libraries"]) == {"fastdense", "torch-graph"} and report.sound(result)
    assert {baseline for _, baseline in crew.asked} == {"fastdense", "torch-graph"}
    with_goals = chosen(None, False, None, goals=True)
    assert all(case.goals for case in with_goals) and len(with_goals) == sum(bool(case.goals) for case in CASES)
    assert [case.quick for case in with_goals] == sorted((case.quick for case in with_goals), reverse=True)
    assert all(any(case.quick for case in with_goals if goal.holds(case)) for goal in GOALS)


def test_what_is_compiled_ahead() -> None:
    """The baselines that are compiled are those of the goals, on the shapes of the cases."""
    names = [case.name for case in warm.cases()]
    assert names[0] == "784-512-512-10-batch-128" and "1024-nets-of-16" not in names and "wide-4096" in names
    case = CASE["2-3-1-batch-32"]
    given = warm.setting(case, "cpu")
    assert given.x.shape == (1024, 2) and given.y.shape == (1024, 1) and given.steps == case.steps
    assert [w.shape for w in given.weights] == [w.shape for w in start_weights(case)]


@pytest.mark.peers
def test_no_gpu_is_said_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is one")
    assert main(["--only", "2-3-1", "--out", str(tmp_path / "result.json")]) == 2
    assert "PyTorch sees no GPU here" in capsys.readouterr().err


def test_a_process_that_fails_or_hangs_is_ended(tmp_path: Path) -> None:
    with Crew("cpu", tmp_path) as crew:
        assert crew.ask("fastdense", do="hello") == {"gpu": {}}
        with pytest.raises(RuntimeError, match="AttributeError: 'Server' object has no attribute 'nothing'"):
            crew.ask("fastdense", do="nothing")
        assert not crew.workers
        with pytest.raises(RuntimeError, match="the fastdense process did not answer within 0 s"):
            crew.ask("fastdense", seconds=0.0, do="hello")
        assert not crew.workers


class Steady:
    """A trainer on a clock that the test turns: a turn costs 3 seconds and 2 an epoch."""

    notes: list[str] = []
    one_off = True

    def __init__(self) -> None:
        self.now = 0.0

    def restart(self) -> None: ...

    def train(self, epochs: int) -> list[float]:
        self.now += 3.0 + 2.0 * epochs
        return [0.5] * epochs


def test_what_a_turn_costs_once_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, server = Steady(), worker.Server("cpu", "fastdense", Path())
    monkeypatch.setattr(worker.time, "perf_counter", lambda: trainer.now)
    server.trainers["fastdense"] = trainer
    assert server.train("fastdense", 10) == {"seconds": 20.0, "whole": 23.0, "losses": [0.5] * 10}
    trainer.one_off = False  # type: ignore[misc]
    assert server.train("fastdense", 10)["seconds"] == 23.0


@pytest.mark.peers
def test_the_smallest_case(tmp_path: Path) -> None:
    """From the command line to the file, on the CPU, compiled baselines too."""
    pytest.importorskip("torch")
    out = tmp_path / "result.json"
    words = ["gpu", "--device", "cpu", "--quick", "--only", "2-3-1-batch-32", "--rows", "256", "--out", str(out)]
    command = [sys.executable, "-m", "benchmarks", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(out.read_text(encoding="utf-8"))
    case = result["cases"][0]
    assert case["gate"]["passed"] and {"fastdense", "torch", "torch-compile"} == set(case["libraries"])
    assert case["unavailable"]["torch-graph"] == "a CUDA graph needs a CUDA device"
    assert "torch-graph left out: a CUDA graph needs a CUDA device" in done.stdout and "not measured" in done.stdout
    assert result["peaks"]["gflops"]["float32"] > 0 and result["peaks"]["microseconds"]["eager_kernel"] > 0
    again = subprocess.run(
        [*command[:-1], str(tmp_path / "b.json"), "--after", str(out)], cwd=ROOT, capture_output=True, timeout=300
    )
    assert again.returncode == 0
    assert json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))["cases"] == result["cases"]


# ---- goals -----------------------------------------------------------------------------------------------------------


def test_cases() -> None:
    assert len(CASE) == len(CASES) and all(case.gate <= ORDERS for case in CASES)
    for case in CASES:
        assert case.rows % case.task.batch_size == 0 or case.task.batch_size >= case.rows
    held = {f"{goal.text}, {goal.baseline}": [case.name for case in CASES if goal.holds(case)] for goal in GOALS}
    assert len(held) == len(GOALS)
    middle = [name for name in held if name.startswith("784")]
    assert [[int(name.split("-")[5]) for name in held[goal]] for goal in middle] == [
        [128, 256, 512], [1024], [128, 256], [1024, 512], [128, 256, 512], [1024]
    ]  # fmt: skip
    assert held["width 2048 and more, 3xtf32, torch-graph"] == ["wide-2048-3xtf32", "wide-4096-3xtf32"]
    assert [len(held[f"1024 nets of width {width}, vmap-graph"]) for width in (16, 32, 64)] == [1, 1, 1]
    assert len(held["widths up to 64, batch up to 256, torch-graph"]) == 8
    assert len(held["width 128, batch up to 256, torch-graph"]) == 4
    assert len(held["width 64 and 128, batch 16384 and more, bfloat16, torch-graph"]) == 4
    assert len(held["width 2048 and more (parity), torch-graph"]) == 4
    assert {case.goals.get("torch") for case in CASES if case.name.startswith("784")} == {6.0, 3.5, None}
    many = CASE["1024-nets-of-16"]
    assert many.flops == 1024 * replace(many, starts=1).flops and start_weights(many)[0].shape == (1024, 16, 16)


def measured(case: GpuCase, mine: float, **theirs: float) -> dict[str, Any]:
    times = {"fastdense": mine, **{name.replace("_", "-"): value for name, value in theirs.items()}}
    return {
        "name": case.name,
        "net": list(case.task.widths),
        "training": {"batch_size": case.task.batch_size, "optimizer": "adam"},
        "goals": case.goals,
        "starts": case.starts,
        "products": case.products,
        "steps_per_epoch": case.steps,
        "gflop_per_epoch": case.flops / 1e9,
        "unavailable": {},
        "notes": {},
        "gate": {"passed": True},
        "sgemm_by_round": [100.0, 99.0],
        "libraries": {name: {"median": seconds, "mad": 0.0} for name, seconds in times.items()},
    }


def fake_result() -> dict[str, Any]:
    quick, other = CASE["784-512-512-10-batch-128"], CASE["784-512-512-10-batch-1024"]
    wide, many = CASE["wide-2048"], CASE["1024-nets-of-32"]
    cases = [
        measured(quick, 0.0468, torch=0.468, torch_graph=0.0936),
        measured(other, 0.1, torch=0.7, torch_graph=0.105),
        measured(wide, 1.0, torch_graph=1.2),
        measured(many, 1.0, vmap_graph=5.0),
    ]
    cases[0]["libraries"]["fastdense"]["launches_per_step"] = 10.0
    cases[0]["libraries"]["torch-graph"]["launches_per_step"] = 28.0
    del cases[1]["libraries"]["torch"]
    lost = {**measured(CASE["2-3-1-batch-32"], 1.0), "unavailable": {"fastdense": "no CUDA engine"}}
    lost["libraries"] = {"torch": {"median": 3.2e-3, "mad": 0.0}}
    found = {
        "date": "2026-01-01T00:00",
        "commit": "abc",
        "device": "cuda",
        "machine": {"processor": "P"},
        "versions": {"torch": "2.13.0"},
        "gpu": {"name": "Some GPU"},
        "nvidia_smi": {"driver_version": "580.1"},
        "peaks": {
            "gflops": {"float32": 5e4, "tf32": 4e5, "bfloat16": 8e5},
            "copy_gb_per_s": 3000.0,
            "microseconds": {"graph": 5.1, "kernel_in_graph": 1.2},
        },
        "cases": [*cases, lost],
        "not_run": ["identity-1"],
    }
    return {**found, "goals": report.goals(found)}


def test_goals_are_judged_by_their_worst_case() -> None:
    found = fake_result()["goals"]
    said = {f"{goal['text']}, {goal['baseline']}": (goal["verdict"], len(goal["measured"])) for goal in found}
    assert said.pop("784-512-512-10, batch 128 to 512, torch-graph") == ("reached", 1)
    assert said.pop("784-512-512-10, batch 1024, torch-graph") == ("missed", 1)
    assert said.pop("784-512-512-10, batch up to 256, torch") == ("reached", 1)
    assert said.pop("1024 nets of width 32, vmap-graph") == ("reached", 1)
    assert said.pop("width 2048 and more (parity), torch-graph") == ("reached, beyond parity", 1)
    assert set(said.values()) == {("not measured", 0)}
    assert [goal["worst"] for goal in found][:3] == pytest.approx([2.0, 1.05, 10.0])
    assert report.verdict(0.95, 1.05, [1.0, 1.04]) == "reached" and report.verdict(5.0, None, [4.9]) == "missed"


def test_report() -> None:
    result = fake_result()
    shown = report.terminal(result)
    assert "Some GPU, driver 580.1, PyTorch 2.13.0" in shown
    line = next(line for line in shown.splitlines() if line.startswith("784-512-512-10-batch-128"))
    assert "100 µs ± 0 %" in line and "10 (≥ 6)" in line and "2 (≥ 1.3)" in line and "10 / 28" in line
    case = CASE["784-512-512-10-batch-128"]
    assert f"{100 * case.flops / case.steps / 1e-4 / 5e13:.0f} %" in line
    assert "(100 µs)" in next(line for line in shown.splitlines() if line.startswith("2-3-1"))  # eager's own time
    assert "float32 50, tf32 400, bfloat16 800 TFLOP/s; copy 3e+03 GB/s" in shown
    assert "2-3-1-batch-32: fastdense left out: no CUDA engine" in shown and "No time was left for identity-1" in shown
    assert "1.05 (missed 1.1)" in shown and "1 to 1.05" in shown
    assert "10-64-64-10-batch-32" in report.listing(CASES)
