"""`Model.to_torch`: a chain as modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ...arrays import Array
from ...lazy import needed
from ..chain import Chain, ChainBlock, ChainStep, chain_of
from ..compute import bins_of

if TYPE_CHECKING:
    from ..._model import Model


def to_torch(model: Model) -> Any:
    """See `Model.to_torch`."""
    torch: Any = needed("to_torch", "torch", "torch")
    dtype = torch.float64 if model.dtype == "float64" else torch.float32
    made = _Modules(torch, dtype).chain(chain_of(model, "to_torch"))
    return made.eval()


ACTIVATIONS: dict[str, tuple[str, Callable[[float], dict[str, Any]]]] = {
    "relu": ("ReLU", lambda a: {}),
    "leaky_relu": ("LeakyReLU", lambda a: {"negative_slope": a}),
    "relu6": ("ReLU6", lambda a: {}),
    "elu": ("ELU", lambda a: {"alpha": a}),
    "selu": ("SELU", lambda a: {}),
    "celu": ("CELU", lambda a: {"alpha": a}),
    "gelu": ("GELU", lambda a: {}),
    "silu": ("SiLU", lambda a: {}),
    "mish": ("Mish", lambda a: {}),
    "softplus": ("Softplus", lambda a: {}),
    "softsign": ("Softsign", lambda a: {}),
    "tanh": ("Tanh", lambda a: {}),
    "sigmoid": ("Sigmoid", lambda a: {}),
    "hard_sigmoid": ("Hardsigmoid", lambda a: {}),
    "log_sigmoid": ("LogSigmoid", lambda a: {}),
    "hard_silu": ("Hardswish", lambda a: {}),
    "hard_tanh": ("Hardtanh", lambda a: {}),
    "tanh_shrink": ("Tanhshrink", lambda a: {}),
    "soft_shrink": ("Softshrink", lambda a: {"lambd": a}),
    "hard_shrink": ("Hardshrink", lambda a: {"lambd": a}),
    "softmax": ("Softmax", lambda a: {"dim": -1}),
}
TRAINED: dict[str, tuple[str, ...]] = {  # the numbers that training changes, of operations that PyTorch does not have
    "scale": ("scale",),
    "cosines": ("frequencies", "phases"),
    "grouped_dense": ("kernel", "bias"),
    "embedding": ("table",),
}


class _Modules:
    def __init__(self, torch: Any, dtype: Any) -> None:
        self.torch, self.nn, self.dtype = torch, torch.nn, dtype

    def chain(self, chain: Chain) -> Any:
        return self.nn.Sequential(
            *(self.block(one) if isinstance(one, ChainBlock) else self.step(one) for one in chain)
        )

    def block(self, block: ChainBlock) -> Any:
        from .modules import Parallel

        return Parallel(block.merge, [self.chain(chain) for chain in block.chains])

    def step(self, step: ChainStep) -> Any:
        made = getattr(self, f"_{step.kind}", self._operation)
        return made(step)

    def tensor(self, array: Array) -> Any:
        given = np.array(array)
        return self.torch.tensor(given, dtype=self.torch.int64 if given.dtype.kind in "iu" else self.dtype)

    def _copy(self, module: Any, **tensors: Any) -> Any:
        """The module with these numbers; one that is not there keeps its own, and is not trained."""
        module = module.to(self.dtype)
        with self.torch.no_grad():
            for name, array in tensors.items():
                if array is None:
                    getattr(module, name).requires_grad_(False)
                else:
                    getattr(module, name).copy_(self.tensor(array))
        return module

    def _dense(self, step: ChainStep) -> Any:
        bias = {} if step.get("bias") is None else {"bias": step.get("bias")}
        module = self.nn.utils.skip_init(self.nn.Linear, step.inputs, step.outputs, bias=bool(bias))
        return self._copy(module, weight=step.get("kernel").T, **bias)

    def _activation(self, step: ChainStep) -> Any:
        if step.get("name") == "prelu":
            return self._copy(self.nn.PReLU(step.inputs), weight=step.get("slope"))
        if step.get("name") not in ACTIVATIONS:
            return self._operation(step)
        name, arguments = ACTIVATIONS[step.get("name")]
        return getattr(self.nn, name)(**arguments(step.get("alpha")))

    def _batch_norm(self, step: ChainStep) -> Any:
        scaled = {"weight": step.get("gamma"), "bias": step.get("beta")}
        affine = any(one is not None for one in scaled.values())
        module = self.nn.BatchNorm1d(step.inputs, step.get("epsilon"), 1.0 - step.get("momentum"), affine)
        return self._copy(module, running_mean=step.get("mean"), running_var=step.get("variance"),
                          **(scaled if affine else {}))  # fmt: skip

    def _layer_norm(self, step: ChainStep) -> Any:
        scaled = {"weight": step.get("gamma"), "bias": step.get("beta")}
        affine = any(one is not None for one in scaled.values())
        return self._copy(self.nn.LayerNorm(step.inputs, step.get("epsilon"), affine), **(scaled if affine else {}))

    def _dropout(self, step: ChainStep) -> Any:
        return self.nn.Dropout(step.get("rate"))

    def _alpha_dropout(self, step: ChainStep) -> Any:
        return self.nn.AlphaDropout(step.get("rate"))

    def _activity(self, step: ChainStep) -> Any:
        return self.nn.Identity()

    def _operation(self, step: ChainStep) -> Any:
        from .modules import Operation

        numbers = NUMBERS[step.kind](step) if step.kind in NUMBERS else step.numbers
        arrays = {name: self.tensor(value) for name, value in numbers.items() if isinstance(value, np.ndarray)}
        trained = TRAINED.get(step.kind, ())
        return Operation(
            step.kind, step.inputs, step.outputs,
            {name: value for name, value in arrays.items() if name in trained},
            {name: value for name, value in arrays.items() if name not in trained},
            {name: value for name, value in numbers.items() if name not in arrays},
        )  # fmt: skip


def _flat(step: ChainStep, name: str) -> dict[str, Any]:
    """A list for each column as one array, and which column each number belongs to."""
    lists = step.get(name)
    columns = np.concatenate([np.full(len(one), i) for i, one in enumerate(lists)])
    return {"columns": columns, name: np.concatenate([np.asarray(one, dtype=np.float64) for one in lists])}


def _bins(step: ChainStep) -> dict[str, Any]:
    return dict(zip(("low", "width", "wide", "least", "most"), bins_of(step.get("edges")), strict=True))


def _robust(step: ChainStep) -> dict[str, Any]:
    scale = np.asarray(step.get("scale"), dtype=np.float64)
    return {"center": np.asarray(step.get("center")), "scale": np.where(scale == 0, 1.0, scale),
            "varies": (scale != 0) + 0.0, "clip": step.get("clip")}  # fmt: skip


def _arrays(*names: str) -> Callable[[ChainStep], dict[str, Any]]:
    return lambda step: {name: np.asarray(step.get(name)) for name in names}


# What modules keep of steps whose numbers are lists, or are computed with in another form.
NUMBERS: dict[str, Callable[[ChainStep], dict[str, Any]]] = {
    "select": _arrays("columns"),
    "log1p": _arrays("scale", "offset"),
    "fill": _arrays("fill"),
    "one_hot": lambda step: _flat(step, "codes"),
    "waves": lambda step: _flat(step, "frequencies"),
    "piecewise_linear": _bins,
    "robust_scale": _robust,
}
