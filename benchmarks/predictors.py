"""One row at a time through a trained net, in each library; each gets its row and gives its answer in its own type.

Each class takes the task, the rows and the weights; `call` is what is timed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdense.cli.baselines import Floats, NumpyNet, Task, TorchNet
from fastdense.cli.model import make_model


class Predictor:
    """Single rows, made beforehand, and the call that takes one. `mode` surrounds the calls."""

    rows: Sequence[Any]
    call: Callable[[Any], Any]

    def mode(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def restart(self) -> None: ...

    def prepare(self, orders: Sequence[Any]) -> list[Any]:
        """As many rows as orders, over and over."""
        return [self.rows[i % len(self.rows)] for i in range(len(orders))]

    def train(self, orders: list[Any]) -> None:
        call = self.call
        with self.mode():
            for row in orders:
                call(row)

    def answers(self) -> NDArray[Any]:
        """The class probabilities of every row, one call each."""
        with self.mode():
            return np.concatenate([np.asarray(self.call(row)) for row in self.rows])


def _single(x: Floats) -> list[Floats]:
    return [x[i : i + 1] for i in range(len(x))]


class FastdensePredictor(Predictor):
    """`model.predict`, checks included, as a user calls it."""

    def __init__(self, task: Task, x: Floats, weights: Sequence[Floats]) -> None:
        model = make_model(task)
        model.set_weights(weights)
        self.rows, self.call = _single(x), model.predict


class NumpyPredictor(Predictor):
    """The forward pass in NumPy."""

    def __init__(self, task: Task, x: Floats, weights: Sequence[Floats]) -> None:
        forward = NumpyNet(task, x, np.zeros(len(x), int), weights).forward

        def call(row: Floats) -> Floats:
            z = forward(row)[-1]
            z -= z.max()
            np.exp(z, out=z)
            z /= z.sum()
            return z

        self.rows, self.call = _single(x), call


class TorchPredictor(Predictor):
    """Eager PyTorch in inference mode."""

    def __init__(self, task: Task, x: Floats, weights: Sequence[Floats]) -> None:
        net = TorchNet(task, x, np.zeros(len(x), int), weights)
        self.mode = net.torch.inference_mode  # type: ignore[method-assign]
        self.rows = [net.torch.from_numpy(row) for row in _single(x)]
        self.call = net.torch.nn.Sequential(*net.net, net.torch.nn.Softmax(1)).eval()


class JaxPredictor(Predictor):
    """The forward pass, jitted; the answer is waited for."""

    def __init__(self, task: Task, x: Floats, weights: Sequence[Floats]) -> None:
        import jax

        arrays = [jax.numpy.asarray(w) for w in weights]

        @jax.jit
        def forward(row: Any) -> Any:
            z = row
            for i, activation in enumerate(task.activations):
                z = z @ arrays[2 * i] + arrays[2 * i + 1]
                z = z if activation == "linear" else getattr(jax.nn, activation)(z)
            return jax.nn.softmax(z)

        self.rows = [jax.block_until_ready(jax.numpy.asarray(row)) for row in _single(x)]
        self.call = lambda row: forward(row).block_until_ready()


class OnnxPredictor(Predictor):
    """onnxruntime on one thread: for one row more threads only wait."""

    def __init__(self, task: Task, x: Floats, weights: Sequence[Floats]) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(onnx_model(task, weights), options, providers=["CPUExecutionProvider"])
        run = session.run
        self.rows = [{"x": row} for row in _single(x)]
        self.call = lambda row: run(None, row)[0]


def onnx_model(task: Task, weights: Sequence[Floats]) -> bytes:
    """The net as an ONNX file: Gemm, activation, ..., Softmax."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, value = [], "x"
    for i, activation in enumerate(task.activations):
        nodes.append(helper.make_node("Gemm", [value, f"w{2 * i}", f"w{2 * i + 1}"], [f"z{i}"]))
        value = f"z{i}"
        if activation != "linear":
            nodes.append(helper.make_node(activation.capitalize(), [value], [f"a{i}"]))
            value = f"a{i}"
    nodes.append(helper.make_node("Softmax", [value], ["p"], axis=1))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", task.widths[0]])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["rows", task.widths[-1]])],
        [numpy_helper.from_array(w, f"w{i}") for i, w in enumerate(weights)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


PREDICTORS: dict[str, Callable[[Task, Floats, Sequence[Floats]], Predictor]] = {
    "fastdense": FastdensePredictor,
    "torch": TorchPredictor,
    "jax": JaxPredictor,
    "numpy": NumpyPredictor,
    "onnxruntime": OnnxPredictor,
}
