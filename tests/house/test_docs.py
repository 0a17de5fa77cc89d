"""What the documents show is run: code blocks, examples, and the numbers that were measured."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fastdense import datasets

ROOT = Path(__file__).parents[2]
WRITTEN = sorted(path for path in (ROOT / "docs").rglob("*.md") if "generated" not in path.parts)
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *WRITTEN]


def blocks(language: str) -> list[tuple[str, str]]:
    pattern = re.compile(rf"^```{language}\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return [
        (f"{path.name}-{i}", text)
        for path in DOCUMENTS
        for i, text in enumerate(pattern.findall(path.read_text(encoding="utf-8")))
    ]


def run(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "MPLBACKEND": "Agg"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# A block that only shows the shape of something is no program: fence it as `text`.
@pytest.mark.parametrize("text", [text for _, text in blocks("python")], ids=[name for name, _ in blocks("python")])
def test_code_block_runs(text: str, tmp_path: Path) -> None:
    run("-c", text, cwd=tmp_path)


def test_readme_script_is_the_example() -> None:
    scripts = [text for name, text in blocks("python") if name.startswith("README")]
    assert (ROOT / "examples" / "quickstart.py").read_text(encoding="utf-8") in scripts


def test_readme_commands() -> None:
    """Two lines that do everything; the second one is what .ci/run calls."""
    commands = [line for name, text in blocks("sh") if name.startswith("README") for line in text.splitlines()]
    assert len(commands) == 2
    assert all(command.startswith("python3 -m venv .venv && .venv/bin/pip install ") for command in commands)
    assert commands[0].endswith("fastdense demo") and commands[1].endswith("pytest -n auto")


def test_readme_numbers_are_those_of_a_result_file() -> None:
    files = (ROOT / "benchmarks" / "results").glob("*.json")
    others = ("local", "curves", "population", "gpu", "ranks")  # measurements that README does not show
    results = sorted(path for path in files if not any(word in path.name for word in others))
    if not results:
        pytest.skip("no benchmark result is committed yet")
    script = (
        "import sys, pathlib\n"
        "from benchmarks import report\n"
        "text = report.README.read_text(encoding='utf-8')\n"
        "sys.exit(all(report.readme_text(report.read(pathlib.Path(p))) != text for p in sys.argv[1:]))"
    )
    run("-c", script, *map(str, results), cwd=ROOT)


def test_quickstart(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    shown = run(str(ROOT / "examples" / "quickstart.py"), cwd=tmp_path)
    assert float(re.findall(r"test accuracy ([\d.]+)%", shown)[0]) > 95


def test_identity_by_gradients(tmp_path: Path) -> None:
    if not datasets.has_local("mnist"):
        pytest.skip("MNIST is not on this machine; set FASTDENSE_DATA")
    script = str(ROOT / "examples" / "identity_by_gradients.py")
    shown = run(script, "--epochs", "4", "--rows", "5120", cwd=tmp_path)
    # 40 steps from 9474; predicting the mean gives about 4400
    assert float(re.findall(r"time\): test loss ([\d.e+]+)", shown)[0]) < 4000
