"""The attack can fail: what is broken on purpose is found, counted and reported, and a crash loses no count."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

import fastdense as fd
from fastdense.model import files

from . import __main__ as command
from . import core, odd, state_machine
from .core import ATTACKS, Skipped, Tries, attack, in_child


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Tries], None]], str]:
    """Register attacks for one test alone."""
    command.register_all()
    monkeypatch.setattr(core, "ATTACKS", dict(ATTACKS))
    monkeypatch.setattr(command, "register_all", lambda: None)

    def one(function: Callable[[Tries], None]) -> str:
        attack("tries", short=5, long=9, seconds=(20, 20))(function)
        return f"test_attack.{function.__name__}"

    return one


def test_counts_and_exit_code(register: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def good(tries: Tries) -> None:
        """A good one"""
        for _ in tries:
            pass

    def bad(tries: Tries) -> None:
        """A bad one"""
        for i in tries:
            tries.given("x" * (9 - i))
            if i > 1:
                tries.fail(f"number {tries.rng().integers(1000)} is wrong")

    names = [register(good), register(bad)]
    assert command.main(["--only", names[0]]) == 0
    assert "| `test_attack.good`: A good one | 5 tries | 0 |" in capsys.readouterr().out
    assert command.main(["--only", *names, "--seed", "3"]) == 1
    shown = capsys.readouterr().out
    assert "| `test_attack.bad`: A bad one | 5 tries | 3 |" in shown
    assert "10 tries, 3 failed" in shown
    assert shown.index("failed: xxxxx:") < shown.index("failed: xxxxxx:")  # the smallest input first
    again = next(line for line in shown.splitlines() if line.strip().startswith("again:"))
    assert again.endswith("--only test_attack.bad --seed 3 --try 4")
    problem = shown[: shown.index(again)].splitlines()[-1]
    assert command.main(["--only", names[1], "--seed", "3", "--try", "4"]) == 1
    assert problem in capsys.readouterr().out


def test_a_crash_a_hang_and_an_exception_are_failures(register: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def crashes(tries: Tries) -> None:
        for i in tries:
            tries.given(f"input {i}")
            if i == 3:
                os.abort()

    def raises(tries: Tries) -> None:
        for _ in tries:
            raise RuntimeError("an unexpected error")

    def skips(tries: Tries) -> None:
        raise Skipped("there is no such thing here")

    names = [register(one) for one in (crashes, raises, skips)]
    assert command.main(["--only", *names]) == 1
    shown = capsys.readouterr().out
    assert "crashes | 4 tries | 1 |" in shown and "failed: input 3: ended by SIGABRT" in shown
    assert "raises | 1 tries | 1 |" in shown and "RuntimeError: an unexpected error" in shown
    assert "skips | skipped: there is no such thing here | – |" in shown
    began = time.monotonic()
    assert in_child(time.sleep, 60, seconds=0.3).how == "hung"
    assert time.monotonic() - began < 10
    assert in_child(lambda: os._exit(7)).value == 7
    assert in_child(lambda: 5).value == 5


def test_a_reader_that_checks_nothing_is_found(
    register: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the checksums ignored, flipped bits are loaded: the attack on files says so."""
    assert command.main(["--only", "files.flips", "--try", "40"]) == 0

    def unchecked(tensors: Any, metadata: Any) -> Any:
        return files.json.loads(metadata["fastdense"])

    monkeypatch.setattr(files, "_checked_config", unchecked)
    flips = core.Attack("files.flips", ATTACKS["files.flips"].run, "files", 100, 100, (60, 60))
    monkeypatch.setitem(core.ATTACKS, "files.flips", flips)
    assert command.main(["--only", "files.flips"]) == 1
    assert re.search(r"\| 100 files \| \d+ \|", capsys.readouterr().out)
    [result] = core.run([flips], seed=0, long=False, jobs=1)
    assert any(problem == "a damaged file is loaded" for _, _, problem in result.failures)


def test_answers_to_odd_values() -> None:
    """Only a result that may be, or an error of the package that names the argument, is right."""
    fits = odd.fitting(fd.Model.save, "include_optimizer")
    assert fits(True) and not fits(1) and not fits("yes") and odd.fitting(fd.Model.predict, "x")(None)
    assert odd.fitting(fd.load, "path")(b"a") and not odd.fitting(fd.load, "path")(0)
    assert odd.answer(lambda: 5, ["rate"]) == "" and odd.answer(lambda: 5, ["rate"], fits=False) == "accepted"
    assert odd.answer(lambda: fd.Dropout("a"), ["rate"]) == ""  # type: ignore[arg-type]
    assert "names no argument" in odd.answer(lambda: fd.Dropout("a"), ["x"])  # type: ignore[arg-type]
    assert odd.answer(lambda: int("text"), ["text"]).startswith("raw ValueError")  # Python's own
    assert odd.answer(lambda: {}["rate"], ["rate"]).startswith("raw KeyError")
    assert odd.answer(lambda: os.read(-1, 1), ["rate"]).startswith("raw OSError")


def test_every_attack_has_a_name_and_words(register: Any) -> None:
    command.register_all()
    assert len(core.ATTACKS) > 20
    for one in core.ATTACKS.values():
        assert one.what and one.what != one.name and 0 < one.short <= one.long, one.name
    minutes = [sum(one.seconds[k] for one in core.ATTACKS.values()) / 60 / 2 for k in (0, 1)]  # two at a time
    assert minutes[0] <= 4 and minutes[1] <= 60, minutes


def test_state_machine() -> None:
    """Short, always the same machines; `python -m tests.attack --only state_machine` makes others."""
    before = state_machine.Engines.steps
    state_machine.run_machine(4, 12, None)
    assert state_machine.Engines.steps > before + 20


def test_state_machine_notices_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that makes a small mistake in one call is found."""
    predict = fd.Model.predict

    def wrong(self: fd.Model, x: Any, **options: Any) -> Any:
        return predict(self, x, **options) * (1 + 1e-5 * (self.device == "cpu"))

    monkeypatch.setattr(fd.Model, "predict", wrong)
    with pytest.raises(AssertionError, match="differs by"):
        state_machine.run_machine(10, 12, None)
