"""Rules of the house that a machine can check: who includes whom, one home per thing, sizes, what is compiled how."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import io
import platform
import re
import shutil
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CSRC = ROOT / "csrc"
PACKAGE = ROOT / "python" / "fastdense"


def sources(folder: Path, *suffixes: str) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in suffixes)


def cpp() -> list[Path]:
    return sources(CSRC, ".h", ".cpp", ".cu", ".cuh")


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def code(path: Path) -> str:
    """C++ without comments."""
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)


def tracked() -> Iterator[tuple[str, str]]:
    """Every text file that is in the repository or about to be, with its text."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, done.stdout.split("\0")):
        path = ROOT / name
        if path.is_file() and b"\0" not in (data := path.read_bytes()):
            yield name, data.decode("utf-8")


# Which folders a folder may include, beside itself. Headers directly in cpu/ and cuda/ are what
# the folders below them share; the sources there are the back ends, which put the paths together.
CPU, CUDA = {"core", "ops", "cpu", "cpu/blas", "cpu/simd"}, {"core", "ops", "cuda", "cuda/runtime"}
EDGES = {
    "ops": set(),
    "core": {"ops"},
    "core/solvers": {"core"},
    "cpu/blas": {"core"},
    "cpu/simd": {"core", "ops"},
    "cpu/memberwise": (CPU - {"cpu/blas"}) | {"cpu/layerwise"},
    "cpu/layerwise": CPU,
    "cpu/rowwise": CPU | {"cpu/layerwise"},
    "cpu/second_order": CPU | {"cpu/layerwise", "core/solvers"},
    "cpu": CPU | {"cpu/layerwise", "cpu/rowwise", "cpu/memberwise", "cpu/second_order"},
    "cuda/runtime": CUDA,
    "cuda/fused_mlp": CUDA | {"cuda/layerwise"},
    "cuda/layerwise": CUDA
    | {"cuda/fused_mlp"},  # one of its products is fused_mlp's, which makes its own of their tiles
    "cuda/wholenet": CUDA,
    "cuda": CUDA | {"cuda/layerwise", "cuda/wholenet"},
    "bindings": {"core"},
}
# The bindings also report what the CPU engine chose (module.cpp) and give its single kernels to tests and benchmarks.
EXCEPTIONS = {
    ("csrc/bindings/module.cpp", "cpu/blas/gemm.h"),
    ("csrc/bindings/module.cpp", "cpu/simd/kernels.h"),
    ("csrc/bindings/module.cpp", "ops/rng.h"),
    ("csrc/bindings/bind_kernels.cpp", "cpu/blas/gemm.h"),
    ("csrc/bindings/bind_kernels.cpp", "cpu/simd/kernels.h"),
    ("csrc/bindings/cuda_module.cpp", "cuda/wholenet/plan.h"),
    ("csrc/bindings/cuda_module.cpp", "cuda/fused_mlp/fused_mlp.h"),
    ("csrc/bindings/cuda_module.cpp", "cuda/layerwise/lt_library.h"),
    ("csrc/bindings/cuda_module.cpp", "cuda/layerwise/products.h"),
    ("csrc/bindings/cuda_module.cpp", "cuda/runtime/tuning.h"),
    ("csrc/bindings/cuda_module.cpp", "accesses.h"),  # of tests/emulator, in the emulated module
    ("csrc/cuda/layerwise/mma.h", "mma_sync.h"),  # of tests/emulator, where there is no GPU
    ("csrc/cuda/runtime/port.h", "cuda_emulator.h"),
    ("csrc/cuda/runtime/runtime_api.h", "cuda_emulator.h"),
}


# simd/kernels.cpp fills the table of kernels from the paths that have them; simd/kernels.h declares it.
TABLE = {"cpu/simd/kernels.cpp": "cpu/layerwise/kernels_", "cpu/simd/kernels.h": "cpu/memberwise/lanes.h"}


def includes(path: Path) -> list[str]:
    return re.findall(r'#\s*include\s+"([^"]+)"', code(path))


def test_include_edges() -> None:
    assert {path.parent.relative_to(CSRC).as_posix() for path in cpp()} == set(EDGES), (
        "a new folder needs its rule here"
    )
    needed, wrong = set(), []
    for path in cpp():
        name, folder = path.relative_to(CSRC).as_posix(), path.parent.relative_to(CSRC).as_posix()
        for header in includes(path):
            if (relative(path), header) in EXCEPTIONS:
                needed.add((relative(path), header))
            elif header.rpartition("/")[0] not in {folder, *EDGES[folder]} and not header.startswith(
                TABLE.get(name, "-")
            ):
                wrong.append(f"{name} includes {header}")
    assert not wrong
    assert needed == EXCEPTIONS, "these are no longer needed"


def test_no_circle_of_includes() -> None:
    files = {path.relative_to(CSRC).as_posix(): includes(path) for path in cpp()}
    TopologicalSorter(files).prepare()  # a CycleError names the files


# What may be named only in one place: pattern -> files (a folder ends in "/").
HOMES = {
    r"\bcblas": ("csrc/cpu/blas/gemm.cpp",),
    r"\bdlopen|\bdlsym|\bdladdr|\bmmap\b|\bunistd|\bpthread|\bsched_|\bsetenv|\bwindows\.h": (
        "csrc/core/platform.cpp",
    ),
    r"\bomp\.h|#\s*pragma\s+omp|\bomp_": ("csrc/core/team_openmp.cpp",),
    r"\bcuda_runtime|\bcuda_emulator": ("csrc/cuda/runtime/port.h", "csrc/cuda/runtime/runtime_api.h"),
    r"<<<|\bFD_LAUNCH\b": ("csrc/cuda/",),
    r"\bpybind11|\bPython\.h": ("csrc/bindings/",),
    r"\bimmintrin|\b_mm\d*_": ("csrc/cpu/",),
    r"\bgetenv\b": ("csrc/core/parallel.cpp", "csrc/cpu/simd/dispatch.cpp", "csrc/cpu/blas/gemm.cpp"),
    r"\b(exit|abort|_Exit|quick_exit)\s*\(|\bstd::(cout|cerr)\b|\bprintf\s*\(": (),  # the host's process, not ours
}


@pytest.mark.parametrize("pattern", HOMES)
def test_one_home(pattern: str) -> None:
    strays = [
        f"{relative(path)}: {found.group()}"
        for path in cpp()
        if not relative(path).startswith(HOMES[pattern] or ("-",)) and (found := re.search(pattern, code(path)))
    ]
    assert not strays


def python_code(path: Path) -> set[int]:
    """The lines of a Python file that hold code: no docstrings, no comments, no blank lines."""
    text = path.read_text(encoding="utf-8")
    layout = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in layout:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(
            node
        ):
            lines.difference_update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return lines


def lines_of_code(path: Path) -> int:
    if path.suffix in (".py", ".pyi"):
        return len(python_code(path))
    if path.name == "CMakeLists.txt" or path.suffix == ".cmake":
        return sum(1 for line in path.read_text(encoding="utf-8").splitlines() if re.match(r"\s*[^\s#]", line))
    return sum(1 for line in code(path).splitlines() if line.strip())


def test_no_file_has_more_than_500_lines_of_code() -> None:
    """Docstrings, comments and blank lines do not count, so that a class is cut for a reason."""
    folders = [ROOT / name for name in ("python", "tests", "benchmarks", "examples")]
    files = [*cpp(), *(path for folder in folders for path in sources(folder, ".py", ".pyi", ".cpp", ".h"))]
    files += [ROOT / "CMakeLists.txt", *sources(ROOT / "cmake", ".cmake")]
    assert not {relative(path): n for path in files if (n := lines_of_code(path)) > 500}


# Names that are defined twice on purpose, and those that still are (the last line).
TWINS = {
    *("get", "main"),  # every family's look-up, as in Keras; every command's entry
    *("Engine", "PopulationEngine"),  # the protocol and the GPU's
    *("MeanSquaredError", "MeanAbsoluteError", "MeanAbsolutePercentageError"),  # loss and metric, as in Keras
    *("load", "search"),  # of models and of tables; of representations and of settings
    *("Task", "read_task", "Run", "first_nonfinite"),
}


def test_each_public_name_is_defined_once() -> None:
    """Every class and public function; the reference engine and the Keras-compatible module have names of their own."""
    names = Counter(
        node.name
        for path in sources(PACKAGE, ".py")
        if not {"reference", "keras"} & set(path.relative_to(PACKAGE).parts)
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) or (isinstance(node, ast.FunctionDef) and not node.name.startswith("_"))
    )
    assert {name for name, n in names.items() if n > 1} == TWINS


def test_the_version_stands_in_pyproject_only() -> None:
    version = re.search(r'^version = "([^"]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert version is not None
    assert f"## {version[1]}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), "the changelog lacks this version"
    pattern = re.compile(rf"(?<![\d.]){re.escape(version[1])}(?![\d.])")
    files = [*cpp(), *sources(PACKAGE, ".py", ".pyi"), ROOT / "CMakeLists.txt", ROOT / "README.md"]
    assert not [relative(path) for path in files if pattern.search(path.read_text(encoding="utf-8"))]


def test_no_path_of_somebodys_machine() -> None:
    pattern = re.compile(r"(?<![\w.$~}/])/(?:home|root|work|Users|tmp|mnt|data)/\w")
    assert not [f"{name}: {found.group()}" for name, text in tracked() if (found := pattern.search(text))]


def test_no_global_fast_math() -> None:
    text = re.sub(r"#[^\n]*", "", (ROOT / "CMakeLists.txt").read_text(encoding="utf-8"))
    banned = r"-ffast-math|-Ofast|-f(?:unsafe|finite|associative|reciprocal)-math|-m(?:arch|tune)=native"
    assert not re.findall(banned, text)


def test_subnormals_survive() -> None:
    """-ffast-math anywhere in the link would switch them off for the whole process, silently."""
    script = (
        "import sys, numpy as np, fastdense as fd\n"
        "model = fd.Model([fd.Dense(1)], inputs=2); model.compile('sgd', 'mse')\n"
        "model.fit(np.ones((8, 2)), np.ones((8, 1)), verbose=0)\n"
        "assert sys.float_info.min / 2 != 0 and np.finfo(np.float32).tiny / np.float32(2) != 0\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def objects() -> dict[str, list[Path]]:
    """Object files of the newest build in this checkout, by CMake target."""
    builds = [path.parent for path in ROOT.glob("build/cp*/CMakeFiles/fd_core.dir")]
    if not builds:
        pytest.skip("no build folder in this checkout; pip install . makes one")
    newest = max(builds, key=lambda path: path.stat().st_mtime)
    targets = {folder.name[: -len(".dir")]: sorted(folder.rglob("*.o")) for folder in newest.glob("*.dir")}
    return {target: files for target, files in targets.items() if files}


def tool(name: str, *arguments: str) -> str:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    return subprocess.run([name, *arguments], check=True, capture_output=True, text=True).stdout


@pytest.mark.skipif(sys.platform != "linux", reason="the flags are those of Linux")
def test_the_module_is_hardened() -> None:
    """Full RELRO, stack protector and FORTIFY."""
    core = importlib.util.find_spec("fastdense._core")
    assert core is not None and core.origin is not None
    assert "BIND_NOW" in tool("readelf", "--dynamic", core.origin)
    assert "GNU_RELRO" in tool("readelf", "--segments", "--wide", core.origin)
    imported = tool("nm", "--dynamic", "--undefined-only", core.origin)
    assert "__stack_chk_fail" in imported and "_chk@" in imported


def test_the_package_names_the_licences_of_what_it_holds() -> None:
    files = importlib.metadata.metadata("fastdense").get_all("License-File") or []
    assert sorted(Path(file).name for file in files) == ["LICENSE", "openblas.txt", "pybind11.txt"]


def test_kernels_share_no_symbol() -> None:
    """Were an inline function emitted under two instruction sets, the linker might keep the wider one for everybody."""
    wrong = []
    for target, files in objects().items():
        if target.startswith("fd_kernels_"):
            isa = target[len("fd_kernels_") :]
            for line in tool("nm", "--demangle", "--defined-only", "--extern-only", *map(str, files)).splitlines():
                name = re.search(r"^[0-9a-f]+ \w (.+)$", line)
                if name and f"isa_{isa}::" not in name[1] and name[1] != f"fd::cpu::table_{isa}":
                    wrong.append(f"{target}: {name[1]}")
    assert not wrong


def test_baseline_objects_hold_no_wide_instructions() -> None:
    """x86-64-v2 has no ymm and no zmm register, ARMv8-A no bfloat16; only kernels compiled for them may name them."""
    arm = platform.machine() in ("aarch64", "arm64")
    sign = r"[^\n]*\tbf(?:dot|cvtn)[^\n]*" if arm else r"[^\n]*%[yz]mm\d+[^\n]*"
    wide = {}
    for target, files in objects().items():
        for path in files:
            assembly = tool("objdump", "-d", "--no-show-raw-insn", str(path))
            if found := re.search(sign, assembly):
                wide[target] = f"{path.name}: {found.group().strip()}"
    allowed = {"fd_kernels_avx2", "fd_kernels_avx512", "fd_kernels_avx512bf16", "fd_kernels_neonbf16"}
    assert not {target: line for target, line in wide.items() if target not in allowed}
    assert set(wide) == allowed & set(objects()), "the search finds nothing where it should"
