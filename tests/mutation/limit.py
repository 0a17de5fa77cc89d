"""A pytest plugin for `scratch`: the quickest tests first, and a test that takes too long ends the process.

It notes in a file which test ran last, and in another one how long each takes, for the next run.
"""

from __future__ import annotations

import faulthandler
import json
import os
from collections.abc import Generator
from pathlib import Path

import pytest

LAST, DURATIONS = (Path(os.environ[name]) for name in ("MUTATION_LAST_TEST", "MUTATION_DURATIONS"))
SECONDS = float(os.environ["MUTATION_SECONDS"])
durations: dict[str, float] = json.loads(DURATIONS.read_text(encoding="utf-8")) if DURATIONS.exists() else {}


def spent() -> float:
    """Seconds of processors, those of finished children included: a busy machine must not change the order."""
    return sum(os.times()[:4])


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: durations.get(item.nodeid, 0.1))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    LAST.write_text(item.nodeid, encoding="utf-8")
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    began = spent()
    result = yield
    durations[item.nodeid] = spent() - began
    faulthandler.cancel_dump_traceback_later()
    return result


def pytest_sessionfinish() -> None:
    DURATIONS.write_text(json.dumps(durations), encoding="utf-8")
