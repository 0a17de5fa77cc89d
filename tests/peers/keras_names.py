"""Make `docs/keras-names.md`: which of Keras's public names `fastdense.keras` has, and why not the others.

``python -m tests.peers.keras_names`` writes the page; `test_keras_names.py` compares it with the names of today.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from fastdense.keras.names import NotOffered, reason
from tests.peers.keras64 import keras

PAGE = Path(__file__).parents[2] / "docs" / "keras-names.md"
_INTERNAL = ("src", "_tf_keras")
_HEAD = """# Keras's names

Every public name of Keras {version}, by module: those that `fastdense.keras` has, and why it has not the others. The
page is made by `python -m tests.peers.keras_names`, and a test compares it with both libraries. What differs in the
names that are there is in [keras.md](keras.md).

`fastdense.keras` has {here} of {all} names; without convolutions, sequences, images and pretrained nets, which are no
dense nets, {here} of {dense}.
"""
_NO_DENSE_NET = "fastdense trains dense nets only"


def keras_modules() -> Iterator[tuple[str, ModuleType]]:
    """The public modules of Keras by their names without "keras."; the package itself is ""."""
    yield "", keras
    yield from _modules_below(keras)


def _modules_below(package: ModuleType) -> Iterator[tuple[str, ModuleType]]:
    """What `package` contains; its internal modules are not imported, since that changes Keras's backend."""
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        name = found.name.removeprefix("keras.")
        if found.ispkg and name.split(".")[0] not in _INTERNAL:
            module = importlib.import_module(found.name)
            yield name, module
            yield from _modules_below(module)


def keras_names() -> dict[str, list[str]]:
    """The public names of every module of Keras, without its modules."""
    return {
        module: sorted(
            name for name, value in vars(there).items()
            if not name.startswith("_") and not inspect.ismodule(value)
        )
        for module, there in keras_modules()
    }  # fmt: skip


def refusal(module: str, name: str) -> str | None:
    """Why `fastdense.keras` has no such name: None if it has it, "" if no reason is given."""
    try:
        ours = importlib.import_module(".".join(filter(None, ("fastdense.keras", module))))
        getattr(ours, name)
    except (NotOffered, AttributeError) as error:
        why = reason(".".join(filter(None, (module, name))))
        return _own_hint(str(error)) or why
    return None


def _own_hint(message: str) -> str:
    """The reason in a message of the form "fastdense.keras.layers has no Conv2D. reason"."""
    _, _, rest = message.partition(" has no ")
    text = rest.partition(". ")[2]
    return "" if text.startswith(("Did you mean", "It has ")) else text


def page() -> str:
    """The text of the page."""
    table = {module: {name: refusal(module, name) for name in names} for module, names in keras_names().items()}
    reasons = [why for names in table.values() for why in names.values()]
    outside = sum(why is not None and why.startswith(_NO_DENSE_NET) for why in reasons)
    here = sum(why is None for why in reasons)
    parts = [_HEAD.format(version=keras.__version__, here=here, all=len(reasons), dense=len(reasons) - outside)]
    refused_modules: dict[str, list[str]] = {}
    for module, names in table.items():
        if not names:
            continue
        present = [name for name, why in names.items() if why is None]
        missing: dict[str, list[str]] = {}
        for name, why in names.items():
            if why is not None:
                missing.setdefault(why, []).append(name)
        if not present and len(missing) == 1:
            refused_modules.setdefault(next(iter(missing)), []).append(f"keras.{module}")
            continue
        parts.append(f"## {'.'.join(filter(None, ('keras', module)))}\n")
        if present:
            parts.append(_wrapped(f"**Have**: {_listed(present)}"))
        parts += [_wrapped(f"- {_listed(group)}: {why}", "  ") for why, group in missing.items()]
        parts += [""] * bool(missing)
    parts.append("## Modules without any name\n")
    parts += [_wrapped(f"- {_listed(group)}: {why}", "  ") for why, group in refused_modules.items()]
    return "\n".join(parts).rstrip() + "\n"


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _wrapped(text: str, indent: str = "") -> str:
    filled = textwrap.fill(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return filled if indent else filled + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
