"""`fastdense.from_onnx`: a graph as a chain.

What a net computes is followed from its output to its input. At each node the patterns of `table` are tried, the larger
ones first; nodes with several inputs become blocks, which begin where the ways to all of them last meet.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...arguments import file_path, suggestion
from ...arrays import fail
from ...lazy import needed
from ..build import model_of
from ..chain import Chain, ChainBlock, ChainStep
from .graph import Graph
from .patterns import Node, match
from .table import ACTIVATIONS, ROWS

if TYPE_CHECKING:
    from ..._model import Model

_MERGES = {"Concat": "concatenate", "Add": "add", "Sum": "add", "Sub": "subtract", "Mul": "multiply",
           "Mean": "average", "Max": "maximum", "Min": "minimum"}  # fmt: skip
_TAIL = ("ArgMax", "ZipMap", "ArrayFeatureExtractor")  # what gives labels of classes
_CARRIED = ("Cast", "Reshape", "Squeeze", "Identity")  # what may stand among them
_TRAINED = ("dense", "batch_norm", "layer_norm", "scale", "grouped_dense", "embedding", "cosines")
_MOST_STEPS = 10_000


def from_onnx(
    model: str | os.PathLike[str] | Any,
    *,
    output: str | None = None,
    dtype: str = "float32",
    device: str = "cpu",
    name: str | None = None,
) -> Model:
    """Make a model of an ONNX file: of a dense net that another tool exported, or that `Model.to_onnx` wrote.

    Read are the forms in which PyTorch's exporters, skl2onnx, tf2onnx and Keras write dense nets: Gemm, MatMul with
    Add, normalizations, all activations of fastdense also where they are written as several nodes, branches that are
    merged, constants that are computed, nodes that do nothing. Nodes behind the net that turn probabilities into labels
    are left out. The model is not compiled; nothing in the file is run. Needs the package onnx-ir
    (``pip install 'fastdense[onnx]'``).

    Parameters
    ----------
    model : path, onnx.ModelProto or onnx_ir.Model
    output : str, optional
        Name of the output that the model gives; by default all, side by side.
    dtype : {"float32", "float64", "bfloat16"}
    device : {"cpu", "cuda", "reference"}
    name : str, optional
        Name of the model; by default that of the graph.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        If a node is none of a dense net (the message names it), the file is damaged, or it has several inputs.
    ImportError
        If onnx-ir is not installed.

    Examples
    --------
    >>> import fastdense as fd
    >>> model = fd.Model([fd.Dense(8, "relu"), fd.Dense(1)], inputs=4)
    >>> model.to_onnx("net.onnx")  # doctest: +SKIP
    >>> fd.from_onnx("net.onnx").layers  # doctest: +SKIP
    [Dense(8, activation='relu'), Dense(1)]
    """
    where = "from_onnx"
    ir: Any = needed(where, "onnx_ir", "onnx-ir", "onnx")
    loaded = _loaded(ir, where, model)
    try:
        graph = Graph(ir, loaded, where)
        chain = _Ways(graph).chain(_end(graph, output), graph.start)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
        if isinstance(error, ValueError) and str(error).startswith(f"{where}: "):
            raise
        raise ValueError(f"{where}: the file is damaged, or no net ({type(error).__name__}: {error}); export the net "
                         "again") from error  # fmt: skip
    named = name or _loaded_name(model)
    (inputs,) = graph.start.shape or (0,)
    if not chain:
        graph.fail("the output of the graph is its input", "there is no net in it")
    try:
        return model_of(chain, inputs, where, dtype=dtype, device=device, name=named)
    except ValueError as error:
        raise ValueError(f"{where}: the graph is none that a fastdense.Model can be ({error})") from error


def _loaded(ir: Any, where: str, model: Any) -> Any:
    if isinstance(model, ir.Model):
        return model
    onnx: Any = needed(where, "onnx", "onnx-ir", "onnx")
    if isinstance(model, onnx.ModelProto):
        return ir.serde.deserialize_model(_without_maps(onnx, model))
    path = file_path(f"{where}: model", model)
    try:
        made = ir.serde.deserialize_model(_without_maps(onnx, onnx.load(path, load_external_data=False)))
        ir.external_data.set_base_dir(made.graph, os.path.dirname(os.path.abspath(path)))
        return made
    except OSError:
        raise
    except Exception as error:  # of Protocol Buffers, of several classes
        problem = f"{path!r} is no ONNX file, or damaged ({type(error).__name__})"
        raise ValueError(f"{where}: {problem}; export the net again") from error


def _without_maps(onnx: Any, given: Any) -> Any:
    """The same without types of outputs that are no tensors, as skl2onnx writes them and onnx-ir does not read."""
    made = onnx.ModelProto()
    made.CopyFrom(given)
    for value in (*made.graph.output, *made.graph.value_info):
        if not value.type.HasField("tensor_type"):
            value.ClearField("type")
    return made


def _loaded_name(model: Any) -> str:
    return os.path.splitext(os.path.basename(os.fspath(model)))[0] if isinstance(model, (str, os.PathLike)) else "onnx"


def _end(graph: Graph, output: str | None) -> Node:
    """What the model gives: without what makes labels, and several outputs side by side."""
    if output is not None and output not in graph.outputs:
        names = list(graph.outputs)
        fail("from_onnx", f"there is no output {output!r}", f"it has {', '.join(map(repr, names))}",
             suggestion(output, names).strip())  # fmt: skip
    chosen = graph.outputs if output is None else {output: graph.outputs[output]}
    ends: list[Any] = []
    for given in chosen.values():
        end = _without_labels(given)
        if not any(end is one for one in ends):
            ends.append(end)
    for end in ends:
        if not isinstance(end, Node):
            graph.fail("an output of the graph does not depend on its input", "there is no net in it")
    if len(ends) == 1:
        return ends[0]  # type: ignore[no-any-return]
    widths = [end.shape[0] if end.shape and len(end.shape) == 1 else 0 for end in ends]
    return Node("Concat", ends, {"axis": 1}, "the outputs", (sum(widths),))


def _without_labels(end: Any) -> Any:
    """What an output is made of, if it only says which class is the most probable."""
    node, seen = end, False
    while isinstance(node, Node) and (node.op in _TAIL or node.op in _CARRIED):
        seen = seen or node.op in _TAIL
        data = [one for one in node.args if isinstance(one, Node)]
        if not data:
            break
        node = data[-1]
    carried = end
    while isinstance(carried, Node) and carried.op == "Squeeze" and carried.args[0].shape == (1,):
        carried = carried.args[0]
    return node if seen else carried


@dataclass(frozen=True)
class _Read:
    """What a node is: a step of one input, or a merge of several."""

    step: ChainStep | None
    merge: str
    inputs: list[Node]


class _Ways:
    """The way from outputs to the input."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.found: dict[int, _Read] = {}
        self.depths: dict[int, tuple[int, Node]] = {id(graph.start): (0, graph.start)}  # and where a way last met
        self.used: set[int] = set()
        self.steps = 0

    def chain(self, end: Node, start: Node) -> Chain:
        """The chain from one node to another, which all ways to it pass."""
        made: Chain = []
        node = end
        while node is not start:
            read = self.read(node)
            self._count(node, read)
            if read.step is not None:
                made.append(read.step)
                node = read.inputs[0]
                continue
            self._place(node)
            _, meeting = self.depths[id(node)]
            chains = [self.chain(one, meeting) for one in read.inputs]
            made.append(ChainBlock(read.merge, chains, self._width(meeting), self._width(node), node.place))
            node = meeting
        return made[::-1]

    def _count(self, node: Node, read: _Read) -> None:
        self.steps += 1
        trained = read.step is not None and read.step.kind in _TRAINED
        if self.steps > _MOST_STEPS or (trained and id(node) in self.used):
            self.graph.fail(f"the output of {node.place} is used at places that are no branches of one another",
                            "fastdense has branches that begin together and are merged")  # fmt: skip
        self.used.add(id(node))

    def _width(self, node: Node) -> int:
        if node.shape is None or len(node.shape) != 1:
            self.graph.fail(f"{node.place} gives no rows of a known number of columns", "it is no part of a dense net")
        return node.shape[0]

    # ---- where ways meet ---------------------------------------------------------------------------------------------

    def _place(self, node: Node) -> None:
        """Find for this node, and those before it, the last node that all ways to it pass (its immediate dominator)."""
        stack = [node]
        while stack:
            one = stack[-1]
            before = [other for other in self.read(one).inputs if id(other) not in self.depths]
            if before:
                stack += before
                continue
            stack.pop()
            meeting = self.read(one).inputs[0]
            for other in self.read(one).inputs[1:]:
                meeting = self._meeting(meeting, other)
            self.depths[id(one)] = (self.depths[id(meeting)][0] + 1, meeting)

    def _meeting(self, a: Node, b: Node) -> Node:
        while a is not b:
            if self.depths[id(a)][0] >= self.depths[id(b)][0]:
                a = self.depths[id(a)][1]
            else:
                b = self.depths[id(b)][1]
        return a

    # ---- what a node is ----------------------------------------------------------------------------------------------

    def read(self, node: Node) -> _Read:
        """What a node is, with all nodes that belong to it."""
        if id(node) not in self.found:
            self.found[id(node)] = self._read(node)
        return self.found[id(node)]

    def _read(self, node: Node) -> _Read:
        for name, patterns in ACTIVATIONS.items():
            for pattern in patterns:
                found: dict[str, Any] = {}
                if pattern.name == node.op and match(pattern, node, found):
                    read = self._activation(name, node, found)
                    if read is not None:
                        return read
        for row in ROWS:
            for pattern in row.patterns:
                found = {}
                if pattern.name == node.op and match(pattern, node, found):
                    x = found.pop("x")
                    inputs = self._width(x)
                    numbers = row.numbers(found, inputs)
                    if numbers is not None:
                        outputs = row.outputs(numbers, inputs)
                        node.shape = (outputs,)
                        return _Read(ChainStep(row.kind, numbers, inputs, outputs, node.place), "", [x])
        nodes = [one for one in node.args if isinstance(one, Node)]
        axis = node.attributes.get("axis", 1) if node.op == "Concat" else 1
        if node.op in _MERGES and len(nodes) == len(node.args) > 1 and axis in (1, -1):
            return _Read(None, _MERGES[node.op], nodes)
        if node.op == "Sum" and len(nodes) == len(node.args) == 1:
            return self.read(nodes[0])
        self.graph.fail(
            f"{node.place} computes what no layer of fastdense does",
            "dense layers, their activations, normalizations and branches can be read: export that part of the net",
        )

    def _activation(self, name: str, node: Node, found: dict[str, Any]) -> _Read | None:
        x, slope = found["x"], found.get("slope")
        width = self._width(x)
        if slope is not None:
            if slope.size not in (1, width):
                return None
            slope = np.broadcast_to(slope.reshape(-1), (width,)).copy()
        alpha = found.get("alpha")
        if alpha is not None and not alpha > 0:
            return None
        node.shape = (width,)
        return _Read(ChainStep("activation", {"name": name, "alpha": alpha, "slope": slope}, width, width, node.place),
                     "", [x])  # fmt: skip
