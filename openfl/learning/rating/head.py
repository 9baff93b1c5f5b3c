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
from openfl.learning.rating.user_prior import prior_means, rated_weights
from openfl.learning.ridge import Matrix, SparseMatrix, with_constant

POPULAR_SHRINKAGE = 10.0
"""An item's lead over the mean counts half when the group has this many ratings of it."""


class RatingHead:
    """A `Head` (see `openfl.learning.heads`). GroupError: the charter is not of the rating task."""

    name = "rating"
    items = ITEMS
    verb = "rated"
    few = "has only {} rating{}"
    nothing = "has no ratings here: these are the songs the group likes best"
    notes: tuple[str, ...] = ()

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
        )

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


def _mean(model: ModelView) -> float:
    return float(model.rows(MEAN, MEAN_KEYS)[0, 0])
