"""Base of the layers: names, shapes, config, weights (held by the model), and calls on symbolic tensors and arrays."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from .. import constraints, regularizers
from .. import layers as core_layers
from ..activations import NAMES
from ..arguments import shorten, suggestion
from ..arrays import Array
from ..layers import TensorSpec
from . import initializers
from .activations import of_operation
from .formula import CallsLayers, check_no_layer
from .ops.tape import Symbolic
from .overrides import CALL, LAYER, OF_CALL, check_overrides, overridden
from .own import Own, refused
from .serialization import argument, known_arguments, library_class, serialize_keras_object
from .settings import floatx, unique_name
from .tensor import tensor
from .tracing import traced, tracked
from .variables import Trainable, Weight

Shape = tuple[int, ...]
L = TypeVar("L", bound="Layer")

_SHAPES = ("input_shape", "input_dim", "batch_input_shape", "batch_shape")
_OPTIONS = (*_SHAPES, "name", "weights", "dtype", "trainable", "batch_size")
_OLD = {  # arguments of Keras 1
    "output_dim": "units",
    "init": "kernel_initializer",
    "W_regularizer": "kernel_regularizer",
    "b_regularizer": "bias_regularizer",
    "bias": "use_bias",
    "p": "rate",
}
_WEIGHTS = {"slope": "alpha"}  # Keras's names of tensors


class KerasTensor(Symbolic):
    """Symbolic tensor, the result of calling a layer on `Input`, or of operations on such tensors.

    Attributes
    ----------
    source : InputLayer or None
        None while a ``call()`` is looked at before the shape of the data is known.
    layers : tuple of Layer
        The layers applied so far.
    members : tuple of Layer or Chain
        The same, with each model that was called as one.
    """

    dtype = "float32"
    # The tensor that a function of tensors gives, and several tensors as columns of one; see operations.py.
    combined: ClassVar[Callable[..., Any]]
    beside: ClassVar[Callable[..., Any]]

    source: InputLayer | None
    layers: tuple[Layer, ...]
    members: tuple[Any, ...]

    def __init__(
        self, source: InputLayer | None, layers: tuple[Layer, ...], members: tuple[Any, ...] | None = None
    ) -> None:
        self.source, self.layers, self.members = source, layers, layers if members is None else members

    def operation(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return KerasTensor.combined(function, args, kwargs)

    def __bool__(self) -> bool:
        raise TypeError("a symbolic tensor is neither true nor false; use ops.where(condition, x, y).")

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Shape, with None for the number of rows."""
        if self.source is None:
            raise ValueError("the shape of the data is not known yet; begin the model with keras.Input(shape=...)")
        return (None, *output_shape(self.layers, self.source.input_shape))

    @property
    def ndim(self) -> int:
        """Number of dimensions, that of the rows included."""
        return len(self.shape)

    @property
    def name(self) -> str:
        """The name of the layer that it comes from."""
        return str((self.members or (self.source,))[-1].name)

    def __repr__(self) -> str:
        return f"<KerasTensor shape={self.shape}, dtype={self.dtype}, sparse=False, ragged=False, name={self.name}>"


def output_shape(layers: Sequence[Layer], shape: Shape) -> Shape:
    """Shape of a row after these layers."""
    for layer in layers:
        shape = layer.output_shape_of(shape)
    return shape


class Layer(Trainable):
    """Base of the layers.

    Attributes
    ----------
    name : str
    spec : fastdense.layers.Layer or None
        The inner layer; None if it only reshapes the data.
    owner : Chain or None
        The model that holds its weights, once there is one.
    chain : Chain or None
        The model that it was added to first, which makes the weights when they are needed.
    """

    spec: Any
    owner: Any
    chain: Any
    _trace: list[Layer] | None

    flat: ClassVar[bool] = True  # whether it needs flat rows rather than images
    weightless: ClassVar[bool] = False  # whether it is built without knowing the shape of its input
    idle: ClassVar[bool] = False  # whether it does nothing but in training
    part_of: Layer | None = None  # the layer whose call() has called it
    operations_before: Sequence[int] | None = None  # of operations as a layer: how many, for each tensor

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            cls.__init__ = _remembering(cls.__init__)  # type: ignore[method-assign]
        if "build" in vars(cls) and not cls.__module__.startswith(f"{__package__}."):
            cls.build = _noticed(cls.build)  # type: ignore[method-assign]

    def __init__(
        self, spec: core_layers.Layer | None = None, options: dict[str, Any] | None = None, **further: Any
    ) -> None:
        kind, options = type(self).__name__, {**(options or {}), **further}
        own_call = bool(overridden(self, CALL))
        check_overrides(self, LAYER if own_call else (*LAYER, *OF_CALL), "Write a call() with layers or a formula.")
        self._own = Own(self, self.call) if own_call else None
        self._calls_layers, self._trace = False, None
        if own_call and spec is not None:
            raise TypeError(
                f"{kind}: its call() would take the place of the formula of its parent, which is computed otherwise. "
                "Derive it from keras.layers.Layer, and call layers in call()."
            )
        for name in options:
            if name in _OLD:
                raise TypeError(f"{kind}: {name} belongs to an older version of Keras. Use {_OLD[name]}=....")
            if name not in _OPTIONS:
                known = [n for n in _parameters(type(self)) if n != "options"]
                raise TypeError(
                    f"{kind}: unknown argument {name!r}.{suggestion(name, known)} "
                    f"It accepts {', '.join([*known, 'input_shape', 'input_dim', 'weights', 'name'])}."
                )
        dtype = argument(options.get("dtype"))
        if dtype not in (None, "float32", floatx()):
            raise TypeError(f"{kind}: dtype={dtype!r}; all layers share one dtype: use keras.backend.set_floatx(...).")
        self.name = str(options.get("name") or unique_name(kind))
        self.spec, self.owner, self.chain = spec, None, None
        self.first_weights: Sequence[Any] | None = options.get("weights")
        self.input_shape_given = _given_shape(kind, options)
        self._trainable = bool(options.get("trainable", True))
        if spec is not None:
            spec.trainable = self._trainable

    def _trained_parts(self) -> Iterable[Any]:
        return [*([] if self.spec is None else [self.spec]), *(tracked(self) if self._composed else ())]

    @property
    def _composed(self) -> bool:
        """Whether its ``call()`` calls layers, so that these take its place."""
        known = self._own is not None and bool(overridden(self, CALL))
        return known and (self._calls_layers or bool(tracked(self)))

    @property
    def _formula(self) -> Own | None:
        """What it computes itself, if it does."""
        return None if self._composed else self._own

    @property
    def own(self) -> Own:
        """What its own code computes, and the weights that it has added."""
        assert self._own is not None
        return self._own

    def said_shape(self, input_shape: Any) -> Any:
        """Shape of its outputs as its own code says, None if it does not."""
        return self.compute_output_shape(input_shape) if overridden(self, ("compute_output_shape",)) else None

    def add_weight(
        self,
        shape: Any = None,
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        aggregation: Any = None,
        overwrite_with_gradient: bool = False,
        name: str | None = None,
    ) -> Any:
        """Add a weight to a layer with a ``call()`` of its own, in its constructor or in ``build()``.

        Returns
        -------
        Variable
            For ``call()``; `initializer` is "glorot_uniform" unless given.
        """
        if self._own is None:
            raise TypeError(f"{self.name}: add_weight is for layers with a call() of their own. Write one.")
        return self._own.add(shape, initializer, dtype, trainable, regularizer, constraint, name)

    def add_loss(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: penalties are those of `regularizer` and `activity_regularizer`."""
        refused(self, "add_loss")

    def add_metric(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: metrics are those of `compile`."""
        refused(self, "add_metric")

    def adopt(self, spec: core_layers.Layer) -> None:
        """Take an equal inner layer, of a model that was read from a file, in place of its own."""
        self.spec = spec

    @property
    def dtype(self) -> str:
        """The dtype of its weights."""
        return floatx()

    @property
    def place(self) -> str:
        """Its name, after those of the `Sequential` models that it is in, as in Keras."""
        return self.name if self.owner is None else "/".join(self.owner.path_to(self))

    def output_shape_of(self, shape: Shape) -> Shape:
        """Shape of a row after this layer, for a row of shape `shape`."""
        if self._formula is not None:
            return self._formula.output_shape(shape)
        if self.spec is None or not self.flat:
            return shape
        if len(shape) != 1:
            raise ValueError(
                f"{self.name}: a row has shape {shape} here, and {type(self).__name__} needs flat rows. "
                f"Insert keras.layers.Flatten() before it."
            )
        return (self.spec.output_width(shape[0]),)

    @property
    def shown_shape(self) -> tuple[int | None, ...]:
        """Shape of its outputs in its model, with None for the number of rows."""
        return self.all_layers[-1].output.shape

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Shape of its outputs, for data of a shape with the number of rows, or None, in front."""
        rows, *shape = tuple(input_shape)
        return (rows, *self.output_shape_of(tuple(shape)))

    def made(self, shape: Shape) -> core_layers.Layer | None:
        """The inner layer, for rows of this shape."""
        if self._formula is not None:
            try:
                self.spec = self._formula.made(shape)[1]
            except CallsLayers as inner:
                self._note_calls(inner)
        if self._formula is not None:
            self.spec.trainable = self._trainable
            if self.first_weights is None and self._formula.weights:
                self.first_weights = self._formula.values()
        if self._composed:
            raise ValueError(
                f"{self.name}: its build() makes layers, for which the shape of the data must be known before. Begin "
                "the model with keras.Input(shape=...)."
            )
        made: core_layers.Layer | None = self.spec
        if made is not None:
            made.name = self.name
        return made

    # ---- calls -----------------------------------------------------------------------------------------------------

    def __call__(self, x: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Apply the layer to a symbolic tensor, or to an array: its weights are made then, if there are none yet.

        With ``training=True`` an array is treated as a batch in training: units are dropped, and batch statistics
        used.
        """
        check_no_layer(self.name, x)
        if isinstance(training, (Symbolic, np.ndarray)):
            raise TypeError(f"{self.name}: called on two arguments. Give several tensors as one list: layer([a, b]).")
        listed = isinstance(x, (list, tuple))
        if listed and any(isinstance(one, KerasTensor) for one in x):
            if self._own is None:
                raise TypeError(f"{self.name}: called on a list of {len(x)} tensors. It takes one.")
            return self._symbolic(KerasTensor.beside(x), x)
        if isinstance(x, KerasTensor):
            return self._symbolic(x, x)
        if self._formula is not None:
            try:
                return tensor(self._formula.on_arrays(x, bool(training)))
            except CallsLayers as inner:
                self._note_calls(inner)
        rows = np.asarray(x)
        if rows.dtype == object or rows.ndim == 0:
            raise TypeError(f"{self.name}: called on {shorten(x)}. Give keras.Input(shape=...) or an array with rows.")
        if self._composed:
            takes = "training" in inspect.signature(self.call).parameters
            return self.call(tensor(rows), **({"training": bool(training)} if takes else {}))
        return tensor(self.in_training(rows) if training else self.computed(rows))

    def _symbolic(self, x: KerasTensor, given: Any) -> KerasTensor:
        """The tensor that it gives for one, or for a list whose tensors are columns of `x`."""
        if self._own is not None and x.source is not None:
            self._own.take(None if given is x else [one.shape[1:] for one in given])
            self._own.build(x.shape[1:])
        if not self._composed:
            try:
                if x.source is not None:
                    self.output_shape_of(output_shape(x.layers, x.source.input_shape))
                return KerasTensor(x.source, (*x.layers, *self.all_layers), (*x.members, self))
            except CallsLayers as inner:
                self._note_calls(inner)
        made = traced(self, given)
        if made.source is x.source and made.layers[: len(x.layers)] == x.layers:
            self._trace = list(made.layers[len(x.layers) :])
            for layer in self._trace:
                layer.part_of = self
        return KerasTensor(made.source, made.layers, (*x.members, self))

    def _note_calls(self, inner: CallsLayers) -> None:
        if not overridden(self, CALL):
            raise TypeError(
                f"{self.name}: its function calls {inner}, whose weights it would not train. Call that layer before "
                "it, or in the call() of a layer of your own."
            )
        self._calls_layers = True

    def computed(self, rows: NDArray[Any]) -> Array:
        """Its outputs for an array."""
        shape = rows.shape[1:]
        if self.spec is not None and self.flat and not shape:
            raise ValueError(f"{self.name}: called on an array of shape {rows.shape}. Rows are needed: x[None] is one.")
        if self.spec is None:
            return np.asarray(rows.reshape(len(rows), *self.output_shape_of(shape)))
        self._ask_for_weights()
        made: Array = self._alone(shape or (1,)).predict(rows, verbose=0)
        return made

    def in_training(self, rows: NDArray[Any]) -> Array:
        """Its outputs for a batch in training."""
        return self.computed(rows)

    def _alone(self, shape: Shape) -> Any:
        """A model of this layer only; it holds the weights if no other does."""
        if self.owner is not None and self.owner.all_layers == self.all_layers:
            return self.owner
        made = library_class("keras", "Sequential")(
            [InputLayer(shape, name=f"{self.name}_input"), self], name=self.name
        )
        if self.owner is None:
            made.build()
        return made

    @property
    def all_layers(self) -> list[Layer]:
        """Itself, or the layers that its own ``call()`` calls."""
        if not self._composed:
            return [self]
        if self._trace is None:  # operations make layers anew in each call
            self._trace = list(traced(self, KerasTensor(None, ())).layers)
        return list(self._trace)

    def build(self, input_shape: Any) -> None:
        """Create its weights, for data of shape ``(None, columns)``."""
        several = isinstance(input_shape, list)
        shape: Shape = () if several else tuple(int(n) for n in tuple(input_shape)[1:])
        if self._own is not None:
            if not several:
                self._own.build(shape)
        elif self.owner is None and self.spec is not None:
            self._alone(shape)

    @property
    def built(self) -> bool:
        """Whether it has its weights, or needs none."""
        if self._composed:
            return all(one.built for one in tracked(self))
        if self._formula is not None:
            return self._formula.built or not overridden(self, ("build",))
        known = self.chain is not None and self.chain.shape_known
        return self.weightless or self.owner is not None or known

    @built.setter
    def built(self, value: bool) -> None:
        """Accept what ``build()`` of old scripts assigns, without effect."""

    # ---- config ----------------------------------------------------------------------------------------------------

    _arguments: Mapping[str, Any] = {}

    def get_config(self) -> dict[str, Any]:
        """Its name and its arguments, as JSON types; `from_config` makes an equal layer of them, without weights."""
        policy = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": self.dtype},
                  "registered_name": None}  # fmt: skip
        config: dict[str, Any] = {"name": self.name, "trainable": bool(self.trainable), "dtype": policy}
        for name, value in self._arguments.items():
            config[name] = _plain(name, value, self.name)
        if config.get("activity_regularizer", 1) is None:
            del config["activity_regularizer"]
        return config

    @classmethod
    def from_config(cls: type[L], config: Mapping[str, Any]) -> L:
        """The layer that `get_config` described."""
        given = known_arguments(config, (*_parameters(cls), *_OPTIONS))
        return cls(**{name: argument(value) for name, value in given.items()})

    def further_config(self) -> dict[str, Any]:
        """What Keras adds to its config in that of a model."""
        if self.owner is None or self.weightless:
            return {}
        return {"build_config": {"input_shape": list(self.input.shape)}}

    # ---- weights, held by the model --------------------------------------------------------------------------------

    def shown_weights(self, tensors: list[Array]) -> list[Array]:
        """Its weights, as Keras has them, from the tensors of the inner layer."""
        return tensors

    def inner_tensors(self, weights: Sequence[Any], tensors: list[Array]) -> list[Any]:
        """The other way round: the tensors of the inner layer for these weights, in place of its present ones."""
        return list(weights)

    def weight_traits(self, specs: list[TensorSpec]) -> list[tuple[str, bool]]:
        """Of each weight, its name and whether training changes it."""
        plain = [re.split(r"[/.]", spec.name)[-1] for spec in specs]
        return [(_WEIGHTS.get(name, name), spec.trainable) for name, spec in zip(plain, specs, strict=True)]

    def get_weights(self) -> list[Array]:
        """Copies of its weights; empty before the model has built them."""
        if self._composed:
            return [array for one in tracked(self) for array in one.get_weights()]
        self._ask_for_weights()
        if self.owner is None and self._formula is not None:
            return self._formula.values()
        return [] if self.owner is None else self.shown_weights(self.owner.tensors_of(self)[1])

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Replace its weights; before the model is built, set its initial weights."""
        if self._composed:
            left = list(weights)
            for one in tracked(self):
                count = len(one.get_weights())
                one.set_weights(left[:count])
                del left[:count]
            return
        self._ask_for_weights()
        if self.owner is None:
            self.first_weights = list(weights)
        else:
            tensors = self.owner.tensors_of(self)[1]
            self.check_count(weights, tensors)
            self.owner.set_tensors_of(self, self.inner_tensors(weights, tensors))

    def check_count(self, weights: Sequence[Any], tensors: list[Array]) -> None:
        """Raise unless there are as many weights as the layer has."""
        needed = len(self.shown_weights(tensors))
        if len(weights) != needed:
            raise ValueError(f"{self.name}: {len(weights)} arrays of weights were given, and it has {needed}.")

    def _ask_for_weights(self) -> None:
        if self.owner is None and self.chain is not None and self.chain.shape_known:
            self.chain.build()

    @property
    def weights(self) -> list[Weight]:
        """Its weights as variables; empty before the model has built them."""
        if self._composed:
            return [weight for one in tracked(self) for weight in one.weights]
        self._ask_for_weights()
        if self._formula is not None:
            return list(self._formula.weights)
        if self.owner is None:
            return []
        traits = self.weight_traits(self.owner.tensors_of(self)[0])
        known: list[Weight] = self.__dict__.setdefault("_weights", [])
        if [(one.name, one._trains) for one in known] != traits:
            known[:] = [Weight(self, i, name, trains) for i, (name, trains) in enumerate(traits)]
        return list(known)

    def count_params(self) -> int:
        """Number of its parameters."""
        if not self.built:
            raise ValueError(
                f"{self.name}: count_params: it is not built yet. Train the model, or call model.build(input_shape)."
            )
        return sum(array.size for array in self.get_weights())

    # ---- its place in a model --------------------------------------------------------------------------------------

    def _model(self) -> Any:
        model = self.owner or self.chain
        if model is None:
            raise ValueError(f"{self.name}: it does not belong to a model yet. Add it to one first.")
        return model

    @property
    def output(self) -> KerasTensor:
        """Its output, for a model that ends here: ``Model(model.input, model.layers[0].output)``."""
        made: KerasTensor = self._model().tensor_after(self.all_layers[-1])
        return made

    @property
    def input(self) -> Any:
        """Its input, or a list of them: ``Model(model.layers[1].input, model.output)`` begins here."""
        return self._model().tensor_before(self)

    def __getattr__(self, name: str) -> Any:
        spec = self.__dict__.get("spec")
        if spec is not None and not name.startswith("_") and self.__dict__.get("_own") is None:
            for one in self.weights:
                if one.name == name:
                    return one
            if hasattr(spec, name):
                return getattr(spec, name)
        known = [n for n in dir(type(self)) if not n.startswith("_")]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}.{suggestion(name, known)}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


def _remembering(init: Callable[..., None]) -> Callable[..., None]:
    """A constructor that keeps its arguments, for `get_config`."""
    signature = inspect.signature(init)

    @functools.wraps(init)
    def __init__(self: Layer, /, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        kinds = signature.parameters
        own = {name: value for name, value in list(bound.arguments.items())[1:] if kinds[name].kind is not _KEYWORDS}
        ours = type(self).__module__.startswith(f"{__package__}.")
        self._arguments = own if ours else {**self._arguments, **{k: v for k, v in own.items() if k not in _OPTIONS}}

    return __init__


def _noticed(build: Callable[..., None]) -> Callable[..., None]:
    """A ``build()`` of the user's that is not called again when it was called."""

    @functools.wraps(build)
    def noticed(self: Layer, *args: Any, **kwargs: Any) -> None:
        build(self, *args, **kwargs)
        if self._own is not None:
            self._own.built = True

    return noticed


_KEYWORDS = inspect.Parameter.VAR_KEYWORD


def _plain(name: str, value: Any, layer: str) -> Any:
    """An argument of a layer as JSON types, as Keras has it in configs; a function without a name has the layer's."""
    if name in ("activation", "function") and callable(value):
        value = of_operation(value)
        if getattr(value, "__name__", "<lambda>") == "<lambda>" and not hasattr(value, "get_config"):
            return {"module": None, "class_name": "function", "config": layer, "registered_name": layer}
    if name == "activation":
        spec = getattr(value, "spec", value)
        if isinstance(spec, core_layers.Activation):
            plain = spec == core_layers.Activation(spec.activation)
            return spec.activation if plain else serialize_keras_object(value)
        if value is None:
            return "linear"
        return NAMES.find(value, "activation") if isinstance(value, str) else serialize_keras_object(value)
    if name.endswith("_initializer"):
        made = initializers.get(value)
        value = made.function if isinstance(made, initializers.FromFunction) else made
    elif name.endswith("_regularizer") and value is not None:
        value = regularizers.get(value)
    elif name.endswith("_constraint") and value is not None:
        value = constraints.get(value)
    return serialize_keras_object(value)


def _parameters(cls: type[Layer]) -> list[str]:
    """The arguments of a layer."""
    return list(inspect.signature(cls.__init__).parameters)[1:]


def _given_shape(kind: str, options: dict[str, Any]) -> Shape | None:
    for name in _SHAPES:
        value = options.get(name)
        if value is None:
            continue
        if name == "input_dim":
            value = (value,)
        shape = tuple(value) if isinstance(value, (tuple, list)) else (value,)
        shape = shape[1:] if name.startswith("batch") else shape
        if not shape or not all(isinstance(n, (int, np.integer)) and n > 0 for n in shape):
            raise ValueError(
                f"{kind}: {name}={options[name]!r}. The shape of one row is needed, without None: e.g. "
                "input_shape=(784,) or (28, 28)."
            )
        return tuple(int(n) for n in shape)
    return None


class InputLayer(Layer):
    """The input of a net, with the shape of a row."""

    weightless = True

    def __init__(self, shape: Any = None, batch_size: Any = None, dtype: Any = None, sparse: Any = None,
                 batch_shape: Any = None, name: str | None = None, ragged: Any = None, optional: bool = False,
                 **options: Any) -> None:  # fmt: skip
        for option, value in (("sparse", sparse), ("ragged", ragged), ("optional", optional)):
            if value:
                raise ValueError(f"Input: {option}=True is not offered. Give dense arrays with all values.")
        if shape is not None:
            options["input_shape"] = shape
        super().__init__(None, {**options, "batch_shape": batch_shape, "name": name})
        if self.input_shape_given is None:
            raise ValueError("InputLayer: the shape of one row is needed: e.g. keras.Input(shape=(784,)).")
        self.input_shape: Shape = self.input_shape_given
        self.given_dtype = dtype or floatx()

    @property
    def output(self) -> KerasTensor:
        """The symbolic tensor that it stands for."""
        return KerasTensor(self, ())

    @property
    def batch_shape(self) -> tuple[int | None, ...]:
        """Shape of the data, with None for the number of rows."""
        return (None, *self.input_shape)

    def get_config(self) -> dict[str, Any]:
        """Its arguments, as JSON types."""
        return {"batch_shape": [None, *self.input_shape], "dtype": self.given_dtype, "sparse": False, "ragged": False,
                "name": self.name, "optional": False}  # fmt: skip


def Input(
    shape: Any = None,
    batch_size: Any = None,
    dtype: Any = None,
    sparse: Any = None,
    batch_shape: Any = None,
    name: str | None = None,
    tensor: Any = None,
    ragged: Any = None,
    optional: bool = False,
) -> KerasTensor:
    """The input of a net: ``Input(shape=(784,))``, to call layers on or as the first item of a `Sequential`."""
    if tensor is not None:
        raise ValueError("Input: tensor is not offered. Leave it out, and give the shape of a row.")
    return KerasTensor(InputLayer(shape, batch_size, dtype, sparse, batch_shape, name, ragged, optional), ())
