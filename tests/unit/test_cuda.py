"""fastdense.cuda: what it says with and without an engine, a driver and a device."""

from __future__ import annotations

import copy
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import fastdense as fd
from fastdense.engine import gpu as cuda
from fastdense.engine import tuning


class NoDevice(RuntimeError):
    """As the compiled module's."""


def module(devices: int, folders: list[Any]) -> Any:
    """A stand-in for the compiled module."""

    def device_count(raise_if_none: bool) -> int:
        if raise_if_none and not devices:
            raise NoDevice("no usable CUDA device: no NVIDIA driver is loaded")
        return devices

    made: Any = types.ModuleType("fastdense._cuda")
    made.CudaUnavailable, made.device_count = NoDevice, device_count
    made.device_info, made.set_library_folders = lambda: {"name": "GPU"}, folders.append
    made.tables = []
    made.set_tuning = made.tables.append
    return made


@pytest.fixture
def folders() -> list[Any]:
    return []


def install(monkeypatch: pytest.MonkeyPatch, made: Any) -> None:
    monkeypatch.setitem(sys.modules, "fastdense._cuda", made)
    monkeypatch.delattr(fd, "_cuda", raising=False)


def test_importing_it_loads_nothing() -> None:
    script = (
        "import sys, fastdense as fd\n"
        "fd.cuda.CudaUnavailable\n"
        "assert not {'fastdense._cuda', 'cupy'} & set(sys.modules)\n"
        "assert type(fd.cuda.is_available()) is bool and 'cupy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_a_build_without_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, None)
    assert not cuda.is_available()
    message = r"^this build of fastdense has no CUDA engine; use device='cpu' \(the default\), or .*FASTDENSE_CUDA=ON"
    for call in (cuda.device_info, cuda.require):
        with pytest.raises(cuda.CudaUnavailable, match=message):
            call()


def test_no_driver(monkeypatch: pytest.MonkeyPatch, folders: list[Any]) -> None:
    install(monkeypatch, module(0, folders))
    assert not cuda.is_available() and issubclass(cuda.CudaUnavailable, RuntimeError)
    message = r"^no usable CUDA device: no NVIDIA driver is loaded; use device='cpu' \(the default\)$"
    with pytest.raises(cuda.CudaUnavailable, match=message):
        cuda.device_info()
    with pytest.raises(cuda.CudaUnavailable, match=rf"device: 'cuda' was asked for, but {message[1:]}"):
        fd.Model([fd.Dense(1)], inputs=4, device="cuda")


def test_a_model_from_a_gpu_is_read_anywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, None)
    model = fd.Model([fd.Dense(1)], inputs=4)
    monkeypatch.setattr(model.runner, "device", "cuda")
    model.save(tmp_path / "net.safetensors")
    assert [made.device for made in (fd.load(tmp_path / "net.safetensors"), copy.copy(model))] == ["cpu", "cpu"]
    with pytest.raises(cuda.CudaUnavailable):
        fd.load(tmp_path / "net.safetensors", device="cuda")


def test_a_device(monkeypatch: pytest.MonkeyPatch, folders: list[Any]) -> None:
    made = module(1, folders)
    install(monkeypatch, made)
    assert cuda.is_available() and cuda.device_info() == {"name": "GPU"} and cuda.is_available()
    assert folders == [cuda.library_folders()]  # once
    cuda.require()
    assert made.tables == [tuning.tables()], "once, and not for a look whether there is a GPU"


def test_where_cublas_may_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In every part of the namespace package, in the order of the path; what is not there is not named."""
    for part in ("a/nvidia/cu13/lib", "b/nvidia/cublas/lib", "b/nvidia/cu13/lib", "c/nvidia/nccl/lib"):
        (tmp_path / part).mkdir(parents=True)
    monkeypatch.delitem(sys.modules, "nvidia", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path / name) for name in "bac"])
    expected = [tmp_path / part for part in ("b/nvidia/cu13/lib", "b/nvidia/cublas/lib", "a/nvidia/cu13/lib")]
    assert cuda.library_folders() == [str(path) for path in expected]
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    sys.path_importer_cache.clear()
    assert cuda.library_folders() == []


def test_every_launch_of_a_kernel_is_checked() -> None:
    """By FD_LAUNCH: a plain launch returns nothing that could be looked at."""
    sources = [path for path in (Path(__file__).parents[2] / "csrc").rglob("*") if path.is_file()]
    assert len(sources) > 100
    assert [str(path) for path in sources if "<<<" in path.read_text(encoding="utf-8")] == []
