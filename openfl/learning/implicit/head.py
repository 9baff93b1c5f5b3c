"""The head that ranks: users fitted to a model of a group that learns from plays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openfl.core.contribution import Charter, ModelView
from openfl.items import key_bits
from openfl.learning.factorization.item_rows import learned_rows
from openfl.learning.implicit.charter import ITEMS, LISTENERS, ONLY_ROW, implicit_parameters
from openfl.learning.implicit.listeners import fit_to_plays, weighted_equations
from openfl.learning.ridge import Matrix, SparseMatrix

DISCOUNT = 0.9
"""How far a preference is divided by what the group's listeners feel for the song: 0 not at all, 1
altogether. Measured (benchmarks/novelty.py): from about 0.95 on, what one listener played leads."""
_LEAST_MEAN = 1e-9


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
        # Not "plays": evidence is what the task learns from, and that has a limit.
        limit = f"{self._parameters.plays_limit:g}"
        self.counted = f"plays counted: of one song at most {limit} a listener (task.plays_limit)"
        known = model.rows(ITEMS, model.keys(ITEMS)).astype(np.float64)
        self._gram = known.T @ known

    def fold_in(self, given: SparseMatrix, keys: NDArray[np.uint64]) -> Matrix:
        """See `Head`."""
        plays, ridge = self._limited(given)
        return fit_to_plays(
            plays, learned_rows(self._model, ITEMS, keys), self._gram, self._parameters.alpha, ridge
        )

    def _limited(self, given: SparseMatrix) -> tuple[SparseMatrix, NDArray[np.float64]]:
        """(plays as the task counts them, float64[m] the ridge of each user)."""
        plays = given.copy()
        plays.data = np.minimum(given.data, self._parameters.plays_limit)
        return plays, self._parameters.ridge(np.asarray(plays.sum(axis=1), dtype=np.float64))

    def scores(self, users: Matrix, keys: NDArray[np.uint64]) -> Matrix:
        """See `Head`."""
        return users @ learned_rows(self._model, ITEMS, keys).T

    def popularity(self, keys: NDArray[np.uint64]) -> NDArray[np.float64]:
        """float64[n]: how often the members' users played each item, as far as that counts."""
        return self._model.evidence(ITEMS, keys)

    def shown(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `Head`."""
        return scores

    def distinctive(self, users: Matrix, keys: NDArray[np.uint64]) -> Matrix:
        """See `Head`: preferences, each divided by `DISCOUNT` of the preference that the group's
        listeners have of the song, as the root of the mean square over all of them. That needs no
        listener: with their mean Gram matrix G, which is in the model, it is q^T G q."""
        rows = learned_rows(self._model, ITEMS, keys)
        felt = np.sqrt(np.maximum(np.einsum("na,ab,nb->n", rows, self._listeners(), rows), 0.0))
        discounted: Matrix = (users @ rows.T) * np.maximum(felt, _LEAST_MEAN) ** -DISCOUNT
        return discounted

    def _listeners(self) -> Matrix:
        """float64[k, k]: the mean of p p^T over the group's listeners. While no member has told it
        (`training.min_row_evidence`): as if all directions were felt alike."""
        width = self._parameters.factors
        gram = np.eye(width)
        if self._model.evidence(LISTENERS, ONLY_ROW)[0]:
            upper = np.triu_indices(width)
            gram[upper] = gram.T[upper] = self._model.rows(LISTENERS, ONLY_ROW)[0]
        return gram

    def influence(
        self, given: SparseMatrix, keys: NDArray[np.uint64], of: NDArray[np.uint64]
    ) -> Matrix:
        """See `Head`, and Hu, Koren and Volinsky (2008), section 5: with A the matrix of the user's
        normal equations, q^T A^-1 sum_j c_j q_j is a sum over the songs j that were played."""
        plays, ridge = self._limited(given)
        own = learned_rows(self._model, ITEMS, keys)
        gram, _ = weighted_equations(plays, own, self._parameters.alpha)
        matrix = gram[0] + self._gram + ridge[0] * np.eye(len(self._gram))
        seen = np.linalg.solve(matrix, learned_rows(self._model, ITEMS, of).T)
        confidence = 1.0 + self._parameters.alpha * plays.toarray()[0]
        return np.asarray((seen.T @ own.T) * confidence, dtype=np.float64)

    def vectors(self, keys: NDArray[np.uint64]) -> Matrix:
        """See `Head`."""
        return learned_rows(self._model, ITEMS, keys)
