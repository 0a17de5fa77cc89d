"""The documents fit a diff and name only files that exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WRITTEN = [path for path in (ROOT / "docs").rglob("*.md") if "generated" not in path.parts]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *WRITTEN, ROOT / "benchmarks" / "README.md"])
NAMES = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]
TOP = ("csrc", "python/fastdense", "tests", "docs", "benchmarks", "examples", "cmake", "python")


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_lines_have_120_columns(path: Path) -> None:
    """A row of a table cannot be broken."""
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    assert not [i for i, line in lines if len(line) > 120 and not line.startswith("|")]


def mentioned(text: str) -> Iterator[str]:
    """Paths between backquotes that begin with one of our folders."""
    for span in re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        for word in span.split():
            if re.fullmatch(rf"(?:{'|'.join(TOP)})/[\w./*-]*", word) and "NAME" not in word:
                yield word


def exists(name: str) -> bool:
    """A folder, a file, a pattern such as `x.*`, or the name of a .h and .cpp without it."""
    return any(ROOT.glob(name.rstrip("/"))) or any(ROOT.glob(f"{name}.*"))


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_named_files_exist(path: Path) -> None:
    text = re.sub(r"(?ms)^## Room for a change$.*?^## ", "", path.read_text(encoding="utf-8"))  # has its own test
    assert not [name for name in mentioned(text) if not exists(name)]


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_links_lead_somewhere(path: Path) -> None:
    """Relative links: the file exists, and so does the heading after #."""
    text = path.read_text(encoding="utf-8")
    wrong = []
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        name, _, heading = link.partition("#")
        if "://" in link:
            continue
        target = path.parent / name if name else path
        if not target.exists() or (heading and heading not in anchors(target)):
            wrong.append(link)
    assert not wrong


def anchors(path: Path) -> set[str]:
    """The headings of a document as GitHub names them in links."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
