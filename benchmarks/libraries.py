"""The same training in each library, as its own guides recommend; NumPy and PyTorch: `fastdense.cli.baselines`.

Each class takes the task, the data and the initial weights, and has three methods: `restart` resets them,
`prepare` turns the orders of the rows, one an epoch, into what the library wants (not timed), and `train` trains one
epoch per order and returns the mean loss of each (timed).
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastdense.cli import baselines
from fastdense.cli.baselines import Floats, Task
from fastdense.cli.model import compile_model, make_model

Orders = Sequence[NDArray[np.intp]]


class Trainer(Protocol):
    """What the process of a library drives."""

    def restart(self) -> None: ...

    def prepare(self, orders: Orders) -> Any: ...

    def train(self, orders: Any) -> Sequence[float]: ...


class FastdenseTrainer:
    """One `fit` of as many epochs as asked for: what is timed is what a user calls. It makes the orders itself."""

    def __init__(self, task: Task, x: Floats, y: NDArray[Any], weights: Sequence[Floats]) -> None:
        self.task, self.x, self.weights = task, x, weights
        self.y = x if task.target == "x" else y
        self.shuffle = task.batch_size < len(x)
        self.model = make_model(task)

    def restart(self) -> None:
        self.model.set_weights(self.weights)
        compile_model(self.model, self.task)

    def prepare(self, orders: Orders) -> int:
        return len(orders)

    def train(self, orders: int) -> Sequence[float]:
        history = self.model.fit(
            self.x, self.y, batch_size=self.task.batch_size, epochs=orders, shuffle=self.shuffle, verbose=0
        )
        losses: list[float] = history.history["loss"]
        return losses


class EpochTrainer:
    """A net of fastdense.cli.baselines: one epoch a call."""

    def __init__(self, name: str, *arguments: Any) -> None:
        self.make: Callable[[], baselines.BaselineNet] = lambda: baselines.BASELINES[name](*arguments)
        self.net = self.make()

    def restart(self) -> None:
        self.net = self.make()

    def prepare(self, orders: Orders) -> Orders:
        return orders

    def train(self, orders: Orders) -> Sequence[float]:
        return [self.net.train(order) for order in orders]


class JaxTrainer:
    """All epochs in one jitted call: a scan over epochs of a scan over batches, which takes the rows on the device.

    Parameters and optimizer state are donated. Which formulation of the scan is fastest depends on the net, so that
    small ones try several and keep the best; a whole epoch's rows gathered at once only pays where they fit the cache.
    """

    VARIANTS = (("step", 1), ("step", 4), ("epoch", 4))  # when rows are gathered, unrolled steps
    SMALL = 1 << 20  # elements of x; larger data is gathered step by step, where unrolling changes nothing

    def __init__(self, task: Task, x: Floats, y: NDArray[Any], weights: Sequence[Floats]) -> None:
        import jax

        self.jax, self.task, self.rows, self.start = jax, task, len(x), weights
        self.x = jax.numpy.asarray(x)
        self.y = self.x if task.target == "x" else jax.numpy.asarray(y if task.loss == "mse" else y.astype(np.int32))
        self.variant = self.VARIANTS[0]
        self.run = self._compiled(*self.variant)
        if x.size <= self.SMALL and task.batch_size < len(x):
            self._choose()

    def _choose(self) -> None:
        orders = self.prepare([np.random.RandomState(0).permutation(self.rows)] * 8)
        best = np.inf
        for variant in self.VARIANTS:
            self.run = self._compiled(*variant)
            for attempt in range(4):
                self.restart()
                begin = time.perf_counter()
                self.train(orders)
                seconds = time.perf_counter() - begin
                if attempt and seconds < best:
                    best, self.variant = seconds, variant
        self.run = self._compiled(*self.variant)

    def _loss(self, weights: Sequence[Any], x: Any, y: Any) -> Any:
        jnp, nn = self.jax.numpy, self.jax.nn
        apply = {"relu": nn.relu, "sigmoid": nn.sigmoid, "linear": lambda z: z}
        z = x
        for i, activation in enumerate(self.task.activations):
            z = apply[activation](z @ weights[2 * i] + weights[2 * i + 1])
        if self.task.loss == "mse":
            return jnp.mean((z - y) ** 2)
        return -jnp.mean(jnp.take_along_axis(nn.log_softmax(z), y[:, None], axis=1))

    def _update(self, step: Any, weights: Any, gradients: Any, first: Any, second: Any) -> tuple[Any, Any, Any]:
        """Keras's formulas, as in `baselines.NumpyNet.update`."""
        sqrt, rate = self.jax.numpy.sqrt, self.task.learning_rate
        if self.task.optimizer == "sgd":
            return [w - rate * g for w, g in zip(weights, gradients, strict=True)], first, second
        keep = 0.999 if self.task.optimizer == "adam" else 0.9
        second = [keep * v + (1.0 - keep) * g * g for v, g in zip(second, gradients, strict=True)]
        if self.task.optimizer == "rmsprop":
            moves = [g / sqrt(v + 1e-7) for g, v in zip(gradients, second, strict=True)]
        else:
            rate = rate * sqrt(1.0 - 0.999**step) / (1.0 - 0.9**step)
            first = [0.9 * m + 0.1 * g for m, g in zip(first, gradients, strict=True)]
            moves = [m / (sqrt(v) + 1e-7) for m, v in zip(first, second, strict=True)]
        return [w - rate * move for w, move in zip(weights, moves, strict=True)], first, second

    def _compiled(self, gather: str, unroll: int) -> Any:
        jax, n, size = self.jax, self.rows, self.task.batch_size
        full = n // size  # whole batches; what is left over makes a shorter one

        def step(state: Any, x: Any, y: Any) -> tuple[Any, Any]:
            weights, first, second, count = state
            loss, gradients = jax.value_and_grad(self._loss)(weights, x, y)
            return (*self._update(count + 1.0, weights, gradients, first, second), count + 1.0), loss * len(x)

        def epoch(state: Any, order: Any, x: Any, y: Any) -> tuple[Any, Any]:
            if size >= n:
                state, loss = step(state, x, y)
                return state, loss / n
            rows = order[: full * size].reshape(full, size)
            if gather == "epoch":
                batches = (x[rows], y[rows])
                state, losses = jax.lax.scan(lambda s, batch: step(s, *batch), state, batches, unroll=unroll)
            else:
                state, losses = jax.lax.scan(lambda s, r: step(s, x[r], y[r]), state, rows, unroll=unroll)
            total = losses.sum()
            if full * size < n:
                rest = order[full * size :]
                state, loss = step(state, x[rest], y[rest])
                total += loss
            return state, total / n

        def run(state: Any, orders: Any, x: Any, y: Any) -> tuple[Any, Any]:
            return jax.lax.scan(lambda s, order: epoch(s, order, x, y), state, orders)

        return jax.jit(run, donate_argnums=0)

    def restart(self) -> None:
        jnp = self.jax.numpy
        zeros = [[jnp.zeros(w.shape, jnp.float32) for w in self.start] for _ in range(2)]
        self.state = self.jax.block_until_ready(([jnp.array(w) for w in self.start], *zeros, jnp.float32(0)))

    def prepare(self, orders: Orders) -> Any:
        return self.jax.block_until_ready(self.jax.numpy.asarray(np.stack(orders).astype(np.int32)))

    def train(self, orders: Any) -> Sequence[float]:
        self.state, losses = self.jax.block_until_ready(self.run(self.state, orders, self.x, self.y))
        return np.asarray(losses).tolist()  # type: ignore[no-any-return]


class KerasTrainer:
    """Keras 3 on JAX, its fastest backend here. It cannot follow an order, so that it gets the rows in that order."""

    def __init__(self, task: Task, x: Floats, y: NDArray[Any], weights: Sequence[Floats]) -> None:
        import keras

        self.keras, self.task, self.x, self.weights = keras, task, x, weights
        self.y = None if task.target == "x" else y
        last = task.output if task.loss == "mse" else "softmax"
        activations = [*task.activations[:-1], last]
        layers = [keras.layers.Dense(n, activation=a) for n, a in zip(task.widths[1:], activations, strict=True)]
        self.model = keras.Sequential([keras.Input((task.widths[0],)), *layers])

    def restart(self) -> None:
        optimizers, rate = self.keras.optimizers, self.task.learning_rate
        optimizer = {"adam": optimizers.Adam, "rmsprop": optimizers.RMSprop, "sgd": optimizers.SGD}[self.task.optimizer]
        loss = "mse" if self.task.loss == "mse" else "sparse_categorical_crossentropy"
        self.model.set_weights(self.weights)
        self.model.compile(optimizer(rate), loss)

    def prepare(self, orders: Orders) -> Orders:
        # A compiled model traces at its first batch, which is not what is timed.
        x, y = self.x[: self.task.batch_size], self.x if self.y is None else self.y
        self.model.fit(x, y[: len(x)], batch_size=self.task.batch_size, verbose=0)
        rest = len(self.x) % self.task.batch_size
        if rest:
            self.model.fit(x[:rest], y[:rest], batch_size=self.task.batch_size, verbose=0)
        self.model.set_weights(self.weights)
        for variable in self.model.optimizer.variables:
            if "learning_rate" not in variable.path:
                variable.assign(np.zeros(variable.shape))
        return orders

    def train(self, orders: Orders) -> Sequence[float]:
        losses = []
        for order in orders:
            x = self.x[order]
            y = x if self.y is None else self.y[order]
            history = self.model.fit(x, y, batch_size=self.task.batch_size, shuffle=False, verbose=0)
            losses.append(float(history.history["loss"][0]))
        return losses


class SklearnTrainer:
    """scikit-learn's MLPClassifier, an epoch a `partial_fit`. It gets the rows in order, too."""

    def __init__(self, task: Task, x: Floats, y: NDArray[Any], weights: Sequence[Floats]) -> None:
        from sklearn.neural_network import MLPClassifier

        self.x, self.y, self.weights = x, y, weights
        self.make = lambda: MLPClassifier(
            task.widths[1:-1],
            activation="relu" if task.hidden == "relu" else "logistic",
            solver="adam",
            alpha=0.0,
            batch_size=task.batch_size,
            learning_rate_init=task.learning_rate,
            epsilon=1e-7,
            shuffle=False,
        )

    def restart(self) -> None:
        self.model, size = self.make(), self.model_rows()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # fewer rows than a batch
            self.model.partial_fit(self.x[:size], self.y[:size], classes=np.unique(self.y))
        self.model.coefs_ = [w.copy() for w in self.weights[::2]]
        self.model.intercepts_ = [w.copy() for w in self.weights[1::2]]
        del self.model._optimizer  # so that the next call starts a new one, on these weights

    def model_rows(self) -> int:
        """Rows that are enough to make its arrays."""
        return min(32, len(self.x))

    def prepare(self, orders: Orders) -> Orders:
        return orders

    def train(self, orders: Orders) -> Sequence[float]:
        losses = []
        for order in orders:
            self.model.partial_fit(self.x[order], self.y[order])
            losses.append(float(self.model.loss_))
        return losses


TRAINERS: dict[str, Callable[..., Trainer]] = {
    "fastdense": FastdenseTrainer,
    "torch": lambda *arguments: EpochTrainer("torch", *arguments),
    "jax": JaxTrainer,
    "numpy": lambda *arguments: EpochTrainer("numpy", *arguments),
    "keras": KerasTrainer,
    "sklearn": SklearnTrainer,
}
