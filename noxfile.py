"""Sessions for work on fastdense: `nox -l` lists them, `nox -s "ci(lint)"` runs one."""

import hashlib
import shutil
from pathlib import Path

import nox

nox.options.sessions = ["ci(lint)", "tests"]
nox.options.default_venv_backend = "venv"

# of .ci/run
PARTS = ["lint", "docs", "wheel", "threads", "cuda", "arm", "windows", "sanitize", "peers", "cluster", "attack"]


@nox.session
def tests(session: nox.Session) -> None:
    """The test suite against the installed wheel; arguments go to pytest."""
    session.install(".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def oldest_numpy(session: nox.Session) -> None:
    """The test suite with the oldest NumPy that has a wheel for this Python."""
    session.install(".[test]", "numpy~=1.26.0" if session.python in (None, "3.10", "3.11", "3.12") else "numpy~=2.1.0")
    session.run("pytest", *session.posargs)


@nox.session
@nox.parametrize(
    "part",
    [nox.param(name, id=name) for name in PARTS],
)
def ci(session: nox.Session, part: str) -> None:
    """One part of .ci/run, which installs what it needs."""
    session.run("bash", ".ci/run", part, external=True, env={"VENV": session.virtualenv.location})


def built(session: nox.Session, preset: str, *options: str) -> None:
    """Configure and build a preset of CMakePresets.json with this session's Python."""
    python = f"{session.bin}/python"
    pybind11 = session.run(python, "-m", "pybind11", "--cmakedir", silent=True)
    definitions = [f"-DPython_EXECUTABLE={python}", f"-Dpybind11_DIR={str(pybind11).strip()}"]
    session.run("cmake", "--preset", preset, *definitions, *options)
    session.run("cmake", "--build", "--preset", preset)


@nox.session
@nox.parametrize("preset", [nox.param(name, id=name) for name in ("tsan", "debug-asan-ubsan")])
def sanitized(session: nox.Session, preset: str) -> None:
    """C++ tests, and Python tests and attacks of threads, forks and interrupts, with sanitizers; about half an hour."""
    session.install(".[dev,test]")
    built(session, preset)
    session.run("ctest", "--preset", preset)
    session.run("python", "-m", "tests.sanitized", f"build/{preset}", *(session.posargs or ["--long"]))


COVERED = ["tests/unit", "tests/runs", "tests/reference"] + [
    f"tests/parity/test_{name}.py" for name in ("parity", "parity_runs", "solvers", "population_parity")
]


@nox.session
def reproducible(session: nox.Session) -> None:
    """The wheel and the sdist, built twice in folders of different names: the same bytes."""
    session.install("build")
    epoch = session.run("git", "log", "-1", "--format=%ct", external=True, silent=True)
    found = []
    for name in ("first", "another-one"):
        folder = Path(session.create_tmp()) / name
        shutil.rmtree(folder, ignore_errors=True)
        session.run("git", "clone", "-q", ".", str(folder), external=True)
        environment = {"SOURCE_DATE_EPOCH": str(epoch).strip(), "FASTDENSE_CUDA": "OFF"}
        session.run("python", "-m", "build", str(folder), env=environment, silent=True)
        found.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "dist").iterdir()})
        for file, digest in found[-1].items():
            session.log(f"{name}: {file} {digest}")
    if found[0] != found[1]:
        session.error("the two builds differ")


@nox.session
def coverage(session: nox.Session) -> None:
    """Lines of python and csrc that tests reach, and those that they do not; arguments go to pytest."""
    session.install(".[dev,test]", "coverage>=7.10", "gcovr")
    built(session, "coverage")
    site = session.run("python", "-m", "tests.sanitized", "build/coverage", "--install", silent=True)
    session.run("build/coverage/fastdense_core_test", external=True)
    tests = [*(session.posargs or COVERED), "-p", "no:xdist"]
    environment = {"PYTHONPATH": str(site).strip()}
    session.run("coverage", "run", "-m", "pytest", *tests, env=environment, success_codes=[0, 1])  # 1: some failed
    session.run("coverage", "combine")
    session.run("coverage", "report", "--show-missing", "--skip-covered")
    # inner loops run more often than gcovr believes
    options = ["--gcov-suspicious-hits-threshold", "0", "--merge-lines", "--sort", "uncovered-number"]
    session.run("gcovr", "--filter", "csrc/", *options, "build/coverage")


@nox.session
@nox.parametrize("harness", [nox.param(name, id=name) for name in ("files", "engine")])
def fuzz(session: nox.Session, harness: str) -> None:
    """A million executions of a harness of tests/fuzz; `engine` needs clang, as CXX or clang++."""
    session.install(".[dev,test]", "atheris")
    core = []
    if harness == "engine":
        built(session, "fuzz", *([f"-DCMAKE_CXX_COMPILER={session.env['CXX']}"] if session.env.get("CXX") else []))
        core = ["--core", "build/fuzz"]
    session.run("python", "-m", "tests.fuzz", harness, *core, *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """The benchmarks; arguments go to `python -m benchmarks`."""
    session.install(".[peers]")
    session.run("python", "-m", "benchmarks", *session.posargs)
