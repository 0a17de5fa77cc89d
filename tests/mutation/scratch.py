"""A copy of the tree in which lines are changed, rebuilt and tested; the tree itself stays as it is.

The C++ core is built once, by CMake, from the tree. For a mutation only the sources that include the changed file are
compiled, by the same commands but for the folder, and linked before the libraries that hold the others. The kernels of
the baseline's instruction set stay as they are: the tests run those of the widest one.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .operators import Mutation
from .suites import Step

ROOT = Path(__file__).parents[2]
MEMORY = 8 << 30  # a wrong size must not take the machine's memory


TIMED = "ctrl_c|interrupt|thread"  # a busy machine may make such a test fail: once more


@dataclass
class Outcome:
    """Whether a test failed, and which."""

    noticed: bool
    by: str


def _prepare() -> None:
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]  # stays: tests of refused memory end with a higher limit
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, hard))
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore it, and tests send it


def _run(command: Sequence[str], seconds: float, folder: Path, environment: dict[str, str]) -> int:
    """Exit status of a command; what it has started ends with it."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_prepare,
    )
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return 124
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@dataclass
class Build:
    """What CMake has built from the tree, in a folder with `build.ninja`."""

    folder: Path
    dependencies: dict[str, list[str]] = field(init=False)
    commands: dict[str, str] = field(init=False)
    links: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self._ninja("_core", "fastdense_core_test")
        entries = json.loads((self.folder / "compile_commands.json").read_text(encoding="utf-8"))
        self.commands = {os.path.relpath(one["output"], self.folder): one["command"] for one in entries}
        self.dependencies = {}
        for block in self._ninja("-t", "deps").split("\n\n"):
            name, _, files = block.partition(":")
            self.dependencies.setdefault(name, files.split("\n    ")[1:])
        self.links = {
            target: self._ninja("-t", "commands", target)
            .strip()
            .splitlines()[-1]
            .removeprefix(": && ")
            .removesuffix(" && :")
            for target in ("_core", "fastdense_core_test")
        }

    def _ninja(self, *arguments: str) -> str:
        command = ["ninja", "-C", str(self.folder), "--quiet", "-j1", *arguments]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    def objects(self, file: str) -> list[str]:
        """Those that depend on a file of the tree, but for the kernels that no test runs."""
        path = str(ROOT / file)
        found = [name for name, files in self.dependencies.items() if path in files and name in self.commands]
        if not found:
            raise SystemExit(f"mutation: no object in {self.folder} depends on {path}; build it without ccache")
        return [
            name for name in found if "fd_kernels_baseline" not in name and "emulat" not in name and "_lt" not in name
        ]


class Scratch:
    """The copy, in a folder."""

    def __init__(self, folder: Path, build: Build | None, durations: Path) -> None:
        self.folder, self.build, self.durations = folder, build, durations
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in filter(None, listed.stdout.split("\0")):
            source = ROOT / name
            if source.is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, folder / name)
        package, original = folder / "python/fastdense", ROOT / "python/fastdense"
        for library in original.glob("_libs/*.so"):
            (package / "_libs").mkdir(exist_ok=True)
            shutil.copyfile(library, package / "_libs" / library.name)
        self.core = package / next((original if build is None else build.folder).glob("_core*.so")).name
        self.restore(None)

    def restore(self, mutation: Mutation | None) -> None:
        """Everything as in the tree."""
        if mutation is not None:
            self._write(mutation.file, (ROOT / mutation.file).read_text(encoding="utf-8"))
        if mutation is None or mutation.file.startswith("csrc/"):
            shutil.copyfile(
                (ROOT / "python/fastdense" if self.build is None else self.build.folder) / self.core.name, self.core
            )
            if self.build:
                shutil.copy(self.build.folder / "fastdense_core_test", self.folder)

    def _write(self, file: str, text: str) -> None:
        path = self.folder / file
        path.write_text(text, encoding="utf-8")
        if path.suffix == ".py":
            Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)

    def apply(self, mutation: Mutation) -> str:
        """Change the line and rebuild; "", or why there is nothing to test: "invalid" or "same code"."""
        text = mutation.apply((ROOT / mutation.file).read_text(encoding="utf-8"))
        self._write(mutation.file, text)
        if mutation.file.startswith("csrc/"):
            return self._compile(mutation.file)
        try:
            compile(text, mutation.file, "exec")
        except SyntaxError:
            return "invalid"
        return ""

    def _compile(self, file: str) -> str:
        assert self.build is not None
        changed = []
        for number, name in enumerate(self.build.objects(file)):
            target = self.folder / f"mutant_{number}.o"
            command = self.build.commands[name].replace(f"{ROOT}/csrc", f"{self.folder}/csrc")
            command = command.replace(f" -o {name} ", f" -o {target} ").replace(
                f"{ROOT}/tests/cpp", f"{self.folder}/tests/cpp"
            )
            if subprocess.run(command, shell=True, cwd=self.build.folder, stderr=subprocess.DEVNULL).returncode:
                return "invalid"
            if target.read_bytes() != (self.build.folder / name).read_bytes():
                changed.append((name, target))
        if not changed:
            return "same code"
        for link in self.build.links.values():
            mine = f" {self.core} " if self.core.name in link else f" {self.folder}/fastdense_core_test "
            command = link.replace(f" -o {self.core.name} ", f" -o{mine}").replace(
                " -o fastdense_core_test ", f" -o{mine}"
            )
            added = ""
            for name, target in changed:
                if f" {name} " in command:
                    command = command.replace(f" {name} ", f" {target} ")
                elif "/_core.dir/" not in name and "core_test.dir" not in name:
                    added += f" {target}"
            command = command.replace(" libfd_core.a ", f"{added} libfd_core.a ")
            if subprocess.run(command, shell=True, cwd=self.build.folder, stderr=subprocess.DEVNULL).returncode:
                return "invalid"
        return ""

    def test(self, steps: Sequence[Step], seconds: float) -> Outcome:
        """Run the tests, the quickest first, until one fails. A test that takes more than `seconds` has failed."""
        last = self.folder / "last_test"
        for step in steps:
            environment = {
                "PYTHONPATH": str(self.folder / "python"),
                "MUTATION_SECONDS": str(seconds),
                "MUTATION_LAST_TEST": str(last),
                "MUTATION_DURATIONS": str(self.durations),
                **step.environment,
            }
            if step.program:
                last.write_text(step.program, encoding="utf-8")
                status = _run([f"./{step.program}"], seconds, self.folder, environment)
            else:
                status = self._pytest(step.arguments, seconds, environment)
                unsure = last.read_text(encoding="utf-8")
                if status and re.search(TIMED, unsure) and not self._pytest([unsure], seconds, environment):
                    status = self._pytest([*step.arguments, f"--deselect={unsure}"], seconds, environment)
            if status:
                how = {124: " (time)", -11: " (crash)", -6: " (crash)"}.get(status, "")
                return Outcome(True, last.read_text(encoding="utf-8") + how)
        return Outcome(False, "")

    def _pytest(self, arguments: Sequence[str], seconds: float, environment: dict[str, str]) -> int:
        (self.folder / "last_test").write_text("(collection)", encoding="utf-8")
        plugins = ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "tests.mutation.limit"]
        command = [sys.executable, "-m", "pytest", "-x", "-q", *plugins, *arguments]
        return _run(command, 60 * seconds, self.folder, environment)
