"""`MatrixFactorization`: learning what users like, from ratings, without moving the ratings.

    rating(u, j) ~ mean + b_u + b_j + p_u . q_j

A user's p_u and b_u are private: given the items' rows they are one exact ridge fit, so they
need no state of their own. The items' rows y_j = [q_j, b_j] are shared. Each round a node

1. fits its users to the group's rows (and revives factors that died, see `revival`);
2. takes the gradient of its own squared error at each item it has ratings of,
   g_j = sum_u e_uj [p_u, 1], at the group's row a_j = y_j, or a bit back of it for an item that
   swings to and fro (see `openfl.learning.factorization.oscillation`);
3. proposes a damped diagonal Newton step, x_j = a_j + g_j / h_j, sure of it by
   h_j = n_j * damping * m: n_j its ratings of the item, m the mean of [p_u^2, 1] over its ratings.

The group merges y_j = sum h x / (sum h + D_j). Where nothing moves any more, sum g_j = D_j y_j: the
optimum of the same model trained in one place, however the ratings are spread over nodes and
however late some of them speak. That is why a few rounds suffice and nodes do not pull apart.

Where the charter has a `user_prior`, [p_u, b_u] is held near what is expected of who rated just
these items (see `openfl.learning.rating.user_prior`); otherwise near 0.

Under differential privacy (`private_step`) a node teaches only the items' biases b_j: of the same
gradient, the part of the factors would drown in the noise that hides a user among so few.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from openfl.core.contribution import (
    MAX_CURVATURE,
    MAX_EVIDENCE,
    Charter,
    Contribution,
    Evaluation,
    ModelView,
    RowBlock,
)
from openfl.core.errors import ConfigError, DataError
from openfl.core.model_view import DenseModel, DenseTable
from openfl.items import key_bits
from openfl.learning.differential_privacy import RandomBytes, Release, private_sum
from openfl.learning.factorization.dead_factors import revival
from openfl.learning.factorization.item_rows import item_keys, learned_rows
from openfl.learning.factorization.oscillation import OscillationDamping
from openfl.learning.factorization.ratings import Ratings
from openfl.learning.factorization.users import restored_users, saved_users
from openfl.learning.held_out import NONE, evaluation
from openfl.learning.metrics import rmse
from openfl.learning.own_items import OwnItems
from openfl.learning.own_losses import OwnLosses
from openfl.learning.proposals import exact_step, newton_step, proposed
from openfl.learning.rating.charter import (
    ITEMS,
    MEAN,
    MEAN_KEYS,
    RatingParameters,
    check_ratings_fit,
)
from openfl.learning.rating.influence import FeltPrior, OwnRatings, loss_changes
from openfl.learning.rating.relevance import relevance_shape
from openfl.learning.rating.spectral import spectral_rows
from openfl.learning.rating.user_fits import FittedTo, UserFits
from openfl.learning.rating.user_prior import USER_PRIOR, UserPrior
from openfl.learning.ridge import (
    Matrix,
    SparseMatrix,
    normal_sums,
    products_with,
    sparse_pair,
    with_constant,
)
from openfl.learning.splitting import Split, split_ratings
from openfl.learning.task import Counterfactuals

MIN_CURVATURE = 0.01
"""Least curvature claimed for a factor. While factors are still near 0 their true curvature would
call for huge steps, which eight bits a value cannot carry beside a bias; where a group ends up does
not depend on it."""
SEED_PRECISION = 0.2
"""How sure a private member claims to be of the seeded factors it repeats: a fortieth of the usual
prior."""


MIN_LEFT = 0.05
"""Least of 1 - hat: a rating whose listener's fit follows it alone must not divide by nothing."""


class MatrixFactorization:
    """The rating task on one node's private ratings (a `LearningTask`)."""

    metric_power = 0.5
    """See `openfl.learning.own_losses.JudgesByOwn`."""

    def __init__(
        self,
        charter: Charter,
        parameters: RatingParameters,
        ratings: Ratings,
        split: Split,
        min_row_evidence: int = 1,
        public_songs: Iterable[str] | None = None,
    ) -> None:
        self._charter = charter
        self._min_row_evidence = min_row_evidence
        self._parameters = parameters
        self._ratings = ratings
        self._split = split
        bits = key_bits(parameters.items)
        song_keys = item_keys(ratings.songs, bits)
        # Two items whose ids collide in the key share a row, here as everywhere in the group.
        self._keys, row_of_item = np.unique(song_keys, return_inverse=True)
        self.own_items = OwnItems(ITEMS, self._keys, ratings.songs, bits, "songs")
        self._rows = row_of_item.astype(np.int32).take(ratings.song_index)
        self._values = parameters.to_units(ratings.values, parameters.precision)

        train = split.train
        shape = (len(ratings.users), len(self._keys))
        self._pattern, self._targets = sparse_pair(
            ratings.user_index[train],
            self._rows[train],
            self._values[train],
            shape,
            parameters.precision,
        )
        self._pattern_by_row, self._targets_by_row = self._pattern.T, self._targets.T
        self._user_counts = np.bincount(ratings.user_index[train], minlength=shape[0]).astype(float)
        self._user_ridge = parameters.ridge(self._user_counts)
        self._row_counts = np.bincount(self._rows[train], minlength=shape[1]).astype(float)
        self._fits = UserFits(
            self._pattern, self._targets, self._user_ridge, np.flatnonzero(self._row_counts)
        )
        self._own_mean = float(self._targets.data.mean(dtype=np.float64))
        self._published = np.flatnonzero(self._row_counts >= max(1, min_row_evidence))
        self._user_factors: Matrix = np.zeros((shape[0], parameters.width))
        self._prior: UserPrior | None = None
        if parameters.user_prior:
            published = np.count_nonzero(self._user_counts) >= min_row_evidence
            schema = charter.table(USER_PRIOR)
            self._prior = UserPrior(
                schema, self._pattern, self._user_ridge, self._fits, bool(published)
            )
        self._public_keys = (
            None if public_songs is None else np.unique(item_keys(tuple(public_songs), bits))
        )
        self._oscillation = OscillationDamping()

    @classmethod
    def from_charter(
        cls,
        charter: Charter,
        ratings: Ratings,
        split: Split | None = None,
        min_row_evidence: int = 1,
        public_songs: Iterable[str] | None = None,
    ) -> MatrixFactorization:
        """The task of a node with `ratings` in the group of `charter`.

        `split` defaults to `split_ratings(ratings)`. Rows with fewer than `min_row_evidence`
        training ratings are not published. `public_songs`: what `private_step` publishes rows of,
        a list that does not depend on who is among the users. GroupError: the charter is not one of
        this task. DataError: the ratings do not fit its scale. ConfigError: no item is public.
        """
        parameters = check_ratings_fit(charter, ratings)
        split = split_ratings(ratings) if split is None else split
        if not len(split.train):
            raise DataError(f"{ratings.source or 'ratings'}: no rating is left to train on")
        if public_songs is not None and not (public_songs := tuple(public_songs)):
            raise ConfigError(
                "privacy.enabled needs a list of songs that says nothing about who rated what: a"
                " songs.csv beside the ratings, or data.catalogue_file"
            )
        return cls(charter, parameters, ratings, split, min_row_evidence, public_songs)

    @property
    def charter(self) -> Charter:
        """See `LearningTask`."""
        return self._charter

    @property
    def parameters(self) -> RatingParameters:
        """What the charter says about this task."""
        return self._parameters

    @property
    def ratings(self) -> Ratings:
        """The private ratings."""
        return self._ratings

    @property
    def train_examples(self) -> int:
        """See `LearningTask`."""
        return len(self._split.train)

    def first_guess(self) -> DenseModel:
        """See `openfl.learning.central.StartsAlone`, and `spectral`."""
        seeded = DenseModel.empty(self._charter)
        start = seeded.rows(ITEMS, self._keys)[:, :-1].astype(np.float64)
        rows = spectral_rows(self._targets, self._own_mean, self._parameters.bias_prior, start)
        if rows is None or not len(self._published):
            return seeded
        chosen, mean = self._published, self._mean_block()
        evidence = np.minimum(self._row_counts[chosen], MAX_EVIDENCE)
        items = DenseTable(self._keys[chosen], rows[chosen].astype(np.float32), evidence)
        known = DenseTable(mean.keys, mean.values, mean.evidence.astype(np.float64))
        return DenseModel(self._charter, {ITEMS: items, MEAN: known})

    def local_step(self, model: ModelView, rng: np.random.Generator) -> Contribution:
        """Proposals for every item with enough training ratings here, and for the mean.

        Deterministic, given this model and those of the last two steps: `rng` is not drawn from.
        """
        rows = model.rows(ITEMS, self._keys).astype(np.float64)
        known = learned_rows(model, ITEMS, self._keys)
        given = self._fitted_to(model, known, self._revived(model, rows))
        users = self._user_factors = self._fits.fit(given)
        features = with_constant(users[:, :-1])
        gram, moment = normal_sums(
            self._pattern_by_row, self._targets_by_row, features, given.mean + users[:, -1]
        )
        start = self._oscillation.start_from(rows)
        gradient = (moment - products_with(gram, start)).astype(np.float64)

        per_rating = self._user_counts @ features**2 / self._user_counts.sum()
        prior, more = None, np.zeros(self._parameters.width)
        if self._prior is not None:
            prior = self._prior.step(model, known, users, given.shape)
            gradient[:, :-1] += prior.gradient
            more[:-1] = prior.curvature
        curvature = np.clip(
            self._parameters.damping * (per_rating + more), MIN_CURVATURE, MAX_CURVATURE
        ).astype(np.float32)
        chosen = self._published
        evidence = np.minimum(self._row_counts[chosen], MAX_EVIDENCE).astype(np.float32)
        schema, keys = self._charter.table(ITEMS), self._keys[chosen]
        start, gradient = start[chosen], gradient[chosen]
        items = newton_step(schema, keys, start, gradient, evidence, curvature)
        alone = model.evidence(ITEMS, keys) == evidence
        if alone.any():
            more_of_all = np.multiply.outer(evidence, more)
            items = exact_step(schema, items, alone, start, gradient, gram[chosen], more_of_all)
        blocks = (items, self._mean_block(), prior.block if prior is not None else None)
        return Contribution(tuple(block for block in blocks if block is not None and len(block)))

    def private_step(
        self, model: ModelView, release: Release, random_bytes: RandomBytes
    ) -> Contribution:
        """See `openfl.learning.task.PrivateLearner`: a bias for each public item.

        A user's vector is their error at each item they rated: the gradient of their own squared
        error in the items' biases. It is of their ratings and of the group's model alone; of the
        group's mean, too, and not of this node's, which would be other people's ratings as well.
        """
        keys = self._public_keys
        if keys is None:
            raise ConfigError("this task was made without public songs to release anything about")
        mean = float(model.rows(MEAN, MEAN_KEYS)[0, 0])
        given = self._fitted_to(model, mean=mean)
        self._user_factors = self._fits.fit(given)
        total = private_sum(self._errors(given.rows, mean, keys), release, random_bytes)

        group = learned_rows(model, ITEMS, keys)
        curvature = np.full(self._parameters.width, SEED_PRECISION, dtype=np.float32)
        curvature[-1] = release.precision
        # The seeded factors, which anybody can compute, and nearly no weight on them: at 0 an item
        # could never be given any by the members that do teach them.
        values = DenseModel.empty(self._charter).rows(ITEMS, keys).astype(np.float64)
        values[:, -1] = group[:, -1] + total / float(curvature[-1])
        evidence = np.ones(len(keys), dtype=np.float32)
        items = proposed(self._charter.table(ITEMS), keys, values, evidence, curvature)
        return Contribution((items,))

    def evaluate(self, model: ModelView, split: str = "validation") -> Evaluation:
        """RMSE in units of the ratings on held-out ratings, users fitted anew to `model`.

        `split`: "validation", "test" or "train". With no such ratings `count` is 0, and value and
        standard error are NaN.
        """
        held_out = self._split.positions(split)
        if not len(held_out):
            return evaluation("rmse", NONE)
        value, error = rmse(self._predicted(model, held_out), self._actual(held_out))
        return Evaluation("rmse", value, error, len(held_out))

    def held_out_losses(self, model: ModelView, split: str = "validation") -> NDArray[np.float64]:
        """See `openfl.learning.comparison.PairedTask`: squared errors in units of the ratings."""
        held_out = self._split.positions(split)
        return np.square(self._predicted(model, held_out) - self._actual(held_out))

    def own_losses(self, model: ModelView) -> OwnLosses:
        """See `openfl.learning.own_losses.JudgesByOwn`: squared errors in units of the ratings, of
        the training ratings and then of the validation ones.

        A listener's fit is a ridge regression, whose error at a rating that is left out of it is
        e / (1 - hat) (Allen 1974), exactly: e the error with it, hat its own part in its fit.
        """
        given, train = self._fitted_to(model), self._split.train
        rows = given.rows
        users, inverse = self._fits.with_inverse(given)
        own, whose = given.features[self._rows[train]], self._ratings.user_index[train]
        expected = given.offsets[self._rows[train]] + np.einsum("nk,nk->n", users[whose], own)
        hat = np.einsum("na,nab,nb->n", own, inverse[whose], own)
        error = self._values[train] - expected
        if self._prior is not None:
            # A rating that is left out is also no longer among those that the prior is told by.
            less = self._prior.without_own(model, rows, whose, self._rows[train])
            felt = self._prior.sensitivity(inverse, own, whose, given.shape)
            error += np.einsum("na,na->n", felt, less)
        error /= np.maximum(1 - hat, MIN_LEFT)
        trained = self._in_scale(self._values[train] - error)
        expected = np.concatenate((trained, self._predicted(model, self._split.validation)))
        at = np.concatenate((train, self._split.validation))
        losses = np.square(expected - self._actual(at))
        return OwnLosses(losses, self._ratings.user_index[at].astype(np.int64))

    def fold(self, number: int, folds: int) -> MatrixFactorization:
        """See `openfl.learning.alone.FoldsOwn`."""
        split = self._split.fold(number, folds)
        return MatrixFactorization.from_charter(
            self._charter, self._ratings, split, self._min_row_evidence
        )

    def _actual(self, positions: NDArray[np.intp]) -> NDArray[np.float64]:
        return self._ratings.values[positions].astype(np.float64)

    def _predicted(self, model: ModelView, positions: NDArray[np.intp]) -> NDArray[np.float64]:
        """float64[n]: within the scale, users fitted to `model`."""
        given = self._fitted_to(model)
        users = self._fits.fit(given).astype(np.float32)
        rows = given.rows.astype(np.float32)
        user = users.take(self._ratings.user_index[positions], axis=0)
        row = rows.take(self._rows[positions], axis=0)
        bias = (given.mean + user[:, -1]) + row[:, -1]
        raw = bias + np.einsum("nk,nk->n", user[:, :-1], row[:, :-1])
        return self._in_scale(raw.astype(np.float64))

    def _in_scale(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.clip(self._parameters.to_ratings(raw), *self._parameters.scale)

    def loss_changes(
        self, model: ModelView, parts: Iterable[Counterfactuals]
    ) -> Iterator[NDArray[np.float32]]:
        """See `openfl.learning.task.InfluenceJudge`: squared errors, in the model's units, on (at
        most `rating_influence.MAX_JUDGED` of) the training ratings."""
        own, given = self._own_ratings, self._fitted_to(model)
        rows, mean, users = given.rows, given.mean, self._fits.fit(given)
        known_mean = mean if model.evidence(MEAN, MEAN_KEYS)[0] > 0 else 0.0
        guess = None
        if self._prior is not None:
            inverse = self._fits.with_inverse(given)[1]
            features = given.features[own.items[own.rows]]
            felt = self._prior.sensitivity(inverse, features, own.users, given.shape)
            guess = FeltPrior(self._prior.seen(rows), felt)
        keys, rows = self._keys[own.items], rows[own.items]
        return loss_changes(own, keys, rows, mean, known_mean, users, parts, guess)

    def private_state(self) -> Mapping[str, NDArray[np.generic]]:
        """The users' factors and biases of the last step, and whose they are (as hashes)."""
        return saved_users(self._user_factors, self._user_keys)

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Take back `private_state`; ValueError when it is of other users or another width."""
        self._user_factors = restored_users(state, self._user_keys, self._user_factors.shape)

    def _errors(self, rows: Matrix, mean: float, keys: NDArray[np.uint64]) -> SparseMatrix:
        """csr[users, n]: by how much each user's training ratings of the items `keys[n]` differ
        from what their factors say; items of one key are added up."""
        train = self._split.train
        user, row = self._ratings.user_index[train], self._rows[train]
        fitted = self._user_factors[user]
        expected = mean + fitted[:, -1] + rows[row, -1]
        expected += np.einsum("nk,nk->n", fitted[:, :-1], rows[row, :-1])
        column = np.minimum(np.searchsorted(keys, self._keys), len(keys) - 1)
        known = (keys[column] == self._keys)[row]
        shape = (len(self._ratings.users), len(keys))
        errors = (self._values[train] - expected)[known]
        return sp.coo_array((errors, (user[known], column[row[known]])), shape=shape).tocsr()

    @cached_property
    def _own_ratings(self) -> OwnRatings:
        return OwnRatings.some_of(
            self._ratings.user_index, self._rows, self._values, self._split.train
        )

    @cached_property
    def _user_keys(self) -> NDArray[np.uint64]:
        return item_keys(self._ratings.users, key_bits=64)

    def _mean(self, model: ModelView) -> float:
        """The group's mean rating in units; this node's own while the group has none."""
        if model.evidence(MEAN, MEAN_KEYS)[0] > 0:
            return float(model.rows(MEAN, MEAN_KEYS)[0, 0])
        return self._own_mean

    def _mean_block(self) -> RowBlock:
        return RowBlock(
            table=MEAN,
            keys=MEAN_KEYS.copy(),
            values=np.array([[self._own_mean]], dtype=np.float32),
            evidence=np.array([min(self.train_examples, MAX_EVIDENCE)], dtype=np.float32),
            curvature=np.ones(1, dtype=np.float32),
        )

    def _revived(self, model: ModelView, rows: Matrix) -> Matrix:
        """`rows`, or where factors have died, these with a little life (see `revival`)."""
        life = revival(self._charter, model, ITEMS, self._keys)
        if life is None:
            return rows
        revived = rows.copy()
        revived[:, :-1] += life
        return revived

    def _fitted_to(
        self,
        model: ModelView,
        known: Matrix | None = None,
        rows: Matrix | None = None,
        mean: float | None = None,
    ) -> FittedTo:
        """What `model` says of users. known: float64[items, width], `learned_rows` of the own items
        if they are at hand; rows: those to fit to, if others; mean: the mean rating, if another."""
        known = learned_rows(model, ITEMS, self._keys) if known is None else known
        rows = known if rows is None else rows
        mean = self._mean(model) if mean is None else mean
        self._fits.gather(rows, mean)  # before the prior asks for a part of it
        centre = None if self._prior is None else self._prior.means(model, known)
        shape = relevance_shape(model, ITEMS, self._parameters.relevance)
        return FittedTo(rows, mean, centre, shape)
