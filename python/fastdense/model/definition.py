"""What a model is, without what it computes: layers, weights, how it is compiled, copies and files."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from .. import losses, metrics, optimizers
from ..arguments import file_path, flag, items, keywords_checked, number, optional_text, quoted
from ..arrays import Array, as_array, fail
from ..callbacks import History
from ..data.rows import Shape
from ..engine.factory import check_device
from ..engine.gpu import is_available
from ..layers import Layer
from ..layers.function import function_names, functions_in_order, functions_of, known_functions
from ..network import Net
from ..runners.lock import CallLock
from ..runners.single import Runner
from ..specs import resolve
from ..training.feasible import check_heads, check_output, check_outputs_each, check_solver
from ..versions import VERSION
from . import files, own
from .intervals import SCORES, checked_scores
from .matching import matched

D = TypeVar("D", bound="Definition")
_NUMBERS = "optimizer.numbers"  # name in a file of the few numbers that an optimizer keeps


class Definition:
    """A net, the runner that computes it, and how it is trained: the part of `BaseModel` that computes nothing."""

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
        monotonic: Sequence[int] | None = None,
    ) -> None:
        self._begin(Net(layers, inputs, seed, dtype, precision, monotonic), device, name)

    def _begin(self, net: Net, device: str, name: str | None, values: Sequence[Array] | None = None) -> None:
        """Become the model of a net, with its first values or with those given, and not compiled."""
        self.name = optional_text("Model: name", name) or "model"
        self.net, self.runner = net, Runner(net, device, values)
        self._optimizer: optimizers.Optimizer | None = None
        self._loss: losses.Loss | None = None
        self._metrics: list[metrics.Metric] = []
        self._loss_weight = 1.0
        self.feature_names: tuple[str, ...] | None = None
        self.stop_training = False
        self.history: History | None = None
        self._may_be_constant = False  # whether it may be trained although its output cannot change
        self.notes: dict[str, Any] = {}  # JSON data that files keep beside the model, for `fastdense.keras`
        self.outer: Callable[[], Any] | None = None  # gives the model of `fastdense.keras` around this one
        self._scores: tuple[Array, int] | None = (
            None  # of rows kept out, for intervals, and the runner's `changes` then
        )
        self.hinted = False  # whether `fit` has printed its hint
        self._fitting = CallLock()  # what a running fit relies on, `compile` and `to` change only before or after it

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
        """The precision of matrix products' operands: "tf32", "3xtf32", "bfloat16", or None: that of `dtype`."""
        return self.net.precision

    @property
    def monotonic(self) -> list[int] | None:
        """-1, 0 or 1 for each input, or None if the model is not monotone in any."""
        return None if self.net.monotonic is None else list(self.net.monotonic)

    @property
    def device(self) -> str:
        """The device that computes the model; `to` changes it."""
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
    def step(self) -> int:
        """Steps that the optimizer has made since `compile`."""
        return self.runner.step

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
        """What the checks of data need to know."""
        net = self.net
        every = all(metric.collected for metric in self._metrics)
        return Shape(
            net.inputs, net.outputs, net.dtype, self._loss_weight, self.device, net.missing, every, self.feature_names
        )

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
            Called with the table as one string; `print` by default.
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
        """Configure the model for training. The optimizer's state is reset; the parameters stay.

        While another thread is inside of `fit`, this waits for its end; so does `to`.

        Parameters
        ----------
        optimizer : str or Optimizer, default "rmsprop"
        loss : str or Loss
        metrics : str, Metric or list of these, optional
            What `fit` and `evaluate` report besides the loss.
        loss_weights : float, default 1
            Factor of the loss, not of penalties and metrics; above 0. The reciprocal of the targets' variance scales
            the mse, and its gradient, to about 1.

        Raises
        ------
        ValueError, TypeError
            If a name is unknown, a metric has no meaning for this loss and this number of outputs, or a callback of
            `fit` calls this.
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
        check_heads("compile", chosen_loss, self.outputs, self.device)
        check_outputs_each("compile", chosen_loss, self.outputs)
        if weight != 1 and chosen_loss.targets == "heads":
            fail("compile", f"loss_weights is {weight:g} and the loss PerHead", "each head has a weight of its own",
                 "give losses.Head(..., weight=...)")  # fmt: skip
        if self._fitting.mine:
            fail("compile", "a callback of fit called it", "it cannot change a training that runs",
                 "set model.optimizer.learning_rate there, or call compile after fit")  # fmt: skip
        with self._fitting, self.runner.lock:
            self.runner.configure(chosen_optimizer, chosen_loss, chosen_metrics, weight)
            self._optimizer, self._loss, self._metrics = chosen_optimizer, chosen_loss, chosen_metrics
            self._loss_weight = weight

    @property
    def _known_scores(self) -> Array | None:
        """Those of `calibrate`, unless weights or loss have changed since."""
        return self._scores[0] if self._scores is not None and self._scores[1] == self.runner.changes else None

    def _trained_loss(self, where: str) -> losses.Loss:
        """The loss, of a net that can learn something from it."""
        loss = self._compiled_loss(where)
        if not self._may_be_constant:
            check_output(where, loss, self.outputs, self.net.ops[-1].get("activation", ""))
        return loss

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
        weights = items("set_weights: weights", weights, "a list of arrays, as get_weights() gives them")
        if len(weights) != len(needed):
            names = ", ".join(f"{tensor.name} {tensor.shape}" for tensor in needed)
            fail("set_weights", f"weights holds {len(weights)} arrays", f"{len(needed)} are needed", names or "none")
        checked = [as_array("set_weights", f"weights[{i}]", weight) for i, weight in enumerate(weights)]
        for i, (array, tensor) in enumerate(zip(checked, needed, strict=True)):
            if array.shape != tensor.shape:
                given = f"weights[{i}] has shape {array.shape}"
                fail("set_weights", given, f"{tensor.name} needs {tensor.shape}", "see model.summary()")
        self.runner.set_tensors(checked)

    def ema_weights(self) -> list[Array]:
        """Copies of all tensors, with the average in place of those that are trained.

        Of an optimizer with ``use_ema=True``; before its first step they are those of `get_weights`.

        Raises
        ------
        ValueError
            If the optimizer keeps no average.
        """
        self._compiled_loss("ema_weights")
        if not self.optimizer.use_ema:
            fail("ema_weights", f"the optimizer is {self.optimizer!r}", "it keeps no average of the weights",
                 "compile with use_ema=True, e.g. Adam(use_ema=True)")  # fmt: skip
        return self.runner.averaged_tensors()

    def to(self: D, device: str) -> D:
        """Move the model to another device, in place.

        Parameters
        ----------
        device : {"cpu", "cuda", "reference"}
            See `fastdense.Model`.

        Returns
        -------
        Model
            The model itself.
        """
        check_device(device)
        check_heads("to", self._loss, self.outputs, device)
        with self._fitting:
            self.runner.move(device)
        return self

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal model, as JSON types; see `from_config`. Weights are not part of it."""
        config = {
            "layers": self.net.config_layers(),
            "inputs": self.inputs,
            "seed": self.seed,
            "dtype": self.dtype,
            "precision": self.precision,
            "device": self.device,
            "name": self.name,
        }
        return config if self.monotonic is None else {**config, "monotonic": self.monotonic}

    @classmethod
    def from_config(cls: type[D], config: Mapping[str, Any]) -> D:
        """Make the model that `get_config` described, not compiled and with its first values."""
        return cls(**config)

    def get_compile_config(self) -> dict[str, Any] | None:
        """The arguments of `compile` as JSON types; None before `compile`."""
        with self.runner.lock:
            if self._optimizer is None or self._loss is None:
                return None
            config = {
                "optimizer": self._optimizer.to_dict(),
                "loss": self._loss.to_dict(),
                "metrics": [metric.to_dict() for metric in self._metrics],
            }
            return config if self.loss_weights == 1 else {**config, "loss_weights": self.loss_weights}

    def clone(self: D, seed: int | None = None) -> D:
        """A new model like this one, compiled likewise, with first values of its own: nothing that was learned.

        Parameters
        ----------
        seed : int, optional
            That of this model by default.
        """
        with self.runner.lock:
            config = {**self.get_config(), "layers": self.net.fresh_layers()}
            optimizer, loss, chosen = copy.deepcopy((self._optimizer, self._loss, self._metrics))
            weight = self._loss_weight
        made = type(self).from_config({**config, "seed": self.seed if seed is None else seed})
        if loss is not None:
            made.compile(optimizer, loss, metrics=chosen, loss_weights=weight)
        return made

    def save(self, path: str | os.PathLike[str], *, include_optimizer: bool = True) -> None:
        """Write the model to a file that `fastdense.load` reads.

        The file appears whole or not at all. It is in the safetensors format, whatever its name ends with.

        Parameters
        ----------
        path : str or path
        include_optimizer : bool
            Whether to keep the optimizer's state, so that training continues exactly where it was.

        Raises
        ------
        ValueError
            If the model holds an object of a class of your own.
        """
        path = file_path("save: path", path)
        include_optimizer = flag("save: include_optimizer", include_optimizer)
        with self.runner.lock:
            self._check_saveable()
            config, tensors = self._describe(include_optimizer)
        files.write(path, config, tensors)

    @classmethod
    def from_file(
        cls: type[D],
        path: str | os.PathLike[str],
        *,
        device: str | None = None,
        custom_objects: Mapping[str, Any] | None = None,
    ) -> D:
        """Make the model that `save` wrote; see `fastdense.load`."""
        if device is not None:
            check_device(device)
        path = file_path("load: path", path)
        config, tensors = files.read(path)
        if "members" in config:
            raise files.unreadable(path, "it holds an ensemble, and one model is needed", "give a file of a model")
        with files.described(path):
            return cls._restore(config, tensors, device, custom_objects)

    def load_weights(self, path: str | os.PathLike[str], *, skip_mismatch: bool = False) -> None:
        """Load only the weights from a file that `save` wrote.

        Parameters
        ----------
        path : str or path
        skip_mismatch : bool, default False
            The shapes must be those of this model. If True, as in Keras, each layer takes those of the file's layer
            that is as far from the front among those of its class, and keeps its own, with a warning, where there is
            none or it has others.

        Raises
        ------
        ValueError
            If the file cannot be read, or number or shapes of its weights differ; nothing is changed then.
        """
        path, skips = file_path("load_weights: path", path), flag("load_weights: skip_mismatch", skip_mismatch)
        config, tensors = files.read(path)
        if "members" in config:
            raise files.unreadable(path, "it holds an ensemble, and one model is needed", "give a file of a model")
        with files.described(path):
            names, own_functions = function_names(config["model"]["layers"]), functions_in_order(self.net.layers)
            functions = dict(zip(names, own_functions, strict=False))
            made = self._restore({**config, "compile": None}, tensors, "reference", functions)
        if not skips:
            self.set_weights(made.get_weights())
            return
        with self.runner.lock:
            weights, kept = matched(self.net, self.get_weights(), made.net, made.get_weights())
            self.set_weights(weights)
        if kept:
            warnings.warn(
                f"load_weights: {path} has no weights of the same shapes for {quoted(kept)}; "
                f"{'they keep theirs' if len(kept) > 1 else 'it keeps its own'}.",
                UserWarning,
                stacklevel=3,
            )

    def save_state(self, path: str | os.PathLike[str]) -> None:
        """Write what training changes (weights, optimizer's state, learning rate) to a file for `load_state`.

        Unlike `save`, it does so for a model with objects of classes of your own too, since it describes no layers.
        """
        path = file_path("save_state: path", path)
        with self.runner.lock:
            config, tensors = self._describe_state(names=_numbered(self.net))
            optimizer = self.optimizer
            rate = getattr(optimizer, "learning_rate", None)
            config["optimizer"] = type(optimizer).__name__
            config["learning_rate"] = float(rate) if isinstance(rate, (int, float)) else None
        files.write(path, config, tensors)

    def load_state(self, path: str | os.PathLike[str]) -> None:
        """Go on from what `save_state` wrote: the next training makes the bits that the saved one would have made.

        Raises
        ------
        ValueError
            If the file is damaged, or that of a model with other layers or another optimizer; the model is unchanged
            then.
        """
        path, optimizer = file_path("load_state: path", path), self.optimizer
        config, tensors = files.read(path)
        with files.described(path):
            needed = dict(zip(_numbered(self.net), self.net.tensors, strict=True))
            values = [files.tensor(tensors, name, spec) for name, spec in needed.items()]
            if len(needed) != sum(name.startswith("weights.") for name in tensors):
                raise ValueError(f"it holds more tensors than the {len(needed)} of this model")
            saved, own = config["optimizer"], type(optimizer).__name__
            if saved != own:
                raise ValueError(f"its optimizer is {saved}, and that of this model is {own}")
            rate, trained = config["learning_rate"], files.count(config, "epochs_trained")
            with self.runner.lock:
                self._restore_optimizer(config, tensors)
                self.runner.set_tensors(values)
                self.runner.epochs_trained = trained
        if rate is not None and isinstance(optimizer.learning_rate, (int, float)):
            optimizer.learning_rate = rate

    def __getstate__(self) -> dict[str, Any]:
        """What pickle and copy keep: what a file holds, with the objects themselves."""
        with self.runner.lock:
            config, tensors = self._describe()
            config["model"]["layers"] = self.layers
            if self.compiled:
                parts = {"optimizer": self.optimizer, "loss": self.loss, "metrics": self.metrics}
                config["compile"] = {**parts, "loss_weights": self.loss_weights}
        return {"config": config, "tensors": tensors, "changes": self.runner.changes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(self._restore(state["config"], state["tensors"], None).__dict__)
        scores, self.runner.changes = self._known_scores, state.get("changes", 0)  # an ensemble may have noted them
        self._scores = None if scores is None else (scores, self.runner.changes)

    def _describe(self, include_optimizer: bool = True) -> tuple[dict[str, Any], dict[str, Array]]:
        """Everything the model is, as JSON types and named tensors: at one moment, since the caller holds the lock."""
        state, tensors = self._describe_state(include_optimizer)
        config = {
            **state,
            "model": self.get_config(),
            "compile": self.get_compile_config(),
            "statistics": self.net.statistics_origins(),
        }
        if self.feature_names is not None:
            config["feature_names"] = list(self.feature_names)
        if self.notes:
            config["notes"] = self.notes
        scores = self._known_scores
        if scores is not None:
            tensors[SCORES] = scores
        return config, tensors

    def _describe_state(
        self, include_optimizer: bool = True, names: Sequence[str] | None = None
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        """What training changes, as JSON types and named tensors; `names` are other names of the weights."""
        tensors = dict(zip(names or _weight_names(self.net), self.get_weights(), strict=True))
        slots = self.runner.slots() if include_optimizer else []
        numbers = self.runner.numbers()
        if include_optimizer and len(numbers):
            tensors[_NUMBERS] = numbers
        tensors.update({_slot_name(s, i): array for s, slot in enumerate(slots) for i, array in enumerate(slot)})
        state = {
            "format": files.FORMAT,
            "version": VERSION,
            "step": self.runner.step if include_optimizer else 0,
            "slots": len(slots) if include_optimizer else None,
            "epochs_trained": self.runner.epochs_trained,
        }
        return state, tensors

    @classmethod
    def _restore(
        cls: type[D],
        config: Mapping[str, Any],
        tensors: Mapping[str, Array],
        device: str | None,
        custom_objects: Mapping[str, Any] | None = None,
    ) -> D:
        """Make the model that `_describe` described, on its own device if `device` is None.

        It is not compiled, with a warning, where that takes objects of the user's own that `custom_objects` lacks.
        """
        given = dict(config["model"])
        name, home = given.pop("name"), given.pop("device")
        with known_functions(custom_objects or {}):
            net = Net(**given)  # makes no values: however large it says it is, the tensors must have its shapes
        values = [files.tensor(tensors, *needed) for needed in zip(_weight_names(net), net.tensors, strict=True)]
        model = cls.__new__(cls)
        model._begin(net, device or ("cpu" if home == "cuda" and not is_available() else home), name, values)
        net.restore_statistics(values, config["statistics"])
        compiled = config["compile"] and own.with_own_objects(config["compile"], custom_objects or {})
        if compiled:
            model.compile(**compiled)
            if config["slots"] is not None:
                model._restore_optimizer(config, tensors)
        model.runner.epochs_trained = files.count(config, "epochs_trained")
        model.notes = dict(config.get("notes", {}))
        model.feature_names = files.names(config, "feature_names", net.inputs)
        if compiled and SCORES in tensors:
            model._scores = checked_scores(tensors[SCORES], model.loss, net.outputs), model.runner.changes
        return model

    def _restore_optimizer(self, config: Mapping[str, Any], tensors: Mapping[str, Array]) -> None:
        trainable = [spec for spec in self.net.tensors if spec.trainable]
        slots = [
            [files.tensor(tensors, _slot_name(s, i), spec) for i, spec in enumerate(trainable)]
            for s in range(files.count(config, "slots", most=10_000))
        ]
        self.runner.set_slots(slots, files.count(config, "step"), tensors.get(_NUMBERS))

    def _check_saveable(self) -> None:
        """Raise if the model holds an object that a file cannot bring back."""
        parts: list[tuple[type[Any], Any]] = [(Layer, layer) for layer in self.net.layers]
        if self.compiled:
            parts += [(optimizers.Optimizer, self.optimizer), (losses.Loss, self.loss)]
            parts += [(metrics.Metric, metric) for metric in self._metrics]
        parts = [(base, part) for base, part in parts if not own.is_own(part)]
        for base, part in parts:
            try:
                with known_functions(functions_of(self.net.layers)):
                    resolve(base, part.to_dict(), "save")
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"save: {part!r} holds an object of a class of your own ({error}), which a file cannot bring back; "
                    "fastdense's own classes are needed: keep the weights alone with "
                    "np.savez(path, *model.get_weights())"
                ) from error


def _metric_list(values: Any) -> list[metrics.Metric]:
    return metrics.get_list(values, "compile: metrics")


def _weight_names(net: Net) -> list[str]:
    return [f"weights.{i}.{tensor.name.replace('/', '.')}" for i, tensor in enumerate(net.tensors)]


def _numbered(net: Net) -> list[str]:
    """Names of the weights that do not depend on those of layers, which may differ from one process to the next."""
    return [f"weights.{i}" for i in range(len(net.tensors))]


def _slot_name(slot: int, tensor: int) -> str:
    return f"optimizer.{slot}.{tensor}"
