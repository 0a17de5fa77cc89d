"""Baselines: the same net in plain NumPy and in PyTorch, with the same initial weights, batches and formulas.

A baseline runs in its own process (`python -m fastdense.cli.baselines NAME TASK`), so that no library's threads
disturb another's. For every line "epoch" on its standard input it trains one epoch and prints one line of JSON:
seconds, loss and accuracy.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from ..reference.rng import shuffle_indices

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Task:
    """Dense layers, trained with Keras's Adam, RMSprop or plain SGD.

    `loss` is "crossentropy" (softmax over the last layer, labels are class numbers) or "mse" (with `output` as the
    activation of the last layer). A batch that holds all rows is not shuffled.
    """

    widths: tuple[int, ...]
    loss: Literal["crossentropy", "mse"]
    optimizer: Literal["adam", "rmsprop", "sgd"]
    learning_rate: float
    batch_size: int
    scale: float  # factor of x, applied once when the data is read
    seed: int = 0
    hidden: Literal["relu", "sigmoid"] = "relu"
    output: Literal["relu", "linear"] = "linear"
    target: Literal["x", "y"] = "y"
    dtype: Literal["float32", "bfloat16"] = "float32"  # of fastdense; baselines always compute in float32

    @property
    def activations(self) -> list[str]:
        """One per layer; the last one before softmax."""
        last = self.output if self.loss == "mse" else "linear"
        return [*[self.hidden] * (len(self.widths) - 2), last]


@dataclass(frozen=True)
class Epoch:
    """Result of one epoch: time, mean training loss, and accuracy on the test rows afterwards (nan for mse)."""

    seconds: float
    loss: float
    accuracy: float


class BaselineNet(Protocol):
    """A net in another library; `train` runs one epoch over the rows in this order and returns the mean loss."""

    def train(self, order: NDArray[np.intp]) -> float: ...

    def classes(self, x: Floats) -> NDArray[np.intp]: ...


class NumpyNet:
    """The textbook net: float32, a matrix product per layer and direction, whole-array updates in place."""

    def __init__(self, task: Task, x: Floats, y: NDArray[Any], weights: Sequence[Floats]) -> None:
        self.task, self.x, self.y = task, x, y
        self.weights = [w.copy() for w in weights]
        self.first = [np.zeros_like(w) for w in weights]
        self.second = [np.zeros_like(w) for w in weights]
        self.step = 0

    def forward(self, x: Floats) -> list[Floats]:
        """The input and the output of every layer; the last one before softmax."""
        outputs = [x]
        for i, activation in enumerate(self.task.activations):
            z = outputs[-1] @ self.weights[2 * i]
            z += self.weights[2 * i + 1]
            if activation == "relu":
                np.maximum(z, 0, out=z)
            elif activation == "sigmoid":
                np.negative(z, out=z)
                np.exp(z, out=z)
                z += 1.0
                np.reciprocal(z, out=z)
            outputs.append(z)
        return outputs

    @staticmethod
    def apply_derivative(activation: str, output: Floats, delta: Floats) -> None:
        """Multiply a gradient by the activation's derivative, computed from its output."""
        if activation == "relu":
            delta *= output > 0
        elif activation == "sigmoid":
            delta *= output
            delta *= 1.0 - output

    def loss_and_delta(self, z: Floats, y: NDArray[Any]) -> tuple[float, Floats]:
        """The batch's mean loss and its gradient with respect to the last layer's pre-activations."""
        rows = len(z)
        if self.task.loss == "mse":
            delta = z - y
            loss = float(np.vdot(delta, delta)) / z.size
            self.apply_derivative(self.task.output, z, delta)
            delta *= 2.0 / z.size
            return loss, delta
        z = z - z.max(axis=1, keepdims=True)
        p = np.exp(z)
        total = p.sum(axis=1, keepdims=True)
        hit = np.arange(rows), y
        loss = float((np.log(total[:, 0]) - z[hit]).mean())
        p /= total
        p[hit] -= 1.0
        p /= rows
        return loss, p

    def train(self, order: NDArray[np.intp]) -> float:
        total = 0.0
        size = self.task.batch_size
        for start in range(0, len(order), size):
            rows = order[start : start + size] if size < len(order) else slice(None)
            outputs = self.forward(self.x[rows])
            target = outputs[0] if self.task.target == "x" else self.y[rows]
            loss, delta = self.loss_and_delta(outputs[-1], target)
            total += loss * len(outputs[0])
            gradients: list[Floats] = []
            for layer in range(len(outputs) - 2, -1, -1):
                gradients[:0] = [outputs[layer].T @ delta, delta.sum(axis=0)]
                if layer:
                    delta = delta @ self.weights[2 * layer].T
                    self.apply_derivative(self.task.hidden, outputs[layer], delta)
            self.update(gradients)
        return total / len(order)

    def update(self, gradients: Sequence[Floats]) -> None:
        """Keras's Adam (0.9, 0.999, 1e-7), RMSprop (0.9, 1e-7) or SGD."""
        self.step += 1
        rate = self.task.learning_rate
        if self.task.optimizer == "sgd":
            for w, g in zip(self.weights, gradients, strict=True):
                g *= rate
                w -= g
            return
        adam = self.task.optimizer == "adam"
        if adam:
            rate *= (1.0 - 0.999**self.step) ** 0.5 / (1.0 - 0.9**self.step)
        keep = 0.999 if adam else 0.9
        for w, g, m, v in zip(self.weights, gradients, self.first, self.second, strict=True):
            scratch = g * g
            scratch *= 1.0 - keep
            v *= keep
            v += scratch
            if adam:
                np.sqrt(v, out=scratch)
                scratch += 1e-7
                m *= 0.9
                g *= 0.1
                m += g
                np.divide(m, scratch, out=scratch)
            else:
                np.add(v, 1e-7, out=scratch)
                np.sqrt(scratch, out=scratch)
                np.divide(g, scratch, out=scratch)
            scratch *= rate
            w -= scratch

    def classes(self, x: Floats) -> NDArray[np.intp]:
        return np.asarray(self.forward(x)[-1].argmax(axis=1), np.intp)


class TorchNet:
    """The same net in eager PyTorch the way its guides advise: batches by indexing, fused Adam, no DataLoader.

    PyTorch adds epsilon outside the square root: negligible for Adam's 1e-7; RMSprop's becomes sqrt(1e-7), so that
    the smallest divisor is the same as Keras's.
    """

    def __init__(self, task: Task, x: Floats, y: NDArray[Any], weights: Sequence[Floats]) -> None:
        import torch

        self.torch, self.task = torch, task
        self.x = torch.from_numpy(x)
        layers: list[Any] = []
        for i, (inputs, units) in enumerate(zip(task.widths, task.widths[1:], strict=False)):
            layer = torch.nn.Linear(inputs, units)
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(weights[2 * i].T))
                layer.bias.copy_(torch.from_numpy(weights[2 * i + 1]))
            layers.append(layer)
            if task.activations[i] != "linear":
                layers.append(torch.nn.ReLU() if task.activations[i] == "relu" else torch.nn.Sigmoid())
        self.net = torch.nn.Sequential(*layers)
        if task.loss == "mse":
            self.loss, self.y = torch.nn.MSELoss(), self.x if task.target == "x" else torch.from_numpy(y)
        else:
            self.loss, self.y = torch.nn.CrossEntropyLoss(), torch.from_numpy(y.astype(np.int64))
        parameters = self.net.parameters()
        if task.optimizer == "adam":
            self.optimizer = torch.optim.Adam(parameters, task.learning_rate, eps=1e-7, fused=True)
        elif task.optimizer == "rmsprop":
            self.optimizer = torch.optim.RMSprop(parameters, task.learning_rate, alpha=0.9, eps=1e-7**0.5)
        else:
            self.optimizer = torch.optim.SGD(parameters, task.learning_rate, fused=True)

    def train(self, order: NDArray[np.intp]) -> float:
        size, total = self.task.batch_size, 0.0
        whole = size >= len(order)
        for rows in [slice(None)] if whole else self.torch.from_numpy(order).split(size):
            x = self.x[rows]
            loss = self.loss(self.net(x), x if self.task.target == "x" else self.y[rows])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += float(loss.detach()) * len(x)
        return total / len(order)

    def classes(self, x: Floats) -> NDArray[np.intp]:
        with self.torch.no_grad():
            return cast("NDArray[np.intp]", self.net(self.torch.from_numpy(x)).argmax(1).numpy())


BASELINES: dict[str, type[NumpyNet] | type[TorchNet]] = {"numpy": NumpyNet, "torch": TorchNet}


def untuned() -> dict[str, str]:
    """The environment without OpenBLAS's variables, which could disable NumPy's best kernels."""
    return {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}


class Baseline:
    """Process of a baseline. `epoch()` trains one more epoch in it; use it in a `with` statement.

    `module` is the module that it runs, with its first arguments.
    """

    def __init__(self, name: str, task: Path, module: Sequence[str] = ("fastdense.cli.baselines",)) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, "-m", *module, name, str(task)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=untuned(),
        )

    def epoch(self) -> Epoch:
        self.say("epoch")
        return Epoch(**self.answer())

    def say(self, line: str) -> None:
        """Send one line to the process."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # `answer` raises then
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Wait for a line of JSON from the process."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(
                f"the {self.name} process ended with exit code {self.process.wait()}; see its error above"
            )
        return cast("dict[str, Any]", json.loads(line))

    def __enter__(self) -> Baseline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.communicate()


def write_task(
    path: Path, task: Task, train: tuple[Any, Any], test: tuple[Any, Any], weights: Sequence[NDArray[Any]]
) -> None:
    """Write the task, data and weights into one npz file. Data is (x, y) as loaded; x need not be 2-D."""
    arrays: dict[str, Any] = {f"w{i}": w for i, w in enumerate(weights)}
    arrays.update(x_train=train[0], y_train=train[1], x_test=test[0], y_test=test[1])
    np.savez(path, task=json.dumps(asdict(task)), **arrays)


def as_rows(x: NDArray[Any], scale: float) -> Floats:
    """Rows of float32, scaled."""
    return np.ascontiguousarray(x.reshape(len(x), -1) * np.float32(scale), dtype=np.float32)


def read_task(path: Path) -> tuple[Task, tuple[Floats, NDArray[Any]], tuple[Floats, NDArray[Any]], list[Floats]]:
    """Read what `write_task` wrote, with x scaled."""
    with np.load(path) as file:
        fields = json.loads(str(file["task"]))
        task = Task(**{**fields, "widths": tuple(fields["widths"])})
        weights = [file[f"w{i}"].astype(np.float32) for i in range(2 * len(task.widths) - 2)]
        train = as_rows(file["x_train"], task.scale), file["y_train"]
        return task, train, (as_rows(file["x_test"], task.scale), file["y_test"]), weights


def serve(name: str, path: Path) -> None:
    """Run the baseline `name`: read the task, then train one epoch per line of standard input."""
    task, (x, y), (x_test, y_test), weights = read_task(path)
    net: BaselineNet = BASELINES[name](task, x, y, weights)
    for epoch, _ in enumerate(sys.stdin):
        order = np.asarray(shuffle_indices(len(x), task.seed, epoch), np.intp)
        start = time.perf_counter()
        loss = net.train(order)
        seconds = time.perf_counter() - start
        accuracy = float((net.classes(x_test) == y_test).mean()) if task.loss == "crossentropy" else float("nan")
        print(json.dumps(asdict(Epoch(seconds, loss, accuracy))), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]))
