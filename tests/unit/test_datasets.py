"""Data sets: where they are looked for, what is checked, and the error when they are not there."""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fastdense import datasets
from fastdense.datasets import DatasetError, load_digits, load_fashion_mnist, load_mnist

KEYS = ("x_train", "y_train", "x_test", "y_test")


@pytest.fixture(autouse=True)
def empty_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FASTDENSE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """Two tiny images in place of 60 000, so that a test writes bytes and not megabytes."""
    monkeypatch.setattr(datasets, "_SHAPES", ((2, 28, 28), (2,), (1, 28, 28), (1,)))
    random = np.random.RandomState(0)
    return {key: random.randint(0, 256, s).astype(np.uint8) for key, s in zip(KEYS, datasets._SHAPES, strict=True)}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An address on this machine in place of the public ones."""
    folder = tmp_path / "public"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None: ...

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}/", folder
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def sha256(path: Path) -> str:
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def know(monkeypatch: pytest.MonkeyPatch, name: str, **changes: object) -> None:
    monkeypatch.setitem(datasets._SOURCES, name, replace(datasets._SOURCES[name], **changes))


def serve_idx(monkeypatch: pytest.MonkeyPatch, url: str, folder: Path, arrays: dict[str, np.ndarray]) -> None:
    """Put the four idx files of Fashion-MNIST on the server, and make their checksums the known ones."""
    remote = []
    for file, key in zip(datasets._SOURCES["fashion_mnist"].remote, KEYS, strict=True):
        array = arrays[key]
        header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
        path = folder / file.name
        path.write_bytes(gzip.compress(header + array.tobytes()))
        remote.append(replace(file, url=url + file.name, checksum="md5:" + hashlib.md5(path.read_bytes()).hexdigest()))
    know(monkeypatch, "fashion_mnist", remote=tuple(remote))


def test_data_folder_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / "mnist.npz", **small)
    know(monkeypatch, "mnist", npz_checksums=(sha256(tmp_path / "mnist.npz"),))
    assert not datasets.has_local("mnist")
    monkeypatch.setenv("FASTDENSE_DATA", str(tmp_path))
    assert datasets.has_local("mnist")
    (x_train, y_train), (x_test, y_test) = load_mnist(download=False)
    for key, array in zip(KEYS, (x_train, y_train, x_test, y_test), strict=True):
        np.testing.assert_array_equal(array, small[key])


def test_unknown_file_is_refused_unless_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small: dict[str, np.ndarray]
) -> None:
    np.savez(tmp_path / "mnist.npz", **small)
    monkeypatch.setenv("FASTDENSE_DATA", str(tmp_path))
    with pytest.raises(DatasetError, match=r"mnist\.npz is damaged or a different file: sha256:.*verify=False"):
        load_mnist()
    assert load_mnist(verify=False)[0][0].shape == (2, 28, 28)


def test_unverified_file_must_have_the_right_arrays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small: dict[str, np.ndarray]
) -> None:
    monkeypatch.setenv("FASTDENSE_DATA", str(tmp_path))
    path = tmp_path / "mnist.npz"
    np.savez(path, **{**small, "y_train": np.zeros(3, np.uint8)})
    with pytest.raises(DatasetError, match=r"y_train is uint8 of shape \(3,\); it must be uint8 of shape \(2,\)"):
        load_mnist(verify=False)
    np.savez(path, x_train=small["x_train"])
    with pytest.raises(DatasetError, match="must hold the arrays x_train, y_train, x_test, y_test"):
        load_mnist(verify=False)
    with path.open("wb") as file:
        np.save(file, small["x_train"])
    with pytest.raises(DatasetError, match="one array, not an npz archive"):
        load_mnist(verify=False)
    path.write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(DatasetError, match="cannot be read"):
        load_mnist(verify=False)


def test_download_cache_and_damage(
    monkeypatch: pytest.MonkeyPatch,
    server: tuple[str, Path],
    small: dict[str, np.ndarray],
) -> None:
    pytest.importorskip("pooch")
    url, folder = server
    serve_idx(monkeypatch, url, folder, small)
    (x_train, y_train), (x_test, y_test) = load_fashion_mnist()
    for key, array in zip(KEYS, (x_train, y_train, x_test, y_test), strict=True):
        np.testing.assert_array_equal(array, small[key])
    for path in folder.iterdir():  # the second time nothing is fetched
        path.unlink()
    assert datasets.has_local("fashion_mnist")
    np.testing.assert_array_equal(load_fashion_mnist(download=False)[1][0], small["x_test"])
    cached = datasets.cache_folder() / "fashion-t10k-images-idx3-ubyte.gz"
    cached.write_bytes(cached.read_bytes()[:-1])
    with pytest.raises(DatasetError, match="t10k-images.* is damaged or a different file: md5:.*delete it"):
        load_fashion_mnist()


def test_wrong_download_is_refused(
    monkeypatch: pytest.MonkeyPatch, server: tuple[str, Path], small: dict[str, np.ndarray]
) -> None:
    pytest.importorskip("pooch")
    url, folder = server
    serve_idx(monkeypatch, url, folder, small)
    (folder / "fashion-train-images-idx3-ubyte.gz").write_bytes(b"something else")
    with pytest.raises(DatasetError, match="could not be downloaded: .*hash"):
        load_fashion_mnist()
    assert not datasets.has_local("fashion_mnist")


def test_offline_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("pooch")
    dead = replace(datasets._SOURCES["mnist"].remote[0], url="http://127.0.0.1:9/mnist.npz")
    know(monkeypatch, "mnist", remote=(dead,))
    monkeypatch.setenv("FASTDENSE_DATA", str(tmp_path))
    with pytest.raises(DatasetError) as caught:
        load_mnist()
    message = str(caught.value)
    assert "MNIST is not on this machine, and http://127.0.0.1:9/mnist.npz could not be downloaded" in message
    assert "set FASTDENSE_DATA to that folder" in message and "which has no mnist.npz" in message
    assert str(datasets.cache_folder()) in message


def test_no_download_when_not_wanted() -> None:
    with pytest.raises(DatasetError, match=r"Fashion-MNIST is not on this machine\.\nDo one of the following"):
        load_fashion_mnist(download=False)


def test_unknown_name() -> None:
    with pytest.raises(ValueError, match="unknown data set 'minst'; known: mnist, fashion_mnist"):
        datasets.has_local("minst")


@pytest.mark.parametrize("source", ["sklearn", "synthetic"])
def test_digits(source: datasets.DigitsSource) -> None:
    if source == "sklearn":
        pytest.importorskip("sklearn")
    (x_train, y_train), (x_test, y_test) = load_digits(source)
    assert x_train.shape == (1437, 8, 8) and x_test.shape == (360, 8, 8)
    assert x_train.dtype == y_train.dtype == np.uint8
    assert x_train.max() == 16 and set(y_train) == set(y_test) == set(range(10))
    np.testing.assert_array_equal(load_digits(source)[0][0], x_train)


def test_synthetic_digits_never_change() -> None:
    (x_train, _), _ = load_digits("synthetic")
    assert hashlib.sha256(x_train.tobytes()).hexdigest()[:16] == "f865c7fa6a1b557f"


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "find_spec", lambda name: None)
    with pytest.warns(UserWarning, match="synthetic digits .not the real data set."):
        (x_train, _), _ = load_digits()
    np.testing.assert_array_equal(x_train, load_digits("synthetic")[0][0])
    with pytest.raises(DatasetError, match="pip install scikit-learn"):
        load_digits("sklearn")
    with pytest.raises(ValueError, match="'auto', 'sklearn' or 'synthetic'"):
        load_digits("mnist")  # type: ignore[arg-type]
