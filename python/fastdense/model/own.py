"""Losses and metrics of a user's own in files: they are named there, and `load` is given them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from ..losses import Custom, Loss, PerHead
from ..metrics import Collected, Metric, OfHead


def is_own(part: Any) -> bool:
    """Whether an object of `compile` is one of a user's own that a file names only."""
    if isinstance(part, OfHead):
        return is_own(part.metric)
    if isinstance(part, PerHead):
        return part.called
    return isinstance(part, Custom) or (isinstance(part, Collected) and type(part) not in Metric._members.values())


def with_own_objects(compiled: Mapping[str, Any], custom_objects: Mapping[str, Any]) -> dict[str, Any] | None:
    """The arguments of `compile` from a file, with the user's own objects in their places.

    Returns
    -------
    dict or None
        None, with a warning, if one of them is not there.
    """
    missing: list[str] = []

    def whole_loss(loss: Any) -> Any:
        kind = loss.get("class_name") if isinstance(loss, Mapping) else None
        if kind == "PerHead":
            heads = [{**one, "config": {**one["config"], "loss": whole_loss(one["config"]["loss"])}}
                     for one in loss["config"]["heads"]]  # fmt: skip
            return {**loss, "config": {"heads": heads}}
        if kind not in ("Custom", "Differentiated"):
            return loss
        name = str(loss["config"]["name"])
        given = custom_objects.get(name)
        if given is None:
            missing.append(f"the loss {name!r}")
        return given if isinstance(given, Loss) else given and Custom(given, name, bool(loss["config"]["check"]))

    def whole_metric(metric: Any) -> Any:
        kind = metric.get("class_name") if isinstance(metric, Mapping) else None
        if kind == "OfHead":
            return {**metric, "config": {**metric["config"], "metric": whole_metric(metric["config"]["metric"])}}
        if kind is None or kind in {member.__name__ for member in Metric._members.values()}:
            return metric
        given = custom_objects.get(str(kind))
        if given is None:
            missing.append(f"the metric {kind!r}")
        return given and given.from_config(metric["config"])

    loss, chosen = whole_loss(compiled["loss"]), [whole_metric(metric) for metric in compiled["metrics"]]
    if not missing:
        return {**compiled, "loss": loss, "metrics": chosen}
    names = " and ".join(missing)
    warnings.warn(
        f"load: the model was compiled with {names} of your own, which a file cannot hold, so it is not compiled. "
        "Pass custom_objects={name: function or class}, or call model.compile(...); weights and layers are there.",
        UserWarning,
        stacklevel=5,
    )
    return None
