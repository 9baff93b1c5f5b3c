"""Many small ridge regressions at once: the arithmetic of both sides of the factorization.

Users and items play the same part: each fits its ratings by `offset + constant + factors`.
`normal_sums` gathers, for all of them in one sparse product, what such a fit needs, and
`solve_sums` solves all of them together; neither walks over ratings or users in Python.

The symmetric matrix of a fit is kept as its upper triangle, row after row, until it is needed.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Numbers = NDArray[np.floating]
SparseMatrix = Any
"""scipy.sparse csr_array or csc_array; SciPy has no types."""

SAFE_RIDGE = 0.5
"""Least ridge with which sums may be gathered in single precision. Of a hundred thousand ratings of
one item their error is then a thousandth of the ridge; with far less ridge it would decide."""
MAX_TOGETHER = 12
"""Widest systems that are solved many at a time; of wider ones each has work enough for LAPACK."""
FEW = 200
"""So few systems cost more to lay out side by side than to solve one by one."""
BLOCK_CELLS = 100_000
"""Numbers in one block of systems that are solved side by side: 0.8 MB, within a core's cache."""


def with_constant(factors: Matrix) -> Matrix:
    """float64[n, k + 1]: `factors` with a last column of ones, the feature of a bias."""
    features = np.ones((factors.shape[0], factors.shape[1] + 1))
    features[:, :-1] = factors
    return features


def normal_sums(
    pattern: SparseMatrix, values: SparseMatrix, features: Numbers, offsets: Numbers
) -> tuple[Numbers, Numbers]:
    """For every row r of a sparse [m, n] matrix of ratings, with j over its stored columns:

    (upper triangle of sum_j w_rj f_j f_j^T, [m, d (d + 1) / 2]; sum_j (v_rj - w_rj offsets_j) f_j,
    [m, d]), in the precision of `pattern`.

    pattern, values: the same sparsity, weights w and ratings v. features: [n, d]. offsets: [n]. The
    symmetric products are formed once for each column and summed by a sparse product, which costs
    d(d + 5)/2 multiplications a rating.
    """
    count, width = features.shape
    features = features.astype(pattern.dtype, copy=False)
    triangle = width * (width + 1) // 2
    products = np.empty((count, triangle + width), dtype=pattern.dtype)
    start = 0
    for column in range(width):
        end = start + width - column
        np.multiply(
            features[:, column : column + 1], features[:, column:], out=products[:, start:end]
        )
        start = end
    np.multiply(
        offsets[:, None].astype(pattern.dtype, copy=False), features, out=products[:, triangle:]
    )
    sums = pattern @ products
    return sums[:, :triangle], (values @ features) - sums[:, triangle:]


def normal_equations(
    pattern: SparseMatrix, values: SparseMatrix, features: Numbers, offsets: Numbers
) -> tuple[Matrix, Matrix]:
    """`normal_sums` with whole matrices: (float64[m, d, d], float64[m, d])."""
    triangle, moment = normal_sums(pattern, values, features, offsets)
    return squares(triangle, features.shape[1]), moment.astype(np.float64)


def squares(triangle: Numbers, width: int) -> Matrix:
    """float64[m, d, d]: the symmetric matrices with the upper triangles [m, d (d + 1) / 2]."""
    whole = triangle.take(_square_of_triangle(width), axis=1).reshape(-1, width, width)
    return np.asarray(whole, dtype=np.float64)


def diagonal_of(triangle: Numbers) -> Numbers:
    """[m, d]: the diagonals of the symmetric matrices with these upper triangles."""
    return triangle.take(_of_diagonal(triangle.shape[1]), axis=1)


def last_column_of(triangle: Numbers) -> Numbers:
    """[m, d]: their last columns."""
    return triangle.take(_of_last_column(triangle.shape[1]), axis=1)


def products_with(triangle: Numbers, vectors: Numbers) -> Numbers:
    """[m, d]: each symmetric matrix, [m, d (d + 1) / 2], times its vector, [m, d], in the precision
    of the matrices."""
    width = vectors.shape[1]
    whole = triangle.take(_square_of_triangle(width), axis=1).reshape(-1, width, width)
    found: Numbers = np.einsum("mab,mb->ma", whole, vectors.astype(triangle.dtype, copy=False))
    return found


@lru_cache
def _of_diagonal(cells: int) -> NDArray[np.intp]:
    return np.cumsum([0, *range(_width(cells), 1, -1)])


@lru_cache
def _of_last_column(cells: int) -> NDArray[np.intp]:
    return np.cumsum(range(_width(cells), 0, -1)) - 1


def _width(cells: int) -> int:
    """Of a symmetric matrix with so many cells in its upper triangle."""
    return (math.isqrt(8 * cells + 1) - 1) // 2


@lru_cache
def _square_of_triangle(width: int) -> NDArray[np.intp]:
    """intp[width * width]: where each entry of a symmetric matrix stands in its upper triangle."""
    square = np.empty((width, width), dtype=np.intp)
    upper, lower = np.triu_indices(width)
    square[upper, lower] = square[lower, upper] = np.arange(len(upper))
    return square.ravel()


def times_ridge(vectors: Matrix, ridge: Matrix, shape: Matrix | None) -> Matrix:
    """float64[m, d]: R_r times each vector, [m, d]. R_r = diag(ridge_r), ridge: float64[m, d]; or
    with a `shape`, float64[d, d], diag(root of ridge_r) shape diag(root of ridge_r)."""
    if shape is None:
        return ridge * vectors
    root = np.sqrt(ridge)
    found: Matrix = root * ((root * vectors) @ shape)
    return found


def add_ridge(systems: Matrix, ridge: Matrix, shape: Matrix | None) -> None:
    """Add the R_r of `times_ridge` to each of `systems`, float64[m, d, d]."""
    if shape is None:
        np.einsum("mii->mi", systems)[...] += ridge
    else:
        root = np.sqrt(ridge)
        systems += shape * root[:, :, None] * root[:, None, :]


def solve_sums(
    triangle: Numbers,
    moment: Numbers,
    ridge: Matrix,
    common: Matrix | None = None,
    shape: Matrix | None = None,
) -> Matrix:
    """float64[m, d]: x of (T_r + common + R_r) x = moment_r, in double precision.

    triangle: [m, d (d + 1) / 2], the upper triangles of T_r, positive semidefinite, as is common:
    float64[d, d]. moment: [m, d]. ridge: float64[m, d], above 0, and shape: positive definite, as
    for `times_ridge`.

    By elimination without pivots, which positive definite matrices need not (Golub & Van Loan,
    4.2), of a block of systems side by side: NumPy's own solver calls LAPACK once a system.
    """
    count, width = moment.shape
    if width > MAX_TOGETHER or count < FEW:
        gram = squares(triangle, width)
        if common is not None:
            gram += common
        add_ridge(gram, ridge, shape)
        right = moment.astype(np.float64)[:, :, None]
        return np.asarray(np.linalg.solve(gram, right)[:, :, 0], dtype=np.float64)
    solved = np.empty((count, width))
    square = _square_of_triangle(width)
    step = BLOCK_CELLS // width**2
    for start in range(0, count, step):
        part = slice(start, start + step)
        upper = np.ascontiguousarray(triangle[part].T, dtype=np.float64)
        systems = upper.take(square, axis=0).reshape(width, width, -1)
        if common is not None:
            systems += common[:, :, None]
        if shape is None:
            np.einsum("iim->im", systems)[...] += ridge[part].T
        else:
            root = np.sqrt(ridge[part].T)
            for row, line, held in zip(systems, shape, root, strict=True):
                row += line[:, None] * (held * root)
        right = np.array(moment[part].T, dtype=np.float64, order="C")  # a copy, to be overwritten
        solved[part] = _eliminated(systems, right).T
    return solved


def _eliminated(systems: Matrix, right: Matrix) -> Matrix:
    """float64[d, m]: the solutions, which take the place of `right`. systems: float64[d, d, m]."""
    width = len(right)
    for n in range(width - 1):
        part = systems[n + 1 :, n] / systems[n, n]
        systems[n + 1 :, n + 1 :] -= part[:, None] * systems[n, n + 1 :]
        right[n + 1 :] -= part * right[n]
    for n in reversed(range(width)):
        if n + 1 < width:
            right[n] -= np.einsum("im,im->m", systems[n, n + 1 :], right[n + 1 :])
        right[n] /= systems[n, n]
    return right


def sparse_pair(
    rows: NDArray[np.integer],
    columns: NDArray[np.integer],
    values: Numbers,
    shape: tuple[int, int],
    dtype: type[np.floating] = np.float64,
) -> tuple[SparseMatrix, SparseMatrix]:
    """Two CSR matrices of one sparsity pattern: ones, and `values`, in each row in the order given.

    A pair that occurs twice (two items of one key) stays two entries, as it should.
    """
    if bool((rows[1:] >= rows[:-1]).all()):  # as files of ratings often are
        indptr = np.zeros(shape[0] + 1, dtype=np.int32)
        np.cumsum(np.bincount(rows, minlength=shape[0]), out=indptr[1:])
    else:
        order, indptr = _counting_sort(rows, shape[0])
        columns, values = columns[order], values[order]
    # Both may share the columns, which nobody changes, but not what they were made of.
    indices = columns.astype(np.int32)
    ones = sp.csr_array((np.ones(len(indices), dtype), indices, indptr), shape=shape)
    return ones, sp.csr_array((values.astype(dtype), indices, indptr), shape=shape)


def _counting_sort(
    digits: NDArray[np.integer], limit: int
) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """(the stable order of n digits below `limit`, [n]; where each starts in it, [limit + 1]).

    SciPy turns the matrix with one entry in each row into one by column just so: in linear time.
    """
    count = len(digits)
    ones = np.ones(count, dtype=np.int8)
    digit_of = digits.astype(np.int32, copy=False)
    starts = np.arange(count + 1, dtype=np.int32)
    sorted_ = sp.csr_array((ones, digit_of, starts), shape=(count, limit)).tocsc()
    return sorted_.indices, sorted_.indptr
