"""What single members do to a node's own ratings, for `MatrixFactorization.loss_changes`.

A rating's error is e = v - mean - b_u - [p_u, 1] . y. In a counterfactual its row differs by c and
the mean by m, so its squared error changes by w^2 - 2 e w, with w = m + [p_u, 1] . c. All w, of
every rating in every counterfactual, are one sparse product: a rating touches one row. Users
keep the factors fitted to the common model, and what is expected of them by the items they rated.

Only where the matrix of that expectation differs, by C, their factors follow: w grows by that of
their fit, ([p_u, 1] . y is linear in n_u) times s_u C. Otherwise nobody would notice who spoils it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from openfl.core.contribution import ChangedRows, Floats, Keys
from openfl.learning.rating.charter import ITEMS, MEAN, MEAN_KEYS
from openfl.learning.rating.user_prior import USER_PRIOR, map_keys
from openfl.learning.ridge import Matrix, SparseMatrix
from openfl.learning.task import Counterfactuals

MAX_JUDGED = 20_000
"""Most ratings that are judged by, spread evenly over all: more do not change a verdict."""


@dataclass(frozen=True, slots=True)
class OwnRatings:
    """The ratings that are judged by, by item. users: intp[n], where each rating's user stands
    in the arrays of `loss_changes`; rows: intp[n], where its item stands in `items`: intp[m],
    ascending, which items are judged by; values: float64[n] in the model's units."""

    users: NDArray[np.intp]
    rows: NDArray[np.intp]
    items: NDArray[np.intp]
    values: NDArray[np.float64]

    @classmethod
    def some_of(
        cls,
        users: NDArray[np.int32],
        rows: NDArray[np.int32],
        values: NDArray[np.float64],
        positions: NDArray[np.intp],
    ) -> OwnRatings:
        """Of the ratings at `positions` (intp[n]) at most `MAX_JUDGED`."""
        step = -(-len(positions) // MAX_JUDGED)
        chosen = positions[:: max(step, 1)]
        # By item, so that what is needed of a row is read once.
        chosen = chosen[np.argsort(rows[chosen], kind="stable")]
        items, place = np.unique(rows[chosen], return_inverse=True)
        return cls(
            users[chosen].astype(np.intp),
            place.astype(np.intp),
            items.astype(np.intp),
            values[chosen],
        )


@dataclass(frozen=True, slots=True)
class FeltPrior:
    """The users' prior where it is felt. seen: float64[users, k], s_u; felt: float64[n, width], by
    how much more is predicted for each rating for every unit its user's n_u is higher."""

    seen: Matrix
    felt: Matrix


def loss_changes(
    own: OwnRatings,
    keys: Keys,
    rows: Matrix,
    mean: float,
    known_mean: float,
    fitted: Matrix,
    parts: Iterable[Counterfactuals],
    prior: FeltPrior | None = None,
) -> Iterator[Floats]:
    """float32[n, counterfactuals] for each part. keys: uint64[m], ascending, of `rows`:
    float64[m, width], the common model's, of `own.items`; known_mean: its mean, 0 while it has
    none; fitted: float64[users, width], [p_u, b_u] by it; prior: if the group has one of users.
    """
    count, width = rows.shape
    # Single precision: differences are small, and it halves the time.
    features = np.ones((len(own.users), width), dtype=np.float32)
    features[:, :-1] = fitted[own.users, :-1]
    error = own.values - mean - fitted[own.users, -1]
    error -= np.einsum("nk,nk->n", features, rows[own.rows])
    twice = (2 * error).astype(np.float32)[:, None]
    columns = own.rows[:, None] * width + np.arange(width)
    starts = np.arange(len(own.users) + 1) * width
    by_row = sp.csr_array(
        (features.ravel(), columns.ravel(), starts), shape=(len(own.users), count * width)
    )
    by_user: SparseMatrix = None if prior is None else _by_user(own, prior)
    for part in parts:
        differs = np.zeros((count, width, part.count), dtype=np.float32)
        found = part.changed(ITEMS, keys)
        differs[found.row, :, found.counterfactual] = found.change
        shift = by_row @ differs.reshape(count * width, part.count)
        if prior is not None:
            shift += by_user @ _expectation_changes(part, prior.seen)
        shift += _mean_changes(part.changed(MEAN, MEAN_KEYS), known_mean, mean, part.count)
        yield shift * (shift - twice)


def _mean_changes(found: ChangedRows, known_mean: float, mean: float, count: int) -> Floats:
    """float32[count]: by how much the mean rating is higher in each counterfactual. known_mean: the
    model's, 0 while it has none and the node goes by its own `mean`, as it does in a counterfactual
    without one."""
    changes = np.zeros(count, dtype=np.float32)
    backed = found.evidence > 0
    changes[found.counterfactual[backed]] = known_mean + found.change[backed, 0] - mean
    return changes


def _by_user(own: OwnRatings, prior: FeltPrior) -> SparseMatrix:
    """csr[n, users * width]: what is felt by each rating, at its user."""
    felt, users = prior.felt, len(prior.seen)
    count, width = felt.shape
    columns = own.users[:, None] * width + np.arange(width)
    starts = np.arange(count + 1) * width
    return sp.csr_array(
        (felt.astype(np.float32).ravel(), columns.ravel(), starts), shape=(count, users * width)
    )


def _expectation_changes(part: Counterfactuals, seen: Matrix) -> Floats:
    """float32[users * width, count]: by how much n_u is higher in each counterfactual."""
    factors = seen.shape[1]
    found = part.changed(USER_PRIOR, map_keys(factors))
    differs = np.zeros((factors, factors + 1, part.count), dtype=np.float32)
    differs[found.row, :, found.counterfactual] = found.change
    changes = seen.astype(np.float32) @ differs.reshape(factors, -1)
    return changes.reshape(-1, part.count)
