"""The head that predicts ratings: listeners fitted to a model of a rating group, and what they say.

Needs no running node. Listeners are fitted on the spot, exactly, given the songs' rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from openfl.core.contribution import Charter, ModelView
from openfl.learning.rating.charter import ITEMS, MEAN, MEAN_KEYS, rating_parameters
from openfl.learning.rating.task import learned_rows
from openfl.learning.ridge import (
    Matrix,
    SparseMatrix,
    normal_equations,
    solve_ridge,
    with_constant,
)

POPULAR_SHRINKAGE = 10.0
"""A song's lead over the mean counts half when the group has this many ratings of it."""


@dataclass(frozen=True)
class Listener:
    """One listener fitted to a model: factors float64[k], and a bias; units of the model."""

    factors: NDArray[np.float64]
    bias: float


def fold_in(
    charter: Charter, model: ModelView, keys: NDArray[np.uint64], ratings: NDArray[np.float64]
) -> Listener:
    """The listener who gave `ratings[n]` to the songs with row `keys[n]`; exact (ridge).

    GroupError when the charter is not of the rating task.
    """
    parameters = rating_parameters(charter)
    rows = learned_rows(model, keys)
    features = with_constant(rows[:, :-1])
    left = parameters.to_units(ratings) - _mean(model) - rows[:, -1]
    solution = solve_ridge(
        (features.T @ features)[None],
        (features.T @ left)[None],
        parameters.ridge(np.array([float(len(keys))])),
    )[0]
    return Listener(solution[:-1], float(solution[-1]))


def predict(
    charter: Charter, model: ModelView, listener: Listener, keys: NDArray[np.uint64]
) -> NDArray[np.float64]:
    """float64[n]: the rating expected for each song, on the group's scale but not clipped to it."""
    rows = learned_rows(model, keys)
    raw = _mean(model) + listener.bias + rows[:, -1] + rows[:, :-1] @ listener.factors
    return rating_parameters(charter).to_ratings(raw)


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

    def fold_in(self, given: SparseMatrix, keys: NDArray[np.uint64]) -> Matrix:
        rows = learned_rows(self._model, keys)
        ones, values = given.copy(), given.copy()
        ones.data = np.ones(len(given.data))
        values.data = self._parameters.to_units(given.data)
        gram, moment = normal_equations(
            ones, values, with_constant(rows[:, :-1]), _mean(self._model) + rows[:, -1]
        )
        counts = np.diff(given.indptr).astype(np.float64)
        return solve_ridge(gram, moment, self._parameters.ridge(counts))

    def scores(self, listeners: Matrix, keys: NDArray[np.uint64]) -> Matrix:
        rows = learned_rows(self._model, keys)
        raw = with_constant(listeners[:, :-1]) @ rows.T + listeners[:, -1:]
        return self._parameters.to_ratings(_mean(self._model) + raw)

    def popularity(self, keys: NDArray[np.uint64]) -> NDArray[np.float64]:
        """float64[n]: each song's mean rating, shrunk to that of all the fewer ratings it has."""
        evidence = self._model.evidence(ITEMS, keys)
        biases = self._model.rows(ITEMS, keys)[:, -1].astype(np.float64)
        shrunk = biases * evidence / (evidence + POPULAR_SHRINKAGE)
        return self._parameters.to_ratings(_mean(self._model) + shrunk)

    def shown(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.clip(scores, *self._parameters.scale)


def one_listener(given: NDArray[np.float64]) -> SparseMatrix:
    """csr[1, n]: a listener who gave, or played, each of n songs so much; zeros are kept."""
    count = len(given)
    return sp.csr_array((given, np.arange(count), [0, count]), shape=(1, count))


def _mean(model: ModelView) -> float:
    return float(model.rows(MEAN, MEAN_KEYS)[0, 0])
