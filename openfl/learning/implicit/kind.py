"""The kind "implicit": which songs users would play, from what they played."""

from __future__ import annotations

from openfl.config import kinds as described
from openfl.learning.factorization.song_data import count_users, only_users
from openfl.learning.implicit.charter import ITEMS
from openfl.learning.implicit.head import ImplicitHead
from openfl.learning.implicit.workload import ImplicitWorkload, load_implicit_data
from openfl.learning.kind import Dealing, Kind, Recommending

IMPLICIT = Kind(
    description=described.IMPLICIT,
    load=load_implicit_data,
    workload=ImplicitWorkload,
    recommends=Recommending(ITEMS, ImplicitHead),
    dealing=Dealing(count_users, only_users),
)
