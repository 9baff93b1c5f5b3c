"""Plays that are made up from a seed.

What a user plays is drawn without replacement with probabilities proportional to exp(score), the
score from factors and biases as of made-up ratings; the better an item is liked, the more often it
is played. In *communities* an item is something else to each community, except for a part `overlap`
of the items.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from openfl.learning.factorization.song_shards import equal_communities, made_up_songs
from openfl.learning.sharding import MadeUpData, MadeUpSize

FACTORS = 2
FACTOR_SCALE = 1.0
ITEM_BIAS_SCALE = 1.5
SHARPNESS = 1.5
"""How much of what is played follows from taste; 0 would be chance alone."""
MEAN_PLAYS = 2.0
MAX_PLAYS = 50


def community_plays(size: MadeUpSize, seed: int) -> MadeUpData:
    """Of communities of equal size, give or take one. Each user has played as many items."""
    rng = np.random.default_rng([seed, 15])
    users, items = size.users, size.items
    each = min(size.rows_per_user, items)
    community = equal_communities(users, size.communities)
    shared = rng.random(items) < size.overlap
    factors = rng.normal(0, FACTOR_SCALE, (size.communities, items, FACTORS))
    biases = rng.normal(0, ITEM_BIAS_SCALE, (size.communities, items))
    factors[:, shared], biases[:, shared] = factors[0, shared], biases[0, shared]
    user_factors = rng.normal(0, FACTOR_SCALE, (users, FACTORS))

    chosen, plays = [], []
    for number in range(users):
        own = community[number]
        score = SHARPNESS * (factors[own] @ user_factors[number] + biases[own])
        # The largest of score + Gumbel noise: a draw without replacement by exp(score).
        item = np.argsort(-(score + rng.gumbel(size=items)), kind="stable")[:each]
        expected = MEAN_PLAYS * np.exp(np.clip(score[item] - score[item].mean(), -2, 2))
        chosen.append(item)
        plays.append(np.minimum(1 + rng.poisson(expected), MAX_PLAYS))
    values = np.concatenate(plays).astype(np.float32)
    user = np.repeat(np.arange(users), each)
    data = made_up_songs(users, user, np.concatenate(chosen), values, (0.0, float(values.max())))
    return MadeUpData(data, np.arange(users), community)


def synthetic_plays(size: MadeUpSize, seed: int) -> MadeUpData:
    """Of one community."""
    one = replace(size, communities=1)
    return replace(community_plays(one, seed), communities=None)
