"""How a model ranks each of a node's own plays, for `ImplicitFactorization.own_losses`.

Each training play is left out in turn of its listener's fit, which is the exact ridge fit to all
others (`listeners.fit_without`), and then looked for among all items of the model that the listener
is not known to have played. Its loss is 1 - 1 / log2(1 + rank): what is missing to NDCG when it
alone is to be found. Ranks count however far down, where the metric sees ten: most plays of most
people are further down, and a model that moves them from rank 400 to rank 60 serves better. Gains
in that follow those in NDCG@10 on other plays of the same people more closely than gains with ranks
cut off at 10, or in the logarithm of the rank, or with a tenth of the plays left out at a time; and
they are of the same size (docs/tasks.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openfl.core.contribution import Keys, ModelView
from openfl.learning.factorization.item_rows import locate
from openfl.learning.implicit.charter import ITEMS, ImplicitParameters
from openfl.learning.implicit.listeners import fit_without
from openfl.learning.own_losses import OwnLosses
from openfl.learning.ridge import Matrix, SparseMatrix
from openfl.learning.splitting import evenly

MAX_OWN = 4_000
"""Most own plays that groups are compared by: more do not change a verdict."""
BLOCK_CELLS = 2_000_000
"""Numbers in one array while plays are ranked: 16 MB."""
ENOUGH_HELD_OUT = 50
"""Of so many held-out plays no other is needed, and none is better. Members step from a common
model, so what a node taught is in the others' rows, too. One listener among eight hardly shows
there; of three nodes with thirty listeners each, every one takes each other group for 3 to 15 %
worse by its training plays, and the others see it the other way round."""
MISSED = 1.0
"""The loss of a play of an item that the model does not know."""


@dataclass(frozen=True, slots=True)
class _Plays:
    """One after the other. user, item: intp[n], of which of the node's items; strength: float64[n],
    0 where the user is not fitted to it."""

    user: NDArray[np.intp]
    item: NDArray[np.intp]
    strength: Matrix

    @classmethod
    def of(cls, matrix: SparseMatrix) -> _Plays:
        """All of a csr[users, items] that are not 0, by user and then by item."""
        entries = matrix.tocoo()
        order = np.lexsort((entries.col, entries.row))
        order = order[entries.data[order] != 0]
        user, item = entries.row[order], entries.col[order]
        return cls(user.astype(np.intp), item.astype(np.intp), entries.data[order])

    @classmethod
    def nothing(cls) -> _Plays:
        at = np.zeros(0, dtype=np.intp)
        return cls(at, at, np.zeros(0))

    def only(self, chosen: NDArray[np.intp] | slice) -> _Plays:
        return _Plays(self.user[chosen], self.item[chosen], self.strength[chosen])

    def and_then(self, others: _Plays) -> _Plays:
        """With those of `others`, none of which anybody is fitted to."""
        return _Plays(
            np.concatenate((self.user, others.user)),
            np.concatenate((self.item, others.item)),
            np.concatenate((self.strength, np.zeros(len(others.user)))),
        )


@dataclass(frozen=True, slots=True)
class Ranking:
    """What plays are ranked by. keys: uint64[items], ascending, of the node's items. train:
    csr[users, items], what users are fitted to."""

    parameters: ImplicitParameters
    keys: Keys
    train: SparseMatrix

    def own_losses(self, model: ModelView, validation: SparseMatrix) -> OwnLosses:
        """The loss of each play of `train`, left out, and then of `validation` (of at most
        `MAX_OWN` in all, spread evenly), each by user and then by item; its person is its user.
        Of `validation` alone where that has plays enough (`ENOUGH_HELD_OUT`)."""
        held = _without(validation, self.train)
        held_plays = _Plays.of(held)
        few = len(held_plays.user) < ENOUGH_HELD_OUT
        plays = (_Plays.of(self.train) if few else _Plays.nothing()).and_then(held_plays)
        plays = plays.only(evenly(np.arange(len(plays.user)), MAX_OWN))
        losses = self._losses(model, plays, self.train + held)
        return OwnLosses(losses, plays.user.astype(np.int64))

    def held_out_losses(self, model: ModelView, held: SparseMatrix, seen: SparseMatrix) -> Matrix:
        """float64[n]: the loss of each play of `held` (at most `MAX_OWN`, spread evenly), by user
        and then by item. Nothing of `seen`, csr[users, items], is recommended."""
        held = _without(held, seen)
        plays = _Plays.nothing().and_then(_Plays.of(held))
        plays = plays.only(evenly(np.arange(len(plays.user)), MAX_OWN))
        return self._losses(model, plays, seen + held)

    def _losses(self, model: ModelView, plays: _Plays, played: SparseMatrix) -> Matrix:
        """float64[n], 0 to 1. Memory is bounded by `BLOCK_CELLS`, however many plays or items there
        are."""
        losses = np.full(len(plays.user), MISSED)
        known = model.keys(ITEMS)
        if not len(known):
            return losses
        every_row = model.rows(ITEMS, known).astype(np.float64)
        column, present = locate(known, self.keys)
        rows = np.where(present[:, None], every_row[column], 0.0)
        gram = every_row.T @ every_row
        step = max(1, BLOCK_CELLS // max(every_row.shape[0], every_row.shape[1] ** 2))
        for start in range(0, len(losses), step):
            part = plays.only(slice(start, start + step))
            fitted = fit_without(
                self.train, part.user, part.item, part.strength, rows, gram, self.parameters
            )
            ranks = _ranks(fitted, every_row, part, played, column, present)
            losses[start : start + step][present[part.item]] = 1 - 1 / np.log2(1 + ranks)
        return losses


def _without(matrix: SparseMatrix, seen: SparseMatrix) -> SparseMatrix:
    """csr[users, items]: what of `matrix` is not in `seen`. Two ids of one key are one item, and
    one that was seen was not held back."""
    return matrix - matrix * (seen > 0)


def _ranks(
    fitted: Matrix,
    every_row: Matrix,
    plays: _Plays,
    played: SparseMatrix,
    column: NDArray[np.intp],
    present: NDArray[np.bool_],
) -> NDArray[np.intp]:
    """intp[m], from 1: of those plays whose item the model knows, among all items but those that
    the listener played otherwise. As in `metrics.best_columns`, of equal scores the smaller column
    comes first."""
    findable = present[plays.item]
    user, target = plays.user[findable], column[plays.item[findable]]
    scores = fitted[findable] @ every_row.T
    place = np.arange(len(target))
    wanted = scores[place, target].copy()
    others = _Plays.of(played[user])
    seen = present[others.item]
    scores[others.user[seen], column[others.item[seen]]] = -np.inf
    ahead = scores > wanted[:, None]
    equal = scores == wanted[:, None]
    equal &= np.arange(scores.shape[1]) < target[:, None]
    return np.asarray(1 + np.count_nonzero(ahead, axis=1) + np.count_nonzero(equal, axis=1))
