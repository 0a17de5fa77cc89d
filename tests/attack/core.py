"""The core of the attack: what an attack is, how it counts, and child processes that may crash or hang."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import json
import os
import pickle
import re
import resource
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

# ---- child processes -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    """How a child process ended.

    Attributes
    ----------
    how : {"returned", "raised", "exit", "signal", "hung"}
    value : object
        What the function returned or raised, the exit code, the name of the signal, or the time limit.
    text : str
        The end of what the process wrote.
    """

    how: str
    value: Any
    text: str = ""

    def __str__(self) -> str:
        if self.how == "returned":
            return f"returned {self.value!r}"
        if self.how == "raised":
            return f"{type(self.value).__name__}: {shortened(str(self.value))}"
        words = {"exit": "exit code", "signal": "ended by", "hung": "not finished after (seconds)"}[self.how]
        tail = " | ".join(line for line in self.text.strip().splitlines()[-4:])
        return f"{words} {self.value}" + (f" [{shortened(tail, 300)}]" if tail else "")


class Child:
    """A function that runs in a forked process with a time limit.

    The process that forks should not have made a model, so that the child starts like a new one: after a team of
    OpenMP's threads, forked processes compute on one.
    """

    def __init__(self, function: Callable[..., Any], *arguments: Any, seconds: float) -> None:
        self.limit, self.began = seconds, time.monotonic()
        self._report, self._output = (tempfile.TemporaryFile() for _ in range(2))  # noqa: SIM115  (closed in `poll`)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # NumPy's threads are asleep and survive a fork
            self.pid = os.fork()
        if self.pid == 0:
            self._run(function, arguments)
        with contextlib.suppress(OSError):
            os.setpgid(self.pid, self.pid)

    def _run(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        """In the child: call the function, write down what it returned or raised, and end without cleaning up."""
        try:
            os.setpgid(0, 0)
            with contextlib.suppress(OSError, AttributeError):  # Linux: end with the process that waits for this one
                ctypes.CDLL(None).prctl(1, signal.SIGKILL)
            for stream in (1, 2):
                os.dup2(self._output.fileno(), stream)
            faulthandler.enable(self._output.fileno(), all_threads=False)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            try:
                found = ("returned", function(*arguments))
            except BaseException as error:  # an interrupt too
                traceback.print_exc()
                found = ("raised", _picklable(error))
            self._report.write(pickle.dumps(found))
            self._report.flush()
        finally:
            os._exit(0)

    def poll(self) -> Ended | None:
        """How it ended, once; None while it runs. Ends it when its time is over."""
        ended = self._ended()
        if ended is not None:
            self._report.close()
            self._output.close()
        return ended

    def _ended(self) -> Ended | None:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0:
            if time.monotonic() - self.began < self.limit:
                return None
            self._kill()
            return Ended("hung", round(self.limit, 1), self._text())
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            return Ended("signal", signal.Signals(number).name, self._text())
        self._report.seek(0)
        report = self._report.read()
        if os.WEXITSTATUS(status) or not report:
            return Ended("exit", os.WEXITSTATUS(status), self._text())
        how, value = pickle.loads(report)
        return Ended(how, value, self._text())

    def kill(self) -> None:
        """End the process and what it started."""
        self._kill()
        self._report.close()
        self._output.close()

    def _kill(self) -> None:
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def _text(self) -> str:
        size = os.fstat(self._output.fileno()).st_size
        return os.pread(self._output.fileno(), 4000, max(0, size - 4000)).decode(errors="replace")

    def wait(self) -> Ended:
        """Wait until it has ended."""
        pause = 1e-4
        while (ended := self.poll()) is None:
            time.sleep(pause)
            pause = min(2 * pause, 0.02)
        return ended


def in_child(function: Callable[..., Any], *arguments: Any, seconds: float = 20) -> Ended:
    """Call a function in a forked process, and wait."""
    return Child(function, *arguments, seconds=seconds).wait()


def limit_memory(byte_count: int = 8 << 30) -> None:
    """Let this process have no more, so that a bomb harms no one else."""
    resource.setrlimit(resource.RLIMIT_AS, (byte_count, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _picklable(error: BaseException) -> BaseException:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def shortened(text: str, length: int = 160) -> str:
    """A text in one line that is not too long to be read."""
    line = " ".join(text.encode("utf-8", "backslashreplace").decode().split())
    return line if len(line) <= length else line[: length - 3] + "..."


# ---- attacks -------------------------------------------------------------------------------------------------------


class Skipped(Exception):
    """Why an attack cannot be run on this machine."""


@dataclass(frozen=True)
class Attack:
    """An attack: a function that makes tries, and how many of them in the short and in the long form."""

    name: str
    run: Callable[[Tries], None]
    unit: str
    short: int
    long: int
    seconds: tuple[float, float]

    @property
    def what(self) -> str:
        """What is tried, in one line."""
        return (self.run.__doc__ or self.name).strip().splitlines()[0].rstrip(".")


ATTACKS: dict[str, Attack] = {}


def attack(
    unit: str, *, short: int, long: int, seconds: tuple[float, float] = (20, 400)
) -> Callable[[Callable[[Tries], None]], Callable[[Tries], None]]:
    """Register a function as an attack, under the names of its module and its own.

    Parameters
    ----------
    unit : str
        What is counted, in the plural.
    short, long : int
        Number of tries in the short and in the long form.
    seconds : (float, float)
        After this time no further try is begun.
    """

    def register(function: Callable[[Tries], None]) -> Callable[[Tries], None]:
        name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        ATTACKS[name] = Attack(name, function, unit, short, long, seconds)
        return function

    return register


class Tries:
    """What an attack counts, written down at once so that nothing is lost if the process crashes.

    Iterating gives the numbers of the tries. Each has random numbers of its own, so that one of them can be repeated.
    """

    def __init__(self, path: Path, folder: Path, seed: int, size: int, seconds: float, first: int = 0) -> None:
        self.folder, self.seed, self.size, self.first = folder, seed, size, first
        self._end = time.monotonic() + seconds
        self._journal = open(path, "a", encoding="utf-8")  # noqa: SIM115  (closed in `close`)
        self._now = os.open(f"{path}.now", os.O_RDWR | os.O_CREAT)
        self._number, self._input, self._tried = first, "", 0

    def __iter__(self) -> Iterator[int]:
        for number in range(self.first, self.size):
            if self.out_of_time():
                self.note(f"ended by its time limit at {number} of {self.size}")
                return
            self.begin(number)
            yield number

    def out_of_time(self) -> bool:
        """Whether no further try should begin."""
        return time.monotonic() > self._end

    def begin(self, number: int, given: str = "") -> None:
        """Count a try."""
        self._number, self._input, self._tried = number, given, self._tried + 1
        self._write_now()

    def count(self, tried: int) -> None:
        """Set the number of tries, where another library makes them."""
        self._tried = tried
        self._write_now()

    def given(self, text: str) -> None:
        """Say what this try is about, in case that it crashes."""
        self._input = shortened(text, 600)
        self._write_now()

    def rng(self, number: int | None = None) -> np.random.Generator:
        """Random numbers of this try."""
        return np.random.default_rng([self.seed, self._number if number is None else number])

    def fail(self, problem: str) -> None:
        """Count a failure of this try."""
        self._add("failure", [self._number, self._input, shortened(problem, 500)])

    def note(self, text: str) -> None:
        """Add a line to the report."""
        self._add("note", text)

    def close(self) -> None:
        """Close the files, in the process that only reads them."""
        self._journal.close()
        os.close(self._now)

    def _add(self, kind: str, value: Any) -> None:
        self._journal.write(json.dumps({kind: value}) + "\n")
        self._journal.flush()

    def _write_now(self) -> None:
        text = json.dumps([self._tried, self._number, self._input]).encode()
        os.pwrite(self._now, text.ljust(4096), 0)


@dataclass
class Result:
    """What came out of one attack; `failures` are (number of the try, what was given, what is wrong)."""

    attack: Attack
    tried: int = 0
    failures: list[tuple[int, str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    skipped: str = ""
    seconds: float = 0.0

    @property
    def failed(self) -> int:
        """Number of tries that failed."""
        return len({number for number, *_ in self.failures})


class Running:
    """An attack that runs in a process of its own."""

    def __init__(self, attack: Attack, seed: int, long: bool, first: int, only: bool) -> None:
        self.attack = attack
        self._folder = tempfile.TemporaryDirectory(prefix="attack-")
        self._path = Path(self._folder.name, "journal")
        work = Path(self._folder.name, "work")
        work.mkdir()
        Path(self._folder.name).chmod(0o755)
        size, seconds = (attack.long, attack.seconds[1]) if long else (attack.short, attack.seconds[0])
        tries = Tries(self._path, work, seed, first + 1 if only else size, seconds, first)
        self._child = Child(_run, attack, tries, seconds=seconds + 40)
        tries.close()

    def poll(self) -> Result | None:
        """The result; None while it runs."""
        ended = self._child.poll()
        if ended is None:
            return None
        result = Result(self.attack, seconds=time.monotonic() - self._child.began)
        for line in self._path.read_text(encoding="utf-8").splitlines():
            for kind, value in json.loads(line).items():
                (result.notes if kind == "note" else result.failures).append(value if kind == "note" else tuple(value))
        now = Path(f"{self._path}.now").read_bytes()
        result.tried, number, given = json.loads(now) if now else (0, 0, "")
        if ended.how == "raised" and isinstance(ended.value, Skipped):
            result.skipped = str(ended.value)
        elif ended.how != "returned":
            last = ended.text.strip().splitlines()[-6:] if ended.how == "raised" else []
            result.failures.append((number, given, shortened(f"{ended} {' | '.join(last)}", 600)))
        self._folder.cleanup()
        return result

    def kill(self) -> None:
        """End it."""
        self._child.kill()
        self._folder.cleanup()


def _run(attack: Attack, tries: Tries) -> None:
    os.chdir(tries.folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        attack.run(tries)


def run(attacks: list[Attack], seed: int, long: bool, jobs: int, first: int = 0, only: bool = False) -> list[Result]:
    """Run attacks, some at the same time, and print a line for each that has ended."""
    waiting, running, results = list(attacks), [], []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(Running(waiting.pop(0), seed, long, first, only))
            for one in list(running):
                if (result := one.poll()) is not None:
                    running.remove(one)
                    results.append(result)
                    print(f"  {row(result)}", flush=True)
            time.sleep(0.02)
    finally:
        for one in running:
            one.kill()
    return sorted(results, key=lambda result: list(ATTACKS.values()).index(result.attack))


# ---- the report ----------------------------------------------------------------------------------------------------


def row(result: Result) -> str:
    """A line about one attack."""
    state = f"skipped: {result.skipped}" if result.skipped else f"{result.failed} failed"
    return f"{result.attack.name:32} {result.tried:>8} {result.attack.unit:14} {state:12} {result.seconds:6.1f} s"


def table(results: list[Result]) -> str:
    """The counts, as a table in Markdown."""
    lines = ["| subject | tried | failed |", "|---|---:|---:|"]
    for result in results:
        tried = f"skipped: {result.skipped}" if result.skipped else f"{result.tried} {result.attack.unit}"
        failed = "–" if result.skipped else str(result.failed)
        lines.append(f"| `{result.attack.name}`: {result.attack.what} | {tried} | {failed} |")
    return "\n".join(lines)


def details(results: list[Result], seed: int, most: int) -> str:
    """Notes and the first failures of each attack: those of each kind with the smallest input first."""
    lines = []
    for result in results:
        if not (result.notes or result.failures):
            continue
        lines.append(f"\n{result.attack.name}")
        lines += [f"  note: {text}" for text in result.notes]
        ordered = sorted(result.failures, key=lambda failure: (len(failure[1]), failure))
        of_each_kind = {re.sub(r"\d+", "", failure[2]): failure for failure in reversed(ordered)}.values()
        shown = [*sorted(of_each_kind, key=ordered.index), *(one for one in ordered if one not in of_each_kind)][:most]
        for number, given, problem in shown:
            lines.append(f"  failed: {given}: {problem}")
            lines.append(f"    again: python -m tests.attack --only {result.attack.name} --seed {seed} --try {number}")
        if len(result.failures) > len(shown):
            lines.append(f"  and {len(result.failures) - len(shown)} more")
    return "\n".join(lines)
