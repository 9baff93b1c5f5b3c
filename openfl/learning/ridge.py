"""Many small ridge regressions at once: the arithmetic of both sides of the factorization.

Users and items play the same part: each fits its ratings by `offset + constant + factors`.
`normal_equations` gathers, for all of them in one sparse product, what such a fit needs; neither
the fit of the users nor the gradient of the items ever walks over ratings in Python.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
SparseMatrix = Any
"""scipy.sparse csr_array or csc_array; SciPy has no types."""


def with_constant(factors: Matrix) -> Matrix:
    """float64[n, k + 1]: `factors` with a last column of ones, the feature of a bias."""
    features = np.ones((factors.shape[0], factors.shape[1] + 1))
    features[:, :-1] = factors
    return features


def normal_equations(
    pattern: SparseMatrix, values: SparseMatrix, features: Matrix, offsets: Matrix
) -> tuple[Matrix, Matrix]:
    """For every row r of a sparse [m, n] matrix of ratings, with j over its stored columns:

    gram[r] = sum_j f_j f_j^T, float64[m, d, d]; moment[r] = sum_j (v_rj - offsets_j) f_j,
    float64[m, d].

    pattern, values: the same sparsity, ones and ratings. features: float64[n, d]. offsets:
    float64[n]. The symmetric products are formed once for each column and summed by a sparse
    product, which costs d(d + 3)/2 multiplications a rating.
    """
    count, width = features.shape
    triangle = width * (width + 1) // 2
    products = np.empty((count, triangle + width))
    start = 0
    for column in range(width):
        end = start + width - column
        np.multiply(
            features[:, column : column + 1], features[:, column:], out=products[:, start:end]
        )
        start = end
    np.multiply(offsets[:, None], features, out=products[:, triangle:])
    sums = pattern @ products
    gram = sums.take(_square_of_triangle(width), axis=1).reshape(-1, width, width)
    moment = (values @ features) - sums[:, triangle:]
    return gram, moment


@lru_cache
def _square_of_triangle(width: int) -> NDArray[np.intp]:
    """intp[width * width]: where each entry of a symmetric matrix stands in its upper triangle."""
    square = np.empty((width, width), dtype=np.intp)
    upper, lower = np.triu_indices(width)
    square[upper, lower] = square[lower, upper] = np.arange(len(upper))
    return square.ravel()


def solve_ridge(gram: Matrix, moment: Matrix, ridge: Matrix) -> Matrix:
    """float64[m, d]: argmin of each row's squared error plus `ridge` (float64[m, d], > 0)."""
    damped = gram.copy()
    np.einsum("mii->mi", damped)[...] += ridge
    return np.asarray(np.linalg.solve(damped, moment[:, :, None])[:, :, 0], dtype=np.float64)


def sparse_pair(
    rows: NDArray[np.integer],
    columns: NDArray[np.integer],
    values: NDArray[np.float64],
    shape: tuple[int, int],
) -> tuple[SparseMatrix, SparseMatrix]:
    """Two CSR matrices of one sparsity pattern: ones, and `values`.

    A pair that occurs twice (two items of one key) stays two entries, as it should.
    """
    order = np.lexsort((columns, rows))
    indptr = np.zeros(shape[0] + 1, dtype=np.int32)
    np.cumsum(np.bincount(rows, minlength=shape[0]), out=indptr[1:])
    indices = columns[order]
    ones = sp.csr_array((np.ones(len(order)), indices, indptr), shape=shape)
    return ones, sp.csr_array((values[order], indices, indptr), shape=shape)
