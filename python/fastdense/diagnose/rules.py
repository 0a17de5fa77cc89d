"""The table of rules: every code, and the function that looks for it."""

from __future__ import annotations

from collections.abc import Callable

from . import rules_exact as exact
from . import rules_net as net
from . import rules_training as training
from .case import Case
from .finding import CODES, Finding

Rule = Callable[[Case], "Finding | None"]

RULES: dict[str, Rule] = {
    "BAD_DATA": lambda c: exact.bad_data(c.s),
    "TARGET_ENCODING": lambda c: exact.target_encoding(c.s),
    "SOFTMAX_1": lambda c: exact.softmax_1(c.s),
    "OUTPUT_RELU": lambda c: exact.output_relu(c.s),
    "OUTPUT_RANGE": lambda c: exact.output_range(c.s),
    "LOSS_ACT": lambda c: exact.loss_act(c.s),
    "MAPE_ZERO": lambda c: exact.mape_zero(c.s),
    "SYMMETRIC": net.symmetric,
    "OVER_REG": training.over_reg,
    "BATCHING": training.batching,
    "INPUT_SCALE": net.input_scale,
    "TARGET_SCALE": net.target_scale,
    "INIT_SCALE": net.init_scale,
    "DIVERGED": training.diverged,
    "DEAD_RELU": net.dead_relu,
    "SATURATED": net.saturated,
    "VANISHING": net.vanishing,
    "NO_CAPACITY": net.no_capacity,
    "DUPLICATE_UNITS": net.duplicate_units,
    "TOO_SLOW": training.too_slow,
    "BASELINE": training.baseline,
}
assert tuple(RULES) == CODES


def look(case: Case) -> list[Finding]:
    """Apply every rule."""
    return [found for rule in RULES.values() if (found := rule(case)) is not None]
