"""Users of a factorization: fitted to the items' rows, exactly, and kept from one run to the next.

Nothing of this ever leaves the node.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from openfl.learning.ridge import (
    Matrix,
    SparseMatrix,
    normal_sums,
    solve_sums,
    times_ridge,
)

PrivateState = Mapping[str, NDArray[np.generic]]


def fit_users(
    weights: SparseMatrix,
    targets: SparseMatrix,
    features: Matrix,
    offsets: Matrix,
    ridge: Matrix,
    common: Matrix | None = None,
    centre: Matrix | None = None,
    shape: Matrix | None = None,
) -> Matrix:
    """float64[m, d]: the exact vectors p of m users, given what they did with n items.

    Of each user u the solution of (sum_j w_uj f_j f_j^T + common + R_u) p = sum_j (t_uj - w_uj
    o_j) f_j + R_u c_u, over the items j that u has an entry of: with weights of 1 the ridge fit to
    ratings t.

    weights, targets: csr[m, n] of the same sparsity. features, offsets: float64[n, d] and
    float64[n], of the items. ridge: float64[m, d] or [m, 1], above 0, and shape: float64[d, d],
    make the matrix R_u (see `openfl.learning.ridge.times_ridge`). common: float64[d, d], added for
    everybody. centre: float64[m, d], what each p is held near, if not near 0.
    """
    triangle, moment = normal_sums(weights, targets, features, offsets)
    ridge = np.broadcast_to(ridge, moment.shape)
    if centre is not None:
        moment = moment + times_ridge(centre, ridge, shape)
    return solve_sums(triangle, moment, ridge, common, shape)


def one_user(given: NDArray[np.float64]) -> SparseMatrix:
    """csr[1, n]: a user who gave, or played, each of n items so much; zeros are kept."""
    count = len(given)
    return sp.csr_array((given, np.arange(count), [0, count]), shape=(1, count))


def saved_users(factors: Matrix, keys: NDArray[np.uint64]) -> PrivateState:
    """The vectors of the users, and whose they are: `keys[n]` are hashes of their ids."""
    return {"user_factors": factors.astype(np.float32), "user_keys": keys}


def restored_users(state: PrivateState, keys: NDArray[np.uint64], shape: tuple[int, ...]) -> Matrix:
    """The vectors that `saved_users` put into `state`; ValueError when it is of other users
    or another width."""
    factors, saved_keys = state.get("user_factors"), state.get("user_keys")
    if factors is None or saved_keys is None:
        raise ValueError("saved private state lacks user_factors or user_keys")
    if factors.shape != shape or not np.array_equal(saved_keys, keys):
        raise ValueError("saved private state is not of these users")
    restored = factors.astype(np.float64)
    if not bool(np.isfinite(restored).all()):
        raise ValueError("saved private state has values that are not finite")
    return restored
