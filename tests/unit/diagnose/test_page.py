"""The page of a diagnosis in a real browser: fits a phone, is readable in the dark, and asks for nothing."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastdense.diagnose.report import Diagnosis
from tests.helpers.diagnosed import stuck

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome on the PATH")
PHONE = 360  # pixels; a headless window is never that narrow, but a frame in it is

# The smallest contrast (WCAG 2) of any text with what is behind it, the texts that lie on one another within a figure,
# what was fetched, and how wide things are.
MEASURE = """
function luminance(c) {
  const one = x => (x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
  const v = c.match(/[\\d.]+/g).slice(0, 3).map(x => one(x / 255));
  return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2];
}
function behind(e) {
  for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor;
    if (c !== 'rgba(0, 0, 0, 0)' && c !== 'transparent') return c;
  }
  return 'rgb(255, 255, 255)';
}
function measured(doc) {
  doc.querySelectorAll('details').forEach(d => { d.open = true; });
  let contrast = 99, overlaps = [];
  for (const e of doc.body.querySelectorAll('*')) {
    if (e.tagName === 'STYLE' || e.tagName === 'SCRIPT') continue;
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    const s = getComputedStyle(e), paper = luminance(behind(e));
    const ink = luminance(e.tagName === 'text' ? s.fill : s.color);
    contrast = Math.min(contrast, (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05));
  }
  for (const svg of doc.querySelectorAll('svg')) {
    const all = [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
    for (const [i, [a, p]] of all.entries()) for (const [b, q] of all.slice(i + 1))
      if (p.left < q.right && q.left < p.right && p.top + 2 < q.bottom && q.top + 2 < p.bottom)
        overlaps.push(a + ' | ' + b);
  }
  const root = doc.documentElement;
  return {contrast, overlaps, width: root.clientWidth, needs: root.scrollWidth, fetched:
          doc.defaultView.performance.getEntriesByType('resource').map(r => r.name), paper: behind(doc.body),
          figures: [...doc.querySelectorAll('svg')].map(f => f.getBoundingClientRect().right)};
}
"""


def opened(page: str, folder: Path, width: int, *options: str) -> dict[str, Any]:
    """What a browser makes of a page in a frame of this width."""
    assert BROWSER is not None
    script = f"<script>{MEASURE}onload = () => {{ const f = document.querySelector('iframe');"
    script += "document.querySelector('pre').textContent = JSON.stringify(measured(f.contentDocument)); }</script>"
    frame = f"<iframe style='width:{width}px;height:9000px;border:0' srcdoc=\"{html.escape(page)}\"></iframe>"
    outer = folder / "outer.html"
    style = "<style>:root,iframe{color-scheme:light dark}</style>"
    outer.write_text(f"<!doctype html><meta charset=utf-8>{style}{script}<body>{frame}<pre></pre>", encoding="utf-8")
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--enable-logging=stderr", *options,
         f"--user-data-dir={folder / 'profile'}", "--window-size=1300,2000", "--dump-dom", outer.as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "CONSOLE" not in done.stderr, [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    found: dict[str, Any] = json.loads(html.unescape(re.findall(r"<pre>(.*?)</pre>", done.stdout, re.DOTALL)[-1]))
    return found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """That of a net with errors, and that of one whose trouble is its many layers, with long names."""
    model, x, y = stuck()
    reports: dict[str, Diagnosis] = {"stuck": model.diagnose(x, y, budget=60.0)}
    import fastdense as fd

    deep = fd.Model([*[fd.Dense(40, "relu", name="a_layer_with_a_name_that_is_long_and_has_no_space_" + "x" * i,
                                kernel_initializer="zeros") for i in range(4)], fd.Dense(1)],
                    inputs=x.shape[1])  # fmt: skip
    deep.compile("sgd", "mse")
    deep.fit(x, y, epochs=3, verbose=0)
    reports["deep"] = deep.diagnose(x, y, verify=False)
    folder = tmp_path_factory.mktemp("pages")
    made = {}
    for name, report in reports.items():
        report.save(folder / name)
        made[name] = (folder / name).read_text(encoding="utf-8")
    return made


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["stuck", "deep"])
def test_on_a_phone_and_on_a_desk(pages: dict[str, str], name: str, scheme: str, tmp_path: Path) -> None:
    options = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    for width in (PHONE, 1200):
        found = opened(pages[name], tmp_path, width, *options)
        assert found["width"] == width and found["needs"] <= width
        assert found["figures"] and max(found["figures"]) <= width
        assert found["contrast"] >= 4.5, found  # AA of the Web Content Accessibility Guidelines
        assert found["overlaps"] == [] and found["fetched"] == []
        dark = sum(map(int, re.findall(r"\d+", found["paper"])[:3])) < 3 * 128
        assert dark == (scheme == "dark")


def test_a_notebook_around_it_keeps_its_looks(pages: dict[str, str]) -> None:
    """Every rule of the style is of the report's class."""
    (style,) = re.findall(r"<body><style>(.*?)</style>", pages["stuck"], re.DOTALL)
    rules = re.sub(r"@media[^{]*\{(.*?\})\}", r"\1", style, flags=re.DOTALL)
    selectors = [one.strip() for rule in re.findall(r"([^{}]+)\{", rules) for one in rule.split(",")]
    assert len(selectors) > 20 and all(one.startswith(".fastdense") for one in selectors), selectors


@pytest.mark.parametrize("change", [lambda page: page.replace("max-width:100%", "min-width:420px"),
                                    lambda page: page.replace("--soft:#4a4a4a", "--soft:#bbb")])  # fmt: skip
@needs_browser
def test_the_measure_sees_faults(pages: dict[str, str], change: Callable[[str], str], tmp_path: Path) -> None:
    found = opened(change(pages["stuck"]), tmp_path, PHONE)
    assert found["needs"] > PHONE or found["contrast"] < 4.5
