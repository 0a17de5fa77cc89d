"""Programs and training specs in few words, for tests that talk to an engine directly."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastdense.calls import TrainCall
from fastdense.reference.engine import Engine
from fastdense.reference.layers import build_ops

Spec = dict[str, Any]

OFF = {"weight_decay": 0.0, "clipvalue": 0.0, "clipnorm": 0.0, "global_clipnorm": 0.0}
_ADAM = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
_RMSPROP = {"rho": 0.9, "epsilon": 1e-7}
_NEWTON_SCHULZ = {"ns_steps": 5, "ns_a": 3.4445, "ns_b": -4.775, "ns_c": 2.0315}
_MUON = {"momentum": 0.95, "nesterov": True, "rms_rate": 0.2, "adam_lr_ratio": 0.5, "adam_weight_decay": 0.0}
_FTRL = {  # z begins at 0, which forgets first weights unless the first sum of squares is about 0
    "initial_accumulator_value": 1e-6,
    "l1_regularization_strength": 1e-4,
    "l2_regularization_strength": 0.01,
    "l2_shrinkage_regularization_strength": 0.02,
    "beta": 0.005,
}
_AVERAGE = {"use_ema": True, "ema_momentum": 0.7, "ema_overwrite_frequency": 3}
_KFAC = {"rho": 0.8, "input_damping": 0.1, "output_damping": 1.0, "interval": 2}
OPTIMIZERS: dict[str, Spec] = {
    "sgd": {"kind": "sgd", "momentum": 0.0, "nesterov": False},
    "momentum": {"kind": "sgd", "momentum": 0.9, "nesterov": False},
    "nesterov": {"kind": "sgd", "momentum": 0.9, "nesterov": True},
    "rmsprop": {"kind": "rmsprop", "momentum": 0.0, "centered": False} | _RMSPROP,
    "rmsprop_momentum": {"kind": "rmsprop", "momentum": 0.5, "centered": False} | _RMSPROP,
    "rmsprop_centered": {"kind": "rmsprop", "momentum": 0.5, "centered": True} | _RMSPROP,
    "adagrad": {"kind": "adagrad", "initial_accumulator_value": 0.1, "epsilon": 1e-7},
    "adadelta": {"kind": "adadelta", "rho": 0.95, "epsilon": 1e-3},
    "adam": {"kind": "adam", "amsgrad": False} | _ADAM,
    "amsgrad": {"kind": "adam", "amsgrad": True} | _ADAM | {"beta_2": 0.7},  # low, so that v falls and vmax does not
    "nadam": {"kind": "nadam"} | _ADAM,
    "lion": {"kind": "lion", "beta_1": 0.9, "beta_2": 0.99},
    "muon": {"kind": "muon"} | _ADAM | _NEWTON_SCHULZ | _MUON,
    "kfac": {"kind": "kfac", "momentum": 0.9, "nesterov": False} | _KFAC,
    "adamax": {"kind": "adamax"} | _ADAM | {"beta_2": 0.7},
    "ftrl": {"kind": "ftrl", "learning_rate_power": -0.5} | _FTRL,
    "ftrl_power": {"kind": "ftrl", "learning_rate_power": -0.7} | _FTRL,
    "average": {"kind": "adam", "amsgrad": True} | _ADAM | _AVERAGE,
}


def dense(units: int, activation: str = "linear", **options: Any) -> Spec:
    off = ("kernel_l1", "kernel_l2", "kernel_orthogonal", "kernel_repulsion", "bias_l1", "bias_l2")
    op: Spec = {"kind": "dense", "units": units, "use_bias": True, "activation": activation, "alpha": 0.3}
    op |= dict.fromkeys((*off, "activity_l1", "activity_l2"), 0.0)
    return op | {"kernel_orthogonal_columns": False} | options


def activation(name: str) -> Spec:
    return {"kind": "activation", "activation": name, "alpha": 0.3}


BATCH_NORM: Spec = {"kind": "batch_norm", "momentum": 0.9, "epsilon": 1e-3}
LAYER_NORM: Spec = {"kind": "layer_norm", "epsilon": 1e-3}
DROPOUT: Spec = {"kind": "dropout", "rate": 0.4}
NORMALIZATION: Spec = {"kind": "normalization"}
RESCALING: Spec = {"kind": "rescaling"}
SCALE: Spec = {"kind": "scale"}
GAUSSIAN_NOISE: Spec = {"kind": "gaussian_noise", "stddev": 0.3}
GAUSSIAN_DROPOUT: Spec = {"kind": "gaussian_dropout", "rate": 0.3}
ALPHA_DROPOUT: Spec = {"kind": "alpha_dropout", "rate": 0.3}
UNIT_NORM: Spec = {"kind": "unit_norm"}
ACTIVITY: Spec = {"kind": "activity", "activity_l1": 0.02, "activity_l2": 0.03}
BEGIN, END = {"kind": "residual_begin"}, {"kind": "residual_end"}


def branches(*chains: list[Spec], merge: str = "concatenate") -> list[Spec]:
    """The ops of a block of branches."""
    starts = [{"kind": "branches_begin"}] + [{"kind": "branch_next"}] * (len(chains) - 1)
    inside = [op for start, chain in zip(starts, chains, strict=True) for op in (start, *chain)]
    return [*inside, {"kind": "branches_end", "merge": merge}]


def select_columns(*columns: int) -> Spec:
    return {"kind": "select_columns", "columns": list(columns)}


def piecewise_linear(columns: list[int], bins: int, keep: bool = False) -> Spec:
    return {"kind": "piecewise_linear", "columns": columns, "bins": bins, "keep": keep}


def periodic(columns: list[int], frequencies: int, keep: bool = False) -> Spec:
    return {"kind": "periodic", "columns": columns, "frequencies": frequencies, "keep": keep}


def embedding(columns: list[int], codes: list[int], units: int) -> Spec:
    return {"kind": "embedding", "columns": columns, "codes": codes, "units": units, "keep": False}


def grouped_dense(
    groups: int, group_inputs: int, units: int, activation: str = "linear", use_bias: bool = True
) -> Spec:
    shape = {"groups": groups, "group_inputs": group_inputs, "units": units}
    return {"kind": "grouped_dense", **shape, "use_bias": use_bias, "activation": activation, "alpha": 0.3}


def in_order(inputs: int, ops: list[Spec], tensors: list[Any]) -> list[Any]:
    """The same tensors with edges of bins that ascend, and whole numbers from 0 on as the codes of each column."""
    made, left = [], iter(tensors)
    for op in build_ops(inputs, ops, "float64"):
        own = [next(left) for _ in op.shapes]
        if op.kind == "piecewise_linear":
            own = [np.sort(own[0], axis=1)]
        elif op.kind == "embedding":
            own[1] = np.concatenate([np.arange(n, dtype=own[1].dtype) for n in op.spec["codes"]])
        made += own
    return made


def code_columns(ops: list[Spec]) -> dict[int, int]:
    """Which columns of x hold codes, and how many there are."""
    first = ops[0]
    return dict(zip(first["columns"], first["codes"], strict=True)) if first["kind"] == "embedding" else {}


def loss_spec(kind: str, **options: Any) -> Spec:
    return {"kind": kind, "from_logits": False, "label_smoothing": 0.0, "param": 0.3} | options


def metric(kind: str, **options: Any) -> Spec:
    return {"kind": kind, "k": 2, "threshold": 0.5, "multiclass": False, "weighted": True} | options


def make(
    ops: list[Spec],
    inputs: int = 3,
    loss: Spec | str = "mse",
    optimizer: str = "sgd",
    metrics: tuple[Spec, ...] = (),
    **options: Any,
) -> Engine:
    """Make an engine with random kernels, every other tensor random in (0.2, 1) so that it can be a variance too."""
    engine = Engine({"inputs": inputs, "seed": 7, "dtype": "float32", "ops": ops})
    rng = np.random.default_rng(3)
    shapes = [tensor.shape for tensor in engine.get_tensors()]
    drawn = [rng.normal(size=s) if len(s) > 1 else rng.uniform(0.2, 1.0, s) for s in shapes]
    engine.set_tensors(in_order(inputs, ops, drawn))
    loss = loss_spec(loss) if isinstance(loss, str) else loss
    engine.configure({"loss": loss, "optimizer": OPTIMIZERS[optimizer] | OFF | options, "metrics": list(metrics)})
    return engine


def train(engine: Engine, x: Any, y: Any, w: Any = None, val: Any = None, **options: Any) -> dict[str, Any]:
    """Call `train` with defaults: 4 rows a batch, shuffled, from the start, one step."""
    rates = np.asarray(options.pop("learning_rates", [0.01]), np.float64)
    options = {"batch_size": 4, "n_threads": 1} | options
    return engine.train(TrainCall(x, y, w, rates, val=val, **options))
