"""`Network`, the base of `Sequential` and `Model`: a `Chain` with Keras's methods."""

from __future__ import annotations

import copy
import math
import time
import warnings
import weakref
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from .._model import Model as CoreModel
from ..arguments import keywords_checked, nearest, number, shorten
from ..arrays import Array
from ..callbacks import History
from ..callbacks.base import check_callbacks
from ..data.stream import is_stream
from ..training.blocks import check_steps
from ..training.feasible import DEFAULT_BATCH, check_output
from . import losses, optimizers, tree
from .batches import KerasBatches
from .chain import Chain
from .compiling import compile_arguments
from .formula import check_no_layer
from .graph import leaves
from .heads import core_metrics_of
from .inputs import check_one_array, one_array
from .layer import KerasTensor, output_shape
from .metrics.compiled import choose, core_metrics
from .progress import Lines, say, sorted_logs, steps_of, verbosity
from .tensor import tensor

_HINTS = {
    "fit_generator": "fit takes generators.",
    "evaluate_generator": "evaluate takes generators.",
    "predict_generator": "predict takes generators.",
    "to_yaml": "to_json() does the same in another format.",
    "predict_proba": "predict returns the probabilities.",
    "add_loss": "Custom losses are not offered; kernel_regularizer and activity_regularizer add penalties.",
}


class Network(Chain):
    """Base of `Sequential` and `Model`: a `Chain` with Keras's methods."""

    _run: Mapping[str, Any] = {}  # what callbacks of the present call get as `params`
    _looked = False  # whether data were seen since `compile`

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
        metrics : list of str, metrics of `keras.metrics` or functions of (y_true, y_pred), optional
        loss_weights : float, optional
            Factor of the loss.
        weighted_metrics : list, optional
            As `metrics`, but sample weights and class weights count in them; in `metrics` they do not.
        run_eagerly, steps_per_execution, jit_compile, auto_scale_loss
            Accepted, without effect.
        """
        arguments = {"loss": loss, "loss_weights": loss_weights, "metrics": metrics,
                     "weighted_metrics": weighted_metrics}  # fmt: skip
        chosen = self._compiled_as(**arguments)
        self._train_by({"optimizer": self.optimizer_for(optimizer), **chosen, "arguments": arguments})

    def _compiled_as(self, loss: Any, loss_weights: Any, metrics: Any, weighted_metrics: Any) -> dict[str, Any]:
        """What `compile` was given, checked."""
        if self._ends is not None:
            made: dict[str, Any] = self._ends.compiled_as(loss, loss_weights, metrics, weighted_metrics)
            return made
        if isinstance(loss_weights, list):  # before loss_weights, Keras 2 had metrics here
            loss_weights, metrics = None, loss_weights
        if loss_weights is not None:
            loss_weights = number("compile: loss_weights", loss_weights, above=0)
        if isinstance(loss, (list, dict)):
            raise ValueError(f"compile: loss={shorten(loss)}; a net has one output. Give one loss.")
        found = loss if loss is None else losses.lowered(loss)
        last = self.all_layers[-1].spec if self.all_layers else None
        if found is not None and last is not None and hasattr(last, "units"):
            check_output("compile", found, last.units, getattr(last, "activation", ""))
        return {"loss": found, "metrics": choose(metrics, weighted_metrics), "loss_weights": loss_weights}

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Compile as `get_compile_config` described, or, with a warning, not, if something is not known here."""
        try:
            self.compile(**compile_arguments(config))
        except (TypeError, ValueError) as error:
            warnings.warn(f"{self.name} is not compiled: {error} Or call model.compile(...).", stacklevel=3)

    def compile_like(self, other: Network) -> None:
        """Compile as another model is, if it is: with the same loss and metrics, and an optimizer that begins anew."""
        if other._compiled is not None:
            made = copy.deepcopy(other._compiled)
            self._train_by({**made, "optimizer": self.optimizer_for(made["optimizer"])})

    def _train_by(self, compiled: dict[str, Any]) -> None:
        self._compiled, self._looked = compiled, False
        if self._built is not None:
            self._compile()
        elif self.shape_known and self.all_layers:
            self._build()  # as early as Keras makes the weights, for models made one after the other from one seed

    def _core_metrics(self, loss: Any) -> list[Any]:
        """What the inner model computes beside the loss."""
        assert self._compiled is not None and self._built is not None
        chosen = self._compiled["metrics"]
        if isinstance(chosen, Mapping):
            return core_metrics_of(loss, chosen)
        return core_metrics(chosen, loss, self._built.outputs)

    def optimizer_for(self, identifier: Any) -> Any:
        """The optimizer of a name, a config or an object, which counts the steps of this model."""
        made = optimizers.get(identifier)
        if isinstance(made, optimizers.KerasOptimizer):
            made.belongs_to(self)
        return made

    def _compile(self) -> None:
        assert self._compiled is not None and self._built is not None
        for layer in leaves(self.all_layers):
            if layer.spec is not None:  # layers of a model that is not trained are not either, whatever they say
                layer.spec.trainable = self.trainable and layer.trainable
        loss, weight, chosen = self._compiled["loss"], self._compiled["loss_weights"], []
        if loss is not None:
            check_output("compile", loss, self._built.outputs, self._built.net.ops[-1].get("activation", ""))
            chosen = self._core_metrics(loss)
        self._built.compile(self._compiled["optimizer"], loss, metrics=chosen, loss_weights=weight)

    @property
    def optimizer(self) -> Any:
        """The optimizer; its `learning_rate` may be assigned at any time."""
        self._need_compiled("optimizer")
        assert self._compiled is not None
        return self._compiled["optimizer"]

    @property
    def compiled(self) -> bool:
        """Whether `compile` was called."""
        return self._compiled is not None

    @property
    def loss(self) -> Any:
        """The loss."""
        self._need_compiled("loss")
        assert self._compiled is not None
        return self._compiled["loss"]

    @property
    def metrics(self) -> list[Any]:
        """The metrics of `compile`, one by one; empty before it. (Keras has them in one container behind the loss.)"""
        return [] if self._compiled is None else self.fastdense.metrics

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

    def callback_params(self, params: dict[str, Any]) -> dict[str, Any]:
        """What callbacks get as `params`: those of Keras."""
        return {"verbose": 0, "epochs": params.get("epochs", 1), "steps": params["steps"], **self._run}

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
        validation_freq: Any = 1,
        nb_epoch: int | None = None,
    ) -> History:
        """Train, and print Keras's lines.

        Parameters
        ----------
        x : array of shape (rows, ...)
            As the net's input says: (rows, columns), or (rows, 28, 28) before a `Flatten`. Or an iterable of batches
            (x, y) or (x, y, sample_weight): a generator, a `PyDataset`, a `DataLoader` or any other.
        y : array
        batch_size : int
            32 unless given; an iterable has its own.
        verbose : {"auto", 0, 1, 2}
            1 and "auto" a line with a bar per epoch, 2 without the bar, 0 nothing.
        shuffle : bool
            Whether to shuffle the rows of arrays, or the batches of a `PyDataset`.
        epochs, callbacks, validation_split, validation_data, class_weight, sample_weight, initial_epoch
        steps_per_epoch, validation_steps, validation_batch_size, validation_freq
            As in `fastdense.Model.fit`.
        nb_epoch
            Not offered.

        Returns
        -------
        History
            ``history.history["loss"]`` and so on, one number per epoch.
        """
        if nb_epoch is not None:
            raise TypeError("fit: nb_epoch belongs to an older version of Keras. Use epochs=....")
        self._need_compiled("fit")
        if is_stream(x):
            x = self._batches("fit", x, steps_per_epoch, batch_size, shuffle=bool(shuffle))
            batch_size = None
        elif y is None:
            raise TypeError(f"fit: y is missing; x is a {type(x).__name__}. Arrays x and y are needed.")
        else:
            x, y = self._rows("fit", x), self._targets(y)
        if is_stream(validation_data):
            self._looked = True
            validation_data = self._batches("fit: validation_data", validation_data, validation_steps)
            validation_batch_size = None
        elif isinstance(validation_data, (tuple, list)) and len(validation_data) in (2, 3):
            vx, vy, *vw = validation_data
            validation_data = (self._rows("fit: validation_data", vx), self._targets(vy), *vw)
        users = check_callbacks("fit", callbacks)
        batch: dict[str, Any] = {} if batch_size is None and self.optimizer.full_batch else {"batch_size": batch_size}
        self._run = {"verbose": verbosity("fit", verbose)}
        self._looked = True
        self.history = self._own().fit(
            x,
            y,
            **batch,
            epochs=epochs,
            verbose=0,
            callbacks=[*users, Lines(verbosity("fit", verbose))],
            validation_split=validation_split,
            validation_data=validation_data,
            shuffle=shuffle if isinstance(shuffle, (bool, np.bool_)) else bool(shuffle),
            class_weight=class_weight,
            sample_weight=sample_weight,
            initial_epoch=initial_epoch,
            steps_per_epoch=steps_per_epoch,
            validation_steps=validation_steps,
            validation_batch_size=validation_batch_size,
            validation_freq=validation_freq,
        )
        self.history.history = sorted_logs(self.history.history, self.metrics_names)
        return self.history

    def train_on_batch(
        self, x: Any, y: Any, sample_weight: Any = None, class_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """One step with all rows as a batch; loss and metrics as in `evaluate`."""
        self._need_compiled("train_on_batch")
        x, self._looked = self._rows("train_on_batch", x), True
        model = self._own()
        return model.train_on_batch(x, self._targets(y), sample_weight, class_weight, return_dict=return_dict)

    # ---- use -------------------------------------------------------------------------------------------------------

    def __call__(self, x: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Apply its layers to a symbolic tensor (`keras.Input`), or compute its outputs for an array.

        With ``training=True`` the rows are a batch in training: units are dropped, and batch statistics used.
        """
        check_no_layer(self.name, x)
        if isinstance(x, KerasTensor):
            if not self.all_layers and x.source is not None:
                self._begin_at(output_shape(x.layers, x.source.input_shape))
            if self._ends is not None:
                return self._ends.of(self.inputs, x)
            made = x
            for layer in self.all_layers:
                made = layer(made)
            return KerasTensor(x.source, made.layers, (*x.members, self))
        if not training:
            return tree.map_structure(tensor, self.predict(x, verbose=0))
        rows = self._rows("call", x)
        rows = np.asarray(rows).reshape(len(rows), *self.source.input_shape)
        for layer in self.all_layers:
            rows = layer(rows, training=True)
        return rows if self._ends is None else tree.map_structure(tensor, self._split(np.asarray(rows)))

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
        """Loss and metrics over all rows: a list, a number if there are no metrics, or a dict if `return_dict`.

        `x` may be an iterable of batches, as in `fit`; `steps` is how many of them count, or of `batch_size` rows each.
        """
        self._need_compiled("evaluate")
        began, verbose = time.perf_counter(), verbosity("evaluate", verbose)
        if is_stream(x):
            x = self._batches("evaluate", x, steps, batch_size)
        else:
            x, y = self._rows("evaluate", x), self._targets(y)
        self._looked, self._run = True, {"verbose": verbose, "steps": steps_of(x, batch_size, steps)}
        size = None if is_stream(x) else DEFAULT_BATCH if batch_size is None else batch_size
        found = self.fastdense.evaluate(
            x, y, sample_weight=sample_weight, verbose=0, return_dict=True, callbacks=callbacks, steps=steps,
            batch_size=size,
        )  # fmt: skip
        logs = sorted_logs(found, self.metrics_names)
        say(verbose, steps_of(x, batch_size, steps), began, logs)
        return logs if return_dict else list(found.values()) if len(found) > 1 else found["loss"]

    def reset_metrics(self) -> None:
        """Do nothing: metrics are computed anew in every call, as in Keras 3."""

    def test_on_batch(self, x: Any, y: Any, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """As `evaluate`, without output."""
        rows = len(self._rows("test_on_batch", x))
        return self.evaluate(x, y, rows, sample_weight=sample_weight, verbose=0, return_dict=return_dict)

    @keywords_checked
    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: Any = None,
        callbacks: Any = None,
    ) -> Array:
        """Outputs for rows: ``(rows, outputs)``.

        `x` may be an iterable of batches, whose targets are left out; `steps` is how many of them are predicted, or of
        `batch_size` rows each.
        """
        began, verbose = time.perf_counter(), verbosity("predict", verbose)
        streamed = is_stream(x)
        x = self._batches("predict", x, steps, batch_size) if streamed else self._rows("predict", x)
        self._run = {"verbose": verbose, "steps": steps_of(x, batch_size, steps)}
        size = None if streamed or steps is None else batch_size
        out = self.fastdense.predict(x, callbacks=callbacks, steps=steps, batch_size=size)
        say(verbose, steps_of(x, batch_size, steps), began, {})
        made: Array = self._split(out)
        return made

    def _split(self, out: Array) -> Any:
        """Rows of outputs in their shape; of several outputs, apart."""
        if self._ends is not None:
            return self._ends.split(out)
        return out.reshape(len(out), *output_shape(self.all_layers, self.source.input_shape))

    def predict_on_batch(self, x: Any) -> Array:
        """As `predict`, without output."""
        return self.predict(x, verbose=0)

    def predict_classes(self, x: Any, batch_size: int | None = None, verbose: int | str = 0) -> Array:
        """The most probable class of each row, or 0 or 1 for a single output; as in Keras up to 2.5."""
        out = self.predict(x, batch_size, verbose)
        classes: Array = np.argmax(out, axis=-1) if out.shape[-1] > 1 else (out > 0.5).astype(np.int32)
        return classes

    def adopt(self, made: CoreModel) -> None:
        """Take over a model that was read from a file, whose layers are its own: weights, optimizer's state, seed."""
        self._build()
        computing = [layer for layer in self.all_layers if layer.spec is not None]
        for layer, spec in zip(computing, made.layers, strict=True):
            layer.adopt(spec)
        self._built, made.outer = made, weakref.ref(self)

    def diagnose(self, x: Any, y: Any, **options: Any) -> Any:
        """Find out why it does not learn: `fastdense.Model.diagnose`; ``treat()`` returns a `fastdense.Model`."""
        self._need_compiled("diagnose")
        x = self._rows("diagnose", x)
        model: Any = self.fastdense
        return model.diagnose(x, self._targets(y), **options)

    def _rows(self, where: str, x: Any) -> Any:
        """Data as flat rows; an unknown input shape is taken from them."""
        if self.shape_known and isinstance(x, (dict, list, tuple)):
            x = one_array(where, self.name, x, [self.source])
        check_one_array(where, self.name, x)
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

    def _batches(
        self, where: str, x: Any, steps: Any, batch_size: int | None = None, *, shuffle: bool = False
    ) -> KerasBatches:
        """An iterable of batches as the net inside takes it; an unknown input shape is taken from its first item."""
        if batch_size is not None:
            warnings.warn(
                f"{where}: batch_size={shorten(batch_size)} changes nothing, since the items of x are the batches. "
                "Leave it out.",
                UserWarning,
                stacklevel=4,
            )
        made = KerasBatches(where, x, check_steps(f"{where}: steps", steps), self._rows, self._targets, shuffle=shuffle)
        if where != "predict" and not self._looked or not self.shape_known:
            made.look()
        if where == "fit":
            made.restart()
        return made

    def _targets(self, y: Any) -> Any:
        if self._ends is not None:
            return self._ends.targets(self, y)
        loss = None if self._compiled is None else self._compiled["loss"]
        if isinstance(loss, losses.Differentiated):
            loss.flat_targets = np.ndim(y) == 1 and self.fastdense.outputs > 1
        return y.reshape(len(y), -1) if getattr(y, "ndim", 0) > 2 else y

    def __getattr__(self, name: str) -> NoReturn:
        if name in _HINTS:
            raise AttributeError(f"{type(self).__name__} has no {name}. {_HINTS[name]}")
        if not name.startswith("_") and hasattr(CoreModel, name):
            raise AttributeError(f"{type(self).__name__} has no {name}, but the net inside has: model.fastdense.{name}")
        near = nearest(name, [n for n in dir(type(self)) if not n.startswith("_")])
        raise AttributeError(f"{type(self).__name__} has no {name!r}.{f' Did you mean {near!r}?' if near else ''}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"
