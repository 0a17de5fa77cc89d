"""Files: cut, flipped, with a hostile structure and right checksums, and things that are no model files at all."""

from __future__ import annotations

import copy
import json
import os
import pickle
import random
import resource
import socket
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import fastdense as fd
from fastdense.model import files

from .core import Tries, attack, in_child, limit_memory
from .subjects import INPUTS, OUTPUTS, ROWS, Array, X, goes_on, make, targets

MOST_SECONDS, MOST_BYTES = 5.0, 1 << 30  # of a call for a file of a few kilobytes
KINDS = [("plain", "sgd"), ("norm", "adam"), ("residual", "kfac"), ("penalty", "lbfgs"), ("classes", "muon"),
         ("ensemble", "adam")]  # fmt: skip
Config, Tensors = dict[str, Any], dict[str, Array]


def written(kind: str = "plain", optimizer: str = "adam") -> bytes:
    """A file of a model that was trained for an epoch, or of an ensemble."""
    path = Path("whole.safetensors")
    if kind == "ensemble":
        fd.Ensemble([make("norm", optimizer), make("plain", optimizer)], [1, 2]).save(path)
        return path.read_bytes()
    model = make(kind, optimizer)
    batch = {} if model.optimizer.full_batch else {"batch_size": 16}
    model.fit(X, targets(model), verbose=0, n_threads=1, **batch)
    model.save(path)
    return path.read_bytes()


def samples() -> list[bytes]:
    """Files of several kinds of nets, made in another process so that this one has computed nothing."""
    ended = in_child(lambda: [written(kind, optimizer) for kind, optimizer in KINDS])
    assert ended.how == "returned", str(ended)
    found: list[bytes] = ended.value
    return found


def parsed(data: bytes) -> tuple[Config, Tensors]:
    """Description and tensors of a file."""
    path = Path("parsed.safetensors")
    path.write_bytes(data)
    return files.read(path)


def encoded(config: Any, tensors: Tensors, header: Callable[[dict[str, Any]], None] = lambda _: None) -> bytes:
    """A file with right checksums, whatever it describes; `header` may change its header."""
    text = config if isinstance(config, str) else json.dumps(config)
    sums = {name: zlib.crc32(tensor.tobytes()) for name, tensor in tensors.items()}
    sums["config"] = zlib.crc32(text.encode(errors="surrogatepass"))
    head: dict[str, Any] = {"__metadata__": {"fastdense": text, "crc32": json.dumps(sums)}}
    end = 0
    for name, tensor in tensors.items():
        code = "F64" if tensor.dtype == np.float64 else "F32"
        head[name] = {"dtype": code, "shape": list(tensor.shape), "data_offsets": [end, end + tensor.nbytes]}
        end += tensor.nbytes
    header(head)
    raw = json.dumps(head).encode()
    return len(raw).to_bytes(8, "little") + raw + b"".join(tensor.tobytes() for tensor in tensors.values())


def problem_of(path: Any, use: bool = False) -> str:
    """What is wrong with how `load` answers; it must give a model or a ValueError that names the file."""
    began = time.process_time()  # of this process, whatever others do beside it
    try:
        model = fd.load(path)
    except ValueError as error:  # a MemoryError that says how much is one too
        if isinstance(error, UnicodeError) or not str(error).startswith("load: ") and "memory" not in str(error):
            return f"raw {type(error).__name__}: {error}"
        return slow(began)
    except MemoryError:
        return slow(began)
    except Exception as error:
        return f"raw {type(error).__name__}: {error}"
    return (used(model) if use else "") or slow(began)


def slow(began: float) -> str:
    """What is wrong if a call took too long."""
    seconds = time.process_time() - began
    return f"it took {seconds:.1f} s" if seconds > MOST_SECONDS else ""


def used(model: fd.Model | fd.Ensemble[fd.Model]) -> str:
    """What is wrong with what a hostile file described: it may refuse with words, and do nothing else."""
    x = np.zeros((8, model.inputs), np.float32)
    y = np.zeros((8, model.outputs), np.float32)

    def fit() -> None:
        assert isinstance(model, fd.Model)
        sparse = model.compiled and model.loss.sparse
        size = {} if model.compiled and model.optimizer.full_batch else {"batch_size": 4}
        model.fit(x, np.zeros(8, int) if sparse else y, epochs=1, verbose=0, n_threads=1, **size)

    uses: list[Callable[[], object]] = [
        lambda: model.predict(x), lambda: model.summary(print_fn=lambda text: text.encode()),
        lambda: model.save("again.safetensors"), lambda: repr(model),
    ]  # fmt: skip
    if isinstance(model, fd.Ensemble):
        uses += [lambda: model.quantiles(x, 0.5), lambda: model.predict(x, return_std=True)]
    else:
        uses += [fit, model.clone, lambda: model.activations(x)]
    for one in uses:
        try:
            one()
        except (ValueError, TypeError, MemoryError) as error:
            if isinstance(error, UnicodeError):
                return f"raw {type(error).__name__}: {error}"
        except Exception as error:
            return f"then {type(error).__name__}: {error}"
    return ""


@attack("lengths", short=10**6, long=10**6, seconds=(8, 60))
def truncations(tries: Tries) -> None:
    """Every truncation of a small file"""
    data = samples()[0]
    tries.size = min(tries.size, len(data))
    for length in tries:
        path = Path("cut.safetensors")
        path.write_bytes(data[:length])
        try:
            fd.load(path)
            problem = "a file that is cut short is loaded"
        except ValueError as error:
            problem = "" if str(path) in str(error) else f"the message does not name the file: {error}"
        except Exception as error:
            problem = f"raw {type(error).__name__}: {error}"
        if problem:
            tries.given(f"{length} of {len(data)} bytes")
            tries.fail(problem)


@attack("files", short=6000, long=10**6, seconds=(10, 300))
def flips(tries: Tries) -> None:
    """One to eight flipped bits"""
    whole = samples()
    for i in tries:
        rng = tries.rng()
        data = bytearray(whole[i % len(whole)])
        bits = rng.integers(0, 8 * len(data), 1 if i % 4 else rng.integers(2, 9)).tolist()
        for bit in bits:
            data[bit // 8] ^= 1 << bit % 8
        path = Path("flipped.safetensors")
        path.write_bytes(data)
        tries.given(f"{KINDS[i % len(whole)]}: bits {bits}")
        try:
            fd.load(path)
            if not same_content(files.read(path), parsed(whole[i % len(whole)])):
                tries.fail("a damaged file is loaded")
        except ValueError as error:
            if not str(error).startswith("load: "):
                tries.fail(f"raw {type(error).__name__}: {error}")
        except Exception as error:
            tries.fail(f"raw {type(error).__name__}: {error}")


def same_content(a: tuple[Config, Tensors], b: tuple[Config, Tensors]) -> bool:
    """Whether two files hold the same model; spaces in a header mean nothing."""
    return a[0] == b[0] and {k: v.tobytes() for k, v in a[1].items()} == {k: v.tobytes() for k, v in b[1].items()}


HOSTILE: list[Any] = [
    None, True, False, 0, 1, -1, 2, 0.5, -0.0, 1e-320, 1e308, -1e308, float("nan"), float("inf"), 2**31, 2**31 - 1,
    2**53, 2**62, 2**63, 2**64, -(2**63), 10**400, "", "a", "\0", "\ud800", "\x1b[31m", "x" * 5000, "relu", "softmax",
    "adam", [], {}, [[]], [0], [1, 2], {"class_name": "Dense"}, [None] * 50, {"": 0},
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside nested dicts and lists."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [one for key, part in inside for one in [(*path, key), *places(part, (*path, key))]]


def mutated(config: Config, chance: random.Random) -> str:
    """Change a description at one to three places; returns what was done."""
    done = []
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        where = chance.choice(places(config))
        holder: Any = config
        for key in where[:-1]:
            holder = holder[key]
        key, action = where[-1], chance.choice(("set", "set", "set", "del", "swap", "repeat", "wrap"))
        name = ".".join(map(str, where))
        if action == "set":
            holder[key] = copy.deepcopy(chance.choice(HOSTILE))  # a later change may be inside of it
            done.append(f"{name} = {str(holder[key])[:40]!a}")
            continue
        if action == "del":
            del holder[key]
        elif action == "swap":
            other = config
            for step in chance.choice(places(config)):
                other = other[step]
            holder[key] = json.loads(json.dumps(other))
        elif action == "repeat" and isinstance(holder, list):
            holder.insert(key, json.loads(json.dumps(holder[key])))
        else:
            holder[key] = {"class_name": "Residual", "config": {"layers": [holder[key]], "name": None}}
        done.append(f"{action} {name}")
    return "; ".join(done)


@attack("files", short=2000, long=100_000, seconds=(12, 400))
def structure(tries: Tries) -> None:
    """Changed descriptions with right checksums, and the models that such files give"""
    limit_memory()
    sources = [parsed(data) for data in samples()]
    for i in tries:
        chance = random.Random(int(tries.rng().integers(2**62)))
        config, tensors = json.loads(json.dumps(sources[i % len(sources)][0])), dict(sources[i % len(sources)][1])
        done = mutated(config, chance)
        if chance.random() < 0.15:
            name = chance.choice(list(tensors))
            odd = chance.choice((np.nan, np.inf, -1.0, 1e300, 0.0))
            tensors[name] = np.full(chance.choice(((), (0,), (1, 1), tensors[name].shape)), odd, tensors[name].dtype)
            done += f"; {name} filled with {odd}"
        tries.given(f"{KINDS[i % len(sources)]}: {done}")
        path = Path("changed.safetensors")
        path.write_bytes(encoded(config, tensors))
        if problem := problem_of(path, use=True):
            tries.fail(problem)


def shape(name: str, value: list[int], end: int = 0) -> Callable[[dict[str, Any]], None]:
    """Give a tensor of the header another shape and place."""
    return lambda head: head[name].update(shape=value, data_offsets=[0, end])


def nested(config: Config, depth: int) -> str:
    """A description with a residual layer inside others, as text: the writer of JSON knows no such depth."""
    config["model"]["layers"] = ["HERE"]
    inside = json.dumps({"class_name": "Dense", "config": {"units": INPUTS}})
    before, after = '{"class_name": "Residual", "config": {"layers": [', "]}}"
    return json.dumps(config).replace('"HERE"', before * depth + inside + after * depth)


def bombs() -> dict[str, Callable[[Config, Tensors], bytes]]:
    """Files of a few kilobytes that ask for much, or that no writer makes."""

    def layered(made: Callable[[Config], list[Any]]) -> Callable[[Config, Tensors], bytes]:
        def file(config: Config, tensors: Tensors) -> bytes:
            config["model"]["layers"] = made(config)
            return encoded(config, tensors)

        return file

    def dense(config: Config, **options: Any) -> Any:
        layer = json.loads(json.dumps(config["model"]["layers"][0]))
        layer["config"].update(options)
        return layer

    def with_config(**options: Any) -> Callable[[Config, Tensors], bytes]:
        return lambda config, tensors: encoded({**config, **options}, tensors)

    def with_header(change: Callable[[dict[str, Any]], None]) -> Callable[[Config, Tensors], bytes]:
        return lambda config, tensors: encoded(config, tensors, change)

    first = "weights.0.dense.kernel"
    found: dict[str, Callable[[Config, Tensors], bytes]] = {}
    for n in (10, 18, 24, 30, 100, 400, 2000):
        found[f"Residual nested {n} deep"] = lambda config, tensors, n=n: encoded(nested(config, n), tensors)
    for n in (1000, 3000):
        found[f"{n} unnamed layers"] = layered(lambda config, n=n: [dense(config, name=None) for _ in range(n)])
        found[f"{n} layers of one name"] = layered(lambda config, n=n: [dense(config, name="a") for _ in range(n)])
    for n in (-1, 0, 0.5, 2, 1e308, True, "1", None, [], 2**70):
        found[f"format {n!r}"] = with_config(format=n)
    for key in ("step", "slots", "epochs_trained"):
        for n in (-1, 0.5, 2**62, 2**63, 10**400, "1", [], 10**6):
            found[f"{key} {str(n)[:20]!r}"] = with_config(**{key: n})
    for dims in ([2**61] * 3, [0, 2**61, 2**61], [1] * 65, [1] * 10_000, [-1], [2**62], [2**63], [0.5], "12", None):
        found[f"shape {str(dims)[:40]}"] = with_header(
            lambda head, dims=dims: head[next(k for k in head if k != "__metadata__")].update(shape=dims)
        )
    for n in (12_000, 100_000, 2**31, 2**40, 2**62, 2**63, 10**400):
        found[f"a layer of {float(min(n, 10**300)):.1e} units"] = layered(
            lambda config, n=n: [dense(config, units=n)] * 2
        )
        found[f"{float(min(n, 10**300)):.1e} inputs"] = lambda config, tensors, n=n: encoded(
            {**config, "model": {**config["model"], "inputs": n}}, tensors
        )
    found["no tensors"] = lambda config, tensors: encoded(config, {})
    found["one tensor more"] = lambda config, tensors: encoded(config, {**tensors, "x": np.zeros(1, np.float32)})
    found["a surrogate as description"] = lambda config, tensors: encoded('{"a": "\ud800"}', tensors)
    found["a description nested 100 000 deep"] = lambda config, tensors: encoded("[" * 100_000, tensors)
    found["a description that is a number"] = lambda config, tensors: encoded("1", tensors)
    found["a number of 10 000 digits"] = lambda config, tensors: encoded("1" * 10_000, tensors)
    found["a header nested 100 000 deep"] = lambda config, tensors: struct.pack("<Q", 100_000) + b"[" * 100_000
    found["a header of 2**63 bytes"] = lambda config, tensors: struct.pack("<Q", 2**63) + b"{}" * 50
    found[f"{first} alone"] = lambda config, tensors: encoded(config, {first: np.zeros((1, 1), np.float32)})
    return found


def load_within_limits(path: str) -> str:
    """In a child: what is wrong with how `load` answers, its memory included."""
    limit_memory()
    fd.load("parsed.safetensors")  # what every file needs
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    problem = problem_of(path, use=True)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return problem or (f"it took {grown / 1e9:.1f} GB" if grown > MOST_BYTES else "")


@attack("files", short=1000, long=1000, seconds=(20, 300))
def hostile(tries: Tries) -> None:
    """Files of a few kilobytes that ask for much time or memory, or that no writer makes"""
    whole = samples()[0]
    every = list(bombs().items())
    tries.size = min(tries.size, len(every))
    for i in tries:
        name, make_file = every[i]
        tries.given(name)
        path = Path("hostile.safetensors")
        path.write_bytes(make_file(*parsed(whole)))
        ended = in_child(load_within_limits, str(path), seconds=MOST_SECONDS + 2)
        if ended.how != "returned" or ended.value:
            tries.fail(str(ended.value if ended.how == "returned" else ended))


def strangers() -> dict[str, Callable[[Path], object]]:
    """Things that are no model files, by what makes one at a path."""

    def zipped(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a", "b")

    return {
        "nothing": lambda path: None,
        "an empty file": lambda path: path.touch(),
        "text": lambda path: path.write_text("hello " * 100),
        "JSON": lambda path: path.write_text('{"a": 1}'),
        "a pickle that runs code": lambda path: path.write_bytes(pickle.dumps(_Bomb())),
        "a zip": zipped,
        "an npz": lambda path: np.savez(open(path, "wb"), a=np.zeros(3)),
        "an npy": lambda path: np.save(open(path, "wb"), np.zeros(3)),
        "a program": lambda path: path.write_bytes(Path(sys.executable).read_bytes()[:100_000]),
        "a folder": lambda path: path.mkdir(),
        "a link to itself": lambda path: os.symlink(path.name, path),
        "a link to nothing": lambda path: os.symlink("nothing", path),
        "a pipe": os.mkfifo,
        "a socket": lambda path: socket.socket(socket.AF_UNIX).bind(str(path)),
        "1 GB of holes": lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_RDWR), 1 << 30),
        "/dev/null": lambda path: os.symlink("/dev/null", path),
        "/dev/zero": lambda path: os.symlink("/dev/zero", path),
        "/dev/full": lambda path: os.symlink("/dev/full", path),
        "/dev/urandom": lambda path: os.symlink("/dev/urandom", path),
        "/proc/self/mem": lambda path: os.symlink("/proc/self/mem", path),
    }


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("pickle-was-run"),)


def load_and_save(path: Path) -> str:
    """In a child: what is wrong with how `load` and `save` answer to something that is no model file."""
    limit_memory()
    before = os.stat(path) if os.path.exists(path) else None
    try:
        fd.load(path)
        return "it is loaded"
    except (ValueError, OSError) as error:
        if str(path) not in str(error):
            return f"load: the message does not name the file: {error}"
    if Path("pickle-was-run").exists():
        return "load ran code of the file"
    special = before is not None and not os.path.isfile(path)
    try:
        make().save(path)
        saved = True
    except OSError as error:
        saved = False
        if path.name not in str(error) and os.path.realpath(path) not in str(error):
            return f"save: the message does not name the file: {error}"
    if special and (saved or os.stat(path).st_ino != before.st_ino):
        return "save replaced what is no regular file"
    if saved and fd.load(path).inputs != INPUTS:
        return "what was saved is not what is loaded"
    return ", ".join(name for name in os.listdir(path.parent) if name.endswith(".tmp")) and "temporary files are left"


@attack("things", short=100, long=100, seconds=(8, 60))
def other_things(tries: Tries) -> None:
    """Pickles, archives, folders, pipes, devices: `load` refuses each, `save` replaces only regular files"""
    every = list(strangers().items())
    tries.size = min(tries.size, len(every))
    for i in tries:
        name, make_one = every[i]
        tries.given(name)
        folder = Path(f"thing{i}").absolute()
        folder.mkdir()
        make_one(folder / "net.safetensors")
        ended = in_child(load_and_save, folder / "net.safetensors", seconds=MOST_SECONDS)
        if ended.how != "returned" or ended.value:
            tries.fail(str(ended.value if ended.how == "returned" else ended))


@attack("names", short=300, long=300, seconds=(5, 30))
def names(tries: Tries) -> None:
    """File names of every length that a file system allows, and odd ones"""
    odd = ["a\nb", " ", ".x", "-", "ü" * 127, "\udcff", "a.safetensors.tmp", "%s{0}", "*"]
    tries.size = min(tries.size, 255 + len(odd))
    model = make()
    for i in tries:
        name = odd[i] if i < len(odd) else "n" * (i - len(odd) + 1)
        tries.given(f"a name of {len(os.fsencode(name))} bytes: {ascii(name[:20])}")
        try:
            model.save(name)
            if fd.load(name).predict(X).shape != (ROWS, OUTPUTS):
                tries.fail("what was saved is not what is loaded")
            os.unlink(name)
        except Exception as error:
            tries.fail(f"{type(error).__name__}: {error}")
        if left := [one for one in os.listdir(".") if one.endswith(".tmp") and one not in odd]:
            tries.fail(f"temporary files are left: {left}")


@attack("models", short=60, long=2000, seconds=(8, 60))
def round_trips(tries: Tries) -> None:
    """Saved, loaded and trained on: the same bits as without"""
    optimizers = ["sgd", "adam", "kfac", "muon", "lion", "nadam", "lbfgs", "newton_cg"]
    for i in tries:
        kind = ["plain", "relu", "norm", "residual", "penalty", "classes"][i % 6]
        optimizer = optimizers[i // 6 % len(optimizers)]
        tries.given(f"{kind}, {optimizer}")
        try:
            model = make(kind, optimizer, seed=int(tries.rng().integers(2**32)))
            goes_on(model)
            model.save("net.safetensors")
            again = fd.load("net.safetensors")
            goes_on(model), goes_on(again)
        except ValueError as error:  # an optimizer that does not know a layer
            if optimizer.replace("_", "") not in str(error).lower():
                tries.fail(f"{type(error).__name__}: {error}")
            continue
        if any(a.tobytes() != b.tobytes() for a, b in zip(model.get_weights(), again.get_weights(), strict=True)):
            tries.fail("the continuation has other bits")
