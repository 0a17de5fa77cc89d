"""What a GPU session must find on its machine, and its build of the package. Only Python's own library.

The build goes into a folder of its own, by CMake alone: nothing is written into the machine's Python, which may be
read-only, and a later call on the same machine finds it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.gpu.commands import ROOT, Found, LeftOut, Session, Trouble

OPENBLAS = "scipy-openblas32"  # the one that a build can do without


def build_requirements() -> list[str]:
    """What pyproject.toml needs for a build, but for the back end of pip, and the build tools."""
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    asked: list[str] = json.loads(next(line for line in lines if line.startswith("requires = ")).partition("= ")[2])
    return [*(need for need in asked if not need.startswith("scikit-build")), "cmake>=3.24", "ninja>=1.11"]


REQUIREMENTS = (*build_requirements(), "numpy>=1.26", "pytest>=8", "hypothesis>=6.100")
TORCH = "torch>=2.8"  # for CUDA 13; much too large to be carried

PREPARE = """\
The machine must have: an NVIDIA driver >= 580, nvcc of CUDA 13, a C++17 compiler, Python >= 3.10 with its headers,
PyTorch for CUDA 13 (pip install torch), and for one part compute-sanitizer, which comes with the toolkit.
Without a network, make a folder of what else is missing on a machine that has one, and copy it:

  pip download -d wheels {quoted}

(for another Python or system: --only-binary=:all: --python-version 3.12 --platform manylinux_2_28_x86_64), then

  python -m benchmarks gpu-session --call A --out first-run --wheels wheels
"""


def name_of(need: str) -> str:
    """The name of a package, without its version."""
    return need.partition(">")[0]


def installed(name: str) -> str | None:
    """Version of a package, None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def in_folder(name: str, wheels: Path | None) -> bool:
    """Whether a folder has a wheel of this package."""
    plain = re.sub(r"[-_.]+", "_", name).lower()
    files = [] if wheels is None else wheels.glob("*.whl")
    return any(re.sub(r"[-_.]+", "_", file.name.partition("-")[0]).lower() == plain for file in files)


def missing() -> list[str]:
    """What is not installed of that which a session can install."""
    return [need for need in REQUIREMENTS if installed(name_of(need)) is None]


def check_packages(session: Session) -> list[str]:
    """What can be had in no way; this is known before a second of the machine's time is spent.

    Raises
    ------
    Trouble
        If that is anything at all, and this is no dry run.
    """
    wanted = [*missing(), *([] if installed(name_of(TORCH)) else [TORCH])]
    lacking = [need for need in wanted if not in_folder(name_of(need), session.wheels)]
    if not session.openblas:
        lacking = [need for need in lacking if name_of(need) != OPENBLAS]
    if lacking and not session.dry and session.build:
        words = f"neither installed nor in --wheels: {', '.join(lacking)} (--print-requirements says how to get them"
        without = "; --without-openblas builds without it)" if any(OPENBLAS in need for need in lacking) else ")"
        raise Trouble(words + without, {"lacking": lacking}, ends=True)
    return lacking


def tool(name: str) -> str | None:
    """Path of a program of the CUDA toolkit, or any other."""
    return shutil.which(name) or shutil.which(name, path="/usr/local/cuda/bin")


def use(session: Session) -> None:
    """Let all commands from now on find the session's packages, and its build if there is one.

    Without a build they find the fastdense that is installed, or else the checkout's, whose reference needs no build.
    """
    packages = session.work / "packages"
    roots = [packages, ROOT]
    if (session.site / "fastdense").is_dir():
        roots.insert(0, session.site)
    elif importlib.util.find_spec("fastdense") is None:
        roots.append(ROOT / "python")
    before = {name: os.environ.get(name, "") for name in ("PYTHONPATH", "PATH")}
    session.commands.environment |= {
        "PYTHONPATH": os.pathsep.join([*map(str, roots), *filter(None, [before["PYTHONPATH"]])]),
        "PATH": os.pathsep.join([str(packages / "bin"), os.path.dirname(sys.executable), before["PATH"]]),
    }


def install_missing(session: Session) -> str | None:
    """Put what is missing beside the session; what went wrong, if anything."""
    wanted = missing() if session.openblas else [need for need in missing() if name_of(need) != OPENBLAS]
    if not wanted:
        return None
    source = () if session.wheels is None else ("--no-index", "--find-links", session.wheels)
    options = ("--quiet", "--disable-pip-version-check", "--no-compile", "--target", session.work / "packages")
    done = session.python("-m", "pip", "install", *options, *source, *wanted, seconds=40)
    return None if done.ok else f"{', '.join(wanted)} could not be installed: {done.last_line}"


def configure(session: Session, openblas: bool) -> bool:
    """CMake, for this GPU alone and few instruction sets of the CPU; whether it found all it needs."""
    capability = session.found["environment"].get("gpu", {}).get("compute_cap", "9.0").replace(".", "")
    pybind = session.python("-m", "pybind11", "--cmakedir", seconds=10).last_line
    options = {
        "CMAKE_BUILD_TYPE": "Release",
        "Python_EXECUTABLE": sys.executable,
        "pybind11_DIR": pybind,
        "FASTDENSE_CUDA": "ON",
        "FASTDENSE_CUDA_ARCHS": f"{capability}-real",
        "FASTDENSE_ISAS": "avx2",
        "FASTDENSE_OPENBLAS": "" if openblas else "OFF",
    }
    defined = [f"-D{name}={value}" for name, value in options.items()]
    return session.run("cmake", "-S", ROOT, "-B", session.work / "cmake", "-G", "Ninja", *defined, seconds=40).ok


def copy_python(site: Path) -> None:
    """The part of the package that needs no compiler."""
    kept_out = shutil.ignore_patterns("*.so", "_libs", "__pycache__")
    shutil.copytree(ROOT / "python" / "fastdense", site / "fastdense", ignore=kept_out, dirs_exist_ok=True)
    number = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert number is not None
    (site / "fastdense" / "_version.py").write_text(f'VERSION = "{number.group(1)}"\n', encoding="utf-8")


def build(session: Session) -> Found:
    """Install what is missing, then build the package for this GPU, without OpenBLAS if it cannot be had."""
    if session.dry or not session.build:
        raise LeftOut(f"not asked for; it would install {missing() or 'nothing more'} and build with CMake")
    done = session.work / "built.json"
    if done.is_file():
        use(session)
        return {"kept": json.loads(done.read_text(encoding="utf-8"))}
    found: Found = {"trouble": install_missing(session), "openblas": session.openblas}
    use(session)
    if not configure(session, session.openblas):
        found["openblas"] = False
        if not session.openblas or not configure(session, openblas=False):
            raise RuntimeError("CMake found no way to build (log.txt has more)")
    folder = session.work / "cmake"
    targets = ("_core", "_cuda", "fastdense_calibrate")
    keep_going = ("--", "-k", "0")  # with what does not depend on a failure
    made = session.run("cmake", "--build", folder, "--target", *targets, *keep_going, seconds=session.left)
    session.run("cmake", "--install", folder, "--prefix", session.site, seconds=20)  # the CPU's part comes first
    copy_python(session.site)
    use(session)
    if not list(session.site.glob("fastdense/_cuda*.so")):
        raise Trouble(f"no build with CUDA: {made.line('error')}", found)
    if not made.ok:
        found["trouble"] = made.line("error:")
    done.write_text(json.dumps(found), encoding="utf-8")
    return found
