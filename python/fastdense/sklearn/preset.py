"""The estimators' ``preset="tabular"``: `fastdense.tabular.fit` in the place of one net."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import tabular
from ..arguments import choice, shorten
from ..arrays import Array, fail
from . import settings

# What a preset leaves to the caller.
TAKEN = ("preset", "class_weight", "random_state", "verbose", "device", "n_threads", "n_ensemble", "time_limit",
         "categorical_features")  # fmt: skip


def check_preset(params: settings.Params, defaults: Mapping[str, Any]) -> None:
    """Raise if there is no such preset, or a parameter is given that it chooses by itself."""
    name = settings.where(params)
    choice(f"{name}: preset", params["preset"], ("tabular",), other="None")
    for parameter, default in defaults.items():
        value = params[parameter]
        if parameter not in TAKEN and not (type(value) is type(default) and value == default):
            fail(name, f"{parameter} is {shorten(value)} and preset {shorten(params['preset'])}",
                 f"the preset chooses {parameter} by itself", "drop one")  # fmt: skip
    if params["device"] != "cpu":
        fail(name, f"device is {shorten(params['device'])} and preset 'tabular'", "it trains on the CPU", "drop one")


def fit_preset(
    params: settings.Params,
    X: Any,
    y: Array,
    w: Array | None,
    kind: str,
    seed: int,
    n_threads: int | None,
    verbose: Any,
    executor: Any,
) -> tabular.TabularModel:
    """The ensemble of the preset.

    Parameters
    ----------
    params : mapping
    X : data frame or array
    y : ndarray
        Numbers (n, outputs), or class numbers (n,).
    w : ndarray of shape (n,), optional
    kind : {"regression", "classification"}
    seed : int
    n_threads : int, optional
    verbose : int or "auto"
    executor : executor, optional
    """
    return tabular.fit(
        X,
        y,
        task=kind,
        sample_weight=w,
        categorical=params["categorical_features"],
        time_limit=params["time_limit"],
        n_ensemble=params["n_ensemble"],
        random_state=seed,
        n_threads=n_threads,
        verbose=verbose,
        executor=executor,
    )
