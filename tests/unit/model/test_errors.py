"""Every mistake gets one clear error before any work, and leaves the model as it was."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastdense as fd
from fastdense import arrays
from fastdense.engine import factory as engine

Array = NDArray[Any]
Make = Callable[..., fd.Model]

N = 12
X = np.random.RandomState(0).rand(N, 4).astype(np.float32)
IDS = np.arange(N) % 3
ONE_HOT = np.eye(3, dtype=np.float32)[IDS]
COLUMN = np.random.RandomState(1).rand(N, 1).astype(np.float32)


def spoilt(array: Array, place: tuple[int, ...], value: Any) -> Array:
    """A copy with one value replaced."""
    array = array.copy()
    array[place] = value
    return array


def state(model: fd.Model) -> tuple[Any, ...]:
    """Everything that a failed call must leave alone."""
    return (
        [w.tobytes() for w in model.get_weights()],
        [a.tobytes() for slot in model.runner.slots() for a in slot],
        model.runner.step,
        model.runner.epochs_trained,
        model.history,
        None if model.history is None else repr(model.history.history),
        [(one.origin, one.layer.statistics) for one in model.net.statistics],
        model.get_config(),
        repr(model.get_compile_config()),
        model.stop_training,
    )


@pytest.fixture
def make(device: str) -> Iterator[Make]:
    """Make small models that have already trained a little, and check at the end that nothing happened to them."""
    made: list[tuple[fd.Model, Any]] = []

    def build(loss: str = "mse", outputs: int = 1, normalize: bool = False, inputs: int = 4) -> fd.Model:
        layers: list[Any] = [fd.Normalization()] if normalize else []
        last = {"binary_crossentropy": "sigmoid", "mse": None, "hinge": None}.get(loss, "softmax")
        model = fd.Model([*layers, fd.Dense(5, "tanh"), fd.Dense(outputs, last)], inputs=inputs, device=device)
        model.compile("adam", loss)
        if not normalize and inputs == 4:
            y = {"mse": np.tile(COLUMN, outputs), "binary_crossentropy": np.tile(COLUMN, outputs)}.get(loss, ONE_HOT)
            y = IDS % outputs if loss.startswith("sparse") else np.sign(COLUMN - 0.5) if loss == "hinge" else y
            model.fit(X, y, batch_size=5, epochs=1, verbose=0)
        made.append((model, state(model)))
        return model

    yield build
    assert made
    for model, before in made:
        assert state(model) == before


# ---- x and y -------------------------------------------------------------------------------------------------------

HOT, CAT = "categorical_crossentropy", "sparse_categorical_crossentropy"

DATA: dict[str, tuple[str, int, Any, Any, str]] = {  # loss, outputs, x, y, message
    "images": ("mse", 1, X.reshape(N, 2, 2), COLUMN,
        "x has 3 dimensions, shape (12, 2, 2); a dense net needs (rows, 4): pass x.reshape(len(x), -1)"),
    "other images": ("mse", 1, np.zeros((N, 3, 3)), COLUMN,
        "x has 3 dimensions, shape (12, 3, 3); a dense net needs (rows, 4): x.reshape(len(x), -1) would have 9 col"),
    "too few columns": ("mse", 1, X[:, :3], COLUMN,
        "x has 3 columns, shape (12, 3); a dense net needs (rows, 4): give the model inputs=3, or pass 4 columns"),
    "transposed": ("mse", 1, X.T, COLUMN, "pass x.T if rows and columns are swapped"),
    "one dimension": ("mse", 1, X.ravel(), COLUMN,
        "x has 1 dimension, shape (48,); a dense net needs (rows, 4): for 4 columns pass x.reshape(-1, 4)"),
    "a number": ("mse", 1, 3.0, COLUMN, "x is a single number, 3.0; a dense net needs (rows, 4): pass [[3.0]]"),
    "no rows": ("mse", 1, X[:0], COLUMN[:0], "x is empty, shape (0, 4); at least one row is needed"),
    "no x": ("mse", 1, None, COLUMN, "x is None; x must be an array: pass a NumPy array"),
    "no y": ("mse", 1, X, None, "y is None; y must be an array"),
    "complex": ("mse", 1, X * 1j, COLUMN, "x has dtype complex64; real numbers are needed: pass np.abs(x)"),
    "text": ("mse", 1, X.astype(str), COLUMN, "x has dtype <U32 (text"),
    "objects": ("mse", 1, spoilt(X.astype(object), (2, 1), {}), COLUMN,
        "x has dtype object: x[2, 1] is {} (dict); numbers are needed"),
    "missing": ("mse", 1, spoilt(X.astype(object), (5, 0), None), COLUMN, "x[5, 0] is None (NoneType)"),
    "numbers as objects": ("mse", 1, X.astype(object), COLUMN,
        "x has dtype object; a numeric dtype is needed: pass np.asarray(x, dtype='float32')"),
    "dates": ("mse", 1, np.zeros((N, 4), "datetime64[s]"), COLUMN,
        "x has dtype datetime64[s]; numbers are needed: pass differences in a fixed unit"),
    "records": ("mse", 1, np.zeros((N, 4), [("a", "f4")]), COLUMN, "bool, integer or floating numbers are needed"),
    "ragged": ("mse", 1, [[1, 2, 3, 4], [1, 2]], COLUMN, "x (list) cannot be read as an array (setting an array"),
    "a dict": ("mse", 1, {"a": X}, COLUMN, "x is a dict; an array of numbers is needed"),
    "masked": ("mse", 1, np.ma.masked_greater(X, 0.9), COLUMN, "masked values; every value is needed: fill them"),
    "nan in x": ("mse", 1, spoilt(X, (3, 2), np.nan), COLUMN, "x[3, 2] is nan; finite numbers are needed"),
    "inf in x": ("mse", 1, spoilt(X, (11, 3), -np.inf), COLUMN, "x[11, 3] is -inf; finite numbers are needed"),
    "too large": ("mse", 1, spoilt(X.astype(float), (1, 0), 1e300), COLUMN, "x[1, 0] is 1e+300, too large for float32"),
    "nan in y": ("mse", 1, X, spoilt(COLUMN, (4, 0), np.nan), "y[4, 0] is nan; finite numbers are needed"),
    "y too short": ("mse", 1, X, COLUMN[:-1], "x has 12 rows and y has 11 rows; one target per row is needed"),
    "y a number": ("mse", 1, X, 1.0, "x has 12 rows and y is a single number; one target per row is needed"),
    "y 1-D for many": ("mse", 3, X, COLUMN[:, 0],
        "y has shape (12,); loss='mse' with 3 outputs needs (rows, 3): give the last layer 1 unit, or pass 3 columns"),
    "y column for many": ("mse", 3, X, COLUMN, "y has shape (12, 1); loss='mse' with 3 outputs needs (rows, 3)"),
    "y too wide": ("mse", 1, X, ONE_HOT,
        "y has shape (12, 3); loss='mse' with 1 outputs needs (rows, 1): give the last layer 3 units, or pass 1 col"),
    "y images": ("mse", 4, X, X.reshape(N, 2, 2), "with 4 outputs needs (rows, 4): pass y.reshape(len(y), -1)"),
    "ids to mse": ("mse", 3, X, IDS, "for class ids use loss='sparse_categorical_crossentropy'"),
    "complex y": ("mse", 1, X, COLUMN * 1j, "y has dtype complex64; real numbers are needed"),
    "text y": (CAT, 3, X, np.array(["a", "b", "c"] * 4),
        "y has dtype <U1 (text, e.g. 'a'); numbers are needed: turn labels into class ids with classes, y = np.unique"),
    "labels as objects": (CAT, 3, X, np.array(["a", "b", "c"] * 4, object),
        "y has dtype object: y[0] is 'a' (str); numbers are needed: turn labels into class ids with"),
    "ids to one-hot loss": (HOT, 3, X, IDS,
        "y has shape (12,), class ids; loss='categorical_crossentropy' with 3 outputs needs (rows, 3): "
        "use loss='sparse_categorical_crossentropy' for class ids"),
    "id column to one-hot loss": (HOT, 3, X, IDS[:, None] / 1.0, "use loss='sparse_categorical_crossentropy'"),
    "one-hot to sparse loss": (CAT, 3, X, ONE_HOT,
        "y has shape (12, 3), one-hot rows; loss='sparse_categorical_crossentropy' with 3 outputs needs class ids "
        "0..2, shape (rows,): use loss='categorical_crossentropy' for one-hot rows"),
    "wide one-hot to sparse loss": (CAT, 3, X, np.zeros((N, 5)), "for one-hot rows pass y.argmax(axis=1)"),
    "label too high": (CAT, 3, X, spoilt(IDS, (7,), 5),
        "y[7] is 5, labels run from 0 to 5; loss='sparse_categorical_crossentropy' with 3 outputs needs class ids "
        "0..2, shape (rows,): give the last layer 6 units"),
    "labels from one": (CAT, 3, X, IDS + 1, "or pass y - 1 if they count from 1"),
    "negative label": (CAT, 3, X, spoilt(IDS, (2,), -1), "y[2] is -1, labels run from -1 to 2"),
    "huge label": (CAT, 3, X, spoilt(IDS.astype(np.uint64), (0,), 2**64 - 1), "labels run from 0 to 1.84467e+19"),
    "fractional label": (CAT, 3, X, spoilt(IDS.astype(float), (4,), 0.5), "y[4] is 0.5, not a whole number"),
    "nan label": (CAT, 3, X, spoilt(IDS.astype(float), (4,), np.nan), "y[4] is nan; finite numbers are needed"),
    "probability above 1": ("binary_crossentropy", 1, X, spoilt(COLUMN, (3, 0), 1.5),
        "y[3, 0] is 1.5; loss='binary_crossentropy' needs targets in [0, 1]"),
    "signs to bce": ("binary_crossentropy", 1, X, np.sign(COLUMN - 0.5), "for labels -1 and 1 pass (y + 1) / 2"),
    "hinge of values": ("hinge", 1, X, COLUMN + 2, "loss='hinge' needs targets -1 and 1, or 0 and 1"),
    "hinge of both": ("hinge", 1, X, (IDS - 1)[:, None], "y holds -1, 0 and 1; loss='hinge' needs either"),
}  # fmt: skip


def test_labels_for_one_output() -> None:
    """Such a net cannot be trained, and does not get so far in `fit`."""
    model = fd.Model([fd.Dense(1)], inputs=X.shape[1])
    model.compile("adam", CAT)
    with pytest.raises(ValueError, match="for two classes and one output use loss='binary_crossentropy'"):
        model.evaluate(X, IDS % 2)
    with pytest.raises(ValueError, match=r"fit: the net ends with .* of one output, which is the same whatever"):
        model.fit(X, IDS % 2)


@pytest.mark.parametrize("case", DATA)
@pytest.mark.parametrize("method", ["fit", "evaluate", "loss_and_grad", "train_on_batch"])
def test_data(make: Make, case: str, method: str) -> None:
    loss, outputs, x, y, message = DATA[case]
    model = make(loss, outputs)
    with pytest.raises(ValueError, match="^" + method + ": .*" + re.escape(message)):
        getattr(model, method)(x, y)


@pytest.mark.parametrize("case", [name for name, (_, _, x, _, _) in DATA.items() if x is not X])
@pytest.mark.parametrize("method", ["predict", "activations"])
def test_x_alone(make: Make, case: str, method: str) -> None:
    model = make()
    with pytest.raises(ValueError, match="^" + method + ": .*" + re.escape(DATA[case][4])):
        getattr(model, method)(DATA[case][2])


@pytest.mark.parametrize("method", ["loss_and_grad", "train_on_batch", "activations"])
def test_generator_where_an_array_is_needed(make: Make, method: str) -> None:
    arguments = ((row for row in X), COLUMN)[: 1 if method == "activations" else 2]
    message = f"{method}: x is a generator; the whole array is needed: collect it first, e.g. np.stack(list(x))"
    with pytest.raises(ValueError, match=re.escape(message)):
        getattr(make(), method)(*arguments)


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        ((X[:, :3], COLUMN), "fit: validation x has 3 columns, shape (12, 3)"),
        ((X, COLUMN[:5]), "fit: validation x has 12 rows and validation y has 5 rows"),
        ((X, spoilt(COLUMN, (1, 0), np.inf)), "fit: validation y[1, 0] is inf"),
        ((X, COLUMN, -np.ones(N)), "fit: validation sample_weight[0] is -1; weights must be 0 or more"),
        ((X,), "fit: validation_data has 1 parts; a tuple is needed: pass (x_val, y_val)"),
        (X, "fit: validation_data is a ndarray; a tuple is needed"),
        ((X[:0], COLUMN[:0]), "fit: validation x is empty"),
    ],
)
def test_validation_data(make: Make, validation: Any, message: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        make().fit(X, COLUMN, validation_data=validation, verbose=0)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones(5), "sample_weight has shape (5,); one weight per row, shape (12,), is needed"),
        (np.ones((N, 2)), "weights per output are not supported"),
        (1.0, "sample_weight has shape (); one weight per row"),
        (spoilt(np.ones(N), (3,), np.nan), "sample_weight[3] is nan; finite numbers are needed"),
        (
            spoilt(np.ones(N), (9,), -0.5),
            "sample_weight[9] is -0.5; weights must be 0 or more: use 0 to leave a row out",
        ),
        (["a"] * N, "sample_weight has dtype <U1 (text"),
    ],
)
def test_sample_weight(make: Make, weight: Any, message: str) -> None:
    for method in ("fit", "evaluate", "loss_and_grad", "train_on_batch"):
        with pytest.raises(ValueError, match="^" + method + ": .*" + re.escape(message)):
            getattr(make(), method)(X, COLUMN, sample_weight=weight)


@pytest.mark.parametrize(
    ("loss", "outputs", "y", "weights", "message"),
    [
        (CAT, 3, IDS, {3: 1.0}, "class_weight names class 3; the classes are 0..2: leave it out"),
        (CAT, 3, IDS, {"1": 1.0}, "class_weight names class '1'"),
        (CAT, 3, IDS, {1.5: 1.0}, "class_weight names class 1.5"),
        (HOT, 3, ONE_HOT, {-1: 1.0}, "class_weight names class -1"),
        (CAT, 3, IDS, {1: -2.0}, "class_weight[1] is -2.0; weights must be finite and 0 or more"),
        (CAT, 3, IDS, {1: float("nan")}, "class_weight[1] is nan"),
        (CAT, 3, IDS, {1: "heavy"}, "class_weight[1] is 'heavy'"),
        (CAT, 3, IDS, "balance", "class_weight is 'balance'; a dict from class id to weight, or 'balanced', is needed"),
        (
            "hinge",
            1,
            np.sign(COLUMN - 0.5),
            {2: 1.0},
            "class_weight names class 2; the classes are -1 and 1, or 0 and 1",
        ),
        (
            "mse",
            1,
            COLUMN,
            {0: 1.0},
            "class_weight was given with loss='mse' and 1 outputs; class_weight needs one class",
        ),
        (
            "binary_crossentropy",
            1,
            COLUMN,
            {0: 1.0},
            "class_weight was given and y holds probabilities; class_weight needs labels 0 and 1",
        ),
    ],
)
def test_class_weight(make: Make, loss: str, outputs: int, y: Array, weights: Any, message: str) -> None:
    for method in ("fit", "train_on_batch"):
        with pytest.raises(ValueError, match="^" + method + ": " + re.escape(message)):
            getattr(make(loss, outputs), method)(X, y, class_weight=weights)


# ---- arguments -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "fit: batch_size=0 is out of range. Give a whole number, at least 1"),
        ({"batch_size": 2.0}, TypeError, "fit: batch_size=2.0 is of type float. Give a whole number, at least 1"),
        ({"batch_size": "32"}, TypeError, "fit: batch_size='32' is of type str"),
        ({"batch_size": True}, TypeError, "fit: batch_size=True is of type bool"),
        ({"epochs": -1}, ValueError, "fit: epochs=-1 is out of range. Give a whole number, at least 0"),
        ({"epochs": None}, TypeError, "fit: epochs=None"),
        ({"initial_epoch": -1}, ValueError, "fit: initial_epoch=-1"),
        ({"shuffle": "batch"}, TypeError, "fit: shuffle='batch' is of type str. Give True or False"),
        ({"n_threads": 0}, ValueError, "fit: n_threads=0 is out of range"),
        ({"verbose": 3}, ValueError, "fit: verbose is 3; needed: 'auto', 0 (silent), 1 (bar) or 2"),
        ({"verbose": "yes"}, ValueError, "fit: verbose is 'yes'"),
        ({"validation_split": 1.0}, ValueError, "fit: validation_split=1.0 is out of range"),
        ({"validation_split": -0.1}, ValueError, "fit: validation_split=-0.1 is out of range"),
        ({"validation_split": 0.99}, ValueError, "fit: validation_split=0.99 of 12 rows leaves none for training"),
        ({"callbacks": [fd.callbacks.EarlyStopping]}, TypeError, "callbacks[0] is the class EarlyStopping; an object"),
        ({"callbacks": [print]}, TypeError, "callbacks[0] is a builtin_function_or_method; a fastdense.callbacks"),
        (
            {"callbacks": "stop"},
            TypeError,
            "fit: callbacks='stop' is of type str. Give a list of callbacks, e.g. [EarlyStopping()].",
        ),
        ({"batchsize": 3}, TypeError, "batchsize"),
    ],
)
def test_fit_arguments(make: Make, kwargs: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        make().fit(X, COLUMN, **kwargs)


def test_a_split_that_leaves_nothing_to_validate(make: Make) -> None:
    with pytest.raises(ValueError, match="validation_split=1e-17 of 12 rows leaves none for validation"):
        make().fit(X, COLUMN, validation_split=1e-17)


def test_other_arguments(make: Make) -> None:
    model = make()
    with pytest.raises(ValueError, match="evaluate: batch_size=0"):
        model.evaluate(X, COLUMN, batch_size=0)
    with pytest.raises(ValueError, match="predict: batch_size=-1"):
        model.predict(X, batch_size=-1)
    with pytest.raises(TypeError, match="evaluate: return_dict='yes'"):
        model.evaluate(X, COLUMN, return_dict="yes")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="loss_and_grad: training=1 is of type int"):
        model.loss_and_grad(X, COLUMN, training=1)  # type: ignore[arg-type]


def test_keras_positional_arguments_are_refused(make: Make) -> None:
    with pytest.raises(TypeError):
        make().fit(X, COLUMN, 32)  # type: ignore[misc]


def test_not_compiled(device: str) -> None:
    model = fd.Model([fd.Dense(1)], inputs=4, device=device)
    before = [w.tobytes() for w in model.get_weights()]
    for method in ("fit", "evaluate", "loss_and_grad", "train_on_batch"):
        with pytest.raises(ValueError, match=f"^{method}: the model is not compiled; .*call model.compile"):
            getattr(model, method)(X, COLUMN)
    with pytest.raises(ValueError, match="^optimizer: the model is not compiled"):
        _ = model.optimizer
    assert model.predict(X).shape == (N, 1) and model.metrics == [] and not model.compiled
    assert [w.tobytes() for w in model.get_weights()] == before


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"loss": "msee"}, ValueError, "compile: loss='msee' is not a known loss. Did you mean 'mse'?"),
        (
            {"loss": "mse", "optimizer": "adamm"},
            ValueError,
            "compile: optimizer='adamm' is not a known optimizer. Did you mean 'adam'?",
        ),
        (
            {"loss": "mse", "metrics": ["accuracyy"]},
            ValueError,
            "metrics='accuracyy' is not a known metric. Did you mean 'accuracy'?",
        ),
        ({"loss": "mse", "metrics": ["mae", "mae"]}, ValueError, "two entries of the history would be 'mae'"),
        (
            {"loss": "mse", "metrics": ["top_k_accuracy"]},
            ValueError,
            "compile: metric 'top_k_accuracy' needs one output",
        ),
        ({"loss": 3}, TypeError, "compile: loss=3 is of type int"),
        ({}, ValueError, "compile: loss is missing; a loss is needed"),
    ],
)
def test_compile(make: Make, kwargs: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        make().compile(**kwargs)


@pytest.mark.parametrize(
    ("layers", "kwargs", "error", "message"),
    [
        ([], {}, ValueError, "Model: layers is empty"),
        (fd.Dense(1), {}, TypeError, "a list of layers is needed"),
        ([fd.Dense], {}, ValueError, "Model: layers[0]: Dense needs arguments (units). Write Dense(units=...)"),
        ([fd.Dense(1), 3], {}, TypeError, "Model: layers[1]=3 is of type int"),
        ([fd.Dense(1)], {"inputs": 0}, ValueError, "Model: inputs=0 is out of range"),
        ([fd.Dense(1)], {"inputs": (4,)}, TypeError, "Model: inputs=(4,) is of type tuple"),
        ([fd.Dense(1)], {"seed": -1}, ValueError, "Model: seed=-1 is out of range"),
        (
            [fd.Dense(1)],
            {"dtype": "float16"},
            ValueError,
            "Model: dtype='float16' is not known. Did you mean 'bfloat16'? Use 'float32', 'float64' or 'bfloat16'.",
        ),
        (
            [fd.Dense(1)],
            {"device": "cpuu"},
            ValueError,
            "device='cpuu' is not known. Did you mean 'cpu'? Use 'cpu', 'cuda' or 'reference'.",
        ),
        ([fd.Dense(1)], {"device": "gpu"}, ValueError, "Did you mean 'cuda'?"),
        ([fd.Dense(3, "softmax"), fd.Dense(1)], {}, ValueError, "softmax is used before the last layer"),
        ([fd.Dense(1, name="a"), fd.Dense(1, name="a")], {}, ValueError, "layers[0] and layers[1] are both named 'a'"),
        ([fd.Residual([fd.Dense(3)])], {}, ValueError, "turn 4 inputs into 3 outputs"),
        ([fd.Dense(10**9), fd.Dense(10**9)], {}, MemoryError, "a net of 1,000,000,006,000,000,000 parameters"),
        ([fd.Dense(1), fd.Normalization()], {}, ValueError, "layers[1] is a Normalization; it must be the first layer"),
        (
            [fd.Residual([fd.Normalization()])],
            {},
            ValueError,
            "Model: layers[0].layers[0] is a Normalization; it must be",
        ),
        ([fd.Normalization().adapt(np.eye(3))], {}, ValueError, "adapted to 3 columns, but its input has 4"),
        ([fd.Rescaling([1.0, 2.0])], {}, ValueError, "Rescaling: scale holds 2 numbers, but its input has 4 columns. "),
    ],
)
def test_model_arguments(
    device: str, layers: Any, kwargs: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        fd.Model(layers, **{"inputs": 4, "device": device, **kwargs})


def test_no_cuda_engine(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastdense._cuda", None)
    message = r"'cuda' was asked for, but this build of fastdense has no CUDA engine; use device='cpu' \(the default\)"
    with pytest.raises(RuntimeError, match=message):
        fd.Model([fd.Dense(1)], inputs=4, device="cuda")
    with pytest.raises(RuntimeError, match=message):
        make().to("cuda")
    with pytest.raises(ValueError, match="Did you mean 'reference'"):
        make().to("referense")


def test_no_compiled_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastdense._core", None)
    monkeypatch.delattr(fd, "_core", raising=False)
    with pytest.raises(RuntimeError, match=r"'cpu' needs the compiled part of fastdense, which cannot be loaded"):
        engine.make_engine("cpu", {})


# ---- memory --------------------------------------------------------------------------------------------------------


def test_what_cannot_fit(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(outputs=1)
    wide = make(outputs=3)
    monkeypatch.setattr(arrays, "memory_limit", lambda: 100)
    with pytest.raises(
        MemoryError, match=r"fit: a batch of 12 rows takes .* GiB; this machine has .*smaller batch_size"
    ):
        model.fit(X, COLUMN, batch_size=100)
    with pytest.raises(ValueError, match=r"predict: the result, 12 rows of 3 takes .*: predict fewer rows at a time"):
        wide.predict(X)
    with pytest.raises(MemoryError, match="x in float32 takes"):
        model.fit(X.astype(np.float16), COLUMN)
    with pytest.raises(MemoryError, match="a net of 5 parameters"):
        fd.Model([fd.Dense(1)], inputs=4, dtype="float64", device=model.device)


def test_the_memory_limit_is_plausible() -> None:
    assert 2**28 < arrays.memory_limit() < 2**50


# ---- weights -------------------------------------------------------------------------------------------------------


def test_set_weights(make: Make) -> None:
    model = make()
    weights = model.get_weights()
    with pytest.raises(
        ValueError, match=r"set_weights: weights holds 3 arrays; 4 are needed: dense/kernel \(4, 5\), dense/"
    ):
        model.set_weights(weights[:3])
    with pytest.raises(ValueError, match=r"weights\[3\] has shape \(2,\); dense_1/bias needs \(1,\)"):
        model.set_weights([*weights[:3], np.zeros(2)])
    with pytest.raises(ValueError, match=r"weights\[0\] has dtype complex"):
        model.set_weights([weights[0] * np.complex64(1j), *weights[1:]])


def test_set_weights_with_impossible_statistics(make: Make) -> None:
    model = make(normalize=True)
    weights = model.get_weights()
    for bad in (-1.0, np.nan):
        with pytest.raises(ValueError, match="Normalization: mean of shape"):
            model.set_weights([weights[0], np.full(4, bad), *[w + 1 for w in weights[2:]]])


def test_statistics_that_overflow(make: Make) -> None:
    model = make(normalize=True)
    x = np.zeros((N, 4), np.float32)
    x[0] = 3e38
    before = state(model)
    with pytest.raises(ValueError, match=r"fit: x\[0, 0\] is"):
        model.fit(spoilt(x, (0, 0), np.nan), COLUMN, verbose=0)
    assert state(model) == before


def test_a_schedule_that_fails_stops_before_the_step(make: Make) -> None:
    class Bad(fd.schedules.Schedule):
        def rates(self, steps: Array) -> Array:
            return np.full(len(steps), np.nan)

    model = make()
    kept = model.optimizer.learning_rate
    model.optimizer.learning_rate = Bad()
    with pytest.raises(ValueError, match="gives nan at step 3"):
        model.train_on_batch(X, COLUMN)
    model.optimizer.learning_rate = kept


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.fit(X, COLUMN, epoch=3), "fit: unknown argument 'epoch'. Did you mean 'epochs'? It takes x, y,"),
        (lambda m: m.compile(optimiser="adam"), "compile: unknown argument 'optimiser'. Did you mean 'optimizer'?"),
        (lambda m: m.predict(X, bach_size=3), "predict: unknown argument 'bach_size'. Did you mean 'batch_size'?"),
        (lambda m: fd.Model([fd.Dense(1)], input=4), "Model: unknown argument 'input'. Did you mean 'inputs'?"),
        (lambda m: fd.Model([fd.Dense(1)]), "Model: the argument 'inputs' is missing. Give inputs=...."),
        (lambda m: m.set_weights(5), "set_weights: weights=5 is of type int. Give a list of arrays, as get_weights"),
        (lambda m: m.set_weights({0: X}), "set_weights: weights={0: array([["),
        (
            lambda m: m.fit(X, COLUMN, sample_weight=np.full(N, 1e300)),
            "sample_weight[0] is 1e+300, too large",
        ),
        (lambda m: m.compile("adam", "mse", metrics=[fd.metrics.TopKAccuracy(10**30)]), "TopKAccuracy: k=10000"),
    ],
)
def test_wrong_calls(make: Make, call: Callable[[fd.Model], Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        call(make())


@pytest.mark.parametrize("key", [float("nan"), float("inf")])
def test_class_that_is_no_number(make: Make, key: float) -> None:
    with pytest.raises(ValueError, match=f"^fit: class_weight names class {key}; the classes are 0..2: leave it out"):
        make("sparse_categorical_crossentropy", 3).fit(X, IDS, class_weight={key: 1.0})


def test_more_threads_than_there_can_be() -> None:
    model = fd.Model([fd.Dense(1)], inputs=4)
    model.compile("sgd", "mse")
    assert len(model.fit(X, COLUMN, n_threads=2**40, verbose=0).epoch) == 1
