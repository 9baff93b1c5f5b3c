"""Made-up communities of taste, and how well a grouping of nodes matches them.

Everybody rates the same items. For the members of one community an item is one thing (factors and a
bias); for another community the same item is another thing, drawn anew, except for a part
`overlap` of the items, which are the same to all. So with overlap 0 a model learned by all at once
serves nobody, and with one community, or overlap 1, any split of the nodes wastes data.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from openfl.learning.factorization.ratings import Ratings
from openfl.simulation.dealing import made_up_ratings
from openfl.simulation.scenario import DataSection

FACTORS = 2
FACTOR_SCALE = 1.0
USER_BIAS_SCALE, ITEM_BIAS_SCALE = 0.3, 1.2
NOISE = 0.6

Tastes = NDArray[np.int64]


def community_ratings(section: DataSection, seed: int) -> tuple[Ratings, Tastes]:
    """Ratings of `section.users` users in half stars, and int64[users]: everybody's community.

    Communities are equal in size, give or take one. Each user rates as many items, all equally
    popular.
    """
    rng = np.random.default_rng([seed, 9])
    users, items, communities = section.users, section.items, section.communities
    each = min(section.ratings_per_user, items)
    taste = np.arange(users) * communities // users
    shared = rng.random(items) < section.overlap
    factors = rng.normal(0, FACTOR_SCALE, (communities, items, FACTORS))
    biases = rng.normal(0, ITEM_BIAS_SCALE, (communities, items))
    factors[:, shared], biases[:, shared] = factors[0, shared], biases[0, shared]
    user_factors = rng.normal(0, FACTOR_SCALE, (users, FACTORS))
    user_biases = rng.normal(0, USER_BIAS_SCALE, users)

    item = np.concatenate([rng.choice(items, each, replace=False) for _ in range(users)])
    user = np.repeat(np.arange(users), each)
    own = taste[user]
    score = 3.0 + user_biases[user] + biases[own, item] + rng.normal(0, NOISE, len(user))
    score += np.einsum("nk,nk->n", user_factors[user], factors[own, item])
    return made_up_ratings(users, user, item, score), taste


def purity(groups: Sequence[Hashable], tastes: Sequence[int]) -> float:
    """Part of the nodes that are in a group whose most common taste is theirs (Manning, Raghavan,
    Schuetze 2008, 16.3): 1 when no group mixes tastes. NaN when there is nobody."""
    if not groups:
        return float("nan")
    most = 0
    for group in dict.fromkeys(groups):
        inside = [taste for g, taste in zip(groups, tastes, strict=True) if g == group]
        most += max(inside.count(taste) for taste in set(inside))
    return most / len(groups)


def assign(
    assignment: str, groups: int, tastes: Sequence[int], rng: np.random.Generator
) -> list[int]:
    """The number of each node's first group. random: equal shares; single: all in the first;
    oracle: a group for each taste, whatever `groups` says."""
    match assignment:
        case "single":
            return [0] * len(tastes)
        case "oracle":
            number = {taste: n for n, taste in enumerate(sorted(set(tastes)))}
            return [number[taste] for taste in tastes]
        case _:
            places = np.empty(len(tastes), dtype=np.int64)
            places[rng.permutation(len(tastes))] = np.arange(len(tastes)) % groups
            return [int(place) for place in places]


def most_common(values: Iterable[int]) -> int:
    """The value that occurs most often; the least of several."""
    found = list(values)
    return min(set(found), key=lambda value: (-found.count(value), value))
