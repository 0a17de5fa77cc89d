"""Statistics of every layer during training, which ``fit(..., probes=True)`` records in the history."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..activations import TABLE
from ..arguments import choice
from ..arrays import Array
from ..layers import Activation, Composite, Dense, Layer, Preprocessing
from ..network import Net

MOST_RECORDS, MOST_BYTES = 256, 1 << 26  # whichever is reached first, but at least FEWEST_RECORDS are kept
FEWEST_RECORDS = 16
SHORT_FIT = 2  # probes of the shortest fit, besides that after its first step
KINDS = ("off", "saturated", "mean", "variance", "gradient", "weight", "update")  # as engines return them
SPREAD = 1.4826  # of the median absolute deviation of normal numbers: their standard deviation


@dataclass(frozen=True)
class LayerProbes:
    """Statistics of one layer: arrays of shape (probes, units), or None where they are not defined for it.

    Attributes
    ----------
    name : str
    activation : str
        "" if the layer has none.
    off : ndarray or None
        Fraction of the rows for which the unit's pre-activation is at most 0; for layers with an activation.
    saturated : ndarray or None
        Fraction of the rows for which it is beyond the saturation limit of the activation, on either side: 5 (sigmoid),
        2.5 (tanh), 3 (hard_sigmoid), 10 (softsign).
    mean, variance : ndarray
        Of the unit's output over the rows.
    gradient, weight, update : ndarray or None
        Norm of the unit's column of the kernel: of the loss's gradient, of the weights, and of what the last step
        before the probe changed; for dense layers.
    layers : list of LayerProbes
        Those inside of a `Residual` or of `Branches`, whose own numbers are those of what these give.
    """

    name: str
    activation: str
    mean: Array
    variance: Array
    off: Array | None = None
    saturated: Array | None = None
    gradient: Array | None = None
    weight: Array | None = None
    update: Array | None = None
    layers: list[LayerProbes] = field(default_factory=list)

    @property
    def ratio(self) -> Array | None:
        """Size of a step relative to the weights: update / weight; about 1e-3 is usual. NaN where both are 0."""
        if self.update is None or self.weight is None:
            return None
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.update / self.weight)


@dataclass(frozen=True)
class _Place:
    """A layer and the number of the op that gives its output."""

    name: str
    op: int
    layer: Layer
    inside: list[_Place]


class Probes:
    """Statistics of the layers, every so many steps of a training run.

    A probe is a forward and a backward pass of at most 256 evenly spaced training rows, in inference mode, with the
    weights after a step: once after the first step, then evenly over an epoch and after its last step, or after the
    last step of every second, fourth, ... epoch. How often follows from the work of a step and of a probe alone, so
    that it costs a few per cent and the same seed gives the same records. At most 256 records are kept (fewer for huge
    nets): when there are more, every second one is dropped and probes become half as frequent.

    Parameters
    ----------
    net : Net
    period : int
        Number of steps between probes that makes their cost small.
    batches : int
        Steps of an epoch.
    epochs : int
        That will be trained.

    Attributes
    ----------
    steps, epochs : ndarray of int, shape (probes,)
        Optimizer steps done in the model's life, and the epoch they belong to, numbered as in `History.epoch`.
    loss : ndarray of shape (probes,)
        Of the probe's rows, penalties included.
    nonfinite_layer : ndarray of int, shape (probes,)
        Number of the first layer whose output is not finite for some row, or -1.
    layers : list of LayerProbes
        One per layer of the model.

    Notes
    -----
    ``off`` of 1 means dead for the rows of the probe; other rows may still activate the unit.
    """

    def __init__(self, net: Net, period: int, batches: int, epochs: int) -> None:
        self._places = list(_places(net.layers, net.names, 0, net.inputs))
        self._widths = _op_widths(net)
        width = len(KINDS) * sum(self._widths)
        self._most = min(MOST_RECORDS, max(FEWEST_RECORDS, MOST_BYTES // (8 * width)))
        affordable = math.floor(math.log2(batches / period))
        needed = min(math.ceil(math.log2(SHORT_FIT / max(1, epochs))), math.ceil(math.log2(batches)))
        self._level = max(-30, min(30, max(affordable, needed)))
        self._begun = False
        self._records: list[tuple[int, int, int, float, int, Array]] = []  # step, epoch, rank, loss, op, values
        self._layers: list[LayerProbes] | None = None

    # ---- recording -------------------------------------------------------------------------------------------------

    def request(self) -> dict[str, Any]:
        """The arguments for the next call of the engine."""
        return {"probe_level": self._level, "probe_first": not self._begun}

    def add(self, found: dict[str, Array] | None, epochs_later: int) -> None:
        """Add what a call of the engine returned; `epochs_later` is added to its numbers of epochs."""
        if found is None:
            return
        columns = (found[name].tolist() for name in ("step", "epoch", "rank", "loss", "nonfinite_op"))
        for (step, epoch, rank, loss, op), values in zip(zip(*columns, strict=True), found["values"], strict=True):
            self._begun = True
            if rank > self._level:
                continue
            self._records.append((step, epoch + epochs_later, rank, loss, op, values.copy()))
            while len(self._records) > self._most and self._level > -30:
                self._level -= 1
                self._records = [record for record in self._records if record[2] <= self._level]
        self._layers = None

    # ---- what was recorded -----------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._records)

    def __repr__(self) -> str:
        span = f", steps {self._records[0][0]} to {self._records[-1][0]}" if self._records else ""
        return f"<Probes: {len(self)} records{span}, {len(self._places)} layers>"

    @property
    def steps(self) -> Array:
        """Optimizer steps done, (probes,)."""
        return np.array([record[0] for record in self._records], dtype=np.int64)

    @property
    def epochs(self) -> Array:
        """Epoch of each step, numbered as in `History.epoch`, (probes,)."""
        return np.array([record[1] for record in self._records], dtype=np.int64)

    @property
    def loss(self) -> Array:
        """Loss of the probe's rows, (probes,)."""
        return np.array([record[3] for record in self._records], dtype=np.float64)

    @property
    def nonfinite_layer(self) -> Array:
        """Number of the first layer whose output is not finite for some row, or -1; (probes,)."""
        ends = np.array([place.op for place in self._places])
        ops = np.array([record[4] for record in self._records], dtype=np.int64)
        return np.where(ops < 0, -1, np.searchsorted(ends, ops))

    @property
    def layers(self) -> list[LayerProbes]:
        """What each layer of the model did."""
        if self._layers is None:
            width = len(KINDS) * sum(self._widths)
            values = np.array([record[5] for record in self._records], dtype=np.float64).reshape(-1, width)
            edges = len(KINDS) * np.cumsum([0, *self._widths])
            ops = [values[:, a:b].reshape(len(values), len(KINDS), -1) for a, b in zip(edges, edges[1:], strict=False)]
            self._layers = [_of(place, ops) for place in self._places]
        return self._layers

    def first_death(self, layer: int, unit: int) -> tuple[int, int] | None:
        """When a relu unit died for good: off for all rows of the probe from then on to the end.

        Parameters
        ----------
        layer, unit : int
            The layer's number in the model (of the `Activation` if it is a layer of its own), the unit's in the layer.

        Returns
        -------
        (epoch, step), or None
            Of the first record that shows it dead; None if the last does not, or the activation is no relu or relu6,
            which alone pass nothing on when they are off.
        """
        probes = self.layers[layer]
        if probes.off is None or not TABLE[probes.activation].dead_below_zero:
            return None
        alive = np.flatnonzero(probes.off[:, unit] < 1)
        first = int(alive[-1]) + 1 if len(alive) else 0
        return None if first >= len(self) else (int(self.epochs[first]), int(self.steps[first]))

    def layer_rms(self, kind: str) -> Array:
        """Root of the mean square over the units of each layer.

        Parameters
        ----------
        kind : str
            "gradient", "weight", "update", "ratio", or another array of `LayerProbes`.

        Returns
        -------
        ndarray of shape (probes, layers)
            NaN for layers that have no such numbers.
        """
        choice("layer_rms: kind", kind, (*KINDS, "ratio"))
        out = np.full((len(self), len(self._places)), np.nan)
        for i, layer in enumerate(self.layers):
            values = getattr(layer, kind)
            if values is not None:
                out[:, i] = np.sqrt(np.mean(np.square(values), axis=1))
        return out

    def loss_zscore(self, window: int = 16) -> Array:
        """How unusual each loss is beside those before it: a spike of the loss stands out from its own noise.

        Parameters
        ----------
        window : int
            How many losses before count.

        Returns
        -------
        ndarray of shape (probes,)
            (loss - median) / (1.4826 · median absolute deviation + 1e-3 · |median|) of the finite ones among the
            `window` losses before; NaN where there are fewer than four, inf for a loss that is not finite.
        """
        loss, scores = self.loss, np.full(len(self), np.nan)
        for i in range(4, len(loss)):
            before = loss[max(0, i - window) : i]
            before = before[np.isfinite(before)]
            if not np.isfinite(loss[i]):
                scores[i] = np.inf
            elif len(before) >= 4:
                middle = float(np.median(before))
                spread = SPREAD * float(np.median(np.abs(before - middle))) + 1e-3 * abs(middle)
                scores[i] = (loss[i] - middle) / (spread or 1.0)
        return scores


def _places(layers: Sequence[Layer], names: Sequence[str], first: int, width: int) -> Iterator[_Place]:
    for layer, name in zip(layers, names, strict=True):
        inputs, width = width, layer.output_width(width)
        if isinstance(layer, Preprocessing):  # it has no op
            continue
        inside: list[_Place] = []
        if isinstance(layer, Composite):
            at = first
            for c, (chain, ops) in enumerate(zip(layer.chains, layer.chain_ops(inputs), strict=True)):
                own = [f"{name}.{layer.prefix(c, i)}" for i in range(len(chain))]
                inside += _places(chain, own, at + 1, inputs)
                at += 1 + len(ops)
        first += len(layer.lower(inputs))
        yield _Place(name, first - 1, layer, inside)


def _op_widths(net: Net) -> list[int]:
    """Outputs of each op."""
    from ..reference.layers import build_ops  # few programs need the reference engine

    return [op.width for op in build_ops(net.program["inputs"], net.ops, net.program["dtype"])]


def _of(place: _Place, ops: list[Array]) -> LayerProbes:
    numbers: dict[str, Array] = {kind: ops[place.op][:, i] for i, kind in enumerate(KINDS)}
    layer, kept = place.layer, {"mean", "variance"}
    activation = layer.activation if isinstance(layer, (Dense, Activation)) else ""
    kept |= {"off"} if activation else set()
    kept |= {"saturated"} if activation and TABLE[activation].saturation else set()
    kept |= {"gradient", "weight", "update"} if isinstance(layer, Dense) else set()
    own: dict[str, Any] = {kind: numbers[kind] for kind in kept}
    return LayerProbes(name=place.name, activation=activation, layers=[_of(one, ops) for one in place.inside], **own)
