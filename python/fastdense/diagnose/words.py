"""Text of a diagnosis, for the terminal."""

from __future__ import annotations

import math
import textwrap
from dataclasses import replace
from functools import partial

import numpy as np

from . import remedies
from .finding import Finding
from .heldout import SAME, Outlook
from .plan import Plan
from .result import Result
from .rules import RULES
from .subject import Subject
from .verify import Verdict, good

WIDTH = 100
SHOWN = 3  # errors in the headline and the text; the others are named in one line
LONG = 160  # characters of changes that fit in the headline
NOTHING = 0.95  # error from which on a net is no better than a constant
SLOW = 0.02  # fall of the loss in the last tenth of the epochs that counts as none
NO_GRADIENT = ("SOFTMAX_1", "OUTPUT_RELU", "DEAD_RELU", "SATURATED", "SYMMETRIC")
MUCH = 0.1  # error of a healthy net that needs an explanation
COLOURS = {"error": "31;1", "warning": "33;1", "info": "36", "good": "32;1"}  # of a terminal


def headline(result: Result) -> str:
    """The conclusion: what is wrong, with the figure, and what to do, with the figure from the trial."""
    subject, verdict, causes = result.subject, result.verdict, result.causes
    if verdict is None:
        if result.outlook is not None:
            figure = score(subject, result.outlook.own)
            advice = _alignment(result, result.outlook)
            return (
                f"The rows given are not like those that fit was given (TRAIN_TEST_MISMATCH; here: {figure}).{advice}"
            )
        if causes:
            advice = f" Remedy: {causes[0].remedy}" if causes[0].remedy else ""
            return f"{_reasons(result, causes[:SHOWN], capital=True)}.{advice} (no trials were made)."
        return "No fault that keeps the net from learning was found without trials; verify=True runs them."
    if verdict.healthy:
        assert verdict.before is not None
        learns = f"Healthy: the net learns ({score(subject, verdict.before.error)}{_elsewhere(result)})."
        return learns if subject.trained else f"{learns} {_assumed(result)}"
    if result.outlook is not None and result.outlook.code:
        return _on_rows_kept_out(result, result.outlook)
    if verdict.hopeless:
        return "No change helps: nothing tried predicts y from x better than a constant. Check the data."
    start = _state(result)
    if verdict.inconclusive:
        if verdict.clocked:
            return f"{start}; the clock stopped the trials before they proved why; the machine is too busy."
        return f"{start}; the budget did not suffice to prove why; pass a larger one, e.g. budget={_larger(subject)}."
    if verdict.after is None:
        facts = [f for f in result.findings if f.exact and f.severity != "info" and f.remedy]
        if not facts:
            return f"{start}; none of the changes tried helps."
        return f"{start}; no change of the net helps: {_reasons(result, facts[:1])}. Remedy: {facts[0].remedy}."
    reached = score(subject, verdict.after.error, constant=False)
    if verdict.new_net and not causes:
        return f"{start}; a plain new net learns it ({reached}); why this one does not was not isolated in the budget."
    if verdict.new_net:
        return f"{start}; a plain new net learns it ({reached}): see the changes below.{_sufficient(result)}"
    done, _ = repaired(result)
    advice = "; ".join(done) if done and sum(map(len, done)) <= LONG else "the changes below"
    gave = f"it reached {reached} in a trial"
    if verdict.cut:
        diverged = not math.isfinite(verdict.error_before)
        first = "divergence" if diverged else score(subject, verdict.error_before, constant=False)
        gave = f"in trials, shorter than the training, this went from {first} to {reached}"
    what = _reasons(result, _changed(result), capital=bool(subject.problem))
    start = f"{start}: {what}" if what and not subject.problem else what or start
    also = _sufficient(result)
    return f"{start}. Remedy: {advice}; {gave}.{also}"


def _state(result: Result) -> str:
    """How the net does, and the figure."""
    subject, error = result.subject, result.verdict.own_error if result.verdict is not None else math.nan
    if subject.problem:
        return "fit rejects these data"
    if not math.isfinite(error):
        return "The training diverges"
    figure = score(subject, error) + (", without outliers" if len(subject.outliers) else "")
    if error < NOTHING:
        return f"The net learns only part ({figure})"
    if subject.task.kind == "regression" and "constant prediction" not in figure:
        figure = f"{figure}, {'worse than' if error > 2 - NOTHING else 'no better than'} a constant prediction"
    return f"The net does not learn ({figure})"


def _assumed(result: Result) -> str:
    """How a net that was not trained yet is taken to be trained."""
    plan = result.plan
    batches = "" if plan.optimizer.full_batch else f" in batches of {plan.batch_size}"
    return f"fit was not called yet: {plan.epochs} epochs{batches} were assumed."


def _reasons(result: Result, causes: list[Finding], capital: bool = False) -> str:
    """Causes in words, each with its code; of data that cannot be used, the first clause of the finding."""
    said = []
    for cause in causes:
        words = cause.brief or RULES[cause.code].words
        if cause.code == "BAD_DATA" or (result.subject.problem and cause.code == "TARGET_ENCODING"):
            words = cause.message.split(". ")[0].rstrip(".")
            words = words.split(": ")[0] if cause.code == "BAD_DATA" else words
        said.append(f"{words} ({cause.code})")
    text = "; ".join(said)
    return text[:1].upper() + text[1:] if capital and not text.startswith(("x ", "y ", "fit ")) else text


def _changed(result: Result) -> list[Finding]:
    """The causes that the repair changes, else all that are known."""
    verdict = result.verdict
    codes = verdict.codes if verdict is not None else set()
    earned = verdict.earned if verdict is not None else []
    treated = [f for f in result.findings if f.code in codes and (f.severity == "error" or f.code in earned)]
    return (treated or result.causes or [f for f in result.findings if f.code in codes])[:SHOWN]


def _sufficient(result: Result) -> str:
    """Other causes, whose change alone repairs the net as well."""
    verdict = result.verdict
    if verdict is None or verdict.after is None:
        return ""
    others = [f.code for f in result.causes if f.code not in verdict.codes and f.code in verdict.singles]
    others = [code for code in others if good(verdict.singles[code], verdict.after.error)]
    return f" The change for {_listed(others, 'or')} alone suffices, too." if others else ""


def repaired(result: Result) -> tuple[list[str], list[str]]:
    """What `treat` changes, without the codes, and the codes."""
    pairs = [change.partition(": ") for change in result.treated()[1]]
    known = [(words, code) for code, _, words in pairs if code in RULES]
    rest = [code + mark + words for code, mark, words in pairs if code not in RULES]
    return [*(words for words, _ in known), *rest], [code for _, code in known]


def worded(result: Result) -> Result:
    """The result with the texts that depend on more than one finding: remedies are what differs from the plan."""
    verdict = result.verdict
    done, codes = repaired(result)
    taken = dict(zip(codes, done, strict=False))
    no_gradient = any(f.severity != "info" and f.code in NO_GRADIENT for f in result.findings)
    unusable = any(f.code == "BAD_DATA" and f.severity == "error" for f in result.findings)
    elsewhere = result.outlook.code if result.outlook is not None else ""
    findings = []
    for found in result.findings:
        code, message = found.code, found.message
        proved = verdict is not None and code in verdict.codes
        flat = no_gradient and found.evidence.get("still_falling", 0.0) <= SLOW
        if code == "TOO_SLOW" and not proved and (unusable or flat):
            continue  # no rate helps where the gradient is 0
        shares = found.evidence.get("shares") if code == "BATCHING" else None
        if shares and verdict is not None and verdict.after is not None and verdict.after.error < min(shares):
            continue  # the repaired net predicts the rare class
        remedy = taken.get(code) or found.remedy or offered(found, result.plan)
        if code == elsewhere == "SPLIT":
            remedy = found.remedy
        if code == "OUTLIERS" and code in taken and found.remedy:  # first of all they may be wrong
            remedy = f"{found.remedy.split(';')[0]}, or {remedy}"
        if code == elsewhere == "TRAIN_TEST_MISMATCH" and result.outlook is not None and result.outlook.advice:
            remedy = f"{result.outlook.advice}, as in training"
        tried = verdict.singles.get(code) if verdict is not None else None
        if verdict is not None and verdict.healthy and found.severity == "info" and found.remedies:
            remedy, message = "", f"{message} This does no harm here."
        elif verdict is not None and verdict.after is None and not verdict.inconclusive and tried is not None:
            message = f"{message} A trial of its remedy ({remedy}) gave {score(result.subject, tried, constant=False)}."
            remedy = ""
        if found.silent and verdict is not None:
            figure = f", which gave {score(result.subject, tried, constant=False)}" if tried is not None else ""
            message = f"{message} Only trials showed this: {remedy}{figure}."
        findings.append(replace(found, message=message, remedy=remedy))
    return replace(result, findings=findings)


def offered(found: Finding, plan: Plan) -> str:
    """The first two remedies of a finding, as far as they change the plan."""
    said = list(dict.fromkeys(filter(None, (remedy.says(plan) for remedy in found.remedies[:2]))))
    if not said:
        return remedies.NEW_WEIGHTS if found.remedies and RULES[found.code].restart else ""
    if len(said) == 1:
        return said[0]
    first, second = said
    if second.startswith(f"{first}; "):
        return f"{first}; if that does not suffice, also {second.removeprefix(f'{first}; ')}"
    (one, _, old), (two, _, other) = first.partition(" instead of "), second.partition(" instead of ")
    return f"{one} or {two} instead of {old}" if old and old == other else f"{first}, or {second}"


def _larger(subject: Subject) -> str:
    return f"{float(f'{10 * subject.work.budget:.1g}'):g}"


def _elsewhere(result: Result) -> str:
    """What a healthy net reaches on rows kept out, and that nothing tried does better there."""
    outlook, verdict = result.outlook, result.verdict
    if outlook is None or not math.isfinite(outlook.kept_out):
        if verdict is None or verdict.own_error <= MUCH:
            return ""
        return f"; no other net tried does better: {score(result.subject, verdict.best_error, constant=False)}"
    words = f"; on {outlook.rows:,} rows kept out {score(result.subject, outlook.kept_out, constant=False)}"
    if outlook.fitted > outlook.own + MUCH and outlook.kept_out > outlook.best + MUCH:
        fitted = score(result.subject, outlook.fitted, constant=False)
        words += (
            f", for trained without them it fits its own no better ({fitted}): that it learnt is a matter of chance"
        )
    if min(outlook.kept_out, outlook.own) > MUCH and outlook.kept_out < outlook.best + MUCH:
        words += (
            f", where the best of all predictors tried reaches {score(result.subject, outlook.best, constant=False)}"
        )
        words += ": more cannot be had from this x"
    return words


def _on_rows_kept_out(result: Result, outlook: Outlook) -> str:
    """The conclusion that rows kept out gave."""
    subject = result.subject
    there = score(subject, outlook.kept_out)
    brief = partial(score, subject, constant=False)
    if outlook.code == "NOISE":
        own = f" (its own rows: {score(subject, outlook.own)})" if math.isfinite(outlook.own) else ""
        what = "Nothing tried predicts y from x" if outlook.sure else "Nothing tried so far predicts y from x"
        more = "" if outlook.sure else f" The new nets were trained only briefly: try budget={_larger(subject)}."
        return (
            f"{what} (NOISE): on {outlook.rows:,} rows kept out no predictor and no net does better than a constant"
            f"{own}. Check that the rows of x and y belong together; look for better columns.{more}"
        )
    if outlook.code == "OVERFIT":
        after = ""
        if math.isfinite(outlook.after):
            half = " (chosen by one half of them, measured on the other)" if outlook.chosen_from > 1 else ""
            gave = f"it reached {brief(outlook.after)} on rows kept out{half}"
            if outlook.losses is not None:
                was, now, constant = outlook.losses
                gave = f"the loss there went from {was:.4g} to {now:.4g} (of a constant prediction: {constant:.4g})"
            after = f" Remedy: {'; '.join(repaired(result)[0])}; {gave}."
        return (
            f"The net overfits (OVERFIT): {brief(outlook.own)} on its own rows, {brief(outlook.kept_out)} on "
            f"{outlook.rows:,} rows kept out, where {outlook.name} reaches {brief(outlook.best)}.{after}"
        )
    if outlook.code == "SPLIT":
        after = f", and then the same net reaches {brief(outlook.after)} on rows kept out"
        return (
            f"The validation rows are unlike the rows trained on (SPLIT; {there} there): the rows are sorted. Shuffle "
            f"them before the split{after if math.isfinite(outlook.after) else ''}."
        )
    figures = f"{there} there" if math.isfinite(outlook.kept_out) else "val_loss is far above the loss elsewhere"
    figures += "" if math.isfinite(outlook.after) else f"; {outlook.name}: {brief(outlook.best)}"
    return (
        f"The rows of validation_data are unlike x, or prepared in another way (TRAIN_TEST_MISMATCH; {figures})."
        f"{_alignment(result, outlook)}"
    )


def _alignment(result: Result, outlook: Outlook) -> str:
    """What to do with rows unlike those of the training, and what the net then reaches on them."""
    done = repaired(result)[0]
    if outlook.advice:
        reached = score(result.subject, outlook.after, constant=False)
        return f" Remedy: {outlook.advice}, as in training; the net as it is then reaches {reached} there."
    if done and math.isfinite(outlook.after):
        reached = score(result.subject, outlook.after, constant=False)
        return f" Remedy: {'; '.join(done)}; it reached {reached} there in a trial."
    found = next((one for one in result.findings if one.code == "TRAIN_TEST_MISMATCH" and one.remedy), None)
    return f" Remedy: {found.remedy}." if found is not None else ""


def score(subject: Subject, error: float, *, constant: bool = True) -> str:
    """An error as R2 (regression) or accuracy (classification), there with that of a constant prediction."""
    if not math.isfinite(error):
        return "it diverges"
    if subject.task.kind == "regression":
        what = "R2 of the logarithms" if subject.task.scale else "R2"
        if error > 2 - NOTHING:
            return "far worse than a constant prediction" if error >= 100 else f"{what} < 0"
        digits = 2 if error >= 0.01 else 3
        return f"{what} {round(1 - error, digits) + 0.0:.{digits}f}"
    right = constant_share(subject)
    what = "balanced accuracy" if subject.task.balanced else "accuracy"
    reached = f"{what} {max(0.0, 1 - error * (1 - right)):.1%}"
    return f"{reached}, constant prediction {right:.1%}" if constant else reached


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

    kind = "good" if result.healthy else "error" if result.causes else "warning"
    lines = [paint(line, kind) for line in _wrapped(headline(result), 0).splitlines()]
    folded = result.causes[SHOWN:]
    shown: dict[str, str] = {}  # remedies, and the finding that has it
    for found in result.findings:
        if any(found is other for other in folded):
            continue
        where = f" in {found.layer}" if found.layer else ""
        lines.append("")
        lines.append(f"{paint(found.severity, found.severity)} {found.code}{where}")
        lines.append(_wrapped(found.message, 4))
        if found.remedy:
            first = shown.setdefault(found.remedy, found.code)
            lines.append(_wrapped(f"-> {found.remedy}" if first == found.code else f"-> as for {first}", 4))
    if folded:
        lines += ["", _wrapped(f"Less important: {_listed([f.code for f in folded])}; see report.findings.", 0)]
    verdict = result.verdict
    if verdict is not None and not verdict.healthy and (verdict.singles or verdict.after):
        lines += ["", *_trials(result, verdict)]
    made, changes = result.treated()
    if changes:
        dropped = result.dropped(made)
        lines += ["", "report.treat() makes a new, compiled model with:"]
        lines += [_wrapped(f"{i}. {change}", 2) for i, change in enumerate(changes, 1)]
        lines += [_wrapped(f"Pass to fit again what fit_options cannot hold: {'; '.join(dropped)}.", 2)] * bool(dropped)
    return "\n".join(lines)


def _trials(result: Result, verdict: Verdict) -> list[str]:
    subject, outlook = result.subject, result.outlook
    rows = compared(result)[:5]
    if verdict.after is not None:
        rows.append(("all changes below", verdict.after.error))
    shown = [(name, _figure(subject, name, error)) for name, error in rows]
    if subject.task.classifies:
        shown.append(("constant prediction", f"accuracy {constant_share(subject):.1%}"))
    width = max(len(name) for name, _ in shown)
    lines = [f"  {name:<{width}}  {figure}" for name, figure in shown]
    if outlook is not None and outlook.code:
        return ["Trials (copies trained as long as the net, with one change), on rows kept out:", *lines]
    if verdict.sampling_error:
        lines.append(f"  Errors are measured on a sample of the rows: {_uncertainty(subject, verdict.sampling_error)}.")
    if math.isfinite(verdict.loss_before) and math.isfinite(verdict.loss_after):
        kind = subject.loss.kind
        lines.append(f"  The loss ({kind}) of y goes from {verdict.loss_before:.4g} to {verdict.loss_after:.4g}.")
    return [f"Trials (copies trained as long as the net, with one change{_few(result)}):", *lines]


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


def _figure(subject: Subject, name: str, error: float) -> str:
    if name == "unchanged" and subject.problem:
        return "rejected by fit"
    return score(subject, error, constant=False)


def compared(result: Result) -> list[tuple[str, float]]:
    """What was tried and its error: the net unchanged, then each single change, the best first."""
    verdict, outlook = result.verdict, result.outlook
    assert verdict is not None
    if outlook is not None and outlook.code:
        unchanged = [("unchanged", outlook.kept_out)] if math.isfinite(outlook.kept_out) else []
        elsewhere = outlook.code == "TRAIN_TEST_MISMATCH" and outlook.name != SAME  # what is reached on other rows
        return unchanged if elsewhere else [*unchanged, (outlook.name, outlook.best)]
    known = {f.code for f in result.findings}
    singles = sorted(verdict.singles.items(), key=lambda item: item[1])
    singles = [(code, error) for code, error in singles if code in known or error < verdict.error_before]
    first = ("unchanged, trained as briefly" if verdict.cut else "unchanged", verdict.error_before)
    return [first, *((f"with the change for {code}", error) for code, error in singles)]


def _listed(codes: list[str], word: str = "and") -> str:
    return f" {word} ".join([", ".join(codes[:-1]), codes[-1]] if len(codes) > 1 else codes)


def _wrapped(text: str, indent: int) -> str:
    """Text in lines of `WIDTH`."""
    pad = " " * indent
    return textwrap.fill(text, WIDTH, initial_indent=pad, subsequent_indent=pad)
