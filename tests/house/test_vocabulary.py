"""One vocabulary: the field's terms in names, comments, documents and messages, not words of our own for them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLACES = ("python", "csrc", "docs", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "tests", "benchmarks", "examples")
SUFFIXES = (".py", ".pyi", ".h", ".cpp", ".cu", ".md")

# What is not said here: what to say instead. A word may stand in a name (is_told) and in any case (Told).
WORDS = {
    r"told": "notified, recorded, passed",
    r"dear": "expensive",
    r"(?:on the |s? )?way down": "backward pass",
    r"way (?:up|there)": "forward pass",
    r"crowds?": "population",
    r"rivals?": "baseline",
    r"watchers?": "population callback",
    r"another valley": "a worse local minimum",
    r"(?:what )?became of": "the result of",
    r"nobody(?:'s)?": "say who, or no part of ...",
    r"(?:whoever|somebody(?:'s)?)": "say who: the caller, the user, another process",
    r"bend": "second derivative",
    r"kin": "and similar",
    r"handed|hands? (?:it |them |over)": "pass, give",
    r"dealt out": "distribute",
    r"shares? of": "fraction of",
    r"(?:good )?guest": "shares its process with others",
    r"in the head|of the head": "memory; the first losses",
}
# Where a word is right.
RIGHT = (
    r"(?:can|like) bend",  # the verb
    r"tests/runs/test_guest",
    r"(?:its|[a-z]+'s) share of",  # a part that something or someone gets
    r"test_vocabulary",
)


def texts(place: str) -> Iterator[tuple[str, str]]:
    top = ROOT / place
    for path in [top] if top.is_file() else sorted(top.rglob("*")):
        if path.suffix in SUFFIXES and path != Path(__file__) and "results" not in path.parts:
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def uses(place: str) -> dict[str, list[str]]:
    """Where a place uses which of the words."""
    found: dict[str, list[str]] = {}
    for name, text in texts(place):
        for word in WORDS:
            for i, line in enumerate(re.sub("|".join(RIGHT), "", text).splitlines(), 1):
                if re.search(rf"(?<![a-z])(?:{word})(?![a-z])", line, re.IGNORECASE):
                    found.setdefault(word, []).append(f"{name}:{i}: {line.strip()}")
    return found


@pytest.mark.parametrize("place", PLACES)
def test_vocabulary(place: str) -> None:
    found = uses(place)
    assert not {f"{word} -> {WORDS[word]}": lines for word, lines in found.items()}
