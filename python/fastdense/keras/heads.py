"""Losses, weights and metrics of `compile` for a model with several outputs, as heads of a model of `fastdense`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .. import metrics as core
from ..arguments import number, quoted, shorten
from ..losses import Head, PerHead
from ..training.feasible import check_output
from . import losses
from .inputs import check_keys
from .metrics.compiled import Choice, choose, core_metrics


class Output(NamedTuple):
    """An output of a model: its name, its width, and the activation that it comes from."""

    name: str
    columns: int
    activation: str


def _listed(where: str, given: Any, outputs: Sequence[Output], *, partial: bool) -> list[Any]:
    """One entry for each output, of a list in their order or a dict by their names; `partial`: some may be missing."""
    names = [one.name for one in outputs]
    if isinstance(given, Mapping):
        check_keys(f"compile: {where}", given, names, f"The outputs are {quoted(names)}.")
        missing = [name for name in names if name not in given]
        if missing and not partial:
            raise ValueError(
                f"compile: {where} lacks {quoted(missing)}. Give an entry for each of the outputs {quoted(names)}; "
                "None is one."
            )
        return [given.get(name) for name in names]
    if len(given) != len(names):
        raise ValueError(
            f"compile: {where} is a list of {len(given)}, and there are {len(names)} outputs. Give an entry for each "
            f"of {quoted(names)}, or a dict by these names."
        )
    return list(given)


def _is_several(given: Any) -> bool:
    """Whether it is given for each output, and not the config of one object."""
    return isinstance(given, (list, tuple)) or (isinstance(given, Mapping) and "class_name" not in given)


def loss_of(loss: Any, loss_weights: Any, outputs: Sequence[Output]) -> PerHead | None:
    """The loss of a model with these outputs; None if none is given.

    Parameters
    ----------
    loss : list, dict by names, or one loss for all
        None for an output that only predicts.
    loss_weights : list or dict of float, optional
    outputs : sequence of Output
    """
    if loss is None:
        return None
    given = _listed("loss", loss, outputs, partial=False) if _is_several(loss) else [loss] * len(outputs)
    if loss_weights is not None and not _is_several(loss_weights):
        raise ValueError(
            f"compile: loss_weights={shorten(loss_weights)}, and there are {len(outputs)} outputs. Give a list with a "
            "factor for each, or a dict by their names."
        )
    weights = [1.0] * len(outputs) if loss_weights is None else _listed("loss_weights", loss_weights, outputs,
                                                                        partial=True)  # fmt: skip
    heads = []
    for one, own, weight in zip(outputs, given, weights, strict=True):
        found = None if own is None else losses.lowered(own)
        if found is not None:
            check_output(f"compile: output {one.name!r}", found, one.columns, one.activation)
            if weight is None:
                raise ValueError(
                    f"compile: loss_weights lacks {one.name!r}. Give a factor for each output with a loss."
                )
        weight = 1.0 if weight is None else number(f"compile: loss_weights[{one.name!r}]", weight, least=0)
        heads.append(Head(one.name, one.columns, found, weight))
    return PerHead(heads)


def metrics_of(metrics: Any, weighted_metrics: Any, outputs: Sequence[Output]) -> dict[str, list[Choice]]:
    """The metrics of each output, by its name.

    Parameters
    ----------
    metrics, weighted_metrics : list with an entry for each output, or dict by names, optional
        Each a metric or a list of them.
    outputs : sequence of Output
    """
    each = []
    for name, given in (("metrics", metrics), ("weighted_metrics", weighted_metrics)):
        if given is not None and not _is_several(given):
            raise ValueError(
                f"compile: {name}={shorten(given)}, and there are {len(outputs)} outputs. Give a list with an entry "
                "for each, or a dict by their names."
            )
        each.append([None] * len(outputs) if not given else _listed(name, given, outputs, partial=True))
    return {one.name: choose(own, weighted) for one, own, weighted in zip(outputs, *each, strict=True)}


def core_metrics_of(loss: PerHead, choices: Mapping[str, Sequence[Choice]]) -> list[core.Metric]:
    """What a model of `fastdense` computes, in Keras's order: the losses of outputs, then metrics by name."""
    trained = [head for head in loss.heads if head.loss is not None]
    made: list[core.Metric] = []
    for head in loss.heads:
        own = choices.get(head.name, [])
        if head.loss is None and own:
            raise ValueError(
                f"compile: metrics are given for the output {head.name!r}, which has no loss and so no targets. Leave "
                "them out, or give it a loss with loss_weights of 0."
            )
        if head.loss is not None:
            for choice, one in zip(own, core_metrics(own, head.loss, head.columns), strict=True):
                made.append(core.OfHead(head.name, one, f"{head.name}_{choice.name}"))
    made.sort(key=lambda metric: metric.name)
    return [*(core.OfHead(head.name, "loss") for head in trained if len(trained) > 1), *made]
