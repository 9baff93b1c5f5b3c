"""Which node gets whose data."""

from __future__ import annotations

import numpy as np
import pytest

from openfl.config import Config
from openfl.core.errors import DataError
from openfl.learning.factorization.ratings import Catalogue, Ratings, Song
from openfl.learning.factorization.song_data import SongData
from openfl.learning.factorization.song_shards import favourite_genres
from openfl.learning.rating.kind import RATING
from openfl.learning.rating.made_up import synthetic_ratings
from openfl.learning.sharding import MadeUpSize
from openfl.simulation.dataset import Dataset
from openfl.simulation.scenario import DataSection
from openfl.simulation.shards import shard_owners

GENRES = ("folk", "jazz")
USERS, SONGS = 40, 10


def crowd() -> SongData:
    """Even users rate folk (songs 0-4), odd ones jazz (5-9)."""
    user = np.repeat(np.arange(USERS), 3)
    song = np.tile(np.arange(3), USERS) + np.where(user % 2, 5, 0)
    ratings = Ratings(
        tuple(f"u{n}" for n in range(USERS)),
        tuple(f"s{n}" for n in range(SONGS)),
        user.astype(np.int32),
        song.astype(np.int32),
        np.full(len(user), 3.0, np.float32),
        (0.5, 5.0),
    )
    songs = {f"s{n}": Song(f"s{n}", f"s{n}", None, GENRES[n // 5]) for n in range(SONGS)}
    return SongData(ratings, Catalogue(songs))


def dataset() -> Dataset:
    data, nobody = crowd(), np.zeros(USERS, dtype=np.int64)
    return Dataset(RATING, Config(), data, data.ratings.users, np.arange(USERS), None, nobody)


def dealt(split: str, nodes: int, seed: int = 0, alpha: float = 0.5) -> list[Ratings]:
    everybody = dataset()
    section = DataSection(split=split, alpha=alpha)
    owner = shard_owners(everybody, section, nodes, seed)
    return [everybody.of_users(owner == node).ratings for node in range(nodes)]


@pytest.mark.parametrize("split", ["user", "community", "dirichlet"])
def test_every_user_is_at_one_node_and_every_node_has_one(split: str) -> None:
    shards = dealt(split, 7)
    users = [user for shard in shards for user in shard.users]
    assert sorted(users) == sorted(crowd().ratings.users)
    assert all(len(shard.users) for shard in shards)
    assert sum(len(shard) for shard in shards) == USERS * 3


def test_the_seed_decides_who_gets_whom() -> None:
    assert [h.users for h in dealt("user", 4)] == [h.users for h in dealt("user", 4)]
    assert [h.users for h in dealt("user", 4)] != [h.users for h in dealt("user", 4, seed=1)]


def jazz_shares(shards: list[Ratings]) -> list[float]:
    return [sum(int(u[1:]) % 2 for u in shard.users) / len(shard.users) for shard in shards]


def test_a_split_by_community_keeps_like_minds_together() -> None:
    assert jazz_shares(dealt("community", 4)) == [0.0, 0.0, 1.0, 1.0]


def test_a_small_alpha_skews_more_than_a_large_one() -> None:
    skewed = np.std(jazz_shares(dealt("dirichlet", 4, alpha=0.1)))
    even = np.std(jazz_shares(dealt("dirichlet", 4, alpha=1000.0)))
    assert skewed > 2 * even


def test_one_user_per_node_leaves_the_others_out() -> None:
    assert [len(shard.users) for shard in dealt("one-user-per-node", 25)] == [1] * 25


def test_too_few_users_and_no_genres_are_said() -> None:
    with pytest.raises(DataError, match="40 users are too few for 41 nodes"):
        dealt("user", 41)
    with pytest.raises(DataError, match="names no genres"):
        favourite_genres(SongData(crowd().ratings))


def test_synthetic_ratings_follow_from_the_seed() -> None:
    size = MadeUpSize(users=30, items=50, rows_per_user=12)
    first, again, other = (synthetic_ratings(size, seed).data.ratings for seed in (1, 1, 2))
    assert np.array_equal(first.values, again.values)
    assert not np.array_equal(first.values, other.values)
    assert len(first) == 30 * 12
    assert len(np.unique(first.user_index.astype(np.int64) * 1000 + first.song_index)) == 360
    assert set(np.unique(2 * first.values) % 1) == {0.0}
