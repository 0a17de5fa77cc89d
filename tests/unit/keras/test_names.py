"""Names of Keras: what is there, what the missing ones say, and that no message names what does not exist."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fastdense
from fastdense import keras
from fastdense.keras.names import FAMILIES, REASONS

PACKAGE = Path(fastdense.__file__).parent
PAGE = Path(__file__).parents[3] / "docs" / "keras-names.md"

# Names of other libraries, of files and of patterns, in the places where they stand.
NOT_OURS = (
    r"keras\.(io|json|h5|src)\b",
    r"fastdense\.(toml|readthedocs|safetensors)\b",
    r"fd\.\w+\(\.\.\.",
)


def resolve(name: str) -> Any:
    """The object of a dotted name; `fd` and `keras` are what scripts call them."""
    first, *rest = name.split(".")
    found: Any = {"fd": fastdense, "fastdense": fastdense, "keras": keras}[first]
    path = found.__name__
    for part in rest:
        path = f"{path}.{part}"
        try:
            found = getattr(found, part)
        except AttributeError:
            found = importlib.import_module(path)
    return found


def names_in_texts() -> Iterator[tuple[str, str]]:
    """Where a string of the package (messages, hints, docstrings) names something of ours, and what."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if "examples" in path.parts:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = re.sub("|".join(NOT_OURS), "", node.value)
                for found in re.findall(r"(?<![\w./-])(?:fastdense|fd|keras)(?:\.[A-Za-z]\w*)+", text):
                    yield f"{path.relative_to(PACKAGE)}:{node.lineno}", found


def test_no_text_names_what_does_not_exist() -> None:
    wrong = []
    for where, name in names_in_texts():
        try:
            resolve(name)
        except (AttributeError, ImportError):
            wrong.append(f"{where}: {name}")
    assert not wrong


def test_the_page_of_names_lists_what_is_there() -> None:
    text = PAGE.read_text(encoding="utf-8")
    count = 0
    for title, section in re.findall(r"(?ms)^## (keras\S*)\n(.*?)(?=^## |\Z)", text):
        have = re.search(r"(?ms)^\*\*Have\*\*: (.*?)\n\n", section + "\n\n")
        for name in re.findall(r"`(\w+)`", have[1]) if have else []:
            assert resolve(f"{title}.{name}") is not None
            count += 1
    assert count > 200


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("import fastdense.keras.applications", "no module applications. fastdense trains dense nets only"),
        ("from fastdense.keras.applications import VGG16", "no pretrained convolutional nets"),
        ("from fastdense.keras.applications.vgg16 import VGG16", "no pretrained convolutional nets"),
        ("from fastdense.keras.preprocessing.text import Tokenizer", "TfidfVectorizer"),
        ("from fastdense.keras.preprocessing.image import ImageDataGenerator", "Pillow"),
        ("from fastdense.keras.preprocessing import image", "Pillow"),
        ("from fastdense.keras.preprocessing.sequence import TimeseriesGenerator", "sliding_window_view"),
        ("from fastdense.keras.preprocessing import image_dataset_from_directory", "np.memmap"),
        ("from fastdense.keras.utils import timeseries_dataset_from_array", "sliding_window_view"),
        ("from fastdense.keras.utils import FeatureSpace", "ColumnTransformer"),
        ("from fastdense.keras.layers.convolutional import Conv2D", "without convolutions"),
        ("from fastdense.keras.layers.experimental import preprocessing", "keras.layers"),
        ("from fastdense.keras.engine.training import Model", "Import from keras.models"),
        ("from fastdense.keras.src import backend", "Import from keras.models"),
        ("import fastdense.keras.model", "Did you mean 'models'?"),
        ("from fastdense.keras.callbacks import RemoteMonitor", "CSVLogger"),
        ("from fastdense.keras.config import enable_flash_attention", "leave the line out"),
        ("from fastdense.keras.datasets import cifar", "Did you mean 'cifar10'?"),
        ("from fastdense.keras.optimizers.legacy import Adam", "use keras.optimizers.Adam"),
        ("from fastdense.keras.metrics import Acuracy", "Did you mean 'Accuracy'?"),
    ],
)
def test_missing_modules_and_names(statement: str, says: str) -> None:
    with pytest.raises(keras.NotOffered, match=re.escape(says)):
        exec(statement)


def test_importlib_and_private_names() -> None:
    """Tools that look a module up get Python's own answers."""
    assert importlib.util.find_spec("fastdense.keras._private") is None
    assert importlib.util.find_spec("fastdense.no_such_module") is None
    assert not hasattr(keras, "__wrapped__")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("config", "set_floatx"),
        ("callbacks", "BackupAndRestore"),
        ("callbacks", "TensorBoard"),
        ("datasets.boston_housing", "load_data"),
        ("datasets.california_housing", "load_data"),
        ("datasets.cifar10", "load_data"),
        ("datasets.cifar100", "load_data"),
        ("datasets.imdb", "get_word_index"),
        ("datasets.reuters", "get_label_names"),
        ("mixed_precision", "set_global_policy"),
        ("preprocessing.sequence", "pad_sequences"),
        ("random", "SeedGenerator"),
        ("utils", "get_file"),
        ("utils", "Progbar"),
        ("wrappers", "SKLearnClassifier"),
        ("wrappers.scikit_learn", "KerasClassifier"),
        ("", "Loss"),
        ("", "version"),
    ],
)
def test_imports(module: str, name: str) -> None:
    assert getattr(importlib.import_module(f"fastdense.keras.{module}".rstrip(".")), name)


def test_rarely_used_modules_are_imported_when_they_are_used() -> None:
    code = (
        "import sys; from fastdense import keras; lazy = ['datasets', 'wrappers', 'random', 'preprocessing'];"
        "print([m for m in lazy if f'fastdense.keras.{m}' in sys.modules]);"
        "[getattr(keras, m) for m in lazy]; print('sklearn' in sys.modules, 'pooch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\nTrue False\n"


def test_reasons_are_sentences() -> None:
    for text in (*(text for _, text in REASONS), *FAMILIES.values()):
        assert text.endswith(".") and len(text) > 12, text


def test_a_missing_name_is_an_attribute_error_unless_it_is_imported() -> None:
    """`hasattr` and `getattr` with a default are how scripts ask what a version of Keras has."""
    for module in (keras, keras.layers, keras.utils, keras.ops):
        assert not hasattr(module, "Conv2D")
        assert getattr(module, "Conv2D", 3) == 3
    with pytest.raises(AttributeError, match="trains dense nets only"):
        keras.layers.Conv2D  # noqa: B018
    with pytest.raises(ImportError, match="trains dense nets only"):
        from fastdense.keras.layers import Conv2D  # noqa: F401
    with pytest.raises(ImportError, match="has no Conv2D"):
        exec("from fastdense.keras import Conv2D")
    with pytest.raises(ImportError, match="has no module applications"):
        import fastdense.keras.applications  # noqa: F401
