"""Pages of the manual that follow from the package, the zoo, result files and documents outside of `docs`."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import re
import urllib.request
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
GENERATED = DOCS / "generated"

# Documents outside of `docs`, and the page that holds each.
OUTSIDE = {
    "CHANGELOG.md": "changelog",
    "CONTRIBUTING.md": "contributing",
    "SECURITY.md": "security",
    "benchmarks/README.md": "benchmarks",
}

# Public modules: page, title, whether classes and functions are the names of `fastdense` itself.
MODULES = {
    "fastdense": "Models and training",
    "fastdense.layers": "Layers",
    "fastdense.losses": "Losses",
    "fastdense.metrics": "Metrics",
    "fastdense.optimizers": "Optimizers",
    "fastdense.schedules": "Learning-rate schedules",
    "fastdense.initializers": "Initializers",
    "fastdense.regularizers": "Regularizers",
    "fastdense.constraints": "Constraints",
    "fastdense.callbacks": "Callbacks",
    "fastdense.plots": "Pictures",
    "fastdense.diagnose": "Diagnosis",
    "fastdense.tabular": "Tables",
    "fastdense.sklearn": "Estimators for scikit-learn",
    "fastdense.datasets": "Data sets",
    "fastdense.cuda": "GPU",
}


# Manuals whose names ours leads to.
MANUALS = {
    "python": "https://docs.python.org/3/",
    "numpy": "https://numpy.org/doc/stable/",
    "matplotlib": "https://matplotlib.org/stable/",
    "sklearn": "https://scikit-learn.org/stable/",
}
_PATIENCE = 5  # seconds for one of their lists of names

_ABOUT = """fastdense trains dense neural networks on CPUs and NVIDIA GPUs from Python, with Keras's names and NumPy as
its only dependency; trains thousands of small nets at once; and explains and repairs nets that do not learn."""


class QuickRun:
    """The arguments that sphinx-gallery gives an example: its short form."""

    def __call__(self, gallery_conf: dict[str, Any], script_vars: dict[str, Any]) -> list[str]:
        """Arguments of a script."""
        return ["--quick"]

    def __repr__(self) -> str:
        return "QuickRun"  # part of the configuration, whose changes make Sphinx read everything again


def write(folder: Path) -> None:
    """Write all pages; files that would not change are left as they are, so that Sphinx reads only what is new."""
    pages = {
        **_outside(),
        **_reference(),
        **_codes(),
        **_performance(),
        **_scripts(),
    }
    for name, text in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def inventories(folder: Path) -> dict[str, tuple[str, str | None]]:
    """The manuals whose lists of names are in a folder, or can be downloaded to it, as `intersphinx_mapping`.

    The first that cannot be had ends the search, in silence: links are a help, and a build needs no network.
    """
    found: dict[str, tuple[str, str | None]] = {}
    for name, address in MANUALS.items():
        path = folder / f"{name}.inv"
        if not path.is_file():
            try:
                with urllib.request.urlopen(f"{address}objects.inv", timeout=_PATIENCE) as answer:
                    data = answer.read()
            except OSError:
                return found
            if not data.startswith(b"# Sphinx inventory version 2"):  # the page of a network that asks to log in
                return found
            folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        found[name] = (address, str(path))
    return found


def on_source_read(app: Any, name: str, source: list[str]) -> None:
    """Sphinx's event: links of a page of `docs` that lead out of it lead to the generated pages."""
    if not name.startswith("generated/"):
        source[0] = relinked(source[0], (DOCS / name).parent)


def on_build_finished(app: Any, error: Exception | None) -> None:
    """Sphinx's event: `llms.txt`, the list of pages for programs that read (https://llmstxt.org)."""
    if error is not None or app.builder.format != "html":
        return
    lines = ["# fastdense", "", "> " + " ".join(_ABOUT.split()), "", "## Pages", ""]
    for name in sorted(app.env.found_docs):
        source = f"_sources/{name}{Path(app.env.doc2path(name)).suffix}{app.config.html_sourcelink_suffix}"
        lines.append(f"- [{app.env.titles[name].astext()}]({source})")
    (Path(app.outdir) / "llms.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")


def relinked(text: str, folder: Path, to: Path | None = None) -> str:
    """Markdown of a document in `folder` for a page in `to`: links that would lead out of the manual changed."""
    to = folder if to is None else to

    def changed(match: re.Match[str]) -> str:
        words, target, heading = match[1], match[2], match[3] or ""
        path = (folder / target).resolve()
        inside = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""
        if inside in OUTSIDE:
            path = GENERATED / f"{OUTSIDE[inside]}.md"
        elif inside == "README.md":
            path = DOCS / "index.md"
        elif inside == "examples":
            path = DOCS / "gallery.md"
        elif path == DOCS / "design":
            path = DOCS / "design" / "README.md"
        elif not path.is_relative_to(DOCS):
            return words
        return f"[{words}]({os.path.relpath(path, to)}{heading})"

    return re.sub(r"(?<!!)\[([^\]\[]+)\]\((?![a-z]+:)([^)#\s]+)(#[^)\s]*)?\)", changed, text)


def _outside() -> dict[str, str]:
    """Documents at other places of the repository."""
    return {
        f"{page}.md": relinked((ROOT / name).read_text(encoding="utf-8"), (ROOT / name).parent, GENERATED)
        for name, page in OUTSIDE.items()
    }


# ---- API reference ---------------------------------------------------------------------------------------------------


def _reference() -> dict[str, str]:
    """A page for each public module, and one for each class; functions stand on their module's page."""
    pages, seen = {}, set()
    index = [
        "# API reference",
        "",
        "Docstrings; each example is run by the tests.",
        "",
        "```{toctree}",
        ":maxdepth: 1",
        "",
    ]
    for name, title in MODULES.items():
        module = importlib.import_module(name)
        page = name.rpartition(".")[2] if "." in name else "models"
        found = [(one, getattr(module, one)) for one in sorted(public_names(module))]
        classes = [(one, it) for one, it in found if inspect.isclass(it) and id(it) not in seen]
        functions = [(one, it) for one, it in found if inspect.isroutine(it) and id(it) not in seen]
        if name == "fastdense":  # names that stand in a module of their own as well
            classes = [(one, it) for one, it in classes if _own(it)]
        seen |= {id(it) for _, it in (*classes, *functions)}
        lines = [f"# {title}", "", f"```{{eval-rst}}\n.. py:currentmodule:: {name}\n```", ""]
        doc = inspect.getdoc(module)
        if doc and name != "fastdense":
            lines += ["```{eval-rst}", doc.partition("\n\n")[0], "```", ""]
        if classes:
            lines += ["| class | |", "|---|---|"]
            lines += [f"| [{one}](class/{name}.{one}.md) | {_summary(it)} |" for one, it in classes]
            lines += ["", "```{toctree}", ":hidden:", "", *(f"class/{name}.{one}" for one, _ in classes), "```", ""]
        for one, _ in functions:
            lines += [f"## {one}", "", "```{eval-rst}", f".. autofunction:: {name}.{one}", "```", ""]
        for one, it in classes:
            pages[f"reference/class/{name}.{one}.md"] = _class_page(name, one, it)
        pages[f"reference/{page}.md"] = "\n".join(lines)
        index.append(page)
    pages["reference/index.md"] = "\n".join([*index, "```", ""])
    return pages


def public_names(module: ModuleType) -> list[str]:
    """What a module offers."""
    names = getattr(module, "__all__", None) or [one for one in vars(module) if not one.startswith("_")]
    return [one for one in names if not one.startswith("_")]


def _own(it: Any) -> bool:
    """Whether `fastdense` itself is the only public home of a class."""
    homes = (importlib.import_module(name) for name in MODULES if name != "fastdense")
    return not any(it is getattr(home, it.__name__, None) for home in homes if it.__name__ in public_names(home))


def _summary(it: Any) -> str:
    """First sentence of a docstring, for a table."""
    return " ".join((inspect.getdoc(it) or "").partition("\n\n")[0].split()).replace("|", "\\|").replace("`", "``")


def _class_page(module: str, name: str, it: type) -> str:
    methods = [
        one
        for one, member in inspect.getmembers(it)
        if not re.match(r"_|set_.*_request$", one)  # the latter are scikit-learn's
        and (inspect.isroutine(member) or isinstance(member, property))
        and _is_ours(it, one)
        and inspect.getdoc(member)
    ]
    lines = [f"# {name}", "", "```{eval-rst}", f".. autoclass:: {module}.{name}", "```", ""]
    for one in methods:
        kind = "autoproperty" if isinstance(inspect.getattr_static(it, one), property) else "automethod"
        lines += [f"## {one}", "", "```{eval-rst}", f".. {kind}:: {module}.{name}.{one}", "```", ""]
    return "\n".join(lines)


def _is_ours(it: type, name: str) -> bool:
    """Whether a member comes from a class of this package, not from one of Python's or scikit-learn's."""
    owner = next((one for one in it.__mro__ if name in vars(one)), None)
    return owner is not None and owner.__module__.startswith("fastdense")


# ---- diagnosis -------------------------------------------------------------------------------------------------------


def _codes() -> dict[str, str]:
    """A page for each code: what it means, what to do, and the report of a net of the zoo that has the fault."""
    from fastdense.diagnose.rules import RULES
    from tests.zoo import SICK

    text = (DOCS / "diagnosis.md").read_text(encoding="utf-8")
    table = {m[1]: (m[2], m[3]) for m in re.finditer(r"^\| ([A-Z_0-9]+) \| (.*?) \| (.*?) \|$", text, re.MULTILINE)}
    pages, index = {}, []
    for code, rule in RULES.items():
        found, remedy = table[code]
        lines = [f"# {code}", "", f"**Found:** {_sentence(rule.words)}", ""]
        lines += [f"**Remedy:** {_sentence(remedy)}", ""]
        if "see below" not in found:
            lines += [_sentence(found), ""]
        lines += [f"{_sentence(note)}\n" for note in _notes(text, code)]
        case = next((one for one in SICK.values() if one.causes[0] == code and not one.raises and not one.mnist), None)
        if case is not None:
            lines += _example(case)
        lines += ["[All findings](../../diagnosis.md)", ""]
        pages[f"codes/{code}.md"] = "\n".join(lines)
        index.append(f"| [{code}]({code}.md) | {rule.words} | {remedy} |")
    toc = ["```{toctree}", ":hidden:", "", *RULES, "```", ""]
    head = [
        "# Findings of the diagnosis, one by one",
        "",
        "A report names a code; its page says what it means, what to do, and how a net with the fault is reported.",
        "",
        "| code | what is wrong | remedy |",
        "|---|---|---|",
    ]
    pages["codes/index.md"] = "\n".join([*head, *index, "", *toc])
    return pages


def _sentence(text: str) -> str:
    """Words of a table as a sentence."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _notes(text: str, code: str) -> list[str]:
    """What docs/diagnosis.md says of a code below its table."""
    items = re.findall(r"^- ((?:[A-Z_0-9]+(?:, )?)+): (.*?)(?=^- |^\n)", text, re.MULTILINE | re.DOTALL)
    return [" ".join(note.split()) for codes, note in items if code in codes.split(", ")]


def _example(case: Any) -> list[str]:
    """The source of a case of the zoo, and what `diagnose` prints of it."""
    source = inspect.getsource(case.build)
    source = re.sub(r'    """.*?"""\n', "", source[source.index("def ") :], count=1, flags=re.DOTALL)
    fit = ", ".join(f"{key}={value!r}" for key, value in case.fit.items())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if case.when == "before":
            model, x, y = case.build()
            given: dict[str, Any] = {}
        else:
            model, x, y = case.train()
            given = case.given() if case.given is not None else {}
        report = model.diagnose(x, y, verbose=0, **given)
    trained = (
        "It is diagnosed before any training" if case.when == "before" else f"It was trained by `fit(x, y, {fit})`"
    )
    return [
        "## A net with this fault", "", f"{case.source.splitlines()[0]}", "", "```python", source.rstrip(), "```", "",
        f"{trained}; `print(model.diagnose(x, y))` says:", "", "```text", str(report).rstrip(), "```", "",
    ]  # fmt: skip


# ---- measured speed --------------------------------------------------------------------------------------------------


def _performance() -> dict[str, str]:
    """The newest result files as tables."""
    from benchmarks import report

    folder = ROOT / "benchmarks" / "results"
    lines = [
        "# How fast, and why", "",
        "Made from the result files of `python -m benchmarks`; [benchmarks](benchmarks.md) has the method.",
        "Every library does the same work from the same weights in the same order, in turns with the ",
        "others, and results must agree before times count.", "",
    ]  # fmt: skip
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        if "cases" not in result or not any("libraries" in case for case in result["cases"]):
            continue
        if any(word in path.name for word in ("curves", "population", "gpu", "local")):
            continue
        lines += [f"## {path.stem}", "", report.markdown(report.without_goals(result)), ""]
        if (picture := path.with_suffix(".png")).is_file():
            lines += [f"![{path.stem}: speedup over each library](../../benchmarks/results/{picture.name})", ""]
    for name, alt in (
        ("zen4-2cores-width-curves.png", "time per FLOP over width"),
        ("zen4-2cores-tabular.png", "mean ranks on real tables"),
    ):
        if (folder / name).is_file():
            lines += [f"![{alt}](../../benchmarks/results/{name})", ""]
    lines += [_WHY]
    return {"performance.md": "\n".join(lines)}


_WHY = """## Why

- An epoch is one call of compiled code: shuffling, batches, forward pass, loss, backward pass, optimizer, metrics. What
  a framework spends between operations (tens of microseconds for each) is not spent.
- A net that fits the second-level cache is trained with rows in the lanes of vectors, without a barrier between layers.
- Wide layers are products of matrices, which every library computes at nearly the rate of the processor: there is
  little to gain, and packing operands once per step gains what there is.
- Thousands of small nets are trained with one net in each lane of a vector: see `fit_many`.

Where fastdense does not win: layers of a thousand units and more on a GPU that others use and it does not, nets that
are not dense, and models that need automatic differentiation of your own code.
"""


# ---- examples --------------------------------------------------------------------------------------------------------


def _scripts() -> dict[str, str]:
    """Examples as sphinx-gallery reads them: the docstring's first line is a heading, in reStructuredText."""
    intro = "Each script reproduces a net that failed, explains it and repairs it."
    pages = {"scripts/GALLERY_HEADER.rst": f"Examples\n========\n\n{intro}\n"}
    for path in sorted((ROOT / "examples").glob("*.py")):
        source = path.read_text(encoding="utf-8")
        docstring = ast.get_docstring(ast.parse(source))
        if docstring is None:
            continue
        title, _, text = docstring.partition("\n")
        title = title.rstrip(".").replace("|", "\\|")
        code = source[source.index('"""', 3) + 3 :]
        header = f'r"""{path.stem}: {title}\n{"=" * (len(path.stem) + len(title) + 2)}\n{_as_rst(text)}\n"""\n'
        # the script's own docstring, which its --help shows
        pages[f"scripts/{path.stem}.py"] = f"{header}\n__doc__ = {title!r}\n{code}"
    return pages


def _as_rst(text: str) -> str:
    """Commands that are indented by four spaces become literal blocks; single backquotes become double ones."""
    text = re.sub(r"(?<!`)`([^`\n]+)`(?!`)", r"``\1``", text).replace("|", "\\|")
    return re.sub(r"\n\n(    )", r"\n\n::\n\n\1", text)
