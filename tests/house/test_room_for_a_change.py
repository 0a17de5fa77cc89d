"""CONTRIBUTING.md's table "Room for a change" is true: it names the files that mention a known member."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

tomllib = pytest.importorskip("tomllib")  # of Python 3.11

ROOT = Path(__file__).parents[2]
ROWS: dict[str, Any] = tomllib.loads(Path(__file__).with_name("room_for_a_change.toml").read_text(encoding="utf-8"))
TABLE = (
    (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Room for a change")[2].partition("\n## ")[0]
)
SUFFIXES = {".h", ".cpp", ".cu", ".py", ".pyi"}


def sources() -> list[Path]:
    """Every file of the package and the core, but Keras's names."""
    files = [path for folder in ("csrc", "python") for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    return [ROOT / "CMakeLists.txt", *(path for path in files if "keras" not in path.parts)]


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sources()}


@pytest.mark.parametrize("kind", ROWS)
def test_a_member_is_mentioned_in_the_files_named_and_nowhere_else(kind: str, texts: dict[str, str]) -> None:
    one = ROWS[kind]
    mentioned = {name for name, text in texts.items() if re.search(one["pattern"], text)}
    assert mentioned == set(one["files"]) | set(one.get("also", {}))
    assert len(one["files"]) <= one["most"]


@pytest.mark.parametrize("kind", ROWS)
def test_contributing_names_the_files(kind: str) -> None:
    one = ROWS[kind]
    (row,) = [line for line in TABLE.splitlines() if line.startswith("|") and one["row"] in line.split("|")[1]]
    named = row.split("|")[2]
    for file in one["files"]:
        path = Path(file)
        assert f"`{file}`" in named or f"`{path.name}`" in named or f"`{path.parent.as_posix()}/*" in named, file
