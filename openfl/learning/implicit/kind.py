"""The kind "implicit": which songs users would play, from what they played."""

from __future__ import annotations

from openfl.config import kinds as described
from openfl.learning.factorization.song_data import count_users, only_users
from openfl.learning.factorization.song_shards import favourite_genres, join_songs, user_ids
from openfl.learning.implicit.charter import ITEMS
from openfl.learning.implicit.head import ImplicitHead
from openfl.learning.implicit.made_up import community_plays, synthetic_plays
from openfl.learning.implicit.workload import ImplicitWorkload, load_implicit_data
from openfl.learning.kind import Kind, Recommending
from openfl.learning.sharding import Sharding

IMPLICIT = Kind(
    description=described.IMPLICIT,
    load=load_implicit_data,
    workload=ImplicitWorkload,
    recommends=Recommending(ITEMS, ImplicitHead),
    sharding=Sharding(
        count_users,
        only_users,
        join=join_songs,
        users=user_ids,
        user_column="user_id",
        communities=favourite_genres,
        make_up={"synthetic": synthetic_plays, "communities": community_plays},
        sample_file="ratings.csv",
    ),
)
