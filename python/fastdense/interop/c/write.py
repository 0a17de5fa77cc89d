"""`Model.to_c`: a chain as calls of C functions on rows in one piece of scratch memory."""

from __future__ import annotations

import keyword
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...arguments import choice, file_path, shorten
from ...arrays import Array, as_array, fail
from ...model import files
from ...model.exported import CExport
from ...versions import VERSION
from ..chain import Chain, ChainBlock, ChainStep, chain_of, refuse, steps_of, without_idle
from ..folding import folded
from .functions import BETWEEN, FUNCTIONS, HEAD, USES, activation_function, merge_function
from .quantize import MOST_INPUTS, Rounded, computed_rounded, quantized

if TYPE_CHECKING:
    from ..._model import Model

_RESERVED = {
    "float",
    "int",
    "long",
    "main",
    "static",
    "const",
    "char",
    "double",
    "void",
    "inline",
    "restrict",
    "x",
    "y",
}


def to_c(
    model: Model,
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    dtype: str = "float32",
    calibration: Any = None,
) -> CExport:
    """See `Model.to_c`."""
    where = "to_c"
    path = file_path(f"{where}: path", path)
    chosen = choice(f"{where}: dtype", dtype, ("float32", "int8"))
    prefix = _prefix(name if name is not None else os.path.basename(path).rpartition(".")[0] or "net", name)
    chain = folded(without_idle(chain_of(model, where)), behind_only=True)
    rounded: dict[int, Rounded] = {}
    errors: dict[str, float] = {}
    if chosen == "int8":
        rows = _calibration(model, calibration)
        for step in steps_of(chain):
            if step.kind == "dense" and step.inputs > MOST_INPUTS:
                refuse(where, step.place, f"has {step.inputs} inputs, more than {MOST_INPUTS}, whose sums may not fit "
                       "in 32 bits", "Use dtype='float32'")  # fmt: skip
        rounded = quantized(chain, rows)
        errors = _errors(model.predict(rows), computed_rounded(chain, rows, rounded))
    elif calibration is not None:
        fail(where, "calibration is given with dtype='float32'", "only int8 needs it", "leave it out")
    writer = _Header(prefix, rounded)
    text = writer.header(model, chain, chosen)
    with files.replacement(path) as file:
        file.write(text.encode("ascii", "replace"))
    return CExport(path, f"{prefix}predict", chosen, writer.weight_bytes, 4 * writer.most + writer.most_q, **errors)


def _prefix(wanted: str, given: str | None) -> str:
    """The first part of all names, from an argument or the name of the file."""
    made = wanted if given is not None else re.sub(r"\W", "_", wanted, flags=re.ASCII)
    made = f"net_{made}" if given is None and not re.match(r"[A-Za-z]", made) else made
    if not re.fullmatch(r"[A-Za-z]\w*", made, re.ASCII) or keyword.iskeyword(made) or made in _RESERVED:
        fail("to_c", f"name is {shorten(wanted)}", "a name of C is needed", "e.g. name='net'")
    return f"{made}_"


def _calibration(model: Model, given: Any) -> Array:
    if given is None:
        fail("to_c", "calibration is missing", "int8 needs typical rows, which decide the ranges",
             "e.g. calibration=x[:1000]")  # fmt: skip
    rows = as_array("to_c", "calibration", given)
    if rows.ndim != 2 or rows.shape[1] != model.inputs or not len(rows):
        fail("to_c", f"calibration has shape {rows.shape}", f"(rows, {model.inputs}) is needed",
             "give rows as to predict")  # fmt: skip
    return rows.astype(np.float64)


def _errors(right: Array, made: Array) -> dict[str, float]:
    apart = np.abs(right - made)
    errors = {"error": float(apart.max()), "mean_error": float(apart.mean())}
    if right.shape[1] > 1:
        errors["same_class"] = float((right.argmax(axis=1) == made.argmax(axis=1)).mean())
    return errors


@dataclass(frozen=True)
class _Buffer:
    """Where a row of numbers lies: in scratch memory from `offset` on, or in the input."""

    offset: int | None
    width: int

    @property
    def text(self) -> str:
        return "x" if self.offset is None else f"s + {self.offset}"


class _Header:
    """The parts of a header."""

    def __init__(self, prefix: str, rounded: dict[int, Rounded]) -> None:
        self.prefix, self.rounded = prefix, rounded
        self.arrays: list[str] = []
        self.calls: list[str] = []
        self.functions: dict[str, str] = {}
        self.taken: list[tuple[int, int]] = []  # parts of the scratch memory
        self.most = self.most_q = self.weight_bytes = 0

    def header(self, model: Model, chain: Chain, dtype: str) -> str:
        last = self.chain(chain, _Buffer(None, model.inputs))
        self.call("copy", last.text, "y", last.width)
        name = self.prefix[:-1]
        head = HEAD.format(title=name, version=VERSION, inputs=model.inputs, outputs=model.outputs, dtype=dtype,
                           name=name, NAME=name.upper(), weights=self.weight_bytes,
                           scratch=4 * self.most + self.most_q)  # fmt: skip
        code = "".join(self.functions.values()).replace("@R", f"{name.upper()}_RESTRICT").replace("@", self.prefix)
        memory = [f"    float s[{self.most}];"] if self.most else []
        memory += [f"    signed char q[{self.most_q}];"] if self.most_q else []
        body = "\n".join([*memory, *self.calls])
        return (f"{head}{code}\n" + "\n".join(self.arrays) + f"\n\nstatic inline void {self.prefix}predict("
                f"const float *x, float *y)\n{{\n{body}\n}}\n\n#endif\n")  # fmt: skip

    # ---- memory, numbers, calls -------------------------------------------------------------------------------------

    def take(self, width: int) -> _Buffer:
        """A part of the scratch memory that is free."""
        offset = 0
        for first, end in sorted(self.taken):
            if first - offset >= width:
                break
            offset = max(offset, end)
        self.taken.append((offset, offset + width))
        self.most = max(self.most, offset + width)
        return _Buffer(offset, width)

    def give(self, row: _Buffer) -> None:
        if row.offset is not None:
            self.taken.remove((row.offset, row.offset + row.width))

    def array(self, values: Any, kind: str = "float") -> str:
        """A constant, and its name."""
        given = np.asarray(values)
        flat = given.astype({"float": np.float32, "int": np.int64, "signed char": np.int8}[kind]).reshape(-1)
        self.weight_bytes += flat.size * {"float": 4, "int": 4, "signed char": 1}[kind]
        name = f"{self.prefix}c{len(self.arrays)}"
        numbers = [literal(one) for one in flat] if kind == "float" else [str(one) for one in flat]
        lines = [", ".join(numbers[i : i + 12]) for i in range(0, len(numbers), 12)]
        self.arrays.append(f"static const {kind} {name}[{flat.size}] = {{\n    " + ",\n    ".join(lines) + "\n};")
        return name

    def call(self, function: str, *arguments: Any) -> None:
        if function in FUNCTIONS:
            if function == "grouped_dense":
                self.functions.setdefault("dense", FUNCTIONS["dense"])
            self.functions.setdefault(function, FUNCTIONS[function])
        self.calls.append(f"    {self.prefix}{function}({', '.join(map(str, arguments))});")

    # ---- the net -----------------------------------------------------------------------------------------------------

    def chain(self, chain: Chain, x: _Buffer, kept: bool = True) -> _Buffer:
        """The row that a chain makes of another; the first one stays if it is `kept`."""
        for one in chain:
            if isinstance(one, ChainBlock):
                y = self.block(one, x)
            elif one.kind in IN_PLACE and not kept:
                IN_PLACE[one.kind](self, one, x, x)
                continue
            else:
                y = self.take(one.outputs)
                {**STEPS, **IN_PLACE}[one.kind](self, one, x, y)
            if not kept:
                self.give(x)
            x, kept = y, False
        return x

    def block(self, block: ChainBlock, x: _Buffer) -> _Buffer:
        y = self.take(block.outputs)
        begin = 0
        for i, chain in enumerate(block.chains):
            one = self.chain(chain, x)
            if block.merge == "concatenate" or i == 0:
                self.call("copy", one.text, f"{y.text} + {begin}" if begin else y.text, one.width)
                begin += one.width if block.merge == "concatenate" else 0
            else:
                self.functions.setdefault(block.merge, merge_function(block.merge))
                self.call(block.merge, one.text, y.text, one.width)
            if one is not x:
                self.give(one)
        if block.merge == "average":
            factor = self.array(np.full(block.outputs, 1.0 / len(block.chains)))
            self.call("rescaling", y.text, y.text, y.width, factor, self.array(np.zeros(block.outputs)))
        return y

    def dense(self, step: ChainStep, x: _Buffer, y: _Buffer) -> None:
        one = self.rounded.get(id(step))
        if one is None:
            bias = np.zeros(step.outputs) if step.get("bias") is None else step.get("bias")
            self.call("dense", x.text, y.text, x.width, y.width, self.array(step.get("kernel")), self.array(bias))
            return
        self.most_q = max(self.most_q, x.width)
        self.call("dense_int8", x.text, y.text, x.width, y.width, "q", literal(one.per_step), f"{one.zero}.0f",
                  self.array(one.weights.T, "signed char"), self.array(one.scale), self.array(one.bias))  # fmt: skip

    def activation(self, step: ChainStep, x: _Buffer, y: _Buffer) -> None:
        name = step.get("name")
        if name == "softmax":
            self.call("softmax", x.text, y.text, x.width)
        elif name == "prelu":
            self.call("prelu", x.text, y.text, x.width, self.array(step.get("slope")))
        else:
            self.functions.setdefault("between", BETWEEN)
            for one in (*USES.get(name, ()), name):
                self.functions.setdefault(f"each_{one}", activation_function(one))
            self.call(f"each_{name}", x.text, y.text, x.width, literal(step.get("alpha") or 0.0))

    def layer_norm(self, step: ChainStep, x: _Buffer, y: _Buffer) -> None:
        gamma = np.ones(x.width) if step.get("gamma") is None else step.get("gamma")
        beta = np.zeros(x.width) if step.get("beta") is None else step.get("beta")
        self.call("layer_norm", x.text, y.text, x.width, literal(step.get("epsilon")), self.array(gamma),
                  self.array(beta))  # fmt: skip

    def columns(self, step: ChainStep, x: _Buffer, y: _Buffer, name: str, count: int) -> None:
        lists = step.get(name)
        columns = np.concatenate([np.full(len(one), i) for i, one in enumerate(lists)])
        self.call(step.kind, x.text, y.text, count, self.array(columns, "int"), self.array(np.concatenate(lists)))

    def robust_scale(self, step: ChainStep, x: _Buffer, y: _Buffer) -> None:
        self.call("robust_scale", x.text, y.text, x.width, literal(step.get("clip") or 0.0),
                  self.array(step.get("center")), self.array(step.get("scale")))  # fmt: skip


def literal(value: float) -> str:
    """A number as C has it, in single precision, with as many digits as it needs."""
    single = np.float32(value)
    if not np.isfinite(single):
        fail("to_c", f"the net holds {value:g}", "finite numbers in single precision are needed",
             "train it again from finite numbers")  # fmt: skip
    return f"{single}f"


def _plain(*names: str) -> Callable[[_Header, ChainStep, _Buffer, _Buffer], None]:
    """A function of a row that takes its arrays in this order."""
    return lambda w, step, x, y: w.call(step.kind, x.text, y.text, x.width, *(w.array(step.get(n)) for n in names))


Emit = Callable[[_Header, ChainStep, _Buffer, _Buffer], None]
IN_PLACE: dict[str, Emit] = {  # y may be x
    "activation": _Header.activation,
    "layer_norm": _Header.layer_norm,
    "unit_norm": _plain(),
    "normalization": _plain("mean", "deviation"),
    "rescaling": _plain("scale", "offset"),
    "scale": lambda w, step, x, y: w.call("rescaling", x.text, y.text, x.width, w.array(step.get("scale")),
                                          w.array(np.zeros(x.width))),
    "log1p": _plain("scale", "offset"),
    "robust_scale": _Header.robust_scale,
    "fill": _plain("fill"),
    "is_nan": _plain(),
}  # fmt: skip
STEPS: dict[str, Emit] = {
    "dense": _Header.dense,
    "select": lambda w, step, x, y: w.call("select", x.text, y.text, y.width, w.array(step.get("columns"), "int")),
    "piecewise_linear": lambda w, step, x, y: w.call("piecewise_linear", x.text, y.text, x.width, y.width // x.width,
                                                     w.array(step.get("edges"))),
    "cosines": lambda w, step, x, y: w.call("cosines", x.text, y.text, x.width, y.width // x.width,
                                            w.array(step.get("frequencies")), w.array(step.get("phases"))),
    "grouped_dense": lambda w, step, x, y: w.call("grouped_dense", x.text, y.text, *step.get("kernel").shape,
                                                  w.array(step.get("kernel")), w.array(step.get("bias"))),
    "embedding": lambda w, step, x, y: w.call("embedding", x.text, y.text, y.width, len(step.get("codes")),
                                              w.array(step.get("codes")), w.array(step.get("table"))),
    "one_hot": lambda w, step, x, y: w.columns(step, x, y, "codes", y.width),
    "waves": lambda w, step, x, y: w.columns(step, x, y, "frequencies", y.width // 2),
}  # fmt: skip
