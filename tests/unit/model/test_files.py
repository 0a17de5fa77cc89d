"""Model files: nothing is lost, nothing is run, nothing half-written, and damage is reported in one sentence."""

from __future__ import annotations

import copy
import json
import os
import pickle
import re
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastdense as fd

RNG = np.random.RandomState(0)
X = RNG.rand(30, 4).astype(np.float32)
Y = RNG.rand(30, 2).astype(np.float32)

OPTIMIZERS: list[Any] = [
    fd.SGD(0.01),
    fd.SGD(0.01, momentum=0.9, nesterov=True),
    fd.RMSprop(centered=True, momentum=0.1),
    fd.Adagrad(),
    fd.Adadelta(),
    fd.Adam(fd.schedules.CosineDecay(0.01, 50), amsgrad=True),
    fd.AdamW(weight_decay=0.1, clipnorm=1.0),
    fd.Nadam(),
    fd.Lion(),
    fd.Muon(),
    fd.KFAC(interval=3),
]


def make(device: str, optimizer: Any = "adam", **kwargs: Any) -> fd.Model:
    layers: list[Any] = [
        fd.Normalization(),
        fd.Dense(6, fd.Activation("leaky_relu", 0.1), kernel_regularizer="l2"),
        fd.Residual([fd.Dense(6, "prelu", kernel_initializer=fd.initializers.HeNormal(seed=3)), fd.Dropout(0.1)]),
        fd.BatchNorm(momentum=0.9),
        fd.LayerNorm(),
        fd.Rescaling([1.0, -2.0, 0.5, 1.5, 0.1, 3.0], 0.25),
        fd.Dense(2, use_bias=False, name="an/odd name"),
    ]
    model = fd.Model(layers, inputs=4, seed=7, device=device, name="net", **kwargs)
    model.compile(optimizer, fd.losses.Huber(0.5), metrics=["mae", fd.metrics.R2Score(name="fit")])
    return model


def bits(arrays: list[NDArray[Any]]) -> list[bytes]:
    return [array.tobytes() for array in arrays]


def everything(model: fd.Model) -> tuple[Any, ...]:
    slots = [bits(slot) for slot in model.runner.slots()]
    return (bits(model.get_weights()), slots, model.runner.step, model.runner.epochs_trained,
            model.get_config(), model.get_compile_config())  # fmt: skip


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nothing_is_lost(device: str, optimizer: Any, dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    model = make(device, type(optimizer).from_config(optimizer.get_config()), dtype=dtype)
    model.fit(X, Y, epochs=2, batch_size=7, verbose=0)
    model.save(path)
    before = everything(model)
    loaded = fd.load(path)
    assert everything(loaded) == before
    stayed, went = (m.fit(X, Y, epochs=2, batch_size=7, verbose=0).history for m in (model, loaded))
    assert stayed == went and everything(model) == everything(loaded)


def test_not_compiled_not_trained(device: str, tmp_path: Path) -> None:
    model = fd.Model([fd.Normalization(), fd.Dense(2)], inputs=4, device=device)
    model.save(tmp_path / "net")
    loaded = fd.load(tmp_path / "net")
    assert not loaded.compiled and everything(loaded) == everything(model) and loaded.runner.step == 0
    for m in (model, loaded):  # the first fit still takes the statistics
        m.compile("sgd", "mse")
        m.fit(X, Y, verbose=0)
    assert everything(loaded) == everything(model)
    np.testing.assert_allclose(loaded.get_weights()[0], X.mean(0), rtol=1e-5)


def test_a_net_without_tensors(device: str, tmp_path: Path) -> None:
    model = fd.Model([fd.Activation("relu")], inputs=4, device=device)
    model.save(tmp_path / "net")
    np.testing.assert_array_equal(fd.load(tmp_path / "net").predict(X - 0.5), np.maximum(X - np.float32(0.5), 0))


@pytest.mark.parametrize("origin", ["fit", "adapt"])
def test_the_origin_of_statistics(device: str, origin: str, tmp_path: Path) -> None:
    model = make(device)
    if origin == "adapt":
        model.layers[0].adapt(X)  # type: ignore[attr-defined]
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "net")
    loaded = fd.load(tmp_path / "net")
    assert [one.origin for one in loaded.net.statistics] == [origin]
    loaded.fit(100 * X, Y, verbose=0)
    np.testing.assert_array_equal(loaded.get_weights()[0], model.get_weights()[0])
    clone = loaded.clone()
    assert (clone.net.statistics[0].origin == "adapt") == (origin == "adapt")


def test_the_learning_rate_of_the_moment_is_kept(device: str, tmp_path: Path) -> None:
    model = make(device)
    model.optimizer.learning_rate = 0.125
    model.save(tmp_path / "net")
    assert fd.load(tmp_path / "net").optimizer.learning_rate == 0.125


def test_notes_are_kept(device: str, tmp_path: Path) -> None:
    """What `fastdense.keras` writes beside a model."""
    model = make(device)
    model.save(tmp_path / "net")
    assert fd.load(tmp_path / "net").notes == {}
    model.notes["keras"] = {"module": "keras", "config": [1, None]}
    model.save(tmp_path / "net")
    for copied in (fd.load(tmp_path / "net"), pickle.loads(pickle.dumps(model))):
        assert copied.notes == {"keras": {"module": "keras", "config": [1, None]}}


def test_without_the_optimizer(device: str, tmp_path: Path) -> None:
    model = make(device)
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "small", include_optimizer=False)
    model.save(tmp_path / "large")
    assert (tmp_path / "small").stat().st_size < (tmp_path / "large").stat().st_size
    loaded = fd.load(tmp_path / "small")
    assert loaded.compiled and loaded.runner.step == 0 and bits(loaded.get_weights()) == bits(model.get_weights())


def test_load_weights(device: str, tmp_path: Path) -> None:
    model = make(device)
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "net")
    other = make(device)
    other.load_weights(tmp_path / "net")
    assert bits(other.get_weights()) == bits(model.get_weights())
    with pytest.raises(ValueError, match="set_weights: weights holds .* arrays; 2 are needed"):
        fd.Model([fd.Dense(2)], inputs=4, device=device).load_weights(tmp_path / "net")


def heads(outputs: int, *more: Any, first: int = 8) -> fd.Model:
    block = fd.Residual([fd.Dense(first, "tanh"), fd.BatchNorm()])
    return fd.Model([fd.Dense(first, name="body"), block, fd.Dense(outputs, name="head"), *more], inputs=4)


def test_load_weights_that_fit(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """Of each class the first takes those of the first, and so on, as in Keras; inside of blocks, too."""
    given = heads(3)
    rng = np.random.default_rng(0)
    given.set_weights([rng.uniform(0.5, 1.0, w.shape) for w in given.get_weights()])
    given.save(tmp_path / "net")
    path = re.escape(str(tmp_path / "net"))

    def loaded(model: fd.Model, says: str) -> list[bool]:
        before, theirs = model.get_weights(), given.get_weights()
        with pytest.warns(UserWarning, match=f"^load_weights: {path} has no weights of the same shapes for {says}$"):
            model.load_weights(tmp_path / "net", skip_mismatch=True)
        pairs = list(zip(before, model.get_weights(), strict=True))
        taken = [any(np.array_equal(new, one) for one in theirs) for _, new in pairs]
        assert all(taken[i] or np.array_equal(*pairs[i]) for i in range(len(pairs)))
        return taken

    assert loaded(heads(5), "'head'; it keeps its own.") == [True] * 8 + [False] * 2
    assert loaded(heads(3, fd.Dense(2, name="new")), "'new'; it keeps its own.") == [True] * 10 + [False] * 2
    wide = heads(5, first=9)
    assert loaded(wide, "'body', 'residual/0', 'residual/1', 'head'; they keep theirs.") == [False] * 10
    plain = fd.Model([fd.Dense(8), fd.LayerNorm(), fd.Dense(8)], inputs=4)
    assert loaded(plain, "'layer_norm'; it keeps its own.") == [True] * 2 + [False] * 2 + [True] * 2
    recwarn.clear()
    same = heads(3)
    same.load_weights(tmp_path / "net", skip_mismatch=True)
    assert bits(same.get_weights()) == bits(given.get_weights()) and not recwarn.list
    with pytest.raises(TypeError, match="load_weights: skip_mismatch=1 is of type int. Give True or False"):
        same.load_weights(tmp_path / "net", skip_mismatch=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="set_weights: weights"):
        heads(5).load_weights(tmp_path / "net")


def test_another_device(tmp_path: Path) -> None:
    pytest.importorskip("fastdense._core")
    model = make("cpu")
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "net")
    loaded = fd.load(tmp_path / "net", device="reference")
    assert loaded.device == "reference"
    np.testing.assert_allclose(loaded.predict(X), model.predict(X), rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="device='cpuu' is not known"):
        fd.load(tmp_path / "net", device="cpuu")


# ---- the format ----------------------------------------------------------------------------------------------------


def test_the_library_reads_our_files(device: str, tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    model = make(device)
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "net.safetensors")
    tensors = numpy.load_file(tmp_path / "net.safetensors")
    names = [name for name in tensors if name.startswith("weights.")]
    names.sort(key=lambda name: int(name.split(".")[1]))
    assert names[:4] == ["weights.0.normalization.mean", "weights.1.normalization.variance",
                         "weights.2.dense.kernel", "weights.3.dense.bias"]  # fmt: skip
    assert bits([tensors[name] for name in names]) == bits(model.get_weights())


def test_we_read_the_librarys_files(device: str, tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    from safetensors import safe_open

    model = make(device)
    model.fit(X, Y, verbose=0)
    path, copied = tmp_path / "net.safetensors", tmp_path / "copy.safetensors"
    model.save(path)
    with safe_open(path, "np") as file:
        metadata = file.metadata()
    numpy.save_file(numpy.load_file(path), copied, metadata)
    assert everything(fd.load(copied)) == everything(model)
    numpy.save_file({"a": np.zeros(3, np.float32)}, copied)
    with pytest.raises(
        ValueError, match=r"load: .*copy.safetensors' cannot be loaded: it holds tensors, but no fastdense"
    ):
        fd.load(copied)
    numpy.save_file({"a": np.zeros(3, np.int32)}, copied)
    with pytest.raises(ValueError, match="tensor 'a' has dtype 'I32', not F32 or F64"):
        fd.load(copied)


def test_what_is_in_a_file(device: str, tmp_path: Path) -> None:
    model = make(device)
    model.save(tmp_path / "net")
    raw = (tmp_path / "net").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    config = json.loads(header["__metadata__"]["fastdense"])
    assert length % 8 == 0 and raw[8:9] == b"{"
    assert (
        config["format"] == 1
        and config["model"]["name"] == "net"
        and config["compile"]["loss"]["class_name"] == "Huber"
    )
    entry = header["weights.2.dense.kernel"]
    begin, end = entry["data_offsets"]
    kernel = np.frombuffer(raw[8 + length + begin : 8 + length + end], model.get_weights()[2].dtype)
    np.testing.assert_array_equal(kernel.reshape(entry["shape"]), model.get_weights()[2])


# ---- safe writing --------------------------------------------------------------------------------------------------


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("reference")
    path = tmp_path / "net"
    model.save(path)
    old = path.read_bytes()
    model.fit(X, Y, verbose=0)

    def fail(*arguments: Any) -> None:
        raise OSError("disk full")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(OSError, match="disk full"):
                model.save(path)
        assert path.read_bytes() == old and [p.name for p in tmp_path.iterdir()] == ["net"]
    model.save(path)
    assert path.read_bytes() != old


@pytest.mark.skipif(os.name == "nt", reason="Windows does not sync folders")
def test_the_new_name_is_on_the_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The contents before the file takes its place, the folder after it: either file is there after a power failure."""
    path, sync = tmp_path / "net", os.fsync
    synced: list[tuple[bool, bool]] = []

    def noting(descriptor: int) -> None:
        synced.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), path.exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    make("reference").save(path)
    assert synced == [(False, False), (True, True)]


def test_permissions_and_links(tmp_path: Path) -> None:
    model = make("reference")
    path, link = tmp_path / "net", tmp_path / "link"
    model.save(path)
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    path.chmod(0o600)
    link.symlink_to(path)
    model.fit(X, Y, verbose=0)
    model.save(link)
    assert link.is_symlink() and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert fd.load(path).runner.step == model.runner.step


def test_a_private_file_stays_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = make("reference"), tmp_path / "net"
    model.save(path)
    path.chmod(0o600)
    seen, sync = [], os.fsync

    def synced(descriptor: int) -> None:
        seen.append(os.fstat(descriptor))
        sync(descriptor)

    change = os.fchmod

    def changed(descriptor: int, mode: int) -> None:
        seen.append(os.fstat(descriptor))
        change(descriptor, mode)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "fchmod", changed)
    model.save(path)
    files = [status for status in seen if stat.S_ISREG(status.st_mode)]
    assert [stat.S_IMODE(status.st_mode) for status in files] == [0o600, 0o600]
    assert files[0].st_size == 0 < files[1].st_size


@pytest.mark.parametrize("length", [1, 232, 233, 255])
def test_a_name_may_be_as_long_as_the_file_system_allows(length: int, tmp_path: Path) -> None:
    model, path = make("reference"), tmp_path / ("n" * length)
    for _ in range(2):
        model.save(path)
    assert everything(fd.load(path)) == everything(model)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    path = tmp_path / "net"
    killed = (
        "import os, signal, sys\nimport fastdense as fd\n"
        "model = fd.Model([fd.Dense(2)], inputs=4, device='reference')\n"
        "os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)\n"
        "model.save(sys.argv[1])\n"
    )
    for name in ("net", "other"):
        assert subprocess.run([sys.executable, "-c", killed, str(tmp_path / name)]).returncode == -signal.SIGKILL
    left = {p.name for p in tmp_path.iterdir()}
    assert len(left) == 2 and all(name.startswith(".fastdense-") for name in left)
    make("reference").save(path)
    names = {p.name for p in tmp_path.iterdir()}
    assert "net" in names and len(names) == 2 and len(names & left) == 1  # that of the other file
    make("reference").save(tmp_path / "other")
    assert {p.name for p in tmp_path.iterdir()} == {"net", "other"}


def test_what_another_writer_is_writing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fcntl")
    path, sync = tmp_path / "net", os.fsync
    first, second = make("reference"), make("reference")
    second.fit(X, Y, verbose=0)
    writing: list[set[str]] = []

    def meanwhile(descriptor: int) -> None:
        """While the first model is being written, the second one is, as a whole."""
        if not writing:
            writing.append({p.name for p in tmp_path.iterdir()})
            second.save(path)
            assert fd.load(path).runner.step == second.runner.step
            assert {p.name for p in tmp_path.iterdir()} == writing[0] | {"net"}
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", meanwhile)
    first.save(path)
    assert len(writing[0]) == 1 and [p.name for p in tmp_path.iterdir()] == ["net"]
    assert fd.load(path).runner.step == first.runner.step == 0


@pytest.mark.parametrize("kind", ["pipe", "socket", "link to a pipe"])
def test_only_files_are_replaced_and_read(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made = tmp_path / "there"
    if kind == "socket":
        monkeypatch.chdir(tmp_path)  # the whole path may be too long for a socket
        with socket.socket(socket.AF_UNIX) as end:
            end.bind("there")
    else:
        os.mkfifo(path)
    if kind.startswith("link"):
        path = tmp_path / "link"
        path.symlink_to(made)
    before = made.stat()
    with pytest.raises(
        OSError, match="save: there is a device, a pipe or a socket, which is not replaced; give ano"
    ) as info:
        make("reference").save(path)
    assert info.value.filename == str(made)
    after = made.stat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    if kind != "socket":  # which cannot be opened at all
        with pytest.raises(ValueError, match="cannot be loaded: it is a device, a pipe or a socket; give a file that"):
            fd.load(path)
    assert set(tmp_path.iterdir()) == {path, made}


def test_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as info:
        fd.load(tmp_path)
    assert info.value.filename == str(tmp_path)
    with pytest.raises(IsADirectoryError, match="save: Is a directory") as info:
        make("reference").save(tmp_path)
    assert info.value.filename == str(tmp_path)


def test_a_copy_is_compiled_likewise() -> None:
    model = fd.Model([fd.Dense(1)], inputs=4)
    model.compile("sgd", "mse", metrics=["mae"], loss_weights=0.25)
    for made in (copy.copy(model), pickle.loads(pickle.dumps(model)), model.clone()):
        assert made.get_compile_config() == model.get_compile_config() and made.loss_weights == 0.25


def test_an_object_of_a_class_of_ones_own(tmp_path: Path) -> None:
    class Mine(fd.initializers.Initializer):
        def values(self, shape: tuple[int, ...], seed: int, index: int) -> NDArray[np.float64]:
            return np.full(shape, 0.5)

    model = fd.Model([fd.Dense(2, kernel_initializer=Mine())], inputs=4, device="reference")
    with pytest.raises(
        ValueError, match=r"save: Dense\(2.* a class of your own .* np.savez\(path, \*model.get_weights"
    ):
        model.save(tmp_path / "net")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["optimizer", "schedule", "loss", "metric"])
def test_a_training_with_an_object_of_a_class_of_ones_own(what: str, tmp_path: Path) -> None:
    class Optimizer(fd.Adam):
        pass

    class Schedule(fd.schedules.ExponentialDecay):
        pass

    class Loss(fd.losses.MeanSquaredError):
        pass

    class Metric(fd.metrics.MeanAbsoluteError):
        pass

    model = fd.Model([fd.Dense(2)], inputs=4, device="reference")
    optimizer = {"optimizer": Optimizer(), "schedule": fd.Adam(Schedule(0.1, 10, 0.5))}.get(what, "adam")
    model.compile(optimizer, Loss() if what == "loss" else "mse", metrics=[Metric()] if what == "metric" else None)
    with pytest.raises(ValueError, match=r"^save: .* holds an object of a class of your own"):
        model.save(tmp_path / "net")
    assert list(tmp_path.iterdir()) == []
