"""What every test run shows and accepts."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from fastdense.keras.settings import seeds_from
from tests.helpers import devices

with suppress(ImportError):  # the tests on emulated ARM do without it
    from hypothesis import settings

    settings.register_profile("same", derandomize=True)  # --hypothesis-profile=default draws new examples
    settings.load_profile("same")

ON_REQUEST = [Path(__file__).resolve().parent / name for name in ("peers", "cluster")]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skip", action="store_true", help="a skipped test is a failed one")
    parser.addoption("--emulated-cuda", metavar="FILE", help="test this emulated CUDA module as if it were a GPU's")
    parser.addoption("--cuda-products", metavar="NAME", help="make all products of the GPU's engine by these kernels")
    parser.addoption("--require-cuda", action="store_true", help="tests on a GPU fail where there is none")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave folders that need more packages alone, unless they, or something in them, were asked for by name."""
    asked = [(config.invocation_params.dir / argument.split("::")[0]).resolve() for argument in config.args]
    if collection_path not in ON_REQUEST:
        return None
    return None if any(path == collection_path or collection_path in path.parents for path in asked) else True


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--emulated-cuda")
    if path:
        devices.load_emulated(path)
    products = config.getoption("--cuda-products")
    if products:
        devices.cuda.require().set_products(products)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parity tests run on every compiled engine that can run here."""
    names = ["cpu", *devices.CUDA] if metafunc.config.getoption("--require-cuda") else devices.available()
    marks = {"cpu": [], "cuda": [pytest.mark.cuda], "cuda fused": [pytest.mark.cuda, pytest.mark.fused]}
    if "compiled" in metafunc.fixturenames:
        cases = [pytest.param(name, marks=marks[name]) for name in names]
        metafunc.parametrize("compiled", cases, indirect=True)
    if "together" in metafunc.fixturenames:
        cases = [pytest.param(name, marks=marks[name]) for name in names[:2]]
        metafunc.parametrize("together", cases, indirect=True)
    if "rounding" in metafunc.fixturenames:
        pairs = [
            (name, dtype) for name in names[:2] for dtype in ("bfloat16", "tf32") if (name, dtype) != ("cpu", "tf32")
        ]
        cases = [pytest.param(pair, marks=marks[pair[0]], id="-".join(pair)) for pair in pairs]
        metafunc.parametrize("rounding", cases, indirect=True)


def pytest_itemcollected(item: pytest.Item) -> None:
    """A test that asks for the module of the engine for GPUs is one of that engine."""
    if "gpu" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.cuda)


@pytest.fixture(autouse=True)
def first_values() -> Generator[None]:
    """Models of `fastdense.keras` start with the same values in every run; by default their seeds are random."""
    with seeds_from(0):
        yield


@pytest.fixture
def compiled(request: pytest.FixtureRequest) -> Generator[str]:
    """The device whose engine `devices.compiled_engine` makes."""
    with devices.testing(request.param):
        yield request.param


@pytest.fixture
def rounding(request: pytest.FixtureRequest) -> Generator[str]:
    """The dtype whose products round their operands, on the device whose engine `devices.compiled_engine` makes."""
    device, dtype = request.param
    with devices.testing(device):
        yield dtype


@pytest.fixture
def together(request: pytest.FixtureRequest) -> Generator[str]:
    """The device whose nets `devices.compiled_population` makes; on a GPU they have one path only."""
    with devices.testing(request.param):
        yield request.param


@pytest.fixture
def gpu(request: pytest.FixtureRequest) -> Generator[Any]:
    """The compiled module of the engine for GPUs, under test layer by layer and back as it was afterwards."""
    if not devices.cuda.is_available():
        if request.config.getoption("--require-cuda"):
            pytest.fail("there is no GPU, and --require-cuda was given")
        pytest.skip("there is no GPU; --emulated-cuda FILE tests the engine on the CPU")
    module = devices.cuda.require()
    with devices.testing("cuda"):
        yield module
    if module.EMULATED:
        module.set_emulator(0)


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
