"""The examples of `fastdense demo NAME`: scripts in ``examples/`` of a checkout or of the installed package."""

from __future__ import annotations

import ast
import contextlib
import os
import runpy
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

NAMES = (
    "identity",
    "pyramid",
    "plateau",
    "exercise4",
    "ceiling",
    "collapse",
    "fir",
    "spectrum",
    "fashion",
    "batchnorm",
    "surrogate",
    "oscillator",
    "cartpole",
    "intervals",
    "cluster",
)
TOUR = ("plateau", "pyramid")


def folder() -> Path:
    """Folder of the examples: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parents[1]
    candidates = (package / "examples", package.parents[1] / "examples")
    return next((path for path in candidates if (path / "fir.py").is_file()), candidates[0])


def title(name: str) -> str:
    """Title of an example: the first line of its docstring."""
    docstring = ast.get_docstring(ast.parse((folder() / f"{name}.py").read_text(encoding="utf-8")))
    return (docstring or "").partition("\n")[0]


def listing() -> str:
    """The names, with the title of each."""
    return "\n".join(f"  fastdense demo {name:12}{title(name)}" for name in NAMES)


def run(name: str, arguments: Sequence[str] = ()) -> None:
    """Run an example as a script; its plots go to the working folder."""
    before, sys.argv = sys.argv, [f"fastdense demo {name}", *arguments]
    try:
        runpy.run_path(str(folder() / f"{name}.py"), run_name="__main__")
    finally:
        sys.argv = before


def tour(keep_plots: bool) -> None:
    """Run the best examples in their short form, then list all."""
    with contextlib.nullcontext() if keep_plots else _temporary_folder():
        for name in TOUR:
            print(f"\n{'=' * 100}\nfastdense demo {name} --quick\n{title(name)}\n{'=' * 100}\n", flush=True)
            run(name, ["--quick"])
    print(f"\nMore examples, of at most a minute each, less with --quick:\n\n{listing()}")


@contextlib.contextmanager
def _temporary_folder() -> Iterator[None]:
    """A temporary working folder."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as temporary:
        os.chdir(temporary)
        try:
            yield
        finally:
            os.chdir(before)
