"""scikit-learn: `Model.to_sklearn` and `fastdense.from_sklearn`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from ..arguments import items, shorten
from ..arrays import fail
from ..lazy import needed
from .build import model_of
from .chain import Chain, ChainBlock, ChainStep, chain_of, refuse, without_idle
from .folding import folded

if TYPE_CHECKING:
    from .._model import Model

_ACTIVATIONS = {"identity": "linear", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu", "softmax": "softmax"}
_THEIRS = {ours: theirs for theirs, ours in _ACTIVATIONS.items()}


def from_sklearn(estimator: Any, *, dtype: str = "float32", device: str = "cpu", name: str | None = None) -> Model:
    """Make a model of a fitted MLPClassifier or MLPRegressor, or of a Pipeline of scalers and one of these.

    The model gives what ``predict_proba`` or ``predict`` gives: the probabilities in the order of ``classes_``, of two
    classes only that of the second one. It is not compiled; the optimizer's state is not carried.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor or Pipeline
        A Pipeline may hold StandardScaler, MinMaxScaler, MaxAbsScaler and RobustScaler in front.
    dtype : {"float32", "float64", "bfloat16"}
    device : {"cpu", "cuda", "reference"}
    name : str, optional

    Returns
    -------
    Model

    Raises
    ------
    ValueError, TypeError
        If it is not fitted, or another estimator (the message names it).

    Examples
    --------
    >>> import fastdense as fd
    >>> from sklearn.neural_network import MLPRegressor
    >>> mlp = MLPRegressor((8,), max_iter=3).fit([[0.0], [1.0]], [0.0, 1.0])  # doctest: +SKIP
    >>> fd.from_sklearn(mlp).layers  # doctest: +SKIP
    [Dense(8, activation='relu'), Dense(1)]
    """
    where = "from_sklearn"
    stages = list(getattr(estimator, "steps", [("", estimator)]))
    chain: Chain = []
    for place, stage in stages[:-1]:
        if stage is None or stage == "passthrough":
            continue
        row = SCALERS.get(type(stage).__name__)
        if row is None:
            _refuse(where, place, stage)
        _fitted(where, stage, "n_features_in_")
        scale, offset = row(stage)
        width = int(stage.n_features_in_)
        ones = np.ones(width)
        numbers = {"mean": offset * ones, "deviation": ones * scale}
        chain.append(ChainStep("normalization", numbers, width, width, place))
    place, mlp = stages[-1]
    if type(mlp).__name__ not in ("MLPClassifier", "MLPRegressor"):
        _refuse(where, place, mlp)
    _fitted(where, mlp, "coefs_")
    if mlp.activation not in _ACTIVATIONS:
        fail(where, f"activation is {mlp.activation!r}", f"fastdense reads {', '.join(_ACTIVATIONS)}")
    last = len(mlp.coefs_) - 1
    for i, (kernel, bias) in enumerate(zip(mlp.coefs_, mlp.intercepts_, strict=True)):
        inputs, outputs = kernel.shape
        chain.append(ChainStep("dense", {"kernel": kernel, "bias": bias}, inputs, outputs, f"layer {i}"))
        named = _ACTIVATIONS[mlp.out_activation_ if i == last else mlp.activation]
        if named != "linear":
            chain.append(ChainStep("activation", {"name": named}, outputs, outputs, f"layer {i}"))
    return model_of(chain, chain[0].inputs, where, dtype=dtype, device=device, name=name)


def _fitted(where: str, stage: Any, attribute: str) -> None:
    if not hasattr(stage, attribute):
        fail(where, f"{type(stage).__name__} is not fitted", "a fitted one has the numbers", "call fit first")


def _refuse(where: str, place: str, stage: Any) -> NoReturn:
    given = f"{place + ': ' if place else ''}{shorten(stage)}"
    raise TypeError(
        f"{where}: estimator holds {given}; MLPClassifier or MLPRegressor is needed, alone or in a Pipeline behind "
        f"{', '.join(SCALERS)}: transform the data before the net otherwise"
    )


def _min_max(stage: Any) -> tuple[Any, Any]:
    if stage.clip:
        fail("from_sklearn", "MinMaxScaler clips", "no layer does", "make it with clip=False")
    return 1.0 / stage.scale_, -stage.min_ / stage.scale_


def _or(value: Any, otherwise: float) -> Any:
    return otherwise if value is None else value


# What a scaler subtracts and divides by: (divisor, offset).
SCALERS: dict[str, Callable[[Any], tuple[Any, Any]]] = {
    "StandardScaler": lambda s: (_or(s.scale_, 1.0), s.mean_ if s.with_mean else 0.0),
    "MinMaxScaler": _min_max,
    "MaxAbsScaler": lambda s: (s.scale_, 0.0),
    "RobustScaler": lambda s: (_or(s.scale_, 1.0), _or(s.center_, 0.0)),
}


def to_sklearn(model: Model, *, classes: Sequence[Any] | None = None) -> Any:
    """See `Model.to_sklearn`."""
    where = "to_sklearn"
    networks: Any = needed(where, "sklearn.neural_network", "scikit-learn", "sklearn")
    layers, activations = _layers(where, folded(without_idle(chain_of(model, where))))
    last, hidden = activations[-1], activations[:-1]
    if len(set(hidden)) > 1 or not set(hidden) <= set(_THEIRS) - {"softmax"}:
        fail(where, f"the hidden layers have the activations {', '.join(hidden)}",
             "scikit-learn's nets have one for all: relu, tanh, sigmoid or linear",
             "export to ONNX instead")  # fmt: skip
    if last not in ("linear", "sigmoid", "softmax"):
        fail(where, f"the last layer has the activation {last!r}", "scikit-learn has linear, sigmoid and softmax there",
             "export to ONNX instead")  # fmt: skip
    if last == "linear" and classes is not None:
        fail(where, "classes is given, and the last layer is linear", "a regressor has none",
             "end the net with softmax or sigmoid")  # fmt: skip
    kind = networks.MLPRegressor if last == "linear" else networks.MLPClassifier
    sizes = tuple(int(step.outputs) for step in layers[:-1])
    made = kind(hidden_layer_sizes=sizes, activation=_THEIRS[hidden[0]] if hidden else "relu")
    made.coefs_ = [np.array(step.get("kernel"), np.float64) for step in layers]
    biases = [step.get("bias") for step in layers]
    made.intercepts_ = [np.zeros(step.outputs) if bias is None else np.array(bias, np.float64)
                        for step, bias in zip(layers, biases, strict=True)]  # fmt: skip
    made.n_layers_, made.n_outputs_, made.n_features_in_ = len(layers) + 1, model.outputs, model.inputs
    made.out_activation_, made.n_iter_, made.t_, made.loss_curve_ = _THEIRS[last], 0, 0, []
    made.loss_ = made.best_loss_ = None
    if last != "linear":
        _label(where, made, model.outputs, last, classes)
    return made


def _layers(where: str, chain: Chain) -> tuple[list[ChainStep], list[str]]:
    """The dense steps and the activation behind each."""
    layers: list[ChainStep] = []
    activations: list[str] = []
    for one in chain:
        if (
            isinstance(one, ChainBlock)
            or one.kind not in ("dense", "activation")
            or (one.kind != "dense" and not layers)
        ):
            what = f"a block of branches ({one.merge})" if isinstance(one, ChainBlock) else one.kind
            refuse(where, one.place, f"is {what}, which scikit-learn's nets do not have",
                   "Export to ONNX instead")  # fmt: skip
        if one.kind == "dense":
            layers.append(one)
            activations.append("linear")
        elif activations[-1] == "linear":
            activations[-1] = one.get("name")
        else:
            refuse(where, one.place, "is a second activation behind one layer", "Export to ONNX instead")
    if not layers:
        fail(where, "the model has no Dense layer", "scikit-learn's nets are made of them")
    return layers, activations


def _label(where: str, made: Any, outputs: int, last: str, classes: Sequence[Any] | None) -> None:
    """Let a classifier know its classes."""
    preprocessing: Any = needed(where, "sklearn.preprocessing", "scikit-learn", "sklearn")
    several = last == "sigmoid" and outputs > 1
    count = 2 if last == "sigmoid" and outputs == 1 else outputs
    labels = list(range(count)) if classes is None else items(f"{where}: classes", classes, "a list of labels")
    if len(labels) != count or sorted(set(labels)) != labels:
        fail(where, f"classes holds {shorten(labels)}", f"{count} different labels in ascending order are needed")
    if count < 2:
        fail(where, "the last layer is a softmax of one output", "a classifier has at least two classes",
             "end the net with sigmoid")  # fmt: skip
    binarizer = preprocessing.MultiLabelBinarizer() if several else preprocessing.LabelBinarizer()
    binarizer.fit([labels] if several else labels)
    if several:
        binarizer = preprocessing.LabelBinarizer()
        binarizer.fit(np.eye(count, dtype=int))
    made._label_binarizer = binarizer
    made.classes_ = np.array(labels)
