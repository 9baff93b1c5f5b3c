"""`revival`: factors that died come to life again when members join who have a use for them.

A node with few ratings shrinks directions of the items' factors that its own data cannot justify to
zero. That is right for it, but zero is a saddle point: users fitted to zero factors have none
either, so the gradient is zero, and when others join from its snapshot, with whose ratings the
direction is well worth having, the whole group stays as poor as its founder was. Rounding alone
moves it off after tens of rounds, or hundreds. So in a step users are fitted to rows that have
a little of the seeded values in dead directions. The step is still taken from where the rows are:
what is of use grows (a power iteration), what is not stays near zero. What is predicted does not
depend on it.

Which directions are dead is told by the group's model, and seeded values are alike everywhere, so
members agree, and their pulls add up to that of one node with all ratings, as ever.
"""

from __future__ import annotations

import numpy as np

from openfl.core.contribution import Charter, Keys, ModelView
from openfl.core.model_view import initial_rows
from openfl.learning.ridge import Matrix

DEAD = 0.02
"""Root mean square over the items below which a direction of the factors counts as dead; one of any
use is above 0.1, as a rule."""
REVIVAL = 0.1
"""The part of the seeded values (of standard deviation 0.3) that is added."""


def revival(charter: Charter, model: ModelView, table: str, keys: Keys) -> Matrix | None:
    """float64[n, k]: what to add to the factors of the rows `keys`; None, as a rule, when nothing
    in the model is dead. All columns but the last are factors. Of few rows nothing is told."""
    known = model.keys(table)
    factors = model.rows(table, known)[:, :-1].astype(np.float64)
    if len(factors) < 2 * factors.shape[1]:
        return None
    strength, directions = np.linalg.eigh(factors.T @ factors / len(factors))
    dead = directions[:, strength < DEAD**2]
    if not dead.shape[1]:
        return None
    seeded = initial_rows(charter, table, keys)[:, :-1].astype(np.float64)
    part: Matrix = REVIVAL * (seeded @ dead) @ dead.T
    return part
