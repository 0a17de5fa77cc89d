"""`python -m benchmarks gpu-session --out DIR`: the one command for the first time that a GPU is at hand.

Builds for the GPU that is there and shows, in under ten minutes, whether everything that could not be tried without one
holds, and how fast it is. Every part is written down as soon as it is done; one that fails stops nothing. Nothing but
Python's own library is imported here, as there may be nothing else yet.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import sysconfig
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.gpu.commands import Commands, Done, junit_counts, line_counts

ROOT = Path(__file__).parents[2]
Found = dict[str, Any]
SANITIZERS = ("memcheck", "racecheck", "synccheck", "initcheck")
SHOWN = ("numpy", "torch", "triton", "cupy-cuda13x", "nvidia-cublas", "scikit-build-core", "pybind11", "cmake", "ninja",
         "scipy-openblas32", "pytest", "hypothesis")  # fmt: skip


class LeftOut(Exception):
    """A part that cannot be done here, and why; that is no failure."""


@dataclass
class Session:
    """What every part may use."""

    out: Path
    end: float
    dry: bool
    wheels: Path | None
    build: bool
    commands: Commands
    emulated: Path | None = None
    found: dict[str, Found] = field(default_factory=dict)

    @property
    def device(self) -> str:
        return "cpu" if self.dry else "cuda"

    @property
    def left(self) -> float:
        """Seconds until the session must be over."""
        return self.end - time.monotonic()

    def run(self, *words: str | Path, seconds: float, environment: dict[str, str] | None = None) -> Done:
        """A command in the checkout, within the time that is left."""
        return self.commands.run([str(word) for word in words], min(seconds, max(self.left, 1.0)), environment)

    def python(self, *words: str | Path, seconds: float) -> Done:
        """This Python."""
        return self.run(sys.executable, *words, seconds=seconds)


def build_requirements() -> list[str]:
    """What pyproject.toml needs for a build without isolation, and the build tools."""
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    asked: list[str] = json.loads(next(line for line in lines if line.startswith("requires = ")).partition("= ")[2])
    return [*asked, "cmake>=3.24", "ninja>=1.11"]


REQUIREMENTS = (*build_requirements(), "numpy>=1.26", "pytest>=8", "hypothesis>=6.100")

PREPARE = """\
The machine must have: an NVIDIA driver >= 580, nvcc of CUDA 13, a C++17 compiler, Python >= 3.10 with its headers,
PyTorch for CUDA 13 (pip install torch), and for one part compute-sanitizer, which comes with the toolkit.
Without a network, make a folder of the rest on a machine that has one, and copy it:

  pip download -d wheels {quoted}

(for another Python or system: --only-binary=:all: --python-version 3.12 --platform manylinux_2_28_x86_64), then

  python -m benchmarks gpu-session --out first-run --wheels wheels
"""


FOLDERS = """
import json, os, sys
folders = [os.path.join(p, "nvidia", *part) for p in sys.path for part in (("cu13", "lib"), ("cublas", "lib"))]
print(json.dumps([folder for folder in folders if os.path.isdir(folder)]))
"""


def tool(name: str) -> str | None:
    """Path of a program of the CUDA toolkit, or any other."""
    return shutil.which(name) or shutil.which(name, path="/usr/local/cuda/bin")


def cuda_folder() -> Path:
    """Where the toolkit lies. nvcc may be a script somewhere else."""
    nvcc = tool("nvcc")
    usual = [os.environ.get("CUDA_HOME"), "/usr/local/cuda", Path(nvcc).resolve().parents[1] if nvcc else None]
    there = [Path(folder) for folder in usual if folder and Path(folder, "include", "cuda_runtime_api.h").is_file()]
    return there[0] if there else Path("/usr/local/cuda")


def installed(name: str) -> str | None:
    """Version of a package, None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


# ---- parts ---------------------------------------------------------------------------------------------------------


def environment(session: Session) -> Found:
    """The GPU, its driver, the compilers and the packages."""
    from benchmarks.gpu.machine import nvidia_smi

    found: Found = {
        "python": sys.version.split()[0],
        "python_headers": Path(sysconfig.get_paths()["include"], "Python.h").is_file(),  # Triton compiles against them
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "packages": {name: installed(name) for name in SHOWN},
        "gpu": nvidia_smi(),
    }
    for name in ("nvcc", "g++", "compute-sanitizer"):
        path = tool(name)
        found[name] = session.run(path, "--version", seconds=20).line(" ") if path else None
    if shutil.which("nvidia-smi"):
        session.run("nvidia-smi", seconds=30)
    if installed("torch"):
        script = "import json; from benchmarks.gpu.machine import properties; print(json.dumps(properties()))"
        found["torch"] = session.python("-c", script, seconds=60).json()
    if not session.dry and not found["gpu"]:
        raise Trouble("nvidia-smi shows no GPU", found)
    return found


def build(session: Session) -> Found:
    """Install what is missing, then the package with CUDA for this GPU alone; without CUDA, should that fail."""
    missing = [need for need in REQUIREMENTS if installed(need.partition(">")[0]) is None]
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    source = () if session.wheels is None else ("--no-index", "--find-links", session.wheels)
    capability = session.found["environment"].get("gpu", {}).get("compute_cap", "9.0").replace(".", "")
    architecture = f"cmake.define.FASTDENSE_CUDA_ARCHS={capability}-real"
    package = (*pip, "--no-build-isolation", "--no-deps", "--config-settings", architecture)
    found: Found = {"missing": missing, "command": " ".join(map(str, (*package, "-e", ".")))}
    if session.dry or not session.build:
        raise LeftOut(f"not asked for; it would install {missing or 'nothing more'} and run pip {found['command'][7:]}")
    if missing and not session.python(*pip, *source, *missing, seconds=60).ok:
        found["install"] = f"{', '.join(missing)} could not be installed; see --print-requirements"
    cuda = "--config-settings", "cmake.define.FASTDENSE_CUDA=ON"
    if session.python(*package, *cuda, "-e", ".", seconds=270).ok:
        return found
    plain = "--config-settings", "cmake.define.FASTDENSE_CUDA=OFF"
    again = session.python(*package, *plain, "-e", ".", seconds=150).ok
    raise RuntimeError(f"no build with CUDA; {'one without worked' if again else 'nor one without'} (log.txt has more)")


IMPORT = """
import json, fastdense as fd, fastdense.cuda as cuda
from fastdense.versions import build_config
found = {"file": fd.__file__, "build": build_config(), "available": cuda.is_available()}
try:
    found["device"] = cuda.device_info()
    from fastdense import _cuda
    found["cublaslt"] = _cuda.lt_path() or _cuda.why_no_lt()
except Exception as error:
    found["error"] = f"{type(error).__name__}: {error}"
print(json.dumps(found, default=str))
"""


def imports(session: Session) -> Found:
    """Whether the compiled part loads, which device it sees, and which cuBLASLt it found."""
    found: Found = session.python("-c", IMPORT, seconds=60).json()
    if "error" in found and not session.dry:
        raise Trouble(found["error"], found)
    return found


def products(session: Session) -> Found:
    """Which fused products cuBLASLt has here, by epilogue and data type, and whether they are right: a program in C++.

    It needs neither nvcc nor the package. On a CPU it is linked with the fake of the tests instead.
    """
    program, toolkit = session.out / "lt_device", cuda_folder()
    sources = [ROOT / "tests/cpp/lt_device.cpp", ROOT / "csrc/cuda/layerwise/lt.cpp"]
    if session.dry:
        fakes = ("lt_library.cpp", "fake_cublaslt.cpp", "accesses.cpp", "races.cpp", "runtime.cpp")
        sources += [ROOT / "tests/emulator" / name for name in fakes]
        options = ["-DFD_EMULATE", f"-I{ROOT / 'tests/emulator'}"]
        libraries = ["-lpthread", "-ldl"]
    else:
        sources.append(ROOT / "csrc/cuda/layerwise/lt_library.cpp")
        options = [f"-I{toolkit / 'include'}"]
        libraries = [f"-L{toolkit / 'lib64'}", "-lcudart_static", "-ldl", "-lrt", "-lpthread"]
    missing = [str(path.relative_to(ROOT)) for path in sources if not path.is_file()]
    if missing:
        raise LeftOut(f"this checkout has no {', '.join(missing)}")
    compiler = os.environ.get("CXX", "g++")
    built = session.run(
        *(compiler, "-std=c++17", "-O2", f"-I{ROOT / 'csrc'}", *options, *sources, "-o", program, *libraries),
        seconds=90,
    )
    if not built.ok:
        raise RuntimeError(built.line("error"))
    folders = [] if session.dry else session.python("-c", FOLDERS, seconds=30).json()
    done = session.run(program, *folders, seconds=60)
    program.unlink()
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
    far = [name for name, one in first.items() if abs(one.get("beside_cpu", 0.0)) > 0.01]
    found: Found = {"nets": first, "failed": failed, "not_the_same_twice": unequal, "far_from_cpu": far}
    if failed or unequal or far:
        raise Trouble(
            f"failed: {list(failed)}, not the same twice: {unequal}, more than 1 % from the CPU: {far}", found
        )
    return found


def tests(session: Session) -> Found:
    """The tests of the CUDA engine, every skip a failure; on the emulator where there is no GPU."""
    report = session.out / "tests.xml"
    chosen = [ROOT / "tests", "--ignore", ROOT / "tests" / "peers", "--require-cuda", "-m", "cuda"]
    if session.dry:
        emulated = (f"--emulated-cuda={session.emulated}", "-m", "cuda") if session.emulated else ()
        chosen = [ROOT / "tests" / "parity" / "test_parity_runs.py", *emulated]
    report.unlink(missing_ok=True)
    if installed("pytest-xdist") and not session.dry:
        chosen += ["-n", "8"]
    done = session.python("-m", "pytest", "-v", "--tb=short", f"--junitxml={report}", *chosen, seconds=150)
    counts = junit_counts(report) if report.is_file() else line_counts(done.output)
    found: Found = {"timed_out": done.timed_out, **counts}
    if not done.ok:
        raise Trouble(done.last_line, found)
    return found


def sanitizer(session: Session) -> Found:
    """compute-sanitizer's four tools over the small nets."""
    checker = tool("compute-sanitizer")
    if checker is None or session.dry:
        raise LeftOut("not here: compute-sanitizer and a GPU")
    found: Found = {}
    probe = (sys.executable, "-m", "benchmarks.gpu.probe", "cuda", "--alone")
    for name in SANITIZERS:
        options = ("--tool", name, "--error-exitcode", "9", "--print-limit", "20")
        done = session.run(checker, *options, *probe, seconds=30)
        found[name] = "clean" if done.ok else "timed out" if done.timed_out else done.line("ERROR SUMMARY")
    if any(said not in ("clean", "timed out") for said in found.values()):
        raise Trouble(", ".join(f"{name}: {said}" for name, said in found.items()), found)
    return found


def benchmark(session: Session, name: str, seconds: float, *options: str) -> Found:
    """The benchmark into NAME.json, which is whole after every case."""
    path = session.out / f"{name}.json"
    path.unlink(missing_ok=True)
    words = ("-m", "benchmarks", "gpu", "--device", session.device, "--out", path, "--seconds", f"{seconds - 45:.0f}")
    done = session.python(*words, *options, seconds=seconds)
    if not path.is_file():
        raise RuntimeError(done.last_line)
    result = json.loads(path.read_text(encoding="utf-8"))
    verdicts = {f"{goal['text']}, {goal['baseline']}": [goal["worst"], goal["verdict"]] for goal in result["goals"]}
    found: Found = {"cases": len(result["cases"]), "not_run": result["not_run"], "goals": verdicts}
    if not done.ok:
        raise Trouble(f"exit code {done.code}: the log names what was left out", found)
    return found


def smallest(session: Session, case: str) -> list[str]:
    """In a dry run, only this case, on little data."""
    if not session.dry:
        return []
    return ["--only", case, "--rows", "256", *(["--emulated", str(session.emulated)] if session.emulated else [])]


def quick(session: Session) -> Found:
    """A few cases."""
    return benchmark(session, "quick", 170.0, "--quick", *smallest(session, "2-3-1-batch-32"))


def full(session: Session) -> Found:
    """All cases, goals first, in the time that is left."""
    if session.left < 60:
        raise LeftOut("no time was left; run python -m benchmarks gpu")
    options = smallest(session, "2-3-1-batch-128")
    if (before := session.out / "quick.json").is_file():
        options += ["--after", str(before)]
    return benchmark(session, "full", session.left - 5, *options)


PARTS: dict[str, Callable[[Session], Found]] = {
    "environment": environment,
    "build": build,
    "import": imports,
    "products": products,
    "nets": nets,
    "tests": tests,
    "sanitizer": sanitizer,
    "quick": quick,
    "full": full,
}


# ---- the session ---------------------------------------------------------------------------------------------------


class Trouble(Exception):
    """A part that failed but found something."""

    def __init__(self, message: str, found: Found) -> None:
        super().__init__(message)
        self.found = found


def perform(session: Session, part: Callable[[Session], Found]) -> Found:
    """Do one part; whatever happens becomes its result."""
    begin = time.monotonic()
    try:
        result = {"status": "ok", "found": part(session)}
    except LeftOut as reason:
        result = {"status": "left out", "reason": str(reason)}
    except Trouble as trouble:
        result = {"status": "failed", "reason": str(trouble), "found": trouble.found}
    except Exception as error:
        session.commands.note(traceback.format_exc())
        result = {"status": "failed", "reason": f"{type(error).__name__}: {error}"}
    return {**result, "seconds": round(time.monotonic() - begin, 1)}


def line_of(name: str, result: Found) -> str:
    """One line for a reader."""
    words = f"{name:12} {result['status']:9} {result['seconds']:6.1f} s"
    return f"{words}   {result['reason']}" if "reason" in result else words


def keep(session: Session, results: dict[str, Found]) -> None:
    """Write session.json and summary.txt: they are whole at any moment."""
    text = "\n".join(line_of(name, result) for name, result in results.items()) + "\n"
    for name, content in (("session.json", json.dumps(results, indent=1) + "\n"), ("summary.txt", text)):
        fresh = session.out / f"{name}.part"
        fresh.write_text(content, encoding="utf-8")
        os.replace(fresh, session.out / name)


def parser() -> argparse.ArgumentParser:
    """The options."""
    found = argparse.ArgumentParser(prog="python -m benchmarks gpu-session", description=__doc__.split("\n\n")[1])
    found.add_argument("--out", type=Path, metavar="DIR", help="for session.json, summary.txt, log.txt, tests.xml, ...")
    found.add_argument("--seconds", type=float, default=570, help="for everything (default: %(default)s)")
    found.add_argument("--wheels", type=Path, metavar="DIR", help="install what is missing from this folder alone")
    found.add_argument("--no-build", action="store_true", help="take the fastdense that is installed")
    found.add_argument("--only", nargs="+", choices=PARTS, help="these parts (environment always)")
    found.add_argument("--dry-run", action="store_true", help="no GPU: all of it that can be done on the CPU")
    found.add_argument("--emulated", type=Path, metavar="FILE", help="a dry run with this emulated module of the tests")
    found.add_argument("--print-requirements", action="store_true", help="what must be there before, and how to get it")
    return found


def main(arguments: Sequence[str]) -> int:
    """Do all parts; exit code 1 if one failed."""
    reader = parser()
    options = reader.parse_args(arguments)
    if options.print_requirements:
        print(PREPARE.format(quoted=" ".join(f"'{need}'" for need in REQUIREMENTS)))
        return 0
    if options.out is None:
        reader.error("--out DIR is needed")
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    wheels, emulated = (path and path.resolve() for path in (options.wheels, options.emulated))
    end, dry = time.monotonic() + options.seconds, options.dry_run or emulated is not None
    session = Session(out, end, dry, wheels, not options.no_build, Commands(ROOT, out / "log.txt"), emulated)
    results: dict[str, Found] = {}
    for name, part in PARTS.items():
        if options.only and name not in (*options.only, "environment"):
            continue
        results[name] = perform(session, part)
        session.found[name] = results[name].get("found", {})
        keep(session, results)
        print(line_of(name, results[name]), flush=True)
    return int(any(result["status"] == "failed" for result in results.values()))
