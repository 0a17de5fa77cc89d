"""The floors of the Python package: every import goes to a lower floor, or stays in its package without a circle.

Imports in functions and under `TYPE_CHECKING` count, and so do names of our modules in strings. A package or a module
beside packages is one room; a room imports no other room of its floor. Only `engine` names the compiled modules.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "python" / "fastdense"

FLOORS = (  # from the ground up
    {"arguments", "arrays", "lazy", "text"},
    {"calls", "datasets", "plots"},
    {"specs"},
    {"activations", "reference"},
    {"engine"},
    {"cuda", "versions"},
    {"initializers", "regularizers", "constraints", "schedules", "losses"},
    {"metrics", "layers", "optimizers"},
    {"network"},
    {"data"},
    {"runners"},
    {"initial"},
    {"callbacks"},
    {"training"},
    {"model"},
    {"population", "diagnose"},
    {"_model"},
    {"tabular"},
    {"keras", "cli", "sklearn"},
    {"interop"},
    {"__init__"},
    {"__main__"},
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
COMPILED = {"_core", "_cuda"}
GENERATED = {"_version"}  # by the build

# What does not hold yet: module -> what it imports. An entry that is no longer needed fails the test.
EXCEPTIONS: dict[str, set[str]] = {}
CIRCLES: set[str] = set()  # packages with a circle


def modules() -> dict[str, Path]:
    """Every module by its path inside the package, with dots; a package by its own name, the root as __init__."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        *folders, stem = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(folders + [stem] * (stem != "__init__" or not folders))] = path
    return found


MODULES = modules()


def target(parts: list[str]) -> str | None:
    """The module or the compiled module that a dotted path inside the package leads to, or None for a mere name."""
    if parts and parts[0] in COMPILED | GENERATED:
        return parts[0]
    for length in range(len(parts), 0, -1):
        if (name := ".".join(parts[:length])) in MODULES:
            return name
    return None


def imported(path: Path) -> Iterator[str]:
    """What a file of the package imports from the package, wherever in the file."""
    folder = list(path.relative_to(PACKAGE).parent.parts)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            dotted = [alias.name for alias in node.names if alias.name.split(".")[0] == "fastdense"]
            for name in dotted:
                yield target(name.split(".")[1:]) or "__init__"
        elif isinstance(node, ast.ImportFrom):
            if node.level == 0:
                parts = (node.module or "").split(".")
                if parts.pop(0) != "fastdense":
                    continue
            else:
                parts = folder[: len(folder) + 1 - node.level] + (node.module.split(".") if node.module else [])
            for alias in node.names:
                yield target([*parts, alias.name]) or "__init__"
        elif (
            isinstance(node, ast.Constant)
            and re.fullmatch(r"fastdense(\.\w+)+", str(node.value))
            and (name := target(node.value.split(".")[1:]))
        ):
            yield name


def room(name: str) -> str:
    return name.split(".")[0]


def allowed(importer: str, name: str) -> bool:
    if name in COMPILED:
        return room(importer) == "engine"
    if name in GENERATED:
        return importer == "versions"
    return room(importer) == room(name) or FLOOR[room(importer)] > FLOOR[room(name)]


IMPORTS = {name: {other for other in imported(path) if other != name} for name, path in MODULES.items()}


def test_every_room_has_its_floor() -> None:
    assert {room(name) for name in MODULES} == set(FLOOR)


def test_the_design_page_lists_the_floors() -> None:
    page = (PACKAGE.parents[1] / "docs" / "design" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\d+\. ((?:`\w+/?`(?:, )?)+)", page)
    assert [set(re.findall(r"\w+", row)) for row in rows] == [set(rooms) for rooms in FLOORS]


def test_imports_go_down() -> None:
    wrong = {
        name: up for name, others in IMPORTS.items() if (up := {other for other in others if not allowed(name, other)})
    }
    assert wrong == EXCEPTIONS


def circle(package: str) -> list[str]:
    """The modules of a circle inside a package, none if there is none."""
    inside = {
        name: {other for other in others if room(other) == package}
        for name, others in IMPORTS.items()
        if room(name) == package
    }
    try:
        TopologicalSorter(inside).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_circle_in_a_package() -> None:
    packages = {room(name) for name in MODULES if "." in name}
    circles = {package: found for package in packages if (found := circle(package))}
    assert set(circles) == CIRCLES, circles


def test_the_search_sees_every_kind_of_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
        import fastdense.losses
        from fastdense import Model, metrics
        from . import arrays
        from .engine import gpu
        def late():
            from .model.base import BaseModel
            return import_module("fastdense._core")
        if TYPE_CHECKING:
            from .population import fit
    """
    file = PACKAGE / "somewhere.py"
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: re.sub("(?m)^ {8}", "", text))
    assert set(imported(file)) == {
        *("losses", "__init__", "metrics", "arrays", "engine.gpu", "model.base", "_core", "population.fit")
    }
