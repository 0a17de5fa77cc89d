"""What every test run shows and accepts."""

from __future__ import annotations

from collections.abc import Generator
from importlib.util import find_spec
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skip", action="store_true", help="a skipped test is a failed one")


def pytest_report_header() -> str:
    """Every test log tells what it tested."""
    from fastdense.versions import build_config

    try:
        config = build_config()
    except ImportError as error:  # tests of the Python side alone go on
        return f"fastdense: without its compiled part ({error})"
    return "fastdense: " + ", ".join(f"{key} {value}" for key, value in config.items() if key != "flags")


@pytest.fixture(params=["reference", "cpu"])
def device(request: pytest.FixtureRequest) -> str:
    """Every engine in turn."""
    if request.param == "cpu" and find_spec("fastdense._core") is None:
        pytest.skip("the compiled part of fastdense is not built")
    return str(request.param)


def _no_skip(report: Any, config: pytest.Config) -> None:
    if report.skipped and not hasattr(report, "wasxfail") and config.getoption("--no-skip"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and --no-skip was given: {report.longrepr}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _no_skip(report, item.config)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _no_skip(report, collector.config)
    return report
