"""`python -m benchmarks gpu-predict --emulated FILE`: what the goals' cases should take on an H200, before any was run.

A step is nodes of a graph, and what their kernels take beyond an empty one: instructions as nvcc has made them
(`sass-sm90.json`), registers, blocks, bytes, and the rates of `fastdense/engine/gpus.json`, assumed until
`gpu-calibrate` has measured them. Which kernels run is the engine's own choice: its plans, asked from the emulated
module FILE for an H200, by the table that `FASTDENSE_CUDA_TABLE` names or the shipped one. The first run on a GPU tests
this model: `gpu --show` prints its numbers beside the measured ones.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.gpu.cases import CASES, GOALS, TITLES, GpuCase
from benchmarks.gpu.derive import by_library, chosen_splits, chosen_tile
from benchmarks.gpu.setting import use_emulated
from fastdense.cli.model import make_model
from fastdense.engine import gpu, tuning

Found = dict[str, Any]
SASS = Path(__file__).with_name("sass-sm90.json")
RESULT = Path(__file__).parents[1] / "results" / "gpu-predictions.json"
GPU = "NVIDIA H200"
# Of hand-written products: which constants choose their tiles, the kernel, and what is compiled in behind its sides.
PRODUCTS = {
    "float32": ("", "gemm_kernel<float", {32: "32, 2, 2", 64: "16, 4, 4", 128: "8, 8, 8"}),
    "bfloat16": ("mma_", "mma_kernel<Bf16Operand", {32: "64, 16, 16", 64: "32, 32, 32", 128: "32, 32, 64"}),
    "tf32": ("mma_", "mma_kernel<Tf32Operand", {32: "64, 16, 16", 64: "32, 32, 32", 128: "16, 32, 64"}),
    "3xtf32": ("tf32x3_", "mma_kernel<Tf32x3Operand", {32: "64, 16, 16", 64: "32, 32, 32", 128: "16, 32, 64"}),
}
L2_BYTES = 60e6  # operands of half as much are still there
MOST_LAST_UNITS = 32  # of a last layer that is made with its loss
LOAD_INSTRUCTIONS = 10  # for a number of its kernel, on its way to shared memory
ADAM_BYTES = 28  # of a parameter: weight and two moments read and written, gradient read


@dataclass
class Step:
    """Of one library: the nodes of a graph and the microseconds of their kernels beyond an empty one."""

    path: str
    nodes: float = 0
    kernels: dict[str, float] = field(default_factory=dict)
    us: float = 0

    def add(self, name: str, us: float = 0.0, nodes: float = 1) -> float:
        """One more kernel; returns its own time."""
        self.nodes += nodes
        self.kernels[name] = self.kernels.get(name, 0.0) + us
        return us


class Model:
    """Rates, constants and instructions."""

    def __init__(self, module: Any, table: str | None = None) -> None:
        shipped = tuning.shipped()
        own = json.loads(Path(table).read_text(encoding="utf-8"))["gpus"] if table else {}
        entry = own.get(GPU) or shipped["gpus"][GPU]
        self.rates = {name: rate["value"] for name, rate in shipped["rates"].items()} | entry.get("rates", {})
        self.constants = next(values for name, _, values in tuning.tables(table) if name == GPU)
        self.sass = json.loads(SASS.read_text(encoding="utf-8"))
        self.module = module

    def us(self, cycles: float) -> float:
        return cycles / self.rates["clock_ghz"] / 1e3

    def moved(self, size: float, rate: str = "moves_gb_per_s") -> float:
        """Microseconds for so many bytes by one of the engine's kernels."""
        return size / self.rates[rate] / 1e3

    # ---- products --------------------------------------------------------------------------------------------------

    def library(self, m: int, n: int, k: int, products: str, item: int = 4) -> float:
        """Microseconds of a product by cuBLAS: its multiplications or, with operands of `item` bytes, its memory."""
        full = self.rates[f"library_{products}_tflops"]
        part = min(1.0, (m * n * k / 2**28) ** self.rates["library_exponent"])
        size = item * (m * k + k * n + m * n)
        rate = "l2_gb_per_s" if size < L2_BYTES / 2 else "copy_gb_per_s"
        return max(self.rates["library_least_us"], 2 * m * n * k / (full * part) / 1e6, self.moved(size, rate))

    def by_hand(self, m: int, n: int, k: int, use: str, products: str, splits: int) -> tuple[float, int]:
        """Microseconds of a hand-written product, and its blocks."""
        processors = int(self.rates["processors"])
        constants, name, shapes = PRODUCTS[products]
        side = chosen_tile(m, n, splits, self.constants, processors, constants)
        layout = "true, false" if use == "gradient" else "false, true" if use == "backward" else "false, false"
        threads = 128 if products != "float32" and side < 128 else 256
        depth = int(shapes[side].split(",")[0])
        kernel = self.sass[f"{name}, {side}, {side}, {shapes[side]}, {layout}>"]
        blocks = math.ceil(m / side) * math.ceil(n / side) * splits
        most = max(1, min(65536 // (kernel["registers"] * threads), 2048 // threads))
        together = min(most, math.ceil(blocks / processors))
        waves = math.ceil(blocks / (processors * together))
        issued = threads / 128 * together  # warps for each of a multiprocessor's four schedulers
        loop = kernel["loop"]
        busiest = max(loop["all"], loop.get("HMMA", 0) * self.rates["hmma_cycles"]) * issued
        tile = max(busiest + self.rates["tile_latency_cycles"] / together, self.rates["latency_cycles"])
        outputs = side * side / threads * self.rates["outputs_instructions"] * issued
        cycles = waves * (math.ceil(math.ceil(k / splits) / depth) * tile + outputs + 2 * self.rates["latency_cycles"])
        return self.us(cycles), blocks

    def update(self, parameters: int) -> float:
        """Microseconds of Adam's step, and of its last block, which ends a training step: arrival, sums of losses."""
        return self.moved(ADAM_BYTES * parameters) + self.us(3 * self.rates["latency_cycles"])

    def last_layer(self, batch: int, inputs: int, units: int) -> tuple[float, float]:
        """Microseconds of the last layer with its loss in one kernel, and the part of the multiprocessors it uses."""
        most = 16 if units <= 16 else MOST_LAST_UNITS  # units that a kernel is compiled for
        rows, processors, warps = 64 // most, self.rates["processors"], 8
        if batch < rows * warps * processors:
            rows = 1
        kernel = self.sass[f"last_layer_kernel<float, {most}, {rows}>"]
        blocks = math.ceil(batch / (rows * warps))
        resident = min(4, 65536 // (kernel["registers"] * 32 * warps))  # by shared memory, or registers
        together = min(resident, math.ceil(blocks / processors))
        waves = math.ceil(blocks / (processors * together))
        issued = warps / 4 * together
        # forward and back take the same for 128 inputs: what the loop has for units that are not there is left out
        step = 2 * kernel["loop"]["all"] * units / most + rows * self.rates["outputs_instructions"]
        instructions = math.ceil(inputs / 128) * step + inputs * units / (32 * warps) * LOAD_INSTRUCTIONS
        row = rows * self.rates["row_instructions"] * max(self.rates["issue_factor"], issued)
        cycles = waves * (instructions * issued + row + 4 * self.rates["latency_cycles"])
        moved = self.moved(
            12 * batch * inputs, "copy_gb_per_s"
        )  # inputs, their gradients, and what the activation needs
        return max(self.us(cycles), moved), min(1.0, blocks / processors)

    # ---- ours ------------------------------------------------------------------------------------------------------

    def layers(self, case: GpuCase) -> Step:
        """Layer by layer; the gradients of kernels on a second stream."""
        widths, batch = case.task.widths, case.task.batch_size
        step, products = Step("layers"), case.products
        processors = self.rates["processors"]
        busy = 0.0  # as if all kernels shared the multiprocessors evenly

        def product(name: str, m: int, n: int, k: int, use: str, more: bool) -> float:
            nonlocal busy
            if by_library(m, n, k, self.constants, products):
                us = step.add(name, self.library(m, n, k, products))
                if more:  # the activation or its derivative, which the library does not know
                    us += step.add(f"{name}, end", self.moved(8 * m * n))
                busy += us
                return us
            splits = chosen_splits(m, n, k, self.constants, int(processors), products) if use == "gradient" else 1
            us, blocks = self.by_hand(m, n, k, use, products, splits)
            busy += us * min(1.0, blocks / processors)
            return step.add(name, us)

        path = step.add("gather", self.moved(8 * batch * widths[0]))
        busy += path
        last, fused = len(widths) - 2, widths[-1] <= MOST_LAST_UNITS
        for i, (k, n) in enumerate(zip(widths, widths[1 : len(widths) - fused], strict=False)):
            path += product(f"forward {i + 1}", batch, n, k, "forward", i < last)
        if fused:
            us, part = self.last_layer(batch, *widths[-2:])
            path += step.add("last layer", us)
            busy += us * part
        else:
            path += step.add("loss", self.moved(12 * batch * widths[-1]) + self.us(self.rates["latency_cycles"]))
        side = path
        for i in range(last, -1, -1):
            k, n = widths[i], widths[i + 1]
            side = max(side, path) + product(f"gradient {i + 1}", k, n, batch, "gradient", False)
            if i and not (fused and i == last):
                path += product(f"backward {i + 1}", batch, k, n, "backward", True)
        parameters = sum((n + 1) * u for n, u in zip(widths, widths[1:], strict=False))
        path = max(path, side) + step.add("update", self.update(parameters))
        on_path = step.nodes - len(widths) + 2  # gradients but the first layer's run beside others
        step.us = on_path * self.rates["plain_node_us"] + max(path, busy)
        return step

    @contextmanager
    def assumed(self, plan: Found, starts: int) -> Iterator[None]:
        """The engine's plans, made by the rates instead of the table, and this one alone."""
        cycle = 1e-9 / self.rates["clock_ghz"]
        numbers = {
            "least_phase_factor": self.rates["issue_factor"],
            "step_cycles": 3 * self.rates["latency_cycles"]
            + self.rates["step_instructions"] * self.rates["issue_factor"],
            "grid_barrier_cycles": self.rates["grid_barrier_us"] * 1e-6 / cycle,
            "grid_barrier_cycles_per_block": self.rates["grid_barrier_us_per_block"] * 1e-6 / cycle,
            "l2_bytes_per_cycle": self.rates["l2_gb_per_s"] * 1e9 * cycle,
        }
        table = [(GPU, 90, self.constants | numbers)]
        self.module.set_tuning(table)
        self.module.set_wholenet(plan["threads"], plan["blocks"] if starts == 1 else 0, plan["tile_rows"])
        try:
            yield
        finally:
            self.module.set_wholenet()
            self.module.set_tuning([(GPU, 90, self.constants)])

    def plan(self, case: GpuCase) -> Found:
        """The whole-net kernel's plan for an H200."""
        model = make_model(case.task)
        sizes = (int(self.rates["processors"]), int(self.rates["shared_bytes"]))
        training = model.runner._training
        return dict(self.module.fused_plan(model.net.program, training, case.task.batch_size, case.starts == 1, *sizes))

    def whole_net(self, case: GpuCase) -> Step | None:
        """One kernel for many steps, or None if the engine takes another way."""
        if case.products not in ("float32", "3xtf32") or max(case.task.widths) > 128:
            return None
        self.module.set_tuning([(GPU, 90, self.constants)])
        plan = self.plan(case)
        if plan["why_not"] or not (plan["worth_it"] or case.starts > 1):
            return None
        with self.assumed(plan, case.starts):
            cycles = self.plan(case)["cycles"]
        how = f"{plan['threads']} threads, {plan['blocks']} blocks, tiles of {plan['tile_rows']} rows"
        step = Step(f"whole net: {how}")
        if case.starts > 1:
            most = min(
                self.rates["shared_bytes"] // plan["bytes"],
                16 if plan["threads"] == 32 else max(1, 65536 // (168 * plan["threads"])),
            )
            warps = most * plan["threads"] / 32
            waves = math.ceil(case.starts / (most * self.rates["processors"]))
            cycles *= waves * max(1.0, warps / self.constants["busy_warps"])
            step.path += f", {most:.0f} nets a multiprocessor, {waves} waves"
        step.us = step.add("step", self.us(cycles), nodes=0)
        return step

    def mlp(self, case: GpuCase) -> Step | None:
        """A whole net of tf32 or bfloat16 in one kernel, or None if it is not for this net."""
        widths, batch = case.task.widths, case.task.batch_size
        if case.products not in ("tf32", "bfloat16") or max(widths) > 128 or batch < self.constants["mlp_rows"]:
            return None
        self.module.set_tuning([(GPU, 90, self.constants)])
        model, processors = make_model(case.task), int(self.rates["processors"])
        plan = self.module.mlp_plan(
            model.net.program, model.runner._training, batch, processors, int(self.rates["shared_bytes"])
        )
        if plan is None:
            return None
        rows, warps, item = plan["tile_rows"], plan["warps"], 2 if case.products == "bfloat16" else 4
        parts = math.ceil(batch / rows)
        parameters = sum((n + 1) * u for n, u in zip(widths, widths[1:], strict=False))
        if plan["by_rows"]:
            step = Step(f"{rows} rows a warp, gradients by products")
            blocks, waves = min(processors, parts), math.ceil(parts / (processors * warps))
            cycles = math.ceil(parts / processors) * self.mlp_rows(widths, rows, item, plan["relu"])
        else:
            step = Step(f"tiles of {rows} rows by {warps} warps")
            together = 16 // warps  # blocks of a multiprocessor, which hide each other's latency
            blocks, waves = min(processors * together, parts), math.ceil(parts / (processors * together))
            cycles = waves * together * self.mlp_tile(widths, rows, warps, item, plan["relu"])
        cycles = cycles / self.rates["mlp_efficiency"] + waves * 2 * self.rates["latency_cycles"]
        moved = self.moved(plan["bytes_per_row"] * batch + 4 * batch * widths[0], "copy_gb_per_s")
        step.add("net", max(self.us(cycles), moved))  # it writes what the products need meanwhile
        step.add("weights of blocks", self.moved(4 * parameters * blocks, "l2_gb_per_s"), nodes=0)
        step.add("sum of blocks", self.moved(4 * plan["part"] * blocks, "l2_gb_per_s"))
        if plan["by_rows"]:
            for n, u in zip(widths, widths[1:], strict=False):
                step.add("gradients", self.library(n, u, batch, case.products, item), nodes=0)
            step.nodes += math.ceil((len(widths) - 1) / 2)  # on two streams
        step.add("update", self.update(parameters))
        step.us = step.nodes * self.rates["plain_node_us"] + sum(step.kernels.values())
        return step

    def most(self, hmma: float, instructions: float, shared: float) -> float:
        """Cycles of a multiprocessor for what limits it; `shared`: those of its shared memory."""
        return max(hmma * self.rates["hmma_cycles"] / 4, instructions / 4, shared)

    def mlp_tile(self, widths: Sequence[int], rows: int, warps: int, item: int, relu: bool) -> float:
        """Cycles of a multiprocessor for a tile of rows of a block, at full use of what limits it."""
        operand = "Bf16Operand" if item == 2 else "Tf32Operand"
        loop = self.sass[f"mlp_kernel<{operand}, {warps}, {str(relu).lower()}>"]["loop"]
        loads = (4 * loop.get("LDSM", 0) + loop.get("LDS", 0)) / loop["HMMA"]
        hmma = instructions = shared = 0.0
        for number, (n, u) in enumerate(zip(widths, widths[1:], strict=False)):
            i, o, r = math.ceil(n / 16), math.ceil(u / 16), rows // 16
            products = [(r, o, i, True), (i, o, r, False), *([(r, i, o, True)] if number else [])]
            for row_tiles, col_tiles, terms, ends in products:
                tiles = row_tiles * col_tiles
                multiplied = tiles * terms * item
                alone = row_tiles <= warps // min(col_tiles, warps // 2)  # no warp has two tiles that share an operand
                more = 4 / 3 if alone else 1
                hmma += multiplied
                instructions += more * multiplied * loop["all"] / loop["HMMA"]
                instructions += tiles * self.rates["tile_instructions"] if ends else 0
                shared += more * multiplied * loads + tiles * self.rates["tile_shared_cycles"]
        return self.most(hmma, instructions, shared)

    def mlp_rows(self, widths: Sequence[int], rows: int, item: int, relu: bool) -> float:
        """The same for the rows of a warp. The loop is that of a column of tiles with all 128 terms, and its end."""
        operand, tiles = "Bf16Operand" if item == 2 else "Tf32Operand", rows // 16
        loop = self.sass[f"mlp_rows_kernel<{operand}, {tiles}, {str(relu).lower()}>"]["loop"]
        hmma = instructions = shared = 0.0
        for number, (n, u) in enumerate(zip(widths, widths[1:], strict=False)):
            i, o = math.ceil(n / 16), math.ceil(u / 16)
            for columns, terms in ((o, i), *([(i, o)] if number else [])):
                hmma += columns * terms * tiles * item
                instructions += columns * loop["all"]
                shared += columns * terms / 8 * (4 * loop.get("LDSM", 0) + loop.get("LDS", 0))
                shared += columns * tiles * self.rates["tile_shared_cycles"]
        return self.most(hmma, instructions, shared)

    # ---- PyTorch ---------------------------------------------------------------------------------------------------

    def graph(self, case: GpuCase) -> Step:
        """B2: gathering, compiled loss and gradient, Adam; element-wise kernels move what they read and write."""
        widths, batch = case.task.widths, case.task.batch_size
        step, pairs = Step("torch-graph"), list(zip(widths, widths[1:], strict=False))
        products = "float32" if case.products == "3xtf32" else case.products  # which PyTorch does not have
        size = 2 if products == "bfloat16" else 4
        step.add("batch, gathers, slot, loss kept", self.moved(8 * batch * widths[0], "copy_gb_per_s"), 6)
        for i, (k, n) in enumerate(pairs):
            step.add("products", self.library(batch, n, k, products, size))
            step.add("products", self.library(k, n, batch, products, size))
            if i:
                step.add("products", self.library(batch, k, n, products, size))
            elementwise = 2 if i + 1 < len(pairs) else 1  # forward and backward of the activation; sums of the bias
            step.add("element-wise", self.moved(5 * size * batch * n, "copy_gb_per_s"), elementwise + 1)
            if size == 2:
                step.add("casts", self.moved(6 * k * n, "copy_gb_per_s"))
        step.add("loss", self.moved(12 * batch * widths[-1], "copy_gb_per_s"), 2)
        parameters = sum((n + 1) * u for n, u in pairs)
        step.add("adam", self.moved(ADAM_BYTES * parameters, "copy_gb_per_s"), 2)
        step.us = step.nodes * self.rates["plain_node_us"] + sum(step.kernels.values())
        return step

    def eager(self, case: GpuCase) -> Step:
        """B0: as many operations of the host; the GPU is faster than that, or as fast as in a graph."""
        operations = 12 + 9 * (len(case.task.widths) - 1)
        step = Step("torch", operations)
        step.us = max(operations * self.rates["eager_op_us"], self.graph(case).us)
        return step

    def vmap_graph(self, case: GpuCase) -> Step:
        """All nets by vmap, not compiled, in a graph: every operation reads and writes all activations."""
        widths, batch, starts = case.task.widths, case.task.batch_size, case.starts
        step, pairs = Step("vmap-graph"), list(zip(widths, widths[1:], strict=False))
        step.add("batch, gathers, slot, loss kept", 0.0, 8)
        for i, (k, n) in enumerate(pairs):
            flops = (4 if i == 0 else 6) * starts * batch * k * n
            step.add("products", flops / self.rates["batched_tflops"] / 1e6, 2 if i == 0 else 3)
            passes = 8 if i + 1 < len(pairs) else 10  # bias, activation, its derivative, sums; of the last the loss
            step.add("element-wise", self.moved(4 * passes * starts * batch * n, "copy_gb_per_s"), 5)
        parameters = starts * sum((n + 1) * u for n, u in pairs)
        step.add("adam", self.moved(ADAM_BYTES * parameters, "copy_gb_per_s"), 2)
        step.us = step.nodes * self.rates["plain_node_us"] + sum(step.kernels.values())
        return step

    def steps(self, case: GpuCase) -> dict[str, Step]:
        """Of fastdense and of the baselines of the case's goals."""
        ours = self.whole_net(case) or self.mlp(case) or self.layers(case)
        ways = {"torch": self.eager, "torch-graph": self.graph, "vmap-graph": self.vmap_graph}
        return {"fastdense": ours, **{name: ways[name](case) for name in case.goal_baselines}}


IF = {"products of fewer than 2^28 multiplications are ours": {"library_multiplications": 2.0**28}}


def predictions(model: Model) -> Found:
    """All cases with goals, and the goals by their worst case: by the table, and if constants of it were others."""
    found: Found = {"gpu": GPU, "rates": model.rates, **by_table(model), "if": {}}
    own = model.constants
    for change, constants in IF.items():
        model.constants = own | constants
        found["if"][change] = by_table(model)["goals"]
    model.constants = own
    return found


def by_table(model: Model) -> Found:
    """The cases and the goals, by the constants of this moment."""
    cases: Found = {}
    for case in CASES:
        if case.goals:
            steps = model.steps(case)
            ours = steps["fastdense"].us
            cases[case.name] = {
                **{name: {**asdict(step), "us": round(step.us, 2)} for name, step in steps.items()},
                "ratios": {name: round(step.us / ours, 2) for name, step in steps.items() if name != "fastdense"},
            }
    goals = []
    for goal in GOALS:
        worst = min(cases[case.name]["ratios"][goal.baseline] for case in CASES if goal.holds(case))
        goals.append({"text": goal.text, "baseline": goal.baseline, "least": goal.least, "worst": worst})
    return {"cases": cases, "goals": goals}


HEAD = """\
# Predictions for the goals on an H200

Made before anything ran on a GPU, by `python -m benchmarks gpu-predict`. A step is nodes of a graph, each with the time
of an empty one, and what their kernels take beyond that. Nothing here is measured; what is assumed stands at the end.
"""
TAIL = """
Nodes of PyTorch's graphs are counted by hand: what torch.compile fuses is assumed. Products of the second stream run
beside those of the first as far as there are multiprocessors. The whole-net kernel is the engine's cost model with
these rates in place of the table's. Rows of a net in one kernel take their multiplications, the instructions of its
loops and ends, or its accesses of shared memory, whichever is most, by `mlp_efficiency`, and two latencies; what it
writes for products of cuBLAS goes on meanwhile. Those products and PyTorch's take their multiplications or their
memory, from the L2 cache if they are no more than half of it.
"""


def table(*rows: Sequence[str]) -> list[str]:
    """A table of Markdown; the first row is the head."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return ["", lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]


def markdown(found: Found) -> str:
    """The predictions as a page."""
    goals = [
        ["goal", "times as fast as", "needed", "predicted, worst case", "", *(f"if {change}" for change in found["if"])]
    ]
    for number, goal in enumerate(found["goals"]):
        verdict = "reached" if goal["worst"] >= goal["least"] else "missed"
        cells = [goal["text"], TITLES[goal["baseline"]], f"≥ {goal['least']:g}", report.times(goal["worst"]), verdict]
        goals.append([*cells, *(report.times(others[number]["worst"]) for others in found["if"].values())])
    cases = [["case", "fastdense: path", "nodes", "µs a step", "largest kernels, µs", "ratios (µs)"]]
    for name, case in found["cases"].items():
        ours = case["fastdense"]
        largest = sorted(ours["kernels"].items(), key=lambda entry: -entry[1])[:3]
        kernels = ", ".join(f"{kernel} {us:.1f}" for kernel, us in largest)
        ratios = [
            f"{report.times(value)} × {TITLES[way]} ({case[way]['us']:.0f})" for way, value in case["ratios"].items()
        ]
        cases.append([name, ours["path"], f"{ours['nodes']:g}", f"{ours['us']:.1f}", kernels, ", ".join(ratios)])
    rates = [["rate", "value", "unit", "source"]]
    shipped = tuning.shipped()["rates"]
    for name, value in found["rates"].items():
        own = name in shipped and shipped[name]["value"] == value
        rates.append(
            [
                f"`{name}`",
                f"{value:g}",
                shipped.get(name, {"unit": ""})["unit"],
                shipped[name]["source"] if own else "measured",
            ]
        )
    return HEAD + "\n".join([*table(*goals), *table(*cases), *table(*rates)]) + "\n" + TAIL


def main(arguments: Sequence[str]) -> int:
    """Write the predictions as JSON and as a page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu-predict", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--emulated", metavar="FILE", required=True, help="the emulated module of the tests, which plans"
    )
    parser.add_argument("--table", metavar="FILE", help="a calibration, instead of what is shipped and assumed")
    parser.add_argument("--out", type=Path, default=RESULT, metavar="FILE", help="default: %(default)s")
    options = parser.parse_args(arguments)
    use_emulated(options.emulated)
    module = gpu.require()
    module.set_path("auto")
    found = predictions(Model(module, options.table))
    options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    text = markdown(found)
    options.out.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)
    return 0
