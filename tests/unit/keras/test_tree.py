"""`keras.tree`: order of the leaves, kinds of structures, errors. Expected values are those of Keras 3.15."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque, namedtuple
from typing import Any

import pytest

from fastdense.keras import tree

P = namedtuple("P", "x y")
NESTED: list[Any] = [1, (2, 3), {"b": 4, "a": [5]}, P(6, 7), None, OrderedDict([("z", 8), ("c", 9)]), (), {},
                     defaultdict(list, {"b": 1, "a": 2})]  # fmt: skip


def test_leaves_are_in_the_order_of_sorted_keys() -> None:
    assert tree.flatten(NESTED) == [1, 2, 3, 5, 4, 6, 7, None, 8, 9, 2, 1]
    assert tree.flatten(3) == [3] and tree.flatten(None) == [None] and tree.flatten("ab") == ["ab"]
    assert tree.flatten_with_path({"b": 1, "a": [2, P(3, 4)]}) == [
        (("a", 0), 2), (("a", 1, 0), 3), (("a", 1, 1), 4), (("b",), 1)
    ]  # fmt: skip
    assert [tree.is_nested(one) for one in (3, [], "a", None, {}, P(1, 2), deque())] == [False, True, False, False] + [
        True
    ] * 3
    assert tree.flatten({1: "one", "a": "letter"}) == ["one", "letter"]


def test_structures_keep_their_kinds() -> None:
    made = tree.map_structure(lambda x: x, NESTED)
    assert made == NESTED and [type(one) for one in made] == [type(one) for one in NESTED]
    assert list(made[2]) == ["b", "a"] and list(made[5]) == ["z", "c"]
    packed = tree.pack_sequence_as(NESTED, range(12))
    assert packed == [0, (1, 2), {"b": 4, "a": [3]}, P(5, 6), 7, OrderedDict([("z", 8), ("c", 9)]), (), {},
                      {"b": 11, "a": 10}]  # fmt: skip
    assert tree.map_structure(lambda x: 2 * x, deque([1, 2], 3)) == deque([2, 4])
    assert tree.lists_to_tuples([1, [2, {"a": [3]}]]) == (1, (2, {"a": (3,)}))


def test_several_structures() -> None:
    assert tree.map_structure(lambda a, b: a + b, {"a": 1, "b": [2]}, {"b": [10], "a": 20}) == {"a": 21, "b": [12]}
    assert tree.map_structure(lambda a: 0, [None, 1], none_is_leaf=False) == [None, 0]
    shallow = {"a": 1, "b": 2}
    made = tree.map_structure_up_to(shallow, lambda x, y: (x, y), {"a": [1, 2], "b": 3}, {"a": 5, "b": [6]})
    assert made == {"a": ([1, 2], 5), "b": (3, [6])}
    tree.assert_same_structure([1, None, {"a": 2}], [3, 4, OrderedDict(a=5)])


@pytest.mark.parametrize(
    ("do", "error", "says"),
    [
        (lambda: tree.assert_same_structure([1, 2], (1, 2)), ValueError, "differ at the top"),
        (
            lambda: tree.assert_same_structure([0, {"a": 1}], [0, {"b": 1}]),
            ValueError,
            r"differ \[1\]: {'a': 1} and {'b'",
        ),
        (lambda: tree.assert_same_structure([1, [2]], [1, 2]), ValueError, r"differ \[1\]: \[2\] and 2"),
        (lambda: tree.assert_same_structure(1, [1]), ValueError, "differ at the top"),
        (lambda: tree.map_structure(lambda a, b: 0, [1], [1, 2]), ValueError, "the same lengths and keys"),
        (lambda: tree.map_structure("f", [1]), TypeError, "func is 'f'. A function of a leaf"),  # type: ignore[arg-type]
        (lambda: tree.map_structure(len), ValueError, "no structure is given"),
        (lambda: tree.map_structure_up_to([1, 2], len, [1, 2, 3]), ValueError, "differ at the top"),
        (lambda: tree.pack_sequence_as([1, 2], [1]), ValueError, "holds 1 leaves, and structure 2"),
        (lambda: tree.traverse(len, [1]), AttributeError, "has no traverse"),
    ],
)
def test_errors(do: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        do()
