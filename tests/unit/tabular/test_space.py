"""Spaces of hyperparameters: messages, and draws that cover every range."""

from __future__ import annotations

import re
from typing import Any

import pytest

from fastdense.tabular.space import BLOCK, check_space, draw

NAMES = ("activation", "dropout", "learning_rate", "width")
SPACE = {
    "activation": ["relu", "selu", "mish"],
    "dropout": (0.0, 0.4),
    "learning_rate": (1e-4, 1e-2, "log"),
    "width": (64, 512, "log"),
}


def test_a_block_has_a_value_in_every_part_of_a_range() -> None:
    drawn = draw(check_space("search: space", SPACE, NAMES), 3 * BLOCK, 0)
    for first in range(0, len(drawn), BLOCK):
        block = drawn[first : first + BLOCK]
        assert sorted(int(one["dropout"] / 0.4 * BLOCK) for one in block) == list(range(BLOCK))
        counts = [sum(one["activation"] == name for one in block) for name in SPACE["activation"]]
        assert max(counts) - min(counts) <= 1
    assert all(1e-4 <= one["learning_rate"] <= 1e-2 for one in drawn)
    assert all(isinstance(one["width"], int) and 64 <= one["width"] <= 512 for one in drawn)
    assert sum(one["learning_rate"] < 1e-3 for one in drawn) == len(drawn) // 2  # half of the decades


def test_draws_depend_on_the_seed_and_on_nothing_else() -> None:
    space = check_space("search: space", SPACE, NAMES)
    assert draw(space, 5, 3) == draw(space, 20, 3)[:5]
    assert draw(space, 5, 3) != draw(space, 5, 4)
    alone = draw({"dropout": space["dropout"]}, 5, 3)
    assert [one["dropout"] for one in alone] == [one["dropout"] for one in draw(space, 5, 3)]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "search: space={}. Give a dict of names to lists of choices or ranges (low, high)."),
        ({"lr": [1]}, "search: space: 'lr' is no hyperparameter of the recipe; the names are activation, dropout"),
        ({"width": []}, "search: space['width']=[]. Give a list of choices, or a range (low, high)."),
        ({"width": 64}, "search: space['width']=64. Give a list of choices, or a range (low, high)."),
        ({"width": (64,)}, "search: space['width']=(64,) is no range. Give (low, high) or (low, high, 'log')."),
        ({"dropout": (0.3, 0.1)}, "search: space['dropout']=(0.3, 0.1) is no range. Give low and high, low first."),
        ({"dropout": (0.0, 0.1, "log")}, "is no range. Give low and high above 0, low first."),
    ],
)
def test_a_wrong_space_is_refused(space: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        check_space("search: space", space, NAMES)
