"""The parts of a model that an estimator's parameters name: optimizer, layers, loss."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import losses, optimizers
from ..activations import NAMES
from ..arguments import choice, flag, integer, items, number, quoted, shorten
from ..arrays import fail
from ..layers import Activation, Ascending, BatchNorm, CategoryEmbedding, Dense, Dropout, Impute, Layer, OneHot
from ..losses import Loss
from ..optimizers import Optimizer, Solver
from ..regularizers import L2
from ..schedules import Schedule
from ..tabular.frames import Columns

Params = Mapping[str, Any]  # of an estimator, as `get_params` gives them

# scikit-learn's default of each parameter that only some solvers have, and what the optimizers call it. An estimator's
# own default is None: scikit-learn's for the solvers that it has, the optimizer's for the others.
ONLY_SOME: dict[str, tuple[str, float]] = {
    "learning_rate_init": ("learning_rate", 0.001),
    "momentum": ("momentum", 0.9),
    "nesterovs_momentum": ("nesterov", True),
    "beta_1": ("beta_1", 0.9),
    "beta_2": ("beta_2", 0.999),
    "epsilon": ("epsilon", 1e-8),
}
MOST_ONE_HOT = 32  # categories of a column; for more there is an embedding
ITS_SOLVERS = (optimizers.Adam, optimizers.SGD)
# What scikit-learn calls an activation of the output.
OUT = {"linear": "identity", "sigmoid": "logistic", "exponential": "exp", "softmax": "softmax"}


class OutputLayer(NamedTuple):
    """What a net is to predict: the loss, and activation and number of the outputs."""

    loss: Loss
    activation: str
    outputs: int

    @property
    def factor(self) -> float:
        """What makes scikit-learn's objective of the loss: sums over the outputs, half the squared error."""
        half = 0.5 if isinstance(self.loss, losses.MeanSquaredError) else 1.0
        return half * (1 if self.loss.over_classes else self.outputs)


def where(params: Params) -> str:
    """How messages begin: the name of the estimator."""
    return str(params["name"])


# ---- optimizer -------------------------------------------------------------------------------------------------------


def make_optimizer(params: Params) -> Optimizer:
    """The optimizer of a solver, with the parameters that it has.

    Raises
    ------
    ValueError, TypeError
        If there is no such solver, a parameter is out of range, or one is given that the solver has not.
    """
    name, solver = where(params), params["solver"]
    found = optimizers.get(copy.deepcopy(solver), f"{name}: solver")
    kind, own = type(found), found if isinstance(solver, Optimizer) else None
    takes = {} if own is not None else kind.__signature__.parameters
    given: dict[str, Any] = {}
    for parameter, (argument, usual) in ONLY_SOME.items():
        value = params[parameter]
        if value is None:
            value = usual if issubclass(kind, ITS_SOLVERS) else None
        elif argument not in takes and value != usual:
            fail(name, f"{parameter} is {shorten(value)} and the solver {shorten(solver)}",
                 f"it has no {parameter}", "leave it out")  # fmt: skip
        if value is not None and argument in takes:
            given[argument] = value
    if "learning_rate" in given and not isinstance(given["learning_rate"], (Schedule, dict)):
        number(f"{name}: learning_rate_init", given["learning_rate"], above=0)
    if own is not None:
        return own
    if issubclass(kind, Solver):
        given["gtol"] = number(f"{name}: tol", params["tol"], least=0)
    for argument in decay_arguments(kind):
        given[argument] = alpha(params)
    return kind(**given)


def decay_arguments(kind: type[Optimizer]) -> list[str]:
    """Arguments of an optimizer that decays weights by itself, which takes `alpha` in place of an l2 penalty."""
    parameters = kind.__signature__.parameters
    return [name for name, one in parameters.items() if name.endswith("weight_decay") and one.default]


def alpha(params: Params) -> float:
    """The strength of the l2 penalty."""
    return number(f"{where(params)}: alpha", params["alpha"], least=0)


def check_rate(params: Params, optimizer: Optimizer) -> str:
    """Return how the learning rate changes: "constant", "invscaling" or "adaptive"."""
    name = where(params)
    rate = choice(f"{name}: learning_rate", params["learning_rate"], ("constant", "invscaling", "adaptive"))
    if rate != "constant" and optimizer.full_batch:
        fail(name, f"learning_rate is {rate!r} and the solver {shorten(params['solver'])}",
             "it determines the step length itself", "leave learning_rate out")  # fmt: skip
    if rate != "constant" and isinstance(optimizer.learning_rate, Schedule):
        fail(name, f"learning_rate is {rate!r} and learning_rate_init a schedule", "they are alternatives", "drop one")
    return rate


# ---- layers ----------------------------------------------------------------------------------------------------------


def hidden_sizes(params: Params) -> list[int]:
    """The widths of the hidden layers; one number is one layer."""
    name, given = f"{where(params)}: hidden_layer_sizes", params["hidden_layer_sizes"]
    many = items(name, given, "a list of whole numbers") if hasattr(given, "__iter__") else [given]
    return [integer(f"{name}[{i}]", one, least=1) for i, one in enumerate(many)]


def needs_jacobian(optimizer: Optimizer) -> bool:
    """Whether a solver needs the derivatives of the outputs, which embeddings of categories have none of."""
    return isinstance(optimizer, Solver) and optimizer.needs != "gradient"


def front_layers(columns: Columns, fill: Sequence[float], one_hot: bool) -> list[Layer]:
    """Layers that make numbers of a table's columns: no missing ones, columns of 0 and 1 or embeddings for categories.

    Parameters
    ----------
    columns : Columns
    fill : sequence of float
        What a missing number becomes, for each column of numbers; empty where none is missing.
    one_hot : bool
        Whether all categories become columns of 0 and 1, however many they are.
    """
    codes = {j: [float(code) for code in range(len(values))]
             for j, values in zip(columns.categorical, columns.categories, strict=True)}  # fmt: skip
    made: list[Layer] = []
    if len(fill):
        numeric = [j for j in range(columns.count) if j not in codes]
        made.append(Impute(numeric, indicator=columns.missing, fill=list(fill)))
    few = [j for j in codes if one_hot or len(codes[j]) <= MOST_ONE_HOT]
    if few:
        made.append(OneHot(few, [codes[j] for j in few]))
    many = [j for j in codes if j not in few]
    if many:
        before = [sum(len(codes[k]) - 1 for k in few if k < j) for j in many]  # columns that OneHot puts before j
        moved = [j + shift for j, shift in zip(many, before, strict=True)]
        made.append(CategoryEmbedding(moved, codes=[codes[j] for j in many]))
    return made


def make_layers(params: Params, head: OutputLayer, penalty: float, front: Sequence[Layer]) -> list[Layer]:
    """The layers of the net.

    Parameters
    ----------
    params : mapping
    head : OutputLayer
    penalty : float
        Factor of the sum of the squared kernels.
    front : sequence of Layer
        What stands before the hidden layers.
    """
    name, l2 = where(params), L2(penalty) if penalty else None
    if not isinstance(params["activation"], str):
        raise TypeError(f"{name}: activation={shorten(params['activation'])}. Give a name such as 'relu'.")
    hidden = NAMES.find(params["activation"], f"{name}: activation")
    rate = number(f"{name}: dropout", params["dropout"], least=0, below=1)
    norm = flag(f"{name}: batch_norm", params["batch_norm"])
    made = list(front)
    for units in hidden_sizes(params):
        made.append(Dense(units, None if norm else hidden, kernel_regularizer=l2))
        made += [BatchNorm(), Activation(hidden)] if norm else []
        made += [Dropout(rate)] if rate else []
    if head.loss.outputs_each > 1 and params["monotonic_cst"] is None:
        each = head.loss.outputs_each
        return [*made, Ascending(each, head.outputs // each, kernel_regularizer=l2)]
    return [*made, Dense(head.outputs, head.activation, kernel_regularizer=l2)]


def monotonic(params: Params, names: Sequence[str] | None) -> list[int] | None:
    """The parameter `monotonic_cst` as `Model` takes it: -1, 0 or 1 for each column.

    Raises
    ------
    ValueError, TypeError
        If it is a dict and the columns have no names, or holds another name.
    """
    given, name = params["monotonic_cst"], where(params)
    if not isinstance(given, Mapping):
        return None if given is None else np.asarray(given).tolist()
    if names is None:
        fail(name, "monotonic_cst is a dict and X has no names of columns", "its keys are such names",
             "pass a data frame, or a list with -1, 0 or 1 for each column")  # fmt: skip
    unknown = [key for key in given if key not in names]
    if unknown:
        fail(name, f"monotonic_cst holds {unknown[0]!r}", "its keys are names of the columns of X",
             f"there are {quoted(list(names))}")  # fmt: skip
    return [given.get(column, 0) for column in names]


# ---- loss ------------------------------------------------------------------------------------------------------------


def regression_loss(params: Params) -> Loss:
    """The loss of a regressor.

    Raises
    ------
    ValueError, TypeError
        If it is not known, or for classes, or `quantile` does not belong to it.
    """
    name, quantile = where(params), params["quantile"]
    loss = losses.get(params["loss"], f"{name}: loss")
    if quantile is not None:
        if not isinstance(params["loss"], str) or not isinstance(loss, losses.Quantile):
            fail(name, f"quantile is {shorten(quantile)} and loss {shorten(params['loss'])}",
                 "quantile belongs to loss='quantile'", "drop one")  # fmt: skip
        single = np.ndim(quantile) == 0
        loss = losses.Quantile(number(f"{name}: quantile", quantile, above=0, below=1) if single else list(quantile))
    if isinstance(loss, losses.Quantile) and loss.outputs_each > 1 and 0.5 not in loss.levels:
        fail(name, f"the quantiles are {loss.levels}", "0.5 must be among several: predict gives the median",
             "add 0.5")  # fmt: skip
    if loss.classifies:
        fail(name, f"loss is {shorten(params['loss'])}", "a loss for numbers is needed",
             "use 'squared_error', 'absolute_error', 'huber', 'quantile' or 'poisson', or DenseClassifier")  # fmt: skip
    return loss


def suitable_activation(loss: Loss) -> str:
    """The activation of the output that suits a loss for numbers."""
    return "exponential" if loss.targets == "counts" else "linear"
