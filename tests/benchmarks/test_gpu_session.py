"""A GPU session without a GPU: what it does when, how long at most, and what becomes of failures."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import arrays, build, commands, parts, probe, session
from benchmarks.gpu.commands import Done, LeftOut, Session, Trouble

ROOT = Path(__file__).parents[2]


def test_limits() -> None:
    """The parts of a call fit into it, both calls into a session; a goal is measured before anything that can wait."""
    for name, call in parts.CALLS.items():
        assert sum(part.seconds for part in call.values()) <= parts.LIMITS[name]
    assert parts.LIMITS == {"A": 330.0, "B": 300.0}
    starts, whole = 2 * 120, 900  # seconds, should B find a fresh machine
    assert sum(parts.LIMITS.values()) + starts <= whole
    first, second = (list(parts.CALLS[name]) for name in "AB")
    assert first[-2:] == ["calibrate", "quick"] and "tests" not in first and "sanitizer" not in first
    assert second.index("arrays") < second.index("tests") < second.index("sanitizer") < second.index("full")
    timed = [name for call in parts.CALLS.values() for name, part in call.items() if part.times]
    assert timed == ["calibrate", "quick", "sweep", "full"], "nothing runs in the background of these"


def test_a_session_without_a_gpu(tmp_path: Path) -> None:
    """Every part ends with a verdict, and nothing but Python's own library is needed to begin."""
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import benchmarks.__main__, benchmarks.gpu.session"
    subprocess.run([sys.executable, "-I", "-S", "-c", script], check=True, timeout=60)
    torch = find_spec("torch") is not None
    wanted = ["build", "import", "nets", "products", "calibrate", *(["quick"] if torch else [])]
    wanted += ["arrays", "sanitizer"]
    words = ["gpu-session", "--dry-run", "--out", str(tmp_path / "first"), "--only", *wanted]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *words], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    found = json.loads((tmp_path / "first" / "session.json").read_text(encoding="utf-8"))
    assert done.returncode == 0, done.stdout + done.stderr + json.dumps(found)
    assert list(found) == ["environment", *wanted]
    left_out = [name for name, part in found.items() if part["status"] == "left out"]
    assert left_out == ["build", "calibrate", "sanitizer"] and all(
        part["status"] != "failed" for part in found.values()
    )
    assert "build with CMake" in found["build"]["reason"]
    assert set(found["nets"]["found"]["nets"]) == set(probe.NETS)
    assert set(found["arrays"]["found"]) == set(arrays.CASES) and found["arrays"]["found"]["lists"] == "ok"
    assert (tmp_path / "first" / "summary.txt").read_text(encoding="utf-8").count("\n") == len(found)
    assert done.stdout == (tmp_path / "first" / "summary.txt").read_text(encoding="utf-8")
    for file in (tmp_path / "first").iterdir():
        assert str(ROOT) not in file.read_text(encoding="utf-8"), f"{file.name} names a folder of this machine"


def fake_session(folder: Path, **options: Any) -> Session:
    run = commands.Commands(ROOT, folder / "log.txt")
    given: dict[str, Any] = {"end": float("inf"), "dry": False, "wheels": None, "build": True} | options
    return Session(folder, folder, commands=run, **given)


def test_a_missing_package_ends_the_session_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "installed", lambda name: None if name == "scipy-openblas32" else "1")
    monkeypatch.setattr(parts, "build", lambda _: pytest.fail("nothing may follow"))
    assert session.main(["--out", str(tmp_path / "a")]) == 1
    assert (tmp_path / "a" / "log.txt").read_text(encoding="utf-8") == "", "no command may run before"
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "neither installed nor in --wheels: scipy-openblas32>=0.3.31" in said
    assert "--without-openblas builds without it" in said
    (tmp_path / "scipy_openblas32-0.3.31-py3-none-manylinux_2_17_x86_64.whl").touch()
    assert build.check_packages(fake_session(tmp_path, wheels=tmp_path)) == []
    assert build.check_packages(fake_session(tmp_path, openblas=False)) == []
    with pytest.raises(Trouble, match="scipy-openblas32"):
        build.check_packages(fake_session(tmp_path))
    assert "scipy-openblas32>=0.3.31" in build.check_packages(fake_session(tmp_path, dry=True))


def test_what_fails_in_a_session_is_written_down(tmp_path: Path) -> None:
    def breaks(_: Session) -> dict[str, Any]:
        raise ZeroDivisionError("by nothing")

    def finds(_: Session) -> dict[str, Any]:
        raise Trouble("one of two", {"two": 2})

    def leaves(_: Session) -> dict[str, Any]:
        raise LeftOut("no such tool")

    here = fake_session(tmp_path)
    results = {do.__name__: session.perform(here, parts.Part(do, 1)) for do in (breaks, finds, leaves)}
    assert [result["status"] for result in results.values()] == ["failed", "failed", "left out"]
    assert results["breaks"]["reason"] == "ZeroDivisionError: by nothing" and results["finds"]["found"] == {"two": 2}
    assert "by nothing" in here.commands.log.read_text(encoding="utf-8")
    session.keep(here, results)
    assert "leaves       left out" in (tmp_path / "summary.txt").read_text(encoding="utf-8")
    needy = session.perform(here, parts.Part(breaks, 1, needs_package=True))
    assert needy["reason"] == "there is no package to try it with"


def test_a_part_ends_at_its_limit(tmp_path: Path) -> None:
    here = fake_session(tmp_path)
    here.part_end = time.monotonic() + 2
    assert here.run("sleep", "600", seconds=600).timed_out
    here.start("sleeper", "-c", "import time; print('begun', flush=True); time.sleep(600)")
    process = here.background["sleeper"]
    while not (tmp_path / "sleeper.log").read_text(encoding="utf-8"):
        assert process.poll() is None
    assert here.stop_background() == {"sleeper": None} and process.poll() is not None
    assert "begun" in here.commands.log.read_text(encoding="utf-8") and not here.background


def test_what_call_a_has_measured_is_taken_over(tmp_path: Path) -> None:
    here, other = fake_session(tmp_path), tmp_path / "first"
    assert here.earlier("quick.json") == []
    other.mkdir()
    (other / "quick.json").touch()
    here.after = other
    assert here.earlier("quick.json") == ["--after", other / "quick.json"], "of another machine"
    (tmp_path / "quick.json").touch()
    assert here.earlier("quick.json") == ["--after", tmp_path / "quick.json"], "this machine's first"


class Recorded:
    """Commands that are not run: those that hold `fails` end with exit code 1, and after a build there is a module."""

    def __init__(self, site: Path, fails: str) -> None:
        self.site, self.fails, self.seen = site, fails, list[str]()

    def __call__(self, words: list[str], seconds: float, environment: Any = None) -> Done:
        self.seen.append(" ".join(words))
        failed = self.fails in self.seen[-1] if self.fails else False
        if "--build" in words and not failed:
            (self.site / "fastdense").mkdir(parents=True)
            (self.site / "fastdense" / "_cuda.so").touch()
        return Done(int(failed), "error: no", 1.0, False)


def recorded_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str = "") -> tuple[Session, Recorded]:
    here = fake_session(tmp_path, wheels=tmp_path / "wheels")
    run = Recorded(here.site, fails)
    monkeypatch.setattr(here.commands, "run", run)
    monkeypatch.setattr(build, "installed", lambda name: None if name == "ninja" else "1")
    here.found["environment"] = {"gpu": {"compute_cap": "9.0"}}
    return here, run


def test_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, run = recorded_build(tmp_path, monkeypatch)
    assert build.build(here) == {"trouble": None, "openblas": True}
    pip, _, configure, make, install = run.seen
    assert "--target" in pip and f"--no-index --find-links {tmp_path / 'wheels'} ninja>=1.11" in pip
    assert "FASTDENSE_CUDA_ARCHS=90-real" in configure and configure.endswith("-DFASTDENSE_OPENBLAS=")
    assert "--target _core _cuda fastdense_calibrate" in make and f"--prefix {here.site}" in install
    assert (here.site / "fastdense" / "engine" / "gpu.py").is_file()
    assert here.commands.environment["PYTHONPATH"].startswith(f"{here.site}:")
    assert "kept" in build.build(here), "a later call on this machine builds nothing"


def test_a_build_goes_on_without_openblas_or_cuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, run = recorded_build(tmp_path, monkeypatch, "-DFASTDENSE_OPENBLAS=")
    with pytest.raises(RuntimeError, match="CMake found no way to build"):
        build.build(here)
    assert [line.rpartition("=")[2] for line in run.seen if "OPENBLAS" in line] == ["", "OFF"]
    here, run = recorded_build(tmp_path, monkeypatch, "--build")
    with pytest.raises(Trouble, match="no build with CUDA: error: no"):
        build.build(here)
    assert "--install" in run.seen[-1], "the CPU's part is there all the same"


def test_the_program_of_the_products_links(tmp_path: Path) -> None:
    """Whatever it finds on this machine, which may have no GPU: all that it calls is in its sources."""
    if not (parts.cuda_folder() / "lib64" / "libcudart_static.a").is_file():
        pytest.skip("the CUDA toolkit is not installed")
    with suppress(Trouble):
        parts.products(fake_session(tmp_path))
    assert (tmp_path / "lt_device").is_file(), (tmp_path / "log.txt").read_text(encoding="utf-8")


def test_what_is_committed_names_no_folder(tmp_path: Path) -> None:
    here = fake_session(tmp_path)
    text = f"{sys.executable} {ROOT}/csrc {tmp_path}/first {Path.home()}/x"
    assert str(Path.home()) not in session.without_paths(here, text) and "python ./csrc" in session.without_paths(
        here, text
    )


@pytest.mark.cuda
def test_the_tests_that_a_session_runs(gpu: Any) -> None:
    """About ninety, of the files that are there."""
    words = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "cuda", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*words, "--require-cuda", *parts.TESTS], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert 70 <= sum("::" in line for line in done.stdout.splitlines()) <= 110


def test_commands(tmp_path: Path) -> None:
    run = commands.Commands(tmp_path, tmp_path / "log.txt").run
    done = run([sys.executable, "-c", "print('{\"a\": 1}\\nthe end'); raise SystemExit(3)"], 60)
    assert (done.code, done.ok, done.last_line, done.json()) == (3, False, "the end", {"a": 1})
    late = run(["sh", "-c", "echo waits; exec sleep 600"], 4)
    assert late.timed_out and not late.ok and late.line("wait") == "waits" and "timed out after 3 s" in late.last_line
    with pytest.raises(RuntimeError, match="waits"):
        late.json()
    assert "exit code 3" in (tmp_path / "log.txt").read_text(encoding="utf-8")


def test_junit_counts(tmp_path: Path) -> None:
    report = tmp_path / "tests.xml"
    report.write_text(
        '<testsuites><testsuite tests="3" failures="1" errors="0" skipped="1"><testcase classname="tests.a" name="b">'
        '<failure message="assert 1 == 2&#10;more">x</failure></testcase></testsuite></testsuites>',
        encoding="utf-8",
    )
    counts = {"tests": 3, "failures": 1, "errors": 0, "skipped": 1}
    assert commands.junit_counts(report) == {**counts, "wrong": {"a.b": "assert 1 == 2"}}
    lines = "tests/a.py::b[x y] FAILED   [ 1%]\ntests/a.py::c PASSED\ntests/a.py::d SKIPPED (why)\ntests/a.py::e "
    assert commands.line_counts(lines) == {**counts, "wrong": {"tests/a.py::b[x y]": "FAILED"}}
    assert (
        commands.line_counts("[gw0] [ 50%] PASSED tests/a.py::c \n[gw7] [99%] ERROR tests/a.py::b[x y]")["errors"] == 1
    )


def test_requirements(capsys: pytest.CaptureFixture[str]) -> None:
    assert session.main(["--print-requirements"]) == 0
    shown = capsys.readouterr().out
    assert "pip download -d wheels 'pybind11>=" in shown and "'pytest>=8'" in shown
