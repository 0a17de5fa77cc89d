"""Constraints: names, arguments, and what a step makes of a tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense import constraints

W = np.array([[3.0, 0.3], [-4.0, 0.4]])  # columns of norm 5 and 0.5
# By hand from Keras's formulas, with its 1e-7 in the denominators.
AFTER: dict[str, tuple[constraints.Constraint, list[list[float]]]] = {
    "max_norm": (constraints.MaxNorm(2.0), [[1.2 - 2.4e-8, 0.3 - 6e-8], [-1.6 + 3.2e-8, 0.4 - 8e-8]]),
    "unit_norm": (constraints.UnitNorm(), [[0.6 - 1.2e-8, 0.6 - 1.2e-7], [-0.8 + 1.6e-8, 0.8 - 1.6e-7]]),
    "min_max": (
        constraints.MinMaxNorm(1.0, 2.0, rate=0.5),
        [[2.1 - 4.2e-8, 0.45 - 9e-8], [-2.8 + 5.6e-8, 0.6 - 1.2e-7]],
    ),
    "non_neg": (constraints.NonNeg(), [[3.0, 0.3], [0.0, 0.4]]),
}


@pytest.mark.parametrize("device", ["cpu", "reference"])
@pytest.mark.parametrize("name", AFTER)
def test_what_a_step_leaves(name: str, device: str) -> None:
    constraint, after = AFTER[name]
    layer = fd.Dense(2, use_bias=False, kernel_constraint=constraint)
    made = fd.Model([layer], inputs=2, dtype="float64", device=device)
    made.compile(fd.SGD(0.0), "mse")
    made.set_weights([W])
    made.train_on_batch(np.ones((1, 2)), np.ones((1, 2)))
    np.testing.assert_allclose(made.get_weights()[0], after, rtol=0, atol=1e-13)


NAMED = [
    ("max_norm", constraints.MaxNorm()),
    ("maxnorm", constraints.MaxNorm()),
    ("NonNeg", constraints.NonNeg()),
    (constraints.UnitNorm, constraints.UnitNorm()),
]


@pytest.mark.parametrize(("given", "made"), NAMED)
def test_names(given: Any, made: constraints.Constraint) -> None:
    assert constraints.get(given) == made
    assert constraints.get(made.to_dict()) == made


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"bias_constraint: MaxNorm\(axis=1\) .* axis 1, .* 1 dimension. Give axis=0."):
        fd.Dense(2, bias_constraint=constraints.MaxNorm(axis=1))
    with pytest.raises(ValueError, match="MinMaxNorm: max_value=1 is out of range. Give a finite number at least 2"):
        constraints.MinMaxNorm(2, 1)

    class Own(constraints.MaxNorm):
        pass

    with pytest.raises(TypeError, match=r"kernel_constraint=Own\(.*\) is of a class of your own.*in a callback"):
        fd.Dense(2, kernel_constraint=Own())

    class Called(constraints.Constraint):
        def __call__(self, w: Any) -> Any:
            return w

    with pytest.raises(TypeError, match=r"Called: its __call__\(\) would never be called.*in a callback"):
        Called()


@pytest.mark.parametrize(
    ("constraint", "expected"),
    [
        (constraints.NonNeg(), [[3.0, 0.0], [4.0, 1.0]]),
        (constraints.MaxNorm(1.0), [[0.6, -0.7071067], [0.8, 0.7071067]]),
        (constraints.UnitNorm(axis=1), [[0.9486833, -0.3162278], [0.9701425, 0.2425356]]),
    ],
)
def test_of_an_array(constraint: constraints.Constraint, expected: list[list[float]]) -> None:
    np.testing.assert_allclose(constraint(np.array([[3.0, -1.0], [4.0, 1.0]])), expected, rtol=1e-6)
