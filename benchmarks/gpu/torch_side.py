"""PyTorch's ways to train the same net on a GPU, from the plainest to the one that leaves least to be saved.

What is trained (`Net`, `Nets`) and how its steps are issued (`Eager`, `Body`, `Graph`) are apart. Data, batches and
losses stay on the device; no step waits for the device before the end of a turn.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.gpu.cases import ORDERS, STEPS
from benchmarks.gpu.setting import Setting, Trainer, first_line
from fastdense.cli import baselines
from fastdense.reference.rng import shuffle_indices


def batches(setting: Setting) -> Tensor | None:
    """Row numbers of all steps of `ORDERS` epochs, (steps, batch size), in fastdense's order."""
    if setting.whole:
        return None
    rows, size, steps = len(setting.x), setting.task.batch_size, setting.steps
    orders = [shuffle_indices(rows, setting.task.seed, epoch)[: steps * size] for epoch in range(ORDERS)]
    return torch.from_numpy(np.stack(orders).reshape(ORDERS * steps, size).astype(np.int64)).to(setting.device)


class Problem(torch.nn.Module):
    """A net with its data, batches and optimizer. Everything is a buffer, hence at one address, as graphs need it."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.setting, self.notes = setting, list[str]()
        self.register_buffer("batches", batches(setting))

    def finish(self, x: Tensor, y: Tensor | None, optimizer: torch.optim.Optimizer) -> None:
        """Take the data; `y` None: the target is x."""
        self.register_buffer("x", x)
        self.register_buffer("y", y)
        self.optimizer, self.loss_of, self.loss_at = optimizer, self.forward, self.loss_of_step
        self.start = [p.detach().clone() for p in self.learned()]

    def learned(self) -> list[Tensor]:
        """What the optimizer changes."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def use_compiled(self, mode: str | None) -> None:
        """Compile loss and gradient; that they cannot be compiled shows at the first step."""
        self.loss_of = torch.compile(self.forward, mode=mode, dynamic=False, fullgraph=True)
        self.loss_at = torch.compile(self.loss_of_step, mode=mode, dynamic=False, fullgraph=True)

    def use_plain(self, reason: Exception) -> None:
        """Go on without the compiler."""
        self.loss_of, self.loss_at = self.forward, self.loss_of_step
        self.notes.append(f"not compiled: {first_line(reason)}")

    def use_in_graphs(self) -> None:
        """Keep the optimizer's count of steps on the device, too."""
        for group in self.optimizer.param_groups:
            if "capturable" in group:
                group["capturable"] = self.setting.device == "cuda"

    def loss_of_step(self, slot: Tensor) -> Any:
        """`forward` of the batch whose number the tensor `slot` (1,) holds."""
        return self.forward(None if self.batches is None else self.batches.index_select(0, slot).reshape(-1))

    def restart(self) -> None:
        """Reset to the initial weights, in place."""
        with torch.no_grad():
            for p, start in zip(self.learned(), self.start, strict=True):
                p.copy_(start)
        for state in self.optimizer.state.values():
            for value in state.values():
                if isinstance(value, Tensor):
                    value.zero_()

    def step(self, loss: Callable[[Any], Any], which: Tensor | None) -> Tensor:
        """One step with `loss_of` or `loss_at`; returns the mean loss."""
        self.optimizer.zero_grad()
        mean = self.find_gradients(loss(which))
        self.optimizer.step()
        return mean

    def find_gradients(self, found: Any) -> Tensor:
        """Put the gradients where the optimizer looks for them, from what the loss gave; returns its mean."""
        raise NotImplementedError


class Net(Problem):
    """One net by autograd: `fastdense.cli.baselines.TorchNet` on the device; bfloat16 by autocast."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        plain = baselines.TorchNet(setting.task, setting.x, setting.y, setting.weights)
        self.device, self.mixed = setting.device, setting.task.dtype == "bfloat16"
        self.net, self.criterion = plain.net.to(setting.device), plain.loss
        y = None if setting.task.target == "x" else plain.y.to(setting.device)
        self.finish(plain.x.to(setting.device), y, plain.optimizer)

    def forward(self, rows: Tensor | None) -> Tensor:
        x = self.x if rows is None else self.x[rows]
        y = x if self.y is None else self.y if rows is None else self.y[rows]
        with torch.autocast(self.device, torch.bfloat16, enabled=self.mixed):
            return self.criterion(self.net(x), y)

    def find_gradients(self, found: Tensor) -> Tensor:
        found.backward()
        return found.detach()


class Nets(Problem):
    """Many nets by torch.func: tensors are stacked, all nets see the same batches."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        assert setting.task.optimizer == "adam" and setting.task.dtype == "float32", "no case asks for anything else"
        self.stacked = [torch.tensor(w, device=setting.device) for w in setting.weights]
        optimizer = torch.optim.Adam(self.stacked, setting.task.learning_rate, eps=1e-7, fused=True)
        y = setting.y if setting.task.loss == "mse" else setting.y.astype(np.int64)
        x, target = torch.from_numpy(setting.x), torch.from_numpy(y)
        self.finish(x.to(setting.device), target.to(setting.device), optimizer)
        each = torch.func.grad_and_value(self.loss_of_one)
        self.all_nets = torch.func.vmap(each, in_dims=(0, None, None))

    def loss_of_one(self, weights: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
        """The mean loss of one net."""
        apply: dict[str, Callable[[Tensor], Tensor]] = {
            "relu": functional.relu,
            "sigmoid": torch.sigmoid,
            "linear": lambda z: z,
        }
        z = x
        for i, activation in enumerate(self.setting.task.activations):
            z = apply[activation](z @ weights[2 * i] + weights[2 * i + 1])
        return functional.mse_loss(z, y) if self.setting.task.loss == "mse" else functional.cross_entropy(z, y)

    def forward(self, rows: Tensor | None) -> Any:
        x, y = (self.x, self.y) if rows is None else (self.x[rows], self.y[rows])
        return self.all_nets(self.stacked, x, y)

    def find_gradients(self, found: Any) -> Tensor:
        gradients, losses = found
        for p, g in zip(self.stacked, gradients, strict=True):
            p.grad = g
        return losses.mean()  # type: ignore[no-any-return]


class Eager:
    """One call from Python a step. The loss stays on the device until a turn is over."""

    one_off = False

    def __init__(self, problem: Problem, mode: str | None = None, compiled: bool = False) -> None:
        self.problem, self.notes, self.compiled = problem, problem.notes, compiled
        self.steps = problem.setting.steps
        self.losses = torch.zeros(ORDERS * self.steps, device=problem.setting.device)
        if compiled:
            problem.use_compiled(mode)
        self.train(1)

    def restart(self) -> None:
        self.problem.restart()

    def step(self, slot: int) -> None:
        if self.compiled:
            torch.compiler.cudagraph_mark_step_begin()
        rows = None if self.problem.batches is None else self.problem.batches[slot]
        self.losses[slot] = self.problem.step(self.problem.loss_of, rows)

    def issue(self, steps: int) -> None:
        """So many steps from the first batch on."""
        for i in range(steps):
            self.step(i % len(self.losses))

    def train(self, epochs: int) -> list[float]:
        """Mean losses of the epochs, of `ORDERS` at most (then the latest)."""
        self.issue(epochs * self.steps)
        means = self.losses.reshape(ORDERS, self.steps).mean(dim=1)
        return means.tolist()[:epochs]  # type: ignore[no-any-return]

    def launches(self) -> float | None:
        return None  # only a profiler could tell, and a process that had one is slower afterwards


class Body(Eager):
    """A step without a word from the host: the batch's number, too, is on the device. What `Graph` captures."""

    def __init__(self, problem: Problem, compiled: bool = False) -> None:
        self.slot = torch.zeros(1, dtype=torch.int64, device=problem.setting.device)
        problem.use_in_graphs()
        super().__init__(problem, None, compiled)

    def restart(self) -> None:
        super().restart()
        self.slot.zero_()

    def step(self, slot: int = 0) -> None:
        loss = self.problem.step(self.problem.loss_at, self.slot)
        self.losses.index_copy_(0, self.slot, loss.reshape(1))
        self.slot.add_(1).remainder_(len(self.losses))


def check_graphs(device: str) -> None:
    """Refuse a device that has no graphs."""
    if device != "cuda":
        raise NotImplementedError("a CUDA graph needs a CUDA device")


def new_graph() -> torch.cuda.CUDAGraph:
    """A graph that keeps what was captured, so that it can be counted, where this PyTorch can do that."""
    try:
        return torch.cuda.CUDAGraph(keep_graph=True)
    except TypeError:
        return torch.cuda.CUDAGraph()


def nodes(graph: torch.cuda.CUDAGraph) -> int | None:
    """Kernels, copies and fills that a graph holds; None where PyTorch does not give it out."""
    count = ctypes.c_size_t()
    try:
        runtime = ctypes.CDLL(f"libcudart.so.{str(torch.version.cuda).partition('.')[0]}")
        failed = runtime.cudaGraphGetNodes(ctypes.c_void_p(graph.raw_cuda_graph()), None, ctypes.byref(count))
    except (AttributeError, OSError, RuntimeError):
        return None
    return None if failed else count.value


class Graph(Body):
    """`Body` captured whole in one CUDA graph: a step is one launch. `steps` > 1: a second graph of so many."""

    def __init__(self, problem: Problem, compiled: bool = True, steps: int = 1) -> None:
        check_graphs(problem.setting.device)
        self.graphs: list[tuple[int, torch.cuda.CUDAGraph]] = []
        try:
            super().__init__(problem, compiled)
        except Exception as error:
            if not compiled:
                raise
            problem.use_plain(error)
            super().__init__(problem)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # a few steps beside the default stream first, as PyTorch asks for
            for _ in range(3):
                Body.step(self)
        torch.cuda.current_stream().wait_stream(side)
        for count in sorted({1, steps}, reverse=True):
            graph = new_graph()
            with torch.cuda.graph(graph):
                for _ in range(count):
                    Body.step(self)
            self.graphs.append((count, graph))

    def launches(self) -> float | None:
        count, graph = self.graphs[0]
        found = nodes(graph)
        return None if found is None else found / count

    def issue(self, steps: int) -> None:
        if not self.graphs:
            return super().issue(steps)
        for count, graph in self.graphs:
            for _ in range(steps // count):
                graph.replay()
            steps %= count


BASELINES: dict[str, Callable[[Setting], Trainer]] = {
    "torch": lambda setting: Eager(Net(setting)),
    "torch-compile": lambda setting: Eager(Net(setting), "reduce-overhead", compiled=True),
    "torch-graph": lambda setting: Graph(Net(setting)),
    "torch-graph-16": lambda setting: Graph(Net(setting), steps=STEPS),
    "vmap": lambda setting: Eager(Nets(setting)),
    "vmap-graph": lambda setting: Graph(Nets(setting), compiled=False),
    "vmap-compile-graph": lambda setting: Graph(Nets(setting)),
}


def make(name: str, setting: Setting) -> Trainer:
    """The baseline `name`, ready for its first turn."""
    torch.backends.cuda.matmul.allow_tf32 = setting.precision == "tf32"
    return BASELINES[name](setting)


def forget() -> None:
    """Drop what was compiled, and give memory back, before the next case."""
    torch._dynamo.reset()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def synchronise(device: str) -> None:
    """Wait until the device is done."""
    if device == "cuda":
        torch.cuda.synchronize()
