"""Users of a model of plays: each fitted to the items' rows, exactly, with or without one play."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from openfl.learning.factorization.users import fit_users
from openfl.learning.implicit.charter import ImplicitParameters
from openfl.learning.ridge import Matrix, SparseMatrix, normal_equations

AT_A_TIME = 1_000_000
"""Plays that are looked at together."""


def fit_to_plays(
    plays: SparseMatrix, rows: Matrix, gram_of_all: Matrix, alpha: float, ridge: Matrix
) -> Matrix:
    """float64[m, k]: the exact p of each of m users.

    plays: csr[m, n]. rows: float64[n, k], of the items in `plays`. gram_of_all: float64[k, k], the
    sum of q q^T over all items there are. ridge: float64[m].
    """
    extra, confidence = weights(plays, alpha)
    return fit_users(extra, confidence, rows, np.zeros(len(rows)), ridge[:, None], gram_of_all)


def pull_of_plays(
    extra: SparseMatrix, confidence: SparseMatrix, users: Matrix, rows: Matrix
) -> Matrix:
    """float64[n, k]: of each item the sum over its plays of (c_uj - (c_uj - 1) p_u . q_j) p_u.

    extra, confidence: csr[m, n] of `weights`. users, rows: float64[m, k] and float64[n, k], the p_u
    and q_j. Each play is looked at once: unlike the users' fits this needs no matrix an item.
    """
    dtype = extra.dtype
    users, rows = users.astype(dtype), rows.astype(dtype)
    of = np.repeat(np.arange(extra.shape[0]), np.diff(extra.indptr))
    data = np.empty_like(extra.data)
    for start in range(0, len(data), AT_A_TIME):
        part = slice(start, start + AT_A_TIME)
        felt = np.einsum(
            "nk,nk->n", users.take(of[part], axis=0), rows.take(extra.indices[part], axis=0)
        )
        data[part] = confidence.data[part] - extra.data[part] * felt
    left = sp.csr_array((data, extra.indices, extra.indptr), shape=extra.shape)
    return np.asarray(left.T @ users, dtype=np.float64)


def fit_without(
    plays: SparseMatrix,
    user: NDArray[np.intp],
    item: NDArray[np.intp],
    strength: Matrix,
    rows: Matrix,
    gram_of_all: Matrix,
    parameters: ImplicitParameters,
) -> Matrix:
    """float64[n, k]: the exact p of `user[n]` had that user never played `item[n]`, which `plays`
    says was played `strength[n]` times (0: not at all); other arguments as for `fit_to_plays`. The
    weight, the target and the ridge of that play are taken out of the normal equations of all."""
    users, place = np.unique(user, return_inverse=True)
    theirs = plays[users]
    used = np.unique(theirs.indices)
    gram, moment = weighted_equations(theirs[:, used], rows[used], parameters.alpha)
    gram += gram_of_all
    total = np.asarray(theirs.sum(axis=1), dtype=np.float64)
    extra = parameters.alpha * strength
    features = rows[item]
    left = gram[place]
    left -= np.einsum("n,na,nb->nab", extra, features, features)
    np.einsum("nii->ni", left)[...] += parameters.ridge(total[place] - strength)[:, None]
    wanted = moment[place] - np.where(strength > 0, 1 + extra, 0.0)[:, None] * features
    return np.asarray(np.linalg.solve(left, wanted[:, :, None])[:, :, 0], dtype=np.float64)


def weighted_equations(
    plays: SparseMatrix, features: Matrix, alpha: float
) -> tuple[Matrix, Matrix]:
    """(sum of (c - 1) f f^T, sum of c f) over the plays of each row."""
    extra, confidence = weights(plays, alpha)
    return normal_equations(extra, confidence, features, np.zeros(len(features)))


def weights(
    plays: SparseMatrix, alpha: float, dtype: type[np.floating] = np.float64
) -> tuple[SparseMatrix, SparseMatrix]:
    """(c - 1, c) of each play: what it says more than no play does, and what it says."""
    extra = (alpha * plays.data).astype(dtype)
    return _like(plays, extra), _like(plays, extra + 1)


def _like(plays: SparseMatrix, data: NDArray[np.floating]) -> SparseMatrix:
    return sp.csr_array((data, plays.indices, plays.indptr), shape=plays.shape)
