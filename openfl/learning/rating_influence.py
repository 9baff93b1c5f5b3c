"""What single members do to a node's own ratings, for `MatrixFactorization.loss_changes`.

A rating's error is e = v - mean - b_u - [p_u, 1] . y. In another world its row differs by c and the
mean by m, so its squared error changes by w^2 - 2 e w, with w = m + [p_u, 1] . c. Only ratings of
rows that differ need looking at, and listeners keep the factors fitted to the common model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openfl.contribution import ChangedRows, Keys
from openfl.learning.rating_charter import ITEMS, MEAN
from openfl.learning.ridge import Matrix

MAX_JUDGED = 20_000
"""Most ratings that are judged by, spread evenly over all: more do not change a verdict."""


@dataclass(frozen=True, slots=True)
class OwnRatings:
    """users, rows: intp[n], where each rating's listener and song stand in the arrays of
    `loss_changes`; values: float64[n] in the model's units."""

    users: NDArray[np.intp]
    rows: NDArray[np.intp]
    values: NDArray[np.float64]

    @classmethod
    def some_of(
        cls,
        users: NDArray[np.int32],
        rows: NDArray[np.int32],
        values: NDArray[np.float64],
        positions: NDArray[np.intp],
    ) -> OwnRatings:
        step = -(-len(positions) // MAX_JUDGED)
        chosen = positions[:: max(step, 1)]
        # By song, so that the ratings of a row that differs lie together.
        chosen = chosen[np.argsort(rows[chosen], kind="stable")]
        return cls(users[chosen].astype(np.intp), rows[chosen].astype(np.intp), values[chosen])


def loss_changes(
    own: OwnRatings,
    keys: Keys,
    rows: Matrix,
    mean: float,
    listeners: Matrix,
    worlds: Iterable[Mapping[str, ChangedRows]],
) -> Iterator[NDArray[np.float64]]:
    """float64[n] for each world. keys: uint64[m], ascending, of `rows`: float64[m, width], the
    common model; listeners: float64[users, width], [p_u, b_u] fitted to it."""
    # Single precision: differences are small, and it halves the time.
    features = np.ones((len(own.users), rows.shape[1]), dtype=np.float32)
    features[:, :-1] = listeners[own.users, :-1]
    error = own.values - mean - listeners[own.users, -1]
    error -= np.einsum("nk,nk->n", features, rows[own.rows])
    for world in worlds:
        change = _mean_change(world.get(MEAN), mean)
        shift = np.full(len(error), change)
        found = world.get(ITEMS)
        if found is not None and len(found.keys) and len(keys):
            differs = np.zeros(rows.shape, dtype=np.float32)
            at = np.minimum(np.searchsorted(keys, found.keys), len(keys) - 1)
            mine = keys[at] == found.keys
            at = at[mine]
            # Without evidence a row is predicted with as 0, the prior's mean.
            values = np.where(found.evidence[mine, None] > 0, found.values[mine], 0.0)
            differs[at] = values - rows[at]
            shift += np.einsum("nk,nk->n", features, differs[own.rows])
        yield shift * (shift - 2 * error)


def _mean_change(found: ChangedRows | None, mean: float) -> float:
    if found is None or not len(found.keys) or found.evidence[0] <= 0:
        return 0.0
    return float(found.values[0, 0]) - mean
