"""Executors for tests: one that works in this process, and how two populations are compared bit for bit."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

import fastdense as fd

Array = Any


class Result:
    """What `submit` gives: a function that is called when the result is asked for."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call, self.cancelled = call, False

    def result(self) -> Any:
        return self.call()

    def cancel(self) -> None:
        self.cancelled = True


class Inline:
    """The least that an executor is. Arguments and results go through pickle, as to another process and back.

    Attributes
    ----------
    sent : list of bytes
        What was submitted.
    fails : callable
        Called before each call with its number, from 0; what it raises is the executor's own error.
    """

    def __init__(self, fails: Callable[[int], object] = lambda call: None) -> None:
        self.sent: list[bytes] = []
        self.results: list[Result] = []
        self.fails = fails

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Result:
        number = len(self.sent)
        self.sent.append(pickle.dumps((function, arguments)))

        def call() -> Any:
            self.fails(number)
            theirs, given = pickle.loads(self.sent[number])
            return pickle.loads(pickle.dumps(theirs(*given)))

        self.results.append(Result(call))
        return self.results[-1]


def assert_same_bits(ours: Array, theirs: Array, what: str) -> None:
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype), what
    np.testing.assert_array_equal(ours, theirs, err_msg=what)


def assert_same(ours: fd.Population[fd.Model], theirs: fd.Population[fd.Model], x: Array, y: Array) -> None:
    """Everything that two populations offer has the same bits, also what members become when they are trained on."""
    for name in ("losses", "history", "epochs", "seeds", "revived", "val_history"):
        assert_same_bits(getattr(ours, name), getattr(theirs, name), name)
    assert list(ours.val_metrics) == list(theirs.val_metrics)
    for name, values in ours.val_metrics.items():
        assert_same_bits(values, theirs.val_metrics[name], name)
    for mine, its in zip(ours.snapshots, theirs.snapshots, strict=True):
        assert [one[:2] for one in mine] == [one[:2] for one in its]
        for one, other in zip(mine, its, strict=True):
            for a, b in zip(one[2], other[2], strict=True):
                assert_same_bits(a, b, "a snapshot")
    assert (ours.why_one_by_one, ours.interrupted) == (theirs.why_one_by_one, theirs.interrupted)
    assert (len(ours), ours.best_index, repr(ours)) == (len(theirs), theirs.best_index, repr(theirs))
    assert_same_bits(ours.predict(x), theirs.predict(x), "predict")
    assert_same_bits(ours.evaluate(x, y), theirs.evaluate(x, y), "evaluate")
    for i, (mine, its) in enumerate(zip(ours, theirs, strict=True)):
        assert (mine.seed, mine.runner.step) == (its.seed, its.runner.step)
        for a, b in zip(mine.get_weights(), its.get_weights(), strict=True):
            assert_same_bits(a, b, f"weights of member {i}")
        slots = [array for slot in mine.runner.slots() for array in slot]
        for a, b in zip(slots, (array for slot in its.runner.slots() for array in slot), strict=True):
            assert_same_bits(a, b, f"state of the optimizer of member {i}")
    mine, its = ours[len(ours) - 1], theirs[len(ours) - 1]
    assert mine.fit(x, y, epochs=2, verbose=0).history == its.fit(x, y, epochs=2, verbose=0).history
