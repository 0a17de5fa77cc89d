"""scikit-learn's own checks of estimators, for several settings, none of them expected to fail."""

from __future__ import annotations

import doctest
import subprocess
import sys
from typing import Any

import pytest

pytest.importorskip("sklearn")

from sklearn.utils.estimator_checks import parametrize_with_checks

import fastdense.sklearn as sklearn_face
from fastdense.sklearn import DenseClassifier, DenseRegressor

SETTINGS: list[dict[str, Any]] = [
    {},
    # the number of threads changes no bit; tests that run side by side would wait for one another's
    {"n_threads": 1, "solver": "lbfgs"},
    {"n_threads": 1, "early_stopping": True},
    {"n_threads": 1, "early_stopping": "loss"},
    {"n_threads": 1, "solver": "sgd"},
    {"n_threads": 1, "dropout": 0.2},
    {"n_threads": 1, "batch_norm": True},
    {"n_threads": 1, "n_ensemble": 2},
]
ESTIMATORS = [kind(**setting) for kind in (DenseClassifier, DenseRegressor) for setting in SETTINGS]


@pytest.mark.filterwarnings("ignore")  # those that the checks provoke are scikit-learn's business
@parametrize_with_checks(ESTIMATORS)  # type: ignore[untyped-decorator, unused-ignore]
def test_check(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [DenseClassifier, DenseRegressor])
def test_names_of_columns(kind: Any) -> None:
    """A check that scikit-learn makes of its own estimators only."""
    from sklearn.utils.estimator_checks import check_dataframe_column_names_consistency

    check_dataframe_column_names_consistency(kind.__name__, kind())


def test_examples_run() -> None:
    found = doctest.testmod(sklearn_face)
    assert found.failed == 0 and found.attempted > 10


def test_the_package_does_not_import_scikit_learn() -> None:
    script = "import sys, fastdense; sys.exit('sklearn' in sys.modules or 'narwhals' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_without_scikit_learn() -> None:
    script = (
        "import sys; sys.modules['sklearn'] = None\n"
        "try: import fastdense.sklearn\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == (
        "fastdense.sklearn needs scikit-learn 1.6 or newer; pip install 'fastdense[sklearn]'"
    )
