"""Files that are damaged, or that no model wrote: each is refused with a message that names it."""

from __future__ import annotations

import json
import os
import pickle
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense.model import files as saving
from fastdense.network import Net
from tests.unit.model.test_files import everything, make

RNG = np.random.RandomState(0)
X = RNG.rand(30, 4).astype(np.float32)
Y = RNG.rand(30, 2).astype(np.float32)


# ---- damage --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "net"
    model = fd.Model([fd.Dense(3, "relu"), fd.Dense(2)], inputs=4, device="reference")
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    model.save(path)
    return path.read_bytes()


def refused(raw: bytes, path: Path) -> str:
    """Load bytes that must be refused; return the message."""
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"^load: '.*damaged' cannot be loaded: ") as caught:
        fd.load(path)
    assert type(caught.value) is ValueError
    return str(caught.value)


def test_every_truncation_is_refused(good: bytes, tmp_path: Path) -> None:
    for length in [*range(40), *range(40, len(good), 37), len(good) - 1]:
        refused(good[:length], tmp_path / "damaged")
    refused(good + b"\0", tmp_path / "damaged")


def test_every_flipped_bit_is_refused(good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "damaged"
    length = int.from_bytes(good[:8], "little")
    spaces = len(good[8 : 8 + length]) - len(good[8 : 8 + length].rstrip(b" "))
    loaded = 0
    for k, place in enumerate([*range(200), *range(200, len(good), 11)]):
        raw = bytearray(good)
        raw[place] ^= 1 << (k % 8)
        path.write_bytes(raw)
        try:
            fd.load(path)
            loaded += 1
            assert 8 + length - spaces <= place < 8 + length, place  # padding
        except ValueError as error:
            assert str(error).startswith("load: ")
    assert loaded <= spaces


@pytest.mark.parametrize(
    "raw",
    [b"", b"hello", b"PK\x03\x04" + b"\0" * 100, b"\x89HDF\r\n\x1a\n" + b"\0" * 64, b"\xff" * 64,
     (2).to_bytes(8, "little") + b"{}", (4).to_bytes(8, "little") + b"null", (4).to_bytes(8, "little") + b"[{}]",
     (20_000).to_bytes(8, "little") + b"[" * 20_000],
)  # fmt: skip
def test_foreign_files(raw: bytes, tmp_path: Path) -> None:
    if raw.startswith((b"PK", b"\x89HDF")):
        pytest.importorskip("h5py", reason="files of Keras are read by h5py")
        assert "it is damaged" in refused(raw, tmp_path / "damaged")
    else:
        assert "give a file that model.save wrote" in refused(raw, tmp_path / "damaged")


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing"):
        fd.load(tmp_path / "nothing")
    path = tmp_path / "no" / "folder"
    with pytest.raises(FileNotFoundError, match="save: ") as info:
        make("reference").save(path)
    assert info.value.filename == str(path)  # not the temporary one


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="there is no file here that cannot be read")
def test_a_file_that_cannot_be_read_is_named() -> None:
    with pytest.raises(OSError, match=r"^\[Errno 5\] load: .*: '/proc/self/mem'$"):
        fd.load("/proc/self/mem")


def rewritten(good: bytes, path: Path, change: Any) -> bytes:
    """The file with another config, checksums made good."""
    path.write_bytes(good)
    tensors, metadata = saving.read_tensors(path)
    config = json.loads(metadata["fastdense"])
    config = change(config) or config
    metadata["fastdense"] = json.dumps(config)
    sums = json.loads(metadata["crc32"]) | {"config": zlib.crc32(metadata["fastdense"].encode())}
    saving.write_tensors(path, tensors, metadata | {"crc32": json.dumps(sums)})
    return path.read_bytes()


def nested(depth: int) -> dict[str, Any]:
    """Config of residuals in one another."""
    layer = fd.Dense(4).to_dict()
    for _ in range(depth):
        layer = {"class_name": "Residual", "config": {"layers": [layer], "name": None}}
    return layer


def kfac(interval: int) -> dict[str, Any]:
    config = fd.KFAC().to_dict()
    config["config"]["interval"] = interval
    return config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: c.update(format=2, version="9.9"),
            "fastdense 9.9 wrote it in format 2; .* format 1; update fastdense",
        ),
        (lambda c: c["model"]["layers"][0].update(class_name="Convolution"), "does not describe a model .*Convolution"),
        (lambda c: c["model"]["layers"][0].update(class_name="os.system"), "does not describe a model"),
        (
            lambda c: c["model"].update(inputs=5),
            r"tensor 'weights.0.dense.kernel' has shape \(4, 3\); dense/kernel needs \(5, 3\)\); give a file",
        ),
        (lambda c: c["model"].update(inputs=10**15), "does not describe a model"),
        (lambda c: c["model"].update(surprise=1), "does not describe a model .*surprise"),
        (lambda c: c["model"].pop("layers") and None, "does not describe a model"),
        (lambda c: c["compile"].update(loss="msee"), "does not describe a model .*msee"),
        (lambda c: c.update(slots=3), r"there is no tensor 'optimizer.2.0'; dense/kernel needs \(4, 3\)"),
        (lambda c: c.update(step="soon"), "does not describe a model"),
        (lambda c: c.update(step=10**30), "does not describe a model .*step=1000"),
        (lambda c: c.update(epochs_trained=-1), "does not describe a model .*epochs_trained=-1"),
        (lambda c: c.update(format=float("inf")), "its metadata is damaged"),
        (lambda c: c.update(format=0.5), "its metadata is damaged"),
        (lambda c: c.update(format=0), "its metadata is damaged"),
        (lambda c: c.update(format=-1), "its metadata is damaged"),
        (lambda c: c.update(format=True), "its metadata is damaged"),
        (lambda c: c.update(format="1"), "its metadata is damaged"),
        (lambda c: c["model"].update(name="a\ud800"), r"Model: name='a\\ud800' has characters that cannot be printed"),
        (
            lambda c: c["model"]["layers"].append(c["model"]["layers"][1]),
            r"there is no tensor 'weights.4.dense_2.kernel'; dense_2/kernel needs \(2, 2\)",
        ),
        (lambda c: c.update(slots=10**9), "does not describe a model .*slots=1000000000 is out of range"),
        (lambda c: c["compile"].update(optimizer=kfac(2**63)), "KFAC: interval=9223372036854775808 is out of range"),
        (lambda c: c["model"]["layers"].insert(0, nested(65)), "65 of them are nested. Give at most 64"),
        (lambda c: c["model"]["layers"].insert(0, nested(300)), "nested"),
        (lambda c: c.pop("epochs_trained") and None, "does not describe a model"),
        (lambda c: c.update(feature_names="abcd"), "feature_names is 'abcd'; 4 names are needed"),
        (lambda c: c.update(feature_names=["a", "b", "c"]), r"feature_names is \['a', 'b', 'c'\]; 4 names are needed"),
        (lambda c: c.update(feature_names=["a", 2, "c", "d"]), r"feature_names is \['a', 2, 'c', 'd'\]; 4 names are"),
        (lambda c: [1], "its metadata is damaged"),
    ],
)
def test_a_config_that_makes_no_sense(good: bytes, change: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "damaged"
    raw = rewritten(good, path, change)
    with pytest.raises(ValueError, match=message):
        refused_path(raw, path)


def refused_path(raw: bytes, path: Path) -> None:
    raise ValueError(refused(raw, path))


def test_rewriting_alone_does_no_harm(good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net"
    rewritten(good, path, lambda config: None)
    assert fd.load(path).runner.step == 1


def test_a_huge_net_is_refused_before_it_is_made(good: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def huge(config: dict[str, Any]) -> None:
        for layer in config["model"]["layers"]:
            layer["config"]["units"] = 12_000
        config["model"]["inputs"] = 12_000

    monkeypatch.setattr("fastdense.network.check_memory", lambda *arguments: None)  # whatever machine this is
    raw = rewritten(good, tmp_path / "damaged", huge)
    tracemalloc.start()
    try:
        message = refused(raw, tmp_path / "damaged")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert message == (
        f"load: {str(tmp_path / 'damaged')!r} cannot be loaded: it does not describe a model (tensor "
        "'weights.0.dense.kernel' has shape (4, 3); dense/kernel needs (12000, 12000)); "
        "give a file that model.save wrote, or save it again"
    )


def test_no_first_values_are_drawn_for_a_file(device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(device)
    model.save(tmp_path / "net")

    def drawn(self: Net) -> Any:
        raise AssertionError("first values were drawn")

    monkeypatch.setattr(Net, "initial_values", drawn)
    assert everything(fd.load(tmp_path / "net")) == everything(model)
    assert everything(pickle.loads(pickle.dumps(model))) == everything(model)


def file_of(header: dict[str, Any], data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"a": {"dtype": "F32", "shape": [0, 2**61, 2**61], "data_offsets": [0, 0]}}, "its header is not that of a"),
        ({"a": {"dtype": "F64", "shape": [0, 2**60], "data_offsets": [0, 0]}}, "its header is not that of a safetens"),
        ({"a": {"dtype": "F64", "shape": [0] + [1] * 64, "data_offsets": [0, 0]}}, "its header is not that of a safe"),
        (
            {"a": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0, 0]}},
            "its header is not that of a safetensors file",
        ),
        ({"a": {"dtype": "F32", "shape": [0], "data_offsets": [0]}}, "its header is not that of a safetensors file"),
        (
            {"a": {"dtype": "F32", "shape": [0.0], "data_offsets": [0, 0]}},
            "its header is not that of a safetensors file",
        ),
        ({"a": {"dtype": "F32", "shape": [0, -1], "data_offsets": [0, 0]}}, "its header is not that of a safetensors"),
        ({"a": {"dtype": "F32", "shape": [False], "data_offsets": [0, 0]}}, "its header is not that of a safetensors"),
        ({"a": {"dtype": "F64", "shape": [0, 2**59], "data_offsets": [0, 0]}}, "it holds tensors, but no fastdense"),
        ({"__metadata__": {"fastdense": "\ud800"}}, "its metadata is not text"),
        ({"__metadata__": {"\ud800": "a", "fastdense": 1}}, "its metadata is not text"),
        ({"__metadata__": "fastdense"}, "its metadata is not text"),
    ],
)
def test_headers_that_make_no_sense(header: dict[str, Any], message: str, tmp_path: Path) -> None:
    assert f"cannot be loaded: {message}" in refused(file_of(header), tmp_path / "damaged")


def test_a_file_that_becomes_shorter_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, parse = tmp_path / "damaged", json.loads
    fd.Model([fd.Dense(1000)], inputs=1000, device="reference").save(path)  # more than a buffer holds

    def shortened(text: str) -> Any:
        os.truncate(path, 1_000_000)
        return parse(text)

    monkeypatch.setattr("fastdense.model.files.json.loads", shortened)
    with pytest.raises(ValueError, match="cannot be loaded: it has become shorter while it was read; give a file"):
        fd.load(path)
