"""The examples by name: what `fastdense demo NAME` runs. They lie in ``examples/`` of a checkout and of the package."""

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
)
TOUR = ("plateau", "pyramid")


def folder() -> Path:
    """Where the examples are: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parents[1]
    places = (package / "examples", package.parents[1] / "examples")
    return next((place for place in places if (place / "fir.py").is_file()), places[0])


def title(name: str) -> str:
    """What an example is about: the first line of its docstring."""
    docstring = ast.get_docstring(ast.parse((folder() / f"{name}.py").read_text(encoding="utf-8")))
    return (docstring or "").partition("\n")[0]


def listing() -> str:
    """The names, with a line about each."""
    return "\n".join(f"  fastdense demo {name:12}{title(name)}" for name in NAMES)


def run(name: str, arguments: Sequence[str] = ()) -> None:
    """Run an example as a script; its pictures go to the working folder."""
    before, sys.argv = sys.argv, [f"fastdense demo {name}", *arguments]
    try:
        runpy.run_path(str(folder() / f"{name}.py"), run_name="__main__")
    finally:
        sys.argv = before


def tour(keep_pictures: bool) -> None:
    """The best examples in their short form, then the names of all."""
    with contextlib.nullcontext() if keep_pictures else _elsewhere():
        for name in TOUR:
            print(f"\n{'=' * 100}\nfastdense demo {name} --quick\n{title(name)}\n{'=' * 100}\n", flush=True)
            run(name, ["--quick"])
    print(f"\nMore, each a minute at most, with --quick for less:\n\n{listing()}")


@contextlib.contextmanager
def _elsewhere() -> Iterator[None]:
    """A working folder that is gone afterwards."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as temporary:
        os.chdir(temporary)
        try:
            yield
        finally:
            os.chdir(before)
