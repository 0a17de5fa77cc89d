"""`fastdense.from_torch`: modules, or their numbers alone, as a chain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from ...arguments import shorten
from ...arrays import Array, as_array, fail
from ..build import model_of
from ..chain import MERGES, Chain, ChainBlock, ChainStep
from .write import ACTIVATIONS

if TYPE_CHECKING:
    from ..._model import Model

_NAMES = {module: name for name, (module, _) in ACTIVATIONS.items()}
_NUMBERS = {"weight", "bias", "running_mean", "running_var"}  # of a module in a mapping
_FREE = ("Dropout", "AlphaDropout", "Identity", "Flatten")


def from_torch(
    module: Any,
    *,
    activation: str | None = None,
    output_activation: str | None = None,
    dtype: str | None = None,
    device: str = "cpu",
    name: str | None = None,
) -> Model:
    """Make a model of a dense net of PyTorch, or of its numbers alone.

    A module is a `Sequential`, also of others, of `Linear`, `BatchNorm1d`, `LayerNorm`, `Dropout`, activations,
    `Flatten` and what `Model.to_torch` makes. Its mode does not matter. BatchNorm's momentum of PyTorch is 1 minus that
    here, and its moving variance goes on with the batch's unbiased variance there, with the biased one here; the
    numbers themselves are taken over as they are. The model is not compiled; an optimizer's state is not carried.

    Parameters
    ----------
    module : torch.nn.Module, or mapping of str to array or Tensor
        A mapping is a ``state_dict()``, or what `safetensors` read: weights in the order of the layers, without the
        activations between them.
    activation : str, optional
        For a mapping: the activation behind each layer but the last (behind its normalization, if one follows).
    output_activation : str, optional
        For a mapping: that of the last layer; None for none.
    dtype : {"float32", "float64", "bfloat16"}, optional
        By default that of the module, float32 for one of less precision.
    device : {"cpu", "cuda", "reference"}
    name : str, optional

    Returns
    -------
    Model

    Raises
    ------
    ValueError, TypeError
        If a module is of another kind (the message names it), or a mapping holds other numbers, or has no `activation`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdense as fd
    >>> numbers = {"0.weight": np.ones((4, 3)), "0.bias": np.zeros(4), "2.weight": np.ones((1, 4))}
    >>> fd.from_torch(numbers, activation="relu").layers
    [Dense(4, activation='relu'), Dense(1, use_bias=False)]
    """
    where = "from_torch"
    if isinstance(module, Mapping):
        if activation is None:
            fail(where, "module is a mapping of numbers, which does not say what activations there are",
                 "activation is needed",
                 "e.g. from_torch(state, activation='relu'), or give the module itself")  # fmt: skip
        chain, wide = _of_numbers(where, module, activation, output_activation)
    else:
        if activation is not None or output_activation is not None:
            fail(where, "activation is given beside a module, which has its own", "it is for a mapping of numbers",
                 "leave it out")  # fmt: skip
        if not hasattr(module, "named_children") or not hasattr(module, "state_dict"):
            raise TypeError(f"{where}: module is {shorten(module)}; a torch.nn.Module or its state_dict() is needed")
        chain = _ModuleReader(where).chain(module)
        wide = any(str(one.dtype) == "torch.float64" for one in module.state_dict().values())
    if not chain:
        fail(where, "module holds no layer", "a net has at least one", "e.g. nn.Sequential(nn.Linear(4, 1))")
    chosen = dtype or ("float64" if wide else "float32")
    return model_of(chain, chain[0].inputs, where, dtype=chosen, device=device, name=name)


def _array(tensor: Any) -> Array:
    """A tensor in the host's memory, of at least single precision."""
    host = tensor.detach().cpu()
    return np.array((host if str(host.dtype) in ("torch.float64", "torch.int64") else host.float()).numpy())


class _ModuleReader:
    def __init__(self, where: str) -> None:
        self.where = where

    def refuse(
        self, place: str, module: Any, problem: str = "is none that fastdense has", remedy: str = ""
    ) -> NoReturn:
        raise ValueError(
            f"{self.where}: {place or 'module'} is {shorten(module)}, which {problem}. "
            f"{remedy or 'Give an nn.Sequential of Linear, BatchNorm1d, LayerNorm, Dropout and activations.'}"
        )

    def chain(self, module: Any, width: int | None = None, place: str = "") -> Chain:
        """The chain of a module; what stands before the first layer of a known width gets its width from that."""
        waiting: list[tuple[str, Any]] = []
        made: Chain = []
        for inner, one in self._flat(place, module):
            if type(one).__name__ not in (*MODULES, *_NAMES, "Parallel"):
                self.refuse(inner, one)
            known = self._inputs(one)
            width = known if width is None else width
            if width is None:
                waiting.append((inner, one))
                continue
            for before, other in [*waiting, (inner, one)]:
                made += self._step(before, other, width)
                width = made[-1].outputs if made else width
            waiting = []
        for inner, one in waiting:
            if type(one).__name__ not in _FREE:
                self.refuse(inner, one, "stands where no layer says how many columns there are",
                            "Give a net with at least one Linear.")  # fmt: skip
        return made

    def _flat(self, place: str, module: Any) -> list[tuple[str, Any]]:
        if type(module).__name__ != "Sequential":
            return [(place, module)]
        found = []
        for name, one in module.named_children():
            found += self._flat(f"{place}[{name}]" if place else f"module[{name}]", one)
        return found

    def _inputs(self, module: Any) -> int | None:
        kind = type(module).__name__
        if kind == "Operation":
            return int(module.inputs)
        if kind == "Linear":
            return int(module.in_features)
        if kind == "BatchNorm1d":
            return int(module.num_features)
        if kind == "LayerNorm" and len(module.normalized_shape) == 1:
            return int(module.normalized_shape[0])
        if kind == "PReLU" and module.num_parameters > 1:
            return int(module.num_parameters)
        if kind == "Parallel":
            widths = [self._inputs(one) for chain in module.chains for _, one in self._flat("", chain)]
            return next((width for width in widths if width is not None), None)
        return None

    def _step(self, place: str, module: Any, width: int) -> Chain:
        kind = type(module).__name__
        known = self._inputs(module)
        if known not in (None, width) and kind != "Parallel":
            self.refuse(place, module, f"takes {known} columns, and gets {width}", "Let widths fit.")
        if kind == "Parallel" and getattr(module, "merge", None) in MERGES:
            chains = [self.chain(one, width, f"{place}.chains[{i}]") for i, one in enumerate(module.chains)]
            widths = [chain[-1].outputs if chain else width for chain in chains]
            outputs = sum(widths) if module.merge == "concatenate" else widths[0]
            return [ChainBlock(module.merge, chains, width, outputs, place)]
        if kind in _NAMES:
            return [self._activation(place, module, width)]
        row = MODULES.get(kind)
        if row is None:
            self.refuse(place, module)
        return row(self, place, module, width)

    def _activation(self, place: str, module: Any, width: int) -> ChainStep:
        name = _NAMES[type(module).__name__]
        if name == "hard_tanh" and (module.min_val, module.max_val) == (0.0, 6.0):
            name = "relu6"
        expected, arguments = ACTIVATIONS[name]
        own = next((float(getattr(module, one)) for one in ("negative_slope", "alpha", "lambd")
                    if isinstance(getattr(module, one, None), (int, float))), None)  # fmt: skip
        wrong = {"GELU": getattr(module, "approximate", "none") != "none",
                 "Softplus": getattr(module, "beta", 1) != 1,
                 "Softmax": getattr(module, "dim", -1) not in (-1, 1),
                 "Hardtanh": name == "hard_tanh" and (module.min_val, module.max_val) != (-1, 1)
                 if expected == "Hardtanh" else False}  # fmt: skip
        if wrong.get(type(module).__name__, False):
            self.refuse(place, module, "has a parameter that fastdense's activation of that name has not",
                        "Replace it by one with its default parameters, and train on.")  # fmt: skip
        alpha = own if arguments(1.0) and name != "softmax" else None
        if alpha is not None and not alpha > 0:
            self.refuse(place, module, "has a parameter that is not above 0", "Use ReLU.")
        return ChainStep("activation", {"name": name, "alpha": alpha, "slope": None}, width, width, place)

    def linear(self, place: str, module: Any, width: int) -> Chain:
        bias = None if module.bias is None else _array(module.bias)
        numbers = {"kernel": _array(module.weight).T.copy(), "bias": bias}
        return [ChainStep("dense", numbers, width, int(module.out_features), place)]

    def prelu(self, place: str, module: Any, width: int) -> Chain:
        slope = np.broadcast_to(_array(module.weight), (width,)).copy()
        return [ChainStep("activation", {"name": "prelu", "alpha": None, "slope": slope}, width, width, place)]

    def batch_norm(self, place: str, module: Any, width: int) -> Chain:
        if module.running_mean is None or module.momentum is None:
            self.refuse(place, module, "keeps no moving statistics, or their plain mean",
                        "Make it with its default track_running_stats and a momentum.")  # fmt: skip
        numbers = {"gamma": None if module.weight is None else _array(module.weight),
                   "beta": None if module.bias is None else _array(module.bias),
                   "mean": _array(module.running_mean), "variance": _array(module.running_var),
                   "epsilon": float(module.eps), "momentum": round(1.0 - float(module.momentum), 12)}  # fmt: skip
        return [ChainStep("batch_norm", numbers, width, width, place)]

    def layer_norm(self, place: str, module: Any, width: int) -> Chain:
        if len(module.normalized_shape) != 1:
            self.refuse(place, module, "normalizes over several dimensions", "Flatten the rows first.")
        numbers = {"gamma": None if module.weight is None else _array(module.weight),
                   "beta": None if module.bias is None else _array(module.bias),
                   "epsilon": float(module.eps)}  # fmt: skip
        return [ChainStep("layer_norm", numbers, width, width, place)]

    def flatten(self, place: str, module: Any, width: int) -> Chain:
        if (module.start_dim, module.end_dim) != (1, -1):
            self.refuse(place, module, "flattens other than each row", "Use nn.Flatten().")
        return []

    def operation(self, place: str, module: Any, width: int) -> Chain:
        tensors = {name: _array(value) for name, value in (*module.named_parameters(), *module.named_buffers())}
        numbers = {**module.constants, **tensors}
        numbers = NUMBERS[module.kind](numbers, width) if module.kind in NUMBERS else numbers
        return [ChainStep(module.kind, numbers, width, int(module.outputs), place)]


def _lists(name: str) -> Callable[[dict[str, Any], int], dict[str, Any]]:
    return lambda numbers, width: {name: [numbers[name][numbers["columns"] == i].tolist() for i in range(width)]}


def _edges(numbers: dict[str, Any], width: int) -> dict[str, Any]:
    last = numbers["low"][:, -1:] + numbers["width"][:, -1:] * numbers["wide"][:, -1:]
    return {"edges": np.concatenate([numbers["low"], last], axis=1)}


def _robust(numbers: dict[str, Any], width: int) -> dict[str, Any]:
    scale = np.where(numbers["varies"] == 0, 0.0, numbers["scale"])
    return {"center": numbers["center"].tolist(), "scale": scale.tolist(), "clip": numbers["clip"]}


# What steps have as lists, or in another form than modules.
NUMBERS: dict[str, Callable[[dict[str, Any], int], dict[str, Any]]] = {
    "select": lambda numbers, width: {"columns": numbers["columns"].tolist()},
    "log1p": lambda numbers, width: {name: numbers[name].tolist() for name in ("scale", "offset")},
    "fill": lambda numbers, width: {"fill": numbers["fill"].tolist()},
    "one_hot": _lists("codes"),
    "waves": _lists("frequencies"),
    "piecewise_linear": _edges,
    "robust_scale": _robust,
}
MODULES: dict[str, Callable[[_ModuleReader, str, Any, int], Chain]] = {
    "Linear": _ModuleReader.linear,
    "PReLU": _ModuleReader.prelu,
    "BatchNorm1d": _ModuleReader.batch_norm,
    "LayerNorm": _ModuleReader.layer_norm,
    "Dropout": lambda r, place, m, width: [ChainStep("dropout", {"rate": float(m.p)}, width, width, place)],
    "AlphaDropout": lambda r, place, m, width: [ChainStep("alpha_dropout", {"rate": float(m.p)}, width, width, place)],
    "Identity": lambda r, place, m, width: [],
    "Flatten": _ModuleReader.flatten,
    "Operation": _ModuleReader.operation,
}


# ---- numbers alone -------------------------------------------------------------------------------------------------


def _of_numbers(where: str, state: Mapping[str, Any], activation: str, last: str | None) -> tuple[Chain, bool]:
    """The chain of a `state_dict()`, and whether it is of double precision."""
    groups: dict[str, dict[str, Array]] = {}
    for name, value in state.items():
        prefix, _, own = str(name).rpartition(".")
        if own != "num_batches_tracked":
            array = _array(value) if hasattr(value, "detach") else as_array(where, name, value)
            groups.setdefault(prefix, {})[own] = np.asarray(array)
    chain: Chain = []
    width: int | None = None
    for prefix, tensors in groups.items():
        weight = tensors.get("weight")
        if weight is None or not set(tensors) <= _NUMBERS or weight.ndim not in (1, 2):
            fail(where, f"the mapping holds {', '.join(f'{prefix}.{one}' for one in tensors)}",
                 "weights and biases of Linear, BatchNorm1d and LayerNorm can be read",
                 "give the module itself")  # fmt: skip
        bias = tensors.get("bias")
        inputs = weight.shape[-1]
        if width is not None and inputs != width:
            fail(where, f"{prefix}.weight has shape {weight.shape}", f"{width} columns reach it",
                 "give numbers of a Sequential in the order of its layers")  # fmt: skip
        if weight.ndim == 2:
            if chain:
                chain.append(_behind(activation, inputs))
            chain.append(ChainStep("dense", {"kernel": weight.T.copy(), "bias": bias}, inputs, len(weight), prefix))
            width = len(weight)
        else:
            width = inputs
            scaled = {"gamma": weight, "beta": bias, "epsilon": 1e-5}
            moving = {"mean": tensors.get("running_mean"), "variance": tensors.get("running_var"), "momentum": 0.9}
            kind = "layer_norm" if moving["mean"] is None else "batch_norm"
            chain.append(
                ChainStep(kind, scaled if moving["mean"] is None else {**scaled, **moving}, width, width, prefix)
            )
    if last is not None and chain:
        chain.append(_behind(last, chain[-1].outputs))
    return chain, any(np.asarray(one).dtype == np.float64 for own in groups.values() for one in own.values())


def _behind(activation: str, width: int) -> ChainStep:
    from ...layers import Activation

    chosen = Activation(activation)
    slope = np.zeros(width) if chosen.activation == "prelu" else None
    return ChainStep("activation", {"name": chosen.activation, "alpha": chosen.alpha, "slope": slope}, width, width)
