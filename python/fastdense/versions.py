"""Versions of fastdense and of what it runs on: for bug reports, benchmark files and the test header."""

from __future__ import annotations

import sys
from functools import cache

import numpy as np

from .engine import native

try:
    from ._version import VERSION  # the build writes it: nothing has to be looked up where a model is saved
except ImportError:  # in a checkout
    VERSION = "0+unknown"

__all__ = ["VERSION", "build_config", "show_versions"]

# Optional libraries that fastdense works with.
OPTIONAL = ("torch", "jax", "keras", "scikit-learn", "scipy", "pandas", "matplotlib", "pooch")


def build_config() -> dict[str, str]:
    """Build of fastdense and its choices on this machine: instruction set, BLAS, threads, compiler flags, commit."""
    return {"version": VERSION, **native.build_info()}


def show_versions() -> None:
    """Print `build_config()` and the versions of Python, NumPy and optional libraries, for a bug report."""
    import platform  # slow to import

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
    """The version of an installed distribution, without importing it; None if it is not installed."""
    from importlib.metadata import PackageNotFoundError, version  # slow to import

    try:
        return version(name)
    except PackageNotFoundError:
        return None


@cache
def processor_name() -> str:
    """The processor's model name if the system reports it, else its architecture."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    import platform

    return platform.processor() or platform.machine()
