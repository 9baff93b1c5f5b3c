"""Where training alone starts from: the strongest directions of the ratings, found at once.

From seeded values a model takes some rounds to find the directions in which items differ. Alone,
where nobody else has to go the same way, they can be had for the price of one round: the items'
biases, and of what these and the users' leave of each rating, as a sparse matrix, the leading
singular vectors, by subspace iteration (Halko, Martinsson and Tropp 2011, "Finding structure with
randomness", algorithm 4.4). Rows and columns are divided by the root of how many ratings they have,
or the few that rate everything would be all there is to see. How long vectors are is a guess, which
the first exact steps correct.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from openfl.learning.ridge import Matrix, SparseMatrix

PASSES = 5
STRONGEST = 0.15
"""Mean square of the items' factors along the strongest direction, over all ratings. From twice and
half of it the course of the training is the same from the second round on."""
WEAKEST = 0.05
"""No direction starts at less than this part of that: one that starts at 0 never grows."""
FEW = 5.0
"""Added to the number of ratings that a row or column is divided by the root of."""


def spectral_rows(
    targets: SparseMatrix, mean: float, bias_prior: float, start: Matrix
) -> Matrix | None:
    """float64[items, k + 1]: [q_j, b_j] to start from; None when there is too little to be told.

    targets: csr[users, items], ratings; mean: of them; bias_prior: the ridge of biases. start:
    float64[items, k], where the iteration starts, of full rank.
    """
    count, factors = start.shape
    if min(targets.shape) < 2 * factors:
        return None
    per_user = np.diff(targets.indptr)
    left = targets.data - targets.dtype.type(mean)
    by_item = np.bincount(targets.indices, weights=left, minlength=count)
    per_item = np.bincount(targets.indices, minlength=count)
    biases = by_item / (per_item + bias_prior)
    left -= biases.astype(left.dtype)[targets.indices]
    residual = sp.csr_array((left, targets.indices, targets.indptr), shape=targets.shape)
    of_users = residual @ np.ones(count, dtype=left.dtype) / (per_user + bias_prior)
    residual.data -= np.repeat(of_users.astype(left.dtype), per_user)

    users, items = _weights(per_user, left.dtype), _weights(per_item, left.dtype)
    by_user = residual.T
    directions = start
    for _ in range(PASSES):
        seen = users**2 * (residual @ (items * directions).astype(left.dtype))
        directions = np.linalg.qr((items * (by_user @ seen)).astype(np.float64))[0]
    seen = (users * (residual @ (items * directions).astype(left.dtype))).astype(np.float64)
    strength, turned = np.linalg.eigh(seen.T @ seen)
    if not strength[-1] > 0:
        return None
    found = items * (directions @ turned)
    length = np.sqrt((per_item @ found**2) / per_item.sum())
    part = np.maximum(np.sqrt(np.maximum(strength, 0.0) / strength[-1]), WEAKEST)
    rows = np.empty((count, factors + 1))
    rows[:, :-1] = found * np.sqrt(STRONGEST * part) / length
    rows[:, -1] = biases
    return rows


def _weights(counts: NDArray[np.integer], dtype: np.dtype) -> NDArray[np.floating]:
    weights: NDArray[np.floating] = (1.0 / np.sqrt(counts + FEW)).astype(dtype)
    return weights[:, None]
