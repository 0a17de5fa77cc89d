"""The table of rules: every code, and the function that looks for it."""

from __future__ import annotations

from collections.abc import Callable

from . import rules_exact as exact
from . import rules_measured as measured
from .finding import CODES, Finding
from .rules_measured import Case

Rule = Callable[[Case], "Finding | None"]

RULES: dict[str, Rule] = {
    "BAD_DATA": lambda c: exact.bad_data(c.s),
    "TARGET_ENCODING": lambda c: exact.target_encoding(c.s),
    "SOFTMAX_1": lambda c: exact.softmax_1(c.s),
    "OUTPUT_RELU": lambda c: exact.output_relu(c.s),
    "OUTPUT_RANGE": lambda c: exact.output_range(c.s),
    "LOSS_ACT": lambda c: exact.loss_act(c.s),
    "MAPE_ZERO": lambda c: exact.mape_zero(c.s),
    "SYMMETRIC": measured.symmetric,
    "OVER_REG": measured.over_reg,
    "BATCHING": measured.batching,
    "INPUT_SCALE": measured.input_scale,
    "TARGET_SCALE": measured.target_scale,
    "INIT_SCALE": measured.init_scale,
    "DIVERGED": measured.diverged,
    "DEAD_RELU": measured.dead_relu,
    "SATURATED": measured.saturated,
    "VANISHING": measured.vanishing,
    "NO_CAPACITY": measured.no_capacity,
    "DUPLICATE_UNITS": measured.duplicate_units,
    "TOO_SLOW": measured.too_slow,
    "BASELINE": measured.baseline,
}
assert tuple(RULES) == CODES


def look(case: Case) -> list[Finding]:
    """Apply every rule."""
    return [found for rule in RULES.values() if (found := rule(case)) is not None]
