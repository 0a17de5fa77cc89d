"""Losses: the training objective, without the penalties of regularizers.

The loss of a batch is ``sum_i w_i v_i / rows`` plus the penalties of the regularizers, with ``w_i`` the sample weight
and ``v_i`` the loss of row ``i``, which each class states. ``y`` is the target, ``p`` the output of the net. Means and
sums run over the outputs of a row. Formulas and defaults are those of Keras 3 unless a class says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from .arguments import flag, integer, number, optional_text, quoted, shorten, suggestion
from .specs import Config, Spec, members, resolve

Array = NDArray[Any]

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "Custom",
    "Head",
    "Hinge",
    "Huber",
    "LogCosh",
    "Loss",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "PerHead",
    "Poisson",
    "Quantile",
    "SparseCategoricalCrossentropy",
    "get",
]


Targets = Literal["values", "counts", "signs", "probabilities", "distribution", "classes", "any", "heads"]


class Loss(Spec, family="loss"):
    """Base of the losses. A member states the four attributes below; one that does not is refused when it is defined.

    Attributes
    ----------
    kind, name : str
        The engines' name, and Keras's.
    targets : {"values", "counts", "signs", "probabilities", "distribution", "classes", "any", "heads"}
        What the targets are: any numbers, whose distance from the output is measured; counts; -1 or 1 for each output;
        a probability for each output; probabilities of one class each that sum to 1; class numbers, one for each row;
        any numbers, in any number of columns; those of several heads, side by side.
    curved : bool
        Whether there is a second derivative, which NewtonCG needs; the other losses are piecewise linear.
    from_logits : bool
        Whether the outputs become probabilities only in the loss; of the cross-entropies alone.
    called : bool
        Whether a function of the user's computes it, or the loss of a head, for each batch.
    outputs_each : int
        Outputs of the net for each column of the targets: one, or one for each of several quantiles.
    """

    _own = "Give a function of your own as fastdense.losses.Custom(fn)."
    kind: ClassVar[str]
    name: ClassVar[str]
    targets: ClassVar[Targets]
    curved: ClassVar[bool]
    from_logits: bool = False
    called: bool = False
    outputs_each: int = 1

    def __init_subclass__(cls, *, names: tuple[str, ...] = (), **kwargs: Any) -> None:
        for attribute in ("kind", "name", "targets", "curved") if names else ():
            if not hasattr(cls, attribute):
                raise TypeError(f"{cls.__name__}: a loss must state its {attribute}; see fastdense.losses.Loss")
        super().__init_subclass__(names=names, **kwargs)

    @property
    def sparse(self) -> bool:
        """Whether targets are class numbers, one per row, in place of one value per output."""
        return self.targets == "classes"

    @property
    def over_classes(self) -> bool:
        """Whether the outputs of a row stand for one class out of many."""
        return self.targets in ("distribution", "classes")

    @property
    def crossentropy(self) -> bool:
        """Whether the output stands for probabilities, which metrics then see."""
        return self.targets == "probabilities" or self.over_classes

    @property
    def classifies(self) -> bool:
        """Whether targets are classes, in whatever form."""
        return self.crossentropy or self.targets == "signs"

    @property
    def measures_distance(self) -> bool:
        """Whether it grows with the distance of the output from the target, so that least squares nearly solve it."""
        return self.targets == "values"

    def lower(self) -> Config:
        """Return the loss in the form that engines accept."""
        return {"kind": self.kind, "from_logits": False, "label_smoothing": 0.0, "param": 0.0}

    def lower_for(self, outputs: int) -> Config:
        """Return the same for a net of so many outputs, with a number for each where they differ."""
        made = self.lower()
        return {**made, "params": made["params"] * (outputs // self.outputs_each)} if "params" in made else made


class MeanSquaredError(Loss, names=("mse", "mean_squared_error", "squared_error")):
    """Mean of ``(y - p)**2``.

    Examples
    --------
    >>> from fastdense.losses import MeanSquaredError
    >>> MeanSquaredError().curved
    True
    """

    kind, name = "mse", "mean_squared_error"
    targets, curved = "values", True


class MeanAbsoluteError(Loss, names=("mae", "mean_absolute_error", "absolute_error")):
    """Mean of ``|y - p|``; its derivative at 0 is 0.

    Examples
    --------
    >>> from fastdense.losses import MeanAbsoluteError
    >>> MeanAbsoluteError().curved
    False
    """

    kind, name = "mae", "mean_absolute_error"
    targets, curved = "values", False


class Huber(Loss, names=("huber", "huber_loss")):
    """Mean of ``e**2 / 2`` where ``|e| <= delta``, else ``delta |e| - delta**2 / 2``, with ``e = y - p``.

    Parameters
    ----------
    delta : float, default 1.0
        Where the loss turns from quadratic to linear; above 0.

    Examples
    --------
    >>> from fastdense.losses import Huber
    >>> Huber(delta=2.0)
    Huber(delta=2.0)
    """

    kind, name = "huber", "huber_loss"
    targets, curved = "values", True

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = number("Huber: delta", delta, above=0)

    def lower(self) -> Config:
        return {**super().lower(), "param": self.delta}


class LogCosh(Loss, names=("log_cosh",)):
    """Mean of ``log(cosh(y - p))``: quadratic near 0, linear far away, smooth everywhere.

    Examples
    --------
    >>> from fastdense.losses import LogCosh
    >>> LogCosh()
    LogCosh()
    """

    kind, name = "log_cosh", "log_cosh"
    targets, curved = "values", True


class MeanAbsolutePercentageError(Loss, names=("mape", "mean_absolute_percentage_error")):
    """Mean of ``100 |y - p| / max(|y|, 1e-7)``.

    Examples
    --------
    >>> from fastdense.losses import MeanAbsolutePercentageError
    >>> MeanAbsolutePercentageError()
    MeanAbsolutePercentageError()
    """

    kind, name = "mape", "mean_absolute_percentage_error"
    targets, curved = "values", False


class Poisson(Loss, names=("poisson",)):
    """Mean of ``p - y log(p + 1e-7)``, for counts; the outputs must be positive, as softplus or exponential give.

    Examples
    --------
    >>> from fastdense.losses import Poisson
    >>> Poisson().targets
    'counts'
    """

    kind, name = "poisson", "poisson"
    targets, curved = "counts", True


class Quantile(Loss, names=("quantile", "pinball")):
    """Mean of ``max(q e, (q - 1) e)`` with ``e = y - p``; its minimum is the ``q``-quantile of y (Koenker, 1978).

    Several quantiles are learned at once from a list: the net then has an output for each of them, those of the first
    target before those of the second, while `y` has a column for each target as ever. End the net with
    `fastdense.Ascending`, and they never cross; `Model.predict_interval` makes intervals of them.

    Parameters
    ----------
    q : float or list of float, default 0.5
        The quantile to learn, between 0 and 1, or several of them in ascending order; 0.5 is the median.

    Examples
    --------
    >>> import fastdense as fd
    >>> fd.losses.Quantile(q=0.9)
    Quantile(q=0.9)
    >>> model = fd.Model([fd.Dense(16, "relu"), fd.Ascending(3)], inputs=4)
    >>> model.compile("adam", fd.losses.Quantile([0.05, 0.5, 0.95]))
    """

    kind, name = "quantile", "quantile"
    targets, curved = "values", False
    q: float | list[float]

    def __init__(self, q: float | Sequence[float] = 0.5) -> None:
        if isinstance(q, (list, tuple)) or (isinstance(q, np.ndarray) and q.ndim):
            self.q = [number(f"Quantile: q[{i}]", one, above=0, below=1) for i, one in enumerate(q)]
            if not self.q or any(low >= high for low, high in pairwise(self.q)):
                raise ValueError(f"Quantile: q={shorten(q)}. Give at least one level, in ascending order, each once.")
        else:
            self.q = number("Quantile: q", q, above=0, below=1)

    @property
    def levels(self) -> list[float]:
        """The quantiles as a list."""
        return list(self.q) if isinstance(self.q, list) else [self.q]

    @property
    def outputs_each(self) -> int:  # type: ignore[override]
        """Outputs of the net for each column of the targets."""
        return len(self.levels)

    def lower(self) -> Config:
        levels = self.levels
        return {**super().lower(), "param": levels[0], **({"params": levels} if len(levels) > 1 else {})}


class Hinge(Loss, names=("hinge",)):
    """Mean of ``max(0, 1 - y p)``, with targets -1 and 1 (not 0 and 1).

    Examples
    --------
    >>> from fastdense.losses import Hinge
    >>> Hinge().targets
    'signs'
    """

    kind, name = "hinge", "hinge"
    targets, curved = "signs", False


class _Crossentropy(Loss):
    def __init__(self, from_logits: bool = False, label_smoothing: float = 0.0) -> None:
        where = type(self).__name__
        self.from_logits = flag(f"{where}: from_logits", from_logits)
        self.label_smoothing = number(f"{where}: label_smoothing", label_smoothing, least=0, most=1)

    def lower(self) -> Config:
        return {**super().lower(), "from_logits": self.from_logits, "label_smoothing": self.label_smoothing}


class BinaryCrossentropy(_Crossentropy, names=("binary_crossentropy", "bce", "log_loss")):
    """Mean of ``-y log p - (1 - y) log(1 - p)``, one yes-or-no question per output.

    After a sigmoid, and with ``from_logits=True``, it is computed from the value before the sigmoid, which loses no
    digits however sure the net is. Any other output is taken as a probability and clipped to [1e-7, 1 - 1e-7].

    Parameters
    ----------
    from_logits : bool, default False
        Whether the output is the value before a sigmoid.
    label_smoothing : float, default 0.0
        Moves each target towards 1/2: ``y (1 - s) + s / 2``; from 0 to 1.

    Examples
    --------
    >>> from fastdense.losses import BinaryCrossentropy
    >>> BinaryCrossentropy(label_smoothing=0.1)
    BinaryCrossentropy(label_smoothing=0.1)
    """

    kind, name = "binary_crossentropy", "binary_crossentropy"
    targets, curved = "probabilities", True


class CategoricalCrossentropy(_Crossentropy, names=("categorical_crossentropy",)):
    """``-sum y log p``, with one-hot targets (or any probabilities) of one class out of many.

    After a softmax, and with ``from_logits=True``, it is computed from the values before the softmax, which loses no
    digits. Any other output is divided by its sum and clipped to [1e-7, 1 - 1e-7].

    Parameters
    ----------
    from_logits : bool, default False
        Whether the outputs are the values before a softmax.
    label_smoothing : float, default 0.0
        Spreads this part of each target evenly over the classes: ``y (1 - s) + s / classes``; from 0 to 1.

    Examples
    --------
    >>> from fastdense.losses import CategoricalCrossentropy
    >>> CategoricalCrossentropy(from_logits=True)
    CategoricalCrossentropy(from_logits=True)
    """

    kind, name = "categorical_crossentropy", "categorical_crossentropy"
    targets, curved = "distribution", True


class SparseCategoricalCrossentropy(_Crossentropy, names=("sparse_categorical_crossentropy",)):
    """As `CategoricalCrossentropy`, with class numbers 0, 1, ... as targets, one integer per row.

    Parameters
    ----------
    from_logits : bool, default False
        Whether the outputs are the values before a softmax.
    label_smoothing : float, default 0.0
        As in `CategoricalCrossentropy`; Keras offers it there only.

    Examples
    --------
    >>> from fastdense.losses import SparseCategoricalCrossentropy
    >>> SparseCategoricalCrossentropy().targets
    'classes'
    """

    kind, name = "sparse_categorical_crossentropy", "sparse_categorical_crossentropy"
    targets, curved = "classes", True


class Custom(Loss):
    """A loss of your own, as a NumPy function that returns the loss and its derivative.

    It is called once for each batch; all else is compiled as ever. Targets may have any number of columns. Full-batch
    optimizers other than `LBFGS`, which need curvature, refuse it, and populations train one by one.

    Parameters
    ----------
    fn : callable
        ``fn(y_true, y_pred) -> (value, gradient)``. `y_true` is (rows, columns) and `y_pred` (rows, outputs), in the
        net's type, both its own to keep or change. `value` has the loss of each row, (rows,), and ``gradient[i]`` is
        the derivative of ``value[i]`` by ``y_pred[i]``; or `value` is one number, the loss of the batch, and `gradient`
        is its derivative by `y_pred`. The shape of `gradient` is that of `y_pred`.
    name : str, optional
        By which a file names the loss; that of the function by default.
    check : bool, default True
        Whether the first batch compares the gradient with a difference of values, which costs two more calls.

    Examples
    --------
    >>> import fastdense as fd
    >>> import numpy as np
    >>> def squared_log(y_true, y_pred):  # of positive numbers
    ...     e = np.log1p(y_pred) - np.log1p(y_true)
    ...     return (e**2).mean(axis=1), 2 * e / (1 + y_pred) / e.shape[1]
    >>> model = fd.Model([fd.Dense(1, "softplus")], inputs=3)
    >>> model.compile("adam", fd.losses.Custom(squared_log))
    >>> model.loss
    Custom(name='squared_log')
    """

    kind = "custom"
    name: str  # type: ignore[misc]
    targets, curved = "any", False
    called = True

    def __init__(self, fn: Callable[[Any, Any], Any], name: str | None = None, check: bool = True) -> None:
        if not callable(fn):
            raise TypeError(
                f"Custom: fn={shorten(fn)} is of type {type(fn).__name__}. "
                "Give a function of (y_true, y_pred) that returns (value, gradient)."
            )
        self.fn = fn
        self.name = optional_text("Custom: name", name) or str(getattr(fn, "__name__", type(fn).__name__))
        self.check = flag("Custom: check", check)
        self._checked = False

    def get_config(self) -> Config:
        return {"name": self.name, "check": self.check}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Custom) and self.fn == other.fn and self.get_config() == other.get_config()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r})"

    def of_batch(self, y: Array, p: Array, weights: Array | None, with_gradient: bool) -> tuple[Array, Array | None]:
        """What engines need: weight times loss of each row, and the gradient of their sum, divided by the rows.

        Parameters
        ----------
        y : ndarray of shape (rows, columns)
        p : ndarray of shape (rows, outputs)
        weights : ndarray of shape (rows,) or None
        with_gradient : bool
        """
        value, gradient = self._called(y.copy(), p.copy())
        if not self._checked:
            self._check_first(y, p, value, gradient)
        rows = len(p)
        if value.ndim == 0:
            weight = 1.0 if weights is None else float(weights.mean())
            return np.full(rows, weight * float(value)), weight * gradient if with_gradient else None
        if weights is None:
            return value, gradient / rows if with_gradient else None
        return weights * value, gradient * (weights / rows)[:, None] if with_gradient else None

    def _called(self, y: Array, p: Array) -> tuple[Array, Array]:
        """Value and gradient, in float64 and of the right shapes."""
        answer, shape = self.fn(y, p), p.shape
        if not isinstance(answer, tuple) or len(answer) != 2:
            self._fail(f"the function returned {shorten(answer)}", "(value, gradient) is needed")
        value, gradient = (np.asarray(part) for part in answer)
        for what, array in (("value", value), ("gradient", gradient)):
            if array.dtype.kind not in "fiu":
                self._fail(f"the {what} has dtype {array.dtype}", "real numbers are needed")
        if value.shape not in ((), (len(p),)):
            self._fail(f"the value has shape {value.shape}", f"() or ({len(p)},) is needed, one number or one a row")
        if gradient.shape != shape:
            self._fail(f"the gradient has shape {gradient.shape}", f"{shape} is needed, that of y_pred")
        return value.astype(np.float64), gradient.astype(np.float64)

    def _check_first(self, y: Array, p: Array, value: Array, gradient: Array) -> None:
        """Of the first batch: finite numbers, and a gradient that is one."""
        for what, array in (("value", value), ("gradient", gradient)):
            if np.isfinite(p).all() and not np.isfinite(array).all():
                self._fail(f"the {what} of the first batch is not finite", "finite numbers are needed")
        self._checked = True
        size = float(np.abs(gradient).max())
        if not self.check or size == 0 or not np.isfinite(p).all():
            return
        exact, targets = p.astype(np.float64), y.astype(np.float64)
        step = 1e-5 * max(1e-3, float(np.abs(exact).mean())) / size * gradient
        ahead, behind = (float(self._called(targets.copy(), exact + by)[0].sum()) for by in (step, -step))
        found, given = (ahead - behind) / 2, float((gradient * step).sum())
        noise = 1e-12 * (abs(ahead) + abs(behind))
        if abs(found - given) > 0.02 * max(abs(found), abs(given)) + noise:
            self._fail(
                f"along the gradient the value changes {found / given:.3g} times as much as the gradient says",
                "the gradient must be the derivative of the value by y_pred (check=False skips this test)",
            )

    def _fail(self, given: str, needed: str) -> NoReturn:
        raise ValueError(f"losses.Custom {self.name!r}: {given}; {needed}")


class Head(Spec, family="head", names=("head",)):
    """Some of the outputs of a net, with a loss of their own: a part of `PerHead`.

    Parameters
    ----------
    name : str
        By which targets, weights and metrics name it.
    columns : int
        How many of the outputs are its.
    loss : str, Loss or None
        None: it only predicts, and has no targets.
    weight : float, default 1.0
        Factor of its loss in the sum; at least 0.
    targets : int, optional
        Columns of its targets: 1 for class numbers, else as many as outputs. Other numbers are for a `Custom` loss.

    Examples
    --------
    >>> from fastdense.losses import Head
    >>> Head("kind", 3, "sparse_categorical_crossentropy", weight=0.5).targets
    1
    """

    def __init__(self, name: str, columns: int, loss: Any, weight: float = 1.0, targets: int | None = None) -> None:
        self.name = optional_text("Head: name", name) or ""
        if not self.name:
            raise ValueError(f"Head: name={name!r}. Give a name that is not empty.")
        self.columns = integer("Head: columns", columns, least=1)
        self.loss = None if loss is None else get(loss, f"Head {name!r}: loss")
        if isinstance(self.loss, PerHead):
            raise TypeError(f"Head {name!r}: loss={shorten(loss)} has heads itself. Give all heads in one list.")
        if self.loss is not None and self.loss.outputs_each > 1:
            raise ValueError(
                f"Head {name!r}: loss={shorten(loss)} has several quantiles, and a head one. "
                "Give a head for each quantile, or the loss to the whole net."
            )
        self.weight = number(f"Head {name!r}: weight", weight, least=0)
        needed = 0 if self.loss is None else 1 if self.loss.sparse else self.columns
        self.targets = needed if targets is None else integer(f"Head {name!r}: targets", targets, least=0)
        self._needed = needed
        if self.targets != needed and not (self.loss is not None and self.loss.targets == "any" and self.targets):
            raise ValueError(f"Head {name!r}: targets={targets}, and its loss takes {needed} columns. Leave it out.")

    def _is_default(self, name: str, value: Any) -> bool:
        return value == self._needed if name == "targets" else super()._is_default(name, value)


class PerHead(Loss, names=("per_head",), listed=False):
    """Weighted sum of the losses of several heads, which are the outputs of a net side by side.

    A net with heads ends with `Branches`, or with one layer of as many units. Targets are given as a dict by the names
    of heads, as a list in their order, or as one array with all columns side by side; class numbers are a column.
    `sample_weight` may be given for each head likewise. The parts of the sum are reported by metrics:
    ``metrics.OfHead("kind", "loss")``.

    A cross-entropy of a head is computed from its probabilities, clipped to [1e-7, 1 - 1e-7], as Keras does; end the
    head without an activation and give ``from_logits=True`` to lose no digits. Nets with heads train on the CPU and the
    reference engine, one by one; full-batch optimizers other than `LBFGS` refuse them.

    Parameters
    ----------
    heads : list of Head
        In the order of the outputs, which they divide up completely.

    Examples
    --------
    >>> import fastdense as fd
    >>> ends = fd.Branches([[fd.Dense(1)], [fd.Dense(3, "softmax")]])
    >>> model = fd.Model([fd.Dense(8, "relu"), ends], inputs=4)
    >>> heads = [
    ...     fd.losses.Head("price", 1, "mse"),
    ...     fd.losses.Head("kind", 3, "sparse_categorical_crossentropy", weight=0.5),
    ... ]
    >>> model.compile("adam", fd.losses.PerHead(heads), metrics=[fd.metrics.OfHead("kind", "accuracy")])
    >>> model.metrics_names
    ['loss', 'kind_accuracy']
    """

    kind, name = "heads", "per_head"
    targets, curved = "heads", False

    def __init__(self, heads: Sequence[Any]) -> None:
        if not isinstance(heads, (list, tuple)) or not heads:
            raise TypeError(f"PerHead: heads={shorten(heads)}. Give a list of losses.Head(name, columns, loss).")
        self.heads = [resolve(Head, head, f"PerHead: heads[{i}]") for i, head in enumerate(heads)]
        names = [head.name for head in self.heads]
        twice = [name for i, name in enumerate(names) if name in names[:i]]
        if twice:
            raise ValueError(f"PerHead: two heads are called {twice[0]!r}. Give each a name of its own.")
        if all(head.loss is None for head in self.heads):
            raise ValueError("PerHead: no head has a loss. Give at least one.")

    @property
    def called(self) -> bool:  # type: ignore[override]
        """Whether the loss of a head is a function of the user's."""
        return any(head.loss is not None and head.loss.called for head in self.heads)

    @property
    def columns(self) -> int:
        """Outputs of all heads."""
        return sum(head.columns for head in self.heads)

    @property
    def target_columns(self) -> int:
        """Columns of the targets of all heads."""
        return sum(head.targets for head in self.heads)

    def index(self, name: str, where: str) -> int:
        """Number of the one with this name.

        Raises
        ------
        ValueError
            If there is none.
        """
        names = [head.name for head in self.heads]
        if name not in names:
            raise ValueError(
                f"{where}: no head is called {name!r}.{suggestion(str(name), names)} There are {quoted(names)}."
            )
        return names.index(name)

    def lower(self) -> Config:
        heads = [
            {"loss": None if head.loss is None else head.loss.lower(), "weight": head.weight,
             "columns": head.columns, "targets": head.targets}
            for head in self.heads
        ]  # fmt: skip
        return {**super().lower(), "heads": heads}

    def part(self, h: int, y: Array, p: Array, weights: Array | None) -> tuple[Array, Array, Array | None]:
        """Targets, outputs and weights of a head, of what engines show a hook.

        Parameters
        ----------
        h : int
        y : ndarray of shape (rows, target columns of all heads, and perhaps a column of weights for each)
        p : ndarray of shape (rows, outputs)
        weights : ndarray of shape (rows,) or None
        """
        head = self.heads[h]
        first, first_target = (sum(getattr(one, what) for one in self.heads[:h]) for what in ("columns", "targets"))
        own = y[:, first_target : first_target + head.targets]
        if y.shape[1] > self.target_columns:
            column = y[:, self.target_columns + h].astype(np.float64)
            weights = column if weights is None else column * weights
        if head.loss is not None and head.loss.sparse:
            own = own[:, 0].astype(np.int32)
        return np.ascontiguousarray(own), np.ascontiguousarray(p[:, first : first + head.columns]), weights

    def of_batch(self, y: Array, p: Array, weights: Array | None, with_gradient: bool) -> tuple[Array, Array | None]:
        """As `Custom.of_batch`, of heads with such a loss: (rows, heads), and the gradient of their weighted sum."""
        values = np.zeros((len(p), len(self.heads)))
        gradient = np.zeros(p.shape) if with_gradient else None
        first = 0
        for h, head in enumerate(self.heads):
            if isinstance(head.loss, Custom):
                values[:, h], own = head.loss.of_batch(*self.part(h, y, p, weights), with_gradient)
                if gradient is not None and own is not None:
                    gradient[:, first : first + head.columns] = head.weight * own
            first += head.columns
        return values, gradient


DISTANCES = tuple(member.kind for member in members(Loss) if member.targets == "values")  # see `measures_distance`


def get(value: Any, where: str = "loss") -> Loss:
    """Return a loss from a name, an object, a class or a config dict; see `fastdense.specs.resolve`."""
    return resolve(Loss, value, where)
