"""`Sequential` and `Model` with Keras's methods, around a `fastdense.Model` that is created when it is needed."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable
from typing import Any, NoReturn

import numpy as np

from .._model import Model as CoreModel
from .._model import load
from ..arguments import keywords_checked, nearest, number, shorten
from ..arrays import Array
from ..callbacks import History
from ..callbacks.base import check_callbacks
from ..callbacks.progress import check_verbose
from ..metrics import CategoricalAccuracy, get_list
from ..training.feasible import DEFAULT_BATCH
from . import losses, optimizers
from .chain import Chain
from .layer import InputLayer, KerasTensor, Layer, output_shape
from .layers import layer_of
from .names import not_offered
from .progress import Lines, line

__all__ = ["Model", "Sequential", "load_model"]

_HINTS = {
    "fit_generator": "fit takes arrays; a np.memmap may be larger than memory.",
    "to_json": "save(path) keeps layers, weights and optimizer in one file.",
    "to_yaml": "save(path) keeps layers, weights and optimizer in one file.",
    "predict_proba": "predict returns the probabilities.",
    "add_loss": "Custom losses are not offered; kernel_regularizer and activity_regularizer add penalties.",
}


class Network(Chain):
    """Base of `Sequential` and `Model`: a `Chain` with Keras's methods."""

    # ---- how to train ----------------------------------------------------------------------------------------------

    @keywords_checked
    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: Any = None,
        steps_per_execution: Any = None,
        jit_compile: Any = None,
        auto_scale_loss: Any = None,
    ) -> None:
        """Choose how to train; the weights stay.

        Parameters
        ----------
        optimizer : str or optimizer
        loss : str, function of `keras.losses` or loss
        metrics : list of str, metrics or functions of `keras.metrics`, optional
        loss_weights : float, optional
            Factor of the loss.
        weighted_metrics
            Not offered: ``fit(sample_weight=...)`` weights all metrics.
        run_eagerly, steps_per_execution, jit_compile, auto_scale_loss
            Accepted, without effect.
        """
        if isinstance(loss_weights, list):  # before loss_weights, Keras 2 had metrics here
            loss_weights, metrics = None, loss_weights
        if weighted_metrics is not None:
            raise ValueError("compile: weighted_metrics are not offered. fit(sample_weight=...) weights all metrics.")
        if loss_weights is not None:
            loss_weights = number("compile: loss_weights", loss_weights, above=0)
        if isinstance(loss, (list, dict)):
            raise ValueError(f"compile: loss={shorten(loss)}; a net has one output. Give one loss.")
        chosen = metrics if isinstance(metrics, (list, tuple)) else [] if metrics is None else [metrics]
        given = [m.__name__ if isinstance(m, losses.Function) else m for m in chosen]
        get_list(given, "compile: metrics")
        self._compiled = {
            "optimizer": optimizers.get(optimizer),
            "loss": loss if loss is None else losses.get(loss),
            "metrics": given,
            "loss_weights": loss_weights,
        }
        if self._built is not None:
            self._compile()

    def _compile(self) -> None:
        assert self._compiled is not None and self._built is not None
        loss, outputs = self._compiled["loss"], self._built.outputs
        checked = []
        for given, metric in zip(self._compiled["metrics"], get_list(self._compiled["metrics"], "compile: metrics"),
                                 strict=True):  # fmt: skip
            by_shape = isinstance(given, str) and type(metric).__name__ == "Accuracy"  # Keras goes by the shapes alone
            classes = by_shape and outputs > 1 and loss is not None and not loss.sparse
            checked.append(CategoricalAccuracy(given) if classes else metric)
        weight = self._compiled["loss_weights"]
        self._built.compile(self._compiled["optimizer"], loss, metrics=checked, loss_weights=weight)

    @property
    def optimizer(self) -> Any:
        """The optimizer; its `learning_rate` may be assigned at any time."""
        self._need_compiled("optimizer")
        assert self._compiled is not None
        return self._compiled["optimizer"]

    @property
    def loss(self) -> Any:
        """The loss."""
        self._need_compiled("loss")
        assert self._compiled is not None
        return self._compiled["loss"]

    @property
    def metrics_names(self) -> list[str]:
        """Names of what `evaluate` returns."""
        return self.fastdense.metrics_names

    @property
    def stop_training(self) -> bool:
        """Set to True in a callback to end training."""
        return self.fastdense.stop_training

    @stop_training.setter
    def stop_training(self, value: bool) -> None:
        self.fastdense.stop_training = value

    def _need_compiled(self, where: str) -> None:
        if self._compiled is None:
            raise RuntimeError(f"{where}: {self.name} is not compiled. Call model.compile(optimizer=..., loss=...).")

    # ---- training --------------------------------------------------------------------------------------------------

    @keywords_checked
    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: Any = None,
        validation_steps: Any = None,
        validation_batch_size: Any = None,
        validation_freq: int = 1,
        nb_epoch: int | None = None,
    ) -> History:
        """Train, and print Keras's lines.

        Parameters
        ----------
        x : array of shape (rows, ...)
            As the net's input says: (rows, columns), or (rows, 28, 28) before a `Flatten`.
        y : array
        batch_size : int
            32 unless given.
        verbose : {"auto", 0, 1, 2}
            1 and "auto" a line with a bar per epoch, 2 without the bar, 0 nothing.
        epochs, callbacks, validation_split, validation_data, shuffle, class_weight, sample_weight, initial_epoch
            As in `fastdense.Model.fit`.
        steps_per_epoch, validation_steps, validation_batch_size, validation_freq, nb_epoch
            Not offered but for their defaults; `validation_batch_size` changes nothing.

        Returns
        -------
        History
            ``history.history["loss"]`` and so on, one number per epoch.
        """
        if nb_epoch is not None:
            raise TypeError("fit: nb_epoch belongs to an older version of Keras. Use epochs=....")
        if steps_per_epoch is not None or validation_steps is not None or validation_freq != 1:
            raise ValueError(
                "fit: steps_per_epoch, validation_steps and validation_freq are not offered: an epoch is one pass "
                "over all rows. Leave them out, and pass fewer rows or epochs."
            )
        self._need_compiled("fit")
        if y is None:
            raise TypeError(f"fit: y is missing; x is a {type(x).__name__}. Arrays x and y are needed.")
        x, y = self._rows("fit", x), self._targets(y)
        if isinstance(validation_data, (tuple, list)) and len(validation_data) in (2, 3):
            vx, vy, *vw = validation_data
            validation_data = (self._rows("fit: validation_data", vx), self._targets(vy), *vw)
        users = check_callbacks("fit", callbacks)
        batch: dict[str, Any] = {} if batch_size is None and self.optimizer.full_batch else {"batch_size": batch_size}
        self.history = self._own("fit").fit(
            x,
            y,
            **batch,
            epochs=epochs,
            verbose=0,
            callbacks=[*users, Lines(_verbosity("fit", verbose))],
            validation_split=validation_split,
            validation_data=validation_data,
            shuffle=shuffle if isinstance(shuffle, (bool, np.bool_)) else bool(shuffle),
            class_weight=class_weight,
            sample_weight=sample_weight,
            initial_epoch=initial_epoch,
        )
        return self.history

    def train_on_batch(
        self, x: Any, y: Any, sample_weight: Any = None, class_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """One step with all rows as a batch; loss and metrics as in `evaluate`."""
        self._need_compiled("train_on_batch")
        x = self._rows("train_on_batch", x)
        model = self._own("train_on_batch")
        return model.train_on_batch(x, self._targets(y), sample_weight, class_weight, return_dict=return_dict)

    # ---- use -------------------------------------------------------------------------------------------------------

    def __call__(self, x: Any, training: bool = False) -> Any:
        """Apply its layers to a symbolic tensor (`keras.Input`), or compute its outputs for an array."""
        if isinstance(x, KerasTensor):
            for layer in self.layers:
                x = layer(x)
            return x
        if training:
            raise ValueError(f"{self.name}: training=True is not offered for calls. Use fit or train_on_batch.")
        return self.predict(x, verbose=0)

    @keywords_checked
    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: Any = None,
        callbacks: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Loss and metrics over all rows: a list, a number if there are no metrics, or a dict if `return_dict`."""
        self._need_compiled("evaluate")
        began, verbose = time.perf_counter(), _verbosity("evaluate", verbose)
        x = self._rows("evaluate", x)
        found = self._own("evaluate").evaluate(
            x, self._targets(y), sample_weight=sample_weight, verbose=0, return_dict=True, callbacks=callbacks
        )
        _say(verbose, len(x), batch_size, began, found)
        return found if return_dict else list(found.values()) if len(found) > 1 else found["loss"]

    def test_on_batch(self, x: Any, y: Any, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """As `evaluate`, without output."""
        return self.evaluate(x, y, sample_weight=sample_weight, verbose=0, return_dict=return_dict)

    @keywords_checked
    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: Any = None,
        callbacks: Any = None,
    ) -> Array:
        """Outputs for rows: ``(rows, outputs)``."""
        began, verbose = time.perf_counter(), _verbosity("predict", verbose)
        x = self._rows("predict", x)
        out = self.fastdense.predict(x, callbacks=callbacks)
        _say(verbose, len(x), batch_size, began, {})
        return out.reshape(len(out), *output_shape(self.layers, self.source.input_shape))

    def predict_on_batch(self, x: Any) -> Array:
        """As `predict`, without output."""
        return self.predict(x, verbose=0)

    def predict_classes(self, x: Any, batch_size: int | None = None, verbose: int | str = 0) -> Array:
        """The most probable class of each row, or 0 or 1 for a single output; as in Keras up to 2.5."""
        out = self.predict(x, batch_size, verbose)
        classes: Array = np.argmax(out, axis=-1) if out.shape[-1] > 1 else (out > 0.5).astype(np.int32)
        return classes

    def diagnose(self, x: Any, y: Any, **options: Any) -> Any:
        """Find out why it does not learn: `fastdense.Model.diagnose`; ``treat()`` returns a `fastdense.Model`."""
        self._need_compiled("diagnose")
        x = self._rows("diagnose", x)
        model: Any = self.fastdense
        return model.diagnose(x, self._targets(y), **options)

    def _rows(self, where: str, x: Any) -> Any:
        """Data as flat rows; an unknown input shape is taken from them."""
        if isinstance(x, dict) or (isinstance(x, list) and x and hasattr(x[0], "ndim") and x[0].ndim > 1):
            raise ValueError(f"{where}: x is a {type(x).__name__} of arrays; a net has one input. Pass one array.")
        if not hasattr(x, "shape") and not hasattr(x, "__array__") and not isinstance(x, (list, tuple)):
            raise TypeError(
                f"{where}: x is a {type(x).__name__}. Arrays are needed: generators and data set pipelines are not "
                "offered, but a np.memmap may be larger than memory."
            )
        array = x if hasattr(x, "shape") else np.asarray(x)
        self._begin_at(tuple(array.shape[1:]))
        shape = self.source.input_shape
        if len(array.shape) > 2:
            if tuple(array.shape[1:]) != shape and math.prod(array.shape[1:]) != shape[0]:
                raise ValueError(
                    f"{where}: x has shape {tuple(array.shape)}, and {self.name} expects rows of shape {shape}. "
                    f"Rows of that shape are needed: x.reshape(len(x), {', '.join(map(str, shape))})."
                )
            return array.reshape(len(array), -1)
        return array

    def _targets(self, y: Any) -> Any:
        return y.reshape(len(y), -1) if getattr(y, "ndim", 0) > 2 else y

    def __getattr__(self, name: str) -> NoReturn:
        if name in _HINTS:
            raise AttributeError(f"{type(self).__name__} has no {name}. {_HINTS[name]}")
        if not name.startswith("_") and hasattr(CoreModel, name):
            raise AttributeError(f"{type(self).__name__} has no {name}, but the net inside has: model.fastdense.{name}")
        near = nearest(name, [n for n in dir(type(self)) if not n.startswith("_")])
        raise AttributeError(f"{type(self).__name__} has no {name!r}.{f' Did you mean {near!r}?' if near else ''}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}, {len(self.layers)} layers>"


def _verbosity(where: str, verbose: int | str) -> int:
    checked = check_verbose(where, verbose)
    return 1 if isinstance(checked, str) else checked


def _say(verbose: int, rows: int, batch_size: int | None, began: float, logs: dict[str, float]) -> None:
    if verbose:
        print(line(verbose, math.ceil(rows / (batch_size or DEFAULT_BATCH)), time.perf_counter() - began, logs), end="")


class Sequential(Network):
    """A linear stack of layers: ``Sequential([Dense(10, input_shape=(4,)), ...])``, or `add` one by one.

    Parameters
    ----------
    layers : list of layers, optional
        May begin with ``keras.Input(shape=...)``; may contain models, whose layers are added.
    name : str, optional
    """

    def __init__(self, layers: Iterable[Any] | None = None, name: str | None = None) -> None:
        super().__init__([], None, name)
        for layer in layers or ():
            self.add(layer)

    def add(self, layer: Any) -> None:
        """Append a layer (or the layers of a model); existing weights are kept."""
        if isinstance(layer, KerasTensor) and not layer.layers:
            layer = layer.source
        if isinstance(layer, InputLayer):
            if self.layers or self._source is not None:
                raise ValueError(f"{self.name}: {layer.name} comes after other layers. An input must be the first.")
            self._source = layer
            return
        if isinstance(layer, type) and issubclass(layer, Layer):
            raise TypeError(f"{self.name}: add got the class {layer.__name__}. Pass {layer.__name__}(...).")
        if not isinstance(layer, (Layer, Network)):
            raise TypeError(f"{self.name}: add got {shorten(layer)}. A layer is needed: e.g. keras.layers.Dense(10).")
        if isinstance(layer, Network) and not self.layers and self._source is None:
            self._source = layer._source
        new = layer.layers if isinstance(layer, Network) else [layer]
        if any(one in self.layers for one in new):
            raise ValueError(f"{self.name}: {new[0].name} is in it already; a layer can be added once. Create another.")
        self._grow([*self.layers, *new])

    def pop(self) -> None:
        """Remove the last layer."""
        if not self.layers:
            raise ValueError(f"{self.name}: pop: there is no layer.")
        gone = self.layers[-1]
        self._grow(self.layers[:-1])
        gone.owner = gone.chain = None

    def _grow(self, layers: list[Layer]) -> None:
        if self._source is not None or (layers and layers[0].input_shape_given):
            output_shape(layers, self._source.input_shape if self._source else layers[0].input_shape_given or ())
        if self._built is not None:  # keep trained weights
            for layer in self.layers:
                if layer.owner is self:
                    layer.first_weights = layer.get_weights()
            for layer in self.layers:
                layer.owner = None if layer.owner is self else layer.owner
            self._built = None
        self.layers = layers
        self._hold()


class Model(Network):
    """A chain of layers from an input to an output: ``x = Input((4,)); Model(x, Dense(10)(x))``.

    Parameters
    ----------
    inputs : KerasTensor
        The result of `keras.Input`, or ``other.input``.
    outputs : KerasTensor
        The result of calling layers on it, or ``other.layers[i].output``.
    name : str, optional
    """

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None) -> None:
        inputs, outputs = (v[0] if isinstance(v, list) and len(v) == 1 else v for v in (inputs, outputs))
        if not isinstance(inputs, KerasTensor) or not isinstance(outputs, KerasTensor):
            raise TypeError(
                f"Model: inputs={shorten(inputs)}, outputs={shorten(outputs)}. One keras.Input(...) and one output are "
                "needed; nets with several inputs or outputs are not offered."
            )
        behind = outputs.layers[: len(inputs.layers)] == inputs.layers
        if inputs.source is not outputs.source or not behind or len(outputs.layers) == len(inputs.layers):
            raise ValueError("Model: outputs is not computed from inputs. Call layers on inputs: Dense(10)(inputs).")
        layers = outputs.layers[len(inputs.layers) :]
        source = inputs.source if not inputs.layers else InputLayer(inputs.shape[1:])
        super().__init__(layers, source, name)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        raise TypeError(
            f"{cls.__name__}: models with a custom call() are not offered. Use Sequential([...]), or "
            "Model(inputs, outputs) for a chain of layers."
        )


def load_model(filepath: str | os.PathLike[str], custom_objects: Any = None, compile: bool = True) -> Sequential:
    """Read a model that `save` wrote: layers, weights, optimizer.

    Files written by Keras itself cannot be read.
    """
    made = load(filepath)
    model = Sequential(name=made.name)
    model._source = InputLayer((made.inputs,))
    model.layers = [layer_of(layer) for layer in made.layers]
    model._built = made
    for layer in model.layers:
        layer.owner = layer.chain = model
    if compile and made.compiled:
        model._compiled = {"optimizer": made.optimizer, "loss": made.loss, "metrics": made.metrics,
                           "loss_weights": made.loss_weights}  # fmt: skip
    return model


__getattr__ = not_offered(
    "models",
    __all__,
    {
        "model_from|clone_model": "Create the model by the function that created the first one; model.save and "
        "load_model store it in a file.",
    },
)
