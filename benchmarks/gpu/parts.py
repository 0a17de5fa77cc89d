"""The parts of a GPU session, its calls and their limits; see `session`. Nothing but Python's own library."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu.build import build, check_packages, installed, tool, use
from benchmarks.gpu.commands import ROOT, Found, LeftOut, Session, Trouble, junit_counts, line_counts

SHOWN = ("numpy", "torch", "triton", "jax", "cupy-cuda13x", "nvidia-cublas", "pybind11", "cmake", "ninja",
         "scipy-openblas32", "pytest", "pytest-xdist", "pytest-benchmark", "hypothesis")  # fmt: skip
WARMING = 4  # processes that fill the compiler's caches meanwhile

FOLDERS = """
import json, os, sys
folders = [os.path.join(p, "nvidia", *part) for p in sys.path for part in (("cu13", "lib"), ("cublas", "lib"))]
print(json.dumps([folder for folder in folders if os.path.isdir(folder)]))
"""


def cuda_folder() -> Path:
    """Where the toolkit lies. nvcc may be a script somewhere else."""
    nvcc = tool("nvcc")
    usual = [os.environ.get("CUDA_HOME"), "/usr/local/cuda", Path(nvcc).resolve().parents[1] if nvcc else None]
    there = [Path(folder) for folder in usual if folder and Path(folder, "include", "cuda_runtime_api.h").is_file()]
    return there[0] if there else Path("/usr/local/cuda")


def environment(session: Session) -> Found:
    """What is missing, before anything takes time; the GPU, its driver, the compilers and the packages."""
    lacking = check_packages(session)
    from benchmarks.gpu.machine import nvidia_smi

    found: Found = {
        "lacking": lacking,
        "python": sys.version.split()[0],
        "python_headers": Path(sysconfig.get_paths()["include"], "Python.h").is_file(),  # Triton compiles against them
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "packages": {name: installed(name) for name in SHOWN},
        "gpu": nvidia_smi(),
    }
    use(session)
    for name in ("nvcc", "g++", "compute-sanitizer"):
        path = tool(name)
        found[name] = session.run(path, "--version", seconds=5).line(" ") if path else None
    if shutil.which("nvidia-smi"):
        session.run("nvidia-smi", seconds=5)
    if not session.dry and not found["gpu"]:
        raise Trouble("nvidia-smi shows no GPU", found, ends=True)
    return found


def build_and_warm(session: Session) -> Found:
    """The package for this GPU; meanwhile the compiled baselines of the cases with goals are made once."""
    if session.device == "cuda" and installed("torch") and not (session.work / "built.json").is_file():
        use(session)
        session.commands.environment["TORCHINDUCTOR_COMPILE_THREADS"] = "2"  # of each process
        for part in range(WARMING):
            session.start(f"warm-{part}", "-m", "benchmarks.gpu.warm", str(part), str(WARMING))
        del session.commands.environment["TORCHINDUCTOR_COMPILE_THREADS"]
    return build(session)


IMPORT = """
import json, fastdense as fd, fastdense.cuda as cuda
from fastdense.versions import build_config
found = {"build": build_config(), "available": cuda.is_available()}
try:
    found["device"] = cuda.device_info()
    from fastdense import _cuda
    found["cublaslt"] = bool(_cuda.lt_path()) or _cuda.why_no_lt()
except Exception as error:
    found["error"] = f"{type(error).__name__}: {error}"
print(json.dumps(found, default=str))
"""


def imports(session: Session) -> Found:
    """Whether the compiled part loads, which device it sees, and whether it found a cuBLASLt."""
    use(session)
    found: Found = session.python("-c", IMPORT, seconds=10).json()
    if "error" in found and not session.dry:
        raise Trouble(found["error"], found)
    return found


def products(session: Session) -> Found:
    """Which fused products cuBLASLt has here, by epilogue and data type, and whether they are right: a program in C++.

    It needs neither nvcc nor the package. On a CPU it is linked with the fake of the tests instead.
    """
    program, toolkit = session.work / "lt_device", cuda_folder()
    sources = [ROOT / "tests/cpp/lt_device.cpp", ROOT / "csrc/cuda/layerwise/lt.cpp"]
    if session.dry:
        fakes = ("lt_library.cpp", "fake_cublaslt.cpp", "accesses.cpp", "races.cpp", "runtime.cpp")
        sources += [ROOT / "tests/emulator" / name for name in fakes]
        options = ["-DFD_EMULATE", f"-I{ROOT / 'tests/emulator'}"]
        libraries = ["-lpthread", "-ldl"]
    else:
        sources += [ROOT / "csrc/cuda/layerwise/lt_library.cpp", ROOT / "csrc/core/platform.cpp"]
        options = [f"-I{toolkit / 'include'}"]
        libraries = [f"-L{toolkit / 'lib64'}", "-lcudart_static", "-ldl", "-lrt", "-lpthread"]
    there = [str(path.relative_to(ROOT)) for path in sources if not path.is_file()]
    if there:
        raise LeftOut(f"this checkout has no {', '.join(there)}")
    compiler = os.environ.get("CXX", "g++")
    built = session.run(
        *(compiler, "-std=c++17", "-O1", f"-I{ROOT / 'csrc'}", *options, *sources, "-o", program, *libraries),
        seconds=90,
    )
    if not built.ok:
        raise RuntimeError(built.line("error"))
    folders = [] if session.dry else session.python("-c", FOLDERS, seconds=10).json()
    done = session.run(program, *folders, seconds=60)
    found: Found = {"table": done.output.splitlines()}
    if not done.ok:
        raise Trouble(done.last_line, found)
    return found


def nets(session: Session) -> Found:
    """Small nets on every path of the engine: two runs give the same bits, and nearly the CPU's loss."""
    where = ("cuda", "--emulated", session.emulated) if session.emulated else (session.device,)
    first, second = (session.python("-m", "benchmarks.gpu.probe", *where, seconds=120).json() for _ in range(2))
    failed = {name: one["error"] for name, one in first.items() if "error" in one}
    unequal = [name for name, one in first.items() if one.get("hash") != second[name].get("hash")]
    far = [name for name, one in first.items() if abs(one.get("beside_cpu") or 0.0) > 0.01]
    found: Found = {"nets": first, "failed": failed, "not_the_same_twice": unequal, "far_from_cpu": far}
    if failed or unequal or far:
        raise Trouble(
            f"failed: {list(failed)}, not the same twice: {unequal}, more than 1 % from the CPU: {far}", found
        )
    return found


def arrays(session: Session) -> Found:
    """Arrays of CuPy, PyTorch and JAX as data, and results as theirs."""
    found: Found = session.python("-m", "benchmarks.gpu.arrays", session.device, seconds=60).json()
    wrong = [name for name, said in found.items() if said != "ok" and not said.startswith("not here")]
    if wrong:
        raise Trouble(", ".join(f"{name}: {found[name]}" for name in wrong), found)
    return found


# Some ninety: every path of the engine, at a few sizes, against the reference. All together they take seconds on a GPU.
TESTS = (
    "tests/cuda/test_cuda_engine.py",
    "tests/cuda/test_cuda_fused_mlp.py::test_same_bits",
    "tests/cuda/test_cuda_fused_mlp.py::test_large_tiles",
    "tests/cuda/test_fused.py::test_a_net_is_the_same_among_others",
    "tests/cuda/test_fused.py::test_a_net_alone_is_a_member_of_a_population",
    "tests/cuda/test_fused.py::test_blocks_that_share_a_net",
    "tests/cuda/test_fused.py::test_training_stops_at_the_first_loss_that_is_not_finite",
    "tests/cuda/test_fused.py::test_accuracy",
    "tests/cuda/test_tf32x3.py",
    "tests/parity/test_rounding.py::test_operands_are_rounded_and_nothing_else",
)


def tests(session: Session) -> Found:
    """Some tests of the CUDA engine; in a dry run, the first file on the emulator."""
    report = session.out / "tests.xml"
    report.unlink(missing_ok=True)
    # Warnings of other versions of NumPy are no errors here, and some versions of pytest-benchmark stop pytest by one.
    options = ["-v", "--tb=short", "-p", "no:benchmark", "-p", "no:cacheprovider", "-W", "default", "--maxfail=20"]
    where = ["--require-cuda"]
    if session.dry:
        where = [f"--emulated-cuda={session.emulated}"] if session.emulated else []
    if installed("pytest-xdist") and not session.dry:
        options += ["-n", "8"]
    chosen = TESTS[:1] if session.dry else TESTS
    words = (*options, f"--junitxml={report}", "-m", "cuda", *where, *chosen)
    done = session.python("-m", "pytest", *words, seconds=session.left)
    counts = junit_counts(report) if report.is_file() else line_counts(done.output)
    found: Found = {"timed_out": done.timed_out, **counts}
    if done.code == 5 and session.dry and not session.emulated:
        raise LeftOut("there is no GPU, and no emulated one")
    if not done.ok:
        raise Trouble(done.last_line, found)
    return found


def sanitizer(session: Session) -> Found:
    """compute-sanitizer's memcheck over three small nets, one for each path."""
    checker = tool("compute-sanitizer")
    if checker is None or session.dry:
        raise LeftOut("not here: compute-sanitizer and a GPU")
    probe = (sys.executable, "-m", "benchmarks.gpu.probe", "cuda", "--alone", "--only", "small", "large", "fused")
    options = ("--tool", "memcheck", "--error-exitcode", "9", "--print-limit", "20")
    done = session.run(checker, *options, *probe, seconds=session.left)
    said = "clean" if done.ok else "timed out" if done.timed_out else done.line("ERROR SUMMARY")
    if said not in ("clean", "timed out"):
        raise Trouble(said, {"memcheck": said})
    return {"memcheck": said}


def measure_gpu(session: Session, name: str, *options: str | Path) -> Found:
    """The calibration into NAME.json, and what follows from it."""
    path = session.out / f"{name}.json"
    path.unlink(missing_ok=True)
    built = session.work / "cmake" / "fastdense_calibrate.so"
    words: list[str | Path] = ["-m", "benchmarks", "gpu-calibrate", "--out", path, "--library", built, *options]
    if session.dry:
        if not session.emulated:
            raise LeftOut("there is no GPU, and no emulated one")
        words += ["--emulated", session.emulated]
    done = session.python(*words, "--seconds", f"{session.left - STARTING:.0f}", seconds=session.left)
    if not path.is_file():
        raise RuntimeError(done.last_line)
    shutil.copy(path, session.work / path.name)
    result = json.loads(path.read_text(encoding="utf-8"))
    found: Found = {"took": result["took"], "failed": result["failed"], "gpus": result["gpus"]}
    if not done.ok:
        raise Trouble(f"failed: {result['failed'] or done.last_line}", found)
    return found


def calibrate(session: Session) -> Found:
    """What plans take for granted: graphs, barriers, products, memory, the nets of the goals by their best plans."""
    return measure_gpu(session, "calibration")


def sweep(session: Session) -> Found:
    """The nets of the goals by many more plans; what call A has measured below them is taken over."""
    options = ("--only", "wholenet", "mlp", "--thorough", *session.earlier("calibration.json"))
    return measure_gpu(session, "sweep", *options)


STARTING = 10.0  # seconds of a benchmark's limit that are kept for the case at work when the time is up


def benchmark(session: Session, name: str, *options: str | Path) -> Found:
    """The benchmark into NAME.json, which is whole after every case."""
    path = session.out / f"{name}.json"
    path.unlink(missing_ok=True)
    seconds = session.left - STARTING
    words = ("-m", "benchmarks", "gpu", "--device", session.device, "--out", path, "--seconds", f"{seconds:.0f}")
    done = session.python(*words, *options, seconds=session.left)
    if not path.is_file():
        raise RuntimeError(done.last_line)
    shutil.copy(path, session.work / path.name)
    result = json.loads(path.read_text(encoding="utf-8"))
    verdicts = {f"{goal['text']}, {goal['baseline']}": [goal["worst"], goal["verdict"]] for goal in result["goals"]}
    found: Found = {"cases": len(result["cases"]), "not_run": result["not_run"], "goals": verdicts}
    if not done.ok:
        raise Trouble(f"exit code {done.code}: the log names what was left out", found)
    return found


def chosen(session: Session, dry: str) -> list[str | Path]:
    """The cases with goals beside the goals' baselines; in a dry run one case on little data, beside those of a CPU."""
    if not session.dry:
        return ["--goals"]
    return ["--only", dry, "--rows", "256", *(["--emulated", session.emulated] if session.emulated else [])]


def quick(session: Session) -> Found:
    """The cases with goals, one of each goal first."""
    return benchmark(session, "quick", *chosen(session, "2-3-1-batch-32"))


def full(session: Session) -> Found:
    """The cases with goals that are not measured yet."""
    return benchmark(session, "full", *chosen(session, "2-3-1-batch-128"), *session.earlier("quick.json"))


@dataclass(frozen=True)
class Part:
    """Something to do, and its limit in seconds: the last part of a call takes what is left of all."""

    do: Callable[[Session], Found]
    seconds: float
    needs_package: bool = False
    times: bool = False  # nothing may run beside it


CALLS: dict[str, dict[str, Part]] = {
    "A": {
        "environment": Part(environment, 5),
        "build": Part(build_and_warm, 110),
        "import": Part(imports, 10),
        "nets": Part(nets, 30, needs_package=True),
        "products": Part(products, 20),
        "calibrate": Part(calibrate, 60, needs_package=True, times=True),
        "quick": Part(quick, 95, times=True),
    },
    "B": {
        "environment": Part(environment, 5),
        "build": Part(build_and_warm, 100),
        "import": Part(imports, 10),
        "arrays": Part(arrays, 25, needs_package=True),
        "tests": Part(tests, 45, needs_package=True),
        "sweep": Part(sweep, 50, needs_package=True, times=True),
        "sanitizer": Part(sanitizer, 35, needs_package=True),
        "full": Part(full, 30, times=True),
    },
}
LIMITS = {"A": 330.0, "B": 300.0}  # seconds of a call; with what starts a machine, both fit into its quarter of an hour
