"""The device: what it is, what it can reach, and how little time a launch takes."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from statistics import median
from typing import Any

QUERY = ("name", "driver_version", "compute_cap", "memory.total", "clocks.max.sm", "clocks.max.mem", "power.limit")


def nvidia_smi() -> dict[str, str]:
    """What nvidia-smi tells of the first GPU; empty if there is none."""
    if shutil.which("nvidia-smi") is None:
        return {}
    command = ["nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    lines = done.stdout.splitlines()
    return dict(zip(QUERY, map(str.strip, lines[0].split(",")), strict=False)) if not done.returncode and lines else {}


def seconds_of(call: Callable[[], object], wait: Callable[[], object], repeats: int, rounds: int = 5) -> float:
    """Seconds of one of `repeats` calls one after another: the median of some rounds, after one to warm up."""
    found = []
    for _ in range(rounds + 1):
        wait()
        begin = time.perf_counter()
        for _ in range(repeats):
            call()
        wait()
        found.append((time.perf_counter() - begin) / repeats)
    return median(found[1:])


def product_rates(device: str, side: int, repeats: int = 4) -> dict[str, float]:
    """GFLOP/s of square matrix products on random numbers, by what multiplies."""
    import torch

    from benchmarks.gpu.torch_side import synchronise

    rates = {}
    a, b = (torch.randn(side, side, device=device) for _ in range(2))
    before = torch.backends.cuda.matmul.allow_tf32
    for name in ("float32", "tf32", "bfloat16") if device == "cuda" else ("float32", "bfloat16"):
        torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
        pair = (a.bfloat16(), b.bfloat16()) if name == "bfloat16" else (a, b)
        out = torch.empty_like(pair[0])
        call = lambda pair=pair, out=out: torch.matmul(*pair, out=out)  # noqa: E731
        rates[name] = 2 * side**3 / seconds_of(call, lambda: synchronise(device), repeats) / 1e9
    torch.backends.cuda.matmul.allow_tf32 = before
    return rates


def float32_rate(device: str) -> float:
    """GFLOP/s of float32 products at this moment, in a few milliseconds: tells which rounds were disturbed."""
    import torch

    from benchmarks.gpu.torch_side import synchronise

    side = 4096 if device == "cuda" else 512
    a = torch.randn(side, side, device=device)
    out = torch.empty_like(a)
    before, torch.backends.cuda.matmul.allow_tf32 = torch.backends.cuda.matmul.allow_tf32, False
    seconds = seconds_of(lambda: torch.matmul(a, a, out=out), lambda: synchronise(device), 3, rounds=3)
    torch.backends.cuda.matmul.allow_tf32 = before
    return 2 * side**3 / seconds / 1e9


def copy_rate(device: str, size: int) -> float:
    """GB/s of a copy of so many bytes on the device, read and written."""
    import torch

    from benchmarks.gpu.torch_side import synchronise

    a = torch.zeros(size // 4, device=device)
    b = torch.empty_like(a)
    return 2 * size / seconds_of(lambda: b.copy_(a), lambda: synchronise(device), 4) / 1e9


def launch_floors(device: str) -> dict[str, float]:
    """Least microseconds: of an eager kernel, of a graph with one kernel, of each further kernel in it."""
    import torch

    from benchmarks.gpu.torch_side import synchronise

    a = torch.zeros(1, device=device)

    def wait() -> None:
        synchronise(device)

    floors = {"eager_kernel": 1e6 * seconds_of(lambda: a.add_(1.0), wait, 1000)}
    if device == "cuda":
        times = {}
        for kernels in (1, 17):
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                for _ in range(kernels):
                    a.add_(1.0)
            times[kernels] = 1e6 * seconds_of(graph.replay, wait, 1000)
        floors |= {"graph": times[1], "kernel_in_graph": (times[17] - times[1]) / 16}
    return floors


def reach(device: str) -> dict[str, Any]:
    """The device's measured peaks."""
    large = device == "cuda"
    return {
        "gflops": product_rates(device, 8192 if large else 512),
        "copy_gb_per_s": copy_rate(device, 2**30 if large else 2**25),
        "microseconds": launch_floors(device),
    }


def properties() -> dict[str, Any]:
    """What PyTorch knows of the GPU."""
    import torch

    if not torch.cuda.is_available():
        return {}
    found = torch.cuda.get_device_properties(0)
    names = ("name", "multi_processor_count", "total_memory", "L2_cache_size", "shared_memory_per_block_optin")
    return {
        **{name: getattr(found, name, None) for name in names},
        "capability": f"{found.major}.{found.minor}",
        "torch": torch.__version__,
        "torch_cuda": torch.version.cuda,
    }
