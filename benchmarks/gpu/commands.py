"""Commands with a time limit and a log; for `session`. Only Python's own library."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import xml.etree.ElementTree as xml
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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


class Commands:
    """Runs commands in a folder and appends what they print to one log."""

    def __init__(self, folder: Path, log: Path) -> None:
        self.folder, self.log = folder, log
        log.write_text("", encoding="utf-8")

    def note(self, text: str) -> None:
        """Append to the log."""
        with self.log.open("a", encoding="utf-8") as file:
            file.write(text if text.endswith("\n") else text + "\n")

    def run(self, words: Sequence[str], seconds: float, environment: dict[str, str] | None = None) -> Done:
        """Run until it ends; after `seconds` it is interrupted, and 15 s later ended with all its processes."""
        self.note(f"\n$ {' '.join(words)}")
        begin = time.monotonic()
        timed_out = False
        with self.log.open("ab") as file:
            start = file.tell()
            process = subprocess.Popen(
                words,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
                start_new_session=True,
            )
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                timed_out = True
                os.killpg(process.pid, signal.SIGINT)  # pytest then still writes its report
                with suppress(subprocess.TimeoutExpired):
                    process.wait(15)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        with self.log.open("rb") as file:
            file.seek(start)
            output = file.read().decode("utf-8", errors="replace")
        took = round(time.monotonic() - begin, 1)
        self.note(f"[{'timed out' if timed_out else f'exit code {process.returncode}'}, {took} s]")
        return Done(process.returncode, output, took, timed_out)


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
