"""What is computed with NumPy's BLAS in parts, so that Ctrl-C is noticed: the same numbers as in one call."""

from __future__ import annotations

import numpy as np
import pytest

from fastdense.engine import blas


@pytest.mark.parametrize("rows, columns", [(1, 1), (5, 1), (7, 7), (300, 40), (129, 128), (300, 300), (260, 129)])
def test_a_qr_decomposition_by_blocks_is_the_one_of_lapack(
    rows: int, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = np.random.default_rng(rows).normal(size=(rows, columns))
    q, r = np.linalg.qr(a)
    monkeypatch.setattr(blas, "FLOPS", 1e5)  # all but the smallest by blocks, and products by parts
    by_blocks, diagonal = blas.qr(a)
    # Householder's method is backward stable: a few roundings for each column (Higham, 2002, theorem 19.4).
    tolerance = 10 * columns * np.finfo(float).eps
    np.testing.assert_allclose(by_blocks.T @ by_blocks, np.eye(columns), atol=tolerance)
    np.testing.assert_allclose(by_blocks @ (q.T @ a), a, atol=tolerance * np.abs(a).max())
    # Q's columns are determined up to signs; their error grows with the condition of `a`.
    condition = np.linalg.cond(a)
    np.testing.assert_allclose(by_blocks * np.sign(diagonal), q * np.sign(np.diagonal(r)), atol=tolerance * condition)
    np.testing.assert_allclose(np.abs(diagonal), np.abs(np.diagonal(r)), atol=tolerance * np.abs(r).max() * condition)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_product_by_parts_is_the_product(dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(size=(20, 30)).astype(dtype), random.normal(size=(30, 47)).astype(dtype)
    for flops in (1, 5_000, 1e9):  # a column, four columns, everything at once
        monkeypatch.setattr(blas, "FLOPS", flops)
        made = blas.product(a, b)
        assert made.dtype == dtype
        np.testing.assert_allclose(made, a @ b, rtol=0, atol=30 * np.finfo(dtype).eps * 30)
