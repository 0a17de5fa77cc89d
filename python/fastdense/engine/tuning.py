"""What plans of the CUDA engine take for granted about a GPU's speed: the tables of `gpus.json`, or of a user's file.

``gpus.json`` holds every constant with its unit, its source and its value for GPUs that were not measured
("constants"), and GPUs by the driver's names ("gpus"): compute capability, source, and the constants that differ
("values"). A GPU that is not listed takes the table of the nearest compute capability. "rates", also by GPU, are those
of an H200 by which benchmarks predict times; plans do not read them. Nothing is measured while a net is trained: the
same seed gives the same bits on the same GPU with the same tables.

The environment variable ``FASTDENSE_CUDA_TABLE`` names a file with more "gpus", as ``python -m benchmarks
gpu-calibrate`` writes it; its entries come before those of the same name. It is read when a model is made.
"""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from ..arrays import fail

VARIABLE = "FASTDENSE_CUDA_TABLE"
SHIPPED = Path(__file__).with_name("gpus.json")
Table = list[tuple[str, int, dict[str, float]]]  # name, compute capability (90 of 9.0), every constant

_read: WeakKeyDictionary[Any, str | None] = WeakKeyDictionary()  # by module, the file that its tables are of


def shipped() -> dict[str, Any]:
    """The content of ``gpus.json``."""
    found: dict[str, Any] = json.loads(SHIPPED.read_text(encoding="utf-8"))
    return found


def set_tables(module: Any) -> None:
    """Give the compiled module the tables, unless it has those of this file.

    Raises
    ------
    ValueError
        If the file that the environment variable names cannot be read, or is no table.
    """
    path = os.environ.get(VARIABLE) or None
    if _read.get(module, "") != path:
        module.set_tuning(tables(path))
        _read[module] = path


def tables(path: str | None = None) -> Table:
    """All GPUs with all their constants; those of the file `path` first.

    Raises
    ------
    ValueError
        If the file cannot be read or is no table.
    """
    own = shipped()
    defaults = {name: float(constant["value"]) for name, constant in own["constants"].items()}
    gpus: dict[str, Any] = own["gpus"]
    if path is not None:
        added = _checked(path, defaults)
        gpus = {**added, **{name: entry for name, entry in gpus.items() if name not in added}}
    return [
        (name, int(entry["compute_capability"].replace(".", "")), {**defaults, **entry["values"]})
        for name, entry in gpus.items()
    ]


def _checked(path: str, defaults: dict[str, float]) -> dict[str, Any]:
    """The "gpus" of a file."""
    where, needed = VARIABLE, "a file that python -m benchmarks gpu-calibrate has written is needed"
    remedy = "correct the file, or unset the variable"
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError) as error:
        fail(where, f"{path} cannot be read ({error})", needed, remedy)
    gpus = found.get("gpus") if isinstance(found, dict) else None
    if not isinstance(gpus, dict) or not gpus:
        fail(where, f'{path} has no "gpus"', needed, remedy)
    for name, entry in gpus.items():
        given = f'{path}, "{name}"'
        if not isinstance(entry, dict) or not isinstance(entry.get("values"), dict):
            fail(where, f'{given} has no "values"', needed, remedy)
        if not re.fullmatch(r"\d+\.\d", str(entry.get("compute_capability"))):
            fail(where, f"{given} has no compute_capability", 'a text such as "9.0" is needed', remedy)
        for constant, value in entry["values"].items():
            if constant not in defaults:
                fail(where, f"{given} sets {constant!r}", f"the constants are {', '.join(defaults)}", remedy)
            number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
            if not number or value < 0 or (value == 0 and constant != "side_stream"):
                fail(where, f"{given} sets {constant} to {value!r}", "a number above 0 is needed", remedy)
    return gpus
