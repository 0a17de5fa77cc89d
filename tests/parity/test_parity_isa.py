"""Parity of every instruction set and of both paths. The set is chosen once per process, so all but this process's own
get a pytest of their own: the tests marked core, which show every activation, loss, layer, optimizer, option and metric
at least once. Their nets are small: all that the rowwise path covers take it, unless forced to the wide one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fastdense import _core

AVAILABLE = _core.build_info()["isa_available"].split(", ")
HERE = Path(__file__).parent
LEVELS = ("baseline", "avx2", "avx512")  # narrowest first; a level the build does not know is a skip, not a pass
BELOW = {"avx512bf16": "avx512", "neonbf16": "baseline"}  # the level that has the same kernels of float32 and float64


@pytest.mark.parametrize("path", ["", "layerwise"], ids=["by_size", "layerwise"])
@pytest.mark.parametrize("isa", LEVELS)
def test_parity_of_every_instruction_set(isa: str, path: str) -> None:
    own = _core.build_info()["isa"]
    if isa == BELOW.get(own, own) and not path:
        return  # this very process has shown it, with all cases
    if isa not in AVAILABLE:
        pytest.skip(f"this CPU has {', '.join(AVAILABLE)}")
    names = ("test_parity.py", "test_parity_runs.py", "test_probes.py", "test_aliased_rows.py")
    files = [str(HERE / name) for name in names]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "core", "-p", "no:cacheprovider", *files]
    done = subprocess.run(
        command,
        env=os.environ | {"FASTDENSE_ISA": isa, "FASTDENSE_CPU_PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        cwd=HERE.parents[1],
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed[1]) > 100 and " failed" not in done.stdout and " skipped" not in done.stdout
