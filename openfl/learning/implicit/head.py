"""The head that ranks: users fitted to a model of a group that learns from plays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openfl.core.contribution import Charter, ModelView
from openfl.items import key_bits
from openfl.learning.factorization.item_rows import learned_rows
from openfl.learning.implicit.charter import ITEMS, implicit_parameters
from openfl.learning.implicit.listeners import fit_to_plays
from openfl.learning.ridge import Matrix, SparseMatrix


class ImplicitHead:
    """A `Head` (see `openfl.learning.heads`). GroupError: the charter is not of the implicit task.

    A score is a preference: about 1 for what is surely played, about 0 for what is not.
    """

    name = "implicit"
    items = ITEMS
    verb = "played"
    few = "has played only {} song{}"
    nothing = "has played nothing here: these are the songs the group plays most"
    notes: tuple[str, ...] = (
        "ranked by what the group plays (implicit head): scores are preferences, not ratings",
    )

    def __init__(self, charter: Charter, model: ModelView) -> None:
        self._model = model
        self._parameters = implicit_parameters(charter)
        self.key_bits = key_bits(self._parameters.items)
        known = model.rows(ITEMS, model.keys(ITEMS)).astype(np.float64)
        self._gram = known.T @ known

    def fold_in(self, given: SparseMatrix, keys: NDArray[np.uint64]) -> Matrix:
        """See `Head`."""
        plays = given.copy()
        plays.data = np.minimum(given.data, self._parameters.plays_limit)
        ridge = self._parameters.ridge(np.asarray(plays.sum(axis=1), dtype=np.float64))
        return fit_to_plays(
            plays, learned_rows(self._model, ITEMS, keys), self._gram, self._parameters.alpha, ridge
        )

    def scores(self, users: Matrix, keys: NDArray[np.uint64]) -> Matrix:
        """See `Head`."""
        return users @ learned_rows(self._model, ITEMS, keys).T

    def popularity(self, keys: NDArray[np.uint64]) -> NDArray[np.float64]:
        """float64[n]: how often the members' users played each item."""
        return self._model.evidence(ITEMS, keys)

    def shown(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `Head`."""
        return scores
