"""What a user is expected to like because of *which* items they rated, whatever they gave them.

People rate what they chose to meet, so the choice alone says something of their taste. As in SVD++
(Koren 2008, "Factorization Meets the Neighborhood") a user's vector is not held near 0 but near

    n_u = s_u M,    s_u = |N(u)|^-0.8 * sum of q_j over the items N(u) that u rated.

SVD++ gives every item a second vector z_j for this, which doubles what is learned and sent. Here
z_j = q_j M, with one small matrix M [k, k + 1] for the whole group, the table `user_prior`: k rows
more a member, and on the data tried more accurate (docs/decisions). Half the negative gradient of a
user's squared error, prior included, at n_u is r_u = ridge_u (p_u - n_u), so a step adds

    to an item's factors:   sum over its users of |N(u)|^-0.8 M r_u
    at M:                   sum over all users of s_u r_u^T

both of its node's own users alone, in the step in which the items are taught. Where nothing moves
any more the group is at the optimum of the same model trained in one place.

Items that the group knows nothing of yet count in |N(u)|, and as q_j = 0 in the sum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from openfl.core.contribution import MAX_EVIDENCE, Keys, ModelView, RowBlock, TableSchema
from openfl.learning.factorization.item_rows import learned_rows
from openfl.learning.proposals import newton_step
from openfl.learning.rating.user_fits import UserFits
from openfl.learning.ridge import Matrix, SparseMatrix, times_ridge

USER_PRIOR = "user_prior"
"""The table of M: row a is what one unit of s_u[a] adds to a user's [p_u, b_u]."""
RATED_POWER = 0.8
"""Between a mean (1) and what SVD++ has (0.5): the more somebody rated, the more it says."""
AT_ONCE = 2.0
"""How much shorter the steps of M are because the items' rows move in the same step."""
TOGETHER = 4.0
"""The same of the items' rows, which also move with one another. With half of both a group swings
between two models for ever."""
MIN_MAP_CURVATURE = 0.01
"""Least curvature claimed for M, for while s_u is near 0."""


def map_keys(factors: int) -> Keys:
    """uint64[factors]: the keys of all rows of M."""
    return np.arange(factors, dtype=np.uint64)


def rated_weights(pattern: SparseMatrix) -> SparseMatrix:
    """csr[m, n]: |N(u)|^-0.8 at each item that user u has an entry of in `pattern`, csr[m, n]."""
    counts = np.diff(pattern.indptr)
    weights = np.repeat(np.maximum(counts, 1.0) ** -RATED_POWER, counts)
    return sp.csr_array((weights, pattern.indices, pattern.indptr), shape=pattern.shape)


def prior_means(model: ModelView, weights: SparseMatrix, rows: Matrix) -> Matrix:
    """float64[m, k + 1]: n_u of each user. weights: of `rated_weights`; rows: float64[n, k + 1], of
    its items, 0 where nothing is known."""
    means: Matrix = (weights @ rows[:, :-1]) @ _map(model, rows.shape[1] - 1)
    return means


def item_means(model: ModelView, weights: Matrix, rows: Matrix) -> Matrix:
    """float64[n, k + 1]: what each of the items that one user rated adds to n_u; their sum is what
    `prior_means` says. weights: float64[n], of `rated_weights`; rows: as there."""
    means: Matrix = (weights[:, None] * rows[:, :-1]) @ _map(model, rows.shape[1] - 1)
    return means


def _map(model: ModelView, factors: int) -> Matrix:
    return learned_rows(model, USER_PRIOR, map_keys(factors))


@dataclass(frozen=True, slots=True)
class PriorStep:
    """What a local step adds because of the users' prior. gradient: float64[n, k], to that of the
    items' factors; curvature: float64[k], to the mean over ratings; block: proposals for M, None
    when there is nothing to say."""

    gradient: Matrix
    curvature: NDArray[np.float64]
    block: RowBlock | None


class UserPrior:
    """The users' prior on one node's training ratings."""

    def __init__(
        self,
        schema: TableSchema,
        pattern: SparseMatrix,
        ridge: Matrix,
        fits: UserFits,
        publish: bool,
    ) -> None:
        """schema: of the table; pattern: csr[users, items], ones; ridge: float64[users, k + 1];
        fits: of the same users, who know sums over their items. Without `publish` nothing is
        proposed for M: of one user it would be that user."""
        self._schema = schema
        self._by_item = pattern.T
        self._fits = fits
        self._ridge = ridge
        self._publish = publish
        self._counts = np.diff(pattern.indptr).astype(np.float64)
        self._weight = np.maximum(self._counts, 1.0)[:, None] ** -RATED_POWER

    def means(self, model: ModelView, rows: Matrix) -> Matrix:
        """See `prior_means`."""
        found: Matrix = self.seen(rows) @ _map(model, rows.shape[1] - 1)
        return found

    def step(
        self, model: ModelView, rows: Matrix, users: Matrix, shape: Matrix | None = None
    ) -> PriorStep:
        """rows: float64[items, k + 1], 0 where nothing is known; users: float64[users, k + 1],
        fitted to them and `means`. shape: of the ridge, with a bias that stands alone."""
        seen = self.seen(rows)
        matrix = _map(model, rows.shape[1] - 1)
        pull = times_ridge(users - seen @ matrix, self._ridge, shape)
        # A user's error in n_u has the curvature R - R (gram + R)^-1 R, whose diagonal is at most
        # this, of the diagonals of both.
        gram = np.column_stack((self._fits.totals(rows)[:, rows.shape[1] - 1 :], self._counts))
        ridge = self._ridge if shape is None else self._ridge * np.diag(shape)
        curvature = gram * ridge / (gram + ridge)
        # Moved together, the |N(u)| items of u move n_u by |N(u)|^0.2 times as much as one row.
        share = self._counts * np.maximum(self._counts, 1.0) ** (1 - 2 * RATED_POWER)
        together = share @ curvature / self._counts.sum()
        pulled = (self._weight * (pull @ matrix.T)).astype(self._by_item.dtype)
        return PriorStep(
            self._by_item @ pulled,
            TOGETHER * (matrix**2 @ together),
            self._block(seen, matrix, pull, curvature) if self._publish else None,
        )

    def _block(
        self, seen: Matrix, matrix: Matrix, pull: Matrix, curvature: Matrix
    ) -> RowBlock | None:
        users = int(np.count_nonzero(self._counts))
        # No direction of s_u has more than all of its square: so no step is too long.
        length = float((seen**2).sum()) / users
        if not length:
            return None
        per_user = np.maximum(AT_ONCE * length * curvature.sum(axis=0) / users, MIN_MAP_CURVATURE)
        evidence = np.full(len(matrix), min(users, MAX_EVIDENCE), dtype=np.float32)
        return newton_step(
            self._schema,
            map_keys(len(matrix)),
            matrix,
            seen.T @ pull,
            evidence,
            per_user.astype(np.float32),
        )

    def sensitivity(
        self,
        inverse: Matrix,
        features: Matrix,
        of: NDArray[np.integer],
        shape: Matrix | None = None,
    ) -> Matrix:
        """float64[n, k + 1]: by how much more is predicted for a rating by user of[n], of an item
        with the features [q_j, 1], float64[n, k + 1], for each unit that n_u is higher, p_u being
        fitted anew. inverse: float64[users, k + 1, k + 1], of (gram + ridge); shape: of that."""
        fitted: Matrix = np.einsum("nab,nb->na", inverse[of], features)
        return times_ridge(fitted, self._ridge[of], shape)

    def seen(self, rows: Matrix) -> Matrix:
        """float64[users, k]: s_u."""
        found: Matrix = self._weight * self._fits.totals(rows)[:, : rows.shape[1] - 1]
        return found

    def without_own(
        self, model: ModelView, rows: Matrix, of: NDArray[np.integer], items: NDArray[np.integer]
    ) -> Matrix:
        """float64[n, k + 1]: by how much n_u is higher than it would be if user of[n] had not rated
        items[n]."""
        counts, seen = self._counts[of][:, None], self.seen(rows)[of]
        rest = seen * counts**RATED_POWER - rows[items, :-1]
        without = rest * np.maximum(counts - 1, 1.0) ** -RATED_POWER
        without[counts[:, 0] == 1] = 0.0
        found: Matrix = (seen - without) @ _map(model, rows.shape[1] - 1)
        return found
