"""The examples in docstrings of the families run, and every public member has one."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

from fastdense import initializers, layers, losses, metrics, optimizers, regularizers, schedules

FAMILIES = [initializers, layers, losses, metrics, optimizers, regularizers, schedules]
BASES = {"Initializer", "Layer", "Loss", "Metric", "Optimizer", "Regularizer", "Schedule", "Solver"}
RECORDS = {"Draw", "Draws", "Rate", "TensorSpec"}


@pytest.mark.parametrize("module", FAMILIES, ids=lambda module: str(module.__name__.rsplit(".", 1)[-1]))
def test_examples_of_a_family_run(module: ModuleType) -> None:
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for name in module.__all__:
        if not isinstance(getattr(module, name), type) or name in BASES | RECORDS:
            continue
        (test,) = finder.find(getattr(module, name), name, globs={})
        assert test.examples, f"{name} has no example"
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0
