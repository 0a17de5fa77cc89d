"""The tables that plans of the CUDA engine read: what is shipped gives the plans of old, and a file gives others."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastdense.engine import tuning
from tests.helpers import devices
from tests.helpers.pairs import Problem
from tests.helpers.programs import BATCH_NORM, BEGIN, DROPOUT, END, LAYER_NORM, dense, loss_spec, train

KEPT = Path(__file__).parents[1] / "data" / "cuda_plans.json"
GPUS = {"H200": (132, 232448), "A100": (108, 166912), "RTX 4090": (128, 101376)}  # processors, bytes of shared memory
CLASSES = loss_spec("sparse_categorical_crossentropy")


def classifier(*widths: int, optimizer: str = "adam") -> Problem:
    hidden = [dense(units, "relu") for units in widths[1:-1]]
    return Problem([*hidden, dense(widths[-1], "softmax")], CLASSES, optimizer, inputs=widths[0])


NETS: dict[str, tuple[Problem, int]] = {  # with the rows of a batch
    **{f"2-3-1, {n}": (Problem([dense(3, "relu"), dense(1)], inputs=2, optimizer="adam"), n) for n in (1, 32, 256)},
    **{f"10-64-64-10, {n}": (classifier(10, 64, 64, 10), n) for n in (32, 128, 256)},
    **{f"64-128-128-10, {n}": (classifier(64, 128, 128, 10), n) for n in (32, 128, 1024)},
    **{f"16-{w}-{w}-10, 128": (classifier(16, w, w, 10), 128) for w in (16, 32, 64)},
    "sgd": (classifier(10, 64, 64, 10, optimizer="sgd"), 128),
    "normalised": (
        Problem(
            [dense(24, "gelu"), LAYER_NORM, DROPOUT, BEGIN, dense(24, "prelu"), END, BATCH_NORM, dense(4, "softmax")],
            CLASSES, "nadam", inputs=12), 64),
    "clipped": (
        Problem([dense(20, "relu", kernel_l2=0.01), dense(3)], optimizer="momentum", options={"clipnorm": 0.1}), 40),
}  # fmt: skip


def plans(module: Any) -> dict[str, list[Any]]:
    """Of every net, alone and as a member of many, on every GPU."""
    found: dict[str, list[Any]] = {}
    for name, (problem, batch) in NETS.items():
        for gpu, (processors, shared_bytes) in GPUS.items():
            for alone in (True, False):
                for dtype in ("float32", "float64") if batch == 128 else ("float32",):
                    program = {"inputs": problem.inputs, "seed": 7, "dtype": dtype, "ops": problem.ops}
                    plan = module.fused_plan(program, problem.training, batch, alone, processors, shared_bytes)
                    key = f"{name}, {gpu}, {'alone' if alone else 'many'}, {dtype}"
                    found[key] = [plan[k] for k in ("blocks", "threads", "nets_per_block", "tile_rows", "bytes")]
                    found[key] += [round(plan["cycles"]), *(list(op) for op in plan["ops"])]
    return found


@pytest.mark.cuda
def test_the_plans_of_old(gpu: Any) -> None:
    """Those of before the tables: a change of the shipped numbers is a change of everyone's bits, and shows here."""
    assert plans(gpu) == json.loads(KEPT.read_text(encoding="utf-8"))


def test_the_shipped_tables_say_what_they_are() -> None:
    """Every constant has a unit and a source; the GPUs that are not measured say so and change nothing."""
    found = tuning.shipped()
    numbers = [*found["constants"].values(), *found["rates"].values()]
    assert all(set(number) == {"value", "unit", "source"} for number in numbers)
    assert all(number["source"] and number["value"] > 0 for number in numbers)
    classes = {"9.0", "8.0", "8.9", "12.0"}
    assert classes <= {entry["compute_capability"] for entry in found["gpus"].values()}
    for entry in found["gpus"].values():
        assert set(entry) <= {"compute_capability", "source", "values", "rates"}
        assert bool(entry["values"]) == entry["source"].startswith("measured")
    for _, _, values in tuning.tables():
        assert list(values) == list(found["constants"])


@pytest.mark.cuda
def test_the_compiled_engine_takes_every_constant(gpu: Any) -> None:
    assert set(gpu.tuning_names()) == set(tuning.shipped()["constants"])
    assert gpu.tuning() == {name: constant["value"] for name, constant in tuning.shipped()["constants"].items()}


@pytest.mark.cuda
@pytest.mark.parametrize(("m", "n", "k"), [(128, 512, 784), (1024, 512, 784), (512, 10, 512), (4096, 2048, 2048)])
def test_products(m: int, n: int, k: int, gpu: Any) -> None:
    """From 2^25 multiplications on the library's, but of 3xtf32; else the tile whose waves take least."""
    processors = gpu.device_info()["processors"]
    gpu.set_products("auto")

    def blocks(side: int) -> int:
        return -(-m // side) * -(-n // side)

    kernels = {"float32": (211, 64, 32), "tf32": (19.5, 8.9, 4.3), "3xtf32": (96, 24.5, 10.3)}
    for splits, (dtype, cycles) in itertools.product((False, True), kernels.items()):
        large = dtype != "3xtf32" and m * n * k >= 2**25
        parts = 1 if large else min(max(min(2 * processors // blocks(64), k // 64), 1), 16)
        count = parts if splits else 1
        times = {side: -(-blocks(side) * count // processors) * each
                 for side, each in zip((128, 64, 32), cycles, strict=True)}  # fmt: skip
        plan = gpu.product_plan(m, n, k, splits, dtype)
        assert plan == {"library": large, "splits": count, "tile": min(times, key=lambda side: times[side])}


def written(folder: Path, values: dict[str, Any], name: str = "Some GPU", capability: str = "9.0") -> str:
    path = folder / "table.json"
    content = {"gpus": {name: {"compute_capability": capability, "source": "a test", "values": values}}}
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)


@pytest.fixture
def own_table(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Lets the engine read a file, until the test is over."""

    def read(path: str) -> None:
        monkeypatch.setenv(tuning.VARIABLE, path)
        tuning.set_tables(gpu)

    yield read
    monkeypatch.delenv(tuning.VARIABLE, raising=False)
    tuning.set_tables(gpu)


@pytest.mark.cuda
def test_a_table_from_a_file_changes_plans(tmp_path: Path, gpu: Any, own_table: Callable[[str], None]) -> None:
    before, name = plans(gpu), gpu.device_info()["name"]
    product = gpu.product_plan(128, 512, 784)
    barriers = {"grid_barrier_cycles": 1.0, "grid_barrier_cycles_per_block": 0.01, "exchange_instructions": 1.0}
    own_table(written(tmp_path, {**barriers, "library_multiplications": 2**20, "tile32_cycles": 1e-9}, name))
    key = "10-64-64-10, 128, H200, alone, float32"
    assert plans(gpu)[key][0] > before[key][0], "cheap barriers: more blocks share a net"
    assert gpu.product_plan(128, 512, 784) == {"library": True, "splits": 1, "tile": 32} != product
    own_table("")  # as if it was not set
    assert plans(gpu) == before and gpu.product_plan(128, 512, 784) == product


@pytest.mark.cuda
def test_a_net_trains_by_the_table(tmp_path: Path, gpu: Any, own_table: Callable[[str], None]) -> None:
    """To the same numbers: gradients of kernels on a second stream or not, and more or fewer parts of a round."""
    problem = classifier(10, 64, 10)

    def trained() -> list[Any]:
        engine = problem.engine(devices.compiled_engine, "float32")
        result = train(engine, *problem.data(100), batch_size=20, learning_rates=np.full(5, 0.01))
        return [*engine.get_tensors(), result["totals"]]

    before = trained()
    own_table(written(tmp_path, {"side_stream": 0, "round_flops": 1.0}, gpu.device_info()["name"]))
    for one, other in zip(before, trained(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.cuda
def test_a_gpu_that_is_not_listed_takes_the_nearest(gpu: Any) -> None:
    """By compute capability; the first of several; one of its own name before all others."""
    info = gpu.device_info()
    mine = int(info["compute_capability"].replace(".", ""))
    defaults = tuning.tables()[0][2]

    def chosen(*gpus: tuple[str, int, float]) -> float:
        gpu.set_tuning([(name, capability, {**defaults, "busy_warps": value}) for name, capability, value in gpus])
        return float(gpu.tuning()["busy_warps"])

    try:
        assert chosen(("far", mine + 30, 1.0), ("near", mine + 1, 2.0), ("as near", mine - 1, 3.0)) == 2.0
        assert chosen(("near", mine, 1.0), (info["name"], mine + 30, 2.0)) == 2.0
    finally:
        gpu.set_tuning(tuning.tables())


def entry_of(**entry: Any) -> str:
    return json.dumps({"gpus": {"A": entry}})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "table.json cannot be read (Expecting property name"),
        ("[]", 'table.json has no "gpus"'),
        (entry_of(), 'table.json, "A" has no "values"'),
        (entry_of(values={}, compute_capability=9), '"A" has no compute_capability; a text such as'),
        (
            entry_of(values={"cycles": 1}, compute_capability="9.0"),
            "\"A\" sets 'cycles'; the constants are cycle_seconds",
        ),
        (entry_of(values={"busy_warps": -1}, compute_capability="9.0"), "sets busy_warps to -1; a number above 0"),
        (entry_of(values={"busy_warps": float("nan")}, compute_capability="9.0"), "sets busy_warps to nan"),
    ],
)
def test_a_bad_table_is_one_clear_error(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=f"FASTDENSE_CUDA_TABLE: .*{re.escape(message)}.*: correct the file"):
        tuning.tables(str(tmp_path / "table.json"))
    with pytest.raises(ValueError, match="FASTDENSE_CUDA_TABLE: .*none.json cannot be read"):
        tuning.tables(str(tmp_path / "none.json"))
