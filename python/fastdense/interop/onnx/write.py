"""`Model.to_onnx`: a chain as an ONNX graph."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...arguments import choice, file_path, integer, shorten
from ...arrays import Array, fail
from ...lazy import needed
from ...losses import PerHead
from ...model import files
from ...versions import VERSION
from ..chain import IDLE, Chain, ChainBlock, ChainStep, chain_of
from .patterns import Fixed, Number, Op, Source
from .table import ACTIVATIONS, WRITTEN

if TYPE_CHECKING:
    from ..._model import Model

OPSET, IR_VERSION = 20, 10
_FLOATS: dict[str, np.dtype[Any]] = {"float32": np.dtype(np.float32), "float64": np.dtype(np.float64)}
_MOST_BYTES = 2**31 - 2**20  # of a file of Protocol Buffers
MERGES: dict[str, tuple[str, dict[str, Any]]] = {
    "concatenate": ("Concat", {"axis": 1}),
    "add": ("Sum", {}),
    "subtract": ("Sub", {}),
    "multiply": ("Mul", {}),
    "average": ("Mean", {}),
    "maximum": ("Max", {}),
    "minimum": ("Min", {}),
}


def to_onnx(
    model: Model,
    path: str | os.PathLike[str],
    *,
    outputs: Mapping[str, int] | None = None,
    dtype: str = "float32",
    input_name: str = "x",
) -> None:
    """See `Model.to_onnx`."""
    path = file_path("to_onnx: path", path)
    chosen = choice("to_onnx: dtype", dtype, tuple(_FLOATS))
    ir: Any = needed("to_onnx", "onnx_ir", "onnx-ir", "onnx")
    graph = _Graph(ir, _FLOATS[chosen])
    kind = ir.DataType.from_numpy(graph.dtype)
    x = ir.val(str(input_name), kind, ["rows", model.inputs])
    y = graph.chain(chain_of(model, "to_onnx"), x)
    ends = graph.ends(y, _heads(model, outputs))
    for end, width in ends:
        end.dtype, end.shape = kind, ir.Shape(["rows", width])
    if sum(value.const_value.nbytes for value in graph.initializers) > _MOST_BYTES:
        fail("to_onnx", "the weights take more than 2 GB", "a file of Protocol Buffers holds no more",
             "use model.save")  # fmt: skip
    made = ir.Model(
        ir.Graph([x], [end for end, _ in ends], nodes=graph.nodes, initializers=graph.initializers,
                 opset_imports={"": OPSET}, name=model.name),
        ir_version=IR_VERSION, producer_name="fastdense", producer_version=VERSION,
    )  # fmt: skip
    data = ir.serde.serialize_model(made).SerializeToString()
    with files.replacement(path) as file:
        file.write(data)


def _heads(model: Model, outputs: Mapping[str, int] | None) -> dict[str, int]:
    """Names and widths of the outputs."""
    if outputs is None:
        loss = model._loss
        if isinstance(loss, PerHead):
            return {head.name: head.columns for head in loss.heads}
        return {"y": model.outputs}
    if not isinstance(outputs, Mapping) or not outputs:
        fail("to_onnx", f"outputs is {shorten(outputs)}", "a dict of names and widths is needed",
             "e.g. {'price': 1, 'kind': 3}")  # fmt: skip
    heads = {str(name): integer(f"to_onnx: outputs[{name!r}]", width, least=1) for name, width in outputs.items()}
    if sum(heads.values()) != model.outputs:
        fail("to_onnx", f"outputs holds {sum(heads.values())} columns", f"the model has {model.outputs} outputs",
             "give each column to one of them")  # fmt: skip
    return heads


class _Graph:
    """Nodes and initializers, as they come."""

    def __init__(self, ir: Any, dtype: np.dtype[Any]) -> None:
        self.ir, self.dtype = ir, dtype
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.scalars: dict[float, Any] = {}
        self.count = 0

    def chain(self, chain: Chain, x: Any) -> Any:
        for one in chain:
            if isinstance(one, ChainBlock):
                x = self.block(one, x)
            elif one.kind not in IDLE:
                x = self.step(one, x)
        return x

    def block(self, block: ChainBlock, x: Any) -> Any:
        values = [self.chain(chain, x) for chain in block.chains]
        name, attributes = MERGES[block.merge]
        if name == "Mul":
            made = values[0]
            for value in values[1:]:
                made = self.node(name, [made, value], {})
            return made
        return self.node(name, values, attributes)

    def step(self, step: ChainStep, x: Any) -> Any:
        self.count += 1
        if step.kind == "activation":
            pattern, numbers = (
                ACTIVATIONS[step.get("name")][0],
                {"alpha": step.get("alpha"), "slope": step.get("slope")},
            )
        else:
            row = WRITTEN[step.kind]
            numbers = row.constants(step)
            pattern = row.patterns[1 if step.kind == "robust_scale" and "clip" not in numbers else 0]
            if step.kind == "dense" and "bias" not in numbers:
                pattern = row.patterns[2]
        memo: dict[int, Any] = {}
        return self.value(pattern, numbers, x, f"{step.kind}_{self.count}", memo)

    def value(self, pattern: Any, numbers: dict[str, Any], x: Any, name: str, memo: dict[Any, Any]) -> Any:
        """The value of a pattern; the same part of a pattern is one node."""
        if isinstance(pattern, Source):
            return x
        if isinstance(pattern, Fixed):
            if pattern.name not in memo:
                dtype = np.dtype(np.int64) if pattern.dtype == "int" else self.dtype
                memo[pattern.name] = self.initializer(f"{name}.{pattern.name}", numbers[pattern.name], dtype)
            return memo[pattern.name]
        if isinstance(pattern, (Number, int, float)):
            return self.scalar(float(numbers[pattern.name] if isinstance(pattern, Number) else pattern))
        assert isinstance(pattern, Op)
        if id(pattern) not in memo:
            attributes = {key: float(numbers[one.name]) if isinstance(one, Number)
                          else one[0] if isinstance(one, tuple) else one
                          for key, one in pattern.attributes.items()}  # fmt: skip
            if pattern.name == "Cast" and attributes["to"] == 1:
                attributes["to"] = self.ir.DataType.from_numpy(self.dtype).value
            args = [self.value(one, numbers, x, name, memo) for one in pattern.args
                    if not (isinstance(one, Fixed) and one.optional and one.name not in numbers)]  # fmt: skip
            memo[id(pattern)] = self.node(pattern.name, args, attributes)
        return memo[id(pattern)]

    def node(self, name: str, args: list[Any], attributes: dict[str, Any]) -> Any:
        number = len(self.nodes)
        made = self.ir.node(name, args, attributes, name=f"{name}_{number}")
        made.outputs[0].name = f"v{number}"
        self.nodes.append(made)
        return made.outputs[0]

    def initializer(self, name: str, array: Array, dtype: np.dtype[Any]) -> Any:
        tensor = self.ir.tensor(np.ascontiguousarray(array, dtype=dtype), name=name)
        value = self.ir.Value(name=name, shape=tensor.shape, type=self.ir.TensorType(tensor.dtype), const_value=tensor)
        self.initializers.append(value)
        return value

    def scalar(self, number: float) -> Any:
        if number not in self.scalars:
            self.scalars[number] = self.initializer(f"number_{len(self.scalars)}", np.array(number), self.dtype)
        return self.scalars[number]

    def ends(self, y: Any, heads: dict[str, int]) -> list[tuple[Any, int]]:
        """The outputs, with their widths: named, and cut out of the columns where there are several."""
        made, first = [], 0
        for name, width in heads.items():
            if len(heads) > 1:
                bounds = [self.initializer(f"{name}.{what}", np.array([place]), np.dtype(np.int64))
                          for what, place in (("first", first), ("end", first + width), ("axis", 1))]  # fmt: skip
                end = self.node("Slice", [y, *bounds], {})
            else:
                end = self.node("Identity", [y], {}) if y.producer() is None else y
            end.name = name
            made.append((end, width))
            first += width
        return made
