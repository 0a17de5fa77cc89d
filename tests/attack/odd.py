"""Odd values: numbers, shapes and objects of every kind at every public argument."""

from __future__ import annotations

import dis
import fractions
import functools
import inspect
import os
import re
import tempfile
import time
from collections.abc import Callable
from numbers import Integral, Real
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

import fastdense as fd
from fastdense.diagnose.report import Diagnosis

from .core import Tries, attack, in_child, limit_memory, shortened
from .subjects import IDS, INPUTS, OUTPUTS, ROWS, X, Y, make

NAN = float("nan")


class _Hostile:
    """An object whose every method raises."""

    def __repr__(self) -> str:
        return "a hostile object"

    def _raise(self, *_: Any, **__: Any) -> Any:
        raise KeyError("on purpose")

    __len__ = __iter__ = __float__ = __index__ = __bool__ = __array__ = __fspath__ = _raise


SCALARS: dict[str, Any] = {
    "10**400": 10**400, "-10**400": -(10**400), "10**5000": 10**5000, "a list of 10**5000": [10**5000],
    "2**31": 2**31, "2**62": 2**62, "2**63": 2**63, "2**64": 2**64, "-1": -1, "0": 0, "0.5": 0.5, "NaN": NAN,
    "inf": float("inf"), "-inf": float("-inf"), "1e308": 1e308, "5e-324": 5e-324, "1e39": 1e39, "True": True,
    "None": None, "1j": 1j, "a Fraction": fractions.Fraction(10**400, 3),
    "text": "abc", "empty text": "", "a surrogate": "\ud800", "bytes": b"abc", "a NUL": "a\0b",
    "np.float16": np.float16(0.1), "np.int8": np.int8(-3), "np.uint64": np.uint64(2**64 - 1), "np.bool_": np.bool_(1),
    "np.str_": np.str_("relu"), "NaT": np.datetime64("NaT"), "np.longdouble": np.longdouble(10) ** 400,
    "a dict": {"a": 1}, "an empty list": [], "a list": [1, 2], "nested lists": [[[[]]]], "a set": {1}, "a class": int,
    "a function": len, "a hostile object": _Hostile(), "an exception": ValueError("x"), "...": ...,
    "a 0-d array": np.array(3.0), "an array": np.arange(3), "an empty array": np.zeros((0, 0)),
}  # fmt: skip
ARRAYS: dict[str, Any] = {
    "0-d": np.array(1.0), "no rows": np.zeros((0, INPUTS)), "no columns": np.zeros((ROWS, 0)), "1-d": np.zeros(ROWS),
    "3-d": np.zeros((ROWS, 2, 2)), "33 axes": np.zeros((1,) * 33), "NaN": np.full((ROWS, INPUTS), NAN),
    "inf": np.full((ROWS, INPUTS), np.inf), "1e39": np.full((ROWS, INPUTS), 1e39), "-1": np.full((ROWS, INPUTS), -1),
    "int64": np.full((ROWS, INPUTS), 2**62), "uint64": np.full((ROWS, INPUTS), 2**64 - 1, np.uint64),
    "bool": np.ones((ROWS, INPUTS), bool), "float16": np.ones((ROWS, INPUTS), np.float16),
    "longdouble": np.ones((ROWS, INPUTS), np.longdouble), "complex": np.ones((ROWS, INPUTS), complex),
    "object": np.full((ROWS, INPUTS), None), "object of big": np.full((ROWS, INPUTS), 10**400, object),
    "text": np.full((ROWS, INPUTS), "a"), "bytes": np.full((ROWS, INPUTS), b"a"),
    "dates": np.zeros((ROWS, INPUTS), "M8[s]"), "records": np.zeros(ROWS, [("a", "f4")]),
    "big-endian": np.ones((ROWS, INPUTS), ">f4"), "Fortran": np.asfortranarray(X), "reversed": X[::-1, ::-1],
    "stride 0": np.broadcast_to(np.float32(1), (ROWS, INPUTS)),
    "2**60 rows": np.broadcast_to(np.float32(1), (2**60, 1)),
    "read-only": np.frombuffer(X.tobytes(), np.float32).reshape(X.shape),
    "misaligned": np.frombuffer(b"x" + X.tobytes(), np.uint8)[1:].view(np.float32).reshape(X.shape),
    "masked": np.ma.masked_invalid(np.full((ROWS, INPUTS), NAN)),
    "subnormal": np.full((ROWS, INPUTS), 1e-45, np.float32),
    "labels too large": np.full(ROWS, OUTPUTS), "labels below 0": np.full(ROWS, -1),
    "labels 2**62": np.full(ROWS, 2**62),
    "labels 0.5": np.full(ROWS, 0.5), "labels of bool": np.ones(ROWS, bool), "float rows": list(map(list, X.tolist())),
    "ragged lists": [[1.0], [1.0, 2.0]], "10**400 in lists": [[10**400] * INPUTS] * ROWS,
    "a generator": (i for i in range(3)),
}  # fmt: skip


def answer(call: Callable[[], object], names: list[str], fits: bool = True) -> str:
    """What is wrong with how a call answers: a result, or one of three errors whose message names an argument.

    `fits` is False if the value is none of the types that the signature names: then no result is right.
    """
    began = time.monotonic()
    try:
        call()
        if not fits:
            return "accepted"
    except MemoryError:
        pass
    except (ValueError, TypeError) as error:
        if not any(re.search(rf"\b{re.escape(name)}\b", str(error)) for name in names):
            return f"the message names no argument: {type(error).__name__}: {error}"
        if not raised_by_the_package(error.__traceback__):
            return f"raw {type(error).__name__}: {error}"
    except OSError as error:
        return "" if error.filename is not None else f"raw {type(error).__name__}: {error}"
    except Exception as error:
        if isinstance(error, KeyError) and "on purpose" in str(error):
            return ""
        return f"raw {type(error).__name__}: {error}"
    seconds = time.monotonic() - began
    return f"it took {seconds:.1f} s" if seconds > 5 else ""


TYPES = {
    "bool": (bool, np.bool_), "int": Integral, "float": Real, "str": str, "None": type(None),
    "str | os.PathLike[str]": (str, bytes, os.PathLike),
}  # fmt: skip


def fitting(of: Callable[..., object], argument: str) -> Callable[[object], bool]:
    """Whether a value is of a type that the signature names, where that is a plain one; a bool is no number."""
    parameters = inspect.signature(of).parameters
    annotation = parameters[argument].annotation if argument in parameters else Any
    if not isinstance(annotation, str) or not {*annotation.split(" | ")} <= {*TYPES, "os.PathLike[str]"}:
        return lambda value: True
    flags = "bool" in annotation or argument == "verbose"
    types = [TYPES[name] for name in TYPES if set(name.split(" | ")) <= set(annotation.split(" | "))]

    def fits(value: object) -> bool:
        if isinstance(value, (bool, np.bool_)):
            return flags
        return any(isinstance(value, one) for one in types)  # type: ignore[arg-type]

    return fits


def raised_by_the_package(where: TracebackType | None) -> bool:
    """Whether an error comes from a `raise` of the package: Python's and NumPy's own messages do not."""
    assert where is not None
    while where.tb_next is not None:
        where = where.tb_next
    code = where.tb_frame.f_code
    return code.co_code[where.tb_lasti] == dis.opmap["RAISE_VARARGS"] and Path(code.co_filename).is_relative_to(
        Path(fd.__file__).parent
    )


Target = tuple[Callable[..., object], dict[str, Any], dict[str, Any]]  # a callable, good arguments, the odd values


def constructors() -> dict[str, Target]:
    """Every public class with its required arguments."""
    good = {
        "units": 2, "activation": "relu", "rate": 0.5, "scale": 2.0, "layers": ["batch_norm"], "decay_rate": 0.5,
        "initial_learning_rate": 0.1, "decay_steps": 10, "first_decay_steps": 10,
        "boundaries": [1], "values": [0.1, 0.2], "frequencies": 2.0,
        "schedule": lambda epoch: 0.1, "filepath": "x.safetensors", "filename": "x.csv", "regularizers": ["l2"],
    }  # fmt: skip
    found: dict[str, Target] = {}
    places = (
        fd.layers,
        fd.optimizers,
        fd.losses,
        fd.metrics,
        fd.regularizers,
        fd.schedules,
        fd.callbacks,
        fd.initializers,
    )
    for place in places:
        for name in sorted(place.__all__):
            made = getattr(place, name)
            if inspect.isclass(made) and made.__module__.startswith("fastdense") and name != "Metric":
                signature = inspect.signature(made).parameters
                if all(p.default is not p.empty or n in good for n, p in signature.items()) and signature:
                    required = {n: good[n] for n, p in signature.items() if p.default is p.empty}
                    found[f"{place.__name__[10:]}.{name}"] = (made, required, SCALARS)
    return found


@functools.cache
def population() -> fd.Population[fd.Model]:
    """A small one, the same for all values."""
    return fd.fit_many(make(), X, Y, starts=3, verbose=0)


def elsewhere(call: Callable[..., object]) -> Callable[..., object]:
    """The same call in a folder of its own, so that no other call finds what it writes."""

    def inside(**options: Any) -> object:
        here = Path.cwd()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            try:
                return call(**options)
            finally:
                os.chdir(here)

    return inside


@functools.cache
def diagnosed() -> Any:
    """A report, the same for all values."""
    return make().diagnose(X, Y, verify=False, verbose=0)


def methods() -> dict[str, Target]:
    """Every public call with good arguments."""
    data: dict[str, Any] = {"x": X, "y": Y}
    both = {**SCALARS, **ARRAYS}

    def of(name: str, sparse: bool = False) -> Callable[..., object]:
        kind = "classes" if sparse else "plain"
        return lambda **options: getattr(make(kind), name)(**options)

    labels = {"x": X, "y": IDS}
    finite = {name: value for name, value in ARRAYS.items() if name != "2**60 rows"}  # right, and without end
    weights = [np.zeros((INPUTS, 6)), np.zeros(6), np.zeros((6, OUTPUTS)), np.zeros(OUTPUTS)]
    return {
        "Model": (lambda **options: fd.Model([fd.Dense(2)], **options), {"inputs": 2}, SCALARS),
        "Model(layers)": (lambda layers: fd.Model(layers, inputs=2), {"layers": [fd.Dense(2)]}, both),
        "compile": (of("compile"), {"optimizer": "adam", "loss": "mse"}, SCALARS),
        "fit": (of("fit"), {**data, "verbose": 0}, both),
        "fit, labels": (of("fit", True), {**labels, "verbose": 0}, ARRAYS),
        "train_on_batch": (of("train_on_batch"), data, both),
        "evaluate": (of("evaluate"), {**data, "verbose": 0}, both),
        "evaluate, labels": (of("evaluate", True), {**labels, "verbose": 0}, ARRAYS),
        "predict": (of("predict"), {"x": X}, both),
        "loss_and_grad": (of("loss_and_grad"), data, both),
        "activations": (of("activations"), {"x": X}, both),
        "place": (of("place"), data, both),
        "solve_output": (of("solve_output"), data, both),
        "set_weights": (of("set_weights"), {"weights": weights}, both),
        "to": (of("to"), {"device": "cpu"}, SCALARS),
        "clone": (of("clone"), {"seed": 1}, SCALARS),
        "diagnose": (of("diagnose"), {**data, "verify": False, "verbose": 0}, both),
        "fit_many": (lambda **o: fd.fit_many(make(), **o), {**data, "starts": 3, "verbose": 0}, both),
        "cross_validate": (lambda **o: fd.cross_validate(make(), **o), {**data, "folds": 2}, both),
        "learning_rate_test": (lambda **o: fd.learning_rate_test(make(), **o), {**data, "rates": 3, "starts": 1}, both),
        "start_on_data": (lambda **o: fd.start_on_data(make(), **o), data, both),
        "Population.predict": (lambda **o: population().predict(**o), {"x": X}, both),
        "Population.evaluate": (lambda **o: population().evaluate(**o), data, both),
        "Population.success_rate": (lambda **o: population().success_rate(**o), {}, SCALARS),
        "Population.outcomes": (lambda **o: population().outcomes(**o), {}, SCALARS),
        "load": (fd.load, {"path": "nothing.safetensors"}, SCALARS),
        "save": (of("save"), {"path": "odd.safetensors"}, SCALARS),
        "load_weights": (of("load_weights"), {"path": "nothing.safetensors"}, SCALARS),
        "Diagnosis.save": (elsewhere(lambda **o: diagnosed().save(**o)), {"path": "odd.html"}, SCALARS),
        "load_digits": (fd.datasets.load_digits, {}, SCALARS),
        "Normalization.adapt": (lambda **o: fd.Normalization().adapt(**o), {next(iter(
            inspect.signature(fd.Normalization.adapt).parameters.keys() - {"self"})): X}, finite),
        "OneHot.adapt": (lambda **o: fd.OneHot(columns=[0, 2]).adapt(**o), {"x": X}, finite),
    }  # fmt: skip


# Of which method a call above takes the arguments, where it is not the one of its name.
SIGNATURES: dict[str, Callable[..., object]] = {
    "Model": fd.Model.__init__, "fit": fd.Model.fit, "train_on_batch": fd.Model.train_on_batch,
    "evaluate": fd.Model.evaluate, "predict": fd.Model.predict, "loss_and_grad": fd.Model.loss_and_grad,
    "solve_output": fd.Model.solve_output, "compile": fd.Model.compile, "diagnose": fd.Model.diagnose,
    "Diagnosis.save": Diagnosis.save,
    "to": fd.Model.to, "clone": fd.Model.clone, "save": fd.Model.save, "load_weights": fd.Model.load_weights,
    "Population.predict": fd.Population.predict, "Population.evaluate": fd.Population.evaluate,
    "Population.success_rate": fd.Population.success_rate, "Population.outcomes": fd.Population.outcomes,
    "fit_many": fd.fit_many, "cross_validate": fd.cross_validate, "learning_rate_test": fd.learning_rate_test,
}  # fmt: skip
# Counts that are right however large: a run that lasts for ever, which an interrupt ends.
LONG = {("epochs", "2**31"), ("epochs", "2**62"), ("tries", "2**31"), ("tries", "2**62")}


def pairs(every: dict[str, Target]) -> list[tuple[str, str]]:
    """All callables with each of their arguments."""
    found = []
    for name, (call, good, _) in every.items():
        of = call if inspect.isclass(call) else SIGNATURES.get(name)
        names = inspect.signature(of).parameters.keys() if of else good.keys()
        found += [(name, argument) for argument in names if argument not in ("self", "model", "layers", "hooks")]
        found += [(name, "layers")] * ("layers" in good)
    return found


def all_names(name: str, every: dict[str, Target], argument: str) -> list[str]:
    """What a message about this argument may name: it, or one that must fit to it."""
    names = [other for one, other in pairs({name: every[name]}) if one == name]
    parts = ["validation"] * (argument == "validation_data")  # "validation x"
    return [
        argument,
        argument.replace("_", " "),
        *parts,
        *(other for other in names if len(other) > 3 or other == argument),
    ]


def try_all(name: str, target: Target, argument: str, names: list[str]) -> tuple[int, list[tuple[str, str]]]:
    """In a child: every odd value at one argument; how many, and what was given where something is wrong."""
    limit_memory()
    call, good, values = target
    wrong, tried = [], 0
    fits = fitting(SIGNATURES.get(name, call), argument)
    for label, value in values.items():
        if (argument, label) not in LONG:
            print(label, flush=True)
            tried += 1
            made = functools.partial(call, **{**good, argument: value})
            if problem := answer(made, names, fits(value)):
                wrong.append((label, problem))
    return tried, wrong


def try_arguments(tries: Tries, every: dict[str, Target]) -> None:
    """Each argument of each callable, in a process of its own; in another order with each seed, as time may end."""
    some = pairs(every)
    tries.rng(0).shuffle(some)
    tries.size = min(tries.size, len(some))
    total = 0
    for i in tries:
        name, argument = some[i]
        tries.given(f"{name}({argument}=...)")
        ended = in_child(try_all, name, every[name], argument, all_names(name, every, argument), seconds=10)
        if ended.how != "returned":
            last = ended.text.strip().splitlines()
            tries.fail(f"{shortened(' '.join(last[:3]))} ... {ended}")
            continue
        total += ended.value[0]
        kinds = {problem[:20]: (label, problem) for label, problem in reversed(ended.value[1])}
        for label, problem in kinds.values():  # one of each kind
            tries.given(f"{name}({argument}={label})")
            tries.fail(f"{problem} ({len(ended.value[1])} values)")
    tries.note(f"{total} values")


@attack("arguments", short=1000, long=1000, seconds=(20, 100))
def classes(tries: Tries) -> None:
    """Odd values at every argument of every public class: accepted, or an error that names the argument"""
    try_arguments(tries, constructors())


@attack("arguments", short=1000, long=1000, seconds=(35, 300))
def calls(tries: Tries) -> None:
    """Odd numbers, arrays and objects at every argument of every call: accepted, or an error that names the argument"""
    try_arguments(tries, methods())
