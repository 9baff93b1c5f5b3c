"""The users of a node, fitted to a group's model: exactly, and once for one model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openfl.learning.factorization.users import fit_users
from openfl.learning.ridge import (
    Matrix,
    SparseMatrix,
    add_ridge,
    normal_equations,
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
        self._last: tuple[FittedTo, Matrix, Matrix] | None = None

    def fit(self, given: FittedTo) -> Matrix:
        """float64[users, width]: every user's [p_u, b_u].

        The last answer is kept: one model is judged on several splits, and then trained from.
        """
        rated = given.rows[self._trained]  # the others' values do not matter
        if self._last is not None:
            known, their_rated, users = self._last
            if (
                known.mean == given.mean
                and np.array_equal(their_rated, rated)
                and _equal(known.centre, given.centre)
                and _equal(known.shape, given.shape)
            ):
                return users
        users = fit_users(
            self._pattern,
            self._targets,
            given.features,
            given.offsets,
            self._ridge,
            centre=given.centre,
            shape=given.shape,
        )
        self._last = (given, rated, users)
        return users

    def with_inverse(self, given: FittedTo) -> tuple[Matrix, Matrix]:
        """(float64[users, width]: their fit, float64[users, width, width]: the inverse of its
        normal equations)."""
        gram, moment = normal_equations(
            self._pattern, self._targets, given.features, given.offsets
        )
        add_ridge(gram, self._ridge, given.shape)
        if given.centre is not None:
            moment += times_ridge(given.centre, self._ridge, given.shape)
        inverse = np.asarray(np.linalg.inv(gram), dtype=np.float64)
        users: Matrix = (inverse @ moment[:, :, None])[:, :, 0]
        return users, inverse


def _equal(one: Matrix | None, other: Matrix | None) -> bool:
    if one is None or other is None:
        return one is other
    return one is other or np.array_equal(one, other)
