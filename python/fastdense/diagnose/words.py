"""Text of a diagnosis, for the terminal."""

from __future__ import annotations

import math
import textwrap

import numpy as np

from .heldout import Outlook
from .result import Result
from .subject import Subject
from .verify import Verdict

WIDTH = 100
SHOWN = 3  # errors in the headline and the text; the others are named in one line
MUCH = 0.1  # error of a healthy net that needs an explanation
COLOURS = {"error": "31;1", "warning": "33;1", "info": "36", "good": "32;1"}  # of a terminal


def headline(result: Result) -> str:
    """The conclusion in one sentence."""
    subject, verdict, causes = result.subject, result.verdict, result.causes
    if verdict is None:
        if result.outlook is not None:
            return f"The rows given are not like those that fit was given (here: {score(subject, result.outlook.own)})."
        if causes:
            return (
                f"{_listed([f.code for f in causes])}: the net cannot learn until this is changed (no trials were "
                "made)."
            )
        return "No fault that keeps the net from learning was found without trials; verify=True runs them."
    if verdict.healthy:
        assert verdict.before is not None
        return f"Healthy: the net learns ({score(subject, verdict.before.error)}{_elsewhere(result)})."
    if result.outlook is not None and result.outlook.code:
        return _on_rows_kept_out(result, result.outlook)
    if verdict.hopeless:
        return "No change helps: nothing predicts y from x better than a constant. Check the data."
    before = verdict.own_error
    figure = score(subject, before) + (", without outliers" if len(subject.outliers) else "")
    start = "The data do not match the model" if subject.problem else f"The net does not learn ({figure})"
    if not subject.problem and before < 0.5:
        start = f"The net learns less than it could ({figure})"
    if verdict.inconclusive:
        if verdict.clocked:
            return f"{start}; the clock stopped the trials before they proved why; the machine is too busy."
        return f"{start}; the budget did not suffice to prove why; pass a larger one, e.g. budget={_larger(subject)}."
    if verdict.after is None:
        return f"{start}; none of the changes tried helps."
    reason = _listed([f.code for f in causes[:SHOWN]] or verdict.earned)
    because = f" because of {reason}" if reason else ""
    if verdict.new_net and not causes:
        reached = score(subject, verdict.after.error)
        return f"{start}; a plain new net learns it ({reached}); why this one does not was not isolated in the budget."
    if verdict.cut:
        lead = f"from {score(subject, verdict.error_before)} to {score(subject, verdict.after.error)}"
        return f"{start}{because}; trials, shorter than the training, went {lead}."
    return f"{start}{because}; repaired, it reaches {score(subject, verdict.after.error)}."


def _larger(subject: Subject) -> str:
    return f"{float(f'{10 * subject.work.budget:.1g}'):g}"


def _elsewhere(result: Result) -> str:
    """What a healthy net reaches on rows kept out, and that nothing tried does better there."""
    outlook = result.outlook
    if outlook is None or not math.isfinite(outlook.kept_out):
        return ""
    words = f"; on {outlook.rows:,} rows kept out {score(result.subject, outlook.kept_out)}"
    if min(outlook.kept_out, outlook.own) > MUCH and outlook.kept_out < outlook.best + MUCH:
        words += f", where the best of all predictors tried reaches {score(result.subject, outlook.best)}"
    return words


def _on_rows_kept_out(result: Result, outlook: Outlook) -> str:
    """The conclusion that rows kept out gave."""
    subject = result.subject
    there = score(subject, outlook.kept_out)
    if outlook.code == "NOISE":
        own = f" (its own rows: {score(subject, outlook.own)})" if math.isfinite(outlook.own) else ""
        return (
            f"Nothing to learn: on {outlook.rows:,} rows kept out no predictor and no net does better than a "
            f"constant{own}. Look for better columns, not for a better net."
        )
    if outlook.code == "OVERFIT":
        after = f"; changed as below, {score(subject, outlook.after)}" if math.isfinite(outlook.after) else ""
        return (
            f"The net overfits: {score(subject, outlook.own)} on its own rows, {there} on {outlook.rows:,} rows kept "
            f"out, where {outlook.name} reaches {score(subject, outlook.best)}{after}."
        )
    if outlook.code == "SPLIT":
        after = f", and then the same net reaches {score(subject, outlook.after)} on rows kept out"
        return (
            f"The validation rows are unlike the rows trained on ({there} there): the rows are sorted. Shuffle them "
            f"before the split{after if math.isfinite(outlook.after) else ''}."
        )
    return (
        f"The rows of validation_data are prepared in another way than x ({there} there); with the mean and deviation "
        f"of x the same net reaches {score(subject, outlook.after)}."
    )


def score(subject: Subject, error: float) -> str:
    """An error as R2 (regression) or accuracy (classification)."""
    if not math.isfinite(error):
        return "it diverges"
    if subject.task.kind == "regression":
        what = "R2 of the logarithms" if subject.task.scale else "R2"
        return f"{what} {max(1 - error, -9.99):.3f}" if error < 100 else "far worse than a constant"
    right = constant_share(subject)
    what = "balanced accuracy" if subject.task.balanced else "accuracy"
    return f"{what} {max(0.0, 1 - error * (1 - right)):.1%}, constant prediction {right:.1%}"


def constant_share(subject: Subject) -> float:
    """The accuracy of the best constant prediction."""
    y = subject.sample_y
    if subject.task.kind == "multilabel":
        return 1 - float(np.minimum(y.mean(axis=0), 1 - y.mean(axis=0)).mean())
    counts = np.bincount(subject.task.classes_of(y))
    return 1 / int(np.count_nonzero(counts)) if subject.task.balanced else float(counts.max() / counts.sum())


def text(result: Result, colour: bool) -> str:
    """The report as text."""

    def paint(words: str, kind: str) -> str:
        return f"\033[{COLOURS[kind]}m{words}\033[0m" if colour else words

    lines = [paint(headline(result), "good" if result.healthy else "error" if result.causes else "warning")]
    folded = result.causes[SHOWN:]
    for found in result.findings:
        if any(found is other for other in folded):
            continue
        where = f" in {found.layer}" if found.layer else ""
        lines.append("")
        lines.append(f"{paint(found.severity, found.severity)} {found.code}{where}")
        lines.append(_wrapped(found.message, 4))
        if found.remedy:
            lines.append(_wrapped(f"-> {found.remedy}", 4))
    if folded:
        lines += ["", _wrapped(f"Less important: {_listed([f.code for f in folded])}; see report.findings.", 0)]
    verdict = result.verdict
    if verdict is not None and not verdict.healthy and (verdict.singles or verdict.after):
        lines += ["", *_trials(result, verdict)]
    changes = result.treated()[1]
    if changes:
        lines += ["", "report.treat() makes a new, compiled model with:"]
        lines += [_wrapped(f"{i}. {change}", 2) for i, change in enumerate(changes, 1)]
    return "\n".join(lines)


def _trials(result: Result, verdict: Verdict) -> list[str]:
    subject, outlook = result.subject, result.outlook
    rows = compared(verdict, outlook)[:5]
    if verdict.after is not None:
        rows.append(("all changes below", verdict.after.error))
    width = max(len(name) for name, _ in rows)
    lines = [f"  {name:<{width}}  {score(subject, error)}" for name, error in rows]
    if outlook is not None and outlook.code:
        return ["Trials, with equal training, on rows kept out:", *lines]
    if verdict.sampling_error:
        lines.append(f"  Errors are measured on a sample of the rows: {_uncertainty(subject, verdict.sampling_error)}.")
    if math.isfinite(verdict.loss_before) and math.isfinite(verdict.loss_after):
        kind = subject.loss.kind
        lines.append(f"  The loss ({kind}) of y goes from {verdict.loss_before:.4g} to {verdict.loss_after:.4g}.")
    return [f"Trials, with equal training{_few(result)}:", *lines]


def _few(result: Result) -> str:
    """On how many of the rows, if not all."""
    verdict, rows = result.verdict, int(result.subject.good.sum())
    if verdict is None or not 0 < verdict.rows < rows:
        return ""
    return f", on {verdict.rows:,} of {rows:,} rows"


def _uncertainty(subject: Subject, error: float) -> str:
    """Two standard errors, as R2 or accuracy."""
    if subject.task.kind == "regression":
        return f"R2 is uncertain by {2 * error:.2g}"
    return f"the accuracy is uncertain by {2 * error * (1 - constant_share(subject)):.1%}"


def compared(verdict: Verdict, outlook: Outlook | None = None) -> list[tuple[str, float]]:
    """What was tried and its error: the net unchanged, then each single change, the best first."""
    if outlook is not None and outlook.code:
        return [("unchanged", outlook.kept_out), (outlook.name, outlook.best)]
    singles = sorted(verdict.singles.items(), key=lambda item: item[1])
    first = ("unchanged, trained as briefly" if verdict.cut else "unchanged", verdict.error_before)
    return [first, *((f"only {code} treated", error) for code, error in singles)]


def _listed(codes: list[str]) -> str:
    return " and ".join([", ".join(codes[:-1]), codes[-1]] if len(codes) > 1 else codes)


def _wrapped(text: str, indent: int) -> str:
    """Text in lines of `WIDTH`."""
    pad = " " * indent
    return textwrap.fill(text, WIDTH, initial_indent=pad, subsequent_indent=pad)
