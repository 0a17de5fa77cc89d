"""The command line as a user meets it: `python -m fastdense`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastdense as fd
from fastdense.cli import gallery
from fastdense.cli.main import main
from fastdense.versions import build_config, package_version


def fastdense(*arguments: str, cwd: Path, code: int = 0, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "fastdense", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
    )
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


def test_build_config() -> None:
    config = build_config()
    assert {"version", "isa", "blas", "openmp", "threads", "cuda", "compiler", "flags", "commit"} <= set(config)
    assert all(isinstance(value, str) for value in config.values())
    assert config["version"] == fd.__version__ and fd.__version__ in ("0+unknown", package_version("fastdense"))
    json.dumps(config)


def test_show_versions(capsys: pytest.CaptureFixture[str]) -> None:
    fd.show_versions()
    shown = capsys.readouterr().out
    for word in ("fastdense\n", "system\n", "optional libraries\n", "numpy", "torch", build_config()["isa"]):
        assert word in shown


def test_info_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    fd.show_versions()
    first, second = capsys.readouterr().out.split("fastdense\n")[1:]
    assert first == second
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == fd.__version__


def test_no_command_prints_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert "demo" in shown and "info" in shown


def test_bad_epochs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["demo", "--epochs", "0"])
    assert "at least 1 is needed" in capsys.readouterr().err


def test_demo(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    shown = fastdense("demo", "--data", "digits", "--no-plot", cwd=tmp_path)
    assert "scikit-learn's handwritten digits: 1437 for training, 360 for testing" in shown
    accuracy = float(re.findall(r"([\d.]+) % of the test digits are classified correctly", shown)[0])
    assert accuracy >= 95
    rows = re.findall(
        r"^(fastdense|NumPy \S+|PyTorch \S+) +([\d.e+]+) +([\d.e+]+) ms +([\d.]+) % +([\d.]+)(.*)", shown, re.M
    )
    assert [row[0].split()[0] for row in rows[:2]] == ["fastdense", "NumPy"]
    for row in rows:  # the same net learned the same, wherever it was trained; a baseline that is slow is cut short
        assert abs(float(row[3]) - accuracy) < 1.5 or "to save time" in row[5]
    difference = float(re.findall(r"differ by at most ([\d.e+-]+) %", shown)[0])
    assert difference < 10
    assert "fastdense demo plateau --quick\n" in shown and "find the pyramid" in shown  # the tour goes on
    assert shown.rstrip().splitlines()[-1].startswith(f"  fastdense demo {gallery.NAMES[-1]}")
    assert not list(tmp_path.iterdir())


def test_demo_writes_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    shown = fastdense("demo", "--data", "digits", "--epochs", "2", "--plot", "loss.png", cwd=tmp_path)
    assert "Plot of the loss: loss.png" in shown
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_demo_by_name(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    shown = fastdense("demo", "fir", "--quick", cwd=tmp_path)
    assert shown.endswith("picture: fir.png\n") and (tmp_path / "fir.png").is_file()
    assert "usage: fir.py [-h] [--quick]" in fastdense("demo", "fir", "--help", cwd=tmp_path)


def test_demo_of_an_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["demo", "pyramids"])
    assert "pyramid" in capsys.readouterr().err


def test_demo_without_the_data_says_so(tmp_path: Path) -> None:
    shown = fastdense(
        "demo", "--data", "mnist", cwd=tmp_path, code=1, FASTDENSE_DATA="", XDG_CACHE_HOME=str(tmp_path), **OFFLINE
    )
    assert "\nfastdense demo: MNIST is not on this machine, and http" in shown and "\nDo one of the following" in shown
    assert "Traceback" not in shown


OFFLINE = {"https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
