"""Every example in its short form: what its last table claims, and its picture."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from fastdense import datasets
from fastdense.cli import gallery

NUMBER = r"(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)"


def run(name: str, folder: Path, **environment: str) -> str:
    pytest.importorskip("matplotlib")
    done = subprocess.run(
        [sys.executable, str(gallery.folder() / f"{name}.py"), "--quick"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "MPLBACKEND": "Agg", **environment},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"picture: {name}.png\n")
    assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    return done.stdout


def numbers(shown: str, row: str) -> list[float]:
    """The numbers in the last line that begins with `row`, after those words."""
    lines = [line[len(row) :] for line in shown.splitlines() if line.startswith(row)]
    assert lines, shown
    return [float(n) for n in re.findall(NUMBER, lines[-1])]


def need(name: str) -> None:
    if not datasets.has_local(name):
        pytest.skip(f"{name} is not on this machine; set FASTDENSE_DATA")


def test_fir(tmp_path: Path) -> None:
    shown = run("fir", tmp_path)
    assert max(numbers(shown, "FIR filter, 32 taps")) < 1e-5
    assert max(numbers(shown, "Fourier matrix, 32 x 34")) < 1e-5


def test_spectrum(tmp_path: Path) -> None:
    shown = run("spectrum", tmp_path)
    assert numbers(shown, "one linear layer")[-1] > 40
    assert numbers(shown, "256 ReLU units, then linear")[-1] <= 1.0


def test_pyramid(tmp_path: Path) -> None:
    shown = run("pyramid", tmp_path)
    before, _, _, after, low, _ = numbers(shown, "find the pyramid")
    assert before < 30 and after > 90 and low > 85
    before, _, _, after, *_ = numbers(shown, "stuck with a dead unit")
    assert before > 30 and after == 0
    assert numbers(shown, "data")[0] > 2 * numbers(shown, "Glorot")[0]  # the initialization, three units ...
    sgd, adam = numbers(shown, "SGD"), numbers(shown, "Adam")  # ... makes a larger difference than the optimizer
    assert max(sgd[0], adam[0]) < 2 * min(sgd[0], adam[0])


def test_plateau(tmp_path: Path) -> None:
    need("mnist")
    shown = run("plateau", tmp_path)
    reported, first, _ = numbers(shown, "first loss")
    assert abs(first - reported) < 0.1
    reported, last, cured = numbers(shown, "last loss")
    assert abs(last - reported) < 0.05 and cured < 1.5
    stuck, cured, treated = numbers(shown, "test digits right")
    assert stuck < 15 and cured > 80 and treated > 50
    assert "SYMMETRIC" in shown and "BASELINE" in shown


def test_exercise4(tmp_path: Path) -> None:
    need("mnist")
    shown = run("exercise4", tmp_path)
    owner, here, treated, course, _ = numbers(shown, "training digits right")
    assert owner == 10 and here < 15 and treated > 60 and course > 95
    assert "OVER_REG" in shown and "LOSS_ACT" in shown


def test_ceiling(tmp_path: Path) -> None:
    shown = run("ceiling", tmp_path)
    limit, largest, highest, above = (float(n) for n in re.findall(
        rf"bias \+ sum \|kernel\| = {NUMBER}; largest prediction {NUMBER}; targets go up to {NUMBER}, {NUMBER}%", shown
    )[0])  # fmt: skip
    assert largest <= limit < 0.5 * highest and above > 10
    before, after = numbers(shown, "R2 on new rows")[-2:]
    assert before < 0.6 and after > 0.9
    spread, _, repaired = numbers(shown, "ReLU + L2: predictions")[-3:]
    assert spread < 1e-3 and repaired > 0.8
    assert "OVER_REG" in shown and "TARGET_SCALE" in shown


def test_collapse(tmp_path: Path) -> None:
    need("mnist")
    shown = run("collapse", tmp_path)
    assert numbers(shown, "with sigmoid")[0] == 100
    here, repaired = numbers(shown, "with ReLU, at the end")[-2:]
    assert here < 25 and repaired == 100
    reported, here = numbers(shown, "collapse")[:2]
    assert abs(here - reported) <= 4
    assert "DEAD_RELU" in shown


def test_identity(tmp_path: Path) -> None:
    need("mnist")
    shown = run("identity", tmp_path)
    _, here, repaired = numbers(shown, "4 layers: test loss")
    assert here > 500 and repaired < 10
    for code in ("OUTPUT_RELU", "MAPE_ZERO", "INPUT_SCALE"):
        assert code in shown


def test_fashion(tmp_path: Path) -> None:
    need("fashion_mnist")
    shown = run("fashion", tmp_path)
    low, high, least, _ = numbers(shown, "test accuracy")
    assert low < 75 and low < high and least > 70
    lost = numbers(shown, "never predicted")
    assert lost[0] > 0 and lost[-1] == 0


def test_intervals(tmp_path: Path) -> None:
    shown = run("intervals", tmp_path)
    # 4 tables: 90 % ± three times 0.3/sqrt(4 * 201), and as much again for 4 nets instead of many
    assert abs(numbers(shown, "quantiles, calibrated")[0] - 90) < 6
    covered, calm, wild, _ = numbers(shown, "squares, calibrated")
    assert abs(covered - 90) < 6 and calm > wild + 10
    free, rising = numbers(shown, "free"), numbers(shown, "rising")
    assert rising[1] == 0 < free[1] and rising[0] < free[0]


def test_cluster(tmp_path: Path) -> None:
    shown = run("cluster", tmp_path)
    workers = "2 Dask workers" if find_spec("distributed") else "2 processes"
    assert numbers(shown, workers)[1:] == numbers(shown, "this process")[1:]
    assert "\nthe same weights        yes, bit for bit\n" in shown


def test_surrogate(tmp_path: Path) -> None:
    shown = run("surrogate", tmp_path)
    for rows in ("  32 rows", " 128 rows"):
        *_, ratio, alone, informed, _ = numbers(shown, rows)
        assert ratio > 1.2 and alone > 1.2 * informed


def test_oscillator(tmp_path: Path) -> None:
    shown = run("oscillator", tmp_path)
    assert numbers(shown, "loss at the end")[0] < 1e-2
    assert numbers(shown, "largest error of u")[0] < 0.3


def test_cartpole(tmp_path: Path) -> None:
    shown = run("cartpole", tmp_path)
    assert numbers(shown, "steps balanced, first five rounds")[0] < 60
    assert numbers(shown, "steps balanced, last five rounds")[0] > 120


def test_batchnorm(tmp_path: Path) -> None:
    shown = run("batchnorm", tmp_path)
    for net in ("32", "32, 16", "24, 24, 24"):
        values = [float(n) for n in re.findall(r"([\d.]+) ± [\d.]+", next(
            line for line in shown.splitlines() if re.match(rf"{net}  +[\d.]+ ±", line)))]  # fmt: skip
        assert all(value > 50 for value in values[:3])
    assert "270 nets" in shown


def test_without_mnist_small_digits_take_its_place(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    offline = {"https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-m", "fastdense", "demo", "collapse", "--quick"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "MPLBACKEND": "Agg", "FASTDENSE_DATA": "", "XDG_CACHE_HOME": str(tmp_path), **offline},
    )
    assert done.returncode == 0, done.stderr
    assert "Small digits (8 x 8 pixels) are used instead" in done.stderr
    assert "picture: collapse.png" in done.stdout


def test_names_are_the_scripts() -> None:
    scripts = {path.stem for path in gallery.folder().glob("*.py")} - {
        "quickstart",
        "identity_by_gradients",
    }  # see test_docs.py
    assert scripts == set(gallery.NAMES)
    for name in gallery.NAMES:
        assert 20 < len(gallery.title(name)) <= 100
        assert f"fastdense demo {name}" in gallery.listing()


def test_every_example_is_in_the_gallery() -> None:
    root = Path(__file__).parents[2]
    text = (root / "docs" / "gallery.md").read_text(encoding="utf-8")
    for name in gallery.NAMES:
        assert f"\n## {name}: " in text and f"(pictures/{name}.png)" in text
        assert (root / "docs" / "pictures" / f"{name}.png").is_file()
