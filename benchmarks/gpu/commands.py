"""What the parts of a GPU session share: commands with a time limit and a log. Only Python's own library."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as xml
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
Found = dict[str, Any]


class LeftOut(Exception):
    """A part that cannot be done here, and why; that is no failure."""


class Trouble(Exception):
    """A part that failed but found something. `ends`: nothing that follows makes sense."""

    def __init__(self, message: str, found: Found, ends: bool = False) -> None:
        super().__init__(message)
        self.found, self.ends = found, ends


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    output: str
    seconds: float
    timed_out: bool

    @property
    def ok(self) -> bool:
        return self.code == 0 and not self.timed_out

    @property
    def last_line(self) -> str:
        """The last line that says something: mostly the error."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        said = lines[-1][:400] if lines else "(no output)"
        return f"timed out after {self.seconds:.0f} s: {said}" if self.timed_out else said

    def line(self, text: str) -> str:
        """The last line with this text, else the last one."""
        lines = [line.strip() for line in self.output.splitlines() if text in line]
        return lines[-1] if lines else self.last_line

    def json(self) -> Any:
        """What the last line of JSON holds.

        Raises
        ------
        RuntimeError
            If there is none: with the last line instead.
        """
        for line in reversed(self.output.splitlines()):
            if line.startswith(("{", "[")):
                with suppress(ValueError):
                    return json.loads(line)
        raise RuntimeError(self.last_line)


GRACE = 5.0  # seconds between asking a command to end, of those that it has, and ending it


class Commands:
    """Runs commands in a folder and appends what they print to one log. `environment` is added to that of all."""

    def __init__(self, folder: Path, log: Path) -> None:
        self.folder, self.log = folder, log
        self.environment: dict[str, str] = {}
        log.write_text("", encoding="utf-8")

    def note(self, text: str) -> None:
        """Append to the log."""
        with self.log.open("a", encoding="utf-8") as file:
            file.write(text if text.endswith("\n") else text + "\n")

    def start(self, words: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        """A command in the background, with a log of its own."""
        with log.open("wb") as file:
            return self._popen(words, file, {})

    def _popen(self, words: Sequence[str], file: Any, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            words,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **self.environment, **environment},
            start_new_session=True,
        )

    def run(self, words: Sequence[str], seconds: float, environment: dict[str, str] | None = None) -> Done:
        """Run until it ends; before `seconds` are over it is interrupted, then ended with all its processes."""
        self.note(f"\n$ {' '.join(words)}")
        begin = time.monotonic()
        grace = min(GRACE, seconds / 4)
        timed_out = False
        with self.log.open("ab") as file:
            start = file.tell()
            process = self._popen(words, file, environment or {})
            try:
                process.wait(seconds - grace)
            except subprocess.TimeoutExpired:
                timed_out = True
                os.killpg(process.pid, signal.SIGINT)  # pytest then still writes its report
                with suppress(subprocess.TimeoutExpired):
                    process.wait(grace)
            end(process)
        with self.log.open("rb") as file:
            file.seek(start)
            output = file.read().decode("utf-8", errors="replace")
        took = round(time.monotonic() - begin, 1)
        self.note(f"[{'timed out' if timed_out else f'exit code {process.returncode}'}, {took} s]")
        return Done(process.returncode, output, took, timed_out)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a command that was started here, with all its processes."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@dataclass
class Session:
    """What every part may use. `end` is when the session must be over, `part_end` when the part at work must."""

    out: Path  # for the results
    work: Path  # for what later calls on the same machine use
    end: float
    dry: bool
    wheels: Path | None
    build: bool
    commands: Commands
    emulated: Path | None = None
    openblas: bool = True
    after: Path | None = None  # results of call A that were made on another machine
    part_end: float = float("inf")
    found: dict[str, Found] = field(default_factory=dict)
    background: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def device(self) -> str:
        return "cpu" if self.dry else "cuda"

    @property
    def left(self) -> float:
        """Seconds until the part must be over."""
        return max(min(self.end, self.part_end) - time.monotonic(), 1.0)

    @property
    def site(self) -> Path:
        """Where the package is put that this session builds."""
        return self.work / "site"

    def earlier(self, name: str) -> list[str | Path]:
        """The option that takes over an earlier result of this name, if there is one."""
        there = [folder / name for folder in (self.work, self.after) if folder is not None]
        return next((["--after", path] for path in there if path.is_file()), [])

    def run(self, *words: str | Path, seconds: float, environment: dict[str, str] | None = None) -> Done:
        """A command in the checkout, within the time that is left."""
        return self.commands.run([str(word) for word in words], min(seconds, self.left), environment)

    def python(self, *words: str | Path, seconds: float) -> Done:
        """This Python."""
        return self.run(sys.executable, *words, seconds=seconds)

    def start(self, name: str, *words: str | Path) -> None:
        """This Python in the background, until `stop_background`."""
        log = self.work / f"{name}.log"
        self.background[name] = self.commands.start([sys.executable, *map(str, words)], log)

    def stop_background(self) -> dict[str, int | None]:
        """Exit codes of what ran in the background, None of what had to be ended; its output goes into the log."""
        codes = {name: process.poll() for name, process in self.background.items()}
        for name, process in self.background.items():
            end(process)
            self.commands.note(f"\n({name}, in the background: exit code {codes[name]})")
            self.commands.note((self.work / f"{name}.log").read_text(encoding="utf-8", errors="replace")[-4000:])
        self.background.clear()
        return codes


def junit_counts(report: Path, most: int = 40) -> dict[str, Any]:
    """Counts of a JUnit file, and the first tests that did not pass with the first line of the reason."""
    counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    wrong: dict[str, str] = {}
    for suite in xml.parse(report).getroot().iter("testsuite"):
        for key in counts:
            counts[key] += int(suite.get(key, "0"))
    for case in xml.parse(report).getroot().iter("testcase"):
        for kind in ("failure", "error"):
            if (found := case.find(kind)) is not None and len(wrong) < most:
                name = re.sub(r"^tests\.", "", f"{case.get('classname')}.{case.get('name')}")
                wrong[name] = (found.get("message") or "").splitlines()[0][:200] if found.get("message") else kind
    return {**counts, "wrong": wrong}


def line_counts(output: str) -> dict[str, Any]:
    """The same from what `pytest -v` printed until it was ended."""
    verdicts = re.findall(r"^(\S+::.+?) (PASSED|FAILED|ERROR|SKIPPED)\b", output, re.MULTILINE)
    together = re.findall(
        r"^\[gw\d+\].*? (PASSED|FAILED|ERROR|SKIPPED) (\S+::.+?)\s*$", output, re.MULTILINE
    )  # xdist's
    verdicts += [(name, verdict) for verdict, name in together]
    said = [verdict for _, verdict in verdicts]
    return {
        "tests": len(said),
        "failures": said.count("FAILED"),
        "errors": said.count("ERROR"),
        "skipped": said.count("SKIPPED"),
        "wrong": {name: verdict for name, verdict in verdicts if verdict in ("FAILED", "ERROR")},
    }
