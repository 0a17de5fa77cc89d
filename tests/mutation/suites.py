"""What is mutated, what is left out and why, and which tests concern it: the quickest first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path


@dataclass(frozen=True)
class Step:
    """One run of pytest, or of a program of the C++ build."""

    arguments: Sequence[str] = ()
    environment: dict[str, str] = field(default_factory=dict)
    program: str = ""


def tests(*names: str, only: str = "", **environment: str) -> Step:
    """These files and folders of tests; `only` those with this mark."""
    return Step([*(["-m", only] if only else []), *(f"tests/{name}" for name in names)], environment)


def parity(path: str = "") -> Step:
    """What shows every activation, loss, layer, optimizer, option and metric at least once, on a path of the engine."""
    files = ["parity/test_parity.py", "parity/test_parity_runs.py", "parity/test_probes.py"]
    return tests(*files, only="core", FASTDENSE_CPU_PATH=path)


EVERY_PARITY = tests("parity/test_parity.py", "parity/test_parity_runs.py", "parity/test_probes.py")
CORE = Step(program="fastdense_core_test")
KERNELS = tests("parity/test_kernels.py")
ROWWISE = tests("parity/test_rowwise.py")
ROUNDING = tests("parity/test_bf16.py", "parity/test_rounding.py")
MEMBERWISE = tests("parity/test_population_parity.py", "unit/population", "parity/test_population_solvers.py")
SOLVERS = tests("parity/test_solvers.py", "parity/test_kfac.py", "parity/test_population_solvers.py")
START = tests("unit/initial")
HOOKS = tests("parity/test_hooks.py")
FUNCTIONS = tests("unit/layers/test_function.py")
RUNS = tests("runs/test_determinism.py", "runs/test_threads.py", "runs/test_refusals.py")
OPTIMIZERS = tests(
    "unit/test_specs.py",
    "unit/test_optimizers.py",
    "unit/test_averages.py",
    "unit/test_families.py",
    "unit/model/test_errors.py",
)
OTHERS = tests(
    "unit/initial", "unit/population", "unit/data", "unit/layers", "unit/model/test_errors.py", "unit/test_specs.py"
)
CALLS = tests("unit/model/test_model.py", "unit/model/test_numbers.py", "unit/training", "unit/callbacks")
SURROUNDINGS = tests("runs/test_interrupts.py", "runs/test_memory.py")
ERRORS = tests("unit/model/test_errors.py", "unit/test_odd_arguments.py", "unit/data", "unit/test_specs.py")
FILES = tests("unit/model/test_files.py", "unit/model/test_damaged_files.py")
FAMILIES = tests("unit/test_families.py", "unit/test_initializers.py", "unit/test_network.py", "unit/test_schedules.py")

# pattern of files -> tests; the first that fits
CPP: dict[str, list[Step]] = {
    "csrc/core/parallel.*": [tests("runs/test_threads.py"), CORE, parity("layerwise"), RUNS, SURROUNDINGS],
    "csrc/core/solvers/*": [SOLVERS, CORE, RUNS],
    "csrc/core/*": [parity(), MEMBERWISE, CORE, EVERY_PARITY, CALLS, HOOKS, SOLVERS, RUNS, SURROUNDINGS],
    "csrc/ops/rng.h": [KERNELS, FAMILIES, ROWWISE, parity(), EVERY_PARITY, MEMBERWISE, RUNS],
    "csrc/cpu/layerwise/*bf16*": [ROUNDING, KERNELS],
    "csrc/cpu/layerwise/kernels*": [KERNELS, parity("layerwise"), EVERY_PARITY, SOLVERS, START, CORE, RUNS],
    "csrc/cpu/layerwise/*": [
        parity("layerwise"),
        ROUNDING,
        KERNELS,
        FUNCTIONS,
        EVERY_PARITY,
        SOLVERS,
        START,
        CORE,
        RUNS,
        SURROUNDINGS,
    ],
    "csrc/cpu/rowwise/*": [ROWWISE, parity(), EVERY_PARITY, KERNELS, CALLS, CORE, RUNS],
    "csrc/cpu/memberwise/*": [MEMBERWISE, CORE, RUNS, SURROUNDINGS],
    "csrc/cpu/second_order/*": [SOLVERS, START, parity("layerwise"), EVERY_PARITY, CORE, RUNS, SURROUNDINGS],
    "csrc/cpu/simd/*": [KERNELS, parity(), MEMBERWISE, EVERY_PARITY, ROWWISE, SOLVERS, SURROUNDINGS],
    "csrc/cpu/*": [parity("layerwise"), SOLVERS, FUNCTIONS, EVERY_PARITY, CORE, CALLS, MEMBERWISE, RUNS, SURROUNDINGS],
    "csrc/bindings/*population*": [MEMBERWISE, ERRORS, RUNS, SURROUNDINGS],
    "csrc/bindings/bind_kernels.cpp": [KERNELS, ROUNDING, FAMILIES, SOLVERS],
    "csrc/bindings/*": [parity(), ERRORS, CALLS, FILES, HOOKS, KERNELS, MEMBERWISE, RUNS, SURROUNDINGS],
}
PYTHON: dict[str, list[Step]] = {
    "python/fastdense/arguments.py": [ERRORS, CALLS],
    "python/fastdense/data/*": [tests("unit/data", "unit/model/test_errors.py"), CALLS, OTHERS],
    "python/fastdense/model/files.py": [FILES, tests("unit/model")],
    "python/fastdense/model/*": [tests("unit/model"), CALLS, OTHERS, RUNS, SOLVERS, SURROUNDINGS],
    "python/fastdense/training/*": [CALLS, HOOKS, OTHERS, FILES, SOLVERS, RUNS, SURROUNDINGS],
    "python/fastdense/runners/*": [CALLS, tests("unit/model"), HOOKS, FILES, RUNS, OTHERS, SURROUNDINGS],
    "python/fastdense/optimizers/*": [OPTIMIZERS, CALLS, SOLVERS, OTHERS],
}

# pattern of files, first line, last line, why; whole files if there are no lines
LEFT_OUT: list[tuple[str, str, str, str]] = [
    ("csrc/core/parallel.cpp", "void ThreadCount::resume", "^}", "how many threads are fastest"),
    ("csrc/core/parallel.cpp", "void ThreadCount::leave", "^}", "how many threads are fastest"),
    ("csrc/core/parallel.cpp", "bool ThreadCount::reconsider", "^}", "how many threads are fastest"),
    ("csrc/core/parallel.cpp", "void Barrier::wait_long", "^}", "how long to spin"),
    ("csrc/core/parallel.h", "class ThreadCount", "^};", "how many threads are fastest"),
    ("csrc/bindings/arrays.h", "inline bool is_on_device", "^inline View view_of", "arrays on a GPU"),
    ("csrc/bindings/arrays.h", "if \\(is_on_device\\(weights\\)", "else if", "arrays on a GPU"),
    ("csrc/bindings/bind_population.cpp", "if \\(is_on_device\\(weights", "return rein", "arrays on a GPU"),
    ("csrc/core/backend.h", "", "", "an interface"),
    ("csrc/core/population.h", "", "", "an interface"),
    ("csrc/core/types.h", "", "", "an interface"),
    ("csrc/core/plan.h", "", "", "an interface"),
    ("csrc/cpu/simd/kernels.h", "", "", "an interface"),
    ("csrc/bindings/cuda_module.cpp", "", "", "the engine for GPUs"),
    ("csrc/cpu/layerwise/kernels_bf16_neon.h", "", "", "other processors' instructions"),
    ("csrc/ops/*", "", "", "formulas: each is compared with the reference by its own tests"),
    ("csrc/cpu/blas/*", "", "", "products are OpenBLAS's"),
]
ALSO = ["csrc/ops/rng.h"]  # although its folder is left out


def suite(file: str) -> list[Step]:
    """The tests that concern a file."""
    for pattern, steps in {**CPP, **PYTHON}.items():
        if fnmatch(file, pattern):
            return steps
    raise KeyError(file)


def files(root: Path, language: str) -> list[str]:
    """Those that are mutated."""
    patterns = CPP if language == "cpp" else PYTHON
    names = sorted(
        path.relative_to(root).as_posix() for top in ("csrc", "python") for path in (root / top).rglob("*.*")
    )
    whole = [pattern for pattern, first, _, _ in LEFT_OUT if not first]
    return [
        name
        for name in names
        if name.endswith((".cpp", ".h", ".py"))
        and any(fnmatch(name, pattern) for pattern in patterns)
        and (name in ALSO or not any(fnmatch(name, pattern) for pattern in whole))
    ]


def left_out_lines(file: str, text: str) -> set[int]:
    """Numbers of the lines of a file that no test could notice, or of which others take care."""
    numbers: set[int] = set()
    for pattern, first, last, _ in LEFT_OUT:
        if not first or not fnmatch(file, pattern):
            continue
        inside = found = False
        for number, line in enumerate(text.splitlines(), 1):
            inside = inside or (not found and re.search(first, line) is not None)
            if inside:
                found = True
                numbers.add(number)
                inside = re.search(last, line) is None
        assert found, f"{file} has no line {first}: see LEFT_OUT"
    return numbers
