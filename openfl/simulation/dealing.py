"""Which node gets whose ratings. A user is never split over nodes; every node gets at least one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from openfl.core.errors import DataError
from openfl.learning.factorization.ratings import EMPTY_CATALOGUE, Catalogue, Ratings
from openfl.simulation.scenario import DataSection

Owners = NDArray[np.int64]


def deal(
    ratings: Ratings,
    catalogue: Catalogue,
    section: DataSection,
    nodes: int,
    seed: int,
    tastes: Owners | None = None,
) -> list[Ratings]:
    """The ratings of each node. tastes: int64[users], to go by instead of favourite genres.
    DataError when there are too few users, or neither tastes nor genres where they are needed."""
    users = len(ratings.users)
    if users < nodes:
        raise DataError(f"{users} users are too few for {nodes} nodes")
    rng = np.random.default_rng([seed, 1])
    owner = owners(ratings, catalogue, section, nodes, rng, tastes)
    return [only(ratings, owner == node) for node in range(nodes)]


def owners(
    ratings: Ratings,
    catalogue: Catalogue,
    section: DataSection,
    nodes: int,
    rng: np.random.Generator,
    tastes: Owners | None = None,
) -> Owners:
    """int64[users]: each user's node; -1 for users that nobody gets (one user per node)."""
    users = len(ratings.users)
    shuffled = rng.permutation(users)
    owner = np.full(users, -1, dtype=np.int64)
    match section.split:
        case "one-user-per-node":
            owner[shuffled[:nodes]] = np.arange(nodes)
        case "community":
            genre = favourite_genres(ratings, catalogue) if tastes is None else tastes
            order = shuffled[np.argsort(genre[shuffled], kind="stable")]
            owner[order] = np.arange(users) * nodes // users
        case "dirichlet":
            genre = favourite_genres(ratings, catalogue) if tastes is None else tastes
            for kind in range(int(genre.max()) + 1):
                members = shuffled[genre[shuffled] == kind]
                shares = rng.dirichlet(np.full(nodes, section.alpha))
                owner[members] = rng.choice(nodes, size=len(members), p=shares)
            _give_everybody_one(owner, nodes, shuffled)
        case _:
            owner[shuffled] = np.arange(users) % nodes
    return owner


def favourite_genres(ratings: Ratings, catalogue: Catalogue = EMPTY_CATALOGUE) -> Owners:
    """int64[users]: the genre (numbered by name) that each user rated most often."""
    songs = [catalogue.get(song) for song in ratings.songs]
    names = sorted({song.genre for song in songs if song is not None and song.genre})
    if not names:
        raise DataError(
            "the data names no genres, which this split goes by: put a songs.csv with a column"
            " genre beside it"
        )
    number = {name: n for n, name in enumerate(names)}
    of_song = np.array(
        [number[s.genre] if s is not None and s.genre else -1 for s in songs], dtype=np.int64
    )
    genre = of_song[ratings.song_index]
    known = genre >= 0
    counts = np.zeros((len(ratings.users), len(names)), dtype=np.int64)
    np.add.at(counts, (ratings.user_index[known], genre[known]), 1)
    favourite: Owners = counts.argmax(axis=1)
    return favourite


def only(ratings: Ratings, users: NDArray[np.bool_]) -> Ratings:
    """The ratings of the users marked in `users`."""
    wanted = {name for name, mine in zip(ratings.users, users, strict=True) if mine}
    return ratings.only_users(wanted.__contains__)


def synthetic_ratings(section: DataSection, seed: int) -> Ratings:
    """Made-up users with made-up tastes: four factors, biases, a long tail of items, half stars."""
    rng = np.random.default_rng([seed, 2])
    users, items = section.users, section.items
    each = min(section.ratings_per_user, items)
    popularity = 1.0 / (np.arange(items) + 10.0)
    popularity /= popularity.sum()
    user_factors, item_factors = rng.normal(0, 0.6, (users, 4)), rng.normal(0, 0.6, (items, 4))
    user_bias, item_bias = rng.normal(0, 0.3, users), rng.normal(0, 0.4, items)
    item = np.concatenate([rng.choice(items, each, False, popularity) for _ in range(users)])
    user = np.repeat(np.arange(users), each)
    score = 3.4 + user_bias[user] + item_bias[item] + rng.normal(0, 0.4, len(user))
    score += np.einsum("nk,nk->n", user_factors[user], item_factors[item])
    return made_up_ratings(users, user, item, score)


def made_up_ratings(
    users: int, user: NDArray[np.int64], item: NDArray[np.int64], score: NDArray[np.float64]
) -> Ratings:
    """Stars from 0.5 to 5, in halves, nearest to the scores. user, item, score: [n]."""
    rated, item = np.unique(item, return_inverse=True)
    return Ratings(
        users=tuple(f"u{n}" for n in range(users)),
        songs=tuple(f"i{n}" for n in rated),
        user_index=user.astype(np.int32),
        song_index=item.astype(np.int32),
        values=(np.clip(np.round(2 * score), 1, 10) / 2).astype(np.float32),
        scale=(0.5, 5.0),
    )


def _give_everybody_one(owner: Owners, nodes: int, order: Sequence[int] | Owners) -> None:
    """Move users from the richest nodes to those that have none."""
    counts = np.bincount(owner, minlength=nodes)
    for poor in np.flatnonzero(counts == 0):
        rich = int(counts.argmax())
        moved = next(user for user in order if owner[user] == rich)
        owner[moved] = poor
        counts[rich] -= 1
        counts[poor] += 1
