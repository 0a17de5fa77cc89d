"""`Function`: a layer whose formula is a function of the user's own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, ClassVar, NoReturn

import numpy as np
from numpy.typing import NDArray

from .. import constraints, initializers, regularizers
from ..arguments import flag, integer, items, optional_text, shorten
from ..specs import Config, Spec, resolve
from .base import Layer, TensorSpec

__all__ = ["Function", "Weight"]

Values = NDArray[Any]
_TRIAL_ROWS = 3
_known: ContextVar[Mapping[str, Any] | None] = ContextVar("known", default=None)


class Weight(Spec, family="weight", names=("weight",)):
    """A tensor of a `Function`.

    Parameters
    ----------
    name : str
        Its name in the layer.
    shape : sequence of int
        () is one number.
    initializer : str or Initializer, default "glorot_uniform"
        First values.
    trainable : bool, default True
        Whether training changes it. Those that it does not change come after the others in a layer.
    regularizer : str, Regularizer or list, optional
        l1 and l2 only.
    constraint : str or Constraint, optional
        What it is replaced by after each update; of norms, for tensors of one or two dimensions.

    Examples
    --------
    >>> from fastdense.layers import Weight
    >>> Weight("kernel", (4, 3))
    Weight('kernel', [4, 3])
    """

    _own = "Give its first values, penalties and constraints by name."

    def __init__(
        self,
        name: str,
        shape: Sequence[int],
        initializer: str | initializers.Initializer = "glorot_uniform",
        trainable: bool = True,
        regularizer: str | regularizers.Regularizer | Sequence[Any] | None = None,
        constraint: str | constraints.Constraint | None = None,
    ) -> None:
        self.name = optional_text("Weight: name", name) or "weight"
        given = items("Weight: shape", shape, "a tuple of integers, e.g. (4, 3)")
        self.shape = [integer(f"Weight: shape[{i}]", n, least=1) for i, n in enumerate(given)]
        chosen = initializers.get(initializer, "Weight: initializer")
        if isinstance(chosen, initializers.Data):
            raise ValueError("Weight: initializer='data' places the units of a Dense. Give another one.")
        self.initializer = chosen.for_activation("linear")
        self.trainable = flag("Weight: trainable", trainable)
        self.regularizer = regularizers.for_weights_or_outputs(regularizer, "Weight: regularizer")
        self.constraint: constraints.Constraint | None = None
        if constraint is not None:
            where, dimensions = "Weight: constraint", len(self.shape)
            self.constraint = constraints.get(constraint, where)
            if not isinstance(self.constraint, constraints.NonNeg) and dimensions not in (1, 2):
                raise ValueError(
                    f"{where}={shorten(constraint)} for a tensor of {dimensions} dimensions. Leave it out; norms are "
                    "of tensors of one or two dimensions."
                )
            self.constraint.terms(where, dimensions)

    def lower(self) -> Config:
        """Return it in the form that engines accept."""
        terms = regularizers.Terms() if self.regularizer is None else self.regularizer.terms()
        limit = None if self.constraint is None else self.constraint.terms("Weight", len(self.shape))
        return {"shape": self.shape, "trainable": self.trainable, "l1": terms.l1, "l2": terms.l2, "constraint": limit}


class WrongFunction(ValueError):
    """A function of the user's returned what cannot be used."""


class Computation:
    """What engines call for a `Function` layer; copies of the layer share it.

    Parameters
    ----------
    forward, backward : callable
        As of `Function`.
    name : str
        For messages, and the name in files.
    """

    title = "Function"  # for messages

    def __init__(self, forward: Callable[..., Any], backward: Callable[..., Any] | None, name: str) -> None:
        self.functions, self.name = (forward, backward), name
        self.trained = 0  # how many weights have gradients

    def __deepcopy__(self, memo: dict[int, Any]) -> Computation:
        return self  # it keeps nothing, and functions may hold anything

    def forward(self, x: Values, weights: list[Values], training: bool, keep: bool) -> tuple[Values, Any]:
        """Outputs (rows, units) for x (rows, inputs), and what `backward` is given if `keep`."""
        memory = (x.copy(), [one.copy() for one in weights]) if keep else None
        return self.checked("forward", self.functions[0](x, *weights), len(x)), memory

    def backward(self, memory: Any, dy: Values) -> tuple[Values, list[Values]]:
        """From the gradient of the outputs to those of x and of the weights that are trained."""
        x, weights = memory
        shapes = [x.shape, *(one.shape for one in weights)]
        function = self.functions[1]
        assert function is not None
        answer = function(x, *weights, dy)
        found = list(answer) if isinstance(answer, (tuple, list)) else [answer]
        if not 1 + self.trained <= len(found) <= len(shapes):
            self.fail(f"backward returned {len(found)} arrays", f"{1 + self.trained} are needed: dx, and one for each "
                      "weight that is trained")  # fmt: skip
        for array, shape, which in zip(found, shapes, ["dx", *(f"dweights[{i}]" for i in range(len(weights)))],
                                       strict=False):  # fmt: skip
            if np.shape(array) != shape:
                self.fail(f"{which} that backward returned has shape {np.shape(array)}", f"{shape} is needed")
        return found[0], found[1 : 1 + self.trained]

    def checked(self, where: str, made: Any, rows: int) -> Values:
        """Outputs as an array, which must hold one row for each row."""
        array = np.asarray(made)
        if array.ndim != 2 or len(array) != rows or array.dtype.kind not in "fiub":
            what = f"an array of shape {array.shape} and dtype {array.dtype}"
            if array.dtype == object:
                what = shorten(made)
            self.fail(f"{where} returned {what} for {rows} rows", f"real numbers of shape ({rows}, units) are needed")
        return array

    def fail(self, given: str, needed: str) -> NoReturn:
        """Raise for what a function of the user's returned."""
        raise WrongFunction(f"{self.title} {self.name!r}: {given}; {needed}")

    def failed(self, error: Exception, x: Values) -> NoReturn:
        """Raise for what `forward` raised in a trial."""
        raise ValueError(
            f"Function {self.name!r}: forward raised {type(error).__name__} for {len(x)} rows of {x.shape[1]} random "
            f"numbers ({error}); it must take any (with units= and check=False it is not tried)"
        ) from error


class Function(Layer, names=("function",), listed=False):
    """A layer whose formula is yours, as NumPy functions of a batch: its outputs, and the derivative.

    Engines call the functions once for each batch, with arrays of the net's type that are theirs to keep or change.
    Training, evaluation and prediction cut rows into batches of different sizes, so that each row of the outputs must
    depend on the same row of `x` alone: mean and variance of a batch are what `BatchNorm` is for.

    It is computed on the CPU (devices "cpu" and "reference"), layer by layer, while Python is locked: small nets that
    are trained row by row without it become slower. Populations train their members one by one. Of the full-batch
    optimizers, `LBFGS` takes it. What a function raises ends the call, and leaves the model at the last finished step.
    A file has the name of the layer's function only: see `custom_objects` of `fastdense.load`.

    Parameters
    ----------
    forward : callable
        ``forward(x, *weights) -> y``, from (rows, inputs) to (rows, units).
    backward : callable
        ``backward(x, *weights, dy) -> dx``, or ``(dx, *dweights)`` if there are weights that are trained: from the
        derivative of the loss by `y` to those by `x` and by each of them, in the shapes of these.
    units : int, optional
        Number of outputs; by default found by a call of `forward`.
    weights : sequence of Weight, optional
        Tensors of the layer; those that are trained come first.
    check : bool, default True
        Whether the functions are tried on three rows of random numbers when a model is made: that rows do not depend
        on one another, and that `backward` is the derivative of `forward`.
    name : str, optional
        Name of the layer in tables and files, and of its function in files; that of `forward` by default.
    trainable : bool, default True
        Whether training changes the layer's tensors; see `Layer`.

    Raises
    ------
    ValueError, TypeError
        If an argument is wrong; or, when a model is made, what the functions return.

    Examples
    --------
    >>> import fastdense as fd
    >>> import numpy as np
    >>> sine = fd.Function(np.sin, lambda x, dy: np.cos(x) * dy)
    >>> fd.Model([fd.Dense(8), sine, fd.Dense(1)], inputs=3).outputs
    1
    """

    operations = 50
    _own: ClassVar[str] = "Give the functions to Function(forward, backward)."

    def __init__(
        self,
        forward: Callable[..., Any] | Computation,
        backward: Callable[..., Any] | None = None,
        units: int | None = None,
        weights: Sequence[Weight] = (),
        check: bool = True,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        self.name = optional_text("Function: name", name)
        self.computation: Computation
        if isinstance(forward, Computation):
            self.computation = forward
        else:
            for which, one in (("forward", forward), ("backward", backward)):
                if not callable(one):
                    raise TypeError(
                        f"Function: {which}={shorten(one)} is of type {type(one).__name__}. "
                        "Give two functions: forward(x, *weights) -> y and backward(x, *weights, dy) -> dx."
                    )
            own = str(getattr(forward, "__name__", type(forward).__name__))
            self.computation = Computation(forward, backward, self.name or own)
        self.units = None if units is None else integer("Function: units", units, least=1)
        given = items("Function: weights", weights, "a list of fastdense.layers.Weight")
        self.weights: list[Weight] = [resolve(Weight, w, f"Function: weights[{i}]") for i, w in enumerate(given)]
        trained = [one.trainable for one in self.weights]
        if trained != sorted(trained, reverse=True):
            first = self.weights[trained.index(False)].name
            raise ValueError(f"Function: weights has {first!r}, which is not trained, before one that is. Put it last.")
        if len({one.name for one in self.weights}) < len(trained):
            raise ValueError("Function: weights has a name twice. Give each one another name.")
        self.computation.trained = sum(trained)
        self.check = flag("Function: check", check)
        self.trainable = trainable
        self._found: dict[int, int] = {}  # units for a number of inputs

    def _params(self) -> dict[str, Any]:
        params = {name: getattr(self, name) for name in ("units", "weights", "check", "name", "trainable")}
        return {"forward": self.computation.name, **params}

    def __repr__(self) -> str:
        return f"Function({self.computation.name}{'' if self.units is None else f', units={self.units}'})"

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, Function) and self.computation.functions == other.computation.functions
        return same and super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Function:
        name = config["forward"]
        given = (_known.get() or {}).get(name)
        if given is None:
            raise MissingFunction(name)
        functions = (given.computation,) if isinstance(given, Function) else given
        functions = functions if isinstance(functions, (tuple, list)) else (functions,)
        made = cls(*functions, **{key: value for key, value in config.items() if key != "forward"})
        if not isinstance(functions[0], Computation):
            made.computation.name = name
        return made

    # ---- as a layer ------------------------------------------------------------------------------------------------

    def output_width(self, inputs: int) -> int:
        if inputs not in self._found:
            self._found[inputs] = self.tried(inputs) if self.check or self.units is None else self.units
        return self._found[inputs]

    def lower(self, inputs: int) -> list[Config]:
        units, weights = self.output_width(inputs), [one.lower() for one in self.weights]
        return [{"kind": "function", "units": units, "weights": weights, "function": self.computation}]

    def tensors(self, inputs: int) -> list[TensorSpec]:
        return [TensorSpec(one.name, tuple(one.shape), one.trainable) for one in self.weights]

    def _initializer(self, tensor: str) -> initializers.Initializer:
        return next(one.initializer for one in self.weights if one.name == tensor)

    # ---- trial -----------------------------------------------------------------------------------------------------

    def tried(self, inputs: int) -> int:
        """Call the functions with random numbers, and return the number of outputs.

        Raises
        ------
        ValueError
            If they fail, or do not do what they must.
        """
        random = np.random.default_rng(0)
        x = random.normal(size=(_TRIAL_ROWS, inputs))
        weights = [random.normal(size=one.shape) for one in self.weights]
        with np.errstate(all="ignore"):
            y, memory = self._call(x, weights)
            if self.units not in (None, y.shape[1]):
                self.computation.fail(f"forward returned {y.shape[1]} columns", f"units={self.units} was given")
            if self.check:
                self._check_rows(x, weights, y)
                self._check_gradient(x, weights, y, memory, random)
        return int(y.shape[1])

    def _call(self, x: Values, weights: list[Values]) -> tuple[Values, Any]:
        copies = [one.copy() for one in weights]
        try:
            return self.computation.forward(x.copy(), copies, False, True)
        except WrongFunction:
            raise
        except Exception as error:
            self.computation.failed(error, x)

    def _check_rows(self, x: Values, weights: list[Values], y: Values) -> None:
        """Raise if rows depend on one another; what is random is left to the user."""
        if not _near(self._call(x, weights)[0], y):
            return
        for i in range(_TRIAL_ROWS):
            alone = self._call(x[i : i + 1], weights)[0]
            if not _near(alone, y[i : i + 1]):
                self.computation.fail(
                    "a row of its outputs depends on other rows",
                    "rows must be independent of one another, as training and prediction take different numbers of "
                    "them at a time: use axis=-1 or axis=1 in sums and means, or BatchNorm",
                )

    def _check_gradient(
        self, x: Values, weights: list[Values], y: Values, memory: Any, random: np.random.Generator
    ) -> None:
        """Raise if `backward` is not the derivative along some direction."""
        if self.computation.functions[1] is None:
            return
        trained = [one for one, spec in zip(weights, self.weights, strict=True) if spec.trainable]
        dy = random.normal(size=y.shape)
        try:
            dx, gradients = self.computation.backward(memory, dy.copy())
        except WrongFunction:
            raise
        except Exception as error:
            raise ValueError(
                f"Function {self.computation.name!r}: backward raised {type(error).__name__} ({error}); "
                "it is called as backward(x, *weights, dy)"
            ) from error
        for what, at, slope in [("dx", x, dx), *((f"the gradient of {spec.name!r}", w, g) for spec, w, g in
                                                 zip(self.weights, trained, gradients, strict=False))]:  # fmt: skip
            step = 1e-6 * random.normal(size=np.shape(at))
            kept, outputs = at.copy(), []
            for sign in (1, -1):
                at[...] = kept + sign * step
                outputs.append(np.asarray(self._call(x, weights)[0], np.float64))
            at[...] = kept
            found, given = float(((outputs[0] - outputs[1]) * dy).sum()) / 2, float((np.asarray(slope) * step).sum())
            size = 1e-6 * float(np.abs(dy).sum() * (1 + np.abs(y).max()))
            if np.isfinite(found) and abs(found - given) > 0.02 * max(abs(found), abs(given)) + 1e-4 * size:
                self.computation.fail(
                    f"{what} that backward returned is not the derivative: {given / 1e-6:.4g} along a random "
                    f"direction, where forward changes by {found / 1e-6:.4g}",
                    "give the derivative (check=False skips this test)",
                )


def _near(a: Values, b: Values) -> bool:
    """Whether outputs are equal but for rounding in float32."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return False
    finite = np.isfinite(b)
    size = float(np.abs(b[finite]).max()) if finite.any() else 0.0
    return bool(np.all(np.abs(a[finite] - b[finite]) <= 1e-4 * size))


class MissingFunction(ValueError):
    """A file or a config names a function that was not given."""

    def __init__(self, name: str) -> None:
        self.problem = f"it has a layer that computes the function {name!r} of your own"
        self.remedy = f"give it: custom_objects={{{name!r}: (forward, backward)}}"
        super().__init__(
            f"Function: the function {name!r} is not known, which a config only names; make the layer anew"
        )


@contextlib.contextmanager
def known_functions(objects: Mapping[str, Any]) -> Iterator[None]:
    """Within it, configs of `Function` layers find their functions in these objects."""
    token = _known.set({**(_known.get() or {}), **objects})
    try:
        yield
    finally:
        _known.reset(token)


def functions_in_order(layers: Sequence[Layer]) -> list[Function]:
    """The `Function` layers among these and inside of them."""
    found: list[Function] = []
    for layer in layers:
        found += [layer] if isinstance(layer, Function) else []
        for chain in getattr(layer, "chains", ()):
            found += functions_in_order(chain)
    return found


def functions_of(layers: Sequence[Layer]) -> dict[str, Function]:
    """The same by the names of their functions.

    Raises
    ------
    ValueError
        If two functions have one name, which a file could not tell from one another.
    """
    found: dict[str, Function] = {}
    for one in functions_in_order(layers):
        other = found.setdefault(one.computation.name, one)
        if other.computation.functions != one.computation.functions:
            raise ValueError(
                f"two Function layers compute different functions of the same name, {one.computation.name!r}, which "
                "would be confused; give them names: Function(..., name='...')"
            )
    return found


def function_names(config: Any) -> list[str]:
    """The names of the functions in the configs of layers, in the order of the layers."""
    if isinstance(config, Mapping):
        if config.get("class_name") == "Function":
            return [str(config["config"]["forward"])]
        return [name for value in config.values() for name in function_names(value)]
    return [name for value in config for name in function_names(value)] if isinstance(config, list) else []
