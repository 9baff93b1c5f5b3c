"""The users of a node, fitted to a group's model: exactly, and once for one model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openfl.learning.ridge import (
    Matrix,
    Numbers,
    SparseMatrix,
    add_ridge,
    diagonal_of,
    last_column_of,
    normal_sums,
    solve_sums,
    squares,
    times_ridge,
    with_constant,
)


@dataclass(frozen=True, slots=True)
class FittedTo:
    """What users are fitted to. rows: float64[items, width], the items' [q_j, b_j]; mean: of all
    ratings; centre: float64[users, width], what each is held near, if not 0; shape: float64[width,
    width], of the ridge (see `openfl.learning.rating.relevance`), if not that of the identity."""

    rows: Matrix
    mean: float
    centre: Matrix | None = None
    shape: Matrix | None = None

    @property
    def features(self) -> Matrix:
        """float64[items, width]: [q_j, 1]."""
        return with_constant(self.rows[:, :-1])

    @property
    def offsets(self) -> Matrix:
        """float64[items]: what is expected of an item before anything is known of the user."""
        return self.mean + self.rows[:, -1]


@dataclass(frozen=True, slots=True)
class _Gathered:
    """What the ratings say of users by these rows and this mean, before any ridge."""

    rated: Matrix
    mean: float
    triangle: Numbers
    moment: Numbers


class UserFits:
    """The users' [p_u, b_u] given what they are fitted to."""

    def __init__(
        self,
        pattern: SparseMatrix,
        targets: SparseMatrix,
        ridge: Matrix,
        trained: NDArray[np.intp],
    ) -> None:
        """pattern, targets: csr[users, items] of the training ratings, ones and ratings. ridge:
        float64[users, width]. trained: intp[n], the items that are rated in training."""
        self._pattern = pattern
        self._targets = targets
        self._ridge = ridge
        self._trained = trained
        self._gathered: _Gathered | None = None
        self._totals: tuple[Matrix, Matrix] | None = None
        self._fitted: tuple[_Gathered, FittedTo, Matrix] | None = None

    def gather(self, rows: Matrix, mean: float) -> _Gathered:
        """The sums over all ratings that a fit to these rows, float64[items, width], needs.

        The last answer is kept, as by `fit`: one model is judged on several splits, and then
        trained from.
        """
        rated = rows[self._trained]  # the others' values do not matter
        known = self._gathered
        if known is None or known.mean != mean or not np.array_equal(known.rated, rated):
            given = FittedTo(rows, mean)
            sums = normal_sums(self._pattern, self._targets, given.features, given.offsets)
            known = self._gathered = _Gathered(rated, mean, *sums)
        return known

    def totals(self, rows: Matrix) -> Matrix:
        """float64[users, 2 k]: over the items of each user the sum of q_j, and of its squares."""
        rated = rows[self._trained]
        if self._totals is not None and np.array_equal(self._totals[0], rated):
            return self._totals[1]
        known = self._gathered
        if known is not None and np.array_equal(known.rated, rated):
            sums = (last_column_of(known.triangle), diagonal_of(known.triangle))
            both = np.hstack([part[:, :-1] for part in sums])
        else:
            factors = rows[:, :-1].astype(self._pattern.dtype)
            both = self._pattern @ np.hstack((factors, factors**2))
        totals: Matrix = both.astype(np.float64)
        self._totals = (rated, totals)
        return totals

    def fit(self, given: FittedTo) -> Matrix:
        """float64[users, width]: every user's [p_u, b_u]."""
        sums = self.gather(given.rows, given.mean)
        if self._fitted is not None:
            fitted_sums, fitted_to, users = self._fitted
            if (
                fitted_sums is sums
                and _equal(fitted_to.centre, given.centre)
                and _equal(fitted_to.shape, given.shape)
            ):
                return users
        moment = self._held(sums.moment, given)
        users = solve_sums(sums.triangle, moment, self._ridge, shape=given.shape)
        self._fitted = (sums, given, users)
        return users

    def with_inverse(self, given: FittedTo) -> tuple[Matrix, Matrix]:
        """(float64[users, width]: their fit, float64[users, width, width]: the inverse of its
        normal equations), from sums in double precision: what one rating changes is small."""
        pattern, targets = (m.astype(np.float64) for m in (self._pattern, self._targets))
        triangle, moment = normal_sums(pattern, targets, given.features, given.offsets)
        matrices = squares(triangle, given.rows.shape[1])
        add_ridge(matrices, self._ridge, given.shape)
        inverse = np.asarray(np.linalg.inv(matrices), dtype=np.float64)
        users: Matrix = (inverse @ self._held(moment, given)[:, :, None])[:, :, 0]
        return users, inverse

    def _held(self, moment: Numbers, given: FittedTo) -> Numbers:
        if given.centre is None:
            return moment
        held: Matrix = moment + times_ridge(given.centre, self._ridge, given.shape)
        return held


def _equal(one: Matrix | None, other: Matrix | None) -> bool:
    if one is None or other is None:
        return one is other
    return one is other or np.array_equal(one, other)
