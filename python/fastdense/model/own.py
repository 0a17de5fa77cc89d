"""Losses and metrics of a user's own in files: they are named there, and `load` is given them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from ..losses import Custom, Loss
from ..metrics import Collected, Metric


def is_own(part: Any) -> bool:
    """Whether an object of `compile` is one of a user's own that a file names only."""
    return isinstance(part, Custom) or (isinstance(part, Collected) and type(part) not in Metric._members.values())


def with_own_objects(compiled: Mapping[str, Any], custom_objects: Mapping[str, Any]) -> dict[str, Any] | None:
    """The arguments of `compile` from a file, with the user's own objects in their places.

    Returns
    -------
    dict or None
        None, with a warning, if one of them is not there.
    """
    loss, chosen = compiled["loss"], list(compiled["metrics"])
    missing = []
    if isinstance(loss, Mapping) and loss.get("class_name") in ("Custom", "Differentiated"):
        name = str(loss["config"]["name"])
        given = custom_objects.get(name)
        if given is None:
            missing.append(f"the loss {name!r}")
        loss = given if isinstance(given, Loss) else given and Custom(given, name, bool(loss["config"]["check"]))
    for i, metric in enumerate(chosen):
        kind = metric.get("class_name") if isinstance(metric, Mapping) else None
        if kind is None or kind in {member.__name__ for member in Metric._members.values()}:
            continue
        given = custom_objects.get(str(kind))
        if given is None:
            missing.append(f"the metric {kind!r}")
        else:
            chosen[i] = given.from_config(metric["config"])
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
