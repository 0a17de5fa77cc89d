"""What optimizers accept, what they hand on to engines, and the work and memory that estimates count for them."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from fastdense import optimizers
from fastdense.specs import members

EVERY = members(optimizers.Optimizer)
STEPPING = [kind for kind in EVERY if not kind.full_batch]
LITTLE = 1e-9

# Of each argument: the outermost numbers that are allowed, and the nearest that are not.
Limits = tuple[list[float], list[float]]
FRACTION: Limits = ([0, 1 - LITTLE], [-LITTLE, 1])
POSITIVE: Limits = ([LITTLE], [0])
NOT_NEGATIVE: Limits = ([0], [-LITTLE])
FINITE: Limits = ([-9.5, 9.5], [float("nan"), float("inf")])
LIMITS: dict[str, Limits] = {
    **dict.fromkeys(("momentum", "rho", "beta_1", "beta_2", "adam_beta_1", "adam_beta_2"), FRACTION),
    **dict.fromkeys(("epsilon", "damping", "radius", "rms_rate", "input_damping", "output_damping"), POSITIVE),
    **dict.fromkeys(("clipnorm", "clipvalue", "global_clipnorm"), POSITIVE),
    **dict.fromkeys(("learning_rate", "weight_decay", "gtol", "ftol", "initial_accumulator_value"), NOT_NEGATIVE),
    **dict.fromkeys(("l1_regularization_strength", "l2_regularization_strength", "beta"), NOT_NEGATIVE),
    **dict.fromkeys(("l2_shrinkage_regularization_strength", "adam_lr_ratio", "adam_weight_decay"), NOT_NEGATIVE),
    **dict.fromkeys(("muon_a", "muon_b", "muon_c"), FINITE),
    "ema_momentum": ([0, 1], [-LITTLE, 1 + LITTLE]),
    "ema_overwrite_frequency": ([1], [0]),
    "learning_rate_power": ([0], [LITTLE]),
    "ns_steps": ([0, 1000], [-1, 1001]),
    "interval": ([1], [0]),
    "history_size": ([0, 1000], [-1, 1001]),
    "line_search_steps": ([1, 10**6], [0, 10**6 + 1]),
    "cg_steps": ([1, 10**6], [0, 10**6 + 1]),
}
OWN_LIMITS: dict[tuple[str, str], Limits] = {("Lion", "beta_1"): ([LITTLE, 1], [0, 1 + LITTLE])}
NO_NUMBERS = {"nesterov", "centered", "amsgrad", "use_ema", "learning_rate_multipliers", "weight_decay_multipliers"}


def arguments(kind: type[optimizers.Optimizer]) -> set[str]:
    return set(inspect.signature(kind).parameters)


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: str(kind.__name__))
def test_limits_of_every_number(kind: Any) -> None:
    for name in sorted(arguments(kind) - NO_NUMBERS):
        allowed, refused = OWN_LIMITS.get((kind.__name__, name), LIMITS[name])
        for value in allowed:
            assert getattr(kind(**{name: value}), name) == value
        for value in refused:
            with pytest.raises(ValueError, match=rf"^{kind.__name__}: {name}={value} is out of range\. Give a "):
                kind(**{name: value})


@pytest.mark.parametrize("kind", STEPPING, ids=lambda kind: str(kind.__name__))
def test_common_arguments_reach_the_engine(kind: Any) -> None:
    assert kind(0.25).learning_rates(3, 2).tolist() == [0.25, 0.25]
    assert kind(weight_decay=0.125).lower()["weight_decay"] == 0.125
    clips = ["clipnorm", "clipvalue", "global_clipnorm"]
    for name in clips:
        lowered = kind(**{name: 0.5}).lower()
        assert {one: lowered[one] for one in clips} == {**dict.fromkeys(clips, 0.0), name: 0.5}
    average = {"use_ema": True, "ema_momentum": 0.75}
    assert "use_ema" not in kind().lower()
    if "use_ema" in arguments(kind):
        for given, frequency in ((None, 0), (3, 3)):
            lowered = kind(**average, ema_overwrite_frequency=given).lower()
            assert lowered.items() >= {**average, "ema_overwrite_frequency": frequency}.items()
    if "learning_rate_multipliers" in arguments(kind):
        made = kind(weight_decay=0.1, learning_rate_multipliers={"a": 2}, weight_decay_multipliers={"b": 3})
        assert made.factors("here", ["a", "b"]) == {"rate_factors": [2.0, 1.0], "decay_factors": [1.0, 3.0]}


def test_only_two_optimizers_lack_common_arguments() -> None:
    """So that the test above leaves out no other one."""
    assert {kind.__name__ for kind in STEPPING if "use_ema" not in arguments(kind)} == {"KFAC"}
    assert {kind.__name__ for kind in STEPPING if "learning_rate_multipliers" not in arguments(kind)} == {
        "KFAC",
        "Muon",
    }


def test_work_and_memory_of_a_step_besides_its_gradients() -> None:
    """For 3 -> 5 -> 2 units, 32 parameters, and 7 rows."""
    shapes = [(3, 5), (5,), (5, 2), (2,)]
    operations = {
        # three Newton-Schulz steps, of X X' and (X X') X and a square, each 2 a b min(a, b) at most
        "Muon": 6 * 3 * (3 * 5 * 3 + 5 * 2 * 2),
        # sums of both factors of a layer and the products with their inverses; the inverses every fourth step
        "KFAC": (2 * 7 * (9 + 25) + 2 * 15 * 8) + (2 * 7 * (25 + 4) + 2 * 10 * 7) + 10 * (27 + 125 + 125 + 8) / 4,
        "LevenbergMarquardt": 2 * 32**2 * (7 * 2 + 32),  # J' J of 7 * 2 residuals, and a factorization, in float64
    }
    size = {
        "KFAC": 12 * (4**2 + 5**2 + 6**2 + 2**2) + 72 * 6**2,  # a bias is one more row
        "LBFGS": 16 * (4 + 3) * 32,
        "LevenbergMarquardt": 2 * 8 * 32**2,
        "NewtonCG": 64 * 32,
    }
    own = {"Muon": {"ns_steps": 3}, "KFAC": {"interval": 4}, "LBFGS": {"history_size": 4}}
    for kind in EVERY:
        made = kind(**own.get(kind.__name__, {}))
        assert made.operations(shapes, 7) == operations.get(kind.__name__, 0), kind
        assert made.working_bytes(shapes, 4) == size.get(kind.__name__, 0), kind
