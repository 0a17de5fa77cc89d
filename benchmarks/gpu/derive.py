"""From what `calibrate` has measured to the constants that plans read, and to the rates that predictions use."""

from __future__ import annotations

import math
from statistics import median
from typing import Any

import numpy as np

Found = dict[str, Any]
# Of equals the first is taken: what plans assumed before anything was measured, then its neighbours.
SIDES = (128, 64, 32)  # of the tiles of hand-written products
# Of hand-written products: what their constants begin with, the path, and what is measured for them.
KERNELS = (("", "simt", "float32"), ("mma_", "mma", "bfloat16"), ("tf32x3_", "mma", "3xtf32"))
THRESHOLDS = tuple(sorted((2.0**i for i in range(18, 35)), key=lambda t: abs(math.log2(t) - 25)))


def numbered(found: Found | None) -> list[tuple[float, float]]:
    """(size, seconds) of one row of measurements, whose keys JSON has made texts; without those that are not here."""
    return sorted((float(key), value) for key, value in (found or {}).items() if value is not None)


def slope(points: list[tuple[float, float]]) -> tuple[float, float] | None:
    """Fixed part and part for each unit, by least squares; None of fewer than two points."""
    if len(points) < 2:
        return None
    each, fixed = np.polyfit([x for x, _ in points], [y for _, y in points], 1)
    return float(fixed), float(each)


def by_shape(rows: list[Found], precision: str) -> dict[tuple[Any, ...], dict[tuple[str, int], Found]]:
    """Products of a precision: by what was made, all ways to make it."""
    found: dict[tuple[Any, ...], dict[tuple[str, int], Found]] = {}
    for row in rows:
        if row["precision"] == precision:
            found.setdefault((*row["shape"], row["use"]), {})[row["path"], row["tile"]] = row
    return found


def waves(m: int, n: int, splits: int, side: int, processors: int) -> int:
    """Tiles that the busiest processor makes of a hand-written product."""
    return math.ceil(math.ceil(m / side) * math.ceil(n / side) * splits / processors)


def chosen_tile(m: int, n: int, splits: int, constants: Found, processors: int, kernel: str = "") -> int:
    """As `Products::tile` chooses it; `kernel` is "mma_" or "tf32x3_" for those for tensor cores."""
    return min(SIDES, key=lambda side: waves(m, n, splits, side, processors) * constants[f"{kernel}tile{side}_cycles"])


def by_library(m: int, n: int, k: int, constants: Found, products: str) -> bool:
    """As `Products::large` has it."""
    return products != "3xtf32" and m * n * k >= constants["library_multiplications"]


def chosen_splits(m: int, n: int, k: int, constants: Found, processors: int, products: str = "float32") -> int:
    """As `Products::splits` cuts the sum of a kernel's gradient."""
    if by_library(m, n, k, constants, products):
        return 1
    wanted = int(constants["split_blocks_per_processor"] * processors)
    parts = min(wanted // (math.ceil(m / 64) * math.ceil(n / 64)), int(k / constants["split_depth"]))
    return max(1, min(parts, 16))


def tile_cycles(rows: list[Found], path: str, precision: str, processors: int, cycle: float) -> dict[int, float]:
    """Cycles of a processor for a term of a tile, by its side: medians over the shapes that were measured."""
    found: dict[int, list[float]] = {}
    for (m, n, k, _), ways in by_shape(rows, precision).items():
        for side in SIDES:
            if (row := ways.get((path, side))) is not None:
                terms = math.ceil(k / row["splits"]) * waves(m, n, row["splits"], side, processors)
                found.setdefault(side, []).append(row["seconds"] / terms / cycle)
    return {side: median(each) for side, each in found.items()}


def product_choice(rows: list[Found], processors: int, cycle: float) -> Found:
    """The cycles of each tile, and the threshold of the library for the least geometric mean of all times with them."""
    values: Found = {}
    for kernel, path, precision in KERNELS:
        found = tile_cycles(rows, path, precision, processors, cycle)
        if len(found) == len(SIDES):
            values |= {f"{kernel}tile{side}_cycles": cycles for side, cycles in found.items()}
    shapes = by_shape(rows, "float32")
    best: tuple[float, float] | None = None
    for threshold in THRESHOLDS if "tile32_cycles" in values else ():
        times = []
        for (m, n, k, _), ways in shapes.items():
            hand = next((row for (path, _), row in ways.items() if path == "simt"), None)
            tile = chosen_tile(m, n, hand["splits"] if hand else 1, values, processors)
            way = ("cublaslt", 0) if m * n * k >= threshold else ("simt", tile)
            if way in ways:
                times.append(math.log(ways[way]["seconds"]))
        if len(times) == len(shapes) and times:
            cost = sum(times) / len(times)
            if best is None or cost < best[0] - 1e-9:
                best = cost, threshold
    return values if best is None else {**values, "library_multiplications": best[1]}


def crossover(rows: list[Found]) -> float | None:
    """The least batch from which on the kernel of tiles of rows beats layer by layer on every net that was tried."""
    ahead: dict[int, bool] = {}
    for batch in {row["batch"] for row in rows}:
        for case in {row["case"] for row in rows}:
            times = {row["tile"]: row["seconds"] for row in rows if (row["case"], row["batch"]) == (case, batch)}
            if -1 in times and 0 in times:
                ahead[batch] = ahead.get(batch, True) and times[0] < times[-1]
    least = None
    for batch in sorted(ahead, reverse=True):
        if not ahead[batch]:
            break
        least = batch
    return None if least is None else float(least)


def table(measured: Found, defaults: Found, processors: int) -> Found:
    """Of a measurement "values", the constants that follow directly, and "rates", what `predict` assumes.

    A difference of two times that is not above 0 was disturbed, and counts for nothing.
    """
    values: Found = {}
    rates: Found = {}
    chains = measured.get("graphs", {})
    for kind in chains:
        line = slope(numbered(chains[kind])[-3:])
        if line and line[1] > 0:
            rates[f"{kind}_node_us"] = round(1e6 * line[1], 3)
    nets = [row for row in measured.get("wholenet", []) if row["seconds"] > 0]
    by_layers = [row for row in nets if row.get("path") == "layers"]
    if by_layers:  # small nets: a step is its launches
        each = [
            row["seconds"] / (defaults["launches_per_step"] + defaults["launches_per_op"] * row["ops"])
            for row in by_layers
        ]
        values["launch_seconds"] = median(each)
    alone = [row for row in nets if row.get("blocks") == 1 and row.get("starts") == 1]
    cycle = defaults["cycle_seconds"]
    if alone:
        cycle = values["cycle_seconds"] = median(row["seconds"] / row["cycles"] for row in alone)
    barrier = slope(numbered(measured.get("barriers", {}).get("grid")))
    if barrier:
        rates["grid_barrier_us"], rates["grid_barrier_us_per_block"] = (round(1e6 * part, 4) for part in barrier)
        if min(barrier) > 0:
            values["grid_barrier_cycles"] = barrier[0] / cycle
            values["grid_barrier_cycles_per_block"] = barrier[1] / cycle
    values |= product_choice(measured.get("products", []), processors, cycle)
    sides = [pair for pair in measured.get("side_stream", {}).values() if min(pair) > 0]
    if sides:
        values["side_stream"] = int(sum(math.log(off / on) for off, on in sides) >= 0)
    if (least := crossover(measured.get("mlp", []))) is not None:
        values["mlp_rows"] = least
    speeds = {
        kind: max(value for _, value in numbered(sizes)) / 1e9 for kind, sizes in measured.get("memory", {}).items()
    }
    if "copy" in speeds:
        rates["copy_gb_per_s"] = round(speeds.pop("copy"), 1)
    if speeds:
        rates["moves_gb_per_s"] = round(median(speeds.values()), 1)
    return {"values": {name: float(f"{value:.6g}") for name, value in values.items()}, "rates": rates}


def summary(result: Found) -> list[str]:
    """The table of a result, a line for each number; of each net the best plan."""
    found = next(iter(result["gpus"].values()), {"values": {}, "rates": {}})
    lines = [f"{name} = {value:g}" for name, value in {**found["values"], **found["rates"]}.items()]
    best: dict[str, Found] = {}
    for row in result["measured"].get("wholenet", []):
        if row["seconds"] > 0 and row["seconds"] < best.get(row["case"], {"seconds": math.inf})["seconds"]:
            best[row["case"]] = row
    for name, row in best.items():
        how = " ".join(
            f"{key} {row[key]}" for key in ("threads", "blocks", "tile_rows", "nets_per_block") if key in row
        )
        lines.append(f"{name}: {1e6 * row['seconds']:.2f} us a step, {row['path']} {how}".rstrip())
    return lines
