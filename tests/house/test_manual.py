"""The manual's build: links to other manuals, where there is a network."""

from __future__ import annotations

import importlib.util
import io
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

PAGES = Path(__file__).parents[2] / "docs" / "generated_pages.py"


@pytest.fixture(scope="module")
def pages() -> Any:
    spec = importlib.util.spec_from_file_location("generated_pages", PAGES)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_lists_of_names_are_downloaded_once(pages: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def answer(address: str, timeout: float) -> io.BytesIO:
        asked.append(address)
        return io.BytesIO(b"# Sphinx inventory version 2\n")

    monkeypatch.setattr(urllib.request, "urlopen", answer)
    for _ in range(2):
        found = pages.inventories(tmp_path / "inventories")
        assert found == {
            name: (at, str(tmp_path / "inventories" / f"{name}.inv")) for name, at in pages.MANUALS.items()
        }
    assert asked == [f"{address}objects.inv" for address in pages.MANUALS.values()]


@pytest.mark.parametrize("kind", ["no network", "a page that asks to log in"])
def test_without_a_network_there_are_none(
    pages: Any, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def answer(address: str, timeout: float) -> io.BytesIO:
        asked.append(address)
        if kind == "no network":
            raise urllib.error.URLError("no route")
        return io.BytesIO(b"<html>")

    monkeypatch.setattr(urllib.request, "urlopen", answer)
    assert pages.inventories(tmp_path / "inventories") == {}
    assert len(asked) == 1 and not list(tmp_path.iterdir()) and capfd.readouterr() == ("", "")
