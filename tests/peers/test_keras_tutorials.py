"""Programs as tutorials have them, in `keras_scripts`: run with Keras's import lines and with `fastdense.keras`'s.

Every program ends with ``report``, a dict of numbers and texts; the models of both begin with the same weights.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastdense import keras as ours
from tests.peers.keras64 import keras

FOLDER = Path(__file__).parent / "keras_scripts"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("s*_*.py"))
TOLERANCE = 2e-5  # relative, after several epochs in float64
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Keras's __array__
    pytest.mark.filterwarnings("ignore:Do not pass an `input_shape`:UserWarning"),
]


def with_our_imports(text: str) -> str:
    """The program with only its import lines changed."""
    text = re.sub(r"(?m)^import keras$", "from fastdense import keras", text)
    return re.sub(r"(?m)^from keras\b", "from fastdense.keras", text)


def run(name: str, side: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    path = FOLDER / f"{name}.py"
    text = path.read_text(encoding="utf-8")
    space: dict[str, Any] = {"__name__": "__main__"}
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setitem(sys.modules, "keras", keras)
    exec(compile(with_our_imports(text) if side == "ours" else text, str(path), "exec"), space)
    report: dict[str, Any] = space["report"]
    return report


def compare(mine: Any, theirs: Any, where: str) -> None:
    if isinstance(theirs, Mapping):
        assert set(mine) == set(theirs), where
        for key, value in theirs.items():
            compare(mine[key], value, f"{where}[{key!r}]")
    elif isinstance(theirs, (str, bool)) or theirs is None:
        assert mine == theirs, where
    elif isinstance(theirs, (list, tuple)) and any(isinstance(value, (str, list, tuple, Mapping)) for value in theirs):
        assert len(mine) == len(theirs), where
        for i, value in enumerate(theirs):
            compare(mine[i], value, f"{where}[{i}]")
    else:
        a, b = np.asarray(mine, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
        np.testing.assert_allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE * max(1e-3, np.abs(b).max(initial=0)),
                                   err_msg=where)  # fmt: skip


def shown(text: str) -> list[str]:
    """What was printed, without times, colours, bars that were not full yet and repetitions of full ones."""
    text = re.sub(r"\x1b\[[0-9;]*m|[\b]+", "", text)
    lines = [re.sub(r"\b\d+(?:s|ms|us)\b", "_", line).rstrip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    counts = [re.match(r"\s*(\d+)/(\d+) ", line) for line in lines]
    full = [line for line, count in zip(lines, counts, strict=True) if count is None or count[1] == count[2]]
    return [line for line, _ in itertools.groupby(full)]


@pytest.mark.parametrize("name", SCRIPTS)
def test_same_program_same_report(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    theirs = run(name, "theirs", tmp_path / "theirs", monkeypatch)
    their_lines = shown(capsys.readouterr().out)
    ours.backend.set_floatx("float64")
    try:
        mine = run(name, "ours", tmp_path / "ours", monkeypatch)
    finally:
        ours.backend.set_floatx("float32")
    assert shown(capsys.readouterr().out) == their_lines
    compare(mine, theirs, "report")
