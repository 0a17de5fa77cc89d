"""The mutation tester finds what it claims to, leaves the rest alone, and its lists fit the sources."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from . import operators, suites
from .__main__ import EQUIVALENT, draws, equivalents, table
from .scratch import ROOT

CPP = """\
#include <algorithm>
template <class T>
int64_t count(const T* x, int64_t n) {  // n < 3
    const int64_t m = std::min(n, int64_t(8));
    if (m < 1) throw InvalidArgument("x < 1");
    for (int64_t i = 0; i < m; ++i) total += x[i];
    w.sync();
    const std::lock_guard<std::mutex> held(gate);
    return m;
}
"""
PYTHON = '''\
"""x < 3"""
import os

def check(x: int = 3, *, limit: int = 2) -> int:
    """Return x + 1."""
    if x > limit and os:
        raise ValueError(f"{x} > {limit + 1}")
    with self.lock:
        self.count += x  # or 1
    remedy = "a" if x == 2 else "b"
    return min(x, 7)
'''


def found(name: str, text: str, folder: Path) -> list[tuple[int, str, str]]:
    (folder / name).write_text(text, encoding="utf-8")
    made = operators.mutations(folder, name)
    for one in made:
        changed = one.apply(text).splitlines()
        assert changed[one.line - 1].split() == one.changed.split()
        assert [*changed[: one.line - 1], *changed[one.line :]] == [
            line for number, line in enumerate(text.splitlines(), 1) if number != one.line
        ]
    return [(one.line, one.operator, one.changed) for one in made]


def test_mutations_of_cpp(tmp_path: Path) -> None:
    assert sorted(found("a.cpp", CPP, tmp_path)) == sorted(
        [
            (4, "min/max", "const int64_t m = std::max(n, int64_t(8));"),
            (4, "constant", "const int64_t m = std::min(n, int64_t(9));"),
            (4, "constant", "const int64_t m = std::min(n, int64_t(7));"),
            (5, "condition", 'if (!(m < 1)) throw InvalidArgument("x < 1");'),
            (5, "relation", 'if (m <= 1) throw InvalidArgument("x < 1");'),
            (5, "constant", 'if (m < 2) throw InvalidArgument("x < 1");'),
            (5, "statement", "if (m < 1) ;"),
            (6, "constant", "for (int64_t i = 1; i < m; ++i) total += x[i];"),
            (6, "relation", "for (int64_t i = 0; i <= m; ++i) total += x[i];"),
            (6, "arithmetic", "for (int64_t i = 0; i < m; ++i) total -= x[i];"),
            (7, "statement", ";"),
            (8, "lock", ";"),
        ]
    )


def test_mutations_of_python(tmp_path: Path) -> None:
    assert sorted(found("a.py", PYTHON, tmp_path)) == sorted(
        [
            (6, "condition", "if not (x > limit and os):"),
            (6, "relation", "if x >= limit and os:"),
            (6, "logic", "if x > limit or os:"),
            (7, "statement", "pass"),
            (8, "lock", "if True:"),
            (9, "statement", "pass # or 1"),
            (9, "arithmetic", "self.count -= x # or 1"),
            (11, "min/max", "return max(x, 7)"),
            (11, "constant", "return min(x, 8)"),
            (11, "constant", "return min(x, 6)"),
        ]
    )


@pytest.mark.parametrize("language", ["cpp", "python"])
def test_every_file_has_tests_that_exist(language: str) -> None:
    names = suites.files(ROOT, language)
    assert len(names) > 20
    for name in names:
        suites.left_out_lines(name, (ROOT / name).read_text(encoding="utf-8"))  # which must be there
        for step in suites.suite(name):
            assert step.program or all((ROOT / path).exists() for path in step.arguments if path.startswith("tests/"))


def test_equivalent_mutations_are_of_lines_that_exist() -> None:
    for file, was, changed in equivalents():
        lines = {" ".join(line.split()) for line in (ROOT / file).read_text(encoding="utf-8").splitlines()}
        assert was in lines and was != changed, (file, was)
    assert all(entry["why"] for entry in json.loads(EQUIVALENT.read_text(encoding="utf-8")))


def test_draws_depend_on_the_seed_alone() -> None:
    first, again, other = (list(zip(range(30), draws("python", seed), strict=False)) for seed in (0, 0, 1))
    assert first == again != other


def test_counts_by_folder() -> None:
    rows = [
        ("csrc/core/walk.cpp", "noticed"),
        ("csrc/cpu/simd/simd.h", "survived"),
        ("csrc/cpu/simd/simd.h", "noticed"),
    ]
    rows += [("csrc/cpu/updater.cpp", "same code"), ("python/fastdense/data/checks.py", "equivalent")]
    assert table([{"file": file, "state": state} for file, state in rows]).splitlines()[2:] == [
        "| csrc/core | 1 | 1 | 0 |",
        "| csrc/cpu | 0 | 0 | 1 |",
        "| csrc/cpu/simd | 2 | 1 | 0 |",
        "| python/fastdense/data | 0 | 0 | 1 |",
        "| all | 3 | 2 | 2 |",
    ]
