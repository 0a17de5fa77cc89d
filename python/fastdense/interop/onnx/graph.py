"""The graph of an ONNX model as `Node` objects: constants are folded, and nodes that do nothing are left out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from ...arrays import Array
from .patterns import Node

_FLOATS = (1, 10, 11, 16)  # float, float16, double, bfloat16
_BOOLEAN = ("Equal", "IsNaN")
_ELEMENTWISE = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean", "PRelu", "Where", "Pow")
_MOST_NODES = 100_000

FOLDED: dict[str, Callable[..., Array]] = {  # of constants
    "Identity": lambda a: a,
    "Neg": np.negative,
    "Sqrt": np.sqrt,
    "Reciprocal": np.reciprocal,
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Reshape": lambda a, shape: a.reshape(shape),
}


class Graph:
    """A graph that is read.

    Parameters
    ----------
    ir : module
        onnx_ir.
    model : onnx_ir.Model
    where : str
        For messages.

    Attributes
    ----------
    start : Node
        The input.
    outputs : dict
        What is given out, by name.
    """

    def __init__(self, ir: Any, model: Any, where: str) -> None:
        self.ir, self.where = ir, where
        graph = model.graph
        self.known: dict[Any, Any] = {}
        for value in graph.initializers.values():
            self.known[value] = self.array(value.const_value, value.name)
        inputs = [value for value in graph.inputs if value not in self.known]
        if len(inputs) != 1:
            self.fail(f"the graph has {len(inputs)} inputs", "one is needed: export the net with all columns in one")
        self.start = Node("Input", [], {}, f"the input {inputs[0].name!r}", self._input_shape(inputs[0]))
        self.known[inputs[0]] = self.start
        for number, node in enumerate(graph):
            if number == _MOST_NODES:
                self.fail(f"the graph has more than {_MOST_NODES:,} nodes", "no dense net has so many")
            self._read(number, node)
        self.outputs = {str(value.name): self.known[value] for value in graph.outputs}

    def fail(self, problem: str, remedy: str) -> NoReturn:
        """Raise because the graph is not that of a net."""
        raise ValueError(f"{self.where}: {problem}; {remedy}")

    def array(self, tensor: Any, name: str) -> Array:
        """An initializer, or the value of a constant."""
        if tensor is None:
            self.fail(f"the initializer {name!r} has no value", "export the net with its weights")
        if isinstance(tensor, self.ir.ExternalTensor):
            location = str(tensor.location).replace("\\", "/")
            if location.startswith("/") or ".." in location.split("/"):
                self.fail(f"the initializer {name!r} lies in {location!r}, outside of the folder of the file",
                          "export the net into one file")  # fmt: skip
        try:
            made = np.asarray(tensor.numpy())
        except (OSError, TypeError, ValueError) as error:
            self.fail(f"the initializer {name!r} cannot be read ({error})", "export the net into one file")
        return made.astype(np.float32) if made.dtype.kind not in "fiubUSO" else made

    def _input_shape(self, value: Any) -> tuple[int, ...]:
        shape = [] if value.shape is None else list(value.shape)[1:]
        if not shape or not all(isinstance(one, int) and one > 0 for one in shape):
            self.fail(f"the input {value.name!r} has the shape {value.shape}, which does not say how many columns",
                      "export the net with a fixed number of columns")  # fmt: skip
        return tuple(int(one) for one in shape)

    # ---- nodes -------------------------------------------------------------------------------------------------------

    def _read(self, number: int, node: Any) -> None:
        attributes = {name: _plain(self.ir, one) for name, one in node.attributes.items()}
        place = f"node {number}, {node.op_type}" + (f" {node.name!r}" if node.name else "")
        args = [None if value is None else self._of(value) for value in node.inputs]
        while args and args[-1] is None:
            args.pop()
        op = node.op_type if node.domain in ("", "ai.onnx", "ai.onnx.ml") else f"{node.domain}.{node.op_type}"
        if op == "Constant":
            self.known[node.outputs[0]] = self._constant(attributes, place)
            return
        if op == "Split":
            for value, columns in zip(node.outputs, self._split(node, args, attributes, place), strict=False):
                self.known[value] = Node("Gather", [args[0], columns], {"axis": 1}, place, columns.shape)
            return
        made = self._made(Node(op, args, attributes, place))
        for i, value in enumerate(node.outputs):
            self.known[value] = made if i == 0 else Node(f"{op} (output {i})", args, attributes, place)

    def _of(self, value: Any) -> Any:
        if value not in self.known:
            self.fail(f"the value {value.name!r} is used before it is computed", "the file is damaged")
        return self.known[value]

    def _constant(self, attributes: dict[str, Any], place: str) -> Array:
        for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
            if name in attributes:
                value = attributes[name]
                return self.array(value, place) if name == "value" else np.asarray(value)
        self.fail(f"{place} has no value that is a number", "export the net with plain constants")

    def _split(self, node: Any, args: list[Any], attributes: dict[str, Any], place: str) -> list[Array]:
        """The columns of each part."""
        width = _flat(args[0].shape) if isinstance(args[0], Node) else None
        if width is None or attributes.get("axis", 0) not in (1, -1):
            self.fail(f"{place} cuts something else than columns", "only columns can be cut")
        count = len(node.outputs)
        sizes = args[1].tolist() if len(args) > 1 else [-(-width // count)] * count
        ends = np.minimum(np.cumsum(sizes), width)
        return [np.arange(end - size if i < count - 1 else (ends[i - 1] if i else 0), end)
                for i, (end, size) in enumerate(zip(ends, sizes, strict=True))]  # fmt: skip

    def _made(self, node: Node) -> Any:
        """A node as it counts: folded, left out, or in the form that patterns have."""
        args = node.args
        if args and all(isinstance(one, np.ndarray) for one in args):
            return self._folded(node)
        if node.op in ("Identity", "Dropout"):
            return args[0]
        x = args[0] if args else None
        if node.op == "Cast" and isinstance(x, Node) and x.op not in _BOOLEAN and node.attributes["to"] in _FLOATS:
            return x
        if node.op == "Flatten" and isinstance(x, Node) and node.attributes.get("axis", 1) == 1 and self._is_row(x):
            return self._as_row(x)
        if node.op == "Reshape" and isinstance(x, Node) and self._is_row(x) and len(args) == 2:
            target = np.asarray(args[1]).reshape(-1).tolist() if isinstance(args[1], np.ndarray) else []
            if len(target) == 2 and target[1] in (-1, math.prod(x.shape or ())):
                return self._as_row(x)
        if node.op == "Gemm":
            node = self._gemm(node)
        if node.op == "ReduceMean" and len(args) == 2 and isinstance(args[1], np.ndarray):  # as before opset 18
            node = Node(node.op, [x], {**node.attributes, "axes": args[1].reshape(-1).tolist()}, node.place)
        if node.op == "Slice":
            node = self._sliced(node)
        node.shape = self._shape(node)
        return node

    def _is_row(self, x: Node) -> bool:
        """Whether flattening it changes nothing: a row of numbers, or the input."""
        return x is self.start or (x.shape is not None and len(x.shape) == 1)

    def _as_row(self, x: Node) -> Node:
        if x is self.start:
            x.shape = (math.prod(x.shape or ()),)
        return x

    def _folded(self, node: Node) -> Any:
        args, attributes = node.args, node.attributes
        if node.op == "Transpose":
            return np.transpose(args[0], attributes.get("perm"))
        if node.op == "Cast" and attributes["to"] in (*_FLOATS, 6, 7):
            return args[0].astype(np.int64 if attributes["to"] in (6, 7) else np.float64)
        if node.op in ("Squeeze", "Unsqueeze"):
            given: Any = np.ravel(args[1]).tolist() if len(args) > 1 else attributes.get("axes")
            axes = None if given is None else tuple(given)
            return np.squeeze(args[0], axes) if node.op == "Squeeze" else np.expand_dims(args[0], axes or (0,))
        if node.op == "Concat":
            return np.concatenate([np.atleast_1d(one) for one in args], axis=attributes["axis"])
        if node.op in FOLDED:
            return FOLDED[node.op](*args)
        return Node(node.op, args, attributes, node.place)

    def _gemm(self, node: Node) -> Node:
        """Gemm without factors and transposed matrices."""
        x, kernel, *rest = node.args
        given = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0, **node.attributes}
        if given["transA"] or not isinstance(kernel, np.ndarray) or not all(isinstance(b, np.ndarray) for b in rest):
            return Node("Gemm of other than rows and weights", node.args, {}, node.place)
        kernel = given["alpha"] * (kernel.T if given["transB"] else kernel)
        return Node("Gemm", [x, kernel, *(given["beta"] * one for one in rest)], {}, node.place)

    def _sliced(self, node: Node) -> Node:
        """A slice of columns as a choice of columns."""
        x, *bounds = node.args
        width = _flat(x.shape)
        plain = len(bounds) >= 3 and all(isinstance(one, np.ndarray) and one.size == 1 for one in bounds)
        if width is None or not plain or int(bounds[2].reshape(-1)[0]) not in (1, -1):
            return Node("Slice of other than columns", node.args, {}, node.place)
        first, end, _, step = (int(one.reshape(-1)[0]) for one in [*bounds, np.array(1)][:4])
        return Node("Gather", [x, np.arange(width)[first:end:step]], {"axis": 1}, node.place)

    def _shape(self, node: Node) -> tuple[int, ...] | None:
        """The shape of a row of what a node gives."""
        args, op = node.args, node.op
        x = next((one for one in args if isinstance(one, Node)), None)
        if op in ("Gemm", "MatMul") and isinstance(args[1], np.ndarray) and args[1].ndim == 2:
            return (args[1].shape[1],)
        if op == "MatMul" and isinstance(args[1], np.ndarray) and isinstance(args[0], Node) and args[0].shape:
            return (*args[0].shape[:-1], args[1].shape[-1])
        if op == "Gather" and isinstance(args[1], np.ndarray):
            return args[1].shape if node.attributes.get("axis", 0) in (1, -1) and args[1].ndim == 1 else None
        if op == "Gather" and isinstance(args[0], np.ndarray) and isinstance(args[1], Node) and args[1].shape:
            return (*args[1].shape, *args[0].shape[1:])
        if op == "Reshape" and len(args) == 2 and isinstance(args[1], np.ndarray):
            target = tuple(int(one) for one in args[1].reshape(-1)[1:])
            return target if all(one > 0 for one in target) else None
        if op == "Concat":
            widths = [_flat(one.shape) if isinstance(one, Node) else None for one in args]
            return None if None in widths else (sum(width or 0 for width in widths),)
        if op in ("ReduceL2", "ReduceMean") and node.attributes.get("keepdims", 1):
            return (1,)
        if op in _ELEMENTWISE or op == "Equal":
            return _broadcast(args)
        return None if x is None else x.shape


def _broadcast(args: list[Any]) -> tuple[int, ...] | None:
    shapes = [one.shape if isinstance(one, np.ndarray) else None if one.shape is None else (1, *one.shape)
              for one in args if one is not None]  # fmt: skip
    if None in shapes:
        return None
    try:
        return np.broadcast_shapes(*(shape for shape in shapes if shape is not None))[1:]
    except ValueError:
        return None


def _flat(shape: tuple[int, ...] | None) -> int | None:
    return None if shape is None or len(shape) != 1 else shape[0]


def _plain(ir: Any, attribute: Any) -> Any:
    """The value of an attribute as Python types; tensors as they are."""
    value = attribute.value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float):
        return float(str(np.float32(value)))  # 0.2 rather than 0.20000000298: files have single precision
    return list(value) if isinstance(value, tuple) else value
