"""What a calibration makes of measurements, and that all of it runs on the emulator, where its times mean nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import calibrate, derive
from fastdense.engine import tuning

ROOT = Path(__file__).parents[2]
DEFAULTS = {name: constant["value"] for name, constant in tuning.shipped()["constants"].items()}


def measured_product(m: int, n: int, k: int, path: str, tile: int, seconds: float) -> dict[str, Any]:
    row = {"shape": [m, n, k], "use": "forward", "precision": "float32", "path": path, "tile": tile}
    return {**row, "seconds": seconds, "error": 0.1, "splits": 1}


def test_constants_follow_from_what_was_measured() -> None:
    measured = {
        "graphs": {
            "plain": {str(n): 5e-6 + 1.25e-6 * n for n in (1, 2, 4, 8, 16, 32)},
            "programmatic": {"1": None, "2": None},
        },
        "barriers": {"grid": {str(n): 1e-6 + 5e-9 * n for n in (2, 16, 132)}, "cluster": {"2": 2e-7}},
        "memory": {
            "copy": {"1.0": 1e12, "64.0": 4.3e12},
            "finish": {"64.0": 3e12}, "gather": {"64.0": 1e12}, "update": {"1.0": 2e12, "64.0": 1.5e12},
        },
        "side_stream": {"128": [9e-5, 8e-5], "1024": [10e-5, 11e-5]},
        "wholenet": [
            {"case": "a", "starts": 1, "blocks": 1, "cycles": 1000.0, "seconds": 5e-7},
            {"case": "a", "starts": 1, "blocks": 2, "cycles": 1000.0, "seconds": 9e-7},
            {"case": "a", "path": "layers", "ops": 2, "seconds": 1.8e-5},
        ],
        "mlp": [
            {"case": case, "batch": batch, "tile": tile, "seconds": seconds}
            for case in ("x", "y")
            for batch, times in ((1024, (1, 2, 3)), (4096, (2, 1, 3)))
            for tile, seconds in zip((-1, 0, 32), times, strict=True)
        ],
    }  # fmt: skip
    found = derive.table(measured, DEFAULTS, 132)
    assert found["values"] == pytest.approx({
        "launch_seconds": 2e-6, "cycle_seconds": 5e-10, "grid_barrier_cycles": 2000.0,
        "grid_barrier_cycles_per_block": 10.0, "side_stream": 1.0, "mlp_rows": 4096.0,
    }, rel=1e-3)  # fmt: skip
    assert found["rates"] == pytest.approx({
        "plain_node_us": 1.25, "grid_barrier_us": 1.0, "grid_barrier_us_per_block": 0.005, "copy_gb_per_s": 4300.0,
        "moves_gb_per_s": 2000.0,
    }, rel=1e-3)  # fmt: skip
    assert derive.table({}, DEFAULTS, 132) == {"values": {}, "rates": {}}
    disturbed = {
        "side_stream": {"128": [-1e-5, 8e-5]},
        "wholenet": [{**row, "seconds": -1e-6} for row in measured["wholenet"]],
    }
    assert derive.table(disturbed, DEFAULTS, 132)["values"] == {}


def test_the_choice_of_products_takes_the_fastest() -> None:
    """A library that wins from 2^24 multiplications on, and tiles of so many cycles a term."""
    rows, cycles = [], {32: 20.0, 64: 50.0, 128: 400.0}
    for side in (128, 256, 512, 1024):
        tiles = {tile: derive.waves(side, side, 1, tile, 8) * side * each * 1e-9 for tile, each in cycles.items()}
        rows += [measured_product(side, side, side, "simt", tile, seconds) for tile, seconds in tiles.items()]
        rows.append(
            measured_product(side, side, side, "cublaslt", 0, min(tiles.values()) * (0.5 if side >= 256 else 2))
        )
    found = derive.product_choice(rows, 8, 1e-9)
    assert found == pytest.approx(
        {"library_multiplications": 2**24, **{f"tile{k}_cycles": v for k, v in cycles.items()}}
    )
    assert derive.product_choice([row for row in rows if row["tile"] == 32], 8, 1e-9) == {}, "all sides are measured"


@pytest.mark.cuda
@pytest.mark.parametrize(("splits", "side"), [(1, 100), (1, 300), (4, 100), (4, 300)])
def test_tiles_are_chosen_as_the_engine_does(splits: int, side: int, gpu: Any) -> None:
    gpu.set_products("auto")
    processors = gpu.device_info()["processors"]
    made = gpu.product_plan(side, side, 64 * splits, splits > 1)
    assert derive.chosen_tile(side, side, made["splits"], gpu.tuning(), processors) == made["tile"]


def test_a_table_is_adopted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {"compute_capability": "9.0", "source": "measured", "values": {"busy_warps": 20.0}, "rates": {"copy": 1.0}}
    (tmp_path / "out.json").write_text(json.dumps({"measured": {}, "gpus": {"NVIDIA H200": entry}}), encoding="utf-8")
    shutil.copy(tuning.SHIPPED, tmp_path / "gpus.json")
    before = tuning.SHIPPED.read_text(encoding="utf-8")
    monkeypatch.setattr(tuning, "SHIPPED", tmp_path / "gpus.json")
    calibrate.write_shipped(tuning.shipped())
    assert (tmp_path / "gpus.json").read_text(encoding="utf-8") == before, "one entry a line"
    assert calibrate.main(["--adopt", str(tmp_path / "out.json")]) == 0
    assert {name: values["busy_warps"] for name, _, values in tuning.tables()}["NVIDIA H200"] == 20.0
    assert tuning.shipped()["gpus"]["NVIDIA H200"] == entry


@pytest.mark.cuda
def test_everything_runs_on_the_emulator(tmp_path: Path, gpu: Any) -> None:
    if not gpu.EMULATED:
        pytest.skip("on a GPU it is measured, not tested")
    if not Path(gpu.__file__).with_name(calibrate.LIBRARY.name).is_file():
        pytest.skip("calibrate.cu was not built: cmake --build ... --target fastdense_calibrate_plain")
    out = tmp_path / "calibration.json"
    words = [sys.executable, "-m", "benchmarks", "gpu-calibrate", "--emulated", gpu.__file__, "--out", str(out)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text(encoding="utf-8"))
    measured = found["measured"]
    assert set(measured) == set(calibrate.SECTIONS) and not found["failed"]
    assert set(measured["graphs"]) == set(calibrate.CHAINS) and measured["graphs"]["programmatic"]["1"] is None
    assert {(row["use"], row["path"], row["tile"]) for row in measured["products"]} >= {
        *product(calibrate.USES, ("simt",), (32, 64, 128)), ("forward", "cublaslt", 0), ("forward", "mma", 64)
    }  # fmt: skip
    assert {row["path"] for row in measured["products"] if row["precision"] == "3xtf32"} == {"mma"}
    assert all(0 <= row["error"] <= 1 for row in measured["products"]), "all kernels make the same product"
    assert {row["path"] for row in measured["wholenet"]} == {"layers", "whole net"}
    assert [row["tile"] for row in measured["mlp"]] == [0, 0]
    assert list(found["gpus"]) == [gpu.device_info()["name"]]
    assert tuning.tables(str(out))[0][0] == gpu.device_info()["name"], "the file is one that plans can read"
    again = subprocess.run(
        [*words, "--only", "graphs", "--after", str(out)], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert again.returncode == 0 and set(json.loads(out.read_text(encoding="utf-8"))["measured"]) == set(measured)
