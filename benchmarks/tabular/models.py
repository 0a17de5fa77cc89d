"""The models that are compared: each trains on `train`, stops and chooses on `val`, and predicts `test`.

Libraries run with their defaults but for: more trees with early stopping on the table's metric, a learning rate where
the default is meant for 100 trees, and the seed and number of threads. A new model is a function under `@model`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.tabular.tables import Table

Array = NDArray[Any]
Predict = Callable[[Any], Array]  # of rows: numbers, or probabilities (rows, classes)
Fit = Callable[[Table, int, int], tuple[Predict, Any]]  # table, seed, threads -> predict, notes
MODELS: dict[str, Fit] = {}
TITLES: dict[str, str] = {}
PACKAGES: dict[str, str] = {}  # where each comes from


def model(name: str, title: str, package: str) -> Callable[[Fit], Fit]:
    """Enter a model by its name, with a title for tables and the package it comes from."""

    def enter(fit: Fit) -> Fit:
        MODELS[name], TITLES[name], PACKAGES[name] = fit, title, package
        return fit

    return enter


def _output(table: Table, fitted: Any) -> Predict:
    if table.task == "regression":
        return lambda x: np.asarray(fitted.predict(x)).reshape(-1)
    return lambda x: np.asarray(fitted.predict_proba(x))


# ---- fastdense -------------------------------------------------------------------------------------------------------


def _fastdense(table: Table, seed: int, threads: int, **options: Any) -> tuple[Predict, Any]:
    from fastdense import tabular

    task = "regression" if table.task == "regression" else "classification"
    result = tabular.fit(
        table.x["train"], table.y["train"], task=task, metric=table.metric,
        validation=(table.x["val"], table.y["val"]), random_state=seed, n_threads=threads, **options,
    )  # fmt: skip
    notes = {name: value for name, value in result.report_.items() if name != "members"}
    notes |= {"trained": len(result.report_["members"]), "members": len(result.ensemble)}
    return result.predict if task == "regression" else result.predict_proba, notes


@model("fastdense", "fastdense", "fastdense")
def fastdense(table: Table, seed: int, threads: int) -> tuple[Predict, Any]:
    """The recipe as it is."""
    return _fastdense(table, seed, threads)


@model("fastdense_30s", "fastdense, 30 s", "fastdense")
def fastdense_30s(table: Table, seed: int, threads: int) -> tuple[Predict, Any]:
    """The recipe with half a minute for each table."""
    return _fastdense(table, seed, threads, time_limit=30.0)


# ---- boosted trees ---------------------------------------------------------------------------------------------------


@model("lightgbm", "LightGBM", "lightgbm")
def lightgbm(table: Table, seed: int, threads: int) -> tuple[Predict, Any]:
    """Up to 4000 trees at rate 0.05, early stopping after 100."""
    import lightgbm as lgb

    metric = {"rmse": "rmse", "auc": "auc", "accuracy": "multi_error"}[table.metric]
    kind = lgb.LGBMRegressor if table.task == "regression" else lgb.LGBMClassifier
    fitted = kind(n_estimators=4000, learning_rate=0.05, random_state=seed, n_jobs=threads, verbose=-1)
    fitted.fit(
        table.x["train"], table.y["train"], eval_set=[(table.x["val"], table.y["val"])], eval_metric=metric,
        callbacks=[lgb.early_stopping(100, first_metric_only=True, verbose=False)],
    )  # fmt: skip
    return _output(table, fitted), {"trees": int(fitted.best_iteration_)}


@model("catboost", "CatBoost", "catboost")
def catboost(table: Table, seed: int, threads: int) -> tuple[Predict, Any]:
    """Up to 4000 trees at the rate that it chooses itself, early stopping after 100."""
    import catboost as cb

    metric = {"rmse": "RMSE", "auc": "AUC", "accuracy": "Accuracy"}[table.metric]
    kind = cb.CatBoostRegressor if table.task == "regression" else cb.CatBoostClassifier
    fitted = kind(
        iterations=4000, early_stopping_rounds=100, eval_metric=metric, random_seed=seed, thread_count=threads,
        cat_features=table.categorical, verbose=False, allow_writing_files=False,
    )  # fmt: skip
    fitted.fit(table.x["train"], table.y["train"], eval_set=(table.x["val"], table.y["val"]))
    return _output(table, fitted), {"trees": int(fitted.tree_count_)}


@model("xgboost", "XGBoost", "xgboost")
def xgboost(table: Table, seed: int, threads: int) -> tuple[Predict, Any]:
    """Up to 4000 trees at rate 0.05, early stopping after 100."""
    import xgboost as xgb

    metric = {"rmse": "rmse", "auc": "auc", "accuracy": "merror"}[table.metric]
    kind = xgb.XGBRegressor if table.task == "regression" else xgb.XGBClassifier
    fitted = kind(
        n_estimators=4000, learning_rate=0.05, early_stopping_rounds=100, eval_metric=metric, random_state=seed,
        n_jobs=threads, enable_categorical=True, tree_method="hist",
    )  # fmt: skip
    fitted.fit(table.x["train"], table.y["train"], eval_set=[(table.x["val"], table.y["val"])], verbose=False)
    return _output(table, fitted), {"trees": int(fitted.best_iteration) + 1}


@model("hist_gb", "HistGradientBoosting", "sklearn")
def hist_gb(table: Table, seed: int, threads: int) -> tuple[Predict, Any]:
    """Up to 4000 trees at rate 0.05, early stopping after 100 by the metric."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    scoring = {"rmse": "neg_root_mean_squared_error", "auc": "roc_auc", "accuracy": "accuracy"}[table.metric]
    kind = HistGradientBoostingRegressor if table.task == "regression" else HistGradientBoostingClassifier
    fitted = kind(
        max_iter=4000, learning_rate=0.05, early_stopping=True, n_iter_no_change=100, scoring=scoring,
        categorical_features="from_dtype", random_state=seed,
    )  # fmt: skip
    with threadpool_limits(threads):
        fitted.fit(table.x["train"], table.y["train"], X_val=table.x["val"], y_val=table.y["val"])
    return _output(table, fitted), {"trees": int(fitted.n_iter_)}


# ---- nets ------------------------------------------------------------------------------------------------------------


def _medians(table: Table) -> Any:
    """The rows with the median of the training part where a number is missing."""
    medians = table.x["train"][table.numeric].median()
    return lambda x: x.fillna({name: medians[name] for name in table.numeric})


@model("sk_mlp", "scikit-learn MLP", "sklearn")
def sk_mlp(table: Table, seed: int, threads: int) -> tuple[Predict, Any]:
    """Its defaults behind standardised numbers (medians for missing ones), one-hot categories, standardised targets."""
    import warnings

    from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    from threadpoolctl import threadpool_limits

    columns = ColumnTransformer([
        ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), table.numeric),
        ("categories", OneHotEncoder(handle_unknown="ignore"), table.categorical),
    ], sparse_threshold=0.0)  # fmt: skip
    if table.task == "regression":
        net: Any = TransformedTargetRegressor(MLPRegressor(random_state=seed), transformer=StandardScaler())
    else:
        net = MLPClassifier(random_state=seed)
    fitted = make_pipeline(columns, net)
    with warnings.catch_warnings(), threadpool_limits(threads):
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted.fit(table.x["train"], table.y["train"])
    return _output(table, fitted), None


def _pytabkit(kind: str, table: Table, seed: int, threads: int, **options: Any) -> tuple[Predict, Any]:
    module: Any = importlib.import_module("pytabkit")
    name = f"{kind}_{'Regressor' if table.task == 'regression' else 'Classifier'}"
    filled = _medians(table)
    fitted = getattr(module, name)(device="cpu", random_state=seed, n_threads=threads, verbosity=0, **options)
    fitted.fit(
        filled(table.x["train"]), table.y["train"], X_val=filled(table.x["val"]), y_val=table.y["val"],
        cat_col_names=table.categorical,
    )  # fmt: skip
    predict = _output(table, fitted)
    return lambda x: predict(filled(x)), None


def _by_metric(table: Table) -> dict[str, Any]:
    """The metric, for libraries of pytabkit that choose an epoch by it."""
    return {"val_metric_name": "1-auc_ovr"} if table.metric == "auc" else {}


@model("realmlp_td", "RealMLP-TD", "pytabkit")
def realmlp_td(table: Table, seed: int, threads: int) -> tuple[Predict, Any]:
    """pytabkit's defaults, which choose the epoch by error or rmse."""
    return _pytabkit("RealMLP_TD", table, seed, threads)


@model("realmlp_td_metric", "RealMLP-TD, by metric", "pytabkit")
def realmlp_td_metric(table: Table, seed: int, threads: int) -> tuple[Predict, Any]:
    """The same, with the epoch chosen by auc, and without label smoothing, where the metric is auc."""
    return _pytabkit(
        "RealMLP_TD", table, seed, threads, **_by_metric(table), **({"use_ls": False} if _by_metric(table) else {})
    )


@model("tabm", "TabM", "pytabkit")
def tabm(table: Table, seed: int, threads: int) -> tuple[Predict, Any]:
    """pytabkit's TabM-D."""
    return _pytabkit("TabM_D", table, seed, threads, **_by_metric(table))
