"""What users write down: names, defaults, configs, messages, and what it all becomes for the engines."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdense import initializers, layers, losses, metrics, optimizers, regularizers, schedules
from fastdense.activations import ACTIVATIONS
from fastdense.arguments import nearest
from fastdense.initializers import Initializer
from fastdense.layers import (
    Activation,
    BatchNorm,
    Branches,
    CategoryEmbedding,
    Dense,
    Dropout,
    Impute,
    Layer,
    LayerNorm,
    Log1p,
    Normalization,
    NumericEmbedding,
    OneHot,
    Periodic,
    Rescaling,
    Residual,
    RobustScale,
    Scale,
    SelectColumns,
)
from fastdense.losses import Loss
from fastdense.metrics import Metric
from fastdense.optimizers import Adam, Optimizer
from fastdense.regularizers import Regularizer
from fastdense.schedules import CosineDecay, Schedule
from fastdense.specs import Spec, resolve

FAMILIES: list[type[Spec]] = [Layer, Loss, Optimizer, Initializer, Regularizer, Metric, Schedule]
MODULES = (layers, losses, optimizers, initializers, regularizers, metrics, schedules)


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "names", "class_name"),
    [
        (losses, "mse MSE mean_squared_error MeanSquaredError squared_error", "MeanSquaredError"),
        (losses, "mae MAE mean_absolute_error MeanAbsoluteError", "MeanAbsoluteError"),
        (losses, "mape mean_absolute_percentage_error", "MeanAbsolutePercentageError"),
        (losses, "huber Huber huber_loss", "Huber"),
        (losses, "log_cosh logcosh LogCosh", "LogCosh"),
        (losses, "binary_crossentropy bce BinaryCrossentropy log_loss", "BinaryCrossentropy"),
        (losses, "sparse_categorical_crossentropy", "SparseCategoricalCrossentropy"),
        (optimizers, "rmsprop RMSprop rms_prop", "RMSprop"),
        (optimizers, "adamw AdamW adam_w", "AdamW"),
        (optimizers, "sgd SGD", "SGD"),
        (initializers, "he_normal HeNormal kaiming_normal", "HeNormal"),
        (initializers, "zeros zero Zeros", "Zeros"),
        (regularizers, "l1_l2 L1L2 l1l2", "L1L2"),
        (regularizers, "orthogonal orthogonal_regularizer OrthogonalRegularizer", "OrthogonalRegularizer"),
        (metrics, "accuracy acc Accuracy", "Accuracy"),
        (metrics, "top_k_accuracy", "TopKAccuracy"),
        (metrics, "top_k_categorical_accuracy TopKCategoricalAccuracy", "TopKCategoricalAccuracy"),
        (metrics, "r2 r2_score R2Score", "R2Score"),
        (metrics, "f1 f1_score", "F1Score"),
        (metrics, "auc AUC", "AUC"),
        (layers, "batch_norm BatchNorm BatchNormalization", "BatchNorm"),
    ],
)
def test_every_spelling_of_a_name_gives_the_class(module: Any, names: str, class_name: str) -> None:
    for name in names.split():
        assert type(module.get(name)).__name__ == class_name


def _words(text: str) -> set[str]:
    return set(text.split())


def test_names_of_each_family_are_those_of_the_contract() -> None:
    shown = {base.family.noun: set(base.family.shown) for base in FAMILIES}
    assert shown["loss"] == _words(
        "mse mae huber log_cosh mape poisson quantile hinge "
        "binary_crossentropy categorical_crossentropy sparse_categorical_crossentropy"
    )
    assert shown["optimizer"] == _words(
        "sgd rmsprop adagrad adadelta adam adamw nadam adamax ftrl lion muon kfac lbfgs levenberg_marquardt newton_cg"
    )
    assert set(ACTIVATIONS) == _words(
        "linear relu leaky_relu prelu relu6 elu selu celu gelu silu mish softplus softsign tanh sigmoid hard_sigmoid "
        "exponential softmax log_sigmoid hard_silu hard_tanh tanh_shrink soft_shrink hard_shrink squareplus "
        "sparse_plus sparse_sigmoid"
    )
    assert shown["metric"] >= _words("accuracy top_k_accuracy mse mae mape r2 auc precision recall f1")


def test_objects_classes_and_dicts_resolve() -> None:
    adam = Adam(0.1)
    assert optimizers.get(adam) is adam
    assert optimizers.get(Adam) == Adam()
    assert optimizers.get(adam.to_dict()) == adam
    assert optimizers.get({"class_name": "adam", "config": {}}) == Adam()


def test_a_name_cannot_be_taken_twice() -> None:
    with pytest.raises(RuntimeError, match="loss name 'mse' is taken"):

        class _Double(losses.MeanSquaredError, names=("double", "mse")):
            pass


@pytest.mark.parametrize(
    ("given_name", "names", "expected"),
    [
        ("lr", ["momentum", "learning_rate"], "learning_rate"),
        ("mes", ["mse", "mae"], "mse"),
        ("mea", ["mse", "mae"], "mae"),
        ("cross_entropy", ["hinge", "binary_crossentropy"], "binary_crossentropy"),
        ("unlike", ["mse"], None),
    ],
)
def test_nearest(given_name: str, names: list[str], expected: str | None) -> None:
    assert nearest(given_name, names) == expected


# --- messages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: losses.get("mes"), ValueError, r"^loss='mes' is not a known loss\. Did you mean 'mse'\? Use on"),
        (lambda: losses.get("zzz"), ValueError, r"^loss='zzz' is not a known loss\. Use one of 'mse', 'mae', 'huber'"),
        (lambda: losses.get(3), TypeError, r"^loss=3 is of type int\. Give the loss as a name such as 'mse', 'mae'"),
        (lambda: losses.get(None), TypeError, r"^loss=None is of type NoneType\. Give the loss as"),
        (lambda: losses.get({"class_name": "mse"}), TypeError, r"^loss=\{'class_name': 'mse'\} is of type dict\. Give"),
        (lambda: losses.get("m" * 200), ValueError, r"^loss='m{76}\.\.\. is not a known loss"),
        (lambda: schedules.get("cosine_decay"), ValueError, r"CosineDecay needs arguments \(initial_learning_rate, "),
        (lambda: Adam(lr=0.1), TypeError, r"^Adam: unknown argument 'lr'\. Did you mean 'learning_rate'\? It takes le"),
        (lambda: Dense(3, activaton="relu"), TypeError, r"^Dense: unknown argument 'activaton'\. Did you mean 'activ"),
        (lambda: losses.LogCosh(delta=1), TypeError, r"^LogCosh: unknown argument 'delta'\. It takes no arguments\.$"),
        (lambda: Adam.from_config({"beta1": 0.9}), TypeError, r"unknown argument 'beta1'\. Did you mean 'beta_1'\?"),
        (lambda: Dense(3, "rleu"), ValueError, r"^Dense: activation='rleu' is not a known activation\. Did you mean"),
        (lambda: Dense(3, 5), TypeError, r"^Dense: activation=5 is of type int\. Give a name such as 'relu', an Activ"),
        (lambda: Dense(3, Dropout(0.1)), TypeError, r"^Dense: activation=Dropout\(0\.1\) is of type Dropout"),
        (lambda: Dense(3.0), TypeError, r"^Dense: units=3\.0 is of type float\. Give a whole number, at least 1\.$"),
        (lambda: Dense(True), TypeError, r"^Dense: units=True is of type bool"),
        (lambda: Dense(0), ValueError, r"^Dense: units=0 is out of range\. Give a whole number, at least 1\.$"),
        (lambda: Dense(3, use_bias=1), TypeError, r"^Dense: use_bias=1 is of type int\. Give True or False\.$"),
        (lambda: Dense(3, kernel_initializer="he"), ValueError, r"^Dense: kernel_initializer='he' is not a known init"),
        (lambda: Dense(3, bias_regularizer="repulsion"), ValueError, r"^Dense: bias_regularizer: Repul.*Use l1, l2 or"),
        (lambda: Dense(3, activity_regularizer="orthogonal"), ValueError, r"^Dense: activity_regularizer: Orthogonal"),
        (lambda: Dense(3, name=""), TypeError, r"^Dense: name='' is of type str\. Give a non-empty string"),
        (lambda: Dropout(1.0), ValueError, r"^Dropout: rate=1\.0 is out of range\. Give a finite number at "),
        (lambda: Dropout("0.5"), TypeError, r"^Dropout: rate='0\.5' is of type str"),
        (lambda: Activation("relu", 0.1), ValueError, r"^Activation: relu takes no alpha, got 0\.1\. Leave it out"),
        (lambda: BatchNorm(epsilon=0), ValueError, r"^BatchNorm: epsilon=0 is out of range\. Give a finite "),
        (lambda: Residual([]), TypeError, r"^Residual: layers=\[\]\. Give a list of at least one layer"),
        (lambda: Residual(["dens"]), ValueError, r"^Residual: layers\[0\]='dens' is not a known layer\. Did you mean "),
        (lambda: Residual([Dense(3)]).output_width(4), ValueError, r"turn 4 inputs into 3 outputs.*have 4 units"),
        (lambda: losses.Huber(float("nan")), ValueError, r"^Huber: delta=nan is out of range\. Give a finite number"),
        (lambda: losses.Quantile(1), ValueError, r"^Quantile: q=1 is out of range"),
        (lambda: Adam(clipnorm=1, clipvalue=1), ValueError, r"^Adam: clipvalue=1\.0 and clipnorm=1\.0\. Give at most"),
        (lambda: Adam(-1), ValueError, r"^Adam: learning_rate=-1 is out of range\. Give a finite number at least 0\.$"),
        (lambda: Adam("fast"), TypeError, r"^Adam: learning_rate='fast' is of type str"),
        (lambda: optimizers.AdamW(weight_decay=None), TypeError, r"^AdamW: weight_decay=None is of type NoneType"),
        (lambda: CosineDecay(0.1, 10, warmup_steps=5), ValueError, r"warmup_steps=5 without a warm-up\. Give warmup_"),
        (lambda: schedules.PiecewiseConstantDecay([1, 2], [1, 2]), ValueError, r"2 boundaries and 2 values\. Give one"),
        (lambda: schedules.PiecewiseConstantDecay([2, 1], [1, 2, 3]), ValueError, r"\[2, 1\] do not increase"),
        (lambda: schedules.ExponentialDecay(0.1, 0, 0.5), ValueError, r"^ExponentialDecay: decay_steps=0 is out of"),
        (lambda: initializers.HeNormal(seed=-1), ValueError, r"^HeNormal: seed=-1 is out of range\. Give a whole numb"),
        (lambda: initializers.Identity()((3,)), ValueError, r"^Identity: a tensor of shape \(3,\) is not a matrix"),
        (lambda: regularizers.orthogonal(mode="row"), ValueError, r"mode='row' is not known.*Use 'rows' or 'columns'"),
        (
            lambda: regularizers.get([regularizers.orthogonal(), regularizers.orthogonal(mode="columns")]),
            ValueError,
            r"^Sum: orthogonal rows and orthogonal columns in one layer\. Keep one",
        ),
        (lambda: metrics.get("f2"), ValueError, r"^metrics='f2' is not a known metric\. Use one of 'mse'"),
        (lambda: metrics.get_list(["mae", "mae"]), ValueError, r"two entries of the history would be 'mae'\. Give an"),
        (lambda: metrics.get_list(metrics.Recall(name="loss")), ValueError, r"would be 'loss'"),
    ],
)
def test_messages(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_attributes_of_an_optimizer_are_fixed_except_the_learning_rate() -> None:
    adam = Adam()
    adam.learning_rate = 0.5
    assert adam == Adam(0.5)
    adam.learning_rate = CosineDecay(0.1, 10)
    assert adam == Adam(CosineDecay(0.1, 10))
    with pytest.raises(AttributeError, match=r"^Adam has no attribute 'lr'\. Did you mean 'learning_rate'\?$"):
        adam.lr = 0.1  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match=r"^Adam: beta_1 is fixed; only learning_rate may be assigned\. Make a"):
        adam.beta_1 = 0.5
    with pytest.raises(TypeError, match="learning_rate=None"):
        adam.learning_rate = None  # type: ignore[assignment]


# --- configs ----------------------------------------------------------------------------------------------------------

_number = st.floats(1e-6, 1e3)
_share = st.floats(0, 0.999)
_seed = st.none() | st.integers(0, 2**64 - 1)
_steps = st.integers(1, 10**6)
_name = st.none() | st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(str.isprintable)

_initializers = st.one_of(
    st.builds(initializers.Constant, _number),
    st.builds(initializers.HeNormal, _seed),
    st.builds(initializers.Auto, _seed),
    st.builds(initializers.Orthogonal, _number, _seed),
    st.builds(initializers.RandomUniform, st.floats(-1, 0), st.floats(0, 1), _seed),
    st.builds(initializers.TruncatedNormal, _number, _number, _seed),
)
_l1_l2 = st.builds(regularizers.L1L2, _number, _number) | st.builds(regularizers.l1, _number)
_regularizers = st.one_of(
    _l1_l2,
    st.builds(regularizers.orthogonal, _number, st.sampled_from(["rows", "columns"])),
    st.builds(lambda a, b: a + regularizers.repulsion(b), _l1_l2, _number),
)
_activations = st.one_of(
    st.none(),
    st.sampled_from(ACTIVATIONS),
    st.builds(Activation, st.sampled_from(["leaky_relu", "elu", "celu"]), st.none() | _number),
)
_schedules = st.one_of(
    st.builds(schedules.ExponentialDecay, _number, _steps, _number, st.booleans()),
    st.builds(schedules.CosineDecay, _number, _steps, _share, _number, _steps),
    st.builds(schedules.CosineDecayRestarts, _number, _steps, st.floats(1, 4), _number, _share),
    st.builds(schedules.PolynomialDecay, _number, _steps, _number, _number, st.booleans()),
    st.builds(lambda a, b: schedules.PiecewiseConstantDecay([a], [b, b / 2]), _steps, _number),
)
_flat_layers = st.one_of(
    st.builds(
        Dense,
        st.integers(1, 10**6),
        _activations,
        st.booleans(),
        _initializers | st.sampled_from(["auto", "glorot_uniform"]),
        _initializers,
        st.none() | _regularizers,
        st.none() | _l1_l2,
        st.none() | _l1_l2,
        name=_name,
    ),
    st.builds(BatchNorm, _share, _number, _name),
    st.builds(LayerNorm, _number),
    st.builds(Dropout, _share),
    st.builds(Normalization, _name),
    st.builds(Rescaling, _number | st.lists(_number, min_size=1), _number, _name),
    st.builds(Activation, st.sampled_from(ACTIVATIONS), name=_name),
    st.builds(Log1p, _number | st.lists(_number, min_size=1), st.none() | st.integers(0, 9), _number, _name),
    st.builds(OneHot, st.none() | st.just([0, 3]), st.none() | st.lists(_number, min_size=1, unique=True), _name),
    st.builds(
        NumericEmbedding, columns=st.none() | st.just([0, 2]), bins=st.integers(1, 99), keep=st.booleans(), name=_name
    ),
    st.builds(NumericEmbedding, st.just("periodic"), sigma=_number, size=st.none() | st.integers(1, 9), name=_name),
    st.builds(
        CategoryEmbedding, st.none() | st.just([0, 2]), st.integers(1, 9), st.lists(_number, min_size=1, unique=True)
    ),
    st.builds(Scale, _initializers, _name),
    st.builds(SelectColumns, st.lists(st.integers(0, 9), min_size=1, unique=True), _name),
    st.builds(RobustScale, clip=st.none() | _number, center=st.just([1.0]), scale=_number.map(lambda one: [one])),
    st.builds(Impute, st.none() | st.just([0, 2]), st.booleans() | st.just([2]), _number, _name),
    st.builds(Periodic, _number | st.lists(_number, min_size=1), st.none() | st.just([2]), st.booleans(), _name),
)
_specs = st.one_of(
    st.recursive(
        _flat_layers,
        lambda inner: (
            st.builds(Residual, st.lists(inner, min_size=1))
            | st.builds(Branches, st.lists(st.lists(inner), min_size=2), st.sampled_from(["concatenate", "add"]), _name)
        ),
        max_leaves=4,
    ),
    st.builds(losses.Huber, _number),
    st.builds(losses.CategoricalCrossentropy, st.booleans(), _share),
    st.builds(optimizers.SGD, _number | _schedules, _share, st.booleans(), weight_decay=st.none() | _number),
    st.builds(optimizers.AdamW, _number, _number, amsgrad=st.booleans(), clipnorm=st.none() | _number),
    st.builds(optimizers.Muon, _schedules, rms_rate=st.none() | _number, ns_steps=st.integers(0, 9)),
    _schedules,
    _initializers,
    _regularizers,
    st.builds(metrics.TopKAccuracy, st.integers(1, 50), _name),
    st.builds(metrics.Precision, _number, _name),
)


def lowered(layer: Any) -> Any:
    """Its ops for 3 inputs, or why it has none: it does not fit, or it has not been adapted."""
    try:
        return layer.lower(3)
    except ValueError as error:
        return str(error)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(_specs)
def test_config_repr_and_copies_give_an_equal_object(spec: Spec) -> None:
    stored = json.loads(json.dumps(spec.to_dict(), allow_nan=False))
    again = resolve(spec._base, stored, "stored")
    assert again == spec and again.to_dict() == spec.to_dict() and repr(again) == repr(spec)
    assert type(spec).from_config(spec.get_config()) == spec
    names = {name: value for module in MODULES for name, value in vars(module).items() if isinstance(value, type)}
    names["Activation"] = Activation
    assert eval(repr(spec), {name: value for name, value in names.items() if issubclass(value, Spec)}) == spec
    assert pickle.loads(pickle.dumps(spec)) == spec == copy.deepcopy(spec)
    if isinstance(spec, Layer):
        assert lowered(again) == lowered(spec)
    elif isinstance(spec, (Loss, Optimizer)):
        assert again.lower() == spec.lower()  # type: ignore[attr-defined]


def test_repr_shows_what_differs_from_the_defaults() -> None:
    assert repr(Dense(784, "relu", bias_initializer="zeros")) == "Dense(784, activation='relu')"
    assert repr(Dense(3, "linear", kernel_initializer="he_normal")) == "Dense(3, kernel_initializer=HeNormal())"
    assert repr(Dense(3, "leaky_relu")) == "Dense(3, activation='leaky_relu')"
    custom = Dense(3, Activation("leaky_relu", 0.1))
    assert repr(custom) == "Dense(3, activation=Activation('leaky_relu', alpha=0.1))"
    assert repr(Adam()) == "Adam()" and repr(Adam(0.01, clipnorm=1)) == "Adam(learning_rate=0.01, clipnorm=1.0)"
    assert repr(optimizers.SGD(CosineDecay(0.1, 5))) == "SGD(learning_rate=CosineDecay(0.1, 5))"
    assert repr(metrics.get("mape")) == "MeanAbsolutePercentageError(name='mape')"


def test_equality_goes_by_class_and_arguments() -> None:
    assert Dense(3) == Dense(3, None, kernel_initializer=initializers.Auto()) != Dense(4)
    assert optimizers.Adam() != optimizers.Nadam() and Dense(3) != 3
    assert losses.Huber() == losses.Huber(1) and losses.LogCosh() != losses.Poisson()


def test_an_own_class_works_but_is_no_name() -> None:
    class Half(Schedule):
        def __init__(self, start: float) -> None:
            self.start = start

        def rates(self, steps: schedules.Steps) -> schedules.Steps:
            return self.start / (1 + steps)

    assert Half(1.0)(3) == 0.25 and repr(Half(1.0)) == "Half(1.0)"
    assert Adam(Half(1.0)).learning_rates(1, 2).tolist() == [0.5, 1 / 3]
    with pytest.raises(ValueError, match="'Half' is not a known learning rate schedule"):
        Adam.from_config(Adam(Half(1.0)).get_config())


# --- lowering ---------------------------------------------------------------------------------------------------------

_DENSE = {
    "kind": "dense",
    "units": 4,
    "use_bias": True,
    "activation": "linear",
    "alpha": 0.0,
    "kernel_l1": 0.0,
    "kernel_l2": 0.0,
    "kernel_orthogonal": 0.0,
    "kernel_orthogonal_columns": False,
    "kernel_repulsion": 0.0,
    "bias_l1": 0.0,
    "bias_l2": 0.0,
    "activity_l1": 0.0,
    "activity_l2": 0.0,
}


@pytest.mark.parametrize(
    ("layer", "ops"),
    [
        (Dense(4), [_DENSE]),
        (Dense(4, "swish", use_bias=False), [{**_DENSE, "activation": "silu", "use_bias": False}]),
        (Dense(4, "leaky_relu"), [{**_DENSE, "activation": "leaky_relu", "alpha": 0.2}]),
        (Dense(4, Activation("celu", 0.5)), [{**_DENSE, "activation": "celu", "alpha": 0.5}]),
        (Dense(4, kernel_regularizer="l1_l2"), [{**_DENSE, "kernel_l1": 0.01, "kernel_l2": 0.01}]),
        (
            Dense(
                4,
                kernel_regularizer=["l2", regularizers.orthogonal(0.1, "columns") + regularizers.repulsion(0.2)],
                bias_regularizer="l1",
                activity_regularizer=regularizers.l2(0.5),
            ),
            [
                {
                    **_DENSE,
                    "kernel_l2": 0.01,
                    "kernel_orthogonal": 0.1,
                    "kernel_orthogonal_columns": True,
                    "kernel_repulsion": 0.2,
                    "bias_l1": 0.01,
                    "activity_l2": 0.5,
                }
            ],
        ),
        (Activation("elu"), [{"kind": "activation", "activation": "elu", "alpha": 1.0}]),
        (BatchNorm(), [{"kind": "batch_norm", "momentum": 0.99, "epsilon": 0.001}]),
        (LayerNorm(), [{"kind": "layer_norm", "epsilon": 0.001}]),
        (Dropout(0.25), [{"kind": "dropout", "rate": 0.25}]),
        (Normalization(), [{"kind": "normalization"}]),
        (Rescaling(2.0), [{"kind": "rescaling"}]),
        (Log1p(), []),
        (SelectColumns([2, 0]), [{"kind": "select_columns", "columns": [2, 0]}]),
        (
            Branches([[], [LayerNorm()], [Branches([[], [Dense(4)]], "add")]]),
            [
                {"kind": "branches_begin"},
                {"kind": "branch_next"},
                {"kind": "layer_norm", "epsilon": 0.001},
                {"kind": "branch_next"},
                {"kind": "branches_begin"},
                {"kind": "branch_next"},
                _DENSE,
                {"kind": "branches_end", "merge": "add"},
                {"kind": "branches_end", "merge": "concatenate"},
            ],
        ),
        (
            Residual([Residual([LayerNorm()]), Dense(4)]),
            [
                {"kind": "residual_begin"},
                {"kind": "residual_begin"},
                {"kind": "layer_norm", "epsilon": 0.001},
                {"kind": "residual_end"},
                _DENSE,
                {"kind": "residual_end"},
            ],
        ),
    ],
)
def test_layers_lower_to_ops(layer: Layer, ops: list[dict[str, Any]]) -> None:
    assert layer.lower(4) == ops


@pytest.mark.parametrize(
    ("loss", "lowered"),
    [
        (losses.get("mse"), ("mse", False, 0.0, 0.0)),
        (losses.get("huber"), ("huber", False, 0.0, 1.0)),
        (losses.Quantile(0.9), ("quantile", False, 0.0, 0.9)),
        (losses.BinaryCrossentropy(True), ("binary_crossentropy", True, 0.0, 0.0)),
        (losses.CategoricalCrossentropy(label_smoothing=0.1), ("categorical_crossentropy", False, 0.1, 0.0)),
        (losses.SparseCategoricalCrossentropy(), ("sparse_categorical_crossentropy", False, 0.0, 0.0)),
    ],
)
def test_losses_lower(loss: Loss, lowered: tuple[Any, ...]) -> None:
    assert loss.lower() == dict(zip(("kind", "from_logits", "label_smoothing", "param"), lowered, strict=True))
    assert loss.sparse == lowered[0].startswith("sparse")
    assert loss.crossentropy == lowered[0].endswith("crossentropy")


_OFF = {"weight_decay": 0.0, "clipvalue": 0.0, "clipnorm": 0.0, "global_clipnorm": 0.0}
_ADAM = {"kind": "adam", "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "amsgrad": False}


@pytest.mark.parametrize(
    ("name", "rate", "lowered"),
    [
        ("sgd", 0.01, {"kind": "sgd", "momentum": 0.0, "nesterov": False}),
        ("rmsprop", 0.001, {"kind": "rmsprop", "rho": 0.9, "momentum": 0.0, "epsilon": 1e-7, "centered": False}),
        ("adagrad", 0.001, {"kind": "adagrad", "initial_accumulator_value": 0.1, "epsilon": 1e-7}),
        ("adadelta", 0.001, {"kind": "adadelta", "rho": 0.95, "epsilon": 1e-7}),
        ("adam", 0.001, _ADAM),
        ("adamw", 0.001, {**_ADAM, "weight_decay": 0.004}),
        ("nadam", 0.001, {"kind": "nadam", "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}),
        ("lion", 0.001, {"kind": "lion", "beta_1": 0.9, "beta_2": 0.99}),
        (
            "muon",
            0.001,
            {
                "kind": "muon",
                "momentum": 0.95,
                "nesterov": True,
                "ns_steps": 5,
                "ns_a": 3.4445,
                "ns_b": -4.775,
                "ns_c": 2.0315,
                "rms_rate": 0.2,
                "adam_lr_ratio": 1.0,
                "adam_weight_decay": 0.004,
                "beta_1": 0.9,
                "beta_2": 0.999,
                "epsilon": 1e-7,
                "weight_decay": 0.004,
            },
        ),
    ],
)
def test_optimizers_have_the_defaults_of_keras(name: str, rate: float, lowered: dict[str, Any]) -> None:
    optimizer = optimizers.get(name)
    assert optimizer.lower() == {**_OFF, **lowered}
    assert optimizer.learning_rates(7, 3).tolist() == [rate] * 3


def test_optimizer_options_lower() -> None:
    assert Adam(global_clipnorm=2, weight_decay=0.1).lower() == {
        **_OFF,
        **_ADAM,
        "weight_decay": 0.1,
        "global_clipnorm": 2.0,
    }
    off = optimizers.Muon(rms_rate=None, weight_decay=None, adam_weight_decay=None).lower()
    assert off["rms_rate"] == off["weight_decay"] == off["adam_weight_decay"] == 0.0


def test_factors_of_tensors() -> None:
    names = ["scale/scale", "dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"]
    rates, decays = {"*/bias": 0.1, "dense_1/*": 2, "scale/*": 6.0}, {"*": 0.0, "*/kernel": 1.0}
    optimizer = Adam(weight_decay=0.1, learning_rate_multipliers=rates, weight_decay_multipliers=decays)
    found = optimizer.factors("compile", names)
    assert found == {"rate_factors": [6.0, 1.0, 0.1, 2.0, 2.0], "decay_factors": [0.0, 1.0, 0.0, 1.0, 0.0]}
    assert Adam().factors("compile", names) == optimizers.Muon().factors("compile", names) == {}
    assert resolve(optimizers.Optimizer, json.loads(json.dumps(optimizer.to_dict())), "again") == optimizer
    with pytest.raises(ValueError, match=r"^compile: Adam: learning_rate_multipliers holds the pattern "):
        optimizer.factors("compile", [])
    with pytest.raises(ValueError, match=r"^SGD: weight_decay_multipliers is given without weight_decay\. Give what"):
        optimizers.SGD(weight_decay_multipliers={"*": 0.5})
    with pytest.raises(ValueError, match=r"^SGD: learning_rate_multipliers\['\*'\]=-1 is out of range\. Give a finite"):
        optimizers.SGD(learning_rate_multipliers={"*": -1})
    with pytest.raises(TypeError, match=r"^SGD: learning_rate_multipliers=0\.5 is of type float\. Give a dict of patt"):
        optimizers.SGD(learning_rate_multipliers=0.5)  # type: ignore[arg-type]
    for kind in ("Muon", "KFAC", "LBFGS"):
        with pytest.raises(TypeError, match=f"^{kind}: unknown argument 'learning_rate_multipliers'"):
            getattr(optimizers, kind)(learning_rate_multipliers={"*": 0.5})


def test_l1_l2_gives_what_is_asked_for_only() -> None:
    assert regularizers.l1_l2() == regularizers.L1L2(0.01, 0.01) == regularizers.get("l1_l2")
    assert regularizers.l1_l2(l1=0.1) == regularizers.L1L2(0.1, 0.0)
    assert regularizers.l1_l2(l2=0.1) == regularizers.L1L2(0.0, 0.1)
    assert (regularizers.l1(1) + regularizers.l1(2) + regularizers.l2(3)).terms()[:2] == (3.0, 3.0)
