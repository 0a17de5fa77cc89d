"""All that a diagnosis found: what the report, its text and its page are made from."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ..model.base import BaseModel
from .finding import Finding
from .heldout import Outlook
from .plan import Plan
from .remedies import NEW_WEIGHTS
from .rules import RULES
from .subject import Subject
from .verify import Verdict


@dataclass(frozen=True, eq=False)
class Result:
    """What was examined and what was found.

    Attributes
    ----------
    subject : Subject
    plan : Plan
        The training that was explained.
    findings : list of Finding
        Worst first.
    verdict : Verdict or None
        What trials showed, None if there were none.
    outlook : Outlook or None
        How the net does on rows kept out, as far as it was looked at.
    """

    subject: Subject
    plan: Plan
    findings: list[Finding]
    verdict: Verdict | None
    outlook: Outlook | None = None

    @property
    def healthy(self) -> bool | None:
        """Whether the net learns as well as can be expected; None without trials."""
        if self.verdict is None:
            return None if self.outlook is None else False
        return self.verdict.healthy

    @property
    def causes(self) -> list[Finding]:
        """The findings of severity "error"."""
        return [f for f in self.findings if f.severity == "error"]

    def treated(self) -> tuple[Plan, list[str]]:
        """The plan with the remedies that trials proved (without trials, those of all errors), and what was changed."""
        plan, words = self._treated
        return plan, list(words)

    def __getstate__(self) -> dict[str, Any]:
        """What pickle keeps: with the treated plan, since remedies are functions, which pickle cannot keep."""
        return {**vars(self), "_treated": self._treated}

    @cached_property
    def _treated(self) -> tuple[Plan, list[str]]:
        verdict = self.verdict
        if verdict is None and self.outlook is not None:  # other rows were given than fit's
            return self.plan, []
        if verdict is None or verdict.inconclusive:
            plan = self.plan
            words: list[str] = []
            for found in self.findings:
                applied = found.severity == "error" or (
                    found.severity == "warning" and not RULES[found.code].consequence
                )
                if applied and found.remedies:
                    changed = found.remedies[0].apply(plan)
                    if changed != plan:
                        words.append(f"{found.code}: {found.remedies[0].says(plan) or found.remedies[0].words}")
                        plan = changed
            return plan, words
        if verdict.after is None:
            return self.plan, []
        proved_elsewhere = self.outlook is not None and bool(self.outlook.code)  # there fewer epochs may be the remedy
        plan = verdict.after.plan if proved_elsewhere else self._full_length(verdict.after.plan)
        if verdict.new_net:
            hidden = ", ".join(f"{layer.units} {layer.activation}" for layer in plan.dense()[:-1])
            words = [
                f"no single change repaired it: a plain new net ({hidden} units, standardized data, {plan.optimizer!r})"
            ]
        else:
            words = self._steps(verdict, plan)
        if plan.closed_form:
            words.append("nothing is left to train: fit_options say 0 epochs")
        elif plan.epochs != self.plan.epochs and not any(f"{plan.epochs} epochs" in said for said in words):
            words.append(f"{plan.epochs} epochs instead of {self.plan.epochs}")
        return plan, words

    def _steps(self, verdict: Verdict, made: Plan) -> list[str]:
        """What each step of the repair changes; `made` has the epochs, which were fewer in trials."""
        words, plan = [], self.plan
        for step in verdict.steps:
            changed = step.remedy.apply(plan)
            said = step.remedy.says(plan) or (NEW_WEIGHTS if RULES[step.finding.code].restart else step.remedy.words)
            if changed != plan and replace(changed, epochs=plan.epochs) == plan and not step.remedy.outside:
                said = f"{made.epochs} epochs instead of {self.plan.epochs}"
            words.append(f"{step.finding.code}: {said}")
            plan = changed
        return words

    def treated_model(self) -> tuple[BaseModel, Plan, list[str]]:
        """A new model after that plan, or a copy of the user's if nothing is to be changed."""
        plan, changes = self.treated()
        if not changes:
            return copy.deepcopy(self.subject.model), plan, changes
        subject = self.subject
        weights = None if subject.weights is None else subject.weights[subject.good]
        return plan.solve(plan.build(), subject.good_x, subject.good_y, weights), plan, changes

    def fit_options(self, plan: Plan) -> dict[str, Any]:
        """Options for `fit`: those of a plan, and those that the user gave and the plan does not change."""
        options, given = plan.fit_options(), self.subject.given
        if given.validation_data is not None:
            options["validation_data"] = given.validation_data
        elif plan.validation_split:
            options["validation_split"] = plan.validation_split
        if given.sample_weight is not None and plan.weighted and not self.subject.weights_refused:
            options["sample_weight"] = given.sample_weight
        return options

    def dropped(self, plan: Plan) -> list[str]:
        """Options of the last `fit` that are not among those."""
        fitted, subject = self.subject.fitted, self.subject
        if fitted is None:
            return []
        names = [name for name in fitted.callbacks if name not in self._harmful]
        words = [f"callbacks ({', '.join(names)})"] if names else []
        if fitted.weighted and subject.given.sample_weight is None and plan.weighted:
            words.append("sample_weight, which was not passed to diagnose (no copy of the rows' weights is kept)")
        if fitted.validation_rows and not fitted.validation_split and subject.given.validation_data is None:
            words.append("validation_data, which was not passed to diagnose (no copy of the rows is kept)")
        if subject.class_weight is not None and "class_weight" not in plan.fit_options():
            words.append("class_weight")
        return words

    @property
    def _harmful(self) -> tuple[str, ...]:
        """Callbacks that ended the training, or lowered its rate, too soon: not to be passed again as they are."""
        if not any(f.code == "STOPPED_EARLY" and f.severity == "error" for f in self.findings):
            return ()
        stopped = self.subject.fitted.stopped_by if self.subject.fitted is not None else ""
        return (stopped,) if stopped else ("ReduceLROnPlateau", "LearningRateScheduler")

    def _full_length(self, plan: Plan) -> Plan:
        """A plan whose epochs were cut to fit trials gets back those of the training that it replaces."""
        if plan.closed_form:
            return plan
        asked = int(self.subject.options.get("epochs", self.plan.epochs))
        return replace(plan, epochs=max(plan.epochs, asked))
