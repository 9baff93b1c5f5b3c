"""`ImplicitFactorization`: which items people would play, from what they played.

The objective is that of Hu, Koren and Volinsky (2008, "Collaborative Filtering for Implicit
Feedback Datasets"), over all users u and all items j of the group, played or not:

    sum_uj c_uj (r_uj - p_u . q_j)^2 + ridge,   r = 1 if played else 0,   c = 1 + alpha * plays

A user's p_u is private: given the items' rows it is one exact ridge fit. The items' rows q_j
are shared. Half the negative gradient at an item falls into parts that different members know:

    sum over its plays at member i:   sum_u (c_uj p_u - (c_uj - 1) (p_u . q_j) p_u)
    everybody, played or not:         - G q_j,   G = sum over all users of p_u p_u^T
    the ridge:                        - (prior + prior_per_evidence * n_j) q_j

The second pulls at every item, also at those a member never saw. So members publish the mean Gram
of their users (table `listeners`), and whoever has plays of an item carries that pull on behalf
of all, in proportion to its share n_ij / n_j of the item's plays. Shares add up to one, hence g_ij,
a member's part with its share, adds up to the true gradient - and an item costs what it costs in a
group that learns ratings, a row from each member that has plays of it.

The step is one of Newton's with the curvature of the group, which all members can compute alike:

    A_j = damping * alpha * n_j * (mean p p^T over plays, table `plays`) + G + ridge, with a bound
    x_ij = q_j + (n_j / n_ij) A_j^-1 g_ij

Rows weigh n_ij and have no prior, so the merge makes q_j + A_j^-1 sum_i g_ij of it. Where nothing
moves any more sum_i g_ij = 0: the optimum of the same objective in one place, however the plays are
spread over members, because A_j is the same for all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from openfl.core.contribution import (
    MAX_EVIDENCE,
    Charter,
    Contribution,
    Evaluation,
    ModelView,
    RowBlock,
)
from openfl.core.errors import DataError
from openfl.items import key_bits
from openfl.learning.factorization.item_rows import item_keys, locate, moved_columns
from openfl.learning.factorization.ratings import Ratings
from openfl.learning.factorization.users import fit_users, restored_users, saved_users
from openfl.learning.held_out import NONE, evaluation
from openfl.learning.implicit.charter import (
    ITEMS,
    LISTENERS,
    ONLY_ROW,
    PLAYS,
    ImplicitParameters,
    implicit_parameters,
)
from openfl.learning.implicit.evidence import Ranking
from openfl.learning.implicit.listeners import fit_to_plays, pull_of_plays, weights
from openfl.learning.metrics import rank
from openfl.learning.own_items import OwnItems
from openfl.learning.own_losses import OwnLosses
from openfl.learning.proposals import proposed
from openfl.learning.ridge import SAFE_RIDGE, Matrix, SparseMatrix
from openfl.learning.splitting import Split, split_ratings

METRIC = "ndcg_loss"
"""1 - NDCG@10 over all items of the model but those the user is known to have played."""
RANKED = 10
MAX_EVALUATED_USERS = 500
"""Ranking the catalogue for everybody, every round, would cost more than training."""
FEW_EVALUATED = 4
"""If less than one in so many is evaluated, only they are fitted, and not all for the step that
follows, too."""


SAFE = 0.7
LONGEST = 2.0
"""How much longer (squared) than the mean over plays a user's p may be without being clipped in
the bound on an item's curvature. Both are guesses that no data tried has called into question."""


@dataclass(frozen=True, slots=True)
class _PlayMeans:
    """gram: float64[k, k], mean of p p^T over plays. repeats: mean over plays of how often the
    user played that item."""

    gram: Matrix
    repeats: float


class ImplicitFactorization:
    """Learning from plays on one node's private data (a `LearningTask`)."""

    metric_power = 1.0
    """See `openfl.learning.own_losses.JudgesByOwn`: the metric is a mean over users."""

    def __init__(
        self,
        charter: Charter,
        parameters: ImplicitParameters,
        plays: Ratings,
        split: Split,
        min_row_evidence: int = 1,
    ) -> None:
        self._charter = charter
        self._parameters = parameters
        self._plays = plays
        self._split = split
        # Two items whose ids collide in the key share a row, here as everywhere in the group.
        bits = key_bits(parameters.items)
        self._keys, row_of_item = np.unique(item_keys(plays.songs, bits), return_inverse=True)
        self.own_items = OwnItems(ITEMS, self._keys, plays.songs, bits, "songs")
        self._rows = row_of_item.astype(np.int32)[plays.song_index]
        self._strength = np.minimum(plays.values.astype(np.float64), parameters.plays_limit)
        self._train = self._matrix(split.train)
        precision = np.float32 if parameters.prior >= SAFE_RIDGE else np.float64
        self._extra, self._confidence = weights(self._train, parameters.alpha, precision)
        self._user_ridge = parameters.ridge(self._train.sum(axis=1))
        self._user_plays = np.asarray(self._train.sum(axis=1), dtype=np.float64)
        self._total_plays = float(self._user_plays.sum())
        self._repeats = float((self._train.data**2).sum()) / max(1.0, self._total_plays)
        row_plays = np.asarray(self._train.sum(axis=0), dtype=np.float64)
        users_of_row = np.bincount(self._train.indices, minlength=len(self._keys))
        self._evidence = np.clip(np.rint(row_plays), 1, MAX_EVIDENCE)
        self._min_row_evidence = max(1, min_row_evidence)
        self._published = np.flatnonzero(users_of_row >= self._min_row_evidence)
        # Users without plays in training would only add zeros to the Gram.
        self._active = self._user_plays > 0
        self._user_factors: Matrix = np.zeros((len(plays.users), parameters.factors))
        self._last_gram: Matrix | None = None
        self._fitted: tuple[Matrix, Matrix, Matrix] | None = None

    @classmethod
    def from_charter(
        cls,
        charter: Charter,
        plays: Ratings,
        split: Split | None = None,
        min_row_evidence: int = 1,
    ) -> ImplicitFactorization:
        """The task of a node with `plays` (`load_plays`) in the group of `charter`.

        `split` defaults to `split_ratings(plays)`. Items that fewer than `min_row_evidence`
        users played are not published, nor is anything when there are fewer users than
        that. GroupError: the charter is not one of this task.
        """
        parameters = implicit_parameters(charter)
        split = split_ratings(plays) if split is None else split
        if not len(split.train):
            raise DataError(f"{plays.source or 'plays'}: no play is left to train on")
        return cls(charter, parameters, plays, split, min_row_evidence)

    @property
    def charter(self) -> Charter:
        """See `LearningTask`."""
        return self._charter

    @property
    def parameters(self) -> ImplicitParameters:
        """What the charter says about this task."""
        return self._parameters

    @property
    def train_examples(self) -> int:
        """See `LearningTask`."""
        return len(self._split.train)

    def local_step(self, model: ModelView, rng: np.random.Generator) -> Contribution:
        """Proposals for every item with enough users here, and the two matrices.

        Deterministic: `rng` is not drawn from.
        """
        catalogue = np.union1d(model.keys(ITEMS), self._keys)
        every_row = model.rows(ITEMS, catalogue).astype(np.float64)
        rows = every_row[np.searchsorted(catalogue, self._keys)]
        users = self._user_factors = self._fit_users(rows, every_row.T @ every_row)

        mine = users[self._active]
        if len(mine) < self._min_row_evidence:
            # The Gram of one user is that user. Their items are not published either, so
            # the group's model is the optimum of those who are.
            return Contribution(())
        own_gram = mine.T @ mine
        by_play = _PlayMeans(
            (users * self._user_plays[:, None]).T @ users / self._total_plays, self._repeats
        )

        gram = self._gram_of_all(model, own_gram)
        items = self._items_block(model, rows, users, gram, self._play_means(model) or by_play)
        own = self._one_row(LISTENERS, _triangle(own_gram / len(mine)), len(mine))
        plays = self._one_row(
            PLAYS, np.append(_triangle(by_play.gram), by_play.repeats), self._total_plays
        )
        return Contribution((items, own, plays) if len(items) else (own, plays))

    def evaluate(self, model: ModelView, split: str = "validation") -> Evaluation:
        """1 - NDCG@10 for the users with held-out plays; each fitted anew to `model`.

        Candidates are all items of the model but those the user played in training (and, for
        "test", in validation). A held-out item that the model does not know counts as missed. With
        many users a fixed choice of at most `MAX_EVALUATED_USERS` is measured. `count` is
        the number of users; when it is 0, value and standard error are NaN.
        """
        held_out, seen = self._evaluated(split)
        known = model.keys(ITEMS)
        users = np.flatnonzero(np.diff(held_out.indptr))
        users = users[:: max(1, math.ceil(len(users) / MAX_EVALUATED_USERS))]
        if not len(users):
            return evaluation(METRIC, NONE)
        if not len(known):
            return Evaluation(METRIC, 1.0, 0.0, len(users))
        every_row = model.rows(ITEMS, known).astype(np.float64)
        column, present = locate(known, self._keys)
        rows = np.where(present[:, None], every_row[column], 0.0)
        gram = every_row.T @ every_row
        if len(users) * FEW_EVALUATED < len(self._user_ridge):
            factors = fit_to_plays(
                self._train[users], rows, gram, self._parameters.alpha, self._user_ridge[users]
            )
        else:
            factors = self._fit_users(rows, gram)[users]
        # Which items come first needs no double precision.
        left, right = factors.astype(np.float32), every_row.astype(np.float32).T
        report = rank(
            lambda start, end: left[start:end] @ right,
            seen=moved_columns(seen[users], column, present, len(known)),
            held_out=moved_columns(held_out[users], column, present, len(known)),
            relevant=np.diff(held_out[users].indptr),
            top=RANKED,
        )
        return Evaluation(METRIC, 1.0 - report.ndcg, report.ndcg_error, report.users)

    def own_losses(self, model: ModelView) -> OwnLosses:
        """See `openfl.learning.own_losses.JudgesByOwn`, and `implicit.evidence`: how far down each
        play comes that its user is not fitted to."""
        return self._ranking.own_losses(model, self._validation)

    def held_out_losses(self, model: ModelView, split: str = "validation") -> Matrix:
        """See `openfl.learning.comparison.PairedTask`, and `implicit.evidence`: how far down each
        held-out play comes. (NDCG has one figure a user, so a single user would be no pair.)"""
        held_out, seen = self._evaluated(split)
        return self._ranking.held_out_losses(model, held_out, seen)

    def fold(self, number: int, folds: int) -> ImplicitFactorization:
        """See `openfl.learning.alone.FoldsOwn`."""
        split = self._split.fold(number, folds)
        return ImplicitFactorization.from_charter(
            self._charter, self._plays, split, self._min_row_evidence
        )

    def private_state(self) -> Mapping[str, NDArray[np.generic]]:
        """The users' factors of the last step, and whose they are (as hashes)."""
        return saved_users(self._user_factors, self._user_keys)

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Take back `private_state`; ValueError when it is of other users or another width."""
        self._user_factors = restored_users(state, self._user_keys, self._user_factors.shape)

    @cached_property
    def _user_keys(self) -> NDArray[np.uint64]:
        return item_keys(self._plays.users, key_bits=64)

    def _matrix(self, positions: NDArray[np.intp]) -> SparseMatrix:
        """csr[users, items] of plays; a pair of one key that occurs twice is added up."""
        return sp.csr_array(
            (
                self._strength[positions],
                (self._plays.user_index[positions], self._rows[positions]),
            ),
            shape=(len(self._plays.users), len(self._keys)),
        )

    def _evaluated(self, split: str) -> tuple[SparseMatrix, SparseMatrix]:
        """(what is to be found, what is known and not to be recommended)."""
        match split:
            case "validation":
                return self._validation, self._train
            case "test":
                return self._test, self._train + self._validation
        raise ValueError(f'split must be "validation" or "test", not "{split}"')

    @cached_property
    def _ranking(self) -> Ranking:
        return Ranking(self._parameters, self._keys, self._train)

    @cached_property
    def _validation(self) -> SparseMatrix:
        return self._matrix(self._split.validation)

    @cached_property
    def _test(self) -> SparseMatrix:
        return self._matrix(self._split.test)

    def _fit_users(self, rows: Matrix, gram_of_all: Matrix) -> Matrix:
        """float64[users, k]: every user's p_u, exact given the items' rows.

        The last answer is kept: a model is judged, and then trained from.
        """
        known = self._fitted
        asked = (rows, gram_of_all)
        if known is not None and all(map(np.array_equal, known[:2], asked)):
            return known[2]
        nothing = np.zeros(len(rows))
        ridge = self._user_ridge[:, None]
        users = fit_users(self._extra, self._confidence, rows, nothing, ridge, gram_of_all)
        self._fitted = (rows, gram_of_all, users)
        return users

    def _items_block(
        self, model: ModelView, rows: Matrix, users: Matrix, gram: Matrix, by_play: _PlayMeans
    ) -> RowBlock:
        """gram: float64[k, k], the sum over all users."""
        parameters, chosen = self._parameters, self._published
        own = self._evidence[chosen]
        total = np.maximum(model.evidence(ITEMS, self._keys[chosen]), own)
        share = own / total
        played = pull_of_plays(self._extra, self._confidence, users, rows)[chosen]
        rows = rows[chosen]
        pull = rows @ gram + parameters.ridge(total)[:, None] * rows
        gradient = played - share[:, None] * pull
        step = _newton(gradient / share[:, None], total, by_play, gram, parameters)
        return proposed(
            self._charter.table(ITEMS),
            self._keys[chosen],
            rows + step,
            own,
            np.ones(parameters.factors),
        )

    def _one_row(self, table: str, values: Matrix, evidence: float) -> RowBlock:
        sure = np.clip(np.rint([evidence]), 1, MAX_EVIDENCE)
        schema = self._charter.table(table)
        return proposed(schema, ONLY_ROW.copy(), values[None, :], sure, np.ones(len(values)))

    def _gram_of_all(self, model: ModelView, own: Matrix) -> Matrix:
        """float64[k, k]: sum of p p^T over all users of the group. own: over those here, now.

        What the group has of this member is of its last step; trading that for `own` halves the
        rounds a small group needs. At the fixed point the two are equal.
        """
        count, last = _evidence(model, LISTENERS), self._last_gram
        self._last_gram = own
        if not count:
            return own
        gram = count * self._symmetric(model.rows(LISTENERS, ONLY_ROW)[0])
        return _positive(gram if last is None else gram + own - last)

    def _play_means(self, model: ModelView) -> _PlayMeans | None:
        """The group's; None while nobody published any."""
        if not _evidence(model, PLAYS):
            return None
        row = model.rows(PLAYS, ONLY_ROW)[0].astype(np.float64)
        return _PlayMeans(_positive(self._symmetric(row[:-1])), max(0.0, float(row[-1])))

    def _symmetric(self, triangle: NDArray[np.floating]) -> Matrix:
        matrix = np.zeros((self._parameters.factors, self._parameters.factors))
        upper = _upper(len(matrix))
        matrix[upper] = matrix.T[upper] = triangle
        return matrix


def _newton(
    gradient: Matrix,
    plays: Matrix,
    by_play: _PlayMeans,
    gram: Matrix,
    parameters: ImplicitParameters,
) -> Matrix:
    """float64[n, k]: A_j^-1 g_j of items with `plays[n]`.

    One generalized eigenproblem makes all A_j diagonal at once: in its basis `gram + prior` is 1,
    and what a play adds on average is one number a direction. Items of a niche have more curvature
    than that in the niche's direction, at most what all their plays have if made by users of
    that direction alone, and at most alpha * repeats times the Gram. Less than half the true
    curvature would make a row swing ever wider, so A_j is not below `SAFE` of that bound.
    """
    alpha, identity = parameters.alpha, np.eye(len(gram))
    values, vectors = _generalized_eigh(
        parameters.damping * alpha * by_play.gram + parameters.prior_per_evidence * identity,
        gram + parameters.prior * identity,
    )
    expected = 1.0 + plays[:, None] * np.maximum(values, 0.0)
    longest = LONGEST * np.trace(by_play.gram) * (vectors**2).sum(axis=0)
    most = np.minimum(alpha * by_play.repeats, alpha * plays[:, None] * longest)
    curvature = np.maximum(expected, SAFE * (1.0 + most))
    return np.asarray((gradient @ vectors / curvature) @ vectors.T, dtype=np.float64)


def _generalized_eigh(a: Matrix, b: Matrix) -> tuple[Matrix, Matrix]:
    """Eigenvalues and eigenvectors V of the symmetric `a` with regard to the positive definite `b`:
    V^T a V is diagonal, V^T b V is 1 (Golub & Van Loan, 8.7.2).

    As scipy.linalg.eigh, which is a large import for every node.
    """
    inverse = np.linalg.inv(np.linalg.cholesky(b))
    values, vectors = np.linalg.eigh(inverse @ a @ inverse.T)
    return values, inverse.T @ vectors


def _positive(matrix: Matrix) -> Matrix:
    """The nearest positive semidefinite matrix to a symmetric one: rounding, lag, or a member that
    means ill can leave a little less than that."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.maximum(values, 0.0)) @ vectors.T, dtype=np.float64)


def _triangle(matrix: Matrix) -> Matrix:
    return np.asarray(matrix[_upper(len(matrix))], dtype=np.float64)


def _evidence(model: ModelView, table: str) -> float:
    return float(model.evidence(table, ONLY_ROW)[0])


@lru_cache
def _upper(width: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    return np.triu_indices(width)
