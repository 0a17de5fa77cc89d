"""ONNX: what is written gives the model's outputs in onnxruntime and in onnx's own reference, and files are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from onnx import TensorProto, helper, numpy_helper

import fastdense as fd
from fastdense.activations import ACTIVATIONS
from fastdense.arrays import Array
from tests.helpers.nets import Net, check_close, net_of_activation, nets
from tests.peers.make_onnx_files import MAKERS

pytestmark = pytest.mark.usefixtures("float32")
FILES = sorted((Path(__file__).parents[1] / "data" / "onnx").glob("*.onnx"))
X = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)


def check(net: Net, path: Path, tolerance: float = 1e-5) -> None:
    """Write, compute in both runtimes, read."""
    net.model.to_onnx(path)
    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    assert (proto.ir_version, proto.opset_import[0].version) == (10, 20)
    for run in (onnxruntime.InferenceSession(path).run, onnx.reference.ReferenceEvaluator(proto).run):
        check_close(run(None, {"x": net.x})[0], net, tolerance)
    again = fd.from_onnx(path)
    check_close(again.predict(net.x), net, tolerance)


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(nets())
def test_random_nets(tmp_path_factory: pytest.TempPathFactory, net: Net) -> None:
    check(net, tmp_path_factory.mktemp("onnx") / "net.onnx")


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str, tmp_path: Path) -> None:
    net = net_of_activation(name)
    check(net, tmp_path / "net.onnx")
    assert fd.from_onnx(tmp_path / "net.onnx").layers == net.model.layers


def test_layers_come_back(tmp_path: Path) -> None:
    layers = [
        fd.OneHot([1], codes=[0.0, 1.0]),
        fd.Normalization().adapt(np.random.default_rng(1).normal(size=(9, 4))),
        fd.Residual([fd.LayerNorm(), fd.Dense(4, "gelu")]),
        fd.Branches([[fd.Dense(2, "softmax")], [fd.BatchNorm(), fd.Dense(3, fd.Activation("leaky_relu", 0.3))]]),
        fd.layers.UnitNormalization(),
        fd.Rescaling(2.0, 1.0),
    ]
    model = fd.Model(layers, inputs=3)
    model.to_onnx(tmp_path / "net.onnx")
    again = fd.from_onnx(tmp_path / "net.onnx", dtype="float64", name="again")
    assert again.layers == layers and again.name == "again" and again.dtype == "float64"


def test_float64(tmp_path: Path) -> None:
    net = net_of_activation("tanh")
    model = fd.Model(net.model.layers, inputs=1, dtype="float64", seed=3)
    model.to_onnx(tmp_path / "net.onnx", dtype="float64")
    x = net.x.astype(np.float64)
    y = onnxruntime.InferenceSession(tmp_path / "net.onnx").run(None, {"x": x})[0]
    np.testing.assert_allclose(y, model.predict(x), rtol=1e-12)


def test_several_outputs(tmp_path: Path) -> None:
    ends = fd.Branches([[fd.Dense(1)], [fd.Dense(3, "softmax")]])
    model = fd.Model([fd.Dense(8, "relu"), ends], inputs=3)
    model.to_onnx(tmp_path / "named.onnx", outputs={"price": 1, "kind": 3}, input_name="rows")
    heads = [fd.losses.Head("a", 1, "mse"), fd.losses.Head("b", 3, "categorical_crossentropy")]
    model.compile("adam", fd.losses.PerHead(heads))
    model.to_onnx(tmp_path / "heads.onnx")
    right = model.predict(X)
    for name, source, names in (("named", "rows", ["price", "kind"]), ("heads", "x", ["a", "b"])):
        path = tmp_path / f"{name}.onnx"
        session = onnxruntime.InferenceSession(path)
        assert [one.name for one in session.get_outputs()] == names
        parts = session.run(None, {source: X})
        np.testing.assert_allclose(np.concatenate(parts, axis=1), right, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(fd.from_onnx(path).predict(X), right, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(fd.from_onnx(path, output=names[1]).predict(X), right[:, 1:], rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"^to_onnx: outputs holds 3 columns; the model has 4 outputs"):
        model.to_onnx(tmp_path / "net.onnx", outputs={"a": 1, "b": 2})
    with pytest.raises(ValueError, match="^from_onnx: there is no output 'c'; it has 'a', 'b'"):
        fd.from_onnx(tmp_path / "heads.onnx", output="c")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.stem))
def test_files_of_other_tools(path: Path) -> None:
    """Files that PyTorch's exporters, skl2onnx and Keras wrote, with their outputs."""
    kept = np.load(path.with_suffix(".npz"))
    p = fd.from_onnx(path).predict(kept["x"])
    right = kept["y"]
    if path.stem == "sklearn_two_classes":
        assert p.shape == right.shape == (24, 2)
    np.testing.assert_allclose(p, right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", sorted(set(MAKERS) - {"keras_export"}))
def test_what_other_tools_write_now(name: str, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(24, 6)).astype(np.float32)
    y = MAKERS[name](tmp_path / "net.onnx", x)
    np.testing.assert_allclose(fd.from_onnx(tmp_path / "net.onnx").predict(x), y, rtol=1e-5, atol=1e-6)


# ---- graphs by hand --------------------------------------------------------------------------------------------------

W = np.random.default_rng(2).normal(size=(3, 3)).astype(np.float32)
B = np.array([0.5, -1.0, 2.0], dtype=np.float32)


def graph(nodes: list[Any], shape: tuple[Any, ...] = ("n", 3), **constants: Array) -> Any:
    """A model with these nodes, from "x" to "y"."""
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in (("x", shape), ("y", None))]
    made = helper.make_graph(nodes, "hand", ends[:1], ends[1:], tensors)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def node(name: str, args: str, output: str = "y", **attributes: Any) -> Any:
    return helper.make_node(name, args.split(), [output], name=f"my_{name}", **attributes)


def run(model: Any, x: Array) -> Array:
    made: Array = onnx.reference.ReferenceEvaluator(model).run(None, {"x": x})[0]
    return made


BY_HAND: dict[str, Callable[[], Any]] = {
    "gemm with factors": lambda: graph([node("Gemm", "x w b", alpha=0.5, beta=2.0, transB=1)], w=W, b=B),
    "transposed weights": lambda: graph(
        [node("Transpose", "w", "t", perm=[1, 0]), node("MatMul", "x t", "z"), node("Add", "b z")], w=W, b=B
    ),
    "as tf2onnx writes": lambda: graph(
        [node("Cast", "x", "c", to=1), node("MatMul", "c w", "z"), node("Add", "z b", "a"), node("Relu", "a", "r"),
         node("Identity", "r", "i"), node("MatMul", "i w", "z2"), node("Add", "z2 b", "a2"),
         node("Softmax", "a2", axis=-1)], w=W, b=B
    ),
    "nothing done": lambda: graph(
        [node("Flatten", "x", "f", axis=1), node("Reshape", "f s", "r"), node("Dropout", "r", "d"),
         node("Gemm", "d w", "g"), node("Identity", "g")], w=W, s=np.array([-1, 3])
    ),
    "images": lambda: graph([node("Flatten", "x", "f"), node("MatMul", "f w")], ("n", 2, 3), w=np.ones((6, 2), "f4")),
    "gelu as several nodes": lambda: graph(
        [node("MatMul", "x w", "z"), node("Div", "z r", "d"), node("Erf", "d", "e"), node("Add", "e one", "p"),
         node("Mul", "z p", "m"), node("Mul", "m half")],
        w=W, r=np.float32(2**0.5), one=np.float32(1), half=np.float32(0.5)
    ),
    "swish as two nodes": lambda: graph(
        [node("MatMul", "x w", "z"), node("Sigmoid", "z", "s"), node("Mul", "s z")], w=W
    ),
    "a scale of zero": lambda: graph(
        [node("MatMul", "x w", "z"), node("Mul", "z v", "m"), node("Add", "m b")], w=W, b=B, v=np.array([0, 1, 2], "f4")
    ),
    "split columns": lambda: graph(
        [helper.make_node("Split", ["x", "sizes"], ["l", "r"], axis=1), node("Tanh", "l", "t"),
         node("Concat", "r t", axis=1)], sizes=np.array([1, 2])
    ),
    "sums of several": lambda: graph(
        [node("Relu", "x", "a"), node("Tanh", "x", "b"), node("Mean", "a b x", "m"), node("Max", "m a", "n"),
         node("Sub", "n b", "s"), node("Neg", "s")]
    ),
    "constants that are computed": lambda: graph(
        [helper.make_node("Constant", [], ["k"], value_float=2.0), node("Mul", "w k", "w2"),
         node("Unsqueeze", "b ax", "b2"), node("MatMul", "x w2", "z"), node("Sub", "z b2")], w=W, b=B, ax=np.array([0])
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
def test_graphs_by_hand(name: str) -> None:
    model = BY_HAND[name]()
    size = [len(X) if one.dim_param else one.dim_value for one in model.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(3).normal(size=size).astype(np.float32)
    made = fd.from_onnx(model).predict(x.reshape(len(x), -1))
    np.testing.assert_allclose(made, run(model, x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: graph([node("Conv", "x w")], ("n", 1, 3), w=np.ones((1, 1, 1), "f4")),
         "node 0, Conv 'my_Conv' computes what no layer of fastdense does; dense layers, their activations"),
        (lambda: graph([node("MatMul", "x w", "z"), node("Gelu", "z", approximate="tanh")], w=W),
         "node 1, Gelu 'my_Gelu' computes what no layer"),
        (lambda: graph([node("LogSoftmax", "x")]), "node 0, LogSoftmax 'my_LogSoftmax' computes what no layer"),
        (lambda: graph([node("Gemm", "x w", transA=1)], w=W), "node 0, Gemm 'my_Gemm' computes what no layer"),
        (lambda: graph([node("MatMul", "x w")], ("n", "m"), w=W), "the input 'x' has the shape .*, which does not"),
        (lambda: graph([node("Identity", "x")]), "the output of the graph is its input; there is no net in it"),
        (lambda: graph([node("Identity", "w")], w=W), "an output of the graph does not depend on its input"),
        (lambda: graph([node("Softmax", "x", "s"), node("MatMul", "s w")], w=W),
         r"the graph is none that a fastdense\.Model can be \(Model: softmax is used before the last layer"),
        (lambda: graph([node("MatMul", "x w", "a"), node("Tanh", "a", "t"), node("Relu", "a", "r"),
                        node("MatMul", "t w", "p"), node("Add", "p r", "q"), node("Mul", "q t", "s"),
                        node("Add", "s p")], w=W),
         "the output of node 3, MatMul 'my_MatMul' is used at places that are no branches of one another"),
    ],
    ids=lambda value: "" if callable(value) else value[:40],
)  # fmt: skip
def test_what_is_none(model: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^from_onnx: {message}"):
        fd.from_onnx(model())


def test_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"\xff" * 30)
    with pytest.raises(ValueError, match=r"^from_onnx: .*net\.onnx' is no ONNX file, or damaged \(DecodeError\)"):
        fd.from_onnx(path)
    with pytest.raises(FileNotFoundError):
        fd.from_onnx(tmp_path / "nothing.onnx")
    good, random = FILES[0].read_bytes(), np.random.default_rng(0)
    for place in random.integers(0, len(good), 150):
        damaged = bytearray(good)
        damaged[place] ^= int(random.integers(1, 256))
        path.write_bytes(damaged)
        try:
            fd.from_onnx(path)
        except ValueError as error:
            assert str(error).startswith("from_onnx: ")


def test_weights_outside_of_the_folder_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(W.tobytes())
    folder = tmp_path / "net"
    folder.mkdir()
    model = graph([node("MatMul", "x w")], w=W)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=r"initializer 'w' lies in '\.\./secret', outside of the folder of the file"):
        fd.from_onnx(folder / "net.onnx")
    tensor.external_data[0].value = "weights"
    (folder / "weights").write_bytes(W.tobytes())
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    np.testing.assert_allclose(fd.from_onnx(folder / "net.onnx").predict(X), X @ W, rtol=1e-5, atol=1e-6)
