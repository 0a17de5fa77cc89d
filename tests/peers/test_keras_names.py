"""Every public name of Keras is there, or is refused with a reason; the page that lists them is that of today."""

from __future__ import annotations

import importlib

import pytest

from fastdense.keras.names import NotOffered
from tests.peers.keras_names import PAGE, keras_names, page, refusal

NAMES = keras_names()


def test_the_page_is_that_of_today() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.peers.keras_names"


@pytest.mark.parametrize("module", NAMES)
def test_a_missing_name_gives_its_reason(module: str) -> None:
    for name in NAMES[module]:
        why = refusal(module, name)
        if why is None:
            continue
        assert len(why) > 10, f"{module}.{name} has no reason: add one to fastdense/keras/names.py"
        path = ".".join(filter(None, ("fastdense.keras", module)))
        with pytest.raises(NotOffered) as error:
            getattr(importlib.import_module(path), name)
        assert why in str(error.value)
