"""A diagnosis as a self-contained HTML page, with the evidence drawn in SVG."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

import numpy as np

from ..activations import TABLE
from ..arrays import Array
from .finding import Finding
from .result import Result
from .subject import RANGES, Stage, State
from .words import compared, headline, score

WIDTH, HEIGHT = 420, 190
LEFT, RIGHT, TOP, BOTTOM = 66, 12, 12, 30
BINS = 40
MOST_LAYERS, MOST_UNITS = 8, 400
# Of what is within the class alone: in a notebook the page is a part of another one. What colours say, dashes, outlines
# and words say as well.
STYLE = """
.fastdense{--ink:#1c1c1c;--paper:#fff;--soft:#4a4a4a;--rule:#ddd;--axis:#767676;--plain:#a3a8ae;--drawn:#1765a0;
--error:#b3261e;--warning:#8a5d00;--info:#1f5f8b;--good:#1a7033;
font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:960px;margin:0 auto;
padding:1em;box-sizing:border-box;overflow-wrap:anywhere}
@media (prefers-color-scheme:dark){.fastdense{--ink:#e6e6e6;--paper:#1b1c1e;--soft:#b9bcc0;--rule:#44474b;
--axis:#9a9ea3;--plain:#6f757c;--drawn:#7cc0f5;--error:#ff9d94;--warning:#e8bd55;--info:#8cc8ff;--good:#6fdc8c}}
.fastdense h1{font-size:1.35em;line-height:1.3}.fastdense h2{font-size:1.1em;margin-top:1.6em}
.fastdense .error{--mark:var(--error)}.fastdense .warning{--mark:var(--warning)}.fastdense .info{--mark:var(--info)}
.fastdense .good{--mark:var(--good)}.fastdense h1{color:var(--mark)}
.fastdense .finding{border-left:4px solid var(--mark);padding:.1em 0 .1em 1em;margin:1em 0}
.fastdense .finding b,.fastdense code{font-family:ui-monospace,monospace}.fastdense code{font-size:.92em}
.fastdense .remedy,.fastdense figcaption{color:var(--soft)}.fastdense details{margin:.3em 0}
.fastdense table{border-collapse:collapse;color:var(--ink)}
.fastdense td{padding:.15em .8em .15em 0;text-align:left;border-bottom:1px solid var(--rule);font-size:.92em;
vertical-align:top;background:var(--paper)}.fastdense .trials td:last-child{white-space:nowrap}
.fastdense .figures{display:flex;flex-wrap:wrap;gap:.8em 1.6em}
.fastdense figure{margin:0;width:420px;max-width:100%}.fastdense figcaption{font-size:.85em}
.fastdense svg{display:block;width:100%;height:auto}.fastdense svg text{font:12px system-ui,sans-serif;fill:var(--ink)}
.fastdense .axis{fill:none;stroke:var(--axis)}.fastdense .first{fill:var(--plain)}
.fastdense .second{fill:var(--drawn);fill-opacity:.15;stroke:var(--drawn)}.fastdense .dead{fill:var(--error)}
.fastdense .before,.fastdense .after,.fastdense .level,.fastdense .limit{fill:none;stroke:var(--ink);stroke-width:1.6}
.fastdense .after{stroke:var(--good);stroke-width:2.4;stroke-dasharray:.1 4.2;stroke-linecap:round}
.fastdense .level{stroke:var(--soft);stroke-width:1;stroke-dasharray:6 4}
.fastdense .limit{stroke:var(--error);stroke-dasharray:3 3}
"""

# Of a page of its own, also where it is wider than the report.
BACKGROUND = "body{margin:0;background:#fff}@media (prefers-color-scheme:dark){body{background:#1b1c1e}}"


def page(result: Result, *, whole: bool = True) -> str:
    """The page; with `whole` False only its body, for a notebook."""
    body = "\n".join(
        [_head(result), *map(_finding, result.findings), _trials(result), _changes(result), _figures(result)]
    )
    body = f"<style>{STYLE}</style>\n<div class='fastdense'>{body}</div>"
    if not whole:
        return body
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width,initial-scale=1'>"
        "<meta name='color-scheme' content='light dark'><title>fastdense: diagnosis</title>"
        f"<style>{BACKGROUND}</style></head>\n<body>{body}</body></html>\n"
    )


def _head(result: Result) -> str:
    kind = "good" if result.healthy else "error" if result.causes else "warning"
    return f"<h1 class='{kind}'>{html.escape(headline(result))}</h1>"


def _finding(found: Finding) -> str:
    where = f" in <code>{html.escape(found.layer)}</code>" if found.layer else ""
    rows = "".join(f"<tr><td>{html.escape(name)}</td><td>{html.escape(_short(value))}</td></tr>"
                   for name, value in found.evidence.items())  # fmt: skip
    facts = f"<details><summary>evidence</summary><table>{rows}</table></details>" if rows else ""
    remedy = f"<p class='remedy'>&rarr; {html.escape(found.remedy)}</p>" if found.remedy else ""
    return (
        f"<div class='finding {found.severity}'><p>{found.severity} "
        f"<b>{found.code}</b>{where}</p>"
        f"<p>{html.escape(found.message)}</p>{remedy}{facts}</div>"
    )


def _trials(result: Result) -> str:
    verdict, subject = result.verdict, result.subject
    if verdict is None or (verdict.healthy and not verdict.singles):
        return ""
    rows = compared(result)
    rows += [
        (f"all changes except that for {code}", error)
        for code, error in verdict.without.items()
        if len(verdict.steps) > 1
    ]
    if verdict.after is not None:
        rows.append(("all changes", verdict.after.error))
    rows.append(("a plain new net, for comparison", verdict.best_error))
    cells = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(score(subject, error))}</td></tr>" for name, error in rows
    )
    return f"<h2>Trials: copies trained as long as the net, with one change</h2><table class='trials'>{cells}</table>"


def _changes(result: Result) -> str:
    changes = result.treated()[1]
    if not changes:
        return ""
    items = "".join(f"<li>{html.escape(change)}</li>" for change in changes)
    return f"<h2>report.treat() makes a new, compiled model with</h2><ol>{items}</ol>"


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list) and len(value) > 8:
        return ", ".join(map(_short, value[:8])) + ", ..."
    return ", ".join(map(_short, value)) if isinstance(value, list) else str(value)


# ---- figures ---------------------------------------------------------------------------------------------------------


def _figures(result: Result) -> str:
    subject = result.subject
    figures: list[tuple[str, str]] = []
    losses = subject.history.get("loss") or (
        result.verdict.before.losses if result.verdict and result.verdict.before else []
    )
    if len(losses) > 1:
        after = result.verdict.after if result.verdict is not None else None
        same = after is not None and (after.plan.loss, after.plan.loss_weights) == (
            subject.loss,
            subject.model.loss_weights,
        )
        shown = after.losses if after is not None and same and len(after.losses) > 1 else None
        words = ["Loss per epoch."] if shown is None else ["Loss per epoch (line), and with all changes (dots)."]
        words += ["Dashed: the best constant prediction."] if subject.baseline is not None else []
        figures.append((_loss_figure(losses, subject.baseline, shown), " ".join(words)))
    if subject.usable and not subject.problem:
        state = (
            subject.now
            if subject.trained or result.verdict is None or result.verdict.before is None
            else result.verdict.before.state
        )
        figures += _state_figures(state, subject.sample_y)
    if not figures:
        return ""
    drawn = "".join(f"<figure>{svg}<figcaption>{html.escape(words)}</figcaption></figure>" for svg, words in figures)
    return f"<h2>Evidence</h2><div class='figures'>{drawn}</div>"


def _loss_figure(losses: Sequence[float], baseline: tuple[Array, float] | None, after: Sequence[float] | None) -> str:
    curves = [np.asarray(losses, dtype=np.float64)]
    if after is not None:
        curves.append(np.asarray(after, dtype=np.float64))
    level = baseline[1] if baseline is not None else math.nan
    finite = np.concatenate([c[np.isfinite(c)] for c in curves])
    if not len(finite):
        return _text_figure("the loss was never finite")
    values = np.append(finite, level) if math.isfinite(level) else finite
    log = bool(values.min() > 0 and values.max() > 20 * values.min())
    frame = Frame(0, max(len(c) for c in curves) - 1, float(values.min()), float(values.max()), log)
    parts = [frame.axes("epoch", "loss")]
    for curve, kind in zip(curves, ("before", "after"), strict=False):
        parts.append(frame.line(np.arange(len(curve)), curve, kind))
    if math.isfinite(level):
        parts.append(frame.level(level, "constant prediction"))
    return frame.svg(parts)


def _state_figures(state: State, y: Array) -> list[tuple[str, str]]:
    figures = []
    for stage in state.hidden[:MOST_LAYERS]:
        words = f"{stage.name}: input (grey) and output (outlined) of {stage.activation} on the probe rows."
        figures.append((_histogram(stage), words))
        if TABLE[stage.activation].dead_below_zero:
            figures.append((_units(stage), f"{stage.name}: fraction of rows for which each unit is 0; "
                            f"{int(stage.dead.sum())} of {len(stage.dead)} are 0 for all rows (filled)."))  # fmt: skip
    last = state.stages[-1]
    limits = state.reachable or RANGES.get(last.activation)
    marks = "; vertical lines: the limits of the net's outputs" if limits and any(map(math.isfinite, limits)) else ""
    figures.append(
        (
            _targets(last, y, limits),
            f"Targets (grey) and predictions (outlined){marks}.",
        )
    )
    return figures


def _histogram(stage: Stage) -> str:
    z, a = stage.z[np.isfinite(stage.z)], stage.a[np.isfinite(stage.a)]
    return _two_histograms(z.ravel(), a.ravel(), None)


def _two_histograms(first: Array, second: Array, limits: tuple[float, float] | None) -> str:
    both = np.concatenate([first, second])
    if not len(both):
        return _text_figure("no finite values")
    low, high = (float(v) for v in np.quantile(both, (0.002, 0.998)))
    if high <= low:
        low, high = low - 1, high + 1
    edges = np.linspace(low, high, BINS + 1)
    heights = [np.histogram(np.clip(v, low, high), edges)[0] / max(1, len(v)) for v in (first, second)]
    frame = Frame(low, high, 0.0, float(max(h.max() for h in heights)), False)
    parts = [frame.axes("value", "fraction")]
    parts += [frame.bars(edges, h, kind) for h, kind in zip(heights, ("first", "second"), strict=True)]
    if limits is not None:
        parts += [frame.mark(limit) for limit in limits if math.isfinite(limit) and low <= limit <= high]
    return frame.svg(parts)


def _units(stage: Stage) -> str:
    off = np.mean(stage.z <= 0, axis=0)
    order = np.argsort(off)[::-1][:MOST_UNITS]
    frame = Frame(0, len(order), 0.0, 1.0, False)
    parts = [frame.axes("unit, sorted", "fraction of rows at 0")]
    for i, unit in enumerate(order):
        kind = "dead" if stage.dead[unit] else "second"
        parts.append(frame.bars(np.array([i, i + 1.0]), np.array([off[unit]]), kind))
    return frame.svg(parts)


def _targets(last: Stage, y: Array, limits: tuple[float, float] | None) -> str:
    p = last.a[np.isfinite(last.a)].ravel()
    return _two_histograms(y.astype(np.float64).ravel(), p, limits)


def _text_figure(words: str) -> str:
    return f"<svg viewBox='0 0 {WIDTH} 40'><text x='10' y='25'>{html.escape(words)}</text></svg>"


class Frame:
    """Axes of a figure.

    Parameters
    ----------
    x0, x1, y0, y1 : float
        Limits of the axes.
    log : bool
        Whether the vertical axis is logarithmic.
    """

    def __init__(self, x0: float, x1: float, y0: float, y1: float, log: bool) -> None:
        self.x0, self.x1 = x0, x1 if x1 > x0 else x0 + 1
        self.log = log
        self.y0, self.y1 = (math.log10(y0), math.log10(y1)) if log else (min(0.0, y0), y1)
        if self.y1 <= self.y0:
            self.y1 = self.y0 + 1

    def x(self, value: float) -> float:
        """Horizontal position in pixels."""
        return LEFT + (value - self.x0) / (self.x1 - self.x0) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Vertical position in pixels."""
        v = math.log10(max(value, 1e-300)) if self.log else value
        share = min(max((v - self.y0) / (self.y1 - self.y0), 0.0), 1.0)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def axes(self, across: str, up: str) -> str:
        """Axes with their limits and titles."""
        low, high = (10**self.y0, 10**self.y1) if self.log else (self.y0, self.y1)
        bottom = HEIGHT - BOTTOM
        return (
            f"<path d='M{LEFT} {TOP}V{bottom}H{WIDTH - RIGHT}' class='axis'/>"
            f"<text x='{LEFT - 6}' y='{TOP + 9}' text-anchor='end'>{high:.3g}</text>"
            f"<text x='{LEFT - 6}' y='{bottom}' text-anchor='end'>{low:.3g}</text>"
            f"<text x='{LEFT}' y='{HEIGHT - 14}'>{self.x0:.3g}</text>"
            f"<text x='{WIDTH - RIGHT}' y='{HEIGHT - 14}' text-anchor='end'>{self.x1:.3g}</text>"
            f"<text x='{(LEFT + WIDTH) / 2}' y='{HEIGHT - 4}' text-anchor='middle'>{across}</text>"
            f"<text transform='translate(14 {(TOP + bottom) / 2})rotate(-90)' text-anchor='middle'>{up}</text>"
        )

    def line(self, x: Array, y: Array, kind: str) -> str:
        """A curve of a class of the style; non-finite values are left out."""
        keep = np.isfinite(y)
        points = " ".join(
            f"{self.x(float(a)):.1f},{self.y(float(b)):.1f}" for a, b in zip(x[keep], y[keep], strict=True)
        )
        return f"<polyline points='{points}' class='{kind}'/>"

    def level(self, y: float, words: str) -> str:
        """A dashed horizontal line with a label."""
        at = self.y(y)
        return (f"<path d='M{LEFT} {at:.1f}H{WIDTH - RIGHT}' class='level'/>"
                f"<text x='{WIDTH - RIGHT}' y='{at - 4 if at > TOP + 14 else at + 14:.1f}' "
                f"text-anchor='end'>{words}</text>")  # fmt: skip

    def mark(self, x: float) -> str:
        """A vertical line."""
        return f"<path d='M{self.x(x):.1f} {TOP}V{HEIGHT - BOTTOM}' class='limit'/>"

    def bars(self, edges: Array, heights: Array, kind: str) -> str:
        """Bars between edges, of a class of the style."""
        base = HEIGHT - BOTTOM
        drawn = []
        for a, b, h in zip(edges[:-1], edges[1:], heights, strict=True):
            left, right, top = self.x(float(a)), self.x(float(b)), self.y(float(h))
            if base - top > 0.05:
                drawn.append(f"<rect x='{left:.1f}' y='{top:.1f}' width='{max(right - left - 0.4, 0.4):.1f}' "
                             f"height='{base - top:.1f}' class='{kind}'/>")  # fmt: skip
        return "".join(drawn)

    def svg(self, parts: list[str]) -> str:
        """The figure."""
        return f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' xmlns='http://www.w3.org/2000/svg'>{''.join(parts)}</svg>"
