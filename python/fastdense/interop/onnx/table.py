"""What each operation is in ONNX (opset 20): one table, from which graphs are written and by which they are read.

A row has the pattern, what the constants of a step are in it, and what a step is for constants that were found.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...arrays import Array
from ..chain import ChainStep
from ..compute import bins_of
from .patterns import Fixed, Number, X, op, repeated

Numbers = dict[str, Any]
Sigmoid, Tanh, Softplus = op("Sigmoid", X), op("Tanh", X), op("Softplus", X)
ALPHA, FLOAT = Number("alpha"), 1
_C = Fixed
_SIXTH = 1.0 / 6.0
_SHIFTED = op("Clip", op("Add", X, 3.0), 0.0, 6.0)
_ROOT = op("Sqrt", op("Add", op("Mul", X, X), ALPHA))
_BELOW = op("Add", op("Clip", X, -1.0, 1.0), 1.0)

# The first of each is written; all are read. Those without a parameter of their own come before those with one.
ACTIVATIONS: dict[str, list[Any]] = {
    "relu": [op("Relu", X), op("Max", X, 0.0)],
    "leaky_relu": [op("LeakyRelu", X, alpha=ALPHA)],
    "prelu": [op("PRelu", X, _C("slope"))],
    "relu6": [op("Clip", X, 0.0, 6.0), op("Min", op("Relu", X), 6.0)],
    "elu": [op("Elu", X, alpha=ALPHA)],
    "selu": [op("Selu", X, alpha=1.6732632423543772, gamma=1.0507009873554805)],
    "celu": [op("Celu", X, alpha=ALPHA)],
    "gelu": [op("Gelu", X, approximate="none")],
    "silu": [op("Mul", X, Sigmoid), op("Swish", X, alpha=1.0)],
    "mish": [op("Mish", X), op("Mul", X, op("Tanh", Softplus))],
    "softplus": [Softplus, op("Log", op("Add", op("Exp", X), 1.0))],
    "softsign": [op("Softsign", X), op("Div", X, op("Add", op("Abs", X), 1.0))],
    "tanh": [Tanh],
    "sigmoid": [Sigmoid],
    "hard_sigmoid": [op("HardSigmoid", X, alpha=_SIXTH, beta=0.5), op("Div", _SHIFTED, 6.0),
                     op("Mul", _SHIFTED, _SIXTH)],
    "exponential": [op("Exp", X)],
    "log_sigmoid": [op("Neg", op("Softplus", op("Neg", X))), op("Log", Sigmoid)],
    "hard_silu": [op("HardSwish", X), op("Mul", X, op("HardSigmoid", X, alpha=_SIXTH, beta=0.5)),
                  op("Mul", X, op("Div", _SHIFTED, 6.0)), op("Div", op("Mul", X, _SHIFTED), 6.0),
                  op("Mul", X, op("Mul", _SHIFTED, _SIXTH)), op("Mul", op("Mul", X, _SHIFTED), _SIXTH)],
    "hard_tanh": [op("Clip", X, -1.0, 1.0)],
    "tanh_shrink": [op("Sub", X, Tanh)],
    "hard_shrink": [op("Shrink", X, bias=0.0, lambd=ALPHA)],
    "soft_shrink": [op("Shrink", X, bias=ALPHA, lambd=ALPHA)],
    "squareplus": [op("Add", op("Relu", X), op("Mul", 0.5, op("Div", ALPHA, op("Add", _ROOT, op("Abs", X)))))],
    "sparse_plus": [op("Add", op("Mul", 0.25, op("Mul", _BELOW, _BELOW)), op("Relu", op("Sub", X, 1.0)))],
    "sparse_sigmoid": [op("Clip", op("Mul", 0.5, op("Add", X, 1.0)), 0.0, 1.0)],
    "softmax": [op("Softmax", X, axis=(-1, 1))],
}  # fmt: skip
for _inside in (op("Div", X, math.sqrt(2.0)), op("Mul", X, math.sqrt(0.5))):
    _twice = op("Add", op("Erf", _inside), 1.0)
    ACTIVATIONS["gelu"] += [op("Mul", op("Mul", X, _twice), 0.5), op("Mul", op("Mul", X, 0.5), _twice),
                            op("Mul", X, op("Mul", 0.5, _twice)),
                            op("Mul", X, op("Add", op("Mul", op("Erf", _inside), 0.5), 0.5))]  # fmt: skip


@dataclass(frozen=True)
class Row:
    """An operation in ONNX.

    Attributes
    ----------
    kind : str
    patterns : list of Op
        The first one is written.
    constants : callable
        From a step to the numbers of the pattern.
    numbers : callable
        From what was found, and the number of columns, to the numbers of a step; None where it is something else.
    outputs : callable
        From these numbers and the number of columns to the number of outputs.
    """

    kind: str
    patterns: list[Any]
    constants: Callable[[ChainStep], Numbers]
    numbers: Callable[[Numbers, int], Numbers | None]
    outputs: Callable[[Numbers, int], int] = lambda numbers, inputs: inputs


def _own(*names: str) -> Callable[[ChainStep], Numbers]:
    return lambda step: {name: step.get(name) for name in names}


def _wide(*names: str) -> Callable[[Numbers, int], Numbers | None]:
    """Constants as one number for each column."""
    return lambda found, inputs: {name: row_of(found[name], inputs) for name in names}


def row_of(value: Array, columns: int) -> Array:
    """A constant as a row of so many numbers; ValueError if it is none."""
    flat = np.asarray(value).reshape(-1)
    if flat.size not in (1, columns):
        raise ValueError(f"its constant has {flat.size} numbers, for {columns} columns")
    made: Array = np.broadcast_to(flat, (columns,)).copy()
    return made


def _scaling(step: ChainStep) -> Numbers:
    gamma, beta = step.get("gamma"), step.get("beta")
    return {"gamma": np.ones(step.inputs) if gamma is None else gamma,
            "beta": np.zeros(step.inputs) if beta is None else beta}  # fmt: skip


def _norm(found: Numbers, inputs: int) -> Numbers | None:
    return found if np.size(found.get("gamma", np.ones(inputs))) == inputs else None


def _columns(found: Numbers, inputs: int) -> Numbers | None:
    columns = np.atleast_1d(found["columns"]).astype(np.int64)
    columns = np.where(columns < 0, columns + inputs, columns)
    return {"columns": columns.tolist()} if columns.ndim == 1 and len(set(columns.tolist())) == columns.size else None


def _bins(step: ChainStep) -> Numbers:
    low, width, wide, least, most = (one.reshape(-1) for one in bins_of(step.get("edges")))
    return {"columns": repeated(*_per_column(step)), "low": low, "width": width, "wide": wide, "least": least,
            "most": most}  # fmt: skip


def _per_column(step: ChainStep) -> tuple[int, int]:
    return step.inputs, step.outputs // step.inputs


def _each(found: Numbers, inputs: int) -> int | None:
    """How many numbers each column is encoded as, if all are alike."""
    columns = found["columns"].reshape(-1)
    times = columns.size // inputs
    return times if times and np.array_equal(columns, repeated(inputs, times)) else None


def _edges(found: Numbers, inputs: int) -> Numbers | None:
    times = _each(found, inputs)
    if times is None:
        return None
    low, width, wide, least, most = (np.asarray(found[name], np.float64).reshape(inputs, times)
                                     for name in ("low", "width", "wide", "least", "most"))  # fmt: skip
    last = low[:, -1:] + width[:, -1:] * wide[:, -1:]
    good = [np.all(least[:, 0] == -np.inf), np.all(most[:, -1] == np.inf), np.all(least[:, 1:] == 0)]
    return {"edges": np.concatenate([low, last], axis=1)} if all(good) else None


def _turns(step: ChainStep) -> Numbers:
    numbers = {name: step.get(name).reshape(-1) for name in ("frequencies", "phases")}
    return {"columns": repeated(*_per_column(step)), **numbers}


def _cosines(found: Numbers, inputs: int) -> Numbers | None:
    times = _each(found, inputs)
    if times is None:
        return None
    return {name: found[name].reshape(inputs, times) for name in ("frequencies", "phases")}


def _groups(step: ChainStep) -> Numbers:
    kernel = step.get("kernel")
    groups, inputs, units = kernel.shape
    return {"apart": np.array([-1, groups, 1, inputs]), "kernel": kernel,
            "bias": step.get("bias").reshape(groups, 1, units), "beside": np.array([-1, groups * units])}  # fmt: skip


def _grouped(found: Numbers, inputs: int) -> Numbers | None:
    kernel = found["kernel"]
    good = kernel.ndim == 3 and kernel.shape[0] * kernel.shape[1] == inputs
    return {"kernel": kernel, "bias": found["bias"].reshape(len(kernel), -1)} if good else None


def _lookup(step: ChainStep) -> Numbers:
    table, codes = step.get("table"), step.get("codes")
    table = np.concatenate([table[-1:], table[:-1]])  # the row of all other numbers comes first
    places = np.arange(1, len(codes) + 1, dtype=np.float64).reshape(-1, 1)
    return {"codes": codes, "places": places, "table": table, "flat": np.array([-1, table.shape[1]])}


def _table(found: Numbers, inputs: int) -> Numbers | None:
    table = found["table"]
    good = inputs == 1 and np.array_equal(found["places"].reshape(-1), np.arange(1, len(table)))
    return {"codes": found["codes"].reshape(-1), "table": np.concatenate([table[1:], table[:1]])} if good else None


def _codes(step: ChainStep) -> Numbers:
    codes = step.get("codes")
    columns = np.concatenate([np.full(len(one), i) for i, one in enumerate(codes)])
    return {"columns": columns, "codes": np.concatenate([np.asarray(one) for one in codes])}


def _lists(found: Numbers, inputs: int, *names: str) -> Numbers | None:
    """Numbers for each column as lists, where columns say which column each belongs to."""
    columns = found["columns"].reshape(-1)
    if not np.array_equal(np.unique(columns), np.arange(inputs)) or np.any(np.diff(columns) < 0):
        return None
    return {name: [found[name].reshape(-1)[columns == i].tolist() for i in range(inputs)] for name in names}


def _sines(step: ChainStep) -> Numbers:
    each = step.get("frequencies")
    columns = np.concatenate([np.full(2 * len(one), i) for i, one in enumerate(each)])
    total = sum(map(len, each))
    return {"columns": columns, "frequencies": np.concatenate([np.repeat(one, 2) for one in each]),
            "quarters": np.tile([0.0, 0.5 * np.pi], total)}  # fmt: skip


def _waves(found: Numbers, inputs: int) -> Numbers | None:
    lists = _lists(found, inputs, "frequencies")
    if lists is None or not np.allclose(found["quarters"], np.tile([0.0, 0.5 * np.pi], found["columns"].size // 2)):
        return None
    return {"frequencies": [one[::2] for one in lists["frequencies"]]}


def _robust(step: ChainStep) -> Numbers:
    scale = np.asarray(step.get("scale"))
    numbers = {"center": np.asarray(step.get("center")), "scale": np.where(scale == 0, 1.0, scale),
               "varies": np.where(scale == 0, 0.0, 1.0)}  # fmt: skip
    return numbers if step.get("clip") is None else {**numbers, "clip": step.get("clip")}


def _robust_numbers(found: Numbers, inputs: int) -> Numbers | None:
    numbers = {name: row_of(found[name], inputs) for name in ("center", "scale", "varies")}
    scale = np.where(numbers["varies"] == 0, 0.0, numbers["scale"])
    return {"center": numbers["center"].tolist(), "scale": scale.tolist(), "clip": found.get("clip")}


def _dense(found: Numbers, inputs: int) -> Numbers | None:
    kernel, bias = found["kernel"], found.get("bias")
    if kernel.ndim != 2 or kernel.shape[0] != inputs:
        return None
    return {"kernel": kernel, "bias": None if bias is None else row_of(bias, kernel.shape[1])}


def _lists_of(*names: str) -> Callable[[Numbers, int], Numbers | None]:
    return lambda found, inputs: {name: row_of(found[name], inputs).tolist() for name in names}


_LAST: Any = {"axes": ([-1], [1]), "keepdims": 1}
_MIDDLE = op("Sub", X, op("ReduceMean", X, **_LAST))
_SQUARES = [op("ReduceMean", one, **_LAST) for one in (op("Pow", _MIDDLE, 2.0), op("Mul", _MIDDLE, _MIDDLE))]
_BARE = [op("Div", _MIDDLE, op("Sqrt", op("Add", one, Number("epsilon")))) for one in _SQUARES]
_NORMS = [made for bare in _BARE for scaled in [op("Mul", bare, _C("gamma"))]
          for made in (op("Add", scaled, _C("beta")), scaled, bare)]  # fmt: skip
_AWAY = op("Mul", op("Div", op("Sub", X, _C("center")), _C("scale")), _C("varies"))
_BOUNDED = op("Div", _AWAY, op("Sqrt", op("Add", 1.0, op("Mul", op("Div", _AWAY, Number("clip")),
                                                              op("Div", _AWAY, Number("clip"))))))  # fmt: skip
_PERIODS = op("Mul", op("Gather", X, _C("columns", dtype="int"), axis=1), _C("frequencies"))
_LOG = op("Sub", X, _C("offset"))
_EQUAL = op("Cast", op("Equal", op("Gather", X, _C("columns", dtype="int"), axis=1), _C("codes")), to=FLOAT)
_PLACE = op("Cast", op("MatMul", op("Cast", op("Equal", X, _C("codes")), to=FLOAT), _C("places")), to=7)
_BIN = op("Div", op("Sub", op("Gather", X, _C("columns", dtype="int"), axis=1), _C("low")), _C("width"))
_GROUPED = op("Add", op("MatMul", op("Reshape", X, _C("apart", dtype="int")), _C("kernel")), _C("bias"))

ROWS: list[Row] = [
    Row("batch_norm", [op("BatchNormalization", X, _C("gamma"), _C("beta"), _C("mean"), _C("variance"),
                          epsilon=Number("epsilon"), training_mode=0)],
        lambda step: {**_scaling(step), **_own("mean", "variance", "epsilon")(step)}, _norm),
    Row("layer_norm", [op("LayerNormalization", X, _C("gamma"), _C("beta", optional=True), axis=(-1, 1),
                          epsilon=Number("epsilon")), *_NORMS],
        lambda step: {**_scaling(step), "epsilon": step.get("epsilon")}, _norm),
    Row("unit_norm", [op("Div", X, op("Max", op("ReduceL2", X, _C("axis", dtype="int"), keepdims=1), 1e-12))],
        lambda step: {"axis": np.array([-1])}, lambda found, inputs: {}),
    Row("robust_scale", [_BOUNDED, _AWAY], _robust, _robust_numbers),
    Row("normalization", [op("Div", op("Sub", X, _C("mean")), _C("deviation"))],
        _own("mean", "deviation"), _wide("mean", "deviation")),
    Row("log1p", [op("Mul", op("Sign", _LOG), op("Log", op("Add", 1.0, op("Div", op("Abs", _LOG), _C("scale")))))],
        lambda step: {name: np.asarray(step.get(name)) for name in ("scale", "offset")}, _lists_of("scale", "offset")),
    Row("fill", [op("Where", op("IsNaN", X), _C("fill"), X)],
        lambda step: {"fill": np.asarray(step.get("fill"))}, _lists_of("fill")),
    Row("is_nan", [op("Cast", op("IsNaN", X), to=FLOAT)], lambda step: {}, lambda found, inputs: {}),
    Row("one_hot", [_EQUAL], _codes, lambda found, inputs: _lists(found, inputs, "codes"),
        lambda numbers, inputs: sum(map(len, numbers["codes"]))),
    Row("embedding", [op("Reshape", op("Gather", _C("table"), _PLACE, axis=0), _C("flat", dtype="int"))],
        _lookup, _table, lambda numbers, inputs: int(numbers["table"].shape[1])),
    Row("waves", [op("Sin", op("Add", op("Mul", op("Sub", _PERIODS, op("Round", _PERIODS)), 2 * math.pi),
                               _C("quarters")))],
        _sines, _waves, lambda numbers, inputs: 2 * sum(map(len, numbers["frequencies"]))),
    Row("cosines", [op("Cos", op("Mul", op("Add", _PERIODS, _C("phases")), 2 * math.pi))], _turns, _cosines,
        lambda numbers, inputs: int(numbers["phases"].size)),
    Row("piecewise_linear", [op("Mul", op("Min", op("Max", _BIN, _C("least")), _C("most")), _C("wide"))],
        _bins, _edges, lambda numbers, inputs: int(numbers["edges"].size - inputs)),
    Row("grouped_dense", [op("Reshape", _GROUPED, _C("beside", dtype="int"))], _groups, _grouped,
        lambda numbers, inputs: int(numbers["bias"].size)),
    Row("dense", [op("Gemm", X, _C("kernel"), _C("bias", optional=True)), op("Add", op("MatMul", X, _C("kernel")),
        _C("bias")), op("MatMul", X, _C("kernel"))],
        lambda step: {name: step.get(name) for name in ("kernel", "bias") if step.get(name) is not None}, _dense,
        lambda numbers, inputs: int(numbers["kernel"].shape[1])),
    Row("select", [op("Gather", X, _C("columns", dtype="int"), axis=(1, -1))],
        lambda step: {"columns": np.array(step.get("columns"))}, _columns,
        lambda numbers, inputs: len(numbers["columns"])),
    Row("rescaling", [op("Add", op("Mul", X, _C("scale")), _C("offset"))],
        _own("scale", "offset"), _wide("scale", "offset")),
    Row("scale", [op("Mul", X, _C("scale"))], _own("scale"), _wide("scale")),
    Row("rescaling", [op("Add", X, _C("offset"))], lambda step: {},
        lambda found, inputs: {"scale": np.ones(inputs), **(_wide("offset")(found, inputs) or {})}),
    Row("rescaling", [op("Sub", X, _C("offset"))], lambda step: {},
        lambda found, inputs: {"scale": np.ones(inputs), "offset": -row_of(found["offset"], inputs)}),
    Row("rescaling", [op("Sub", _C("offset"), X)], lambda step: {},
        lambda found, inputs: {"scale": -np.ones(inputs), **(_wide("offset")(found, inputs) or {})}),
    Row("rescaling", [op("Div", X, _C("scale"))], lambda step: {},
        lambda found, inputs: {"scale": 1.0 / row_of(found["scale"], inputs), "offset": np.zeros(inputs)}),
    Row("rescaling", [op("Neg", X)], lambda step: {},
        lambda found, inputs: {"scale": -np.ones(inputs), "offset": np.zeros(inputs)}),
    Row("normalization", [op("Scaler", X, offset=Number("offset"), scale=Number("scale"))], lambda step: {},
        lambda found, inputs: {"mean": row_of(np.asarray(found["offset"], float), inputs),
                               "deviation": 1.0 / row_of(np.asarray(found["scale"], float), inputs)}),
]  # fmt: skip
WRITTEN = {row.kind: row for row in reversed(ROWS)}
