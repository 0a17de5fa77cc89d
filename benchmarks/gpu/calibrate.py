"""`python -m benchmarks gpu-calibrate --out FILE`: measure what the plans of the CUDA engine take for granted.

Below Python (`calibrate.cu`): nodes of graphs, barriers, single products by every kernel, memory. Above it: the nets of
the goals by every plan that the engine considers, best guesses first. FILE holds everything measured, and a table of
this GPU that `FASTDENSE_CUDA_TABLE=FILE` makes plans read; `--adopt FILE` puts it into the package. It is written after
each section, and sections end when the time is up. With `--emulated FILE` all of it runs on the emulator, for tests.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import fastdense as fd
from benchmarks.cases import load
from benchmarks.gpu import derive
from benchmarks.gpu.cases import CASES, GpuCase
from benchmarks.gpu.fastdense_side import on_device
from benchmarks.gpu.machine import nvidia_smi
from benchmarks.gpu.run import start_weights
from benchmarks.gpu.setting import first_line, use_emulated
from benchmarks.machine import describe
from fastdense.cli.baselines import Task
from fastdense.cli.model import make_model
from fastdense.engine import gpu, tuning

Found = dict[str, Any]
ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "build" / "gpu-session" / "cmake" / "fastdense_calibrate.so"
CHAINS = ("plain", "programmatic", "forked")
USES = ("alone", "forward", "backward", "gradient")
PRECISIONS = ("float32", "tf32", "bfloat16", "3xtf32")
PATHS = {"simt": 1, "mma": 2, "cublaslt": 3}
MOVES = ("copy", "finish", "gather", "update")


class Measured(ctypes.Structure):
    """As in `calibrate.cu`."""

    _fields_ = [
        ("seconds", ctypes.c_double),
        ("error", ctypes.c_double),
        ("tile", ctypes.c_int),
        ("splits", ctypes.c_int),
        ("library", ctypes.c_int),
    ]


class Library:
    """The C functions of `calibrate.cu`, with the table of this GPU.

    Raises
    ------
    OSError
        If there is no such file, or it cannot be loaded.
    """

    def __init__(self, path: Path, module: Any) -> None:
        self.c = ctypes.CDLL(str(path))
        self.c.fd_error.restype = ctypes.c_char_p
        values = module.tuning()
        names = module.tuning_names()
        self.call("fd_tuning", (ctypes.c_double * len(names))(*(values[name] for name in names)))
        folders = gpu.library_folders()
        self.call("fd_libraries", b"".join(folder.encode() + b"\0" for folder in folders), len(folders))

    def call(self, name: str, *arguments: Any) -> float | None:
        """What a function gives; None if this device has no such thing.

        Raises
        ------
        RuntimeError
            If it failed.
        """
        function = getattr(self.c, name)
        function.restype = ctypes.c_double
        found = float(function(*arguments))
        if found == -2:
            return None
        if found == -1:
            raise RuntimeError(f"{name}: {self.c.fd_error().decode()}")
        return found

    def product(self, shape: Sequence[int], use: str, precision: str, path: str, tile: int, repeats: int) -> Any:
        """Seconds and error of one product; None if there is no such kernel."""
        out = Measured()
        sizes = [ctypes.c_int64(size) for size in shape]
        choice = (USES.index(use), PRECISIONS.index(precision), PATHS[path], tile, repeats)
        return None if self.call("fd_product", *sizes, *choice, ctypes.byref(out)) is None else out


@dataclass
class Work:
    """What every section may use."""

    module: Any
    library: Library | None
    small: bool  # on the emulator
    thorough: bool  # more plans of each net
    end: float

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self.end


# ---- below Python --------------------------------------------------------------------------------------------------


def graphs(work: Work) -> Found:
    """Seconds of a graph of so many nodes: one behind the other; each starting early; each with another beside it."""
    assert work.library is not None
    counts, repeats = ((1, 3), 2) if work.small else ((1, 2, 4, 8, 16, 32), 300)
    return {
        kind: {nodes: work.library.call("fd_chain", nodes, number, repeats) for nodes in counts}
        for number, kind in enumerate(CHAINS)
    }


def barriers(work: Work) -> Found:
    """Seconds of a barrier of so many blocks: of a whole grid, of a cluster."""
    assert work.library is not None
    grid, count = ((2, 3), 3) if work.small else ((2, 4, 8, 16, 32, 64, 100, 132), 2000)
    return {
        "grid": {blocks: work.library.call("fd_grid_barrier", blocks, count) for blocks in grid},
        "cluster": {blocks: work.library.call("fd_cluster_barrier", blocks, count) for blocks in (2, 4, 8)},
    }


def shapes(small: bool) -> list[tuple[tuple[int, int, int], str, str]]:
    """Products as (m, n, k), their use and their precision: those of the middle nets, wide ones, and some between."""
    if small:
        return [((37, 40, 20), use, "float32") for use in USES] + [
            ((40, 33, 24), "forward", name) for name in ("bfloat16", "3xtf32")
        ]
    found = [((n, n, n), "alone", "float32") for n in (64, 128, 256, 1024)]
    wide = [((4096, 2048, 2048), "forward"), ((4096, 2048, 2048), "backward"), ((2048, 2048, 4096), "gradient")]
    for batch in (256, 1024, 128, 512):
        widths = [784, 512, 512, 10]
        found += [((batch, n, k), "forward", "float32") for k, n in zip(widths, widths[1:], strict=False)]
        found += [((batch, k, n), "backward", "float32") for k, n in zip(widths[1:], widths[2:], strict=False)]
        found += [((k, n, batch), "gradient", "float32") for k, n in zip(widths, widths[1:], strict=False)]
    found += [(shape, use, "float32") for shape, use in wide]
    for precision in ("3xtf32", "tf32", "bfloat16"):
        found += [((batch, 512, 784), "forward", precision) for batch in (256, 1024)]
        found += [((784, 512, batch), "gradient", precision) for batch in (256, 1024)]
        found += [(shape, use, precision) for shape, use in wide]
    return found


def products(work: Work) -> list[Found]:
    """Seconds of every product by every kernel that there is, and the largest error over its bound."""
    assert work.library is not None
    found = []
    for shape, use, precision in shapes(work.small):
        if work.is_over:
            break
        hand = "simt" if precision == "float32" else "mma"
        repeats = 1 if work.small else 4
        for path, tile in ((hand, 32), (hand, 64), (hand, 128), ("cublaslt", 0)):
            if (path, precision) == ("cublaslt", "3xtf32"):  # which the library does not have
                continue
            if (made := work.library.product(shape, use, precision, path, tile, repeats)) is not None:
                row = {"shape": shape, "use": use, "precision": precision, "path": path, "tile": tile}
                found.append({**row, "seconds": made.seconds, "error": made.error, "splits": made.splits})
    return found


def memory(work: Work) -> Found:
    """GB/s, read and written, of a copy and of the engine's kernels that only move numbers; by millions of numbers."""
    assert work.library is not None
    sizes, repeats = ((0.004,), 1) if work.small else ((1.0, 16.0, 64.0), 20)
    return {
        kind: {
            size: work.library.call(
                "fd_bandwidth", number, ctypes.c_int64(int(size * 1e6)), ctypes.c_int64(784), repeats
            )
            for size in sizes
        }
        for number, kind in enumerate(MOVES)
    }


# ---- nets ----------------------------------------------------------------------------------------------------------


class Net:
    """One case, ready to be trained by whatever plan is chosen: seconds of a step, without what a call costs once."""

    def __init__(self, case: GpuCase, small: bool) -> None:
        rows = min(case.rows, 2 * case.task.batch_size if small else case.rows)
        self.case = replace(case, rows=rows, starts=min(case.starts, 4) if small else case.starts)
        _, (x, y) = load(self.case.data, rows)
        x = (x.reshape(len(x), -1) * np.float32(case.task.scale)).astype(np.float32)
        self.model = self.new_model()
        emulated = self.module.EMULATED
        self.x = x if emulated else on_device(x)
        self.y = self.x if case.task.target == "x" else y if emulated else on_device(y)
        self.weights = start_weights(self.case) if self.case.starts > 1 else []
        self.least = 0.0 if small else 0.03  # seconds

    module = property(lambda self: gpu.require())

    def new_model(self) -> fd.Model:
        """The net from its start; what tables say is read here."""
        options = {} if self.case.precision == "float32" else {"precision": self.case.precision}
        return make_model(self.case.task, "cuda", **options)

    def plan(self) -> Found:
        """The whole-net kernel's plan, if that is what trains it."""
        model, rows = self.model, self.case.task.batch_size
        training = model.runner._training
        return dict(self.module.fused_plan(model.net.program, training, rows, self.case.starts == 1))

    def train(self, epochs: int) -> float:
        """Seconds of a call."""
        task = self.case.task
        begin = time.perf_counter()
        if self.case.starts == 1:
            self.model.fit(self.x, self.y, batch_size=task.batch_size, epochs=epochs, verbose=0)
        else:
            many = {"starts": self.case.starts, "epochs": epochs, "batch_size": task.batch_size, "shuffle": "same"}
            many |= {"seed": task.seed, "initial_weights": self.weights}  # to draw them takes longer than to train
            fd.fit_many(self.model, self.x, self.y, verbose=0, **many)
        return time.perf_counter() - begin

    def step(self) -> float:
        """Seconds of a step: what further epochs add to a call, the median of three."""
        self.train(1)
        epochs, once = 2, self.train(1)
        while (seconds := self.train(epochs) - once) < self.least and epochs < 4000:
            epochs = min(4 * epochs, max(2 * epochs, int(1.2 * epochs * self.least / max(seconds, 1e-9))))
        rounds = 1 if self.least == 0 else 3
        return median(self.train(epochs) - self.train(1) for _ in range(rounds)) / ((epochs - 1) * self.case.steps)


def case_of(name: str) -> GpuCase:
    """A case of the benchmark."""
    return next(case for case in CASES if case.name == name)


TINY = GpuCase("tiny", Task((2, 3, 1), "mse", "adam", 1e-3, 16, scale=1.0), {}, "product2", 32)
ALONE = ("2-3-1-batch-32", "10-64-64-10-batch-128", "64-128-128-10-batch-128", "10-64-64-10-batch-32",
         "64-128-128-10-batch-256")  # fmt: skip
MANY = ("1024-nets-of-32", "1024-nets-of-16", "1024-nets-of-64")


def choices(net: Net) -> Iterator[tuple[tuple[int, int, int], Found]]:
    """(team, blocks, tile) of every plan of the whole-net kernel that differs, and the plan; the best guesses first."""
    seen: dict[tuple[int, ...], tuple[tuple[int, int, int], Found]] = {}
    most = net.module.device_info()["processors"] if net.case.starts == 1 else 1
    blocks = [2**i for i in range(int(math.log2(max(most, 1))) + 1)]
    for team in (32, 64, 128, 256):
        for count in blocks:
            for tile in (0, 64, 32, 16, 8):
                net.module.set_path("fused" if count == 1 else "blocks")
                net.module.set_wholenet(team, count, tile)
                plan = net.plan()
                if not plan["why_not"]:
                    key = (plan["threads"], plan["blocks"], plan["tile_rows"], plan["nets_per_block"])
                    seen.setdefault(key, ((team, count, tile), plan))
    yield from sorted(seen.values(), key=lambda entry: float(entry[1]["cycles"]))


def wholenet(work: Work) -> list[Found]:
    """Seconds of a step of small nets, alone and many at once, by each plan and layer by layer."""
    found: list[Found] = []
    cases = [TINY, replace(TINY, starts=3)] if work.small else [case_of(name) for name in (*ALONE, *MANY)]
    most = 2 if work.small else 30 if work.thorough else 8
    for case in cases:
        net = Net(case, work.small)
        alone = case.starts == 1
        if alone:
            work.module.set_path("layers")
            ops = len(case.task.widths) - 1
            found.append({"case": case.name, "path": "layers", "ops": ops, "seconds": net.step()})
        for number, (choice, plan) in enumerate(choices(net)):
            if number >= most or work.is_over:
                break
            work.module.set_wholenet(*choice)
            work.module.set_path("fused" if plan["blocks"] == 1 else "blocks")
            row = {"case": case.name, "path": "whole net", "starts": case.starts, "seconds": net.step()}
            sizes = {key: plan[key] for key in ("threads", "blocks", "tile_rows", "nets_per_block", "bytes", "cycles")}
            found.append({**row, **sizes})
    return found


def mlp(work: Work) -> list[Found]:
    """Seconds of a step of bfloat16 nets by rows of a tile and blocks, and layer by layer (tile -1)."""
    found: list[Found] = []
    names = ("fused-64-batch-16384", "fused-128-batch-16384")
    for name in names:
        for batch in (64,) if work.small else (16384, 2048, 1024, 4096, 65536):
            if work.is_over:
                return found
            task = replace(case_of(name).task, batch_size=batch)
            rows = batch * max(2, min(16, 131072 // batch))
            net = Net(replace(case_of(name), task=task, rows=rows), work.small)
            for tile in (0,) if work.small else (-1, 0, 16, 32, 64, 128) if work.thorough else (-1, 0, 32, 64):
                work.module.set_fused_mlp(0 if tile >= 0 else 2**40, 0, max(tile, 0))
                net.model = net.new_model()
                found.append({"case": name, "batch": batch, "tile": tile, "seconds": net.step()})
    return found


def side_stream(work: Work) -> Found:
    """Seconds of a step without and with a second stream, by batch."""
    found: Found = {}
    table = tuning.tables(os.environ.get(tuning.VARIABLE))
    work.module.set_path("layers")
    try:
        for on in (0.0, 1.0):
            work.module.set_tuning([(name, cc, {**values, "side_stream": on}) for name, cc, values in table])
            for batch in (128,) if work.small else (128, 1024):
                case = TINY if work.small else replace(case_of(f"784-512-512-10-batch-{batch}"), rows=16 * batch)
                found.setdefault(batch, []).append(Net(case, work.small).step())
    finally:
        work.module.set_tuning(table)
    return found


SECTIONS: dict[str, Callable[[Work], Any]] = {
    "graphs": graphs,
    "barriers": barriers,
    "memory": memory,
    "products": products,
    "side_stream": side_stream,
    "mlp": mlp,
    "wholenet": wholenet,
}


def by_size(module: Any) -> None:
    """Let plans choose again."""
    module.set_path("auto")
    module.set_wholenet()
    module.set_fused_mlp()


BELOW = ("graphs", "barriers", "memory", "products")  # those of calibrate.cu


# ---- the command ---------------------------------------------------------------------------------------------------


def save(result: Found, out: Path) -> None:
    """Write what there is so far."""
    fresh = out.with_name(out.name + ".part")
    fresh.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    os.replace(fresh, out)


def run(work: Work, sections: Sequence[str], before: Found, out: Path) -> Found:
    """All sections, those of an earlier result that are not asked for taken over; `out` always holds what there is."""
    info, about = work.module.device_info(), describe()
    defaults = {name: float(c["value"]) for name, c in tuning.shipped()["constants"].items()}
    source = f"measured {about['date'][:10]}, commit {about['commit']}"
    entry = {
        "compute_capability": info["compute_capability"],
        "source": "emulated: says nothing" if work.small else source,
    }
    result: Found = {"date": about["date"], "commit": about["commit"], "gpu": info["name"], "nvidia_smi": nvidia_smi()}
    result |= {"measured": before.get("measured", {}), "took": {}, "failed": {}}
    for name in sections:
        begin = time.monotonic()
        try:
            if work.is_over:
                raise TimeoutError("no time was left")
            if name in BELOW and work.library is None:
                raise OSError("calibrate.cu was not built")
            result["measured"][name] = SECTIONS[name](work)
        except (OSError, RuntimeError, ValueError) as error:
            result["failed"][name] = first_line(error)
        by_size(work.module)
        result["took"][name] = round(time.monotonic() - begin, 1)
        derived = derive.table(result["measured"], defaults, info["processors"])
        result["gpus"] = {info["name"]: {**entry, **derived}}
        save(result, out)
    return result


def wrong(result: Found) -> list[str]:
    """Products whose error is beyond its bound."""
    made = result["measured"].get("products", [])
    return [
        f"{row['shape']} {row['use']} {row['precision']} {row['path']} {row['tile']}"
        for row in made
        if row["error"] > 1
    ]


def write_shipped(found: Found) -> None:
    """The package's table, one entry a line."""
    parts = []
    for part, entries in found.items():
        rows = [f"  {json.dumps(name)}: {json.dumps(entry)}" for name, entry in entries.items()]
        parts.append(f' "{part}": {{\n' + ",\n".join(rows) + "\n }")
    tuning.SHIPPED.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def adopt(path: Path) -> None:
    """Put a measured table into the package."""
    gpus = json.loads(path.read_text(encoding="utf-8"))["gpus"]
    tuning.tables(str(path))  # an error, if it is none
    found = tuning.shipped()
    write_shipped({**found, "gpus": {**found["gpus"], **gpus}})


def main(arguments: Sequence[str]) -> int:
    """Measure and write; exit code 1 if a section failed or a product is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu-calibrate", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, metavar="FILE", help="for everything measured, and the table")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="SECTION")
    parser.add_argument("--after", type=Path, metavar="FILE", help="take over the other sections of an earlier result")
    parser.add_argument("--thorough", action="store_true", help="more plans of each net")
    parser.add_argument("--seconds", type=float, default=45, help="start nothing after so many (default: %(default)s)")
    parser.add_argument("--library", type=Path, default=LIBRARY, metavar="FILE", help="calibrate.cu, as it was built")
    parser.add_argument(
        "--emulated", metavar="FILE", help="the emulated module of the tests; its library lies beside it"
    )
    parser.add_argument(
        "--adopt", type=Path, metavar="FILE", help="put the table of a result into the package; measure nothing"
    )
    options = parser.parse_args(arguments)
    if options.adopt:
        adopt(options.adopt)
        return 0
    if options.out is None:
        parser.error("--out FILE is needed")
    if options.emulated:
        use_emulated(options.emulated)
        options.library = Path(options.emulated).with_name(LIBRARY.name)
    module = gpu.require()
    library = Library(options.library, module) if options.library.is_file() else None
    work = Work(module, library, bool(module.EMULATED), options.thorough, time.monotonic() + options.seconds)
    before = json.loads(options.after.read_text(encoding="utf-8")) if options.after else {}
    result = run(work, options.only, before, options.out)
    for name, seconds in result["took"].items():
        print(f"{name:12} {seconds:6.1f} s   {result['failed'].get(name, '')}".rstrip())
    print("\n".join(derive.summary(result)))
    if bad := wrong(result):
        print(f"wrong: {'; '.join(bad)}", file=sys.stderr)
    return int(bool(result["failed"] or bad))
