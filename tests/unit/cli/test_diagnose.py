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
