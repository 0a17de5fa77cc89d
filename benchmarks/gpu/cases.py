"""What is timed on a GPU and what is to be reached there: the table of goals and the table of nets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Literal

from benchmarks import cases as cpu
from benchmarks.cases import Case
from fastdense.cli.baselines import Task

ORDERS = 8  # epochs until PyTorch's orders of the rows come round again
STEPS = 16  # "torch-graph-16" holds so many steps in one graph, "torch-graph" one
TITLES = {
    "torch": "eager",
    "torch-compile": "compile",
    "torch-graph": "graph",
    "torch-graph-16": f"{STEPS}-step graph",
    "vmap": "vmap",
    "vmap-graph": "vmap graph",
    "vmap-compile-graph": "compiled vmap graph",
}
MEANINGS = {
    "torch": "B0: eager PyTorch, fused Adam",
    "torch-compile": 'B1: torch.compile(mode="reduce-overhead") for loss and gradient, fused Adam',
    "torch-graph": "B2: compiled loss and gradient and capturable Adam, one step captured whole in one CUDA graph",
    "torch-graph-16": f"B2 with {STEPS} steps in one graph",
    "vmap": "torch.func.vmap(grad) over all nets, fused Adam on the stacked tensors",
    "vmap-graph": "the same step captured whole in one CUDA graph",
    "vmap-compile-graph": "the same, compiled before it is captured",
}


Precision = Literal["float32", "tf32", "3xtf32"]


@dataclass(frozen=True)
class GpuCase(Case):
    """A row; more than on a CPU: how many nets (`starts`), what float32 products may use, and whether it is quick.

    PyTorch has no 3xtf32: its products are float32 there.

    `gate` is at most `ORDERS`. Rows are cut to whole batches, so that a step is always one shape.
    """

    starts: int = 1
    precision: Precision = "float32"
    quick: bool = False

    @property
    def flops(self) -> int:
        return super().flops * self.starts

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return max(1, self.rows // self.task.batch_size)

    @property
    def baselines(self) -> tuple[str, ...]:
        return tuple(name for name in TITLES if name.startswith("vmap") == (self.starts > 1))

    @property
    def goal_baselines(self) -> tuple[str, ...]:
        """The baselines that goals are about."""
        return tuple(name for name in self.baselines if name in self.goals)

    @property
    def products(self) -> str:
        """What multiplies: the name of its peak, if that is measured."""
        return "bfloat16" if self.task.dtype == "bfloat16" else self.precision


@dataclass(frozen=True)
class Goal:
    """For cases selected by `holds`: a speedup of at least `least` over the baseline (for parity, at most `most`)."""

    text: str
    baseline: str
    least: float
    holds: Callable[[GpuCase], bool]
    most: float | None = None


def _middle(case: GpuCase, least: int, most: int, precision: Precision = "float32") -> bool:
    return (
        case.task.widths == (784, 512, 512, 10)
        and least <= case.task.batch_size <= most
        and case.precision == precision
    )


def _wide(case: GpuCase) -> bool:
    return min(case.task.widths) >= 2048


def _split(case: GpuCase) -> bool:
    return case.precision == "3xtf32"


def _narrow(case: GpuCase) -> bool:
    return case.starts == 1 and case.task.dtype == "float32" and case.task.batch_size <= 256


def _many(case: GpuCase, width: int) -> bool:
    return case.starts >= 1024 and max(case.task.widths) == width


def _fused(case: GpuCase) -> bool:
    one_width = set(case.task.widths[:-1]) in ({64}, {128})
    return one_width and case.task.dtype == "bfloat16" and case.task.batch_size >= 16384


GOALS = (
    Goal("784-512-512-10, batch 128 to 512", "torch-graph", 1.3, lambda case: _middle(case, 128, 512)),
    Goal("784-512-512-10, batch 1024", "torch-graph", 1.1, lambda case: _middle(case, 1024, 1024)),
    Goal("784-512-512-10, batch up to 256", "torch", 6.0, lambda case: _middle(case, 128, 256)),
    Goal("784-512-512-10, batch 512 and 1024", "torch", 3.5, lambda case: _middle(case, 512, 1024)),
    Goal(
        "widths up to 64, batch up to 256",
        "torch-graph",
        5.0,
        lambda case: _narrow(case) and max(case.task.widths) <= 64,
    ),
    Goal("width 128, batch up to 256", "torch-graph", 3.0, lambda case: _narrow(case) and max(case.task.widths) == 128),
    *(
        Goal(f"1024 nets of width {width}", "vmap-graph", least, partial(_many, width=width))
        for width, least in ((16, 4.0), (32, 3.0), (64, 2.0))
    ),
    Goal("width 64 and 128, batch 16384 and more, bfloat16", "torch-graph", 2.0, _fused),
    Goal("width 2048 and more (parity)", "torch-graph", 1.0, lambda case: _wide(case) and not _split(case), 1.05),
    Goal(
        "784-512-512-10, batch 128 to 512, 3xtf32", "torch-graph", 1.3, lambda case: _middle(case, 128, 512, "3xtf32")
    ),
    Goal("784-512-512-10, batch 1024, 3xtf32", "torch-graph", 1.5, lambda case: _middle(case, 1024, 1024, "3xtf32")),
    Goal("width 2048 and more, 3xtf32", "torch-graph", 1.5, lambda case: _wide(case) and _split(case)),
)


def goals_of(case: GpuCase) -> dict[str, cpu.Goal]:
    """The goals of this case, by baseline."""
    return {goal.baseline: goal.least for goal in GOALS if goal.holds(case)}


def _classifier(
    *widths: int, batch: int, dtype: Literal["float32", "bfloat16"] = "float32", rate: float = 1e-3
) -> Task:
    scale = 1 / 255 if widths[0] == 784 else 1.0
    return Task(widths, "crossentropy", "adam", rate, batch, scale, dtype=dtype)


def _named(name: str, precision: Precision) -> str:
    return name if precision == "float32" else f"{name}-{precision}"


def _square(width: int, precision: Precision, quick: bool = False) -> GpuCase:
    task = Task((width,) * 4, "mse", "adam", 1e-4, 4096, scale=1.0, target="x")
    name = _named(f"wide-{width}", precision)
    return GpuCase(name, task, {}, f"normal{width}", 8192, gate=3, precision=precision, quick=quick)


def _small(*widths: int, batch: int, quick: bool = False) -> GpuCase:
    name = f"{'-'.join(map(str, widths))}-batch-{batch}"
    return GpuCase(name, _classifier(*widths, batch=batch), {}, f"normal{widths[0]}", 12800, gate=3, quick=quick)


def _pyramid(batch: int, quick: bool = False) -> GpuCase:
    task = Task((2, 3, 1), "mse", "adam", 1e-3, batch, scale=1.0)
    return GpuCase(f"2-3-1-batch-{batch}", task, {}, "product2", 1024, gate=5, quick=quick)


def _middling(batch: int, quick: bool = False, precision: Precision = "float32") -> GpuCase:
    task = _classifier(784, 512, 512, 10, batch=batch)
    name = _named(f"784-512-512-10-batch-{batch}", precision)
    return GpuCase(name, task, {}, rows=60000, tolerance=0.01, precision=precision, quick=quick)


def _mixed(width: int, batch: int) -> GpuCase:
    task = _classifier(*(width,) * 5, 10, batch=batch, dtype="bfloat16")
    name = f"fused-{width}-batch-{batch}"
    return GpuCase(name, task, {}, f"normal{width}", 131072, gate=3, tolerance=0.05, quick=batch == 16384)


def _population(width: int) -> GpuCase:
    task = _classifier(16, width, width, 10, batch=128)
    return GpuCase(f"1024-nets-of-{width}", task, {}, "normal16", 4096, gate=2, starts=1024, quick=True)


WITH_GOALS = (
    *(_middling(batch, quick=batch in (128, 1024)) for batch in (128, 1024, 256, 512)),
    *(_small(10, 64, 64, 10, batch=batch, quick=batch == 128) for batch in (128, 32, 256)),
    *(_pyramid(batch, quick=batch == 32) for batch in (32, 128, 256)),
    *(_population(width) for width in (32, 16, 64)),
    *(_mixed(width, batch) for batch in (16384, 65536) for width in (64, 128)),
    _square(2048, "float32", quick=True),
    _square(2048, "tf32"),
    *(_small(64, 128, 128, 10, batch=batch, quick=batch == 128) for batch in (128, 32, 256)),
    _square(4096, "tf32"),
    _square(4096, "float32"),
    *(_middling(batch, quick=batch in (128, 1024), precision="3xtf32") for batch in (1024, 128, 256, 512)),
    _square(2048, "3xtf32", quick=True),
    _square(4096, "3xtf32"),
)


def _from_cpu() -> list[GpuCase]:
    """The CPU suite's training cases, and those on many rows with larger batches too; single rows belong on a CPU."""
    kept = [field.name for field in fields(Case)]
    found, timed = [], {case.task for case in WITH_GOALS}
    for case in cpu.CASES:
        if case.kind != "train" or case.task in timed:
            continue
        given = {**{name: getattr(case, name) for name in kept}, "goals": {}, "also": ()}
        sizes = [case.task.batch_size]
        if case.rows >= 16384:
            sizes += [1024, 16384]
        for size in sizes:
            name = case.name if size == case.task.batch_size else f"{case.name}-batch-{size}"
            found.append(GpuCase(**{**given, "name": name, "task": replace(case.task, batch_size=size)}))
    return found


def _ready(case: GpuCase) -> GpuCase:
    batch = case.task.batch_size
    return replace(
        case, rows=max(1, case.rows // batch) * batch if batch < case.rows else case.rows, goals=goals_of(case)
    )


# In the order in which they are measured, should time run out: goals first.
CASES = tuple(map(_ready, (*WITH_GOALS, *_from_cpu(), _middling(16384))))
