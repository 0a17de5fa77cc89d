"""One model on one table in a process of its own: `python -m benchmarks.tabular.worker MODEL TABLE SEED THREADS`.

Prints one line of JSON. Reading the table and importing libraries do not count; fit and predict do.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any

from benchmarks.tabular.models import MODELS, PACKAGES
from benchmarks.tabular.tables import load, score


def measure(name: str, table_name: str, seed: int, threads: int) -> dict[str, Any]:
    """Fit on train with val, and score the test part once."""
    from fastdense.versions import package_version

    table = load(table_name)
    importlib.import_module(PACKAGES[name])
    start, cpu = time.perf_counter(), time.process_time()
    predict, notes = MODELS[name](table, seed, threads)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    start = time.perf_counter()
    prediction = predict(table.x["test"])
    predict_seconds = time.perf_counter() - start
    return {
        "model": name,
        "table": table_name,
        "seed": seed,
        "threads": threads,
        "metric": table.metric,
        "test": score(table.metric, table.y["test"], prediction),
        "val": score(table.metric, table.y["val"], predict(table.x["val"])),
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),
        "predict_seconds": round(predict_seconds, 4),
        "load": round(os.getloadavg()[0], 1),
        "version": package_version({"sklearn": "scikit-learn"}.get(PACKAGES[name], PACKAGES[name])),
        "notes": notes,
    }


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))), flush=True)
