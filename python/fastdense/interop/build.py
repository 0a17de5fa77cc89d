"""A model made of a chain: the inverse of `chain`.

Each kind of step has a row that makes a layer and its tensors of it. Blocks become `Branches` or `Residual`, unless
they are what one layer makes of columns: such a block is recognized and becomes that layer again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import layers
from .._model import Model
from ..activations import ALPHA
from ..arrays import Array
from ..layers import Layer
from .chain import Chain, ChainBlock, ChainStep, without_idle


class Piece(NamedTuple):
    """A layer and its tensors, in the order of `Layer.tensors`."""

    layer: Layer
    tensors: list[Any]


def model_of(chain: Chain, inputs: int, where: str, **options: Any) -> Model:
    """The model of a chain.

    Parameters
    ----------
    chain : Chain
    inputs : int
    where : str
        For messages: what the user called.
    **options
        Further arguments of `Model`.
    """
    pieces = _pieces(chain, inputs, True, where)
    model = Model([piece.layer for piece in pieces], inputs=inputs, **options)
    tensors = [tensor for piece in pieces for tensor in piece.tensors]
    model.set_weights([np.asarray(tensor) for tensor in tensors])
    return model


def _pieces(chain: Chain, width: int, front: bool, where: str) -> list[Piece]:
    """The layers of a chain; `front` if it begins with the data of a model."""
    made: list[Piece] = []
    for one in chain:
        first = front and all(isinstance(piece.layer, layers.Preprocessing) for piece in made)
        if isinstance(one, ChainBlock):
            made.append(_block(one, width, first, where))
        elif one.kind in FRONT:
            made.append(_encoding(one, None, first, where))
        else:
            _append(made, one, first)
        width = one.outputs
    return made


def _append(made: list[Piece], step: ChainStep, first: bool) -> None:
    """Add what a step is; an activation behind a layer without one becomes part of that."""
    before = made[-1].layer if made else None
    if step.kind == "activation" and isinstance(before, layers.Dense) and before.activation == "linear":
        chosen = layers.Activation(step.get("name"), _alpha(step))
        dense = layers.Dense(before.units, chosen, before.use_bias, name=before.name)
        slope = [] if step.get("slope") is None else [step.get("slope")]
        made[-1] = Piece(dense, [*made[-1].tensors, *slope])
    elif step.kind == "grouped_dense" and isinstance(before, layers.NumericEmbedding) and before.size is None:
        made[-1] = _embedding_with_size(made[-1], step)
    elif step.kind == "normalization" and not first:
        ones, zeros = np.ones(step.inputs), np.zeros(step.inputs)
        made.append(_rescaling(ones, -np.asarray(step.get("mean"))))
        made.append(_rescaling(1.0 / np.asarray(step.get("deviation")), zeros))
    elif step.kind == "rescaling" and not np.all(step.get("scale")):  # `Rescaling` takes no 0
        made.append(Piece(layers.Scale(trainable=False), [step.get("scale")]))
        made.append(_rescaling(np.ones(step.inputs), step.get("offset")))
    else:
        made.append(STEPS[step.kind](step))


def _alpha(step: ChainStep) -> float | None:
    alpha = step.get("alpha")
    return None if alpha is None or step.get("name") not in ALPHA else float(alpha)


def _present(step: ChainStep, *names: str) -> list[Any]:
    return [step.get(name) for name in names if step.get(name) is not None]


def _rescaling(scale: Any, offset: Any) -> Piece:
    numbers = [np.asarray(scale, dtype=np.float64), np.asarray(offset, dtype=np.float64)]
    given = [float(one[0]) if len(set(one.tolist())) == 1 else one.tolist() for one in numbers]
    return Piece(layers.Rescaling(given[0], given[1]), list(numbers))


def _dense(step: ChainStep) -> Piece:
    bias = step.get("bias") is not None
    return Piece(layers.Dense(step.outputs, use_bias=bias), _present(step, "kernel", "bias"))


def _activation(step: ChainStep) -> Piece:
    return Piece(layers.Activation(step.get("name"), _alpha(step)), _present(step, "slope"))


def _batch_norm(step: ChainStep) -> Piece:
    momentum = 0.99 if step.get("momentum") is None else step.get("momentum")
    center, scale = step.get("beta") is not None, step.get("gamma") is not None
    layer = layers.BatchNorm(momentum, step.get("epsilon"), center=center, scale=scale)
    return Piece(layer, _present(step, "gamma", "beta", "mean", "variance"))


def _layer_norm(step: ChainStep) -> Piece:
    center, scale = step.get("beta") is not None, step.get("gamma") is not None
    return Piece(layers.LayerNorm(step.get("epsilon"), center=center, scale=scale), _present(step, "gamma", "beta"))


def _normalization(step: ChainStep) -> Piece:
    layer, deviation = layers.Normalization(), np.asarray(step.get("deviation"), dtype=np.float64)
    values = [np.asarray(step.get("mean"), dtype=np.float64), deviation**2]
    layer.set_statistics(*values)
    return Piece(layer, values)


def _piecewise_linear(step: ChainStep) -> Piece:
    edges = np.asarray(step.get("edges"), dtype=np.float64)
    layer = layers.NumericEmbedding(bins=edges.shape[1] - 1)
    layer.set_statistics(edges)
    return Piece(layer, [edges])


def _cosines(step: ChainStep) -> Piece:
    layer = layers.NumericEmbedding("periodic", frequencies=step.get("phases").shape[1], keep=False)
    return Piece(layer, _present(step, "frequencies", "phases"))


def _embedding(step: ChainStep) -> Piece:
    codes, table = step.get("codes"), step.get("table")
    layer = layers.CategoryEmbedding(size=table.shape[1], codes=np.asarray(codes, dtype=np.float64).tolist())
    return Piece(layer, [table, codes])


STEPS: dict[str, Callable[[ChainStep], Piece]] = {
    "dense": _dense,
    "activation": _activation,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "unit_norm": lambda step: Piece(layers.UnitNormalization(), []),
    "normalization": _normalization,
    "rescaling": lambda step: _rescaling(step.get("scale"), step.get("offset")),
    "scale": lambda step: Piece(layers.Scale(), _present(step, "scale")),
    "select": lambda step: Piece(layers.SelectColumns(step.get("columns")), []),
    "piecewise_linear": _piecewise_linear,
    "cosines": _cosines,
    "embedding": _embedding,
    "dropout": lambda step: Piece(layers.Dropout(step.get("rate")), []),
    "gaussian_noise": lambda step: Piece(layers.GaussianNoise(step.get("stddev")), []),
    "gaussian_dropout": lambda step: Piece(layers.GaussianDropout(step.get("rate")), []),
    "alpha_dropout": lambda step: Piece(layers.AlphaDropout(step.get("rate")), []),
    "activity": lambda step: Piece(layers.ActivityRegularization(step.get("l1"), step.get("l2")), []),
}

# Preprocessing layers: what they are given for each column, and for all.
FRONT: dict[str, tuple[Any, tuple[str, ...], tuple[str, ...]]] = {
    "log1p": (layers.Log1p, ("scale", "offset"), ()),
    "one_hot": (layers.OneHot, ("codes",), ()),
    "waves": (layers.Periodic, ("frequencies",), ("keep",)),
    "robust_scale": (layers.RobustScale, ("center", "scale"), ("clip",)),
    "fill": (layers.Impute, ("fill",), ("indicator",)),
}


def _encoding(step: ChainStep, columns: list[int] | None, first: bool, where: str) -> Piece:
    """The preprocessing layer of a step for these columns, all by default."""
    cls, per_column, shared = FRONT[step.kind]
    if not first:
        raise ValueError(
            f"{where}: {step.place} is what {cls.__name__} computes, which fastdense knows for the data only, not "
            "inside of a net. Encode the columns before the net."
        )
    numbers = {name: step.get(name) for name in per_column}
    further = {"keep": False, "indicator": False}
    own = {name: step.numbers.get(name, further.get(name)) for name in shared}
    return Piece(cls(columns=columns, **numbers, **own), [])


# ---- blocks --------------------------------------------------------------------------------------------------------


def _block(block: ChainBlock, width: int, first: bool, where: str) -> Piece:
    if block.merge == "concatenate":
        for known in (_numeric, _category, _encodings):
            piece = known(block, width, first, where)
            if piece is not None:
                return piece
    chains = [_pieces(chain, width, False, where) for chain in block.chains]
    tensors = [tensor for chain in chains for piece in chain for tensor in piece.tensors]
    inner = [[piece.layer for piece in chain] for chain in chains]
    if block.merge == "add" and len(inner) == 2 and [] in inner and inner != [[], []]:
        return Piece(layers.Residual(inner[0] or inner[1]), tensors)
    return Piece(layers.Branches(inner, block.merge), tensors)


class _Part(NamedTuple):
    """A chain of a block: the columns that it takes, and what it makes of them."""

    columns: list[int]
    rest: list[ChainStep]


def _part(chain: Chain, width: int) -> _Part | None:
    """The chain, if it takes columns and makes something of them in steps."""
    steps = [one for one in without_idle(chain) if isinstance(one, ChainStep)]
    if len(steps) != len(without_idle(chain)):
        return None
    if steps and steps[0].kind == "select":
        return _Part(list(steps[0].get("columns")), steps[1:])
    return _Part(list(range(width)), steps)


def _parts(block: ChainBlock, width: int) -> list[_Part]:
    """The chains of a block as such; empty if one is something else."""
    found = [_part(chain, width) for chain in block.chains]
    known = [part for part in found if part is not None]
    return known if len(known) == len(found) else []


def _numeric(block: ChainBlock, width: int, first: bool, where: str) -> Piece | None:
    """A `NumericEmbedding` of some columns, beside columns that pass."""
    parts = _parts(block, width)
    if len(parts) != 2 or parts[1].rest or not parts[0].rest:
        return None
    columns, rest = parts[0]
    passing = [column for column in range(width) if column not in columns]
    keep = parts[1].columns == list(range(width))
    kinds = [step.kind for step in rest]
    known = kinds[0] in ("piecewise_linear", "cosines") and kinds[1:] in ([], ["grouped_dense"],
                                                                          ["grouped_dense", "activation"])  # fmt: skip
    if not known or columns != sorted(columns) or not (keep or parts[1].columns == passing):
        return None
    whole = STEPS[kinds[0]](rest[0])
    activation = rest[2] if len(rest) == 3 else None
    if activation is not None and (activation.get("name") == "prelu" or _alpha(activation) != _default(activation)):
        return None
    if len(rest) > 1:
        whole = _embedding_with_size(whole, rest[1], None if activation is None else activation.get("name"))
    return Piece(_changed(whole.layer, columns=columns, keep=keep), whole.tensors)


def _default(step: ChainStep) -> float | None:
    return ALPHA.get(step.get("name"))


def _embedding_with_size(piece: Piece, step: ChainStep, activation: str | None = None) -> Piece:
    """A `NumericEmbedding` with the dense layer of each column."""
    kernel = step.get("kernel")
    bias = np.zeros((len(kernel), kernel.shape[2])) if step.get("bias") is None else step.get("bias")
    layer = _changed(piece.layer, size=kernel.shape[2], activation=activation)
    return Piece(layer, [*piece.tensors, kernel, bias])


def _changed(layer: Any, **arguments: Any) -> Layer:
    """A `NumericEmbedding` with other arguments and the same edges."""
    config = {key: value for key, value in layer.get_config().items() if value is not None}
    made = layers.NumericEmbedding(**{**config, **arguments})
    if layer.edges is not None:
        made.set_statistics(layer.edges)
    return made


def _category(block: ChainBlock, width: int, first: bool, where: str) -> Piece | None:
    """A `CategoryEmbedding` of some columns, behind columns that pass."""
    parts = _parts(block, width)
    encoded = [part for part in parts if part.rest]
    columns = [part.columns[0] for part in encoded]
    passing = [column for column in range(width) if column not in columns]
    if not encoded or any([s.kind for s in part.rest] != ["embedding"] for part in encoded):
        return None
    tables = [part.rest[0].get("table") for part in encoded]
    if [part.columns for part in parts] != [*([passing] if passing else []), *([one] for one in columns)]:
        return None
    if columns != sorted(columns) or len({table.shape[1] for table in tables}) > 1:
        return None
    codes = [np.asarray(part.rest[0].get("codes"), dtype=np.float64) for part in encoded]
    given = [one.tolist() for one in codes]
    layer = layers.CategoryEmbedding(columns, tables[0].shape[1], given)
    return Piece(layer, [np.concatenate(tables), np.concatenate(codes)])


def _encodings(block: ChainBlock, width: int, first: bool, where: str) -> Piece | None:
    """A preprocessing layer of some columns, each in its place."""
    parts = _parts(block, width)
    encoded = [part.rest[0] for part in parts if len(part.rest) == 1]
    if any(len(part.rest) > 1 for part in parts) or not encoded:
        return None
    kind = encoded[0].kind
    indicator: list[int] | bool = False
    if parts[-1].rest and parts[-1].rest[0].kind == "is_nan" and kind == "fill":
        indicator, parts, encoded = parts[-1].columns, parts[:-1], encoded[:-1]
    if kind not in FRONT or any(step.kind != kind for step in encoded):
        return None
    _, per_column, shared = FRONT[kind]
    columns = [column for part in parts if part.rest for column in part.columns]
    order = [column for part in parts for column in part.columns]
    keep = len(order) > width
    expected = [c for column in range(width) for c in [column] * (1 + (keep and column in columns))]
    if order != expected or (keep and kind != "waves") or not _alike(encoded, shared):
        return None
    numbers: dict[str, Any] = {name: [one for step in encoded for one in step.get(name)] for name in per_column}
    numbers |= {name: encoded[0].get(name) for name in shared if name in encoded[0].numbers}
    numbers |= {"keep": keep} if kind == "waves" else {"indicator": indicator} if kind == "fill" else {}
    step = ChainStep(kind, numbers, width, block.outputs, block.place)
    return _encoding(step, columns if len(columns) < width else None, first, where)


def _alike(steps: Sequence[ChainStep], names: Sequence[str]) -> bool:
    """Whether steps have the same numbers of these names."""
    return all(step.get(name) == steps[0].get(name) for step in steps for name in names)


def arrays_of(step: ChainStep) -> dict[str, Array]:
    """The numbers of a step that are arrays."""
    return {name: value for name, value in step.numbers.items() if isinstance(value, np.ndarray)}
