"""The manual: `sphinx-build -nW --keep-going docs build/manual`, with the package and its extra `docs` installed.

What can be computed is no source: `generated_pages.py` writes the API reference, a page for each code of the diagnosis,
the pages of measured speed and those of files at the top of the repository, into `docs/generated`, which git ignores.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]

import generated_pages  # noqa: E402

from fastdense.versions import VERSION  # noqa: E402

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project, author = "fastdense", "The fastdense developers"
copyright = author
version = release = VERSION
html_title = f"fastdense {VERSION}"
html_theme = "sphinx_book_theme"
html_theme_options = {"show_toc_level": 2, "use_download_button": False, "home_page_in_toc": True}
html_static_path = ["static"]
html_css_files = ["manual.css"]
extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["generated/scripts", "licenses"]
suppress_warnings = ["config.cache", "sphinx_gallery"]
nitpick_ignore_regex = [("py:.*", ".*")]  # docstrings name types in words; links between documents are checked

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
copybutton_prompt_text = ">>> "
autosummary_generate = True
autodoc_typehints = "none"  # docstrings have them, in words
numpydoc_show_class_members = False

# Types of arguments lead to the manuals of Python, NumPy, matplotlib and scikit-learn where the lists of names of these
# can be had; without a network they are plain text.
intersphinx_mapping = generated_pages.inventories(DOCS / "generated" / "inventories")
numpydoc_xref_param_type = bool(intersphinx_mapping)
numpydoc_xref_ignore = "all"  # but for these:
numpydoc_xref_aliases = {
    **{word: f":class:`python:{word}`" for word in ("bool", "bytes", "dict", "float", "int", "list", "str", "tuple")},
    # terms and sections of other manuals by default:
    "array-like": "numpy.typing.ArrayLike",
    "array_like": "numpy.typing.ArrayLike",
    "generator": "collections.abc.Generator",
    "iterable": "collections.abc.Iterable",
    "scalar": "numpy.generic",
    "sequence": "collections.abc.Sequence",
    "ndarray": "numpy.ndarray",
    "Axes": "matplotlib.axes.Axes",
    "Figure": "matplotlib.figure.Figure",
}

# Examples are run in their short form. A pattern leaves the others as listings; FASTDENSE_DOCS_EXAMPLES=. runs all.
sphinx_gallery_conf = {
    "examples_dirs": [str(DOCS / "generated" / "scripts")],
    "gallery_dirs": ["generated/gallery"],
    "filename_pattern": os.environ.get("FASTDENSE_DOCS_EXAMPLES", "plateau|pyramid"),
    "reset_argv": generated_pages.QuickRun(),
    "download_all_examples": False,
    "show_signature": False,
    "show_memory": False,
    "min_reported_time": 1e9,  # times would differ from one build to the next
    "only_warn_on_example_error": False,
    "remove_config_comments": True,
}
warnings.filterwarnings("ignore", message="fit: the loss became", category=RuntimeWarning)


def setup(app: Sphinx) -> dict[str, Any]:
    """Write the computed pages before anything is read, and lead links out of `docs` to them."""
    generated_pages.write(DOCS / "generated")
    app.connect("source-read", generated_pages.on_source_read)
    app.connect("build-finished", generated_pages.on_build_finished)
    return {"parallel_read_safe": True}
