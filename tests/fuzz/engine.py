"""What the compiled core is given: programs, training specs, arrays and numbers, below the checks of Python.

The core answers, or raises ValueError, TypeError or MemoryError, or RuntimeError where pybind11 cannot convert an
argument. Sizes that would only cost memory are left out: Python compares them with what there is.
"""

from __future__ import annotations

from typing import Any

import atheris
import numpy as np
from numpy.typing import NDArray

from fastdense import _core
from fastdense.calls import PopulationCall, TrainCall
from tests.helpers.programs import OFF, OPTIMIZERS, Spec

Array = NDArray[Any]

INTEGERS = [0, 1, -1, 2, 31, 2**31 - 1, 2**31, 2**32, 2**52, 2**61, 2**62, 2**63 - 1, 2**63, -(2**31), -(2**63), 2**70]
NUMBERS = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 1e-320, 1e308, -1e308, float("nan"), float("inf"), -float("inf")]
MOST_ELEMENTS = 600  # of a layer, unless so many that no machine could hold them: solvers square them
LEAST_HOSTILE = 2**50
ENCODES = {"piecewise_linear": "bins", "periodic": "frequencies", "embedding": "units"}  # outputs of a column
OWN_NUMBERS = ("penalty", "dropout", "weight_decay", "label_smoothing")

DTYPES = ["float32", "float64", "bfloat16", "tf32", "3xtf32", "float16"]
DATA_TYPES = ["f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?", "f2", ">f4", "c8"]
SOLVER = {"gtol": 1e-9, "ftol": 0.0, "damping": 1e-3, "radius": 1.0, "history_size": 4, "line_search_steps": 9,
          "cg_steps": 5}  # fmt: skip


class Input:
    """Choices that bytes make; a choice is mostly a usual one."""

    def __init__(self, data: bytes) -> None:
        self._bytes = atheris.FuzzedDataProvider(data)

    def below(self, n: int) -> int:
        """From 0 to n - 1."""
        return int(self._bytes.ConsumeIntInRange(0, n - 1))

    def of(self, values: Any) -> Any:
        """One of these."""
        return values[self.below(len(values))]

    def rarely(self) -> bool:
        """Once in 16, and never when the bytes are used up."""
        return self.below(16) == 15

    def integer(self, usual: int, least: int = 1) -> int:
        """At most `usual`, or an odd one."""
        return int(self.of(INTEGERS)) if self.rarely() else least + self.below(usual - least + 1)

    def number(self, usual: float = 0.3) -> float:
        """The usual one, or an odd one."""
        return float(self.of(NUMBERS)) if self.rarely() else usual

    def spec(self, spec: Spec) -> Spec:
        """A spec of which a value is odd, or a key is missing, once in a while."""
        if not self.rarely():
            return spec
        spec, key = dict(spec), self.of(sorted(spec))
        if self.rarely():
            del spec[key]
        else:
            spec[key] = self.of([*NUMBERS, *INTEGERS, "", None, [], True])
        return spec


def an_op(data: Input, widths: list[int]) -> Spec:
    """An op, which may change the width of what comes after it."""
    kind = data.of(["dense", "dense", *_core.OPS])
    op: Spec = {"kind": kind, "activation": data.of(_core.ACTIVATIONS), "alpha": data.number()}
    op |= {"rate": data.number(), "momentum": data.number(), "epsilon": data.number(1e-3)}
    if kind == "dense":
        units = data.integer(24)
        if MOST_ELEMENTS < abs(units * widths[-1]) < LEAST_HOSTILE:
            units = 3
        widths.append(units)
        op |= {"units": units, "use_bias": bool(data.below(2)), "kernel_orthogonal_columns": bool(data.below(2))}
        if data.rarely():
            op[data.of(_core.PENALTIES)] = data.number()
    elif kind in ENCODES:
        columns = [c for c in range(min(max(widths[-1], 1), 8)) if data.below(2)] or [0]
        if data.rarely():
            columns = [data.integer(9, 0) for _ in range(data.below(4))]
        op |= {"columns": columns, "keep": bool(data.below(2)), "bins": data.integer(5), "units": data.integer(4)}
        op |= {"frequencies": data.integer(4), "codes": [data.integer(5) for _ in columns]}
        made = int(op[ENCODES[kind]]) * len(columns)
        widths.append(made + widths[-1] - (0 if op["keep"] else len(columns)))
    elif kind == "grouped_dense":
        op |= {"groups": data.integer(3), "group_inputs": data.integer(4), "units": data.integer(4)}
        op |= {"use_bias": bool(data.below(2))}
        widths.append(op["groups"] * op["units"] + widths[-1] - op["groups"] * op["group_inputs"])
    op = {key: affordable(value) for key, value in data.spec(op).items()}
    if kind in ENCODES and not op.get("columns"):  # all of them, which a few such ops make any number
        op["columns"] = [0]
    return op


def affordable(value: Any) -> Any:
    """The same, with 3 in place of sizes that would cost memory; those that no machine has room for stay."""
    if isinstance(value, list):
        return [affordable(one) for one in value]
    costs = isinstance(value, int) and MOST_ELEMENTS < abs(value) < LEAST_HOSTILE
    return 3 if costs else value


def a_program(data: Input) -> Spec:
    """A net."""
    inputs = data.integer(20)
    widths = [3 if MOST_ELEMENTS < abs(inputs) < LEAST_HOSTILE else inputs]
    ops = [an_op(data, widths) for _ in range(data.below(7))]
    return {"inputs": widths[0], "seed": data.integer(9), "dtype": data.of(DTYPES), "ops": ops}


def a_loss(data: Input) -> Spec:
    """A loss of all outputs, or of a head."""
    return {"kind": data.of(_core.LOSSES), "from_logits": bool(data.below(2)), "label_smoothing": data.number(0.1),
            "param": data.number()}  # fmt: skip


def a_head(data: Input) -> Spec:
    """Some of the outputs."""
    loss, columns = a_loss(data), data.integer(4)
    targets = 1 if loss["kind"] == "sparse_categorical_crossentropy" else columns
    given = {"loss": loss, "weight": data.number(), "columns": columns, "targets": targets}
    return data.spec(given if data.below(4) < 3 else {**given, "loss": None, "targets": 0})


def a_training(data: Input) -> Spec:
    """A loss, an optimizer and metrics."""
    loss = a_loss(data)
    kinds = [*OPTIMIZERS.values(), *({"kind": kind} | SOLVER for kind in _core.FULL_BATCH_OPTIMIZERS)]
    metrics = [
        data.spec({"kind": data.of(_core.METRICS), "k": data.integer(3), "threshold": data.number(), "multiclass": bool(
            data.below(2))}) for _ in range(data.below(3))
    ]  # fmt: skip
    if data.below(8) == 7:
        loss = {"kind": "heads", "heads": [a_head(data) for _ in range(1 + data.below(3))]}
        metrics = [{**one, "head": data.integer(1, 0), "kind": data.of([one.get("kind"), "loss"])} for one in metrics]
    optimizer = OFF | data.of(kinds) | ({data.of(sorted(OFF)): data.number()} if data.rarely() else {})
    return {"loss": data.spec(loss), "optimizer": data.spec(optimizer), "metrics": metrics}


def an_array(data: Input, shape: tuple[int, ...], dtype: str = "f4") -> Array:
    """An array of this shape, or of one near it; with gaps, back to front, of another type, with odd numbers in it."""
    if data.rarely():
        shape = tuple(max(0, n + data.of([-1, 0, 1])) for n in (*shape, 1)[: data.below(len(shape) + 1) + 1])
    dtype = data.of(DATA_TYPES) if data.rarely() else dtype
    count = int(np.prod(shape))
    with np.errstate(all="ignore"):
        array = (np.arange(count) % 7 * 0.3 - 0.6).astype(dtype).reshape(shape)
    if count and data.rarely():
        with np.errstate(all="ignore"):
            array.reshape(-1)[data.below(count)] = np.asarray(data.of(NUMBERS)).astype(array.dtype)
    how = data.below(6)
    if how == 1 and array.ndim > 1:
        array = np.asfortranarray(array)
    elif how == 2:
        array = array[::-1]
    elif how == 3:
        array = np.repeat(array, 2, axis=0)[::2]
    elif how == 4 and array.ndim:
        array = np.broadcast_to(array[:1], array.shape)
    return array


class Net:
    """What the sizes of a net's data follow from."""

    def __init__(self, data: Input, program: Spec, training: Spec) -> None:
        self.inputs = program["inputs"] if abs(program["inputs"]) < 100 else 3
        units = [op.get("units") for op in program["ops"] if op.get("kind") == "dense"]
        known = units[-1] if units and isinstance(units[-1], int) and 0 < units[-1] < 100 else self.inputs
        self.outputs = max(int(known), 0)
        self.inputs = max(self.inputs, 0)
        self.sparse = training["loss"].get("kind") == "sparse_categorical_crossentropy"

    def rows(self, data: Input) -> tuple[Array, Array, Array | None]:
        """x, y and weights."""
        rows = data.below(30)
        x = an_array(data, (rows, self.inputs))
        y = an_array(data, (rows,), "i8") if self.sparse else an_array(data, (rows, self.outputs))
        if self.sparse and not data.rarely():
            y = (np.arange(rows) % max(self.outputs, 1)).astype(np.int64)
        return x, y, an_array(data, (rows,), "f8") if data.below(4) == 3 else None


def a_call_of_engine(data: Input, engine: Any, net: Net) -> None:
    """One call of an engine."""
    threads = 1 + (data.below(8) == 7)
    call = data.below(9)
    x, y, w = net.rows(data)
    if call < 2:
        engine.train(TrainCall(
            x, y, w, np.full(data.below(5), data.number(0.01)), data.integer(9), bool(data.below(2)),
            epoch=data.integer(3, 0), first_batch=data.integer(1, 0),
            val=net.rows(data) if data.below(4) == 3 else None,
            stop_on_nan=bool(data.below(2)), n_threads=threads, goes_on=bool(data.rarely()),
            probe_level=data.integer(3, 0) if data.below(4) == 3 else None, probe_first=bool(data.below(2)),
        ))  # fmt: skip
    elif call == 2:
        engine.evaluate(x, y, w, n_threads=threads)
    elif call == 3:
        out = np.empty((len(x) if x.ndim else 0, net.outputs), data.of(["f4", "f8"]))
        engine.predict(x, out if not data.rarely() else an_array(data, out.shape, out.dtype.str), n_threads=threads)
        engine.predict_row(np.ascontiguousarray(x[:1]))
    elif call == 4:
        engine.loss_and_grad(x, y, w, training=bool(data.below(2)), n_threads=threads)
    elif call == 5:
        engine.activations(x, n_threads=threads)
    elif call == 6:
        engine.solve_output(x, y, w, ridge=data.number(1e-6), n_threads=threads)
    elif call == 7:
        state = engine.get_state()
        state["step"] = data.integer(9, 0)
        if state["slots"] and state["slots"][0] and data.below(2):
            state["slots"][0][0] = an_array(data, state["slots"][0][0].shape, state["slots"][0][0].dtype.str)
        engine.set_state(data.spec(state))
        engine.probe_period(data.integer(99), data.integer(9))
    else:
        engine.configure(a_training(data))
        tensors = engine.get_tensors()
        if tensors:
            tensors[data.below(len(tensors))] = an_array(data, tensors[0].shape, tensors[0].dtype.str)
        engine.set_tensors(tensors)


def an_order(data: Input, starts: int) -> Any:
    """Seeds of the order of the rows."""
    kind = data.below(4)
    return data.integer(9, 0) if kind == 3 else an_array(data, (starts,), "u8") if kind == 2 else None


def a_call_of_population(data: Input, population: Any, net: Net, starts: int) -> None:
    """One call of a population."""
    threads = 1 + (data.below(8) == 7)
    call = data.below(5)
    x, y, w = net.rows(data)
    if data.below(8) == 7:
        w = an_array(data, (starts, len(x) if x.ndim else 0), "f8")
    if call < 2:
        batch, epochs = data.integer(9), data.below(4)
        steps = epochs * -(-len(x) // max(1, min(batch, len(x)))) if x.ndim else 0
        population.train(PopulationCall(
            x, y, w, np.full(steps, data.number(0.01)), an_array(data, (epochs, starts), "f8").copy(), batch,
            an_array(data, (starts,), "f8") if data.below(4) == 3 else None, bool(data.below(2)),
            an_order(data, starts), data.integer(3, 0),
            an_array(data, (starts,), "?") if data.below(4) == 3 else None, n_threads=threads,
        ))  # fmt: skip
    elif call == 2:
        population.evaluate(
            x, y, w, n_threads=threads, which=an_array(data, (starts,), "?") if data.below(4) == 3 else None
        )
    elif call == 3:
        out = np.empty((starts, len(x) if x.ndim else 0, net.outputs), data.of(["f4", "f8"]))
        population.predict(x, out, n_threads=threads)
    else:
        which = an_array(data, (starts,), "?")
        population.keep(which)
        population.restore(which)
        population.set_slots(population.get_slots(), data.integer(9, 0), population.get_numbers())
        tensors = population.get_tensors()
        if tensors:
            tensors[0] = an_array(data, tensors[0].shape, tensors[0].dtype.str)
        population.set_tensors(tensors)


def seeds() -> list[bytes]:
    """Inputs of several lengths; zeros choose what is usual."""
    return [bytes(64), *(np.random.default_rng(n).bytes(64 << n % 4) for n in range(16))]


def one(data: bytes) -> None:
    """Make an engine or a population, and a few calls."""
    choices = Input(data)
    together = choices.below(4) == 3
    program, training = choices.spec(a_program(choices)), a_training(choices)
    if "inputs" in program:
        program["inputs"] = affordable(program["inputs"])
    try:
        net = Net(choices, program, training)
        if together:
            many = 1 + choices.below(6)
            names = [name for name in OWN_NUMBERS if choices.rarely()]
            drops = sum(op.get("kind") == "dropout" for op in program["ops"])
            numbers = {name: an_array(choices, (many, drops) if name == "dropout" else (many,), "f8") for name in names}
            made: Any = _core.Population(program, np.arange(many, dtype=np.uint64), numbers)
        else:
            made = _core.Engine(program)
        made.configure(training)
    except ALLOWED as error:
        check(error)
        return
    for _ in range(1 + choices.below(4)):
        try:
            a_call_of_population(choices, made, net, many) if together else a_call_of_engine(choices, made, net)
        except ALLOWED as error:
            check(error)


ALLOWED = (ValueError, TypeError, MemoryError, RuntimeError, KeyError)


def check(error: BaseException) -> None:
    """Raise what is a bug of the core's."""
    if isinstance(error, _core.InternalError):
        raise AssertionError(f"a bug of the core's: {error}") from error
    if isinstance(error, RuntimeError) and "cast" not in str(error):
        raise error
