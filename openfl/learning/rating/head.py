"""The head that predicts ratings: users fitted to a model of a rating group, and what they say.

Needs no running node. Users are fitted on the spot, exactly, given the items' rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openfl.core.contribution import Charter, ModelView
from openfl.items import key_bits
from openfl.learning.factorization.item_rows import learned_rows
from openfl.learning.factorization.users import fit_users
from openfl.learning.rating.charter import ITEMS, MEAN, MEAN_KEYS, rating_parameters
from openfl.learning.rating.relevance import relevance_shape
from openfl.learning.rating.user_prior import item_means, prior_means, rated_weights
from openfl.learning.ridge import (
    Matrix,
    SparseMatrix,
    add_ridge,
    normal_equations,
    times_ridge,
    with_constant,
)

POPULAR_SHRINKAGE = 10.0
"""An item's lead over the mean counts half when the group has this many ratings of it."""
DISCOUNT = 0.5
"""How far what is a user's own in a rating is divided by how much people differ about the song: 0
not at all, 1 altogether. Measured (benchmarks/novelty.py)."""
_LEAST_LENGTH = 1e-9


class RatingHead:
    """A `Head` (see `openfl.learning.heads`). GroupError: the charter is not of the rating task."""

    name = "rating"
    items = ITEMS
    verb = "rated"
    few = "has only {} rating{}"
    nothing = "has no ratings here: these are the songs the group likes best"
    notes: tuple[str, ...] = ()
    counted = ""

    def __init__(self, charter: Charter, model: ModelView) -> None:
        self._charter = charter
        self._model = model
        self._parameters = rating_parameters(charter)
        self.key_bits = key_bits(self._parameters.items)

    def fold_in(self, given: SparseMatrix, keys: NDArray[np.uint64]) -> Matrix:
        """See `Head`."""
        rows = learned_rows(self._model, ITEMS, keys)
        ones, values = given.copy(), given.copy()
        ones.data = np.ones(len(given.data))
        values.data = self._parameters.to_units(given.data)
        counts = np.diff(given.indptr).astype(np.float64)
        centre = None
        if self._parameters.user_prior:
            centre = prior_means(self._model, rated_weights(ones), rows)
        return fit_users(
            ones,
            values,
            with_constant(rows[:, :-1]),
            _mean(self._model) + rows[:, -1],
            self._parameters.ridge(counts),
            centre=centre,
            shape=self._shape(),
        )

    def _shape(self) -> Matrix | None:
        return relevance_shape(self._model, ITEMS, self._parameters.relevance)

    def scores(self, users: Matrix, keys: NDArray[np.uint64]) -> Matrix:
        """See `Head`."""
        rows = learned_rows(self._model, ITEMS, keys)
        raw = with_constant(users[:, :-1]) @ rows.T + users[:, -1:]
        return self._parameters.to_ratings(_mean(self._model) + raw)

    def popularity(self, keys: NDArray[np.uint64]) -> NDArray[np.float64]:
        """float64[n]: each item's mean rating, shrunk to that of all the fewer ratings it has."""
        evidence = self._model.evidence(ITEMS, keys)
        biases = self._model.rows(ITEMS, keys)[:, -1].astype(np.float64)
        shrunk = biases * evidence / (evidence + POPULAR_SHRINKAGE)
        return self._parameters.to_ratings(_mean(self._model) + shrunk)

    def shown(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `Head`."""
        return np.clip(scores, *self._parameters.scale)

    def distinctive(self, users: Matrix, keys: NDArray[np.uint64]) -> Matrix:
        """See `Head`: the part p . q of a rating, without what the song and the user bring along,
        divided by `DISCOUNT` of the length of q."""
        rows = self.vectors(keys)
        lengths = np.maximum(np.linalg.norm(rows, axis=1), _LEAST_LENGTH)
        discounted: Matrix = (users[:, :-1] @ rows.T) * lengths**-DISCOUNT
        return discounted

    def influence(
        self, given: SparseMatrix, keys: NDArray[np.uint64], of: NDArray[np.uint64]
    ) -> Matrix:
        """See `Head`; in steps of the group's scale. The user's vector is A^-1 (sum_j (v_j - o_j)
        f_j + R n), with R the ridge, A = sum_j f_j f_j^T + R and n the mean of the user's prior,
        itself a sum over the songs rated; what is left of a score is the mean of all and the song's
        own."""
        own, others = (learned_rows(self._model, ITEMS, some) for some in (keys, of))
        ones = given.copy()
        ones.data = np.ones(len(given.data))
        features = with_constant(own[:, :-1])
        gram, _ = normal_equations(ones, ones, features, np.zeros(len(own)))
        ridge, shape = (
            self._parameters.ridge(np.diff(given.indptr).astype(np.float64)),
            self._shape(),
        )
        left = self._parameters.to_units(given.toarray()[0]) - _mean(self._model) - own[:, -1]
        parts = left[:, None] * features
        if self._parameters.user_prior:
            weights = rated_weights(ones).toarray()[0]
            parts = parts + times_ridge(item_means(self._model, weights, own), ridge, shape)
        add_ridge(gram, ridge, shape)
        seen = np.linalg.solve(gram[0], with_constant(others[:, :-1]).T)
        return np.asarray(self._parameters.unit * (seen.T @ parts.T), dtype=np.float64)

    def vectors(self, keys: NDArray[np.uint64]) -> Matrix:
        """See `Head`: without the songs' own means, which say how good they are."""
        return learned_rows(self._model, ITEMS, keys)[:, :-1]


def _mean(model: ModelView) -> float:
    return float(model.rows(MEAN, MEAN_KEYS)[0, 0])
