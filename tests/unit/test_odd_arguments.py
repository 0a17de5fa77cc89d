"""Values that no argument takes get one error of the package, never Python's or NumPy's own."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense import callbacks, regularizers, schedules

ARRAY, SCALAR, LONG = np.arange(3), np.array(3.0), 10**5000  # Python writes at most 4300 digits of an integer
X = np.random.RandomState(0).uniform(-1, 1, (12, 2)).astype(np.float32)
Y = X[:, :1]
RAGGED, ENDLESS = [[1.0], [1.0, 2.0]], np.broadcast_to(np.float32(0.1), 2**60)


def model() -> fd.Model:
    """A compiled small net."""
    made = fd.Model([fd.Dense(3, "tanh"), fd.Dense(1)], inputs=2)
    made.compile("adam", "mse")
    return made


def many(**options: Any) -> object:
    return fd.fit_many(model(), **{"x": X, "y": Y, "starts": None, "verbose": 0, **options})


def folds(**options: Any) -> object:
    return fd.cross_validate(model(), X, Y, folds=2, **options)


def rates(**options: Any) -> object:
    return fd.learning_rate_test(model(), X, Y, **options)


CASES: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "a name as an array": (
        lambda: callbacks.EarlyStopping(mode=ARRAY),  # type: ignore[arg-type]
        TypeError,
        "EarlyStopping: mode=array([0, 1, 2]) is of type ndarray. Give 'auto', 'min' or 'max'.",
    ),
    "a name as a long integer": (
        lambda: regularizers.OrthogonalRegularizer(mode=LONG),  # type: ignore[arg-type]
        TypeError,
        "OrthogonalRegularizer: mode=<int of more digits than Python writes> is of type int. Give 'rows' or 'columns'.",
    ),
    "a device as an array": (
        lambda: model().to(ARRAY),  # type: ignore[arg-type]
        TypeError,
        "device=array([0, 1, 2]) is of type ndarray. Give 'cpu', 'cuda' or 'reference'.",
    ),
    "another word for a device": (
        lambda: model().to("gpu"),
        ValueError,
        "device='gpu' is not known. Did you mean 'cuda'? Use 'cpu', 'cuda' or 'reference'.",
    ),
    "a dtype as an array": (
        lambda: fd.Model([fd.Dense(1)], inputs=2, dtype=ARRAY),  # type: ignore[arg-type]
        TypeError,
        "Model: dtype=array([0, 1, 2]) is of type ndarray. Give 'float32', 'float64' or 'bfloat16'.",
    ),
    "a precision as a list of long integers": (
        lambda: fd.Model([fd.Dense(1)], inputs=2, precision=[LONG]),  # type: ignore[arg-type]
        TypeError,
        "Model: precision=<list of more digits than Python writes> is of type list. "
        "Give 'tf32', '3xtf32' or 'bfloat16', or None.",
    ),
    "start": (
        lambda: many(start=ARRAY),
        TypeError,
        "fit_many: start=array([0, 1, 2]) is of type ndarray. Give 'random' or 'data'.",
    ),
    "how often to save": (
        lambda: callbacks.ModelCheckpoint("a", save_freq=ARRAY),  # type: ignore[arg-type]
        TypeError,
        "ModelCheckpoint: save_freq=array([0, 1, 2]) is of type ndarray. Give a whole number, at least 1.",
    ),
    "a flag of a callback": (
        lambda: callbacks.ModelCheckpoint("a", save_best_only="no"),  # type: ignore[arg-type]
        TypeError,
        "ModelCheckpoint: save_best_only='no' is of type str. Give True or False.",
    ),
    "verbose of a callback": (
        lambda: callbacks.ReduceLROnPlateau(verbose=ARRAY),  # type: ignore[arg-type]
        TypeError,
        "ReduceLROnPlateau: verbose=array([0, 1, 2]) is of type ndarray. "
        "Give a whole number, at least 0 and at most 2.",
    ),
    "a threshold": (
        lambda: callbacks.ModelCheckpoint("a", initial_value_threshold=ARRAY),  # type: ignore[arg-type]
        TypeError,
        "ModelCheckpoint: initial_value_threshold=array([0, 1, 2]) is of type ndarray. Give a finite number.",
    ),
    "a separator": (
        lambda: callbacks.CSVLogger("a", separator="ab"),
        ValueError,
        "CSVLogger: separator='ab' separates no columns. Give one character.",
    ),
    "verbose": (
        lambda: model().fit(X, Y, verbose=LONG),
        ValueError,
        "fit: verbose is <int of more digits than Python writes>; "
        "needed: 'auto', 0 (silent), 1 (bar) or 2 (one line per epoch)",
    ),
    "class weights": (
        lambda: model().fit(X, Y, class_weight=LONG, verbose=0),
        ValueError,
        "fit: class_weight is <int of more digits than Python writes>; a dict from class id to weight, or 'balanced', "
        "is needed: e.g. class_weight={0: 1.0, 1: 5.0}",
    ),
    "a slope": (
        lambda: fd.Activation("relu", alpha=LONG),
        ValueError,
        "Activation: relu takes no alpha, got <int of more digits than Python writes>. "
        "Leave it out; leaky_relu, elu, celu, soft_shrink, hard_shrink, squareplus have one.",
    ),
    "regularizers that are none": (
        lambda: regularizers.Sum(5),  # type: ignore[arg-type]
        TypeError,
        "Sum: regularizers=5 is of type int. Give a list of regularizers, such as ['l1', 'l2'].",
    ),
    "a regularizer of several": (
        lambda: regularizers.Sum(["l1", 5]),
        TypeError,
        "Sum: regularizers[1]=5 is of type int. Give the regularizer as a name such as 'l1', 'l2', 'l1_l2', "
        "as an object, or as the dict of its to_dict().",
    ),
    "steps that are none": (
        lambda: schedules.PiecewiseConstantDecay(5, [0.1, 0.2]),  # type: ignore[arg-type]
        TypeError,
        "PiecewiseConstantDecay: boundaries=5 is of type int. Give a list of steps.",
    ),
    "rates that are none": (
        lambda: schedules.PiecewiseConstantDecay([1], SCALAR),  # type: ignore[arg-type]
        TypeError,
        "PiecewiseConstantDecay: values=array(3.) is of type ndarray. Give a list of learning rates.",
    ),
    "callbacks without an axis": (
        lambda: model().fit(X, Y, callbacks=SCALAR),
        TypeError,
        "fit: callbacks=array(3.) is of type ndarray. Give a list of callbacks, e.g. [EarlyStopping()].",
    ),
    "layers": (
        lambda: fd.Model(LONG, inputs=2),  # type: ignore[arg-type]
        TypeError,
        "Model: layers is <int of more digits than Python writes>; a list of layers is needed: e.g. [fd.Dense(10)]",
    ),
    "weights without an axis": (
        lambda: model().set_weights(SCALAR),  # type: ignore[arg-type]
        TypeError,
        "set_weights: weights=array(3.) is of type ndarray. Give a list of arrays, as get_weights() gives them.",
    ),
    "the number of an open file": (
        lambda: fd.load(0),  # type: ignore[arg-type]
        TypeError,
        "load: path=0 is of type int. Give a path, as a string or a pathlib.Path.",
    ),
    "the number of an open file, to be written": (
        lambda: model().save(1),  # type: ignore[arg-type]
        TypeError,
        "save: path=1 is of type int. Give a path, as a string or a pathlib.Path.",
    ),
    "a path with a NUL": (
        lambda: fd.load("a\0b"),
        ValueError,
        "load: path='a\\x00b' cannot be the name of a file. Give a path without the NUL character.",
    ),
    "half a surrogate pair in a path": (
        lambda: model().save("\ud800"),
        ValueError,
        "save: path='\\ud800' cannot be the name of a file. Give a path without it.",
    ),
    "what to save": (
        lambda: model().save("a", include_optimizer=1),  # type: ignore[arg-type]
        TypeError,
        "save: include_optimizer=1 is of type int. Give True or False.",
    ),
    "one number as the data of many": (
        lambda: many(x=SCALAR),
        ValueError,
        "fit_many: x is a single number, 3.0; a dense net needs (rows, 2): pass [[3.0]]",
    ),
    "one number as the data of a range test": (
        lambda: fd.learning_rate_test(model(), SCALAR, Y),
        ValueError,
        "fit_many: x is a single number, 3.0; a dense net needs (rows, 2): pass [[3.0]]",
    ),
    "ragged seeds": (
        lambda: many(seed=RAGGED),
        TypeError,
        "fit_many: seed[0]=[1.0] is of type list. Give a whole number, at least 0 and at most 18446744073709551615.",
    ),
    "no seeds": (lambda: many(seed=[]), ValueError, "fit_many: seed is empty; one entry per start is needed"),
    "epochs of many": (
        lambda: many(epochs=-1),
        ValueError,
        "fit_many: epochs=-1 is out of range. Give a whole number, at least 0.",
    ),
    "rates in a table": (
        lambda: many(learning_rate=np.broadcast_to(np.float32(0.1), (2**60, 1))),
        ValueError,
        f"fit_many: learning_rate has shape ({2**60}, 1); one number, or one per start, is needed",
    ),
    "no settings": (
        lambda: folds(penalty=[]),
        ValueError,
        "cross_validate: penalty has shape (0,); one number, or one per setting, is needed",
    ),
    "threads of a cross-validation": (
        lambda: folds(n_threads=0),
        ValueError,
        "cross_validate: n_threads=0 is out of range. Give a whole number, at least 1.",
    ),
    "weights that are numbers": (
        lambda: many(initial_weights=[1, 2]),
        ValueError,
        "fit_many: initial_weights holds 2 arrays; 4 are needed: dense/kernel (100, 2, 3), dense/bias (100, 3), "
        "dense_1/kernel (100, 3, 1), dense_1/bias (100, 1)",
    ),
    "statistics of one number": (
        lambda: fd.Normalization().adapt(SCALAR),
        ValueError,
        "Normalization.adapt: x has shape (). Give an array of shape (rows, columns), not empty.",
    ),
    "a loss to compare with": (
        lambda: many(starts=2).success_rate(reference="low"),  # type: ignore[attr-defined]
        TypeError,
        "success_rate: reference='low' is of type str. Give a finite number.",
    ),
    "threads of a population": (
        lambda: many(starts=2).predict(X, n_threads=True),  # type: ignore[attr-defined]
        TypeError,
        "predict: n_threads=True is of type bool. Give a whole number, at least 1.",
    ),
    "targets without columns": (
        lambda: model().diagnose(X, np.zeros((12, 0)), verify=False, verbose=0),
        ValueError,
        "diagnose: x has 12 rows and y has shape (12, 0); one target per row is needed: cut both from one table",
    ),
    "a source of digits": (
        lambda: fd.datasets.load_digits(ARRAY),  # type: ignore[arg-type]
        TypeError,
        "load_digits: source=array([0, 1, 2]) is of type ndarray. Give 'auto', 'sklearn' or 'synthetic'.",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_messages(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    call, kind, message = CASES[case]
    with pytest.raises(kind, match=f"^{re.escape(message)}$"):
        call()
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    "call",
    [
        lambda: many(learning_rate=ENDLESS),
        lambda: folds(penalty=ENDLESS),
        lambda: rates(rates=2**62),
        lambda: rates(starts=2**62),
    ],
)
def test_counts_that_cannot_fit_name_what_to_reduce(call: Callable[[], object]) -> None:
    with pytest.raises(MemoryError, match=r"GiB; this machine has .*: (give|use) fewer"):
        call()


def test_large_numbers_of_threads_are_few() -> None:
    """As in fit: an engine uses no more than there are."""
    trained = fd.fit_many(model(), X, Y, starts=2, verbose=0)
    np.testing.assert_array_equal(trained.predict(X, n_threads=2**40), trained.predict(X))
    assert fd.cross_validate(model(), X, Y, folds=2, n_threads=2**40).scores["loss"].shape == (1, 2)


def test_generators_and_paths_of_every_kind_are_accepted(tmp_path: Path) -> None:
    made = model()
    made.set_weights(array for array in made.get_weights())  # type: ignore[arg-type]
    made.save(os.fsencode(tmp_path / "a"))  # type: ignore[arg-type]
    assert (fd.load(tmp_path / "a").predict(X) == made.predict(X)).all()
    assert regularizers.Sum(name for name in ("l1", "l2")) == regularizers.Sum(["l1", "l2"])  # type: ignore[arg-type]
