"""The nets that are timed, one a row. A new case is a new row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from fastdense import datasets
from fastdense.cli.baselines import Task

Arrays = tuple[NDArray[Any], NDArray[Any]]
Goal = float | Literal["rising"]
EVERYWHERE = ("fastdense", "torch", "jax", "numpy")


@dataclass(frozen=True)
class Case:
    """One row: its name, the net and its training, its goals, its data and the libraries.

    `goals` tells how many times as fast as a library fastdense should be and, under "limit", which fraction of sgemm's
    rate it should reach ("rising": at least that of the row before); `of_limit` which fraction of the limit of
    fastdense.cli.limits, by instruction set. `also` are libraries beyond `EVERYWHERE`.
    `tolerance` is how far the libraries' mean training losses may differ, relatively, in each of the first `gate`
    epochs. Equal formulas in another order of sums end the first epoch 0.01 % apart; PyTorch, whose epsilon has another
    position, up to 0.14 %.
    Kind "predict" times predictions of single rows; its loss is that of the first 64 rows.
    """

    name: str
    task: Task
    goals: dict[str, Goal]
    data: str = "mnist"
    rows: int = 60000
    also: tuple[str, ...] = ()
    gate: int = 1
    tolerance: float = 0.005
    kind: Literal["train", "predict"] = "train"
    of_limit: Mapping[str, float] = field(default_factory=dict)

    @property
    def flops(self) -> int:
        """Multiply-adds times two of one epoch's (one call's) matrix products; the gradient of x is not needed."""
        products = [n * u for n, u in zip(self.task.widths, self.task.widths[1:], strict=False)]
        return 2 * sum(products) if self.kind == "predict" else 2 * self.rows * (3 * sum(products) - products[0])


def _identity(layers: int, dtype: Literal["float32", "bfloat16"] = "float32") -> Task:
    widths = (784,) * (layers + 1)
    return Task(widths, "mse", "rmsprop", 1e-3, 128, scale=1.0, output="relu", target="x", dtype=dtype)


def _classifier(*widths: int, scale: float = 1.0) -> Task:
    return Task(widths, "crossentropy", "adam", 1e-3, 128, scale)


def _bounds(avx2: float, avx512: float) -> dict[str, float]:
    return {"avx2": avx2, "avx512": avx512}


def _narrow(width: int, torch: float, jax: float, avx2: float, avx512: float) -> Case:
    goals: dict[str, Goal] = {"torch": torch, "jax": jax, "limit": "rising"}
    of_limit = _bounds(avx2, avx512)
    return Case(
        f"width-{width}", _classifier(10, width, width, 10), goals, "normal10", 12800, gate=3, of_limit=of_limit
    )


def _tiny(name: str, batch_size: int, torch: float, jax: float) -> Case:
    task = Task((2, 3, 1), "mse", "adam", 1e-3, batch_size, scale=1.0)
    return Case(name, task, {"torch": torch, "jax": jax}, "product2", 1024, gate=5)


CASES = (
    Case(
        "identity-1",
        _identity(1),
        {"torch": 2.4, "jax": 1.2, "limit": 0.88},
        also=("keras",),
        of_limit=_bounds(0.88, 0.93),
    ),
    # Pixels of 0 to 255 and four ReLU layers amplify rounding, as units die or live: NumPy, JAX and PyTorch end the
    # epoch up to 1.5 % apart.
    Case(
        "identity-4",
        _identity(4),
        {"torch": 2.0, "jax": 1.12, "limit": 0.90},
        also=("keras",),
        tolerance=0.03,
        of_limit=_bounds(0.92, 0.95),
    ),
    # bfloat16 keeps 8 bits of each factor; PyTorch's own bfloat16 (autocast) ends up to 1.5 % from float32 as well.
    Case("identity-4-bf16", _identity(4, "bfloat16"), {"torch": 3.6, "jax": 2.0}, tolerance=0.05),
    Case(
        "mnist-128",
        _classifier(784, 128, 10, scale=1 / 255),
        {"torch": 3.2, "jax": 1.5, "limit": 0.80},
        also=("keras", "sklearn"),
        of_limit=_bounds(0.82, 0.85),
    ),
    Case(
        "mnist-512-256",
        _classifier(784, 512, 256, 10, scale=1 / 255),
        {"torch": 2.6, "jax": 1.25, "limit": 0.88},
        also=("sklearn",),
        of_limit=_bounds(0.88, 0.90),
    ),
    # The net of a well-known course: sigmoid hidden units, plain gradient descent on all rows at once; its end is here
    # softmax and cross-entropy.
    Case(
        "exercise4",
        Task((400, 25, 10), "crossentropy", "sgd", 0.5, 5000, scale=1 / 255, hidden="sigmoid"),
        {"torch": 3.5, "jax": 3.5, "limit": 0.75},
        data="digits400",
        rows=5000,
        gate=5,
        of_limit=_bounds(0.85, 0.85),
    ),
    _narrow(32, torch=25, jax=4, avx2=0.6, avx512=0.7),
    _narrow(46, torch=18, jax=3.5, avx2=0.65, avx512=0.7),
    _narrow(64, torch=15, jax=3.2, avx2=0.7, avx512=0.7),
    _narrow(128, torch=7, jax=2.8, avx2=0.84, avx512=0.84),
    _narrow(256, torch=3, jax=2, avx2=0.9, avx512=0.9),
    _tiny("tiny-32", batch_size=32, torch=1000, jax=30),
    _tiny("tiny-full", batch_size=1024, torch=90, jax=60),
    Case(
        "predict-one",
        _classifier(784, 128, 10, scale=1 / 255),
        {"torch": 5, "onnxruntime": 2.5},
        rows=64,
        also=("onnxruntime",),
        kind="predict",
    ),
)


def _mnist(rows: int) -> tuple[str, Arrays]:
    """MNIST if it is on this machine, else random images of the same shape (the timings do not depend on which)."""
    if datasets.has_local("mnist"):
        (x, y), _ = datasets.load_mnist()
        return "MNIST", (x[:rows], y[:rows])
    random = np.random.RandomState(0)
    x = np.maximum(random.randint(-600, 256, (rows, 28, 28)), 0).astype(np.uint8)  # mostly black, as MNIST is
    return "random images", (x, random.randint(0, 10, rows).astype(np.uint8))


def load(data: str, rows: int) -> tuple[str, Arrays]:
    """What the data is called, and (x, y)."""
    random = np.random.RandomState(0)
    if data == "mnist":
        return _mnist(rows)
    if data == "digits400":
        title, (x, y) = _mnist(rows)
        return f"{title}, middle 20×20", (x[:, 4:24, 4:24], y)
    if data == "product2":
        x = random.uniform(-1, 1, (rows, 2)).astype(np.float32)
        return "y = x₁x₂", (x, x[:, :1] * x[:, 1:])
    assert data.startswith("normal"), data
    x = random.standard_normal((rows, int(data[len("normal") :]))).astype(np.float32)
    labels = (x @ random.standard_normal((x.shape[1], 10))).argmax(axis=1)
    return "normal x, classes from a linear map", (x, cast("NDArray[Any]", labels.astype(np.uint8)))
