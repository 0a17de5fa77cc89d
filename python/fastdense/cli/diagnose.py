"""`fastdense diagnose`: a script, or a saved model with a file of data."""

from __future__ import annotations

import argparse
import json
import runpy
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._model import Model, load
from ..diagnose.report import Diagnosis

DESCRIPTION = """Find out why a net does not learn. Pass a Python script, which is run and whose last `fit` is
diagnosed, or a model written by `model.save` and its data: an .npz file with the arrays x and y, or a .csv file with
the target in the last column."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; 0 if the net has no error, 1 if it has, 2 if the diagnosis failed."""
    parser = argparse.ArgumentParser(prog="fastdense diagnose", description=DESCRIPTION)
    parser.add_argument("what", type=Path, help="script.py, or a saved model")
    parser.add_argument("data", nargs="*", help="for a model: data.npz or data.csv; for a script: its arguments")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write the report as an HTML page")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--budget",
        type=float,
        metavar="SECONDS",
        help="work allowed, in nominal seconds (default: those of the training, 2 to 20)",
    )
    parser.add_argument("--no-trials", action="store_true", help="apply the rules only; takes at most about one epoch")
    options = parser.parse_args(list(arguments))
    try:
        given = _from_script(options.what, options.data) if options.what.suffix == ".py" else _from_files(options)
        report = _report(given, options)
        if options.html is not None:
            report.save(options.html)
    except (OSError, ValueError, TypeError, KeyError) as error:
        print(f"fastdense diagnose: {error}", file=sys.stderr)
        return 2
    print(json.dumps(report.to_dict(), indent=2) if options.json else report)
    return 1 if report.causes else 0


def _report(given: tuple[Model, dict[str, Any]], options: argparse.Namespace) -> Diagnosis[Model]:
    model, data = given
    return model.diagnose(**data, verify=not options.no_trials, budget=options.budget)


def _from_script(path: Path, arguments: list[str]) -> tuple[Model, dict[str, Any]]:
    """Run a script as `python script.py` does, and return the model and data of its last `fit`."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; pass a script or a saved model")
    fits: list[tuple[Model, dict[str, Any]]] = []
    fit = Model.fit

    def recorded(self: Model, x: Any, y: Any, **options: Any) -> Any:
        given = {name: options.get(name) for name in ("sample_weight", "validation_data")}
        fits.append((self, {"x": x, "y": y, **given}))
        return fit(self, x, y, **options)

    before = sys.argv, sys.path[:]
    sys.argv, sys.path[0:0] = [str(path), *arguments], [str(path.parent.resolve())]
    Model.fit = recorded  # type: ignore[assignment,method-assign]
    try:
        runpy.run_path(str(path), run_name="__main__")
    except (Exception, SystemExit) as error:
        if not isinstance(error, SystemExit):
            traceback.print_exc()
            print(f"fastdense diagnose: {path} ended with an error; its last fit is diagnosed", file=sys.stderr)
    finally:
        Model.fit = fit  # type: ignore[method-assign]
        sys.argv, sys.path[:] = before
    if not fits:
        raise ValueError(f"{path} does not call fit on a fastdense model; there is nothing to diagnose")
    return fits[-1]


def _from_files(options: argparse.Namespace) -> tuple[Model, dict[str, Any]]:
    if len(options.data) != 1:
        raise ValueError(f"{options.what} needs one file of data: an .npz with x and y, or a .csv with the target last")
    model = load(options.what)
    path = Path(options.data[0])
    if path.suffix not in (".npz", ".csv"):
        raise ValueError(
            f"{path} is of a kind that is not read; give an .npz with x and y, or a .csv with the target last"
        )
    return model, _from_npz(path) if path.suffix == ".npz" else _from_csv(path)


def _from_npz(path: Path) -> dict[str, Any]:
    needed = f"it needs x and y: np.savez({path.name!r}, x=x, y=y)"
    try:
        with open(path, "rb") as raw, np.load(raw) as file:
            arrays = dict(file)
    except OSError:
        raise
    except Exception as error:  # of many classes: no zip file, a damaged one, or one of pickled objects
        raise ValueError(f"{path} cannot be read as an .npz file ({_first_line(error)}); {needed}") from error
    if not arrays.keys() >= {"x", "y"}:
        raise ValueError(f"{path} holds {', '.join(arrays) or 'nothing'}; {needed}")
    return {"x": arrays["x"], "y": arrays["y"]}


def _from_csv(path: Path) -> dict[str, Any]:
    needed = "it needs rows of numbers with commas between them, the target last"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is empty
            table = np.genfromtxt(path, delimiter=",", ndmin=2)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as a .csv file ({_first_line(error)}); {needed}") from error
    if len(table) and np.isnan(table[0]).all():  # the names of the columns
        table = table[1:]
    if not len(table) or table.shape[1] < 2:
        raise ValueError(f"{path} holds {'only one column' if len(table) else 'no rows'}; {needed}")
    return {"x": table[:, :-1], "y": table[:, -1]}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__
