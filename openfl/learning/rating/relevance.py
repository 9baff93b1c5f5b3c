"""How much less strongly users are held where the group knows that people differ.

One ridge for all directions of the factors shrinks the strong ones as much as the weak ones, which
costs accuracy where there are many ratings and much to be told from them. So each direction has a
ridge of its own, by what the group's items say of it (automatic relevance determination; MacKay
1994, "Bayesian nonlinear modeling for the prediction competition"): with S the mean of q q^T over
all ratings of the group, each by its item, users are held by

    ridge_u R,    R = (1 + relevance S^2)^-1, a function of the matrix S.

Along a direction in which items hardly differ R is 1 and nothing changes. S is of the group's model
alone, so all members have the same R, and what they reach does not depend on how ratings are spread
over them. It is never written to anybody. R is at least `LEAST`, whatever rows some member sends.
"""

from __future__ import annotations

import numpy as np

from openfl.core.contribution import ModelView
from openfl.learning.ridge import Matrix

RELEVANCE = "relevance"
"""The charter's name of it."""
LEAST = 0.02


def relevance_shape(model: ModelView, table: str, relevance: float) -> Matrix | None:
    """float64[k + 1, k + 1]: R, with 1 for the bias. None, for no change, without `relevance` or
    rows. All columns of `table` but the last are factors."""
    keys = model.keys(table)
    if not relevance or not len(keys):
        return None
    factors = model.rows(table, keys)[:, :-1].astype(np.float64)
    ratings = model.evidence(table, keys)
    strength, directions = np.linalg.eigh((factors.T * ratings) @ factors / ratings.sum())
    shape = np.eye(factors.shape[1] + 1)
    held = np.maximum(1.0 / (1.0 + relevance * strength**2), LEAST)
    shape[:-1, :-1] = (directions * held) @ directions.T
    return shape
