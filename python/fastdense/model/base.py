"""What a model is: its parts, its weights, copies of it and files with it. `model.py` adds what it does."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from .. import losses, metrics, optimizers
from ..arguments import keywords_checked, number, optional_text
from ..arrays import Array, as_array, fail
from ..callbacks import History
from ..data.rows import Shape
from ..engine.factory import check_device
from ..layers import Layer
from ..network import Net
from ..runners.single import Runner
from ..training.feasible import check_solver
from . import files as saving

B = TypeVar("B", bound="BaseModel")


class BaseModel:
    """Layers, a machine that computes, and how to train; see `fastdense.Model`."""

    @keywords_checked
    def __init__(
        self,
        layers: Sequence[Any],
        *,
        inputs: int,
        seed: int = 0,
        dtype: str = "float32",
        precision: str | None = None,
        device: str = "cpu",
        name: str | None = None,
    ) -> None:
        self.name = optional_text("Model: name", name) or "model"
        check_device(device)
        self.net = Net(layers, inputs, seed, dtype, precision)
        self.runner = Runner(self.net, device)
        self._optimizer: optimizers.Optimizer | None = None
        self._loss: losses.Loss | None = None
        self._metrics: list[metrics.Metric] = []
        self._loss_weight = 1.0
        self.stop_training = False
        self.history: History | None = None
        self.hinted = False  # whether `fit` has said that something is wrong

    # ---- what it is ------------------------------------------------------------------------------------------------

    @property
    def layers(self) -> list[Layer]:
        """The layers."""
        return list(self.net.layers)

    @property
    def inputs(self) -> int:
        """Number of columns of the data."""
        return self.net.inputs

    @property
    def outputs(self) -> int:
        """Number of outputs per row."""
        return self.net.outputs

    @property
    def seed(self) -> int:
        """The seed."""
        return self.net.seed

    @property
    def dtype(self) -> str:
        """Data type of the parameters; the reference engine works in float64 whatever this says."""
        return self.net.dtype

    @property
    def precision(self) -> str | None:
        """To what matrix products round their operands: "tf32", "bfloat16", or None if they do not."""
        return self.net.precision

    @property
    def device(self) -> str:
        """Where it is computed; `to` changes it."""
        return self.runner.device

    @property
    def compiled(self) -> bool:
        """Whether `compile` was called."""
        return self._loss is not None

    @property
    def optimizer(self) -> optimizers.Optimizer:
        """The optimizer; its `learning_rate` may be assigned at any time."""
        self._compiled_loss("optimizer")
        assert self._optimizer is not None
        return self._optimizer

    @property
    def loss(self) -> losses.Loss:
        """The loss."""
        return self._compiled_loss("loss")

    @property
    def loss_weights(self) -> float:
        """Factor of the loss, 1 unless `compile` was given another."""
        return self._loss_weight

    @property
    def _shape(self) -> Shape:
        """What checks of data need to know."""
        return Shape(self.net.inputs, self.net.outputs, self.net.dtype, self._loss_weight, self.device)

    @property
    def metrics(self) -> list[metrics.Metric]:
        """The metrics, empty before `compile`."""
        return list(self._metrics)

    @property
    def metrics_names(self) -> list[str]:
        """Names of what `evaluate` returns: "loss", then the metrics."""
        return ["loss", *(metric.name for metric in self._metrics)]

    @property
    def weights(self) -> list[Array]:
        """Same as `get_weights`."""
        return self.get_weights()

    def count_params(self) -> int:
        """Number of parameters, those that training does not change included."""
        return self.net.count()

    def summary(self, *, print_fn: Callable[[str], object] | None = None) -> None:
        """Print a table of the layers with their output shapes and parameters.

        Parameters
        ----------
        print_fn : callable, optional
            Gets the table as one string, in place of `print`.
        """
        (print if print_fn is None else print_fn)(self.net.summary(self.name))

    def __repr__(self) -> str:
        widths = " -> ".join(map(str, (self.inputs, *self.net.widths)))
        dtype = f"{self.dtype}, {self.precision}" if self.precision not in (None, self.dtype) else self.dtype
        return f"<Model {self.name!r} {widths}, {self.count_params():,} parameters, {dtype} on {self.device}>"

    # ---- compile ---------------------------------------------------------------------------------------------------

    @keywords_checked
    def compile(
        self, optimizer: Any = "rmsprop", loss: Any = None, *, metrics: Any = None, loss_weights: float | None = None
    ) -> None:
        """Choose how to train. The optimizer starts afresh; the parameters stay.

        Parameters
        ----------
        optimizer : str or Optimizer
        loss : str or Loss
        metrics : str, Metric or list of these, optional
        loss_weights : float, optional
            Factor of the loss, not of penalties and metrics; above 0. One over the targets' variance makes the mse
            of targets of any size a number about 1, and its gradient likewise.

        Raises
        ------
        ValueError, TypeError
            If a name is unknown, or a metric has no meaning for this loss and this number of outputs.
        """
        if loss is None:
            fail(
                "compile",
                "loss is missing",
                "a loss is needed",
                "e.g. loss='mse', or 'sparse_categorical_crossentropy'",
            )
        chosen_optimizer = optimizers.get(optimizer, "compile: optimizer")
        chosen_loss = losses.get(loss, "compile: loss")
        chosen_metrics = _metric_list(metrics)
        weight = 1.0 if loss_weights is None else number("compile: loss_weights", loss_weights, above=0)
        check_solver("compile", chosen_optimizer, chosen_loss, self.net)
        self.runner.configure(chosen_optimizer, chosen_loss, chosen_metrics)
        self._optimizer, self._loss, self._metrics = chosen_optimizer, chosen_loss, chosen_metrics
        self._loss_weight = weight

    def _compiled_loss(self, where: str) -> losses.Loss:
        if self._loss is None:
            fail(where, "the model is not compiled", "an optimizer and a loss are needed",
                 "call model.compile(optimizer='adam', loss='mse') first")  # fmt: skip
        return self._loss

    # ---- weights, copies, files ------------------------------------------------------------------------------------

    def get_weights(self) -> list[Array]:
        """Copies of all tensors, layer by layer in Keras's order; kernels are (inputs, outputs)."""
        return self.runner.tensors()

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Replace all tensors.

        Parameters
        ----------
        weights : list of arrays
            As `get_weights` gives them.

        Raises
        ------
        ValueError
            If their number or a shape is wrong; nothing is changed then.
        """
        needed = self.net.tensors
        if not isinstance(weights, (Sequence, np.ndarray)) or isinstance(weights, str):
            given = f"weights is of type {type(weights).__name__}"
            fail("set_weights", given, "a list of arrays is needed", "as get_weights() gives them")
        if len(weights) != len(needed):
            names = ", ".join(f"{tensor.name} {tensor.shape}" for tensor in needed)
            fail("set_weights", f"{len(weights)} arrays were given", f"{len(needed)} are needed", names or "none")
        checked = [as_array("set_weights", f"weights[{i}]", weight) for i, weight in enumerate(weights)]
        for i, (array, tensor) in enumerate(zip(checked, needed, strict=True)):
            if array.shape != tensor.shape:
                given = f"weights[{i}] has shape {array.shape}"
                fail("set_weights", given, f"{tensor.name} needs {tensor.shape}", "see model.summary()")
        self.runner.set_tensors(checked)

    def to(self: B, device: str) -> B:
        """Go on with another engine, in place.

        Parameters
        ----------
        device : {"cpu", "cuda", "reference"}

        Returns
        -------
        Model
            The model itself.
        """
        self.runner.move(device)
        return self

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal model, as JSON types; see `from_config`. Weights are not part of it."""
        return {
            "layers": self.net.config_layers(),
            "inputs": self.inputs,
            "seed": self.seed,
            "dtype": self.dtype,
            "precision": self.precision,
            "device": self.device,
            "name": self.name,
        }

    @classmethod
    def from_config(cls: type[B], config: Mapping[str, Any]) -> B:
        """Make the model that `get_config` described, not compiled and with its first values."""
        return cls(**config)

    def get_compile_config(self) -> dict[str, Any] | None:
        """The arguments of `compile` as JSON types; None before `compile`."""
        if self._optimizer is None or self._loss is None:
            return None
        config = {
            "optimizer": self._optimizer.to_dict(),
            "loss": self._loss.to_dict(),
            "metrics": [metric.to_dict() for metric in self._metrics],
        }
        return config if self.loss_weights == 1 else {**config, "loss_weights": self.loss_weights}

    def clone(self: B, seed: int | None = None) -> B:
        """A new model like this one, compiled likewise, with first values of its own: nothing that was learned.

        Parameters
        ----------
        seed : int, optional
            That of this model by default.
        """
        config = {**self.get_config(), "layers": self.net.fresh_layers()}
        made = type(self).from_config({**config, "seed": self.seed if seed is None else seed})
        if self.compiled:
            made.compile(
                *copy.deepcopy((self._optimizer, self._loss)),
                metrics=copy.deepcopy(self._metrics),
                loss_weights=self.loss_weights,
            )
        return made

    def save(self, path: str | os.PathLike[str], *, include_optimizer: bool = True) -> None:
        """Write the model to a file that `fastdense.load` reads.

        The file appears whole or not at all. It is in the safetensors format, whatever its name ends with.

        Parameters
        ----------
        path : str or path
        include_optimizer : bool
            Whether to keep the optimizer's state, so that training goes on exactly where it was.

        Raises
        ------
        ValueError
            If the model holds an object of a class of your own.
        """
        saving.save(self, path, include_optimizer)

    def load_weights(self, path: str | os.PathLike[str]) -> None:
        """Take the weights out of a file that `save` wrote; the shapes must be those of this model."""
        self.set_weights(saving.load(path, device="reference").get_weights())

    def __getstate__(self) -> dict[str, Any]:
        return saving.snapshot(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(saving.revive(state).__dict__)


def _metric_list(values: Any) -> list[metrics.Metric]:
    return metrics.get_list(values, "compile: metrics")
