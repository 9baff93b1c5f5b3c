"""Ratings that are made up from a seed, in half stars from 0.5 to 5.

In *communities* everybody rates the same items. For the members of one community an item is one
thing (factors and a bias); for another community the same item is another thing, drawn anew, except
for a part `overlap` of the items, which are the same to all. So with overlap 0 a model learned by
all at once serves nobody, and with one community, or overlap 1, any split of the nodes wastes data.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openfl.learning.factorization.song_data import SongData
from openfl.learning.factorization.song_shards import Numbers, equal_communities, made_up_songs
from openfl.learning.sharding import MadeUpData, MadeUpSize

FACTORS = 2
FACTOR_SCALE = 1.0
USER_BIAS_SCALE, ITEM_BIAS_SCALE = 0.3, 1.2
NOISE = 0.6


def community_ratings(size: MadeUpSize, seed: int) -> MadeUpData:
    """Of communities of equal size, give or take one. Each user rates as many items, all equally
    popular."""
    rng = np.random.default_rng([seed, 9])
    users, items = size.users, size.items
    each = min(size.rows_per_user, items)
    community = equal_communities(users, size.communities)
    shared = rng.random(items) < size.overlap
    factors = rng.normal(0, FACTOR_SCALE, (size.communities, items, FACTORS))
    biases = rng.normal(0, ITEM_BIAS_SCALE, (size.communities, items))
    factors[:, shared], biases[:, shared] = factors[0, shared], biases[0, shared]
    user_factors = rng.normal(0, FACTOR_SCALE, (users, FACTORS))
    user_biases = rng.normal(0, USER_BIAS_SCALE, users)

    item = np.concatenate([rng.choice(items, each, replace=False) for _ in range(users)])
    user = np.repeat(np.arange(users), each)
    own = community[user]
    score = 3.0 + user_biases[user] + biases[own, item] + rng.normal(0, NOISE, len(user))
    score += np.einsum("nk,nk->n", user_factors[user], factors[own, item])
    return MadeUpData(_stars(users, user, item, score), np.arange(users), community)


def synthetic_ratings(size: MadeUpSize, seed: int) -> MadeUpData:
    """Of users with tastes of their own: four factors, biases, and a long tail of items."""
    rng = np.random.default_rng([seed, 2])
    users, items = size.users, size.items
    each = min(size.rows_per_user, items)
    popularity = 1.0 / (np.arange(items) + 10.0)
    popularity /= popularity.sum()
    user_factors, item_factors = rng.normal(0, 0.6, (users, 4)), rng.normal(0, 0.6, (items, 4))
    user_bias, item_bias = rng.normal(0, 0.3, users), rng.normal(0, 0.4, items)
    item = np.concatenate([rng.choice(items, each, False, popularity) for _ in range(users)])
    user = np.repeat(np.arange(users), each)
    score = 3.4 + user_bias[user] + item_bias[item] + rng.normal(0, 0.4, len(user))
    score += np.einsum("nk,nk->n", user_factors[user], item_factors[item])
    return MadeUpData(_stars(users, user, item, score), np.arange(users))


def _stars(users: int, user: Numbers, item: Numbers, score: NDArray[np.float64]) -> SongData:
    """The half stars nearest to the scores. user, item, score: [n]."""
    stars = (np.clip(np.round(2 * score), 1, 10) / 2).astype(np.float32)
    return made_up_songs(users, user, item, stars, (0.5, 5.0))
