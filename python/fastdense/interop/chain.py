"""A model as a chain of named operations with their numbers: what every format is written from and read into.

A chain is a list of steps and blocks. A step is one operation on rows (rows, inputs) with its numbers; a block passes
its input through several chains and merges what they give. Layers that pass some columns and encode others are blocks
here, so that the operations themselves work on all columns that they get.

==================  ===================================================  =========================================
kind                numbers                                              formula
==================  ===================================================  =========================================
dense               kernel, bias (or none)                               x @ kernel + bias
activation          name, alpha; slope of prelu                          see `fastdense.activations`
batch_norm          gamma, beta (or none), mean, variance, epsilon,      gamma (x - mean) / sqrt(variance + epsilon)
                    momentum                                             + beta
layer_norm          gamma, beta (or none), epsilon                       the same with mean and variance of the row
unit_norm                                                                x / max(|x|, 1e-12)
normalization       mean, deviation                                      (x - mean) / deviation
rescaling           scale, offset                                        x scale + offset
scale               scale                                                x scale
select              columns                                              x[:, columns]
piecewise_linear    edges (columns, bins + 1)                            see `fastdense.NumericEmbedding`
cosines             frequencies, phases (columns, frequencies)           cos(2 pi (f x + b))
grouped_dense       kernel (groups, inputs, units), bias                 a dense layer for each group of inputs
embedding           codes, table (codes + 1, size)                       a row of the table; one column
log1p               scale, offset, one each for each column              sign(x - o) log(1 + |x - o| / s)
one_hot             codes, a list for each column                        x == codes
waves               frequencies, a list for each column                  sin(2 pi f x), cos(2 pi f x), ...
robust_scale        center, scale for each column, clip or None          a / sqrt(1 + (a / clip)^2)
fill                fill for each column                                 x, or fill where it is NaN
is_nan                                                                   1 where x is NaN, else 0
dropout, ...        see `IDLE`                                           x, outside of training
==================  ===================================================  =========================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from .. import layers
from ..arrays import Array
from ..layers import Layer

if TYPE_CHECKING:
    from .._model import Model

IDLE = ("dropout", "gaussian_noise", "gaussian_dropout", "alpha_dropout", "activity")
MERGES = ("concatenate", "add", "subtract", "multiply", "average", "maximum", "minimum")


@dataclass(frozen=True)
class ChainStep:
    """One operation.

    Attributes
    ----------
    kind : str
    numbers : dict
        As the table above says; arrays as in the model.
    inputs, outputs : int
        Columns.
    place : str
        Where it is in the model, or in the file, for messages.
    """

    kind: str
    numbers: dict[str, Any]
    inputs: int
    outputs: int
    place: str = ""

    def get(self, name: str) -> Any:
        """A number, or None if there is none."""
        return self.numbers.get(name)


@dataclass(frozen=True)
class ChainBlock:
    """Several chains that begin with the same input, and how their outputs are merged."""

    merge: str
    chains: list[Chain]
    inputs: int
    outputs: int
    place: str = ""


Chain = list["ChainStep | ChainBlock"]


def steps_of(chain: Chain) -> Iterator[ChainStep]:
    """All steps, those of blocks in the place of these."""
    for one in chain:
        if isinstance(one, ChainStep):
            yield one
        else:
            for inner in one.chains:
                yield from steps_of(inner)


def width_after(chain: Chain, inputs: int) -> int:
    """Columns after a chain."""
    return chain[-1].outputs if chain else inputs


def refuse(where: str, place: str, problem: str, remedy: str) -> NoReturn:
    """Raise because a format cannot carry an operation."""
    raise ValueError(f"{where}: {place} {problem}. {remedy}")


def without_idle(chain: Chain) -> Chain:
    """The chain without what acts in training only."""
    made: Chain = []
    for one in chain:
        if isinstance(one, ChainBlock):
            made.append(
                ChainBlock(one.merge, [without_idle(c) for c in one.chains], one.inputs, one.outputs, one.place)
            )
        elif one.kind not in IDLE:
            made.append(one)
    return made


# ---- from a model --------------------------------------------------------------------------------------------------


@dataclass
class _Walk:
    """What is put together: where one is, and what is next among the tensors."""

    where: str
    tensors: list[Array]
    chain: Chain = field(default_factory=list)
    used: int = 0


def chain_of(model: Model, where: str) -> Chain:
    """The chain of a model.

    Parameters
    ----------
    model : Model
    where : str
        For messages: what the user called.

    Raises
    ------
    ValueError
        If it holds a layer whose formula is the user's own.
    """
    walk = _Walk(where, model.get_weights())
    width, net = model.inputs, model.net
    for i, (layer, name) in enumerate(zip(net.layers, net.names, strict=True)):
        place = f"layers[{i}]" if layer.name is None else f"layers[{i}] {name!r}"
        walk.chain += _layer(walk, layer, width, place)
        width = net.widths[i]
    assert walk.used == len(walk.tensors)
    return walk.chain


def _layer(walk: _Walk, layer: Layer, width: int, place: str) -> Chain:
    place = f"{place} ({type(layer).__name__})"
    if isinstance(layer, layers.Composite):
        chains = []
        for c, inner in enumerate(layer.chains):
            chain: Chain = []
            inside = width
            for i, one in enumerate(inner):
                chain += _layer(walk, one, inside, f"{place}, its layers[{layer.prefix(c, i)}]")
                inside = one.output_width(inside)
            chains.append(chain)
        if isinstance(layer, layers.Branches):
            return [ChainBlock(layer.merge, chains, width, layer.output_width(width), place)]
        return [ChainBlock("add", [[], *chains], width, width, place)]
    row = next((LAYERS[kind] for kind in type(layer).__mro__ if kind in LAYERS), None)
    if row is None:
        refuse(walk.where, place, "computes a formula of your own, which only its Python code knows",
               "Replace it by layers of fastdense, or save the model by model.save")  # fmt: skip
    own = {}
    for spec in layer.tensors(width):
        own[spec.name] = walk.tensors[walk.used]
        walk.used += 1
    return row(_Row(layer, own, width, place))


@dataclass(frozen=True)
class _Row:
    """A layer with its tensors, the width of its input and its place."""

    layer: Any
    tensors: dict[str, Array]
    width: int
    place: str

    def step(self, kind: str, inputs: int | None = None, outputs: int | None = None, **numbers: Any) -> ChainStep:
        given = self.width if inputs is None else inputs
        return ChainStep(kind, numbers, given, given if outputs is None else outputs, self.place)

    def select(self, columns: Sequence[int]) -> Chain:
        """The step that takes columns; none if these are all."""
        if list(columns) == list(range(self.width)):
            return []
        return [self.step("select", outputs=len(columns), columns=list(columns))]

    def beside(self, chains: list[Chain]) -> Chain:
        """Chains side by side; one alone stands for itself."""
        if len(chains) == 1:
            return chains[0]
        outputs = sum(width_after(chain, self.width) for chain in chains)
        return [ChainBlock("concatenate", chains, self.width, outputs, self.place)]


def _activation(row: _Row, name: str, alpha: float | None, width: int, slope: Array | None = None) -> Chain:
    if name == "linear":
        return []
    return [row.step("activation", width, name=name, alpha=alpha, slope=slope)]


def _dense(row: _Row) -> Chain:
    layer, own = row.layer, row.tensors
    dense = row.step("dense", outputs=layer.units, kernel=own["kernel"], bias=own.get("bias"))
    return [dense, *_activation(row, layer.activation, layer.alpha, layer.units, own.get("slope"))]


def _ascending(row: _Row) -> Chain:
    own = row.tensors
    inner, outputs = own["sums"].shape
    return [row.step("dense", outputs=inner, kernel=own["kernel"], bias=own["bias"]),
            *_activation(row, "softplus", None, inner),
            row.step("dense", inner, outputs, kernel=own["sums"], bias=None)]  # fmt: skip


def _batch_norm(row: _Row) -> Chain:
    own = row.tensors
    return [row.step("batch_norm", gamma=own.get("gamma"), beta=own.get("beta"), mean=own["moving_mean"],
                     variance=own["moving_variance"], epsilon=row.layer.epsilon,
                     momentum=row.layer.momentum)]  # fmt: skip


def _layer_norm(row: _Row) -> Chain:
    own = row.tensors
    return [row.step("layer_norm", gamma=own.get("gamma"), beta=own.get("beta"), epsilon=row.layer.epsilon)]


def _normalization(row: _Row) -> Chain:
    mean, variance = (np.asarray(row.tensors[name], dtype=np.float64) for name in ("mean", "variance"))
    return [row.step("normalization", mean=mean, deviation=np.where(variance == 0, 1.0, np.sqrt(variance)))]


def _numeric(row: _Row) -> Chain:
    layer, own = row.layer, row.tensors
    columns = list(range(row.width)) if layer.columns is None else layer.columns
    passing = list(range(row.width)) if layer.keep else [c for c in range(row.width) if c not in set(columns)]
    count = len(columns)
    if layer.adapts:
        numbers = {"edges": own["edges"]}
        per_column = own["edges"].shape[1] - 1
    else:
        numbers = {name: own[name] for name in ("frequencies", "phases")}
        per_column = own["phases"].shape[1]
    kind = "piecewise_linear" if layer.adapts else "cosines"
    chain = [*row.select(columns), row.step(kind, count, count * per_column, **numbers)]
    if layer.size is not None:
        kernel, bias = own["kernel"], own["bias"]
        chain.append(row.step("grouped_dense", count * per_column, bias.size, kernel=kernel, bias=bias))
        alpha = layers.Activation(layer.activation or "linear").alpha
        chain += _activation(row, layer.activation or "linear", alpha, bias.size)
    return row.beside([chain, row.select(passing)] if passing else [chain])


def _embedding(row: _Row) -> Chain:
    layer, table, codes = row.layer, row.tensors["table"], row.tensors["codes"]
    columns = list(range(row.width)) if layer.columns is None else layer.columns
    passing = [c for c in range(row.width) if c not in set(columns)]
    chains = [row.select(passing)] if passing else []
    first = begin = 0
    for j, column in enumerate(columns):
        count = len((layer.codes or [])[j if len(layer.codes or []) > 1 else 0])
        numbers = {"codes": codes[begin : begin + count], "table": table[first : first + count + 1]}
        chains.append([*row.select([column]), row.step("embedding", 1, layer.size, **numbers)])
        first, begin = first + count + 1, begin + count
    return row.beside(chains)


def _front(row: _Row, kind: str, per_column: dict[str, Any], widths: list[int] | None = None, **shared: Any) -> Chain:
    """A preprocessing layer: what is given for each column, and for all; consecutive columns are one step."""
    chosen = list(range(row.width)) if row.layer.columns is None else row.layer.columns
    lists = {name: _each(value, len(chosen)) for name, value in per_column.items()}
    place = {column: i for i, column in enumerate(chosen)}
    chains: list[Chain] = []
    first = 0
    for column in range(1, row.width + 1):
        if column < row.width and (column in place) == (first in place):
            continue
        columns = list(range(first, column))
        if first in place:
            own = slice(place[first], place[first] + len(columns))
            outputs = len(columns) if widths is None else sum(_each(widths, len(chosen))[own])
            numbers = {name: values[own] for name, values in lists.items()}
            chains.append([*row.select(columns), row.step(kind, len(columns), outputs, **numbers, **shared)])
        else:
            chains.append(row.select(columns))
        first = column
    return row.beside(chains)


def _each(values: Any, count: int) -> list[Any]:
    """One for each column: what is given once is for all."""
    given = values if isinstance(values, list) else [values]
    return given * count if len(given) == 1 else given


def _log1p(row: _Row) -> Chain:
    return _front(row, "log1p", {"scale": row.layer.scale, "offset": row.layer.offset})


def _one_hot(row: _Row) -> Chain:
    codes = row.layer.codes
    return _front(row, "one_hot", {"codes": codes}, [len(one) for one in codes])


def _periodic(row: _Row) -> Chain:
    frequencies = row.layer.frequencies
    if not row.layer.keep:
        return _front(row, "waves", {"frequencies": frequencies}, [2 * len(one) for one in frequencies])
    chosen = list(range(row.width)) if row.layer.columns is None else row.layer.columns
    each = dict(zip(chosen, _each(frequencies, len(chosen)), strict=True))
    chains = []
    for column in range(row.width):
        chains.append(row.select([column]))
        if column in each:
            waves = row.step("waves", 1, 2 * len(each[column]), frequencies=[each[column]])
            chains.append([*row.select([column]), waves])
    return row.beside(chains)


def _robust_scale(row: _Row) -> Chain:
    known = row.layer.statistics is not None
    numbers = {"center": row.layer.center if known else 0.0, "scale": row.layer.scale if known else 1.0}
    return _front(row, "robust_scale", numbers, clip=row.layer.clip)


def _impute(row: _Row) -> Chain:
    chain = _front(row, "fill", {"fill": 0.0 if row.layer.fill is None else row.layer.fill})
    indicator = row.layer.indicator
    if isinstance(indicator, bool):
        every = list(range(row.width)) if row.layer.columns is None else row.layer.columns
        indicator = every if indicator else []
    if not indicator:
        return chain
    found: Chain = [*row.select(indicator), row.step("is_nan", len(indicator))]
    whole = isinstance(chain[0], ChainBlock)
    return row.beside([*(chain[0].chains if whole and isinstance(chain[0], ChainBlock) else [chain]), found])


LAYERS: dict[type[Layer], Callable[[_Row], Chain]] = {
    layers.Dense: _dense,
    layers.Ascending: _ascending,
    layers.Activation: lambda row: _activation(row, row.layer.activation, row.layer.alpha, row.width,
                                               row.tensors.get("slope")),
    layers.Dropout: lambda row: [row.step("dropout", rate=row.layer.rate)],
    layers.GaussianNoise: lambda row: [row.step("gaussian_noise", stddev=row.layer.stddev)],
    layers.GaussianDropout: lambda row: [row.step("gaussian_dropout", rate=row.layer.rate)],
    layers.AlphaDropout: lambda row: [row.step("alpha_dropout", rate=row.layer.rate)],
    layers.ActivityRegularization: lambda row: [row.step("activity", l1=row.layer.l1, l2=row.layer.l2)],
    layers.BatchNorm: _batch_norm,
    layers.LayerNorm: _layer_norm,
    layers.UnitNormalization: lambda row: [row.step("unit_norm")],
    layers.Normalization: _normalization,
    layers.Rescaling: lambda row: [ChainStep("rescaling", row.tensors, row.width, row.width, row.place)],
    layers.Scale: lambda row: [ChainStep("scale", row.tensors, row.width, row.width, row.place)],
    layers.SelectColumns: lambda row: row.select(row.layer.columns),
    layers.NumericEmbedding: _numeric,
    layers.CategoryEmbedding: _embedding,
    layers.Log1p: _log1p,
    layers.OneHot: _one_hot,
    layers.Periodic: _periodic,
    layers.RobustScale: _robust_scale,
    layers.Impute: _impute,
}  # fmt: skip
