"""The command line's diagnosis: `python -m fastdense diagnose`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import fastdense as fd
from fastdense.cli.diagnose import main
from tests.helpers.diagnosed import stuck

SCRIPT = """
import sys
import numpy as np
import fastdense as fd
x = np.linspace(-3, 3, 200)[:, None]
model = fd.Model([fd.Dense(16, "tanh"), fd.Dense(1, "relu")], inputs=1)
model.compile(fd.Adam(0.01), "mse")
model.fit(x, np.sin(x), epochs=60, verbose=0)
assert sys.argv[1:] == ["quick"]
"""


def test_command_explains_the_last_fit_of_a_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "net.py"
    script.write_text(SCRIPT)
    page = tmp_path / "report.html"
    fit = fd.Model.fit
    assert main([str(script), "quick", "--html", str(page)]) == 1
    assert fd.Model.fit is fit
    assert "error OUTPUT_RELU in dense_1" in capsys.readouterr().out
    assert page.exists()


def test_command_explains_a_saved_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, x, y = stuck()
    model.save(tmp_path / "net.safetensors")
    np.savez(tmp_path / "data.npz", x=x, y=y)
    np.savetxt(tmp_path / "data.csv", np.hstack([x, y]), delimiter=",", header="x,y", comments="")
    for name in ("data.npz", "data.csv"):
        assert main([str(tmp_path / "net.safetensors"), str(tmp_path / name), "--json", "--budget", "60"]) == 1
        assert json.loads(capsys.readouterr().out)["findings"][0]["code"] == "OUTPUT_RELU"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.py"], "none.py does not exist; pass a script or a saved model"),
        (["none.safetensors"], "none.safetensors needs one file of data: an .npz with x and y, or a .csv"),
    ],
)
def test_command_says_what_is_missing(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


PLAIN = b"PK\x05\x06" + 18 * b"\0"  # a zip file of nothing


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("data.npz", b"garbage", "cannot be read as an .npz file (This file contains pickled (object) data"),
        ("data.npz", b"", "cannot be read as an .npz file (No data left in file); it needs x and y"),
        (
            "data.npz",
            b"PK\x03\x04" + 100 * b"\0",
            "cannot be read as an .npz file (",
        ),
        ("data.npz", PLAIN, "holds nothing; it needs x and y: np.savez('data.npz', x=x, y=y)"),
        ("data.npz", b"\x93NUMPY\x01\x00", "cannot be read as an .npz file ("),
        (
            "data.csv",
            b"",
            "holds no rows; it needs rows of numbers with commas between them, the target last",
        ),
        ("data.csv", b"x,y\n", "holds no rows; it needs rows of numbers"),
        ("data.csv", b"1\n2\n", "holds only one column; it needs rows of numbers"),
        ("data.csv", b"1,2\n1,2,3\n", "cannot be read as a .csv file (Some errors were detected !); it needs rows"),
        ("data.csv", b"\xff\xfe\x00,\x81\n", "cannot be read as a .csv file ("),
        (
            "data.txt",
            b"1,2\n",
            "is of a kind that is not read; give an .npz with x and y, or a .csv with the target last",
        ),
    ],
)
def test_data_that_cannot_be_read(
    name: str, content: bytes, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model, data = tmp_path / "net.safetensors", tmp_path / name
    stuck()[0].save(model)
    data.write_bytes(content)
    assert main([str(model), str(data)]) == 2
    printed = capfd.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert printed.err.startswith(f"fastdense diagnose: {data} {said}")


def test_an_array_alone_and_a_page_that_cannot_be_written(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model, x, y = stuck()
    model.save(tmp_path / "net")
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "x.npy").rename(tmp_path / "x.npz")
    assert main([str(tmp_path / "net"), str(tmp_path / "x.npz")]) == 2
    assert f"{tmp_path / 'x.npz'} cannot be read as an .npz file (" in capfd.readouterr().err
    np.savez(tmp_path / "data.npz", x=x, y=y)
    page = tmp_path / "no" / "page.html"
    assert main([str(tmp_path / "net"), str(tmp_path / "data.npz"), "--no-trials", "--html", str(page)]) == 2
    printed = capfd.readouterr()
    assert (
        printed.err.startswith("fastdense diagnose: ") and printed.err.count("\n") == 1 and "page.html" in printed.err
    )
