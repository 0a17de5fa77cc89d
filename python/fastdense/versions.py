"""What this copy of fastdense is and where it runs: for bug reports, benchmark files and the test header."""

from __future__ import annotations

import platform
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from .engine import native

__all__ = ["build_config", "show_versions"]

# Libraries that fastdense works with but does not need.
OPTIONAL = ("torch", "jax", "keras", "scikit-learn", "scipy", "pandas", "matplotlib", "pooch")


def build_config() -> dict[str, str]:
    """How fastdense was built and what it chose on this machine: instruction set, BLAS, threads, flags, commit."""
    return {"version": package_version("fastdense") or "0+unknown", **native.build_info()}


def show_versions() -> None:
    """Print `build_config()`, Python, NumPy, the platform and the optional libraries: put it into a bug report."""
    sections = {
        "fastdense": build_config(),
        "system": {
            "python": sys.version.split()[0],
            "numpy": np.__version__,
            "platform": platform.platform(),
            "processor": processor_name(),
        },
        "optional libraries": {name: package_version(name) or "not installed" for name in OPTIONAL},
    }
    width = max(len(key) for rows in sections.values() for key in rows)
    for title, rows in sections.items():
        print(title)
        for key, value in rows.items():
            print(f"  {key:{width}}  {value}")


def package_version(name: str) -> str | None:
    """The version of an installed distribution, found without importing it; None when it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@cache
def processor_name() -> str:
    """The processor's own name where the system tells it, else its architecture."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
