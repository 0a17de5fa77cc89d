"""Predictions for a GPU: that they are of this code, count what is launched, and read what nvcc has made."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.gpu import derive, fastdense_side, predict, report, sass
from benchmarks.gpu.cases import CASES, GOALS, GpuCase
from benchmarks.gpu.run import start_weights
from benchmarks.gpu.setting import Setting
from fastdense.cli.baselines import Task
from fastdense.engine import tuning

KEPT = json.loads(predict.RESULT.read_text(encoding="utf-8"))
TASK = Task(
    (20, 32, 24, 8),  # the library has no epilogues for odd widths
    "crossentropy",
    "adam",
    1e-2,
    batch_size=8,
    scale=1.0,
)


def close(one: Any, other: Any, where: str = "") -> None:
    """Equal but for rounding."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            close(one[key], other[key], f"{where}, {key}")
    elif isinstance(one, list):
        assert len(one) == len(other), where
        for number, pair in enumerate(zip(one, other, strict=True)):
            close(*pair, f"{where}, {number}")
    elif isinstance(one, float):
        assert math.isclose(one, other, rel_tol=1e-6), where
    else:
        assert one == other, where


def launches_of(trainer: Any) -> int:
    """Of a step. A busy machine cuts a fit into more calls of the engine, each with a launch of its own."""
    return math.floor(trainer.launches())


@pytest.fixture
def model(gpu: Any) -> Any:
    """With the shipped table; afterwards the engine has it again."""
    gpu.set_path("auto")
    yield predict.Model(gpu)
    gpu.set_tuning(tuning.tables())


@pytest.mark.cuda
def test_what_is_committed_is_of_this_code(model: Any) -> None:
    """A change of plans, of constants or of kernels changes the predictions: python -m benchmarks gpu-predict."""
    found = predict.predictions(model)
    close(json.loads(json.dumps(found)), KEPT)
    assert predict.RESULT.with_suffix(".md").read_text(encoding="utf-8") == predict.markdown(KEPT)


def test_every_goal_has_a_prediction() -> None:
    assert [(goal["text"], goal["baseline"]) for goal in KEPT["goals"]] == [(g.text, g.baseline) for g in GOALS]
    assert set(KEPT["cases"]) == {case.name for case in CASES if case.goals}
    for case in CASES:
        if case.goals:
            found = KEPT["cases"][case.name]
            assert set(found["ratios"]) == set(case.goals) and all(value > 0 for value in found["ratios"].values())


@pytest.mark.cuda
@pytest.mark.parametrize("library", [False, True], ids=["by_hand", "by_the_library"])
def test_nodes_are_those_that_are_launched(library: bool, model: Any, gpu: Any) -> None:
    """Layer by layer, as the engine counts them while it trains."""
    case = GpuCase("a", TASK, {}, "normal20", 64)
    random = np.random.RandomState(0)
    x, y = random.rand(64, 20).astype(np.float32), random.randint(0, 8, 64)
    weights = start_weights(case)
    model.constants |= {"library_multiplications": 1.0 if library else 2.0**40}
    gpu.set_products("auto")
    gpu.set_tuning([("any", 90, model.constants)])
    gpu.set_path("layers")
    trainer = fastdense_side.make(Setting(TASK, x, y, weights, "cuda"))
    assert model.layers(case).nodes == launches_of(trainer)


@pytest.mark.cuda
def test_nodes_where_the_targets_are_the_inputs(model: Any, gpu: Any) -> None:
    """The last layer is no narrow one; one gather."""
    task = replace(TASK, widths=(40, 24, 40), loss="mse", target="x")
    case = GpuCase("a", task, {}, "normal20", 64)
    x = np.random.RandomState(0).rand(64, 40).astype(np.float32)
    model.constants |= {"library_multiplications": 2.0**40}
    gpu.set_tuning([("any", 90, model.constants)])
    gpu.set_path("layers")
    trainer = fastdense_side.make(Setting(task, x, x, start_weights(case), "cuda"))
    assert model.layers(case).nodes == launches_of(trainer) == 8


@pytest.mark.cuda
def test_nodes_of_the_kernel_of_tiles(model: Any, gpu: Any) -> None:
    task = replace(TASK, dtype="bfloat16")
    case = GpuCase("a", task, {}, "normal20", 64)
    random = np.random.RandomState(0)
    given = Setting(task, random.rand(64, 20).astype(np.float32), random.randint(0, 8, 64), start_weights(case), "cuda")
    model.constants |= {"mlp_rows": 1.0}
    gpu.set_tuning([("any", 90, model.constants)])
    before, trainer = gpu.fused_mlp_runs(), fastdense_side.make(given)
    launches = launches_of(trainer)
    made = model.mlp(case)
    assert gpu.fused_mlp_runs() > before and made is not None and made.nodes == launches


@pytest.mark.cuda
@pytest.mark.parametrize(("m", "n", "k"), [(20, 32, 8), (784, 512, 1024), (512, 10, 128), (64, 64, 4096)])
def test_gradients_are_cut_as_the_engine_does(m: int, n: int, k: int, gpu: Any) -> None:
    gpu.set_products("auto")
    made = gpu.product_plan(m, n, k, True)
    assert derive.chosen_splits(m, n, k, gpu.tuning(), gpu.device_info()["processors"]) == made["splits"]


def test_a_measured_gpu_shows_what_was_predicted() -> None:
    name = "10-64-64-10-batch-128"
    case = next(case for case in CASES if case.name == name)
    timed = {"median": 1e-5 * case.steps, "mad": 0.0}
    measured = {"name": name, "net": [10, 64, 64, 10], "training": {"batch_size": 128, "optimizer": "adam"}}
    measured |= {"goals": case.goals, "starts": 1, "products": "float32", "steps_per_epoch": case.steps}
    measured |= {"gflop_per_epoch": 1.0, "unavailable": {}, "notes": {}, "libraries": {"fastdense": timed}}
    result: dict[str, Any] = {"gpu": {"name": KEPT["gpu"]}, "cases": [measured]}
    head, row = report.rows(result)
    cell = row[head.index("predicted")]
    assert cell == report.report.duration(KEPT["cases"][name]["fastdense"]["us"] / 1e6)
    shown = report.goal_rows(report.goals(result), report.predicted(result))
    assert shown[0][3] == "predicted" and shown[1][3] == report.report.times(KEPT["goals"][0]["worst"])
    other = {**result, "gpu": {"name": "Some GPU"}}
    assert report.predicted(other) is None and "predicted" not in report.rows(other)[0]


def test_names_of_kernels() -> None:
    product = "_ZN2fd4cuda45_GLOBAL__N__1e130cb7_7_gemm_cu_2e9a4fd3_2674411gemm_kernelI%sEEvNS0_7ProductIT_EE"
    assert (
        sass.plain(product % "fLi64ELi64ELi16ELi4ELi4ELb1ELb0E") == "gemm_kernel<float, 64, 64, 16, 4, 4, true, false>"
    )
    assert sass.plain("_ZN2fd4cuda21finish_product_kernelIdEEvNS0_7ProductIT_EE") == "finish_product_kernel<double>"
    assert sass.plain("_ZN2fd4cuda12_loss_cu_e0b5a4ee10end_kernelENS0_5StepsE") == "end_kernel"


def test_the_loop_that_multiplies() -> None:
    """Not the loops inside it, nor one with special functions, which is an epilogue."""
    code: list[tuple[int, str, int | None]] = [
        (0, "MOV", None), (16, "LDS", None), (32, "FFMA", None), (48, "IADD3", None), (64, "BRA", 48),
        (80, "FFMA", None), (96, "BAR", None), (112, "BRA", 16),
        (128, "FFMA", None), (144, "FFMA", None), (160, "FFMA", None), (176, "MUFU", None), (192, "BRA", 128),
    ]  # fmt: skip
    assert sass.loop(code) == {"all": 5, "FFMA": 2, "LDS": 1, "BAR": 1}
    assert sass.loop(code[:1]) == {}


def test_the_kernels_that_predictions_ask_for() -> None:
    """All are in the committed table, none spills beyond what a block may have."""
    kernels = json.loads(predict.SASS.read_text(encoding="utf-8"))
    assert all(0 < kernel["registers"] <= 255 for kernel in kernels.values())
    asked = {
        f"{name}, {side}, {side}, {shape}, {layout}>"
        for _, name, shapes in predict.PRODUCTS.values()
        for side, shape in shapes.items()
        for layout in ("false, false", "false, true", "true, false")
    }
    _, name, shapes = predict.PRODUCTS["bfloat16"]  # of operands that are stored so, gradients of kernels alone
    asked |= {
        f"{name.replace('Operand', 'Stored')}, {side}, {side}, {shape}, true, false>" for side, shape in shapes.items()
    }
    assert asked == {name for name in kernels if name.startswith(("gemm_kernel<float", "mma_kernel"))}
