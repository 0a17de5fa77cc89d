"""`fit(comm=)` on real processes: mpi4py, with the MPI that is on PyPI.

What one process with all rows ends with, in float64, two and three end with within rounding: see
tests/unit/training/test_ranks.py, which has the same cases with threads, and many more.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cluster import ranks
from tests.helpers.ranks import interleaved

MPIEXEC = Path(sys.prefix) / "bin" / "mpiexec"
PATIENCE = 60  # seconds until a rank that hangs is a failure
ROUNDING = 1e-9


def on_mpi(case: str, folder: Path, size: int = 2) -> tuple[list[dict[str, Any]], str]:
    """What came of each rank, and what mpiexec printed."""
    command = [str(MPIEXEC), "-n", str(size), sys.executable, "-m", "tests.cluster.ranks", case, str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    files = sorted(folder.glob("?.json"))
    return [json.loads(path.read_text()) for path in files], ended.stdout + ended.stderr


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("case", ["solver", "newton", "steps", "overlap"])
def test_losses_are_those_of_one_process(case: str, size: int, tmp_path: Path) -> None:
    outcomes, printed = on_mpi(case, tmp_path, size)
    assert len(outcomes) == size, printed
    x, y = ranks.data()
    if case in ("solver", "newton"):
        alone = ranks.model({"solver": "lbfgs", "newton": "newton_cg"}[case])
        alone.fit(x, y, epochs=8, verbose=0)
    else:
        alone, order = ranks.model(), interleaved([len(x) // size] * size, 50)
        alone.fit(x[order], y[order], epochs=8, batch_size=50 * size, shuffle=False, verbose=0)
    for outcome in outcomes:
        assert outcome["weights"] == outcomes[0]["weights"]
        np.testing.assert_allclose(outcome["loss"], alone.history.history["loss"], rtol=ROUNDING)


@pytest.mark.parametrize(
    ("case", "own", "others"),
    [
        ("fails", "OSError: no space left on device",
         "RankError: fit: rank 1 of 2 has failed: its own message says why; the model is that of the last finished "
         "step"),
        ("interrupted", "KeyboardInterrupt: ",
         "RankError: fit: rank 1 of 2 was interrupted; the model is that of the last finished step"),
    ],
)  # fmt: skip
def test_a_rank_that_leaves(case: str, own: str, others: str, tmp_path: Path) -> None:
    outcomes, printed = on_mpi(case, tmp_path)
    assert [f"{one['error']}: {one['message']}" for one in outcomes] == [others, own], printed


def test_a_rank_that_is_killed_ends_the_others_and_the_backup_goes_on(tmp_path: Path) -> None:
    outcomes, printed = on_mpi("backup-killed", tmp_path)  # it returns: no rank waits for ever
    assert outcomes == []
    assert "EXIT CODE: 9" in printed
    resumed, printed = on_mpi("backup", tmp_path)
    first = resumed[0]["epochs"][0]
    assert first in (3, 4), printed  # the last backup, or the one before if the first rank was killed as it wrote
    assert [one["epochs"] for one in resumed] == [list(range(first, 8))] * 2
    for path in tmp_path.glob("?.json"):
        path.unlink()
    whole, printed = on_mpi("backup", tmp_path)
    assert whole[0]["epochs"] == list(range(8)), printed
    assert {one["weights"] for one in [*resumed, *whole]} == {whole[0]["weights"]}
    assert resumed[0]["loss"] == whole[0]["loss"][first:]


def test_a_small_net_is_refused(tmp_path: Path) -> None:
    outcomes, printed = on_mpi("refused", tmp_path)
    for one in outcomes:
        assert one["error"] == "ValueError", printed
        assert "the net is too small, or the batch, for what its gradients cost to exchange" in one["message"]
