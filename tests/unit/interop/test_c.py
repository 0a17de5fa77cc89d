"""C headers: compiled without warnings, they give what the model gives."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastdense as fd
from fastdense.activations import ACTIVATIONS
from fastdense.arrays import Array
from tests.helpers.nets import Net, check_close, net_of_activation, nets

CC, CXX = shutil.which("cc") or shutil.which("gcc"), shutil.which("c++") or shutil.which("g++")
pytestmark = pytest.mark.skipif(CC is None, reason="there is no C compiler here")
FLAGS = ["-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC"]
ROW = np.ctypeslib.ndpointer(np.float32, flags="C_CONTIGUOUS")


def compiled(folder: Path, functions: Sequence[str], *flags: str, compiler: str | None = None) -> ctypes.CDLL:
    """A library of the headers in a folder, each named after its function."""
    suffix = "cpp" if compiler else "c"
    lines = [f'#include "{name}.h"' for name in functions]
    export = 'extern "C" ' if compiler else ""
    lines += [f"{export}void {name}(const float *x, float *y);\n"
              f"void {name}(const float *x, float *y) {{ {name}_predict(x, y); }}" for name in functions]  # fmt: skip
    source = folder / f"all.{suffix}"
    source.write_text("\n".join(lines))
    library = folder / f"all_{suffix}.so"
    command = [compiler or str(CC), *FLAGS, *flags, str(source), "-o", str(library), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:3000]
    return ctypes.CDLL(str(library))


def outputs(library: ctypes.CDLL, name: str, net: Net) -> Array:
    function = getattr(library, name)
    function.argtypes = [ROW, ROW]
    made = np.full((len(net.x), net.model.outputs), np.nan, dtype=np.float32)
    for row, y in zip(np.ascontiguousarray(net.x), made, strict=True):
        function(row, y)
    return made


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(nets(), min_size=20, max_size=20))
def test_random_nets(tmp_path_factory: pytest.TempPathFactory, made: list[Net]) -> None:
    folder = tmp_path_factory.mktemp("c")
    names = [f"n{i}" for i in range(len(made))]
    for name, net in zip(names, made, strict=True):
        net.model.to_c(folder / f"{name}.h")
    library = compiled(folder, names, "-std=c99")
    for name, net in zip(names, made, strict=True):
        check_close(outputs(library, name, net), net)


def test_activations_in_c_and_in_cpp(tmp_path: Path) -> None:
    names = [f"act_{name}" for name in ACTIVATIONS]
    made = [net_of_activation(name) for name in ACTIVATIONS]
    for name, net in zip(names, made, strict=True):
        net.model.to_c(tmp_path / f"{name}.h")
    libraries = [compiled(tmp_path, names, "-std=c99")]
    libraries += [compiled(tmp_path, names, compiler=CXX)] if CXX else []
    for library in libraries:
        for name, net in zip(names, made, strict=True):
            check_close(outputs(library, name, net), net)


def test_int8_computes_what_it_says(tmp_path: Path) -> None:
    """Outputs in C differ from the model's by what `CExport` says, but for rounding in single precision."""
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 12)).astype(np.float32)
    layers = [fd.Normalization().adapt(x), fd.Dense(24, "relu"), fd.BatchNorm(), fd.Dense(16, "tanh"), fd.Dense(3)]
    net = Net(fd.Model(layers, inputs=12, seed=3), x)
    made = net.model.to_c(tmp_path / "small.h", dtype="int8", calibration=x)
    whole = net.model.to_c(tmp_path / "whole.h")
    y = outputs(compiled(tmp_path, ["small"], "-std=c99"), "small", net)
    apart = np.abs(y - net.model.predict(x))
    assert made.error is not None and made.mean_error is not None and made.same_class is not None
    # a number on the border between two steps may be rounded the other way, by one step of 255
    np.testing.assert_allclose(apart.max(), made.error, atol=0.02 * np.abs(y).max())
    np.testing.assert_allclose(apart.mean(), made.mean_error, rtol=0.05)
    assert 0 < made.error < 0.05 * np.abs(y).max() and made.same_class > 0.95
    assert made.weight_bytes < 0.45 * whole.weight_bytes and whole.error is None
    assert re.fullmatch(
        r".*small\.h: small_predict\(x, y\), [\d.]+ (KiB|B) of constants, [\d.]+ (KiB|B) of stack; outputs differ by "
        r"at most [\d.]+, on average [\d.]+; the same class for [\d.]+ % of the rows",
        str(made),
    )


def test_names_and_sizes(tmp_path: Path) -> None:
    model = fd.Model([fd.Dense(3, "relu"), fd.Dense(2)], inputs=4)
    assert model.to_c(tmp_path / "my-net.2.h").function == "my_net_2_predict"
    assert model.to_c(tmp_path / "2.h").function == "net_2_predict"
    made = model.to_c(tmp_path / "a.h", name="door")
    text = (tmp_path / "a.h").read_text()
    assert made.function == "door_predict" and "#define DOOR_INPUTS 4" in text and "#define DOOR_OUTPUTS 2" in text
    assert made.weight_bytes == 4 * model.count_params() and made.scratch_bytes == 4 * (3 + 2)
    assert "malloc" not in text and re.findall(r"#include <(.*)>", text) == ["math.h", "stdint.h"]


def test_refusals(tmp_path: Path) -> None:
    model = fd.Model([fd.Dense(1)], inputs=2)
    path = tmp_path / "net.h"
    for arguments, message in (
        ({"dtype": "int8"}, "to_c: calibration is missing; int8 needs typical rows, which decide the ranges"),
        ({"calibration": [[0.0, 1.0]]}, "to_c: calibration is given with dtype='float32'; only int8 needs it"),
        ({"dtype": "int8", "calibration": [[0.0]]}, r"to_c: calibration has shape \(1, 1\); \(rows, 2\) is needed"),
        ({"dtype": "int16"}, "to_c: dtype"),
        ({"name": "2net"}, "to_c: name is '2net'; a name of C is needed"),
        ({"name": "float"}, "to_c: name is 'float'"),
    ):
        with pytest.raises(ValueError, match=f"^{message}"):
            model.to_c(path, **arguments)  # type: ignore[arg-type]
    model.set_weights([np.full((2, 1), np.nan), np.zeros(1)])
    with pytest.raises(ValueError, match="^to_c: the net holds nan; finite numbers in single precision are needed"):
        model.to_c(path)
    assert not path.exists()
